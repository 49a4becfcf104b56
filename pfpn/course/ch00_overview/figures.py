"""The first look in pictures: one image in three tasks, a probe, a map of the network."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from torch import Tensor

from pfpn.course.ch00_overview.numbers import (
    Trace,
    class_mask,
    count_objects,
    describe_match,
    fraction_without_things,
    ids_by_color,
    label_regions,
    strength,
    things_only,
)
from pfpn.data.coco import id_map_to_rgb
from pfpn.engine.checkpoint import Trained
from pfpn.paste import paste_masks
from pfpn.plot.boxes import ROW_COLORS
from pfpn.plot.palette import (
    UNSET_COLOR,
    VOID_COLOR,
    category_of,
    class_colors,
    instance_color,
    paint_ids,
    segment_colors,
    to_hex,
)
from pfpn.plot.panoptic import (
    BORDER_WIDTH,
    class_swatches,
    draw_outline,
    draw_panoptic,
    segment_names,
    write_inside,
)
from pfpn.plot.style import (
    BLUE,
    Point,
    center_text,
    halo,
    legend_below,
    rgb,
    show_pixels,
    subplots,
)
from pfpn.structures import VOID, Category, Detections, Panoptic, Sample, stuff, things

NUM_PROPOSALS = 60  # drawn in the map: more would hide the street
MAP_SIZE = (9.4, 5.85)  # inches

Corner = tuple[float, float, float]  # left, top and width of a picture in the map, in inches


def plot_image(image: UInt8[Tensor, "3 h w"], width: float = 6.0) -> Figure:
    """Draw an image and nothing else, `width` inches wide."""
    figure = Figure(figsize=(width, width * image.shape[1] / image.shape[2]))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(rgb(image), interpolation="nearest")
    axes.set_axis_off()
    return figure


# Three tasks ------------------------------------------------------------------------------------


def plot_tasks(sample: Sample, categories: Sequence[Category]) -> Figure:
    """Draw one image as three tasks see it: class by pixel, object by object, and both at once."""
    height, width = sample.panoptic.id_map.shape
    figure, grid = subplots(9, 9 * height / width + 1.1, 2, 2)
    show_pixels(grid[0, 0], rgb(sample.image), "image", fontsize=10)
    words = [
        f"{row.objects} {row.category.name}s, {row.regions} regions"
        for row in count_objects(sample.panoptic, categories)
        if row.regions != row.objects
    ]
    lost = f" ({'; '.join(words)})" if words else ""
    classes = paint_classes(sample.panoptic, categories)
    show_pixels(grid[0, 1], classes, f"semantic: a class for every pixel{lost}", fontsize=10)
    bare = 100 * fraction_without_things(sample.panoptic)
    title = f"instance: objects alone ({bare:.0f} % of pixels without an answer)"
    show_pixels(grid[1, 0], paint_instances(sample, categories), title, fontsize=10)
    objects = things_only(sample.panoptic).numpy()
    draw_outline(grid[1, 0], objects, color="white", linewidth=BORDER_WIDTH)
    draw_panoptic(grid[1, 1], sample.image, sample.panoptic, categories, alpha=1)
    grid[1, 1].set_title("panoptic: a segment for every pixel", fontsize=10)
    legend_below(figure, class_swatches([sample.panoptic], categories), ncols=8)
    return figure


def describe_tasks(sample: Sample, categories: Sequence[Category]) -> str:
    """Return what each task loses on this image, in words."""
    counts = ", ".join(
        f"{row.category.name} {row.objects} as {row.regions}"
        for row in count_objects(sample.panoptic, categories)
    )
    return (
        "One street four times: the image; classes by pixel, where objects of a class run together "
        f"or fall apart (objects as connected regions: {counts}); objects alone, with "
        f"{100 * fraction_without_things(sample.panoptic):.0f} percent of the pixels left gray; "
        "and the panoptic map, which has every pixel and every object."
    )


def paint_classes(panoptic: Panoptic, categories: Sequence[Category]) -> UInt8[np.ndarray, "h w 3"]:
    """Return every pixel in the plain color of its class: a semantic segmentation."""
    colors = class_colors(categories)
    table = {s.id: colors[category_of(s, categories).id] for s in panoptic.segments}
    return paint_ids(panoptic.id_map, table)


def paint_instances(sample: Sample, categories: Sequence[Category]) -> UInt8[np.ndarray, "h w 3"]:
    """Return the image in gray with its things painted over it: an instance segmentation."""
    objects = things_only(sample.panoptic)
    painted = paint_ids(objects, segment_colors(sample.panoptic, categories))
    return np.where((objects != VOID).numpy()[..., None], painted, _gray(sample))


def _gray(sample: Sample) -> UInt8[np.ndarray, "h w 3"]:
    """Return the image in light gray, as a background for colors."""
    gray = sample.image.float().mean(dim=0).numpy()
    return np.repeat((140 + 0.35 * gray)[..., None], 3, axis=2).astype(np.uint8)


# A probe ----------------------------------------------------------------------------------------


def plot_probe(
    sample: Sample, prediction: Panoptic, categories: Sequence[Category], x: int = 0, y: int = 0
) -> Figure:
    """Highlight the segments under one pixel, in truth and prediction, and name them.

    Args:
        sample: with its truth.
        prediction: a panoptic map for it.
        categories: of both.
        x: column of the pixel, from the left.
        y: row of the pixel, from the top.
    """
    height, width = sample.panoptic.id_map.shape
    inches = 2.3 * height / width  # of a picture; a fixed layout is quicker than a fitted one
    figure = Figure(figsize=(4.7, inches + 0.6))
    panels = figure.subplots(1, 2)
    figure.subplots_adjust(0.01, 0.3 / (inches + 0.6), 0.99, 1 - 0.27 / (inches + 0.6), 0.03)
    pixels = rgb(sample.image).astype(np.float32)
    # Few shades of gray: the other segments are less prominent, and the stored picture is small.
    gray = 110 + 16 * np.floor(pixels.mean(axis=2, keepdims=True) / 42)
    maps = {"truth": sample.panoptic, "prediction": prediction}
    for axes, (title, panoptic) in zip(panels, maps.items(), strict=True):
        number = int(panoptic.id_map[y, x])
        mask = (panoptic.id_map == number).numpy()
        name = segment_names(panoptic, categories).get(number, "void")
        lit = np.where(mask[..., None], pixels, gray).astype(np.uint8)
        show_pixels(axes, lit, f"{title}: {name}, id {number}")
        color = to_hex(segment_colors(panoptic, categories).get(number, VOID_COLOR))
        draw_outline(axes, mask, color="white", linewidth=3)
        draw_outline(axes, mask, color=color, linewidth=1.6)
        for ink, size, edge in (("white", 13, 3.0), ("black", 12, 1.4)):
            axes.plot(x + 0.5, y + 0.5, "+", color=ink, markersize=size, markeredgewidth=edge)
    words = describe_match(sample.panoptic, prediction, x, y)
    figure.text(0.5, 0.035, words, fontsize=9, ha="center", va="bottom")
    return figure


def describe_pixel(panoptic: Panoptic, categories: Sequence[Category], x: int, y: int) -> str:
    """Return name, kind, id and size of the segment under a pixel, in words."""
    number = int(panoptic.id_map[y, x])
    area = int((panoptic.id_map == number).sum())
    if number == VOID:
        return f"void, id 0, {area} pixels"
    kind = {s.id: "thing" if s.is_thing else "stuff" for s in panoptic.segments}[number]
    name = segment_names(panoptic, categories)[number]
    return f"{name} ({kind}), id {number}, {area} pixels"


# Regions ----------------------------------------------------------------------------------------


def plot_regions(
    sample: Sample,
    categories: Sequence[Category],
    name: str,
    count: Callable[[Tensor], int] | None = None,
) -> Figure:
    """Draw the objects of a class, and beside them the connected regions of their pixels.

    Args:
        sample: with its truth.
        categories: of the truth.
        name: of a thing class.
        count: the reader's own function, which returns the number of regions of a mask.
    """
    height, width = sample.panoptic.id_map.shape
    inches = 2.3 * height / width  # of a picture; a fixed layout is quicker than a fitted one
    figure = Figure(figsize=(4.7, inches + 0.55))
    panels = figure.subplots(1, 2)
    figure.subplots_adjust(0.01, 0.25 / (inches + 0.55), 0.99, 1 - 0.27 / (inches + 0.55), 0.03)
    label = [c.name for c in things(categories)].index(name)
    ids, mask = class_mask(sample.panoptic, label)
    objects = sum(k * (sample.panoptic.id_map == i).numpy() for k, i in enumerate(ids, 1))
    parts = {"objects": objects * mask.numpy(), "regions": label_regions(mask).numpy()}
    gray = _gray(sample)
    for axes, (what, numbers) in zip(panels, parts.items(), strict=True):
        total, painted = int(numbers.max()), gray.copy()
        for k in range(1, total + 1):
            color = to_rgb(ROW_COLORS[(k - 1) % len(ROW_COLORS)])
            painted[numbers == k] = np.rint(255 * np.array(color))
        show_pixels(axes, painted, f"{name}: {total} {what if total != 1 else what[:-1]}")
        draw_outline(axes, numbers, color="black", linewidth=0.8)
        for k in range(1, total + 1):
            write_inside(axes, numbers == k, str(k), path_effects=halo())
    words = "Each color is one object on the left, and one connected region on the right."
    if count is not None:
        words = f"Your {getattr(count, '__name__', 'function')} counts {count(mask)} regions."
    figure.text(0.5, 0.02, words, fontsize=8, ha="center", va="bottom")
    return figure


# The id PNG -------------------------------------------------------------------------------------


def plot_id_colors(panoptic: Panoptic, categories: Sequence[Category]) -> Figure:
    """Draw an id PNG as a picture viewer shows it: with ids 1, 2, ... and with ids from colors."""
    figure, (left, right) = subplots(9, 3.4, 1, 2)
    colored = ids_by_color(panoptic, categories)
    show_pixels(left, _id_pixels(panoptic), "ids 1, 2, 3, ... as colors", fontsize=10)
    title = "the same segments, ids made from class colors"
    show_pixels(right, _id_pixels(colored), title, fontsize=10)
    return figure


def plot_false_ids(
    ids: UInt8[np.ndarray, "h w"],
    is_false: Bool[np.ndarray, "h w"],
    panoptic: Panoptic,
    categories: Sequence[Category],
) -> Figure:
    """Draw a resized id map in the colors of its ids, and its false ids in red over it."""
    figure, (left, right) = subplots(9, 3.5, 1, 2)
    id_map = torch.from_numpy(ids.astype(np.int64))
    painted = paint_ids(id_map, segment_colors(panoptic, categories))
    show_pixels(left, painted, "the shrunk map, each id in its color", fontsize=10)
    marked = (0.35 * painted + 160).astype(np.uint8)
    marked[is_false] = (214, 39, 40)
    title = f"{int(is_false.sum())} pixels with the id of another segment"
    show_pixels(right, marked, title, fontsize=10)
    return figure


def _id_pixels(panoptic: Panoptic) -> np.ndarray:
    return rgb(id_map_to_rgb(panoptic.id_map))


# The map of the course --------------------------------------------------------------------------


def plot_pipeline(trace: Trace, trained: Trained) -> Figure:
    """Draw the path of one image through the network, with the output of each stage.

    Numbers in circles are the chapters of the course.
    """
    figure = Figure(figsize=MAP_SIZE)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, MAP_SIZE[0]), ylim=(MAP_SIZE[1], 0))
    axes.set_axis_off()
    _draw_picture(axes, rgb(trace.image), (0.15, 2.35, 1.5), "image", 0)
    _draw_levels(axes, trace)
    _draw_arrows(axes, ((1.7, 2.85), (2.0, 4.3)))
    _draw_heads(axes, trace, trained)
    merged = trace.prediction.panoptic
    painted = paint_ids(merged.id_map, segment_colors(merged, trained.categories))
    _draw_picture(axes, painted, (7.3, 2.0, 1.9), "merged: panoptic map", 9)
    _draw_arrows(axes, ((6.85, 1.2), (7.5, 1.72)), ((8.125, 3.82), (8.125, 3.32)))
    for x, chapters, text in (
        (0.15, (5,), "train it: six losses,\ntheir balance"),
        (2.45, (6, 7, 8), "a loss made for IoU:\nLovász"),
        (5.15, (10,), "how good is it?\nPanoptic quality"),
        (7.3, (11,), "for real: COCO,\nCityscapes, GPUs"),
    ):
        for i, chapter in enumerate(chapters):
            _draw_circle(axes, x + 0.15 + 0.3 * i, 5.52, chapter)
        axes.text(x + 0.1 + 0.3 * len(chapters), 5.52, text, fontsize=8.5, va="center")
    title = "The network, on one street; circles are chapters"
    axes.text(0.15, 0.22, title, fontsize=12, fontweight="bold", va="center")
    return figure


def _draw_levels(axes: Any, trace: Trace) -> None:
    """Draw the four levels of backbone and pyramid, and the connections between levels."""
    _, height, width = trace.image.shape
    sides, tops = (1.15, 0.78, 0.52, 0.36), (4.05, 2.95, 2.13, 1.48)
    for k, side, top in zip((2, 3, 4, 5), sides, tops, strict=True):
        left = (1.15 - side) / 2
        for x, levels, letter in ((2.0, trace.backbone, "c"), (3.65, trace.pyramid, "p")):
            level = levels[f"{letter}{k}"]
            title = f"{letter}{k}: {level.shape[2]} x {level.shape[3]}"
            _draw_picture(axes, strength(level), (x + left, top, side), title, None)
        y = top + side * height / width / 2
        _draw_arrows(axes, ((2.0 + (1.15 + side) / 2 + 0.05, y), (3.65 + left - 0.05, y)))
        if k < 5:  # up in the backbone, down in the pyramid
            upper = tops[k - 1] + sides[k - 1] * height / width + 0.04
            _draw_arrows(axes, ((2.575, top - 0.2), (2.575, upper)))
            _draw_arrows(axes, ((4.225, upper), (4.225, top - 0.2)))
    _draw_title(axes, 2.575, 0.98, "backbone", 1)
    _draw_title(axes, 4.225, 0.98, "FPN", 1)


def _draw_heads(axes: Any, trace: Trace, trained: Trained) -> None:
    """Draw the outputs of the semantic head, the RPN, the box head and the mask head."""
    categories, pixels = trained.categories, rgb(trace.image)
    colors = class_colors(categories)
    labels = {i: colors[c.id] for i, c in enumerate(stuff(categories), start=1)}
    labels[0] = UNSET_COLOR  # "other": all things
    painted = paint_ids(trace.prediction.label_map, labels)
    _draw_picture(axes, painted, (5.45, 0.75, 1.35), "semantic head", 2)

    scale = 1.35 / pixels.shape[1]
    _draw_picture(axes, pixels, (5.45, 2.35, 1.35), "RPN: proposals", 3)
    for box in trace.proposals[:NUM_PROPOSALS]:
        _draw_box(axes, box, (5.45, 2.35, scale), "0.98", 0.4)

    detections = trace.prediction.detections
    certain = detections[detections.scores >= trained.predict.min_score]
    _draw_picture(axes, pixels, (5.45, 4.1, 1.35), "boxes with classes", 4)
    for box, label in zip(certain.boxes, certain.labels.tolist(), strict=True):
        color = to_hex(colors[things(categories)[label].id])
        _draw_box(axes, box, (5.45, 4.1, scale), color, 1.6)
    masks = paint_masks(trace.image, certain, categories)
    _draw_picture(axes, masks, (7.45, 4.1, 1.35), "masks", 4)

    # Every level of the pyramid goes to both branches.
    axes.plot([4.84, 4.92, 4.92, 4.84], [1.5, 1.5, 4.8, 4.8], color="0.25", linewidth=1.2)
    _draw_arrows(
        axes, ((4.92, 1.8), (5.42, 1.25)), ((4.92, 2.8), (5.42, 2.8)),
        ((6.125, 3.3), (6.125, 3.82)), ((6.85, 4.55), (7.4, 4.55)),
    )  # fmt: skip
    for top, height, word in ((0.4, 1.4, "stuff"), (2.05, 3.1, "things")):
        round_box = "round,pad=0,rounding_size=0.12"
        hull = FancyBboxPatch((5.2, top), 1.85, height, round_box, fc="0.95", ec="0.8", zorder=-1)
        axes.add_patch(hull)
        style = {"fontsize": 9, "fontstyle": "italic", "color": "0.35"}
        center_text(axes, 7.05, top - 0.09, word, ha="right", **style)


def describe_pipeline(trace: Trace, trained: Trained) -> str:
    """Return sizes and counts of each stage's output for the image, in words."""
    sizes = ", ".join(
        f"{name} {level.shape[2]} x {level.shape[3]}"
        for name, level in trace.pyramid.items()
        if name != "p6"
    )
    prediction = trace.prediction
    certain = int((prediction.detections.scores >= trained.predict.min_score).sum())
    labels = len(set(prediction.label_map.unique().tolist()) - {0})
    return (
        "A map of the network with one street on its way: the image, the backbone's four levels, "
        f"the feature pyramid ({sizes}), from it the semantic head's label map ({labels} kinds of "
        f"stuff) and {len(trace.proposals)} proposals, of which {certain} become boxes with a "
        f"class and a mask; merged, {len(prediction.panoptic.segments)} segments."
    )


def paint_masks(
    image: UInt8[Tensor, "3 h w"], detections: Detections, categories: Sequence[Category]
) -> UInt8[np.ndarray, "h w 3"]:
    """Return the image with the masks over it in the colors of their classes, the best on top."""
    masks = paste_masks(detections.mask_probs, detections.boxes, (image.shape[1], image.shape[2]))
    pixels = (0.45 * rgb(image) + 120).astype(np.float32)
    colors = class_colors(categories)
    seen = dict[int, int]()
    for i in reversed(range(len(detections))):
        label = int(detections.labels[i])
        seen[label] = seen.get(label, -1) + 1
        color = instance_color(colors[things(categories)[label].id], seen[label])
        pixels[masks[i].numpy()] = color
    return np.clip(pixels, 0, 255).astype(np.uint8)


def _draw_picture(
    axes: Any, pixels: np.ndarray, corner: Corner, title: str, chapter: int | None
) -> None:
    """Draw a picture with its title above it; the circle of a chapter moves the title up."""
    left, top, width = corner
    height = width * (pixels.shape[0] / pixels.shape[1])
    options = {"cmap": "magma"} if pixels.ndim == 2 else {}
    extent = (left, left + width, top + height, top)
    axes.imshow(pixels, interpolation="nearest", extent=extent, aspect="auto", **options)
    frame = Rectangle((left, top), width, height, fill=False, edgecolor="0.3", linewidth=0.8)
    axes.add_patch(frame)
    axes.set(xlim=(0, MAP_SIZE[0]), ylim=(MAP_SIZE[1], 0))
    if chapter is None:
        center_text(axes, left + width / 2, top - 0.09, title)
    else:
        _draw_title(axes, left + width / 2, top - 0.16, title, chapter)


def _draw_title(axes: Any, x: float, y: float, text: str, chapter: int) -> None:
    center_text(axes, x + 0.12, y, text, fontsize=9, fontweight="bold")
    _draw_circle(axes, x - 0.041 * len(text) - 0.07, y, chapter)


def _draw_circle(axes: Any, x: float, y: float, chapter: int) -> None:
    axes.plot([x], [y], "o", color=BLUE, markersize=15, zorder=6)
    style = {"color": "white", "fontweight": "bold", "va": "center_baseline", "zorder": 7}
    center_text(axes, x, y, f"{chapter:02d}", **style)


def _draw_arrows(axes: Any, *arrows: tuple[Point, Point]) -> None:
    for start, end in arrows:
        style: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 9}
        axes.add_patch(FancyArrowPatch(start, end, color="0.25", linewidth=1.2, **style))


def _draw_box(axes: Any, box: Tensor, corner: Corner, color: str, line: float) -> None:
    """Draw a box over a picture at (left, top) with this many inches a pixel."""
    left, top, scale = corner
    x0, y0, x1, y1 = (scale * box).tolist()
    frame = Rectangle((left + x0, top + y0), x1 - x0, y1 - y0, fill=False, ec=color, lw=line)
    axes.add_patch(frame)
