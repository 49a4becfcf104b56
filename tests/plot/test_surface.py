import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch.testing import assert_close

from pfpn.losses.lovasz import jaccard_loss, lovasz_extension, lovasz_hinge, lovasz_softmax
from pfpn.losses.segmentation import dice_loss, pixel_cross_entropy, soft_jaccard_loss
from pfpn.plot import surface as sf

FIGURES = {
    "hinge": (sf.plot_hinge_surfaces, sf.describe_hinge_surfaces, 4),
    "softmax": (sf.plot_softmax_surfaces, sf.describe_softmax_surfaces, 4),
    "losses": (sf.plot_losses, sf.describe_losses, 8),
    "gradients": (sf.plot_gradients, sf.describe_gradients, 8),
    "polytope": (sf.plot_base_polytope, sf.describe_base_polytope, 4),
    "convexity": (sf.plot_convexity, sf.describe_convexity, 6),
    "absent": (sf.plot_absent_class, sf.describe_absent_class, 2),
}
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


@pytest.mark.parametrize("wrong", sf.TRUTHS)
@pytest.mark.parametrize("truth", sf.TRUTHS)
def test_every_corner_is_the_discrete_jaccard_loss(truth, wrong):
    # |wrong| / |truth or wrong|, counted by hand
    union = sum(t or w for t, w in zip(truth, wrong, strict=True))
    expected = sum(wrong) / max(union, 1)
    corners, heights = sf.jaccard_corners(truth)
    place = [tuple(row) for row in corners.astype(int).tolist()].index(wrong)
    assert heights[place] == expected
    corner = torch.tensor(wrong, dtype=torch.float64)
    assert float(sf.loss_at("lovasz_hinge", corner, truth, "margins")) == expected
    assert float(sf.loss_at("lovasz_softmax", corner, truth, "errors")) == expected
    logits = torch.tensor([5.0 if t != w else -5.0 for t, w in zip(truth, wrong, strict=True)])
    assert float(sf.loss_at("jaccard", logits, truth)) == expected


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


@pytest.mark.parametrize(
    ("truth", "one_first", "two_first"),
    [
        ((0, 0), (1, 0), (0, 1)),
        ((0, 1), (0.5, 0.5), (0, 1)),
        ((1, 0), (1, 0), (0.5, 0.5)),
        ((1, 1), (0.5, 0.5), (0.5, 0.5)),
    ],
)
def test_each_order_has_its_greedy_vertex(truth, one_first, two_first):
    assert tuple(sf.greedy_vertex(truth, (0, 1))) == one_first
    assert tuple(sf.greedy_vertex(truth, (1, 0))) == two_first


@pytest.mark.parametrize("truth", sf.TRUTHS)
def test_the_greedy_vertex_is_the_best_of_both_and_gives_the_extension(truth, rng):
    vertices = [sf.greedy_vertex(truth, order) for order in ((0, 1), (1, 0))]
    for m in torch.rand(50, 2, generator=rng, dtype=torch.float64):
        best = max(float(m.numpy() @ vertex) for vertex in vertices)
        assert float(sf.loss_at("lovasz_softmax", m, truth, "errors")) == pytest.approx(best)


@pytest.mark.parametrize("over", ["logits", "margins", "errors"])
@pytest.mark.parametrize("truth", sf.TRUTHS)
def test_the_gradient_jumps_across_a_crease_just_where_it_is_said_to_bend(truth, over):
    loss = "lovasz_hinge" if over == "margins" else "lovasz_softmax"
    low, high = {"logits": (-2, 2), "margins": (-1, 2), "errors": (0, 1)}[over]
    for crease in sf.find_creases(truth, over, low, high):
        start, end = (torch.tensor(point, dtype=torch.float64) for point in
                      (crease.start, crease.end))  # fmt: skip
        middle = start + 0.4 * (end - start)
        across = torch.stack([-(end - start)[1], (end - start)[0]]) * 1e-6
        both = torch.stack([middle + across, middle - across])
        _, gradient = sf.value_and_gradient(loss, both, truth, over)
        assert (float((gradient[0] - gradient[1]).abs().max()) > 1e-3) == crease.bends


@pytest.mark.parametrize("truth", sf.TRUTHS)
def test_the_hinge_is_convex_in_scores_and_lovasz_softmax_in_errors(truth, rng):
    for loss, over, low, high in (
        ("lovasz_hinge", "logits", -3, 3),
        ("lovasz_softmax", "errors", 0, 1),
    ):
        worst, chord = sf.measure_convexity(loss, truth, over, low, high, rng)
        assert worst < 1e-12
        assert chord.excess < 1e-12


@pytest.mark.parametrize("truth", sf.TRUTHS)
def test_lovasz_softmax_is_not_convex_in_logits(truth, rng):
    worst, chord = sf.measure_convexity("lovasz_softmax", truth, "logits", -6, 6, rng)
    assert worst > 0.25
    assert chord.excess == pytest.approx(worst)
    at = chord.start + chord.share[:, None] * (chord.end - chord.start)
    again = sf.loss_at("lovasz_softmax", torch.from_numpy(at), truth)
    assert_close(torch.from_numpy(chord.surface), again)


def test_a_chord_above_is_found_by_hand():
    # Both pixels background, one logit kept low: the loss is sigmoid(d), concave above 0.
    points = torch.tensor([[0.0, -9.0], [3.0, -9.0], [6.0, -9.0]], dtype=torch.float64)
    start, middle, end = sf.loss_at("lovasz_softmax", points, (0, 0)).tolist()
    assert middle - (start + end) / 2 == pytest.approx(0.952574 - (0.5 + 0.997527) / 2, abs=1e-6)


def test_an_absent_class_costs_its_largest_error_however_many_pixels_there_are():
    costs = sf.absent_class_costs([2, 16, 1024], error=0.9, rest=0.01)
    assert costs["absent"] == pytest.approx([0.9] * 3)
    # The bad pixel joins first: 0.9 / (G + 1); all others share what is missing to 1.
    expected = [0.9 / (g + 1) + 0.01 * g / (g + 1) for g in (1, 8, 512)]
    assert costs["half"] == pytest.approx(expected)
    assert costs["mean"] == pytest.approx([(0.9 + 0.01 * (n - 1)) / n for n in (2, 16, 1024)])


@pytest.mark.parametrize("name", FIGURES)
def test_every_panel_has_a_title_and_labelled_axes(name):
    plot, _, num = FIGURES[name]
    figure = plot()
    assert isinstance(figure, Figure)
    panels = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    assert len(panels) == num
    for axes in panels:
        assert axes.get_title()
        assert axes.get_xlabel()
        assert axes.get_ylabel()
        if axes.name == "3d":
            assert axes.get_zlabel() == "loss"


def test_losses_are_drawn_as_contours_too_even_where_some_are_flat():
    for truth in ((0, 0), (1, 1)):
        figure = sf.plot_losses(truth, "contour", steps=13)
        panels = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
        titles = [title for title, _, _ in sf.LOSSES.values()]
        assert [axes.get_title() for axes in panels[:7]] == titles
        assert len(panels[7].lines) == 7


def test_no_text_of_a_figure_is_cut_off():
    for plot in (sf.plot_hinge_surfaces, sf.plot_softmax_surfaces, sf.plot_base_polytope):
        figure = plot() if plot is sf.plot_base_polytope else plot(steps=5)
        figure.draw_without_rendering()
        for axes in figure.axes:
            box = axes.get_tightbbox()
            assert box.x0 >= 0
            assert box.y0 >= 0
            assert box.x1 <= figure.bbox.width
            assert box.y1 <= figure.bbox.height


def test_arrows_start_off_both_lines_of_equal_errors():
    for low, high, num in ((-1, 2, 9), (-4, 4, 9), (0, 1, 7)):
        first, second = sf.arrow_points(low, high, num).T
        assert float((first - second).abs().min()) > 1e-3
        assert float((first + second).abs().min()) > 1e-3


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_told_in_words_with_numbers(name):
    words = FIGURES[name][1]()
    assert len(words) > 200
    assert any(letter.isdigit() for letter in words)


def test_the_words_about_convexity_hold_the_measured_violation():
    words = sf.describe_convexity(num=200)
    rng = torch.Generator().manual_seed(0)
    worst, _ = sf.measure_convexity("lovasz_softmax", (1, 1), "logits", -6, 6, rng, 200)
    assert f"{worst:.2f} for truth [+1, +1], so not convex" in words
    assert words.count("so convex") == 2


@pytest.mark.usefixtures("unchecked")  # the shape check would refuse it first
def test_what_makes_no_sense_is_refused():
    point = torch.zeros(2, dtype=torch.float64)
    with pytest.raises(ValueError, match="expected one of jaccard, hinge"):
        sf.loss_at("focal", point, (0, 1))
    with pytest.raises(ValueError, match="no function of errors"):
        sf.loss_at("hinge", point, (0, 1), "errors")
    with pytest.raises(ValueError, match="expected logits, margins or errors"):
        sf.loss_at("hinge", point, (0, 1), "probs")
    with pytest.raises(ValueError, match="expected \\(0, 1\\) or"):
        sf.greedy_vertex((0, 1), (0, 0))
    with pytest.raises(ValueError, match="two from 0, not both"):
        sf.plot_base_polytope((0.0, 0.0))
    with pytest.raises(ValueError, match="surface or contour"):
        sf.plot_losses(kind="heatmap")
