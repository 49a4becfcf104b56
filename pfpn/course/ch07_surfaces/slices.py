"""Losses of many pixels, cut by a plane: what two pixels cannot show.

The loss of p pixels lives over p scores. A plane through that space is drawn like a surface of two
pixels: a middle (one score for every pixel) and two directions in which scores move. One point of
the plane can be read in full: errors, their order, intersection and union as the pixels join the
wrong ones, value and gradient. And the binned loss, which sorts nothing, is put beside the exact
one.

Source: [LS] Algorithm 1; bins: `pfpn.losses.lovasz.binned_gradient`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from matplotlib import colormaps
from matplotlib.figure import Figure
from torch import Tensor

from pfpn.losses.lovasz import binned_gradient
from pfpn.plot.surface import (
    DOT_COLOR,
    HALO,
    LOSSES,
    PALE_COLORS,
    UNBOUNDED,
    extend_jaccard,
    loss_at,
    value_and_gradient,
)

Plane = Literal["two pixels", "two groups", "random"]
PLANES: tuple[Plane, ...] = get_args(Plane)
MAX_PIXELS = 1000  # of a slice; a picture needs a loss for each of its points
FG_COLOR, BG_COLOR, IGNORED_COLOR = "#e69f00", "#4a6a8a", "0.8"
LOVASZ = ("lovasz_hinge", "lovasz_softmax")
MAX_NAMED = 4  # pixels whose numbers stand at their bars
REACH = 3.0  # scores of a slice, to both sides


# Data -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Slice:
    """A plane through the scores of p pixels: middle + x * first + y * second."""

    truth: Bool[np.ndarray, " p"]  # foreground
    counts: Bool[np.ndarray, " p"]  # False: the pixel is ignored
    middle: Float[np.ndarray, " p"]
    first: Float[np.ndarray, " p"]
    second: Float[np.ndarray, " p"]
    plane: Plane

    @property
    def labels(self) -> tuple[str, str]:
        """What the two axes move."""
        if len(self.truth) == 2:
            kinds = ["foreground" if kind else "background" for kind in self.truth]
            return f"score of pixel 1, {kinds[0]}", f"score of pixel 2, {kinds[1]}"
        return {
            "two pixels": ("score of one foreground pixel", "score of one background pixel"),
            "two groups": ("score of all foreground", "score of all background"),
            "random": ("way along a random direction", "way along another"),
        }[self.plane]

    def scores(self, x: float, y: float) -> Float[Tensor, " p"]:
        """Return the scores of all pixels at a point of the plane."""
        return torch.from_numpy(self.middle + x * self.first + y * self.second)


@dataclass(frozen=True, slots=True)
class Reading:
    """All that Algorithm 1 sees at one point, in the order in which pixels join the wrong ones."""

    loss: str
    value: float
    order: Int[np.ndarray, " k"]  # places of the pixels that count, largest error first
    errors: Float[np.ndarray, " k"]
    is_fg: Bool[np.ndarray, " k"]
    intersection: Int[np.ndarray, " k"]  # once this pixel and all before it are wrong
    union: Int[np.ndarray, " k"]
    rise: Float[np.ndarray, " k"]  # of the Jaccard loss, as this pixel joins
    gradient: Float[np.ndarray, " p"]  # by the score of each pixel, in the pixels' own order


def make_slice(
    num_pixels: int = 40,
    fg_share: float = 0.25,
    plane: Plane = "two pixels",
    seed: int = 0,
    ignored_share: float = 0.0,
) -> Slice:
    """Make pixels with noisy scores of the right sign in most places, and a plane through them.

    Args:
        num_pixels: 2 to MAX_PIXELS.
        fg_share: of the pixels, at least one of each kind where there are two or more.
        plane: what x and y move: one pixel of each kind, all pixels of each kind, or every pixel
            along two random directions of length sqrt(p).
        seed: of scores, directions and ignored pixels.
        ignored_share: of the pixels; never the two that "two pixels" moves.
    """
    if not 2 <= num_pixels <= MAX_PIXELS:
        raise ValueError(f"make_slice: found num_pixels {num_pixels}, expected 2 to {MAX_PIXELS}")
    if not 0 <= fg_share <= 1 or not 0 <= ignored_share <= 1:
        raise ValueError(
            f"make_slice: found fg_share {fg_share}, ignored_share {ignored_share}, expected "
            "shares from 0 to 1"
        )
    if plane not in PLANES:
        raise ValueError(f"make_slice: found plane {plane!r}, expected one of {', '.join(PLANES)}")
    rng = np.random.default_rng(seed)
    num_fg = min(max(round(fg_share * num_pixels), 1), num_pixels - 1)
    truth = np.arange(num_pixels) < num_fg
    sign = np.where(truth, 1.0, -1.0)
    middle = 0.8 * sign + rng.standard_normal(num_pixels)
    noise = rng.standard_normal((2, num_pixels))
    ranks = rng.permutation(num_pixels)
    moved = np.arange(num_pixels) == 0, np.arange(num_pixels) == num_fg
    others = ranks[~(moved[0] | moved[1])[ranks]]
    counts = np.ones(num_pixels, bool)
    counts[others[: round(ignored_share * num_pixels)]] = False
    if plane == "random":
        first, second = noise
        second = second - first * (first @ second) / (first @ first)
        directions = [v * np.sqrt(num_pixels) / np.linalg.norm(v) for v in (first, second)]
    else:
        places = moved if plane == "two pixels" else (truth, ~truth)
        directions = [place.astype(float) for place in places]
        spread = middle - np.where(truth, middle[truth].mean(), middle[~truth].mean())
        middle = np.where(places[0] | places[1], 0.0 if plane == "two pixels" else spread, middle)
    return Slice(truth, counts, middle, directions[0], directions[1], plane)


def make_pair(truth: Sequence[int]) -> Slice:
    """Return the whole space of two pixels as a slice."""
    if len(truth) != 2:
        raise ValueError(f"make_pair: found {len(truth)} labels, expected two")
    return Slice(
        np.array(truth, dtype=bool), np.ones(2, bool), np.zeros(2), np.array([1.0, 0.0]),
        np.array([0.0, 1.0]), "two pixels",
    )  # fmt: skip


def cut(
    piece: Slice, loss: str, axis: Float[np.ndarray, " k"], bins: int | None = None
) -> Float[np.ndarray, "k k"]:
    """Return a loss over a grid of the plane, row by second direction; binned if `bins` is given.

    Ignored pixels are left out, as if they were not there.
    """
    x, y = np.meshgrid(axis, axis)
    kept = piece.counts
    points = (
        piece.middle[kept] + x[..., None] * piece.first[kept] + y[..., None] * piece.second[kept]
    )
    truth = piece.truth[kept].tolist()
    return evaluate(loss, torch.from_numpy(points), truth, bins).numpy()


def evaluate(
    loss: str, points: Float[Tensor, "*n p"], truth: Sequence[bool], bins: int | None = None
) -> Float[Tensor, "*n"]:
    """Return a loss at many points; `bins` counts the errors of a Lovász loss instead of sorting.

    The same sums as `lovasz_hinge(..., bins=bins)` and `lovasz_softmax(..., classes=[1])` make,
    for a whole grid of points at once.
    """
    if bins is None:
        return loss_at(loss, points, truth)
    if loss not in LOVASZ:
        raise ValueError(f"evaluate: {loss!r} has no bins, expected one of {', '.join(LOVASZ)}")
    errors = errors_of(loss, points, truth)
    is_fg = torch.tensor(truth).expand(errors.shape)
    top = errors.amax(-1, keepdim=True).clamp(min=1e-30) if loss == "lovasz_hinge" else 1.0
    index = (errors * bins / top).ceil().clamp(0, bins).long()
    counts = []
    for kind in (is_fg, ~is_fg):
        empty = torch.zeros(*errors.shape[:-1], bins + 1, dtype=torch.float64)
        counts.append(empty.scatter_add(-1, index, kind.double()).flip(-1))
    fg_weights, bg_weights = (weights.flip(-1) for weights in binned_gradient(*counts))
    weights = torch.where(is_fg, fg_weights.gather(-1, index), bg_weights.gather(-1, index))
    return (weights * errors).sum(-1)


def errors_of(
    loss: str, points: Float[Tensor, "*n p"], truth: Sequence[bool]
) -> Float[Tensor, "*n p"]:
    """Return the errors that a Lovász loss sorts: hinge errors, or 1 - p(true class)."""
    sign = 2 * torch.tensor(truth, dtype=points.dtype) - 1
    return (1 - sign * points).relu() if loss == "lovasz_hinge" else (-sign * points).sigmoid()


def read_point(
    truth: Sequence[bool] | np.ndarray,
    scores: Float[Tensor, " p"],
    loss: str = "lovasz_hinge",
    counts: Sequence[bool] | np.ndarray | None = None,
) -> Reading:
    """Read a Lovász loss at one point: each step of Algorithm 1.

    Args:
        truth: of each pixel, foreground or not.
        scores: of each pixel: the hinge's score, or the difference of two logits.
        loss: "lovasz_hinge" or "lovasz_softmax".
        counts: which pixels count; None: all. The others have gradient 0.
    """
    if loss not in LOVASZ:
        raise ValueError(f"read_point: found {loss!r}, expected one of {', '.join(LOVASZ)}")
    all_truth = np.asarray(truth, dtype=bool)
    kept = np.ones(len(all_truth), bool) if counts is None else np.asarray(counts, dtype=bool)
    places = np.flatnonzero(kept)
    chosen = scores.double()[torch.from_numpy(places)]
    kept_truth = all_truth[kept].tolist()
    errors = errors_of(loss, chosen, kept_truth)
    order = errors.argsort(descending=True, stable=True)
    is_fg = torch.tensor(kept_truth, dtype=torch.bool)[order]
    num_fg = int(is_fg.sum())
    intersection = num_fg - is_fg.cumsum(0)
    union = num_fg + (~is_fg).cumsum(0)
    value, rises = extend_jaccard(errors, kept_truth)
    gradient = np.zeros(len(all_truth))
    gradient[kept] = value_and_gradient(loss, chosen, kept_truth)[1].numpy()
    return Reading(
        loss, float(value), places[order.numpy()], errors[order].numpy(), is_fg.numpy(),
        intersection.numpy(), union.numpy(), rises[order].numpy(), gradient,
    )  # fmt: skip


def bin_gaps(
    piece: Slice, loss: str, bins: Sequence[int], steps: int = 33, reach: float = REACH
) -> dict[int, tuple[float, float]]:
    """Return by number of bins how far exact - binned goes over the slice, and what bounds it.

    Both as shares of the largest error (the hinge's errors have no other scale): the largest gap
    found, and 1 / K.
    """
    axis = np.linspace(-reach, reach, steps)
    exact, scale = cut(piece, loss, axis), _largest_errors(piece, loss, axis)
    return {
        num: (float(((exact - cut(piece, loss, axis, num)) / scale).max()), 1 / num) for num in bins
    }


def _largest_errors(
    piece: Slice, loss: str, axis: Float[np.ndarray, " k"]
) -> float | Float[np.ndarray, "k k"]:
    """What a gap is measured by: the largest hinge error at each point; 1 for probabilities."""
    if loss != "lovasz_hinge":
        return 1.0
    x, y = np.meshgrid(axis, axis)
    points = piece.middle + x[..., None] * piece.first + y[..., None] * piece.second
    kept = piece.counts
    errors = errors_of(loss, torch.from_numpy(points[..., kept]), piece.truth[kept].tolist())
    return errors.amax(-1).clamp(min=1e-30).numpy()


# Figures ----------------------------------------------------------------------------------------


def plot_slice(
    piece: Slice,
    loss: str = "lovasz_hinge",
    point: tuple[float, float] = (-0.5, 0.5),
    bins: int | None = None,
    steps: int = 33,
) -> Figure:
    """Draw a loss over a slice, with one point, its descent, and the pixels in its order.

    Drawn with few strokes, because sliders call it: below 100 ms of one core, all in all.

    Args:
        piece: the plane.
        loss: a key of LOSSES.
        point: x and y on the plane, -3 to 3.
        bins: draw the binned Lovász loss instead of the exact one.
        steps: of the grid, along each axis.
    """
    figure, panels = prepare_slice(piece, loss, bins, steps)
    draw_point(panels, piece, loss, point, bins)
    return figure


Panels = tuple[Any, Any]  # the map, and the pixels in their order


def prepare_slice(
    piece: Slice, loss: str, bins: int | None = None, steps: int = 33
) -> tuple[Figure, Panels]:
    """Draw all of `plot_slice` that does not depend on the point."""
    figure = Figure(figsize=(7.4, 3.4))
    left = figure.add_axes((0.07, 0.14, 0.36, 0.76))
    right = figure.add_axes((0.54, 0.14, 0.44, 0.76))
    axis = np.linspace(-REACH, REACH, steps)
    _draw_map(left, axis, cut(piece, loss, axis, bins if loss in LOVASZ else None), loss)
    left.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH))
    left.set_xlabel(piece.labels[0], fontsize=9)
    left.set_ylabel(piece.labels[1], fontsize=9)
    top = largest_error(piece, _sorted_loss(loss))
    right.set(xlim=(0, piece.counts.sum()), ylim=(0, 1.3 * top))
    right.set_xticks([0, int(piece.counts.sum())])
    right.set_yticks(range(int(top) + 1))
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
    bins: int | None = None,
) -> list[Any]:
    """Draw all of `plot_slice` that depends on the point; return its artists, to redraw them."""
    left, right = panels
    bins = bins if loss in LOVASZ else None
    kept = piece.counts
    scores = piece.scores(*point)[torch.from_numpy(kept)]
    value = float(evaluate(loss, scores, piece.truth[kept].tolist(), bins))
    note = f", {bins} bins" if bins else ""
    slope = plane_gradient(piece, loss, point)
    title = f"{LOSSES[loss][0]}{note}: {value:.3f}, slope ({slope[0]:.2f}, {slope[1]:.2f})"
    artists = [left.set_title(title, size=9.5)]
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

    # Bars: errors in their order. Line: the Jaccard loss as pixels join the wrong ones.
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
                place + 0.5, 0.12, f"pixel {number + 1}", fontsize=8.5, ha="center", weight="bold",
                path_effects=HALO,
            )
            for place, number in enumerate(read.order.tolist())
        ]  # fmt: skip
    num, inter, union = count_wrong(read)
    artists.append(
        right.set_title(f"{num} of {len(read.order)} wrong: I = {inter}, U = {union}", size=10)
    )
    return artists


def _sorted_loss(loss: str) -> str:
    """The Lovász loss whose errors are shown beside a loss: its own, or those of the hinge."""
    return loss if loss in LOVASZ else "lovasz_hinge"


def largest_error(piece: Slice, loss: str) -> float:
    """Return the largest error on the slice; it grows outwards, so a corner has it. 1 at least."""
    truth = piece.truth[piece.counts].tolist()
    ends = (-REACH, REACH)
    scores = torch.stack([piece.scores(x, y) for x in ends for y in ends])
    errors = errors_of(loss, scores[:, torch.from_numpy(piece.counts)], truth)
    return max(1.0, float(errors.max())) if loss == "lovasz_hinge" else 1.0


def _draw_map(
    axes: Any, axis: np.ndarray, value: np.ndarray, loss: str, levels: np.ndarray | None = None
) -> None:
    """Color by the loss itself, contour its own range: far from a corner a slice is nearly flat."""
    top = 4.0 if loss in UNBOUNDED else 1.0
    if levels is None:
        levels = contour_levels(value)
    middles = np.concatenate([value.min(keepdims=True)[0], levels, value.max(keepdims=True)[0]])
    colors = colormaps[PALE_COLORS]((middles[:-1] + middles[1:]) / 2 / (1.3 * top))
    if np.ptp(value) > 1e-9:
        axes.contourf(axis, axis, value, levels, colors=list(colors), extend="both")
        axes.contour(axis, axis, value, levels, colors="#4a6a8a", linewidths=0.7)
    else:
        axes.set_facecolor(colors[0])
    axes.set_aspect("equal")
    axes.set(xticks=[-3, 0, 3], yticks=[-3, 0, 3])
    axes.tick_params(labelsize=8)


def contour_levels(value: Float[np.ndarray, "k k"], num: int = 9) -> Float[np.ndarray, " num"]:
    """Return levels that divide the range of a surface evenly, without its ends."""
    return np.linspace(value.min(), value.max(), num + 2)[1:-1]


def plane_gradient(piece: Slice, loss: str, point: tuple[float, float]) -> Float[np.ndarray, " 2"]:
    """Return the gradient of a loss by x and y of the plane."""
    kept = piece.counts
    truth = piece.truth[kept].tolist()
    scores = piece.scores(*point)[torch.from_numpy(kept)]
    _, gradient = value_and_gradient(loss, scores, truth)
    return np.stack([piece.first[kept], piece.second[kept]]) @ gradient.numpy()


def count_wrong(read: Reading) -> tuple[int, int, int]:
    """Return how many pixels are wrong at a reading's point, and I and U with those wrong."""
    wrong = read.errors >= (1 if read.loss == "lovasz_hinge" else 0.5)
    num, num_fg = int(wrong.sum()), int(read.is_fg.sum())
    if num == 0:
        return 0, num_fg, num_fg
    return num, int(read.intersection[num - 1]), int(read.union[num - 1])


def describe_slice(
    piece: Slice, loss: str = "lovasz_hinge", point: tuple[float, float] = (-0.5, 0.5)
) -> str:
    """Say in words what `plot_slice` shows."""
    num, fg = int(piece.counts.sum()), int((piece.truth & piece.counts).sum())
    kept = piece.counts
    scores = piece.scores(*point)[torch.from_numpy(kept)]
    value = float(evaluate(loss, scores, piece.truth[kept].tolist()))
    return (
        f"Left: contours of {LOSSES[loss][0]} over a plane through the scores of {num} pixels, "
        f"{fg} of them foreground; along x moves the {piece.labels[0]}, along y the "
        f"{piece.labels[1]}. A red dot at ({point[0]:g}, {point[1]:g}), where the loss is "
        f"{value:.3f}, and an arrow of steepest descent. Right: the "
        "errors of the pixels in falling order, colored by truth, and the Jaccard loss as a stair "
        "that rises to 1 while they join the wrong ones."
    )


def plot_bins(
    piece: Slice, loss: str = "lovasz_softmax", bins: Sequence[int] = (2, 8, 32), steps: int = 61
) -> Figure:
    """Draw the exact and the binned loss over a slice, and their difference below."""
    figure = Figure(figsize=(8.4, 4.9), layout="constrained")
    panels = figure.subplots(2, len(bins) + 1)
    axis = np.linspace(-REACH, REACH, steps)
    exact = cut(piece, loss, axis)
    gaps = bin_gaps(piece, loss, bins, steps)
    most = max(gap for gap, _ in gaps.values()) * (1 if loss == "lovasz_softmax" else REACH + 1)
    _draw_map(panels[0, 0], axis, exact, loss)
    panels[0, 0].set_title("exact", size=10)
    panels[1, 0].set_axis_off()
    panels[1, 0].text(
        0.5, 0.5, f"{LOSSES[loss][0]}\n{int(piece.counts.sum())} pixels, "
        f"{int((piece.truth & piece.counts).sum())} foreground\n\nbelow: exact - binned\n"
        "never below 0,\nnever above 1/K\nof the largest error",
        ha="center", va="center", fontsize=9, transform=panels[1, 0].transAxes,
    )  # fmt: skip
    for column, num in enumerate(bins, start=1):
        binned = cut(piece, loss, axis, num)
        _draw_map(panels[0, column], axis, binned, loss, contour_levels(exact))
        panels[0, column].set_title(f"{num} bins", size=10)
        drawn = panels[1, column].imshow(
            exact - binned, cmap="magma_r", vmin=0, vmax=most, origin="lower",
            extent=(-REACH, REACH, -REACH, REACH), interpolation="bilinear",
        )  # fmt: skip
        panels[1, column].set(xticks=[-3, 0, 3], yticks=[-3, 0, 3])
        panels[1, column].set_title(
            f"gap {gaps[num][0]:.3f} $\\leq$ 1/{num} = {gaps[num][1]:.3f}", size=9
        )
        panels[1, column].tick_params(labelsize=8)
        panels[1, column].set_xlabel(piece.labels[0], fontsize=8)
    panels[0, 0].set_ylabel(piece.labels[1], fontsize=8)
    panels[0, 0].set_xlabel(piece.labels[0], fontsize=8)
    figure.colorbar(drawn, ax=panels[1, :], label="exact - binned", shrink=0.9)
    figure.suptitle("Counting errors in K bins instead of sorting them", size=11)
    return figure


def describe_bins(
    piece: Slice, loss: str = "lovasz_softmax", bins: Sequence[int] = (2, 8, 32), steps: int = 61
) -> str:
    """Say in words what `plot_bins` shows."""
    gaps = bin_gaps(piece, loss, bins, steps)
    listed = "; ".join(
        f"{num} bins: {gap:.3f} of {bound:.3f}" for num, (gap, bound) in gaps.items()
    )
    return (
        f"{LOSSES[loss][0]} over a slice through {int(piece.counts.sum())} pixels, exact and with "
        f"{', '.join(map(str, bins))} bins, and what the bins lose. Largest gap found, of the "
        f"allowed 1/K, in units of the largest error: {listed}. With more bins the contours become "
        "the exact ones."
    )


def plot_bin_pair(
    piece: Slice, loss: str = "lovasz_softmax", bins: int = 8, steps: int = 25
) -> Figure:
    """Draw the exact loss, the binned one, and what the bins lose: few strokes, for a slider."""
    figure = Figure(figsize=(7.4, 2.75))
    axis = np.linspace(-REACH, REACH, steps)
    exact, binned = cut(piece, loss, axis), cut(piece, loss, axis, bins)
    gap = float(((exact - binned) / _largest_errors(piece, loss, axis)).max())
    left, middle, right = (figure.add_axes((x, 0.16, 0.26, 0.7)) for x in (0.07, 0.395, 0.72))
    _draw_map(left, axis, exact, loss)
    _draw_map(middle, axis, binned, loss, contour_levels(exact))
    most = 0.3 * (1 if loss == "lovasz_softmax" else 4)
    shown = (exact - binned).clip(0, most)
    right.contourf(axis, axis, shown, np.linspace(0, most, 13), cmap="magma_r")
    right.set(xticks=[-3, 0, 3], aspect="equal")
    right.tick_params(labelsize=8)
    for axes, title in (
        (left, "exact"),
        (middle, f"{bins} bins"),
        (right, f"lost: up to {gap:.3f}, bound {1 / bins:.3f}"),
    ):
        axes.set_title(title, size=10)
        axes.set_xlabel(piece.labels[0], fontsize=8)
    left.set_ylabel(piece.labels[1], fontsize=8)
    middle.set_yticks([])
    right.set_yticks([])
    return figure


def plot_planes(loss: str = "lovasz_hinge", num_pixels: int = 200, steps: int = 61) -> Figure:
    """Draw one loss over three planes, with few and with half of the pixels foreground."""
    figure = Figure(figsize=(8.2, 5.8), layout="constrained")
    panels = figure.subplots(2, len(PLANES))
    axis = np.linspace(-REACH, REACH, steps)
    for row, share in zip(panels, (0.05, 0.5), strict=True):
        for axes, plane in zip(row, PLANES, strict=True):
            piece = make_slice(num_pixels, share, plane)
            value = cut(piece, loss, axis)
            _draw_map(axes, axis, value, loss)
            axes.set_xlabel(piece.labels[0], fontsize=8)
            axes.set_ylabel(piece.labels[1], fontsize=8)
            axes.set_title(
                f"{plane}, {share:.0%} foreground\nfrom {value.min():.2f} to {value.max():.2f}",
                size=9,
            )
    figure.suptitle(f"{LOSSES[loss][0]} of {num_pixels} pixels, along three planes", size=11)
    return figure


def describe_planes(loss: str = "lovasz_hinge", num_pixels: int = 200, steps: int = 61) -> str:
    """Say in words what `plot_planes` shows."""
    axis = np.linspace(-REACH, REACH, steps)
    words = []
    for share in (0.05, 0.5):
        for plane in PLANES:
            value = cut(make_slice(num_pixels, share, plane), loss, axis)
            words.append(f"{plane}, {share:.0%}: {value.min():.2f} to {value.max():.2f}")
    return (
        f"Six contour maps of {LOSSES[loss][0]} of {num_pixels} pixels: planes that move two "
        "single pixels, all foreground against all background, and random directions; above with "
        "5% foreground, below with 50%. The loss runs from its least to its largest value on each: "
        f"{'; '.join(words)}."
    )
