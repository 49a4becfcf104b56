"""Boxes on pictures: where pixels stand, what is shown of them, and in which order."""

import pytest
import torch
from matplotlib.figure import Figure

from pfpn.plot.boxes import (
    BAD_COLOR,
    ROW_COLORS,
    crop_panels,
    draw_boxes,
    draw_image,
    draw_rectangle,
    image_panels,
    plot_box_stages,
    view_square,
)

IMAGE = torch.arange(3 * 4 * 6, dtype=torch.uint8).view(3, 4, 6)


def test_an_image_stands_on_its_pixel_grid():
    axes = Figure().subplots()
    draw_image(axes, IMAGE, "title")
    (shown,) = axes.images
    assert tuple(shown.get_extent()) == (0, 6, 4, 0)
    assert torch.equal(torch.from_numpy(shown.get_array().data), IMAGE.permute(1, 2, 0))
    assert axes.get_title() == "title"


@pytest.mark.parametrize(("fade", "expected"), [(0.0, 100), (0.2, 131), (1.0, 255)])
def test_fading_goes_to_white(fade, expected):
    axes = Figure().subplots()
    draw_image(axes, torch.full((3, 2, 2), 100, dtype=torch.uint8), fade=fade)
    assert (axes.images[0].get_array() == expected).all()


def test_boxes_are_closed_lines_with_their_names_on_the_upper_left_corner():
    axes = Figure().subplots()
    boxes = torch.tensor([[1.0, 2, 3, 5], [0, 0, 6, 4]])
    draw_boxes(axes, boxes, [BAD_COLOR, "black"], names=["car"])
    first, _ = axes.collections[0].get_segments()
    assert first.tolist() == [[1, 2], [3, 2], [3, 5], [1, 5], [1, 2]]
    assert [(t.get_text(), t.get_position()) for t in axes.texts] == [("car", (1, 2))]


def test_a_view_is_the_square_around_a_box():
    axes = Figure().subplots()
    view_square(axes, (10, 20, 30, 24), 5)
    assert axes.get_xlim() == (5, 35)
    assert axes.get_ylim() == (37, 7)  # rows go down


def test_panels_have_the_shape_of_the_image():
    figure, panels = image_panels(2, 3, IMAGE, width=9)
    assert panels.shape == (2, 3)
    assert figure.get_size_inches().tolist() == pytest.approx([9, 2 * (3 * 4 / 6 + 0.3)])


def test_nearly_equal_scores_have_one_color_and_are_written_in_the_title():
    boxes = torch.tensor([[0.0, 0, 2, 2], [1, 1, 4, 3]])
    figure = plot_box_stages(IMAGE, {"best": (boxes, torch.tensor([0.99, 0.97]))}, boxes, columns=1)
    (axes,) = figure.axes  # no color bar
    assert axes.get_title() == "best (2), scores 0.97 to 0.99"
    assert len({tuple(color) for color in axes.collections[0].get_colors()}) == 1


def test_rows_have_colors_of_their_own():
    assert len(set(ROW_COLORS)) == len(ROW_COLORS) == 12


def test_stages_are_titled_by_name_and_number_and_the_best_box_is_drawn_last():
    boxes = torch.tensor([[0.0, 0, 2, 2], [1, 1, 4, 3]])
    stages = {"all": (boxes, torch.tensor([0.9, 0.1])), "none": (boxes[:0], torch.zeros(0))}
    figure = plot_box_stages(IMAGE, {**stages, "again": stages["all"]}, boxes, margin=2)
    panels = figure.axes
    assert [axes.get_title() for axes in panels[:3]] == ["all (2)", "none (0)", "again (2)"]
    assert not panels[3].get_visible()
    drawn, truth = panels[0].collections
    assert drawn.get_segments()[-1][0].tolist() == [0, 0]
    assert len(truth.get_segments()) == 2
    assert panels[0].get_xlim() == (-2, 8)
    figure.canvas.draw()


def test_crops_hide_the_panels_that_are_left_over():
    figure, panels = crop_panels(5)
    assert len(panels) == 5
    assert [axes.get_visible() for axes in figure.axes] == [True] * 5 + [False] * 3


def test_a_rectangle_is_an_outline_unless_it_is_filled():
    axes = Figure().subplots()
    draw_rectangle(axes, (1, 2, 4, 6), ec=BAD_COLOR)
    draw_rectangle(axes, (1, 2, 4, 6), fill=True)
    outline, filled = axes.patches
    assert outline.get_bbox().extents.tolist() == [1, 2, 4, 6]
    assert (outline.get_fill(), filled.get_fill()) == (False, True)
