"""Losses of sets of pixels: the Jaccard loss, its Lovász extension, and what becomes of it in use.

The numbers come first, as functions of their own that tests check; figures paint them, and each has
a `describe_*` that says the same in words with the numbers that were computed.

Everywhere an "error" is that of one pixel in one class, in [0, 1]: 1 - probability where the truth
is that class ("foreground"), the probability elsewhere.

Source: [LS] 2 and 3, and what they leave out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from torch import Tensor

from pfpn.losses.lovasz import (
    binned_gradient,
    jaccard_loss,
    lovasz_gradient,
)
from pfpn.plot.palette import CLASS_COLORS, to_hex

FOREGROUND = to_hex(CLASS_COLORS["car"])
BACKGROUND = "#a9adb8"
JACCARD_COLOR = "#d55e00"  # as in plot.surface
ENTROPY_COLOR = "#0072b2"
LOVASZ_COLOR = "#7a1f5c"
DICE_COLOR = "#b07800"
WRONG_COLOR = "#e3120b"
LETTERS = "abcdefghijklmnopqrstuvwxyz"

# Eight pixels in a row, three of them a car: the example of chapter 06.
EIGHT_TRUTH = (1, 1, 1, 0, 0, 0, 0, 0)
EIGHT_ERRORS = (0.1, 0.7, 0.4, 0.9, 0.05, 0.3, 0.6, 0.2)


# The loss of a set ------------------------------------------------------------------------------


def same_count_predictions(
    small: Bool[Tensor, "h w"], large: Bool[Tensor, "h w"]
) -> dict[str, tuple[Bool[Tensor, "h w"], Bool[Tensor, "h w"]]]:
    """Return three predictions with equally many wrong pixels, each as (truth, prediction).

    The number is half the small region's pixels. "cut" loses the outer ones of the small region,
    "grown" adds those nearest around it, "large" loses as many from the large region's border.
    """
    num = int(small.sum()) // 2
    return {
        "cut": (small, small & ~_outermost(small, num)),
        "grown": (small, small | _outermost(~small, num)),
        "large": (large, large & ~_outermost(large, num)),
    }


def _outermost(region: Bool[Tensor, "h w"], num: int) -> Bool[Tensor, "h w"]:
    """Return the `num` pixels of a region that lie nearest to its outside."""
    depth = torch.zeros(region.shape)
    rest = region.clone()
    while rest.any():
        depth += rest
        rest &= F.max_pool2d((~rest).float()[None, None], 3, 1, 1)[0, 0] == 0
    inside = torch.where(region, depth, torch.inf).flatten()
    chosen = torch.zeros(region.numel(), dtype=torch.bool)
    chosen[inside.argsort(stable=True)[:num]] = True
    return chosen.view(region.shape)


def judge(
    truth: Bool[Tensor, "h w"], found: Bool[Tensor, "h w"], confidence: float = 0.9
) -> dict[str, float]:
    """Return what four measures say of a region that is claimed with one confidence everywhere.

    Keys: "wrong", the number of wrong pixels; "accuracy"; "cross_entropy", the mean over all pixels
    in nats; "iou".
    """
    wrong = truth != found
    share = wrong.double().mean().item()
    entropy = -(1 - share) * np.log(confidence) - share * np.log(1 - confidence)
    return {
        "wrong": float(wrong.sum()),
        "accuracy": 1 - share,
        "cross_entropy": float(entropy),
        "iou": 1 - float(jaccard_loss(wrong.flatten(), truth.flatten())),
    }


def plot_same_count(
    image: UInt8[Tensor, "3 h w"],
    predictions: Mapping[str, tuple[Tensor, Tensor]],
    names: tuple[str, str] = ("small", "large"),
) -> Figure:
    """Draw `same_count_predictions` on their image, wrong pixels in red, with the four measures."""
    titles = {
        "cut": f"half of the {names[0]} is missed",
        "grown": f"the {names[0]} is claimed too large",
        "large": f"as much of the {names[1]} is missed",
    }
    figure = Figure(figsize=(9, 3.0), layout="constrained")
    gray = image.float().mean(0).numpy() / 255
    for axes, (name, (truth, found)) in zip(
        figure.subplots(1, len(predictions)), predictions.items(), strict=True
    ):
        pixels = np.repeat(0.35 + 0.6 * gray[..., None], 3, axis=2)
        for region, color in ((found, FOREGROUND), (truth != found, WRONG_COLOR)):
            rgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
            inside = region.numpy()
            pixels[inside] = 0.25 * pixels[inside] + 0.75 * rgb
        axes.imshow(pixels, interpolation="nearest")
        said = judge(truth, found)
        axes.set_title(titles[name], fontsize=10)
        axes.set_xlabel(
            f"{said['wrong']:.0f} wrong pixels, accuracy {100 * said['accuracy']:.2f}%\n"
            f"cross-entropy {said['cross_entropy']:.4f}, IoU {said['iou']:.3f}",
            fontsize=9,
        )
        axes.set(xticks=[], yticks=[])
    figure.legend(
        handles=[
            Patch(color=FOREGROUND, label="claimed"),
            Patch(color=WRONG_COLOR, label="wrong: missed or added"),
        ],
        loc="outside lower center", ncols=2, frameon=False, fontsize=9,
    )  # fmt: skip
    return figure


def describe_same_count(
    predictions: Mapping[str, tuple[Tensor, Tensor]], names: tuple[str, str] = ("small", "large")
) -> str:
    """Say in words what `plot_same_count` shows."""
    said = {name: judge(*pair) for name, pair in predictions.items()}
    first = said["cut"]
    return (
        f"Three predictions of one street, each with {first['wrong']:.0f} wrong pixels in red, so "
        f"each with accuracy {100 * first['accuracy']:.2f}% and cross-entropy "
        f"{first['cross_entropy']:.3f}. Half of the {names[0]} missed: IoU {first['iou']:.3f}; as "
        f"many pixels added around it: IoU {said['grown']['iou']:.3f}; as many missed of the "
        f"{names[1]}: IoU {said['large']['iou']:.3f}."
    )


def losses_along_a_logit(
    logits: Float[Tensor, " k"], others: Sequence[float], truth: Sequence[int]
) -> dict[str, Float[np.ndarray, " k"]]:
    """Return losses while the logit of the first pixel moves and the others stay.

    Keys: "jaccard", the discrete loss of the foreground; "cross_entropy", the mean over the pixels;
    "lovasz_softmax", of the foreground.
    """
    fixed = torch.tensor(others, dtype=torch.float64).expand(len(logits), -1)
    scores = torch.cat([logits.double()[:, None], fixed], 1)
    is_fg = torch.tensor(truth, dtype=torch.bool).expand(scores.shape)
    agreement = torch.where(is_fg, scores, -scores)
    return {
        "jaccard": jaccard_loss(agreement < 0, is_fg).numpy(),
        "cross_entropy": F.softplus(-agreement).mean(1).numpy(),
        "lovasz_softmax": extend(agreement.neg().sigmoid(), truth)[0].numpy(),
    }


STEP_TRUTH = (1, 1, 0, 0)
STEP_OTHERS = (1.0, -1.5, 0.8)


def plot_step() -> Figure:
    """Draw three losses while one pixel's logit moves from wrong to right."""
    axis = torch.linspace(-5, 5, 801, dtype=torch.float64)
    lines = losses_along_a_logit(axis, STEP_OTHERS, STEP_TRUTH)
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, label, color in (
        ("jaccard", "Jaccard loss", JACCARD_COLOR),
        ("lovasz_softmax", "Lovász-Softmax", LOVASZ_COLOR),
        ("cross_entropy", "cross-entropy", ENTROPY_COLOR),
    ):
        left.plot(axis, lines[name], color=color, label=label, linewidth=2)
        slope = np.gradient(lines[name], axis.numpy())
        if name == "jaccard":
            slope = np.zeros_like(slope)  # everywhere but at the step, where there is none
        right.plot(axis, slope, color=color, linewidth=2)
    left.set(xlabel="logit of the first pixel, a foreground pixel", ylabel="loss", ylim=(0, 1.8))
    right.set(xlabel="logit of the first pixel", ylabel="slope of the loss")
    left.legend(frameon=False, fontsize=9)
    for axes in (left, right):
        axes.axvline(0, color="0.8", linewidth=1, zorder=0)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def describe_step() -> str:
    """Say in words what `plot_step` shows."""
    ends = torch.tensor([-5.0, -1e-6, 1e-6, 5.0], dtype=torch.float64)
    lines = losses_along_a_logit(ends, STEP_OTHERS, STEP_TRUTH)
    far, before, after, end = lines["jaccard"]
    smooth = lines["lovasz_softmax"]
    return (
        "Losses of four pixels while the logit of one of two foreground pixels moves from -5 to 5. "
        f"The Jaccard loss is a stair: {far:.3f} up to logit 0, {end:.3f} from there on (at the "
        f"step {before:.3f} and {after:.3f}), with slope 0 everywhere else. Lovász-Softmax falls "
        f"without a jump from {smooth[0]:.3f} to {smooth[-1]:.3f}, cross-entropy from "
        f"{lines['cross_entropy'][0]:.3f} to {lines['cross_entropy'][-1]:.3f}."
    )


# Diminishing returns ----------------------------------------------------------------------------


def set_loss(kind: str, missed: Any, added: Any, num_fg: int) -> Any:
    """Return the "jaccard" or "dice" loss with so many pixels missed and added; num_fg > 0.

    Source: [LS] 2; Dice for contrast.
    """
    if kind == "jaccard":
        return (missed + added) / (num_fg + added)
    if kind == "dice":
        return (missed + added) / (2 * num_fg + added - missed)
    raise ValueError(f'set_loss: found kind {kind!r}, expected "jaccard" or "dice"')


def rises(kind: str, num_fg: int) -> dict[str, Float[np.ndarray, " k"]]:
    """Return by how much one more wrong pixel raises a loss, by how many are wrong already.

    Keys: "miss after added": one more foreground pixel missed, after 0, 1, .. background pixels
    were added; "miss after missed", "add after added", "add after missed" likewise.
    """
    before = np.arange(num_fg)
    zero = np.zeros_like(before)

    def rise(missed: Any, added: Any, more_missed: int) -> Any:
        more = set_loss(kind, missed + more_missed, added + 1 - more_missed, num_fg)
        return more - set_loss(kind, missed, added, num_fg)

    return {
        "miss after added": rise(zero, before, 1),
        "miss after missed": rise(before, zero, 1),
        "add after added": rise(zero, before, 0),
        "add after missed": rise(before, zero, 0),
    }


RISE_STYLES = {
    "miss after added": (FOREGROUND, "-", "one more missed, after k added"),
    "miss after missed": (FOREGROUND, ":", "one more missed, after k missed"),
    "add after added": ("#6b7080", "-", "one more added, after k added"),
    "add after missed": ("#6b7080", ":", "one more added, after k missed"),
}


def plot_rises(num_fg: int = 10) -> Figure:
    """Draw how the rises of the Jaccard loss shrink, and how those of the Dice loss do not."""
    figure = Figure(figsize=(8.6, 3.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, kind in zip(panels, ("jaccard", "dice"), strict=True):
        for name, values in rises(kind, num_fg).items():
            color, style, label = RISE_STYLES[name]
            axes.plot(values, style, color=color, marker="o", markersize=3.5, label=label)
        axes.set(
            title=f"{kind.capitalize()} loss, {num_fg} foreground pixels",
            xlabel="k, pixels that are wrong already",
        )
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set(ylabel="rise of the loss", ylim=(0, None))  # shared: once both have drawn
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def describe_rises(num_fg: int = 10) -> str:
    """Say in words what `plot_rises` shows."""
    jaccard, dice = rises("jaccard", num_fg), rises("dice", num_fg)
    falls = "; ".join(
        f"{RISE_STYLES[name][2]}: {v[0]:.3f} to {v[-1]:.3f}" for name, v in jaccard.items()
    )
    dice_miss = dice["miss after missed"]
    return (
        f"The rise of a loss with one more wrong pixel, against the number wrong before, for "
        f"{num_fg} foreground pixels. Left, Jaccard: no line rises ({falls}). Right, Dice: one "
        f"more missed after k missed rises from {dice_miss[0]:.3f} to {dice_miss[-1]:.3f}."
    )


# The extension ----------------------------------------------------------------------------------


def extend(
    errors: Float[Tensor, "*n p"], truth: Sequence[int]
) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n p"]]:
    """Return the Lovász extension of the Jaccard loss, and each pixel's weight in its own place.

    Where errors tie, the earlier pixel joins first.

    Source: [LS] Definition 2 and Algorithm 1.
    """
    order = errors.argsort(dim=-1, descending=True, stable=True)
    is_fg = torch.tensor(truth, dtype=errors.dtype).expand(errors.shape)
    weights = torch.zeros_like(errors)
    weights = weights.scatter(-1, order, lovasz_gradient(is_fg.gather(-1, order)))
    return (weights * errors).sum(-1), weights


@dataclass(frozen=True, slots=True)
class Chain:
    """A point of the cube as a mixture of growing sets of wrong pixels."""

    order: Int[np.ndarray, " p"]  # pixels from the largest error to the smallest
    shares: Float[np.ndarray, " p+1"]  # of the sets of the first 0, 1, .., p pixels; sum to 1
    values: Float[np.ndarray, " p+1"]  # the Jaccard loss of those sets

    @property
    def extension(self) -> float:
        return float(self.shares @ self.values)


def make_chain(errors: Sequence[float], truth: Sequence[int]) -> Chain:
    """Write errors in [0, 1] as a mixture of a chain of sets. Source: [LS] Definition 2."""
    m = np.asarray(errors, dtype=float)
    order = np.argsort(-m, kind="stable")
    shares = -np.diff(np.concatenate([[1.0], m[order], [0.0]]))
    wrong = torch.zeros(len(m) + 1, len(m), dtype=torch.bool)
    for size in range(1, len(m) + 1):
        wrong[size, order[:size].tolist()] = True
    is_fg = torch.tensor(truth, dtype=torch.bool).expand(wrong.shape)
    return Chain(order, shares, jaccard_loss(wrong, is_fg).numpy())


def plot_square(errors: tuple[float, float] = (0.3, 0.8), truth: Sequence[int] = (1, 0)) -> Figure:
    """Draw the extension over the square of two errors: flat on either side of the diagonal."""
    figure = Figure(figsize=(8.4, 3.7), layout="constrained")
    square, bars = figure.subplots(1, 2, width_ratios=(1, 1.15))
    axis = torch.linspace(0, 1, 101, dtype=torch.float64)
    second, first = torch.meshgrid(axis, axis, indexing="ij")
    height = extend(torch.stack([first, second], -1), truth)[0]
    lines = square.contour(axis, axis, height, np.arange(0.1, 1, 0.1), colors="0.45", linewidths=1)
    square.clabel(lines, fontsize=8, fmt="%.1f")
    square.plot([0, 1], [0, 1], "--", color="0.3", linewidth=1.2)
    chain = make_chain(errors, truth)
    corners = np.zeros((3, 2))
    for size in (1, 2):
        corners[size, chain.order[:size]] = 1
    square.fill(*corners.T, color=LOVASZ_COLOR, alpha=0.13, linewidth=0)
    for corner in ((0, 0), (1, 0), (0, 1), (1, 1)):
        value = float(extend(torch.tensor(corner, dtype=torch.float64), truth)[0])
        square.plot(*corner, "o", color=JACCARD_COLOR, markersize=9, clip_on=False, zorder=5)
        square.annotate(
            f"F = {value:.2f}", corner, (0, 11 if corner[1] else -15), fontsize=9, color="#a84a00",
            textcoords="offset points", ha="center", annotation_clip=False,
        )  # fmt: skip
    square.plot(*errors, "*", color=LOVASZ_COLOR, markersize=17, markeredgecolor="white", zorder=6)
    square.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xticks=[0.5], yticks=[0.5])
    kinds = ["foreground" if is_fg else "background" for is_fg in truth]
    square.set_xlabel(f"error of pixel a, {kinds[0]}", labelpad=10)
    square.set_ylabel(f"error of pixel b, {kinds[1]}")
    _draw_chain(bars, chain)
    return figure


def _draw_chain(axes: Any, chain: Chain) -> None:
    """Draw the mixture: one bar per set, as wide as its share, as high as its loss."""
    left = 0.0
    for size, (share, value) in enumerate(zip(chain.shares, chain.values, strict=True)):
        name = "{" + ", ".join(sorted(LETTERS[i] for i in chain.order[:size])) + "}"
        axes.bar(left, value, share, align="edge", color=JACCARD_COLOR, alpha=0.45,
                 edgecolor="white")  # fmt: skip
        if share > 0.03:
            text = f"{name if size else 'none'}\nshare {share:.2f}\nF = {value:.2f}"
            inside = value > 0.3
            at = value - 0.04 if inside else value + 0.03
            axes.text(left + share / 2, at, text, ha="center", fontsize=9,
                      va="top" if inside else "bottom")  # fmt: skip
        left += share
    axes.axhline(chain.extension, color=LOVASZ_COLOR, linewidth=2)
    axes.text(0.0, chain.extension + 0.02, f" L = {chain.extension:.3f}", color=LOVASZ_COLOR)
    axes.set(xlim=(0, 1), ylim=(0, 1.05), xlabel="share of the mixture", ylabel="Jaccard loss F",
             yticks=[0, 0.5, 1])  # fmt: skip
    axes.spines[["top", "right"]].set_visible(False)


def describe_square(errors: tuple[float, float] = (0.3, 0.8), truth: Sequence[int] = (1, 0)) -> str:
    """Say in words what `plot_square` shows."""
    chain = make_chain(errors, truth)
    parts = ", ".join(
        f"{share:.2f} of a set with loss {value:.2f}"
        for share, value in zip(chain.shares, chain.values, strict=True)
    )
    return (
        "The square of two errors, cut by its diagonal into two triangles; the level lines of the "
        "extension are straight in each and bend at the diagonal. The point "
        f"({errors[0]:g}, {errors[1]:g}) is a mixture of its triangle's corners: {parts}. "
        f"So the extension is {chain.extension:.3f}."
    )


def thresholded_loss(
    thresholds: Float[Tensor, " k"], errors: Sequence[float], truth: Sequence[int]
) -> Float[np.ndarray, " k"]:
    """Return the Jaccard loss when a pixel is called wrong if its error is above a threshold."""
    wrong = torch.tensor(errors, dtype=torch.float64) > thresholds.double()[:, None]
    return jaccard_loss(wrong, torch.tensor(truth, dtype=torch.bool).expand(wrong.shape)).numpy()


def plot_thresholds(
    errors: Sequence[float] = EIGHT_ERRORS, truth: Sequence[int] = EIGHT_TRUTH, at: float = 0.35
) -> Figure:
    """Draw one threshold over the errors, and the loss of every threshold: its area is L."""
    figure = Figure(figsize=(8.6, 3.3), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_errors(left, errors, truth, range(len(errors)))
    left.axhline(at, color=WRONG_COLOR, linewidth=1.5)
    left.set(title=f"threshold {at:g}: what is above counts as wrong")
    axis = torch.linspace(0, 1, 2001, dtype=torch.float64)
    loss = thresholded_loss(axis, errors, truth)
    chain = make_chain(errors, truth)
    right.fill_between(axis, loss, color=JACCARD_COLOR, alpha=0.3, linewidth=0)
    right.plot(axis, loss, color=JACCARD_COLOR, linewidth=2)
    now = thresholded_loss(torch.tensor([at]), errors, truth)[0]
    right.plot([at, at], [0, now], color=WRONG_COLOR, linewidth=1.5)
    right.text(at + 0.04, 0.08, f"area = L = {chain.extension:.3f}", color="black", fontsize=11)
    right.set(xlabel="threshold", ylabel="Jaccard loss", ylim=(0, 1.06),
              xlim=(0, 1), title="every threshold")  # fmt: skip
    right.spines[["top", "right"]].set_visible(False)
    return figure


def describe_thresholds(
    errors: Sequence[float] = EIGHT_ERRORS, truth: Sequence[int] = EIGHT_TRUTH, at: float = 0.35
) -> str:
    """Say in words what `plot_thresholds` shows."""
    above = "".join(LETTERS[i] for i, error in enumerate(errors) if error > at)
    now = thresholded_loss(torch.tensor([at]), errors, truth)[0]
    return (
        f"Left: the errors of {len(errors)} pixels with a line at {at:g}; above it are "
        f"{', '.join(above)}, a wrong set with Jaccard loss {now:.3f}. Right: that loss for every "
        "threshold from 0 to 1, a stair that falls to 0. The area below it is the Lovász "
        f"extension, {make_chain(errors, truth).extension:.3f}."
    )


def _draw_errors(
    axes: Any, errors: Sequence[float], truth: Sequence[int], order: Sequence[int]
) -> None:
    colors = [FOREGROUND if truth[i] else BACKGROUND for i in order]
    axes.bar(range(len(order)), [errors[i] for i in order], color=colors, width=0.75)
    axes.set_xticks(range(len(order)), [LETTERS[i] for i in order])
    axes.set(ylim=(0, 1.06), ylabel="error")
    axes.legend(
        handles=[
            Patch(color=FOREGROUND, label="foreground"),
            Patch(color=BACKGROUND, label="background"),
        ],
        frameon=False, fontsize=8,
        loc="upper right" if errors[order[0]] == max(errors) else "upper left",
    )  # fmt: skip
    axes.spines[["top", "right"]].set_visible(False)


# Algorithm 1 ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Steps:
    """What Algorithm 1 writes down, a row per pixel from the largest error to the smallest."""

    order: list[int]
    errors: list[float]
    is_fg: list[int]
    intersection: list[int]  # once this pixel and all before it are wrong
    union: list[int]
    loss: list[float]
    weights: list[float]  # the rise of the loss
    total: float  # the sum of error times weight


def run_algorithm(
    errors: Sequence[float] = EIGHT_ERRORS, truth: Sequence[int] = EIGHT_TRUTH
) -> Steps:
    """Follow Algorithm 1 row by row. Source: [LS] Algorithm 1."""
    order = sorted(range(len(errors)), key=lambda i: (-errors[i], i))
    intersection, union, loss = [], [], []
    still_found = either = sum(truth)
    for i in order:
        still_found -= truth[i]
        either += 1 - truth[i]
        intersection.append(still_found)
        union.append(either)
        loss.append(1 - still_found / either)
    weights = [now - before for before, now in pairwise([0.0, *loss])]
    ranked = [errors[i] for i in order]
    total = sum(error * weight for error, weight in zip(ranked, weights, strict=True))
    is_fg = [truth[i] for i in order]
    return Steps(order, ranked, is_fg, intersection, union, loss, weights, total)


def plot_algorithm(
    errors: Sequence[float] = EIGHT_ERRORS, truth: Sequence[int] = EIGHT_TRUTH
) -> Figure:
    """Draw Algorithm 1 step by step: the image, the sorting, the counts, the rises, the sum.

    Source: [LS] Algorithm 1.
    """
    steps = run_algorithm(errors, truth)
    p = len(errors)
    figure = Figure(figsize=(9, 0.62 + 0.44 * (p + 2)), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(0, 17.4), ylim=(p + 1.1, -1.35))
    axes.axis("off")
    heads = (
        (1.0, "the pixels"),
        (4.2, "1  sorted by error $m$"),
        (7.15, "2  intersection\n(still found)"),
        (9.5, "3  union\n(truth or found)"),
        (11.5, "4  Jaccard\nloss"),
        (13.6, "5  its rise:\nweight $g$"),
        (16.3, "6  $m \\cdot g$"),
    )
    for x, head in heads:
        axes.text(x, -0.95, head, ha="center", va="center", fontsize=10, weight="bold")
    for i in range(p):  # the image, as a column
        color = FOREGROUND if truth[i] else BACKGROUND
        axes.add_patch(Rectangle((0.6, i - 0.42), 0.84, 0.84, color=color))
        axes.text(1.02, i, LETTERS[i], ha="center", va="center", color="white", weight="bold")
    for row, i in enumerate(steps.order):
        color = FOREGROUND if truth[i] else BACKGROUND
        curve = np.linspace(0, 1, 30)
        bend = i + (row - i) * (3 * curve**2 - 2 * curve**3)
        axes.plot(1.5 + 1.25 * curve, bend, color=color, linewidth=1.4)
        axes.add_patch(Rectangle((2.8, row - 0.36), 0.72, 0.72, color=color))
        axes.text(3.16, row, LETTERS[i], ha="center", va="center", color="white", weight="bold")
        axes.add_patch(Rectangle((3.65, row - 0.27), 1.5 * errors[i], 0.54, color=color, alpha=0.5))
        axes.text(3.75, row, f"{errors[i]:.2f}", va="center", fontsize=9)
        for x, text in (
            (7.15, str(steps.intersection[row])),
            (9.5, str(steps.union[row])),
            (11.5, f"{steps.loss[row]:.3f}"),
        ):
            axes.text(x, row, text, ha="center", va="center", fontsize=10)
        for x, number, scale in (
            (12.9, steps.weights[row], 4.0),
            (15.6, steps.weights[row] * errors[i], 4.0),
        ):
            width = scale * number
            axes.add_patch(Rectangle((x, row - 0.27), width, 0.54, color=LOVASZ_COLOR, alpha=0.35))
            axes.text(x + 0.1, row, f"{number:.3f}", va="center", fontsize=10)
    axes.plot([2.8, 17.2], [p - 0.45, p - 0.45], color="0.5", linewidth=0.8)
    axes.text(11.5, p + 0.15, "sum", ha="center", va="center", weight="bold")
    axes.text(13.0, p + 0.15, f"{sum(steps.weights):.3f}", va="center", weight="bold")
    axes.text(15.7, p + 0.15, f"{steps.total:.3f}", va="center", weight="bold", color=LOVASZ_COLOR)
    axes.legend(
        handles=[
            Patch(color=FOREGROUND, label="foreground"),
            Patch(color=BACKGROUND, label="background"),
        ],
        frameon=False, fontsize=9, loc="lower left", ncols=2,
    )  # fmt: skip
    return figure


def describe_algorithm(
    errors: Sequence[float] = EIGHT_ERRORS, truth: Sequence[int] = EIGHT_TRUTH
) -> str:
    """Say in words what `plot_algorithm` shows."""
    steps = run_algorithm(errors, truth)
    rows = "; ".join(
        f"{LETTERS[i]} {'fore' if f else 'back'}ground, error {e:g}, loss {loss:.3f}, "
        f"weight {w:.3f}"
        for i, f, e, loss, w in zip(
            steps.order, steps.is_fg, steps.errors, steps.loss, steps.weights, strict=True
        )
    )
    return (
        f"Algorithm 1 on {len(errors)} pixels, {sum(truth)} of them foreground, sorted by error: "
        f"{rows}. The weights add up to {sum(steps.weights):.3f}, weighted errors to "
        f"{steps.total:.3f}."
    )


def plot_pixels(errors: Sequence[float], truth: Sequence[int] = EIGHT_TRUTH) -> Figure:
    """Draw errors in their order and the weights that they get: a frame of an explorer."""
    steps = run_algorithm(errors, truth)
    figure = Figure(figsize=(7.2, 2.3))
    figure.subplots_adjust(0.09, 0.12, 0.99, 0.86, wspace=0.2)
    left, right = figure.subplots(1, 2)
    _draw_errors(left, errors, truth, steps.order)
    left.set_title(f"mean error {np.mean(errors):.3f}", fontsize=10)
    colors = [FOREGROUND if is_fg else BACKGROUND for is_fg in steps.is_fg]
    right.bar(range(len(errors)), steps.weights, color=colors, width=0.75)
    right.set_xticks(range(len(errors)), [LETTERS[i] for i in steps.order])
    right.set_title(f"weights; Lovász loss {steps.total:.3f}", fontsize=10)
    right.set_ylim(0, max(0.6, 1.05 * max(steps.weights)))
    right.spines[["top", "right"]].set_visible(False)
    return figure


# The base polytope ------------------------------------------------------------------------------


def base_vertices(truth: Sequence[int]) -> dict[tuple[int, ...], tuple[float, ...]]:
    """Return the greedy weights of every order in which the pixels may join the wrong ones."""
    found = {}
    for order in permutations(range(len(truth))):
        ranked = torch.zeros(len(truth), dtype=torch.float64)
        ranked[list(order)] = torch.arange(len(truth), 0, -1, dtype=torch.float64)
        found[order] = tuple(extend(ranked, truth)[1].tolist())
    return found


def plot_polytope(
    errors: tuple[float, float, float] = (0.3, 0.9, 0.6), truth: Sequence[int] = (1, 0, 0)
) -> Figure:
    """Draw the weights of all six orders of three pixels in the triangle of weights that sum to 1.

    Source: [LS] Definition 2; Edmonds' greedy algorithm.
    """
    vertices = base_vertices(truth)
    m = np.asarray(errors)
    best = max(float(m @ np.asarray(g)) for g in vertices.values())
    figure = Figure(figsize=(8.6, 4.4), layout="constrained")
    axes, bars = figure.subplots(1, 2, width_ratios=(1.15, 1))
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(0.75)]])
    axes.fill(*corners.T, facecolor="none", edgecolor="0.6", linewidth=1.2)
    for i, (corner, shift) in enumerate(
        zip(corners, ((-0.04, -0.075), (0.04, -0.075), (0, 0.03)), strict=True)
    ):
        kind = "foreground" if truth[i] else "background"
        axes.text(*(corner + shift), f"all weight on {LETTERS[i]}\n({kind})", ha="center",
                  va="bottom" if i == 2 else "center", fontsize=9)  # fmt: skip
    distinct = np.unique(np.round(np.array(list(vertices.values())), 9), axis=0)
    flat = distinct @ corners
    center = flat.mean(0)
    around = np.argsort(np.arctan2(*(flat - center).T))
    axes.fill(*flat[around].T, color=ENTROPY_COLOR, alpha=0.2, linewidth=0)
    axes.plot(*flat[[*around, around[0]]].T, color=ENTROPY_COLOR, linewidth=1.8)
    axes.plot(*flat.T, "o", color="white", markeredgecolor=ENTROPY_COLOR, markeredgewidth=2)
    greedy = np.asarray(vertices[tuple(np.argsort(-m, kind="stable").tolist())])
    axes.plot(*(greedy @ corners), "*", color=JACCARD_COLOR, markersize=20, zorder=5,
              markeredgecolor="white")  # fmt: skip
    axes.text(0.86, 0.62, "base\npolytope", ha="center", va="center", color=ENTROPY_COLOR)
    axes.set(xlim=(-0.25, 1.25), ylim=(-0.17, 1.05), aspect="equal")
    axes.set_title("weights $g$: a point for each order")
    axes.axis("off")
    names = ["".join(LETTERS[i] for i in order) for order in vertices]
    values = [float(m @ np.asarray(g)) for g in vertices.values()]
    colors = [JACCARD_COLOR if value > best - 1e-12 else "0.7" for value in values]
    bars.barh(names, values, color=colors, height=0.65)
    for row, value in enumerate(values):
        bars.text(value + 0.01, row, f"{value:.3f}", va="center", fontsize=9)
    bars.invert_yaxis()
    bars.set(xlim=(0, 1.15 * best), xlabel="$\\langle m, g \\rangle$", ylabel="order of joining",
             title=f"errors $m$ = ({', '.join(f'{e:g}' for e in errors)})")  # fmt: skip
    bars.spines[["top", "right"]].set_visible(False)
    return figure


def describe_polytope(
    errors: tuple[float, float, float] = (0.3, 0.9, 0.6), truth: Sequence[int] = (1, 0, 0)
) -> str:
    """Say in words what `plot_polytope` shows."""
    m = np.asarray(errors)
    values = {
        "".join(LETTERS[i] for i in order): float(m @ np.asarray(g))
        for order, g in base_vertices(truth).items()
    }
    greedy = "".join(LETTERS[i] for i in np.argsort(-m, kind="stable"))
    distinct = {tuple(np.round(g, 9)) for g in base_vertices(truth).values()}
    listed = ", ".join(f"{name} {value:.3f}" for name, value in values.items())
    return (
        f"The weights that the six orders of three pixels give, as points of a triangle: "
        f"{len(distinct)} different corners of one convex region. Weighted sums of the errors "
        f"({', '.join(f'{e:g}' for e in errors)}) by order: {listed}. The largest, "
        f"{max(values.values()):.3f}, belongs to the order by falling error, {greedy}."
    )


# A real image -----------------------------------------------------------------------------------


def class_weight_maps(
    probs: Float[Tensor, "c h w"], labels: Int[Tensor, "h w"], label: int, ignore: int = 255
) -> tuple[Float[Tensor, "h w"], Float[Tensor, "h w"]]:
    """Return the errors of one class in an image and the weight that each pixel gets.

    Ignored pixels have neither.
    """
    counts = labels != ignore
    is_fg = labels == label
    errors = torch.where(is_fg, 1 - probs[label], probs[label]).double() * counts
    weights = torch.zeros_like(errors)
    weights[counts] = extend(errors[counts], is_fg[counts].int().tolist())[1]
    return errors, weights


def plot_weight_maps(
    image: UInt8[Tensor, "3 h w"],
    probs: Float[Tensor, "c h w"],
    labels: Int[Tensor, "h w"],
    label: int,
    name: str,
) -> Figure:
    """Draw image, errors and weights of one class: where the loss looks."""
    errors, weights = class_weight_maps(probs, labels, label)
    figure = Figure(figsize=(9, 2.6), layout="constrained")
    panels = figure.subplots(1, 3)
    panels[0].imshow(image.permute(1, 2, 0).numpy())
    panels[0].contour((labels == label).numpy(), [0.5], colors="white", linewidths=1)
    panels[0].set_title(f"the image; {name} outlined", fontsize=10)
    drawn = panels[1].imshow(errors.numpy(), cmap="magma", vmin=0, vmax=1)
    panels[1].set_title("error $m$", fontsize=10)
    figure.colorbar(drawn, ax=panels[1], shrink=0.8)
    scaled = (weights * int((labels == label).sum())).numpy()
    drawn = panels[2].imshow(scaled, cmap="magma", vmin=0, vmax=1)
    panels[2].set_title("weight $g$, in units of 1 / |truth|", fontsize=10)
    figure.colorbar(drawn, ax=panels[2], shrink=0.8)
    for axes in panels:
        axes.set(xticks=[], yticks=[])
    return figure


def describe_weight_maps(
    probs: Float[Tensor, "c h w"], labels: Int[Tensor, "h w"], label: int, name: str
) -> str:
    """Say in words what `plot_weight_maps` shows."""
    _, weights = class_weight_maps(probs, labels, label)
    is_fg = labels == label
    share = float(weights[is_fg].sum())
    return (
        f"A street with {name} outlined, its error map, and its weight map. "
        f"{int(is_fg.sum())} pixels are {name}; they hold {100 * share:.0f}% of the weight, though "
        f"they are {100 * float(is_fg.double().mean()):.0f}% of the pixels. The errors are largest "
        "along borders; weights are largest where the class is unsure and where the background "
        "is mistaken for it."
    )


# In use: what a batch shows ---------------------------------------------------------------------


def constant_losses(
    probs: Float[Tensor, " k"], share: float, without: float = 0.0, num: int = 100
) -> dict[str, Float[np.ndarray, " k"]]:
    """Return the expected loss of saying one foreground probability at every pixel.

    A share `without` of the batches has no foreground at all, the others have `share` of their
    `num` pixels. Keys: "cross_entropy"; "class", Lovász of the foreground alone (the list [1]);
    "present", mean over the classes that a batch contains; "all", mean over both.
    """
    num_fg = round(share * num)
    if not 0 < num_fg < num:
        raise ValueError(
            f"constant_losses: found {num_fg} foreground pixels of {num}, expected some of both "
            "kinds. Try a share between 0.01 and 0.99."
        )
    truth = [1] * num_fg + [0] * (num - num_fg)
    p = probs.double()
    says = torch.where(torch.tensor(truth, dtype=torch.bool), 1 - p[:, None], p[:, None])
    of_fg = extend(says, truth)[0]
    of_bg = extend(says, [1 - is_fg for is_fg in truth])[0]
    # In a batch without foreground every pixel errs by p; both classes' losses are p.
    share = num_fg / num
    fg_share = (1 - without) * share
    eps = 1e-12
    entropy = -fg_share * (p + eps).log() - (1 - fg_share) * (1 - p + eps).log()
    both = (of_fg + of_bg) / 2
    return {
        "cross_entropy": entropy.numpy(),
        "class": ((1 - without) * of_fg + without * p).numpy(),
        "present": ((1 - without) * both + without * p).numpy(),
        "all": ((1 - without) * both + without * p).numpy(),
    }


CONSTANT_STYLES = {
    "cross_entropy": (ENTROPY_COLOR, "-", "cross-entropy"),
    "class": (LOVASZ_COLOR, "-", "Lovász, the foreground alone"),
    "present": ("#c070a8", "--", "Lovász, mean of both classes"),
}


def plot_constant(share: float = 0.1, without: float = 0.0) -> Figure:
    """Draw what it costs to say the same probability everywhere, and where it costs least."""
    axis = torch.linspace(0.005, 0.995, 199)
    figure = Figure(figsize=(4.5, 3.5))
    figure.subplots_adjust(0.14, 0.14, 0.97, 0.73)
    axes = figure.subplots()
    for name, (color, style, label) in CONSTANT_STYLES.items():
        values = constant_losses(axis, share, without)[name]
        axes.plot(axis, values, style, color=color, label=label, linewidth=2)
        best = int(values.argmin())
        size = 11 if name == "class" else 7  # two of them may share one place
        axes.plot(axis[best], values[best], "o", color=color, markersize=size)
    axes.set(xlabel="foreground probability, the same at every pixel", ylabel="loss", ylim=(0, 1.7),
             xlim=(0, 1))  # fmt: skip
    figure.suptitle(
        f"{100 * share:.0f}% foreground, {100 * without:.0f}% of batches without", fontsize=10
    )
    # Above the axes: cross-entropy may run anywhere within them.
    axes.legend(frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 0.99))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def best_constants(share: float, without: float = 0.0) -> dict[str, float]:
    """Return for each loss the constant probability, on a grid of 0.01, that costs least."""
    axis = torch.linspace(0, 1, 101, dtype=torch.float64)
    losses = constant_losses(axis, share, without)
    return {name: float(axis[int(losses[name].argmin())]) for name in CONSTANT_STYLES}


def describe_constant(share: float = 0.1, without: float = 0.0) -> str:
    """Say in words what `plot_constant` shows."""
    best = best_constants(share, without)
    return (
        f"Losses of one constant probability for {100 * share:.0f}% foreground and "
        f"{100 * without:.0f}% of the batches without any. Cross-entropy is least at "
        f"{best['cross_entropy']:.2f}, the Lovász loss of the foreground at {best['class']:.2f}, "
        f"the mean of both classes at {best['present']:.2f}."
    )


def batch_losses(
    counts: Int[Tensor, "n 3"], sizes: Sequence[int], rng: torch.Generator, draws: int = 2000
) -> dict[str, Any]:
    """Return the Jaccard loss of random batches of images, by batch size, and of all of them.

    Args:
        counts: per image the pixels found rightly, added and missed, of one class.
        sizes: images in a batch.
        rng: draws the batches, without putting back.
        draws: batches per size.

    Returns:
        "mean" and "spread" (standard deviation) by size, over the batches that show the class;
        "shown", the share of batches that do; "dataset", the loss of all images together.
    """
    table = counts.double()

    def loss(rows: Tensor) -> Tensor:
        right, added, missed = rows.unbind(-1)
        return (added + missed) / (right + added + missed).clamp(min=1)

    found: dict[str, Any] = {"mean": [], "spread": [], "shown": []}
    for size in sizes:
        keys = torch.rand(draws, len(table), generator=rng)
        sums = table[keys.argsort(1)[:, :size]].sum(1)
        shown = sums[:, 0] + sums[:, 2] > 0  # the truth of the batch has the class
        values = loss(sums[shown])
        found["mean"].append(float(values.mean()))
        found["spread"].append(float(values.std()))
        found["shown"].append(float(shown.double().mean()))
    found["dataset"] = float(loss(table.sum(0)))
    return found


def plot_batch_losses(
    counts: Mapping[str, Int[Tensor, "n 3"]], sizes: Sequence[int], seed: int = 0
) -> Figure:
    """Draw the Jaccard loss of batches against their size; the data set's as a line."""
    figure = Figure(figsize=(min(9.0, 3.0 * len(counts)), 2.9), layout="constrained")
    panels = figure.subplots(1, len(counts), sharey=True, squeeze=False)[0]
    for axes, (name, table) in zip(panels, counts.items(), strict=True):
        found = batch_losses(table, sizes, torch.Generator().manual_seed(seed))
        color = to_hex(CLASS_COLORS.get(name, CLASS_COLORS["car"]))
        mean, spread = np.array(found["mean"]), np.array(found["spread"])
        axes.fill_between(sizes, mean - spread, mean + spread, color=color, alpha=0.25, linewidth=0)
        axes.plot(sizes, mean, marker="o", color=color, markersize=4, label="batches")
        axes.axhline(found["dataset"], color="0.2", linestyle="--", label="the data set")
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.set(title=name, xlabel="images in a batch")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("Jaccard loss")
    panels[0].set_ylim(0)  # last, for it ends the search for a common top
    panels[0].legend(frameon=False, fontsize=8)
    return figure


def describe_batch_losses(
    counts: Mapping[str, Int[Tensor, "n 3"]], sizes: Sequence[int], seed: int = 0
) -> str:
    """Say in words what `plot_batch_losses` shows."""
    words = []
    for name, table in counts.items():
        found = batch_losses(table, sizes, torch.Generator().manual_seed(seed))
        words.append(
            f"{name}: {found['mean'][0]:.3f} in batches of {sizes[0]} (spread "
            f"{found['spread'][0]:.2f}), {found['mean'][-1]:.3f} in batches of {sizes[-1]} (spread "
            f"{found['spread'][-1]:.2f}), {found['dataset']:.3f} over the data set"
        )
    return f"Mean Jaccard loss of random batches by batch size. {'; '.join(words)}."


def plot_logit_gradients(num: int = 100, num_fg: int = 10) -> Figure:
    """Draw how hard three losses pull at a foreground pixel, by its logit."""
    axis = np.linspace(-8, 4, 241)
    pulls = logit_pulls(axis, num, num_fg)
    figure = Figure(figsize=(6.4, 3.3), layout="constrained")
    axes = figure.subplots()
    for (name, values), (color, label) in zip(
        pulls.items(),
        (
            (ENTROPY_COLOR, "cross-entropy"),
            ("#c070a8", "Lovász hinge"),
            (LOVASZ_COLOR, "Lovász-Softmax"),
        ),
        strict=True,
    ):
        style = "--" if name == "hinge" else "-"
        axes.semilogy(axis, values, style, color=color, label=label, linewidth=2)
    axes.axvline(0, color="0.8", linewidth=1, zorder=0)
    axes.set(xlabel="logit of the pixel: wrong below 0, right above", ylim=(1e-5, 1),
             ylabel="pull upwards")  # fmt: skip
    axes.legend(frameon=False, fontsize=9, loc="lower center")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def logit_pulls(
    logits: Float[np.ndarray, " k"], num: int = 100, num_fg: int = 10
) -> dict[str, Float[np.ndarray, " k"]]:
    """Return minus the derivative of three losses by the logit of one foreground pixel.

    All other pixels are right, so the pixel, if wrong, has the largest error and weight 1 / num_fg.
    """
    probs = 1 / (1 + np.exp(-logits))
    return {
        "cross_entropy": (1 - probs) / num,
        "hinge": np.where(logits < 1, 1 / num_fg, 0.0),
        "lovasz_softmax": probs * (1 - probs) / num_fg,
    }


def describe_logit_gradients(num: int = 100, num_fg: int = 10) -> str:
    """Say in words what `plot_logit_gradients` shows."""
    pulls = logit_pulls(np.array([-8.0, 0.0]), num, num_fg)
    return (
        "The pull of three losses at one foreground pixel against its logit, on a logarithmic "
        f"scale, for {num} pixels of which {num_fg} are foreground. At logit 0: cross-entropy "
        f"{pulls['cross_entropy'][1]:.3f}, Lovász hinge {pulls['hinge'][1]:.3f}, Lovász-Softmax "
        f"{pulls['lovasz_softmax'][1]:.3f}. At logit -8, surely wrong: "
        f"{pulls['cross_entropy'][0]:.5f}, {pulls['hinge'][0]:.5f} and "
        f"{pulls['lovasz_softmax'][0]:.5f}."
    )


def plot_boundaries(
    points: Float[Tensor, "n 2"],
    labels: Int[Tensor, " n"],
    lines: Mapping[str, Sequence[float]],
) -> Figure:
    """Draw pixels by two features, and where linear models (w1, w2, bias) claim foreground."""
    figure = Figure(figsize=(6.4, 3.9), layout="constrained")
    axes = figure.subplots()
    for label, color, name in ((0, BACKGROUND, "background"), (1, FOREGROUND, "foreground")):
        chosen = points[labels == label].numpy()
        axes.plot(*chosen.T, ".", color=color, markersize=4, label=name, alpha=0.7)
    low, high = points.min(0).values.numpy() - 0.2, points.max(0).values.numpy() + 0.2
    colors = (ENTROPY_COLOR, LOVASZ_COLOR, DICE_COLOR, "#009e73")
    for (name, (w1, w2, bias)), color in zip(lines.items(), colors, strict=False):
        x = np.array([low[0], high[0]])
        axes.plot(x, -(w1 * x + bias) / w2, color=color, linewidth=2.2, label=name)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]),
             xlabel="first feature", ylabel="second feature")  # fmt: skip
    axes.legend(frameon=True, fontsize=9, loc="lower left", framealpha=0.9)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


RUN_COLORS = (ENTROPY_COLOR, LOVASZ_COLOR, WRONG_COLOR, "#009e73", DICE_COLOR, "0.4")


def plot_histories(
    histories: Mapping[str, Sequence[tuple[int, float]]], score: str = "mIoU"
) -> Figure:
    """Draw a score against the step for several trainings."""
    figure = Figure(figsize=(7.2, 3.3), layout="constrained")
    axes = figure.subplots()
    for (name, history), color in zip(histories.items(), RUN_COLORS, strict=False):
        steps, values = zip(*history, strict=True)
        axes.plot(steps, values, color=color, linewidth=2, marker="o", markersize=3, label=name)
    axes.set(xlabel="step", ylabel=score, ylim=(0, None))
    axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def describe_histories(
    histories: Mapping[str, Sequence[tuple[int, float]]], score: str = "mIoU"
) -> str:
    """Say in words what `plot_histories` shows."""
    ends = ", ".join(f"{name} {history[-1][1]:.2f}" for name, history in histories.items())
    return f"{score} of {len(histories)} trainings against the step; at the end: {ends}."


# Bins -------------------------------------------------------------------------------------------


def binned_weights(
    errors: Float[Tensor, " p"], is_fg: Bool[Tensor, " p"], bins: int
) -> tuple[float, Float[Tensor, " p"]]:
    """Return the binned loss and each pixel's weight; bin k holds errors in ((k-1)/K, k/K].

    Source: derived here; [LS] stops at sorting.
    """
    bin_of = (errors.double() * bins).ceil().clamp(0, bins).long()
    fg = bin_of[is_fg].bincount(minlength=bins + 1).flip(0)  # the largest errors first
    bg = bin_of[~is_fg].bincount(minlength=bins + 1).flip(0)
    of_fg, of_bg = (table.flip(0) for table in binned_gradient(fg.double(), bg.double()))
    weights = torch.where(is_fg, of_fg[bin_of], of_bg[bin_of])
    return float((weights * errors.double()).sum()), weights


def make_errors(
    kind: str, share: float, rng: torch.Generator, num: int = 4096, bins: int = 64
) -> tuple[Float[Tensor, " p"], Bool[Tensor, " p"]]:
    """Return errors and truth of a kind, in float64.

    Kinds: "spread", uniform in [0, 1]; "sure", those of a trained network, most near 0 and some
    near 1; "worst", all within one bin of `bins`, foreground at its upper end.
    """
    is_fg = torch.zeros(num, dtype=torch.bool)
    is_fg[: max(1, round(share * num))] = True
    draw = torch.rand(num, generator=rng, dtype=torch.float64)
    if kind == "spread":
        return draw, is_fg
    if kind == "sure":
        logits = 9 * draw - 6 + torch.randn(num, generator=rng, dtype=torch.float64)
        return logits.sigmoid(), is_fg
    if kind == "worst":
        low = torch.full((num,), 0.5 + 1e-9, dtype=torch.float64)
        return low.masked_fill(is_fg, 0.5 + 1 / bins), is_fg
    raise ValueError(f'make_errors: found kind {kind!r}, expected "spread", "sure" or "worst"')


BINS = tuple(2**k for k in range(2, 13))
GAP_STYLES = {
    ("spread", 0.5): ("o", ENTROPY_COLOR, "errors spread over [0, 1], half foreground"),
    ("spread", 0.01): ("s", "#56b4e9", "errors spread over [0, 1], 1% foreground"),
    ("sure", 0.1): ("^", LOVASZ_COLOR, "errors of a trained network, 10% foreground"),
    ("worst", 0.001): ("v", JACCARD_COLOR, "made to be bad: all in one bin"),
}


def measure_gaps(
    kind: str, share: float, bins: Sequence[int] = BINS, num: int = 4096, seed: int = 0
) -> Float[np.ndarray, " k"]:
    """Return exact minus binned loss by the number of bins."""
    gaps = []
    for number in bins:
        rng = torch.Generator().manual_seed(seed)
        errors, is_fg = make_errors(kind, share, rng, num, number)
        exact = float(extend(errors, is_fg.int().tolist())[0])
        gaps.append(exact - binned_weights(errors, is_fg, number)[0])
    return np.array(gaps)


def plot_bound(bins: Sequence[int] = BINS, num: int = 4096) -> Figure:
    """Draw the measured error of binning below its bound 1 / K."""
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.subplots()
    bound = 1 / np.array(bins)
    axes.fill_between(bins, bound, 2, color="0.93", linewidth=0)
    axes.plot(bins, bound, color="0.2", linewidth=2, label="proved bound 1 / K")
    for (kind, share), (marker, color, label) in GAP_STYLES.items():
        gaps = np.maximum(measure_gaps(kind, share, bins, num), 1e-12)
        axes.plot(bins, gaps, marker=marker, color=color, linewidth=1.2, label=label)
    axes.set(xscale="log", yscale="log", xlabel="bins K", ylabel="exact loss - binned loss",
             ylim=(1e-10, 1))  # fmt: skip
    axes.set_xticks(bins, [str(number) for number in bins], fontsize=8)
    axes.minorticks_off()
    axes.legend(frameon=False, fontsize=9, loc="lower left")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def describe_bound(bins: Sequence[int] = BINS, num: int = 4096) -> str:
    """Say in words what `plot_bound` shows."""
    words = []
    for (kind, share), (_, _, label) in GAP_STYLES.items():
        scaled = measure_gaps(kind, share, bins, num) * np.array(bins)
        words.append(f"{label}: at most {scaled.max():.2f} / K")
    return (
        f"The loss lost by binning {num} pixels, for K from {bins[0]} to {bins[-1]}, with both "
        f"axes logarithmic; all curves lie below the line 1 / K. {'; '.join(words)}."
    )


def plot_bins(bins: int = 16, share: float = 0.3, num: int = 400, seed: int = 0) -> Figure:
    """Draw the counts in the bins, and the weights with and without them: an explorer's frame."""
    errors, is_fg = make_errors("spread", share, torch.Generator().manual_seed(seed), num)
    exact, weights = extend(errors, is_fg.int().tolist())
    binned, steps = binned_weights(errors, is_fg, bins)
    figure = Figure(figsize=(4.6, 3.5))
    figure.subplots_adjust(0.15, 0.13, 0.97, 0.89, hspace=0.12)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2))
    edges = np.linspace(0, 1, bins + 1)
    top.hist(
        [errors[is_fg].numpy(), errors[~is_fg].numpy()], edges, stacked=True,
        color=[FOREGROUND, BACKGROUND],
    )  # fmt: skip
    top.set(ylabel="pixels")
    order = errors.argsort()
    for kind, color, name in ((is_fg, FOREGROUND, "fore"), (~is_fg, BACKGROUND, "back")):
        chosen = order[kind[order]]
        bottom.plot(errors[chosen], weights[chosen], ".", color=color, markersize=3)
        bottom.plot(errors[chosen], steps[chosen], color=color, linewidth=2, label=f"{name}ground",
                    drawstyle="steps-mid")  # fmt: skip
    bottom.set(xlabel="error", ylabel="weight (dots: exact)", xlim=(0, 1), ylim=(0, None))
    bottom.legend(frameon=False, fontsize=8, loc="upper left")
    gap = float(exact) - binned
    top.set_title(
        f"exact {exact:.4f}, binned {binned:.4f}\ngap {gap:.5f}, bound {1 / bins:.5f}", fontsize=9
    )
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    return figure


# A training experiment ----------------------------------------------------------------------------


def select_gains(
    table: Sequence[Mapping[str, Any]], world: str, judged_on: str
) -> dict[str, list[float]]:
    """Return the gains in mIoU over the control by arm, one per seed, at equal steps.

    Args:
        table: rows of benchmarks/results/lovasz_training.json.
        world: of the rows.
        judged_on: the images that they were scored on.

    Raises:
        ValueError: there is no such row.
    """
    chosen = {
        row["arm"]: list(row["gains"])
        for row in table
        if (row["world"], row["judged_on"], row["compare"]) == (world, judged_on, "steps")
    }
    if not chosen:
        known = sorted({(row["world"], row["judged_on"]) for row in table})
        raise ValueError(f"select_gains: found no row of {world}, {judged_on}. Try one of {known}.")
    return chosen


ARM_NAMES = {
    "ce, lovasz": "cross-entropy, then Lovász",
    "ce, sum": "cross-entropy, then the sum",
    "sum": "the sum from the start",
    "lovasz": "Lovász alone from the start",
}


def plot_gains(table: Sequence[Mapping[str, Any]], judged: Mapping[tuple[str, str], str]) -> Figure:
    """Draw what each way of training gained over cross-entropy: a dot a seed, a bar for the mean.

    `judged` gives the title of each (world, judged_on).
    """
    figure = Figure(figsize=(9, 2.9), layout="constrained")
    panels = figure.subplots(1, len(judged), sharey=True, squeeze=False)[0]
    for axes, (key, title) in zip(panels, judged.items(), strict=True):
        gains = select_gains(table, *key)
        for row, arm in enumerate(ARM_NAMES):
            mean = float(np.mean(gains[arm]))
            color = LOVASZ_COLOR if mean > 0 else JACCARD_COLOR
            axes.barh(row, mean, color=color, alpha=0.35, height=0.55)
            axes.plot(gains[arm], [row] * len(gains[arm]), "o", color=color, markersize=5)
        axes.axvline(0, color="0.3", linewidth=1)
        axes.set(title=title, xlabel="gain, mIoU points")
        axes.set_yticks(range(len(ARM_NAMES)), ARM_NAMES.values())
        axes.spines[["top", "right"]].set_visible(False)
        axes.title.set_fontsize(9.5)
    panels[0].invert_yaxis()
    return figure


def describe_gains(
    table: Sequence[Mapping[str, Any]], judged: Mapping[tuple[str, str], str]
) -> str:
    """Say in words what `plot_gains` shows."""
    words = []
    for key, title in judged.items():
        gains = select_gains(table, *key)
        arms = ", ".join(
            f"{name} {np.mean(gains[arm]):+.1f} ({min(gains[arm]):+.1f} to {max(gains[arm]):+.1f})"
            for arm, name in ARM_NAMES.items()
        )
        words.append(f"{' '.join(title.split())}: {arms}")
    return (
        "Gains in mIoU points over cross-entropy alone, at equal steps, mean and range over seeds. "
        f"{'; '.join(words)}."
    )
