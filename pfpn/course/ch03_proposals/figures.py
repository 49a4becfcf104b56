"""Figures of chapter 03: boxes, anchors, matches, deltas, proposals and what they miss."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from torch import Tensor

from pfpn.course.ch03_proposals import numbers
from pfpn.matching import FOREGROUND
from pfpn.plot.boxes import (
    BAD_COLOR,
    FIRST_COLOR,
    ROW_COLORS,
    SECOND_COLOR,
    TRUTH_COLOR,
    Image,
    crop_panels,
    draw_boxes,
    draw_image,
    draw_pixels,
    draw_rectangle,
    image_panels,
    view_square,
)
from pfpn.plot.palette import class_colors, instance_color, to_hex
from pfpn.plot.style import (
    BLUE,
    GREEN,
    RED,
    add_legend,
    draw_grid,
    log_xticks,
    rgb,
    show_pixels,
    subplots,
)
from pfpn.structures import Category, Instances, things

ANCHOR_MARGIN = 34  # pixels around the image, for anchors that reach beyond it
SMALL_SIDE, SMALL_MARGIN = 32, 6  # of anchors that hardly do: the picture can be larger


def row_color(index: int) -> str:
    """Return the color of the box `index`; beyond the last color they come again."""
    return ROW_COLORS[index % len(ROW_COLORS)]


def plot_instances(image: Image, instances: Instances, categories: Sequence[Category]) -> Figure:
    """Draw the things of an image: their boxes on the left, their masks on the right."""
    figure, ((left, right),) = image_panels(1, 2, image)
    known = class_colors(categories)
    kinds = [things(categories)[label] for label in instances.labels.tolist()]
    colors = [instance_color(known[kind.id], i) for i, kind in enumerate(kinds)]
    draw_image(left, image, "boxes")
    draw_boxes(left, instances.boxes, TRUTH_COLOR, names=[kind.name for kind in kinds])
    pixels = rgb(image) * 0.35 + 160
    for mask, color in zip(instances.masks.cpu().numpy(), colors, strict=True):
        pixels[mask] = color
    draw_pixels(right, pixels, "masks, with the tightest box around each")
    draw_boxes(right, instances.boxes, [to_hex(color) for color in colors], width=1.2)
    return figure


def describe_instances(instances: Instances, categories: Sequence[Category]) -> str:
    """Return in words what `plot_instances` shows."""
    kinds = [things(categories)[label] for label in instances.labels.tolist()]
    listed = ", ".join(
        f"{kind.name} {x1 - x0} x {y1 - y0}"
        for kind, (x0, y0, x1, y1) in zip(kinds, instances.boxes.long().tolist(), strict=True)
    )
    return (
        f"A drawn street with {len(instances)} things, each in its box on the left and painted on "
        f"the right. Width x height in pixels: {listed}."
    )


def plot_overlap(a: Float[Tensor, " 4"], b: Float[Tensor, " 4"]) -> Figure:
    """Draw two boxes on squared paper, their intersection hatched, with the areas that make IoU."""
    figure, axes = subplots(4.2, 3.4)
    shared, intersection, union = numbers.intersect(a, b)
    for box, color, style in ((a, FIRST_COLOR, "-"), (b, SECOND_COLOR, "--")):
        draw_rectangle(axes, box.tolist(), fill=True, color=color, alpha=0.35, lw=0)
        draw_rectangle(axes, box.tolist(), ec=color, ls=style, lw=2.5)
    if intersection > 0:
        draw_rectangle(axes, shared.tolist(), ec="0.2", hatch="///", lw=0)
    right, bottom = torch.maximum(a[2:], b[2:]).tolist()
    axes.set(
        xlim=(-0.5, right + 1.5), ylim=(bottom + 1.5, -0.5), aspect="equal",
        xlabel="x (pixels)", ylabel="y (pixels)",
        xticks=range(int(right) + 2), yticks=range(int(bottom) + 2),
    )  # fmt: skip
    axes.tick_params(labelsize=8)
    draw_grid(axes, "0.88", linewidth=0.8)
    words = f"intersection {intersection:g} (hatched), union {union:g}"
    axes.set_title(f"{words}: IoU {intersection / union:.3f}", fontsize=9)
    return figure


def plot_shift(shift: float, axes: int = 2) -> Figure:
    """Draw a box and its shifted copy, and where they stand on the curve of IoU over shift."""
    figure, (left, right) = subplots(4.6, 2.3, 1, 2)
    down = shift if axes == 2 else 0.0
    draw_rectangle(left, (0, 0, 1, 1), ec=FIRST_COLOR, lw=2.5)
    draw_rectangle(left, (shift, down, 1 + shift, 1 + down), ec=SECOND_COLOR, lw=2.5, ls="--")
    draw_rectangle(left, (shift, down, 1, 1), fill=True, color="0.8", lw=0)
    value = float(numbers.iou_of_shift(np.asarray([shift]), axes)[0])
    left.set(xlim=(-0.1, 2.1), ylim=(2.1, -0.1), aspect="equal", xticks=[], yticks=[])
    left.set_title(f"shift {shift:.2f}: IoU {value:.2f}", fontsize=9)
    grid = np.linspace(0, 1, 101)
    for num, style, label in ((1, "--", "along one axis"), (2, "-", "along both axes")):
        right.plot(grid, numbers.iou_of_shift(grid, num), color="0.2", linestyle=style, label=label)
    for level in (0.5, 0.7):
        right.axhline(level, color="0.8", linewidth=0.8, zorder=0)
    right.plot([shift], [value], "o", color=BAD_COLOR, markersize=8)
    right.tick_params(labelsize=8)
    right.set(xlabel="shift / side", ylabel="IoU", xlim=(0, 1), ylim=(0, 1.02))
    add_legend(right)
    return figure


def plot_anchors(
    image: Image,
    gt_boxes: Float[Tensor, "n 4"],
    *,
    level: str,
    stride: int,
    side: float,
    ratios: Sequence[float],
    position: tuple[float, float] = (0.5, 0.5),
) -> Figure:
    """Draw the centers of a level's anchors, and the anchors of one cell with their best IoU.

    The cell lies at `position`, (down, across) as fractions of the grid that spans the image.
    """
    height, width = (pixels + 2 * ANCHOR_MARGIN for pixels in image.shape[1:])
    figure, axes = subplots(4.6, 4.6 * height / width + 0.25)
    size = (image.shape[1], image.shape[2])
    cell = numbers.anchors_at(
        size, gt_boxes, stride=stride, side=side, ratios=ratios, position=position
    )
    draw_image(axes, image, fade=0.35)
    ys, xs = np.mgrid[0 : cell.grid[0], 0 : cell.grid[1]] * stride
    axes.plot(xs.ravel(), ys.ravel(), ".", color="black", markersize=1 + stride**0.5, alpha=0.35)
    draw_boxes(axes, gt_boxes, TRUTH_COLOR, width=1)
    axes.plot([cell.center[0]], [cell.center[1]], "+", color=BAD_COLOR, markersize=5)
    draw_boxes(axes, cell.anchors, ROW_COLORS, width=1.6)
    margin = SMALL_MARGIN if side < SMALL_SIDE else ANCHOR_MARGIN
    axes.set(xlim=(-margin, image.shape[2] + margin), ylim=(image.shape[1] + margin, -margin))
    axes.spines[:].set_visible(False)
    ious = ", ".join(f"{value:.2f}" for value in cell.best.tolist())
    rows, columns = cell.grid
    axes.set_title(f"{level}: {rows} x {columns} positions, side {side:g}, IoU {ious}", fontsize=9)
    return figure


def plot_anchor_fit(
    sides: Float[Tensor, " n"], best: Float[Tensor, " n"], anchor_sides: Sequence[float]
) -> Figure:
    """Draw each truth's best IoU with any anchor over its size, and the IoUs' distribution."""
    figure, (left, right) = subplots(8.6, 3.4, 1, 2, sharey=True, width_ratios=[2, 1])
    left.plot(sides.numpy(), best.numpy(), "o", color=BLUE, markersize=4, alpha=0.5, mew=0)
    log_xticks(left, anchor_sides)
    left.set(xlabel="side of the thing (root of its box's area, pixels)", ylabel="best IoU")
    left.set(ylim=(0, 1.02))
    right.hist(best.numpy(), bins=np.linspace(0, 1, 21), orientation="horizontal", color=BLUE)
    right.set(xlabel="things")
    for axes in (left, right):
        axes.axhline(0.7, color=BAD_COLOR, linewidth=1.5)
        axes.axhline(0.3, color="0.4", linewidth=1.5, linestyle="--")
    left.text(float(sides.min()), 0.71, "foreground from 0.7", fontsize=8, va="bottom")
    left.text(float(sides.min()), 0.29, "background below 0.3", fontsize=8, va="top")
    return figure


def describe_anchor_fit(best: Float[Tensor, " n"]) -> str:
    """Return in words what `plot_anchor_fit` shows."""
    return (
        f"A cloud of {len(best)} things: best IoU with any anchor over the thing's size, and a "
        f"histogram. Half of them lie above {best.median():.2f}, "
        f"{100 * (best >= 0.7).float().mean():.0f} % reach 0.7, the lowest is {best.min():.2f}; "
        "large and small things reach about the same."
    )


def plot_matches(
    image: Image,
    gt_boxes: Float[Tensor, "n 4"],
    anchors: Float[Tensor, "a 4"],
    matched: Int[Tensor, " a"],
    labels_by_rule: Mapping[str, Int[Tensor, " a"]],
) -> Figure:
    """Draw, side by side, the anchors that become foreground under several rules.

    Args:
        image: under the boxes.
        gt_boxes: drawn solid, in a color each; red and crossed out where none of its anchors is
            foreground.
        anchors: drawn dashed, in the color of the truth they are matched with.
        matched: index of that truth.
        labels_by_rule: foreground, background or unsure, for each anchor; by the rule's name.
    """
    figure, (panels,) = image_panels(1, len(labels_by_rule), image)
    for axes, (name, labels) in zip(panels, labels_by_rule.items(), strict=True):
        positive = (labels == FOREGROUND).nonzero()[:, 0]
        reached = set(matched[positive].tolist())
        draw_image(axes, image, fade=0.25)
        colors = [row_color(i) for i in matched[positive].tolist()]
        draw_boxes(axes, anchors[positive], colors, width=1, style="--")
        for i, box in enumerate(gt_boxes):
            if i in reached:
                draw_boxes(axes, box[None], row_color(i), width=2)
                continue
            draw_boxes(axes, box[None], BAD_COLOR, width=1.5)
            x, y = box[[0, 2, 2, 0]], box[[1, 3, 1, 3]]
            axes.plot(x, y, color=BAD_COLOR, linewidth=0.8, alpha=0.7)
        words = f"{len(positive)} anchors for {len(reached)} of {len(gt_boxes)} things"
        axes.set_title(f"{name}: {words}", fontsize=9)
    return figure


def plot_coding(
    pixels: Mapping[str, Float[Tensor, " _n"]], deltas: Mapping[str, Float[Tensor, " _n"]]
) -> Figure:
    """Draw how far truths lie from their anchors, by level: in pixels, and as deltas."""
    figure, panels = subplots(8.6, 3.0, 1, 2)
    labels = ("to the right of the anchor (pixels)", "dx (in widths of the anchor)")
    for axes, values, label in zip(panels, (pixels, deltas), labels, strict=True):
        axes.boxplot(
            [v.numpy() for v in values.values()], tick_labels=list(values),
            orientation="horizontal", widths=0.6, showfliers=False,
            medianprops={"color": BAD_COLOR},
        )  # fmt: skip
        axes.axvline(0, color="0.8", linewidth=0.8, zorder=0)
        axes.set_xlabel(f"truth's center, {label}")
        axes.invert_yaxis()
    return figure


def plot_box_losses() -> Figure:
    """Draw L1 and smooth L1 with two betas over the error of a delta, and their slopes."""
    figure, (left, right) = subplots(8.6, 3.0, 1, 2)
    error = np.linspace(-2, 2, 401)
    for beta, style, color in ((0.0, "-", "black"), (1 / 9, "--", BLUE), (1.0, ":", RED)):
        name = "L1 (beta 0)" if beta == 0 else f"smooth L1, beta {beta:.2g}"
        value, slope = numbers.smooth_l1(error, beta)
        left.plot(error, value, color=color, linestyle=style, label=name)
        right.plot(error, slope, color=color, linestyle=style)
    left.set(xlabel="error of a delta", ylabel="loss")
    right.set(xlabel="error of a delta", ylabel="slope")
    add_legend(left)
    return figure


def plot_objectness(
    image: Image, gt_boxes: Float[Tensor, "n 4"], probs: Mapping[str, Float[Tensor, "_h _w"]]
) -> Figure:
    """Draw the image and, for each level, the objectness of its best anchor in every cell."""
    figure, panels = image_panels(2, 3, image)
    height, width = image.shape[1:]
    first, *rest = panels.ravel()
    draw_image(first, image, "image and truth")
    draw_boxes(first, gt_boxes, TRUTH_COLOR, width=1.2)
    shown: Any = None
    for axes, (level, values) in zip(rest, probs.items(), strict=False):
        # Cells, not pixels, are what is drawn: the last row and column may lie in the padding.
        stride = 2 ** int(level[1:])
        extent = (0, values.shape[1] * stride, values.shape[0] * stride, 0)
        title = f"{level}, best {float(values.max()):.2f}"
        shown = show_pixels(
            axes, values.numpy(), title, extent=extent, vmin=0, vmax=1, cmap="magma"
        )
        axes.set(xlim=(0, width), ylim=(height, 0))
        draw_boxes(axes, gt_boxes, TRUTH_COLOR, width=0.7)
    figure.colorbar(shown, ax=panels, label="objectness", shrink=0.7)
    return figure


def plot_nms(
    image: Image,
    boxes: Float[Tensor, "n 4"],
    scores: Float[Tensor, " n"],
    threshold: float,
    nms: numbers.Nms | None = None,
) -> Figure:
    """Draw each kept box in a color, and the boxes that it suppressed thin in that color.

    Args:
        image: below the boxes.
        boxes: candidates.
        scores: of the boxes.
        threshold: a box goes if its IoU with a better one that stays is larger.
        nms: the reader's own function, which returns the indices of the boxes that stay.
    """
    if nms is None:
        by = numbers.nms_trace(boxes, scores, threshold)
    else:
        by = numbers.trace_of_kept(boxes, scores, threshold, nms)
    is_kept = by == torch.arange(len(by))
    kept = is_kept.nonzero()[:, 0]
    kept = kept[scores[kept].argsort(descending=True)]
    colors = {k: row_color(i) for i, k in enumerate(kept.tolist())}
    figure, ((axes,),) = image_panels(1, 1, image, width=4.6)
    draw_image(axes, image, fade=0.35)
    suppressors = [colors[k] for k in by[~is_kept].tolist()]
    draw_boxes(axes, boxes[~is_kept], suppressors, width=0.5, style="--")
    draw_boxes(axes, boxes[kept.flip(0)], list(colors.values())[::-1], width=2)
    axes.set_title(f"threshold {threshold:g}: {len(kept)} of {len(boxes)} boxes stay", fontsize=9)
    return figure


def plot_recall(
    curves: Mapping[str, Float[Tensor, " num"]], title: str = "", *, ends: Sequence[int] = ()
) -> Figure:
    """Draw the recall, in [0, 1], of the first 1, 2, ... proposals; mark the numbers `ends`."""
    figure, axes = subplots(6.4, 3.6)
    looks = (("-", BLUE), ("--", RED), ("-.", "black"), (":", GREEN))
    for (name, values), (style, color) in zip(curves.items(), cycle(looks), strict=False):
        count = np.arange(1, len(values) + 1)
        axes.plot(count, values.numpy(), color=color, linestyle=style, label=name)
    for end in ends:
        axes.axvline(end, color="0.8", linewidth=0.8, zorder=0)
    most = max(len(values) for values in curves.values())
    log_xticks(axes, [t for t in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if t <= most], 10)
    axes.set(xlabel="proposals per image, best first", ylabel="recall", ylim=(0, 1.02))
    axes.set_title(title, fontsize=9)
    add_legend(axes, loc="best")
    draw_grid(axes)
    return figure


def describe_recall(curves: Mapping[str, Float[Tensor, " num"]], at: Sequence[int]) -> str:
    """Return in words what `plot_recall` shows, with the values at some numbers of proposals."""
    lines = []
    for name, values in curves.items():
        listed = ", ".join(f"{100 * float(values[n - 1]):.0f} % with {n}" for n in at)
        lines.append(f"{name}: {listed}")
    return (
        "Recall, the part of the things that proposals cover, over their number. "
        + "; ".join(lines)
        + "."
    )


def plot_misses(misses: Sequence[numbers.Miss]) -> Figure:
    """Draw things that proposals miss, cut out: the truth solid, the closest proposal dashed."""
    figure, panels = crop_panels(len(misses))
    for axes, miss in zip(panels, misses, strict=True):
        draw_image(axes, miss.image)
        draw_boxes(axes, miss.closest[None], FIRST_COLOR, width=2, style="--")
        draw_boxes(axes, miss.truth[None], TRUTH_COLOR, width=2)
        both = torch.stack([miss.truth, miss.closest])
        view_square(axes, [*both[:, :2].amin(0).tolist(), *both[:, 2:].amax(0).tolist()], 14)
        axes.set_facecolor("0.9")
        axes.set_title(f"{miss.name}, {miss.extent}: IoU {miss.overlap:.2f}", fontsize=9)
    return figure


def describe_misses(misses: Sequence[numbers.Miss]) -> str:
    """Return in words what `plot_misses` shows."""
    listed = "; ".join(f"a {m.name} of {m.extent} pixels, IoU {m.overlap:.2f}" for m in misses)
    return f"Truth and closest box of {len(misses)} things: {listed}."
