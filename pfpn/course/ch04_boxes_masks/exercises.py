"""Exercises of chapter 04: levels, reading between cells, RoIAlign, scores, pasting."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from pfpn.course.check import Case, Exercise
from pfpn.course.draw import Draw

level_of_box = Exercise(
    name="04.level_of_box",
    task="Return the level, 2 to 5, from which the features of a box of this width and height are "
    "pooled.",
    difficulty=1,
    minutes=10,
    hints=(
        "Start with the canonical box: 224 pixels, level 4. What must the logarithm be there, and "
        "what at 112 and 448 pixels?",
        "Round down first. Then make the level at least 2 and at most 5.",
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
    yield Case("one pixel below the canonical size", (223.0, 223.0))
    yield Case("long and flat: the area decides", (400.0, 100.0))
    yield Case("a small box goes to p2", (10.0, 10.0))
    yield Case("a huge box goes to p5", (2000.0, 2000.0))


@level_of_box.random
def _random_size(draw: Draw) -> tuple[float, float]:
    width = draw.pick(draw.number(1, 1200, 1), 112.0, 224.0, 448.0, 896.0)
    return width, draw.pick(draw.number(1, 1200, 1), width, 112.0, 224.0, 448.0)


level_of_box.mistake(
    "You took the area. The rule takes its square root: the side of a square of this area."
)(lambda w, h: _clamp(_level(w * h)))
level_of_box.mistake("That is the natural logarithm. Levels double, so the logarithm has base 2.")(
    lambda w, h: _clamp(4 + math.log(math.sqrt(w * h) / 224))
)
level_of_box.mistake(
    "You rounded to the nearest level. The rule rounds down: a box goes one level up only when its "
    "side has doubled."
)(lambda w, h: _clamp(round(_level(math.sqrt(w * h)))))
level_of_box.mistake("You rounded up. The rule rounds down.")(
    lambda w, h: _clamp(math.ceil(_level(math.sqrt(w * h))))
)
level_of_box.mistake("You took the longer side. The rule takes the square root of the area.")(
    lambda w, h: _clamp(_level(max(w, h)))
)
level_of_box.mistake(
    "There is no such level. p2 is the finest one and p5 the coarsest one: clamp to 2 and 5."
)(lambda w, h: math.floor(_level(math.sqrt(w * h))))
level_of_box.mistake(
    "You took the mean of both sides. The rule takes the square root of the area, which is smaller "
    "for a long flat box."
)(lambda w, h: _clamp(_level((w + h) / 2)))


bilinear = Exercise(
    name="04.bilinear",
    task="Return the value of a map (h, w) at row y and column x, bilinearly between the centers "
    "of the cells.",
    difficulty=2,
    minutes=15,
    hints=(
        "First interpolate along the upper row, then along the lower row, then between the two "
        "results.",
        "With down = y - int(y), the upper row has the weight 1 - down: the nearer row counts "
        "more. Below the last row there is none; take the last one again.",
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


@bilinear.random
def _random_point(draw: Draw) -> tuple[Tensor, float, float]:
    height, width = draw.integer(1, 4), draw.integer(1, 4)
    y, x = draw.number(0, height - 1), draw.number(0, width - 1)
    return draw.tensor(height, width, low=0, high=20), y, x


@bilinear.mistake("Rows and columns are swapped. y is the row, the first index.")
def _columns_first(values: Tensor, y: float, x: float) -> float:
    inside = x <= values.shape[1] - 1 and y <= values.shape[0] - 1
    return _bilinear(values.T, y, x) if inside else math.nan


@bilinear.mistake(
    "That is the mean of the four cells, wherever the point lies. A nearer cell must count more."
)
def _plain_mean(values: Tensor, y: float, x: float) -> float:
    top, left = int(y), int(x)
    return float(values[top : top + 2, left : left + 2].mean())


bilinear.mistake(
    "The weights are swapped. A point on the upper row does not depend on the lower row, so the "
    "weight of the upper row is 1 - down."
)(lambda values, y, x: _bilinear(values, y, x, swap_weights=True))


@bilinear.mistake(
    "That is the value of the nearest cell. Use the four cells around the point, each with its "
    "weight."
)
def _nearest(values: Tensor, y: float, x: float) -> float:
    return float(values[math.floor(y + 0.5), math.floor(x + 0.5)])


roi_align = Exercise(
    name="04.roi_align",
    task="Pool a box (in pixels) from a map (c, h, w) with a stride into bins x bins values, each "
    "the mean of 2 x 2 samples.",
    difficulty=3,
    minutes=30,
    hints=(
        "Four loops: bin row, bin column, sample row, sample column. Of the two samples in a bin, "
        "one lies at one quarter of it, the other at three quarters.",
        "Bin row i begins at the fraction i / bins of the height of the box. Sample u (0 or 1) "
        "lies (u + 0.5) / 2 of a bin further down. Divide by the stride, and subtract 0.5, "
        "because the center of cell 0 lies half a cell inside the map. The bin is the mean of its "
        "four samples.",
    ),
)


def _read(features: Tensor, y: float, x: float) -> Tensor:
    """Read (c, h, w) at an index; beyond the outer centers the value at the border continues."""
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
    yield Case("a box that leaves the map by half a cell", (both, (-4.0, -3.0, 67.0, 52.0), 8, 3))


@roi_align.random
def _random_box(draw: Draw) -> tuple[Tensor, tuple[float, ...], int, int]:
    stride, bins = draw.pick(1, 2, 4, 8), draw.integer(1, 2)
    height, width = size = draw.integer(1, 3), draw.integer(1, 3)
    # Half a cell beyond the map at most: RoIAlign reads 0 farther out, which the task leaves out.
    x0, y0 = draw.number(-0.5, width - 0.5), draw.number(-0.5, height - 0.5)
    box = (x0, y0, draw.number(x0 + 0.25, width + 0.5), draw.number(y0 + 0.25, height + 0.5))
    return draw.tensor(draw.integer(1, 2), *size), tuple(stride * v for v in box), stride, bins


roi_align.mistake("You added the samples of a bin. Take their mean.")(
    lambda f, b, s, n: _roi_align(f, b, s, n, total=True)
)
roi_align.mistake(
    "The half cell is missing. The center of a cell lies at index + 0.5, so subtract 0.5 from the "
    "position in cells."
)(lambda f, b, s, n: _roi_align(f, b, s, n, half=0.0))
roi_align.mistake(
    "Your samples lie at u / 2 of a bin, which is at its corner. Put them into the middle of their "
    "quarters: at (u + 0.5) / 2."
)(lambda f, b, s, n: _roi_align(f, b, s, n, offset=0.0))
roi_align.mistake("Rows and columns of the bins are swapped. The first index counts rows.")(
    lambda f, b, s, n: _roi_align(f, b, s, n, turned=True)
)
roi_align.mistake(
    "You rounded the box to whole cells. RoIPool does that, and RoIAlign was made to avoid it."
)(lambda f, b, s, n: _roi_align(f, b, s, n, rounded=True))


confident_pairs = Exercise(
    name="04.confident_pairs",
    task="From class logits (n, T + 1), background last, return the pairs (proposal, label) whose "
    "probability is above min_score, best first.",
    difficulty=2,
    minutes=15,
    hints=(
        "Softmax over all T + 1 columns first. Leave the last column out afterwards.",
        "Every pair above min_score counts: a proposal may have several labels, or none.",
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

    yield case("surely a thing", [0.05, 0.9, 0.05])
    yield case("surely background", [0.04, 0.06, 0.9])
    outweighed = torch.tensor([[-4.0, -1.0, 2.0]])
    yield Case("a thing, but background is far more probable", (outweighed, 0.1))
    yield case("two classes for one proposal", [0.5, 0.4, 0.1], min_score=0.2)
    yield case("best first", [0.3, 0.01, 0.69], [0.02, 0.9, 0.08])
    yield Case("exactly min_score is not above it", (torch.zeros(1, 2), 0.5))
    yield Case("no proposal", (torch.zeros(0, 3), 0.1))


@confident_pairs.random
def _random_logits(draw: Draw) -> tuple[Tensor, float]:
    logits = draw.tensor(draw.integer(0, 3), draw.integer(2, 4), low=-3, high=3)
    min_score = draw.pick(0.1, 0.2, 0.05, 0.4)
    # Probabilities that are nearly equal may be ordered in two ways by two right answers.
    values = torch.cat([logits.softmax(1)[:, :-1].flatten(), torch.tensor([min_score])])
    draw.require((values.sort().values.diff() > 1e-4).all())
    return logits, min_score


confident_pairs.mistake(
    "You left out the first column. Background is the last one here, so your labels are one too "
    "low."
)(lambda logits, score: _pairs(logits.softmax(1)[:, 1:], score))
confident_pairs.mistake("You returned background as a label. Leave the last column out.")(
    lambda logits, score: _pairs(logits.softmax(1), score)
)
confident_pairs.mistake(
    "You left background out before the softmax, so the probabilities of the things alone sum to "
    "1. Background takes part in the softmax."
)(lambda logits, score: _pairs(logits[:, :-1].softmax(1), score))
confident_pairs.mistake(
    "You took a sigmoid of each class. The classes exclude each other: take a softmax."
)(lambda logits, score: _pairs(logits.sigmoid()[:, :-1], score))


@confident_pairs.mistake(
    "You kept only the best class of each proposal. Two classes above min_score are two pairs."
)
def _best_class_alone(logits: Tensor, min_score: float) -> list[tuple[int, int]]:
    best = logits.argmax(dim=1).tolist()
    return [(i, k) for i, k in _confident_pairs(logits, min_score) if k == best[i]]


confident_pairs.mistake(
    "The pairs are right, but their order is not. Return the pair with the best score first."
)(lambda logits, score: sorted(_confident_pairs(logits, score)))


paste_mask = Exercise(
    name="04.paste_mask",
    task="A mask of probabilities (m, m) covers a box. Return the pixels (h, w) at whose center it "
    "is 0.5 or more; around the mask the probability is 0.",
    difficulty=3,
    minutes=30,
    hints=(
        "Go through the pixels of the image, not through the bins of the mask. Where in the box is "
        "the center of a pixel, as a fraction of its height and width?",
        "fraction * bins - 0.5 is the position between the centers of the bins. Interpolate there "
        "bilinearly, with a ring of zeros around the mask, and compare with 0.5.",
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
    yield Case("a full mask in a box of whole pixels", (full, (2.0, 1.0, 6.0, 5.0), (6, 8)))
    yield Case("a probability of exactly one half", (slope, (1.0, 1.0, 5.0, 5.0), (6, 6)))
    yield Case("a small mask, a larger box", (slope, (0.0, 1.0, 12.0, 6.0), (7, 12)))
    yield Case("a box between the pixels", (blob, (1.3, 0.8, 9.1, 6.4), (8, 10)))
    yield Case("a box that leaves the image", (blob, (-3.0, 2.0, 5.0, 9.0), (8, 6)))


@paste_mask.random
def _random_mask(draw: Draw) -> tuple[Tensor, tuple[float, ...], tuple[int, int]]:
    # Sides that are the number of bins times a power of two make every position exact.
    bins = draw.pick(1, 2, 4)
    x0, y0 = draw.number(-2, 3, 0.25), draw.number(-2, 3, 0.25)
    height, width = (bins * draw.pick(1.0, 2.0, 0.5, 4.0) for _ in range(2))
    size = draw.integer(1, 7), draw.integer(1, 7)
    return draw.tensor(bins, bins, low=0, high=1), (x0, y0, x0 + width, y0 + height), size


paste_mask.mistake("You took the corner of each pixel. Take its center: add 0.5.")(
    lambda p, b, s: _paste_mask(p, b, s, center=0.0)
)
paste_mask.mistake(
    "The half bin is missing. The center of the first bin lies half a bin inside the box, so "
    "subtract 0.5 from the position in bins."
)(lambda p, b, s: _paste_mask(p, b, s, half=0.0))
paste_mask.mistake("A pixel with a probability of exactly 0.5 is inside.")(
    lambda p, b, s: _paste_mask(p, b, s, strict=True)
)
paste_mask.mistake(
    "You took the nearest bin, so the mask has steps as large as the bins. Interpolate between the "
    "bins."
)(lambda p, b, s: _paste_mask(p, b, s, nearest=True))
paste_mask.mistake("Rows and columns of the mask are swapped. Its first index counts rows.")(
    lambda p, b, s: _paste_mask(p, b, s, turned=True)
)

EXERCISES = (level_of_box, bilinear, roi_align, confident_pairs, paste_mask)
