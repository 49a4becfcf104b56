"""The losses beside Lovász, and thresholds, against loops and against every choice of pixels."""

import itertools

import pytest
import torch
from torch.testing import assert_close

from pfpn.course.ch08_practice.losses import (
    best_expected_iou,
    decide,
    jaccard_metric_loss,
    one_hot,
    tversky_loss,
)
from pfpn.losses.segmentation import dice_loss, soft_jaccard_loss
from pfpn.structures import IGNORE


@pytest.fixture
def batch(rng):
    logits = torch.randn(2, 4, 3, 5, generator=rng)
    labels = torch.randint(3, (2, 3, 5), generator=rng)  # class 3 is absent
    labels[0, 0, :2] = IGNORE
    return logits.softmax(1), labels


def slow_tversky(probs, labels, added, missed):
    losses = []
    for c in range(probs.shape[1]):
        overlap = too_much = too_little = num = 0.0
        for b, y, x in itertools.product(*map(range, labels.shape)):
            if labels[b, y, x] == IGNORE:
                continue
            p, t = float(probs[b, c, y, x]), float(labels[b, y, x] == c)
            overlap += p * t
            too_much += p * (1 - t)
            too_little += (1 - p) * t
            num += t
        if num:
            losses.append(1 - overlap / (overlap + added * too_much + missed * too_little))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("added", [0.3, 0.5, 1.0])
def test_tversky_is_the_loop_over_pixels(added, batch):
    fast = tversky_loss(*batch, added=added, missed=0.7)
    assert float(fast) == pytest.approx(slow_tversky(*batch, added, 0.7), abs=1e-5)


def test_tversky_contains_dice_and_soft_jaccard(batch):
    assert_close(tversky_loss(*batch, added=0.5, missed=0.5), dice_loss(*batch))
    assert_close(tversky_loss(*batch, added=1.0, missed=1.0), soft_jaccard_loss(*batch))


def slow_metric_loss(probs, targets):
    losses = []
    for c in range(probs.shape[1]):
        both = apart = num = 0.0
        for b, y, x in itertools.product(*map(range, (len(probs), *probs.shape[2:]))):
            if float(targets[b, :, y, x].sum()) == 0:
                continue
            p, t = float(probs[b, c, y, x]), float(targets[b, c, y, x])
            both += p + t
            apart += abs(p - t)
            num += t
        if num:
            losses.append(1 - (both - apart) / (both + apart))
    return sum(losses) / len(losses)


def test_the_metric_loss_is_the_loop_over_pixels(batch):
    probs, labels = batch
    targets = one_hot(labels, 4)
    targets[1] = 0.8 * targets[1] + 0.1 * targets[1].roll(1, 0) + 0.1 * targets[1].roll(2, 0)
    assert float(jaccard_metric_loss(probs, targets)) == pytest.approx(
        slow_metric_loss(probs, targets), abs=1e-5
    )


def test_with_a_hard_truth_the_metric_loss_is_soft_jaccard(batch):
    probs, labels = batch
    assert_close(jaccard_metric_loss(probs, one_hot(labels, 4)), soft_jaccard_loss(probs, labels))


def test_with_a_soft_truth_the_metric_loss_is_least_at_the_truth_and_soft_jaccard_is_not():
    targets = torch.tensor([0.3, 0.7]).view(1, 2, 1, 1).expand(1, 2, 4, 4)
    assert float(jaccard_metric_loss(targets, targets)) == pytest.approx(0, abs=1e-6)
    for p in (0.0, 0.2, 0.4, 1.0):
        other = torch.tensor([p, 1 - p]).view(1, 2, 1, 1).expand(1, 2, 4, 4)
        assert float(jaccard_metric_loss(other, targets)) > 0.05
    # Soft Jaccard with sums of products for intersections.
    overlap = (targets * targets).sum()
    assert 1 - overlap / (2 * targets.sum() - overlap) > 0.3


def test_an_ignored_pixel_has_no_target():
    labels = torch.tensor([[[1, IGNORE]]])
    assert one_hot(labels, 2)[0, :, 0].tolist() == [[0.0, 0.0], [1.0, 0.0]]


def expected_iou(probs, chosen):
    """Expected intersection by expected union of a set of claimed pixels."""
    inside = sum(p for p, c in zip(probs, chosen, strict=True) if c)
    return inside / (sum(chosen) + sum(probs) - inside) if any(chosen) else 0.0


def test_no_other_set_of_pixels_has_a_better_expected_iou(rng):
    for _ in range(20):
        probs = torch.rand(7, generator=rng).double().pow(2)
        values = probs.tolist()
        best = max(expected_iou(values, chosen) for chosen in itertools.product((0, 1), repeat=7))
        threshold, iou = best_expected_iou(probs)
        assert iou == pytest.approx(best)
        assert threshold == pytest.approx(best / (1 + best))
        assert expected_iou(values, [int(p > threshold) for p in values]) == pytest.approx(best)


def test_a_hopeless_class_has_a_low_threshold_and_a_clear_one_a_half():
    assert best_expected_iou(torch.tensor([1.0, 1.0, 0.0, 0.0])) == (0.5, 1.0)
    threshold, iou = best_expected_iou(torch.full((100,), 0.1))
    assert (threshold, iou) == (pytest.approx(0.1 / 1.1), pytest.approx(0.1))


def test_equal_thresholds_decide_by_the_largest_probability(batch):
    probs, _ = batch
    assert torch.equal(decide(probs, torch.full((4,), 0.3)), probs.argmax(1))
    low = decide(probs, torch.tensor([0.5, 0.5, 0.5, 0.05]))
    assert (low == 3).sum() > (probs.argmax(1) == 3).sum()
