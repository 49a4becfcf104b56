"""Panoptic data written for other tools equals what panopticapi's converters write."""

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pfpn.data.categories import LabelMap, read_categories
from pfpn.data.coco import CocoPanoptic
from pfpn.data.formats.exporting import (
    combine,
    describe_mask,
    to_coco_instances,
    to_semantic,
    to_two_channels,
)
from pfpn.structures import Category, Panoptic, Segment

FOLDER = Path(__file__).resolve().parents[2] / "data_files" / "converters"
CATEGORIES = [Category(3, "cat", is_thing=True), Category(9, "grass", is_thing=False)]


@pytest.fixture(scope="module")
def street() -> CocoPanoptic:
    return CocoPanoptic(FOLDER / "set", "val")


def panoptics(dataset):
    return [(dataset.image_ids[i], dataset.panoptic(i)) for i in range(len(dataset))]


def reference(name):
    return json.loads((FOLDER / name).read_text())


def pixels(folder, name):
    with Image.open(FOLDER / folder / name) as image:
        return np.array(image)


@pytest.mark.parity
@pytest.mark.parametrize("things_only", [False, True])
def test_instances_equal_panopticapis(street, things_only):
    theirs = reference("detection_things.json" if things_only else "detection_all.json")
    ours = list(to_coco_instances(panoptics(street), street.categories, things_only=things_only))
    assert [o["id"] for o in ours] == list(range(len(ours)))

    def rows(annotations):
        return sorted(
            (a["image_id"], a["category_id"], a["area"], a["bbox"], a["iscrowd"],
             a["segmentation"]["counts"])
            for a in annotations
        )  # fmt: skip

    assert rows(ours) == rows(theirs["annotations"])


@pytest.mark.parity
@pytest.mark.parametrize("things_other", [False, True])
def test_class_images_equal_panopticapis(street, things_other):
    folder = "semantic_png_things_other" if things_other else "semantic_png"
    for image_id, panoptic in panoptics(street):
        ours = to_semantic(panoptic, street.categories, things_other=things_other)
        assert np.array_equal(ours, pixels(folder, f"{image_id:012d}.png"))


@pytest.mark.parity
def test_two_channels_hold_the_same_segments(street):
    for image_id, panoptic in panoptics(street):
        ours = to_two_channels(panoptic, street.categories)
        theirs = pixels("two_channel", f"{image_id:012d}.png")
        assert np.array_equal(ours[..., 0], theirs[..., 0])
        pairs = np.unique(np.concatenate([ours, theirs], axis=2).reshape(-1, 6), axis=0)
        assert len(pairs) == len(np.unique(ours.reshape(-1, 3), axis=0))  # a renaming of numbers
        assert len(pairs) == len(np.unique(theirs.reshape(-1, 3), axis=0))


@pytest.mark.parity
@pytest.mark.parametrize(("name", "numbers"), [("a", (0.5, 0.5, 64)), ("b", (0.4, 0.2, 600))])
def test_combined_maps_equal_panopticapis(street, name, numbers):
    expected = reference(f"combined_{name}.json")
    labels = LabelMap(tuple(read_categories(FOLDER / "categories.json")))
    groups = [defaultdict(list), defaultdict(list)]
    for group, file in zip(groups, ("combine_instances", "combine_semantic"), strict=True):
        for result in reference(f"{file}.json"):
            group[result["image_id"]].append(result)
    for annotation in expected["annotations"]:
        image_id = annotation["image_id"]
        ours = combine(
            (128, 192), groups[0][image_id], groups[1][image_id], labels,
            min_score=numbers[0], max_overlap=numbers[1], min_stuff_area=numbers[2],
        )  # fmt: skip
        colors = pixels(f"combined_{name}", annotation["file_name"]).astype(np.int64)
        theirs = colors[..., 0] + 256 * colors[..., 1] + 65536 * colors[..., 2]
        category = {s["id"]: s["category_id"] for s in annotation["segments_info"]} | {0: 0}
        mine = {s.id: labels.category_id(s) for s in ours.segments} | {0: 0}
        pairs = {(a, b) for a, b in zip(ours.id_map.flatten().tolist(), theirs.ravel().tolist(),
                                        strict=True)}  # fmt: skip
        assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
        assert all(mine[a] == category[b] for a, b in pairs)


def test_a_mask_is_described_by_hand():
    mask = np.zeros((4, 5), dtype=bool)
    mask[1:3, 2:5] = True
    described = describe_mask(mask)
    assert described["area"] == 6
    assert described["bbox"] == [2, 1, 3, 2]
    assert described["segmentation"]["size"] == [4, 5]


def test_numbers_that_do_not_fit_are_refused():
    many = torch.arange(1, 257).view(1, 256)
    panoptic = Panoptic(many, tuple(Segment(i, 0, is_thing=True) for i in range(1, 257)))
    with pytest.raises(ValueError, match="instance 256: expected at most 255"):
        to_two_channels(panoptic, CATEGORIES)
    large = [Category(300, "cat", is_thing=True)]
    with pytest.raises(ValueError, match="category id 300"):
        to_two_channels(Panoptic(many[:, :1], panoptic.segments[:1]), large)
    wide = to_semantic(Panoptic(many[:, :1], panoptic.segments[:1]), large)
    assert wide.dtype == np.uint16
    assert wide.item() == 300


def test_void_stays_zero_and_crowds_are_marked():
    id_map = torch.tensor([[0, 4, 4], [7, 7, 0]])
    panoptic = Panoptic(
        id_map, (Segment(4, 0, is_thing=True, is_crowd=True), Segment(7, 1, is_thing=False))
    )
    assert to_semantic(panoptic, CATEGORIES).tolist() == [[0, 3, 3], [9, 9, 0]]
    assert to_two_channels(panoptic, CATEGORIES)[..., 1].tolist() == [[0, 1, 1], [0, 0, 0]]
    crowd, grass = to_coco_instances([("a", panoptic)], CATEGORIES, things_only=False)
    assert (crowd["iscrowd"], crowd["area"]) == (1, 2)
    assert (grass["iscrowd"], grass["category_id"]) == (0, 9)


def test_combining_refuses_classes_of_the_wrong_kind():
    labels = LabelMap(tuple(CATEGORIES))
    code = describe_mask(np.ones((2, 2), dtype=bool))["segmentation"]
    with pytest.raises(ValueError, match="found category 9, expected one of a thing"):
        combine((2, 2), [{"category_id": 9, "score": 1, "segmentation": code}], [], labels)
    with pytest.raises(ValueError, match="found category 3, expected one of stuff"):
        combine((2, 2), [], [{"category_id": 3, "segmentation": code}], labels)
