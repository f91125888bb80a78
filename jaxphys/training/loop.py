"""The training loop: steps, metrics, checkpoints, and a clean stop."""

import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from jaxphys.training.checkpoint import Checkpoints
from jaxphys.training.log import MetricsLog
from jaxphys.training.state import TrainState
from jaxphys.training.step import StepFn

BatchFn = Callable[[int], Any]
Callback = Callable[[int, TrainState], Mapping[str, Any] | None]

# Enough to keep the device busy; more would let the clock and Ctrl-C run ahead of the work.
_STEPS_IN_FLIGHT = 2


def train(
    state: TrainState,
    step_fn: StepFn,
    batch_fn: BatchFn,
    *,
    steps: int,
    checkpoints: Checkpoints | None = None,
    log: MetricsLog | None = None,
    log_every: int = 50,
    description: str = "",
    max_nonfinite: int = 10,
    seconds: float | None = None,
    callback: Callback | None = None,
    callback_every: int = 1000,
) -> TrainState:
    """Run `step_fn` from `state.step` to `steps`; the state at the end. The state passed in is used up.

    step_fn: from `make_train_step`.
    batch_fn: `(step) -> batch`, a pure function of the integer, so that a resumed run sees the same batches.
    checkpoints: where to save every `checkpoints.every` steps, at the end, and when stopped. The loop does
        not restore: pass `checkpoints.resume(state)`.
    log: gets every `log_every` steps the mean of each metric over them (over its finite values), the mean of
        `skipped` being the fraction of updates left out. Lines after `state.step` are dropped at the start.
    max_nonfinite: number of consecutive steps without a finite update that ends the run; looked at every
        `log_every` steps.
    seconds: the loop stops when its steps and batches have taken so long. The clock leaves out the first step
        of each call, which compiles, the callback and the saving; it is the one in the log, and with a log it
        goes on where a resumed run stopped.
    callback: `(step, state) -> metrics or None`, called every `callback_every` steps; what it returns goes to
        the log as a line of its own. It must not keep the state: the next step overwrites it.

    SIGINT and SIGTERM let the running step finish, save, and then raise KeyboardInterrupt or SystemExit(143);
    a second one raises KeyboardInterrupt at once.
    Raises FloatingPointError after `max_nonfinite` such steps, CheckpointError as `Checkpoints.save`, and
    ValueError for an interval below 1.
    """
    if min(log_every, callback_every, max_nonfinite) < 1:
        raise ValueError(
            "log_every, callback_every and max_nonfinite must be at least 1, "
            f"received {log_every}, {callback_every} and {max_nonfinite}"
        )
    run = _Run(state, checkpoints, log, max_nonfinite)
    with _stop_signals() as received, _progress_bar(run.step, steps, description) as bar:
        try:
            while run.step < steps and not received and (seconds is None or run.clock.seconds < seconds):
                run.advance(step_fn, batch_fn)
                bar.update()
                if run.step % log_every == 0:
                    bar.set_postfix(loss=f"{run.report():.4g}")
                if callback is not None and run.step % callback_every == 0:
                    run.call(callback)
                if checkpoints is not None and run.step % checkpoints.every == 0:
                    run.save()
            run.report()
        except KeyboardInterrupt:
            run.save_if_possible()
            raise
        run.save()
    if received:
        _raise_for(received[0], run.step)
    return run.state


class _Run:
    """What changes during a run: the state, its step as an int, the clock, the metrics not yet fetched."""

    def __init__(
        self, state: TrainState, checkpoints: Checkpoints | None, log: MetricsLog | None, max_nonfinite: int
    ) -> None:
        self.state = state
        self.step = int(state.step)
        self.checkpoints = checkpoints
        self.log = log
        self.max_nonfinite = max_nonfinite
        if checkpoints is not None:
            checkpoints.validate(self.step)
        self.clock = _Clock(log.resume(self.step) if log is not None else 0.0)
        self.pending: list[dict[str, jax.Array]] = []

    def advance(self, step_fn: StepFn, batch_fn: BatchFn) -> None:
        """One step; returns before the device is done, except the first time."""
        self.state, metrics = step_fn(self.state, batch_fn(self.step))
        self.step += 1
        self.pending.append(metrics)
        if self.clock.running:
            jax.block_until_ready(self.pending[-1 - _STEPS_IN_FLIGHT : -_STEPS_IN_FLIGHT])
        else:
            jax.block_until_ready(metrics)
            self.clock.start()

    def report(self) -> float:
        """Fetch the pending metrics, log their means, check that the run is alive; the mean loss."""
        if not self.pending:
            return math.nan
        means = _finite_means(jax.device_get(self.pending))
        self.pending = []
        if self.log is not None:
            self.log.write(self.step, self.clock.seconds, means)
        nonfinite = int(self.state.nonfinite_run)
        if nonfinite >= self.max_nonfinite:
            raise FloatingPointError(
                f"no finite update in {nonfinite} steps, {self.step - nonfinite} to {self.step - 1}: look at "
                f"their batches, lower the learning rate, or clip the gradient harder "
                f"(jax.config.update('jax_debug_nans', True) names the operation)"
            )
        return means["loss"]

    def call(self, callback: Callback) -> None:
        with self._clock_stopped():
            metrics = callback(self.step, self.state)
            if metrics is not None and self.log is not None:
                self.log.write(self.step, self.clock.seconds, metrics)

    def save(self) -> None:
        if self.checkpoints is not None:
            with self._clock_stopped():
                self.checkpoints.save(self.state)

    def save_if_possible(self) -> None:
        """Save unless the interrupt came while a step was taking over the state's memory."""
        if not any(leaf.is_deleted() for leaf in jax.tree.leaves(self.state)):
            self.save()

    @contextmanager
    def _clock_stopped(self) -> Iterator[None]:
        # The steps under way belong to the clock, not to what comes now.
        jax.block_until_ready(self.state)
        self.clock.stop()
        yield
        self.clock.start()


class _Clock:
    """A stopwatch that starts out stopped, at `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._before = seconds
        self._started: float | None = None

    @property
    def running(self) -> bool:
        return self._started is not None

    @property
    def seconds(self) -> float:
        return self._before + (0.0 if self._started is None else time.perf_counter() - self._started)

    def start(self) -> None:
        self._started = time.perf_counter()

    def stop(self) -> None:
        self._before, self._started = self.seconds, None


def _finite_means(metrics: list[dict[str, np.ndarray]]) -> dict[str, float]:
    """The mean of each metric over its finite values, nan if it has none."""
    means = {}
    for name in metrics[0]:
        values = np.array([entry[name] for entry in metrics], dtype=np.float64)
        values = values[np.isfinite(values)]
        means[name] = float(values.mean()) if values.size else math.nan
    return means


def _progress_bar(start: int, steps: int, description: str) -> tqdm:
    # A file gets a line now and then; a terminal is redrawn at once.
    interval = 0.1 if sys.stderr.isatty() else 30.0
    return tqdm(
        desc=description or None,
        total=steps,
        initial=start,
        unit="step",
        mininterval=interval,
        file=sys.stderr,
    )


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """The list of SIGINT and SIGTERM received so far, in place of what they do otherwise."""
    received: list[int] = []

    def handle(number: int, frame: Any) -> None:
        del frame
        if received:
            raise KeyboardInterrupt
        received.append(number)

    # Python allows handlers in the main thread only; a signal that the caller ignores (nohup) stays ignored,
    # and a handler that is not Python's (None) could not be put back.
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    replaced = {n: old for n, old in previous.items() if old not in (signal.SIG_IGN, None)}
    if threading.current_thread() is not threading.main_thread():
        replaced = {}
    for number in replaced:
        signal.signal(number, handle)
    try:
        yield received
    finally:
        for number, old in replaced.items():
            signal.signal(number, old)


def _raise_for(number: int, step: int) -> None:
    if number == signal.SIGINT:
        raise KeyboardInterrupt(f"stopped after step {step}")
    raise SystemExit(128 + number)
