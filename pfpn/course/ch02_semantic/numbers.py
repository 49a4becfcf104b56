"""The semantic head in numbers: its branches, scores by class, positions, blocks, entropy."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pfpn.fpn import Pyramid
from pfpn.semantic import SemanticHead
from pfpn.structures import IGNORE, Category, stuff, things

LEVELS = ("p2", "p3", "p4", "p5")


def branch_maps(head: SemanticHead, pyramid: Pyramid) -> dict[str, Tensor]:
    """Return the output of each level's branch, a map at stride 4, by the level."""
    return {level: head.branches[level](pyramid[level]) for level in LEVELS}


def classify(
    head: SemanticHead,
    branches: Mapping[str, Float[Tensor, "b _c h w"]],
    keep: Collection[str] = LEVELS,
    fill: Literal["zero", "mean"] = "zero",
) -> Float[Tensor, "b c h w"]:
    """Return the head's logits from some of its branches.

    Args:
        head: its 1x1 is used.
        branches: see `branch_maps`.
        keep: levels that are added.
        fill: what is added for each of the others: nothing, or its channels' means over all pixels
            of all images, which leaves the sum at its usual size.
    """
    total = torch.zeros_like(branches["p2"])
    for level in LEVELS:
        if level in keep:
            total = total + branches[level]
        elif fill == "mean":
            total = total + branches[level].mean((0, 2, 3), keepdim=True)
    return head.classify(total)


@dataclass(frozen=True, slots=True)
class ClassScore:
    """Scores of one class in [0, 1]; nan where the class is in neither truth nor prediction."""

    iou: float
    recall: float  # fraction of its pixels that are predicted as this class
    precision: float  # fraction of the pixels predicted as this class that are right


def class_scores(
    prediction: Int[Tensor, "*n"], truth: Int[Tensor, "*n"], num_classes: int
) -> list[ClassScore]:
    """Return the scores of each class over all pixels of label maps but those that are IGNORE."""
    table = _count_pairs(prediction, truth, num_classes)
    right, true, predicted = table.diag(), table.sum(1), table.sum(0)
    columns = (right / (true + predicted - right), right / true, right / predicted)
    return [ClassScore(*row) for row in torch.stack(columns, 1).tolist()]


def confusion(
    prediction: Int[Tensor, "*n"], truth: Int[Tensor, "*n"], num_classes: int
) -> Float[Tensor, "c c"]:
    """Return the fraction of each true class (row) that has each predicted label (column)."""
    table = _count_pairs(prediction, truth, num_classes)
    return table / table.sum(1, keepdim=True).clamp(min=1)


def _count_pairs(prediction: Tensor, truth: Tensor, num_classes: int) -> Float[Tensor, "c c"]:
    counts = truth != IGNORE
    pairs = truth[counts] * num_classes + prediction[counts]
    return torch.bincount(pairs, minlength=num_classes**2).view(num_classes, num_classes).double()


def near_border(labels: Int[Tensor, "b h w"], reach: int = 2) -> Bool[Tensor, "b h w"]:
    """Return whether a pixel has another label within `reach` pixels in each direction."""
    values = labels[:, None].float()
    side = 2 * reach + 1
    highest = F.max_pool2d(values, side, 1, reach)
    lowest = -F.max_pool2d(-values, side, 1, reach)
    return (highest != lowest)[:, 0]


def entropy(logits: Float[Tensor, "b c h w"]) -> Float[Tensor, "b h w"]:
    """Return the entropy of each pixel's probabilities in nats: from 0 (sure) to log c."""
    return -(logits.softmax(1) * logits.log_softmax(1)).sum(1)


def sample_positions(num: int, factor: int, align_corners: bool) -> Float[Tensor, " n"]:
    """Return the positions in a row of `num` cells that `factor` times as many pixels read.

    In cells: 0 is the center of the first cell.
    """
    x = torch.arange(num * factor, dtype=torch.float64)
    if align_corners:
        return x * (num - 1) / (num * factor - 1)
    return ((x + 0.5) / factor - 0.5).clamp(0, num - 1)


def enlarge_row(row: Float[Tensor, " n"], factor: int, mode: str) -> Float[Tensor, " m"]:
    """Return a row with `factor` times as many values, read at half-pixel centers.

    Args:
        row: of values.
        factor: whole.
        mode: "linear" between the centers of cells, or "nearest".
    """
    options = {"align_corners": False} if mode == "linear" else {}
    enlarged: Tensor = F.interpolate(row[None, None], scale_factor=factor, mode=mode, **options)
    return enlarged[0, 0]


def block_labels(
    labels: Int[Tensor, "b h w"], num_classes: int, side: int, rounds: int = 0
) -> Int[Tensor, "b h w"]:
    """Return the label map with the best label of each block of side x side pixels.

    The most frequent label gets the most pixels right. The mean IoU can be a little higher: in each
    round, every block takes the label with the largest gain in mean IoU, if all else stays.

    Args:
        labels: true labels.
        num_classes: number of classes.
        side: pixels.
        rounds: 0 for the most frequent label.
    """
    counts = labels != IGNORE
    votes = F.one_hot(labels.where(counts, 0), num_classes).movedim(-1, 1) * counts[:, None]
    votes = F.avg_pool2d(votes.double(), side) * side**2  # pixels of each class in a block
    best = votes.argmax(1)
    for _ in range(rounds):
        chosen = F.one_hot(best, num_classes).movedim(-1, 1)
        right = (votes * chosen).sum((0, 2, 3))
        predicted = (votes.sum(1, keepdim=True) * chosen).sum((0, 2, 3))
        union = (votes.sum((0, 2, 3)) + predicted - right).clamp(min=1)
        # d(I / U) = dI / U - I dU / U^2, where dI is the class's pixels and dU all the others.
        i, u = (x[:, None, None] for x in (right, union))
        best = (votes / u - (votes.sum(1, keepdim=True) - votes) * i / u**2).argmax(1)
    return best.repeat_interleave(side, 1).repeat_interleave(side, 2)


def label_names(categories: Sequence[Category], *, all_classes: bool = False) -> list[str]:
    """Return the names of the semantic labels in their order."""
    first = [c.name for c in things(categories)] if all_classes else ["other"]
    return first + [c.name for c in stuff(categories)]
