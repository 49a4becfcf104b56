"""Exercises of chapter 03: boxes, anchors, matching, coding, suppression."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pfpn.boxes import MAX_LOG_SCALE
from pfpn.course.check import Case, Exercise, Mistake

Box = Sequence[float]


# 3.1 IoU ----------------------------------------------------------------------------------------


def _sides(a: Box, b: Box) -> tuple[float, float]:
    return min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _iou(a: Box, b: Box) -> float:
    width, height = _sides(a, b)
    shared = max(width, 0.0) * max(height, 0.0)
    return shared / (_area(a) + _area(b) - shared) if shared > 0 else 0.0


def _iou_counted_twice(a: Box, b: Box) -> float:
    width, height = _sides(a, b)
    return max(width, 0.0) * max(height, 0.0) / (_area(a) + _area(b))


def _iou_of_the_smaller(a: Box, b: Box) -> float:
    width, height = _sides(a, b)
    return max(width, 0.0) * max(height, 0.0) / min(_area(a), _area(b))


def _iou_one_more(a: Box, b: Box) -> float:
    width, height = (max(side + 1, 0.0) for side in _sides(a, b))
    first, second = ((box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b))
    return width * height / (first + second - width * height)


def _iou_negative(a: Box, b: Box) -> float:
    width, height = _sides(a, b)
    return width * height / (_area(a) + _area(b) - width * height)


def _iou_clamped_late(a: Box, b: Box) -> float:
    width, height = _sides(a, b)
    shared = max(width * height, 0.0)
    return shared / (_area(a) + _area(b) - shared)


def _iou_cases() -> list[Case]:
    return [
        Case("a box with itself", ((0.0, 0.0, 4.0, 2.0), (0.0, 0.0, 4.0, 2.0))),
        Case("a box with its left half", ((0.0, 0.0, 4.0, 2.0), (0.0, 0.0, 2.0, 2.0))),
        Case("two squares that share a corner", ((0.0, 0.0, 2.0, 2.0), (1.0, 1.0, 3.0, 3.0))),
        Case("boxes that touch share nothing", ((0.0, 0.0, 2.0, 2.0), (2.0, 0.0, 4.0, 2.0))),
        Case("boxes side by side", ((0.0, 0.0, 2.0, 2.0), (5.0, 0.0, 7.0, 2.0))),
        Case("boxes apart in both axes", ((0.0, 0.0, 2.0, 2.0), (5.0, 5.0, 7.0, 7.0))),
    ]


# 3.2 an anchor ----------------------------------------------------------------------------------


def _around(x: float, y: float, width: float, height: float) -> tuple[float, ...]:
    return (x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def _anchor(x: float, y: float, side: float, ratio: float) -> tuple[float, ...]:
    return _around(x, y, side / math.sqrt(ratio), side * math.sqrt(ratio))


def _anchor_cases() -> list[Case]:
    return [
        Case("a square around the origin", (0.0, 0.0, 8.0, 1.0)),
        Case("a square around (20, 12)", (20.0, 12.0, 8.0, 1.0)),
        Case("four times as high as wide, same area", (0.0, 0.0, 8.0, 4.0)),
        Case("half as high as wide", (10.0, 30.0, 16.0, 0.5)),
    ]


# 3.3 verdicts -----------------------------------------------------------------------------------


def _verdicts(
    overlaps: Tensor,
    low: float,
    high: float,
    *,
    between: int = -1,
    strict: bool = False,
    keep: str = "attains",
) -> Tensor:
    if overlaps.shape[1] == 0:
        return torch.zeros(len(overlaps), dtype=torch.int64)
    best = overlaps.max(dim=1).values
    verdict = torch.full((len(overlaps),), between)
    verdict[best < low] = 0
    verdict[best > high if strict else best >= high] = 1
    of_truth = overlaps.max(dim=0).values
    if keep == "attains":
        verdict[((overlaps == of_truth) & (of_truth > 0)).any(dim=1)] = 1
    elif keep == "first":
        verdict[overlaps.argmax(dim=0)[of_truth > 0]] = 1
    elif keep == "even nothing":
        verdict[(overlaps == of_truth).any(dim=1)] = 1
    return verdict


def _verdict_cases() -> list[Case]:
    limits = (0.25, 0.75)
    return [
        Case("one truth, clear cases", (torch.tensor([[0.9], [0.5], [0.1]]), *limits)),
        Case("exactly at the limits", (torch.tensor([[0.875], [0.75], [0.25]]), *limits)),
        Case("no anchor reaches the upper limit", (torch.tensor([[0.1], [0.4], [0.2]]), *limits)),
        Case("two anchors tie for a truth", (torch.tensor([[0.4], [0.4], [0.2]]), *limits)),
        Case("two truths", (torch.tensor([[0.9, 0.0], [0.5, 0.2], [0.1, 0.0]]), *limits)),
        Case("a truth that no anchor touches", (torch.tensor([[0.8, 0.0], [0.1, 0.0]]), *limits)),
    ]


# 3.4 decode -------------------------------------------------------------------------------------


def _decode(
    delta: Tensor,
    box: Tensor,
    *,
    in_pixels: bool = False,
    grow: Callable[[Tensor], Tensor] = torch.exp,
    low: float | None = None,
    high: float | None = MAX_LOG_SCALE,
    from_corner: bool = False,
) -> Tensor:
    size = box[2:] - box[:2]
    shift = delta[:2] if in_pixels else delta[:2] * size
    log_scale = delta[2:] if low is None and high is None else delta[2:].clamp(low, high)
    new_size = size * grow(log_scale)
    if from_corner:
        corner = box[:2] + shift
        return torch.cat([corner, corner + new_size])
    center = box[:2] + size / 2 + shift
    return torch.cat([center - new_size / 2, center + new_size / 2])


def _decode_cases() -> list[Case]:
    box = torch.tensor([10.0, 20.0, 30.0, 60.0])  # 20 wide, 40 high
    return [
        Case("no delta, no change", (torch.zeros(4), box)),
        Case("half its width right", (torch.tensor([0.5, 0.0, 0.0, 0.0]), box)),
        Case("twice as wide", (torch.tensor([0.0, 0.0, math.log(2), 0.0]), box)),
        Case("all at once", (torch.tensor([0.1, -0.2, 0.3, -0.4]), box)),
        Case("a tenth of a thousandth of its height", (torch.tensor([0, 0, 0, -9.0]), box)),
        Case("growth without bounds is cut", (torch.tensor([0.0, 0.0, 40.0, 0.0]), box)),
    ]


# 3.5 non-maximum suppression --------------------------------------------------------------------


def _nms(
    boxes: Tensor,
    scores: Tensor,
    threshold: float,
    *,
    by_score: bool = True,
    dead_suppress: bool = False,
    or_equal: bool = False,
    in_order: bool = True,
) -> list[int]:
    values = scores.tolist()
    order = sorted(range(len(values)), key=lambda i: -values[i]) if by_score else range(len(values))
    kept: list[int] = []
    seen: list[int] = []
    for i in order:
        rivals = seen if dead_suppress else kept
        overlaps = [_iou(boxes[i].tolist(), boxes[j].tolist()) for j in rivals]
        if not any(o > threshold or (or_equal and o == threshold) for o in overlaps):
            kept.append(i)
        seen.append(i)
    return kept if in_order else sorted(kept)


def _nms_cases() -> list[Case]:
    def case(title: str, boxes: list[list[float]], scores: list[float]) -> Case:
        return Case(title, (torch.tensor(boxes).view(-1, 4), torch.tensor(scores), 0.5))

    first, near, far = [0.0, 0, 10, 10], [0.0, 0, 10, 9], [40.0, 40, 50, 50]
    # Each overlaps its neighbor with 2/3, the outer two with 3/7.
    chain = [[0.0, 0, 10, 10], [2.0, 0, 12, 10], [4.0, 0, 14, 10]]
    return [
        case("one box stays", [first], [0.3]),
        case("of two near ones the better", [first, near], [0.9, 0.6]),
        case("... wherever it stands", [first, near], [0.6, 0.9]),
        case("two apart, best first", [first, far], [0.2, 0.8]),
        case("who is suppressed suppresses nobody", chain, [0.9, 0.8, 0.7]),
        case("an IoU of exactly the threshold stays", [first, [0.0, 0, 10, 5]], [0.9, 0.8]),
        case("no boxes", [], []),
    ]


EXERCISES = (
    Exercise(
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
        reference=_iou,
        cases=_iou_cases,
        mistakes=(
            Mistake(
                "You divided by the sum of both areas. The intersection is in both of them and "
                "counts once in the union: take it away once.",
                _iou_counted_twice,
            ),
            Mistake(
                "You divided by the smaller area. Then a small box inside a large one scores 1; "
                "the union asks both to agree.",
                _iou_of_the_smaller,
            ),
            Mistake(
                "You counted x1 - x0 + 1 pixels. Boxes are half-open here: x1 is the first column "
                "outside, so the width is x1 - x0.",
                _iou_one_more,
            ),
            Mistake(
                "Boxes that are apart gave a negative number: a side of the intersection is "
                "negative there. Let no side fall below 0.",
                _iou_negative,
            ),
            Mistake(
                "You let the product not fall below 0, but two negative sides make a positive "
                "product. Each side needs its own bound.",
                _iou_clamped_late,
            ),
        ),
    ),
    Exercise(
        name="03.anchor",
        task="Return the anchor (x0, y0, x1, y1) around (x, y) with area side squared and "
        "height / width = ratio.",
        difficulty=1,
        minutes=10,
        hints=(
            "Two conditions, two unknowns: width * height = side ** 2 and height / width = ratio. "
            "Put one into the other.",
            "Multiplying the conditions gives height ** 2 = side ** 2 * ratio. The width follows "
            "from either.",
        ),
        reference=_anchor,
        cases=_anchor_cases,
        mistakes=(
            Mistake(
                "Your anchor starts at (x, y). The point is its center: go half a width left and "
                "half a height up.",
                lambda x, y, side, ratio: (
                    x,
                    y,
                    x + side / math.sqrt(ratio),
                    y + side * math.sqrt(ratio),
                ),
            ),
            Mistake(
                "Your anchor is twice as large: you went a whole side from the center in each "
                "direction, half a side is enough.",
                lambda x, y, side, ratio: _around(
                    x, y, 2 * side / math.sqrt(ratio), 2 * side * math.sqrt(ratio)
                ),
            ),
            Mistake(
                "Width and height are swapped: the ratio is height / width, so 4 is a tall anchor.",
                lambda x, y, side, ratio: _anchor(x, y, side, 1 / ratio),
            ),
            Mistake(
                "You stretched the height by the ratio and left the width, so the area grew. Each "
                "side takes the root of the ratio.",
                lambda x, y, side, ratio: _around(x, y, side, side * ratio),
            ),
            Mistake(
                "The area is right, but the ratio came in squared: you multiplied one side by it "
                "and divided the other. Each takes the root.",
                lambda x, y, side, ratio: _around(x, y, side / ratio, side * ratio),
            ),
        ),
    ),
    Exercise(
        name="03.verdicts",
        task="Return 1 (foreground), 0 (background) or -1 (unsure) for each row of IoUs.",
        difficulty=2,
        minutes=15,
        hints=(
            "Begin with -1 everywhere. The best IoU of each row decides two of the three verdicts.",
            "Then go by columns: the best IoU of each truth. Every row that has exactly that value "
            "in that column becomes 1, unless the value is 0.",
        ),
        reference=_verdicts,
        cases=_verdict_cases,
        mistakes=(
            Mistake(
                "An IoU between the limits became background. It is neither: no loss asks it, its "
                "verdict is -1.",
                lambda o, low, high: _verdicts(o, low, high, between=0),
            ),
            Mistake(
                "An IoU of exactly the upper limit is foreground already: from `high` on.",
                lambda o, low, high: _verdicts(o, low, high, strict=True),
            ),
            Mistake(
                "The second rule is missing: the best anchor of each truth is foreground, however "
                "low its IoU. Else some things teach nothing.",
                lambda o, low, high: _verdicts(o, low, high, keep="none"),
            ),
            Mistake(
                "Two anchors tie for a truth, and argmax names one of them. Everyone who attains "
                "the truth's best IoU is foreground: compare with the maximum.",
                lambda o, low, high: _verdicts(o, low, high, keep="first"),
            ),
            Mistake(
                "A truth that no anchor touches has a best IoU of 0, and every anchor attains "
                "that. Such a truth must make nobody foreground.",
                lambda o, low, high: _verdicts(o, low, high, keep="even nothing"),
            ),
        ),
    ),
    Exercise(
        name="03.decode",
        task="Move and stretch a box by (dx, dy, dw, dh), growth cut at MAX_LOG_SCALE.",
        difficulty=2,
        minutes=15,
        hints=(
            "Work with center and size, not with corners. dx is a share of the width, dw the "
            "logarithm of the factor on the width.",
            "New size = size * exp(delta clamped from above); corners = new center minus and plus "
            "half of the new size.",
        ),
        reference=_decode,
        cases=_decode_cases,
        mistakes=(
            Mistake(
                "You moved by dx pixels. dx is a share of the box's width: multiply.",
                lambda delta, box: _decode(delta, box, in_pixels=True),
            ),
            Mistake(
                "You scaled the size by 1 + dw. dw is a logarithm: the factor is exp(dw).",
                lambda delta, box: _decode(delta, box, grow=lambda d: 1 + d),
            ),
            Mistake(
                "Your box grows from its corner. It has to keep its center: take half of the new "
                "size to either side.",
                lambda delta, box: _decode(delta, box, from_corner=True),
            ),
            Mistake(
                "You bounded shrinking too. Only growth is bounded: exp of a very negative number "
                "is a harmless 0, exp of a large one is infinite.",
                lambda delta, box: _decode(delta, box, low=-MAX_LOG_SCALE),
            ),
            Mistake(
                "exp of a large delta leaves all bounds. Cut the logarithm at MAX_LOG_SCALE first.",
                lambda delta, box: _decode(delta, box, high=None),
            ),
        ),
        tolerance=1e-4,
    ),
    Exercise(
        name="03.nms",
        task="Return the indices of the boxes that greedy suppression keeps, best first.",
        difficulty=3,
        minutes=20,
        hints=(
            "Go through the boxes from the best score to the worst and keep a list of those that "
            "stay.",
            "A box stays if its IoU with each box *kept so far* is at most the threshold. Boxes "
            "that were dropped do not matter any more.",
        ),
        reference=_nms,
        cases=_nms_cases,
        mistakes=(
            Mistake(
                "You went through the boxes as they stand. The order is that of the scores, the "
                "best first.",
                lambda b, s, t: _nms(b, s, t, by_score=False),
            ),
            Mistake(
                "The right boxes stay, but they come in the order of the input. Return them best "
                "first.",
                lambda b, s, t: _nms(b, s, t, in_order=False),
            ),
            Mistake(
                "A box was dropped for its overlap with a box that had been dropped itself. "
                "Compare with the kept ones only.",
                lambda b, s, t: _nms(b, s, t, dead_suppress=True),
            ),
            Mistake(
                "An IoU of exactly the threshold does not suppress: it has to be larger.",
                lambda b, s, t: _nms(b, s, t, or_equal=True),
            ),
        ),
    ),
)
