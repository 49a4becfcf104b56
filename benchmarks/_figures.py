"""Draw what was measured against what one would use instead: docs/images/benchmarks.png.

    python benchmarks/_figures.py

It reads benchmarks/results/{scoring,lovasz,inference,loading}.json, which the scripts of these
names write.
"""

import json
from pathlib import Path

from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PICTURE = ROOT / "docs" / "images" / "benchmarks.png"
OURS, OTHERS = "#0072b2", "#d55e00"
Row = tuple[str, list[float], list[float]]  # what, ours, another implementation's


def load(name: str) -> dict:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def scoring_rows() -> list[Row]:
    """Times as fast as panopticapi's loop, by the processors' time."""
    files = load("scoring")["files"]
    others = [entry["cpu_ratio"] for name, entry in files.items() if name == "hotcoco, 1 thread"]
    return [("scores from files, 1 thread", [files["pfpn, 1 worker"]["cpu_ratio"]], others)]


def lovasz_rows() -> list[Row]:
    """Times as fast as the authors' code, on an untrained and on a trained network's scores."""
    entries = load("lovasz")["speed"]

    def ratios(is_hinge: bool, *methods: str) -> list[float]:
        return [
            entry["times_faster_than_authors"]
            for entry in entries
            if entry["method"] in methods and (entry["case"] == "hinge") == is_hinge
        ]

    peers = ("kornia", "smp")
    return [
        ("Lovász-Softmax, exact", ratios(False, "exact, logits"), ratios(False, *peers)),
        ("Lovász-Softmax, 1,024 bins", ratios(False, "1024 bins, logits"), []),
        ("Lovász hinge, exact", ratios(True, "exact"), ratios(True, *peers)),
        ("Lovász hinge, 1,024 bins", ratios(True, "1024 bins"), []),
    ]


def network_rows() -> list[Row]:
    """Times as fast as torchvision's Mask R-CNN, and as a data path written plainly."""
    whole = [s for s in load("inference")["stages"] if s["stage"] == "all, with pasted masks"]
    loading = next(s for s in load("loading")["stages"] if s["stage"] == "all")
    return [
        ("a Mask R-CNN's inference", [1 / stage["ratio"] for stage in whole], []),
        ("reading training images", [1 / loading["ratio"]], []),
    ]


def draw() -> Figure:
    """Draw a row for each task, a dot for each case; the peer is the line at 1."""
    groups = {
        "against panopticapi's loop": scoring_rows(),
        "against the authors' code": lovasz_rows(),
        "against torchvision, against a plain reader": network_rows(),
    }
    figure = Figure(figsize=(8, 4.6), layout="constrained")
    axes = figure.subplots()
    height, ticks = 0.0, []
    for title, rows in groups.items():
        axes.text(0.28, height, title, fontsize=9, color="0.35", va="center", backgroundcolor="w")
        height += 1
        for name, ours, others in rows:
            axes.plot([min(ours), max(ours)], [height, height], color=OURS, lw=3, alpha=0.4)
            axes.plot(ours, [height] * len(ours), "o", color=OURS, ms=6)
            axes.plot(others, [height] * len(others), "D", color=OTHERS, ms=5)
            words = [f"{x:.2g}" if x < 10 else f"{x:.0f}" for x in (min(ours), max(ours))]
            label = words[0] if words[0] == words[1] else f"{words[0]} to {words[1]}"
            axes.text(max(ours) * 1.12, height, f"{label} times", fontsize=9, va="center")
            ticks.append((height, name))
            height += 1
    axes.plot([], [], "o", color=OURS, label="pfpn (a dot a case)")
    axes.plot([], [], "D", color=OTHERS, label="another implementation")
    axes.axvline(1, color="0.35", lw=1, zorder=0)
    axes.set_xscale("log")
    axes.set(xlim=(0.25, 100), ylim=(height - 0.4, -0.7), xlabel="times as fast as the peer")
    axes.set_xticks([0.5, 1, 2, 5, 10, 20, 50], ["0.5", "1", "2", "5", "10", "20", "50"])
    axes.minorticks_off()
    axes.set_yticks([y for y, _ in ticks], [name for _, name in ticks])
    axes.grid(axis="x", alpha=0.3)
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    return figure


if __name__ == "__main__":
    draw().savefig(PICTURE, dpi=110)
