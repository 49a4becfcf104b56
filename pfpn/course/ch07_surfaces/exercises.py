"""Exercises of chapter 07: what is convex, what abstains, and how long a direction should be."""

import torch
from torch import Tensor

from pfpn.course.ch07_surfaces.numbers import MOSTLY_EMPTY, MOSTLY_FULL
from pfpn.course.check import Exercise
from pfpn.course.draw import Draw
from pfpn.plot.landscape import normalize_filters
from pfpn.plot.surface import TRUTHS, Truth

CHORD_EXCESS = Exercise(
    name="07.chord_excess",
    task=(
        "From the values of a loss at evenly spaced points of a path, return the largest height"
        " above the straight line between its two ends."
    ),
    difficulty=1,
    minutes=8,
    hints=(
        "The straight line starts at the first value and ends at the last. What is its value at one"
        " third of the path?",
        "At point i of 0, 1, ..., n the line is at first + (last - first) * i / n. Return the "
        "largest value - line. It is never below 0, because it is 0 at both ends.",
    ),
)


@CHORD_EXCESS.answer
def _chord_excess(values: list) -> float:
    last = len(values) - 1
    line = [values[0] + (values[-1] - values[0]) * i / last for i in range(len(values))]
    return max(value - at for value, at in zip(values, line, strict=True))


CHORD_EXCESS.case("a hill between two ends at 0", [0.0, 3.0, 0.0])
CHORD_EXCESS.case("a hill on a slope", [0.0, 2.0, 2.0, 3.0])
CHORD_EXCESS.case("a valley below the line does not count", [1.0, 0.0, 0.0, 1.0])
CHORD_EXCESS.case("a valley deeper than the hill is high", [0.0, 1.5, 0.0, -3.0, 0.0])
CHORD_EXCESS.case("a straight line", [2.0, 1.0, 0.0])


@CHORD_EXCESS.random
def _random_path(draw: Draw) -> tuple[list]:
    return (draw.numbers(draw.integer(2, 6), -4, 4, 0.5),)


@CHORD_EXCESS.mistake(
    "You compared with the mean of both ends. The line has this value only in its middle: it goes"
    " from the first value to the last."
)
def _above_the_mean(values: list) -> float:
    return max(value - (values[0] + values[-1]) / 2 for value in values)


@CHORD_EXCESS.mistake(
    "You took the distance from the line in both directions. A convex loss may lie below the line;"
    " only what is above it counts."
)
def _to_either_side(values: list) -> float:
    return max(_chord_excess(values), _chord_excess([-v for v in values]))


@CHORD_EXCESS.mistake(
    "You subtracted the loss from the line. That is how far it lies below the line."
)
def _below_the_line(values: list) -> float:
    return _chord_excess([-value for value in values])


@CHORD_EXCESS.mistake(
    "You subtracted the first value. That is the height above the start, not above the line."
)
def _above_the_start(values: list) -> float:
    return max(value - values[0] for value in values)


@CHORD_EXCESS.mistake(
    "Your line reaches the last value one step too late. Between n values there are n - 1 steps."
)
def _one_step_too_many(values: list) -> float:
    steps = len(values)
    line = [values[0] + (values[-1] - values[0]) * i / steps for i in range(steps)]
    return max(value - at for value, at in zip(values, line, strict=True))


EXPECTED_JACCARD = Exercise(
    name="07.expected_jaccard",
    task="Return the expected Jaccard loss of a labeling (a tuple of 0 and 1), given a dict with "
    "the probability of each truth.",
    difficulty=2,
    minutes=12,
    hints=(
        "Compute the loss of the labeling for each truth. Then take the mean with the "
        "probabilities as weights.",
        "For one truth, divide the number of pixels that differ by the number of pixels that are"
        " foreground in at least one of the two. If there is none, the loss is 0.",
    ),
)


@EXPECTED_JACCARD.answer
def _expected(labeling: tuple, beliefs: dict) -> float:
    return sum(weight * _jaccard(labeling, truth) for truth, weight in beliefs.items())


def _jaccard(labeling: tuple, truth: tuple) -> float:
    union = sum(a or b for a, b in zip(labeling, truth, strict=True))
    return _count_wrong(labeling, truth) / union if union else 0.0


def _count_wrong(labeling: tuple, truth: tuple) -> int:
    return sum(a != b for a, b in zip(labeling, truth, strict=True))


EXPECTED_JACCARD.case("one sure truth, one of its two pixels is missed", (1, 0), {(1, 1): 1.0})
EXPECTED_JACCARD.case("all right or all wrong", (0, 1), {(0, 1): 0.75, (1, 0): 0.25})
EXPECTED_JACCARD.case(
    "no foreground is predicted, and perhaps there is none", (0, 0), {(0, 0): 0.4, (0, 1): 0.6}
)
EXPECTED_JACCARD.case(
    "four truths, everything is predicted as foreground",
    (1, 1),
    dict(zip(TRUTHS, MOSTLY_FULL, strict=True)),
)
EXPECTED_JACCARD.case("three pixels", (1, 1, 0), {(1, 0, 0): 0.5, (1, 1, 1): 0.3, (0, 0, 0): 0.2})


@EXPECTED_JACCARD.random
def _random_beliefs(draw: Draw) -> tuple[tuple, dict]:
    pixels = draw.integer(1, 3)
    labeling = tuple(draw.integer(0, 1) for _ in range(pixels))
    truths = {tuple(draw.integer(0, 1) for _ in range(pixels)) for _ in range(draw.integer(1, 4))}
    parts = [draw.integer(1, 8) for _ in truths]
    weights = [part / sum(parts) for part in parts]
    return labeling, dict(zip(sorted(truths), weights, strict=True))


@EXPECTED_JACCARD.mistake("This is the expected Jaccard index. The loss is 1 minus it.")
def _expected_index(labeling: tuple, beliefs: dict) -> float:
    return 1 - _expected(labeling, beliefs)


@EXPECTED_JACCARD.mistake(
    "You compared with one mean truth, in which each pixel has its more probable label. The loss"
    " with a mean truth is not the mean of the losses."
)
def _of_the_mean_truth(labeling: tuple, beliefs: dict) -> float:
    probs = [sum(w for truth, w in beliefs.items() if truth[i]) for i in range(len(labeling))]
    return _jaccard(labeling, tuple(int(prob > 0.5) for prob in probs))


@EXPECTED_JACCARD.mistake(
    "You divided by the number of pixels: that is the fraction of wrong pixels. The Jaccard loss"
    " divides by the pixels that are foreground in at least one of the two."
)
def _wrong_fraction(labeling: tuple, beliefs: dict) -> float:
    return sum(w * _count_wrong(labeling, truth) / len(truth) for truth, w in beliefs.items())


@EXPECTED_JACCARD.mistake(
    "Every truth has the same weight in your mean. The weights are their probabilities."
)
def _unweighted(labeling: tuple, beliefs: dict) -> float:
    return sum(_jaccard(labeling, truth) for truth in beliefs) / len(beliefs)


@EXPECTED_JACCARD.mistake(
    "You divided by the size of the truth. The union also contains the foreground of the labeling."
)
def _by_truth(labeling: tuple, beliefs: dict) -> float:
    return sum(
        weight * _count_wrong(labeling, truth) / max(1, sum(truth))
        for truth, weight in beliefs.items()
    )


@EXPECTED_JACCARD.mistake(
    "Where neither the truth nor the labeling has any foreground, nothing is wrong: the loss is 0."
)
def _empty_is_wrong(labeling: tuple, beliefs: dict) -> float:
    return sum(
        weight * (_jaccard(labeling, truth) if any(labeling) or any(truth) else 1.0)
        for truth, weight in beliefs.items()
    )


@EXPECTED_JACCARD.mistake(
    "This is 1 minus the Dice coefficient, in which the foreground of both counts twice. The "
    "Jaccard loss divides by the union."
)
def _expected_dice(labeling: tuple, beliefs: dict) -> float:
    return sum(
        weight * _count_wrong(labeling, truth) / max(1, sum(labeling) + sum(truth))
        for truth, weight in beliefs.items()
    )


NORMALIZE_FILTERS = Exercise(
    name="07.normalize_filters",
    task="Scale each filter of a direction to the length of the same filter of a weight.",
    difficulty=2,
    minutes=12,
    hints=(
        "A filter is one entry of the first axis: weight[i], with all input channels and positions."
        " Its length is the square root of the sum of its squares.",
        "flatten(1) makes each filter one row, and norm(dim=1) gives the length of each row. Give "
        "the lengths enough axes of size 1, so that you can multiply the direction by them.",
    ),
)
NORMALIZE_FILTERS.answer(normalize_filters)


NORMALIZE_FILTERS.case(
    "one filter, as long as the weight", torch.tensor([[0.0, 2.0]]), torch.tensor([[3.0, 4.0]])
)
NORMALIZE_FILTERS.case(
    "two filters of a linear layer",
    torch.tensor([[1.0, 0.0], [3.0, 4.0]]),
    torch.tensor([[3.0, 4.0], [0.0, 2.0]]),
)
NORMALIZE_FILTERS.case(
    "a small convolution", torch.arange(1.0, 9).view(2, 1, 2, 2), torch.full((2, 1, 2, 2), 2.0)
)
NORMALIZE_FILTERS.case(
    "a filter of zeros does not move", torch.ones(2, 2), torch.tensor([[0.0, 0.0], [1.0, 0.0]])
)


@NORMALIZE_FILTERS.random
def _random_direction(draw: Draw) -> tuple[Tensor, Tensor]:
    shape = draw.integer(1, 3), *draw.pick((1,), (2,), (3,), (2, 2), (1, 2, 2))
    direction = draw.tensor(*shape)
    draw.require((direction.flatten(1).norm(dim=1) > 0).all())
    return direction, draw.tensor(*shape)


@NORMALIZE_FILTERS.mistake(
    "Your filters have length 1. Each should have the length of the weight's filter."
)
def _unit_filters(direction: Tensor, weight: Tensor) -> Tensor:
    return direction / direction.flatten(1).norm(dim=1).view(-1, *(1,) * (weight.ndim - 1))


@NORMALIZE_FILTERS.mistake(
    "You multiplied by the length of the weight's filter, but did not divide by the direction's"
    " own."
)
def _times_length(direction: Tensor, weight: Tensor) -> Tensor:
    return direction * weight.flatten(1).norm(dim=1).view(-1, *(1,) * (weight.ndim - 1))


@NORMALIZE_FILTERS.mistake(
    "You used one factor for the whole tensor. Then large filters move too little and small ones "
    "too much: each filter needs its own factor."
)
def _whole_length(direction: Tensor, weight: Tensor) -> Tensor:
    return direction * weight.norm() / direction.norm()


@NORMALIZE_FILTERS.mistake(
    "You took the lengths along the wrong axis. The filters are the entries of axis 0."
)
def _along_columns(direction: Tensor, weight: Tensor) -> Tensor:
    return normalize_filters(direction.transpose(0, 1), weight.transpose(0, 1)).transpose(0, 1)


@NORMALIZE_FILTERS.mistake(
    "You compared sums of squares. The length of a filter is the square root of this sum."
)
def _squared_lengths(direction: Tensor, weight: Tensor) -> Tensor:
    squares = [part.flatten(1).square().sum(1) for part in (direction, weight)]
    return direction * (squares[1] / squares[0]).view(-1, *(1,) * (weight.ndim - 1))


BEST_SCORES = Exercise(
    name="07.best_scores",
    task=(
        "From the probabilities of the truths 00, 01, 10 and 11, return the scores of the two "
        "pixels at which the expected Lovász hinge is smallest."
    ),
    difficulty=3,
    minutes=25,
    hints=(
        "The minimum is at one of five points: the corners (-1, -1), (-1, 1), (1, -1), (1, 1), or "
        "the origin. At the origin the value is the same for every truth. Which one is it?",
        "At a corner the value is twice the expected Jaccard loss of its labeling. At the origin"
        " it is 1. So compare the smallest expected Jaccard loss with one half.",
    ),
)


@BEST_SCORES.answer
def _best_scores(beliefs: tuple) -> tuple:
    labeling, cost = _best_labeling(beliefs)
    return _signs(labeling) if cost <= 0.5 else (0.0, 0.0)


def _best_labeling(beliefs: tuple) -> tuple[Truth, float]:
    """Return the labeling with the smallest expected Jaccard loss, and this loss."""
    weights = dict(zip(TRUTHS, beliefs, strict=True))
    costs = {labeling: _expected(labeling, weights) for labeling in TRUTHS}
    best = min(costs, key=costs.__getitem__)
    return best, costs[best]


def _signs(labeling: Truth) -> tuple:
    return tuple(2.0 * label - 1 for label in labeling)


BEST_SCORES.case("most probably there is no foreground", (0.7, 0.1, 0.1, 0.1))
BEST_SCORES.case("both pixels, although no truth reaches one half", (0.1, 0.33, 0.42, 0.15))
BEST_SCORES.case("no labeling is good", MOSTLY_EMPTY)
BEST_SCORES.case("no labeling is good, and another one is best", MOSTLY_FULL)
BEST_SCORES.case("the first pixel alone", (0.1, 0.1, 0.7, 0.1))


@BEST_SCORES.random
def _random_probabilities(draw: Draw) -> tuple[tuple]:
    parts = [draw.integer(0, 12) for _ in range(4)]
    draw.require(sum(parts))
    beliefs = tuple(part / sum(parts) for part in parts)
    weights = dict(zip(TRUTHS, beliefs, strict=True))
    values = [0.5, *(_expected(labeling, weights) for labeling in TRUTHS)]
    first, second = sorted(values)[:2]
    draw.require(second - first > 1e-3)  # only one pair of scores is best
    return (beliefs,)


@BEST_SCORES.mistake(
    "These are labels, 0 and 1. Scores are -1 for background, 1 for foreground, and 0 where the"
    " minimum is at the origin."
)
def _labels(beliefs: tuple) -> tuple:
    return tuple((score + 1) / 2 for score in _best_scores(beliefs))


@BEST_SCORES.mistake(
    "You decided for each pixel whether foreground is more probable than background, as"
    " cross-entropy does. The Lovász hinge depends on both pixels together."
)
def _scores_of_pixels(beliefs: tuple) -> tuple:
    _, two, one, both = beliefs
    return _signs((int(one + both > 0.5), int(two + both > 0.5)))


@BEST_SCORES.mistake(
    "You checked whether the probability of one truth is above one half. The expected Jaccard loss"
    " must be below one half."
)
def _scores_of_likeliest(beliefs: tuple) -> tuple:
    index = max(range(4), key=lambda i: beliefs[i])
    return _signs(TRUTHS[index]) if beliefs[index] > 0.5 else (0.0, 0.0)


@BEST_SCORES.mistake(
    "These are always the scores of the best labeling. The expected hinge may be smaller at (0, 0)."
    " If you did compare with it: at a corner a wrong pixel has an error of 2, not of 1."
)
def _scores_of_best(beliefs: tuple) -> tuple:
    return _signs(_best_labeling(beliefs)[0])


@BEST_SCORES.mistake(
    "You exchanged the two pixels. The beliefs are in the order 00, 01, 10, 11; in 01 the second "
    "pixel is foreground."
)
def _exchanged(beliefs: tuple) -> tuple:
    return _best_scores(beliefs)[::-1]


@BEST_SCORES.mistake(
    "You compared the fraction of wrong pixels. What counts is the expected Jaccard loss."
)
def _scores_by_wrong_pixels(beliefs: tuple) -> tuple:
    costs = {
        labeling: sum(
            weight * _count_wrong(labeling, truth) / 2
            for truth, weight in zip(TRUTHS, beliefs, strict=True)
        )
        for labeling in TRUTHS
    }
    best = min(costs, key=costs.__getitem__)
    return _signs(best) if costs[best] <= 0.5 else (0.0, 0.0)


EXERCISES = (CHORD_EXCESS, EXPECTED_JACCARD, NORMALIZE_FILTERS, BEST_SCORES)
