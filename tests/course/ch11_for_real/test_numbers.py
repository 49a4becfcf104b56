"""The learning rate of a run, and which stages are compared."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pfpn.course.ch11_for_real.numbers import learning_rates, shared_stages
from pfpn.engine.presets import coco_r50_1x
from tests.course.ch11_for_real.test_figures import ROWS

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results" / "inference.json"


def test_rates_follow_the_published_schedule():
    steps = np.array([0, 500, 1000, 59_999, 60_000, 80_000])
    expected = [2e-5, 0.01001, 0.02, 0.02, 0.002, 0.0002]
    assert learning_rates(coco_r50_1x(), steps) == pytest.approx(expected)


def test_rates_are_in_proportion_to_the_batch():
    config, steps = coco_r50_1x(), np.arange(0, 90_000, 7000)
    half = learning_rates(replace(config, batch_size=8), steps)
    assert half == pytest.approx(learning_rates(config, steps) / 2)


def test_only_shared_stages_are_compared():
    assert [row["stage"] for row in shared_stages(ROWS, 256)] == ["one", "two"]
    assert [row["ours"] for row in shared_stages(ROWS, 800)] == [7.0]


def test_a_size_that_was_not_measured_is_refused():
    with pytest.raises(ValueError, match=r"at 512 pixels, there are \[256, 800\]"):
        shared_stages(ROWS, 512)


def test_the_stored_results_have_the_stages():
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))["stages"]
    assert len(shared_stages(rows, 800)) >= 8
