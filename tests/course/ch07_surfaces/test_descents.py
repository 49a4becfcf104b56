"""Descents on two scores, by hand, against the package's losses, and for every optimizer."""

import numpy as np
import pytest
import torch

from pfpn.course.ch07_surfaces import descents
from pfpn.losses.lovasz import lovasz_softmax
from pfpn.plot.surface import TRUTHS, loss_at


def start(x: float, y: float) -> torch.Tensor:
    return torch.tensor([[x, y]], dtype=torch.float64)


@pytest.mark.parametrize("name", descents.OPTIMIZERS)
@pytest.mark.parametrize("loss", ["Lovász hinge", "Dice"])
def test_a_race_is_the_descent_of_each_optimizer(loss, name):
    each = descents.DESCENT_LOSSES[loss]
    alone = descents.descend(each, start(3, -2.5), name, max_steps=30, patience=None)
    together = descents.race(each, start(3, -2.5)[0], 30)[name]
    for field in ("points", "values", "jaccard"):
        np.testing.assert_allclose(getattr(together, field), getattr(alone, field), atol=1e-12)


@pytest.mark.parametrize("truth", TRUTHS)
def test_the_loss_of_the_present_classes_is_the_default_that_trains(truth, rng):
    points = 2 * torch.randn(50, 2, generator=rng, dtype=torch.float64)
    values = descents.lovasz_present(points, truth)
    for point, value in zip(points, values, strict=True):
        logits = torch.stack([torch.zeros(2), point])[None, :, None]
        expected = lovasz_softmax(logits.double().softmax(1), torch.tensor([[[*truth]]]))
        assert float(value) == pytest.approx(float(expected), abs=1e-9)


@pytest.mark.parametrize("truth", TRUTHS)
def test_the_elu_hinge_is_convex_above_the_jaccard_loss_and_never_flat(truth, rng):
    one, two = 3 * torch.randn(2, 500, 2, generator=rng, dtype=torch.float64)
    middle = descents.elu_hinge((one + two) / 2, truth)
    ends = descents.elu_hinge(one, truth) + descents.elu_hinge(two, truth)
    assert (middle <= ends / 2 + 1e-12).all()
    assert (descents.elu_hinge(one, truth) >= loss_at("jaccard", one, truth)).all()
    moved = (6 * (2 * torch.tensor(truth, dtype=torch.float64) - 1)).requires_grad_()
    descents.elu_hinge(moved, truth).backward()
    assert moved.grad.abs().sum() > 0


def test_a_path_on_a_flat_facet_is_a_straight_line_by_hand():
    # Truth (0, 0): the Lovász hinge is the larger error; the first pixel's, 1 + 2 = 3, moves alone.
    path = descents.descend("lovasz_hinge", start(2, -3), "SGD, rate 0.5", (0, 0), 3)
    np.testing.assert_allclose(path.points[:, 0], [[2, -3], [1.5, -3], [1, -3], [0.5, -3]])
    np.testing.assert_allclose(path.values[:, 0], [3, 2.5, 2, 1.5])
    assert path.jaccard[:, 0].tolist() == [1, 1, 1, 1]
    assert path.arrivals.tolist() == [np.inf]


def test_the_first_step_from_which_on_all_is_right():
    path = descents.descend("lovasz_hinge", start(2, -3), "SGD, rate 0.5", (0, 0), 60)
    assert path.arrivals.tolist() == [5]  # 2, 1.5, 1, 0.5, 0 (counts as wrong), -0.5
    assert len(path.points) == 1 + 5 + descents.PATIENCE - 1  # it ends early
    path = descents.descend("hinge", start(-2, -3), "SGD, rate 0.5", (0, 0), 30, patience=None)
    assert path.arrivals.tolist() == [0]
    assert len(path.points) == 31


@pytest.mark.parametrize("optimizer", descents.OPTIMIZERS)
def test_starts_descend_as_if_each_were_alone(optimizer):
    starts = descents.wrong_starts(3, 4, seed=1)
    together = descents.descend("dice", starts, optimizer, max_steps=15, patience=None)
    for number, one in enumerate(starts):
        alone = descents.descend("dice", one[None], optimizer, max_steps=15, patience=None)
        np.testing.assert_allclose(together.points[:, number], alone.points[:, 0])


def test_starts_are_wrong_by_what_is_said():
    for truth in TRUTHS:
        starts = descents.wrong_starts(2.5, 20, seed=0, truth=truth)
        wrong = starts * (1 - 2 * torch.tensor(truth))
        assert (wrong >= 0).all()
        assert wrong.amax(1).tolist() == [2.5] * 20
        assert 0 < int((wrong[:, 0] == 2.5).sum()) < 20
    assert torch.equal(descents.wrong_starts(2, 3, 4), descents.wrong_starts(2, 3, 4))


def test_a_plateau_costs_steps_by_its_height_above_the_rate():
    # The slope of a surely wrong pixel falls like exp(-distance): so do the steps of plain SGD rise
    names = ["Lovász-Softmax, foreground", "cross-entropy"]
    optimizers = ["SGD, rate 0.5", "SGD, rate 2", "Adam, rate 0.1"]
    counts = descents.count_steps(names, optimizers, (2, 5), num=4)
    slow, fast, adam = (np.median(counts[names[0], o], 1) for o in optimizers)
    assert slow[1] > 8 * slow[0]
    assert slow[1] == pytest.approx(4 * fast[1], rel=0.2)
    assert adam[1] < 0.2 * slow[1]
    assert np.median(counts[names[1], optimizers[0]], 1)[1] < 0.1 * slow[1]


def test_a_descent_that_is_too_short_is_counted_as_infinite():
    counts = descents.count_steps(
        ["Lovász-Softmax, foreground"], ["SGD, rate 0.5"], (6,), 3, max_steps=10
    )
    assert np.isinf(next(iter(counts.values()))).all()
