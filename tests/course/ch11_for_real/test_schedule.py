"""The learning rate as it is drawn."""

from dataclasses import replace

import numpy as np
import pytest

from pfpn.course.ch11_for_real.schedule import describe_schedule, plot_schedule, rates
from pfpn.engine.presets import coco_r50_1x


def test_rates_follow_the_published_schedule():
    steps = np.array([0, 500, 1000, 59_999, 60_000, 80_000])
    expected = [2e-5, 0.01001, 0.02, 0.02, 0.002, 0.0002]
    assert rates(coco_r50_1x(), steps) == pytest.approx(expected)


def test_rates_are_in_proportion_to_the_batch():
    config, steps = coco_r50_1x(), np.arange(0, 90_000, 7000)
    half = rates(replace(config, batch_size=8), steps)
    assert half == pytest.approx(rates(config, steps) / 2)


def test_the_figure_draws_both_batches_at_both_scales():
    figure = plot_schedule(coco_r50_1x(), 4)
    for axes in figure.axes:
        published, other = axes.lines
        assert np.allclose(other.get_ydata(), published.get_ydata() / 4)
    assert figure.axes[1].lines[0].get_xdata().max() == 2000


def test_words_hold_the_numbers():
    words = describe_schedule(coco_r50_1x(), 8)
    assert "from 0.000010 it climbs to 0.0100 in 1000 steps" in words
    assert "60000 and 80000" in words
