"""Rows of numbers are averaged over steps, and kept in files that hold what JSON can."""

import json
import math

import pytest

from pfpn.engine.checkpoint import METRICS
from pfpn.engine.rows import Meter, log_rows, read_rows
from pfpn.files import Output, claim, sha256_of


@pytest.fixture
def folder(tmp_path):
    """A run folder, claimed as `train` does."""
    with claim(tmp_path, "train"):
        yield tmp_path


def logged(rows, folder, **options):
    return list(log_rows(iter(rows), folder, **options))


START = {"kind": "start", "step": 0, "max_steps": 4}


def test_rows_are_stored_as_lines_and_as_events(folder):
    rows = [
        START,
        {"kind": "train", "step": 2, "loss": 1.5},
        {"kind": "eval", "step": 4, "pq": 0.5},
        {"kind": "end", "step": 4, "stopped": False},
    ]
    assert logged(rows, folder) == rows
    lines = (folder / METRICS).read_text().splitlines()
    assert [json.loads(line) for line in lines] == rows[1:3]
    (events,) = folder.glob("events.out.tfevents*")
    assert Output(folder, "train").names() == sorted([METRICS, events.name])


def test_a_line_cut_short_at_the_end_is_left_out_and_one_inside_is_refused(tmp_path):
    (tmp_path / METRICS).write_text('{"step": 1}\n{"st')
    assert read_rows(tmp_path) == [{"step": 1}]
    (tmp_path / METRICS).write_text('{"st\n{"step": 1}\n')
    with pytest.raises(ValueError, match="line 1"):
        read_rows(tmp_path)
    assert read_rows(tmp_path / "nowhere") == []


@pytest.mark.parametrize("line", ["1", "[]", "null", "{}", '{"step": "1"}', '{"step": [1]}'])
def test_a_line_that_is_no_row_is_refused(line, folder):
    (folder / METRICS).write_text(f'{{"kind": "train", "step": 1}}\n{line}\n')
    Output(folder, "train").adopt(METRICS)
    with pytest.raises(ValueError, match=r"metrics\.jsonl: line 2 is no row"):
        logged([START], folder)


def test_events_that_are_written_while_they_are_listed_stop_no_run(folder, monkeypatch):
    """TensorBoard's thread writes whenever it likes."""

    def grow(path):
        with path.open("ab") as file:
            file.write(b"more")
        return sha256_of(path)

    monkeypatch.setattr("pfpn.files.sha256_of", grow)
    assert logged([START], folder) == [START]


def test_numbers_that_json_has_no_word_for_are_left_out(folder):
    """fp16 skips a step whose gradient is infinite; a strict reader must be able to go on."""
    row = {"kind": "train", "step": 2, "loss": 1.5, "grad_norm": math.inf, "lr": math.nan}
    logged([START, row], folder)

    def refuse(constant):
        raise AssertionError(constant)

    line = json.loads((folder / METRICS).read_text(), parse_constant=refuse)
    assert line == {"kind": "train", "step": 2, "loss": 1.5}


def test_a_meter_averages_what_is_finite():
    meter = Meter()
    meter.add({"loss": 1.0, "grad_norm": math.inf, "odd": math.nan}, images=2, seconds=0.5)
    meter.add({"loss": 3.0, "grad_norm": 7.0, "odd": math.inf}, images=2, seconds=1.5)
    assert meter.flush() == {"loss": 2.0, "grad_norm": 7.0, "images_per_second": 2.0}
    assert meter.rows == []


def test_rows_that_a_resumed_run_repeats_are_dropped(folder):
    """An evaluation is repeated if the checkpoint was written before it."""
    rows = [START, *({"kind": "train", "step": step} for step in (1, 2, 3))]
    rows += [{"kind": "eval", "step": 2}]
    logged(rows, folder, events=False)
    logged([START | {"step": 2, "evaluated": 2}], folder, events=False)
    kept = [("train", 1), ("train", 2), ("eval", 2)]
    assert [(row["kind"], row["step"]) for row in read_rows(folder)] == kept
    logged([START | {"step": 2, "evaluated": 0}], folder, events=False)
    assert [(row["kind"], row["step"]) for row in read_rows(folder)] == kept[:2]


def test_a_file_of_another_origin_is_not_replaced(folder):
    (folder / METRICS).write_text("mine")
    with pytest.raises(ValueError, match="a file of another origin"):
        logged([START], folder)
    assert (folder / METRICS).read_text() == "mine"
