"""Figures, axes, legends and arrows that every figure shares."""

import numpy as np
import pytest
import torch

from pfpn.plot.style import (
    BLUE,
    RED,
    add_legend,
    center_text,
    draw_arrow,
    draw_grid,
    halo,
    legend_below,
    log_xticks,
    open_axes,
    rgb,
    show_pixels,
    subplots,
    swatches,
)


def test_subplots_return_one_axes_or_an_array_of_them():
    figure, axes = subplots(4, 3)
    assert figure.get_size_inches().tolist() == [4, 3]
    assert figure.axes == [axes]
    _, grid = subplots(4, 3, 2, 3)
    assert grid.shape == (2, 3)
    _, (left, right) = subplots(4, 3, 1, 2, width_ratios=(2, 1))
    assert left.get_position().width > right.get_position().width


def test_open_axes_keep_the_left_and_the_bottom_spine():
    axes = open_axes(subplots(2, 2)[1])
    shown = {side for side, spine in axes.spines.items() if spine.get_visible()}
    assert shown == {"left", "bottom"}


def test_a_grid_lies_behind_what_is_drawn():
    _, axes = subplots(2, 2)
    draw_grid(axes, axis="x")
    assert axes.get_axisbelow() is True
    assert all(line.get_visible() for line in axes.get_xgridlines())
    assert not any(line.get_visible() for line in axes.get_ygridlines())


def test_rgb_moves_the_colors_to_the_last_axis():
    image = torch.arange(24, dtype=torch.uint8).view(3, 2, 4)
    assert rgb(image)[1, 2].tolist() == image[:, 1, 2].tolist()


def test_a_pixel_covers_the_square_between_whole_numbers():
    _, axes = subplots(2, 2)
    shown = show_pixels(axes, np.zeros((2, 5)), "two rows", cmap="gray")
    assert shown.get_extent() == [0, 5, 2, 0]
    assert (axes.get_title(), list(axes.get_xticks()), list(axes.get_yticks())) == (
        "two rows",
        [],
        [],
    )


def test_what_a_caller_passes_replaces_the_default():
    _, axes = subplots(2, 2)
    shown = show_pixels(axes, np.zeros((2, 5)), extent=(0, 1, 0, 1), fontsize=12)
    assert shown.get_extent() == [0, 1, 0, 1]
    center_text(axes, 0, 0, 7, ha="left")
    assert (axes.texts[0].get_text(), axes.texts[0].get_ha(), axes.texts[0].get_va()) == (
        "7",
        "left",
        "center",
    )


def test_an_arrow_goes_from_its_start_to_its_end():
    _, axes = subplots(2, 2)
    draw_arrow(axes, (0, 1), (2, 3), color=RED)
    (arrow,) = axes.texts
    assert (arrow.xyann, arrow.xy) == ((0, 1), (2, 3))


@pytest.mark.parametrize("add", [add_legend, legend_below])
def test_a_legend_names_each_swatch(add):
    figure, _ = subplots(2, 2)
    add(figure, swatches({"sky": BLUE, "car": RED}))
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["sky", "car"]
    assert not legend.get_frame_on()


def test_a_legend_without_handles_names_what_is_labeled():
    _, axes = subplots(2, 2)
    axes.plot([0, 1], [0, 1], label="a line")
    add_legend(axes, loc="upper left")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a line"]


def test_a_halo_is_drawn_under_letters():
    figure, axes = subplots(2, 2)
    text = axes.text(0.5, 0.5, "car", path_effects=halo(3, "black"))
    figure.draw_without_rendering()
    assert len(text.get_path_effects()) == 1


def test_a_logarithmic_axis_has_the_given_ticks_alone():
    _, axes = subplots(2, 2)
    axes.plot([4, 100], [0, 1])
    log_xticks(axes, [4, 8, 100])
    assert axes.get_xscale() == "log"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["4", "8", "100"]
    assert len(axes.get_xticks(minor=True)) == 0
