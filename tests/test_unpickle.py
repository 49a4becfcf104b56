"""The reader of foreign pickles: it reads arrays, executes nothing and stays within bounds."""

import collections
import io
import os
import pickle
import pickletools
import re
import struct
import subprocess
import sys
import textwrap
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from pfpn.unpickle import MAX_STEPS, _Unpickler, read_tensors

ROOT = Path(__file__).resolve().parents[1]
GIGABYTE = 10**9


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "float32": rng.standard_normal((3, 4, 5)).astype(np.float32),
        "float64": rng.standard_normal((2, 3)),
        "float16": rng.standard_normal(7).astype(np.float16),
        "int64": rng.integers(-5, 5, (2, 2)),
        "bool": rng.integers(0, 2, 9) > 0,
        "scalar": np.array(3.5, dtype=np.float32),
        "empty": np.zeros((0, 4), dtype=np.float32),
        "fortran": np.asfortranarray(rng.standard_normal((3, 4)).astype(np.float32)),
        "strided": rng.standard_normal((6, 8)).astype(np.float32)[::2, ::3],
        "latin": np.frombuffer(bytes(range(256)), dtype=np.uint8).copy(),
    }


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def assert_same(tensors: dict[str, torch.Tensor], arrays: dict[str, np.ndarray]) -> None:
    assert list(tensors) == list(arrays)
    for key, array in arrays.items():
        assert_close(tensors[key], torch.from_numpy(np.array(array)), rtol=0, atol=0)
        assert tensors[key].is_contiguous()


# ------------------------------------------------------------------------------ what is read


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_come_back_in_every_protocol(protocol, arrays, tmp_path):
    if protocol == 2:
        del arrays["empty"]  # its bytes would be a call of bytes()
    tree = {"model": arrays, "__author__": "somebody", "epoch": 3, "score": [0.5, (None, True)]}
    path = write(tmp_path / "w.pkl", pickle.dumps(tree, protocol=protocol))
    assert_same(read_tensors(path), arrays)


def test_a_dict_of_arrays_needs_no_model_around_it(arrays, tmp_path):
    path = write(tmp_path / "w.pkl", pickle.dumps(collections.OrderedDict(arrays)))
    assert_same(read_tensors(path), arrays)


@pytest.mark.parametrize("name", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_old_and_new_names_of_numpy_are_known(name, arrays, tmp_path):
    content = pickle.dumps({"a": arrays["float32"]}, protocol=2)
    written = re.search(rb"numpy\._?core\.multiarray", content)[0]  # by this version of numpy
    content = content.replace(written, name)
    assert name in content
    assert_same(read_tensors(write(tmp_path / "w.pkl", content)), {"a": arrays["float32"]})


def test_text_of_python_2_is_taken_as_bytes(tmp_path):
    # What Python 2 wrote for {"a": numpy.arange(2, dtype="f4")}: one type for text and bytes.
    raw = np.arange(2, dtype=np.float32).tobytes()
    content = (
        b"\x80\x02}q\x01U\x01aq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04"
        b"K\x00\x85U\x01b\x87Rq\x05(K\x01K\x02\x85cnumpy\ndtype\nq\x06U\x02f4K\x00K\x01\x87Rq\x07"
        b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x08" + raw + b"tbs."
    )
    expected = pickle.loads(content, encoding="latin1")
    assert_same(read_tensors(write(tmp_path / "w.pkl", content)), expected)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_torch_files_come_back(zipped, tmp_path):
    torch.manual_seed(0)
    base = torch.randn(6, 8)
    state = collections.OrderedDict(
        a=torch.randn(2, 3),
        view=base[1:4, ::2],
        turned=base.t(),
        half=torch.randn(5).half(),
        bf16=torch.randn(5).bfloat16(),
        count=torch.tensor(7),
        parameter=torch.nn.Parameter(torch.randn(2)),
        empty=torch.empty(0, 3),
    )
    state._metadata = {"": {"version": 1}}  # as Module.state_dict leaves it
    path = tmp_path / "w.pth"
    torch.save(
        {"model": state, "iteration": 9, "optimizer": {0: {"momentum": torch.zeros(2)}}},
        path,
        _use_new_zipfile_serialization=zipped,
    )
    assert zipfile.is_zipfile(path) == zipped
    tensors = read_tensors(path)
    assert list(tensors) == list(state)
    for key, value in state.items():
        assert_close(tensors[key], value.detach(), rtol=0, atol=0)
        assert tensors[key].is_contiguous()
        assert not tensors[key].requires_grad


def test_a_state_dict_alone_is_read_too(tmp_path):
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    torch.save(module.state_dict(), tmp_path / "w.pth")
    tensors = read_tensors(tmp_path / "w.pth")
    module.load_state_dict(tensors)
    assert list(tensors) == list(module.state_dict())


# ------------------------------------------------------------------------- what is not executed


class Call:
    """Pickles as the call of a function, which is how a pickle attacks."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


class CallWithState(Call):
    def __reduce__(self):
        return collections.OrderedDict, (), {"x": self.arguments[0]}


def hostile_objects(target: Path) -> dict[str, tuple[object, str]]:
    """What an attacker would store, and the name that the message must give."""
    touch = f"open({str(target)!r}, 'w')"
    system = Call(os.system, f"touch {target}")
    array = np.zeros(3, dtype=np.float32)
    return {
        "os.system": (system, "posix.system|nt.system"),
        "eval": (Call(eval, touch), r"builtin\w*\.eval"),
        "exec": (Call(exec, touch), r"builtin\w*\.exec"),
        "open": (Call(open, str(target), "w"), "io.open"),
        "import": (Call(__import__, "antigravity"), r"builtin\w*\.__import__"),
        "getattr": (Call(getattr, array, "tofile"), r"builtin\w*\.getattr"),
        "subprocess": (Call(subprocess.check_call, ["touch", str(target)]), "check_call"),
        "in a list in a dict": ({"model": {"a": array, "b": [system]}}, "posix.system"),
        "as an argument": (Call(np.dtype, system), "posix.system"),
        "as a state": (CallWithState(None, system), "posix.system"),
        "numpy.load": (Call(np.load, str(target), None, True), "numpy.*load"),
        "numpy.fromfile": (Call(np.fromfile, str(target)), "numpy.*fromfile"),
        "allocation": (Call(bytearray, 10 * GIGABYTE), r"builtin\w*\.bytearray"),
        "array by call": (Call(np.ndarray, (10 * GIGABYTE,)), "expected a dict of arrays"),
        "objects": ({"a": np.array([system, None], dtype=object)}, "posix.system"),
        "objects that do nothing": ({"a": np.array([None], dtype=object)}, "O8"),
        "a module": (torch.nn.ReLU(), r"'\\x81', an instruction"),  # NEWOBJ
        "a tensor": ({"a": torch.zeros(2)}, "torch._utils._rebuild_tensor_v2"),
    }


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("case", hostile_objects(Path("x")))
def test_nothing_is_called_and_what_is_refused_is_named(case, protocol, tmp_path):
    target = tmp_path / "executed"
    thing, name = hostile_objects(target)[case]
    content = pickle.dumps(thing, protocol=protocol)
    path = write(tmp_path / "w.pkl", content)
    with pytest.raises(ValueError, match=name) as caught:
        read_tensors(path)
    assert str(path) in str(caught.value)
    assert "Nothing in the file was executed" in str(caught.value)
    assert not target.exists()


def test_the_attack_would_have_worked(tmp_path):
    """Otherwise the tests above would prove nothing."""
    target = tmp_path / "executed"
    thing, _ = hostile_objects(target)["in a list in a dict"]
    pickle.loads(pickle.dumps(thing))
    assert target.exists()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("case", ["os.system", "eval", "as a state", "allocation"])
def test_a_pth_with_code_is_refused_by_name(case, zipped, tmp_path):
    target = tmp_path / "executed"
    thing, name = hostile_objects(target)[case]
    torch.save(thing, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=name):
        read_tensors(tmp_path / "w.pth")
    assert not target.exists()


def test_a_name_that_holds_a_known_one_is_another_name(tmp_path):
    for module, name in (("numpy.core", "os.system"), ("os", "numpy.dtype"), ("numpy", "dtype.x")):
        content = b"\x80\x02c" + f"{module}\n{name}\n.".encode()
        with pytest.raises(ValueError, match="it imports"):
            read_tensors(write(tmp_path / "w.pkl", content))


@pytest.mark.parametrize(
    "content",
    [
        b"(C\x07touch xcposix\nsystem\no.",  # OBJ
        b"(S'touch x'\niposix\nsystem\n.",  # INST
        b"\x80\x02\x82\x01.",  # EXT1
        b"\x80\x02Pabc\n.",  # PERSID
        b"\x80\x02NQ.",  # BINPERSID
        b"\x80\x05\x97.",  # NEXT_BUFFER
        b"\x80\x02cnumpy\ndtype\n)\x81.",  # NEWOBJ
        b"\x80\x04\x8f.",  # EMPTY_SET
        b"\x80\x02I12\n.",  # INT
        b"\x80\x02N2.",  # DUP
        b"\x80\x02N0.",  # POP
    ],
)
def test_instructions_that_arrays_do_not_need_are_refused(content, tmp_path):
    with pytest.raises(ValueError, match="an instruction that arrays do not need"):
        read_tensors(write(tmp_path / "w.pkl", content))


CHANGES = {  # BUILD of an imported name: would set attributes of this program's functions
    "a function": b"\x80\x02c_codecs\nencode\n}U\x04nameU\x01xsb.",
    "a class": b"\x80\x02cnumpy\nndarray\n}U\x0c__setstate__N" + b"sb.",
    "by slots": b"\x80\x02cnumpy\ndtype\nN}U\x08__init__Ns\x86b.",
    "from the memo": b"\x80\x02cnumpy\ndtype\nq\x00}U\x01ah\x00}b.",
    "in a protocol of today": b"\x80\x04\x8c\x05numpy\x8c\x05dtype\x93\x94}b.",
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_is_imported_is_never_changed(case, tmp_path):
    before = {name: dict(vars(value)) for name, value in _Unpickler.NAMES.items()}
    with pytest.raises(ValueError, match="no weights"):
        read_tensors(write(tmp_path / "w.pkl", CHANGES[case]))
    assert {name: dict(vars(value)) for name, value in _Unpickler.NAMES.items()} == before


# ------------------------------------------------------------------------------ broken files


def test_a_file_that_stops_early_is_refused_wherever_it_stops(tmp_path):
    content = pickle.dumps({"model": {"a": np.arange(4.0), "b": np.zeros((2, 3), np.float32)}})
    for length in range(len(content)):
        with pytest.raises(ValueError, match=r"w\.pkl"):
            read_tensors(write(tmp_path / "w.pkl", content[:length]))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_torch_file_that_stops_early_is_refused_wherever_it_stops(zipped, tmp_path):
    torch.save({"a": torch.arange(4.0)}, tmp_path / "w", _use_new_zipfile_serialization=zipped)
    content = (tmp_path / "w").read_bytes()
    for length in range(0, len(content), 7):
        with pytest.raises(ValueError, match=r"w\.pth"):
            read_tensors(write(tmp_path / "w.pth", content[:length]))


@pytest.mark.parametrize("zipped", [None, True, False], ids=["pickle", "zip", "legacy"])
def test_a_changed_byte_never_raises_anything_but_a_clear_error(zipped, tmp_path):
    state = {"model": {"a": np.arange(4.0), "b": np.zeros((2, 3), np.float32)}}
    if zipped is None:
        content = pickle.dumps(state)
    else:
        torch.save({"a": torch.arange(4.0)}, tmp_path / "w", _use_new_zipfile_serialization=zipped)
        content = (tmp_path / "w").read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(1500):
        changed = bytearray(content)
        for place in rng.integers(0, len(content), rng.integers(1, 4)):
            changed[place] = rng.integers(0, 256)
        path = write(tmp_path / "w.pth", bytes(changed))
        try:
            tensors = read_tensors(path)
        except ValueError:
            continue
        assert sum(t.nbytes for t in tensors.values()) <= len(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty file"),
        (b"\x80\x04N.x", "1 bytes after its end"),
        (b"\x80\x04N.", "a file of NoneType, expected a dict"),
        (b"\x80\x04(N.", "a file of NoneType"),
        (b"\x80\x04.", "underflow"),
        (b"\x80\x04t.", "index"),
        (b"\x80\x04h\x05.", "BINGET of memo number 5"),
        (b"\x80\x04q\x05.", "BINPUT of memo number 5"),
        (b"\x80\x04\x94.", "MEMOIZE of memo number 0"),
        (b"\x80\x04Na.", "APPEND of missing values"),
        (b"\x80\x04}NNs.", "SETITEM of missing values, a name, or keys"),
        (b"\x80\x04}(Ns.", "SETITEM of missing values"),
        (b"\x80\x04})Ns.", "SETITEM of missing values"),
        (b"\x80\x04}()Nu.", "SETITEMS of missing values"),
        (b"\x80\x04}K\x01Ns.", "'1' is NoneType, expected an array"),
        (b"\x80\x04}\x8c\x01aNs.", "'a' is NoneType, expected an array"),
        (b"\x80\x04\x8c\x01a\x8c\x01b\x93.", "it imports a.b"),
        (b"<html>", "byte 0 is '<'"),
        (b"\x80", "needs 1 bytes, found 0 left"),
        (b"\x80\x04cnumpy", "needs|index|no weights"),
    ],
)
def test_broken_files_are_told_apart(content, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read_tensors(write(tmp_path / "w.pkl", content))


def array_pickle(shape: str, data: bytes, *, code: str = "f4", order: str = "<") -> bytes:
    """A protocol 4 pickle of {"a": array} put together by hand, so that its parts may disagree."""
    text = {name: b"\x8c" + bytes([len(name)]) + name.encode() for name in ("a", code, order)}
    names = [
        b"\x8c\x15numpy.core.multiarray",
        b"\x8c\x0c_reconstruct",
        b"\x8c\x05numpy",
        b"\x8c\x07ndarray",
        b"\x8c\x05numpy",
        b"\x8c\x05dtype",
    ]
    return b"".join(
        [
            b"\x80\x04}" + text["a"],
            names[0] + names[1] + b"\x93" + names[2] + names[3] + b"\x93",
            b"K\x00\x85C\x01b\x87R",
            b"(K\x01" + eval_shape(shape),
            names[4] + names[5] + b"\x93" + text[code] + b"\x89\x88\x87R",
            b"(K\x03" + text[order] + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb",
            b"\x89B" + struct.pack("<I", len(data)) + data + b"tbs.",
        ]
    )


def eval_shape(shape: str) -> bytes:
    numbers = [int(part) for part in shape.split(",")]
    packed = (n.to_bytes(9, "little", signed=True) for n in numbers)
    return b"(" + b"".join(b"\x8a\x09" + p for p in packed) + b"t"


def test_the_pickle_put_together_by_hand_is_a_good_one(tmp_path):
    content = array_pickle("2,1", np.array([1, 2], np.float32).tobytes())
    tensors = read_tensors(write(tmp_path / "w.pkl", content))
    assert tensors["a"].tolist() == [[1], [2]]
    pickletools.dis(content, out=io.StringIO())  # raises if it is none


@pytest.mark.parametrize(
    ("shape", "code", "order", "message"),
    [
        ("2500000000,1", "f4", "<", "buffer is too small"),  # a 10 GB header
        ("1", "f4", "<", "8 bytes for an array of 4"),
        ("-1,2", "f4", "<", "negative"),
        (f"{2**61},{2**61}", "f4", "<", "too big"),
        (f"{2**63},0", "f4", "<", "no weights"),
        (",".join(["1"] * 100), "f4", "<", "dimension"),
        ("2", "O8", "|", "'|O8'"),
        ("2", "V4", "|", "'|V4'"),
        ("2", "f4", ">", "'>f4'"),
    ],
)
def test_headers_that_promise_what_is_not_there_are_refused(shape, code, order, message, tmp_path):
    path = write(tmp_path / "w.pkl", array_pickle(shape, b"12345678", code=code, order=order))
    with pytest.raises(ValueError, match=re.escape(message)):
        read_tensors(path)


# -------------------------------------------------------------------------------- memory


def bombs(folder: Path) -> dict[str, Path]:
    """Small files that ask for much memory, or for much time."""
    big = 2**40
    doubled = b"".join(b"\x94j" + struct.pack("<I", i) + b"\x86" for i in range(200))
    files = {
        "10 GB header": array_pickle("2500000000,1", b"12345678"),
        "BINBYTES8": b"\x80\x04\x8e" + struct.pack("<Q", big) + b"x.",
        "BYTEARRAY8": b"\x80\x05\x96" + struct.pack("<Q", big) + b"x.",
        "BINUNICODE8": b"\x80\x04\x8d" + struct.pack("<Q", big) + b"x.",
        "LONG4": b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"x.",
        "FRAME": b"\x80\x04\x95" + struct.pack("<Q", big) + b"N.",
        "memo number": b"\x80\x02Nr\xff\xff\xff\xff.",
        "steps": b"\x80\x04" + b"}" * (MAX_STEPS + 10) + b".",
        "nested tuples": b"\x80\x04)" + b"\x85" * 100_000 + b".",
        "2^200 empty tuples as a key": b"\x80\x04})" + doubled + b"Ns.",
        "one content in many arrays": repeated_array(),
        "a storage of 10 GB": legacy_storage(10 * GIGABYTE // 4),
        "a storage of negative size": legacy_storage(-1),
        "a long decimal": b"I" + b"9" * 1_000_000 + b"\n.",
        "one text encoded again and again": encoded_again_and_again(),
        "an emoji in a long text": wide_text(),
    }
    paths = {name: write(folder / f"{i}.pkl", data) for i, (name, data) in enumerate(files.items())}
    for name, make in ZIP_BOMBS.items():
        paths[name] = folder / f"{len(paths)}.pth"
        make(paths[name])
    return paths


def repeated_array() -> bytes:
    """One megabyte of content, memoized, as the content of 500 arrays."""
    state = b"(K\x01J\x40\x42\x0f\x00\x85h\x01\x89h\x00tb"
    reconstruct = (
        b"\x8c\x15numpy.core.multiarray\x8c\x0c_reconstruct\x93\x8c\x05numpy\x8c\x07ndarray\x93"
        b"K\x00\x85C\x01b\x87R"
    )
    dtype = b"\x8c\x05numpy\x8c\x05dtype\x93\x8c\x02u1\x89\x88\x87R"
    entries = b"".join(b"\x8c\x03%03d" % i + reconstruct + state for i in range(500))
    content = b"B" + struct.pack("<I", 1_000_000) + bytes(1_000_000)
    return b"\x80\x04" + content + b"\x94" + b"0" + dtype + b"\x94" + b"0}(" + entries + b"u."


def encoded_again_and_again() -> bytes:
    """One megabyte of text, and 1,000 calls that each turn it into bytes of their own."""
    text = b"X" + struct.pack("<I", 1_000_000) + b"a" * 1_000_000
    arguments = text + b"X\x06\x00\x00\x00latin1\x86q\x01"
    return b"\x80\x02]c_codecs\nencode\nq\x000(" + arguments + b"0" + b"h\x00h\x01R" * 1000 + b"e."


def wide_text() -> bytes:
    """Python gives each character of a text the room that the largest one needs: four bytes."""
    text = b"a" * 40_000_000 + "\U0001f600".encode()
    return b"\x80\x02X" + struct.pack("<I", len(text)) + text + b"."


def legacy_storage(count: int) -> bytes:
    """A .pth of before 2020 whose only storage claims `count` floats and has 4."""
    file = io.BytesIO()
    torch.save({"a": torch.zeros(4)}, file, _use_new_zipfile_serialization=False)
    content = file.getvalue()
    assert content[-24:-16] == struct.pack("<q", 4)
    return content[:-24] + struct.pack("<q", count) + content[-16:]


def saved_zip(path: Path, change) -> None:
    """Write a .pth whose members went through `change(name, data) -> data`."""
    torch.save({"a": torch.zeros(1000)}, path)
    with zipfile.ZipFile(path) as packed:
        members = {name: packed.read(name) for name in packed.namelist()}
    with zipfile.ZipFile(path, "w") as packed:
        for name, data in members.items():
            packed.writestr(name, *change(name, data))


def compressed_zeros(path: Path) -> None:
    def change(name, data):
        is_target = name.endswith("/data/0")
        return (bytes(200_000_000), zipfile.ZIP_DEFLATED) if is_target else (data,)

    saved_zip(path, change)


def compressed_program(path: Path) -> None:
    def change(name, data):
        is_target = name.endswith("data.pkl")
        return (b"\x80\x02" + b"}" * 200_000_000, zipfile.ZIP_DEFLATED) if is_target else (data,)

    saved_zip(path, change)


def header_of_terabytes(path: Path) -> None:
    saved_zip(path, lambda name, data: (data,))
    content = path.read_bytes()
    end = content.rindex(b"PK\x01\x02")
    # sizes in the last entry of the central directory, and in its first
    for start in (content.index(b"PK\x01\x02"), end):
        content = content[: start + 20] + b"\xfe\xff\xff\xff" * 2 + content[start + 28 :]
    path.write_bytes(content)


def short_storage(path: Path) -> None:
    saved_zip(path, lambda name, data: (data[:8] if name.endswith("/data/0") else data,))


def endless_directory(path: Path) -> None:
    """An archive that lists 100,000 members, each of which takes Python ten times its entry."""
    with zipfile.ZipFile(path, "w") as packed:
        for number in range(100_000):
            packed.writestr(str(number), b"")


ZIP_BOMBS = {
    "a zip of 100,000 members": endless_directory,
    "a zip bomb as storage": compressed_zeros,
    "a zip bomb as program": compressed_program,
    "a zip of terabytes": header_of_terabytes,
    "a storage cut short": short_storage,
}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")
def test_no_small_file_takes_much_memory(tmp_path):
    """In a process that may have 256 MB more than torch needs; its own peak is asked for, too."""
    files = bombs(tmp_path)
    program = textwrap.dedent(
        """
        import resource, sys
        from pathlib import Path
        from pfpn.unpickle import read_tensors

        def status(field):
            lines = Path("/proc/self/status").read_text().splitlines()
            return next(int(l.split()[1]) for l in lines if l.startswith(field)) * 1024

        read_tensors(Path(sys.argv[1]))  # everything is imported now
        limit = status("VmSize") + (256 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        before = status("VmHWM")
        for path in sys.argv[2:]:
            try:
                read_tensors(Path(path))
            except ValueError as error:
                print(path, "|", error)
        print("peak", status("VmHWM") - before)
        """
    )
    good = write(tmp_path / "good.pkl", pickle.dumps({"a": np.zeros(3, np.float32)}))
    command = [sys.executable, "-c", program, str(good), *map(str, files.values())]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    *refused, peak = result.stdout.splitlines()
    told = {line.split(" | ")[0] for line in refused}
    silent = [name for name, path in files.items() if str(path) not in told]
    assert silent == []
    assert int(peak.split()[1]) < 150 << 20


def test_reading_takes_at_most_three_times_the_file(tmp_path):
    state = {str(i): np.full(250_000, i, np.float32) for i in range(40)}  # 40 MB
    path = write(tmp_path / "w.pkl", pickle.dumps({"model": state}))
    read_tensors(path)
    tracemalloc.start()
    try:
        tensors = read_tensors(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert float(tensors["7"].mean()) == 7
    assert peak < 2.2 * path.stat().st_size  # the pages of the file itself are not counted
