"""Batches, constants, single logits, linear borders, bins, and scores of trainings."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from matplotlib.figure import Figure
from torch import Tensor

from pfpn.course.ch08_practice import numbers
from pfpn.course.ch08_practice.numbers import Gains
from pfpn.plot.palette import BG_COLOR, CLASS_COLORS, FG_COLOR, VOID_COLOR, Color, to_hex
from pfpn.plot.style import (
    BLUE,
    CRIMSON,
    GREEN,
    PLUM,
    RED,
    SKY,
    add_legend,
    draw_grid,
    legend_below,
    open_axes,
    rgb,
    show_pixels,
    subplots,
    swatches,
)
from pfpn.plot.surface import extend_jaccard

AMBER = "#b07800"  # the fourth line among others
PLUM_PALE = "#c070a8"  # of the Lovász losses, the second
Histories = Mapping[str, Sequence[tuple[int, float]]]  # (step, score) by training


def plot_batch_losses(counts: Mapping[str, Int[Tensor, "n 3"]], sizes: Sequence[int]) -> Figure:
    """Draw the Jaccard loss of batches against their size; the data set's as a line."""
    figure, panels = subplots(
        min(9.0, 3.0 * len(counts)), 2.9, 1, len(counts), sharey=True, squeeze=False
    )
    for axes, (name, table) in zip(panels[0], counts.items(), strict=True):
        losses = numbers.batch_losses(table, sizes)
        color = to_hex(CLASS_COLORS.get(name, CLASS_COLORS["car"]))
        low, high = losses.mean - losses.spread, losses.mean + losses.spread
        axes.fill_between(sizes, low, high, color=color, alpha=0.25, linewidth=0)
        axes.plot(sizes, losses.mean, marker="o", color=color, markersize=4, label="batches")
        axes.axhline(losses.data_set, color="0.2", linestyle="--", label="the data set")
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [str(size) for size in sizes])
        open_axes(axes).set(title=name, xlabel="images in a batch")
    # The lower limit is set last: setting it stops the automatic choice of the upper one.
    panels[0, 0].set(ylabel="Jaccard loss", ylim=(0, None))
    add_legend(panels[0, 0])
    return figure


def describe_batch_losses(counts: Mapping[str, Int[Tensor, "n 3"]], sizes: Sequence[int]) -> str:
    """Return in words what `plot_batch_losses` shows."""
    words = []
    for name, table in counts.items():
        losses = numbers.batch_losses(table, sizes)
        ends = ", ".join(
            f"{losses.mean[i]:.3f} in batches of {sizes[i]} (spread {losses.spread[i]:.2f})"
            for i in (0, -1)
        )
        words.append(f"{name}: {ends}, {losses.data_set:.3f} over the data set")
    return f"Mean Jaccard loss of random batches by batch size. {'; '.join(words)}."


CONSTANT_STYLES = {
    "cross_entropy": (BLUE, "-", "cross-entropy"),
    "class": (PLUM, "-", "Lovász, the foreground alone"),
    "present": (PLUM_PALE, "--", "Lovász, mean of both classes"),
}


def plot_constant(foreground: float = 0.1, batches_without: float = 0.0) -> Figure:
    """Draw the losses of one probability at every pixel, and where each is least.

    Args:
        foreground: fraction of the pixels; named as on the slider.
        batches_without: fraction of the batches without foreground.
    """
    axis = torch.linspace(0.005, 0.995, 199)
    figure = Figure(figsize=(4.5, 3.5))
    figure.subplots_adjust(0.14, 0.14, 0.97, 0.73)
    axes = open_axes(figure.subplots())
    for name, values in numbers.constant_losses(axis, foreground, batches_without).items():
        color, style, label = CONSTANT_STYLES[name]
        axes.plot(axis, values, style, color=color, label=label, linewidth=2)
        best = int(values.argmin())
        size = 11 if name == "class" else 7  # two of them may coincide
        axes.plot(axis[best], values[best], "o", color=color, markersize=size)
    axes.set(xlabel="foreground probability, the same at every pixel", ylabel="loss", ylim=(0, 1.7),
             xlim=(0, 1))  # fmt: skip
    figure.suptitle(
        f"{100 * foreground:.0f}% foreground, {100 * batches_without:.0f}% of batches without",
        fontsize=10,
    )
    # Above the axes: cross-entropy may run anywhere within them.
    add_legend(axes, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 0.99))
    return figure


def describe_constant(foreground: float = 0.1, batches_without: float = 0.0) -> str:
    """Return in words what `plot_constant` shows."""
    best = numbers.best_constants(foreground, batches_without)
    return (
        f"Losses of one constant probability for {100 * foreground:.0f}% foreground and "
        f"{100 * batches_without:.0f}% of the batches without any. Cross-entropy is least at "
        f"{best['cross_entropy']:.2f}, the Lovász loss of the foreground at {best['class']:.2f}, "
        f"the mean of both classes at {best['present']:.2f}."
    )


def plot_logit_gradients() -> Figure:
    """Draw the length of three losses' gradients by the logit of a foreground pixel."""
    axis = np.linspace(-8, 4, 241)
    figure, axes = subplots(6.4, 3.3)
    styles = (
        (BLUE, "-", "cross-entropy"), (PLUM_PALE, "--", "Lovász hinge"),
        (PLUM, "-", "Lovász-Softmax"),
    )  # fmt: skip
    gradients = numbers.logit_gradients(axis)
    for values, (color, style, label) in zip(gradients.values(), styles, strict=True):
        axes.semilogy(axis, values, style, color=color, label=label, linewidth=2)
    axes.axvline(0, color="0.8", linewidth=1, zorder=0)
    open_axes(axes).set(xlabel="logit of the pixel: wrong below 0, right above", ylim=(1e-5, 1),
                        ylabel="length of the gradient (log)")  # fmt: skip
    add_legend(axes, fontsize=9, loc="lower center")
    return figure


def describe_logit_gradients() -> str:
    """Return in words what `plot_logit_gradients` shows."""
    entropy, hinge, softmax = numbers.logit_gradients(np.array([-8.0, 0.0])).values()
    return (
        "The length of the gradient of three losses at one foreground pixel against its logit, on "
        f"a logarithmic scale, for {numbers.NUM} pixels of which {numbers.NUM_FG} are foreground. "
        f"At logit 0: cross-entropy {entropy[1]:.3f}, Lovász hinge {hinge[1]:.3f}, Lovász-Softmax "
        f"{softmax[1]:.3f}. At logit -8, surely wrong: {entropy[0]:.5f}, "
        f"{hinge[0]:.5f} and {softmax[0]:.5f}."
    )


def plot_boundaries(
    points: Float[Tensor, "n 2"], labels: Int[Tensor, " n"], lines: Mapping[str, Sequence[float]]
) -> Figure:
    """Draw pixels by two features, and the borders of linear models (w1, w2, bias)."""
    figure, axes = subplots(6.4, 3.9)
    for label, color, name in ((0, BG_COLOR, "background"), (1, FG_COLOR, "foreground")):
        chosen = points[labels == label].numpy()
        axes.plot(*chosen.T, ".", color=color, markersize=4, label=name, alpha=0.7)
    low, high = points.min(0).values.numpy() - 0.2, points.max(0).values.numpy() + 0.2
    x = np.array([low[0], high[0]])
    for (name, (w1, w2, bias)), color in zip(lines.items(), (BLUE, PLUM, AMBER), strict=False):
        axes.plot(x, -(w1 * x + bias) / w2, color=color, linewidth=2.2, label=name)
    open_axes(axes).set(xlim=(low[0], high[0]), ylim=(low[1], high[1]),
                        xlabel="first feature", ylabel="second feature")  # fmt: skip
    add_legend(axes, fontsize=9, loc="lower left", frameon=True, framealpha=0.9)
    return figure


def plot_histories(histories: Histories) -> Figure:
    """Draw the mIoU of trainings against the step."""
    figure, axes = subplots(7.2, 3.3)
    colors = (BLUE, PLUM, CRIMSON, GREEN)
    for (name, history), color in zip(histories.items(), colors, strict=False):
        steps, values = zip(*history, strict=True)
        axes.plot(steps, values, color=color, linewidth=2, marker="o", markersize=3, label=name)
    open_axes(axes).set(xlabel="step", ylabel="mIoU", ylim=(0, None))
    add_legend(axes, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def describe_histories(histories: Histories) -> str:
    """Return in words what `plot_histories` shows."""
    ends = ", ".join(f"{name} {history[-1][1]:.2f}" for name, history in histories.items())
    return f"mIoU of {len(histories)} trainings against the step; at the end: {ends}."


# Streets and seeds ------------------------------------------------------------------------------


def plot_masks(
    image: UInt8[Tensor, "3 h w"],
    maps: Mapping[str, Int[Tensor, "h w"]],
    names: Sequence[str],
    colors: Sequence[Color],
) -> Figure:
    """Draw a street and several label maps of it in the colors of their classes.

    Args:
        image: the street.
        maps: label maps by title; IGNORE has the color of void.
        names: of the classes, in the order of their labels.
        colors: of the classes.
    """
    table = np.full((256, 3), VOID_COLOR, np.uint8)
    table[: len(colors)] = colors
    panels = {"the street": rgb(image)} | {t: table[m.numpy()] for t, m in maps.items()}
    num_rows = -(-len(panels) // 3)
    figure, grid = subplots(9, 2.3 * num_rows + 0.5, num_rows, 3, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.axis("off")
    for axes, (title, pixels) in zip(grid.flat, panels.items(), strict=False):
        show_pixels(axes, pixels, title)
    painted = dict(zip([*names, "void"], map(to_hex, [*colors, VOID_COLOR]), strict=True))
    legend_below(figure, swatches(painted), ncols=6)
    return figure


def plot_seeds(
    values: Mapping[str, Sequence[float]], label: str, *, line: float | None = None
) -> Figure:
    """Draw one row for each name: a dot a seed, and a bar where their mean is.

    Args:
        values: one for each seed, by name.
        label: of the axis.
        line: position of a vertical line, such as 0 for gains.
    """
    figure, axes = subplots(7.2, 0.8 + 0.32 * len(values))
    for row, numbers_of_seeds in enumerate(values.values()):
        axes.plot(numbers_of_seeds, [row] * len(numbers_of_seeds), "o", color=BLUE, alpha=0.6)
        axes.plot(float(np.mean(numbers_of_seeds)), row, "|", color=RED, ms=16, mew=2.5)
    axes.plot([], [], "o", color=BLUE, alpha=0.6, label="a seed")
    axes.plot([], [], "|", color=RED, ms=12, mew=2.5, label="mean")
    if line is not None:
        axes.axvline(line, color="0.4", linestyle="--", linewidth=1)
    axes.set_yticks(range(len(values)), list(values), fontsize=9)
    axes.set_ylim(len(values) - 0.4, -0.6)
    axes.set_xlabel(label)
    draw_grid(axes, axis="y")
    add_legend(open_axes(axes), loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def describe_seeds(values: Mapping[str, Sequence[float]], label: str) -> str:
    """Return in words what `plot_seeds` shows."""
    words = "; ".join(f"{name} {numbers.format_range(seeds)}" for name, seeds in values.items())
    return f"Dots, one a seed, of {label}: mean, lowest and highest. {words}."


# Bins -------------------------------------------------------------------------------------------

BINS = tuple(2**k for k in range(2, 13))
GAP_STYLES = {
    ("spread", 0.5): ("o", BLUE, "errors spread over [0, 1], half foreground"),
    ("spread", 0.01): ("s", SKY, "errors spread over [0, 1], 1% foreground"),
    ("sure", 0.1): ("^", PLUM, "errors of a trained network, 10% foreground"),
    ("worst", 0.001): ("v", RED, "a worst case: all errors in one bin"),
}


def plot_bound() -> Figure:
    """Draw the measured error of binning below its bound 1 / K."""
    figure, axes = subplots(7.2, 4.2)
    bound = 1 / np.array(BINS)
    axes.fill_between(BINS, bound, 2, color="0.93", linewidth=0)
    axes.plot(BINS, bound, color="0.2", linewidth=2, label="proved bound 1 / K")
    for (kind, fraction), (marker, color, label) in GAP_STYLES.items():
        gaps = np.maximum(numbers.measure_gaps(kind, fraction, BINS), 1e-12)
        axes.plot(BINS, gaps, marker=marker, color=color, linewidth=1.2, label=label)
    open_axes(axes).set(xscale="log", yscale="log", xlabel="bins K",
                        ylabel="exact loss - binned loss", ylim=(1e-10, 1))  # fmt: skip
    axes.set_xticks(BINS, [str(number) for number in BINS], fontsize=8)
    axes.minorticks_off()
    add_legend(axes, fontsize=9, loc="lower left")
    return figure


def describe_bound() -> str:
    """Return in words what `plot_bound` shows."""
    words = []
    for (kind, fraction), (_, _, label) in GAP_STYLES.items():
        scaled = numbers.measure_gaps(kind, fraction, BINS) * np.array(BINS)
        words.append(f"{label}: at most {scaled.max():.2f} / K")
    return (
        f"The loss lost by binning 4096 pixels, for K from {BINS[0]} to {BINS[-1]}, with both "
        f"axes logarithmic; all curves lie below the line 1 / K. {'; '.join(words)}."
    )


def plot_bins(bins: int, foreground: float, of_bin: numbers.BinWeights | None = None) -> Figure:
    """Draw counts by bin, and the weights with and without bins: a frame of an explorer.

    Args:
        bins: their number.
        foreground: fraction of the pixels; named as on the slider.
        of_bin: the reader's weights of a bin, in place of the package's.
    """
    rng = torch.Generator().manual_seed(0)
    errors, is_fg = numbers.make_errors("spread", foreground, rng, num=400)
    exact, weights = extend_jaccard(errors, is_fg.int().tolist())
    binned, steps = numbers.binned_weights(errors, is_fg, bins, of_bin)
    figure = Figure(figsize=(4.6, 3.5))
    figure.subplots_adjust(0.15, 0.13, 0.97, 0.89, hspace=0.12)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2))
    top.hist([errors[is_fg].numpy(), errors[~is_fg].numpy()], np.linspace(0, 1, bins + 1),
             stacked=True, color=[FG_COLOR, BG_COLOR])  # fmt: skip
    top.set(ylabel="pixels")
    order = errors.argsort()
    for kind, color, name in ((is_fg, FG_COLOR, "fore"), (~is_fg, BG_COLOR, "back")):
        chosen = order[kind[order]]
        bottom.plot(errors[chosen], weights[chosen], ".", color=color, markersize=3)
        bottom.plot(errors[chosen], steps[chosen], color=color, linewidth=2, label=f"{name}ground",
                    drawstyle="steps-mid")  # fmt: skip
    bottom.set(xlabel="error", ylabel="weight (dots: exact)", xlim=(0, 1), ylim=(0, None))
    add_legend(bottom, loc="upper left")
    gap = float(exact) - binned
    top.set_title(
        f"exact {exact:.4f}, binned {binned:.4f}\ngap {gap:.5f}, bound {1 / bins:.5f}", fontsize=9
    )
    for axes in (top, bottom):
        open_axes(axes).tick_params(labelsize=8)
    return figure


# A training experiment --------------------------------------------------------------------------

ARM_NAMES = {
    "ce, lovasz": "cross-entropy, then Lovász",
    "ce, sum": "cross-entropy, then the sum",
    "sum": "the sum from the start",
    "lovasz": "Lovász alone from the start",
}


def plot_gains(table: Gains, titles: Mapping[tuple[str, str], str]) -> Figure:
    """Draw what each way of training gained over cross-entropy: a dot a seed, a bar for the mean.

    `titles` gives the title of each (world, images).
    """
    figure, panels = subplots(9, 2.9, 1, len(titles), sharey=True, squeeze=False)
    for axes, (key, title) in zip(panels[0], titles.items(), strict=True):
        gains = numbers.select_gains(table, *key)
        for row, arm in enumerate(ARM_NAMES):
            mean = float(np.mean(gains[arm]))
            color = PLUM if mean > 0 else RED
            axes.barh(row, mean, color=color, alpha=0.35, height=0.55)
            axes.plot(gains[arm], [row] * len(gains[arm]), "o", color=color, markersize=5)
        axes.axvline(0, color="0.3", linewidth=1)
        axes.set_xlabel("gain, mIoU points")
        axes.set_yticks(range(len(ARM_NAMES)), ARM_NAMES.values())
        open_axes(axes).set_title(title, fontsize=9.5)
    panels[0, 0].invert_yaxis()
    return figure


def describe_gains(table: Gains, titles: Mapping[tuple[str, str], str]) -> str:
    """Return in words what `plot_gains` shows."""
    words = []
    for key, title in titles.items():
        gains = numbers.select_gains(table, *key)
        arms = ", ".join(
            f"{name} {np.mean(gains[arm]):+.1f} ({min(gains[arm]):+.1f} to {max(gains[arm]):+.1f})"
            for arm, name in ARM_NAMES.items()
        )
        words.append(f"{' '.join(title.split())}: {arms}")
    return (
        "Gains in mIoU points over cross-entropy alone, at equal steps, mean and range over seeds. "
        f"{'; '.join(words)}."
    )
