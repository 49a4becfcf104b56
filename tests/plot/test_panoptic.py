"""Panoptic maps as pixels, figures and words."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from pfpn.data.toy import TOY_CATEGORIES, ToyStreet
from pfpn.plot.palette import VOID_COLOR
from pfpn.plot.panoptic import (
    border_lines,
    describe_panoptic,
    draw_panoptic,
    image_quality,
    paint_panoptic,
    plot_comparison,
    plot_panoptic,
    segment_colors,
    write_inside,
)
from pfpn.structures import Category, Panoptic, Sample, Segment
from tests.factories import to_png

CATEGORIES = (
    Category(4, "cup", True, (200, 0, 0)),
    Category(6, "box", True, (0, 200, 0)),
    Category(9, "table", False, (0, 0, 200)),
    Category(12, "wall", False, (10, 20, 30)),
)
#   void void  table wall
#   cup  cup   table wall
#   cup2 cup2  table wall
ID_MAP = torch.tensor([[0, 0, 5, 8], [2, 2, 5, 8], [3, 3, 5, 8]])
SEGMENTS = (
    Segment(2, 0, True),
    Segment(3, 0, True),
    Segment(5, 1, False),
    Segment(8, 2, False),
)
PANOPTIC = Panoptic(ID_MAP, SEGMENTS)
GRAY = torch.full((3, 3, 4), 100, dtype=torch.uint8)


@pytest.fixture(scope="module")
def scenes() -> list[Sample]:
    return list(ToyStreet(3, seed=0, size=(64, 96)))


def test_a_segment_has_its_class_color_and_the_second_instance_a_shade():
    colors = segment_colors(PANOPTIC, CATEGORIES)
    assert colors[2] == (200, 0, 0)
    assert colors[3] != colors[2]
    assert colors[5] == (0, 0, 200)
    assert colors[8] == (10, 20, 30)


def test_paint_mixes_image_and_color_by_alpha():
    painted = paint_panoptic(GRAY, PANOPTIC, CATEGORIES, alpha=0.6, outlines=False)
    assert painted.shape == (3, 4, 3)
    assert painted.dtype == np.uint8
    assert painted[0, 2].tolist() == [40, 40, 160]  # 0.4 * 100 + 0.6 * (0, 0, 200)
    assert painted[1, 0].tolist() == [160, 40, 40]
    void = [round(0.4 * 100 + 0.6 * c) for c in VOID_COLOR]
    assert painted[0, 0].tolist() == void


def test_paint_with_alpha_0_is_the_image_and_with_alpha_1_the_map():
    image = torch.arange(36, dtype=torch.uint8).reshape(3, 3, 4)
    painted = paint_panoptic(image, PANOPTIC, CATEGORIES, alpha=0, outlines=False)
    assert np.array_equal(painted, image.permute(1, 2, 0).numpy())
    painted = paint_panoptic(image, PANOPTIC, CATEGORIES, alpha=1, outlines=False)
    assert painted[2, 3].tolist() == [10, 20, 30]


def test_outlines_whiten_the_pixel_right_of_or_below_a_border():
    painted = paint_panoptic(GRAY, PANOPTIC, CATEGORIES)
    white = (painted == 255).all(axis=2)
    assert white.tolist() == [
        [False, False, True, True],
        [True, True, True, True],
        [True, True, True, True],
    ]


def test_an_id_that_is_not_listed_is_painted_as_void():
    stray = Panoptic(torch.full((3, 4), 77), ())
    painted = paint_panoptic(GRAY, stray, CATEGORIES, alpha=1)
    assert (painted == np.array(VOID_COLOR)).all()


@pytest.mark.parametrize("alpha", [-0.1, 1.5, float("nan")])
def test_an_alpha_out_of_range_is_refused(alpha):
    with pytest.raises(ValueError, match="found alpha"):
        paint_panoptic(GRAY, PANOPTIC, CATEGORIES, alpha=alpha)


def test_an_image_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"\(3, 5\).*\(3, 4\)"):
        paint_panoptic(GRAY.new_zeros(3, 3, 5), PANOPTIC, CATEGORIES)


def test_border_lines_run_between_pixels():
    x, y = border_lines(np.array([[1, 2], [1, 1]]))
    lines = {
        frozenset(zip(x[i : i + 2].tolist(), y[i : i + 2].tolist(), strict=True))
        for i in range(0, len(x), 3)
    }
    right_of_the_first = frozenset({(1, 0), (1, 1)})
    below_the_second = frozenset({(1, 1), (2, 1)})
    assert lines == {right_of_the_first, below_the_second}
    assert np.isnan(x[2::3]).all()
    assert np.isnan(y[2::3]).all()


def test_a_map_of_one_segment_has_no_borders():
    x, y = border_lines(np.ones((4, 5), dtype=int))
    assert x.size == y.size == 0


def test_draw_keeps_the_pixel_grid(scenes):
    axes = Figure().subplots()
    sample = scenes[0]
    draw_panoptic(axes, sample.image, sample.panoptic, TOY_CATEGORIES, title="here")
    (drawn,) = axes.images
    assert drawn.get_interpolation() == "nearest"
    assert drawn.get_extent() == [0, 96, 64, 0]
    assert drawn.get_array().shape == (64, 96, 3)
    assert axes.get_xlim() == (0, 96)
    assert axes.get_ylim() == (64, 0)
    assert axes.get_title() == "here"


def test_labels_stand_inside_their_segments():
    axes = Figure().subplots()
    draw_panoptic(axes, GRAY, PANOPTIC, CATEGORIES, labels=True)
    at = {}
    for text in axes.texts:
        column, row = text.get_position()
        at.setdefault(text.get_text(), set()).add(int(ID_MAP[int(row), int(column)]))
    assert at == {"cup": {2, 3}, "table": {5}, "wall": {8}}


def test_labels_stand_inside_rings_and_specks_of_large_maps():
    """A ring's center is not in it; one pixel in 500 x 500 may fall through a coarser grid."""
    ids = torch.ones(500, 500, dtype=torch.int64)
    ids[100:400, 100:400] = 2
    panoptic = Panoptic(ids, (Segment(1, 1, False), Segment(2, 0, True)))
    axes = Figure().subplots()
    image = torch.zeros(3, 500, 500, dtype=torch.uint8)
    draw_panoptic(axes, image, panoptic, CATEGORIES, labels=True)
    for text in axes.texts:
        column, row = text.get_position()
        assert int(ids[int(row), int(column)]) == {"table": 1, "cup": 2}[text.get_text()]


def test_a_small_segment_gets_no_label():
    ids = torch.ones(40, 40, dtype=torch.int64)
    ids[3, 3] = 2
    panoptic = Panoptic(ids, (Segment(1, 1, False), Segment(2, 0, True)))
    axes = Figure().subplots()
    image = torch.zeros(3, 40, 40, dtype=torch.uint8)
    draw_panoptic(axes, image, panoptic, CATEGORIES, labels=True)
    assert [text.get_text() for text in axes.texts] == ["table"]


def test_plot_panoptic_shows_image_and_map_and_names_the_classes(scenes):
    sample = scenes[1]
    figure = plot_panoptic(sample.image, sample.panoptic, TOY_CATEGORIES)
    assert len(figure.axes) == 2
    (legend,) = figure.legends
    listed = [text.get_text() for text in legend.get_texts()]
    assert {"sky", "road"} <= set(listed)
    assert len(listed) == len(set(listed))
    assert to_png(figure).startswith(b"\x89PNG")


def test_plot_comparison_has_a_row_for_each_sample(scenes):
    figure = plot_comparison(scenes, [s.panoptic for s in scenes], TOY_CATEGORIES)
    titles = [axes.get_title() for axes in figure.axes]
    assert len(titles) == 9
    assert titles[:3] == ["image 0", "truth", "prediction, PQ 100.0"]
    assert to_png(figure).startswith(b"\x89PNG")


def test_plot_comparison_takes_titles_and_leaves_pq_away(scenes):
    maps = [s.panoptic for s in scenes[:2]]
    titles = ["here", "there"]
    figure = plot_comparison(scenes[:2], maps, TOY_CATEGORIES, titles=titles, show_pq=False)
    shown = [axes.get_title() for axes in figure.axes]
    assert shown == ["here", "truth", "prediction", "there", "truth", "prediction"]


def test_plot_comparison_of_nothing_is_an_empty_figure():
    assert plot_comparison([], [], CATEGORIES).axes == []


def test_plot_comparison_needs_one_prediction_and_one_title_each(scenes):
    with pytest.raises(ValueError, match="3 samples and 1 predictions"):
        plot_comparison(scenes, [scenes[0].panoptic], TOY_CATEGORIES)
    with pytest.raises(ValueError, match="found 1 titles, expected 3"):
        plot_comparison(scenes, [s.panoptic for s in scenes], TOY_CATEGORIES, titles=["a"])


def test_one_pixel_can_be_plotted():
    pixel = Panoptic(torch.ones(1, 1, dtype=torch.int64), (Segment(1, 1, False),))
    image = torch.zeros(3, 1, 1, dtype=torch.uint8)
    assert to_png(plot_panoptic(image, pixel, CATEGORIES))
    assert to_png(plot_comparison([Sample(image, pixel, 0)], [pixel], CATEGORIES))


def test_a_map_that_is_all_void_can_be_plotted():
    void = Panoptic(torch.zeros(3, 4, dtype=torch.int64), ())
    figure = plot_panoptic(GRAY, void, CATEGORIES)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["unlabeled"]
    assert describe_panoptic(void, CATEGORIES) == "no things; unlabeled 100 %"


def test_image_quality_is_the_mean_over_the_classes_in_the_image():
    """Table and wall are predicted exactly (PQ 1 each); the two cups are predicted as one box.

    Cup has 2 false negatives, PQ 0; box has 1 false positive, PQ 0. Mean (1 + 1 + 0 + 0) / 4.
    """
    found_ids = torch.where((ID_MAP == 3), 2, ID_MAP)
    found = Panoptic(found_ids, (Segment(2, 1, True), *SEGMENTS[2:]))
    assert image_quality(PANOPTIC, found, CATEGORIES) == 0.5
    assert image_quality(PANOPTIC, PANOPTIC, CATEGORIES) == 1.0


def test_words_count_things_and_measure_stuff():
    assert (
        describe_panoptic(PANOPTIC, CATEGORIES) == "2 cups; table 25 %, wall 25 %, unlabeled 17 %"
    )


def test_words_have_plurals_and_join_with_and():
    names = ["person", "bus", "box", "stop sign", "sheep"]
    categories = [Category(i, name, True) for i, name in enumerate(names)]
    segments = tuple(Segment(i + 1, i // 2, True) for i in range(9))
    panoptic = Panoptic(torch.arange(1, 10).reshape(3, 3), segments)
    words = describe_panoptic(panoptic, categories)
    assert words == "2 people, 2 buses, 2 boxes, 2 stop signs and 1 sheep"


def test_words_put_what_is_more_first():
    categories = [Category(1, "cup", True), Category(2, "box", True)]
    segments = (Segment(1, 0, True), Segment(2, 1, True), Segment(3, 1, True))
    panoptic = Panoptic(torch.tensor([[1, 2, 3]]), segments)
    assert describe_panoptic(panoptic, categories) == "2 boxes and 1 cup"


def test_words_stay_inside_the_picture_and_off_tiny_segments():
    mask = np.zeros((100, 200), dtype=bool)
    axes = Figure().subplots()
    for rows, columns in (((40, 60), (0, 6)), ((40, 60), (194, 200)), ((50, 53), (100, 104))):
        mask[:] = False
        mask[slice(*rows), slice(*columns)] = True
        write_inside(axes, mask, "sidewalk")
    left, right, above = axes.texts
    assert (left.get_ha(), right.get_ha(), above.get_ha()) == ("left", "right", "center")
    assert left.get_position()[0] >= 0
    assert right.get_position()[0] <= 200
    assert above.get_position()[1] < 50
    assert above.get_va() == "bottom"
