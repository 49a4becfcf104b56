"""Figures of descents on two scores: steps until both pixels are right, and races of optimizers."""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure

from pfpn.course.ch07_surfaces.descents import (
    DESCENT_LOSSES,
    OPTIMIZERS,
    Descents,
    race,
)
from pfpn.plot.style import (
    BLUE,
    GREEN,
    ORANGE,
    PLUM,
    add_legend,
    legend_below,
    open_axes,
    subplots,
)
from pfpn.plot.surface import (
    HALO,
    PALE_COLORS,
    UNBOUNDED,
    Loss,
    Surface,
    draw_contours,
    make_surface,
)

COLORS = dict(zip(OPTIMIZERS, (BLUE, GREEN, ORANGE, PLUM), strict=True))
MARKERS = dict(zip(OPTIMIZERS, "os^D", strict=True))
MAX_STEPS = 80  # of a race: an explorer runs it again when the start moves

StepCounts = Mapping[tuple[str, str], Float[np.ndarray, "d n"]]


def plot_step_counts(counts: StepCounts, distances: Sequence[float], max_steps: int) -> Figure:
    """Draw how many steps `count_steps` counted: median and range over the starts.

    Starts that take longer than `max_steps` are drawn at the dashed line.
    """
    losses = list(dict.fromkeys(loss for loss, _ in counts))
    figure, panels = subplots(9.2, 3.2, 1, len(losses), sharey=True, squeeze=False)
    for axes, loss in zip(panels[0], losses, strict=True):
        for number, optimizer in enumerate(COLORS):
            steps = np.minimum(counts[loss, optimizer], max_steps)
            at = np.asarray(distances) + 0.07 * (number - 1.5)
            axes.vlines(at, steps.min(1), steps.max(1), color=COLORS[optimizer], linewidth=1.5)
            axes.plot(
                at, np.median(steps, 1), color=COLORS[optimizer], marker=MARKERS[optimizer],
                markersize=5, linewidth=1, label=optimizer,
            )  # fmt: skip
        axes.axhline(max_steps, color="0.5", linestyle="--", linewidth=1)
        open_axes(axes).set(xticks=distances, yscale="log", ylim=(0.8, 1.5 * max_steps))
        axes.set_xlabel("start, wrong by (logit)", fontsize=9)
        axes.set_title(loss.replace(", ", ",\n"), fontsize=10)
    panels[0, 0].set_ylabel("steps until both are right")
    legend_below(figure, panels[0, 0].lines[: len(COLORS)], ncols=2, fontsize=9)
    return figure


def describe_step_counts(counts: StepCounts, distances: Sequence[float], max_steps: int) -> str:
    """Return in words what `plot_step_counts` shows, at the nearest and the furthest starts."""
    words = []
    for (loss, optimizer), steps in counts.items():
        ends = []
        for row in (steps[0], steps[-1]):
            low, high = (f"{v:g}" if np.isfinite(v) else f"> {max_steps}" for v in _range(row))
            ends.append(low if low == high else f"{low} to {high}")
        words.append(f"{loss}, {optimizer}: {ends[0]} and {ends[1]}")
    return (
        "Steps until both pixels are right, on a logarithmic scale, by how far wrong the starts "
        f"are, one panel for each loss and one line for each optimizer. Steps at "
        f"{distances[0]:g} and at {distances[-1]:g}: {'; '.join(words)}."
    )


def _range(row: Float[np.ndarray, " n"]) -> tuple[float, float]:
    return float(row.min()), float(row.max())


def run_race(loss: str, start: tuple[float, float], steps: int) -> dict[str, Descents]:
    """Return the descent of every optimizer from one start, all with the same number of steps."""
    return race(DESCENT_LOSSES[loss], torch.tensor(start, dtype=torch.float64), steps)


@cache
def _ground(loss: Loss, grid: int) -> Surface:
    """Return the surface that a race runs on; sliders that move the start leave it as it is."""
    return make_surface(loss, (0, 1), low=-4, high=4, steps=grid)


def plot_race(loss: str, x: float, y: float, steps: int, grid: int = 25) -> Figure:
    """Draw the paths of all optimizers on one surface, and the loss after each of their steps.

    Args:
        loss: a key of DESCENT_LOSSES.
        x: first score of the start; right is below 0.
        y: second score of the start; right is above 0.
        steps: of every optimizer.
        grid: points of the surface along each axis.
    """
    figure = Figure(figsize=(7.4, 3.6))
    left, right = figure.add_axes((0.08, 0.28, 0.3, 0.62)), figure.add_axes((0.5, 0.28, 0.48, 0.62))
    drawn = DESCENT_LOSSES[loss]
    top = 4.0 if drawn in UNBOUNDED or "elu" in loss else 1.0
    draw_contours(left, _ground(drawn, grid), top, PALE_COLORS)
    for optimizer, descents in run_race(loss, (x, y), steps).items():
        color, arrival = COLORS[optimizer], descents.arrivals[0]
        left.plot(*descents.points[:, 0].T, color=color, linewidth=1.6)
        left.plot(*descents.points[-1, 0], MARKERS[optimizer], color=color, markeredgecolor="white")
        when = f"both right from step {arrival:g}" if np.isfinite(arrival) else "not right yet"
        right.plot(descents.values[:, 0], color=color, label=f"{optimizer}: {when}")
        if np.isfinite(arrival):
            at = int(arrival)
            right.plot(at, descents.values[at, 0], MARKERS[optimizer], color=color)
    left.plot(x, y, "o", color="black", markersize=7, markeredgecolor="white")
    left.axhline(0, color="0.5", linewidth=0.8, linestyle=":")
    left.axvline(0, color="0.5", linewidth=0.8, linestyle=":")
    left.text(-3.8, 0.25, "both right", fontsize=8, path_effects=HALO)
    left.set(xlim=(-4, 4), ylim=(-4, 4), xlabel="score $d_1$", ylabel="score $d_2$")
    left.set_title("paths", fontsize=10)
    right.set_title(loss, fontsize=10)
    open_axes(right).set(xlabel="step", ylabel="loss", xlim=(0, steps), ylim=(0, None))
    handles = right.get_legend_handles_labels()[0]
    add_legend(figure, handles, loc="lower center", ncols=2, fontsize=9)
    return figure


def describe_race(frames: Sequence[Mapping[str, float | str]]) -> str:
    """Return in words what `plot_race` shows for some settings."""
    words = []
    for frame in frames:
        start = float(frame["x"]), float(frame["y"])
        parts = []
        for name, descents in run_race(str(frame["loss"]), start, int(frame["steps"])).items():
            arrival = descents.arrivals[0]
            said = f"after {arrival:g} steps" if np.isfinite(arrival) else "not right"
            parts.append(f"{name} {said}")
        words.append(f"{frame['loss']} from ({start[0]:g}, {start[1]:g}): {', '.join(parts)}")
    return (
        "Paths of four optimizers from one start over the scores of two pixels, and their loss by "
        f"step. When both pixels are right: {'; '.join(words)}."
    )
