import torch

from pfpn.course.ch07_surfaces import figures_convexity as figures
from pfpn.course.ch07_surfaces import numbers


def test_every_panel_has_a_title_and_labeled_axes_and_is_described_with_numbers():
    panels = [axes for axes in figures.plot_convexity().axes if axes.get_label() != "<colorbar>"]
    assert len(panels) == 6
    assert all(axes.get_title() and axes.get_xlabel() and axes.get_ylabel() for axes in panels)
    words = figures.describe_convexity()
    assert len(words) > 200
    assert any(letter.isdigit() for letter in words)


def test_the_words_about_convexity_hold_the_measured_violation():
    words = figures.describe_convexity(num=200)
    rng = torch.Generator().manual_seed(0)
    worst, _ = numbers.measure_convexity("lovasz_softmax", (1, 1), "logits", -6, 6, rng, 200)
    assert f"{worst:.2f} for truth [+1, +1], so not convex" in words
    assert words.count("so convex") == 2
