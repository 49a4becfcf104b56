import pytest
import torch

from pfpn.course.ch07_surfaces import figures_convexity as figures
from pfpn.course.ch07_surfaces import numbers

FIGURES = {
    "polytope": (figures.plot_base_polytope, figures.describe_base_polytope, 4),
    "convexity": (figures.plot_convexity, figures.describe_convexity, 6),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_panel_has_a_title_and_labelled_axes_and_is_described_with_numbers(name):
    plot, describe, num = FIGURES[name]
    panels = [axes for axes in plot().axes if axes.get_label() != "<colorbar>"]
    assert len(panels) == num
    assert all(axes.get_title() and axes.get_xlabel() and axes.get_ylabel() for axes in panels)
    words = describe()
    assert len(words) > 200
    assert any(letter.isdigit() for letter in words)


def test_no_text_of_the_polytopes_is_cut_off():
    figure = figures.plot_base_polytope()
    figure.draw_without_rendering()
    for axes in figure.axes:
        box = axes.get_tightbbox()
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.width
        assert box.y1 <= figure.bbox.height


def test_the_words_about_convexity_hold_the_measured_violation():
    words = figures.describe_convexity(num=200)
    rng = torch.Generator().manual_seed(0)
    worst, _ = numbers.measure_convexity("lovasz_softmax", (1, 1), "logits", -6, 6, rng, 200)
    assert f"{worst:.2f} for truth [+1, +1], so not convex" in words
    assert words.count("so convex") == 2


def test_errors_that_are_none_are_refused():
    with pytest.raises(ValueError, match="two from 0, not both"):
        figures.plot_base_polytope((0.0, 0.0))
