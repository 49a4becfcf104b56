"""Figures of losses over the probabilities of three classes."""

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from pfpn.course.ch07_surfaces.simplex import (
    CLASSES,
    CORNERS,
    SIMPLEX_LOSSES,
    evaluate_simplex,
    make_triangle,
    second_pixel,
)
from pfpn.plot.style import halo
from pfpn.plot.surface import CONTOUR_COLOR, DOT_COLOR, PALE_COLORS

TOPS = {"miou_loss": 1.0, "cross_entropy": 3.0, "present": 1.0, "all": 1.0}
# Two predictions for the first pixel: 0.4 for A, and the rest for one of the other classes
RIVALS = {"B": (0.4, 0.6, 0.0), "C": (0.4, 0.0, 0.6)}


def plot_simplex(second_pixel_right: float, steps: int = 24) -> Figure:
    """Draw four losses of two pixels over the first pixel's probabilities of three classes.

    Args:
        second_pixel_right: probability of the second pixel's true class.
        steps: of the grid along each side.
    """
    figure = Figure(figsize=(9.2, 2.7))
    triangle, second = make_triangle(steps), second_pixel(second_pixel_right)
    for column, (loss, title) in enumerate(SIMPLEX_LOSSES.items()):
        axes = figure.add_axes((0.025 + 0.25 * column, 0.08, 0.2, 0.66))
        values = evaluate_simplex(loss, triangle.probs, second).numpy()
        _draw_triangle(axes, triangle.points, values.clip(0, TOPS[loss]), TOPS[loss], loss)
        axes.set_title(title.replace(", ", ",\n"), fontsize=10, y=1.09)
        for name, probs in RIVALS.items():
            point = np.array(probs) @ CORNERS
            value = float(evaluate_simplex(loss, second.new_tensor(probs), second))
            axes.plot(*point, "o", color=DOT_COLOR, markeredgecolor="white", clip_on=False)
            side = -1 if name == "B" else 1
            axes.annotate(
                f"{value:.2f}", point, (9 * side, 4), textcoords="offset points", fontsize=9,
                ha="right" if side < 0 else "left", path_effects=halo(), annotation_clip=False,
            )  # fmt: skip
    return figure


def _draw_triangle(
    axes: Any, points: np.ndarray, values: np.ndarray, top: float, loss: str
) -> None:
    levels = np.linspace(0, top, 11)
    if loss == "miou_loss":  # flat where one class is the most probable
        middle = CORNERS.mean(0)
        for c in range(3):
            halves = [(CORNERS[c] + CORNERS[other]) / 2 for other in ((c + 1) % 3, (c + 2) % 3)]
            value = values[np.argmin(np.hypot(*(points - CORNERS[c]).T))]
            color = colormaps[PALE_COLORS](value / (1.4 * top))
            axes.fill(*np.array([CORNERS[c], halves[0], middle, halves[1]]).T, color=color)
    else:
        axes.tricontourf(*points.T, values, levels, cmap=PALE_COLORS, vmin=0, vmax=1.4 * top)
        axes.tricontour(*points.T, values, levels[1:-1], colors=CONTOUR_COLOR, linewidths=0.6)
    axes.plot(*CORNERS[[0, 1, 2, 0]].T, color="0.4", linewidth=0.8, clip_on=False)
    for name, corner, shift in zip(CLASSES, CORNERS, ((0, 5), (-6, -9), (6, -9)), strict=True):
        axes.annotate(
            name, corner, shift, textcoords="offset points", ha="center", weight="bold",
            annotation_clip=False,
        )  # fmt: skip
    axes.set(aspect="equal", xlim=(0, 1), ylim=(0, np.sqrt(0.75)))
    axes.axis("off")


def describe_simplex(sures: tuple[float, ...]) -> str:
    """Return in words what `plot_simplex` shows for some probabilities of the second pixel."""
    words = []
    for sure in sures:
        second = second_pixel(sure)
        parts = []
        for loss, title in SIMPLEX_LOSSES.items():
            to_b, to_c = (
                float(evaluate_simplex(loss, second.new_tensor(probs), second))
                for probs in RIVALS.values()
            )
            parts.append(f"{title}: {to_b:.2f} and {to_c:.2f}")
        words.append(f"with {sure:g} for the true class of the second pixel: {'; '.join(parts)}")
    return (
        "Four triangles, each a loss of two pixels over the first pixel's probabilities of the "
        "classes A, B and C. The first pixel truly shows A, the second B. Two points are marked: "
        "0.4 for A and 0.6 for B, and 0.4 for A and 0.6 for C. Their losses "
        f"{'; '.join(words)}."
    )
