"""Random cases are valid, the same each time, and become small."""

import random

import pytest
import torch

from pfpn.course.draw import Draw, draw_cases, shrink


def test_decisions_make_the_same_case_again():
    def make(draw):
        size = draw.integer(0, 4), draw.pick(3, 5)
        return draw.tensor(*size), draw.mask(*size), draw.distinct(3, 0, 1), draw.number(-1, 1)

    first = Draw(rng=random.Random(1))
    again = Draw([])
    arguments = make(first)
    again = make(Draw(first.decisions))
    assert str(arguments) == str(again)


def test_without_a_random_generator_everything_is_the_simplest():
    draw = Draw()
    assert (draw.integer(2, 5), draw.integer(-3, 3), draw.pick("a", "b")) == (2, 0, "a")
    assert draw.number(-1, 1) == 0
    assert draw.distinct(3, 0, 1, 0.5) == [0, 0.5, 1]
    assert not draw.mask(2, 2).any()


def test_numbers_are_in_their_range():
    draw = Draw(rng=random.Random(0))
    values = [draw.number(-0.5, 0.5, 0.25) for _ in range(200)]
    assert set(values) == {-0.5, -0.25, 0, 0.25, 0.5}
    assert {draw.integer(3, 5) for _ in range(100)} == {3, 4, 5}
    whole = draw.integers(50, low=-2, high=1)
    assert whole.dtype == torch.int64
    assert set(whole.tolist()) == {-2, -1, 0, 1}
    assert sorted(draw.distinct(5, 1, 5, 1)) == [1, 2, 3, 4, 5]


def test_a_decision_that_is_too_large_becomes_the_largest():
    assert Draw([100]).integer(0, 3) == 3


def numbers(draw):
    return (draw.numbers(draw.integer(0, 12), 0, 100, 1),)


def test_a_case_is_made_small():
    cases = draw_cases(numbers, 50, "seed")

    def fails(arguments):
        return sum(arguments[0]) >= 120 and len(arguments[0]) >= 3

    _, decisions = next(case for case in cases if fails(case[0]))
    small = shrink(numbers, decisions, fails)
    assert fails(small)
    assert len(small[0]) == 3
    assert sum(small[0]) == 120


def test_shrinking_ends_where_everything_fails():
    _, decisions = draw_cases(numbers, 1, "x")[0]
    assert shrink(numbers, decisions, lambda arguments: True) == ([],)


def test_what_the_generator_rejects_is_no_case():
    def above_ten(draw):
        value = draw.integer(0, 100)
        draw.require(value > 10)
        return (value,)

    cases = draw_cases(above_ten, 100, "x")
    assert all(value > 10 for (value,), _ in cases)
    assert shrink(above_ten, cases[0][1], lambda arguments: True) == (11,)


def test_a_generator_that_rejects_everything_is_refused():
    with pytest.raises(ValueError, match="found 0 valid cases in 100 attempts, expected 5"):
        draw_cases(lambda draw: draw.require(False), 5, "x")
