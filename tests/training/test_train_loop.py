import dataclasses
import itertools
import json
import os
import signal
import threading
import time

import jax
import numpy as np
import optax
import pytest

from jaxphys.training import (
    Checkpoints,
    MetricsLog,
    create_state,
    load_params,
    make_optimizer,
    make_train_step,
    train,
)

STEPS = 20
CONFIG = {"rate": 0.05}


@pytest.fixture
def new_run(loss_fn, params, tmp_path):
    """Makes what a new process would make: state, step function, checkpoints and log."""

    def make(folder="run", **options):
        optimizer = make_optimizer(0.05, STEPS, weight_decay=0.01)
        step = make_train_step(loss_fn, optimizer, **options)
        state = create_state(params, optimizer, jax.random.key(11))
        checkpoints = Checkpoints(tmp_path / folder, CONFIG, every=5)
        return state, step, checkpoints, MetricsLog(tmp_path / f"{folder}.jsonl")

    return make


def steps_of(log):
    return [record["step"] for record in log.read()]


def test_a_regression_is_solved(loss_fn, params, batch_fn):
    optimizer = make_optimizer(0.3, 300)
    state = create_state(params, optimizer, jax.random.key(0))
    state = train(state, make_train_step(loss_fn, optimizer), lambda t: batch_fn(t, noise=0.0), steps=300)
    np.testing.assert_allclose(state.params["w"], [1.0, -2.0, 0.5], atol=1e-3)
    assert int(state.step) == 300


@pytest.mark.parametrize("stop", [1, 7, 15])
def test_a_resumed_run_equals_a_straight_one_to_the_bit(stop, new_run, batch_fn, bits):
    state, step, _, straight_log = new_run("straight")
    straight = train(state, step, batch_fn, steps=STEPS, log=straight_log, log_every=5)

    state, step, checkpoints, log = new_run()
    train(state, step, batch_fn, steps=stop, checkpoints=checkpoints, log=log, log_every=5)
    del state, step, checkpoints, log
    state, step, checkpoints, log = new_run()
    state = checkpoints.resume(state)
    assert int(state.step) == stop
    resumed = train(state, step, batch_fn, steps=STEPS, checkpoints=checkpoints, log=log, log_every=5)

    assert bits(resumed) == bits(straight)
    assert straight_log.read()[-1]["loss"] == log.read()[-1]["loss"]
    assert load_params(checkpoints.directory)[2] == STEPS


def test_metrics_are_means_over_the_interval(new_run, batch_fn):
    state, step, _, _ = new_run()
    losses = []
    for t in range(10):
        state, metrics = step(state, batch_fn(t))
        losses.append(float(metrics["loss"]))
    state, step, _, log = new_run()
    train(state, step, batch_fn, steps=10, log=log, log_every=4)
    lines = log.read()
    assert [line["step"] for line in lines] == [4, 8, 10]
    expected = [np.mean(losses[:4]), np.mean(losses[4:8]), np.mean(losses[8:])]
    np.testing.assert_allclose([line["loss"] for line in lines], expected, rtol=1e-12)
    assert set(lines[0]) == {
        "step", "seconds", "loss", "gradient_norm", "update_norm", "skipped", "learning_rate", "error"
    }  # fmt: skip
    assert all(a["seconds"] <= b["seconds"] for a, b in itertools.pairwise(lines))


def test_the_log_of_a_killed_run_is_not_doubled(new_run, batch_fn):
    state, step, checkpoints, log = new_run()
    train(state, step, batch_fn, steps=10, checkpoints=checkpoints, log=log, log_every=2)
    # The process went on to step 14 and was killed while it wrote a line.
    log.write(12, 1.0, {"loss": 1.0})
    with log.path.open("a") as file:
        file.write('{"step": 14')
    state, step, checkpoints, log = new_run()
    train(checkpoints.resume(state), step, batch_fn, steps=16, checkpoints=checkpoints, log=log, log_every=2)
    assert steps_of(log) == [2, 4, 6, 8, 10, 12, 14, 16]
    for line in log.path.read_text().splitlines():
        json.loads(line)


def test_metrics_are_fetched_at_the_log_interval_only(new_run, batch_fn, monkeypatch):
    fetches = []
    device_get = jax.device_get
    monkeypatch.setattr(jax, "device_get", lambda tree: fetches.append(len(tree)) or device_get(tree))
    state, step, _, _ = new_run()
    train(state, step, batch_fn, steps=20, log_every=8)
    assert fetches == [8, 8, 4]


def test_nan_in_a_few_batches_is_skipped_and_counted(new_run, batch_fn):
    def batches(t):
        return {**batch_fn(t), **({"y": np.full(6, np.nan)} if t in (2, 3) else {})}

    state, step, _, log = new_run()
    state = train(state, step, batches, steps=10, log=log, log_every=5, max_nonfinite=3)
    assert int(state.skipped) == 2
    assert np.all(np.isfinite(state.params["w"]))
    assert log.read()[0]["skipped"] == 0.4
    assert np.isfinite(log.read()[0]["loss"])


def test_a_dead_run_ends_with_step_and_advice(new_run, batch_fn, bits, params):
    def batches(t):
        return {**batch_fn(t), **({"y": np.full(6, np.nan)} if t >= 4 else {})}

    state, step, checkpoints, log = new_run()
    with pytest.raises(FloatingPointError, match=r"in 8 steps, 4 to 11: .*learning rate"):
        train(state, step, batches, steps=40, checkpoints=checkpoints, log=log, log_every=6, max_nonfinite=5)
    assert log.read()[-1]["loss"] is None
    # What was saved last is the state of step 10, with the parameters of step 4.
    state, step, checkpoints, _ = new_run()
    assert checkpoints.latest_step() == 10
    four, step, _, _ = new_run("four")
    four = train(four, step, batches, steps=4)
    assert bits(checkpoints.restore(state).params) == bits(four.params)


def test_an_interrupt_outside_the_step_saves(new_run, batch_fn, bits):
    def batches(t):
        if t == 7:
            raise KeyboardInterrupt
        return batch_fn(t)

    state, step, _, _ = new_run("straight")
    seven = train(state, step, batch_fn, steps=7)
    state, step, checkpoints, _ = new_run()
    with pytest.raises(KeyboardInterrupt):
        train(state, step, batches, steps=STEPS, checkpoints=checkpoints)
    state, _, checkpoints, _ = new_run()
    assert bits(checkpoints.restore(state)) == bits(seven)


@pytest.fixture
def terminal():
    """Signals as in a terminal: a job in the background inherits that SIGINT is ignored."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_signal_lets_the_step_finish_and_saves(number, error, terminal, new_run, batch_fn):
    def batches(t):
        if t == 7:
            os.kill(os.getpid(), number)
        return batch_fn(t)

    before = (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
    state, step, checkpoints, log = new_run()
    with pytest.raises(error) as raised:
        train(state, step, batches, steps=STEPS, checkpoints=checkpoints, log=log, log_every=5)
    assert checkpoints.latest_step() == 8
    assert steps_of(log) == [5, 8]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    if error is SystemExit:
        assert raised.value.code == 128 + signal.SIGTERM


def test_a_second_interrupt_does_not_wait_for_the_step(terminal, new_run, batch_fn):
    def batches(t):
        if t == 7:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        return batch_fn(t)

    state, step, checkpoints, _ = new_run()
    with pytest.raises(KeyboardInterrupt):
        train(state, step, batches, steps=STEPS, checkpoints=checkpoints)
    assert checkpoints.latest_step() == 7


def test_an_interrupt_inside_the_step_keeps_the_last_checkpoint(new_run, batch_fn):
    state, step, checkpoints, _ = new_run()
    calls = []

    def interrupted(state, batch):
        calls.append(None)
        result = step(state, batch)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return result

    with pytest.raises(KeyboardInterrupt):
        train(state, interrupted, batch_fn, steps=STEPS, checkpoints=checkpoints)
    assert checkpoints.latest_step() == 5


def test_an_ignored_signal_stays_ignored(new_run, batch_fn):
    def batches(t):
        if t == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return batch_fn(t)

    state, step, _, _ = new_run()
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert int(train(state, step, batches, steps=6).step) == 6
    finally:
        signal.signal(signal.SIGINT, previous)


def test_it_runs_outside_the_main_thread(new_run, batch_fn):
    state, step, _, _ = new_run()
    result = []
    thread = threading.Thread(target=lambda: result.append(train(state, step, batch_fn, steps=3)))
    thread.start()
    thread.join()
    assert int(result[0].step) == 3


class FakeTime:
    """A clock that moves when told to."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)


def test_the_budget_counts_steps_but_neither_compilation_nor_callback(new_run, batch_fn, monkeypatch):
    fake = FakeTime(monkeypatch)

    def batches(t):
        fake.now += 1000.0 if t == 0 else 1.0  # the first call is the one that compiles
        return batch_fn(t)

    def callback(step, state):
        fake.now += 500.0
        return {"validation": float(step)}

    state, step, checkpoints, log = new_run()
    options = {
        "checkpoints": checkpoints,
        "log": log,
        "log_every": 2,
        "callback": callback,
        "callback_every": 4,
    }
    state = train(state, step, batches, steps=100, seconds=9.5, **options)
    # Ten seconds after the first step: eleven steps.
    assert int(state.step) == 11
    assert checkpoints.latest_step() == 11
    assert [line["step"] for line in log.read() if "validation" in line] == [4, 8]
    assert {line["step"]: line["seconds"] for line in log.read()}[8] == 7.0

    # Run again with more time, it goes on from ten seconds; with no time left, it does nothing.
    state, step, checkpoints, log = new_run()
    options |= {"checkpoints": checkpoints, "log": log}
    state = train(checkpoints.restore(state), step, batches, steps=100, seconds=12.0, **options)
    assert int(state.step) == 14
    assert int(train(state, step, batches, steps=100, seconds=12.0, **options).step) == 14


def test_the_callback_sees_the_state_at_its_step(new_run, batch_fn):
    seen = []
    state, step, _, _ = new_run()
    train(
        state,
        step,
        batch_fn,
        steps=10,
        callback=lambda step, state: seen.append((step, int(state.step))),
        callback_every=3,
    )
    assert seen == [(3, 3), (6, 6), (9, 9)]


def test_a_fresh_run_in_a_used_directory_is_refused_before_it_starts(new_run, batch_fn):
    state, step, checkpoints, _ = new_run()
    train(state, step, batch_fn, steps=6, checkpoints=checkpoints)
    state, step, checkpoints, _ = new_run()
    with pytest.raises(ValueError, match="later than step 0: resume"):
        train(state, step, lambda t: pytest.fail("a step was taken"), steps=6, checkpoints=checkpoints)
    state, step, checkpoints, _ = new_run()
    other = dataclasses.replace(checkpoints, config={"rate": 0.1})
    with pytest.raises(ValueError, match=r"rate is 0.05 there and 0.1 here"):
        other.resume(state)


def test_a_finished_run_is_left_alone(new_run, batch_fn, bits):
    state, step, checkpoints, log = new_run()
    done = train(state, step, batch_fn, steps=6, checkpoints=checkpoints, log=log, log_every=2)
    text = log.path.read_text()
    before = bits(done)
    again = train(
        checkpoints.restore(done),
        step,
        lambda t: pytest.fail("a step was taken"),
        steps=6,
        checkpoints=checkpoints,
        log=log,
    )
    assert bits(again) == before
    assert log.path.read_text() == text


def test_the_step_compiles_once_in_a_loop_with_everything_on(loss_fn, params, batch_fn, tmp_path):
    traces = []

    def counted(params, batch, key):
        traces.append(None)
        return loss_fn(params, batch, key)

    compilations = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: (
            compilations.append(event) if event == "/jax/core/compile/backend_compile_duration" else None
        )
    )
    marks = {}

    def batches(t):
        marks[t] = len(compilations)
        return batch_fn(t)

    optimizer = optax.adam(0.1)
    step = make_train_step(counted, optimizer)
    state = create_state(params, optimizer, jax.random.key(0))
    train(state, step, batches, steps=30, log=MetricsLog(tmp_path / "log.jsonl"), log_every=3)
    assert len(traces) == 1
    assert marks[1] > marks[0]
    assert marks[29] == marks[1]


def test_progress_goes_to_stderr_with_the_loss(new_run, batch_fn, capsys):
    state, step, _, _ = new_run()
    train(state, step, batch_fn, steps=6, log_every=2, description="arm A")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "arm A" in captured.err
    assert "6/6" in captured.err
    assert "loss=" in captured.err


def test_wrong_intervals_are_named(new_run, batch_fn):
    state, step, _, _ = new_run()
    with pytest.raises(ValueError, match=r"log_every.* received 0, 1000 and 10"):
        train(state, step, batch_fn, steps=3, log_every=0)
