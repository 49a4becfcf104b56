"""From a stored sample to what the network trains on: one change at a time.

A transform takes a whole sample (image, id map, segments) and a generator, and returns a new one,
so that image and truth can't drift apart. `to_targets` then splits the panoptic truth into what
each branch learns: instances for one, a label map for the other.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Int, UInt8
from PIL import Image
from torch import Tensor

from pfpn.data.coco import segment_extents
from pfpn.predict import resize_image, resize_size
from pfpn.structures import IGNORE, VOID, Category, Instances, Panoptic, Sample, things

Transform = Callable[[Sample, torch.Generator], Sample]

GRAY = (0.299, 0.587, 0.114)  # brightness of red, green and blue (ITU-R BT.601)


@dataclass(frozen=True, slots=True)
class Compose:
    """Apply transforms one after the other."""

    steps: tuple[Transform, ...]

    def __call__(self, sample: Sample, rng: torch.Generator) -> Sample:
        for step in self.steps:
            sample = step(sample, rng)
        return sample


@dataclass(frozen=True, slots=True)
class ResizeShortestEdge:
    """Bring the shortest edge to one of several lengths; a wide choice is scale jitter.

    The image is resized as in inference, the id map by nearest neighbor, which invents no id.
    """

    choices: tuple[int, ...]  # pixels; 0 keeps the sample's own size
    longest: int  # pixels; the shortest edge gives way

    def __call__(self, sample: Sample, rng: torch.Generator) -> Sample:
        chosen = self.choices[_draw_index(len(self.choices), rng)]
        size = resize_size(_size(sample), chosen, self.longest)
        if size == _size(sample):
            return sample
        id_map = resize_id_map(sample.panoptic.id_map, size)
        return _with_truth(sample, resize_image(sample.image, size), id_map)


@dataclass(frozen=True, slots=True)
class RandomFlip:
    """Mirror left and right."""

    probability: float = 0.5

    def __call__(self, sample: Sample, rng: torch.Generator) -> Sample:
        if _draw(0, 1, rng) >= self.probability:
            return sample
        panoptic = replace(sample.panoptic, id_map=sample.panoptic.id_map.flip(1))
        return replace(sample, image=sample.image.flip(2), panoptic=panoptic)


@dataclass(frozen=True, slots=True)
class RandomCrop:
    """Cut out a window, anywhere; a side on which the image is smaller stays as it is."""

    size: tuple[int, int]  # (height, width) in pixels

    def __call__(self, sample: Sample, rng: torch.Generator) -> Sample:
        rows, columns = (
            _draw_window(whole, wanted, rng)
            for whole, wanted in zip(_size(sample), self.size, strict=True)
        )
        id_map = sample.panoptic.id_map[rows, columns].contiguous()
        return _with_truth(sample, sample.image[:, rows, columns].contiguous(), id_map)


@dataclass(frozen=True, slots=True)
class Photometric:
    """Change brightness, then contrast, then saturation, each by a factor in [1 - x, 1 + x]."""

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0

    def __call__(self, sample: Sample, rng: torch.Generator) -> Sample:
        image = sample.image.float()
        gray = image.new_tensor(GRAY).view(3, 1, 1)
        # Always three random numbers, so that switching one off does not change the others.
        factors = [
            _draw(max(0.0, 1 - span), 1 + span, rng)
            for span in (self.brightness, self.contrast, self.saturation)
        ]
        image = image * factors[0]
        mean = (image * gray).sum(dim=0).mean()
        image = mean + (image - mean) * factors[1]
        brightness = (image * gray).sum(dim=0)
        image = brightness + (image - brightness) * factors[2]
        return replace(sample, image=image.round_().clamp_(0, 255).to(torch.uint8))


def to_targets(
    sample: Sample, categories: Sequence[Category], *, all_classes: bool = False
) -> tuple[Instances, Int[Tensor, "h w"]]:
    """Split a panoptic truth into the instances of one branch and the label map of the other.

    A crowd has no instances: its pixels are "other" to the semantic branch and background to the
    instance branch, as in published training. Void pixels are IGNORE.

    Args:
        sample: already transformed.
        categories: of the data set.
        all_classes: for a model that has the semantic branch alone: things 0..T-1, then stuff, and
            no "other".
    """
    present = present_ids(sample.panoptic.id_map)
    instances = [
        segment
        for segment in sample.panoptic.segments
        if segment.is_thing and not segment.is_crowd and segment.id in present
    ]
    # Numbered 1, 2, ... in the smallest type: comparing bytes takes an eighth of the time.
    numbers = {segment.id: number for number, segment in enumerate(instances, start=1)}
    numbered = _renumber(sample.panoptic.id_map, numbers, VOID).numpy()
    numbered = numbered.astype(np.min_scalar_type(len(instances)))
    masks = numbered == np.arange(1, len(instances) + 1, dtype=numbered.dtype)[:, None, None]
    extents = segment_extents(numbered)
    boxes = torch.tensor([extents[n][1] for n in numbers.values()], dtype=torch.float32)
    boxes = boxes.reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    labels = torch.tensor([segment.label for segment in instances], dtype=torch.int64)
    label_map = to_label_map(sample.panoptic, len(things(categories)), all_classes=all_classes)
    return Instances(boxes, labels, torch.from_numpy(masks)), label_map


def to_label_map(
    panoptic: Panoptic, num_things: int, *, all_classes: bool = False, ignore: int = IGNORE
) -> Int[Tensor, "h w"]:
    """Return each pixel's label; see `to_targets`. Void pixels get the label `ignore`."""
    labels = {}
    for segment in panoptic.segments:
        if all_classes:
            labels[segment.id] = segment.label + (0 if segment.is_thing else num_things - 1)
        else:
            labels[segment.id] = 0 if segment.is_thing else segment.label
    return _renumber(panoptic.id_map, labels, ignore)


def _renumber(
    id_map: Int[Tensor, "h w"], new: Mapping[int, int], otherwise: int
) -> Int[Tensor, "h w"]:
    """Return the map with new ids; faster by runs of equal pixels, of which there are few."""
    flat = id_map.numpy().ravel()
    starts = np.flatnonzero(np.append(True, flat[1:] != flat[:-1])[: flat.size])
    ids, index = np.unique(flat[starts], return_inverse=True)
    numbers = np.array([new.get(i, otherwise) for i in ids.tolist()], dtype=flat.dtype)
    renumbered = np.repeat(numbers[index], np.diff(starts, append=flat.size))
    return torch.from_numpy(renumbered.reshape(id_map.shape))


def resize_id_map(id_map: Int[Tensor, "_h _w"], size: tuple[int, int]) -> Int[Tensor, "h w"]:
    """Resize to `size` (height, width) by nearest neighbor, at the positions that PIL reads."""
    pixels = Image.fromarray(id_map.numpy().astype(np.int32))
    resized = pixels.resize((size[1], size[0]), Image.Resampling.NEAREST)
    return torch.from_numpy(np.array(resized, dtype=np.int64))


def present_ids(id_map: Int[Tensor, "h w"]) -> set[int]:
    """Return the ids that occur; fast, because neighbors are mostly equal."""
    flat = id_map.numpy().ravel()
    starts = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    return {*flat[:1].tolist(), *np.unique(flat[starts]).tolist()}


def _with_truth(
    sample: Sample, image: UInt8[Tensor, "3 h w"], id_map: Int[Tensor, "h w"]
) -> Sample:
    """Return a sample with this image and id map, less the segments without a pixel."""
    present = present_ids(id_map)
    segments = tuple(s for s in sample.panoptic.segments if s.id in present)
    return replace(sample, image=image, panoptic=Panoptic(id_map, segments))


def _size(sample: Sample) -> tuple[int, int]:
    return sample.image.shape[1], sample.image.shape[2]


def _draw(low: float, high: float, rng: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=rng, dtype=torch.float64))


def _draw_index(num: int, rng: torch.Generator) -> int:
    return int(torch.randint(num, (), generator=rng))


def _draw_window(length: int, part: int, rng: torch.Generator) -> slice:
    start = _draw_index(max(0, length - part) + 1, rng)
    return slice(start, min(length, start + part))


def build_transform(
    *,
    shortest_edges: Sequence[int] = (0,),
    longest_edge: int = 1333,
    crop: tuple[int, int] = (0, 0),
    flip: float = 0.5,
    brightness: float = 0.0,
    contrast: float = 0.0,
    saturation: float = 0.0,
) -> Compose:
    """Return resize, crop, flip, then color, without those that would change nothing.

    Args:
        shortest_edges: in pixels, one is chosen at random; 0 keeps the sample's own size.
        longest_edge: limit of the longest edge after resizing, in pixels.
        crop: (height, width) in pixels; (0, 0) takes the whole image.
        flip: probability of mirroring.
        brightness: largest relative change of it, in [0, 1].
        contrast: likewise.
        saturation: likewise.
    """
    steps: list[Transform] = []
    if tuple(shortest_edges) != (0,):
        steps.append(ResizeShortestEdge(tuple(shortest_edges), longest_edge))
    if crop != (0, 0):
        steps.append(RandomCrop(crop))
    if flip > 0:
        steps.append(RandomFlip(flip))
    if max(brightness, contrast, saturation) > 0:
        steps.append(Photometric(brightness, contrast, saturation))
    return Compose(tuple(steps))
