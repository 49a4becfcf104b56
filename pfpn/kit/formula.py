"""Formulas on slides, drawn once as vectors, so that a deck needs no library of formulas."""

import io
import re

from matplotlib import rc_context
from matplotlib.mathtext import math_to_image


def formula_svg(tex: str) -> str:
    """Return a formula as SVG whose letters are paths and take the color of the text around them.

    Args:
        tex: what matplotlib's mathtext understands, without dollar signs.
    """
    stream = io.BytesIO()
    with rc_context({"svg.fonttype": "path", "svg.hashsalt": "pfpn", "mathtext.fontset": "cm"}):
        math_to_image(f"${tex}$", stream, dpi=72, format="svg", color="#111111")
    text = stream.getvalue().decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    return text.replace("#111111", "currentColor")
