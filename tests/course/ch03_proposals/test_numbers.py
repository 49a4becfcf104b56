"""Overlap, anchors of a cell, suppression and recall, by hand and against the package."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from pfpn.anchors import anchor_grid
from pfpn.boxes import batched_nms, iou
from pfpn.course.ch03_proposals.numbers import (
    Miss,
    anchors_at,
    best_so_far,
    covered_by_others,
    intersect,
    iou_of_shift,
    nms_trace,
    recall,
    smooth_l1,
    trace_of_kept,
)
from pfpn.structures import Instances
from tests.factories import random_boxes


@pytest.mark.parametrize(
    ("b", "intersection", "union"),
    [((2, 1, 8, 5), 12, 36), ((6, 0, 8, 4), 0, 32), ((9, 9, 10, 10), 0, 25)],
)
def test_the_overlap_of_two_boxes_by_hand(b, intersection, union):
    _, *areas = intersect(torch.tensor([0.0, 0, 6, 4]), torch.tensor(b).float())
    assert areas == [intersection, union]


def test_the_overlap_of_two_boxes_is_their_iou(rng):
    a, b = random_boxes(2, rng)
    _, intersection, union = intersect(a, b)
    assert intersection / union == pytest.approx(float(iou(a[None], b[None])))


def test_the_anchors_of_a_cell_are_those_of_the_grid():
    ratios = (0.5, 1.0, 2.0)
    middle = {"stride": 8, "side": 16.0, "ratios": ratios}
    truth = torch.tensor([[8.0, 8, 24, 24]])  # exactly the square anchor of the middle
    cell = anchors_at((32, 40), truth, **middle)
    assert cell.grid == (4, 5)
    assert cell.center == (16, 16)
    assert_close(cell.anchors, anchor_grid((4, 5), 8, 16.0, torch.tensor(ratios))[2, 2])
    assert cell.best[1] == 1
    assert_close(cell.best, iou(cell.anchors, truth)[:, 0])
    last = anchors_at((32, 40), truth[:0], **middle, position=(1.0, 1.0))
    assert last.center == (32, 24)
    assert last.best.tolist() == [0, 0, 0]


@pytest.mark.parametrize("axes", [1, 2])
def test_iou_of_a_shift_is_the_iou_of_the_shifted_box(axes):
    shifts = np.linspace(0, 1.2, 13)
    unit = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    moved = unit.repeat(13, 1)
    moved[:, 0::2] += torch.from_numpy(shifts).float()[:, None]
    if axes == 2:
        moved[:, 1::2] += torch.from_numpy(shifts).float()[:, None]
    ious = torch.from_numpy(iou_of_shift(shifts, axes)).float()
    assert_close(ious, iou(unit, moved)[0], atol=1e-6, rtol=0)


def test_the_trace_gives_each_box_its_suppressor_and_a_suppressed_box_suppresses_none():
    boxes = torch.tensor([[4.0, 0, 14, 10], [0, 0, 10, 10], [2, 0, 12, 10], [40, 40, 50, 50]])
    scores = torch.tensor([0.7, 0.9, 0.8, 0.1])
    assert nms_trace(boxes, scores, 0.5).tolist() == [0, 1, 1, 3]


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0])
def test_the_boxes_with_their_own_index_are_those_that_nms_keeps(rng, threshold):
    boxes, scores = random_boxes(40, rng), torch.rand(40, generator=rng)
    by = nms_trace(boxes, scores, threshold)
    kept = batched_nms(boxes, scores, torch.zeros(40, dtype=torch.int64), threshold)
    assert set((by == torch.arange(40)).nonzero()[:, 0].tolist()) == set(kept.tolist())


def test_best_so_far_and_recall_by_hand():
    truth = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30]])
    proposals = torch.tensor([[0.0, 0, 10, 5], [20, 20, 30, 30], [0, 0, 10, 9]])
    best = best_so_far(truth, proposals, 5)
    assert_close(best, torch.tensor([[0.5, 0.5, 0.9, 0.9, 0.9], [0, 1.0, 1, 1, 1]]))
    assert recall(best, 0.5).tolist() == [0.5, 1, 1, 1, 1]
    assert recall(best, 0.9).tolist() == [0, 0.5, 1, 1, 1]


def test_without_proposals_every_iou_is_zero():
    best = best_so_far(torch.rand(3, 4), torch.zeros(0, 4), 4)
    assert best.tolist() == [[0.0] * 4] * 3


def test_what_covers_a_box_is_counted_without_its_own_mask():
    masks = torch.zeros(2, 4, 6, dtype=torch.bool)
    masks[0, :, :2] = True
    masks[1, 1:3, 1:6] = True
    masks[0] &= ~masks[1]
    boxes = torch.tensor([[0.0, 0, 2, 4], [1.0, 1, 6, 3]])
    fractions = covered_by_others(Instances(boxes, torch.zeros(2, dtype=torch.int64), masks))
    assert_close(fractions, torch.tensor([2 / 8, 0.0]))


@pytest.mark.parametrize("beta", [0.0, 0.25, 1.0])
def test_smooth_l1_is_torchs_and_its_slope_is_the_gradient(beta):
    error = torch.tensor([-2.0, -0.7, -0.1, 0.2, 1.5], requires_grad=True)
    loss = torch.nn.functional.smooth_l1_loss(error, torch.zeros(5), beta=beta, reduction="none")
    loss.sum().backward()
    value, slope = smooth_l1(error.detach().numpy(), beta)
    assert_close(torch.from_numpy(value), loss.detach())
    assert_close(torch.from_numpy(slope), error.grad)


def test_a_miss_gives_its_overlap_and_its_extent():
    image = torch.zeros(3, 8, 8, dtype=torch.uint8)
    miss = Miss(image, torch.tensor([0.0, 0, 4, 4]), torch.tensor([0.0, 0, 4, 2]), "cup")
    assert miss.overlap == 0.5
    assert miss.extent == "4 x 4"


def test_the_trace_of_a_readers_function_is_that_of_the_boxes_it_keeps(rng):
    corner = 20 * torch.rand(30, 2, generator=rng)
    boxes = torch.cat([corner, corner + 5 + 10 * torch.rand(30, 2, generator=rng)], dim=1)
    scores = torch.rand(30, generator=rng)

    def my_nms(boxes, scores, threshold):
        by = nms_trace(boxes, scores, threshold)
        return (by == torch.arange(len(by))).nonzero()[:, 0].tolist()

    ours, yours = nms_trace(boxes, scores, 0.5), trace_of_kept(boxes, scores, 0.5, my_nms)
    assert torch.equal(ours == torch.arange(30), yours == torch.arange(30))


@pytest.mark.parametrize("answer", [None, [], [0, 0], [5], [True, "a"], torch.tensor([0.5])])
def test_a_readers_function_that_returns_no_indices_is_told_so(answer):
    boxes = torch.tensor([[0.0, 0, 10, 10], [5, 5, 9, 9]])
    with pytest.raises(ValueError, match="expected a list of different indices from 0 to 1"):
        trace_of_kept(boxes, torch.tensor([0.9, 0.8]), 0.5, lambda *_: answer)
