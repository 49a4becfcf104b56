"""What the figures of chapter 04 show, and the words for it."""

import io

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from pfpn.boxes import area
from pfpn.course import find
from pfpn.course.ch04_boxes_masks import figures
from pfpn.course.ch04_boxes_masks.numbers import MaskPair, reading_errors
from pfpn.data.toy import ToyStreet
from pfpn.data.transforms import to_targets
from pfpn.paste import paste_masks
from pfpn.roi_align import axis_weights, roi_align
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


def test_bilinear_figure_weighs_like_the_slow_version():
    values = torch.tensor([[10.0, 20.0], [30.0, 60.0]])
    title = figures.plot_bilinear(values, 0.3, 0.9).axes[0].get_title()
    expected = float(slow.bilinear(values[None], 0.3, 0.9)[0])
    assert title.endswith(f"{expected:.2f}")


def test_words_carry_the_numbers():
    assert "112, 224, 448" in figures.describe_levels()
    assert "between 14 and 28 cells" in figures.describe_levels()
    assert "14 x 14: mean 0.750, lowest 0.50" in figures.describe_ceiling(
        {14: torch.tensor([0.5, 1])}
    )
    assert "stride 4: RoIAlign 2.0" in figures.describe_reading_errors(
        {4: {"RoIAlign": torch.full((1, 1), 2.0)}}
    )


def test_box_level_and_pooling_titles():
    image = torch.zeros(3, 64, 96, dtype=torch.uint8)
    title = figures.plot_box_level(image, 60, 112.0).axes[0].get_title()
    assert title == "side 60: p3, stride 8, 7.5 cells"
    titles = [axes.get_title() for axes in figures.plot_pooling(36.0).axes]
    assert titles[0].endswith("reads 32 to 128")


def test_the_product_that_is_drawn_is_roi_align():
    rng = torch.Generator().manual_seed(0)
    channel = torch.rand(6, 9, generator=rng)
    box = torch.tensor([1.3, 0.6, 7.9, 5.2])  # in cells
    start, extent = box[:2] - 0.5, box[2:] - box[:2]
    wx = axis_weights(start[:1], extent[:1], 3, 9, 2)[0]
    wy = axis_weights(start[1:], extent[1:], 3, 6, 2)[0]
    figure = figures.plot_two_products(wy, channel, wx, box)
    pooled = torch.as_tensor(np.asarray(figure.axes[3].images[0].get_array()))
    roi = torch.cat([torch.zeros(1), box])[None]
    expected = roi_align(channel[None, None], roi, 3, 1.0, 2)[0, 0]
    torch.testing.assert_close(pooled, expected)
    assert [axes.get_title() for axes in figure.axes[::3]] == ["$W_y$: 3 x 6", "the bins: 3 x 3"]
    assert f"{100 * float((wy > 0).float().mean()):.0f} % of Wy" in figures.describe_two_products(
        wy, wx
    )
    assert save(figure).std() > 5


def test_paste_figure_counts_what_pasting_gives():
    probs, box = torch.rand(4, 4), torch.tensor([2.3, 1.4, 9.7, 8.1])
    figure = figures.plot_paste(probs, box, (10, 12))
    inside = int(paste_masks(probs[None], box[None], (10, 12)).sum())
    assert figure.axes[1].get_title().startswith(f"{inside} pixels")


def test_pairs_of_masks_in_words():
    truth = torch.ones(4, 4, dtype=torch.bool)
    pair = MaskPair(torch.zeros(3, 4, 4, dtype=torch.uint8), truth, truth, "cup")
    assert "1 things: cup, IoU 1.00" in figures.describe_mask_pairs([pair])


def random_stages(
    truth: Instances, rng: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, Detections]:
    """Return proposals, probabilities of their classes, and the truth as detections."""
    small = torch.rand((1, 28, 28), generator=rng).expand(len(truth), 28, 28)
    detections = Detections(truth.boxes, torch.linspace(1, 0.2, len(truth)), truth.labels, small)
    return random_boxes(30, rng), torch.rand((30, 7), generator=rng).softmax(1), detections


def test_the_stages_are_counted(street):
    sample, truth = street
    proposals, probs, detections = random_stages(truth, torch.Generator().manual_seed(2))
    things = int((probs.argmax(dim=1) < 6).sum())
    sure = int((detections.scores > 0.5).sum())
    figure = figures.plot_instance_stages(
        sample.image, proposals, probs, detections, truth.masks, truth, CATEGORIES
    )
    assert [axes.get_title() for axes in figure.axes] == [
        "1  proposals (30)", f"2  not background ({things})", f"3  refined ({len(truth)})",
        f"4  score above 0.5 ({sure})", "5  their masks", f"6  truth ({len(truth)})",
    ]  # fmt: skip
    assert [len(axes.texts) for axes in figure.axes] == [0, 0, 0, sure, 0, 0]
    assert save(figure).std() > 5


def test_the_mask_of_the_detections_own_class_is_framed(street):
    sample, truth = street
    figure = figures.plot_class_masks(
        sample.image, truth.boxes[0], torch.rand(6, 28, 28), 2, CATEGORIES
    )
    widths = [axes.spines["left"].get_linewidth() for axes in figure.axes]
    assert widths.index(3) == 3  # after the image
    assert save(figure).std() > 5


def test_every_figure_can_be_drawn(street):
    sample, truth = street
    rng = torch.Generator().manual_seed(2)
    proposals, probs, _ = random_stages(truth, rng)
    targets = torch.ones(2, 28, 28, dtype=torch.bool)
    for figure in (
        figures.plot_levels(),
        figures.plot_reading_errors({k: reading_errors(k, num=5) for k in (4, 8)}),
        figures.plot_half_pixel(),
        figures.plot_class_boxes(sample.image, proposals[0], proposals[1:7], probs[0], CATEGORIES),
        figures.plot_mask_targets(sample.image, truth.boxes[:2], truth.masks[:2], targets),
        figures.plot_ceiling(area(truth.boxes).sqrt(), {28: torch.rand(len(truth), generator=rng)}),
        figures.plot_mask_pairs([MaskPair(sample.image, truth.masks[0], truth.masks[1], "car")]),
    ):
        assert save(figure).std() > 5


def test_a_readers_level_is_drawn_in_place_of_the_package_s():
    image = torch.zeros(3, 128, 192, dtype=torch.uint8)
    mine = find("04.level_of_box").reference
    for side in (20, 55, 57, 110):
        titles = [
            figures.plot_box_level(image, side, 112, level_of).axes[0].get_title()
            for level_of in (None, mine, lambda width, height: 5)
        ]
        assert titles[0] == titles[1]
        assert "p5, stride 32" in titles[2]
