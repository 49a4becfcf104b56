"""The semantic head in pictures: its branches, its labels, what each part of it is good for.

The data come first, as functions of their own; the figures paint them, and a `describe_*` says the
same in words with the numbers that were computed.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, Patch, Rectangle
from torch import Tensor

from pfpn.fpn import Pyramid
from pfpn.plot.palette import UNSET_COLOR, VOID_COLOR, Color, class_colors, ink_on, to_hex
from pfpn.semantic import SemanticHead
from pfpn.structures import IGNORE, Category, stuff, things

LEVELS = ("p2", "p3", "p4", "p5")
LEVEL_COLOR = "#009e73"  # Okabe and Ito's palette
STAGE_COLOR = "#f0e442"
SUM_COLOR = "#56b4e9"
TRUE_COLOR = "#0072b2"
FALSE_COLOR = "#d55e00"


# Data -------------------------------------------------------------------------------------------


def branch_maps(head: SemanticHead, pyramid: Pyramid) -> dict[str, Tensor]:
    """Return what each level's branch hands to the sum: maps at stride 4."""
    return {level: head.branches[level](pyramid[level]) for level in LEVELS}


def classify(
    head: SemanticHead,
    branches: Mapping[str, Float[Tensor, "b _c h w"]],
    keep: Collection[str] = LEVELS,
    fill: Literal["zero", "mean"] = "zero",
) -> Float[Tensor, "b c h w"]:
    """Return the head's logits from some of its branches.

    Args:
        head: its 1x1 is used.
        branches: see `branch_maps`.
        keep: levels that take part.
        fill: what stands in for the others: nothing, or each channel's mean over all pixels of all
            images, which leaves the sum at its usual size.
    """
    total = torch.zeros_like(branches["p2"])
    for level in LEVELS:
        if level in keep:
            total = total + branches[level]
        elif fill == "mean":
            total = total + branches[level].mean((0, 2, 3), keepdim=True)
    return head.classify(total)


@dataclass(frozen=True, slots=True)
class ClassScore:
    """How one class was found, in [0, 1]; nan where the class is neither there nor found."""

    iou: float
    recall: float  # share of its pixels that were found
    precision: float  # share of what was found that is right


def class_scores(
    found: Int[Tensor, "*n"], truth: Int[Tensor, "*n"], num_classes: int
) -> list[ClassScore]:
    """Compare label maps class by class over all their pixels but those that are IGNORE."""
    counts = truth != IGNORE
    pairs = truth[counts] * num_classes + found[counts]
    table = torch.bincount(pairs, minlength=num_classes**2).view(num_classes, num_classes).double()
    right, true, said = table.diag(), table.sum(1), table.sum(0)
    columns = (right / (true + said - right), right / true, right / said)
    return [ClassScore(*row) for row in torch.stack(columns, 1).tolist()]


def mean_iou(found: Int[Tensor, "*n"], truth: Int[Tensor, "*n"], num_classes: int) -> float:
    """Return the mean IoU of the classes that are there or found."""
    return float(np.nanmean([s.iou for s in class_scores(found, truth, num_classes)]))


def near_border(labels: Int[Tensor, "b h w"], reach: int = 2) -> Bool[Tensor, "b h w"]:
    """Tell which pixels have another label within `reach` pixels in each direction."""
    values = labels[:, None].float()
    side = 2 * reach + 1
    highest = F.max_pool2d(values, side, 1, reach)
    lowest = -F.max_pool2d(-values, side, 1, reach)
    return (highest != lowest)[:, 0]


def entropy(logits: Float[Tensor, "b c h w"]) -> Float[Tensor, "b h w"]:
    """Return how undecided each pixel is, in nats: 0 if sure, log c if it has no idea."""
    return -(logits.softmax(1) * logits.log_softmax(1)).sum(1)


def sample_positions(num: int, factor: int, align_corners: bool) -> Float[Tensor, " n"]:
    """Return where in a row of `num` cells each of `factor` times as many pixels reads its value.

    In cells: 0 is the center of the first cell.
    """
    x = torch.arange(num * factor, dtype=torch.float64)
    if align_corners:
        return x * (num - 1) / (num * factor - 1)
    return ((x + 0.5) / factor - 0.5).clamp(0, num - 1)


def block_labels(labels: Int[Tensor, "b h w"], num_classes: int, side: int) -> Tensor:
    """Return the best that one label per block of side x side pixels can say: the most frequent."""
    counts = labels != IGNORE
    votes = F.one_hot(labels.where(counts, 0), num_classes).movedim(-1, 1) * counts[:, None]
    best = F.avg_pool2d(votes.double(), side).argmax(1)
    return best.repeat_interleave(side, 1).repeat_interleave(side, 2)


def label_names(categories: Sequence[Category], *, all_classes: bool = False) -> list[str]:
    """Return the names of the semantic labels in their order."""
    first = [c.name for c in things(categories)] if all_classes else ["other"]
    return first + [c.name for c in stuff(categories)]


def label_colors(categories: Sequence[Category], *, all_classes: bool = False) -> list[Color]:
    """Return the colors of the semantic labels in their order; "other" is gray."""
    colors = class_colors(categories)
    first = [colors[c.id] for c in things(categories)] if all_classes else [UNSET_COLOR]
    return first + [colors[c.id] for c in stuff(categories)]


def paint_labels(labels: Int[Tensor, "h w"], colors: Sequence[Color]) -> UInt8[np.ndarray, "h w 3"]:
    """Return a label map as RGB pixels; IGNORE has the color of void."""
    table = np.full((256, 3), VOID_COLOR, np.uint8)
    table[: len(colors)] = colors
    return table[labels.numpy()]


# Figures ----------------------------------------------------------------------------------------


def plot_branch(
    shapes: Mapping[str, tuple[int, int, int]], channels: int, num_classes: int
) -> Figure:
    """Draw the semantic branch with real shapes. After [PFPN] Fig. 3.

    Args:
        shapes: (channels, height, width) of p2 to p5.
        channels: of the stages.
        num_classes: of the logits.
    """
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    axes = figure.subplots()
    height, width = shapes["p2"][1:]
    for row, level in enumerate(LEVELS):
        y = 1.45 * row
        _draw_box(axes, 0.0, y, 1.3, level, LEVEL_COLOR, _shape_text(*shapes[level]), bold=True)
        number = max(1, int(level[1]) - 2)
        x = 0.65
        for i in range(number):
            center = 2.35 + 1.95 * (3 - number + i)
            _draw_line(axes, x, y, center - 0.8, y)
            doublings = i + 1 if level != "p2" else 0
            text = "3x3, GN, ReLU\n2x bilinear" if level != "p2" else "3x3, GN, ReLU"
            shape = (channels, *(n * 2**doublings for n in shapes[level][1:]))
            _draw_box(axes, center, y, 1.6, text, STAGE_COLOR, _shape_text(*shape))
            x = center + 0.8
        _draw_line(axes, x, y, 7.95, 2.175, end=False)
    axes.add_patch(Circle((8.15, 2.175), 0.24, facecolor="white", edgecolor="black", zorder=4))
    axes.text(8.15, 2.175, "+", ha="center", va="center", fontsize=14, zorder=5)
    x = 8.39
    for center, text, shape in (
        (9.45, "1x1", (num_classes, height, width)),
        (11.35, "4x bilinear\nsoftmax", (num_classes, 4 * height, 4 * width)),
    ):
        _draw_line(axes, x, 2.175, center - 0.7, 2.175)
        _draw_box(axes, center, 2.175, 1.4, text, SUM_COLOR, _shape_text(*shape))
        x = center + 0.7
    axes.set(xlim=(-0.85, 12.3), ylim=(-0.85, 5.0), aspect="equal")
    axes.axis("off")
    return figure


def _shape_text(channels: int, height: int, width: int) -> str:
    return f"{channels} x {height} x {width}"


def _draw_box(
    axes: Any, x: float, y: float, w: float, text: str, color: str, below: str, bold: bool = False
) -> None:
    axes.add_patch(
        FancyBboxPatch(
            (x - w / 2, y - 0.33), w, 0.66, boxstyle="round,pad=0,rounding_size=0.1",
            facecolor=color, edgecolor="black", linewidth=0.8, alpha=0.85, zorder=3,
        )
    )  # fmt: skip
    weight = "bold" if bold else "normal"
    axes.text(x, y, text, ha="center", va="center", fontsize=8, weight=weight, zorder=4)
    axes.text(x, y - 0.4, below, ha="center", va="top", fontsize=8, color="0.25", zorder=4)


def _draw_line(axes: Any, x0: float, y0: float, x1: float, y1: float, end: bool = True) -> None:
    style = {"arrowstyle": "-|>" if end else "-", "color": "0.3"}
    axes.annotate("", xy=(x1, y1), xytext=(x0, y0), arrowprops=style, zorder=2)


def plot_panels(
    panels: Mapping[str, np.ndarray],
    names: Sequence[str] = (),
    colors: Sequence[Color] = (),
    *,
    num_columns: int = 3,
    width: float = 9.0,
    heat: Collection[str] = (),
) -> Figure:
    """Draw pictures side by side, with a legend of the labels below if there are names.

    Args:
        panels: RGB pixels (h, w, 3), or single values (h, w), by title.
        names: of the labels.
        colors: of the labels.
        num_columns: of pictures.
        width: in inches.
        heat: titles of the panels that show single values; they share a scale from 0.
    """
    first = next(iter(panels.values()))
    num_rows = -(-len(panels) // num_columns)
    cell = width / num_columns * first.shape[0] / first.shape[1] + 0.28
    legend = 0.3 * -(-(len(names) + 1) // 7) if names else 0.0
    figure = Figure(figsize=(width, num_rows * cell + legend), layout="constrained")
    grid = figure.subplots(num_rows, num_columns, squeeze=False)
    top = max((float(panels[title].max()) for title in heat), default=1.0)
    for axes in grid.flat:
        axes.axis("off")
    for axes, (title, pixels) in zip(grid.flat, panels.items(), strict=False):
        axes.axis("on")
        extent = (0, pixels.shape[1], pixels.shape[0], 0)
        limits = {"cmap": "magma", "vmin": 0, "vmax": top} if title in heat else {}
        axes.imshow(pixels, interpolation="nearest", extent=extent, **limits)
        axes.set(xticks=[], yticks=[])
        axes.set_title(title, fontsize=9)
    if names:
        swatches = [
            Patch(facecolor=to_hex(color), edgecolor="0.4", label=name)
            for name, color in zip([*names, "void"], [*colors, VOID_COLOR], strict=True)
        ]
        figure.legend(handles=swatches, loc="outside lower center", ncols=7, fontsize=8)
    return figure


def plot_norms() -> Figure:
    """Draw which numbers share a mean in four norms: one color, one mean."""
    figure = Figure(figsize=(9, 1.7), layout="constrained")
    images, channels = 3, 8
    kinds = {
        "batch norm": lambda n, c: c,
        "layer norm": lambda n, c: n,
        "instance norm": lambda n, c: n * channels + c,
        "group norm, 2 groups": lambda n, c: 2 * n + c // 4,
    }
    for axes, (title, group) in zip(figure.subplots(1, 4), kinds.items(), strict=True):
        for n in range(images):
            for c in range(channels):
                shade = (group(n, c) * 0.382) % 1.0
                color = tuple(0.45 + 0.5 * np.cos(2 * np.pi * (shade + np.arange(3) / 3)) ** 2)
                axes.add_patch(Rectangle((c, n), 1, 1, facecolor=color, edgecolor="white"))
                axes.text(c + 0.5, n + 0.5, group(n, c) + 1, ha="center", va="center", size=8)
        axes.set(xlim=(0, channels), ylim=(images, 0), xticks=[], yticks=[], aspect="equal")
        axes.set(xlabel="channels", ylabel="images")
        axes.set_title(title, fontsize=9)
    return figure


def plot_alignment(num: int = 4, factor: int = 4) -> Figure:
    """Draw where the pixels of an enlarged row read their values, in two conventions."""
    figure = Figure(figsize=(8.5, 3.0), layout="constrained")
    rows, error = figure.subplots(1, 2, width_ratios=(1.7, 1))
    for cell in range(num):
        face = "0.93" if cell % 2 else "0.86"
        rows.add_patch(Rectangle((cell * factor, -0.4), factor, 2.8, facecolor=face))
        rows.plot((cell + 0.5) * factor, 2.0, "s", color="black", ms=7)
    pixels = torch.arange(num * factor) + 0.5
    kinds = ((False, TRUE_COLOR, "o", 1.0), (True, FALSE_COLOR, "D", 0.0))
    for aligned, color, marker, y in kinds:
        read = (sample_positions(num, factor, aligned) + 0.5) * factor
        name = f"align_corners={aligned}"
        for x, place in zip(pixels.tolist(), read.tolist(), strict=True):
            rows.plot([x, place], [y - 0.2, y + 0.25], color=color, lw=0.8)
        rows.plot(pixels, np.full(len(pixels), y - 0.2), marker, color=color, ms=4)
        error.plot(pixels, read - pixels, marker, color=color, ms=4, label=name)
    rows.set(xlim=(0, num * factor), ylim=(-0.4, 2.4), xlabel="pixel")
    names = [f"align_corners\n{aligned}" for aligned in (True, False)]
    rows.set_yticks((0, 1, 2), [*names, "centers\nof cells"], fontsize=8)
    error.axhline(0, color="0.7", lw=0.8, zorder=0)
    error.set(xlabel="pixel", ylabel="reads this far off (pixels)")
    error.legend(fontsize=8, frameon=False)
    return figure


def plot_class_shares(shares: Mapping[str, float], colors: Sequence[Color]) -> Figure:
    """Draw the share of the pixels that each class has."""
    figure = Figure(figsize=(7.5, 0.6 + 0.24 * len(shares)), layout="constrained")
    axes = figure.subplots()
    values = [100 * share for share in shares.values()]
    axes.barh(range(len(shares)), values, color=[to_hex(c) for c in colors], edgecolor="0.4")
    for y, value in enumerate(values):
        axes.text(value + 0.3, y, f"{value:.1f}", va="center", fontsize=8)
    axes.set_yticks(range(len(shares)), list(shares), fontsize=8)
    axes.set(xlabel="share of the pixels (%)", xlim=(0, max(values) + 3))
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def describe_class_shares(shares: Mapping[str, float]) -> str:
    """Say in words what `plot_class_shares` shows."""
    words = ", ".join(f"{name} {100 * share:.1f}" for name, share in shares.items())
    return f"Bars, one a class, with its share of the pixels in percent: {words}."


def plot_change(
    before: Sequence[ClassScore],
    after: Sequence[ClassScore],
    names: Sequence[str],
    colors: Sequence[Color],
) -> Figure:
    """Draw recall, precision and IoU of each class before (ring) and after (dot) a change."""
    figure = Figure(figsize=(9, 0.7 + 0.27 * len(names)), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    for axes, kind in zip(panels, ("recall", "precision", "iou"), strict=True):
        for y, (old, new, color) in enumerate(zip(before, after, colors, strict=True)):
            start, end = 100 * getattr(old, kind), 100 * getattr(new, kind)
            axes.annotate(
                "", (end, y), (start, y), arrowprops={"arrowstyle": "-|>", "color": "0.35"}
            )
            axes.plot(start, y, "o", mfc="white", mec="0.35", ms=6)
            axes.plot(end, y, "o", color=to_hex(color), mec="0.35", ms=6)
        axes.set(xlim=(0, 102), xlabel=f"{'IoU' if kind == 'iou' else kind} (%)")
        axes.set_yticks(range(len(names)), list(names), fontsize=8)
        axes.grid(axis="y", color="0.92")
        axes.set_axisbelow(True)
    panels[0].invert_yaxis()
    return figure


def describe_change(
    before: Sequence[ClassScore], after: Sequence[ClassScore], names: Sequence[str]
) -> str:
    """Say in words what `plot_change` shows, in tens of percent where it matters little."""
    words = "; ".join(
        f"{name} {100 * old.iou:.0f} to {100 * new.iou:.0f}"
        for name, old, new in zip(names, before, after, strict=True)
    )
    return f"Arrows from before to after for recall, precision and IoU of each class. IoU: {words}."


def plot_confusion(
    found: Int[Tensor, "*n"], truth: Int[Tensor, "*n"], names: Sequence[str]
) -> Figure:
    """Draw which class was taken for which: rows are the truth, in percent of its pixels."""
    shares = confusion(found, truth, len(names)).numpy() * 100
    figure = Figure(figsize=(4.8, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=10)
    for row, column in np.ndindex(shares.shape):
        tint = (30, 60, 120) if shares[row, column] > 40 else (255, 255, 255)
        axes.text(
            column, row, f"{shares[row, column]:.1f}",
            ha="center", va="center", fontsize=8, color=ink_on(tint),
        )  # fmt: skip
    axes.set_xticks(range(len(names)), list(names), fontsize=8, rotation=30)
    axes.set_yticks(range(len(names)), list(names), fontsize=8)
    axes.set(xlabel="found", ylabel="truth")
    axes.set_title("percent of the true pixels of a row", fontsize=9)
    return figure


def confusion(
    found: Int[Tensor, "*n"], truth: Int[Tensor, "*n"], num_classes: int
) -> Float[Tensor, "c c"]:
    """Return the share of each true class (row) that was given each label (column)."""
    counts = truth != IGNORE
    pairs = truth[counts] * num_classes + found[counts]
    table = torch.bincount(pairs, minlength=num_classes**2).view(num_classes, num_classes).double()
    return table / table.sum(1, keepdim=True).clamp(min=1)
