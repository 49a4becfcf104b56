"""Panoptic quality from files: the same figures as panopticapi's, or an error with the reason.

One pair of PNGs is held at a time (a few with several threads), so what the images need does not
grow with their number; a fault in a file raises an error before it can change a figure.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pfpn.data.categories import LabelMap, parse_categories, shorten
from pfpn.data.coco import (
    Finding,
    FormatError,
    image_id_of,
    is_polygon_area,
    parse_segments,
    png_problem,
    read_annotations,
    read_id_map,
    segment_findings,
)
from pfpn.data.threads import ordered_map
from pfpn.quality import Matches, PanopticQuality, PanopticResult, count_overlaps, match_segments
from pfpn.structures import Panoptic

_log = logging.getLogger(__name__)


def score_files(
    gt_json: Path | str,
    gt_dir: Path | str | None,
    pred_json: Path | str,
    pred_dir: Path | str | None,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], object] = _log.info,
) -> PanopticResult:
    """Compute panoptic quality of predictions in COCO panoptic format.

    Categories and crowds are those of the truth; a prediction for an image that the truth does not
    have is ignored. Areas are counted in the PNGs. Where the truth states another area, and
    wherever PNG and JSON disagree about which segments there are, FormatError is raised. Only areas
    with a decimal point, those of polygons in detection's annotations, may differ: panopticapi's
    converter copies them, and panopticapi would compute with them.

    Args:
        gt_json: the truth's panoptic JSON file.
        gt_dir: folder of its PNGs; the JSON's path without ".json" if None.
        pred_json: the predictions' JSON file.
        pred_dir: folder of their PNGs; likewise.
        workers: threads. Figures do not depend on how many.
        progress: called with the numbers of images done and of all.
        say: called with a remark if areas of polygons were ignored.

    Source: [PS] 4; panopticapi.
    """
    gt_json, pred_json = Path(gt_json), Path(pred_json)
    gt_dir, pred_dir = _folder(gt_json, gt_dir), _folder(pred_json, pred_dir)
    content = read_annotations(gt_json)
    labels = LabelMap(tuple(parse_categories(content.get("categories"), str(gt_json))))
    gt_by_id = _by_image(content["annotations"], gt_json)
    pred_by_id = _by_image(read_annotations(pred_json)["annotations"], pred_json, gt_by_id)
    del content
    _remark_polygons(gt_by_id.values(), gt_json, say)

    def match_image(image_id: int | str) -> Matches:
        gt, pred = gt_by_id[image_id], pred_by_id[image_id]
        gt_png, gt_ids = _read(gt, gt_json, gt_dir)
        pred_png, pred_ids = _read(pred, pred_json, pred_dir)
        _require_same_size(image_id, gt_png, gt_ids, pred_png, pred_ids)
        overlaps = count_overlaps(gt_ids, pred_ids)
        _require_sound(gt, gt_json, gt_png, labels, overlaps.gt_areas, is_truth=True)
        _require_sound(pred, pred_json, pred_png, labels, overlaps.pred_areas, is_truth=False)
        return match_segments(
            Panoptic(gt_ids, parse_segments(gt, labels)),
            Panoptic(pred_ids, parse_segments(pred, labels)),
            overlaps,
        )

    _keep_freed_memory()
    quality = PanopticQuality(labels.categories)
    matched = ordered_map(match_image, gt_by_id, workers)  # in the truth's order: same rounding
    for done, (_, matches) in enumerate(matched, 1):
        quality.add(matches)
        if progress is not None:
            progress(done, len(gt_by_id))
    return quality.compute()


def _require_same_size(
    image_id: int | str, gt_png: Path, gt_ids: Tensor, pred_png: Path, pred_ids: Tensor
) -> None:
    if gt_ids.shape != pred_ids.shape:
        found = f"height and width {tuple(pred_ids.shape)}"
        expected = f"{tuple(gt_ids.shape)} as in {gt_png}"
        raise FormatError(Finding(str(pred_png), image_id, None, found, expected))


def _keep_freed_memory() -> None:
    """Let glibc keep the megabytes that each image frees.

    It would give them back to the system and have them zeroed page by page for the next image, a
    third of all time; once a larger block has been freed, it keeps them. Nothing is written to this
    one, so it costs nothing.
    """
    np.empty(31 << 20, dtype=np.uint8)


def _folder(json_path: Path, folder: Path | str | None) -> Path:
    path = json_path.with_suffix("") if folder is None else Path(folder)
    if not path.is_dir():
        raise ValueError(f"{path}: found no such folder, expected the PNGs of {json_path}")
    return path


def _by_image(
    annotations: list[dict[str, Any]], path: Path, expected_ids: Mapping[Any, Any] | None = None
) -> dict[Any, Mapping[str, Any]]:
    """Return annotations by image id, in their order; if ids are given, exactly one for each."""
    by_id: dict[Any, Mapping[str, Any]] = {}
    for annotation in annotations:
        image_id = annotation.get("image_id")
        if image_id_of(annotation) is None:
            found = f"an annotation with image_id {shorten(image_id)}"
            raise FormatError(Finding(str(path), None, None, found, "a number or a name"))
        if expected_ids is not None and image_id not in expected_ids:
            continue
        if image_id in by_id:
            found, expected = "a second annotation", "one per image"
            raise FormatError(Finding(str(path), image_id, None, found, expected))
        by_id[image_id] = annotation
    for image_id in expected_ids or ():
        if image_id not in by_id:
            found, expected = "no prediction", "one for every image of the truth"
            raise FormatError(Finding(str(path), image_id, None, found, expected))
    return by_id


def _read(
    annotation: Mapping[str, Any], json_path: Path, folder: Path
) -> tuple[Path, torch.Tensor]:
    image_id, problem = annotation["image_id"], png_problem(annotation)
    if problem is not None:
        raise FormatError(Finding(str(json_path), image_id, None, *problem))
    path = folder / annotation["file_name"]
    return path, torch.from_numpy(read_id_map(path, image_id=image_id))


def _require_sound(
    annotation: Mapping[str, Any],
    json_path: Path,
    png: Path,
    labels: LabelMap,
    areas: Mapping[int, int],
    *,
    is_truth: bool,
) -> None:
    file = f"{json_path} with {png.name}"
    for finding in segment_findings(
        annotation, file, labels, areas, is_truth=is_truth, polygons=True
    ):
        raise FormatError(finding)


def _remark_polygons(
    annotations: Iterable[Mapping[str, Any]], path: Path, say: Callable[[str], object]
) -> None:
    """Call `say` with the number of areas of the truth that are those of polygons."""
    lists = (annotation.get("segments_info") for annotation in annotations)
    segments = (s for infos in lists if isinstance(infos, list) for s in infos)
    count = sum(isinstance(s, dict) and is_polygon_area(s.get("area")) for s in segments)
    if count:
        say(
            f"{path}: {count} area{'s' * (count != 1)} with a decimal point, as of polygons: areas "
            "are counted in the PNGs instead (panopticapi computes with the stated ones)"
        )
