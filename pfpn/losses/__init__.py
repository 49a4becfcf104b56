"""Losses on pixels: functions of plain tensors that stand on their own."""

from pfpn.losses.lovasz import (
    binned_gradient,
    jaccard_loss,
    lovasz_extension,
    lovasz_gradient,
    lovasz_hinge,
    lovasz_softmax,
    lovasz_softmax_from_logits,
)
from pfpn.losses.modules import LovaszHinge, LovaszSoftmax
from pfpn.losses.segmentation import dice_loss, pixel_cross_entropy, soft_jaccard_loss

__all__ = [
    "LovaszHinge",
    "LovaszSoftmax",
    "binned_gradient",
    "dice_loss",
    "jaccard_loss",
    "lovasz_extension",
    "lovasz_gradient",
    "lovasz_hinge",
    "lovasz_softmax",
    "lovasz_softmax_from_logits",
    "pixel_cross_entropy",
    "soft_jaccard_loss",
]
