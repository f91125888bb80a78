"""The experiment on stability, end to end in miniature: what it leaves; labels, yardsticks, controls."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import stability
from experiments.stability_evaluation import (
    Ensemble,
    baselines,
    drift,
    first_order,
    free_energies,
    profile,
    tilted,
    tilted_ensembles,
)
from experiments.stability_presets import ARMS, KT, PRESETS
from experiments.stability_reference import (
    CONTACTS,
    KT_IN_KCAL,
    NATIVE,
    Labels,
    Observed,
    Reference,
    change_matrices,
    draw_mutants,
    fraction_native,
    label,
    labelled_mutants,
    mutant_weights,
    observe,
)
from experiments.stability_training import rollout_levels, sampling_levels, shown_labels
from jaxphys import sampling
from jaxphys.energies import go_protein
from jaxphys.energies.go_protein import CONTACT

SMOKE = dataclasses.replace(PRESETS["smoke"], arms=("pairs",))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One whole run of the miniature preset."""
    out = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "smoke", SMOKE)
        assert stability.main(["--preset", "smoke", "--out", str(out)]) == 0
    return out


def test_a_run_leaves_tables_plots_results_and_checkpoints(finished):
    table = (finished / "table.md").read_text()
    assert ARMS["pairs"].name in table and "before fine-tuning" in table and "tilted wild type" in table
    results = json.loads((finished / "results.json").read_text())["results"]
    assert list(results["arms"]) == ["pretrained", "pairs"]
    assert results["arms"]["pretrained"]["ddg"]["spearman"][0] is None  # knows no mutant from another
    assert len(results["exact"]) == 1 + SMOKE.test
    pictures = ["parity", "loss", "profile-wild-type", "profile-least-stable", "profile-most-stable"]
    for picture in pictures:
        assert (finished / f"{picture}.png").stat().st_size > 10_000
    assert (finished / "pairs" / "metrics.jsonl").exists() and (finished / "reference.npz").exists()


def test_a_folder_with_a_run_is_refused_in_one_line(finished, capsys):
    assert stability.main(["--preset", "smoke", "--out", str(finished)]) == 2
    error = capsys.readouterr().err
    assert "already holds a run" in error and error.count("\n") == 1


@pytest.fixture(scope="module")
def reference():
    """Two basins by hand: contacts formed or not, f of either kind, and weights that are known."""
    rng = np.random.default_rng(0)
    folded = (rng.random(4000) < 0.6).astype(float)
    formed = rng.random((4000, len(CONTACTS))) < np.where(folded, 0.8, 0.3)[:, None]
    terms = -formed.astype(np.float32)
    observed = Observed(0.2 + 0.6 * folded, *(np.ones(4000),) * 4, formed.astype(np.float32))
    run = np.arange(4000) % 2
    return Reference(np.zeros((4000, 35, 3)), np.zeros(4000), terms, folded, run, observed, {})


def test_labels_are_reweighted_averages(reference):
    changes = np.zeros((2, len(CONTACTS)))
    changes[1, 7] = 2.0 * KT
    found = label(reference, changes)
    plain = reference.folded.mean()
    np.testing.assert_allclose(found.folded[0], plain)
    np.testing.assert_allclose(found.effective[0], 4000)
    np.testing.assert_allclose(found.free_energy[0], -KT_IN_KCAL * np.log(plain / (1 - plain)))
    weights = np.exp(-2.0 * reference.terms[:, 7])
    np.testing.assert_allclose(found.folded[1], weights @ reference.folded / weights.sum(), rtol=1e-5)
    assert found.free_energy[1] < found.free_energy[0]
    np.testing.assert_allclose(mutant_weights(reference, changes[1]), weights / weights.sum(), rtol=1e-4)
    one = label(reference, changes, run=0)
    np.testing.assert_allclose(one.folded[0], reference.folded[::2].mean())


def test_labels_without_enough_samples_are_refused(reference):
    preset = dataclasses.replace(PRESETS["smoke"], effective=1e5)
    with pytest.raises(ValueError, match=r"0 of 20 mutants have 100000 effective samples.*10 are needed"):
        labelled_mutants(reference, preset, 0)
    train, test = labelled_mutants(reference, PRESETS["smoke"], 0)
    assert len(train.changes) == 7 and len(test.changes) == 5
    assert not train.changes[0].any() and not test.changes[0].any()
    assert not (train.changes[1:, None] == test.changes[None, 1:]).all(axis=-1).any()


def test_perturbation_is_the_slope_of_the_exact_free_energy(reference):
    small = 1e-3 * KT * np.random.default_rng(1).normal(size=(1, len(CONTACTS)))
    exact = label(reference, np.concatenate([0 * small, small]))
    predicted = first_order(reference, exact)
    np.testing.assert_allclose(np.diff(predicted), np.diff(exact.free_energy), rtol=0.02)


def test_the_tilt_has_the_label_and_changes_nothing_within_basins(reference):
    labels = Labels(np.zeros((1, len(CONTACTS))), np.array([0.2]), np.zeros(1), np.ones(1))
    (found,) = tilted_ensembles(reference, labels)
    np.testing.assert_allclose(found.weights @ reference.folded, 0.2, atol=1e-9)
    inside = found.weights[reference.folded == 1]
    np.testing.assert_allclose(inside, inside[0])
    weights = tilted(np.full(5, 0.2), np.linspace(0, 1, 5), 0.9)
    logs = np.diff(np.log(weights))
    np.testing.assert_allclose(logs, logs[0], rtol=1e-6)


def test_drift_is_none_of_an_ensemble_from_itself_and_sees_collapse(reference):
    one = Ensemble(reference.observed, mutant_weights(reference, np.zeros(len(CONTACTS))))
    same = drift([one], [one])
    assert same.pop("variance") == 1.0 and not any(same.values())
    halves = one.observed._replace(fraction=np.full(4000, 0.5))
    collapsed = drift([Ensemble(halves, one.weights)], [one])
    assert collapsed["variance"] == pytest.approx(0, abs=1e-9) and collapsed["fraction"] > 0.2


def test_free_energies_and_profiles_of_few_samples_are_finite_or_said_to_be_missing():
    observed = Observed(np.array([0.9, 0.9, 0.3, 0.9]), *(np.ones(4),) * 5)
    one = Ensemble(observed, np.full(4, 0.25))
    np.testing.assert_allclose(free_energies([one]), -KT_IN_KCAL * np.log(3), rtol=5e-2)
    none = one._replace(observed=observed._replace(fraction=np.full(4, 0.99)))
    np.testing.assert_allclose(free_energies([none]), -KT_IN_KCAL * np.log(7), rtol=1e-6)
    curve = profile(one, np.linspace(0, 1, 3))
    np.testing.assert_allclose(curve, [KT_IN_KCAL * np.log(3), 0])
    assert np.isnan(profile(none, np.linspace(0, 1, 3))[0])


def test_baselines_find_what_is_linear():
    rng = np.random.default_rng(2)
    changes = np.concatenate([np.zeros((1, 6)), rng.normal(size=(60, 6))])
    slopes = np.array([1.0, -2.0, 0.5, 3.0, 0.0, 1.0])
    free = -0.5 + changes @ slopes
    labels = Labels(changes, np.zeros(61), free, np.ones(61))
    found = baselines(labels, labels)
    errors = {name: np.abs(values - free).mean() for name, values in found.items()}
    ridge, slope, none = (errors[name] for name in reversed(errors))
    assert ridge < 0.01 < slope <= none


def test_mutants_are_as_drawn_and_seen_in_units_of_kt():
    preset = dataclasses.replace(PRESETS["quick"], overall=0.0, each=0.0)
    changes = draw_mutants(preset, 0, 5)
    for one in changes:
        touched = np.unique(CONTACTS[one != 0])
        assert 3 <= len(touched) < 35 or (one != 0).sum() > 0
        sites = [i for i in range(35) if (one[(i == CONTACTS).any(axis=1)] != 0).all()]
        assert len(sites) >= 3
    assert (changes > -0.9 * CONTACT - 1e-12).all()
    matrices = change_matrices(changes)
    np.testing.assert_array_equal(matrices, np.swapaxes(matrices, 1, 2))
    np.testing.assert_allclose(matrices[2][tuple(CONTACTS.T)], changes[2] / KT, rtol=1e-6)
    assert np.count_nonzero(matrices[2]) == 2 * np.count_nonzero(changes[2])


def test_the_controls_labels_are_others():
    folded = np.arange(20) / 20
    np.testing.assert_array_equal(shown_labels(folded, "own", 0), folded)
    others = shown_labels(folded, "others", 0)
    assert others[0] == folded[0] and sorted(others) == sorted(folded)
    assert np.mean(others[1:] == folded[1:]) < 0.3
    assert abs(np.corrcoef(others[1:], folded[1:])[0, 1]) < 0.02


def test_levels_go_from_the_greatest_to_the_least():
    preset = PRESETS["quick"]
    for found, (count, least) in (
        (rollout_levels(preset), preset.rollout[:2]),
        (sampling_levels(preset), (preset.steps, preset.levels[1])),
    ):
        assert len(found) == count and (np.diff(found) < 0).all()
        np.testing.assert_allclose([found[0], found[-1]], [preset.levels[0], least], rtol=1e-5)


def test_the_native_structure_is_native():
    seen = observe(jnp.asarray(NATIVE)[None])
    assert seen.fraction[0] > 0.99 and seen.formed.all()
    np.testing.assert_allclose(seen.gyration, 8.95, atol=0.01)


@pytest.mark.slow
def test_reweighted_labels_are_those_of_a_simulation_of_the_mutant():
    """Replica exchange of the mutant itself against the wild type's samples with its weights; minutes."""
    from experiments.stability_reference import _reference, _runs

    preset = dataclasses.replace(PRESETS["quick"], sweeps=1500)
    with jax.enable_x64(False):
        wild = _reference(*_runs(preset, 0), preset)
        changes = draw_mutants(preset, 1, 1)
        kts = KT * jnp.asarray(preset.temperatures)
        mutant = sampling.parallel_tempering(
            go_protein(NATIVE, CONTACTS, CONTACT + changes[0]),
            jax.random.key(5),
            jnp.broadcast_to(jnp.asarray(NATIVE, jnp.float32), (16, *NATIVE.shape)),
            kts=kts,
            sweeps=preset.sweeps,
            burn_in=preset.burn_in,
            leapfrog=preset.leapfrog,
            step_sizes=preset.step * jnp.sqrt(kts / KT),
            keep_every=preset.keep_every,
            centre=True,
        )
    at_kt = mutant.positions[:, :, preset.temperatures.index(1.0)]
    folded = np.asarray(jax.nn.sigmoid(20 * (fraction_native(at_kt) - 0.5)), float)
    found = sampling.estimates.mean_of_walkers(folded)
    expected = label(wild, changes)
    assert expected.effective[0] > 300
    assert abs(found.value - expected.folded[0]) < 4 * np.hypot(found.error, 0.02)
