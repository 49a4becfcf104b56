"""The capstone on panoptic quality: a learner's counts and mean beside the package's."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from pfpn.course.capstone_figures import plot_map_pair
from pfpn.course.capstone_parts import StageError, attempt, kind
from pfpn.course.capstone_report import (
    Capstone,
    CapstoneReport,
    Parts,
    heading,
    session,
    unanswered,
)
from pfpn.plot.palette import category_of
from pfpn.quality import PanopticQuality
from pfpn.structures import VOID, Category, Panoptic, Sample

Counts = dict[str, tuple[float, ...]]  # class: true positives, false positives, misses, sum of IoU
STAGES = ("true positives", "false positives", "false negatives", "sum of IoU")
CLOSE = 1e-4


def names_of(panoptic: Panoptic, categories: tuple[Category, ...]) -> dict[int, str]:
    """Return the class of each segment by its id."""
    return {s.id: category_of(s, categories).name for s in panoptic.segments}


@cache
def doubtful_streets() -> tuple[Sample, ...]:
    """Return the streets with the smallest thing of each as void, as if nobody had been sure of it.

    Then some predicted segments lie on void, which the drawn world alone hardly ever shows.
    """
    streets = []
    for sample in session().streets:
        truth = sample.panoptic
        areas = {s.id: int((truth.id_map == s.id).sum()) for s in truth.segments if s.is_thing}
        if not areas:
            streets.append(sample)
            continue
        smallest = min(areas, key=areas.__getitem__)
        ids = truth.id_map.masked_fill(truth.id_map == smallest, VOID)
        kept = tuple(s for s in truth.segments if s.id != smallest)
        streets.append(replace(sample, panoptic=Panoptic(ids, kept)))
    return tuple(streets)


@cache
def package_counts() -> tuple[list[Counts], tuple[float, float, float]]:
    """Return the counts of every street, and PQ, SQ and RQ over all of them."""
    shared = session()
    whole = PanopticQuality(shared.trained.categories)
    per_street: list[Counts] = []
    for sample, stages in zip(doubtful_streets(), shared.stages, strict=True):
        quality = PanopticQuality(shared.trained.categories)
        for each in (quality, whole):
            each.update(sample.panoptic, stages["panoptic map"])
        per_street.append(
            {
                entry.category.name: (entry.tp, entry.fp, entry.fn, entry.iou_sum)
                for entry in quality.compute().per_class
                if entry.counts
            }
        )
    result = whole.compute().all
    assert result is not None
    return per_street, (result.pq, result.sq, result.rq)


def examine_quality(capstone: Capstone, parts: Parts) -> CapstoneReport:
    """Return the report on a learner's panoptic quality of the trained network's predictions."""
    shared = session()
    expected, ours = package_counts()
    sums: dict[str, list[float]] = {}
    wrong: tuple[str, int, str] | None = None
    lines = [heading(capstone)]
    try:
        for number, (sample, stages) in enumerate(
            zip(doubtful_streets(), shared.stages, strict=True)
        ):
            truth, found = sample.panoptic, stages["panoptic map"]
            names = [names_of(each, shared.trained.categories) for each in (truth, found)]
            counts = require_counts(
                attempt("counts", parts["count"], truth.id_map, names[0], found.id_map, names[1])
            )
            for name, values in counts.items():
                sums[name] = [a + b for a, b in zip(sums.get(name, [0] * 4), values, strict=True)]
            wrong = earlier(wrong, first_wrong_count(expected[number], counts, number))
        rows = [(int(tp), int(fp), int(fn), iou) for tp, fp, fn, iou in sums.values()]
        yours = attempt("PQ", parts["mean"], rows)
    except NotImplementedError:
        return unanswered(capstone)
    except StageError as error:
        return CapstoneReport(f"{heading(capstone)}\n  x {error.stage}: {error}", stage=error.stage)
    try:
        pq = [float(value) for value in yours]
    except (TypeError, ValueError):
        pq = []
    if len(pq) != 3:
        text = (
            f"{heading(capstone)}\n  x PQ: expected three numbers, PQ, SQ and RQ, found {yours!r}"
        )
        return CapstoneReport(text, stage="PQ")
    if wrong is None and max(abs(a - b) for a, b in zip(pq, ours, strict=True)) > CLOSE:
        wrong = "PQ", 0, f"your counts are right, PQ is {pq[0]:.4f} where {ours[0]:.4f} is expected"
    shown = [f"  {'over ' + str(len(shared.streets)) + ' streets':22} {'yours':>6} {'ours':>6}"]
    shown += [
        f"    {name:20} {100 * a:6.1f} {100 * b:6.1f}"
        for name, a, b in zip(("PQ", "SQ", "RQ"), pq, ours, strict=True)
    ]
    if wrong is None:
        lines += [f"  + the counts of all {len(shared.streets)} streets are the package's", *shown]
        return CapstoneReport("\n".join(lines), right=True)
    stage, number, text = wrong
    lines.append(f"  x {stage}, street {number}: {text}")
    lines += [f"  {capstone.look[stage]}"] if stage in capstone.look else []
    found = shared.stages[number]["panoptic map"]
    figure = plot_map_pair(doubtful_streets()[number], found, shared.trained.categories)
    alt = f"Street {number}: the image, its truth and the prediction. In {stage}: {text}."
    return CapstoneReport("\n".join([*lines, *shown]), False, stage, number, None, figure, alt)


def require_counts(found: Any) -> Counts:
    """Return a learner's counts.

    Raises:
        StageError: they are no dict with four numbers for each class.
    """
    if not isinstance(found, Mapping):
        raise StageError("counts", f"expected a dict by class name, found {kind(found)}")
    for name, values in found.items():
        if not isinstance(values, tuple | list) or len(values) != 4:
            raise StageError(
                "counts",
                f"expected four numbers for the class {name!r} (true positives, false positives, "
                f"false negatives, sum of IoU), found {values!r}",
            )
    return {str(name): tuple(float(value) for value in values) for name, values in found.items()}


def first_wrong_count(expected: Counts, found: Counts, street: int) -> tuple[str, int, str] | None:
    """Return the stage, the street and the words of the first count that differs, if any."""
    zeros = (0.0,) * 4
    for position, stage in enumerate(STAGES):
        for name in sorted({*expected, *found}):
            ours = expected.get(name, zeros)[position]
            yours = found.get(name, zeros)[position]
            if not abs(ours - yours) <= CLOSE:
                return stage, street, f"for {name}, {ours:.4g} is expected, {yours:.4g} is found"
    return None


def earlier(
    one: tuple[str, int, str] | None, two: tuple[str, int, str] | None
) -> tuple[str, int, str] | None:
    """Return the one of the earlier stage; of the same stage, the first."""
    if one is None or two is None:
        return one or two
    return two if STAGES.index(two[0]) < STAGES.index(one[0]) else one
