"""Debiasing: biased data and reference, what annealing mends and dynamics does not, all in miniature."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import debiasing
from experiments.debiasing_evaluation import free_energy, judge
from experiments.debiasing_peptide import BONDS, CALLS, PHI, PSI, alanine_dipeptide, axial
from experiments.debiasing_presets import PRESETS
from experiments.debiasing_sampling import by_annealing, by_dynamics
from experiments.debiasing_systems import ensemble, lennard_jones_13, mueller_brown
from experiments.debiasing_training import arm_loss, draw_levels, draw_noise, examples
from jaxphys import energies, losses


@pytest.fixture(scope="module")
def plane():
    return mueller_brown()


@pytest.fixture(scope="module")
def reference(plane):
    return plane.reference(jax.random.key(0), 20_000)


def test_the_reference_is_the_exact_distribution(plane, reference):
    row, _ = judge(plane, reference.positions, plane.reference(jax.random.key(1), 20_000))
    for name in plane.columns:
        assert abs(row[name]["value"] - row[name]["floor"]) < 0.4 * row[name]["floor"]
    assert row["ΔF"]["low"] < plane.exact_free_energy < row["ΔF"]["high"]
    assert abs(row["virial"] - 1) < 0.2
    assert row["lost"] == 0


def test_each_bias_is_what_it_is_called(plane, reference):
    hot = ensemble(plane.energy_fn, plane.biased["local"](jax.random.key(2), 20_000))
    shifted = ensemble(plane.energy_fn, plane.biased["weights"](jax.random.key(3), 20_000))
    assert hot.energies.mean() > reference.energies.mean() + plane.kt
    assert abs(free_energy(plane, shifted)["value"]) < 1
    # each basin by itself is in equilibrium
    for side in (True, False):
        means = [e.energies[plane.basin(e.positions) == side].mean() for e in (shifted, reference)]
        assert abs(means[0] - means[1]) < 1.5


def test_annealing_mends_weights_that_dynamics_leaves(plane, reference):
    """At equal calls, half of the walkers begin in the basin that should hold nine in ten."""
    preset = PRESETS["quick"]["mueller_brown"]
    start = plane.biased["weights"](jax.random.key(4), 3000)
    annealed = by_annealing(plane, start, jax.random.key(5), preset=preset, regime="weights")
    moved = by_dynamics(
        plane,
        start,
        jax.random.key(6),
        step=annealed.facts["step"],
        calls=annealed.force_calls,
        leapfrog=preset.leapfrog,
    )
    found, left = (
        free_energy(plane, ensemble(plane.energy_fn, made.positions)) for made in (annealed, moved)
    )
    assert abs(found["value"] - plane.exact_free_energy) < 4
    assert left["value"] > plane.exact_free_energy / 2
    assert moved.force_calls <= 1.01 * annealed.force_calls
    energy = ensemble(plane.energy_fn, annealed.positions).energies
    assert abs(energy.mean() - reference.energies.mean()) < 2


@pytest.mark.parametrize("label", ["denoising", "potential", "blend"])
def test_the_loss_of_an_arm_is_its_law(plane, label):
    batch = examples(plane, plane.biased["local"](jax.random.key(7), 8))
    loss = arm_loss(plane, lambda params, r, sigma: params * r, label, width=0.1, spread=0.6)
    total, count, _ = loss(jnp.float32(0.9), batch, jax.random.key(8))
    of_levels, of_noise = jax.random.split(jax.random.key(8))
    sigmas = draw_levels(of_levels, 8, plane.levels)
    noise = draw_noise(of_noise, (8, 1, 2), centre=False)
    expected = 0.0
    for r, f, e, sigma in zip(batch["positions"], batch["forces"], noise, sigmas, strict=True):
        weight = losses.noise_weight(sigma, spread=0.6)
        if label == "denoising":
            value = losses.denoising_score(lambda x, s: 0.9 * x, r, e, sigma)
        elif label == "potential":
            value = sigma**4 * losses.potential_score(lambda x, s: 0.9 * x, r, f, e, sigma, kt=plane.kt)
            weight *= 0.1**2 / (sigma**2 + 0.1**2)
        else:
            blend = losses.blend_weight(sigma, 0.1)
            value = losses.blended_score(lambda x, s: 0.9 * x, r, f, e, sigma, kt=plane.kt, blend=blend)
        expected += weight * value
    assert count == 8
    np.testing.assert_allclose(total, expected, rtol=1e-4)
    assert plane.levels[0] <= float(sigmas.min()) and float(sigmas.max()) <= plane.levels[1]


def test_the_whole_experiment_in_miniature(tmp_path, capsys):
    out = tmp_path / "run"
    arguments = ["--preset", "smoke", "--out", str(out)]
    assert debiasing.main(arguments) == 0
    found = json.loads((out / "results.json").read_text())
    assert list(found["results"]) == ["local", "weights"]
    rows = found["results"]["local"]
    assert list(rows) == ["biased", "walkers", "dynamics", "potential", "annealed"]
    assert rows["potential"]["calls"] == 400
    assert rows["walkers"]["E-W2"]["value"] < rows["biased"]["E-W2"]["value"]
    weighted = found["results"]["weights"]["blend-weighted"]
    assert 0 < weighted["ess"] <= 1 and weighted["calls"] == 600
    table = (out / "table.md").read_text()
    assert "noise floor" in table and "exact -32" in table
    for regime in ("local", "weights"):
        for picture in ("energies", "surfaces"):
            assert (out / f"{picture}-{regime}.png").stat().st_size > 10_000
    capsys.readouterr()
    assert debiasing.main(arguments) == 2
    assert "already holds a run" in capsys.readouterr().err
    assert debiasing.main([*arguments, "--resume", "--seed", "1"]) == 2
    assert "holds a run with seed 0, not 1" in capsys.readouterr().err


@pytest.mark.slow
def test_the_cluster_in_miniature(tmp_path):
    published = tmp_path / "published.npy"
    np.save(
        published, np.asarray(lennard_jones_13().biased["local"](jax.random.key(0), 2000)).reshape(2000, 39)
    )
    out = tmp_path / "run"
    arguments = ["--system", "lj13", "--preset", "smoke", "--data", str(published), "--out", str(out)]
    assert debiasing.main(arguments) == 0
    rows = json.loads((out / "results.json").read_text())["results"]["local"]
    assert rows["walkers"]["E-W2"]["value"] < rows["biased"]["E-W2"]["value"]
    assert "E-W2, published" in rows["annealed"]
    assert debiasing.main([*arguments, "--resume"]) == 0
    again = json.loads((out / "results.json").read_text())["results"]["local"]
    assert again["annealed"]["E-W2"] == rows["annealed"]["E-W2"]


@pytest.mark.slow
def test_the_peptide_in_miniature(tmp_path):
    out = tmp_path / "run"
    assert debiasing.main(["--system", "alanine_dipeptide", "--preset", "smoke", "--out", str(out)]) == 0
    rows = json.loads((out / "results.json").read_text())["results"]["local"]
    assert list(rows) == ["biased", "walkers", "dynamics", "crossing", "annealed", "annealed-moved"]
    assert rows["crossing"]["calls"] == pytest.approx(rows["walkers"]["calls"], abs=0.5 * 40 * CALLS)
    for row in ("walkers", "dynamics", "crossing"):
        assert rows[row]["E-W2"]["value"] < 0.5 * rows["biased"]["E-W2"]["value"]


def test_wrong_files_end_in_one_line(tmp_path, capsys):
    path = tmp_path / "samples.npy"
    np.save(path, np.zeros((5, 38)))
    words, empty = tmp_path / "words.npy", tmp_path / "empty.npy"
    np.save(words, np.array(["a", "b"]))
    empty.write_bytes(b"")
    for arguments, reason in (
        (["--system", "lj13", "--data", str(path)], "must hold samples of 13 particles"),
        (["--system", "lj13", "--data", str(tmp_path / "none.npy")], "No such file"),
        (["--data", str(path)], "--data goes with --system lj13"),
        (["--system", "lj13", "--data", str(words)], "one array of numbers"),
        (["--system", "lj13", "--data", str(empty)], "is no file of NumPy"),
    ):
        assert debiasing.main([*arguments, "--out", str(tmp_path / "run")]) == 2
        error = capsys.readouterr().err
        assert reason in error and error.count("\n") == 1


def test_samples_without_an_energy_are_counted_and_none_at_all_is_refused(plane, reference):
    positions = reference.positions[:100].copy()
    positions[:10] = np.nan
    row, kept = judge(plane, positions, reference)
    assert row["lost"] == pytest.approx(10) and len(kept.energies) == 90
    with pytest.raises(ValueError, match="all of 10 samples are filtered away"):
        judge(plane, positions[:10], reference)


def test_the_peptides_bonds_turn_what_lies_beyond_them():
    molecule = energies.alanine_dipeptide()
    ends = [{bond[0].index, bond[1].index} for bond in molecule.topology.bonds()]
    for first, second, beyond in BONDS:
        assert {first, second} in ends
        # no bond leads from what turns to what stays, but the axis itself
        for end in ends:
            turning = end & set(beyond)
            assert len(turning) in (0, 2) or end - turning == {second}
    assert {BONDS[0][0], BONDS[0][1]} == set(PHI[1:3]) and {BONDS[1][0], BONDS[1][1]} == set(PSI[1:3])


def test_the_peptide_starts_outside_the_axial_basin():
    molecule = energies.alanine_dipeptide()
    # φ of the published start is about −80°
    assert not axial(molecule.positions[None])[0]
    assert alanine_dipeptide().shape == (22, 3)
