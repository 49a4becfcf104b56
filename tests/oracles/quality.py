"""Panoptic quality in the slow, obvious way: sets of pixels, every pair of segments compared."""

from collections.abc import Sequence
from fractions import Fraction

import torch

from pfpn.structures import VOID, Category, Panoptic, Segment, stuff, things

Pixels = set[tuple[int, int]]
Counts = dict[tuple[bool, int], dict[str, int | Fraction]]


def pixels_of(panoptic: Panoptic, segment_id: int) -> Pixels:
    return {(y, x) for y, x in (panoptic.id_map == segment_id).nonzero().tolist()}


def count_pairs(gt_map: torch.Tensor, pred_map: torch.Tensor) -> dict[tuple[int, int], int]:
    pairs: dict[tuple[int, int], int] = {}
    for pair in zip(gt_map.flatten().tolist(), pred_map.flatten().tolist(), strict=True):
        pairs[pair] = pairs.get(pair, 0) + 1
    return pairs


def image_counts(gt: Panoptic, prediction: Panoptic) -> Counts:
    """tp, fp, fn and the exact sum of IoUs per class (is_thing, label) of one image."""
    void = pixels_of(gt, VOID)
    counts: Counts = {}

    def add(segment: Segment, what: str, value: int | Fraction = 1) -> None:
        key = (segment.is_thing, segment.label)
        entry = counts.setdefault(key, {"tp": 0, "fp": 0, "fn": 0, "iou_sum": Fraction(0)})
        entry[what] += value

    truths = [(segment, pixels_of(gt, segment.id)) for segment in gt.segments]
    predicted = [(segment, pixels_of(prediction, segment.id)) for segment in prediction.segments]

    def same_class(a: Segment, b: Segment) -> bool:
        return (a.is_thing, a.label) == (b.is_thing, b.label)

    def iou(truth: Pixels, guess: Pixels) -> Fraction:
        return Fraction(len(truth & guess), len(truth | (guess - void)))

    matched = set()
    for truth, there in truths:
        if truth.is_crowd:
            continue
        partners = [
            (guess, iou(there, seen))
            for guess, seen in predicted
            if same_class(truth, guess) and iou(there, seen) > Fraction(1, 2)
        ]
        assert len(partners) <= 1  # more than half of the union belongs to one at most
        if not partners:
            add(truth, "fn")
        for guess, overlap in partners:
            matched.add(guess.id)
            add(truth, "tp")
            add(truth, "iou_sum", overlap)
    for guess, seen in predicted:
        if guess.id in matched:
            continue
        crowds = [there for truth, there in truths if truth.is_crowd and same_class(truth, guess)]
        harmless = void | (crowds[-1] if crowds else set())
        if not Fraction(len(seen & harmless), len(seen)) > Fraction(1, 2):
            add(guess, "fp")
    return counts


def panoptic_quality(
    images: Sequence[tuple[Panoptic, Panoptic]], categories: Sequence[Category]
) -> dict[str, Fraction | None]:
    """PQ of all, things and stuff as exact fractions; None if no class counts."""
    total: Counts = {}
    for gt, prediction in images:
        for key, entry in image_counts(gt, prediction).items():
            sums = total.setdefault(key, {"tp": 0, "fp": 0, "fn": 0, "iou_sum": Fraction(0)})
            for what, value in entry.items():
                sums[what] += value
    pq = {
        key: entry["iou_sum"] / (entry["tp"] + Fraction(entry["fp"] + entry["fn"], 2))
        for key, entry in total.items()
    }
    groups = {
        "things": [pq[True, i] for i in range(len(things(categories))) if (True, i) in pq],
        "stuff": [pq[False, 1 + i] for i in range(len(stuff(categories))) if (False, 1 + i) in pq],
    }
    groups["all"] = groups["things"] + groups["stuff"]
    return {name: sum(g, Fraction(0)) / len(g) if g else None for name, g in groups.items()}


def mean_iou(pairs: Sequence[tuple[torch.Tensor, torch.Tensor]], num: int, ignore: int) -> float:
    """Mean IoU over classes that are in the truth or predicted, pixel by pixel."""
    ious = []
    for label in range(num):
        hit = union = 0
        for gt, prediction in pairs:
            for a, b in zip(gt.flatten().tolist(), prediction.flatten().tolist(), strict=True):
                if a != ignore:
                    hit += a == label and b == label
                    union += label in (a, b)
        if union:
            ious.append(hit / union)
    return sum(ious) / len(ious)
