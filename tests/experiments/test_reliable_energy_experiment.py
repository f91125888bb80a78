"""The experiment on energy surfaces, end to end in miniature: what it leaves, its parts, errors."""

import dataclasses
import json

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rdkit import Chem

from experiments import reliable_energy
from experiments.reliable_assembly import DISTANCE, displaced_groups, functional_group, side_of_bond
from experiments.reliable_data import bonds, make_examples, with_modes
from experiments.reliable_evaluation import constant_energy, evaluate
from experiments.reliable_molecules import MOLECULES, VALIDATION
from experiments.reliable_paths import read_paths
from experiments.reliable_presets import ARMS, PRESETS, stages
from experiments.reliable_training import TERMS
from jaxphys.data import embed, from_arrays
from jaxphys.energies import elastic_network
from jaxphys.models import EnergyConfig
from jaxphys.molecule import graph_sizes
from jaxphys.training import load_params

TINY = dataclasses.replace(
    PRESETS["smoke"],
    smiles=("O", "N", "CO", "CN", "C=O", "C#N"),
    stages=stages(2, 1e-3, energy=2, zero_force=2, bound=2, masked=2, full=2, published=2, forces=2),
    max_steps=3,
    path=5,
)


# the others' laws are all part of the full arm
FEWER = {arm: ARMS[arm] for arm in ("energy", "full", "published", "forces")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One whole run of the miniature preset."""
    out = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "smoke", TINY)
        patch.setattr(reliable_energy, "ARMS", FEWER)
        patch.setattr("experiments.reliable_data.PROCESSES", 1)
        assert reliable_energy.main(["--preset", "smoke", "--out", str(out)]) == 0
    return out


def test_a_run_leaves_table_plots_results_and_checkpoints(finished):
    table = (finished / "table.md").read_text()
    assert all(
        name in table for name in ("energy only", "full: all four", "ΔP/ΔP₀", "HCN to HNC", "times smaller")
    )
    results = json.loads((finished / "results.json").read_text())["results"]
    assert list(results) == ["constant", *FEWER]
    for arm, found in results.items():
        assert np.isfinite(found["test"]["energy_mae"]) and np.isfinite(found["test"]["force_off_minima"])
        assert arm == "constant" or found["test"]["force_at_minima"] > 0
    for picture in ("loss.png", "recovery.png", "path-HCN-to-HNC.png"):
        assert (finished / picture).stat().st_size > 10_000
    for arm in FEWER:
        _, config, step = load_params(finished / arm)
        assert config["stage"] == arm and step == 2
    # every law moved its arm to a place of its own, but for a hinge that nothing has opened
    energies = [found["test"]["energy_mae"] for arm, found in results.items() if arm != "published"]
    assert len(set(energies)) == len(energies)


def test_a_constant_energy_is_seen_through(finished):
    found = json.loads((finished / "results.json").read_text())["results"]["constant"]
    assert found["test"]["force_at_minima"] == 0 and found["test"]["energy_change"] == 0
    assert found["test"]["displacement_ratio"] == pytest.approx(1, abs=1e-4)
    assert found["test"]["force_off_minima"] > 0.5


def test_the_isomerisation_has_the_barrier_of_the_method(finished):
    path = json.loads((finished / "results.json").read_text())["results"]["full"]["paths"]["HCN to HNC"]
    assert path["reference"][0] == 0 and path["reference"][-1] > 0.2 and 2.5 < path["true_barrier"] < 3.5


def test_a_finished_folder_is_refused_without_resume(finished, capsys):
    assert reliable_energy.main(["--preset", "smoke", "--out", str(finished)]) == 2
    assert "already holds a run: continue it with --resume" in capsys.readouterr().err


def test_data_must_be_a_folder_with_the_set(tmp_path, capsys):
    out = ["--out", str(tmp_path / "run")]
    assert reliable_energy.main(["--data", str(tmp_path / "none"), *out]) == 2
    assert "qm7_7101.npz" in capsys.readouterr().err
    assert reliable_energy.main(["--data", str(tmp_path), *out]) == 2
    assert "no such file" in capsys.readouterr().err


def test_reactions_of_a_set_are_three_images_of_known_elements(tmp_path):
    assert read_paths(tmp_path / "none.h5", (1, 6, 7), 3) == {}
    with h5py.File(tmp_path / "set.h5", "w") as file:
        for formula, numbers, lowest in (("CHN", [6, 7, 1], -2540.0), ("CHO", [6, 8, 1], -3095.0)):
            for reaction in ("rxn1", "rxn2"):
                for energy, end in enumerate(("reactant", "transition_state", "product")):
                    group = file.create_group(f"test/{formula}/{reaction}/{end}")
                    group["atomic_numbers"] = numbers
                    group["positions"] = np.diag([1.0, 1.2, 1.4 + 0.1 * energy])[None]
                    group["wB97x_6-31G(d).energy"] = [lowest + [0.0, 2.0, 0.5][energy]]
                    group["wB97x_6-31G(d).forces"] = np.zeros((1, 3, 3))
    paths = read_paths(tmp_path / "set.h5", (1, 6, 7), 3)
    assert list(paths) == ["CHN rxn1", "CHN rxn2"]
    assert list(read_paths(tmp_path / "set.h5", (1, 6, 7, 8), 3)) == ["CHN rxn1", "CHN rxn2", "CHO rxn1"]
    np.testing.assert_allclose(np.diff(paths["CHN rxn2"].energy), [2.0, -1.5])


def test_functional_groups_and_their_displacement():
    ethanol, ethane, ring = (embed(s, seed=0) for s in ("CCO", "CC", "C1CC1"))
    assert bonds(ethanol).sum() == 2 * 8
    side = side_of_bond(ethanol, 1, 2)
    assert sorted(ethanol.numbers[side].tolist()) == [1, 8]
    assert sorted(ethanol.numbers[functional_group(ethanol)].tolist()) == [1, 1, 1, 6]
    assert functional_group(ethane).sum() == 4
    assert functional_group(ring) is None
    data = from_arrays(ethanol.numbers, ethanol.positions[None], [0.0], level="none", reference="total")
    chosen, (moved,) = displaced_groups(data, 3, seed=0)
    assert chosen.tolist() == [0]
    lengths = np.linalg.norm(moved, axis=1)
    np.testing.assert_allclose(lengths[functional_group(ethanol)], DISTANCE)
    assert np.count_nonzero(lengths) == 4


def test_padding_changes_no_law_but_what_it_may():
    """The laws without random numbers of many atoms are the same in a larger graph."""
    molecule = embed("O", seed=0)
    data = from_arrays(molecule.numbers, molecule.positions[None], [0.3], level="none", reference="total")
    config = EnergyConfig(species=(1, 8), species_head=True, **TINY.model)
    key = jax.random.key(3)

    @jax.jit
    def laws(params, example):
        chosen = ("energy", "zero_force", "masked_atoms")
        return [TERMS[law](config, TINY, params, example, key) for law in chosen]

    values = []
    params = reliable_energy.initial_params(config, make_examples(data, None, graph_sizes(3)[0]), 0)
    for n_node in (graph_sizes(3)[0], graph_sizes(8)[0]):
        example = jax.tree.map(lambda leaf: leaf[0], make_examples(data, None, n_node))
        values.append(laws(params, example))
    np.testing.assert_allclose(*values, rtol=1e-4)


def test_modes_cost_half_an_electronvolt_each_and_leave_padding_in_place():
    molecule = embed("O", seed=0)
    data = from_arrays(molecule.numbers, molecule.positions[None], [0.0], level="none", reference="total")
    example = jax.tree.map(lambda leaf: leaf[0], with_modes(make_examples(data, None, 8)))
    modes = np.asarray(example.modes)
    assert not modes[3:].any() and not modes[..., 3:].any()
    energy = elastic_network(example.positions, mask=example.mask)
    for mode in np.moveaxis(modes[..., :3], -1, 0):
        np.testing.assert_allclose(energy(example.positions + 0.01 * mode), 0.5e-4, rtol=0.03)


def test_no_molecule_is_trained_on_that_settings_were_chosen_on():
    names = [[Chem.CanonSmiles(smiles) for smiles in group] for group in (MOLECULES, VALIDATION)]
    assert [len(set(group)) for group in names] == [455, 64]
    assert not {*names[0]} & {*names[1]}


def test_a_harmonic_well_is_found_back():
    """A closed form in place of a model: the metrics see no error and no displacement."""
    molecule = embed("O", seed=0)
    data = from_arrays(molecule.numbers, molecule.positions[None], [0.0], level="none", reference="total")
    test = make_examples(data, None, 4)
    rest = jnp.linalg.norm(test.positions[0][:3, None] - test.positions[0][:3] + 1e-9, axis=-1)

    def springs(params, graph, positions):
        apart = positions[:3, None] - positions[:3]
        distance = jnp.sqrt(jnp.sum(apart**2, axis=-1) + 1e-12)
        return params * jnp.sum((distance - rest) ** 2)

    noise = 0.05 * jax.random.normal(jax.random.key(0), test.positions.shape, jnp.float32)
    preset = dataclasses.replace(TINY, max_steps=200, fmax=0.001)
    found = evaluate(springs, jnp.float32(10.0), preset, test, ["water"], noise)
    assert found["force_at_minima"] < 1e-3 and found["displacement"] < 1e-3 and found["good"] == 100
    held = evaluate(constant_energy, None, preset, test, ["water"], noise)
    assert held["displacement"] > 0.01
