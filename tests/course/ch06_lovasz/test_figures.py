"""The figures of chapter 06 are drawn, and their descriptions have the numbers."""

import pytest
import torch

from pfpn.course.ch06_lovasz import figures
from pfpn.course.ch06_lovasz.numbers import EIGHT_ERRORS, same_count_predictions


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
