"""Panoptic quality (PQ), and mean IoU for comparison.

A predicted and a true segment of one class match where they overlap by more than half (IoU > 0.5);
at most one pair can. Then, per class over the whole data set,

    PQ = SQ * RQ,  SQ = mean IoU of the matches,  RQ = TP / (TP + FP / 2 + FN / 2).

The rules for void and for crowds are those of the reference implementation, panopticapi.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Integer
from torch import Tensor

from pfpn.inputs import (
    require_categories,
    require_id_maps,
    require_labels,
    require_listed,
    require_panoptic,
    require_same_type,
)
from pfpn.pairs import count_pairs
from pfpn.structures import IGNORE, VOID, Category, Panoptic, Segment, stuff, things

# (h, w); the axes are not bound, so that two different sizes get this module's own message
IdMap = Integer[Tensor, "_ _"] | Integer[np.ndarray, "_ _"]

MATCH_IOU = 0.5  # a pair matches above, not at, this IoU
IGNORED_FRACTION = 0.5  # a predicted segment with more than this on void or crowd is ignored


@dataclass(frozen=True, slots=True)
class Overlaps:
    """How the segments of two id maps of one image overlap; VOID is among the ids."""

    pairs: dict[tuple[int, int], int]  # (true id, predicted id): pixels > 0, by ascending ids
    gt_areas: dict[int, int]  # id: pixels
    pred_areas: dict[int, int]


def count_overlaps(gt_id_map: IdMap, pred_id_map: IdMap) -> Overlaps:
    """Count the pixels of every pair of ids in two maps of one image, tensors or NumPy arrays."""
    gt, pred = _array(gt_id_map), _array(pred_id_map)
    require_id_maps(gt, pred)
    overlaps = Overlaps(count_pairs(gt.reshape(-1), pred.reshape(-1)), {}, {})
    for (gt_id, pred_id), count in overlaps.pairs.items():
        overlaps.gt_areas[gt_id] = overlaps.gt_areas.get(gt_id, 0) + count
        overlaps.pred_areas[pred_id] = overlaps.pred_areas.get(pred_id, 0) + count
    return overlaps


@dataclass(frozen=True, slots=True)
class Matches:
    """Every segment of one image: matched, unmatched or ignored."""

    pairs: tuple[tuple[Segment, Segment, float], ...]  # true, predicted, IoU in (0.5, 1]
    false_positives: tuple[Segment, ...]  # predicted, without a match
    false_negatives: tuple[Segment, ...]  # true, without a match
    ignored: tuple[Segment, ...]  # true crowds; predicted segments mostly on void or on a crowd


def match_segments(gt: Panoptic, prediction: Panoptic, overlaps: Overlaps | None = None) -> Matches:
    """Match true and predicted segments of one class that overlap by more than half.

    Void pixels of the truth leave the union. A predicted segment without a match of which more than
    half lies on void or on a crowd of its class is ignored; of several crowds of one class only the
    last one counts. A crowd is never matched and never a false negative.

    Args:
        gt: the truth.
        prediction: at the same size.
        overlaps: `count_overlaps` of the two id maps, if already computed.

    Source: [PS] 4.1, 4.2; panopticapi for the order of crowds.
    """
    if overlaps is None:
        overlaps = count_overlaps(gt.id_map, prediction.id_map)
    require_listed(gt.segments, overlaps.gt_areas, "truth")
    require_listed(prediction.segments, overlaps.pred_areas, "prediction")
    gt_by_id = {segment.id: segment for segment in gt.segments}
    pred_by_id = {segment.id: segment for segment in prediction.segments}

    pairs = []
    for (gt_id, pred_id), intersection in overlaps.pairs.items():
        if gt_id == VOID or pred_id == VOID:
            continue
        truth, predicted = gt_by_id[gt_id], pred_by_id[pred_id]
        if truth.is_crowd or _class_of(truth) != _class_of(predicted):
            continue
        on_void = overlaps.pairs.get((VOID, pred_id), 0)
        union = overlaps.gt_areas[gt_id] + overlaps.pred_areas[pred_id] - intersection - on_void
        iou = intersection / union
        if iou > MATCH_IOU:
            pairs.append((truth, predicted, iou))

    matched_gt = {truth.id for truth, _, _ in pairs}
    matched_pred = {predicted.id for _, predicted, _ in pairs}
    crowds = {_class_of(segment): segment.id for segment in gt.segments if segment.is_crowd}
    ignored = [segment for segment in gt.segments if segment.is_crowd]
    false_positives: list[Segment] = []
    for segment in prediction.segments:
        if segment.id in matched_pred:
            continue
        outside = overlaps.pairs.get((VOID, segment.id), 0)
        if _class_of(segment) in crowds:
            outside += overlaps.pairs.get((crowds[_class_of(segment)], segment.id), 0)
        is_ignored = outside / overlaps.pred_areas[segment.id] > IGNORED_FRACTION
        (ignored if is_ignored else false_positives).append(segment)
    false_negatives = [s for s in gt.segments if s.id not in matched_gt and not s.is_crowd]
    return Matches(tuple(pairs), tuple(false_positives), tuple(false_negatives), tuple(ignored))


@dataclass(frozen=True, slots=True)
class ClassQuality:
    """The quality of one class, in [0, 1]."""

    category: Category
    tp: int  # matched pairs
    fp: int
    fn: int
    iou_sum: float  # over the matched pairs

    @property
    def counts(self) -> bool:
        """Whether the class enters the means: it has a segment that is not ignored."""
        return self.tp + self.fp + self.fn > 0

    @property
    def pq(self) -> float:
        """Panoptic quality; 0 for a class that does not count."""
        return self.iou_sum / (self.tp + 0.5 * self.fp + 0.5 * self.fn) if self.counts else 0.0

    @property
    def sq(self) -> float:
        """Segmentation quality: the mean IoU of the matches; 0 without a match."""
        return self.iou_sum / self.tp if self.tp else 0.0

    @property
    def rq(self) -> float:
        """Recognition quality: the F1 score of the segments; 0 for a class that does not count."""
        return self.tp / (self.tp + 0.5 * self.fp + 0.5 * self.fn) if self.counts else 0.0


@dataclass(frozen=True, slots=True)
class GroupQuality:
    """The mean over the classes of a group that count, in [0, 1]."""

    pq: float
    sq: float
    rq: float
    num_classes: int


@dataclass(frozen=True, slots=True)
class PanopticResult:
    """Panoptic quality of a data set; a group in which no class counts is None."""

    all: GroupQuality | None
    things: GroupQuality | None
    stuff: GroupQuality | None
    per_class: tuple[ClassQuality, ...]  # every category, in the order in which they were given
    num_images: int

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON, PQ, SQ and RQ in percent; classes by category id, if they count."""
        groups = {"all": self.all, "things": self.things, "stuff": self.stuff}
        return {
            "num_images": self.num_images,
            **{k: q and _percent(q) | {"n": q.num_classes} for k, q in groups.items()},
            "per_class": {
                str(entry.category.id): {"name": entry.category.name}
                | _percent(entry)
                | {"tp": entry.tp, "fp": entry.fp, "fn": entry.fn, "iou_sum": entry.iou_sum}
                for entry in self.per_class
                if entry.counts
            },
        }


class PanopticQuality:
    """Computes panoptic quality from one image after the other. Source: [PS] 4.

    `pfpn.metric.PanopticMetric` is the same for maps of class and instance.
    """

    def __init__(self, categories: Sequence[Category]):
        self.categories = tuple(categories)
        require_categories(self.categories)
        self.reset()

    def __repr__(self) -> str:
        return f"PanopticQuality({len(self.categories)} categories, {self.num_images} images)"

    def reset(self) -> None:
        """Forget all images."""
        categories = self.categories
        self.num_images = 0
        keys = {category.id: (True, i) for i, category in enumerate(things(categories))}
        keys |= {category.id: (False, 1 + i) for i, category in enumerate(stuff(categories))}
        # tp, fp, fn and the sum of IoUs by (is_thing, label), in the order of the categories
        self._sums = {keys[category.id]: [0, 0, 0, 0.0] for category in categories}

    def update(self, gt: Panoptic, prediction: Panoptic) -> None:
        """Add one image."""
        require_panoptic(gt, prediction)
        self.add(match_segments(gt, prediction))

    def add(self, matches: Matches) -> None:
        """Add one image whose segments are matched already."""
        unmatched = (*matches.false_positives, *matches.false_negatives, *matches.ignored)
        for segment in (*(truth for truth, _, _ in matches.pairs), *unmatched):
            if _class_of(segment) not in self._sums:
                kind = "thing" if segment.is_thing else "stuff"
                known = sorted(
                    label for is_thing, label in self._sums if is_thing == segment.is_thing
                )
                raise ValueError(
                    f"panoptic quality: segment {segment.id} has {kind} label {segment.label}, "
                    f"expected one of {known}. Are these the categories of the data set?"
                )
        for truth, _, iou in matches.pairs:
            sums = self._sums[_class_of(truth)]
            sums[0] += 1
            sums[3] += iou  # one after the other as in panopticapi, so that the last bit agrees
        for segment in matches.false_positives:
            self._sums[_class_of(segment)][1] += 1
        for segment in matches.false_negatives:
            self._sums[_class_of(segment)][2] += 1
        self.num_images += 1

    def merge(self, other: "PanopticQuality") -> None:
        """Add the counts of another process, over other images and for the same categories."""
        require_same_type(self, other)
        if self.categories != other.categories:
            raise ValueError(
                f"merging panoptic qualities: found {len(other.categories)} categories that differ "
                f"from the expected {len(self.categories)}. Are both of the same data set?"
            )
        for key, sums in self._sums.items():
            self._sums[key] = [a + b for a, b in zip(sums, other._sums[key], strict=True)]
        self.num_images += other.num_images

    def compute(self) -> PanopticResult:
        """Average over the classes that count."""
        per_class = [
            ClassQuality(category, int(sums[0]), int(sums[1]), int(sums[2]), sums[3])
            for category, sums in zip(self.categories, self._sums.values(), strict=True)
        ]
        return summarize(per_class, self.num_images)


def summarize(per_class: Sequence[ClassQuality], num_images: int) -> PanopticResult:
    """Return the figures of all classes with their means over things, over stuff and over all."""
    return PanopticResult(
        all=_mean(per_class),
        things=_mean(entry for entry in per_class if entry.category.is_thing),
        stuff=_mean(entry for entry in per_class if not entry.category.is_thing),
        per_class=tuple(per_class),
        num_images=num_images,
    )


@dataclass(frozen=True, slots=True)
class SemanticResult:
    """Quality of label maps over a data set, in [0, 1]; None where there was nothing to measure."""

    miou: float | None  # mean over the classes that have an IoU
    pixel_accuracy: float | None
    per_class: dict[str, float | None]  # IoU by class name; None: neither true nor predicted

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON, in percent."""

        def percent(value: float | None) -> float | None:
            return None if value is None else 100 * value

        return {
            "miou": percent(self.miou),
            "pixel_accuracy": percent(self.pixel_accuracy),
            "per_class": {name: percent(iou) for name, iou in self.per_class.items()},
        }


class SemanticQuality:
    """Counts a confusion matrix over label maps; `names` are those of labels 0, 1, ..."""

    def __init__(self, names: Sequence[str]):
        # The label of pixels without a class: where IGNORE is a class, the first after them
        self.ignore = max(IGNORE, len(names))
        # A result lists classes by name, so a name that occurs twice gets its label appended.
        self.names = tuple(n if names.count(n) == 1 else f"{n} ({i})" for i, n in enumerate(names))
        # Rows are true labels, columns predicted ones; the last column counts pixels without any.
        self.confusion = np.zeros((len(names), len(names) + 1), dtype=np.int64)

    def reset(self) -> None:
        """Forget all images."""
        self.confusion[:] = 0

    def update(self, gt_labels: IdMap, pred_labels: IdMap) -> None:
        """Add one image: true IGNORE is left out, predicted IGNORE is wrong without a class."""
        pairs = count_overlaps(gt_labels, pred_labels).pairs
        require_labels(pairs, len(self.names), self.ignore)
        for (gt, predicted), pixels in pairs.items():
            if gt != self.ignore:
                self.confusion[gt, -1 if predicted == self.ignore else predicted] += pixels

    def merge(self, other: "SemanticQuality") -> None:
        """Add the counts of another process, over other images and for the same classes."""
        require_same_type(self, other)
        if self.names != other.names:
            raise ValueError(
                f"merging semantic qualities: found classes {other.names}, expected {self.names}"
            )
        self.confusion += other.confusion

    def compute(self) -> SemanticResult:
        """Average over the classes that are in the truth or predicted."""
        hits = self.confusion.diagonal()
        unions = self.confusion.sum(1) + self.confusion[:, :-1].sum(0) - hits
        per_class = {
            name: float(hit / union) if union else None
            for name, hit, union in zip(self.names, hits, unions, strict=True)
        }
        counted = [iou for iou in per_class.values() if iou is not None]
        pixels = self.confusion.sum()
        return SemanticResult(
            miou=sum(counted) / len(counted) if counted else None,
            pixel_accuracy=float(hits.sum() / pixels) if pixels else None,
            per_class=per_class,
        )


def format_table(result: PanopticResult, *, per_class: bool = False) -> str:
    """Return lines of text with PQ, SQ, RQ (in percent) and the number of classes.

    With `per_class`, a line for every class that counts follows, with its TP, FP and FN.
    """
    rows = [["", "PQ", "SQ", "RQ", "N"]]
    for name, group in (("all", result.all), ("things", result.things), ("stuff", result.stuff)):
        if group is None:
            rows.append([name, "-", "-", "-", "0"])
        else:
            rows.append([name, *_digits(group), str(group.num_classes)])
    lines = _aligned(rows)
    if per_class:
        counted = [entry for entry in result.per_class if entry.counts]
        rows = [["class", "PQ", "SQ", "RQ", "TP", "FP", "FN"]]
        rows += [[e.category.name, *_digits(e), str(e.tp), str(e.fp), str(e.fn)] for e in counted]
        lines += ["", *_aligned(rows)]
    return "\n".join(lines)


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    ]


def _digits(quality: GroupQuality | ClassQuality) -> list[str]:
    return [f"{value:.1f}" for value in _percent(quality).values()]


def _percent(quality: GroupQuality | ClassQuality) -> dict[str, float]:
    return {"pq": 100 * quality.pq, "sq": 100 * quality.sq, "rq": 100 * quality.rq}


def _mean(entries: Iterable[ClassQuality]) -> GroupQuality | None:
    counted = [entry for entry in entries if entry.counts]
    n = len(counted)
    if n == 0:
        return None
    pq, sq, rq = (sum(getattr(e, name) for e in counted) / n for name in ("pq", "sq", "rq"))
    return GroupQuality(pq, sq, rq, n)


def _class_of(segment: Segment) -> tuple[bool, int]:
    return segment.is_thing, segment.label


def _array(id_map: IdMap) -> np.ndarray:
    return np.asarray(id_map.detach().cpu() if isinstance(id_map, Tensor) else id_map)
