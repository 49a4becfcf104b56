"""Panoptic quality in pictures: which segments match, and what each kind of mistake costs.

Each `plot_*` has a `describe_*` beside it that returns the same in words and numbers.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from pfpn.course.ch10_quality.numbers import (
    ERRORS,
    MaskIoU,
    Scores,
    TrueSegment,
    disc_iou,
    iou_table,
    make_error,
    move_segment,
    moved_iou,
)
from pfpn.plot.mistakes import STATUS_COLORS, Status, statuses
from pfpn.plot.palette import VOID_COLOR, class_colors, ink_on, segment_colors, to_hex
from pfpn.plot.panoptic import (
    draw_outline,
    draw_panoptic,
    image_quality,
    inner_point,
    paint_panoptic,
    segment_names,
)
from pfpn.plot.style import (
    INK,
    ORANGE,
    SKY,
    add_legend,
    center_text,
    draw_grid,
    halo,
    legend_below,
    show_pixels,
    subplots,
)
from pfpn.quality import MATCH_IOU, ClassQuality, GroupQuality, PanopticResult, match_segments
from pfpn.structures import VOID, Category, Panoptic, Sample

SCORE_COLORS = {"PQ": INK, "mean IoU": SKY, "mask AP": ORANGE}
SQ_MARKER: dict[str, Any] = {"color": "black", "markersize": 6, "markeredgecolor": "white"}
RQ_MARKER: dict[str, Any] = {"color": "black", "markersize": 13, "markerfacecolor": "none"}
REACH = 24  # pixels: how far the curve of a moved segment goes


# Matching ---------------------------------------------------------------------------------------


def plot_matching(gt: Panoptic, prediction: Panoptic, categories: Sequence[Category]) -> Figure:
    """Draw two small maps pixel by pixel, and between them the IoU of every pair of segments."""
    height, width = gt.id_map.shape
    rows = max(height, 0.62 * (len(gt.segments) + 1))
    tall = min(4.2, max(2.0, 0.9 + 2.6 * rows / max(width, 5)))
    figure, (left, middle, right) = subplots(9, tall, 1, 3, width_ratios=(1.2, 1, 1.2))
    of_gt, of_prediction = statuses(gt, prediction)
    _draw_cells(left, gt, categories, of_gt, "truth")
    _draw_cells(right, prediction, categories, of_prediction, "prediction")
    _draw_table(middle, gt, prediction, categories)
    return figure


def describe_matching(gt: Panoptic, prediction: Panoptic, categories: Sequence[Category]) -> str:
    """Return the matches, and the segments that are missed, false or ignored, in words."""
    gt_names, other_names = segment_names(gt, categories), segment_names(prediction, categories)
    matches = match_segments(gt, prediction)
    parts = [
        f"{gt_names[truth.id]} is matched with IoU {iou:.3f}" for truth, _, iou in matches.pairs
    ]
    groups = (
        ("false positives", other_names, matches.false_positives),
        ("false negatives", gt_names, matches.false_negatives),
        ("ignored", other_names, [s for s in matches.ignored if not s.is_crowd]),
        ("crowds", gt_names, [s for s in matches.ignored if s.is_crowd]),
    )
    for title, names, segments in groups:
        if segments:
            parts.append(f"{title}: {', '.join(names[segment.id] for segment in segments)}")
    height, width = gt.id_map.shape
    return (
        f"Truth and prediction, {height} by {width} pixels, with a table of IoUs between them. "
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
    show_pixels(axes, painted, title, fontsize=10)
    for draw, number in ((axes.axvline, width), (axes.axhline, height)):
        for position in range(1, number):
            draw(position, color="white", linewidth=0.4, alpha=0.6)
    ids = panoptic.id_map.cpu().numpy()
    draw_outline(axes, ids, color="white", linewidth=2.5, solid_capstyle="projecting")
    colors, names = segment_colors(panoptic, categories), segment_names(panoptic, categories)
    for segment in panoptic.segments:
        ink = ink_on(colors[segment.id])
        x, y = _middle(ids == segment.id)
        center_text(
            axes, x, y, f"{names[segment.id]}\n{status[segment.id]}",
            color=ink, fontsize=7.5, fontweight="bold",
            path_effects=halo(color="black" if ink == "white" else "white"),
        )  # fmt: skip
    if (ids == VOID).any():
        x, y = _middle(ids == VOID)
        center_text(axes, x, y, "void", color=ink_on(VOID_COLOR), fontstyle="italic")


def _middle(mask: Bool[np.ndarray, "h w"]) -> tuple[float, float]:
    """Return x and y of the middle of a mask, or of a pixel inside where the middle is outside."""
    rows, columns = np.nonzero(mask)
    row, column = float(rows.mean()), float(columns.mean())
    if not mask[round(row), round(column)]:
        row, column = inner_point(mask)
    return column + 0.5, row + 0.5


def _draw_table(
    axes: Any, gt: Panoptic, prediction: Panoptic, categories: Sequence[Category]
) -> None:
    """Write the IoUs into squares: green where it is a match, hatched where it cannot be."""
    table = iou_table(gt, prediction)
    rows, columns = table.shape
    for (i, j), iou in np.ndenumerate(table):
        is_match, is_empty = bool(iou > MATCH_IOU), bool(np.isnan(iou))
        face = STATUS_COLORS["TP"] if is_match else "white"
        hatch = "////" if is_empty else None
        axes.add_patch(Rectangle((j, i), 1, 1, facecolor=face, edgecolor="0.75", hatch=hatch))
        if not is_empty:
            ink, weight = ("white", "bold") if is_match else ("black", "normal")
            text = "0" if iou == 0 else f"{iou:.2f}"
            center_text(axes, j + 0.5, i + 0.5, text, color=ink, fontsize=9, fontweight=weight)
    axes.set(xlim=(0, max(columns, 1)), ylim=(max(rows, 1), 0))
    gt_names, other_names = segment_names(gt, categories), segment_names(prediction, categories)
    axes.set_xticks(np.arange(columns) + 0.5, [other_names[s.id] for s in prediction.segments])
    axes.set_yticks(np.arange(rows) + 0.5, [gt_names[s.id] for s in gt.segments])
    axes.tick_params(length=0, labelsize=8)
    axes.set_title("IoU (hatched: cannot match)", fontsize=10)
    axes.spines[:].set_visible(False)


# A segment that moves ---------------------------------------------------------------------------


def plot_moved(
    sample: Sample,
    segment_id: int,
    categories: Sequence[Category],
    dx: int = 0,
    dy: int = 0,
    iou_of: MaskIoU | None = None,
) -> Figure:
    """Draw the truth with one segment moved, and its IoU and its part in PQ on the way.

    `iou_of` is a reader's function of truth, prediction and void that computes the IoU.

    Left, the prediction with the true outline of the moved segment. Right, both numbers over all
    steps to the side at this `dy`, in pixels, with a dot at `dx`.
    """
    moved = move_segment(sample.panoptic, segment_id, dx, dy)
    iou = moved_iou(sample.panoptic, segment_id, dx, dy, iou_of)
    of_gt, of_moved = statuses(sample.panoptic, moved)
    color = STATUS_COLORS[of_gt[segment_id]]
    figure = Figure(figsize=(9, 3.3))  # a fixed layout is quicker than a fitted one
    left, right = figure.subplots(1, 2, width_ratios=(1.3, 1))
    figure.subplots_adjust(0.01, 0.14, 0.985, 0.91, 0.15)
    outcome = {"TP": "one TP", "FN": "one FN"}[of_gt[segment_id]]
    outcome += " and one FP" if of_moved.get(segment_id) == "FP" else ""
    name = segment_names(sample.panoptic, categories)[segment_id]
    pq = 100 * image_quality(sample.panoptic, moved, categories)
    title = f"{name}: IoU {iou:.3f}, {outcome}; PQ of the image {pq:.1f}"
    painted = paint_panoptic(sample.image, moved, categories, alpha=0.55, outlines=False)
    show_pixels(left, painted, title, fontsize=10)
    for panoptic, ink, label in (
        (sample.panoptic, "white", "truth"),
        (moved, "black", "prediction"),
    ):
        mask = (panoptic.id_map == segment_id).numpy()
        draw_outline(left, mask, color=ink, linewidth=2, label=label)
    left.legend(fontsize=8, loc="upper right", facecolor="0.75", framealpha=0.9)

    steps = np.arange(-REACH, REACH + 1)
    ious = np.array(
        [moved_iou(sample.panoptic, segment_id, int(step), dy, iou_of) for step in steps]
    )
    added = np.where(ious > MATCH_IOU, ious, 0.0)
    right.plot(steps, ious, color="0.55", linewidth=1.2, linestyle="--", label="IoU")
    right.step(steps, added, where="mid", color=INK, linewidth=2, label="what PQ adds up")
    _draw_threshold(right)
    right.text(REACH, MATCH_IOU + 0.015, "0.5", color=STATUS_COLORS["FN"], ha="right", fontsize=8)
    right.plot([dx], [iou if iou > MATCH_IOU else 0.0], "o", color=color, ms=9)
    right.set(
        xlabel=f"moved to the right (pixels), {dy} down", ylabel="IoU", ylim=(-0.04, 1.04),
        xlim=(-REACH, REACH),
    )  # fmt: skip
    right.legend(fontsize=8, loc="upper left")
    return figure


def describe_moved(
    sample: Sample, segment_id: int, categories: Sequence[Category], steps: Sequence[int]
) -> str:
    """Return what becomes of a segment moved to the right by several steps, in pixels, in words."""
    name = segment_names(sample.panoptic, categories)[segment_id]
    parts = []
    for step in steps:
        moved = move_segment(sample.panoptic, segment_id, step, 0)
        iou = moved_iou(sample.panoptic, segment_id, step, 0)
        outcome = "a match" if iou > MATCH_IOU else "a miss and a false detection"
        pq = 100 * image_quality(sample.panoptic, moved, categories)
        parts.append(f"by {step} pixels IoU {iou:.3f}, {outcome}, PQ of the image {pq:.1f}")
    return f"A street in which {name} is moved to the right: {'; '.join(parts)}."


def _draw_threshold(axes: Any) -> None:
    axes.axhline(MATCH_IOU, color=STATUS_COLORS["FN"], linewidth=1, linestyle=":")


# What mistakes cost -----------------------------------------------------------------------------


def plot_errors(
    sample: Sample, scores: Mapping[str, Scores], categories: Sequence[Category]
) -> Figure:
    """Draw each kind of mistake on one street, and under it three scores over all streets.

    Args:
        sample: the street that is shown.
        scores: of `measure_errors`.
        categories: of the labels.
    """
    columns = 4
    rows = -(-len(scores) // columns)
    figure, grid = subplots(
        9.4, 2.75 * rows, 2 * rows, columns, squeeze=False, height_ratios=(1.5, 1) * rows
    )
    for axes in grid.flat:
        axes.set_axis_off()
    for index, (kind, score) in enumerate(scores.items()):
        row, column = divmod(index, columns)
        picture, bars = grid[2 * row][column], grid[2 * row + 1][column]
        wrong = make_error(kind, sample.panoptic, categories)
        draw_panoptic(picture, sample.image, wrong, categories, alpha=0.8)
        picture.set_title(f"{kind}\n", fontsize=10, fontweight="bold")
        style = {"fontsize": 7.5, "transform": picture.transAxes, "va": "bottom"}
        center_text(picture, 0.5, 1.02, ERRORS[kind][0], **style)
        picture.set_axis_on()
        for y, (name, value) in enumerate(score.by_name().items()):
            bars.barh(y, 100, color="0.93", height=0.75)  # a full bar is 100
            bars.barh(y, 100 * value, color=SCORE_COLORS[name], height=0.75)
            center_text(bars, -3, y, name, ha="right")
            fits = value > 0.25  # the number, inside of its bar
            ink = "white" if fits and SCORE_COLORS[name] == INK else "black"
            x, side = (100 * value - 2, "right") if fits else (100 * value + 2, "left")
            center_text(bars, x, y, f"{100 * value:.1f}", ha=side, color=ink)
        bars.set(xlim=(-48, 102), ylim=(2.6, -0.6))
    return figure


def describe_errors(scores: Mapping[str, Scores]) -> str:
    """Return the three scores for each kind of mistake, in percent, in words."""
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
    num_groups = len(rows)
    rows += [(e.category.name, e, to_hex(colors[e.category.id])) for e in entries]
    figure, axes = subplots(8, 0.9 + 0.29 * len(rows))
    for y, (_, quality, color) in enumerate(rows):
        pq, sq, rq = (100 * value for value in (quality.pq, quality.sq, quality.rq))
        axes.plot([min(pq, sq, rq), max(pq, sq, rq)], [y, y], color="0.75", linewidth=1.5, zorder=1)
        axes.plot([pq], [y], "s", color=color, markeredgecolor="black", markersize=9.5, zorder=3)
        # Above the square and of another size: at an RQ of 100, SQ equals PQ.
        axes.plot([sq], [y], "D", **SQ_MARKER, zorder=4)
        axes.plot([rq], [y], "o", **RQ_MARKER, zorder=4)
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axes.axhline(num_groups - 0.5, color="0.6", linewidth=0.8)
    axes.set(xlabel="percent", ylim=(-0.7, len(rows) - 0.3))
    draw_grid(axes, axis="x")
    handles = [
        _marker("s", "PQ", color="white", markeredgecolor="black", markersize=9),
        _marker("D", "SQ: how well matches overlap", **SQ_MARKER),
        _marker("o", "RQ: F1 of the segments", **RQ_MARKER),
    ]
    legend_below(figure, handles, loc="outside upper center", ncols=3, fontsize=9)
    return figure


def describe_class_quality(result: PanopticResult) -> str:
    """Return the PQ, SQ and RQ of each class and the means, in percent, in words."""
    groups = (("things", result.things), ("stuff", result.stuff), ("all", result.all))
    rows: list[tuple[str, GroupQuality | ClassQuality]]
    rows = [(entry.category.name, entry) for entry in result.per_class if entry.counts]
    rows += [(f"mean of {name}", group) for name, group in groups if group is not None]
    parts = [
        f"{name} SQ {100 * q.sq:.1f}, RQ {100 * q.rq:.1f}, PQ {100 * q.pq:.1f}" for name, q in rows
    ]
    return f"PQ, SQ and RQ of every class, one line each: {'; '.join(parts)}."


def plot_sizes(rows: Sequence[TrueSegment]) -> Figure:
    """Draw the best IoU of every true segment over its area; hollow where it is not matched."""
    figure, axes = subplots(9, 3.9)
    present = {row.category.id: row.category for row in rows}
    colors = {number: to_hex(c) for number, c in class_colors(list(present.values())).items()}
    for row in rows:
        color = colors[row.category.id]
        edge = ("black", 0.6) if row.is_matched else (color, 1.8)
        axes.plot(
            [row.area], [row.iou], _shape(row.category), color=color,
            markerfacecolor=color if row.is_matched else "none", markersize=6,
            markeredgecolor=edge[0], markeredgewidth=edge[1], alpha=0.9,
        )  # fmt: skip
    areas = np.geomspace(min(row.area for row in rows) * 0.8, max(row.area for row in rows) * 1.2)
    axes.plot(areas, disc_iou(areas), color="black", linewidth=1.2)
    eighth = len(areas) // 8
    axes.annotate(
        "a disc that lost a rim of 1 pixel", (areas[eighth], disc_iou(areas)[eighth]),
        xytext=(14, -42), textcoords="offset points", fontsize=8,
        arrowprops={"arrowstyle": "-", "linewidth": 0.8},
    )  # fmt: skip
    _draw_threshold(axes)
    style = {"fontsize": 8, "ha": "right", "va": "top", "color": STATUS_COLORS["FN"]}
    axes.text(areas[-1], MATCH_IOU - 0.02, "a match is above 0.5", **style)
    axes.set(
        xscale="log", xlabel="area of the true segment (pixels)", ylim=(-0.04, 1.03),
        ylabel="IoU of the best prediction",
    )  # fmt: skip
    edge_style = {"markeredgecolor": "black", "markeredgewidth": 0.6}
    handles = [
        _marker(_shape(present[number]), present[number].name, color=colors[number], **edge_style)
        for number in sorted(present)
    ]
    add_legend(figure, handles, loc="outside right center")
    return figure


def describe_sizes(rows: Sequence[TrueSegment]) -> str:
    """Return how many of the smaller and of the larger half of the true things match, in words."""
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


def _marker(shape: str, label: str, **style: Any) -> Line2D:
    return Line2D([], [], linestyle="", marker=shape, label=label, **style)


def _shape(category: Category) -> str:
    return "o" if category.is_thing else "s"
