"""The figures of chapter 08 are drawn, and their descriptions have the numbers."""

import pytest
import torch

from pfpn.course.ch08_practice import figures

TABLE = [
    {"world": "toy", "judged_on": "new", "compare": how, "arm": arm, "gains": [g, g + 1]}
    for how, extra in (("steps", 0), ("time", 5))
    for g, arm in enumerate(figures.ARM_NAMES, extra - 2)
]


@pytest.mark.parametrize("name", ["constant", "logit_pulls", "bound"])
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
