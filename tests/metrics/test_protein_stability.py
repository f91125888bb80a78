"""Native contacts, foldedness and folding free energies against numbers by hand; errors of ΔG and ΔΔG."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxphys.metrics import (
    folded_fraction,
    foldedness,
    folding_free_energy,
    fraction_native,
    native_contacts,
    stability_metrics,
)


@pytest.fixture
def chain():
    """Eight residues that go out and come back 5 Å beside."""
    out = [[3.8 * i, 0.0, 0.0] for i in range(4)]
    return np.array(out + [[x, 5.0, 0.0] for x, _, _ in reversed(out)])


def test_contacts_are_close_in_space_and_far_along_the_chain(chain):
    pairs, native = native_contacts(chain, cutoff=5.5)
    assert pairs.tolist() == [[0, 7], [1, 6]] and native.tolist() == [5.0, 5.0]
    assert native_contacts(chain)[0].tolist() == [
        [0, 5],
        [0, 6],
        [0, 7],
        [1, 5],
        [1, 6],
        [1, 7],
        [2, 6],
        [2, 7],
    ]
    with pytest.raises(ValueError, match=r"no pair within 10\.0 Å"):
        native_contacts(10 * chain)


def test_fraction_and_foldedness_by_hand(chain):
    pairs, native = native_contacts(chain, cutoff=5.5)
    moved = chain.copy()
    moved[7, 1] = 6.0  # one contact is half there
    expected = 0.5 * (0.5 + 1 / (1 + np.exp(-5.0)))
    found = fraction_native(np.stack([chain, moved]), pairs, native)
    np.testing.assert_allclose(found, [1 / (1 + np.exp(-5.0)), expected], rtol=1e-12)
    np.testing.assert_allclose(
        foldedness(found), 1 / (1 + np.exp(-20 * (np.asarray(found) - 0.5))), rtol=1e-12
    )
    assert foldedness(jnp.array(0.5)) == 0.5


def test_padding_is_inert(chain):
    pairs, native = native_contacts(chain)
    padded = np.concatenate([chain, np.zeros((2, 3))])
    more_pairs = np.concatenate([pairs, [[8, 9]]])
    found = fraction_native(
        padded, more_pairs, np.append(native, 0.0), mask=np.arange(len(more_pairs)) < len(pairs)
    )
    np.testing.assert_allclose(found, fraction_native(chain, pairs, native), rtol=1e-12)


def test_gradients_are_those_of_differences_and_finite_where_atoms_coincide(chain):
    pairs, native = native_contacts(chain)

    def folded(r):
        return foldedness(fraction_native(r, pairs, native))

    positions = jnp.asarray(chain * 1.15)
    check_grads(folded, (positions,), order=1, rtol=1e-6)
    assert jnp.isfinite(jax.grad(folded)(jnp.zeros((8, 3)))).all()
    assert jnp.isnan(folded(positions.at[0].set(jnp.nan)))


def test_free_energies_by_hand():
    kt = 0.586
    np.testing.assert_allclose(
        folding_free_energy(np.array([0.5, 0.9]), kt), [0, -kt * np.log(9)], atol=1e-12
    )
    found = folding_free_energy(np.array([0.0, 1.0]), kt)
    assert found.tolist() == [np.inf, -np.inf]
    limit = kt * np.log(1e10)
    np.testing.assert_allclose(
        folding_free_energy(np.array([0.0, 1.0]), kt, smallest=1e-10), [limit, -limit], rtol=1e-9
    )
    energies = np.linspace(-4, 2, 7)
    np.testing.assert_allclose(folding_free_energy(folded_fraction(energies, kt), kt), energies, atol=1e-9)
    assert jax.jit(jax.grad(lambda p: folding_free_energy(p, kt)))(0.25) == pytest.approx(-kt / 0.1875)
    for wrong in (-0.1, 1.2, np.nan):
        with pytest.raises(ValueError, match="must be from 0 to 1, got"):
            folding_free_energy(np.array([0.5, wrong]), kt)
    with pytest.raises(ValueError, match="kt must be above 0, got 0"):
        folding_free_energy(np.array(0.5), 0.0)


def test_errors_by_hand_and_changes_against_the_wild_type():
    exact = np.array([-3.0, -1.0, -2.0, -1.0, 0.0])
    predicted = exact + np.array([1.0, 1.0, -1.0, 1.0, 4.0])
    found = stability_metrics(predicted, exact, wild_type=np.array([0, 0, 2, 2, -1]))
    assert found.dg.count == 5 and found.dg.mae.value == pytest.approx(1.6)
    assert found.dg.rmse.value == pytest.approx(2.0)
    assert found.dg.pearson.value == pytest.approx(np.corrcoef(predicted, exact)[0, 1])
    assert found.ddg.count == 2  # 2.0 and 1.0, predicted 2.0 and 3.0
    assert found.ddg.mae.value == pytest.approx(1.0) and found.ddg.rmse.value == pytest.approx(2**0.5)
    assert found.ddg.pearson.value == pytest.approx(-1) and found.ddg.spearman.value == pytest.approx(-1)
    assert stability_metrics(predicted, exact).ddg is None


def test_rank_and_linear_correlation_are_told_apart():
    exact = np.arange(1.0, 7.0)
    found = stability_metrics(exact**3, exact).dg
    assert found.spearman.value == pytest.approx(1) and found.pearson.value < 0.99
    flat = stability_metrics(np.zeros(6), exact).dg
    assert np.isnan([flat.pearson.value, flat.spearman.low]).all() and flat.mae.value == 3.5


def test_intervals_cover_the_truth_and_widen_with_families():
    rng = np.random.default_rng(0)
    exact = rng.normal(size=200)
    family = np.arange(200) // 10 * 10
    error = np.repeat(rng.normal(size=20), 10)
    single = stability_metrics(exact + error, exact, resamples=300).dg.rmse
    together = stability_metrics(exact + error, exact, wild_type=family, resamples=300).dg.rmse
    assert together.low < 1 < together.high
    assert together.high - together.low > 1.5 * (single.high - single.low)
    again = stability_metrics(exact + error, exact, wild_type=family, resamples=300).dg.rmse
    assert again == together


@pytest.mark.parametrize(
    ("predicted", "options", "message"),
    [
        ([0.0, np.inf], {}, r"predicted must be finite, got inf at \(1,\)"),
        ([0.0], {}, r"exact must have the shape \(1\)"),
        ([0.0, 1.0], {"wild_type": [0, 2]}, "wild_type must be from -1 to 1, got 2"),
        ([0.0, 1.0], {"wild_type": [0]}, "wild_type must be 2 whole numbers"),
        ([0.0, 1.0], {"confidence": 1.0}, "confidence must be within"),
    ],
)
def test_what_cannot_be_is_refused(predicted, options, message):
    with pytest.raises(ValueError, match=message):
        stability_metrics(predicted, [0.0, 1.0], **options)


def test_a_reference_that_is_not_judged_is_there_for_its_mutants_alone():
    """A wild type that is 9 kcal/mol off counts in its mutants' ΔΔG, which are off by as much, not in ΔG."""
    exact = np.array([-3.0, -1.0, -2.0])
    predicted = exact + np.array([9.0, 0.5, -0.5])
    parents = np.zeros(3, int)
    found = stability_metrics(predicted, exact, wild_type=parents, judged=np.array([False, True, True]))
    np.testing.assert_allclose(found.dg.mae.value, 0.5)
    np.testing.assert_allclose(found.ddg.mae.value, 9.0)
    np.testing.assert_allclose(stability_metrics(predicted, exact, wild_type=parents).dg.mae.value, 10 / 3)
    for judged in (np.zeros(3, bool), np.ones(2, bool), np.ones(3)):
        with pytest.raises(ValueError, match="judged must be 3 booleans, one of them True at least"):
            stability_metrics(predicted, exact, judged=judged)
