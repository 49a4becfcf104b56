"""Figures of the base polytope, and of what is convex in which coordinates."""

from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from pfpn.course.ch07_surfaces.numbers import (
    ROUNDING,
    Chord,
    greedy_vertex,
    greedy_vertices,
    measure_convexity,
    point_name,
)
from pfpn.plot.style import BLUE, ORANGE, RED, SKY, add_legend, legend_below, subplots
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


def plot_base_polytope(errors: tuple[float, float] = (0.9, 0.4)) -> Figure:
    """Draw the base polytope of each truth, and the vertex that is greedy for the given errors.

    The Lovász extension at m is the largest <m, g> over the polytope: the dashed line of equal
    <m, g> touches it at the greedy vertex.
    """
    m = np.asarray(errors)
    if m.shape != (2,) or m.min() < 0 or m.max() == 0:
        raise ValueError(
            f"plot_base_polytope: found errors {errors}, expected two from 0, not both"
        )
    order = _order_of(m)
    figure, panels = subplots(9.4, 4.1, 1, 4)
    for axes, truth in zip(panels, TRUTHS, strict=True):
        _draw_polytope(axes, truth, m, greedy_vertex(truth, order))
    legend_below(figure, panels[0].get_legend_handles_labels()[0], fontsize=10, ncols=3)
    figure.suptitle(
        f"Base polytopes of the Jaccard loss, errors m = {point_name(m)}: "
        f"pixel {order[0] + 1} joins first"
    )
    return figure


def _order_of(m: np.ndarray) -> tuple[int, int]:
    return (0, 1) if m[0] >= m[1] else (1, 0)


def _draw_polytope(axes: Any, truth: Truth, m: np.ndarray, best: np.ndarray) -> None:
    vertices = greedy_vertices(truth)
    low, high = -0.35, 1.5
    most = vertices.max(0)  # g_i <= F({i})
    region = np.array([
        (low, low), (most[0], low), vertices[0], vertices[1], (low, most[1])
    ])  # fmt: skip
    axes.fill(*region.T, color=SKY, alpha=0.25, linewidth=0,
              label="$g(A) \\leq F(A)$ for every set A")  # fmt: skip
    axes.plot(*vertices.T, color=BLUE, linewidth=5, solid_capstyle="round",
              label="base polytope: also $g_1 + g_2 = F(\\{1, 2\\})$")  # fmt: skip
    axes.plot(*vertices.T, "o", color="white", markeredgecolor=BLUE, markersize=8,
              markeredgewidth=2, label="vertex, one for each order")  # fmt: skip
    axes.plot(*best, "*", color=RED, markersize=19, markeredgecolor="white", zorder=4,
              label="greedy vertex for m")  # fmt: skip
    across = np.array([-m[1], m[0]]) / np.hypot(*m)
    touch = np.stack([best - 3 * across, best + 3 * across])
    axes.plot(*touch.T, "--", color="0.25", label="$\\langle m, g \\rangle = L(m)$")
    tip = best + 0.33 * m / np.hypot(*m)
    axes.annotate(
        "", tip, best, arrowprops={"arrowstyle": "-|>", "color": "0.25", "linewidth": 1.6}
    )
    axes.text(*(tip + 0.05), "m", color="0.25", ha="center", va="center", path_effects=HALO)
    axes.set(
        title=f"{truth_name(truth)}\n$g = {point_name(best)}$\n$L(m) = {m @ best:.3g}$",
        xlabel="$g_1$", ylabel="$g_2$", xlim=(low, high), ylim=(low, high), aspect="equal",
        xticks=[0, 0.5, 1], yticks=[0, 0.5, 1],
    )  # fmt: skip
    axes.title.set_fontsize(10)
    axes.grid(alpha=0.3)


def describe_base_polytope(errors: tuple[float, float] = (0.9, 0.4)) -> str:
    """Return in words what `plot_base_polytope` shows."""
    m = np.asarray(errors)
    order = _order_of(m)
    words = []
    for truth in TRUTHS:
        one, two = greedy_vertices(truth)
        best = greedy_vertex(truth, order)
        shape = f"the single point {point_name(one)}"
        if not np.array_equal(one, two):
            shape = f"the segment from {point_name(one)} to {point_name(two)}"
        words.append(
            f"{truth_name(truth)}: {shape}; greedy vertex {point_name(best)}, value {m @ best:.3g}."
        )
    return (
        "Four panels with the base polytope of the Jaccard loss of two pixels, one for each truth. "
        f"For the errors {point_name(m)} pixel {order[0] + 1} joins first; a dashed line across "
        "the direction of the errors touches each polytope at the greedy vertex. " + " ".join(words)
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
