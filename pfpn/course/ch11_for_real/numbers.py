"""The learning rate of a whole run, and the time of the stages of a prediction."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from pfpn.engine.config import TrainConfig
from pfpn.engine.optim import batch_factor, learning_rate

Rows = Sequence[Mapping[str, Any]]


def learning_rates(config: TrainConfig, steps: Int[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """Return the learning rate at each step, scaled to the batch size."""
    rates = [learning_rate(config.optim, int(step), step / config.max_steps) for step in steps]
    return batch_factor(config) * np.array(rates)


def shared_stages(rows: Rows, edge: int) -> list[Mapping[str, Any]]:
    """Return the rows of the stages that pfpn and torchvision share, without their sums.

    Args:
        rows: "stages" of benchmarks/results/inference.json.
        edge: shortest edge of the image, pixels.

    Raises:
        ValueError: nothing was measured at this size.
    """
    shared = [row for row in rows if row["edge"] == edge and "torchvision" in row]
    if not shared:
        edges = sorted({row["edge"] for row in rows})
        raise ValueError(f"shared_stages: found no stage at {edge} pixels, there are {edges}.")
    return [row for row in shared if not row["stage"].startswith("all")]
