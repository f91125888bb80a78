"""Finished runs of one experiment, read for one table of several seeds."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any


def read_runs(
    runs: Sequence[Path], experiment: str, *, of_seed: Collection[str] = ("seed",)
) -> list[dict[str, Any]]:
    """The results.json of each run: "config", and "results" by arm.

    of_seed: settings that seeds may differ in. Raises ValueError for no runs, folders without results or of
    another experiment, different arms, test sets or settings, and one seed twice.
    """
    if not runs:
        raise ValueError("no runs to combine")
    found = [_read(run, experiment) for run in runs]
    for other, run in zip(found[1:], runs[1:], strict=True):
        if _arms_and_sets(other) != _arms_and_sets(found[0]):
            raise ValueError(f"{runs[0]} and {run} do not have the same arms and test sets")
        mine, theirs = found[0]["config"], other["config"]
        for key in {**mine, **theirs}:
            if key not in of_seed and mine.get(key) != theirs.get(key):
                raise ValueError(f"{runs[0]} and {run} differ in {key}: combine runs that differ in the seed")
    seeds = [one["config"].get("seed") for one in found]
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"the runs must be of different seeds, got {seeds}")
    return found


def _read(run: Path, experiment: str) -> dict[str, Any]:
    path = run / "results.json"
    if not path.is_file():
        raise ValueError(f"{run} holds no results.json of a finished run")
    found = json.loads(path.read_text(encoding="utf-8"))
    if found.get("config", {}).get("experiment") != experiment:
        raise ValueError(f"{path} is not of experiments.{experiment}")
    return found


def _arms_and_sets(found: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    return [(arm, list(row.get("sets", ()))) for arm, row in found["results"].items()]
