"""Every command answers every malformed input that we know with one clear line and exit code 2."""

import json
import shutil
import struct
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from pfpn.cli import main
from tests.cli.test_writing import snapshot
from tests.data.test_images import EPS, png, png_16

TRUTH = "data/annotations/panoptic_val.json"
TINY = ["max_steps=1", "batch_size=1", "data.val_split=val", "data.train_split=val", "threads=1"]

# Commands by what they read; {} is the malformed file.
READERS_OF_DATA = {
    "check": ["check", "data", "--split", "val"],
    "evaluate": ["evaluate", "w.safetensors", "--data", "data", "--no-ap", "--device", "cpu"],
    "evaluate --save": [
        "evaluate", "w.safetensors", "--data", "data", "--no-ap", "--save", "out",
    ],
    "score": ["score", "--gt", TRUTH, "--pred", "whole.json", "--pred-dir", "whole"],
    "score --pred": ["score", "--gt", "whole.json", "--gt-dir", "whole", "--pred", TRUTH],
    "train": ["train", "toy", "data=data", *TINY, "--out", "out"],
}  # fmt: skip
READERS_OF_WEIGHTS = {
    "evaluate": ["evaluate", "bad.safetensors", "--data", "data", "--device", "cpu"],
    "predict": ["predict", "bad.safetensors", "photos", "--out", "out", "--device", "cpu"],
    "convert": ["convert", "bad.safetensors", "--out", "out.safetensors"],
    "export": ["export", "bad.safetensors", "--out", "out.onnx"],
}


@pytest.fixture
def world(world) -> Path:
    """The small world, with a second, whole copy of its truth."""
    shutil.copy(world / TRUTH, world / "whole.json")
    shutil.copytree(world / "data" / "annotations" / "panoptic_val", world / "whole")
    return world


def assert_one_clear_line(arguments, world, capsys, codes=(2,)):
    """Run a command: its code, no traceback, one line or a list, nothing written."""
    before = snapshot(world)
    capsys.readouterr()
    code = main(list(arguments))
    err = capsys.readouterr().err
    lines = err.splitlines()
    assert code in codes, err
    assert lines, "a word is missing"
    assert "Traceback" not in err
    assert "[Errno" not in err
    assert all(line.isprintable() for line in lines)
    assert lines[0].startswith(f"pfpn {arguments[0]}: ") or code == 1
    assert all(line.startswith("  ") for line in lines[1:]), err
    assert len(lines[0]) < 1500
    assert snapshot(world) == before


BROKEN_JSON = {
    "nothing": b"",
    "half": b'{"annotations": [{"image',
    "a list": b"[]",
    "a number": b"7",
    "null": b"null",
    "no UTF-8": b'{"annotations": ["\xff"]}',
    "binary": bytes(range(256)),
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "deep and whole": b'{"annotations": ' + b"[" * 2000 + b"]" * 2000 + b"}",
    "a long number": b'{"annotations": [' + b"1" * 5000 + b"]}",
    "no annotations": b'{"images": [], "categories": []}',
    "annotations are a number": b'{"images": [], "categories": [], "annotations": 5}',
    "categories are a word": b'{"images": [], "categories": "x", "annotations": []}',
}


@pytest.mark.parametrize("content", BROKEN_JSON)
@pytest.mark.parametrize("name", READERS_OF_DATA)
def test_a_broken_json_file_is_told(name, content, world, capsys):
    if name == "score --pred" and content == "categories are a word":
        pytest.skip("predictions need no categories")
    (world / TRUTH).write_bytes(BROKEN_JSON[content])
    assert_one_clear_line(READERS_OF_DATA[name], world, capsys, (1, 2) if name == "check" else (2,))


def image(content):
    return content["images"][0]


def annotation(content):
    return content["annotations"][0]


def segment(content):
    return content["annotations"][0]["segments_info"][0]


BROKEN_ENTRIES = {
    "an image that is a number": lambda c: c["images"].append(5),
    "an image id that is a list": lambda c: image(c).update(id=[7]),
    "an image id that leads away": lambda c: image(c).update(id="../../holiday"),
    "an image id of 70 bits": lambda c: image(c).update(id=2**70),
    "an image listed twice": lambda c: c["images"].append(image(c)),
    "a file name that is absolute": lambda c: image(c).update(file_name="/etc/passwd"),
    "a file name with NUL": lambda c: image(c).update(file_name="a\0b.png"),
    "a file name with escapes": lambda c: image(c).update(file_name="a\x1b[2K\r0 findings.png"),
    "a file name that is a folder": lambda c: image(c).update(file_name="."),
    "a file name of 300 letters": lambda c: image(c).update(file_name="x" * 300),
    "a file that is not there": lambda c: image(c).update(file_name="none.png"),
    "a height of words": lambda c: image(c).update(height="4"),
    "a height of 10^30": lambda c: image(c).update(height=10**30),
    "an annotation that is a word": lambda c: c["annotations"].append("x"),
    "an annotation of a list": lambda c: annotation(c).update(image_id=[7]),
    "an annotation of an object": lambda c: annotation(c).update(image_id={"a": 1}),
    "an annotation of nothing": lambda c: annotation(c).pop("image_id"),
    "a PNG's name with NUL": lambda c: annotation(c).update(file_name="a\0b.png"),
    "a PNG's name that leads away": lambda c: annotation(c).update(file_name="../x.png"),
    "a PNG's name of a number": lambda c: annotation(c).update(file_name=7),
    "segments that are a number": lambda c: annotation(c).update(segments_info=7),
    "a segment that is a list": lambda c: annotation(c)["segments_info"].append([1]),
    "a segment id of 70 bits": lambda c: segment(c).update(id=2**70),
    "a segment id that is a word": lambda c: segment(c).update(id="1"),
    "a category that nobody listed": lambda c: segment(c).update(category_id=2**40),
    "a category id that is a list": lambda c: segment(c).update(category_id=[1]),
    "an area that is a word": lambda c: segment(c).update(area="big"),
    "a crowd of 2": lambda c: segment(c).update(iscrowd=2),
    "a deep value": lambda c: segment(c).update(id=json.loads("[" * 300 + "]" * 300)),
    "a category of 40 bits": lambda c: c["categories"][0].update(id=2**40),
    "a category without isthing": lambda c: c["categories"][0].pop("isthing"),
    "a category twice": lambda c: c["categories"].append(c["categories"][0]),
    "a category with escapes": lambda c: c["categories"][0].update(name="\x1b[2K\r0 findings"),
    "a category with a wrong color": lambda c: c["categories"][0].update(color="red"),
}
# What a command does not look at, for it means nothing to it: beginnings of the names above.
PASSED_OVER = {
    "score": ("an image ", "a file", "a height"),
    "score --pred": (
        "an image ", "a file", "a height", "an area", "a crowd", "a category of", "a category with",
        "a category twice",
    ),
    "evaluate": ("an area",),
    "evaluate --save": ("an area",),
    "train": ("an area",),
}  # fmt: skip


@pytest.mark.parametrize("entry", BROKEN_ENTRIES)
@pytest.mark.parametrize("name", READERS_OF_DATA)
def test_a_broken_entry_is_told(name, entry, world, capsys):
    if entry.startswith(PASSED_OVER.get(name, ("nothing",))):
        pytest.skip(f"{name} does not look at it")
    content = json.loads((world / TRUTH).read_text())
    BROKEN_ENTRIES[entry](content)
    (world / TRUTH).write_text(json.dumps(content))
    assert_one_clear_line(READERS_OF_DATA[name], world, capsys, (1,) if name == "check" else (2,))


PIXELS = {
    "nothing": b"",
    "rubbish": b"rubbish",
    "a GIF": b"GIF89a" + bytes(100),
    "EPS": EPS,
    "half a PNG": png(8, 8, 8, 2, bytes(200))[:45],
    "14000 x 14000": png(14000, 14000, 8, 2, bytes(100)),
    "12000 x 12000": png(12000, 12000, 8, 2, bytes(100)),
    "0 x 0": png(0, 0, 8, 2, b""),
    "16 bits": png_16(2, 3),
    "gray": png(48, 32, 8, 0, bytes(32 * 49)),
    "another size": png(3, 2, 8, 2, bytes(2 * 10)),
}


@pytest.mark.parametrize("pixels", PIXELS)
@pytest.mark.parametrize("name", READERS_OF_DATA)
def test_a_broken_id_map_is_told(name, pixels, world, capsys):
    (world / "data/annotations/panoptic_val/000000000000.png").write_bytes(PIXELS[pixels])
    assert_one_clear_line(READERS_OF_DATA[name], world, capsys, (1,) if name == "check" else (2,))


@pytest.mark.parametrize("pixels", [name for name in PIXELS if name != "gray"])
@pytest.mark.parametrize("name", ["check", "evaluate", "train", "predict"])
def test_a_broken_photograph_is_told(name, pixels, world, capsys):
    (world / "data/val/000000000000.png").write_bytes(PIXELS[pixels])
    if name == "predict":
        if pixels in ("16 bits", "another size"):
            pytest.skip("photographs may be so")
        for path in (world / "photos").iterdir():
            path.write_bytes(PIXELS[pixels])
        words = ["predict", "w.safetensors", "photos", "--out", "out", "--device", "cpu"]
        assert main(words) == 1
        lines = capsys.readouterr().err.splitlines()
        assert [line[:10] for line in lines[1:]] == 3 * ["  photos/p"]
        return
    assert_one_clear_line(READERS_OF_DATA[name], world, capsys, (1,) if name == "check" else (2,))


def header(path: Path, change) -> None:
    """Write the weights anew with another header."""
    content = path.read_bytes()
    (size,) = struct.unpack_from("<Q", content)
    head = json.loads(content[8 : 8 + size])
    change(head)
    text = json.dumps(head).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])


def meta(key, value):
    return lambda path: header(path, lambda head: head["__metadata__"].update({key: value}))


BROKEN_WEIGHTS = {
    "nothing": lambda path: path.write_bytes(b""),
    "rubbish": lambda path: path.write_bytes(b"rubbish" * 10),
    "a header of 2^60 bytes": lambda path: path.write_bytes(struct.pack("<Q", 2**60) + b"{}"),
    "a header that is no JSON": lambda path: path.write_bytes(struct.pack("<Q", 4) + b"abcd"),
    "a deep header": lambda path: path.write_bytes(struct.pack("<Q", 90_000) + b"[" * 90_000),
    "half": lambda path: path.write_bytes(path.read_bytes()[:5000]),
    "other tensors": lambda path: save_file({"x": torch.zeros(3)}, path),
    "no config": lambda path: header(path, lambda head: head["__metadata__"].pop("model")),
    "no header at all": lambda path: header(path, lambda head: head.pop("__metadata__")),
    "a config that is no JSON": meta("model", "{"),
    "a config that is a list": meta("model", "[]"),
    "a config of an unknown key": meta("model", '{"what": 1}'),
    "a missing tensor": lambda path: header(path, lambda h: h.pop(sorted(h)[-1])),
}


@pytest.mark.parametrize("kind", BROKEN_WEIGHTS)
@pytest.mark.parametrize("name", READERS_OF_WEIGHTS)
def test_broken_weights_are_told(name, kind, world, capsys):
    shutil.copy(world / "w.safetensors", world / "bad.safetensors")
    BROKEN_WEIGHTS[kind](world / "bad.safetensors")
    assert_one_clear_line(READERS_OF_WEIGHTS[name], world, capsys)


PREDICT = ["predict", "w.safetensors", "photos/p0.png", "--device", "cpu"]
EVALUATE = ["evaluate", "w.safetensors", "--data", "data", "--no-ap", "--device", "cpu"]
SCORE = ["score", "--gt", TRUTH, "--pred", TRUTH]
WRONG_WORDS = [
    [*PREDICT, "--out", "data/val/000000000000.png"],
    [*PREDICT, "--out", "data/val/000000000000.png/sub"],
    [*PREDICT, "--out", "a\0b"],
    [*PREDICT[:1], "none.safetensors", *PREDICT[2:], "--out", "out"],
    [*PREDICT[:1], "photos", *PREDICT[2:], "--out", "out"],
    [*PREDICT[:2], "none.png", "--out", "out"],
    [*PREDICT[:2], "a\0b", "--out", "out"],
    [*PREDICT[:3], "--device", "gpu", "--out", "out"],
    [*PREDICT[:3], "--device", "cuda:x", "--out", "out"],
    [*PREDICT[:3], "--device", "cuda:99", "--out", "out"],
    [*PREDICT[:3], "--device", "\x1b[2K", "--out", "out"],
    [*EVALUATE, "--save", "data/val/000000000000.png"],
    [*EVALUATE, "--save", "data/val"],
    [*EVALUATE, "--json", "photos"],
    [*EVALUATE, "--json", "data/val/000000000000.png/x"],
    [*EVALUATE, "--json", ""],
    [*EVALUATE, "--images", "-1"],
    [*EVALUATE, "--split", "none"],
    [*EVALUATE, "--split", "../val"],
    [*EVALUATE[:3], "none"],
    [*EVALUATE[:3], "data/val/000000000000.png"],
    [*EVALUATE[:3], "toy", "--split", "none"],
    [*EVALUATE[:3], "toy", "--images", "1", "--seed", "-1"],
    [*SCORE, "--json", "photos"],
    [*SCORE, "--json", TRUTH],
    [*SCORE, "--json", ""],
    [*EVALUATE, "--save", ""],
    [*SCORE, "--gt-dir", "none"],
    [*SCORE, "--workers", "0"],
    ["score", "--gt", "none.json", "--pred", TRUTH],
    ["score", "--gt", "photos", "--pred", TRUTH],
    ["check", "none", "--split", "val"],
    ["check", "data", "--split", "none"],
    ["check", "data", "--split", "val", "--workers", "-3"],
    ["check", TRUTH, "--split", "val"],
    ["toy", TRUTH],
    ["toy", "out", "--num", "0"],
    ["toy", "out", "--num", "99999999999999999999"],
    ["toy", "out", "--split", "none"],
    ["toy", "out", "--seed", "-1"],
    ["convert", "none.pkl", "--out", "out.safetensors"],
    ["convert", "photos", "--out", "out.safetensors"],
    ["convert", "w.safetensors", "--out", "w.safetensors"],
    ["convert", "photos/p0.png", "--out", "out.safetensors"],
    ["convert", "w.safetensors", "--out", "photos"],
    ["export", "none", "--out", "out.onnx"],
    ["export", "w.safetensors", "--out", "out.pt"],
    ["export", "w.safetensors", "--out", "photos"],
    ["export", "w.safetensors", "--out", "photos/p0.png/out.onnx"],
    ["download", "zoo", "none"],
    ["download", "coco", "photos/p0.png"],
    ["reproduce", "none"],
    ["reproduce", "photos"],
    ["train", "none", "--out", "out"],
    ["train", "none.json", "--out", "out"],
    ["train", "whole.json", "--out", "out"],
    ["train", "toy", "optim.lr=x", "--out", "out"],
    ["train", "toy", "what", "--out", "out"],
    ["train", "toy", "data=none", "--out", "out"],
    ["train", "toy", "--out", "photos/p0.png"],
    ["demo", "optim.lr=x", "--out", "out"],
    ["demo", "--out", "photos/p0.png"],
]  # fmt: skip


def test_a_set_without_annotations_is_not_scored(world, capsys):
    """A table of nothing but dashes and code 0 would pass for a result."""
    content = json.loads((world / TRUTH).read_text())
    (world / TRUTH).write_text(json.dumps(content | {"annotations": []}))
    assert_one_clear_line(EVALUATE, world, capsys)


def shown(words: list[str]) -> str:
    return " ".join(words).encode("unicode_escape").decode() or "nothing"


@pytest.mark.parametrize("words", WRONG_WORDS, ids=shown)
def test_wrong_words_are_told(words, world, capsys):
    assert_one_clear_line(words, world, capsys)


@pytest.mark.parametrize(
    "words",
    [
        [], ["none"], ["check"], ["check", "data"], ["toy", "out", "--num", "x"],
        ["toy", "out", "--size", "3"],
        ["toy", "out", "--size", "0x0"], ["predict", "w"], ["download", "none"], ["train", "toy"],
        ["predict", "w", "a.jpg", "--out", "x", "--what\x1b[2K", "b"],
    ],
    ids=shown,
)  # fmt: skip
def test_words_that_no_command_takes_are_told_in_one_line(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("pfpn")
    assert line.isprintable()
    assert "--help)" in line


def test_names_of_classes_cannot_steer_the_terminal(world, capsys):
    """Also those in the header of weights, which no data set's check has seen."""

    def change(head):
        categories = json.loads(head["__metadata__"]["categories"])
        for entry in categories:
            entry["name"] = f"\x1b[2K\r{entry['name']}\n0 findings"
        head["__metadata__"]["categories"] = json.dumps(categories)

    header(world / "w.safetensors", change)
    code = main(["predict", "w.safetensors", "photos", "--out", "out", "--device", "cpu"])
    out, err = capsys.readouterr()
    assert code in (0, 2)  # told apart, or refused
    assert all(line.isprintable() for line in (out + err).splitlines())
    assert "\n0 findings" not in out + err


def test_findings_are_a_list_of_lines_and_their_number(world, capsys):
    (world / "data/val/000000000000.png").unlink()
    (world / "data/val/000000000001.png").write_bytes(b"")
    Image.new("RGB", (3, 3)).save(world / "data/val/extra.png")
    assert main(READERS_OF_DATA["check"]) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 3
    assert err == "3 findings\n"
