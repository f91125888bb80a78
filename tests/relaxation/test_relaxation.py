"""L-BFGS and FIRE: the minima and the steps of ASE, batches, padding, explosions."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.optimize import FIRE as ASEFIRE
from ase.optimize import LBFGS as ASELBFGS
from potentials import chain, lennard_jones, morse

from jaxphys.energies import EnergyCalculator
from jaxphys.relaxation import FIRE, LBFGS, Status, relax, relax_batch

RNG = np.random.default_rng(0)
METHODS = {"L-BFGS": (LBFGS(), ASELBFGS), "FIRE": (FIRE(), ASEFIRE)}

PENTAGONAL = np.array(
    [[0, 0, 1.4], [0, 0, -1.4], *[[2.4 * np.cos(a), 2.4 * np.sin(a), 0] for a in 0.4 * np.pi * np.arange(5)]]
)
ZIGZAG = np.array([[1.25 * i, 0.83 * (i % 2), 0.0] for i in range(6)])
TRIANGLE = np.array([[0, 0, 0], [1.2, 0, 0], [0.4, 1.1, 0]])


def water_like(positions):
    return morse((2.0, 1.5, 1.0), positions)


SYSTEMS = {
    "Lennard-Jones cluster": (lennard_jones, PENTAGONAL, 0.15),
    "Morse": (water_like, TRIANGLE, 0.1),
    "chain with soft torsions": (chain, ZIGZAG, 0.15),
}


@functools.cache
def started(system):
    energy_fn, positions, size = SYSTEMS[system]
    noise = size * np.random.default_rng(1).normal(size=positions.shape)
    return jax.jit(energy_fn), positions + noise


def relax_with_ase(optimiser, energy_fn, positions, fmax, steps=2000):
    atoms = Atoms(f"H{len(positions)}", positions, calculator=EnergyCalculator(energy_fn))
    run = optimiser(atoms, logfile=None)
    run.run(fmax=fmax, steps=steps)
    return atoms, run.nsteps


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("system", SYSTEMS)
def test_minimum_and_steps_are_those_of_ase(system, method):
    energy_fn, positions = started(system)
    ours, theirs = METHODS[method]
    found = relax(energy_fn, positions, method=ours, fmax=1e-3, max_steps=2000)
    atoms, steps = relax_with_ase(theirs, energy_fn, positions, 1e-3)
    assert found.status == Status.CONVERGED and found.max_force < 1e-3
    assert found.steps == steps
    np.testing.assert_allclose(found.energy, atoms.get_potential_energy(), atol=1e-8)
    np.testing.assert_allclose(found.positions, atoms.positions, atol=1e-6)


def test_a_short_memory_is_that_of_ase():
    energy_fn, positions = started("chain with soft torsions")
    found = relax(energy_fn, positions, method=LBFGS(memory=4), fmax=1e-3)
    atoms, steps = relax_with_ase(functools.partial(ASELBFGS, memory=4), energy_fn, positions, 1e-3)
    assert found.steps == steps > 8
    np.testing.assert_allclose(found.positions, atoms.positions, atol=1e-6)


def test_a_step_uphill_is_taken_back():
    # far from the minimum of a stiff well the first guess of the curvature overshoots sixfold
    def well(positions):
        return 200 * jnp.sum((jnp.linalg.norm(positions, axis=-1) - 1.0) ** 2)

    start = jnp.array([[1.02, 0.0, 0.0]])
    one = relax(well, start, max_steps=1)
    assert one.status == Status.NOT_CONVERGED and one.steps == 1
    assert np.array_equal(one.positions, start) and one.energy == well(start)
    found = relax(well, start, fmax=1e-6)
    assert found.status == Status.CONVERGED
    np.testing.assert_allclose(found.positions, [[1.0, 0.0, 0.0]], atol=1e-8)


@pytest.fixture(scope="module")
def batch():
    """Twelve clusters of seven, pushed more and more; three are of five atoms and padded with anything."""
    noise = np.random.default_rng(2).normal(size=(12, *PENTAGONAL.shape))
    positions = PENTAGONAL + 0.02 * np.arange(12)[:, None, None] * noise
    mask = np.ones((12, 7), bool)
    mask[3:6, 5:] = False
    positions[3:6, 5:] = 1e3 * RNG.normal(size=(3, 2, 3))
    return positions, mask


def masked_cluster(mask, positions):
    return lennard_jones(positions, mask)


@pytest.mark.parametrize(("method", "block"), [("L-BFGS", 5), ("FIRE", 12), ("FIRE", 1)])
def test_batch_gives_what_each_molecule_gives_alone(batch, method, block):
    positions, mask = batch
    settings = {"method": METHODS[method][0], "fmax": 1e-3, "max_steps": 60}
    found = relax_batch(masked_cluster, mask, positions, mask=mask, block=block, **settings)
    alone = jax.jit(lambda m, r: relax(functools.partial(masked_cluster, m), r, mask=m, **settings))
    for i in range(len(positions)):
        single = alone(mask[i], positions[i])
        assert (found.steps[i], found.status[i]) == (single.steps, single.status)
        for ours, theirs in zip(found[:3], single[:3], strict=True):
            np.testing.assert_allclose(ours[i], theirs, atol=1e-8)
    # some have ended long before others
    assert len(set(found.steps.tolist())) > 3
    assert np.array_equal(found.positions[~mask], positions[~mask])


def test_padding_is_inert(batch):
    positions, mask = batch
    settings = {"method": FIRE(), "fmax": 1e-2}
    padded = relax(functools.partial(masked_cluster, mask[3]), positions[3], mask=mask[3], **settings)
    bare = relax(lennard_jones, positions[3, :5], **settings)
    assert padded.steps == bare.steps > 0
    np.testing.assert_allclose(padded.positions[:5], bare.positions, atol=1e-9)
    np.testing.assert_allclose(padded.max_force, bare.max_force, atol=1e-9)


def cliff(place, positions):
    """½ |r − 3|², with nothing beyond x = place."""
    return jnp.where(jnp.max(positions) > place, jnp.nan, 0.5 * jnp.sum((positions - 3.0) ** 2))


def test_explosions_stop_alone_and_keep_the_last_good_geometry():
    places, start = jnp.array([10.0, 1.0, -1.0, 10.0]), np.zeros((4, 1, 3))
    start[3] = 3.0
    found = relax_batch(cliff, places, start, method=LBFGS(curvature=10.0), block=3)
    assert found.status.tolist() == [Status.CONVERGED, Status.EXPLODED, Status.EXPLODED, Status.CONVERGED]
    # 0.2 Å a step along the diagonal: eight steps to x = 0.924, and a ninth beyond 1
    np.testing.assert_allclose(found.positions[1], 8 * 0.2 / np.sqrt(3), rtol=1e-12)
    assert found.steps[1] == 9 and np.isfinite(found.energy[1])
    # bad from the start, and good from the start
    assert found.steps[2:].tolist() == [0, 0] and np.isnan(found.energy[2])
    np.testing.assert_array_equal(found.positions[2:], start[2:])


@pytest.mark.parametrize("method", METHODS)
def test_flying_apart_stops_at_the_limit(method):
    found = relax(lambda r: -jnp.sum(r), jnp.zeros((2, 3)), method=METHODS[method][0], max_displacement=1.0)
    assert found.status == Status.EXPLODED
    assert 0.7 < np.linalg.norm(found.positions[0]) <= 1.0


def test_out_of_steps():
    energy_fn, positions = started("Morse")
    found = relax(energy_fn, positions, method=FIRE(), max_steps=3)
    assert (found.status, found.steps) == (Status.NOT_CONVERGED, 3)
    assert relax(energy_fn, positions, method=FIRE(), max_steps=0).steps == 0


@pytest.mark.parametrize("method", METHODS)
def test_single_precision(method):
    energy_fn, positions = started("Morse")
    found = relax(energy_fn, jnp.asarray(positions, jnp.float32), method=METHODS[method][0], fmax=1e-3)
    assert found.positions.dtype == found.energy.dtype == jnp.float32
    assert found.status == Status.CONVERGED
    sides = np.linalg.norm(found.positions - np.roll(found.positions, 1, axis=0), axis=1)
    np.testing.assert_allclose(sides, 1.0, atol=1e-3)


def test_parameters_do_not_compile_again():
    traces = []

    def energy(stiffness, _, positions):
        traces.append(1)
        return stiffness * jnp.sum(positions**2)

    def run(stiffness):
        fixed = jax.tree_util.Partial(energy, jnp.asarray(stiffness))
        return relax_batch(fixed, None, jnp.ones((2, 1, 3)), max_steps=1)

    first = run(1.0)
    count = len(traces)
    assert first.energy[0] != run(2.0).energy[0] and len(traces) == count


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fmax": 0.0}, "fmax must be positive, got 0"),
        ({"max_steps": -1}, "max_steps must not be negative, got -1"),
        ({"block": 0}, "block must be at least 1"),
        ({"positions": np.zeros((2, 3))}, r"shape \(molecules, atoms, 3\), got \(2, 3\)"),
        ({"mask": np.ones((2, 4), bool)}, r"mask must have shape \(2, 1\), got \(2, 4\)"),
        ({"molecules": np.ones(3)}, "leading axis of 2"),
    ],
)
def test_what_cannot_be(arguments, message):
    given = {"molecules": None, "positions": np.zeros((2, 1, 3)), **arguments}
    unchecked = inspect.unwrap(relax_batch)  # without the tests' own check of annotations
    with pytest.raises(ValueError, match=message):
        unchecked(lambda _, r: jnp.sum(r**2), given.pop("molecules"), given.pop("positions"), **given)


def test_an_evaluation_is_of_those_under_way():
    # one molecule starts at its minimum, one needs a step, one needs many
    seen = []

    def energy(place, positions):
        jax.debug.callback(lambda x: seen.append(int(x)), place)
        return 35.0 * jnp.sum(positions**2)

    start = np.array([0.0, 0.1, 1.0])[:, None, None] * np.array([1.0, 0.0, 0.0])
    found = jax.jit(lambda r: relax_batch(energy, jnp.arange(3), r, block=1))(start)
    jax.effects_barrier()
    assert found.steps.tolist() == [seen.count(i) - 1 for i in range(3)]
    assert found.steps[0] == 0 and found.steps[1] == 1 < found.steps[2]
