"""The first look in numbers: regions against objects, ids from colors, the way of one image."""

from pathlib import Path

import pytest
import torch

from pfpn.course.ch00_overview.numbers import (
    class_mask,
    count_objects,
    count_regions,
    describe_match,
    fraction_without_things,
    ids_by_color,
    label_regions,
    strength,
    things_only,
    trace_image,
)
from pfpn.data.coco import id_map_to_rgb
from pfpn.data.toy import TOY_CATEGORIES, ToyStreet
from pfpn.engine.checkpoint import load_weights
from pfpn.predict import predict
from pfpn.structures import Panoptic, Segment

TOY = Path(__file__).resolve().parents[3] / "data" / "checkpoints" / "toy.safetensors"
PERSON, CAR, ROAD = 0, 2, 3

#   two cars that touch, a car in two parts, a person, road, void
IDS = torch.tensor([[1, 1, 2, 2, 5, 0], [5, 5, 5, 5, 5, 5], [3, 3, 4, 3, 3, 5]])
CARS = tuple(Segment(number, CAR, True) for number in (1, 2, 3))
PANOPTIC = Panoptic(IDS, (*CARS, Segment(4, PERSON, True), Segment(5, ROAD, False)))


def mask(text: str) -> torch.Tensor:
    return torch.tensor([[letter == "#" for letter in row] for row in text.split()])


@pytest.mark.parametrize(
    ("text", "count"),
    [("...", 0), ("#", 1), ("#. .#", 2), ("#.# #.# ###", 1), ("##.# ##.#", 2), ("#.# .#. #.#", 5)],
)
def test_regions_are_connected_along_sides(text, count):
    given = mask(text)
    assert count_regions(given) == count
    assert torch.equal(given, mask(text))


def test_regions_are_numbered_in_reading_order():
    numbers = label_regions(mask("..##.# #..... ###..# ..#.##"))
    assert numbers.tolist() == [
        [0, 0, 1, 1, 0, 2],
        [3, 0, 0, 0, 0, 0],
        [3, 3, 3, 0, 0, 4],
        [0, 0, 3, 0, 4, 4],
    ]
    assert label_regions(mask("### ###")).tolist() == [[1, 1, 1], [1, 1, 1]]
    assert not label_regions(mask("...")).any()


def test_as_many_regions_are_numbered_as_counted():
    rng = torch.Generator().manual_seed(0)
    for _ in range(20):
        given = torch.rand(9, 11, generator=rng) < 0.55
        assert int(label_regions(given).max()) == count_regions(given)
        assert torch.equal(label_regions(given) > 0, given)


def test_the_mask_of_a_class_has_all_its_objects():
    ids, cars = class_mask(PANOPTIC, CAR)
    assert ids == [1, 2, 3]
    assert torch.equal(cars, (IDS >= 1) & (IDS <= 3))
    ids, buses = class_mask(PANOPTIC, 3)
    assert (ids, bool(buses.any())) == ([], False)


def test_regions_of_a_class_are_not_its_objects():
    rows = count_objects(PANOPTIC, TOY_CATEGORIES)
    assert [(r.category.name, r.objects, r.regions) for r in rows] == [
        ("person", 1, 1),
        ("car", 3, 3),  # two touch, one is in two parts: right by chance
    ]


def test_stuff_and_void_belong_to_no_thing():
    assert fraction_without_things(PANOPTIC) == pytest.approx(9 / 18)
    assert things_only(PANOPTIC).tolist() == [[1, 1, 2, 2, 0, 0], [0] * 6, [3, 3, 4, 3, 3, 0]]


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


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (0, 0, "Same class, IoU 1.00: a match."),
        (2, 0, "Two different classes"),
        (5, 0, "so it is not scored"),
        (0, 1, "The prediction has no segment"),
        (0, 2, "no match"),
    ],
)
def test_the_segments_under_a_pixel_match_or_not(x, y, words):
    ids = torch.tensor([[1, 1, 2, 2, 5, 5], [0, 5, 5, 5, 5, 5], [3, 0, 0, 0, 0, 0]])
    segments = (CARS[0], Segment(2, PERSON, True), CARS[2], Segment(5, ROAD, False))
    assert words in describe_match(PANOPTIC, Panoptic(ids, segments), x, y)


def test_strength_lies_between_0_and_1():
    features = torch.tensor([[[[3.0, 0.0]], [[4.0, 0.0]]]])
    assert strength(features).tolist() == [[1.0, 0.0]]


def test_a_trace_ends_with_the_output_of_predict():
    trained, street = load_weights(TOY), ToyStreet(3, seed=7)[2]
    trace = trace_image(trained, street.image)
    alone = predict(trained.model, [street.image], trained.predict)[0]
    assert torch.equal(trace.prediction.panoptic.id_map, alone.panoptic.id_map)
    assert list(trace.backbone) == ["c2", "c3", "c4", "c5"]
    assert trace.pyramid["p5"].shape[2:] == (4, 6)
    assert 0 < len(trace.proposals) <= trained.model.config.test_proposals
