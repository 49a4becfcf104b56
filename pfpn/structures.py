"""Shared data types: what goes into the model and what comes out.

Axis letters, one legend for the whole package: b image, c channel or class, h w pixels, n boxes,
k kept, a anchors per cell, t thing classes, m bins along a side of a box's own grid, p flattened
pixels, `*n` any leading axes; names with a leading underscore may differ between list entries.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

VOID = 0  # id of a pixel that belongs to no segment, in an id map
IGNORE = 255  # label of a pixel that no loss or score uses, in a label map

Boxes = Float[Tensor, "_n 4"]  # of one image: xyxy, pixels of the network's input
Sizes = Sequence[tuple[int, int]]  # of a batch's images: (height, width) without padding

T = TypeVar("T", bound="_Rows")


@dataclass(frozen=True, slots=True)
class Category:
    """One class of the data set: a thing (countable) or stuff (a region)."""

    id: int  # the data set's own id, not contiguous
    name: str
    is_thing: bool
    color: tuple[int, int, int] = (128, 128, 128)  # RGB, 0..255


def things(categories: Sequence[Category]) -> list[Category]:
    """Return the thing categories by ascending id: a thing's label indexes this list."""
    return sorted((c for c in categories if c.is_thing), key=lambda c: c.id)


def stuff(categories: Sequence[Category]) -> list[Category]:
    """Return the stuff categories by ascending id: stuff label i is entry i - 1, 0 is "other"."""
    return sorted((c for c in categories if not c.is_thing), key=lambda c: c.id)


@dataclass(frozen=True, slots=True)
class Segment:
    """One region of a panoptic map."""

    id: int  # its value in the id map, never VOID
    label: int  # thing: 0..T-1; stuff: 1..S (a label of the semantic head)
    is_thing: bool
    score: float = 1.0  # in [0, 1]; 1 for truth and stuff
    is_crowd: bool = False  # truth only: several objects under one id


@dataclass(frozen=True, slots=True)
class Panoptic:
    """The segment of every pixel of one image: its truth, or a prediction."""

    id_map: Int[Tensor, "h w"]  # int64, VOID where no segment is
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class _Rows:
    """One row per object in every field: rows are counted, filtered and moved together."""

    boxes: Float[Tensor, "n 4"]  # xyxy, pixels of the network's input

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self: T, keep: Tensor) -> T:
        return type(self)(*(getattr(self, f.name)[keep] for f in fields(self)))

    def to(self: T, device: torch.device | str) -> T:
        moved = (getattr(self, f.name).to(device, non_blocking=True) for f in fields(self))
        return type(self)(*moved)


@dataclass(frozen=True, slots=True)
class Instances(_Rows):
    """The countable objects of one image, as truth for training; crowds are left out."""

    labels: Int[Tensor, " n"]  # 0..T-1
    masks: Bool[Tensor, "n h w"]  # full-image masks


@dataclass(frozen=True, slots=True)
class Detections(_Rows):
    """The objects that the instance branch detects in one image, best score first."""

    scores: Float[Tensor, " n"]  # in [0, 1]
    labels: Int[Tensor, " n"]  # 0..T-1, no background
    mask_probs: Float[Tensor, "n m m"]  # in [0, 1], on a grid that spans the box


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a full-image mask: False everywhere outside the window."""

    top: int  # row of the window's first pixel in the image
    left: int  # column
    mask: Bool[Tensor, "h w"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of a data set with its truth, as read or drawn, before any transform."""

    image: UInt8[Tensor, "3 h w"]  # RGB
    panoptic: Panoptic
    image_id: int | str  # a string in Cityscapes


@dataclass(frozen=True, slots=True)
class Batch:
    """Images of any sizes with their truth: one entry per image in every list."""

    images: list[UInt8[Tensor, "3 _h _w"]]  # RGB
    instances: list[Instances]
    label_maps: list[Int[Tensor, "_h _w"]]  # int64; 0 other, 1..S stuff, IGNORE
    image_ids: list[int | str]

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> "Batch":
        return Batch(
            [image.to(device, non_blocking=True) for image in self.images],
            [instances.to(device) for instances in self.instances],
            [labels.to(device, non_blocking=True) for labels in self.label_maps],
            self.image_ids,
        )


def at_least_float32(values: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Return float16 and bfloat16 as float32; float32 and float64 as they are."""
    return values if values.dtype == torch.float64 else values.float()
