"""Panoptic maps as pictures and as words."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from pfpn.plot.palette import (
    VOID_COLOR,
    category_of,
    class_colors,
    ink_on,
    paint_ids,
    segment_colors,
    to_hex,
)
from pfpn.plot.style import center_text, halo, legend_below, rgb, show_pixels, subplots, swatches
from pfpn.quality import PanopticQuality
from pfpn.structures import Category, Panoptic, Sample, stuff, things

BORDER_WIDTH = 0.8  # points
EDGE = 0.05  # fraction of the image's width, where half a word does not fit
TINY_AREA = 0.003  # fraction of the image; on a smaller segment a word hides it
MIN_LABEL_AREA = 0.006  # fraction of the image; a smaller segment has no room for its name
PLURALS = {"person": "people", "bus": "buses", "sheep": "sheep", "skis": "skis"}


def paint_panoptic(
    image: UInt8[Tensor, "3 h w"],
    panoptic: Panoptic,
    categories: Sequence[Category],
    alpha: float = 0.6,
    *,
    outlines: bool = True,
) -> UInt8[np.ndarray, "h w 3"]:
    """Return RGB pixels: the image under the colors of the segments, borders in white.

    Args:
        image: RGB.
        panoptic: its id map has the image's size.
        categories: of the labels.
        alpha: opacity of the segments' colors, in [0, 1]; 0 leaves the image, 1 the map.
        outlines: make the pixels white that stand right of or below another segment.

    Raises:
        ValueError: alpha is out of range, or image and id map differ in size.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"paint_panoptic: found alpha {alpha}, expected 0 up to 1")
    if image.shape[1:] != panoptic.id_map.shape:
        raise ValueError(
            f"paint_panoptic: found an image of size {tuple(image.shape[1:])} with an id map of "
            f"size {tuple(panoptic.id_map.shape)}, expected the same. Predict at the original size."
        )
    ids = panoptic.id_map.cpu().numpy()
    colors = paint_ids(panoptic.id_map, segment_colors(panoptic, categories))
    painted = (1 - alpha) * rgb(image).astype(np.float32) + alpha * colors.astype(np.float32)
    result = np.rint(painted).astype(np.uint8)
    if outlines:
        result[:, 1:][ids[:, 1:] != ids[:, :-1]] = 255
        result[1:][ids[1:] != ids[:-1]] = 255
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
    """Draw a panoptic map over its image; `labels` writes names on segments with room for one."""
    show_pixels(axes, paint_panoptic(image, panoptic, categories, alpha, outlines=False), title)
    ids = panoptic.id_map.cpu().numpy()
    draw_outline(axes, ids, color="white", linewidth=BORDER_WIDTH, solid_capstyle="projecting")
    if not labels:
        return
    colors = segment_colors(panoptic, categories)
    for segment in panoptic.segments:
        mask = ids == segment.id
        if mask.sum() < MIN_LABEL_AREA * mask.size:
            continue
        ink = ink_on(colors[segment.id])
        edge = "white" if ink == "black" else "black"
        name, effects = category_of(segment, categories).name, halo(1.5, edge, alpha=0.7)
        write_inside(axes, mask, name, color=ink, fontsize=7, path_effects=effects)


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
    figure, (left, right) = subplots(9, 4.5 * min(3.0, height / width) + 0.85, 1, 2)
    show_pixels(left, rgb(image), "image")
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
        alpha: opacity of the segments' colors, in [0, 1].
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
    for i, (row, sample, prediction) in enumerate(zip(grid, samples, predictions, strict=True)):
        name = titles[i] if titles is not None else f"image {sample.image_id}"
        show_pixels(row[0], rgb(sample.image), name)
        draw_panoptic(row[1], sample.image, sample.panoptic, categories, alpha=alpha, title="truth")
        title = "prediction"
        if show_pq:
            title += f", PQ {100 * image_quality(sample.panoptic, prediction, categories):.1f}"
        draw_panoptic(row[2], sample.image, prediction, categories, alpha=alpha, title=title)
    _add_legend(figure, [s.panoptic for s in samples] + list(predictions), categories)
    return figure


def image_quality(gt: Panoptic, prediction: Panoptic, categories: Sequence[Category]) -> float:
    """Return the PQ of one image, in [0, 1]: the mean over the classes in it."""
    quality = PanopticQuality(categories)
    quality.update(gt, prediction)
    result = quality.compute().all
    return result.pq if result is not None else 0.0


def segment_names(panoptic: Panoptic, categories: Sequence[Category]) -> dict[int, str]:
    """Return the name of each segment by its id: its class, with a number if it occurs twice."""
    names = {s.id: category_of(s, categories).name for s in panoptic.segments}
    every = list(names.values())
    seen = dict[str, int]()
    for number, name in names.items():
        seen[name] = seen.get(name, 0) + 1
        if every.count(name) > 1:
            names[number] = f"{name} {seen[name]}"
    return names


def describe_panoptic(panoptic: Panoptic, categories: Sequence[Category]) -> str:
    """Return what a panoptic map shows, in words, for readers who cannot see it.

    Example: "3 cars, 2 people and 1 tree; building 34 %, sky 25 %, road 22 %".
    """
    counts: dict[int, int] = {}
    for segment in panoptic.segments:
        if segment.is_thing:
            counts[segment.label] = counts.get(segment.label, 0) + 1
    order = sorted(counts, key=lambda label: (-counts[label], label))
    counted = [_counted(counts[label], things(categories)[label].name) for label in order]
    if len(counted) > 1:
        counted[-2:] = [f"{counted[-2]} and {counted[-1]}"]
    words = ", ".join(counted) if counted else "no things"

    ids, areas = torch.unique(panoptic.id_map, return_counts=True)
    area = dict(zip(ids.tolist(), areas.tolist(), strict=True))
    total = max(1, panoptic.id_map.numel())
    percent: dict[str, float] = {}
    for segment in panoptic.segments:
        if not segment.is_thing:
            name = stuff(categories)[segment.label - 1].name
            percent[name] = percent.get(name, 0.0) + 100 * area.get(segment.id, 0) / total
    listed = {segment.id for segment in panoptic.segments}
    unlabeled = 100 * sum(n for i, n in area.items() if i not in listed) / total
    order_of_stuff = sorted(percent, key=lambda name: -percent[name])
    regions = [
        f"{name} {percent[name]:.0f} %" if percent[name] >= 0.5 else f"{name} below 1 %"
        for name in order_of_stuff
    ]
    if unlabeled >= 0.5:
        regions.append(f"unlabeled {unlabeled:.0f} %")
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


def border_lines(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of lines that run between pixels of different ids, a NaN after each line.

    Borders drawn as lines, not as pixels, hide nothing and stay thin in small images.
    """
    rows, columns = np.nonzero(ids[:, 1:] != ids[:, :-1])  # x is fixed, y from row to row + 1
    gap = np.full(len(rows), np.nan)
    side_x = np.stack([columns + 1, columns + 1, gap], axis=1)
    side_y = np.stack([rows, rows + 1, gap], axis=1)
    rows, columns = np.nonzero(ids[1:] != ids[:-1])
    gap = np.full(len(rows), np.nan)
    floor_x = np.stack([columns, columns + 1, gap], axis=1)
    floor_y = np.stack([rows + 1, rows + 1, gap], axis=1)
    x, y = (np.concatenate(pair).ravel() for pair in ((side_x, floor_x), (side_y, floor_y)))
    return x, y


def draw_outline(axes: Any, ids: np.ndarray, **options: Any) -> None:
    """Draw the borders of an id map or a mask (h, w) and keep the limits of the axes.

    Args:
        axes: matplotlib axes.
        ids: a line runs between pixels of different values.
        **options: passed on to matplotlib's plot.
    """
    axes.plot(*border_lines(ids), scalex=False, scaley=False, **options)


def write_inside(axes: Any, mask: np.ndarray, text: str, **options: Any) -> None:
    """Write a text on a mask (h, w), centered at a pixel far from the mask's border.

    On a mask that is smaller than a word, the text stands above it. Near the left or the right edge
    it begins or ends there, so that nothing of it leaves the picture.
    """
    (row, column), width = inner_point(mask), mask.shape[1]
    place: dict[str, Any] = {}
    if mask.sum() < TINY_AREA * mask.size:
        row, place = np.nonzero(mask)[0].min() - 3, {"va": "bottom"}
    if column < EDGE * width:
        column, place = 0.005 * width, place | {"ha": "left"}
    elif column > (1 - EDGE) * width:
        column, place = 0.995 * width, place | {"ha": "right"}
    center_text(axes, column + 0.5, row + 0.5, text, **place, **options)


def inner_point(mask: np.ndarray) -> tuple[float, float]:
    """Return row and column of a pixel far from a mask's border, where a name fits best."""
    step = max(1, max(mask.shape) // 192)  # a coarser mask is precise enough and faster
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
    if len(rows) == 0:  # the coarser mask has none of the mask's pixels
        rows, columns = (indices + 1 for indices in np.nonzero(mask))
        step = 1
    middle = (rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2
    best = int(middle.argmin())
    return float((rows[best] - 1) * step), float((columns[best] - 1) * step)


def class_swatches(maps: Sequence[Panoptic], categories: Sequence[Category]) -> list[Patch]:
    """Return a patch for a legend for each class in any of the maps: things, then stuff."""
    colors = class_colors(categories)
    present = {category_of(s, categories).id for panoptic in maps for s in panoptic.segments}
    shown = [c for c in (*things(categories), *stuff(categories)) if c.id in present]
    return swatches({c.name: to_hex(colors[c.id]) for c in shown}, linewidth=0.5)


def _add_legend(figure: Figure, maps: Sequence[Panoptic], categories: Sequence[Category]) -> None:
    """Draw a legend of the classes in any of the maps, below the figure."""
    handles = class_swatches(maps, categories)
    if any(bool((panoptic.id_map == 0).any()) for panoptic in maps):
        handles += swatches({"unlabeled": to_hex(VOID_COLOR)}, linewidth=0.5)
    if handles:
        legend_below(figure, handles, ncols=min(8, len(handles)), fontsize="small")
