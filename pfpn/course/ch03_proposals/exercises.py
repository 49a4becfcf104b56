"""Exercises of chapter 03: IoU, anchors, their labels, decoding, non-maximum suppression."""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from pfpn.boxes import MAX_LOG_SCALE
from pfpn.course.check import Case, Exercise

Box = Sequence[float]  # x0, y0, x1, y1

iou = Exercise(
    name="03.iou",
    task="Return the intersection over union of two boxes (x0, y0, x1, y1).",
    difficulty=1,
    minutes=10,
    hints=(
        "The intersection is a box too: the larger of the two left edges is its left edge. "
        "What are its other three?",
        "Where the boxes are apart, a side of that intersection comes out negative. It has to "
        "count as 0 before the two sides are multiplied.",
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


iou.mistake(
    "You divided by the sum of both areas. The intersection is in both of them and counts once in "
    "the union: take it away once."
)(lambda a, b: math.prod(_sides(a, b)) / (_area(a) + _area(b)))
iou.mistake(
    "You divided by the smaller area. Then a small box inside a large one scores 1; the union "
    "counts all of both boxes."
)(lambda a, b: math.prod(_sides(a, b)) / min(_area(a), _area(b)))


@iou.mistake(
    "You counted x1 - x0 + 1 pixels. Boxes are half-open here: x1 is the first column outside, so "
    "the width is x1 - x0."
)
def _one_pixel_more(a: Box, b: Box) -> float:
    return _iou(*((x0, y0, x1 + 1, y1 + 1) for x0, y0, x1, y1 in (a, b)))


iou.mistake(
    "Boxes that are apart gave a negative number: a side of the intersection is negative there. "
    "Let no side fall below 0."
)(lambda a, b: _over_union(math.prod(_sides(a, b, -math.inf)), a, b))
iou.mistake(
    "You let the product not fall below 0, but two negative sides make a positive product. Each "
    "side needs its own bound."
)(lambda a, b: _over_union(max(math.prod(_sides(a, b, -math.inf)), 0.0), a, b))


anchor = Exercise(
    name="03.anchor",
    task="Return the anchor (x0, y0, x1, y1) around (x, y) with area side squared and height / "
    "width = ratio.",
    difficulty=1,
    minutes=10,
    hints=(
        "Two conditions, two unknowns: width * height = side ** 2 and height / width = ratio. Put "
        "one into the other.",
        "Multiplying the conditions gives height ** 2 = side ** 2 * ratio. The width follows from "
        "either.",
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


anchor.mistake(
    "Your anchor starts at (x, y). The point is its center: go half a width left and half a height "
    "up."
)(lambda x, y, side, ratio: (x, y, x + side / math.sqrt(ratio), y + side * math.sqrt(ratio)))
anchor.mistake(
    "Your anchor is twice as large: you went a whole side from the center in each direction, half "
    "a side is enough."
)(lambda x, y, side, ratio: _anchor(x, y, 2 * side, ratio))
anchor.mistake("Width and height are swapped: the ratio is height / width, so 4 is a tall anchor.")(
    lambda x, y, side, ratio: _anchor(x, y, side, 1 / ratio)
)
anchor.mistake(
    "You stretched the height by the ratio and left the width, so the area grew. Each side takes "
    "the root of the ratio."
)(lambda x, y, side, ratio: _around(x, y, side, side * ratio))
anchor.mistake(
    "The area is right, but the ratio came in squared: you multiplied one side by it and divided "
    "the other. Each takes the root."
)(lambda x, y, side, ratio: _around(x, y, side / ratio, side * ratio))


anchor_labels = Exercise(
    name="03.anchor_labels",
    task="Return 1 (foreground), 0 (background) or -1 (unsure) for each row of IoUs.",
    difficulty=2,
    minutes=15,
    hints=(
        "Begin with -1 everywhere. The best IoU of each row decides two of the three labels.",
        "Then go by columns: the best IoU of each truth. Every row that has exactly that value in "
        "that column becomes 1, unless the value is 0.",
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
) -> Tensor:
    if overlaps.shape[1] == 0:
        return torch.zeros(len(overlaps), dtype=torch.int64)
    best = overlaps.max(dim=1).values
    labels = torch.full((len(overlaps),), between)
    labels[best < low] = 0
    labels[best > high if strict else best >= high] = 1
    of_truth = overlaps.max(dim=0).values
    if keep == "every best":
        labels[((overlaps == of_truth) & (of_truth > 0)).any(dim=1)] = 1
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
    }.items():
        yield Case(title, (torch.tensor(overlaps), 0.25, 0.75))


anchor_labels.mistake(
    "An IoU between the limits became background. It is neither: such an anchor gets -1, and no "
    "loss uses it."
)(lambda o, low, high: _anchor_labels(o, low, high, between=0))
anchor_labels.mistake("An IoU of exactly the upper limit is foreground already: from `high` on.")(
    lambda o, low, high: _anchor_labels(o, low, high, strict=True)
)
anchor_labels.mistake(
    "The second rule is missing: the best anchor of each truth is foreground, however low its IoU. "
    "Without it some things have no anchor to learn from."
)(lambda o, low, high: _anchor_labels(o, low, high, keep="none"))
anchor_labels.mistake(
    "Two anchors tie for a truth, and argmax names one of them. Every anchor that attains the "
    "truth's best IoU is foreground: compare with the maximum."
)(lambda o, low, high: _anchor_labels(o, low, high, keep="first best"))
anchor_labels.mistake(
    "A truth that no anchor touches has a best IoU of 0, and every anchor attains that. Such a "
    "truth must make no anchor foreground."
)(lambda o, low, high: _anchor_labels(o, low, high, keep="even 0"))


decode = Exercise(
    name="03.decode",
    task="Move and stretch a box by (dx, dy, dw, dh), growth cut at MAX_LOG_SCALE.",
    difficulty=2,
    minutes=15,
    tolerance=1e-4,
    hints=(
        "Work with center and size, not with corners. dx is a fraction of the width, dw the "
        "logarithm of the factor on the width.",
        "New size = size * exp(delta clamped from above); corners = new center minus and plus half "
        "of the new size.",
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
    corner = box[:2] + shift if from_corner else box[:2] + size / 2 + shift - new_size / 2
    return torch.cat([corner, corner + new_size])


@decode.examples
def _decode_cases() -> Iterator[Case]:
    box = torch.tensor([10.0, 20.0, 30.0, 60.0])  # 20 wide, 40 high
    for title, delta in {
        "no delta, no change": (0.0, 0.0, 0.0, 0.0),
        "half its width right": (0.5, 0.0, 0.0, 0.0),
        "twice as wide": (0.0, 0.0, math.log(2), 0.0),
        "all at once": (0.1, -0.2, 0.3, -0.4),
        "a tenth of a thousandth of its height": (0.0, 0.0, 0.0, -9.0),
        "growth without bounds is cut": (0.0, 0.0, 40.0, 0.0),
    }.items():
        yield Case(title, (torch.tensor(delta), box))


decode.mistake("You moved by dx pixels. dx is a fraction of the box's width: multiply.")(
    lambda delta, box: _decode(delta, box, in_pixels=True)
)
decode.mistake("You scaled the size by 1 + dw. dw is a logarithm: the factor is exp(dw).")(
    lambda delta, box: _decode(delta, box, grow=lambda d: 1 + d)
)
decode.mistake(
    "Your box grows from its corner. It has to keep its center: take half of the new size to "
    "either side."
)(lambda delta, box: _decode(delta, box, from_corner=True))
decode.mistake(
    "You bounded shrinking too. Only growth is bounded: exp of a very negative number is a "
    "harmless 0, exp of a large one is infinite."
)(lambda delta, box: _decode(delta, box, low=-MAX_LOG_SCALE))
decode.mistake("exp of a large delta leaves all bounds. Cut the logarithm at MAX_LOG_SCALE first.")(
    lambda delta, box: _decode(delta, box, high=math.inf)
)


nms = Exercise(
    name="03.nms",
    task="Return the indices of the boxes that greedy suppression keeps, best first.",
    difficulty=3,
    minutes=20,
    hints=(
        "Go through the boxes from the best score to the worst and keep a list of those that stay.",
        "A box stays if its IoU with each box *kept so far* is at most the threshold. Boxes that "
        "were dropped do not matter any more.",
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
        ("of two near ones the better", [first, near], [0.9, 0.6]),
        ("... wherever it stands", [first, near], [0.6, 0.9]),
        ("two apart, best first", [first, far], [0.2, 0.8]),
        ("a suppressed box suppresses none", chain, [0.9, 0.8, 0.7]),
        ("an IoU of exactly the threshold stays", [first, [0.0, 0, 10, 5]], [0.9, 0.8]),
        ("no boxes", [], []),
    ):
        yield Case(title, (torch.tensor(boxes).view(-1, 4), torch.tensor(scores), 0.5))


nms.mistake(
    "You went through the boxes as they stand. The order is that of the scores, the best first."
)(lambda b, s, t: _nms(b, s, t, by_score=False))
nms.mistake(
    "The right boxes stay, but they come in the order of the input. Return them best first."
)(lambda b, s, t: _nms(b, s, t, in_order=False))
nms.mistake(
    "A box was dropped for its overlap with a box that had been dropped itself. Compare with the "
    "kept ones only."
)(lambda b, s, t: _nms(b, s, t, dropped_suppress=True))
nms.mistake("An IoU of exactly the threshold does not suppress: it has to be larger.")(
    lambda b, s, t: _nms(b, s, t, or_equal=True)
)

EXERCISES = (iou, anchor, anchor_labels, decode, nms)
