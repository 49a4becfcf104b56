"""The sums for a CPU against the plain ones, at the sizes at which they divide their work."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from pfpn.losses import _lovasz_fast, lovasz
from pfpn.losses._lovasz_fast import BLOCK, MANY_BINS, UNDIVIDED

SIZES = [UNDIVIDED - 1, UNDIVIDED + 1, BLOCK, BLOCK + 3]


def both_ways(loss, values, labels, monkeypatch, **options):
    """Return loss and gradient by the fast sums and by the plain ones."""
    results = []
    for fast in (True, False):
        with monkeypatch.context() as patch:
            if not fast:
                patch.setattr(lovasz, "_is_for_cpu", lambda values: False)
            leaf = values.clone().requires_grad_()
            value = loss(leaf, labels, **options)
            value.backward()
            results.append((value.detach(), leaf.grad))
    return results


@pytest.mark.parametrize("pixels", SIZES)
@pytest.mark.parametrize("bins", [1, 1024, MANY_BINS, MANY_BINS + 1])
@pytest.mark.parametrize("ignore", [None, 2])
def test_bins_of_softmax_are_those_of_the_plain_sums(pixels, bins, ignore, monkeypatch):
    rng = torch.Generator().manual_seed(pixels + bins)
    probs = (3 * torch.randn(1, 3, 1, pixels, generator=rng)).softmax(1)
    labels = torch.randint(3, (1, 1, pixels), generator=rng)
    options = {"bins": bins, "ignore": ignore}
    fast, plain = both_ways(lovasz.lovasz_softmax, probs, labels, monkeypatch, **options)
    assert_close(fast[0], plain[0], rtol=1e-5, atol=0)
    assert_close(fast[1], plain[1], rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("pixels", SIZES)
def test_bins_of_the_hinge_are_those_of_the_plain_sums(pixels, monkeypatch):
    rng = torch.Generator().manual_seed(pixels)
    logits = 2 * torch.randn(2, 1, pixels, generator=rng)
    labels = torch.randint(2, (2, 1, pixels), generator=rng)
    fast, plain = both_ways(lovasz.lovasz_hinge, logits, labels, monkeypatch, bins=64)
    assert_close(fast[0], plain[0], rtol=1e-5, atol=0)
    assert_close(fast[1], plain[1], rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("pixels", SIZES)
@pytest.mark.parametrize("scale", [0.1, 3.0])
def test_the_exact_hinge_is_that_of_the_plain_sums(pixels, scale, monkeypatch):
    """At a small scale nearly all errors are around 1: every pixel is sorted. No two are equal."""
    rng = torch.Generator().manual_seed(pixels)
    order = torch.randperm(2 * pixels, generator=rng).view(2, 1, pixels)
    logits = scale * ((order + 0.25) / pixels - 1)
    labels = torch.randint(2, (2, 1, pixels), generator=rng)
    fast, plain = both_ways(lovasz.lovasz_hinge, logits, labels, monkeypatch)
    assert_close(fast[0], plain[0], rtol=1e-5, atol=0)
    assert_close(fast[1], plain[1], rtol=1e-4, atol=1e-10)


def test_a_probability_above_1_and_nan_go_into_the_last_bin(monkeypatch):
    probs = torch.full((1, 2, 1, 4), 0.5)
    probs[0, :, 0, 0] = torch.tensor([1 + 3e-4, -3e-4])
    labels = torch.tensor([[[1, 0, 1, 0]]])
    fast, plain = both_ways(lovasz.lovasz_softmax, probs, labels, monkeypatch, bins=1024)
    assert_close(fast[0], plain[0], rtol=1e-3, atol=0)
    probs[0, 0, 0, 1] = torch.nan
    loss = lovasz.lovasz_softmax(probs, labels, bins=1024, validate=False)
    assert not torch.isfinite(loss)


def test_both_ways_of_sorting_give_the_same_order(monkeypatch):
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 50, 999).astype(np.uint64) << 32 | np.arange(999, dtype=np.uint64)
    orders = []
    for faster in (True, False):
        monkeypatch.setattr(_lovasz_fast, "_numbers_are_faster", lambda faster=faster: faster)
        orders.append(_lovasz_fast._sort(numbers.copy()))
    assert np.array_equal(*orders)
    assert np.array_equal(orders[0], np.sort(numbers))
