import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from pfpn.course.ch07_surfaces import slices as sl
from pfpn.losses.lovasz import jaccard_loss, lovasz_extension, lovasz_hinge, lovasz_softmax

AXIS = np.linspace(-3, 3, 7)


def points_of(piece: sl.Slice) -> torch.Tensor:
    return torch.stack([torch.stack([piece.scores(x, y) for x in AXIS]) for y in AXIS])


@pytest.mark.parametrize("plane", sl.PLANES)
@pytest.mark.parametrize("bins", [None, 3, 16])
def test_a_cut_is_the_loss_that_trains_at_every_point(plane, bins):
    piece = sl.make_slice(23, 0.3, plane, seed=1, ignored_share=0.25)
    truth = torch.from_numpy(piece.truth)
    labels = torch.where(torch.from_numpy(piece.counts), truth.long(), 255)
    for loss in sl.LOVASZ:
        found = sl.cut(piece, loss, AXIS, bins)
        for row, scores in zip(found, points_of(piece), strict=True):
            for value, score in zip(row, scores, strict=True):
                if loss == "lovasz_hinge":
                    expected = lovasz_hinge(score[None, None], labels[None, None], ignore=255,
                                            bins=bins)  # fmt: skip
                else:
                    both = torch.stack([-score, score])[None, :, None] / 2
                    expected = lovasz_softmax(both.softmax(1), labels[None, None], classes=[1],
                                              ignore=255, bins=bins)  # fmt: skip
                assert value == pytest.approx(float(expected), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 60), st.floats(0, 1), st.sampled_from(sl.PLANES), st.integers(0, 99),
    st.integers(1, 40), st.sampled_from(sl.LOVASZ),
)  # fmt: skip
def test_bins_lose_at_most_one_width_and_never_gain(num, share, plane, seed, bins, loss):
    piece = sl.make_slice(num, share, plane, seed)
    axis = np.linspace(-3, 3, 5)
    exact, binned = sl.cut(piece, loss, axis), sl.cut(piece, loss, axis, bins)
    assert (exact - binned).min() >= -1e-12
    gap, bound = sl.bin_gaps(piece, loss, [bins], steps=5)[bins]
    assert -1e-12 <= gap <= bound == 1 / bins


def test_a_slice_has_the_pixels_that_were_asked_for():
    piece = sl.make_slice(200, 0.05, "two groups", ignored_share=0.5)
    assert piece.truth.sum() == 10
    assert piece.counts.sum() == pytest.approx(100, abs=2)
    assert (piece.first == piece.truth).all()
    assert (piece.second == ~piece.truth).all()
    # the groups' own means are the axes
    assert piece.middle[piece.truth].mean() == pytest.approx(0)
    assert piece.middle[~piece.truth].mean() == pytest.approx(0)


def test_two_pixels_move_alone_and_are_never_ignored():
    piece = sl.make_slice(30, 0.2, "two pixels", ignored_share=1.0)
    moved = (piece.first != 0) | (piece.second != 0)
    assert moved.sum() == 2
    assert piece.counts[moved].all()
    assert piece.scores(1.5, -2.0)[torch.from_numpy(moved)].tolist() == [1.5, -2.0]


def test_random_directions_are_long_and_at_right_angles():
    piece = sl.make_slice(50, 0.5, "random")
    assert np.linalg.norm(piece.first) == pytest.approx(np.sqrt(50))
    assert np.linalg.norm(piece.second) == pytest.approx(np.sqrt(50))
    assert piece.first @ piece.second == pytest.approx(0, abs=1e-9)


def test_an_ignored_pixel_might_as_well_not_be_there():
    scores = torch.tensor([0.5, -2.0, 3.0, 0.1], dtype=torch.float64)
    truth, counts = [True, False, False, True], [True, True, False, True]
    whole = sl.read_point(truth, scores, "lovasz_hinge", counts)
    less = sl.read_point([True, False, True], scores[[0, 1, 3]], "lovasz_hinge")
    assert whole.value == less.value
    assert whole.gradient[2] == 0
    assert 2 not in whole.order


def test_a_point_is_read_as_by_hand():
    # Hinge errors: truth 1: 1 - s; truth 0: 1 + s.
    scores = torch.tensor([0.2, -0.5, 1.5, -3.0], dtype=torch.float64)
    read = sl.read_point([True, True, False, False], scores, "lovasz_hinge")
    assert read.order.tolist() == [2, 1, 0, 3]
    assert read.errors.tolist() == pytest.approx([2.5, 1.5, 0.8, 0])
    # Two foreground pixels: background joins: I 2, U 3; then 1 of 3, 0 of 3, 0 of 4.
    assert read.intersection.tolist() == [2, 1, 0, 0]
    assert read.union.tolist() == [3, 3, 3, 4]
    assert read.rise.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])
    assert read.value == pytest.approx((2.5 + 1.5 + 0.8) / 3)
    assert read.gradient.tolist() == pytest.approx([-1 / 3, -1 / 3, 1 / 3, 0])
    assert sl.count_wrong(read) == (2, 1, 3)  # errors above 1: a score of the wrong sign


@pytest.mark.parametrize("loss", sl.LOVASZ)
def test_a_reading_is_the_extension_and_its_slope(loss, rng):
    truth = [True, False, True, False, False, True]
    scores = 2 * torch.randn(6, generator=rng, dtype=torch.float64)
    read = sl.read_point(truth, scores, loss)
    errors = sl.errors_of(loss, scores, truth)
    is_fg = torch.tensor(truth)
    expected = lovasz_extension(lambda wrong: jaccard_loss(wrong, is_fg), errors)
    assert read.value == pytest.approx(float(expected))
    for pixel in range(6):
        move = torch.zeros(6, dtype=torch.float64)
        move[pixel] = 1e-6
        rise = (sl.read_point(truth, scores + move, loss).value
                - sl.read_point(truth, scores - move, loss).value)  # fmt: skip
        assert read.gradient[pixel] == pytest.approx(rise / 2e-6, abs=1e-6)


def test_no_pixel_wrong_leaves_the_truth_as_it_is():
    read = sl.read_point([True, False, True], torch.tensor([5.0, -5.0, 5.0]), "lovasz_softmax")
    assert sl.count_wrong(read) == (0, 2, 2)


@pytest.mark.parametrize("plane", sl.PLANES)
def test_the_arrow_is_the_slope_of_the_slice(plane):
    piece = sl.make_slice(17, 0.4, plane)
    step = 1e-6
    for loss in ("lovasz_softmax", "cross_entropy"):
        slope = sl.plane_gradient(piece, loss, (0.3, -0.7))
        for place, (dx, dy) in enumerate(((step, 0), (0, step))):
            ends = [
                sl.evaluate(loss, piece.scores(0.3 + way * dx, -0.7 + way * dy),
                            piece.truth.tolist())
                for way in (1, -1)
            ]  # fmt: skip
            assert slope[place] == pytest.approx(float(ends[0] - ends[1]) / (2 * step), abs=1e-5)


def test_the_largest_error_is_that_of_the_whole_slice():
    piece = sl.make_slice(20, 0.3, "random")
    errors = sl.errors_of("lovasz_hinge", points_of(piece), piece.truth.tolist())
    assert_close(sl.largest_error(piece, "lovasz_hinge"), float(errors.max()))


@pytest.mark.parametrize("plane", sl.PLANES)
def test_every_loss_can_be_drawn_over_every_plane(plane):
    for loss in sl.LOSSES:
        figure = sl.plot_slice(sl.make_slice(12, 0.3, plane), loss, bins=4, steps=5)
        assert all(axes.get_title() and axes.get_xlabel() for axes in figure.axes)


def test_figures_of_slices_are_whole_and_told_with_numbers():
    piece = sl.make_slice(20, 0.25, "two groups")
    figure = sl.plot_bins(piece, bins=(2, 4), steps=9)
    assert "2 bins" in [axes.get_title() for axes in figure.axes]
    gap, bound = sl.bin_gaps(piece, "lovasz_softmax", [4], 9)[4]
    assert f"4 bins: {gap:.3f} of {bound:.3f}" in sl.describe_bins(piece, bins=(2, 4), steps=9)
    assert len(sl.plot_planes(num_pixels=8, steps=5).axes) == 6
    assert "two groups, 5%" in sl.describe_planes(num_pixels=8, steps=5)
    words = sl.describe_slice(piece, "lovasz_hinge", (1.0, -1.0))
    value = sl.read_point(piece.truth, piece.scores(1.0, -1.0)).value
    assert f"where the loss is {value:.3f}" in words


@pytest.mark.usefixtures("unchecked")
def test_what_makes_no_slice_is_refused():
    with pytest.raises(ValueError, match="2 to 1000"):
        sl.make_slice(1)
    with pytest.raises(ValueError, match="shares from 0 to 1"):
        sl.make_slice(10, 1.5)
    with pytest.raises(ValueError, match="expected one of two pixels"):
        sl.make_slice(10, 0.5, "three")
    with pytest.raises(ValueError, match="has no bins"):
        sl.evaluate("dice", torch.zeros(1, 2), [True, False], 4)
    with pytest.raises(ValueError, match="expected one of lovasz_hinge"):
        sl.read_point([True], torch.zeros(1), "dice")
