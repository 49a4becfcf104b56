"""The Jaccard loss of sets, its extension and Algorithm 1, by hand and against the package."""

from math import log

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from pfpn.course.ch06_lovasz import numbers
from pfpn.losses.lovasz import jaccard_loss, lovasz_extension, lovasz_softmax


@pytest.fixture
def regions():
    small, large = torch.zeros(2, 20, 20, dtype=torch.bool)
    small[4:8, 4:8] = True  # 16 pixels
    large[:, 10:] = True  # 200
    return small, large


def test_three_predictions_are_wrong_at_equally_many_pixels(regions):
    pairs = numbers.same_count_predictions(*regions)
    scores = {name: numbers.score_region(*pair) for name, pair in pairs.items()}
    assert {row["wrong"] for row in scores.values()} == {8}
    assert len({row["cross_entropy"] for row in scores.values()}) == 1
    assert_close(scores["cut"]["iou"], 8 / 16)
    assert_close(scores["grown"]["iou"], 16 / 24)
    assert_close(scores["large"]["iou"], 192 / 200)


def test_the_outer_pixels_are_cut_and_the_nearest_are_added(regions):
    pairs = numbers.same_count_predictions(*regions)
    truth, cut = pairs["cut"]
    assert cut[5:7, 5:7].all()  # the four inner pixels stay
    assert not (cut & ~truth).any()
    truth, grown = pairs["grown"]
    added = (grown & ~truth).nonzero()
    assert added.amin() >= 3
    assert added.amax() <= 8


def test_cross_entropy_of_one_confidence_depends_on_the_number_of_wrong_pixels_alone():
    truth = torch.tensor([[True, True, False, False]])
    scores = numbers.score_region(
        truth, torch.tensor([[True, False, False, False]]), confidence=0.9
    )
    assert_close(scores["cross_entropy"], -0.75 * log(0.9) - 0.25 * log(0.1))
    assert scores["accuracy"] == 0.75
    assert scores["iou"] == 0.5


def test_along_a_logit_only_the_jaccard_loss_jumps():
    axis = torch.linspace(-5, 5, 1001, dtype=torch.float64)
    lines = numbers.losses_along_a_logit(axis)
    assert len(np.unique(lines["jaccard"])) == 2
    assert np.abs(np.diff(lines["jaccard"])).max() == pytest.approx(1 / 3)
    for name in ("cross_entropy", "lovasz_softmax"):
        assert np.abs(np.diff(lines[name])).max() < 0.01
        assert (np.diff(lines[name]) <= 0).all()


# Diminishing returns ----------------------------------------------------------------------------


def test_rises_of_jaccard_fall_and_one_of_dice_grows():
    for values in numbers.rises("jaccard", 10).values():
        assert (np.diff(values) <= 1e-12).all()
    assert (np.diff(numbers.rises("dice", 10)["miss after missed"]) > 0).all()


def test_rises_of_jaccard_have_their_closed_forms():
    num_fg, k = 7, np.arange(7)
    values = numbers.rises("jaccard", num_fg)
    assert_close(values["miss after added"], 1 / (num_fg + k))
    assert_close(values["add after missed"], (num_fg - k) / (num_fg * (num_fg + 1)))
    assert_close(values["add after added"], num_fg / ((num_fg + k) * (num_fg + k + 1)))


# The extension ----------------------------------------------------------------------------------


def test_a_mixture_has_the_extension_of_the_package(rng):
    for _ in range(20):
        m = torch.rand(7, generator=rng, dtype=torch.float64)
        truth = torch.rand(7, generator=rng) < 0.5
        expected = lovasz_extension(lambda wrong, y=truth: jaccard_loss(wrong, y), m)
        chain = numbers.make_chain(m.tolist(), truth.int().tolist())
        assert_close(chain.extension, float(expected))
        assert_close(chain.fractions.sum(), 1.0)


def test_a_mixture_of_two_pixels_by_hand():
    chain = numbers.make_chain((0.3, 0.8), (1, 0))
    assert chain.order.tolist() == [1, 0]
    assert_close(chain.fractions, np.array([0.2, 0.5, 0.3]))
    assert_close(chain.values, np.array([0, 0.5, 1]))
    assert_close(chain.extension, 0.55)
    assert [chain.members(size) for size in range(3)] == ["", "b", "a, b"]


def test_the_mean_over_thresholds_is_the_extension():
    middles = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    loss = numbers.thresholded_loss(middles, numbers.EIGHT_ERRORS, numbers.EIGHT_TRUTH)
    expected = numbers.make_chain(numbers.EIGHT_ERRORS, numbers.EIGHT_TRUTH).extension
    assert_close(loss.mean(), expected, rtol=0, atol=1e-9)


def test_algorithm_1_on_eight_pixels_by_hand():
    steps = numbers.run_algorithm()
    assert "".join(numbers.LETTERS[i] for i in steps.order) == "dbgcfhae"
    assert steps.intersection == [3, 2, 2, 1, 1, 1, 0, 0]
    assert steps.union == [4, 4, 5, 5, 6, 7, 7, 8]
    assert_close(steps.weights[:4], [1 / 4, 1 / 4, 1 / 10, 1 / 5])
    assert abs(steps.weights[-1]) < 1e-12
    assert_close(sum(steps.weights), 1.0)
    assert_close(
        steps.total, numbers.make_chain(numbers.EIGHT_ERRORS, numbers.EIGHT_TRUTH).extension
    )


def test_every_order_of_joining_gives_a_point_of_the_base_polytope():
    truth = (1, 0, 0)
    for weights in numbers.base_vertices(truth).values():
        assert_close(sum(weights), 1.0)
        for wrong in range(8):
            members = torch.tensor([bool(wrong >> i & 1) for i in range(3)])
            bound = jaccard_loss(members, torch.tensor(truth).bool())
            assert (
                sum(w for w, is_in in zip(weights, members, strict=True) if is_in) <= bound + 1e-12
            )


def test_the_largest_weighted_sum_is_that_of_the_order_by_falling_error():
    sums = numbers.sums_by_order(numbers.THREE_ERRORS, numbers.THREE_TRUTH)
    assert len(sums) == 6
    best = numbers.sorted_letters(numbers.THREE_ERRORS)
    assert best == "bca"
    assert max(sums.values()) == sums[best]
    assert_close(sums[best], numbers.make_chain(numbers.THREE_ERRORS, (1, 0, 0)).extension)


def test_weight_maps_sum_to_one_and_leave_ignored_pixels_out(rng):
    probs = torch.randn(3, 6, 5, generator=rng).softmax(0)
    labels = torch.randint(3, (6, 5), generator=rng)
    labels[0] = 255
    errors, weights = numbers.class_weight_maps(probs, labels, 1)
    assert_close(float(weights.sum()), 1.0)
    assert not weights[0].any()
    expected = lovasz_softmax(probs[None].double(), labels[None], classes=[1], ignore=255)
    assert_close((errors * weights).sum(), expected, rtol=1e-5, atol=1e-6)


def test_class_losses_are_those_of_the_package(rng):
    logits = torch.randn(4, 6, 5, generator=rng)
    labels = torch.randint(3, (6, 5), generator=rng)  # class 3 is absent
    labels[0] = 255
    losses = numbers.class_losses(logits, labels)
    assert {len(values) for values in losses.values()} == {3}
    for c in range(3):
        expected = lovasz_softmax(
            logits[None].double().softmax(1), labels[None], classes=[c], ignore=255
        )
        assert_close(losses["lovasz"][c], float(expected), rtol=1e-5, atol=1e-6)
        own = labels == c
        entropy = -logits.double().log_softmax(0)[c][own].mean()
        assert_close(losses["cross_entropy"][c], float(entropy), rtol=1e-5, atol=1e-6)
        truth, claimed = own[1:], logits.argmax(0)[1:] == c
        iou = (truth & claimed).sum() / (truth | claimed).sum()
        assert_close(losses["jaccard"][c], 1 - float(iou), rtol=1e-5, atol=1e-6)


# A training that fails --------------------------------------------------------------------------


def test_a_tiny_scene_has_one_small_rectangle_that_is_brighter():
    scenes = numbers.draw_tiny_scenes(50, seed=1)
    for truth in scenes.truth:
        rows, columns = truth.any(1).sum(), truth.any(0).sum()
        assert 3 <= min(rows, columns) <= max(rows, columns) <= 5
        assert truth.sum() == rows * columns
    inside = scenes.images[:, 0][scenes.truth].mean()
    assert_close(float(inside - scenes.images[:, 0][~scenes.truth].mean()), 1.25, rtol=0, atol=0.1)
    again = numbers.draw_tiny_scenes(50, seed=1)
    assert torch.equal(again.images, scenes.images)


@pytest.mark.parametrize("loss", numbers.TINY_LOSSES)
def test_every_loss_of_tiny_scenes_can_be_followed_downhill(loss):
    results = numbers.train_tiny(loss, seed=0, stops=[1, 12])
    assert results[1].loss < results[0].loss
    for result in results:
        assert 0 <= result.iou <= result.accuracy <= 1
        claimed = result.probs > 0.5
        truth = numbers.draw_tiny_scenes(64, 1000).truth
        assert_close(result.accuracy, float((claimed == truth).double().mean()))
        assert_close(result.iou, numbers.region_iou(claimed, truth))
        assert_close(result.moved, numbers.region_iou(result.probs > result.threshold, truth))


def test_tiny_losses_are_those_of_the_package(rng):
    logits = torch.randn(3, 5, 5, generator=rng, dtype=torch.float64)
    truth = torch.rand(3, 5, 5, generator=rng) < 0.3
    sign = torch.where(truth, 1.0, -1.0)
    for name, errors in (
        ("Lovász hinge", (1 - sign * logits).relu()),
        ("Lovász hinge, elu + 1", torch.nn.functional.elu(1 - sign * logits) + 1),
        ("Lovász on sigmoids", (-sign * logits).sigmoid()),
    ):
        expected = lovasz_extension(
            lambda wrong: jaccard_loss(wrong, truth.flatten()), errors.flatten()
        )
        value = numbers.TINY_LOSSES[name](logits, truth)
        assert_close(float(value), float(expected), rtol=1e-5, atol=1e-6)


def test_a_network_starts_alike_whatever_was_drawn_before():
    first = numbers.build_tiny_network(3)
    torch.rand(5)
    for one, two in zip(
        first.parameters(), numbers.build_tiny_network(3).parameters(), strict=True
    ):
        assert torch.equal(one, two)
