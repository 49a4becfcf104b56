"""The semantic head in pictures: its branches, its labels, what each part of it is good for."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, Rectangle
from torch import Tensor

from pfpn.course.ch02_semantic.numbers import (
    LEVELS,
    ClassScore,
    confusion,
    enlarge_row,
    sample_positions,
)
from pfpn.plot.palette import UNSET_COLOR, VOID_COLOR, Color, class_colors, ink_on, to_hex
from pfpn.plot.style import (
    BLUE,
    GREEN,
    ORANGE,
    RED,
    SKY,
    YELLOW,
    Point,
    add_legend,
    center_text,
    draw_arrow,
    draw_grid,
    legend_below,
    open_axes,
    show_pixels,
    subplots,
    swatches,
)
from pfpn.structures import Category, stuff, things


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


def plot_branch(
    shapes: Mapping[str, tuple[int, int, int]], channels: int, num_classes: int
) -> Figure:
    """Draw the semantic branch with real shapes. After [PFPN] Fig. 3.

    Args:
        shapes: (channels, height, width) of p2 to p5.
        channels: of the stages.
        num_classes: of the logits.
    """
    figure, axes = subplots(9, 4.6)
    height, width = shapes["p2"][1:]
    for row, level in enumerate(LEVELS):
        y = 1.45 * row
        _draw_box(axes, (0.0, y), 1.3, level, GREEN, shapes[level])
        number, doubles = max(1, int(level[1]) - 2), level != "p2"
        text = "3x3, GN, ReLU\n2x bilinear" if doubles else "3x3, GN, ReLU"
        x = 0.65
        for i in range(number):
            center = 2.35 + 1.95 * (3 - number + i)
            draw_arrow(axes, (x, y), (center - 0.8, y))
            shape = (channels, *(n * 2 ** ((i + 1) * doubles) for n in shapes[level][1:]))
            _draw_box(axes, (center, y), 1.6, text, YELLOW, shape)
            x = center + 0.8
        draw_arrow(axes, (x, y), (7.95, 2.175), style="-")
    axes.add_patch(Circle((8.15, 2.175), 0.24, facecolor="white", edgecolor="black", zorder=4))
    center_text(axes, 8.15, 2.175, "+", fontsize=14, zorder=5)
    x = 8.39
    for center, text, shape in (
        (9.45, "1x1", (num_classes, height, width)),
        (11.35, "4x bilinear\nsoftmax", (num_classes, 4 * height, 4 * width)),
    ):
        draw_arrow(axes, (x, 2.175), (center - 0.7, 2.175))
        _draw_box(axes, (center, 2.175), 1.4, text, SKY, shape)
        x = center + 0.7
    axes.set(xlim=(-0.85, 12.3), ylim=(-0.85, 5.0), aspect="equal")
    axes.axis("off")
    return figure


def _draw_box(
    axes: Any, center: Point, width: float, text: str, color: str, shape: tuple[int, ...]
) -> None:
    """Draw a rounded box with a text in it, bold if it names a level, and a shape below."""
    x, y = center
    corner, style = (x - width / 2, y - 0.33), "round,pad=0,rounding_size=0.1"
    box = FancyBboxPatch(corner, width, 0.66, style, fc=color, ec="black", lw=0.8, alpha=0.85)
    axes.add_patch(box).set_zorder(3)
    center_text(axes, x, y, text, weight="bold" if text in LEVELS else "normal", zorder=4)
    words = " x ".join(map(str, shape))
    center_text(axes, x, y - 0.4, words, va="top", color="0.25", zorder=4)


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
        heat: titles of the panels with single values; their scale is the same and starts at 0.
    """
    first = next(iter(panels.values()))
    num_rows = -(-len(panels) // num_columns)
    cell = width / num_columns * first.shape[0] / first.shape[1] + 0.28
    legend = 0.3 * -(-(len(names) + 1) // 7) if names else 0.0
    figure, grid = subplots(width, num_rows * cell + legend, num_rows, num_columns, squeeze=False)
    top = max((float(panels[title].max()) for title in heat), default=1.0)
    for axes in grid.flat[len(panels) :]:
        axes.axis("off")
    for axes, (title, pixels) in zip(grid.flat, panels.items(), strict=False):
        cmap, low, high = ("magma", 0, top) if title in heat else (None, None, None)
        show_pixels(axes, pixels, title, cmap=cmap, vmin=low, vmax=high)
    if names:
        table = dict(zip([*names, "void"], map(to_hex, [*colors, VOID_COLOR]), strict=True))
        legend_below(figure, swatches(table), ncols=7, frameon=True)
    return figure


def plot_norms() -> Figure:
    """Draw which numbers have the same mean in four norms: one color, one mean."""
    images, channels = 3, 8
    kinds = {
        "batch norm": lambda n, c: c,
        "layer norm": lambda n, c: n,
        "instance norm": lambda n, c: n * channels + c,
        "group norm, 2 groups": lambda n, c: 2 * n + c // 4,
    }
    figure, panels = subplots(9, 1.7, 1, 4)
    for axes, (title, group) in zip(panels, kinds.items(), strict=True):
        for n, c in np.ndindex(images, channels):
            shade = (group(n, c) * 0.382) % 1.0
            color = tuple(0.45 + 0.5 * np.cos(2 * np.pi * (shade + np.arange(3) / 3)) ** 2)
            axes.add_patch(Rectangle((c, n), 1, 1, facecolor=color, edgecolor="white"))
            center_text(axes, c + 0.5, n + 0.5, group(n, c) + 1)
        axes.set(xlim=(0, channels), ylim=(images, 0), xticks=[], yticks=[], aspect="equal")
        axes.set(xlabel="channels", ylabel="images")
        axes.set_title(title, fontsize=9)
    return figure


def plot_alignment(num: int = 4, factor: int = 4) -> Figure:
    """Draw where the pixels of an enlarged row read their values, in two conventions."""
    figure, (rows, error) = subplots(8.5, 3.0, 1, 2, width_ratios=(1.7, 1))
    for cell in range(num):
        face = "0.93" if cell % 2 else "0.86"
        rows.add_patch(Rectangle((cell * factor, -0.4), factor, 2.8, facecolor=face))
        rows.plot((cell + 0.5) * factor, 2.0, "s", color="black", ms=7)
    pixels = torch.arange(num * factor) + 0.5
    for aligned, color, marker, y in ((False, BLUE, "o", 1.0), (True, RED, "D", 0.0)):
        read = (sample_positions(num, factor, aligned) + 0.5) * factor
        for x, position in zip(pixels.tolist(), read.tolist(), strict=True):
            rows.plot([x, position], [y - 0.2, y + 0.25], color=color, lw=0.8)
        rows.plot(pixels, np.full(len(pixels), y - 0.2), marker, color=color, ms=4)
        # At both ends the conventions agree: a ring stays visible around the other's marker.
        style = {"ms": 4} if aligned else {"ms": 9, "mfc": "none", "mew": 1.4}
        label = f"align_corners={aligned}"
        error.plot(pixels, read - pixels, marker, color=color, label=label, **style)
    rows.set(xlim=(0, num * factor), ylim=(-0.4, 2.4), xlabel="pixel")
    names = [f"align_corners\n{aligned}" for aligned in (True, False)]
    rows.set_yticks((0, 1, 2), [*names, "centers\nof cells"], fontsize=8)
    error.axhline(0, color="0.7", lw=0.8, zorder=0)
    error.set(xlabel="pixel", ylabel="reads this far off (pixels)")
    add_legend(error)
    return figure


def plot_doubling(
    values: Sequence[float], times: int, double: Callable[[Tensor], Tensor] | None = None
) -> Figure:
    """Draw a row that is doubled several times, beside one single enlargement of the same size.

    Args:
        values: of the cells, from 0 to 8.
        times: the number of doublings.
        double: the reader's own function, which doubles a row.
    """
    row = torch.tensor(values, dtype=torch.float32)
    factor, doubled = 2**times, row
    for _ in range(times):
        doubled = enlarge_row(doubled, 2, "linear") if double is None else double(doubled)
    often = "once" if times == 1 else f"{times} times"
    name = f"doubled {often}" if double is None else f"{_name(double)}, used {often}"
    figure = Figure(figsize=(4.7, 2.5))
    axes = open_axes(figure.add_axes((0.1, 0.19, 0.87, 0.7)))
    x = (torch.arange(len(doubled)) + 0.5) * len(row) / len(doubled)
    even = (torch.arange(factor * len(row)) + 0.5) / factor
    axes.step(range(len(row) + 1), [*values, values[-1]], where="post", color="0.8", label="cells")
    once = enlarge_row(row, factor, "linear")
    axes.plot(even, once, color=ORANGE, lw=3.5, label=f"enlarged {factor} times in one step")
    axes.plot(x, doubled, "o-", color=BLUE, ms=3, lw=1, label=name)
    axes.plot(torch.arange(len(row)) + 0.5, row, "s", color="black", ms=5, label="centers of cells")
    axes.set(
        xlim=(0, len(row)), ylim=(-0.4, 12), xlabel="position in cells", yticks=(0, 2, 4, 6, 8)
    )
    axes.set_xticks(range(len(row) + 1))
    largest = f"largest: {doubled.max():.2f} doubled, {once.max():.2f} in one step"
    axes.set_title(f"{len(row)} cells, {len(doubled)} values; {largest}", fontsize=9)
    add_legend(axes, loc="upper center", ncols=2, columnspacing=1.2, handlelength=1.4)
    return figure


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", "your function")


def plot_frequencies(frequencies: Mapping[str, float], colors: Sequence[Color]) -> Figure:
    """Draw the fraction of the pixels that each class has, in percent."""
    figure, axes = subplots(7.5, 0.6 + 0.24 * len(frequencies))
    values = [100 * frequency for frequency in frequencies.values()]
    axes.barh(range(len(values)), values, color=[to_hex(c) for c in colors], edgecolor="0.4")
    for y, value in enumerate(values):
        center_text(axes, value + 0.3, y, f"{value:.1f}", ha="left")
    axes.set_yticks(range(len(values)), list(frequencies), fontsize=8)
    axes.set(xlabel="fraction of the pixels (%)", xlim=(0, max(values) + 3))
    axes.invert_yaxis()
    open_axes(axes)
    return figure


def describe_frequencies(frequencies: Mapping[str, float]) -> str:
    """Return the percentages that `plot_frequencies` draws, in words."""
    words = ", ".join(f"{name} {100 * frequency:.1f}" for name, frequency in frequencies.items())
    return f"Bars, one a class, with its fraction of the pixels in percent: {words}."


MIN_ARROW = 5  # percent


def plot_change(
    before: Sequence[ClassScore],
    after: Sequence[ClassScore],
    names: Sequence[str],
    colors: Sequence[Color],
) -> Figure:
    """Draw recall, precision and IoU of each class before (ring) and after (dot) a change."""
    figure, panels = subplots(9, 0.7 + 0.27 * len(names), 1, 3, sharey=True)
    for axes, kind in zip(panels, ("recall", "precision", "iou"), strict=True):
        for y, (old, new, color) in enumerate(zip(before, after, colors, strict=True)):
            start, end = 100 * getattr(old, kind), 100 * getattr(new, kind)
            if abs(end - start) > MIN_ARROW:  # between nearer marks a tip would lie on the far side
                draw_arrow(axes, (start, y), (end, y), color="0.35", zorder=3)
            axes.plot(start, y, "o", mfc="white", mec="0.35", ms=6)
            axes.plot(end, y, "o", color=to_hex(color), mec="0.35", ms=6)
        axes.set(xlim=(0, 102), xlabel=f"{'IoU' if kind == 'iou' else kind} (%)")
        axes.set_yticks(range(len(names)), list(names), fontsize=8)
        draw_grid(axes, axis="y")
    panels[0].invert_yaxis()
    return figure


def describe_change(
    before: Sequence[ClassScore], after: Sequence[ClassScore], names: Sequence[str]
) -> str:
    """Return each class's IoU before and after, in percent, in words."""
    words = "; ".join(
        f"{name} {100 * old.iou:.0f} to {100 * new.iou:.0f}"
        for name, old, new in zip(names, before, after, strict=True)
    )
    return f"Arrows from before to after for recall, precision and IoU of each class. IoU: {words}."


def plot_confusion(
    prediction: Int[Tensor, "*n"], truth: Int[Tensor, "*n"], names: Sequence[str]
) -> Figure:
    """Draw the labels that each true class (row) is given, in percent of its pixels."""
    percent = confusion(prediction, truth, len(names)).numpy() * 100
    figure, axes = subplots(4.8, 4.2)
    axes.imshow(np.sqrt(percent), cmap="Blues", vmin=0, vmax=10)
    for (row, column), value in np.ndenumerate(percent):
        tint = (30, 60, 120) if value > 40 else (255, 255, 255)
        center_text(axes, column, row, f"{value:.1f}", color=ink_on(tint))
    axes.set_xticks(range(len(names)), list(names), fontsize=8, rotation=30)
    axes.set_yticks(range(len(names)), list(names), fontsize=8)
    axes.set(xlabel="prediction", ylabel="truth")
    axes.set_title("percent of the true pixels of a row", fontsize=9)
    return figure
