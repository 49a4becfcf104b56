"""Levels, bins, reading errors and mask IoU, by hand and against the package."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from pfpn.course.ch04_boxes_masks.numbers import (
    METHODS,
    MaskPair,
    cells_spanned,
    mask_ceiling,
    opposite_rectangle,
    paired_mask_ious,
    reading_errors,
    roi_pool,
    rounded_bins,
    sample_points,
)
from pfpn.data.toy import ToyStreet
from pfpn.data.transforms import to_targets
from pfpn.structures import Instances
from tests.factories import random_boxes
from tests.oracles import roi as slow


@pytest.fixture(scope="module")
def truth() -> Instances:
    streets = ToyStreet(1, seed=7, first=11, size=(64, 96))
    return to_targets(streets[0], streets.categories)[0]


def test_a_box_spans_14_to_28_cells_wherever_it_has_a_level_of_its_own():
    sides = torch.linspace(112, 895, 200)
    level, cells = cells_spanned(sides)
    assert level.unique().tolist() == [3, 4, 5]
    assert cells.min() >= 14
    assert cells.max() < 28


def test_half_the_canonical_size_spans_half_the_cells():
    _, cells = cells_spanned(torch.linspace(56, 447, 100), canonical_size=112.0)
    assert cells.min() >= 7
    assert cells.max() < 14


def test_rounded_bins_by_hand():
    # 37 / 16 is 2.3 and 112 / 16 is 7, its cell counted in: 2 to 7 are 6 cells, 3 a bin.
    rows = rounded_bins((37, 16, 112, 48), 16, 2, (6, 9))
    assert rows[0] == [(1, 3, 2, 5), (1, 3, 5, 8)]
    assert rows[1] == [(2, 4, 2, 5), (2, 4, 5, 8)]


@pytest.mark.parity
def test_roi_pool_is_torchvisions(rng):
    from torchvision.ops import roi_pool as torchvision_roi_pool

    features = torch.randn((3, 12, 16), generator=rng)
    boxes = torch.cat([random_boxes(20, rng, (90, 120)), torch.tensor([[100.0, 80, 190, 140]])])
    theirs = torchvision_roi_pool(features[None], [boxes], 3, 1 / 8)
    for box, expected in zip(boxes.tolist(), theirs, strict=True):
        assert_close(roi_pool(features, box, 8, 3), expected)


def test_sample_points_are_those_of_roi_align():
    points = sample_points((8.0, 16.0, 24.0, 20.0), 2, 2)
    assert points[:4].tolist() == [[10, 16.5], [14, 16.5], [18, 16.5], [22, 16.5]]
    assert points[4].tolist() == [10, 17.5]


def test_roi_align_makes_no_error_on_a_ramp_and_the_half_pixel_is_half_a_cell():
    errors = reading_errors(16, num=20)
    assert tuple(errors) == METHODS
    assert errors["RoIAlign"].abs().max() < 1e-3
    assert_close(
        errors["RoIAlign, half pixel forgotten"], torch.full((20, 7), 8.0), atol=1e-3, rtol=0
    )
    assert errors["RoIPool, max"].mean() > errors["RoIPool's cells, mean"].abs().mean() > 4


def test_errors_grow_with_the_stride():
    fine, coarse = (reading_errors(s, num=20) for s in (4, 16))
    for name in METHODS:
        assert_close(coarse[name], 4 * fine[name], atol=1e-3, rtol=1e-3)


def test_mask_ious_by_hand():
    a, b = torch.zeros(2, 2, 4, 4, dtype=torch.bool)
    a[0, :2] = True
    b[0, 1:] = True
    assert_close(paired_mask_ious(a, b), torch.tensor([4 / 16, 0.0]))


def test_finer_grids_allow_better_masks_and_one_bin_only_boxes(truth):
    coarse, middle, fine = (mask_ceiling(truth, bins).mean() for bins in (7, 14, 56))
    assert coarse < middle < fine <= 1
    square = torch.zeros(1, 16, 16, dtype=torch.bool)
    square[0, 4:12, 4:12] = True
    whole = Instances(torch.tensor([[4.0, 4, 12, 12]]), torch.zeros(1, dtype=torch.int64), square)
    assert mask_ceiling(whole, 8).tolist() == [1.0]


def test_a_pair_of_masks_gives_its_overlap():
    truth = torch.zeros(4, 4, dtype=torch.bool)
    truth[:2] = True
    image = torch.zeros(3, 4, 4, dtype=torch.uint8)
    pair = MaskPair(image, truth, truth, "cup")
    assert pair.overlap == 1
    assert replace(pair, prediction=~truth).overlap == 0


@pytest.mark.parametrize(("down", "right"), [(0.0, 0.0), (0.3, 0.9), (1.0, 0.5)])
def test_the_opposite_rectangles_weigh_like_bilinear_reading(down, right):
    values = torch.tensor([[10.0, 20.0], [30.0, 60.0]])
    total = 0.0
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        x0, y0, x1, y1 = opposite_rectangle(row, column, down, right)
        total += (x1 - x0) * (y1 - y0) * float(values[row, column])
    assert total == pytest.approx(float(slow.bilinear(values[None], down, right)[0]))
