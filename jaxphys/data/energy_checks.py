"""Whether a set's numbers can be what they are said to be: every reader ends here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

import ase.symbols
import numpy as np
from jaxtyping import Bool, Float

from jaxphys.data.atomic_energies import restore_atomic_energies, statistical_atom
from jaxphys.data.energy_data import REFERENCES, EnergyData
from jaxphys.molecule import CLOSEST_ATOMS, HEAVIEST_ELEMENT
from jaxphys.units import ENERGY_IN_EV, HARTREE_IN_EV

STRONGEST_BINDING = 12.0
"""eV an atom: tungsten has the largest cohesive energy, 8.9; carbon monoxide leads the molecules, 5.6."""

WEAKEST_BINDING = 0.3
"""eV an atom, of the best bound tenth of a set: Na2 has 0.37; N2 and CO in Hartree 0.18 and 0.21."""

LARGEST_ADSORPTION = 100.0
"""eV. Relaxed OC20 structures keep within 10 by construction; the total energy of a slab has hundreds."""

LARGEST_FORCE = 300.0
"""eV/Å on one atom: two protons that meet at 0.22 Å."""

LARGEST_TYPICAL_FORCE = 10.0
"""eV/Å, root mean square component in the middle of a set; molecules at 300 to 1200 K have 0.5 to 2.5."""

_LAST_WITH_ALL_ELECTRONS = 36  # Kr; heavier atoms often have pseudopotentials, also in "total" energies
_NOBLE_GASES = (2, 10, 18, 36, 54, 86)

# What is wrong with frames: which, and how to say it of one.
_Verdict = tuple[Bool[np.ndarray, "frames"], Callable[[int], str]]

# Not `warnings`: see labels.py.
_log = logging.getLogger(__name__)


def check_energies(
    data: EnergyData, source: object, *, drop_invalid: bool = False, units: bool = True
) -> EnergyData:
    """The set, if its numbers can be true.

    source: the file, for messages. Refused, with the first such frame: unknown elements, positions, energies
    or forces that are not finite, atoms closer than 0.1 Å (periodic images are not looked at), energies
    outside what the set's `reference` allows, and forces above 300 eV/Å. With `drop_invalid` such frames are
    left out instead, and how many of which kind is logged as a warning. A whole set of the wrong order of
    magnitude is always refused, with the unit that its numbers look like. units: whether to look at orders
    of magnitude at all; without it only what can never be is refused.

    Total energies may differ by 15 % from those of `statistical_atom`, and by 13.6 eV for each charge and
    one more; where atoms are beyond krypton, which may have pseudopotentials, they only must not be higher
    than the lighter ones allow. Energies of atomisation and formation lie within 12 eV an atom, and in the
    best bound tenth of the set below −0.3, noble gases and single atoms apart. Adsorption: within 100 eV.
    Forces in the middle of the set: 10 eV/Å root mean square. Raises ValueError.
    """
    if not len(data):
        raise ValueError(f"{source}: empty; a set holds at least one structure")
    places = _sift(data, np.arange(len(data)), _IMPOSSIBLE, source, drop_invalid)
    if units:
        _check_magnitudes(_at(data, places), source)
        places = _sift(data, places, _UNLIKELY, source, drop_invalid)
    if len(places) < len(data):
        _log.warning("%s: %d of %d frames left out", source, len(data) - len(places), len(data))
    return _at(data, places)


def _sift(
    data: EnergyData,
    places: np.ndarray,
    faults: Iterable[Callable[[EnergyData], _Verdict]],
    source: object,
    drop_invalid: bool,
) -> np.ndarray:
    """The places, of those given, of frames without any of the faults."""
    for fault in faults:
        faulty, describe = fault(_at(data, places))
        if not faulty.any():
            continue
        first = int(faulty.argmax())
        count = np.count_nonzero(faulty)
        message = f"frame {places[first]}: {describe(first)}"
        if not drop_invalid:
            raise ValueError(
                f"{source}, {message}; {count} of {len(faulty)} frames are of this kind; "
                "drop_invalid=True leaves them out"
            )
        _log.warning("%s: %d frames left out, the first is %s", source, count, message)
        places = places[~faulty]
        if not len(places):
            raise ValueError(f"{source}: no frame is left, the last were as {message}")
    return places


def _at(data: EnergyData, places: np.ndarray) -> EnergyData:
    return data if len(places) == len(data) else data[places]


def _unknown_element(data: EnergyData) -> _Verdict:
    unknown = (data.numbers < 1) | (data.numbers > HEAVIEST_ELEMENT)

    def describe(i: int) -> str:
        atom = int(unknown[data.offsets[i] :].argmax())
        number = data.numbers[data.offsets[i] + atom]
        return f"atom {atom} has atomic number {number}; elements have 1 to {HEAVIEST_ELEMENT}"

    return _in_frames(data, unknown), describe


def _not_finite(data: EnergyData) -> _Verdict:
    """Energies, positions, forces, cells."""
    faulty = ~np.isfinite(data.energy)
    if data.cell is not None:
        faulty |= ~np.isfinite(data.cell).all(axis=(1, 2))
    rows = {"positions": data.positions, "forces": data.forces}
    atoms = {what: ~np.isfinite(array).all(axis=1) for what, array in rows.items() if array is not None}
    for wrong in atoms.values():
        faulty |= _in_frames(data, wrong)

    def describe(i: int) -> str:
        if not np.isfinite(data.energy[i]):
            return f"the energy is {data.energy[i]}"
        for what, wrong in atoms.items():
            own = wrong[data.offsets[i] : data.offsets[i + 1]]
            if own.any():
                atom = int(own.argmax())
                row = getattr(data[i], what)[atom]
                return f"{what} must be finite, got {row.tolist()} for atom {atom}"
        return f"the cell must be finite, got {data[i].cell}"

    return faulty, describe


def _too_close(data: EnergyData) -> _Verdict:
    first, second = close_pairs(data, CLOSEST_ATOMS)
    faulty = np.zeros(len(data), dtype=bool)
    frames = data.frame_of_atom[first]
    faulty[frames] = True

    def describe(i: int) -> str:
        pair = int((frames == i).argmax())
        one, other = sorted((int(first[pair]), int(second[pair])))
        distance = np.linalg.norm(data.positions[one] - data.positions[other])
        return (
            f"atoms {one - data.offsets[i]} and {other - data.offsets[i]} are {distance:.3g} Å apart; "
            f"no two stand closer than {CLOSEST_ATOMS} Å"
        )

    return faulty, describe


def close_pairs(data: EnergyData, distance: float) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of atoms of one frame closer than a distance in Å, as places in the flat arrays.

    Sweeps all frames at once along a direction that no structure lies across: n log n in all atoms.
    """
    direction = np.array([0.5163, 0.6294, 0.5808])
    height = data.positions @ (direction / np.linalg.norm(direction))
    # Each frame in a storey of its own, one distance above the last.
    height = height - height.min() + (np.ptp(height) + 2 * distance) * data.frame_of_atom
    order = np.argsort(height, kind="stable")
    height = height[order]
    reach = distance + 8 * np.spacing(height[-1])
    pairs = [np.empty((0, 2), dtype=np.int64)]
    places, step = np.arange(len(order)), 1
    while len(places):
        places = places[places < len(order) - step]
        places = places[height[places + step] - height[places] < reach]
        one, other = order[places], order[places + step]
        touching = np.linalg.norm(data.positions[one] - data.positions[other], axis=1) < distance
        pairs.append(np.stack([one[touching], other[touching]], axis=1))
        step += 1
    first, second = np.concatenate(pairs).T
    return first, second


def _energy_out_of_range(data: EnergyData) -> _Verdict:
    energy, low, high = _range(data)
    return (energy < low) | (energy > high), lambda i: _about_energy(data, i)


def _force_too_large(data: EnergyData) -> _Verdict:
    if data.forces is None:
        return np.zeros(len(data), dtype=bool), str
    size = np.linalg.norm(data.forces, axis=1)

    def describe(i: int) -> str:
        own = size[data.offsets[i] : data.offsets[i + 1]]
        return f"a force of {own.max():.4g} eV/Å on atom {own.argmax()}; {LARGEST_FORCE:g} is the limit"

    return _in_frames(data, size > LARGEST_FORCE), describe


_IMPOSSIBLE = (_unknown_element, _not_finite, _too_close)
_UNLIKELY = (_energy_out_of_range, _force_too_large)


def _in_frames(data: EnergyData, atoms: Bool[np.ndarray, atoms]) -> Bool[np.ndarray, frames]:
    """Frames that own at least one of these atoms."""
    return np.logical_or.reduceat(atoms, data.offsets[:-1])


def _range(data: EnergyData) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Energies, and the lowest and highest that their reference allows, in eV."""
    energy = _energy(data)
    if data.reference == "total":
        slack = 0.5 * HARTREE_IN_EV * (1 + np.abs(data.charge))
        light = data.numbers <= _LAST_WITH_ALL_ELECTRONS
        return energy, 1.15 * _statistical(data) - slack, 0.85 * _statistical(data, light) + slack
    if data.reference in ("atomisation", "formation"):
        limit = STRONGEST_BINDING * data.n_atoms
    elif data.reference == "adsorption":
        limit = np.full(len(data), LARGEST_ADSORPTION)
    else:
        limit = np.full(len(data), np.inf)
    return energy, -limit, limit


def _energy(data: EnergyData) -> Float[np.ndarray, frames]:
    return data.energy if data.subtracted is None else restore_atomic_energies(data).energy


def _statistical(data: EnergyData, atoms: np.ndarray | None = None) -> Float[np.ndarray, frames]:
    single = statistical_atom(data.numbers)
    return np.add.reduceat(single if atoms is None else np.where(atoms, single, 0.0), data.offsets[:-1])


def _about_energy(data: EnergyData, i: int) -> str:
    energy, low, high = (array[i] for array in _range(data))
    formula = ase.symbols.Symbols(data[i].numbers).get_chemical_formula()
    return (
        f"an energy of {energy:.6g} eV for {formula}; {data.reference} energies "
        f"({REFERENCES[data.reference]}) lie between {low:.6g} and {high:.6g}"
    )


def _check_magnitudes(data: EnergyData, source: object) -> None:
    """Refuse a set whose energies or forces are of the wrong order as a whole."""
    energy, low, high = _range(data)
    outside = (energy < low) | (energy > high)
    if 2 * np.count_nonzero(outside) > len(data):
        example = _about_energy(data, int(outside.argmax()))
        raise ValueError(
            f"{source}: {np.count_nonzero(outside)} of {len(data)} energies are out of range; frame "
            f"{outside.argmax()}: {example}{_likely_energies(data)}"
        )
    _check_binding(data, source)
    _check_forces(data, source)


def _check_binding(data: EnergyData, source: object) -> None:
    noble = _in_frames(data, np.isin(data.numbers, _NOBLE_GASES))
    molecules = np.flatnonzero((data.n_atoms > 1) & ~noble)
    if data.reference not in ("atomisation", "formation") or not len(molecules):
        return
    strong = np.percentile((_energy(data) / data.n_atoms)[molecules], 10)
    guess = _likely_energies(data[molecules])
    if strong > -WEAKEST_BINDING or "total energies" in guess:
        raise ValueError(
            f"{source}: the best bound tenth of the structures begins at {strong:.3g} eV an atom; "
            f"{data.reference} energies of molecules have -2 to -6, the weakest {-WEAKEST_BINDING:g}{guess}"
        )


def _check_forces(data: EnergyData, source: object) -> None:
    if data.forces is None:
        return
    squares = np.add.reduceat(np.square(data.forces).sum(axis=1), data.offsets[:-1]) / (3 * data.n_atoms)
    typical = float(np.sqrt(np.median(squares)))
    if typical <= LARGEST_TYPICAL_FORCE:
        return
    unit = min(ENERGY_IN_EV, key=lambda name: abs(np.log(typical * ENERGY_IN_EV[name])))
    raise ValueError(
        f"{source}: force components of {typical:.3g} eV/Å in the middle of the set; molecules have 0 to 3, "
        f"{LARGEST_TYPICAL_FORCE:g} is the limit; they look like {unit}/Å"
    )


def _likely_energies(data: EnergyData) -> str:
    """What the energies look like, as the end of a message; empty if like nothing known or as they should."""
    ratio = float(np.median(_energy(data) / _statistical(data)))
    each = float(np.median(_energy(data) / data.n_atoms))
    total = [unit for unit, factor in ENERGY_IN_EV.items() if 0.97 < ratio * factor < 1.1]
    if total:
        return f"; they look like total energies in {total[0]}"
    if data.reference == "total" and -STRONGEST_BINDING < each < 0:
        return "; they look like energies of atomisation, or of pseudo-atoms (valence), in eV"
    if data.reference in ("atomisation", "formation") and each > WEAKEST_BINDING:
        return "; they look like energies of another sign: what is bound must be negative"
    unit = min(ENERGY_IN_EV, key=lambda name: abs(np.log(max(abs(each), 1e-12) * ENERGY_IN_EV[name] / 4)))
    likely = unit != "eV" and 0.8 < abs(each) * ENERGY_IN_EV[unit] < 10 and each < 0
    return f"; they look like energies of atomisation in {unit}" if likely else ""
