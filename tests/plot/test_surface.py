import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch.testing import assert_close

from pfpn.losses.lovasz import jaccard_loss, lovasz_extension, lovasz_hinge, lovasz_softmax
from pfpn.losses.segmentation import dice_loss, pixel_cross_entropy, soft_jaccard_loss
from pfpn.plot import surface as sf

SMOOTH = [loss for loss in sf.LOSSES if loss != "jaccard"]


def closed_form(truth: tuple[int, int], first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """The four cases, worked out by hand from the four values of the set function."""
    mean = (first + second) / 2
    if truth == (0, 0):
        return torch.maximum(first, second)
    if truth == (0, 1):
        return torch.maximum(second, mean)
    if truth == (1, 0):
        return torch.maximum(first, mean)
    return mean


def grid(surface: sf.Surface) -> tuple[torch.Tensor, torch.Tensor]:
    second, first = np.meshgrid(surface.axis, surface.axis, indexing="ij")
    return torch.from_numpy(first), torch.from_numpy(second)


def some_points(rng: torch.Generator, num: int = 12) -> torch.Tensor:
    return 4 * torch.randn(num, 2, generator=rng, dtype=torch.float64)


def two_channels(point: torch.Tensor) -> torch.Tensor:
    return torch.stack([torch.zeros(2, dtype=torch.float64), point])[None, :, None]


@pytest.mark.parametrize("truth", sf.TRUTHS)
def test_the_hinge_surface_is_the_closed_form_of_the_margins(truth):
    surface = sf.make_surface("lovasz_hinge", truth, "margins", -1, 2, 31)
    first, second = grid(surface)
    expected = closed_form(truth, first.relu(), second.relu())
    assert_close(torch.from_numpy(surface.value), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("truth", sf.TRUTHS)
def test_the_softmax_surface_is_the_closed_form_of_the_errors(truth):
    over_errors = sf.make_surface("lovasz_softmax", truth, "errors", 0, 1, 21)
    expected = closed_form(truth, *grid(over_errors))
    assert_close(torch.from_numpy(over_errors.value), expected, atol=1e-12, rtol=0)

    over_logits = sf.make_surface("lovasz_softmax", truth, "logits", -5, 5, 21)
    errors = [
        1 - d.sigmoid() if label else d.sigmoid()
        for d, label in zip(grid(over_logits), truth, strict=True)
    ]
    expected = closed_form(truth, *errors)
    assert_close(torch.from_numpy(over_logits.value), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("truth", sf.TRUTHS)
def test_the_surfaces_of_the_lovasz_losses_are_the_losses_that_train(truth, rng):
    labels = torch.tensor(truth)[None, None]
    for point in some_points(rng):
        hinge = lovasz_hinge(point[None, None], labels)
        assert_close(sf.loss_at("lovasz_hinge", point, truth), hinge)
        softmax = lovasz_softmax(two_channels(point).softmax(1), labels, classes=[1])
        assert_close(sf.loss_at("lovasz_softmax", point, truth), softmax)


@pytest.mark.parametrize("truth", sf.TRUTHS)
def test_the_surfaces_of_the_other_losses_are_the_losses_that_train(truth, rng):
    labels = torch.tensor(truth)[None, None]
    swapped = tuple(1 - label for label in truth)
    for point in some_points(rng):
        logits = two_channels(point)
        entropy = pixel_cross_entropy(logits, labels)
        assert_close(sf.loss_at("cross_entropy", point, truth), entropy)
        for name, loss in (("soft_jaccard", soft_jaccard_loss), ("dice", dice_loss)):
            # Those take the mean over the classes in the truth; the background is the foreground
            # of the swapped problem.
            parts = [sf.loss_at(name, point, truth)] if any(truth) else []
            parts += [sf.loss_at(name, -point, swapped)] if any(swapped) else []
            assert_close(torch.stack(parts).mean(), loss(logits.softmax(1), labels))


def test_the_mean_hinge_is_the_lovasz_hinge_where_all_is_foreground(rng):
    points = some_points(rng)
    assert_close(sf.loss_at("hinge", points, (1, 1)), sf.loss_at("lovasz_hinge", points, (1, 1)))


def test_without_foreground_soft_jaccard_and_dice_are_flat():
    for loss in ("soft_jaccard", "dice"):
        surface = sf.make_surface(loss, (0, 0), steps=9)
        assert (surface.value == 1).all()
        assert (surface.gradient == 0).all()


def test_the_extension_of_many_points_is_that_of_each(rng):
    truth = torch.tensor([True, False, True, False, False])
    errors = torch.rand(20, 5, generator=rng, dtype=torch.float64)
    values, _ = sf.extend_jaccard(errors, truth.int().tolist())
    for value, m in zip(values, errors, strict=True):
        assert_close(value, lovasz_extension(lambda wrong: jaccard_loss(wrong, truth), m))


@pytest.mark.parametrize("truth", sf.TRUTHS)
@pytest.mark.parametrize("loss", SMOOTH)
def test_gradients_are_differences_of_the_surface(loss, truth, rng):
    points = some_points(rng)
    step = 1e-6
    _, gradient = sf.value_and_gradient(loss, points, truth)
    for pixel in (0, 1):
        move = torch.zeros(2, dtype=torch.float64)
        move[pixel] = step
        above, below = (sf.loss_at(loss, points + way * move, truth) for way in (1, -1))
        assert_close(gradient[:, pixel], (above - below) / (2 * step), atol=1e-6, rtol=1e-5)


def test_the_discrete_loss_has_steps_and_no_slope():
    surface = sf.make_surface("jaccard", (0, 1), "logits", -3, 3, 7)
    assert (surface.gradient == 0).all()
    assert set(surface.value.flat) == {0.0, 0.5, 1.0}
    assert np.diff(surface.axis).min() == pytest.approx(2 * sf.NEAR)  # the step stands upright


def test_a_loss_of_ones_own_is_a_surface_like_any_other():
    def hinge(points, truth):
        return (1 - (2 * torch.tensor(truth) - 1) * points).relu().mean(-1)

    for over in ("logits", "margins"):
        mine, ours = (sf.make_surface(loss, (0, 1), over, steps=9) for loss in (hinge, "hinge"))
        assert_close(torch.from_numpy(mine.value), torch.from_numpy(ours.value))
        assert_close(torch.from_numpy(mine.gradient), torch.from_numpy(ours.gradient))
    figure = Figure()
    sf.draw_surface(figure.add_subplot(1, 2, 1, **sf.SOLID), mine, 4)
    sf.draw_contours(figure.add_subplot(1, 2, 2), mine, 4)
    figure.draw_without_rendering()


def test_the_truth_is_named_as_in_the_paper():
    assert sf.truth_name((0, 1)) == "truth [-1, +1]"


@pytest.mark.usefixtures("unchecked")  # the shape check would refuse it first
def test_unknown_losses_and_coordinates_are_refused():
    point = torch.zeros(2, dtype=torch.float64)
    with pytest.raises(ValueError, match="expected one of jaccard, hinge"):
        sf.loss_at("focal", point, (0, 1))
    with pytest.raises(ValueError, match="no function of errors"):
        sf.loss_at("hinge", point, (0, 1), "errors")
    with pytest.raises(ValueError, match="expected logits, margins or errors"):
        sf.loss_at("hinge", point, (0, 1), "probs")


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (
            lambda points, truth: points.mean(),
            r"found \(\) as values.*shape \(3, 3\).*\.mean\(-1\)",
        ),
        (lambda points, truth: points, r"found \(3, 3, 2\) as values"),
        (lambda points, truth: 1.0, "found float as values"),
    ],
)
def test_a_loss_that_has_no_value_for_each_point_is_refused(loss, message):
    """The mean over all points, as most functions of torch give it, would be a flat surface."""
    with pytest.raises(ValueError, match=message):
        sf.make_surface(loss, (0, 1), steps=3)


@pytest.mark.parametrize("truth", [(0, 255), (0, -1), (0, 1, 1), (1,)])
@pytest.mark.usefixtures("unchecked")
def test_a_truth_that_does_not_fit_is_refused(truth):
    for loss in ("dice", "lovasz_hinge"):
        with pytest.raises(ValueError, match="for 2 pixels, expected 1 for each pixel of the fore"):
            sf.make_surface(loss, truth, steps=3)
