"""Boxes on pictures: truth, anchors, matches, proposals, and how many of the things they find."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from pfpn.anchors import anchor_grid
from pfpn.boxes import area, iou
from pfpn.matching import FOREGROUND
from pfpn.plot.boxes import (
    BAD_COLOR,
    FIRST_COLOR,
    ROW_COLORS,
    SECOND_COLOR,
    TRUTH_COLOR,
    Image,
    draw_boxes,
    draw_image,
    draw_pixels,
    image_panels,
    view_square,
)
from pfpn.plot.palette import class_colors, instance_color, to_hex
from pfpn.structures import Category, Instances, things

# What figures show ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Miss:
    """A thing that no proposal covers well, with the proposal that comes closest."""

    image: Image
    truth: Float[Tensor, " 4"]
    closest: Float[Tensor, " 4"]
    name: str

    @property
    def overlap(self) -> float:
        """IoU of the two boxes."""
        return float(iou(self.truth[None], self.closest[None])[0, 0])


def iou_of_shift(shift: Float[np.ndarray, " n"], axes: int = 2) -> Float[np.ndarray, " n"]:
    """Return the IoU of a box with its copy shifted by a share of its side, along 1 or 2 axes.

    With s = 1 - shift left of each side, s^axes is shared and 2 - s^axes is covered.
    """
    shared = np.clip(1 - np.abs(shift), 0, 1) ** axes
    return shared / (2 - shared)


def nms_trace(
    boxes: Float[Tensor, "n 4"], scores: Float[Tensor, " n"], threshold: float
) -> Int[Tensor, " n"]:
    """Say of each box which kept box suppressed it; a kept one names itself.

    The greedy rule of non-maximum suppression, one kept box at a time.
    """
    overlaps = iou(boxes, boxes)
    by = torch.full((len(boxes),), -1)
    for best in scores.argsort(descending=True, stable=True).tolist():
        if by[best] < 0:
            by[best] = best
            by[(by < 0) & (overlaps[best] > threshold)] = best
    return by


def best_so_far(
    gt_boxes: Float[Tensor, "n 4"], proposals: Float[Tensor, "k 4"], num: int
) -> Float[Tensor, "n num"]:
    """Return the best IoU that each truth has with the first 1, 2, ..., `num` proposals."""
    if len(proposals) == 0:
        return gt_boxes.new_zeros((len(gt_boxes), num))
    best = iou(gt_boxes, proposals[:num]).cummax(dim=1).values
    return torch.cat([best, best[:, -1:].expand(-1, num - best.shape[1])], dim=1)


def recall(best: Float[Tensor, "n num"], threshold: float) -> Float[Tensor, " num"]:
    """Return the share of truths, in [0, 1], covered with an IoU of `threshold` or more."""
    return (best >= threshold).float().mean(dim=0)


def covered_by_others(instances: Instances) -> Float[Tensor, " n"]:
    """Return the share of each box's pixels that show another thing."""
    shares = []
    taken = instances.masks.any(dim=0)
    for mask, box in zip(instances.masks, instances.boxes.long().tolist(), strict=True):
        x0, y0, x1, y1 = box
        others = taken[y0:y1, x0:x1] & ~mask[y0:y1, x0:x1]
        shares.append(float(others.float().mean()))
    return torch.tensor(shares)


def plot_instances(image: Image, instances: Instances, categories: Sequence[Category]) -> Figure:
    """Draw the things of an image: their boxes on the left, their masks on the right."""
    figure, ((left, right),) = image_panels(1, 2, image)
    own = class_colors(categories)
    kinds = things(categories)
    names = [kinds[label].name for label in instances.labels.tolist()]
    rgb = [
        instance_color(own[kinds[label].id], i) for i, label in enumerate(instances.labels.tolist())
    ]
    draw_image(left, image, "boxes")
    draw_boxes(left, instances.boxes, TRUTH_COLOR, names=names)
    pixels = image.permute(1, 2, 0).cpu().numpy() * 0.35 + 160
    for mask, color in zip(instances.masks.cpu().numpy(), rgb, strict=True):
        pixels[mask] = color
    draw_pixels(right, pixels, "masks, with the tightest box around each")
    draw_boxes(right, instances.boxes, [to_hex(color) for color in rgb], width=1.2)
    return figure


def describe_instances(instances: Instances, categories: Sequence[Category]) -> str:
    """Say in words what `plot_instances` shows."""
    kinds = things(categories)
    listed = ", ".join(
        f"{kinds[label].name} {x1 - x0} x {y1 - y0}"
        for label, (x0, y0, x1, y1) in zip(
            instances.labels.tolist(), instances.boxes.long().tolist(), strict=True
        )
    )
    return (
        f"A drawn street with {len(instances)} things, each in its box on the left and painted on "
        f"the right. Width x height in pixels: {listed}."
    )


def plot_overlap(a: Float[Tensor, " 4"], b: Float[Tensor, " 4"]) -> Figure:
    """Draw two boxes on squared paper, their intersection filled, with the count that makes IoU."""
    figure = Figure(figsize=(4.2, 3.4), layout="constrained")
    axes = figure.subplots()
    shared = torch.cat([torch.maximum(a[:2], b[:2]), torch.minimum(a[2:], b[2:])])
    for box, color, style in ((a, FIRST_COLOR, "-"), (b, SECOND_COLOR, "--")):
        x0, y0, x1, y1 = box.tolist()
        axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, color=color, alpha=0.35, lw=0))
        axes.add_patch(
            Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec=color, ls=style, lw=2.5)
        )
    if bool((shared[2:] > shared[:2]).all()):
        x0, y0, x1, y1 = shared.tolist()
        axes.add_patch(
            Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec="0.2", hatch="///", lw=0)
        )
    high = torch.maximum(a[2:], b[2:])
    axes.set(
        xlim=(-0.5, float(high[0]) + 1.5), ylim=(float(high[1]) + 1.5, -0.5), aspect="equal",
        xlabel="x (pixels)", ylabel="y (pixels)",
        xticks=range(int(high[0]) + 2), yticks=range(int(high[1]) + 2),
    )  # fmt: skip
    axes.tick_params(labelsize=8)
    axes.grid(color="0.88", linewidth=0.8)
    axes.set_axisbelow(True)
    shared_area = float((shared[2:] - shared[:2]).clamp(min=0).prod())
    union = float(area(a) + area(b)) - shared_area
    axes.set_title(
        f"intersection {shared_area:g} (hatched), union {union:g}: IoU {shared_area / union:.3f}",
        fontsize=9,
    )
    return figure


def plot_shift(shift: float, axes: int = 2) -> Figure:
    """Draw a box and its shifted copy, and where they stand on the curve of IoU over shift."""
    figure = Figure(figsize=(4.6, 2.3), layout="constrained")
    left, right = figure.subplots(1, 2)
    down = shift if axes == 2 else 0.0
    for x, y, color, style in ((0, 0, FIRST_COLOR, "-"), (shift, down, SECOND_COLOR, "--")):
        left.add_patch(Rectangle((x, y), 1, 1, fill=False, ec=color, lw=2.5, ls=style))
    left.add_patch(Rectangle((shift, down), 1 - shift, 1 - down, color="0.8", lw=0))
    value = float(iou_of_shift(np.asarray([shift]), axes)[0])
    left.set(xlim=(-0.1, 2.1), ylim=(2.1, -0.1), aspect="equal", xticks=[], yticks=[])
    left.set_title(f"shift {shift:.2f}: IoU {value:.2f}", fontsize=9)
    grid = np.linspace(0, 1, 101)
    for num, style, label in ((1, "--", "along one axis"), (2, "-", "along both axes")):
        right.plot(grid, iou_of_shift(grid, num), color="0.2", linestyle=style, label=label)
    for level in (0.5, 0.7):
        right.axhline(level, color="0.8", linewidth=0.8, zorder=0)
    right.plot([shift], [value], "o", color=BAD_COLOR, markersize=8)
    right.tick_params(labelsize=8)
    right.set(xlabel="shift / side", ylabel="IoU", xlim=(0, 1), ylim=(0, 1.02))
    right.legend(frameon=False, fontsize=8)
    return figure


def plot_anchors(
    image: Image,
    gt_boxes: Float[Tensor, "n 4"],
    *,
    level: str,
    stride: int,
    side: float,
    ratios: Sequence[float],
    place: tuple[float, float] = (0.5, 0.5),
) -> Figure:
    """Draw where a level's anchors stand, and those of one cell with their best IoU.

    Args:
        image: padded or not; the grid spans it.
        gt_boxes: of its things.
        level: its name, for the title.
        stride: of the level, in pixels.
        side: of the level's anchors, in pixels.
        ratios: height / width of the anchors to draw.
        place: (down, across) of the cell, as shares of the grid.
    """
    room = 34  # pixels around the image: anchors reach beyond it
    height, width = image.shape[1] + 2 * room, image.shape[2] + 2 * room
    figure = Figure(figsize=(4.6, 4.6 * height / width + 0.25), layout="constrained")
    axes = figure.subplots()
    size = (-(-image.shape[1] // stride), -(-image.shape[2] // stride))
    anchors = anchor_grid(size, stride, side, torch.tensor(tuple(ratios)))
    row, column = (min(int(share * num), num - 1) for share, num in zip(place, size, strict=True))
    here = anchors[row, column]
    best = iou(here, gt_boxes).max(dim=1).values if len(gt_boxes) else torch.zeros(len(here))
    draw_image(axes, image, fade=0.35)
    ys, xs = np.mgrid[0 : size[0], 0 : size[1]] * stride
    axes.plot(xs.ravel(), ys.ravel(), ".", color="black", markersize=1 + stride**0.5, alpha=0.5)
    draw_boxes(axes, gt_boxes, TRUTH_COLOR, width=1)
    draw_boxes(axes, here, ROW_COLORS, width=2.2, style="--")
    axes.plot([column * stride], [row * stride], "o", color=BAD_COLOR, markersize=7)
    axes.set(xlim=(-room, image.shape[2] + room), ylim=(image.shape[1] + room, -room))
    for spine in axes.spines.values():
        spine.set_visible(False)
    words = ", ".join(f"{b:.2f}" for b in best.tolist())
    axes.set_title(f"{level}: {size[0]} x {size[1]} places, side {side:g}, IoU {words}", fontsize=9)
    return figure


def plot_anchor_fit(
    sides: Float[Tensor, " n"], best: Float[Tensor, " n"], anchor_sides: Sequence[float]
) -> Figure:
    """Draw each truth's best IoU with any anchor over its size, and how the IoUs are spread."""
    figure = Figure(figsize=(8.6, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, gridspec_kw={"width_ratios": [2, 1]})
    left.plot(sides.numpy(), best.numpy(), "o", color="#0072b2", markersize=4, alpha=0.5, mew=0)
    left.set_xscale("log", base=2)
    left.set_xticks(list(anchor_sides), [f"{side:g}" for side in anchor_sides])
    left.minorticks_off()
    left.set(xlabel="side of the thing (root of its box's area, pixels)", ylabel="best IoU")
    left.set(ylim=(0, 1.02))
    right.hist(best.numpy(), bins=np.linspace(0, 1, 21), orientation="horizontal", color="#0072b2")
    right.set(xlabel="things")
    for axes in (left, right):
        axes.axhline(0.7, color=BAD_COLOR, linewidth=1.5)
        axes.axhline(0.3, color="0.4", linewidth=1.5, linestyle="--")
    left.text(float(sides.min()), 0.71, "foreground from 0.7", fontsize=8, va="bottom")
    left.text(float(sides.min()), 0.29, "background below 0.3", fontsize=8, va="top")
    return figure


def describe_anchor_fit(best: Float[Tensor, " n"]) -> str:
    """Say in words what `plot_anchor_fit` shows."""
    return (
        f"A cloud of {len(best)} things: best IoU with any anchor over the thing's size, and a "
        f"histogram. Half of them lie above {best.median():.2f}, "
        f"{100 * (best >= 0.7).float().mean():.0f} % reach 0.7, the lowest is {best.min():.2f}; "
        "large and small things fare alike."
    )


def plot_matches(
    image: Image,
    gt_boxes: Float[Tensor, "n 4"],
    anchors: Float[Tensor, "a 4"],
    matched: Int[Tensor, " a"],
    verdicts: Mapping[str, Int[Tensor, " a"]],
) -> Figure:
    """Draw, side by side, the anchors that become foreground under several rules.

    Args:
        image: under the boxes.
        gt_boxes: drawn solid, in a color each; red where none of its anchors is foreground.
        anchors: drawn dashed, in the color of the truth they answer for.
        matched: index of that truth.
        verdicts: by the rule's name.
    """
    figure, (panels,) = image_panels(1, len(verdicts), image)
    for axes, (name, verdict) in zip(panels, verdicts.items(), strict=True):
        positive = (verdict == FOREGROUND).nonzero()[:, 0]
        answered = set(matched[positive].tolist())
        draw_image(axes, image, fade=0.25)
        own = [ROW_COLORS[i % len(ROW_COLORS)] for i in range(len(gt_boxes))]
        draw_boxes(
            axes, anchors[positive], [own[i] for i in matched[positive]], width=1, style="--"
        )
        for i, box in enumerate(gt_boxes):
            found = i in answered
            draw_boxes(axes, box[None], own[i] if found else BAD_COLOR, width=2 if found else 1.5)
            if not found:
                axes.plot(
                    box[[0, 2, 2, 0]], box[[1, 3, 1, 3]], color=BAD_COLOR, linewidth=0.8, alpha=0.7
                )
        axes.set_title(
            f"{name}: {len(positive)} anchors for {len(answered)} of {len(gt_boxes)} things",
            fontsize=9,
        )
    return figure


def plot_coding(
    pixels: Mapping[str, Float[Tensor, " _n"]], deltas: Mapping[str, Float[Tensor, " _n"]]
) -> Figure:
    """Draw how far truths lie from their anchors, by level: in pixels, and as deltas."""
    figure = Figure(figsize=(8.6, 3.0), layout="constrained")
    for axes, values, label in zip(
        figure.subplots(1, 2), (pixels, deltas),
        ("to the right of the anchor (pixels)", "dx (shares of the anchor's width)"), strict=True,
    ):  # fmt: skip
        axes.boxplot(
            [v.numpy() for v in values.values()], tick_labels=list(values),
            orientation="horizontal", widths=0.6, showfliers=False,
            medianprops={"color": BAD_COLOR},
        )  # fmt: skip
        axes.axvline(0, color="0.8", linewidth=0.8, zorder=0)
        axes.set_xlabel(f"truth's center, {label}")
        axes.invert_yaxis()
    return figure


def plot_box_losses(betas: Sequence[float] = (0.0, 1 / 9, 1.0)) -> Figure:
    """Draw smooth L1 with several betas, and the slope that pulls on a delta."""
    figure = Figure(figsize=(8.6, 3.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    error = np.linspace(-2, 2, 401)
    for beta, style, color in zip(
        betas, ("-", "--", ":"), ("black", "#0072b2", "#d55e00"), strict=True
    ):
        name = "L1 (beta 0)" if beta == 0 else f"smooth L1, beta {beta:.2g}"
        value, slope = smooth_l1(error, beta)
        left.plot(error, value, color=color, linestyle=style, label=name)
        right.plot(error, slope, color=color, linestyle=style)
    left.set(xlabel="error of a delta", ylabel="loss")
    right.set(xlabel="error of a delta", ylabel="slope")
    left.legend(frameon=False, fontsize=8)
    return figure


def smooth_l1(
    error: Float[np.ndarray, " n"], beta: float
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Return smooth L1 and its slope: a parabola within `beta`, L1 less half of `beta` beyond."""
    size = np.abs(error)
    if beta == 0:
        return size, np.sign(error)
    inside = size < beta
    value = np.where(inside, 0.5 * size**2 / beta, size - 0.5 * beta)
    return value, np.where(inside, error / beta, np.sign(error))


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
        shown = axes.imshow(
            values.numpy(), extent=extent, vmin=0, vmax=1, cmap="magma", interpolation="nearest"
        )
        axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
        axes.set_title(f"{level}, best {float(values.max()):.2f}", fontsize=9)
        draw_boxes(axes, gt_boxes, TRUTH_COLOR, width=0.7)
    figure.colorbar(shown, ax=panels, label="objectness", shrink=0.7)
    return figure


def plot_nms(
    image: Image,
    boxes: Float[Tensor, "n 4"],
    scores: Float[Tensor, " n"],
    threshold: float,
) -> Figure:
    """Draw which boxes survive: each kept one in a color, the boxes it suppressed thin in it."""
    by = nms_trace(boxes, scores, threshold)
    kept = (by == torch.arange(len(by))).nonzero()[:, 0]
    kept = kept[scores[kept].argsort(descending=True)]
    figure, ((axes,),) = image_panels(1, 1, image, width=4.6)
    draw_image(axes, image, fade=0.35)
    colors = {int(k): ROW_COLORS[i % len(ROW_COLORS)] for i, k in enumerate(kept)}
    lost = (by != torch.arange(len(by))).nonzero()[:, 0]
    draw_boxes(axes, boxes[lost], [colors[int(i)] for i in by[lost]], width=0.5, style="--")
    draw_boxes(axes, boxes[kept.flip(0)], [colors[int(k)] for k in kept.flip(0)], width=2)
    axes.set_title(f"threshold {threshold:g}: {len(kept)} of {len(boxes)} boxes stay", fontsize=9)
    return figure


def plot_recall(
    curves: Mapping[str, Float[Tensor, " num"]], title: str = "", *, ends: Sequence[int] = ()
) -> Figure:
    """Draw recall over the number of proposals an image, one line per name.

    Args:
        curves: the recall, in [0, 1], of the first 1, 2, ... proposals.
        title: over the axes.
        ends: numbers of proposals to mark.
    """
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    styles = ("-", "--", "-.", ":")
    colors = ("#0072b2", "#d55e00", "black", "#009e73")
    for i, (name, values) in enumerate(curves.items()):
        count = np.arange(1, len(values) + 1)
        axes.plot(count, values.numpy(), color=colors[i % 4], linestyle=styles[i % 4], label=name)
    for end in ends:
        axes.axvline(end, color="0.8", linewidth=0.8, zorder=0)
    axes.set_xscale("log")
    ticks = [t for t in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if t <= len(values)]
    axes.set_xticks(ticks, [str(t) for t in ticks])
    axes.minorticks_off()
    axes.set(
        xlabel="proposals an image, best first", ylabel="share of things found", ylim=(0, 1.02)
    )
    axes.set_title(title, fontsize=9)
    axes.legend(frameon=False, fontsize=8, loc="best")
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    return figure


def describe_recall(curves: Mapping[str, Float[Tensor, " num"]], at: Sequence[int]) -> str:
    """Say in words what `plot_recall` shows, with the values at some numbers of proposals."""
    lines = []
    for name, values in curves.items():
        listed = ", ".join(f"{100 * float(values[n - 1]):.0f} % with {n}" for n in at)
        lines.append(f"{name}: {listed}")
    return "Share of things found over the number of proposals. " + "; ".join(lines) + "."


def plot_misses(misses: Sequence[Miss], *, columns: int = 4, room: int = 14) -> Figure:
    """Draw things that proposals miss, cut out: the truth solid, the closest proposal dashed."""
    rows = -(-len(misses) // columns)
    figure = Figure(figsize=(8.8, 2.5 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(misses) :]:
        axes.set_visible(False)
    for axes, miss in zip(panels, misses, strict=False):
        draw_image(axes, miss.image)
        draw_boxes(axes, miss.closest[None], FIRST_COLOR, width=2, style="--")
        draw_boxes(axes, miss.truth[None], TRUTH_COLOR, width=2)
        both = torch.stack([miss.truth, miss.closest])
        view_square(axes, [*both[:, :2].amin(0).tolist(), *both[:, 2:].amax(0).tolist()], room)
        axes.set_facecolor("0.9")
        x0, y0, x1, y1 = miss.truth.long().tolist()
        axes.set_title(f"{miss.name}, {x1 - x0} x {y1 - y0}: IoU {miss.overlap:.2f}", fontsize=9)
    return figure


def describe_misses(misses: Sequence[Miss]) -> str:
    """Say in words what `plot_misses` shows."""
    listed = []
    for miss in misses:
        x0, y0, x1, y1 = miss.truth.long().tolist()
        listed.append(f"a {miss.name} of {x1 - x0} x {y1 - y0} pixels, IoU {miss.overlap:.2f}")
    return f"Truth and closest box of {len(misses)} things: " + "; ".join(listed) + "."
