"""Pictures of panoptic quality and the words beside them."""

import pytest

from pfpn.course.ch10_quality.figures import (
    describe_class_quality,
    describe_errors,
    describe_matching,
    describe_moved,
    describe_sizes,
    plot_class_quality,
    plot_errors,
    plot_matching,
    plot_moved,
    plot_sizes,
)
from pfpn.course.ch10_quality.numbers import (
    ERRORS,
    make_error,
    measure_errors,
    moved_iou,
    panoptic_from_letters,
    true_segments,
)
from pfpn.data.toy import TOY_CATEGORIES, ToyStreet
from pfpn.quality import PanopticQuality
from pfpn.structures import Panoptic, Sample
from tests.factories import to_png

C = TOY_CATEGORIES


@pytest.fixture(scope="module")
def streets() -> list[Sample]:
    return list(ToyStreet(4, seed=7, size=(64, 96)))


def letters(text: str, **classes: str) -> Panoptic:
    return panoptic_from_letters(text, C, **classes)


def test_figures_of_small_maps_show_matches_and_mistakes():
    gt = letters("aaabb ccccc", a="car", b="person", c="road")
    prediction = letters("aaabd cccc.", a="car", b="person", d="dog", c="road")
    words = describe_matching(gt, prediction, C)
    assert "car is matched with IoU 1.000" in words
    assert "false positives: person, dog" in words
    assert "false negatives: person" in words
    figure = plot_matching(gt, prediction, C)
    shown = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert {"1.00", "0.50", "0.80", "person\nFN", "dog\nFP"} <= set(shown)
    assert to_png(figure)


def test_the_moved_figure_stands_on_its_curve(streets):
    sample = streets[2]
    number = next(s.id for s in sample.panoptic.segments if s.is_thing)
    figure = plot_moved(sample, number, C, dx=1)
    curve = figure.axes[1].lines[0]
    ious = dict(zip(curve.get_xdata().tolist(), curve.get_ydata().tolist(), strict=True))
    assert ious[1] == pytest.approx(moved_iou(sample.panoptic, number, 1, 0))
    assert ious[0] == 1
    steps = figure.axes[1].lines[1].get_ydata()
    assert all(value == 0 or value > 0.5 for value in steps)
    words = describe_moved(sample, number, C, [0, 40])
    assert "by 0 pixels IoU 1.000, a match, PQ of the image 100.0" in words
    assert "a miss and a false detection" in words


def _markers(axes, shape):
    return [line for line in axes.lines if line.get_marker() == shape]


def test_figures_by_class_and_by_size(streets):
    maps = [make_error("dropped", s.panoptic, C) for s in streets]
    quality = PanopticQuality(C)
    for sample, prediction in zip(streets, maps, strict=True):
        quality.update(sample.panoptic, prediction)
    result = quality.compute()
    figure = plot_class_quality(result)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names[:3] == ["mean of all", "mean of stuff", "mean of things"]
    best = [e.category.name for e in sorted(result.per_class, key=lambda e: e.pq) if e.counts]
    assert names[3:] == best
    for square, diamond in zip(*(_markers(figure.axes[0], shape) for shape in "sD"), strict=True):
        assert diamond.get_zorder() > square.get_zorder()  # at an RQ of 100 both are at one point
        assert diamond.get_markersize() < square.get_markersize()
    assert "sky SQ 100.0, RQ 100.0, PQ 100.0" in describe_class_quality(result)
    rows = true_segments(streets, maps, C)
    assert "smaller half" in describe_sizes(rows)
    assert to_png(figure)
    assert to_png(plot_sizes(rows))


def test_each_mistake_is_drawn_with_its_three_scores(streets):
    scores = measure_errors(streets, C)
    figure = plot_errors(streets[2], scores, C)
    titles = [axes.get_title().strip() for axes in figure.axes if axes.get_title()]
    assert titles == list(ERRORS)
    shown = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert {f"{100 * s.pq:.1f}" for s in scores.values()} <= shown
    assert f"split: PQ {100 * scores['split'].pq:.1f}, mean IoU 100.0" in describe_errors(scores)
