"""The reports on right and wrong answers to a small exercise."""

import functools

import pytest
import torch

from pfpn.boxes import iou
from pfpn.course import case, check, find
from pfpn.course.check import Case, Exercise, Outcome, examine, judge, run

DOUBLE = Exercise(
    name="99.double",
    task="Double a tensor.",
    difficulty=2,
    minutes=3,
    hints=("Add it to itself.",),
)


@DOUBLE.answer
def double(x):
    return 2 * x


@DOUBLE.examples
def cases():
    yield Case("zero stays zero", (torch.zeros(2),))
    yield Case("each number doubles", (torch.tensor([1.0, 2.0, 4.0]),))


@DOUBLE.mistake("That is the square.")
def square(x):
    return x * x


@DOUBLE.mistake("That is x + 1.")
def add_one(x):
    return x + 1


def report_on(answer):
    report = examine(DOUBLE, answer)
    return report.right, str(report)


def test_the_decorators_return_the_functions_as_they_are():
    assert DOUBLE.reference is double
    assert DOUBLE.cases is cases
    assert [mistake.function for mistake in DOUBLE.mistakes] == [square, add_one]
    assert double(3) == 6


def test_cases_are_added_in_their_order():
    add = Exercise(name="99.add", task="Add.", difficulty=1, minutes=1, hints=())
    assert list(add.cases()) == []
    add.case("small", 1, 2)
    add.case("large", 10, 20)
    assert list(add.cases()) == [Case("small", (1, 2)), Case("large", (10, 20))]


def test_a_right_answer_gets_a_list_of_its_cases():
    right, text = report_on(lambda x: x + x)
    assert right
    assert text.splitlines() == [
        "99.double: all 2 cases are right. 2 of 2 points.",
        "  + zero stays zero",
        "  + each number doubles",
    ]


def test_the_first_failure_shows_input_expected_and_found():
    right, text = report_on(lambda x: 3 * x)
    assert not right
    assert text.splitlines() == [
        "99.double: 1 of 2 cases are right. 1 of 2 points.",
        "  + zero stays zero",
        "  x each number doubles",
        "  The first case that fails: each number doubles.",
        "      x         [1.0, 2.0, 4.0]",
        "      expected  [2.0, 4.0, 8.0]",
        "      found     [3.0, 6.0, 12.0]",
        "  Every number is 1.5 times what it should be.",
        '  Get this case: inputs, expected = case("99.double", 2). More help: hint("99.double", 1)',
    ]


def test_a_typical_mistake_gets_its_message():
    assert "That is the square." in report_on(lambda x: x**2)[1]
    assert "That is x + 1." in report_on(lambda x: 1 + x)[1]


def test_a_mistake_that_fails_earlier_cases_is_not_named():
    def late(x):  # right on the first case, x + 1 on the second: not what "x + 1" does
        return x + 1 if x.any() else x

    assert "That is x + 1." not in report_on(late)[1]


@pytest.mark.parametrize("empty", [None, ...])
def test_a_stub_is_not_an_error(empty):
    right, text = report_on(lambda x: empty)
    assert not right
    assert text.startswith("99.double: not answered yet. ★★☆, about 3 minutes, 2 test cases.")


def test_a_stub_that_raises_not_implemented_is_not_an_error():
    def stub(x):
        raise NotImplementedError

    assert "not answered yet" in report_on(stub)[1]


def test_nothing_returned_later_is_a_missing_return():
    assert "Is a `return` missing" in report_on(lambda x: None if x.any() else x)[1]


def test_an_error_is_shown_with_the_case_and_not_with_its_source():
    def broken(x):
        return x.no_such_method()

    _, text = report_on(broken)
    assert "found     AttributeError: 'Tensor' object has no attribute" in text
    assert "x         [0.0, 0.0]" in text
    assert f"raised this error, in line {broken.__code__.co_firstlineno + 1}." in text
    assert "return x.no_such_method()" not in text


def test_an_answer_that_ends_the_program_is_an_error():
    def leave(x):
        raise SystemExit("bye")

    assert "SystemExit: bye" in report_on(leave)[1]


def test_a_mistake_that_the_answer_does_not_make_in_every_case_is_not_named():
    def mixed(x):  # 1 + x on the first case, something else on the second
        return x + 1 if not x.any() else x - 1

    assert "That is x + 1." not in report_on(mixed)[1]


def test_an_answer_that_changes_its_input_is_not_right():
    assert "changed its input" in report_on(lambda x: x.mul_(2))[1]


# Random cases -------------------------------------------------------------------------------------

TOTAL = Exercise(name="99.total", task="Add up.", difficulty=3, minutes=3, hints=())


@TOTAL.answer
def total(numbers, start):
    return sum(numbers) + start


@TOTAL.random
def random_total(draw):
    return draw.numbers(draw.integer(0, 6), -3, 3), draw.integer(0, 9)


@TOTAL.mistake("You forgot the start.")
def without_start(numbers, start):
    return sum(numbers)


TOTAL.case("one number", [2.0], 1)
TOTAL.case("two numbers", [2.0, 3.0], 0)


def test_random_cases_are_the_same_each_time_and_others_for_another_seed():
    first, again, other = ([case.arguments for case in TOTAL.all_cases(seed)] for seed in (0, 0, 1))
    assert first == again
    assert first[:2] == other[:2]
    assert first[2:] != other[2:]
    assert len(first) == 302


def test_an_answer_that_only_random_cases_find_wrong_is_shown_a_small_one():
    report = examine(TOTAL, lambda numbers, start: sum(numbers[:2]) + start)
    assert not report.right
    assert report.missing == ("random cases",)
    assert report.points == 2.0
    lines = str(report).splitlines()
    assert lines[3].startswith("  The first case that fails: random case ")
    assert lines[3].endswith(", made small.")
    assert lines[4:8] == [
        "      numbers   [0.0, 0.0, 0.125]",
        "      start     0",
        "      expected  0.125",
        "      found     0.0",
    ]


def test_a_diagnosis_holds_for_the_random_cases_too():
    assert examine(TOTAL, lambda numbers, start: sum(numbers)).diagnosis == "You forgot the start."
    report = examine(TOTAL, lambda numbers, start: sum(numbers) if len(numbers) < 3 else 0)
    assert report.diagnosis == "Expected 3, found 2."


def test_random_cases_print_nothing(capsys):
    examine(TOTAL, lambda numbers, start: print("hello") or sum(numbers) + start)
    assert capsys.readouterr().out.count("hello") == 2


def test_an_answer_of_one_value_earns_nothing():
    report = examine(TOTAL, lambda numbers, start: 3)
    assert "1 of 2 cases" in str(report)
    assert "returns the same value in every case" in str(report)
    assert report.points == 0


# Own code -----------------------------------------------------------------------------------------


class Callable:
    def __call__(self, a, b):
        return find("03.iou").reference(a, b)


IOU = find("03.iou")


@pytest.mark.parametrize(
    "answer",
    [
        IOU.reference,
        lambda a, b: IOU.reference(a, b),
        functools.partial(IOU.reference),
        functools.wraps(print)(lambda a, b: float(iou(*torch.tensor([[a], [b]])))),
        Callable(),
        IOU.mistakes[0].function,
    ],
    ids=["itself", "wrapped", "partial", "package", "object", "mistake"],
)
def test_an_answer_that_calls_the_package_is_refused(answer, capsys):
    assert not check("03.iou", answer)
    text = capsys.readouterr().out
    assert text.startswith("03.iou: refused. 0 of 1 point.")
    assert "An answer is your own code" in text


def test_an_answer_that_calls_the_package_in_random_cases_alone_is_refused():
    calls = []

    def late(a, b):
        calls.append(a)
        if len(calls) > 20:
            return IOU.reference(a, b)
        width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
        height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
        areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
        return width * height / (areas - width * height)

    assert "refused" in str(examine(IOU, late))


def test_a_profiler_goes_on_after_an_answer(monkeypatch):
    import sys

    seen = []
    sys.setprofile(lambda frame, event, argument: seen.append(event))
    try:
        before = sys.getprofile()
        run(double, Case("", (1,)))
        assert sys.getprofile() is before
    finally:
        sys.setprofile(None)


# Elsewhere ----------------------------------------------------------------------------------------


def test_outcomes_of_another_process_are_judged_here():
    cases = TOTAL.all_cases(seed=7, num=50)
    outcomes = [Outcome(sum(case.arguments[0])) for case in cases]
    report = judge(TOTAL, cases, outcomes)
    assert report.diagnosis == "You forgot the start."
    right = [Outcome(total(*case.arguments)) for case in cases]
    assert judge(TOTAL, cases, right).points == 3
    crashed = [*right[:-1], Outcome(error="ValueError: no")]
    assert judge(TOTAL, cases, crashed).missing == ("random cases",)


def test_a_case_is_handed_out_with_its_expected_value():
    example = case("03.iou", 2)
    assert example.title == "a box with its left half"
    inputs, expected = example
    assert list(inputs) == ["a", "b"]
    assert find("03.iou").reference(**inputs) == expected == 0.5
    assert "  expected  0.5" in repr(example)


def test_the_case_of_the_last_check_is_handed_out(capsys):
    check("03.iou", lambda a, b: 1.0)
    assert 'case("03.iou", 2)' in capsys.readouterr().out
    assert case("03.iou").title == "a box with its left half"


def test_a_case_that_is_not_there_is_refused(monkeypatch):
    with pytest.raises(ValueError, match=r"03\.iou has cases 1 to \d, not 99"):
        case("03.iou", 99)
    monkeypatch.setattr(find("00.id_to_color"), "shown", None)
    with pytest.raises(ValueError, match="no check of it has failed yet"):
        case("00.id_to_color")


def test_handed_out_inputs_may_be_changed():
    inputs, _ = case("03.nms", 1)
    inputs["boxes"].zero_()
    assert case("03.nms", 1).inputs["boxes"].any()
