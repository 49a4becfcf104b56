"""The figure of beliefs: where the truth is uncertain, the Lovász hinge can abstain.

What is drawn is computed and explained by `numbers.minimize_expected_hinge`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from pfpn.course.ch07_surfaces.numbers import (
    MOSTLY_EMPTY,
    MOSTLY_FULL,
    ROUNDING,
    Beliefs,
    HingeMinimum,
    expected_loss,
    labeling_costs,
    minimize_expected_hinge,
)
from pfpn.plot.style import GREEN, PALE_GRAY
from pfpn.plot.surface import CONTOUR_COLOR, DOT_COLOR, HALO, PALE_COLORS, TRUTHS, Truth

EMPTY_COLOR, FULL_COLOR = "#bcd9ee", "#f6d6a5"  # of beliefs, by the best labeling
HATCH = "\\\\\\\\"


def plot_abstaining(
    beliefs: tuple[Beliefs, Beliefs] = (MOSTLY_EMPTY, MOSTLY_FULL), steps: int = 81
) -> Figure:
    """Draw the expected hinge of two beliefs, what each labeling costs, and all such beliefs."""
    figure = Figure(figsize=(8.4, 6.2), layout="constrained")
    grid = figure.add_gridspec(2, 3, width_ratios=(1, 0.72, 1.15))
    for row, (name, belief) in enumerate(zip("AB", beliefs, strict=True)):
        least = minimize_expected_hinge(belief)
        _draw_expected(figure, figure.add_subplot(grid[row, 0]), least, name, steps)
        _draw_costs(figure.add_subplot(grid[row, 1]), least, name)
    _draw_beliefs(figure.add_subplot(grid[:, 2]), beliefs)
    figure.suptitle("One pair of scores for two beliefs: the Lovász hinge abstains")
    return figure


def _draw_expected(figure: Figure, axes: Any, least: HingeMinimum, name: str, steps: int) -> None:
    axis = torch.linspace(-1.5, 1.5, steps, dtype=torch.float64)
    second, first = torch.meshgrid(axis, axis, indexing="ij")
    value = expected_loss(torch.stack([first, second], -1), least.beliefs).numpy()
    levels = np.linspace(1, 2.25, 11)
    drawn = axes.contourf(
        axis, axis, value.clip(1, 2.25), levels, cmap=PALE_COLORS, vmin=0.9, vmax=3
    )
    axes.contour(axis, axis, value, levels[1:-1], colors=CONTOUR_COLOR, linewidths=0.6, alpha=0.8)
    figure.colorbar(drawn, ax=axes, ticks=[1, 1.5, 2], shrink=0.9)
    note: dict[str, Any] = {
        "textcoords": "offset points", "ha": "center", "fontsize": 8, "path_effects": HALO
    }  # fmt: skip
    for truth, cost in zip(TRUTHS, least.expected, strict=True):
        x, y = (2 * label - 1 for label in truth)
        axes.plot(x, y, "o", color="white", markeredgecolor="black", markersize=5)
        axes.annotate(f"{2 * cost:.2f}", (x, y), (0, 6), **note)
    axes.plot(*least.scores, "*", color=DOT_COLOR, markersize=16, markeredgecolor="white", zorder=4)
    axes.annotate(f"{least.hinge:.2f}", least.scores, (0, 9), **note, weight="bold")
    axes.set_title(f"{name}: expected Lovász hinge", fontsize=10)
    axes.set(
        xlabel="score $d_1$", ylabel="score $d_2$", xticks=[-1, 0, 1], yticks=[-1, 0, 1],
        aspect="equal",
    )  # fmt: skip


def _draw_costs(axes: Any, least: HingeMinimum, name: str) -> None:
    names = [_labeling_name(truth) for truth in TRUTHS]
    colors = [GREEN if truth == least.best else PALE_GRAY for truth in TRUTHS]
    bars = axes.barh(names, least.expected, color=colors)
    axes.bar_label(bars, [f" {cost:.3g}" for cost in least.expected], fontsize=8)
    axes.axvline(0.5, color="0.3", linestyle="--", linewidth=1)
    axes.invert_yaxis()
    axes.set_title(f"{name}: P = {_listed(least.beliefs)}", fontsize=9)
    axes.set(xlim=(0, 1), xticks=[0, 0.5, 1], xlabel="expected Jaccard loss", ylabel="labeling")


def _draw_beliefs(axes: Any, beliefs: Sequence[Beliefs]) -> None:
    """Color every belief with P(10) = P(01) by its best labeling, hatched where 0 is best."""
    axis = np.linspace(0, 1, 241)
    empty, full = np.meshgrid(axis, axis)
    mixed = (1 - empty - full) / 2
    costs = labeling_costs(np.stack([empty, mixed, mixed, full], -1))
    outside = mixed < -1e-12
    best = np.where(costs[..., 0] <= costs[..., 3], 0.0, 1.0)
    best[outside] = np.nan
    colors = ListedColormap([EMPTY_COLOR, FULL_COLOR])
    axes.pcolormesh(axis, axis, best, cmap=colors, vmin=0, vmax=1, rasterized=True)
    excess = np.where(outside, 0.0, costs.min(-1) - 0.5)
    axes.contourf(axis, axis, excess, [ROUNDING, 1], colors="none", hatches=[HATCH])
    axes.contour(axis, axis, excess, [ROUNDING], colors="0.2", linewidths=1.2)
    for name, belief in zip("AB", beliefs, strict=True):
        at = belief[0], belief[3]
        axes.plot(*at, "o", color=DOT_COLOR, markeredgecolor="white", markersize=9)
        axes.annotate(
            name, at, (0, 7), textcoords="offset points", weight="bold", ha="center",
            path_effects=HALO,
        )  # fmt: skip
    axes.set(
        title="which labeling is best", xlabel="P(no foreground)", ylabel="P(both foreground)",
        xlim=(0, 1), ylim=(0, 1), aspect="equal",
    )  # fmt: skip
    axes.legend(
        handles=[
            Patch(color=EMPTY_COLOR, label="best: no pixel"),
            Patch(color=FULL_COLOR, label="best: both pixels"),
            Patch(facecolor="none", edgecolor="0.2", hatch=HATCH, label="hinge least at (0, 0)"),
        ],
        loc="upper right", frameon=False, fontsize=9,
    )  # fmt: skip


def describe_abstaining(beliefs: tuple[Beliefs, Beliefs] = (MOSTLY_EMPTY, MOSTLY_FULL)) -> str:
    """Return in words what `plot_abstaining` shows."""
    words = []
    for name, belief in zip("AB", beliefs, strict=True):
        least = minimize_expected_hinge(belief)
        costs = ", ".join(
            f"{_labeling_name(truth)} {cost:.3g}"
            for truth, cost in zip(TRUTHS, least.expected, strict=True)
        )
        words.append(
            f"{name}, probabilities {_listed(least.beliefs)}: the expected "
            f"Lovász hinge is least at scores ({least.scores[0]:g}, {least.scores[1]:g}), "
            f"{least.hinge:.2f}; expected Jaccard losses: {costs}; best is "
            f"{_labeling_name(least.best)}."
        )
    return (
        "Two beliefs about the truth of two pixels, given as the probabilities of 00, 01, 10, 11 "
        "with 1 for foreground. " + " ".join(words) + " On the right all beliefs with P(01) = "
        "P(10): the hatched ones, where the hinge is least at 0 for both pixels, lie on both sides "
        "of the line between the best labelings, so no rule that reads the scores can tell them "
        "apart. They are the beliefs for which every labeling costs more than 0.5."
    )


def _listed(beliefs: Beliefs) -> str:
    return ", ".join(f"{belief:g}" for belief in beliefs)


def _labeling_name(truth: Truth) -> str:
    return "".join(map(str, truth))
