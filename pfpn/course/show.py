"""Show a figure once, sharp on any screen, with words for those who do not see it.

The words are the output's plain text too, so a stored notebook is compared by them: nbval cannot
see pictures.
"""

import base64
import io
import os

from IPython.core.getipython import get_ipython
from IPython.display import publish_display_data
from matplotlib.figure import Figure
from PIL import Image

SHARPNESS = 1.5  # pixels of the picture for one of the page, in each direction
PAGE_DPI = 96  # pixels of a web page in an inch
MAX_WIDTH = 9.6  # inches: what a notebook shows without shrinking it
MIN_WORDS = 40  # characters: less says nothing about a figure


def is_static() -> bool:
    """Tell whether no reader is there to move sliders, so that pictures and text are wanted.

    So it is outside of a notebook, and where PFPN_STATIC is 1.
    """
    shell = get_ipython()
    live = shell is not None and getattr(shell, "kernel", None) is not None
    return os.environ.get("PFPN_STATIC", "") == "1" or not live


def show(figure: Figure, alt: str, colors: int = 256) -> None:
    """Display a figure below the cell; `alt` says what is to be seen, numbers included.

    Of the stored picture that many `colors` are kept: 64 make a surface in 3-D a third smaller.

    Raises:
        ValueError: `alt` is too short to say anything, or the figure too wide for the page.
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
    """Refuse a description that does not describe."""
    if len(alt) < MIN_WORDS:
        raise ValueError(
            f"The description of a figure has {len(alt)} characters ({alt!r}), expected at least "
            f"{MIN_WORDS}: what is seen, and the numbers that matter."
        )


def to_image(figure: Figure, dpi: float) -> Image.Image:
    """Draw a figure on white, at `dpi` pixels an inch."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, facecolor="white")
    buffer.seek(0)
    return Image.open(buffer).convert("RGB")


def to_png(image: Image.Image, small: bool = True, colors: int = 256) -> bytes:
    """Encode a picture; a small one takes the 256 colors that fit best, and three times as long.

    Fewer `colors` are chosen by area: the hues of a diagram stay, and its edges have fewer steps.
    """
    buffer = io.BytesIO()
    if small:
        # Coverage keeps the colors of small areas; the means move all of them to where pixels are.
        method = Image.Quantize.MAXCOVERAGE if colors == 256 else Image.Quantize.MEDIANCUT
        image = image.quantize(colors, method=method, kmeans=2, dither=Image.Dither.NONE)
    image.save(buffer, format="png", optimize=small)
    return buffer.getvalue()


def publish(image: Image.Image, alt: str, colors: int = 256) -> None:
    """Hand a picture to the notebook at its size on the page, with its words."""
    place = {
        "alt": alt,
        "width": round(image.width / SHARPNESS),
        "height": round(image.height / SHARPNESS),
    }
    publish_display_data(
        {
            "image/png": base64.b64encode(to_png(image, colors=colors)).decode("ascii"),
            "text/plain": f"Figure: {alt}",
        },
        metadata={"image/png": place},
    )
