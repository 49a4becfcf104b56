import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from pfpn.course.ch07_surfaces import abstain
from pfpn.plot.surface import TRUTHS, greedy_vertex


def some_beliefs(rng: torch.Generator, num: int) -> list[tuple[float, ...]]:
    draws = -torch.rand(num, 4, generator=rng, dtype=torch.float64).log()
    return [tuple((row / row.sum()).tolist()) for row in draws]


def least_by_linear_programming(beliefs: tuple[float, ...]) -> tuple[float, np.ndarray]:
    """The expected Lovász hinge is a sum of maxima of linear functions of hinge errors.

    Variables: two scores, then for each truth two hinge errors and the loss.
    """
    cost = np.zeros(2 + 3 * 4)
    rows, limits = [], []
    for place, (weight, truth) in enumerate(zip(beliefs, TRUTHS, strict=True)):
        start = 2 + 3 * place
        cost[start + 2] = weight
        for pixel in (0, 1):  # error >= 1 - sign * score
            row = np.zeros_like(cost)
            row[pixel], row[start + pixel] = -(2.0 * truth[pixel] - 1), -1
            rows.append(row)
            limits.append(-1.0)
        for order in ((0, 1), (1, 0)):  # loss >= <vertex, errors>
            row = np.zeros_like(cost)
            row[start : start + 2] = greedy_vertex(truth, order)
            row[start + 2] = -1
            rows.append(row)
            limits.append(0.0)
    bounds = [(-9, 9)] * 2 + [(0, None)] * 12
    found = linprog(cost, np.array(rows), np.array(limits), bounds=bounds)
    assert found.success
    return found.fun, found.x[:2]


def test_the_expected_jaccard_loss_by_hand():
    # Truths 00, 01, 10, 11. Say 00: wrong for all that has foreground, and wholly.
    # Say 11: truth 00 costs 1, one of two costs 1/2, 11 costs 0.
    found = abstain.expected_jaccard((0.4, 0.25, 0.25, 0.1))
    np.testing.assert_allclose(found, [0.6, 0.4 + 0.25 + 0.05, 0.4 + 0.25 + 0.05, 0.65])


def test_the_hinge_abstains_where_no_labelling_costs_less_than_half():
    empty, full = abstain.judge(abstain.MOSTLY_EMPTY), abstain.judge(abstain.MOSTLY_FULL)
    for verdict in (empty, full):
        assert verdict.scores == (0.0, 0.0)
        assert verdict.abstains
        assert verdict.hinge == pytest.approx(1)
        assert min(verdict.expected) == pytest.approx(0.6)
    # the same scores, and different labellings are best: whatever (0, 0) is read as, one is wrong
    assert empty.best == (0, 0)
    assert full.best == (1, 1)
    assert empty.regret((1, 1)) == pytest.approx(0.05)
    assert full.regret((0, 0)) == pytest.approx(0.1)


def test_cross_entropy_is_not_consistent_either():
    verdict = abstain.judge(abstain.MOSTLY_FULL)
    assert verdict.pixelwise == (0, 0)  # each pixel alone: 40% foreground
    assert verdict.best == (1, 1)


def test_a_sure_belief_is_not_abstained_from():
    for place, truth in enumerate(TRUTHS):
        belief = [0.1] * 4
        belief[place] = 0.7
        verdict = abstain.judge(belief)
        assert not verdict.abstains
        assert verdict.best == truth
        assert verdict.scores == tuple(2.0 * label - 1 for label in truth)


def test_the_five_candidates_hold_the_minimum_that_linear_programming_finds(rng):
    for beliefs in [abstain.MOSTLY_EMPTY, abstain.MOSTLY_FULL, *some_beliefs(rng, 60)]:
        least, scores = least_by_linear_programming(beliefs)
        verdict = abstain.judge(beliefs)
        assert verdict.hinge == pytest.approx(least, abs=1e-7)
        if verdict.abstains:  # then it is the only minimum
            np.testing.assert_allclose(scores, 0, atol=1e-6)
            assert min(verdict.expected) > 0.5


def test_no_point_of_a_fine_grid_is_better(rng):
    axis = torch.linspace(-2, 2, 81, dtype=torch.float64)
    points = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1)
    for beliefs in some_beliefs(rng, 20):
        least = float(abstain.expected_loss(points, beliefs).min())
        assert abstain.judge(beliefs).hinge == pytest.approx(least, abs=1e-9)


def test_the_corners_cost_twice_the_expected_jaccard_loss(rng):
    corners = torch.tensor(TRUTHS, dtype=torch.float64) * 2 - 1
    for beliefs in some_beliefs(rng, 10):
        hinge = abstain.expected_loss(corners, beliefs).numpy()
        np.testing.assert_allclose(hinge, 2 * abstain.expected_jaccard(beliefs))


def test_lovasz_softmax_over_probabilities_abstains_at_one_half():
    axis = torch.linspace(-4, 4, 81, dtype=torch.float64)
    points = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1)
    value = abstain.expected_loss(points, abstain.MOSTLY_EMPTY, "lovasz_softmax")
    assert points.view(-1, 2)[value.argmin()].tolist() == pytest.approx([0, 0], abs=1e-9)
    assert float(value.min()) == pytest.approx(0.5)


def test_about_a_fifth_of_all_beliefs_is_abstained_from(rng):
    share = abstain.share_abstaining(rng, 20000)
    counted = np.mean([abstain.judge(beliefs).abstains for beliefs in some_beliefs(rng, 400)])
    assert share == pytest.approx(0.21, abs=0.01)
    assert counted == pytest.approx(share, abs=0.07)


def test_the_picture_and_its_words():
    figure = abstain.plot_abstaining(steps=9)
    panels = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    assert len(panels) == 5
    assert all(axes.get_xlabel() and axes.get_ylabel() and axes.get_title() for axes in panels)
    words = abstain.describe_abstaining()
    assert "least at scores (0, 0), 1.00" in words
    assert "00 0.6, 01 0.7, 10 0.7, 11 0.65; best is 00" in words
    assert "best is 11" in words


def test_what_is_no_belief_is_refused():
    for beliefs in [(0.5, 0.5, 0.5, 0.5), (1.0, 0.0, 0.0), (1.2, -0.2, 0.0, 0.0)]:
        with pytest.raises(ValueError, match="add up to 1"):
            abstain.judge(beliefs)


def test_the_map_is_the_verdict():
    # on the beliefs with P(01) = P(10): abstained from where P(11) < P(00) < 1/2
    for empty, full in itertools.product((0.05, 0.2, 0.35, 0.45, 0.6), (0.02, 0.1, 0.3)):
        mixed = (1 - empty - full) / 2
        verdict = abstain.judge((empty, mixed, mixed, full))
        assert verdict.abstains == (full < empty < 0.5)
