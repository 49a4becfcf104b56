"""Figures of chapter 07 over the scores of two pixels whose truth is known.

Convexity and the base polytope are in `figures_convexity`, slices through many pixels in
`figures_slices`, uncertain truths in `figures_beliefs`. Each `plot_*` has a `describe_*` that gives
the same in words, with the numbers that were computed.
"""

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from pfpn.course.ch07_surfaces.descents import lovasz_present
from pfpn.course.ch07_surfaces.numbers import (
    Crease,
    absent_class_costs,
    find_creases,
    greedy_vertices,
    jaccard_corners,
    point_name,
)
from pfpn.plot.style import BLUE, ORANGE, RED, add_legend, legend_below, subplots
from pfpn.plot.surface import (
    DOT_COLOR,
    HALO,
    LOSSES,
    PALE_COLORS,
    SOLID,
    TRUTHS,
    Loss,
    Over,
    Surface,
    Truth,
    draw_contours,
    draw_surface,
    largest_drawn,
    loss_at,
    make_surface,
    truth_name,
    value_and_gradient,
)

KINK_COLOR = RED
ARROW_COLOR = "0.15"
CLASS_CHOICES: dict[str, Loss] = {  # which classes count, and the loss
    "foreground only": "lovasz_softmax",
    "classes present": lovasz_present,
}

# Figures 1 and 2 of the paper -------------------------------------------------------------------


def plot_hinge_surfaces(steps: int = 13) -> Figure:
    """Draw the Lovász hinge over the relative margins for the four truths of two pixels.

    Source: [LS] Fig. 1.
    """
    figure, panels = _solid_panels("Lovász hinge of two pixels over their relative margins")
    for axes, truth in zip(panels, TRUTHS, strict=True):
        draw_surface(axes, make_surface("lovasz_hinge", truth, "margins", -1, 2, steps), 2)
        _draw_dots(axes, *jaccard_corners(truth))
        ticks = [-1, 0, 1, 2]
        axes.set(
            title=truth_name(truth), xlabel="$r_1 = 1 - d_1 y_1$", ylabel="$r_2 = 1 - d_2 y_2$",
            xticks=ticks, yticks=ticks, zticks=[0, 1, 2],
        )  # fmt: skip
    return figure


def describe_hinge_surfaces() -> str:
    """Return in words what `plot_hinge_surfaces` shows."""
    words = []
    for truth in TRUTHS:
        points = torch.tensor([[2.0, 2.0], [2.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
        both, first, second = loss_at("lovasz_hinge", points, truth, "margins").tolist()
        words.append(
            f"{truth_name(truth)}: dots {_corner_words(truth)}; the surface has "
            f"{both:.2g} where both margins are 2, {first:.2g} where only the first is and the "
            f"other 0, {second:.2g} where only the second is."
        )
    return (
        "Four surfaces, one for each truth of two pixels: the Lovász hinge over the relative "
        "margins from -1 to 2. Each is 0 where both margins are at most 0 and rises in flat facets "
        "through the red dots, the discrete Jaccard loss at margins 0 and 1. " + " ".join(words)
    )


def plot_softmax_surfaces(steps: int = 17, reach: float = 6.0) -> Figure:
    """Draw the Lovász-Softmax of the foreground over y_i d_i, for the four truths.

    d_i is the difference of two logits, as in the paper, and y_i the sign of the truth. The product
    mirrors an axis for a background pixel, so that all panels have the pixel right on the same side
    and can be compared.

    Source: [LS] Fig. 2.
    """
    figure, panels = _solid_panels(
        "Lovász-Softmax over $y_i d_i$: above 0 the pixel is right.\n"
        "All four are seen from where both pixels are right"
    )
    for axes, truth in zip(panels, TRUTHS, strict=True):
        surface = make_surface("lovasz_softmax", truth, "logits", -reach, reach, steps)
        draw_surface(axes, mirrored(surface), 1)
        corners, heights = jaccard_corners(truth)
        _draw_dots(axes, reach * (1 - 2 * corners), heights)
        ticks = [-reach, 0, reach]
        axes.view_init(elev=27, azim=58)
        axes.set(
            title=truth_name(truth), xlabel="$y_1 d_1$", ylabel="$y_2 d_2$", xticks=ticks,
            yticks=ticks, zticks=[0, 0.5, 1],
        )  # fmt: skip
    return figure


def mirrored(surface: Surface) -> Surface:
    """Return a surface over logits as one over y_i d_i: positive where a pixel is right."""
    flips = tuple(
        axis for axis, label in ((1, surface.truth[0]), (0, surface.truth[1])) if not label
    )
    return replace(
        surface,
        value=np.flip(surface.value, flips),
        gradient=np.flip(surface.gradient, flips) * _signs(surface.truth),
    )


def describe_softmax_surfaces(reach: float = 6.0) -> str:
    """Return in words what `plot_softmax_surfaces` shows."""
    words = []
    for truth in TRUTHS:
        middle = float(loss_at("lovasz_softmax", torch.zeros(2, dtype=torch.float64), truth))
        words.append(f"{truth_name(truth)}: dots {_corner_words(truth)}; {middle:.2g} at (0, 0).")
    gap = 1 / (1 + np.exp(reach))
    return (
        "Four surfaces, one for each truth of two pixels: the Lovász-Softmax loss of the "
        f"foreground over the differences of logits, {-reach:g} to {reach:g}, times the sign of "
        "the truth, all seen from the corner where both pixels are right. Smooth plateaus joined "
        "by slopes, with a crease where both errors are equal unless both pixels are foreground. "
        "The red dots at the corners are the discrete Jaccard loss; the surface comes "
        f"within {gap:.2g} of them and meets them at infinity. " + " ".join(words)
    )


def _solid_panels(title: str) -> tuple[Figure, Any]:
    """Return a figure of four panels in 3-D under a title, with the legend of the dots."""
    # No layout engine: none of them leaves room for the labels of 3-D axes.
    figure = Figure(figsize=(6.4, 6.1))
    panels = figure.subplots(2, 2, subplot_kw=SOLID)
    figure.subplots_adjust(0.04, 0.08, 0.93, 0.87, wspace=0.08, hspace=0.28)
    figure.suptitle(title, y=0.985, fontsize=11)
    dot = Line2D(
        [], [], color=DOT_COLOR, marker="o", linestyle="", markersize=7, markeredgecolor="white",
        label="discrete Jaccard loss",
    )  # fmt: skip
    add_legend(figure, [dot], fontsize=10, loc="lower center")
    return figure, panels.flat


def _draw_dots(axes: Any, points: Float[np.ndarray, "n 2"], heights: np.ndarray) -> None:
    """Draw the discrete Jaccard loss as red dots on a surface."""
    axes.scatter(
        *points.T, heights, color=DOT_COLOR, edgecolors="white", s=55, linewidths=1,
        depthshade=False, zorder=5,
    )  # fmt: skip


def _signs(truth: Truth) -> Float[np.ndarray, " 2"]:
    return 2.0 * np.asarray(truth) - 1


def _corner_words(truth: Truth) -> str:
    none, second, first, both = (f"{height:g}" for height in jaccard_corners(truth)[1])
    return (
        f"{none} with no pixel wrong, {first} with the first, {second} with the second, "
        f"{both} with both"
    )


# Which classes are averaged ---------------------------------------------------------------------


def plot_class_choices(steps: int = 41, reach: float = 4.0) -> Figure:
    """Draw Lovász-Softmax of the foreground alone, and its mean over the classes in the truth."""
    figure, panels = subplots(9.2, 5, 2, 4)
    for row, (name, loss) in zip(panels, CLASS_CHOICES.items(), strict=True):
        for axes, truth in zip(row, TRUTHS, strict=True):
            surface = make_surface(loss, truth, "logits", -reach, reach, steps)
            drawn = draw_contours(axes, surface, 1, PALE_COLORS)
            for label, at in ((1, -3.0), (0, 3.0)):  # both scores -3, both 3
                value = float(loss_at(loss, torch.full((2,), at, dtype=torch.float64), truth))
                axes.plot(at, at, "o", color=DOT_COLOR, markeredgecolor="white", markersize=6)
                axes.annotate(
                    f"{value:.2f}", (at, at), (6 * (2 * label - 1), 4), fontsize=9, ha="left" if
                    label else "right", textcoords="offset points", path_effects=HALO,
                )  # fmt: skip
            axes.axhline(0, color="0.5", linewidth=0.8, linestyle=":")
            axes.axvline(0, color="0.5", linewidth=0.8, linestyle=":")
            axes.set_title(truth_name(truth), fontsize=10)
            axes.set(
                xlabel="logit $d_1$", ylabel="logit $d_2$", xticks=[-3, 0, 3], yticks=[-3, 0, 3]
            )
        row[0].set_ylabel(f"{name}\nlogit $d_2$", fontsize=10)
        figure.colorbar(drawn, ax=row.tolist(), ticks=[0, 0.5, 1], shrink=0.8)
    return figure


def describe_class_choices() -> str:
    """Return in words what `plot_class_choices` shows."""
    words = []
    for name, loss in CLASS_CHOICES.items():
        parts = []
        for truth in TRUTHS:
            low, high = (
                float(loss_at(loss, torch.full((2,), at, dtype=torch.float64), truth))
                for at in (-3.0, 3.0)
            )
            parts.append(f"{low:.2f} and {high:.2f} for {truth_name(truth)}")
        words.append(f"{name}: {', '.join(parts)}")
    return (
        "Contour maps of Lovász-Softmax over the logits of two pixels, one column for each truth: "
        "above of the foreground alone, below the mean over the classes that are in the truth. "
        f"Values where both logits are -3 and where both are 3. {'. '.join(words)}. The lower maps "
        "of the truths with one pixel of each kind are mirror images of each other."
    )


# Seven losses beside each other -----------------------------------------------------------------


def plot_losses(
    truth: Truth = (0, 1), kind: Literal["surface", "contour"] = "surface", steps: int = 25
) -> Figure:
    """Draw seven losses of the foreground over the same logits, and one cut through them all."""
    if kind not in ("surface", "contour"):
        raise ValueError(f"plot_losses: found kind {kind!r}, expected surface or contour")
    reach = 3.0
    solid = kind == "surface"
    figure = Figure(figsize=(7.4, 7), layout=None if solid else "constrained")
    for number, (loss, (title, _, _)) in enumerate(LOSSES.items(), start=1):
        axes = figure.add_subplot(3, 3, number, **(SOLID if solid else {}))
        surface, top = make_surface(loss, truth, steps=steps), largest_drawn(loss)
        if solid:
            draw_surface(axes, surface, top)
            axes.set_zticks([0, top / 2, top])
        else:
            draw_contours(axes, surface, top)
        _label_logits(axes, title)
        axes.title.set_fontsize(10.5)
    axes = figure.add_subplot(3, 3, (8, 9))
    _draw_cut(axes, truth, reach)
    if solid:
        figure.subplots_adjust(0.02, 0.06, 0.95, 0.89, wspace=0.1, hspace=0.22)
        box = axes.get_position()
        axes.set_position((box.x0 + 0.07, box.y0, box.width - 0.07, box.height))
    figure.suptitle(
        f"Seven losses of the foreground over the same logits, {truth_name(truth)}\n"
        "from 0 (dark) to 4 (yellow) for hinges and cross-entropy, to 1 for the others",
        fontsize=11,
    )
    return figure


def _label_logits(axes: Any, title: str) -> None:
    axes.set(title=title, xlabel="logit $d_1$", ylabel="logit $d_2$")
    axes.set(xticks=[-3, 0, 3], yticks=[-3, 0, 3])


def _draw_cut(axes: Any, truth: Truth, reach: float) -> None:
    """Draw all losses along the first logit, the second pixel being right with a logit of 1."""
    axis = torch.linspace(-reach, reach, 241, dtype=torch.float64)
    second = 2.0 * truth[1] - 1
    points = torch.stack([axis, torch.full_like(axis, second)], -1)
    for loss, (title, color, style) in LOSSES.items():
        label = title.replace(" (discrete)", "")
        width = 3.2 if loss in ("jaccard", "hinge") else 1.6  # others may lie on top
        values = loss_at(loss, points, truth)
        axes.plot(axis, values, color=color, linestyle=style, linewidth=width, label=label)
    axes.set(
        title=f"cut at $d_2 = {second:+.0f}$", xlabel="logit $d_1$", ylabel="loss",
        xlim=(-reach, reach), xticks=[-3, 0, 3],
        ylim=(-0.05, 2.75),  # room for the legend above the lines
    )  # fmt: skip
    add_legend(axes, loc="upper left", handlelength=2.6, ncols=2)


def describe_losses(truth: Truth = (0, 1)) -> str:
    """Return in words what `plot_losses` shows, as surfaces and as contours."""
    right = torch.tensor(_signs(truth))
    points = torch.stack([3 * right, torch.zeros(2, dtype=torch.float64), -3 * right])
    words = []
    for loss, (title, _, _) in LOSSES.items():
        good, middle, bad = loss_at(loss, points, truth).tolist()
        words.append(f"{title} {good:.2f}, {middle:.2f}, {bad:.2f}")
    flat = "" if any(truth) else " Soft Jaccard and Dice are flat here: they teach nothing."
    return (
        f"Seven losses of the foreground over the logits of two pixels, {truth_name(truth)}, and "
        "a cut through all of them. The discrete Jaccard loss is a staircase of flat quadrants; "
        "all others are continuous. Their values with both pixels right by a logit of 3, with both "
        f"logits 0, and with both wrong by 3: {'; '.join(words)}.{flat}"
    )


# Kinks ------------------------------------------------------------------------------------------


def plot_descent_arrows(steps: int = 61, num_arrows: int = 8) -> Figure:
    """Draw the steepest descent on the contours of both Lovász losses, and their kinks."""
    figure, panels = subplots(9, 6, 2, 4)
    # Loss, coordinates, their letter and name, their range, top, and a bound of the gradients
    rows: tuple[tuple[str, Over, str, str, float, float, float, float], ...] = (
        ("lovasz_hinge", "margins", "r", "relative margin", -1, 2, 2, 1.0),
        ("lovasz_softmax", "logits", "d", "logit", -4, 4, 1, 0.25),
    )
    for row, case in zip(panels, rows, strict=True):
        loss, over, letter, name, low, high, top, longest = case
        reach = 0.9 * (high - low) / num_arrows  # of the longest arrow, in data units
        for axes, truth in zip(row, TRUTHS, strict=True):
            draw_contours(axes, make_surface(loss, truth, over, low, high, steps), top, PALE_COLORS)
            points = arrow_points(low, high, num_arrows)
            _draw_arrows(
                axes, points, value_and_gradient(loss, points, truth, over)[1], longest / reach,
                width=0.007, zorder=3,
            )  # fmt: skip
            for crease in find_creases(truth, over, low, high):
                _draw_crease(axes, crease)
            axes.set(
                title=f"{LOSSES[loss][0]}\n{truth_name(truth)}", xlabel=f"{name} ${letter}_1$",
                ylabel=f"{name} ${letter}_2$", xticks=[low, 0, high], yticks=[low, 0, high],
            )  # fmt: skip
            axes.title.set_fontsize(10)
    arrow = Line2D(
        [], [], color=ARROW_COLOR, marker=r"$\rightarrow$", markersize=14, linestyle="",
        label="steepest descent, length = slope",
    )  # fmt: skip
    lines = [
        Line2D([], [], **_crease_style(Crease((0, 0), (1, 1), by_order, bends)), label=label)
        for by_order, bends, label in (
            (True, True, "kink: the order of errors changes"),
            (False, True, "kink: a hinge error leaves 0"),
            (True, False, "formula changes, but no kink"),
        )
    ]
    legend_below(figure, [*lines, arrow], fontsize=10, ncols=2)
    figure.suptitle(
        "Descent on the Lovász losses: darker is larger; a contour every 0.2 above, every 0.1 below"
    )
    return figure


def arrow_points(low: float, high: float, num: int) -> Float[Tensor, "n 2"]:
    """Return the points where arrows start: a grid that is shifted off the lines of equal errors.

    Both coordinates are shifted, by different fractions of a cell, so none lies on a diagonal.
    """
    cell = (high - low) / num
    at = torch.arange(num, dtype=torch.float64)
    second, first = torch.meshgrid(at, at, indexing="ij")
    return torch.stack([first + 0.62, second + 0.48], -1).view(-1, 2) * cell + low


def _draw_arrows(
    axes: Any, points: Tensor, gradient: Tensor, scale: float, **options: float
) -> None:
    """Draw arrows against the gradient; one of length `scale` is one data unit long."""
    axes.quiver(
        points[:, 0], points[:, 1], -gradient[:, 0], -gradient[:, 1], color=ARROW_COLOR,
        angles="xy", scale_units="xy", scale=scale, **options,
    )  # fmt: skip


def _crease_style(crease: Crease) -> dict[str, Any]:
    if not crease.bends:
        return {"color": "0.4", "linewidth": 1.5, "linestyle": "--"}
    if crease.by_order:
        return {"color": KINK_COLOR, "linewidth": 2.5, "linestyle": "-"}
    return {"color": KINK_COLOR, "linewidth": 2, "linestyle": ":"}


def _draw_crease(axes: Any, crease: Crease) -> None:
    axes.plot(*zip(crease.start, crease.end, strict=True), zorder=2, **_crease_style(crease))


def describe_descent_arrows() -> str:
    """Return in words what `plot_descent_arrows` shows."""
    words = []
    for truth in TRUTHS:
        one, two = greedy_vertices(truth)
        if np.array_equal(one, two):
            words.append(
                f"{truth_name(truth)}: {point_name(one)} in either order, so no kink between."
            )
        else:
            words.append(
                f"{truth_name(truth)}: {point_name(one)} where the first pixel's error is the "
                f"larger, {point_name(two)} where the second's is."
            )
    return (
        "Eight contour maps with arrows of steepest descent: the Lovász hinge over relative "
        "margins above, Lovász-Softmax over logits below, one column for each truth. Contours of "
        "the hinge are straight, with a kink on the diagonal where the order of the errors "
        "changes; those of Lovász-Softmax are curved, and arrows shorten to nothing on plateaus. "
        "The gradients by the errors: " + " ".join(words)
    )


# The price of an absent class -------------------------------------------------------------------


def plot_absent_class(error: float = 0.9, rest: float = 0.01) -> Figure:
    """Draw what a class costs that the truth does not contain: its single largest error."""
    figure, (left, right) = subplots(7.4, 3.5, 1, 2)
    surface = make_surface("lovasz_softmax", (0, 0), "errors", 0, 1)
    figure.colorbar(draw_contours(left, surface, 1, PALE_COLORS), ax=left, label="loss")
    points = arrow_points(0, 1, 7)
    _, gradient = value_and_gradient("lovasz_softmax", points, (0, 0), "errors")
    _draw_arrows(left, points, gradient, 12, width=0.008)
    _draw_crease(left, *find_creases((0, 0), "errors", 0, 1))
    left.set_title("$L(m) = \\max(m_1, m_2)$:\ndescent moves the worst pixel only", fontsize=10)
    left.set(xlabel="error $m_1$", ylabel="error $m_2$", aspect="equal")

    nums = [2**power for power in range(1, 15)]
    costs = absent_class_costs(nums, error, rest)
    for key, label, color, style, marker in (
        ("absent", "absent class, included", "black", "-", "o"),
        ("half", "class on half of the pixels", BLUE, "--", "s"),
        ("mean", "mean error", ORANGE, "-.", "^"),
    ):
        right.plot(
            nums, costs[key], color=color, linestyle=style, marker=marker, markersize=4, label=label
        )
    right.set_xscale("log", base=2)
    right.set_title(f"one pixel of error {error:g},\nall others {rest:g}", fontsize=10)
    right.set(xlabel="number of pixels", ylabel="loss", ylim=(0, 1))
    add_legend(right, fontsize=10, loc="center right")
    figure.suptitle("A class that the truth does not contain costs its largest error")
    return figure


def describe_absent_class(error: float = 0.9, rest: float = 0.01) -> str:
    """Return in words what `plot_absent_class` shows."""
    costs = absent_class_costs([16384], error, rest)
    return (
        "Left: the loss of a class without a true pixel, over the errors of two pixels, is the "
        "larger of the two: its contours are corners, and descent moves only the pixel with the "
        "larger error. Right: one pixel of error "
        f"{error:g} among others of {rest:g}, by the number of pixels. With 16,384 pixels the "
        f"absent class still costs {costs['absent'][0]:.2g}, a class on half of the pixels "
        f"{costs['half'][0]:.2g}, the mean error is {costs['mean'][0]:.2g}."
    )
