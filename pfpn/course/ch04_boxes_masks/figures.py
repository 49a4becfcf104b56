"""What happens inside a box: its level, its bins, its class, its mask, the mask in the image."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from pfpn.boxes import area
from pfpn.mask_head import mask_targets
from pfpn.paste import PASTE_THRESHOLD, paste_masks
from pfpn.plot.boxes import (
    BAD_COLOR,
    FIRST_COLOR,
    SECOND_COLOR,
    TRUTH_COLOR,
    Image,
    draw_boxes,
    draw_image,
    draw_pixels,
    view_square,
)
from pfpn.plot.palette import class_colors, instance_color, to_hex
from pfpn.roi import CANONICAL_LEVEL, CANONICAL_SIZE, ROI_LEVELS, level_of_boxes, roi_align
from pfpn.structures import Category, Detections, Instances, things

STRIDES = {level: 2 ** int(level[1:]) for level in ROI_LEVELS}
METHODS = ("RoIPool, max", "RoIPool's cells, mean", "RoIAlign, half pixel forgotten", "RoIAlign")
PALE = 3  # the shade of a class that black names can be read on
Cells = tuple[int, int, int, int]  # top, bottom, left, right; half-open


# What figures show ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Finding:
    """A thing beside what was found for it."""

    image: Image
    truth: Bool[Tensor, "h w"]
    found: Bool[Tensor, "h w"]  # all false if nothing was found
    title: str

    @property
    def overlap(self) -> float:
        """IoU of the two masks, in [0, 1]."""
        union = int((self.truth | self.found).sum())
        return int((self.truth & self.found).sum()) / max(1, union)


def cells_spanned(
    sides: Float[Tensor, " n"], canonical_size: float = CANONICAL_SIZE
) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"]]:
    """Return the level of square boxes by their side, and how many of its cells they span."""
    zero = torch.zeros_like(sides)
    level = level_of_boxes(torch.stack([zero, zero, sides, sides], dim=1), canonical_size)
    return level, sides / 2.0**level


def rounded_bins(
    box: Sequence[float], stride: int, bins: int, size: tuple[int, int]
) -> list[list[Cells]]:
    """Return the cells that RoIPool takes for each bin: rows of bins, each a list of cells.

    Rounded twice: the box to whole cells, its last one included, and every bin outwards to whole
    cells again. `size` is (height, width) of the map in cells.
    """
    # Halves go up, as in C's round for positive numbers; Python's goes to the even one.
    x0, y0, x1, y1 = (math.floor(v / stride + 0.5) for v in box)
    spans = []
    for low, high, limit in ((y0, y1, size[0]), (x0, x1, size[1])):
        step = max(high - low + 1, 1) / bins
        edges = [(low + math.floor(i * step), low + math.ceil((i + 1) * step)) for i in range(bins)]
        spans.append([(min(max(a, 0), limit), min(max(b, 0), limit)) for a, b in edges])
    return [[(top, bottom, a, b) for a, b in spans[1]] for top, bottom in spans[0]]


def roi_pool(
    features: Float[Tensor, "c h w"], box: Sequence[float], stride: int, bins: int, how: str = "max"
) -> Float[Tensor, "c bins bins"]:
    """Pool a box from whole cells, as before RoIAlign; `how` is "max" (published) or "mean"."""
    size = (features.shape[1], features.shape[2])
    pooled = features.new_zeros((len(features), bins, bins))
    for i, row in enumerate(rounded_bins(box, stride, bins, size)):
        for j, (top, bottom, left, right) in enumerate(row):
            cells = features[:, top:bottom, left:right].flatten(1)
            if cells.shape[1]:
                pooled[:, i, j] = cells.amax(1) if how == "max" else cells.mean(1)
    return pooled


def sample_points(box: Sequence[float], bins: int, samples: int) -> Float[np.ndarray, "n 2"]:
    """Return (x, y), in pixels, of the points that RoIAlign reads in a box, bin by bin."""
    x0, y0, x1, y1 = box
    steps = (np.arange(bins * samples) + 0.5) / (bins * samples)
    y, x = np.meshgrid(y0 + (y1 - y0) * steps, x0 + (x1 - x0) * steps, indexing="ij")
    return np.stack([x.ravel(), y.ravel()], axis=1)


def reading_errors(
    stride: int, num: int = 100, bins: int = 7, seed: int = 0
) -> dict[str, Float[Tensor, "n bins"]]:
    """Measure how far from a bin's center each method reads, in pixels along x.

    The feature map holds in every cell the x of the cell's center, so what is pooled says where it
    was read. Boxes span 14 to 28 cells a side, what the level rule gives them, at random places.
    """
    rng = torch.Generator().manual_seed(seed)
    cells = 64
    centers = (torch.arange(cells) + 0.5) * stride
    ramp = centers.expand(cells, cells)[None].contiguous()
    side = stride * 14 * (1 + torch.rand((num, 2), generator=rng))
    corner = stride * 2 + torch.rand((num, 2), generator=rng) * stride * 30
    boxes = torch.cat([corner, corner + side], dim=1)
    goal = boxes[:, :1] + side[:, :1] * (torch.arange(bins) + 0.5) / bins
    rois = torch.cat([torch.zeros(num, 1), boxes], dim=1)
    read = {
        name: torch.stack([roi_pool(ramp, box, stride, bins, how)[0, 0] for box in boxes.tolist()])
        for name, how in zip(METHODS[:2], ("max", "mean"), strict=True)
    }
    for name, aligned in zip(METHODS[2:], (False, True), strict=True):
        read[name] = roi_align(ramp[None], rois, bins, 1 / stride, 0, aligned)[:, 0, 0]
    return {name: values - goal for name, values in read.items()}


def mask_ceiling(instances: Instances, bins: int) -> Float[Tensor, " n"]:
    """Return the best IoU that a mask of `bins` x `bins` can reach in each thing's own box.

    The truth itself goes through the grid: cut to its box, read at the bins, pasted back.
    """
    size = (instances.masks.shape[1], instances.masks.shape[2])
    index = torch.arange(len(instances))
    targets = mask_targets(instances.boxes, instances.masks, index, bins)
    return mask_iou(paste_masks(targets.float(), instances.boxes, size), instances.masks)


def mask_iou(a: Bool[Tensor, "n h w"], b: Bool[Tensor, "n h w"]) -> Float[Tensor, " n"]:
    """Return the IoU, in [0, 1], of each mask in `a` with its partner in `b`."""
    union = (a | b).flatten(1).sum(1).clamp(min=1)
    return (a & b).flatten(1).sum(1) / union


# Levels -----------------------------------------------------------------------------------------


def plot_levels(canonical_size: float = CANONICAL_SIZE) -> Figure:
    """Draw the level of a square box over its side, and how many cells of that level it spans."""
    figure = Figure(figsize=(8.6, 3.1), layout="constrained")
    left, right = figure.subplots(1, 2)
    sides = canonical_size * 2 ** torch.linspace(-4, 2.99, 600)
    level, cells = cells_spanned(sides, canonical_size)
    for k in level.unique().tolist():
        here = level == k
        left.plot(sides[here], level[here], color="#0072b2", linewidth=3)
        right.plot(sides[here], cells[here], color="#0072b2", linewidth=2)
    natural = canonical_size / 2**CANONICAL_LEVEL
    right.axhspan(natural, 2 * natural, color="#e69f00", alpha=0.25, lw=0)
    right.text(
        float(sides[8]), 1.45 * natural, f"{natural:g} to {2 * natural:g} cells", fontsize=8,
        va="center",
    )  # fmt: skip
    ticks = [canonical_size * 2**i for i in range(-4, 4)]
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
        axes.minorticks_off()
        axes.set_xlabel("side of the box (pixels)")
        axes.grid(color="0.93")
    left.set_yticks([2, 3, 4, 5], ["p2", "p3", "p4", "p5"])
    left.set_title("the level that it is pooled from", fontsize=9)
    right.set_yscale("log", base=2)
    spans = [natural * 2**i for i in range(-2, 4)]
    right.set_yticks(spans, [f"{s:g}" for s in spans])
    right.set_title("cells of that level along its side", fontsize=9)
    return figure


def describe_levels(canonical_size: float = CANONICAL_SIZE) -> str:
    """Say in words what `plot_levels` shows."""
    borders = ", ".join(f"{canonical_size * 2**i:g}" for i in (-1, 0, 1))
    natural = canonical_size / 2**CANONICAL_LEVEL
    return (
        f"Left: a staircase from p2 to p5 with steps at sides of {borders} pixels. Right: a saw "
        f"between {natural:g} and {2 * natural:g} cells; boxes too small for p2 span fewer, boxes "
        "too large for p5 span more."
    )


def plot_box_level(image: Image, side: float, canonical_size: float = CANONICAL_SIZE) -> Figure:
    """Draw a square box of a given side over the cells of the level it is pooled from."""
    height, width = image.shape[1:]
    figure = Figure(figsize=(4.4, 4.4 * height / width + 0.35), layout="constrained")
    axes = figure.subplots()
    level, cells = cells_spanned(torch.tensor([float(side)]), canonical_size)
    stride = 2 ** int(level)
    draw_image(axes, image, fade=0.3)
    axes.vlines(range(0, width + 1, stride), 0, height, color="black", lw=0.5, alpha=0.4)
    axes.hlines(range(0, height + 1, stride), 0, width, color="black", lw=0.5, alpha=0.4)
    x0, y0 = (width - side) / 2, (height - side) / 2
    draw_boxes(axes, torch.tensor([[x0, y0, x0 + side, y0 + side]]), FIRST_COLOR, width=2.5)
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_title(
        f"side {side:g}: p{int(level)}, stride {stride}, {float(cells):.1f} cells", fontsize=9
    )
    return figure


# Bins -------------------------------------------------------------------------------------------


def plot_pooling(
    x: float, y: float = 21.0, width: float = 75.0, height: float = 58.0, *, stride: int = 16,
    bins: int = 2, samples: int = 2, size: tuple[int, int] = (6, 8),
) -> Figure:  # fmt: skip
    """Draw where RoIPool and RoIAlign read a box at (x, y), over the cells of a map."""
    figure = Figure(figsize=(8.6, 3.4))  # no layout engine: this is redrawn while a slider moves
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(0.05, 0.07, 0.975, 0.92, wspace=0.1)
    box = (x, y, x + width, y + height)
    for axes in (left, right):
        axes.set(
            xlim=(0, size[1] * stride), ylim=(size[0] * stride, 0), aspect="equal",
            xticks=range(0, size[1] * stride + 1, stride),
            yticks=range(0, size[0] * stride + 1, stride),
        )  # fmt: skip
        axes.tick_params(labelsize=8)
        axes.grid(color="0.8", linewidth=0.8)
        axes.set_axisbelow(True)
    fills = ("#0072b2", "#e69f00", "#009e73", "#cc79a7")
    taken = rounded_bins(box, stride, bins, size)
    number = 0
    for row in taken:
        for top, bottom, a, b in row:
            left.add_patch(
                Rectangle(
                    (a * stride, top * stride), (b - a) * stride, (bottom - top) * stride,
                    facecolor=fills[number % 4], alpha=0.35, edgecolor="black", lw=1,
                )
            )  # fmt: skip
            number += 1
    points = sample_points(box, bins, samples)
    where = np.arange(bins * samples) // samples
    colors = [fills[(bins * i + j) % 4] for i in where for j in where]
    right.scatter(points[:, 0], points[:, 1], c=colors, s=26, edgecolors="black", linewidths=0.5)
    for i in range(bins + 1):
        share = i / bins
        right.plot([x + width * share] * 2, [y, y + height], color="black", lw=1, ls=":")
        right.plot([x, x + width], [y + height * share] * 2, color="black", lw=1, ls=":")
    for axes in (left, right):
        axes.add_patch(Rectangle((x, y), width, height, fill=False, ec=BAD_COLOR, lw=2))
    first, last = taken[0][0], taken[-1][-1]
    left.set_title(
        f"RoIPool: box from x = {x:g} to {x + width:g}, reads {first[2] * stride} to "
        f"{last[3] * stride}",
        fontsize=9,
    )
    right.set_title("RoIAlign: reads between the cells, where the box is", fontsize=9)
    return figure


def plot_reading_errors(errors: Mapping[int, Mapping[str, Float[Tensor, "_n _bins"]]]) -> Figure:
    """Draw the mean distance from a bin's center to where it was read, by stride and method."""
    figure = Figure(figsize=(7.4, 3.3), layout="constrained")
    axes = figure.subplots()
    strides = list(errors)
    styles = (
        ("#d55e00", "s", "-"),
        ("#e69f00", "^", "--"),
        ("#cc79a7", "D", "-."),
        ("#0072b2", "o", "-"),
    )
    for name, (color, marker, line) in zip(errors[strides[0]], styles, strict=True):
        mean = [float(errors[stride][name].abs().mean()) for stride in strides]
        axes.plot(range(len(strides)), mean, color=color, marker=marker, linestyle=line, label=name)
    axes.set_xticks(range(len(strides)), [f"stride {s}" for s in strides])
    axes.set(ylabel="distance from the bin's center (pixels)")
    axes.margins(0.08, 0.12)
    axes.legend(frameon=False, fontsize=8)
    return figure


def describe_reading_errors(
    errors: Mapping[int, Mapping[str, Float[Tensor, "_n _bins"]]],
) -> str:
    """Say in words what `plot_reading_errors` shows."""
    words = []
    for stride, by_method in errors.items():
        listed = ", ".join(f"{name} {float(e.abs().mean()):.1f}" for name, e in by_method.items())
        words.append(f"stride {stride}: {listed}")
    return "Mean distance, in pixels, of what is read from the bin's center. " + "; ".join(words)


def plot_bilinear(values: Float[Tensor, "2 2"], down: float, right: float) -> Figure:
    """Draw four neighboring cells, a point between their centers, and the area each one weighs."""
    figure = Figure(figsize=(4.0, 3.6), layout="constrained")
    axes = figure.subplots()
    corners = ((0, 0), (0, 1), (1, 0), (1, 1))
    fills = ("#0072b2", "#e69f00", "#009e73", "#cc79a7")
    total = 0.0
    for (i, j), fill in zip(corners, fills, strict=True):
        # A cell weighs as much as the rectangle between the point and the *opposite* center.
        x0, x1 = sorted((right, 1.0 - j))
        y0, y1 = sorted((down, 1.0 - i))
        weight = (x1 - x0) * (y1 - y0)
        total += weight * float(values[i, j])
        axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, facecolor=fill, alpha=0.35, lw=0))
        axes.plot([j], [i], "o", color=fill, markersize=16, markeredgecolor="black")
        above = -0.2 if i == 0 else 0.2
        axes.text(
            j, i + above, f"{float(values[i, j]):g} x {weight:.2f}", ha="center", va="center",
            fontsize=9,
        )  # fmt: skip
    axes.plot([right, right], [0, 1], color="0.4", lw=0.8, ls=":")
    axes.plot([0, 1], [down, down], color="0.4", lw=0.8, ls=":")
    axes.plot([right], [down], "X", color="black", markersize=11)
    axes.set(
        xlim=(-0.35, 1.35), ylim=(1.4, -0.4), aspect="equal", xticks=[0, 1], yticks=[0, 1],
        xlabel="column", ylabel="row",
    )  # fmt: skip
    axes.set_title(f"value at row {down:g}, column {right:g}: {total:.2f}", fontsize=9)
    return figure


def plot_half_pixel(stride: int = 16, cells: int = 4) -> Figure:
    """Draw one row of cells in two rulers: pixels, and indices of cells at their centers."""
    figure = Figure(figsize=(8.4, 2.1), layout="constrained")
    axes = figure.subplots()
    for k in range(cells):
        axes.add_patch(
            Rectangle(
                (k * stride, 0), stride, 1, facecolor=("0.93", "0.85")[k % 2], edgecolor="0.5"
            )
        )
        axes.plot([(k + 0.5) * stride], [0.5], "o", color="#0072b2", markersize=7)
        axes.text((k + 0.5) * stride, 1.16, f"{k}", ha="center", color="#0072b2", fontsize=10)
        axes.text(k * stride, -0.3, f"{k * stride}", ha="center", fontsize=9)
    axes.text(cells * stride, -0.3, f"{cells * stride}", ha="center", fontsize=9)
    axes.text(-0.6, 1.16, "index", ha="right", color="#0072b2", fontsize=9)
    axes.text(-0.6, -0.3, "pixels", ha="right", fontsize=9)
    x = 1.5 * stride
    axes.annotate(
        f"x = {x:g} px is index {x:g} / {stride} - 0.5 = {x / stride - 0.5:g}", (x, 0.5),
        (x + 0.8 * stride, 1.75), arrowprops={"arrowstyle": "->"}, fontsize=9, va="center",
    )  # fmt: skip
    wrong = (x / stride + 0.5) * stride
    axes.annotate(
        f"without - 0.5 index {x / stride:g} is read, at {wrong:g} px", (wrong, 0.45),
        (wrong + 0.2 * stride, -0.95), arrowprops={"arrowstyle": "->", "color": BAD_COLOR},
        fontsize=9, color=BAD_COLOR, va="center",
    )  # fmt: skip
    axes.plot([wrong], [0.5], "X", color=BAD_COLOR, markersize=8)
    axes.set(xlim=(-0.5 * stride, cells * stride + 1), ylim=(-1.3, 2.1))
    axes.axis("off")
    return figure


# Classes and boxes ------------------------------------------------------------------------------


def plot_class_boxes(
    image: Image,
    proposal: Float[Tensor, " 4"],
    boxes: Float[Tensor, "t 4"],
    probs: Float[Tensor, " t1"],
    categories: Sequence[Category],
) -> Figure:
    """Draw one proposal with the box of each class, and the probabilities of the classes."""
    height, width = image.shape[1:]
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1.5, 1]})
    kinds = things(categories)
    colors = [to_hex(class_colors(categories)[k.id]) for k in kinds]
    draw_image(left, image, "the proposal (white, dashed) and one box per class", fade=0.3)
    order = probs[:-1].argsort()
    draw_boxes(left, boxes[order], [colors[i] for i in order.tolist()], width=1.8)
    draw_boxes(left, proposal[None], TRUTH_COLOR, width=2, style="--")
    both = torch.cat([boxes, proposal[None]])
    low, high = both[:, :2].amin(0), both[:, 2:].amax(0)
    center, half = (low + high) / 2, (high - low) / 2 + 12
    left.set(
        xlim=(max(0, float(center[0] - half[0])), min(width, float(center[0] + half[0]))),
        ylim=(min(height, float(center[1] + half[1])), max(0, float(center[1] - half[1]))),
    )
    names = [*(k.name for k in kinds), "background"]
    right.barh(names, probs.numpy(), color=[*colors, "0.6"])
    for i, p in enumerate(probs.tolist()):
        right.text(p + 0.02, i, f"{p:.2f}", va="center", fontsize=8)
    # Most bars are empty: the squares beside the names say which box is whose.
    right.scatter(
        [-0.03] * len(kinds), range(len(kinds)), marker="s", s=46, c=colors, edgecolors="black",
        linewidths=0.6, clip_on=False, zorder=3,
    )  # fmt: skip
    right.tick_params(axis="y", length=0, pad=12)
    right.invert_yaxis()
    right.set(xlim=(0, 1.12), xlabel="probability")
    return figure


def draw_detections(
    axes: Any,
    image: Image,
    boxes: Float[Tensor, "n 4"],
    labels: Int[Tensor, " n"],
    scores: Float[Tensor, " n"],
    categories: Sequence[Category],
    *,
    masks: Bool[Tensor, "n h w"] | None = None,
    title: str = "",
    names: bool = True,
) -> None:
    """Draw boxes in their class's color, the best on top, with masks under them if given."""
    kinds = things(categories)
    own = class_colors(categories)
    rgb = [instance_color(own[kinds[label].id], 0) for label in labels.tolist()]
    pixels = image.permute(1, 2, 0).cpu().numpy() * 0.75 + 64
    if masks is not None:
        taken = np.zeros(pixels.shape[:2], bool)
        for mask, color in zip(masks.cpu().numpy(), rgb, strict=True):
            pixels[mask & ~taken] = 0.35 * pixels[mask & ~taken] + 0.65 * np.asarray(color)
            taken |= mask
    draw_pixels(axes, pixels, title)
    order = scores.argsort().tolist()
    words = [kinds[labels[i]].name for i in order] if names else []
    shown = [to_hex(instance_color(rgb[i], PALE)) for i in order]
    draw_boxes(axes, boxes[order], shown, names=words, width=1.3)


# Masks ------------------------------------------------------------------------------------------


def plot_mask_targets(
    image: Image,
    rois: Float[Tensor, "n 4"],
    masks: Bool[Tensor, "n h w"],
    targets: Bool[Tensor, "n m m"],
) -> Figure:
    """Draw rois with the outline of their instance, and below each the target in the box's grid."""
    figure = Figure(figsize=(8.8, 4.6), layout="constrained")
    panels = figure.subplots(2, len(rois), squeeze=False)
    for column, (roi, mask, target) in enumerate(zip(rois, masks, targets, strict=True)):
        above, below = panels[:, column]
        draw_image(above, image)
        above.contour(
            np.arange(mask.shape[1]) + 0.5, np.arange(mask.shape[0]) + 0.5, mask.float().numpy(),
            [0.5], colors=[SECOND_COLOR], linewidths=1.8,
        )  # fmt: skip
        draw_boxes(above, roi[None], FIRST_COLOR, width=2)
        x0, y0, x1, y1 = roi.tolist()
        view_square(above, (x0, y0, x1, y1), 8)
        above.set_title(f"roi {x1 - x0:.0f} x {y1 - y0:.0f} pixels", fontsize=9)
        below.imshow(target.numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        below.set(xticks=[], yticks=[])
        below.set_title(f"target {target.shape[0]} x {target.shape[1]}", fontsize=9)
    return figure


def plot_class_masks(
    image: Image,
    box: Float[Tensor, " 4"],
    probs: Float[Tensor, "t m m"],
    label: int,
    categories: Sequence[Category],
) -> Figure:
    """Draw one box with the mask that each class would give it; the detection's own is framed."""
    kinds = things(categories)
    figure = Figure(figsize=(9, 2.0), layout="constrained")
    first, *rest = figure.subplots(1, len(kinds) + 1)
    draw_image(first, image, "the box")
    draw_boxes(first, box[None], FIRST_COLOR)
    x0, y0, x1, y1 = box.tolist()
    first.set(xlim=(x0 - 5, x1 + 5), ylim=(y1 + 5, y0 - 5), aspect="auto")
    for i, (axes, kind) in enumerate(zip(rest, kinds, strict=True)):
        axes.imshow(probs[i].numpy(), cmap="gray", vmin=0, vmax=1, aspect="auto")
        axes.set(xticks=[], yticks=[])
        axes.set_title(kind.name, fontsize=9, fontweight="bold" if i == label else "normal")
        if i == label:
            for spine in axes.spines.values():
                spine.set(color=BAD_COLOR, linewidth=3)
    return figure


def plot_ceiling(sides: Float[Tensor, " n"], by_bins: Mapping[int, Float[Tensor, " n"]]) -> Figure:
    """Draw the best IoU that a grid allows over the size of the thing, for several grids."""
    figure = Figure(figsize=(6.8, 3.4), layout="constrained")
    axes = figure.subplots()
    styles = (("#d55e00", "s"), ("#e69f00", "^"), ("#0072b2", "o"), ("#009e73", "D"))
    for (bins, values), (color, marker) in zip(by_bins.items(), styles, strict=False):
        axes.plot(
            sides.numpy(), values.numpy(), marker, color=color, markersize=4, alpha=0.6, mew=0,
            label=f"{bins} x {bins}, mean {float(values.mean()):.3f}",
        )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_xticks([4, 8, 16, 32, 64, 128], ["4", "8", "16", "32", "64", "128"])
    axes.minorticks_off()
    axes.set(xlabel="side of the thing (root of its box's area, pixels)", ylabel="IoU at best")
    axes.legend(frameon=False, fontsize=8, loc="lower left")
    return figure


def describe_ceiling(by_bins: Mapping[int, Float[Tensor, " n"]]) -> str:
    """Say in words what `plot_ceiling` shows."""
    listed = ", ".join(
        f"{bins} x {bins}: mean {float(v.mean()):.3f}, lowest {float(v.min()):.2f}"
        for bins, v in by_bins.items()
    )
    return f"IoU of true masks with themselves after a trip through the box's grid. {listed}."


def plot_paste(
    probs: Float[Tensor, "m m"], box: Float[Tensor, " 4"], size: tuple[int, int]
) -> Figure:
    """Draw a small mask over the pixels around its box: its bins, pixel centers, what is inside."""
    figure = Figure(figsize=(8.4, 4.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    x0, y0, x1, y1 = box.tolist()
    mask = paste_masks(probs[None], box[None], size)[0].numpy()
    left.imshow(
        probs.numpy(), extent=(x0, x1, y1, y0), cmap="gray", vmin=0, vmax=1, interpolation="nearest"
    )
    for i, j in np.ndindex(*probs.shape):
        bin_w, bin_h = (x1 - x0) / probs.shape[1], (y1 - y0) / probs.shape[0]
        left.text(
            x0 + (j + 0.5) * bin_w, y0 + (i + 0.5) * bin_h, f"{float(probs[i, j]):g}", ha="center",
            va="center", fontsize=8, color="black" if probs[i, j] > 0.5 else "white",
        )  # fmt: skip
    right.imshow(
        mask,
        extent=(0, size[1], size[0], 0),
        cmap="Greens",
        vmin=0,
        vmax=2,
        interpolation="nearest",
    )
    for axes in (left, right):
        rows, columns = np.nonzero(mask)
        y, x = np.mgrid[0 : size[0], 0 : size[1]] + 0.5
        axes.plot(x.ravel(), y.ravel(), ".", color="0.55", markersize=3)
        axes.plot(columns + 0.5, rows + 0.5, "o", color="#009e73", markersize=5)
        axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec=BAD_COLOR, lw=2))
        axes.set(
            xlim=(-0.2, size[1] + 0.2), ylim=(size[0] + 0.2, -0.2), aspect="equal",
            xticks=range(size[1] + 1), yticks=range(size[0] + 1),
        )  # fmt: skip
        axes.grid(color="0.85", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=7)
    left.set_title(f"the mask's bins in its box ({x0:g}, {y0:g}, {x1:g}, {y1:g})", fontsize=9)
    right.set_title(
        f"{int(mask.sum())} pixels whose center reads {PASTE_THRESHOLD} or more", fontsize=9
    )
    return figure


# All together -----------------------------------------------------------------------------------


def plot_findings(findings: Sequence[Finding], *, columns: int = 4, room: int = 10) -> Figure:
    """Draw things cut out: the true outline white, what was found filled."""
    rows = -(-len(findings) // columns)
    figure = Figure(figsize=(8.8, 2.5 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(findings) :]:
        axes.set_visible(False)
    for axes, finding in zip(panels, findings, strict=False):
        pixels = finding.image.permute(1, 2, 0).cpu().numpy() * 0.8
        found = finding.found.numpy()
        pixels[found] = 0.45 * pixels[found] + 0.55 * np.asarray((255, 176, 0))
        draw_pixels(axes, pixels)
        y, x = (np.arange(n) + 0.5 for n in finding.truth.shape)
        axes.contour(x, y, finding.truth.float().numpy(), [0.5], colors="white", linewidths=1.6)
        rows_, columns_ = np.nonzero(finding.truth.numpy())
        view_square(
            axes, (columns_.min(), rows_.min(), columns_.max() + 1, rows_.max() + 1), room - 0.5
        )
        axes.set_facecolor("0.9")
        axes.set_title(f"{finding.title}: IoU {finding.overlap:.2f}", fontsize=9)
    return figure


def describe_findings(findings: Sequence[Finding]) -> str:
    """Say in words what `plot_findings` shows."""
    listed = "; ".join(f"{f.title}, IoU {f.overlap:.2f}" for f in findings)
    return f"True outline and found mask of {len(findings)} things: {listed}."


def sides_of(instances: Instances) -> Float[Tensor, " n"]:
    """Return the root of each box's area, in pixels: the side that the level rule looks at."""
    return area(instances.boxes).sqrt()


def plot_stages(
    image: Image,
    proposals: Float[Tensor, "n 4"],
    probs: Float[Tensor, "n t1"],
    found: Detections,
    masks: Bool[Tensor, "k h w"],
    truth: Instances,
    categories: Sequence[Category],
) -> Figure:
    """Draw a picture's way from proposals to masks in six panels, the truth last.

    Args:
        image: under everything.
        proposals: best first.
        probs: of their classes, background last.
        found: all detections, best first.
        masks: of the detections, pasted.
        truth: for comparison.
        categories: of all labels.
    """
    height, width = image.shape[1:]
    figure = Figure(figsize=(9, 2 * (3 * height / width + 0.25)), layout="constrained")
    panels = figure.subplots(2, 3).ravel()
    best, label = probs.max(dim=1)
    is_thing = label < probs.shape[1] - 1
    sure = found.scores > 0.5
    draw_image(panels[0], image, f"1  proposals ({len(proposals)})", fade=0.25)
    draw_boxes(panels[0], proposals, FIRST_COLOR, width=0.6)
    kept = (proposals[is_thing], label[is_thing], best[is_thing])
    draw_detections(
        panels[1],
        image,
        *kept,
        categories,
        title=f"2  not background ({len(kept[0])})",
        names=False,
    )
    every = (found.boxes, found.labels, found.scores)
    draw_detections(
        panels[2], image, *every, categories, title=f"3  refined ({len(found)})", names=False
    )
    confident = (found.boxes[sure], found.labels[sure], found.scores[sure])
    number = int(sure.sum())
    draw_detections(
        panels[3], image, *confident, categories, title=f"4  score above 0.5 ({number})"
    )
    draw_detections(
        panels[4], image, *confident, categories, masks=masks[sure], title="5  their masks",
        names=False,
    )  # fmt: skip
    real = (truth.boxes, truth.labels, torch.ones(len(truth)))
    draw_detections(
        panels[5], image, *real, categories, masks=truth.masks, title=f"6  truth ({len(truth)})",
        names=False,
    )  # fmt: skip
    return figure
