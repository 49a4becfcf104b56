"""From a box anywhere in the image to features of a fixed size."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchvision.ops import roi_align as roi_align  # offered here, too

from pfpn.boxes import area
from pfpn.fpn import STRIDES, Pyramid

ROI_LEVELS = ("p2", "p3", "p4", "p5")  # p6 makes proposals only
CANONICAL_LEVEL = 4  # the level of a box of the canonical size ...
CANONICAL_SIZE = 224.0  # ... whose side, in pixels, is that of an ImageNet picture
LEVEL_EPS = 1e-8  # keeps the logarithm finite for an empty box


def level_of_boxes(
    boxes: Float[Tensor, "n 4"], canonical_size: float = CANONICAL_SIZE
) -> Int[Tensor, " n"]:
    """Return k of the level p_k that each box is pooled from; twice the side, one level up.

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
    """Sample every box, on its own level, on a grid of `size` x `size` bins.

    Args:
        pyramid: p2..p5 of the whole batch.
        boxes: per image, xyxy in pixels of the network's input.
        size: bins along a side.
        canonical_size: see `level_of_boxes`.
        sampling_ratio: samples per bin and axis; 0 takes as many as the bin spans cells.
        aligned: subtract the half pixel between a pixel's index and its center.

    Returns:
        Features of all boxes, image after image. Source: [MRCNN] 3 (RoIAlign), [FPN] 4.2.
    """
    image = torch.cat([b.new_full((len(b), 1), i) for i, b in enumerate(boxes)])
    rois = torch.cat([image, torch.cat(list(boxes))], dim=1)  # (k, 5)
    levels = level_of_boxes(rois[:, 1:], canonical_size)
    p2 = pyramid["p2"]
    pooled = p2.new_empty((len(rois), p2.shape[1], size, size))
    exact = torch.promote_types(p2.dtype, torch.float32)  # 16 bits cannot place a box to a pixel
    for k, name in enumerate(ROI_LEVELS, start=2):
        here = (levels == k).nonzero()[:, 0]
        if len(here) or p2.requires_grad:  # an unused level still belongs in the graph
            features = roi_align(
                pyramid[name].to(exact),
                rois[here].to(exact),
                size,
                spatial_scale=1 / STRIDES[name],
                sampling_ratio=sampling_ratio,
                aligned=aligned,
            )
            # Assigned in place: index_copy would move all rows, and keep these for the backward.
            pooled[here] = features.to(p2.dtype)
    return pooled
