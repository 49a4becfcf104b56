"""The Lovász losses: their definition, their theorems, every edge, and where they run."""

import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pfpn import compiled
from pfpn.losses import _lovasz_fast as fast
from pfpn.losses import lovasz
from pfpn.losses.lovasz import (
    binned_gradient,
    jaccard_loss,
    lovasz_extension,
    lovasz_gradient,
    lovasz_hinge,
    lovasz_softmax,
    lovasz_softmax_from_logits,
)
from pfpn.losses.modules import LovaszHinge, LovaszSoftmax
from pfpn.losses.segmentation import as_float64
from tests.oracles import lovasz as oracle
from tests.oracles.lovasz_inputs import hinge_case, softmax_case

IGNORE = 255
REFERENCE = Path(__file__).parents[1] / "data_files" / "lovasz" / "reference.json"
DTYPES = [torch.float32, torch.float64]  # float32 takes the fast file, float64 the plain lines
PRECISION = {
    torch.float32: {"rtol": 2e-5, "atol": 1e-6},
    torch.float64: {"rtol": 1e-9, "atol": 1e-12},
}


def every_set(p: int) -> Tensor:
    """All 2^p sets of p pixels as rows of booleans; row k holds the bits of k."""
    return ((torch.arange(2**p)[:, None] >> torch.arange(p)) & 1).bool()


def value_and_gradient(loss, scores: Tensor, *args, **options) -> tuple[Tensor, Tensor]:
    scores = scores.detach().clone().requires_grad_()
    value = loss(scores, *args, **options)
    (gradient,) = torch.autograd.grad(value, scores)
    return value.detach(), gradient


def random_case(rng, shape=(2, 4, 3, 5), present=3, ignored=0.1) -> tuple[Tensor, Tensor]:
    b, _, h, w = shape
    probs = torch.randn(shape, generator=rng).softmax(1)
    labels = torch.randint(present, (b, h, w), generator=rng)
    labels[torch.rand(b, h, w, generator=rng) < ignored] = IGNORE
    return probs, labels


def random_hinge_case(rng, shape=(3, 4, 5), share=0.4, ignored=0.1) -> tuple[Tensor, Tensor]:
    labels = (torch.rand(shape, generator=rng) < share).long()
    labels[torch.rand(shape, generator=rng) < ignored] = IGNORE
    return 2 * torch.randn(shape, generator=rng), labels


def two_classes(errors: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities and labels of which class 1 has these errors (n images of p pixels)."""
    found = torch.where(truth, 1 - errors, errors)
    return torch.stack([1 - found, found], 1)[:, :, None], truth.long()[:, None]


# The set function -------------------------------------------------------------------------------


def test_jaccard_loss_counts_missed_and_added_pixels():
    truth = torch.tensor([True, True, True, False, False])
    wrong = torch.tensor([True, False, False, True, False])  # one missed, one added
    assert_close(jaccard_loss(wrong, truth).item(), 2 / 4)
    assert jaccard_loss(torch.zeros(5).bool(), truth).item() == 0
    assert jaccard_loss(torch.ones(5).bool(), truth).item() == 1


def test_jaccard_loss_of_nothing_against_nothing_is_zero():
    nothing = torch.zeros(3, dtype=torch.bool)
    assert jaccard_loss(nothing, nothing).item() == 0


@pytest.mark.parametrize("p", [1, 2, 3, 4])
def test_jaccard_loss_agrees_with_sets_of_pixels(p):
    sets = every_set(p)
    members = [set(row.nonzero()[:, 0].tolist()) for row in sets]
    for truth, pixels in zip(sets, members, strict=True):
        expected = [float(oracle.jaccard_of_sets(wrong, pixels)) for wrong in members]
        found = jaccard_loss(sets, truth.expand_as(sets))
        assert_close(found, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("p", range(1, 7))
def test_jaccard_loss_is_submodular_and_monotone(p):
    sets = every_set(p)
    one, other = torch.meshgrid(torch.arange(2**p), torch.arange(2**p), indexing="ij")
    for truth in sets:
        loss = jaccard_loss(sets, truth.expand_as(sets))
        assert (loss[one] + loss[other] - loss[one | other] - loss[one & other]).min() > -1e-12
        assert (loss[one | other] - loss[one]).min() > -1e-12


# The extension ----------------------------------------------------------------------------------


@pytest.mark.parametrize("p", range(1, 9))
def test_extension_equals_the_jaccard_loss_on_every_corner(p):
    """For all truths and all corners at once, by the weights that the losses use."""
    corners = every_set(p)
    wrong, truth = corners[:, None].expand(-1, 2**p, p), corners[None].expand(2**p, -1, p)
    errors, order = wrong.double().sort(descending=True)
    extension = (errors * lovasz_gradient(truth.gather(-1, order).double())).sum(-1)
    assert_close(extension, jaccard_loss(wrong, truth))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bins", [None, 7])
def test_loss_equals_the_jaccard_loss_on_every_corner(dtype, bins):
    """With bins too: all wrong pixels share the top bin, and an error of 0 has none."""
    corners = every_set(3)
    for truth in corners[1:]:
        for wrong in corners:
            probs, labels = two_classes(wrong[None].to(dtype), truth[None])
            value, gradient = value_and_gradient(
                lovasz_softmax, probs, labels, classes=[1], bins=bins
            )
            assert_close(value, jaccard_loss(wrong, truth).to(dtype))
            assert not gradient[0, 1, 0, ~wrong].any()


def test_extension_of_any_set_function_equals_it_on_the_corners():
    function = [
        0.5,
        1.0,
        -2.0,
        0.25,
        3.0,
        0.0,
        7.0,
        1.5,
    ]  # neither submodular nor zero at the empty set

    def of_set(members: Tensor) -> float:
        return function[int((members * 2 ** torch.arange(3)).sum())]

    for k, corner in enumerate(every_set(3)):
        assert_close(lovasz_extension(of_set, corner.double()).item(), function[k])


def test_extension_of_a_sum_is_linear_and_of_an_indicator_is_the_maximum(rng):
    m, prices = torch.rand(5, generator=rng), torch.rand(5, generator=rng)
    assert_close(lovasz_extension(lambda members: prices[members].sum(), m), prices @ m)
    assert_close(lovasz_extension(lambda members: float(members.any()), m), m.max())


def test_extension_has_the_gradient_of_its_weights(rng):
    truth = torch.rand(7, generator=rng) < 0.5
    m = torch.rand(7, generator=rng, dtype=torch.float64)
    value, gradient = value_and_gradient(
        lambda x: lovasz_extension(lambda wrong: jaccard_loss(wrong, truth), x), m
    )
    expected, weights = oracle.extension(m.tolist(), set(truth.nonzero()[:, 0].tolist()))
    assert_close(value.item(), expected)
    assert_close(gradient, torch.tensor(weights, dtype=torch.float64))


def test_extension_of_the_jaccard_loss_is_convex_along_segments(rng):
    for _ in range(50):
        p = int(torch.randint(2, 10, (), generator=rng))
        truth = torch.rand(p, generator=rng) < 0.5
        a, b = torch.rand(2, p, generator=rng, dtype=torch.float64)
        t = torch.linspace(0, 1, 9, dtype=torch.float64)
        on_segment = [
            lovasz_extension(lambda wrong, y=truth: jaccard_loss(wrong, y), a + s * (b - a))
            for s in t
        ]
        values = torch.stack(on_segment)
        assert (values <= values[0] + t * (values[-1] - values[0]) + 1e-12).all()


def test_extension_of_a_function_that_is_not_submodular_is_not_convex():
    def squared_size(members: Tensor) -> Tensor:
        return members.sum() ** 2

    a, b = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    middle = lovasz_extension(squared_size, (a + b) / 2)
    assert middle > (lovasz_extension(squared_size, a) + lovasz_extension(squared_size, b)) / 2


@pytest.mark.parametrize("p", range(2, 7))
def test_extension_is_the_convex_closure(p, rng):
    """The lowest average of corners that meet at m, found by linear programming."""
    sets = every_set(p)
    for _ in range(4):
        truth = torch.rand(p, generator=rng) < 0.5
        m = torch.rand(p, generator=rng, dtype=torch.float64)
        meet = np.vstack([sets.T.double().numpy(), np.ones(2**p)])
        closure = linprog(
            jaccard_loss(sets, truth.expand_as(sets)).numpy(), A_eq=meet, b_eq=[*m.tolist(), 1.0]
        )
        extension = lovasz_extension(lambda wrong, y=truth: jaccard_loss(wrong, y), m)
        assert_close(extension.item(), closure.fun, rtol=1e-7, atol=1e-8)


# The gradient -----------------------------------------------------------------------------------


@pytest.mark.parametrize("p", range(1, 7))
def test_gradient_agrees_with_sets_for_every_truth(p):
    for truth in every_set(p):
        descending = [1 - i / (p + 1) for i in range(p)]
        _, weights = oracle.extension(descending, set(truth.nonzero()[:, 0].tolist()))
        found = lovasz_gradient(truth.double())
        assert_close(found, torch.tensor(weights, dtype=torch.float64))
        assert (found >= 0).all()
        assert_close(found.sum().item(), 1.0)


def test_gradient_takes_rows_and_keeps_the_type(rng):
    rows = (torch.rand(3, 4, 9, generator=rng) < 0.3).float()
    found = lovasz_gradient(rows)
    assert found.dtype == torch.float32
    assert_close(found[2, 1], lovasz_gradient(rows[2, 1]))


def test_gradient_of_half_precision_counts_beyond_its_range():
    is_fg = torch.ones(100_000, dtype=torch.float16)  # float16 ends at 65504
    is_fg[-1] = 0
    weights = lovasz_gradient(is_fg)
    assert weights.dtype == torch.float16
    assert weights[0].item() == pytest.approx(1e-5, rel=0.01)
    assert weights[-1].item() == 0


@pytest.mark.slow
def test_gradient_at_ten_million_pixels_keeps_its_digits():
    """Every tenth pixel is foreground, so the counts and the weights are known exactly."""
    p = 10_000_000
    is_fg = torch.zeros(p)
    is_fg[::10] = 1
    weights = lovasz_gradient(is_fg)
    for tens in (0, 1, 123_456, 999_998):  # so many whole tens before
        union = p // 10 + 9 * tens
        assert_close(weights[10 * tens].item(), 1 / union, rtol=1e-6, atol=0)
        left = p // 10 - tens - 1
        expected = left / (union * (union + 1))
        assert_close(
            weights[10 * tens + 1].item(), expected, rtol=1e-2 if left < 9 else 1e-5, atol=0
        )
    assert_close(weights.double().sum().item(), 1.0, rtol=0, atol=1e-6)


# The bins ---------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_binned_weights_stay_in_the_base_polytope(data):
    """No set of pixels may weigh more than it costs, all pixels together exactly what they cost."""
    p = data.draw(st.integers(1, 6))
    k = data.draw(st.integers(1, 4))
    is_fg = torch.tensor(data.draw(st.lists(st.booleans(), min_size=p, max_size=p)))
    bin_of = torch.tensor(data.draw(st.lists(st.integers(0, k - 1), min_size=p, max_size=p)))
    fg = bin_of[is_fg].bincount(minlength=k).double()
    bg = bin_of[~is_fg].bincount(minlength=k).double()
    fg_weights, bg_weights = binned_gradient(fg, bg)
    weights = torch.where(is_fg, fg_weights[bin_of], bg_weights[bin_of])
    sets = every_set(p)
    cost = jaccard_loss(sets, is_fg.expand_as(sets))
    assert (sets.double() @ weights <= cost + 1e-12).all()
    assert_close(weights.sum().item(), 1.0)


def test_one_pixel_per_bin_gives_the_sorted_gradient(rng):
    is_fg = (torch.rand(20, generator=rng) < 0.4).double()
    fg_weights, bg_weights = binned_gradient(is_fg, 1 - is_fg)
    assert_close(is_fg * fg_weights + (1 - is_fg) * bg_weights, lovasz_gradient(is_fg))


def errors_of(draw, p: int, largest: float) -> list[float]:
    """Numbers that tie and touch the edges of bins often, and others."""
    edges = st.integers(0, 8).map(lambda k: largest * k / 8)
    return draw(st.lists(edges | st.floats(0, largest, width=32), min_size=p, max_size=p))


@settings(deadline=None, max_examples=100)
@given(st.data(), st.sampled_from(DTYPES))
def test_binned_softmax_is_below_exact_by_at_most_a_bin_and_gives_a_subgradient(data, dtype):
    p, bins = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 40))
    truth = torch.tensor([data.draw(st.lists(st.booleans(), min_size=p, max_size=p))])
    m = torch.tensor([errors_of(data.draw, p, 1.0)], dtype=dtype)
    other = torch.tensor([errors_of(data.draw, p, 1.0)], dtype=dtype)
    probs, labels = two_classes(m, truth)
    m = torch.where(labels[:, 0] == 1, 1 - probs[:, 1, 0], probs[:, 1, 0])  # as it was rounded
    binned, gradient = value_and_gradient(lovasz_softmax, probs, labels, classes=[1], bins=bins)
    exact = lovasz_softmax(probs, labels, classes=[1])
    slack = 1e-5 if dtype == torch.float32 else 1e-12
    assert -slack <= exact - binned <= 1 / bins + slack
    weights = gradient[:, 1, 0].abs()
    elsewhere = lovasz_softmax(*two_classes(other, truth), classes=[1])
    linear = exact - 1 / bins + (weights * (other - m)).sum()
    assert elsewhere >= linear - slack


@settings(deadline=None, max_examples=100)
@given(st.data(), st.sampled_from(DTYPES))
def test_binned_hinge_is_below_exact_by_at_most_a_bin_and_gives_a_subgradient(data, dtype):
    p, bins = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 40))
    truth = torch.tensor([data.draw(st.lists(st.booleans(), min_size=p, max_size=p))])
    sign = torch.where(truth, 1, -1).to(dtype)

    def logits_of(errors: list[float]) -> Tensor:
        return sign * (1 - torch.tensor([errors], dtype=dtype))[:, None]

    logits, other = (logits_of(errors_of(data.draw, p, 5.0)) for _ in range(2))
    labels = truth.long()[:, None]
    binned, gradient = value_and_gradient(lovasz_hinge, logits, labels, bins=bins)
    exact = lovasz_hinge(logits, labels)
    m, there = ((1 - sign * x).clamp(min=0) for x in (logits, other))
    slack = 1e-4 if dtype == torch.float32 else 1e-12
    width = m.max().item() / bins
    assert -slack <= exact - binned <= width + slack
    linear = exact - width + (gradient.abs() * (there - m)).sum()
    assert lovasz_hinge(other, labels) >= linear - slack


def test_more_bins_come_closer(rng):
    probs, labels = random_case(rng, (1, 3, 64, 64))
    exact, gradient = value_and_gradient(lovasz_softmax, probs, labels, ignore=IGNORE)
    gaps, distances = [], []
    for bins in (4, 64, 1024):
        value, approximate = value_and_gradient(
            lovasz_softmax, probs, labels, ignore=IGNORE, bins=bins
        )
        gaps.append((exact - value).item())
        distances.append(((gradient - approximate).norm() / gradient.norm()).item())
    assert gaps[0] > gaps[1] > abs(gaps[2])
    assert distances[0] > distances[1] > distances[2]
    assert distances[2] < 0.01


# Against the definition --------------------------------------------------------------------------


OPTIONS = [
    {"classes": classes, "per_image": per_image, "ignore": IGNORE}
    for classes, per_image in itertools.product(["present", "all", [0, 3]], [False, True])
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_agrees_with_the_definition(options, dtype, rng):
    probs, labels = random_case(rng)
    expected, expected_gradient = oracle.softmax_loss(probs, labels, **options)
    value, gradient = value_and_gradient(lovasz_softmax, probs.to(dtype), labels, **options)
    assert_close(value.item(), expected, **PRECISION[dtype])
    assert_close(gradient.double(), expected_gradient, **PRECISION[dtype])


@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_hinge_agrees_with_the_definition(per_image, dtype, rng):
    logits, labels = random_hinge_case(rng)
    options = {"per_image": per_image, "ignore": IGNORE}
    expected, expected_gradient = oracle.hinge_loss(logits, labels, **options)
    value, gradient = value_and_gradient(lovasz_hinge, logits.to(dtype), labels, **options)
    assert_close(value.item(), expected, **PRECISION[dtype])
    assert_close(gradient.double(), expected_gradient, **PRECISION[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
def test_class_weights_weigh_the_classes_that_are_averaged(dtype, rng):
    probs, labels = random_case(rng)
    weights = [3.0, 0.0, 0.5, 100.0]  # class 3 is absent
    options = {"classes": "present", "ignore": IGNORE}
    expected, expected_gradient = oracle.softmax_loss(
        probs, labels, class_weights=weights, **options
    )
    value, gradient = value_and_gradient(
        lovasz_softmax, probs.to(dtype), labels, class_weights=torch.tensor(weights), **options
    )
    assert_close(value.item(), expected, **PRECISION[dtype])
    assert_close(gradient.double(), expected_gradient, **PRECISION[dtype])


def test_two_pixels_have_their_closed_forms(rng):
    for m1, m2 in torch.rand(20, 2, generator=rng, dtype=torch.float64).tolist():
        forms = {
            (0, 0): max(m1, m2),
            (0, 1): max(m2, (m1 + m2) / 2),
            (1, 0): max(m1, (m1 + m2) / 2),
            (1, 1): (m1 + m2) / 2,
        }
        for truth, expected in forms.items():
            case = two_classes(torch.tensor([[m1, m2]]), torch.tensor([truth]).bool())
            assert_close(lovasz_softmax(*case, classes=[1]).item(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("bins", [None, 33])
@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("trained", [False, True])
def test_fast_and_plain_agree_in_many_ranges_blocks_and_threads(
    bins, per_image, trained, rng, monkeypatch
):
    for name, size in {"BLOCK": 500, "SMALL": 100, "SAMPLE": 64}.items():
        monkeypatch.setattr(fast, name, size)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    for classes in (2, 9):  # ranges shared among threads, rows shared among threads
        _, labels = random_case(rng, (3, classes, 37, 41), present=classes)
        logits = torch.randn(3, classes, 37, 41, generator=rng)
        if trained:
            logits.scatter_add_(
                1, labels.clamp(max=classes - 1)[:, None], 9 * torch.ones_like(logits)
            )
        options = {"per_image": per_image, "ignore": IGNORE, "bins": bins}
        probs = logits.softmax(1)
        if bins:  # keep away from the edges of bins, where rounding decides
            probs = (((probs * bins).floor() + 0.25 + 0.5 * probs) / bins).clamp(max=1 - 1e-3)
        value, gradient = value_and_gradient(lovasz_softmax, probs, labels, **options)
        expected, plain = value_and_gradient(lovasz_softmax, probs.double(), labels, **options)
        assert_close(value.double(), expected, rtol=1e-5, atol=1e-6)
        assert (gradient - plain).norm() <= 1e-4 * plain.norm()


@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("classes", ["present", "all"])
@pytest.mark.parametrize("weighted", [False, True])
def test_two_classes_sorted_together_have_the_losses_of_each(
    per_image, classes, weighted, rng, monkeypatch
):
    for name, size in {"SMALL": 100, "SAMPLE": 64}.items():
        monkeypatch.setattr(fast, name, size)
    logits = torch.randn(3, 2, 37, 41, generator=rng)
    _, labels = random_case(rng, (3, 2, 37, 41), present=2)
    labels[1] = labels[1].clamp(min=1)  # an image without the first class
    labels[2] = IGNORE
    options = {"per_image": per_image, "ignore": IGNORE, "classes": classes}
    if weighted:
        options["class_weights"] = torch.tensor([3.0, 1.0])
    loss = lovasz_softmax_from_logits
    value, gradient = value_and_gradient(loss, logits, labels, **options)
    expected, plain = value_and_gradient(loss, logits.double(), labels, **options)
    assert_close(value.double(), expected, rtol=1e-5, atol=1e-6)
    assert (gradient - plain).norm() <= 1e-4 * plain.norm()
    assert gradient[labels[:, None].expand_as(gradient) == IGNORE].eq(0).all()


@pytest.mark.parametrize("bins", [None, 33])
def test_fast_and_plain_hinge_agree_in_many_ranges_blocks_and_threads(bins, rng, monkeypatch):
    for name, size in {"BLOCK": 500, "SMALL": 100, "SAMPLE": 64}.items():
        monkeypatch.setattr(fast, name, size)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    logits, labels = random_hinge_case(rng, (3, 37, 41))
    for per_image in (False, True):
        options = {"per_image": per_image, "ignore": IGNORE, "bins": bins}
        value, gradient = value_and_gradient(lovasz_hinge, logits, labels, **options)
        expected, plain = value_and_gradient(lovasz_hinge, logits.double(), labels, **options)
        assert_close(value.double(), expected, rtol=1e-5, atol=1e-6)
        assert (gradient - plain).norm() <= (2e-2 if bins else 1e-4) * plain.norm()


def test_counts_beyond_float32_are_kept_in_float64(rng, monkeypatch):
    probs, labels = random_case(rng, (1, 3, 16, 16))
    value, gradient = value_and_gradient(lovasz_softmax, probs, labels, ignore=IGNORE)
    monkeypatch.setattr(fast, "FLOAT32_COUNTS", 0)
    wide, wide_gradient = value_and_gradient(lovasz_softmax, probs, labels, ignore=IGNORE)
    assert_close(wide, value)
    assert_close(wide_gradient, gradient)
    assert not torch.equal(wide_gradient, gradient)  # so the other way was taken


def test_float32_counts_exactly_up_to_its_limit():
    limit = fast.FLOAT32_COUNTS
    assert int(np.float32(limit - 1)) == limit - 1
    assert np.float32(limit) + np.float32(1) == limit  # the next integer is lost


@pytest.mark.slow
def test_ten_million_pixels_lose_no_precision(rng):
    logits = torch.randn(1, 2500, 4000, generator=rng)
    labels = (torch.rand(1, 2500, 4000, generator=rng) < 0.3).long()
    value, gradient = value_and_gradient(lovasz_hinge, logits, labels)
    truth = labels.flatten().double()
    errors = (1 - (2 * truth.float() - 1) * logits.flatten()).clamp(min=0)
    order = errors.argsort(descending=True, stable=True)
    fg = truth[order]
    seen, union = fg.cumsum(0), truth.sum() + (1 - fg).cumsum(0)
    weights = torch.where(fg == 1, 1.0, (truth.sum() - seen) / (union - 1)) / union
    expected = torch.zeros_like(truth).scatter(0, order, weights) * (1 - 2 * truth) * (errors > 0)
    assert_close(value.item(), (weights @ errors[order].double()).item(), rtol=1e-6, atol=0)
    distance = (gradient.flatten() - expected).norm() / expected.norm()
    assert distance < 1e-5  # ties among 10^7 float32 errors may be ordered otherwise


# Reference figures --------------------------------------------------------------------------------


FIGURES = json.loads(REFERENCE.read_text())


def check_figures(case: dict, value: Tensor, gradient: Tensor, first: Tensor) -> None:
    assert_close(value.item(), case["loss_float64"], rtol=0, atol=1e-6)
    assert_close(gradient.norm().item(), case["gradnorm_float64"], rtol=1e-5, atol=1e-7)
    expected = torch.tensor(case["grad_first_float64"], dtype=torch.float64)
    assert_close(first.double(), expected, rtol=1e-5, atol=1e-8)
    # The published implementation, to 1e-5 in value and to its own rounding in gradient.
    assert_close(value.item(), case["loss_authors"], rtol=0, atol=1e-5)
    assert_close(gradient.norm().item(), case["gradnorm_authors"], rtol=1e-3, atol=0)
    assert_close(
        first.double(), torch.tensor(case["grad_first_authors"]).double(), rtol=0, atol=2e-6
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", FIGURES["softmax"], ids=lambda c: f"{c['shape']}-{c['classes']}")
def test_softmax_gives_the_reference_figures(case, dtype):
    probs, labels = softmax_case(case["seed"], tuple(case["shape"]), case["num_present"])
    if case["ignore"] is None:
        labels[labels == IGNORE] = 0
    options = {name: case[name] for name in ("classes", "per_image", "ignore")}
    value, gradient = value_and_gradient(lovasz_softmax, probs.to(dtype), labels, **options)
    check_figures(case, value, gradient, gradient[0, :, 0, 0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", FIGURES["hinge"], ids=lambda c: f"{c['shape']}-{c['ignore']}")
def test_hinge_gives_the_reference_figures(case, dtype):
    logits, labels = hinge_case(case["seed"], tuple(case["shape"]), case["share"])
    if case["ignore"] is None:
        labels[labels == IGNORE] = 0
    options = {name: case[name] for name in ("per_image", "ignore")}
    value, gradient = value_and_gradient(lovasz_hinge, logits.to(dtype), labels, **options)
    check_figures(case, value, gradient, gradient[0, 0, :4])


# Edges --------------------------------------------------------------------------------------------


BINS = pytest.mark.parametrize("bins", [None, 16])
EACH_DTYPE = pytest.mark.parametrize("dtype", DTYPES)


@BINS
@EACH_DTYPE
@pytest.mark.parametrize("classes", ["present", "all", [1]])
@pytest.mark.parametrize("per_image", [False, True])
def test_no_pixel_that_counts_gives_zero_and_gradient_zero(bins, dtype, classes, per_image):
    probs = torch.rand(2, 3, 4, 4, dtype=dtype)
    labels = torch.full((2, 4, 4), IGNORE)
    value, gradient = value_and_gradient(
        lovasz_softmax,
        probs,
        labels,
        classes=classes,
        per_image=per_image,
        ignore=IGNORE,
        bins=bins,
    )
    assert value.item() == 0
    assert not gradient.any()
    value, gradient = value_and_gradient(
        lovasz_hinge, probs[:, 0], labels, per_image=per_image, ignore=IGNORE, bins=bins
    )
    assert value.item() == 0
    assert not gradient.any()


@BINS
@EACH_DTYPE
@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 3, 0, 4)])
def test_empty_tensors_give_zero(bins, dtype, shape):
    probs = torch.zeros(shape, dtype=dtype)
    labels = torch.zeros(shape[0], *shape[2:], dtype=torch.long)
    for loss, scores in ((lovasz_softmax, probs), (lovasz_hinge, probs[:, 0])):
        value, gradient = value_and_gradient(loss, scores, labels, bins=bins)
        assert value.item() == 0
        assert gradient.shape == scores.shape


def test_an_image_without_pixels_that_count_stays_in_the_mean_over_images(rng):
    probs, labels = random_case(rng, (2, 3, 4, 4), ignored=0)
    labels[1] = IGNORE
    both = lovasz_softmax(probs, labels, per_image=True, ignore=IGNORE)
    assert_close(both, lovasz_softmax(probs[:1], labels[:1]) / 2)


@EACH_DTYPE
def test_one_pixel_costs_its_error(dtype):
    probs = torch.tensor([0.25, 0.75], dtype=dtype).reshape(1, 2, 1, 1)
    value, gradient = value_and_gradient(
        lovasz_softmax, probs, torch.zeros(1, 1, 1, dtype=torch.long)
    )
    assert_close(value.item(), 0.75)
    assert gradient.flatten().tolist() == [-1.0, 0.0]
    logits = torch.tensor([[[0.5]]], dtype=dtype)
    value, gradient = value_and_gradient(lovasz_hinge, logits, torch.ones(1, 1, 1).long())
    assert (value.item(), gradient.item()) == (0.5, -1.0)


@BINS
@EACH_DTYPE
def test_one_class_is_its_own_softmax(bins, dtype):
    labels = torch.zeros(1, 2, 3, dtype=torch.long)
    assert lovasz_softmax(torch.ones(1, 1, 2, 3, dtype=dtype), labels, bins=bins).item() == 0
    half = torch.full((1, 1, 2, 3), 0.5, dtype=dtype)
    assert_close(lovasz_softmax(half, labels, bins=bins).item(), 0.5)


@EACH_DTYPE
def test_an_absent_class_costs_its_largest_error(dtype):
    errors = torch.tensor([[0.1, 0.7, 0.4]], dtype=dtype)
    probs, labels = two_classes(errors, torch.zeros(1, 3).bool())
    value, gradient = value_and_gradient(lovasz_softmax, probs, labels, classes=[1])
    assert_close(value, errors.max())
    assert gradient[0, 1, 0].tolist() == [0, 1, 0]
    everything = lovasz_softmax(probs, labels, classes="all")
    present = lovasz_softmax(probs, labels, classes="present")
    assert_close(everything, (present + errors.max()) / 2)


@BINS
@EACH_DTYPE
def test_an_absent_class_without_any_error_gets_no_gradient(bins, dtype):
    probs, labels = two_classes(torch.zeros(1, 3, dtype=dtype), torch.zeros(1, 3).bool())
    value, gradient = value_and_gradient(lovasz_softmax, probs, labels, classes="all", bins=bins)
    assert value.item() == 0
    assert not gradient.any()


@EACH_DTYPE
def test_an_ignored_pixel_of_a_single_class_is_left_out(dtype):
    probs = torch.tensor([0.25, 0.5], dtype=dtype).reshape(1, 1, 1, 2)
    labels = torch.tensor([[[0, IGNORE]]])
    assert_close(lovasz_softmax(probs, labels, ignore=IGNORE).item(), 0.75)


@EACH_DTYPE
def test_an_ignored_pixel_is_not_the_largest_error_of_an_absent_class(dtype):
    probs, labels = two_classes(
        torch.tensor([[0.1, 0.7, 0.4]], dtype=dtype), torch.zeros(1, 3).bool()
    )
    labels[0, 0, 1] = IGNORE
    value = lovasz_softmax(probs, labels, classes=[1], ignore=IGNORE)
    assert_close(value.item(), 0.4)


@EACH_DTYPE
def test_binned_absent_class_shares_the_largest_bin(dtype):
    errors = torch.tensor([[0.1, 0.7, 0.75]], dtype=dtype)  # the last two share a bin of 4
    probs, labels = two_classes(errors, torch.zeros(1, 3).bool())
    value, gradient = value_and_gradient(lovasz_softmax, probs, labels, classes=[1], bins=4)
    assert_close(value.item(), 0.725)
    assert_close(gradient[0, 1, 0].tolist(), [0.0, 0.5, 0.5])


@BINS
@EACH_DTYPE
def test_all_right_costs_nothing_and_all_wrong_costs_one(bins, dtype, rng):
    labels = torch.randint(3, (2, 5, 5), generator=rng)
    right = nn.functional.one_hot(labels, 3).movedim(-1, 1).to(dtype)
    value, gradient = value_and_gradient(lovasz_softmax, right, labels, bins=bins)
    assert value.item() == 0
    assert not gradient.any()
    assert_close(lovasz_softmax(right.roll(1, 1), labels, bins=bins).item(), 1.0)
    logits = 2 * (labels == 1).to(dtype) - 1  # just on the margin
    value, gradient = value_and_gradient(lovasz_hinge, logits, (labels == 1).long(), bins=bins)
    assert value.item() == 0
    assert not gradient.any()
    assert_close(lovasz_hinge(-logits, (labels == 1).long(), bins=bins).item(), 2.0)


@BINS
@EACH_DTYPE
def test_ties_give_a_subgradient(bins, dtype, rng):
    """All errors equal: any split of the weights in the base polytope has the same sum."""
    truth = torch.rand(1, 40, generator=rng) < 0.4
    probs, labels = two_classes(torch.full((1, 40), 0.5, dtype=dtype), truth)
    value, gradient = value_and_gradient(lovasz_softmax, probs, labels, classes=[1], bins=bins)
    assert_close(value.item(), 0.5)
    assert_close(gradient[0, 1].abs().sum().item(), 1.0)
    for _ in range(20):
        other = torch.rand(1, 40, generator=rng).to(dtype)
        elsewhere = lovasz_softmax(*two_classes(other, truth), classes=[1])
        slope = (gradient[0, 1, 0].abs() * (other - 0.5)[0]).sum()
        assert elsewhere >= value + slope - 1e-6 - (1 / bins if bins else 0)


@BINS
@EACH_DTYPE
def test_ignored_pixels_count_as_little_as_absent_ones(bins, dtype, rng):
    probs, labels = random_case(rng, (2, 3, 6, 8), ignored=0)
    probs = probs.to(dtype)
    labels[:, :2] = IGNORE
    options = {"bins": bins, "classes": "all"}
    value, gradient = value_and_gradient(lovasz_softmax, probs, labels, ignore=IGNORE, **options)
    fewer, inner = value_and_gradient(lovasz_softmax, probs[:, :, 2:], labels[:, 2:], **options)
    assert_close(value, fewer)
    assert_close(gradient[:, :, 2:], inner)
    assert not gradient[:, :, :2].any()


@pytest.mark.parametrize("ignore", [0, 1, -100])
@EACH_DTYPE
def test_any_label_may_be_the_ignored_one(ignore, dtype, rng):
    probs, labels = random_case(rng, ignored=0)
    if ignore < 0:
        labels[0, 0] = ignore
    expected, gradient = oracle.softmax_loss(probs, labels, ignore=ignore)
    value, found = value_and_gradient(lovasz_softmax, probs.to(dtype), labels, ignore=ignore)
    assert_close(value.item(), expected, **PRECISION[dtype])
    assert_close(found.double(), gradient, **PRECISION[dtype])
    logits = probs[:, 0].to(dtype)
    labels = torch.where(labels == ignore, ignore, labels % 2)
    expected, gradient = oracle.hinge_loss(logits, labels, ignore=ignore)
    value, found = value_and_gradient(lovasz_hinge, logits, labels, ignore=ignore)
    assert_close(value.item(), expected, **PRECISION[dtype])
    assert_close(found.double(), gradient, **PRECISION[dtype])


@BINS
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(bins, dtype, rng):
    probs, labels = random_case(rng, (1, 3, 32, 32))
    probs = probs.to(dtype)
    value, gradient = value_and_gradient(lovasz_softmax, probs, labels, ignore=IGNORE, bins=bins)
    wide, wide_gradient = value_and_gradient(
        lovasz_softmax, probs.float(), labels, ignore=IGNORE, bins=bins
    )
    assert value.dtype == torch.float32
    assert gradient.dtype == dtype
    assert torch.equal(value, wide)
    assert torch.equal(gradient, wide_gradient.to(dtype))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_labels_of_any_integer_type_are_read_and_not_changed(dtype, rng):
    probs, labels = random_case(rng)
    narrow = labels.to(dtype)
    before = narrow.clone()
    value = lovasz_softmax(probs, narrow, ignore=IGNORE)
    assert torch.equal(value, lovasz_softmax(probs, labels, ignore=IGNORE))
    assert torch.equal(narrow, before)


@pytest.mark.parametrize("dtype", [torch.uint16, torch.uint32, torch.uint64])
def test_labels_of_unsigned_types_are_read(dtype, rng):
    probs, labels = random_case(rng)
    value = lovasz_softmax(probs, labels.to(dtype), ignore=IGNORE)
    assert torch.equal(value, lovasz_softmax(probs, labels, ignore=IGNORE))


def test_boolean_truth_is_read(rng):
    probs, labels = random_case(rng, (2, 2, 4, 5), present=2, ignored=0)
    assert torch.equal(lovasz_softmax(probs, labels.bool()), lovasz_softmax(probs, labels))


def test_boolean_truth_is_read_by_the_hinge(rng):
    logits, labels = random_hinge_case(rng, ignored=0)
    assert torch.equal(lovasz_hinge(logits, labels.bool()), lovasz_hinge(logits, labels))


@pytest.mark.parametrize("ignore", [None, 300, -1])
@pytest.mark.parametrize("num_classes", [254, 255, 256, 300])
def test_more_than_255_classes_fit(num_classes, ignore, rng):
    """Every label that one byte cannot tell from another or from "ignored" is in the truth."""
    probs = torch.randn((1, num_classes, 4, 4), generator=rng).softmax(1)
    labels = torch.arange(num_classes - 16, num_classes).reshape(1, 4, 4)
    labels[0, 0] = torch.tensor([0, 1, num_classes - 1, 253])
    if ignore is not None:
        labels[0, 3, 3] = ignore
    expected, expected_gradient = oracle.softmax_loss(probs, labels, ignore=ignore)
    value, gradient = value_and_gradient(lovasz_softmax, probs, labels, ignore=ignore)
    assert_close(value.item(), expected, rtol=1e-5, atol=0)
    assert_close(gradient.double(), expected_gradient, rtol=1e-5, atol=1e-7)


@BINS
def test_layout_in_memory_does_not_matter(bins, rng):
    probs, labels = random_case(rng, (2, 3, 6, 8))
    expected, gradient = value_and_gradient(lovasz_softmax, probs, labels, ignore=IGNORE, bins=bins)
    layouts = [
        (probs.to(memory_format=torch.channels_last), labels),
        (probs.movedim(1, -1).contiguous().movedim(-1, 1), labels.mT.contiguous().mT),
        (probs.repeat_interleave(2, -1)[..., ::2], labels.repeat_interleave(2, 1)[:, ::2]),
        (probs[:, :1].expand_as(probs) * 0 + probs, labels),
    ]
    for scores, truth in layouts:
        found = value_and_gradient(lovasz_softmax, scores, truth, ignore=IGNORE, bins=bins)
        assert_close(found, (expected, gradient))
    assert not layouts[2][0].is_contiguous()


def test_input_is_not_changed(rng):
    probs, labels = random_case(rng)
    before = probs.clone()
    for bins in (None, 8):
        value_and_gradient(lovasz_softmax_from_logits, probs, labels, ignore=IGNORE, bins=bins)
        lovasz_softmax(probs, labels, ignore=IGNORE, bins=bins)
    assert torch.equal(probs, before)


def test_result_does_not_depend_on_the_number_of_threads(rng, monkeypatch):
    probs, labels = random_case(rng, (2, 5, 40, 50))
    for bins in (None, 64):
        results = []
        for threads in (1, 2, 5):
            monkeypatch.setattr(torch, "get_num_threads", lambda n=threads: n)
            results.append(
                value_and_gradient(lovasz_softmax, probs, labels, ignore=IGNORE, bins=bins)
            )
        assert_close(results[1], results[0])
        assert_close(results[2], results[0])


# Errors -------------------------------------------------------------------------------------------


@EACH_DTYPE
def test_probabilities_out_of_range_are_refused_and_logits_suggested(dtype, rng):
    logits = torch.randn(1, 3, 4, 4, generator=rng, dtype=dtype)
    labels = torch.randint(3, (1, 4, 4), generator=rng)
    with pytest.raises(ValueError, match=r"lie between -.* Are these logits\?"):
        lovasz_softmax(logits, labels)
    lovasz_softmax(logits, labels, validate=False)  # switched off for speed, as is the answer


@EACH_DTYPE
def test_probabilities_may_leave_the_range_by_rounding_and_no_further(dtype):
    """bfloat16 rounds by up to 2^-9 of a value, so a sum of 1 may become 1.002 - and no 1.01."""
    labels = torch.zeros(1, 1, 1, dtype=torch.long)

    def loss(low: float, high: float) -> Tensor:
        probs = torch.tensor([high, low], dtype=dtype).reshape(1, 2, 1, 1)
        return lovasz_softmax(probs, labels)

    for allowed in ((-0.0009, 1.0), (0.0, 1.0009), (-0.0009, 1.0009)):
        assert loss(*allowed).isfinite()
    for refused in ((-0.0011, 1.0), (0.0, 1.0011)):
        with pytest.raises(ValueError, match="expected 0 to 1"):
            loss(*refused)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.complex64])
@pytest.mark.parametrize("validate", [True, False])
def test_soft_labels_are_refused_and_the_message_says_what_to_do(dtype, validate):
    """Cut to integers, a mask of 0..1 would be background everywhere, and its loss 0."""
    mask = torch.full((1, 4, 4), 254 / 255).to(dtype)
    logits = torch.randn(1, 2, 4, 4)
    calls = [
        lambda: lovasz_softmax(logits.softmax(1), mask, validate=validate),
        lambda: lovasz_softmax_from_logits(logits, mask, validate=validate, bins=16),
        lambda: lovasz_hinge(logits[:, 0], mask, validate=validate),
        lambda: LovaszSoftmax(validate=validate)(logits, mask),
        lambda: LovaszHinge(validate=validate)(logits[:, 0], mask),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=rf"found {dtype}, expected integers.*mask > 0\.5"):
            call()


@pytest.mark.parametrize("bad", [2**32, 2**32 + 1, -(2**32), 2**40])
def test_labels_beyond_32_bits_are_refused_as_they_are(bad):
    """Their last 32 bits are 0 or 1, which would be valid labels."""
    logits, labels = torch.zeros(1, 2, 1, 2), torch.tensor([[[0, bad]]])
    for loss, scores in ((lovasz_softmax_from_logits, logits), (lovasz_hinge, logits[:, 0])):
        with pytest.raises(ValueError, match=rf"between .*{bad}.*expected 0 to 1"):
            loss(scores, labels)
        assert loss(scores, labels, ignore=bad).isfinite()


@pytest.mark.parametrize("bad", [-1, 3, 255])
def test_labels_out_of_range_are_refused(bad, rng):
    probs, labels = random_case(rng, (1, 3, 4, 4), ignored=0)
    labels[0, 1, 1] = bad
    with pytest.raises(ValueError, match=rf"between .*{bad}.*expected 0 to 2"):
        lovasz_softmax(probs, labels)
    with pytest.raises(ValueError, match="expected 0 to 2 or 7"):
        lovasz_softmax(probs, labels, ignore=7)
    assert lovasz_softmax(probs, labels, ignore=bad).isfinite()
    assert lovasz_softmax(probs, labels, validate=False).isfinite()


def test_hinge_labels_out_of_range_are_refused(rng):
    logits, labels = random_hinge_case(rng, ignored=0)
    labels[0, 0, 0] = 2
    with pytest.raises(ValueError, match="between 0 and 2, expected 0 to 1"):
        lovasz_hinge(logits, labels)


@pytest.mark.parametrize("bins", [None, 16])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_makes_a_loss_that_is_not_finite(bad, bins, rng):
    logits = torch.randn(1, 3, 4, 4, generator=rng)
    labels = torch.randint(2, (1, 4, 4), generator=rng)
    logits[0, 1, 2, 2] = bad
    for loss, scores in (
        (lovasz_softmax_from_logits, logits),
        (lambda x, *a, **k: lovasz_softmax(x.softmax(1), *a, **k), logits),
        (lovasz_hinge, logits[:, 1]),
    ):
        for dtype in DTYPES:
            value = loss(scores.to(dtype), labels, bins=bins)
            assert not value.isfinite()


@pytest.mark.usefixtures("unchecked")
def test_arguments_that_do_not_fit_are_refused():
    probs, labels = torch.ones(1, 2, 4, 4) / 2, torch.zeros(1, 4, 4, dtype=torch.long)
    with pytest.raises(ValueError, match="do not fit labels"):
        lovasz_softmax(probs, labels[:, :2])
    with pytest.raises(ValueError, match="classes is 'presnt'"):
        lovasz_softmax(probs, labels, classes="presnt")
    with pytest.raises(ValueError, match=r"classes is \[0, 2\]"):
        lovasz_softmax(probs, labels, classes=[0, 2])
    with pytest.raises(ValueError, match=r"classes is \[1, 1\]"):
        lovasz_softmax(probs, labels, classes=[1, 1])
    with pytest.raises(ValueError, match="3 entries for 2 classes"):
        lovasz_softmax(probs, labels, class_weights=torch.ones(3))
    with pytest.raises(ValueError, match="bins is 0"):
        lovasz_softmax(probs, labels, bins=0)


def test_classes_may_be_named_by_a_string_made_at_run_time(rng):
    """The published code compares by identity, so that such a string averages absent classes in."""
    probs, labels = random_case(rng)
    made = "".join(["pre", "sent"])
    assert_close(
        lovasz_softmax(probs, labels, classes=made, ignore=IGNORE),
        lovasz_softmax(probs, labels, classes="present", ignore=IGNORE),
    )


# Where it runs ------------------------------------------------------------------------------------


@BINS
@EACH_DTYPE
def test_from_logits_equals_softmax_first(bins, dtype, rng):
    logits = torch.randn(2, 5, 8, 9, generator=rng, dtype=dtype)
    _, labels = random_case(rng, (2, 5, 8, 9))
    options = {"ignore": IGNORE, "bins": bins, "class_weights": torch.arange(5.0)}
    inside = value_and_gradient(lovasz_softmax_from_logits, logits, labels, **options)
    outside = value_and_gradient(lambda x: lovasz_softmax(x.softmax(1), labels, **options), logits)
    assert_close(inside, outside)


def test_modules_are_their_functions(rng):
    logits = torch.randn(2, 5, 8, 9, generator=rng)
    _, labels = random_case(rng, (2, 5, 8, 9))
    assert_close(
        LovaszSoftmax(ignore=IGNORE, bins=32)(logits, labels),
        lovasz_softmax(logits.softmax(1), labels, ignore=IGNORE, bins=32),
    )
    truth = (labels == 1).long()
    assert_close(
        LovaszHinge(per_image=False)(logits[:, 0], truth),
        lovasz_hinge(logits[:, 0], truth, per_image=False),
    )


def test_softmax_has_the_gradient_of_its_differences(rng):
    logits = torch.randn(2, 3, 2, 3, generator=rng, dtype=torch.float64, requires_grad=True)
    _, labels = random_case(rng, (2, 3, 2, 3))
    for options in OPTIONS[:4]:
        for loss in (
            lambda x, o=options: lovasz_softmax_from_logits(x, labels, **o),
            lambda x, o=options: lovasz_softmax(x.softmax(1), labels, **o),
        ):
            assert torch.autograd.gradcheck(loss, logits)


def test_hinge_has_the_gradient_of_its_differences(rng):
    logits, labels = random_hinge_case(rng)
    logits = logits.double().requires_grad_()
    for per_image in (False, True):
        assert torch.autograd.gradcheck(
            lambda x, p=per_image: lovasz_hinge(x, labels, per_image=p, ignore=IGNORE), logits
        )


def test_second_derivatives_pass_through_the_softmax(rng):
    logits = torch.randn(1, 3, 2, 2, generator=rng, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[[0, 1], [2, 0]]])
    assert torch.autograd.gradgradcheck(lambda x: lovasz_softmax(x.softmax(1), labels), logits)


def test_backward_twice_adds_up(rng):
    logits = torch.randn(1, 3, 4, 4, generator=rng, requires_grad=True)
    loss = lovasz_softmax_from_logits(logits, torch.zeros(1, 4, 4, dtype=torch.long))
    loss.backward(retain_graph=True)
    once = logits.grad.clone()
    (3 * loss).backward()
    assert_close(logits.grad, 4 * once)


def test_nothing_is_recorded_without_gradients(rng):
    probs, labels = random_case(rng)
    with torch.no_grad():
        assert not lovasz_softmax(probs.requires_grad_(), labels, ignore=IGNORE).requires_grad


def test_autocast_gives_float32_and_trains_the_layer(rng):
    layer = nn.Conv2d(3, 4, 1)
    images = torch.randn(2, 3, 8, 8, generator=rng)
    labels = torch.randint(4, (2, 8, 8), generator=rng)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = layer(images)
        assert logits.dtype == torch.bfloat16
        losses = [
            LovaszSoftmax()(logits, labels),
            lovasz_softmax(logits.softmax(1), labels),
            lovasz_hinge(logits[:, 0], (labels == 0).long()),
        ]
    assert all(loss.dtype == torch.float32 for loss in losses)
    sum(losses).backward()
    assert layer.weight.grad.isfinite().all()
    assert layer.weight.grad.any()


class Apple(TorchDispatchMode):
    """A stand-in for a GPU without float64, with float64 tensors for those that are on the CPU.

    Only `as_float64` brings values over; afterwards the two kinds do not mix, but for numbers.
    """

    def __init__(self):
        super().__init__()
        self.bringing = False

    def as_float64(self, values: Tensor) -> Tensor:
        self.bringing = True
        try:
            return as_float64(values)
        finally:
            self.bringing = False

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.pfpn.lovasz.default:
            with self:  # a mode does not see what an operator does inside
                return lovasz._loss_and_gradient(*args, **(kwargs or {}))
        result = function(*args, **(kwargs or {}))
        flat = tree_leaves((args, kwargs or {}))
        tensors = [x for x in flat if isinstance(x, Tensor) and x.ndim and x.dtype != torch.bool]
        used = {x.dtype == torch.float64 for x in tensors}
        made = {x.dtype == torch.float64 for x in tree_leaves(result) if isinstance(x, Tensor)}
        if len(used) > 1:
            raise RuntimeError(f"{function} mixes tensors of the GPU and of the CPU")
        if True in made and used == {False} and not self.bringing:
            raise TypeError(f"{function} makes float64, which this device does not have")
        return result


@pytest.mark.parametrize("bins", [None, 16])
def test_a_device_without_float64_gives_the_same(bins, rng, monkeypatch):
    logits = torch.randn(2, 5, 16, 16, generator=rng)
    _, labels = random_case(rng, (2, 5, 16, 16))
    truth = (labels == 1).long()
    cases = [
        (lovasz_softmax_from_logits, logits, labels, {"ignore": IGNORE}),
        (lovasz_softmax, logits.softmax(1), labels, {"ignore": IGNORE, "per_image": True}),
        (lovasz_hinge, logits[:, 0], truth, {}),
    ]
    expected = [value_and_gradient(f, x, y, bins=bins, **options) for f, x, y, options in cases]
    device = Apple()
    monkeypatch.setattr(lovasz, "as_float64", device.as_float64)
    monkeypatch.setattr(lovasz, "_is_for_cpu", lambda values: False)
    with device:
        for (f, x, y, options), figures in zip(cases, expected, strict=True):
            there = value_and_gradient(f, x, y, bins=bins, **options)
            assert_close(there, figures, rtol=1e-5, atol=1e-7)
        errors = torch.rand(50, generator=rng)
        extension = lovasz_extension(lambda wrong: jaccard_loss(wrong, errors > 0.5), errors)
        assert extension.dtype == torch.float32
        with pytest.raises(TypeError, match="makes float64"):
            errors.double()  # the stand-in does refuse float64
        with pytest.raises(RuntimeError, match="mixes"):
            errors * device.as_float64(errors)


LOOPS = compiled.load_loops()


@pytest.mark.skipif(LOOPS is None, reason="numba (the extra `fast`) is not installed")
@pytest.mark.parametrize("num_classes", [2, 5, 260])  # codes of 8 and of 16 bits
@pytest.mark.parametrize("bins", [1, 16, 1024, 5000])
@pytest.mark.parametrize("spoiled", [False, True])
def test_the_compiled_count_gives_the_same_to_the_bit(num_classes, bins, spoiled, rng, monkeypatch):
    shape = (2, num_classes, 9, 11)
    logits, labels = 3 * torch.randn(shape, generator=rng), random_case(rng, shape, present=2)[1]
    probs = logits.softmax(1)
    probs[0, :, 0, :4] = torch.nn.functional.one_hot(labels[0, 0, :4] % 2, num_classes).T.float()
    if spoiled:
        probs[0, 1, 2, 3], probs[1, 0, 5, 5] = math.nan, math.inf
        logits[0, 1, 2, 3], logits[1, 0, 5, 5] = math.nan, math.inf
    results = []
    for loops in (None, LOOPS):
        monkeypatch.setattr(fast, "loaded_loops", lambda loops=loops: loops)
        monkeypatch.setattr(fast, "request_loops", lambda loops=loops: loops)
        for per_image in (False, True):
            options = {"bins": bins, "ignore": IGNORE, "per_image": per_image, "validate": False}
            for loss, scores in (
                (lovasz_softmax, probs),
                (lovasz_softmax_from_logits, logits),
            ):
                for some in (labels, labels % 2):
                    untouched = scores.clone()
                    results.append(value_and_gradient(loss, scores, some, **options))
                    assert_close(scores, untouched, rtol=0, atol=0, equal_nan=True)
    half = len(results) // 2
    for plain, quick in zip(results[:half], results[half:], strict=True):
        assert_close(quick, plain, rtol=0, atol=0, equal_nan=True)


class NothingIsReadBack(TorchDispatchMode):
    """Refuses what makes a CPU wait for a GPU: reading a number, or a shape that data decide."""

    REFUSED = ("_local_scalar_dense", "nonzero", "masked_select", "bincount", "equal", "_unique2")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.pfpn.lovasz.default:
            with self:  # a mode does not see what an operator does inside
                return lovasz._loss_and_gradient(*args, **(kwargs or {}))
        name = func._schema.name.split("::")[1]
        has_mask = name.startswith("index") and any(
            isinstance(x, Tensor) and x.dtype in (torch.bool, torch.uint8)
            for x in tree_leaves(args[1:2])
        )
        if name in self.REFUSED or has_mask:
            raise RuntimeError(f"{name} waits for the device")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("bins", [None, 16])
@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("classes", ["present", "all", [3, 1]])
def test_without_validation_nothing_is_read_back_from_a_device(
    classes, per_image, bins, rng, monkeypatch
):
    """The lines that a GPU runs, here on a CPU; the figures are those of the fast file."""
    logits = torch.randn(2, 5, 6, 7, generator=rng)
    _, labels = random_case(rng, (2, 5, 6, 7))
    labels[1] = torch.where(labels[1] == 1, 0, labels[1])  # a class that only one image has
    options = {"per_image": per_image, "bins": bins, "ignore": IGNORE}
    truth = torch.where(labels == IGNORE, IGNORE, (labels == 1).long())
    cases = [
        (lovasz_softmax, logits.softmax(1), labels, {"classes": classes}),
        (lovasz_softmax_from_logits, logits, labels, {"classes": classes}),
        (lovasz_hinge, logits[:, 0], truth, {}),
    ]
    expected = [value_and_gradient(f, x, y, **o, **options) for f, x, y, o in cases]
    monkeypatch.setattr(lovasz, "_is_for_cpu", lambda values: False)
    with NothingIsReadBack():
        found = [
            value_and_gradient(f, x, y, **o, **options, validate=False) for f, x, y, o in cases
        ]
        with pytest.raises(RuntimeError, match="waits"):
            value_and_gradient(lovasz_softmax, logits.softmax(1), labels, **options)
    for there, here in zip(found, expected, strict=True):
        assert_close(there, here, rtol=1e-5, atol=1e-7)


def test_weights_of_classes_need_no_counts(rng, monkeypatch):
    probs, labels = random_case(rng)
    weights = torch.tensor([1.0, 0.0, 2.5, 3.0])
    options = {"class_weights": weights, "ignore": IGNORE}
    expected = value_and_gradient(lovasz_softmax, probs, labels, **options)
    monkeypatch.setattr(lovasz, "_is_for_cpu", lambda values: False)
    found = value_and_gradient(lovasz_softmax, probs, labels, **options, validate=False)
    assert_close(found, expected, rtol=1e-5, atol=1e-7)
    nothing = torch.full_like(labels, IGNORE)
    loss, gradient = value_and_gradient(lovasz_softmax, probs, nothing, **options, validate=False)
    assert loss == 0
    assert not gradient.any()


def test_a_cuda_graph_can_be_captured(rng):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    logits = torch.randn(2, 5, 32, 32, generator=rng).cuda()
    labels = random_case(rng, (2, 5, 32, 32))[1].cuda()
    for bins in (None, 64):
        options = {"ignore": IGNORE, "bins": bins, "validate": False}
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):  # what is loaded at the first call must not be captured
            expected = value_and_gradient(lovasz_softmax_from_logits, logits, labels, **options)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = value_and_gradient(lovasz_softmax_from_logits, logits, labels, **options)
        graph.replay()
        assert_close(found, expected, rtol=0, atol=0)


def test_cuda_gives_what_the_cpu_gives(rng):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    logits = torch.randn(2, 5, 32, 32, generator=rng)
    _, labels = random_case(rng, (2, 5, 32, 32))
    for bins in (None, 64):
        options = {"ignore": IGNORE, "bins": bins}
        here = value_and_gradient(lovasz_softmax_from_logits, logits, labels, **options)
        there = value_and_gradient(
            lovasz_softmax_from_logits, logits.cuda(), labels.cuda(), **options
        )
        assert_close([x.cpu() for x in there], list(here), rtol=1e-3, atol=1e-6)


COMPILED = """
import torch
from torch.testing import assert_close
from pfpn.losses import LovaszSoftmax
from pfpn.losses.lovasz import lovasz_hinge, lovasz_softmax, lovasz_softmax_from_logits

rng = torch.Generator().manual_seed(0)
logits = torch.randn(2, 4, 8, 8, generator=rng).requires_grad_()
labels = torch.randint(4, (2, 8, 8), generator=rng)

def loss(x):
    exact = lovasz_softmax(x.softmax(1), labels)
    binned = lovasz_softmax_from_logits(x, labels, bins=16, class_weights=torch.arange(4.0))
    return exact + binned + lovasz_hinge(x[:, 0], (labels == 0).long())

compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
assert_close(compiled(logits), loss(logits))
gradients = [torch.autograd.grad(f(logits), logits)[0] for f in (compiled, loss)]
assert_close(*gradients)

# Where nothing needs a gradient, as in an evaluation loop
assert_close(compiled(logits.detach()), loss(logits).detach())
with torch.no_grad():
    assert_close(compiled(logits), loss(logits))
per_image = torch.compile(torch.func.grad(loss), backend="aot_eager")(logits.detach())
assert_close(per_image, gradients[1])

class Trained(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(4, 4, 1)
        self.loss = LovaszSoftmax(ignore_index=255, class_weights=[1, 2, 3, 4])

    def forward(self, images, labels):
        return self.loss(self.layer(images), labels)

network = Trained()
exported = torch.export.export(network, (logits.detach(), labels)).module()
images, truth = torch.randn(2, 4, 8, 8, generator=rng), labels.flip(1)
assert_close(exported(images, truth), network(images, truth))
exported(images, truth).backward()
network(images, truth).backward()
assert_close(exported.layer.weight.grad, network.layer.weight.grad)
assert network.layer.weight.grad.abs().sum() > 0
"""


@pytest.mark.slow
def test_compiles_as_one_graph_and_is_exported():
    """In a process of its own: the compiler cannot trace functions whose shapes are checked."""
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def train_a_part(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2
    )
    layer = nn.parallel.DistributedDataParallel(layer_of_seed())
    images, labels = batch_of_seed()
    loss = lovasz_softmax_from_logits(
        layer(images[rank::2]), labels[rank::2], per_image=True, ignore=IGNORE
    )
    loss.backward()
    torch.save([p.grad for p in layer.parameters()], f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def layer_of_seed() -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv2d(3, 4, 3, padding=1)


def batch_of_seed() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(1)
    _, labels = random_case(rng, (4, 4, 8, 8))
    return torch.randn(4, 3, 8, 8, generator=rng), labels


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of gloo about the host's name
def test_two_processes_give_the_gradient_of_one_on_the_joined_batch(tmp_path):
    mp.spawn(train_a_part, (str(tmp_path),), nprocs=2)
    layer = layer_of_seed()
    images, labels = batch_of_seed()
    lovasz_softmax_from_logits(layer(images), labels, per_image=True, ignore=IGNORE).backward()
    expected = [p.grad for p in layer.parameters()]
    for rank in range(2):
        assert_close(torch.load(tmp_path / f"{rank}.pt", weights_only=True), expected)
