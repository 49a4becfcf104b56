"""Colors, axes and outlines that every figure shares.

The hues are those of Okabe and Ito, which colour-blind readers can tell apart. Each hue has one
meaning within a figure, and a legend or a label beside it.
"""

from typing import Any

import numpy as np

BLUE, SKY, GREEN, ORANGE = "#0072b2", "#56b4e9", "#009e73", "#e69f00"
RED, PINK, YELLOW = "#d55e00", "#cc79a7", "#f0e442"
INK, GRAY, PALE_GRAY = "#222222", "#8a8a8a", "#b8b8b8"


def open_axes(axes: Any) -> Any:
    """Hide the top and the right spine of axes, and return the axes."""
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def show_pixels(axes: Any, pixels: np.ndarray, title: str = "", **options: Any) -> Any:
    """Show (h, w, 3) or (h, w) pixels without ticks, and return matplotlib's image.

    Args:
        axes: matplotlib axes.
        pixels: values as matplotlib's imshow takes them.
        title: written above, if any.
        **options: passed on to imshow.
    """
    image = axes.imshow(pixels, **{"interpolation": "nearest", **options})
    axes.set_xticks([])
    axes.set_yticks([])
    if title:
        axes.set_title(title)
    return image
