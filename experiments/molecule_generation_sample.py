"""A trained model of `experiments.molecule_generation` at work: new molecules as an SDF."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rdkit import Chem

from experiments.molecule_generation_sampling import Sampler, generate
from jaxphys.metrics import connectivity, perceive, stable_atoms
from jaxphys.metrics.generation import Geometry
from jaxphys.models import GeneratorConfig, MoleculeGenerator
from jaxphys.training import load_params

RUN = Path("runs/molecule_generation-quick-0")
ARM = "exponential"


@dataclasses.dataclass(frozen=True)
class Generator:
    """A trained model. sizes: how many molecules of each number of atoms it was trained on."""

    model: MoleculeGenerator
    params: Any
    sampler: Sampler
    sizes: dict[int, int]
    name: str


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """The command `sample` beside the others; its options are what `sample` takes."""
    parser = commands.add_parser(
        "sample",
        help="new molecules by a trained model, as an SDF",
        description="New molecules by a trained model; those that are none are left out, and counted.",
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.set_defaults(command="sample")
    parser.add_argument("--n", type=int, default=100, help="molecules to make (default: 100)")
    parser.add_argument("--out", type=Path, default=Path("molecules.sdf"), help="default: molecules.sdf")
    parser.add_argument("--run", type=Path, default=RUN, help=f"folder of a training run (default: {RUN})")
    parser.add_argument("--arm", default=ARM, help=f"of the run (default: {ARM})")
    parser.add_argument("--atoms", type=int, help="atoms of each (default: drawn as in the training data)")
    parser.add_argument("--steps", type=int, help="calls of the model (default: as in training)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise and the numbers of atoms")
    return parser


def sample(
    n: int, *, run: Path, arm: str, atoms: int | None, steps: int | None, seed: int, out: Path
) -> None:
    """Write the valid ones of n new molecules to an SDF file, and print how many and how long it took.

    Raises ValueError for what cannot be done, in one line; what is only doubtful is a warning on stderr.
    """
    if n < 1 or seed < 0:
        raise ValueError(f"--n must be at least 1 and --seed not negative, got {n} and {seed}")
    if atoms is not None and atoms < 1:
        raise ValueError(f"a molecule needs at least one atom, got --atoms {atoms}")
    generator = load_generator(run, arm)
    if atoms is not None and atoms not in generator.sizes:
        known = f"{min(generator.sizes)} to {max(generator.sizes)}"
        print(f"warning: trained on molecules of {known} atoms, {atoms} are asked for", file=sys.stderr)
    sampler = generator.sampler if steps is None else dataclasses.replace(generator.sampler, steps=steps)
    started = time.perf_counter()
    counts = numbers_of_atoms(generator.sizes, n, seed) if atoms is None else [atoms] * n
    found = generate(generator.model, generator.params, counts, seed, sampler)
    seconds = time.perf_counter() - started
    mols, left_out = sort_out(found)
    if left_out:
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        print(f"left out of {n} molecules: {reasons}", file=sys.stderr)
    if not mols:
        raise ValueError(f"none of {n} molecules is valid: train longer, or choose another --arm")
    write_sdf(out, mols, generator.name)
    different = len({connectivity(mol) for mol in mols})
    print(f"written: {out}, {len(mols)} molecules, {different} different ones; {n} made in {seconds:.1f} s")


def load_generator(run: Path, arm: str) -> Generator:
    """One arm's model of a run folder. Raises ValueError if there is none."""
    if not run.is_dir():
        raise ValueError(
            f"{run} is no run folder: python -m experiments.molecule_generation makes one, --run names it"
        )
    if not (run / arm).is_dir():
        arms = sorted(path.parent.name for path in run.glob("*/metrics.jsonl"))
        raise ValueError(f"{run} has no arm {arm!r}, only {', '.join(arms) or 'none at all'}: --arm names it")
    params, config, _ = load_params(run / arm)
    if config.get("experiment") != "molecule_generation":
        raise ValueError(f"{run / arm} is no checkpoint of experiments.molecule_generation: {config}"[:300])
    settings: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in config["model"].items()}
    return Generator(
        model=MoleculeGenerator(GeneratorConfig(**settings)),
        params=params,
        sampler=Sampler(**config["sampler"]),
        sizes={int(size): count for size, count in config["sizes"].items()},
        name=f"{run.name}/{arm}",
    )


def numbers_of_atoms(sizes: dict[int, int], n: int, seed: int) -> list[int]:
    """Numbers of atoms drawn as often as the training molecules have them."""
    counts = np.array(list(sizes.values()))
    drawn = np.random.default_rng(seed).choice(list(sizes), size=n, p=counts / counts.sum())
    return [int(count) for count in drawn]


def sort_out(found: Sequence[Geometry]) -> tuple[list[Chem.Mol], dict[str, int]]:
    """The valid molecules, and of the others how many there are, by reason."""
    mols, reasons = [], Counter[str]()
    for numbers, positions in found:
        if not np.isfinite(positions).all():
            reasons["not finite"] += 1
        elif (mol := perceive(numbers, positions)) is None:
            reasons["without sound bonds"] += 1
        else:
            mols.append(mol)
    return mols, dict(reasons)


def write_sdf(path: Path, mols: Sequence[Chem.Mol], model: str) -> None:
    """The molecules with bonds, SMILES, and whether all of their atoms are stable; Å."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with Chem.SDWriter(str(path)) as writer:
        for mol in mols:
            smiles = Chem.MolToSmiles(Chem.RemoveHs(mol))
            numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
            stable = bool(stable_atoms(numbers, mol.GetConformer().GetPositions()).all())
            mol.SetProp("_Name", smiles)
            mol.SetProp("smiles", smiles)
            mol.SetProp("stable", str(stable).lower())
            mol.SetProp("model", model)
            writer.write(mol)
