"""What every figure shares: colors, axes, legends, arrows, outlines of letters.

The hues are those of Okabe and Ito, which color-blind readers can tell apart. Each hue has one
meaning within a figure, and a legend or a label beside it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import AbstractPathEffect, withStroke
from torch import Tensor

BLUE, SKY, GREEN, ORANGE = "#0072b2", "#56b4e9", "#009e73", "#e69f00"
RED, PINK, YELLOW = "#d55e00", "#cc79a7", "#f0e442"
PLUM, CRIMSON = "#7a1f5c", "#e3120b"  # beside the palette: one more dark hue; a red for faults
INK, GRAY, PALE_GRAY = "#222222", "#8a8a8a", "#b8b8b8"

Point = tuple[float, float]  # x and y in data coordinates


def subplots(
    width: float, height: float, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[Figure, Any]:
    """Return a figure of width x height inches and its axes: one, or an array of them.

    The figure is made without pyplot, so a notebook shows it once.

    Args:
        width: in inches.
        height: in inches.
        rows: of axes.
        columns: of axes.
        **options: passed on to `Figure.subplots`, such as `width_ratios` or `squeeze`.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def open_axes(axes: Any) -> Any:
    """Hide the top and the right spine of axes, and return the axes."""
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def draw_grid(axes: Any, color: str = "0.92", **options: Any) -> None:
    """Draw grid lines behind everything else; `axis="x"` or "y" restricts them."""
    axes.grid(color=color, **options)
    axes.set_axisbelow(True)


def log_xticks(axes: Any, ticks: Sequence[float], base: float = 2) -> None:
    """Scale the x axis by the logarithm, with these ticks and no others."""
    axes.set_xscale("log", base=base)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()


def rgb(image: UInt8[Tensor, "3 h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Return an image in the order of axes that matplotlib takes."""
    pixels: np.ndarray = image.permute(1, 2, 0).cpu().numpy()
    return pixels


def show_pixels(
    axes: Any, pixels: np.ndarray, title: str = "", *, fontsize: float = 9, **options: Any
) -> Any:
    """Show pixels without ticks, and return matplotlib's image.

    The pixel in row r and column c covers the square from (c, r) to (c + 1, r + 1).

    Args:
        axes: matplotlib axes.
        pixels: (h, w, 3) or (h, w), values as matplotlib's imshow takes them.
        title: written above, if any.
        fontsize: of the title.
        **options: passed on to imshow.
    """
    height, width = pixels.shape[:2]
    frame = {"interpolation": "nearest", "extent": (0, width, height, 0)}
    image = axes.imshow(pixels, **{**frame, **options})
    axes.set(xticks=[], yticks=[])
    if title:
        axes.set_title(title, fontsize=fontsize)
    return image


def center_text(axes: Any, x: float, y: float, text: object, **options: Any) -> None:
    """Write a text centered on a point, in 8 points unless `fontsize` is given."""
    axes.text(x, y, text, **{"ha": "center", "va": "center", "fontsize": 8, **options})


def halo(width: float = 2.2, color: str = "white", **options: Any) -> list[AbstractPathEffect]:
    """Return `path_effects` that keep lines and letters readable over a picture."""
    return [withStroke(linewidth=width, foreground=color, **options)]


def draw_arrow(
    axes: Any,
    start: Point,
    end: Point,
    *,
    color: str = "0.3",
    style: str = "-|>",
    zorder: float = 2,
    **options: Any,
) -> None:
    """Draw an arrow between two points.

    Args:
        axes: matplotlib axes.
        start: its tail.
        end: its tip.
        color: of line and tip.
        style: matplotlib's arrow style; "-" leaves the tip out.
        zorder: what is higher is drawn later; lines have 2, texts 3.
        **options: passed on as arrow properties, such as `linewidth`.
    """
    properties = {"arrowstyle": style, "color": color, **options}
    axes.annotate("", xy=end, xytext=start, arrowprops=properties, zorder=zorder)


def swatches(colors: Mapping[str, Any], **options: Any) -> list[Patch]:
    """Return a colored patch for each name, as handles of a legend."""
    return [
        Patch(**{"facecolor": color, "edgecolor": "0.4", "label": name, **options})
        for name, color in colors.items()
    ]


def add_legend(
    owner: Any, handles: Sequence[Any] | None = None, *, fontsize: float | str = 8, **options: Any
) -> None:
    """Add a legend without a frame to axes or to a figure.

    Args:
        owner: axes, or a figure.
        handles: what is named; all labeled artists unless given.
        fontsize: of the names.
        **options: passed on to matplotlib's legend, such as `loc` and `ncols`.
    """
    known = {} if handles is None else {"handles": handles}
    owner.legend(**{**known, "fontsize": fontsize, "frameon": False, **options})


def legend_below(
    figure: Figure, handles: Sequence[Any], *, fontsize: float | str = 8, **options: Any
) -> None:
    """Add a legend without a frame below everything else in a figure."""
    add_legend(figure, handles, fontsize=fontsize, **{"loc": "outside lower center", **options})
