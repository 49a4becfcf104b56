"""Anchors the slow way."""

import math


def anchors(
    size: tuple[int, int], stride: int, side: float, ratios: list[float]
) -> list[tuple[float, float, float, float]]:
    """Row by row, cell by cell, ratio by ratio."""
    boxes = []
    for row in range(size[0]):
        for column in range(size[1]):
            for ratio in ratios:
                width = side / math.sqrt(ratio)
                height = width * ratio
                x, y = column * stride, row * stride
                boxes.append((x - width / 2, y - height / 2, x + width / 2, y + height / 2))
    return boxes
