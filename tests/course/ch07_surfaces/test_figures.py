import pytest
import torch
from matplotlib.figure import Figure

from pfpn.course.ch07_surfaces import figures, numbers
from pfpn.plot.surface import LOSSES

FIGURES = {
    "hinge": (figures.plot_hinge_surfaces, figures.describe_hinge_surfaces, 4),
    "softmax": (figures.plot_softmax_surfaces, figures.describe_softmax_surfaces, 4),
    "losses": (figures.plot_losses, figures.describe_losses, 8),
    "arrows": (figures.plot_descent_arrows, figures.describe_descent_arrows, 8),
    "absent": (figures.plot_absent_class, figures.describe_absent_class, 2),
    "descents": (lambda: figures.plot_descents(grid=7, steps=5), figures.describe_descents, 6),
}


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


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_described_in_words_with_numbers(name):
    words = FIGURES[name][1]()
    assert len(words) > 200
    assert any(letter.isdigit() for letter in words)


def test_losses_are_drawn_as_contours_too_even_where_some_are_flat():
    for truth in ((0, 0), (1, 1)):
        figure = figures.plot_losses(truth, "contour", steps=13)
        panels = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
        titles = [title for title, _, _ in LOSSES.values()]
        assert [axes.get_title() for axes in panels[:7]] == titles
        assert len(panels[7].lines) == 7


@pytest.mark.parametrize("plot", [figures.plot_hinge_surfaces, figures.plot_softmax_surfaces])
def test_no_text_of_a_figure_is_cut_off(plot):
    figure = plot(steps=5)
    figure.draw_without_rendering()
    for axes in figure.axes:
        box = axes.get_tightbbox()
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.width
        assert box.y1 <= figure.bbox.height


def test_arrows_start_off_both_lines_of_equal_errors():
    for low, high, num in ((-1, 2, 9), (-4, 4, 9), (0, 1, 7)):
        first, second = figures.arrow_points(low, high, num).T
        assert float((first - second).abs().min()) > 1e-3
        assert float((first + second).abs().min()) > 1e-3


def test_arrows_point_against_the_gradient_and_are_as_long_as_it():
    figure = figures.plot_absent_class()
    (arrows,) = [c for c in figure.axes[0].collections if type(c).__name__ == "Quiver"]
    points = torch.from_numpy(arrows.get_offsets().copy())
    # Without foreground the loss is the larger error: its pixel alone moves, by a slope of 1.
    larger = (points == points.amax(1, keepdim=True)).double()
    assert arrows.U.tolist() == (-larger[:, 0]).tolist()
    assert arrows.V.tolist() == (-larger[:, 1]).tolist()


def test_the_words_about_descents_count_arrivals():
    arrived, _ = numbers.count_arrivals("lovasz_softmax", (0, 1))
    assert f"Lovász-Softmax: {arrived} of 6, after" in figures.describe_descents()


@pytest.mark.usefixtures("unchecked")  # the shape check would refuse it first
def test_an_unknown_kind_of_picture_is_refused():
    with pytest.raises(ValueError, match="surface or contour"):
        figures.plot_losses(kind="heatmap")
