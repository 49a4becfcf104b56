"""The figures of chapter 08 are drawn, and their descriptions have the numbers."""

import pytest
import torch

from pfpn.course.ch08_practice import figures

TABLE = [
    {"world": "toy", "judged_on": "new", "compare": how, "arm": arm, "gains": [g, g + 1]}
    for how, extra in (("steps", 0), ("time", 5))
    for g, arm in enumerate(figures.ARM_NAMES, extra - 2)
]


@pytest.mark.parametrize("name", ["constant", "logit_gradients", "bound"])
def test_a_figure_is_drawn_and_described(name):
    figure = getattr(figures, f"plot_{name}")()
    assert figure.get_size_inches()[0] <= 9
    figure.draw_without_rendering()
    words = getattr(figures, f"describe_{name}")()
    assert len(words) > 80
    assert any(sign.isdigit() for sign in words)


def test_figures_of_data_are_drawn_and_described(rng):
    counts = {"road": torch.tensor([[9, 1, 0], [3, 0, 3]])}
    history = {"a": [(1, 0.2), (2, 0.4)]}
    titles = {("toy", "new"): "streets"}
    points, labels = torch.randn(30, 2, generator=rng), torch.arange(30) % 2
    for figure in (
        figures.plot_batch_losses(counts, [1, 2]),
        figures.plot_histories(history),
        figures.plot_gains(TABLE, titles),
        figures.plot_boundaries(points, labels, {"line": (1.0, 2.0, 0.5)}),
        figures.plot_bins(4, 0.2),
    ):
        assert figure.get_size_inches()[0] <= 9
        figure.draw_without_rendering()
    assert "over the data set" in figures.describe_batch_losses(counts, [1, 2])
    assert "a 0.40" in figures.describe_histories(history)
    assert "-1.5 (-2.0 to -1.0)" in figures.describe_gains(TABLE, titles)


def test_masks_of_a_street_are_painted_in_the_colors_of_their_classes():
    image = torch.zeros(3, 2, 3, dtype=torch.uint8)
    maps = {name: torch.tensor([[0, 1, 255], [1, 1, 0]]) for name in ("truth", "one", "two")}
    figure = figures.plot_masks(image, maps, ["a", "b"], [(1, 2, 3), (40, 50, 60)])
    figure.draw_without_rendering()
    shown = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in shown] == ["the street", "truth", "one", "two"]
    painted = shown[1].images[0].get_array()
    assert painted[0, 1].tolist() == [40, 50, 60]
    assert painted[0, 2].tolist() == list(figures.VOID_COLOR)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["a", "b", "void"]


def test_each_seed_is_a_dot_and_the_mean_a_bar():
    values = {"one": [1.0, 3.0], "two": [5.0]}
    (axes,) = figures.plot_seeds(values, "points", line=0).axes
    dots, mean = axes.lines[:2]
    assert (list(dots.get_xdata()), list(dots.get_ydata())) == ([1.0, 3.0], [0, 0])
    assert list(mean.get_xdata()) == [2.0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "two"]
    assert "one 2.00 (1.00 to 3.00); two 5.00" in figures.describe_seeds(values, "points")
