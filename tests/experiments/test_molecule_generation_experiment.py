"""The experiment on generation from end to end in miniature: what it leaves, its data, samples, errors."""

import dataclasses
import json
import shutil
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rdkit import Chem

from experiments import (
    molecule_generation,
    molecule_generation_evaluation,
    molecule_generation_sample,
)
from experiments.molecule_generation_data import Molecules, batch_of_step, embedded, make_examples, read
from experiments.molecule_generation_losses import of_mirror_images
from experiments.molecule_generation_presets import LOSSES, NAMES, PRESETS
from experiments.molecule_generation_report import combine
from experiments.molecule_generation_sample import numbers_of_atoms, sort_out, write_sdf
from experiments.molecule_generation_sampling import Sampler, generate
from experiments.molecule_generation_training import initial_params
from jaxphys.metrics import perceive
from jaxphys.models import GeneratorConfig, MoleculeGenerator
from jaxphys.training import load_params

WATER = np.array([8, 1, 1]), np.array([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])


@pytest.fixture(scope="module")
def command():
    """The command line, on one process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(molecule_generation_evaluation, "PROCESSES", 1)
        # compiling takes most of the time: Muon, every size of molecules, every layer
        less: dict[str, Any] = {
            "algorithm": "adam",
            "smiles": ("C[C@H](O)N",),
            "conformers": 2,
            "sizes": (12,),
        }
        less["model"] = {"channels": 8, "layers": 1}
        patch.setitem(PRESETS, "smoke", dataclasses.replace(PRESETS["smoke"], **less))
        yield lambda *arguments: molecule_generation.main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def finished(command, tmp_path_factory):
    """One whole run."""
    out = tmp_path_factory.mktemp("runs") / "run"
    assert command("--preset", "smoke", "--out", out) == 0
    return out


def error(capsys):
    """The one line on stderr."""
    shown = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(shown) == 1
    return shown[0]


class TestRun:
    def test_leaves_table_plots_results_and_checkpoints(self, finished):
        table = (finished / "table.md").read_text()
        assert all(NAMES[arm] in table for arm in ("data", *PRESETS["smoke"].rates))
        found = json.loads((finished / "results.json").read_text())
        data = found["results"]["data"]
        assert data["molecule_stability"] == data["valid"] == 100 and data["changed"] == 0
        assert 0 < data["strain_median"] < 10  # of MMFF94s minima in GFN2-xTB
        for arm in PRESETS["smoke"].rates:
            row = found["results"][arm]
            assert row["molecules"] == PRESETS["smoke"].samples and row["finite"] == 100
            assert (finished / arm / "metrics.jsonl").is_file()
        # the law is blind for the hand, the squared error is not
        assert found["results"]["exponential"]["mirror"] < 1e-6 < 1e-3 < found["results"]["mse"]["mirror"]
        assert all((finished / f"{name}.png").is_file() for name in ("strain", "loss", "molecules"))

    def test_goes_on_exactly_and_not_by_mistake(self, command, finished, tmp_path, capsys):
        assert command("--preset", "smoke", "--out", finished) == 2
        assert "--resume" in error(capsys)
        again = tmp_path / "run"
        shutil.copytree(finished, again)
        shutil.rmtree(again / "exponential")  # as if it had not begun
        assert command("--preset", "smoke", "--out", again, "--resume") == 0
        for arm in PRESETS["smoke"].rates:
            old, new = (load_params(folder / arm)[0] for folder in (finished, again))
            jax.tree.map(np.testing.assert_array_equal, old, new)

    def test_data_that_a_preset_needs(self, command, tmp_path, capsys):
        assert command("--preset", "qm7", "--out", tmp_path / "run") == 2
        assert "the preset qm7 learns from data" in error(capsys)

    def test_seeds_combine(self, finished, tmp_path):
        other = tmp_path / "other"
        shutil.copytree(finished, other)
        with pytest.raises(ValueError, match="different seeds"):
            combine([finished, other])
        found = json.loads((other / "results.json").read_text())
        found["config"]["seed"] = 1
        found["results"]["exponential"]["molecule_stability"] += 8.0
        (other / "results.json").write_text(json.dumps(found))
        text = combine([finished, other])
        assert "± 5.7" in text and "+4 ± 5.7" in text  # √32
        found["config"]["settings"]["steps"] = 7
        (other / "results.json").write_text(json.dumps(found))
        with pytest.raises(ValueError, match="differ in settings"):
            combine([finished, other])

    def test_samples(self, command, finished, tmp_path, capsys, monkeypatch):
        out = tmp_path / "molecules.sdf"
        options = ("sample", "--run", finished, "--arm", "mse", "--n", 3, "--out", out)
        assert command(*options) == 2  # what two steps of training make
        assert "none of 3 molecules is valid" in error(capsys)
        # what better training makes
        made = [WATER, (WATER[0], 1.01 * WATER[1]), (WATER[0], 3 * WATER[1])]
        monkeypatch.setattr(molecule_generation_sample, "generate", lambda *arguments, **named: made)
        assert command(*options) == 0
        assert [mol.GetNumAtoms() for mol in Chem.SDMolSupplier(str(out), removeHs=False)] == [3, 3]
        assert "2 molecules, 1 different" in capsys.readouterr().out
        for arguments, message in [
            (("--run", tmp_path / "none"), "is no run folder"),
            (("--run", finished, "--arm", "kabsch"), "no arm 'kabsch', only exponential, mse"),
            (("--run", finished, "--n", 0), "--n must be at least 1"),
            (("--run", finished, "--atoms", 0), "at least one atom"),
        ]:
            capsys.readouterr()
            assert command("sample", *arguments, "--out", out) == 2
            assert message in error(capsys)


class TestData:
    def test_molecules_are_checked(self):
        positions = WATER[1].copy()
        positions[1, 2] = np.nan
        with pytest.raises(ValueError, match=r"mine, molecule 1: positions must be finite, .* for atom 1"):
            Molecules([WATER, (WATER[0], positions)], "mine")
        with pytest.raises(ValueError, match="mine, molecule 0: a molecule needs at least one atom"):
            Molecules([(np.zeros(0, int), np.zeros((0, 3)))], "mine")
        with pytest.raises(ValueError, match="mine: no molecules to learn from"):
            Molecules([], "mine")

    def test_by_size(self):
        molecules = embedded(["O", "CO", "CC"], 1)
        small, large = make_examples(molecules, (1, 6, 8), (4, 8))
        assert small.mask.sum() == 3 and small.mask.shape == (1, 4) and large.mask.shape == (2, 8)
        np.testing.assert_array_equal(small.elements[0, :3], [2, 0, 0])
        np.testing.assert_allclose(np.sum(large.positions, axis=1), 0, atol=1e-5)
        with pytest.raises(ValueError, match=r"elements \(1, 6\), a molecule has \[8\]"):
            make_examples(molecules, (1, 6), (8,))
        with pytest.raises(ValueError, match="has 8 atoms, at most 6"):
            make_examples(molecules, (1, 6, 8), (4, 6))
        sizes = [len(batch_of_step([small, large], 5, 0, step).mask[0]) for step in range(60)]
        assert 10 < sizes.count(4) < 30  # one in three
        again = batch_of_step([small, large], 5, 0, 7)
        np.testing.assert_array_equal(again.positions, batch_of_step([small, large], 5, 0, 7).positions)

    def test_files(self, tmp_path, capsys):
        numbers, positions = np.zeros((2, 4), np.int8), np.zeros((2, 4, 3))
        numbers[0, :3], positions[0, :3] = WATER
        numbers[1, :3], positions[1, :3] = [16, 1, 1], 1.4 * WATER[1]
        arrays = {"Z": numbers, "R_angstrom": positions, "natoms": np.array([3, 3])}
        arrays |= {"fname": np.array(["a", "b"]), "E_pbe0_kcal": np.full(2, -200.0)}
        np.savez(tmp_path / "qm7.npz", **arrays)
        molecules = read(tmp_path, elements=(1, 8), largest=3)
        assert len(molecules) == 1 and molecules.species == (1, 8)
        assert "1 of 2 molecules have more than 3 atoms or elements" in capsys.readouterr().err
        with pytest.raises(ValueError, match="no molecules to learn from"):
            read(tmp_path, elements=(1, 8), largest=2)
        positions[0, 1, 0] = np.nan
        np.savez(tmp_path / "qm7.npz", **arrays)
        with pytest.raises(ValueError, match="frame 0"):
            read(tmp_path, elements=(1, 8), largest=3)


class TestSampling:
    def test_molecules_do_not_depend_on_each_other(self):
        config = GeneratorConfig(species=(1, 6), channels=4, layers=1)
        model, params = MoleculeGenerator(config), initial_params(config, 0)
        sampler = Sampler(steps=3)
        all_at_once = generate(model, params, [3, 4, 2, 4, 3], 0, sampler, block=3)
        assert [len(numbers) for numbers, _ in all_at_once] == [3, 4, 2, 4, 3]
        one_by_one = generate(model, params, [3, 4, 2, 4, 3], 0, sampler, block=1)
        for (numbers, positions), (others, moved) in zip(all_at_once, one_by_one, strict=True):
            np.testing.assert_array_equal(numbers, others)
            np.testing.assert_allclose(positions, moved, atol=1e-4)
            np.testing.assert_allclose(positions.mean(axis=0), 0, atol=1e-5)
        with pytest.raises(ValueError, match="at least one atom"):
            generate(model, params, [3, 0], 0, sampler)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [({"steps": 0}, "steps"), ({"sigma_min": 7.0}, "sigma_max"), ({"eta": 1.5}, "eta")],
    )
    def test_settings(self, settings, message):
        with pytest.raises(ValueError, match=message):
            Sampler(**settings)

    def test_numbers_of_atoms(self):
        drawn = numbers_of_atoms({3: 10, 8: 30}, 2000, 0)
        assert set(drawn) == {3, 8} and abs(np.mean(np.array(drawn) == 3) - 0.25) < 0.05

    def test_what_is_written(self, tmp_path):
        lost = WATER[0], np.full((3, 3), np.nan)
        mols, left_out = sort_out([WATER, lost, (WATER[0][:2], WATER[1][:2])])
        assert left_out == {"not finite": 1, "without sound bonds": 1}
        write_sdf(tmp_path / "a.sdf", mols, "run/arm")
        (mol,) = Chem.SDMolSupplier(str(tmp_path / "a.sdf"), removeHs=False)
        assert mol.GetProp("smiles") == "O" and mol.GetProp("stable") == "true"
        np.testing.assert_allclose(mol.GetConformer().GetPositions(), WATER[1], atol=1e-4)


class TestLosses:
    def test_energies_by_hand(self):
        target, prediction = jnp.array([[0.0, 0, 0], [1.5, 0, 0]]), jnp.array([[0.0, 0, 0], [0, 1.7, 0]])
        mask = jnp.ones(2, bool)
        springs = {"constant": 1.0, "inverse": 5 / 1.5, "inverse-square": 16 / 1.5**2}
        springs["exponential"] = 42 * np.exp(-1.5)
        for arm, k in springs.items():
            np.testing.assert_allclose(LOSSES[arm](prediction, target, mask=mask), k * 0.2**2 / 2, rtol=1e-5)
        np.testing.assert_allclose(LOSSES["mse"](prediction, target, mask=mask), (1.5**2 + 1.7**2) / 2)

    def test_mirror_images(self):
        flat, chiral = WATER[1], np.array([[0.0, 0, 0], [1, 0, 0], [0, 1.3, 0], [0, 0, 1.7]])
        assert of_mirror_images(LOSSES["exponential"], [chiral]) < 1e-10
        assert of_mirror_images(LOSSES["mse"], [chiral]) > 0.05
        assert of_mirror_images(LOSSES["mse"], [flat]) < 1e-10


def test_strain_of_a_stretched_molecule(monkeypatch):
    monkeypatch.setattr(molecule_generation_evaluation, "PROCESSES", 1)
    rest, stretched = perceive(*WATER), perceive(WATER[0], 1.1 * WATER[1])
    found = molecule_generation_evaluation.strain([rest, stretched], cache=None)
    assert found["strains"][0] < 1 < found["strains"][1] < 40
    assert found["changed"] == 0
