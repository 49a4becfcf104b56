"""What the figures of boxes show, and the words for it."""

import io

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch.testing import assert_close

from pfpn.boxes import batched_nms, iou
from pfpn.course.ch03_proposals import figures as pi
from pfpn.data.toy import ToyStreet
from pfpn.data.transforms import to_targets
from pfpn.matching import match_by_iou
from pfpn.structures import Instances, Sample
from tests.factories import random_boxes


@pytest.fixture(scope="module")
def street() -> tuple[Sample, Instances]:
    streets = ToyStreet(1, seed=7, first=11, size=(64, 96))
    return streets[0], to_targets(streets[0], streets.categories)[0]


def save(figure: Figure) -> np.ndarray:
    """Draw, so that whatever cannot be drawn fails here; return the pixels."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="rgba", dpi=60)
    return np.frombuffer(buffer.getvalue(), dtype=np.uint8)


@pytest.mark.parametrize("axes", [1, 2])
def test_iou_of_a_shift_is_the_iou_of_the_shifted_box(axes):
    shifts = np.linspace(0, 1.2, 13)
    unit = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    moved = unit.repeat(13, 1)
    moved[:, 0::2] += torch.from_numpy(shifts).float()[:, None]
    if axes == 2:
        moved[:, 1::2] += torch.from_numpy(shifts).float()[:, None]
    found = torch.from_numpy(pi.iou_of_shift(shifts, axes)).float()
    assert_close(found, iou(unit, moved)[0], atol=1e-6, rtol=0)


def test_a_suppressed_box_names_its_suppressor_and_the_middle_of_a_chain_suppresses_nobody():
    boxes = torch.tensor([[4.0, 0, 14, 10], [0, 0, 10, 10], [2, 0, 12, 10], [40, 40, 50, 50]])
    scores = torch.tensor([0.7, 0.9, 0.8, 0.1])
    assert pi.nms_trace(boxes, scores, 0.5).tolist() == [0, 1, 1, 3]


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0])
def test_the_boxes_that_name_themselves_are_those_that_nms_keeps(rng, threshold):
    boxes, scores = random_boxes(40, rng), torch.rand(40, generator=rng)
    by = pi.nms_trace(boxes, scores, threshold)
    kept = batched_nms(boxes, scores, torch.zeros(40, dtype=torch.int64), threshold)
    assert set((by == torch.arange(40)).nonzero()[:, 0].tolist()) == set(kept.tolist())


def test_best_so_far_and_recall_by_hand():
    truth = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30]])
    proposals = torch.tensor([[0.0, 0, 10, 5], [20, 20, 30, 30], [0, 0, 10, 9]])
    best = pi.best_so_far(truth, proposals, 5)
    assert_close(best, torch.tensor([[0.5, 0.5, 0.9, 0.9, 0.9], [0, 1.0, 1, 1, 1]]))
    assert pi.recall(best, 0.5).tolist() == [0.5, 1, 1, 1, 1]
    assert pi.recall(best, 0.9).tolist() == [0, 0.5, 1, 1, 1]


def test_without_proposals_nothing_is_found():
    best = pi.best_so_far(torch.rand(3, 4), torch.zeros(0, 4), 4)
    assert best.tolist() == [[0.0] * 4] * 3


def test_what_covers_a_box_is_counted_without_its_own_mask():
    masks = torch.zeros(2, 4, 6, dtype=torch.bool)
    masks[0, :, :2] = True
    masks[1, 1:3, 1:6] = True
    masks[0] &= ~masks[1]
    boxes = torch.tensor([[0.0, 0, 2, 4], [1.0, 1, 6, 3]])
    found = pi.covered_by_others(Instances(boxes, torch.zeros(2, dtype=torch.int64), masks))
    assert_close(found, torch.tensor([2 / 8, 0.0]))


@pytest.mark.parametrize("beta", [0.0, 0.25, 1.0])
def test_smooth_l1_is_torchs_and_its_slope_is_the_gradient(beta):
    error = torch.tensor([-2.0, -0.7, -0.1, 0.2, 1.5], requires_grad=True)
    loss = torch.nn.functional.smooth_l1_loss(error, torch.zeros(5), beta=beta, reduction="none")
    loss.sum().backward()
    value, slope = pi.smooth_l1(error.detach().numpy(), beta)
    assert_close(torch.from_numpy(value), loss.detach())
    assert_close(torch.from_numpy(slope), error.grad)


def test_the_words_name_every_thing_and_its_size(street):
    words = pi.describe_instances(street[1], ToyStreet(1).categories)
    assert words.count(" x ") == len(street[1]) + 1  # and once in "Width x height"
    assert f"{len(street[1])} things" in words


def test_a_miss_knows_its_overlap():
    image = torch.zeros(3, 8, 8, dtype=torch.uint8)
    miss = pi.Miss(image, torch.tensor([0.0, 0, 4, 4]), torch.tensor([0.0, 0, 4, 2]), "cup")
    assert miss.overlap == 0.5
    assert "a cup of 4 x 4 pixels, IoU 0.50" in pi.describe_misses([miss])


def test_recall_in_words():
    words = pi.describe_recall({"IoU 0.5": torch.tensor([0.25, 0.5, 1.0])}, (1, 3))
    assert "IoU 0.5: 25 % with 1, 100 % with 3" in words


def test_every_figure_can_be_drawn(street):
    sample, truth = street
    anchors = random_boxes(60, torch.Generator().manual_seed(1))
    matched, verdict = match_by_iou(iou(anchors, truth.boxes), 0.3, 0.7, keep_best=True)
    scores = torch.linspace(0, 1, 60)
    best = pi.best_so_far(truth.boxes, anchors, 60)
    levels = {f"p{k}": torch.linspace(-1, 1, 9) * 2**k for k in (2, 3)}
    place = {"level": "p4", "stride": 16, "side": 32.0, "ratios": (0.5, 1.0, 2.0)}
    figures = [
        pi.plot_instances(sample.image, truth, ToyStreet(1).categories),
        pi.plot_overlap(torch.tensor([0.0, 0, 4, 4]), torch.tensor([6.0, 6, 8, 8])),
        pi.plot_shift(0.25),
        pi.plot_anchors(sample.image, truth.boxes, **place),
        pi.plot_anchor_fit(torch.tensor([8.0, 30.0]), torch.tensor([0.4, 0.8]), (8, 16, 32)),
        pi.plot_matches(sample.image, truth.boxes, anchors, matched, {"a": verdict, "b": verdict}),
        pi.plot_coding(levels, levels),
        pi.plot_box_losses(),
        pi.plot_objectness(sample.image, truth.boxes, {"p2": torch.rand(16, 24)}),
        pi.plot_nms(sample.image, anchors, scores, 0.5),
        pi.plot_recall({"a": pi.recall(best, 0.5)}, ends=(10,)),
        pi.plot_misses([pi.Miss(sample.image, truth.boxes[0], anchors[0], "car")]),
    ]
    for figure in figures:
        assert save(figure).std() > 5


def test_an_anchor_figure_says_how_well_the_anchors_fit():
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    box = torch.tensor([[8.0, 8, 24, 24]])  # exactly the square anchor of the middle
    figure = pi.plot_anchors(image, box, level="p3", stride=8, side=16.0, ratios=(1.0,))
    assert figure.axes[0].get_title() == "p3: 4 x 4 places, side 16, IoU 1.00"


def test_a_thing_without_an_anchor_is_drawn_as_one():
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    truth = torch.tensor([[0.0, 0, 8, 8], [20, 20, 30, 30]])
    anchors = torch.tensor([[0.0, 0, 8, 7]])
    matched, verdict = match_by_iou(iou(anchors, truth), 0.3, 0.7, keep_best=False)
    figure = pi.plot_matches(image, truth, anchors, matched, {"rule": verdict})
    assert figure.axes[0].get_title() == "rule: 1 anchors for 1 of 2 things"
