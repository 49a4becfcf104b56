import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch.testing import assert_close

from pfpn.course.ch07_surfaces import numbers
from pfpn.losses.lovasz import jaccard_loss, lovasz_extension, lovasz_hinge, lovasz_softmax
from pfpn.plot.surface import TRUTHS, loss_at, value_and_gradient

AXIS = np.linspace(-3, 3, 7)

# Kinks and the base polytope ----------------------------------------------------------------------


@pytest.mark.parametrize("wrong", TRUTHS)
@pytest.mark.parametrize("truth", TRUTHS)
def test_every_corner_is_the_discrete_jaccard_loss(truth, wrong):
    # |wrong| / |truth or wrong|, counted by hand
    union = sum(t or w for t, w in zip(truth, wrong, strict=True))
    expected = sum(wrong) / max(union, 1)
    corners, heights = numbers.jaccard_corners(truth)
    index = [tuple(row) for row in corners.astype(int).tolist()].index(wrong)
    assert heights[index] == expected
    corner = torch.tensor(wrong, dtype=torch.float64)
    assert float(loss_at("lovasz_hinge", corner, truth, "margins")) == expected
    assert float(loss_at("lovasz_softmax", corner, truth, "errors")) == expected
    logits = torch.tensor([5.0 if t != w else -5.0 for t, w in zip(truth, wrong, strict=True)])
    assert float(loss_at("jaccard", logits, truth)) == expected


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
    assert tuple(numbers.greedy_vertex(truth, (0, 1))) == one_first
    assert tuple(numbers.greedy_vertex(truth, (1, 0))) == two_first


@pytest.mark.parametrize("truth", TRUTHS)
def test_the_greedy_vertex_is_the_best_of_both_and_gives_the_extension(truth, rng):
    vertices = [numbers.greedy_vertex(truth, order) for order in ((0, 1), (1, 0))]
    for m in torch.rand(50, 2, generator=rng, dtype=torch.float64):
        best = max(float(m.numpy() @ vertex) for vertex in vertices)
        assert float(loss_at("lovasz_softmax", m, truth, "errors")) == pytest.approx(best)


@pytest.mark.parametrize("over", ["logits", "margins", "errors"])
@pytest.mark.parametrize("truth", TRUTHS)
def test_the_gradient_jumps_across_a_crease_just_where_it_is_said_to_bend(truth, over):
    loss = "lovasz_hinge" if over == "margins" else "lovasz_softmax"
    low, high = {"logits": (-2, 2), "margins": (-1, 2), "errors": (0, 1)}[over]
    for crease in numbers.find_creases(truth, over, low, high):
        start, end = (torch.tensor(point, dtype=torch.float64) for point in
                      (crease.start, crease.end))  # fmt: skip
        middle = start + 0.4 * (end - start)
        across = torch.stack([-(end - start)[1], (end - start)[0]]) * 1e-6
        both = torch.stack([middle + across, middle - across])
        _, gradient = value_and_gradient(loss, both, truth, over)
        assert (float((gradient[0] - gradient[1]).abs().max()) > 1e-3) == crease.bends


# Convexity, and the price of an absent class ------------------------------------------------------


@pytest.mark.parametrize("truth", TRUTHS)
def test_the_hinge_is_convex_in_scores_and_lovasz_softmax_in_errors(truth, rng):
    for loss, over, low, high in (
        ("lovasz_hinge", "logits", -3, 3),
        ("lovasz_softmax", "errors", 0, 1),
    ):
        worst, chord = numbers.measure_convexity(loss, truth, over, low, high, rng)
        assert worst < 1e-12
        assert (chord.surface - chord.line).max() < 1e-12


@pytest.mark.parametrize("truth", TRUTHS)
def test_lovasz_softmax_is_not_convex_in_logits(truth, rng):
    worst, chord = numbers.measure_convexity("lovasz_softmax", truth, "logits", -6, 6, rng)
    assert worst > 0.25
    assert (chord.surface - chord.line).max() == pytest.approx(worst)
    at = chord.start + chord.fraction[:, None] * (chord.end - chord.start)
    again = loss_at("lovasz_softmax", torch.from_numpy(at), truth)
    assert_close(torch.from_numpy(chord.surface), again)


def test_a_surface_above_its_chord_by_hand():
    # Both pixels background, one logit kept low: the loss is sigmoid(d), concave above 0.
    points = torch.tensor([[0.0, -9.0], [3.0, -9.0], [6.0, -9.0]], dtype=torch.float64)
    start, middle, end = loss_at("lovasz_softmax", points, (0, 0)).tolist()
    assert middle - (start + end) / 2 == pytest.approx(0.952574 - (0.5 + 0.997527) / 2, abs=1e-6)


def test_an_absent_class_costs_its_largest_error_however_many_pixels_there_are():
    costs = numbers.absent_class_costs([2, 16, 1024], error=0.9, rest=0.01)
    assert costs["absent"] == pytest.approx([0.9] * 3)
    # The bad pixel joins first: 0.9 / (G + 1); the weights of all others add up to the rest of 1.
    expected = [0.9 / (g + 1) + 0.01 * g / (g + 1) for g in (1, 8, 512)]
    assert costs["half"] == pytest.approx(expected)
    assert costs["mean"] == pytest.approx([(0.9 + 0.01 * (n - 1)) / n for n in (2, 16, 1024)])


# Slices -------------------------------------------------------------------------------------------


def points_of(piece: numbers.Slice) -> torch.Tensor:
    return torch.stack([torch.stack([piece.scores(x, y) for x in AXIS]) for y in AXIS])


@pytest.mark.parametrize("plane", numbers.PLANES)
def test_a_slice_has_the_loss_that_trains_at_every_point(plane):
    piece = numbers.make_slice(23, 0.3, plane, seed=1, ignored_fraction=0.25)
    truth = torch.from_numpy(piece.truth)
    labels = torch.where(torch.from_numpy(piece.counts), truth.long(), 255)
    for loss in numbers.LOVASZ:
        values = numbers.evaluate_slice(piece, loss, AXIS)
        for row, scores in zip(values, points_of(piece), strict=True):
            for value, score in zip(row, scores, strict=True):
                if loss == "lovasz_hinge":
                    expected = lovasz_hinge(score[None, None], labels[None, None], ignore=255)
                else:
                    both = torch.stack([-score, score])[None, :, None] / 2
                    expected = lovasz_softmax(both.softmax(1), labels[None, None], classes=[1],
                                              ignore=255)  # fmt: skip
                assert value == pytest.approx(float(expected), abs=1e-9)


def test_a_slice_has_the_pixels_that_its_arguments_describe():
    piece = numbers.make_slice(200, 0.05, "two groups", ignored_fraction=0.5)
    assert piece.truth.sum() == 10
    assert piece.counts.sum() == pytest.approx(100, abs=2)
    assert (piece.first == piece.truth).all()
    assert (piece.second == ~piece.truth).all()
    # the groups' own means are the axes
    assert piece.middle[piece.truth].mean() == pytest.approx(0)
    assert piece.middle[~piece.truth].mean() == pytest.approx(0)


def test_two_pixels_move_alone_and_are_never_ignored():
    piece = numbers.make_slice(30, 0.2, "two pixels", ignored_fraction=1.0)
    moved = (piece.first != 0) | (piece.second != 0)
    assert moved.sum() == 2
    assert piece.counts[moved].all()
    assert piece.scores(1.5, -2.0)[torch.from_numpy(moved)].tolist() == [1.5, -2.0]


def test_random_directions_are_long_and_at_right_angles():
    piece = numbers.make_slice(50, 0.5, "random")
    assert np.linalg.norm(piece.first) == pytest.approx(np.sqrt(50))
    assert np.linalg.norm(piece.second) == pytest.approx(np.sqrt(50))
    assert piece.first @ piece.second == pytest.approx(0, abs=1e-9)


def test_an_ignored_pixel_changes_nothing():
    scores = torch.tensor([0.5, -2.0, 3.0, 0.1], dtype=torch.float64)
    truth, counts = [True, False, False, True], [True, True, False, True]
    whole = numbers.read_point(truth, scores, "lovasz_hinge", counts)
    less = numbers.read_point([True, False, True], scores[[0, 1, 3]], "lovasz_hinge")
    assert whole.value == less.value
    assert 2 not in whole.order


def test_a_point_is_read_as_by_hand():
    # Hinge errors: truth 1: 1 - s; truth 0: 1 + s.
    scores = torch.tensor([0.2, -0.5, 1.5, -3.0], dtype=torch.float64)
    read = numbers.read_point([True, True, False, False], scores, "lovasz_hinge")
    assert read.order.tolist() == [2, 1, 0, 3]
    assert read.errors.tolist() == pytest.approx([2.5, 1.5, 0.8, 0])
    # Two foreground pixels: background joins: I 2, U 3; then 1 of 3, 0 of 3, 0 of 4.
    assert read.intersection.tolist() == [2, 1, 0, 0]
    assert read.union.tolist() == [3, 3, 3, 4]
    assert read.rise.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])
    assert read.value == pytest.approx((2.5 + 1.5 + 0.8) / 3)
    _, gradient = value_and_gradient("lovasz_hinge", scores, [1, 1, 0, 0])
    assert gradient.tolist() == pytest.approx([-1 / 3, -1 / 3, 1 / 3, 0])
    assert read.count_wrong() == (2, 1, 3)  # errors above 1: a score of the wrong sign


@pytest.mark.parametrize("loss", numbers.LOVASZ)
def test_a_reading_has_the_value_of_the_extension_and_its_slope(loss, rng):
    truth = [True, False, True, False, False, True]
    scores = 2 * torch.randn(6, generator=rng, dtype=torch.float64)
    read = numbers.read_point(truth, scores, loss)
    errors = numbers.errors_of(loss, scores, truth)
    is_fg = torch.tensor(truth)
    expected = lovasz_extension(lambda wrong: jaccard_loss(wrong, is_fg), errors)
    assert read.value == pytest.approx(float(expected))
    _, gradient = value_and_gradient(loss, scores, truth)
    for pixel in range(6):
        move = torch.zeros(6, dtype=torch.float64)
        move[pixel] = 1e-6
        rise = (numbers.read_point(truth, scores + move, loss).value
                - numbers.read_point(truth, scores - move, loss).value)  # fmt: skip
        assert float(gradient[pixel]) == pytest.approx(rise / 2e-6, abs=1e-6)


def test_no_pixel_wrong_leaves_the_truth_as_it_is():
    read = numbers.read_point([True, False, True], torch.tensor([5.0, -5.0, 5.0]), "lovasz_softmax")
    assert read.count_wrong() == (0, 2, 2)


@pytest.mark.parametrize("plane", numbers.PLANES)
def test_the_arrow_is_the_slope_of_the_slice(plane):
    piece = numbers.make_slice(17, 0.4, plane)
    step = 1e-6
    for loss in ("lovasz_softmax", "cross_entropy"):
        value, slope = numbers.value_and_slope(piece, loss, (0.3, -0.7))
        assert value == float(loss_at(loss, piece.scores(0.3, -0.7), piece.truth.tolist()))
        for axis, (dx, dy) in enumerate(((step, 0), (0, step))):
            ends = [
                loss_at(loss, piece.scores(0.3 + way * dx, -0.7 + way * dy),
                            piece.truth.tolist())
                for way in (1, -1)
            ]  # fmt: skip
            assert slope[axis] == pytest.approx(float(ends[0] - ends[1]) / (2 * step), abs=1e-5)


def test_the_largest_error_is_that_of_the_whole_slice():
    piece = numbers.make_slice(20, 0.3, "random")
    errors = numbers.errors_of("lovasz_hinge", points_of(piece), piece.truth.tolist())
    assert_close(numbers.largest_error(piece, "lovasz_hinge"), float(errors.max()))


# Beliefs ------------------------------------------------------------------------------------------


def some_beliefs(rng: torch.Generator, num: int) -> list[tuple[float, ...]]:
    draws = -torch.rand(num, 4, generator=rng, dtype=torch.float64).log()
    return [tuple((row / row.sum()).tolist()) for row in draws]


def least_by_linear_programming(beliefs: tuple[float, ...]) -> tuple[float, np.ndarray]:
    """The expected Lovász hinge is a sum of maxima of linear functions of hinge errors.

    Variables: two scores, then for each truth two hinge errors and the loss.
    """
    cost = np.zeros(2 + 3 * 4)
    rows, limits = [], []
    for index, (weight, truth) in enumerate(zip(beliefs, TRUTHS, strict=True)):
        start = 2 + 3 * index
        cost[start + 2] = weight
        for pixel in (0, 1):  # error >= 1 - sign * score
            row = np.zeros_like(cost)
            row[pixel], row[start + pixel] = -(2.0 * truth[pixel] - 1), -1
            rows.append(row)
            limits.append(-1.0)
        for order in ((0, 1), (1, 0)):  # loss >= <vertex, errors>
            row = np.zeros_like(cost)
            row[start : start + 2] = numbers.greedy_vertex(truth, order)
            row[start + 2] = -1
            rows.append(row)
            limits.append(0.0)
    bounds = [(-9, 9)] * 2 + [(0, None)] * 12
    result = linprog(cost, np.array(rows), np.array(limits), bounds=bounds)
    assert result.success
    return result.fun, result.x[:2]


def test_the_expected_jaccard_loss_by_hand():
    # Truths 00, 01, 10, 11. Labeling 00 costs 1 for each truth that has foreground.
    # Labeling 11: truth 00 costs 1, one of two costs 1/2, 11 costs 0.
    costs = numbers.expected_jaccard((0.4, 0.25, 0.25, 0.1))
    np.testing.assert_allclose(costs, [0.6, 0.4 + 0.25 + 0.05, 0.4 + 0.25 + 0.05, 0.65])


def test_the_hinge_abstains_where_no_labeling_costs_less_than_half():
    empty, full = (
        numbers.minimize_expected_hinge(numbers.MOSTLY_EMPTY),
        numbers.minimize_expected_hinge(numbers.MOSTLY_FULL),
    )
    for least in (empty, full):
        assert least.scores == (0.0, 0.0)
        assert least.hinge == pytest.approx(1)
        assert min(least.expected) == pytest.approx(0.6)
    # the same scores, and different labelings are best: whatever label (0, 0) gets, one is wrong
    assert empty.best == (0, 0)
    assert full.best == (1, 1)
    assert empty.regret((1, 1)) == pytest.approx(0.05)
    assert full.regret((0, 0)) == pytest.approx(0.1)


def test_cross_entropy_is_not_consistent_either():
    least = numbers.minimize_expected_hinge(numbers.MOSTLY_FULL)
    assert least.pixelwise == (0, 0)  # each pixel alone: 40% foreground
    assert least.best == (1, 1)


def test_a_sure_belief_is_not_abstained_from():
    for index, truth in enumerate(TRUTHS):
        belief = [0.1] * 4
        belief[index] = 0.7
        least = numbers.minimize_expected_hinge(belief)
        assert least.best == truth
        assert least.scores == tuple(2.0 * label - 1 for label in truth)


def test_the_five_candidates_hold_the_minimum_of_linear_programming(rng):
    for beliefs in [numbers.MOSTLY_EMPTY, numbers.MOSTLY_FULL, *some_beliefs(rng, 60)]:
        minimum, scores = least_by_linear_programming(beliefs)
        least = numbers.minimize_expected_hinge(beliefs)
        assert least.hinge == pytest.approx(minimum, abs=1e-7)
        if least.scores == (0, 0):  # then it is the only minimum
            np.testing.assert_allclose(scores, 0, atol=1e-6)
            assert min(least.expected) > 0.5


def test_no_point_of_a_fine_grid_is_better(rng):
    axis = torch.linspace(-2, 2, 81, dtype=torch.float64)
    points = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1)
    for beliefs in some_beliefs(rng, 20):
        least = float(numbers.expected_loss(points, beliefs).min())
        assert numbers.minimize_expected_hinge(beliefs).hinge == pytest.approx(least, abs=1e-9)


def test_the_corners_cost_twice_the_expected_jaccard_loss(rng):
    corners = torch.tensor(TRUTHS, dtype=torch.float64) * 2 - 1
    for beliefs in some_beliefs(rng, 10):
        hinge = numbers.expected_loss(corners, beliefs).numpy()
        np.testing.assert_allclose(hinge, 2 * numbers.expected_jaccard(beliefs))


def test_lovasz_softmax_over_probabilities_abstains_at_one_half():
    axis = torch.linspace(-4, 4, 81, dtype=torch.float64)
    points = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1)
    value = numbers.expected_loss(points, numbers.MOSTLY_EMPTY, "lovasz_softmax")
    assert points.view(-1, 2)[value.argmin()].tolist() == pytest.approx([0, 0], abs=1e-9)
    assert float(value.min()) == pytest.approx(0.5)


def test_about_a_fifth_of_all_beliefs_is_abstained_from(rng):
    fraction = numbers.abstaining_fraction(rng, 20000)
    scores = [numbers.minimize_expected_hinge(b).scores for b in some_beliefs(rng, 400)]
    counted = np.mean([pair == (0, 0) for pair in scores])
    assert fraction == pytest.approx(0.21, abs=0.01)
    assert counted == pytest.approx(fraction, abs=0.07)


def test_probabilities_that_are_none_are_refused():
    for beliefs in [(0.5, 0.5, 0.5, 0.5), (1.0, 0.0, 0.0), (1.2, -0.2, 0.0, 0.0)]:
        with pytest.raises(ValueError, match="add up to 1"):
            numbers.minimize_expected_hinge(beliefs)


def test_the_hinge_abstains_on_both_sides_of_the_line_between_the_best_labelings():
    # on the beliefs with P(01) = P(10): abstained from where P(11) < P(00) < 1/2
    for empty, full in itertools.product((0.05, 0.2, 0.35, 0.45, 0.6), (0.02, 0.1, 0.3)):
        mixed = (1 - empty - full) / 2
        least = numbers.minimize_expected_hinge((empty, mixed, mixed, full))
        assert (least.scores == (0, 0)) == (full < empty < 0.5)


@pytest.mark.usefixtures("unchecked")  # the shape check would refuse it first
def test_invalid_arguments_are_refused():
    with pytest.raises(ValueError, match=r"expected \(0, 1\) or"):
        numbers.greedy_vertex((0, 1), (0, 0))
    with pytest.raises(ValueError, match="2 to 1000"):
        numbers.make_slice(1)
    with pytest.raises(ValueError, match="fractions from 0 to 1"):
        numbers.make_slice(10, 1.5)
    with pytest.raises(ValueError, match="expected one of two pixels"):
        numbers.make_slice(10, 0.5, "three")
    with pytest.raises(ValueError, match="expected two"):
        numbers.make_pair((0, 1, 1))
    with pytest.raises(ValueError, match="expected one of lovasz_hinge"):
        numbers.read_point([True], torch.zeros(1), "dice")
