"""Loss landscapes: the loss of a trained network on a plane through its weights.

`plot.surface` draws losses over the scores of two pixels. Here the same losses are drawn over the
weights of the network that computes the scores: each point is the trained weights plus a step along
each of two random directions, and its height is the semantic branch's loss on one fixed batch.

Comparable directions. The output of a network does not change when the weights before a norm layer
are scaled, so the length of a plain random direction has no meaning. Each filter of a direction is
therefore given the length of the filter of the network that it is added to; biases and the weights
of norm layers do not move. Then 1 on an axis is "every filter is moved by its own length".

Batch norm. "kept": the running statistics stay those of the trained network, as in inference and in
the published code, so the middle is the loss of the trained network itself. "batch": each point
computes its statistics from the batch, as training does; scaled weights then make no difference.

What such a picture shows: how fast the loss grows around the weights, how two losses compare on the
same plane. What it cannot show: these are two directions of millions. A random direction is almost
surely not the one that training takes, a plane can look convex where the loss is not, and a bump
outside of the plane is not in the picture.

Source: Li, Xu, Taylor, Studer, Goldstein, "Visualizing the loss landscape of neural nets",
NeurIPS 2018, section 4; for the plane of a training's path, section 7.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Inexact, Int
from matplotlib.figure import Figure
from torch import Tensor, nn
from tqdm import tqdm

from pfpn.data.transforms import to_label_map
from pfpn.files import write_atomically
from pfpn.losses.lovasz import lovasz_softmax_from_logits
from pfpn.losses.segmentation import pixel_cross_entropy
from pfpn.model import PanopticFPN, stack_label_maps
from pfpn.plot.surface import CONTOUR_COLOR, DOT_COLOR, PALE_COLORS, SURFACE_COLORS
from pfpn.quality import SemanticQuality
from pfpn.semantic import upsample_logits
from pfpn.structures import IGNORE, Sample

Statistics = Literal["kept", "batch"]
Direction = dict[str, Tensor]  # by the name of the parameter

# Title, and the largest value that is drawn
LANDSCAPE_LOSSES: dict[str, tuple[str, float]] = {
    "cross_entropy": ("cross-entropy", 4.0),
    "lovasz_softmax": ("Lovász-Softmax", 1.0),
    "miou_loss": ("1 - mIoU", 1.0),
}
MOVED = ("backbone", "fpn", "semantic_head")  # what the semantic branch is computed by
DEFAULT_STEPS = 31  # points along each axis: 961 in all, a minute and a half on one core
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Landscape:
    """Losses over a square grid of the plane: row i is the second direction, column j the first."""

    axis: Float[np.ndarray, " k"]  # of both directions
    values: dict[str, Float[np.ndarray, "k k"]]  # by the keys of LANDSCAPE_LOSSES
    statistics: Statistics
    num_weights: int  # of the network, moved along the directions


@dataclass(frozen=True, slots=True)
class SemanticBatch:
    """The images that are evaluated at every point, and the semantic branch's truth."""

    images: Float[Tensor, "b 3 h w"]  # as the network takes them
    labels: Int[Tensor, "b h w"]


# Directions -------------------------------------------------------------------------------------


def random_direction(
    model: nn.Module, rng: torch.Generator, parts: Sequence[str] | None = MOVED
) -> Direction:
    """Return a random direction in weight space, each filter as long as the network's own.

    Parameters of one axis (biases, norm layers) get zeros; complex ones get complex directions.

    Args:
        model: whose weights are moved.
        rng: draws the direction.
        parts: see `moved_parameters`.

    Raises:
        ValueError: the network has no such parameters, or none with a length: the surface would
            be flat.
    """
    direction = {}
    for name, weight in moved_parameters(model, parts).items():
        if weight.ndim < 2:
            direction[name] = torch.zeros_like(weight)
            continue
        dtype = torch.complex64 if weight.is_complex() else None
        noise = torch.randn(weight.shape, generator=rng, dtype=dtype).to(weight)
        direction[name] = normalize_filters(noise, weight.detach())
    if not any(bool(step.any()) for step in direction.values()):
        raise ValueError(
            f"random_direction: found only biases, norm layers and filters of zeros in "
            f"{', '.join(direction)}, expected filters with a length. Without them the surface "
            "would be flat. Try a trained network, or other parts."
        )
    return direction


def normalize_filters(
    direction: Inexact[Tensor, "n *rest"], weight: Inexact[Tensor, "n *rest"]
) -> Inexact[Tensor, "n *rest"]:
    """Scale each filter (row) of a direction to the Euclidean length of that filter of a weight."""
    rest = (1,) * (weight.ndim - 1)
    lengths = [tensor.flatten(1).norm(dim=1).view(-1, *rest) for tensor in (direction, weight)]
    return direction * (lengths[1] / lengths[0].clamp(min=1e-12))


def moved_parameters(
    model: nn.Module, parts: Sequence[str] | None = MOVED
) -> dict[str, nn.Parameter]:
    """Return the parameters of some parts of a network, by name; integers are none.

    Args:
        model: any network.
        parts: names of its modules, with dots for those further inside, or of its parameters; None
            takes all. The default is what the semantic branch of a PanopticFPN depends on.

    Raises:
        ValueError: a part that is not there, or parameters that are none or have no values yet.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"moved_parameters: found {type(model).__name__}, expected an nn.Module")
    names = [parts] if isinstance(parts, str) else parts
    known = {name for name, _ in (*model.named_modules(), *model.named_parameters())}
    parameters = {
        name: parameter
        for name, parameter in model.named_parameters()
        if (names is None or any(f"{name}.".startswith(f"{part}.") for part in names))
        and (parameter.is_floating_point() or parameter.is_complex())
    }
    if not parameters or not known.issuperset(names or ()):
        there = dict.fromkeys(name.split(".")[0] for name, _ in model.named_parameters())
        raise ValueError(
            f"moved_parameters: found a {type(model).__name__} with parameters in "
            f"{', '.join(there) or 'no part'}, expected some in {', '.join(names or ['any'])}. "
            "Without them the surface would be flat. Try a PanopticFPN with a semantic branch, or "
            "for another network parts=None."
        )
    for name, parameter in parameters.items():
        if parameter.is_meta or isinstance(parameter, nn.parameter.UninitializedParameter):
            raise ValueError(
                f"moved_parameters: found {name} without values, expected a network on a device. "
                "Load its weights, or show a network of lazy layers a batch first."
            )
    return parameters


@contextmanager
def moved(
    model: nn.Module, first: Direction, second: Direction, x: float, y: float
) -> Iterator[None]:
    """Move the weights by x along one direction and by y along another, for a while."""
    parameters = {name: model.get_parameter(name) for name in first}
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    try:
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.add_(x * first[name] + y * second[name])
        yield
    finally:
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(before[name])


# Evaluation -------------------------------------------------------------------------------------


def semantic_batch(model: PanopticFPN, samples: Sequence[Sample]) -> SemanticBatch:
    """Return samples of a data set as the batch that `semantic_losses` expects."""
    images, _ = model.stack([sample.image for sample in samples])
    maps = [to_label_map(sample.panoptic, model.config.num_things) for sample in samples]
    return SemanticBatch(images, stack_label_maps(maps, (images.shape[2], images.shape[3])))


@torch.no_grad()
def semantic_losses(model: PanopticFPN, batch: SemanticBatch) -> dict[str, float]:
    """Return every loss of LANDSCAPE_LOSSES of the semantic branch, at the resolution of the truth.

    Lovász-Softmax and 1 - mIoU are of the whole batch at once; the mean IoU over the classes that
    are in the truth or predicted.
    """
    logits = upsample_logits(model.semantic_head(model.pyramid(batch.images)))
    quality = SemanticQuality([str(label) for label in range(logits.shape[1])])
    quality.update(batch.labels.flatten(0, 1), logits.argmax(1).flatten(0, 1))
    miou = quality.compute().miou
    return {
        "cross_entropy": float(pixel_cross_entropy(logits, batch.labels)),
        "lovasz_softmax": float(lovasz_softmax_from_logits(logits, batch.labels, ignore=IGNORE)),
        "miou_loss": 1 - miou if miou is not None else 0.0,
    }


@contextmanager
def norm_statistics(model: nn.Module, statistics: Statistics) -> Iterator[None]:
    """Let norm layers use the running or the batch's statistics; restore the model afterwards.

    Buffers are restored as objects too: a forward pass may replace, grow or add some.
    """
    modes = [(module, module.training, dict(module._buffers)) for module in model.modules()]
    values = {buffer: buffer.clone() for buffer in model.buffers()}
    model.eval()
    if statistics == "batch":
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.train()
    try:
        yield
    finally:
        for module, training, buffers in modes:
            module.training = training
            module._buffers.clear()
            module._buffers.update(buffers)
        for buffer, value in values.items():
            if not torch.equal(buffer, value):  # what is expanded cannot be written to, nor changed
                buffer.copy_(value)


def evaluate_landscape(
    model: PanopticFPN,
    batch: SemanticBatch,
    *,
    steps: int = DEFAULT_STEPS,
    reach: float = 1.0,
    seed: int = 0,
    statistics: Statistics = "kept",
    out: Path | str | None = None,
    progress: bool = False,
) -> Landscape:
    """Evaluate the losses on a square grid of a random plane through the weights.

    Args:
        model: its weights and buffers are the same afterwards, to the bit.
        batch: one for all points.
        steps: points along each axis; odd, so that the network itself is the middle one.
        reach: of the axes, in lengths of the filters.
        seed: of the two directions.
        statistics: of batch norm; see the top of this file.
        out: a file that holds each finished row. A second call continues after the last one; a file
            of another model, batch or plane is refused.
        progress: show a bar.
    """
    if steps < 1 or steps % 2 == 0:
        raise ValueError(f"evaluate_landscape: found steps {steps}, expected an odd number")
    if statistics not in ("kept", "batch"):
        raise ValueError(
            f"evaluate_landscape: found statistics {statistics!r}, expected kept or batch"
        )
    axis = np.linspace(-reach, reach, steps)
    axis[steps // 2] = 0.0
    rng = torch.Generator().manual_seed(seed)
    first, second = random_direction(model, rng), random_direction(model, rng)
    header = {
        "format": FORMAT,
        "axis": axis.tolist(),
        "statistics": statistics,
        "seed": seed,
        "num_weights": sum(weight.numel() for weight in moved_parameters(model).values()),
        "model": _digest(model.state_dict().values()),
        "batch": _digest([batch.images, batch.labels]),
    }
    path = None if out is None else Path(out)
    rows = _read_rows(path, header) if path else []
    with norm_statistics(model, statistics), tqdm(total=steps**2, disable=not progress) as bar:
        bar.update(len(rows) * steps)
        for y in axis[len(rows) :].tolist():
            row: dict[str, list[float]] = {loss: [] for loss in LANDSCAPE_LOSSES}
            for x in axis.tolist():
                with moved(model, first, second, x, y):
                    for loss, value in semantic_losses(model, batch).items():
                        row[loss].append(value)
                bar.update()
            rows.append(row)
            if path:
                lines = [json.dumps(line, allow_nan=True) for line in (header, *rows)]
                write_atomically(path, ("\n".join(lines) + "\n").encode())
    return _landscape(header, rows)


def load_landscape(path: Path | str) -> Landscape:
    """Return a landscape from its file; ValueError if the file is not complete."""
    header, *rows = _read_lines(Path(path))
    if header.get("format") != FORMAT or len(rows) != len(header.get("axis", ())):
        raise ValueError(
            f"{path}: found format {header.get('format')} and {len(rows)} rows, expected format "
            f"{FORMAT} and {len(header.get('axis', ()))} rows. "
            "evaluate_landscape(..., out=...) finishes it."
        )
    return _landscape(header, rows)


def _landscape(header: dict[str, Any], rows: list[dict[str, list[float]]]) -> Landscape:
    values = {loss: np.array([row[loss] for row in rows]) for loss in LANDSCAPE_LOSSES}
    return Landscape(np.array(header["axis"]), values, header["statistics"], header["num_weights"])


def _read_lines(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: found no readable landscape ({error})") from None


def _read_rows(path: Path, header: dict[str, Any]) -> list[dict[str, list[float]]]:
    if not path.is_file():
        return []
    stored, *rows = _read_lines(path)
    differing = [key for key in header if stored.get(key) != header[key]]
    if differing:
        raise ValueError(
            f"{path}: found a landscape with other {', '.join(differing)}, expected the "
            "same, to continue it. Try another file."
        )
    return rows


def _digest(tensors: Any) -> str:
    """Return a fingerprint of tensors, from their bytes."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


# The path of a training -------------------------------------------------------------------------
# Random directions are almost at a right angle to every path, so on a random plane a training seems
# to stand still. The plane that shows most of a path is spanned by its first two principal
# components. That it shows much is no surprise by itself: a random walk is shown nearly as well.


@dataclass(frozen=True, slots=True)
class PathPlane:
    """A plane through weights that shows most of some paths."""

    origin: Float[Tensor, " n"]  # the mean of all points of all paths
    directions: Float[Tensor, "2 n"]  # of length 1, at a right angle
    coordinates: dict[str, Float[np.ndarray, "t 2"]]  # of each path, by its name
    explained: tuple[float, float]  # fraction of the variance along each direction


def fit_plane(paths: Mapping[str, Float[Tensor, "t n"]]) -> PathPlane:
    """Return the plane of the first two principal components of all points of all paths.

    Source: Li et al. 2018, section 7.2.
    """
    points = torch.cat(list(paths.values()))
    if len(points) < 3:
        raise ValueError(
            f"fit_plane: found {len(points)} points, expected at least three to span a plane"
        )
    origin = points.mean(0)
    _, lengths, directions = torch.linalg.svd(points - origin, full_matrices=False)
    fractions = (lengths**2 / (lengths**2).sum()).tolist()
    return PathPlane(
        origin,
        directions[:2],
        {name: ((path - origin) @ directions[:2].T).numpy() for name, path in paths.items()},
        (fractions[0], fractions[1]),
    )


def explained_fraction(path: Float[Tensor, "t n"], directions: Float[Tensor, "2 n"]) -> float:
    """Return the fraction of a path's variance that lies along two directions at a right angle."""
    around = path - path.mean(0)
    return float(((around @ directions.T) ** 2).sum() / (around**2).sum())


def random_plane(num_weights: int, rng: torch.Generator) -> Float[Tensor, "2 n"]:
    """Return two random directions of length 1, at a right angle."""
    return torch.linalg.qr(torch.randn(num_weights, 2, generator=rng))[0].T


def random_walk(path: Float[Tensor, "t n"], rng: torch.Generator) -> Float[Tensor, "t n"]:
    """Return a path whose steps are as long as those of `path`, each in a random direction."""
    steps = torch.randn(len(path) - 1, path.shape[1], generator=rng)
    steps = steps * (path.diff(dim=0).norm(dim=1) / steps.norm(dim=1))[:, None]
    return torch.cat([path[:1], path[:1] + steps.cumsum(0)])


# Comparing shapes -------------------------------------------------------------------------------


def rank_correlation(first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"]) -> float:
    """Return Spearman's correlation: that of the ranks, in which equal values share a mean rank."""
    return float(np.corrcoef(_ranks(first), _ranks(second))[0, 1])


def _ranks(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    mean_ranks = counts.cumsum() - (counts - 1) / 2
    return mean_ranks[index]


def compare_with_score(landscape: Landscape) -> dict[str, dict[str, float]]:
    """Return how alike each loss and 1 - mIoU are on the plane, by four measures.

    Keys of the inner dictionaries: "all points", Pearson's correlation; "capped", the same with the
    values cut at the largest that is drawn; "ranks", Spearman's; "inner third", Pearson's near the
    middle.
    """
    third = np.abs(landscape.axis) <= np.abs(landscape.axis).max() / 3 + 1e-9
    near = np.ix_(third, third)
    score = landscape.values["miou_loss"]
    measures = {}
    for loss, (_, top) in LANDSCAPE_LOSSES.items():
        value = landscape.values[loss]
        if loss != "miou_loss":
            measures[loss] = {
                "all points": float(np.corrcoef(value.ravel(), score.ravel())[0, 1]),
                "capped": float(np.corrcoef(value.clip(max=top).ravel(), score.ravel())[0, 1]),
                "ranks": rank_correlation(value.ravel(), score.ravel()),
                "inner third": float(np.corrcoef(value[near].ravel(), score[near].ravel())[0, 1]),
            }
    return measures


# Figures ----------------------------------------------------------------------------------------


def plot_landscapes(landscape: Landscape) -> Figure:
    """Draw the losses of one plane: as surfaces above, as contours below."""
    figure = Figure(figsize=(7.4, 5.2))
    axis = landscape.axis
    x, y = np.meshgrid(axis, axis)
    for column, (loss, (title, top)) in enumerate(LANDSCAPE_LOSSES.items()):
        value = np.nan_to_num(landscape.values[loss], nan=top, posinf=top).clip(0, top)
        left = 0.025 + 0.325 * column
        above: Any = figure.add_axes(
            (left, 0.47, 0.29, 0.46), projection="3d", computed_zorder=False
        )
        above.plot_surface(
            x, y, value, cmap=SURFACE_COLORS, vmin=0, vmax=top, rstride=1, cstride=1,
            linewidth=0, antialiased=False,
        )  # fmt: skip
        above.set(zlim=(0, top), xticks=[-1, 0, 1], yticks=[-1, 0, 1], zticks=[0, top / 2, top])
        above.set_xlabel("direction 1", fontsize=8, labelpad=-6)
        above.set_ylabel("direction 2", fontsize=8, labelpad=-6)
        above.tick_params(labelsize=8, pad=-3)
        above.set_title(title if loss != "cross_entropy" else f"{title}, cut at {top:g}", y=0.99)
        above.view_init(elev=32, azim=-60)
        below = figure.add_axes((left + 0.045, 0.085, 0.24, 0.33))
        levels = np.linspace(0, top, 11)
        drawn = below.contourf(axis, axis, value, levels, cmap=PALE_COLORS, vmin=0, vmax=1.5 * top)
        below.contour(axis, axis, value, levels[1:-1], colors=CONTOUR_COLOR, linewidths=0.6)
        below.plot(0, 0, "o", color=DOT_COLOR, markeredgecolor="white", markersize=7)
        below.set(
            aspect="equal", xlabel="direction 1", xticks=[-1, 0, 1], yticks=[-1, 0, 1],
            ylabel="direction 2" if column == 0 else "",
        )  # fmt: skip
        below.tick_params(labelsize=8)
        figure.colorbar(drawn, ax=below, ticks=[0, top / 2, top], shrink=0.75, pad=0.03)
    figure.suptitle(
        f"A plane in the space of {landscape.num_weights:,} weights; the trained ones: red dot",
        fontsize=11,
    )
    return figure


def describe_landscapes(landscape: Landscape) -> str:
    """Return in words what `plot_landscapes` shows."""
    middle = len(landscape.axis) // 2
    words = []
    for loss, (title, _) in LANDSCAPE_LOSSES.items():
        grid = landscape.values[loss]
        ring = np.concatenate([grid[0], grid[-1], grid[1:-1, 0], grid[1:-1, -1]])
        words.append(
            f"{title}: {grid[middle, middle]:.3f} at the trained weights, {ring.min():.2f} to "
            f"{ring.max():.2f} at the edge of the square"
        )
    bottoms = [str(count_basins(landscape.values[loss])) for loss in LANDSCAPE_LOSSES]
    return (
        f"Three losses of the semantic branch on one batch, over a plane through {MOVED_WORDS}, "
        f"{landscape.num_weights:,} weights: as surfaces and as contours, with a red dot at the "
        f"trained weights. {'; '.join(words)}. Grid points below all of their neighbors: "
        f"{', '.join(bottoms)}. Two random directions out of millions can show no more."
    )


MOVED_WORDS = "the weights of backbone, pyramid and semantic head"


def count_basins(values: Float[np.ndarray, "k k"]) -> int:
    """Return the number of grid points below all of their neighbors: minima at this resolution."""
    padded = np.pad(values, 1, constant_values=np.inf)
    around = [
        padded[1 + dy : 1 + dy + values.shape[0], 1 + dx : 1 + dx + values.shape[1]]
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
        if dy or dx
    ]
    return int((values < np.min(around, axis=0)).sum())
