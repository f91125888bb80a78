"""A picture of a lattice: predicted spins beside the exact ground state, with the bonds that each breaks."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from jaxphys import report
from jaxphys.data import lattice_energies

LETTERS = 22  # of a line above a lattice
UP, DOWN = "#FFFFFF", "#4A6A8A"


def plot_lattice(
    path: Path,
    states: Mapping[str, np.ndarray],
    exact: np.ndarray,
    right: np.ndarray,
    down: np.ndarray,
) -> None:
    """Spins (rows, columns) by title, of the sign nearer to the exact ones, which come last, as a PNG.

    Broken bonds, those with J s s < 0, are lines as thick as |J|; spins unlike the exact ones have a dot.
    """
    lowest = lattice_energies(exact[None], right[None], down[None])[0]
    panels = {}
    for name, spins in states.items():
        gap = lattice_energies(spins[None], right[None], down[None])[0] - lowest
        title = f"{textwrap.fill(name, LETTERS)}\ngap {max(gap, 0.0):.2f} J"
        panels[title] = spins * (1 if np.sum(spins * exact) >= 0 else -1)
    panels["exact ground state"] = exact
    side = min(report.WIDTH / len(panels) * 1.25, 3.2)
    with rc_context(report.STYLE | {"axes.titlesize": 9.0, "axes.titleweight": "normal"}):
        figure = Figure(figsize=(side * len(panels), side + 0.7), layout="constrained")
        for axes, (title, spins) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
        ):
            _draw(axes, spins, exact, right, down)
            axes.set_title(title)
        FigureCanvasAgg(figure).print_figure(str(path), dpi=report.DOTS_PER_INCH, format="png")


def _draw(axes: Axes, spins: np.ndarray, exact: np.ndarray, right: np.ndarray, down: np.ndarray) -> None:
    rows, columns = spins.shape
    for (i, j), spin in np.ndenumerate(spins):
        axes.add_patch(_square(j, i, UP if spin > 0 else DOWN))
    for i, j in np.argwhere(right[:, :-1] * spins[:, :-1] * spins[:, 1:] < 0):
        axes.plot(
            [j + 0.5, j + 0.5], [i - 0.5, i + 0.5], color=report.COLOURS[1], linewidth=3 * abs(right[i, j])
        )
    for i, j in np.argwhere(down[:-1] * spins[:-1] * spins[1:] < 0):
        axes.plot(
            [j - 0.5, j + 0.5], [i + 0.5, i + 0.5], color=report.COLOURS[1], linewidth=3 * abs(down[i, j])
        )
    wrong = np.argwhere(spins != exact)
    axes.plot(wrong[:, 1], wrong[:, 0], "o", color=report.COLOURS[6], markersize=2.5)
    axes.set(xlim=(-0.6, columns - 0.4), ylim=(rows - 0.4, -0.6), aspect="equal", xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _square(x: float, y: float, colour: str) -> Rectangle:
    return Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colour, edgecolor="#DDDDDD", linewidth=0.4)
