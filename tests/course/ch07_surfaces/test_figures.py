import pytest
import torch
from matplotlib.figure import Figure

from pfpn.course.ch07_surfaces import figures
from pfpn.losses.lovasz import lovasz_softmax
from pfpn.plot.surface import LOSSES, TRUTHS, make_surface, value_and_gradient

FIGURES = {
    "hinge": (figures.plot_hinge_surfaces, figures.describe_hinge_surfaces, 4),
    "softmax": (figures.plot_softmax_surfaces, figures.describe_softmax_surfaces, 4),
    "losses": (figures.plot_losses, figures.describe_losses, 8),
    "arrows": (figures.plot_descent_arrows, figures.describe_descent_arrows, 8),
    "absent": (figures.plot_absent_class, figures.describe_absent_class, 2),
    "choices": (figures.plot_class_choices, figures.describe_class_choices, 8),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_panel_has_a_title_and_labeled_axes(name):
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


def test_a_mirrored_surface_has_the_pixel_right_on_the_positive_side():
    for truth in TRUTHS:
        surface = make_surface("lovasz_softmax", truth, low=-2, high=2, steps=5)
        turned = figures.mirrored(surface)
        signs = 2 * torch.tensor(truth, dtype=torch.float64) - 1
        for row, y in enumerate(surface.axis):
            for column, x in enumerate(surface.axis):
                point = torch.tensor([x, y], dtype=torch.float64)
                value, gradient = value_and_gradient("lovasz_softmax", signs * point, truth)
                assert turned.value[row, column] == pytest.approx(float(value))
                if abs(x) != abs(y):  # on a kink the gradient depends on the order
                    expected = (signs * gradient).tolist()
                    assert turned.gradient[row, column].tolist() == pytest.approx(expected)


def test_the_four_views_of_lovasz_softmax_are_one():
    panels = [axes for axes in figures.plot_softmax_surfaces(steps=5).axes if axes.name == "3d"]
    assert len({(axes.elev, axes.azim) for axes in panels}) == 1
    first, second = ([*axes.get_xlim(), *axes.get_ylim()] for axes in panels[:2])
    assert first == second


def test_the_class_choices_show_the_losses_that_train():
    words = figures.describe_class_choices()
    for name, classes in (("foreground only", [1]), ("classes present", "present")):
        logits = torch.tensor([[[[0.0, 0.0]], [[-3.0, -3.0]]]])
        value = float(lovasz_softmax(logits.softmax(1), torch.tensor([[[0, 1]]]), classes=classes))
        part = words[words.index(name) :]
        assert f"{value:.2f} and" in part[: part.index("for truth [+1, -1]")]


@pytest.mark.usefixtures("unchecked")  # the shape check would refuse it first
def test_an_unknown_kind_of_picture_is_refused():
    with pytest.raises(ValueError, match="surface or contour"):
        figures.plot_losses(kind="heatmap")
