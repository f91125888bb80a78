"""Molecules of one's own for `experiments.consistency`: a file of SMILES."""

from __future__ import annotations

import sys
from pathlib import Path

from rdkit import Chem

from jaxphys.data.conformers import ForceFieldMethod, check_parameters, parse_smiles


def read_smiles(path: Path, method: ForceFieldMethod) -> tuple[str, ...]:
    """The SMILES of a file, one a line; blank lines and what follows a # after a space are skipped.

    A molecule that was there before is left out, with a note on stderr. Raises ValueError naming file and
    line for what is no closed-shell molecule of one fragment or has no parameters in the force field
    `method`, and for a file that is not text; OSError if it cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file of SMILES: {error.reason} at {error.start}") from None
    first: dict[str, int] = {}
    found = []
    for number, line in enumerate(lines, start=1):
        text = _without_comment(line)
        if not text:
            continue
        same = _canonical(text, method, f"{path}, line {number}")
        if same in first:
            note = f"{text} is the molecule of line {first[same]}, left out"
            print(f"note: {path}, line {number}: {note}", file=sys.stderr)
            continue
        first[same] = number
        found.append(text)
    return tuple(found)


def _without_comment(line: str) -> str:
    """A # within a SMILES is a triple bond."""
    words = line.split()
    comment = next((i for i, word in enumerate(words) if word.startswith("#")), len(words))
    return " ".join(words[:comment])


def _canonical(text: str, method: ForceFieldMethod, where: str) -> str:
    if " " in text:
        raise ValueError(f"{where}: {text!r} is more than a SMILES; a comment begins with #")
    try:
        mol = parse_smiles(text)
        check_parameters(mol, method)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return Chem.MolToSmiles(Chem.RemoveHs(mol))
