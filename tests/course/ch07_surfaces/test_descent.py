import numpy as np
import pytest

from pfpn.course.ch07_surfaces import descent
from pfpn.plot.surface import TRUTHS


def test_a_path_on_a_flat_facet_is_a_straight_line_by_hand():
    # Truth (0, 0): the Lovász hinge is the larger error; the first pixel's, 1 + 2 = 3, moves alone.
    path = descent.descend("lovasz_hinge", (2.0, -3.0), (0, 0), rate=0.5, steps=3)
    np.testing.assert_allclose(path.points, [[2, -3], [1.5, -3], [1, -3], [0.5, -3]])
    np.testing.assert_allclose(path.values, [3, 2.5, 2, 1.5])
    assert path.jaccard.tolist() == [1, 1, 1, 1]
    assert path.arrival is None


def test_the_first_step_at_which_all_is_right_for_good():
    path = descent.descend("lovasz_hinge", (2.0, -3.0), (0, 0), rate=0.5, steps=8)
    assert path.arrival == 5  # 2, 1.5, 1, 0.5, 0 (counts as wrong), -0.5
    assert descent.descend("hinge", (-2.0, -3.0), (0, 0)).arrival == 0


@pytest.mark.parametrize("truth", TRUTHS)
def test_convex_losses_in_scores_bring_every_start_home(truth):
    for loss in ("cross_entropy", "hinge", "lovasz_hinge"):
        arrived, steps = descent.count_arrivals(loss, truth)
        assert arrived == len(steps) == len(descent.STARTS)


def test_losses_with_plateaus_leave_some_starts_behind():
    for loss in ("soft_jaccard", "dice", "lovasz_softmax"):
        arrived, _ = descent.count_arrivals(loss, (0, 1))
        assert 0 < arrived < len(descent.STARTS)


def test_the_loss_falls_along_a_smooth_path():
    for start in descent.STARTS:
        values = descent.descend("cross_entropy", start, (0, 1)).values
        assert (np.diff(values) < 0).all()


def test_the_picture_and_its_words():
    figure = descent.plot_descents(grid=7, steps=5)
    assert len(figure.axes) == len(descent.DESCENT_LOSSES)
    words = descent.describe_descents()
    arrived, _ = descent.count_arrivals("lovasz_softmax", (0, 1))
    assert f"Lovász-Softmax: {arrived} of 6, after" in words
