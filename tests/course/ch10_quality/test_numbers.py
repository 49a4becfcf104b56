"""Panoptic quality in numbers: by hand and against pfpn.quality."""

import numpy as np
import pytest
import torch

from pfpn.course import find
from pfpn.course.ch10_quality.numbers import (
    ERRORS,
    as_prediction,
    disc_iou,
    grow,
    iou_table,
    make_error,
    measure_errors,
    move_segment,
    moved_iou,
    panoptic_from_letters,
    score_maps,
    true_segments,
)
from pfpn.data.toy import TOY_CATEGORIES, ToyStreet
from pfpn.paste import paste_masks
from pfpn.quality import PanopticQuality, match_segments
from pfpn.structures import Panoptic, Sample

C = TOY_CATEGORIES


@pytest.fixture(scope="module")
def streets() -> list[Sample]:
    return list(ToyStreet(4, seed=7, size=(64, 96)))


def letters(text: str, **classes: str) -> Panoptic:
    return panoptic_from_letters(text, C, **classes)


def test_letters_become_a_map():
    panoptic = letters("ab. CC.", a="car", b="road", C="PERSON")
    assert panoptic.id_map.tolist() == [[1, 2, 0], [3, 3, 0]]
    car, road, crowd = panoptic.segments
    assert (car.label, car.is_thing, car.is_crowd) == (2, True, False)
    assert (road.label, road.is_thing) == (3, False)
    assert (crowd.label, crowd.is_crowd) == (0, True)


def test_letters_without_a_class_and_ragged_rows_are_refused():
    with pytest.raises(ValueError, match="found b without a class"):
        letters("ab", a="car")
    with pytest.raises(ValueError, match=r"rows of \[2, 3\] letters"):
        letters("aa aaa", a="car")


def test_the_table_of_ious_by_hand():
    gt = letters("aab. CCb.", a="car", b="road", C="CAR")
    prediction = letters("aaab ccbb", a="car", b="road", c="car")
    table = iou_table(gt, prediction)
    # car: 2 in common of 3; road: 1 of 2, for the void leaves; the crowd matches nothing
    expected = [[2 / 3, np.nan, 0], [np.nan, 1 / 2, np.nan], [np.nan] * 3]
    np.testing.assert_allclose(table, expected)


def test_the_table_agrees_with_the_matches(streets):
    gt = streets[0].panoptic
    prediction = make_error("shifted", gt, C)
    table = iou_table(gt, prediction)
    rows = {s.id: i for i, s in enumerate(gt.segments)}
    columns = {s.id: i for i, s in enumerate(prediction.segments)}
    pairs = match_segments(gt, prediction).pairs
    assert (table > 0.5).sum() == len(pairs) > 0
    for truth, other, iou in pairs:
        assert table[rows[truth.id], columns[other.id]] == pytest.approx(iou, abs=1e-12)


def test_a_moved_segment_hides_others_and_leaves_void():
    panoptic = letters("aabbcc", a="car", b="person", c="road")
    moved = move_segment(panoptic, 1, 2, 0)
    assert moved.id_map.tolist() == [[0, 0, 1, 1, 3, 3]]
    assert [s.id for s in moved.segments] == [1, 3]
    assert [s.id for s in move_segment(panoptic, 1, 99, 0).segments] == [2, 3]
    assert move_segment(panoptic, 1, -1, 0).id_map.tolist() == [[1, 0, 2, 2, 3, 3]]


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (3, 0), (-2, 1), (0, -4), (50, 0)])
def test_the_moved_iou_is_that_of_the_table(streets, dx, dy):
    gt = streets[2].panoptic
    index = next(i for i, s in enumerate(gt.segments) if s.is_thing)
    number = gt.segments[index].id
    prediction = move_segment(gt, number, dx, dy)
    column = [i for i, s in enumerate(prediction.segments) if s.id == number]
    expected = iou_table(gt, prediction)[index, column[0]] if column else 0.0
    assert moved_iou(gt, number, dx, dy) == pytest.approx(expected, abs=1e-7)


def test_growing_adds_a_rim():
    mask = torch.zeros(5, 5, dtype=torch.bool)
    mask[2, 2] = True
    assert grow(mask, 1).sum() == 9
    assert grow(mask, 2).all()


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_leaves_a_whole_map_and_the_truth_as_it_was(streets, kind):
    truth = streets[0].panoptic
    before = truth.id_map.clone()
    prediction = make_error(kind, truth, C)
    assert torch.equal(truth.id_map, before)
    assert sorted(s.id for s in prediction.segments) == sorted(
        set(prediction.id_map.unique().tolist()) - {0}
    )
    quality = PanopticQuality(C)
    quality.update(truth, prediction)
    assert quality.compute().all.pq < 1


def test_an_unknown_error_is_refused():
    with pytest.raises(ValueError, match="found 'bent', expected one of shifted"):
        make_error("bent", letters("a", a="car"), C)


def test_split_and_merged_by_hand():
    truth = letters("aaaabbcc", a="car", b="car", c="road")
    split = make_error("split", truth, C)
    assert split.id_map.tolist() == [[1, 1, 4, 4, 2, 5, 3, 3]]
    assert len(split.segments) == 5
    merged = make_error("merged", truth, C)
    assert merged.id_map.tolist() == [[1, 1, 1, 1, 1, 1, 3, 3]]


def test_dropped_and_renamed_take_every_third_thing():
    truth = letters("abcdr", a="car", b="car", c="car", d="dog", r="road")
    assert make_error("dropped", truth, C).id_map.tolist() == [[0, 2, 3, 0, 5]]
    renamed = make_error("renamed", truth, C)
    assert [s.label for s in renamed.segments] == [3, 2, 2, 2, 3]


def test_things_become_detections_that_paste_back_to_the_same_pixels(streets):
    panoptic = streets[1].panoptic
    prediction = as_prediction(panoptic).detections
    masks = paste_masks(prediction.mask_probs, prediction.boxes, tuple(panoptic.id_map.shape))
    ids = [s.id for s in panoptic.segments if s.is_thing]
    assert len(masks) == len(ids) > 0
    for mask, number in zip(masks, ids, strict=True):
        assert torch.equal(mask, panoptic.id_map == number)


def test_the_truth_scores_1_three_times(streets):
    scores = score_maps(streets, [s.panoptic for s in streets], C)
    assert scores.by_name() == {"PQ": 1.0, "mean IoU": 1.0, "mask AP": pytest.approx(1.0)}


def test_each_score_ignores_some_mistakes(streets):
    scores = measure_errors(streets, C)
    blind_iou = {kind for kind, s in scores.items() if s.miou == 1}
    blind_ap = {kind for kind, s in scores.items() if s.mask_ap == pytest.approx(1)}
    assert blind_iou == {"split", "merged"}
    assert blind_ap == {"doubled", "stuff swapped"}
    assert all(s.pq < 1 for s in scores.values())


def test_a_disc_loses_a_rim():
    radius = np.array([1.0, 2.0, 10.0])
    np.testing.assert_allclose(disc_iou(np.pi * radius**2), [0, 0.25, 0.81])
    assert disc_iou(np.array([0.5]))[0] == 0  # smaller than the rim


def test_true_segments_have_the_iou_of_the_best_prediction():
    gt = letters("aaaabbCC", a="car", b="dog", C="PERSON")
    prediction = letters("aaaccc..", a="car", c="car")
    image = torch.zeros(3, 1, 8, dtype=torch.uint8)
    rows = true_segments([Sample(image, gt, 0)], [prediction], C)
    assert [(r.category.name, r.area, r.iou, r.is_matched) for r in rows] == [
        ("car", 4, 0.75, True),
        ("dog", 2, 0.0, False),
    ]


@pytest.mark.parametrize("dx", [0, 5, 30])
def test_a_readers_iou_takes_the_place_of_the_package_s(streets, dx):
    panoptic = streets[0].panoptic
    number = next(s.id for s in panoptic.segments if s.is_thing)
    expected = moved_iou(panoptic, number, dx, 1)
    mine = find("10.iou_with_void").reference
    assert moved_iou(panoptic, number, dx, 1, mine) == pytest.approx(expected)
