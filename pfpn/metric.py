"""Panoptic quality for evaluation loops of other code: from batches of (class, instance) maps.

`PanopticMetric` takes tensors and NumPy arrays as they come out of a data loader, and needs no type
of this package. It has the rules of `pfpn.quality`, which are panopticapi's.
"""

import operator
from collections import Counter
from collections.abc import Collection, Mapping, Sequence, Sized
from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pfpn.inputs import require_same_type
from pfpn.quality import (
    ClassQuality,
    Overlaps,
    PanopticQuality,
    PanopticResult,
    count_overlaps,
    match_segments,
    summarize,
)
from pfpn.structures import VOID, Category, Panoptic, Segment, stuff, things

Maps = Tensor | NDArray[Any]  # (b, ..., 2): the class and the instance of every pixel
Pair = tuple[int, int]  # class id and instance id


class PanopticMetric:
    """Panoptic quality of the images given to `update`, as one data set.

    Args:
        things: ids of the classes that are counted one by one.
        stuff: ids of the classes that are regions: an image has at most one segment of each, and
            its instance ids make no difference.
        void: ids of pixels without a class. Any other id is refused.
        names: of classes, for tables; an id without one is its own name.
        modified_stuff: for stuff, the mean over its true segments of the IoU with the prediction,
            at any IoU, in place of PQ. Source: Porzi et al., "Seamless Scene Segmentation", CVPR
            2019, 4.1.
    """

    def __init__(
        self,
        things: Collection[int],
        stuff: Collection[int],
        *,
        void: Collection[int] = (),
        names: Mapping[int, str] | None = None,
        modified_stuff: bool = False,
    ):
        ids = {
            kind: _class_ids(given, kind)
            for kind, given in (("things", things), ("stuff", stuff), ("void", void))
        }
        _require_classes(ids)
        if names is not None and not isinstance(names, Mapping):
            raise ValueError(
                f"names: found {type(names).__name__}, expected names by class id. "
                'Try names={1: "cat", 7: "grass"}'
            )
        self.categories = tuple(
            Category(i, (names or {}).get(i, str(i)), is_thing)
            for kind, is_thing in (("things", True), ("stuff", False))
            for i in ids[kind]
        )
        self.void = frozenset(ids["void"])
        self.modified_stuff = modified_stuff
        self._known = _labels(self.categories)
        self.reset()

    def __repr__(self) -> str:
        ids = [
            [c.id for c in self.categories if c.is_thing is is_thing] for is_thing in (True, False)
        ]
        return (
            f"{type(self).__name__}(things={ids[0]}, stuff={ids[1]}, void={sorted(self.void)}, "
            f"modified_stuff={self.modified_stuff}; {self._quality.num_images} images)"
        )

    def reset(self) -> None:
        """Forget all images."""
        self._quality = PanopticQuality(self.categories)
        # Of stuff, by label: true segments, and the sum of their IoUs
        self._regions = {c.id: [0, 0.0] for c in self.categories if not c.is_thing}

    def update(
        self, prediction: Maps, truth: Maps, *, crowds: Sequence[Collection[Pair]] | None = None
    ) -> None:
        """Add a batch of images.

        Args:
            prediction: (b, ..., 2) integers: class and instance of every pixel, in any number of
                spatial axes.
            truth: of the same shape.
            crowds: for each image, the (class, instance) of the true segments that stand for
                several objects. Of several crowds of one class, only the last one counts.

        Raises:
            ValueError: other shapes, values that are no integers, or a class that is not known. No
                image of the batch is counted then.
        """
        predicted, true = _array(prediction, "prediction"), _array(truth, "truth")
        _require_maps(predicted, true)
        marked: Any = [()] * len(true) if crowds is None else crowds
        if not isinstance(marked, Sequence) or len(marked) != len(true):
            number = len(marked) if isinstance(marked, Sized) else type(marked).__name__
            raise ValueError(
                f"crowds: found {number} entries for {len(true)} images, expected one list for "
                "each image"
            )
        images = [
            (self._panoptic(t, "truth", _crowd_pairs(c)), self._panoptic(p, "prediction"))
            for t, p, c in zip(true, predicted, marked, strict=True)
        ]
        for gt, predicted_segments in images:
            overlaps = count_overlaps(gt.id_map, predicted_segments.id_map)
            self._quality.add(match_segments(gt, predicted_segments, overlaps))
            self._add_regions(gt, predicted_segments, overlaps)

    def merge(self, other: "PanopticMetric") -> None:
        """Add the images of another process, over the same classes."""
        require_same_type(self, other)
        if self.modified_stuff != other.modified_stuff or self.void != other.void:
            raise ValueError("merging panoptic metrics: found other options, expected the same")
        self._quality.merge(other._quality)
        for label, sums in other._regions.items():
            self._regions[label] = [a + b for a, b in zip(self._regions[label], sums, strict=True)]

    def compute(self) -> PanopticResult:
        """Return the figures; `pfpn.quality.format_table` makes a table of them."""
        result = self._quality.compute()
        if not self.modified_stuff:
            return result
        per_class = [
            entry if entry.category.is_thing else self._region_quality(entry.category)
            for entry in result.per_class
        ]
        return summarize(per_class, result.num_images)

    def state(self) -> NDArray[np.float64]:
        """Return TP, FP, FN and the sum of IoUs, a row for each class: things first, by id.

        States add up over processes.
        """
        rows = [[e.tp, e.fp, e.fn, e.iou_sum] for e in self.compute().per_class]
        return np.array(rows, dtype=np.float64)

    def _region_quality(self, category: Category) -> ClassQuality:
        num, iou_sum = self._regions[category.id]
        return ClassQuality(category, int(num), 0, 0, iou_sum)

    def _add_regions(self, gt: Panoptic, prediction: Panoptic, overlaps: Overlaps) -> None:
        ids = {s.label: s.id for s in prediction.segments if not s.is_thing}
        numbers = {label: i for i, (is_thing, label) in self._known.items() if not is_thing}
        for segment in gt.segments:
            if segment.is_thing or segment.is_crowd:
                continue
            sums = self._regions[numbers[segment.label]]
            sums[0] += 1
            other = ids.get(segment.label, VOID)
            both = overlaps.pairs.get((segment.id, other), 0) if other != VOID else 0
            if both:
                areas = overlaps.gt_areas[segment.id] + overlaps.pred_areas[other]
                sums[1] += both / (areas - both - overlaps.pairs.get((VOID, other), 0))

    def _panoptic(
        self, pixels: NDArray[Any], whose: str, crowds: Collection[Pair] = ()
    ) -> Panoptic:
        """Return the segments of one map (..., 2), numbered from 1; void is 0."""
        flat = pixels.reshape(-1, 2)
        is_start = np.ones(len(flat), dtype=bool)  # of runs of equal pixels, of which there are few
        is_start[1:] = (flat[1:] != flat[:-1]).any(1)
        starts = np.flatnonzero(is_start)
        runs = flat[starts].astype(np.int64)
        unknown = sorted(set(runs[:, 0].tolist()) - self._known.keys() - self.void)
        if unknown:
            raise ValueError(
                f"{whose}: found class {unknown[0]}, expected one of {sorted(self._known)} or, "
                f"without a class, one of {sorted(self.void)}. Try void=[{unknown[0]}]"
            )
        regions = [c.id for c in self.categories if not c.is_thing]
        runs[np.isin(runs[:, 0], regions), 1] = 0
        pairs, inverse = np.unique(runs, axis=0, return_inverse=True)
        numbers = np.zeros(len(pairs), dtype=np.int64)
        segments: list[Segment] = []
        # Crowds in the order given: of several of one class the last one counts
        marked = [(number, 0 if number in regions else instance) for number, instance in crowds]
        order = {pair: position for position, pair in enumerate(marked)}
        listed = [tuple(pair) for pair in pairs.tolist()]
        surplus = sorted(order.keys() - set(listed))
        if surplus:
            raise ValueError(f"crowds: found {surplus[0]}, expected a segment of the truth")
        for index in sorted(range(len(listed)), key=lambda i: order.get(listed[i], -1)):
            if listed[index][0] in self.void:
                continue
            is_thing, label = self._known[listed[index][0]]
            numbers[index] = len(segments) + 1
            is_crowd = listed[index] in order
            segments.append(Segment(len(segments) + 1, label, is_thing, is_crowd=is_crowd))
        id_map = np.repeat(numbers[inverse.reshape(-1)], np.diff(starts, append=len(flat)))
        return Panoptic(torch.from_numpy(id_map)[None], tuple(segments))


def _labels(categories: Sequence[Category]) -> dict[int, tuple[bool, int]]:
    """Return kind and label of each class id."""
    known = {c.id: (True, label) for label, c in enumerate(things(categories))}
    return known | {c.id: (False, label) for label, c in enumerate(stuff(categories), start=1)}


def _array(maps: Maps, whose: str) -> NDArray[Any]:
    if isinstance(maps, Tensor):
        return maps.detach().cpu().numpy()
    try:
        return np.asarray(maps)
    except ValueError:
        raise ValueError(
            f"{whose}: found images of several sizes, expected one size in a batch. Try one "
            "update for each image, of image[None]."
        ) from None


def _require_maps(prediction: NDArray[Any], truth: NDArray[Any]) -> None:
    for whose, maps in (("prediction", prediction), ("truth", truth)):
        if maps.ndim < 3 or maps.shape[-1] != 2 or maps.dtype.kind not in "iu":
            raise ValueError(
                f"{whose}: found {maps.dtype} values of shape {maps.shape}, expected integers of "
                "shape (images, ..., 2): class and instance of every pixel, in a batch. Try "
                "torch.stack([classes, instances], dim=-1)[None] for one image."
            )
        if maps.size and maps.min() < 0:
            raise ValueError(f"{whose}: found {maps.min()}, expected ids from 0 on")
    if prediction.shape != truth.shape:
        raise ValueError(
            f"prediction: found shape {prediction.shape}, expected the truth's {truth.shape}"
        )


def _class_ids(given: Collection[int], kind: str) -> list[int]:
    """Return ids, also NumPy's or a tensor's, once each and sorted; ValueError if they are none."""
    values: Any = given.tolist() if hasattr(given, "tolist") else given
    if isinstance(values, str | bytes) or not isinstance(values, Collection):
        values = [None]
    if not all(isinstance(i, Integral) and not isinstance(i, bool) and int(i) >= 0 for i in values):
        raise ValueError(
            f"{kind}: found {given!r}, expected class ids, whole numbers from 0 on. "
            f"Try {kind}=[1, 2]"
        )
    return sorted({int(i) for i in values})


def _require_classes(ids: Mapping[str, Sequence[int]]) -> None:
    if not ids["things"] and not ids["stuff"]:
        raise ValueError("classes: found neither things nor stuff, expected some")
    every = Counter(i for kind in ids.values() for i in kind)
    twice = sorted(i for i, num in every.items() if num > 1)
    if twice:
        raise ValueError(f"classes: found {twice[0]} twice, expected it in things, stuff or void")


def _crowd_pairs(crowds: Any) -> list[Pair]:
    """Return (class, instance) of each crowd of an image; ValueError if they are none."""
    try:
        return [(operator.index(label), operator.index(instance)) for label, instance in crowds]
    except (TypeError, ValueError):
        raise ValueError(
            f"crowds: found {crowds!r} for an image, expected pairs of class and instance. "
            "Try crowds=[[(1, 3)], []] for two images"
        ) from None
