"""Where the Lovász hinge gives no answer: it is not consistent for the Jaccard loss.

A training set holds pictures that look alike and have different truths. What a network can learn
for them is one pair of scores that makes the expected loss least. One would like those scores to
give away the labelling with the least expected Jaccard loss. For two pixels that can be decided
exactly, and the answer is no: for many beliefs about the truth the best scores are 0 for both
pixels, whichever of the labellings is best. The hinge abstains.

Why five candidates are enough: the expected hinge is convex, and linear between the lines d_i = 1,
d_i = -1 (an error leaves 0), d_1 = d_2 and d_1 = -d_2 (two errors are equal). Outside of the
square [-1, 1]^2 it does not fall any more, so its minimum lies on a crossing of these lines: one of
the four corners or the origin. At a corner the wrong pixels have a hinge error of 2 and the right
ones 0, so its value is twice the expected Jaccard loss of the labelling; at the origin every error
is 1 and the value is 1. So the hinge abstains just where no labelling has an expected Jaccard loss
below 1/2. (The foreground's Lovász-Softmax, over probabilities: the same with errors 1, 0 and 1/2.)

Source: Finocchiaro, Frongillo, Nueve, "The structured abstain problem and the Lovász hinge",
COLT 2022, who prove it for every submodular function that is not modular.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from pfpn.losses.lovasz import jaccard_loss
from pfpn.plot.surface import DOT_COLOR, HALO, PALE_COLORS, TRUTHS, Truth, loss_at

Beliefs = Sequence[float]  # the probability of each truth of TRUTHS

# Two beliefs for which both pixels' best score is 0, though different labellings are best.
MOSTLY_EMPTY: tuple[float, ...] = (0.40, 0.25, 0.25, 0.10)
MOSTLY_FULL: tuple[float, ...] = (0.30, 0.30, 0.30, 0.10)

BEST_COLORS = {(0, 0): "#bcd9ee", (1, 1): "#f6d6a5"}
GOOD_COLOR, PLAIN_COLOR = "#009e73", "#b8b8b8"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the best scores say about a belief, and what would be right."""

    beliefs: tuple[float, ...]
    scores: tuple[float, float]  # where the expected Lovász hinge is least
    hinge: float  # its least value
    expected: tuple[float, ...]  # Jaccard loss of each labelling of TRUTHS
    best: Truth  # the labelling with the least expected Jaccard loss
    pixelwise: Truth  # what each pixel's own probability says: the answer of cross-entropy

    @property
    def abstains(self) -> bool:
        """Whether both best scores are 0, which says neither foreground nor background."""
        return self.scores == (0.0, 0.0)

    def regret(self, labelling: Truth) -> float:
        """Return by how much the expected Jaccard loss of a labelling exceeds the least."""
        return self.expected[TRUTHS.index(labelling)] - min(self.expected)


def expected_jaccard(beliefs: Beliefs) -> Float[np.ndarray, " 4"]:
    """Return the expected Jaccard loss of each labelling of TRUTHS."""
    labelling = torch.tensor(TRUTHS, dtype=torch.bool)
    costs = [jaccard_loss(labelling != torch.tensor(truth, dtype=torch.bool),
                          torch.tensor(truth, dtype=torch.bool).expand(4, 2))
             for truth in TRUTHS]  # fmt: skip
    weights = torch.tensor(_checked(beliefs), dtype=torch.float64)
    return (torch.stack(costs, -1) @ weights).numpy()


def expected_loss(
    points: Float[Tensor, "*n 2"], beliefs: Beliefs, loss: str = "lovasz_hinge"
) -> Float[Tensor, "*n"]:
    """Return the expectation of a loss over the truths, at many pairs of scores."""
    parts = [
        weight * loss_at(loss, points, truth)
        for weight, truth in zip(_checked(beliefs), TRUTHS, strict=True)
    ]
    return torch.stack(parts).sum(0)


def judge(beliefs: Beliefs) -> Verdict:
    """Find the scores that make the expected Lovász hinge least, exactly, and judge them."""
    checked = _checked(beliefs)
    signs = [tuple(2.0 * label - 1 for label in truth) for truth in TRUTHS]
    candidates = torch.tensor([(0.0, 0.0), *signs], dtype=torch.float64)
    values = expected_loss(candidates, checked)
    # A tie, up to rounding, goes to a corner: only a strict minimum counts as abstaining.
    place = int(values[1:].argmin()) + 1
    if float(values[0]) < float(values[place]) - 1e-9:
        place = 0
    expected = expected_jaccard(checked)
    first, second = checked[2] + checked[3], checked[1] + checked[3]  # P(pixel is foreground)
    x, y = candidates[place].tolist()
    return Verdict(
        checked,
        (x, y),
        float(values[place]),
        tuple(expected.tolist()),
        TRUTHS[int(expected.argmin())],
        (int(first > 0.5), int(second > 0.5)),
    )


def share_abstaining(rng: torch.Generator, num: int = 10000) -> float:
    """Return the share of beliefs, drawn evenly from all there are, for which the hinge abstains.

    Counts those where no labelling has an expected Jaccard loss below 1/2.
    """
    draws = -torch.rand(num, 4, generator=rng, dtype=torch.float64).log()
    beliefs = draws / draws.sum(1, keepdim=True)
    costs = torch.stack([torch.from_numpy(expected_jaccard(_unit(i))) for i in range(4)])
    return float(((beliefs @ costs).amin(1) > 0.5).double().mean())


def plot_abstaining(
    beliefs: tuple[Beliefs, Beliefs] = (MOSTLY_EMPTY, MOSTLY_FULL), steps: int = 81
) -> Figure:
    """Draw the expected hinge of two beliefs, what each labelling costs, and all such beliefs."""
    figure = Figure(figsize=(8.4, 6.2), layout="constrained")
    grid = figure.add_gridspec(2, 3, width_ratios=(1, 0.72, 1.15))
    for row, belief in enumerate(beliefs):
        verdict = judge(belief)
        name = "AB"[row]
        _draw_expected(figure, figure.add_subplot(grid[row, 0]), verdict, name, steps)
        _draw_costs(figure.add_subplot(grid[row, 1]), verdict, name)
    _draw_map(figure.add_subplot(grid[:, 2]), beliefs)
    figure.suptitle("One pair of scores for two beliefs: the Lovász hinge abstains")
    return figure


def _draw_expected(figure: Figure, axes: Any, verdict: Verdict, name: str, steps: int) -> None:
    axis = torch.linspace(-1.5, 1.5, steps, dtype=torch.float64)
    second, first = torch.meshgrid(axis, axis, indexing="ij")
    value = expected_loss(torch.stack([first, second], -1), verdict.beliefs).numpy()
    levels = np.linspace(1, 2.25, 11)
    drawn = axes.contourf(
        axis, axis, value.clip(1, 2.25), levels, cmap=PALE_COLORS, vmin=0.9, vmax=3
    )
    axes.contour(axis, axis, value, levels[1:-1], colors="#4a6a8a", linewidths=0.6, alpha=0.8)
    figure.colorbar(drawn, ax=axes, ticks=[1, 1.5, 2], shrink=0.9)
    for truth, cost in zip(TRUTHS, verdict.expected, strict=True):
        x, y = (2 * label - 1 for label in truth)
        axes.plot(x, y, "o", color="white", markeredgecolor="black", markersize=5)
        axes.annotate(
            f"{2 * cost:.2f}", (x, y), (0, 6), textcoords="offset points", ha="center",
            fontsize=8, path_effects=HALO,
        )  # fmt: skip
    axes.plot(
        *verdict.scores, "*", color=DOT_COLOR, markersize=16, markeredgecolor="white", zorder=4
    )
    axes.annotate(
        f"{verdict.hinge:.2f}", verdict.scores, (0, 9), textcoords="offset points", ha="center",
        fontsize=8, weight="bold", path_effects=HALO,
    )  # fmt: skip
    axes.set(
        title=f"{name}: expected Lovász hinge", xlabel="score $d_1$", ylabel="score $d_2$",
        xticks=[-1, 0, 1], yticks=[-1, 0, 1], aspect="equal",
    )  # fmt: skip
    axes.title.set_fontsize(10)


def _draw_costs(axes: Any, verdict: Verdict, name: str) -> None:
    names = [_labelling_name(truth) for truth in TRUTHS]
    colors = [GOOD_COLOR if truth == verdict.best else PLAIN_COLOR for truth in TRUTHS]
    bars = axes.barh(names, verdict.expected, color=colors)
    axes.bar_label(bars, [f" {cost:.3g}" for cost in verdict.expected], fontsize=8)
    axes.axvline(0.5, color="0.3", linestyle="--", linewidth=1)
    axes.invert_yaxis()
    listed = ", ".join(f"{belief:g}" for belief in verdict.beliefs)
    axes.set(
        title=f"{name}: P = {listed}", xlim=(0, 1), xticks=[0, 0.5, 1],
        xlabel="expected Jaccard loss", ylabel="labelling",
    )  # fmt: skip
    axes.title.set_fontsize(9)


def _draw_map(axes: Any, beliefs: Sequence[Beliefs]) -> None:
    """Color every belief with P(10) = P(01) by its best labelling, hatched where 0 is best."""
    axis = np.linspace(0, 1, 241)
    empty, full = np.meshgrid(axis, axis)
    mixed = (1 - empty - full) / 2
    stacked = np.stack([empty, mixed, mixed, full], -1)
    costs = stacked @ np.stack([expected_jaccard(_unit(i)) for i in range(4)])
    outside = mixed < -1e-12
    best = np.where(costs[..., 0] <= costs[..., 3], 0.0, 1.0)
    best[outside] = np.nan
    colors = ListedColormap(list(BEST_COLORS.values()))
    axes.pcolormesh(axis, axis, best, cmap=colors, vmin=0, vmax=1, rasterized=True)
    silent = np.where(outside, 0.0, costs.min(-1) - 0.5)
    axes.contourf(axis, axis, silent, [1e-9, 1], colors="none", hatches=["\\\\\\\\"])
    axes.contour(axis, axis, silent, [1e-9], colors="0.2", linewidths=1.2)
    for name, belief in zip("AB", beliefs, strict=True):
        axes.plot(belief[0], belief[3], "o", color=DOT_COLOR, markeredgecolor="white", markersize=9)
        axes.annotate(
            name, (belief[0], belief[3]), (0, 7), textcoords="offset points", weight="bold",
            ha="center", path_effects=HALO,
        )  # fmt: skip
    axes.set(
        title="which labelling is best", xlabel="P(no foreground)", ylabel="P(both foreground)",
        xlim=(0, 1), ylim=(0, 1), aspect="equal",
    )  # fmt: skip
    axes.legend(
        handles=[
            Patch(color=BEST_COLORS[0, 0], label="best: no pixel"),
            Patch(color=BEST_COLORS[1, 1], label="best: both pixels"),
            Patch(
                facecolor="none",
                edgecolor="0.2",
                hatch="\\\\\\\\",
                label="hinge least at (0, 0)",
            ),
        ],
        loc="upper right", frameon=False, fontsize=9,
    )  # fmt: skip


def describe_abstaining(beliefs: tuple[Beliefs, Beliefs] = (MOSTLY_EMPTY, MOSTLY_FULL)) -> str:
    """Say in words what `plot_abstaining` shows."""
    words = []
    for name, belief in zip("AB", beliefs, strict=True):
        verdict = judge(belief)
        costs = ", ".join(
            f"{_labelling_name(truth)} {cost:.3g}"
            for truth, cost in zip(TRUTHS, verdict.expected, strict=True)
        )
        words.append(
            f"{name}, probabilities {', '.join(f'{b:g}' for b in verdict.beliefs)}: the expected "
            f"Lovász hinge is least at scores ({verdict.scores[0]:g}, {verdict.scores[1]:g}), "
            f"{verdict.hinge:.2f}; expected Jaccard losses: {costs}; best is "
            f"{_labelling_name(verdict.best)}."
        )
    return (
        "Two beliefs about the truth of two pixels, given as the probabilities of 00, 01, 10, 11 "
        "with 1 for foreground. " + " ".join(words) + " On the right all beliefs with P(01) = "
        "P(10): the hatched ones, where the hinge is least at 0 for both pixels, lie on both sides "
        "of the line between the best labellings, so no rule that reads the scores can tell them "
        "apart. They are the beliefs for which every labelling costs more than 0.5."
    )


def _labelling_name(truth: Truth) -> str:
    return "".join(str(label) for label in truth)


def _unit(place: int) -> tuple[float, ...]:
    return tuple(float(i == place) for i in range(4))


def _checked(beliefs: Beliefs) -> tuple[float, ...]:
    values = tuple(float(belief) for belief in beliefs)
    if len(values) != 4 or min(values) < 0 or abs(sum(values) - 1) > 1e-9:
        raise ValueError(
            f"beliefs: found {values}, expected four probabilities that add up to 1, of the truths "
            "00, 01, 10, 11"
        )
    return values
