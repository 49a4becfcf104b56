"""Exercises of chapter 06: the Jaccard loss as a set function, and its Lovász extension."""

import torch
from torch import Tensor

from pfpn.course.ch06_lovasz.numbers import EIGHT_ERRORS, EIGHT_TRUTH
from pfpn.course.check import Exercise
from pfpn.course.draw import Draw

loss_of_set = Exercise(
    name="06.jaccard_loss",
    task="Return the Jaccard loss of a prediction, given the set of its wrong pixels and the set "
    "of true foreground pixels.",
    difficulty=1,
    minutes=5,
    hints=(
        "A wrong pixel inside the truth is missed; a wrong pixel outside of it is added. How does"
        " each of them change the intersection and the union?",
        "The union of truth and prediction is the union of truth and wrong pixels. It contains all"
        " wrong pixels, and the intersection contains none of them. What if the union is empty?",
    ),
)


@loss_of_set.answer
def _loss_of_set(wrong: set, truth: set) -> float:
    return len(wrong) / len(wrong | truth) if wrong | truth else 0.0


loss_of_set.case("one of four true pixels is missed", {1}, {1, 2, 3, 4})
loss_of_set.case("one missed, two added", {1, 8, 9}, {1, 2, 3, 4})
loss_of_set.case("all are missed, one added", {1, 2, 9}, {1, 2})
loss_of_set.case("nothing is wrong", set(), {3, 4})
loss_of_set.case("the truth is empty, one is added", {5}, set())
loss_of_set.case("the truth is empty, nothing is wrong", set(), set())


@loss_of_set.random
def _random_sets(draw: Draw) -> tuple[set, set]:
    wrong, truth = (set(draw.mask(6).nonzero().flatten().tolist()) for _ in range(2))
    return wrong, truth


loss_of_set.mistake("This is the Jaccard index, intersection over union. The loss is 1 minus it.")(
    lambda wrong, truth: 1 - _loss_of_set(wrong, truth)
)
loss_of_set.mistake(
    "You divided by the number of true pixels. The pixels that were added belong to the union, too."
)(lambda wrong, truth: len(wrong) / len(truth) if truth else float(bool(wrong)))
loss_of_set.mistake(
    "You read `wrong` as the prediction. It is the set of pixels in which prediction and truth"
    " differ."
)(lambda wrong, truth: 1 - len(wrong & truth) / len(wrong | truth) if wrong | truth else 0.0)
loss_of_set.mistake(
    "This is the Dice loss. It divides by the sum of both sizes, in which the pixels of"
    " the intersection count twice."
)(lambda wrong, truth: len(wrong) / max(1, 2 * len(truth - wrong) + len(wrong)))
loss_of_set.mistake("You counted only the missed pixels. Those that were added are wrong, too.")(
    lambda wrong, truth: len(wrong & truth) / max(1, len(wrong | truth))
)

rise = Exercise(
    name="06.rise",
    task=(
        "Return by how much the Jaccard loss rises when one more pixel becomes wrong, given the"
        " numbers of missed, added and true pixels before."
    ),
    difficulty=2,
    minutes=10,
    hints=(
        "Write down F = (missed + added) / (num_fg + added) before and after. Which numbers does a"
        " foreground pixel change, and which does a background pixel change?",
        "Bring both fractions to one denominator. For a foreground pixel the denominators are"
        " equal. For a background pixel most terms of the numerator cancel.",
    ),
)


@rise.answer
def _rise(missed: int, added: int, num_fg: int, is_fg: bool) -> float:
    union = num_fg + added
    return 1 / union if is_fg else (num_fg - missed) / (union * (union + 1))


rise.case("foreground pixel, nothing wrong yet, 4 true pixels", 0, 0, 4, True)
rise.case("background pixel, one was missed", 1, 0, 4, False)
rise.case("foreground pixel, two were added", 0, 2, 4, True)
rise.case("background pixel, one missed and two added", 1, 2, 4, False)
rise.case("background pixel, all are missed", 4, 0, 4, False)
rise.case("the last pixel of the foreground", 3, 5, 4, True)


@rise.random
def _random_counts(draw: Draw) -> tuple[int, int, int, bool]:
    num_fg, is_fg = draw.integer(1, 8), draw.pick(True, False)
    return draw.integer(0, num_fg - is_fg), draw.integer(0, 8), num_fg, is_fg


rise.mistake(
    "Your rise is the same for both kinds of pixels. A missed pixel does not change the union, an"
    " added one makes it larger by 1."
)(lambda missed, added, num_fg, is_fg: _rise(missed, added, num_fg, True))
rise.mistake("1 / num_fg is the rise only if no pixel was added. The union is num_fg + added.")(
    lambda missed, added, num_fg, is_fg: _rise(missed, 0 if is_fg else added, num_fg, is_fg)
)


@rise.mistake(
    "The union grows by 1 when a background pixel is added. Divide by the union before and by the"
    " union after."
)
def _one_union(missed: int, added: int, num_fg: int, is_fg: bool) -> float:
    union = num_fg + added
    return 1 / union if is_fg else (num_fg - missed) / union**2


rise.mistake(
    "The numerator for a background pixel is the number of true pixels that are still right:"
    " num_fg - missed."
)(lambda missed, added, num_fg, is_fg: _rise(0, added, num_fg, is_fg))

extension = Exercise(
    name="06.extension",
    task="Return the Lovász extension of the Jaccard loss for a list of errors, in plain Python.",
    difficulty=2,
    minutes=15,
    hints=(
        "Let the pixels become wrong one by one, from the largest error to the smallest, and"
        " compute the Jaccard loss each time.",
        "Add up over the pixels: error times (loss with this pixel - loss without it). Before the"
        " first pixel the loss is 0.",
    ),
)


@extension.answer
def _extension(errors: list, truth: list) -> float:
    order = sorted(range(len(errors)), key=lambda i: -errors[i])
    return _add_rises(errors, truth, order)


def _add_rises(errors: list, truth: list, order: list) -> float:
    """Return the sum of error times rise of the loss, where pixels become wrong in an order."""
    losses = [0.0, *_losses(truth, order)]
    return sum(errors[i] * (losses[k + 1] - losses[k]) for k, i in enumerate(order))


def _losses(truth: list, order: list) -> list:
    """Return the Jaccard loss after each pixel that becomes wrong."""
    positives = {i for i, is_fg in enumerate(truth) if is_fg}
    return [_loss_of_set(set(order[: k + 1]), positives) for k in range(len(order))]


extension.case("one pixel costs its error", [0.25], [1])
extension.case("three unsorted pixels", [0.4, 0.8, 0.1], [1, 0, 0])
extension.case("two pixels, the larger error is the background's", [0.2, 0.8], [1, 0])
extension.case("three pixels in falling order", [0.9, 0.5, 0.1], [1, 1, 0])
extension.case("all errors are 1", [1.0, 1.0, 1.0], [1, 0, 0])


@extension.random
def _random_errors(draw: Draw) -> tuple[list, list]:
    num = draw.integer(1, 6)
    return draw.numbers(num, 0, 2), [draw.integer(0, 1) for _ in range(num)]


@extension.mistake(
    "You multiplied by the loss. The weight of a pixel is the *rise* of the loss when this pixel"
    " becomes wrong."
)
def _loss_as_weight(errors: list, truth: list) -> float:
    order = sorted(range(len(errors)), key=lambda i: -errors[i])
    return sum(errors[i] * loss for i, loss in zip(order, _losses(truth, order), strict=True))


@extension.mistake(
    "You began with the pixel that has the smallest error. Sort from the largest error to the"
    " smallest."
)
def _smallest_first(errors: list, truth: list) -> float:
    return _add_rises(errors, truth, sorted(range(len(errors)), key=lambda i: errors[i]))


extension.mistake("This is the mean error: each pixel got the weight 1 / p.")(
    lambda errors, truth: sum(errors) / len(errors)
)
extension.mistake("You did not sort: the pixels became wrong in the order of the list.")(
    lambda errors, truth: _add_rises(errors, truth, list(range(len(errors))))
)

weights = Exercise(
    name="06.weights",
    task="Return the weight of each pixel in the Lovász extension, in the order of the input, "
    "without a loop.",
    difficulty=3,
    minutes=20,
    hints=(
        "Sort the truth by decreasing error. Two cumulative sums give the intersection and the "
        "union after each pixel. The weights are the differences between neighboring losses.",
        "The differences are in sorted order. Write them back with weights[order] = ... Before the"
        " first pixel the loss is 0.",
    ),
)


@weights.answer
def _weights(errors: Tensor, is_fg: Tensor) -> Tensor:
    order = errors.argsort(descending=True)
    weights = torch.zeros(len(errors))
    weights[order] = _rises(is_fg[order].float())
    return weights


def _rises(fg: Tensor) -> Tensor:
    """Return by how much the loss rises with each pixel, in the order in which they come."""
    intersection = fg.sum() - fg.cumsum(0)
    union = fg.sum() + (1 - fg).cumsum(0)
    return (1 - intersection / union).diff(prepend=torch.zeros(1))


for _title, _errors, _is_fg in (
    ("sorted already", (0.9, 0.5, 0.1), (1, 0, 1)),
    ("rising errors", (0.1, 0.5, 0.9), (1, 0, 0)),
    ("no pixel stays in its position", (0.5, 0.1, 0.9, 0.05), (1, 1, 0, 0)),
    ("the eight pixels of the chapter", EIGHT_ERRORS, EIGHT_TRUTH),
):
    weights.case(_title, torch.tensor(_errors), torch.tensor(_is_fg))


@weights.random
def _random_pixels(draw: Draw) -> tuple[Tensor, Tensor]:
    num = draw.integer(1, 6)
    return torch.tensor(draw.distinct(num, 0, 2)), draw.integers(num, low=0, high=1)


@weights.mistake(
    "The pixel with the largest error got no weight. Its rise is from 0, the loss without a wrong"
    " pixel."
)
def _no_first_rise(errors: Tensor, is_fg: Tensor) -> Tensor:
    return _weights(errors, is_fg).index_fill(0, errors.argmax(), 0)


weights.mistake("These are the right weights in sorted order. Return them in the input's order.")(
    lambda errors, is_fg: _rises(is_fg[errors.argsort(descending=True)].float())
)


@weights.mistake(
    "You read from the sorted positions (weights[order]). You have to write to them"
    " (result[order] = weights)."
)
def _gather(errors: Tensor, is_fg: Tensor) -> Tensor:
    order = errors.argsort(descending=True)
    return _rises(is_fg[order].float())[order]


@weights.mistake(
    "These are the losses after each pixel. The weight of a pixel is the *rise* of the loss when "
    "this pixel becomes wrong."
)
def _loss_of_each(errors: Tensor, is_fg: Tensor) -> Tensor:
    order = errors.argsort(descending=True)
    losses = torch.zeros(len(errors))
    losses[order] = _rises(is_fg[order].float()).cumsum(0)
    return losses


weights.mistake("You sorted from the smallest error to the largest.")(
    lambda errors, is_fg: _weights(-errors, is_fg)
)

hinge_errors = Exercise(
    name="06.hinge_errors",
    task="Return the hinge error of each logit, given the truth: 1 foreground, 0 background.",
    difficulty=1,
    minutes=5,
    hints=(
        "Turn the truth into signs: +1 for foreground, -1 for background.",
        "The error is 1 - sign * logit, but never below 0.",
    ),
)


@hinge_errors.answer
def _hinge_errors(logits: Tensor, is_fg: Tensor) -> Tensor:
    return (1 - (2 * is_fg - 1) * logits).clamp(min=0)


for _title, _logits, _truth in (
    ("a foreground pixel with the logit 0", (0.0,), (1,)),
    ("foreground: right but inside the margin, and wrong", (0.4, -2.0), (1, 1)),
    ("background that is predicted as foreground", (1.5,), (0,)),
    ("right by more than the margin", (3.0, -3.0), (1, 0)),
):
    hinge_errors.case(_title, torch.tensor(_logits), torch.tensor(_truth))


@hinge_errors.random
def _random_logits(draw: Draw) -> tuple[Tensor, Tensor]:
    num = draw.integer(1, 5)
    return draw.tensor(num), draw.integers(num, low=0, high=1)


hinge_errors.mistake(
    "You multiplied by the truth, 0 or 1. Background needs the sign -1, because its error grows"
    " with its logit."
)(lambda logits, is_fg: (1 - is_fg * logits).clamp(min=0))
hinge_errors.mistake(
    "The margin is missing: your error is 0 from the logit 0 on. The hinge error is 0 from a logit"
    " of 1 on the right side on."
)(lambda logits, is_fg: (-(2 * is_fg - 1) * logits).clamp(min=0))
hinge_errors.mistake(
    "The sign is wrong: your error grows as the logit becomes more right. Subtract sign * logit "
    "from 1."
)(lambda logits, is_fg: (1 + (2 * is_fg - 1) * logits).clamp(min=0))
hinge_errors.mistake(
    "An error is negative. A pixel that is right by more than the margin has an error of 0."
)(lambda logits, is_fg: 1 - (2 * is_fg - 1) * logits)

EXERCISES = (loss_of_set, rise, extension, weights, hinge_errors)
