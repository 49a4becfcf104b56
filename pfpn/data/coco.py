"""COCO panoptic format on disk: a JSON file, a folder of id PNGs, a folder of images.

    ROOT/annotations/panoptic_SPLIT.json    images, categories, annotations with segments_info
    ROOT/annotations/panoptic_SPLIT/*.png   segment id = R + 256 G + 65536 B, 0 is void
    ROOT/SPLIT/*.jpg                        photographs; .jpeg and .png will do

Cityscapes is read where its own tools leave it, see `annotation_paths`.

A data set is read one image at a time and written so that its JSON appears last: a folder with a
JSON file is a whole data set.
"""

import io
import json
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from PIL import Image, ImageOps
from torch import Tensor

from pfpn.data.categories import LabelMap, categories_to_json, parse_categories, read_json
from pfpn.files import temporary_beside, write_atomically
from pfpn.structures import VOID, Category, Panoptic, Sample, Segment

MAX_ID = 2**24 - 1  # what three bytes hold
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with files: where, what was found and what was expected."""

    file: str
    image_id: int | str | None
    segment_id: int | None
    found: str
    expected: str

    def __str__(self) -> str:
        """Write it as one line."""
        where = self.file
        where += "" if self.image_id is None else f", image {self.image_id}"
        where += "" if self.segment_id is None else f", segment {self.segment_id}"
        return f"{where}: found {self.found}, expected {self.expected}"


class FormatError(ValueError):
    """A file that cannot be used; `finding` says what is wrong with it."""

    def __init__(self, finding: Finding):
        super().__init__(str(finding))
        self.finding = finding


# ids and colors -----------------------------------------------------------------------------------


def rgb_to_id_map(rgb: UInt8[Tensor, "3 h w"]) -> Int[Tensor, "h w"]:
    """Turn colors into ids: R + 256 G + 65536 B."""
    red, green, blue = rgb.to(torch.int64)
    return red + 256 * green + 65536 * blue


def id_map_to_rgb(id_map: Int[Tensor, "h w"]) -> UInt8[Tensor, "3 h w"]:
    """Turn ids into colors; inverts `rgb_to_id_map`."""
    if id_map.numel() and not (int(id_map.min()) >= 0 and int(id_map.max()) <= MAX_ID):
        raise ValueError(
            f"id map: found ids from {int(id_map.min())} to {int(id_map.max())}, expected 0 to "
            f"{MAX_ID}, which is what three color bytes hold. Number the segments anew."
        )
    return torch.stack([id_map >> shift & 255 for shift in (0, 8, 16)]).to(torch.uint8)


def read_id_map(path: Path, *, image_id: Any = None) -> np.ndarray:
    """Read the ids of a PNG as int32 (h, w).

    RGB, RGB with alpha (which means nothing) and palettes of RGB colors are read. A gray PNG is
    refused: its one channel is more likely a class than the first byte of an id.

    Args:
        path: of the PNG.
        image_id: for messages.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        found = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise FormatError(Finding(str(path), image_id, None, found, "an id PNG")) from error
    try:
        return _decode_id_map(content)
    except _BadPngError as error:
        raise FormatError(Finding(str(path), image_id, None, *error.args)) from error


class _BadPngError(ValueError):
    """(found, expected)."""


def _decode_id_map(content: bytes) -> np.ndarray:
    depth, color = _check_png(content)
    if color in (0, 4):  # without and with alpha
        raise _BadPngError("a gray PNG", "an RGB one, segment id = R + 256 G + 65536 B")
    if depth == 16:
        raise _BadPngError("16 bits per channel", "8, segment id = R + 256 G + 65536 B")
    try:
        # (torchvision 0.29 decodes 1.4 times as fast, but palettes wrongly, and it crashes the
        # process where rows are missing.)
        with Image.open(io.BytesIO(content)) as image:
            rgb = image if image.mode == "RGB" else image.convert("RGB")
            packed = rgb.tobytes("raw", "RGBX")
    except (OSError, SyntaxError, ValueError) as error:
        found = f"pixels that cannot be read ({_first_line(error)})"
        raise _BadPngError(found, "a whole PNG") from error
    # With a fourth byte per pixel, an id is one masked number instead of a sum of three.
    ids = np.frombuffer(packed, dtype="<u4").reshape(rgb.height, rgb.width) & MAX_ID
    return ids.view(np.int32)


def _check_png(content: bytes) -> tuple[int, int]:
    """Walk through the chunks, for decoders are lenient; return bits per channel and color type."""
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        raise _BadPngError("a file that is no PNG" if content else "an empty file", "a PNG")
    start, kind, header = 8, b"", b""
    while start + 12 <= len(content) and kind != b"IEND":
        (length,) = struct.unpack_from(">I", content, start)
        end = start + 12 + length
        if end > len(content):
            break
        kind = content[start + 4 : start + 8]
        if zlib.crc32(content[start + 4 : end - 4]) != int.from_bytes(content[end - 4 : end]):
            raise _BadPngError(f"a broken {kind!r} chunk (checksum)", "a whole PNG")
        if kind == b"IHDR":
            header = content[start + 8 : end - 4]
        start = end
    if kind != b"IEND" or len(header) != 13:
        raise _BadPngError(f"a PNG cut off after {len(content)} bytes", "a whole PNG")
    return header[8], header[9]


def write_id_map(path: Path, id_map: Int[Tensor, "h w"]) -> None:
    """Write ids as an RGB PNG."""
    rgb = id_map_to_rgb(id_map).permute(1, 2, 0).contiguous().cpu().numpy()
    _write_image(path, rgb, "PNG")


def read_image(path: Path) -> UInt8[Tensor, "3 h w"]:
    """Read a photograph as RGB, upright as its EXIF orientation says."""
    try:
        with Image.open(path) as image:
            ImageOps.exif_transpose(image, in_place=True)
            pixels = np.array(image if image.mode == "RGB" else image.convert("RGB"))
    except FileNotFoundError as error:
        raise FormatError(Finding(str(path), None, None, "no such file", "an image")) from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        found = f"an image that cannot be read ({_first_line(error)})"
        raise FormatError(Finding(str(path), None, None, found, "a whole image")) from error
    # Colors stay interleaved in memory, for the next step is a resize by PIL, which has them so.
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _write_image(path: Path, pixels: np.ndarray, kind: str) -> None:
    with temporary_beside(path) as temporary:
        options = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
        Image.fromarray(pixels).save(temporary, format=kind, **options)


# segments_info ------------------------------------------------------------------------------------


def segment_findings(
    annotation: Mapping[str, Any],
    file: str,
    labels: LabelMap,
    areas: Mapping[int, int] | None = None,
    *,
    is_truth: bool = True,
) -> Iterator[Finding]:
    """Yield what is wrong with the segments of one annotation.

    Args:
        annotation: an entry of "annotations".
        file: that holds it, for messages.
        labels: of the categories.
        areas: pixels by id in the PNG, if it was read.
        is_truth: whether "area" and "iscrowd" mean something. A prediction's are not looked at.
    """
    image_id = annotation.get("image_id")

    def finding(segment_id: int | None, found: str, expected: str) -> Finding:
        return Finding(file, image_id, segment_id, found, expected)

    segments = annotation.get("segments_info")
    if not isinstance(segments, list):
        yield finding(None, f"segments_info {_short(segments)}", "a list")
        return
    listed = set()
    for segment in segments:
        number = segment.get("id") if isinstance(segment, dict) else None
        if type(number) is not int:
            yield finding(None, f"a segment {_short(segment)}", "an object with an integer id")
            continue
        if not VOID < number <= MAX_ID:
            expected = f"1 to {MAX_ID}" + ("; 0 is void and not listed" if number == VOID else "")
            yield finding(number, f"segment id {number}", expected)
        if number in listed:
            yield finding(number, "the id listed twice", "each id once in an image")
        category_id = segment.get("category_id")
        if type(category_id) is not int or category_id not in labels:
            yield finding(number, f"category_id {_short(category_id)}", "one of the categories")
        if is_truth and segment.get("iscrowd", 0) not in (0, 1):
            yield finding(number, f"iscrowd {_short(segment['iscrowd'])}", "0 or 1")
        if areas is not None and VOID < number <= MAX_ID and number not in listed:
            area = segment.get("area") if is_truth else None
            pixels = areas.get(number, 0)
            if pixels == 0:
                yield finding(number, "no pixel of a listed segment", "at least one in the PNG")
            elif area is not None and area != pixels:
                yield finding(number, f"area {_short(area)}", f"{pixels} as in the PNG")
        listed.add(number)
    for number in sorted((areas or {}).keys() - listed - {VOID}):
        found = f"an id that is painted ({(areas or {})[number]} px) and not listed"
        yield finding(number, found, "each painted id in segments_info")


def parse_segments(annotation: Mapping[str, Any], labels: LabelMap) -> tuple[Segment, ...]:
    """Turn the segments of an annotation without findings into ours; iscrowd is 0 if not given."""
    return tuple(
        labels.segment(s["id"], s["category_id"], is_crowd=s.get("iscrowd", 0) == 1)
        for s in annotation["segments_info"]
    )


def make_annotation(
    panoptic: Panoptic, image_id: int | str, file_name: str, labels: LabelMap
) -> dict[str, Any]:
    """Describe a panoptic map as an entry of "annotations".

    Segments without a pixel are left out; a score that is not 1 is stored beside area and bbox.
    """
    id_map = panoptic.id_map.cpu().numpy()
    present = {segment.id: segment for segment in panoptic.segments}
    entries = []
    for number, (area, bbox) in segment_extents(id_map).items():
        if number not in present:
            raise ValueError(
                f"image {image_id}: segment id {number} is painted, but not one of the "
                f"{len(present)} segments. Paint VOID = {VOID} where no segment is."
            )
        segment = present[number]
        entry: dict[str, Any] = {"id": number, "category_id": labels.category_id(segment)}
        entry |= {"area": area, "bbox": bbox, "iscrowd": int(segment.is_crowd)}
        entries.append(entry if segment.score == 1 else entry | {"score": segment.score})
    return {"image_id": image_id, "file_name": file_name, "segments_info": entries}


def segment_extents(id_map: np.ndarray) -> dict[int, tuple[int, list[int]]]:
    """Return the area and the box [x, y, width, height], in pixels, of every id but VOID."""
    height, width = id_map.shape
    if id_map.size == 0:
        return {}
    rows = id_map.reshape(-1)
    is_first = np.ones(rows.size, dtype=bool)  # of a run of equal ids; each row starts a new one
    np.not_equal(rows[1:], rows[:-1], out=is_first[1:])
    is_first[::width] = True
    first = np.flatnonzero(is_first)
    ids = np.unique(rows[first])
    group = np.searchsorted(ids, rows[first])
    lengths = np.diff(first, append=rows.size)
    y, x = np.divmod(first, width)
    areas = np.bincount(group, weights=lengths).astype(np.int64)
    low = np.full((2, len(ids)), max(height, width))
    high = np.zeros((2, len(ids)), dtype=np.int64)
    np.minimum.at(low[0], group, x)
    np.minimum.at(low[1], group, y)
    np.maximum.at(high[0], group, x + lengths)
    np.maximum.at(high[1], group, y + 1)
    boxes = np.concatenate([low, high - low]).T
    return {
        number: (area, box)
        for number, area, box in zip(ids.tolist(), areas.tolist(), boxes.tolist(), strict=True)
        if number != VOID
    }


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


# a data set ---------------------------------------------------------------------------------------


def annotation_paths(root: Path, split: str) -> tuple[Path, Path, Path]:
    """Return where a split keeps its JSON file, its PNGs and its images.

    In a Cityscapes folder these are what cityscapesscripts' createPanopticImgs writes,
    gtFine/cityscapes_panoptic_SPLIT.json and the folder of its name, and leftImg8bit/SPLIT.
    """
    annotations = root / "annotations"
    if not annotations.is_dir() and (root / "gtFine").is_dir():
        truth = root / "gtFine" / f"cityscapes_panoptic_{split}"
        return truth.with_suffix(".json"), truth, root / "leftImg8bit" / split
    return annotations / f"panoptic_{split}.json", annotations / f"panoptic_{split}", root / split


def read_annotations(path: Path) -> dict[str, Any]:
    """Read a panoptic JSON file and see that its lists are there."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: found {type(content).__name__}, expected an object")
    for key in ("annotations", "categories", "images"):
        if not isinstance(content.get(key, []), list):
            raise ValueError(f"{path}: found {key} {_short(content[key])}, expected a list")
    if "annotations" not in content:
        raise ValueError(f"{path}: found no annotations, expected a list of them")
    for entry in content["annotations"]:
        if not isinstance(entry, dict):
            raise ValueError(f"{path}: found annotation {_short(entry)}, expected an object")
    return content


def open_annotations(root: Path, split: str) -> dict[str, Any]:
    """Read the JSON file of a split; if there is none, say which splits there are."""
    path, _, _ = annotation_paths(root, split)
    if not path.is_file():
        kind = path.name.removesuffix(f"{split}.json")  # what stands before the split's name
        names = sorted(p.stem.removeprefix(kind) for p in path.parent.glob(f"{kind}*.json"))
        tip = (
            f"there are the splits {', '.join(names)}" if names else "is the folder the right one?"
        )
        raise ValueError(f"{path}: found no such file, expected COCO panoptic annotations; {tip}")
    return read_annotations(path)


def find_image(folder: Path, file_name: str) -> Path:
    """Return the path of an image; it may have another of the usual suffixes than the JSON says.

    The JSON of Cityscapes leaves out the city's folder and has "_gtFine" in names that have not.
    """
    path = folder / file_name
    if path.is_file():
        return path
    if "_gtFine_" in file_name:
        city = file_name.partition("_")[0]
        return folder / city / file_name.replace("_gtFine_", "_")
    others = [path.with_suffix(suffix) for suffix in IMAGE_SUFFIXES]
    return next((other for other in others if other.is_file()), path)


class CocoPanoptic:
    """A data set in COCO panoptic format: `data[i]` reads image number i with its truth.

    What it knows of the segments is held in a few flat arrays, for the real COCO has 1.3 million of
    them and every worker process has its own copy.
    """

    def __init__(self, root: Path | str, split: str):
        json_path, self._png_folder, self._image_folder = annotation_paths(Path(root), split)
        content = open_annotations(Path(root), split)
        if not self._png_folder.is_dir():
            archive = self._png_folder.with_suffix(".zip")
            tip = f"; unpack {archive.name} there" if archive.is_file() else ""
            raise ValueError(
                f"{self._png_folder}: found no such folder, expected the id PNGs of {split}{tip}"
            )
        self.categories: list[Category] = parse_categories(
            content.get("categories"), str(json_path)
        )
        self._labels = LabelMap(tuple(self.categories))
        images = _by_id(content.get("images"), json_path)
        self.image_ids: list[Any] = []
        self._files: list[tuple[str, str]] = []  # image, PNG
        self._sizes: list[tuple[int, int]] = []
        rows: list[tuple[int, int, bool]] = []  # id, category_id, is_crowd
        self._first = [0]  # row of each image's first segment
        seen = set()
        for annotation in content.pop("annotations"):
            for finding in segment_findings(annotation, str(json_path), self._labels):
                raise FormatError(finding)
            image_id, png = annotation.get("image_id"), annotation.get("file_name")
            if image_id not in images or image_id in seen or not isinstance(png, str):
                found = f"file_name {_short(png)}"
                if image_id in seen:
                    found = "a second annotation"
                elif image_id not in images:
                    found = "an annotation of an image that is not listed"
                raise FormatError(
                    Finding(
                        str(json_path), image_id, None, found, "one per image, with its PNG's name"
                    )
                )
            seen.add(image_id)
            image = images[image_id]
            self.image_ids.append(image_id)
            self._files.append((image["file_name"], png))
            self._sizes.append((image["height"], image["width"]))
            for s in annotation["segments_info"]:
                rows.append((s["id"], s["category_id"], s.get("iscrowd", 0) == 1))
            self._first.append(len(rows))
        self._segments = np.array(rows, dtype=np.int32).reshape(-1, 3)

    def __len__(self) -> int:
        return len(self.image_ids)

    def sizes(self) -> list[tuple[int, int]]:
        """Return (height, width) of every image, in pixels, without reading them."""
        return self._sizes

    def panoptic(self, index: int) -> Panoptic:
        """Read the truth of image number `index`; segments without a pixel are left out."""
        path = self._png_folder / self._files[index][1]
        image_id = self.image_ids[index]
        id_map = read_id_map(path, image_id=image_id)
        rows = self._segments[self._first[index] : self._first[index + 1]].tolist()
        painted = set(segment_extents(id_map))
        unlisted = sorted(painted - {number for number, _, _ in rows})
        if unlisted:
            found = "pixels with an id that is not listed"
            expected = "the PNG to be the partner of the JSON (`pfpn check` tells more)"
            raise FormatError(Finding(str(path), image_id, unlisted[0], found, expected))
        segments = tuple(
            self._labels.segment(number, category_id, is_crowd=bool(is_crowd))
            for number, category_id, is_crowd in rows
            if number in painted
        )
        return Panoptic(torch.from_numpy(id_map.astype(np.int64)), segments)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of a data set of {len(self)}")
        index %= len(self)
        panoptic = self.panoptic(index)
        path = find_image(self._image_folder, self._files[index][0])
        image = read_image(path)
        if image.shape[1:] != panoptic.id_map.shape:
            height, width = panoptic.id_map.shape
            found = f"an image of size {tuple(image.shape[1:])}"
            expected = f"{(height, width)} as in its PNG (height, width)"
            raise FormatError(Finding(str(path), self.image_ids[index], None, found, expected))
        return Sample(image, panoptic, self.image_ids[index])


def _by_id(entries: Any, path: Path) -> dict[Any, Mapping[str, Any]]:
    """Return the entries of "images" by their ids."""
    images: dict[Any, Mapping[str, Any]] = {}
    for entry in entries if isinstance(entries, list) else []:
        for finding in image_findings(entry, str(path), images):
            raise FormatError(finding)
        images[entry["id"]] = entry
    return images


def image_findings(entry: Any, file: str, before: Mapping[Any, Any]) -> Iterator[Finding]:
    """Yield what is wrong with one entry of "images".

    Args:
        entry: as JSON holds it.
        file: that holds it, for messages.
        before: the entries before this one by their ids.
    """
    number = entry.get("id") if isinstance(entry, dict) else None
    if type(number) not in (int, str):
        yield Finding(file, None, None, f"an image {_short(entry)}", "an object with an id")
        return
    if number in before:
        yield Finding(file, number, None, "the image listed twice", "each image once")
    if not isinstance(entry.get("file_name"), str):
        found = f"an image with file_name {_short(entry.get('file_name'))}"
        yield Finding(file, number, None, found, "the name of its file")
    for key in ("height", "width"):
        if type(entry.get(key)) is not int or entry[key] < 1:
            found = f"an image with {key} {_short(entry.get(key))}"
            yield Finding(file, number, None, found, "pixels, at least 1")


class CocoWriter:
    """Writes a split image by image; the JSON file comes last, when the `with` block ends well.

    Example:
        with CocoWriter(root, "val", categories) as writer:
            for sample in samples:
                writer.add(sample)
    """

    def __init__(
        self,
        root: Path | str,
        split: str,
        categories: Sequence[Category],
        *,
        suffix: str = ".png",
        overwrite: bool = False,
    ):
        """Begin to write.

        Args:
            root: folder of the data set; made if it is not there.
            split: such as "train" or "val2017".
            categories: of the data set.
            suffix: of the images: ".png" keeps every pixel, ".jpg" is smaller.
            overwrite: replace a split that is there already.
        """
        if suffix not in IMAGE_SUFFIXES:
            raise ValueError(f"image suffix: found {suffix!r}, expected one of {IMAGE_SUFFIXES}")
        self._json, self._png_folder, self._image_folder = annotation_paths(Path(root), split)
        if self._json.exists():
            if not overwrite:
                raise ValueError(
                    f"{self._json}: found a data set, expected none. Choose another folder or "
                    "allow it to be overwritten."
                )
            self._json.unlink()  # half-overwritten, it would be wrong
        self._suffix = suffix
        self._categories = tuple(categories)
        self._labels = LabelMap(self._categories)
        self._images: dict[Any, dict[str, Any]] = {}
        self._annotations: list[dict[str, Any]] = []

    def add(self, sample: Sample, name: str | None = None) -> None:
        """Write the image and the PNG of one sample.

        Args:
            sample: its segments without a pixel are left out.
            name: of both files, without suffix; the image id with 12 digits if not given.
        """
        if sample.image_id in self._images:
            raise ValueError(f"image {sample.image_id}: found it twice, expected each image once")
        if sample.image.shape[1:] != sample.panoptic.id_map.shape:
            raise ValueError(
                f"image {sample.image_id}: found an image of size {tuple(sample.image.shape[1:])} "
                f"with an id map of size {tuple(sample.panoptic.id_map.shape)}, expected the same"
            )
        name = f"{sample.image_id:012d}" if name is None else name
        annotation = make_annotation(sample.panoptic, sample.image_id, f"{name}.png", self._labels)
        write_id_map(self._png_folder / f"{name}.png", sample.panoptic.id_map)
        pixels = sample.image.permute(1, 2, 0).contiguous().cpu().numpy()
        kind = "PNG" if self._suffix == ".png" else "JPEG"
        _write_image(self._image_folder / f"{name}{self._suffix}", pixels, kind)
        height, width = sample.panoptic.id_map.shape
        self._images[sample.image_id] = {
            "id": sample.image_id,
            "file_name": f"{name}{self._suffix}",
            "height": height,
            "width": width,
        }
        self._annotations.append(annotation)

    def close(self) -> None:
        """Write the JSON file."""
        content = {
            "images": list(self._images.values()),
            "annotations": self._annotations,
            "categories": categories_to_json(self._categories),
        }
        self._png_folder.mkdir(parents=True, exist_ok=True)  # also if there was no image
        write_atomically(self._json, json.dumps(content).encode())

    def __enter__(self) -> "CocoWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()


def write_coco_panoptic(
    root: Path | str,
    split: str,
    samples: Iterable[Sample],
    categories: Sequence[Category],
    *,
    suffix: str = ".png",
    overwrite: bool = False,
) -> None:
    """Write samples as a split of a data set; see `CocoWriter`."""
    with CocoWriter(root, split, categories, suffix=suffix, overwrite=overwrite) as writer:
        for sample in samples:
            writer.add(sample)
