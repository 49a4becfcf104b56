"""The semantic head in numbers: its branches, scores, positions, blocks."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from pfpn.course.ch02_semantic.numbers import (
    block_labels,
    branch_maps,
    class_scores,
    classify,
    confusion,
    enlarge_row,
    entropy,
    label_names,
    near_border,
    sample_positions,
)
from pfpn.course.iou import mean_iou
from pfpn.data.toy import TOY_CATEGORIES
from pfpn.semantic import SemanticHead
from pfpn.structures import IGNORE


@pytest.fixture
def head() -> SemanticHead:
    torch.manual_seed(0)
    return SemanticHead(6, channels=8, num_classes=3)


def pyramid() -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    return {f"p{k}": torch.randn(2, 6, 64 // 2**k, 96 // 2**k, generator=rng) for k in range(2, 7)}


def test_a_row_is_enlarged_at_half_pixel_centers():
    row = torch.tensor([0.0, 4.0])
    assert enlarge_row(row, 2, "linear").tolist() == [0.0, 1.0, 3.0, 4.0]
    assert enlarge_row(row, 2, "nearest").tolist() == [0.0, 0.0, 4.0, 4.0]
    once, twice = (
        enlarge_row(row, 4, "linear"),
        enlarge_row(enlarge_row(row, 2, "linear"), 2, "linear"),
    )
    assert once.tolist() == [0.0, 0.0, 0.5, 1.5, 2.5, 3.5, 4.0, 4.0]
    assert twice.tolist() == [0.0, 0.25, 0.75, 1.5, 2.5, 3.25, 3.75, 4.0]


def test_all_branches_together_are_the_head(head):
    branches = branch_maps(head, pyramid())
    assert {tuple(b.shape) for b in branches.values()} == {(2, 8, 16, 24)}
    assert_close(classify(head, branches), head(pyramid()))


def test_level_left_out_is_subtracted_or_replaced_by_its_mean(head):
    branches = branch_maps(head, pyramid())
    keep = ("p2", "p3", "p5")
    whole = classify(head, branches)
    weight = head.classify.weight
    lost = whole - classify(head, branches, keep)
    assert_close(lost, F.conv2d(branches["p4"], weight), atol=1e-4, rtol=1e-4)
    mean = branches["p4"].mean((0, 2, 3), keepdim=True)
    lost = whole - classify(head, branches, keep, "mean")
    assert_close(lost, F.conv2d(branches["p4"] - mean, weight), atol=1e-4, rtol=1e-4)


def test_class_scores_counted_by_hand():
    truth = torch.tensor([0, 0, 0, 1, IGNORE])
    prediction = torch.tensor([0, 0, 1, 1, 0])
    zero, one, absent = class_scores(prediction, truth, 3)
    assert (zero.iou, zero.recall, zero.precision) == pytest.approx((2 / 3, 2 / 3, 1))
    assert (one.iou, one.recall, one.precision) == pytest.approx((1 / 2, 1, 1 / 2))
    assert math.isnan(absent.iou)
    assert mean_iou(prediction, truth, 3) == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_rows_of_the_confusion_are_fractions_of_the_truth():
    truth, prediction = torch.tensor([0, 0, 0, 1, IGNORE]), torch.tensor([0, 0, 1, 1, 0])
    expected = torch.tensor([[2 / 3, 1 / 3], [0, 1]], dtype=torch.float64)
    assert_close(confusion(prediction, truth, 2), expected)


def test_border_is_where_another_label_is_near():
    labels = torch.zeros(1, 1, 8, dtype=torch.int64)
    labels[..., 4:] = 3
    near = near_border(labels, reach=2)[0, 0]
    assert near.tolist() == [False, False, True, True, True, True, False, False]


def test_entropy_is_that_of_the_probabilities():
    logits = torch.zeros(1, 6, 1, 2)
    logits[0, 2, 0, 1] = 100
    assert_close(entropy(logits)[0, 0], torch.tensor([math.log(6), 0.0]))


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize(("num", "factor"), [(4, 4), (5, 2)])
def test_positions_are_those_that_torch_reads(num, factor, aligned):
    ramp = torch.arange(num, dtype=torch.float64)[None, None]
    read = F.interpolate(ramp, size=num * factor, mode="linear", align_corners=aligned)[0, 0]
    assert_close(sample_positions(num, factor, aligned), read)


def test_blocks_get_their_most_frequent_label():
    labels = torch.tensor([[[0, 1, 2, 2], [1, 1, IGNORE, IGNORE]]])
    assert block_labels(labels, 3, 2).tolist() == [[[1, 1, 2, 2], [1, 1, 2, 2]]]


def test_no_other_label_map_in_blocks_agrees_with_more_pixels(rng):
    labels = torch.randint(0, 3, (1, 8, 8), generator=rng)
    best = (block_labels(labels, 3, 4) == labels).sum()
    for label in range(3):
        assert best >= (labels == label).sum()


def test_blocks_chosen_for_mean_iou_score_higher_and_get_fewer_pixels_right(rng):
    labels = (torch.rand(1, 32, 32, generator=rng) < 0.35).long()  # a rare class everywhere
    labels[:, :, :16] = 0
    frequent, chosen = (block_labels(labels, 2, 4, rounds) for rounds in (0, 4))
    assert mean_iou(chosen, labels, 2) > mean_iou(frequent, labels, 2)
    assert (chosen == labels).sum() < (frequent == labels).sum()
    blocks = chosen.unfold(1, 4, 4).unfold(2, 4, 4).flatten(3)
    assert torch.equal(blocks.amin(3), blocks.amax(3))


def test_names_are_in_the_order_of_the_labels():
    assert label_names(TOY_CATEGORIES) == [
        "other", "sky", "building", "road", "sidewalk", "grass"
    ]  # fmt: skip
    everything = label_names(TOY_CATEGORIES, all_classes=True)
    assert everything == [category.name for category in TOY_CATEGORIES]
