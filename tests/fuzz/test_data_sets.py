"""Damaged or misleading data sets: findings or one clear error, never a traceback."""

import copy
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pfpn.data.check import check
from pfpn.data.coco import CocoPanoptic, write_coco_panoptic
from pfpn.data.images import (
    encode_id_map,
    encode_image,
    read_id_map,
    read_id_map_size,
    read_image,
    read_image_header,
)
from pfpn.data.score import score_files
from pfpn.data.toy import TOY_CATEGORIES, ToyStreet

CORPUS = Path(__file__).parents[1] / "data_files" / "fuzz"  # the smallest inputs of each kind
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))
JSON, SPLIT = Path("annotations") / "panoptic_val.json", "val"

fuzzing = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A sound data set of two scenes, with a second copy of its truth as predictions."""
    folder = tmp_path_factory.mktemp("data")
    samples = [ToyStreet(2, 3, (16, 24))[i] for i in range(2)]
    write_coco_panoptic(folder, SPLIT, samples, TOY_CATEGORIES)
    shutil.copy(folder / JSON, folder / "whole.json")
    shutil.copytree(folder / JSON.with_suffix(""), folder / "whole")
    return folder


def require_a_word(read: Callable[[], object], content: bytes, name: str) -> None:
    """Read; anything but a result, or one printable line of ValueError, fails.

    With FUZZ_FOUND set to a folder, the smallest content that fails is stored there.
    """
    try:
        try:
            result = read()
        except ValueError as error:
            lines = [str(error)]
        else:
            lines = [str(line) for line in result] if isinstance(result, list) else []
        for line in lines:
            assert line.isprintable(), line
            assert len(line) < 2000
    except BaseException:
        _store(name, content)
        raise


def _store(name: str, content: bytes) -> None:
    folder = os.environ.get("FUZZ_FOUND")
    if folder:
        path = Path(folder) / name
        if not path.exists() or path.stat().st_size > len(content):
            path.write_bytes(content)


def read_all(root: Path) -> list[Callable[[], object]]:
    """Everything that reads the panoptic JSON of a data set."""

    def score(gt: str, pred: str) -> object:
        folders = (root / JSON.with_suffix(""), root / "whole")
        return score_files(
            root / gt, folders[gt != str(JSON)], root / pred, folders[pred != str(JSON)]
        )

    def load() -> object:
        data = CocoPanoptic(root, SPLIT)
        lines = data.problems()
        for index in range(len(data)):
            data[index]
        return lines

    return [
        lambda: check(root, SPLIT),
        load,
        lambda: score(str(JSON), "whole.json"),
        lambda: score("whole.json", str(JSON)),
    ]


def read_json_bytes(root: Path, content: bytes, name: str) -> None:
    (root / JSON).write_bytes(content)
    for read in read_all(root):
        require_a_word(read, content, name)


HOSTILE = [
    None, True, False, 0, -1, 1, 7, 2**31, 2**40, 2**63, 2**70, 10**400, 0.5, 1e300, float("nan"),
    float("inf"), "", "a", "../../x", "/etc/passwd", "a\0b", "a\nb", "\x1b[2K", "\u202e", "con",
    ".", "..", "x" * 300, "\ud800", [], [[]], {}, {"a": {}}, [None], [0, 0, 0], {"id": 1},
]  # fmt: skip


@st.composite
def changed(draw: st.DrawFn, content: Any) -> Any:
    """A sound JSON with some of its values exchanged, taken out or repeated."""
    content = json.loads(json.dumps(content))
    for _ in range(draw(st.integers(1, 3))):
        node = content
        while isinstance(node, dict | list) and node:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            key = draw(st.sampled_from(keys))
            if not isinstance(node[key], dict | list) or not draw(st.integers(0, 3)):
                break
            if not node[key]:
                break
            node = node[key]
        match draw(st.sampled_from(["exchange", "exchange", "take out", "repeat"])):
            case "exchange":
                node[key] = copy.deepcopy(draw(st.sampled_from(HOSTILE)))
            case "take out":
                del node[key]
            case "repeat" if isinstance(node, list):
                node.append(node[key])
        if not content:
            break
    return content


@fuzzing
@given(data=st.data())
def test_a_changed_json_is_read_or_refused_in_one_line(root, data):
    sound = json.loads((root / "whole.json").read_text())
    content = json.dumps(data.draw(changed(sound))).encode()
    read_json_bytes(root, content, "json-changed.json")


@st.composite
def damaged(draw: st.DrawFn, contents: list[bytes]) -> bytes:
    """A sound file with some bytes changed, cut out, put in or cut off."""
    content = bytearray(draw(st.sampled_from(contents)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        match draw(st.sampled_from(["change", "cut", "insert", "end"])):
            case "change":
                content[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case "cut":
                del content[at : at + draw(st.integers(0, 12))]
            case "insert":
                content[at:at] = draw(st.binary(min_size=1, max_size=9))
            case "end":
                del content[max(at, 1) :]
    return bytes(content)


@fuzzing
@given(data=st.data())
def test_a_damaged_json_is_read_or_refused_in_one_line(root, data):
    content = data.draw(damaged([(root / "whole.json").read_bytes()]))
    read_json_bytes(root, content, "json-damaged.json")


def _save(mode: str, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.effect_noise((13, 9), 60).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


SCENE = ToyStreet(1, 0, (8, 12))[0]
PICTURES = [
    encode_id_map(SCENE.panoptic.id_map), encode_image(SCENE.image),
    encode_image(SCENE.image, "JPEG"), _save("P", "PNG"), _save("RGB", "WEBP"),
    _save("RGB", "BMP"), _save("RGB", "TIFF"),
    _save("RGB", "JPEG", exif=_turned()), _save("L", "PNG"),
    _save("CMYK", "TIFF", compression="tiff_lzw"),
]  # fmt: skip


@fuzzing
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")  # Pillow's remarks
@given(content=damaged(PICTURES))
def test_a_damaged_picture_is_read_or_refused_in_one_line(tmp_path, content):
    read_picture(tmp_path / "a.png", content)


def read_picture(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    for read in (read_id_map, read_id_map_size, read_image, read_image_header):
        require_a_word(lambda read=read: read(path), content, f"picture-{read.__name__}.bin")


@pytest.mark.parametrize("name", sorted(p.name for p in CORPUS.glob("json-*")))
def test_the_json_files_that_once_failed_have_a_word(root, name):
    read_json_bytes(root, (CORPUS / name).read_bytes(), name)


@pytest.mark.parametrize("name", sorted(p.name for p in CORPUS.glob("picture-*")))
def test_the_pictures_that_once_failed_have_a_word(tmp_path, name):
    read_picture(tmp_path / "a.png", (CORPUS / name).read_bytes())


def test_the_corpus_is_there():
    assert len(list(CORPUS.glob("json-*"))) >= 6
    assert len(list(CORPUS.glob("picture-*"))) >= 3
