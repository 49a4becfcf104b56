import contextlib
import gc
import json

import pytest

from pfpn.data.categories import (
    LabelMap,
    categories_to_json,
    cityscapes_categories,
    coco_categories,
    parse_categories,
    read_categories,
    read_json,
    semantic_problem,
    shorten,
)
from pfpn.structures import Category, Segment, stuff, things

# The ids that COCO's things and stuff leave out between 1 and 200.
COCO_THING_GAPS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}


def test_coco_has_its_80_things_and_53_kinds_of_stuff():
    categories = coco_categories()
    assert [c.id for c in things(categories)] == sorted(set(range(1, 91)) - COCO_THING_GAPS)
    assert len(stuff(categories)) == 53
    assert len({c.id for c in categories}) == len({c.name for c in categories}) == 133
    names = {c.id: c.name for c in categories}
    assert (names[1], names[90], names[92], names[200]) == (
        "person",
        "toothbrush",
        "banner",
        "rug-merged",
    )


def test_coco_equals_the_list_that_its_sample_holds(shared):
    folder = shared / "data" / "coco_panoptic_sample"
    assert read_categories(folder / "panoptic_coco_categories.json") == coco_categories()
    assert read_categories(folder / "annotations" / "panoptic_val2017.json") == coco_categories()


def test_cityscapes_has_its_11_kinds_of_stuff_and_8_things():
    categories = cityscapes_categories()
    assert [c.name for c in things(categories)] == [
        "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
    ]  # fmt: skip
    assert [c.id for c in stuff(categories)] == [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23]


CATEGORIES = (Category(8, "road", False), Category(11, "man", True), Category(5, "car", True))


def test_labels_follow_ascending_ids_and_stuff_begins_at_one():
    labels = LabelMap(CATEGORIES)
    assert labels.segment(70, 5) == Segment(70, 0, True)
    assert labels.segment(71, 11, is_crowd=True) == Segment(71, 1, True, 1.0, True)
    assert labels.segment(72, 8, score=0.5) == Segment(72, 1, False, 0.5)


def test_a_label_leads_back_to_its_category():
    labels = LabelMap(tuple(coco_categories()))
    for category in coco_categories():
        assert labels.category_id(labels.segment(1, category.id)) == category.id


def test_a_label_map_contains_its_categories():
    assert 5 in LabelMap(CATEGORIES)
    assert 6 not in LabelMap(CATEGORIES)


def test_categories_survive_json(tmp_path):
    path = tmp_path / "categories.json"
    path.write_text(json.dumps(categories_to_json(CATEGORIES)))
    assert tuple(read_categories(path)) == CATEGORIES


def test_a_name_and_a_color_may_be_missing():
    assert parse_categories([{"id": 4, "isthing": 0}], "x") == [Category(4, "4", False)]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (None, "found NoneType as categories, expected a list"),
        ([3], "found a category that is 3"),
        ([{"id": "4", "isthing": 0}], 'found a category with id "4", expected an integer'),
        ([{"id": True, "isthing": 0}], "found a category with id true"),
        ([{"id": 2**40, "isthing": 0}], "id 1099511627776, expected an integer up to 2147483647"),
        ([{"id": -(2**31), "isthing": 0}], "expected an integer up to"),
        ([{"id": [], "isthing": 0}], r"found a category with id \[\]"),
        ([{"id": 4, "isthing": 1, "name": "a\x1b[2K\n"}], r"name .*u001b.*control characters"),
        ([{"id": 4}], "found category 4 with isthing null"),
        ([{"id": 4, "isthing": 2}], "isthing 2, expected 1 for a thing, else 0"),
        (2 * [{"id": 4, "isthing": 1}], "found category 4 twice"),
        ([{"id": 4, "isthing": 1, "color": [0, 0]}], r"color \[0, 0\]"),
        ([{"id": 4, "isthing": 1, "color": [0, 0, 256]}], "three integers from 0 to 255"),
    ],
)
def test_a_broken_list_is_refused_with_what_was_found(entries, message):
    with pytest.raises(ValueError, match=f"some.json: .*{message}"):
        parse_categories(entries, "some.json")


@pytest.mark.parametrize("enabled", [True, False])
def test_reading_json_leaves_the_garbage_collector_as_it_was(enabled, tmp_path, monkeypatch):
    path, seen = tmp_path / "x.json", []
    loads = json.loads
    spy = lambda text: seen.append(gc.isenabled()) or loads(text)  # noqa: E731
    monkeypatch.setattr(json, "loads", spy)
    try:
        for content in ("[1]", "[1"):
            (gc.enable if enabled else gc.disable)()
            path.write_text(content)
            with contextlib.suppress(ValueError):
                assert read_json(path) == [1]
            assert gc.isenabled() is enabled
    finally:
        gc.enable()
    assert seen == [False, False]


def test_broken_json_is_reported_with_file_and_line(tmp_path):
    path = tmp_path / "c.json"
    path.write_text('[{"id": 4,\n')
    with pytest.raises(ValueError, match=r"c\.json: found broken JSON .*line 2"):
        read_categories(path)


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a":' * 100_000, "[1" + "0" * 5000 + "]"])
def test_json_that_no_data_set_has_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "c.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"c\.json: found") as raised:
        read_categories(path)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("num_things", "num_stuff", "all_classes", "found"),
    [
        (300, 254, False, None),
        (300, 255, False, "255 stuff classes"),
        (200, 55, True, None),
        (200, 56, True, "256 classes"),
    ],
)
def test_a_label_map_holds_so_many_classes(num_things, num_stuff, all_classes, found):
    categories = [Category(i, str(i), i < num_things) for i in range(num_things + num_stuff)]
    problem = semantic_problem(categories, all_classes=all_classes)
    assert found == (problem and problem[0])


def test_values_of_json_are_shown_short_and_without_control_characters():
    assert shorten("é\x1b\x7f") == '"é\\u001b\\x7f"'
    assert shorten([1] * 100) == shorten([1] * 200)
    assert len(shorten("x" * 100)) == 60
    deep = []
    for _ in range(100_000):
        deep = [deep]
    assert shorten(deep) == "a deeply nested value"
    assert shorten(10**5000) == "a huge number"
