"""The scores of the pages are those of pfpn.quality, and of COCO's evaluation for mask AP."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from pfpn.course.ch10_quality.numbers import as_prediction
from pfpn.data.transforms import to_label_map
from pfpn.engine.evaluate import PrecisionCollector
from pfpn.quality import (
    IGNORED_FRACTION,
    MATCH_IOU,
    PanopticQuality,
    SemanticQuality,
    count_overlaps,
    match_segments,
)
from pfpn.structures import VOID, Category, Panoptic, Sample, Segment

CATEGORIES = (
    Category(9, "car", True),
    Category(4, "road", False),
    Category(2, "person", True),
    Category(7, "sky", False),
)
NUM_THINGS = 2
ROOT = Path(__file__).resolve().parents[2]


def as_json(panoptic: Panoptic) -> dict:
    """A map as the pages hold it."""
    return {
        "idMap": panoptic.id_map.flatten().tolist(),
        "segments": [
            {
                "id": s.id,
                "label": s.label,
                "isThing": s.is_thing,
                "isCrowd": s.is_crowd,
                "score": s.score,
            }
            for s in panoptic.segments
        ],
    }


def panoptic_of(id_map: Tensor, segments: list[Segment]) -> Panoptic:
    """Return a map whose list has only segments with a pixel."""
    present = set(id_map.unique().tolist())
    return Panoptic(id_map, tuple(s for s in segments if s.id in present))


def random_pair(rng: torch.Generator) -> tuple[Panoptic, Panoptic]:
    """A truth of blocks with void and crowds, and a prediction that is the truth with mistakes."""

    def draw(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, shape, generator=rng)

    height, width = draw(1, 12, 2).tolist()
    ids = draw(0, 7, 1 + height // 3, 1 + width // 3)
    ids = ids.repeat_interleave(3, 0).repeat_interleave(3, 1)[:height, :width]
    truths = []
    for number in range(1, 7):
        is_thing = bool(draw(0, 3) > 0)
        truths.append(
            Segment(
                number,
                int(draw(0, 2)) + (0 if is_thing else 1),
                is_thing,
                is_crowd=bool(draw(0, 5) == 0),
            )
        )
    noise = int(draw(1, 12))
    other = torch.where(draw(0, 12, height, width) < noise - 1, draw(0, 8, height, width), ids)
    other = torch.where(other > 0, 10 * other, VOID)
    predicted = [
        Segment(10 * t.id, t.label, t.is_thing, score=int(draw(1, 5)) / 4)
        if draw(0, 5)
        else Segment(10 * t.id, 1, True, score=int(draw(1, 5)) / 4)
        for t in [*truths, Segment(7, 0, True)]
    ]
    return panoptic_of(ids, truths), panoptic_of(other, predicted)


def edge_cases() -> list[tuple[Panoptic, Panoptic]]:
    thing = Segment(1, 0, True)
    other = Segment(2, 0, True)

    def row(*ids: int) -> Tensor:
        return torch.tensor([ids])

    def pair(truth: Tensor, truths: list, prediction: Tensor, predicted: list):
        return panoptic_of(truth, truths), panoptic_of(prediction, predicted)

    crowd = Segment(2, 0, True, is_crowd=True)
    crowds = [Segment(1, 0, True, is_crowd=True), crowd]
    return [
        pair(row(0, 0), [], row(0, 0), []),
        pair(row(1, 1), [thing], row(0, 0), []),
        pair(row(0, 0), [], row(1, 1), [thing]),
        pair(row(1, 1), [thing], row(1, 1), [thing]),
        pair(row(1, 1), [thing], row(1, 0), [thing]),  # an IoU of exactly one half: no match
        pair(row(1, 1, 1), [thing], row(1, 1, 0), [thing]),
        pair(row(1, 1), [thing], row(1, 1), [Segment(1, 1, True)]),  # another class
        pair(row(1, 1), [thing], row(1, 1), [Segment(1, 1, False)]),
        pair(row(1, 0, 0, 0), [thing], row(1, 1, 1, 1), [thing]),  # void leaves the union
        pair(row(1, 1, 0, 0), [thing], row(0, 2, 2, 0), [other]),  # exactly half on void: counted
        pair(row(1, 0, 0, 0), [thing], row(2, 2, 2, 2), [Segment(2, 1, True)]),  # more: ignored
        pair(row(2, 2, 2, 2), [crowd], row(2, 2, 2, 2), [other]),  # a crowd has no match
        pair(row(2, 2, 1, 1), [thing, crowd], row(2, 2, 2, 0), [other]),
        pair(row(1, 1, 1, 2), crowds, row(2, 2, 2, 2), [other]),  # of two crowds the last counts
        pair(row(1, 1, 2, 2), [thing, other], row(1, 1, 1, 1), [thing]),
    ]


def all_pairs() -> list[tuple[Panoptic, Panoptic]]:
    rng = torch.Generator().manual_seed(0)
    return [random_pair(rng) for _ in range(300)] + edge_cases()


PAIRS = all_pairs()


@pytest.fixture(scope="module")
def matched(javascript):
    arguments = [[as_json(gt), as_json(prediction)] for gt, prediction in PAIRS]
    return javascript("lib/quality.js", "matchSegments", arguments)


def ids(segments) -> list[int]:
    return [s["id"] if isinstance(s, dict) else s.id for s in segments]


def test_overlaps_are_those_of_python(javascript):
    arguments = [
        [gt.id_map.flatten().tolist(), pred.id_map.flatten().tolist()] for gt, pred in PAIRS
    ]
    results = javascript("lib/quality.js", "countOverlaps", arguments)
    for (gt, prediction), result in zip(PAIRS, results, strict=True):
        expected = count_overlaps(gt.id_map, prediction.id_map)
        assert {(a, b): n for a, b, n in result["pairs"]} == expected.pairs
        assert [(a, b) for a, b, _ in result["pairs"]] == list(expected.pairs)
        assert dict(map(tuple, result["gtAreas"])) == expected.gt_areas
        assert dict(map(tuple, result["predAreas"])) == expected.pred_areas


def test_matches_are_those_of_python(matched):
    num = {"pairs": 0, "falsePositives": 0, "falseNegatives": 0, "ignored": 0}
    for (gt, prediction), result in zip(PAIRS, matched, strict=True):
        expected = match_segments(gt, prediction)
        assert [(p["truth"]["id"], p["predicted"]["id"], p["iou"]) for p in result["pairs"]] == [
            (truth.id, predicted.id, iou) for truth, predicted, iou in expected.pairs
        ]
        assert ids(result["falsePositives"]) == ids(expected.false_positives)
        assert ids(result["falseNegatives"]) == ids(expected.false_negatives)
        assert ids(result["ignored"]) == ids(expected.ignored)
        for kind in num:
            num[kind] += len(result[kind])
    assert min(num.values()) > 100, num


def test_panoptic_quality_is_that_of_python(javascript, matched):
    categories = [{"id": c.id, "name": c.name, "isThing": c.is_thing} for c in CATEGORIES]
    groups = [[i] for i in range(len(PAIRS))] + [[i, i + 1, i + 2] for i in range(0, 300, 3)]
    arguments = [[[matched[i] for i in group], categories] for group in groups]
    results = javascript("lib/quality.js", "panopticQuality", arguments)
    for group, result in zip(groups, results, strict=True):
        quality = PanopticQuality(CATEGORIES)
        for index in group:
            quality.update(*PAIRS[index])
        expected = quality.compute()
        for entry, of_class in zip(expected.per_class, result["perClass"], strict=True):
            assert of_class["category"]["name"] == entry.category.name
            for name in ("tp", "fp", "fn", "pq", "sq", "rq", "counts"):
                assert of_class[name] == getattr(entry, name), name
            assert of_class["iouSum"] == entry.iou_sum
        for name in ("all", "things", "stuff"):
            mean = getattr(expected, name)
            if mean is None:
                assert result[name] is None
                continue
            assert result[name]["numClasses"] == mean.num_classes
            for figure in ("pq", "sq", "rq"):
                assert result[name][figure] == pytest.approx(getattr(mean, figure), abs=1e-15)


def test_mean_iou_is_that_of_python(javascript):
    maps = [[to_label_map(p, NUM_THINGS, all_classes=True) for p in pair] for pair in PAIRS]
    labels = javascript(
        "lib/quality.js", "labelMapOf", [[as_json(p), NUM_THINGS] for pair in PAIRS for p in pair]
    )
    assert labels == [m.flatten().tolist() for pair in maps for m in pair]
    arguments = [
        [[{"truth": truth.flatten().tolist(), "predicted": predicted.flatten().tolist()}], 4]
        for truth, predicted in maps
    ]
    results = javascript("lib/quality.js", "semanticQuality", arguments)
    for (truth, predicted), result in zip(maps, results, strict=True):
        quality = SemanticQuality(["a", "b", "c", "d"])
        quality.update(truth, predicted)
        expected = quality.compute()
        assert result["perClass"] == list(expected.per_class.values())
        assert result["pixelAccuracy"] == expected.pixel_accuracy
        if expected.miou is None:
            assert result["miou"] is None
        else:
            assert result["miou"] == pytest.approx(expected.miou, abs=1e-15)


def test_mask_ap_is_that_of_coco(javascript):
    pairs = [pair for pair in PAIRS if any(not s.is_crowd and s.is_thing for s in pair[0].segments)]
    things = javascript(
        "lib/quality.js", "thingsOf", [[as_json(gt), as_json(pred)] for gt, pred in pairs]
    )
    groups = [[i] for i in range(len(pairs))] + [[i, i + 1, i + 2] for i in range(0, 120, 3)]
    assert len(pairs) >= 200
    arguments = [[[things[i] for i in group]] for group in groups]
    results = javascript("lib/quality.js", "averagePrecision", arguments)
    for group, result in zip(groups, results, strict=True):
        precision = PrecisionCollector()
        for number, index in enumerate(group):
            gt, prediction = pairs[index]
            image = torch.zeros(3, *gt.id_map.shape, dtype=torch.uint8)
            precision.update(number, Sample(image, gt, number), as_prediction(prediction))
        expected = precision.result(["car", "person"])["mask_ap"]
        assert result == pytest.approx(expected, abs=1e-9)
    assert min(results) < 0.1
    assert max(results) > 0.9


def test_the_limits_are_those_of_python():
    source = (ROOT / "web" / "lib" / "quality.js").read_text(encoding="utf-8")
    assert f"MATCH_IOU = {MATCH_IOU};" in source
    assert f"IGNORED_FRACTION = {IGNORED_FRACTION};" in source
