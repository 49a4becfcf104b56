"""Capstones that train: one step beside the package's, and a whole network from scratch."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pfpn.course.capstone_figures import plot_bars
from pfpn.course.capstone_network import Network, Outputs
from pfpn.course.capstone_parts import StageError, attempt, kind
from pfpn.course.capstone_report import (
    Capstone,
    CapstoneReport,
    Parts,
    Scores,
    heading,
    score,
    session,
    table,
    unanswered,
)
from pfpn.course.capstone_stages import CLOSE, percent
from pfpn.data.loader import collate
from pfpn.data.toy import ToyStreet
from pfpn.data.transforms import to_targets
from pfpn.engine.config import OptimConfig
from pfpn.engine.optim import build_optimizer, set_learning_rate
from pfpn.model import LOSS_NAMES, total_loss
from pfpn.structures import IGNORE, Batch, Category, Sample

Losses = dict[str, Tensor]
Step = Callable[[Network, torch.optim.Optimizer, Batch, torch.Generator], Losses]
BATCH, STEP_RATE = 4, 1e-3  # streets in a batch; learning rate of the compared steps
TRAIN_STREETS, TRAIN_SEED = 400, 0
WARMUP, RATE = 30, 2e-3  # steps; peak learning rate of the training from scratch


def package_losses(outputs: Outputs) -> Losses:
    """Return the six losses, as `PanopticFPN.losses` does."""
    on = (outputs.roi_labels < outputs.roi_deltas.shape[1]).nonzero()[:, 0]
    own = outputs.roi_deltas[on, outputs.roi_labels[on]]
    objectness = F.binary_cross_entropy_with_logits(
        outputs.anchor_logits, outputs.anchor_is_object.float(), reduction="sum"
    )
    mask = F.binary_cross_entropy_with_logits(
        outputs.mask_logits, outputs.mask_targets.float(), reduction="sum"
    )
    anchor_box = (outputs.anchor_deltas - outputs.anchor_targets).abs().sum()
    return {
        "loss_rpn_objectness": objectness / outputs.max_anchors,
        "loss_rpn_box": anchor_box / outputs.max_anchors,
        "loss_class": F.cross_entropy(outputs.class_logits, outputs.roi_labels),
        "loss_box": (own - outputs.roi_targets[on]).abs().sum() / max(1, len(outputs.roi_labels)),
        "loss_mask": mask / max(1, outputs.mask_targets.numel()),
        "loss_semantic": F.cross_entropy(
            outputs.semantic_logits, outputs.semantic_labels, ignore_index=IGNORE
        ),
    }


def package_step(
    network: Network, optimizer: torch.optim.Optimizer, batch: Batch, rng: torch.Generator
) -> Losses:
    """Take one step of training and return the losses before it."""
    losses = package_losses(network.outputs(batch, rng))
    optimizer.zero_grad()
    total_loss(losses, network.config).backward()
    optimizer.step()
    return losses


def batch_of(samples: Sequence[Sample], categories: Sequence[Category]) -> Batch:
    """Return samples with their truth as one batch."""
    items = []
    for sample in samples:
        instances, label_map = to_targets(sample, categories)
        items.append(Batch([sample.image], [instances], [label_map], [sample.image_id]))
    return collate(items)


# One step ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StepTrace:
    """What one step did: the losses before it, and the weights after it."""

    losses: dict[str, float]
    weights: dict[str, Tensor]


def run_steps(step: Step) -> tuple[list[StepTrace], Scores]:
    """Take a step on each of five batches, from the trained weights; return traces and scores."""
    shared = session()
    network = Network(shared.trained.model, shared.trained.predict, {}).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=STEP_RATE, momentum=0.9)
    traces = []
    for first in range(0, len(shared.streets), BATCH):
        batch = batch_of(shared.streets[first : first + BATCH], shared.trained.categories)
        rng = torch.Generator().manual_seed(first)
        found = require_losses(attempt("step", step, network, optimizer, batch, rng))
        weights = {name: p.detach().clone() for name, p in network.named_parameters()}
        traces.append(StepTrace({k: float(v.detach()) for k, v in found.items()}, weights))
    return traces, evaluate(network)


def require_losses(found: Any) -> Losses:
    """Return losses by name.

    Raises:
        StageError: they are no dict of the six, each a single number.
    """
    if not isinstance(found, Mapping) or set(found) != set(LOSS_NAMES):
        names = sorted(found) if isinstance(found, Mapping) else kind(found)
        raise StageError("losses", f"expected a dict with the keys {LOSS_NAMES}, found {names}")
    for name, value in found.items():
        if not isinstance(value, Tensor) or value.ndim:
            raise StageError(name, f"expected a tensor without axes, found {kind(value)}")
    return dict(found)


@cache
def package_steps() -> tuple[list[StepTrace], Scores]:
    """Return what the package's steps do, computed once a session."""
    return run_steps(package_step)


def examine_step(capstone: Capstone, parts: Parts) -> CapstoneReport:
    """Return the report on a learner's training step, taken five times beside the package's."""
    try:
        traces, scores = run_steps(parts["step"])
    except NotImplementedError:
        return unanswered(capstone)
    except StageError as error:
        return CapstoneReport(f"{heading(capstone)}\n  x {error.stage}: {error}", stage=error.stage)
    expected, ours = package_steps()
    stage, number, text = first_wrong_step(expected, traces)
    lines = [heading(capstone)]
    if not stage:
        lines += [
            f"  + the six losses are the package's, on {len(traces)} batches of {BATCH} streets",
            f"  + so are all {len(traces[0].weights)} weights after each step",
            *table(scores, ours),
        ]
        return CapstoneReport("\n".join(lines), right=True, scores=scores)
    lines.append(
        f"  x {stage}, batch {number} (streets {BATCH * number} to "
        f"{BATCH * number + BATCH - 1}): {text}"
    )
    lines += [f"  {capstone.look[stage]}"] if stage in capstone.look else []
    lines += table(scores, ours)
    if stage == "weights":
        what = f"length of the step on batch {number}, by part of the network"
        figure = plot_bars(step_lengths(expected, number), step_lengths(traces, number), what)
    else:
        what = f"losses of batch {number}"
        figure = plot_bars(expected[number].losses, traces[number].losses, what)
    alt = f"The {what}, ours beside yours. The first difference is {stage}: {text}."
    return CapstoneReport("\n".join(lines), False, stage, number, scores, figure, alt)


def first_wrong_step(
    expected: Sequence[StepTrace], found: Sequence[StepTrace]
) -> tuple[str, int, str]:
    """Return the first stage and batch that differ, and how; "" for the stage if none does."""
    for number, (ours, yours) in enumerate(zip(expected, found, strict=True)):
        for name in LOSS_NAMES:
            a, b = ours.losses[name], yours.losses[name]
            if not abs(a - b) <= CLOSE * max(abs(a), 1e-3):
                return name, number, f"expected {a:.4f}, found {b:.4f}, {b / a:.3g} times as much"
        off = [
            name
            for name, weight in ours.weights.items()
            if not torch.allclose(weight, yours.weights[name], rtol=1e-3, atol=1e-6)
        ]
        if off:
            parts = sorted({name.removeprefix("package.").partition(".")[0] for name in off})
            fraction = percent(len(off) / len(ours.weights))
            return (
                "weights",
                number,
                f"{fraction} of the weights differ after the step, in {', '.join(parts)}",
            )
    return "", 0, ""


def step_lengths(traces: Sequence[StepTrace], number: int) -> dict[str, float]:
    """Return how far the weights of each part of the network moved in one step."""
    start = session().network.named_parameters()
    before = traces[number - 1].weights if number else {name: p.detach() for name, p in start}
    squares: dict[str, float] = {}
    for name, weight in traces[number].weights.items():
        part = name.removeprefix("package.").partition(".")[0]
        squares[part] = squares.get(part, 0.0) + float((weight - before[name]).square().sum())
    return {part: value**0.5 for part, value in squares.items()}


# A training from scratch ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """How far a training is."""

    step: int
    seconds: float
    losses: dict[str, float]

    @property
    def total(self) -> float:
        """The sum of the six losses."""
        return sum(self.losses.values())


def train_from_scratch(
    parts: Parts,
    step: Step,
    *,
    max_steps: int,
    max_seconds: float = float("inf"),
    seed: int = 0,
) -> Iterator[tuple[TrainingRow, Network]]:
    """Train a network of a learner's parts with the learner's step; yield after every step.

    AdamW; the learning rate rises over 30 steps and then falls in proportion to what is left of the
    steps or of the time, whichever ends first.

    Args:
        parts: the learner's; the package's stand in for the others.
        step: takes one step of training and returns the losses.
        max_steps: stop after so many,
        max_seconds: or after this time.
        seed: of the weights, the order of the streets and the sampling.
    """
    shared = session()
    torch.manual_seed(seed)
    network = Network(shared.trained.model, shared.trained.predict, parts, pretrained=False).train()
    config = OptimConfig(optimizer="adamw", lr=RATE, weight_decay=0.02, decay_biases=False)
    optimizer = build_optimizer(network, config)
    streets = ToyStreet(TRAIN_STREETS, TRAIN_SEED)
    rng = torch.Generator().manual_seed(seed)
    drawn: dict[int, Batch] = {}
    start = time.perf_counter()
    for number in range(max_steps):
        seconds = time.perf_counter() - start
        left = 1 - max(number / max_steps, seconds / max_seconds)
        if left <= 0:
            return
        set_learning_rate(optimizer, RATE * min(1.0, (number + 1) / WARMUP) * max(0.01, left))
        chosen = torch.randperm(len(streets), generator=rng)[:BATCH].tolist()
        for index in chosen:
            if index not in drawn:
                drawn[index] = batch_of([streets[index]], shared.trained.categories)
        losses = attempt("step", step, network, optimizer, collate([drawn[i] for i in chosen]), rng)
        values = {name: float(v.detach()) for name, v in require_losses(losses).items()}
        yield TrainingRow(number + 1, time.perf_counter() - start, values), network


def evaluate(network: Network, num: int | None = None) -> Scores:
    """Return the panoptic quality of a network on the first `num` streets, or on all."""
    shared = session()
    network.eval()
    maps = []
    for sample in shared.streets[:num]:
        stages: dict[str, Any] = {}
        network.trace(sample.image, stages)
        maps.append(stages["panoptic map"])
    return score(shared.trained, shared.streets[:num], maps)
