"""The figure of what is convex in which coordinates."""

from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from pfpn.course.ch07_surfaces.numbers import (
    ROUNDING,
    Chord,
    measure_convexity,
)
from pfpn.plot.style import BLUE, ORANGE, SKY, add_legend
from pfpn.plot.surface import (
    DOT_COLOR,
    HALO,
    TRUTHS,
    Over,
    Truth,
    draw_contours,
    largest_drawn,
    make_surface,
    truth_name,
)

CHORD_CASES: tuple[tuple[str, Over, str, str, float, float], ...] = (
    ("lovasz_hinge", "logits", "Lovász hinge over scores", "score $d_{}$", -3, 3),
    ("lovasz_softmax", "errors", "Lovász-Softmax over errors", "error $m_{}$", 0, 1),
    ("lovasz_softmax", "logits", "Lovász-Softmax over logits", "logit $d_{}$", -6, 6),
)


def plot_convexity(truth: Truth = (0, 1), seed: int = 0, num: int = 4000) -> Figure:
    """Draw one chord on each of three surfaces, and the surface along it: two are convex.

    Args:
        truth: of the two pixels.
        seed: of the random chords.
        num: of chords that are tried for each surface.
    """
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    for column, (loss, over, title, label, low, high) in enumerate(CHORD_CASES):
        rng = torch.Generator().manual_seed(seed)
        worst, chord = measure_convexity(loss, truth, over, low, high, rng, num)
        convex = worst < ROUNDING
        above = figure.add_subplot(2, 3, column + 1)
        below = figure.add_subplot(2, 3, column + 4)
        top = largest_drawn(loss)
        drawn = draw_contours(above, make_surface(loss, truth, over, low, high), top)
        figure.colorbar(drawn, ax=above, shrink=0.6, ticks=[0, top / 2, top])
        ends = np.stack([chord.start, chord.end])
        above.plot(*ends.T, color=DOT_COLOR, linewidth=2, marker="o", path_effects=HALO)
        for end, name in zip(ends, "AB", strict=True):
            above.annotate(
                name, end, (6, 6), textcoords="offset points", path_effects=HALO, weight="bold"
            )
        above.set_title(f"{title}:\n{'convex' if convex else 'not convex'}", fontsize=10)
        above.set(xlabel=label.format(1), ylabel=label.format(2))
        _draw_chord(below, chord, convex)
        below.set_title(
            f"largest rise above {num:,} chords:\n"
            + ("none beyond rounding" if convex else f"{worst:.2f}"),
            fontsize="medium",
        )
    figure.suptitle(f"Convex in what? {truth_name(truth)}")
    return figure


def _draw_chord(axes: Any, chord: Chord, convex: bool) -> None:
    axes.plot(chord.fraction, chord.surface, color=BLUE, linewidth=2, label="loss")
    axes.plot(chord.fraction, chord.line, color=DOT_COLOR, linestyle="--", label="chord")
    axes.fill_between(
        chord.fraction, chord.line, chord.surface, color=SKY if convex else ORANGE, alpha=0.3,
        linewidth=0,
    )  # fmt: skip
    if not convex:
        at = int((chord.surface - chord.line).argmax())
        x, low, high = chord.fraction[at], chord.line[at], chord.surface[at]
        axes.annotate("", (x, high), (x, low), arrowprops={"arrowstyle": "<->"})
        axes.annotate(
            f"{high - low:.2f}", (x, (low + high) / 2), (5, 0), textcoords="offset points",
            va="center", path_effects=HALO,
        )  # fmt: skip
    top = max(chord.line.max(), chord.surface.max())
    axes.set(
        xlabel="way from A to B", ylabel="loss", xticks=[0, 0.5, 1], xticklabels=["A", "half", "B"],
        ylim=(-0.03 * top, 1.1 * top),
    )  # fmt: skip
    add_legend(axes, fontsize=10)


def describe_convexity(truth: Truth = (0, 1), seed: int = 0, num: int = 4000) -> str:
    """Return in words what `plot_convexity` shows, and the violations of all four truths."""
    words = []
    for loss, over, title, _, low, high in CHORD_CASES:
        excess = {}
        for each in TRUTHS:
            rng = torch.Generator().manual_seed(seed)
            excess[each] = measure_convexity(loss, each, over, low, high, rng, num)[0]
        if max(excess.values()) < ROUNDING:
            words.append(f"{title}: never, beyond rounding, for any truth, so convex.")
        else:
            listed = ", ".join(f"{rise:.2f} for {truth_name(t)}" for t, rise in excess.items())
            words.append(f"{title}: by up to {listed}, so not convex.")
    return (
        f"Three contour maps with a chord from A to B, {truth_name(truth)}, and below each the "
        "loss along the chord beside the straight line between its ends. Does the loss rise above "
        f"any of {num:,} random chords? " + " ".join(words)
    )
