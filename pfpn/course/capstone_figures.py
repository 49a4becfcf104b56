"""Show the first stage at which a learner's network differs from the package's, as a picture."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from pfpn.boxes import iou
from pfpn.course.capstone_stages import SAME_BOX, Difference, differing_pixels
from pfpn.plot.boxes import FIRST_COLOR, SECOND_COLOR, draw_boxes, draw_image
from pfpn.plot.palette import class_colors, paint_ids
from pfpn.plot.panoptic import draw_panoptic
from pfpn.plot.style import BLUE, RED, draw_grid, open_axes, rgb, show_pixels, subplots
from pfpn.structures import Category, Panoptic, Sample, stuff, things

WIDTH, PANEL_HEIGHT = 9.2, 2.1  # inches
FEW_BOXES = 12  # drawn at most of each kind
OFF_COLOR = (227, 18, 11)  # of pixels that differ


def plot_difference(
    difference: Difference, sample: Sample, categories: Sequence[Category]
) -> Figure:
    """Draw the package's value of a stage beside the learner's, and where they differ."""
    ours, yours = difference.ours, difference.yours
    if isinstance(ours, Panoptic) and isinstance(yours, Panoptic):
        return _plot_maps(sample, ours, yours, categories)
    if difference.stage in ("proposals", "detections", "anchors"):
        return _plot_boxes(difference, sample)
    if difference.stage == "label map":
        return _plot_labels(sample, ours, yours, categories)
    if not isinstance(ours, Tensor) or not isinstance(yours, Tensor):
        figure, axes = subplots(WIDTH / 3, PANEL_HEIGHT)
        draw_image(axes, sample.image, f"street {difference.street}")
        return figure
    if (ours.ndim == 3 and ours.shape[1] == ours.shape[2]) or ours.dtype == torch.bool:
        return _plot_mask(sample, ours, yours)
    if ours.ndim == 4 and len(ours) == 1:
        return _plot_features(sample, ours, yours)
    return _plot_numbers(ours, yours)


def describe_difference(difference: Difference, part: str) -> str:
    """Return the picture in words, for readers who cannot see it."""
    return (
        f"Street {difference.street}, the stage {difference.stage}: the package's, yours "
        f"({part}), and where they differ. {difference.text[0].upper()}{difference.text[1:]}."
    )


def _panels(sample: Sample, columns: int = 4) -> tuple[Figure, Any]:
    ratio = sample.image.shape[1] / sample.image.shape[2]
    figure, panels = subplots(WIDTH, WIDTH / columns * ratio + 0.35, 1, columns)
    draw_image(panels[0], sample.image, f"street {sample.image_id}")
    return figure, panels


def _plot_features(sample: Sample, ours: Tensor, yours: Tensor) -> Figure:
    """Feature maps as the size of each cell's channels together."""
    figure, panels = _panels(sample)
    mine, theirs = (each[0].double().square().mean(0).sqrt() for each in (ours, yours))
    high = float(mine.max())
    for axes, title, values in zip(panels[1:3], ("ours", "yours"), (mine, theirs), strict=True):
        title = f"{title}, {values.shape[0]} x {values.shape[1]} cells"
        show_pixels(axes, values.numpy(), title, cmap="viridis", vmin=0, vmax=high)
    panels[3].set_axis_off()
    if ours.shape == yours.shape:
        panels[3].set_axis_on()
        off = (ours - yours)[0].double().square().mean(0).sqrt()
        picture = show_pixels(panels[3], off.numpy(), "difference", cmap="inferno", vmin=0)
        figure.colorbar(picture, ax=panels[3], fraction=0.05)
    return figure


def _plot_labels(
    sample: Sample, ours: Tensor, yours: Tensor, categories: Sequence[Category]
) -> Figure:
    colors = class_colors(categories)
    known = {label: colors[c.id] for label, c in enumerate(stuff(categories), start=1)}
    figure, panels = _panels(sample)
    show_pixels(panels[1], paint_ids(ours, known), "ours")
    show_pixels(panels[2], paint_ids(yours, known), "yours")
    panels[3].set_axis_off()
    if ours.shape == yours.shape:
        panels[3].set_axis_on()
        show_pixels(panels[3], _mark(sample, ours != yours), "pixels that differ")
    return figure


def _plot_maps(
    sample: Sample, ours: Panoptic, yours: Panoptic, categories: Sequence[Category]
) -> Figure:
    figure, panels = _panels(sample)
    draw_panoptic(panels[1], sample.image, ours, categories, title="ours")
    if yours.id_map.shape != ours.id_map.shape:
        return figure
    draw_panoptic(panels[2], sample.image, yours, categories, title="yours")
    off = differing_pixels(ours, yours)
    show_pixels(panels[3], _mark(sample, off), "pixels that differ")
    return figure


def draw_labels(axes: Any, labels: Tensor, categories: Sequence[Category], title: str) -> None:
    """Draw a label map of all classes: things from 0 on, then stuff."""
    colors = class_colors(categories)
    order = (*things(categories), *stuff(categories))
    known = {label: colors[category.id] for label, category in enumerate(order)}
    show_pixels(axes, paint_ids(labels, known), title)


def plot_map_pair(sample: Sample, prediction: Panoptic, categories: Sequence[Category]) -> Figure:
    """Draw an image, its truth and a predicted panoptic map."""
    figure, panels = _panels(sample, 3)
    draw_panoptic(panels[1], sample.image, sample.panoptic, categories, title="truth")
    draw_panoptic(panels[2], sample.image, prediction, categories, title="prediction")
    return figure


def _plot_mask(sample: Sample, ours: Tensor, yours: Tensor) -> Figure:
    """Draw the mask that differs most."""
    if ours.shape != yours.shape or not len(ours):
        return _plot_numbers(ours, yours)
    a, b = ours.double(), yours.double()
    worst = int((a - b).abs().flatten(1).sum(1).argmax())
    figure, panels = _panels(sample)
    shown = {"ours": a[worst], "yours": b[worst], "difference": (a - b).abs()[worst]}
    for axes, (title, values) in zip(panels[1:], shown.items(), strict=True):
        show_pixels(axes, values.numpy(), f"{title}, mask {worst}", cmap="gray", vmin=0, vmax=1)
    return figure


def _plot_boxes(difference: Difference, sample: Sample) -> Figure:
    """Draw the boxes that only one of the two has."""
    ours, yours = (
        value if isinstance(value, Tensor) else value[0]
        for value in (difference.ours, difference.yours)
    )
    figure, panels = _panels(sample, 3)
    if difference.stage == "anchors":
        rows = (ours != yours).any(1) if ours.shape == yours.shape else torch.ones(len(ours)) > 0
        inside = (ours.min(1).values >= 0) & (ours[:, 2] <= sample.image.shape[2])
        chosen = (rows & inside).nonzero()[:, 0]
        step = max(1, len(chosen) // 3)
        missing = ours[chosen[::step]][:3]
        extra = yours[chosen[::step]][:3] if ours.shape == yours.shape else yours[:0]
    else:
        overlaps = iou(ours, yours) if len(ours) and len(yours) else None
        alone = [torch.ones(len(each), dtype=torch.bool) for each in (ours, yours)]
        if overlaps is not None:
            alone = [overlaps.amax(dim) < SAME_BOX for dim in (1, 0)]
        missing, extra = ours[alone[0]][:FEW_BOXES], yours[alone[1]][:FEW_BOXES]
    for axes, boxes, color, words in (
        (panels[1], missing, SECOND_COLOR, "ours, not among yours"),
        (panels[2], extra, FIRST_COLOR, "yours, not among ours"),
    ):
        draw_image(axes, sample.image, f"{words}: {len(boxes)} shown", fade=0.4)
        axes.set_autoscale_on(False)
        draw_boxes(axes, boxes[boxes.isfinite().all(1)], color)
    return figure


def _plot_numbers(ours: Tensor, yours: Tensor) -> Figure:
    """Draw the learner's numbers over the package's; equal ones lie on the diagonal."""
    figure, axes = subplots(4.2, 3.4)
    open_axes(axes).set(xlabel="ours", ylabel="yours")
    if ours.shape != yours.shape:
        axes.set_title(f"shapes {tuple(ours.shape)} and {tuple(yours.shape)}", fontsize=9)
        return figure
    a, b = (each.double().flatten() for each in (ours, yours))
    chosen = torch.linspace(0, len(a) - 1, min(len(a), 1500)).long()
    axes.plot(a[chosen], b[chosen], ".", color=RED, markersize=3)
    ends = [float(a.min()), float(a.max())]
    axes.plot(ends, ends, color=BLUE, linewidth=1, label="yours = ours")
    axes.legend(fontsize="small", frameon=False)
    draw_grid(axes)
    return figure


def plot_bars(ours: dict[str, float], yours: dict[str, float], title: str) -> Figure:
    """Draw named numbers of the package beside those of a learner."""
    figure, axes = subplots(7, 0.5 + 0.42 * len(ours))
    at = np.arange(len(ours))
    axes.barh(at - 0.2, list(ours.values()), 0.38, color=BLUE, label="ours")
    found = [yours.get(name, 0.0) for name in ours]
    axes.barh(at + 0.2, found, 0.38, color=RED, label="yours")
    axes.set_yticks(at, list(ours))
    axes.invert_yaxis()
    axes.set_title(title, fontsize=9)
    axes.legend(fontsize="small", frameon=False)
    open_axes(axes)
    return figure


def _mark(sample: Sample, off: Tensor) -> np.ndarray:
    """Return the image, faded, with the pixels that differ in red."""
    pixels = (0.45 * rgb(sample.image) + 0.55 * 255).astype(np.uint8)
    pixels[off.numpy()] = OFF_COLOR
    return pixels
