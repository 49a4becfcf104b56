"""Names, limits and colors of the pages are those of Python's pictures."""

import json
import re
from pathlib import Path

import matplotlib
import pytest

from pfpn.plot.surface import DOT_COLOR, LOSSES, SURFACE_COLORS, largest_drawn

SOURCE = Path(__file__).resolve().parents[2] / "web" / "lib" / "palette.js"
TEXT = SOURCE.read_text(encoding="utf-8")
NUM = 32


def test_the_losses_have_the_titles_and_limits_of_python():
    table = TEXT[TEXT.index("LOSSES = {") : TEXT.index("SIMPLEX = {")]
    rows = re.findall(r'^  (\w+): \{ title: "([^"]+)", top: (\d) \},$', table, re.MULTILINE)
    expected = [(loss, title, largest_drawn(loss)) for loss, (title, _, _) in LOSSES.items()]
    assert [(loss, title, float(top)) for loss, title, top in rows[:-1]] == expected
    assert rows[-1] == ("lovasz_softmax_present", "Lovász-Softmax, default", "1")


def test_the_colors_are_those_of_python():
    assert f'DOT = "{DOT_COLOR}"' in TEXT
    listed = re.search(r"COLORS = (\[.*?\n\]);", TEXT, re.DOTALL)
    assert listed
    colors = matplotlib.colormaps[SURFACE_COLORS].resampled(NUM)
    expected = [[round(255 * part) for part in colors(index)[:3]] for index in range(NUM)]
    assert json.loads(listed[1].replace(",\n]", "]")) == expected


def test_a_color_between_two_is_interpolated(javascript):
    fractions = [index / 100 for index in range(-10, 111)]
    colors = matplotlib.colormaps[SURFACE_COLORS].resampled(NUM)
    for fraction, color in zip(
        fractions, javascript("lib/palette.js", "colorAt", [[f] for f in fractions]), strict=True
    ):
        at = min(max(fraction, 0), 1) * (NUM - 1)
        low, high = colors(int(at)), colors(min(int(at) + 1, NUM - 1))
        expected = [255 * (a + (b - a) * (at % 1)) for a, b in zip(low[:3], high[:3], strict=True)]
        assert color == pytest.approx(expected, abs=1.01)
