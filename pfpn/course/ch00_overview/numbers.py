"""The first look in numbers: objects and regions, ids as colors, one image through the network."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from pfpn.engine.checkpoint import Trained
from pfpn.fpn import Pyramid
from pfpn.plot.palette import segment_colors
from pfpn.predict import Prediction, predict, resize_image, resize_size
from pfpn.quality import match_segments
from pfpn.structures import VOID, Category, Panoptic, Segment, things

SIDES = ((-1, 0), (1, 0), (0, -1), (0, 1))  # steps (row, column) to the four neighbors


def count_regions(mask: Tensor, steps: Collection[tuple[int, int]] = SIDES) -> int:
    """Return the number of connected regions of a mask (h, w).

    Args:
        mask: boolean.
        steps: (row, column) from a pixel to those that it is connected with; a corner is no side.
    """
    left = {(row, column) for row, column in mask.nonzero().tolist()}
    regions = 0
    while left:
        regions += 1
        ends = [min(left)]  # the first one in reading order
        left.remove(ends[0])
        while ends:
            row, column = ends.pop()
            near = {(row + y, column + x) for y, x in steps} & left
            left -= near
            ends += near
    return regions


def label_regions(mask: Bool[Tensor, "h w"]) -> Int[Tensor, "h w"]:
    """Return the number of each pixel's region, from 1 in reading order; 0 is outside the mask.

    Every pixel starts with a number of its own and takes the largest of its neighbors' numbers,
    until none changes: then all pixels of a region have the number of its first pixel.
    """
    numbers = torch.arange(mask.numel(), 0, -1).view(mask.shape) * mask
    while True:
        grown = numbers.clone()
        grown[1:] = torch.maximum(grown[1:], numbers[:-1])
        grown[:-1] = torch.maximum(grown[:-1], numbers[1:])
        grown[:, 1:] = torch.maximum(grown[:, 1:], numbers[:, :-1])
        grown[:, :-1] = torch.maximum(grown[:, :-1], numbers[:, 1:])
        grown *= mask
        if torch.equal(grown, numbers):
            break
        numbers = grown
    values, rank = numbers.unique(return_inverse=True)
    return (len(values) - rank) * mask


@dataclass(frozen=True, slots=True)
class ClassCount:
    """How many objects of a class there are, and how many regions their pixels form together."""

    category: Category
    objects: int
    regions: int


def count_objects(panoptic: Panoptic, categories: Sequence[Category]) -> list[ClassCount]:
    """Return the numbers of objects and of regions of each thing class in a map."""
    rows = []
    for label, category in enumerate(things(categories)):
        ids, mask = class_mask(panoptic, label)
        if ids:
            rows.append(ClassCount(category, len(ids), count_regions(mask)))
    return rows


def class_mask(panoptic: Panoptic, label: int) -> tuple[list[int], Bool[Tensor, "h w"]]:
    """Return the ids of the objects of a thing class, and the mask of all their pixels."""
    ids = [s.id for s in panoptic.segments if s.is_thing and s.label == label]
    return ids, torch.isin(panoptic.id_map, torch.tensor(ids, dtype=torch.int64))


def fraction_without_things(panoptic: Panoptic) -> float:
    """Return the fraction of the pixels that belong to no thing, in [0, 1]."""
    return 1.0 - float((things_only(panoptic) != VOID).float().mean())


def things_only(panoptic: Panoptic) -> Tensor:
    """Return the id map (h, w) with everything but things made void."""
    ids = torch.tensor([s.id for s in panoptic.segments if s.is_thing], dtype=torch.int64)
    return panoptic.id_map * torch.isin(panoptic.id_map, ids)


def ids_by_color(panoptic: Panoptic, categories: Sequence[Category]) -> Panoptic:
    """Return the map with new ids, R + 256 G + 65536 B of each segment's color.

    So an id PNG shows these colors. A color that is in use already is changed by one step at a time
    until it is free.
    """
    id_map = torch.full_like(panoptic.id_map, VOID)
    used = {VOID}
    segments = []
    for segment in panoptic.segments:
        red, green, blue = segment_colors(panoptic, categories)[segment.id]
        number = red + 256 * green + 65536 * blue
        while number in used:
            number += 1 if red < 255 else -1
        used.add(number)
        id_map[panoptic.id_map == segment.id] = number
        segments.append(Segment(number, segment.label, segment.is_thing))
    return Panoptic(id_map, tuple(segments))


def describe_match(gt: Panoptic, prediction: Panoptic, x: int, y: int) -> str:
    """Return whether the two segments under a pixel match, in one sentence."""
    truth = next((s for s in gt.segments if s.id == gt.id_map[y, x]), None)
    other = next((s for s in prediction.segments if s.id == prediction.id_map[y, x]), None)
    if truth is None:
        return "Void of the truth: nobody labeled this pixel, so it is not scored."
    if other is None:
        return "The prediction has no segment here."
    if (truth.is_thing, truth.label) != (other.is_thing, other.label):
        return "Two different classes: these two cannot match."
    ious = {(a.id, b.id): iou for a, b, iou in match_segments(gt, prediction).pairs}
    iou = ious.get((truth.id, other.id))
    if iou is None:
        return "Same class, but an IoU of 0.5 or less: no match."
    return f"Same class, IoU {iou:.2f}: a match."


# One image through the network ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trace:
    """The output of every stage of the network for one image, in pixels of the network's input."""

    image: UInt8[Tensor, "3 h w"]
    backbone: Pyramid  # c2..c5
    pyramid: Pyramid  # p2..p6
    proposals: Float[Tensor, "n 4"]  # best first
    prediction: Prediction


@torch.no_grad()
def trace_image(trained: Trained, image: UInt8[Tensor, "3 h w"]) -> Trace:
    """Return the outputs of all stages for one image; the model has both branches."""
    model, config = trained.model, trained.predict
    size = resize_size((image.shape[1], image.shape[2]), config.shortest_edge, config.longest_edge)
    resized = resize_image(image, size)
    stacked, sizes = model.stack([resized])
    stages = model.backbone(stacked)
    pyramid = model.fpn(stages)
    proposals = model.proposal_network.propose(pyramid, sizes)[0]
    return Trace(resized, stages, pyramid, proposals, predict(model, [resized], config)[0])


def strength(features: Float[Tensor, "1 c h w"]) -> Float[np.ndarray, "h w"]:
    """Return the root mean square of each cell over its channels, scaled to 0 up to 1."""
    value = features[0].float().pow(2).mean(dim=0).sqrt()
    low, high = value.min(), value.max()
    return ((value - low) / (high - low).clamp(min=1e-12)).numpy()
