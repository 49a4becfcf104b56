"""Exercises of chapter 07: what is convex, what abstains, and how long a direction should be."""

import torch
from torch import Tensor

from pfpn.course.ch07_surfaces.numbers import (
    MOSTLY_EMPTY,
    MOSTLY_FULL,
    expected_jaccard,
    minimize_expected_hinge,
)
from pfpn.course.check import Exercise
from pfpn.plot.landscape import normalize_filters
from pfpn.plot.surface import TRUTHS, Truth

CHORD_EXCESS = Exercise(
    name="07.chord_excess",
    task=(
        "From the values of a loss at evenly spaced points of a way, return by how much it rises"
        " above the straight line between its ends at most."
    ),
    difficulty=1,
    minutes=8,
    hints=(
        "The straight line starts at the first value and ends at the last. What is its value one"
        " third of the way?",
        "At point i of n + 1 the line has gone the share i / n from the first value to the last."
        " You want the largest of (value - line), which is never below 0: at the ends it is 0.",
    ),
)


@CHORD_EXCESS.answer
def _chord_excess(values: list) -> float:
    last = len(values) - 1
    line = [values[0] + (values[-1] - values[0]) * i / last for i in range(len(values))]
    return max(value - at for value, at in zip(values, line, strict=True))


CHORD_EXCESS.case("a hill between two ends at 0", [0.0, 3.0, 0.0])
CHORD_EXCESS.case("a hill on a slope", [0.0, 2.0, 2.0, 3.0])
CHORD_EXCESS.case("a valley hangs below and does not count", [1.0, 0.0, 0.0, 1.0])
CHORD_EXCESS.case("a valley deeper than the hill is high", [0.0, 1.5, 0.0, -3.0, 0.0])
CHORD_EXCESS.case("a straight line", [2.0, 1.0, 0.0])


@CHORD_EXCESS.mistake(
    "You compared with the mean of both ends. The line is there only half way; it leads from the"
    " one end to the other."
)
def _above_the_mean(values: list) -> float:
    return max(value - (values[0] + values[-1]) / 2 for value in values)


@CHORD_EXCESS.mistake(
    "You took the distance from the line to either side. Below it a convex loss may hang as deep"
    " as it likes; only what rises above it counts."
)
def _to_either_side(values: list) -> float:
    return max(_chord_excess(values), _chord_excess([-v for v in values]))


@CHORD_EXCESS.mistake("You subtracted the loss from the line: that is how deep it hangs below.")
def _below_the_line(values: list) -> float:
    return _chord_excess([-value for value in values])


@CHORD_EXCESS.mistake(
    "You subtracted the first value only: that is how far the loss rises above its start, not"
    " above the line."
)
def _above_the_start(values: list) -> float:
    return max(value - values[0] for value in values)


EXPECTED_JACCARD = Exercise(
    name="07.expected_jaccard",
    task="Return the expected Jaccard loss of a labelling, given the probability of each truth.",
    difficulty=2,
    minutes=12,
    hints=(
        "Work out the loss of the labelling for each truth by itself, then average with the"
        " probabilities as weights.",
        "For one truth: how many pixels differ, by how many are foreground in either of the two."
        " Both may be empty; then nothing is wrong.",
    ),
)


@EXPECTED_JACCARD.answer
def _expected(labelling: tuple, beliefs: dict) -> float:
    return sum(weight * _jaccard(labelling, truth) for truth, weight in beliefs.items())


def _jaccard(labelling: tuple, truth: tuple) -> float:
    union = sum(a or b for a, b in zip(labelling, truth, strict=True))
    return _count_wrong(labelling, truth) / union if union else 0.0


def _count_wrong(labelling: tuple, truth: tuple) -> int:
    return sum(a != b for a, b in zip(labelling, truth, strict=True))


EXPECTED_JACCARD.case("one sure truth, one of its two pixels is missed", (1, 0), {(1, 1): 1.0})
EXPECTED_JACCARD.case("right or wholly wrong", (0, 1), {(0, 1): 0.75, (1, 0): 0.25})
EXPECTED_JACCARD.case(
    "nothing is said, and perhaps nothing is there", (0, 0), {(0, 0): 0.4, (0, 1): 0.6}
)
EXPECTED_JACCARD.case(
    "four truths, all is said", (1, 1), dict(zip(TRUTHS, MOSTLY_FULL, strict=True))
)
EXPECTED_JACCARD.case("three pixels", (1, 1, 0), {(1, 0, 0): 0.5, (1, 1, 1): 0.3, (0, 0, 0): 0.2})


@EXPECTED_JACCARD.mistake("This is the expected Jaccard index. The loss is 1 minus it.")
def _expected_index(labelling: tuple, beliefs: dict) -> float:
    return 1 - _expected(labelling, beliefs)


@EXPECTED_JACCARD.mistake(
    "You compared with one mean truth, each pixel being what it most probably is. The loss of a"
    " mean is not the mean of the losses."
)
def _of_the_mean_truth(labelling: tuple, beliefs: dict) -> float:
    probs = [sum(w for truth, w in beliefs.items() if truth[i]) for i in range(len(labelling))]
    return _jaccard(labelling, tuple(int(prob > 0.5) for prob in probs))


@EXPECTED_JACCARD.mistake(
    "You divided by the number of pixels: that is the share of wrong pixels. The Jaccard loss"
    " divides by those that are foreground in either."
)
def _wrong_fraction(labelling: tuple, beliefs: dict) -> float:
    return sum(w * _count_wrong(labelling, truth) / len(truth) for truth, w in beliefs.items())


@EXPECTED_JACCARD.mistake(
    "Every truth has the same weight in your mean; weigh them by their probabilities."
)
def _unweighted(labelling: tuple, beliefs: dict) -> float:
    return sum(_jaccard(labelling, truth) for truth in beliefs) / len(beliefs)


NORMALIZE_FILTERS = Exercise(
    name="07.normalize_filters",
    task="Scale each filter of a random direction to the length of the same filter of a weight.",
    difficulty=2,
    minutes=12,
    hints=(
        "A filter is one row of the first axis: weight[i] with all its input channels and places."
        " Its length is the square root of the sum of all its squares.",
        "flatten(1) makes each filter one row; norm(dim=1) gives a length for each; give that"
        " enough axes of size 1 to multiply the direction.",
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


@NORMALIZE_FILTERS.mistake(
    "Every filter has length 1 now. It should have the length of the weight's filter."
)
def _unit_filters(direction: Tensor, weight: Tensor) -> Tensor:
    return normalize_filters(direction, torch.ones_like(weight) / weight[0].numel() ** 0.5)


@NORMALIZE_FILTERS.mistake(
    "You multiplied by the length of the weight's filter, but did not divide by the direction's"
    " own."
)
def _times_length(direction: Tensor, weight: Tensor) -> Tensor:
    return direction * weight.flatten(1).norm(dim=1).view(-1, *(1,) * (weight.ndim - 1))


@NORMALIZE_FILTERS.mistake(
    "One factor for the whole tensor: then large filters move too little and small ones too much."
    " Each filter needs its own."
)
def _whole_length(direction: Tensor, weight: Tensor) -> Tensor:
    return direction * weight.norm() / direction.norm()


@NORMALIZE_FILTERS.mistake(
    "You took the lengths along the wrong axis: filters are the rows of axis 0."
)
def _along_columns(direction: Tensor, weight: Tensor) -> Tensor:
    return normalize_filters(direction.transpose(0, 1), weight.transpose(0, 1)).transpose(0, 1)


BEST_SCORES = Exercise(
    name="07.best_scores",
    task=(
        "Return the scores of two pixels at which the expected Lovász hinge is least, from the"
        " probabilities of the truths 00, 01, 10, 11."
    ),
    difficulty=3,
    minutes=25,
    hints=(
        "The minimum lies at one of five points: the corners (-1, -1), (-1, 1), (1, -1), (1, 1),"
        " or the origin. What is the value at the origin, whatever the truth?",
        "At a corner the hinge is twice the expected Jaccard loss of its labelling, at the origin"
        " it is 1. So compare the least expected Jaccard loss with one half.",
    ),
)


@BEST_SCORES.answer
def _best_scores(beliefs: tuple) -> tuple:
    return minimize_expected_hinge(beliefs).scores


BEST_SCORES.case("nothing is there, most probably", (0.7, 0.1, 0.1, 0.1))
BEST_SCORES.case(
    "each truth below one half, yet both pixels are worth saying", (0.1, 0.33, 0.42, 0.15)
)
BEST_SCORES.case("no labelling is good", MOSTLY_EMPTY)
BEST_SCORES.case("no labelling is good, another one is best", MOSTLY_FULL)


@BEST_SCORES.mistake(
    "These are labels, 0 and 1. Scores are -1 and 1 where the margin is full, and 0 where nothing"
    " is said."
)
def _labels(beliefs: tuple) -> tuple:
    return tuple((score + 1) / 2 for score in _best_scores(beliefs))


@BEST_SCORES.mistake(
    "You asked each pixel alone whether it is more probably foreground: that is what cross-entropy"
    " learns. The Lovász hinge weighs the pixels together."
)
def _scores_of_pixels(beliefs: tuple) -> tuple:
    _, two, one, both = beliefs
    return _signs((int(one + both > 0.5), int(two + both > 0.5)))


def _signs(labelling: Truth) -> tuple:
    return tuple(2.0 * label - 1 for label in labelling)


@BEST_SCORES.mistake(
    "You asked whether one truth has more than one half of the probability. It is the expected"
    " Jaccard loss that has to be below one half."
)
def _scores_of_likeliest(beliefs: tuple) -> tuple:
    index = max(range(4), key=lambda i: beliefs[i])
    return _signs(TRUTHS[index]) if beliefs[index] > 0.5 else (0.0, 0.0)


@BEST_SCORES.mistake(
    "These are the scores of the best labelling, which is what one would like to have. Compute the"
    " expected hinge at (0, 0) too."
)
def _scores_of_best(beliefs: tuple) -> tuple:
    return _signs(TRUTHS[int(expected_jaccard(beliefs).argmin())])


EXERCISES = (CHORD_EXCESS, EXPECTED_JACCARD, NORMALIZE_FILTERS, BEST_SCORES)
