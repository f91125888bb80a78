"""The Hamiltonian experiment from end to end in miniature: what it leaves, resuming, prediction, errors."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from experiments import hamiltonian
from experiments.hamiltonian_data import make_examples, sample_geometries
from experiments.hamiltonian_presets import PRESETS
from experiments.hamiltonian_training import LAWS, initial_params, run_stage
from experiments.stages import Stage, batch_of_step, take
from jaxphys.data import write_xyz
from jaxphys.training import load_params

TINY = dataclasses.replace(
    PRESETS["smoke"],
    labelled=("O",),
    unlabelled=("N",),
    # Muon would take much of the time to compile
    labels=Stage(steps=4, batch=2, learning_rate=1e-3, algorithm="adam"),
    control=Stage(steps=4, batch=2, learning_rate=1e-3, algorithm="adam"),
    residual=Stage(steps=2, batch=2, learning_rate=1e-3, excessive=1e9, algorithm="adam"),
    variational=Stage(steps=4, batch=2, learning_rate=1e-3, excessive=1e9, algorithm="adam"),
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One whole run of the miniature preset."""
    out = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "smoke", TINY)
        assert hamiltonian.main(["--preset", "smoke", "--out", str(out)]) == 0
    return out


def test_a_run_leaves_table_plots_results_and_checkpoints(finished):
    table = (finished / "table.md").read_text()
    assert all(name in table for name in ("zero-shot", "control", "self-consistency", "variational", "µEh"))
    results = json.loads((finished / "results.json").read_text())
    for role, molecule in (("test", "N"), ("larger", "C")):
        for setting in ("zero-shot", "control", "residual", "variational"):
            metrics = results[role][setting][molecule]
            assert all(np.isfinite(value) for value in metrics.values()), metrics
            assert metrics["energy_error"] > 0 and metrics["h_mae"] > 0
    # every arm moved, and away from where it started
    zero_shot = results["test"]["zero-shot"]["N"]["h_mae"]
    assert all(
        results["test"][arm]["N"]["h_mae"] != zero_shot for arm in ("control", "residual", "variational")
    )
    for picture in ("matrix_error.png", "orbital_energies.png", "loss.png"):
        assert (finished / picture).stat().st_size > 10_000
    for stage in ("labels", "control", "residual", "variational"):
        _, config, step = load_params(finished / stage)
        assert config["stage"] == stage and step == config["steps"]


def test_a_finished_folder_is_refused_without_resume(finished, capsys):
    assert hamiltonian.main(["--preset", "smoke", "--out", str(finished)]) == 2
    assert "already holds a run: continue it with --resume" in capsys.readouterr().err


def test_a_run_of_another_seed_is_not_resumed(finished, capsys):
    assert hamiltonian.main(["--preset", "smoke", "--out", str(finished), "--resume", "--seed", "1"]) == 2
    assert "seed" in capsys.readouterr().err


def test_prediction_for_a_users_own_file(finished, tmp_path, capsys):
    molecule = sample_geometries(TINY, seed=9).test[0]
    write_xyz(tmp_path / "mine.xyz", [molecule])
    arguments = ["predict", "--checkpoint", str(finished), str(tmp_path / "mine.xyz")]
    assert hamiltonian.main(arguments) == 0
    assert "residual" in capsys.readouterr().out
    result = np.load(tmp_path / "mine.npz")
    n = len(result["orbital_energies"])
    assert result["fock"].shape == (n, n) == result["overlap"].shape
    assert np.isclose(np.sum(result["density"] * result["overlap"]), 10.0)
    levels = result["coefficients"].T @ result["fock"] @ result["coefficients"]
    np.testing.assert_allclose(levels, np.diag(result["orbital_energies"]), atol=1e-9)
    assert result["residual"] > 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("2\n\nS 0 0 0\nH 0 0 1.3\n", r"does not know \[16\]"),
        ("3\n\nO 0 0 0\nH 0 0 1.0\n", "mine.xyz"),
        ("2\n\nO 0 0 0\nH 0 0 nan\n", "mine.xyz"),
        ("2\n\nO 0 0 0\nO 0 0 0\n", "mine.xyz"),
    ],
)
def test_a_users_bad_file_is_named_in_one_line(finished, tmp_path, capsys, content, message):
    (tmp_path / "mine.xyz").write_text(content)
    arguments = ["predict", "--checkpoint", str(finished), str(tmp_path / "mine.xyz")]
    assert hamiltonian.main(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert re.search(message, error) and error.startswith("error: ") and "\n" not in error


def test_a_folder_without_checkpoint_is_named(tmp_path, capsys):
    (tmp_path / "mine.xyz").write_text("1\n\nHe 0 0 0\n")
    arguments = ["predict", "--checkpoint", str(tmp_path), str(tmp_path / "mine.xyz")]
    assert hamiltonian.main(arguments) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_data_folder_must_hold_the_files(tmp_path, capsys):
    out = ["--out", str(tmp_path / "run")]
    assert hamiltonian.main(["--data", str(tmp_path / "none"), *out]) == 2
    assert "labelled.xyz" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_roles_never_share_a_geometry():
    geometries = sample_geometries(TINY, seed=0)
    every = [
        molecule.positions
        for role in ("labelled", "unlabelled", "test", "larger")
        for molecule in getattr(geometries, role)
    ]
    distances = [
        np.sort(np.linalg.norm(p[:, None] - p[None], axis=-1)[np.triu_indices(len(p), 1)]) for p in every
    ]
    same_size = [(a, b) for i, a in enumerate(distances) for b in distances[:i] if len(a) == len(b)]
    assert same_size and all(np.max(np.abs(a - b)) > 1e-3 for a, b in same_size)


def test_an_epoch_shows_every_example_once_and_epochs_differ():
    examples = np.arange(6)
    epochs = [
        np.concatenate([np.asarray(batch_of_step(examples, 2, 0, step)) for step in range(start, start + 3)])
        for start in (0, 3)
    ]
    assert all(sorted(epoch.tolist()) == list(range(6)) for epoch in epochs)
    assert epochs[0].tolist() != epochs[1].tolist()


@pytest.mark.slow  # the force field's stages are the same
def test_an_interrupted_stage_resumes_bit_for_bit(finished, tmp_path):
    """Four steps of the law equal two, a stop, and two more."""
    geometries = sample_geometries(TINY, seed=0)
    config = hamiltonian._model_config(TINY, geometries)
    examples = make_examples(geometries.unlabelled, TINY.method, config)
    start = initial_params(config, examples, seed=0)

    common = {"config": config, "run_config": {}, "seed": 0, "ema_decay": 0.9, "checkpoint_every": 2}
    law = LAWS["variational"]
    straight, _ = run_stage("v", law, examples, start, TINY.variational, folder=tmp_path / "a", **common)
    run_stage("v", law, examples, start, TINY.variational, folder=tmp_path / "b", **common)
    # forget the last checkpoint, as if a kill had come between the two
    newest = max((p for p in (tmp_path / "b" / "v").iterdir() if p.name.isdigit()), key=lambda p: int(p.name))
    assert int(newest.name) == 4
    shutil.rmtree(newest)
    resumed, _ = run_stage("v", law, examples, start, TINY.variational, folder=tmp_path / "b", **common)
    for a, b in zip(jax.tree.leaves(straight), jax.tree.leaves(resumed), strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(np.any(a != b) for a, b in zip(jax.tree.leaves(straight), jax.tree.leaves(start), strict=True))


def test_help_explains_itself_without_starting_jax_work():
    done = subprocess.run(
        [sys.executable, "-m", "experiments.hamiltonian", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(
        word in done.stdout for word in ("--preset", "--data", "--out", "--resume", "--seed", "predict")
    )


def test_take_selects_examples():
    assert np.asarray(take(np.arange(5), np.array([3, 1]))).tolist() == [3, 1]
