"""Exercises of chapter 08: which images, classes and bins a Lovász loss runs over."""

from collections.abc import Sequence

import torch

from pfpn.course.check import Exercise

Counts = Sequence[tuple[int, int, int]]  # correct, added and missed pixels of each image

dataset_iou = Exercise(
    name="08.dataset_iou",
    task=(
        "Return the IoU of one class over a data set, given each image's numbers of correct, added"
        " and missed pixels."
    ),
    difficulty=1,
    minutes=5,
    hints=(
        "One intersection and one union for the whole data set.",
        "Add up each of the three counts over the images before you divide.",
    ),
)


@dataset_iou.answer
def _dataset_iou(counts: Counts) -> float:
    correct, added, missed = (sum(column) for column in zip(*counts, strict=True))
    return correct / (correct + added + missed)


dataset_iou.case("one image", [(6, 1, 2)])
dataset_iou.case("a large region found, a small one missed", [(90, 5, 5), (0, 0, 10)])
dataset_iou.case("an image without the class", [(8, 0, 2), (0, 0, 0)])
dataset_iou.case("three images, one of them with a false alarm", [(8, 0, 2), (0, 4, 0), (5, 1, 0)])


@dataset_iou.mistake(
    "This is the mean of the images' IoUs: there a small region counts as much as a"
    " large one. Add up the counts first."
)
def _mean_of_images(counts: Counts) -> float:
    return sum(row[0] / max(1, sum(row)) for row in counts) / len(counts)


dataset_iou.mistake("The pixels that were added belong to the union too.")(
    lambda counts: _dataset_iou([(correct, 0, missed) for correct, _, missed in counts])
)
dataset_iou.mistake("This is the Dice coefficient: the correct pixels count twice.")(
    lambda counts: _dataset_iou([(2 * correct, *rest) for correct, *rest in counts])
)

mean_over_classes = Exercise(
    name="08.mean_over_classes",
    task="Return the mean of the classes' losses under `classes`: present, all, or a list.",
    difficulty=2,
    minutes=10,
    hints=(
        "First decide which classes count, then average over just those.",
        "A list is taken as it is, also where a class of it is absent. Without a class that"
        " counts the loss is 0.",
    ),
)


@mean_over_classes.answer
def _mean_loss(losses: list, num_fg: list, classes: str | list) -> float:
    if isinstance(classes, str):
        classes = [c for c, num in enumerate(num_fg) if num or classes == "all"]
    return sum(losses[c] for c in classes) / max(1, len(classes))


mean_over_classes.case("all classes are present", [0.2, 0.4], [5, 5], "present")
LOSSES, NUM_FG = [0.2, 0.4, 0.9], [5, 5, 0]
mean_over_classes.case("one of three is absent", LOSSES, NUM_FG, "present")
mean_over_classes.case("the absent one counts too", LOSSES, NUM_FG, "all")
mean_over_classes.case("a list, with an absent class in it", LOSSES, NUM_FG, [1, 2])
mean_over_classes.case("nothing is present", [0.3, 0.3], [0, 0], "present")


@mean_over_classes.mistake("You left the absent class out of the sum but divided by all classes.")
def _divide_by_all(losses: list, num_fg: list, classes: str | list) -> float:
    if classes == "present":
        losses = [loss if num else 0.0 for loss, num in zip(losses, num_fg, strict=True)]
    chosen = range(len(losses)) if isinstance(classes, str) else classes
    return sum(losses[c] for c in chosen) / len(losses)


mean_over_classes.mistake(
    'You averaged over all classes. "present" leaves out those without a true pixel.'
)(lambda losses, num_fg, classes: _mean_loss(losses, [1] * len(losses), classes))
mean_over_classes.mistake("A list is taken as it is: you dropped a class of it that is absent.")(
    lambda losses, num_fg, classes: _mean_loss(
        losses, num_fg, classes if isinstance(classes, str) else [c for c in classes if num_fg[c]]
    )
)
mean_over_classes.mistake('You left absent classes out everywhere. "all" counts them.')(
    lambda losses, num_fg, classes: _mean_loss(losses, num_fg, "present")
)

constant_loss = Exercise(
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
)


def _mean_error(p: float, num_fg: int, num_bg: int) -> float:
    return (p * num_bg + (1 - p) * num_fg) / (num_fg + num_bg)


@constant_loss.answer
def _constant_loss(p: float, num_fg: int, num_bg: int) -> float:
    if num_fg and p <= 0.5:  # all of the foreground is worse than all of the background
        return 1 - p
    return _mean_error(p, num_fg, num_bg)


constant_loss.case("undecided", 0.5, 2, 8)
constant_loss.case("background is predicted", 0.1, 2, 8)
constant_loss.case("foreground is predicted", 0.9, 2, 8)
constant_loss.case("foreground is predicted, most is foreground", 0.8, 6, 2)
constant_loss.case("there is no foreground", 0.7, 0, 10)

constant_loss.mistake("This is the mean error. Only the rises of the Jaccard loss may be weights.")(
    _mean_error
)
constant_loss.mistake(
    "You let the foreground join first for every p. Above 0.5 the background has the larger error."
)(lambda p, num_fg, num_bg: 1 - p if num_fg else p)
constant_loss.mistake(
    "Without foreground the union is whatever was added: the first wrong pixel costs 1,"
    " the loss is the largest error, p."
)(lambda p, num_fg, num_bg: _constant_loss(p, num_fg, num_bg) if num_fg else 0.0)

bin_of = Exercise(
    name="08.bin_of",
    task="Return the bin of each error: bin k holds the errors above (k - 1) / K up to k / K.",
    difficulty=1,
    minutes=5,
    hints=(
        "An error of 0 has a bin of its own, 0. The largest, 1, lies in bin K.",
        "Multiply by K and round in the direction that keeps k / K in bin k.",
    ),
)
bin_of.answer(lambda errors, bins: (errors * bins).ceil().long())


bin_of.case("inside of bins", torch.tensor([0.1, 0.3, 0.9]), 4)
bin_of.case("at the edges", torch.tensor([0.0, 0.25, 0.5, 1.0]), 4)
bin_of.case("a tiny error is not 0", torch.tensor([1e-6, 0.0]), 8)

bin_of.mistake(
    "You rounded down: bin k would hold errors from k / K on, and 1 would need a bin of its own."
)(lambda errors, bins: (errors * bins).floor().long())
bin_of.mistake("You rounded to the nearest. Then a bin lies around k / K, not below it.")(
    lambda errors, bins: (errors * bins).round().long()
)
bin_of.mistake(
    "Everything was rounded down and moved up by 1: an error at an edge lands one bin"
    " too high, and 0 is no longer apart."
)(lambda errors, bins: (errors * bins).floor().long() + 1)

bin_weights = Exercise(
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
        " union to 1 - i / (union + num_bg) in all. Divide that by num_bg, then average both"
        " orders.",
    ),
    tolerance=1e-6,
)


@bin_weights.answer
def _bin_weights(num_fg: int, num_bg: int, left: int, union: int) -> tuple[float, float]:
    of_fg = (1 / union + 1 / (union + num_bg)) / 2
    return of_fg, (left - num_fg / 2) / (union * (union + num_bg))


bin_weights.case("one pixel of each kind; 4 of the truth left, union 5", 1, 1, 4, 5)
bin_weights.case("only background", 0, 3, 4, 5)
bin_weights.case("two and three", 2, 3, 4, 6)
bin_weights.case("the last of the foreground", 4, 10, 4, 20)

bin_weights.mistake("This is foreground first. Average it with background first.")(
    lambda num_fg, num_bg, left, union: (1 / union, (left - num_fg) / (union * (union + num_bg)))
)
bin_weights.mistake("This is background first. Average it with foreground first.")(
    lambda num_fg, num_bg, left, union: (1 / (union + num_bg), left / (union * (union + num_bg)))
)


@bin_weights.mistake(
    "Both kinds got one weight. The loss stays right, the gradient does not: foreground"
    " and background pull in different directions."
)
def _one_weight(num_fg: int, num_bg: int, left: int, union: int) -> tuple[float, float]:
    of_fg, of_bg = _bin_weights(num_fg, num_bg, left, union)
    mean = (num_fg * of_fg + num_bg * of_bg) / (num_fg + num_bg)
    return mean, mean


EXERCISES = (dataset_iou, mean_over_classes, constant_loss, bin_of, bin_weights)
