"""Exercises of chapter 10: IoU with void, PQ from matches, the means, ignored finds, whole maps."""

from typing import Any

import torch
from torch import Tensor

from pfpn.course.check import Case, Exercise, Mistake

Triple = tuple[float, float, float]  # PQ, SQ, RQ
Counts = tuple[int, int, int, float]  # TP, FP, FN, sum of IoUs

# 10.iou_with_void ---------------------------------------------------------------------------------


def iou_with_void(truth: Tensor, found: Tensor, void: Tensor) -> float:
    """Return the IoU of two masks, where the truth's void leaves the union."""
    return float((truth & found).sum() / (truth | (found & ~void)).sum())


def _keeps_void(truth: Tensor, found: Tensor, void: Tensor) -> float:
    return float((truth & found).sum() / (truth | found).sum())


def _sum_of_areas(truth: Tensor, found: Tensor, void: Tensor) -> float:
    return float((truth & found).sum() / (truth.sum() + (found & ~void).sum()))


def _over_truth(truth: Tensor, found: Tensor, void: Tensor) -> float:
    return float((truth & found).sum() / truth.sum())


def _over_found(truth: Tensor, found: Tensor, void: Tensor) -> float:
    return float((truth & found).sum() / (found & ~void).sum())


# 10.quality_of_matches ----------------------------------------------------------------------------


def quality_of_matches(ious: list[float], num_truth: int, num_found: int) -> Triple:
    """Return (PQ, SQ, RQ) of one class."""
    tp = len(ious)
    if num_truth + num_found == 0:
        return 0.0, 0.0, 0.0
    sq = sum(ious) / tp if tp else 0.0
    rq = 2 * tp / (num_truth + num_found)
    return sq * rq, sq, rq


def _of_tp_fp_fn(ious: list[float], tp: int, fp: int, fn: int, half: float) -> Triple:
    sq = sum(ious) / tp if tp else 0.0
    below = tp + half * (fp + fn)
    rq = tp / below if below else 0.0
    return sq * rq, sq, rq


def _no_halves(ious: list[float], num_truth: int, num_found: int) -> Triple:
    tp = len(ious)
    return _of_tp_fp_fn(ious, tp, num_found - tp, num_truth - tp, 1.0)


def _matched_ones_are_missed(ious: list[float], num_truth: int, num_found: int) -> Triple:
    return _of_tp_fp_fn(ious, len(ious), num_found, num_truth, 0.5)


def _forgets_false_positives(ious: list[float], num_truth: int, num_found: int) -> Triple:
    tp = len(ious)
    return _of_tp_fp_fn(ious, tp, 0, 2 * (num_truth - tp), 0.5)


def _sq_over_all(ious: list[float], num_truth: int, num_found: int) -> Triple:
    _, _, rq = quality_of_matches(ious, num_truth, num_found)
    sq = sum(ious) / max(num_truth, num_found) if num_truth + num_found else 0.0
    return sq * rq, sq, rq


# 10.mean_quality ----------------------------------------------------------------------------------


def mean_quality(classes: list[Counts]) -> Triple:
    """Return mean (PQ, SQ, RQ) over the classes that count."""
    rows = []
    for tp, fp, fn, iou_sum in classes:
        if tp + fp + fn:
            sq = iou_sum / tp if tp else 0.0
            rq = tp / (tp + 0.5 * fp + 0.5 * fn)
            rows.append((sq * rq, sq, rq))
    if not rows:
        return 0.0, 0.0, 0.0
    pq, sq, rq = (sum(column) / len(rows) for column in zip(*rows, strict=True))
    return pq, sq, rq


def _mean_over_all(classes: list[Counts]) -> Triple:
    pq, sq, rq = mean_quality(classes)
    counted = sum(tp + fp + fn > 0 for tp, fp, fn, _ in classes)
    scale = counted / len(classes)
    return pq * scale, sq * scale, rq * scale


def _product_of_means(classes: list[Counts]) -> Triple:
    _, sq, rq = mean_quality(classes)
    return sq * rq, sq, rq


def _only_true_classes(classes: list[Counts]) -> Triple:
    return mean_quality([entry for entry in classes if entry[0] + entry[2]])


def _pools_classes(classes: list[Counts]) -> Triple:
    tp, fp, fn = (sum(counts[i] for counts in (entry[:3] for entry in classes)) for i in range(3))
    return mean_quality([(tp, fp, fn, sum(iou_sum for *_, iou_sum in classes))])


# 10.is_ignored ------------------------------------------------------------------------------------


def is_ignored(found: Tensor, void: Tensor, crowd: Tensor) -> bool:
    """Tell whether an unmatched found segment is held against nobody."""
    return bool((found & (void | crowd)).sum() > 0.5 * found.sum())


def _half_is_enough(found: Tensor, void: Tensor, crowd: Tensor) -> bool:
    return bool((found & (void | crowd)).sum() >= 0.5 * found.sum())


def _crowd_does_not_count(found: Tensor, void: Tensor, crowd: Tensor) -> bool:
    return bool((found & void).sum() > 0.5 * found.sum())


def _any_pixel(found: Tensor, void: Tensor, crowd: Tensor) -> bool:
    return bool((found & (void | crowd)).any())


def _one_or_the_other(found: Tensor, void: Tensor, crowd: Tensor) -> bool:
    return any(bool((found & where).sum() > 0.5 * found.sum()) for where in (void, crowd))


# 10.panoptic_quality ------------------------------------------------------------------------------


def panoptic_quality(
    gt_ids: Tensor, gt_classes: dict[int, str], found_ids: Tensor, found_classes: dict[int, str]
) -> dict[str, float]:
    """Return PQ by class, of one image without crowds."""
    return _panoptic_quality(gt_ids, gt_classes, found_ids, found_classes)


def _panoptic_quality(
    gt_ids: Tensor,
    gt_classes: dict[int, str],
    found_ids: Tensor,
    found_classes: dict[int, str],
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
        for j, other in found_classes.items():
            iou = iou_with_void(gt_ids == i, found_ids == j, void)
            above = iou >= 0.5 if at_least else iou > 0.5
            if above and (name == other or not same_class):
                ious.setdefault(name, []).append(iou)
                matched.add(j)
    names = set(gt_classes.values())
    if not only_true_classes:
        names |= set(found_classes.values())
    result = {}
    for name in sorted(names):
        own = ious.get(name, [])
        fn = sum(other == name for other in gt_classes.values()) - len(own)
        fp = sum(
            other == name and j not in matched and not is_ignored(found_ids == j, void, void)
            for j, other in found_classes.items()
        )
        below = len(own) + 0.5 * fn + (0.5 * fp if count_false else 0.0)
        result[name] = sum(own) / below if below else 0.0
    return result


def _any_class(*maps: Any) -> dict[str, float]:
    return _panoptic_quality(*maps, same_class=False)


def _at_a_half(*maps: Any) -> dict[str, float]:
    return _panoptic_quality(*maps, at_least=True)


def _without_false(*maps: Any) -> dict[str, float]:
    return _panoptic_quality(*maps, count_false=False)


def _true_classes(*maps: Any) -> dict[str, float]:
    return _panoptic_quality(*maps, only_true_classes=True)


def _blind_to_void(*maps: Any) -> dict[str, float]:
    return _panoptic_quality(*maps, use_void=False)


def _mask(text: str) -> Tensor:
    return torch.tensor([[letter == "#" for letter in row] for row in text.split()])


def _ids(text: str) -> Tensor:
    return torch.tensor([[int(letter) for letter in row] for row in text.split()])


EXERCISES = (
    Exercise(
        name="10.iou_with_void",
        task=(
            "Return the IoU of a true and a found mask, where void pixels of the truth do not "
            "count."
        ),
        difficulty=1,
        minutes=10,
        hints=(
            "A pixel of the found mask that lies on void can be neither right nor wrong. From "
            "which of the two, intersection and union, has it to leave?",
            "Take the void out of the found mask first (found & ~void), then count pixels that are "
            "in both and pixels that are in either.",
        ),
        reference=iou_with_void,
        cases=lambda: [
            Case("one pixel in common", (_mask("##.."), _mask(".###"), _mask("...."))),
            Case("found reaches over the truth", (_mask("##.."), _mask("###."), _mask("...."))),
            Case("what reaches over lies on void", (_mask("##.."), _mask("####"), _mask("..##"))),
            Case("half of it does", (_mask("##.."), _mask("####"), _mask("...#"))),
        ],
        mistakes=(
            Mistake(
                "Void is still in your union. What nobody has labelled cannot count against the "
                "prediction.",
                _keeps_void,
            ),
            Mistake(
                "You divide by the sum of both areas, which counts the intersection twice. The "
                "union counts it once.",
                _sum_of_areas,
            ),
            Mistake(
                "You divide by the area of the truth: that is recall of pixels. A found mask that "
                "covers the whole image would be perfect.",
                _over_truth,
            ),
            Mistake(
                "You divide by the area of the found mask: that is precision of pixels. One right "
                "pixel would be perfect.",
                _over_found,
            ),
        ),
    ),
    Exercise(
        name="10.quality_of_matches",
        task=(
            "From the IoUs of the matched pairs of a class, and how many true and found segments "
            "it has, return (PQ, SQ, RQ); 0 where there is nothing to divide by."
        ),
        difficulty=1,
        minutes=10,
        hints=(
            "Each match uses up one true and one found segment. How many are left over on each "
            "side?",
            "SQ is the mean of the IoUs, RQ is TP over TP plus half of what is left over on both "
            "sides, PQ is their product.",
        ),
        reference=quality_of_matches,
        cases=lambda: [
            Case("two of two, nothing else", ([0.9, 0.7], 2, 2)),
            Case("one false", ([0.9, 0.7], 2, 3)),
            Case("one missed", ([0.9, 0.7], 3, 2)),
            Case("one missed, two false", ([0.8], 2, 3)),
            Case("nothing matched", ([], 2, 1)),
            Case("a class that is nowhere", ([], 0, 0)),
        ],
        mistakes=(
            Mistake(
                "Misses and false finds count half each: one wrong place on each side costs as "
                "much as one match earns.",
                _no_halves,
            ),
            Mistake(
                "You count matched segments among the missed and the false ones. FN is what is "
                "left of the truth after matching, FP what is left of the found.",
                _matched_ones_are_missed,
            ),
            Mistake(
                "False positives cost nothing in yours, and misses twice: only recall is left.",
                _forgets_false_positives,
            ),
            Mistake(
                "SQ is the mean over matched pairs alone. What is not matched is the business of "
                "RQ.",
                _sq_over_all,
            ),
        ),
    ),
    Exercise(
        name="10.is_ignored",
        task=(
            "Tell whether an unmatched found segment is ignored: more than half of it lies on void "
            "or on a crowd of its class."
        ),
        difficulty=2,
        minutes=10,
        hints=(
            "What is the share compared with: of the void, of the image, or of the found segment?",
            "Count the pixels of the found mask that lie on void or on the crowd, both together, "
            "and compare with half of its area, strictly.",
        ),
        reference=is_ignored,
        cases=lambda: [
            Case("three of four pixels on void", (_mask("####"), _mask("###."), _mask("...."))),
            Case("one of four pixels on void", (_mask("####"), _mask("#..."), _mask("...."))),
            Case("exactly half on void", (_mask("####"), _mask("##.."), _mask("...."))),
            Case("three of four on a crowd", (_mask("####"), _mask("...."), _mask(".###"))),
            Case("void and crowd together", (_mask("####"), _mask("##.."), _mask("..#."))),
        ],
        mistakes=(
            Mistake(
                "Exactly half is not more than half: such a segment stays a false positive.",
                _half_is_enough,
            ),
            Mistake(
                "A crowd of the same class counts like void: who finds one person in a crowd is "
                "not wrong.",
                _crowd_does_not_count,
            ),
            Mistake(
                "One pixel on void does not excuse a segment; it takes more than half of them.",
                _any_pixel,
            ),
            Mistake(
                "Void and crowd count together, not each for itself.",
                _one_or_the_other,
            ),
        ),
    ),
    Exercise(
        name="10.mean_quality",
        task=(
            "From (TP, FP, FN, sum of IoUs) of every class of a data set, return its mean "
            "(PQ, SQ, RQ)."
        ),
        difficulty=2,
        minutes=10,
        hints=(
            "Two decisions: which classes take part, and is PQ averaged, or made from averages?",
            "A class takes part if any of its three counts is above 0. Compute PQ, SQ and RQ of "
            "each, then three means.",
        ),
        reference=mean_quality,
        cases=lambda: [
            Case("two equal classes", ([(4, 1, 1, 3.2), (4, 1, 1, 3.2)],)),
            Case(
                "a sharp one that is rarely found, a rough one that always is",
                ([(1, 0, 18, 1.0), (10, 0, 0, 6.0)],),
            ),
            Case("a class that is nowhere", ([(2, 0, 0, 1.8), (0, 0, 0, 0.0)],)),
            Case("a class that was only imagined", ([(2, 0, 0, 1.8), (0, 1, 0, 0.0)],)),
        ],
        mistakes=(
            Mistake(
                "A class that is neither there nor found says nothing about the model. It leaves "
                "the mean instead of counting as 0.",
                _mean_over_all,
            ),
            Mistake(
                "That is the product of the means. The mean of the products is another number, "
                "and PQ is that one.",
                _product_of_means,
            ),
            Mistake(
                "A class that was found where there is none counts too, with a PQ of 0: else "
                "imagining things would be free.",
                _only_true_classes,
            ),
            Mistake(
                "You threw all classes into one pot. PQ is computed for each class, so that rare "
                "classes weigh as much as common ones.",
                _pools_classes,
            ),
        ),
    ),
    Exercise(
        name="10.panoptic_quality",
        task=(
            "From two id maps of an image and the class of every id, return a dict with the PQ of "
            "each class that is there or was found; id 0 is void, there are no crowds."
        ),
        difficulty=3,
        minutes=35,
        hints=(
            "Three passes: collect the matches, count what is left over on either side, divide. "
            "The functions of the exercises before do most of it.",
            "For every pair of a true and a found id of one class, compute the IoU with void, and "
            "keep it if it is above 0.5, with the found id as used. FN is the number of true "
            "segments of the class less its matches; FP its found ids that are not used and not "
            "mostly on void.",
        ),
        reference=panoptic_quality,
        cases=lambda: [
            Case(
                "a car and a road, the border off by one pixel",
                (
                    _ids("11122"),
                    {1: "car", 2: "road"},
                    _ids("11222"),
                    {1: "car", 2: "road"},
                ),
            ),
            Case(
                "ids need not agree",
                (_ids("11122"), {1: "car", 2: "road"}, _ids("77799"), {7: "car", 9: "road"}),
            ),
            Case(
                "the right pixels with a wrong class",
                (_ids("1122"), {1: "car", 2: "road"}, _ids("1122"), {1: "bus", 2: "road"}),
            ),
            Case(
                "a car cut into two halves",
                (
                    _ids("11113"),
                    {1: "car", 3: "road"},
                    _ids("11223"),
                    {1: "car", 2: "car", 3: "road"},
                ),
            ),
            Case(
                "a car that is not there",
                (
                    _ids("112222"),
                    {1: "car", 2: "road"},
                    _ids("113222"),
                    {1: "car", 3: "car", 2: "road"},
                ),
            ),
            Case(
                "a find that reaches into void, and one that lies on it",
                (
                    _ids("11002200"),
                    {1: "car", 2: "road"},
                    _ids("11102233"),
                    {1: "car", 2: "road", 3: "car"},
                ),
            ),
        ],
        mistakes=(
            Mistake(
                "You match segments of different classes. The right pixels under a wrong name are "
                "a miss for one class and a false find for the other.",
                _any_class,
            ),
            Mistake(
                "An IoU of exactly 0.5 is no match. If it were, a car cut in two halves would be "
                "found twice.",
                _at_a_half,
            ),
            Mistake(
                "Found segments without a partner cost nothing in yours. They are false positives "
                "and weigh one half each.",
                _without_false,
            ),
            Mistake(
                "A class that was found but is not there is missing from your result. It has PQ 0.",
                _true_classes,
            ),
            Mistake(
                "Void of the truth (id 0) leaves the union, and a find that is mostly on it is "
                "ignored.",
                _blind_to_void,
            ),
        ),
    ),
)
