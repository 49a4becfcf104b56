"""The faster decoder of id maps gives what Pillow gives, on whole and on damaged files."""

import importlib.abc
import io
import itertools
import random
import struct
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pfpn import compiled
from pfpn.data import images
from pfpn.data.images import FormatError, read_id_map

LOOPS = compiled.load_loops()
pytestmark = pytest.mark.skipif(
    LOOPS is None, reason="numba (the extra `fast`) is not installed, or cannot keep its cache"
)


def chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def encode(pixels: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", **options)
    return buffer.getvalue()


def filtered(pixels: np.ndarray, rng: random.Random) -> bytes:
    """Encode RGB pixels with a filter drawn for each row; Pillow's own encoder avoids some."""
    height, width, _ = pixels.shape
    rows, above = [], np.zeros(width * 3 + 3, dtype=np.int64)
    for line in pixels.reshape(height, -1).astype(np.int64):
        padded = np.concatenate([np.zeros(3, dtype=np.int64), line])
        left, up, corner = padded[:-3], above[3:], above[:-3]
        kind = rng.randrange(5)
        guess = left + up - corner
        distances = [np.abs(guess - other) for other in (left, up, corner)]
        paeth = np.where(
            (distances[0] <= distances[1]) & (distances[0] <= distances[2]),
            left,
            np.where(distances[1] <= distances[2], up, corner),
        )
        predicted = [0 * left, left, up, (left + up) // 2, paeth][kind]
        rows.append(bytes([kind]) + ((line - predicted) % 256).astype(np.uint8).tobytes())
        above = padded
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"".join(rows)))]
    return b"\x89PNG\r\n\x1a\n" + b"".join([*parts, chunk(b"IEND", b"")])


def outcome(path, monkeypatch, loops):
    with monkeypatch.context() as patch:
        patch.setattr(images, "request_loops", lambda: loops)
        try:
            return read_id_map(path)
        except FormatError as error:
            return str(error)


def assert_same(content, folder, monkeypatch):
    """Read with both decoders; return whether the fast one could."""
    path = folder / "ids.png"
    path.write_bytes(content)
    slow = outcome(path, monkeypatch, None)
    fast = outcome(path, monkeypatch, LOOPS)
    if isinstance(slow, str):
        assert fast == slow
        return False
    assert fast.dtype == slow.dtype == np.int32
    assert np.array_equal(fast, slow)
    with monkeypatch.context() as patch:
        patch.setattr(images, "request_loops", lambda: LOOPS)
        patch.setattr(images.Image, "open", refuse)
        try:
            return np.array_equal(read_id_map(path), slow)
        except FormatError:
            return False


def refuse(*arguments, **options):
    raise AssertionError("not for this decoder")


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), height=st.integers(1, 20), width=st.integers(1, 20))
def test_whole_files_of_every_filter(tmp_path_factory, seed, height, width):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("png")
        assert_same(filtered(pixels, random.Random(seed)), folder, patch)
        assert_same(encode(pixels, optimize=True), folder, patch)


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_damaged_files_with_valid_checksums(tmp_path_factory, seed):
    """A byte of the compressed pixels is changed, or its end cut, and the chunk's CRC made anew."""
    rng = random.Random(seed)
    pixels = np.random.default_rng(seed).integers(0, 3, (9, 7, 3), dtype=np.uint8)
    data = bytearray(zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels)))
    if rng.random() < 0.3:
        del data[rng.randrange(len(data)) :]
    else:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    with pytest.MonkeyPatch.context() as patch:
        assert_same(png(bytes(data)), tmp_path_factory.mktemp("png"), patch)


def png(*pixels: bytes, size=(7, 9), before=b"", between=b"", after=b"", end="\0\0\0") -> bytes:
    """Put chunks of compressed pixels into an RGB PNG, with others before, between and after."""
    header = struct.pack(">IIBB", *size, 8, 2) + end.encode()
    parts = between.join(chunk(b"IDAT", data) for data in pixels)
    content = chunk(b"IHDR", header) + before + parts + after
    return b"\x89PNG\r\n\x1a\n" + content + chunk(b"IEND", b"")


ROWS = b"".join(b"\0" + random.Random(y).randbytes(21) for y in range(9))
DATA = zlib.compress(ROWS)
TEXT = chunk(b"tEXt", b"Comment\0ids")


@pytest.mark.parametrize(
    ("content", "is_fast"),
    [
        (png(DATA), True),
        (png(DATA[:40], b"", DATA[40:]), True),
        (png(DATA, before=TEXT), False),  # what else is in a file may change what pixels mean
        (png(DATA[:40], DATA[40:], between=TEXT), False),
        (png(DATA, after=TEXT), False),
        (png(DATA, before=chunk(b"tRNS", bytes(6))), False),
        (png(DATA, before=chunk(b"PLTE", bytes(6))), False),
        (png(DATA, end="\0\0\1"), False),  # interlaced
        (png(DATA, end="\0\1\0"), False),  # a method of filtering that there is not
        (png(DATA, end="\1\0\0"), False),
        (png(zlib.compress(ROWS + b"more")), False),
        (png(DATA + b"more"), True),
        (png(DATA[:-4] + bytes(4)), False),  # the checksum inside the stream
        (png(DATA[:-10]), False),
        (png(zlib.compress(ROWS[:-1])), False),
        (png(zlib.compress(b"\5" + ROWS[1:])), False),  # a filter that there is not
        (png(), False),
        (png(b""), False),
    ],
)
def test_what_is_unusual_is_left_to_pillow(content, is_fast, tmp_path, monkeypatch):
    assert assert_same(content, tmp_path, monkeypatch) is is_fast


def test_a_transparent_color_means_nothing(tmp_path, monkeypatch):
    """A chunk tRNS names a color that is to be drawn transparent; ids have no alpha."""
    rgb = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    content = encode(rgb, transparency=(3, 4, 5))
    assert b"tRNS" in content
    assert_same(content, tmp_path, monkeypatch)


@pytest.mark.parametrize("mode", ["P", "RGBA"])
def test_palettes_and_alpha_are_read_as_pillow_reads_them(mode, tmp_path, monkeypatch):
    rgb = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    rgb.convert(mode).save(tmp_path / "x.png")
    expected = np.array(Image.open(tmp_path / "x.png").convert("RGB")).astype(np.int64)
    ids = expected[..., 0] + 256 * expected[..., 1] + 65536 * expected[..., 2]
    assert np.array_equal(outcome(tmp_path / "x.png", monkeypatch, LOOPS), ids)


def test_the_loops_are_loaded_after_some_images_of_a_process(monkeypatch):
    monkeypatch.setattr(compiled, "_loaded", [])
    monkeypatch.setattr(compiled, "_requests", itertools.count(1))
    for _ in range(compiled.PATIENCE):
        assert compiled.request_loops() is None
    assert compiled.loaded_loops() is None
    assert compiled.request_loops() is compiled.loaded_loops() is LOOPS


@pytest.mark.parametrize("error", [ImportError, RuntimeError])
def test_without_numba_or_its_cache_pillow_reads_on(error, monkeypatch):
    class Broken(importlib.abc.MetaPathFinder):
        def find_spec(self, name, *_):
            if name == "pfpn._loops":
                raise error("cannot be had")

    monkeypatch.setattr(compiled, "_loaded", [])
    monkeypatch.setattr(compiled, "_requests", itertools.count(compiled.PATIENCE + 1))
    monkeypatch.delitem(sys.modules, "pfpn._loops")
    monkeypatch.delattr("pfpn._loops", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    assert compiled.request_loops() is compiled.request_loops() is None
