"""RoIAlign the slow way: every sample of every bin, one at a time."""

import math

import torch
from torch import Tensor


def bilinear(features: Tensor, y: float, x: float) -> Tensor:
    """Read (c, h, w) features at a point, in cells; 1 cell outside repeats the border, then 0."""
    height, width = features.shape[1:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return torch.zeros(len(features), dtype=features.dtype)
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    y0, x0 = int(y), int(x)
    y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
    down, right = y - y0, x - x0
    return (
        features[:, y0, x0] * (1 - down) * (1 - right)
        + features[:, y0, x1] * (1 - down) * right
        + features[:, y1, x0] * down * (1 - right)
        + features[:, y1, x1] * down * right
    )


def roi_align(features: Tensor, box: list[float], bins: int, stride: int) -> Tensor:
    """Average, in every bin, as many samples per axis as the bin spans cells. (c, bins, bins)."""
    x0, y0, x1, y1 = (v / stride - 0.5 for v in box)
    bin_h, bin_w = (y1 - y0) / bins, (x1 - x0) / bins
    num_y, num_x = math.ceil(bin_h), math.ceil(bin_w)
    pooled = torch.zeros((len(features), bins, bins), dtype=features.dtype)
    for i in range(bins):
        for j in range(bins):
            for u in range(num_y):
                for v in range(num_x):
                    y = y0 + bin_h * (i + (u + 0.5) / num_y)
                    x = x0 + bin_w * (j + (v + 0.5) / num_x)
                    pooled[:, i, j] += bilinear(features, y, x) / (num_y * num_x)
    return pooled


def level(box: list[float]) -> int:
    """The pyramid level of a box, with the canonical 224 pixels on level 4."""
    side = math.sqrt(max(0.0, (box[2] - box[0]) * (box[3] - box[1])))
    return 2 if side < 112 else 3 if side < 224 else 4 if side < 448 else 5
