"""Descent paths: where each loss leads two scores that start wrong.

Every loss gets the same starts, the same step size and the same number of steps of plain
subgradient descent on the scores themselves, without a network between. So the paths show the
losses alone: who moves one pixel at a time, who stops on a plateau, who arrives.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure

from pfpn.plot.surface import (
    LOSSES,
    PALE_COLORS,
    UNBOUNDED,
    Truth,
    draw_contours,
    loss_at,
    make_surface,
    truth_name,
    value_and_gradient,
)

DESCENT_LOSSES = (
    "cross_entropy", "hinge", "lovasz_hinge", "soft_jaccard", "dice", "lovasz_softmax"
)  # fmt: skip
STARTS: tuple[tuple[float, float], ...] = (
    (2.5, -2.5), (2.5, 0.5), (0.7, -2.7), (-2.0, -2.5), (2.6, 2.2), (-0.5, -0.2)
)  # fmt: skip
START_COLORS = ("#e69f00", "#7a1f5c", "#0072b2", "#009e73", "#d55e00", "black")


@dataclass(frozen=True, slots=True)
class Path:
    """One descent: the scores after each step, and what both losses say of them."""

    loss: str
    points: Float[np.ndarray, "n 2"]  # the start is the first
    values: Float[np.ndarray, " n"]
    jaccard: Float[np.ndarray, " n"]  # the discrete Jaccard loss on the way

    @property
    def arrival(self) -> int | None:
        """The first step after which every pixel is right for good; None: not in this many."""
        wrong = np.flatnonzero(self.jaccard > 0)
        if not len(wrong):
            return 0
        return int(wrong[-1]) + 1 if wrong[-1] + 1 < len(self.jaccard) else None


def descend(
    loss: str, start: tuple[float, float], truth: Truth, rate: float = 0.5, steps: int = 60
) -> Path:
    """Walk down a loss over the scores of two pixels by subgradient steps of a fixed rate."""
    point = torch.tensor(start, dtype=torch.float64)
    points = [point]
    for _ in range(steps):
        _, gradient = value_and_gradient(loss, point, truth)
        point = point - rate * gradient
        points.append(point)
    way = torch.stack(points)
    return Path(
        loss, way.numpy(), loss_at(loss, way, truth).numpy(), loss_at("jaccard", way, truth).numpy()
    )


def count_arrivals(
    loss: str, truth: Truth, rate: float = 0.5, steps: int = 60, starts: Sequence = STARTS
) -> tuple[int, list[int | None]]:
    """Return how many starts end with every pixel right, and after how many steps each does."""
    steps_taken = [descend(loss, start, truth, rate, steps).arrival for start in starts]
    return sum(arrival is not None for arrival in steps_taken), steps_taken


def plot_descents(
    truth: Truth = (0, 1), rate: float = 0.5, steps: int = 60, grid: int = 41
) -> Figure:
    """Draw the descent paths of six losses from the same starts, on their contours."""
    figure = Figure(figsize=(7.4, 5.7), layout="constrained")
    for axes, loss in zip(figure.subplots(2, 3).flat, DESCENT_LOSSES, strict=True):
        draw_descents(axes, loss, truth, rate, steps, grid)
    right = ["above" if label else "below" for label in truth]
    figure.suptitle(
        f"{steps} steps of size {rate:g} from the same six starts, {truth_name(truth)}: right is "
        f"$d_1$ {right[0]} 0, $d_2$ {right[1]} 0",
        fontsize=11,
    )
    return figure


def draw_descents(
    axes: Any, loss: str, truth: Truth, rate: float, steps: int, grid: int = 41
) -> None:
    """Draw the paths of one loss."""
    surface = make_surface(loss, truth, "logits", -3, 3, grid)
    draw_contours(axes, surface, 4 if loss in UNBOUNDED else 1, PALE_COLORS)
    axes.axhline(0, color="0.5", linewidth=0.8, linestyle=":")
    axes.axvline(0, color="0.5", linewidth=0.8, linestyle=":")
    for start, color in zip(STARTS, START_COLORS, strict=True):
        path = descend(loss, start, truth, rate, steps)
        axes.plot(*path.points.T, "-", color=color, linewidth=1.8)
        axes.plot(*start, "o", color=color, markeredgecolor="white", markersize=6)
        axes.plot(
            *path.points[-1], "s", color=color, markeredgecolor="white", markersize=6, clip_on=False
        )
    arrived, _ = count_arrivals(loss, truth, rate, steps)
    axes.set(
        title=f"{LOSSES[loss][0]}\n{arrived} of {len(STARTS)} arrive", xlabel="logit $d_1$",
        ylabel="logit $d_2$", xticks=[-3, 0, 3], yticks=[-3, 0, 3], xlim=(-3, 3), ylim=(-3, 3),
    )  # fmt: skip
    axes.title.set_fontsize(10)


def describe_descents(truth: Truth = (0, 1), rate: float = 0.5, steps: int = 60) -> str:
    """Say in words what `plot_descents` shows."""
    words = []
    for loss in DESCENT_LOSSES:
        arrived, taken = count_arrivals(loss, truth, rate, steps)
        listed = ", ".join("never" if step is None else str(step) for step in taken)
        words.append(f"{LOSSES[loss][0]}: {arrived} of {len(STARTS)}, after {listed} steps")
    return (
        f"Six contour maps with paths of descent from the same six starts, {truth_name(truth)}: "
        f"{steps} steps of size {rate:g} on the two scores. How many starts have both pixels right "
        f"at the end, and after how many steps: {'; '.join(words)}."
    )
