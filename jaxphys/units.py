"""Constants and conversions: the one place where such numbers stand.

Lengths, energies and dipoles are those of `pyscf.data.nist` (CODATA 2010), so that an Å or an eV means the
same here and in PySCF; the newer values differ in the 11th digit, which is 1e-8 Ha in a nuclear repulsion.
"""

BOHR_IN_ANGSTROM = 0.52917721092
HARTREE_IN_EV = 27.21138602
HARTREE_IN_KCAL_PER_MOL = 627.509474
KCAL_PER_MOL_IN_EV = HARTREE_IN_EV / HARTREE_IN_KCAL_PER_MOL
BOLTZMANN_IN_EV_PER_KELVIN = 8.617333262e-5
ATOMIC_DIPOLE_IN_DEBYE = 2.5417464157449032
KJ_PER_MOL_IN_EV = KCAL_PER_MOL_IN_EV / 4.184
COULOMB_IN_KJ_NM_PER_MOL = 138.93545764438198
"""Energy of two charges e at 1 nm, as OpenMM has it (CODATA 2018)."""

ENERGY_IN_EV = {
    "eV": 1.0,
    "meV": 1e-3,
    "Ha": HARTREE_IN_EV,
    "kcal/mol": KCAL_PER_MOL_IN_EV,
    "kJ/mol": KJ_PER_MOL_IN_EV,
}
"""By the names that files and readers use."""

LENGTH_IN_ANGSTROM = {"Å": 1.0, "Bohr": BOHR_IN_ANGSTROM}
