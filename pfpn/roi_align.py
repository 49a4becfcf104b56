"""RoIAlign as torchvision computes it or, for gradients on small maps, as two matrix products.

RoIAlign averages bilinear samples at fixed positions. Bilinear weights are a product of a vertical
and a horizontal weight, and so is their mean over a bin's grid of samples: with Wy (bins x rows)
and Wx (bins x columns) of a box, its pooled features are Wy F Wx^T for each channel F. Matrices of
a whole map are mostly zeros, but their product runs at the processor's full speed, on all threads,
and so does its gradient, where torchvision's kernel adds cell by cell on one thread.
benchmarks/roi_align.py measures where that pays.
"""

import torch
import torchvision
from jaxtyping import Float
from torch import Tensor

# Measured by benchmarks/roi_align.py; beyond these, torchvision's kernel is as fast or faster.
MAX_COST = 150  # multiplications of the products per sample of a box; grows with the map
MIN_BINS = 400  # of all boxes together: fewer do not pay for forming the matrices


def roi_align(
    features: Float[Tensor, "b c h w"],
    rois: Float[Tensor, "k 5"],
    size: int,
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    aligned: bool = True,
) -> Float[Tensor, "k c size size"]:
    """Return the features of each roi on `size` x `size` bins. Source: [MRCNN] 3.

    Args:
        features: maps of the whole batch.
        rois: index of the image, then xyxy in pixels; in any order.
        size: bins along a side.
        spatial_scale: cells per pixel.
        sampling_ratio: samples per bin and axis; 0 takes as many as the bin spans cells.
        aligned: subtract the half pixel between a pixel's index and its center.
    """
    height, width = features.shape[2:]
    cost = height * (width + size) / (size * sampling_ratio**2) if sampling_ratio > 0 else torch.inf
    if (
        features.requires_grad  # torchvision's forward alone is fast
        and torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and features.device.type == "cpu"
        and features.dtype in (torch.float32, torch.float64)
        and cost <= MAX_COST
        and len(rois) * size**2 >= MIN_BINS
    ):
        return align_by_products(features, rois, size, spatial_scale, sampling_ratio, aligned)
    return torchvision.ops.roi_align(features, rois, size, spatial_scale, sampling_ratio, aligned)


def align_by_products(
    features: Float[Tensor, "b c h w"],
    rois: Float[Tensor, "k 5"],
    size: int,
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> Float[Tensor, "k c size size"]:
    """Return what `roi_align` does, as matrix products, for any map and `sampling_ratio` > 0."""
    channels, height, width = features.shape[1:]
    order = rois[:, 0].argsort(stable=True)
    counts = torch.bincount(rois[:, 0].long(), minlength=len(features)).tolist()
    corners = rois[order, 1:].detach() * spatial_scale - (0.5 if aligned else 0.0)
    start, extent = corners[:, :2], corners[:, 2:] - corners[:, :2]
    if not aligned:
        extent = extent.clamp(min=1)
    wx = axis_weights(start[:, 0], extent[:, 0], size, width, sampling_ratio)
    wy = axis_weights(start[:, 1], extent[:, 1], size, height, sampling_ratio)

    pooled = []
    with torch.autocast("cpu", enabled=False):  # weights of 16 bits would shift the boxes
        for image, x, y in zip(features, wx.split(counts), wy.split(counts), strict=True):
            cells = image.permute(1, 2, 0)  # (h, w, c): in channels_last memory as they lie
            columns = x.flatten(0, 1) @ cells  # (h, k x size, c)
            columns = columns.view(height, len(x), size * channels).transpose(0, 1)
            bins = torch.bmm(y, columns).view(len(x), size, size, channels)
            pooled.append(bins.permute(0, 3, 1, 2))
    result = torch.cat(pooled)
    return result if (order.diff() > 0).all() else result[order.argsort()]


def axis_weights(
    start: Float[Tensor, " k"],
    extent: Float[Tensor, " k"],
    bins: int,
    cells: int,
    samples: int,
) -> Float[Tensor, "k bins cells"]:
    """Return the weight of each cell in each bin's mean along one axis.

    A sample between two cells weighs them by its distance from each. One up to a cell beyond the
    map takes the outermost cell; farther out it is zero.

    Args:
        start: of each box, in cells.
        extent: of each box, in cells.
        bins: per box.
        cells: of the map.
        samples: per bin, at equal distances.
    """
    side = extent / bins
    index = torch.arange(bins, device=start.device)
    offset = torch.arange(samples, device=start.device) + 0.5
    first = start[:, None] + index * side[:, None]  # (k, bins)
    position = first[..., None] + offset * side[:, None, None] / samples  # (k, bins, samples)
    inside = (position >= -1) & (position <= cells)
    position = position.clamp(0, cells - 1)[..., None]
    weights = (1 - (position - torch.arange(cells, device=start.device)).abs()).clamp(min=0)
    return (weights * inside[..., None]).mean(dim=2)
