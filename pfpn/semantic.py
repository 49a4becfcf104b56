"""The semantic branch: bring all levels to stride 4, add them and classify every pixel."""

import math

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from pfpn.fpn import Pyramid
from pfpn.losses.lovasz import lovasz_softmax
from pfpn.losses.segmentation import pixel_cross_entropy
from pfpn.structures import IGNORE, at_least_float32

GROUPS = 32  # of the group norm, at most
MIN_GROUP = 4  # channels in a group, as in the published heads; of one channel it erases the mean
STRIDE = 4  # of the logits


class SemanticHead(nn.Module):
    """Return class logits at stride 4 from the sum of p2..p5. Source: [PFPN] 3.1, Fig. 3.

    Args:
        in_channels: channels of the pyramid.
        channels: channels of the upsampling stages (128 in the paper); a multiple of MIN_GROUP.
        num_classes: "other" and all stuff, or every class where there is no instance branch.
    """

    def __init__(self, in_channels: int, channels: int, num_classes: int):
        super().__init__()
        branches = {f"p{k}": _upsampler(k - 2, in_channels, channels) for k in (2, 3, 4, 5)}
        self.branches = nn.ModuleDict(branches)
        self.classify = nn.Conv2d(channels, num_classes, kernel_size=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        assert self.classify.bias is not None
        nn.init.zeros_(self.classify.bias)

    def forward(self, pyramid: Pyramid) -> Float[Tensor, "b c h4 w4"]:
        total = self.branches["p2"](pyramid["p2"])
        for level in ("p3", "p4", "p5"):
            total = total + self.branches[level](pyramid[level])
        return self.classify(total)


def _upsampler(num_doublings: int, in_channels: int, channels: int) -> nn.Sequential:
    """Return the stages of one level: k - 2 doublings for p_k; one without doubling for p2."""
    stages: list[nn.Module] = []
    for i in range(max(1, num_doublings)):
        stages += [
            nn.Conv2d(channels if i else in_channels, channels, 3, padding=1, bias=False),
            nn.GroupNorm(math.gcd(GROUPS, channels // MIN_GROUP), channels),
            nn.ReLU(inplace=True),
        ]
        if num_doublings:
            stages.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
    return nn.Sequential(*stages)


def upsample_logits(logits: Float[Tensor, "b c h4 w4"]) -> Float[Tensor, "b c h w"]:
    """Return logits at the (padded) size of the network's input, bilinear from stride 4."""
    return F.interpolate(logits, scale_factor=float(STRIDE), mode="bilinear", align_corners=False)


def semantic_loss(
    logits: Float[Tensor, "b c h w"],
    labels: Int[Tensor, "b h w"],
    *,
    cross_entropy_weight: float = 1.0,
    lovasz_weight: float = 0.0,
    lovasz_bins: int = 0,
) -> Float[Tensor, ""]:
    """Return the semantic branch's loss: cross-entropy, Lovasz-Softmax, or a weighted sum.

    The paper uses cross-entropy, which learns fast from the first step on. Lovasz-Softmax optimizes
    the IoU itself. Alone and from the start it often fails to learn, so it is best added once
    cross-entropy has learned the classes.

    Args:
        logits: at the resolution of the labels.
        labels: IGNORE where a pixel does not count.
        cross_entropy_weight: 0 leaves cross-entropy out.
        lovasz_weight: 0 leaves Lovasz-Softmax out; it is over the classes in the batch.
        lovasz_bins: bins of the linear-time method; 0 sorts exactly.

    Source: [PFPN] 3.1, [LS] 3.2.
    """
    loss = at_least_float32(logits.flatten()[:0]).sum()  # 0, however large the logits
    if cross_entropy_weight:
        loss = loss + cross_entropy_weight * pixel_cross_entropy(logits, labels, ignore=IGNORE)
    if lovasz_weight:
        probs = at_least_float32(logits).softmax(dim=1)
        lovasz = lovasz_softmax(
            probs, labels, classes="present", ignore=IGNORE, bins=lovasz_bins or None
        )
        loss = loss + lovasz_weight * lovasz
    return loss
