"""Tables to the letter, JSON that survives a failure, and plots whose content is read back."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import imread

from jaxphys import report


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (237.71, "238"),
        (52.486, "52.5"),
        (1.0, "1.00"),
        (0.99999, "1.00"),
        (99.96, "100"),
        (0.01234, "0.0123"),
        (0.0099996, "0.0100"),
        (0.001234, "1.23e-3"),
        (-0.5, "-0.500"),
        (12345.6, "12346"),
        (1e5, "100000"),
        (1234567.0, "1.23e6"),
        (7, "7"),
        (12345678, "12345678"),
        (np.int32(42), "42"),
        (np.float32(2.5), "2.50"),
        (jnp.asarray(3), "3"),
        (jnp.asarray(0.25), "0.250"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
    ],
)
def test_format_number(number, text):
    assert report.format_number(number) == text


class TestTable:
    def test_text(self):
        rows = [
            ["CCO", "zero-shot", "238", "1.2e-3", ""],
            ["CC(=O)N", "self-consistency", "52.5", "nan", "4.5×"],
        ]
        assert report.format_table(rows, ["molecule", "setting", "H (µEh)", "E", "gain"]) == (
            "| molecule | setting          | H (µEh) |      E | gain |\n"
            "| -------- | ---------------- | ------: | -----: | ---: |\n"
            "| CCO      | zero-shot        |     238 | 1.2e-3 |      |\n"
            "| CC(=O)N  | self-consistency |    52.5 |    nan | 4.5× |"
        )

    def test_cells_cannot_break_the_table(self):
        assert report.format_table([["C|C", "two\nlines"]], ["a", "b"]) == (
            "| a    | b         |\n| ---- | --------- |\n| C\\|C | two lines |"
        )

    @pytest.mark.parametrize(
        ("cell", "numeric"),
        [
            *((cell, True) for cell in ("1,234", "52.5 ± 0.3", "94.5 %", "-3.", "−3", "NaN", "2.1x")),
            *((cell, False) for cell in ("C1", "2 of 3", "1 2", "", "–")),
        ],
    )
    def test_alignment(self, cell, numeric):
        rule = report.format_table([[cell]], ["x"]).splitlines()[1]
        assert rule.endswith(": |") == numeric

    def test_no_rows(self):
        assert report.format_table([], ["a", "long name"]) == "| a   | long name |\n| --- | --------- |"

    def test_wrong_length(self):
        with pytest.raises(ValueError, match=r"row 1 has 1 cells, the header has 2: \['c'\]"):
            report.format_table([["a", "b"], ["c"]], ["x", "y"])


class TestJson:
    def test_round_trip(self, tmp_path):
        path = tmp_path / "new" / "results.json"
        report.save_json(
            path,
            {
                "name": "µEh",
                "values": np.array([1.5, np.nan]),
                "jax": jnp.arange(2),
                "scalar": np.float32(0.5),
                "flag": np.bool_(True),
                "nested": ({"path": Path("a/b"), "none": None},),
                3: float("inf"),
            },
        )
        assert json.loads(path.read_text(encoding="utf-8")) == {
            "name": "µEh",
            "values": [1.5, None],
            "jax": [0, 1],
            "scalar": 0.5,
            "flag": True,
            "nested": [{"path": "a/b", "none": None}],
            "3": None,
        }

    def test_failure_keeps_the_old_file(self, tmp_path, monkeypatch):
        path = tmp_path / "results.json"
        report.save_json(path, {"old": 1})
        with pytest.raises(TypeError, match="cannot write set as JSON"):
            report.save_json(path, {"new": 2, "bad": {1, 2}})
        assert json.loads(path.read_text()) == {"old": 1}

        def killed(self, *args, **kwargs):
            with self.open("w") as file:
                file.write('{"ne')
            raise KeyboardInterrupt

        monkeypatch.setattr(Path, "write_text", killed)
        with pytest.raises(KeyboardInterrupt):
            report.save_json(path, {"new": 2})
        assert json.loads(path.read_text()) == {"old": 1}

    def test_leaves_one_file(self, tmp_path):
        report.save_json(tmp_path / "a.json", [])
        report.save_json(tmp_path / "a.json", [1])
        assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]
        assert (tmp_path / "a.json").read_text() == "[\n  1\n]\n"


@pytest.fixture
def figures(monkeypatch) -> list[Figure]:
    """The figures drawn, in order, to look into."""
    drawn = []
    save = report._save

    def keep(figure, path):
        drawn.append(figure)
        save(figure, path)

    monkeypatch.setattr(report, "_save", keep)
    return drawn


def colours_in(path: Path) -> set[tuple[int, ...]]:
    pixels = np.round(imread(path)[..., :3] * 255).astype(int)
    return set(map(tuple, np.unique(pixels.reshape(-1, 3), axis=0).tolist()))


def test_curves(tmp_path, figures):
    path = tmp_path / "run" / "loss.png"
    steps = np.arange(100)
    curves = {"one": (steps, 0.1 * np.exp(-steps / 20)), "two": ([0, 50, 99], [1.0, 0.0, 0.01])}
    report.plot_curves(path, curves, xlabel="step", ylabel="loss (Ha)", title="Training")
    axes = figures[0].axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "log")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "loss (Ha)")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["one", "two"]
    for line, (x, y) in zip(axes.lines, curves.values(), strict=True):
        np.testing.assert_array_equal(line.get_xydata(), np.transpose([x, y]))
    assert {(0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)} <= colours_in(path)
    report.plot_curves(path, curves, xlabel="x", ylabel="y", title="", log=False, log_x=True)
    assert (figures[1].axes[0].get_xscale(), figures[1].axes[0].get_yscale()) == ("log", "linear")


def test_many_curves_differ(tmp_path, figures):
    curves = {str(i): ([0, 1], [1, i + 1]) for i in range(20)}
    report.plot_curves(tmp_path / "many.png", curves, xlabel="x", ylabel="y", title="")
    looks = {(line.get_color(), line.get_linestyle()) for line in figures[0].axes[0].lines}
    assert len(looks) == len(curves)
    assert figures[0].axes[0].get_legend().get_bbox_to_anchor().x0 >= figures[0].axes[0].bbox.x1


def test_shapes_keep_their_angles(tmp_path, figures):
    square = {"square": ([0, 1, 1, 0, 0], [0, 0, 1, 1, 0]), "wide": ([0, 9], [0, 0])}
    report.plot_curves(tmp_path / "s.png", square, xlabel="x", ylabel="y", title="", log=False, equal=True)
    axes = figures[0].axes[0]
    (left, bottom), (right, top) = axes.transData.transform([(0, 0), (1, 1)])
    assert right - left == pytest.approx(top - bottom)
    assert axes.get_legend().get_bbox_to_anchor().x0 >= axes.bbox.x1


def test_boxes(tmp_path, figures):
    path = tmp_path / "boxes.png"
    groups = {"even": np.arange(1.0, 102.0), "lost": [1.0, 2.0, np.inf, np.nan], "none": []}
    report.plot_boxes(path, groups, xlabel="energy (eV)", title="Samples", log=True)
    axes = figures[0].axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == list(groups)
    assert (axes.get_xlabel(), axes.get_xscale()) == ("energy (eV)", "log")
    boxes = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in axes.patches]
    # unsound values are the worst of all, in a box as in a median
    np.testing.assert_allclose(boxes, [(26.0, 76.0), (1.75, 101.0)])
    assert [text.get_text() for text in axes.texts] == ["51.0", "51.5"]
    np.testing.assert_allclose(axes.lines[0].get_xdata(), [6.0, 96.0])


def test_parity(tmp_path, figures):
    path = tmp_path / "parity.png"
    reference = np.linspace(-20.0, 2.0, 50)
    groups = {"poor": (reference, reference + 1.5), "good": (reference, reference - 0.25)}
    report.plot_parity(path, groups, label="orbital energy (eV)", title="Levels")
    parity, errors = figures[0].axes
    texts = [text.get_text() for text in parity.get_legend().get_texts()]
    assert texts == ["poor, MAE 1.50 eV", "good, MAE 0.250 eV"]
    assert parity.get_xlabel() == "reference orbital energy (eV)"
    assert parity.get_xlim() == parity.get_ylim()
    assert parity.get_xlim()[0] < -20.25 and parity.get_xlim()[1] > 3.5
    np.testing.assert_array_equal(errors.lines[0].get_ydata(), 1.5)
    assert errors.get_yscale() == "log"
    assert (0x00, 0x72, 0xB2) not in colours_in(path)  # points are translucent
    assert len(colours_in(path)) > 50


def test_parity_without_unit_and_without_error(tmp_path, figures):
    report.plot_parity(tmp_path / "a.png", {"same": ([1.0], [1.0])}, label="count", title="")
    assert figures[0].axes[0].get_legend().get_texts()[0].get_text() == "same, MAE 0"


def test_matrices_share_a_scale(tmp_path, figures):
    path = tmp_path / "matrices.png"
    first, second = np.full((3, 3), -1e-2), np.full((4, 4), 1e-4)
    second[0, 0], second[1, 1], second[2, 2] = 0.0, np.nan, 1e-30
    report.plot_matrices(path, {"before": first, "after": second}, unit="|ΔH| (Ha)")
    before, after, bar = figures[0].axes
    assert [axes.get_title("left") for axes in (before, after)] == ["before", "after"]
    assert bar.get_ylabel() == "|ΔH| (Ha)"
    for axes in (before, after):
        norm = axes.images[0].norm
        assert isinstance(norm, LogNorm)
        np.testing.assert_allclose([norm.vmin, norm.vmax], [1e-7, 1e-2])  # five decades
    np.testing.assert_array_equal(before.images[0].get_array(), 1e-2)
    viridis = matplotlib.colormaps["viridis"]
    shades = [tuple(round(255 * c) for c in viridis(x)[:3]) for x in (0.0, 1.0)]
    assert {(255, 0, 0), *shades} <= colours_in(path)


@pytest.mark.parametrize(("count", "grid"), [(1, (1, 1)), (4, (1, 4)), (5, (2, 3)), (8, (2, 4)), (9, (3, 3))])
def test_matrices_wrap(tmp_path, figures, count, grid):
    report.plot_matrices(tmp_path / "m.png", {str(i): np.eye(2) for i in range(count)}, unit="Ha")
    places = figures[0].axes[:count]
    assert places[0].get_subplotspec().get_gridspec().get_geometry() == grid
    assert len(figures[0].axes) == count + 1


def test_matrices_of_zeros(tmp_path):
    report.plot_matrices(tmp_path / "m.png", {"zero": np.zeros((2, 2))}, unit="Ha")
    assert tuple(round(255 * c) for c in matplotlib.colormaps["viridis"](0.0)[:3]) in colours_in(
        tmp_path / "m.png"
    )


def test_surfaces_share_a_scale_and_what_was_never_seen_stays_white(tmp_path, figures):
    edges = (np.linspace(0, 2, 3), np.linspace(0, 3, 4))
    surface = np.array([[0.0, 1.0, np.inf], [4.0, 9.0, 2.0]])
    report.plot_surfaces(
        tmp_path / "s.png",
        {"exact": surface, "found": surface + 1},
        edges,
        xlabel="φ",
        ylabel="ψ",
        unit="F (eV)",
        highest=5.0,
    )
    exact, found, bar = figures[0].axes
    assert [axes.get_title("left") for axes in (exact, found)] == ["exact", "found"]
    assert (exact.get_xlabel(), exact.get_ylabel(), bar.get_ylabel()) == ("φ", "ψ", "F (eV)")
    mesh = exact.collections[0]
    assert mesh.get_clim() == (0, 5)
    # y runs upwards: the first column of cells is the first row of the surface
    shown = mesh.get_array().reshape(3, 2)
    np.testing.assert_array_equal(shown[:, 0].filled(-1), [0, 1, -1])
    np.testing.assert_array_equal(shown[:, 1].filled(-1), [4, -1, 2])


def test_bad_input(tmp_path):
    path = tmp_path / "bad.png"
    with pytest.raises(ValueError, match="'a' needs two arrays of one length, got 2 and 3"):
        report.plot_curves(path, {"a": ([1, 2], [1, 2, 3])}, xlabel="", ylabel="", title="")
    with pytest.raises(ValueError, match="'a' needs two arrays of one length, got 1 and 0"):
        report.plot_parity(path, {"a": ([1], [])}, label="", title="")
    with pytest.raises(ValueError, match="at least one panel"):
        report.plot_matrices(path, {}, unit="Ha")
    with pytest.raises(ValueError, match=r"'a' must have 2 dimensions, got shape \(3,\)"):
        report.plot_matrices(path, {"a": np.zeros(3)}, unit="Ha")
    labels = {"xlabel": "", "ylabel": "", "unit": "", "highest": 1.0}
    with pytest.raises(ValueError, match="at least one panel"):
        report.plot_surfaces(path, {}, ([0, 1], [0, 1]), **labels)
    with pytest.raises(ValueError, match=r"the cells of the edges, \(1, 1\), got \(2, 1\)"):
        report.plot_surfaces(path, {"a": np.zeros((2, 1))}, ([0, 1], [0, 1]), **labels)
    assert not path.exists()


def test_nothing_positive_on_a_logarithmic_axis(tmp_path, figures):
    report.plot_curves(tmp_path / "a.png", {"a": ([0], [0.0]), "b": ([], [])}, xlabel="", ylabel="", title="")
    assert figures[0].axes[0].get_yscale() == "linear"


def test_no_global_state(tmp_path):
    """No pyplot, no backend and no changed default: in a fresh process, where no one else is to blame."""
    arguments = f"{str(tmp_path / 'a.png')!r}, {{'a': ([1, 2], [1, 2])}}, xlabel='', ylabel='', title=''"
    code = (
        "import sys, matplotlib\n"
        "before = matplotlib.rcParams.copy()\n"  # a copy; dict() would resolve the backend
        "from jaxphys import report\n"
        f"report.plot_curves({arguments})\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert matplotlib.rcParams._get_backend_or_none() is None\n"
        "assert matplotlib.rcParams.copy() == before\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, env=environment)
