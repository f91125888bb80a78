"""Benchmarks: jaxphys and a peer measured in the same run, first and warm calls told apart."""
