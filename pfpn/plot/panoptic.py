"""Panoptic maps as pictures and as words."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from torch import Tensor

from pfpn.plot.palette import (
    VOID_COLOR,
    Color,
    class_colors,
    ink_on,
    instance_color,
    to_hex,
)
from pfpn.quality import PanopticQuality
from pfpn.structures import Category, Panoptic, Sample, Segment, stuff, things

BORDER_WIDTH = 0.8  # points
MIN_LABEL_SHARE = 0.006  # of the image: a smaller segment has no room for its name
PLURALS = {"person": "people", "bus": "buses", "sheep": "sheep", "skis": "skis"}


def paint_panoptic(
    image: UInt8[Tensor, "3 h w"],
    panoptic: Panoptic,
    categories: Sequence[Category],
    alpha: float = 0.6,
    *,
    outlines: bool = True,
) -> UInt8[np.ndarray, "h w 3"]:
    """Lay the colors of the segments over the image, borders in white; return RGB pixels.

    Args:
        image: RGB.
        panoptic: its id map has the image's size.
        categories: of the labels.
        alpha: share of the segment's color, in [0, 1]; 0 leaves the image, 1 the map.
        outlines: make the pixels white that stand right of or below another segment.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"paint_panoptic: found alpha {alpha}, expected 0 up to 1")
    if image.shape[1:] != panoptic.id_map.shape:
        raise ValueError(
            f"paint_panoptic: found an image of size {tuple(image.shape[1:])} with an id map of "
            f"size {tuple(panoptic.id_map.shape)}, expected the same. Predict at the original size."
        )
    ids = panoptic.id_map.cpu().numpy()
    pixels = image.permute(1, 2, 0).cpu().numpy().astype(np.float32)
    known, places = np.unique(ids, return_inverse=True)
    colors = segment_colors(panoptic, categories)
    table = np.asarray([colors.get(int(i), VOID_COLOR) for i in known], dtype=np.float32)
    painted = (1 - alpha) * pixels + alpha * table[places.reshape(ids.shape)]
    result = np.rint(painted).astype(np.uint8)
    if outlines:
        result[:, 1:][ids[:, 1:] != ids[:, :-1]] = 255
        result[1:][ids[1:] != ids[:-1]] = 255
    return result


def segment_colors(panoptic: Panoptic, categories: Sequence[Category]) -> dict[int, Color]:
    """Return the color of each segment by its id: its class's, in shades for things."""
    colors, seen = class_colors(categories), dict[int, int]()
    result = {}
    for segment in panoptic.segments:
        category = category_of(segment, categories)
        number = seen.get(category.id, 0)
        seen[category.id] = number + 1
        color = colors[category.id]
        result[segment.id] = instance_color(color, number) if segment.is_thing else color
    return result


def draw_panoptic(
    axes: Any,
    image: UInt8[Tensor, "3 h w"],
    panoptic: Panoptic,
    categories: Sequence[Category],
    *,
    alpha: float = 0.6,
    labels: bool = False,
    title: str = "",
) -> None:
    """Draw a panoptic map over its image, with names on the segments that have room if asked."""
    height, width = image.shape[1:]
    painted = paint_panoptic(image, panoptic, categories, alpha, outlines=False)
    _show(axes, painted, title)
    ids = panoptic.id_map.cpu().numpy()
    x, y = border_lines(ids)
    axes.plot(x, y, color="white", linewidth=BORDER_WIDTH, solid_capstyle="projecting")
    axes.set(xlim=(0, width), ylim=(height, 0))
    if not labels:
        return
    colors = segment_colors(panoptic, categories)
    for segment in panoptic.segments:
        mask = ids == segment.id
        if mask.sum() < MIN_LABEL_SHARE * mask.size:
            continue
        row, column = inner_point(mask)
        ink = ink_on(colors[segment.id])
        edge = "white" if ink == "black" else "black"
        axes.text(
            column + 0.5, row + 0.5, category_of(segment, categories).name,
            color=ink, fontsize=7, ha="center", va="center",
            path_effects=[withStroke(linewidth=1.5, foreground=edge, alpha=0.7)],
        )  # fmt: skip


def plot_panoptic(
    image: UInt8[Tensor, "3 h w"],
    panoptic: Panoptic,
    categories: Sequence[Category],
    *,
    alpha: float = 0.6,
    labels: bool = True,
) -> Figure:
    """Draw an image and, beside it, its panoptic map, with a legend of the classes in it."""
    height, width = image.shape[1:]
    figure = Figure(figsize=(9, 4.5 * min(3.0, height / width) + 0.85), layout="constrained")
    left, right = figure.subplots(1, 2)
    _show(left, image.permute(1, 2, 0).cpu().numpy(), "image")
    draw_panoptic(
        right, image, panoptic, categories, alpha=alpha, labels=labels, title="panoptic map"
    )
    _add_legend(figure, [panoptic], categories)
    return figure


def plot_comparison(
    samples: Sequence[Sample],
    predictions: Sequence[Panoptic],
    categories: Sequence[Category],
    *,
    alpha: float = 0.7,
    titles: Sequence[str] | None = None,
    show_pq: bool = True,
) -> Figure:
    """Draw one row per sample: image, truth, prediction; and a legend of the classes.

    Args:
        samples: with their truth.
        predictions: panoptic maps for the samples, in their order.
        categories: of both.
        alpha: share of the segments' colors.
        titles: over the images; their ids if not given.
        show_pq: write each image's own PQ over its prediction.
    """
    if len(samples) != len(predictions):
        raise ValueError(
            f"plot_comparison: found {len(samples)} samples and {len(predictions)} predictions, "
            "expected one for each"
        )
    if titles is not None and len(titles) != len(samples):
        raise ValueError(
            f"plot_comparison: found {len(titles)} titles, expected {len(samples)}, one per sample"
        )
    shapes = [min(3.0, s.image.shape[1] / s.image.shape[2]) for s in samples]
    figure = Figure(
        figsize=(9.4, sum(3.1 * shape + 0.25 for shape in shapes) + 0.6), layout="constrained"
    )
    if not samples:
        return figure
    grid = figure.subplots(len(samples), 3, squeeze=False, gridspec_kw={"height_ratios": shapes})
    for i, (row, sample, found) in enumerate(zip(grid, samples, predictions, strict=True)):
        name = titles[i] if titles is not None else f"image {sample.image_id}"
        pixels = sample.image.permute(1, 2, 0).cpu().numpy()
        _show(row[0], pixels, name)
        draw_panoptic(row[1], sample.image, sample.panoptic, categories, alpha=alpha, title="truth")
        title = "prediction"
        if show_pq:
            title += f", PQ {100 * image_quality(sample.panoptic, found, categories):.1f}"
        draw_panoptic(row[2], sample.image, found, categories, alpha=alpha, title=title)
    _add_legend(figure, [s.panoptic for s in samples] + list(predictions), categories)
    return figure


def image_quality(gt: Panoptic, found: Panoptic, categories: Sequence[Category]) -> float:
    """Return the PQ, in [0, 1], of one image for itself: the mean over the classes in it."""
    quality = PanopticQuality(categories)
    quality.update(gt, found)
    result = quality.result().all
    return result.pq if result is not None else 0.0


def segment_names(panoptic: Panoptic, categories: Sequence[Category]) -> dict[int, str]:
    """Name each segment by its id: its class, numbered in the list's order where it comes twice."""
    names = {s.id: category_of(s, categories).name for s in panoptic.segments}
    every = list(names.values())
    seen = dict[str, int]()
    for number, name in names.items():
        seen[name] = seen.get(name, 0) + 1
        if every.count(name) > 1:
            names[number] = f"{name} {seen[name]}"
    return names


def describe_panoptic(panoptic: Panoptic, categories: Sequence[Category]) -> str:
    """Say in words what a panoptic map shows, for those who cannot see it.

    Example: "3 cars, 2 people and 1 tree; building 34 %, sky 25 %, road 22 %".
    """
    counts: dict[int, int] = {}
    for segment in panoptic.segments:
        if segment.is_thing:
            counts[segment.label] = counts.get(segment.label, 0) + 1
    order = sorted(counts, key=lambda label: (-counts[label], label))
    found = [_counted(counts[label], things(categories)[label].name) for label in order]
    if len(found) > 1:
        found[-2:] = [f"{found[-2]} and {found[-1]}"]
    words = ", ".join(found) if found else "no things"

    ids, areas = torch.unique(panoptic.id_map, return_counts=True)
    area = dict(zip(ids.tolist(), areas.tolist(), strict=True))
    total = max(1, panoptic.id_map.numel())
    shares: dict[str, float] = {}
    for segment in panoptic.segments:
        if not segment.is_thing:
            name = stuff(categories)[segment.label - 1].name
            shares[name] = shares.get(name, 0.0) + 100 * area.get(segment.id, 0) / total
    listed = {segment.id for segment in panoptic.segments}
    nothing = 100 * sum(n for i, n in area.items() if i not in listed) / total
    regions = [f"{name} {shares[name]:.0f} %" for name in sorted(shares, key=lambda n: -shares[n])]
    if nothing >= 0.5:
        regions.append(f"unlabelled {nothing:.0f} %")
    return f"{words}; {', '.join(regions)}" if regions else words


def _counted(count: int, name: str) -> str:
    if count == 1:
        return f"1 {name}"
    first, _, last = name.rpartition(" ")
    if last in PLURALS:
        last = PLURALS[last]
    elif last.endswith(("s", "x", "ch", "sh")):
        last += "es"
    elif not last.endswith("-group"):
        last += "s"
    return f"{count} {first + ' ' if first else ''}{last}"


def category_of(segment: Segment, categories: Sequence[Category]) -> Category:
    """Return the category of a segment's label."""
    if segment.is_thing:
        return things(categories)[segment.label]
    return stuff(categories)[segment.label - 1]


def _show(axes: Any, pixels: np.ndarray, title: str) -> None:
    """Show pixels as squares; pixel (row, column) covers column to column + 1, row to row + 1."""
    height, width = pixels.shape[:2]
    axes.imshow(pixels, interpolation="nearest", extent=(0, width, height, 0))
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=9)


def border_lines(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of lines that run between pixels of different ids, a NaN after each line.

    Drawn as lines and not as pixels, borders hide nothing and stay thin however small the image.
    """
    rows, columns = np.nonzero(
        ids[:, 1:] != ids[:, :-1]
    )  # sides: x is fixed, y from row to row + 1
    gap = np.full(len(rows), np.nan)
    side_x = np.stack([columns + 1, columns + 1, gap], axis=1)
    side_y = np.stack([rows, rows + 1, gap], axis=1)
    rows, columns = np.nonzero(ids[1:] != ids[:-1])
    gap = np.full(len(rows), np.nan)
    floor_x = np.stack([columns, columns + 1, gap], axis=1)
    floor_y = np.stack([rows + 1, rows + 1, gap], axis=1)
    x, y = (np.concatenate(pair).ravel() for pair in ((side_x, floor_x), (side_y, floor_y)))
    return x, y


def inner_point(mask: np.ndarray) -> tuple[float, float]:
    """Return row and column of a pixel far inside a mask, where a name fits best."""
    step = max(1, max(mask.shape) // 192)  # a coarser mask will do for placing a word
    inner = np.pad(mask[::step, ::step], 1)
    while True:
        core = inner.copy()
        core[1:] &= inner[:-1]
        core[:-1] &= inner[1:]
        core[:, 1:] &= inner[:, :-1]
        core[:, :-1] &= inner[:, 1:]
        if not core.any():
            break
        inner = core
    rows, columns = np.nonzero(inner)
    if len(rows) == 0:  # every pixel fell between those of the coarser mask
        rows, columns = (found + 1 for found in np.nonzero(mask))
        step = 1
    middle = (rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2
    best = int(middle.argmin())
    return float((rows[best] - 1) * step), float((columns[best] - 1) * step)


def _add_legend(figure: Figure, maps: Sequence[Panoptic], categories: Sequence[Category]) -> None:
    """Name the classes that are in any of the maps, below the figure."""
    colors = class_colors(categories)
    present = {category_of(segment, categories).id for found in maps for segment in found.segments}
    shown = [c for c in (*things(categories), *stuff(categories)) if c.id in present]
    handles = [
        Patch(facecolor=to_hex(colors[c.id]), edgecolor="0.4", linewidth=0.5, label=c.name)
        for c in shown
    ]
    is_void = any(bool((found.id_map == 0).any()) for found in maps)
    if is_void:
        handles.append(
            Patch(facecolor=to_hex(VOID_COLOR), edgecolor="0.4", linewidth=0.5, label="unlabelled")
        )
    if handles:
        figure.legend(
            handles=handles, loc="outside lower center", ncols=min(8, len(handles)),
            fontsize="small", frameon=False,
        )  # fmt: skip
