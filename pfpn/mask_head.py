"""Predict the mask of each box, on a grid inside the box."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pfpn.roi_align import roi_align
from pfpn.structures import at_least_float32

MASK_THRESHOLD = 0.5  # a bin is foreground if the mask covers at least this fraction of it


class MaskHead(nn.Module):
    """Convolutions, a doubling of the grid, one mask per class. Source: [MRCNN] 3, Fig. 4."""

    def __init__(self, in_channels: int, channels: int, num_convs: int, num_things: int):
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(channels if i else in_channels, channels, 3, padding=1)
            for i in range(num_convs)
        )
        self.upsample = nn.ConvTranspose2d(
            channels if num_convs else in_channels, channels, kernel_size=2, stride=2
        )
        self.classify = nn.Conv2d(channels, num_things, kernel_size=1)
        for layer in (*self.convs, self.upsample):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.classify.weight, std=0.001)
        for layer in (*self.convs, self.upsample, self.classify):
            nn.init.zeros_(layer.bias)

    def forward(
        self, features: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"]
    ) -> Float[Tensor, "n m m"]:
        """Return the mask logits of each box for its own class."""
        for conv in self.convs:
            features = conv(features).relu_()
        features = self.upsample(features).relu_()
        # Not len(labels), which would fix the number of boxes when the network is exported.
        return self.classify(features)[torch.arange(labels.shape[0]), labels]


@torch.no_grad()
def mask_targets(
    rois: Float[Tensor, "n 4"],
    masks: Bool[Tensor, "k h w"],
    matched: Int[Tensor, " n"],
    size: int,
) -> Bool[Tensor, "n size size"]:
    """Return the part of each roi's matched mask inside the roi, on a grid of `size` x `size`."""
    if len(rois) == 0:
        return masks.new_zeros((0, size, size))
    indexed = torch.cat([matched[:, None].to(rois.dtype), rois], dim=1)  # (n, 5)
    full = masks[:, None].to(rois.dtype)
    covered = roi_align(full, indexed, size, spatial_scale=1.0, sampling_ratio=0, aligned=True)
    return covered[:, 0] >= MASK_THRESHOLD


def mask_loss(
    mask_logits: Float[Tensor, "n m m"], targets: Sequence[Bool[Tensor, "_n m m"]]
) -> Float[Tensor, ""]:
    """Return the binary cross-entropy of the true class's mask.

    Convention: the mean over all bins of the batch's foreground rois; 0 if there is none.
    Source: [MRCNN] 3 (L_mask).
    """
    logits = at_least_float32(mask_logits)
    expected = torch.cat(list(targets)).to(logits.dtype)
    total = F.binary_cross_entropy_with_logits(logits, expected, reduction="sum")
    return total / max(1, expected.numel())
