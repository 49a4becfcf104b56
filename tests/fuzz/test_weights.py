"""Damaged or misleading files of weights: one clear error, or tensors within bounds."""

import io
import json
import os
import pickle
import pickletools
import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from torch import Tensor

from pfpn.unpickle import read_tensors
from pfpn.zoo import read_safetensors

CORPUS = Path(__file__).parents[1] / "data_files" / "fuzz"  # the smallest inputs of each kind
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))
SECONDS = 10
SPARE = 16 << 20  # bytes beside three times the file: what a few thousand small objects take

fuzzing = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def require_bounds(
    reader: Callable[[Path], dict[str, Tensor]], path: Path, content: bytes, canary: Path
) -> None:
    """Read the content; anything but tensors within bounds, or one line of ValueError, fails.

    With FUZZ_FOUND set to a folder, the smallest content that fails is stored there.
    """
    path.write_bytes(content)
    began = time.process_time()
    tracemalloc.start()
    try:
        tensors, message = _read(reader, path)
        assert not message or (str(path) in message and len(message.splitlines()) == 1), message
        assert sum(tensor.nbytes for tensor in tensors.values()) <= len(content)
        assert tracemalloc.get_traced_memory()[1] <= 3 * len(content) + SPARE
        assert time.process_time() - began < SECONDS
        assert not canary.exists(), "something in the file was executed"
    except BaseException:
        _store(reader.__name__, content)
        raise
    finally:
        tracemalloc.stop()


def _read(reader: Callable[[Path], dict[str, Tensor]], path: Path) -> tuple[dict[str, Tensor], str]:
    """Return the tensors, or none and the message of the refusal."""
    try:
        return reader(path), ""
    except ValueError as error:
        return {}, str(error)


def _store(name: str, content: bytes) -> None:
    folder = os.environ.get("FUZZ_FOUND")
    if folder:
        path = Path(folder) / f"{name}.bin"
        if not path.exists() or path.stat().st_size > len(content):
            path.write_bytes(content)


# ------------------------------------------------------------------------- damaged files


STATE = {"model": {"a": np.arange(4.0), "b": np.zeros((2, 3), np.float32)}, "by": "somebody"}
TENSORS = {"a": torch.arange(4.0), "b": torch.zeros(2, 3).t(), "c": torch.tensor(7)}


def torch_file(zipped: bool) -> bytes:
    file = io.BytesIO()
    torch.save({"model": TENSORS, "step": 9}, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


PICKLES = [*(pickle.dumps(STATE, protocol) for protocol in (2, 3, 4, 5)), torch_file(False)]
SAFE = save({name: tensor.contiguous() for name, tensor in TENSORS.items()})


@st.composite
def damaged(draw: st.DrawFn, contents: list[bytes]) -> bytes:
    """A sound file with some bytes changed, cut out, put in, repeated or cut off."""
    content = bytearray(draw(st.sampled_from(contents)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        length = draw(st.integers(0, 12))
        match draw(st.sampled_from(["change", "cut", "insert", "repeat", "end"])):
            case "change":
                content[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case "cut":
                del content[at : at + length]
            case "insert":
                content[at:at] = draw(st.binary(min_size=1, max_size=9))
            case "repeat":
                content[at:at] = content[at : at + length] * draw(st.integers(1, 50))
            case "end":
                del content[max(at, 1) :]
    return bytes(content)


@fuzzing
@given(content=damaged([*PICKLES, torch_file(True)]))
def test_a_damaged_pickle_is_read_within_bounds_or_refused(content, tmp_path):
    require_bounds(read_tensors, tmp_path / "w.pth", content, tmp_path / "canary")


@fuzzing
@given(content=damaged([SAFE]))
def test_a_damaged_safetensors_file_is_read_within_bounds_or_refused(content, tmp_path):
    require_bounds(read_safetensors, tmp_path / "w.safetensors", content, tmp_path / "canary")


# -------------------------------------------------------------------------- misleading files


NAMES = [
    ("os", "system"),
    ("builtins", "eval"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.numeric", "_frombuffer"),
    ("_codecs", "encode"),
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch", "FloatStorage"),
]
TEXTS = ["a", "model", "f4", "<", "latin1", "b", "storage", "touch canary"]
NUMBERS = st.sampled_from([0, 1, 2, 4, 255, 2**16, 2**31 - 1])


def argument_of(op: pickletools.OpcodeInfo) -> st.SearchStrategy[bytes]:
    """Bytes that are an argument of the instruction, mostly a sound one."""
    if op.arg is None:
        return st.just(b"")
    if op.name == "GLOBAL":
        return st.sampled_from(NAMES).map(lambda name: "{}\n{}\n".format(*name).encode())
    text = st.sampled_from(TEXTS).map(str.encode) | st.binary(max_size=16)
    widths = {-2: "<B", -3: "<i", -4: "<I", -5: "<Q"}
    if op.arg.n in widths:
        claim = st.sampled_from([None] * 9 + [200])

        def packed(content: bytes, length: int | None) -> bytes:
            return struct.pack(widths[op.arg.n], length or len(content)) + content

        return st.builds(packed, text, claim)
    if op.arg.n < 0:
        return text.map(lambda content: content.replace(b"\n", b"") + b"\n")
    return NUMBERS.map(lambda n: (n % 256 ** min(op.arg.n, 4)).to_bytes(op.arg.n, "little"))


PLAIN = [op for op in pickletools.opcodes if op.name not in ("STOP", "PROTO")]
instruction = st.sampled_from(PLAIN).flatmap(
    lambda op: argument_of(op).map(lambda argument: op.code.encode("latin-1") + argument)
)


@fuzzing
@given(program=st.lists(instruction, max_size=40), protocol=st.sampled_from([2, 4, 5]))
def test_a_random_program_is_read_within_bounds_or_refused(program, protocol, tmp_path):
    content = bytes([0x80, protocol]) + b"".join(program) + b"."
    require_bounds(read_tensors, tmp_path / "w.pkl", content, tmp_path / "canary")


@fuzzing
@given(
    header=st.dictionaries(
        st.sampled_from(["a", "b", "__metadata__", ""]),
        st.fixed_dictionaries(
            {
                "dtype": st.sampled_from(["F32", "F16", "I64", "BOOL", "F8", ""]),
                "shape": st.lists(st.sampled_from([0, 1, 2, -1, 2**40]), max_size=3),
                "data_offsets": st.lists(st.sampled_from([0, 4, 8, 16, 2**50]), max_size=3),
            }
        )
        | st.none()
        | st.text(max_size=3),
        max_size=3,
    ),
    content=st.binary(max_size=16),
    length=st.sampled_from([None] * 5 + [0, 2**40, 2**63]),
)
def test_a_random_safetensors_header_is_read_within_bounds_or_refused(
    header, content, length, tmp_path
):
    text = json.dumps(header).encode()
    start = struct.pack("<Q", len(text) if length is None else length)
    path = tmp_path / "w.safetensors"
    require_bounds(read_safetensors, path, start + text + content, tmp_path / "canary")


# ------------------------------------------------------------------------------- the corpus


@pytest.mark.parametrize("name", sorted(path.name for path in CORPUS.glob("weights-*.bin")))
def test_the_corpus_is_refused(name, tmp_path):
    content = (CORPUS / name).read_bytes()
    for reader in (read_tensors, read_safetensors):
        require_bounds(reader, tmp_path / "w.bin", content, tmp_path / "canary")


def test_a_file_that_breaks_the_bounds_would_be_seen(tmp_path):
    def greedy(path: Path) -> dict[str, Tensor]:
        return {"a": torch.zeros(100)}

    def helpless(path: Path) -> dict[str, Tensor]:
        raise KeyError(path)

    def hungry(path: Path) -> dict[str, Tensor]:
        return {"a": torch.zeros(len(bytearray(4 * SPARE)) and 0)}

    for reader, kind in ((greedy, AssertionError), (helpless, KeyError), (hungry, AssertionError)):
        with pytest.raises(kind):
            require_bounds(reader, tmp_path / "w.pkl", b"1234", tmp_path / "canary")
