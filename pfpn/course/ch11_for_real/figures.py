"""Where the time of a prediction goes, stage by stage, beside a peer."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

OURS_COLOR = "#0072b2"
PEER_COLOR = "0.65"

Rows = Sequence[Mapping[str, Any]]


def shared_stages(rows: Rows, edge: int) -> list[Mapping[str, Any]]:
    """Return the rows of the stages that both have, at one image size, without their sum.

    Args:
        rows: "stages" of benchmarks/results/inference.json.
        edge: shortest edge of the image, pixels.
    """
    found = [row for row in rows if row["edge"] == edge and "torchvision" in row]
    if not found:
        edges = sorted({row["edge"] for row in rows})
        raise ValueError(f"no stage was measured at {edge} pixels, there are {edges}.")
    return [row for row in found if not row["stage"].startswith("all")]


def plot_stages(rows: Rows, edge: int) -> Figure:
    """Draw the time of every stage that both have, in ms, and the ratio of the two."""
    shared = shared_stages(rows, edge)
    figure = Figure(figsize=(8.4, 0.42 * len(shared) + 1.2), layout="constrained")
    axes = figure.subplots()
    for offset, key, color, label in (
        (-0.19, "torchvision", PEER_COLOR, "torchvision"),
        (0.19, "ours", OURS_COLOR, "pfpn"),
    ):
        places = [place + offset for place in range(len(shared))]
        axes.barh(places, [row[key] for row in shared], 0.36, color=color, label=label)
    for place, row in enumerate(shared):
        longer = max(row["torchvision"], row["ours"])
        axes.annotate(
            f"x {row['ratio']:.2f}", (longer, place), (5, 0), textcoords="offset points",
            va="center", fontsize=9,
        )  # fmt: skip
    axes.set_yticks(range(len(shared)), [row["stage"] for row in shared])
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set(
        xlabel="processor time, ms",
        title=f"one image, shortest edge {edge} pixels; "
        "x: pfpn's time over torchvision's, median of turns",
    )
    axes.title.set_fontsize(10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    return figure


def describe_stages(rows: Rows, edge: int) -> str:
    """Say in words what `plot_stages` shows."""
    shared = shared_stages(rows, edge)
    ours, theirs = (sum(row[key] for row in shared) for key in ("ours", "torchvision"))
    told = ", ".join(f"{row['stage']} {row['ratio']:.2f}" for row in shared)
    first = max(shared, key=lambda row: row["ours"])
    return (
        f"Time of each stage that pfpn and torchvision share, at {edge} pixels. pfpn's over "
        f"torchvision's: {told}. The sums are {ours / 1000:.1f} s and {theirs / 1000:.1f} s; "
        f"{first['stage']} takes most, {100 * first['ours'] / ours:.0f} %."
    )
