"""The rules by which other packages compute the Lovász losses, written anew, slowly, in float64.

Each function is one rule that differs from ours. Where a package is installed, a test holds its
function against the package itself.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from tests.oracles.lovasz import extension


def class_losses(probs: Tensor, labels: Tensor) -> dict[int, float]:
    """The loss of each class over pixels (p, c) with labels (p,)."""
    losses = {}
    for k in range(probs.shape[1]):
        fg = {i for i, label in enumerate(labels.tolist()) if label == k}
        column = probs[:, k].double().tolist()
        errors = [1 - value if i in fg else value for i, value in enumerate(column)]
        losses[k] = extension(errors, fg)[0]
    return losses


def _pixels(probs: Tensor, labels: Tensor, ignore: int | None) -> tuple[Tensor, Tensor]:
    flat, truth = probs.movedim(1, -1).reshape(-1, probs.shape[1]), labels.reshape(-1)
    kept = torch.ones(len(truth), dtype=torch.bool) if ignore is None else truth != ignore
    return flat[kept], truth[kept]


def authors(
    probs: Tensor, labels: Tensor, ignore: int | None = None, per_image: bool = False
) -> float:
    """The published code, and segmentation_models_pytorch's: the plain mean over present classes.

    An image of ignored pixels alone has loss 0 and counts in the mean over images.
    """
    if per_image:
        each = zip(probs.split(1), labels.split(1), strict=True)
        return sum(authors(p, y, ignore) for p, y in each) / len(probs)
    flat, truth = _pixels(probs, labels, ignore)
    losses = class_losses(flat, truth)
    present = sorted(set(truth.tolist()))
    return sum(losses[k] for k in present) / len(present) if present else 0.0


def mmseg_weighted(
    probs: Tensor, labels: Tensor, weights: Sequence[float], ignore: int | None = 255
) -> float:
    """mmsegmentation: the mean of weight times loss, not divided by the sum of the weights."""
    flat, truth = _pixels(probs, labels, ignore)
    losses = class_losses(flat, truth)
    present = sorted(set(truth.tolist()))
    return sum(weights[k] * losses[k] for k in present) / len(present)


def kornia(probs: Tensor, labels: Tensor, weights: Sequence[float] | None = None) -> float:
    """Since kornia 0.9: image by image, over all classes, present or not; nothing is ignored."""
    total = 0.0
    for p, y in zip(probs.split(1), labels.split(1), strict=True):
        losses = class_losses(*_pixels(p, y, None))
        total += sum(loss * (weights[k] if weights else 1.0) for k, loss in losses.items())
    return total / len(probs) / probs.shape[1]


def kornia_before_0_9(probs: Tensor, labels: Tensor) -> float:
    """Until kornia 0.8.3: as above, but Algorithm 1 is given sorted label numbers, not 0 and 1."""
    total = 0.0
    for p, y in zip(probs.split(1), labels.split(1), strict=True):
        flat, truth = _pixels(p.double(), y, None)
        for k in range(flat.shape[1]):
            is_fg = (truth == k).double()
            errors, order = (flat[:, k] - is_fg).abs().sort(descending=True)
            number = truth[order].double()  # should be is_fg[order]
            jaccard = 1 - (number.sum() - number.cumsum(0)) / (
                number.sum() + (1 - number).cumsum(0)
            )
            total += float((errors * jaccard.diff(prepend=torch.zeros(1))).sum())
    return total / len(probs) / probs.shape[1]
