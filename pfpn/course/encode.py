"""Values of exercises as JSON, to carry them between processes: data alone, never code."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

MOST_NUMBERS = 1_000_000  # of one tensor
DEEPEST = 20  # levels of lists within lists


def encode(value: Any, depth: int = 0) -> Any:
    """Return a value as something that `json.dumps` takes.

    An object of another kind becomes text that tells what it was; no expected value is such text.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int) and abs(value) < 2**63:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, np.ndarray) and value.dtype != object:
        value = torch.as_tensor(value)
    if isinstance(value, Tensor) and value.numel() <= MOST_NUMBERS and not value.is_complex():
        numbers = [encode(number) for number in value.detach().flatten().tolist()]
        dtype = str(value.dtype).removeprefix("torch.")
        return {"tensor": numbers, "shape": list(value.shape), "dtype": dtype}
    if isinstance(value, range):
        value = list(value)
    if depth < DEEPEST:
        if isinstance(value, list):
            return [encode(entry, depth + 1) for entry in value]
        if isinstance(value, tuple | set | frozenset):
            kind = "tuple" if isinstance(value, tuple) else "set"
            return {kind: [encode(entry, depth + 1) for entry in value]}
        if isinstance(value, Mapping):
            pairs = [[encode(part, depth + 1) for part in pair] for pair in value.items()]
            return {"dict": pairs}
    return {"other": f"{type(value).__name__}"}


def decode(value: Any, depth: int = 0) -> Any:
    """Return the value that `encode` was given.

    Raises:
        ValueError: this is not what `encode` returns.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if depth > 2 * DEEPEST:
        raise ValueError("decode: found lists within lists without end, expected a value")
    if isinstance(value, list):
        return [decode(entry, depth + 1) for entry in value]
    match value:
        case {"float": str(text)} if text in ("inf", "-inf", "nan"):
            return float(text)
        case {"tensor": list(numbers), "shape": list(shape), "dtype": str(name)}:
            dtype = getattr(torch, name, None)
            if isinstance(dtype, torch.dtype):
                plain = [decode(number, depth + 1) for number in numbers]
                return torch.tensor(plain, dtype=dtype).view(shape)
        case {"tuple": list(entries)}:
            return tuple(decode(entry, depth + 1) for entry in entries)
        case {"set": list(entries)}:
            return {decode(entry, depth + 1) for entry in entries}
        case {"dict": list(pairs)}:
            return dict(decode(pair, depth + 1) for pair in pairs)
        case {"other": str(text)}:
            return Other(text)
    raise ValueError(f"decode: found {str(value)[:60]!r}, expected an encoded value")


class Other:
    """Stands for an object that is no value of an exercise."""

    def __init__(self, kind: str):
        self.kind = kind

    def __repr__(self) -> str:
        return f"an object of type {self.kind}"
