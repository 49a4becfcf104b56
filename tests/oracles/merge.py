"""Merging and pasting in the slow, obvious way: sets of pixels, the whole image every time."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Pixels = set[tuple[int, int]]


def pixels_where(mask: Tensor) -> Pixels:
    return {(y, x) for y, x in mask.nonzero().tolist()}


def merge_pixel_by_pixel(
    masks: Tensor,
    scores: Sequence[float],
    labels: Sequence[int],
    label_map: Tensor,
    *,
    min_score: float,
    max_overlap: float,
    min_stuff_area: int,
    stuff_confidence: Tensor | None = None,
    margin: float = 0.0,
) -> tuple[Tensor, list[tuple[int, int, bool]]]:
    """Return the id map and (id, label, is_thing) of every segment, by the rules."""
    owner: dict[tuple[int, int], int] = {}
    segments: list[tuple[int, int, bool]] = []
    for i in sorted(range(len(scores)), key=lambda i: -scores[i]):  # sorted() is stable
        if scores[i] < min_score:
            break
        whole = pixels_where(masks[i])
        lost = {pixel for pixel in whole if pixel in owner}
        if stuff_confidence is not None:
            for y, x in whole:
                is_stuff = int(label_map[y, x]) not in (0, 255)
                if is_stuff and float(stuff_confidence[y, x]) > scores[i] + margin:
                    lost.add((y, x))
        if lost == whole or len(lost) / len(whole) > max_overlap:
            continue
        segments.append((len(segments) + 1, int(labels[i]), True))
        owner |= {pixel: len(segments) for pixel in whole - lost}

    for label in sorted(set(label_map.flatten().tolist()) - {0, 255}):
        region = {pixel for pixel in pixels_where(label_map == label) if pixel not in owner}
        if region and len(region) >= min_stuff_area:
            segments.append((len(segments) + 1, label, False))
            owner |= {pixel: len(segments) for pixel in region}

    id_map = torch.zeros(label_map.shape, dtype=torch.int64)
    for (y, x), segment_id in owner.items():
        id_map[y, x] = segment_id
    return id_map, segments


def grid_sample_everywhere(mask_probs: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Read each grid at every pixel center of the image with torch's own bilinear reader."""
    height, width = size
    y = torch.arange(height, dtype=torch.float32) + 0.5
    x = torch.arange(width, dtype=torch.float32) + 0.5
    values = []
    for probs, (x0, y0, x1, y1) in zip(mask_probs, boxes, strict=True):
        across = (x - x0) / (x1 - x0) * 2 - 1
        down = (y - y0) / (y1 - y0) * 2 - 1
        grid = torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1)  # (h, w, 2)
        values.append(F.grid_sample(probs[None, None], grid[None], align_corners=False)[0, 0])
    return torch.stack(values)
