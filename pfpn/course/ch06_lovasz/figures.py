"""Sets of wrong pixels, the Lovász extension of their Jaccard loss, and Algorithm 1."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from torch import Tensor

from pfpn.course.ch06_lovasz.numbers import (
    EIGHT_ERRORS,
    EIGHT_TRUTH,
    LETTERS,
    THREE_ERRORS,
    THREE_TRUTH,
    TWO_ERRORS,
    TWO_TRUTH,
    Chain,
    TinyResult,
    TinyScenes,
    base_vertices,
    class_weight_maps,
    losses_along_a_logit,
    make_chain,
    rises,
    run_algorithm,
    score_region,
    sorted_letters,
    sums_by_order,
    thresholded_loss,
)
from pfpn.plot.palette import BG_COLOR, FG_COLOR
from pfpn.plot.style import (
    BLUE,
    CRIMSON,
    PLUM,
    RED,
    add_legend,
    center_text,
    legend_below,
    open_axes,
    rgb,
    show_pixels,
    subplots,
)
from pfpn.plot.surface import extend_jaccard

BG_DARK = "#6b7080"  # lines of the background
RED_DARK = "#a84a00"  # letters on white
KIND_PATCHES = [
    Patch(color=FG_COLOR, label="foreground"),
    Patch(color=BG_COLOR, label="background"),
]
Pairs = Mapping[str, tuple[Tensor, Tensor]]  # truth and prediction by name


# A training that fails --------------------------------------------------------------------------


def plot_tiny(scenes: TinyScenes, results: Mapping[str, TinyResult], num: int = 4) -> Figure:
    """Draw the first pictures with their truth, and the probabilities that networks give them."""
    figure, panels = subplots(8.4, 2.05 * (1 + len(results)), 1 + len(results), num)
    for column in range(num):
        image, truth = scenes.images[column, 0], scenes.truth[column].numpy()
        show_pixels(panels[0, column], image.numpy(), cmap="gray", vmin=-3, vmax=4)
        for row, result in enumerate(results.values(), start=1):
            axes = panels[row, column]
            drawn = show_pixels(axes, result.probs[column].numpy(), cmap="magma", vmin=0, vmax=1)
            claimed = float(result.probs[column].max())
            axes.set_xlabel(f"largest: {claimed:.2f}", fontsize=9)
        rows, columns = np.nonzero(truth)
        corner = columns.min(), rows.min()
        size = columns.max() + 1 - corner[0], rows.max() + 1 - corner[1]
        for axes in panels[:, column]:
            outline = Rectangle(corner, *size, fill=False, edgecolor=RED, linewidth=1.6)
            axes.add_patch(outline)
    panels[0, 0].set_ylabel("picture, object\noutlined", fontsize=10)
    for axes, name in zip(panels[1:, 0], results, strict=True):
        axes.set_ylabel(f"{name}:\nprobability", fontsize=10)
    if results:
        figure.colorbar(drawn, ax=panels[1:, -1].tolist(), ticks=[0, 0.5, 1])
    return figure


def describe_tiny(results: Mapping[str, TinyResult], num: int = 4) -> str:
    """Return in words what `plot_tiny` shows."""
    words = []
    for name, result in results.items():
        largest = ", ".join(f"{float(probs.max()):.2f}" for probs in result.probs[:num])
        words.append(f"largest probabilities with {name}: {largest}")
    return (
        f"{num} noisy pictures of 20 x 20 pixels, each with a small bright rectangle that is "
        "outlined, and below them the probability of the object at every pixel; "
        f"{'; '.join(words)}."
    )


def plot_arms(arms: Mapping[str, Sequence[TinyResult]]) -> Figure:
    """Draw the IoU of every seed of every arm, at a probability of 0.5 and at the best one."""
    figure, axes = subplots(8, 0.9 + 0.42 * len(arms))
    for row, results in enumerate(arms.values()):
        for shift, values, color, fill in (
            (-0.13, [result.iou for result in results], BLUE, BLUE),
            (0.13, [result.moved for result in results], RED, "white"),
        ):
            axes.plot(values, [row + shift] * len(values), "o", color=color, markersize=6,
                      markerfacecolor=fill, alpha=0.8, clip_on=False)  # fmt: skip
            mean = float(np.mean(values))
            axes.plot(
                [mean] * 2, [row + shift - 0.12, row + shift + 0.12], color=color, linewidth=3
            )
    axes.set_yticks(range(len(arms)), list(arms))
    open_axes(axes).set(
        ylim=(len(arms) - 0.5, -0.5),
        xlim=(0, 1),
        xlabel="IoU of the object in pictures that were not trained on",
    )
    handles = [
        axes.plot([], [], "o", color=color, markerfacecolor=fill, label=label)[0]
        for color, fill, label in (
            (BLUE, BLUE, "claimed above a probability of 0.5"),
            (RED, "white", "above the threshold that is best in training"),
        )
    ]
    legend_below(figure, handles, ncols=2, fontsize=9)
    return figure


def describe_arms(arms: Mapping[str, Sequence[TinyResult]]) -> str:
    """Return in words what `plot_arms` shows."""
    words = []
    for name, results in arms.items():
        plain, moved = ([getattr(r, key) for r in results] for key in ("iou", "moved"))
        words.append(
            f"{name}: {np.mean(plain):.2f} ({min(plain):.2f} to {max(plain):.2f}), with the best "
            f"threshold {np.mean(moved):.2f} ({min(moved):.2f} to {max(moved):.2f})"
        )
    num = len(next(iter(arms.values())))
    return (
        f"IoU of the object in new pictures, one dot for each of {num} seeds and a bar for their "
        f"mean, by loss and steps. Mean and range: {'; '.join(words)}."
    )


# The loss of a set ------------------------------------------------------------------------------


def plot_same_count(
    image: UInt8[Tensor, "3 h w"], predictions: Pairs, names: tuple[str, str]
) -> Figure:
    """Draw `same_count_predictions` on their image, wrong pixels in red, with the four scores."""
    titles = {
        "cut": f"half of the {names[0]} is missed",
        "grown": f"the {names[0]} is claimed too large",
        "large": f"as much of the {names[1]} is missed",
    }
    figure, panels = subplots(9, 3.0, 1, len(predictions))
    gray = image.float().mean(0).numpy() / 255
    for axes, (name, (truth, predicted)) in zip(panels, predictions.items(), strict=True):
        pixels = np.repeat(0.35 + 0.6 * gray[..., None], 3, axis=2)
        for region, color in ((predicted, FG_COLOR), (truth != predicted, CRIMSON)):
            inside = region.numpy()
            pixels[inside] = 0.25 * pixels[inside] + 0.75 * np.array(to_rgb(color))
        show_pixels(axes, pixels, titles[name], fontsize=10)
        scores = score_region(truth, predicted)
        axes.set_xlabel(
            f"{scores['wrong']:.0f} wrong pixels, accuracy {100 * scores['accuracy']:.2f}%\n"
            f"cross-entropy {scores['cross_entropy']:.4f}, IoU {scores['iou']:.3f}",
            fontsize=9,
        )
    colors = {"claimed": FG_COLOR, "wrong: missed or added": CRIMSON}
    patches = [Patch(color=color, label=name) for name, color in colors.items()]
    legend_below(figure, patches, ncols=2, fontsize=9)
    return figure


def describe_same_count(predictions: Pairs, names: tuple[str, str]) -> str:
    """Return in words what `plot_same_count` shows."""
    scores = {name: score_region(*pair) for name, pair in predictions.items()}
    first = scores["cut"]
    return (
        f"Three predictions of one street, each with {first['wrong']:.0f} wrong pixels in red, so "
        f"each with accuracy {100 * first['accuracy']:.2f}% and cross-entropy "
        f"{first['cross_entropy']:.3f}. Half of the {names[0]} missed: IoU {first['iou']:.3f}; as "
        f"many pixels added around it: IoU {scores['grown']['iou']:.3f}; as many missed of the "
        f"{names[1]}: IoU {scores['large']['iou']:.3f}."
    )


def plot_step() -> Figure:
    """Draw three losses while one pixel's logit moves from wrong to right."""
    axis = torch.linspace(-5, 5, 801, dtype=torch.float64)
    lines = losses_along_a_logit(axis)
    figure, (left, right) = subplots(8, 3.2, 1, 2)
    for name, label, color in (
        ("jaccard", "Jaccard loss", RED),
        ("lovasz_softmax", "Lovász-Softmax", PLUM),
        ("cross_entropy", "cross-entropy", BLUE),
    ):
        left.plot(axis, lines[name], color=color, label=label, linewidth=2)
        slope = np.gradient(lines[name], axis.numpy())
        if name == "jaccard":
            slope = np.zeros_like(slope)  # everywhere but at the step, where there is none
        right.plot(axis, slope, color=color, linewidth=2)
    left.set(xlabel="logit of the first pixel, a foreground pixel", ylabel="loss", ylim=(0, 1.8))
    right.set(xlabel="logit of the first pixel", ylabel="slope of the loss")
    add_legend(left, fontsize=9)
    for axes in (left, right):
        open_axes(axes).axvline(0, color="0.8", linewidth=1, zorder=0)
    return figure


def describe_step() -> str:
    """Return in words what `plot_step` shows."""
    lines = losses_along_a_logit(torch.tensor([-5.0, -1e-6, 1e-6, 5.0], dtype=torch.float64))
    far, before, after, end = lines["jaccard"]
    smooth, entropy = lines["lovasz_softmax"], lines["cross_entropy"]
    return (
        "Losses of four pixels while the logit of one of two foreground pixels moves from -5 to 5. "
        f"The Jaccard loss is a staircase: {far:.3f} up to logit 0, {end:.3f} from there on (at "
        f"the step {before:.3f} and {after:.3f}), with slope 0 everywhere else. Lovász-Softmax "
        f"falls without a jump from {smooth[0]:.3f} to {smooth[-1]:.3f}, cross-entropy from "
        f"{entropy[0]:.3f} to {entropy[-1]:.3f}."
    )


# Diminishing returns ----------------------------------------------------------------------------

RISE_STYLES = {
    "miss after added": (FG_COLOR, "-", "one more missed, after k added"),
    "miss after missed": (FG_COLOR, ":", "one more missed, after k missed"),
    "add after added": (BG_DARK, "-", "one more added, after k added"),
    "add after missed": (BG_DARK, ":", "one more added, after k missed"),
}


def plot_rises(num_fg: int = 10) -> Figure:
    """Draw how the rises of the Jaccard loss shrink, and how those of the Dice loss do not."""
    figure, panels = subplots(8.6, 3.4, 1, 2, sharey=True)
    for axes, kind in zip(panels, ("jaccard", "dice"), strict=True):
        for name, values in rises(kind, num_fg).items():
            color, style, label = RISE_STYLES[name]
            axes.plot(values, style, color=color, marker="o", markersize=3.5, label=label)
        title = f"{kind.capitalize()} loss, {num_fg} foreground pixels"
        open_axes(axes).set(title=title, xlabel="k, pixels that are wrong already")
    panels[0].set(ylabel="rise of the loss", ylim=(0, None))  # shared: once both have drawn
    legend_below(figure, panels[0].lines, ncols=2, fontsize=9)
    return figure


def describe_rises(num_fg: int = 10) -> str:
    """Return in words what `plot_rises` shows."""
    falls = "; ".join(
        f"{RISE_STYLES[name][2]}: {v[0]:.3f} to {v[-1]:.3f}"
        for name, v in rises("jaccard", num_fg).items()
    )
    dice = rises("dice", num_fg)["miss after missed"]
    return (
        f"The rise of a loss with one more wrong pixel, against the number wrong before, for "
        f"{num_fg} foreground pixels. Left, Jaccard: no line rises ({falls}). Right, Dice: one "
        f"more missed after k missed rises from {dice[0]:.3f} to {dice[-1]:.3f}."
    )


# The extension ----------------------------------------------------------------------------------


def plot_square() -> Figure:
    """Draw the extension over the square of two errors: flat on either side of the diagonal."""
    figure, (square, bars) = subplots(8.4, 3.7, 1, 2, width_ratios=(1, 1.15))
    axis = torch.linspace(0, 1, 101, dtype=torch.float64)
    second, first = torch.meshgrid(axis, axis, indexing="ij")
    height = extend_jaccard(torch.stack([first, second], -1), TWO_TRUTH)[0]
    lines = square.contour(axis, axis, height, np.arange(0.1, 1, 0.1), colors="0.45", linewidths=1)
    square.clabel(lines, fontsize=8, fmt="%.1f")
    square.plot([0, 1], [0, 1], "--", color="0.3", linewidth=1.2)
    chain = make_chain(TWO_ERRORS, TWO_TRUTH)
    corners = np.zeros((3, 2))
    for size in (1, 2):
        corners[size, chain.order[:size]] = 1
    square.fill(*corners.T, color=PLUM, alpha=0.13, linewidth=0)
    for corner in ((0, 0), (1, 0), (0, 1), (1, 1)):
        value = float(extend_jaccard(torch.tensor(corner, dtype=torch.float64), TWO_TRUTH)[0])
        square.plot(*corner, "o", color=RED, markersize=9, clip_on=False, zorder=5)
        square.annotate(
            f"F = {value:.2f}", corner, (0, 11 if corner[1] else -15), fontsize=9, color=RED_DARK,
            textcoords="offset points", ha="center", annotation_clip=False,
        )  # fmt: skip
    square.plot(*TWO_ERRORS, "*", color=PLUM, markersize=17, markeredgecolor="white", zorder=6)
    square.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xticks=[0.5], yticks=[0.5])
    square.set_xlabel("error of pixel a, foreground", labelpad=10)
    square.set_ylabel("error of pixel b, background")
    _draw_chain(bars, chain)
    return figure


def _draw_chain(axes: Any, chain: Chain) -> None:
    """Draw the mixture: one bar per set, as wide as its fraction, as high as its loss."""
    left = 0.0
    for size, (width, value) in enumerate(zip(chain.fractions, chain.values, strict=True)):
        axes.bar(left, value, width, align="edge", color=RED, alpha=0.45, edgecolor="white")
        if width > 0.03:
            name = f"{{{chain.members(size)}}}" if size else "none"
            inside, part = value > 0.3, "fraction " if width > 0.25 else ""
            axes.text(
                left + width / 2, value + (-0.04 if inside else 0.03), ha="center", fontsize=9,
                s=f"{name}\n{part}{width:.2f}\nF = {value:.2f}",
                va="top" if inside else "bottom",
            )  # fmt: skip
        left += width
    axes.axhline(chain.extension, color=PLUM, linewidth=2)
    axes.text(0.0, chain.extension + 0.02, f" L = {chain.extension:.3f}", color=PLUM)
    open_axes(axes).set(xlim=(0, 1), ylim=(0, 1.05), xlabel="fraction of the mixture",
                        ylabel="Jaccard loss F", yticks=[0, 0.5, 1])  # fmt: skip


def describe_square() -> str:
    """Return in words what `plot_square` shows."""
    chain = make_chain(TWO_ERRORS, TWO_TRUTH)
    parts = ", ".join(
        f"{fraction:.2f} of a set with loss {value:.2f}"
        for fraction, value in zip(chain.fractions, chain.values, strict=True)
    )
    return (
        "The square of two errors, cut by its diagonal into two triangles; the level lines of the "
        "extension are straight in each and bend at the diagonal. The point "
        f"({TWO_ERRORS[0]:g}, {TWO_ERRORS[1]:g}) is a mixture of its triangle's corners: {parts}. "
        f"So the extension is {chain.extension:.3f}."
    )


def plot_thresholds(at: float = 0.35) -> Figure:
    """Draw one threshold over the errors, and the loss of every threshold: its area is L."""
    figure, (left, right) = subplots(8.6, 3.3, 1, 2)
    _draw_errors(left, EIGHT_ERRORS, EIGHT_TRUTH, range(8))
    left.axhline(at, color=CRIMSON, linewidth=1.5)
    left.set(title=f"threshold {at:g}: what is above counts as wrong")
    axis = torch.linspace(0, 1, 2001, dtype=torch.float64)
    loss = thresholded_loss(axis, EIGHT_ERRORS, EIGHT_TRUTH)
    right.fill_between(axis, loss, color=RED, alpha=0.3, linewidth=0)
    right.plot(axis, loss, color=RED, linewidth=2)
    now = thresholded_loss(torch.tensor([at]), EIGHT_ERRORS, EIGHT_TRUTH)[0]
    right.plot([at, at], [0, now], color=CRIMSON, linewidth=1.5)
    area = make_chain(EIGHT_ERRORS, EIGHT_TRUTH).extension
    right.text(at + 0.04, 0.08, f"area = L = {area:.3f}", color="black", fontsize=11)
    open_axes(right).set(xlabel="threshold", ylabel="Jaccard loss", ylim=(0, 1.06),
                         xlim=(0, 1), title="every threshold")  # fmt: skip
    return figure


def describe_thresholds(at: float = 0.35) -> str:
    """Return in words what `plot_thresholds` shows."""
    above = ", ".join(LETTERS[i] for i, error in enumerate(EIGHT_ERRORS) if error > at)
    now = thresholded_loss(torch.tensor([at]), EIGHT_ERRORS, EIGHT_TRUTH)[0]
    return (
        f"Left: the errors of {len(EIGHT_ERRORS)} pixels with a line at {at:g}; above it are "
        f"{above}, a wrong set with Jaccard loss {now:.3f}. Right: that loss for every "
        "threshold from 0 to 1, a staircase that falls to 0. The area below it is the Lovász "
        f"extension, {make_chain(EIGHT_ERRORS, EIGHT_TRUTH).extension:.3f}."
    )


def _draw_bars(
    axes: Any, heights: Sequence[float], truth: Sequence[int], order: Sequence[int]
) -> None:
    """Draw one bar per pixel in the color of its kind; `heights` are in `order` already."""
    colors = [FG_COLOR if truth[i] else BG_COLOR for i in order]
    open_axes(axes).bar(range(len(order)), heights, color=colors, width=0.75)
    axes.set_xticks(range(len(order)), [LETTERS[i] for i in order])


def _draw_errors(
    axes: Any, errors: Sequence[float], truth: Sequence[int], order: Sequence[int]
) -> None:
    _draw_bars(axes, [errors[i] for i in order], truth, order)
    axes.set(ylim=(0, 1.06), ylabel="error")
    falling = errors[order[0]] == max(errors)
    add_legend(axes, KIND_PATCHES, loc="upper right" if falling else "upper left")


# Algorithm 1 ------------------------------------------------------------------------------------


def plot_algorithm() -> Figure:
    """Draw Algorithm 1 step by step: the image, the sorting, the counts, the rises, the sum.

    Source: [LS] Algorithm 1.
    """
    steps = run_algorithm()
    p = len(steps.order)
    colors = [FG_COLOR if is_fg else BG_COLOR for is_fg in EIGHT_TRUTH]
    figure, axes = subplots(9, 0.75 + 0.44 * (p + 2))
    axes.set(xlim=(0, 21), ylim=(p + 1.1, -1.75))
    axes.axis("off")
    for x, head in (
        (1.0, "pixels"),
        (4.9, "1  sorted by\nerror $m$"),
        (8.4, "2  inter-\nsection"),
        (10.7, "3  union"),
        (13.0, "4  Jaccard\nloss"),
        (16.0, "5  its rise:\nweight $g$"),
        (19.3, "6  product\n$m \\cdot g$"),
    ):
        center_text(axes, x, -1.1, head, fontsize=10, weight="bold")
    for i in range(p):  # the image, as a column
        _draw_letter(axes, 1.02, i, 0.84, LETTERS[i], colors[i])
    curve = np.linspace(0, 1, 30)
    for row, i in enumerate(steps.order):
        bend = i + (row - i) * (3 * curve**2 - 2 * curve**3)
        axes.plot(1.5 + 1.25 * curve, bend, color=colors[i], linewidth=1.4)
        _draw_letter(axes, 3.16, row, 0.72, LETTERS[i], colors[i])
        error, weight = steps.errors[row], steps.weights[row]
        _draw_number(axes, 4.6, row, 2 * error, f"{error:.2f}", colors[i], 0.5)
        for x, count in ((8.4, steps.intersection[row]), (10.7, steps.union[row])):
            center_text(axes, x, row, count, fontsize=10)
        center_text(axes, 13.0, row, f"{steps.loss[row]:.3f}", fontsize=10)
        for x, number in ((16.0, weight), (19.3, weight * error)):
            _draw_number(axes, x, row, 6 * number, f"{number:.3f}", PLUM, 0.35)
    axes.plot([2.8, 20.9], [p - 0.45, p - 0.45], color="0.5", linewidth=0.8)
    center_text(axes, 13.0, p + 0.15, "sum", fontsize=10, weight="bold")
    for x, total, color in ((16.0, sum(steps.weights), "black"), (19.3, steps.total, PLUM)):
        axes.text(x - 0.15, p + 0.15, f"{total:.3f}", va="center", ha="right", weight="bold",
                  color=color)  # fmt: skip
    add_legend(axes, KIND_PATCHES, fontsize=9, loc="lower left", ncols=2)
    return figure


def _draw_letter(axes: Any, x: float, y: float, side: float, letter: str, color: str) -> None:
    corner = (x - side / 2, y - side / 2)
    axes.add_patch(Rectangle(corner, side, side, color=color))
    center_text(axes, x, y, letter, fontsize=10, color="white", weight="bold")


def _draw_number(
    axes: Any, x: float, y: float, width: float, text: str, color: str, alpha: float
) -> None:
    """Write a number, and draw a bar to its right that is `width` long and begins at x."""
    axes.text(x - 0.15, y, text, va="center", ha="right", fontsize=10)
    axes.add_patch(Rectangle((x, y - 0.27), width, 0.54, color=color, alpha=alpha))


def describe_algorithm() -> str:
    """Return in words what `plot_algorithm` shows."""
    steps = run_algorithm()
    rows = "; ".join(
        f"{LETTERS[i]} {'fore' if f else 'back'}ground, error {e:g}, loss {loss:.3f}, "
        f"weight {w:.3f}"
        for i, f, e, loss, w in zip(
            steps.order, steps.is_fg, steps.errors, steps.loss, steps.weights, strict=True
        )
    )
    return (
        f"Algorithm 1 on {len(steps.order)} pixels, {sum(steps.is_fg)} of them foreground, sorted "
        f"by error: {rows}. The weights add up to {sum(steps.weights):.3f}, weighted errors to "
        f"{steps.total:.3f}."
    )


def plot_pixels(
    errors: Sequence[float], weigh: Callable[[Tensor, Tensor], Tensor] | None = None
) -> Figure:
    """Draw errors of the eight pixels in their order and the weights: a frame of an explorer.

    Args:
        errors: of the pixels a to h.
        weigh: the reader's own function from errors and truth to weights, in the order of the
            pixels; None: Algorithm 1.
    """
    steps = run_algorithm(errors)
    weights, total = steps.weights, steps.total
    if weigh is not None:
        own = weigh(torch.tensor(errors), torch.tensor(EIGHT_TRUTH)).tolist()
        weights = [own[i] for i in steps.order]
        total = sum(error * weight for error, weight in zip(errors, own, strict=True))
    figure = Figure(figsize=(7.2, 2.3))
    figure.subplots_adjust(0.09, 0.12, 0.99, 0.86, wspace=0.2)
    left, right = figure.subplots(1, 2)
    _draw_errors(left, errors, EIGHT_TRUTH, steps.order)
    left.set_title(f"mean error {np.mean(errors):.3f}", fontsize=10)
    _draw_bars(right, weights, EIGHT_TRUTH, steps.order)
    whose = "weights" if weigh is None else "your weights"
    right.set_title(f"{whose}; Lovász loss {total:.3f}", fontsize=10)
    right.set_ylim(min(0, 1.05 * min(weights)), max(0.6, 1.05 * max(weights)))
    return figure


# The base polytope ------------------------------------------------------------------------------


def plot_polytope() -> Figure:
    """Draw the weights of all six orders of three pixels in the triangle of weights that sum to 1.

    Source: [LS] Definition 2; Edmonds' greedy algorithm.
    """
    figure, (triangle, bars) = subplots(8.6, 4.4, 1, 2, width_ratios=(1.15, 1))
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(0.75)]])
    triangle.fill(*corners.T, facecolor="none", edgecolor="0.6", linewidth=1.2)
    for i, shift in enumerate(((-0.04, -0.075), (0.04, -0.075), (0, 0.03))):
        kind = "foreground" if THREE_TRUTH[i] else "background"
        triangle.text(*(corners[i] + shift), f"all weight on {LETTERS[i]}\n({kind})", ha="center",
                      va="bottom" if i == 2 else "center", fontsize=9)  # fmt: skip
    vertices = base_vertices(THREE_TRUTH)
    flat = np.unique(np.round(list(vertices.values()), 9), axis=0) @ corners
    around = np.argsort(np.arctan2(*(flat - flat.mean(0)).T))
    triangle.fill(*flat[around].T, color=BLUE, alpha=0.2, linewidth=0)
    triangle.plot(*flat[[*around, around[0]]].T, color=BLUE, linewidth=1.8)
    triangle.plot(*flat.T, "o", color="white", markeredgecolor=BLUE, markeredgewidth=2)
    greedy = vertices[sorted_letters(THREE_ERRORS)]
    triangle.plot(*(greedy @ corners), "*", color=RED, markersize=20, zorder=5,
                  markeredgecolor="white")  # fmt: skip
    center_text(triangle, 0.86, 0.62, "base\npolytope", fontsize=10, color=BLUE)
    triangle.set(xlim=(-0.25, 1.25), ylim=(-0.17, 1.05), aspect="equal")
    triangle.set_title("weights $g$: a point for each order")
    triangle.axis("off")
    _draw_orders(bars)
    return figure


def _draw_orders(axes: Any) -> None:
    """Draw a bar for each order: its weighted sum of the errors."""
    values = sums_by_order(THREE_ERRORS, THREE_TRUTH)
    best = max(values.values())
    colors = [RED if value > best - 1e-12 else "0.7" for value in values.values()]
    axes.barh(list(values), list(values.values()), color=colors, height=0.65)
    for row, value in enumerate(values.values()):
        axes.text(value + 0.01, row, f"{value:.3f}", va="center", fontsize=9)
    axes.invert_yaxis()
    errors = ", ".join(f"{e:g}" for e in THREE_ERRORS)
    open_axes(axes).set(xlim=(0, 1.15 * best), xlabel="$\\langle m, g \\rangle$",
                        ylabel="order of joining", title=f"errors $m$ = ({errors})")  # fmt: skip


def describe_polytope() -> str:
    """Return in words what `plot_polytope` shows."""
    values = sums_by_order(THREE_ERRORS, THREE_TRUTH)
    distinct = {tuple(np.round(g, 9)) for g in base_vertices(THREE_TRUTH).values()}
    listed = ", ".join(f"{name} {value:.3f}" for name, value in values.items())
    return (
        f"The weights that the six orders of three pixels give, as points of a triangle: "
        f"{len(distinct)} different corners of one convex region. Weighted sums of the errors "
        f"({', '.join(f'{e:g}' for e in THREE_ERRORS)}) by order: {listed}. The largest, "
        f"{max(values.values()):.3f}, belongs to the order by falling error, "
        f"{sorted_letters(THREE_ERRORS)}."
    )


# A real image -----------------------------------------------------------------------------------


def plot_weight_maps(
    image: UInt8[Tensor, "3 h w"],
    probs: Float[Tensor, "c h w"],
    labels: Int[Tensor, "h w"],
    label: int,
    name: str,
) -> Figure:
    """Draw image, errors and weights of one class."""
    errors, weights = class_weight_maps(probs, labels, label)
    is_fg = labels == label
    figure, panels = subplots(9, 2.6, 1, 3)
    panels[0].imshow(rgb(image))
    panels[0].contour(is_fg.numpy(), [0.5], colors="white", linewidths=1)
    titles = f"the image; {name} outlined", "error $m$", "weight $g$, in units of 1 / |truth|"
    for axes, values in zip(panels[1:], (errors, weights * int(is_fg.sum())), strict=True):
        drawn = axes.imshow(values.numpy(), cmap="magma", vmin=0, vmax=1)
        figure.colorbar(drawn, ax=axes, shrink=0.8)
    for axes, title in zip(panels, titles, strict=True):
        axes.set(xticks=[], yticks=[])
        axes.set_title(title, fontsize=10)
    return figure


def describe_weight_maps(
    probs: Float[Tensor, "c h w"], labels: Int[Tensor, "h w"], label: int, name: str
) -> str:
    """Return in words what `plot_weight_maps` shows."""
    _, weights = class_weight_maps(probs, labels, label)
    is_fg = labels == label
    return (
        f"A street with {name} outlined, its error map, and its weight map. "
        f"{int(is_fg.sum())} pixels are {name}; they hold "
        f"{100 * float(weights[is_fg].sum()):.0f}% of the weight, though "
        f"they are {100 * float(is_fg.double().mean()):.0f}% of the pixels. The errors are largest "
        "along borders; weights are largest where the class is unsure and where the background "
        "is mistaken for it."
    )
