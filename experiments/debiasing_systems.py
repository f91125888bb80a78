"""The systems of `experiments.debiasing`: energy, biased data, checked reference, what is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.debiasing_reference import equilibrium, pooled
from jaxphys import energies, metrics, models, sampling
from jaxphys.models.layers.waves import waves
from jaxphys.roles import EnergyFunction

REGIMES = {
    "local": "local bias: samples of a higher temperature",
    "weights": "bias of weights: every basin in equilibrium, but too little or too much of it",
}
FLOAT = jnp.float32  # of samples and networks


class Ensemble(NamedTuple):
    """Samples of equal weight, on the host: positions (k, n, d), energies (k,), and groups (k,) of samples
    that may be correlated, as those of one walker are."""

    positions: np.ndarray
    energies: np.ndarray
    groups: np.ndarray


class Column(NamedTuple):
    """A metric: what it looks at in an ensemble, its distance between two such arrays, and on how many."""

    look: Callable[[Ensemble], np.ndarray]
    distance: Callable[[np.ndarray, np.ndarray], float]
    size: int = 5000


Denoiser = Callable[[Any, Any, Any], Any]  # (params, positions (n, d), σ) → (n, d)


@dataclass(frozen=True, eq=False)
class System:
    """What an experiment needs to know of a system; energies, kT and positions in one unit each.

    shape: (n, d) of the positions. kt, hot: of the target, and of the samples whose temperature is too high,
    at which walkers cross all barriers. centre: whether the energy knows no place in space. levels: the least
    and the greatest σ. step: of Hamiltonian Monte Carlo at `hot`, to begin its search with. biased: samples
    (k, n, d) of a regime by key and number. reference: a checked `Ensemble` of a number of samples. denoiser:
    from sizes and the clean samples to (init, denoise). columns: what is measured against the reference.
    basin: of the free energy, which samples lie in it, its exact value if known, and another unit to tell it
    in, by name and value. crossing: Monte Carlo across barriers that HMC does not cross, if any, from
    key, samples, step and calls in all to samples and calls. surface: two coordinates to be drawn, with their
    names.
    """

    name: str
    title: str
    energy_fn: EnergyFunction
    shape: tuple[int, int]
    kt: float
    hot: float
    centre: bool
    levels: tuple[float, float]
    step: float
    biased: Mapping[str, Callable[[Any, int], Array]]
    reference: Callable[[Any, int], Ensemble]
    denoiser: Callable[[Mapping[str, Any], Array], tuple[Callable[[Any], Any], Denoiser]]
    columns: Mapping[str, Column]
    unit: str = "reduced units"
    crossing: Callable[..., tuple[Array, int]] | None = None
    basin: Callable[[np.ndarray], np.ndarray] | None = None
    exact_free_energy: float | None = None
    free_energy_unit: tuple[str, float] | None = None
    surface: Callable[[np.ndarray], np.ndarray] | None = None
    surface_edges: tuple[np.ndarray, np.ndarray] | None = None
    surface_labels: tuple[str, str] = ("x", "y")
    notes: Mapping[str, str] = field(default_factory=dict)


def ensemble(energy_fn: EnergyFunction, positions: Any, groups: Any = None) -> Ensemble:
    """The samples with their energies, without those that have none; groups: each its own if None.

    Raises ValueError if none is left.
    """
    groups = np.arange(len(positions)) if groups is None else np.asarray(groups)
    found = np.asarray(_energies(jax.tree_util.Partial(energy_fn), jnp.asarray(positions)), float)
    kept = np.isfinite(found)
    if not kept.any():
        raise ValueError(f"all of {len(found)} samples are filtered away: no energy is finite")
    return Ensemble(np.asarray(positions)[kept], found[kept], groups[kept])


@jax.jit
def _energies(energy_fn: Any, positions: Array) -> Array:
    return jax.lax.map(energy_fn, positions, batch_size=1000)


@jax.jit
def forces(energy_fn: Any, positions: Array) -> Array:
    """−∇E of each of the samples, (k, n, d)."""
    return jax.lax.map(lambda r: -jax.grad(energy_fn)(r), positions, batch_size=1000)


# Müller and Brown's surface


class PlaneDenoiser(nn.Module):
    """Estimate of a clean point in the plane, (1, 2), from a noisy one and σ, about the mean of the data."""

    mean: tuple[float, float]
    spread: float
    width: int

    @nn.compact
    def __call__(self, positions: Float[Any, "1 2"], sigma: Any) -> Float[Array, "1 2"]:
        sigma = jnp.asarray(sigma, positions.dtype)
        away = positions[0] - jnp.asarray(self.mean, positions.dtype)
        total = sigma**2 + self.spread**2
        x = jnp.concatenate([away / jnp.sqrt(total), away / self.spread, waves(sigma, positions.dtype)])
        for _ in range(3):
            x = nn.silu(nn.Dense(self.width)(x))
        move = sigma * self.spread / jnp.sqrt(total) * nn.Dense(2)(x)
        return positions - sigma**2 / total * away + move


def _plane_denoiser(sizes: Mapping[str, Any], clean: Array) -> tuple[Callable[[Any], Any], Denoiser]:
    x, y = (float(mean) for mean in jnp.mean(clean, axis=(0, 1)))
    model = PlaneDenoiser((x, y), float(jnp.mean(jnp.std(clean, axis=(0, 1)))), **sizes)
    return lambda key: model.init(key, clean[0], jnp.ones((), FLOAT)), model.apply


EDGES = (np.linspace(-2.2, 1.6, 77), np.linspace(-1.0, 2.6, 73))
"""Cells of Müller and Brown's surface, 0.05 wide; at kT = 15 2e-5 of the weight lies beyond, at 30 5e-3."""


def mueller_brown() -> System:
    """One particle on Müller and Brown's surface at kT = 15, a seventh of the highest barrier."""
    energy_fn, kt = energies.mueller_brown(), 15.0
    grid = _Grid(energy_fn)
    target = grid.probabilities(kt)
    share = float(target[grid.first].sum())
    shifted = np.where(grid.first, target / share, target / (1 - share)) / 2
    exact = metrics.cell_probabilities(
        lambda points: jax.vmap(energy_fn)(jnp.asarray(points)[:, None]), EDGES, kt=kt
    )

    def density(samples: np.ndarray, _: np.ndarray) -> metrics.DensityDivergence:
        return metrics.density_divergence_2d(samples, exact, EDGES)

    return System(
        name="mueller_brown",
        title="Müller and Brown's surface",
        energy_fn=energy_fn,
        shape=(1, 2),
        kt=kt,
        hot=2 * kt,
        centre=False,
        levels=(0.005, 6.0),
        step=0.05,
        biased={
            "local": partial(grid.draw, grid.probabilities(2 * kt)),
            "weights": partial(grid.draw, shifted),
        },
        reference=lambda key, count: ensemble(energy_fn, grid.draw(target, key, count)),
        denoiser=_plane_denoiser,
        columns={
            "E-W2": Column(lambda e: e.energies, metrics.energy_wasserstein),
            "E-W1": Column(lambda e: e.energies, partial(metrics.energy_wasserstein, p=1)),
            "TV": Column(lambda e: e.positions[:, 0], lambda s, r: density(s, r).total_variation),
            "KL": Column(lambda e: e.positions[:, 0], lambda s, r: density(s, r).kl),
        },
        basin=_first_basin,
        exact_free_energy=float(-kt * np.log(share / (1 - share))),
        surface=lambda positions: positions[:, 0],
        surface_edges=EDGES,
        notes={
            "TV, KL": "total variation and KL(exact ‖ samples) of the density in cells of 0.05, exact by"
            " quadrature; their floor is that of exact samples",
            "ΔF": "of the deepest basin against the other two, exact by quadrature",
        },
    )


def _first_basin(positions: np.ndarray) -> np.ndarray:
    """Which points lie beyond the line through the saddle at (−0.822, 0.624), at the deepest minimum."""
    return positions[:, 0, 1] - 0.8 * positions[:, 0, 0] > 1.28


class _Grid:
    """Points of the plane, fine enough that a cell of each is as good as a sample."""

    def __init__(self, energy_fn: EnergyFunction) -> None:
        axes = np.linspace(-2.2, 1.6, 1521), np.linspace(-1.0, 2.6, 1441)
        self.cell = np.array([axes[0][1] - axes[0][0], axes[1][1] - axes[1][0]])
        self.points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 1, 2)
        self.energies = np.asarray(
            _energies(jax.tree_util.Partial(energy_fn), jnp.asarray(self.points)), float
        )
        self.first = _first_basin(self.points)

    def probabilities(self, kt: float) -> np.ndarray:
        weights = np.exp(-(self.energies - self.energies.min()) / kt)
        return weights / weights.sum()

    def draw(self, probabilities: np.ndarray, key: Any, count: int) -> Array:
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        chosen = self.points[rng.choice(len(self.points), count, p=probabilities)]
        return jnp.asarray(chosen + self.cell * rng.uniform(-0.5, 0.5, chosen.shape), FLOAT)


# Lennard-Jones clusters


def _particle_denoiser(sizes: Mapping[str, Any], clean: Array) -> tuple[Callable[[Any], Any], Denoiser]:
    config = models.ParticleConfig(spread=float(jnp.std(clean)), **sizes)
    model = models.ParticleDenoiser(config)

    def denoise(params: Any, positions: Any, sigma: Any) -> Any:
        return model.apply(params, models.particle_graph(positions), sigma)

    return lambda key: model.init(key, models.particle_graph(clean[0]), jnp.ones((), FLOAT)), denoise


CLIP = (-100.0, 100.0)
"""Energies of LJ13, which lie between −70 and −9, are cut there in one of the columns."""


def lennard_jones_13(published: np.ndarray | None = None) -> System:
    """Thirteen particles in a weak trap at kT = 1, the ordered-pair convention of published samples.

    published: samples (k, 13, 3) that are compared with in columns of their own.
    """
    energy_fn = energies.lennard_jones()
    columns = {
        "E-W2": Column(lambda e: e.energies, metrics.energy_wasserstein),
        "clipped E-W2": Column(lambda e: e.energies, partial(metrics.energy_wasserstein, limits=CLIP)),
        "E-W1": Column(lambda e: e.energies, partial(metrics.energy_wasserstein, p=1)),
        "distance W2": Column(lambda e: e.positions, metrics.distance_wasserstein, 2000),
        "distance TV": Column(lambda e: e.positions, metrics.distance_variation, 2000),
    }
    if published is not None:
        theirs = ensemble(energy_fn, jnp.asarray(published, FLOAT))
        columns["E-W2, published"] = Column(
            lambda e: e.energies, lambda s, r: metrics.energy_wasserstein(s, theirs.energies)
        )
        columns["distance W2, published"] = Column(
            lambda e: e.positions, lambda s, r: metrics.distance_wasserstein(s, theirs.positions[:2000]), 2000
        )
    return System(
        name="lj13",
        title="Lennard-Jones cluster of 13",
        energy_fn=energy_fn,
        shape=(13, 3),
        kt=1.0,
        hot=2.0,
        centre=True,
        levels=(0.01, 4.0),
        step=0.02,
        biased={"local": lambda key, count: _equilibrium(energy_fn, key, count, 2.0)},
        reference=lambda key, count: _checked(energy_fn, key, count, 1.0),
        denoiser=_particle_denoiser,
        columns=columns,
        notes={
            "clipped E-W2": f"of energies cut at {CLIP[0]:.0f} and {CLIP[1]:.0f}: two particles that clash"
            " in one sample of thousands decide the other number"
        },
    )


DRAWS, APART, WARM = 4, 50, 200
"""Of each walker: how many samples, so many sweeps apart, after so many that are thrown away."""


def _lattice(key: Any, count: int) -> Array:
    """Thirteen neighbouring sites of a cubic lattice, a little displaced."""
    sites = np.stack(np.meshgrid(*3 * [np.arange(3)]), axis=-1).reshape(-1, 3)[:13] * 1.15
    return jnp.asarray(sites - sites.mean(axis=0), FLOAT) + 0.05 * jax.random.normal(
        key, (count, 13, 3), FLOAT
    )


def _run(energy_fn: EnergyFunction, key: Any, start: Array, kt: float) -> sampling.Samples:
    return equilibrium(energy_fn, key, start, kt=kt, step=0.005, burn_in=WARM, draws=DRAWS, keep_every=APART)


def _equilibrium(energy_fn: EnergyFunction, key: Any, count: int, kt: float) -> Array:
    of_start, of_run = jax.random.split(key)
    walkers = -(-count // DRAWS)
    return pooled(_run(energy_fn, of_run, _lattice(of_start, walkers), kt))[:count]


def _checked(energy_fn: EnergyFunction, key: Any, count: int, kt: float) -> Ensemble:
    """Two runs, from a lattice and from the hot ensemble, which agree and fulfil the virial."""
    keys = jax.random.split(key, 4)
    walkers = -(-count // (2 * DRAWS))
    cold, hot = _lattice(keys[0], walkers), _equilibrium(energy_fn, keys[1], walkers, 2 * kt)
    runs = [_run(energy_fn, own, start, kt) for own, start in zip(keys[2:], (cold, hot), strict=True)]
    both = (run.positions for run in runs)
    sampling.check_reference(energy_fn, *both, kt=kt, degrees_of_freedom=36)
    samples = jnp.concatenate([pooled(run) for run in runs])
    owners = np.concatenate([np.arange(len(samples) // 2) % walkers + side * walkers for side in (0, 1)])
    return ensemble(energy_fn, samples[:count], owners[:count])
