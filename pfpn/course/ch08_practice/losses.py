"""Losses and decisions that chapter 08 compares with Lovász-Softmax, and that the package lacks.

Each is the plain formula over sums of probabilities, one region a class for the whole batch, mean
over the classes that the truth of the batch contains. Dice and soft Jaccard are in
`pfpn.losses.segmentation`.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def tversky_loss(
    probs: Float[Tensor, "b c h w"],
    labels: Int[Tensor, "b h w"],
    *,
    added: float = 0.3,
    missed: float = 0.7,
) -> Float[Tensor, ""]:
    """Return 1 - the Tversky index with sums of probabilities for sets, in [0, 1].

    With weights of 0.5 and 0.5 it is Dice, with 1 and 1 soft Jaccard. Pixels labeled IGNORE are
    left out.

    Args:
        probs: of each class.
        labels: true classes.
        added: weight of the pixels that are predicted and not true.
        missed: weight of the pixels that are true and not predicted. Above `added` it buys recall.

    Source: Salehi, Erdogmus and Gholipour, arXiv 1706.05721, eq. 3.
    """
    p, t = _rows(probs, one_hot(labels, probs.shape[1]))
    overlap = (p * t).sum(1)
    index = overlap / (overlap + added * (p * (1 - t)).sum(1) + missed * ((1 - p) * t).sum(1))
    present = t.sum(1) > 0
    return (1 - index)[present].mean()


def jaccard_metric_loss(
    probs: Float[Tensor, "b c h w"], targets: Float[Tensor, "b c h w"]
) -> Float[Tensor, ""]:
    """Return the Jaccard metric loss, in [0, 1]: soft Jaccard for a truth that may be soft, too.

    For a truth of 0 and 1 it is soft Jaccard. For a truth between, it is 0 if and only if the
    probabilities equal the truth, which soft Jaccard is not. Where all targets of a pixel are 0, it
    is left out.

    Args:
        probs: of each class.
        targets: the fraction of each class in a pixel; they sum to 1, or to 0 where unknown.

    Source: Wang, Ning and Blaschko, arXiv 2302.05666, the first of the two losses.
    """
    p, t = _rows(probs, targets)
    both, apart = (p + t).sum(1), (p - t).abs().sum(1)
    present = t.sum(1) > 0
    return (1 - (both - apart) / (both + apart))[present].mean()


def one_hot(labels: Int[Tensor, "b h w"], num_classes: int) -> Float[Tensor, "b c h w"]:
    """Return labels as targets of 0 and 1; all are 0 where the label is IGNORE."""
    classes = torch.arange(num_classes, device=labels.device)
    return (labels[:, None] == classes[:, None, None]).float()


def _rows(
    probs: Float[Tensor, "b c h w"], targets: Float[Tensor, "b c h w"]
) -> tuple[Float[Tensor, "c p"], Float[Tensor, "c p"]]:
    """Return one row a class of the pixels whose truth is known."""
    known = targets.sum(1) > 0
    p, t = (x.movedim(1, 0)[:, known] for x in (probs, targets))
    return p, t


# Decisions --------------------------------------------------------------------------------------


def best_expected_iou(probs: Float[Tensor, " p"]) -> tuple[float, float]:
    """Return the threshold on a class's probabilities with the best expected IoU, and that IoU.

    The truth is not needed: if the probabilities are right, the k most probable pixels have an
    intersection of sum(p) over those k on average, and a union of k plus the sum over all others.
    At the best k the threshold is J / (1 + J), with J the IoU itself. The ratio of both means
    stands for the mean of the ratio, which is close where there are many pixels.

    Source: after Dai and Li, RankSEG, arXiv 2206.13086, who treat the mean of the ratio.
    """
    ranked = probs.double().sort(descending=True).values
    intersection = ranked.cumsum(0)
    claimed = torch.arange(1, len(ranked) + 1, dtype=torch.float64)
    expected = intersection / (claimed + intersection[-1] - intersection)
    best = int(expected.argmax())
    return float(expected[best] / (1 + expected[best])), float(expected[best])


def decide(
    probs: Float[Tensor, "b c h w"], thresholds: Float[Tensor, " c"]
) -> Int[Tensor, "b h w"]:
    """Return the class whose probability is the largest multiple of its threshold.

    With equal thresholds this is the usual largest probability.
    """
    return (probs / thresholds[:, None, None]).argmax(1)
