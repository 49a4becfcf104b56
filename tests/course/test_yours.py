"""The reader's function where it is right, the course's where it isn't, and a line that says so."""

import pytest
import torch

from pfpn.course import yours


def double(values):
    return [2 * value for value in values]


def unwritten(values):
    raise NotImplementedError


def empty(values): ...


def wrong(values):
    return [3 * value for value in values]


def shorter(values):
    return [2 * values[0]]


def stopping(values):
    return values[7]


def other_type(values):
    return "two"


def test_a_right_answer_is_used_itself(capsys):
    def mine(values):
        return tuple(value + value for value in values)

    values = [torch.tensor([1.0, 2.0]), torch.tensor([3.0])]
    result = yours(mine, values, otherwise=double)
    assert isinstance(result, tuple)  # the reader's own result, not the course's list
    assert capsys.readouterr().out == "mine: this is your own function at work.\n"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (unwritten, "unwritten is not written yet."),
        (empty, "empty is not written yet."),
        (wrong, "wrong gives another result here."),
        (shorter, "shorter gives another result here."),
        (other_type, "other_type gives another result here."),
        (stopping, "stopping stops with IndexError: list index out of range."),
    ],
)
def test_otherwise_the_known_one_is_used_and_the_reader_is_told(answer, words, capsys):
    assert yours(answer, [1, 2], otherwise=double) == [2, 4]
    printed = capsys.readouterr().out
    assert printed.startswith(words)
    assert "The course's version is used instead." in printed


def test_numbers_may_differ_by_rounding_only():
    def nearly(values):
        return [2 * value + 1e-5 for value in values]

    assert yours(nearly, [1.0], otherwise=double) != [2.0]
    assert yours(nearly, [1.0], otherwise=double, tolerance=1e-6) == [2.0]


def test_whole_numbers_and_booleans_are_compared_too(capsys):
    assert yours(lambda: [0, 2], otherwise=lambda: [0, 2]) == [0, 2]
    mask = torch.tensor([True, False])
    assert yours(lambda: ~mask, otherwise=lambda: mask) is mask
    assert "another result" in capsys.readouterr().out
