"""The metrics of a run as JSON lines, kept free of doubles when a run is resumed."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class MetricsLog:
    """A file of JSON lines `{"step": ..., "seconds": ..., metric: value, ...}`.

    A metric that is not finite is written as null.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def read(self) -> list[dict[str, Any]]:
        """The lines as dicts, [] if there is no file; a half-written last line does not count.

        Raises ValueError for any other line that is not of this form.
        """
        if not self.path.exists():
            return []
        lines = self.path.read_text().splitlines()
        records = []
        for number, line in enumerate(lines, start=1):
            try:
                record = json.loads(line)
                if not isinstance(record, dict) or "step" not in record or "seconds" not in record:
                    raise ValueError("no step and seconds")
            except ValueError as error:
                if number == len(lines):
                    break
                raise ValueError(
                    f"{self.path}, line {number} is no line of metrics: {line[:80]!r}"
                ) from error
            records.append(record)
        return records

    def resume(self, step: int) -> float:
        """Drop the lines after `step`, which a run starting there writes again; the seconds up to there."""
        kept = [record for record in self.read() if record["step"] <= step]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Written aside and renamed, so that a kill in between loses nothing.
        aside = self.path.with_name(self.path.name + ".tmp")
        aside.write_text("".join(json.dumps(record) + "\n" for record in kept))
        os.replace(aside, self.path)
        return float(kept[-1]["seconds"]) if kept else 0.0

    def write(self, step: int, seconds: float, metrics: Mapping[str, Any]) -> None:
        """Append one line."""
        values = {name: float(value) for name, value in metrics.items()}
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, "seconds": round(seconds, 3), **finite}) + "\n")
