"""Stand-ins for the two packages that pfpn needs and that torch and torchvision do not bring.

A borrowed machine often has PyTorch and no way to install more. jaxtyping's annotations say what a
tensor's shape is and do nothing at run time. safetensors' file format is a JSON header and raw
bytes; what is written here is read by the package, and the converse.
"""

import importlib
import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
NAMES = {dtype: name for name, dtype in DTYPES.items()}


def fill_in() -> list[str]:
    """Put the stand-ins where a package is missing; return the names of those that were."""
    makers: dict[str, Callable[[], dict[str, ModuleType]]] = {
        "jaxtyping": _jaxtyping,
        "safetensors": _safetensors,
    }
    missing = [name for name in makers if not _is_there(name)]
    for name in missing:
        sys.modules.update(makers[name]())
    return missing


def _is_there(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


# jaxtyping ---------------------------------------------------------------------------------------


class _Annotation:
    """Stands for Float, Int, ...: Float[Tensor, "b c"] is Tensor."""

    def __getitem__(self, item: tuple[Any, str]) -> Any:
        return item[0]


def _jaxtyping() -> dict[str, ModuleType]:
    module = ModuleType("jaxtyping")
    module.__getattr__ = _annotation  # type: ignore[method-assign]
    return {"jaxtyping": module}


def _annotation(name: str) -> _Annotation:
    if name.startswith("__"):
        raise AttributeError(name)
    return _Annotation()


# safetensors -------------------------------------------------------------------------------------


class SafetensorError(Exception):
    """A file cannot be read."""


def save(tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """Return the content of a .safetensors file."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    parts, start = [], 0
    for key, tensor in tensors.items():
        content = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        end = start + len(content)
        header[key] = {
            "dtype": NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
        parts.append(content)
        start = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([struct.pack("<Q", len(text)), text, *parts])


class SafeOpen:
    """Reads a .safetensors file, within a `with` statement."""

    def __init__(self, path: Path | str, framework: str = "pt"):
        content = Path(path).read_bytes()
        try:
            (length,) = struct.unpack("<Q", content[:8])
            self._header = json.loads(content[8 : 8 + length])
        except (struct.error, ValueError) as error:
            raise SafetensorError(str(error)) from None
        self._metadata = self._header.pop("__metadata__", None)
        self._content = content[8 + length :]

    def __enter__(self) -> "SafeOpen":
        return self

    def __exit__(self, *_: object) -> None:
        self._content = b""

    def keys(self) -> list[str]:
        return list(self._header)

    def metadata(self) -> dict[str, str] | None:
        return self._metadata

    def get_slice(self, key: str) -> "_Slice":
        return _Slice(self._header[key]["shape"])

    def get_tensor(self, key: str) -> Tensor:
        entry = self._header[key]
        start, end = entry["data_offsets"]
        dtype = DTYPES[entry["dtype"]]
        if start == end:  # which frombuffer refuses
            return torch.empty(entry["shape"], dtype=dtype)
        raw = torch.frombuffer(bytearray(self._content[start:end]), dtype=torch.uint8)
        return raw.view(dtype).reshape(entry["shape"])


class _Slice:
    """Part of a tensor; here only its shape."""

    def __init__(self, shape: list[int]):
        self._shape = shape

    def get_shape(self) -> list[int]:
        return self._shape


def _safetensors() -> dict[str, ModuleType]:
    package, of_torch = ModuleType("safetensors"), ModuleType("safetensors.torch")
    package.SafetensorError = SafetensorError  # type: ignore[attr-defined]
    package.safe_open = SafeOpen  # type: ignore[attr-defined]
    package.torch = of_torch  # type: ignore[attr-defined]
    of_torch.save = save  # type: ignore[attr-defined]
    return {"safetensors": package, "safetensors.torch": of_torch}
