"""The force-field experiment from end to end in miniature: what it leaves, resuming, prediction, errors."""

import dataclasses
import json
import re
import shutil

import ase.io
import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT

from experiments import force_field
from experiments.force_field_data import Keys, make_data, make_examples, read_data, split_data
from experiments.force_field_evaluation import BASELINE, MODEL
from experiments.force_field_predict import calculator, load_force_field
from experiments.force_field_presets import PRESETS
from experiments.force_field_training import STAGE, errors, make_loss, make_predictor
from jaxphys.data import concatenate, thermal, write_xyz
from jaxphys.metrics import energy_metrics
from jaxphys.models import EnergyModel, energy_fn
from jaxphys.molecule import to_graph
from jaxphys.training import load_params

VALENCE = ["--reference", "valence"]  # the zero of EMT's energies is its own


def write_labelled(path, molecules, *, forces=True):
    """Frames with energies and forces of ASE's EMT."""
    frames = []
    for molecule in molecules:
        atoms = Atoms(molecule.numbers, molecule.positions)
        atoms.calc = EMT()
        atoms.get_forces()
        if not forces:
            atoms.calc.results.pop("forces")
        frames.append(atoms)
    ase.io.write(path, frames, format="extxyz")
    return path


@pytest.fixture(scope="module")
def water(tmp_path_factory):
    return write_labelled(tmp_path_factory.mktemp("data") / "water.xyz", thermal("O", 16, seed=0))


def smoke(data, out, *more):
    return force_field.main(["--preset", "smoke", "--data", str(data), "--out", str(out), *VALENCE, *more])


@pytest.fixture(scope="module")
def finished(tmp_path_factory, water):
    """One whole run of the smallest preset."""
    out = tmp_path_factory.mktemp("runs") / "run"
    assert smoke(water, out) == 0
    return out


def parts(data, seed=0):
    """The split of `finished`."""
    return split_data(read_data(data, Keys(reference="valence")), train=None, validation=None, seed=seed)


def test_a_run_leaves_table_plots_results_and_checkpoints(finished):
    table = (finished / "table.md").read_text()
    assert all(name in table for name in ("validation", "test", BASELINE, "meV/Å", "F on O", "F on H"))
    results = json.loads((finished / "results.json").read_text())
    for role in ("validation", "test"):
        for setting in (MODEL, BASELINE):
            found = results[role][setting]
            assert found["energy_mae"] > 0 and found["force_mae"] > 0 and found["frames"] == 2
            by_element = found["force_mae_by_element"]
            assert np.isclose(found["force_mae"], (2 * by_element["H"] + by_element["O"]) / 3)
    assert results["learning_curve"]["step"] == [10, 20]
    final = results["learning_curve"]["validation_force_mae"][-1]
    assert np.isclose(final, results["validation"][MODEL]["force_mae"], rtol=1e-5)
    for picture in ("learning_curve.png", "loss.png", "energies.png", "forces.png"):
        assert (finished / picture).stat().st_size > 10_000
    _, config, step = load_params(finished / STAGE)
    assert config["experiment"] == "force_field" and step == 20


def test_the_baseline_is_the_mean_energy_and_no_forces(finished, water):
    split = parts(water)
    found = json.loads((finished / "results.json").read_text())["test"][BASELINE]
    off = np.abs(split.test.energy - split.train.energy.mean())
    assert np.isclose(found["energy_mae"], off.mean(), rtol=1e-6)
    assert np.isclose(found["energy_mae_per_atom"], off.mean() / 3, rtol=1e-6)
    assert np.isclose(found["force_mae"], np.abs(split.test.forces).mean(), rtol=1e-6)


def test_errors_are_those_of_the_metrics(water):
    data = read_data(water, Keys(reference="valence"))[:3]
    zero = [energy_metrics(lambda r: 0.0 * r.sum(), f.positions, f.energy, f.forces) for f in data]
    found = errors(data, np.zeros(3), np.zeros_like(data.forces))
    for name, value in found.items():
        assert np.isclose(value, np.mean([float(metrics[name]) for metrics in zero])), name


def test_prediction_is_the_model_with_its_atoms(finished, water, tmp_path, capsys):
    """Energies against the network called by hand, forces against differences of energies, errors again."""
    split = parts(water)
    write_xyz(tmp_path / "mine.xyz", [frame.molecule for frame in split.test])
    assert force_field.main(["predict", "--checkpoint", str(finished), str(tmp_path / "mine.xyz")]) == 0
    assert "mine.predicted.xyz" in capsys.readouterr().out
    predicted = ase.io.read(tmp_path / "mine.predicted.xyz", index=":")
    field = load_force_field(finished)
    params, config, _ = load_params(finished / STAGE)
    for atoms in predicted:
        graph = to_graph(atoms.numbers, atoms.positions)
        network = jax.jit(energy_fn(EnergyModel(field.config), params, graph))
        alone = sum(config["atomic_energies"][str(z)] for z in atoms.numbers)
        assert np.isclose(
            float(network(jnp.asarray(atoms.positions))) + alone, atoms.get_potential_energy(), atol=1e-6
        )
        step = np.zeros((3, 3))
        step[1, 2] = 1e-4
        energies = [field.energy_and_forces(atoms.numbers, atoms.positions + s)[0] for s in (step, -step)]
        assert np.isclose(atoms.get_forces()[1, 2], -(energies[0] - energies[1]) / 2e-4, atol=1e-5)
    off = [abs(a.get_potential_energy() - e) for a, e in zip(predicted, split.test.energy, strict=True)]
    results = json.loads((finished / "results.json").read_text())
    assert np.isclose(np.mean(off), results["test"][MODEL]["energy_mae"], rtol=1e-3, atol=1e-5)


def test_the_calculator_serves_any_molecule_of_its_elements(finished):
    atoms = Atoms("OH2", [[0, 0, 0], [0, 0, 0.97], [0.94, 0, -0.2]])
    atoms.calc = calculator(finished)
    energy, forces = load_force_field(finished).energy_and_forces(atoms.numbers, atoms.positions)
    assert atoms.get_potential_energy() == energy
    np.testing.assert_array_equal(atoms.get_forces(), forces)
    two = atoms + Atoms("OH2", atoms.positions + 50.0)
    two.calc = atoms.calc
    assert np.isclose(two.get_potential_energy(), 2 * energy, rtol=1e-9)
    atoms.pbc, atoms.cell = True, np.eye(3) * 9
    with pytest.raises(ValueError, match="molecules"):
        atoms.get_potential_energy()


def test_a_calculator_is_as_precise_without_64_bit_mode(finished):
    atoms = ase.io.read(finished / "start.xyz")
    expected = load_force_field(finished).energy_and_forces(atoms.numbers, atoms.positions)
    with jax.enable_x64(False):
        found = load_force_field(finished).energy_and_forces(atoms.numbers, atoms.positions)
    assert found[0] == expected[0] and found[1].dtype == np.float64
    np.testing.assert_array_equal(found[1], expected[1])


def test_an_interrupted_run_resumes_bit_for_bit(finished, water, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    shutil.rmtree(out / STAGE / "20")  # as if a kill had come between the checkpoints
    assert smoke(water, out, "--resume") == 0
    straight, resumed = (load_params(folder / STAGE)[0] for folder in (finished, out))
    jax.tree.map(np.testing.assert_array_equal, straight, resumed)
    before, after = (json.loads((f / "results.json").read_text()) for f in (finished, out))
    assert before["test"] == after["test"] and after["learning_curve"]["step"] == [10, 20]


def test_mixed_molecules_are_padded_and_padding_adds_nothing(finished, tmp_path):
    """Predictions of a padded set are those of its molecules alone, and the loss is their mean deviation."""
    molecules = [m for name in ("O", "[OH-]", "OO") for m in thermal(name, 2, seed=1)]
    data = read_data(write_labelled(tmp_path / "some.xyz", molecules), Keys(reference="valence"))
    data = dataclasses.replace(data, charge=np.array([m.charge for m in molecules]))
    field = load_force_field(finished)
    energy, forces = make_predictor(field.config, data)(field.params)
    alone = [field.energy_and_forces(f.numbers, f.positions, f.charge) for f in data]
    atoms = [sum(field.atomic_energies[int(z)] for z in f.numbers) for f in data]
    np.testing.assert_allclose(energy, [e - a for (e, _), a in zip(alone, atoms, strict=True)], atol=1e-4)
    np.testing.assert_allclose(forces, np.concatenate([f for _, f in alone]), atol=1e-4)

    examples, common = make_examples(data)
    loss = make_loss(PRESETS["smoke"], field.config, common)
    total, count, _ = jax.jit(loss)(field.params, examples, jax.random.key(0))
    off = [np.mean((forces[data.frame_of_atom == i] - f.forces) ** 2) for i, f in enumerate(data)]
    expected = np.sum(off) + 0.1 * np.sum(((energy - data.energy) / data.n_atoms) ** 2)
    assert np.isclose(total * field.config.scale**2, expected, rtol=1e-4) and count == 6


def rmd17_file(path, train=6, test=4):
    rng = np.random.default_rng(0)
    base = np.array([[0, 0, 0], [0, 0, 0.97], [0.94, 0, -0.2]])
    arrays = {"z": np.array([8, 1, 1])}
    for kind, count in (("train", train), ("test", test)):
        arrays[f"R_{kind}"] = base + 0.03 * rng.standard_normal((count, 3, 3))
        arrays[f"E_{kind}"] = -2077.0 + 0.1 * rng.standard_normal(count)
        arrays[f"F_{kind}"] = rng.standard_normal((count, 3, 3))
    np.savez(path, **arrays)
    return path


def test_a_published_split_is_kept(tmp_path):
    data = read_data(rmd17_file(tmp_path / "rmd17_water.npz"), Keys())
    split = split_data(data, train=4, validation=2, seed=3)
    np.testing.assert_array_equal(split.train.energy, data.energy[:4])
    np.testing.assert_array_equal(split.validation.energy, data.energy[4:6])
    np.testing.assert_array_equal(split.test.energy, data.energy[6:])


def write_transition1x(path):
    keys = {"positions": (2, 3, 3), "wB97x_6-31G(d).energy": (2,), "wB97x_6-31G(d).forces": (2, 3, 3)}
    with h5py.File(path, "w") as file:
        for kind, energy, size in (("train", -2541.0, 1.0), ("test", -2540.0, 1.1)):
            reaction = file.create_group(f"data/CHN/{kind}")
            for name in ("", "reactant", "product"):
                group = reaction.require_group(name) if name else reaction
                group["atomic_numbers"] = [6, 7, 1]
                for key, shape in keys.items():
                    group[key] = np.full(shape, energy) if "energy" in key else np.zeros(shape)
                group["positions"][:] = size * np.eye(3)
            file.create_group(f"{kind}/CHN")["rxn"] = h5py.SoftLink(f"/data/CHN/{kind}")
    return path


def write_archive(path):
    """rMD17 as it is published: kcal/mol, and the numbers of the split in a folder beside it."""
    (path.parent.parent / "splits").mkdir()
    frames = np.stack([np.eye(3) * (1 + 0.01 * i) for i in range(4)])
    energies = -76.4 * 627.509474 + np.arange(4.0)
    np.savez(path, nuclear_charges=[8, 1, 1], coords=frames, energies=energies, forces=np.zeros((4, 3, 3)))
    for kind, index in (("train", "3\n0\n"), ("test", "1\n")):
        (path.parent.parent / "splits" / f"index_{kind}_01.csv").write_text(index)
    return path


def test_sets_with_a_split_of_their_own_keep_it(tmp_path):
    data = read_data(write_transition1x(tmp_path / "t1x.h5"), Keys())
    split = split_data(data, train=4, validation=2, seed=0)
    assert np.all(split.train.energy == -2541.0)
    (tmp_path / "npz_data").mkdir()
    data = read_data(write_archive(tmp_path / "npz_data" / "rmd17_water.npz"), Keys())
    split = split_data(data, train=1, validation=1, seed=0)
    np.testing.assert_allclose([part.positions[0, 0] for part in split], [1.03, 1.0, 1.01])
    assert len(split.test) == 1


def places(data):
    return {frame.positions.tobytes() for frame in data}


@pytest.mark.parametrize("seed", [0, 1])
def test_no_frame_has_two_roles(water, seed):
    data = read_data(water, Keys(reference="valence"))
    # a copy of frame 0 stands somewhere else in the file
    data = data[np.array([*range(16), 0])]
    split = split_data(data, train=10, validation=3, seed=seed)
    assert not places(split.test) & (places(split.train) | places(split.validation))
    assert len(split.train) == 10 and len(split.validation) == 3 and len(split.test) in (3, 4)
    other = split_data(data, train=10, validation=3, seed=seed, test=data[:12])
    assert not places(other.test) & (places(other.train) | places(other.validation))
    assert places(other.train) == places(split.train)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "{folder}/none.xyz"], "none.xyz: no such file"),
        (["--data", "{folder}/water.json"], r"unknown suffix '.json'; data are read from .npz"),
        (["--data", "{folder}/bare.xyz", *VALENCE], "no forces; .* --forces-key"),
        (["--data", "{folder}/water.xyz", *VALENCE, "--train", "90"], "90 frames to train .* there are 16"),
        (["--data", "{folder}/water.xyz", *VALENCE, "--train", "0"], "at least 1"),
        (["--data", "{folder}/water.xyz", *VALENCE, "--train", "14"], "nothing is left to test"),
        (["--data", "{folder}/water.xyz"], "energy"),
        (
            ["--data", "{folder}/water.xyz", *VALENCE, "--test", "{folder}/ammonia.xyz"],
            "the test frames have N, which the training frames lack: a model of H, O",
        ),
        (["--preset", "rmd17"], "name a file with --data"),
        (["--data", "{folder}/water.xyz", *VALENCE, "--steps", "0"], "--steps must be at least 1"),
        (["predict", "--checkpoint", "{folder}", "{folder}/water.xyz"], "no complete one"),
        (["dynamics", "--checkpoint", "{folder}/none"], "none is not a directory"),
    ],
)
def test_wrong_input_is_said_in_one_line(water, tmp_path, capsys, arguments, message):
    shutil.copy(water, tmp_path / "water.xyz")
    shutil.copy(water, tmp_path / "water.json")
    write_labelled(tmp_path / "bare.xyz", thermal("O", 3, seed=0), forces=False)
    write_labelled(tmp_path / "ammonia.xyz", thermal("N", 3, seed=0))
    filled = [a.format(folder=tmp_path) for a in arguments]
    train = arguments[0].startswith("--")
    preset = ["--preset", "smoke"] if train and "--preset" not in arguments else []
    assert force_field.main([*preset, *filled, *(["--out", str(tmp_path / "run")] if train else [])]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and re.search(message, error)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["predict", "{folder}/other.xyz"],
            r"other.xyz, frame 0: the model knows the elements \[1, 8\], not",
        ),
        (["dynamics", "--picoseconds", "0"], "at least 20 are needed"),
        (["dynamics", "--temperature", "-1"], "temperature must not be negative"),
        (["dynamics", "--start", "{folder}/other.xyz"], r"knows the elements \[1, 8\]"),
    ],
)
def test_wrong_input_for_a_trained_model_too(finished, tmp_path, capsys, arguments, message):
    write_xyz(tmp_path / "other.xyz", thermal("N", 1, seed=0))
    filled = [a.format(folder=tmp_path) for a in arguments[1:]]
    assert force_field.main([arguments[0], "--checkpoint", str(finished), *filled]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_a_finished_folder_and_another_seed_are_refused(finished, water, capsys):
    assert smoke(water, finished) == 2
    assert "continue it with --resume" in capsys.readouterr().err
    assert smoke(water, finished, "--resume", "--seed", "1") == 2
    assert "another config" in capsys.readouterr().err


def test_the_dynamics_command_leaves_its_record(finished, tmp_path, capsys):
    out = tmp_path / "md"
    # a model that has hardly been trained lets its molecule go soon
    short = ["--picoseconds", "0.002", "--timestep", "0.05", "--temperature", "0"]
    assert force_field.main(["dynamics", "--checkpoint", str(finished), *short, "--out", str(out)]) == 0
    assert "meV/atom by linear fit" in capsys.readouterr().out
    record = json.loads((out / "dynamics.json").read_text())
    assert np.isclose(record["time_ps"][-1], 0.002) and np.isfinite(record["fitted"])
    assert len(ase.io.read(out / "dynamics.traj", index=":")) >= 1 and (out / "dynamics.png").exists()


def test_own_labels_are_forces_of_their_energies(tmp_path):
    """H₂: between neighbouring bond lengths, the energy falls by the mean force times the distance."""
    preset = dataclasses.replace(PRESETS["smoke"], smiles="[H][H]", geometries=6, temperature=50.0)
    data = make_data(preset, 0, tmp_path, lambda text: None)
    again = make_data(preset, 0, tmp_path, lambda text: None)
    np.testing.assert_array_equal(data.energy, again.energy)
    bonds = data.positions[1::2] - data.positions[::2]
    length = np.linalg.norm(bonds, axis=1)
    pull = np.sum(data.forces[1::2] * bonds, axis=1) / length
    order = np.argsort(length)
    work = 0.5 * (pull[order][1:] + pull[order][:-1]) * np.diff(length[order])
    np.testing.assert_allclose(-np.diff(data.energy[order]), work, rtol=0.02, atol=1e-4)


def test_help_explains_itself(capsys):
    with pytest.raises(SystemExit) as stop:
        force_field.main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert all(word in text for word in ("--preset", "--data", "--test", "--resume", "predict", "dynamics"))


def test_sets_of_one_molecule_share_a_graph_and_others_do_not(water):
    data = read_data(water, Keys(reference="valence"))
    examples, common = make_examples(data)
    assert common is not None and examples.graph is None and examples.mask is None
    turned = data[:1]
    turned = dataclasses.replace(turned, numbers=turned.numbers[::-1].copy())
    examples, common = make_examples(concatenate([data, turned]))
    assert common is None and examples.graph.nodes["numbers"].shape == (17, 4)
