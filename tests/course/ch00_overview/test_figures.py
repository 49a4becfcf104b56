"""The first look: regions against objects, the probe, the way of one image."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from pfpn.course.ch00_overview.figures import (
    count_blobs,
    count_objects,
    describe_pipeline,
    describe_pixel,
    describe_tasks,
    ids_by_color,
    paint_classes,
    paint_instances,
    plot_id_colors,
    plot_image,
    plot_pipeline,
    plot_probe,
    plot_tasks,
    silent_share,
    strength,
    trace_image,
)
from pfpn.data.coco import id_map_to_rgb
from pfpn.data.toy import TOY_CATEGORIES, ToyStreet
from pfpn.engine.checkpoint import Trained, load_weights
from pfpn.plot.palette import VOID_COLOR
from pfpn.predict import predict
from pfpn.structures import Panoptic, Sample, Segment

TOY = Path(__file__).resolve().parents[3] / "data" / "checkpoints" / "toy.safetensors"
PERSON, CAR = 0, 2
ROAD = 3


@pytest.fixture(scope="module")
def trained() -> Trained:
    return load_weights(TOY)


@pytest.fixture(scope="module")
def street() -> Sample:
    return ToyStreet(3, seed=7)[2]


def save(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=50)
    return buffer.getvalue()


def mask(text: str) -> np.ndarray:
    return np.array([[letter == "#" for letter in row] for row in text.split()])


@pytest.mark.parametrize(
    ("text", "count"),
    [("...", 0), ("#", 1), ("#. .#", 2), ("#.# #.# ###", 1), ("##.# ##.#", 2), ("#.# .#. #.#", 5)],
)
def test_blobs_hang_together_along_sides(text, count):
    assert count_blobs(mask(text)) == count


def test_counting_blobs_leaves_the_mask_as_it_is():
    given = mask("##. ..#")
    before = given.copy()
    count_blobs(given)
    assert (given == before).all()


#   two cars that touch, a car in two parts, a person, road, void
MAP = torch.tensor(
    [
        [1, 1, 2, 2, 5, 0],
        [5, 5, 5, 5, 5, 5],
        [3, 3, 4, 3, 3, 5],
    ]
)
PANOPTIC = Panoptic(
    MAP,
    (
        Segment(1, CAR, True),
        Segment(2, CAR, True),
        Segment(3, CAR, True),
        Segment(4, PERSON, True),
        Segment(5, ROAD, False),
    ),
)
GRAY = Sample(torch.full((3, 3, 6), 100, dtype=torch.uint8), PANOPTIC, 0)


def test_regions_of_a_class_are_not_its_objects():
    rows = count_objects(PANOPTIC, TOY_CATEGORIES)
    assert [(r.category.name, r.objects, r.blobs) for r in rows] == [
        ("person", 1, 1),
        ("car", 3, 3),  # two touch, one is parted: right by luck
    ]


def test_instances_say_nothing_of_stuff_and_void():
    assert silent_share(PANOPTIC) == pytest.approx(9 / 18)


def test_classes_have_plain_colors_and_instances_shades():
    colors = {c.name: c.color for c in TOY_CATEGORIES}
    painted = paint_classes(PANOPTIC, TOY_CATEGORIES)
    assert tuple(painted[0, 0]) == tuple(painted[0, 2]) == colors["car"]
    assert tuple(painted[0, 5]) == VOID_COLOR
    shades = paint_instances(GRAY, TOY_CATEGORIES)
    assert tuple(shades[0, 0]) == colors["car"] != tuple(shades[0, 2])
    assert len(set(shades[1, 0].tolist())) == 1  # stuff stays gray


def test_ids_by_color_show_the_colors_and_keep_the_segments():
    colored = ids_by_color(PANOPTIC, TOY_CATEGORIES)
    rgb = id_map_to_rgb(colored.id_map)
    colors = {c.name: c.color for c in TOY_CATEGORIES}
    assert tuple(rgb[:, 0, 0].tolist()) == colors["car"]
    assert colored.id_map[0, 5] == 0
    for old, new in zip(PANOPTIC.segments, colored.segments, strict=True):
        assert torch.equal(PANOPTIC.id_map == old.id, colored.id_map == new.id)
        assert (old.label, old.is_thing) == (new.label, new.is_thing)


def test_ids_by_color_stay_apart_where_shades_repeat():
    number = 12  # there are 8 shades
    segments = tuple(Segment(i + 1, CAR, True) for i in range(number))
    colored = ids_by_color(Panoptic(torch.arange(1, number + 1)[None], segments), TOY_CATEGORIES)
    assert len(colored.id_map.unique()) == number


def test_a_pixel_is_told_with_name_kind_id_and_size():
    assert describe_pixel(PANOPTIC, TOY_CATEGORIES, 2, 0) == "car 2 (thing), id 2, 2 pixels"
    assert describe_pixel(PANOPTIC, TOY_CATEGORIES, 0, 1) == "road (stuff), id 5, 8 pixels"
    assert describe_pixel(PANOPTIC, TOY_CATEGORIES, 5, 0) == "void, id 0, 1 pixels"


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (0, 0, "Same class, IoU 1.00: a match."),
        (2, 0, "Two classes"),
        (5, 0, "Nobody knows"),
        (0, 1, "Nothing was found"),
        (0, 2, "no match"),
    ],
)
def test_the_probe_says_whether_two_segments_match(x, y, words):
    ids = torch.tensor([[1, 1, 2, 2, 5, 5], [0, 5, 5, 5, 5, 5], [3, 0, 0, 0, 0, 0]])
    found = Panoptic(
        ids,
        (
            Segment(1, CAR, True),
            Segment(2, PERSON, True),
            Segment(3, CAR, True),
            Segment(5, ROAD, False),
        ),
    )
    figure = plot_probe(GRAY, found, TOY_CATEGORIES, x, y)
    assert words in figure.texts[0].get_text()
    assert save(figure)


def test_the_tasks_figure_tells_what_is_lost(street):
    figure = plot_tasks(street, TOY_CATEGORIES)
    titles = " ".join(axes.get_title() for axes in figure.axes)
    assert "3 cars, 2 regions" in titles
    assert "car 3 as 2" in describe_tasks(street, TOY_CATEGORIES)
    assert save(figure)


def test_id_colors_are_the_bytes_of_the_ids(street):
    figure = plot_id_colors(street.panoptic, TOY_CATEGORIES)
    left, right = (axes.images[0].get_array() for axes in figure.axes)
    assert (np.asarray(left)[..., 0] == street.panoptic.id_map.numpy()).all()
    assert np.asarray(left)[..., 1:].max() == 0
    assert np.asarray(right).max() > 200


def test_an_image_is_drawn_at_its_shape(street):
    figure = plot_image(street.image, width=6)
    assert figure.get_size_inches().tolist() == [6, 4]


def test_strength_lies_between_0_and_1():
    features = torch.tensor([[[[3.0, 0.0]], [[4.0, 0.0]]]])
    assert strength(features).tolist() == [[1.0, 0.0]]


def test_a_trace_ends_where_predict_ends(trained, street):
    trace = trace_image(trained, street.image)
    alone = predict(trained.model, [street.image], trained.predict)[0]
    assert torch.equal(trace.prediction.panoptic.id_map, alone.panoptic.id_map)
    assert list(trace.backbone) == ["c2", "c3", "c4", "c5"]
    assert trace.pyramid["p5"].shape[2:] == (4, 6)
    assert 0 < len(trace.proposals) <= trained.model.config.test_proposals


def test_the_map_of_the_course_names_every_chapter(trained, street):
    trace = trace_image(trained, street.image)
    figure = plot_pipeline(trace, trained)
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert {f"{chapter:02d}" for chapter in range(12)} <= texts
    assert {"c2: 32 x 48", "p5: 4 x 6"} <= texts
    words = describe_pipeline(trace, trained)
    assert f"{len(trace.prediction.panoptic.segments)} segments" in words
    assert save(figure)
