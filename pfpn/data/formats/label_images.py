"""Annotations that are images: a class image, with or without an image of instances beside it.

Read here: a PNG of classes alone (things are told apart by connected regions), a PNG with class
and instance number in two channels, PASCAL VOC's SegmentationClass and SegmentationObject, which
CVAT's "segmentation masks 1.1" follow with colors of their own, and Cityscapes' instanceIds.
"""

import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pfpn.data.categories import cityscapes_categories, read_json
from pfpn.data.formats.regions import Picture, Region, connected_regions
from pfpn.data.formats.source import ImageFinder, Options, require_folder

VOC_NAMES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
    "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip
VOID_VALUES = (0, 255)  # no class, in a PNG of classes
VOC_BORDER = 255  # no object, in a palette PNG of objects
CITYSCAPES_GROUPS = 1000  # an instance image holds class * 1000 + number, or the class alone


def read_label_image(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read a gray or palette PNG as the integers (h, w) it stores.

    Raises:
        ValueError: it cannot be read, has colors, or is not of that size.
    """
    values = _read_pixels(path)
    if values.ndim != 2:
        raise ValueError(f"{path}: found an image with colors, expected one number for each pixel")
    _require_size(path, values, size)
    return values


class SemanticImages:
    """A folder of PNGs whose pixels are class numbers; connected regions of a thing are instances.

    0 and 255 are no class. Two things that touch become one: the format cannot tell them apart.
    """

    def __init__(self, source: Path, options: Options):
        self._paths = _require_png_files(require_folder(source, "PNGs of classes"), source)
        self._names = category_names(options)
        self._finder = ImageFinder(image_folders(source, options))

    def classes(self) -> list[tuple[str, str, bool | None]]:
        """Return a class for each value that occurs."""
        return _named_values(self._values(), self._names)

    def _values(self) -> set[int]:
        seen: set[int] = set()
        for path in self._paths:
            seen |= set(np.unique(read_label_image(path)).tolist())
        return seen - set(VOID_VALUES)

    def __iter__(self) -> Iterator[Picture]:
        for path in self._paths:
            yield _picture(path.stem, self._finder, path, partial(self._regions, path))

    def _regions(self, path: Path) -> Sequence[Region]:
        values = read_label_image(path)
        return [
            Region(str(value), mask)
            for value in sorted(set(np.unique(values).tolist()) - set(VOID_VALUES))
            for mask in connected_regions(values == value)
        ]


class TwoChannels:
    """A folder of PNGs: red is the class number, green the instance number, 0 for stuff."""

    def __init__(self, source: Path, options: Options):
        self._paths = _require_png_files(require_folder(source, "PNGs of two channels"), source)
        self._names = category_names(options)
        self._finder = ImageFinder(image_folders(source, options))

    def classes(self) -> list[tuple[str, str, bool | None]]:
        """Return a class for each value that occurs; a thing if it ever has an instance number."""
        seen: dict[int, bool] = {}
        for path in self._paths:
            pairs = np.unique(_two_channels(path))
            for pair in pairs.tolist():
                value, number = divmod(pair, 256)
                if value not in VOID_VALUES:
                    seen[value] = seen.get(value, False) or number > 0
        names = _named_values(set(seen), self._names)
        return [
            (key, name, seen[int(key)] if is_thing is None else is_thing)
            for key, name, is_thing in names
        ]

    def __iter__(self) -> Iterator[Picture]:
        for path in self._paths:
            yield _picture(path.stem, self._finder, path, partial(self._regions, path))

    def _regions(self, path: Path) -> Sequence[Region]:
        pairs = _two_channels(path)
        return [
            Region(str(pair // 256), pairs == pair)
            for pair in np.unique(pairs).tolist()
            if pair // 256 not in VOID_VALUES
        ]


class VocImages:
    """PASCAL VOC's folders SegmentationClass and SegmentationObject, or CVAT's masks 1.1.

    Pixels of one object number and one class are one instance. Without an object image, or where
    its pixel is void, connected regions are instances. CVAT's labelmap.txt gives the colors.
    A list of the split in ImageSets/Segmentation, such as VOC's train.txt, says what is read.
    """

    def __init__(self, source: Path, options: Options):
        self._classes = require_folder(source / "SegmentationClass", "VOC's class images")
        self._objects = source / "SegmentationObject"
        self._paths = self._listed(_require_png_files(self._classes, source, deep=True), options)
        self._colors = _labelmap(source / "labelmap.txt")
        names = category_names(options)
        if not names and self._colors is None:
            names = {str(i): (name, True) for i, name in enumerate(VOC_NAMES)}
        self._names = names
        self._finder = ImageFinder(image_folders(source, options))

    def classes(self) -> list[tuple[str, str, bool | None]]:
        """Return the classes of labelmap.txt, or one for each value that occurs."""
        if self._colors is not None:
            return [(name, name, None) for name in self._colors.values()]
        seen: set[int] = set()
        for path in self._paths:
            seen |= set(np.unique(read_label_image(path)).tolist())
        return _named_values(seen - set(VOID_VALUES), self._names)

    def __iter__(self) -> Iterator[Picture]:
        for path in self._paths:
            yield _picture(self._name(path), self._finder, path, partial(self._regions, path))

    def _name(self, path: Path) -> str:
        """Return the name of a class image in the source, with its folders and without suffix."""
        return path.relative_to(self._classes).with_suffix("").as_posix()

    def _listed(self, paths: list[Path], options: Options) -> list[Path]:
        """Return the class images that the list of the split names; all without such a list."""
        folder = self._classes.parent / "ImageSets" / "Segmentation"
        listing = folder / f"{options.split}.txt"
        if options.split is None or not listing.is_file():
            return paths
        names = {line.strip() for line in listing.read_text(encoding="utf-8").splitlines()}
        listed = [path for path in paths if self._name(path) in names]
        if not listed:
            raise ValueError(
                f"{listing}: found {len(names - {''})} names and none of a PNG in {self._classes}, "
                "expected at least one. Try another --split"
            )
        return listed

    def _regions(self, path: Path) -> Sequence[Region]:
        classes = _packed(_read_pixels(path))
        objects_path = self._objects / path.relative_to(self._classes)
        objects = _read_pixels(objects_path) if objects_path.is_file() else None
        if objects is not None:
            has_border = objects.dtype == np.uint8 and objects.ndim == 2 and self._colors is None
            border = objects == VOC_BORDER if has_border else np.zeros(objects.shape[:2], bool)
            objects = _packed(objects)
        if objects is not None and objects.shape != classes.shape:
            raise ValueError(
                f"{objects_path}: found {objects.shape} pixels, expected {classes.shape}"
            )
        if objects is not None:
            classes = np.where(border, VOC_BORDER, classes)
        regions = []
        for value in np.unique(classes).tolist():
            key = self._key(value, path)
            if key is None:
                continue
            mask = classes == value
            numbered = mask & (objects != 0) if objects is not None else np.zeros_like(mask)
            if objects is not None:
                regions += [
                    Region(key, mask & (objects == number))
                    for number in np.unique(objects[numbered]).tolist()
                ]
            regions += [Region(key, part) for part in connected_regions(mask & ~numbered)]
        return regions

    def _key(self, value: int, path: Path) -> str | None:
        if self._colors is None:
            return None if value in VOID_VALUES else str(value)
        if value not in self._colors:
            color = (value & 255, value >> 8 & 255, value >> 16)
            raise ValueError(f"{path}: found the color {color}, expected one of labelmap.txt")
        return self._colors[value]


class Cityscapes:
    """Cityscapes' *_gtFine_instanceIds.png (or gtCoarse), in folders of cities.

    A thing without a number is a group and becomes a crowd. Classes outside the 19 that are scored
    are void, as in the official panoptic truth.
    """

    def __init__(self, source: Path, options: Options):
        require_folder(source, "Cityscapes' gtFine or a folder in it")
        root = source
        if options.split is not None:
            for folder in (source / "gtFine" / options.split, source / options.split):
                root = folder if folder.is_dir() else root
        self._paths = sorted(root.rglob("*_instanceIds.png"))
        if not self._paths:
            raise ValueError(f"{root}: found no *_instanceIds.png, expected Cityscapes' truth")
        folders = [options.images] if options.images else [source, source.parent / "leftImg8bit"]
        if not options.images and source.name in ("train", "val", "test"):
            folders.append(source.parent.parent / "leftImg8bit")
        self._finder = ImageFinder(folders)
        self._known = {c.id: c for c in cityscapes_categories()}

    def classes(self) -> list[tuple[str, str, bool | None]]:
        """Return the 19 classes that are scored."""
        return [(str(c.id), c.name, c.is_thing) for c in self._known.values()]

    def __iter__(self) -> Iterator[Picture]:
        for path in self._paths:
            frame = path.name.split("_gt")[0]
            name = f"{frame}_leftImg8bit"
            yield _picture(name, self._finder, path, partial(self._regions, path))

    def _regions(self, path: Path) -> Sequence[Region]:
        values = read_label_image(path).astype(np.int64)
        regions = []
        for value in np.unique(values).tolist():
            is_group = value < CITYSCAPES_GROUPS
            class_id = value if is_group else value // CITYSCAPES_GROUPS
            category = self._known.get(class_id)
            if category is not None:
                is_crowd = category.is_thing and is_group
                regions.append(Region(str(class_id), values == value, is_crowd))
        return regions


def _read_pixels(path: Path) -> np.ndarray:
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content), formats=("PNG", "TIFF", "BMP")) as image:
            return np.array(image.convert("RGB") if image.mode == "RGBA" else image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, zlib.error) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path}: found an image that cannot be read ({reason})") from error


def _require_size(path: Path, values: np.ndarray, size: tuple[int, int] | None) -> None:
    if size is not None and values.shape[:2] != tuple(size):
        raise ValueError(
            f"{path}: found {values.shape[:2]} pixels, expected {tuple(size)} as the photograph "
            "(height, width)"
        )


def _two_channels(path: Path) -> np.ndarray:
    pixels = _read_pixels(path)
    if pixels.ndim != 3:
        raise ValueError(f"{path}: found one channel, expected class in red, instance in green")
    return pixels[..., 0].astype(np.int64) * 256 + pixels[..., 1]


def _packed(pixels: np.ndarray) -> np.ndarray:
    """Return one number for each pixel: the value, or R + 256 G + 65536 B."""
    wide = pixels.astype(np.int64)
    return wide if wide.ndim == 2 else wide[..., 0] + 256 * wide[..., 1] + 65536 * wide[..., 2]


def png_files(folder: Path, *, deep: bool = False) -> list[Path]:
    """Return the PNGs in a folder, in order; with `deep` also those in folders of it."""
    paths = folder.rglob("*") if deep else folder.glob("*")
    return sorted(p for p in paths if p.suffix.lower() == ".png" and not p.name.startswith("."))


def _require_png_files(folder: Path, source: Path, *, deep: bool = False) -> list[Path]:
    paths = png_files(folder, deep=deep)
    if not paths:
        raise ValueError(f"{folder}: found no PNG, expected annotations of {source}")
    return paths


def image_folders(source: Path, options: Options) -> list[Path]:
    """Return the folders in which the photographs of a source may lie."""
    if options.images is not None:
        return [require_folder(options.images, "photographs (--images)")]
    names = ("images", "JPEGImages", "imgs", "photos")
    return [source / name for name in names] + [source.parent / name for name in names]


def _picture(
    name: str, finder: ImageFinder, path: Path, regions: Callable[[], Sequence[Region]]
) -> Picture:
    image, problems = finder.look(name)
    with Image.open(path) as header:
        size = (header.height, header.width)
    return Picture(name.rsplit("/", 1)[-1], image, size, regions, problems, name)


def category_names(options: Options) -> dict[str, tuple[str, bool | None]]:
    """Read names by value from a JSON list of categories, if one is given."""
    if options.categories is None:
        return {}
    content: Any = read_json(options.categories)
    rows = content.get("categories") if isinstance(content, dict) else content
    if not isinstance(rows, list) or not all(isinstance(r, dict) and "id" in r for r in rows):
        raise ValueError(f"{options.categories}: found no list of categories with ids")
    return {
        str(row["id"]): (
            str(row.get("name", row["id"])),
            bool(row["isthing"]) if "isthing" in row else None,
        )
        for row in rows
    }


def _named_values(
    values: set[int], names: dict[str, tuple[str, bool | None]]
) -> list[tuple[str, str, bool | None]]:
    return [
        (str(value), *names.get(str(value), (f"class {value}", None))) for value in sorted(values)
    ]


def _labelmap(path: Path) -> dict[int, str] | None:
    """Read CVAT's labelmap.txt (name:red,green,blue:parts:actions); None if there is none."""
    if not path.is_file():
        return None
    names: dict[int, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, _, rest = line.partition(":")
        try:
            red, green, blue = (int(part) for part in rest.split(":")[0].split(","))
        except ValueError:
            raise ValueError(
                f"{path}:{number}: found {line!r}, expected name:red,green,blue::"
            ) from None
        names[red + 256 * green + 65536 * blue] = name
    return names
