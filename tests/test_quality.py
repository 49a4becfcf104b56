import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.quality import count_pairs, mean_iou, panoptic_quality

from pfpn.quality import (
    ClassQuality,
    PanopticQuality,
    SemanticQuality,
    count_overlaps,
    format_table,
    match_segments,
)
from pfpn.structures import IGNORE, Category, Panoptic, Segment

SKY, ROAD = Category(3, "sky", False), Category(8, "road", False)
CAR, MAN = Category(5, "car", True), Category(11, "man", True)
CATEGORIES = [ROAD, MAN, SKY, CAR]  # in no order: labels follow ascending ids
KINDS = {"s": (1, False), "r": (2, False), "c": (0, True), "m": (1, True)}


def panoptic(text: str, **kinds: str) -> Panoptic:
    """'aab.', a='c', b='C': ids 1, 1, 2 and void; a car and (capital letter) a crowd of cars."""
    ids = {name: i for i, name in enumerate(kinds, start=1)} | {".": 0}
    id_map = torch.tensor([[ids[c] for c in row] for row in text.split("/")])
    segments = tuple(
        Segment(ids[name], *KINDS[kind.lower()], is_crowd=kind.isupper())
        for name, kind in kinds.items()
    )
    return Panoptic(id_map, segments)


def quality_of(*images: tuple[Panoptic, Panoptic]) -> PanopticQuality:
    quality = PanopticQuality(CATEGORIES)
    for gt, prediction in images:
        quality.update(gt, prediction)
    return quality


def counts_of(
    gt: Panoptic, prediction: Panoptic, category: Category
) -> tuple[int, int, int, float]:
    entries = quality_of((gt, prediction)).compute().per_class
    entry = next(entry for entry in entries if entry.category == category)
    return entry.tp, entry.fp, entry.fn, entry.iou_sum


# -- matching, by hand


def test_a_map_against_itself_is_perfect():
    gt = panoptic("aab/ccb", a="c", b="m", c="s")
    result = quality_of((gt, gt)).compute()
    assert (result.all.pq, result.all.sq, result.all.rq, result.all.num_classes) == (1, 1, 1, 3)


def test_ids_need_not_agree_only_classes_and_pixels():
    gt = panoptic("aab", a="c", b="s")
    prediction = Panoptic(
        torch.tensor([[900, 900, 7]]), (Segment(7, 1, False), Segment(900, 0, True))
    )
    assert quality_of((gt, prediction)).compute().all.pq == 1


def test_iou_of_a_matched_pair_by_hand():
    gt, prediction = panoptic("aaabb", a="c", b="s"), panoptic("aabbb", a="c", b="s")
    assert counts_of(gt, prediction, CAR) == (1, 0, 0, 2 / 3)
    assert counts_of(gt, prediction, SKY) == (1, 0, 0, 2 / 3)


def test_an_iou_of_exactly_a_half_does_not_match():
    gt, prediction = panoptic("aabb", a="c", b="s"), panoptic("abbb", a="c", b="s")
    assert counts_of(gt, prediction, CAR) == (0, 1, 1, 0)
    assert counts_of(gt, prediction, SKY) == (1, 0, 0, 2 / 3)


def test_another_class_on_the_same_pixels_is_a_false_negative_and_a_false_positive():
    gt, prediction = panoptic("aa", a="c"), panoptic("aa", a="m")
    assert counts_of(gt, prediction, CAR) == (0, 0, 1, 0)
    assert counts_of(gt, prediction, MAN) == (0, 1, 0, 0)


def test_a_thing_and_stuff_of_the_same_label_number_are_different_classes():
    gt, prediction = panoptic("aa", a="m"), panoptic("aa", a="s")  # both have label 1
    assert quality_of((gt, prediction)).compute().all.pq == 0


def test_void_pixels_of_the_truth_leave_the_union():
    gt, prediction = panoptic("aa..", a="c"), panoptic("aaaa", a="c")
    assert counts_of(gt, prediction, CAR) == (1, 0, 0, 1.0)


def test_void_pixels_of_the_prediction_stay_in_the_union():
    gt, prediction = panoptic("aaaa", a="c"), panoptic("aaa.", a="c")
    assert counts_of(gt, prediction, CAR) == (1, 0, 0, 0.75)


def test_half_on_void_counts_as_false_and_more_than_half_is_ignored():
    half = panoptic("..aa", a="s"), panoptic("b.b.", b="c")
    more = panoptic("...a", a="s"), panoptic("bb.b", b="c")
    assert counts_of(*half, CAR)[1] == 1
    assert counts_of(*more, CAR)[1] == 0


def test_a_prediction_on_a_crowd_of_its_class_is_ignored():
    gt = panoptic("aaaabb", a="C", b="s")
    assert counts_of(gt, panoptic("xxyy..", x="c", y="c"), CAR) == (0, 0, 0, 0)
    assert counts_of(gt, panoptic("xxyy..", x="m", y="m"), MAN) == (0, 2, 0, 0)


def test_a_crowd_is_neither_matched_nor_missed():
    gt = panoptic("aaaa", a="C")
    assert counts_of(gt, panoptic("aaaa", a="c"), CAR) == (0, 0, 0, 0)
    assert counts_of(
        gt,
        panoptic(
            "....",
        ),
        CAR,
    ) == (0, 0, 0, 0)


def test_void_and_crowd_together_can_be_more_than_half():
    gt = panoptic("a..bbb", a="C", b="s")
    assert counts_of(gt, panoptic("xx.xy.", x="c", y="s"), CAR)[1] == 0


def test_of_two_crowds_of_one_class_only_the_last_listed_counts():
    gt, prediction = panoptic("aabbss", a="C", b="C", s="s"), panoptic("xx....", x="c")
    assert counts_of(gt, prediction, CAR)[1] == 1
    turned = Panoptic(gt.id_map, (gt.segments[1], gt.segments[0], gt.segments[2]))
    assert counts_of(turned, prediction, CAR)[1] == 0


def test_matches_name_every_segment_once():
    gt = panoptic("aabbbc..", a="c", b="s", c="M")
    prediction = panoptic("xxyzzwv.", x="c", y="m", z="s", w="m", v="c")
    matches = match_segments(gt, prediction)
    assert [(t.id, f.id, iou) for t, f, iou in matches.pairs] == [(1, 1, 1.0), (2, 3, 2 / 3)]
    assert [s.id for s in matches.false_positives] == [2]
    assert matches.false_negatives == ()
    assert [(s.id, s.is_crowd) for s in matches.ignored] == [(3, True), (4, False), (5, False)]


# -- what is refused


def test_maps_of_two_sizes_are_refused_with_both():
    with pytest.raises(ValueError, match=r"found a prediction of size \(1, 1\).*\(1, 3\)"):
        match_segments(panoptic("aaa", a="c"), panoptic("a", a="c"))


@pytest.mark.parametrize("whose", ["truth", "prediction"])
@pytest.mark.parametrize(
    "wrong",
    [
        Panoptic(torch.tensor([[1, 7]]), (Segment(1, 0, True),)),  # 7 is not listed
        Panoptic(torch.tensor([[1, 1]]), (Segment(1, 0, True), Segment(7, 0, True))),
        Panoptic(torch.tensor([[1, 7]]), (Segment(1, 0, True), *2 * [Segment(7, 0, True)])),
    ],
)
def test_segments_that_differ_from_the_painted_ids_are_refused(whose, wrong):
    right = panoptic("aa", a="c")
    images = (wrong, right) if whose == "truth" else (right, wrong)
    with pytest.raises(ValueError, match=rf"{whose}: segment ids \[7\]"):
        match_segments(*images)


def test_void_listed_as_a_segment_is_refused():
    wrong = Panoptic(torch.tensor([[0, 1]]), (Segment(0, 0, True), Segment(1, 0, True)))
    with pytest.raises(ValueError, match=r"\[0\]"):
        match_segments(wrong, wrong)


@pytest.mark.parametrize("bad", [-1, 2**31])
def test_ids_that_do_not_fit_are_refused(bad):
    id_map = torch.tensor([[1, bad]])
    with pytest.raises(ValueError, match=f"found id {bad}"):
        count_overlaps(id_map, torch.ones_like(id_map))
    with pytest.raises(ValueError, match=f"found id {bad}"):
        count_overlaps(torch.ones_like(id_map), id_map)


@pytest.mark.usefixtures("unchecked")
def test_a_batch_of_maps_is_refused():
    """Ids of two images would be mixed."""
    maps = torch.ones((2, 3, 4), dtype=torch.int64)
    message = r"found int64 values of shape \(2, 3, 4\), expected integers of shape \(h, w\)"
    segments = (Segment(1, 0, True),)
    with pytest.raises(ValueError, match=message):
        PanopticQuality(CATEGORIES).update(Panoptic(maps, segments), Panoptic(maps, segments))
    with pytest.raises(ValueError, match=message):
        count_overlaps(maps.numpy(), maps.numpy())
    with pytest.raises(ValueError, match=message):
        SemanticQuality(["a", "b"]).update(maps, maps)
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        count_overlaps(maps[0, :, 0], maps[0, :, 0])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("first", [True, False])
def test_ids_that_are_not_whole_numbers_are_refused(first):
    whole, half = torch.ones((1, 2), dtype=torch.int64), torch.full((1, 2), 1.5)
    with pytest.raises(ValueError, match="found float32 values"):
        count_overlaps(*((half, whole) if first else (whole, half)))


@pytest.mark.parametrize(
    ("is_thing", "label", "expected"),
    [(True, 2, "0, 1"), (True, -1, "0, 1"), (False, 0, "1, 2"), (False, 7, "1, 2")],
)
@pytest.mark.parametrize("fate", ["tp", "fp", "fn", "crowd", "ignored"])
def test_a_label_that_no_category_has_is_refused(is_thing, label, expected, fate):
    """Whatever becomes of the segment, and before anything is counted."""
    void, row = Panoptic(torch.tensor([[0, 0]]), ()), torch.tensor([[5, 5]])
    unknown = Panoptic(row, (Segment(5, label, is_thing, is_crowd=fate == "crowd"),))
    known = Panoptic(row, (Segment(5, 1, True),))
    images = {
        "tp": (unknown, unknown),
        "fp": (known, unknown),
        "fn": (unknown, void),
        "crowd": (unknown, void),
        "ignored": (void, unknown),
    }
    kind = "thing" if is_thing else "stuff"
    quality = quality_of((known, known))
    before = quality.compute()
    message = rf"segment 5 has {kind} label {label}, expected one of \[{expected}\]"
    with pytest.raises(ValueError, match=message):
        quality.update(*images[fate])
    assert quality.compute() == before


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        ([CAR, CAR], f"found id {CAR.id} twice"),
        ([CAR, Category(CAR.id, "road", is_thing=False)], f"found id {CAR.id} twice"),
        ([{"id": 1, "name": "car", "isthing": 1}], r"found dict, expected .*Try Category\(1"),
        (["car"], "found str"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_categories_that_cannot_be_told_apart_are_refused(categories, message):
    """Two classes of one id would share their counts."""
    with pytest.raises(ValueError, match=message):
        PanopticQuality(categories)


@pytest.mark.usefixtures("unchecked")
def test_maps_without_segments_are_refused_with_what_takes_them():
    quality, id_map = PanopticQuality([CAR]), torch.ones(2, 3, dtype=torch.long)
    truth = Panoptic(id_map, (Segment(1, 0, is_thing=True),))
    with pytest.raises(ValueError, match=r"truth: found Tensor.*try pfpn\.metric\.PanopticMetric"):
        quality.update(id_map, id_map)
    with pytest.raises(ValueError, match="prediction: found Tensor"):
        quality.update(truth, id_map)
    with pytest.raises(ValueError, match="merge: found SemanticQuality, expected another Panoptic"):
        quality.merge(SemanticQuality(["car"]))
    with pytest.raises(ValueError, match="merge: found PanopticQuality, expected another Semantic"):
        SemanticQuality(["car"]).merge(quality)
    assert repr(quality) == "PanopticQuality(1 categories, 0 images)"


@pytest.mark.usefixtures("unchecked")
def test_interpolated_maps_are_refused_with_what_to_try():
    ids = torch.ones(2, 3, requires_grad=True)
    with pytest.raises(ValueError, match=r"float32 values.*without interpolation"):
        count_overlaps(ids, ids)


def test_a_refused_label_map_counts_nothing():
    quality = SemanticQuality(["car", "road"])
    with pytest.raises(ValueError, match="found label 9"):
        quality.update(torch.tensor([[0, 1]]), torch.tensor([[0, 9]]))
    assert quality.confusion.sum() == 0


def test_a_label_of_a_kind_that_no_category_is_of_is_refused():
    quality = PanopticQuality([CAR])
    sky = panoptic("a", a="s")
    with pytest.raises(ValueError, match=r"stuff label 1, expected one of \[\]"):
        quality.update(sky, sky)


# -- counting, against the slow way


def random_map(rng: np.random.Generator, ids: np.ndarray, size=(9, 13)) -> torch.Tensor:
    return torch.from_numpy(rng.choice(ids, size=size))


@pytest.mark.parametrize("seed", range(20))
def test_overlaps_equal_those_counted_pixel_by_pixel(seed):
    rng = np.random.default_rng(seed)
    ids = np.concatenate([[0], rng.integers(1, 2**31, size=rng.integers(1, 60))])
    gt, prediction = random_map(rng, ids), random_map(rng, ids[: rng.integers(1, len(ids) + 1)])
    overlaps = count_overlaps(gt, prediction)
    assert overlaps.pairs == count_pairs(gt, prediction)
    assert list(overlaps.pairs) == sorted(overlaps.pairs)
    assert overlaps.gt_areas == {int(i): int((gt == i).sum()) for i in gt.unique()}
    assert overlaps.pred_areas == {
        int(i): int((prediction == i).sum()) for i in prediction.unique()
    }


def test_overlaps_do_not_depend_on_the_kind_of_array():
    gt, prediction = torch.tensor([[1, 1, 0], [2, 2, 2]]), torch.tensor([[3, 0, 0], [3, 3, 4]])
    expected = count_overlaps(gt, prediction)
    assert expected.pairs == {(0, 0): 1, (1, 0): 1, (1, 3): 1, (2, 3): 2, (2, 4): 1}
    assert count_overlaps(gt.numpy(), prediction.numpy().astype(np.uint8)) == expected
    assert count_overlaps(gt.int(), prediction.short()) == expected
    assert count_overlaps(gt.T.contiguous().T, prediction) == expected


def test_a_run_does_not_go_on_where_only_one_of_the_maps_does():
    overlaps = count_overlaps(torch.tensor([[1, 1, 1, 1]]), torch.tensor([[5, 5, 6, 5]]))
    assert overlaps.pairs == {(1, 5): 3, (1, 6): 1}


def test_maps_of_one_pixel_and_of_none_are_counted():
    assert count_overlaps(torch.tensor([[4]]), torch.tensor([[0]])).pairs == {(4, 0): 1}
    empty = torch.zeros((0, 5), dtype=torch.int64)
    assert count_overlaps(empty, empty).pairs == {}


def scene(seed: int, lost: float, wrong: float, size=(4, 6)) -> tuple[Panoptic, Panoptic]:
    """A truth and a prediction that mostly agree, with void and crowds.

    `lost` is the share of pixels that the prediction leaves void, `wrong` that of random ids.
    """
    rng = np.random.default_rng(seed)
    num = rng.integers(1, 7)
    gt_map = rng.integers(0, num + 1, size=size)
    pred_map = np.where(rng.random(size) < lost, 0, gt_map)
    noise = rng.random(size) < wrong
    pred_map = np.where(noise, rng.integers(0, num + 1, size=size), pred_map)
    kinds = [list(KINDS.values())[i] for i in rng.integers(0, 4, size=num + 1)]
    other = [list(KINDS.values())[i] for i in rng.integers(0, 4, size=num + 1)]
    is_crowd = rng.random(num + 1) < 0.25
    is_wrong = rng.random(num + 1) < 0.2
    gt = [Segment(int(i), *kinds[i], is_crowd=bool(is_crowd[i])) for i in set(gt_map.flat) - {0}]
    prediction = [
        Segment(int(i), *(other if is_wrong[i] else kinds)[i]) for i in set(pred_map.flat) - {0}
    ]
    return (
        Panoptic(torch.from_numpy(gt_map), tuple(gt)),
        Panoptic(torch.from_numpy(pred_map), tuple(prediction)),
    )


SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=100, deadline=None)
@given(st.lists(SEEDS, min_size=1, max_size=3), st.floats(0, 0.6), st.floats(0, 0.4))
def test_quality_equals_that_of_pixel_sets(seeds, lost, wrong):
    images = [scene(seed, lost, wrong) for seed in seeds]
    result = quality_of(*images).compute()
    expected = panoptic_quality(images, CATEGORIES)
    for name, value in expected.items():
        group = getattr(result, name)
        assert (group is None) == (value is None)
        assert group is None or group.pq == pytest.approx(float(value), rel=1e-12)


@settings(max_examples=50, deadline=None)
@given(SEEDS)
def test_quality_does_not_change_when_the_image_is_turned(seed):
    def turned(side: Panoptic) -> Panoptic:
        return Panoptic(side.id_map.T, side.segments)

    gt, prediction = scene(seed, 0.2, 0.2)
    result = quality_of((gt, prediction)).compute()
    other = quality_of((turned(gt), turned(prediction))).compute()
    assert result.as_dict() == other.as_dict()


# -- collecting


def test_means_leave_out_classes_without_a_segment():
    gt, prediction = panoptic("aabb", a="c", b="s"), panoptic("aa..", a="c")
    result = quality_of((gt, prediction)).compute()
    assert result.all.num_classes == 2
    assert (result.all.pq, result.things.pq, result.stuff.pq) == (0.5, 1, 0)
    assert [entry.counts for entry in result.per_class] == [False, False, True, True]


def test_pq_is_over_the_data_set_not_the_mean_of_images():
    good = panoptic("aa", a="c"), panoptic("aa", a="c")
    bad = panoptic("aa/bb/cc", a="c", b="c", c="c"), panoptic("../../..")
    # TP 1, FN 3: 1 / (1 + 3 / 2); the mean over images would be 1 / 2
    assert quality_of(good, bad).compute().all.pq == pytest.approx(0.4)


def test_pq_is_sq_times_rq():
    gt = panoptic("aaab/bbbb/cccc", a="c", b="s", c="c")
    prediction = panoptic("aabb/bbbb/c...", a="c", b="s", c="c")
    for entry in quality_of((gt, prediction)).compute().per_class:
        assert entry.pq == pytest.approx(entry.sq * entry.rq)


def test_a_group_without_a_class_is_none_and_nothing_is_divided_by_zero():
    empty = panoptic("..")
    result = quality_of((empty, empty)).compute()
    assert (result.all, result.things, result.stuff) == (None, None, None)
    assert result.as_dict()["per_class"] == {}
    assert quality_of().compute().num_images == 0


def test_merging_shards_is_scoring_all_at_once():
    gt = panoptic("aaab", a="c", b="s")
    images = [(gt, panoptic("aabb", a="c", b="s")), (gt, panoptic("aaa.", a="m")), (gt, gt)]
    shards = [quality_of(images[0]), quality_of(), quality_of(*images[1:])]
    merged = pickle.loads(pickle.dumps(shards[0]))  # as it comes from another process
    for shard in shards[1:]:
        merged.merge(shard)
    assert merged.compute() == quality_of(*images).compute()


def test_images_are_counted():
    gt = panoptic("aab", a="c", b="s")
    quality = quality_of((gt, gt), (gt, gt))
    assert quality.compute().num_images == 2
    quality.merge(quality_of((gt, gt)))
    assert quality.compute().num_images == 3


def test_merging_other_categories_is_refused():
    with pytest.raises(ValueError, match="found 1 categories that differ from the expected 4"):
        quality_of().merge(PanopticQuality([CAR]))


def test_a_class_without_segments_has_a_quality_of_zero():
    empty = ClassQuality(CAR, 0, 0, 0, 0.0)
    assert (empty.counts, empty.pq, empty.sq, empty.rq) == (False, 0, 0, 0)


def test_quality_of_a_class_by_hand():
    cars = ClassQuality(CAR, tp=4, fp=3, fn=1, iou_sum=3.0)
    assert (cars.counts, cars.pq, cars.sq, cars.rq) == (True, 3 / 6, 3 / 4, 4 / 6)
    for tp, fp, fn in ((1, 0, 0), (0, 1, 0), (0, 0, 1)):
        assert ClassQuality(CAR, tp, fp, fn, 0.0).counts


def test_results_are_classes_in_the_order_given_by_the_caller():
    assert [entry.category for entry in quality_of().compute().per_class] == CATEGORIES


def test_a_result_as_a_dict_is_json_in_percent_by_category_id():
    gt, prediction = panoptic("aaab", a="c", b="s"), panoptic("aabb", a="c", b="s")
    content = json.loads(json.dumps(quality_of((gt, prediction)).compute().as_dict()))
    assert content["stuff"] == {"pq": 0.0, "sq": 0.0, "rq": 0.0, "n": 1}
    assert content["things"]["pq"] == pytest.approx(200 / 3)
    assert content["per_class"]["5"] == {
        "name": "car",
        "pq": pytest.approx(200 / 3),
        "sq": pytest.approx(200 / 3),
        "rq": 100.0,
        "tp": 1,
        "fp": 0,
        "fn": 0,
        "iou_sum": pytest.approx(2 / 3),
    }
    assert set(content["per_class"]) == {"3", "5"}


def test_the_table_shows_percent_and_a_dash_where_nothing_counts():
    gt, prediction = panoptic("aaab", a="c", b="m"), panoptic("aabb", a="c", b="m")
    result = quality_of((gt, prediction)).compute()
    assert format_table(result).splitlines() == [
        "          PQ    SQ    RQ  N",
        "all     33.3  33.3  50.0  2",
        "things  33.3  33.3  50.0  2",
        "stuff      -     -     -  0",
    ]
    lines = format_table(result, per_class=True).splitlines()
    assert lines[5:] == [
        "class    PQ    SQ     RQ  TP  FP  FN",
        "man     0.0   0.0    0.0   0   1   1",
        "car    66.7  66.7  100.0   1   0   0",
    ]


# -- label maps


def labels(text: str) -> torch.Tensor:
    return torch.tensor([[IGNORE if c == "-" else int(c) for c in text]])


def test_mean_iou_and_accuracy_by_hand():
    quality = SemanticQuality(["a", "b", "c"])
    quality.update(labels("0011"), labels("0111"))
    result = quality.compute()
    assert result.per_class == {"a": 1 / 2, "b": 2 / 3, "c": None}
    assert result.miou == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert result.pixel_accuracy == 3 / 4


def test_ignored_truth_is_left_out_and_an_empty_prediction_is_a_miss():
    quality = SemanticQuality(["a", "b"])
    quality.update(labels("00--"), labels("0-11"))
    assert quality.compute().per_class == {"a": 1 / 2, "b": None}
    assert quality.compute().pixel_accuracy == 1 / 2
    assert quality.confusion.tolist() == [[1, 0, 1], [0, 0, 0]]


def test_a_class_predicted_where_it_is_not_has_an_iou_of_zero():
    quality = SemanticQuality(["a", "b"])
    quality.update(labels("00"), labels("01"))
    assert quality.compute().per_class == {"a": 1 / 2, "b": 0.0}


@pytest.mark.parametrize("seed", range(5))
def test_mean_iou_equals_that_counted_pixel_by_pixel_and_shards_merge(seed):
    rng = np.random.default_rng(seed)
    maps = [[random_map(rng, np.array([0, 1, 2, 4, IGNORE])) for _ in range(2)] for _ in range(3)]
    whole, shard = SemanticQuality("abcde"), SemanticQuality("abcde")
    for gt, prediction in maps:
        whole.update(gt, prediction)
    shard.update(*maps[0])
    rest = SemanticQuality("abcde")
    rest.update(*maps[1])
    rest.update(*maps[2])
    shard.merge(rest)
    assert whole.compute().miou == pytest.approx(mean_iou(maps, 5, IGNORE))
    assert shard.compute() == whole.compute()


@pytest.mark.parametrize("num_classes", [254, 255, 256, 257, 300])
def test_classes_have_no_limit(num_classes):
    """Class 255 is a class where there are so many; then the first label after them is ignored."""
    quality = SemanticQuality([str(label) for label in range(num_classes)])
    last = num_classes - 1
    assert quality.ignore == (IGNORE if num_classes <= IGNORE else num_classes)
    gt = torch.tensor([[last, last, 252, 252, quality.ignore]])
    quality.update(gt, torch.tensor([[last, 252, 252, quality.ignore, last]]))
    result = quality.compute()
    assert result.per_class[str(last)] == 1 / 2
    assert result.per_class["252"] == 1 / 3
    assert result.pixel_accuracy == 2 / 4
    assert result.miou == pytest.approx((1 / 2 + 1 / 3) / 2)
    with pytest.raises(ValueError, match=f"expected 0 to {last} or {quality.ignore}"):
        quality.update(gt, torch.full_like(gt, quality.ignore + 1))


def test_class_255_of_300_is_a_class():
    quality = SemanticQuality([str(label) for label in range(300)])
    quality.update(torch.tensor([[0, 255, 255]]), torch.tensor([[0, 0, 0]]))
    assert quality.compute().miou == pytest.approx((1 / 3 + 0) / 2)
    assert quality.compute().pixel_accuracy == pytest.approx(1 / 3)


def test_nothing_measured_is_none():
    result = SemanticQuality(["a"]).compute()
    assert (result.miou, result.pixel_accuracy, result.per_class) == (None, None, {"a": None})
    assert result.as_dict() == {"miou": None, "pixel_accuracy": None, "per_class": {"a": None}}


def test_two_classes_of_one_name_are_both_kept():
    quality = SemanticQuality(["a", "b", "a"])
    quality.update(labels("02"), labels("02"))
    assert quality.compute().per_class == {"a (0)": 1.0, "b": None, "a (2)": 1.0}


def test_labels_without_a_class_and_other_classes_are_refused():
    quality = SemanticQuality(["a", "b"])
    with pytest.raises(ValueError, match="found label 2, expected 0 to 1"):
        quality.update(labels("0"), labels("2"))
    with pytest.raises(ValueError, match="found classes"):
        quality.merge(SemanticQuality(["a", "c"]))
