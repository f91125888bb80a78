"""The villin headpiece's folded core, residue by residue: a native structure of 35 Cα atoms.

Source: Protein Data Bank entry 1YRF, X-ray diffraction at 1.07 Å (Chiu et al., PNAS 102, 7517 (2005)), chain
A, residues 42 to 76, in Å; three helices, residues 43–52, 54–59 and 62–73. The data bank's entries are public
domain (CC0).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

VILLIN_SEQUENCE = "LSDEDFKAVFGMTRSAFANLPLWKQQHLKKEKGLF"
_POSITIONS = (
    (-6.429, 9.299, 6.989),
    (-2.633, 9.119, 7.222),
    (-0.814, 12.312, 6.401),
    (0.379, 10.649, 3.217),
    (-3.141, 9.714, 2.166),
    (-4.405, 13.193, 2.985),
    (-1.81, 14.768, 0.755),
    (-2.705, 12.344, -2.049),
    (-6.464, 13.034, -1.752),
    (-6.345, 16.806, -1.316),
    (-3.152, 17.734, -3.159),
    (-1.538, 19.556, -0.264),
    (-0.515, 18.886, 3.302),
    (-2.838, 19.161, 6.294),
    (-0.951, 22.229, 7.342),
    (-1.605, 23.886, 3.988),
    (-5.252, 22.895, 3.948),
    (-5.744, 24.329, 7.395),
    (-4.994, 27.808, 5.959),
    (-8.007, 27.71, 3.663),
    (-11.336, 29.283, 4.776),
    (-13.206, 26.991, 7.099),
    (-16.208, 26.687, 4.791),
    (-13.841, 25.745, 1.965),
    (-12.147, 23.037, 4.03),
    (-15.624, 21.639, 4.734),
    (-16.575, 21.829, 1.051),
    (-13.421, 20.19, -0.208),
    (-13.729, 17.362, 2.262),
    (-17.421, 16.759, 1.466),
    (-16.701, 16.806, -2.262),
    (-14.244, 13.928, -1.666),
    (-16.752, 12.057, 0.531),
    (-14.84, 12.798, 3.791),
    (-15.675, 14.558, 7.079),
)


def villin_headpiece() -> Float[np.ndarray, "35 3"]:
    """Positions of the Cα atoms of 1YRF in Å, (35, 3), with their mean at zero."""
    positions = np.array(_POSITIONS)
    return positions - positions.mean(axis=0)
