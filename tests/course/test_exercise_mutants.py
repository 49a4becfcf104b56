"""Exercises against answers with one change: none passes, and no diagnosis is false."""

import gc
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import pytest
from course.exercise_mutants import SOURCES, mutants

from pfpn.course import all_exercises, find
from pfpn.course.check import Case, Mistake, judge, passes, quietly, run
from pfpn.course.values import differ

MOST = 20  # mutants of each reference and of each solution in the short run
SECONDS = 1.5  # of processor time: then a mutant does not end

# Changes that make no difference for valid inputs: the changed line, and the reason. Each of them
# has to exist and to pass.
BOTH_WAYS = "the four steps come in opposite pairs, so that all four neighbors are still reached"
IN_THE_RING = "exactly there the value is that of the ring, 0, which is below 0.5"
BEYOND_THE_RING = "beyond the ring the value is never above 0, and 0.5 is needed"
NO_TIES = "no case has two that are equal, and then every sort gives one order"
LAST_CELL = (
    "no sample of a valid box lies more than half a cell beyond the last center, and there both "
    "cells that are read are the last one"
)
HAS_A_SEGMENT = "a class that takes part has at least one segment, so the divisor is not 0"
HAS_A_PIXEL = "every segment in the list has a pixel"
COMBINED = "it is combined with False by &, so its value does not count"
AT_1000 = "at step 1,000 the warm-up has reached the factor 1"
NOT_EMPTY = "an extension sums over nested sets of wrong pixels, and the smallest has one pixel"
ZERO_IS_NO_ID = "a predicted segment has no pixel where the predicted id is 0"
OUTSIDE = "outside = void & torch.tensor(True)"
IOU = "iou = iou_with_void(truth, predicted_ids == j, outside)"
EQUIVALENT: dict[str, dict[str, str]] = {
    "00.count_regions": {
        "ends = [max(left)]": "a region may be grown from any of its pixels",
        "near = {(row - y, column + x) for y, x in steps} & left": BOTH_WAYS,
        "near = {(row + y, column - x) for y, x in steps} & left": BOTH_WAYS,
    },
    "02.label_map": {
        "labels[id_map == number] = of_thing if is_thing else label - 0": "0 is subtracted",
    },
    "03.iou": {
        "return shared / (areas - shared) if True else 0.0": "without an overlap 0 is divided by "
        "the union, which is not 0, because boxes have an area",
        "return shared / (areas - shared) if shared >= 0 else 0.0": "without an overlap 0 is "
        "divided by the union, which is not 0, because boxes have an area",
    },
    "03.nms": {
        "without `seen.append(i)`": "this list is read only by a typical mistake",
    },
    "04.confident_pairs": {
        "order = probs[row, column].argsort(descending=True)": NO_TIES,
        "order = probs[row, column].argsort(descending=True, stable=False)": NO_TIES,
    },
    "04.roi_align": {
        "y, x = (min(max(y, 0.0), height + 1), min(max(x, 0.0), width - 1))": LAST_CELL,
        "y, x = (min(max(y, 0.0), height - 1), min(max(x, 0.0), width + 1))": LAST_CELL,
        "y, x = (min(max(y, 0), height + 1), min(max(x, 0), width - 1))": LAST_CELL,
        "y, x = (min(max(y, 0), height - 1), min(max(x, 0), width + 1))": LAST_CELL,
    },
    "04.paste_mask": {
        "if -1 < y <= bins and -1 <= x <= bins:": IN_THE_RING,
        "if -1 <= y < bins and -1 <= x <= bins:": IN_THE_RING,
        "if -1 <= y <= bins and -1 < x <= bins:": IN_THE_RING,
        "if -1 <= y <= bins and -1 <= x < bins:": IN_THE_RING,
        "if -2 <= y <= bins and -1 <= x <= bins:": BEYOND_THE_RING,
        "if -1 <= y <= bins and -2 <= x <= bins:": BEYOND_THE_RING,
        "bins, ringed = (len(probs), F.pad(probs, (1, 2, 1, 1)))": "a second column of zeros",
        "bins, ringed = (len(probs), F.pad(probs, (1, 1, 1, 2)))": "a second row of zeros",
        "y, x = (min(max(y, -2), bins), min(max(x, -1), bins))": BEYOND_THE_RING,
        "y, x = (min(max(y, -1), bins), min(max(x, -2), bins))": BEYOND_THE_RING,
    },
    "06.extension": {
        "return len(wrong) / len(wrong | truth) if True else 0.0": NOT_EMPTY,
        "return len(wrong) / len(wrong | truth) if wrong | truth else 1.0": NOT_EMPTY,
    },
    "07.best_scores": {
        "return _signs(labeling) if cost < 0.5 else (0.0, 0.0)": "a least cost of exactly 0.5 has "
        "more than one best pair of scores, and the task rules that out",
        "if costs[best] >= 0.5:": "a least cost of exactly 0.5 has more than one best pair of "
        "scores, and the task rules that out",
    },
    "07.normalize_filters": {
        "return direction * (lengths[1] / lengths[0].clamp(min=2e-12))": "the limit only avoids a "
        "division by 0: a filter of zeros stays one, and no other filter is so short",
    },
    "08.constant_loss": {
        "if num_fg and p < 0.5:": "all errors are equal at 0.5, so both orders give one value",
        "if p < 0.5:": "all errors are equal at 0.5, so both orders give one value",
    },
    "09.paste_by_score": {
        "return int(part.sum()) / max(2, int(whole.sum()))": "it matters for a mask of one pixel: "
        "if that is hidden, no free pixel is left and the mask is dropped anyway",
        "id_map = torch.full(masks.shape[1:], VOID)": "torch.full makes int64 of a whole number",
        "taken = torch.zeros(masks.shape[2:], dtype=torch.bool)": "False, of whatever shape, is "
        "broadcast, and `taken | mask` has the full shape",
        "for i in scores.argsort(descending=True).tolist():": NO_TIES,
        "for i in scores.argsort(descending=True, stable=False).tolist():": NO_TIES,
    },
    "10.mean_quality": {
        "sq, rq = (sum(ious) / tp if tp else 0.0, tp / below if True else 0.0)": HAS_A_SEGMENT,
        "sq, rq = (sum(ious) / tp if tp else 0.0, tp / below if below else 1.0)": HAS_A_SEGMENT,
    },
    "10.panoptic_quality": {
        "return bool((prediction & (void & crowd)).sum() > 0.5 * prediction.sum())": "there are "
        "no crowds here, and the reference passes void in both positions",
        f"{OUTSIDE} | ((predicted_ids == 0) | torch.tensor(False))": ZERO_IS_NO_ID,
        f"{OUTSIDE} | (predicted_ids != 0) & torch.tensor(False)": COMBINED,
        f"{OUTSIDE} | (predicted_ids == 1) & torch.tensor(False)": COMBINED,
        f"{OUTSIDE} | (predicted_ids == 0) & torch.tensor(True)": ZERO_IS_NO_ID,
        f"{IOU} if True else 0.0": HAS_A_PIXEL,
        f"{IOU} if truth.any() else 1.0": HAS_A_PIXEL,
        "for name in list(names):": "the result is a dict, whose order does not count",
        "return {name: quality_of_matches(ious.get(name, []), present.count(name), "
        "kept.count(name))[0] for name in list({*present, *predicted_classes.values()})}": "the "
        "result is a dict, whose order does not count",
        "below = len(own) + 0.5 * fn + 0.5 * fp / True": "True is 1",
    },
    "11.learning_rate": {
        "if step <= 1000:": AT_1000,
        "if step < 1001:": AT_1000,
    },
}


class Endless(BaseException):
    """A mutant did not end."""


def _stop(*_: Any) -> None:
    raise Endless


@cache
def cases_of(name: str) -> list[Case]:
    return find(name).all_cases()


def limited(call: Callable[[], bool]) -> bool | None:
    """Return what a call that runs a mutant returns, None if it does not end."""
    report = sys.unraisablehook

    def report_others(dropped: Any) -> None:
        if dropped.exc_type is not Endless:
            report(dropped)

    before = signal.signal(signal.SIGVTALRM, _stop)
    # Python drops an exception that arrives while a finalizer or a callback of the garbage
    # collector runs. Hence again and again, or a mutant that only grows would take all memory;
    # and what was dropped is no fault of the test that pytest would have to report.
    sys.unraisablehook = report_others
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS, SECONDS / 10)
    try:
        try:
            return call()
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    except Endless:
        return None
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
        sys.unraisablehook = report


def test_an_exception_that_python_drops_does_not_make_a_mutant_endless():
    dropped = []

    class Finalized:
        def __del__(self) -> None:
            try:
                while True:
                    pass
            finally:
                dropped.append(True)

    def endless() -> bool:
        Finalized()
        while True:
            pass

    def callback(*_: Any) -> None:
        try:
            while not dropped[1:]:
                pass
        finally:
            dropped.append(True)

    def collecting() -> bool:
        gc.collect()
        while True:
            pass

    hook = sys.unraisablehook
    assert limited(endless) is None
    assert len(dropped) == 1
    gc.callbacks.append(callback)
    try:
        assert limited(collecting) is None
    finally:
        gc.callbacks.remove(callback)
    assert len(dropped) > 1
    assert sys.unraisablehook is hook


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_what_python_drops_otherwise_is_still_reported():
    class Faulty:
        def __del__(self) -> None:
            raise ValueError("in a finalizer")

    reported = []

    def drop() -> bool:
        Faulty()
        return True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "unraisablehook", lambda dropped: reported.append(dropped.exc_type))
        assert limited(drop)
    assert reported == [ValueError]


def is_same(name: str, mistake: Mistake, answer: Callable[..., Any]) -> bool:
    """Whether an answer does what a typical mistake does, in every case."""
    tolerance = find(name).tolerance
    for case in cases_of(name):
        theirs, ours = (run(each, case, own=False) for each in (answer, mistake.function))
        if theirs.error or ours.error:
            if not (theirs.error and ours.error):
                return False
        elif differ(ours.value, theirs.value, tolerance):
            return False
    return True


@dataclass(slots=True)
class Attack:
    """What became of an exercise's mutants."""

    number: int = 0
    passing: set[str] = field(default_factory=set)  # lines
    failing: set[str] = field(default_factory=set)  # lines
    diagnoses: list[str] = field(default_factory=list)  # false, or missing though there is one


def attack(name: str, source: str, most: int | None) -> Attack:
    """Check an exercise's mutants, among them always those that are listed as equivalent."""
    exercise, found = find(name), Attack()
    for mutant in mutants(exercise, source, most, EQUIVALENT.get(name, {})):
        found.number += 1
        answer = mutant.answer
        result = limited(partial(passes, exercise, answer, cases_of(name)))
        (found.passing if result else found.failing).add(mutant.line)
        if result is not False:
            continue
        same = [
            mistake.message
            for mistake in exercise.mistakes
            if limited(partial(is_same, name, mistake, answer))
        ]
        if same:
            with quietly():  # as when a mistake is compared: a warning is no error there
                outcomes = [run(answer, case, own=False) for case in cases_of(name)]
            report = judge(exercise, cases_of(name), outcomes)
            if report.diagnosis not in same:
                found.diagnoses.append(f"{mutant.words}: {report.diagnosis}")
    return found


def examine(name: str, most: int | None) -> int:
    """Attack an exercise from both sources; return the number of mutants."""
    listed = EQUIVALENT.get(name, {}).keys()
    attacks = [attack(name, source, most) for source in SOURCES]
    assert [found.diagnoses for found in attacks] == [[], []]
    passing = set().union(*(found.passing for found in attacks))
    failing = set().union(*(found.failing for found in attacks))
    assert passing - listed == set(), "an answer with one change passes: is a case missing?"
    assert listed - passing == set(), "listed as equivalent, but it does not exist or is found"
    assert listed & failing == set(), "listed as equivalent, but one with this line is found"
    assert min(found.number for found in attacks) >= FEW.get(name, 3)
    return sum(found.number for found in attacks)


NAMES = sorted(all_exercises())
FEW = {"08.bin_of": 2, "11.share": 0}  # mutants of a single expression, where they are below 3


@pytest.mark.parametrize("name", NAMES)
def test_no_answer_with_one_change_passes(name):
    examine(name, MOST)


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_no_answer_with_any_one_change_passes(name):
    examine(name, None)


def test_a_listed_change_that_is_none_or_is_found_is_an_error(monkeypatch):
    for line in ("if step < 999:", "if step < 2:"):
        monkeypatch.setitem(EQUIVALENT, "11.learning_rate", {line: "made up"})
        with pytest.raises(AssertionError, match=r"listed as equivalent"):
            examine("11.learning_rate", 3)
