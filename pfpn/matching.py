"""Match boxes to objects; sample those that the losses use."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

FOREGROUND, BACKGROUND, UNSURE = 1, 0, -1  # kinds of match


def match_by_iou(
    overlaps: Float[Tensor, "n k"], low: float, high: float, *, keep_best: bool
) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"]]:
    """Return, for each of n boxes, the true object that it overlaps most, and the kind of match.

    Args:
        overlaps: IoU of n boxes (rows) with k true objects (columns); k may be 0.
        low: a box whose best IoU is below is BACKGROUND.
        high: a box whose best IoU is this or more is FOREGROUND. Between the two it is UNSURE, and
            the losses leave it out.
        keep_best: also make FOREGROUND each box that attains an object's best IoU, however small
            that is, so that every object has a box. Such a box is still matched to the object that
            it overlaps most itself, which can be another one.

    Returns:
        The column of each box's object (0 where k is 0), and its kind: FOREGROUND, BACKGROUND or
        UNSURE.
    """
    if overlaps.shape[1] == 0:
        matched = torch.zeros(len(overlaps), dtype=torch.int64, device=overlaps.device)
        return matched, torch.full_like(matched, BACKGROUND)
    best, matched = overlaps.max(dim=1)
    kinds = torch.full_like(matched, UNSURE)
    kinds[best < low] = BACKGROUND
    kinds[best >= high] = FOREGROUND
    if keep_best and len(overlaps):
        best_of_object = overlaps.max(dim=0).values
        # An object that no box touches has a best IoU of 0, which every box attains: skip it.
        attains = (overlaps == best_of_object) & (best_of_object > 0)
        kinds[attains.any(dim=1)] = FOREGROUND
    return matched, kinds


def draw(candidates: Int[Tensor, " n"], num: int, rng: torch.Generator) -> Int[Tensor, " k"]:
    """Return at most `num` candidates, drawn at random on the CPU: the same on any device."""
    order = torch.randperm(len(candidates), generator=rng)[:num]
    return candidates[order.to(candidates.device)]


def sample_balanced(
    is_positive: Bool[Tensor, " n"],
    is_negative: Bool[Tensor, " n"],
    num: int,
    positive_fraction: float,
    rng: torch.Generator,
) -> tuple[Int[Tensor, " k"], Int[Tensor, " l"]]:
    """Return the indices of `num` random rows: positive ones, then negative ones.

    At most `num * positive_fraction` (rounded down) are positive, negative ones fill up to `num`;
    fewer in all where there are not enough. Source: [MRCNN] 3.1.
    """
    positive = draw(is_positive.nonzero()[:, 0], int(num * positive_fraction), rng)
    negative = draw(is_negative.nonzero()[:, 0], num - len(positive), rng)
    return positive, negative
