"""The API reference has every module, and docstrings mean in it what they mean in the source."""

import dataclasses
import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs" / "_book"))

import reference  # noqa: E402


def test_every_public_module_is_on_one_page():
    pages = "\n".join(reference.pages().values())
    for name in reference.modules():
        assert pages.count(f".. automodule:: {name}\n") == 1, name
    assert "pfpn.quality" in reference.modules()
    assert "pfpn.losses.lovasz" in reference.modules()
    assert not [name for name in reference.modules() if "._" in name]


def test_the_core_is_listed_in_reading_order():
    order = reference.reading_order()
    assert len(order) == len(set(order))
    positions = [order.index(f"pfpn.{stage}") for stage in reference.STAGES]
    assert positions == sorted(positions)
    assert set(order) <= set(reference.modules())
    assert order.index("pfpn.paste") < order.index("pfpn.predict")  # which needs it


def test_a_package_says_what_it_hands_on():
    (sentence, _) = reference.exported("pfpn.losses")
    assert "{py:obj}`~pfpn.losses.lovasz.lovasz_softmax`" in sentence
    assert reference.exported("pfpn.merge") == []


@pytest.mark.parametrize("name", ["pfpn", "pfpn.merge", "pfpn.losses", "pfpn.data.coco"])
def test_the_first_sentence_is_the_modules_own(name):
    first = importlib.import_module(name).__doc__.split("\n\n")[0]
    assert reference.first_sentence(name) == " ".join(first.split())


@pytest.mark.parametrize(
    ("source", "rst"),
    [
        ("Return `x` and `a b`.", "Return :py:obj:`x` and ``a b``."),
        ("A * b | c_ and ``d*``.", "A \\* b \\| c\\_ and ``d*``."),
        ("One.\n\n    a * b\n\nTwo `x`.", "One.\n\n::\n\n    a * b\n\nTwo :py:obj:`x`."),
        ("So::\n\n    a * b\n\n    c\n\nTwo.", "So::\n\n    a * b\n\n    c\n\nTwo."),
        ("Keys:\n    a: one\n    b: two", "::\n\n    Keys:\n        a: one\n        b: two"),
        ("Args:\n    a: `x` * 2\n        more.", "Args:\n    a: :py:obj:`x` \\* 2\n        more."),
        ("Rules:\n- one\n- two\n  more", "Rules:\n\n- one\n- two\n  more"),
        ("not from file://.", "not from ``file://``."),
        ("a_b and _c stay.", "a_b and _c stay."),
        ("====  ==\na     b_\n====  ==", "====  ==\na     b_\n====  ==",),
    ],
)  # fmt: skip
def test_a_docstring_in_restructuredtext(source, rst):
    assert reference.to_rst(source) == rst


@dataclasses.dataclass
class Measured:
    """Two numbers."""

    width: int  # pixels
    height: int = 3  # pixels, from the top
    silent: int = 0


def test_a_dataclass_is_shown_with_the_comments_of_its_fields():
    assert reference.field_comments(Measured) == {
        "width": "pixels",
        "height": "pixels, from the top",
    }
    lines = ["Two numbers."]
    reference.process_docstring(None, "class", "Measured", Measured, None, lines)
    assert lines == [
        "Two numbers.", "", "Attributes:", "    width: pixels", "    height: pixels, from the top",
        "",
    ]  # fmt: skip
