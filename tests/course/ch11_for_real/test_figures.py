"""The figure of the stages shows what was measured."""

import json
from pathlib import Path

import pytest

from pfpn.course.ch11_for_real.figures import describe_stages, plot_stages, shared_stages

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results" / "inference.json"
ROWS = [
    {"edge": 256, "stage": "one", "torchvision": 400.0, "ours": 300.0, "ratio": 0.75},
    {"edge": 256, "stage": "two", "torchvision": 600.0, "ours": 900.0, "ratio": 1.5},
    {"edge": 256, "stage": "all, with pasted masks", "torchvision": 1, "ours": 1, "ratio": 1.0},
    {"edge": 256, "stage": "published: one", "ours": 5.0},
    {"edge": 800, "stage": "one", "torchvision": 7.0, "ours": 7.0, "ratio": 1.0},
]


def test_only_what_both_have_is_compared():
    assert [row["stage"] for row in shared_stages(ROWS, 256)] == ["one", "two"]
    assert [row["ours"] for row in shared_stages(ROWS, 800)] == [7.0]


def test_a_size_that_was_not_measured_is_told():
    with pytest.raises(ValueError, match=r"at 512 pixels, there are \[256, 800\]"):
        shared_stages(ROWS, 512)


def test_words_hold_ratios_and_sums():
    told = describe_stages(ROWS, 256)
    assert "one 0.75, two 1.50" in told
    assert "1.2 s and 1.0 s" in told
    assert "two takes most, 75 %" in told


def test_bars_are_as_long_as_the_times():
    axes = plot_stages(ROWS, 256).axes[0]
    theirs, ours = ([bar.get_width() for bar in bars] for bars in axes.containers)
    assert (theirs, ours) == ([400.0, 600.0], [300.0, 900.0])
    assert [t.get_text() for t in axes.texts] == ["x 0.75", "x 1.50"]


def test_the_stored_results_can_be_drawn():
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))["stages"]
    assert len(shared_stages(rows, 800)) >= 8
    plot_stages(rows, 800)
