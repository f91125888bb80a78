"""Systems that several files use, and a count of compilations."""

import contextlib

import jax
import pytest
from molecules import AMMONIA, BENZENE, METHANE, METHANOL

from jaxphys import dft

COARSE = {"basis": "sto-3g", "auxbasis": "weigend", "grid_level": 0}


def build(molecule, **settings):
    """A small system: minimal basis, coarse grid, unless the settings say otherwise."""
    numbers, positions, charge = molecule
    return dft.kohn_sham(numbers, positions, charge=charge, **(COARSE | settings))


@pytest.fixture(scope="session")
def systems():
    """Three molecules with exactly degenerate levels and one without any."""
    molecules = {"methane": METHANE, "ammonia": AMMONIA, "benzene": BENZENE, "methanol": METHANOL}
    return {name: build(molecule, xc="pbe") for name, molecule in molecules.items()}


@pytest.fixture(scope="session")
def batch(systems):
    """The four in one stack, with their guessed Fock matrices."""
    stacked = dft.stack(list(systems.values()))
    return stacked, jax.jit(jax.vmap(dft.guess_fock))(stacked)


@pytest.fixture(scope="session")
def focks(systems, batch):
    """The guessed Fock matrix of each of the four, without padding."""
    sizes = [len(system.overlap) for system in systems.values()]
    return {name: batch[1][i, :n, :n] for i, (name, n) in enumerate(zip(systems, sizes, strict=True))}


@pytest.fixture
def compilations():
    """A context that yields the list of durations of what XLA compiles, or loads from its cache, within."""

    @contextlib.contextmanager
    def count():
        seen = []

        def listen(event, duration, **_):
            if event.endswith("backend_compile_duration"):
                seen.append(duration)

        jax.monitoring.register_event_duration_secs_listener(listen)
        try:
            yield seen
        finally:
            jax.monitoring.unregister_event_duration_listener(listen)

    return count


@pytest.fixture(scope="session")
def small():
    return build
