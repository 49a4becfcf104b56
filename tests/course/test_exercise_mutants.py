"""Exercises against answers with one change: none passes, and no diagnosis is false."""

import signal
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import pytest
from course.exercise_mutants import SOURCES, mutants

from pfpn.course import all_exercises, find
from pfpn.course.check import Case, Mistake, judge, passes, quietly, run
from pfpn.course.values import differ

MOST = 20  # mutants of each reference and of each solution in the short run
SECONDS = 1.5  # of processor time: then a mutant does not end

# Changes that make no difference for valid inputs, with the reason.
EQUIVALENT: dict[str, dict[str, str]] = {
    "00.count_regions": {
        "min -> max": "a region may be grown from any of its pixels",
        "Add -> Sub in `row + y`": "the four steps come in opposite pairs",
        "Add -> Sub in `column + x`": "the four steps come in opposite pairs",
    },
    "03.iou": {
        "True for `shared > 0`": "0 divided by the union is 0 as well",
        "Gt -> GtE in `shared > 0`": "0 divided by the union is 0 as well",
    },
    "03.nms": {
        "without `seen.append(i)`": "the list is read only by a typical mistake",
    },
    "02.label_map": {"Add -> Sub in `label + 0`": "0 is added or subtracted"},
    "04.confident_pairs": {
        "without stable= in `probs[row, column].argsort(descending=True, stable=True)`": "no two "
        "probabilities are equal",
        "True -> False": "no two probabilities are equal, so stable= has no effect",
    },
    "04.roi_align": {
        "Sub -> Add in `height - 1`": "beyond the last center both rows that are read are the last",
        "Sub -> Add in `width - 1`": "beyond the last center both columns that are read are the "
        "last",
    },
    "04.paste_mask": {
        "LtE -> Lt in `-1 <= y <= bins`": "the ring is 0, which is below the limit",
        "LtE -> Lt in `-1 <= x <= bins`": "the ring is 0, which is below the limit",
        "1 -> 2": "a wider ring of zeros on the far sides, or a limit beyond the ring",
    },
    "07.best_scores": {
        "LtE -> Lt in `cost <= 0.5`": "no two minima are equal",
        "Gt -> GtE in `costs[best] > 0.5`": "no two minima are equal",
    },
    "07.normalize_filters": {"1e-12 -> 2e-12": "no filter of a direction is that short"},
    "08.constant_loss": {"LtE -> Lt in `p <= 0.5`": "both formulas agree at one half"},
    "11.learning_rate": {
        "Lt -> LtE in `step < 1000`": "at step 1,000 the factor is 1",
        "1000 -> 1001": "at step 1,000 the factor is 1",
    },
    "06.extension": {
        "True for `wrong | truth`": "there is always a wrong pixel",
        "0.0 -> 1.0": "there is always a wrong pixel",
    },
    "09.paste_by_score": {
        "without stable= in `scores.argsort(descending=True, stable=True)`": "no two scores are "
        "equal",
        "True -> False": "no two scores are equal, so the order is not a matter of stable=",
        "1 -> 2": "a mask of one pixel that is hidden has no free pixel, and an empty `taken` "
        "of any shape is broadcast",
        "without dtype= in `torch.full(masks.shape[1:], VOID, dtype=torch.int64)`": "int64 is "
        "what torch.full takes for a whole number",
    },
    "10.mean_quality": {
        "True for `below`": "a class that takes part has a segment",
        "0.0 -> 1.0": "a class that takes part has a segment",
    },
    "10.panoptic_quality": {
        "BitOr -> BitAnd in `void | crowd`": "void is passed in both roles here",
        "BitAnd -> BitOr in `(predicted_ids == 0) & torch.tensor(False)`": "a predicted segment "
        "has no pixel where the predicted id is 0",
        "Eq -> NotEq in `predicted_ids == 0`": "combined with False",
        "0 -> 1": "combined with False",
        "False -> True": "a predicted segment has no pixel where the predicted id is 0",
        "True for `truth.any()`": "every listed segment has a pixel",
        "0.0 -> 1.0": "every listed segment has a pixel",
        "sorted -> list": "a dict has no order here",
        "Mult -> Div in `0.5 * fp * True`": "multiplied by 1",
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
    before = signal.signal(signal.SIGVTALRM, _stop)
    # Again and again: an exception that arrives while a finalizer or a callback of the garbage
    # collector runs is dropped by Python, and a mutant that only grows would take all memory.
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


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
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

    assert limited(endless) is None
    assert dropped


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


def attack(name: str, source: str, most: int | None) -> tuple[int, list[str], list[str]]:
    """Return the number of mutants, those that pass, and false or missing diagnoses."""
    exercise = find(name)
    number, passing, diagnoses = 0, [], []
    for words, answer in mutants(exercise, source, most):
        number += 1
        result = limited(partial(passes, exercise, answer, cases_of(name)))
        if result:
            passing.append(words)
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
                diagnoses.append(f"{words}: {report.diagnosis}")
    return number, passing, diagnoses


NAMES = sorted(all_exercises())
FEW = {"08.bin_of": 2, "11.share": 0}  # mutants of a single expression, where they are below 3


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", NAMES)
def test_no_answer_with_one_change_passes(name, source):
    number, passing, diagnoses = attack(name, source, MOST)
    assert number >= FEW.get(name, 3)
    assert not set(passing) - EQUIVALENT.get(name, {}).keys()
    assert not diagnoses


@pytest.mark.long
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", NAMES)
def test_no_answer_with_any_one_change_passes(name, source):
    _, passing, diagnoses = attack(name, source, None)
    assert not set(passing) - EQUIVALENT.get(name, {}).keys()
    assert not diagnoses
