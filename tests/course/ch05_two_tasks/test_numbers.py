"""Gradients at the trunk, means over seeds and the stored runs of three networks."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from pfpn.course.ch05_two_tasks.numbers import (
    DRAWINGS,
    Balance,
    Spread,
    compute_costs,
    cosine_range,
    draw_network,
    measure_balance,
    measure_starts,
    network_lines,
    spread,
    spread_by_weight,
    trunk_gradients,
)
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
    vectors = trunk_gradients(model, batch, torch.Generator().manual_seed(0))
    assert list(vectors) == list(LOSS_NAMES)
    model.train()
    loss = total_loss(model.losses(batch, torch.Generator().manual_seed(0)), model.config)
    shared = [*model.backbone.parameters(), *model.fpn.parameters()]
    shared = [p for p in shared if p.requires_grad]
    expected = torch.cat([g.flatten() for g in torch.autograd.grad(loss, shared)])
    weight = model.config.semantic_weight
    summed = sum(v * (weight if n == "loss_semantic" else 1.0) for n, v in vectors.items())
    assert_close(summed, expected, atol=1e-4, rtol=1e-3)


def test_measuring_leaves_the_model_as_it_was(model, batch):
    model.eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    measure_balance(model, [batch])
    assert not model.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_a_balance_is_the_mean_over_batches(model, batch, rng):
    other = random_batch([(64, 64)], rng)
    one = measure_balance(model, [batch], seed=0)
    two = measure_balance(model, [other], seed=1)
    both = measure_balance(model, [batch, other], seed=0)
    assert both.semantic == pytest.approx((one.semantic + two.semantic) / 2, rel=1e-4)
    assert both.cosines == pytest.approx((*one.cosines, *two.cosines), abs=1e-4)
    assert both.ratio == both.semantic / both.instance
    assert -1 <= both.cosine <= 1


def test_the_control_compares_one_task_on_two_batches(model, batch, rng):
    other = random_batch([(64, 64)], rng)
    vectors = [
        trunk_gradients(model, b, torch.Generator().manual_seed(seed))["loss_semantic"].double()
        for seed, b in enumerate((batch, other))
    ]
    expected = float(vectors[0] @ vectors[1] / vectors[0].norm() / vectors[1].norm())
    same = measure_balance(model, [batch, other]).same_task
    assert same["semantic"] == pytest.approx((expected,), abs=1e-4)
    assert len(same["instance"]) == 1
    (alike,) = measure_balance(model, [batch, batch]).same_task["semantic"]
    assert alike > 0.99  # the semantic loss draws no samples


def test_two_drawings_differ_in_the_classifier_alone():
    published, small = (draw_network(tiny_config(), 3, drawing) for drawing in DRAWINGS)
    for (name, one), (_, two) in zip(
        published.named_parameters(), small.named_parameters(), strict=True
    ):
        assert torch.equal(one, two) == (name != "semantic_head.classify.weight"), name
    again = draw_network(tiny_config(), 3, "std 0.01")
    assert torch.equal(again.semantic_head.classify.weight, small.semantic_head.classify.weight)
    assert float(small.semantic_head.classify.weight.detach().std()) == pytest.approx(0.01, rel=0.3)


def test_a_small_classifier_starts_at_log_c_and_pulls_little(batch):
    config = tiny_config()
    starts = measure_starts(config, batch, [0, 1])
    assert [(s.drawing, s.seed) for s in starts] == [(d, k) for d in DRAWINGS for k in (0, 1)]
    classes = draw_network(config, 0, "std 0.01").semantic_head.classify.out_channels
    for published, small in zip(starts[:2], starts[2:], strict=True):
        assert small.loss == pytest.approx(math.log(classes), abs=0.1)
        assert published.loss > small.loss + 0.3
        assert published.ratio > 5 * small.ratio


def balance(instance, semantic, cosine):
    return Balance({}, instance, semantic, cosine, (cosine,))


def test_the_sum_of_equal_gradients_at_right_angles_is_halfway():
    assert balance(1.0, 1.0, 0.0).sum_angles(1.0) == pytest.approx((45.0, 45.0))
    assert balance(1.0, 4.0, 0.0).sum_angles(0.25) == pytest.approx((45.0, 45.0))


def test_without_weight_the_sum_is_the_instance_gradient():
    assert balance(1.0, 5.0, 0.5).sum_angles(0.0) == pytest.approx((0.0, 60.0))


def test_gradients_in_one_direction_have_no_angle_to_their_sum():
    assert balance(2.0, 1.0, 1.0).sum_angles(3.0) == pytest.approx((0.0, 0.0), abs=1e-6)


def test_the_sum_is_that_of_the_vectors():
    instance, semantic, total = balance(1.0, 2.0, 0.6).vectors(0.5)
    assert instance == 1
    assert semantic == pytest.approx(0.6 + 0.8j)
    assert total == pytest.approx(1.6 + 0.8j)


RUNS = [{"weight": 1, "pq": v} for v in (1.0, 2.0, 6.0)] + [{"weight": 0.5, "pq": 100.0}]


def test_a_spread_is_over_the_runs_that_fit():
    assert spread(RUNS, "pq", weight=1) == Spread(3.0, 1.0, 6.0, 3)
    assert str(spread(RUNS, "pq", weight=1)) == "3.0 (1.0 to 6.0)"
    with pytest.raises(ValueError, match="found no run"):
        spread(RUNS, "pq", weight=3)


def test_spreads_by_weight_are_in_rising_order():
    assert [*spread_by_weight(RUNS, "pq").items()] == [
        (0.5, Spread(100.0, 100.0, 100.0, 1)),
        (1, Spread(3.0, 1.0, 6.0, 3)),
    ]


@pytest.fixture
def three():
    return json.loads((RESULTS / "three_way.json").read_text(encoding="utf-8"))["runs"]


def test_every_network_was_trained_with_every_seed(three):
    names = {run["network"] for run in three}
    assert names == {"mask_rcnn", "semantic_fpn", "panoptic_fpn", "panoptic_fpn_wide", "pair"}
    seeds = {name: sorted(r["seed"] for r in three if r["network"] == name) for name in names}
    assert len({tuple(each) for each in seeds.values()}) == 1
    assert len(seeds["pair"]) >= 2


def test_the_lines_of_a_network_are_about_its_branches(three):
    assert len(network_lines(three, "mask_rcnn")) == 3
    assert len(network_lines(three, "panoptic_fpn")) == 5
    assert not any("PQ" in line for line in network_lines(three, "semantic_fpn"))


def test_the_stored_costs_agree_with_the_networks(three):
    shared = spread(three, "mparams", network="panoptic_fpn").mean
    apart = sum(
        spread(three, "mparams", network=name).mean for name in ("mask_rcnn", "semantic_fpn")
    )
    assert shared < apart < 2 * shared
    costs = compute_costs(three)
    assert list(costs) == ["pair", "panoptic_fpn", "panoptic_fpn_wide"]
    assert costs["panoptic_fpn"] < costs["pair"]
    assert costs["panoptic_fpn_wide"] == pytest.approx(costs["pair"], rel=0.1)


def test_the_range_of_cosines_is_over_all_pairs_of_the_instance_side():
    def gradients(x, y):
        half = torch.tensor([x, y]) / 2
        return {
            "loss_class": half,
            "loss_box": half,
            "loss_semantic": torch.tensor([0.0, 1.0]),
        }

    low, high = cosine_range([gradients(1.0, 0.0), gradients(2.0, 0.0), gradients(0.0, -3.0)])
    assert (low, high) == (pytest.approx(0.0, abs=1e-6), pytest.approx(1.0))
