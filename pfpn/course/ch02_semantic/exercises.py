"""Exercises of chapter 02: label maps, group norm, bilinear doubling, cross-entropy."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from pfpn.course.check import Exercise
from pfpn.course.draw import Draw

Segments = list[tuple[int, int, bool]]  # id, label, is_thing

# 02.label_map -----------------------------------------------------------------------------------

LABELS = Exercise(
    name="02.label_map",
    task="Turn an id map and its segments (id, label, is_thing) into the label map of the semantic "
    "head: 0 for every thing, the label for stuff, 255 where there is no segment.",
    difficulty=1,
    minutes=8,
    hints=(
        "Start with a map that is 255 everywhere. Then paint one segment after the other.",
        "For each segment, labels[id_map == id] = ... What you paint depends on is_thing.",
    ),
)


@LABELS.answer
def label_map(id_map: Tensor, segments: Segments) -> Tensor:
    """Return 0 for things, the label for stuff, 255 elsewhere."""
    return _paint(id_map, segments)


def _paint(
    id_map: Tensor, segments: Segments, *, thing: int | None = 0, rest: int = 255, shift: int = 0
) -> Tensor:
    """Return a label map; `thing` None paints things with their own labels."""
    labels = torch.full_like(id_map, rest)
    for number, label, is_thing in segments:
        of_thing = label if thing is None else thing
        labels[id_map == number] = of_thing if is_thing else label + shift
    return labels


LABELS.case("stuff keeps its label", torch.tensor([[4, 4]]), [(4, 2, False)])
LABELS.case("a thing is other", torch.tensor([[4, 5]]), [(4, 2, False), (5, 3, True)])
LABELS.case("no segment, no label", torch.tensor([[4, 0]]), [(4, 1, False)])
LABELS.case(
    "all three together",
    torch.tensor([[7, 7, 0], [9, 8, 8]]),
    [(7, 5, False), (8, 1, True), (9, 0, True)],
)


@LABELS.random
def _(draw: Draw) -> tuple[Tensor, Segments]:
    ids = [int(number) for number in draw.distinct(draw.integer(0, 4), 1, 12, 1)]
    segments = [(i, draw.integer(1, 6), draw.pick(False, True)) for i in ids]
    segments = [(i, label - is_thing, is_thing) for i, label, is_thing in segments]
    cells = [[draw.pick(0, *ids) for _ in range(4)] for _ in range(draw.integer(1, 3))]
    return torch.tensor(cells), segments


LABELS.mistake("Stuff labels were shifted by one. They start at 1 already: 0 is kept for other.")(
    lambda ids, segments: _paint(ids, segments, shift=-1)
)
LABELS.mistake(
    "The thing got its own label. For the semantic head all things are one class: other, 0."
)(lambda ids, segments: _paint(ids, segments, thing=None))

LABELS.mistake(
    "Things got 255, which the loss ignores. But the head has to learn that things are not stuff: "
    "they get the label 0, other."
)(lambda ids, segments: _paint(ids, segments, thing=255))

LABELS.mistake(
    "Pixels without a segment became other. Their class is unknown, so they get 255, which every "
    "loss ignores."
)(lambda ids, segments: _paint(ids, segments, rest=0))

# 02.group_norm ----------------------------------------------------------------------------------

NORM = Exercise(
    name="02.group_norm",
    task="Normalize a map (channels, h, w). The channels of a group share one mean and one "
    "variance, taken over all their cells. No scale and no shift follow.",
    difficulty=2,
    minutes=12,
    hints=(
        "Neighboring channels form a group. Which reshape puts all numbers of a group in a row?",
        "x.reshape(groups, -1), then mean and variance of each row with keepdim=True. Divide by "
        "sqrt(var + eps), where the variance divides by n, not by n - 1.",
    ),
)


@NORM.answer
def group_norm(x: Tensor, groups: int, eps: float) -> Tensor:
    """Return a map with the mean of each group subtracted, divided by its standard deviation."""
    rows = x.reshape(groups, -1)
    std = (rows.var(1, correction=0, keepdim=True) + eps).sqrt()
    return ((rows - rows.mean(1, keepdim=True)) / std).reshape(x.shape)


NORM.case("two cells of one channel", torch.tensor([[[0.0, 2.0]]]), 1, 0.0)
NORM.case("two channels in one group", torch.tensor([[[0.0, 2.0]], [[4.0, 6.0]]]), 1, 0.0)
NORM.case("two groups of one channel", torch.tensor([[[0.0, 2.0]], [[4.0, 6.0]]]), 2, 0.0)
NORM.case("two groups of two", torch.tensor([0.0, 2.0, 10.0, 14.0]).view(4, 1, 1), 2, 0.0)
NORM.case("eps matters where the variance is small", torch.tensor([[[0.0, 2.0]]]), 1, 3.0)
NORM.case("two rows of two channels", torch.tensor([[[0.0], [2.0]], [[4.0], [6.0]]]), 2, 0.0)


@NORM.random
def _(draw: Draw) -> tuple[Tensor, int, float]:
    groups, size = draw.integer(1, 3), draw.integer(1, 3)
    x = draw.tensor(groups * size, draw.integer(1, 3), draw.integer(1, 3))
    return x, groups, draw.pick(1.0, 0.25, 0.125)


@NORM.mistake("Your variance divides by n - 1. Group norm divides by n: correction=0.")
def _(x: Tensor, groups: int, eps: float) -> Tensor:
    rows = x.reshape(groups, -1)
    std = (rows.var(1, keepdim=True) + eps).sqrt()
    return ((rows - rows.mean(1, keepdim=True)) / std).reshape(x.shape)


NORM.mistake(
    "Each channel was normalized alone (that is instance norm). The channels of a group share "
    "their mean and variance."
)(lambda x, groups, eps: group_norm(x, len(x), eps))

NORM.mistake(
    "All channels were normalized together (that is layer norm). Each group has a mean and a "
    "variance of its own."
)(lambda x, groups, eps: group_norm(x, 1, eps))


@NORM.mistake(
    "Your groups are channels 0, 2, 4 and 1, 3, 5. Neighboring channels form a group: 0, 1, 2 and "
    "3, 4, 5."
)
def _(x: Tensor, groups: int, eps: float) -> Tensor:
    turned = x.unflatten(0, (-1, groups)).transpose(0, 1).flatten(0, 1)
    normed = group_norm(turned, groups, eps)
    return normed.unflatten(0, (groups, -1)).transpose(0, 1).flatten(0, 1)


@NORM.mistake("You added eps after the square root. It belongs under it: sqrt(var + eps).")
def _(x: Tensor, groups: int, eps: float) -> Tensor:
    rows = x.reshape(groups, -1)
    std = rows.var(1, correction=0, keepdim=True).sqrt() + eps
    return ((rows - rows.mean(1, keepdim=True)) / std).reshape(x.shape)


@NORM.mistake("You divided by the variance. Divide by its square root, the standard deviation.")
def _(x: Tensor, groups: int, eps: float) -> Tensor:
    rows = x.reshape(groups, -1)
    var = rows.var(1, correction=0, keepdim=True) + eps
    return ((rows - rows.mean(1, keepdim=True)) / var).reshape(x.shape)


# 02.double_row ----------------------------------------------------------------------------------

DOUBLE = Exercise(
    name="02.double_row",
    task="Double a row of n values bilinearly with half-pixel centers (align_corners=False).",
    difficulty=2,
    minutes=15,
    hints=(
        "Draw it. Each old cell is cut into two halves. Their centers lie a quarter of an old cell "
        "to the left and to the right of the center of the old cell.",
        "Left half: 3/4 of the cell's value + 1/4 of the value to the left. Right half: the same "
        "with the value to the right. At the ends, where there is no neighbor, take the cell's own "
        "value in its place.",
    ),
)


@DOUBLE.answer
def double_row(row: Tensor) -> Tensor:
    """Return three quarters of the nearest value plus one quarter of the next nearest."""
    return _mix(row, row[:1], row[-1:])


def _mix(row: Tensor, first: Tensor, last: Tensor, weight: float = 0.75) -> Tensor:
    """Return the doubled row; `first` and `last` continue it, `weight` is the own value's."""
    before, after = torch.cat([first, row[:-1]]), torch.cat([row[1:], last])
    halves = [weight * row + (1 - weight) * neighbor for neighbor in (before, after)]
    return torch.stack(halves, 1).flatten()


DOUBLE.case("a constant stays constant", torch.tensor([1.0, 1.0]))
DOUBLE.case("a step", torch.tensor([0.0, 4.0]))
DOUBLE.case("up and down", torch.tensor([0.0, 4.0, 8.0, 0.0]))
DOUBLE.case("a single value", torch.tensor([3.0]))


@DOUBLE.random
def _(draw: Draw) -> tuple[Tensor]:
    return (draw.tensor(draw.integer(1, 6)),)


DOUBLE.mistake(
    "You assumed 0 beyond the ends. The last value continues there. Otherwise a constant row would "
    "become smaller at its ends."
)(lambda row: _mix(row, torch.zeros(1), torch.zeros(1)))

DOUBLE.mistake("That is nearest neighbor: every value twice.")(lambda row: row.repeat_interleave(2))


@DOUBLE.mistake(
    "That is align_corners=True: the first and the last center stay where they are, and the row "
    "between them is stretched."
)
def _(row: Tensor) -> Tensor:
    size = 2 * len(row)
    return F.interpolate(row[None, None], size=size, mode="linear", align_corners=True)[0, 0]


@DOUBLE.mistake(
    "You kept the old values and put means between them. That moves the row by a quarter of a "
    "cell: no new center lies on an old one."
)
def _(row: Tensor) -> Tensor:
    after = torch.cat([row[1:], row[-1:]])
    return torch.stack([row, (row + after) / 2], 1).flatten()


DOUBLE.mistake("The weights are swapped: the nearer value has 3/4, the farther one 1/4.")(
    lambda row: _mix(row, row[:1], row[-1:], weight=0.25)
)

DOUBLE.mistake(
    "The two halves of each cell are swapped. The left half is mixed with the value to the left."
)(lambda row: double_row(row).view(-1, 2).flip(1).flatten())

DOUBLE.mistake(
    "All left halves come first, then all right halves. The halves of a cell stand side by side: "
    "left, right, left, right."
)(lambda row: double_row(row).view(-1, 2).T.flatten())

# 02.cross_entropy -------------------------------------------------------------------------------

LOSS = Exercise(
    name="02.cross_entropy",
    task="Return the cross-entropy in nats of logits (classes, pixels) and labels (pixels), as the "
    "mean over the pixels whose label is not `ignore`; 0 if there is none.",
    difficulty=2,
    minutes=12,
    hints=(
        "One pixel first: softmax over its logits, the probability of the true class, minus its "
        "logarithm.",
        "-log softmax is logsumexp(logits) - logits[label], which never overflows. Count the "
        "pixels that you added up, and divide by their number.",
    ),
    tolerance=1e-4,
)


@LOSS.answer
def cross_entropy(logits: Tensor, labels: Tensor, ignore: int) -> float:
    """Return the mean of -log p(true class) over the pixels that count, 0 if none does."""
    losses = []
    for pixel, label in enumerate(labels.tolist()):
        if label != ignore:
            scores = logits[:, pixel]
            losses.append((scores.logsumexp(0) - scores[label]).item())
    return sum(losses) / max(1, len(losses))


_TWO = torch.tensor([[0.0, 2.0], [1.0, 0.0]])
LOSS.case("two classes, equal logits", torch.zeros(2, 2), torch.tensor([0, 1]), 255)
LOSS.case("two pixels", _TWO, torch.tensor([0, 0]), 255)
LOSS.case("an ignored pixel does not count", _TWO, torch.tensor([1, 255]), 255)
LOSS.case("logits may be large", torch.tensor([[1000.0], [0.0]]), torch.tensor([1]), 255)
LOSS.case("every pixel is ignored", torch.zeros(2, 2), torch.tensor([255, 255]), 255)


@LOSS.random
def _(draw: Draw) -> tuple[Tensor, Tensor, int]:
    classes, pixels = draw.integer(2, 4), draw.integer(1, 4)
    ignore = draw.pick(255, 0, 1)
    labels = [draw.pick(*range(classes), ignore) for _ in range(pixels)]
    return draw.tensor(classes, pixels), torch.tensor(labels), ignore


def _mean_loss(log_probs: Tensor, labels: Tensor, ignore: int) -> float:
    counts = labels != ignore
    losses = -log_probs[:, counts].gather(0, labels[counts][None])
    return losses.sum().item() / max(1, losses.numel())


LOSS.mistake("You took the logarithm to base 2, which gives bits. Nats need the natural one.")(
    lambda logits, labels, ignore: cross_entropy(logits, labels, ignore) / math.log(2)
)
LOSS.mistake("Logits are not log-probabilities: the softmax over the classes is missing.")(
    _mean_loss
)
LOSS.mistake("That is the sum over the pixels. Return the mean.")(
    lambda a, labels, ignore: (
        cross_entropy(a, labels, ignore) * max(1, int((labels != ignore).sum()))
    )
)

LOSS.mistake("Your softmax runs over the pixels. It must run over the classes of each pixel.")(
    lambda logits, labels, ignore: _mean_loss(logits.log_softmax(1), labels, ignore)
)
LOSS.mistake("You divided by the number of all pixels. Ignored pixels do not count.")(
    lambda a, labels, ignore: (
        cross_entropy(a, labels, ignore) * (labels != ignore).float().mean().item()
    )
)

EXERCISES = (LABELS, NORM, DOUBLE, LOSS)
