"""Paste masks from the small grids of the mask head into the image.

The mask head predicts on a grid that spans the box; merging and evaluation need pixels. A mask is
true at most inside its box, so it is stored as a `Window`: a mask around the box and its position.
"""

import math

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pfpn.structures import Window

PASTE_THRESHOLD = 0.5  # probability from which a pixel is inside  [MRCNN] 3.1


def paste_windows(
    mask_probs: Float[Tensor, "n m m"],
    boxes: Float[Tensor, "n 4"],
    size: tuple[int, int],
    threshold: float = PASTE_THRESHOLD,
) -> list[Window]:
    """Sample each mask at the centers of the pixels around its box; on the CPU.

    A pixel is true where the grid, interpolated bilinearly with zeros outside, is at least
    `threshold`. That is `grid_sample(align_corners=False)` on the whole image, but one axis after
    the other, and only near the box. Rounding differs in the last bit: of 138 million pixels of
    random masks, 2 fell on the other side of the threshold. In NumPy, whose calls cost less on
    small arrays, and which no autocast or TF32 changes.

    Args:
        mask_probs: in [0, 1].
        boxes: xyxy, in pixels of the output; they may reach beyond it.
        size: (height, width) of the output.
        threshold: above 0. Masks end one pixel outside the box, also where a threshold below 0.5
            would allow more.

    Source: [MRCNN] 3.1.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"paste_windows: threshold is {threshold}, expected above 0 and up to 1")
    if not torch.isfinite(boxes).all():
        raise ValueError(
            "paste_windows: found a box that is not finite, expected pixels of the output. "
            "Did the training diverge?"
        )
    # One row of zeros on each side is all that lies outside a grid.
    probs = np.pad(mask_probs.detach().float().cpu().numpy(), ((0, 0), (1, 1), (1, 1)))
    corners = boxes.detach().float().cpu().numpy()
    windows = []
    for grid, box in zip(probs, corners, strict=True):
        top, bottom, left, right = _extent(box, size)
        x0, y0, x1, y1 = box
        across = _interpolate(grid.T, _grid_rows(left, right, x0, x1, len(grid)))  # (w, m + 2)
        values = _interpolate(across.T, _grid_rows(top, bottom, y0, y1, len(grid)))  # (h, w)
        windows.append(Window(top, left, torch.from_numpy(values >= threshold)))
    return windows


def paste_masks(
    mask_probs: Float[Tensor, "n m m"],
    boxes: Float[Tensor, "n 4"],
    size: tuple[int, int],
    threshold: float = PASTE_THRESHOLD,
) -> Bool[Tensor, "n h w"]:
    """Paste each mask into an image of its own; see `paste_windows`. On the CPU."""
    windows = paste_windows(mask_probs, boxes, size, threshold)
    masks = torch.zeros((len(windows), *size), dtype=torch.bool)
    for mask, window in zip(masks, windows, strict=True):
        height, width = window.mask.shape
        bottom, right = window.top + height, window.left + width
        mask[window.top : bottom, window.left : right] = window.mask
    return masks


def tight_window(mask: Bool[Tensor, "h w"]) -> Window:
    """Cut one mask on the CPU to its true pixels; a view."""
    pixels = mask.numpy()  # NumPy's `any` takes a tenth of the time of torch's
    rows = np.flatnonzero(pixels.any(axis=1))
    if len(rows) == 0:
        return Window(0, 0, mask[:0, :0])
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(pixels[top:bottom].any(axis=0))
    left, right = int(columns[0]), int(columns[-1]) + 1
    return Window(top, left, mask[top:bottom, left:right])


def _extent(box: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return top, bottom, left, right of the pixels that a mask in `box` can reach.

    One pixel more than the box on each side, as in detectron2: cropping never meets rounding.
    """
    x0, y0, x1, y1 = box
    if x1 <= x0 or y1 <= y0:
        return 0, 0, 0, 0
    top, bottom = (min(max(y, 0), size[0]) for y in (math.floor(y0) - 1, math.ceil(y1) + 1))
    left, right = (min(max(x, 0), size[1]) for x in (math.floor(x0) - 1, math.ceil(x1) + 1))
    return top, bottom, left, right


def _grid_rows(
    start: int, stop: int, low: np.float32, high: np.float32, num_rows: int
) -> np.ndarray:
    """Return where pixel centers `start` up to `stop` fall between the rows of a padded grid.

    The grid without padding spans `low` to `high`; row i has its center at i, the padding is -1.
    """
    bins = num_rows - 2
    centers = np.arange(start, stop, dtype=np.float32) + 0.5
    # Through [-1, 1] and in float32, as grid_sample does: a shorter formula rounds differently, and
    # eight times as many pixels change.
    normalized = (centers - low) / (high - low) * 2 - 1
    return (((normalized + 1) * bins - 1) / 2).clip(-1, bins)


def _interpolate(rows: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Interpolate linearly between neighboring rows, the first of which is at -1."""
    rows = np.ascontiguousarray(rows)
    lower = np.minimum(np.floor(at), len(rows) - 3)
    index = lower.astype(np.intp) + 1
    values = np.diff(rows, axis=0)[index]
    values *= (at - lower)[:, None]
    values += rows[index]
    return values
