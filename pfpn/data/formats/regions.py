"""Annotated regions of one picture, and the panoptic map that they become.

A region is one closed annotation of one class: a polygon, a run-length code, a mask or one value of
a label image. Regions may overlap; a panoptic map may not. `compose` settles this and reports what
every region lost.
"""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pfpn.data.categories import LabelMap
from pfpn.structures import VOID, Panoptic, Segment

ORDERS = ("file", "area")
MAX_CORNER = 10**6  # pixels; pycocotools takes memory for the way there


@dataclass(frozen=True, slots=True)
class Region:
    """One annotation of one class."""

    class_key: str  # what the source calls the class: a name, or the value of a pixel
    mask: np.ndarray  # bool (h, w)
    is_crowd: bool = False  # a group whose members are not told apart
    is_base: bool = False  # lies below all other regions, as separate stuff annotations do
    outside: int = 0  # pixels that the source draws outside the image


@dataclass(frozen=True, slots=True)
class Picture:
    """One photograph with its annotations, as a source holds them."""

    name: str  # of the file, without suffix and folder
    image: Path | bytes  # where the photograph is, or the file's content
    size: tuple[int, int]  # (height, width) of the annotations, in pixels
    regions: Callable[[], Sequence[Region]]  # reads and rasterizes them
    problems: tuple[str, ...] = ()  # annotations that cannot be read, in words
    origin: str = ""  # path in the source, "/" as separator, by which equal names are told apart


@dataclass(slots=True)
class Losses:
    """What became of the regions of one picture, in counts of regions."""

    kept: int = 0
    crowds: int = 0  # of those kept: groups whose members are not told apart
    empty: int = 0  # without a pixel
    hidden: int = 0  # wholly covered by later ones
    overlapped: int = 0  # partly covered by later ones
    overlapped_pixels: int = 0
    clipped: int = 0  # partly outside the image
    ignored: int = 0  # of a class that is to be ignored
    problems: list[str] = field(default_factory=list)

    def add(self, other: "Losses") -> None:
        """Add the counts of another picture."""
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.problems += other.problems

    def __str__(self) -> str:
        """List the counts that are not zero."""
        words = {
            "kept": "kept",
            "crowds": "of them crowds",
            "ignored": "of ignored classes",
            "empty": "empty",
            "hidden": "wholly covered",
            "overlapped": f"partly covered ({self.overlapped_pixels} pixels)",
            "clipped": "clipped at the image's border",
        }
        parts = [f"{getattr(self, name)} {text}" for name, text in words.items()]
        parts = [part for part in parts if not part.startswith("0 ")]
        unreadable = f"{len(self.problems)} unreadable" if self.problems else ""
        return ", ".join([*parts, *filter(None, [unreadable])]) or "no regions"


COUNTS = (
    "kept", "crowds", "empty", "hidden", "overlapped", "overlapped_pixels", "clipped", "ignored",
)  # fmt: skip


def compose(
    regions: Iterable[Region],
    size: tuple[int, int],
    category_ids: dict[str, int],
    labels: LabelMap,
    *,
    order: str = "file",
) -> tuple[Panoptic, Losses]:
    """Paint regions over each other; return the panoptic map and what was lost.

    Later regions lie on top. All regions of one stuff class become one segment, each thing is its
    own. A pixel of no region, or of an ignored class, is VOID.

    Args:
        regions: of one picture.
        size: (height, width) of the map, in pixels.
        category_ids: the category of each class key; keys that are missing are ignored.
        labels: of the categories.
        order: "file" paints in the order of the file, "area" the larger ones first. Base regions
            are painted before all others.

    Raises:
        ValueError: a mask of another size than the map, or an unknown order.
    """
    if order not in ORDERS:
        raise ValueError(f"order: found {order!r}, expected one of {ORDERS}")
    losses = Losses()
    owner = np.zeros(size, dtype=np.int32)  # number of the topmost region, from 1
    ids: list[int] = [VOID]  # segment id by that number
    areas = [0]
    segments: dict[int, Segment] = {}
    stuff_ids: dict[int, int] = {}
    for region in _in_order(regions, order):
        _require_size(region, size)
        area = int(np.count_nonzero(region.mask))
        losses.clipped += bool(region.outside and area)
        if area == 0:
            losses.empty += 1
            continue
        owner[region.mask] = len(ids)
        areas.append(area)
        category_id = category_ids.get(region.class_key)
        if category_id is None:
            losses.ignored += 1
            ids.append(VOID)
            continue
        segment = labels.segment(len(segments) + 1, category_id, is_crowd=region.is_crowd)
        segment_id = segment.id
        if not segment.is_thing:
            segment_id = stuff_ids.setdefault(category_id, segment_id)
        segments.setdefault(segment_id, segment)
        ids.append(segment_id)
    _count_covered(losses, ids, areas, owner)
    id_map = np.asarray(ids, dtype=np.int64)[owner]
    present = set(np.unique(id_map).tolist())
    kept = tuple(segment for number, segment in segments.items() if number in present)
    losses.crowds = sum(segment.is_crowd for segment in kept)
    return Panoptic(torch.from_numpy(id_map), kept), losses


def _in_order(regions: Iterable[Region], order: str) -> list[Region]:
    """Return regions as they are painted, the lowest first."""
    ordered = sorted(regions, key=lambda region: not region.is_base)
    if order == "area":
        ordered.sort(key=lambda region: (not region.is_base, -int(region.mask.sum())))
    return ordered


def _require_size(region: Region, size: tuple[int, int]) -> None:
    if region.mask.shape != tuple(size):
        raise ValueError(
            f"region of class {region.class_key!r}: found a mask of {region.mask.shape} "
            f"pixels, expected {tuple(size)} as the picture (height, width)"
        )


def _count_covered(
    losses: Losses, ids: Sequence[int], areas: Sequence[int], owner: np.ndarray
) -> None:
    """Count which regions later ones cover, wholly or in part."""
    visible = np.bincount(owner.ravel(), minlength=len(ids))
    for number in range(1, len(ids)):
        lost = areas[number] - int(visible[number])
        if ids[number] != VOID:
            losses.hidden += lost == areas[number]
            losses.overlapped += 0 < lost < areas[number]
            losses.overlapped_pixels += lost if lost < areas[number] else 0
            losses.kept += lost < areas[number]


def connected_regions(mask: np.ndarray) -> list[np.ndarray]:
    """Return one mask for each connected region; pixels touch along a side, not at a corner.

    Runs of each row are joined with the runs above that they touch (union by the smaller number).

    Args:
        mask: bool (h, w).
    """
    height, width = mask.shape
    padded = np.pad(mask, ((0, 0), (1, 1))).astype(np.int8)
    steps = np.diff(padded, axis=1)
    rows, starts = np.nonzero(steps == 1)
    ends = np.nonzero(steps == -1)[1]  # of the same runs, in the same order
    parent = list(range(len(rows)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = parent[parent[run]]
            run = parent[run]
        return run

    first = np.searchsorted(rows, np.arange(height + 1))
    for row in range(1, height):
        above, below = int(first[row - 1]), int(first[row])
        while above < first[row] and below < first[row + 1]:
            if starts[above] < ends[below] and starts[below] < ends[above]:
                roots = root(above), root(below)
                parent[max(roots)] = min(roots)
            if ends[above] <= ends[below]:
                above += 1
            else:
                below += 1
    masks: dict[int, np.ndarray] = {}
    for run, (line, start, end) in enumerate(zip(rows, starts, ends, strict=True)):
        region = masks.setdefault(root(run), np.zeros((height, width), dtype=bool))
        region[line, start:end] = True
    return list(masks.values())


def polygon_mask(
    polygons: Sequence[Sequence[Any]], size: tuple[int, int]
) -> tuple[np.ndarray, int]:
    """Return the union of polygons as bool (h, w), and whether a corner lies outside, as 0 or 1.

    Rasterized as COCO does it, by pycocotools. A polygon of fewer than three corners is empty.

    Args:
        polygons: each x0, y0, x1, y1, ... in pixels.
        size: (height, width).
    """
    from pycocotools import mask as coco_mask

    height, width = size
    if not all(is_corner(number) for polygon in polygons for number in polygon):
        raise ValueError(f"found a corner that is no number up to {MAX_CORNER}, expected pixels")
    whole = [list(map(float, p)) for p in polygons if len(p) >= 6 and len(p) % 2 == 0]
    if not whole:
        return np.zeros(size, dtype=bool), 0
    corners = np.concatenate([np.reshape(p, (-1, 2)) for p in whole])
    outside = bool((corners < 0).any() or (corners > [width, height]).any())
    codes = coco_mask.frPyObjects(whole, height, width)
    return decode_mask(coco_mask.merge(codes)), int(outside)


def is_corner(number: object) -> bool:
    """Return whether a value is a coordinate in pixels, not far outside every image."""
    return isinstance(number, int | float) and abs(number) <= MAX_CORNER  # NaN is not


def decode_mask(code: Mapping[str, Any]) -> np.ndarray:
    """Decode a compressed run-length code of COCO as bool (h, w)."""
    from pycocotools import mask as coco_mask

    with warnings.catch_warnings():
        # pycocotools 2.0.11 implements NumPy 1's array protocol, which NumPy 2 only warns about.
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        return coco_mask.decode(code).astype(bool)
