"""Layers in edge frames, where what is left of E(3) is O(2): turns about the edge, mirrors through it.

A feature set is a list over m = 0…lmax of arrays (e, k, c): k = 1 for m = 0, else k = 2 for the
components +m (cosine, even under the mirror) and −m (sine, odd). A real matrix that acts on c alone is
equivariant, also under improper rotations: c carries natural parity (−1)^l.
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Features = list[Float[Array, "e _ _"]]


def split_by_m(features: Float[Array, "e m c"], lmax: int) -> Features:
    """From (e, (lmax+1)², c) to a list over |m| of (e, 1 or 2, (lmax+1−|m|)·c)."""
    parts = []
    for m in range(lmax + 1):
        degrees = np.arange(m, lmax + 1)
        signs = (0,) if m == 0 else (m, -m)
        rows = np.stack([degrees * (degrees + 1) + s for s in signs])
        parts.append(features[:, rows].reshape(features.shape[0], len(signs), -1))
    return parts


def join_by_l(parts: Features, lmax: int) -> Float[Array, "e _ _"]:
    """Inverse of `split_by_m`."""
    rows: list[Array] = []
    for l in range(lmax + 1):
        for m in range(-l, l + 1):
            part = parts[abs(m)]
            channels = part.shape[-1] // (lmax + 1 - abs(m))
            start = (l - abs(m)) * channels
            rows.append(part[:, 1 if m < 0 else 0, start : start + channels])
    return jnp.stack(rows, axis=1)


class O2Linear(nn.Module):
    """A linear map for each m; widths[m] channels out, a bias for m = 0 only."""

    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, parts: Features) -> Features:
        return [
            nn.Dense(width, use_bias=m == 0, name=f"m{m}")(part)
            for m, (width, part) in enumerate(zip(self.widths, parts, strict=True))
        ]


class O2Gate(nn.Module):
    """SiLU on m = 0, and a sigmoid gate made from it on every other m; optional radial factors first."""

    @nn.compact
    def __call__(self, parts: Features, factors: Float[Array, "e r"] | None = None) -> Features:
        widths = [part.shape[-1] for part in parts]
        if factors is not None:
            scales = nn.Dense(sum(widths), name="radial")(factors)[:, None]
            offsets = np.cumsum([0, *widths])
            parts = [part * scales[..., a:b] for part, a, b in zip(parts, offsets, offsets[1:], strict=False)]
        if len(parts) == 1:
            return [nn.silu(parts[0])]
        gates = nn.sigmoid(nn.Dense(sum(widths[1:]), name="gate")(parts[0]))
        offsets = np.cumsum([0, *widths[1:]])
        gated = [part * gates[..., a:b] for part, a, b in zip(parts[1:], offsets, offsets[1:], strict=False)]
        return [nn.silu(parts[0]), *gated]


def products(left: Features, right: Features) -> tuple[Features, Float[Array, "e 1 _"]]:
    """Channel-wise products of the m > 0 parts: a list over M = 0…2·mmax, and the mirror-odd scalars.

    With z = cosine + i·sine, z_a z_b has M = a + b and z_a z̄_b has M = a − b.
    """
    top = len(left) - 1
    none = left[0][:, :, :0]
    found: list[list[Array]] = [[none if m == 0 else jnp.tile(none, (1, 2, 1))] for m in range(2 * top + 1)]
    odd = [none]
    for a in range(1, top + 1):
        for b in range(1, a + 1):
            width = min(left[a].shape[-1], right[b].shape[-1])
            (c1, s1), (c2, s2) = (jnp.moveaxis(p[..., :width], 1, 0) for p in (left[a], right[b]))
            found[a + b].append(jnp.stack([c1 * c2 - s1 * s2, c1 * s2 + s1 * c2], axis=1))
            real, imaginary = c1 * c2 + s1 * s2, s1 * c2 - c1 * s2
            if a == b:
                found[0].append(real[:, None])
                odd.append(imaginary[:, None])
            else:
                found[a - b].append(jnp.stack([real, imaginary], axis=1))
    return [jnp.concatenate(f, axis=-1) for f in found], jnp.concatenate(odd, axis=-1)


def block_couplings(shells: tuple[int, ...]) -> tuple[list[np.ndarray], np.ndarray]:
    """How O(2) coefficients make up a matrix block between two sets of shells (angular momenta).

    Returns a list over M of arrays (n_M, 1 or 2, B, B), and (n_odd, B, B) for mirror-odd scalars; rows and
    columns run over the shells with m from −l to l. Together they are an orthogonal basis of all blocks.
    """
    starts = np.cumsum([0] + [2 * l + 1 for l in shells])
    size = int(starts[-1])
    found: list[list[np.ndarray]] = [[] for _ in range(2 * max(shells) + 1)]
    odd = []

    def unit(i: int, m1: int, j: int, m2: int) -> np.ndarray:
        matrix = np.zeros((size, size))
        matrix[starts[i] + shells[i] + m1, starts[j] + shells[j] + m2] = 1.0
        return matrix

    for i, l1 in enumerate(shells):
        for j, l2 in enumerate(shells):
            for a in range(l1 + 1):
                for b in range(l2 + 1):
                    cc, cs, sc, ss = (unit(i, p * a, j, q * b) for p in (1, -1) for q in (1, -1))
                    if a == 0 and b == 0:
                        found[0].append(cc[None])
                    elif b == 0 or a == 0:
                        found[a + b].append(np.stack([cc, sc if b == 0 else cs]))
                    else:
                        found[a + b].append(np.stack([cc - ss, cs + sc]))
                        difference = np.stack([cc + ss, sc - cs] if a >= b else [cc + ss, cs - sc])
                        if a == b:
                            found[0].append(difference[:1])
                            odd.append(difference[1])
                        else:
                            found[abs(a - b)].append(difference)
    blocks = [np.stack(f) if f else np.zeros((0, 2, size, size)) for f in found]
    return blocks, np.stack(odd) if odd else np.zeros((0, size, size))
