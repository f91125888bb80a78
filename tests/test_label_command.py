"""`python -m jaxphys.label`: its labels and its file; failures, interruptions and bad input."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from pyscf import df, gto
from pyscf import dft as pyscf_dft

from jaxphys import dft, label
from jaxphys.data import bulk
from jaxphys.units import BOHR_IN_ANGSTROM

SETTINGS = ["--basis", "sto-3g", "--xc", "svwn", "--grid-level", "0"]
WATER = "O 0 0 0.1\nH 0 0.76 -0.48\nH 0 -0.76 -0.48\n"
RADICAL = "O 0 0 0\nH 0 0.1 0.97\n"

FRAMES = [
    ("name=water", WATER),
    ("name=odd", RADICAL),
    ("spin=1 charge=1 name=radical", WATER),
    ("charge=-1 name=anion", RADICAL),
    ("name=again", WATER),
    ("name=uranium", "U 0 0 0\n"),
    ("name=near", "H 0 0 0\nH 0 0 0.05\n"),
]


def hydrogens(count):
    return [("", f"H 0 0 0\nH 0 0 {0.7 + 0.01 * i}\n") for i in range(count)]


def write(path, frames):
    path.write_text("".join(f"{atoms.count(chr(10))}\n{comment}\n{atoms}" for comment, atoms in frames))
    return path


def command(source, *options, settings=SETTINGS):
    """Exit status of the command, run in this process."""
    force = [] if "--forces" in options else ["--no-forces"]
    return label.main([str(source), *settings, *force, *(o for o in options if o != "--forces")])


@pytest.fixture(scope="module", autouse=True)
def own_process():
    """The command arranges the memory of its process; this one belongs to all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label, "prepare_cpu", lambda **_: None)
        yield


@pytest.fixture
def solved(monkeypatch):
    """Formulas of the molecules that are computed."""
    formulas, solve = [], bulk._solution

    def counting(frame, recipe):
        formulas.append(frame.formula)
        return solve(frame, recipe)

    monkeypatch.setattr(bulk, "_solution", counting)
    return formulas


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A finished run: input, output and exit status."""
    source = write(tmp_path_factory.mktemp("run") / "molecules.xyz", FRAMES)
    out = source.with_name("labels.h5")
    return source, out, command(source, "--out", str(out), "--density", "--coefficients")


def reference(numbers, positions, charge, spin):
    atoms = list(zip(numbers.tolist(), positions, strict=True))
    mole = gto.M(atom=atoms, charge=charge, spin=spin, basis="sto-3g", verbose=0)
    method = (pyscf_dft.UKS if spin else pyscf_dft.RKS)(mole, xc="svwn")
    method = method.density_fit(auxbasis=df.make_auxbasis(mole, xc="svwn"))
    method.grids.level, method.conv_tol, method.conv_tol_grad = 0, 1e-12, 1e-8
    method.kernel()
    return method


@pytest.mark.parametrize("name", ["000000_H2O", "000002_H2O", "000003_HO"])
def test_labels_are_those_of_pyscf(labelled, name):
    with h5py.File(labelled[1]) as file:
        group = file["molecules"][name]
        values, attributes = {key: dataset[()] for key, dataset in group.items()}, dict(group.attrs)
    method = reference(values["numbers"], values["positions"], attributes["charge"], attributes["spin"])
    assert abs(values["energy"] - method.e_tot) < 1e-8
    tolerance = {"rtol": 0, "atol": 1e-6}
    np.testing.assert_allclose(values["overlap"], method.get_ovlp(), **tolerance)
    np.testing.assert_allclose(values["density"], method.make_rdm1(), **tolerance)
    np.testing.assert_allclose(values["fock"], method.get_fock(), **tolerance)
    np.testing.assert_allclose(values["orbital_energies"], method.mo_energy, **tolerance)
    dipole = method.dip_moment(unit="au", origin=(0, 0, 0), verbose=0)
    np.testing.assert_allclose(values["dipole"], dipole, **tolerance)
    occupied = values["coefficients"] * np.sqrt(values["occupation"])[..., None, :]
    np.testing.assert_allclose(
        occupied @ occupied.mT if attributes["spin"] else occupied @ occupied.T,
        values["density"],
        **tolerance,
    )


def test_the_file_says_what_it_holds(labelled):
    _, out, status = labelled
    assert status == 1
    with h5py.File(out) as file:
        assert (
            file.attrs["basis"] == "sto-3g" and file.attrs["xc"] == "svwn" and file.attrs["grid_level"] == 0
        )
        assert file.attrs["auxbasis"] == "default" and file.attrs["tolerance"] == 1e-8
        assert "x, y, z" in file.attrs["orbital_order"] and file.attrs["jaxphys_version"]
        assert list(file["molecules"]) == ["000000_H2O", "000002_H2O", "000003_HO", "000004_H2O"]
        assert file["molecules/000004_H2O"] == file["molecules/000000_H2O"] and len(file["labels"]) == 3
        for group in file["labels"].values():
            assert all(dataset.attrs["unit"] for dataset in group.values())
            assert group.attrs["cycles"] > 1 and group.attrs["seconds"] > 0
        assert file["molecules/000003_HO"].attrs["name"] == "anion"
        assert file["molecules/000002_H2O/fock"].attrs["axes"] == "spin, orbital, orbital"
        assert {element: list(shells) for element, shells in file["shells"].items()} == {
            "H": [0],
            "O": [0, 0, 1],
        }


def test_failures_are_recorded_and_tried_again(labelled, capsys, solved):
    source, out, _ = labelled
    before = out.stat()
    assert command(source, "--out", str(out), "--density", "--coefficients") == 1
    output = capsys.readouterr()
    assert output.out == f"{out}: 4 frames labelled, 0 molecules computed; 3 frames failed, see /failures\n"
    lines = [line for line in output.err.splitlines() if line.startswith("failed: ")]
    assert [line.split(")")[0] for line in sorted(lines)] == [
        "failed: frame 1 (HO, 'odd'",
        "failed: frame 5 (U, 'uranium'",
        "failed: frame 6 (H2, 'near'",
    ]
    assert solved == ["U", "HO"]  # not the one that is no molecule
    assert out.stat().st_mtime_ns == before.st_mtime_ns
    with h5py.File(out) as file:
        assert {name: group.attrs["index"] for name, group in file["failures"].items()} == {
            "000001_HO": 1,
            "000005_U": 5,
            "000006_H2": 6,
        }
        assert "even, positive number of electrons" in file["failures/000001_HO"].attrs["reason"]
        assert "not in PySCF for U" in file["failures/000005_U"].attrs["reason"]


def test_unconverged_molecules_fail_until_they_converge(tmp_path, solved):
    source, out = (
        write(tmp_path / "a.xyz", [("charge=1", "He 0 0 0\nH 0 0 0.8\n"), *hydrogens(1)]),
        tmp_path / "a.h5",
    )
    assert command(source, "--out", str(out), "--max-cycles", "3") == 1
    with h5py.File(out) as file:
        assert list(file["molecules"]) == ["000001_H2"]
        reason = file["failures/000000_HHe"].attrs["reason"]
        assert reason.startswith("the SCF did not converge in 3 cycles to 1e-08 Ha;")
    assert command(source, "--out", str(out)) == 0
    assert solved == ["H2", "HHe", "HHe"]
    with h5py.File(out) as file:
        assert list(file["molecules"]) == ["000000_HHe", "000001_H2"] and len(file["failures"]) == 0


def test_another_input_keeps_what_is_there(tmp_path, solved):
    source, out = write(tmp_path / "a.xyz", hydrogens(2)), tmp_path / "a.h5"
    assert command(source, "--out", str(out)) == 0
    write(source, hydrogens(3)[:0:-1])
    assert command(source, "--out", str(out)) == 0
    assert len(solved) == 3
    with h5py.File(out) as file:
        assert [group["positions"][1, 2] for group in file["molecules"].values()] == [0.72, 0.71]
        assert len(file["labels"]) == 3


def test_kill_loses_no_finished_molecule(tmp_path, solved):
    source, out = write(tmp_path / "a.xyz", hydrogens(40)), tmp_path / "a.h5"
    parts = tmp_path / "a.h5.parts"
    arguments = [sys.executable, "-m", "jaxphys.label", source, *SETTINGS, "--no-forces", "--out", out]
    with subprocess.Popen(arguments, cwd=Path(label.__file__).parents[1], stderr=subprocess.PIPE) as run:
        while len(list(parts.glob("*.h5"))) < 3:
            assert run.poll() is None, run.stderr.read()
            time.sleep(0.001)
        run.kill()
    finished = len(list(parts.glob("*.h5")))
    assert run.returncode == -9 and 3 <= finished < 40 and not out.exists()
    assert command(source, "--out", str(out)) == 0
    assert len(solved) == 40 - finished
    assert sorted(tmp_path.iterdir()) == [out, source]


@pytest.fixture
def terminal():
    """Signals as in a terminal: a job in the background inherits that SIGINT is ignored."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_interrupted_runs_leave_a_file_and_go_on(tmp_path, monkeypatch, capsys, solved, number, terminal):
    source, out = write(tmp_path / "a.xyz", hydrogens(4)), tmp_path / "a.h5"
    solve = bulk._solution

    def interrupted(frame, recipe):
        if len(solved) == 2:
            time.sleep(0.5)  # the second is written meanwhile
            os.kill(os.getpid(), number)
        return solve(frame, recipe)

    with monkeypatch.context() as patch:
        patch.setattr(os, "sched_getaffinity", lambda _: {0})  # one worker, or more were under way
        patch.setattr(bulk, "_solution", interrupted)
        assert command(source, "--out", str(out)) == 130
    assert "stopped; the same command goes on from here (2 of 4)" in capsys.readouterr().err
    with h5py.File(out) as file:
        assert len(file["molecules"]) == 2
    solved.clear()
    assert command(source, "--out", str(out)) == 0
    assert len(solved) == 2


def test_a_full_disk_is_one_line_and_keeps_the_labels(tmp_path, monkeypatch, capsys, solved):
    source, out = write(tmp_path / "a.xyz", hydrogens(3)), tmp_path / "a.h5"
    fsync, synced = os.fsync, []

    def full(file):
        synced.append(file)
        if len(synced) > 2:
            raise OSError(28, "No space\nleft on device")
        fsync(file)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert command(source, "--out", str(out)) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert errors == [f"error: [Errno 28] No space left on device; finished labels are kept in {out}.parts"]
    assert command(source, "--out", str(out)) == 0
    assert len(solved) == 4 and sorted(tmp_path.iterdir()) == [out, source]


def test_similar_molecules_share_a_program(tmp_path, monkeypatch):
    traced, scf = [], dft.scf

    def counting(system, **settings):
        traced.append(dft.sizes(system))
        return scf(system, **settings)

    monkeypatch.setattr(dft, "scf", counting)
    frames = [*hydrogens(3), ("", "He 0 0 0\nHe 0 0 3\n")]
    settings = ["--basis", "sto-3g", "--xc", "svwn", "--grid-level", "0", "--tolerance", "2e-8"]
    assert command(write(tmp_path / "a.xyz", frames), settings=settings) == 0
    assert len(traced) == len(set(traced)) <= 2
    assert (tmp_path / "a.labels.h5").exists()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--basis", "sto-33g"], "basis 'sto-33g' is not in PySCF for H"),
        (["--auxbasis", "none"], "basis 'none' is not in PySCF for H"),
        (["--xc", "b3lyp"], "'b3lyp' is ambiguous"),
        (["--grid-level", "10"], "grid level must be from 0 (coarse) to 9, got 10"),
        (["--tolerance", "0"], "tolerance must be a small positive number of Ha"),
        (["--max-cycles", "0"], "at least 1, got 0"),
        (["--spin", "-1"], "spin is the number of unpaired electrons, 0 or more, got -1"),
        (["--out", "a.xyz"], "a.xyz is the input"),
    ],
)
def test_bad_usage_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, capsys, options, reason):
    monkeypatch.chdir(tmp_path)
    source = write(Path("a.xyz"), hydrogens(1))
    assert command(source, *options) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and reason in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == [tmp_path / "a.xyz"]


def test_files_of_others_are_refused(tmp_path, capsys):
    source, out = write(tmp_path / "a.xyz", hydrogens(1)), tmp_path / "a.h5"
    assert command(tmp_path / "b.xyz", "--out", str(out)) == 2
    assert "b.xyz: no such file" in capsys.readouterr().err
    assert command(source, "--out", str(out)) == 0
    content = out.read_bytes()
    for options, reason in (
        (["--tolerance", "1e-6"], "holds labels of tolerance 1e-08, not 1e-06"),
        (["--density"], "holds labels of optional_datasets none, not density"),
    ):
        assert command(source, "--out", str(out), *options) == 2
        assert reason in capsys.readouterr().err
    assert out.read_bytes() == content
    out.write_bytes(content[:-100])
    assert command(source, "--out", str(out)) == 2
    assert "is damaged" in capsys.readouterr().err
    assert out.read_bytes() == content[:-100]


@pytest.mark.parametrize("comment", ["", "spin=1 charge=1"])
def test_forces_are_the_slope_of_the_energy(tmp_path, comment):
    step = 1e-3
    frames = [(comment, f"H 0 0 0\nH 0 0 {distance}\n") for distance in (0.7, 0.7 + step, 0.7 - step)]
    source, out = write(tmp_path / "a.xyz", frames), tmp_path / "a.h5"
    assert command(source, "--out", str(out), "--forces") == 0
    with h5py.File(out) as file:
        middle, forward, backward = file["molecules"].values()
        slope = (forward["energy"][()] - backward["energy"][()]) / (2 * step / BOHR_IN_ANGSTROM)
        assert middle["forces"].attrs["unit"] == "Ha/Bohr"
        np.testing.assert_allclose(middle["forces"], [[0, 0, slope], [0, 0, -slope]], rtol=0, atol=1e-5)
        assert abs(slope) > 1e-2


def test_help_names_units_and_exit_status(capsys):
    with pytest.raises(SystemExit):
        label.main(["--help"])
    text = capsys.readouterr().out
    for word in ("Angstrom", "Hartree", "unpaired electrons", "Exit status", "--grid-level"):
        assert word in text
