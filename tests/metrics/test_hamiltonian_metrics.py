"""The metrics of a predicted Fock matrix, against closed forms on small molecules."""

import dataclasses
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import ortho_group

from jaxphys import dft
from jaxphys.metrics import hamiltonian_metrics, scf_cycles
from jaxphys.metrics.hamiltonian import DEGENERACY_TOLERANCE
from jaxphys.molecule import Molecule

WATER = Molecule(np.array([8, 1, 1]), np.array([[0.0, 0.0, 0.12], [0.0, 0.76, -0.47], [0.0, -0.76, -0.47]]))
HELIUM = Molecule(np.array([2]), np.zeros((1, 3)))
SETTINGS = {"basis": "sto-3g", "xc": "svwn", "grid_level": 0}
OCCUPIED = 5  # water's orbitals in STO-3G: 5 occupied, 2 virtual
HOMO, LUMO = 4, 5

SIMILARITIES = ("coefficient_cosine", "orbital_similarity", "subspace_similarity")
ERRORS = (
    "h_mae",
    "h_mae_occ_occ",
    "h_mae_occ_virt",
    "h_mae_virt_virt",
    "orbital_energy_mae",
    "homo",
    "lumo",
    "gap",
    "energy_error",
    "dipole_error",
    "residual",
    "intruder",
)
solve = jax.jit(dft.scf)
evaluate = jax.jit(hamiltonian_metrics)


@cache
def solved(molecule: Molecule) -> tuple[dft.KohnSham, dft.SCFResult]:
    system = dft.kohn_sham(molecule.numbers, molecule.positions, **SETTINGS)
    return system, solve(system)


def with_orbitals(rotation: np.ndarray, energies: np.ndarray) -> jax.Array:
    """Water's Fock matrix with the orbitals C U and the energies given: F = S C U ε Uᵀ Cᵀ S."""
    system, reference = solved(WATER)
    half = system.overlap @ np.asarray(reference.coefficients) @ rotation
    return jnp.asarray((half * energies) @ half.T)


def levels() -> np.ndarray:
    return np.array(solved(WATER)[1].orbital_energies)


def mix(i: int, j: int, angle: float, size: int = 7) -> np.ndarray:
    """Rotation of orbital i towards orbital j."""
    rotation = np.eye(size)
    rotation[[i, j], [i, j]] = np.cos(angle)
    rotation[j, i], rotation[i, j] = np.sin(angle), -np.sin(angle)
    return rotation


def water_metrics(fock: jax.Array, reference: dft.SCFResult | None = None) -> dict[str, float]:
    system, solution = solved(WATER)
    return {name: float(value) for name, value in evaluate(system, fock, reference or solution).items()}


def noise(n: int, size: float, seed: int = 0) -> np.ndarray:
    matrix = np.random.default_rng(seed).standard_normal((n, n))
    return size * (matrix + matrix.T) / 2


def test_exact_prediction_has_no_error():
    metrics = water_metrics(solved(WATER)[1].fock)
    assert set(metrics) == {*SIMILARITIES, *ERRORS}
    np.testing.assert_allclose([metrics[name] for name in SIMILARITIES], 1.0, rtol=1e-12)
    # E is of second order and μ of first in the orbital gradient left by the SCF, which is below 1e-8 Ha
    np.testing.assert_allclose([metrics[name] for name in ERRORS], 0.0, atol=1e-7)


@pytest.mark.parametrize("shift", [0.3, -0.02])
def test_constant_shift_moves_levels_only(shift):
    system, reference = solved(WATER)
    exact, shifted = water_metrics(reference.fock), water_metrics(reference.fock + shift * system.overlap)
    size = abs(shift)
    expected = {
        "h_mae": size * np.mean(np.abs(system.overlap)),
        # Cᵀ (c S) C = c 1
        "h_mae_occ_occ": size / 5,
        "h_mae_occ_virt": 0.0,
        "h_mae_virt_virt": size / 2,
        "orbital_energy_mae": size,
        "homo": size,
        "lumo": size,
        "gap": 0.0,
        "residual": size * np.sqrt(np.mean(system.overlap**2)),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(shifted[name], value, rtol=1e-6, atol=1e-12, err_msg=name)
    for name in (*SIMILARITIES, "energy_error", "dipole_error", "intruder"):
        np.testing.assert_allclose(shifted[name], exact[name], atol=1e-10, err_msg=name)


def test_levels_are_matched_by_energy():
    moved = levels() + np.array([0.1, -0.05, 0.0, 0.02, -0.01, 0.04, 0.0])
    metrics = water_metrics(with_orbitals(np.eye(7), moved))
    np.testing.assert_allclose(metrics["orbital_energy_mae"], (0.1 + 0.05 + 0.02 + 0.01) / 5, rtol=1e-9)
    np.testing.assert_allclose(metrics["homo"], 0.01, rtol=1e-9)
    np.testing.assert_allclose(metrics["lumo"], 0.04, rtol=1e-9)
    np.testing.assert_allclose(metrics["gap"], 0.05, rtol=1e-9)
    np.testing.assert_allclose(metrics["subspace_similarity"], 1.0, rtol=1e-12)


def test_rotation_within_a_degenerate_level():
    energies = levels()
    energies[3] = energies[HOMO]
    solution = solved(WATER)[1]
    reference = dataclasses.replace(
        solution, fock=with_orbitals(np.eye(7), energies), orbital_energies=jnp.asarray(energies)
    )
    # a coupling far below anything of interest, but it alone decides how the two orbitals mix
    energies[[3, HOMO]] += [-1e-9, 1e-9]
    metrics = water_metrics(with_orbitals(mix(3, HOMO, np.pi / 4), energies), reference)
    old = np.asarray(solution.coefficients)[:, :OCCUPIED]
    new = old @ mix(3, HOMO, np.pi / 4)[:OCCUPIED, :OCCUPIED]
    cosines = np.abs(np.sum(old * new, 0)) / np.linalg.norm(old, axis=0) / np.linalg.norm(new, axis=0)
    assert metrics["orbital_energy_mae"] < 1e-8
    np.testing.assert_allclose(metrics["orbital_similarity"], 1.0, atol=1e-10)
    np.testing.assert_allclose(metrics["subspace_similarity"], 1.0, atol=1e-10)
    np.testing.assert_allclose(metrics["coefficient_cosine"], np.mean(cosines), atol=1e-5)
    assert metrics["coefficient_cosine"] < 0.9


@pytest.mark.parametrize(("factor", "similarity"), [(0.9, 1.0), (1.1, 1.0 - 2 * 0.25 / OCCUPIED)])
def test_degeneracy_tolerance(factor, similarity):
    energies = levels()
    energies[3] = energies[HOMO] - factor * DEGENERACY_TOLERANCE
    reference = dataclasses.replace(solved(WATER)[1], orbital_energies=jnp.asarray(energies))
    metrics = water_metrics(with_orbitals(mix(3, HOMO, np.pi / 6), energies), reference)
    np.testing.assert_allclose(metrics["orbital_similarity"], similarity, atol=1e-9)


def test_rotation_among_occupied_orbitals_keeps_the_density():
    rotation = np.eye(7)
    rotation[:OCCUPIED, :OCCUPIED] = ortho_group.rvs(OCCUPIED, random_state=0)
    metrics = water_metrics(with_orbitals(rotation, levels()))
    np.testing.assert_allclose(metrics["subspace_similarity"], 1.0, atol=1e-10)
    np.testing.assert_allclose(metrics["orbital_similarity"], np.mean(np.diag(rotation)[:5] ** 2), atol=1e-9)
    assert abs(metrics["energy_error"]) < 1e-10
    assert metrics["intruder"] == 0.0


@pytest.mark.parametrize(("degrees", "intruder"), [(40, 0.0), (50, 1.0), (90, 1.0)])
def test_rotation_out_of_the_occupied_space(degrees, intruder):
    angle = np.radians(degrees)
    system, reference = solved(WATER)
    fock = with_orbitals(mix(HOMO, LUMO, angle), levels())
    metrics = water_metrics(fock)
    similarity = 1 - np.sin(angle) ** 2 / OCCUPIED
    np.testing.assert_allclose(metrics["orbital_similarity"], similarity, atol=1e-9)
    np.testing.assert_allclose(metrics["subspace_similarity"], similarity, atol=1e-9)
    assert metrics["intruder"] == intruder
    homo, lumo = np.asarray(reference.coefficients)[:, [HOMO, LUMO]].T
    moved = np.cos(angle) * homo + np.sin(angle) * lumo
    change = 2 * (np.outer(moved, moved) - np.outer(homo, homo))
    dipole = np.linalg.norm(np.sum(system.dipole_integrals * change, axis=(1, 2)))
    np.testing.assert_allclose(metrics["dipole_error"], dipole, atol=1e-6)
    energy = dft.energy(system, jnp.asarray(reference.density + change))
    np.testing.assert_allclose(metrics["energy_error"], energy - reference.energy, atol=1e-9)
    assert metrics["energy_error"] > 0.01


def test_swapped_homo_and_lumo_intrude():
    energies = levels()
    energies[[HOMO, LUMO]] = energies[[LUMO, HOMO]]
    metrics = water_metrics(with_orbitals(np.eye(7), energies))
    assert metrics["intruder"] == 1.0
    assert metrics["orbital_energy_mae"] < 1e-9  # the levels alone tell nothing
    np.testing.assert_allclose(metrics["subspace_similarity"], 0.8, atol=1e-9)


def test_intruder_does_not_depend_on_the_choice_of_orbitals():
    # one vector of the occupied space is lost, but each of the two orbitals that share it keeps half
    system, solution = solved(WATER)
    energies = levels()
    rotation = mix(3, HOMO, np.pi / 4)
    reference = dataclasses.replace(solution, coefficients=solution.coefficients @ rotation)
    energies[[HOMO, LUMO]] = energies[[LUMO, HOMO]]
    fock = with_orbitals(np.eye(7), energies)
    assert float(evaluate(system, fock, reference)["intruder"]) == 1.0


def test_energy_error_is_of_second_order():
    reference = solved(WATER)[1]
    perturbation = noise(7, 1.0)
    small, twice = (water_metrics(reference.fock + size * perturbation) for size in (1e-3, 2e-3))
    assert 0 < small["energy_error"] < 1e-4
    np.testing.assert_allclose(twice["energy_error"] / small["energy_error"], 4.0, rtol=0.05)
    for name in ("h_mae", "homo", "dipole_error", "residual"):
        np.testing.assert_allclose(twice[name] / small[name], 2.0, rtol=0.05, err_msg=name)


def test_element_errors_of_noise():
    reference = solved(WATER)[1]
    difference = noise(7, 1e-2)
    metrics = water_metrics(reference.fock + difference)
    rotated = np.abs(reference.coefficients.T @ difference @ reference.coefficients)
    expected = {
        "h_mae": np.abs(difference).mean(),
        "h_mae_occ_occ": rotated[:5, :5].mean(),
        "h_mae_occ_virt": rotated[:5, 5:].mean(),
        "h_mae_virt_virt": rotated[5:, 5:].mean(),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-9, err_msg=name)


def test_padding_is_inert():
    molecules = [WATER, HELIUM]
    alone = [solved(molecule) for molecule in molecules]
    systems = dft.stack([system for system, _ in alone])
    references = jax.jit(jax.vmap(dft.scf))(systems)
    n = systems.overlap.shape[-1]
    predictions, expected = np.full((len(molecules), n, n), 0.7), []  # the padding is anything but zero
    for i, (system, reference) in enumerate(alone):
        size = len(system.overlap)
        predictions[i, :size, :size] = reference.fock + noise(size, 0.05, seed=i)
        expected.append(evaluate(system, jnp.asarray(predictions[i, :size, :size]), reference))
    batched = jax.jit(jax.vmap(hamiltonian_metrics))(systems, jnp.asarray(predictions), references)
    for i, metrics in enumerate(expected):
        for name, value in metrics.items():
            np.testing.assert_allclose(batched[name][i], value, atol=1e-10, err_msg=f"{i} {name}")


def test_molecule_without_virtual_orbitals():
    system, reference = solved(HELIUM)
    metrics = evaluate(system, reference.fock + 0.1, reference)
    for name in ("lumo", "gap", "h_mae_occ_virt", "h_mae_virt_virt"):
        assert float(metrics[name]) == 0.0
    np.testing.assert_allclose(metrics["homo"], 0.1, rtol=1e-9)


def test_nan_is_not_silent():
    metrics = water_metrics(jnp.full((7, 7), jnp.nan))
    assert metrics.pop("intruder") == 1.0
    assert all(np.isnan(value) for value in metrics.values())


class TestCycles:
    def test_start_decides(self):
        good = solved(WATER)[1].fock
        system = dft.kohn_sham(WATER.numbers, WATER.positions, **SETTINGS | {"xc": "b3lyp5"})
        from_minao = scf_cycles(WATER, None, **SETTINGS)
        from_good = scf_cycles(WATER, good, **SETTINGS)
        from_other = scf_cycles(WATER, solve(system).fock, **SETTINGS)
        # the start is already converged only if basis, functional, fitting and grid are the same
        assert from_good <= 2 < from_other < from_minao

    def test_no_convergence(self):
        assert scf_cycles(WATER, None, max_cycles=2, **SETTINGS) == 3

    @pytest.mark.parametrize(
        ("fock", "message"),
        [
            (np.eye(8), r"shape \(7, 7\) in this basis, without padding, got \(8, 8\)"),
            (np.full((7, 7), np.nan), "fock must be finite"),
        ],
    )
    def test_bad_matrix(self, fock, message):
        with pytest.raises(ValueError, match=message):
            scf_cycles(WATER, fock, **SETTINGS)
