"""The pyramid in pictures: what each level sees, where it comes from, what it costs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Num, UInt8
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Polygon, Rectangle
from torch import Tensor

from pfpn.course.ch01_fpn.numbers import Field, LevelCost, amplitudes, count_uses, double_and_smooth
from pfpn.fpn import STRIDES
from pfpn.plot.style import (
    BLUE,
    GREEN,
    ORANGE,
    RED,
    SKY,
    Point,
    add_legend,
    center_text,
    draw_arrow,
    open_axes,
    rgb,
    show_pixels,
    subplots,
)

Shape = tuple[int, int, int]  # channels, height, width

SIDES = {"2": 2.5, "3": 1.85, "4": 1.35, "5": 0.95, "6": 0.7}  # of a drawn map, by level
RISE = 1.3  # from level to level
COLUMNS = {"c": 2.0, "m": 6.1, "p": 10.2}  # backbone, merged maps, pyramid
SHADES = {"p2": "#00553d", "p3": GREEN, "p4": "#66c5ab", "p5": "#cceee4"}  # dark to pale


def plot_fpn(shapes: Mapping[str, Shape]) -> Figure:
    """Draw the FPN with real shapes: backbone, top-down path, pyramid. After [FPN] Fig. 3.

    Args:
        shapes: of "image", "c2" to "c5" and "p2" to "p6".
    """
    figure, axes = subplots(9, 6.3)
    c, m, p = COLUMNS.values()
    for k in "2345":
        y, half = _height(k), SIDES[k] / 2 + 0.35
        _draw_tile(axes, (c, y), SIDES[k], SKY, f"c{k}", shapes[f"c{k}"])
        _draw_tile(axes, (m, y), SIDES[k], ORANGE)
        _draw_tile(axes, (p, y), SIDES[k], GREEN, f"p{k}", shapes[f"p{k}"])
        _draw_step(axes, (c + half, y), (m - half, y), "1x1", above=True)
        _draw_step(axes, (m + half, y), (p - half, y), "3x3", above=True)
        if k != "5":
            upper = _height(str(int(k) + 1))
            _draw_step(axes, (m, upper - 0.22), (m, y + 0.2), "2x nearest")
            axes.add_patch(Circle((m, y), 0.17, facecolor="white", edgecolor="black", zorder=5))
            center_text(axes, m, y, "+", fontsize=12, zorder=6)
            _draw_step(axes, (c, y + 0.25), (c, upper - 0.25))
    _draw_tile(axes, (p, _height("6")), SIDES["6"], GREEN, "p6", shapes["p6"])
    _draw_step(axes, (p, _height("5") + 0.22), (p, _height("6") - 0.2), "every 2nd cell")
    y = _height("2") - RISE
    _draw_tile(axes, (c, y), 3.0, "white", "image", shapes["image"])
    _draw_step(axes, (c, y + 0.3), (c, _height("2") - 0.25))
    titles = ("backbone, bottom-up", "top-down path", "pyramid")
    for x, title in zip((c, m, p), titles, strict=True):
        axes.text(x, _height("6") + 0.65, title, ha="center", fontsize=11, weight="bold")
    center_text(axes, p, y, "channels x height x width", fontsize=9, color="0.35")
    axes.set(xlim=(-0.6, 12.6), ylim=(y - 0.5, _height("6") + 1.05), aspect="equal")
    axes.axis("off")
    return figure


def _height(k: str) -> float:
    return RISE * (int(k) - 2)


def _draw_tile(
    axes: Any, center: Point, width: float, color: str, name: str = "", shape: Shape | None = None
) -> None:
    """Draw a feature map lying in perspective, its name in it and its shape below."""
    (x, y), w = center, width / 2
    h, skew = 0.17 + 0.05 * w, 0.3 * w
    left, right = x - w, x + w
    corners = [(left - skew, y - h), (right - skew, y - h), (right + skew, y + h)]
    corners.append((left + skew, y + h))
    axes.add_patch(Polygon(corners, fc=color, ec="black", lw=0.8, alpha=0.85, zorder=3))
    if name:
        center_text(axes, x, y, name, fontsize=10, weight="bold", zorder=4)
    if shape is not None:
        words = " x ".join(map(str, shape))
        axes.text(x + 0.13, y - h - 0.06, words, ha="left", va="top", fontsize=8, zorder=4)


def _draw_step(axes: Any, start: Point, end: Point, text: str = "", above: bool = False) -> None:
    """Draw an arrow with a text above or beside its middle."""
    draw_arrow(axes, start, end, color="0.2")
    x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
    if above:
        axes.text(x, y + 0.07, text, ha="center", va="bottom", fontsize=9)
    else:
        axes.text(x + 0.12, y, text, ha="left", va="center", fontsize=9)


def plot_cells(image: UInt8[Tensor, "3 h w"]) -> Figure:
    """Draw an image as each level's cells divide it: one mean color per cell."""
    figure, panels = subplots(9, 4.1, 2, 3)
    show_pixels(panels[0, 0], rgb(image), "the image")
    for axes, (level, stride) in zip(panels.flat[1:], STRIDES.items(), strict=True):
        cells = F.avg_pool2d(image[None].float(), stride)[0]
        title = f"{level}: stride {stride}, {cells.shape[1]} x {cells.shape[2]} cells"
        show_pixels(axes, cells.movedim(0, -1).numpy() / 255, title)
    return figure


def plot_fields(image: UInt8[Tensor, "3 h w"], fields: Sequence[Field]) -> Figure:
    """Draw the receptive field of each map's central cell, in theory and as measured.

    The image is drawn in cells of 4 pixels and the measured field in cells of 2: finer than one
    sees at this size, and a light file.
    """
    height, width = image.shape[1:]
    rows = -(-len(fields) // 2)
    figure, grid = subplots(8, rows * (3.9 * height / width + 0.35), rows, 2, squeeze=False)
    gray = F.avg_pool2d(image[None].float().mean(1), 4)[0].numpy() / 255
    pale = np.repeat(np.round(0.6 + 0.4 * gray[..., None], 2), 3, axis=2)
    for axes, field in zip(grid.flat, fields, strict=False):
        title = f"{field.name}: can see {field.theory} pixels, 90 % within {field.side}"
        show_pixels(axes, pale, title, extent=(0, width, height, 0))
        coarse = F.avg_pool2d(field.measured[None], 2)[0]
        heat = (coarse / coarse.max()).sqrt().numpy()
        overlay = np.zeros((*heat.shape, 4))
        overlay[..., 0], overlay[..., 1] = 0.84, 0.37
        overlay[..., 3] = np.clip(1.3 * heat, 0, 0.95)
        axes.imshow(overlay, extent=(0, width, height, 0), interpolation="nearest")
        row, column = field.center
        for side, color, style in ((field.theory, BLUE, "--"), (field.side, RED, "-")):
            corner = (column + 0.5 - side / 2, row + 0.5 - side / 2)
            axes.add_patch(Rectangle(corner, side, side, fill=False, ec=color, ls=style, lw=1.8))
        axes.set(xlim=(0, width), ylim=(height, 0))
    return figure


def describe_fields(fields: Sequence[Field]) -> str:
    """Return the sides of the fields that `plot_fields` draws, in words."""
    words = "; ".join(
        f"{f.name} can see {f.theory} pixels, 90 % of what moves it lies within about "
        f"{round(f.side, -1)}"
        for f in fields
    )
    return (
        "The central cell's receptive field over a gray image, for each map: a dashed square for "
        f"what it can see, a solid one for 90 % of the measured gradient. Sides: {words}."
    )


def plot_maps(
    maps: Mapping[str, Num[np.ndarray, "_h _w 3"]],
    num_columns: int = 3,
    width: float = 9.0,
    title_height: float = 0.28,
) -> Figure:
    """Draw pictures or feature colors side by side, all of one size, each with its title.

    A title of two lines needs a `title_height` of 0.45 inches.
    """
    first = next(iter(maps.values()))
    num_rows = -(-len(maps) // num_columns)
    height = num_rows * (width / num_columns * first.shape[0] / first.shape[1] + title_height)
    height += 0.1  # above the first row of titles
    figure, grid = subplots(width, height, num_rows, num_columns, squeeze=False)
    for axes in grid.flat[len(maps) :]:
        axes.axis("off")
    for axes, (title, colors) in zip(grid.flat, maps.items(), strict=False):
        show_pixels(axes, colors, title)
    return figure


def plot_aliasing(frequency: float = 0.25, num: int = 16) -> Figure:
    """Draw a wave that is doubled by nearest neighbor, then smoothed, and both spectra.

    Args:
        frequency: of the coarse samples, in cycles a cell, in (0, 0.5).
        num: coarse samples; a whole number of waves has to fit.
    """
    doubled, smoothed = double_and_smooth(frequency, num)
    figure, (left, right) = subplots(9, 2.9, 1, 2, width_ratios=(1.5, 1))
    x = torch.arange(2 * num)
    fine = torch.linspace(0, 2 * num - 1, 400)
    wave = (2 * torch.pi * frequency * (fine - 0.5) / 2).cos()
    left.plot(fine, wave, color="0.6", lw=1, label="the wave that was sampled")
    left.step(x, doubled, where="mid", color=RED, label="doubled, nearest")
    left.plot(x, smoothed, "o-", color=BLUE, ms=3, lw=1, label="then (1 2 1) / 4")
    left.set(xlabel="fine cell", ylabel="value", ylim=(-1.25, 1.75), yticks=(-1, 0, 1))
    add_legend(left, ncols=3, columnspacing=1.0, handlelength=1.2)
    rate = torch.arange(num + 1) / (2 * num)
    right.vlines(rate - 0.004, 0, amplitudes(doubled), color=RED, lw=4, label="doubled")
    right.vlines(rate + 0.004, 0, amplitudes(smoothed), color=BLUE, lw=4, label="smoothed")
    right.axvline(0.25, color="0.5", ls=":", lw=1)
    right.text(0.26, 0.72, "finer than the\ncoarse map can contain", fontsize=8, va="top")
    right.set(xlabel="cycles per fine cell", ylabel="amplitude", xlim=(-0.01, 0.51), ylim=(0, 1.1))
    add_legend(right, loc="upper right")
    return figure


def plot_costs(costs: Mapping[str, LevelCost]) -> Figure:
    """Draw each level's part of the FPN's weights and of its multiplications, in percent."""
    figure, axes = subplots(7.5, 2.4)
    for row, kind in enumerate(("weights", "products")):
        left = 0.0
        for level, part in _percent(costs, kind).items():
            axes.barh(row, part, left=left, color=SHADES[level], edgecolor="white")
            text = f"{level}\n{part:.0f} %"
            if part > 4:
                ink = "white" if level in ("p2", "p3") else "black"
                center_text(axes, left + part / 2, row, text, color=ink, fontsize=9)
            elif level == "p5":  # too thin for a text inside: the text stands beside the bar
                center_text(axes, 101, row, text, ha="left", fontsize=9)
            left += part
    names = ("weights", "multiplications")
    axes.set(xlim=(0, 100), xlabel="part of the total (%)", yticks=range(2), yticklabels=names)
    axes.invert_yaxis()
    open_axes(axes)
    return figure


def describe_costs(costs: Mapping[str, LevelCost]) -> str:
    """Return the percentages that `plot_costs` draws, in words."""
    weights, products = _percent(costs, "weights"), _percent(costs, "products")
    words = ", ".join(f"{k} {weights[k]:.0f} and {products[k]:.0f}" for k in costs)
    return f"Two bars: the percentage of all weights and of all multiplications by level: {words}."


def _percent(costs: Mapping[str, LevelCost], kind: str) -> dict[str, float]:
    values = {level: getattr(cost, kind) for level, cost in costs.items()}
    return {level: 100 * value / sum(values.values()) for level, value in values.items()}


def plot_uses(side: int = 8) -> Figure:
    """Draw how often each cell of c2 is used where the stride is in the 1x1, and in the 3x3."""
    figure, panels = subplots(6, 3.1, 1, 2)
    for axes, in_1x1 in zip(panels, (True, False), strict=True):
        uses = count_uses(in_1x1, side).numpy()
        title = f"stride in the {'1x1' if in_1x1 else '3x3'}: {(uses > 0).mean():.0%} of cells used"
        show_pixels(axes, uses, title, cmap="Greens", vmin=0, vmax=12)
        for (row, column), number in np.ndenumerate(uses):
            center_text(axes, column + 0.5, row + 0.5, number)
    return figure
