"""A prediction against its truth: which segments match, and which are missed or false."""

from collections.abc import Sequence
from typing import Literal

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pfpn.plot.panoptic import draw_outline, draw_panoptic, segment_names, write_inside
from pfpn.plot.style import GREEN, PINK, RED, halo, legend_below, subplots
from pfpn.quality import count_overlaps, match_segments
from pfpn.structures import Category, Panoptic, Sample

Status = Literal["TP", "FP", "FN", "ignored", "crowd"]

# The color of each status; the word stands beside it, so color is never alone.
STATUS_COLORS: dict[Status, str] = {
    "TP": GREEN,
    "FP": PINK,
    "FN": RED,
    "ignored": "0.45",
    "crowd": "0.45",
}
LEGEND: dict[Status, str] = {
    "TP": "TP: matched (IoU on the right)",
    "FN": "FN: missed",
    "FP": "FP: false",
    "ignored": "ignored: mostly on void",
}


def statuses(gt: Panoptic, prediction: Panoptic) -> tuple[dict[int, Status], dict[int, Status]]:
    """Return the status of each segment by its id: of the truth, and of the prediction."""
    matches = match_segments(gt, prediction)
    of_gt: dict[int, Status] = {truth.id: "TP" for truth, _, _ in matches.pairs}
    of_gt |= {segment.id: "FN" for segment in matches.false_negatives}
    of_gt |= {segment.id: "crowd" for segment in gt.segments if segment.is_crowd}
    of_prediction: dict[int, Status] = {s.id: "ignored" for s in prediction.segments}
    of_prediction |= {partner.id: "TP" for _, partner, _ in matches.pairs}
    of_prediction |= {segment.id: "FP" for segment in matches.false_positives}
    return of_gt, of_prediction


def plot_mistakes(sample: Sample, prediction: Panoptic, categories: Sequence[Category]) -> Figure:
    """Draw truth and prediction, each thing outlined in the color of its status.

    The IoU is written on matched things of the prediction, the status on all others.
    """
    height, width = sample.panoptic.id_map.shape
    figure, panels = subplots(9, 9 * height / width / 2 + 0.75, 1, 2)
    of_gt, of_prediction = statuses(sample.panoptic, prediction)
    pairs = match_segments(sample.panoptic, prediction).pairs
    notes = [
        {number: "" if status == "TP" else status for number, status in of_gt.items()},
        of_prediction | {partner.id: f"{iou:.2f}" for _, partner, iou in pairs},
    ]
    sides = ((sample.panoptic, of_gt, "truth"), (prediction, of_prediction, "prediction"))
    for axes, (panoptic, status, title), note in zip(panels, sides, notes, strict=True):
        draw_panoptic(axes, sample.image, panoptic, categories, alpha=0.45, title=title)
        ids = panoptic.id_map.cpu().numpy()
        for segment in filter(lambda s: s.is_thing, panoptic.segments):
            mask, color = ids == segment.id, STATUS_COLORS[status[segment.id]]
            draw_outline(axes, mask, color="white", linewidth=3.6)
            draw_outline(axes, mask, color=color, linewidth=2.2)
            style = {"fontsize": 9, "fontweight": "bold", "color": color}
            write_inside(axes, mask, note[segment.id], path_effects=halo(), **style)
    drawn = {*of_gt.values(), *of_prediction.values()}
    handles = [
        Line2D([], [], color=STATUS_COLORS[status], linewidth=2.5, label=label)
        for status, label in LEGEND.items()
        if status in drawn
    ]
    legend_below(figure, handles, ncols=4)
    return figure


def describe_mistakes(sample: Sample, prediction: Panoptic, categories: Sequence[Category]) -> str:
    """Return how many things are matched, and the names and sizes of the others, in words."""
    matches = match_segments(sample.panoptic, prediction)
    overlaps = count_overlaps(sample.panoptic.id_map, prediction.id_map)
    matched = sum(truth.is_thing for truth, _, _ in matches.pairs)
    total = sum(segment.is_thing for segment in sample.panoptic.segments)
    lists = []
    for panoptic, areas, segments in (
        (sample.panoptic, overlaps.gt_areas, matches.false_negatives),
        (prediction, overlaps.pred_areas, matches.false_positives),
    ):
        names = segment_names(panoptic, categories)
        words = ", ".join(f"{names[s.id]} ({areas[s.id]} pixels)" for s in segments)
        lists.append(words or "none")
    return (
        f"Truth and prediction of a street, things outlined: {matched} of {total} things are "
        f"matched. Missed: {lists[0]}. False: {lists[1]}."
    )
