"""Exercises of chapter 10: IoU with void, PQ of matches, ignored segments, means, whole maps."""

from functools import partial

import torch
from torch import Tensor

from pfpn.course.check import Exercise

Triple = tuple[float, float, float]  # PQ, SQ, RQ
Counts = tuple[float, ...]  # TP, FP, FN, sum of IoUs


def _masks(*texts: str) -> tuple[Tensor, ...]:
    return tuple(torch.tensor([[letter == "#" for letter in text]]) for text in texts)


def _ids(text: str) -> Tensor:
    return torch.tensor([[int(letter) for letter in row] for row in text.split()])


# 10.iou_with_void ---------------------------------------------------------------------------------

IOU = Exercise(
    name="10.iou_with_void",
    task="Return the IoU of a true and a predicted mask, where void pixels of the truth do not "
    "count.",
    difficulty=1,
    minutes=10,
    hints=(
        "A pixel of the predicted mask that lies on void can be neither right nor wrong. From "
        "which of the two, intersection and union, has it to leave?",
        "Take the void out of the predicted mask first (prediction & ~void), then count pixels "
        "that are in both and pixels that are in either.",
    ),
)


@IOU.answer
def iou_with_void(truth: Tensor, prediction: Tensor, void: Tensor) -> float:
    """Return the IoU of two masks, where the truth's void leaves the union."""
    return float((truth & prediction).sum() / (truth | (prediction & ~void)).sum())


IOU.case("one pixel in common", *_masks("##..", ".###", "...."))
IOU.case("the prediction reaches over the truth", *_masks("##..", "###.", "...."))
IOU.case("what reaches over lies on void", *_masks("##..", "####", "..##"))
IOU.case("half of it does", *_masks("##..", "####", "...#"))

IOU.mistake("Void is still in your union. What has no label cannot count against the prediction.")(
    lambda truth, other, void: float((truth & other).sum() / (truth | other).sum())
)

IOU.mistake(
    "You divide by the sum of both areas, which counts the intersection twice. The union counts it "
    "once."
)(lambda truth, other, void: float((truth & other).sum() / (truth.sum() + (other & ~void).sum())))

IOU.mistake(
    "You divide by the area of the truth: that is recall of pixels. A predicted mask that covers "
    "the whole image would be perfect."
)(lambda truth, other, void: float((truth & other).sum() / truth.sum()))

IOU.mistake(
    "You divide by the area of the predicted mask: that is precision of pixels. One right pixel "
    "would be perfect."
)(lambda truth, other, void: float((truth & other).sum() / (other & ~void).sum()))

# 10.quality_of_matches ----------------------------------------------------------------------------

MATCHES = Exercise(
    name="10.quality_of_matches",
    task="From the IoUs of the matched pairs of a class, and how many true and predicted segments "
    "it has, return (PQ, SQ, RQ); 0 where there is nothing to divide by.",
    difficulty=1,
    minutes=10,
    hints=(
        "Each match uses up one true and one predicted segment. How many are left over on each "
        "side?",
        "SQ is the mean of the IoUs, RQ is TP over TP plus half of what is left over on both "
        "sides, PQ is their product.",
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
MATCHES.case("a class that is nowhere", [], 0, 0)

MATCHES.mistake(
    "False negatives and false positives count half each: one unmatched segment on each side costs "
    "as much as one match adds."
)(lambda ious, n, m: _quality(ious, len(ious), m - len(ious), n - len(ious), weight=1.0))

MATCHES.mistake(
    "You count matched segments among the missed and the false ones. FN is what is left of the "
    "truth after matching, FP what is left of the prediction."
)(lambda ious, n, m: _quality(ious, len(ious), m, n))

MATCHES.mistake(
    "False positives cost nothing in yours, and false negatives twice: only recall is left."
)(lambda ious, n, m: _quality(ious, len(ious), 0, 2 * (n - len(ious))))


@MATCHES.mistake("SQ is the mean over matched pairs alone. Unmatched segments count in RQ only.")
def _(ious: list[float], num_truth: int, num_predicted: int) -> Triple:
    _, _, rq = quality_of_matches(ious, num_truth, num_predicted)
    sq = sum(ious) / max(1, num_truth, num_predicted)
    return sq * rq, sq, rq


# 10.is_ignored ------------------------------------------------------------------------------------

IGNORED = Exercise(
    name="10.is_ignored",
    task="Tell whether an unmatched predicted segment is ignored: more than half of it lies on "
    "void or on a crowd of its class.",
    difficulty=2,
    minutes=10,
    hints=(
        "Half of what: of the void, of the image, or of the predicted segment?",
        "Count the pixels of the predicted mask that lie on void or on the crowd, both together, "
        "and compare with half of its area, strictly.",
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

IGNORED.mistake("Exactly half is not more than half: such a segment stays a false positive.")(
    lambda mask, void, crowd: bool((mask & (void | crowd)).sum() >= 0.5 * mask.sum())
)

IGNORED.mistake(
    "A crowd of the same class counts like void: a person predicted within a crowd is not wrong."
)(lambda mask, void, crowd: is_ignored(mask, void, void))

IGNORED.mistake("One pixel on void is not enough; it takes more than half of the segment.")(
    lambda mask, void, crowd: bool((mask & (void | crowd)).any())
)

IGNORED.mistake("Void and crowd count together, not each for itself.")(
    lambda mask, void, crowd: is_ignored(mask, void, void) or is_ignored(mask, crowd, crowd)
)

# 10.mean_quality ----------------------------------------------------------------------------------

MEAN = Exercise(
    name="10.mean_quality",
    task="From (TP, FP, FN, sum of IoUs) of every class of a data set, return its mean "
    "(PQ, SQ, RQ).",
    difficulty=2,
    minutes=10,
    hints=(
        "Two decisions: which classes take part, and is PQ averaged, or made from averages?",
        "A class takes part if any of its three counts is above 0. Compute PQ, SQ and RQ of each, "
        "then three means.",
    ),
)


@MEAN.answer
def mean_quality(classes: list[Counts]) -> Triple:
    """Return mean (PQ, SQ, RQ) over the classes that count."""
    rows = [_quality([iou_sum], *counts) for *counts, iou_sum in classes if any(counts)]
    return tuple(sum(column) / len(rows) for column in zip(*rows, strict=True))


MEAN.case("two equal classes", [(4, 1, 1, 3.2), (4, 1, 1, 3.2)])
MEAN.case(
    "a sharp one that is rarely found, a rough one that always is",
    [(1, 0, 18, 1.0), (10, 0, 0, 6.0)],
)
MEAN.case("a class that is nowhere", [(2, 0, 0, 1.8), (0, 0, 0, 0.0)])
MEAN.case("a class that was only imagined", [(2, 0, 0, 1.8), (0, 1, 0, 0.0)])


@MEAN.mistake(
    "A class that is in neither truth nor prediction says nothing about the model. It leaves the "
    "mean instead of counting as 0."
)
def _(classes: list[Counts]) -> Triple:
    part = sum(any(counts) for *counts, _ in classes) / len(classes)
    pq, sq, rq = mean_quality(classes)
    return pq * part, sq * part, rq * part


@MEAN.mistake(
    "That is the product of the means. The mean of the products is another number, and PQ is that "
    "one."
)
def _(classes: list[Counts]) -> Triple:
    _, sq, rq = mean_quality(classes)
    return sq * rq, sq, rq


MEAN.mistake(
    "A class that was predicted where there is none counts too, with a PQ of 0: else false "
    "positives of such classes would be free."
)(lambda classes: mean_quality([entry for entry in classes if entry[0] + entry[2]]))

MEAN.mistake(
    "You added up all classes. PQ is computed for each class, so that rare classes weigh as much "
    "as common ones."
)(lambda classes: mean_quality([tuple(map(sum, zip(*classes, strict=True)))]))

# 10.panoptic_quality ------------------------------------------------------------------------------

PANOPTIC = Exercise(
    name="10.panoptic_quality",
    task="From two id maps of an image and the class of every id, return a dict with the PQ of "
    "each class that is there or was predicted; id 0 is void, there are no crowds.",
    difficulty=3,
    minutes=35,
    hints=(
        "Three passes: collect the matches, count what is left over on either side, divide. The "
        "functions of the exercises before do most of it.",
        "For every pair of a true and a predicted id of one class, compute the IoU with void, and "
        "keep it if it is above 0.5, with the predicted id as used. FN is the number of true "
        "segments of the class less its matches; FP its predicted ids that are not used and not "
        "mostly on void.",
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
) -> dict[str, float]:
    void = (gt_ids == 0) & torch.tensor(use_void)
    ious: dict[str, list[float]] = {}
    matched: set[int] = set()
    for i, name in gt_classes.items():
        for j, other in predicted_classes.items():
            iou = iou_with_void(gt_ids == i, predicted_ids == j, void)
            above = iou >= 0.5 if at_least else iou > 0.5
            if above and (name == other or not same_class):
                ious.setdefault(name, []).append(iou)
                matched.add(j)
    result = {}
    names = {*gt_classes.values(), *(() if only_true_classes else predicted_classes.values())}
    for name in sorted(names):
        own = ious.get(name, [])
        fn = sum(other == name for other in gt_classes.values()) - len(own)
        fp = sum(
            other == name and j not in matched and not is_ignored(predicted_ids == j, void, void)
            for j, other in predicted_classes.items()
        )
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
    "a prediction that reaches into void, and one that lies on it",
    _ids("11002200"),
    _BOTH,
    _ids("11102233"),
    {**_BOTH, 3: "car"},
)

PANOPTIC.mistake(
    "You match segments of different classes. The right pixels under a wrong name are a false "
    "negative of one class and a false positive of the other."
)(partial(_panoptic_quality, same_class=False))

PANOPTIC.mistake(
    "An IoU of exactly 0.5 is no match. If it were, a car cut in two halves would match twice."
)(partial(_panoptic_quality, at_least=True))

PANOPTIC.mistake(
    "Predicted segments without a match cost nothing in yours. They are false positives and weigh "
    "one half each."
)(partial(_panoptic_quality, count_false=False))

PANOPTIC.mistake(
    "A class that was predicted but is not there is missing from your result. It has PQ 0."
)(partial(_panoptic_quality, only_true_classes=True))

PANOPTIC.mistake(
    "Void of the truth (id 0) leaves the union, and a predicted segment that is mostly on it is "
    "ignored."
)(partial(_panoptic_quality, use_void=False))

EXERCISES = (IOU, MATCHES, IGNORED, MEAN, PANOPTIC)
