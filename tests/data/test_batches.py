"""Labels in batches: against those of libcint; shapes, memory and what fails."""

import dataclasses
import threading

import jax
import numpy as np
import pytest
from ase.build import molecule as g2

from jaxphys import dft, label
from jaxphys.data import Method, batches, bulk
from jaxphys.data.batches import device_memory, plan_batches, solve_batches
from jaxphys.data.frames import Failure, Frame
from jaxphys.molecule import Molecule

RECIPE = bulk.Recipe(Method("sto-3g", "svwn", "6-31g", 0), max_cycles=11, density=True)
QUICK = dataclasses.replace(RECIPE, forces=False)

SPECIES = {
    "hydrogen": ("H2", 0, 0),
    "water": ("H2O", 0, 0),
    "odd": ("OH", 0, 0),
    "stubborn": ("LiF", 0, 0),
    "hydroxide": ("OH", -1, 0),
    "ammonia": ("NH3", 0, 0),
}


def frame(index, species, charge=0, spin=0):
    atoms = g2(species)
    return Frame(index, molecule(atoms.numbers, atoms.positions, charge=charge, name=species), spin)


def molecule(numbers, positions, **others):
    return Molecule(np.array(numbers), np.array(positions, float), **others)


FRAMES = {name: frame(index, *species) for index, (name, species) in enumerate(SPECIES.items())}


def hydrogens(count):
    lengths = 0.7 + 0.01 * np.arange(count)
    return {f"{i}": Frame(i, molecule([1, 1], [[0, 0, 0], [0, 0, r]])) for i, r in enumerate(lengths)}


def need(frames, recipe=RECIPE):
    """Memory of the largest padded molecule, GB."""
    groups = plan_batches(frames, recipe, 1e3).groups
    return max(dft.memory_needed(one.sizes, xc=recipe.method.xc, open_shell=False) for one in groups)


@pytest.fixture(scope="module")
def both():
    """Outcomes in batches of two, the batches, and outcomes with libcint."""
    calls, solve = [], batches._solve

    def counting(setups, positions, **settings):
        calls.append(positions.shape)
        return solve(setups, positions, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "_solve", counting)
        found = dict(solve_batches(FRAMES, RECIPE, memory=2.5 * need(FRAMES)))
    return found, calls, dict(bulk.solve_frames(FRAMES, RECIPE))


@pytest.mark.parametrize("name", ["hydrogen", "water", "hydroxide", "ammonia"])
def test_labels_are_those_of_libcint(both, name):
    assert_same(both[0][name], both[2][name])


@pytest.mark.slow
def test_labels_of_open_shells_are_those_of_libcint():
    frames = {"cation": frame(0, "H2O", charge=1, spin=1)}
    found = dict(solve_batches(frames, RECIPE, memory=8.0))
    assert_same(found["cation"], dict(bulk.solve_frames(frames, RECIPE))["cation"])


def assert_same(ours, theirs):
    assert ours.arrays.keys() == theirs.arrays.keys()
    assert ours.attributes.keys() == theirs.attributes.keys()
    assert ours.attributes["cycles"] == theirs.attributes["cycles"]
    for key, array in theirs.arrays.items():
        tolerance = 1e-8 if key == "energy" else 1e-6
        np.testing.assert_allclose(ours.arrays[key], array, rtol=0, atol=tolerance, err_msg=key)
        assert ours.arrays[key].dtype == array.dtype and ours.arrays[key].base is None


def test_failures_are_those_of_libcint_and_the_batch_goes_on(both):
    found, calls, expected = both
    failed = {key: outcome for key, outcome in found.items() if isinstance(outcome, Failure)}
    assert failed == {key: outcome for key, outcome in expected.items() if isinstance(outcome, Failure)}
    assert failed.keys() == {"odd", "stubborn"}
    assert failed["stubborn"].reason.startswith("the SCF did not converge in 11 cycles")
    assert calls == [(2, 4, 3)] * 3


@pytest.fixture
def solver(monkeypatch):
    """Sizes of the batches given to a device with memory for `limit` molecules; it answers with zeros."""
    calls, device = [], {"limit": 100}

    def solve(setups, positions, **_):
        calls.append(len(positions))
        if len(positions) > device["limit"]:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 7 bytes.")
        n = setups.orbital_mask.shape[-1]
        shapes = {"energy": (), "fock": (n, n), "density": (n, n), "coefficients": (n, n)}
        shapes |= {"orbital_energies": (n,), "cycles": ()}
        zeros = {name: np.zeros((len(positions), *shape)) for name, shape in shapes.items()}
        others = {"overlap": np.zeros((len(positions), n, n)), "dipole": positions[:, 1]}
        return dft.SCFResult(converged=np.ones(len(positions), bool), **zeros), others

    monkeypatch.setattr(batches, "_solve", solve)
    return calls, device


@pytest.mark.parametrize(
    ("count", "limit", "tried"),
    [(7, 7, [7]), (7, 6, [7, 4, 4]), (7, 2, [7, 4, 2, 2, 2, 2]), (3, 1, [3, 2, 1, 1, 1])],
)
def test_a_batch_without_memory_is_halved(solver, count, limit, tried):
    calls, device = solver
    device["limit"] = limit
    frames = hydrogens(count)
    found = dict(solve_batches(frames, QUICK, memory=10.0))
    assert calls == tried and list(found) == list(frames)
    for key, outcome in found.items():  # each has its own, not a copy's
        assert outcome.arrays["dipole"][2] == frames[key].molecule.positions[1, 2]


def test_one_molecule_without_memory_fails(solver):
    calls, device = solver
    device["limit"] = 0
    found = dict(solve_batches(hydrogens(2), QUICK, memory=10.0))
    assert calls == [2, 1, 1]
    assert all("within the 10 GB of --memory" in failure.reason for failure in found.values())


def test_other_errors_of_a_batch_are_failures(monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("a cable\nis loose")

    monkeypatch.setattr(batches, "_solve", broken)
    found = dict(solve_batches(hydrogens(2), QUICK, memory=10.0))
    assert [failure.reason for failure in found.values()] == ["RuntimeError: a cable is loose"] * 2


def test_a_molecule_beyond_the_budget_says_what_to_lower(solver):
    frames = {"small": frame(0, "H2"), "large": frame(1, "C6H6")}
    found = dict(solve_batches(frames, QUICK, memory=0.9 * need({"large": frames["large"]})))
    assert isinstance(found["large"], Failure) and not isinstance(found["small"], Failure)
    assert "lower the grid level" in found["large"].reason and "smaller basis" in found["large"].reason


def test_what_integrals_in_jax_cannot_do_is_for_libcint():
    frames = {"iodide": Frame(0, molecule([1, 53], [[0, 0, 0], [0, 0, 1.61]])), "water": frame(1, "H2O")}
    method = Method("def2-svp", "pbe", None, 0)
    assert plan_batches(frames, bulk.Recipe(method), 8.0).refused.keys() == {"iodide"}
    separated = bulk.Recipe(dataclasses.replace(method, xc="wb97x"))
    assert plan_batches(frames, separated, 8.0).refused == frames


@pytest.mark.parametrize("memory", [30.0, 0.3])
def test_a_job_has_few_shapes(memory):
    """More than 150 formulas of C, H, N, O, F."""
    numbers = [
        [6] * c + [7] * n + [8] * o + [9] * f + [1] * h
        for c in range(1, 7)
        for n in range(2)
        for o in range(3)
        for f in range(2)
        for h in range(2 + (n + f) % 2, 2 * c + n + 3 - f, 4)
    ]
    frames = {
        f"{i}": Frame(i, molecule(z, 1.5 * np.arange(len(z))[:, None] * np.ones(3)))
        for i, z in enumerate(numbers)
    }
    recipe = bulk.Recipe(Method("def2-svp", "b3lyp5", None, 1))
    plan = plan_batches(frames, recipe, memory)
    members = [key for group in plan.groups for key in group.frames]
    assert sorted([*members, *plan.too_large]) == sorted(frames) and len(frames) > 150
    assert bool(plan.too_large) == (memory < 1) and not plan.refused
    assert len(plan.groups) <= 8
    for group in plan.groups:
        needed = dft.memory_needed(group.sizes, xc="b3lyp5", open_shell=False)
        assert 0 < group.batch * needed <= memory
        own = [
            dft.expected_sizes(frames[key].molecule.numbers, **dataclasses.asdict(recipe.method))
            for key in group.frames
        ]
        assert all(sizes | group.sizes == group.sizes for sizes in own)


def test_interrupted_runs_go_on(tmp_path, solver, monkeypatch, capsys):
    source, out = tmp_path / "a.xyz", tmp_path / "a.h5"
    source.write_text("".join(f"2\n\nH 0 0 0\nH 0 0 {0.7 + 0.01 * i}\n" for i in range(5)))
    arguments = [str(source), "--basis", "sto-3g", "--xc", "svwn", "--grid-level", "0", "--out", str(out)]
    memory = 2.5 * need(hydrogens(1), bulk.Recipe(Method("sto-3g", "svwn", None, 0)))
    arguments += ["--no-forces", "--integrals", "jax", "--memory", str(memory)]
    calls, _ = solver
    solve = batches._solve

    def interrupted(*given, **settings):
        if len(calls) == 2:
            raise KeyboardInterrupt
        return solve(*given, **settings)

    monkeypatch.setattr(label, "prepare_cpu", lambda **_: None)
    with monkeypatch.context() as patch:
        patch.setattr(batches, "_solve", interrupted)
        assert label.main(arguments) == 130
    assert "(4 of 5)" in capsys.readouterr().err and calls == [2, 2]
    assert label.main(arguments) == 0
    assert calls == [2, 2, 1]
    assert "5 frames labelled, 1 molecule computed" in capsys.readouterr().out


def test_bad_settings_are_refused(tmp_path):
    source = tmp_path / "a.xyz"
    source.write_text("1\n\nHe 0 0 0\n")
    with pytest.raises(ValueError, match="memory must be a positive number of GB"):
        label.label_file(source, tmp_path / "a.h5", memory=-1.0)
    with pytest.raises(ValueError, match="integrals must be 'auto', 'jax' or 'libcint', got 'both'"):
        label.label_file(source, tmp_path / "a.h5", integrals="both")
    assert device_memory() > 0.1


@pytest.mark.parametrize(("factor", "workers"), [(4.5, 3), (2.5, 2), (0.1, 1)])
def test_memory_caps_the_workers(monkeypatch, factor, workers):
    frames, running, most = hydrogens(6), [], []
    together = threading.Barrier(workers)  # nobody goes on before so many are under way

    def outcome(frame, recipe):
        del recipe
        running.append(frame)
        most.append(len(running))
        together.wait(timeout=60)
        running.pop()
        return bulk.fail(frame, "not tried")

    monkeypatch.setattr(bulk, "_outcome", outcome)
    needed = bulk._gigabytes(frames["0"], RECIPE.method)
    found = dict(bulk.solve_frames(frames, RECIPE, memory=factor * needed, workers=3))
    assert found.keys() == frames.keys() and max(most) == workers
