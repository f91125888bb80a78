"""A mean and how far it may be off."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float


class Estimate(NamedTuple):
    """A number and its standard error, in the unit of what was averaged."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.6g} ± {self.error:.2g}"


def mean_of_walkers(values: Float[Any, "draws k"]) -> Estimate:
    """Mean of a quantity along independent walkers, (draws, k), with the error from their own means.

    Right however much the draws of one walker depend on each other.
    """
    means = np.mean(np.asarray(values, float), axis=0)
    return Estimate(float(np.mean(means)), float(np.std(means, ddof=1) / np.sqrt(len(means))))


def deviation(difference: float, error: float) -> float:
    """|difference| in standard errors; 0 for none, infinite for one without error."""
    if difference == 0:
        return 0.0
    return abs(difference) / error if error > 0 else float("inf")
