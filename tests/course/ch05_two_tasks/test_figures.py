"""The figures of chapter 05 are drawn, and their descriptions have the numbers."""

import json
import math
from pathlib import Path

import pytest

from pfpn.course.ch05_two_tasks import figures
from pfpn.course.ch05_two_tasks.numbers import Balance
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
    assert "fresh: the semantic side pulls more than 10 times as hard" in words
    assert "late: the instance side pulls more than 2 times as hard" in words
    assert "nearly at right angles" in words
    words = figures.describe_trunk_gradients({"x": balance(1.0, 1.0, 0.8)})
    assert "x: the instance side pulls about as hard" in words
    assert "not at right angles" in words


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
        figures.plot_pull(balance(1.0, 12.0, 0.1), 0.1),
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
