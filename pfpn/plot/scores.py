"""Several kinds of score side by side: one row of dots for each name."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from pfpn.plot.style import GREEN, ORANGE, SKY, add_legend, open_axes, subplots

MARKERS = "os^D"


def plot_scores(
    scores: Mapping[str, Sequence[float]],
    kinds: Sequence[str],
    label: str,
    *,
    low: float = 0.0,
    colors: Sequence[str] = (GREEN, ORANGE, SKY),
) -> Figure:
    """Draw one row of dots for each name, one dot for each kind of score, in percent.

    Args:
        scores: in [0, 1], one for each kind, by name.
        kinds: what the scores are.
        label: of the axis.
        low: where the axis starts, in percent.
        colors: of the kinds.
    """
    figure, axes = subplots(7.5, 0.9 + (0.14 + 0.13 * len(kinds)) * len(scores))
    for i, (kind, color) in enumerate(zip(kinds, colors, strict=False)):
        values = [100 * row[i] for row in scores.values()]
        # Each kind has a line of its own in a row, so that equal scores hide no mark and no number.
        shift = (i - (len(kinds) - 1) / 2) * 0.8 / len(kinds)
        rows = [y + shift for y in range(len(scores))]
        axes.plot(values, rows, MARKERS[i], color=color, label=kind, ms=7)
        for y, value in zip(rows, values, strict=True):
            style = {"textcoords": "offset points", "fontsize": 8, "va": "center"}
            axes.annotate(f"{value:.0f}", (value, y), (7, 0), **style)
    axes.set(xlabel=label, xlim=(low, 103), yticks=range(len(scores)), yticklabels=list(scores))
    axes.set_ylim(len(scores) - 0.5, -0.5)
    for y in range(1, len(scores)):
        axes.axhline(y - 0.5, color="0.9", linewidth=0.8, zorder=0)
    add_legend(open_axes(axes), loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def describe_scores(scores: Mapping[str, Sequence[float]], kinds: Sequence[str]) -> str:
    """Return the scores that `plot_scores` draws, in words."""
    words = "; ".join(
        f"{name} {', '.join(f'{100 * value:.0f}' for value in row)}" for name, row in scores.items()
    )
    return f"Rows of dots in percent ({', '.join(kinds)}): {words}."
