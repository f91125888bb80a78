"""Force fields in JAX against OpenMM itself; systems that are refused."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import openmm
import pytest
from finite_differences import slope
from openmm import app

from jaxphys.energies import alanine_dipeptide, chignolin, openmm_energy
from jaxphys.energies.openmm_systems import PHI, PSI
from jaxphys.units import KJ_PER_MOL_IN_EV


def reference(system, positions):
    """Energy in eV and forces in eV/Å by OpenMM's slowest and most exact platform."""
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(positions / 10)
    state = context.getState(energy=True, forces=True)
    energy = state.getPotentialEnergy().value_in_unit(openmm.unit.kilojoule_per_mole)
    forces = state.getForces(asNumpy=True).value_in_unit_system(openmm.unit.md_unit_system)
    return energy * KJ_PER_MOL_IN_EV, forces * KJ_PER_MOL_IN_EV / 10


def assert_agree(system, start, scales=(0.0, 0.05, 0.2)):
    function = jax.jit(jax.value_and_grad(openmm_energy(system)))
    rng = np.random.default_rng(0)
    for scale in scales:
        positions = start + scale * rng.normal(size=start.shape)
        energy, gradient = function(positions)
        expected, forces = reference(system, positions)
        np.testing.assert_allclose(energy, expected, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(gradient, -forces, rtol=1e-6, atol=1e-8 * (1 + np.abs(forces).max()))


@pytest.mark.parametrize(
    ("force_field", "solvent"),
    [
        ("amber14-all.xml", None),
        ("amber14-all.xml", "implicit/obc1.xml"),
        ("amber14-all.xml", "implicit/obc2.xml"),
        ("amber96.xml", "amber96_obc.xml"),  # a GBSAOBCForce
    ],
)
def test_alanine_dipeptide_has_openmms_energy_and_forces(force_field, solvent):
    peptide = alanine_dipeptide(force_field=force_field, solvent=solvent)
    assert_agree(peptide.system, peptide.positions)


@pytest.mark.slow
@pytest.mark.parametrize("sequence", ["GYDPETGTWG", "KRHMSCVILNQPAF"])
def test_peptides_have_openmms_energy_and_forces(sequence):
    peptide = chignolin(sequence=sequence)
    assert_agree(peptide.system, peptide.positions)


def test_every_kind_of_force_on_its_own_and_phases_of_torsions():
    """Six atoms in a heap: phases tell a dihedral from its mirror image, spheres overlap."""
    system = openmm.System()
    torsion, nonbonded, born = (
        openmm.PeriodicTorsionForce(),
        openmm.NonbondedForce(),
        openmm.GBSAOBCForce(),
    )
    for i in range(6):
        system.addParticle(12.0)
        nonbonded.addParticle(0.3 * (-1) ** i, 0.2 + 0.02 * i, 0.1 * i)
        born.addParticle(0.3 * (-1) ** i, 0.12 + 0.02 * i, 0.6 + 0.1 * i)
    nonbonded.addException(0, 1, 0.0, 1.0, 0.0)
    nonbonded.addException(4, 1, 0.4, 0.25, 0.7)
    torsion.addTorsion(0, 1, 2, 3, 3, 0.7, 2.0)
    torsion.addTorsion(0, 1, 2, 3, 1, -1.1, 5.0)
    torsion.addTorsion(5, 2, 1, 4, 6, 2.1, 3.0)
    start = np.random.default_rng(3).uniform(-1.5, 1.5, size=(6, 3))
    for force in (torsion, nonbonded, born):
        system.addForce(force)
        assert_agree(system, start, scales=(0.0, 0.3))


def test_energies_by_finite_differences():
    peptide = alanine_dipeptide()
    energy = jax.jit(openmm_energy(peptide.system))
    rng = np.random.default_rng(1)
    positions = peptide.positions + 0.1 * rng.normal(size=(22, 3))
    direction = rng.normal(size=(22, 3))
    expected = slope(lambda t: energy(positions + t * direction), 1e-4)
    np.testing.assert_allclose(np.vdot(jax.grad(energy)(positions), direction), expected, rtol=1e-7)


def test_single_precision_and_many_copies_at_once():
    peptide = alanine_dipeptide()
    energy = openmm_energy(peptide.system)
    walkers = peptide.positions + 0.05 * np.random.default_rng(2).normal(size=(3, 22, 3))
    function = jax.jit(jax.vmap(jax.value_and_grad(energy)))
    exact, slopes = zip(*(reference(peptide.system, walker) for walker in walkers), strict=True)
    single, slopes32 = function(jnp.float32(walkers))
    assert single.dtype == slopes32.dtype == jnp.float32
    np.testing.assert_allclose(single, exact, atol=2e-5)
    np.testing.assert_allclose(slopes32, -np.array(slopes), atol=2e-4)


def test_collapsed_atoms_and_straight_lines_are_finite():
    peptide = alanine_dipeptide()
    line = np.arange(22.0)[:, None] * np.array([1.0, 0.0, 0.0])
    function = jax.jit(jax.value_and_grad(openmm_energy(peptide.system)))
    for positions in (np.zeros((22, 3)), line):
        value, gradient = function(jnp.float32(positions))
        assert np.isfinite(value) and np.all(np.isfinite(gradient))


def test_atoms_stand_in_the_published_order():
    peptide = alanine_dipeptide()
    names = [atom.name for atom in peptide.topology.atoms()]
    assert [names[i] for i in PHI] == ["C", "N", "CA", "C"] and [names[i] for i in PSI] == [
        "N",
        "CA",
        "C",
        "N",
    ]
    assert peptide.masses.sum() == pytest.approx(144.17, abs=0.01)
    assert peptide.numbers.sum() == 78  # C6 H12 N2 O2
    assert np.abs(reference(peptide.system, peptide.positions)[1]).max() < 0.05


def test_chignolin_is_a_protonated_chain():
    peptide = chignolin(solvent=None)
    nonbonded = next(f for f in peptide.system.getForces() if isinstance(f, openmm.NonbondedForce))
    charges = [
        nonbonded.getParticleParameters(i)[0].value_in_unit(openmm.unit.elementary_charge) for i in range(138)
    ]
    assert sum(charges) == pytest.approx(-2) and peptide.name == "chignolin"
    assert [residue.name for residue in peptide.topology.residues()][:3] == ["GLY", "TYR", "ASP"]
    with pytest.raises(ValueError, match="letters of amino acids, got 'GB1'"):
        chignolin(sequence="GB1")


def _system(files, **arguments):
    topology = alanine_dipeptide(solvent=None).topology
    arguments = {"nonbondedMethod": app.NoCutoff, "constraints": None, "rigidWater": False} | arguments
    return app.ForceField(*files).createSystem(topology, **arguments)


@pytest.mark.parametrize(
    ("files", "arguments", "message"),
    [
        (["amber14-all.xml"], {"constraints": app.HBonds}, "12 constraints.*constraints=None"),
        (["amber14-all.xml"], {"nonbondedMethod": app.CutoffNonPeriodic}, "NonbondedForce has a cutoff"),
        (["amber14-all.xml", "implicit/gbn2.xml"], {}, "CustomGBForce is none of the solvents.*radindex"),
        (["amber14-all.xml", "implicit/hct.xml"], {}, r"none of the solvents.*1/\(1/or-I\)"),
        (["amber14-all.xml", "implicit/obc1.xml"], {"implicitSolventKappa": 1.0}, "without salt.*exp"),
        (["amber14-all.xml", "implicit/obc1.xml"], {"sasaMethod": "LCPO"}, "LCPO|not translated"),
        (["amber19-all.xml"], {}, "CMAPTorsionForce.*not translated"),
    ],
)
def test_systems_that_are_refused(files, arguments, message):
    with pytest.raises(ValueError, match=message):
        openmm_energy(_system(files, **arguments))


def test_changed_solvents_are_refused():
    system = _system(["amber14-all.xml", "implicit/obc2.xml"])
    born = next(f for f in system.getForces() if isinstance(f, openmm.CustomGBForce))
    text, kind = born.getEnergyTermParameters(0)
    born.setEnergyTermParameters(0, text.replace("charge^2", "charge^3"), kind)
    with pytest.raises(ValueError, match=r"charge\^3"):
        openmm_energy(system)


def test_positions_of_another_molecule_are_refused():
    with pytest.raises(ValueError, match=r"must be \(22, 3\) as the system is, got \(21, 3\)"):
        openmm_energy(alanine_dipeptide().system)(np.zeros((21, 3)))


def test_openmm_may_be_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "openmm", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'jaxphys\[ensembles\]'"):
        alanine_dipeptide()
