"""Panoptic quality as pictures: who is matched with whom, and what each kind of mistake costs.

The data come first, as functions of their own that tests can check; the figures paint them, and
each has a `describe_*` that says the same in words and numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from torch import Tensor

from pfpn.data.transforms import to_label_map
from pfpn.engine.evaluate import PrecisionCollector
from pfpn.plot.palette import VOID_COLOR, class_colors, ink_on, to_hex
from pfpn.plot.panoptic import (
    border_lines,
    category_of,
    draw_panoptic,
    inner_point,
    paint_panoptic,
    segment_colors,
    segment_names,
)
from pfpn.predict import Prediction
from pfpn.quality import (
    MATCH_IOU,
    ClassQuality,
    GroupQuality,
    PanopticQuality,
    PanopticResult,
    SemanticQuality,
    count_overlaps,
    match_segments,
)
from pfpn.structures import (
    VOID,
    Category,
    Detections,
    Panoptic,
    Sample,
    Segment,
    stuff,
    things,
)

Status = Literal["TP", "FP", "FN", "ignored", "crowd"]

# The color of each status; the word stands beside it, so color is never alone.
STATUS_COLORS: dict[Status, str] = {
    "TP": "#009e73",
    "FP": "#cc79a7",
    "FN": "#d55e00",
    "ignored": "0.45",
    "crowd": "0.45",
}
SCORE_COLORS = {"PQ": "#222222", "mean IoU": "#56b4e9", "mask AP": "#e69f00"}
HALO = [withStroke(linewidth=2.2, foreground="white")]
DARK_HALO = [withStroke(linewidth=2.2, foreground="black")]
REACH = 24  # pixels: how far the curve of a moved segment goes
SHIFT = 3  # pixels that "shifted" moves a thing
RIM = 2  # pixels that "doubled" leaves of a second detection


# Data -------------------------------------------------------------------------------------------


def panoptic_from_letters(text: str, categories: Sequence[Category], **classes: str) -> Panoptic:
    """Make a small map from letters: rows are parted by spaces, a dot is void.

    Example: `panoptic_from_letters("aab aa.", categories, a="car", b="sky")`. The class in capital
    letters makes a crowd. Ids follow the order in which the letters are named.
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
    painted = set("".join(rows))
    segments = tuple(
        Segment(ids[letter], *labels[name.lower()], is_crowd=name.isupper())
        for letter, name in classes.items()
        if letter in painted
    )
    return Panoptic(torch.tensor([[ids[letter] for letter in row] for row in rows]), segments)


def iou_table(gt: Panoptic, found: Panoptic) -> Float[np.ndarray, "n m"]:
    """Return the IoU of every true segment (row) with every found one (column).

    By the rule of the match: void pixels of the truth leave the union. NaN where the two cannot
    match: another class, or a crowd.
    """
    overlaps = count_overlaps(gt.id_map, found.id_map)
    table = np.full((len(gt.segments), len(found.segments)), np.nan)
    for i, truth in enumerate(gt.segments):
        for j, guess in enumerate(found.segments):
            same = (truth.label, truth.is_thing) == (guess.label, guess.is_thing)
            if truth.is_crowd or not same:
                continue
            both = overlaps.pairs.get((truth.id, guess.id), 0)
            on_void = overlaps.pairs.get((VOID, guess.id), 0)
            whole = overlaps.gt_areas[truth.id] + overlaps.found_areas[guess.id]
            table[i, j] = both / (whole - both - on_void)
    return table


def statuses(gt: Panoptic, found: Panoptic) -> tuple[dict[int, Status], dict[int, Status]]:
    """Return what became of each segment, by its id: of the truth, and of the found map."""
    matches = match_segments(gt, found)
    of_gt: dict[int, Status] = {truth.id: "TP" for truth, _, _ in matches.pairs}
    of_found: dict[int, Status] = {guess.id: "TP" for _, guess, _ in matches.pairs}
    of_gt |= {segment.id: "FN" for segment in matches.false_negatives}
    of_gt |= {segment.id: "crowd" for segment in gt.segments if segment.is_crowd}
    of_found |= {segment.id: "FP" for segment in matches.false_positives}
    for segment in found.segments:
        of_found.setdefault(segment.id, "ignored")
    return of_gt, of_found


def move_segment(panoptic: Panoptic, segment_id: int, dx: int, dy: int) -> Panoptic:
    """Move one segment to the right and down, over all others; what it leaves is void.

    Others that it hides wholly are gone from the list, and so is itself outside of the image.
    """
    mask = _shifted(panoptic.id_map == segment_id, dx, dy)
    id_map = panoptic.id_map.masked_fill(panoptic.id_map == segment_id, VOID)
    return _listed(id_map.masked_fill(mask, segment_id), panoptic.segments)


def moved_iou(panoptic: Panoptic, segment_id: int, dx: int, dy: int) -> float:
    """Return the IoU of a segment with itself moved; the truth's void leaves the union."""
    mask = panoptic.id_map == segment_id
    moved = _shifted(mask, dx, dy) & (panoptic.id_map != VOID)
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
    """Keep in the list what has a pixel."""
    present = set(id_map.unique().tolist())
    return Panoptic(id_map, tuple(segment for segment in segments if segment.id in present))


def _shift_things(truth: Panoptic, _categories: Sequence[Category]) -> Panoptic:
    id_map = truth.id_map
    for segment in truth.segments:
        if segment.is_thing:
            id_map = id_map.masked_fill(truth.id_map == segment.id, VOID)
    for segment in truth.segments:
        if segment.is_thing:
            id_map = id_map.masked_fill(_shifted(truth.id_map == segment.id, SHIFT, 0), segment.id)
    return _listed(id_map, truth.segments)


def _shrink_things(truth: Panoptic, _categories: Sequence[Category]) -> Panoptic:
    id_map = truth.id_map
    for segment in truth.segments:
        if segment.is_thing:
            mask = truth.id_map == segment.id
            id_map = id_map.masked_fill(mask & grow(~mask, 1), VOID)
    return _listed(id_map, truth.segments)


def _split_things(truth: Panoptic, _categories: Sequence[Category]) -> Panoptic:
    id_map, segments = truth.id_map, list(truth.segments)
    for segment in truth.segments:
        if segment.is_thing:
            mask = truth.id_map == segment.id
            columns = mask.nonzero()[:, 1]
            right = mask & (torch.arange(mask.shape[1]) > columns.float().median())
            segments.append(replace(segment, id=_free_id(segments)))
            id_map = id_map.masked_fill(right, segments[-1].id)
    return _listed(id_map, segments)


def _merge_things(truth: Panoptic, _categories: Sequence[Category]) -> Panoptic:
    id_map = truth.id_map
    first: dict[int, int] = {}
    for segment in truth.segments:
        if segment.is_thing:
            number = first.setdefault(segment.label, segment.id)
            id_map = id_map.masked_fill(truth.id_map == segment.id, number)
    return _listed(id_map, truth.segments)


def _drop_things(truth: Panoptic, _categories: Sequence[Category]) -> Panoptic:
    id_map = truth.id_map
    for segment in _every_third(truth):
        id_map = id_map.masked_fill(truth.id_map == segment.id, VOID)
    return _listed(id_map, truth.segments)


def _double_things(truth: Panoptic, _categories: Sequence[Category]) -> Panoptic:
    things_there = [segment for segment in truth.segments if segment.is_thing]
    taken = torch.zeros_like(truth.id_map, dtype=torch.bool)
    for segment in things_there:
        taken |= truth.id_map == segment.id
    id_map, segments = truth.id_map, list(truth.segments)
    for segment in things_there:
        rim = grow(truth.id_map == segment.id, RIM) & ~taken
        segments.append(replace(segment, id=_free_id(segments), score=0.6))
        id_map = id_map.masked_fill(rim, segments[-1].id)
        taken |= rim
    return _listed(id_map, segments)


def _rename_things(truth: Panoptic, categories: Sequence[Category]) -> Panoptic:
    num = len(things(categories))
    wrong = {segment.id for segment in _every_third(truth)}
    segments = tuple(
        replace(segment, label=(segment.label + 1) % num) if segment.id in wrong else segment
        for segment in truth.segments
    )
    return Panoptic(truth.id_map, segments)


def _rename_stuff(truth: Panoptic, categories: Sequence[Category]) -> Panoptic:
    """The two largest kinds of stuff in the image swap names."""
    areas = count_overlaps(truth.id_map, truth.id_map).gt_areas
    largest = sorted(
        (segment for segment in truth.segments if not segment.is_thing),
        key=lambda segment: -areas[segment.id],
    )[:2]
    names = dict(zip((s.id for s in largest), (s.label for s in reversed(largest)), strict=True))
    segments = tuple(
        replace(segment, label=names.get(segment.id, segment.label)) for segment in truth.segments
    )
    return Panoptic(truth.id_map, segments)


# Each kind of mistake, made from the truth alone: (what happens, how).
ERRORS: dict[str, tuple[str, Callable[[Panoptic, Sequence[Category]], Panoptic]]] = {
    "shifted": (f"every thing {SHIFT} pixels to the right", _shift_things),
    "shrunk": ("every thing loses a rim of 1 pixel", _shrink_things),
    "split": ("every thing falls into two halves", _split_things),
    "merged": ("all things of a class are one", _merge_things),
    "dropped": ("every third thing is not found", _drop_things),
    "doubled": (f"a second, unsure find: a rim of {RIM} pixels", _double_things),
    "renamed": ("every third thing has a wrong class", _rename_things),
    "stuff swapped": ("the two largest regions swap names", _rename_stuff),
}


def make_error(kind: str, truth: Panoptic, categories: Sequence[Category]) -> Panoptic:
    """Return the truth with one kind of mistake in it, a key of ERRORS."""
    if kind not in ERRORS:
        raise ValueError(f"make_error: found {kind!r}, expected one of {', '.join(ERRORS)}")
    return ERRORS[kind][1](truth, categories)


def grow(mask: Bool[Tensor, "h w"], pixels: int) -> Bool[Tensor, "h w"]:
    """Add a rim to a mask: every pixel at most that many away, along rows, columns, diagonals."""
    side = 2 * pixels + 1
    return F.max_pool2d(mask.float()[None, None], side, stride=1, padding=pixels)[0, 0] > 0.5


def _every_third(truth: Panoptic) -> list[Segment]:
    return [segment for segment in truth.segments if segment.is_thing][::3]


def _free_id(segments: Sequence[Segment]) -> int:
    return 1 + max(segment.id for segment in segments)


@dataclass(frozen=True, slots=True)
class Scores:
    """Three ways to score the same panoptic maps, in [0, 1]."""

    pq: float
    sq: float
    rq: float
    miou: float
    mask_ap: float

    def by_name(self) -> dict[str, float]:
        """Return the three that are compared, by the names that figures use."""
        return {"PQ": self.pq, "mean IoU": self.miou, "mask AP": self.mask_ap}


def score_maps(
    samples: Sequence[Sample], maps: Sequence[Panoptic], categories: Sequence[Category]
) -> Scores:
    """Score panoptic maps as PQ does, as semantic segmentation does, and as instances are scored.

    AP sees the things of the map with the scores of their segments, mean IoU the class of each
    pixel. All three see the same pixels.
    """
    panoptic = PanopticQuality(categories)
    semantic = SemanticQuality([c.name for c in (*things(categories), *stuff(categories))])
    precision = PrecisionCollector()
    num_things = len(things(categories))
    for index, (sample, found) in enumerate(zip(samples, maps, strict=True)):
        panoptic.update(sample.panoptic, found)
        semantic.update(
            to_label_map(sample.panoptic, num_things, all_classes=True),
            to_label_map(found, num_things, all_classes=True),
        )
        precision.update(index, sample, as_prediction(found))
    group = panoptic.result().all or GroupQuality(0, 0, 0, 0)
    ap = precision.result([c.name for c in things(categories)]).get("mask_ap", 0.0)
    return Scores(group.pq, group.sq, group.rq, semantic.result().miou or 0.0, ap)


def as_prediction(panoptic: Panoptic) -> Prediction:
    """Return the things of a map as detections whose masks paste back to the same pixels.

    Each mask travels on a grid over a square from the image's corner with one cell a pixel. The
    boxes are that square, so box AP would mean nothing.
    """
    height, width = panoptic.id_map.shape
    side = max(height, width)
    found = [segment for segment in panoptic.segments if segment.is_thing]
    ids = torch.tensor([segment.id for segment in found], dtype=torch.int64)
    masks = (panoptic.id_map == ids.view(-1, 1, 1)).float()
    detections = Detections(
        boxes=torch.tensor([[0.0, 0.0, side, side]]).repeat(len(found), 1),
        scores=torch.tensor([segment.score for segment in found]),
        labels=torch.tensor([segment.label for segment in found], dtype=torch.int64),
        mask_probs=F.pad(masks, (0, side - width, 0, side - height)),
    )
    return Prediction(panoptic, detections, torch.zeros_like(panoptic.id_map))


def measure_errors(samples: Sequence[Sample], categories: Sequence[Category]) -> dict[str, Scores]:
    """Score the truth with each kind of mistake in it, by the names of ERRORS."""
    return {
        kind: score_maps(
            samples, [make_error(kind, s.panoptic, categories) for s in samples], categories
        )
        for kind in ERRORS
    }


@dataclass(frozen=True, slots=True)
class TrueSegment:
    """One true segment of a data set, and the best that was found for it."""

    category: Category
    area: int  # pixels
    iou: float  # with the found segment of its class that overlaps it most; 0 without one
    image: int  # its place in the list

    @property
    def is_matched(self) -> bool:
        """Whether it counts as found."""
        return self.iou > MATCH_IOU


def true_segments(
    samples: Sequence[Sample], maps: Sequence[Panoptic], categories: Sequence[Category]
) -> list[TrueSegment]:
    """Return every true segment that is no crowd, with its best IoU."""
    rows = []
    for image, (sample, found) in enumerate(zip(samples, maps, strict=True)):
        table = iou_table(sample.panoptic, found)
        areas = count_overlaps(sample.panoptic.id_map, found.id_map).gt_areas
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


# Matching ---------------------------------------------------------------------------------------


def plot_matching(gt: Panoptic, found: Panoptic, categories: Sequence[Category]) -> Figure:
    """Draw two small maps pixel by pixel, and between them the IoU of every pair of segments."""
    height, width = gt.id_map.shape
    rows = max(height, 0.62 * (len(gt.segments) + 1))
    figure = Figure(figsize=(9, min(4.2, max(2.0, 0.9 + 2.6 * rows / max(width, 5)))))
    figure.set_layout_engine("constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.2, 1, 1.2))
    of_gt, of_found = statuses(gt, found)
    _draw_cells(left, gt, categories, of_gt, "truth")
    _draw_cells(right, found, categories, of_found, "found")
    _draw_table(middle, gt, found, categories)
    return figure


def describe_matching(gt: Panoptic, found: Panoptic, categories: Sequence[Category]) -> str:
    """Say who is matched with whom, and what became of the others."""
    gt_names, found_names = segment_names(gt, categories), segment_names(found, categories)
    matches = match_segments(gt, found)
    parts = [
        f"{gt_names[truth.id]} is matched with IoU {iou:.3f}" for truth, _, iou in matches.pairs
    ]
    groups = (
        ("false positives", found_names, matches.false_positives),
        ("false negatives", gt_names, matches.false_negatives),
        ("ignored", found_names, [s for s in matches.ignored if not s.is_crowd]),
        ("crowds", gt_names, [s for s in matches.ignored if s.is_crowd]),
    )
    for title, names, segments in groups:
        if segments:
            parts.append(f"{title}: {', '.join(names[segment.id] for segment in segments)}")
    height, width = gt.id_map.shape
    return (
        f"Truth and found map, {height} by {width} pixels, with a table of IoUs between them. "
        f"{'; '.join(parts)}."
    )


def _draw_cells(
    axes: Any,
    panoptic: Panoptic,
    categories: Sequence[Category],
    status: Mapping[int, Status],
    title: str,
) -> None:
    height, width = panoptic.id_map.shape
    blank = torch.zeros(3, height, width, dtype=torch.uint8)
    painted = paint_panoptic(blank, panoptic, categories, alpha=1, outlines=False)
    axes.imshow(painted, interpolation="nearest", extent=(0, width, height, 0))
    for column in range(1, width):
        axes.axvline(column, color="white", linewidth=0.4, alpha=0.6)
    for row in range(1, height):
        axes.axhline(row, color="white", linewidth=0.4, alpha=0.6)
    ids = panoptic.id_map.cpu().numpy()
    x, y = border_lines(ids)
    axes.plot(x, y, color="white", linewidth=2.5, solid_capstyle="projecting")
    axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    axes.set_title(title, fontsize=10)
    colors, names = segment_colors(panoptic, categories), segment_names(panoptic, categories)
    for segment in panoptic.segments:
        top, left = _middle(ids == segment.id)
        ink = ink_on(colors[segment.id])
        axes.text(
            left + 0.5, top + 0.5, f"{names[segment.id]}\n{status[segment.id]}",
            color=ink, fontsize=7.5, ha="center", va="center", fontweight="bold",
            path_effects=DARK_HALO if ink == "white" else HALO,
        )  # fmt: skip
    if (ids == VOID).any():
        top, left = _middle(ids == VOID)
        axes.text(
            left + 0.5, top + 0.5, "void",
            color=ink_on(VOID_COLOR), fontsize=8, ha="center", va="center", fontstyle="italic",
        )  # fmt: skip


def _middle(mask: Bool[np.ndarray, "h w"]) -> tuple[float, float]:
    """Return row and column of the middle of a mask, or of a pixel inside where that is outside."""
    rows, columns = np.nonzero(mask)
    row, column = float(rows.mean()), float(columns.mean())
    return (row, column) if mask[round(row), round(column)] else inner_point(mask)


def _draw_table(axes: Any, gt: Panoptic, found: Panoptic, categories: Sequence[Category]) -> None:
    """Write the IoUs into squares: green where it is a match, hatched where it cannot be."""
    table = iou_table(gt, found)
    rows, columns = table.shape
    for i in range(rows):
        for j in range(columns):
            iou = table[i, j]
            is_match = bool(iou > MATCH_IOU)
            face = STATUS_COLORS["TP"] if is_match else "white"
            hatch = "////" if np.isnan(iou) else None
            axes.add_patch(
                Rectangle((j, i), 1, 1, facecolor=face, edgecolor="0.75", hatch=hatch, linewidth=1)
            )
            if not np.isnan(iou):
                weight = "bold" if is_match else "normal"
                ink = "white" if is_match else "black"
                text = "0" if iou == 0 else f"{iou:.2f}"
                axes.text(j + 0.5, i + 0.5, text, color=ink, fontsize=9, fontweight=weight,
                          ha="center", va="center")  # fmt: skip
    axes.set(xlim=(0, max(columns, 1)), ylim=(max(rows, 1), 0))
    gt_names, found_names = segment_names(gt, categories), segment_names(found, categories)
    axes.set_xticks(np.arange(columns) + 0.5, [found_names[s.id] for s in found.segments])
    axes.set_yticks(np.arange(rows) + 0.5, [gt_names[s.id] for s in gt.segments])
    axes.tick_params(length=0, labelsize=8)
    axes.set_title("IoU (hatched: cannot match)", fontsize=10)
    for side in axes.spines.values():
        side.set_visible(False)


# A segment that moves ---------------------------------------------------------------------------


def plot_moved(
    sample: Sample, segment_id: int, categories: Sequence[Category], dx: int = 0, dy: int = 0
) -> Figure:
    """Draw the truth with one segment moved, and what its IoU and its share in PQ are on the way.

    Left, the found map with the true outline of the moved segment. Right, IoU and share over all
    ways to the side at this `dy`, in pixels, and where we stand.
    """
    found = move_segment(sample.panoptic, segment_id, dx, dy)
    height, width = sample.panoptic.id_map.shape
    figure = Figure(figsize=(9, 3.3))  # a fixed layout is quicker than a fitted one
    left, right = figure.subplots(1, 2, width_ratios=(1.3, 1))
    figure.subplots_adjust(0.01, 0.14, 0.985, 0.91, 0.15)
    painted = paint_panoptic(sample.image, found, categories, alpha=0.55, outlines=False)
    left.imshow(painted, interpolation="nearest", extent=(0, width, height, 0))
    of_gt, of_found = statuses(sample.panoptic, found)
    status = of_gt[segment_id]
    for ids, color, line, label in (
        (sample.panoptic.id_map, "white", "-", "truth"),
        (found.id_map, "black", "-", "found"),
    ):
        x, y = border_lines((ids == segment_id).numpy())
        left.plot(x, y, color=color, linestyle=line, linewidth=2, label=label)
    left.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    left.legend(fontsize=8, loc="upper right", facecolor="0.75", framealpha=0.9)
    iou = moved_iou(sample.panoptic, segment_id, dx, dy)
    result = _quality_of(sample, found, categories)
    name = segment_names(sample.panoptic, categories)[segment_id]
    found_as = {"TP": "one TP", "FN": "one FN"}[status] + (
        " and one FP" if of_found.get(segment_id) == "FP" else ""
    )
    left.set_title(
        f"{name}: IoU {iou:.3f}, {found_as}; PQ of the image {100 * result:.1f}", fontsize=10
    )

    ways = np.arange(-REACH, REACH + 1)
    ious = np.array([moved_iou(sample.panoptic, segment_id, int(way), dy) for way in ways])
    share = np.where(ious > MATCH_IOU, ious, 0.0)
    right.plot(ways, ious, color="0.55", linewidth=1.2, linestyle="--", label="IoU")
    right.step(ways, share, where="mid", color="#222222", linewidth=2, label="what PQ adds up")
    right.axhline(MATCH_IOU, color=STATUS_COLORS["FN"], linewidth=1, linestyle=":")
    right.text(REACH, MATCH_IOU + 0.015, "0.5", color=STATUS_COLORS["FN"], ha="right", fontsize=8)
    right.plot([dx], [iou if iou > MATCH_IOU else 0.0], "o", color=STATUS_COLORS[status], ms=9)
    right.set(
        xlabel=f"moved to the right (pixels), {dy} down", ylabel="IoU", ylim=(-0.04, 1.04),
        xlim=(-REACH, REACH),
    )  # fmt: skip
    right.legend(fontsize=8, loc="upper left")
    return figure


def describe_moved(
    sample: Sample, segment_id: int, categories: Sequence[Category], ways: Sequence[int]
) -> str:
    """Say what becomes of a segment that is moved to the right by several ways, in pixels."""
    name = segment_names(sample.panoptic, categories)[segment_id]
    parts = []
    for way in ways:
        found = move_segment(sample.panoptic, segment_id, way, 0)
        iou = moved_iou(sample.panoptic, segment_id, way, 0)
        verdict = "a match" if iou > MATCH_IOU else "a miss and a false find"
        pq = 100 * _quality_of(sample, found, categories)
        parts.append(f"by {way} pixels IoU {iou:.3f}, {verdict}, PQ of the image {pq:.1f}")
    return f"A street in which {name} is moved to the right: {'; '.join(parts)}."


def _quality_of(sample: Sample, found: Panoptic, categories: Sequence[Category]) -> float:
    quality = PanopticQuality(categories)
    quality.update(sample.panoptic, found)
    group = quality.result().all
    return group.pq if group else 0.0


# Mistakes of a model ----------------------------------------------------------------------------


def plot_mistakes(sample: Sample, found: Panoptic, categories: Sequence[Category]) -> Figure:
    """Draw truth and found map; outline each thing by what became of it, IoU written on matches."""
    height, width = sample.panoptic.id_map.shape
    figure = Figure(figsize=(9, 9 * height / width / 2 + 0.75), layout="constrained")
    left, right = figure.subplots(1, 2)
    of_gt, of_found = statuses(sample.panoptic, found)
    ious = {guess.id: iou for _, guess, iou in match_segments(sample.panoptic, found).pairs}
    for axes, panoptic, status, title in (
        (left, sample.panoptic, of_gt, "truth"),
        (right, found, of_found, "found"),
    ):
        draw_panoptic(axes, sample.image, panoptic, categories, alpha=0.45, title=title)
        ids = panoptic.id_map.cpu().numpy()
        for segment in panoptic.segments:
            if not segment.is_thing:
                continue
            color = STATUS_COLORS[status[segment.id]]
            x, y = border_lines(ids == segment.id)
            axes.plot(x, y, color="white", linewidth=3.6)
            axes.plot(x, y, color=color, linewidth=2.2)
            row, column = inner_point(ids == segment.id)
            text = f"{ious[segment.id]:.2f}" if segment.id in ious and axes is right else ""
            text = text or ("" if status[segment.id] == "TP" else status[segment.id])
            axes.text(column + 0.5, row + 0.5, text, fontsize=9, fontweight="bold", color=color,
                      ha="center", va="center", path_effects=HALO)  # fmt: skip
    words: dict[Status, str] = {
        "TP": "TP: matched (IoU on the right)",
        "FN": "FN: there, not found",
        "FP": "FP: found, not there",
        "ignored": "ignored: mostly on void",
    }
    handles = [
        Line2D([], [], color=STATUS_COLORS[status], linewidth=2.5, label=label)
        for status, label in words.items()
        if status in (*of_gt.values(), *of_found.values())
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return figure


def describe_mistakes(sample: Sample, found: Panoptic, categories: Sequence[Category]) -> str:
    """Say how many things are matched, and name those that are not, with their sizes."""
    matches = match_segments(sample.panoptic, found)
    overlaps = count_overlaps(sample.panoptic.id_map, found.id_map)
    gt_names = segment_names(sample.panoptic, categories)
    found_names = segment_names(found, categories)
    matched = sum(truth.is_thing for truth, _, _ in matches.pairs)
    total = sum(segment.is_thing for segment in sample.panoptic.segments)
    missed = [
        f"{gt_names[s.id]} ({overlaps.gt_areas[s.id]} pixels)" for s in matches.false_negatives
    ]
    false = [
        f"{found_names[s.id]} ({overlaps.found_areas[s.id]} pixels)"
        for s in matches.false_positives
    ]
    return (
        f"Truth and found map of a street, things outlined: {matched} of {total} things are "
        f"matched. Missed: {', '.join(missed) or 'none'}. False: {', '.join(false) or 'none'}."
    )


# What mistakes cost -----------------------------------------------------------------------------


def plot_errors(
    sample: Sample, scores: Mapping[str, Scores], categories: Sequence[Category]
) -> Figure:
    """Draw each kind of mistake on one street, and under it what three scores say over all.

    Args:
        sample: the street that is shown.
        scores: of `measure_errors`.
        categories: of the labels.
    """
    columns = 4
    rows = -(-len(scores) // columns)
    figure = Figure(figsize=(9.4, 2.75 * rows), layout="constrained")
    grid = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=(1.5, 1) * rows)
    for axes in grid.flat:
        axes.set_axis_off()
    for place, (kind, score) in enumerate(scores.items()):
        row, column = divmod(place, columns)
        picture, bars = grid[2 * row][column], grid[2 * row + 1][column]
        wrong = make_error(kind, sample.panoptic, categories)
        draw_panoptic(picture, sample.image, wrong, categories, alpha=0.8)
        picture.set_title(f"{kind}\n", fontsize=10, fontweight="bold")
        picture.text(0.5, 1.02, ERRORS[kind][0], fontsize=7.5, transform=picture.transAxes,
                     ha="center", va="bottom")  # fmt: skip
        picture.set_axis_on()
        for y, (name, value) in enumerate(score.by_name().items()):
            bars.barh(y, 100 * value, color=SCORE_COLORS[name], height=0.75)
            bars.text(-3, y, name, ha="right", va="center", fontsize=8)
            bars.text(
                100 * value + 2, y, f"{100 * value:.1f}", va="center", fontsize=8,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
            )  # fmt: skip
        bars.set(xlim=(-48, 122), ylim=(2.6, -0.6))
        bars.axvline(100, ymin=0.05, ymax=0.95, color="0.8", linewidth=0.8, zorder=0)
    return figure


def describe_errors(scores: Mapping[str, Scores]) -> str:
    """Say what the three scores are for each kind of mistake, in percent."""
    parts = [
        f"{kind}: "
        + ", ".join(f"{name} {100 * value:.1f}" for name, value in score.by_name().items())
        for kind, score in scores.items()
    ]
    return f"One street with each kind of mistake, and three scores under it. {'; '.join(parts)}."


# A score by class and by size -------------------------------------------------------------------


def plot_class_quality(result: PanopticResult) -> Figure:
    """Draw PQ, SQ and RQ of each class on one line, the best class on top, and the means below."""
    entries = sorted((e for e in result.per_class if e.counts), key=lambda e: e.pq)
    colors = class_colors([entry.category for entry in entries])
    groups = [("all", result.all), ("stuff", result.stuff), ("things", result.things)]
    rows: list[tuple[str, GroupQuality | ClassQuality, str]]
    rows = [(f"mean of {name}", group, "white") for name, group in groups if group is not None]
    rows += [(e.category.name, e, to_hex(colors[e.category.id])) for e in entries]
    figure = Figure(figsize=(8, 0.9 + 0.29 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for y, (_, quality, color) in enumerate(rows):
        pq, sq, rq = (100 * value for value in (quality.pq, quality.sq, quality.rq))
        axes.plot([min(pq, sq, rq), max(pq, sq, rq)], [y, y], color="0.75", linewidth=1.5, zorder=1)
        axes.plot([rq], [y], "o", color="black", markersize=8, markerfacecolor="none")
        axes.plot([sq], [y], "D", color="black", markersize=5.5)
        axes.plot([pq], [y], "s", color=color, markeredgecolor="black", markersize=9.5, zorder=3)
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    num_groups = sum(group is not None for _, group in groups)
    axes.axhline(num_groups - 0.5, color="0.6", linewidth=0.8)
    axes.set(xlabel="percent", ylim=(-0.7, len(rows) - 0.3))
    axes.grid(axis="x", color="0.92")
    axes.set_axisbelow(True)
    handles = [
        Line2D([], [], linestyle="", marker="s", color="white", markeredgecolor="black",
               markersize=9, label="PQ"),
        Line2D([], [], linestyle="", marker="D", color="black", markersize=5.5,
               label="SQ: how well matches overlap"),
        Line2D([], [], linestyle="", marker="o", color="black", markerfacecolor="none",
               markersize=8, label="RQ: F1 of finding"),
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside upper center", ncols=3, fontsize=9, frameon=False)
    return figure


def describe_class_quality(result: PanopticResult) -> str:
    """Say the SQ, RQ and PQ of each class, in percent."""
    parts = [
        f"{e.category.name} SQ {100 * e.sq:.1f}, RQ {100 * e.rq:.1f}, PQ {100 * e.pq:.1f}"
        for e in result.per_class
        if e.counts
    ]
    parts += [
        f"mean of {name} SQ {100 * g.sq:.1f}, RQ {100 * g.rq:.1f}, PQ {100 * g.pq:.1f}"
        for name, g in (("things", result.things), ("stuff", result.stuff), ("all", result.all))
        if g is not None
    ]
    return f"PQ, SQ and RQ of every class, one line each: {'; '.join(parts)}."


def plot_sizes(rows: Sequence[TrueSegment]) -> Figure:
    """Draw the best IoU of every true segment over its area; hollow where it is not matched."""
    figure = Figure(figsize=(9, 3.9), layout="constrained")
    axes = figure.subplots()
    colors = class_colors(list({row.category.id: row.category for row in rows}.values()))
    for row in rows:
        color = to_hex(colors[row.category.id])
        axes.plot(
            [row.area], [row.iou], "o" if row.category.is_thing else "s", color=color,
            markerfacecolor=color if row.is_matched else "none", markersize=6,
            markeredgecolor="black" if row.is_matched else color,
            markeredgewidth=0.6 if row.is_matched else 1.8, alpha=0.9,
        )  # fmt: skip
    areas = np.geomspace(min(row.area for row in rows) * 0.8, max(row.area for row in rows) * 1.2)
    axes.plot(areas, disc_iou(areas), color="black", linewidth=1.2)
    middle = float(areas[len(areas) // 8])
    axes.annotate(
        "a disc that lost a rim of 1 pixel", (middle, float(disc_iou(np.array([middle]))[0])),
        xytext=(14, -42), textcoords="offset points", fontsize=8,
        arrowprops={"arrowstyle": "-", "linewidth": 0.8},
    )  # fmt: skip
    axes.axhline(MATCH_IOU, color=STATUS_COLORS["FN"], linewidth=1, linestyle=":")
    axes.text(areas[-1], MATCH_IOU - 0.02, "a match is above 0.5", fontsize=8, ha="right", va="top",
              color=STATUS_COLORS["FN"])  # fmt: skip
    axes.set(
        xscale="log", xlabel="area of the true segment (pixels)", ylabel="IoU of the best find",
        ylim=(-0.04, 1.03),
    )  # fmt: skip
    present = list({row.category.id: row.category for row in rows}.values())
    handles = [
        Line2D([], [], linestyle="", marker="o" if c.is_thing else "s", label=c.name,
               color=to_hex(colors[c.id]), markeredgecolor="black", markeredgewidth=0.6)
        for c in sorted(present, key=lambda c: c.id)
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside right center", fontsize=8, frameon=False)
    return figure


def describe_sizes(rows: Sequence[TrueSegment]) -> str:
    """Say how well the smaller and the larger half of the true things are found."""
    thing_rows = sorted((row for row in rows if row.category.is_thing), key=lambda row: row.area)
    half = len(thing_rows) // 2
    parts = []
    for name, part in (("smaller", thing_rows[:half]), ("larger", thing_rows[half:])):
        matched = [row.iou for row in part if row.is_matched]
        mean = sum(matched) / max(1, len(matched))
        parts.append(
            f"of the {name} half ({part[0].area} to {part[-1].area} pixels) {len(matched)} of "
            f"{len(part)} are matched, with a mean IoU of {mean:.2f}"
        )
    return f"IoU of every true segment over its area: among the things, {' and '.join(parts)}."
