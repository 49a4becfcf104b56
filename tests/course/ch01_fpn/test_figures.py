"""Pictures of the pyramid and the words beside them."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from pfpn.course.ch01_fpn.figures import (
    describe_costs,
    describe_fields,
    plot_aliasing,
    plot_cells,
    plot_costs,
    plot_fields,
    plot_fpn,
    plot_maps,
    plot_uses,
)
from pfpn.course.ch01_fpn.numbers import Field, level_costs


def test_figures_are_made():
    image = torch.zeros(3, 128, 192, dtype=torch.uint8)
    shapes = dict.fromkeys(("image", "c2", "c3", "c4", "c5"), (3, 4, 5))
    shapes |= {f"p{k}": (4, 5, 6) for k in range(2, 7)}
    costs = level_costs([4, 8, 16, 32], 8, (64, 64))
    field = Field("c2", (64, 96), 43, torch.rand(128, 192), 29)
    drawn = [
        plot_fpn(shapes),
        plot_cells(image),
        plot_fields(image, [field]),
        plot_maps({"one": np.zeros((2, 3, 3))}),
        plot_aliasing(),
        plot_costs(costs),
        plot_uses(),
    ]
    assert all(isinstance(figure, Figure) for figure in drawn)
    texts = [text.get_text() for text in drawn[0].axes[0].texts]
    assert texts.count("4 x 5 x 6") == 5
    assert texts.count("+") == 3


def test_words_hold_the_numbers():
    costs = level_costs([4, 8, 16, 32], 8, (64, 64))
    assert "p2 " in describe_costs(costs)
    field = Field("c2", (64, 96), 43, torch.rand(128, 192), 29)
    words = describe_fields([field])
    assert "c2 can see 43 pixels, 90 % of what moves it lies within about 30" in words


def test_every_level_is_named_in_both_bars_of_the_costs():
    costs = level_costs([256, 512, 1024, 2048], 256, (800, 1088))
    (axes,) = plot_costs(costs).axes
    words = [text.get_text() for text in axes.texts]
    assert [w.split()[0] for w in words] == 2 * ["p2", "p3", "p4", "p5"]
    assert words[-1] == "p5\n2 %"
    assert axes.texts[-1].get_position()[0] > 100  # too thin a bar: the words stand beside it


def test_maps_with_two_lines_of_title_are_drawn_as_large_as_with_one():
    one, two = (plot_maps({"a": np.zeros((2, 3, 3))}, title_height=h) for h in (0.28, 0.45))
    assert two.get_size_inches()[1] - one.get_size_inches()[1] == pytest.approx(0.17)
