"""Two tasks at one trunk: their gradients, and what was measured of runs and networks."""

import cmath
import copy
import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pfpn.model import ModelConfig, PanopticFPN
from pfpn.structures import Batch

Runs = Sequence[Mapping[str, Any]]  # "runs" of a file of benchmarks/results


# Gradients --------------------------------------------------------------------------------------


def trunk_gradients(
    model: PanopticFPN, batch: Batch, rng: torch.Generator
) -> dict[str, Float[Tensor, " p"]]:
    """Return the gradient of each loss at the shared weights (backbone and FPN), as one vector.

    In training mode, on a copy: batch norm's running statistics stay as they are.
    """
    return _losses_and_gradients(model, batch, rng)[1]


def _losses_and_gradients(
    model: PanopticFPN, batch: Batch, rng: torch.Generator
) -> tuple[dict[str, float], dict[str, Float[Tensor, " p"]]]:
    model = copy.deepcopy(model).train()
    shared = [
        p for part in (model.backbone, model.fpn) for p in part.parameters() if p.requires_grad
    ]
    vectors, losses = {}, model.losses(batch, rng)
    for name, loss in losses.items():
        parts = torch.autograd.grad(
            loss, shared, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        vectors[name] = torch.cat([part.flatten() for part in parts])
    return {name: float(loss.detach()) for name, loss in losses.items()}, vectors


def _sides(
    vectors: Mapping[str, Float[Tensor, " p"]],
) -> tuple[Float[Tensor, " p"], Float[Tensor, " p"]]:
    """Return the gradients of the instance side's sum and of the semantic loss."""
    instance = torch.stack([v for name, v in vectors.items() if name != "loss_semantic"]).sum(0)
    return instance, vectors["loss_semantic"]


def _cosine(one: Float[Tensor, " p"], other: Float[Tensor, " p"]) -> float:
    return float(torch.cosine_similarity(one, other, dim=0))


@dataclass(frozen=True, slots=True)
class Balance:
    """Lengths of the losses' gradients at the trunk, and their directions; means over batches."""

    losses: dict[str, float]  # length of each loss's gradient
    instance: float  # length of the sum over the instance side
    semantic: float
    cosine: float  # between the two sides
    cosines: tuple[float, ...]  # of each batch
    # By side: cosines between its gradients on two batches, for every pair of batches
    same_task: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

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
    instances: list[Tensor] = []
    semantics: list[Tensor] = []
    for number, batch in enumerate(batches):
        vectors = trunk_gradients(model, batch, torch.Generator().manual_seed(seed + number))
        for name, vector in vectors.items():
            lengths.setdefault(name, []).append(float(vector.norm()))
        instance, semantic = _sides(vectors)
        instances.append(instance)
        semantics.append(semantic)
    cosines = tuple(map(_cosine, instances, semantics))
    return Balance(
        {name: statistics.mean(values) for name, values in lengths.items()},
        statistics.mean(float(vector.norm()) for vector in instances),
        statistics.mean(float(vector.norm()) for vector in semantics),
        statistics.mean(cosines),
        cosines,
        {
            side: tuple(_cosine(*pair) for pair in itertools.combinations(vectors, 2))
            for side, vectors in (("instance", instances), ("semantic", semantics))
        },
    )


def cosine_range(gradients: Sequence[Mapping[str, Float[Tensor, " p"]]]) -> tuple[float, float]:
    """Return the lowest and the highest cosine between the instance side's gradients.

    Args:
        gradients: two or more results of `trunk_gradients`.
    """
    instances = [_sides(vectors)[0] for vectors in gradients]
    cosines = [_cosine(*pair) for pair in itertools.combinations(instances, 2)]
    return min(cosines), max(cosines)


# Initialisation ---------------------------------------------------------------------------------

# How the semantic classifier's weights are drawn: as the package and detectron2 do, or with the
# standard deviation that the RPN's and the box head's classifiers have.
DRAWINGS = {"Kaiming, fan-out": None, "std 0.01": 0.01}


@dataclass(frozen=True, slots=True)
class Start:
    """A network before its first step."""

    drawing: str  # one of DRAWINGS
    seed: int
    loss: float  # semantic, in nats
    ratio: float  # length of the semantic gradient at the trunk by that of the instance gradient


def draw_network(config: ModelConfig, seed: int, drawing: str) -> PanopticFPN:
    """Return a fresh network of a seed whose semantic classifier is drawn in one of two ways.

    Both ways share every other weight.

    Args:
        config: of the network.
        seed: of all weights.
        drawing: one of DRAWINGS.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = PanopticFPN(config)
        std = DRAWINGS[drawing]
        if std is not None:
            nn.init.normal_(model.semantic_head.classify.weight, std=std)
    return model


def measure_starts(config: ModelConfig, batch: Batch, seeds: Sequence[int]) -> list[Start]:
    """Return the first semantic loss and the balance at the trunk, by drawing and seed."""
    starts = []
    for drawing, seed in itertools.product(DRAWINGS, seeds):
        model = draw_network(config, seed, drawing)
        rng = torch.Generator().manual_seed(seed)
        losses, vectors = _losses_and_gradients(model, batch, rng)
        instance, semantic = (float(vector.norm()) for vector in _sides(vectors))
        starts.append(Start(drawing, seed, losses["loss_semantic"], semantic / instance))
    return starts


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
