"""LabelMe: a JSON file for each photograph, with polygons, rectangles, circles or masks."""

import base64
import binascii
import io
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pfpn.data.categories import read_json
from pfpn.data.formats.regions import Picture, Region, is_corner, polygon_mask
from pfpn.data.formats.source import ImageFinder, Options, require_folder
from pfpn.data.images import read_image_header

CIRCLE_CORNERS = 64  # of the polygon that stands for a circle
KINDS = ("polygon", "rectangle", "circle", "mask")


class LabelMe:
    """Pictures of LabelMe's JSON files. Shapes of one label and group are one region."""

    def __init__(self, source: Path, options: Options):
        require_folder(source, "LabelMe's JSON files")
        self._source = source
        self._files = sorted(p for p in source.rglob("*.json") if not p.name.startswith("."))
        self._files = [p for p in self._files if _is_labelme(p)]
        if not self._files:
            raise ValueError(f"{source}: found no JSON file with shapes, expected LabelMe's")
        self._finder = ImageFinder([options.images or source])

    def classes(self) -> list[tuple[str, str, bool | None]]:
        """Return the labels, in the order of the alphabet; LabelMe does not say what is a thing.

        Those of lines and points alone are none: such shapes have no area.
        """
        shapes = (shape for path in self._files for shape in read_json(path)["shapes"])
        labels = {str(shape.get("label", "")) for shape in shapes if not _problem(shape)}
        return [(label, label, None) for label in sorted(labels)]

    def __iter__(self) -> Iterator[Picture]:
        for path in self._files:
            content = read_json(path)
            name = str(content.get("imagePath") or path.stem)
            beside = path.parent / name.replace("\\", "/")
            image: Path | bytes = beside
            missing: tuple[str, ...] = ()
            if not beside.is_file():
                image, missing = self._finder.look(name)
            if missing and content.get("imageData"):
                image, missing = _decode(content["imageData"], path), ()
            problems = [p for s in content["shapes"] if (p := _problem(s))]
            size = (content.get("imageHeight"), content.get("imageWidth"))
            if size == (None, None):  # as LabelMe wrote before its version 3
                size = _size_of(image)
            if not all(type(side) is int and side > 0 for side in size):
                raise ValueError(
                    f"{path}: found imageHeight, imageWidth {size}, expected pixels of the image"
                )
            yield Picture(
                path.stem,
                image,
                size,
                partial(_regions, content["shapes"], size),
                (*missing, *problems),
                path.relative_to(self._source).as_posix(),
            )


def _size_of(image: Path | bytes) -> tuple[int, int]:
    """Return (height, width) of a photograph as it is to be seen; 1 x 1 if it cannot be read."""
    try:
        return read_image_header(image if isinstance(image, Path) else io.BytesIO(image)).size
    except ValueError:  # it is left out, by its own message
        return 1, 1


def _is_labelme(path: Path) -> bool:
    content = read_json(path)
    return isinstance(content, dict) and isinstance(content.get("shapes"), list)


def _problem(shape: Any) -> str:
    """Say why a shape has no area; "" if it can be read."""
    if not isinstance(shape, dict) or not isinstance(shape.get("points"), list):
        return f"a shape without points: {str(shape)[:60]}"
    kind, label = shape.get("shape_type") or "polygon", shape.get("label")
    if kind not in KINDS:
        return f"{label!r}: a {kind} has no area"
    pairs = [p for p in shape["points"] if isinstance(p, list) and len(p) == 2]
    needed = 3 if kind == "polygon" else 2
    if len(pairs) != len(shape["points"]) or len(pairs) < needed:
        return f"{label!r}: a {kind} of {len(pairs)} points"
    if not all(is_corner(number) for pair in pairs for number in pair):
        return f"{label!r}: a point that is no pair of pixels"
    if kind == "mask" and not isinstance(shape.get("mask"), str):
        return f"{label!r}: a mask without its pixels"
    return ""


def _regions(shapes: Sequence[Any], size: tuple[int, int]) -> Sequence[Region]:
    merged: dict[tuple[str, Any], Region] = {}
    for number, shape in enumerate(shapes):
        if _problem(shape):
            continue
        mask, outside = _rasterize(shape, size)
        group = shape.get("group_id")
        key = (str(shape.get("label", "")), ("alone", number) if group is None else str(group))
        if key in merged:  # the parts of one object, cut in two by something before it
            before = merged.pop(key)
            mask, outside = mask | before.mask, outside + before.outside
        merged[key] = Region(key[0], mask, outside=outside)
    return list(merged.values())


def _rasterize(shape: dict[str, Any], size: tuple[int, int]) -> tuple[np.ndarray, int]:
    kind = shape.get("shape_type") or "polygon"
    points = np.asarray(shape["points"], dtype=float)
    if kind == "rectangle":
        (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
        points = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    elif kind == "circle":
        center, rim = points[:2]
        angle = np.linspace(0, 2 * np.pi, CIRCLE_CORNERS, endpoint=False)
        circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        points = center + np.linalg.norm(rim - center) * circle
    elif kind == "mask":
        return _paste(shape["mask"], points, size)
    return polygon_mask([points.ravel().tolist()], size)


def _paste(encoded: str, corners: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, int]:
    with Image.open(io.BytesIO(_decode(encoded, None)), formats=("PNG",)) as image:
        part = np.array(image) != 0
    left, top = (round(value) for value in corners.min(axis=0))
    mask = np.zeros(size, dtype=bool)
    height, width = part.shape
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = min(top + height, size[0]), min(left + width, size[1])
    inside = part[max(y0 - top, 0) : max(y1 - top, 0), max(x0 - left, 0) : max(x1 - left, 0)]
    mask[y0 : y0 + inside.shape[0], x0 : x0 + inside.shape[1]] = inside
    return mask, int(inside.sum() < part.sum())


def _decode(text: str, path: Path | None) -> bytes:
    try:
        return base64.b64decode(text)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"{path or 'mask'}: found image data that is no base64") from error
