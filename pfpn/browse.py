"""One self-contained page that shows a data set: photographs, truth, predictions, and counts.

The page needs no network and no server. Photographs and maps are stored small, as JPEG and as PNG
with a palette in which every segment has a color of its own, so that the page can tell which
segment is under the pointer.
"""

import base64
import html
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from PIL import Image

from pfpn.data.categories import LabelMap
from pfpn.data.coco import (
    Finding,
    FormatError,
    image_id_of,
    parse_segments,
    png_problem,
    read_annotations,
    read_id_map,
    segment_findings,
)
from pfpn.plot.palette import class_colors, instance_color, to_hex
from pfpn.quality import PanopticQuality, match_segments
from pfpn.structures import VOID, Category, Panoptic, Sample, Segment

PAGE = Path(__file__).parent / "pages" / "browse.html"
MAX_SIDE = 384  # pixels of a stored photograph
MAX_COLORS = 255  # of a palette, beside void


@runtime_checkable
class Dataset(Protocol):
    """What is shown: `CocoPanoptic`, or anything with categories and samples."""

    categories: list[Category]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


class Predictions:
    """Predicted maps of a COCO panoptic JSON file and its folder of PNGs, by image id."""

    def __init__(self, path: Path, categories: Sequence[Category]):
        self._json, self._folder = str(path), path.with_suffix("")
        self._labels = LabelMap(tuple(categories))
        self._annotations = {image_id_of(a): a for a in read_annotations(path)["annotations"]}
        if None in self._annotations:
            found, expected = "an annotation without image_id", "a number or a name"
            raise FormatError(Finding(self._json, None, None, found, expected))

    @property
    def ids(self) -> set[int | str]:
        """The images that there is a prediction of."""
        return {image_id for image_id in self._annotations if image_id is not None}

    def get(self, image_id: int | str) -> Panoptic | None:
        """Read the map of an image, None if there is none; raise FormatError if it is malformed."""
        annotation = self._annotations.get(image_id)
        if annotation is None:
            return None
        problem = png_problem(annotation)
        if problem is not None:
            raise FormatError(Finding(self._json, image_id, None, *problem))
        for finding in segment_findings(annotation, self._json, self._labels, is_truth=False):
            raise FormatError(finding)
        ids = read_id_map(self._folder / annotation["file_name"], image_id=image_id)
        segments = parse_segments(annotation, self._labels)
        return Panoptic(torch.from_numpy(ids.astype(np.int64)), segments)


def browse_page(
    dataset: Dataset, title: str, predictions: Predictions | None = None, *, max_images: int = 0
) -> Iterator[bytes]:
    """Yield the page piece by piece, one image at a time, as UTF-8.

    Args:
        dataset: with its truth.
        title: of the page.
        predictions: shown beside the truth, with the PQ of each image.
        max_images: the first so many only; 0 shows all.
    """
    head, tail = PAGE.read_text(encoding="utf-8").split("/*IMAGES*/")
    colors = class_colors(dataset.categories)
    classes = [
        {"name": c.name, "thing": c.is_thing, "color": to_hex(colors[c.id])}
        for c in dataset.categories
    ]
    facts = {"classes": classes, "predictions": predictions is not None}
    head = head.replace("{{TITLE}}", html.escape(title)).replace("/*FACTS*/", _script_json(facts))
    yield head.encode()
    for index in range(min(len(dataset), max_images or len(dataset))):
        sample = dataset[index]
        predicted = predictions.get(sample.image_id) if predictions else None
        entry = image_entry(sample, predicted, dataset.categories)
        yield (_script_json(entry) + ",\n").encode()
    yield tail.encode()


def image_entry(
    sample: Sample, predicted: Panoptic | None, categories: Sequence[Category]
) -> dict[str, Any]:
    """Return what the page stores of one image.

    Args:
        sample: with its truth.
        predicted: the prediction, of the same size, if there is one.
        categories: of the data set.

    Raises:
        ValueError: truth and prediction have different sizes.
    """
    entry: dict[str, Any] = {
        "name": str(sample.image_id),
        "height": sample.image.shape[1],
        "width": sample.image.shape[2],
        "photo": _photograph(sample.image),
        "truth": map_entry(sample.panoptic, categories),
    }
    if predicted is not None:
        matches = match_segments(sample.panoptic, predicted)
        ious = {true.id: iou for true, _, iou in matches.pairs}
        entry["truth"] = map_entry(sample.panoptic, categories, ious)
        ious = {segment.id: iou for _, segment, iou in matches.pairs}
        entry["predicted"] = map_entry(predicted, categories, ious)
        quality = PanopticQuality(categories)
        quality.update(sample.panoptic, predicted)
        result = quality.compute().all
        entry["pq"] = None if result is None else round(result.pq, 4)
    return entry


def map_entry(
    panoptic: Panoptic, categories: Sequence[Category], ious: Mapping[int, float] | None = None
) -> dict[str, Any]:
    """Return a map as a small PNG, and its segments: class, area in pixels, color, crowd, IoU.

    Args:
        panoptic: the map. Beyond MAX_COLORS segments, the smallest ones are left out.
        categories: of the data set.
        ious: by segment id, of the segments that are matched; None without predictions.
    """
    by_label = {(c.is_thing, label): c for label, c in enumerate(_ordered(categories, True))}
    by_label |= {(c.is_thing, label): c for label, c in enumerate(_ordered(categories, False), 1)}
    position = {c.id: i for i, c in enumerate(categories)}
    colors = class_colors(categories)
    areas = torch.bincount(panoptic.id_map.flatten(), minlength=1).tolist()
    segments = sorted(panoptic.segments, key=lambda s: -areas[s.id])[:MAX_COLORS]
    taken: set[tuple[int, int, int]] = {(0, 0, 0)}
    numbers: dict[int, int] = {}
    rows: list[list[Any]] = []
    for segment in segments:
        category = by_label[segment.is_thing, segment.label]
        number = numbers[category.id] = numbers.get(category.id, -1) + 1
        color = colors[category.id]
        color = instance_color(color, number) if segment.is_thing else color
        color = _free_color(color, taken)
        taken.add(color)
        iou = None if ious is None else round(ious.get(segment.id, 0.0), 3)
        row = [position[category.id], areas[segment.id], to_hex(color), int(segment.is_crowd), iou]
        rows.append(row)
    return {"png": _palette_png(panoptic, segments, [row[2] for row in rows]), "segments": rows}


def _ordered(categories: Sequence[Category], is_thing: bool) -> list[Category]:
    return sorted((c for c in categories if c.is_thing == is_thing), key=lambda c: c.id)


def _free_color(
    color: tuple[int, int, int], taken: set[tuple[int, int, int]]
) -> tuple[int, int, int]:
    """Return the nearest color that no other segment has, by steps that the eye does not see."""
    step = 0
    free = color
    while free in taken:
        step += 1
        free = tuple(  # type: ignore[assignment]
            min(255, max(0, value + delta))
            for value, delta in zip(color, _delta(step), strict=True)
        )
    return free


def _delta(step: int) -> tuple[int, int, int]:
    radius = 1 + step // 27
    digits = [(step // 3**i % 3 - 1) * radius for i in range(3)]
    return digits[0], digits[1], digits[2]


def _palette_png(panoptic: Panoptic, segments: Sequence[Segment], colors: Sequence[str]) -> str:
    ids = panoptic.id_map.numpy()
    small = ids[:: _step(ids.shape), :: _step(ids.shape)]
    index = np.zeros(small.shape, dtype=np.uint8)
    for number, segment in enumerate(segments, start=1):
        index[small == segment.id] = number
    index[small == VOID] = 0
    image = Image.fromarray(index, mode="P")
    palette = [0, 0, 0] + [value for color in colors for value in bytes.fromhex(color[1:])]
    image.putpalette(palette)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", transparency=0, optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def _photograph(image: torch.Tensor) -> str:
    pixels = image.permute(1, 2, 0).contiguous().numpy()
    small = Image.fromarray(pixels)
    small.thumbnail((MAX_SIDE, MAX_SIDE))
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=80)
    return base64.b64encode(buffer.getvalue()).decode()


def _step(shape: tuple[int, ...]) -> int:
    return max(1, -(-max(shape) // MAX_SIDE))


def _script_json(content: object) -> str:
    """Write JSON that may stand inside a script element: no "<" can end it."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
