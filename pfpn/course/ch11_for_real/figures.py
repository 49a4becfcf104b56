"""The learning rate for two batch sizes, and the time of each stage beside torchvision's."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from pfpn.course.ch11_for_real.numbers import Rows, learning_rates, shared_stages
from pfpn.engine.config import TrainConfig
from pfpn.plot.style import BLUE, ORANGE, add_legend, open_axes, subplots

DECADES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
OWN_POINTS = 300  # of a reader's curve in one panel, which is computed step by step
RATES = (1e-6, 0.3)  # of the published recipes with 1 to 64 images a step


def plot_batch_schedules(
    config: TrainConfig, batch_size: int, yours: Callable[[int, int], float] | None = None
) -> Figure:
    """Draw the learning rate of a published run and of one with another batch size.

    At two scales: the whole run, and the warm-up. The axis is logarithmic and the same for every
    batch size, so that pictures of several sizes can be compared.

    Args:
        config: of the published run.
        batch_size: of the other.
        yours: the reader's rate by step and batch size, drawn over the package's.
    """
    steps = np.arange(0, config.max_steps, max(1, config.max_steps // 3000))
    start = np.arange(0, 2 * config.optim.warmup_steps + 1, 10)
    other = replace(config, batch_size=batch_size)
    figure, (whole, warmup) = subplots(8.4, 3.0, 1, 2, sharey=True)
    for axes, axis in ((whole, steps), (warmup, start)):
        axes.plot(axis, learning_rates(config, axis), color="0.6", linewidth=4,
                  label=f"{config.batch_size} images a step, as published")  # fmt: skip
        axes.plot(axis, learning_rates(other, axis), color=BLUE, linewidth=1.8,
                  label=f"{batch_size} images a step")  # fmt: skip
        if yours is not None:
            own = axis[:: max(1, len(axis) // OWN_POINTS)]
            rates = [float(yours(step, batch_size)) for step in own.tolist()]
            axes.plot(own, rates, color=ORANGE, linewidth=1.8, linestyle="--", label="yours")
        open_axes(axes).set(xlabel="step")
    whole.set(ylabel="learning rate (log)", title="the whole run", yscale="log", ylim=RATES)
    whole.set_yticks(DECADES, labels=[f"{rate:g}" for rate in DECADES])
    whole.yaxis.set_minor_locator(NullLocator())  # minor ticks take half of the drawing's time
    warmup.set(title="its beginning: warm-up", xticks=start[:: max(1, len(start) // 4)])
    add_legend(warmup, fontsize=9, loc="lower right")
    return figure


def describe_batch_schedules(config: TrainConfig, batch_size: int) -> str:
    """Return in words what `plot_batch_schedules` shows."""
    optim, last_step = config.optim, config.max_steps - 1
    other = replace(config, batch_size=batch_size)
    first, full, last = learning_rates(other, np.array([0, optim.warmup_steps, last_step]))
    return (
        f"The learning rate over {config.max_steps} steps for {batch_size} images a step: from "
        f"{first:.6f} it climbs to {full:.4f} in {optim.warmup_steps} steps, and falls to a "
        f"tenth at the steps {' and '.join(map(str, optim.milestones))}, to {last:.6f} at "
        f"the end. The published run has {config.batch_size} images and {optim.lr:g}."
    )


def plot_inference_times(rows: Rows, edge: int) -> Figure:
    """Draw the time of each stage that pfpn and torchvision share, in ms, and their ratio."""
    shared = shared_stages(rows, edge)
    figure, axes = subplots(8.4, 0.42 * len(shared) + 1.2)
    for offset, key, color, label in (
        (-0.19, "torchvision", "0.65", "torchvision"), (0.19, "ours", BLUE, "pfpn"),
    ):  # fmt: skip
        positions = [number + offset for number in range(len(shared))]
        axes.barh(positions, [row[key] for row in shared], 0.36, color=color, label=label)
    for number, row in enumerate(shared):
        axes.annotate(
            f"x {row['ratio']:.2f}", (max(row["torchvision"], row["ours"]), number), (5, 0),
            textcoords="offset points", va="center", fontsize=9,
        )  # fmt: skip
    axes.set_yticks(range(len(shared)), [row["stage"] for row in shared])
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set_xlabel("processor time, ms")
    title = "x: pfpn's time over torchvision's, median of turns"
    axes.set_title(f"one image, shortest edge {edge} pixels; {title}", fontsize=10)
    add_legend(open_axes(axes), fontsize=10, loc="lower right")
    return figure


def describe_inference_times(rows: Rows, edge: int) -> str:
    """Return in words what `plot_inference_times` shows."""
    shared = shared_stages(rows, edge)
    ours, theirs = (sum(row[key] for row in shared) for key in ("ours", "torchvision"))
    ratios = ", ".join(f"{row['stage']} {row['ratio']:.2f}" for row in shared)
    first = max(shared, key=lambda row: row["ours"])
    return (
        f"Time of each stage that pfpn and torchvision share, at {edge} pixels. pfpn's over "
        f"torchvision's: {ratios}. The sums are {ours / 1000:.1f} s and {theirs / 1000:.1f} s; "
        f"{first['stage']} takes most, {100 * first['ours'] / ours:.0f} %."
    )
