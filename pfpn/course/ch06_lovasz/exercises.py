"""Exercises of chapter 06: the Jaccard loss as a set function, and its Lovász extension."""

import torch
from torch import Tensor

from pfpn.course.check import Case, Exercise, Mistake
from pfpn.losses.lovasz import jaccard_loss, lovasz_gradient


def _jaccard_of_sets(wrong: set, truth: set) -> float:
    return len(wrong) / len(wrong | truth) if wrong | truth else 0.0


def _rise_of(missed: int, added: int, num_fg: int, is_fg: bool) -> float:
    if is_fg:
        return 1 / (num_fg + added)
    return (num_fg - missed) / ((num_fg + added) * (num_fg + added + 1))


def _extension(errors: list, truth: list) -> float:
    return float(_weights(torch.tensor(errors), torch.tensor(truth)) @ torch.tensor(errors))


def _weights(errors: Tensor, is_fg: Tensor) -> Tensor:
    order = errors.argsort(descending=True, stable=True)
    weights = torch.zeros(len(errors))
    weights[order] = lovasz_gradient(is_fg[order].float())
    return weights


def _hinge_errors(logits: Tensor, is_fg: Tensor) -> Tensor:
    return (1 - (2 * is_fg.float() - 1) * logits).clamp(min=0)


# Typical mistakes -------------------------------------------------------------------------------


def _values_not_rises(errors: list, truth: list) -> float:
    order = sorted(range(len(errors)), key=lambda i: -errors[i])
    wrong = torch.zeros(len(errors), dtype=torch.bool)
    total = 0.0
    for i in order:
        wrong[i] = True
        total += errors[i] * float(jaccard_loss(wrong, torch.tensor(truth).bool()))
    return total


def _rising_order(errors: list, truth: list) -> float:
    order = torch.tensor(errors).argsort()
    weights = lovasz_gradient(torch.tensor(truth)[order].float())
    return float(weights @ torch.tensor(errors)[order])


def _no_first_rise(errors: Tensor, is_fg: Tensor) -> Tensor:
    order = errors.argsort(descending=True, stable=True)
    sorted_weights = lovasz_gradient(is_fg[order].float())
    weights = torch.zeros(len(errors))
    weights[order[1:]] = sorted_weights[1:]
    return weights


def _gathered(errors: Tensor, is_fg: Tensor) -> Tensor:
    order = errors.argsort(descending=True, stable=True)
    return lovasz_gradient(is_fg[order].float())[order]


EXERCISES = (
    Exercise(
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
        reference=_jaccard_of_sets,
        cases=lambda: [
            Case("one of four true pixels is missed", ({1}, {1, 2, 3, 4})),
            Case("one missed, two added", ({1, 8, 9}, {1, 2, 3, 4})),
            Case("all are missed, one added", ({1, 2, 9}, {1, 2})),
            Case("nothing is wrong", (set(), {3, 4})),
            Case("the truth is empty, one is added", ({5}, set())),
            Case("the truth is empty, nothing is wrong", (set(), set())),
        ],
        mistakes=(
            Mistake(
                "This is the Jaccard index, intersection over union; the loss is 1 minus it.",
                lambda wrong, truth: 1 - _jaccard_of_sets(wrong, truth),
            ),
            Mistake(
                "You divided by the number of true pixels. The pixels that were added belong to the"
                " union too.",
                lambda wrong, truth: len(wrong) / len(truth) if truth else float(bool(wrong)),
            ),
            Mistake(
                "This is the Dice loss: it divides by the sum of both sizes, where the pixels of"
                " the intersection count twice.",
                lambda wrong, truth: (
                    len(wrong) / (2 * len(truth - wrong) + len(wrong)) if wrong | truth else 0.0
                ),
            ),
            Mistake(
                "The missed pixels alone: those that were added are wrong too.",
                lambda wrong, truth: len(wrong & truth) / max(1, len(wrong | truth)),
            ),
        ),
    ),
    Exercise(
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
        reference=_rise_of,
        cases=lambda: [
            Case("foreground pixel, nothing wrong yet, 4 true pixels", (0, 0, 4, True)),
            Case("background pixel, one was missed", (1, 0, 4, False)),
            Case("foreground pixel, two were added", (0, 2, 4, True)),
            Case("background pixel, one missed and two added", (1, 2, 4, False)),
            Case("background pixel, all are missed", (4, 0, 4, False)),
            Case("the last of the foreground", (3, 5, 4, True)),
        ],
        mistakes=(
            Mistake(
                "You gave every pixel the same rise. A missed pixel leaves the union as it is, an"
                " added one makes it larger by 1.",
                lambda missed, added, num_fg, is_fg: 1 / (num_fg + added),
            ),
            Mistake(
                "1 / num_fg is the rise only while nothing was added: the union is num_fg + added.",
                lambda missed, added, num_fg, is_fg: (
                    1 / num_fg if is_fg else _rise_of(missed, added, num_fg, False)
                ),
            ),
            Mistake(
                "The union grows by one when a background pixel is added. Divide by both unions,"
                " the one before and the one after.",
                lambda missed, added, num_fg, is_fg: (
                    _rise_of(missed, added, num_fg, True)
                    if is_fg
                    else (num_fg - missed) / (num_fg + added) ** 2
                ),
            ),
            Mistake(
                "The numerator of a background pixel's rise is the number of true pixels that are"
                " still found, num_fg - missed.",
                lambda missed, added, num_fg, is_fg: (
                    _rise_of(missed, added, num_fg, True)
                    if is_fg
                    else num_fg / ((num_fg + added) * (num_fg + added + 1))
                ),
            ),
        ),
    ),
    Exercise(
        name="06.extension",
        task="Return the Lovász extension of the Jaccard loss at some errors, in plain Python.",
        difficulty=2,
        minutes=15,
        hints=(
            "Let the pixels join the wrong ones from the largest error to the smallest, and note"
            " the Jaccard loss each time.",
            "Sum over the pixels: error times (loss with this pixel - loss before it joined). The"
            " loss before the first is 0.",
        ),
        reference=_extension,
        cases=lambda: [
            Case("one pixel costs its error", ([0.25], [1])),
            Case("three pixels in no order", ([0.4, 0.8, 0.1], [1, 0, 0])),
            Case("two pixels, the background errs more", ([0.2, 0.8], [1, 0])),
            Case("three pixels in falling order", ([0.9, 0.5, 0.1], [1, 1, 0])),
            Case("all errors are 1", ([1.0, 1.0, 1.0], [1, 0, 0])),
        ],
        mistakes=(
            Mistake(
                "You weighted by the loss itself. The weight of a pixel is the *rise* of the loss"
                " when it joins.",
                _values_not_rises,
            ),
            Mistake(
                "You let the pixel with the smallest error join first. Sort from the largest error"
                " to the smallest.",
                _rising_order,
            ),
            Mistake(
                "This is the mean error: each pixel got the weight 1 / p.",
                lambda errors, truth: sum(errors) / len(errors),
            ),
            Mistake(
                "You did not sort: the pixels joined in the order of the list.",
                lambda errors, truth: float(
                    lovasz_gradient(torch.tensor(truth).float()) @ torch.tensor(errors)
                ),
            ),
        ),
    ),
    Exercise(
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
        reference=_weights,
        cases=lambda: [
            Case("sorted already", (torch.tensor([0.9, 0.5, 0.1]), torch.tensor([1, 0, 1]))),
            Case("rising errors", (torch.tensor([0.1, 0.5, 0.9]), torch.tensor([1, 0, 0]))),
            Case(
                "a turn of three",
                (torch.tensor([0.5, 0.1, 0.9, 0.05]), torch.tensor([1, 1, 0, 0])),
            ),
            Case(
                "the eight pixels of the chapter",
                (
                    torch.tensor([0.1, 0.7, 0.4, 0.9, 0.05, 0.3, 0.6, 0.2]),
                    torch.tensor([1, 1, 1, 0, 0, 0, 0, 0]),
                ),
            ),
        ],
        mistakes=(
            Mistake(
                "The first pixel got no weight. Its rise is from the loss of the empty set, 0.",
                _no_first_rise,
            ),
            Mistake(
                "These are the right weights in sorted order. Bring them back to the pixels' own.",
                lambda errors, is_fg: lovasz_gradient(
                    is_fg[errors.argsort(descending=True)].float()
                ),
            ),
            Mistake(
                "You read from the sorted places (weights[order]) where you have to write to them"
                " (result[order] = weights).",
                _gathered,
            ),
            Mistake(
                "You sorted from the smallest error to the largest.",
                lambda errors, is_fg: _weights(-errors, is_fg),
            ),
        ),
    ),
    Exercise(
        name="06.hinge_errors",
        task="Return the hinge errors of logits with a truth of 0 and 1.",
        difficulty=1,
        minutes=5,
        hints=(
            "Turn the truth into signs: +1 for foreground, -1 for background.",
            "1 - sign * logit, and no error below 0.",
        ),
        reference=_hinge_errors,
        cases=lambda: [
            Case("undecided foreground", (torch.tensor([0.0]), torch.tensor([1]))),
            Case(
                "foreground inside the margin, and wrong",
                (torch.tensor([0.4, -2.0]), torch.tensor([1, 1])),
            ),
            Case("background that is claimed", (torch.tensor([1.5]), torch.tensor([0]))),
            Case(
                "right by more than the margin",
                (torch.tensor([3.0, -3.0]), torch.tensor([1, 0])),
            ),
        ],
        mistakes=(
            Mistake(
                "You multiplied by the truth, 0 or 1. Background needs the sign -1: its error grows"
                " with its logit.",
                lambda logits, is_fg: (1 - is_fg * logits).clamp(min=0),
            ),
            Mistake(
                "There is no margin: an error starts at logit 0 here. The hinge asks for a logit of"
                " 1 on the right side.",
                lambda logits, is_fg: (-(2 * is_fg - 1) * logits).clamp(min=0),
            ),
            Mistake(
                "An error fell below 0: what is right by more than the margin costs nothing, and"
                " earns nothing.",
                lambda logits, is_fg: 1 - (2 * is_fg - 1) * logits,
            ),
        ),
    ),
)
