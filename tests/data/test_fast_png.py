"""The faster decoder of id maps gives what Pillow gives, on whole and on damaged files."""

import io
import random
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pfpn.data import images
from pfpn.data.images import FormatError, read_id_map

pytestmark = pytest.mark.skipif(
    images.fast_decoder is None, reason="pyspng (the extra `fast`) has no build for this Python"
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


def outcome(path, monkeypatch, decoder):
    with monkeypatch.context() as patch:
        patch.setattr(images, "fast_decoder", decoder)
        try:
            return read_id_map(path)
        except FormatError as error:
            return str(error)


def assert_same(content, folder, monkeypatch):
    path = folder / "ids.png"
    path.write_bytes(content)
    slow = outcome(path, monkeypatch, None)
    fast = outcome(path, monkeypatch, images.fast_decoder)
    if isinstance(slow, str):
        assert fast == slow
    else:
        assert fast.dtype == slow.dtype == np.int32
        assert np.array_equal(fast, slow)


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
    """A byte of the compressed pixels is changed, or its end cut, and the checksum made anew."""
    rng = random.Random(seed)
    pixels = np.random.default_rng(seed).integers(0, 3, (9, 7, 3), dtype=np.uint8)
    data = bytearray(zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels)))
    if rng.random() < 0.3:
        del data[rng.randrange(len(data)) :]
    else:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    header = struct.pack(">IIBBBBB", 7, 9, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", bytes(data)), chunk(b"IEND", b"")]
    with pytest.MonkeyPatch.context() as patch:
        content = b"\x89PNG\r\n\x1a\n" + b"".join(parts)
        assert_same(content, tmp_path_factory.mktemp("png"), patch)


def test_palettes_alpha_and_interlaced_files_are_left_to_pillow(tmp_path, monkeypatch):
    def refuse(content, format):
        raise AssertionError("not for this decoder")

    rgb = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    monkeypatch.setattr(images, "fast_decoder", refuse)
    for mode in ("P", "RGBA"):
        path = tmp_path / f"{mode}.png"
        rgb.convert(mode).save(path)
        expected = np.array(Image.open(path).convert("RGB")).astype(np.int64)
        ids = expected[..., 0] + 256 * expected[..., 1] + 65536 * expected[..., 2]
        assert np.array_equal(read_id_map(path), ids)
