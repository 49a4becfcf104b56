import math

import pytest
import torch
from torch.testing import assert_close

from pfpn.boxes import (
    MAX_LOG_SCALE,
    area,
    batched_nms,
    clip,
    decode,
    encode,
    iou,
    is_nonempty,
    masks_to_boxes,
    rescale,
)
from tests.factories import random_boxes
from tests.oracles import boxes as slow

ONES = (1.0, 1.0, 1.0, 1.0)
WEIGHTS = (10.0, 10.0, 5.0, 5.0)


def test_area_is_width_times_height_without_a_further_pixel():
    boxes = torch.tensor([[1.0, 2.0, 4.0, 7.0], [3.0, 3.0, 3.0, 9.0]])
    assert area(boxes).tolist() == [15.0, 0.0]


def test_iou_of_hand_drawn_boxes():
    square = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    others = torch.tensor(
        [
            [0.0, 0.0, 2.0, 2.0],  # itself
            [1.0, 1.0, 3.0, 3.0],  # 1 of 4 + 4 - 1
            [0.0, 0.0, 1.0, 2.0],  # its left half
            [2.0, 0.0, 4.0, 2.0],  # touches
            [9.0, 9.0, 9.5, 9.5],  # far
        ]
    )
    assert_close(iou(square, others), torch.tensor([[1, 1 / 7, 1 / 2, 0, 0]]))


def test_iou_equals_the_slow_version(rng):
    a, b = random_boxes(20, rng), random_boxes(30, rng)
    expected = [[slow.iou(x, y) for y in b.tolist()] for x in a.tolist()]
    assert_close(iou(a, b), torch.tensor(expected))
    assert_close(iou(a, b), iou(b, a).T)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_areas_and_iou_of_16_bit_boxes_do_not_overflow(dtype):
    boxes = torch.tensor([[0.0, 0, 1024, 2048], [0, 0, 2048, 2048]], dtype=dtype)
    assert area(boxes).tolist() == [2.0**21, 2.0**22]  # float16 ends at 65504
    assert iou(boxes, boxes).tolist() == [[1, 0.5], [0.5, 1]]


def test_area_and_iou_of_float64_boxes_stay_float64():
    boxes = torch.tensor([[0.0, 0.0, 3.0, 7.0]], dtype=torch.float64)
    assert area(boxes).dtype == iou(boxes, boxes).dtype == torch.float64


def test_empty_boxes_have_an_iou_of_0_even_with_themselves():
    point = torch.tensor([[3.0, 3.0, 3.0, 3.0]])
    assert iou(point, point).tolist() == [[0.0]]


def test_inverted_boxes_have_an_iou_of_0():
    inverted = torch.tensor([[4.0, 4.0, 1.0, 1.0]])
    assert iou(inverted, torch.tensor([[0.0, 0.0, 9.0, 9.0]])).tolist() == [[0.0]]


@pytest.mark.parametrize(("n", "k"), [(0, 0), (0, 3), (3, 0)])
def test_iou_without_boxes_has_its_shape(n, k):
    assert iou(torch.zeros(n, 4), torch.zeros(k, 4)).shape == (n, k)


def test_encode_by_hand():
    box = torch.tensor([[0.0, 0.0, 10.0, 20.0]])
    target = torch.tensor([[5.0, 10.0, 25.0, 20.0]])
    # center (5, 10) -> (15, 15), sides (10, 20) -> (20, 10)
    assert_close(encode(target, box, ONES), torch.tensor([[1.0, 0.25, math.log(2), -math.log(2)]]))
    expected = torch.tensor([[10.0, 2.5, 5 * math.log(2), -5 * math.log(2)]])
    assert_close(encode(target, box, WEIGHTS), expected)


@pytest.mark.parametrize("weights", [ONES, WEIGHTS])
def test_encode_and_decode_equal_the_slow_versions(rng, weights):
    targets, boxes = random_boxes(50, rng), random_boxes(50, rng)
    pairs = list(zip(targets.tolist(), boxes.tolist(), strict=True))
    expected = torch.tensor([slow.encode(t, b, weights) for t, b in pairs])
    assert_close(encode(targets, boxes, weights), expected, rtol=1e-4, atol=1e-4)
    deltas = 3 * torch.randn((50, 4), generator=rng)
    expected = torch.tensor(
        [slow.decode(d, b, weights) for d, b in zip(deltas.tolist(), boxes.tolist(), strict=True)]
    )
    assert_close(decode(deltas, boxes, weights), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("weights", [ONES, WEIGHTS])
def test_decode_inverts_encode(rng, weights):
    boxes = random_boxes(200, rng, dtype=torch.float64)
    targets = random_boxes(200, rng, dtype=torch.float64)
    # Growth beyond the clamp does not come back; 64 x 96 pixels hold up to 96 times.
    growth = (targets[:, 2:] - targets[:, :2]) / (boxes[:, 2:] - boxes[:, :2])
    boxes, targets = (rows[(growth < 62.5).all(1)] for rows in (boxes, targets))
    assert len(boxes) > 150
    assert_close(decode(encode(targets, boxes, weights), boxes, weights), targets)


def test_decode_of_zero_deltas_is_the_box_itself():
    box = torch.tensor([[2.0, 4.0, 10.0, 8.0]])
    assert_close(decode(torch.zeros(1, 4), box, WEIGHTS), box)


def test_decode_clamps_growth_but_not_shrinking():
    box = torch.tensor([[-1.0, -1.0, 1.0, 1.0]])
    grown = decode(torch.tensor([[0.0, 0.0, 1e4, MAX_LOG_SCALE]]), box, ONES)
    assert_close(grown, torch.tensor([[-62.5, -62.5, 62.5, 62.5]]))
    shrunk = decode(torch.tensor([[0.0, 0.0, -20.0, 0.0]]), box, ONES)
    assert_close(shrunk[0, 2] - shrunk[0, 0], torch.tensor(2 * math.exp(-20)))


def test_decode_works_per_class_as_for_each_class_alone(rng):
    boxes, deltas = random_boxes(6, rng), torch.randn((6, 5, 4), generator=rng)
    together = decode(deltas, boxes[:, None].expand_as(deltas), WEIGHTS)
    for label in range(5):
        assert_close(together[:, label], decode(deltas[:, label], boxes, WEIGHTS))


def test_clip_by_hand_with_height_before_width():
    box = torch.tensor([[-3.0, -2.0, 50.0, 60.0], [200.0, 5.0, 300.0, 9.0]])
    assert clip(box, (30, 40)).tolist() == [[0, 0, 40, 30], [40, 5, 40, 9]]


def test_clip_takes_boxes_of_any_leading_axes(rng):
    boxes = 100 * torch.rand((3, 5, 4), generator=rng) - 20
    clipped = clip(boxes, (40, 60))
    assert_close(clipped[2], clip(boxes[2], (40, 60)))
    assert_close(clipped[1, 4], clip(boxes[1, 4:5], (40, 60))[0])


def test_clip_is_idempotent_and_leaves_what_lies_inside(rng):
    boxes = random_boxes(50, rng, size=(64, 96))
    assert torch.equal(clip(boxes, (64, 96)), boxes)
    once = clip(boxes - 20, (30, 40))
    assert torch.equal(clip(once, (30, 40)), once)


def test_rescale_takes_the_vertical_factor_first():
    box = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    assert rescale(box, (10.0, 2.0)).tolist() == [[2, 20, 6, 40]]


def test_nonempty_needs_width_and_height():
    boxes = torch.tensor([[0.0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 1, 0], [2, 2, 1, 3]])
    assert is_nonempty(boxes).tolist() == [True, False, False, False]


def test_masks_to_boxes_by_hand():
    masks = torch.zeros((3, 4, 6), dtype=torch.bool)
    masks[0, 1, 2] = True  # one pixel
    masks[1, 0, 5] = masks[1, 3, 1] = True  # two corners
    assert masks_to_boxes(masks).tolist() == [[2, 1, 3, 2], [1, 0, 6, 4], [0, 0, 0, 0]]


def test_masks_to_boxes_equals_the_slow_version(rng):
    for density in (0.02, 0.3, 1.0):
        masks = torch.rand((20, 7, 9), generator=rng) < density
        expected = [slow.mask_to_box(mask) for mask in masks.tolist()]
        assert masks_to_boxes(masks).tolist() == [list(box) for box in expected]


@pytest.mark.parametrize("shape", [(0, 5, 5), (2, 0, 5), (2, 5, 0)])
def test_masks_to_boxes_without_pixels_gives_zeros(shape):
    boxes = masks_to_boxes(torch.zeros(shape, dtype=torch.bool))
    assert boxes.shape == (shape[0], 4)
    assert boxes.dtype == torch.float32
    assert not boxes.any()


def test_nms_keeps_an_overlap_that_equals_the_threshold():
    boxes = torch.tensor([[0.0, 0, 4, 1], [0, 0, 2, 1]])  # IoU exactly 0.5
    scores, groups = torch.tensor([0.9, 0.8]), torch.zeros(2, dtype=torch.int64)
    assert batched_nms(boxes, scores, groups, 0.5).tolist() == [0, 1]
    assert batched_nms(boxes, scores, groups, 0.49).tolist() == [0]


def test_nms_does_not_let_a_suppressed_box_suppress():
    boxes = torch.tensor([[0.0, 0, 10, 1], [4.0, 0, 14, 1], [8.0, 0, 18, 1]])
    scores, groups = torch.tensor([0.9, 0.8, 0.7]), torch.zeros(3, dtype=torch.int64)
    assert batched_nms(boxes, scores, groups, 0.4).tolist() == [0, 2]


@pytest.mark.parametrize("num_groups", [1, 3])
def test_nms_equals_the_slow_version(rng, num_groups):
    boxes = random_boxes(60, rng, size=(20, 20))
    scores = torch.rand(60, generator=rng)
    groups = torch.randint(0, num_groups, (60,), generator=rng)
    for threshold in (0.1, 0.5, 0.9):
        kept = batched_nms(boxes, scores, groups, threshold).tolist()
        assert kept == slow.nms(boxes.tolist(), scores.tolist(), groups.tolist(), threshold)


def test_nms_of_nothing_keeps_nothing():
    nothing = batched_nms(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64), 0.5)
    assert nothing.tolist() == []
