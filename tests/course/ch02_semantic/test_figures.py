"""Pictures of the semantic head and the words beside them."""

import numpy as np
import torch
from matplotlib.figure import Figure

from pfpn.course.ch02_semantic.figures import (
    describe_change,
    describe_frequencies,
    label_colors,
    paint_labels,
    plot_alignment,
    plot_branch,
    plot_change,
    plot_confusion,
    plot_doubling,
    plot_frequencies,
    plot_norms,
    plot_panels,
)
from pfpn.course.ch02_semantic.numbers import ClassScore
from pfpn.data.toy import TOY_CATEGORIES
from pfpn.plot.palette import VOID_COLOR
from pfpn.structures import IGNORE


def test_colors_are_in_the_order_of_the_labels():
    colors = label_colors(TOY_CATEGORIES)
    assert colors[1:] == [c.color for c in TOY_CATEGORIES if not c.is_thing]
    painted = paint_labels(torch.tensor([[1, IGNORE]]), colors)
    assert painted[0].tolist() == [list(colors[1]), list(VOID_COLOR)]


def test_a_row_is_doubled_by_the_package_or_by_the_reader():
    def halves(row):
        return row.repeat_interleave(2)

    for double, values in ((None, [0.0, 1.0, 3.0, 4.0]), (halves, [0.0, 0.0, 4.0, 4.0])):
        (axes,) = plot_doubling((0, 4), 1, double).axes
        lines = {line.get_label(): line for line in axes.lines}
        name = "doubled once" if double is None else "halves, used once"
        assert lines[name].get_xdata().tolist() == [0.25, 0.75, 1.25, 1.75]
        assert lines[name].get_ydata().tolist() == values
    (axes,) = plot_doubling((0, 4, 8, 0), 3).axes
    assert axes.get_title() == "4 cells, 32 values; largest: 6.69 doubled, 7.75 in one step"


def test_figures_are_made_and_drawing_shows_the_shapes():
    shapes = {f"p{k}": (6, 64 // 2**k, 96 // 2**k) for k in range(2, 6)}
    score = ClassScore(0.5, 0.6, 0.7)
    labels = torch.tensor([[0, 1], [1, IGNORE]])
    drawn = [
        plot_branch(shapes, 8, 3),
        plot_panels({"a": np.zeros((4, 6, 3)), "b": np.ones((4, 6))}, heat=("b",)),
        plot_panels({"a": np.zeros((4, 6, 3))}, ["one"], [(1, 2, 3)]),
        plot_norms(),
        plot_alignment(),
        plot_frequencies({"one": 0.4}, [(1, 2, 3)]),
        plot_change([score], [score], ["one"], [(1, 2, 3)]),
        plot_confusion(labels, labels, ["one", "two"]),
    ]
    assert all(isinstance(figure, Figure) for figure in drawn)
    texts = [text.get_text() for text in drawn[0].axes[0].texts]
    assert texts.count("8 x 16 x 24") == 4  # every chain ends at stride 4
    assert sum(text == "3x3, GN, ReLU\n2x bilinear" for text in texts) == 3 + 2 + 1
    assert texts[-1] == "3 x 64 x 96"


def test_group_norm_is_drawn_with_as_many_means_as_it_has():
    panels = plot_norms().axes
    means = [len({text.get_text() for text in axes.texts}) for axes in panels]
    assert means == [8, 3, 24, 6]


def test_words_hold_the_numbers():
    assert "sky 22.1" in describe_frequencies({"sky": 0.221})
    one, two = ClassScore(0.5, 0.6, 0.7), ClassScore(0.25, 0.6, 0.7)
    assert "dog 50 to 25" in describe_change([one], [two], ["dog"])


def test_marks_that_nearly_agree_have_no_arrow_between_them():
    score, near, far = (ClassScore(value, value, value) for value in (0.5, 0.52, 0.8))
    for other, arrows in ((near, 0), (far, 1)):
        for axes in plot_change([score], [other], ["one"], [(1, 2, 3)]).axes:
            assert sum(text.arrow_patch is not None for text in axes.texts) == arrows


def test_both_conventions_can_be_seen_where_they_agree():
    error = plot_alignment().axes[1]
    hollow, filled = error.lines[:2]
    assert hollow.get_markerfacecolor() == "none"
    assert hollow.get_markersize() > filled.get_markersize() + 3
    assert hollow.get_ydata()[0] == filled.get_ydata()[0]
