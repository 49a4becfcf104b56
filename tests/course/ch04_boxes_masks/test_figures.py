"""What the figures of rois show: levels, bins, masks; and the words for it."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch.testing import assert_close

from pfpn.course.ch04_boxes_masks import figures as pr
from pfpn.data.toy import ToyStreet
from pfpn.data.transforms import to_targets
from pfpn.paste import paste_masks
from pfpn.structures import Detections, Instances, Sample
from tests.factories import random_boxes
from tests.oracles import roi as slow

CATEGORIES = ToyStreet(1).categories


@pytest.fixture(scope="module")
def street() -> tuple[Sample, Instances]:
    sample = ToyStreet(1, seed=7, first=11, size=(64, 96))[0]
    return sample, to_targets(sample, CATEGORIES)[0]


def save(figure: Figure) -> np.ndarray:
    """Draw, so that whatever cannot be drawn fails here; return the pixels."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="rgba", dpi=60)
    return np.frombuffer(buffer.getvalue(), dtype=np.uint8)


def test_a_box_spans_14_to_28_cells_wherever_it_has_a_level_of_its_own():
    sides = torch.linspace(112, 895, 200)
    level, cells = pr.cells_spanned(sides)
    assert level.unique().tolist() == [3, 4, 5]
    assert cells.min() >= 14
    assert cells.max() < 28


def test_half_the_canonical_size_spans_half_the_cells():
    _, cells = pr.cells_spanned(torch.linspace(56, 447, 100), canonical_size=112.0)
    assert cells.min() >= 7
    assert cells.max() < 14


def test_rounded_bins_by_hand():
    # 37 / 16 is 2.3 and 112 / 16 is 7, its cell counted in: 2 to 7 are 6 cells, 3 a bin.
    rows = pr.rounded_bins((37, 16, 112, 48), 16, 2, (6, 9))
    assert rows[0] == [(1, 3, 2, 5), (1, 3, 5, 8)]
    assert rows[1] == [(2, 4, 2, 5), (2, 4, 5, 8)]


@pytest.mark.parity
def test_roi_pool_is_torchvisions(rng):
    from torchvision.ops import roi_pool

    features = torch.randn((3, 12, 16), generator=rng)
    boxes = torch.cat([random_boxes(20, rng, (90, 120)), torch.tensor([[100.0, 80, 190, 140]])])
    wanted = roi_pool(features[None], [boxes], 3, 1 / 8)
    for box, expected in zip(boxes.tolist(), wanted, strict=True):
        assert_close(pr.roi_pool(features, box, 8, 3), expected)


def test_sample_points_are_those_of_roi_align():
    points = pr.sample_points((8.0, 16.0, 24.0, 20.0), 2, 2)
    assert points[:4].tolist() == [[10, 16.5], [14, 16.5], [18, 16.5], [22, 16.5]]
    assert points[4].tolist() == [10, 17.5]


def test_roi_align_makes_no_error_on_a_ramp_and_the_half_pixel_is_half_a_cell():
    errors = pr.reading_errors(16, num=20)
    assert tuple(errors) == pr.METHODS
    assert errors["RoIAlign"].abs().max() < 1e-3
    assert_close(
        errors["RoIAlign, half pixel forgotten"], torch.full((20, 7), 8.0), atol=1e-3, rtol=0
    )
    assert errors["RoIPool, max"].mean() > errors["RoIPool's cells, mean"].abs().mean() > 4


def test_errors_grow_with_the_stride():
    fine, coarse = (pr.reading_errors(s, num=20) for s in (4, 16))
    for name in pr.METHODS:
        assert_close(coarse[name], 4 * fine[name], atol=1e-3, rtol=1e-3)


def test_mask_iou_by_hand():
    a, b = torch.zeros(2, 2, 4, 4, dtype=torch.bool)
    a[0, :2] = True
    b[0, 1:] = True
    assert_close(pr.mask_iou(a, b), torch.tensor([4 / 16, 0.0]))


def test_finer_grids_allow_better_masks_and_one_bin_only_boxes(street):
    _, truth = street
    coarse, middle, fine = (pr.mask_ceiling(truth, bins).mean() for bins in (7, 14, 56))
    assert coarse < middle < fine <= 1
    square = torch.zeros(1, 16, 16, dtype=torch.bool)
    square[0, 4:12, 4:12] = True
    whole = Instances(torch.tensor([[4.0, 4, 12, 12]]), torch.zeros(1, dtype=torch.int64), square)
    assert pr.mask_ceiling(whole, 8).tolist() == [1.0]


def test_bilinear_figure_weighs_like_the_slow_version():
    values = torch.tensor([[10.0, 20.0], [30.0, 60.0]])
    title = pr.plot_bilinear(values, 0.3, 0.9).axes[0].get_title()
    wanted = float(slow.bilinear(values[None], 0.3, 0.9)[0])
    assert title.endswith(f"{wanted:.2f}")


def test_a_finding_knows_its_overlap():
    truth = torch.zeros(4, 4, dtype=torch.bool)
    truth[:2] = True
    image = torch.zeros(3, 4, 4, dtype=torch.uint8)
    finding = pr.Finding(image, truth, truth, "cup")
    assert finding.overlap == 1
    assert replace(finding, found=~truth).overlap == 0
    assert "cup, IoU 1.00" in pr.describe_findings([finding])


def test_words_carry_the_numbers():
    assert "112, 224, 448" in pr.describe_levels()
    assert "between 7 and 14 cells" in pr.describe_levels(112.0)
    assert "14 x 14: mean 0.750, lowest 0.50" in pr.describe_ceiling({14: torch.tensor([0.5, 1])})
    assert "stride 4: RoIAlign 2.0" in pr.describe_reading_errors(
        {4: {"RoIAlign": torch.full((1, 1), 2.0)}}
    )


def test_box_level_and_pooling_titles():
    image = torch.zeros(3, 64, 96, dtype=torch.uint8)
    title = pr.plot_box_level(image, 60, 112.0).axes[0].get_title()
    assert title == "side 60: p3, stride 8, 7.5 cells"
    titles = [axes.get_title() for axes in pr.plot_pooling(36.0).axes]
    assert titles[0].endswith("reads 32 to 128")


def test_paste_figure_counts_what_pasting_gives():
    probs, box = torch.rand(4, 4), torch.tensor([2.3, 1.4, 9.7, 8.1])
    figure = pr.plot_paste(probs, box, (10, 12))
    inside = int(paste_masks(probs[None], box[None], (10, 12)).sum())
    assert figure.axes[1].get_title().startswith(f"{inside} pixels")


def test_every_figure_can_be_drawn(street):
    sample, truth = street
    rng = torch.Generator().manual_seed(2)
    probs = torch.rand((6, 28, 28), generator=rng)
    classes = torch.rand((30, 7), generator=rng).softmax(1)
    found = Detections(
        truth.boxes,
        torch.linspace(1, 0.2, len(truth)),
        truth.labels,
        probs[:1].expand(len(truth), 28, 28),
    )
    targets = torch.ones(2, 28, 28, dtype=torch.bool)
    proposals = random_boxes(30, rng)
    figures = [
        pr.plot_levels(),
        pr.plot_reading_errors({4: pr.reading_errors(4, num=5), 8: pr.reading_errors(8, num=5)}),
        pr.plot_half_pixel(),
        pr.plot_class_boxes(sample.image, proposals[0], proposals[1:7], classes[0], CATEGORIES),
        pr.plot_mask_targets(sample.image, truth.boxes[:2], truth.masks[:2], targets),
        pr.plot_class_masks(sample.image, truth.boxes[0], probs, 2, CATEGORIES),
        pr.plot_ceiling(pr.sides_of(truth), {28: torch.rand(len(truth), generator=rng)}),
        pr.plot_stages(sample.image, proposals, classes, found, truth.masks, truth, CATEGORIES),
        pr.plot_findings([pr.Finding(sample.image, truth.masks[0], truth.masks[1], "car")]),
    ]
    for figure in figures:
        assert save(figure).std() > 5
