"""Reaction paths, of xTB or read, against which a model that saw minima alone has to hold its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.constraints import FixInternals
from ase.mep import NEB
from ase.optimize import FIRE, LBFGS
from threadpoolctl import threadpool_limits

from experiments.reliable_assembly import side_of_bond
from jaxphys.data import (
    EnergyData,
    embed,
    read_transition1x,
    read_xyz,
    write_xyz,
    xtb_calculator,
    xtb_energies,
    xtb_minima,
)
from jaxphys.molecule import Molecule

# names, which no role of the training may have
HELD_OUT = ("C#N", "CCCC", "O=CC=O")
FORMAT = 1
QUIET: Any = None  # ASE's annotation of log files leaves it out


def make_paths(images: int, cache: Path) -> dict[str, EnergyData]:
    """Paths by name, each from a minimum, with xTB's energies in eV; geometries are kept in the folder."""
    paths = {}
    for name, make in PATHS.items():
        file = cache / f"path-{FORMAT}-{images}-{name.replace(' ', '_')}.xyz"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            aside = file.with_suffix(".tmp")
            xtb_calculator()  # a library is limited only once it is loaded
            with threadpool_limits(limits=1):
                write_xyz(aside, make(images))
            aside.replace(file)
        paths[name] = xtb_energies(read_xyz(file), cache=cache)
    return paths


def read_paths(file: Path, elements: Iterable[int], count: int) -> dict[str, EnergyData]:
    """The first `count` reactions of Transition1x's test split that have these elements alone.

    Each is three images: reactant, transition state, product. None without the file.
    """
    if not file.exists():
        return {}
    data = read_transition1x(file, split="test", endpoints_only=True)
    paths: dict[str, EnergyData] = {}
    for reaction in dict.fromkeys(data.group.tolist()):
        path = data[data.group == reaction]
        if len(paths) < count and set(path.elements) <= set(elements):
            paths[reaction.replace("/", " ")] = path
    return paths


def _isomerisation(images: int) -> list[Molecule]:
    """HCN to HNC: a nudged elastic band whose highest image climbs."""
    ends, _ = xtb_minima([_hcn(1.07, -1.0), _hcn(1.0, 1.0)])
    start, end = (frame.molecule for frame in ends)
    band = [Atoms(start.numbers, start.positions) for _ in range(images - 1)]
    band.append(Atoms(end.numbers, end.positions))
    for index, image in enumerate(band[1:-1], 1):
        image.positions = _around(start, end, index / (images - 1))
    for image in band:
        image.calc = xtb_calculator()
    neb = NEB(band, climb=True, method="improvedtangent")
    FIRE(neb, logfile=QUIET).run(fmax=0.05, steps=300)
    return [replace(start, positions=image.get_positions()) for image in band]


def _hcn(distance: float, side: float) -> Molecule:
    """H beyond C (side −1) or N (side 1) of a CN bond along z."""
    z = -distance if side < 0 else 1.17 + distance
    return Molecule(np.array([6, 7, 1]), np.array([[0, 0, 0], [0, 0, 1.17], [0, 0, z]]), name="C#N")


def _around(start: Molecule, end: Molecule, part: float) -> np.ndarray:
    """Heavy atoms on straight lines, hydrogen on half an ellipse around them."""
    positions = (1 - part) * start.positions + part * end.positions
    positions[2, 0] += 1.2 * np.sin(np.pi * part)
    return positions


def _rotation(smiles: str, heavy: tuple[int, int, int, int]) -> Callable[[int], list[Molecule]]:
    def scan(images: int) -> list[Molecule]:
        """Half a turn about a bond; everything else relaxes."""
        molecule = xtb_minima([embed(smiles, seed=0)])[0][0].molecule
        atoms = Atoms(molecule.numbers, molecule.positions)
        atoms.calc = xtb_calculator()
        first = atoms.get_dihedral(*heavy)
        path = [molecule]
        for angle in first + np.linspace(0, 180, images)[1:]:
            atoms.set_constraint()
            atoms.set_dihedral(*heavy, angle, indices=_beyond(molecule, heavy[1], heavy[2]))
            atoms.set_constraint(FixInternals(dihedrals_deg=[[float(angle % 360), list(heavy)]]))
            LBFGS(atoms, logfile=QUIET).run(fmax=0.02, steps=200)
            path.append(replace(molecule, positions=atoms.get_positions()))
        return path

    return scan


def _beyond(molecule: Molecule, fixed: int, turned: int) -> list[int]:
    """Atoms on the far side of a bond."""
    return np.flatnonzero(side_of_bond(molecule, fixed, turned)).tolist()


PATHS: dict[str, Callable[[int], list[Molecule]]] = {
    "HCN to HNC": _isomerisation,
    "rotation of butane": _rotation("CCCC", (0, 1, 2, 3)),
    "rotation of glyoxal": _rotation("O=CC=O", (0, 1, 2, 3)),
}
