"""The mean IoU of the chapters, by hand and against a count of all pairs."""

import math

import pytest
import torch

from pfpn.course.iou import mean_iou


def test_by_hand():
    labels = torch.tensor([[0, 0, 1, 255], [1, 1, 1, 255]])
    predicted = torch.tensor([[0, 1, 1, 0], [1, 1, 1, 1]])
    assert mean_iou(predicted, labels, 3) == pytest.approx((1 / 2 + 4 / 5) / 2)
    assert math.isnan(mean_iou(labels[:, 3:], labels[:, 3:].clone(), 3))


@pytest.mark.parametrize("shape", [(50,), (7, 9), (2, 6, 8)])
def test_against_a_table_of_all_pairs(shape, rng):
    labels, predicted = (torch.randint(4, shape, generator=rng) for _ in range(2))
    labels[labels == 3] = 255
    ious = []
    for k in range(4):
        known = labels != 255
        both = (labels == k) & (predicted == k)
        either = ((labels == k) | (predicted == k)) & known
        if either.any():
            ious.append(float(both.sum() / either.sum()))
    assert mean_iou(predicted, labels, 4) == pytest.approx(sum(ious) / len(ious))
