"""What the report of the consistency experiment says, and seeds taken together."""

import json

import numpy as np
import pytest

from experiments.consistency_report import COLUMNS, combine, table, write_report
from jaxphys.training import MetricsLog

NAMES = {"multitask": "multi-task", "rdkit": "RDKit: ETKDG + MMFF94s"}
CONFIG = {"experiment": "consistency", "preset": "quick", "seed": 0, "molecules": {"train": 8, "test": 2}}


def row(energy, *, trained=True):
    """Results of an arm whose every number says which it is."""
    summary = {
        "energy_median": energy,
        "energy_mean": energy + 1,
        "rmsd_median": 0.1,
        "bond_mean": 0.02 * energy,
        "angle_mean": 1.5,
        "stereo_right": 99.0,
        "unsound": 2.5,
    }
    conformers = {
        "coverage_precision": 90.0,
        "coverage_recall": 80.0,
        "amr_precision": 0.11,
        "amr_recall": 0.22,
    }
    found = {"summary": summary, "conformers": conformers, "energies": energy * np.array([0.5, 1, 2, np.inf])}
    return found | ({"energy_mae": 12.0, "seconds": 60.0} if trained else {})


def results(shift=0.0):
    return {"multitask": row(4.0 + shift), "both": row(2.0), "rdkit": row(1.25, trained=False)}


def cells(text, start):
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {start} ")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def write(out, seed=0, shift=0.0, **more):
    write_report(out, results(shift), run_config=CONFIG | {"seed": seed} | more, total=120.0, names=NAMES)
    return out


def test_a_run_leaves_table_results_and_plots(tmp_path, capsys):
    for arm in ("multitask", "both"):
        (tmp_path / arm).mkdir()
        log = MetricsLog(tmp_path / arm / "metrics.jsonl")
        for step in (1, 2):
            log.write(step, 1.0, {"loss": 1.0 / step})
    write_report(
        tmp_path,
        results(),
        run_config=CONFIG,
        total=120.0,
        names=NAMES,
        sweeps={"calls of the network": {"both": ([5, 10, 30], [8.0, 4.0, 2.0])}},
    )
    text = (tmp_path / "table.md").read_text()
    assert text in capsys.readouterr().out
    assert "seed 0, 8 molecules of train, 2 molecules of test" in text and "2.0 minutes" in text
    assert cells(text, "multi-task") == [
        "multi-task", "4.00", "5.00", "0.100", "0.0800", "1.50", "90.0", "80.0", "0.110", "0.220", "99.0",
        "2.50", "12.0", "60.0",
    ]  # fmt: skip
    assert cells(text, "RDKit: ETKDG + MMFF94s")[-2:] == ["–", "–"]
    assert cells(text, "model")[1:] == list(COLUMNS)
    assert json.loads((tmp_path / "results.json").read_text())["results"]["both"]["energies"][-1] is None
    plots = {path.name for path in tmp_path.glob("*.png")}
    assert plots == {"energies.png", "loss.png", "calls-of-the-network.png"}


def test_a_column_without_numbers_is_left_out_and_infinity_shown():
    found = {"rdkit": row(np.inf, trained=False)}
    assert cells(table(found, {}), "model")[-1] == "broken (%)"
    assert cells(table(found, {}), "rdkit")[1] == "inf"


def test_seeds_are_averaged_and_compared(tmp_path):
    # another split has other numbers of minima
    runs = [
        write(tmp_path / str(seed), seed, shift, minima={"train": 60 + seed, "test": 9})
        for seed, shift in enumerate((0.0, 1.0, 2.0))
    ]
    text = combine(runs, against="multitask")
    first, second = text.split("Difference from multi-task, over 3 seeds (p of a paired t-test):")
    assert cells(first, "multi-task")[1] == "5.00 ± 1"
    assert cells(first, "both")[1:3] == ["2.00 ± 0", "3.00 ± 0"]
    assert cells(first, "RDKit: ETKDG + MMFF94s")[-1] == "–"
    # −2, −3, −4: t = −3√3 with two degrees of freedom
    assert cells(second, "both")[1] == "-3 ± 1 (p = 0.035)"
    assert "RDKit" not in second and "| multi-task" not in second
    assert "Difference" not in combine(runs)
    assert cells(combine(runs[:1]), "multi-task")[1] == "4.00"


def test_infinite_medians_are_compared_without_a_word_of_numpy(tmp_path, recwarn):
    runs = [write(tmp_path / str(seed), seed, np.inf) for seed in (0, 1)]
    assert cells(combine(runs, against="both").split("Difference")[1], "multi-task")[1] == "+inf"
    for run in runs:
        found = json.loads((run / "results.json").read_text())
        found["results"]["both"]["summary"]["energy_median"] = None
        (run / "results.json").write_text(json.dumps(found))
    assert cells(combine(runs, against="both").split("Difference")[1], "multi-task")[1] == "–"
    assert not recwarn.list


def test_runs_that_are_not_seeds_of_one_setting(tmp_path):
    one, same = write(tmp_path / "one"), write(tmp_path / "same")
    other = write(tmp_path / "other", 1, preset="paper")
    for runs, message in [
        ([], "no runs to combine"),
        ([one, tmp_path / "none"], "none holds no results.json"),
        ([one, same], r"different seeds, got \[0, 0\]"),
        ([one, other], "differ in preset"),
    ]:
        with pytest.raises(ValueError, match=message):
            combine(runs)
    with pytest.raises(ValueError, match="have the arms multitask, both, rdkit, not bath"):
        combine([one], against="bath")


def test_an_infinite_median_survives_the_file(tmp_path):
    found = {"both": row(np.inf)}
    write_report(tmp_path, found, run_config=CONFIG, total=1.0)
    assert cells(combine([tmp_path]), "both")[1] == "inf"
