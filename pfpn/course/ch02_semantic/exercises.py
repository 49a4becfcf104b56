"""Exercises of chapter 02: Stuff, the semantic head."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from pfpn.course.check import Case, Exercise, Mistake

# 02.label_map -----------------------------------------------------------------------------------


def label_map(id_map: Tensor, segments: list) -> Tensor:
    """Things are 0, stuff is its label, the rest 255."""
    labels = torch.full_like(id_map, 255)
    for number, label, is_thing in segments:
        labels[id_map == number] = 0 if is_thing else label
    return labels


def _paint(thing: int | None, rest: int, shift: int = 0) -> object:
    """Return a painter; thing None paints a thing with its own label."""

    def paint(id_map: Tensor, segments: list) -> Tensor:
        labels = torch.full_like(id_map, rest)
        for number, label, is_thing in segments:
            own = label if thing is None else thing
            labels[id_map == number] = own if is_thing else label + shift
        return labels

    return paint


LABEL_MAP = Exercise(
    name="02.label_map",
    task="Turn an id map and its segments (id, label, is_thing) into what the semantic head "
    "learns: 0 for every thing, the label for stuff, 255 where no segment is.",
    difficulty=1,
    minutes=8,
    hints=(
        "Start with a map that says 255 everywhere, and paint.",
        "For each segment, labels[id_map == id] = ...; what to paint depends on is_thing.",
    ),
    reference=label_map,
    cases=lambda: [
        Case("stuff keeps its label", (torch.tensor([[4, 4]]), [(4, 2, False)])),
        Case("a thing is other", (torch.tensor([[4, 5]]), [(4, 2, False), (5, 3, True)])),
        Case("no segment, no question", (torch.tensor([[4, 0]]), [(4, 1, False)])),
        Case(
            "all three together",
            (torch.tensor([[7, 7, 0], [9, 8, 8]]), [(7, 5, False), (8, 1, True), (9, 0, True)]),
        ),
    ],
    mistakes=(
        Mistake(
            "Stuff labels were shifted by one. They start at 1 already: 0 is kept for other.",
            _paint(0, 255, -1),  # type: ignore[arg-type]
        ),
        Mistake(
            "The thing got its own label. To the semantic head all things are one class: other, 0.",
            _paint(None, 255),  # type: ignore[arg-type]
        ),
        Mistake(
            "Things were made void. They are not ignored: the head has to learn that they are no "
            "stuff, so they are 0.",
            _paint(255, 255),  # type: ignore[arg-type]
        ),
        Mistake(
            "Pixels without a segment became other. Nobody knows what they are: 255, which no loss "
            "looks at.",
            _paint(0, 0),  # type: ignore[arg-type]
        ),
    ),
)

# 02.group_norm ----------------------------------------------------------------------------------


def group_norm(x: Tensor, groups: int, eps: float) -> Tensor:
    """Subtract the mean of each group and divide by its standard deviation."""
    grouped = x.reshape(groups, -1)
    mean = grouped.mean(1, keepdim=True)
    var = grouped.var(1, correction=0, keepdim=True)
    return ((grouped - mean) / (var + eps).sqrt()).reshape(x.shape)


def _unbiased(x: Tensor, groups: int, eps: float) -> Tensor:
    grouped = x.reshape(groups, -1)
    var = grouped.var(1, keepdim=True)
    return ((grouped - grouped.mean(1, keepdim=True)) / (var + eps).sqrt()).reshape(x.shape)


def _interleaved(x: Tensor, groups: int, eps: float) -> Tensor:
    turned = x.unflatten(0, (-1, groups)).transpose(0, 1).flatten(0, 1)
    normed = group_norm(turned, groups, eps)
    return normed.unflatten(0, (groups, -1)).transpose(0, 1).flatten(0, 1)


def _eps_outside(x: Tensor, groups: int, eps: float) -> Tensor:
    grouped = x.reshape(groups, -1)
    std = grouped.var(1, correction=0, keepdim=True).sqrt()
    return ((grouped - grouped.mean(1, keepdim=True)) / (std + eps)).reshape(x.shape)


GROUP_NORM = Exercise(
    name="02.group_norm",
    task="Normalize a map (channels, h, w): the channels of a group share one mean and one "
    "variance over all their cells; no affine map after it.",
    difficulty=2,
    minutes=12,
    hints=(
        "Neighboring channels form a group. Which reshape puts all numbers of a group in a row?",
        "x.reshape(groups, -1), then mean and variance of each row with keepdim=True. Divide by "
        "sqrt(var + eps), where the variance divides by n, not by n - 1.",
    ),
    reference=group_norm,
    cases=lambda: [
        Case("two cells of one channel", (torch.tensor([[[0.0, 2.0]]]), 1, 0.0)),
        Case("two channels in one group", (torch.tensor([[[0.0, 2.0]], [[4.0, 6.0]]]), 1, 0.0)),
        Case("two groups of one channel", (torch.tensor([[[0.0, 2.0]], [[4.0, 6.0]]]), 2, 0.0)),
        Case("two groups of two", (torch.tensor([0.0, 2.0, 10.0, 14.0]).view(4, 1, 1), 2, 0.0)),
        Case("eps matters where the variance is small", (torch.tensor([[[0.0, 2.0]]]), 1, 3.0)),
    ],
    mistakes=(
        Mistake(
            "The variance divides by n - 1 here. A norm divides by n: correction=0.",
            _unbiased,
        ),
        Mistake(
            "Each channel was normalized alone (that is instance norm). The channels of a group "
            "share their mean and variance.",
            lambda x, groups, eps: group_norm(x, len(x), eps),
        ),
        Mistake(
            "All channels were normalized together (that is layer norm). Each group has a mean and "
            "a variance of its own.",
            lambda x, groups, eps: group_norm(x, 1, eps),
        ),
        Mistake(
            "The groups are dealt out like cards: 0, 2, 4 and 1, 3, 5. Neighbors belong together.",
            _interleaved,
        ),
        Mistake("eps belongs under the root: sqrt(var + eps).", _eps_outside),
    ),
)

# 02.double_row ----------------------------------------------------------------------------------


def double_row(row: Tensor) -> Tensor:
    """Three quarters of the nearest value, one quarter of the next nearest."""
    before = torch.cat([row[:1], row[:-1]])
    after = torch.cat([row[1:], row[-1:]])
    return torch.stack([0.75 * row + 0.25 * before, 0.75 * row + 0.25 * after], 1).flatten()


def _zeros_outside(row: Tensor) -> Tensor:
    zero = torch.zeros(1)
    before, after = torch.cat([zero, row[:-1]]), torch.cat([row[1:], zero])
    return torch.stack([0.75 * row + 0.25 * before, 0.75 * row + 0.25 * after], 1).flatten()


def _means_between(row: Tensor) -> Tensor:
    after = torch.cat([row[1:], row[-1:]])
    return torch.stack([row, (row + after) / 2], 1).flatten()


def _swapped(row: Tensor) -> Tensor:
    before = torch.cat([row[:1], row[:-1]])
    after = torch.cat([row[1:], row[-1:]])
    return torch.stack([0.25 * row + 0.75 * before, 0.25 * row + 0.75 * after], 1).flatten()


DOUBLE_ROW = Exercise(
    name="02.double_row",
    task="Double a row of n values bilinearly with half-pixel centers (align_corners=False).",
    difficulty=2,
    minutes=15,
    hints=(
        "Draw it. Each old cell is cut in two, and the centers of the halves lie a quarter of an "
        "old cell to the left and to the right of its center.",
        "Left half: 3/4 of its own value + 1/4 of the left neighbor's. Right half: the same with "
        "the right neighbor. At the ends, where there is none, the own value stands in.",
    ),
    reference=double_row,
    cases=lambda: [
        Case("a constant stays constant", (torch.tensor([1.0, 1.0]),)),
        Case("a step", (torch.tensor([0.0, 4.0]),)),
        Case("up and down", (torch.tensor([0.0, 4.0, 8.0, 0.0]),)),
        Case("a single value", (torch.tensor([3.0]),)),
    ],
    mistakes=(
        Mistake(
            "Beyond the ends you assumed 0. There the last value goes on, or a constant would fade "
            "at the border.",
            _zeros_outside,
        ),
        Mistake("That is nearest neighbor: every value twice.", lambda r: r.repeat_interleave(2)),
        Mistake(
            "That is align_corners=True: first and last centers are nailed to the ends, and "
            "everything between is stretched.",
            lambda row: F.interpolate(
                row[None, None], size=2 * len(row), mode="linear", align_corners=True
            )[0, 0],
        ),
        Mistake(
            "You kept the old values and put means between them. That moves the whole row by a "
            "quarter of a cell: no new center lies on an old one.",
            _means_between,
        ),
        Mistake(
            "The weights are swapped: the nearer value has 3/4, the farther 1/4.",
            _swapped,
        ),
    ),
)

# 02.cross_entropy -------------------------------------------------------------------------------


def cross_entropy(logits: Tensor, labels: Tensor, ignore: int) -> float:
    """Mean of -log p(true class) over the pixels that count, 0 if none does."""
    losses = []
    for pixel, label in enumerate(labels.tolist()):
        if label != ignore:
            scores = logits[:, pixel]
            losses.append((scores.logsumexp(0) - scores[label]).item())
    return sum(losses) / max(1, len(losses))


def _over_all(logits: Tensor, labels: Tensor, ignore: int) -> float:
    return cross_entropy(logits, labels, ignore) * (labels != ignore).float().mean().item()


def _no_softmax(logits: Tensor, labels: Tensor, ignore: int) -> float:
    counts = labels != ignore
    return -logits[:, counts].gather(0, labels[counts][None]).mean().item()


def _wrong_axis(logits: Tensor, labels: Tensor, ignore: int) -> float:
    counts = labels != ignore
    found = logits.log_softmax(1)[:, counts].gather(0, labels[counts][None])
    return -found.mean().item()


CROSS_ENTROPY = Exercise(
    name="02.cross_entropy",
    task="Return the cross-entropy in nats of logits (classes, pixels) and labels (pixels), as the "
    "mean over the pixels whose label is not `ignore`; 0 if there is none.",
    difficulty=2,
    minutes=12,
    hints=(
        "One pixel first: softmax over its logits, the probability of the true class, minus its "
        "logarithm.",
        "-log softmax is logsumexp(logits) - logits[label], which never overflows. Count the "
        "pixels that you added up, and divide by that.",
    ),
    reference=cross_entropy,
    cases=lambda: [
        Case("two classes, no idea", (torch.zeros(2, 2), torch.tensor([0, 1]), 255)),
        Case(
            "two pixels",
            (torch.tensor([[0.0, 2.0], [1.0, 0.0]]), torch.tensor([0, 0]), 255),
        ),
        Case(
            "an ignored pixel does not count",
            (torch.tensor([[0.0, 2.0], [1.0, 0.0]]), torch.tensor([1, 255]), 255),
        ),
        Case("logits may be large", (torch.tensor([[1000.0], [0.0]]), torch.tensor([1]), 255)),
        Case("nothing to ask", (torch.zeros(2, 2), torch.tensor([255, 255]), 255)),
    ],
    mistakes=(
        Mistake(
            "You took the logarithm to base 2, so the loss is in bits. Nats: torch.log.",
            lambda a, b, c: cross_entropy(a, b, c) / math.log(2),
        ),
        Mistake(
            "Logits are no log-probabilities yet: a softmax over the classes is missing.",
            _no_softmax,
        ),
        Mistake(
            "That is the sum over the pixels. Take the mean, or large images would count more.",
            lambda a, b, c: cross_entropy(a, b, c) * max(1, int((b != c).sum())),
        ),
        Mistake(
            "The softmax runs over the pixels. Each pixel's classes have to sum to 1.",
            _wrong_axis,
        ),
        Mistake(
            "You divided by all pixels. An ignored one is not asked, so it is not counted either.",
            _over_all,
        ),
    ),
    tolerance=1e-4,
)

EXERCISES = (LABEL_MAP, GROUP_NORM, DOUBLE_ROW, CROSS_ENTROPY)
