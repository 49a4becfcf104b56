"""What merging does to each instance and region: rules, thresholds, both rules for conflicts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from pfpn.data.transforms import to_label_map
from pfpn.merge import OTHER, fill_stuff, merge, paste_instances
from pfpn.paste import paste_windows
from pfpn.plot.palette import Color, class_colors, to_hex
from pfpn.plot.panoptic import border_lines, draw_panoptic, image_quality
from pfpn.predict import PredictConfig
from pfpn.quality import PanopticQuality, PanopticResult
from pfpn.structures import (
    IGNORE,
    VOID,
    Category,
    Detections,
    Panoptic,
    Sample,
    Window,
    things,
)

KEPT, HIDDEN, VETOED = (
    "#0072b2",
    "#e69f00",
    "#cc79a7",
)  # pixels of an instance: what becomes of them
RIGHTED, SPOILED, NEITHER = "#0072b2", "#d55e00", "#b0b0b0"  # pixels that the softer rule changes
LINES = {"all": "black", "things": "#d55e00", "stuff": "#0072b2"}
LONG_NAMES = {
    "min_score": "lowest score of an instance",
    "max_overlap": "largest hidden share",
    "min_stuff_area": "smallest stuff area (pixels)",
}


@dataclass(frozen=True, slots=True)
class Candidates:
    """What both branches said of one image, before any merging; and its truth."""

    sample: Sample
    windows: Sequence[Window]  # masks at the image's size
    scores: Float[Tensor, " n"]
    labels: Int[Tensor, " n"]
    label_map: Int[Tensor, "h w"]  # the semantic head's best label
    confidence: Float[Tensor, "h w"]  # its probability

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.label_map.shape[0], self.label_map.shape[1]

    def merge(self, config: PredictConfig) -> Panoptic:
        """Merge them by the thresholds of `config`."""
        return merge(
            self.windows,
            self.scores,
            self.labels,
            self.label_map,
            min_score=config.min_score,
            max_overlap=config.max_overlap,
            min_stuff_area=config.min_stuff_area,
            stuff_confidence=self.confidence if config.softer else None,
            margin=config.margin,
        )

    def masks(self) -> Bool[Tensor, "n h w"]:
        """Every instance's mask as a full image."""
        masks = torch.zeros((len(self.windows), *self.size), dtype=torch.bool)
        for mask, window in zip(masks, self.windows, strict=True):
            height, width = window.mask.shape
            mask[window.top : window.top + height, window.left : window.left + width] = window.mask
        return masks


def candidates_of(
    sample: Sample, detections: Detections, logits: Float[Tensor, "c h w"]
) -> Candidates:
    """Bring what the network said of an image to the form that is merged.

    Args:
        sample: the image with its truth.
        detections: boxes in pixels of the image.
        logits: of the semantic head, at the image's size.
    """
    size = (sample.image.shape[1], sample.image.shape[2])
    probs, label_map = logits.softmax(dim=0).max(dim=0)
    return Candidates(
        sample,
        paste_windows(detections.mask_probs, detections.boxes, size),
        detections.scores,
        detections.labels,
        label_map,
        probs,
    )


@dataclass(frozen=True, slots=True)
class Claim:
    """What became of one instance while it was merged."""

    index: int  # among the candidates
    label: int
    score: float
    area: int  # pixels of its mask
    hidden: float  # share of them that better instances had
    vetoed: float  # share that the softer rule left to stuff
    verdict: str  # "kept", "score too low", "too much hidden" or "empty"


def trace_claims(candidates: Candidates, config: PredictConfig) -> list[Claim]:
    """Follow every instance through `merge`, by falling score, with full-size masks.

    The plain way of doing what `pfpn.merge.paste_instances` does inside windows.
    """
    free = torch.ones(candidates.size, dtype=torch.bool)
    is_stuff = (candidates.label_map != OTHER) & (candidates.label_map != IGNORE)
    masks, claims = candidates.masks(), []
    for i in candidates.scores.argsort(descending=True, stable=True).tolist():
        score, label = float(candidates.scores[i]), int(candidates.labels[i])
        area = int(masks[i].sum())
        if area == 0:
            claims.append(Claim(i, label, score, 0, 0.0, 0.0, "empty"))
            continue
        claim = masks[i] & free
        veto = torch.zeros_like(claim)
        if config.softer:
            veto = claim & is_stuff & (candidates.confidence > score + config.margin)
        hidden = (area - int(claim.sum())) / area
        vetoed = int(veto.sum()) / area
        left = int((claim & ~veto).sum())
        if score < config.min_score:
            verdict = "score too low"
        elif left == 0 or (area - left) / area > config.max_overlap:
            verdict = "too much hidden"
        else:
            verdict = "kept"
            free &= ~(claim & ~veto)
        claims.append(Claim(i, label, score, area, hidden, vetoed, verdict))
    return claims


def merge_stages(candidates: Candidates, config: PredictConfig) -> list[tuple[str, Panoptic]]:
    """Apply the paper's rules one after the other; return each state with its name."""
    c = candidates
    empty = torch.full(c.size, VOID, dtype=torch.int64)
    in_order, thinned = (
        paste_instances(
            c.windows, c.scores, c.labels, c.size, min_score=config.min_score, max_overlap=limit
        )
        for limit in (1.0, config.max_overlap)
    )
    return [
        ("the higher score claims first", Panoptic(in_order[0], tuple(in_order[1]))),
        ("mostly hidden instances go", Panoptic(thinned[0], tuple(thinned[1]))),
        (
            'the semantic head alone; "other" is empty',
            fill_stuff(empty, c.label_map, [], min_area=1),
        ),
        ("stuff fills what is free", fill_stuff(thinned[0], c.label_map, thinned[1], min_area=1)),
        (
            f"stuff below {config.min_stuff_area} pixels goes",
            fill_stuff(thinned[0], c.label_map, thinned[1], min_area=config.min_stuff_area),
        ),
    ]


def plot_stages(
    candidates: Candidates, config: PredictConfig, categories: Sequence[Category]
) -> Figure:
    """Draw all instances as outlines, then the map after each rule."""
    height, width = candidates.size
    figure = Figure(figsize=(8.4, 2 * 2.8 * height / width + 0.75), layout="constrained")
    grid = figure.subplots(2, 3).ravel()
    draw_outlines(grid[0], candidates, categories)
    confident = int((candidates.scores >= config.min_score).sum())
    grid[0].set_title(
        f"all {len(candidates.scores)} instances, {confident} from {config.min_score:g} up",
        fontsize=8.5,
    )
    for number, (axes, (title, found)) in enumerate(
        zip(grid[1:], merge_stages(candidates, config), strict=True), 1
    ):
        draw_panoptic(axes, candidates.sample.image, found, categories, alpha=0.75)
        axes.set_title(f"{number}  {title}", fontsize=8.5)
    return figure


def plot_versions(
    candidates: Candidates, versions: Mapping[str, Panoptic], categories: Sequence[Category]
) -> Figure:
    """Draw maps of one image beside each other, under their names."""
    height, width = candidates.size
    each = 9.0 / max(1, len(versions))
    figure = Figure(figsize=(9, each * height / width + 0.4), layout="constrained")
    row = figure.subplots(1, max(1, len(versions)), squeeze=False)[0]
    for axes, (name, found) in zip(row, versions.items(), strict=False):
        draw_panoptic(axes, candidates.sample.image, found, categories, alpha=0.75)
        axes.set_title(name, fontsize=8.5)
    return figure


def describe_stages(candidates: Candidates, config: PredictConfig) -> str:
    """Say how many segments each rule leaves and how much of the image stays empty."""
    words = []
    for title, found in merge_stages(candidates, config):
        empty = 100 * float((found.id_map == VOID).float().mean())
        count = len(found.segments)
        words.append(f"{title}: {count} segment{'s' if count != 1 else ''}, {empty:.0f} % empty")
    return "; ".join(words) + "."


def draw_outlines(axes: Any, candidates: Candidates, categories: Sequence[Category]) -> None:
    """Draw the outline of every instance over the image, the best on top."""
    image = candidates.sample.image.permute(1, 2, 0).numpy()
    height, width = candidates.size
    axes.imshow(image, extent=(0, width, height, 0), interpolation="nearest", alpha=0.75)
    colors = class_colors(categories)
    names, masks = things(categories), candidates.masks().numpy()
    for i in candidates.scores.argsort(stable=True).tolist():
        mask = masks[i]
        if not mask.any():
            continue
        x, y = border_lines(np.pad(mask, 1).astype(np.int64))
        color = to_hex(colors[names[int(candidates.labels[i])].id])
        axes.plot(x - 1, y - 1, color="white", linewidth=2.2)
        axes.plot(x - 1, y - 1, color=color, linewidth=1.2)
    axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])


AGREED, TWICE, AGAINST_STUFF, NOBODY = range(4)
CONFLICTS = {
    AGREED: ("one answer", "#f2f2f2"),
    TWICE: ("two or more instances", "#e69f00"),
    AGAINST_STUFF: ("an instance and stuff", "#0072b2"),
    NOBODY: ("nobody", "#3a3a40"),
}


def conflict_map(candidates: Candidates, min_score: float) -> Int[Tensor, "h w"]:
    """Say for each pixel whether the answers agree; instances below `min_score` do not count."""
    claims = candidates.masks()[candidates.scores >= min_score].sum(dim=0)
    is_stuff = (candidates.label_map != OTHER) & (candidates.label_map != IGNORE)
    conflicts = torch.full(candidates.size, AGREED)
    conflicts[(claims == 0) & ~is_stuff] = NOBODY
    conflicts[(claims > 0) & is_stuff] = AGAINST_STUFF
    conflicts[claims > 1] = TWICE
    return conflicts


def plot_conflicts(
    candidates: Candidates, min_score: float, categories: Sequence[Category]
) -> Figure:
    """Draw both answers beside each other, and where they do not fit together."""
    height, width = candidates.size
    figure = Figure(figsize=(9.2, 3.05 * height / width + 0.75), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    draw_outlines(left, candidates, categories)
    left.set_title("instance branch: every mask", fontsize=8.5)
    empty = torch.full(candidates.size, VOID, dtype=torch.int64)
    labels = fill_stuff(empty, candidates.label_map, [], min_area=1)
    draw_panoptic(middle, candidates.sample.image, labels, categories, alpha=0.75)
    middle.set_title('semantic branch: stuff, "other" dark', fontsize=8.5)
    table = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for _, c in CONFLICTS.values()])
    pixels = table[conflict_map(candidates, min_score).numpy()].astype(np.uint8)
    right.imshow(pixels, interpolation="nearest", extent=(0, width, height, 0))
    right.set(xticks=[], yticks=[])
    right.set_title(f"claims from score {min_score:g} up", fontsize=8.5)
    handles = [Patch(facecolor=c, edgecolor="0.5", label=name) for name, c in CONFLICTS.values()]
    figure.legend(handles=handles, loc="outside lower right", ncols=4, fontsize=8, frameon=False)
    return figure


def describe_conflicts(candidates: Candidates, min_score: float) -> str:
    """Say what share of the pixels each kind of conflict has."""
    conflicts = conflict_map(candidates, min_score)
    told = [
        f"{name} {100 * float((conflicts == kind).float().mean()):.0f} %"
        for kind, (name, _) in CONFLICTS.items()
    ]
    return f"Claims on the pixels: {', '.join(told)}."


def plot_claims(
    claims: Sequence[Claim], config: PredictConfig, categories: Sequence[Category], rows: int = 14
) -> Figure:
    """Draw one bar per instance, best score on top: pixels it gets and pixels it loses."""
    shown = list(claims)[:rows]
    figure = Figure(figsize=(7.6, 0.9 + 0.26 * max(1, len(shown))), layout="constrained")
    draw_claims(figure.subplots(), shown, config, categories)
    return figure


def draw_claims(
    axes: Any,
    claims: Sequence[Claim],
    config: PredictConfig,
    categories: Sequence[Category],
    *,
    legend: bool = True,
    fontsize: float = 8,
) -> None:
    """Draw the bars of `plot_claims`."""
    names = [c.name for c in things(categories)]
    for row, claim in enumerate(claims):
        is_kept = claim.verdict == "kept"
        gets = 1 - claim.hidden - claim.vetoed
        look = {"edgecolor": "white", "linewidth": 0.5, "height": 0.8}
        alpha = 1.0 if is_kept else 0.28
        axes.barh(row, gets, color=KEPT, alpha=alpha, **look)
        axes.barh(row, claim.hidden, left=gets, color=HIDDEN, alpha=alpha, hatch="//", **look)
        axes.barh(row, claim.vetoed, left=1 - claim.vetoed, color=VETOED, alpha=alpha, **look)
        if not is_kept:
            axes.text(0.02, row, claim.verdict, va="center", fontsize=fontsize, style="italic")
    axes.axvline(1 - config.max_overlap, color="black", linestyle="--", linewidth=1)
    axes.set(xlim=(0, 1), ylim=(max(1, len(claims)) - 0.4, -0.6))
    axes.set_yticks(range(len(claims)))
    axes.set_yticklabels(
        [f"{names[claim.label]} {claim.score:.2f}" for claim in claims], fontsize=fontsize
    )
    axes.tick_params(axis="x", labelsize=fontsize)
    axes.set_xlabel("share of the mask's pixels", fontsize=fontsize)
    if legend:
        handles = [
            Patch(facecolor=KEPT, label="still free"),
            Patch(facecolor=HIDDEN, hatch="//", edgecolor="white", label="taken by better ones"),
        ]
        if config.softer:
            handles.append(Patch(facecolor=VETOED, label="left to stuff"))
        axes.legend(handles=handles, fontsize=fontsize, loc="lower right", framealpha=0.95)


def describe_claims(claims: Sequence[Claim], categories: Sequence[Category]) -> str:
    """Say how many instances were kept and why the others were not."""
    names = [c.name for c in things(categories)]
    counts = dict.fromkeys(("kept", "score too low", "too much hidden", "empty"), 0)
    for claim in claims:
        counts[claim.verdict] += 1
    told = [f"{count} {verdict}" for verdict, count in counts.items() if count]
    hidden = [
        f"{names[claim.label]} with {100 * claim.hidden:.0f} % hidden"
        for claim in claims
        if claim.verdict == "too much hidden"
    ]
    dropped = f"; dropped: {', '.join(hidden)}" if hidden else ""
    return f"{len(claims)} instances: {', '.join(told)}{dropped}."


def plot_fate(
    candidates: Candidates, config: PredictConfig, categories: Sequence[Category], rows: int = 12
) -> Figure:
    """Draw the merged map beside what became of each instance; small, for an explorer."""
    found = candidates.merge(config)
    quality = PanopticQuality(categories)
    quality.update(candidates.sample.panoptic, found)
    result = quality.result().all
    figure = Figure(figsize=(4.3, 3.8), layout="constrained")
    top, bottom = figure.subplots(2, 1, height_ratios=[1.25, 1])
    draw_panoptic(top, candidates.sample.image, found, categories, alpha=0.75)
    if result is not None:
        top.set_title(
            f"PQ {100 * result.pq:.0f}   SQ {100 * result.sq:.0f}   RQ {100 * result.rq:.0f}"
            f"   {len(found.segments)} segments",
            fontsize=9,
        )
    claims = trace_claims(candidates, config)[:rows]
    draw_claims(bottom, claims, config, categories, legend=False, fontsize=6.5)
    return figure


def quality_of(
    street: Sequence[Candidates], categories: Sequence[Category], config: PredictConfig
) -> PanopticResult:
    """Merge every image by `config` and return the panoptic quality of all."""
    quality = PanopticQuality(categories)
    for candidates in street:
        quality.update(candidates.sample.panoptic, candidates.merge(config))
    return quality.result()


def image_pq(
    candidates: Candidates, config: PredictConfig, categories: Sequence[Category]
) -> float:
    """Return the PQ of one image for itself, in percent."""
    return 100 * image_quality(candidates.sample.panoptic, candidates.merge(config), categories)


def sweep(
    street: Sequence[Candidates],
    categories: Sequence[Category],
    config: PredictConfig,
    name: str,
    values: Sequence[float],
) -> list[PanopticResult]:
    """Return the quality for each value of one threshold, the others as in `config`."""
    changes: list[dict[str, Any]] = [{name: value} for value in values]
    return [quality_of(street, categories, replace(config, **change)) for change in changes]


def plot_sweeps(
    sweeps: Mapping[str, tuple[Sequence[float], Sequence[PanopticResult]]], config: PredictConfig
) -> Figure:
    """Draw PQ against each threshold, of all classes, things and stuff; one panel each."""
    figure = Figure(figsize=(9.2, 3.1), layout="constrained")
    panels = figure.subplots(1, len(sweeps), sharey=True, squeeze=False)[0]
    for axes, (name, (values, results)) in zip(panels, sweeps.items(), strict=True):
        for group, color in LINES.items():
            heights = [100 * getattr(result, group).pq for result in results]
            axes.plot(values, heights, color=color, marker="o", markersize=3, label=group)
        axes.axvline(getattr(config, name), color="0.5", linestyle=":", linewidth=1.5)
        if max(values) > 10:
            axes.set_xscale("log", base=2)
        axes.set_xlabel(LONG_NAMES.get(name, name), fontsize=9)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.25)
    panels[0].set_ylabel("PQ (%)")
    panels[0].legend(fontsize=8, frameon=False, loc="lower left")
    return figure


def describe_sweeps(
    sweeps: Mapping[str, tuple[Sequence[float], Sequence[PanopticResult]]],
) -> str:
    """Say what the first, the best and the last value of each threshold give, in whole points."""
    words = []
    for name, (values, results) in sweeps.items():
        quality = [100 * result.all.pq for result in results if result.all is not None]
        words.append(
            f"{LONG_NAMES.get(name, name)}: PQ {quality[0]:.0f} at {values[0]:g}, "
            f"{max(quality):.0f} at best, {quality[-1]:.0f} at {values[-1]:g}"
        )
    return "; ".join(words) + "."


@dataclass(frozen=True, slots=True)
class Changes:
    """Pixels that get another class under the softer rule, void of the truth left out."""

    righted: int
    spoiled: int
    neither: int  # wrong before and after


def compare_rules(
    candidates: Candidates, config: PredictConfig, categories: Sequence[Category]
) -> tuple[Int[Tensor, "h w"], Changes]:
    """Merge by the paper's rule and by the softer one.

    Returns:
        A map of the pixels: 0 same class under both, 1 righted, 2 spoiled, 3 wrong under both;
        and how many there are.
    """
    num_things = len(things(categories))
    maps = [candidates.merge(replace(config, softer=softer)) for softer in (False, True)]
    truth, paper, softer = (
        to_label_map(found, num_things, all_classes=True)
        for found in (candidates.sample.panoptic, *maps)
    )
    changed = (paper != softer) & (truth != IGNORE)
    verdicts = torch.zeros_like(truth)
    verdicts[changed] = 3
    verdicts[changed & (softer == truth)] = 1
    verdicts[changed & (paper == truth)] = 2
    counts = [int((verdicts == verdict).sum()) for verdict in (1, 2, 3)]
    return verdicts, Changes(*counts)


def plot_softer(
    candidates: Candidates, config: PredictConfig, categories: Sequence[Category]
) -> Figure:
    """Draw truth, the paper's map, the softer rule's map, and the pixels that differ."""
    height, width = candidates.size
    image = candidates.sample.image
    verdicts, _ = compare_rules(candidates, config, categories)
    figure = Figure(figsize=(7.2, 2 * 3.5 * height / width + 0.7), layout="constrained")
    grid = figure.subplots(2, 2).ravel()
    shown = {
        "truth": candidates.sample.panoptic,
        "the paper's rule": candidates.merge(replace(config, softer=False)),
        "the softer rule": candidates.merge(replace(config, softer=True)),
    }
    for axes, (title, found) in zip(grid, shown.items(), strict=False):
        draw_panoptic(axes, image, found, categories, alpha=0.75, labels=True, title=title)
    gray = image.float().mean(0, keepdim=True).permute(1, 2, 0).numpy() / 255
    pixels = np.repeat(0.55 + 0.45 * gray, 3, axis=2)
    for verdict, color in enumerate((RIGHTED, SPOILED, NEITHER), 1):
        rgb = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        pixels[verdicts.numpy() == verdict] = rgb
    grid[3].imshow(pixels, interpolation="nearest", extent=(0, width, height, 0))
    grid[3].set(xticks=[], yticks=[])
    grid[3].set_title("pixels that differ", fontsize=9)
    grid[3].legend(
        handles=[
            Patch(facecolor=RIGHTED, label="softer rule right"),
            Patch(facecolor=SPOILED, label="paper's rule right"),
            Patch(facecolor=NEITHER, label="both wrong"),
        ],
        fontsize=8, loc="lower right", framealpha=0.9,
    )  # fmt: skip
    return figure


def plot_lines(
    values: Sequence[float],
    lines: Mapping[str, Sequence[float]],
    *,
    xlabel: str,
    ylabel: str = "PQ (%)",
) -> Figure:
    """Draw a few named lines over one threshold; "..., softer" is drawn dashed."""
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes = figure.subplots()
    colors: dict[str, str] = {}
    for name, heights in lines.items():
        group = name.removesuffix(", softer")
        color = colors.setdefault(group, ("#0072b2", "#d55e00", "#009e73")[len(colors) % 3])
        dashed = "--" if name != group else "-"
        axes.plot(values, heights, dashed, color=color, marker="o", markersize=3.5, label=name)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, frameon=False)
    return figure


def overlap_case(share: float, side: int = 20) -> Bool[Tensor, "2 h w"]:
    """Return a better and a worse square; the better one hides `share` of the worse one."""
    columns = round(share * side)
    masks = torch.zeros((2, side + 8, 2 * side + 8), dtype=torch.bool)
    masks[0, 4 : 4 + side, 4 : 4 + side] = True
    left = 4 + side - columns
    masks[1, 4 : 4 + side, left : left + side] = True
    return masks


def plot_overlap_limits(
    shares: Sequence[float], limits: Sequence[float], colors: tuple[Color, Color]
) -> Figure:
    """Draw two squares for every hidden share (columns) under every limit (rows)."""
    figure = Figure(figsize=(9, 1.12 * len(limits) + 0.5), layout="constrained")
    grid = figure.subplots(len(limits), len(shares), squeeze=False)
    for number, (row, limit) in enumerate(zip(grid, limits, strict=True)):
        for axes, share in zip(row, shares, strict=True):
            masks = overlap_case(share)
            size = (masks.shape[1], masks.shape[2])
            id_map, segments = paste_instances(
                masks, torch.tensor([0.9, 0.8]), torch.tensor([0, 1]), size, max_overlap=limit
            )
            pixels = np.full((*size, 3), 245, dtype=np.uint8)
            for segment in segments:
                pixels[(id_map == segment.id).numpy()] = colors[segment.label]
            axes.imshow(pixels, extent=(0, size[1], size[0], 0))
            x, y = border_lines(np.pad(masks[1].numpy(), 1).astype(np.int64))
            style = "-" if len(segments) == 2 else ":"
            axes.plot(x - 1, y - 1, color="black", linewidth=1.2, linestyle=style)
            axes.set(xticks=[], yticks=[])
            for spine in axes.spines.values():
                spine.set_visible(False)
            if number == 0:
                axes.set_title(f"{100 * share:.0f} % hidden", fontsize=9)
        row[0].set_ylabel(f"limit {limit:g}", fontsize=9)
    return figure


def survivors(shares: Sequence[float], limits: Sequence[float]) -> dict[float, list[float]]:
    """Return, for each limit, the hidden shares at which the worse square is kept."""
    kept: dict[float, list[float]] = {}
    for limit in limits:
        kept[limit] = []
        for share in shares:
            masks = overlap_case(share)
            _, segments = paste_instances(
                masks,
                torch.tensor([0.9, 0.8]),
                torch.tensor([0, 1]),
                (masks.shape[1], masks.shape[2]),
                max_overlap=limit,
            )
            if len(segments) == 2:
                kept[limit].append(share)
    return kept


def plot_pasting(
    image: np.ndarray,
    truth: Bool[np.ndarray, "h w"],
    versions: Mapping[str, Bool[np.ndarray, "h w"]],
    ious: Mapping[str, float],
    color: Color,
    view: tuple[int, int, int, int],
) -> Figure:
    """Draw an object's mask, pasted in several ways, over the image, with the true outline.

    Args:
        image: RGB pixels.
        truth: the object's true mask.
        versions: masks by the way they were pasted.
        ious: of each version with the truth, in [0, 1].
        color: of the mask.
        view: top, bottom, left, right of what is shown, in pixels.
    """
    top, bottom, left, right = view
    ratio = (bottom - top) / (right - left)
    each = 7.0 / len(versions)
    figure = Figure(figsize=(7, each * min(1.4, ratio) + 0.5), layout="constrained")
    height, width = truth.shape
    tone = np.asarray(color, dtype=np.float32)
    for axes, (name, mask) in zip(
        figure.subplots(1, len(versions), squeeze=False)[0], versions.items(), strict=True
    ):
        pixels = image.astype(np.float32)
        pixels[mask] = 0.4 * pixels[mask] + 0.6 * tone
        axes.imshow(pixels.astype(np.uint8), interpolation="nearest", extent=(0, width, height, 0))
        x, y = border_lines(np.pad(truth, 1).astype(np.int64))
        axes.plot(x - 1, y - 1, color="black", linewidth=2.2)
        axes.plot(x - 1, y - 1, color="white", linewidth=1)
        axes.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[])
        axes.set_title(f"{name}: IoU {ious[name]:.2f}", fontsize=9)
    return figure


def mask_iou(a: Bool[Tensor, "h w"], b: Bool[Tensor, "h w"]) -> float:
    """Return intersection over union of two masks; 0 if both are empty."""
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 0.0
