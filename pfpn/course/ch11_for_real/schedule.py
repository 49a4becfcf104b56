"""The learning rate of a whole run, and what another batch size makes of it."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from pfpn.engine.config import TrainConfig
from pfpn.engine.optim import batch_factor, learning_rate

RATE_COLOR = "#0072b2"
REFERENCE_COLOR = "0.6"


def rates(config: TrainConfig, steps: Int[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """Return the learning rate at each step, the batch's factor included."""
    factor = batch_factor(config)
    values = [
        factor * learning_rate(config.optim, int(step), step / config.max_steps) for step in steps
    ]
    return np.array(values)


def plot_schedule(config: TrainConfig, batch_size: int) -> Figure:
    """Draw the rate over a run at two scales: all of it, and the warm-up."""
    steps = np.arange(0, config.max_steps, max(1, config.max_steps // 3000))
    start = np.arange(0, 2 * config.optim.warmup_steps + 1, 10)
    other = replace(config, batch_size=batch_size)
    figure = Figure(figsize=(8.4, 3.0), layout="constrained")
    for axes, axis in zip(figure.subplots(1, 2, sharey=True), (steps, start), strict=True):
        axes.plot(axis, rates(config, axis), color=REFERENCE_COLOR, linewidth=4,
                  label=f"{config.batch_size} images a step, as published")  # fmt: skip
        axes.plot(axis, rates(other, axis), color=RATE_COLOR, linewidth=1.8,
                  label=f"{batch_size} images a step")  # fmt: skip
        axes.set(xlabel="step", ylim=(0, None))
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set(ylabel="learning rate", title="the whole run")
    figure.axes[1].set(title="its beginning: warm-up", xticks=start[:: max(1, len(start) // 4)])
    figure.axes[1].legend(frameon=False, fontsize=9, loc="center right")
    figure.axes[0].set_ylim(0, 1.1 * max(rates(config, steps).max(), rates(other, steps).max()))
    return figure


def describe_schedule(config: TrainConfig, batch_size: int) -> str:
    """Say in words what `plot_schedule` shows."""
    other = replace(config, batch_size=batch_size)
    places = np.array([0, config.optim.warmup_steps, config.max_steps - 1])
    first, full, last = rates(other, places)
    return (
        f"The learning rate over {config.max_steps} steps for {batch_size} images a step: from "
        f"{first:.6f} it climbs to {full:.4f} in {config.optim.warmup_steps} steps, and falls to a "
        f"tenth at the steps {' and '.join(map(str, config.optim.milestones))}, to {last:.6f} at "
        f"the end. The published run has {config.batch_size} images and {config.optim.lr:g}."
    )
