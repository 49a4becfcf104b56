"""Exercises of chapter 03: IoU, anchors, their labels, decoding, non-maximum suppression."""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from pfpn.boxes import MAX_LOG_SCALE
from pfpn.course.check import Case, Exercise
from pfpn.course.draw import Draw

Box = Sequence[float]  # x0, y0, x1, y1

iou = Exercise(
    name="03.iou",
    task="Return the intersection over union of two boxes (x0, y0, x1, y1).",
    difficulty=1,
    minutes=10,
    hints=(
        "The intersection is a box, too. Its left edge is the larger of the two left edges. What "
        "are its other three edges?",
        "Where the boxes are apart, a side of the intersection comes out negative. Make it 0 "
        "before you multiply the two sides.",
    ),
)


def _sides(a: Box, b: Box, low: float = 0.0) -> tuple[float, float]:
    """Return width and height of the intersection, neither below `low`."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(width, low), max(height, low)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _over_union(intersection: float, a: Box, b: Box) -> float:
    return intersection / (_area(a) + _area(b) - intersection)


@iou.answer
def _iou(a: Box, b: Box) -> float:
    return _over_union(math.prod(_sides(a, b)), a, b)


@iou.examples
def _iou_cases() -> Iterator[Case]:
    whole, square = (0.0, 0.0, 4.0, 2.0), (0.0, 0.0, 2.0, 2.0)
    yield Case("a box with itself", (whole, whole))
    yield Case("a box with its left half", (whole, square))
    yield Case("two squares that share a corner", (square, (1.0, 1.0, 3.0, 3.0)))
    yield Case("boxes that touch share nothing", (square, (2.0, 0.0, 4.0, 2.0)))
    yield Case("boxes side by side", (square, (5.0, 0.0, 7.0, 2.0)))
    yield Case("boxes apart in both axes", (square, (5.0, 5.0, 7.0, 7.0)))


def _draw_box(draw: Draw, largest: int = 6) -> tuple[float, ...]:
    """Return a box with whole coordinates, so that areas are exact in every precision."""
    x0, y0 = draw.integer(0, largest), draw.integer(0, largest)
    return tuple(map(float, (x0, y0, x0 + draw.integer(1, largest), y0 + draw.integer(1, largest))))


@iou.random
def _random_boxes(draw: Draw) -> tuple[Box, Box]:
    return _draw_box(draw), _draw_box(draw)


iou.mistake(
    "You divided by the sum of both areas. The intersection is in both of them, but counts once in "
    "the union: subtract it once."
)(lambda a, b: math.prod(_sides(a, b)) / (_area(a) + _area(b)))
iou.mistake(
    "You divided by the smaller area. Then a small box inside a large one has an IoU of 1. Divide "
    "by the area that both boxes cover together."
)(lambda a, b: math.prod(_sides(a, b)) / min(_area(a), _area(b)))
iou.mistake(
    "You divided by the larger area. The union is larger than that, unless one box lies inside "
    "the other."
)(lambda a, b: math.prod(_sides(a, b)) / max(_area(a), _area(b)))
iou.mistake(
    "That is the Dice coefficient: twice the intersection, divided by the sum of both areas. "
    "Divide the intersection by the union."
)(lambda a, b: 2 * math.prod(_sides(a, b)) / (_area(a) + _area(b)))


@iou.mistake(
    "Your width is x1 - x0 + 1. Boxes are half-open here: x1 is the first column outside, so the "
    "width is x1 - x0."
)
def _one_pixel_more(a: Box, b: Box) -> float:
    return _iou(*((x0, y0, x1 + 1, y1 + 1) for x0, y0, x1, y1 in (a, b)))


iou.mistake(
    "A side of the intersection is negative where the boxes are apart. Replace a negative side by "
    "0."
)(lambda a, b: _over_union(math.prod(_sides(a, b, -math.inf)), a, b))
iou.mistake(
    "You replaced a negative product by 0. But two negative sides have a positive product: replace "
    "each negative side by 0 first."
)(lambda a, b: _over_union(max(math.prod(_sides(a, b, -math.inf)), 0.0), a, b))


anchor = Exercise(
    name="03.anchor",
    task="Return the anchor (x0, y0, x1, y1) whose center is (x, y), whose area is side squared "
    "and whose height / width is the ratio.",
    difficulty=1,
    minutes=10,
    hints=(
        "Two conditions, two unknowns: width * height = side ** 2 and height / width = ratio. "
        "Insert one into the other.",
        "The product of both conditions is height ** 2 = side ** 2 * ratio. The width follows from "
        "either of them.",
    ),
)


def _around(x: float, y: float, width: float, height: float) -> tuple[float, ...]:
    return (x - width / 2, y - height / 2, x + width / 2, y + height / 2)


@anchor.answer
def _anchor(x: float, y: float, side: float, ratio: float) -> tuple[float, ...]:
    return _around(x, y, side / math.sqrt(ratio), side * math.sqrt(ratio))


@anchor.examples
def _anchor_cases() -> Iterator[Case]:
    yield Case("a square around the origin", (0.0, 0.0, 8.0, 1.0))
    yield Case("a square around (20, 12)", (20.0, 12.0, 8.0, 1.0))
    yield Case("four times as high as wide, same area", (0.0, 0.0, 8.0, 4.0))
    yield Case("half as high as wide", (10.0, 30.0, 16.0, 0.5))


@anchor.random
def _random_anchor(draw: Draw) -> tuple[float, ...]:
    return draw.number(-20, 20), draw.number(-20, 20), draw.number(1, 32, 1), draw.number(0.25, 4)


anchor.mistake(
    "Your anchor starts at (x, y). But (x, y) is its center: go half a width to the left and half "
    "a height up from there."
)(lambda x, y, side, ratio: (x, y, x + side / math.sqrt(ratio), y + side * math.sqrt(ratio)))
anchor.mistake(
    "Your anchor is twice as wide and twice as high as it should be. From the center, go half a "
    "width and half a height in each direction."
)(lambda x, y, side, ratio: _anchor(x, y, 2 * side, ratio))
anchor.mistake("Width and height are swapped. The ratio is height / width, so 4 is a tall anchor.")(
    lambda x, y, side, ratio: _anchor(x, y, side, 1 / ratio)
)
anchor.mistake(
    "You multiplied the height by the ratio and kept the width, so the area changed. Each side "
    "changes by the square root of the ratio."
)(lambda x, y, side, ratio: _around(x, y, side, side * ratio))
anchor.mistake(
    "The area is right, but height / width is the ratio squared: you multiplied one side by the "
    "ratio and divided the other by it. Each side changes by the square root of the ratio."
)(lambda x, y, side, ratio: _around(x, y, side / ratio, side * ratio))


anchor_labels = Exercise(
    name="03.anchor_labels",
    task="Return 1 (foreground), 0 (background) or -1 (unsure) for each anchor, a row of IoUs.",
    difficulty=2,
    minutes=15,
    hints=(
        "Begin with -1 everywhere. The best IoU of each row decides between the three labels.",
        "Then find the best IoU of each column, which is a truth. Every row that has exactly this "
        "value in this column becomes 1, unless the value is 0.",
    ),
)


@anchor_labels.answer
def _anchor_labels(
    overlaps: Tensor,
    low: float,
    high: float,
    *,
    between: int = -1,
    strict: bool = False,
    keep: str = "every best",
    only_unsure: bool = False,
) -> Tensor:
    best = overlaps.max(dim=1).values
    labels = torch.full((len(overlaps),), between)
    labels[best < low] = 0
    labels[best > high if strict else best >= high] = 1
    of_truth = overlaps.max(dim=0).values
    if keep == "every best":
        best_of_one = ((overlaps == of_truth) & (of_truth > 0)).any(dim=1)
        labels[best_of_one & (labels != 0) if only_unsure else best_of_one] = 1
    elif keep == "first best":
        labels[overlaps.argmax(dim=0)[of_truth > 0]] = 1
    elif keep == "even 0":
        labels[(overlaps == of_truth).any(dim=1)] = 1
    return labels


@anchor_labels.examples
def _label_cases() -> Iterator[Case]:
    for title, overlaps in {
        "one truth, clear cases": [[0.9], [0.5], [0.1]],
        "exactly at the limits": [[0.875], [0.75], [0.25]],
        "no anchor reaches the upper limit": [[0.1], [0.4], [0.2]],
        "two anchors tie for a truth": [[0.4], [0.4], [0.2]],
        "two truths": [[0.9, 0.0], [0.5, 0.2], [0.1, 0.0]],
        "a truth that no anchor touches": [[0.8, 0.0], [0.1, 0.0]],
        "a truth's best anchor is foreground, also far below the lower limit": [[0.9], [0.0]],
    }.items():
        yield Case(title, (torch.tensor(overlaps), 0.25, 0.75))


@anchor_labels.random
def _random_overlaps(draw: Draw) -> tuple[Tensor, float, float]:
    num, truths = draw.integer(1, 5), draw.integer(1, 3)
    low = draw.number(0.125, 0.5)
    return draw.tensor(num, truths, low=0, high=1), low, draw.number(low, 1)


anchor_labels.mistake(
    "An IoU between the limits became background. Such an anchor is neither foreground nor "
    "background: it gets -1, and no loss uses it."
)(lambda o, low, high: _anchor_labels(o, low, high, between=0))
anchor_labels.mistake("An IoU of exactly `high` is foreground already.")(
    lambda o, low, high: _anchor_labels(o, low, high, strict=True)
)
anchor_labels.mistake(
    "The second rule is missing: the best anchor of each truth is foreground, however low its IoU "
    "is. Without this rule some things have no anchor to learn from."
)(lambda o, low, high: _anchor_labels(o, low, high, keep="none"))
anchor_labels.mistake(
    "Two anchors have the same best IoU with a truth, and argmax returns one of them. Both are "
    "foreground: compare with the maximum."
)(lambda o, low, high: _anchor_labels(o, low, high, keep="first best"))
anchor_labels.mistake(
    "Background wins over the second rule in your code. The best anchor of a truth is foreground, "
    "also where its IoU is below the lower limit: apply the second rule last."
)(lambda o, low, high: _anchor_labels(o, low, high, only_unsure=True))
anchor_labels.mistake(
    "A truth that no anchor touches has a best IoU of 0, and many anchors have an IoU of 0 with "
    "it. Such a truth makes no anchor foreground."
)(lambda o, low, high: _anchor_labels(o, low, high, keep="even 0"))


decode = Exercise(
    name="03.decode",
    task="Move and stretch a box by (dx, dy, dw, dh), where dw and dh are at most MAX_LOG_SCALE.",
    difficulty=2,
    minutes=15,
    tolerance=1e-4,
    hints=(
        "Work with center and size, not with corners. dx is a fraction of the width; dw is the "
        "logarithm of the factor by which the width changes.",
        "The new size is size * exp(dw), with dw clamped from above. The corners are the new "
        "center minus and plus half of the new size.",
    ),
)


@decode.answer
def _decode(
    delta: Tensor,
    box: Tensor,
    *,
    in_pixels: bool = False,
    grow: Callable[[Tensor], Tensor] = torch.exp,
    low: float = -math.inf,
    high: float = MAX_LOG_SCALE,
    from_corner: bool = False,
) -> Tensor:
    size = box[2:] - box[:2]
    shift = delta[:2] if in_pixels else delta[:2] * size
    new_size = size * grow(delta[2:].clamp(low, high))
    center = box[:2] + shift + (new_size if from_corner else size) / 2
    return torch.cat([center - new_size / 2, center + new_size / 2])


@decode.examples
def _decode_cases() -> Iterator[Case]:
    box = torch.tensor([10.0, 20.0, 30.0, 60.0])  # 20 wide, 40 high
    for title, delta in {
        "no delta, no change": (0.0, 0.0, 0.0, 0.0),
        "half its width right": (0.5, 0.0, 0.0, 0.0),
        "twice as wide": (0.0, 0.0, math.log(2), 0.0),
        "all at once": (0.1, -0.2, 0.3, -0.4),
        "about a ten-thousandth of its height": (0.0, 0.0, 0.0, -9.0),
        "growth is limited": (0.0, 0.0, 40.0, 0.0),
        "both sides are limited": (0.0, 0.0, 5.0, 90.0),
    }.items():
        yield Case(title, (torch.tensor(delta), box))


@decode.random
def _random_delta(draw: Draw) -> tuple[Tensor, Tensor]:
    logs = [draw.pick(draw.number(-2, 2), 0.0, 4.125, 4.25, 100.0, -8.0) for _ in range(2)]
    delta = torch.tensor([*draw.numbers(2, -2, 2), *logs])
    return delta, torch.tensor(_draw_box(draw, 12))


decode.mistake("You moved by dx pixels. dx is a fraction of the width: multiply by the width.")(
    lambda delta, box: _decode(delta, box, in_pixels=True)
)
decode.mistake("You scaled the size by 1 + dw. dw is a logarithm: the factor is exp(dw).")(
    lambda delta, box: _decode(delta, box, grow=lambda d: 1 + d)
)
decode.mistake(
    "Your box grows from its corner. It must keep its center: go half of the new size from the "
    "center in each direction."
)(lambda delta, box: _decode(delta, box, from_corner=True))
decode.mistake(
    "You limited how much a box can shrink, too. Only growth is limited: exp of a large number is "
    "infinite, but exp of a very negative one is 0, which does no harm."
)(lambda delta, box: _decode(delta, box, low=-MAX_LOG_SCALE))
decode.mistake("exp of a large number is infinite. Clamp dw and dh to MAX_LOG_SCALE first.")(
    lambda delta, box: _decode(delta, box, high=math.inf)
)


nms = Exercise(
    name="03.nms",
    task="Return the indices of the boxes that non-maximum suppression keeps, best score first.",
    difficulty=3,
    minutes=20,
    hints=(
        "Go through the boxes from the best score to the worst and keep a list of those that stay.",
        "A box stays if its IoU with each box *kept so far* is at most the threshold. Boxes that "
        "were dropped play no role any more.",
    ),
)


@nms.answer
def _nms(
    boxes: Tensor,
    scores: Tensor,
    threshold: float,
    *,
    by_score: bool = True,
    dropped_suppress: bool = False,
    or_equal: bool = False,
    in_order: bool = True,
) -> list[int]:
    values = scores.tolist()
    order = sorted(range(len(values)), key=lambda i: -values[i]) if by_score else range(len(values))
    kept: list[int] = []
    seen: list[int] = []
    for i in order:
        rivals = seen if dropped_suppress else kept
        overlaps = [_iou(boxes[i].tolist(), boxes[j].tolist()) for j in rivals]
        if not any(o > threshold or (or_equal and o == threshold) for o in overlaps):
            kept.append(i)
        seen.append(i)
    return kept if in_order else sorted(kept)


@nms.examples
def _nms_cases() -> Iterator[Case]:
    first, near, far = [0.0, 0, 10, 10], [0.0, 0, 10, 9], [40.0, 40, 50, 50]
    # Each overlaps its neighbor with 2/3, the outer two with 3/7.
    chain = [[0.0, 0, 10, 10], [2.0, 0, 12, 10], [4.0, 0, 14, 10]]
    for title, boxes, scores in (
        ("one box stays", [first], [0.3]),
        ("of two near boxes the better one stays", [first, near], [0.9, 0.6]),
        ("... also where it is the second one", [first, near], [0.6, 0.9]),
        ("two boxes apart, best first", [first, far], [0.2, 0.8]),
        ("a suppressed box suppresses none", chain, [0.9, 0.8, 0.7]),
        ("an IoU of exactly the threshold stays", [first, [0.0, 0, 10, 5]], [0.9, 0.8]),
        ("no boxes", [], []),
    ):
        yield Case(title, (torch.tensor(boxes).view(-1, 4), torch.tensor(scores), 0.5))


@nms.random
def _random_detections(draw: Draw) -> tuple[Tensor, Tensor, float]:
    num = draw.integer(0, 6)
    boxes = torch.tensor([_draw_box(draw) for _ in range(num)]).view(-1, 4)
    return boxes, torch.tensor(draw.distinct(num, 0, 1, 1 / 16)), draw.pick(0.5, 0.25, 0.125, 0.75)


nms.mistake(
    "You went through the boxes in the order of the input. Go from the best score to the worst."
)(lambda b, s, t: _nms(b, s, t, by_score=False))
nms.mistake(
    "The right boxes stay, but you return them in the order of the input. Return the one with the "
    "best score first."
)(lambda b, s, t: _nms(b, s, t, in_order=False))
nms.mistake(
    "You dropped a box because it overlaps a box that was dropped before. Compare with the boxes "
    "that are kept, and with no others."
)(lambda b, s, t: _nms(b, s, t, dropped_suppress=True))
nms.mistake(
    "Your indices count in the sorted list of boxes. Return the positions in the input: order[i] "
    "where you return i."
)(lambda b, s, t: _nms(b[s.argsort(descending=True)], s[s.argsort(descending=True)], t))
nms.mistake("An IoU of exactly the threshold does not suppress a box: it must be larger.")(
    lambda b, s, t: _nms(b, s, t, or_equal=True)
)

EXERCISES = (iou, anchor, anchor_labels, decode, nms)
