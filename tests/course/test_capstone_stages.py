"""Stages are compared up to rounding, the order of boxes and the numbers of segments."""

import torch

from pfpn.course.capstone_stages import (
    compare_boxes,
    compare_maps,
    compare_numbers,
    compare_pixels,
    first_difference,
    percent,
    same_rows,
)
from pfpn.structures import Panoptic, Segment


def test_numbers_may_differ_by_rounding():
    ours = torch.tensor([1.0, 2.0, 3.0])
    assert compare_numbers(ours, ours + 1e-6) == (0.0, "")
    fraction, words = compare_numbers(ours, torch.tensor([1.0, 2.5, 3.0]))
    assert fraction == 1 / 3
    assert "33 % of 3 numbers differ, the first at [1]: expected 2, found 2.5" in words


def test_nan_is_a_difference():
    assert compare_numbers(torch.ones(2), torch.tensor([1.0, float("nan")]))[0] == 0.5


def test_another_shape_is_a_difference():
    words = "expected the shape (2,), found the shape (3,)"
    assert compare_numbers(torch.ones(2), torch.ones(3)) == (1.0, words)
    assert compare_numbers(torch.ones(2), None)[0] == 1.0


def test_boxes_may_come_in_any_order():
    boxes = torch.tensor([[0.0, 0, 4, 4], [10, 10, 20, 20], [5, 5, 9, 9]])
    assert compare_boxes(boxes, boxes.flip(0))[0] == 0
    fraction, words = compare_boxes(boxes, boxes[:2])
    assert fraction == 1 / 5
    assert "1 of the expected are missing, 0 of the found are not expected" in words


def test_rows_follow_the_order_of_their_boxes():
    boxes = torch.tensor([[0.0, 0, 4, 4], [10, 10, 20, 20]])
    rows = torch.tensor([1.0, 2.0])
    ours, yours = same_rows(boxes, boxes.flip(0), (rows, rows.flip(0)))
    assert torch.equal(ours, yours)
    assert len(ours) == 2


def test_rows_of_boxes_that_only_one_has_are_left_out():
    boxes = torch.tensor([[0.0, 0, 4, 4], [10, 10, 20, 20]])
    moved = boxes + torch.tensor([[0.0], [3.0]])
    ours, yours = same_rows(boxes, moved, (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 9.0])))
    assert (ours.tolist(), yours.tolist()) == ([1.0], [1.0])


def test_segments_may_have_other_numbers():
    ids = torch.tensor([[1, 1, 2, 2, 0]])
    ours = Panoptic(ids, (Segment(1, 0, True), Segment(2, 3, False)))
    renumbered = Panoptic(
        torch.tensor([[7, 7, 5, 5, 0]]), (Segment(5, 3, False), Segment(7, 0, True))
    )
    assert compare_maps(ours, renumbered)[0] == 0
    other = Panoptic(ids, (Segment(1, 1, True), Segment(2, 3, False)))
    assert compare_maps(ours, other)[0] == 2 / 5


def test_a_split_segment_is_a_difference():
    ours = Panoptic(torch.tensor([[1, 1, 1, 0]]), (Segment(1, 0, True),))
    split = Panoptic(torch.tensor([[1, 1, 2, 0]]), (Segment(1, 0, True), Segment(2, 0, True)))
    fraction, words = compare_maps(ours, split)
    assert fraction == 1 / 4
    assert "1 segments are expected, 2 are found" in words


def test_masks_are_compared_by_their_pixels():
    ours = torch.tensor([[[True, True], [False, False]]])
    fraction, words = compare_pixels(ours, ours.flip(1))
    assert fraction == 1.0
    assert "2 pixels of the masks" in words


def test_the_earliest_stage_comes_first_then_the_street():
    same, off = torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    ours = [{"p5": same, "p4": same}, {"p5": same, "p4": same}]
    yours = [{"p5": same, "p4": off}, {"p5": off, "p4": same}]
    found = first_difference(ours, yours)
    assert found is not None
    assert (found.stage, found.street) == ("p5", 1)
    assert first_difference(ours, ours) is None


def test_a_small_fraction_is_not_rounded_to_nothing():
    assert percent(0.0004) == "less than 1 %"
    assert percent(0.999) == "more than 99 %"
    assert percent(0.5) == "50 %"
    assert percent(0) == "0 %"
