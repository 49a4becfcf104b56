"""Figures of slices: a loss of many pixels on a plane through their scores."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.figure import Figure

from pfpn.course.ch07_surfaces.numbers import (
    LOVASZ,
    REACH,
    ROUNDING,
    Slice,
    evaluate_slice,
    largest_error,
    read_point,
    value_and_slope,
)
from pfpn.plot.style import ORANGE
from pfpn.plot.surface import (
    CONTOUR_COLOR,
    DOT_COLOR,
    HALO,
    LOSSES,
    PALE_COLORS,
    largest_drawn,
)

FG_COLOR, BG_COLOR = ORANGE, CONTOUR_COLOR
MAX_NAMED = 4  # pixels whose numbers stand at their bars

Panels = tuple[Any, Any]  # the map, and the pixels in their order


def plot_slice(
    piece: Slice,
    loss: str = "lovasz_hinge",
    point: tuple[float, float] = (-0.5, 0.5),
    steps: int = 33,
    yours: Callable[..., Any] | None = None,
) -> Figure:
    """Draw a loss over a slice, with one point, its descent, and the pixels in its order.

    Draws few artists, because sliders call it: below 100 ms on one core in total.

    Args:
        piece: the plane.
        loss: a key of LOSSES.
        point: x and y on the plane, -3 to 3.
        steps: of the grid, along each axis.
        yours: the reader's loss, a function of scores (..., p) and the truth, drawn in place of
            `loss`, whose value stands beside.
    """
    figure, panels = prepare_slice(piece, loss, steps, yours)
    draw_point(panels, piece, loss, point, yours)
    return figure


def prepare_slice(
    piece: Slice, loss: str, steps: int = 33, yours: Callable[..., Any] | None = None
) -> tuple[Figure, Panels]:
    """Draw all of `plot_slice` that does not depend on the point."""
    axis = np.linspace(-REACH, REACH, steps)
    value = evaluate_slice(piece, yours or loss, axis)
    figure = Figure(figsize=(7.4, 3.4))
    left = figure.add_axes((0.07, 0.14, 0.36, 0.76))
    right = figure.add_axes((0.54, 0.14, 0.44, 0.76))
    _draw_map(left, axis, value, largest_drawn(loss) if yours is None else float(value.max()))
    left.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH))
    left.set_xlabel(piece.labels[0], fontsize=9)
    left.set_ylabel(piece.labels[1], fontsize=9)
    top, num = largest_error(piece, _sorted_loss(loss)), int(piece.counts.sum())
    right.set(xlim=(0, num), ylim=(0, 1.3 * top), xticks=[0, num], yticks=range(int(top) + 1))
    right.set_xlabel("pixels, largest error first", fontsize=9)
    right.set_ylabel(f"error ({LOSSES[_sorted_loss(loss)][0]})", fontsize=9)
    right.tick_params(labelsize=8)
    for x, y, word, color in (
        (0.03, 0.95, "errors of foreground", FG_COLOR),
        (0.03, 0.875, "errors of background", BG_COLOR),
        (0.5, 0.95, "Jaccard loss so far", "black"),
    ):
        right.text(
            x, y, word, color=color, fontsize=8.5, weight="bold", va="center",
            transform=right.transAxes,
        )  # fmt: skip
    return figure, (left, right)


def draw_point(
    panels: Panels,
    piece: Slice,
    loss: str,
    point: tuple[float, float],
    yours: Callable[..., Any] | None = None,
) -> list[Any]:
    """Draw all of `plot_slice` that depends on the point; return its artists, to redraw them."""
    left, right = panels
    value, slope = value_and_slope(piece, loss, point)
    title, size = _describe_value(LOSSES[loss][0], value, slope), 9.5
    if yours is not None:
        value, slope = value_and_slope(piece, yours, point)
        title, size = f"{_describe_value('yours', value, slope)}\n{title}", 8.5
    artists = [left.set_title(title, size=size)]
    length = float(np.hypot(*slope))
    if length > 1e-6:
        step = -slope / length * (0.6 + 0.9 * min(length, 1.0))
        artists.append(
            left.arrow(
                *point, *step, width=0.06, head_width=0.3, head_length=0.3, color=DOT_COLOR,
                length_includes_head=True, linewidth=0,
            )
        )  # fmt: skip
    artists += left.plot(*point, "o", color=DOT_COLOR, markeredgecolor="white", markersize=9)

    # Bars: errors in their order. Line: the Jaccard loss as pixels join the wrong pixels.
    read = read_point(piece.truth, piece.scores(*point), _sorted_loss(loss), piece.counts)
    edge = np.arange(len(read.order) + 1)
    for kind, color in ((True, FG_COLOR), (False, BG_COLOR)):
        height = np.where(read.is_fg == kind, read.errors, 0.0)
        artists.append(right.stairs(height, edge, fill=True, color=color))
    jaccard = 1 - read.intersection / np.maximum(read.union, 1)
    artists.append(right.stairs(jaccard, edge, baseline=None, color="black", linewidth=1.5))
    if len(read.order) <= MAX_NAMED:
        artists += [
            right.text(
                rank + 0.5, 0.12, f"pixel {number + 1}", fontsize=8.5, ha="center", weight="bold",
                path_effects=HALO,
            )
            for rank, number in enumerate(read.order.tolist())
        ]  # fmt: skip
    num, inter, union = read.count_wrong()
    artists.append(
        right.set_title(f"{num} of {len(read.order)} wrong: I = {inter}, U = {union}", size=10)
    )
    return artists


def _describe_value(name: str, value: float, slope: Float[np.ndarray, " 2"]) -> str:
    return f"{name}: {value:.3f}, slope ({slope[0]:.2f}, {slope[1]:.2f})"


def _sorted_loss(loss: str) -> str:
    """Return the Lovász loss whose errors are shown beside a loss: its own, or the hinge."""
    return loss if loss in LOVASZ else "lovasz_hinge"


def _draw_map(axes: Any, axis: np.ndarray, value: np.ndarray, top: float) -> None:
    """Color by the loss itself, from 0 to `top`; contour its own range.

    Far from a corner a slice is nearly flat.
    """
    levels = contour_levels(value)
    middles = np.concatenate([value.min(keepdims=True)[0], levels, value.max(keepdims=True)[0]])
    shade = (middles[:-1] + middles[1:]) / 2 / (1.3 * max(top, ROUNDING))
    colors = colormaps[PALE_COLORS](shade)
    if np.ptp(value) > ROUNDING:
        axes.contourf(axis, axis, value, levels, colors=list(colors), extend="both")
        axes.contour(axis, axis, value, levels, colors=CONTOUR_COLOR, linewidths=0.7)
    else:
        axes.set_facecolor(colors[0])
    axes.set(aspect="equal", xticks=[-3, 0, 3], yticks=[-3, 0, 3])
    axes.tick_params(labelsize=8)


def contour_levels(value: Float[np.ndarray, "k k"], num: int = 9) -> Float[np.ndarray, " num"]:
    """Return levels that divide the range of a surface evenly, without its ends."""
    return np.linspace(value.min(), value.max(), num + 2)[1:-1]
