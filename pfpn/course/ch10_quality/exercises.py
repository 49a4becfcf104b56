"""Exercises of chapter 10: IoU with void, PQ of matches, ignored segments, means, whole maps."""

from functools import partial

import torch
from torch import Tensor

from pfpn.course.check import Exercise
from pfpn.course.draw import Draw

Triple = tuple[float, float, float]  # PQ, SQ, RQ
Counts = tuple[float, ...]  # TP, FP, FN, sum of IoUs


def _masks(*texts: str) -> tuple[Tensor, ...]:
    return tuple(torch.tensor([[letter == "#" for letter in text]]) for text in texts)


def _ids(text: str) -> Tensor:
    return torch.tensor([[int(letter) for letter in row] for row in text.split()])


# 10.iou_with_void ---------------------------------------------------------------------------------

IOU = Exercise(
    name="10.iou_with_void",
    task="Return the IoU of a true and a predicted mask. Void pixels of the truth do not count.",
    difficulty=1,
    minutes=10,
    hints=(
        "A pixel of the predicted mask that lies on void is neither right nor wrong. Which of the "
        "two does it change, the intersection or the union?",
        "Take the void out of the predicted mask first (prediction & ~void). Then count the pixels "
        "that are in both masks and the pixels that are in at least one.",
    ),
)


@IOU.answer
def iou_with_void(truth: Tensor, prediction: Tensor, void: Tensor) -> float:
    """Return the IoU of two masks, where the truth's void leaves the union."""
    return float((truth & prediction).sum() / (truth | (prediction & ~void)).sum())


IOU.case("one pixel in common", *_masks("##..", ".###", "...."))
IOU.case("the prediction is larger than the truth", *_masks("##..", "###.", "...."))
IOU.case("all of the rest lies on void", *_masks("##..", "####", "..##"))
IOU.case("half of the rest lies on void", *_masks("##..", "####", "...#"))


@IOU.random
def _(draw: Draw) -> tuple[Tensor, Tensor, Tensor]:
    size = draw.integer(1, 2), draw.integer(1, 6)
    truth = draw.mask(*size)
    draw.require(truth.any())
    return truth, draw.mask(*size), draw.mask(*size) & ~truth


IOU.mistake("Void is still in your union. A pixel without a true label must not change the IoU.")(
    lambda truth, other, void: float((truth & other).sum() / (truth | other).sum())
)

IOU.mistake(
    "You divided by the sum of both areas, in which the intersection counts twice. It counts once "
    "in the union."
)(lambda truth, other, void: float((truth & other).sum() / (truth.sum() + (other & ~void).sum())))

IOU.mistake(
    "You divided by the area of the truth. That is the recall of pixels: a predicted mask that "
    "covers the whole image would have 1."
)(lambda truth, other, void: float((truth & other).sum() / truth.sum()))

IOU.mistake(
    "You divided by the area of the predicted mask. That is the precision of pixels: a mask of one "
    "right pixel would have 1."
)(lambda truth, other, void: float((truth & other).sum() / (other & ~void).sum().clamp(min=1)))

# 10.quality_of_matches ----------------------------------------------------------------------------

MATCHES = Exercise(
    name="10.quality_of_matches",
    task="From the IoUs of the matched pairs of a class and its numbers of true and of predicted "
    "segments, return (PQ, SQ, RQ). Return 0 where the divisor would be 0.",
    difficulty=1,
    minutes=10,
    hints=(
        "Each match uses one true and one predicted segment. How many true and how many predicted "
        "segments are left without a match?",
        "SQ is the mean of the IoUs. RQ is TP / (TP + FP / 2 + FN / 2). PQ is their product.",
    ),
)


@MATCHES.answer
def quality_of_matches(ious: list[float], num_truth: int, num_predicted: int) -> Triple:
    """Return (PQ, SQ, RQ) of one class."""
    return _quality(ious, len(ious), num_predicted - len(ious), num_truth - len(ious))


def _quality(ious: list[float], tp: float, fp: float, fn: float, weight: float = 0.5) -> Triple:
    below = tp + weight * (fp + fn)
    sq, rq = sum(ious) / tp if tp else 0.0, tp / below if below else 0.0
    return sq * rq, sq, rq


MATCHES.case("two of two, nothing else", [0.9, 0.7], 2, 2)
MATCHES.case("one false", [0.9, 0.7], 2, 3)
MATCHES.case("one missed", [0.9, 0.7], 3, 2)
MATCHES.case("one missed, two false", [0.8], 2, 3)
MATCHES.case("nothing matched", [], 2, 1)
MATCHES.case("a class without any segment", [], 0, 0)


@MATCHES.random
def _(draw: Draw) -> tuple[list[float], int, int]:
    ious = draw.numbers(draw.integer(0, 4), 0.5625, 1, 1 / 16)
    return ious, len(ious) + draw.integer(0, 4), len(ious) + draw.integer(0, 4)


MATCHES.mistake("Your false negatives and false positives count 1 each. They count one half each.")(
    lambda ious, n, m: _quality(ious, len(ious), m - len(ious), n - len(ious), weight=1.0)
)

MATCHES.mistake(
    "Your FN and FP contain the matched segments. FN is the number of true segments without a "
    "match, FP the number of predicted segments without a match."
)(lambda ious, n, m: _quality(ious, len(ious), m, n))

MATCHES.mistake(
    "You divided by the number of true segments. That is recall: false positives have no effect."
)(lambda ious, n, m: _quality(ious, len(ious), 0, 2 * (n - len(ious))))


@MATCHES.mistake(
    "SQ is the mean over the matched pairs. Segments without a match count in RQ only."
)
def _(ious: list[float], num_truth: int, num_predicted: int) -> Triple:
    _, _, rq = quality_of_matches(ious, num_truth, num_predicted)
    sq = sum(ious) / max(1, num_truth, num_predicted)
    return sq * rq, sq, rq


# 10.is_ignored ------------------------------------------------------------------------------------

IGNORED = Exercise(
    name="10.is_ignored",
    task="Return whether a predicted segment without a match is ignored: more than half of it lies "
    "on void or on a crowd of its class.",
    difficulty=2,
    minutes=10,
    hints=(
        "Half of which area: of the void, of the image, or of the predicted segment?",
        "Count the pixels of the predicted mask that lie on void or on the crowd, both together. "
        "They must be more than half of its area.",
    ),
)


@IGNORED.answer
def is_ignored(prediction: Tensor, void: Tensor, crowd: Tensor) -> bool:
    """Return whether an unmatched predicted segment is no false positive."""
    return bool((prediction & (void | crowd)).sum() > 0.5 * prediction.sum())


IGNORED.case("three of four pixels on void", *_masks("####", "###.", "...."))
IGNORED.case("one of four pixels on void", *_masks("####", "#...", "...."))
IGNORED.case("exactly half on void", *_masks("####", "##..", "...."))
IGNORED.case("three of four on a crowd", *_masks("####", "....", ".###"))
IGNORED.case("void and crowd together", *_masks("####", "##..", "..#."))
IGNORED.case("void outside of the segment does not count", *_masks("##....", ".#####", "......"))


@IGNORED.random
def _(draw: Draw) -> tuple[Tensor, Tensor, Tensor]:
    size = draw.integer(1, 2), draw.integer(1, 6)
    prediction, void = draw.mask(*size), draw.mask(*size)
    draw.require(prediction.any())
    return prediction, void, draw.mask(*size) & ~void


IGNORED.mistake("Exactly half is not more than half. Such a segment is a false positive.")(
    lambda mask, void, crowd: bool((mask & (void | crowd)).sum() >= 0.5 * mask.sum())
)

IGNORED.mistake("You left out the crowd. A crowd of the same class counts like void.")(
    lambda mask, void, crowd: is_ignored(mask, void, void)
)

IGNORED.mistake("One pixel on void is not enough. It must be more than half of the segment.")(
    lambda mask, void, crowd: bool((mask & (void | crowd)).any())
)

IGNORED.mistake("You compared void and crowd with one half separately. They count together.")(
    lambda mask, void, crowd: is_ignored(mask, void, void) or is_ignored(mask, crowd, crowd)
)

# 10.mean_quality ----------------------------------------------------------------------------------

MEAN = Exercise(
    name="10.mean_quality",
    task="From (TP, FP, FN, sum of IoUs) of every class of a data set, return the mean "
    "(PQ, SQ, RQ) over its classes.",
    difficulty=2,
    minutes=10,
    hints=(
        "Two decisions: which classes take part, and what do you take the mean of?",
        "A class takes part if one of its three counts is above 0. Compute PQ, SQ and RQ of each "
        "class, and then three means.",
    ),
)


@MEAN.answer
def mean_quality(classes: list[Counts]) -> Triple:
    """Return mean (PQ, SQ, RQ) over the classes that count."""
    rows = [_quality([iou_sum], *counts) for *counts, iou_sum in classes if any(counts)]
    return tuple(sum(column) / len(rows) for column in zip(*rows, strict=True))


MEAN.case("two equal classes", [(4, 1, 1, 3.2), (4, 1, 1, 3.2)])
MEAN.case(
    "one class with SQ 1 and a low RQ, one with a low SQ and RQ 1",
    [(1, 0, 18, 1.0), (10, 0, 0, 6.0)],
)
MEAN.case("a class without any segment", [(2, 0, 0, 1.8), (0, 0, 0, 0.0)])
MEAN.case("a class that is only predicted", [(2, 0, 0, 1.8), (0, 1, 0, 0.0)])
MEAN.case("a class that is only missed", [(2, 0, 0, 1.8), (0, 0, 1, 0.0)])


@MEAN.random
def _(draw: Draw) -> tuple[list[Counts]]:
    classes: list[Counts] = []
    for _ in range(draw.integer(1, 4)):
        tp = draw.pick(0, draw.integer(0, 5))
        counts = tp, draw.pick(0, 1, 4), draw.pick(0, 1, 4)
        classes.append((*counts, sum(draw.numbers(tp, 0.5625, 1, 1 / 16))))
    draw.require(any(any(counts) for *counts, _ in classes))
    return (classes,)


@MEAN.mistake(
    "A class that is neither in the truth nor in the prediction must not count as 0. Leave it out "
    "of the mean."
)
def _(classes: list[Counts]) -> Triple:
    part = sum(any(counts) for *counts, _ in classes) / len(classes)
    pq, sq, rq = mean_quality(classes)
    return pq * part, sq * part, rq * part


@MEAN.mistake(
    "Your PQ is the product of the mean SQ and the mean RQ. It should be the mean of the products."
)
def _(classes: list[Counts]) -> Triple:
    _, sq, rq = mean_quality(classes)
    return sq * rq, sq, rq


@MEAN.mistake(
    "You left out a class that is only predicted. It takes part with a PQ of 0, because it has "
    "false positives."
)
def _(classes: list[Counts]) -> Triple:
    kept = [entry for entry in classes if entry[0] + entry[2]]
    return mean_quality(kept) if kept else (0.0, 0.0, 0.0)


MEAN.mistake(
    "You added up the counts of all classes. Compute PQ for each class, so that rare classes count "
    "as much as common ones."
)(lambda classes: mean_quality([tuple(map(sum, zip(*classes, strict=True)))]))


@MEAN.mistake(
    "You left out a class without any match. If it is in the truth or in the prediction, it takes "
    "part with 0."
)
def _(classes: list[Counts]) -> Triple:
    kept = [entry for entry in classes if entry[0]]
    return mean_quality(kept) if kept else (0.0, 0.0, 0.0)


@MEAN.mistake(
    "Your mean SQ leaves out the classes without a match. By definition their SQ is 0, and it is "
    "part of the mean."
)
def _(classes: list[Counts]) -> Triple:
    pq, _, rq = mean_quality(classes)
    own = [iou_sum / tp for tp, _, _, iou_sum in classes if tp]
    return pq, sum(own) / len(own) if own else 0.0, rq


# 10.panoptic_quality ------------------------------------------------------------------------------

PANOPTIC = Exercise(
    name="10.panoptic_quality",
    task="From the true and the predicted id map of an image and the class of every id, return a "
    "dict with the PQ of each class in the truth or in the prediction. Id 0 is void. There are no "
    "crowds.",
    difficulty=3,
    minutes=35,
    hints=(
        "Three steps: collect the matches, count the segments without a match, divide. Your "
        "functions of the exercises before do most of the work.",
        "For every pair of a true and a predicted id of one class, compute the IoU with void. If "
        "it is above 0.5, the pair is a match: keep the IoU, and note that the predicted id is "
        "used. FN is the number of true segments of the class minus its matches. FP is the number "
        "of its predicted ids that are not used and of which at most half lies on void.",
    ),
)


@PANOPTIC.answer
def panoptic_quality(
    gt_ids: Tensor,
    gt_classes: dict[int, str],
    predicted_ids: Tensor,
    predicted_classes: dict[int, str],
) -> dict[str, float]:
    """Return PQ by class, of one image without crowds."""
    return _panoptic_quality(gt_ids, gt_classes, predicted_ids, predicted_classes)


def _panoptic_quality(
    gt_ids: Tensor,
    gt_classes: dict[int, str],
    predicted_ids: Tensor,
    predicted_classes: dict[int, str],
    *,
    same_class: bool = True,
    at_least: bool = False,
    count_false: bool = True,
    only_true_classes: bool = False,
    use_void: bool = True,
    in_union: bool = False,
    both_void: bool = False,
    same_id: bool = False,
    ignore: bool = True,
) -> dict[str, float]:
    void = (gt_ids == 0) & torch.tensor(use_void)
    outside = void & torch.tensor(not in_union) | (predicted_ids == 0) & torch.tensor(both_void)
    ious: dict[str, list[float]] = {}
    matched: set[int] = set()
    for i, name in gt_classes.items():
        for j, other in predicted_classes.items():
            truth = (gt_ids == i) & ~outside if both_void else gt_ids == i
            iou = iou_with_void(truth, predicted_ids == j, outside) if truth.any() else 0.0
            above = iou >= 0.5 if at_least else iou > 0.5
            if above and (name == other or not same_class) and (i == j or not same_id):
                ious.setdefault(name, []).append(iou)
                matched.add(j)
    result = {}
    names = {*gt_classes.values(), *(() if only_true_classes else predicted_classes.values())}
    for name in sorted(names):
        own = ious.get(name, [])
        fn = sum(other == name for other in gt_classes.values()) - len(own)
        kept = sum(
            other == name
            and (j in matched or not ignore or not is_ignored(predicted_ids == j, void, void))
            for j, other in predicted_classes.items()
        )
        fp = kept - len(own)
        below = len(own) + 0.5 * fn + 0.5 * fp * count_false
        result[name] = sum(own) / below if below else 0.0
    return result


_BOTH = {1: "car", 2: "road"}
PANOPTIC.case(
    "a car and a road, the border off by one pixel", _ids("11122"), _BOTH, _ids("11222"), _BOTH
)
PANOPTIC.case("ids need not agree", _ids("11122"), _BOTH, _ids("77799"), {7: "car", 9: "road"})
PANOPTIC.case(
    "the right pixels with a wrong class",
    _ids("1122"),
    _BOTH,
    _ids("1122"),
    {1: "bus", 2: "road"},
)
PANOPTIC.case(
    "a car cut into two halves",
    _ids("11113"),
    {1: "car", 3: "road"},
    _ids("11223"),
    {1: "car", 2: "car", 3: "road"},
)
PANOPTIC.case(
    "a car that is not there",
    _ids("112222"),
    _BOTH,
    _ids("113222"),
    {1: "car", 3: "car", 2: "road"},
)
PANOPTIC.case(
    "a prediction that lies partly on void, and one that lies on void",
    _ids("11002200"),
    _BOTH,
    _ids("11102233"),
    {**_BOTH, 3: "car"},
)
PANOPTIC.case("void of the prediction counts as wrong", _ids("11112"), _BOTH, _ids("11102"), _BOTH)
PANOPTIC.case(
    "exactly half of a prediction lies on void: a false positive",
    _ids("110022"),
    _BOTH,
    _ids("110332"),
    {**_BOTH, 3: "car"},
)
PANOPTIC.case(
    "a match of which most lies on void",
    _ids("1002"),
    _BOTH,
    _ids("1112"),
    _BOTH,
)
PANOPTIC.case("no segment in either", _ids("000"), {}, _ids("000"), {})


@PANOPTIC.random
def _(draw: Draw) -> tuple[Tensor, dict[int, str], Tensor, dict[int, str]]:
    size = draw.integer(1, 2), draw.integer(1, 6)
    truth, prediction = (draw.integers(*size, low=0, high=3) for _ in range(2))
    # Most predicted pixels are right, so that there are matches.
    prediction = torch.where(draw.integers(*size, low=0, high=3) > 0, truth, prediction)
    names = [
        {i: draw.pick("car", "bus", "road") for i in ids.unique().tolist() if i}
        for ids in (truth, prediction)
    ]
    names[1] = {i: draw.pick(names[0].get(i, name), name) for i, name in names[1].items()}
    return truth, names[0], prediction, names[1]


PANOPTIC.mistake(
    "You matched segments of different classes. A segment with the right pixels and a wrong class "
    "is a false negative of one class and a false positive of the other."
)(partial(_panoptic_quality, same_class=False))

PANOPTIC.mistake(
    "An IoU of exactly 0.5 is not a match. If it were, a car cut into two halves could match twice."
)(partial(_panoptic_quality, at_least=True))

PANOPTIC.mistake(
    "Your false positives have no effect. A predicted segment without a match counts one half."
)(partial(_panoptic_quality, count_false=False))

PANOPTIC.mistake("A class that is only predicted is missing from your result. Its PQ is 0.")(
    partial(_panoptic_quality, only_true_classes=True)
)

PANOPTIC.mistake(
    "You treated void of the truth (id 0) as wrong. Its pixels do not belong to the union, and a "
    "predicted segment of which more than half lies on void is ignored."
)(partial(_panoptic_quality, use_void=False))

PANOPTIC.mistake(
    "A predicted segment without a match is a false positive in your count even if more than half "
    "of it lies on void. Such a segment is ignored."
)(partial(_panoptic_quality, ignore=False))

PANOPTIC.mistake(
    "You compared segments of equal ids. The ids of the two maps have nothing to do with each "
    "other: compare every pair of one class."
)(partial(_panoptic_quality, same_id=True))

PANOPTIC.mistake(
    "Void of the truth (id 0) is still in your union. Its pixels are neither right nor wrong."
)(partial(_panoptic_quality, in_union=True))

PANOPTIC.mistake(
    "You took void of the prediction out of the union, too. Only void of the truth does not count: "
    "a true pixel without a prediction is wrong."
)(partial(_panoptic_quality, both_void=True))

EXERCISES = (IOU, MATCHES, IGNORED, MEAN, PANOPTIC)
