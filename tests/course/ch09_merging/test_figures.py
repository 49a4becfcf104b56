"""What the figures of merging show, and the words for it."""

from dataclasses import replace

import torch

from pfpn.course.ch09_merging import figures, numbers
from pfpn.data.toy import TOY_CATEGORIES
from pfpn.predict import PredictConfig

CONFIG = PredictConfig(shortest_edge=0, min_stuff_area=64)


def sweeps_of(street):
    return {
        name: (values, numbers.sweep(street, TOY_CATEGORIES, CONFIG, name, values))
        for name, values in {"min_score": [0.1, 0.5], "min_stuff_area": [16, 64]}.items()
    }


def test_conflicts_in_words_make_up_the_whole_image(street):
    words = figures.describe_conflicts(street[0], 0.5)
    assert "two or more instances" in words
    percents = [int(part.split()[-2]) for part in words.rstrip(".").split(",")]
    assert abs(sum(percents) - 100) <= 2  # each is rounded


def test_claims_in_words_count_every_outcome(street):
    claims = numbers.trace_claims(street[0], replace(CONFIG, min_score=0.2))
    words = figures.describe_claims(claims, TOY_CATEGORIES)
    assert words.startswith(f"{len(claims)} instances: ")
    for outcome in ("kept", "score too low", "too much hidden"):
        count = sum(claim.outcome == outcome for claim in claims)
        assert count == 0 or f"{count} {outcome}" in words
    assert ("% hidden" in words) == any(c.outcome == "too much hidden" for c in claims)


def test_sweeps_and_stages_in_words(street):
    sweeps = sweeps_of(street[:1])
    words = figures.describe_sweeps(sweeps)
    best = max(100 * result.all.pq for result in sweeps["min_score"][1])
    assert f"lowest score of an instance: PQ {100 * sweeps['min_score'][1][0].all.pq:.0f}" in words
    assert f"{best:.0f} at best" in words
    assert "% empty" in figures.describe_merge_stages(street[0], CONFIG)


def test_a_bar_shows_every_instance_and_what_it_lost(street):
    claims = numbers.trace_claims(street[0], replace(CONFIG, softer=True))
    for softer, entries in ((False, 2), (True, 3)):
        config = replace(CONFIG, softer=softer)
        (axes,) = figures.plot_claims(claims, config, TOY_CATEGORIES, rows=3).axes
        widths = [bar.get_width() for bar in axes.patches]
        assert len(widths) == 9
        assert abs(sum(widths) - 3) < 1e-9
        assert len(axes.get_legend().get_texts()) == entries


def test_softer_lines_are_dashed_in_the_color_of_their_partner():
    lines = {"clean": [1.0, 2.0], "clean, softer": [1.0, 3.0], "noisy": [0.0, 1.0]}
    figure = figures.plot_pq_lines([0.1, 0.9], lines, xlabel="score")
    clean, softer, noisy = figure.axes[0].lines
    assert (clean.get_linestyle(), softer.get_linestyle()) == ("-", "--")
    assert clean.get_color() == softer.get_color() != noisy.get_color()


def test_dropped_squares_are_dotted():
    figure = figures.plot_overlap_limits((0.1, 0.5), (0.2,), ((0, 0, 255), (255, 0, 0)))
    assert [axes.lines[0].get_linestyle() for axes in figure.axes] == ["-", ":"]
    assert [axes.get_title() for axes in figure.axes] == ["10 % hidden", "50 % hidden"]


def test_every_figure_is_drawn(street):
    candidates, config = street[0], replace(CONFIG, softer=True)
    mask = candidates.masks()[0].numpy()
    picture = candidates.sample.image.permute(1, 2, 0).numpy()
    claims = numbers.trace_claims(candidates, config)
    for figure in (
        figures.plot_merge_stages(candidates, CONFIG, TOY_CATEGORIES),
        figures.plot_conflicts(candidates, 0.5, TOY_CATEGORIES),
        figures.plot_claims(claims, config, TOY_CATEGORIES),
        figures.plot_fate(candidates, config, TOY_CATEGORIES),
        figures.plot_sweeps(sweeps_of(street[:1]), CONFIG),
        figures.plot_softer(candidates, CONFIG, TOY_CATEGORIES),
        figures.plot_versions(candidates, {"one": candidates.merge(CONFIG)}, TOY_CATEGORIES),
        figures.plot_pasting(picture, mask, {"a": mask}, {"a": 1.0}, (9, 9, 9), (0, 50, 0, 50)),
    ):
        figure.canvas.draw()
        assert figure.get_size_inches()[0] <= 9.6


def test_an_image_without_instances_can_be_drawn(street):
    none = replace(street[0], windows=[], scores=torch.zeros(0), labels=street[0].labels[:0])
    claims = numbers.trace_claims(none, CONFIG)
    figures.plot_claims(claims, CONFIG, TOY_CATEGORIES).canvas.draw()
    figures.plot_merge_stages(none, CONFIG, TOY_CATEGORIES).canvas.draw()
    assert figures.describe_claims(claims, TOY_CATEGORIES).startswith("0 instances")
