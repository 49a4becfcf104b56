"""The standard segmentation losses: cross-entropy per pixel, and two soft set losses.

Cross-entropy treats every pixel alone. Dice and soft Jaccard compare regions, but replace the sets
by sums of probabilities. `pfpn.losses.lovasz` extends the Jaccard loss itself.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float64, Integer
from torch import Tensor

from pfpn.inputs import require_scores
from pfpn.structures import IGNORE, at_least_float32

Labels = Integer[Tensor, "b *s"] | Bool[Tensor, "b *s"]


def pixel_cross_entropy(
    logits: Float[Tensor, "b c *s"], labels: Labels, ignore: int = IGNORE
) -> Float[Tensor, ""]:
    """Return the mean of -log p(true class) over the pixels that count, in nats.

    Convention: of images (b, c, h, w), points (n, c) or any other spatial axes; the mean runs over
    the pixels of the whole batch whose label is not `ignore`, so a large image weighs more than a
    small one; float16 and bfloat16 logits are computed, and the
    loss returned, in float32; where no pixel counts, the loss is 0 and so is its gradient.

    Source: [PFPN] 3.1.
    """
    require_scores(logits, labels)
    labels = labels.long()  # among 8 bits, -100 would be 156
    total = F.cross_entropy(at_least_float32(logits), labels, ignore_index=ignore, reduction="sum")
    return total / (labels != ignore).sum().clamp(min=1)  # 0 / 1, where "mean" would give 0 / 0


def dice_loss(
    probs: Float[Tensor, "b c *s"], labels: Labels, ignore: int = IGNORE
) -> Float[Tensor, ""]:
    """Return 1 - Dice with sums of probabilities for sets, in [0, 1]: a surrogate to compare with.

    Convention: one region per class for the whole batch, mean over the classes that the truth
    contains; pixels labeled `ignore` are left out; computed and returned in float32 at least;
    where no pixel counts, the loss is 0 and so is its gradient.
    """
    overlap, prob_sum, num_fg = _region_sums(probs, labels, ignore)
    present = num_fg > 0
    loss = 1 - 2 * overlap / (prob_sum + num_fg).where(present, 1)
    return (loss * present).sum() / present.sum().clamp(min=1)


def soft_jaccard_loss(
    probs: Float[Tensor, "b c *s"], labels: Labels, ignore: int = IGNORE
) -> Float[Tensor, ""]:
    """Return 1 - intersection / union with sums of probabilities for sets, in [0, 1].

    It equals the Jaccard loss where every probability is 0 or 1, like the Lovász extension, but it
    is neither convex nor concave in between.

    Convention: as `dice_loss`.
    """
    overlap, prob_sum, num_fg = _region_sums(probs, labels, ignore)
    present = num_fg > 0
    loss = 1 - overlap / (prob_sum + num_fg - overlap).where(present, 1)
    return (loss * present).sum() / present.sum().clamp(min=1)


def _region_sums(
    probs: Float[Tensor, "b c *s"], labels: Labels, ignore: int
) -> tuple[Float[Tensor, " c"], Float[Tensor, " c"], Float[Tensor, " c"]]:
    """Per class: probability inside its true region, probability in all, pixels of the truth."""
    require_scores(probs, labels)
    probs, labels = at_least_float32(probs), labels.long()
    counts = labels != ignore
    truth = F.one_hot(labels.where(counts, 0), probs.shape[1]).movedim(-1, 1)
    truth = truth * counts[:, None]
    pixels = [0, *range(2, probs.ndim)]
    overlap, num_fg = (probs * truth).sum(pixels), truth.sum(pixels).to(probs.dtype)
    return overlap, (probs * counts[:, None]).sum(pixels), num_fg


def as_float64(values: Tensor) -> Float64[Tensor, "..."]:
    """Return the values in float64: on their device, or on the CPU if that is an Apple GPU."""
    return (values.cpu() if _lacks_float64(values.device) else values).double()


def _lacks_float64(device: torch.device) -> bool:
    return device.type == "mps"
