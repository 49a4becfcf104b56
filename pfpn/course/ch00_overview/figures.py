"""The first look: what panoptic segmentation asks for, what a model makes of one street, and how.

What three tasks say about the same pixels, a probe that tells what lies under one pixel, and the
map of the whole network with its own pictures in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Patch, Rectangle
from torch import Tensor

from pfpn.anchors import pyramid_anchors
from pfpn.data.coco import id_map_to_rgb
from pfpn.engine.checkpoint import Trained
from pfpn.fpn import Pyramid
from pfpn.model import PanopticFPN
from pfpn.paste import paste_masks
from pfpn.plot.palette import UNSET_COLOR, VOID_COLOR, class_colors, instance_color, to_hex
from pfpn.plot.panoptic import (
    BORDER_WIDTH,
    border_lines,
    category_of,
    draw_panoptic,
    segment_colors,
    segment_names,
)
from pfpn.predict import Prediction, predict, resize_image, resize_size
from pfpn.quality import match_segments
from pfpn.rpn import select_proposals
from pfpn.structures import (
    VOID,
    Category,
    Detections,
    Panoptic,
    Sample,
    Segment,
    stuff,
    things,
)

NUM_PROPOSALS = 60  # drawn in the map: more would hide the street
MAP_SIZE = (9.4, 5.85)  # inches
FEATURE_COLORS = "magma"


# Data -------------------------------------------------------------------------------------------


def count_blobs(mask: Bool[np.ndarray, "h w"]) -> int:
    """Count the connected regions of a mask; pixels touch along a side, not at a corner."""
    left = np.pad(mask, 1)  # a rim of False, so that no neighbor lies outside
    blobs = 0
    for start in zip(*np.nonzero(left), strict=True):
        if not left[start]:
            continue
        blobs += 1
        left[start] = False
        open_ends = [start]
        while open_ends:
            row, column = open_ends.pop()
            for place in (
                (row - 1, column),
                (row + 1, column),
                (row, column - 1),
                (row, column + 1),
            ):
                if left[place]:
                    left[place] = False
                    open_ends.append(place)
    return blobs


@dataclass(frozen=True, slots=True)
class ClassCount:
    """How many objects of a class there are, and how many regions a map of classes shows."""

    category: Category
    objects: int
    blobs: int


def count_objects(panoptic: Panoptic, categories: Sequence[Category]) -> list[ClassCount]:
    """Compare the objects of each thing class with the regions that their pixels form together."""
    rows = []
    ids = panoptic.id_map.cpu().numpy()
    for label, category in enumerate(things(categories)):
        members = [s.id for s in panoptic.segments if s.is_thing and s.label == label]
        if members:
            rows.append(ClassCount(category, len(members), count_blobs(np.isin(ids, members))))
    return rows


def silent_share(panoptic: Panoptic) -> float:
    """Return the share of the pixels of which instance segmentation says nothing."""
    members = [s.id for s in panoptic.segments if s.is_thing]
    return 1.0 - float(np.isin(panoptic.id_map.cpu().numpy(), members).mean())


def ids_by_color(panoptic: Panoptic, categories: Sequence[Category]) -> Panoptic:
    """Number the segments anew so that an id PNG shows their colors: id = R + 256 G + 65536 B.

    A color that is taken already is changed by one step at a time until it is free.
    """
    id_map = torch.full_like(panoptic.id_map, VOID)
    taken = {VOID}
    segments = []
    for segment in panoptic.segments:
        red, green, blue = segment_colors(panoptic, categories)[segment.id]
        number = red + 256 * green + 65536 * blue
        while number in taken:
            number += 1 if red < 255 else -1
        taken.add(number)
        id_map[panoptic.id_map == segment.id] = number
        segments.append(Segment(number, segment.label, segment.is_thing))
    return Panoptic(id_map, tuple(segments))


@dataclass(frozen=True, slots=True)
class Trace:
    """What every stage of the network makes of one image, in the frame of the network's input."""

    image: UInt8[Tensor, "3 h w"]
    backbone: Pyramid  # c2..c5
    pyramid: Pyramid  # p2..p6
    proposals: Float[Tensor, "n 4"]  # best first
    prediction: Prediction


@torch.no_grad()
def trace_image(trained: Trained, image: UInt8[Tensor, "3 h w"]) -> Trace:
    """Send one image through a model with both branches, and keep what lies on the way."""
    model, config = trained.model, trained.predict
    size = resize_size((image.shape[1], image.shape[2]), config.shortest_edge, config.longest_edge)
    resized = resize_image(image, size)
    stacked, sizes = model.stack([resized])
    stages = model.backbone(stacked)
    pyramid = model.fpn(stages)
    proposals = _proposals(model, pyramid, sizes)
    return Trace(resized, stages, pyramid, proposals, predict(model, [resized], config)[0])


def _proposals(
    model: PanopticFPN, pyramid: Pyramid, sizes: list[tuple[int, int]]
) -> Float[Tensor, "n 4"]:
    c = model.config
    anchors = pyramid_anchors(pyramid, c.anchor_sides, c.anchor_ratios, c.anchor_rounding)
    logits, deltas = model.rpn_head(pyramid)
    boxes, _ = select_proposals(
        anchors, logits, deltas, sizes, max_per_level=c.test_proposals_per_level,
        max_total=c.test_proposals, nms_threshold=c.rpn_nms_threshold,
    )  # fmt: skip
    return boxes[0]


def strength(features: Float[Tensor, "1 c h w"]) -> Float[np.ndarray, "h w"]:
    """Return how strongly each cell answers: the root mean square over channels, 0 to 1."""
    value = features[0].float().pow(2).mean(dim=0).sqrt()
    low, high = value.min(), value.max()
    return ((value - low) / (high - low).clamp(min=1e-12)).numpy()


def plot_image(image: UInt8[Tensor, "3 h w"], width: float = 6.0) -> Figure:
    """Draw an image and nothing else, `width` inches wide."""
    figure = Figure(figsize=(width, width * image.shape[1] / image.shape[2]))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest")
    axes.set_axis_off()
    return figure


# Three tasks ------------------------------------------------------------------------------------


def plot_tasks(sample: Sample, categories: Sequence[Category]) -> Figure:
    """Draw one image as three tasks see it: class by pixel, object by object, and both at once."""
    height, width = sample.panoptic.id_map.shape
    figure = Figure(figsize=(9, 9 * height / width + 0.9), layout="constrained")
    grid = figure.subplots(2, 2)
    pixels = sample.image.permute(1, 2, 0).numpy()
    grid[0, 0].imshow(pixels, interpolation="nearest", extent=(0, width, height, 0))
    grid[0, 0].set_title("image", fontsize=10)
    counts = count_objects(sample.panoptic, categories)
    painted = [row for row in counts if row.blobs != row.objects]
    words = [f"{row.objects} {row.category.name}s, {row.blobs} regions" for row in painted]
    grid[0, 1].imshow(
        paint_classes(sample.panoptic, categories), interpolation="nearest",
        extent=(0, width, height, 0),
    )  # fmt: skip
    lost = f" ({'; '.join(words)})" if words else ""
    grid[0, 1].set_title(f"semantic: a class for every pixel{lost}", fontsize=10)
    grid[1, 0].imshow(
        paint_instances(sample, categories), interpolation="nearest", extent=(0, width, height, 0)
    )
    x, y = border_lines(_things_only(sample.panoptic).numpy())
    grid[1, 0].plot(x, y, color="white", linewidth=BORDER_WIDTH)
    silent = 100 * silent_share(sample.panoptic)
    grid[1, 0].set_title(f"instance: objects alone ({silent:.0f} % of pixels unsaid)", fontsize=10)
    draw_panoptic(grid[1, 1], sample.image, sample.panoptic, categories, alpha=1)
    grid[1, 1].set_title("panoptic: a segment for every pixel", fontsize=10)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[], xlim=(0, width), ylim=(height, 0))
    colors = class_colors(categories)
    present = {category_of(s, categories).id for s in sample.panoptic.segments}
    handles = [
        Patch(facecolor=to_hex(colors[c.id]), edgecolor="0.4", linewidth=0.5, label=c.name)
        for c in (*things(categories), *stuff(categories))
        if c.id in present
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=8, fontsize=8, frameon=False)
    return figure


def describe_tasks(sample: Sample, categories: Sequence[Category]) -> str:
    """Say what each task loses on this image."""
    counts = ", ".join(
        f"{row.category.name} {row.objects} as {row.blobs}"
        for row in count_objects(sample.panoptic, categories)
    )
    return (
        "One street four times: the image; classes by pixel, where objects of a class run together "
        f"or fall apart (objects as connected regions: {counts}); objects alone, with "
        f"{100 * silent_share(sample.panoptic):.0f} percent of the pixels left gray; and the "
        "panoptic map, which has every pixel and every object."
    )


def paint_classes(panoptic: Panoptic, categories: Sequence[Category]) -> UInt8[np.ndarray, "h w 3"]:
    """Paint every pixel in the plain color of its class: a semantic segmentation."""
    colors = class_colors(categories)
    table = {s.id: colors[category_of(s, categories).id] for s in panoptic.segments}
    return _paint(panoptic.id_map, table)


def paint_instances(sample: Sample, categories: Sequence[Category]) -> UInt8[np.ndarray, "h w 3"]:
    """Paint the things over the image in gray: an instance segmentation."""
    gray = sample.image.float().mean(dim=0).numpy()
    pixels = np.repeat((140 + 0.35 * gray)[..., None], 3, axis=2).astype(np.uint8)
    objects = _things_only(sample.panoptic)
    painted = _paint(objects, segment_colors(sample.panoptic, categories))
    return np.where((objects != VOID).numpy()[..., None], painted, pixels)


def _things_only(panoptic: Panoptic) -> Int[Tensor, "h w"]:
    ids = torch.tensor([s.id for s in panoptic.segments if s.is_thing], dtype=torch.int64)
    return panoptic.id_map * torch.isin(panoptic.id_map, ids)


def _paint(id_map: Tensor, table: dict[int, Any]) -> UInt8[np.ndarray, "h w 3"]:
    known, places = np.unique(id_map.numpy(), return_inverse=True)
    colors = np.asarray([table.get(int(i), VOID_COLOR) for i in known], dtype=np.uint8)
    return colors[places.reshape(id_map.shape)]


# A probe ----------------------------------------------------------------------------------------


def plot_probe(
    sample: Sample, found: Panoptic, categories: Sequence[Category], x: int = 0, y: int = 0
) -> Figure:
    """Light up the segments under one pixel, in the truth and in what was found, and name them.

    Args:
        sample: with its truth.
        found: a panoptic map for it.
        categories: of both.
        x: column of the pixel, from the left.
        y: row of the pixel, from the top.
    """
    height, width = sample.panoptic.id_map.shape
    inches = 2.3 * height / width  # of a picture; a fixed layout is quicker than a fitted one
    figure = Figure(figsize=(4.7, inches + 0.6))
    grid = figure.subplots(1, 2)
    figure.subplots_adjust(0.01, 0.3 / (inches + 0.6), 0.99, 1 - 0.27 / (inches + 0.6), 0.03)
    pixels = sample.image.permute(1, 2, 0).numpy().astype(np.float32)
    for axes, panoptic, title in zip(
        grid, (sample.panoptic, found), ("truth", "found"), strict=True
    ):
        number = int(panoptic.id_map[y, x])
        mask = (panoptic.id_map == number).numpy()
        # Few shades of gray: what is not meant steps back, and the stored picture stays small.
        gray = 110 + 16 * np.floor(pixels.mean(axis=2, keepdims=True) / 42)
        shown = np.where(mask[..., None], pixels, gray)
        color = segment_colors(panoptic, categories).get(number, VOID_COLOR)
        axes.imshow(shown.astype(np.uint8), interpolation="nearest", extent=(0, width, height, 0))
        edge_x, edge_y = border_lines(mask)
        axes.plot(edge_x, edge_y, color="white", linewidth=3)
        axes.plot(edge_x, edge_y, color=to_hex(color), linewidth=1.6)
        axes.plot([x + 0.5], [y + 0.5], "+", color="white", markersize=13, markeredgewidth=3)
        axes.plot([x + 0.5], [y + 0.5], "+", color="black", markersize=12, markeredgewidth=1.4)
        axes.set(xticks=[], yticks=[], xlim=(0, width), ylim=(height, 0))
        name = segment_names(panoptic, categories).get(number, "void")
        axes.set_title(f"{title}: {name}, id {number}", fontsize=9)
    figure.text(
        0.5, 0.035, _verdict(sample.panoptic, found, x, y), fontsize=9, ha="center", va="bottom"
    )
    return figure


def _verdict(gt: Panoptic, found: Panoptic, x: int, y: int) -> str:
    """Say whether the two segments under a pixel are a match."""
    truth = next((s for s in gt.segments if s.id == gt.id_map[y, x]), None)
    guess = next((s for s in found.segments if s.id == found.id_map[y, x]), None)
    if truth is None:
        return "Nobody knows what this is: void of the truth is not scored."
    if guess is None:
        return "Nothing was found here."
    if (truth.is_thing, truth.label) != (guess.is_thing, guess.label):
        return "Two classes: these two cannot match."
    iou = next(
        (
            iou
            for a, b, iou in match_segments(gt, found).pairs
            if (a.id, b.id) == (truth.id, guess.id)
        ),
        None,
    )
    return (
        "Same class, but an IoU of 0.5 or less: no match."
        if iou is None
        else (f"Same class, IoU {iou:.2f}: a match.")
    )


def describe_pixel(panoptic: Panoptic, categories: Sequence[Category], x: int, y: int) -> str:
    """Say which segment a pixel belongs to: its name, id and size."""
    number = int(panoptic.id_map[y, x])
    area = int((panoptic.id_map == number).sum())
    if number == VOID:
        return f"void, id 0, {area} pixels"
    kind = {s.id: "thing" if s.is_thing else "stuff" for s in panoptic.segments}[number]
    name = segment_names(panoptic, categories)[number]
    return f"{name} ({kind}), id {number}, {area} pixels"


# The id PNG -------------------------------------------------------------------------------------


def plot_id_colors(panoptic: Panoptic, categories: Sequence[Category]) -> Figure:
    """Draw an id PNG as a picture viewer shows it: with ids 1, 2, ... and with ids from colors."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    colored = ids_by_color(panoptic, categories)
    for axes, shown, title in zip(
        figure.subplots(1, 2),
        (panoptic, colored),
        ("ids 1, 2, 3, ... as colors", "the same segments, ids made from class colors"),
        strict=True,
    ):
        axes.imshow(id_map_to_rgb(shown.id_map).permute(1, 2, 0).numpy(), interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        axes.set_title(title, fontsize=10)
    return figure


# The map of the course --------------------------------------------------------------------------


def plot_pipeline(trace: Trace, trained: Trained) -> Figure:
    """Draw the way of one image through the network, with what each stage made of it.

    Numbers in circles are the chapters of the course.
    """
    figure = Figure(figsize=MAP_SIZE)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, MAP_SIZE[0]), ylim=(MAP_SIZE[1], 0))
    axes.set_axis_off()
    categories, found = trained.categories, trace.prediction
    height, width = trace.image.shape[1:]
    ratio = height / width
    pixels = trace.image.permute(1, 2, 0).numpy()
    certain = found.detections[found.detections.scores >= trained.predict.min_score]

    _picture(axes, pixels, (0.15, 2.35, 1.5), ratio, "image", 0)
    for k in (2, 3, 4, 5):
        side = (1.15, 0.78, 0.52, 0.36)[k - 2]
        top = (4.05, 2.95, 2.13, 1.48)[k - 2]
        for x, levels, letter in ((2.0, trace.backbone, "c"), (3.65, trace.pyramid, "p")):
            level = levels[f"{letter}{k}"]
            place = (x + (1.15 - side) / 2, top, side)
            size = f"{letter}{k}: {level.shape[2]} x {level.shape[3]}"
            _picture(axes, strength(level), place, ratio, size, None)
        y = top + side * ratio / 2
        _arrow(axes, (2.0 + (1.15 + side) / 2 + 0.05, y), (3.65 + (1.15 - side) / 2 - 0.05, y))
        if k < 5:  # the ways from level to level: up in the backbone, down in the pyramid
            upper = (2.95, 2.13, 1.48)[k - 2] + (0.78, 0.52, 0.36)[k - 2] * ratio + 0.04
            _arrow(axes, (2.575, top - 0.2), (2.575, upper))
            _arrow(axes, (4.225, upper), (4.225, top - 0.2))
    _title(axes, 2.575, 0.98, "backbone", 1)
    _title(axes, 4.225, 0.98, "FPN", 1)
    _arrow(axes, (1.7, 2.85), (2.0, 4.3))

    labels = _paint(found.label_map, _label_colors(categories))
    _picture(axes, labels, (5.45, 0.75, 1.35), ratio, "semantic head", 2)
    _picture(axes, pixels, (5.45, 2.35, 1.35), ratio, "RPN: proposals", 3)
    _boxes(axes, trace.proposals[:NUM_PROPOSALS], (5.45, 2.35, 1.35), width, "0.98", 0.4)
    _picture(axes, pixels, (5.45, 4.1, 1.35), ratio, "boxes with classes", 4)
    colors = _thing_colors(categories)
    for box, label in zip(certain.boxes, certain.labels.tolist(), strict=True):
        _boxes(axes, box[None], (5.45, 4.1, 1.35), width, colors[label], 1.6)
    masks = paint_masks(trace.image, certain, categories)
    _picture(axes, masks, (7.45, 4.1, 1.35), ratio, "masks", 4)
    # Every level of the pyramid goes to both heads.
    axes.plot([4.84, 4.92, 4.92, 4.84], [1.5, 1.5, 4.8, 4.8], color="0.25", linewidth=1.2)
    _arrow(axes, (4.92, 1.8), (5.42, 1.25))
    _arrow(axes, (4.92, 2.8), (5.42, 2.8))
    _arrow(axes, (6.125, 3.3), (6.125, 3.82))
    _arrow(axes, (6.85, 4.55), (7.4, 4.55))

    painted = _paint(found.panoptic.id_map, segment_colors(found.panoptic, categories))
    _picture(axes, painted, (7.3, 2.0, 1.9), ratio, "merged: panoptic map", 9)
    _arrow(axes, (6.85, 1.2), (7.5, 1.72))
    _arrow(axes, (8.125, 3.82), (8.125, 3.32))
    for x, chapters, text in (
        (0.15, (5,), "train it: six losses,\ntheir balance"),
        (2.45, (6, 7, 8), "a loss made for IoU:\nLovász"),
        (5.15, (10,), "how good is it?\nPanoptic quality"),
        (7.3, (11,), "for real: COCO,\nCityscapes, GPUs"),
    ):
        _note(axes, x, 5.52, text, chapters)
    axes.text(0.15, 0.22, "The network, on one street; circles are chapters", fontsize=12,
              fontweight="bold", va="center")  # fmt: skip
    _hull(axes, (5.2, 0.4, 1.85, 1.4), "stuff")
    _hull(axes, (5.2, 2.05, 1.85, 3.1), "things")

    return figure


def describe_pipeline(trace: Trace, trained: Trained) -> str:
    """Say what each stage made of the image, with its sizes and counts."""
    sizes = ", ".join(
        f"{name} {level.shape[2]} x {level.shape[3]}"
        for name, level in trace.pyramid.items()
        if name != "p6"
    )
    found = trace.prediction
    certain = int((found.detections.scores >= trained.predict.min_score).sum())
    labels = len(set(found.label_map.unique().tolist()) - {0})
    return (
        "A map of the network with one street on its way: the image, the backbone's four levels, "
        f"the feature pyramid ({sizes}), from it the semantic head's label map ({labels} kinds of "
        f"stuff) and {len(trace.proposals)} proposals, of which {certain} become boxes with a "
        f"class and a mask; merged, {len(found.panoptic.segments)} segments."
    )


def paint_masks(
    image: UInt8[Tensor, "3 h w"], found: Detections, categories: Sequence[Category]
) -> UInt8[np.ndarray, "h w 3"]:
    """Lay the masks of detections over the image, the surest on top, each in its class's color."""
    masks = paste_masks(found.mask_probs, found.boxes, (image.shape[1], image.shape[2]))
    pixels = (0.45 * image.permute(1, 2, 0).numpy() + 120).astype(np.float32)
    colors = class_colors(categories)
    seen = dict[int, int]()
    for i in reversed(range(len(found))):
        label = int(found.labels[i])
        seen[label] = seen.get(label, -1) + 1
        color = instance_color(colors[things(categories)[label].id], seen[label])
        pixels[masks[i].numpy()] = color
    return np.clip(pixels, 0, 255).astype(np.uint8)


def _label_colors(categories: Sequence[Category]) -> dict[int, Any]:
    colors = class_colors(categories)
    table: dict[int, Any] = {i: colors[c.id] for i, c in enumerate(stuff(categories), start=1)}
    return table | {0: UNSET_COLOR}  # "other": whatever is a thing


def _thing_colors(categories: Sequence[Category]) -> list[str]:
    colors = class_colors(categories)
    return [to_hex(colors[category.id]) for category in things(categories)]


def _picture(
    axes: Any, pixels: np.ndarray, place: tuple[float, float, float], ratio: float, title: str,
    chapter: int | None,
) -> None:  # fmt: skip
    """Draw a picture at (left, top, width) in inches, its title above it."""
    left, top, width = place
    extent = (left, left + width, top + width * ratio, top)
    cmap = FEATURE_COLORS if pixels.ndim == 2 else None
    axes.imshow(pixels, interpolation="nearest", extent=extent, cmap=cmap, aspect="auto")
    axes.add_patch(
        Rectangle((left, top), width, width * ratio, fill=False, edgecolor="0.3", linewidth=0.8)
    )
    axes.set(xlim=(0, MAP_SIZE[0]), ylim=(MAP_SIZE[1], 0))
    if chapter is None:
        axes.text(left + width / 2, top - 0.09, title, fontsize=8, ha="center", va="center")
    else:
        _title(axes, left + width / 2, top - 0.16, title, chapter)


def _title(axes: Any, x: float, y: float, text: str, chapter: int) -> None:
    axes.text(x + 0.12, y, text, fontsize=9, fontweight="bold", ha="center", va="center")
    _circle(axes, x - 0.041 * len(text) - 0.07, y, chapter)


def _circle(axes: Any, x: float, y: float, chapter: int) -> None:
    axes.plot([x], [y], "o", color="#0072b2", markersize=15, zorder=6)
    axes.text(x, y, f"{chapter:02d}", color="white", fontsize=8, fontweight="bold", ha="center",
              va="center_baseline", zorder=7)  # fmt: skip


def _arrow(axes: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9, color="0.25", linewidth=1.2)
    )


def _boxes(
    axes: Any, boxes: Tensor, place: tuple[float, float, float], width: int, color: str, line: float
) -> None:
    left, top, side = place
    scale = side / width
    for x0, y0, x1, y1 in boxes.tolist():
        axes.add_patch(
            Rectangle((left + x0 * scale, top + y0 * scale), (x1 - x0) * scale, (y1 - y0) * scale,
                      fill=False, edgecolor=color, linewidth=line)
        )  # fmt: skip


def _note(axes: Any, x: float, y: float, text: str, chapters: Sequence[int]) -> None:
    for i, chapter in enumerate(chapters):
        _circle(axes, x + 0.15 + 0.3 * i, y, chapter)
    axes.text(x + 0.1 + 0.3 * len(chapters), y, text, fontsize=8.5, va="center")


def _hull(axes: Any, place: tuple[float, float, float, float], word: str) -> None:
    left, top, width, height = place
    axes.add_patch(
        FancyBboxPatch((left, top), width, height, boxstyle="round,pad=0,rounding_size=0.12",
                       facecolor="0.95", edgecolor="0.8", zorder=-1)
    )  # fmt: skip
    axes.text(left + width, top - 0.09, word, fontsize=9, fontstyle="italic", ha="right",
              va="center", color="0.35")  # fmt: skip
