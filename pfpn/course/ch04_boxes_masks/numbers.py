"""Numbers of chapter 04: cells of a level, bins, sampling points, masks on their box's grid."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from pfpn.mask_head import mask_targets
from pfpn.paste import paste_masks
from pfpn.roi import CANONICAL_SIZE, level_of_boxes, roi_align
from pfpn.structures import Instances

METHODS = ("RoIPool, max", "RoIPool's cells, mean", "RoIAlign, half pixel forgotten", "RoIAlign")
Cells = tuple[int, int, int, int]  # top, bottom, left, right; half-open
Rectangle = tuple[float, float, float, float]  # x0, y0, x1, y1


@dataclass(frozen=True, slots=True)
class MaskPair:
    """A thing's true mask beside the mask predicted for it."""

    image: UInt8[Tensor, "3 h w"]
    truth: Bool[Tensor, "h w"]
    prediction: Bool[Tensor, "h w"]  # all false if the thing was missed
    title: str

    @property
    def overlap(self) -> float:
        """IoU of the two masks, in [0, 1]."""
        return float(paired_mask_ious(self.truth[None], self.prediction[None])[0])


def cells_spanned(
    sides: Float[Tensor, " n"], canonical_size: float = CANONICAL_SIZE
) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"]]:
    """Return the level of square boxes by their side, and how many of its cells they span."""
    zero = torch.zeros_like(sides)
    level = level_of_boxes(torch.stack([zero, zero, sides, sides], dim=1), canonical_size)
    return level, sides / 2.0**level


def rounded_bins(
    box: Sequence[float], stride: int, bins: int, size: tuple[int, int]
) -> list[list[Cells]]:
    """Return the cells that RoIPool takes for each bin: rows of bins, each a list of cells.

    Rounded twice: the box to whole cells, its last one included, and every bin outwards to whole
    cells again. `size` is (height, width) of the map in cells.
    """
    # Halves are rounded up, as in C for positive numbers; Python rounds them to even numbers.
    x0, y0, x1, y1 = (math.floor(v / stride + 0.5) for v in box)
    spans = []
    for low, high, limit in ((y0, y1, size[0]), (x0, x1, size[1])):
        step = max(high - low + 1, 1) / bins
        edges = [(low + math.floor(i * step), low + math.ceil((i + 1) * step)) for i in range(bins)]
        spans.append([(min(max(a, 0), limit), min(max(b, 0), limit)) for a, b in edges])
    return [[(top, bottom, a, b) for a, b in spans[1]] for top, bottom in spans[0]]


def roi_pool(
    features: Float[Tensor, "c h w"], box: Sequence[float], stride: int, bins: int, how: str = "max"
) -> Float[Tensor, "c bins bins"]:
    """Pool a box from whole cells, as before RoIAlign; `how` is "max" (published) or "mean"."""
    size = (features.shape[1], features.shape[2])
    pooled = features.new_zeros((len(features), bins, bins))
    for i, row in enumerate(rounded_bins(box, stride, bins, size)):
        for j, (top, bottom, left, right) in enumerate(row):
            cells = features[:, top:bottom, left:right].flatten(1)
            if cells.shape[1]:
                pooled[:, i, j] = cells.amax(1) if how == "max" else cells.mean(1)
    return pooled


def sample_points(box: Sequence[float], bins: int, samples: int) -> Float[np.ndarray, "n 2"]:
    """Return (x, y), in pixels, of the points that RoIAlign reads in a box, row by row."""
    x0, y0, x1, y1 = box
    steps = (np.arange(bins * samples) + 0.5) / (bins * samples)
    y, x = np.meshgrid(y0 + (y1 - y0) * steps, x0 + (x1 - x0) * steps, indexing="ij")
    return np.stack([x.ravel(), y.ravel()], axis=1)


def reading_errors(
    stride: int, num: int = 100, bins: int = 7, seed: int = 0
) -> dict[str, Float[Tensor, "n bins"]]:
    """Return how far from a bin's center each method reads the map, in pixels along x.

    The feature map holds in every cell the x of the cell's center, so a pooled value is the
    position that was read. Boxes span 14 to 28 cells a side, by the level rule, randomly placed.
    """
    rng = torch.Generator().manual_seed(seed)
    cells = 64
    centers = (torch.arange(cells) + 0.5) * stride
    ramp = centers.expand(cells, cells)[None].contiguous()
    side = stride * 14 * (1 + torch.rand((num, 2), generator=rng))
    corner = stride * 2 + torch.rand((num, 2), generator=rng) * stride * 30
    boxes = torch.cat([corner, corner + side], dim=1)
    goal = boxes[:, :1] + side[:, :1] * (torch.arange(bins) + 0.5) / bins
    rois = torch.cat([torch.zeros(num, 1), boxes], dim=1)
    read = {
        name: torch.stack([roi_pool(ramp, box, stride, bins, how)[0, 0] for box in boxes.tolist()])
        for name, how in zip(METHODS[:2], ("max", "mean"), strict=True)
    }
    for name, aligned in zip(METHODS[2:], (False, True), strict=True):
        read[name] = roi_align(ramp[None], rois, bins, 1 / stride, 0, aligned)[:, 0, 0]
    return {name: values - goal for name, values in read.items()}


def opposite_rectangle(row: int, column: int, down: float, right: float) -> Rectangle:
    """Return the rectangle between a point and the center of the cell opposite to one of four.

    Its area is the weight of the cell (row, column), 0 or 1 each, in bilinear reading at the
    point (down, right).
    """
    x0, x1 = sorted((right, 1.0 - column))
    y0, y1 = sorted((down, 1.0 - row))
    return x0, y0, x1, y1


def mask_ceiling(instances: Instances, bins: int) -> Float[Tensor, " n"]:
    """Return the best IoU that a mask of `bins` x `bins` can reach in each thing's own box.

    The true mask is cut to its box, sampled at the bins and pasted back.
    """
    size = (instances.masks.shape[1], instances.masks.shape[2])
    index = torch.arange(len(instances))
    targets = mask_targets(instances.boxes, instances.masks, index, bins)
    return paired_mask_ious(paste_masks(targets.float(), instances.boxes, size), instances.masks)


def paired_mask_ious(a: Bool[Tensor, "n h w"], b: Bool[Tensor, "n h w"]) -> Float[Tensor, " n"]:
    """Return the IoU, in [0, 1], of each mask with its partner; 0 where both are empty."""
    union = (a | b).flatten(1).sum(1).clamp(min=1)
    return (a & b).flatten(1).sum(1) / union
