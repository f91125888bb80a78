"""A trained model of `experiments.consistency` at work: conformers of a SMILES, ranked by energy."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float
from rdkit import Chem

from experiments.consistency_evaluation import distinct
from experiments.consistency_sampling import Denoise, Sampler, sample
from experiments.stages import map_batches
from jaxphys import report
from jaxphys.data import bond_graph, parse_smiles, with_positions
from jaxphys.metrics import broken_bonds, stereo_errors
from jaxphys.models import DenoiserConfig, MultiTask, check_species, denoise_fn, energy_fn
from jaxphys.molecule import stack_graphs
from jaxphys.training import load_params
from jaxphys.units import KCAL_PER_MOL_IN_EV

RUN = Path("runs/consistency-quick-0")
BLOCK = 64


@dataclasses.dataclass(frozen=True)
class Generator:
    """A trained model. denoise: as `sample` takes it; energy: (params, graph, positions) to eV.

    check: raises ValueError for atomic numbers that the model does not know; largest: atoms of the largest
    molecule that it was trained on; name, level: of the model, and of the energies that it learned.
    """

    params: Any
    denoise: Denoise
    energy: Callable[[Any, Any, Any], Any]
    check: Callable[[Any], None]
    sampler: Sampler
    largest: int
    name: str
    level: str


@dataclasses.dataclass(frozen=True, eq=False)
class Conformers:
    """Structures of one molecule, the lowest first: positions (k, n, 3) in Å, energies (k,) in eV.

    copies: how many samples each structure stands for. left_out: samples that were none, in words with their
    number, by reason.
    """

    positions: Float[np.ndarray, "k n 3"]
    energies: Float[np.ndarray, " k"]
    copies: list[int]
    left_out: dict[str, int]


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """The command `predict` beside the others; its options are what `predict` takes."""
    parser = commands.add_parser(
        "predict",
        help="conformers of a SMILES of your own, ranked by energy",
        description="Conformers of a molecule by a trained model, as an SDF, ranked by its energies.",
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.set_defaults(command="predict")
    parser.add_argument("smiles", help="of one closed-shell molecule; stereochemistry left open is drawn")
    parser.add_argument("--samples", type=int, default=10, help="structures to draw (default: 10)")
    parser.add_argument("--out", type=Path, default=Path("conformers.sdf"), help="default: conformers.sdf")
    parser.add_argument("--run", type=Path, default=RUN, help=f"folder of a training run (default: {RUN})")
    parser.add_argument("--arm", default="proximal", help="of the run (default: proximal)")
    parser.add_argument("--steps", type=int, help="calls of the model from noise (default: as in training)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise and of open stereochemistry")
    return parser


def predict(
    smiles: str, *, run: Path, arm: str, samples: int, steps: int | None, seed: int, out: Path
) -> None:
    """Write the conformers of a SMILES to an SDF file, the lowest first, and print a table of them.

    Raises ValueError for what cannot be done, in one line; what is only doubtful is a warning on stderr.
    """
    if samples < 1 or seed < 0:
        raise ValueError(f"--samples must be at least 1 and --seed not negative, got {samples} and {seed}")
    mol = parse_smiles(smiles)
    generator = load_generator(run, arm)
    if steps is not None:
        generator = dataclasses.replace(
            generator, sampler=dataclasses.replace(generator.sampler, steps=steps)
        )
    generator.check([atom.GetAtomicNum() for atom in mol.GetAtoms()])
    _warn_of_doubts(mol, generator)
    found = generate(generator, mol, samples, seed)
    if found.left_out:
        _warn(f"left out of {samples} samples: {_listed(found.left_out)}")
    if not len(found.positions):
        raise ValueError(f"none of {samples} samples of {smiles} is sound: {_listed(found.left_out)}")
    write_sdf(out, mol, found, generator)
    print(_table(found))
    print(f"written: {out}, {len(found.positions)} conformers of {samples} samples, energies of the model")


def load_generator(run: Path, arm: str) -> Generator:
    """One arm's model of a run folder. Raises ValueError if there is none, or it has no energies."""
    if not run.is_dir():
        raise ValueError(
            f"{run} is no run folder: python -m experiments.consistency makes one, --run names another"
        )
    if not (run / arm).is_dir():
        arms = sorted(path.parent.name for path in run.glob("*/metrics.jsonl"))
        raise ValueError(f"{run} has no arm {arm!r}, only {', '.join(arms) or 'none at all'}: --arm names it")
    params, config, _ = load_params(run / arm)
    if config.get("experiment") != "consistency":
        raise ValueError(f"{run / arm} is no checkpoint of experiments.consistency: {config}"[:300])
    if "energy" not in params.get("params", params):
        raise ValueError(f"the model of {run / arm} has no energies to rank by: choose another --arm")
    settings: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in config["model"].items()}
    model_config = DenoiserConfig(**settings)
    model = MultiTask(model_config)
    return Generator(
        params=params,
        denoise=lambda params, graph, x, sigma: denoise_fn(model, params, graph)(x, sigma),
        energy=lambda params, graph, x: energy_fn(model, params, graph)(x),
        check=functools.partial(check_species, model_config),
        sampler=Sampler(**config["sampler"]),
        largest=int(config["largest"]),
        name=f"{run.name}/{arm}",
        level=config.get("level", "GFN2-xTB"),
    )


def generate(generator: Generator, mol: Chem.Mol, samples: int, seed: int) -> Conformers:
    """Draw samples of one molecule, leave out those that are not it, merge those that are one, and rank them.

    Left out are samples that are not finite, or whose bonds or stereochemistry are not those of the graph.
    """
    # each draws the stereochemistry that the graph leaves open anew
    graphs = stack_graphs([bond_graph(mol, seed=seed * samples + i) for i in range(samples)])
    drawn = sample(
        generator.denoise, generator.params, graphs, jax.random.key(seed), generator.sampler, block=BLOCK
    )
    solve = jax.jit(jax.vmap(functools.partial(generator.energy, generator.params)))
    energies = map_batches(lambda batch: solve(*batch), (graphs, drawn), min(samples, BLOCK))
    positions = np.asarray(drawn, np.float64)[:, : mol.GetNumAtoms()]
    energies = np.asarray(energies, np.float64)
    reasons = [_reason(mol, x, energy) for x, energy in zip(positions, energies, strict=True)]
    kept = np.array([reason is None for reason in reasons])
    left_out = {reason: reasons.count(reason) for reason in reasons if reason is not None}
    positions, energies = positions[kept], energies[kept]
    groups = distinct(mol, positions, energies)
    leaders = [group[0] for group in groups]
    return Conformers(positions[leaders], energies[leaders], [len(group) for group in groups], left_out)


def write_sdf(out: Path, mol: Chem.Mol, found: Conformers, generator: Generator) -> None:
    """The conformers as an SDF, with energies above the lowest in kcal/mol, and what they come from."""
    out.parent.mkdir(parents=True, exist_ok=True)
    conformers = with_positions(mol, found.positions)
    with Chem.SDWriter(str(out)) as writer:
        for rank, energy in enumerate(_above(found)):
            one = with_positions(mol, found.positions[[rank]])
            Chem.AssignStereochemistryFrom3D(one)
            smiles = Chem.MolToSmiles(Chem.RemoveHs(one))
            conformers.SetProp("_Name", smiles)
            conformers.SetProp("rank", str(rank + 1))
            conformers.SetProp("energy_kcal_per_mol", f"{energy:.3f}")
            conformers.SetProp("stereo_ok", "true")
            conformers.SetProp("samples", str(found.copies[rank]))
            conformers.SetProp("smiles", smiles)
            conformers.SetProp("model", generator.name)
            conformers.SetProp("level", f"{generator.level}, as learned by the model")
            writer.write(conformers, confId=rank)


def _reason(mol: Chem.Mol, positions: Float[np.ndarray, "n 3"], energy: float) -> str | None:
    """Why a sample is no conformer of the molecule."""
    if not (np.isfinite(positions).all() and np.isfinite(energy)):
        return "not finite"
    if broken_bonds(mol, positions):
        return "other bonds"
    return "wrong stereochemistry" if stereo_errors(mol, positions) else None


def _warn_of_doubts(mol: Chem.Mol, generator: Generator) -> None:
    if mol.GetNumAtoms() > generator.largest:
        _warn(
            f"{mol.GetNumAtoms()} atoms, and the model was trained on at most {generator.largest}: "
            "look at its structures with care"
        )
    unspecified = Chem.StereoSpecified.Unspecified
    still_open = [info for info in Chem.FindPotentialStereo(mol) if info.specified == unspecified]
    if still_open:
        _warn(
            f"the SMILES leaves {len(still_open)} stereocentres or double bonds open: each sample draws its "
            "own, so energies are of different isomers"
        )


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in counts.items())


def _above(found: Conformers) -> Float[np.ndarray, " k"]:
    return (found.energies - found.energies[0]) / KCAL_PER_MOL_IN_EV


def _table(found: Conformers) -> str:
    rows = [
        [str(rank + 1), f"{energy:.2f}", str(copies)]
        for rank, (energy, copies) in enumerate(zip(_above(found), found.copies, strict=True))
    ]
    return report.format_table(rows, ["rank", "energy (kcal/mol)", "samples"])
