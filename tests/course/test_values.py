"""What counts as equal to an expected value, how a difference is described, what is shown."""

import numpy as np
import pytest
import torch

from pfpn.course.values import Missing, brief, differ, show, show_beside


@pytest.mark.parametrize(
    ("expected", "found", "words"),
    [
        (torch.zeros(2, 3), torch.zeros(3, 2), "rows and columns swapped"),
        (torch.zeros(2, 3), torch.ones(3, 2), "Expected the shape (2, 3), found (3, 2)"),
        (torch.zeros(2), torch.zeros(3), "Expected the shape (2,), found (3,)"),
        (torch.tensor([1.0, 2]), torch.tensor([-1.0, -2]), "The sign is wrong"),
        (torch.tensor([1.0, 2, 4]), torch.tensor([2.0, 3, 5]), "off by the same amount: +1"),
        (torch.tensor([[1.0, 2], [3, 4]]), torch.tensor([[1.0, 3], [2, 4]]), "swapped"),
        (torch.tensor([1.0, 2, 4]), torch.tensor([1.0, 2, 5]), "1 of 3 numbers are wrong"),
        (torch.tensor([1.0]), torch.tensor([float("nan")]), "Found NaN"),
        (torch.tensor([1]), torch.tensor([1.0]), "of integers, found one of floats"),
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
        (
            torch.tensor([0.0, 2, 4]),
            torch.tensor([9.0, 2, 4]),
            "the first at [0]: expected 0.0, fo",
        ),
        (torch.tensor([0.0, 2, 4]), torch.tensor([9.0, 4, 8]), "3 of 3 numbers are wrong"),
        (np.array([1.0, 2]), "ab", "Expected a tensor of shape (2,), found str 'ab'"),
        (torch.tensor([9.0, 2, 4]), torch.tensor([0.0, 2, 4]), "1 of 3 numbers are wrong"),
        (torch.tensor([1.0, 2, 4]), torch.tensor([0.0, 4, 8]), "3 of 3 numbers are wrong"),
        (torch.tensor([2.0, 2, 2]), torch.tensor([3.0, 3, 3]), "3 of 3 numbers are wrong"),
        (torch.tensor([1, 2, 5]), torch.tensor([1, 2, 6]), "first at [2]: expected 5, found 6."),
        (torch.tensor([True, False]), torch.tensor([True, True]), "1 of 2 pixels are wrong"),
        (torch.tensor([[1.0, 2, 3]]), torch.tensor([[1.0], [2], [3]]), "columns swapped"),
        ([1], Missing, "Is a `return` missing"),
        ([1], [1, 2], "Expected 1 entry, found 2."),
        ([[1, 2]], np.array([[1, 3]]), "Entry 0, entry 1: Expected 2, found 3."),
        (torch.zeros(2), ["a", "b"], "found list ['a', 'b']"),
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
        (torch.tensor([1.0]), torch.tensor([1])),
        (torch.tensor([[1.0, 2]]), [[1, 2.0]]),
        (torch.tensor([1.0, 2]), np.array([1.0, 2])),
        (np.array([1.0, 2]), [1.0, 2]),
        ([1, 2], torch.tensor([1, 2])),
        ([1, 2], range(1, 3)),
        ([(0, 1)], np.array([[0, 1]])),
        ([1, 2], [torch.tensor(1), np.int64(2)]),
        ((1.0, 2.0), torch.tensor([1.0, 2.0])),
        (2.0, np.float32(2)),
        (2.0, torch.tensor([2.0])),
        (True, np.bool_(True)),
        (True, torch.tensor(True)),
        (1.0, torch.tensor(1.0, requires_grad=True)),
        (torch.zeros(0, 4), torch.zeros(0, 4)),
    ],
)
def test_values_within_the_tolerance_are_right(expected, found):
    assert differ(expected, found, 1e-5) == ""


def test_values_are_shown_briefly():
    assert brief(torch.tensor([1 / 3, 2.0])) == "[0.3333, 2.0]"
    assert brief(torch.zeros(100, 4)) == "a tensor (100, 4) of floats"
    assert brief((torch.tensor([1]), 0.123456)) == "([1], 0.1235)"
    assert brief((1,)) == "(1,)"
    assert brief(np.float32(0.5)) == "0.5"
    assert brief({(1, 0): 0.25}) == "{(1, 0): 0.25}"


def test_masks_are_drawn():
    assert show(torch.tensor([[True, False], [True, True]])) == "#.\n##"
    assert show(torch.tensor([True, False])) == "#."
    assert show(torch.eye(2).bool().expand(3, 2, 2)) == "#.  #.  #.\n.#  .#  .#"
    assert show(torch.zeros(41, 3).bool()) == "a tensor (41, 3) of booleans"
    assert show(torch.zeros(0, 3).bool()) == "a tensor (0, 3) of booleans"


def test_maps_are_shown_by_their_rows():
    assert show(torch.tensor([[1, 20], [3, 4]])) == "[[ 1, 20],\n [ 3,  4]]"
    assert show(torch.ones(2, 1, 2)) == "[[[1.0, 1.0]],\n [[1.0, 1.0]]]"
    assert show([torch.ones(1, 2), torch.ones(2, 1)]) == "0: [[1.0, 1.0]]\n1: [[1.0],\n    [1.0]]"


def test_two_masks_are_compared_in_drawings():
    expected, found = torch.tensor([[True, False]]), torch.tensor([[True, True]])
    assert show_beside(expected, found).split("\n") == [
        "expected  found  wrong",
        "#.        ##     .x",
    ]
