"""Measuring a call: first and warm time, and how many programs were compiled."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

REPEATS = 7


@dataclass(frozen=True)
class Timing:
    """Seconds of the first call and of the median warm call; cpu: of all threads in the median warm call."""

    first: float
    warm: float
    cpu: float


def measure(function: Callable[..., Any], *arguments: Any, repeats: int = REPEATS) -> Timing:
    """Time a call whose result may be JAX arrays; it is waited for."""

    def once() -> tuple[float, float]:
        start, cpu = time.perf_counter(), time.process_time()
        jax.block_until_ready(function(*arguments))
        return time.perf_counter() - start, time.process_time() - cpu

    first, _ = once()
    warm, cpu = np.median([once() for _ in range(repeats)], axis=0)
    return Timing(first, float(warm), float(cpu))


@contextmanager
def compilations() -> Iterator[list[str]]:
    """Collects one entry for each program that XLA compiles inside the block."""
    events: list[str] = []
    active = True

    def listen(event: str, duration_secs: float, **_: Any) -> None:
        if active and event.endswith("backend_compile_duration"):
            events.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield events
    finally:
        active = False
