"""Exercises of chapter 08: which images, classes and bins a Lovász loss runs over."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pfpn.course.check import Exercise
from pfpn.course.draw import Draw

Counts = Sequence[tuple[int, int, int]]  # correct, added and missed pixels of each image

dataset_iou = Exercise(
    name="08.dataset_iou",
    task=(
        "Return the IoU of one class over a data set, given the numbers of correct, added and "
        "missed pixels of each image."
    ),
    difficulty=1,
    minutes=5,
    hints=(
        "There is one intersection and one union for the whole data set.",
        "Add up each of the three numbers over the images before you divide.",
    ),
)


@dataset_iou.answer
def _dataset_iou(counts: Counts) -> float:
    correct, added, missed = (sum(column) for column in zip(*counts, strict=True))
    return correct / (correct + added + missed)


dataset_iou.case("one image", [(6, 1, 2)])
dataset_iou.case("a large region is right, a small one is missed", [(90, 5, 5), (0, 0, 10)])
dataset_iou.case("an image without the class", [(8, 0, 2), (0, 0, 0)])
dataset_iou.case("the class is only predicted in one image", [(8, 0, 2), (0, 4, 0), (5, 1, 0)])


@dataset_iou.random
def _random_counts(draw: Draw) -> tuple[Counts]:
    counts = [
        (draw.integer(0, 9), draw.integer(0, 9), draw.integer(0, 9))
        for _ in range(draw.integer(1, 4))
    ]
    draw.require(any(map(any, counts)))
    return (counts,)


@dataset_iou.mistake(
    "This is the mean of the IoUs of the images, in which a small region counts as much as a large"
    " one. Add up the numbers of pixels first."
)
def _mean_of_images(counts: Counts) -> float:
    return sum(row[0] / max(1, sum(row)) for row in counts) / len(counts)


@dataset_iou.mistake("The pixels that were added belong to the union, too.")
def _without_added(counts: Counts) -> float:
    correct, _, missed = (sum(column) for column in zip(*counts, strict=True))
    return correct / max(1, correct + missed)


@dataset_iou.mistake("The pixels that were missed belong to the union, too.")
def _without_missed(counts: Counts) -> float:
    correct, added, _ = (sum(column) for column in zip(*counts, strict=True))
    return correct / max(1, correct + added)


dataset_iou.mistake("This is the Dice coefficient, in which the correct pixels count twice.")(
    lambda counts: _dataset_iou([(2 * correct, *rest) for correct, *rest in counts])
)

mean_over_classes = Exercise(
    name="08.mean_over_classes",
    task='Return the mean of the losses of the classes that count: `classes` is "present", "all" or'
    " a list.",
    difficulty=2,
    minutes=10,
    hints=(
        "First decide which classes count. Then take the mean over these.",
        "All classes of a list count, also one that is absent. If no class counts, the loss is 0.",
    ),
)


@mean_over_classes.answer
def _mean_loss(losses: list, num_fg: list, classes: str | list) -> float:
    if isinstance(classes, str):
        classes = [c for c, num in enumerate(num_fg) if num or classes == "all"]
    return sum(losses[c] for c in classes) / max(1, len(classes))


def _count(num_fg: list, classes: str | list) -> int:
    if isinstance(classes, str):
        return sum(1 for num in num_fg if num or classes == "all")
    return len(classes)


mean_over_classes.case("all classes are present", [0.2, 0.4], [5, 5], "present")
LOSSES, NUM_FG = [0.2, 0.4, 0.9], [5, 5, 0]
mean_over_classes.case("one of three is absent", LOSSES, NUM_FG, "present")
mean_over_classes.case("the absent one counts too", LOSSES, NUM_FG, "all")
mean_over_classes.case("a list, with an absent class in it", LOSSES, NUM_FG, [1, 2])
mean_over_classes.case("no class is present", [0.3, 0.3], [0, 0], "present")


@mean_over_classes.random
def _random_losses(draw: Draw) -> tuple[list, list, str | list]:
    num = draw.integer(1, 4)
    chosen = [c for c in range(num) if draw.pick(False, True)]
    num_fg = [draw.pick(0, 1, 7) for _ in range(num)]
    classes = draw.pick("present", "all", "a list")
    return draw.numbers(num, 0, 1), num_fg, chosen if classes == "a list" else classes


@mean_over_classes.mistake(
    "You left absent classes out of the sum, but divided by the number of all classes."
)
def _divide_by_all(losses: list, num_fg: list, classes: str | list) -> float:
    if classes == "present":
        losses = [loss if num else 0.0 for loss, num in zip(losses, num_fg, strict=True)]
    chosen = range(len(losses)) if isinstance(classes, str) else classes
    return sum(losses[c] for c in chosen) / len(losses)


mean_over_classes.mistake(
    'You took the mean over all classes. "present" leaves out those without a true pixel.'
)(lambda losses, num_fg, classes: _mean_loss(losses, [1] * len(losses), classes))
mean_over_classes.mistake("You left out an absent class of the list. All its classes count.")(
    lambda losses, num_fg, classes: _mean_loss(
        losses, num_fg, classes if isinstance(classes, str) else [c for c in classes if num_fg[c]]
    )
)
mean_over_classes.mistake('You left absent classes out everywhere. "all" counts them.')(
    lambda losses, num_fg, classes: _mean_loss(losses, num_fg, "present")
)

mean_over_classes.mistake("This is the sum. Divide it by the number of classes that count.")(
    lambda losses, num_fg, classes: _mean_loss(losses, num_fg, classes) * _count(num_fg, classes)
)

constant_loss = Exercise(
    name="08.constant_loss",
    task=(
        "Return the Lovász loss of the foreground if every pixel has the foreground probability p."
    ),
    difficulty=3,
    minutes=15,
    hints=(
        "There are only two errors: 1 - p in the foreground and p in the background. The pixels "
        "with the larger error become wrong first, so the order depends on p.",
        "When all foreground pixels are wrong, the Jaccard loss is 1 and cannot rise any more. If "
        "all background pixels become wrong first, the loss is then num_bg / (num_fg + num_bg).",
    ),
)


def _mean_error(p: float, num_fg: int, num_bg: int) -> float:
    return (p * num_bg + (1 - p) * num_fg) / (num_fg + num_bg)


@constant_loss.answer
def _constant_loss(p: float, num_fg: int, num_bg: int) -> float:
    if num_fg and p <= 0.5:  # all of the foreground is worse than all of the background
        return 1 - p
    return _mean_error(p, num_fg, num_bg)


constant_loss.case("both errors are equal", 0.5, 2, 8)
constant_loss.case("background is predicted", 0.1, 2, 8)
constant_loss.case("foreground is predicted", 0.9, 2, 8)
constant_loss.case("foreground is predicted, most is foreground", 0.8, 6, 2)
constant_loss.case("there is no foreground", 0.7, 0, 10)
constant_loss.case("there is no background", 0.7, 5, 0)


@constant_loss.random
def _random_constant(draw: Draw) -> tuple[float, int, int]:
    num_fg, num_bg = draw.integer(0, 9), draw.integer(0, 9)
    draw.require(num_fg + num_bg)
    return draw.number(0, 1, 1 / 16), num_fg, num_bg


constant_loss.mistake("This is the mean error. The weights must be the rises of the Jaccard loss.")(
    _mean_error
)
constant_loss.mistake(
    "In your order the foreground comes first for every p. Above 0.5 the background has the larger"
    " error and comes first."
)(lambda p, num_fg, num_bg: 1 - p if num_fg else p)
constant_loss.mistake(
    "The loss is not 0 if there is no foreground. Then the first wrong pixel lifts the Jaccard loss"
    " to 1, so the loss is the largest error, p."
)(lambda p, num_fg, num_bg: _constant_loss(p, num_fg, num_bg) if num_fg else 0.0)

bin_of = Exercise(
    name="08.bin_of",
    task="Return the bin of each error: bin k holds the errors above (k - 1) / K up to k / K.",
    difficulty=1,
    minutes=5,
    hints=(
        "An error of 0 has a bin of its own, bin 0. The largest error, 1, lies in bin K.",
        "Multiply by K. In which direction do you have to round, so that k / K lies in bin k?",
    ),
)


@bin_of.answer
def _bin_of(errors: Tensor, bins: int) -> Tensor:
    return (errors * bins).ceil().long()


bin_of.case("inside of bins", torch.tensor([0.1, 0.3, 0.9]), 4)
bin_of.case("at the edges", torch.tensor([0.0, 0.25, 0.5, 1.0]), 4)
bin_of.case("a tiny error is not 0", torch.tensor([1e-6, 0.0]), 8)


@bin_of.random
def _random_bins(draw: Draw) -> tuple[Tensor, int]:
    bins = draw.pick(1, 2, 4, 8, 16)  # powers of two, so that the edges are exact
    return draw.tensor(draw.integer(1, 5), low=0, high=1), bins


bin_of.mistake(
    "You rounded down. Then bin k holds errors from k / K on, and the error 1 is alone in bin K."
)(lambda errors, bins: (errors * bins).floor().long())
bin_of.mistake("You rounded to the nearest bin. Then bin k lies around k / K, not below it.")(
    lambda errors, bins: (errors * bins).round().long()
)
bin_of.mistake(
    "You rounded down and added 1. Then an error of exactly k / K is one bin too high, and 0 has no"
    " bin of its own."
)(lambda errors, bins: (errors * bins).floor().long() + 1)

bin_weights = Exercise(
    name="08.bin_weights",
    task=(
        "Return the weight of a foreground pixel and of a background pixel of one bin: the mean "
        "of two orders, foreground first and background first."
    ),
    difficulty=3,
    minutes=20,
    hints=(
        "Foreground first: each foreground pixel lifts the loss by 1 / union. After them the "
        "intersection is left - num_fg. Background first: the intersection is left, and after it "
        "the union is union + num_bg.",
        "With the intersection i, num_bg background pixels lift the loss from 1 - i / union to"
        " 1 - i / (union + num_bg). Divide this rise by num_bg. Then take the mean of both orders.",
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
bin_weights.case("the last pixels of the foreground", 4, 10, 4, 20)


@bin_weights.random
def _random_bin(draw: Draw) -> tuple[int, int, int, int]:
    num_fg, num_bg = draw.integer(0, 6), draw.integer(1, 6)
    left = num_fg + draw.integer(0, 6)
    union = max(1, left) + draw.integer(0, 9)
    return num_fg, num_bg, left, union


bin_weights.mistake("This is the order foreground first. Take the mean with background first.")(
    lambda num_fg, num_bg, left, union: (1 / union, (left - num_fg) / (union * (union + num_bg)))
)
bin_weights.mistake("This is the order background first. Take the mean with foreground first.")(
    lambda num_fg, num_bg, left, union: (1 / (union + num_bg), left / (union * (union + num_bg)))
)


@bin_weights.mistake(
    "Both kinds of pixels have the same weight. Then the loss is right, but its gradient is not:"
    " foreground and background need weights of their own."
)
def _one_weight(num_fg: int, num_bg: int, left: int, union: int) -> tuple[float, float]:
    of_fg, of_bg = _bin_weights(num_fg, num_bg, left, union)
    mean = (num_fg * of_fg + num_bg * of_bg) / (num_fg + num_bg)
    return mean, mean


bin_weights.mistake(
    "These are the rises of all pixels of a kind together. Divide each by the number of its pixels."
)(
    lambda num_fg, num_bg, left, union: (
        num_fg * _bin_weights(num_fg, num_bg, left, union)[0],
        num_bg * _bin_weights(num_fg, num_bg, left, union)[1],
    )
)
bin_weights.mistake("This is the sum of both orders. Take their mean.")(
    lambda num_fg, num_bg, left, union: tuple(
        2 * weight for weight in _bin_weights(num_fg, num_bg, left, union)
    )
)

EXERCISES = (dataset_iou, mean_over_classes, constant_loss, bin_of, bin_weights)
