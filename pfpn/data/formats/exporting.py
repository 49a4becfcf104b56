"""Panoptic data for other tools: COCO instances, PNGs of classes, two channels, and combining.

The results are those of panopticapi's converters, up to the numbers that its random color
generator gives to segments. Source: [PS] 5 and the COCO panoptic API.
"""

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pfpn.data.categories import LabelMap, read_json, shorten
from pfpn.data.formats.coco_instances import decode_rle
from pfpn.merge import MAX_OVERLAP, MIN_SCORE, paste_instances
from pfpn.structures import VOID, Category, Panoptic, Segment

THINGS_OTHER = 183  # COCO's one label for all things, in PNGs of stuff
MIN_STUFF_AREA = 4096  # pixels


def to_coco_instances(
    entries: Iterable[tuple[Any, Panoptic]], categories: Sequence[Category], *, things_only: bool
) -> Iterator[dict[str, Any]]:
    """Yield one annotation of a COCO instances file for each segment, with a run-length code.

    Args:
        entries: (image id, panoptic map) of each image.
        categories: of the data set.
        things_only: leave stuff out.
    """
    labels = LabelMap(tuple(categories))
    number = 0
    for image_id, panoptic in entries:
        for segment in panoptic.segments:
            if things_only and not segment.is_thing:
                continue
            mask = (panoptic.id_map == segment.id).numpy()
            yield {
                "id": number,
                "image_id": image_id,
                "category_id": labels.category_id(segment),
                "iscrowd": int(segment.is_crowd),
                **describe_mask(mask),
            }
            number += 1


def describe_mask(mask: np.ndarray) -> dict[str, Any]:
    """Return COCO's "segmentation" (a compressed run-length code), "area" and "bbox" of a mask."""
    from pycocotools import mask as coco_mask

    code = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    box = [int(side) for side in coco_mask.toBbox(code)]
    return {
        "segmentation": {"size": list(mask.shape), "counts": code["counts"].decode()},
        "area": int(coco_mask.area(code)),
        "bbox": box,  # x, y, width, height
    }


def to_semantic(
    panoptic: Panoptic, categories: Sequence[Category], *, things_other: bool = False
) -> np.ndarray:
    """Return the category id of every pixel (h, w), 0 where no segment is.

    Args:
        panoptic: a map of the data set.
        categories: of the data set.
        things_other: give every thing the one value THINGS_OTHER, as COCO's stuff PNGs do.
    """
    labels = LabelMap(tuple(categories))
    values = {VOID: 0}
    for segment in panoptic.segments:
        is_other = things_other and segment.is_thing
        values[segment.id] = THINGS_OTHER if is_other else labels.category_id(segment)
    wide = _translate(panoptic.id_map.numpy(), values)
    if wide.max(initial=0) > 65535:
        raise ValueError(f"category id {wide.max()}: expected at most 65535, what a PNG can hold")
    return wide.astype(np.uint8 if wide.max(initial=0) <= 255 else np.uint16)


def to_two_channels(panoptic: Panoptic, categories: Sequence[Category]) -> np.ndarray:
    """Return (h, w, 3) bytes: red the category id, green the instance number, 0 for stuff.

    Raises:
        ValueError: a category id or a number of instances above 255 does not fit into a byte.
    """
    labels = LabelMap(tuple(categories))
    red, green = {VOID: 0}, {VOID: 0}
    counts: dict[int, int] = defaultdict(int)
    for segment in panoptic.segments:
        category_id = labels.category_id(segment)
        counts[category_id] += segment.is_thing
        red[segment.id] = category_id
        green[segment.id] = counts[category_id]
    for what, largest in (("category id", max(red.values())), ("instance", max(green.values()))):
        if largest > 255:
            raise ValueError(f"{what} {largest}: expected at most 255, what one channel can hold")
    ids = panoptic.id_map.numpy()
    channels = [_translate(ids, red), _translate(ids, green), np.zeros_like(ids)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def read_results(
    path: Path, images: Container[int | str], labels: LabelMap, *, with_scores: bool
) -> dict[int | str, list[Mapping[str, Any]]]:
    """Return the COCO results of a file, each with a run-length code, by image id.

    Args:
        path: of the JSON file, a list of results.
        images: ids of the images.
        labels: of the categories.
        with_scores: whether each result needs a score.

    Raises:
        ValueError: a result cannot be used.
    """
    rows = read_json(path)
    if not isinstance(rows, list):
        raise ValueError(f"{path}: found {type(rows).__name__}, expected a list of results")
    groups: dict[int | str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        problem = _result_problem(row, images, labels, with_scores=with_scores)
        if problem:
            raise ValueError(f"{path}: found {shorten(row)}, expected a result with {problem}")
        groups[row["image_id"]].append(row)
    return groups


def _result_problem(
    row: Any, images: Container[int | str], labels: LabelMap, *, with_scores: bool
) -> str:
    """Return what a result should have and has not; "" if nothing is missing."""
    if not isinstance(row, dict):
        return "image_id, category_id and segmentation"
    image_id, score = row.get("image_id"), row.get("score", "none")
    if type(image_id) not in (int, str) or image_id not in images:
        return "the image_id of one of the images"
    if type(row.get("category_id")) is not int or row["category_id"] not in labels:
        return "the category_id of one of the categories"
    if with_scores and not (isinstance(score, int | float) and 0 <= score <= 1):
        return "a score from 0 to 1"
    return "" if isinstance(row.get("segmentation"), dict) else "a run-length code"


def combine(
    size: tuple[int, int],
    instances: Sequence[Mapping[str, Any]],
    stuff: Sequence[Mapping[str, Any]],
    labels: LabelMap,
    *,
    min_score: float = MIN_SCORE,
    max_overlap: float = MAX_OVERLAP,
    min_stuff_area: int = MIN_STUFF_AREA,
) -> Panoptic:
    """Merge scored instances and stuff masks of one image, both as COCO results, into one map.

    Instances claim pixels by falling score, then stuff takes what is left in the order given.

    Args:
        size: (height, width) of the image, in pixels.
        instances: results with category_id, score and a run-length code.
        stuff: results with category_id and a run-length code; their order decides where they
            overlap.
        labels: of the categories.
        min_score: instances below are left out.
        max_overlap: largest part of an instance that better ones may cover.
        min_stuff_area: pixels; stuff that keeps fewer is left out.

    Source: [PS] 7.
    """
    masks = [decode_rle(result["segmentation"], size) for result in instances]
    kinds = [labels.segment(1, result["category_id"]) for result in instances]
    for kind, result in zip(kinds, instances, strict=True):
        if not kind.is_thing:
            raise ValueError(
                f"instances: found category {result['category_id']}, expected one of a thing"
            )
    id_map, segments = paste_instances(
        torch.from_numpy(np.stack(masks)) if masks else torch.zeros((0, *size), dtype=torch.bool),
        torch.tensor([float(result["score"]) for result in instances], dtype=torch.float64),
        torch.tensor([kind.label for kind in kinds], dtype=torch.int64),
        size,
        min_score=min_score,
        max_overlap=max_overlap,
    )
    for result in stuff:
        mask = torch.from_numpy(decode_rle(result["segmentation"], size)) & (id_map == VOID)
        kind = labels.segment(len(segments) + 1, result["category_id"])
        if kind.is_thing:
            raise ValueError(
                f"stuff: found category {result['category_id']}, expected one of stuff"
            )
        if int(mask.sum()) >= max(1, min_stuff_area):
            segments.append(Segment(kind.id, kind.label, is_thing=False))
            id_map[mask] = kind.id
    return Panoptic(id_map, tuple(segments))


def _translate(ids: np.ndarray, values: Mapping[int, int]) -> np.ndarray:
    keys = np.array(sorted(values))
    table = np.array([values[key] for key in keys.tolist()], dtype=np.int64)
    return table[np.searchsorted(keys, ids)]
