"""Noise schedules: how much noise at which time, every level named as σ in Å of a structure not shrunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

Time = Float[Any, "*batch"] | Int[Any, "*batch"] | float | int


@runtime_checkable
class Schedule(Protocol):
    """At time t the state is α(t) (R + σ(t) ε), with σ from sigma_min to sigma_max, in Å."""

    @property
    def sigma_min(self) -> float: ...

    @property
    def sigma_max(self) -> float: ...

    def sigma(self, t: Time) -> Float[Array, "*batch"]: ...

    def alpha(self, t: Time) -> Float[Array, "*batch"]: ...

    def time(self, sigma: Float[Any, "*batch"] | float) -> Float[Array, "*batch"]: ...


@dataclass(frozen=True)
class VarianceExploding:
    """R_t = R + σ(t) ε with σ(t) = σ_min (σ_max/σ_min)^t, t from 0 to 1; σ in Å.

    Raises ValueError unless 0 < σ_min < σ_max. Source: Song et al., ICLR 2021, Eq. 30.
    """

    sigma_min: float = 0.01
    sigma_max: float = 10.0

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max:
            raise ValueError(
                f"0 < sigma_min < sigma_max must hold, got {self.sigma_min} and {self.sigma_max} Å"
            )

    def sigma(self, t: Time) -> Float[Array, "*batch"]:
        """σ(t) in Å."""
        return self.sigma_min * (self.sigma_max / self.sigma_min) ** jnp.asarray(t)

    def alpha(self, t: Time) -> Float[Array, "*batch"]:
        """1: nothing is shrunk."""
        return jnp.ones_like(jnp.asarray(t, float))

    def time(self, sigma: Float[Any, "*batch"] | float) -> Float[Array, "*batch"]:
        """t with σ(t) = sigma, in Å."""
        return jnp.log(jnp.asarray(sigma) / self.sigma_min) / np.log(self.sigma_max / self.sigma_min)


@dataclass(frozen=True)
class VariancePreserving:
    """R_t = α(t) (R + σ(t) ε), t from 0 to steps − 1, α² = ᾱ_t = Π_{s ≤ t} (1 − β_s); σ(t) in Å.

    σ(t) = scale √(1 − ᾱ_t)/√ᾱ_t is the level of R_t/α(t), as a denoiser takes it; the state's own is α σ.
    shape: of β over t, "linear" or "sigmoid" (β_first + (β_last − β_first) / (1 + e^{−x}), x from −6 to 6);
    beta_first, beta_last: its ends; scale: Å to a unit of noise. Between whole t, ln σ is interpolated.
    Raises ValueError for any other shape, and unless steps ≥ 2, scale > 0 and 0 < β_first ≤ β_last < 1.
    Source: Ho et al., NeurIPS 2020; sigmoid: Xu et al., ICLR 2022 (GeoDiff), and with the same β and 1000
    steps the configuration that goes with Ren et al., NeurIPS 2024.
    """

    shape: str = "linear"
    steps: int = 1000
    beta_first: float = 1e-4
    beta_last: float = 2e-2
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.shape not in ("linear", "sigmoid"):
            raise ValueError(f'shape must be "linear" or "sigmoid", got "{self.shape}"')
        if self.steps < 2 or not self.scale > 0:
            raise ValueError(f"steps ≥ 2 and scale > 0 must hold, got {self.steps} and {self.scale}")
        if not 0 < self.beta_first <= self.beta_last < 1:
            raise ValueError(
                f"0 < beta_first ≤ beta_last < 1 must hold, got {self.beta_first} and {self.beta_last}"
            )

    @property
    def sigma_min(self) -> float:
        """σ(0) in Å."""
        return float(np.exp(self._log_sigmas()[0]))

    @property
    def sigma_max(self) -> float:
        """σ(steps − 1) in Å."""
        return float(np.exp(self._log_sigmas()[-1]))

    def sigma(self, t: Time) -> Float[Array, "*batch"]:
        """σ(t) in Å, of the structure R_t/α(t); held at its ends outside 0 ≤ t < steps."""
        return jnp.exp(jnp.interp(jnp.asarray(t, float), jnp.arange(self.steps), self._log_sigmas()))

    def alpha(self, t: Time) -> Float[Array, "*batch"]:
        """√ᾱ_t."""
        return 1 / jnp.sqrt(1 + (self.sigma(t) / self.scale) ** 2)

    def time(self, sigma: Float[Any, "*batch"] | float) -> Float[Array, "*batch"]:
        """t with σ(t) = sigma, in Å; held at its ends outside sigma_min to sigma_max."""
        return jnp.interp(jnp.log(jnp.asarray(sigma)), self._log_sigmas(), jnp.arange(self.steps))

    def _log_sigmas(self) -> np.ndarray:
        """ln σ(t) of whole t, (steps,), in float64: 1 − ᾱ loses digits in less."""
        way = np.linspace(0, 1, self.steps)
        if self.shape == "sigmoid":
            way = 1 / (1 + np.exp(6 - 12 * way))
        beta = self.beta_first + (self.beta_last - self.beta_first) * way
        log_kept = np.cumsum(np.log1p(-beta))
        # (1 − ᾱ)/ᾱ
        return np.log(self.scale) + 0.5 * np.log(np.expm1(-log_kept))


def levels(schedule: Schedule, steps: int, *, rho: float = 7.0) -> Float[Array, " steps"]:
    """σ in Å from the schedule's greatest to its least for a sampler of so many steps, (steps,).

    Evenly spaced in σ^(1/ρ); a large rho spaces them evenly in ln σ. Whether a schedule shrinks its states
    does not matter: samplers work on structures that are not. Source: Karras et al., NeurIPS 2022, Eq. 5.
    Raises ValueError for fewer than one step or rho ≤ 0.
    """
    if steps < 1 or not rho > 0:
        raise ValueError(f"steps ≥ 1 and rho > 0 must hold, got {steps} and {rho}")
    first, last = schedule.sigma_max ** (1 / rho), schedule.sigma_min ** (1 / rho)
    return jnp.linspace(first, last, steps) ** rho


def perturb(
    schedule: Schedule, positions: Float[Any, "n 3"], noise: Float[Any, "n 3"], t: Time
) -> Float[Array, "n 3"]:
    """The state α(t) (R + σ(t) ε) in Å, (n, 3), from positions R in Å and noise ε, both (n, 3)."""
    return schedule.alpha(t) * (positions + schedule.sigma(t) * noise)


def as_variance_exploding(
    schedule: Schedule, state: Float[Any, "n 3"], t: Time
) -> tuple[Float[Array, "n 3"], Float[Array, ""]]:
    """What a `DenoiseFunction` takes, from a schedule's state R_t, (n, 3) in Å: R_t/α(t) and σ(t), in Å.

    So one network serves every schedule.
    """
    return state / schedule.alpha(t), schedule.sigma(t)
