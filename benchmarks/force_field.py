"""Energy functions of a realistic cost for the relaxation benchmark, made from the molecules themselves.

`bonded`: bonds, angles, torsions and Lennard-Jones pairs, least near the geometry they were made from.
`neural`: the same with a small message-passing network of random weights on top.
`equivariant`: the same with an `EnergyModel` of random weights on top.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jraph
import numpy as np
from ase.data import covalent_radii
from jaxtyping import Array, Float

from jaxphys.models import EnergyConfig, EnergyModel
from jaxphys.molecule import Molecule, to_graph

BOND, ANGLE, TORSION = 20.0, 4.0, 0.1  # eV/Å², eV, eV
DEPTH = 0.004  # eV, of a Lennard-Jones pair
FEATURES, WAVES, LAYERS, CUTOFF = 32, 16, 2, 5.0
SPECIES = (1, 6, 7, 8, 16)  # QM7's
NETWORK_SCALE = 0.02  # eV an atom, so that an untrained network leaves the molecules whole


class Terms(NamedTuple):
    """Atoms of each term, (t, k), its best value, (t,), and its weight, (t,), 0 for padding."""

    atoms: np.ndarray
    best: np.ndarray
    weight: np.ndarray


class ForceField(NamedTuple):
    """Terms of one molecule, for its pairs (n, n) the best distance in Å and which count, and its graph."""

    bonds: Terms
    angles: Terms
    torsions: Terms
    best: np.ndarray
    pairs: np.ndarray
    numbers: np.ndarray
    graph: jraph.GraphsTuple


def force_fields(molecules: Sequence[Molecule], size: int) -> ForceField:
    """The force fields of all molecules, stacked; padded to more atoms, `size`, than the largest has."""
    single = [_force_field(molecule, size) for molecule in molecules]
    padded = {}
    for name in ("bonds", "angles", "torsions"):
        terms = [getattr(one, name) for one in single]
        longest = max(len(term.best) for term in terms)
        padded[name] = Terms(*map(np.stack, zip(*(_pad(term, longest) for term in terms), strict=True)))
    rest = jax.tree.map(lambda *leaves: np.stack(leaves), *(one[3:] for one in single))
    return ForceField(padded["bonds"], padded["angles"], padded["torsions"], *rest)


def bonded(field: ForceField, positions: Float[Array, "n 3"]) -> Float[Array, ""]:
    """Energy of one molecule in eV, (); positions in Å."""
    a, b = positions[field.bonds.atoms.T]
    bonds = field.bonds.weight * (_length(a - b) - field.bonds.best) ** 2
    a, b, c = positions[field.angles.atoms.T]
    cosine = jnp.sum((a - b) * (c - b), axis=-1) / (_length(a - b) * _length(c - b))
    angles = field.angles.weight * (cosine - field.angles.best) ** 2
    torsions = field.torsions.weight * (1 - _cosine_of_torsion(field.torsions, positions))
    square = jnp.sum((positions[:, None] - positions[None]) ** 2, axis=-1)
    ratio = field.best**2 / jnp.where(field.pairs, square, 1.0)
    pairs = jnp.where(field.pairs, ratio**6 - 2 * ratio**3, 0.0)
    return jnp.sum(bonds) + jnp.sum(angles) + jnp.sum(torsions) + 0.5 * DEPTH * jnp.sum(pairs)


def neural(field: ForceField, positions: Float[Array, "n 3"]) -> Float[Array, ""]:
    """`bonded`, and a network on all pairs within 5 Å, in the dtype of the positions."""
    weights = jax.tree.map(lambda leaf: jnp.asarray(leaf, positions.dtype), _weights())
    real = field.numbers > 0
    pairs = real[:, None] & real[None, :] & ~np.eye(len(field.numbers), dtype=bool)
    square = jnp.sum((positions[:, None] - positions[None]) ** 2, axis=-1)
    distance = jnp.sqrt(jnp.where(pairs, square, 1.0))
    near = jnp.where(pairs & (distance < CUTOFF), 0.5 * (1 + jnp.cos(np.pi * distance / CUTOFF)), 0.0)
    waves = jnp.exp(-4 * (distance[..., None] - jnp.linspace(0.5, CUTOFF, WAVES)) ** 2)
    states = weights["embedding"][field.numbers]
    for layer in weights["layers"]:
        filters = jnp.tanh(waves @ layer["first"]) @ layer["second"] * near[..., None]
        messages = jnp.sum(filters * (states @ layer["send"]), axis=1)
        states += jnp.tanh(messages @ layer["receive"])
    return bonded(field, positions) + 0.1 * jnp.sum(jnp.where(real, jnp.tanh(states @ weights["out"]), 0.0))


@functools.cache
def equivariant(channels: int, lmax: int = 3) -> Callable[[ForceField, Any], Any]:
    """`bonded`, and an `EnergyModel` of that width in float32; else its defaults: 2 layers, correlation 3."""
    model = EnergyModel(EnergyConfig(SPECIES, channels=channels, lmax=lmax, scale=NETWORK_SCALE))
    pair = to_graph(np.array([6, 1]), np.array([[0.0, 0.0, 0.0], [1.1, 0.0, 0.0]], np.float32))
    params = jax.jit(model.init)(jax.random.key(0), pair)

    def energy(field: ForceField, positions: Float[Array, "n 3"]) -> Float[Array, ""]:
        nodes = {**field.graph.nodes, "positions": positions.astype(jnp.float32)}
        learned: Any = model.apply(params, field.graph._replace(nodes=nodes))
        return bonded(field, positions) + learned

    return energy


@functools.cache
def _weights() -> dict[str, Any]:
    rng = np.random.default_rng(0)

    def matrix(rows: int, columns: int = FEATURES) -> np.ndarray:
        return rng.normal(size=(rows, columns)) / np.sqrt(rows)

    layers = [
        {
            "first": matrix(WAVES),
            "second": matrix(FEATURES),
            "send": matrix(FEATURES),
            "receive": matrix(FEATURES),
        }
        for _ in range(LAYERS)
    ]
    return {"embedding": rng.normal(size=(119, FEATURES)), "layers": layers, "out": matrix(FEATURES, 1)[:, 0]}


def _force_field(molecule: Molecule, size: int) -> ForceField:
    numbers, positions = molecule.numbers, molecule.positions
    n = len(numbers)
    radii = covalent_radii[numbers]
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    bound = (distances < 1.25 * (radii[:, None] + radii[None])) & ~np.eye(n, dtype=bool)
    pairs = [(i, j) for i, j in np.argwhere(bound) if i < j]
    triples = [(i, j, k) for j, k in np.argwhere(bound) for i in np.flatnonzero(bound[j]) if i < k]
    straight = 0.98  # the cosine beyond which a torsion has no meaning
    cosines = np.array([_cosine(positions[list(triple)]) for triple in triples])
    bent = {t for t, c in zip(triples, cosines, strict=True) if abs(c) < straight}
    bent |= {t[::-1] for t in bent}
    chains = [
        (i, j, k, m)
        for j, k in pairs
        for i in np.flatnonzero(bound[j])
        for m in np.flatnonzero(bound[k])
        if len({i, j, k, m}) == 4 and (i, j, k) in bent and (j, k, m) in bent
    ]
    third = (bound.astype(int) @ bound + bound > 0) | np.eye(n, dtype=bool)
    grow = [(0, size - n)] * 2
    torsions = Terms(_atoms(chains, 4), np.zeros(len(chains)), np.full(len(chains), TORSION))
    return ForceField(
        Terms(_atoms(pairs, 2), distances[tuple(_atoms(pairs, 2).T)], np.full(len(pairs), BOND)),
        Terms(_atoms(triples, 3), cosines, np.full(len(triples), ANGLE)),
        torsions._replace(best=np.asarray(_torsion(torsions.atoms, positions))),
        np.pad(1.6 * (radii[:, None] + radii[None]), grow),
        np.pad(~third, grow),
        np.pad(numbers, grow[0]),
        to_graph(numbers, positions.astype(np.float32), n_node=size),
    )


def _atoms(terms: list[tuple[Any, ...]], width: int) -> np.ndarray:
    return np.array(terms, dtype=int).reshape(-1, width)


def _pad(terms: Terms, size: int) -> Terms:
    """Padding on the first atoms, whose distances are not zero."""
    more = size - len(terms.best)
    first = np.tile(np.arange(terms.atoms.shape[1]), (more, 1))
    grow = [(0, more)]
    return Terms(np.vstack([terms.atoms, first]), np.pad(terms.best, grow), np.pad(terms.weight, grow))


def _length(vectors: Array) -> Array:
    square = jnp.sum(vectors**2, axis=-1)
    return jnp.sqrt(jnp.where(square > 0, square, 1.0))


def _cosine(corner: np.ndarray) -> float:
    a, c = corner[0] - corner[1], corner[2] - corner[1]
    return float(a @ c / np.linalg.norm(a) / np.linalg.norm(c))


def _parts(atoms: Any, positions: Any) -> tuple[Array, Array]:
    """Cosine and sine of the torsions, both times one positive number."""
    a, b, c, d = jnp.asarray(positions)[atoms.T]
    first, middle, last = b - a, c - b, d - c
    left, right = jnp.cross(first, middle), jnp.cross(middle, last)
    sine = jnp.sum(first * right, axis=-1) * _length(middle)
    return jnp.sum(left * right, axis=-1), sine


def _torsion(atoms: np.ndarray, positions: np.ndarray) -> Array:
    cosine, sine = _parts(atoms, positions)
    return jnp.arctan2(sine, cosine)


def _cosine_of_torsion(torsions: Terms, positions: Array) -> Array:
    """cos(φ − φ_best)."""
    cosine, sine = _parts(torsions.atoms, positions)
    square = cosine**2 + sine**2
    size = jnp.sqrt(jnp.where(square > 0, square, 1.0))
    return (cosine * jnp.cos(torsions.best) + sine * jnp.sin(torsions.best)) / size
