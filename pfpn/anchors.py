"""Anchors: the fixed boxes, at every cell of the pyramid, that proposals start from."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from pfpn.fpn import STRIDES


def anchor_grid(
    size: tuple[int, int],
    stride: int | tuple[int, int],
    side: float,
    ratios: Float[Tensor, " a"],
    rounded: bool = False,
) -> Float[Tensor, "h w a 4"]:
    """Return one anchor per ratio (height / width), centered on each cell; xyxy in pixels.

    The center is the cell's top-left corner, not its middle, and nothing is rounded: as in the
    published models. Source: [FPN] 4.1.

    Args:
        size: (height, width) in cells.
        stride: pixels per cell; (vertical, horizontal) where they differ.
        side: of the square anchor, in pixels.
        ratios: height / width.
        rounded: round the sides' distances from the center to whole pixels, as torchvision does.
    """
    height, width = size
    stride_y, stride_x = (stride, stride) if isinstance(stride, int) else stride
    half_w, half_h = 0.5 * side / ratios.sqrt(), 0.5 * side * ratios.sqrt()
    shapes = torch.stack([-half_w, -half_h, half_w, half_h], dim=-1)  # (a, 4)
    if rounded:
        shapes = shapes.round()
    y = stride_y * torch.arange(height, device=ratios.device)
    x = stride_x * torch.arange(width, device=ratios.device)
    cy, cx = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([cx, cy, cx, cy], dim=-1)[:, :, None] + shapes


def pyramid_anchors(
    pyramid: dict[str, Tensor],
    sides: Sequence[float],
    ratios: Sequence[float],
    rounded: bool = False,
) -> list[Float[Tensor, "_hwa 4"]]:
    """Return the anchors of each level, "p2" first: row by row, a cell's anchors side by side.

    Args:
        pyramid: feature maps by level; only sizes and device are used.
        sides: one anchor side in pixels per level; an anchor of any ratio has this side's area.
        ratios: height / width.
        rounded: as torchvision does it: in whole pixels; and where p5 has an odd number of cells,
            p6 (half as many, rounded up) has its cells closer together, to fit into the image.
    """
    finest, maps = next(iter(pyramid.items()))
    image_h, image_w = (STRIDES[finest] * side for side in maps.shape[-2:])
    ratio = torch.tensor(tuple(ratios), device=maps.device)
    grids = []
    for (level, features), side in zip(pyramid.items(), sides, strict=True):
        height, width = features.shape[-2:]
        stride = (STRIDES[level], STRIDES[level])
        if rounded:
            stride = (image_h // height, image_w // width)
        grids.append(anchor_grid((height, width), stride, side, ratio, rounded).flatten(0, 2))
    return grids
