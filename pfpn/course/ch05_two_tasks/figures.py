"""Gradients at the trunk, the trade-off of the weights, and three networks side by side."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch, Patch
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from pfpn.course.ch05_two_tasks import numbers
from pfpn.course.ch05_two_tasks.numbers import DRAWINGS, Balance, Runs, Start
from pfpn.engine.config import OptimConfig
from pfpn.engine.optim import learning_rate
from pfpn.model import LOSS_NAMES
from pfpn.plot.curves import loss_label
from pfpn.plot.style import (
    BLUE,
    GREEN,
    RED,
    Point,
    add_legend,
    center_text,
    draw_arrow,
    draw_grid,
    legend_below,
    open_axes,
    subplots,
)

INSTANCE, SEMANTIC, SUM = RED, BLUE, "#202020"
INSTANCE_PALE = "#f0a878"
PEAK, FIRST_STEPS = 0.002, 200  # rate after the warm-up; how many steps are drawn
TRUNK, HEADS = "#e8e8e8", {"instance": "#f6d9c4", "semantic": "#cfe3f2"}


def plot_trunk_gradients(balances: Mapping[str, Balance]) -> Figure:
    """Draw the length of each loss's gradient at the trunk, one panel for each model."""
    figure, panels = subplots(9, 3.4, 1, len(balances), sharex=True, sharey=True, squeeze=False)
    # Two hues for two sides, as in the arrows and curves that follow.
    colors = [SEMANTIC if name == "loss_semantic" else INSTANCE_PALE for name in LOSS_NAMES]
    for axes, (title, balance) in zip(panels[0], balances.items(), strict=True):
        lengths = [balance.losses.get(name, 0.0) for name in LOSS_NAMES]
        axes.barh([loss_label(name) for name in LOSS_NAMES], lengths, color=colors)
        axes.axvline(balance.instance, color=INSTANCE, linestyle="--", linewidth=1.5)
        axes.set_xscale("log")
        axes.set_title(
            f"{title}:\ncosine of the two sides {round(balance.cosine, 1) + 0.0:.1f}", fontsize=11
        )
        axes.set_xlabel("length of the gradient (log)", fontsize=10)
        axes.tick_params(labelsize=10)
        axes.grid(alpha=0.25, axis="x")
    panels[0, 0].invert_yaxis()
    handles = [
        Patch(color=INSTANCE_PALE, label="losses of the instance side"),
        Line2D([], [], color=INSTANCE, linestyle="--", label="all five together"),
        Patch(color=SEMANTIC, label="the semantic side"),
    ]
    legend_below(figure, handles, ncols=3)
    return figure


def describe_trunk_gradients(balances: Mapping[str, Balance]) -> str:
    """Return in words which side's gradient is longer, roughly, and whether the two agree."""
    words = []
    for name, balance in balances.items():
        side = "semantic" if balance.ratio > 1 else "instance"
        times = max(balance.ratio, 1 / balance.ratio)
        limit = next((limit for limit in (10, 5, 2) if times >= limit), None)
        coarse = f"more than {limit} times" if limit else "about"
        words.append(f"{name}: the {side} side's gradient is {coarse} as long")
    most = max(abs(c) for balance in balances.values() for c in balance.cosines)
    relation = "nearly at right angles" if most < 0.3 else "not at right angles"
    return "; ".join(words) + f". The gradients of the two sides are {relation}."


def plot_starts(starts: Sequence[Start], num_classes: int, trained: float) -> Figure:
    """Draw the first semantic loss and the balance at the trunk: a dot for each seed.

    Args:
        starts: fresh networks.
        num_classes: of the semantic head; log(num_classes) is the loss of a head without any idea.
        trained: ratio of the gradients in a trained network, for comparison.
    """
    figure, (losses, ratios) = subplots(9, 2.3, 1, 2, width_ratios=(1, 1.2), sharey=True)
    rows = {drawing: row for row, drawing in enumerate(DRAWINGS)}
    for start in starts:
        losses.plot(start.loss, rows[start.drawing], "o", color=SEMANTIC, alpha=0.7)
        ratios.plot(start.ratio, rows[start.drawing], "o", color=SUM, alpha=0.7)
    know_nothing = math.log(num_classes)
    losses.axvline(know_nothing, color="0.4", linestyle="--")
    losses.annotate(f"log {num_classes}", (know_nothing, -0.55), (4, 0), fontsize=8,
                    textcoords="offset points", va="center")  # fmt: skip
    losses.set(xlim=(0, None), xlabel="first semantic loss (nats)")
    ratios.plot(trained, len(rows), "D", color=SUM)
    ratios.axvline(1, color="0.4", linestyle="--")
    ratios.set(xscale="log", xlabel="semantic gradient / instance gradient (log)")
    ratios.set_xticks([0.1, 0.3, 1, 3, 10, 30], ["0.1", "0.3", "1", "3", "10", "30"])
    ratios.minorticks_off()
    ratios.set_xlim(0.03, 40)
    names = [*(f"fresh, {drawing}" for drawing in rows), "trained"]
    losses.set_yticks(range(len(names)), names)
    losses.set_ylim(len(rows) + 0.5, -0.8)
    for axes in (losses, ratios):
        draw_grid(axes, axis="y")
        open_axes(axes).tick_params(labelsize=10)
    return figure


def describe_starts(starts: Sequence[Start], num_classes: int, trained: float) -> str:
    """Return in words what `plot_starts` shows."""
    words = []
    for drawing in DRAWINGS:
        losses, ratios = zip(
            *((s.loss, s.ratio) for s in starts if s.drawing == drawing), strict=True
        )
        words.append(
            f"fresh, {drawing}, {len(losses)} seeds: first loss {min(losses):.2f} to "
            f"{max(losses):.2f}, ratio {min(ratios):.2f} to {max(ratios):.2f}"
        )
    return (
        f"First semantic loss, and semantic gradient divided by instance gradient at the trunk. "
        f"{'; '.join(words)}; trained: ratio {trained:.2f}. log {num_classes} is "
        f"{math.log(num_classes):.2f}."
    )


def plot_cosines(balances: Mapping[str, Balance]) -> Figure:
    """Draw the cosines of two tasks on one batch beside those of one task on two batches."""
    figure, panels = subplots(9, 2.2, 1, len(balances), sharey=True, squeeze=False)
    names = ("two tasks, one batch", "semantic, two batches", "instance, two batches")
    colors = (SUM, SEMANTIC, INSTANCE)
    for axes, (title, balance) in zip(panels[0], balances.items(), strict=True):
        rows = (balance.cosines, balance.same_task["semantic"], balance.same_task["instance"])
        axes.axvline(0, color="0.4", linestyle="--", linewidth=1)
        for y, (cosines, color) in enumerate(zip(rows, colors, strict=True)):
            axes.plot(cosines, [y] * len(cosines), "o", color=color, alpha=0.6)
        axes.set(xlim=(-1, 1), xlabel="cosine of two gradients")
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        draw_grid(axes, axis="y")
        open_axes(axes).set_title(title, fontsize=11)
    return figure


def describe_cosines(balances: Mapping[str, Balance]) -> str:
    """Return in words what `plot_cosines` shows."""
    words = []
    for title, balance in balances.items():
        ranges = [
            f"{min(values):.2f} to {max(values):.2f}"
            for values in (
                balance.cosines,
                *(balance.same_task[k] for k in ("semantic", "instance")),
            )
        ]
        words.append(
            f"{title}: two tasks on one batch {ranges[0]}; one task on two batches: semantic "
            f"{ranges[1]}, instance {ranges[2]}"
        )
    return f"Cosines between gradients at the trunk. {'. '.join(words)}."


def plot_gradient_sum(balance: Balance, weight: float) -> Figure:
    """Draw both sides' gradients and their sum, with a weight on the semantic loss."""
    figure, axes = subplots(3.4, 2.9)
    vectors = balance.vectors(weight)
    length = max(map(abs, vectors))
    colors = {"instance": INSTANCE, "semantic": SEMANTIC, "sum": SUM}
    for vector, (name, color) in zip(vectors, colors.items(), strict=True):
        tip = (vector.real / length, vector.imag / length)
        draw_arrow(axes, (0, 0), tip, color=color, mutation_scale=14, linewidth=2.2)
        axes.plot([], [], color=color, linewidth=2.2, label=name)
    to_instance, to_semantic = balance.sum_angles(weight)
    axes.set_title(
        f"sum is {to_instance:.0f} deg off instance,\n{to_semantic:.0f} deg off semantic",
        fontsize=9.5,
    )
    axes.set(xlim=(-0.35, 1.15), ylim=(-0.15, 1.15), aspect="equal", xticks=[], yticks=[])
    add_legend(axes, fontsize=8.5, loc="upper right")
    return figure


def plot_tradeoff(runs: Runs, title: str = "held-out quality") -> Figure:
    """Draw PQ of things and stuff, and both losses, against the weight of the semantic loss."""
    figure, (quality, losses) = subplots(9, 3.1, 1, 2)
    curves = (
        (quality, "pq_th", INSTANCE, "things"), (quality, "pq_st", SEMANTIC, "stuff"),
        (quality, "pq", SUM, "all"), (losses, "loss_instance", INSTANCE, "instance side"),
        (losses, "loss_semantic", SEMANTIC, "semantic"),
    )  # fmt: skip
    for axes, key, color, name in curves:
        weights, values = zip(*numbers.spread_by_weight(runs, key).items(), strict=True)
        axes.plot(weights, [s.mean for s in values], color=color, marker="o", label=name)
        if any(s.num > 1 for s in values):
            low, high = [s.low for s in values], [s.high for s in values]
            axes.fill_between(weights, low, high, color=color, alpha=0.18, linewidth=0)
    quality.set(ylabel="PQ (%)", title=title)
    losses.set(ylabel="loss, unweighted (log)", title="training losses at the end", yscale="log")
    for axes in (quality, losses):
        axes.set(xscale="log", xlabel="weight of the semantic loss")
        axes.grid(alpha=0.25)
        add_legend(axes)
        axes.title.set_fontsize(9)
    # Less than a decade: powers of ten would leave one readable number.
    losses.set_yticks([0.1, 0.2, 0.4, 1, 2, 4])
    losses.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    losses.yaxis.set_minor_formatter(NullFormatter())
    lowest = min(run["loss_semantic"] for run in runs)
    highest = max(run["loss_instance"] for run in runs)
    losses.set_ylim(min(lowest, highest) / 1.3, max(lowest, highest) * 1.3)
    return figure


def describe_tradeoff(runs: Runs) -> str:
    """Return in words at which weight things and stuff are best, in whole points of PQ."""
    words = []
    for key, name in (("pq_th", "things"), ("pq_st", "stuff")):
        means = {weight: s.mean for weight, s in numbers.spread_by_weight(runs, key).items()}
        best = max(means, key=lambda weight: means[weight])
        first, *_, last = means
        words.append(
            f"{name}: PQ {means[first]:.0f} at weight {first:g}, best {means[best]:.0f} "
            f"at {best:g}, {means[last]:.0f} at {last:g}"
        )
    return "; ".join(words) + "."


def plot_three_way(runs: Runs) -> Figure:
    """Draw the three networks side by side, with what was measured of each below it."""
    labels = {"instance": "RPN, boxes,\nmasks", "semantic": "semantic\nhead"}
    figure, panels = subplots(9.2, 4.0, 1, 3)
    for axes, (name, title) in zip(panels, numbers.NETWORKS.items(), strict=True):
        axes.set(xlim=(0, 10), ylim=(0, 12.6), xticks=[], yticks=[])
        axes.axis("off")
        axes.set_title(title, fontsize=11, fontweight="bold")
        _draw_box(axes, (0.4, 6.6), (1.6, 4.6), TRUNK, "image")
        _draw_box(axes, (2.7, 6.6), (2.9, 4.6), TRUNK, "ResNet\n+ FPN")
        draw_arrow(axes, (2.0, 8.9), (2.7, 8.9))
        branches = numbers.BRANCHES[name]
        heights = (8.9,) if len(branches) == 1 else (10.2, 7.6)
        for branch, height in zip(branches, heights, strict=True):
            _draw_box(axes, (6.4, height - 1.0), (3.3, 2.0), HEADS[branch], labels[branch])
            draw_arrow(axes, (5.6, height), (6.4, height))
        for row, line in enumerate(numbers.network_lines(runs, name)):
            axes.text(0.4, 5.4 - 1.15 * row, line, fontsize=8.8, va="center")
    return figure


def describe_three_way(runs: Runs) -> str:
    """Return in words what `plot_three_way` shows."""
    words = (
        f"{title}: {', '.join(numbers.network_lines(runs, n))}."
        for n, title in numbers.NETWORKS.items()
    )
    return f"Three networks drawn side by side. {' '.join(words)}"


def plot_cost(runs: Runs) -> Figure:
    """Draw PQ against compute: two networks, one of the same width, one of the same compute."""
    figure, axes = subplots(6.4, 3.3)
    costs = numbers.compute_costs(runs)
    styles = (
        ("two networks", GREEN, "s"), ("one network", INSTANCE, "o"),
        ("one wider network", SEMANTIC, "D"),
    )  # fmt: skip
    for (network, cost), (name, color, marker) in zip(costs.items(), styles, strict=True):
        values = [run["pq"] for run in runs if run["network"] == network]
        mean = numbers.spread(runs, "pq", network=network).mean
        beside = cost - 0.025 * costs["pair"]  # the mean would hide a seed that is close to it
        axes.plot([beside] * len(values), values, marker, color=color, alpha=0.35)
        axes.plot([cost], [mean], marker, color=color, markersize=9, label=name)
    axes.set(xlabel="multiply-adds of one image (million)", ylabel="PQ (%)",
             xlim=(0, 1.25 * costs["pair"]))  # fmt: skip
    axes.grid(alpha=0.25)
    add_legend(axes, fontsize=8.5, loc="upper left")
    return figure


def describe_cost(runs: Runs) -> str:
    """Return in words the PQ and the compute of each way, means over the seeds."""
    names = ("two networks", "one network", "one wider one")
    words = "; ".join(
        f"{name}: PQ {numbers.spread(runs, 'pq', network=network).mean:.1f} for {cost:.0f}"
        for name, (network, cost) in zip(names, numbers.compute_costs(runs).items(), strict=True)
    )
    num = numbers.spread(runs, "pq", network="pair").num
    return f"{words} million multiply-adds; means over {num} seeds."


def plot_warmup(config: OptimConfig, steps: int) -> Figure:
    """Draw the learning rate over a run, the warm-up enlarged beside it."""
    figure, (whole, start) = subplots(8, 2.6, 1, 2)
    rates = [learning_rate(config, step, step / steps) for step in range(steps)]
    whole.plot(rates, color=SUM)
    whole.set(title="the whole run", xlabel="step", ylabel="learning rate")
    start.plot(rates[: 2 * max(1, config.warmup_steps)], color=SUM)
    start.axvline(config.warmup_steps, color="0.5", linestyle=":")
    start.set(title="warm-up", xlabel="step")
    for axes in (whole, start):
        axes.grid(alpha=0.25)
        axes.title.set_fontsize(9)
    return figure


def plot_first_steps(
    warmup_steps: int, factor: float, yours: Callable[..., float] | None = None
) -> Figure:
    """Draw the warm-up of the first steps: a frame of an explorer.

    Args:
        warmup_steps: after so many the rate is whole.
        factor: by which the rate is multiplied at the first step.
        yours: the reader's warm-up, a function of rate, step, warmup_steps and factor.
    """
    config = OptimConfig(lr=PEAK, warmup_steps=warmup_steps, warmup_factor=factor)
    steps = range(FIRST_STEPS + 1)
    rates = [learning_rate(config, step, 0.0) for step in steps]
    figure = Figure(figsize=(3.9, 2.7))
    figure.subplots_adjust(0.19, 0.19, 0.96, 0.9)
    axes = open_axes(figure.subplots())
    axes.plot(steps, rates, color=SUM, linewidth=2, label="the package's")
    axes.set(xlabel="step", ylabel="learning rate", ylim=(0, 1.25 * PEAK))
    axes.set_yticks([0, PEAK / 2, PEAK], ["0", f"{PEAK / 2:g}", f"{PEAK:g}"])
    axes.grid(alpha=0.25)
    if yours is not None:
        own = [float(yours(PEAK, step, warmup_steps, factor)) for step in steps]
        axes.plot(steps, own, color=INSTANCE, linestyle="--", linewidth=2, label="yours")
        wrong = [k for k in steps if not math.isclose(own[k], rates[k], rel_tol=1e-4, abs_tol=1e-9)]
        axes.set_title(f"differs first at step {wrong[0]}" if wrong else "yours is the same")
        axes.title.set_fontsize(9)
        add_legend(axes, fontsize=8, loc="lower right")
    return figure


def describe_warmup(config: OptimConfig, steps: int) -> str:
    """Return in words what `plot_warmup` shows of a linear schedule."""
    return (
        f"from {config.warmup_factor:g} times {config.lr:g} it rises in {config.warmup_steps} "
        f"steps, stays at {config.lr:g}, and falls linearly over the last "
        f"{100 * (1 - config.decay_start):.0f} % of {steps} steps."
    )


def _draw_box(axes: Any, corner: Point, size: Point, color: str, text: str) -> None:
    axes.add_patch(
        FancyBboxPatch(
            corner, *size, boxstyle="round,pad=0.05,rounding_size=0.25", facecolor=color,
            edgecolor="0.35", linewidth=1,
        )
    )  # fmt: skip
    center_text(axes, corner[0] + size[0] / 2, corner[1] + size[1] / 2, text, fontsize=8.5)
