"""The faster decoder of id maps gives what Pillow gives, on whole and on damaged files."""

import io
import random
import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pfpn.data import images
from pfpn.data.images import FormatError, read_id_map

pytestmark = pytest.mark.skipif(
    images.fast_decoder is None, reason="kornia-rs (the extra `fast`) has no build for this Python"
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


def assert_same(content, folder, monkeypatch, pixels=None):
    """Read with both decoders; `pixels` are those of a file that only the fast one may accept."""
    path = folder / "ids.png"
    path.write_bytes(content)
    slow = outcome(path, monkeypatch, None)
    fast = outcome(path, monkeypatch, images.fast_decoder)
    if isinstance(slow, str) and pixels is not None and not isinstance(fast, str):
        slow = images.rgb_to_id_map(torch.from_numpy(pixels).permute(2, 0, 1)).to(torch.int32)
        slow = slow.numpy()
    if isinstance(slow, str):
        assert fast == slow
    else:
        assert fast.dtype == slow.dtype == np.int32
        assert np.array_equal(fast, slow)


def inflated(data: bytes, size: tuple[int, int]) -> np.ndarray | None:
    """Return the pixels of a zlib stream whose checksum may be wrong, None if it is broken."""
    height, width = size
    try:
        raw = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data[2:])
    except zlib.error:
        return None
    rows = np.frombuffer(raw[: height * (1 + 3 * width)], dtype=np.uint8).astype(np.int64)
    if rows.size < height * (1 + 3 * width) or rows[:: 1 + 3 * width].max() > 4:
        return None
    out = np.zeros((height + 1, 3 * width + 3), dtype=np.int64)  # with a margin of zeros
    for y, (kind, *line) in enumerate(rows.reshape(height, -1).tolist()):
        for x, number in enumerate(line):
            left, up, corner = out[y + 1, x], out[y, x + 3], out[y, x]
            nearest = min((left, up, corner), key=lambda other: abs(left + up - corner - other))
            predicted = (0, left, up, (left + up) // 2, nearest)[kind]
            out[y + 1, x + 3] = (number + predicted) % 256
    return out[1:, 3:].reshape(height, width, 3).astype(np.uint8)


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
    """A byte of the compressed pixels is changed, or its end cut, and the chunk's CRC made anew.

    The fast decoder does not look at the checksum inside the stream, so it may accept what Pillow
    refuses for that alone; then the pixels are those that the stream holds, every one of them.
    """
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
        folder = tmp_path_factory.mktemp("png")
        assert_same(content, folder, patch, inflated(bytes(data), (9, 7)))


def test_the_end_of_a_row_is_never_made_up(tmp_path, monkeypatch):
    rows = b"".join(b"\0" + random.Random(y).randbytes(21) for y in range(9))
    for cut in (zlib.compress(rows[:-1]), zlib.compress(rows)[:-10]):
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", 7, 9, 8, 2, 0, 0, 0))
        content = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", cut) + chunk(b"IEND", b"")
        (tmp_path / "ids.png").write_bytes(content)
        assert isinstance(outcome(tmp_path / "ids.png", monkeypatch, images.fast_decoder), str)


def test_a_transparent_color_means_nothing(tmp_path, monkeypatch):
    """A chunk tRNS names a color that is to be drawn transparent; ids have no alpha."""
    rgb = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    content = encode(rgb, transparency=(3, 4, 5))
    assert b"tRNS" in content
    assert_same(content, tmp_path, monkeypatch)


def test_palettes_alpha_and_interlaced_files_are_left_to_pillow(tmp_path, monkeypatch):
    def refuse(content, size, mode):
        raise AssertionError("not for this decoder")

    rgb = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    monkeypatch.setattr(images, "fast_decoder", refuse)
    for mode in ("P", "RGBA"):
        path = tmp_path / f"{mode}.png"
        rgb.convert(mode).save(path)
        expected = np.array(Image.open(path).convert("RGB")).astype(np.int64)
        ids = expected[..., 0] + 256 * expected[..., 1] + 65536 * expected[..., 2]
        assert np.array_equal(read_id_map(path), ids)
