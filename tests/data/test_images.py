import io
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image

from pfpn.data.images import (
    Finding,
    FormatError,
    encode_id_map,
    encode_image,
    read_id_map,
    read_id_map_size,
    read_image,
    read_image_header,
    write_id_map,
)

RAMP = np.linspace(0, 65535, 1024).astype(np.uint16).reshape(4, 256)  # gray, 16 bits


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, color: int, rows: bytes, *extra: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    parts = [
        chunk(b"IHDR", header),
        *extra,
        chunk(b"IDAT", zlib.compress(rows)),
        chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png_16(color: int, channels: int) -> bytes:
    """The ramp in every channel, 16 bits each."""
    pixels = np.repeat(RAMP[:, :, None], channels, axis=2).astype(">u2")
    return png(256, 4, 16, color, b"".join(b"\0" + row.tobytes() for row in pixels))


def tiff_16(channels: int, order: str, bits: int = 16, white: int = 65535) -> bytes:
    """The ramp in every channel as an uncompressed TIFF; order is "<" or ">"."""
    values = RAMP if white else 65535 - RAMP
    pixels = np.repeat(values[:, :, None], channels, axis=2).astype(f"{order}u2").tobytes()
    if bits == 12:  # two numbers in three bytes
        pairs = (values >> 4).reshape(-1, 2).tolist()
        pixels = b"".join((a << 12 | b).to_bytes(3, "big") for a, b in pairs)
    depths = struct.pack(f"{order}{channels}H", *[bits] * channels)
    entries = 9
    after = 8 + 2 + 12 * entries + 4
    start = after + len(depths)
    depth_value = struct.pack(f"{order}I", after) if channels > 2 else (depths + bytes(4))[:4]

    def tag(number: int, kind: int, count: int, value: int | bytes) -> bytes:
        if isinstance(value, int):
            value = struct.pack(f"{order}{'HH' if kind == 3 else 'I'}", value, *[0][: kind == 3])
        return struct.pack(f"{order}HHI", number, kind, count) + value

    tags = [
        tag(256, 3, 1, 256), tag(257, 3, 1, 4), tag(258, 3, channels, depth_value),
        tag(259, 3, 1, 1),
        tag(262, 3, 1, 2 if channels > 1 else int(white > 0)),
        tag(273, 4, 1, start), tag(277, 3, 1, channels),
        tag(278, 3, 1, 4), tag(279, 4, 1, len(pixels)),
    ]  # fmt: skip
    mark = b"II*\0" if order == "<" else b"MM\0*"
    body = struct.pack(f"{order}H", entries) + b"".join(tags) + bytes(4) + depths + pixels
    return mark + struct.pack(f"{order}I", 8) + body


LAYOUTS = {
    "gray PNG": png_16(0, 1),
    "RGB PNG": png_16(2, 3),
    "gray PNG with alpha": png_16(4, 2),
    "RGB PNG with alpha": png_16(6, 4),
    "gray TIFF": tiff_16(1, "<"),
    "gray TIFF, big end first": tiff_16(1, ">"),
    "gray TIFF, 0 is white": tiff_16(1, "<", white=0),
    "gray TIFF, 12 bits": tiff_16(1, "<", bits=12),
    "RGB TIFF": tiff_16(3, "<"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_16_bits_a_channel_are_scaled_alike_in_every_layout(layout, tmp_path):
    (tmp_path / "a.png").write_bytes(LAYOUTS[layout])
    image = read_image(tmp_path / "a.png")
    assert image.shape == (3, 4, 256)
    for channel in image:
        assert np.array_equal(channel.numpy(), RAMP >> 8)
    assert float(image.float().mean()) == 127.5


def test_other_depths_are_refused_in_words(tmp_path):
    for name, mode in (("i.tif", "I"), ("f.tif", "F")):
        Image.new(mode, (3, 2), 70000).save(tmp_path / name)
        with pytest.raises(
            FormatError, match=r"32-bit .* numbers, expected 8 or 16 bits a channel"
        ):
            read_image(tmp_path / name)


def test_eight_bits_a_channel_stay_as_they_are(tmp_path):
    pixels = torch.arange(3 * 4 * 5, dtype=torch.uint8).reshape(3, 4, 5)
    for suffix, kind in ((".png", "PNG"), (".tif", "TIFF"), (".bmp", "BMP")):
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(tmp_path / f"a{suffix}", kind)
        assert torch.equal(read_image(tmp_path / f"a{suffix}"), pixels)
    (tmp_path / "b.png").write_bytes(encode_image(pixels))
    assert torch.equal(read_image(tmp_path / "b.png"), pixels)


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n%%EOF\n"


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".eps"])
def test_no_format_is_opened_that_starts_another_program(suffix, tmp_path, monkeypatch):
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("started"))
    path = tmp_path / f"a{suffix}"
    path.write_bytes(EPS)
    with Image.open(path) as image:  # Pillow by itself would
        assert image.format == "EPS"
    for read in (read_image, read_image_header):
        with pytest.raises(
            FormatError, match=r"its format is unknown.* JPEG, PNG, WEBP, BMP or TIFF"
        ):
            read(path)
    with pytest.raises(FormatError, match="no PNG"):
        read_id_map(path)


def test_a_photograph_with_several_pictures_is_its_first_one(tmp_path):
    first, second = (Image.new("RGB", (4, 3), color) for color in ("red", "blue"))
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[second])
    image = read_image(tmp_path / "a.jpg")
    assert image.shape == (3, 3, 4)
    assert image[0].float().mean() > 200


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_turned_as_any_other_photograph(orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.arange(45, dtype=np.uint8).reshape(5, 9)
    read = {}
    for suffix in ("tif", "png"):
        path = tmp_path / f"a.{suffix}"
        Image.fromarray(pixels).save(path, exif=exif)
        read[suffix] = read_image(path).tolist()
        header = read_image_header(path)
        assert header.size == read_image(path).shape[1:]
        assert (header.stored, header.orientation) == ((5, 9), orientation)
    assert read["tif"] == read["png"]


@pytest.mark.parametrize("orientation", [0, *range(1, 10)])
def test_a_header_says_size_and_orientation(orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (9, 5)).save(tmp_path / "a.jpg", exif=exif)
    header = read_image_header(tmp_path / "a.jpg")
    assert header.size == read_image(tmp_path / "a.jpg").shape[1:]
    assert header.stored == (5, 9)
    assert header.orientation == (orientation if 1 <= orientation <= 8 else 1)


# -- id maps


@pytest.mark.parametrize("color", [2, 3])
def test_a_png_that_declares_more_than_it_holds_is_refused_before_memory_is_taken(color, tmp_path):
    palette = [chunk(b"PLTE", bytes(6))] if color == 3 else []
    for side, found in ((14000, "14000 x 14000 pixels"), (13000, "too few bytes"), (0, "0 x 0")):
        (tmp_path / "a.png").write_bytes(png(side, side, 8, color, bytes(100), *palette))
        with pytest.raises(FormatError, match=found):
            read_id_map(tmp_path / "a.png")


def test_a_bomb_of_a_photograph_is_refused_in_one_line(tmp_path):
    (tmp_path / "a.png").write_bytes(png(14000, 14000, 8, 2, bytes(100)))
    for read in (read_image, read_image_header):
        with pytest.raises(FormatError, match="exceeds limit") as raised:
            read(tmp_path / "a.png")
        assert "\n" not in str(raised.value)


def test_the_size_of_an_id_map_is_read_from_header_and_end(tmp_path):
    path = tmp_path / "a.png"
    write_id_map(path, torch.arange(15).reshape(3, 5) * 1000)
    assert read_id_map_size(path) == read_id_map(path).shape == (3, 5)
    whole = path.read_bytes()
    for content, found in (
        (whole[:-1], "cut off"),
        (whole[:40], "cut off"),
        (whole[:8], "cut off"),
        (b"", "an empty file"),
        (b"GIF89a", "no PNG"),
        (whole[:17] + b"\1" + whole[18:], "checksum"),
        (png(2, 2, 8, 0, bytes(6)), "a gray PNG"),
        (png(2, 2, 16, 2, bytes(26)), "16 bits"),
    ):
        path.write_bytes(content)
        with pytest.raises(FormatError, match=rf"a\.png, image 7: found .*{found}"):
            read_id_map_size(path, image_id=7)
    with pytest.raises(FormatError, match="no such file"):
        read_id_map_size(tmp_path / "none.png")
    with pytest.raises(FormatError, match="directory"):
        read_id_map(tmp_path)


def test_ids_are_written_as_the_same_bytes_with_and_without_a_file(tmp_path):
    ids = torch.tensor([[0, 70000], [1, 2**24 - 1]])
    write_id_map(tmp_path / "a.png", ids)
    assert (tmp_path / "a.png").read_bytes() == encode_id_map(ids)
    with Image.open(io.BytesIO(encode_id_map(ids))) as image:
        assert image.mode == "RGB"


# -- findings


def test_a_finding_is_one_line_whatever_is_in_it():
    finding = Finding("a\n.json", "b\x1b[2K", 3, "c\r", "d\u202e")
    assert str(finding) == "a\\n.json, image b\\x1b[2K, segment 3: found c\\r, expected d\\u202e"


def test_an_error_survives_the_way_out_of_a_process():
    error = FormatError(Finding("a.png", 7, None, "b", "c"))
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.finding) == (str(error), error.finding)


def test_a_folder_instead_of_a_photograph_is_reported(tmp_path):
    with pytest.raises(FormatError, match="cannot be read"):
        read_image(Path(tmp_path))
