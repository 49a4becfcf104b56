"""The figures of chapter 11 show what was measured and scheduled."""

import numpy as np

from pfpn.course.ch11_for_real.figures import (
    describe_batch_schedules,
    describe_inference_times,
    plot_batch_schedules,
    plot_inference_times,
)
from pfpn.engine.presets import coco_r50_1x

ROWS = [
    {"edge": 256, "stage": "one", "torchvision": 400.0, "ours": 300.0, "ratio": 0.75},
    {"edge": 256, "stage": "two", "torchvision": 600.0, "ours": 900.0, "ratio": 1.5},
    {"edge": 256, "stage": "all, with pasted masks", "torchvision": 1, "ours": 1, "ratio": 1.0},
    {"edge": 256, "stage": "published: one", "ours": 5.0},
    {"edge": 800, "stage": "one", "torchvision": 7.0, "ours": 7.0, "ratio": 1.0},
]


def test_the_description_of_times_has_ratios_and_sums():
    words = describe_inference_times(ROWS, 256)
    assert "one 0.75, two 1.50" in words
    assert "1.2 s and 1.0 s" in words
    assert "two takes most, 75 %" in words


def test_bars_are_as_long_as_the_times():
    axes = plot_inference_times(ROWS, 256).axes[0]
    theirs, ours = ([bar.get_width() for bar in bars] for bars in axes.containers)
    assert (theirs, ours) == ([400.0, 600.0], [300.0, 900.0])
    assert [t.get_text() for t in axes.texts] == ["x 0.75", "x 1.50"]


def test_both_batches_are_drawn_at_both_scales():
    figure = plot_batch_schedules(coco_r50_1x(), 4)
    for axes in figure.axes:
        published, other = axes.lines
        assert np.allclose(other.get_ydata(), published.get_ydata() / 4)
    assert figure.axes[1].lines[0].get_xdata().max() == 2000


def test_pictures_of_all_batch_sizes_have_one_axis():
    limits = {plot_batch_schedules(coco_r50_1x(), n).axes[0].get_ylim() for n in (1, 16, 64)}
    assert len(limits) == 1
    low, high = limits.pop()
    for n in (1, 64):
        for axes in plot_batch_schedules(coco_r50_1x(), n).axes:
            assert all(low < line.get_ydata().min() for line in axes.lines)
            assert all(line.get_ydata().max() < high for line in axes.lines)


def test_the_description_of_schedules_has_their_numbers():
    words = describe_batch_schedules(coco_r50_1x(), 8)
    assert "from 0.000010 it climbs to 0.0100 in 1000 steps" in words
    assert "60000 and 80000" in words


def test_the_readers_rate_is_drawn_over_the_packages():
    def rate_of(step, batch):
        assert isinstance(step, int)
        return 0.01 * batch

    plain = plot_batch_schedules(coco_r50_1x(), 4)
    own = plot_batch_schedules(coco_r50_1x(), 4, rate_of)
    for before, after in zip(plain.axes, own.axes, strict=True):
        assert len(after.lines) == len(before.lines) + 1
        yours = after.lines[-1]
        assert yours.get_label() == "yours"
        assert set(yours.get_ydata()) == {0.04}
        assert len(yours.get_xdata()) < 700
        assert yours.get_xdata()[0] == 0
