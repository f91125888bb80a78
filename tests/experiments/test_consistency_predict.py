"""Conformers of a SMILES by a denoiser in closed form: what is written, what is left out, and errors."""

import argparse
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rdkit import Chem

from experiments import consistency_predict
from experiments.command_line import exit_status
from experiments.consistency_predict import Generator, add_parser, generate, load_generator, predict
from experiments.consistency_sampling import Sampler
from jaxphys.data import bond_graph, embed_conformers, parse_smiles, positions_of
from jaxphys.models import DenoiserConfig, MultiTask
from jaxphys.molecule import to_graph
from jaxphys.training import Checkpoints, create_state
from jaxphys.units import KCAL_PER_MOL_IN_EV

SAMPLER = Sampler(steps=3, restarts=1, restart_steps=2)
BUTANOL = "CC[C@H](C)O"


def clean(params, graph, positions, sigma):
    """The structure that the graph of the test holds is the one answer."""
    return graph.nodes["clean"]


def first_x(params, graph, positions):
    """An energy that only the test can want: 0.1 eV for each Å between the first two atoms."""
    return params * jnp.linalg.norm(positions[0] - positions[1])


def known(numbers):
    if not set(numbers) <= {1, 6, 8}:
        raise ValueError(f"the model knows the elements [1, 6, 8], not {sorted(set(numbers) - {1, 6, 8})}")


GENERATOR = Generator(0.1, clean, first_x, known, SAMPLER, 20, "run/both", "GFN2-xTB")


@pytest.fixture
def answers(monkeypatch):
    """Makes the samples of a molecule these structures, by turns."""

    def give(structures):
        def graph(mol, *, seed):
            own = structures[seed % len(structures)]
            graph = to_graph(np.array([a.GetAtomicNum() for a in mol.GetAtoms()]), own.astype(np.float32))
            padding = graph.nodes["numbers"].size - len(own)
            held = np.pad(own - own.mean(axis=0), ((0, padding), (0, 0))).astype(np.float32)
            return graph._replace(nodes=graph.nodes | {"clean": held})

        monkeypatch.setattr(consistency_predict, "bond_graph", graph)
        monkeypatch.setattr(consistency_predict, "load_generator", lambda run, arm: GENERATOR)

    return give


def structures(smiles, count=1):
    mol = parse_smiles(smiles)
    return mol, positions_of(embed_conformers(mol, count, seed=0))


def longer(positions, by):
    """The first two atoms farther apart by so much, with all that is the same molecule."""
    moved = positions.copy()
    arm = moved[0] - moved[1]
    moved[0] += by * arm / np.linalg.norm(arm)
    return moved


def command(*arguments):
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    options = vars(parser.parse_args(["predict", *arguments]))
    options.pop("command")
    return exit_status(functools.partial(predict, **options))


def test_an_sdf_ranked_by_energy_with_copies_merged(answers, tmp_path, capsys):
    _, (one,) = structures(BUTANOL)
    other = longer(one, 0.3)
    answers([other, one, one])
    out = tmp_path / "new" / "butanol.sdf"
    assert command(BUTANOL, "--samples", "6", "--out", str(out)) == 0
    first, second = Chem.SDMolSupplier(str(out), removeHs=False)
    assert [m.GetProp("rank") for m in (first, second)] == ["1", "2"]
    assert [m.GetProp("samples") for m in (first, second)] == ["4", "2"]
    above = 0.1 * 0.3 / KCAL_PER_MOL_IN_EV
    assert float(first.GetProp("energy_kcal_per_mol")) == 0
    assert abs(float(second.GetProp("energy_kcal_per_mol")) - above) < 2e-3
    np.testing.assert_allclose(positions_of(second)[0], other - other.mean(axis=0), atol=1e-4)
    assert Chem.MolToSmiles(Chem.RemoveHs(first)) == Chem.CanonSmiles(BUTANOL) == first.GetProp("smiles")
    assert (first.GetProp("model"), first.GetProp("stereo_ok")) == ("run/both", "true")
    assert "GFN2-xTB" in first.GetProp("level")
    shown = capsys.readouterr()
    assert not shown.err and f"{above:.2f}" in shown.out and "2 conformers of 6 samples" in shown.out


def test_samples_that_are_not_the_molecule_are_left_out_and_counted(answers, tmp_path, capsys):
    _, (one,) = structures(BUTANOL)
    torn, lost = longer(one, 5.0), one.copy()
    lost[0] = np.nan
    answers([one, one * [1, 1, -1], torn, lost])
    out = tmp_path / "out.sdf"
    assert command(BUTANOL, "--samples", "4", "--out", str(out)) == 0
    assert len(Chem.SDMolSupplier(str(out))) == 1
    warning = "warning: left out of 4 samples: 1 wrong stereochemistry, 1 other bonds, 1 not finite\n"
    assert capsys.readouterr().err == warning
    answers([torn])
    assert command(BUTANOL, "--samples", "2", "--out", str(tmp_path / "none.sdf")) == 2
    assert f"error: none of 2 samples of {BUTANOL} is sound: 2 other bonds\n" in capsys.readouterr().err
    assert not (tmp_path / "none.sdf").exists()


def test_doubts_are_warnings(answers, tmp_path, capsys):
    smiles = "CCCCC(C)O"
    answers(structures(smiles)[1])
    assert command(smiles, "--samples", "1", "--out", str(tmp_path / "out.sdf")) == 0
    size, stereo = capsys.readouterr().err.splitlines()
    assert size.startswith("warning: 21 atoms, and the model was trained on at most 20")
    assert stereo.startswith("warning: the SMILES leaves 1 stereocentres or double bonds open")


def test_more_samples_than_a_block_and_steps_of_ones_own(answers, monkeypatch, tmp_path):
    mol, own = structures("CO")
    answers(own)
    monkeypatch.setattr(consistency_predict, "BLOCK", 4)
    found = generate(GENERATOR, mol, 10, seed=1)
    assert found.copies == [10] and found.energies.shape == (1,)
    np.testing.assert_allclose(found.energies[0], 0.1 * np.linalg.norm(own[0, 0] - own[0, 1]), rtol=1e-5)
    seen = []
    monkeypatch.setattr(
        consistency_predict, "generate", lambda g, *rest: seen.append(g.sampler) or generate(g, *rest)
    )
    assert command("CO", "--steps", "5", "--out", str(tmp_path / "out.sdf")) == 0
    assert seen[0].steps == 5 and seen[0].restarts == SAMPLER.restarts


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["not a molecule"], "'not a molecule' is not a SMILES that RDKit can read"),
        (["CBr"], "knows the elements [1, 6, 8], not [35]"),
        (["CO", "--samples", "0"], "--samples must be at least 1 and --seed not negative, got 0 and 0"),
        (["CO", "--steps", "0"], "steps and restart_steps must be at least 1"),
    ],
)
def test_errors_of_the_user_are_one_line_and_status_2(answers, capsys, arguments, message):
    answers(structures("CO")[1])
    assert command(*arguments) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: ") and message in shown and shown.count("\n") == 1


def save(folder, params, **config):
    """A checkpoint as a training run leaves it."""
    state = create_state(params, optax.sgd(0.1), jax.random.key(0))
    Checkpoints(folder, {"experiment": "consistency"} | config).save(state)
    (folder / "metrics.jsonl").touch()


def test_the_model_of_a_run_is_the_one_that_was_saved(tmp_path, capsys):
    sampler = Sampler(steps=2, restarts=0)
    config = DenoiserConfig(species=(1, 6, 8), reference=(-10.0, -50.0, -100.0), channels=8, layers=1)
    graph, key = jax.tree.map(jnp.asarray, bond_graph(parse_smiles("CO"))), jax.random.key(0)
    params = jax.jit(MultiTask(config).init)(key, graph, 1.0)
    settings = {"model": dataclasses.asdict(config), "sampler": dataclasses.asdict(sampler), "largest": 6}

    save(tmp_path / "run" / "proximal", params, **settings)
    found = load_generator(tmp_path / "run", "proximal")
    jax.tree.map(np.testing.assert_array_equal, found.params, params)
    x = jax.random.normal(key, graph.nodes["positions"].shape, jnp.float32)
    expected = jax.jit(MultiTask(config).apply)(
        params, graph._replace(nodes=graph.nodes | {"positions": x}), 0.7
    )
    denoised = jax.jit(found.denoise)(found.params, graph, x, 0.7)
    energy = jax.jit(found.energy)(found.params, graph, x)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-4), expected, (denoised, energy))
    assert (found.sampler, found.largest, found.name) == (sampler, 6, "run/proximal")
    # untrained, it makes no molecules
    assert command("C[C@H](C)O", "--run", str(tmp_path / "run"), "--out", str(tmp_path / "out.sdf")) == 2
    assert "none of 10 samples of C[C@H](C)O is sound: 10 other bonds" in capsys.readouterr().err
    assert command("CF", "--run", str(tmp_path / "run")) == 2
    assert "[1, 6, 8], not [9]" in capsys.readouterr().err


def test_runs_that_cannot_serve(tmp_path, capsys):
    run = tmp_path / "run"
    assert command("CO", "--run", str(run)) == 2
    assert f"error: {run} is no run folder" in capsys.readouterr().err
    save(run / "denoiser", {"params": {"encoder": jnp.zeros(1), "structure": jnp.zeros(1)}})
    save(run / "foreign", {"params": {"energy": jnp.zeros(1)}}, experiment="hamiltonian")
    for arm, message in [
        ("both", "has no arm 'both', only denoiser, foreign"),
        ("denoiser", "has no energies to rank by"),
        ("foreign", "no checkpoint of experiments.consistency"),
    ]:
        with pytest.raises(ValueError, match=message):
            load_generator(run, arm)
