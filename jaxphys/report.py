"""What an experiment leaves for people: tables in Markdown, results as JSON, plots as PNG.

Knows no physics: units stand in the labels. Plots use Matplotlib's objects, so that no global state changes.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

# Okabe and Ito's colours, which the colour-blind tell apart, without the yellow, which is faint on white
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", ":", "-.")  # beyond seven curves, and in grey print
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
WIDTH = 7.0  # inches at 150 dots: one and a quarter times a README's width
DOTS_PER_INCH = 150
MANY_CURVES = 6  # whose legend would hide them: it stands beside
FEW_POINTS = 30  # so many still are data points and no curve
DECADES = 5  # of a logarithmic colour scale
STYLE: dict[Any, Any] = {
    "font.size": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlesize": 11.0,
    "legend.edgecolor": "none",
    "legend.framealpha": 0.85,
    "axes.formatter.useoffset": False,
}

NUMBER = re.compile(
    r"([-+−]?(\d[\d,]*(\.\d*)?(e[-+]?\d+)?|nan|inf))(\s*(±\s*[\d.e+-]+|[%×x]))?", re.IGNORECASE
)
EMPTY = ("", "-", "–", "—")


def format_number(x: Any) -> str:
    """A number with three significant digits; integers, and all digits before the point, in full.

    Plain from 0.01 to a million in size, else as 1.23e-4. x: a Python, NumPy or JAX scalar.
    """
    value = np.asarray(x).item()
    if isinstance(value, int):
        return str(value)
    if not math.isfinite(value) or value == 0:
        return "0" if value == 0 else f"{value:g}"
    mantissa, exponent = f"{value:.2e}".split("e")  # rounds first, so that 0.9999 becomes 1.00
    power = int(exponent)
    if -2 <= power <= 5:
        return f"{value:.{max(0, 2 - power)}f}"
    return f"{mantissa}e{power}"


def format_table(rows: Sequence[Sequence[str]], header: Sequence[str]) -> str:
    """A table in GitHub's Markdown, aligned in plain text too; columns of numbers stand to the right.

    rows: cells as text, each row as long as the header. A column counts as numbers if each of its cells is
    one, with ±, % or × behind it, or empty, and not all are. Raises ValueError for a row of another length.
    """
    for index, row in enumerate(rows):
        if len(row) != len(header):
            raise ValueError(f"row {index} has {len(row)} cells, the header has {len(header)}: {list(row)}")
    cells = [[_escape(cell) for cell in row] for row in (header, *rows)]
    columns = list(zip(*cells, strict=True))
    widths = [max(3, *map(len, column)) for column in columns]
    right = [_is_numeric(column[1:]) for column in columns]
    rule = ["-" * (w - 1) + ":" if r else "-" * w for w, r in zip(widths, right, strict=True)]
    lines = [
        [cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right, strict=True)]
        for row in cells
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in (lines[0], rule, *lines[1:]))


def _escape(cell: str) -> str:
    return " ".join(cell.split()).replace("|", r"\|")


def _is_numeric(column: Sequence[str]) -> bool:
    filled = [cell for cell in column if cell not in EMPTY]
    return bool(filled) and all(NUMBER.fullmatch(cell) for cell in filled)


def save_json(path: str | Path, obj: Any) -> None:
    """Write an object as indented JSON; a kill in between leaves the old file, or none.

    Arrays and scalars of NumPy and JAX become lists and numbers, paths text, and numbers that are not
    finite null, which JSON lacks. Raises TypeError for anything else that is not JSON.
    """
    path = Path(path)
    text = json.dumps(_plain(obj), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".tmp")
    aside.write_text(text, encoding="utf-8")
    os.replace(aside, path)


def _plain(obj: Any) -> Any:
    if isinstance(obj, Mapping):
        return {str(key): _plain(value) for key, value in obj.items()}
    if isinstance(obj, (list, tuple)):
        return [_plain(value) for value in obj]
    if isinstance(obj, Path):
        return str(obj)
    if hasattr(obj, "tolist"):  # arrays and scalars of NumPy and JAX
        return _plain(obj.tolist())
    if isinstance(obj, float):
        return obj if math.isfinite(obj) else None
    if obj is None or isinstance(obj, (str, bool, int)):
        return obj
    raise TypeError(f"cannot write {type(obj).__name__} as JSON: {obj!r}")


def plot_curves(
    path: str | Path,
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    xlabel: str,
    ylabel: str,
    title: str,
    log: bool = True,
    log_x: bool = False,
    equal: bool = False,
) -> None:
    """Curves by label, each (x, y) of one length, as a PNG; units stand in the axis labels.

    log, log_x: logarithmic y and x axis, on which values that are not positive are gaps, if any is positive.
    equal: one scale for both axes, for shapes, and the legend beside them.
    Raises ValueError if lengths differ.
    """
    pairs = {label: _pair(label, *curve) for label, curve in curves.items()}
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
        axes = figure.subplots()
        for index, (label, (x, y)) in enumerate(pairs.items()):
            axes.plot(x, y, label=label, **_line(index, len(x)))
        if log and any(np.any(y > 0) for _, y in pairs.values()):
            axes.set_yscale("log", nonpositive="mask")
        if log_x and any(np.any(x > 0) for x, _ in pairs.values()):
            axes.set_xscale("log", nonpositive="mask")
        if equal:
            axes.set_aspect("equal", adjustable="datalim")
        axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
        _label(axes, xlabel, ylabel, title, beside=equal)
        _save(figure, path)


def plot_boxes(
    path: str | Path,
    groups: Mapping[str, ArrayLike],
    *,
    xlabel: str,
    title: str,
    log: bool = False,
) -> None:
    """Median, quartiles and the 5 and 95 % quantiles of each group's values, a box a group, as a PNG.

    groups: by name, drawn downwards, the median written beside. Values that are not finite, and on a
    logarithmic axis those that are not positive, stand at the edge; a group without values is an empty row.
    """
    values = {name: np.asarray(group, dtype=float).ravel() for name, group in groups.items()}
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1.1 + 0.33 * max(len(values), 1)), layout="constrained")
        axes = figure.subplots()
        finite = np.concatenate([*values.values(), np.zeros(0)])
        finite = finite[np.isfinite(finite) & ((finite > 0) | (not log))]
        if log and len(finite):
            axes.set_xscale("log")
        edges = (finite.min(), finite.max()) if len(finite) else (0.0, 1.0)
        for row, group in enumerate(values.values()):
            _box(axes, row, np.clip(np.nan_to_num(group, nan=np.inf), *edges))
        axes.set_yticks(range(len(values)), list(values))
        axes.invert_yaxis()
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color="#DDDDDD", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel(xlabel)
        # from the edge: names leave the axes little of the width
        figure.suptitle(title, x=0.01, horizontalalignment="left", fontsize=11.0, fontweight="bold")
        _save(figure, path)


def plot_parity(
    path: str | Path,
    groups: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    label: str,
    title: str,
) -> None:
    """Predicted against reference values, and the sizes of their differences on a log scale, as a PNG.

    groups: (reference, predicted) by name, drawn in this order. label: the quantity with its unit in brackets
    at the end, as in "HOMO (eV)": the legend repeats the unit with each group's mean absolute error. Raises
    ValueError if lengths differ.
    """
    unit = re.search(r"\(([^()]*)\)\s*$", label)
    suffix = f" {unit.group(1)}" if unit else ""
    pairs = {name: _pair(name, *pair) for name, pair in groups.items()}
    with rc_context(STYLE):
        figure = Figure(figsize=(1.25 * WIDTH, 0.62 * WIDTH), layout="constrained")
        parity, errors = figure.subplots(1, 2)
        for index, (name, (reference, predicted)) in enumerate(pairs.items()):
            error = format_number(np.mean(np.abs(predicted - reference))) if len(reference) else "nan"
            style = _dots(index, len(reference))
            parity.plot(reference, predicted, label=f"{name}, MAE {error}{suffix}", **style)
            errors.plot(reference, np.abs(predicted - reference), **style)
        limits = _limits([values for pair in pairs.values() for values in pair])
        parity.axline((limits[0], limits[0]), slope=1, color="#777777", linewidth=1.0, zorder=0)
        parity.set(xlim=limits, ylim=limits, aspect="equal")
        if any(np.any(reference != predicted) for reference, predicted in pairs.values()):
            errors.set_yscale("log", nonpositive="mask")
        errors.set(xlim=limits, box_aspect=1)
        _label(parity, f"reference {label}", "predicted", title)
        _label(
            errors, f"reference {label}", f"|predicted − reference|{suffix and f' ({suffix.strip()})'}", ""
        )
        _save(figure, path)


def plot_matrices(path: str | Path, panels: Mapping[str, ArrayLike], *, unit: str) -> None:
    """Sizes of matrix elements, a panel a matrix by title, in one logarithmic colour scale, as a PNG.

    panels: 2-D arrays; their absolute values are shown, at most five decades of them, smaller ones in the
    lowest colour, NaN in red. unit: the label of the scale. Raises ValueError for no panels or other
    dimensions.
    """
    matrices = {title: np.abs(np.asarray(matrix, dtype=float)) for title, matrix in panels.items()}
    if not matrices:
        raise ValueError("plot_matrices needs at least one panel, got none")
    for title, matrix in matrices.items():
        if matrix.ndim != 2:
            raise ValueError(f"panel {title!r} must have 2 dimensions, got shape {matrix.shape}")
    lowest, highest = _decades(list(matrices.values()))
    scale, colours = LogNorm(lowest, highest), colormaps["viridis"].with_extremes(bad="red")
    lines = -(-len(matrices) // 4)
    columns = -(-len(matrices) // lines)
    side = min(WIDTH / columns, 3.2)
    with rc_context(STYLE | {"axes.titlesize": 9.5, "axes.titleweight": "normal"}):
        figure = Figure(figsize=(side * columns + 0.9, (side + 0.2) * lines), layout="constrained")
        all_axes = figure.subplots(lines, columns, squeeze=False).ravel()
        for axes in all_axes[len(matrices) :]:
            axes.remove()
        for axes, (title, matrix) in zip(all_axes, matrices.items(), strict=False):
            # clipped, because a logarithm of zero would look like NaN
            image = axes.imshow(np.maximum(matrix, lowest), norm=scale, cmap=colours, interpolation="none")
            axes.set(title=title, xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        figure.colorbar(image, ax=list(all_axes[: len(matrices)]), label=unit, shrink=0.8, pad=0.02)
        _save(figure, path)


def plot_surfaces(
    path: str | Path,
    panels: Mapping[str, ArrayLike],
    edges: tuple[ArrayLike, ArrayLike],
    *,
    xlabel: str,
    ylabel: str,
    unit: str,
    highest: float,
) -> None:
    """Free energies over two coordinates, a panel a surface by title, in one colour scale from 0, as a PNG.

    panels: (x, y) each; what is above `highest` or infinite, where there is no sample, stays white. edges: of
    the cells, (x + 1,) and (y + 1,). unit: the label of the scale. Raises ValueError for no panels or others.
    """
    surfaces = {title: np.asarray(surface, dtype=float) for title, surface in panels.items()}
    x, y = (np.asarray(edge, dtype=float) for edge in edges)
    if not surfaces:
        raise ValueError("plot_surfaces needs at least one panel, got none")
    for title, surface in surfaces.items():
        if surface.shape != (len(x) - 1, len(y) - 1):
            cells = (len(x) - 1, len(y) - 1)
            raise ValueError(
                f"panel {title!r} must have the cells of the edges, {cells}, got {surface.shape}"
            )
    columns = min(len(surfaces), 3)
    lines = -(-len(surfaces) // columns)
    with rc_context(STYLE | {"axes.titlesize": 9.5, "axes.titleweight": "normal"}):
        size = (1.25 * WIDTH, 1.25 * WIDTH / columns * lines)
        figure = Figure(figsize=size, layout="constrained")
        all_axes = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True).ravel()
        for axes in all_axes[len(surfaces) :]:
            axes.remove()
        for axes, (title, surface) in zip(all_axes, surfaces.items(), strict=False):
            shown = np.ma.masked_where(~(surface <= highest), surface).T
            image = axes.pcolormesh(x, y, shown, vmin=0, vmax=highest, cmap="viridis", rasterized=True)
            axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
            axes.label_outer()
        figure.colorbar(image, ax=list(all_axes[: len(surfaces)]), label=unit, shrink=0.8, pad=0.02)
        _save(figure, path)


def _box(axes: Axes, row: int, values: np.ndarray) -> None:
    if not len(values):
        return
    low, first, median, third, high = np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95])
    axes.plot([low, high], [row, row], color="#777777", linewidth=1.2)
    axes.barh(row, third - first, left=first, height=0.6, color=COLOURS[5], edgecolor="none")
    axes.plot([median, median], [row - 0.3, row + 0.3], color="#000000", linewidth=1.8)
    axes.annotate(
        format_number(median),
        (high, row),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        fontsize=8.5,
    )


def _dots(index: int, count: int) -> dict[str, Any]:
    return {
        "linestyle": "none",
        "marker": MARKERS[index % len(MARKERS)],
        "markersize": 4.5 if count < 1000 else 2.5,
        "markeredgewidth": 0,
        "alpha": 0.7,
        "color": COLOURS[index % len(COLOURS)],
    }


def _line(index: int, count: int) -> dict[str, Any]:
    return {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": DASHES[index // len(COLOURS) % len(DASHES)],
        "linewidth": 1.6,
        "marker": MARKERS[index % len(MARKERS)] if count <= FEW_POINTS else None,
        "markersize": 5,
    }


def _decades(matrices: Sequence[np.ndarray]) -> tuple[float, float]:
    """Range of the positive values, at least one and at most DECADES decades below the largest."""
    values = np.concatenate([matrix.ravel() for matrix in matrices])
    values = values[np.isfinite(values) & (values > 0)]
    if not len(values):
        return 0.1, 1.0
    highest = float(values.max())
    return float(np.clip(values.min(), highest * 10.0**-DECADES, highest / 10)), highest


def _pair(name: str, first: ArrayLike, second: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    left, right = np.asarray(first, dtype=float).ravel(), np.asarray(second, dtype=float).ravel()
    if left.shape != right.shape:
        raise ValueError(f"{name!r} needs two arrays of one length, got {len(left)} and {len(right)}")
    return left, right


def _limits(arrays: Sequence[np.ndarray]) -> tuple[float, float]:
    """Range of all finite values with a margin of 4 %, or (0, 1)."""
    values = np.concatenate(arrays) if arrays else np.zeros(0)
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    margin = 0.04 * (high - low) or 0.5
    return low - margin, high + margin


def _label(axes: Axes, xlabel: str, ylabel: str, title: str, *, beside: bool = False) -> None:
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    count = len(axes.get_legend_handles_labels()[0])
    if count > MANY_CURVES or (beside and count):
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    elif count:
        axes.legend()


def _save(figure: Figure, path: str | Path) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_figure(str(path), dpi=DOTS_PER_INCH, format="png")
