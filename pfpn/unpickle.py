"""Tensors out of pickles, without executing anything.

A pickle is a program for a small stack machine, and one of its instructions is "call a function".
Whoever unpickles a stranger's file lets the stranger choose the function. Published weights are
such files, so here is a machine of our own: it knows the instructions that containers, numbers and
text need, treats a function's name as a mere word, and understands the handful of words that stand
for an array. Nothing is imported, nothing called; any other instruction or word ends the reading
with its name.

Three kinds of files are read: a plain pickle of NumPy arrays (detectron2's Model Zoo), and torch's
.pth, which is a pickle that refers to raw storages, in a zip archive or, until 2020, behind each
other. Memory stays below about twice the file's size, beside what MAX_STEPS small objects take:
every length is held against the bytes that are there before anything is allocated, and nothing is
copied before it becomes a tensor.
"""

import io
import mmap
import pickletools
import re
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

MAX_BYTES = 4 << 30  # of a file; the largest one published for this model is below 300 MB
MAX_STEPS = 250_000  # instructions; a checkpoint of ResNet-101 has about 20,000
MAX_DIMS = 8  # axes of an array
MAX_MEMBERS = 10_000  # of an archive; one of ResNet-101 has about 600
MAX_WIDE_TEXT = 1000  # bytes; only a shorter text may hold characters beyond Latin-1

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # first value in a .pth that is no zip archive
LEGACY_PROTOCOL = 1001

# Type codes as NumPy's dtype and torch's storages write them
_NUMPY_DTYPES = {
    "f2": torch.float16,
    "f4": torch.float32,
    "f8": torch.float64,
    "i1": torch.int8,
    "i2": torch.int16,
    "i4": torch.int32,
    "i8": torch.int64,
    "u1": torch.uint8,
    "b1": torch.bool,
}
_TORCH_STORAGES = {
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.FloatStorage": torch.float32,
    "torch.DoubleStorage": torch.float64,
    "torch.CharStorage": torch.int8,
    "torch.ShortStorage": torch.int16,
    "torch.IntStorage": torch.int32,
    "torch.LongStorage": torch.int64,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}

# The words that stand for a NumPy array; old files say numpy.core where new ones say numpy._core.
_NUMPY_WORDS = (
    "numpy.ndarray",
    "numpy.dtype",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.numeric._frombuffer",
    "_codecs.encode",
    "collections.OrderedDict",
)
_TORCH_WORDS = (
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "collections.OrderedDict",
    *_TORCH_STORAGES,
)

# fmt: off
_PUSH_ARGUMENT = frozenset([
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "SHORT_BINSTRING", "BINSTRING",
    "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8",
    "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
])
# fmt: on
_PUSH_NEW: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
}


_TEXT_LENGTH = {"SHORT_BINUNICODE": 1, "BINUNICODE": 4, "BINUNICODE8": 8}  # bytes of the length
_BEYOND_LATIN_1 = re.compile(rb"[\xc4-\xff]")  # first bytes of such characters in UTF-8

_BY_CODE = {instruction.code: instruction for instruction in pickletools.opcodes}
# fmt: off
_INSTRUCTIONS = _PUSH_ARGUMENT | _PUSH_NEW.keys() | {
    "PROTO", "FRAME", "STOP", "POP", "MARK", "BINGET", "LONG_BINGET", "BINPUT", "LONG_BINPUT",
    "MEMOIZE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "APPEND", "APPENDS", "SETITEM", "SETITEMS",
    "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD",
    "BINPERSID",  # only in torch's files
}
# fmt: on

# What zipfile raises for archives that are cut short, encrypted or written to mislead
_BROKEN_ARCHIVE = (zipfile.BadZipFile, struct.error, RuntimeError, EOFError, UnicodeError, OSError)


class _Refused(ValueError):
    """Why a pickle is not read; `read_tensors` adds the file's name."""


@dataclass(frozen=True, slots=True)
class _Word:
    """A dotted name that the pickle mentions; never looked up."""

    name: str


@dataclass(slots=True)
class _Dtype:
    """What `numpy.dtype(code)` would be."""

    code: str


@dataclass(slots=True)
class _Array:
    """What `numpy.ndarray` would be; its content comes in a later instruction."""

    dtype: torch.dtype | None = None
    shape: tuple[int, ...] = ()
    is_fortran: bool = False
    content: bytes | bytearray | str = b""


class _Ordered(dict[str, Any]):
    """What `collections.OrderedDict()` would be."""


@dataclass(frozen=True, slots=True)
class _Storage:
    """A named run of raw values elsewhere in the file."""

    key: str
    dtype: torch.dtype
    count: int


@dataclass(frozen=True, slots=True)
class _View:
    """A tensor that looks at a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the state dict in a pickle or .pth file: the file's own dict, or the one under "model".

    Other entries of the file (its author, an optimizer's state) are left aside. Nothing in the file
    is executed, whatever it says.
    """
    size = path.stat().st_size
    if not 0 < size <= MAX_BYTES:
        raise ValueError(
            f"{path}: found {size} bytes, expected 1..{MAX_BYTES}. Is it a weights file?"
        )
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data[:4] == b"PK\x03\x04":
                _require_few_members(data)
                return _read_zip(file, size)
            first = _run(data, words=_NUMPY_WORDS)
            if type(first) is int and first == LEGACY_MAGIC:
                return _read_legacy(data, size)
            if data.tell() != size:
                raise _Refused(f"found {size - data.tell()} bytes after its end, expected none")
            return _tensors(first, size, None)
    except _Refused as error:
        raise ValueError(
            f"{path}: {error}. Nothing in the file was executed. Did its download stop early, or "
            "is it not a file of weights?"
        ) from None


def _require_few_members(data: mmap.mmap) -> None:
    """Count what may be entries of the directory, each of which takes zipfile some 500 bytes."""
    place, count = data.find(b"PK\x01\x02"), 0
    while place >= 0:
        count += 1
        if count > MAX_MEMBERS:
            raise _Refused(f"found more than {MAX_MEMBERS} members in the archive")
        place = data.find(b"PK\x01\x02", place + 4)


def _read_zip(file: IO[bytes], size: int) -> dict[str, Tensor]:
    try:
        with zipfile.ZipFile(file) as archive:
            return _read_archive(archive, size)
    except _BROKEN_ARCHIVE as error:
        raise _Refused(f"found no readable archive ({error})") from None


def _read_archive(archive: zipfile.ZipFile, size: int) -> dict[str, Tensor]:
    """Read torch's zip archive: ARCHIVE/data.pkl, and one member ARCHIVE/data/KEY per storage."""
    members = {member.filename: member for member in archive.infolist()}
    programs = [name for name in members if name.rpartition("/")[2] == "data.pkl"]
    if len(programs) != 1:
        raise _Refused(f"found {len(programs)} files data.pkl in the archive, expected one")
    folder = programs[0].removesuffix("data.pkl")
    left = size  # members that lie over each other would make a small file large

    def read(name: str) -> bytes:
        nonlocal left
        member = members.get(name)
        if member is None:
            raise _Refused(f"found no member {name!r} in the archive, which its pickle refers to")
        if member.compress_type != zipfile.ZIP_STORED or member.file_size > left:
            raise _Refused(
                f"member {name!r} unpacks to {member.file_size} bytes by method "
                f"{member.compress_type}, expected at most {left} that are merely stored"
            )
        left -= member.file_size
        return archive.read(member)

    byteorder = f"{folder}byteorder"
    if byteorder in members and (found := read(byteorder)) != b"little":
        raise _Refused(f"found byte order {found[:8]!r}, expected b'little'")
    tree = _run(io.BytesIO(read(programs[0])), words=_TORCH_WORDS)
    return _tensors(tree, size, lambda storage: read(f"{folder}data/{storage.key}"))


def _read_legacy(data: mmap.mmap, size: int) -> dict[str, Tensor]:
    """Read on in a .pth of before 2020: pickles behind each other, then the storages."""
    protocol = _run(data, words=())
    if protocol != LEGACY_PROTOCOL:
        raise _Refused(f"found protocol {_kind(protocol)}, expected {LEGACY_PROTOCOL}")
    _run(data, words=())  # the writer's byte order and sizes of types
    tree = _run(data, words=_TORCH_WORDS)
    keys = _run(data, words=())
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise _Refused(f"found storage keys {_kind(keys)}, expected a list of text")
    start, order = data.tell(), {key: i for i, key in enumerate(keys)}
    widths = {view.storage.key: view.storage.dtype.itemsize for view in _views(tree)}
    places: list[tuple[int, int]] = []  # first byte and past the last one, in the order of keys
    for key in keys:
        count = int.from_bytes(data[start : start + 8], "little", signed=True)
        end = start + 8 + count * widths.get(key, 0)
        if key not in widths or count < 0 or start + 8 > size or end > size:
            raise _Refused(
                f"storage {key[:50]!r} at byte {start} claims {count} values, but only "
                f"{size - start} bytes are left"
            )
        places.append((start + 8, end))
        start = end

    def read(storage: _Storage) -> bytes:
        if storage.key not in order:
            raise _Refused(f"found no storage {storage.key!r}, which its pickle refers to")
        first, last = places[order[storage.key]]
        return data[first:last]

    return _tensors(tree, size, read)


def _state(tree: Any) -> dict[str | int, Any]:
    """Find the state dict in what a file holds."""
    if not isinstance(tree, dict):
        raise _Refused(f"found {_kind(tree)}, expected a dict of arrays")
    for key in ("model", "state_dict"):
        if isinstance(tree.get(key), dict):
            return tree[key]
    return tree


def _views(tree: Any) -> list[_View]:
    """List the tensors anywhere in nested containers, each container visited once."""
    found, waiting, seen = [], [tree], set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, _View):
            found.append(value)
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            waiting += value.values() if isinstance(value, dict) else value
    return found


def _tensors(tree: Any, size: int, read: Callable[[_Storage], bytes] | None) -> dict[str, Tensor]:
    """Turn the state dict's arrays into tensors that own their values."""
    tensors: dict[str, Tensor] = {}
    storages: dict[str, bytes] = {}
    left = size  # arrays that share their bytes would make a small file large
    for key, value in _state(tree).items():
        if not isinstance(key, str):
            raise _Refused(f"found an array named {key}, expected text")
        if isinstance(value, _Array) and value.dtype is not None:
            tensors[key] = _array_to_tensor(key, value)
        elif isinstance(value, _View) and read is not None:
            name = value.storage.key
            if name not in storages:
                storages[name] = read(value.storage)
            tensors[key] = _view_to_tensor(key, value, storages[name])
        else:
            raise _Refused(f"{key!r}: found {_kind(value)}, expected an array")
        left -= tensors[key].nbytes
        if left < 0:
            raise _Refused(f"its arrays up to {key!r} hold more than the file's {size} bytes")
    return tensors


def _array_to_tensor(key: str, array: _Array) -> Tensor:
    assert array.dtype is not None
    if not array.content:
        return torch.empty(array.shape, dtype=array.dtype)
    # The copy into a bytearray is aligned and writable, which the bytes in the pickle are not.
    if isinstance(array.content, str):
        try:
            copy = bytearray(array.content, "latin-1")
        except UnicodeEncodeError:
            raise _Refused(f"{key!r}: found text where bytes are expected") from None
    else:
        copy = bytearray(array.content)
    flat = torch.frombuffer(copy, dtype=array.dtype)
    if array.is_fortran:
        return (
            flat.reshape(array.shape[::-1]).permute(*reversed(range(len(array.shape)))).contiguous()
        )
    return flat.reshape(array.shape)


def _view_to_tensor(key: str, view: _View, content: bytes) -> Tensor:
    width = view.storage.dtype.itemsize
    held = len(content) // width
    count = _product(view.shape)
    last = view.offset + sum((n - 1) * s for n, s in zip(view.shape, view.strides, strict=True))
    if view.offset < 0 or (count > 0 and (last >= held or count > last - view.offset + 1)):
        raise _Refused(
            f"{key!r}: shape {view.shape} with strides {view.strides} from value {view.offset} on "
            f"does not fit its storage of {held} values"
        )
    if count == 0:
        return torch.empty(view.shape, dtype=view.storage.dtype)
    part = bytearray(memoryview(content)[view.offset * width : (last + 1) * width])
    flat = torch.frombuffer(part, dtype=view.storage.dtype)
    return flat.as_strided(view.shape, view.strides).contiguous()


def _run(stream: mmap.mmap | io.BytesIO, words: tuple[str, ...]) -> Any:
    """Run one pickle from the stream's place on; leave the stream behind its end."""
    machine = _Machine(words)
    for _ in range(MAX_STEPS):
        place = stream.tell()
        code = stream.read(1).decode("latin-1")
        instruction = _BY_CODE.get(code)
        if instruction is None:
            found = f"byte {place} is {code!r}" if code else "it ends too early"
            raise _Refused(f"found no readable pickle: {found}")
        if instruction.name not in _INSTRUCTIONS or (
            instruction.name == "BINPERSID" and words != _TORCH_WORDS
        ):
            raise _Refused(
                f"byte {place}: found instruction {instruction.name}, which arrays do not need"
            )
        argument: Any = None
        if instruction.name == "GLOBAL":  # two lines: module and name
            lines = (stream.readline(), stream.readline())
            argument = tuple(line.removesuffix(b"\n").decode("latin-1") for line in lines)
        elif instruction.name in _TEXT_LENGTH:
            argument = _read_text(stream, _TEXT_LENGTH[instruction.name], place)
        elif instruction.arg is not None:
            try:
                # Lengths are held against what the stream still has.
                argument = instruction.arg.reader(stream)  # type: ignore[arg-type]
            except ValueError as error:
                raise _Refused(f"byte {place}: found no readable pickle ({error})") from None
        if instruction.name == "STOP":
            return machine.result()
        machine.step(instruction.name, argument, place)
    raise _Refused(f"found more than {MAX_STEPS} instructions")


def _read_text(stream: mmap.mmap | io.BytesIO, width: int, place: int) -> str:
    """Read text behind its length; one wide character in it would make each of them wide."""
    length = int.from_bytes(stream.read(width), "little")
    encoded = stream.read(min(length, MAX_BYTES))
    if len(encoded) < length:
        raise _Refused(f"byte {place}: found {len(encoded)} bytes of text, expected {length}")
    if length > MAX_WIDE_TEXT and _BEYOND_LATIN_1.search(encoded):
        raise _Refused(f"byte {place}: found {length} bytes of text that is no Latin-1")
    try:
        return encoded.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise _Refused(f"byte {place}: found no readable text ({error.reason})") from None


class _Machine:
    """The stack, the marked stacks below it, and the numbered memory."""

    def __init__(self, words: tuple[str, ...]):
        self.words = words
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memory: dict[int, Any] = {}

    def result(self) -> Any:
        if len(self.stack) != 1 or self.marked:
            raise _Refused(f"found {len(self.stack)} values at its end, expected one")
        return self.stack[0]

    def step(self, name: str, argument: Any, place: int) -> None:
        if name in _PUSH_ARGUMENT:
            self.stack.append(argument)
        elif name in _PUSH_NEW:
            self.stack.append(_PUSH_NEW[name]())
        elif name in ("BINGET", "LONG_BINGET"):
            if argument not in self.memory:
                raise _Refused(f"byte {place}: asks for value {argument}, which was never kept")
            self.stack.append(self.memory[argument])
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            number = len(self.memory) if name == "MEMOIZE" else argument
            self.memory[number] = self.top(place)
        elif name == "POP":
            self.pop(place)
        elif name == "MARK":
            self.marked.append(self.stack)
            self.stack = []
        elif name == "TUPLE":
            items = self.pop_mark(place)  # which puts another stack in place
            self.stack.append(tuple(items))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            self.stack.append(tuple(reversed([self.pop(place) for _ in range(int(name[-1]))])))
        elif name in ("APPEND", "APPENDS"):
            items = self.pop_mark(place) if name == "APPENDS" else [self.pop(place)]
            self.expect(place, list, "a list to append to").extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = (
                self.pop_mark(place)
                if name == "SETITEMS"
                else [self.pop(place), self.pop(place)][::-1]
            )
            self.set_items(place, items)
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            self.mention(name, argument, place)
        elif name == "REDUCE":
            arguments, word = self.pop(place), self.pop(place)
            self.stack.append(_understand(word, arguments, place))
        elif name == "BUILD":
            state = self.pop(place)
            _fill(self.top(place), state, place)
        elif name == "BINPERSID":
            self.stack.append(_storage(self.pop(place), place))

    def top(self, place: int) -> Any:
        if not self.stack:
            raise _Refused(f"byte {place}: takes a value that is not there")
        return self.stack[-1]

    def pop(self, place: int) -> Any:
        value = self.top(place)
        self.stack.pop()
        return value

    def pop_mark(self, place: int) -> list[Any]:
        if not self.marked:
            raise _Refused(f"byte {place}: takes values from a mark that is not there")
        items, self.stack = self.stack, self.marked.pop()
        return items

    def expect(self, place: int, kind: type, purpose: str) -> Any:
        if not isinstance(self.top(place), kind):
            raise _Refused(f"byte {place}: found {_kind(self.top(place))}, expected {purpose}")
        return self.stack[-1]

    def set_items(self, place: int, items: list[Any]) -> None:
        target = self.expect(place, dict, "a dict to fill")
        keys, values = items[0::2], items[1::2]
        # No tuples: the hash of tuples of tuples of tuples could take longer than the universe.
        if len(keys) != len(values) or not all(type(key) in (str, int) for key in keys):
            raise _Refused(f"byte {place}: found entries whose key is neither text nor a number")
        target.update(zip(keys, values, strict=True))

    def mention(self, name: str, argument: Any, place: int) -> None:
        parts = argument
        if name == "STACK_GLOBAL":
            parts = (self.pop(place), self.pop(place))[::-1]
        word = ".".join(part if isinstance(part, str) else _kind(part) for part in parts)
        word = word.replace("numpy.core.", "numpy._core.", 1)
        if word not in self.words:
            raise _Refused(f"byte {place}: it wants to use {word[:100]}, which arrays do not need")
        self.stack.append(_Word(word))


def _understand(word: Any, arguments: Any, place: int) -> Any:
    """Say what a call would have returned, for the few words that stand for data."""
    match word.name if isinstance(word, _Word) else None, arguments:
        case "numpy._core.multiarray._reconstruct", (_Word("numpy.ndarray"), (0,), b"b" | "b"):
            return _Array()
        case "numpy.dtype", (str(code), *_):
            return _Dtype(code)
        case "numpy._core.numeric._frombuffer", (bytes() | bytearray(), _Dtype(), tuple(), str()):
            content, dtype, shape, order = arguments
            array = _Array()
            _fill(array, (1, shape, dtype, order == "F", content), place)
            return array
        case "_codecs.encode", (str(text), "latin1" | "latin-1"):
            return text  # stands for its bytes until they are needed: a copy per call is a bomb
        case "collections.OrderedDict", ():
            return _Ordered()
        case "torch._utils._rebuild_parameter", (_View() as view, *_):
            return view
        case "torch._utils._rebuild_tensor_v2", (
            _Storage() as storage,
            int(offset),
            size,
            strides,
            *_,
        ):
            if _are_counts(size) and _are_counts(strides) and len(size) == len(strides):
                return _View(storage, offset, size, strides)
    name = word.name if isinstance(word, _Word) else _kind(word)
    raise _Refused(f"byte {place}: found a call of {name} with arguments that no array needs")


def _fill(target: Any, state: Any, place: int) -> None:
    """Give an array its content, a dtype its byte order; an ordered dict's attributes go."""
    match target, state:
        case _Array(dtype=None), (int(), tuple(shape), _Dtype(code), fortran, content):
            if code not in _NUMPY_DTYPES or not _are_counts(shape):
                raise _Refused(
                    f"byte {place}: found an array of type {code[:20]!r}, expected numbers"
                )
            dtype, raw = _NUMPY_DTYPES[code], _raw(content, place)
            wanted = _product(shape) * dtype.itemsize
            if wanted != len(raw):
                raise _Refused(
                    f"byte {place}: found {len(raw)} bytes for an array of shape {shape}, "
                    f"expected {wanted}"
                )
            target.dtype, target.shape = dtype, shape
            target.is_fortran, target.content = bool(fortran), raw
        case _Dtype(), (int(), "<" | "|" | "=", None, None, None, *_):
            pass
        case _Dtype(), (int(), str(order), *_):
            raise _Refused(f"byte {place}: found numbers of byte order {order[:5]!r}, expected '<'")
        case _Ordered(), dict():
            pass
        case _:
            raise _Refused(f"byte {place}: found {_kind(state)} as the content of {_kind(target)}")


def _storage(reference: Any, place: int) -> _Storage:
    match reference:
        case ("storage", _Word(name), str(key), str(), int(count), *rest) if (
            name in _TORCH_STORAGES and count >= 0 and rest in ([], [None])
        ):
            return _Storage(key, _TORCH_STORAGES[name], count)
    raise _Refused(f"byte {place}: found a reference to something that is no storage of numbers")


def _raw(value: Any, place: int) -> bytes | bytearray | str:
    """Return an array's content: bytes, or text of a character per byte.

    Python 2 had one type for both, and protocols before 3 write bytes as encoded text.
    """
    if not isinstance(value, bytes | bytearray | str):
        raise _Refused(f"byte {place}: found {_kind(value)}, expected bytes")
    return value


def _are_counts(values: Any) -> bool:
    return (
        isinstance(values, tuple)
        and len(values) <= MAX_DIMS
        and all(type(value) is int and 0 <= value < 2**62 for value in values)
    )


def _product(shape: tuple[int, ...]) -> int:
    count = 1
    for side in shape:
        count *= side
    return count


def _kind(value: Any) -> str:
    """Name a value's kind for a message; never the value, which may be endless."""
    names = {_Array: "an unfilled array", _Dtype: "a dtype", _View: "a tensor", _Word: "a name"}
    if isinstance(value, _Word):
        return f"the name {value.name}"
    return names.get(type(value), type(value).__name__.lstrip("_").lower())
