"""Figures of chapter 04: the level of a box, its bins, its class, its mask, and all stages."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from torch import Tensor

from pfpn.course.ch04_boxes_masks import numbers
from pfpn.paste import PASTE_THRESHOLD, paste_masks
from pfpn.plot.boxes import (
    BAD_COLOR,
    FIRST_COLOR,
    SECOND_COLOR,
    TRUTH_COLOR,
    Image,
    crop_panels,
    draw_boxes,
    draw_image,
    draw_pixels,
    draw_rectangle,
    view_square,
)
from pfpn.plot.palette import class_colors, instance_color, to_hex
from pfpn.plot.style import (
    BLUE,
    GREEN,
    ORANGE,
    PINK,
    RED,
    add_legend,
    center_text,
    draw_grid,
    log_xticks,
    rgb,
    show_pixels,
    subplots,
)
from pfpn.roi import CANONICAL_LEVEL, CANONICAL_SIZE
from pfpn.structures import Category, Detections, Instances, things

PALE = 3  # the shade of a class that black names can be read on
FILLS = (BLUE, ORANGE, GREEN, PINK)  # of bins and cells that belong together
FEWEST_CELLS = CANONICAL_SIZE / 2**CANONICAL_LEVEL  # of a box with a level of its own: 14
PREDICTED = (235, 0, 200)  # RGB of a predicted mask; nothing in the drawn world is magenta
Panel = tuple[Float[Tensor, "n 4"], Int[Tensor, " n"], Float[Tensor, " n"]]  # boxes, labels, scores


# Levels -----------------------------------------------------------------------------------------


def plot_levels() -> Figure:
    """Draw the level of a square box over its side, and how many cells of that level it spans."""
    figure, (left, right) = subplots(8.6, 3.1, 1, 2)
    sides = CANONICAL_SIZE * 2 ** torch.linspace(-4, 2.99, 600)
    level, cells = numbers.cells_spanned(sides)
    for k in level.unique().tolist():
        here = level == k
        left.plot(sides[here], level[here], color=BLUE, linewidth=3)
        right.plot(sides[here], cells[here], color=BLUE, linewidth=2)
    right.axhspan(FEWEST_CELLS, 2 * FEWEST_CELLS, color=ORANGE, alpha=0.25, lw=0)
    words = f"{FEWEST_CELLS:g} to {2 * FEWEST_CELLS:g} cells"
    right.text(float(sides[8]), 1.45 * FEWEST_CELLS, words, fontsize=8, va="center")
    for axes in (left, right):
        log_xticks(axes, [CANONICAL_SIZE * 2**i for i in range(-4, 4)])
        axes.set_xlabel("side of the box (pixels)")
        axes.grid(color="0.93")
    left.set_yticks([2, 3, 4, 5], ["p2", "p3", "p4", "p5"])
    left.set_title("the level that the box is read from", fontsize=9)
    right.set_yscale("log", base=2)
    spans = [FEWEST_CELLS * 2**i for i in range(-2, 4)]
    right.set_yticks(spans, [f"{span:g}" for span in spans])
    right.set_title("cells of that level along its side", fontsize=9)
    return figure


def describe_levels() -> str:
    """Return in words what `plot_levels` shows."""
    borders = ", ".join(f"{CANONICAL_SIZE * 2**i:g}" for i in (-1, 0, 1))
    return (
        f"Left: the level rises in steps from p2 to p5, at sides of {borders} pixels. Right: the "
        f"number of cells rises and falls like a saw, between {FEWEST_CELLS:g} and "
        f"{2 * FEWEST_CELLS:g} cells; boxes too small for p2 span fewer, boxes too large for p5 "
        "span more."
    )


def plot_box_level(
    image: Image,
    side: float,
    canonical_size: float,
    level_of: Callable[[float, float], int] | None = None,
) -> Figure:
    """Draw a square box of a given side over the cells of the level it is pooled from.

    Args:
        image: under the box.
        side: of the box, in pixels.
        canonical_size: side of a box that goes to p4, in pixels.
        level_of: another rule, by width and height, for a canonical size of 224 pixels.
    """
    height, width = image.shape[1:]
    figure, axes = subplots(4.4, 4.4 * height / width + 0.35)
    level, cells = numbers.cells_spanned(torch.tensor([float(side)]), canonical_size)
    if level_of is not None:
        published = 224 * side / canonical_size
        level = torch.tensor(level_of(published, published))
        cells = side / 2.0**level
    stride = 2 ** int(level)
    draw_image(axes, image, fade=0.3)
    axes.vlines(range(0, width + 1, stride), 0, height, color="black", lw=0.5, alpha=0.4)
    axes.hlines(range(0, height + 1, stride), 0, width, color="black", lw=0.5, alpha=0.4)
    x0, y0 = (width - side) / 2, (height - side) / 2
    draw_boxes(axes, torch.tensor([[x0, y0, x0 + side, y0 + side]]), FIRST_COLOR, width=2.5)
    axes.set(xlim=(0, width), ylim=(height, 0))
    words = f"p{int(level)}, stride {stride}, {float(cells):.1f} cells"
    axes.set_title(f"side {side:g}: {words}", fontsize=9)
    return figure


# Bins -------------------------------------------------------------------------------------------


def plot_pooling(x: float) -> Figure:
    """Draw where RoIPool and RoIAlign read a box that begins at x: 2 x 2 bins, cells of 16 px."""
    figure = Figure(figsize=(8.6, 3.4))  # no layout engine: this is redrawn while a slider moves
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(0.05, 0.07, 0.975, 0.92, wspace=0.1)
    stride, (rows, columns) = 16, (6, 8)
    x0, y0, x1, y1 = box = (x, 21.0, x + 75, 79.0)
    cells = [cell for row in numbers.rounded_bins(box, stride, 2, (rows, columns)) for cell in row]
    for fill, (top, bottom, a, b) in zip(FILLS, cells, strict=True):
        edges = (a * stride, top * stride, b * stride, bottom * stride)
        draw_rectangle(left, edges, fc=fill, fill=True, alpha=0.35, ec="black", lw=1)
    points = numbers.sample_points(box, bins=2, samples=2)
    colors = [FILLS[i // 2 * 2 + j // 2] for i, j in product(range(4), repeat=2)]
    right.scatter(points[:, 0], points[:, 1], c=colors, s=26, edgecolors="black", linewidths=0.5)
    for part in (0, 0.5, 1):
        right.plot([x0 + 75 * part] * 2, [y0, y1], color="black", lw=1, ls=":")
        right.plot([x0, x1], [y0 + 58 * part] * 2, color="black", lw=1, ls=":")
    for axes in (left, right):
        axes.set_xticks(range(0, columns * stride + 1, stride))
        axes.set_yticks(range(0, rows * stride + 1, stride))
        axes.set(xlim=(0, columns * stride), ylim=(rows * stride, 0), aspect="equal")
        axes.tick_params(labelsize=8)
        draw_grid(axes, "0.8", linewidth=0.8)
        draw_rectangle(axes, box, ec=BAD_COLOR, lw=2)
    first, last = cells[0][2] * stride, cells[-1][3] * stride
    left.set_title(f"RoIPool: box from x = {x:g} to {x1:g}, reads {first} to {last}", fontsize=9)
    right.set_title("RoIAlign: reads between the cells, where the box is", fontsize=9)
    return figure


def plot_reading_errors(errors: Mapping[int, Mapping[str, Float[Tensor, "_n _bins"]]]) -> Figure:
    """Draw the mean distance from a bin's center to where it was read, by stride and method."""
    figure, axes = subplots(7.4, 3.3)
    strides = list(errors)
    looks = ((RED, "s", "-"), (ORANGE, "^", "--"), (PINK, "D", "-."), (BLUE, "o", "-"))
    for name, (color, marker, line) in zip(errors[strides[0]], looks, strict=True):
        mean = [float(errors[stride][name].abs().mean()) for stride in strides]
        axes.plot(range(len(strides)), mean, color=color, marker=marker, linestyle=line, label=name)
    axes.set_xticks(range(len(strides)), [f"stride {s}" for s in strides])
    axes.set(ylabel="distance from the bin's center (pixels)")
    axes.margins(0.08, 0.12)
    add_legend(axes)
    return figure


def describe_reading_errors(errors: Mapping[int, Mapping[str, Float[Tensor, "_n _bins"]]]) -> str:
    """Return in words what `plot_reading_errors` shows."""
    words = []
    for stride, by_method in errors.items():
        listed = ", ".join(f"{name} {float(e.abs().mean()):.1f}" for name, e in by_method.items())
        words.append(f"stride {stride}: {listed}")
    return "Mean distance, in pixels, of what is read from the bin's center. " + "; ".join(words)


def plot_bilinear(values: Float[Tensor, "2 2"], down: float, right: float) -> Figure:
    """Draw four neighboring cells, a point between their centers, and the area each one weighs."""
    figure, axes = subplots(4.0, 3.6)
    total = 0.0
    for (i, j), fill in zip(product((0, 1), repeat=2), FILLS, strict=True):
        x0, y0, x1, y1 = rectangle = numbers.opposite_rectangle(i, j, down, right)
        weight, value = (x1 - x0) * (y1 - y0), float(values[i, j])
        total += weight * value
        draw_rectangle(axes, rectangle, fill=True, facecolor=fill, alpha=0.35, lw=0)
        axes.plot([j], [i], "o", color=fill, markersize=16, markeredgecolor="black")
        center_text(axes, j, i + (0.2 if i else -0.2), f"{value:g} x {weight:.2f}", fontsize=9)
    axes.plot([right, right], [0, 1], color="0.4", lw=0.8, ls=":")
    axes.plot([0, 1], [down, down], color="0.4", lw=0.8, ls=":")
    axes.plot([right], [down], "X", color="black", markersize=11)
    axes.set(
        xlim=(-0.35, 1.35), ylim=(1.4, -0.4), aspect="equal", xticks=[0, 1], yticks=[0, 1],
        xlabel="column", ylabel="row",
    )  # fmt: skip
    axes.set_title(f"value at row {down:g}, column {right:g}: {total:.2f}", fontsize=9)
    return figure


def plot_half_pixel() -> Figure:
    """Draw four cells of 16 pixels in two rulers: pixels, and indices of cells at their centers."""
    figure, axes = subplots(8.4, 2.1)
    for k in range(4):
        fill = ("0.93", "0.85")[k % 2]
        draw_rectangle(axes, (16 * k, 0, 16 * k + 16, 1), fill=True, fc=fill, ec="0.5")
        axes.plot([16 * k + 8], [0.5], "o", color=BLUE, markersize=7)
        axes.text(16 * k + 8, 1.16, f"{k}", ha="center", color=BLUE, fontsize=10)
    for edge in range(0, 65, 16):
        axes.text(edge, -0.3, f"{edge}", ha="center", fontsize=9)
    axes.text(-0.6, 1.16, "index", ha="right", color=BLUE, fontsize=9)
    axes.text(-0.6, -0.3, "pixels", ha="right", fontsize=9)
    axes.annotate(
        "x = 24 px is index 24 / 16 - 0.5 = 1", (24, 0.5), (36.8, 1.75),
        arrowprops={"arrowstyle": "->"}, fontsize=9, va="center",
    )  # fmt: skip
    axes.annotate(
        "without - 0.5 index 1.5 is read, at 32 px", (32, 0.45), (35.2, -0.95), color=BAD_COLOR,
        arrowprops={"arrowstyle": "->", "color": BAD_COLOR}, fontsize=9, va="center",
    )  # fmt: skip
    axes.plot([32], [0.5], "X", color=BAD_COLOR, markersize=8)
    axes.set(xlim=(-8, 65), ylim=(-1.3, 2.1))
    axes.axis("off")
    return figure


def plot_two_products(
    wy: Float[Tensor, "bins h"],
    channel: Float[Tensor, "h w"],
    wx: Float[Tensor, "bins w"],
    box: Float[Tensor, " 4"],
) -> Figure:
    """Draw RoIAlign of one box and channel as a product: Wy, the map, Wx transposed, the bins.

    Args:
        wy: weights of the map's rows, one row of them for each row of bins.
        channel: one channel of the map.
        wx: weights of the map's columns, one row of them for each column of bins.
        box: in cells of the map.
    """
    bins, (height, width) = len(wy), channel.shape
    pooled = wy @ channel @ wx.T
    figure, panels = subplots(9, 2.9, 1, 4, width_ratios=(1.1, 2.1, 0.9, 1.1))
    low, high = float(channel.min()), float(channel.max())
    feature: dict[str, Any] = {"cmap": "viridis", "vmin": low, "vmax": high}
    weight: dict[str, Any] = {"cmap": "magma", "vmin": 0, "aspect": "auto"}
    weight["vmax"] = float(max(wy.max(), wx.max()))
    for axes, values, title, sign, options in (
        (panels[0], wy, f"$W_y$: {bins} x {height}", "", weight),
        (panels[1], channel, f"one channel $F$: {height} x {width}", "\u00d7", feature),
        (panels[2], wx.T, f"$W_x^T$: {width} x {len(wx)}", "\u00d7", weight),
        (panels[3], pooled, f"the bins: {bins} x {len(wx)}", "=", feature),
    ):
        show_pixels(axes, values.numpy(), title, **options)
        style = {"fontsize": 13, "transform": axes.transAxes, "clip_on": False}
        center_text(axes, -0.07, 0.5, sign, **style)
    draw_rectangle(panels[1], box.tolist(), ec="white", lw=2.2)
    draw_rectangle(panels[1], box.tolist(), ec=BAD_COLOR, lw=1.2)
    return figure


def describe_two_products(wy: Float[Tensor, "bins h"], wx: Float[Tensor, "bins w"]) -> str:
    """Return in words what `plot_two_products` shows."""
    filled = [100 * float((weights > 0).float().mean()) for weights in (wy, wx)]
    return (
        f"RoIAlign of one box as a product of matrices: Wy with {wy.shape[0]} rows and "
        f"{wy.shape[1]} columns, one channel of the map with the box on it, Wx transposed, and the "
        f"bins. {filled[0]:.0f} % of Wy and {filled[1]:.0f} % of Wx differ from 0: a short bright "
        "piece in each row of bins, at the position of the box."
    )


# Classes and boxes ------------------------------------------------------------------------------


def plot_class_boxes(
    image: Image,
    proposal: Float[Tensor, " 4"],
    boxes: Float[Tensor, "t 4"],
    probs: Float[Tensor, " t1"],
    categories: Sequence[Category],
) -> Figure:
    """Draw one proposal with the box of each class, and the probabilities, background last."""
    height, width = image.shape[1:]
    figure, (left, right) = subplots(9, 3.4, 1, 2, width_ratios=[1.5, 1])
    kinds = things(categories)
    colors = [to_hex(class_colors(categories)[k.id]) for k in kinds]
    draw_image(left, image, "the proposal (white, dashed) and one box per class", fade=0.3)
    order = probs[:-1].argsort()
    draw_boxes(left, boxes[order], [colors[i] for i in order.tolist()], width=1.8)
    draw_boxes(left, proposal[None], TRUTH_COLOR, width=2, style="--")
    both = torch.cat([boxes, proposal[None]])
    (x0, y0), (x1, y1) = both[:, :2].amin(0).tolist(), both[:, 2:].amax(0).tolist()
    left.set(
        xlim=(max(0, x0 - 12), min(width, x1 + 12)), ylim=(min(height, y1 + 12), max(0, y0 - 12))
    )
    names = [*(k.name for k in kinds), "background"]
    right.barh(names, probs.numpy(), color=[*colors, "0.6"])
    for i, p in enumerate(probs.tolist()):
        right.text(p + 0.02, i, f"{p:.2f}", va="center", fontsize=8)
    # Most bars are empty: the squares beside the names show which box belongs to which class.
    right.scatter(
        [-0.03] * len(kinds), range(len(kinds)), marker="s", s=46, c=colors, edgecolors="black",
        linewidths=0.6, clip_on=False, zorder=3,
    )  # fmt: skip
    right.tick_params(axis="y", length=0, pad=12)
    right.invert_yaxis()
    right.set(xlim=(0, 1.12), xlabel="probability")
    return figure


def _draw_detections(
    axes: Any, image: Image, detections: Panel, categories: Sequence[Category], title: str,
    *, masks: Bool[Tensor, "n h w"] | None, named: bool,
) -> None:  # fmt: skip
    """Draw boxes in their class's color, the best on top, with masks under them if given."""
    boxes, labels, scores = detections
    known = class_colors(categories)
    kinds = [things(categories)[label] for label in labels.tolist()]
    colors = [instance_color(known[kind.id], 0) for kind in kinds]
    pixels = rgb(image) * 0.75 + 64
    if masks is not None:
        taken = np.zeros(pixels.shape[:2], bool)
        for mask, color in zip(masks.cpu().numpy(), colors, strict=True):
            pixels[mask & ~taken] = 0.35 * pixels[mask & ~taken] + 0.65 * np.asarray(color)
            taken |= mask
    draw_pixels(axes, pixels, title)
    order = scores.argsort().tolist()
    words = [kinds[i].name for i in order] if named else []
    shown = [to_hex(instance_color(colors[i], PALE)) for i in order]
    draw_boxes(axes, boxes[order], shown, names=words, width=1.3)


# Masks ------------------------------------------------------------------------------------------


def _draw_contour(axes: Any, mask: Bool[Tensor, "h w"], color: str, width: float) -> None:
    """Draw the smooth outline of a mask over its image."""
    y, x = (np.arange(n) + 0.5 for n in mask.shape)
    axes.contour(x, y, mask.float().numpy(), [0.5], colors=[color], linewidths=width)


def _show_mask(axes: Any, probs: Tensor, title: str, **options: Any) -> None:
    """Show a small mask in gray, 0 black and 1 white."""
    show_pixels(axes, probs.numpy(), title, cmap="gray", vmin=0, vmax=1, **options)


def plot_mask_targets(
    image: Image,
    rois: Float[Tensor, "n 4"],
    masks: Bool[Tensor, "n h w"],
    targets: Bool[Tensor, "n m m"],
) -> Figure:
    """Draw rois with the outline of their instance, and below each the target in the box's grid."""
    figure, panels = subplots(8.8, 4.6, 2, len(rois), squeeze=False)
    for (above, below), roi, mask, target in zip(panels.T, rois, masks, targets, strict=True):
        x0, y0, x1, y1 = roi.tolist()
        draw_image(above, image, f"roi {x1 - x0:.0f} x {y1 - y0:.0f} pixels")
        _draw_contour(above, mask, SECOND_COLOR, 1.8)
        draw_boxes(above, roi[None], FIRST_COLOR, width=2)
        view_square(above, (x0, y0, x1, y1), 8)
        _show_mask(below, target, f"target {target.shape[0]} x {target.shape[1]}")
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
    figure, (first, *rest) = subplots(9, 2.0, 1, len(kinds) + 1)
    draw_image(first, image, "the box")
    draw_boxes(first, box[None], FIRST_COLOR)
    x0, y0, x1, y1 = box.tolist()
    first.set(xlim=(x0 - 5, x1 + 5), ylim=(y1 + 5, y0 - 5), aspect="auto")
    for axes, kind, mask in zip(rest, kinds, probs, strict=True):
        _show_mask(axes, mask, kind.name, aspect="auto")
    rest[label].title.set_fontweight("bold")
    rest[label].spines[:].set(color=BAD_COLOR, linewidth=3)
    return figure


def plot_ceiling(sides: Float[Tensor, " n"], by_bins: Mapping[int, Float[Tensor, " n"]]) -> Figure:
    """Draw the best IoU that a grid allows over the size of the thing, for several grids."""
    figure, axes = subplots(6.8, 3.4)
    looks = ((RED, "s"), (ORANGE, "^"), (BLUE, "o"), (GREEN, "D"))
    for (bins, values), (color, marker) in zip(by_bins.items(), looks, strict=False):
        axes.plot(
            sides.numpy(), values.numpy(), marker, color=color, markersize=4, alpha=0.6, mew=0,
            label=f"{bins} x {bins}, mean {float(values.mean()):.3f}",
        )  # fmt: skip
    log_xticks(axes, [4, 8, 16, 32, 64, 128])
    axes.set(xlabel="side of the thing (root of its box's area, pixels)", ylabel="IoU at best")
    add_legend(axes, loc="lower left")
    return figure


def describe_ceiling(by_bins: Mapping[int, Float[Tensor, " n"]]) -> str:
    """Return in words what `plot_ceiling` shows."""
    listed = ", ".join(
        f"{bins} x {bins}: mean {float(v.mean()):.3f}, lowest {float(v.min()):.2f}"
        for bins, v in by_bins.items()
    )
    return (
        f"IoU of each true mask with itself, resampled to the grid of its box and back. {listed}."
    )


def plot_paste(
    probs: Float[Tensor, "m m"], box: Float[Tensor, " 4"], size: tuple[int, int]
) -> Figure:
    """Draw a small mask over the pixels around its box: its bins, pixel centers, what is inside."""
    figure, (left, right) = subplots(8.4, 4.0, 1, 2)
    x0, y0, x1, y1 = box.tolist()
    mask = paste_masks(probs[None], box[None], size)[0].numpy()
    title = f"the mask's bins in its box ({x0:g}, {y0:g}, {x1:g}, {y1:g})"
    _show_mask(left, probs, title, extent=(x0, x1, y1, y0))
    for i, j in np.ndindex(*probs.shape):
        x = x0 + (j + 0.5) * (x1 - x0) / probs.shape[1]
        y = y0 + (i + 0.5) * (y1 - y0) / probs.shape[0]
        ink = "black" if probs[i, j] > 0.5 else "white"
        center_text(left, x, y, f"{float(probs[i, j]):g}", color=ink)
    title = f"{int(mask.sum())} pixels whose center reads {PASTE_THRESHOLD} or more"
    show_pixels(right, mask, title, cmap="Greens", vmin=0, vmax=2)
    rows, columns = np.nonzero(mask)
    y, x = np.mgrid[0 : size[0], 0 : size[1]] + 0.5
    for axes in (left, right):
        axes.plot(x.ravel(), y.ravel(), ".", color="0.55", markersize=3)
        axes.plot(columns + 0.5, rows + 0.5, "o", color=GREEN, markersize=5)
        draw_rectangle(axes, (x0, y0, x1, y1), ec=BAD_COLOR, lw=2)
        axes.set(
            xlim=(-0.2, size[1] + 0.2), ylim=(size[0] + 0.2, -0.2), aspect="equal",
            xticks=range(size[1] + 1), yticks=range(size[0] + 1),
        )  # fmt: skip
        draw_grid(axes, "0.85", linewidth=0.6)
        axes.tick_params(labelsize=7)
    return figure


# All together -----------------------------------------------------------------------------------


def plot_mask_pairs(pairs: Sequence[numbers.MaskPair]) -> Figure:
    """Draw things cut out: the outline of the true mask white, the predicted mask filled."""
    figure, panels = crop_panels(len(pairs))
    for axes, pair in zip(panels, pairs, strict=True):
        pixels, prediction = rgb(pair.image) * 0.8, pair.prediction.numpy()
        pixels[prediction] = 0.45 * pixels[prediction] + 0.55 * np.asarray(PREDICTED)
        draw_pixels(axes, pixels, f"{pair.title}: IoU {pair.overlap:.2f}")
        _draw_contour(axes, pair.truth, "black", 3.0)
        _draw_contour(axes, pair.truth, "white", 1.6)
        rows, columns = np.nonzero(pair.truth.numpy())
        extent = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        view_square(axes, [float(side) for side in extent], 9.5)
        axes.set_facecolor("0.9")
    return figure


def describe_mask_pairs(pairs: Sequence[numbers.MaskPair]) -> str:
    """Return in words what `plot_mask_pairs` shows."""
    listed = "; ".join(f"{pair.title}, IoU {pair.overlap:.2f}" for pair in pairs)
    return f"True outline and predicted mask of {len(pairs)} things: {listed}."


def plot_instance_stages(
    image: Image,
    proposals: Float[Tensor, "n 4"],
    probs: Float[Tensor, "n t1"],
    detections: Detections,
    masks: Bool[Tensor, "k h w"],
    truth: Instances,
    categories: Sequence[Category],
) -> Figure:
    """Draw a picture's way from proposals to masks in six panels, the truth last.

    `probs` are those of the proposals' classes, background last; `masks` are the detections' own,
    pasted into the image.
    """
    height, width = image.shape[1:]
    figure, panels = subplots(9, 2 * (3 * height / width + 0.25), 2, 3)
    first, *rest = panels.ravel()
    best, label = probs.max(dim=1)
    thing = label < probs.shape[1] - 1
    refined = (detections.boxes, detections.labels, detections.scores)
    sure = detections.scores > 0.5
    confident = (detections.boxes[sure], detections.labels[sure], detections.scores[sure])
    real = (truth.boxes, truth.labels, torch.ones(len(truth)))
    draw_image(first, image, f"1  proposals ({len(proposals)})", fade=0.4)
    # Without the dark rims of `draw_boxes`: a hundred of them would cover the picture.
    outlines = [[(a, b), (c, b), (c, d), (a, d), (a, b)] for a, b, c, d in proposals.tolist()]
    first.add_collection(LineCollection(outlines, colors=BLUE, linewidths=0.7, alpha=0.5))
    for axes, title, panel, filled in (
        (rest[0], "2  not background", (proposals[thing], label[thing], best[thing]), None),
        (rest[1], "3  refined", refined, None),
        (rest[2], "4  score above 0.5", confident, None),
        (rest[3], "5  their masks", confident, masks[sure]),
        (rest[4], "6  truth", real, truth.masks),
    ):
        count = "" if axes is rest[3] else f" ({len(panel[0])})"
        named = axes is rest[2]
        _draw_detections(axes, image, panel, categories, title + count, masks=filled, named=named)
    return figure
