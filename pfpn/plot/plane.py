"""Any loss of any network on a plane through its weights: `plot.landscape` for everybody's models.

    plane = evaluate_plane(network, {"loss": lambda net: F.cross_entropy(net(images), labels)})
    figure = plot_plane(plane)

What such a picture shows and what it cannot show is told at the top of `plot.landscape`; so is what
"kept" and "batch" mean for batch norm, and why each filter of a direction is as long as the filter
that it is added to.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor, nn
from tqdm import tqdm

from pfpn.plot.landscape import (
    DEFAULT_STEPS,
    Statistics,
    moved,
    moved_parameters,
    norm_statistics,
    random_direction,
)
from pfpn.plot.surface import CONTOUR_COLOR, DOT_COLOR, PALE_COLORS, SURFACE_COLORS

MAX_LOSSES = 3  # side by side on a page
FLAT = 1e-9  # a smaller difference is none
REPEATED = 0.01  # two values of one network may differ by this fraction, as they do on some GPUs
PANEL = 2.9  # inches: width of a panel


@dataclass(frozen=True, slots=True)
class Plane:
    """Losses over a square grid of the plane: row i is the second direction, column j the first."""

    axis: Float[np.ndarray, " k"]  # of both directions, in lengths of the filters
    values: dict[str, Float[np.ndarray, "k k"]]  # by the names that the losses were given
    num_weights: int  # moved along the directions


@torch.no_grad()
def evaluate_plane(
    model: nn.Module,
    losses: Mapping[str, Callable[[nn.Module], float | Tensor]],
    *,
    steps: int = DEFAULT_STEPS,
    reach: float = 1.0,
    seed: int = 0,
    statistics: Statistics = "kept",
    parts: Sequence[str] | None = None,
    progress: bool = False,
) -> Plane:
    """Evaluate losses on a square grid of a random plane through the weights of a network.

    Args:
        model: its weights, buffers and mode are the same afterwards.
        losses: by name, functions of the network that return one number, on data of their own: the
            same at every call, or the surface would be noise.
        steps: points along each axis; odd, so that the network itself is the middle one.
        reach: of the axes, in lengths of the filters.
        seed: of the two directions.
        statistics: of batch norm, "kept" or "batch".
        parts: names of the model's modules whose weights are moved, such as ["layer4", "fc"]; None
            moves all.
        progress: show a bar.

    Raises:
        ValueError: an even number of steps; no losses, or one that returns no number, or another
            number each time; parts without parameters, or whose filters are all zero.
    """
    _require_options(losses, steps, reach, statistics)
    axis = np.linspace(-reach, reach, steps)
    axis[steps // 2] = 0.0
    rng = torch.Generator().manual_seed(seed)
    first, second = (random_direction(model, rng, parts) for _ in range(2))
    values = {name: np.empty((steps, steps)) for name in losses}
    with norm_statistics(model, statistics), tqdm(total=steps**2, disable=not progress) as bar:
        _require_repeatable(model, losses)
        for i, y in enumerate(axis.tolist()):
            for j, x in enumerate(axis.tolist()):
                with moved(model, first, second, x, y):
                    for name, loss in losses.items():
                        values[name][i, j] = _number(name, loss(model))
                bar.update()
    num_weights = sum(weight.numel() for weight in moved_parameters(model, parts).values())
    return Plane(axis, values, num_weights)


def _require_options(losses: Any, steps: Any, reach: float, statistics: str) -> None:
    if not isinstance(steps, int) or steps < 1 or steps % 2 == 0:
        raise ValueError(f"evaluate_plane: found steps {steps}, expected an odd number")
    if not (math.isfinite(reach) and reach > 0):
        raise ValueError(f"evaluate_plane: found reach {reach}, expected a length above 0")
    if statistics not in ("kept", "batch"):
        raise ValueError(f"evaluate_plane: found statistics {statistics!r}, expected kept or batch")
    if not isinstance(losses, Mapping) or not losses:
        given = "no losses" if isinstance(losses, Mapping) else type(losses).__name__
        raise ValueError(
            f"evaluate_plane: found {given}, expected one or more losses by name. "
            'Try {"loss": lambda net: ...}'
        )


def _require_repeatable(model: nn.Module, losses: Mapping[str, Callable[..., Any]]) -> None:
    """Raise ValueError if a loss of the network itself differs from call to call."""
    for name, loss in losses.items():
        one, other = (_number(name, loss(model)) for _ in range(2))
        is_same = math.isclose(one, other, rel_tol=REPEATED, abs_tol=FLAT) or one != one
        if not is_same:
            raise ValueError(
                f"evaluate_plane: found {one:.6g} and then {other:.6g} as {name!r} of the same "
                "weights, expected one value: the surface would be noise. Try a batch and random "
                "numbers that are drawn once, outside of the loss, and no net.train() in it."
            )


def _number(name: str, value: Any) -> float:
    is_number = value.numel() == 1 if isinstance(value, Tensor) else isinstance(value, Real)
    if not is_number:
        kind = type(value).__name__
        given = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else kind
        raise ValueError(
            f"evaluate_plane: found {given} as {name!r}, expected one number. Try its mean, or its "
            "entry with the loss."
        )
    return float(value)


def plot_plane(plane: Plane, tops: Mapping[str, float] | None = None) -> Figure:
    """Draw up to three losses of one plane: as surfaces above, as contours below.

    Args:
        plane: what `evaluate_plane` returned.
        tops: the largest value that is drawn of a loss; by default its largest finite one. Colors
            and heights begin at its smallest.
    """
    if len(plane.values) > MAX_LOSSES:
        raise ValueError(
            f"plot_plane: found {len(plane.values)} losses, expected at most {MAX_LOSSES}. Draw "
            "them in several figures."
        )
    if len(plane.axis) < 2:
        raise ValueError(
            "plot_plane: found a plane of one point, expected more. Try steps=31 in evaluate_plane."
        )
    unknown = sorted((tops or {}).keys() - plane.values.keys())
    if unknown:
        raise ValueError(
            f"plot_plane: found a top for {unknown[0]!r}, expected one of {', '.join(plane.values)}"
        )
    num = len(plane.values)
    figure = Figure(figsize=(PANEL * num, 5.2))
    for column, (name, value) in enumerate(plane.values.items()):
        finite = value[np.isfinite(value)]
        low = float(finite.min()) if len(finite) else 0.0
        top = (tops or {}).get(name, float(finite.max()) if len(finite) else low)
        top = top if top - low > FLAT else low + 1
        drawn = np.nan_to_num(value, nan=top, posinf=top, neginf=low).clip(low, top)
        left = (column + 0.06) / num
        above: Any = figure.add_axes(
            (left, 0.45, 0.88 / num, 0.43), projection="3d", computed_zorder=False
        )
        _draw_solid(above, plane.axis, drawn, low, top)
        above.set_title(name, y=0.99)
        below = figure.add_axes((left + 0.15 / num, 0.085, 0.6 / num, 0.33))
        _draw_flat(figure, below, plane.axis, drawn, low, top)
        if column == 0:
            below.set_ylabel("direction 2", labelpad=0)
    figure.suptitle(
        f"A plane through {plane.num_weights:,} weights\nthe network itself: red dot", fontsize=10
    )
    return figure


def _draw_solid(axes: Any, axis: np.ndarray, value: np.ndarray, low: float, top: float) -> None:
    x, y = np.meshgrid(axis, axis)
    axes.plot_surface(
        x, y, value, cmap=SURFACE_COLORS, vmin=low, vmax=top, rstride=1, cstride=1,
        linewidth=0, antialiased=False,
    )  # fmt: skip
    ends = [axis[0], 0, axis[-1]]
    axes.set(zlim=(low, top), xticks=ends, yticks=ends)
    axes.set_xlabel("direction 1", fontsize=8, labelpad=-6)
    axes.set_ylabel("direction 2", fontsize=8, labelpad=-6)
    axes.tick_params(labelsize=8, pad=-3)
    axes.view_init(elev=32, azim=-60)


def _draw_flat(
    figure: Figure, axes: Any, axis: np.ndarray, value: np.ndarray, low: float, top: float
) -> None:
    levels = np.linspace(low, top, 11)
    drawn = axes.contourf(
        axis, axis, value, levels, cmap=PALE_COLORS, vmin=low, vmax=low + 1.5 * (top - low)
    )
    if np.ptp(value) > FLAT:
        axes.contour(axis, axis, value, levels[1:-1], colors=CONTOUR_COLOR, linewidths=0.6)
    axes.plot(0, 0, "o", color=DOT_COLOR, markeredgecolor="white", markersize=7)
    axes.set(aspect="equal", xlabel="direction 1")
    axes.tick_params(labelsize=8)
    ticks = [low, (low + top) / 2, top]
    bar = figure.colorbar(drawn, ax=axes, ticks=ticks, shrink=0.75, pad=0.03, format="%.3g")
    bar.ax.tick_params(labelsize=8)


def describe_plane(plane: Plane) -> str:
    """Return in words what `plot_plane` shows."""
    middle = len(plane.axis) // 2
    words = []
    for name, grid in plane.values.items():
        ring = np.concatenate([grid[0], grid[-1], grid[1:-1, 0], grid[1:-1, -1]])
        finite = ring[np.isfinite(ring)]
        edge = f"{finite.min():.3g} to {finite.max():.3g}" if len(finite) else "not finite"
        value = grid[middle, middle]
        here = f"{value:.3g}" if math.isfinite(value) else "not finite"
        words.append(f"{name}: {here} at the network itself, {edge} at the edge of the square")
    return (
        f"Losses over a plane through {plane.num_weights:,} weights, as surfaces and as contours, "
        f"with a red dot at the network itself. {'; '.join(words)}. Two random directions out of "
        "many can show no more."
    )
