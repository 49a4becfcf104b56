"""Boxes on pictures: images on their pixel grid, boxes outlined so that they show anywhere."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from pfpn.plot.style import halo, rgb, show_pixels, subplots

Image = UInt8[Tensor, "3 h w"]

# None of these is the color of a class, and every meaning has a line style of its own as well.
TRUTH_COLOR = "white"
FIRST_COLOR = "#ffb000"  # of two boxes, and of boxes that are looked at
SECOND_COLOR = "#00c2ff"
BAD_COLOR = "#ff2a55"
ROW_COLORS = (
    FIRST_COLOR, SECOND_COLOR, "#ff62c0", "#7dff62", "#c9a2ff", "#f4ff4d", "#4dffd8", "#5f7bff",
    "#b0703a", "#8fa83c", "#d8d8d8", "#a0308f",
)  # fmt: skip
NARROW = 0.1  # a smaller range of scores shows no differences of color
HALO_WIDTH = 1.6  # points of black around lines on a picture
SCORE_COLORS = "plasma"


def draw_image(axes: Any, image: Image, title: str = "", *, fade: float = 0.0) -> None:
    """Show an image on its pixel grid, `fade` of the way to white."""
    pixels = rgb(image)
    draw_pixels(axes, pixels + fade * (255.0 - pixels), title)


def draw_pixels(axes: Any, pixels: np.ndarray, title: str = "") -> None:
    """Show RGB values from 0 to 255, rounded, on their pixel grid."""
    show_pixels(axes, np.rint(pixels.clip(0, 255)).astype(np.uint8), title)


def draw_boxes(
    axes: Any,
    boxes: Float[Tensor, "n 4"],
    colors: str | Sequence[Any] = FIRST_COLOR,
    *,
    names: Sequence[str] = (),
    width: float = 1.5,
    style: str = "-",
) -> None:
    """Draw boxes as lines with a dark rim; names stand on the upper left corner."""
    corners = boxes.detach().cpu().numpy()
    lines = [[(a, b), (c, b), (c, d), (a, d), (a, b)] for a, b, c, d in corners]
    axes.add_collection(
        LineCollection(
            lines, colors=colors, linewidths=width, linestyles=style,
            capstyle="projecting" if style == "-" else "butt",  # no caps in the gaps of dashes
            joinstyle="miter", path_effects=halo(width + HALO_WIDTH, "black", alpha=0.55),
        )
    )  # fmt: skip
    for i, (name, (x0, y0, _, _)) in enumerate(zip(names, corners, strict=False)):
        color = colors if isinstance(colors, str) else colors[i % len(colors)]
        axes.text(
            x0, y0, name, color="black", fontsize=8, va="bottom", ha="left", clip_on=True,
            bbox={"facecolor": color, "edgecolor": "none", "pad": 1, "alpha": 0.85},
        )  # fmt: skip


def draw_rectangle(axes: Any, box: Sequence[float], **options: Any) -> None:
    """Draw one box (x0, y0, x1, y1) in a diagram: its outline, unless `fill=True` is given.

    All other options are matplotlib's, such as `ec`, `lw`, `hatch`.
    """
    x0, y0, x1, y1 = box
    axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, **{"fill": False, **options}))


def view_square(axes: Any, box: Sequence[float], margin: float) -> None:
    """Show only the square around a box (x0, y0, x1, y1), with a margin in pixels on each side."""
    x0, y0, x1, y1 = box
    x, y, half = (x0 + x1) / 2, (y0 + y1) / 2, max(x1 - x0, y1 - y0) / 2 + margin
    axes.set(xlim=(x - half, x + half), ylim=(y + half, y - half))


def image_panels(rows: int, columns: int, image: Image, width: float = 9) -> tuple[Figure, Any]:
    """Return a figure of some width in inches; its panels have the image's shape and a title."""
    height = rows * (width / columns * image.shape[1] / image.shape[2] + 0.3)
    return subplots(width, height, rows, columns, squeeze=False)


def crop_panels(count: int) -> tuple[Figure, list[Any]]:
    """Return a figure with `count` square panels, four in a row, for parts of pictures."""
    rows = -(-count // 4)
    figure, panels = subplots(8.8, 2.5 * rows, rows, 4, squeeze=False)
    return figure, _hide_rest(panels, count)


def _hide_rest(panels: Any, count: int) -> list[Any]:
    """Hide all panels but the first `count`, and return those."""
    for axes in panels.ravel()[count:]:
        axes.set_visible(False)
    return list(panels.ravel()[:count])


def plot_box_stages(
    image: Image,
    stages: Mapping[str, tuple[Float[Tensor, "_n 4"], Float[Tensor, " _n"]]],
    gt_boxes: Float[Tensor, "n 4"],
    *,
    margin: int = 0,
    columns: int = 2,
) -> Figure:
    """Draw one panel per stage: its boxes, colored by score, the best on top.

    Where all scores are nearly equal, all boxes have one color, and the title names the scores.

    Args:
        image: under the boxes.
        stages: boxes and scores by the stage's name.
        gt_boxes: dotted in white.
        margin: pixels around the image that are shown too.
        columns: of panels.
    """
    figure, panels = image_panels(-(-len(stages) // columns), columns, image, width=8.6)
    height, width = image.shape[1:]
    every = torch.cat([scores for _, scores in stages.values()])
    is_narrow = len(every) > 0 and float(every.max() - every.min()) < NARROW
    colormap = colormaps[SCORE_COLORS]
    used = _hide_rest(panels, len(stages))
    for axes, (name, (boxes, scores)) in zip(used, stages.items(), strict=True):
        order = scores.argsort()
        title = f"{name} ({len(boxes)})"
        colors: Any = list(colormap(scores[order].cpu().numpy()))
        if is_narrow and len(boxes):
            low, high = f"{float(scores.min()):.2f}", f"{float(scores.max()):.2f}"
            title += f", scores {low} to {high}" if low != high else f", each score {low}"
            colors = FIRST_COLOR
        draw_image(axes, image, title, fade=0.25)
        draw_boxes(axes, boxes[order], colors, width=1.2)
        draw_boxes(axes, gt_boxes, TRUTH_COLOR, width=1, style=":")
        axes.set(xlim=(-margin, width + margin), ylim=(height + margin, -margin))
    if is_narrow:
        return figure
    scale = ScalarMappable(Normalize(0, 1), SCORE_COLORS)
    figure.colorbar(scale, ax=panels, label="score", shrink=0.7, pad=0.01)
    return figure
