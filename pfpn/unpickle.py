"""Read tensors from pickles without executing anything in them.

A pickle is a program for a stack machine that may call any function. So it is first scanned: few
instructions are allowed, each must be all there, memo numbers have a bound, and only text and
numbers may be keys (a hash of tuples of tuples could take forever). Then Python's unpickler runs it
for NumPy's arrays (detectron2's Model Zoo), with functions of this file for the few names allowed,
or torch's with weights_only=True for .pth: a zip archive or, until 2020, pickles and raw values.
Memory stays below three times the file's, beside MAX_STEPS small objects.
"""

import io
import mmap
import pickle
import pickletools
import re
import zipfile
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from pfpn.files import printable

MAX_STEPS = 250_000  # instructions; a checkpoint of ResNet-101 has about 20,000
MAX_MEMBERS = 10_000  # of an archive, 500 bytes each to zipfile; ResNet-101's has about 600
MAX_WIDE_TEXT = 1000  # bytes; Python gives all characters of a text the room of the largest one
LEGACY_START = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # of a .pth of before 2020
TORCH_NAMES = re.compile(
    rb"(collections\nOrderedDict|torch\n\w+Storage|torch._utils\n_rebuild_(tensor_v2|parameter))\n"
)
INSTRUCTIONS = re.compile(
    r"PROTO|FRAME|STOP|MARK|NONE|NEW(TRUE|FALSE)|LONG1|(LONG_|SHORT_)?BIN\w+|BYTEARRAY8|TUPLE[123]?|"
    "APPENDS?|EMPTY_(LIST|DICT|TUPLE)|SETITEMS?|MEMOIZE|(STACK_)?GLOBAL|REDUCE|BUILD"
)
CODES = {ord(op.code): op for op in pickletools.opcodes if INSTRUCTIONS.fullmatch(op.name)}
KEYS = {pickletools.pyunicode, pickletools.pybytes_or_str, pickletools.pyint}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the state dict of a pickle or .pth file: all of it, or its "model" or "state_dict"."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _select(_load(file, data), len(data))
    except Exception as error:  # whatever a damaged or misleading file makes the readers raise
        raise ValueError(
            f"{path}: found no weights: {printable(str(error)[:300])}. Nothing in the file was "
            "executed. Did its download stop early, or is it not a file of weights?"
        ) from None


def _load(file: IO[bytes], data: Any) -> Any:
    """Return what the file holds: tensors, _Value and other things in dicts, lists and tuples."""
    if data[:4] == b"PK\x03\x04":
        return torch.load(_copy_archive(file, data), map_location="cpu", weights_only=True)
    is_legacy, end = data[: len(LEGACY_START)] == LEGACY_START, 0
    for _ in range(5 if is_legacy else 1):  # magic number, protocol, system, tensors, keys
        end = _scan(data, end, is_torch=is_legacy)
    unpickler = _Unpickler(data, encoding="latin1")
    tree = (
        torch.load(data, map_location="cpu", weights_only=True) if is_legacy else unpickler.load()
    )
    if data.tell() != len(data):
        raise ValueError(f"{len(data) - data.tell()} bytes after its end")
    return tree


def _copy_archive(file: IO[bytes], data: mmap.mmap) -> io.BytesIO:
    """Copy a zip archive of stored members, so that torch sees what was checked and no more."""
    if sum(1 for _ in re.finditer(b"PK\x01\x02", data)) > MAX_MEMBERS:
        raise ValueError(f"more than {MAX_MEMBERS} members in the archive")
    copy, left = io.BytesIO(), len(data)
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(copy, "w") as target:
        for member in source.infolist():
            left -= member.file_size
            if member.compress_type != zipfile.ZIP_STORED or left < 0:
                raise ValueError(f"{member.filename[:50]!r} unpacks to {member.file_size} bytes")
            content = source.read(member)
            if member.filename.endswith("data.pkl"):
                _scan(content, 0, is_torch=True)
            target.writestr(member.filename, content)
    copy.seek(0)
    return copy


def _scan(data: bytes | mmap.mmap, at: int, *, is_torch: bool) -> int:
    """Raise ValueError unless the pickle at byte `at` is harmless to run; return where it ends."""
    stacks: list[list[Any]] = [[]]  # kinds of values as pickletools names them; one more per mark
    memo: dict[int, Any] = {}
    for _ in range(MAX_STEPS):
        op = CODES.get(data[at])
        if op is None or (op.name == "BINPERSID" and not is_torch):
            raise ValueError(
                f"byte {at} is {chr(data[at])!r}, an instruction that arrays do not need"
            )
        if op.name == "STOP":
            return at + 1
        begin, at = at + 1, _skip(data, at + 1, op)
        argument = bytes(data[begin : min(at, begin + 100)])
        if is_torch and op.name == "GLOBAL" and not TORCH_NAMES.fullmatch(argument):
            name = argument.decode("latin-1").replace("\n", ".")
            raise ValueError(f"it imports {name}, which tensors do not need")
        if op.name == "MARK":
            stacks.append([])
        elif op.name.endswith(("GET", "PUT", "MEMOIZE")):
            number = int.from_bytes(argument, "little") if argument else len(memo)
            if op.name.endswith("GET") and number in memo:
                stacks[-1].append(memo[number])
            elif op.name.endswith("GET") or number > MAX_STEPS or not stacks[-1]:
                raise ValueError(f"byte {begin}: {op.name} of memo number {number}")
            memo[number] = stacks[-1][-1]
        else:
            items = stacks.pop() if pickletools.markobject in op.stack_before else []
            fixed = [kind for kind in op.stack_before if kind.name not in ("mark", "stackslice")]
            stack, start = stacks[-1], len(stacks[-1]) - len(fixed)
            keys = {"SETITEM": stack[start + 1 : -1], "SETITEMS": items[::2]}.get(op.name, [])
            is_name = op.name == "BUILD" and stack[start] == "name"  # would change the program
            if start < 0 or is_name or not KEYS.issuperset(keys):
                raise ValueError(f"{op.name} of missing values, a name, or keys of another kind")
            stack[start:] = ["name"] if op.name.endswith("GLOBAL") else op.stack_after
    raise ValueError(f"more than {MAX_STEPS} instructions")


def _skip(data: bytes | mmap.mmap, at: int, op: pickletools.OpcodeInfo) -> int:
    """Return where an instruction's argument ends, which must be all there."""
    if op.name == "GLOBAL":  # two lines: module and name
        return data.find(b"\n", data.find(b"\n", at) + 1) + 1 or len(data) + 1
    length = op.arg.n if op.arg else 0
    if length < 0:  # bytes of the length, for pickletools.TAKEN_FROM_ARGUMENT1 to 8U
        width = {-2: 1, -3: 4, -4: 4, -5: 8}[length]
        at, length = at + width, int.from_bytes(data[at : at + width], "little")
    if at + length >= len(data):
        raise ValueError(f"byte {at} needs {length} bytes, found {len(data) - at} left")
    wide = re.compile(b"[\xc4-\xff]") if "UNICODE" in op.name and length > MAX_WIDE_TEXT else None
    if wide and wide.search(data, at, at + length):
        raise ValueError(f"byte {at} begins {length} bytes of text beyond Latin-1")
    return at + length


class _Value:
    """What a NumPy array or dtype would be: the arguments of its call, and its state."""

    def __init__(self, *arguments: Any, state: Any = None):
        self.arguments, self.state = arguments, state

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Unpickler(pickle.Unpickler):
    """Has something harmless for each name that arrays need, and nothing for others."""

    NAMES: ClassVar[dict[str, Any]] = {
        "numpy.ndarray": _Value,
        "numpy.dtype": _Value,
        "numpy._core.multiarray._reconstruct": _Value,
        "numpy._core.numeric._frombuffer": lambda content, dtype, shape, order: _Value(
            state=(1, shape, dtype, order == "F", content)
        ),
        "_codecs.encode": lambda text, *_: text,  # encoded when it becomes a tensor
        "collections.OrderedDict": lambda: {},
    }

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}".replace("numpy.core.", "numpy._core.", 1)
        if full not in self.NAMES:
            raise ValueError(f"it imports {full[:100]}, which arrays do not need")
        return self.NAMES[full]


def _select(tree: Any, size: int) -> dict[str, Tensor]:
    """Return the tensors of the state dict that a file holds, each with memory of its own."""
    if not isinstance(tree, dict):
        raise ValueError(f"a file of {type(tree).__name__}, expected a dict of arrays")
    state = next((tree[k] for k in ("model", "state_dict") if isinstance(tree.get(k), dict)), tree)
    left, tensors = size, {}
    for key, value in state.items():
        tensor = _to_tensor(value) if isinstance(value, _Value) else value
        if not isinstance(key, str) or not isinstance(tensor, Tensor):
            raise ValueError(f"{str(key)[:50]!r} is {type(value).__name__}, expected an array")
        left -= tensor.nbytes  # one content in many arrays would make a small file large
        if left < 0:
            raise ValueError(f"its tensors up to {key[:50]!r} hold more than its {size} bytes")
        tensors[key] = tensor.detach().clone(memory_format=torch.contiguous_format)
    return tensors


def _to_tensor(value: _Value) -> Tensor:
    """Return what NumPy's array would be as a tensor."""
    _, shape, dtype, is_fortran, content = value.state
    code = (dtype.state[1] if dtype.state else "") + dtype.arguments[0]
    if not re.fullmatch("[<|=]?(f[248]|i[1248]|u1|b1)", code):
        raise ValueError(f"an array of type {code[:20]!r}, expected numbers, little-endian")
    if isinstance(content, str):  # Python 2 had one type for text and bytes
        content = content.encode("latin-1")
    array = np.ndarray(shape, code, content, order="F" if is_fortran else "C")
    if array.nbytes != len(content):
        raise ValueError(f"{len(content)} bytes for an array of {array.nbytes}")
    return torch.from_numpy(array.copy(order="C"))
