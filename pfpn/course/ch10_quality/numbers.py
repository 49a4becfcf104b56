"""Panoptic quality in numbers: tables of IoU, a segment that moves, mistakes and what they cost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from pfpn.data.transforms import to_label_map
from pfpn.engine.evaluate import PrecisionCollector
from pfpn.plot.palette import category_of
from pfpn.predict import Prediction
from pfpn.quality import (
    MATCH_IOU,
    GroupQuality,
    PanopticQuality,
    SemanticQuality,
    count_overlaps,
)
from pfpn.structures import VOID, Category, Detections, Panoptic, Sample, Segment, stuff, things

SHIFT = 3  # pixels that "shifted" moves a thing
MaskIoU = Callable[[Tensor, Tensor, Tensor], float]  # of truth, prediction and void, all (h, w)
RIM = 2  # pixels: the width of the second detection that "doubled" adds around a thing


def panoptic_from_letters(text: str, categories: Sequence[Category], **classes: str) -> Panoptic:
    """Return a small map written in letters: a space ends a row, a dot is void.

    Example: `panoptic_from_letters("aab aa.", categories, a="car", b="sky")`. The class in capital
    letters makes a crowd. Ids follow the order in which the letters are named.

    Raises:
        ValueError: the rows differ in length, or a letter has no class.
    """
    rows = text.split()
    if len({len(row) for row in rows}) != 1:
        raise ValueError(
            f"panoptic_from_letters: found rows of {sorted({len(row) for row in rows})} letters, "
            "expected all of the same length"
        )
    unnamed = sorted(set("".join(rows)) - set(classes) - {"."})
    if unnamed:
        raise ValueError(
            f"panoptic_from_letters: found {', '.join(unnamed)} without a class, expected one "
            f"for each letter, such as {unnamed[0]}='car'"
        )
    ids = {letter: number for number, letter in enumerate(classes, start=1)} | {".": VOID}
    labels = {c.name: (i, True) for i, c in enumerate(things(categories))}
    labels |= {c.name: (i, False) for i, c in enumerate(stuff(categories), start=1)}
    segments = [
        Segment(ids[letter], *labels[name.lower()], is_crowd=name.isupper())
        for letter, name in classes.items()
    ]
    return _listed(torch.tensor([[ids[letter] for letter in row] for row in rows]), segments)


def iou_table(gt: Panoptic, prediction: Panoptic) -> Float[np.ndarray, "n m"]:
    """Return the IoU of every true segment (row) with every predicted one (column).

    As for matches, void pixels of the truth leave the union. NaN where the two cannot match:
    another class, or a crowd.
    """
    overlaps = count_overlaps(gt.id_map, prediction.id_map)
    table = np.full((len(gt.segments), len(prediction.segments)), np.nan)
    for i, truth in enumerate(gt.segments):
        for j, other in enumerate(prediction.segments):
            same = (truth.label, truth.is_thing) == (other.label, other.is_thing)
            if truth.is_crowd or not same:
                continue
            both = overlaps.pairs.get((truth.id, other.id), 0)
            on_void = overlaps.pairs.get((VOID, other.id), 0)
            areas = overlaps.gt_areas[truth.id] + overlaps.pred_areas[other.id]
            table[i, j] = both / (areas - both - on_void)
    return table


# A segment that moves ---------------------------------------------------------------------------


def move_segment(panoptic: Panoptic, segment_id: int, dx: int, dy: int) -> Panoptic:
    """Return a map with one segment moved to the right and down, over all others.

    The pixels that it leaves become void. Segments that end up without a pixel leave the list.
    """
    mask = panoptic.id_map == segment_id
    id_map = panoptic.id_map.masked_fill(mask, VOID)
    return _listed(id_map.masked_fill(_shifted(mask, dx, dy), segment_id), panoptic.segments)


def moved_iou(
    panoptic: Panoptic, segment_id: int, dx: int, dy: int, iou: MaskIoU | None = None
) -> float:
    """Return the IoU of a segment with itself moved; the truth's void leaves the union.

    `iou` is a reader's function of truth, prediction and void that computes it.
    """
    mask, void = panoptic.id_map == segment_id, panoptic.id_map == VOID
    if iou is not None:
        return float(iou(mask, _shifted(mask, dx, dy), void))
    moved = _shifted(mask, dx, dy) & ~void
    return float((mask & moved).sum() / (mask | moved).sum())


def _shifted(mask: Bool[Tensor, "h w"], dx: int, dy: int) -> Bool[Tensor, "h w"]:
    height, width = mask.shape
    result = torch.zeros_like(mask)
    if abs(dx) < width and abs(dy) < height:
        result[max(0, dy) : height + min(0, dy), max(0, dx) : width + min(0, dx)] = mask[
            max(0, -dy) : height + min(0, -dy), max(0, -dx) : width + min(0, -dx)
        ]
    return result


def _listed(id_map: Tensor, segments: Sequence[Segment]) -> Panoptic:
    """Return a map whose list has only segments with a pixel."""
    present = set(id_map.unique().tolist())
    return Panoptic(id_map, tuple(segment for segment in segments if segment.id in present))


# Mistakes, each made from the truth alone -------------------------------------------------------

Maker = Callable[[Panoptic, Sequence[Category]], Panoptic]

# What happens, and the function that does it, by the name of the mistake.
ERRORS: dict[str, tuple[str, Maker]] = {}


def make_error(kind: str, truth: Panoptic, categories: Sequence[Category]) -> Panoptic:
    """Return the truth with one kind of mistake in it.

    Raises:
        ValueError: `kind` is no key of ERRORS.
    """
    if kind not in ERRORS:
        raise ValueError(f"make_error: found {kind!r}, expected one of {', '.join(ERRORS)}")
    return ERRORS[kind][1](truth, categories)


def _error(kind: str, description: str) -> Callable[[Maker], Maker]:
    def add(maker: Maker) -> Maker:
        ERRORS[kind] = description, maker
        return maker

    return add


@_error("shifted", f"every thing {SHIFT} pixels to the right")
def _shift_things(truth: Panoptic, _categories: Sequence[Category]) -> Panoptic:
    id_map = truth.id_map
    for _, mask in _things(truth):
        id_map = id_map.masked_fill(mask, VOID)
    for segment, mask in _things(truth):
        id_map = id_map.masked_fill(_shifted(mask, SHIFT, 0), segment.id)
    return _listed(id_map, truth.segments)


@_error("shrunk", "every thing loses a rim of 1 pixel")
def _shrink_things(truth: Panoptic, _categories: Sequence[Category]) -> Panoptic:
    id_map = truth.id_map
    for _, mask in _things(truth):
        id_map = id_map.masked_fill(mask & grow(~mask, 1), VOID)
    return _listed(id_map, truth.segments)


@_error("split", "every thing falls into two halves")
def _split_things(truth: Panoptic, _categories: Sequence[Category]) -> Panoptic:
    id_map, segments = truth.id_map, list(truth.segments)
    for segment, mask in _things(truth):
        middle = mask.nonzero()[:, 1].float().median()
        segments.append(replace(segment, id=_free_id(segments)))
        right = mask & (torch.arange(mask.shape[1]) > middle)
        id_map = id_map.masked_fill(right, segments[-1].id)
    return _listed(id_map, segments)


@_error("merged", "all things of a class are one")
def _merge_things(truth: Panoptic, _categories: Sequence[Category]) -> Panoptic:
    id_map = truth.id_map
    first: dict[int, int] = {}
    for segment, mask in _things(truth):
        id_map = id_map.masked_fill(mask, first.setdefault(segment.label, segment.id))
    return _listed(id_map, truth.segments)


@_error("dropped", "every third thing is missed")
def _drop_things(truth: Panoptic, _categories: Sequence[Category]) -> Panoptic:
    id_map = truth.id_map
    for _, mask in _things(truth)[::3]:
        id_map = id_map.masked_fill(mask, VOID)
    return _listed(id_map, truth.segments)


@_error("doubled", f"a second, unsure one: a rim of {RIM} pixels")
def _double_things(truth: Panoptic, _categories: Sequence[Category]) -> Panoptic:
    id_map, segments = truth.id_map, list(truth.segments)
    taken = torch.isin(id_map, torch.tensor([s.id for s, _ in _things(truth)], dtype=torch.int64))
    for segment, mask in _things(truth):
        rim = grow(mask, RIM) & ~taken
        segments.append(replace(segment, id=_free_id(segments), score=0.6))
        id_map = id_map.masked_fill(rim, segments[-1].id)
        taken |= rim
    return _listed(id_map, segments)


@_error("renamed", "every third thing has a wrong class")
def _rename_things(truth: Panoptic, categories: Sequence[Category]) -> Panoptic:
    num = len(things(categories))
    return _relabeled(truth, {s.id: (s.label + 1) % num for s, _ in _things(truth)[::3]})


@_error("stuff swapped", "the two largest regions swap names")
def _rename_stuff(truth: Panoptic, _categories: Sequence[Category]) -> Panoptic:
    areas = count_overlaps(truth.id_map, truth.id_map).gt_areas
    regions = sorted((s for s in truth.segments if not s.is_thing), key=lambda s: -areas[s.id])[:2]
    swapped = zip(regions, reversed(regions), strict=True)
    return _relabeled(truth, {segment.id: other.label for segment, other in swapped})


def _things(panoptic: Panoptic) -> list[tuple[Segment, Bool[Tensor, "h w"]]]:
    return [(s, panoptic.id_map == s.id) for s in panoptic.segments if s.is_thing]


def _relabeled(panoptic: Panoptic, labels: dict[int, int]) -> Panoptic:
    segments = (replace(s, label=labels.get(s.id, s.label)) for s in panoptic.segments)
    return Panoptic(panoptic.id_map, tuple(segments))


def _free_id(segments: Sequence[Segment]) -> int:
    return 1 + max(segment.id for segment in segments)


def grow(mask: Bool[Tensor, "h w"], pixels: int) -> Bool[Tensor, "h w"]:
    """Return a mask with a rim added: all pixels within a square of 2 * pixels + 1 around it."""
    side = 2 * pixels + 1
    return F.max_pool2d(mask.float()[None, None], side, stride=1, padding=pixels)[0, 0] > 0.5


# Three scores of the same maps ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of panoptic maps in three ways, in [0, 1]."""

    pq: float
    sq: float
    rq: float
    miou: float
    mask_ap: float

    def by_name(self) -> dict[str, float]:
        """Return the three that are compared, by the names that figures use."""
        return {"PQ": self.pq, "mean IoU": self.miou, "mask AP": self.mask_ap}


def score_maps(
    samples: Sequence[Sample], predictions: Sequence[Panoptic], categories: Sequence[Category]
) -> Scores:
    """Return the scores of panoptic maps: PQ, mean IoU and mask AP.

    AP takes the things of the map with the scores of their segments, mean IoU the class of each
    pixel. All three see the same pixels.
    """
    panoptic = PanopticQuality(categories)
    semantic = SemanticQuality([c.name for c in (*things(categories), *stuff(categories))])
    precision = PrecisionCollector()
    num_things = len(things(categories))
    for index, (sample, prediction) in enumerate(zip(samples, predictions, strict=True)):
        panoptic.update(sample.panoptic, prediction)
        semantic.update(
            to_label_map(sample.panoptic, num_things, all_classes=True),
            to_label_map(prediction, num_things, all_classes=True),
        )
        precision.update(index, sample, as_prediction(prediction))
    group = panoptic.compute().all or GroupQuality(0, 0, 0, 0)
    ap = precision.result([c.name for c in things(categories)]).get("mask_ap", 0.0)
    return Scores(group.pq, group.sq, group.rq, semantic.compute().miou or 0.0, ap)


def as_prediction(panoptic: Panoptic) -> Prediction:
    """Return the things of a map as detections whose masks paste back to the same pixels.

    Each mask is stored on a square grid from the image's corner with one cell a pixel. Every box is
    that square, so box AP would mean nothing.
    """
    height, width = panoptic.id_map.shape
    side = max(height, width)
    segments = [segment for segment in panoptic.segments if segment.is_thing]
    ids = torch.tensor([segment.id for segment in segments], dtype=torch.int64)
    masks = (panoptic.id_map == ids.view(-1, 1, 1)).float()
    detections = Detections(
        boxes=torch.tensor([[0.0, 0.0, side, side]]).repeat(len(segments), 1),
        scores=torch.tensor([segment.score for segment in segments]),
        labels=torch.tensor([segment.label for segment in segments], dtype=torch.int64),
        mask_probs=F.pad(masks, (0, side - width, 0, side - height)),
    )
    return Prediction(panoptic, detections, torch.zeros_like(panoptic.id_map))


def measure_errors(samples: Sequence[Sample], categories: Sequence[Category]) -> dict[str, Scores]:
    """Return the scores of the truth with each kind of mistake in it, by the names of ERRORS."""
    return {
        kind: score_maps(
            samples, [make_error(kind, s.panoptic, categories) for s in samples], categories
        )
        for kind in ERRORS
    }


# Segments by size -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TrueSegment:
    """One true segment of a data set, and its IoU with the best prediction."""

    category: Category
    area: int  # pixels
    iou: float  # with the predicted segment of its class that overlaps it most; 0 without one
    image: int  # index in the list of samples

    @property
    def is_matched(self) -> bool:
        """Return whether the IoU makes a match."""
        return self.iou > MATCH_IOU


def true_segments(
    samples: Sequence[Sample], predictions: Sequence[Panoptic], categories: Sequence[Category]
) -> list[TrueSegment]:
    """Return every true segment that is no crowd, with its best IoU."""
    rows = []
    for image, (sample, prediction) in enumerate(zip(samples, predictions, strict=True)):
        table = iou_table(sample.panoptic, prediction)
        areas = count_overlaps(sample.panoptic.id_map, prediction.id_map).gt_areas
        for segment, ious in zip(sample.panoptic.segments, table, strict=True):
            if not segment.is_crowd:
                best = float(np.nanmax(ious)) if np.isfinite(ious).any() else 0.0
                category = category_of(segment, categories)
                rows.append(TrueSegment(category, areas[segment.id], best, image))
    return rows


def disc_iou(area: Float[np.ndarray, " n"], pixels: float = 1.0) -> Float[np.ndarray, " n"]:
    """Return the IoU of a disc with itself less a rim: (1 - pixels / radius) squared."""
    radius = np.sqrt(area / np.pi)
    return np.clip(1 - pixels / radius, 0, None) ** 2
