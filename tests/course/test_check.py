"""The reports on right and wrong answers to a small exercise."""

import numpy as np
import pytest
import torch

from pfpn.course.check import Case, Exercise, brief, differ, examine

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
        "99.double: all 2 cases are right.",
        "  + zero stays zero",
        "  + each number doubles",
    ]


def test_the_first_failure_shows_input_expected_and_found():
    right, text = report_on(lambda x: 3 * x)
    assert not right
    assert text.splitlines() == [
        "99.double: 1 of 2 cases are right, then this one is not.",
        "  + zero stays zero",
        "  x each number doubles",
        "      input     [1.0, 2.0, 4.0]",
        "      expected  [2.0, 4.0, 8.0]",
        "      found     [3.0, 6.0, 12.0]",
        "  Every number is 1.5 times what it should be.",
        '  More help: hint("99.double", 1)',
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
    assert text.startswith("99.double: not answered yet. ★★☆, about 3 minutes, 2 cases")


def test_a_stub_that_raises_not_implemented_is_not_an_error():
    def stub(x):
        raise NotImplementedError

    assert "not answered yet" in report_on(stub)[1]


def test_nothing_returned_later_is_a_missing_return():
    assert "is a `return` missing" in report_on(lambda x: None if x.any() else x)[1]


def test_an_error_is_shown_with_its_line():
    def broken(x):
        return x.no_such_method()

    _, text = report_on(broken)
    assert "AttributeError: 'Tensor' object has no attribute" in text
    assert "return x.no_such_method()" in text


def test_an_answer_that_changes_its_input_is_not_right():
    assert "changed its input" in report_on(lambda x: x.mul_(2))[1]


@pytest.mark.parametrize(
    ("expected", "found", "words"),
    [
        (torch.zeros(2, 3), torch.zeros(3, 2), "rows and columns swapped"),
        (torch.zeros(2), torch.zeros(3), "Expected the shape (2,), found (3,)"),
        (torch.tensor([1.0, 2]), torch.tensor([-1.0, -2]), "The sign is wrong"),
        (torch.tensor([1.0, 2, 4]), torch.tensor([2.0, 3, 5]), "off by the same amount: +1"),
        (torch.tensor([[1.0, 2], [3, 4]]), torch.tensor([[1.0, 3], [2, 4]]), "swapped"),
        (torch.tensor([1.0, 2, 4]), torch.tensor([1.0, 2, 5]), "1 of 3 numbers are wrong"),
        (torch.tensor([1.0]), torch.tensor([float("nan")]), "Found NaN"),
        (torch.tensor([1.0]), torch.tensor([1]), "of floats, found one of integers"),
        (torch.tensor([True]), torch.tensor([1]), "of booleans, found one of integers"),
        (torch.tensor([1.0]), 1.0, "Expected a tensor of shape (1,)"),
        (1.0, 2.0, "Expected 1, found 2."),
        (1.0, float("nan"), "Found NaN"),
        (3, True, "Expected a number, found bool"),
        (True, 1, "Expected True, found 1"),
        ("a", "b", "Expected 'a', found 'b'"),
        ([1, 2], [1], "Expected 2 entries, found 1"),
        ((1, 2.0), (1, 3.0), "Entry 1: Expected 2, found 3"),
        ({"a": 1}, {"b": 1}, "Expected the keys ['a'], found ['b']"),
        ({"a": 1}, {"a": 2}, "At key 'a': Expected 1, found 2"),
        ([[0, 1]], [[0, 2]], "Entry 0, entry 1: Expected 1, found 2."),
        ({"a": [3]}, {"a": [4]}, "At key 'a', entry 0: Expected 3, found 4."),
        (torch.tensor([0.0, 2, 4]), torch.tensor([0.0, 3, 6]), "Every number is 1.5 times"),
        (torch.tensor([0.0, 2, 4]), torch.tensor([9.0, 2, 4]), "the first at [0]: expected 0, fo"),
        (torch.tensor([0.0, 2, 4]), torch.tensor([9.0, 4, 8]), "3 of 3 numbers are wrong"),
        (np.array([1.0, 2]), [1.0, 2], "Expected a NumPy array"),
    ],
)
def test_a_difference_is_described(expected, found, words):
    assert words in differ(expected, found, 1e-5)


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        (torch.tensor([1.0]), torch.tensor([1.0 + 1e-7])),
        (torch.tensor(3.0), 3.0),
        (2.0, torch.tensor(2.0)),
        (2, 2.0),
        ((1, [2.0]), [1, (2.0,)]),
        (torch.tensor([1.0]), torch.tensor([1.0], dtype=torch.float64)),
        (None, None),
        (torch.zeros(0, 4), torch.zeros(0, 4)),
    ],
)
def test_values_within_the_tolerance_are_right(expected, found):
    assert differ(expected, found, 1e-5) == ""


def test_values_are_shown_briefly():
    assert brief(torch.tensor([1 / 3, 2.0])) == "[0.3333, 2.0]"
    assert brief(torch.zeros(100, 4)) == "a tensor (100, 4) of floats"
    assert brief((torch.tensor([1]), 0.123456)) == "([1], 0.1235)"
