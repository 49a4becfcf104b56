"""Constants, batches, single logits and bins, by hand and against the package."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from pfpn.course import find
from pfpn.course.ch08_practice import numbers
from pfpn.losses.lovasz import lovasz_hinge, lovasz_softmax, lovasz_softmax_from_logits
from pfpn.plot.surface import extend_jaccard
from tests.course.ch08_practice.test_figures import TABLE


def two_channels(errors, is_fg):
    """Probabilities of background and foreground that have these errors."""
    fg = torch.where(is_fg, 1 - errors, errors)
    return torch.stack([1 - fg, fg])[None, :, None], is_fg.long()[None, None]


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.8])
def test_losses_of_a_constant_are_those_of_the_package(fraction):
    p = torch.tensor([0.1, 0.4, 0.5, 0.9])
    losses = numbers.constant_losses(p, fraction, num=10)
    labels = (torch.arange(10) < round(10 * fraction)).long().view(1, 1, 10)
    for i, value in enumerate(p.double()):
        probs = torch.stack([1 - value, value]).view(1, 2, 1, 1).expand(1, 2, 1, 10)
        assert_close(losses["class"][i], lovasz_softmax(probs, labels, classes=[1]).item())
        assert_close(losses["present"][i], lovasz_softmax(probs, labels).item())


def test_the_best_constants_of_lovasz_losses_are_0_a_half_and_1():
    assert numbers.best_constants(0.1)["class"] == pytest.approx(0.5)
    assert numbers.best_constants(0.3)["class"] == pytest.approx(0.5)
    assert numbers.best_constants(0.6)["class"] == pytest.approx(1.0)
    assert numbers.best_constants(0.1, without=0.4)["class"] == pytest.approx(0.5)
    assert numbers.best_constants(0.1, without=0.6)["class"] == 0
    assert numbers.best_constants(0.3)["cross_entropy"] == pytest.approx(0.3)


def test_a_fraction_without_pixels_of_both_kinds_is_refused():
    with pytest.raises(ValueError, match="fraction"):
        numbers.constant_losses(torch.tensor([0.5]), 0.0)


def test_batches_of_everything_have_the_loss_of_the_data_set():
    counts = torch.tensor([[90, 5, 5], [1, 4, 5], [0, 0, 0]])
    losses = numbers.batch_losses(counts, [1, 3], draws=600)
    assert_close(losses.data_set, 1 - 91 / 110)
    assert_close(losses.mean[1], losses.data_set)
    assert losses.spread[1] == pytest.approx(0, abs=1e-12)
    # Of single images the one without the class does not count.
    assert losses.mean[0] == pytest.approx((0.1 + 0.9) / 2, abs=0.06)


def test_gradients_are_the_derivatives_of_the_losses():
    logits = torch.full((100,), -20.0, dtype=torch.float64)
    logits[:10] = 20
    logits[0] = -1.5
    labels = (torch.arange(100) < 10).long().view(1, 1, 100)
    gradients = numbers.logit_gradients(np.array([-1.5]))

    def slope(loss):
        scores = logits.clone().requires_grad_()
        (slope,) = torch.autograd.grad(loss(scores), scores)
        return -slope[0].item()

    def softmax(scores):
        two = torch.stack([-scores / 2, scores / 2])[None, :, None]
        return lovasz_softmax_from_logits(two, labels, classes=[1])

    entropy = torch.nn.functional.binary_cross_entropy_with_logits
    assert_close(slope(softmax), gradients["lovasz_softmax"][0])
    assert_close(slope(lambda s: lovasz_hinge(s[None, None], labels)), gradients["hinge"][0])
    assert_close(
        slope(lambda s: entropy(s, labels.flatten().double())), gradients["cross_entropy"][0]
    )


@pytest.mark.parametrize("kind", ["spread", "sure", "worst"])
def test_the_binned_loss_is_the_package_s_and_at_most_a_bin_below_the_exact_one(kind, rng):
    for bins in (1, 4, 32):
        errors, is_fg = numbers.make_errors(kind, 0.1, rng, num=300, bins=bins)
        errors = errors.clamp(max=1)
        probs, labels = two_channels(errors, is_fg)
        binned, weights = numbers.binned_weights(errors, is_fg, bins)
        expected = lovasz_softmax(probs, labels, classes=[1], bins=bins)
        assert_close(binned, expected.item(), rtol=1e-6, atol=1e-7)
        gap = float(extend_jaccard(errors, is_fg.int().tolist())[0]) - binned
        assert -1e-9 <= gap <= 1 / bins
        assert_close(float(weights.sum()), 1.0)


def test_measured_gaps_stay_below_the_bound_and_fall_with_the_square():
    bins = (8, 64, 512)
    bound = 1 / np.array(bins)
    for kind, fraction in (("spread", 0.5), ("spread", 0.01), ("sure", 0.1), ("worst", 0.001)):
        gaps = numbers.measure_gaps(kind, fraction, bins)
        assert (gaps >= -1e-12).all()
        assert (gaps <= bound).all()
    smooth = numbers.measure_gaps("spread", 0.5, bins)
    assert smooth[0] / smooth[1] > 40  # 8 times the bins, about 64 times closer
    assert (numbers.measure_gaps("worst", 0.001, bins) > 0.4 * bound).all()


def test_unknown_errors_are_refused(rng):
    with pytest.raises(ValueError, match="sure"):
        numbers.make_errors("flat", 0.5, rng)


def test_gains_are_those_at_equal_steps():
    gains = numbers.select_gains(TABLE, "toy", "new")
    assert gains["ce, lovasz"] == [-2, -1]
    assert len(gains) == 4
    with pytest.raises(ValueError, match="toy"):
        numbers.select_gains(TABLE, "camvid", "new")


def test_stored_runs_are_selected_in_the_order_of_their_seeds():
    rows = [
        {"arm": a, "seed": s, "miou": v} for a, s, v in (("x", 1, 3.0), ("x", 0, 1.0), ("y", 0, 9))
    ]
    assert numbers.select_seeds(rows, "miou", arm="x") == [1.0, 3.0]
    assert numbers.format_range([1.0, 3.0]) == "2.00 (1.00 to 3.00)"
    with pytest.raises(ValueError, match="no run with"):
        numbers.select_seeds(rows, "miou", arm="z")


@pytest.mark.parametrize("bins", [1, 4, 50])
def test_a_readers_weights_of_a_bin_take_the_place_of_the_package_s(bins, rng):
    errors, is_fg = numbers.make_errors("spread", 0.3, rng, num=200)
    loss, weights = numbers.binned_weights(errors, is_fg, bins)
    mine, own = numbers.binned_weights(errors, is_fg, bins, find("08.bin_weights").reference)
    assert mine == pytest.approx(loss)
    torch.testing.assert_close(own, weights)
    assert numbers.binned_weights(errors, is_fg, bins, lambda *_: (0.0, 1.0))[0] != loss
