"""Functions on boxes, which are plain tensors: for anchors, proposals and detections alike.

A box is (x0, y0, x1, y1) in absolute pixels, half-open: its width is x1 - x0, and the box of a
single pixel (x, y) is (x, y, x + 1, y + 1).
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchvision.ops import batched_nms as batched_nms  # re-exported
from torchvision.ops import nms as nms  # likewise

from pfpn.structures import at_least_float32

BoxWeights = tuple[float, float, float, float]  # scale of (dx, dy, dw, dh) in the regression

MAX_LOG_SCALE = math.log(1000 / 16)  # a box grows at most 62.5 times, so exp stays finite


def area(boxes: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n"]:
    """Return each box's area in square pixels, at least in float32: half precision overflows."""
    boxes = at_least_float32(boxes)
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def iou(a: Float[Tensor, "n 4"], b: Float[Tensor, "k 4"]) -> Float[Tensor, "n k"]:
    """Return the intersection over union, in [0, 1], of every box in `a` with every one in `b`."""
    a, b = at_least_float32(a), at_least_float32(b)  # areas overflow in half precision
    size = torch.minimum(a[:, None, 2:], b[:, 2:]) - torch.maximum(a[:, None, :2], b[:, :2])
    intersection = size.clamp(min=0).prod(-1)
    union = area(a)[:, None] + area(b) - intersection
    # Two empty boxes would divide 0 by 0; their IoU is 0.
    return torch.where(intersection > 0, intersection / union, intersection.new_zeros(()))


def _center_and_size(boxes: Tensor) -> tuple[Tensor, Tensor]:
    size = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + 0.5 * size, size


def encode(
    targets: Float[Tensor, "*n 4"], boxes: Float[Tensor, "*n 4"], weights: BoxWeights
) -> Float[Tensor, "*n 4"]:
    """Return the deltas (dx, dy, dw, dh) that turn `boxes` into `targets`. Inverts `decode`.

    Source: [MRCNN] 3.1, whose box branch is that of Fast R-CNN.
    """
    center, size = _center_and_size(boxes)
    target_center, target_size = _center_and_size(targets)
    deltas = torch.cat([(target_center - center) / size, (target_size / size).log()], dim=-1)
    return deltas * deltas.new_tensor(weights)


def decode(
    deltas: Float[Tensor, "*n 4"], boxes: Float[Tensor, "*n 4"], weights: BoxWeights
) -> Float[Tensor, "*n 4"]:
    """Return `boxes` (xyxy) moved and resized by `deltas` (dx, dy, dw, dh). Inverts `encode`.

    Growth is clamped at MAX_LOG_SCALE, shrinking is not. Source: [MRCNN] 3.1.
    """
    center, size = _center_and_size(boxes)
    shift, log_scale = (deltas / deltas.new_tensor(weights)).split(2, dim=-1)
    center = center + shift * size
    size = size * log_scale.clamp(max=MAX_LOG_SCALE).exp()
    return torch.cat([center - 0.5 * size, center + 0.5 * size], dim=-1)


def clip(boxes: Float[Tensor, "*n 4"], size: tuple[int, int]) -> Float[Tensor, "*n 4"]:
    """Return boxes cut off at the borders of an image of `size` (height, width)."""
    x = boxes[..., 0::2].clamp(0, size[1])
    y = boxes[..., 1::2].clamp(0, size[0])
    return torch.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], dim=-1)


def rescale(boxes: Float[Tensor, "*n 4"], scale: tuple[float, float]) -> Float[Tensor, "*n 4"]:
    """Return boxes with their coordinates multiplied by `scale` (vertical, horizontal)."""
    return boxes * boxes.new_tensor([scale[1], scale[0], scale[1], scale[0]])


def is_nonempty(boxes: Float[Tensor, "*n 4"]) -> Bool[Tensor, "*n"]:
    """Return which boxes have a positive width and height."""
    return (boxes[..., 2] > boxes[..., 0]) & (boxes[..., 3] > boxes[..., 1])


def masks_to_boxes(masks: Bool[Tensor, "n h w"]) -> Float[Tensor, "n 4"]:
    """Return the tightest box around each mask; an empty mask gets (0, 0, 0, 0)."""

    def extent(hit: Bool[Tensor, "n l"]) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"]]:
        first = hit.int().argmax(dim=1)
        last = hit.shape[1] - hit.flip(1).int().argmax(dim=1)
        return first, torch.where(hit.any(dim=1), last, 0)

    if masks.numel() == 0:  # argmax fails along an axis of length 0
        return masks.new_zeros((len(masks), 4), dtype=torch.float32)
    x0, x1 = extent(masks.any(dim=1))
    y0, y1 = extent(masks.any(dim=2))
    return torch.stack([x0, y0, x1, y1], dim=1).float()
