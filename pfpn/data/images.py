"""Pixels on disk: photographs as RGB, and id maps as PNGs whose colors are segment ids.

Whatever is wrong with a file is raised as FormatError, in one line with the file's name.
"""

import contextlib
import io
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from PIL import Image, ImageOps
from torch import Tensor

from pfpn.compiled import request_loops
from pfpn.files import printable, write_atomically

MAX_ID = 2**24 - 1  # what three bytes hold
MAX_PIXELS = 178_956_970  # of one image; the number at which Pillow refuses to decode, too
# Others are not opened, whatever a file is called: some readers of Pillow start other programs.
PHOTO_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
UPRIGHT = 1  # EXIF's number for an image that is stored as it is to be seen
_ORIENTATION = 0x0112  # EXIF's tag for it
_BITS, _PHOTOMETRIC = 0x0102, 0x0106  # TIFF's tags for bits a channel and what the numbers mean
inflater: ModuleType = zlib
with contextlib.suppress(ImportError):  # the extra "fast": nine times as fast
    from zlib_ng import zlib_ng

    inflater = zlib_ng

_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by color type
_MAX_INFLATION = 1032  # bytes that zlib can make of one


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with files: where, what was found and what was expected."""

    file: str
    image_id: int | str | None
    segment_id: int | None
    found: str
    expected: str

    def __str__(self) -> str:
        """Return it as one line, control characters as escapes."""
        where = self.file
        where += "" if self.image_id is None else f", image {self.image_id}"
        where += "" if self.segment_id is None else f", segment {self.segment_id}"
        return printable(f"{where}: found {self.found}, expected {self.expected}")


class FormatError(ValueError):
    """A file that cannot be used; `finding` says what is wrong with it."""

    def __init__(self, finding: Finding):
        super().__init__(str(finding))
        self.finding = finding

    def __reduce__(self) -> tuple[type, tuple[Finding]]:
        return FormatError, (self.finding,)


class _BadPngError(ValueError):
    """(found, expected)."""


# ids and colors -----------------------------------------------------------------------------------


def rgb_to_id_map(rgb: UInt8[Tensor, "3 h w"]) -> Int[Tensor, "h w"]:
    """Return the ids that colors stand for: R + 256 G + 65536 B."""
    red, green, blue = rgb.to(torch.int64)
    return red + 256 * green + 65536 * blue


def id_map_to_rgb(id_map: Int[Tensor, "h w"]) -> UInt8[Tensor, "3 h w"]:
    """Return the colors that stand for ids; inverts `rgb_to_id_map`."""
    if id_map.numel() and not (int(id_map.min()) >= 0 and int(id_map.max()) <= MAX_ID):
        raise ValueError(
            f"id map: found ids from {int(id_map.min())} to {int(id_map.max())}, expected 0 to "
            f"{MAX_ID}, which is what three color bytes hold. Number the segments anew."
        )
    # The bytes of an id, lowest first; large maps are not held in more than 4 bytes a pixel.
    numbers = id_map.cpu().numpy().astype("<u4")
    channels = numbers.view(np.uint8).reshape(*numbers.shape, 4)[..., :3]
    return torch.from_numpy(channels.transpose(2, 0, 1).copy()).to(id_map.device)


# id maps ------------------------------------------------------------------------------------------


def read_id_map(path: Path, *, image_id: Any = None) -> np.ndarray:
    """Return the ids of a PNG as int32 (h, w).

    RGB, RGB with alpha (which means nothing) and palettes of RGB colors are read. A gray PNG is
    refused: its one channel is more likely a class than the first byte of an id.

    Args:
        path: of the PNG.
        image_id: for messages.
    """
    content = _read_bytes(path, image_id)
    try:
        return _decode_id_map(content)
    except _BadPngError as error:
        raise FormatError(Finding(str(path), image_id, None, *error.args)) from error


def read_id_map_size(path: Path, *, image_id: Any = None) -> tuple[int, int]:
    """Return (height, width) of an id map in pixels; reads no more than its header and its end.

    Args:
        path: of the PNG.
        image_id: for messages.
    """
    try:
        with _open(path, image_id) as file:
            content = file.read(33)
            file.seek(0, io.SEEK_END)
            file.seek(-min(12, file.tell()), io.SEEK_END)
            content += file.read(12)
        width, height, _, _ = _check_header(_check_png(content)[0])
    except _BadPngError as error:
        raise FormatError(Finding(str(path), image_id, None, *error.args)) from error
    return height, width


def _open(path: Path, image_id: Any) -> io.BufferedReader:
    try:
        return path.open("rb")
    except OSError as error:
        found = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise FormatError(Finding(str(path), image_id, None, found, "an id PNG")) from error


def _read_bytes(path: Path, image_id: Any) -> bytes:
    with _open(path, image_id) as file:
        try:
            return file.read()
        except OSError as error:  # a folder, or a broken disk
            raise FormatError(Finding(str(path), image_id, None, str(error), "a PNG")) from error


def _decode_id_map(content: bytes) -> np.ndarray:
    header, pixels = _check_png(content)
    width, height, depth, color = _check_header(header)
    raw_bytes = height * (1 + width * depth * _PNG_CHANNELS.get(color, 1) // 8)
    if raw_bytes > _MAX_INFLATION * len(content) and header[12] == 0:  # not interlaced
        raise _BadPngError(f"too few bytes for {height} x {width} pixels", "a whole PNG")
    if header == struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0) and pixels is not None:
        ids = _decode_rgb(pixels, height, width)
        if ids is not None:
            return ids
    try:
        # (torchvision 0.29 decodes 1.4 times as fast, but palettes wrongly, and it crashes the
        # process where rows are missing.)
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            rgb = image if image.mode == "RGB" else image.convert("RGB")
            packed = rgb.tobytes("raw", "RGBX")
    except Image.UnidentifiedImageError as error:  # its message holds an address in memory
        raise _BadPngError("a header that Pillow does not read", "a whole PNG") from error
    except Exception as error:  # whatever a broken file makes Pillow raise
        found = f"pixels that cannot be read ({_first_line(error)})"
        raise _BadPngError(found, "a whole PNG") from error
    # With a fourth byte per pixel, an id is one masked number instead of a sum of three.
    ids = np.frombuffer(packed, dtype="<u4").reshape(rgb.height, rgb.width) & MAX_ID
    return ids.view(np.int32)


def _decode_rgb(pixels: bytes, height: int, width: int) -> np.ndarray | None:
    """Return the ids of an RGB PNG that holds nothing but pixels; None if Pillow has to do it.

    Pillow has the last word on everything unusual, and says what is wrong with a file.
    """
    loops = request_loops()
    if loops is None:
        return None
    length = height * (1 + 3 * width)
    stream = inflater.decompressobj()
    try:
        raw = stream.decompress(pixels, length)
        rest = stream.decompress(stream.unconsumed_tail, 1)  # reads the checksum
    except inflater.error:
        return None
    if len(raw) != length or rest or not stream.eof:
        return None
    ids = np.empty((height, width), dtype=np.int32)
    return ids if loops.unfilter(np.frombuffer(raw, dtype=np.uint8), ids) else None


def _check_png(content: bytes) -> tuple[bytes, bytes | None]:
    """Walk through the chunks, for decoders are lenient.

    Returns the 13 bytes of the header, and the compressed pixels: None if there are other chunks,
    which may give them another meaning.
    """
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        raise _BadPngError("a file that is no PNG" if content else "an empty file", "a PNG")
    start, kinds, header = 8, [b""], b""
    pixels = []
    while start + 12 <= len(content) and kinds[-1] != b"IEND":
        (length,) = struct.unpack_from(">I", content, start)
        end = start + 12 + length
        if end > len(content):
            break
        kind = content[start + 4 : start + 8]
        kinds.append(kind)
        if zlib.crc32(content[start + 4 : end - 4]) != int.from_bytes(content[end - 4 : end]):
            raise _BadPngError(f"a broken {kind!r} chunk (checksum)", "a whole PNG")
        if kind == b"IHDR":
            header = content[start + 8 : end - 4]
        elif kind == b"IDAT":
            pixels.append(content[start + 8 : end - 4])
        start = end
    if kinds[-1] != b"IEND" or len(header) != 13:
        raise _BadPngError(f"a PNG cut off after {len(content)} bytes", "a whole PNG")
    is_plain = kinds == [b"", b"IHDR", *len(pixels) * [b"IDAT"], b"IEND"]
    return header, b"".join(pixels) if is_plain else None


def _check_header(header: bytes) -> tuple[int, int, int, int]:
    """Return width, height, bits per channel and color type of a PNG that can hold ids."""
    width, height, depth, color = struct.unpack_from(">IIBB", header)
    if color in (0, 4):  # without and with alpha
        raise _BadPngError("a gray PNG", "an RGB one, segment id = R + 256 G + 65536 B")
    if depth == 16:
        raise _BadPngError("16 bits per channel", "8, segment id = R + 256 G + 65536 B")
    if not 0 < width * height <= MAX_PIXELS:
        raise _BadPngError(f"{height} x {width} pixels", f"1 to {MAX_PIXELS}")
    return width, height, depth, color


def encode_id_map(id_map: Int[Tensor, "h w"]) -> bytes:
    """Return ids as the bytes of an RGB PNG."""
    return encode_image(id_map_to_rgb(id_map))


def write_id_map(path: Path, id_map: Int[Tensor, "h w"]) -> None:
    """Write ids as an RGB PNG."""
    write_atomically(path, encode_id_map(id_map))


# photographs --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PhotoHeader:
    """What the header of a photograph says."""

    size: tuple[int, int]  # (height, width) in pixels, upright
    stored: tuple[int, int]  # the same as stored, before EXIF's orientation is applied
    orientation: int  # EXIF's, 1 for upright


def read_image(path: Path) -> UInt8[Tensor, "3 h w"]:
    """Return a photograph as RGB, upright as its EXIF orientation says.

    Gray images get three equal channels, 16 bits a channel are cut to the upper 8 in every layout,
    alpha is dropped. FormatError is raised for other depths and for files that are no JPEG, PNG,
    WebP, BMP or TIFF, or broken.
    """
    try:
        # Opened here, for Pillow maps a TIFF of its own into memory, and mixes the rows up if the
        # TIFF is stored lying on its side
        with path.open("rb") as file, Image.open(file, formats=PHOTO_FORMATS) as image:
            ImageOps.exif_transpose(image, in_place=True)
            pixels = to_rgb(image)
    except FormatError:
        raise
    except Exception as error:  # whatever a broken file makes Pillow raise
        raise _unreadable(path, error) from error
    # Colors stay interleaved in memory, for the next step is a resize by PIL, which has them so.
    return torch.from_numpy(pixels).permute(2, 0, 1)


def read_image_header(path: Path | io.BytesIO) -> PhotoHeader:
    """Return size and orientation of a photograph without decoding its pixels."""
    try:
        with Image.open(path, formats=PHOTO_FORMATS) as image:
            orientation = image.getexif().get(_ORIENTATION, UPRIGHT)
            width, height = image.size
            is_upright = image.format == "TIFF"  # the only format whose size Pillow turns
    except Exception as error:  # whatever a broken file makes Pillow raise
        raise _unreadable(path, error) from error
    if orientation not in range(1, 9):
        orientation = UPRIGHT
    here = (height, width)
    turned = (width, height) if orientation >= 5 else here
    return PhotoHeader(*((here, turned) if is_upright else (turned, here)), orientation)


def to_rgb(image: Image.Image) -> np.ndarray:
    """Return the pixels of an opened photograph as uint8 (h, w, 3), see `read_image`.

    Raises:
        ValueError: it has 32 bits a channel.
    """
    # Pillow has no conversion of 16 bits in one channel; of three it keeps the upper 8, too.
    if image.mode.startswith("I;16"):
        tags = getattr(image, "tag_v2", {})  # of a TIFF, which may hold 12 bits, or white as 0
        gray = (np.asarray(image) >> (tags.get(_BITS, (16,))[0] - 8)).astype(np.uint8)
        gray = 255 - gray if tags.get(_PHOTOMETRIC) == 0 else gray
        return np.repeat(gray[:, :, None], 3, axis=2)
    if image.mode in ("I", "F"):
        kind = "whole numbers" if image.mode == "I" else "floating-point numbers"
        raise ValueError(f"pixels of 32-bit {kind}, expected 8 or 16 bits a channel")
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _unreadable(path: Path | io.BytesIO, error: Exception) -> FormatError:
    if isinstance(error, FileNotFoundError):
        return FormatError(Finding(str(path), None, None, "no such file", "an image"))
    if isinstance(error, Image.UnidentifiedImageError):
        kinds = f"{', '.join(PHOTO_FORMATS[:-1])} or {PHOTO_FORMATS[-1]}"
        found = "an image that cannot be read (its format is unknown)"
        return FormatError(Finding(str(path), None, None, found, f"a whole {kinds}"))
    found = f"an image that cannot be read ({_first_line(error)})"
    return FormatError(Finding(str(path), None, None, found, "a whole image"))


def encode_image(image: UInt8[Tensor, "3 h w"], kind: str = "PNG") -> bytes:
    """Return an image as the bytes of a file.

    Args:
        image: RGB.
        kind: "PNG", which keeps every pixel, or "JPEG".
    """
    options = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    pixels = image.permute(1, 2, 0).contiguous().cpu().numpy()
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format=kind, **options)
    return stream.getvalue()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
