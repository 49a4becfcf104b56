"""Which box answers for which object, and which of them are asked in training."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

FOREGROUND, BACKGROUND, UNSURE = 1, 0, -1


def match_by_iou(
    overlaps: Float[Tensor, "n k"], low: float, high: float, *, keep_best: bool
) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"]]:
    """Give each of n boxes the truth it overlaps most, and a verdict on that match.

    Args:
        overlaps: IoU of n boxes (rows) with k truths (columns); k may be 0.
        low: below this a box is BACKGROUND.
        high: from this on it is FOREGROUND; between, it is UNSURE and no loss asks it.
        keep_best: make every box that attains a truth's best IoU FOREGROUND, however small that is,
            so that each truth has an anchor; the box still answers for the truth it overlaps most.

    Returns:
        The index of the matched truth (0 where k is 0), and the verdict.
    """
    if overlaps.shape[1] == 0:
        nothing = torch.zeros(len(overlaps), dtype=torch.int64, device=overlaps.device)
        return nothing, torch.full_like(nothing, BACKGROUND)
    best, index = overlaps.max(dim=1)
    verdict = torch.full_like(index, UNSURE)
    verdict[best < low] = BACKGROUND
    verdict[best >= high] = FOREGROUND
    if keep_best and len(overlaps):
        best_of_truth = overlaps.max(dim=0).values
        # A truth that no box touches has a best IoU of 0, which every box attains: nobody answers.
        attains = (overlaps == best_of_truth) & (best_of_truth > 0)
        verdict[attains.any(dim=1)] = FOREGROUND
    return index, verdict


def draw(candidates: Int[Tensor, " n"], num: int, rng: torch.Generator) -> Int[Tensor, " k"]:
    """Take at most `num` candidates at random. Drawn on the CPU: the same on any device."""
    order = torch.randperm(len(candidates), generator=rng)[:num]
    return candidates[order.to(candidates.device)]


def sample_balanced(
    is_positive: Bool[Tensor, " n"],
    is_negative: Bool[Tensor, " n"],
    num: int,
    positive_fraction: float,
    rng: torch.Generator,
) -> tuple[Int[Tensor, " k"], Int[Tensor, " l"]]:
    """Draw `num` rows, at most `positive_fraction` of them positive, the rest negative.

    Returns fewer where there are not enough. Source: [MRCNN] 3.1.
    """
    positive = draw(is_positive.nonzero()[:, 0], int(num * positive_fraction), rng)
    negative = draw(is_negative.nonzero()[:, 0], num - len(positive), rng)
    return positive, negative
