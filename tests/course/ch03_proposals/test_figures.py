"""What the figures of chapter 03 show, and the words for it."""

import io

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from pfpn.boxes import iou
from pfpn.course.ch03_proposals import figures
from pfpn.course.ch03_proposals.numbers import Miss, best_so_far, recall
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


def test_the_words_name_every_thing_and_its_size(street):
    words = figures.describe_instances(street[1], ToyStreet(1).categories)
    assert words.count(" x ") == len(street[1]) + 1  # and once in "Width x height"
    assert f"{len(street[1])} things" in words


def test_recall_in_words():
    words = figures.describe_recall({"IoU 0.5": torch.tensor([0.25, 0.5, 1.0])}, (1, 3))
    assert "IoU 0.5: 25 % with 1, 100 % with 3" in words


def test_misses_in_words():
    image = torch.zeros(3, 8, 8, dtype=torch.uint8)
    miss = Miss(image, torch.tensor([0.0, 0, 4, 4]), torch.tensor([0.0, 0, 4, 2]), "cup")
    assert "a cup of 4 x 4 pixels, IoU 0.50" in figures.describe_misses([miss])


def test_the_fit_of_anchors_in_words():
    words = figures.describe_anchor_fit(torch.tensor([0.4, 0.6, 0.8]))
    assert "3 things" in words
    assert "lie above 0.60, 33 % reach 0.7, the lowest is 0.40" in words


def test_every_figure_can_be_drawn(street):
    sample, truth = street
    anchors = random_boxes(60, torch.Generator().manual_seed(1))
    matched, labels = match_by_iou(iou(anchors, truth.boxes), 0.3, 0.7, keep_best=True)
    scores = torch.linspace(0, 1, 60)
    best = best_so_far(truth.boxes, anchors, 60)
    levels = {f"p{k}": torch.linspace(-1, 1, 9) * 2**k for k in (2, 3)}
    cell = {"level": "p4", "stride": 16, "side": 32.0, "ratios": (0.5, 1.0, 2.0)}
    rules = {"a": labels, "b": labels}
    for figure in (
        figures.plot_instances(sample.image, truth, ToyStreet(1).categories),
        figures.plot_overlap(torch.tensor([0.0, 0, 4, 4]), torch.tensor([6.0, 6, 8, 8])),
        figures.plot_shift(0.25),
        figures.plot_anchors(sample.image, truth.boxes, **cell),
        figures.plot_anchor_fit(torch.tensor([8.0, 30.0]), torch.tensor([0.4, 0.8]), (8, 16, 32)),
        figures.plot_matches(sample.image, truth.boxes, anchors, matched, rules),
        figures.plot_coding(levels, levels),
        figures.plot_box_losses(),
        figures.plot_objectness(sample.image, truth.boxes, {"p2": torch.rand(16, 24)}),
        figures.plot_nms(sample.image, anchors, scores, 0.5),
        figures.plot_recall({"a": recall(best, 0.5)}, ends=(10,)),
        figures.plot_misses([Miss(sample.image, truth.boxes[0], anchors[0], "car")]),
    ):
        assert save(figure).std() > 5


def test_two_boxes_are_titled_with_their_iou():
    a, b = torch.tensor([0.0, 0, 6, 4]), torch.tensor([2.0, 1, 8, 5])
    title = figures.plot_overlap(a, b).axes[0].get_title()
    assert title == "intersection 12 (hatched), union 36: IoU 0.333"


def test_an_anchor_figure_says_how_well_the_anchors_fit():
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    box = torch.tensor([[8.0, 8, 24, 24]])  # exactly the square anchor of the middle
    figure = figures.plot_anchors(image, box, level="p3", stride=8, side=16.0, ratios=(1.0,))
    assert figure.axes[0].get_title() == "p3: 4 x 4 positions, side 16, IoU 1.00"


def test_a_thing_without_an_anchor_is_drawn_as_one():
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    truth = torch.tensor([[0.0, 0, 8, 8], [20, 20, 30, 30]])
    anchors = torch.tensor([[0.0, 0, 8, 7]])
    matched, labels = match_by_iou(iou(anchors, truth), 0.3, 0.7, keep_best=False)
    (axes,) = figures.plot_matches(image, truth, anchors, matched, {"rule": labels}).axes
    assert axes.get_title() == "rule: 1 anchors for 1 of 2 things"
    assert len(axes.lines) == 1  # the cross over the second thing


def test_the_boxes_that_stay_are_counted():
    image = torch.zeros(3, 16, 16, dtype=torch.uint8)
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [12, 12, 15, 15]])
    (axes,) = figures.plot_nms(image, boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5).axes
    assert axes.get_title() == "threshold 0.5: 2 of 3 boxes stay"
    suppressed, kept = axes.collections
    assert len(suppressed.get_segments()) == 1
    assert kept.get_segments()[-1][2].tolist() == [10, 10]  # the best on top
