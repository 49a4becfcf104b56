import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pfpn.engine.config import OptimConfig, TrainConfig
from pfpn.engine.optim import (
    WeightAverage,
    build_optimizer,
    clip_gradients,
    describe_factor,
    learning_rate,
    param_groups,
    set_learning_rate,
)
from pfpn.engine.presets import coco_r50_1x, coco_r50_3x


@pytest.mark.parity
@pytest.mark.parametrize("length", ["1x", "3x"])
def test_the_published_rates_are_reproduced(shared, length):
    known = np.load(shared / "oracle" / "detectron2" / "units.npz")
    config = {"1x": coco_r50_1x(), "3x": coco_r50_3x()}[length]
    steps = known[f"lr_iter_{length}"]
    ours = [learning_rate(config.optim, int(step), step / config.max_steps) for step in steps]
    np.testing.assert_allclose(ours, known[f"lr_{length}"], rtol=1e-12)


def test_warm_up_rises_linearly_to_the_full_rate():
    config = OptimConfig(lr=1.0, warmup_steps=4, warmup_factor=0.2, schedule="constant")
    rates = [learning_rate(config, step, 0.0) for step in range(6)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [1, 1, 1, 1, 1]),
        ("linear", [1, 1, 1, 0.6, 0.2]),
        ("cosine", [1, 1, 1, 0.2 + 0.8 * (1 + math.cos(math.pi / 2)) / 2, 0.2]),
    ],
)
def test_the_fall_begins_at_its_fraction_of_the_run_and_ends_at_its_factor(schedule, expected):
    config = OptimConfig(
        lr=1.0, warmup_steps=0, schedule=schedule, decay_start=0.5, final_factor=0.2
    )
    rates = [learning_rate(config, 10, progress) for progress in (0, 0.25, 0.5, 0.75, 1)]
    assert rates == pytest.approx(expected)


def test_a_fall_that_begins_at_the_end_never_begins():
    config = OptimConfig(lr=1.0, warmup_steps=0, schedule="linear", decay_start=1.0)
    assert learning_rate(config, 10, 1.0) == 1.0


def test_a_scaled_rate_is_described_with_the_schedule_of_as_many_images():
    optim = OptimConfig(lr=0.02, reference_batch=16, warmup_steps=1000, milestones=(60, 80))
    config = TrainConfig(optim=optim, batch_size=4, max_steps=90)
    text = describe_factor(config)
    assert "0.005 instead of 0.02" in text
    assert "max_steps=360 optim.milestones=240,320 optim.warmup_steps=4000" in text
    same = replace(config, batch_size=16)
    assert describe_factor(same) == ""
    fall = replace(optim, schedule="cosine", warmup_steps=0)
    text = describe_factor(replace(config, optim=fall))
    assert "max_steps=360" in text
    assert "milestones" not in text
    assert "warmup_steps" not in text


def test_milestones_multiply():
    config = OptimConfig(lr=1.0, warmup_steps=0, milestones=(2, 3), gamma=0.5)
    assert [learning_rate(config, step, 0) for step in range(5)] == [1, 1, 0.5, 0.25, 0.25]


def build_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)
    )


@pytest.mark.parametrize(("decay_biases", "num_decayed"), [(True, 4), (False, 2)])
def test_norms_never_decay_and_biases_as_set(decay_biases, num_decayed):
    net = build_net()
    decayed, free = param_groups(net, OptimConfig(decay_biases=decay_biases, weight_decay=0.3))
    assert decayed["weight_decay"] == 0.3
    assert free["weight_decay"] == 0
    assert len(decayed["params"]) == num_decayed
    assert len(free["params"]) == 8 - num_decayed
    norm_parameters = {id(p) for layer in (net[1], net[2]) for p in layer.parameters()}
    assert norm_parameters <= {id(p) for p in free["params"]}


def test_frozen_parameters_are_left_out():
    net = build_net()
    net[0].requires_grad_(False)
    decayed, free = param_groups(net, OptimConfig())
    assert len(decayed["params"]) + len(free["params"]) == 6


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_both_optimizers_lower_a_loss(optimizer):
    net = build_net()
    config = OptimConfig(optimizer=optimizer, lr=0.01)
    moving = build_optimizer(net, config)
    x = torch.randn(8, 3, 4, 4)
    losses = []
    for _ in range(30):
        moving.zero_grad()
        loss = net(x).square().mean()
        loss.backward()
        moving.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_the_rate_reaches_every_group():
    moving = build_optimizer(build_net(), OptimConfig())
    set_learning_rate(moving, 0.123)
    assert [group["lr"] for group in moving.param_groups] == [0.123, 0.123]


def test_sgd_step_is_the_one_on_paper():
    weight = nn.Linear(1, 1, bias=False)
    nn.init.constant_(weight.weight, 2.0)
    moving = build_optimizer(weight, OptimConfig(lr=0.1, momentum=0.5, weight_decay=0.25))
    for expected in (2 - 0.1 * (1 + 0.25 * 2), None):
        moving.zero_grad()
        weight(torch.ones(1, 1)).sum().backward()  # gradient 1
        moving.step()
        if expected is not None:
            assert weight.weight.item() == pytest.approx(expected)
    # second: v = 0.5 * 1.5 + (1 + 0.25 * 1.85)
    assert weight.weight.item() == pytest.approx(1.85 - 0.1 * (0.75 + 1.4625))


def test_adamw_steps_are_those_on_paper():
    """Loshchilov and Hutter 2019, Algorithm 2: the decay is no part of the gradient."""
    lr, decay, (beta1, beta2) = 0.1, 0.25, (0.5, 0.8)
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 2.0)
    config = OptimConfig(optimizer="adamw", lr=lr, betas=(beta1, beta2), weight_decay=decay)
    moving = build_optimizer(layer, config)
    weight, first, second = 2.0, 0.0, 0.0
    for step, gradient in enumerate((1.0, -3.0, 0.5), start=1):
        layer.weight.grad = torch.full((1, 1), gradient)
        moving.step()
        first = beta1 * first + (1 - beta1) * gradient
        second = beta2 * second + (1 - beta2) * gradient**2
        mean, square = first / (1 - beta1**step), second / (1 - beta2**step)
        weight -= lr * (mean / (math.sqrt(square) + 1e-8) + decay * weight)
        assert layer.weight.item() == pytest.approx(weight, rel=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_an_optimizer_has_the_groups_of_param_groups(optimizer):
    net = build_net()
    config = OptimConfig(optimizer=optimizer, weight_decay=0.3, lr=0.02, decay_biases=False)
    moving = build_optimizer(net, config)
    expected = param_groups(net, config)
    for group, pure in zip(moving.param_groups, expected, strict=True):
        assert [id(p) for p in group["params"]] == [id(p) for p in pure["params"]]
        assert group["weight_decay"] == pure["weight_decay"]
        assert group["lr"] == 0.02
        if optimizer == "adamw":
            assert group["betas"] == config.betas
        else:
            assert group["momentum"] == config.momentum
    assert {id(p) for p in net.parameters()} == {
        id(p) for group in moving.param_groups for p in group["params"]
    }


def test_clipping_shortens_a_long_gradient_and_reports_its_length():
    net = nn.Linear(2, 1, bias=False)
    net.weight.grad = torch.tensor([[3.0, 4.0]])
    assert clip_gradients(net, 1.0).item() == pytest.approx(5.0)
    assert_close(net.weight.grad, torch.tensor([[0.6, 0.8]]), rtol=1e-5, atol=1e-6)
    assert clip_gradients(net, 10.0).item() == pytest.approx(1.0, rel=1e-5)
    before = net.weight.grad.clone()
    clip_gradients(net, 0.0)
    assert_close(net.weight.grad, before, rtol=0, atol=0)


def test_an_average_follows_and_then_lags():
    net = nn.Linear(1, 1, bias=False)
    nn.init.constant_(net.weight, 0.0)
    average = WeightAverage(net, decay=0.9)
    nn.init.constant_(net.weight, 1.0)
    average.update(net)  # decay is still (1 + 1) / (10 + 1)
    assert average.state["weight"].item() == pytest.approx(1 - 2 / 11)
    for _ in range(200):
        average.update(net)
    assert average.state["weight"].item() == pytest.approx(1.0, abs=1e-6)
    nn.init.constant_(net.weight, 0.0)
    average.update(net)  # by now it keeps 0.9
    assert average.state["weight"].item() == pytest.approx(0.9, abs=1e-6)


def test_an_average_takes_counters_as_they_are():
    net = nn.BatchNorm2d(2)
    average = WeightAverage(net, decay=0.9)
    net(torch.randn(4, 2, 3, 3))
    average.update(net)
    assert average.state["num_batches_tracked"].item() == 1
