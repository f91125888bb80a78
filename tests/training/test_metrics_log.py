import json
import math

import pytest

from jaxphys.training import MetricsLog


def test_lines_come_back_as_written(tmp_path):
    log = MetricsLog(tmp_path / "deep" / "metrics.jsonl")
    assert log.read() == []
    assert log.resume(0) == 0.0
    log.write(10, 1.23456, {"loss": 0.5, "broken": math.nan})
    log.write(20, 2.0, {"loss": 0.25, "broken": 1.0})
    assert log.read() == [
        {"step": 10, "seconds": 1.235, "loss": 0.5, "broken": None},
        {"step": 20, "seconds": 2.0, "loss": 0.25, "broken": 1.0},
    ]


def test_resume_drops_later_lines_and_a_half_written_one(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    for step in (10, 20, 30):
        log.write(step, step / 10, {"loss": 1.0})
    with log.path.open("a") as file:
        file.write('{"step": 40, "sec')
    assert [record["step"] for record in log.read()] == [10, 20, 30]
    assert log.resume(20) == 2.0
    log.write(30, 3.5, {"loss": 2.0})
    assert [json.loads(line)["step"] for line in log.path.read_text().splitlines()] == [10, 20, 30]


def test_a_last_line_without_its_line_break_is_kept_whole(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.path.write_text('{"step": 10, "seconds": 1.0, "loss": 1.0}')
    log.resume(10)
    log.write(20, 2.0, {"loss": 1.0})
    assert [record["step"] for record in log.read()] == [10, 20]


def test_a_foreign_file_is_refused_with_its_line(tmp_path):
    log = MetricsLog(tmp_path / "notes.txt")
    log.path.write_text("remember the milk\n{}\n")
    with pytest.raises(ValueError, match=r"notes.txt, line 1 .*remember the milk"):
        log.resume(0)
    assert log.path.read_text().startswith("remember")
