"""How the process uses memory and threads on the CPU. For entry points: it holds for the whole process."""

from __future__ import annotations

import ctypes
import sys

import scipy.linalg  # noqa: F401  its LAPACK is the one that JAX calls; only a loaded library can be limited
from threadpoolctl import threadpool_limits

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of glibc's malloc.h


def prepare_cpu(*, one_arena: bool = False) -> None:
    """Keep freed memory, and give LAPACK one thread: each halves the time of a training step on 2 cores.

    one_arena: as in `keep_freed_memory`, for programs that run in several threads of their own.
    """
    keep_freed_memory(one_arena=one_arena)
    limit_lapack()


def limit_lapack() -> threadpool_limits:
    """One thread for LAPACK and BLAS; as a context manager, until its end.

    OpenBLAS's idle threads spin after each small eigenproblem and keep XLA's own threads from the cores.
    """
    return threadpool_limits(limits=1, user_api="blas")


def keep_freed_memory(*, one_arena: bool = False) -> bool:
    """Let glibc keep large freed blocks for the next step; True if it could be done. Call it first of all.

    one_arena: all threads share the first arena; others map every large block anew. Good for a few threads
    that solve a molecule each, but XLA's own then wait for each other: a training step takes twice the time.

    XLA allocates the temporaries of a program anew at each call. glibc gives blocks beyond 32 MB back to the
    system at once, and every step then spends its time on page faults.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    settings = {_M_MMAP_THRESHOLD: 2**31 - 1, _M_TRIM_THRESHOLD: 2**31 - 1}
    if one_arena:
        settings[_M_ARENA_MAX] = 1
    return all([bool(mallopt(name, value)) for name, value in settings.items()])


def release_freed_memory() -> bool:
    """Give what is free now back to the system, e.g. after the data are made; True if it could be done."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        return bool(ctypes.CDLL("libc.so.6").malloc_trim(0))
    except (OSError, AttributeError):
        return False
