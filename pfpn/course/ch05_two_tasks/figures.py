"""Two tasks at one trunk: their gradients, the trade-off of their weights, and three networks."""

import copy
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Patch
from matplotlib.ticker import NullFormatter, StrMethodFormatter
from torch import Tensor

from pfpn.engine.config import OptimConfig
from pfpn.engine.optim import learning_rate
from pfpn.model import LOSS_NAMES, PanopticFPN
from pfpn.structures import Batch

INSTANCE, SEMANTIC, SUM = "#d55e00", "#0072b2", "#202020"
INSTANCE_PALE = "#f0a878"
TRUNK, HEADS = "#e8e8e8", {"instance": "#f6d9c4", "semantic": "#cfe3f2"}


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
        found = torch.autograd.grad(loss, shared, retain_graph=True, allow_unused=True)
        parts = [
            torch.zeros_like(p) if g is None else g for g, p in zip(found, shared, strict=True)
        ]
        vectors[name] = torch.cat([part.flatten() for part in parts])
    return vectors


@dataclass(frozen=True, slots=True)
class Balance:
    """How strongly, and in which direction, the losses pull at the trunk; means over batches."""

    losses: dict[str, float]  # length of each loss's gradient
    instance: float  # length of the sum over the instance side
    semantic: float
    cosine: float  # between the two sides
    cosines: tuple[float, ...]  # of each batch

    @property
    def ratio(self) -> float:
        """How many times as long the semantic gradient is."""
        return self.semantic / self.instance


def measure_balance(model: PanopticFPN, batches: Sequence[Batch], seed: int = 0) -> Balance:
    """Measure the gradients of all losses at the trunk over a few batches."""
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


def plot_gradients(balances: Mapping[str, Balance]) -> Figure:
    """Draw the length of each loss's gradient at the trunk, one panel for each model."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    panels = figure.subplots(1, len(balances), sharex=True, squeeze=False)[0]
    for axes, (title, balance) in zip(panels, balances.items(), strict=True):
        bars = {name.removeprefix("loss_").replace("_", " "): 0.0 for name in LOSS_NAMES}
        for name in LOSS_NAMES:
            bars[name.removeprefix("loss_").replace("_", " ")] = balance.losses.get(name, 0.0)
        # Two hues for two sides, as in the arrows and curves that follow.
        colors = [SEMANTIC if name == "loss_semantic" else INSTANCE_PALE for name in LOSS_NAMES]
        axes.barh(list(bars), list(bars.values()), color=colors)
        axes.invert_yaxis()
        axes.axvline(balance.instance, color=INSTANCE, linestyle="--", linewidth=1.5)
        axes.set_xscale("log")
        axes.set_title(f"{title}: cosine of the two sides {balance.cosine:.1f}", fontsize=9)
        axes.set_xlabel("length of the gradient at the trunk (log)", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.25, axis="x")
    handles = [
        Patch(color=INSTANCE_PALE, label="losses of the instance side"),
        Line2D([], [], color=INSTANCE, linestyle="--", label="all five together"),
        Patch(color=SEMANTIC, label="the semantic side"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return figure


def describe_gradients(balances: Mapping[str, Balance]) -> str:
    """Say which side pulls harder, coarsely, and whether they pull together."""
    words = []
    for name, balance in balances.items():
        harder, times = (
            ("semantic", balance.ratio) if balance.ratio > 1 else ("instance", 1 / balance.ratio)
        )
        words.append(f"{name}: the {harder} side pulls {_coarse(times)} as hard")
    most = max(abs(c) for balance in balances.values() for c in balance.cosines)
    relation = "nearly at right angles" if most < 0.3 else "not at right angles"
    return "; ".join(words) + f". The two sides pull {relation}."


def _coarse(times: float) -> str:
    for limit in (20, 10, 5, 2):
        if times >= limit:
            return f"more than {limit} times"
    return "about"


def plot_pull(instance: float, semantic: float, cosine: float, weight: float) -> Figure:
    """Draw both gradients and their weighted sum in the plane that they span.

    Args:
        instance: length of the instance side's gradient.
        semantic: length of the semantic one, unweighted.
        cosine: of the angle between them.
        weight: of the semantic loss.
    """
    figure = Figure(figsize=(3.4, 2.9), layout="constrained")
    axes = figure.subplots()
    angle = math.acos(max(-1.0, min(1.0, cosine)))
    first = (instance, 0.0)
    second = (weight * semantic * math.cos(angle), weight * semantic * math.sin(angle))
    total = (first[0] + second[0], first[1] + second[1])
    length = max(math.hypot(*v) for v in (first, second, total))
    arrows = ((first, INSTANCE, "instance"), (second, SEMANTIC, "semantic"), (total, SUM, "sum"))
    for vector, color, name in arrows:
        tip = (vector[0] / length, vector[1] / length)
        axes.add_patch(
            FancyArrowPatch(
                (0, 0), tip, arrowstyle="-|>", mutation_scale=14, linewidth=2.2, color=color
            )
        )
        axes.plot([], [], color=color, linewidth=2.2, label=name)
    to_instance, to_semantic = pull_angles(instance, semantic, cosine, weight)
    axes.set_title(
        f"sum is {to_instance:.0f} deg off instance,\n{to_semantic:.0f} deg off semantic",
        fontsize=8.5,
    )
    axes.set(xlim=(-0.35, 1.15), ylim=(-0.15, 1.15), aspect="equal", xticks=[], yticks=[])
    axes.legend(fontsize=7.5, loc="upper right", frameon=False)
    return figure


def pull_angles(
    instance: float, semantic: float, cosine: float, weight: float
) -> tuple[float, float]:
    """Return how many degrees the weighted sum is off the instance and off the semantic side."""
    across, along = semantic * weight * math.sqrt(max(0.0, 1 - cosine**2)), cosine * semantic
    total = math.atan2(across, instance + weight * along)
    between = math.acos(max(-1.0, min(1.0, cosine)))
    return math.degrees(total), math.degrees(between - total)


def balancing_weight(balance: Balance) -> float:
    """Return the weight that makes the semantic gradient as long as the instance side's."""
    return balance.instance / balance.semantic


@dataclass(frozen=True, slots=True)
class Spread:
    """A number measured with several seeds."""

    mean: float
    low: float
    high: float
    num: int


def spread(runs: Sequence[Mapping[str, Any]], key: str, **where: Any) -> Spread:
    """Return mean and range of one number over the runs that fit `where`."""
    values = [run[key] for run in runs if all(run[k] == v for k, v in where.items()) and key in run]
    if not values:
        raise ValueError(f"spread: found no run with {where} that has {key!r}. Are they stored?")
    return Spread(statistics.mean(values), min(values), max(values), len(values))


def plot_tradeoff(runs: Sequence[Mapping[str, Any]], title: str = "") -> Figure:
    """Draw PQ of things and stuff, and both losses, against the weight of the semantic loss."""
    weights = sorted({run["weight"] for run in runs})
    figure = Figure(figsize=(9, 3.1), layout="constrained")
    quality, losses = figure.subplots(1, 2)
    curves = (
        (quality, "pq_th", INSTANCE, "things"), (quality, "pq_st", SEMANTIC, "stuff"),
        (quality, "pq", SUM, "all"), (losses, "loss_instance", INSTANCE, "instance side"),
        (losses, "loss_semantic", SEMANTIC, "semantic"),
    )  # fmt: skip
    for axes, key, color, name in curves:
        found = [spread(runs, key, weight=weight) for weight in weights]
        axes.plot(weights, [s.mean for s in found], color=color, marker="o", label=name)
        if any(s.num > 1 for s in found):
            low, high = [s.low for s in found], [s.high for s in found]
            axes.fill_between(weights, low, high, color=color, alpha=0.18, linewidth=0)
    quality.set(ylabel="PQ (%)", title=title or "held-out quality")
    losses.set(ylabel="loss, unweighted (log)", title="training losses at the end", yscale="log")
    for axes in (quality, losses):
        axes.set_xscale("log")
        axes.set_xlabel("weight of the semantic loss")
        axes.grid(alpha=0.25)
        axes.legend(fontsize=8, frameon=False)
        axes.title.set_fontsize(9)
    # Less than a decade: powers of ten would leave one readable number.
    losses.set_yticks([0.1, 0.2, 0.4, 1, 2, 4])
    losses.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    losses.yaxis.set_minor_formatter(NullFormatter())
    lowest = min(run["loss_semantic"] for run in runs)
    highest = max(run["loss_instance"] for run in runs)
    losses.set_ylim(min(lowest, highest) / 1.3, max(lowest, highest) * 1.3)
    return figure


def describe_tradeoff(runs: Sequence[Mapping[str, Any]]) -> str:
    """Say where things and stuff have their best weight, in whole points."""
    weights = sorted({run["weight"] for run in runs})
    words = []
    for key, name in (("pq_th", "things"), ("pq_st", "stuff")):
        found = {weight: spread(runs, key, weight=weight).mean for weight in weights}
        best = max(found, key=lambda weight: found[weight])
        words.append(
            f"{name}: PQ {found[weights[0]]:.0f} at weight {weights[0]:g}, best {found[best]:.0f} "
            f"at {best:g}, {found[weights[-1]]:.0f} at {weights[-1]:g}"
        )
    return "; ".join(words) + "."


THREE = {
    "mask_rcnn": "Mask R-CNN",
    "semantic_fpn": "Semantic FPN",
    "panoptic_fpn": "Panoptic FPN",
}
BRANCHES = {
    "mask_rcnn": ("instance",),
    "semantic_fpn": ("semantic",),
    "panoptic_fpn": ("instance", "semantic"),
}


def plot_three_way(runs: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the three networks side by side, with what was measured of each below it."""
    figure = Figure(figsize=(9.2, 4.0), layout="constrained")
    for axes, name in zip(figure.subplots(1, 3), THREE, strict=True):
        axes.set(xlim=(0, 10), ylim=(0, 12.6), xticks=[], yticks=[])
        axes.axis("off")
        axes.set_title(THREE[name], fontsize=11, fontweight="bold")
        _box(axes, (0.4, 6.6), (1.6, 4.6), TRUNK, "image")
        _box(axes, (2.7, 6.6), (2.9, 4.6), TRUNK, "ResNet\n+ FPN")
        _arrow(axes, (2.0, 8.9), (2.7, 8.9))
        branches = BRANCHES[name]
        for number, branch in enumerate(branches):
            height = 8.9 if len(branches) == 1 else (10.2, 7.6)[number]
            label = {
                "instance": "RPN, boxes,\nmasks",
                "semantic": "semantic\nhead",
            }[branch]
            _box(axes, (6.4, height - 1.0), (3.3, 2.0), HEADS[branch], label)
            _arrow(axes, (5.6, height), (6.4, height))
        for row, line in enumerate(three_way_lines(runs, name)):
            axes.text(0.4, 5.4 - 1.15 * row, line, fontsize=8.8, va="center")
    return figure


def three_way_lines(runs: Sequence[Mapping[str, Any]], network: str) -> list[str]:
    """Return what was measured of one network, a line each."""

    def told(key: str, digits: int = 1) -> str:
        found = spread(runs, key, network=network)
        return f"{found.mean:.{digits}f} ({found.low:.{digits}f} to {found.high:.{digits}f})"

    lines = [
        f"{spread(runs, 'mparams', network=network).mean:.1f} million parameters",
        f"{spread(runs, 'mmacs', network=network).mean:.0f} million multiply-adds",
    ]
    if "instance" in BRANCHES[network]:
        lines.append(f"mask AP {told('mask_ap')}")
    if "semantic" in BRANCHES[network]:
        lines.append(f"mean IoU of stuff {told('stuff_miou')}")
    if len(BRANCHES[network]) == 2:
        lines.append(f"PQ {told('pq')}")
    return lines


def plot_cost(runs: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw PQ against compute: two networks, one of the same width, one of the same compute."""
    figure = Figure(figsize=(6.4, 3.3), layout="constrained")
    axes = figure.subplots()
    pair = sum(spread(runs, "mmacs", network=name).mean for name in ("mask_rcnn", "semantic_fpn"))
    places = {
        "pair": ("two networks", pair, "#009e73", "s"),
        "panoptic_fpn": ("one network", None, INSTANCE, "o"),
        "panoptic_fpn_wide": ("one wider network", None, SEMANTIC, "D"),
    }
    for network, (name, known, color, marker) in places.items():
        cost = known or spread(runs, "mmacs", network=network).mean
        values = [run["pq"] for run in runs if run["network"] == network]
        axes.plot([cost] * len(values), values, marker, color=color, alpha=0.35)
        axes.plot([cost], [statistics.mean(values)], marker, color=color, markersize=9, label=name)
    axes.set(xlabel="multiply-adds of one image (million)", ylabel="PQ (%)", xlim=(0, 1.25 * pair))
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8.5, loc="upper left", frameon=False)
    return figure


def describe_cost(runs: Sequence[Mapping[str, Any]]) -> str:
    """Say what PQ each way has for how much compute, means over the seeds."""
    pair = sum(spread(runs, "mmacs", network=name).mean for name in ("mask_rcnn", "semantic_fpn"))
    words = [f"two networks: PQ {spread(runs, 'pq', network='pair').mean:.1f} for {pair:.0f}"]
    for network, name in (("panoptic_fpn", "one network"), ("panoptic_fpn_wide", "one wider one")):
        quality, cost = (spread(runs, key, network=network).mean for key in ("pq", "mmacs"))
        words.append(f"{name}: PQ {quality:.1f} for {cost:.0f}")
    num = spread(runs, "pq", network="pair").num
    return f"{'; '.join(words)} million multiply-adds; means over {num} seeds."


def plot_schedule(config: OptimConfig, steps: int) -> Figure:
    """Draw the learning rate over a run, the warm-up enlarged beside it."""
    figure = Figure(figsize=(8, 2.6), layout="constrained")
    whole, start = figure.subplots(1, 2)
    rates = [learning_rate(config, step, step / steps) for step in range(steps)]
    whole.plot(rates, color=SUM)
    whole.set(title="the whole run", xlabel="step", ylabel="learning rate")
    shown = min(steps, 2 * max(1, config.warmup_steps))
    start.plot(rates[:shown], color=SUM)
    start.axvline(config.warmup_steps, color="0.5", linestyle=":")
    start.set(title="warm-up", xlabel="step")
    for axes in (whole, start):
        axes.grid(alpha=0.25)
        axes.title.set_fontsize(9)
    return figure


def _box(
    axes: Any, corner: tuple[float, float], size: tuple[float, float], color: str, text: str
) -> None:
    axes.add_patch(
        FancyBboxPatch(
            corner, *size, boxstyle="round,pad=0.05,rounding_size=0.25", facecolor=color,
            edgecolor="0.35", linewidth=1,
        )
    )  # fmt: skip
    x, y = corner[0] + size[0] / 2, corner[1] + size[1] / 2
    axes.text(x, y, text, ha="center", va="center", fontsize=8.5)


def _arrow(axes: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=10, color="0.3"))
