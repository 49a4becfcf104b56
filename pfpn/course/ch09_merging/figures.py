"""Figures of chapter 09: conflicts, the rules one by one, thresholds, the softer rule, pasting."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Bool
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from pfpn.course.ch09_merging import numbers
from pfpn.course.ch09_merging.numbers import Candidates, Claim
from pfpn.plot.palette import Color, class_colors, paint_ids, to_hex
from pfpn.plot.panoptic import border_lines, draw_panoptic
from pfpn.plot.style import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PINK,
    RED,
    add_legend,
    legend_below,
    rgb,
    show_pixels,
    subplots,
    swatches,
)
from pfpn.predict import PredictConfig
from pfpn.quality import PanopticQuality, PanopticResult
from pfpn.structures import VOID, Category, Panoptic, things

KEPT, HIDDEN, LEFT_TO_STUFF = BLUE, ORANGE, PINK  # pixels of an instance: what becomes of them
CHANGES = {  # pixels that the softer rule changes
    numbers.CORRECTED: ("softer rule right", BLUE),
    numbers.SPOILED: ("paper's rule right", RED),
    numbers.STILL_WRONG: ("both wrong", INK),
}
CONFLICTS = {
    numbers.AGREED: ("one answer", "#f2f2f2"),
    numbers.TWICE: ("two or more instances", ORANGE),
    numbers.AGAINST_STUFF: ("an instance and stuff", BLUE),
    numbers.UNCLAIMED: ("neither branch", "#3a3a40"),
}
GROUPS = {"all": "black", "things": RED, "stuff": BLUE}
LONG_NAMES = {
    "min_score": "lowest score of an instance",
    "max_overlap": "largest hidden fraction",
    "min_stuff_area": "smallest stuff area (pixels)",
}
OUTCOMES = ("kept", "score too low", "too much hidden", "empty")
BLANK: Color = (245, 245, 245)  # of pixels without a square
ALPHA = 0.75  # of the segments' colors over the image

Sweeps = Mapping[str, tuple[Sequence[float], Sequence[PanopticResult]]]


# The rules, one by one --------------------------------------------------------------------------


def _draw_closed_outline(
    axes: Any, mask: Bool[np.ndarray, "h w"], *strokes: tuple[str, float], style: str = "-"
) -> None:
    """Draw the outline of a mask along the sides of its pixels, in each (color, width) in turn."""
    x, y = border_lines(np.pad(mask, 1).astype(np.int64))
    for color, width in strokes:
        axes.plot(x - 1, y - 1, color=color, linewidth=width, linestyle=style)


def _draw_instances(axes: Any, candidates: Candidates, categories: Sequence[Category]) -> None:
    """Draw the outline of every instance over the image, the best on top."""
    height, width = candidates.size
    show_pixels(axes, rgb(candidates.sample.image), alpha=ALPHA)
    colors, kinds = class_colors(categories), things(categories)
    masks = candidates.masks().numpy()
    for i in candidates.scores.argsort(stable=True).tolist():
        color = to_hex(colors[kinds[int(candidates.labels[i])].id])
        if masks[i].any():
            _draw_closed_outline(axes, masks[i], ("white", 2.2), (color, 1.2))
    axes.set(xlim=(0, width), ylim=(height, 0))


def _draw_map(
    axes: Any,
    candidates: Candidates,
    panoptic: Panoptic,
    categories: Sequence[Category],
    name: str,
    fontsize: float = 8.5,
) -> None:
    draw_panoptic(axes, candidates.sample.image, panoptic, categories, alpha=ALPHA)
    axes.set_title(name, fontsize=fontsize)


def plot_merge_stages(
    candidates: Candidates, config: PredictConfig, categories: Sequence[Category]
) -> Figure:
    """Draw all instances as outlines, then the map after each rule."""
    height, width = candidates.size
    figure, panels = subplots(8.4, 2 * 2.8 * height / width + 0.75, 2, 3)
    first, *rest = panels.ravel()
    _draw_instances(first, candidates, categories)
    scores, limit = candidates.scores, config.min_score
    title = f"all {len(scores)} instances, {int((scores >= limit).sum())} from {limit:g} up"
    first.set_title(title, fontsize=8.5)
    stages = numbers.merge_stages(candidates, config)
    for number, (axes, (name, panoptic)) in enumerate(zip(rest, stages, strict=True), 1):
        _draw_map(axes, candidates, panoptic, categories, f"{number}  {name}")
    return figure


def describe_merge_stages(candidates: Candidates, config: PredictConfig) -> str:
    """Return in words how many segments each rule leaves and how much of the image stays empty."""
    words = []
    for title, panoptic in numbers.merge_stages(candidates, config):
        empty = 100 * float((panoptic.id_map == VOID).float().mean())
        count = len(panoptic.segments)
        words.append(f"{title}: {count} segment{'s' if count != 1 else ''}, {empty:.0f} % empty")
    return "; ".join(words) + "."


def plot_versions(
    candidates: Candidates, versions: Mapping[str, Panoptic], categories: Sequence[Category]
) -> Figure:
    """Draw maps of one image beside each other, under their names."""
    height, width = candidates.size
    number = max(1, len(versions))
    figure, panels = subplots(9, 9 / number * height / width + 0.4, 1, number, squeeze=False)
    for axes, (name, panoptic) in zip(panels[0], versions.items(), strict=False):
        _draw_map(axes, candidates, panoptic, categories, name)
    return figure


def plot_conflicts(
    candidates: Candidates, min_score: float, categories: Sequence[Category]
) -> Figure:
    """Draw the outputs of both branches, and where they do not fit together."""
    height, width = candidates.size
    figure, (left, middle, right) = subplots(9.2, 3.05 * height / width + 0.75, 1, 3)
    _draw_instances(left, candidates, categories)
    left.set_title("instance branch: every mask", fontsize=9.5)
    stuff = numbers.stuff_alone(candidates)
    name = 'semantic branch: stuff, "other" dark'
    _draw_map(middle, candidates, stuff, categories, name, fontsize=9.5)
    table = np.array([to_rgb(color) for _, color in CONFLICTS.values()])
    pixels = table[numbers.conflict_map(candidates, min_score).numpy()]
    show_pixels(right, pixels, f"claims from score {min_score:g} up", fontsize=9.5)
    handles = swatches(dict(CONFLICTS.values()), edgecolor="0.5")
    add_legend(figure, handles, loc="outside lower right", ncols=4, fontsize=9.5)
    return figure


def describe_conflicts(candidates: Candidates, min_score: float) -> str:
    """Return in words how many of the pixels each kind of conflict has, in percent."""
    conflicts = numbers.conflict_map(candidates, min_score)
    parts = [
        f"{name} {100 * float((conflicts == kind).float().mean()):.0f} %"
        for kind, (name, _) in CONFLICTS.items()
    ]
    return f"Claims on the pixels: {', '.join(parts)}."


# Instances --------------------------------------------------------------------------------------


def plot_claims(
    claims: Sequence[Claim], config: PredictConfig, categories: Sequence[Category], rows: int = 14
) -> Figure:
    """Draw one bar per instance, best score on top: pixels it gets and pixels it loses."""
    shown = claims[:rows]
    figure, axes = subplots(7.6, 0.9 + 0.26 * max(1, len(shown)))
    _draw_claims(axes, shown, config, categories, fontsize=8)
    handles = swatches({"still free": KEPT}, edgecolor=None)
    handles += swatches({"taken by better ones": HIDDEN}, hatch="//", edgecolor="white")
    if config.softer:
        handles += swatches({"left to stuff": LEFT_TO_STUFF}, edgecolor=None)
    axes.legend(handles=handles, fontsize=8, loc="lower right", framealpha=0.95)
    return figure


def _draw_claims(
    axes: Any,
    claims: Sequence[Claim],
    config: PredictConfig,
    categories: Sequence[Category],
    fontsize: float,
) -> None:
    kinds = things(categories)
    for row, claim in enumerate(claims):
        is_kept = claim.outcome == "kept"
        left = 0.0
        for part, color, hatch in (
            (1 - claim.hidden - claim.left_to_stuff, KEPT, None),
            (claim.hidden, HIDDEN, "//"),
            (claim.left_to_stuff, LEFT_TO_STUFF, None),
        ):
            axes.barh(
                row, part, left=left, height=0.8, color=color, hatch=hatch, edgecolor="white",
                linewidth=0.5, alpha=1.0 if is_kept else 0.28,
            )  # fmt: skip
            left += part
        if not is_kept:
            axes.text(0.02, row, claim.outcome, va="center", fontsize=fontsize, style="italic")
    axes.axvline(1 - config.max_overlap, color="black", linestyle="--", linewidth=1)
    axes.set(xlim=(0, 1), ylim=(max(1, len(claims)) - 0.4, -0.6))
    names = [f"{kinds[claim.label].name} {claim.score:.2f}" for claim in claims]
    axes.set_yticks(range(len(claims)), names, fontsize=fontsize)
    axes.tick_params(axis="x", labelsize=fontsize)
    axes.set_xlabel("fraction of the mask's pixels", fontsize=fontsize)


def describe_claims(claims: Sequence[Claim], categories: Sequence[Category]) -> str:
    """Return in words how many instances were kept and why the others were not."""
    kinds = things(categories)
    outcomes = [claim.outcome for claim in claims]
    counts = [f"{outcomes.count(name)} {name}" for name in OUTCOMES if name in outcomes]
    hidden = [
        f"{kinds[claim.label].name} with {100 * claim.hidden:.0f} % hidden"
        for claim in claims
        if claim.outcome == "too much hidden"
    ]
    dropped = f"; dropped: {', '.join(hidden)}" if hidden else ""
    return f"{len(claims)} instances: {', '.join(counts)}{dropped}."


def plot_fate(
    candidates: Candidates,
    config: PredictConfig,
    categories: Sequence[Category],
    paste: numbers.Paste | None = None,
) -> Figure:
    """Draw the merged map above what became of the 12 best instances; small, for an explorer.

    With `paste`, a reader's function, the map and its quality are made with it, the bars are not.
    """
    merged = candidates.merge(config)
    if paste is not None:
        merged = numbers.merge_with(candidates, paste, config)
    quality = PanopticQuality(categories)
    quality.update(candidates.sample.panoptic, merged)
    result = quality.compute().all
    figure, (top, bottom) = subplots(4.3, 3.8, 2, 1, height_ratios=[1.25, 1])
    draw_panoptic(top, candidates.sample.image, merged, categories, alpha=ALPHA)
    if result is not None:
        scores = (
            f"{name.upper()} {100 * getattr(result, name):.0f}" for name in ("pq", "sq", "rq")
        )
        top.set_title("   ".join([*scores, f"{len(merged.segments)} segments"]), fontsize=9)
    _draw_claims(
        bottom, numbers.trace_claims(candidates, config)[:12], config, categories, fontsize=6.5
    )
    return figure


# Thresholds -------------------------------------------------------------------------------------


def plot_sweeps(sweeps: Sweeps, config: PredictConfig) -> Figure:
    """Draw PQ against each threshold, of all classes, things and stuff; one panel each."""
    figure, panels = subplots(9.2, 3.1, 1, len(sweeps), sharey=True, squeeze=False)
    for axes, (name, (values, results)) in zip(panels[0], sweeps.items(), strict=True):
        for group, color in GROUPS.items():
            heights = [100 * getattr(result, group).pq for result in results]
            axes.plot(values, heights, color=color, marker="o", markersize=3, label=group)
        axes.axvline(getattr(config, name), color="0.5", linestyle=":", linewidth=1.5)
        if max(values) > 10:
            axes.set_xscale("log", base=2)
        axes.set_xlabel(LONG_NAMES.get(name, name), fontsize=10)
        axes.tick_params(labelsize=10)
        axes.grid(alpha=0.25)
    panels[0, 0].set_ylabel("PQ (%)")
    add_legend(panels[0, 0], loc="lower left", fontsize=10)
    return figure


def describe_sweeps(sweeps: Sweeps) -> str:
    """Return in words the PQ at the first, the best and the last value of each threshold."""
    words = []
    for name, (values, results) in sweeps.items():
        quality = [100 * result.all.pq for result in results if result.all is not None]
        words.append(
            f"{LONG_NAMES.get(name, name)}: PQ {quality[0]:.0f} at {values[0]:g}, "
            f"{max(quality):.0f} at best, {quality[-1]:.0f} at {values[-1]:g}"
        )
    return "; ".join(words) + "."


def plot_pq_lines(
    values: Sequence[float], lines: Mapping[str, Sequence[float]], *, xlabel: str
) -> Figure:
    """Draw PQ over one threshold for a few named settings; "..., softer" is drawn dashed."""
    figure, axes = subplots(6.4, 3.4)
    colors: dict[str, str] = {}
    for name, heights in lines.items():
        group = name.removesuffix(", softer")
        color = colors.setdefault(group, (BLUE, RED, GREEN)[len(colors) % 3])
        style = "--" if name != group else "-"
        axes.plot(values, heights, style, color=color, marker="o", markersize=3.5, label=name)
    axes.set(xlabel=xlabel, ylabel="PQ (%)")
    axes.grid(alpha=0.25)
    add_legend(axes)
    return figure


def plot_overlap_limits(
    hidden: Sequence[float], limits: Sequence[float], colors: tuple[Color, Color]
) -> Figure:
    """Draw two squares for every hidden fraction (columns) under every limit (rows)."""
    size = (len(limits), len(hidden))
    figure, panels = subplots(9, 1.12 * len(limits) + 0.5, *size, squeeze=False)
    for row, limit in zip(panels, limits, strict=True):
        for axes, part in zip(row, hidden, strict=True):
            masks = numbers.overlap_case(part)
            id_map, segments = numbers.paste_case(masks, limit)
            shades = {segment.id: colors[segment.label] for segment in segments}
            show_pixels(axes, paint_ids(id_map, {VOID: BLANK, **shades}))
            style = "-" if len(segments) == 2 else ":"
            _draw_closed_outline(axes, masks[1].numpy(), ("black", 1.2), style=style)
            axes.spines[:].set_visible(False)
        row[0].set_ylabel(f"limit {limit:g}", fontsize=9)
    for axes, part in zip(panels[0], hidden, strict=True):
        axes.set_title(f"{100 * part:.0f} % hidden", fontsize=9)
    return figure


# The softer rule, and the output's size ---------------------------------------------------------


def plot_softer(
    candidates: Candidates, config: PredictConfig, categories: Sequence[Category]
) -> Figure:
    """Draw truth, the paper's map, the softer rule's map, and the pixels that differ."""
    height, width = candidates.size
    image = candidates.sample.image
    kinds = numbers.compare_rules(candidates, config, categories).numpy()
    figure, panels = subplots(7.2, 2 * 3.5 * height / width + 0.95, 2, 2)
    *maps, last = panels.ravel()
    for axes, title, panoptic in (
        (maps[0], "truth", candidates.sample.panoptic),
        (maps[1], "the paper's rule", candidates.merge(replace(config, softer=False))),
        (maps[2], "the softer rule", candidates.merge(replace(config, softer=True))),
    ):
        draw_panoptic(axes, image, panoptic, categories, alpha=ALPHA, labels=True, title=title)
    gray = image.float().mean(0).numpy() / 255
    pixels = np.repeat(0.55 + 0.45 * gray[:, :, None], 3, axis=2)
    for kind, (_, color) in CHANGES.items():
        pixels[kinds == kind] = to_rgb(color)
    show_pixels(last, pixels, "pixels that differ")
    legend_below(figure, swatches(dict(CHANGES.values())), ncols=3)
    return figure


def plot_pasting(
    image: np.ndarray,
    truth: Bool[np.ndarray, "h w"],
    versions: Mapping[str, Bool[np.ndarray, "h w"]],
    ious: Mapping[str, float],
    color: Color,
    view: tuple[int, int, int, int],
) -> Figure:
    """Draw an object's mask, pasted in several ways, over the RGB image, with the true outline.

    Args:
        image: (h, w, 3) pixels.
        truth: the object's true mask.
        versions: masks by the way they were pasted.
        ious: of each version with the truth, in [0, 1].
        color: of the mask.
        view: top, bottom, left, right of what is shown, in pixels.
    """
    top, bottom, left, right = view
    ratio, number = (bottom - top) / (right - left), len(versions)
    figure, panels = subplots(7, 7 / number * min(1.4, ratio) + 0.5, 1, number, squeeze=False)
    for axes, (name, mask) in zip(panels[0], versions.items(), strict=True):
        pixels = image.astype(np.float32)
        pixels[mask] = 0.4 * pixels[mask] + 0.6 * np.asarray(color, dtype=np.float32)
        show_pixels(axes, pixels.astype(np.uint8), f"{name}: IoU {ious[name]:.2f}")
        _draw_closed_outline(axes, truth, ("black", 2.2), ("white", 1))
        axes.set(xlim=(left, right), ylim=(bottom, top))
    return figure
