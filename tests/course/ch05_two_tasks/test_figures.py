"""Gradients at the trunk, trade-offs and the three networks: the data behind the figures."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from pfpn.course.ch05_two_tasks import figures as plots
from pfpn.engine.config import OptimConfig
from pfpn.model import LOSS_NAMES, PanopticFPN, total_loss
from tests.factories import random_batch, tiny_config

RESULTS = Path(__file__).resolve().parents[3] / "benchmarks" / "results"


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return PanopticFPN(tiny_config())


@pytest.fixture
def batch(rng):
    return random_batch([(64, 96), (64, 96)], rng)


def test_the_gradients_of_the_parts_add_up_to_that_of_the_total(model, batch):
    vectors = plots.trunk_gradients(model, batch, torch.Generator().manual_seed(0))
    assert list(vectors) == list(LOSS_NAMES)
    model.train()
    loss = total_loss(model.losses(batch, torch.Generator().manual_seed(0)), model.config)
    shared = [*model.backbone.parameters(), *model.fpn.parameters()]
    shared = [p for p in shared if p.requires_grad]
    found = torch.cat([g.flatten() for g in torch.autograd.grad(loss, shared)])
    weight = model.config.semantic_weight
    summed = sum(v * (weight if n == "loss_semantic" else 1.0) for n, v in vectors.items())
    assert_close(summed, found, atol=1e-4, rtol=1e-3)


def test_measuring_leaves_the_model_as_it_was(model, batch):
    model.eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    plots.measure_balance(model, [batch])
    assert not model.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_a_balance_is_the_mean_over_batches(model, batch, rng):
    other = random_batch([(64, 64)], rng)
    one = plots.measure_balance(model, [batch], seed=0)
    two = plots.measure_balance(model, [other], seed=1)
    both = plots.measure_balance(model, [batch, other], seed=0)
    assert both.semantic == pytest.approx((one.semantic + two.semantic) / 2, rel=1e-4)
    assert both.cosines == pytest.approx((*one.cosines, *two.cosines), abs=1e-4)
    assert both.ratio == both.semantic / both.instance
    assert -1 <= both.cosine <= 1


def balance(instance, semantic, cosine=0.0):
    return plots.Balance(dict.fromkeys(LOSS_NAMES, 1.0), instance, semantic, cosine, (cosine,))


def test_the_balancing_weight_makes_both_as_long():
    found = balance(2.0, 8.0)
    assert plots.balancing_weight(found) * found.semantic == found.instance


def test_the_sum_of_equal_arrows_at_right_angles_is_halfway():
    assert plots.pull_angles(1.0, 1.0, 0.0, 1.0) == pytest.approx((45.0, 45.0))
    assert plots.pull_angles(1.0, 4.0, 0.0, 0.25) == pytest.approx((45.0, 45.0))


def test_without_weight_the_sum_is_the_instance_arrow():
    to_instance, to_semantic = plots.pull_angles(1.0, 5.0, 0.5, 0.0)
    assert to_instance == pytest.approx(0.0)
    assert to_semantic == pytest.approx(60.0)


def test_arrows_that_agree_are_one():
    assert plots.pull_angles(2.0, 1.0, 1.0, 3.0) == pytest.approx((0.0, 0.0), abs=1e-6)


def test_words_say_who_pulls_harder_and_how():
    words = plots.describe_gradients({"fresh": balance(1.0, 12.0), "late": balance(3.0, 1.0)})
    assert "fresh: the semantic side pulls more than 10 times as hard" in words
    assert "late: the instance side pulls more than 2 times as hard" in words
    assert "nearly at right angles" in words
    assert "not at right angles" in plots.describe_gradients({"x": balance(1.0, 1.0, 0.8)})


def test_the_spread_is_over_the_runs_that_fit():
    runs = [{"weight": 1, "pq": v} for v in (1.0, 2.0, 6.0)] + [{"weight": 2, "pq": 100.0}]
    assert plots.spread(runs, "pq", weight=1) == plots.Spread(3.0, 1.0, 6.0, 3)
    with pytest.raises(ValueError, match="found no run"):
        plots.spread(runs, "pq", weight=3)


RUNS = [
    {
        "weight": weight, "seed": seed, "pq": 50.0, "pq_th": 40.0 - abs(math.log10(weight)),
        "pq_st": 60.0 + weight, "loss_instance": 1.0, "loss_semantic": 1 / weight,
    }
    for weight in (0.1, 1.0, 10.0)
    for seed in (0, 1)
]  # fmt: skip


def test_the_tradeoff_is_told_with_its_best_weights():
    words = plots.describe_tradeoff(RUNS)
    assert "things: PQ 39 at weight 0.1, best 40 at 1, 39 at 10" in words
    assert "best 70 at 10" in words


@pytest.fixture
def three():
    return json.loads((RESULTS / "three_way.json").read_text(encoding="utf-8"))["runs"]


def test_every_network_was_trained_with_every_seed(three):
    names = {run["network"] for run in three}
    assert names == {"mask_rcnn", "semantic_fpn", "panoptic_fpn", "panoptic_fpn_wide", "pair"}
    seeds = {name: sorted(r["seed"] for r in three if r["network"] == name) for name in names}
    assert len({tuple(found) for found in seeds.values()}) == 1
    assert len(seeds["pair"]) >= 2


def test_what_is_told_of_a_network_is_what_it_has(three):
    assert len(plots.three_way_lines(three, "mask_rcnn")) == 3
    assert len(plots.three_way_lines(three, "panoptic_fpn")) == 5
    assert not any("PQ" in line for line in plots.three_way_lines(three, "semantic_fpn"))
    assert "million multiply-adds" in plots.describe_cost(three)


def test_the_stored_costs_agree_with_the_networks(three):
    shared = plots.spread(three, "mparams", network="panoptic_fpn").mean
    apart = sum(
        plots.spread(three, "mparams", network=name).mean for name in ("mask_rcnn", "semantic_fpn")
    )
    assert shared < apart < 2 * shared


def test_every_figure_is_drawn(three):
    figures = [
        plots.plot_gradients({"fresh": balance(1.0, 12.0), "late": balance(3.0, 1.0, 0.1)}),
        plots.plot_pull(1.0, 12.0, 0.1, 0.1),
        plots.plot_tradeoff(RUNS),
        plots.plot_three_way(three),
        plots.plot_cost(three),
        plots.plot_schedule(OptimConfig(schedule="linear", warmup_steps=10), 100),
    ]
    for figure in figures:
        figure.canvas.draw()
        assert figure.get_size_inches()[0] <= 9.6
    rates = figures[-1].axes[0].lines[0].get_ydata()
    assert len(rates) == 100
    assert rates[0] < rates[10]
