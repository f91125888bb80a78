"""What the metrics of ensembles ask of samples and of their weights, said once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike


def checked_samples(values: ArrayLike, shape: tuple[int | None, ...], name: str) -> np.ndarray:
    """The samples as float64 of this shape, None for any length but zero, and finite; raises ValueError."""
    found = np.asarray(values, dtype=np.float64)
    fits = found.ndim == len(shape) and all(
        have == wanted or (wanted is None and have > 0)
        for have, wanted in zip(found.shape, shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if length is None else str(length) for length in shape)
        raise ValueError(f"{name} must have the shape ({wanted}) without an empty axis, got {found.shape}")
    if not np.isfinite(found).all():
        place = tuple(int(index) for index in np.argwhere(~np.isfinite(found))[0])
        raise ValueError(f"{name} must be finite, got {found[place]} at {place}")
    return found


def checked_weights(weights: Any, count: int, name: str = "weights") -> np.ndarray:
    """Weights (count,) that sum to one, equal ones for None; raises ValueError for what is no weight."""
    if weights is None:
        return np.full(count, 1 / count)
    found = checked_samples(weights, (count,), name)
    if found.min() < 0 or found.sum() <= 0:
        raise ValueError(
            f"{name} must be at least 0 and not all 0, got {found.min():g} at {int(found.argmin())}"
        )
    return found / found.sum()
