"""The reader's own function in a later cell, where it is written and right.

A notebook runs from top to bottom before any exercise is answered, so a cell that uses an answer
needs something to use in its place.
"""

from collections.abc import Callable
from typing import Any

import torch


def yours(
    answer: Callable[..., Any],
    *arguments: Any,
    otherwise: Callable[..., Any],
    tolerance: float = 1e-4,
) -> Any:
    """Return what the reader's function gives, or what `otherwise` gives if they differ.

    One line says which of the two it is, and why.

    Args:
        answer: the reader's function, written or not.
        *arguments: of both functions.
        otherwise: a function that is known to be right.
        tolerance: how far two numbers may differ, relatively and absolutely, and count as equal.
    """
    expected = otherwise(*arguments)
    name = getattr(answer, "__name__", "your function")
    try:
        result = answer(*arguments)
    except NotImplementedError:
        result = None
    except Exception as error:  # the reader's own code: anything can happen in it
        print(f"{name} stops with {type(error).__name__}: {error}. {_INSTEAD}")
        return expected
    if result is None:
        print(f"{name} is not written yet. {_INSTEAD}")
        return expected
    try:
        torch.testing.assert_close(
            _tensors(result), _tensors(expected), rtol=tolerance, atol=tolerance, check_dtype=False
        )
    except (AssertionError, TypeError, ValueError, RuntimeError):
        print(f"{name} gives another result here. {_INSTEAD} `check` helps to find the reason.")
        return expected
    print(f"{name}: this is your own function at work.")
    return result


_INSTEAD = "The course's version is used instead."


def _tensors(value: Any) -> Any:
    """Return lists and tuples as lists of tensors, so that only the numbers are compared."""
    if isinstance(value, list | tuple):
        return [_tensors(item) for item in value]
    return torch.as_tensor(value)
