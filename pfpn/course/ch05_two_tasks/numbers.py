"""Two tasks at one trunk: their gradients, and what was measured of runs and networks."""

import cmath
import copy
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pfpn.model import PanopticFPN
from pfpn.structures import Batch

Runs = Sequence[Mapping[str, Any]]  # "runs" of a file of benchmarks/results


# Gradients --------------------------------------------------------------------------------------


def trunk_gradients(
    model: PanopticFPN, batch: Batch, rng: torch.Generator
) -> dict[str, Float[Tensor, " p"]]:
    """Return the gradient of each loss at the shared weights (backbone and FPN), as one vector.

    In training mode, on a copy: batch norm's running statistics stay as they are.
    """
    model = copy.deepcopy(model).train()
    shared = [
        p for part in (model.backbone, model.fpn) for p in part.parameters() if p.requires_grad
    ]
    vectors = {}
    for name, loss in model.losses(batch, rng).items():
        parts = torch.autograd.grad(
            loss, shared, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        vectors[name] = torch.cat([part.flatten() for part in parts])
    return vectors


@dataclass(frozen=True, slots=True)
class Balance:
    """Lengths of the losses' gradients at the trunk, and their directions; means over batches."""

    losses: dict[str, float]  # length of each loss's gradient
    instance: float  # length of the sum over the instance side
    semantic: float
    cosine: float  # between the two sides
    cosines: tuple[float, ...]  # of each batch

    @property
    def ratio(self) -> float:
        """Length of the semantic gradient, divided by that of the instance gradient."""
        return self.semantic / self.instance

    @property
    def angle(self) -> float:
        """The angle between the gradients of the two sides, in radians."""
        return math.acos(max(-1.0, min(1.0, self.cosine)))

    def vectors(self, weight: float) -> tuple[complex, complex, complex]:
        """Return the instance gradient, the weighted semantic one and their sum, in their plane.

        The instance gradient lies along the real axis.
        """
        semantic = cmath.rect(weight * self.semantic, self.angle)
        return complex(self.instance), semantic, self.instance + semantic

    def sum_angles(self, weight: float) -> tuple[float, float]:
        """Return the degrees from the weighted sum to the instance and the semantic side."""
        total = cmath.phase(self.vectors(weight)[2])
        return math.degrees(total), math.degrees(self.angle - total)


def measure_balance(model: PanopticFPN, batches: Sequence[Batch], seed: int = 0) -> Balance:
    """Return the mean lengths and cosines of the gradients at the trunk over a few batches."""
    lengths: dict[str, list[float]] = {}
    sides: list[tuple[float, float, float]] = []
    for number, batch in enumerate(batches):
        vectors = trunk_gradients(model, batch, torch.Generator().manual_seed(seed + number))
        for name, vector in vectors.items():
            lengths.setdefault(name, []).append(float(vector.norm()))
        semantic = vectors["loss_semantic"]
        instance = torch.stack([v for n, v in vectors.items() if n != "loss_semantic"]).sum(0)
        cosine = float(torch.cosine_similarity(instance, semantic, dim=0))
        sides.append((float(instance.norm()), float(semantic.norm()), cosine))
    instances, semantics, cosines = zip(*sides, strict=True)
    return Balance(
        {name: statistics.mean(values) for name, values in lengths.items()},
        statistics.mean(instances),
        statistics.mean(semantics),
        statistics.mean(cosines),
        tuple(cosines),
    )


# Runs -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Spread:
    """A number measured with several seeds."""

    mean: float
    low: float
    high: float
    num: int

    def __str__(self) -> str:
        return f"{self.mean:.1f} ({self.low:.1f} to {self.high:.1f})"


def spread(runs: Runs, key: str, **where: Any) -> Spread:
    """Return mean and range of one number over the runs whose entries equal those of `where`.

    Raises:
        ValueError: there is no such run.
    """
    values = [run[key] for run in runs if all(run[k] == v for k, v in where.items()) and key in run]
    if not values:
        raise ValueError(f"spread: found no run with {where} that has {key!r}. Are they stored?")
    return Spread(statistics.mean(values), min(values), max(values), len(values))


def spread_by_weight(runs: Runs, key: str) -> dict[float, Spread]:
    """Return mean and range of one number for each weight of the semantic loss, in rising order."""
    weights = sorted({run["weight"] for run in runs})
    return {weight: spread(runs, key, weight=weight) for weight in weights}


# Three networks ---------------------------------------------------------------------------------

NETWORKS = {
    "mask_rcnn": "Mask R-CNN",
    "semantic_fpn": "Semantic FPN",
    "panoptic_fpn": "Panoptic FPN",
}
BRANCHES = {
    "mask_rcnn": ("instance",),
    "semantic_fpn": ("semantic",),
    "panoptic_fpn": ("instance", "semantic"),
}


def network_lines(runs: Runs, network: str) -> list[str]:
    """Return what was measured of one network, a line each."""
    lines = [
        f"{spread(runs, 'mparams', network=network).mean:.1f} million parameters",
        f"{spread(runs, 'mmacs', network=network).mean:.0f} million multiply-adds",
    ]
    if "instance" in BRANCHES[network]:
        lines.append(f"mask AP {spread(runs, 'mask_ap', network=network)}")
    if "semantic" in BRANCHES[network]:
        lines.append(f"mean IoU of stuff {spread(runs, 'stuff_miou', network=network)}")
    if len(BRANCHES[network]) == 2:
        lines.append(f"PQ {spread(runs, 'pq', network=network)}")
    return lines


def compute_costs(runs: Runs) -> dict[str, float]:
    """Return millions of multiply-adds per image: of two networks, of one, and of a wider one."""
    macs = {n: spread(runs, "mmacs", network=n).mean for n in (*NETWORKS, "panoptic_fpn_wide")}
    pair = macs.pop("mask_rcnn") + macs.pop("semantic_fpn")
    return {"pair": pair} | macs
