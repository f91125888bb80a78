"""Tables of folding free energies: what is read, and what is refused in one line."""

import csv

import numpy as np
import pytest

from jaxphys.data import read_folding_free_energies, wild_type_indices
from jaxphys.metrics import stability_metrics

COLUMNS = [
    "name", "name_wt", "mutant", "dg_exp", "ddg_exp", "dg_ci95_low", "dg_ci95_high", "num_samples",
    "sequence", "wt_only_reference",
]  # fmt: skip
ROWS = [
    ["ABC", "ABC", "False", "-3.0", "-0.0", "-2.9", "-3.1", "2300", "MKVLAG", "True"],
    ["ABC__K2A", "ABC", "True", "-1.25", "1.75", "-1.2", "-1.3", "", "MAVLAG", "False"],
    ["ABC__V3I_A5A", "ABC", "True", "0.5", "3.5", "0.6", "0.4", "10.0", "MKILAG", "False"],
    ["DEF_L4A__G6W", "DEF_L4A", "True", "-2.0", "0.1", "-1.9", "-2.1", "", "MKVAAW", ""],
]


def written(path, rows=ROWS, columns=COLUMNS):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def changed(row, column, value):
    rows = [list(one) for one in ROWS]
    rows[row][COLUMNS.index(column)] = value
    return rows


def test_systems_are_read(tmp_path):
    systems = read_folding_free_energies(written(tmp_path / "system_info.csv"))
    assert [system.name for system in systems] == [row[0] for row in ROWS]
    assert [system.is_mutant for system in systems] == [False, True, True, True]
    assert [system.mutations for system in systems] == [(), ("K2A",), ("V3I", "A5A"), ("G6W",)]
    assert [system.samples for system in systems] == [2300, None, 10, None]
    assert [system.reference_only for system in systems] == [True, False, False, False]
    mutant = systems[1]
    assert (mutant.dg, mutant.ddg, mutant.interval) == (-1.25, 1.75, (-1.3, -1.2))
    assert (mutant.wild_type, mutant.sequence) == ("ABC", "MAVLAG")


def test_wild_types_are_found_and_feed_the_metrics(tmp_path):
    systems = read_folding_free_energies(written(tmp_path / "system_info.csv"))
    wild_type = wild_type_indices(systems)
    assert wild_type.tolist() == [0, 0, 0, -1]
    exact = np.array([system.dg for system in systems])
    found = stability_metrics(exact + [1.0, 0.0, 0.0, 0.0], exact, wild_type=wild_type)  # noqa: RUF005
    assert found.dg.mae.value == pytest.approx(0.25)
    assert found.ddg.count == 2 and found.ddg.mae.value == pytest.approx(1.0)


def test_other_columns_blank_lines_and_marks_do_not_matter(tmp_path):
    columns = ["row", *(name for name in COLUMNS if name not in ("num_samples", "wt_only_reference"))]
    rows = [["7", *row[:7], row[8]] for row in ROWS]
    path = written(tmp_path / "old.csv", rows, columns)
    path.write_text("\ufeff" + path.read_text() + "\n\n", encoding="utf-8")
    systems = read_folding_free_energies(path)
    assert len(systems) == 4 and systems[0].samples is None and not systems[0].reference_only


@pytest.mark.parametrize(
    ("row", "column", "value", "message"),
    [
        (1, "name", "ABC", "mutant is True, but name_wt is ABC"),
        (1, "name", "", "name and name_wt must not be empty, got '' and 'ABC'"),
        (1, "name", "ABC-K2A", "a mutant's name is ABC__ and mutations such as I23L_K4A"),
        (1, "name", "ABC__K2", "a mutant's name is ABC__"),
        (1, "name", "ABC__K9A", "residue 9 must be A, the sequence has nothing"),
        (1, "name", "ABC__K2V", "residue 2 must be V, the sequence has A"),
        (1, "name", "ABC__L2A", "ABC__L2A: ABC has no L at 2"),
        (1, "sequence", "MAVLAGG", "ABC__K2A: its sequence is not that of ABC with its mutations"),
        (1, "sequence", "MAXLAG", "a sequence is of the letters ACDEFGHIKLMNPQRSTVWY, got 'X'"),
        (1, "sequence", "", "a sequence is of the letters"),
        (1, "mutant", "yes", "mutant must be True or False, got 'yes'"),
        (1, "dg_exp", "nan", "dg_exp must be finite, got nan"),
        (1, "dg_exp", "", "dg_exp must be a number, got ''"),
        (1, "ddg_exp", "inf", "ddg_exp must be finite, got inf"),
        (1, "dg_exp", "-14.2", r"dg_exp must be in kcal/mol, at most 10 either way, got -14.2; kJ/mol?"),
        (1, "dg_exp", "1.25", "dg_exp must be from dg_ci95_high to dg_ci95_low, -1.3 to -1.2, got 1.25"),
        (1, "ddg_exp", "-1.75", "ddg_exp must be dg_exp less that of ABC, 1.7500, got -1.7500"),
        (1, "num_samples", "2.5", "num_samples must be a whole number above 0, got '2.5'"),
        (1, "num_samples", "inf", "num_samples must be a whole number above 0, got 'inf'"),
        (1, "wt_only_reference", "no", "wt_only_reference must be True or False, got 'no'"),
    ],
)
def test_what_is_wrong_in_a_line_is_said_with_its_number(tmp_path, row, column, value, message):
    path = written(tmp_path / "system_info.csv", changed(row, column, value))
    with pytest.raises(ValueError, match=r"system_info\.csv, line 3: ") as error:
        read_folding_free_energies(path)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_names_that_come_twice_are_refused(tmp_path):
    path = written(tmp_path / "system_info.csv", [*ROWS, ROWS[1]])
    with pytest.raises(ValueError, match=r"line 6: the name ABC__K2A comes twice, first in line 3"):
        read_folding_free_energies(path)


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "system_info.csv"
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_folding_free_energies(path)
    for text, message in [
        ("", "no name, name_wt, mutant, dg_exp"),
        ("name,name_wt\n", "no mutant, dg_exp, .*; there are name, name_wt"),
        (",".join(COLUMNS) + "\n", "no systems"),
        (",".join(COLUMNS) + "\n" + ",".join(ROWS[0][:5]), "line 2: 5 values for 10 columns; cut short"),
        (",".join(COLUMNS) + '\n"ABC', "not a table of comma-separated values"),
    ]:
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_folding_free_energies(path)
    path.write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(ValueError, match="not a table of comma-separated values"):
        read_folding_free_energies(path)
