"""Exercises of chapter 06: the Jaccard loss as a set function, and its Lovász extension."""

import torch
from torch import Tensor

from pfpn.course.ch06_lovasz.numbers import EIGHT_ERRORS, EIGHT_TRUTH
from pfpn.course.check import Exercise
from pfpn.losses.lovasz import jaccard_loss, lovasz_gradient

loss_of_set = Exercise(
    name="06.jaccard_loss",
    task="Return the Jaccard loss of a set of wrong pixels, given the set of true pixels.",
    difficulty=1,
    minutes=5,
    hints=(
        "A wrong pixel of the truth is missed; any other wrong pixel was added. What do both do"
        " to the intersection and to the union?",
        "The union of truth and prediction is the union of truth and wrong pixels. All wrong"
        " pixels are in it, and none of them is in the intersection. Mind the empty union.",
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

loss_of_set.mistake("This is the Jaccard index, intersection over union; the loss is 1 minus it.")(
    lambda wrong, truth: 1 - _loss_of_set(wrong, truth)
)
loss_of_set.mistake(
    "You divided by the number of true pixels. The pixels that were added belong to the union too."
)(lambda wrong, truth: len(wrong) / len(truth) if truth else float(bool(wrong)))
loss_of_set.mistake(
    "This is the Dice loss: it divides by the sum of both sizes, where the pixels of"
    " the intersection count twice."
)(lambda wrong, truth: len(wrong) / max(1, 2 * len(truth - wrong) + len(wrong)))
loss_of_set.mistake("The missed pixels alone: those that were added are wrong too.")(
    lambda wrong, truth: len(wrong & truth) / max(1, len(wrong | truth))
)

rise = Exercise(
    name="06.rise",
    task=(
        "Return by how much the Jaccard loss rises when one more pixel becomes wrong, from the"
        " counts alone."
    ),
    difficulty=2,
    minutes=10,
    hints=(
        "Write F = (missed + added) / (num_fg + added) before and after. Which counts does a"
        " foreground pixel change, which a background pixel?",
        "Bring both fractions over one denominator. For a foreground pixel the denominators are"
        " the same. For a background pixel most terms of the numerator cancel.",
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
rise.case("the last of the foreground", 3, 5, 4, True)

rise.mistake(
    "You gave every pixel the same rise. A missed pixel leaves the union as it is, an"
    " added one makes it larger by 1."
)(lambda missed, added, num_fg, is_fg: _rise(missed, added, num_fg, True))
rise.mistake("1 / num_fg is the rise only while nothing was added: the union is num_fg + added.")(
    lambda missed, added, num_fg, is_fg: _rise(missed, 0 if is_fg else added, num_fg, is_fg)
)


@rise.mistake(
    "The union grows by one when a background pixel is added. Divide by both unions,"
    " the one before and the one after."
)
def _one_union(missed: int, added: int, num_fg: int, is_fg: bool) -> float:
    union = num_fg + added
    return 1 / union if is_fg else (num_fg - missed) / union**2


rise.mistake(
    "The numerator of a background pixel's rise is the number of true pixels that are"
    " still found, num_fg - missed."
)(lambda missed, added, num_fg, is_fg: _rise(0, added, num_fg, is_fg))

extension = Exercise(
    name="06.extension",
    task="Return the Lovász extension of the Jaccard loss at some errors, in plain Python.",
    difficulty=2,
    minutes=15,
    hints=(
        "Let the pixels become wrong one by one, from the largest error to the smallest, and note"
        " the Jaccard loss each time.",
        "Sum over the pixels: error times (loss with this pixel - loss before it joined). The"
        " loss before the first is 0.",
    ),
)


def _weigh(errors: Tensor, is_fg: Tensor, order: Tensor) -> Tensor:
    """Return the rises of the loss when pixels join in an order, each at its own pixel."""
    return torch.zeros(len(errors)).scatter(0, order, lovasz_gradient(is_fg[order].float()))


@extension.answer
def _extension(errors: list, truth: list) -> float:
    return float(_weights(torch.tensor(errors), torch.tensor(truth)) @ torch.tensor(errors))


extension.case("one pixel costs its error", [0.25], [1])
extension.case("three pixels in no order", [0.4, 0.8, 0.1], [1, 0, 0])
extension.case("two pixels, the larger error is the background's", [0.2, 0.8], [1, 0])
extension.case("three pixels in falling order", [0.9, 0.5, 0.1], [1, 1, 0])
extension.case("all errors are 1", [1.0, 1.0, 1.0], [1, 0, 0])


@extension.mistake(
    "You weighted by the loss itself. The weight of a pixel is the *rise* of the loss"
    " when it joins."
)
def _loss_as_weight(errors: list, truth: list) -> float:
    wrong, total = torch.zeros(len(errors), dtype=torch.bool), 0.0
    for i in sorted(range(len(errors)), key=lambda i: -errors[i]):
        wrong[i] = True
        total += errors[i] * float(jaccard_loss(wrong, torch.tensor(truth).bool()))
    return total


@extension.mistake(
    "You let the pixel with the smallest error join first. Sort from the largest error"
    " to the smallest."
)
def _smallest_first(errors: list, truth: list) -> float:
    m = torch.tensor(errors)
    return float(_weigh(m, torch.tensor(truth), m.argsort()) @ m)


extension.mistake("This is the mean error: each pixel got the weight 1 / p.")(
    lambda errors, truth: sum(errors) / len(errors)
)
extension.mistake("You did not sort: the pixels joined in the order of the list.")(
    lambda errors, truth: float(lovasz_gradient(torch.tensor(truth).float()) @ torch.tensor(errors))
)

weights = Exercise(
    name="06.weights",
    task="Return the weight of each pixel, in the pixels' own order, without a loop.",
    difficulty=3,
    minutes=20,
    hints=(
        "Sort the truth by falling error; two running sums give intersection and union after"
        " each pixel; the weights are differences of neighbours.",
        "The differences stand in sorted order. Write them back with weights[order] = ...; the"
        " first difference is to the loss of the empty set, 0.",
    ),
)


@weights.answer
def _weights(errors: Tensor, is_fg: Tensor) -> Tensor:
    return _weigh(errors, is_fg, errors.argsort(descending=True, stable=True))


for _title, _errors, _is_fg in (
    ("sorted already", (0.9, 0.5, 0.1), (1, 0, 1)),
    ("rising errors", (0.1, 0.5, 0.9), (1, 0, 0)),
    ("a turn of three", (0.5, 0.1, 0.9, 0.05), (1, 1, 0, 0)),
    ("the eight pixels of the chapter", EIGHT_ERRORS, EIGHT_TRUTH),
):
    weights.case(_title, torch.tensor(_errors), torch.tensor(_is_fg))


@weights.mistake("The first pixel got no weight. Its rise is from the loss of the empty set, 0.")
def _no_first_rise(errors: Tensor, is_fg: Tensor) -> Tensor:
    return _weights(errors, is_fg).index_fill(0, errors.argmax(), 0)


weights.mistake("These are the right weights in sorted order. Bring them back to the pixels' own.")(
    lambda errors, is_fg: lovasz_gradient(is_fg[errors.argsort(descending=True)].float())
)


@weights.mistake(
    "You read from the sorted places (weights[order]) where you have to write to them"
    " (result[order] = weights)."
)
def _gather(errors: Tensor, is_fg: Tensor) -> Tensor:
    order = errors.argsort(descending=True)
    return lovasz_gradient(is_fg[order].float())[order]


weights.mistake("You sorted from the smallest error to the largest.")(
    lambda errors, is_fg: _weights(-errors, is_fg)
)

hinge_errors = Exercise(
    name="06.hinge_errors",
    task="Return the hinge errors of logits with a truth of 0 and 1.",
    difficulty=1,
    minutes=5,
    hints=(
        "Turn the truth into signs: +1 for foreground, -1 for background.",
        "1 - sign * logit, and no error below 0.",
    ),
)


@hinge_errors.answer
def _hinge_errors(logits: Tensor, is_fg: Tensor) -> Tensor:
    return (1 - (2 * is_fg - 1) * logits).clamp(min=0)


for _title, _logits, _truth in (
    ("undecided foreground", (0.0,), (1,)),
    ("foreground inside the margin, and wrong", (0.4, -2.0), (1, 1)),
    ("background that is claimed", (1.5,), (0,)),
    ("right by more than the margin", (3.0, -3.0), (1, 0)),
):
    hinge_errors.case(_title, torch.tensor(_logits), torch.tensor(_truth))

hinge_errors.mistake(
    "You multiplied by the truth, 0 or 1. Background needs the sign -1: its error grows"
    " with its logit."
)(lambda logits, is_fg: (1 - is_fg * logits).clamp(min=0))
hinge_errors.mistake(
    "There is no margin: an error starts at logit 0 here. The hinge asks for a logit of"
    " 1 on the right side."
)(lambda logits, is_fg: (-(2 * is_fg - 1) * logits).clamp(min=0))
hinge_errors.mistake(
    "An error fell below 0: what is right by more than the margin costs nothing, and earns nothing."
)(lambda logits, is_fg: 1 - (2 * is_fg - 1) * logits)

EXERCISES = (loss_of_set, rise, extension, weights, hinge_errors)
