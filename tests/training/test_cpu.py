"""Keeping freed memory: the process stops faulting the same pages in again and again."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import numpy as np
from jaxphys.training import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def touch():
    blocks = [np.ones(80_000_000 // 8) for _ in range(2)]  # beyond the 32 MB that glibc keeps by itself
    del blocks

touch()
before = faults()
for _ in range(5):
    touch()
print(faults() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc is Linux's")
def test_freed_memory_is_used_again():
    faults = {
        how: int(
            subprocess.run(
                [sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, check=True
            ).stdout
        )
        for how in ("keep", "default")
    }
    assert faults["keep"] < faults["default"] / 10
