"""Exercises of chapter 04: levels, reading between cells, RoIAlign, scores, pasting."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from pfpn.course.check import Case, Exercise

level_of_box = Exercise(
    name="04.level_of_box",
    task="Return the level, 2 to 5, from which a box of this width and height is pooled.",
    difficulty=1,
    minutes=10,
    hints=(
        "Start from the canonical box: 224 pixels, level 4. What does the logarithm have to give "
        "there, and what at 112 and 448?",
        "Floor first, then no lower than 2 and no higher than 5.",
    ),
)


def _clamp(level: float) -> int:
    return min(max(math.floor(level), 2), 5)


def _level(side: float) -> float:
    """Return the level of a square of this side, before it is rounded and clamped."""
    return 4 + math.log2(side / 224)


@level_of_box.answer
def _level_of_box(width: float, height: float) -> int:
    return _clamp(_level(math.sqrt(width * height)))


@level_of_box.examples
def _level_cases() -> Iterator[Case]:
    yield Case("the canonical size goes to p4", (224.0, 224.0))
    yield Case("half the side, one level down", (112.0, 112.0))
    yield Case("twice the side, one level up", (448.0, 448.0))
    yield Case("a pixel short of the canonical size", (223.0, 223.0))
    yield Case("long and flat: the area decides", (400.0, 100.0))
    yield Case("a small box still goes to p2", (10.0, 10.0))
    yield Case("a huge box still goes to p5", (2000.0, 2000.0))


level_of_box.mistake(
    "You took the area; the rule takes its square root, the side of a square of that area."
)(lambda w, h: _clamp(_level(w * h)))
level_of_box.mistake("That is the natural logarithm. Levels double, so the logarithm has base 2.")(
    lambda w, h: _clamp(4 + math.log(math.sqrt(w * h) / 224))
)
level_of_box.mistake(
    "You rounded to the nearest level. The rule takes the floor: a box moves up once it has really "
    "doubled."
)(lambda w, h: _clamp(round(_level(math.sqrt(w * h)))))
level_of_box.mistake("You took the longer side. A long flat box counts by its area.")(
    lambda w, h: _clamp(_level(max(w, h)))
)
level_of_box.mistake(
    "There is no such level to pool from: p2 is the finest, p5 the coarsest. Clamp."
)(lambda w, h: math.floor(_level(math.sqrt(w * h))))


bilinear = Exercise(
    name="04.bilinear",
    task="Read a map (h, w) between its cells' centers at row y, column x.",
    difficulty=2,
    minutes=15,
    hints=(
        "First read along the upper row, then along the lower row, then between the two results.",
        "With down = y - int(y), the upper row weighs 1 - down: the nearer row counts more. On the "
        "last row there is no row below; take the last one again.",
    ),
)


@bilinear.answer
def _bilinear(values: Tensor, y: float, x: float, *, swap_weights: bool = False) -> float:
    height, width = values.shape
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    down, across = y - top, x - left
    if swap_weights:
        down, across = 1 - down, 1 - across
    upper = (1 - across) * values[top, left] + across * values[top, right]
    lower = (1 - across) * values[bottom, left] + across * values[bottom, right]
    return float((1 - down) * upper + down * lower)


@bilinear.examples
def _bilinear_cases() -> Iterator[Case]:
    values = torch.tensor([[0.0, 10.0, 30.0], [20.0, 40.0, 70.0]])
    yield Case("at the center of a cell", (values, 0.0, 1.0))
    yield Case("a quarter of the way right", (values, 0.0, 0.25))
    yield Case("a quarter of the way down", (values, 0.25, 0.0))
    yield Case("between four centers", (values, 0.75, 1.25))
    yield Case("on the last row and column", (values, 1.0, 2.0))


@bilinear.mistake("Rows and columns are swapped: y counts rows, the first index.")
def _columns_first(values: Tensor, y: float, x: float) -> float:
    inside = x <= values.shape[1] - 1 and y <= values.shape[0] - 1
    return _bilinear(values.T, y, x) if inside else math.nan


@bilinear.mistake(
    "That is the mean of four cells, wherever the point lies. The nearer cell has to count more."
)
def _plain_mean(values: Tensor, y: float, x: float) -> float:
    top, left = int(y), int(x)
    return float(values[top : top + 2, left : left + 2].mean())


bilinear.mistake(
    "The weights are the wrong way round: a point on the upper row must not depend on the lower "
    "one, so the upper row weighs 1 - down."
)(lambda values, y, x: _bilinear(values, y, x, swap_weights=True))


@bilinear.mistake(
    "That is the nearest cell: the value jumps where the point crosses the middle. Mix the four "
    "cells around it."
)
def _nearest(values: Tensor, y: float, x: float) -> float:
    return float(values[math.floor(y + 0.5), math.floor(x + 0.5)])


roi_align = Exercise(
    name="04.roi_align",
    task="Pool a box (pixels) from a map (c, h, w) of a stride into bins x bins, 2 x 2 samples a "
    "bin.",
    difficulty=3,
    minutes=30,
    hints=(
        "Four loops: bin row, bin column, sample row, sample column. Of two samples in a bin, one "
        "lies a quarter into it, one three quarters.",
        "Bin row i begins at the fraction i / bins of the box's height; sample u (0 or 1) lies "
        "(u + 0.5) / 2 of a bin further down. Then from pixels to an index: the center of cell 0 "
        "lies half a cell into the map. Last, the mean of the four reads.",
    ),
)


def _read(features: Tensor, y: float, x: float) -> Tensor:
    """Read (c, h, w) at an index; beyond the outer centers the rim goes on."""
    height, width = features.shape[1:]
    y, x = min(max(y, 0.0), height - 1), min(max(x, 0.0), width - 1)
    return torch.tensor([_bilinear(channel, y, x) for channel in features])


@roi_align.answer
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
    x0, y0, x1, y1 = (math.floor(v / stride + 0.5) if rounded else v / stride for v in box)
    pooled = torch.zeros(len(features), bins, bins)
    for i in range(bins):
        for j in range(bins):
            for u in range(2):
                for v in range(2):
                    y = y0 + (y1 - y0) * (i + (u + offset) / 2) / bins - half
                    x = x0 + (x1 - x0) * (j + (v + offset) / 2) / bins - half
                    pooled[:, i, j] += _read(features, y, x) / (1 if total else 4)
    return pooled.transpose(1, 2) if turned else pooled


@roi_align.examples
def _roi_align_cases() -> Iterator[Case]:
    along_x = torch.arange(8.0).expand(1, 6, 8).clone()
    along_y = torch.arange(6.0)[:, None].expand(1, 6, 8).clone()
    both = torch.cat([(torch.arange(48.0).view(1, 6, 8) * 7) % 11, along_x])
    yield Case("a constant map", (torch.full((1, 4, 4), 3.0), (4.0, 4.0, 12.0, 12.0), 4, 2))
    yield Case("two cells by two, one bin", (along_x, (8.0, 8.0, 24.0, 24.0), 8, 1))
    yield Case("four columns, two bins a side", (along_x, (8.0, 8.0, 40.0, 40.0), 8, 2))
    yield Case("a box between the cells", (along_y, (10.0, 13.0, 37.0, 30.0), 8, 2))
    yield Case("two channels", (both, (9.0, 5.0, 50.0, 41.0), 8, 3))


roi_align.mistake("You added the samples up. A bin is their mean.")(
    lambda f, b, s, n: _roi_align(f, b, s, n, total=True)
)
roi_align.mistake(
    "The half pixel is missing: a cell's center lies at index + 0.5, so subtract 0.5 from the "
    "position in cells."
)(lambda f, b, s, n: _roi_align(f, b, s, n, half=0.0))
roi_align.mistake(
    "Your samples stand at the bins' corners: u / 2 of the way. Put them in the middle of their "
    "quarters: (u + 0.5) / 2."
)(lambda f, b, s, n: _roi_align(f, b, s, n, offset=0.0))
roi_align.mistake("Rows and columns of the bins are swapped: the first index goes down.")(
    lambda f, b, s, n: _roi_align(f, b, s, n, turned=True)
)
roi_align.mistake(
    "You rounded the box to whole cells. That is RoIPool's error, the one that RoIAlign was made "
    "to avoid."
)(lambda f, b, s, n: _roi_align(f, b, s, n, rounded=True))


confident_pairs = Exercise(
    name="04.confident_pairs",
    task="From class logits (n, T + 1), background last, return the (proposal, label) pairs above "
    "a score, best first.",
    difficulty=2,
    minutes=15,
    hints=(
        "Softmax over all T + 1 columns first; only then leave the last column out.",
        "Every pair above the score counts: a proposal may give several labels, or none.",
    ),
)


def _pairs(probs: Tensor, min_score: float) -> list[tuple[int, int]]:
    """Return the (row, column) pairs above a score, best first."""
    row, column = (probs > min_score).nonzero(as_tuple=True)
    order = probs[row, column].argsort(descending=True, stable=True)
    return list(zip(row[order].tolist(), column[order].tolist(), strict=True))


@confident_pairs.answer
def _confident_pairs(logits: Tensor, min_score: float) -> list[tuple[int, int]]:
    return _pairs(logits.softmax(1)[:, :-1], min_score)


@confident_pairs.examples
def _pair_cases() -> Iterator[Case]:
    def case(title: str, *probs: list[float], min_score: float = 0.1) -> Case:
        return Case(title, (torch.tensor(probs).log(), min_score))

    yield case("a sure thing", [0.05, 0.9, 0.05])
    yield case("a sure nothing", [0.04, 0.06, 0.9])
    outweighed = torch.tensor([[-4.0, -1.0, 2.0]])
    yield Case("a thing that background outweighs", (outweighed, 0.1))
    yield case("two classes for one proposal", [0.5, 0.4, 0.1], min_score=0.2)
    yield case("best first", [0.3, 0.01, 0.69], [0.02, 0.9, 0.08])
    yield Case("no proposal", (torch.zeros(0, 3), 0.1))


confident_pairs.mistake(
    "Background is the last column here: the labels that you returned are one off."
)(lambda logits, score: _pairs(logits.softmax(1)[:, 1:], score))
confident_pairs.mistake("You returned background as a detection. Leave the last column out.")(
    lambda logits, score: _pairs(logits.softmax(1), score)
)
confident_pairs.mistake(
    "You left background out before the softmax, so things have to share all of the probability. "
    "It takes part in the sum."
)(lambda logits, score: _pairs(logits[:, :-1].softmax(1), score))
confident_pairs.mistake(
    "Those are sigmoids, each class for itself. The classes exclude each other: softmax."
)(lambda logits, score: _pairs(logits.sigmoid()[:, :-1], score))


@confident_pairs.mistake(
    "You kept the best class of each proposal only. Two classes above the score make two pairs, "
    "and NMS works within a class."
)
def _best_class_alone(logits: Tensor, min_score: float) -> list[tuple[int, int]]:
    best = logits.argmax(dim=1).tolist()
    return [(i, k) for i, k in _confident_pairs(logits, min_score) if k == best[i]]


confident_pairs.mistake("The right pairs in the wrong order: the best score comes first.")(
    lambda logits, score: sorted(_confident_pairs(logits, score))
)


paste_mask = Exercise(
    name="04.paste_mask",
    task="Return the pixels (h, w) whose center reads 0.5 or more in a mask that spans a box; 0 "
    "outside of it.",
    difficulty=3,
    minutes=30,
    hints=(
        "Go through the pixels of the image, not through the bins of the mask. Where does the "
        "center of a pixel fall in the box, as a fraction of it?",
        "fraction * bins - 0.5 is the position between the bins' centers. Read there bilinearly, "
        "with a ring of zeros around the mask, and compare with 0.5.",
    ),
)


@paste_mask.answer
def _paste_mask(
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
    bins, read = len(probs), _nearest if nearest else _bilinear
    ringed = torch.zeros(bins + 2, bins + 2)
    ringed[1:-1, 1:-1] = probs.T if turned else probs
    mask = torch.zeros(size, dtype=torch.bool)
    for row in range(size[0]):
        for column in range(size[1]):
            y = (row + center - y0) / (y1 - y0) * bins - half
            x = (column + center - x0) / (x1 - x0) * bins - half
            if -1 <= y <= bins and -1 <= x <= bins:
                value = read(ringed, y + 1, x + 1)
                mask[row, column] = value > 0.5 if strict else value >= 0.5
    return mask


@paste_mask.examples
def _paste_cases() -> Iterator[Case]:
    full = torch.ones(2, 2)
    slope = torch.tensor([[0.0, 0.25, 0.5, 1.0]] * 4)
    blob = torch.tensor([[0.1, 0.9, 0.2], [0.8, 1.0, 0.4], [0.3, 0.6, 0.0]])
    yield Case("all inside a box of whole pixels", (full, (2.0, 1.0, 6.0, 5.0), (6, 8)))
    yield Case("a probability of exactly one half", (slope, (1.0, 1.0, 5.0, 5.0), (6, 6)))
    yield Case("a small mask, a larger box", (slope, (0.0, 1.0, 12.0, 6.0), (7, 12)))
    yield Case("a box between the pixels", (blob, (1.3, 0.8, 9.1, 6.4), (8, 10)))
    yield Case("a box that leaves the image", (blob, (-3.0, 2.0, 5.0, 9.0), (8, 6)))


paste_mask.mistake("You read at the pixels' corners. A pixel is read at its center: add 0.5.")(
    lambda p, b, s: _paste_mask(p, b, s, center=0.0)
)
paste_mask.mistake(
    "The bins' half is missing: the first bin has its center half a bin into the box, so subtract "
    "0.5 from the position in bins."
)(lambda p, b, s: _paste_mask(p, b, s, half=0.0))
paste_mask.mistake("A pixel that reads exactly 0.5 is inside.")(
    lambda p, b, s: _paste_mask(p, b, s, strict=True)
)
paste_mask.mistake(
    "You took the nearest bin, which leaves steps as large as the bins. Read between them."
)(lambda p, b, s: _paste_mask(p, b, s, nearest=True))
paste_mask.mistake("The mask came out mirrored on its diagonal: its first index goes down.")(
    lambda p, b, s: _paste_mask(p, b, s, turned=True)
)

EXERCISES = (level_of_box, bilinear, roi_align, confident_pairs, paste_mask)
