"""The figures of chapter 05 are drawn, and their descriptions have the numbers."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from pfpn.course.ch05_two_tasks import figures
from pfpn.course.ch05_two_tasks.numbers import Balance, Start
from pfpn.engine.config import OptimConfig
from pfpn.model import LOSS_NAMES

RESULTS = Path(__file__).resolve().parents[3] / "benchmarks" / "results"
RUNS = [
    {
        "weight": weight, "seed": seed, "pq": 50.0, "pq_th": 40.0 - abs(math.log10(weight)),
        "pq_st": 60.0 + weight, "loss_instance": 1.0, "loss_semantic": 1 / weight,
    }
    for weight in (0.1, 1.0, 10.0)
    for seed in (0, 1)
]  # fmt: skip


def balance(instance, semantic, cosine=0.0):
    return Balance(dict.fromkeys(LOSS_NAMES, 1.0), instance, semantic, cosine, (cosine,))


@pytest.fixture
def three():
    return json.loads((RESULTS / "three_way.json").read_text(encoding="utf-8"))["runs"]


def test_the_description_of_gradients_names_the_longer_side():
    words = figures.describe_trunk_gradients({"fresh": balance(1.0, 12.0), "late": balance(3, 1)})
    assert "fresh: the semantic side's gradient is more than 10 times as long" in words
    assert "late: the instance side's gradient is more than 2 times as long" in words
    assert "nearly at right angles" in words
    words = figures.describe_trunk_gradients({"x": balance(1.0, 1.0, 0.8)})
    assert "x: the instance side's gradient is about as long" in words
    assert "not at right angles" in words


STARTS = [
    Start("Kaiming, fan-out", 0, 6.5, 12.0),
    Start("Kaiming, fan-out", 1, 9.5, 20.0),
    Start("std 0.01", 0, 1.78, 0.2),
]


def test_the_description_of_starts_has_both_drawings_and_all_ranges():
    words = figures.describe_starts(STARTS, 6, 0.15)
    assert "Kaiming, fan-out, 2 seeds: first loss 6.50 to 9.50, ratio 12.00 to 20.00" in words
    assert "std 0.01, 1 seeds: first loss 1.78 to 1.78, ratio 0.20 to 0.20" in words
    assert "trained: ratio 0.15. log 6 is 1.79" in words


def test_starts_are_drawn_at_their_values():
    losses, ratios = figures.plot_starts(STARTS, 6, 0.15).axes
    assert [line.get_xdata()[0] for line in losses.lines[:3]] == [6.5, 9.5, 1.78]
    assert [line.get_xdata()[0] for line in ratios.lines[:4]] == [12.0, 20.0, 0.2, 0.15]
    assert [line.get_ydata()[0] for line in ratios.lines[:4]] == [0, 0, 1, 2]


def test_cosines_of_tasks_and_of_batches_stand_below_each_other():
    same = {"semantic": (0.5, 0.6), "instance": (-0.1, 0.2)}
    compared = replace(balance(1.0, 2.0), cosines=(0.0, 0.1), same_task=same)
    words = figures.describe_cosines({"fresh": compared})
    assert "fresh: two tasks on one batch 0.00 to 0.10; one task on two batches: semantic" in words
    assert "0.50 to 0.60, instance -0.10 to 0.20." in words
    (axes,) = figures.plot_cosines({"fresh": compared}).axes
    drawn = [tuple(line.get_xdata()) for line in axes.lines[1:]]
    assert drawn == [(0.0, 0.1), (0.5, 0.6), (-0.1, 0.2)]


def test_the_description_of_the_tradeoff_has_its_best_weights():
    words = figures.describe_tradeoff(RUNS)
    assert "things: PQ 39 at weight 0.1, best 40 at 1, 39 at 10" in words
    assert "best 70 at 10" in words


def test_the_descriptions_of_networks_have_their_measurements(three):
    assert "million multiply-adds" in figures.describe_cost(three)
    assert "Semantic FPN: " in figures.describe_three_way(three)


def test_every_figure_is_drawn(three):
    optim = OptimConfig(schedule="linear", warmup_steps=10)
    drawn = [
        figures.plot_trunk_gradients({"fresh": balance(1.0, 12.0), "late": balance(3.0, 1.0)}),
        figures.plot_gradient_sum(balance(1.0, 12.0, 0.1), 0.1),
        figures.plot_tradeoff(RUNS),
        figures.plot_three_way(three),
        figures.plot_cost(three),
        figures.plot_warmup(optim, 100),
    ]
    for figure in drawn:
        figure.canvas.draw()
        assert figure.get_size_inches()[0] <= 9.6
    rates = drawn[-1].axes[0].lines[0].get_ydata()
    assert len(rates) == 100
    assert rates[0] < rates[10]
    assert "in 10 steps" in figures.describe_warmup(optim, 100)


def test_the_readers_warmup_is_drawn_over_the_packages():
    def right(rate, step, warmup_steps, factor):
        done = min(1.0, step / warmup_steps) if warmup_steps else 1.0
        return rate * (factor * (1 - done) + done)

    def late(rate, step, warmup_steps, factor):
        return right(rate, max(0, step - 1), warmup_steps, factor)

    assert len(figures.plot_first_steps(100, 0.01).axes[0].lines) == 1
    for steps, factor in ((100, 0.01), (0, 0.5), (200, 1.0)):
        (axes,) = figures.plot_first_steps(steps, factor, right).axes
        ours, yours = (line.get_ydata() for line in axes.lines)
        assert yours == pytest.approx(list(ours))
        assert axes.get_title() == "yours is the same"
    (axes,) = figures.plot_first_steps(100, 0.01, late).axes
    assert axes.get_title() == "differs first at step 1"
