"""The experiment on consistency from end to end in miniature: what it leaves, its data, predict, errors."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from experiments import consistency
from experiments.consistency_data import SAME, largest, make_examples, make_structures, padded_size
from experiments.consistency_presets import ARMS, BEFORE, FIRST, LOW, PRESETS
from experiments.consistency_sampling import Sampler
from experiments.stages import Stage
from jaxphys.data import force_field_energies
from jaxphys.metrics import rmsd_matrix
from jaxphys.training import load_params

# the laws of the other arms are those of these
FEWER = {arm: ARMS[arm] for arm in ("multitask", "both", "control")}
TINY = dataclasses.replace(
    PRESETS["smoke"],
    smiles=("O", "CO", "C=O", "N", "C#N"),
    arms=tuple(FEWER),
    # Muon would take most of the time to compile
    stages=dict.fromkeys([FIRST, LOW, *FEWER], Stage(2, 2, 1e-3, excessive=1e9, algorithm="adam")),
    test=1,
    samples=2,
    model={"channels": 4, "layers": 1, "radial": 3, "hidden": 4},
    sampler=Sampler(steps=2, restarts=1, restart_steps=2, settle=(0.1,)),
)
CONTROLS = ("relaxed", "labels", "etkdg")


@pytest.fixture(scope="module")
def command():
    """The command line with the miniature preset."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "smoke", TINY)
        patch.setattr(consistency, "PROCESSES", 1)
        patch.setattr("experiments.consistency_data.PROCESSES", 1)
        yield lambda *arguments: consistency.main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def finished(command, tmp_path_factory):
    """One whole run."""
    out = tmp_path_factory.mktemp("runs") / "run"
    assert command("--preset", "smoke", "--out", out) == 0
    return out


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("xtb")


def error(capsys):
    """The one line on stderr."""
    shown = capsys.readouterr().err
    assert shown.startswith("error: ") and shown.count("\n") == 1
    return shown


def rows(text):
    return [line for line in text.splitlines() if line.startswith("|")]


def test_a_run_leaves_table_plots_results_and_checkpoints(finished):
    table = (finished / "table.md").read_text()
    names = {arm: name.format(low=TINY.low_level) for arm, name in consistency.NAMES.items()}
    expected = [name for arm, name in names.items() if arm in (*FEWER, *CONTROLS)]
    assert [row.strip("|").split("|")[0].strip() for row in rows(table)[2:]] == expected
    found = json.loads((finished / "results.json").read_text())
    assert set(found["results"]) == {*FEWER, *CONTROLS} and found["config"]["arms"] == list(FEWER)
    for arm, row in found["results"].items():
        assert len(row["energies"]) == row["summary"]["samples"] and row["conformers"]
        assert (arm in FEWER) == ("energy_mae" in row) == ("seconds" in row)
    for arm in ("labels", "etkdg"):
        summary = found["results"][arm]["summary"]
        assert summary["unsound"] == 0 and 0 < summary["energy_mean"] < 20
    for picture in ("energies.png", "loss.png"):
        assert (finished / picture).stat().st_size > 10_000
    for stage in (FIRST, LOW, *FEWER):
        _, config, step = load_params(finished / stage)
        assert config["stage"] == stage and step == 2
    # every law moved its arm to a place of its own
    errors = [found["results"][arm]["energy_mae"] for arm in FEWER]
    assert np.isfinite(errors).all() and len(set(errors)) == len(errors)


def test_a_finished_folder_is_refused_without_resume_and_evaluated_again_with_it(command, finished, capsys):
    before = (finished / "table.md").read_text()
    assert command("--preset", "smoke", "--out", finished) == 2
    assert f"{finished} already holds a run: continue it with --resume" in error(capsys)
    assert command("--preset", "smoke", "--out", finished, "--resume") == 0
    assert rows((finished / "table.md").read_text()) == rows(before)


def test_a_run_of_another_seed_is_not_resumed(command, finished, capsys):
    assert command("--preset", "smoke", "--out", finished, "--resume", "--seed", 1) == 2
    assert "seed" in error(capsys)


def test_two_seeds_are_combined(command, finished, tmp_path, capsys):
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(finished / "results.json", other)
    assert command("combine", finished, other) == 2
    assert "the runs must be of different seeds, got [0, 0]" in error(capsys)
    found = json.loads((other / "results.json").read_text())
    found["config"]["seed"] = 1
    found["results"]["both"]["energy_mae"] += 2.0
    (other / "results.json").write_text(json.dumps(found))
    assert command("combine", finished, other) == 0
    first, second = capsys.readouterr().out.split("Difference from multi-task, over 2 seeds")
    assert len(rows(first)) == 2 + len(FEWER) + len(CONTROLS) and len(rows(second)) == 2 + len(FEWER) - 1
    (both,) = [row for row in rows(first) if row.startswith("| + both ")]
    assert "± 1.4 " in both


@pytest.mark.parametrize(
    ("smiles", "options", "message"),
    [
        ("not a SMILES", (), "'not a SMILES' is not a SMILES that RDKit can read"),
        ("CBr", (), "knows the elements [1, 6, 7, 8], not [35]"),
        ("CO", ("--arm", "score"), "has no arm 'score', only both, control, low-level, multitask"),
        ("CO", ("--run", "no-such-run"), "no-such-run is no run folder"),
        # two steps of training make no molecules
        ("CCO", ("--samples", 2), "none of 2 samples of CCO is sound: 2 "),
    ],
)
def test_predictions_that_cannot_be_made(command, finished, tmp_path, capsys, smiles, options, message):
    out = tmp_path / "out.sdf"
    given = ("--run", finished, "--arm", "both", "--out", out)
    assert command("predict", smiles, *given, *options) == 2
    shown = capsys.readouterr().err.splitlines()
    assert shown[-1].startswith("error: ") and message in shown[-1]
    assert all(line.startswith("warning: ") for line in shown[:-1]) and not out.exists()


def test_too_few_molecules_to_hold_some_out(command, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(PRESETS, "smoke", dataclasses.replace(TINY, test=5))
    assert command("--preset", "smoke", "--out", tmp_path / "run") == 2
    assert "5 molecules are too few to hold 5 out of them" in error(capsys)
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def roles(cache):
    """Ethanol, with its several minima, among two others."""
    preset = dataclasses.replace(TINY, smiles=("CCO", "C=O", "O"), conformers=6, displaced=5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("experiments.consistency_data.PROCESSES", 1)
        yield make_structures(preset, 0, cache=cache)


def test_structures_are_distinct_minima_of_the_force_field_split_by_molecule(roles):
    train, test = roles["train"], roles["test"]
    assert len(set(test.smiles)) == 1 and not set(train.smiles) & set(test.smiles)
    assert {*train.smiles, *test.smiles} == {"CCO", "C=O", "O"}
    minima = {text: [] for text in (*train.smiles, *test.smiles)}
    for part in (train, test):
        for text, mol, own in zip(part.smiles, part.mols, part.positions, strict=True):
            _, forces = force_field_energies(mol, own, "UFF")
            assert np.abs(forces[0]).max() < 1e-2 < np.abs(forces[1:]).max()
            minima[text].append((mol, own[0]))
    assert len(minima["CCO"]) > 1
    for found in minima.values():
        apart = rmsd_matrix(found[0][0], *[np.stack([own for _, own in found])] * 2)
        assert np.all(apart + np.eye(len(found)) > SAME)


def test_displaced_structures_lie_above_their_minima(roles):
    """All in the energy that it is a minimum of; in the other one on the average."""
    for part in roles.values():
        shape = (len(part), 5)
        low, high = (data.energy.reshape(shape) for data in (part.low, part.high))
        assert np.all(low[:, 1:] > low[:, :1]) and np.mean(high[:, 1:] - high[:, :1]) > 0


def test_examples_are_the_structures_padded(roles):
    n_node = padded_size(roles)
    assert largest(roles) == 9 and n_node == 12
    part = roles["train"]
    examples = make_examples(part, n_node)
    assert len(examples) == len(part) and examples.displaced.shape == (len(part), 5, n_node, 3)
    for i, mol in enumerate(part.mols):
        n = mol.GetNumAtoms()
        np.testing.assert_array_equal(examples.mask[i], np.arange(n_node) < n)
        np.testing.assert_array_equal(examples.displaced[i, 0], examples.graph.nodes["positions"][i])
        moved = part.positions[i] - part.positions[i][0].mean(axis=0)
        np.testing.assert_allclose(examples.displaced[i, :, :n], moved, atol=1e-6)
        np.testing.assert_allclose(examples.energy[i], part.high.energy[5 * i : 5 * i + 5], rtol=1e-6)
        np.testing.assert_allclose(examples.low_energy[i], part.low.energy[5 * i : 5 * i + 5], rtol=1e-6)
        forces = [frame.forces for frame in part.high][5 * i : 5 * i + 5]
        np.testing.assert_allclose(examples.forces[i, :, :n], forces, rtol=1e-6)
        assert not examples.displaced[i, :, n:].any() and not examples.forces[i, :, n:].any()


@pytest.mark.parametrize("name", ["quick", "paper"])
def test_every_arm_has_its_stage_and_a_name(name):
    preset = PRESETS[name]
    assert set(preset.stages) == {*BEFORE, *ARMS}
    assert not set(preset.smiles) & set(preset.validation)
    assert set(ARMS) < set(consistency.NAMES)
