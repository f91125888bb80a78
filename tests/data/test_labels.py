"""The label factory: what it computes, what it keeps, and what it does with damaged files."""

import dataclasses
import logging
import re
import shutil

import jax
import numpy as np
import pytest
from pyscf import dft as pyscf_dft
from pyscf import gto

from jaxphys import dft
from jaxphys.data import labels
from jaxphys.data.labels import Method, build_systems, content_hash, label
from jaxphys.molecule import Molecule

METHOD = Method()
BATCH = 2  # everywhere the same, so that the tests share four compiled programs

WATER = Molecule(np.array([8, 1, 1]), np.array([[0.0, 0.0, 0.1], [0.0, 0.76, -0.48], [0.0, -0.76, -0.48]]))
HYDROXIDE = Molecule(np.array([8, 1]), np.array([[0.0, 0.0, 0.0], [0.0, 0.1, 0.97]]), charge=-1, name="[OH-]")
CORNERS = 0.6 * np.array([[0, 0, 0], [1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]])
AMMONIUM = Molecule(np.array([7, 1, 1, 1, 1]), CORNERS, charge=1)
HYDRIDE = Molecule(np.array([3, 1]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.6]]), name="[LiH]")


def hydrogen(distance=0.74):
    return Molecule(np.array([1, 1]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, distance]]))


ALL = [WATER, hydrogen(), HYDROXIDE, AMMONIUM, HYDRIDE]  # H₂ and LiH share a bucket


def run(molecules, cache, method=METHOD, **options):
    return label(molecules, build_systems(molecules, method), method, cache=cache, batch=BATCH, **options)


def assert_same(left, right):
    """Two lists of results are equal bit for bit, types included."""
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        for name, array in vars(one).items():
            twin = getattr(other, name)
            assert type(array) is type(twin) is np.ndarray
            assert (array.dtype, array.shape, array.tobytes()) == (twin.dtype, twin.shape, twin.tobytes())


@pytest.fixture
def solved(monkeypatch):
    """The leading sizes of every batch that the solver is given."""
    batches, solver = [], labels.solve_batch

    def counting(systems, **settings):
        batches.append(len(systems.numbers))
        return solver(systems, **settings)

    monkeypatch.setattr(labels, "solve_batch", counting)
    return batches


@pytest.fixture
def stored(tmp_path):
    """The path of H₂'s label in a cache of its own, and the label."""
    (result,) = run([hydrogen()], tmp_path)
    return tmp_path / f"{content_hash(hydrogen(), METHOD)}.npz", result


def test_energies_are_those_of_pyscf():
    for molecule, result in zip(ALL, run(ALL, None), strict=True):
        atoms = list(zip(molecule.numbers.tolist(), molecule.positions, strict=True))
        mole = gto.M(atom=atoms, charge=molecule.charge, basis="def2-svp", verbose=0)
        reference = pyscf_dft.RKS(mole, xc="pbe").density_fit()
        reference.grids.level = 0
        assert abs(reference.kernel() - result.energy) < 1e-8


def test_labels_are_unpadded_solutions(tmp_path):
    systems = build_systems(ALL, METHOD)
    results = run(ALL, tmp_path)
    assert [result.fock.shape for result in results] == [(24, 24), (10, 10), (19, 19), (34, 34), (14, 14)]
    for system, result in zip(systems, results, strict=True):
        overlap, coefficients = system.overlap, result.coefficients
        occupied = coefficients[:, system.occupation > 0]
        np.testing.assert_allclose(2 * occupied @ occupied.T, result.density, atol=1e-7)
        np.testing.assert_allclose(
            result.fock @ coefficients, overlap @ coefficients * result.orbital_energies, atol=1e-9
        )
        assert result.converged


def test_second_call_reads_what_the_first_computed(tmp_path, solved):
    first = run(ALL, tmp_path / "new" / "folder")
    assert solved == [BATCH] * 4
    solved.clear()
    assert_same(run(ALL[::-1], tmp_path / "new" / "folder"), first[::-1])
    assert solved == []


def test_without_cache_nothing_is_written(tmp_path, monkeypatch, solved):
    monkeypatch.chdir(tmp_path)
    run([hydrogen()], None)
    run([hydrogen()], None)
    assert len(solved) == 2 and list(tmp_path.iterdir()) == []


def test_equal_molecules_are_solved_once(tmp_path, solved):
    calls = []
    molecules = [hydrogen(), hydrogen(1.2), hydrogen(), dataclasses.replace(hydrogen(), name="again")]
    results = run(molecules, tmp_path, progress=lambda *call: calls.append(call))
    assert solved == [BATCH] and len(list(tmp_path.iterdir())) == 2
    assert calls == [(0, 4), (4, 4)]
    assert_same([results[0], results[0]], results[2:])
    assert results[0].energy < results[1].energy


def test_more_molecules_of_a_bucket_compile_nothing(tmp_path, monkeypatch):
    traced, scf = [], dft.scf

    def counting(system, **settings):
        traced.append(system.xc)
        return scf(system, **settings)

    run([hydrogen(0.7), hydrogen(0.75)], tmp_path)
    monkeypatch.setattr(dft, "scf", counting)
    run([*(hydrogen(0.7 + 0.01 * i) for i in range(5)), HYDRIDE], tmp_path)
    assert traced == []
    run([hydrogen()], None, Method(xc="svwn"))
    assert traced == ["svwn"]  # the count does notice


def test_hash_follows_everything_a_label_depends_on(monkeypatch):
    moved = WATER.positions.copy()
    moved[1, 1] += 1e-12
    molecules = [
        WATER,
        Molecule(WATER.numbers, moved),
        Molecule(WATER.numbers[[1, 0, 2]], WATER.positions),
        dataclasses.replace(WATER, charge=2),
    ]
    methods = [
        Method(),
        Method(basis="sto-3g"),
        Method(xc="svwn"),
        Method(auxbasis="def2-universal-jfit"),
        Method(grid_level=1),
    ]
    hashes = {content_hash(molecule, method) for molecule in molecules for method in methods}
    assert len(hashes) == len(molecules) * len(methods)
    for name, value in (("TOLERANCE", 1e-7), ("FORMAT", labels.FORMAT + 1)):
        with monkeypatch.context() as patch:
            patch.setattr(labels, name, value)
            assert content_hash(WATER, Method()) not in hashes


def test_hash_ignores_names_and_spelling_and_outlives_the_process():
    named = dataclasses.replace(hydrogen(), name="[H][H]")
    spelled = Method(basis=" DEF2-SVP", xc="PBE", auxbasis="Def2-Universal-JFIT")
    plain = Method(auxbasis="def2-universal-jfit")
    assert content_hash(named, spelled) == content_hash(hydrogen(), plain)
    # Another value here makes every existing cache useless: raise labels.FORMAT if that is meant.
    assert content_hash(hydrogen(), Method()).startswith("23b25f5dd0e429dd5096c57a26e43531")


def test_interruption_keeps_the_finished_batches(tmp_path, solved):
    molecules = [hydrogen(0.7 + 0.01 * i) for i in range(5)]

    def interrupt(done, total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(molecules, tmp_path, progress=interrupt)
    assert len(solved) == 1 and len(list(tmp_path.iterdir())) == BATCH
    calls = []
    results = run(molecules, tmp_path, progress=lambda *call: calls.append(call))
    assert len(solved) == 3 and calls == [(2, 5), (4, 5), (5, 5)]
    assert_same(run(molecules, tmp_path), results)


def rewrite(path, *, sign=True, drop=None, **changes):
    """Change a label's arrays; with `sign` also its checksum, as somebody would who wrote it so."""
    with np.load(path) as archive:
        arrays = dict(archive) | changes
    arrays.pop(drop, None)
    if sign:
        content = {name: np.asarray(arrays[name]) for name in labels.RANKS}
        arrays["checksum"] = labels._checksum(str(arrays["key"]), content)
    np.savez(path, **arrays)


def foreign(path):
    other = hydrogen(0.8)
    run([other], path.parent)
    shutil.copy(path.parent / f"{content_hash(other, METHOD)}.npz", path)


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "empty": ("unreadable", lambda path: path.write_bytes(b"")),
    "truncated": ("unreadable", lambda path: path.write_bytes(path.read_bytes()[:-300])),
    "text": ("unreadable", lambda path: path.write_text("not a label")),
    "pickled": ("unreadable.*allow_pickle", lambda path: rewrite(path, sign=False, fock=np.array([None]))),
    "one bit": ("unreadable|checksum", flipped),
    "one array": ("unreadable", lambda path: np.save(path.open("wb"), np.eye(2))),
    "no fock": ("unreadable.*fock", lambda path: rewrite(path, sign=False, drop="fock")),
    "no checksum": ("unreadable.*checksum", lambda path: rewrite(path, sign=False, drop="checksum")),
    "shape": (
        r"fock should be float64\[10, 10\], is float64\[3, 3\]",
        lambda path: rewrite(path, fock=np.eye(3)),
    ),
    "dtype": ("density should be float64", lambda path: rewrite(path, density=np.eye(10, dtype=np.float32))),
    "foreign": ("belongs to another label", foreign),
    "altered": ("checksum", lambda path: rewrite(path, sign=False, fock=np.eye(10))),
    "not finite": ("fock is not finite", lambda path: rewrite(path, fock=np.full((10, 10), np.nan))),
    "not converged": ("not converged", lambda path: rewrite(path, converged=np.array(False))),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_files_are_logged_and_replaced(stored, solved, caplog, kind):
    path, result = stored
    reason, damage = DAMAGE[kind]
    damage(path)
    solved.clear()
    with caplog.at_level(logging.WARNING):
        assert_same(run([hydrogen()], path.parent), [result])
        assert solved == [BATCH]
        run([hydrogen()], path.parent)
    assert solved == [BATCH]  # the file has been replaced by a good one
    (record,) = caplog.records
    message = record.getMessage()
    assert str(path) in message and "\n" not in message
    assert re.search(reason, message)


def test_no_damage_of_a_byte_gives_other_numbers(stored):
    path, result = stored
    content = path.read_bytes()
    refused = 0
    for position in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[position] ^= 0x55
        path.write_bytes(damaged)
        try:
            assert_same([labels.read_label(path, 10)], [result])  # dates and the like do not matter
        except ValueError:
            refused += 1
    assert refused > 100
    for length in range(0, len(content), 50):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError):
            labels.read_label(path, 10)


def test_failed_write_leaves_the_old_file_and_no_other(stored, monkeypatch):
    path, result = stored

    def fail(file, **arrays):
        file.write(b"half a label")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="disk full"):
        labels.write_label(path, dataclasses.replace(result, fock=np.eye(10)))
    assert list(path.parent.iterdir()) == [path]
    assert_same([labels.read_label(path, 10)], [result])


def test_two_runs_may_write_one_label_at_a_time(stored, monkeypatch):
    path, result = stored
    savez = np.savez

    def overtaken(file, **arrays):
        """Another run writes the same label while this one is half-way."""
        monkeypatch.setattr(np, "savez", savez)
        file.write(b"")
        labels.write_label(path, result)
        assert_same([labels.read_label(path, 10)], [result])
        savez(file, **arrays)

    path.unlink()
    monkeypatch.setattr(np, "savez", overtaken)
    labels.write_label(path, result)
    assert np.savez is savez  # the other run did write
    assert list(path.parent.iterdir()) == [path]
    assert_same([labels.read_label(path, 10)], [result])


def test_left_over_temporary_files_are_harmless(stored, solved):
    path, result = stored
    (path.parent / f".{path.stem}-0123.tmp").write_bytes(b"of a killed run")
    assert_same(run([hydrogen()], path.parent), [result])
    assert solved == []


def test_unconverged_molecules_are_named_and_the_others_kept(tmp_path, monkeypatch, solved):
    far, farther = (Molecule(HYDRIDE.numbers, scale * HYDRIDE.positions) for scale in (1.1, 1.2))
    molecules = [HYDRIDE, far, farther, hydrogen(), HYDRIDE]  # all but H₂ need more than 8 cycles
    calls = []
    with monkeypatch.context() as patch:
        patch.setattr(labels, "MAX_CYCLES", 8)
        with pytest.raises(ValueError) as error:
            run(molecules, tmp_path, progress=lambda *call: calls.append(call))
    assert str(error.value) == (
        "the SCF did not converge in 8 cycles to 1e-08 Ha for molecule 0 (HLi, '[LiH]'), molecule 1 (HLi), "
        "molecule 2 (HLi) and 1 more; check geometry and charge, or leave them out "
        f"(all others are kept in {tmp_path})"
    )
    assert calls == [(0, 5), (3, 5), (5, 5)]
    assert [path.stem for path in tmp_path.iterdir()] == [content_hash(hydrogen(), METHOD)]
    solved.clear()
    assert all(result.converged for result in run(molecules, tmp_path))
    assert solved == [BATCH, BATCH]


def test_foreign_systems_are_refused(tmp_path):
    water, charged = build_systems([WATER, HYDROXIDE], METHOD)
    wrong = {
        "elements": (hydrogen(), water, METHOD),
        "positions": (Molecule(WATER.numbers, WATER.positions + 1e-9), water, METHOD),
        "charge": (dataclasses.replace(HYDROXIDE, charge=1), charged, METHOD),
        "functional": (WATER, water, Method(xc="svwn")),
        "basis": (WATER, water, Method("sto-3g")),
    }
    for what, (molecule, system, method) in wrong.items():
        with pytest.raises(ValueError, match=f"molecule 0 .* differ in {what};"):
            label([molecule], [system], method, cache=tmp_path)
    with pytest.raises(ValueError, match=re.escape("molecule 0 (HO, charge -1, '[OH-]') and its system")):
        label([HYDROXIDE], [water], METHOD, cache=tmp_path)
    with pytest.raises(ValueError, match="2 molecules and 1 systems"):
        label([WATER, HYDROXIDE], [water], METHOD, cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_bad_arguments_are_refused(tmp_path):
    (system,) = build_systems([hydrogen()], METHOD)
    with pytest.raises(ValueError, match="batch must be at least 1, got 0"):
        label([hydrogen()], [system], METHOD, cache=None, batch=0)
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ValueError, match=f"{file} is a file"):
        label([hydrogen()], [system], METHOD, cache=file)
    odd = Molecule(np.array([8, 1]), HYDROXIDE.positions, name="OH")
    with pytest.raises(ValueError, match=r"molecule 1 \(HO, 'OH'\): a closed shell needs an even"):
        build_systems([WATER, odd], METHOD)
    with jax.enable_x64(False), pytest.raises(RuntimeError, match="float64"):
        label([hydrogen()], [system], METHOD, cache=None)


def test_no_molecules_give_no_labels(tmp_path):
    assert label([], [], METHOD, cache=tmp_path) == []
