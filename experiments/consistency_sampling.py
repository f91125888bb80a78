"""How `experiments.consistency` makes structures from noise."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import jraph
import numpy as np
from jaxtyping import Array, Float

from experiments.stages import take
from jaxphys.diffusion import VarianceExploding, centred_noise, ddim, levels, restart, settle

Denoise = Callable[[Any, Any, Any, Any], Any]
"""(params, graph, positions (n_node, 3) in Å, σ in Å) to positions (n_node, 3) in Å."""


@dataclass(frozen=True)
class Sampler:
    """DDIM over so many levels from sigma_max to sigma_min, restarts, and levels to settle at; σ in Å.

    rho: how the levels are spaced, as for `jaxphys.diffusion.levels`. Each restart adds noise of
    restart_sigma, and goes back to sigma_min in restart_steps levels evenly spaced in ln σ.
    At the levels of `settle` the structure is denoised without noise, by which it goes to a minimum.
    Raises ValueError for no steps, levels that do not descend, and a negative number of restarts.
    """

    steps: int = 12
    sigma_max: float = 6.0
    sigma_min: float = 0.03
    rho: float = 5.0
    restarts: int = 3
    restart_sigma: float = 0.3
    restart_steps: int = 6
    settle: tuple[float, ...] = (0.2,) * 4 + (0.1,) * 4 + (0.05,) * 4 + (0.03,) * 6

    def __post_init__(self) -> None:
        if self.steps < 1 or self.restart_steps < 1 or self.restarts < 0:
            raise ValueError(
                "steps and restart_steps must be at least 1, and restarts not negative, got "
                f"{self.steps}, {self.restart_steps} and {self.restarts}"
            )
        if not 0 < self.sigma_min < min(self.sigma_max, self.restart_sigma):
            raise ValueError(
                "sigma_min must be positive and below sigma_max and restart_sigma, got "
                f"{self.sigma_min}, {self.sigma_max} and {self.restart_sigma} Å"
            )

        # as read from a file it may be a list
        object.__setattr__(self, "settle", tuple(self.settle))
        if not all(sigma > 0 for sigma in self.settle):
            raise ValueError(f"the levels to settle at must be positive, got {self.settle} Å")

    @property
    def calls(self) -> int:
        """Calls of the denoiser for one structure."""
        return self.steps + self.restarts * self.restart_steps + len(self.settle)


def sample(
    denoise: Denoise,
    params: Any,
    graphs: jraph.GraphsTuple,
    key: Array,
    sampler: Sampler,
    *,
    block: int = 64,
) -> Float[np.ndarray, "N n_node 3"]:
    """One structure for each of the stacked graphs, (N, n_node, 3) in Å on the host; padding is zero.

    The graphs' own positions are not looked at. Structure i depends on graph i, the key and i, whatever the
    block: the number of molecules that are denoised at a time. One program is compiled for each denoise,
    sampler and shape, so pass the same function again. Raises ValueError for a block below 1.
    """
    if block < 1:
        raise ValueError(f"block must be at least 1, got {block}")
    count = len(graphs.nodes["numbers"])
    # as far as it goes evenly, so that few molecules are done twice
    block = -(-count // -(-count // block))
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(jnp.arange(count))
    parts = []
    for start in range(0, count, block):
        chosen = np.minimum(np.arange(start, start + block), count - 1)
        parts.append(np.asarray(_block(denoise, sampler, params, *take((graphs, keys), chosen))))
    return np.concatenate(parts)[:count]


@functools.partial(jax.jit, static_argnums=(0, 1))
def _block(denoise: Denoise, sampler: Sampler, params: Any, graphs: Any, keys: Any) -> Array:
    schedule = VarianceExploding(sampler.sigma_min, sampler.sigma_max)
    sigmas = levels(schedule, sampler.steps, rho=sampler.rho)
    again = jnp.geomspace(sampler.restart_sigma, sampler.sigma_min, sampler.restart_steps)

    def one(graph: Any, key: Array) -> Array:
        mask = graph.nodes["numbers"] > 0
        first, later = jax.random.split(key)
        dtype = graph.nodes["positions"].dtype
        noise = centred_noise(first, (len(mask), 3), mask, dtype=dtype)
        function = functools.partial(denoise, params, graph)
        found = ddim(function, sigmas[0].astype(dtype) * noise, sigmas, mask=mask)
        found = restart(function, later, found, again, repeats=sampler.restarts, mask=mask)
        return settle(function, found, jnp.asarray(sampler.settle, dtype), mask=mask)

    return jax.vmap(one)(graphs, keys)
