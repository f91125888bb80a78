"""What the distance energy costs beside the squared error, in a training step and for many points.

    python -m benchmarks.energy_losses         two minutes on 2 cores

One training step: the gradient of a loss on what `models.Denoiser`, of its default size, makes of a batch of
molecules with 30 atoms, and Adam. Losses take turns, so that a machine that slows down slows all of them. The
overhead is that of a loss alone, value and gradient, above the squared error's, in parts of the step: the
difference of two steps is smaller than their noise. Many points: all pairs against a rigid graph, float32.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.timing import compilations, measure
from jaxphys import losses
from jaxphys.data import bond_graph, embed_conformers, parse_smiles, positions_of
from jaxphys.losses import stiffness
from jaxphys.models import Denoiser, DenoiserConfig, denoise_fn
from jaxphys.molecule import stack_graphs
from jaxphys.report import format_table
from jaxphys.training import prepare_cpu

SMILES, ATOMS = "CCC(C)CC(C)CCO", 30
BATCHES = (1, 8)
ROUNDS, CALLS = 15, 20
SIGMA = 0.3
SIZES = (100, 300, 1000, 3000, 10_000)
LARGEST_DENSE = 3000
FITTED_FROM = 1000
Law = Callable[..., Any]


def laws(n: int) -> dict[str, Law]:
    """The losses of one structure of n atoms."""
    energy = losses.distance_energy
    return {
        "squared error": losses.denoising_deviation,
        "aligned squared error": losses.aligned_mse,
        "distance energy, constant": partial(energy, stiffness=stiffness.constant),
        "distance energy, 1/r²": partial(energy, stiffness=stiffness.inverse_square),
        "distance energy, e^(−r)": energy,
        "distance energy, sparse": partial(energy, edges=losses.rigid_graph(n)),
    }


def main() -> None:
    """Print all tables."""
    prepare_cpu()
    print(f"jax {jax.__version__} on {jax.default_backend()}\n")
    for batch in BATCHES:
        print(step_table(batch))
    print(size_table())


def step_table(batch: int) -> str:
    """Each loss alone, and in a training step, in Markdown."""
    params, graphs, positions, mask = _problem(batch)
    moved = positions + 0.1
    alone, steps, states = {}, {}, {}
    for name, law in laws(ATOMS).items():
        alone[name] = _alone(law)
        optimizer = optax.adam(1e-3)
        steps[name] = _step(law, optimizer, graphs, positions, mask)
        states[name] = params, optimizer.init(params)
        jax.block_until_ready((alone[name](moved, positions, mask), steps[name](states[name])))
    times: dict[str, dict[str, list[float]]] = {name: {"alone": [], "step": []} for name in steps}
    with compilations() as compiled:
        for _ in range(ROUNDS):
            for name, step in steps.items():
                own = partial(alone[name], moved, positions, mask)
                times[name]["alone"].append(_seconds(own, 10 * CALLS))
                times[name]["step"].append(_seconds(partial(step, states[name]), max(2, CALLS // batch)))
    medians = {name: {k: float(np.median(v)) for k, v in own.items()} for name, own in times.items()}
    base = medians["squared error"]
    rows = [
        [
            name,
            f"{1e6 * own['alone']:.0f}",
            f"{1e3 * own['step']:.2f}",
            f"{(own['alone'] - base['alone']) / base['step']:+.2%}",
            f"{own['step'] / base['step'] - 1:+.1%}",
        ]
        for name, own in medians.items()
    ]
    header = ["loss", "alone (µs)", "step (ms)", "overhead", "difference of steps"]
    title = f"{ATOMS} atoms, batch of {batch}; {len(compiled)} compilations on the way\n\n"
    return title + format_table(rows, header) + "\n"


def size_table() -> str:
    """Value and gradient of one structure by its size, and the exponents of the cost, in Markdown."""
    rows, times = [], {}
    for n in SIZES:
        key = jax.random.key(n)
        target = n ** (1 / 3) * jax.random.normal(key, (n, 3), jnp.float32)
        edges = losses.rigid_graph(n)
        forms: dict[str, Law] = {"sparse": partial(losses.distance_energy, edges=edges)}
        if n <= LARGEST_DENSE:
            forms["dense"] = losses.distance_energy
        for form, law in forms.items():
            gradient = jax.jit(jax.value_and_grad(law))
            times[form, n] = measure(gradient, target + 0.1, target, repeats=25).warm
        dense = times.get(("dense", n))
        rows.append(
            [
                str(n),
                f"{1e3 * dense:.3f}" if dense else "–",
                f"{1e3 * times['sparse', n]:.3f}",
                f"{dense / times['sparse', n]:.0f}×" if dense else "–",
            ]
        )
    exponents = ", ".join(f"{form} {_exponent(times, form):.2f}" for form in ("dense", "sparse"))
    table = format_table(rows, ["points", "all pairs (ms)", "rigid graph (ms)", "ratio"])
    return f"Value and gradient by size; exponents from {FITTED_FROM} points on: {exponents}\n\n{table}\n"


def _exponent(times: dict[tuple[str, int], float], form: str) -> float:
    points = [(n, seconds) for (own, n), seconds in times.items() if own == form and n >= FITTED_FROM]
    sizes, seconds = np.log(np.array(points)).T
    return float(np.polyfit(sizes, seconds, 1)[0])


def _problem(batch: int) -> tuple[Any, Any, Any, Any]:
    """Parameters, and a batch of one molecule: graphs, positions in Å, masks."""
    mol = parse_smiles(SMILES)
    graph = bond_graph(mol)
    found = positions_of(embed_conformers(mol, 1, seed=0, method=None))[0]
    size = len(graph.nodes["numbers"])
    positions = np.zeros((size, 3), np.float32)
    positions[: len(found)] = found - found.mean(axis=0)
    model = Denoiser(DenoiserConfig(species=(1, 6, 8)))
    params = jax.jit(model.init)(jax.random.key(0), graph, 1.0)
    graphs = jax.tree.map(jnp.asarray, stack_graphs([graph] * batch))
    mask = np.arange(size) < len(found)
    return params, graphs, jnp.stack([positions] * batch), jnp.stack([mask] * batch)


def _alone(law: Law) -> Callable[..., Any]:
    def mean(prediction: Any, target: Any, mask: Any) -> Any:
        return jnp.mean(jax.vmap(lambda r, y, real: law(r, y, mask=real))(prediction, target, mask))

    return jax.jit(jax.value_and_grad(mean))


def _step(law: Law, optimizer: Any, graphs: Any, positions: Any, mask: Any) -> Callable[[Any], Any]:
    """One training step from a state, (params, optimizer's state), to the next."""
    model = Denoiser(DenoiserConfig(species=(1, 6, 8)))
    noise = jax.random.normal(jax.random.key(1), positions.shape, positions.dtype)
    noisy = positions + SIGMA * jnp.where(mask[..., None], noise, 0.0)

    def mean(params: Any, inputs: Any) -> Any:
        def one(graph: Any, start: Any, target: Any, real: Any) -> Any:
            return law(denoise_fn(model, params, graph)(start, SIGMA), target, mask=real)

        return jnp.mean(jax.vmap(one)(*inputs))

    @jax.jit
    def step(state: Any, inputs: Any) -> Any:
        params, memory = state
        loss, gradient = jax.value_and_grad(mean)(params, inputs)
        updates, memory = optimizer.update(gradient, memory)
        return (optax.apply_updates(params, updates), memory), loss

    return lambda state: step(state, (graphs, noisy, positions, mask))


def _seconds(function: Callable[[], Any], calls: int) -> float:
    """Of one call, of so many in a row."""
    began = time.perf_counter()
    for _ in range(calls):
        found = function()
    jax.block_until_ready(found)
    return (time.perf_counter() - began) / calls


if __name__ == "__main__":
    main()
