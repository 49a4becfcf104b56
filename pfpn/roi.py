"""Pool the features of boxes of any size into a grid of fixed size."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pfpn.boxes import area
from pfpn.fpn import STRIDES, Pyramid
from pfpn.roi_align import roi_align as roi_align  # re-exported
from pfpn.structures import at_least_float32

ROI_LEVELS = ("p2", "p3", "p4", "p5")  # p6 makes proposals only
CANONICAL_LEVEL = 4  # a box of the canonical size is pooled from this level
CANONICAL_SIZE = 224.0  # pixels: the side of an ImageNet picture
LEVEL_EPS = 1e-8  # keeps the logarithm finite for an empty box


def level_of_boxes(
    boxes: Float[Tensor, "n 4"], canonical_size: float = CANONICAL_SIZE
) -> Int[Tensor, " n"]:
    """Return k of the level p_k that each box is pooled from; twice the side adds one level.

    k = floor(4 + log2(sqrt(area) / 224)), within 2..5. Source: [FPN] 4.2, equation 1.
    """
    side = area(boxes).clamp(min=0).sqrt()
    level = torch.floor(CANONICAL_LEVEL + torch.log2(side / canonical_size + LEVEL_EPS))
    return level.clamp(2, 1 + len(ROI_LEVELS)).long()


def pool(
    pyramid: Pyramid,
    boxes: Sequence[Float[Tensor, "_n 4"]],
    size: int,
    *,
    canonical_size: float = CANONICAL_SIZE,
    sampling_ratio: int = 0,
    aligned: bool = True,
) -> Float[Tensor, "k c size size"]:
    """Return the features of all boxes, each from its own level, on `size` x `size` bins.

    Args:
        pyramid: p2..p5 of the whole batch.
        boxes: one entry per image, xyxy in pixels of the network's input.
        size: bins along a side.
        canonical_size: see `level_of_boxes`.
        sampling_ratio: samples per bin and axis; 0 takes as many as the bin spans cells.
        aligned: subtract the half pixel between a pixel's index and its center.

    Source: [MRCNN] 3 (RoIAlign), [FPN] 4.2.
    """
    p2 = pyramid["p2"]
    if not 0 < len(boxes) == len(p2):
        found = f"boxes of {len(boxes)} images and features of {len(p2)}"
        raise ValueError(f"pool: found {found}, expected the same number, at least 1")
    image = torch.cat([b.new_full((len(b), 1), i) for i, b in enumerate(boxes)])
    rois = torch.cat([image, torch.cat(list(boxes))], dim=1)  # (k, 5)
    levels = level_of_boxes(rois[:, 1:], canonical_size)
    pooled = p2.new_empty((len(rois), p2.shape[1], size, size))
    for k, name in enumerate(ROI_LEVELS, start=2):
        here = (levels == k).nonzero()[:, 0]
        if len(here) or p2.requires_grad:  # also an unused level needs a gradient
            features = at_least_float32(pyramid[name])  # in 16 bits, boxes would be pixels off
            features = roi_align(
                features,
                rois[here].to(features.dtype),
                size,
                spatial_scale=1 / STRIDES[name],
                sampling_ratio=sampling_ratio,
                aligned=aligned,
            )
            # Assigned in place: index_copy would copy all rows, and store these for backward.
            pooled[here] = features.to(p2.dtype)
    return pooled
