"""The figures of chapter 06 are drawn, and their descriptions have the numbers."""

import pytest
import torch

from pfpn.course.ch06_lovasz import figures
from pfpn.course.ch06_lovasz.numbers import (
    EIGHT_ERRORS,
    draw_tiny_scenes,
    same_count_predictions,
    train_tiny,
)


@pytest.mark.parametrize("name", ["step", "rises", "square", "thresholds", "algorithm", "polytope"])
def test_a_figure_is_drawn_and_described(name):
    figure = getattr(figures, f"plot_{name}")()
    assert figure.get_size_inches()[0] <= 9
    figure.draw_without_rendering()
    words = getattr(figures, f"describe_{name}")()
    assert len(words) > 80
    assert any(sign.isdigit() for sign in words)


def test_the_figure_of_algorithm_1_shows_its_numbers():
    (axes,) = figures.plot_algorithm().axes
    shown = [text.get_text() for text in axes.texts]
    assert {"0.833", "0.143", "0.569", "1.000"} <= {*shown}


def test_no_number_of_algorithm_1_stands_on_a_bar_and_no_headers_touch():
    figure = figures.plot_algorithm()
    figure.draw_without_rendering()
    (axes,) = figure.axes
    boxes = [text.get_window_extent() for text in axes.texts]
    bars = [patch.get_window_extent() for patch in axes.patches if patch.get_height() == 0.54]
    assert len(bars) == 24
    numbers = [box for box, text in zip(boxes, axes.texts, strict=True) if "." in text.get_text()]
    assert not any(box.overlaps(bar) for box in numbers for bar in bars if bar.width > 1)
    assert not any(one.overlaps(two) for i, one in enumerate(boxes) for two in boxes[:i])


def test_the_readers_own_weights_are_drawn():
    own = figures.plot_pixels(EIGHT_ERRORS, lambda errors, truth: truth / 4 + errors * 0)
    right = own.axes[1]
    assert right.get_title() == "your weights; Lovász loss 0.300"  # (0.1 + 0.7 + 0.4) / 4
    assert [round(bar.get_height(), 2) for bar in right.patches][:4] == [0, 0.25, 0, 0.25]
    ours = figures.plot_pixels(EIGHT_ERRORS).axes[1]
    assert ours.get_title() == "weights; Lovász loss 0.569"


def test_the_tiny_training_is_drawn_and_described():
    results = [train_tiny("cross-entropy", seed, [2])[0] for seed in (0, 1)]
    figure = figures.plot_tiny(draw_tiny_scenes(64, 1000), {"cross-entropy": results[0]})
    figure.draw_without_rendering()
    largest = float(results[0].probs[0].max())
    assert f"{largest:.2f}" in figures.describe_tiny({"cross-entropy": results[0]})
    figures.plot_arms({"cross-entropy": results}).draw_without_rendering()
    words = figures.describe_arms({"cross-entropy": results})
    moved = [result.moved for result in results]
    assert f"({min(moved):.2f} to {max(moved):.2f})" in words


def test_figures_of_images_are_drawn_and_described(rng):
    small, large = torch.zeros(2, 20, 20, dtype=torch.bool)
    small[4:8, 4:8], large[:, 10:] = True, True
    pairs = same_count_predictions(small, large)
    image = torch.randint(0, 256, (3, 20, 20), generator=rng).to(torch.uint8)
    probs = torch.randn(3, 20, 20, generator=rng).softmax(0)
    labels = torch.arange(400).view(20, 20) % 3
    for figure in (
        figures.plot_same_count(image, pairs, ("dot", "half")),
        figures.plot_weight_maps(image, probs, labels, 1, "road"),
        figures.plot_pixels(EIGHT_ERRORS),
    ):
        assert figure.get_size_inches()[0] <= 9
        figure.draw_without_rendering()
    words = figures.describe_same_count(pairs, ("dot", "half"))
    assert "Half of the dot missed: IoU 0.500" in words
    assert "33% of the pixels" in figures.describe_weight_maps(probs, labels, 1, "road")
