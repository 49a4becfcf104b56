"""Exercises of chapter 04: levels, reading between cells, RoIAlign, scores, pasting."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pfpn.course.check import Case, Exercise, Mistake

# 4.1 the level of a box -------------------------------------------------------------------------


def _clamp(level: int) -> int:
    return min(max(level, 2), 5)


def _level(width: float, height: float) -> int:
    return _clamp(math.floor(4 + math.log2(math.sqrt(width * height) / 224)))


def _level_cases() -> list[Case]:
    return [
        Case("the canonical size goes to p4", (224.0, 224.0)),
        Case("half the side, one level down", (112.0, 112.0)),
        Case("twice the side, one level up", (448.0, 448.0)),
        Case("a pixel short of the canonical size", (223.0, 223.0)),
        Case("long and flat: the area decides", (400.0, 100.0)),
        Case("a small box still goes to p2", (10.0, 10.0)),
        Case("a huge box still goes to p5", (2000.0, 2000.0)),
    ]


# 4.2 bilinear reading ---------------------------------------------------------------------------


def _bilinear(values: Tensor, y: float, x: float) -> float:
    height, width = values.shape
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    down, across = y - top, x - left
    upper = (1 - across) * values[top, left] + across * values[top, right]
    lower = (1 - across) * values[bottom, left] + across * values[bottom, right]
    return float((1 - down) * upper + down * lower)


def _bilinear_reversed(values: Tensor, y: float, x: float) -> float:
    height, width = values.shape
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    down, across = y - top, x - left
    upper = across * values[top, left] + (1 - across) * values[top, right]
    lower = across * values[bottom, left] + (1 - across) * values[bottom, right]
    return float(down * upper + (1 - down) * lower)


def _nearest(values: Tensor, y: float, x: float) -> float:
    return float(values[math.floor(y + 0.5), math.floor(x + 0.5)])


def _plain_mean(values: Tensor, y: float, x: float) -> float:
    top, left = int(y), int(x)
    return float(values[top : top + 2, left : left + 2].mean())


def _bilinear_cases() -> list[Case]:
    values = torch.tensor([[0.0, 10.0, 30.0], [20.0, 40.0, 70.0]])
    return [
        Case("at the center of a cell", (values, 0.0, 1.0)),
        Case("a quarter of the way right", (values, 0.0, 0.25)),
        Case("a quarter of the way down", (values, 0.25, 0.0)),
        Case("between four centers", (values, 0.75, 1.25)),
        Case("on the last row and column", (values, 1.0, 2.0)),
    ]


# 4.3 RoIAlign -----------------------------------------------------------------------------------


def _read(features: Tensor, y: float, x: float) -> Tensor:
    """Read (c, h, w) at an index; beyond the outer centers the rim goes on."""
    height, width = features.shape[1:]
    y, x = min(max(y, 0.0), height - 1), min(max(x, 0.0), width - 1)
    values = [_bilinear(channel, y, x) for channel in features]
    return torch.tensor(values)


def _roi_align(
    features: Tensor,
    box: Sequence[float],
    stride: int,
    bins: int,
    *,
    half: float = 0.5,
    rounded: bool = False,
    offset: float = 0.5,
    total: bool = False,
    turned: bool = False,
) -> Tensor:
    x0, y0, x1, y1 = (v / stride for v in box)
    if rounded:
        x0, y0, x1, y1 = (float(math.floor(v + 0.5)) for v in (x0, y0, x1, y1))
    pooled = torch.zeros(len(features), bins, bins)
    for i in range(bins):
        for j in range(bins):
            for u in range(2):
                for v in range(2):
                    y = y0 + (y1 - y0) * (i + (u + offset) / 2) / bins - half
                    x = x0 + (x1 - x0) * (j + (v + offset) / 2) / bins - half
                    pooled[:, i, j] += _read(features, y, x) / (1 if total else 4)
    return pooled.transpose(1, 2) if turned else pooled


def _roi_align_cases() -> list[Case]:
    along_x = torch.arange(8.0).expand(1, 6, 8).clone()
    along_y = torch.arange(6.0)[:, None].expand(1, 6, 8).clone()
    uneven = (torch.arange(48.0).view(1, 6, 8) * 7) % 11
    return [
        Case("a constant map", (torch.full((1, 4, 4), 3.0), (4.0, 4.0, 12.0, 12.0), 4, 2)),
        Case("two cells by two, one bin", (along_x, (8.0, 8.0, 24.0, 24.0), 8, 1)),
        Case("four columns, two bins a side", (along_x, (8.0, 8.0, 40.0, 40.0), 8, 2)),
        Case("a box between the cells", (along_y, (10.0, 13.0, 37.0, 30.0), 8, 2)),
        Case("two channels", (torch.cat([uneven, along_x]), (9.0, 5.0, 50.0, 41.0), 8, 3)),
    ]


# 4.4 scores of (proposal, class) pairs ----------------------------------------------------------


def _pairs(
    probs: Tensor, min_score: float, *, first: int = 0, num: int | None = None
) -> list[tuple[int, int]]:
    count = probs.shape[1] if num is None else num
    found = [
        (float(probs[i, k + first]), i, k)
        for i in range(len(probs))
        for k in range(count)
        if probs[i, k + first] > min_score
    ]
    return [(i, k) for _, i, k in sorted(found, key=lambda entry: -entry[0])]


def _confident(logits: Tensor, min_score: float) -> list[tuple[int, int]]:
    return _pairs(logits.softmax(1)[:, :-1], min_score)


def _one_each(logits: Tensor, min_score: float) -> list[tuple[int, int]]:
    probs = logits.softmax(1)
    best, label = probs.max(dim=1)
    rows = [
        (i, int(label[i]))
        for i in best.argsort(descending=True, stable=True).tolist()
        if best[i] > min_score and label[i] < probs.shape[1] - 1
    ]
    return rows


def _unsorted(logits: Tensor, min_score: float) -> list[tuple[int, int]]:
    return sorted(_confident(logits, min_score))


def _pair_cases() -> list[Case]:
    log = torch.log
    return [
        Case("a sure thing", (log(torch.tensor([[0.05, 0.9, 0.05]])), 0.1)),
        Case("a sure nothing", (log(torch.tensor([[0.04, 0.06, 0.9]])), 0.1)),
        Case("a thing that background outweighs", (torch.tensor([[-4.0, -1.0, 2.0]]), 0.1)),
        Case("two classes for one proposal", (log(torch.tensor([[0.5, 0.4, 0.1]])), 0.2)),
        Case("best first", (log(torch.tensor([[0.3, 0.01, 0.69], [0.02, 0.9, 0.08]])), 0.1)),
        Case("no proposal", (torch.zeros(0, 3), 0.1)),
    ]


# 4.5 pasting ------------------------------------------------------------------------------------


def _paste(
    probs: Tensor,
    box: Sequence[float],
    size: tuple[int, int],
    *,
    center: float = 0.5,
    half: float = 0.5,
    nearest: bool = False,
    strict: bool = False,
    turned: bool = False,
) -> Tensor:
    x0, y0, x1, y1 = box
    bins = len(probs)
    ringed = torch.zeros(bins + 2, bins + 2)
    ringed[1:-1, 1:-1] = probs.T if turned else probs
    mask = torch.zeros(size, dtype=torch.bool)
    for row in range(size[0]):
        for column in range(size[1]):
            y = (row + center - y0) / (y1 - y0) * bins - half
            x = (column + center - x0) / (x1 - x0) * bins - half
            if -1 <= y <= bins and -1 <= x <= bins:
                read = _nearest if nearest else _bilinear
                value = read(ringed, y + 1, x + 1)
                mask[row, column] = value > 0.5 if strict else value >= 0.5
    return mask


def _paste_cases() -> list[Case]:
    full = torch.ones(2, 2)
    slope = torch.tensor([[0.0, 0.25, 0.5, 1.0]] * 4)
    blob = torch.tensor([[0.1, 0.9, 0.2], [0.8, 1.0, 0.4], [0.3, 0.6, 0.0]])
    return [
        Case("all inside a box of whole pixels", (full, (2.0, 1.0, 6.0, 5.0), (6, 8))),
        Case("a probability of exactly one half", (slope, (1.0, 1.0, 5.0, 5.0), (6, 6))),
        Case("a small mask, a larger box", (slope, (0.0, 1.0, 12.0, 6.0), (7, 12))),
        Case("a box between the pixels", (blob, (1.3, 0.8, 9.1, 6.4), (8, 10))),
        Case("a box that leaves the image", (blob, (-3.0, 2.0, 5.0, 9.0), (8, 6))),
    ]


EXERCISES = (
    Exercise(
        name="04.level_of_box",
        task="Return the level, 2 to 5, from which a box of this width and height is pooled.",
        difficulty=1,
        minutes=10,
        hints=(
            "Start from the canonical box: 224 pixels, level 4. What does the logarithm have to "
            "give there, and what at 112 and 448?",
            "Floor first, then no lower than 2 and no higher than 5.",
        ),
        reference=_level,
        cases=_level_cases,
        mistakes=(
            Mistake(
                "You took the area; the rule takes its square root, the side of a square of that "
                "area.",
                lambda w, h: _clamp(math.floor(4 + math.log2(w * h / 224))),
            ),
            Mistake(
                "That is the natural logarithm. Levels double, so the logarithm has base 2.",
                lambda w, h: _clamp(math.floor(4 + math.log(math.sqrt(w * h) / 224))),
            ),
            Mistake(
                "You rounded to the nearest level. The rule takes the floor: a box moves up once "
                "it has really doubled.",
                lambda w, h: _clamp(round(4 + math.log2(math.sqrt(w * h) / 224))),
            ),
            Mistake(
                "You took the longer side. A long flat box counts by its area.",
                lambda w, h: _clamp(math.floor(4 + math.log2(max(w, h) / 224))),
            ),
            Mistake(
                "There is no such level to pool from: p2 is the finest, p5 the coarsest. Clamp.",
                lambda w, h: math.floor(4 + math.log2(math.sqrt(w * h) / 224)),
            ),
        ),
    ),
    Exercise(
        name="04.bilinear",
        task="Read a map (h, w) between its cells' centers at row y, column x.",
        difficulty=2,
        minutes=15,
        hints=(
            "First read along the upper row, then along the lower row, then between the two "
            "results.",
            "With down = y - int(y), the upper row weighs 1 - down: the nearer row counts more. "
            "On the last row there is no row below; take the last one again.",
        ),
        reference=_bilinear,
        cases=_bilinear_cases,
        mistakes=(
            Mistake(
                "Rows and columns are swapped: y counts rows, the first index.",
                lambda values, y, x: (
                    _bilinear(values.T, y, x)
                    if x <= values.shape[1] - 1 and y <= values.shape[0] - 1
                    else math.nan
                ),
            ),
            Mistake(
                "That is the mean of four cells, wherever the point lies. The nearer cell has to "
                "count more.",
                _plain_mean,
            ),
            Mistake(
                "The weights are the wrong way round: a point on the upper row must not feel the "
                "lower one, so the upper row weighs 1 - down.",
                _bilinear_reversed,
            ),
            Mistake(
                "That is the nearest cell: the value jumps where the point crosses the middle. Mix "
                "the four cells around it.",
                _nearest,
            ),
        ),
    ),
    Exercise(
        name="04.confident_pairs",
        task="From class logits (n, T + 1), background last, return the (proposal, label) pairs "
        "above a score, best first.",
        difficulty=2,
        minutes=15,
        hints=(
            "Softmax over all T + 1 columns first; only then leave the last column out.",
            "Every pair above the score counts: a proposal may give several labels, or none.",
        ),
        reference=_confident,
        cases=_pair_cases,
        mistakes=(
            Mistake(
                "Background is the last column here: the labels that you returned are one off.",
                lambda logits, score: _pairs(logits.softmax(1)[:, 1:], score),
            ),
            Mistake(
                "You returned background as a detection. Leave the last column out.",
                lambda logits, score: _pairs(logits.softmax(1), score),
            ),
            Mistake(
                "You left background out before the softmax, so things have to share all of the "
                "probability. It takes part in the sum.",
                lambda logits, score: _pairs(logits[:, :-1].softmax(1), score),
            ),
            Mistake(
                "Those are sigmoids, each class for itself. The classes exclude each other: "
                "softmax.",
                lambda logits, score: _pairs(logits.sigmoid()[:, :-1], score),
            ),
            Mistake(
                "You kept the best class of each proposal only. Two classes above the score make "
                "two pairs, and NMS works within a class.",
                _one_each,
            ),
            Mistake(
                "The right pairs in the wrong order: the best score comes first.",
                _unsorted,
            ),
        ),
    ),
    Exercise(
        name="04.roi_align",
        task="Pool a box (pixels) from a map (c, h, w) of a stride into bins x bins, 2 x 2 samples "
        "a bin.",
        difficulty=3,
        minutes=30,
        hints=(
            "Four loops: bin row, bin column, sample row, sample column. Of two samples in a bin, "
            "one lies a quarter into it, one three quarters.",
            "Bin row i begins at the share i / bins of the box's height; sample u (0 or 1) lies "
            "(u + 0.5) / 2 of a bin further down. Then from pixels to an index: the center of "
            "cell 0 lies half a cell into the map. Last, the mean of the four reads.",
        ),
        reference=_roi_align,
        cases=_roi_align_cases,
        mistakes=(
            Mistake(
                "You added the samples up. A bin is their mean.",
                lambda f, b, s, n: _roi_align(f, b, s, n, total=True),
            ),
            Mistake(
                "The half pixel is missing: a cell's center lies at index + 0.5, so subtract 0.5 "
                "from the position in cells.",
                lambda f, b, s, n: _roi_align(f, b, s, n, half=0.0),
            ),
            Mistake(
                "Your samples stand at the bins' corners: u / 2 of the way. Put them in the middle "
                "of their quarters: (u + 0.5) / 2.",
                lambda f, b, s, n: _roi_align(f, b, s, n, offset=0.0),
            ),
            Mistake(
                "Rows and columns of the bins are swapped: the first index goes down.",
                lambda f, b, s, n: _roi_align(f, b, s, n, turned=True),
            ),
            Mistake(
                "You rounded the box to whole cells. That is RoIPool's error, the one that "
                "RoIAlign was made to avoid.",
                lambda f, b, s, n: _roi_align(f, b, s, n, rounded=True),
            ),
        ),
    ),
    Exercise(
        name="04.paste_mask",
        task="Return the pixels (h, w) whose center reads 0.5 or more in a mask that spans a box; "
        "0 outside of it.",
        difficulty=3,
        minutes=30,
        hints=(
            "Go through the pixels of the image, not through the bins of the mask. Where does the "
            "center of a pixel fall in the box, as a share of it?",
            "share * bins - 0.5 is the position between the bins' centers. Read there bilinearly, "
            "with a ring of zeros around the mask, and compare with 0.5.",
        ),
        reference=_paste,
        cases=_paste_cases,
        mistakes=(
            Mistake(
                "You read at the pixels' corners. A pixel is asked at its center: add 0.5.",
                lambda p, b, s: _paste(p, b, s, center=0.0),
            ),
            Mistake(
                "The bins' half is missing: the first bin has its center half a bin into the box, "
                "so subtract 0.5 from the position in bins.",
                lambda p, b, s: _paste(p, b, s, half=0.0),
            ),
            Mistake(
                "A pixel that reads exactly 0.5 is inside.",
                lambda p, b, s: _paste(p, b, s, strict=True),
            ),
            Mistake(
                "You took the nearest bin, which leaves stairs as large as the bins. Read between "
                "them.",
                lambda p, b, s: _paste(p, b, s, nearest=True),
            ),
            Mistake(
                "The mask came out mirrored on its diagonal: its first index goes down.",
                lambda p, b, s: _paste(p, b, s, turned=True),
            ),
        ),
    ),
)
