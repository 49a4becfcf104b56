import numpy as np

from pfpn.course.ch07_surfaces import descents
from pfpn.course.ch07_surfaces import figures_descents as figures

LOSSES = ["cross-entropy", "Lovász-Softmax, present"]


def test_steps_are_drawn_and_described():
    counts = descents.count_steps(LOSSES, list(descents.OPTIMIZERS), (1, 2), num=3, max_steps=30)
    figure = figures.plot_step_counts(counts, (1, 2), 30)
    figure.draw_without_rendering()
    assert [axes.get_title().replace("\n", " ") for axes in figure.axes] == LOSSES
    assert len(figure.axes[0].lines) == len(descents.OPTIMIZERS) + 1
    words = figures.describe_step_counts(counts, (1, 2), 30)
    steps = counts[LOSSES[0], "SGD, rate 2"]
    ends = []
    for row in steps:  # one number where all starts take as many steps
        ends.append(
            f"{row.min():g}" if row.min() == row.max() else f"{row.min():g} to {row.max():g}"
        )
    assert f"cross-entropy, SGD, rate 2: {ends[0]} and {ends[1]};" in words


def test_a_race_shows_when_each_optimizer_has_both_pixels_right():
    frame = {"loss": "Lovász-Softmax, foreground", "x": 2.5, "y": -2.5, "steps": 40}
    figure = figures.plot_race(**frame, grid=5)
    figure.draw_without_rendering()
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert [label.split(":")[0] for label in labels] == [*descents.OPTIMIZERS]
    races = figures.run_race("Lovász-Softmax, foreground", (2.5, -2.5), 40)
    for label, race in zip(labels, races.values(), strict=True):
        arrival = race.arrivals[0]
        assert label.endswith(
            f"both right from step {arrival:g}" if np.isfinite(arrival) else "not right yet"
        )
    assert "SGD, rate 0.5 not right" in figures.describe_race([frame])
