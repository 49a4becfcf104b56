"""Values in a report: whether two agree, how they differ, and how one is shown to a learner."""

import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

WHOLE = 100  # a tensor of more numbers is shown by its shape
LARGEST_DRAWING = (40, 80)  # rows and columns; a larger mask is shown by its shape
MAX_TEXT = 400  # characters of one shown value
NAN = "Found NaN, not a number. Is there a 0 / 0, or the logarithm of a negative number?"


class Missing:
    """Stands for the value of an answer that returned nothing."""


class Plain(str):
    """Text that is shown as it is, without quotation marks."""


def differ(expected: Any, found: Any, tolerance: float) -> str:
    """Return in which way a value differs from the expected one, "" if it does not.

    Types that can only be meant in one way are converted: an array or a tensor for a list, a
    number of NumPy or a tensor of one number for a number, whole numbers for floats.
    """
    if found is Missing:
        return "Nothing came back. Is a `return` missing on some path through your code?"
    found = _converted(expected, found)
    if isinstance(expected, Tensor):
        return _differ_tensor(expected, found, tolerance)
    if isinstance(expected, np.ndarray):
        return _differ_tensor(torch.as_tensor(expected), found, tolerance)
    if isinstance(expected, int | float) and not isinstance(expected, bool):
        return _differ_number(expected, found, tolerance)
    if isinstance(expected, Mapping):
        if not isinstance(found, Mapping):
            return f"Expected a dict, found {_kind(found)}."
        if set(expected) != set(found):
            keys, others = (brief(sorted(value, key=str)) for value in (expected, found))
            return f"Expected the keys {keys}, found {others}."
        inner = ((f"At key {k!r}", differ(v, found[k], tolerance)) for k, v in expected.items())
        return _first_inside(inner)
    if isinstance(expected, list | tuple):
        if not isinstance(found, list | tuple):
            return f"Expected a {type(expected).__name__}, found {_kind(found)}."
        if len(expected) != len(found):
            num = len(expected)
            return f"Expected {num} entr{'y' if num == 1 else 'ies'}, found {len(found)}."
        pairs = enumerate(zip(expected, found, strict=True))
        return _first_inside((f"Entry {i}", differ(e, f, tolerance)) for i, (e, f) in pairs)
    return "" if _equal(expected, found) else f"Expected {brief(expected)}, found {brief(found)}."


def _converted(expected: Any, found: Any) -> Any:
    """Return `found` in the type of `expected`, where it can only be meant in one way."""
    if isinstance(found, np.generic):
        found = found.item()
    if isinstance(found, Tensor):
        found = found.detach().cpu()
    if isinstance(expected, Tensor | np.ndarray):
        of_numbers = isinstance(found, list | tuple) and len(expected) > 0
        if isinstance(found, np.ndarray) or of_numbers:
            try:
                return torch.as_tensor(found)
            except (TypeError, ValueError, RuntimeError):  # rows of unequal length, or no numbers
                return found
        return found
    if isinstance(found, range):
        found = list(found)
    if not isinstance(found, Tensor | np.ndarray):
        return found
    if isinstance(expected, list | tuple):
        return found.tolist() if found.ndim else found
    one = math.prod(found.shape) == 1
    return found.item() if one and isinstance(expected, bool | int | float) else found


def _differ_number(expected: float, found: Any, tolerance: float) -> str:
    if isinstance(found, bool) or not isinstance(found, Real):
        return f"Expected a number, found {_kind(found)}."
    value = float(found)
    if math.isnan(value) and not math.isnan(expected):
        return NAN
    if expected == value or abs(expected - value) <= tolerance * max(1.0, abs(expected)):
        return ""
    return _relation(torch.tensor([float(expected)]), torch.tensor([value]))


def _differ_tensor(expected: Tensor, found: Any, tolerance: float) -> str:
    if not isinstance(found, Tensor):
        if expected.ndim == 0 and isinstance(found, int | float):
            return _differ_number(expected.item(), found, tolerance)
        return f"Expected a tensor of shape {tuple(expected.shape)}, found {_kind(found)}."
    if found.shape != expected.shape:
        if found.ndim == 2 and found.T.shape == expected.shape and torch.equal(found.T, expected):
            return "These are the right numbers with rows and columns swapped."
        return f"Expected the shape {tuple(expected.shape)}, found {tuple(found.shape)}."
    kinds = _dtype(expected), _dtype(found)
    if kinds[0] != kinds[1] and kinds != ("floats", "integers"):
        return f"Expected a tensor of {kinds[0]}, found one of {kinds[1]}."
    if not expected.numel():
        return ""
    a, b = expected.detach().double(), found.double()
    if b.isnan().any() and not a.isnan().any():
        return NAN
    if torch.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True):
        return ""
    relation = "" if kinds[0] == "booleans" else _relation(a, b)
    return relation or _count_wrong(expected, found)


def _relation(a: Tensor, b: Tensor, close: float = 1e-6) -> str:
    """Return how wrong numbers `b` relate to the right ones `a`, "" if not all in one way."""

    def equal(first: Tensor, second: Tensor) -> bool:
        return torch.allclose(first, second, rtol=close, atol=close)

    if a.ndim == 2 and a.shape[0] == a.shape[1] and equal(a.T, b):
        return "These are the right numbers with rows and columns swapped."
    if equal(-a, b):
        return "The sign is wrong, the size is right."
    if a.numel() == 1:
        return f"Expected {a.item():.4g}, found {b.item():.4g}."
    large = a.abs() > close
    # With one number, or several equal ones, a factor and a shift cannot be told apart.
    if a.isfinite().all() and b.isfinite().all() and a[large].unique().numel() > 1:
        ratio, shift = (b[large] / a[large]).median(), (b - a).median()
        if ratio.abs() > close and equal(ratio * a, b):
            return f"Every number is {ratio:.4g} times what it should be."
        if equal(a + shift, b):
            return f"Every number is off by the same amount: {shift:+.4g}."
    return ""


def _count_wrong(a: Tensor, b: Tensor) -> str:
    """Return how many numbers are wrong, and the first of them."""
    wrong = a != b
    if a.dtype != torch.bool:
        far = ~torch.isclose(a.double(), b.double(), 1e-6, 1e-6, equal_nan=True)
        wrong = far if far.any() else wrong  # the exercise may be stricter than that
    first = tuple(wrong.nonzero()[0].tolist())
    of_what = "pixels" if a.dtype == torch.bool else "numbers"
    return (
        f"{int(wrong.sum())} of {a.numel()} {of_what} are wrong, the first at {list(first)}: "
        f"expected {brief(a[first].item())}, found {brief(b[first].item())}."
    )


def _first_inside(problems: Iterable[tuple[str, str]]) -> str:
    """Return the first problem and where in a list or dict it is: "Entry 0, at key 'a': ..."."""
    for where, problem in problems:
        if problem.startswith(("Entry ", "At key ")):
            return f"{where}, {problem[0].lower()}{problem[1:]}"
        if problem:
            return f"{where}: {problem}"
    return ""


def _equal(expected: Any, found: Any) -> bool:
    """Return whether two objects are equal; dataclasses are compared field by field."""
    if type(expected) is not type(found):
        return False
    names = getattr(type(expected), "__dataclass_fields__", None)
    if names is None:
        return bool(expected == found)
    return all(not differ(getattr(expected, n), getattr(found, n), 1e-5) for n in names)


# What a learner sees ------------------------------------------------------------------------------


def brief(value: Any) -> str:
    """Return a value as one line of text: numbers rounded, a large tensor by its shape."""
    if value is Missing:
        return "nothing"
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        value = torch.as_tensor(value)
    if isinstance(value, Tensor):
        if value.numel() > WHOLE or (value.ndim > 1 and not value.numel()):
            return f"a tensor {tuple(value.shape)} of {_dtype(value)}"
        text = str(_rounded(value.detach().tolist()))
        return text if value.ndim else f"{text} (a tensor without axes)"
    if isinstance(value, float):
        return repr(_rounded(value))
    if isinstance(value, list | tuple):
        inner = ", ".join(brief(entry) for entry in value)
        comma = "," if len(value) == 1 else ""
        text = f"[{inner}]" if isinstance(value, list) else f"({inner}{comma})"
    elif isinstance(value, Mapping):
        text = "{" + ", ".join(f"{brief(key)}: {brief(v)}" for key, v in value.items()) + "}"
    elif callable(value) and hasattr(value, "__name__"):
        text = f"the function {value.__name__}"
    else:
        text = repr(value)
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 4] + " ..."


def show(value: Any) -> str:
    """Return a value as text of one or more lines: a mask as a drawing, a map by its rows."""
    if isinstance(value, Plain):
        return str(value)
    if isinstance(value, np.ndarray) and value.dtype != object:
        value = torch.as_tensor(value)
    if isinstance(value, Tensor):
        value = value.detach()
        if value.dtype == torch.bool and value.numel() and value.ndim in (1, 2, 3):
            return _drawing(value)
        if value.ndim > 1 and 0 < value.numel() <= WHOLE:
            return _rows(value)
    if isinstance(value, list | tuple) and any(isinstance(v, Tensor) and v.ndim for v in value):
        return "\n".join(f"{i}: {_indent(show(entry), 3)}" for i, entry in enumerate(value))
    return brief(value)


def show_beside(expected: Tensor, found: Tensor) -> str:
    """Return three drawings side by side: two masks (h, w), and where they differ."""
    wrong = expected != found
    columns = [
        ["expected", *_drawing(expected).split("\n")],
        ["found", *_drawing(found).split("\n")],
        ["wrong", *("".join(".x"[int(cell)] for cell in row) for row in wrong.tolist())],
    ]
    widths = [max(map(len, column)) for column in columns]
    lines = zip(*columns, strict=True)
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def layout(named: Sequence[tuple[str, Any]], indent: int) -> list[str]:
    """Return lines with a value behind each name, all values starting in the same column."""
    width = max((len(name) for name, _ in named), default=0) + 2
    return [
        " " * indent + name.ljust(width) + _indent(show(value), indent + width)
        for name, value in named
    ]


def is_mask(value: Any) -> bool:
    """Return whether a value is a mask (h, w) that is small enough to be drawn three times."""
    is_map = isinstance(value, Tensor) and value.dtype == torch.bool and value.ndim == 2
    return is_map and 0 < value.shape[1] <= 30 and 0 < value.shape[0] <= LARGEST_DRAWING[0]


def _drawing(mask: Tensor) -> str:
    """Draw a mask, or several side by side: # is inside, a dot outside."""
    masks = mask.view(-1, *mask.shape[-2:]) if mask.ndim > 1 else mask.view(1, 1, -1)
    rows = [
        "  ".join("".join(".#"[int(cell)] for cell in row) for row in line)
        for line in masks.transpose(0, 1).tolist()
    ]
    if len(rows) > LARGEST_DRAWING[0] or len(rows[0]) > LARGEST_DRAWING[1]:
        return f"a tensor {tuple(mask.shape)} of booleans"
    return "\n".join(rows)


def _rows(values: Tensor) -> str:
    """Return the numbers of a tensor with one line a row, in columns."""
    texts = [str(_rounded(value)) for value in values.flatten().tolist()]
    width = max(map(len, texts))
    texts = [text.rjust(width) for text in texts]

    def nested(shape: Sequence[int], entries: list[str], depth: int) -> str:
        if len(shape) == 1:
            return f"[{', '.join(entries)}]"
        size = len(entries) // shape[0]
        parts = [
            nested(shape[1:], entries[i * size : (i + 1) * size], depth + 1)
            for i in range(shape[0])
        ]
        return "[" + (",\n" + " " * (depth + 1)).join(parts) + "]"

    return nested(values.shape, texts, 0)


def _indent(text: str, spaces: int) -> str:
    return text.replace("\n", "\n" + " " * spaces)


def _kind(value: Any) -> str:
    if value is None or value is Missing:
        return "nothing (is a `return` missing?)"
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return f"{type(value).__name__} {brief(value)}"


def _dtype(value: Tensor) -> str:
    """Return what a tensor holds; the number of bits matters in no exercise."""
    if value.dtype == torch.bool:
        return "booleans"
    return "floats" if value.is_floating_point() else "integers"


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value
