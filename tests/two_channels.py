"""Data sets in COCO panoptic format as batches of (class, instance) maps, for tests."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

VOID_CLASS = 0  # COCO's ids begin at 1


def categories_of(folder: Path) -> tuple[list[int], list[int]]:
    """The ids of things and of stuff."""
    categories = json.loads((folder / "gt.json").read_text())["categories"]
    things = [c["id"] for c in categories if c["isthing"]]
    return things, [c["id"] for c in categories if not c["isthing"]]


def images_of(folder: Path):
    """Yield prediction and truth (1, h, w, 2), and the crowds, of each image of the truth."""
    content = {name: json.loads((folder / f"{name}.json").read_text()) for name in ("gt", "pred")}
    predictions = {entry["image_id"]: entry for entry in content["pred"]["annotations"]}
    for truth in content["gt"]["annotations"]:
        gt, crowds = two_channels(truth, folder / "gt")
        pred, _ = two_channels(predictions[truth["image_id"]], folder / "pred")
        yield pred[None], gt[None], [crowds]


def two_channels(annotation, folder: Path) -> tuple[np.ndarray, list[tuple[int, int]]]:
    image = Image.open(folder / annotation["file_name"]).convert("RGB")
    red, green, blue = np.moveaxis(np.asarray(image), -1, 0)
    ids = red.astype(np.int64) + 256 * green.astype(np.int64) + 65536 * blue.astype(np.int64)
    maps = np.zeros((*ids.shape, 2), dtype=np.int64)
    crowds = []
    for number, segment in enumerate(annotation["segments_info"], start=1):
        maps[ids == segment["id"]] = segment["category_id"], number
        if segment.get("iscrowd"):
            crowds.append((segment["category_id"], number))
    return maps, crowds
