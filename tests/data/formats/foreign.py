"""Write streets as other tools export them, each format in its plainest form."""

import base64
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from pfpn.data.categories import LabelMap
from pfpn.structures import Category, Sample


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def names(categories):
    labels = LabelMap(tuple(categories))
    by_id = {c.id: c for c in categories}
    return lambda segment: by_id[labels.category_id(segment)]


def photograph(folder: Path, sample: Sample) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    name = f"street{sample.image_id}.png"
    (folder / name).write_bytes(png(sample.image.permute(1, 2, 0).contiguous().numpy()))
    return name


def coco(root: Path, samples, categories: list[Category], *, stuff: str = "") -> None:
    """Instances as run-length codes; stuff in the same list, as PNGs, or as a second JSON."""
    category_of = names(categories)
    images, rows = [], {True: [], False: []}
    for number, sample in enumerate(samples):
        name = photograph(root / "images", sample)
        height, width = sample.panoptic.id_map.shape
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        values = np.zeros((height, width), dtype=np.uint8)
        for segment in sample.panoptic.segments:
            mask = (sample.panoptic.id_map == segment.id).numpy()
            code = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
            code = {"size": [height, width], "counts": code["counts"].decode()}
            category = category_of(segment)
            rows[segment.is_thing].append(
                {"id": len(rows[True]) + 1000 * len(rows[False]), "image_id": number,
                 "category_id": category.id, "segmentation": code, "iscrowd": 0}
            )  # fmt: skip
            if not segment.is_thing:
                values[mask] = category.id
        if stuff == "png":
            (root / "stuff").mkdir(exist_ok=True)
            (root / "stuff" / name).write_bytes(png(values))

    def write(name, annotations, chosen):
        listed = [{"id": c.id, "name": c.name} for c in chosen]
        content = {"images": images, "annotations": annotations, "categories": listed}
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(json.dumps(content))

    both = rows[True] + rows[False]
    things = [c for c in categories if c.is_thing]
    if stuff:
        write(
            "annotations/instances_all.json", rows[True], categories if stuff == "png" else things
        )
        write("stuff.json", rows[False], [c for c in categories if not c.is_thing])
    else:
        write("result.json", both, categories)


def labelme(root: Path, samples, categories) -> None:
    """Each segment as a mask shape; the photograph of every second file is inside it."""
    category_of = names(categories)
    for sample in samples:
        name = photograph(root, sample)
        shapes = []
        for segment in sample.panoptic.segments:
            mask = (sample.panoptic.id_map == segment.id).numpy()
            y, x = np.nonzero(mask)
            part = mask[y.min() : y.max() + 1, x.min() : x.max() + 1]
            shapes.append({
                "label": category_of(segment).name, "shape_type": "mask", "group_id": None,
                "points": [[int(x.min()), int(y.min())], [int(x.max()), int(y.max())]],
                "mask": base64.b64encode(png(part.astype(np.uint8) * 255)).decode(),
            })  # fmt: skip
        height, width = sample.panoptic.id_map.shape
        content = {"shapes": shapes, "imagePath": name, "imageHeight": height, "imageWidth": width}
        if sample.image_id % 2:
            content["imageData"] = base64.b64encode((root / name).read_bytes()).decode()
            (root / name).unlink()
        (root / Path(name).with_suffix(".json")).write_text(json.dumps(content))


def class_images(root: Path, samples, categories, kind: str) -> None:
    """Write images of classes and instances: two-channel, voc, cvat, cityscapes or semantic."""
    category_of = names(categories)
    colors = {c.id: ((37 * i) % 256, 255 - i, 17 + i) for i, c in enumerate(categories)}
    for sample in samples:
        height, width = sample.panoptic.id_map.shape
        classes = np.zeros((height, width), dtype=np.int64)
        instances = np.zeros((height, width), dtype=np.int64)
        counts: dict[int, int] = {}
        for segment in sample.panoptic.segments:
            mask = (sample.panoptic.id_map == segment.id).numpy()
            category = category_of(segment)
            classes[mask] = category.id
            if segment.is_thing:
                instances[mask] = counts[category.id] = counts.get(category.id, 0) + 1
        if kind == "cityscapes":
            name = f"bern_0000{sample.image_id:02d}_000000"
            picture = photograph(root, sample)
            folder = root / "leftImg8bit" / "val" / "bern"
            folder.mkdir(parents=True, exist_ok=True)
            (root / picture).rename(folder / f"{name}_leftImg8bit.png")
            values = np.where(instances > 0, 1000 * classes + instances, classes)
            folder = root / "gtFine" / "val" / "bern"
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{name}_gtFine_instanceIds.png"
            path.write_bytes(png(values.astype(np.uint16)))
            continue
        name = photograph(root / ("JPEGImages" if kind in ("voc", "cvat") else "images"), sample)
        if kind == "two-channel":
            pixels = np.stack([classes, instances, 0 * classes], axis=-1).astype(np.uint8)
            (root / name).write_bytes(png(pixels))
        elif kind == "semantic":
            (root / name).write_bytes(png(classes.astype(np.uint8)))
        else:
            # The objects of a VOC image are numbered together, whatever their classes.
            ids = sample.panoptic.id_map.numpy()
            number = np.where(instances > 0, ids, 0)
            pair = [classes, number]
            if kind == "cvat":
                painted = np.zeros((height, width, 3), dtype=np.uint8)
                for number_of_class, color in colors.items():
                    painted[classes == number_of_class] = color
                objects = np.stack([number % 256, number // 256, 0 * number], axis=-1)
                pair = [painted, objects]
            for folder, pixels in zip(
                ("SegmentationClass", "SegmentationObject"), pair, strict=True
            ):
                (root / folder).mkdir(parents=True, exist_ok=True)
                (root / folder / name).write_bytes(png(pixels.astype(np.uint8)))
    if kind == "cvat":
        lines = ["# label:color_rgb:parts:actions", "background:0,0,0::"]
        lines += [f"{c.name}:{','.join(map(str, colors[c.id]))}::" for c in categories]
        (root / "labelmap.txt").write_text("\n".join(lines))


def masks(root: Path, samples, categories) -> None:
    category_of = names(categories)
    for sample in samples:
        name = Path(photograph(root / "images", sample)).stem
        (root / name).mkdir()
        for segment in sample.panoptic.segments:
            mask = (sample.panoptic.id_map == segment.id).numpy()
            suffix = f"_{segment.id}" if segment.is_thing else ""
            path = root / name / f"{category_of(segment).name}{suffix}.png"
            path.write_bytes(png(mask.astype(np.uint8) * 255))
