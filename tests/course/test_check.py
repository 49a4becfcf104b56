"""Answers, right and wrong, to a small exercise, and what is said to each."""

import numpy as np
import pytest
import torch

from pfpn.course.check import Case, Exercise, Mistake, brief, differ, examine


def double(x):
    return 2 * x


EXERCISE = Exercise(
    name="99.double",
    task="Double a tensor.",
    difficulty=2,
    minutes=3,
    hints=("Add it to itself.",),
    reference=double,
    cases=lambda: [
        Case("zero stays zero", (torch.zeros(2),)),
        Case("each number doubles", (torch.tensor([1.0, 2.0, 4.0]),)),
    ],
    mistakes=(
        Mistake("That is the square.", lambda x: x * x),
        Mistake("That is x + 1.", lambda x: x + 1),
    ),
)


def says(answer):
    report = examine(EXERCISE, answer)
    return report.right, str(report)


def test_a_right_answer_is_told_what_was_right():
    right, text = says(lambda x: x + x)
    assert right
    assert text.splitlines() == [
        "99.double: all 2 cases are right.",
        "  + zero stays zero",
        "  + each number doubles",
    ]


def test_the_first_failure_shows_input_expected_and_found():
    right, text = says(lambda x: 3 * x)
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


def test_a_known_mistake_is_named():
    assert "That is the square." in says(lambda x: x**2)[1]
    assert "That is x + 1." in says(lambda x: 1 + x)[1]


def test_a_mistake_that_fails_earlier_is_not_taken_for_it():
    def late(x):  # right on the first case, x + 1 on the second: not what "x + 1" does
        return x + 1 if x.any() else x

    assert "That is x + 1." not in says(late)[1]


@pytest.mark.parametrize("empty", [None, ...])
def test_a_stub_is_not_an_error(empty):
    right, text = says(lambda x: empty)
    assert not right
    assert text.startswith("99.double: not answered yet. ★★☆, about 3 minutes, 2 cases")


def test_a_stub_that_raises_not_implemented_is_not_an_error():
    def stub(x):
        raise NotImplementedError

    assert "not answered yet" in says(stub)[1]


def test_nothing_returned_later_is_a_missing_return():
    assert "is a `return` missing" in says(lambda x: None if x.any() else x)[1]


def test_an_error_is_shown_with_its_line():
    def broken(x):
        return x.no_such_method()

    _, text = says(broken)
    assert "AttributeError: 'Tensor' object has no attribute" in text
    assert "return x.no_such_method()" in text


def test_an_answer_that_changes_its_input_is_found_out():
    assert "changed its input" in says(lambda x: x.mul_(2))[1]


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
        (np.array([1.0, 2]), [1.0, 2], "Expected a NumPy array"),
    ],
)
def test_a_difference_is_said_in_its_own_words(expected, found, words):
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
def test_what_is_equal_enough_is_right(expected, found):
    assert differ(expected, found, 1e-5) == ""


def test_values_are_shown_in_small_numbers():
    assert brief(torch.tensor([1 / 3, 2.0])) == "[0.3333, 2.0]"
    assert brief(torch.zeros(100, 4)) == "a tensor (100, 4) of floats"
    assert brief((torch.tensor([1]), 0.123456)) == "([1], 0.1235)"
