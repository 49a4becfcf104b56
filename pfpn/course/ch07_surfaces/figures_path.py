"""The figure of trainings on a plane through the weights of a small network."""

import numpy as np
from matplotlib.figure import Figure

from pfpn.course.ch07_surfaces.training import PATH_LOSSES, PathMap
from pfpn.plot.style import BLUE, RED, halo, legend_below, subplots
from pfpn.plot.surface import CONTOUR_COLOR, PALE_COLORS

COLORS = {"cross-entropy": BLUE, "Lovász-Softmax": RED}
TOPS = {"cross_entropy": 2.4, "lovasz_softmax": 1.0, "miou_loss": 1.0}


def plot_paths(paths: PathMap) -> Figure:
    """Draw the losses over the plane of the paths, and both paths on each of them."""
    figure, panels = subplots(9.2, 3.4, 1, 3, sharey=True)
    for axes, (loss, title) in zip(panels, PATH_LOSSES.items(), strict=True):
        value = paths.values[loss].clip(0, TOPS[loss])
        levels = np.linspace(0, TOPS[loss], 13)
        drawn = axes.contourf(
            paths.along, paths.across, value, levels, cmap=PALE_COLORS, vmax=1.5 * TOPS[loss]
        )
        axes.contour(
            paths.along, paths.across, value, levels[1:-1], colors=CONTOUR_COLOR, linewidths=0.5
        )
        figure.colorbar(drawn, ax=axes, shrink=0.75, ticks=[0, TOPS[loss] / 2, TOPS[loss]])
        for name, points in paths.plane.coordinates.items():
            axes.plot(*points.T, color=COLORS[name], linewidth=2, path_effects=halo(3.5),
                      label=f"trained with {name}")  # fmt: skip
            axes.plot(*points[::20].T, ".", color=COLORS[name], markersize=5)
            axes.plot(*points[-1], "s", color=COLORS[name], markeredgecolor="white", markersize=8)
            axes.plot(*points[0], "o", color="black", markeredgecolor="white", markersize=8)
        axes.set_title(title, fontsize=10.5)
        first, second = paths.plane.explained
        axes.set(xlabel=f"component 1 ({first:.0%})", aspect="equal")
    figure.suptitle(
        "Two trainings from one start, on the plane that shows most of both", fontsize=11
    )
    panels[0].set_ylabel(f"component 2 ({second:.0%})")
    legend_below(figure, panels[0].get_legend_handles_labels()[0], ncols=2, fontsize=9)
    return figure


def describe_paths(paths: PathMap) -> str:
    """Return in words what `plot_paths` shows."""
    first, second = paths.plane.explained
    words = [
        f"the path of {name} ends at "
        + ", ".join(f"{PATH_LOSSES[loss]} {value:.2f}" for loss, value in ends.items())
        for name, ends in paths.ends.items()
    ]
    return (
        "Three contour maps over one plane through the weights of a small network, with the paths "
        "of two trainings from the same start. The plane is that of the first two principal "
        f"components of both paths, which show {first:.0%} and {second:.0%} of their variance. "
        f"With all weights, {'; '.join(words)}."
    )
