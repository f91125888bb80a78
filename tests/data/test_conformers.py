"""Graphs from SMILES, their conformers, and the energies of force fields."""

import numpy as np
import pytest
from ase.build import molecule as g2
from rdkit import Chem

from jaxphys.data import (
    embed,
    embed_conformers,
    force_field_energies,
    parse_smiles,
    positions_of,
    with_positions,
)
from jaxphys.units import KCAL_PER_MOL_IN_EV
from tests.finite_differences import slope

SMILES = ("OCC(C)C(=O)O", "N[C@@H](C)C(=O)O", "C#CC=O", "[O-][N+](=O)c1ccccc1")


class TestParseSmiles:
    @pytest.mark.parametrize(
        ("smiles", "symbols", "charge"),
        [
            ("O", "OHH", 0),
            ("[NH4+]", "NHHHH", 1),
            ("CO", "COHHHH", 0),
            ("[Na+]", ["Na"], 1),
            ("[H][H]", "HH", 0),
        ],
    )
    def test_graph(self, smiles, symbols, charge):
        mol = parse_smiles(smiles)
        assert [atom.GetSymbol() for atom in mol.GetAtoms()] == list(symbols)
        assert Chem.GetFormalCharge(mol) == charge

    @pytest.mark.parametrize(
        ("smiles", "reason"),
        [
            ("C1CC", "not a SMILES"),
            ("", "not a SMILES"),
            ("CN(C)(C)(C)C", "not a SMILES"),
            ("[Na+].[Cl-]", "2 fragments"),
            ("C*", r"without an element \(\*\), atom 1"),
            ("C[CH2]", r"1 unpaired electrons on atom 1 \(C\)"),
            ("[O][O]", "unpaired"),
            ("[He+]", "odd number|unpaired"),
        ],
    )
    def test_what_is_refused(self, smiles, reason, capfd):
        with pytest.raises(ValueError, match=reason) as error:
            parse_smiles(smiles)
        assert "\n" not in str(error.value)
        assert capfd.readouterr().err == ""


class TestEmbedConformers:
    @pytest.mark.parametrize("method", ["UFF", "MMFF"])
    @pytest.mark.parametrize("smiles", SMILES)
    def test_minima(self, smiles, method):
        mol = embed_conformers(parse_smiles(smiles), 4, seed=3, method=method)
        assert 1 <= mol.GetNumConformers() <= 4
        _, forces = force_field_energies(mol, positions_of(mol), method)
        assert np.abs(forces).max() < 1e-3 * KCAL_PER_MOL_IN_EV

    def test_every_small_step_goes_up(self):
        mol = embed_conformers(parse_smiles("CC=O"), 1, seed=0)
        minimum = positions_of(mol)
        steps = np.random.default_rng(0).normal(scale=0.02, size=(50, *minimum.shape[1:]))
        energies, _ = force_field_energies(mol, minimum + steps, "UFF")
        assert energies.min() > force_field_energies(mol, minimum, "UFF")[0][0]

    def test_agrees_with_an_independent_minimisation(self):
        """`embed` uses MMFF94, for butane equal to MMFF94s: anti, and gauche 0.78 kcal/mol above it."""
        mol = embed_conformers(parse_smiles("CCCC"), 30, seed=0, method="MMFF")
        energies, _ = force_field_energies(mol, positions_of(mol), "MMFF")
        other, _ = force_field_energies(mol, embed("CCCC", seed=1).positions[None], "MMFF")
        assert np.abs(energies - other[0]).min() < 1e-7
        steps = (energies - energies.min()) / KCAL_PER_MOL_IN_EV
        gauche = steps > 0.1
        assert 0 < gauche.sum() < 30
        np.testing.assert_allclose(steps[gauche], 0.78, atol=0.02)
        np.testing.assert_allclose(steps[~gauche], 0, atol=1e-6)

    @pytest.mark.parametrize("seed", [0, 1])
    def test_conformers_differ_from_one_another_and_from_those_of_other_seeds(self, seed):
        sets = [
            positions_of(embed_conformers(parse_smiles("OCC(N)CC"), 4, seed=s, method=None))
            for s in (seed, seed + 1)
        ]
        everything = np.concatenate(sets)
        lengths = np.linalg.norm(everything[:, :1] - everything, axis=-1)
        assert len(np.unique(lengths.round(3), axis=0)) == len(everything)

    def test_deterministic(self):
        runs = [
            positions_of(embed_conformers(parse_smiles("CCCO"), 3, seed=seed, method="MMFF"))
            for seed in (5, 5, 6)
        ]
        np.testing.assert_array_equal(runs[0], runs[1])
        assert np.abs(runs[0][0] - runs[2][0]).max() > 1e-2

    def test_input_is_left_alone_and_raw_geometries_are_kept(self):
        mol = parse_smiles("CCO")
        raw = embed_conformers(mol, 5, seed=0, method=None)
        assert (mol.GetNumConformers(), raw.GetNumConformers()) == (0, 5)
        _, forces = force_field_energies(mol, positions_of(raw), "UFF")
        assert np.abs(forces).max() > 0.1

    @pytest.mark.parametrize("smiles", ["[He]", "[H][H]", "F"])
    def test_smallest_molecules(self, smiles):
        mol = embed_conformers(parse_smiles(smiles), 2, seed=0)
        assert positions_of(mol).shape == (2, mol.GetNumAtoms(), 3)

    @pytest.mark.parametrize(
        ("smiles", "change", "reason"),
        [
            ("CC", {"count": 0}, "count must be at least 1"),
            ("CC", {"seed": -1}, "seed not negative"),
            ("CC", {"method": "AMBER"}, "one of UFF, MMFF"),
            ("[H][H]", {"method": "MMFF"}, r"MMFF has no parameters for every atom of '\[H\]\[H\]'"),
            ("[C@@]12(F)[C@@](Cl)(C1)C2", {}, "RDKit finds no geometry"),
        ],
    )
    def test_what_is_refused(self, smiles, change, reason, capfd):
        arguments = {"count": 1, "seed": 0, **change}
        with pytest.raises(ValueError, match=reason):
            _unchecked(embed_conformers)(parse_smiles(smiles), **arguments)
        assert capfd.readouterr().err == ""

    def test_implicit_hydrogens_are_refused(self):
        with pytest.raises(ValueError, match="'CC' has 6 implicit hydrogens"):
            embed_conformers(Chem.MolFromSmiles("CC"), 1, seed=0)


class TestForceFieldEnergies:
    @pytest.mark.parametrize("method", ["UFF", "MMFF"])
    def test_forces_are_slopes(self, method):
        mol = parse_smiles("OC=CN")
        positions = positions_of(embed_conformers(mol, 2, seed=0, method=None))
        rng = np.random.default_rng(1)
        direction = rng.normal(size=positions.shape)
        _, forces = force_field_energies(mol, positions, method)
        found = slope(lambda step: force_field_energies(mol, positions + step * direction, method)[0], 1e-4)
        np.testing.assert_allclose(found, -np.sum(forces * direction, axis=(1, 2)), rtol=1e-7, atol=1e-8)

    def test_bond_of_hydrogen_in_closed_form(self):
        """UFF: k/2 (r − r₀)², k = 664.12 Z*²/r₀³ in kcal/mol/Å², r₀ = 2·0.354 Å, Z* = 0.712."""
        rest = 2 * 0.354
        lengths = np.array([0.6, rest, 0.9])
        positions = np.zeros((3, 2, 3))
        positions[:, 1, 2] = lengths
        energies, forces = force_field_energies(parse_smiles("[H][H]"), positions, "UFF")
        stiffness = 664.12 * 0.712**2 / rest**3 * KCAL_PER_MOL_IN_EV
        np.testing.assert_allclose(energies, stiffness / 2 * (lengths - rest) ** 2, atol=1e-9)
        np.testing.assert_allclose(forces[:, 1, 2], -stiffness * (lengths - rest), atol=1e-8)

    def test_order_and_number_of_geometries_do_not_matter(self):
        mol = parse_smiles("CCO")
        positions = positions_of(embed_conformers(mol, 3, seed=0, method=None))
        energies, forces = force_field_energies(mol, positions, "MMFF")
        alone, force = force_field_energies(mol, positions[2:], "MMFF")
        np.testing.assert_array_equal(energies[2:], alone)
        np.testing.assert_array_equal(forces[2:], force)
        assert force_field_energies(mol, positions[:0], "MMFF")[0].shape == (0,)


class TestPositions:
    def test_round_trip(self):
        mol = parse_smiles("O")
        positions = np.stack([g2("H2O").positions, 1 + g2("H2O").positions])
        held = with_positions(mol, positions)
        np.testing.assert_array_equal(positions_of(held), positions)
        assert [conformer.GetId() for conformer in held.GetConformers()] == [0, 1]
        assert positions_of(mol).shape == (0, 3, 3)

    def test_what_is_refused(self):
        mol = parse_smiles("O")
        with pytest.raises(ValueError, match=r"shape \(k, 3, 3\), got \(1, 4, 3\)"):
            with_positions(mol, np.zeros((1, 4, 3)))
        positions = np.zeros((2, 3, 3))
        positions[1, 2, 0] = np.nan
        with pytest.raises(ValueError, match="for atom 2 of geometry 1"):
            with_positions(mol, positions)


def _unchecked(function):
    """The function without the tests' runtime check of its annotations: a value that those refuse."""
    return getattr(function, "__wrapped__", function)
