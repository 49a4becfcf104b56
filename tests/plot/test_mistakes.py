"""A prediction against its truth: statuses, outlines and words."""

import pytest
from matplotlib.colors import to_hex

from pfpn.course.ch10_quality.numbers import make_error, panoptic_from_letters
from pfpn.data.toy import TOY_CATEGORIES, ToyStreet
from pfpn.plot.mistakes import STATUS_COLORS, describe_mistakes, plot_mistakes, statuses
from pfpn.structures import Panoptic, Sample
from tests.factories import to_png

C = TOY_CATEGORIES


@pytest.fixture(scope="module")
def streets() -> list[Sample]:
    return list(ToyStreet(4, seed=7, size=(64, 96)))


def letters(text: str, **classes: str) -> Panoptic:
    return panoptic_from_letters(text, C, **classes)


def test_every_segment_has_a_status():
    gt = letters("aaCC..bb", a="car", C="PERSON", b="road")
    prediction = letters("aaccdee.", a="car", c="person", d="dog", e="road")
    of_gt, of_prediction = statuses(gt, prediction)
    assert of_gt == {1: "TP", 2: "crowd", 3: "FN"}
    assert of_prediction == {1: "TP", 2: "ignored", 3: "ignored", 4: "FP"}


def test_mistakes_are_named_with_their_sizes(streets):
    sample = streets[2]
    prediction = make_error("dropped", sample.panoptic, C)
    words = describe_mistakes(sample, prediction, C)
    assert "5 of 8 things are matched" in words
    assert "False: none" in words
    assert to_png(plot_mistakes(sample, prediction, C))


def test_things_are_outlined_by_status_and_matches_have_their_iou(streets):
    sample = streets[2]
    prediction = make_error("dropped", sample.panoptic, C)
    figure = plot_mistakes(sample, prediction, C)
    truth, predicted = figure.axes
    lines = [to_hex(line.get_color()) for line in truth.lines]
    assert lines.count(STATUS_COLORS["TP"]) == 5
    assert lines.count(STATUS_COLORS["FN"]) == 3
    assert [text.get_text() for text in truth.texts].count("FN") == 3
    assert [text.get_text() for text in predicted.texts] == ["1.00"] * 5
    (legend,) = figure.legends
    words = [text.get_text() for text in legend.get_texts()]
    assert words == ["TP: matched (IoU on the right)", "FN: missed"]
