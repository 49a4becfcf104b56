"""Loss surfaces of two pixels: what each loss says about every pair of scores.

Two pixels are the most that one can draw, and enough to see all that matters: steps and slopes,
the kinks where the order of the errors changes, what is convex and in which coordinates. The data
come first, as functions of their own; the figures paint them, and each has a `describe_*` that says
the same in words with the numbers that were computed.

Coordinates ("over"):
    logits: d_i, the score of the foreground less that of the background, F_i(1) - F_i(0) in [LS];
        for the hinge, which has one score a pixel, F_i in [LS], just that score
    margins: r_i = 1 - d_i y_i, with y_i = +1 for foreground and -1 for background; [LS] Fig. 1
    errors: m_i in [0, 1], 1 - probability of the true class

Source: [LS] Fig. 1 and 2, and what they leave out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from torch import Tensor

from pfpn.losses.lovasz import jaccard_loss, lovasz_gradient, lovasz_softmax

Over = Literal["logits", "margins", "errors"]
Truth = tuple[int, int]  # 1 = foreground, 0 = background, pixel by pixel
TRUTHS: tuple[Truth, ...] = ((0, 0), (0, 1), (1, 0), (1, 1))

# Name, title, line color (Okabe and Ito's palette) and line style; the last two tell them apart.
LOSSES: dict[str, tuple[str, str, Any]] = {
    "jaccard": ("Jaccard loss (discrete)", "#d55e00", "-"),
    "hinge": ("hinge, mean", "#56b4e9", "-"),
    "cross_entropy": ("cross-entropy, mean", "#0072b2", "-"),
    "soft_jaccard": ("soft Jaccard", "#009e73", "-."),
    "dice": ("Dice", "#e69f00", "-."),
    "lovasz_hinge": ("Lovász hinge", "#7a1f5c", (0, (3, 3))),
    "lovasz_softmax": ("Lovász-Softmax", "black", "-"),
}
UNBOUNDED = ("hinge", "cross_entropy", "lovasz_hinge")
DOT_COLOR = "#e3120b"
KINK_COLOR = "#d55e00"
SURFACE_COLORS = "viridis"
PALE_COLORS = "Blues"
HALO = [withStroke(linewidth=2.5, foreground="white")]
NEAR = 1e-9  # either side of 0, where the discrete loss steps


# Data -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Surface:
    """One loss over a square grid: row i is the second pixel, column j the first."""

    loss: str  # a key of LOSSES
    truth: Truth
    over: Over
    axis: Float[np.ndarray, " k"]  # of both pixels
    value: Float[np.ndarray, "k k"]
    gradient: Float[np.ndarray, "k k 2"]  # by the coordinates of pixel 1 and pixel 2


@dataclass(frozen=True, slots=True)
class Chord:
    """A straight line between two points of a surface, and the surface below or above it."""

    start: Float[np.ndarray, " 2"]
    end: Float[np.ndarray, " 2"]
    share: Float[np.ndarray, " n"]  # of the way from start to end
    surface: Float[np.ndarray, " n"]
    line: Float[np.ndarray, " n"]

    @property
    def excess(self) -> float:
        """By how much the surface rises above the line at most: above 0 it is not convex."""
        return float((self.surface - self.line).max())


def extend_jaccard(
    errors: Float[Tensor, "*n p"], truth: Sequence[int]
) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n p"]]:
    """Return the Lovász extension of the Jaccard loss at many points at once, and its gradients.

    Where errors tie, the gradient is that of the order of the pixels.

    Source: [LS] Definition 2 and Algorithm 1.
    """
    order = errors.detach().argsort(dim=-1, descending=True, stable=True)
    is_fg = torch.tensor(truth, dtype=errors.dtype).expand(errors.shape)
    weights = torch.zeros_like(errors)
    weights = weights.scatter(-1, order, lovasz_gradient(is_fg.gather(-1, order)))
    return (weights * errors).sum(-1), weights


def loss_at(
    loss: str, points: Float[Tensor, "*n p"], truth: Sequence[int], over: Over = "logits"
) -> Float[Tensor, "*n"]:
    """Return a loss of the foreground class at many points; differentiable but for "jaccard".

    A key of LOSSES; of any number of pixels. Over errors only the losses of errors make sense:
    "lovasz_softmax". Where the truth has no foreground, soft Jaccard and Dice are 1 everywhere, as
    their formulas say. For the discrete loss a logit of 0 counts as wrong.
    """
    if loss not in LOSSES:
        raise ValueError(f"loss_at: found loss {loss!r}, expected one of {', '.join(LOSSES)}")
    if over not in ("logits", "margins", "errors"):
        raise ValueError(f"loss_at: found over {over!r}, expected logits, margins or errors")
    if over == "errors":
        if loss != "lovasz_softmax":
            raise ValueError(f"loss_at: {loss!r} is no function of errors. Try over='logits'.")
        return extend_jaccard(points, truth)[0]
    is_fg = torch.tensor(truth, dtype=points.dtype)
    sign = 2 * is_fg - 1
    margins = points if over == "margins" else 1 - sign * points
    agreement = 1 - margins  # y * d: above 0 the pixel is right
    if loss == "jaccard":
        return jaccard_loss(agreement <= 0, is_fg.bool().expand(points.shape)).to(points.dtype)
    if loss == "hinge":
        return margins.relu().mean(-1)
    if loss == "cross_entropy":
        return F.softplus(-agreement).mean(-1)
    if loss == "lovasz_hinge":
        return extend_jaccard(margins.relu(), truth)[0]
    if loss == "lovasz_softmax":
        return extend_jaccard((-agreement).sigmoid(), truth)[0]
    probs = (sign * agreement).sigmoid()
    overlap, both = (probs * is_fg).sum(-1), probs.sum(-1) + is_fg.sum()
    return 1 - 2 * overlap / both if loss == "dice" else 1 - overlap / (both - overlap)


def make_surface(
    loss: str,
    truth: Truth,
    over: Over = "logits",
    low: float = -3.0,
    high: float = 3.0,
    steps: int = 49,
) -> Surface:
    """Compute a loss and its gradient on a square grid, in float64.

    The discrete Jaccard loss gets two more grid lines beside 0, so that its steps stand upright;
    its gradient is 0, which is why it cannot be trained with.
    """
    axis = torch.linspace(low, high, steps, dtype=torch.float64)
    if loss == "jaccard":
        at = 0.0 if over == "logits" else 1.0
        axis = torch.cat([axis[axis != at], torch.tensor([at - NEAR, at + NEAR])]).sort().values
    second, first = torch.meshgrid(axis, axis, indexing="ij")
    points = torch.stack([first, second], dim=-1)
    value, gradient = value_and_gradient(loss, points, truth, over)
    return Surface(loss, truth, over, axis.numpy(), value.numpy(), gradient.numpy())


def value_and_gradient(
    loss: str, points: Float[Tensor, "*n p"], truth: Sequence[int], over: Over = "logits"
) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n p"]]:
    """Return a loss and its gradient by the coordinates, at many points."""
    points = points.detach().clone().requires_grad_()
    value = loss_at(loss, points, truth, over)
    if not value.requires_grad:
        return value, torch.zeros_like(points.detach())
    (gradient,) = torch.autograd.grad(value.sum(), points)
    return value.detach(), gradient


def jaccard_corners(
    truth: Truth,
) -> tuple[Float[np.ndarray, "4 2"], Float[np.ndarray, " 4"]]:
    """Return the four sets of wrong pixels as 0/1 rows, and the discrete Jaccard loss of each."""
    wrong = torch.tensor(TRUTHS, dtype=torch.bool)
    is_fg = torch.tensor(truth, dtype=torch.bool).expand(4, 2)
    return wrong.double().numpy(), jaccard_loss(wrong, is_fg).numpy()


def greedy_vertex(truth: Truth, order: tuple[int, int]) -> Float[np.ndarray, " 2"]:
    """Return the vertex of the base polytope that an order of the pixels reaches.

    Each pixel gets the rise of the Jaccard loss when it joins the wrong ones, in that order, for
    example (1, 0): the second pixel first.

    Source: [LS] Algorithm 1.
    """
    if sorted(order) != [0, 1]:
        raise ValueError(f"greedy_vertex: found order {order}, expected (0, 1) or (1, 0)")
    errors = torch.tensor([2.0, 1.0], dtype=torch.float64)
    ranked = torch.empty_like(errors)
    ranked[list(order)] = errors
    return extend_jaccard(ranked, truth)[1].numpy()


@dataclass(frozen=True, slots=True)
class Crease:
    """A line across a surface where its formula changes; it bends there or not."""

    start: tuple[float, float]
    end: tuple[float, float]
    by_order: bool  # the order of errors changes; else an error leaves 0
    bends: bool  # the gradient jumps: a kink


def find_creases(truth: Truth, over: Over, low: float, high: float) -> list[Crease]:
    """Return the lines where the Lovász hinge (margins) or Lovász-Softmax changes its formula.

    The gradient jumps across the diagonal of equal errors unless both orders lead to one vertex,
    and where the hinge error of a pixel leaves 0, unless the pixel has no weight there.
    """
    one_first, two_first = greedy_vertex(truth, (0, 1)), greedy_vertex(truth, (1, 0))
    bends = bool(np.abs(one_first - two_first).max() > 0)
    if over == "errors":
        return [Crease((low, low), (high, high), True, bends)]
    if over == "logits":  # errors are equal where y_1 d_1 = y_2 d_2
        rises = truth[0] == truth[1]
        ends = ((low, low), (high, high)) if rises else ((low, high), (high, low))
        return [Crease(*ends, True, bends)]
    return [
        Crease((0, 0), (high, high), True, bends),
        Crease((0, low), (0, 0), False, bool(one_first[0] > 0)),
        Crease((0, 0), (0, high), False, bool(two_first[0] > 0)),
        Crease((low, 0), (0, 0), False, bool(two_first[1] > 0)),
        Crease((0, 0), (high, 0), False, bool(one_first[1] > 0)),
    ]


def measure_convexity(
    loss: str,
    truth: Truth,
    over: Over,
    low: float,
    high: float,
    rng: torch.Generator,
    num: int = 4000,
) -> tuple[float, Chord]:
    """Return the largest excess of a surface over random chords, and one telling chord.

    That is the worst chord where the surface rises above it by more than rounding; else, so that
    there is something to see, the one below which the surface hangs deepest.
    """
    ends = torch.rand(num, 2, 2, generator=rng, dtype=torch.float64) * (high - low) + low
    share = torch.linspace(0, 1, 65, dtype=torch.float64)
    start, end = ends[:, :1], ends[:, 1:]
    surface = loss_at(loss, start + share[:, None] * (end - start), truth, over)
    line = surface[:, :1] * (1 - share) + surface[:, -1:] * share
    excess = surface - line
    worst = float(excess.max())
    best = excess.amax(1).argmax() if worst > 1e-9 else excess.amin(1).argmin()
    arrays = start[best, 0], end[best, 0], share, surface[best], line[best]
    return worst, Chord(*(array.numpy() for array in arrays))


def absent_class_costs(
    nums: Sequence[int], error: float = 0.9, rest: float = 0.01
) -> dict[str, Float[np.ndarray, " k"]]:
    """Return what one bad background pixel among many costs, by the number of pixels.

    Its foreground probability is `error`; those of the other background pixels are `rest`, as are
    the errors of foreground where there is any. Keys: "absent": Lovász-Softmax of a class that the
    truth does not contain; "half": of a class that half of the pixels show; "mean": mean error.
    """
    costs: dict[str, list[float]] = {"absent": [], "half": [], "mean": []}
    for num in nums:
        probs = torch.full((num,), rest, dtype=torch.float64)
        probs[0] = error
        costs["mean"].append(float(probs.mean()))
        labels = torch.zeros(num, dtype=torch.int64)
        costs["absent"].append(_foreground_loss(probs, labels))
        labels[num - num // 2 :] = 1
        costs["half"].append(_foreground_loss(torch.where(labels == 1, 1 - probs, probs), labels))
    return {name: np.asarray(values) for name, values in costs.items()}


def _foreground_loss(probs: Tensor, labels: Tensor) -> float:
    both = torch.stack([1 - probs, probs])[None, :, None]
    return float(lovasz_softmax(both, labels[None, None], classes=[1]))


# Figures ----------------------------------------------------------------------------------------


def plot_hinge_surfaces(steps: int = 13) -> Figure:
    """Draw the Lovász hinge over the relative margins for the four truths of two pixels.

    Source: [LS] Fig. 1.
    """
    figure, panels = _solid_panels(2, 2, (6.4, 6.1))
    for axes, truth in zip(panels.flat, TRUTHS, strict=True):
        draw_surface(axes, make_surface("lovasz_hinge", truth, "margins", -1, 2, steps), 2)
        corners, heights = jaccard_corners(truth)
        draw_dots(axes, corners, heights)
        axes.set(
            title=truth_name(truth),
            xlabel="$r_1 = 1 - d_1 y_1$",
            ylabel="$r_2 = 1 - d_2 y_2$",
        )
        axes.set_xticks([-1, 0, 1, 2])
        axes.set_yticks([-1, 0, 1, 2])
        axes.set_zticks([0, 1, 2])
    _crown(figure, "Lovász hinge of two pixels over their relative margins")
    return figure


def describe_hinge_surfaces() -> str:
    """Say in words what `plot_hinge_surfaces` shows."""
    words = []
    for truth in TRUTHS:
        points = torch.tensor([[2.0, 2.0], [2.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
        both, first, second = loss_at("lovasz_hinge", points, truth, "margins").tolist()
        _, heights = jaccard_corners(truth)
        words.append(
            f"{truth_name(truth)}: dots {_corner_words(heights)}; the surface has "
            f"{both:.2g} where both margins are 2, {first:.2g} where only the first is and the "
            f"other 0, {second:.2g} where only the second is."
        )
    return (
        "Four surfaces, one for each truth of two pixels: the Lovász hinge over the relative "
        "margins from -1 to 2. Each is 0 where both margins are at most 0 and rises in flat facets "
        "through the red dots, the discrete Jaccard loss at margins 0 and 1. " + " ".join(words)
    )


def plot_softmax_surfaces(steps: int = 17, reach: float = 6.0) -> Figure:
    """Draw the Lovász-Softmax of the foreground over differences of logits, for the four truths.

    Source: [LS] Fig. 2.
    """
    figure, panels = _solid_panels(2, 2, (6.4, 6.1))
    for axes, truth in zip(panels.flat, TRUTHS, strict=True):
        surface = make_surface("lovasz_softmax", truth, "logits", -reach, reach, steps)
        draw_surface(axes, surface, 1)
        corners, heights = jaccard_corners(truth)
        draw_dots(axes, reach * (1 - 2 * corners) * _signs(truth), heights)
        axes.set(
            title=truth_name(truth),
            xlabel="logit $d_1$",
            ylabel="logit $d_2$",
        )
        axes.set_xticks([-reach, 0, reach])
        axes.set_yticks([-reach, 0, reach])
        axes.set_zticks([0, 0.5, 1])
    _crown(
        figure,
        "Lovász-Softmax as height over the differences of logits,\n"
        "each seen from where both pixels are right",
    )
    return figure


def describe_softmax_surfaces(reach: float = 6.0) -> str:
    """Say in words what `plot_softmax_surfaces` shows."""
    words = []
    for truth in TRUTHS:
        _, heights = jaccard_corners(truth)
        middle = float(loss_at("lovasz_softmax", torch.zeros(2, dtype=torch.float64), truth))
        words.append(f"{truth_name(truth)}: dots {_corner_words(heights)}; {middle:.2g} at (0, 0).")
    gap = 1 / (1 + np.exp(reach))
    return (
        "Four surfaces, one for each truth of two pixels: the Lovász-Softmax loss of the "
        f"foreground over the differences of logits from {-reach:g} to {reach:g}. Smooth plateaus "
        "joined by slopes, with a crease where both errors are equal unless both pixels are "
        "foreground. The red dots at the corners are the discrete Jaccard loss; the surface comes "
        f"within {gap:.2g} of them and meets them at infinity. " + " ".join(words)
    )


def plot_losses(
    truth: Truth = (0, 1), kind: Literal["surface", "contour"] = "surface", steps: int = 25
) -> Figure:
    """Draw seven losses of the foreground over the same logits, and one cut through them all."""
    if kind not in ("surface", "contour"):
        raise ValueError(f"plot_losses: found kind {kind!r}, expected surface or contour")
    reach = 3.0
    solid = kind == "surface"
    figure = Figure(figsize=(7.4, 7), layout=None if solid else "constrained")
    for place, (loss, (title, _, _)) in enumerate(LOSSES.items(), start=1):
        axes = figure.add_subplot(3, 3, place, **(SOLID if solid else {}))
        surface = make_surface(loss, truth, "logits", -reach, reach, steps)
        top = 4.0 if loss in UNBOUNDED else 1.0
        if solid:
            draw_surface(axes, surface, top)
            axes.set_zticks([0, 2, 4] if top > 1 else [0, 0.5, 1])
        else:
            draw_contours(axes, surface, top)
        axes.set(title=title, xlabel="logit $d_1$", ylabel="logit $d_2$")
        axes.title.set_fontsize(10.5)
        axes.set_xticks([-3, 0, 3])
        axes.set_yticks([-3, 0, 3])
    axes = figure.add_subplot(3, 3, (8, 9))
    _draw_cut(axes, truth, reach)
    if solid:
        figure.subplots_adjust(0.02, 0.06, 0.95, 0.89, wspace=0.1, hspace=0.22)
        box = axes.get_position()
        axes.set_position((box.x0 + 0.07, box.y0, box.width - 0.07, box.height))
    figure.suptitle(
        f"Seven losses of the foreground over the same logits, {truth_name(truth)}\n"
        "from 0 (dark) to 4 (yellow) for hinges and cross-entropy, to 1 for the others",
        fontsize=11,
    )
    return figure


def _draw_cut(axes: Any, truth: Truth, reach: float) -> None:
    """Draw all losses along the first logit, the second pixel being right with a logit of 1."""
    axis = torch.linspace(-reach, reach, 241, dtype=torch.float64)
    second = 2.0 * truth[1] - 1
    points = torch.stack([axis, torch.full_like(axis, second)], -1)
    for loss, (title, color, style) in LOSSES.items():
        label = title.replace(" (discrete)", "")
        width = 3.2 if loss in ("jaccard", "hinge") else 1.6  # others may lie on top
        values = loss_at(loss, points, truth)
        axes.plot(axis, values, color=color, linestyle=style, linewidth=width, label=label)
    axes.set(
        title=f"cut at $d_2 = {second:+.0f}$",
        xlabel="logit $d_1$",
        ylabel="loss",
        xlim=(-reach, reach),
        ylim=(-0.05, 2.75),  # room for the legend above the lines
        xticks=[-3, 0, 3],
    )
    axes.legend(fontsize=8, loc="upper left", frameon=False, handlelength=2.6, ncols=2)


def describe_losses(truth: Truth = (0, 1)) -> str:
    """Say in words what `plot_losses` shows, as surfaces and as contours."""
    right = torch.tensor(_signs(truth))
    points = torch.stack([3 * right, torch.zeros(2, dtype=torch.float64), -3 * right])
    words = []
    for loss, (title, _, _) in LOSSES.items():
        good, middle, bad = loss_at(loss, points, truth).tolist()
        words.append(f"{title} {good:.2f}, {middle:.2f}, {bad:.2f}")
    flat = "" if any(truth) else " Soft Jaccard and Dice are flat here: they teach nothing."
    return (
        f"Seven losses of the foreground over the logits of two pixels, {truth_name(truth)}, and "
        "a cut through all of them. The discrete Jaccard loss is a stair of flat quadrants; all "
        "others are continuous. Their values with both pixels right by a logit of 3, with both "
        f"logits 0, and with both wrong by 3: {'; '.join(words)}.{flat}"
    )


def plot_gradients(steps: int = 61, num_arrows: int = 8) -> Figure:
    """Draw the steepest descent on the contours of both Lovász losses, and their kinks."""
    figure = Figure(figsize=(9, 6), layout="constrained")
    panels = figure.subplots(2, 4)
    rows: tuple[tuple[str, Over, float, float, float], ...] = (
        ("lovasz_hinge", "margins", -1, 2, 2),
        ("lovasz_softmax", "logits", -4, 4, 1),
    )
    for row, (loss, over, low, high, top) in zip(panels, rows, strict=True):
        for axes, truth in zip(row, TRUTHS, strict=True):
            draw_contours(axes, make_surface(loss, truth, over, low, high, steps), top, PALE_COLORS)
            points = arrow_points(low, high, num_arrows)
            _, gradient = value_and_gradient(loss, points, truth, over)
            reach = 0.9 * (high - low) / num_arrows  # of the longest arrow, in data units
            longest = 1.0 if over == "margins" else 0.25  # bounds of the gradients
            axes.quiver(
                points[:, 0], points[:, 1], -gradient[:, 0], -gradient[:, 1], color="0.15",
                angles="xy", scale_units="xy", scale=longest / reach, width=0.007, zorder=3,
            )  # fmt: skip
            for crease in find_creases(truth, over, low, high):
                _draw_crease(axes, crease)
            letter = "r" if over == "margins" else "d"
            name = "relative margin" if over == "margins" else "logit"
            axes.set(
                title=f"{LOSSES[loss][0]}\n{truth_name(truth)}",
                xlabel=f"{name} ${letter}_1$",
                ylabel=f"{name} ${letter}_2$",
                xticks=[low, 0, high],
                yticks=[low, 0, high],
            )
            axes.title.set_fontsize(10)
    figure.legend(
        handles=[
            Line2D([], [], color=KINK_COLOR, linewidth=2.5,
                   label="kink: the order of errors changes"),
            Line2D([], [], color=KINK_COLOR, linewidth=2, linestyle=":",
                   label="kink: a hinge error leaves 0"),
            Line2D([], [], color="0.4", linewidth=1.5, linestyle="--",
                   label="formula changes, but no kink"),
            Line2D([], [], color="0.15", marker=r"$\rightarrow$", markersize=14, linestyle="",
                   label="steepest descent, length = slope"),
        ],
        loc="outside lower center", ncols=2, frameon=False,
    )  # fmt: skip
    figure.suptitle(
        "Descent on the Lovász losses: darker is larger; a contour every 0.2 above, every 0.1 below"
    )
    return figure


def arrow_points(low: float, high: float, num: int) -> Float[Tensor, "n 2"]:
    """Return the points where arrows start: a grid that is shifted off the lines of equal errors.

    Both coordinates are shifted, by different shares of a cell, so none lies on either diagonal.
    """
    cell = (high - low) / num
    at = torch.arange(num, dtype=torch.float64)
    second, first = torch.meshgrid(at, at, indexing="ij")
    return torch.stack([first + 0.62, second + 0.48], -1).view(-1, 2) * cell + low


def describe_gradients() -> str:
    """Say in words what `plot_gradients` shows."""
    words = []
    for truth in TRUTHS:
        one, two = greedy_vertex(truth, (0, 1)), greedy_vertex(truth, (1, 0))
        if np.array_equal(one, two):
            words.append(f"{truth_name(truth)}: {_point(one)} in either order, so no kink between.")
        else:
            words.append(
                f"{truth_name(truth)}: {_point(one)} where the first pixel's error is the larger, "
                f"{_point(two)} where the second's is."
            )
    return (
        "Eight contour maps with arrows of steepest descent: the Lovász hinge over relative "
        "margins above, Lovász-Softmax over logits below, one column for each truth. Contours of "
        "the hinge are straight, with a kink on the diagonal where the order of the errors "
        "changes; those of Lovász-Softmax are curved, and arrows shorten to nothing on plateaus. "
        "The gradients by the errors: " + " ".join(words)
    )


def plot_base_polytope(errors: tuple[float, float] = (0.9, 0.4)) -> Figure:
    """Draw the base polytope of each truth, and the vertex that is greedy for the given errors.

    The Lovász extension at m is the largest <m, g> over the polytope: the dashed line of equal
    <m, g> touches it at the greedy vertex.
    """
    m = np.asarray(errors)
    if m.shape != (2,) or m.min() < 0 or m.max() == 0:
        raise ValueError(
            f"plot_base_polytope: found errors {errors}, expected two from 0, not both"
        )
    order = (0, 1) if m[0] >= m[1] else (1, 0)
    figure = Figure(figsize=(9.4, 4.1), layout="constrained")
    for axes, truth in zip(figure.subplots(1, 4), TRUTHS, strict=True):
        _draw_polytope(axes, truth, m, order)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(
        f"Base polytopes of the Jaccard loss, errors m = {_point(m)}: "
        f"pixel {order[0] + 1} joins first"
    )
    return figure


def _draw_polytope(axes: Any, truth: Truth, m: np.ndarray, order: tuple[int, int]) -> None:
    vertices = np.stack([greedy_vertex(truth, (0, 1)), greedy_vertex(truth, (1, 0))])
    best = greedy_vertex(truth, order)
    low, high = -0.35, 1.5
    most = vertices.max(0)  # g_i <= F({i})
    region = np.array([
        (low, low), (most[0], low), vertices[0], vertices[1], (low, most[1])
    ])  # fmt: skip
    axes.fill(*region.T, color="#56b4e9", alpha=0.25, linewidth=0,
              label="$g(A) \\leq F(A)$ for every set A")  # fmt: skip
    axes.plot(*vertices.T, color="#0072b2", linewidth=5, solid_capstyle="round",
              label="base polytope: also $g_1 + g_2 = F(\\{1, 2\\})$")  # fmt: skip
    axes.plot(*vertices.T, "o", color="white", markeredgecolor="#0072b2", markersize=8,
              markeredgewidth=2, label="vertex, one for each order")  # fmt: skip
    axes.plot(*best, "*", color=KINK_COLOR, markersize=19, markeredgecolor="white", zorder=4,
              label="greedy vertex for m")  # fmt: skip
    across = np.array([-m[1], m[0]]) / np.hypot(*m)
    touch = np.stack([best - 3 * across, best + 3 * across])
    axes.plot(*touch.T, "--", color="0.25", label="$\\langle m, g \\rangle = L(m)$")
    tip = best + 0.33 * m / np.hypot(*m)
    axes.annotate(
        "", tip, best, arrowprops={"arrowstyle": "-|>", "color": "0.25", "linewidth": 1.6}
    )
    axes.text(*(tip + 0.05), "m", color="0.25", ha="center", va="center", path_effects=HALO)
    axes.set(
        title=f"{truth_name(truth)}\n$g = {_point(best)}$\n$L(m) = {m @ best:.3g}$",
        xlabel="$g_1$", ylabel="$g_2$", xlim=(low, high), ylim=(low, high), aspect="equal",
        xticks=[0, 0.5, 1], yticks=[0, 0.5, 1],
    )  # fmt: skip
    axes.title.set_fontsize(10)
    axes.grid(alpha=0.3)


def describe_base_polytope(errors: tuple[float, float] = (0.9, 0.4)) -> str:
    """Say in words what `plot_base_polytope` shows."""
    m = np.asarray(errors)
    order = (0, 1) if m[0] >= m[1] else (1, 0)
    words = []
    for truth in TRUTHS:
        one, two = greedy_vertex(truth, (0, 1)), greedy_vertex(truth, (1, 0))
        best = greedy_vertex(truth, order)
        shape = f"the single point {_point(one)}"
        if not np.array_equal(one, two):
            shape = f"the segment from {_point(one)} to {_point(two)}"
        words.append(
            f"{truth_name(truth)}: {shape}; greedy vertex {_point(best)}, value {m @ best:.3g}."
        )
    return (
        "Four panels with the base polytope of the Jaccard loss of two pixels, one for each truth. "
        f"For the errors {_point(m)} pixel {order[0] + 1} joins first; a dashed line across the "
        "direction of the errors touches each polytope at the greedy vertex. " + " ".join(words)
    )


CHORD_CASES: tuple[tuple[str, Over, str, str, float, float], ...] = (
    ("lovasz_hinge", "logits", "Lovász hinge over scores", "score $d_{}$", -3, 3),
    ("lovasz_softmax", "errors", "Lovász-Softmax over errors", "error $m_{}$", 0, 1),
    ("lovasz_softmax", "logits", "Lovász-Softmax over logits", "logit $d_{}$", -6, 6),
)


def plot_convexity(truth: Truth = (0, 1), seed: int = 0, num: int = 4000) -> Figure:
    """Draw a telling chord on three surfaces, and the surface along it: two are convex.

    Args:
        truth: of the two pixels.
        seed: of the random chords.
        num: of chords that are tried for each surface.
    """
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    for column, case in enumerate(CHORD_CASES):
        loss, over, title, label, low, high = case
        rng = torch.Generator().manual_seed(seed)
        worst, chord = measure_convexity(loss, truth, over, low, high, rng, num)
        above = figure.add_subplot(2, 3, column + 1)
        below = figure.add_subplot(2, 3, column + 4)
        top = 4 if loss in UNBOUNDED else 1
        surface = make_surface(loss, truth, over, low, high)
        bar = figure.colorbar(draw_contours(above, surface, top), ax=above, shrink=0.6)
        bar.set_ticks([0, top / 2, top])
        ends = np.stack([chord.start, chord.end])
        above.plot(*ends.T, color=DOT_COLOR, linewidth=2, marker="o", path_effects=HALO)
        for end, name in zip(ends, "AB", strict=True):
            above.annotate(
                name, end, (6, 6), textcoords="offset points", path_effects=HALO, weight="bold"
            )
        convex = worst < 1e-9
        above.set(
            title=f"{title}:\n{'convex' if convex else 'not convex'}",
            xlabel=label.format(1),
            ylabel=label.format(2),
        )
        above.title.set_fontsize(10)
        _draw_chord(below, chord, convex)
        below.set_title(
            f"largest rise above {num:,} chords:\n"
            + ("none beyond rounding" if convex else f"{worst:.2f}"),
            fontsize="medium",
        )
    figure.suptitle(f"Convex in what? {truth_name(truth)}")
    return figure


def _draw_chord(axes: Any, chord: Chord, convex: bool) -> None:
    axes.plot(chord.share, chord.surface, color="#0072b2", linewidth=2, label="loss")
    axes.plot(chord.share, chord.line, color=DOT_COLOR, linestyle="--", label="chord")
    fill = "#56b4e9" if convex else "#e69f00"
    axes.fill_between(chord.share, chord.line, chord.surface, color=fill, alpha=0.3, linewidth=0)
    if not convex:
        at = int((chord.surface - chord.line).argmax())
        x, low, high = chord.share[at], chord.line[at], chord.surface[at]
        axes.annotate("", (x, high), (x, low), arrowprops={"arrowstyle": "<->"})
        axes.annotate(
            f"{high - low:.2f}", (x, (low + high) / 2), (5, 0), textcoords="offset points",
            va="center", path_effects=HALO,
        )  # fmt: skip
    top = max(chord.line.max(), chord.surface.max())
    axes.set(
        xlabel="way from A to B", ylabel="loss", xticks=[0, 0.5, 1], xticklabels=["A", "half", "B"],
        ylim=(-0.03 * top, 1.1 * top),
    )  # fmt: skip
    axes.legend(frameon=False)


def describe_convexity(truth: Truth = (0, 1), seed: int = 0, num: int = 4000) -> str:
    """Say in words what `plot_convexity` shows, and the violations of all four truths."""
    words = []
    for loss, over, title, _, low, high in CHORD_CASES:
        found = {}
        for each in TRUTHS:
            rng = torch.Generator().manual_seed(seed)
            found[each] = measure_convexity(loss, each, over, low, high, rng, num)[0]
        if max(found.values()) < 1e-9:
            words.append(f"{title}: never, beyond rounding, for any truth, so convex.")
        else:
            listed = ", ".join(f"{excess:.2f} for {truth_name(t)}" for t, excess in found.items())
            words.append(f"{title}: by up to {listed}, so not convex.")
    return (
        f"Three contour maps with a chord from A to B, {truth_name(truth)}, and below each the "
        "loss along the chord beside the straight line between its ends. Does the loss rise above "
        f"any of {num:,} random chords? " + " ".join(words)
    )


def plot_absent_class(error: float = 0.9, rest: float = 0.01) -> Figure:
    """Draw what a class costs that the truth does not contain: its single largest error."""
    figure = Figure(figsize=(7.4, 3.5), layout="constrained")
    middle, right = figure.subplots(1, 2)
    surface = make_surface("lovasz_softmax", (0, 0), "errors", 0, 1)
    drawn = draw_contours(middle, surface, 1, PALE_COLORS)
    figure.colorbar(drawn, ax=middle, label="loss")
    points = arrow_points(0, 1, 7)
    _, gradient = value_and_gradient("lovasz_softmax", points, (0, 0), "errors")
    middle.quiver(
        points[:, 0], points[:, 1], -gradient[:, 0], -gradient[:, 1], color="0.15",
        angles="xy", scale_units="xy", scale=12, width=0.008,
    )  # fmt: skip
    _draw_crease(middle, *find_creases((0, 0), "errors", 0, 1))
    middle.set(
        title="$L(m) = \\max(m_1, m_2)$:\ndescent moves the worst pixel only",
        xlabel="error $m_1$",
        ylabel="error $m_2$",
        aspect="equal",
    )

    nums = [2**power for power in range(1, 15)]
    costs = absent_class_costs(nums, error, rest)
    lines = (
        ("absent", "absent class, asked for", "black", "-", "o"),
        ("half", "class on half of the pixels", "#0072b2", "--", "s"),
        ("mean", "mean error", "#e69f00", "-.", "^"),
    )
    for key, label, color, style, marker in lines:
        right.plot(
            nums, costs[key], color=color, linestyle=style, marker=marker, markersize=4, label=label
        )
    right.set_xscale("log", base=2)
    right.set(
        title=f"one pixel of error {error:g},\nall others {rest:g}",
        xlabel="number of pixels",
        ylabel="loss",
        ylim=(0, 1),
    )
    right.legend(frameon=False, loc="center right")
    for axes in (middle, right):
        axes.title.set_fontsize(10)
    figure.suptitle("A class that the truth does not contain costs its largest error")
    return figure


def describe_absent_class(error: float = 0.9, rest: float = 0.01) -> str:
    """Say in words what `plot_absent_class` shows."""
    costs = absent_class_costs([16384], error, rest)
    return (
        "Left: the loss of a class without a true pixel, over the errors of two pixels, is the "
        "larger of the two: its contours are corners, and descent moves only the pixel with the "
        "larger error. Right: one pixel of error "
        f"{error:g} among others of {rest:g}, by the number of pixels. With 16,384 pixels the "
        f"absent class still costs {costs['absent'][0]:.2g}, a class on half of the pixels "
        f"{costs['half'][0]:.2g}, the mean error is {costs['mean'][0]:.2g}."
    )


# Drawing ----------------------------------------------------------------------------------------

# Painted in the order given, not by depth: the dots lie in the surface and have to stay visible.
SOLID: dict[str, Any] = {"projection": "3d", "computed_zorder": False}


def draw_surface(axes: Any, surface: Surface, top: float) -> None:
    """Draw a surface in 3-D, colored by height from 0 to `top`."""
    first, second = np.meshgrid(surface.axis, surface.axis)
    axes.plot_surface(
        first, second, surface.value, cmap=SURFACE_COLORS, vmin=0, vmax=top, rstride=1, cstride=1,
        linewidth=0.4, edgecolor=(1, 1, 1, 0.35), antialiased=False, zorder=1,
    )  # fmt: skip
    axes.set(zlim=(0, top))
    axes.set_zlabel("loss", labelpad=0)  # close, lest it be read as that of the panel beside
    # Logits are seen from the corner where both pixels are right, or slopes hide behind plateaus.
    turns = {(0, 0): 0, (0, 1): -90, (1, 0): 90, (1, 1): 180}
    axes.view_init(elev=27, azim=-122 + (turns[surface.truth] if surface.over == "logits" else 0))
    axes.patch.set_visible(False)  # it would cover the labels of the panel beside it
    axes.set_box_aspect((1, 1, 0.75), zoom=0.95)
    axes.tick_params(labelsize=8, pad=0)


def draw_dots(axes: Any, places: Float[np.ndarray, "n 2"], heights: np.ndarray) -> None:
    """Draw the discrete Jaccard loss as red dots on a surface."""
    axes.scatter(
        places[:, 0], places[:, 1], heights, color=DOT_COLOR, edgecolors="white", s=55,
        linewidths=1, depthshade=False, zorder=5,
    )  # fmt: skip


def draw_contours(axes: Any, surface: Surface, top: float, colors: str = SURFACE_COLORS) -> Any:
    """Draw filled contours from 0 to `top`, lines between; return what a colorbar needs."""
    levels = np.linspace(0, top, 11)
    end = top if colors == SURFACE_COLORS else 1.6 * top  # what lies on pale colors has to show
    # Rounding may leave a value just outside of the outer levels, which would stay unpainted.
    value = np.clip(surface.value, 0, top)
    drawn = axes.contourf(surface.axis, surface.axis, value, levels, cmap=colors, vmin=0, vmax=end)
    if np.ptp(value) > 1e-9 and surface.loss != "jaccard":
        ink = "white" if colors == SURFACE_COLORS else "#4a6a8a"
        axes.contour(
            surface.axis, surface.axis, value, levels[1:-1], colors=ink, linewidths=0.6, alpha=0.8
        )
    axes.set_aspect("equal")
    return drawn


def _draw_crease(axes: Any, crease: Crease) -> None:
    style: dict[str, Any] = {"color": "0.4", "linewidth": 1.5, "linestyle": "--"}
    if crease.bends:
        style = {"color": KINK_COLOR, "linewidth": 2.5, "linestyle": "-"}
        if not crease.by_order:
            style |= {"linewidth": 2, "linestyle": ":"}
    (x0, y0), (x1, y1) = crease.start, crease.end
    axes.plot([x0, x1], [y0, y1], zorder=2, **style)


def _solid_panels(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, Any]:
    # No layout engine: none of them sees how far the labels of 3-D axes reach.
    figure = Figure(figsize=size)
    panels = figure.subplots(rows, columns, subplot_kw=SOLID)
    figure.subplots_adjust(0.04, 0.08, 0.93, 0.87, wspace=0.08, hspace=0.28)
    return figure, panels


def _crown(figure: Figure, title: str) -> None:
    figure.suptitle(title, y=0.985, fontsize=11)
    dot = Line2D(
        [], [], color=DOT_COLOR, marker="o", linestyle="", markersize=7, markeredgecolor="white",
        label="discrete Jaccard loss",
    )  # fmt: skip
    figure.legend(handles=[dot], loc="lower center", frameon=False)


def _signs(truth: Truth) -> Float[np.ndarray, " 2"]:
    return 2.0 * np.asarray(truth) - 1


def truth_name(truth: Truth) -> str:
    """Write the truth as the paper does, with -1 for background and +1 for foreground."""
    return f"truth [{', '.join('+1' if value else '-1' for value in truth)}]"


def _point(values: Sequence[float] | np.ndarray) -> str:
    return f"({', '.join(f'{value:g}' for value in values)})"


def _corner_words(heights: np.ndarray) -> str:
    none, second, first, both = (f"{height:g}" for height in heights)
    return (
        f"{none} with no pixel wrong, {first} with the first, {second} with the second, "
        f"{both} with both"
    )
