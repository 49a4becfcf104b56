"""Curves of a training: losses, learning rate and PQ over the steps."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from pfpn.model import LOSS_NAMES
from pfpn.plot.style import BLUE, GREEN, ORANGE, PINK, RED, SKY

COLORS = dict(zip(LOSS_NAMES, (BLUE, SKY, ORANGE, RED, PINK, GREEN), strict=True))


def plot_curves(rows: Sequence[Mapping[str, Any]], smoothing: float = 0.8) -> Figure:
    """Draw the six losses, their total, the learning rate and, if it was measured, the PQ.

    Args:
        rows: of metrics.jsonl, see `pfpn.engine.train.read_rows`.
        smoothing: how much of a running mean is kept from row to row, in [0, 1); the rows
            themselves are drawn in pale. 0 draws them as they are.
    """
    if not 0 <= smoothing < 1:
        raise ValueError(f"plot_curves: smoothing is {smoothing}, expected 0 up to below 1")
    trained = [row for row in rows if row.get("kind") == "train"]
    evaluated = [row for row in rows if row.get("kind") == "eval"]
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    parts, total, rate = figure.subplots(1, 3)

    for name in LOSS_NAMES:
        if any(name in row for row in trained):
            draw_curve(parts, trained, name, smoothing, COLORS[name])
    if parts.lines:
        parts.legend(fontsize="x-small", frameon=False)
        parts.set_yscale("log")
    parts.set(title="the six losses", xlabel="step", ylabel="loss (log scale)")

    draw_curve(total, trained, "loss", smoothing, "black")
    total.set(title="weighted total", xlabel="step", ylabel="loss")
    if trained:
        total.set_ylim(bottom=0)

    rate.plot([row["step"] for row in trained], [row["lr"] for row in trained], color="0.45")
    rate.set(title="learning rate", xlabel="step", ylabel="learning rate")
    if evaluated:
        quality = rate.twinx()
        quality.plot(
            [row["step"] for row in evaluated],
            [100 * row["pq"] for row in evaluated],
            color=GREEN,
            marker="o",
        )
        quality.set(ylabel="PQ on validation images (%)", ylim=(0, 100))
        rate.set_title("learning rate and PQ")
    if smoothing and trained:
        figure.supxlabel(
            f"bold: running mean that keeps {smoothing:g} from row to row; pale: rows as logged",
            fontsize="x-small",
        )
    return figure


def draw_curve(
    axes: Any, rows: Sequence[Mapping[str, Any]], name: str, smoothing: float, color: str
) -> None:
    """Draw one value over the steps: the logged values pale, their running mean bold."""
    logged = [row for row in rows if name in row]
    steps = [row["step"] for row in logged]
    values = [row[name] for row in logged]
    if smoothing:
        axes.plot(steps, values, color=color, alpha=0.25, linewidth=0.8)
    means = running_mean(values, smoothing)
    axes.plot(steps, means, color=color, linewidth=1.5, label=loss_label(name))


def loss_label(name: str) -> str:
    """Return the name of a loss as figures write it: "rpn box" for "loss_rpn_box"."""
    return name.removeprefix("loss_").replace("_", " ")


def running_mean(values: Sequence[float], keep: float) -> list[float]:
    """Return the running mean: each step back, a value's weight is multiplied by `keep`."""
    mean, weight, means = 0.0, 0.0, []
    for value in values:
        mean = keep * mean + (1 - keep) * value
        weight = keep * weight + (1 - keep)  # corrects for the start at 0
        means.append(mean / weight)
    return means
