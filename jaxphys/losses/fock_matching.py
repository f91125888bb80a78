"""The supervised loss: a predicted Fock matrix against its label."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxphys.dft import KohnSham
from jaxphys.losses.self_consistency import elements, safe_root


def fock_matching(
    system: KohnSham, fock: Float[Array, "n n"], label: Float[Array, "n n"]
) -> Float[Array, ""]:
    """RMSE + MAE of a predicted Fock matrix in Ha, (), over the molecule's own n² elements.

    fock, label: (n, n) in Ha, zero in padded rows and columns. The MAE is the field's metric; the RMSE
    keeps single large errors down. Zero gradient where they agree exactly.
    Source: the form of QHNet's training (Yu et al., ICML 2023), there with the mean square.
    """
    error = fock - label
    # |x| as x·sign(x): JAX's own derivative of |x| at zero is 1
    absolute = error * jax.lax.stop_gradient(jnp.sign(error))
    return safe_root(jnp.sum(error**2) / elements(system)) + jnp.sum(absolute) / elements(system)
