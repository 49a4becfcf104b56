"""Losses over the probabilities of three classes against the losses that train."""

from math import log

import numpy as np
import pytest
import torch

from pfpn.course.ch07_surfaces import figures_simplex, simplex
from pfpn.losses.lovasz import lovasz_softmax


@pytest.mark.parametrize("classes", ["present", "all"])
def test_the_triangle_has_the_loss_that_trains(classes):
    triangle, second = simplex.make_triangle(6), simplex.second_pixel(0.3)
    values = simplex.evaluate_simplex(classes, triangle.probs, second)
    for probs, value in zip(triangle.probs, values, strict=True):
        both = torch.stack([probs, second], 1)[None, :, None]
        expected = lovasz_softmax(both, torch.tensor([[[0, 1]]]), classes=classes)
        assert float(value) == pytest.approx(float(expected), abs=1e-6)


def test_the_other_losses_by_hand():
    first, second = torch.tensor([[0.5, 0.2, 0.3]], dtype=torch.float64), simplex.second_pixel(0.8)
    entropy = simplex.evaluate_simplex("cross_entropy", first, second)
    assert float(entropy) == pytest.approx(-(log(0.5) + log(0.8)) / 2)
    # Right, right: 0. First pixel claimed as B: class A lost, B has IoU 1/2. As C: A lost only.
    corners = torch.eye(3, dtype=torch.float64)
    assert simplex.evaluate_simplex("miou_loss", corners, second).tolist() == [0, 0.75, 0.5]


def test_the_extension_meets_the_discrete_loss_at_the_corners():
    corners, second = torch.eye(3, dtype=torch.float64), simplex.second_pixel(1.0)
    discrete = simplex.evaluate_simplex("miou_loss", corners, second)
    assert torch.allclose(simplex.evaluate_simplex("present", corners, second), discrete)


def test_a_grid_covers_the_triangle():
    triangle = simplex.make_triangle(5)
    assert len(triangle.probs) == 21
    assert torch.allclose(triangle.probs.sum(1), torch.ones(21, dtype=torch.float64))
    np.testing.assert_allclose(triangle.points[-1], simplex.CORNERS[0])


@pytest.mark.usefixtures("unchecked")  # the shape check would refuse it first
def test_an_unknown_loss_is_refused():
    with pytest.raises(ValueError, match="expected one of miou_loss"):
        simplex.evaluate_simplex("dice", torch.eye(3), torch.ones(3) / 3)


def test_the_figure_shows_the_losses_of_both_rivals():
    figure = figures_simplex.plot_simplex(0.6, steps=4)
    figure.draw_without_rendering()
    assert len(figure.axes) == 4
    words = figures_simplex.describe_simplex((0.6,))
    second = simplex.second_pixel(0.6)
    values = [
        float(simplex.evaluate_simplex("present", second.new_tensor(probs), second))
        for probs in figures_simplex.RIVALS.values()
    ]
    assert f"present classes: {values[0]:.2f} and {values[1]:.2f}" in words
    shown = [text.get_text() for text in figure.axes[2].texts]
    assert {f"{value:.2f}" for value in values} <= {*shown}
