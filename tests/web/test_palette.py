"""Names, limits and colors of the pages are those of Python's pictures."""

import json
import re
from pathlib import Path

import matplotlib
import pytest
import torch

from pfpn.data.toy import TOY_CATEGORIES
from pfpn.plot.palette import (
    CLASS_COLORS,
    VOID_COLOR,
    ink_on,
    instance_color,
    segment_colors,
)
from pfpn.plot.surface import DOT_COLOR, LOSSES, SURFACE_COLORS, largest_drawn
from pfpn.structures import Panoptic, Segment

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


def test_classes_and_their_colors_are_those_of_python():
    row = r'id: (\d+), name: "(\w+)", isThing: (true|false), color: \[(\d+), (\d+), (\d+)\]'
    listed = [
        (int(number), name, kind == "true", tuple(map(int, color)))
        for number, name, kind, *color in re.findall(row, TEXT)
    ]
    expected = [(c.id, c.name, c.is_thing, CLASS_COLORS[c.name]) for c in TOY_CATEGORIES]
    assert listed == expected
    assert f"VOID_COLOR = {list(VOID_COLOR)};" in TEXT


def test_shades_and_ink_are_those_of_python(javascript):
    colors = [category.color for category in TOY_CATEGORIES]
    arguments = [[list(color), number] for color in colors for number in range(20)]
    shades = javascript("lib/palette.js", "instanceColor", arguments)
    expected = [instance_color(tuple(color), number) for color, number in arguments]
    assert [tuple(shade) for shade in shades] == expected
    inks = javascript("lib/palette.js", "inkOn", [[shade] for shade in shades])
    assert inks == [ink_on(shade) for shade in expected]


def test_segments_have_the_colors_of_python(javascript):
    rng = torch.Generator().manual_seed(0)
    for _ in range(5):
        segments = []
        for i in range(1, 12):
            is_thing = bool(torch.randint(0, 2, (), generator=rng))
            label = int(torch.randint(0, 5, (), generator=rng)) + (0 if is_thing else 1)
            segments.append(Segment(i, label, is_thing))
        panoptic = Panoptic(torch.zeros(1, 1, dtype=torch.int64), tuple(segments))
        plain = [{"id": s.id, "label": s.label, "isThing": s.is_thing} for s in segments]
        (colors,) = javascript("lib/palette.js", "segmentColors", [[plain]])
        expected = segment_colors(panoptic, TOY_CATEGORIES)
        assert {number: tuple(color) for number, color in colors} == expected
