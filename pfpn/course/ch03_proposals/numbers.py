"""Numbers of chapter 03: overlap, anchors of a cell, suppression, recall, missed things."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from pfpn.anchors import anchor_grid
from pfpn.boxes import area, iou
from pfpn.structures import Instances

# Takes boxes, scores and a threshold, returns the indices of the boxes that stay.
Nms = Callable[[Tensor, Tensor, float], "list[int] | Tensor"]


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a level, with the anchors around it."""

    grid: tuple[int, int]  # rows and columns of cells on the level
    center: tuple[float, float]  # x and y of the anchors' center, in pixels
    anchors: Float[Tensor, "a 4"]
    best: Float[Tensor, " a"]  # best IoU of each anchor with any truth


@dataclass(frozen=True, slots=True)
class Miss:
    """A thing that no proposal covers well, with the proposal that comes closest."""

    image: UInt8[Tensor, "3 h w"]
    truth: Float[Tensor, " 4"]
    closest: Float[Tensor, " 4"]
    name: str

    @property
    def overlap(self) -> float:
        """IoU of the two boxes, in [0, 1]."""
        return float(iou(self.truth[None], self.closest[None])[0, 0])

    @property
    def extent(self) -> str:
        """Width x height of the true box, in whole pixels."""
        x0, y0, x1, y1 = self.truth.long().tolist()
        return f"{x1 - x0} x {y1 - y0}"


def intersect(
    a: Float[Tensor, " 4"], b: Float[Tensor, " 4"]
) -> tuple[Float[Tensor, " 4"], float, float]:
    """Return the intersection of two boxes, its area, and the area of their union."""
    shared = torch.cat([torch.maximum(a[:2], b[:2]), torch.minimum(a[2:], b[2:])])
    intersection = float((shared[2:] - shared[:2]).clamp(min=0).prod())
    return shared, intersection, float(area(a) + area(b)) - intersection


def iou_of_shift(shift: Float[np.ndarray, " n"], axes: int = 2) -> Float[np.ndarray, " n"]:
    """Return the IoU of a box with its copy shifted by a fraction of its side, along 1 or 2 axes.

    With s = 1 - shift, the intersection is s^axes of a box, and the union is 2 - s^axes.
    """
    shared = np.clip(1 - np.abs(shift), 0, 1) ** axes
    return shared / (2 - shared)


def anchors_at(
    size: tuple[int, int],
    gt_boxes: Float[Tensor, "n 4"],
    *,
    stride: int,
    side: float,
    ratios: Sequence[float],
    position: tuple[float, float] = (0.5, 0.5),
) -> Cell:
    """Return the anchors of one cell of the level that spans an image of `size`.

    The cell lies at `position`, (down, across) as fractions of the grid.
    """
    grid = (-(-size[0] // stride), -(-size[1] // stride))
    row, column = (min(int(p * cells), cells - 1) for p, cells in zip(position, grid, strict=True))
    anchors = anchor_grid(grid, stride, side, torch.tensor(tuple(ratios)))[row, column]
    best = iou(anchors, gt_boxes).amax(dim=1) if len(gt_boxes) else torch.zeros(len(anchors))
    return Cell(grid, (column * stride, row * stride), anchors, best)


def smooth_l1(
    error: Float[np.ndarray, " n"], beta: float
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Return smooth L1 and its slope: a parabola within `beta`, L1 less half of `beta` beyond."""
    size = np.abs(error)
    if beta == 0:
        return size, np.sign(error)
    inside = size < beta
    value = np.where(inside, 0.5 * size**2 / beta, size - 0.5 * beta)
    return value, np.where(inside, error / beta, np.sign(error))


def nms_trace(
    boxes: Float[Tensor, "n 4"], scores: Float[Tensor, " n"], threshold: float
) -> Int[Tensor, " n"]:
    """Return for each box the index of the kept box that suppressed it; a kept box has its own.

    The greedy rule of non-maximum suppression, one kept box at a time.
    """
    overlaps = iou(boxes, boxes)
    by = torch.full((len(boxes),), -1)
    for best in scores.argsort(descending=True, stable=True).tolist():
        if by[best] < 0:
            by[best] = best
            by[(by < 0) & (overlaps[best] > threshold)] = best
    return by


def trace_of_kept(
    boxes: Float[Tensor, "n 4"], scores: Float[Tensor, " n"], threshold: float, nms: Nms
) -> Int[Tensor, " n"]:
    """Return the trace, as `nms_trace` does, of a function that says which boxes stay.

    A box that it drops counts as suppressed by the kept box that it overlaps most.

    Raises:
        ValueError: it returns no list of different indices of boxes.
    """
    answer = nms(boxes, scores, threshold)
    kept = answer.tolist() if isinstance(answer, Tensor) else answer
    is_list = isinstance(kept, list) and all(
        isinstance(i, int) and 0 <= i < len(boxes) for i in kept
    )
    if not is_list or not kept or len(set(kept)) < len(kept):
        raise ValueError(
            f"it returned {answer!r:.80}, expected a list of different indices from 0 to "
            f"{len(boxes) - 1}, one for each box that stays"
        )
    by = torch.tensor(kept)[iou(boxes, boxes[kept]).argmax(dim=1)]
    by[kept] = torch.tensor(kept)
    return by


def best_so_far(
    gt_boxes: Float[Tensor, "n 4"], proposals: Float[Tensor, "k 4"], num: int
) -> Float[Tensor, "n num"]:
    """Return the best IoU that each truth has with the first 1, 2, ..., `num` proposals."""
    if len(proposals) == 0:
        return gt_boxes.new_zeros((len(gt_boxes), num))
    best = iou(gt_boxes, proposals[:num]).cummax(dim=1).values
    return torch.cat([best, best[:, -1:].expand(-1, num - best.shape[1])], dim=1)


def recall(best: Float[Tensor, "n num"], threshold: float) -> Float[Tensor, " num"]:
    """Return the fraction of truths, in [0, 1], covered with an IoU of `threshold` or more."""
    return (best >= threshold).float().mean(dim=0)


def covered_by_others(instances: Instances) -> Float[Tensor, " n"]:
    """Return the fraction of each box's pixels that show another thing."""
    fractions = []
    any_thing = instances.masks.any(dim=0)
    for mask, (x0, y0, x1, y1) in zip(
        instances.masks, instances.boxes.long().tolist(), strict=True
    ):
        others = any_thing[y0:y1, x0:x1] & ~mask[y0:y1, x0:x1]
        fractions.append(float(others.float().mean()))
    return torch.tensor(fractions)
