"""Exercises of chapter 08: which images, classes and bins a Lovász loss runs over."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pfpn.course.check import Case, Exercise, Mistake


def _dataset_iou(counts: Sequence[tuple[int, int, int]]) -> float:
    right, added, missed = (sum(column) for column in zip(*counts, strict=True))
    return right / (right + added + missed)


def _mean_loss(losses: list, num_fg: list, classes: str | list) -> float:
    if classes == "present":
        chosen = [c for c in range(len(losses)) if num_fg[c] > 0]
    elif classes == "all":
        chosen = list(range(len(losses)))
    else:
        chosen = [int(c) for c in classes]
    return sum(losses[c] for c in chosen) / len(chosen) if chosen else 0.0


def _constant_loss(p: float, num_fg: int, num_bg: int) -> float:
    if num_fg == 0:
        return p
    if p <= 0.5:  # all of the foreground is worse than all of the background
        return 1 - p
    return (p * num_bg + (1 - p) * num_fg) / (num_fg + num_bg)


def _bin_of(errors: Tensor, bins: int) -> Tensor:
    return (errors * bins).ceil().long()


def _bin_weights(num_fg: int, num_bg: int, left: int, union: int) -> tuple[float, float]:
    of_fg = (1 / union + 1 / (union + num_bg)) / 2
    return of_fg, (left - num_fg / 2) / (union * (union + num_bg))


# Typical mistakes -------------------------------------------------------------------------------


def _image_mean(counts: Sequence[tuple[int, int, int]]) -> float:
    values = [right / max(1, right + added + missed) for right, added, missed in counts]
    return sum(values) / len(values)


def _image_mean_without_empty(counts: Sequence[tuple[int, int, int]]) -> float:
    values = [a / (a + b + c) for a, b, c in counts if a + b + c]
    return sum(values) / len(values)


def _mixed_bin_weights(num_fg: int, num_bg: int, left: int, union: int) -> tuple[float, float]:
    of_fg, of_bg = _bin_weights(num_fg, num_bg, left, union)
    mean = (num_fg * of_fg + num_bg * of_bg) / (num_fg + num_bg)
    return mean, mean


EXERCISES = (
    Exercise(
        name="08.dataset_iou",
        task=(
            "Return the IoU of one class over a data set, given for each image the pixels found"
            " rightly, added and missed."
        ),
        difficulty=1,
        minutes=5,
        hints=(
            "One intersection and one union for the whole data set.",
            "Add up each of the three counts over the images before you divide.",
        ),
        reference=_dataset_iou,
        cases=lambda: [
            Case("one image", ([(6, 1, 2)],)),
            Case("a large region found, a small one missed", ([(90, 5, 5), (0, 0, 10)],)),
            Case("an image without the class", ([(8, 0, 2), (0, 0, 0)],)),
            Case(
                "three images, one of them with a false alarm", ([(8, 0, 2), (0, 4, 0), (5, 1, 0)],)
            ),
        ],
        mistakes=(
            Mistake(
                "This is the mean of the images' IoUs: there a small region counts as much as a"
                " large one. Add up the counts first.",
                _image_mean,
            ),
            Mistake(
                "The pixels that were added belong to the union too.",
                lambda counts: sum(c[0] for c in counts) / sum(c[0] + c[2] for c in counts),
            ),
            Mistake(
                "This is the Dice coefficient: the pixels found rightly count twice.",
                lambda counts: (
                    2 * sum(c[0] for c in counts) / sum(2 * c[0] + c[1] + c[2] for c in counts)
                ),
            ),
        ),
    ),
    Exercise(
        name="08.mean_over_classes",
        task="Return the mean of the classes' losses under `classes`: present, all, or a list.",
        difficulty=2,
        minutes=10,
        hints=(
            "First decide which classes count, then average over just those.",
            "A list is taken as it is, also where a class of it is absent. Without a class that"
            " counts the loss is 0.",
        ),
        reference=_mean_loss,
        cases=lambda: [
            Case("all classes are present", ([0.2, 0.4], [5, 5], "present")),
            Case("one of three is absent", ([0.2, 0.4, 0.9], [5, 5, 0], "present")),
            Case("the absent one counts too", ([0.2, 0.4, 0.9], [5, 5, 0], "all")),
            Case("a list, with an absent class in it", ([0.2, 0.4, 0.9], [5, 5, 0], [1, 2])),
            Case("nothing is present", ([0.3, 0.3], [0, 0], "present")),
        ],
        mistakes=(
            Mistake(
                "You left the absent class out of the sum but divided by all classes.",
                lambda losses, num_fg, classes: (
                    sum(losses[c] for c in _chosen(num_fg, classes)) / len(losses)
                ),
            ),
            Mistake(
                'You averaged over all classes. "present" leaves out those without a true pixel.',
                lambda losses, num_fg, classes: (
                    sum(losses) / len(losses)
                    if isinstance(classes, str)
                    else _mean_loss(losses, num_fg, classes)
                ),
            ),
            Mistake(
                "A list is taken as it is: you dropped a class of it that is absent.",
                lambda losses, num_fg, classes: (
                    _mean_loss(losses, num_fg, classes)
                    if isinstance(classes, str)
                    else _mean_loss(losses, num_fg, [c for c in classes if num_fg[c]])
                ),
            ),
            Mistake(
                'You left absent classes out everywhere. "all" counts them.',
                lambda losses, num_fg, classes: _mean_loss(losses, num_fg, "present"),
            ),
        ),
    ),
    Exercise(
        name="08.constant_loss",
        task=(
            "Return the Lovász loss of the foreground when every pixel gets the foreground"
            " probability p."
        ),
        difficulty=3,
        minutes=15,
        hints=(
            "There are two errors only: 1 - p on the foreground, p on the background. Which kind"
            " joins first depends on p.",
            "Once all foreground pixels are wrong the Jaccard loss is 1 and cannot rise. If the"
            " background joins first, it takes the loss up to num_bg / (num_fg + num_bg).",
        ),
        reference=_constant_loss,
        cases=lambda: [
            Case("undecided", (0.5, 2, 8)),
            Case("background is said", (0.1, 2, 8)),
            Case("foreground is said", (0.9, 2, 8)),
            Case("foreground is said, most is foreground", (0.8, 6, 2)),
            Case("there is no foreground", (0.7, 0, 10)),
        ],
        mistakes=(
            Mistake(
                "This is the mean error. Only the rises of the Jaccard loss may be weights.",
                lambda p, num_fg, num_bg: (p * num_bg + (1 - p) * num_fg) / (num_fg + num_bg),
            ),
            Mistake(
                "You let the foreground join first for every p. Above 0.5 the background has the"
                " larger error.",
                lambda p, num_fg, num_bg: 1 - p if num_fg else p,
            ),
            Mistake(
                "Without foreground the union is whatever was added: the first wrong pixel costs 1,"
                " the loss is the largest error, p.",
                lambda p, num_fg, num_bg: _constant_loss(p, num_fg, num_bg) if num_fg else 0.0,
            ),
        ),
    ),
    Exercise(
        name="08.bin_of",
        task="Return the bin of each error: bin k holds the errors above (k - 1) / K up to k / K.",
        difficulty=1,
        minutes=5,
        hints=(
            "An error of 0 has a bin of its own, 0. The largest, 1, lies in bin K.",
            "Multiply by K and round in the direction that keeps k / K in bin k.",
        ),
        reference=_bin_of,
        cases=lambda: [
            Case("inside of bins", (torch.tensor([0.1, 0.3, 0.9]), 4)),
            Case("at the edges", (torch.tensor([0.0, 0.25, 0.5, 1.0]), 4)),
            Case("a tiny error is not 0", (torch.tensor([1e-6, 0.0]), 8)),
        ],
        mistakes=(
            Mistake(
                "You rounded down: bin k would hold errors from k / K on, and 1 would need a bin of"
                " its own.",
                lambda errors, bins: (errors * bins).floor().long(),
            ),
            Mistake(
                "You rounded to the nearest. Then a bin lies around k / K, not below it.",
                lambda errors, bins: (errors * bins).round().long(),
            ),
            Mistake(
                "Everything was rounded down and moved up by 1: an error at an edge lands one bin"
                " too high, and 0 is no longer apart.",
                lambda errors, bins: (errors * bins).floor().long() + 1,
            ),
        ),
    ),
    Exercise(
        name="08.bin_weights",
        task=(
            "Return the weight of a foreground and of a background pixel of one bin: the mean of"
            " foreground first and background first."
        ),
        difficulty=3,
        minutes=20,
        hints=(
            "Foreground first: each foreground pixel rises by 1 / union, and then the background"
            " meets an intersection of left - num_fg. Background first: the other way round.",
            "A run of num_bg background pixels with intersection i raises the loss from 1 - i /"
            " union to 1 - i / (union + num_bg) in all. Share it out, then average both orders.",
        ),
        reference=_bin_weights,
        cases=lambda: [
            Case("one pixel of each kind; 4 of the truth left, union 5", (1, 1, 4, 5)),
            Case("only background", (0, 3, 4, 5)),
            Case("two and three", (2, 3, 4, 6)),
            Case("the last of the foreground", (4, 10, 4, 20)),
        ],
        mistakes=(
            Mistake(
                "This is foreground first. Average it with background first.",
                lambda num_fg, num_bg, left, union: (
                    1 / union,
                    (left - num_fg) / (union * (union + num_bg)),
                ),
            ),
            Mistake(
                "This is background first. Average it with foreground first.",
                lambda num_fg, num_bg, left, union: (
                    1 / (union + num_bg),
                    left / (union * (union + num_bg)),
                ),
            ),
            Mistake(
                "Both kinds got one weight. The loss stays right, the gradient does not: foreground"
                " and background pull in different directions.",
                _mixed_bin_weights,
            ),
        ),
        tolerance=1e-6,
    ),
)


def _chosen(num_fg: list, classes: str | list) -> list:
    if isinstance(classes, str):
        return [c for c in range(len(num_fg)) if classes == "all" or num_fg[c]]
    return list(classes)
