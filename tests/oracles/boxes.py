"""Boxes the slow way: one box at a time, one pixel at a time, plain numbers."""

import math

Box = tuple[float, float, float, float]


def area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def iou(a: Box, b: Box) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (area(a) + area(b) - width * height)


def encode(target: Box, box: Box, weights: Box) -> Box:
    w, h = box[2] - box[0], box[3] - box[1]
    target_w, target_h = target[2] - target[0], target[3] - target[1]
    dx = ((target[0] + target[2]) / 2 - (box[0] + box[2]) / 2) / w
    dy = ((target[1] + target[3]) / 2 - (box[1] + box[3]) / 2) / h
    dw, dh = math.log(target_w / w), math.log(target_h / h)
    return (dx * weights[0], dy * weights[1], dw * weights[2], dh * weights[3])


def decode(delta: Box, box: Box, weights: Box) -> Box:
    w, h = box[2] - box[0], box[3] - box[1]
    x = (box[0] + box[2]) / 2 + delta[0] / weights[0] * w
    y = (box[1] + box[3]) / 2 + delta[1] / weights[1] * h
    w *= min(math.exp(delta[2] / weights[2]), 62.5)
    h *= min(math.exp(delta[3] / weights[3]), 62.5)
    return (x - w / 2, y - h / 2, x + w / 2, y + h / 2)


def clip(box: Box, size: tuple[int, int]) -> Box:
    return (
        min(max(box[0], 0), size[1]),
        min(max(box[1], 0), size[0]),
        min(max(box[2], 0), size[1]),
        min(max(box[3], 0), size[0]),
    )


def nms(boxes: list[Box], scores: list[float], groups: list[int], threshold: float) -> list[int]:
    """Indices that survive, best first: nothing better of the same group covers them."""
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        rivals = [j for j in kept if groups[j] == groups[i]]
        if all(iou(boxes[i], boxes[j]) <= threshold for j in rivals):
            kept.append(i)
    return kept


def mask_to_box(mask: list[list[bool]]) -> Box:
    pixels = [(x, y) for y, row in enumerate(mask) for x, hit in enumerate(row) if hit]
    if not pixels:
        return (0, 0, 0, 0)
    xs, ys = [x for x, _ in pixels], [y for _, y in pixels]
    return (min(xs), min(ys), max(xs) + 1, max(ys) + 1)
