"""The first look in pictures, and the words beside them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pfpn.course.ch00_overview.figures import (
    describe_pipeline,
    describe_pixel,
    describe_tasks,
    paint_classes,
    paint_instances,
    plot_false_ids,
    plot_id_colors,
    plot_image,
    plot_pipeline,
    plot_probe,
    plot_regions,
    plot_tasks,
)
from pfpn.course.ch00_overview.numbers import count_regions, trace_image
from pfpn.data.toy import TOY_CATEGORIES, ToyStreet
from pfpn.engine.checkpoint import load_weights
from pfpn.plot.palette import VOID_COLOR
from pfpn.structures import Panoptic, Sample, Segment
from tests.factories import to_png

TOY = Path(__file__).resolve().parents[3] / "data" / "checkpoints" / "toy.safetensors"
CAR, ROAD = 2, 3
IDS = torch.tensor([[1, 1, 2, 2, 5, 0], [5, 5, 5, 5, 5, 5]])
SEGMENTS = (Segment(1, CAR, True), Segment(2, CAR, True), Segment(5, ROAD, False))
PANOPTIC = Panoptic(IDS, SEGMENTS)
GRAY = Sample(torch.full((3, 2, 6), 100, dtype=torch.uint8), PANOPTIC, 0)


@pytest.fixture(scope="module")
def street() -> Sample:
    return ToyStreet(3, seed=7)[2]


def test_classes_have_plain_colors_and_instances_shades():
    colors = {c.name: c.color for c in TOY_CATEGORIES}
    painted = paint_classes(PANOPTIC, TOY_CATEGORIES)
    assert tuple(painted[0, 0]) == tuple(painted[0, 2]) == colors["car"]
    assert tuple(painted[0, 5]) == VOID_COLOR
    shades = paint_instances(GRAY, TOY_CATEGORIES)
    assert tuple(shades[0, 0]) == colors["car"] != tuple(shades[0, 2])
    assert len(set(shades[1, 0].tolist())) == 1  # stuff stays gray


def test_a_pixel_is_described_by_name_kind_id_and_size():
    assert describe_pixel(PANOPTIC, TOY_CATEGORIES, 2, 0) == "car 2 (thing), id 2, 2 pixels"
    assert describe_pixel(PANOPTIC, TOY_CATEGORIES, 0, 1) == "road (stuff), id 5, 7 pixels"
    assert describe_pixel(PANOPTIC, TOY_CATEGORIES, 5, 0) == "void, id 0, 1 pixels"


def test_pixels_with_a_false_id_are_red_and_counted():
    is_false = np.zeros((2, 6), dtype=bool)
    is_false[0, 4] = True
    figure = plot_false_ids(IDS.numpy().astype(np.uint8), is_false, PANOPTIC, TOY_CATEGORIES)
    plain, marked = (axes.images[0].get_array() for axes in figure.axes)
    assert tuple(plain[1, 0]) == tuple(plain[0, 4])  # the road
    assert tuple(marked[0, 4]) == (214, 39, 40)
    assert tuple(marked[1, 0]) != (214, 39, 40)
    assert figure.axes[1].get_title() == "1 pixels with the id of another segment"


def test_the_probe_names_the_segments_and_their_match():
    prediction = Panoptic(IDS.clamp(max=2), SEGMENTS[:2])
    figure = plot_probe(GRAY, prediction, TOY_CATEGORIES, 0, 1)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["truth: road, id 5", "prediction: car 2, id 2"]
    assert figure.texts[0].get_text() == "Two different classes: these two cannot match."
    assert to_png(figure)


def test_the_tasks_figure_shows_what_is_lost(street):
    figure = plot_tasks(street, TOY_CATEGORIES)
    titles = " ".join(axes.get_title() for axes in figure.axes)
    assert "3 cars, 2 regions" in titles
    assert "car 3 as 2" in describe_tasks(street, TOY_CATEGORIES)
    assert to_png(figure)


def test_objects_and_regions_of_a_class_stand_side_by_side(street):
    figure = plot_regions(street, TOY_CATEGORIES, "car")
    assert [axes.get_title() for axes in figure.axes] == ["car: 3 objects", "car: 2 regions"]
    numbers = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert numbers == [["1", "2", "3"], ["1", "2"]]
    left, right = (np.asarray(axes.images[0].get_array()) for axes in figure.axes)
    touching = torch.isin(street.panoptic.id_map, torch.tensor([9, 10])).numpy()
    assert len(np.unique(left[touching], axis=0)) == 2  # two cars that touch
    assert len(np.unique(right[touching], axis=0)) == 1  # are one region
    assert to_png(figure)


def test_the_readers_own_count_of_regions_is_written_below(street):
    figure = plot_regions(street, TOY_CATEGORIES, "car", count_regions)
    assert figure.texts[0].get_text() == "Your count_regions counts 2 regions."
    figure = plot_regions(street, TOY_CATEGORIES, "bus", lambda mask: int(mask.sum()))
    assert figure.texts[0].get_text() == "Your <lambda> counts 0 regions."
    assert [axes.get_title() for axes in figure.axes] == ["bus: 0 objects", "bus: 0 regions"]


def test_id_colors_are_the_bytes_of_the_ids(street):
    figure = plot_id_colors(street.panoptic, TOY_CATEGORIES)
    left, right = (axes.images[0].get_array() for axes in figure.axes)
    assert (np.asarray(left)[..., 0] == street.panoptic.id_map.numpy()).all()
    assert np.asarray(left)[..., 1:].max() == 0
    assert np.asarray(right).max() > 200


def test_an_image_is_drawn_at_its_shape(street):
    figure = plot_image(street.image, width=6)
    assert figure.get_size_inches().tolist() == [6, 4]


def test_the_map_of_the_course_names_every_chapter(street):
    trained = load_weights(TOY)
    trace = trace_image(trained, street.image)
    figure = plot_pipeline(trace, trained)
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert {f"{chapter:02d}" for chapter in range(12)} <= texts
    assert {"c2: 32 x 48", "p5: 4 x 6"} <= texts
    words = describe_pipeline(trace, trained)
    assert f"{len(trace.prediction.panoptic.segments)} segments" in words
    assert to_png(figure)
