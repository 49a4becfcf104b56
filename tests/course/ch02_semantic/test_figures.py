import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch.testing import assert_close

from pfpn.course.ch02_semantic import figures as ps
from pfpn.data.toy import TOY_CATEGORIES
from pfpn.plot.palette import VOID_COLOR
from pfpn.semantic import SemanticHead
from pfpn.structures import IGNORE


@pytest.fixture
def head() -> SemanticHead:
    torch.manual_seed(0)
    return SemanticHead(6, channels=8, num_classes=3)


def pyramid() -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    return {f"p{k}": torch.randn(2, 6, 64 // 2**k, 96 // 2**k, generator=rng) for k in range(2, 7)}


def test_all_branches_together_are_the_head(head):
    branches = ps.branch_maps(head, pyramid())
    assert {tuple(b.shape) for b in branches.values()} == {(2, 8, 16, 24)}
    assert_close(ps.classify(head, branches), head(pyramid()))


def test_level_left_out_is_subtracted_or_replaced_by_its_mean(head):
    branches = ps.branch_maps(head, pyramid())
    keep = ("p2", "p3", "p5")
    whole = ps.classify(head, branches)
    weight = head.classify.weight
    lost = whole - ps.classify(head, branches, keep)
    assert_close(lost, F.conv2d(branches["p4"], weight), atol=1e-4, rtol=1e-4)
    mean = branches["p4"].mean((0, 2, 3), keepdim=True)
    lost = whole - ps.classify(head, branches, keep, "mean")
    assert_close(lost, F.conv2d(branches["p4"] - mean, weight), atol=1e-4, rtol=1e-4)


def test_class_scores_counted_by_hand():
    truth = torch.tensor([0, 0, 0, 1, IGNORE])
    found = torch.tensor([0, 0, 1, 1, 0])
    zero, one, absent = ps.class_scores(found, truth, 3)
    assert (zero.iou, zero.recall, zero.precision) == pytest.approx((2 / 3, 2 / 3, 1))
    assert (one.iou, one.recall, one.precision) == pytest.approx((1 / 2, 1, 1 / 2))
    assert math.isnan(absent.iou)
    assert ps.mean_iou(found, truth, 3) == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_confusion_rows_are_shares_of_the_truth():
    truth, found = torch.tensor([0, 0, 0, 1, IGNORE]), torch.tensor([0, 0, 1, 1, 0])
    wanted = torch.tensor([[2 / 3, 1 / 3], [0, 1]], dtype=torch.float64)
    assert_close(ps.confusion(found, truth, 2), wanted)


def test_border_is_where_another_label_is_near():
    labels = torch.zeros(1, 1, 8, dtype=torch.int64)
    labels[..., 4:] = 3
    near = ps.near_border(labels, reach=2)[0, 0]
    assert near.tolist() == [False, False, True, True, True, True, False, False]


def test_entropy_of_the_sure_and_of_the_clueless():
    logits = torch.zeros(1, 6, 1, 2)
    logits[0, 2, 0, 1] = 100
    found = ps.entropy(logits)[0, 0]
    assert_close(found, torch.tensor([math.log(6), 0.0]))


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize(("num", "factor"), [(4, 4), (5, 2)])
def test_positions_are_those_that_torch_reads(num, factor, aligned):
    ramp = torch.arange(num, dtype=torch.float64)[None, None]
    read = F.interpolate(ramp, size=num * factor, mode="linear", align_corners=aligned)[0, 0]
    assert_close(ps.sample_positions(num, factor, aligned), read)


def test_blocks_get_their_most_frequent_label():
    labels = torch.tensor([[[0, 1, 2, 2], [1, 1, IGNORE, IGNORE]]])
    assert ps.block_labels(labels, 3, 2).tolist() == [[[1, 1, 2, 2], [1, 1, 2, 2]]]


def test_no_other_answer_in_blocks_agrees_with_more_pixels(rng):
    labels = torch.randint(0, 3, (1, 8, 8), generator=rng)
    best = (ps.block_labels(labels, 3, 4) == labels).sum()
    for label in range(3):
        assert best >= (labels == label).sum()


def test_names_and_colors_go_by_label():
    assert ps.label_names(TOY_CATEGORIES) == [
        "other", "sky", "building", "road", "sidewalk", "grass"
    ]  # fmt: skip
    everything = ps.label_names(TOY_CATEGORIES, all_classes=True)
    assert everything == [category.name for category in TOY_CATEGORIES]
    colors = ps.label_colors(TOY_CATEGORIES)
    assert colors[1:] == [c.color for c in TOY_CATEGORIES if not c.is_thing]
    painted = ps.paint_labels(torch.tensor([[1, IGNORE]]), colors)
    assert painted[0].tolist() == [list(colors[1]), list(VOID_COLOR)]


def test_figures_are_made_and_drawing_shows_the_shapes():
    shapes = {f"p{k}": (6, 64 // 2**k, 96 // 2**k) for k in range(2, 6)}
    score = ps.ClassScore(0.5, 0.6, 0.7)
    labels = torch.tensor([[0, 1], [1, IGNORE]])
    drawn = [
        ps.plot_branch(shapes, 8, 3),
        ps.plot_panels({"a": np.zeros((4, 6, 3)), "b": np.ones((4, 6))}, heat=("b",)),
        ps.plot_panels({"a": np.zeros((4, 6, 3))}, ["one"], [(1, 2, 3)]),
        ps.plot_norms(),
        ps.plot_alignment(),
        ps.plot_class_shares({"one": 0.4}, [(1, 2, 3)]),
        ps.plot_change([score], [score], ["one"], [(1, 2, 3)]),
        ps.plot_confusion(labels, labels, ["one", "two"]),
    ]
    assert all(isinstance(figure, Figure) for figure in drawn)
    texts = [text.get_text() for text in drawn[0].axes[0].texts]
    assert texts.count("8 x 16 x 24") == 4  # every chain ends at stride 4
    assert sum(text == "3x3, GN, ReLU\n2x bilinear" for text in texts) == 3 + 2 + 1
    assert texts[-1] == "3 x 64 x 96"


def test_group_norm_is_drawn_with_as_many_means_as_it_has():
    panels = ps.plot_norms().axes
    means = [len({text.get_text() for text in axes.texts}) for axes in panels]
    assert means == [8, 3, 24, 6]


def test_words_hold_the_numbers():
    assert "sky 22.1" in ps.describe_class_shares({"sky": 0.221})
    one, two = ps.ClassScore(0.5, 0.6, 0.7), ps.ClassScore(0.25, 0.6, 0.7)
    assert "dog 50 to 25" in ps.describe_change([one], [two], ["dog"])
