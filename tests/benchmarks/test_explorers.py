"""Every explorer answers a move of a slider with a limited amount of work."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from pfpn.course import Explorer

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benchmarks" / "explorers.py"
MOST = 200  # thousands of calls: 60 to 90 ms on the machine that the limit was measured on
NUM = 19  # explorers in the chapters


def test_a_move_is_timed_and_its_calls_are_counted():
    names = runpy.run_path(str(SCRIPT))
    drawn = []

    def draw(slope, kind):
        drawn.append((slope, kind))
        figure = Figure(figsize=(1, 1))
        figure.subplots().plot([0, slope])
        return figure

    explorer = Explorer(
        draw,
        [{"slope": 3, "kind": "a"}],
        {"slope": (1, 3), "kind": ["a", "b"]},
        "A line that rises as steeply as the slider says, from zero.",
    )
    took, calls = names["measure"](explorer)
    assert {slope for slope, _ in drawn} == {1, 2, 3}
    assert {kind for _, kind in drawn} == {"a", "b"}
    assert took > 0
    assert calls >= 1


@pytest.mark.long
def test_every_explorer_stays_within_its_budget_of_work():
    run = subprocess.run(
        [sys.executable, str(SCRIPT), "--most-calls", str(MOST)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert len(run.stdout.splitlines()) == NUM, run.stdout
