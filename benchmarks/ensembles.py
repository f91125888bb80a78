"""What sampling and the laws of ensembles cost: molecular mechanics beside OpenMM, laws beside denoising.

    python -m benchmarks.ensembles         three minutes on 2 cores

Force calls: energy and gradient of alanine dipeptide with OBC1 water, of many walkers in one program, beside
a step of OpenMM's CPU platform, which holds one molecule; by core, as OpenMM gets one thread and XLA all.
Hamiltonian Monte Carlo of LJ13 beside a plain loop of leapfrog steps with nothing else. Laws: value and
gradient of a batch by a `ParticleDenoiser`, beside `denoising_score`; they take turns, so that a machine that
slows down slows all of them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import compilations, measure
from jaxphys import diffusion, energies, losses, models, sampling
from jaxphys.report import format_table
from jaxphys.training import prepare_cpu

WALKERS = (64, 256, 1024)
CLUSTERS = 4000
LEAPFROG, SWEEPS = 10, 20
BATCH, ROUNDS, CALLS = 64, 9, 3
OPENMM_STEPS = 2000


def main() -> None:
    """Print all tables."""
    prepare_cpu()
    print(f"jax {jax.__version__} on {jax.default_backend()}, {os.cpu_count()} CPU cores\n")
    for table in (peptide_table, cluster_table, sampler_table, law_table):
        print(table() + "\n")


def peptide_table() -> str:
    """Force calls a second of alanine dipeptide, beside OpenMM."""
    molecule = energies.alanine_dipeptide()
    energy_fn = energies.openmm_energy(molecule.system)
    peer = _openmm_steps(molecule)
    rows = []
    for count in WALKERS:
        noise = 0.02 * jax.random.normal(jax.random.key(0), (count, *molecule.positions.shape))
        positions = jnp.asarray(molecule.positions, jnp.float32) + noise
        timing = measure(jax.jit(jax.vmap(jax.value_and_grad(energy_fn))), positions)
        rate = count / timing.warm
        per_core = count / timing.cpu
        rows.append(
            [
                str(count),
                f"{timing.first:.1f}",
                f"{rate:.0f}",
                f"{per_core:.0f}",
                f"{peer:.0f}",
                f"{per_core / peer:.0f}×",
            ]
        )
    header = ["walkers", "first (s)", "calls/s", "a core", "OpenMM steps/s, a core", "jaxphys/OpenMM"]
    return "Alanine dipeptide, amber14 and OBC1, float32\n\n" + format_table(rows, header)


def _openmm_steps(molecule: energies.MolecularSystem) -> float:
    """Steps a second of Langevin dynamics by OpenMM's CPU platform with one thread."""
    import openmm

    integrator = openmm.LangevinMiddleIntegrator(300.0, 1.0, 0.001)
    platform = openmm.Platform.getPlatformByName("CPU")
    context = openmm.Context(molecule.system, integrator, platform, {"Threads": "1"})
    context.setPositions(np.asarray(molecule.positions) / 10)
    integrator.step(100)
    seconds = []
    for _ in range(3):
        start = time.process_time()
        integrator.step(OPENMM_STEPS)
        context.getState(getEnergy=True)
        seconds.append(time.process_time() - start)
    return OPENMM_STEPS / float(np.median(seconds))


def cluster_table() -> str:
    """Force calls a second of LJ13 by `sampling.hmc`, beside a plain loop of as many leapfrog steps."""
    energy_fn = energies.lennard_jones()
    sites = np.stack(np.meshgrid(*3 * [np.arange(3)]), axis=-1).reshape(-1, 3)[:13] * 1.15
    start = jnp.asarray(sites - sites.mean(axis=0), jnp.float32)
    noise = 0.03 * jax.random.normal(jax.random.key(0), (CLUSTERS, 13, 3))
    start = (start + noise).astype(jnp.float32)

    def run(positions: Any) -> Any:
        return sampling.hmc(
            energy_fn,
            jax.random.key(1),
            positions,
            kt=2.0,
            step_size=0.02,
            sweeps=SWEEPS,
            leapfrog=LEAPFROG,
            keep_every=SWEEPS,
            centre=True,
        )

    with compilations() as compiled:
        ours = measure(run, start)
        once = len(compiled)
        run(start)
        again = len(compiled) - once
    plain = measure(partial(_leapfrog, jax.tree_util.Partial(energy_fn)), start)
    calls = CLUSTERS * SWEEPS * LEAPFROG
    rows = [
        ["sampling.hmc", f"{ours.first:.1f}", f"{calls / ours.warm:.0f}", f"{calls / ours.cpu:.0f}"],
        ["plain loop", f"{plain.first:.1f}", f"{calls / plain.warm:.0f}", f"{calls / plain.cpu:.0f}"],
        ["ratio", "–", f"{plain.warm / ours.warm:.2f}×", f"{plain.cpu / ours.cpu:.2f}×"],
    ]
    header = ["LJ13", "first (s)", "calls/s", "a core"]
    return f"{CLUSTERS} clusters, float32; compiled again: {again}\n\n" + format_table(rows, header)


@jax.jit
def _leapfrog(energy_fn: Any, positions: Any) -> Any:
    gradient = jax.vmap(jax.grad(energy_fn))

    def step(_: Any, state: tuple[Any, Any]) -> tuple[Any, Any]:
        positions, momenta = state
        momenta = momenta - 0.02 * gradient(positions) / 2.0
        return positions + 0.02 * momenta, momenta

    return jax.lax.fori_loop(0, SWEEPS * LEAPFROG, step, (positions, jnp.zeros_like(positions)))


def sampler_table() -> str:
    """Samples a second of a denoiser of LJ13, ancestral in 60 steps."""
    denoise, params, _ = _denoiser()
    sigmas = jnp.geomspace(4.0, 0.01, 60).astype(jnp.float32)

    @jax.jit
    def sample(params: Any, keys: Any) -> Any:
        def one(key: Any) -> Any:
            first, rest = jax.random.split(key)
            start = sigmas[0] * diffusion.centred_noise(first, (13, 3), dtype=jnp.float32)
            return diffusion.stochastic(partial(denoise, params), rest, start, sigmas)

        return jax.vmap(one)(keys)

    rows = []
    for count in (100, 500):
        timing = measure(sample, params, jax.random.split(jax.random.key(0), count), repeats=3)
        rows.append(
            [str(count), f"{timing.first:.1f}", f"{count / timing.warm:.0f}", f"{count / timing.cpu:.0f}"]
        )
    header = ["at once", "first (s)", "samples/s", "a core"]
    return "LJ13, 32 channels, 3 layers, 60 steps\n\n" + format_table(rows, header)


def law_table() -> str:
    """A training step by each law, value and gradient, over that of plain denoising."""
    denoise, params, positions = _denoiser()
    energy_fn = energies.lennard_jones()
    forces = -jax.jit(jax.vmap(jax.grad(energy_fn)))(positions)
    keys = jax.random.split(jax.random.key(1), BATCH)
    noise = jax.vmap(lambda key: diffusion.centred_noise(key, (13, 3), dtype=jnp.float32))(keys)
    sigmas = jnp.geomspace(0.01, 4.0, BATCH).astype(jnp.float32)
    steps = {name: _step(denoise, law) for name, law in _laws(energy_fn).items()}
    steps["ensemble_property, 16 × 4 samples, 8 levels, gradients of 3"] = _property(denoise)
    arguments = params, positions, forces, noise, sigmas
    for step in steps.values():
        jax.block_until_ready(step(*arguments))
    times: dict[str, list[float]] = {name: [] for name in steps}
    with compilations() as compiled:
        for _ in range(ROUNDS):
            for name, step in steps.items():
                start = time.perf_counter()
                for _ in range(CALLS):
                    jax.block_until_ready(step(*arguments))
                times[name].append((time.perf_counter() - start) / CALLS)
    first = np.array(times["denoising_score"])
    rows = [
        [name, f"{1e3 * np.median(own):.1f}", f"{np.median(np.array(own) / first):.2f}×"]
        for name, own in times.items()
    ]
    header = ["law", "step (ms)", "over denoising"]
    title = f"One step of {BATCH} clusters, value and gradient; compiled again: {len(compiled)}\n\n"
    return title + format_table(rows, header)


def _laws(energy_fn: Any) -> dict[str, Callable[..., Any]]:
    """Of one cluster: denoiser, positions, forces, noise, σ."""

    def with_energy(denoise_fn: Any, r: Any, f: Any, e: Any, s: Any) -> Any:
        return losses.potential_score(denoise_fn, r, -jax.grad(energy_fn)(r), e, s, kt=1.0)

    def blended(denoise_fn: Any, r: Any, f: Any, e: Any, s: Any) -> Any:
        blend = losses.blend_weight(s, 0.07)
        return losses.blended_score(denoise_fn, r, f, e, s, kt=1.0, blend=blend)

    return {
        "denoising_score": lambda d, r, f, e, s: losses.denoising_score(d, r, e, s),
        "potential_score, forces at hand": lambda d, r, f, e, s: losses.potential_score(
            d, r, f, e, s, kt=1.0
        ),
        "potential_score, forces in the step": with_energy,
        "blended_score": blended,
    }


def _property(denoise: Any) -> Callable[..., Any]:
    """The law of an ensemble's mean radius of 16 systems, four samples each; derivatives of three steps."""
    levels = jnp.geomspace(4.0, 0.1, 8).astype(jnp.float32)

    def radius(params: Any, noise: Any) -> Any:
        made = diffusion.rollout(partial(denoise, params), levels[0] * noise, levels, gradient_steps=3)
        return jnp.sqrt(jnp.mean(jnp.sum(made**2, axis=-1)))

    def mean(params: Any, positions: Any, forces: Any, noise: Any, sigmas: Any) -> Any:
        radii = jax.vmap(partial(radius, params))(noise).reshape(-1, 4)
        return jnp.mean(jax.vmap(lambda values: losses.ensemble_property(values, 1.2))(radii))

    return jax.jit(jax.value_and_grad(mean))


def _step(denoise: Any, law: Callable[..., Any]) -> Callable[..., Any]:
    def mean(params: Any, positions: Any, forces: Any, noise: Any, sigmas: Any) -> Any:
        one = partial(law, partial(denoise, params))
        return jnp.mean(jax.vmap(one)(positions, forces, noise, sigmas))

    return jax.jit(jax.value_and_grad(mean))


def _denoiser() -> tuple[Any, Any, Any]:
    """A network of LJ13, its first parameters, and clusters (64, 13, 3)."""
    model = models.ParticleDenoiser(models.ParticleConfig())
    sites = np.stack(np.meshgrid(*3 * [np.arange(3)]), axis=-1).reshape(-1, 3)[:13] * 1.15
    noise = 0.03 * jax.random.normal(jax.random.key(2), (BATCH, 13, 3))
    positions = (jnp.asarray(sites - sites.mean(axis=0)) + noise).astype(jnp.float32)
    params = model.init(jax.random.key(3), models.particle_graph(positions[0]), 1.0)

    def denoise(params: Any, r: Any, sigma: Any) -> Any:
        return model.apply(params, models.particle_graph(r), sigma)

    return denoise, params, positions


if __name__ == "__main__":
    main()
