"""Show a figure once, sharp on any screen, with a description for readers who cannot see it.

The description is also the output's plain text, by which tests compare stored notebooks: nbval does
not compare pictures.
"""

import base64
import html
import io
import os
from typing import Any

from IPython.core.getipython import get_ipython
from IPython.display import publish_display_data
from matplotlib.figure import Figure
from PIL import Image

SHARPNESS = 1.5  # pixels of the picture for each pixel of the page, in each direction
PAGE_DPI = 96  # pixels of a web page per inch
MAX_WIDTH = 9.6  # inches: a notebook shrinks wider figures
MIN_WORDS = 40  # characters; a shorter text cannot describe a figure


def is_static() -> bool:
    """Return whether sliders cannot work: outside of a notebook, or where PFPN_STATIC is 1."""
    shell = get_ipython()
    live = shell is not None and getattr(shell, "kernel", None) is not None
    return os.environ.get("PFPN_STATIC", "") == "1" or not live


def show(figure: Figure, alt: str, colors: int = 256) -> None:
    """Display a figure below the cell.

    Args:
        figure: at most MAX_WIDTH inches wide.
        alt: describes the figure, the numbers that matter included.
        colors: kept in the stored picture; 64 make one of a surface in 3-D a third smaller.

    Raises:
        ValueError: `alt` is too short, or the figure too wide for the page.
    """
    require_words(alt)
    width = figure.get_size_inches()[0]
    if width > MAX_WIDTH:
        raise ValueError(
            f"show: the figure is {width:.1f} inches wide, a page has {MAX_WIDTH}. "
            "Give it another figsize."
        )
    publish(to_image(figure, SHARPNESS * PAGE_DPI), alt, colors)


def require_words(alt: str) -> None:
    """Raise ValueError if the description of a figure is too short to describe it."""
    if len(alt) < MIN_WORDS:
        raise ValueError(
            f"The description of a figure has {len(alt)} characters ({alt!r}), expected at least "
            f"{MIN_WORDS}: what is seen, and the numbers that matter."
        )


def to_image(figure: Figure, dpi: float) -> Image.Image:
    """Return a figure drawn on white, with `dpi` pixels an inch."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, facecolor="white")
    buffer.seek(0)
    return Image.open(buffer).convert("RGB")


def to_png(image: Image.Image, small: bool = True, colors: int = 256) -> bytes:
    """Return a picture as PNG; `small` gives a smaller file of at most `colors` colors, slowly.

    Fewer than 256 are chosen by area: a diagram keeps its hues, its edges get fewer steps.
    """
    buffer = io.BytesIO()
    if small:
        # Maximum coverage keeps the colors of small areas; k-means moves them to the pixels'.
        method = Image.Quantize.MAXCOVERAGE if colors == 256 else Image.Quantize.MEDIANCUT
        image = image.quantize(colors, method=method, kmeans=2, dither=Image.Dither.NONE)
    image.save(buffer, format="png", optimize=small)
    return buffer.getvalue()


def picture_html(png: str, alt: str, width: int, height: int) -> str:
    """Return a picture as HTML that a screen reader can read out.

    Args:
        png: in base64.
        alt: its description.
        width: in pixels of the page, as height.
        height: see width.
    """
    return (
        f'<img alt="{html.escape(alt)}" width="{width}" height="{height}" '
        f'style="max-width: 100%; height: auto" src="data:image/png;base64,{png}">'
    )


def bundle(
    image: Image.Image, alt: str, colors: int = 256
) -> tuple[dict[str, str], dict[str, Any]]:
    """Return a picture as the data and the metadata of an output, at its size on the page.

    What is stored in the repository is the PNG and its description. In a live notebook HTML comes
    along, because JupyterLab shows a PNG without its description.
    """
    size = {
        "width": round(image.width / SHARPNESS),
        "height": round(image.height / SHARPNESS),
    }
    png = base64.b64encode(to_png(image, colors=colors)).decode("ascii")
    data = {"image/png": png, "text/plain": f"Figure: {alt}"}
    if not is_static():
        data["text/html"] = picture_html(png, alt, **size)
    return data, {"image/png": {"alt": alt, **size}}


def publish(image: Image.Image, alt: str, colors: int = 256) -> None:
    """Display a picture in the notebook, at its size on the page, with its description."""
    data, metadata = bundle(image, alt, colors)
    publish_display_data(data, metadata=metadata)
