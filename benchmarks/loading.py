"""How many images a second one loading process prepares for training, beside two peers.

    python benchmarks/loading.py                # two minutes on 2 cores

What is measured is the loading of preset coco_r50_1x: decode JPEG and id PNG, shortest edge to 640
.. 800 pixels, flip, split the truth into masks, boxes and label map, hand the batch over through
shared memory. The images are photographs from ../shared/data (or PFPN_SHARED; drawn streets where
there are none), brought to 640 x 480, with grain until a file is about as large as COCO's 163 kB;
the real COCO images of ../shared/data are measured by themselves.

The peers see the same files, sizes and flips in the same run:

`plain` reads the pipeline as mappers in the manner of detectron2 do: PIL decodes and resizes both
images, ids are computed after resizing, each segment is one comparison with the whole map, boxes
come from the masks. Its results are compared with ours and equal.

`torchvision` does it with torchvision's decoder and its transforms v2, masks first, as its
tutorials do. Its resize rounds otherwise: values of the image differ by 1, and where a
column of pixels lies between two, it may take the other.

Stages take turns; the figures are medians of one thread's processor time, the ratios medians within
a turn, so that a busy neighbor spoils neither. Ours computes ids when it reads them and holds them
against the JSON file; the plain reading computes them after the resize and checks nothing. It flips
a view of the image and copies it in the next stage. Compare those as sums.

Then 16 such processes are held against 8 GPUs at the speed that detectron2 publishes for this
model, and real loaders with 1 and 2 processes show whether the rate of one can be multiplied. By
the clock that depends on who else uses the machine, so processes that do the same work without a
loader take turns with them: a loader costs what it scales worse than these.
"""

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.io import decode_image
from torchvision.ops import masks_to_boxes
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as V2
from torchvision.tv_tensors import Mask

from pfpn.data.coco import CocoPanoptic, CocoWriter, read_image
from pfpn.data.loader import (
    Key,
    ShareSampler,
    TrainingItems,
    build_loader,
    collate,
    item_rng,
    wide_images,
)
from pfpn.data.toy import TOY_CATEGORIES, ToyStreet
from pfpn.data.transforms import (
    RandomFlip,
    ResizeShortestEdge,
    build_transform,
    present_ids,
    resize_id_map,
    to_targets,
)
from pfpn.engine.presets import coco_r50_1x
from pfpn.files import write_atomically
from pfpn.predict import resize_image
from pfpn.structures import IGNORE, VOID, Batch, Instances, Panoptic, Sample

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "loading.json"
SHARED = Path(os.environ.get("PFPN_SHARED", ROOT.parent / "shared"))
SIZE = (480, 640)  # (height, width), the most frequent size in COCO
GRAIN = 4.0  # standard deviation of brightness; enlarged photographs lack what makes files large

# Published: detectron2's MODEL_ZOO.md, panoptic_fpn_R_50_1x, 16 images a step on 8 V100.
STEP_SECONDS, STEP_IMAGES, GPUS = 0.304, 16, 8
WORKERS = 16  # in all, two for each GPU
SPARE = 1.5  # what the rate of 16 workers should at least be, in steps of the 8 GPUs

Job = Callable[[], object]
PRESET = coco_r50_1x()
EDGES, LONGEST, SEED = PRESET.data.shortest_edges, PRESET.data.longest_edge, 0


# Data --------------------------------------------------------------------------------------------


def build_data(root: Path, num: int) -> str:
    """Write `num` images of COCO's size with their truth; say what they are."""
    rng = np.random.default_rng(0)
    folder = SHARED / "data" / "camvid_panoptic"
    if not folder.is_dir():
        streets = ToyStreet(num, size=SIZE)
        with CocoWriter(root, "train", TOY_CATEGORIES, suffix=".jpg") as writer:
            for sample in (streets[i] for i in range(num)):
                writer.add(Sample(grainy(sample.image, rng), sample.panoptic, sample.image_id))
        return "drawn streets"
    source = CocoPanoptic(folder, "train")
    with CocoWriter(root, "train", source.categories, suffix=".jpg") as writer:
        for number in range(num):
            sample = source[number * len(source) // num]
            pixels = Image.fromarray(sample.image.permute(1, 2, 0).numpy())
            large = pixels.resize(SIZE[::-1], Image.Resampling.BICUBIC)
            image = grainy(torch.from_numpy(np.array(large)).permute(2, 0, 1), rng)
            id_map = resize_id_map(sample.panoptic.id_map, SIZE)
            writer.add(Sample(image, Panoptic(id_map, sample.panoptic.segments), number))
    return "photographs of CamVid"


def grainy(image: Tensor, rng: np.random.Generator) -> Tensor:
    grain = GRAIN * torch.from_numpy(rng.standard_normal(image.shape[1:]))
    return (image + grain).round().clamp(0, 255).to(torch.uint8)


@dataclass(frozen=True)
class Paths:
    """What a peer is told of an image: its files, its segments, and what was drawn by lot."""

    jpeg: Path
    png: Path
    segments: list[dict[str, Any]]
    labels: dict[int, tuple[int, bool]]  # category_id: label, is thing
    size: tuple[int, int]  # (height, width) to bring it to
    is_flipped: bool


@dataclass(frozen=True)
class Example:
    """One image with everything that the stages pass on to each other, in our pipeline."""

    paths: Paths
    read: Sample
    resized: Sample
    flipped: Sample
    item: Batch


def examples(dataset: CocoPanoptic, root: Path, split: str) -> list[Example]:
    """Run our pipeline on each image once, and write down what was drawn by lot."""
    content = json.loads((root / "annotations" / f"panoptic_{split}.json").read_text())
    names = {image["id"]: image["file_name"] for image in content["images"]}
    entries = {entry["image_id"]: entry for entry in content["annotations"]}
    is_thing = {c.id: c.is_thing for c in dataset.categories}
    labels = {}
    for kind, first in ((True, 0), (False, 1)):
        for label, number in enumerate(sorted(i for i in is_thing if is_thing[i] is kind), first):
            labels[number] = (label, kind)
    resize, flip = ResizeShortestEdge(EDGES, LONGEST), RandomFlip(PRESET.data.flip)
    items = TrainingItems(dataset, training_transform(), SEED)
    found = []
    for index in range(len(dataset)):
        rng = item_rng(SEED, 0, index)
        read = dataset[index]
        resized = resize(read, rng)
        flipped = flip(resized, rng)
        entry = entries[read.image_id]
        paths = Paths(
            root / split / names[read.image_id],
            root / "annotations" / f"panoptic_{split}" / entry["file_name"],
            entry["segments_info"],
            labels,
            (resized.image.shape[1], resized.image.shape[2]),
            flipped is not resized,
        )
        item = items[0, index]
        assert torch.equal(item.images[0], flipped.image)  # the stages are the pipeline
        found.append(Example(paths, read, resized, flipped, item))
    return found


def training_transform() -> Any:
    data = PRESET.data
    return build_transform(
        shortest_edges=EDGES, longest_edge=LONGEST, crop=data.crop, flip=data.flip
    )


# The stages, each from what the one before gave ---------------------------------------------------


class Ours:
    """pfpn's pipeline."""

    def __init__(self, dataset: CocoPanoptic, found: Sequence[Example]):
        self.dataset, self.found = dataset, found

    def jpeg(self) -> None:
        for example in self.found:
            read_image(example.paths.jpeg)

    def ids(self) -> None:
        for index in range(len(self.found)):
            self.dataset.panoptic(index)

    def resize(self) -> None:
        for example in self.found:
            resize_image(example.read.image, example.paths.size)

    def resize_ids(self) -> None:
        for example in self.found:
            present_ids(resize_id_map(example.read.panoptic.id_map, example.paths.size))

    def flip(self) -> None:
        for example in self.found:
            RandomFlip(1.0 if example.paths.is_flipped else 0.0)(example.resized, item_rng(0, 0, 0))

    def targets(self) -> None:
        for example in self.found:
            to_targets(example.flipped, self.dataset.categories)

    def whole(self) -> None:
        items = TrainingItems(self.dataset, training_transform(), SEED)
        hand_over([items[0, index] for index in range(len(self.found))])


def hand_over(items: Sequence[Batch]) -> None:
    """Make batches of 2 and move them into shared memory, as a loading process does."""
    for start in range(0, len(items), STEP_IMAGES // GPUS):
        batch = collate(items[start : start + STEP_IMAGES // GPUS])
        for instances in batch.instances:
            for tensor in (instances.boxes, instances.labels, instances.masks):
                tensor.share_memory_()
        for tensor in (*batch.images, *batch.label_maps):
            tensor.share_memory_()


def in_own_memory(item: Batch) -> Batch:
    """A copy that has not been handed over yet."""
    found = item.instances[0]
    instances = Instances(found.boxes.clone(), found.labels.clone(), found.masks.clone())
    return Batch([item.images[0].clone()], [instances], [item.label_maps[0].clone()], [0])


def share_job(items: Sequence[Batch]) -> "Prepared":
    return Prepared(lambda: [in_own_memory(item) for item in items], hand_over)


@dataclass(frozen=True)
class Prepared:
    """A job with a part that is not timed."""

    prepare: Callable[[], Any]
    run: Callable[[Any], object]


class Plain:
    """The plain reading."""

    def __init__(self, found: Sequence[Example]):
        self.paths = [example.paths for example in found]
        self.pixels = [plain_read(p) for p in self.paths]
        self.colors = [plain_colors(p) for p in self.paths]
        small = [plain_resize(a, p) for a, p in zip(self.pixels, self.paths, strict=True)]
        ids = [plain_resize_ids(c, p) for c, p in zip(self.colors, self.paths, strict=True)]
        self.resized = list(zip(small, ids, strict=True))
        self.flipped = [
            plain_flip(*both, p) for both, p in zip(self.resized, self.paths, strict=True)
        ]
        self.items = [
            plain_targets(*both, p) for both, p in zip(self.flipped, self.paths, strict=True)
        ]

    def jpeg(self) -> None:
        for paths in self.paths:
            plain_read(paths)

    def ids(self) -> None:
        for paths in self.paths:
            plain_colors(paths)

    def resize(self) -> None:
        for pixels, paths in zip(self.pixels, self.paths, strict=True):
            plain_resize(pixels, paths)

    def resize_ids(self) -> None:
        for colors, paths in zip(self.colors, self.paths, strict=True):
            plain_resize_ids(colors, paths)

    def flip(self) -> None:
        for both, paths in zip(self.resized, self.paths, strict=True):
            plain_flip(*both, paths)

    def targets(self) -> None:
        for both, paths in zip(self.flipped, self.paths, strict=True):
            plain_targets(*both, paths)

    def whole(self) -> None:
        hand_over([plain_item(paths) for paths in self.paths])


def plain_read(paths: Paths) -> np.ndarray:
    with Image.open(paths.jpeg) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def plain_colors(paths: Paths) -> np.ndarray:
    with Image.open(paths.png) as image:
        return np.asarray(image.convert("RGB"))


def plain_resize(pixels: np.ndarray, paths: Paths) -> np.ndarray:
    image = Image.fromarray(pixels).resize(paths.size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(image)


def plain_resize_ids(colors: np.ndarray, paths: Paths) -> np.ndarray:
    image = Image.fromarray(colors).resize(paths.size[::-1], Image.Resampling.NEAREST)
    rgb = np.asarray(image).astype(np.int32)
    return rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]


def plain_flip(pixels: np.ndarray, ids: np.ndarray, paths: Paths) -> tuple[np.ndarray, np.ndarray]:
    if not paths.is_flipped:
        return pixels, ids
    return np.flip(pixels, axis=1), np.flip(ids, axis=1).copy()


def plain_targets(pixels: np.ndarray, ids: np.ndarray, paths: Paths) -> Batch:
    """One comparison for each segment; boxes from the rows and columns where a mask is."""
    image = torch.as_tensor(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
    masks, labels = [], []
    label_map = np.full(ids.shape, IGNORE, dtype=np.int64)
    for segment in paths.segments:
        mask = ids == segment["id"]
        label, is_thing = paths.labels[segment["category_id"]]
        label_map[mask] = 0 if is_thing else label
        if is_thing and not segment["iscrowd"] and mask.any():
            masks.append(mask)
            labels.append(label)
    stacked = torch.zeros((0, *ids.shape), dtype=torch.bool)
    if masks:
        stacked = torch.stack([torch.from_numpy(mask) for mask in masks])
    boxes = torch.zeros(len(masks), 4)
    across, down = stacked.any(dim=1), stacked.any(dim=2)
    for number in range(len(masks)):
        x, y = torch.where(across[number])[0], torch.where(down[number])[0]
        boxes[number] = torch.tensor([x[0], y[0], x[-1] + 1, y[-1] + 1], dtype=torch.float32)
    instances = Instances(boxes, torch.tensor(labels, dtype=torch.int64), stacked)
    return Batch([image], [instances], [torch.from_numpy(label_map)], [0])


def plain_item(paths: Paths) -> Batch:
    pixels = plain_resize(plain_read(paths), paths)
    ids = plain_resize_ids(plain_colors(paths), paths)
    return plain_targets(*plain_flip(pixels, ids, paths), paths)


class Torchvision:
    """torchvision's decoder and transforms v2, as a whole."""

    def __init__(self, found: Sequence[Example]):
        self.paths = [example.paths for example in found]

    def whole(self) -> None:
        hand_over([torchvision_item(paths) for paths in self.paths])


def torchvision_item(paths: Paths) -> Batch:
    image = decode_image(str(paths.jpeg), mode="RGB", apply_exif_orientation=True)
    red, green, blue = decode_image(str(paths.png), mode="RGB").to(torch.int64)
    ids = red + 256 * green + 65536 * blue
    chosen, label_map = [], torch.full(ids.shape, IGNORE)
    for segment in paths.segments:
        label, is_thing = paths.labels[segment["category_id"]]
        label_map[ids == segment["id"]] = 0 if is_thing else label
        if is_thing and not segment["iscrowd"]:
            chosen.append((segment["id"], label))
    numbers = torch.tensor([number for number, _ in chosen], dtype=torch.int64)
    labels = torch.tensor([label for _, label in chosen], dtype=torch.int64)
    masks = Mask((ids == numbers[:, None, None]).to(torch.uint8))
    size, nearest = list(paths.size), InterpolationMode.NEAREST_EXACT
    image = V2.resize(image, size, antialias=True)
    # (Not as masks: the transform for those takes "nearest", which is half a pixel off.)
    stacked = V2.resize_image(masks.as_subclass(Tensor), size, nearest)  # type: ignore[arg-type]
    resized = V2.resize_image(label_map[None], size, nearest)
    if paths.is_flipped:
        image, stacked, resized = (V2.horizontal_flip(t) for t in (image, stacked, resized))
    keep = stacked.flatten(1).bool().any(dim=1)
    stacked = stacked[keep].bool()
    boxes = masks_to_boxes(stacked)
    boxes[:, 2:] += 1
    instances = Instances(boxes, labels[keep], stacked)
    return Batch([image], [instances], [resized[0]], [0])


def check_agreement(found: Sequence[Example]) -> dict[str, float]:
    """See that the plain reading gives the same, and return how far off torchvision is.

    Its resize puts a column that lies between two pixels sometimes on the other side, and rounds
    colors otherwise.
    """
    off = {"image_values": 0.0, "image_most": 0.0, "label_pixels": 0.0, "box_most": 0.0}
    for example in found:
        ours, plain = example.item, plain_item(example.paths)
        assert torch.equal(ours.images[0], plain.images[0])
        assert torch.equal(ours.label_maps[0], plain.label_maps[0])
        for name in ("boxes", "labels", "masks"):
            a, b = getattr(ours.instances[0], name), getattr(plain.instances[0], name)
            assert torch.equal(a, b), (example.paths.jpeg, name)
        theirs = torchvision_item(example.paths)
        assert torch.equal(ours.instances[0].labels, theirs.instances[0].labels)
        values = (ours.images[0].int() - theirs.images[0].int()).abs()
        boxes = (ours.instances[0].boxes - theirs.instances[0].boxes).abs()
        labels = ours.label_maps[0] != theirs.label_maps[0]
        off["image_values"] += float((values > 0).double().mean()) / len(found)
        off["label_pixels"] += float(labels.double().mean()) / len(found)
        off["image_most"] = max(off["image_most"], int(values.max()))
        off["box_most"] = max(off["box_most"], float(boxes.max()) if len(boxes) else 0.0)
    assert max(off["image_most"], off["box_most"]) <= 1, off
    assert off["label_pixels"] < 5e-3, off
    return off


# Measuring ---------------------------------------------------------------------------------------


def take_turns(
    jobs: Mapping[str, Job | Prepared], repeats: int, images: int
) -> dict[str, list[float]]:
    """Milliseconds of processor time for an image in each turn; who is first changes."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    names = list(jobs)
    for turn in range(repeats + 1):  # the first one warms up
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            job = jobs[name]
            run = partial(job.run, job.prepare()) if isinstance(job, Prepared) else job
            start = time.process_time()
            run()
            if turn:
                times[name].append(1e3 * (time.process_time() - start) / images)
    return times


def ratio(over: list[float], under: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


STAGES = {
    "JPEG decode": "jpeg",
    "PNG decode, ids": "ids",
    "resize image": "resize",
    "resize id map": "resize_ids",
    "flip (half of them)": "flip",
    "to_targets": "targets",
}


def stages(dataset: CocoPanoptic, found: Sequence[Example], repeats: int) -> list[dict]:
    ours, plain, theirs, n = Ours(dataset, found), Plain(found), Torchvision(found), len(found)
    rows = []
    print(f"\n{'ms of processor time an image':30} ours    plain  ours / plain   torchvision")
    for stage, name in STAGES.items():
        jobs = {"ours": getattr(ours, name), "plain": getattr(plain, name)}
        rows.append(row_of(stage, take_turns(jobs, repeats, n)))
    shares = {"ours": share_job([e.item for e in found]), "plain": share_job(plain.items)}
    rows.append(row_of("collate, hand over", take_turns(shares, repeats, n)))
    jobs = {"ours": ours.whole, "plain": plain.whole, "torchvision": theirs.whole}
    rows.append(row_of("all", take_turns(jobs, repeats, n)))
    return rows


def row_of(stage: str, times: dict[str, list[float]]) -> dict:
    row: dict[str, Any] = {"stage": stage}
    row |= {name: statistics.median(found) for name, found in times.items()}
    row["ratio"] = ratio(times["ours"], times["plain"])
    line = f"{stage:26} {row['ours']:8.2f} {row['plain']:8.2f} {row['ratio']:13.2f}"
    if "torchvision" in times:
        row["ratio_torchvision"] = ratio(times["ours"], times["torchvision"])
        line += f" {row['torchvision']:13.2f} (ours / its {row['ratio_torchvision']:.2f})"
    print(line)
    return row


def bottleneck(milliseconds: dict[str, float]) -> dict:
    """Hold 16 processes at the measured rates against 8 GPUs at the published one."""
    needed = STEP_IMAGES / STEP_SECONDS
    print(
        f"\n{GPUS} V100 take {needed:.1f} images/s (published: {STEP_SECONDS} s for a step of "
        f"{STEP_IMAGES} images)"
    )
    rates: dict[str, Any] = {}
    for origin, taken in milliseconds.items():
        one = 1e3 / taken
        factor = WORKERS * one / needed
        rates[origin] = {
            "images_per_second_per_worker": one, "workers_give": WORKERS * one, "ratio": factor,
            "workers_needed": needed / one,
        }  # fmt: skip
        print(
            f"{origin}: a worker makes {one:.1f} images/s of its core's time, {WORKERS} make "
            f"{WORKERS * one:.0f};\n  {factor:.1f} times what the GPUs take (aim: {SPARE}), which "
            f"may be so much faster before they wait; these need {needed / one:.1f} workers"
        )
    return rates | {
        "gpus": GPUS, "workers": WORKERS, "published_step_seconds": STEP_SECONDS,
        "step_images": STEP_IMAGES, "gpus_take": needed, "aim": SPARE,
    }  # fmt: skip


def loaders(dataset: CocoPanoptic, batches: int, rounds: int) -> list[dict]:
    """Real loaders, batches of 2 as one of 8 processes sees them; 1 and 2 workers take turns."""
    items = TrainingItems(dataset, training_transform(), SEED)
    share = STEP_IMAGES // GPUS
    sampler = ShareSampler(len(items), share, SEED, is_wide=wide_images(dataset))
    keys = list(islice(sampler, batches))  # it has an end, so that no worker is ahead at the end
    kinds = {"loader": load, "no loader": work_alone}
    rates: dict[tuple[str, int], list[float]] = {(kind, n): [] for kind in kinds for n in (1, 2)}
    costs: dict[tuple[str, int], list[float]] = {key: [] for key in rates}
    for _ in range(rounds):
        for kind, workers in rates:
            before, start = children_seconds(), time.perf_counter()
            images = kinds[kind](items, keys, workers)
            rates[kind, workers].append(images / (time.perf_counter() - start))
            costs[kind, workers].append(1e3 * (children_seconds() - before) / images)
    print(f"\n{os.cpu_count()} cores, {batches * share} images a run, {rounds} rounds")
    rows: list[dict] = []
    for kind in kinds:
        for workers in (1, 2):
            row = {"kind": kind, "workers": workers, "best": max(rates[kind, workers])}
            row["images_per_second"] = statistics.median(rates[kind, workers])
            row["processor_ms"] = statistics.median(costs[kind, workers])
            rows.append(row)
            print(
                f"  {kind:9} {workers} worker(s): {row['images_per_second']:5.1f} images/s by the "
                f"clock (best {row['best']:.1f}), {row['processor_ms']:.1f} ms of their processor "
                "time an image"
            )
        scaling = ratio(rates[kind, 2], rates[kind, 1])
        rows.append({"kind": kind, "two_over_one": scaling})
        print(f"  {kind:9} 2 workers / 1 worker: {scaling:.2f} by the clock")
    return rows


def load(items: TrainingItems, keys: list[list[Key]], workers: int) -> int:
    loader = build_loader(items, keys, workers=workers)  # type: ignore[arg-type]
    return sum(len(batch) for batch in loader)


def work_alone(items: TrainingItems, keys: list[list[Key]], workers: int) -> int:
    """The same work, dealt out to processes that send nothing back."""
    fork = multiprocessing.get_context("fork")
    parts = [keys[number::workers] for number in range(workers)]
    processes = [fork.Process(target=make_all, args=(items, part)) for part in parts]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    return sum(len(batch) for batch in keys)


def make_all(items: TrainingItems, keys: list[list[Key]]) -> None:
    for batch in keys:
        hand_over([items[key] for key in batch])


def children_seconds() -> float:
    """Processor time of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def describe(found: Sequence[Example], origin: str) -> dict:
    """What the images are, so that someone can judge how like COCO they are."""
    facts = {
        "origin": origin,
        "images": len(found),
        "jpeg_kb": statistics.mean(e.paths.jpeg.stat().st_size for e in found) / 1e3,
        "png_kb": statistics.mean(e.paths.png.stat().st_size for e in found) / 1e3,
        "segments": statistics.mean(len(e.read.panoptic.segments) for e in found),
        "instances": statistics.mean(len(e.item.instances[0]) for e in found),
        "void": statistics.mean(
            float((e.read.panoptic.id_map == VOID).double().mean()) for e in found
        ),
    }
    print(
        f"{facts['images']} images, {origin}: JPEG {facts['jpeg_kb']:.0f} kB, PNG "
        f"{facts['png_kb']:.1f} kB, {facts['segments']:.1f} segments, {facts['instances']:.1f} of "
        "them instances"
    )
    return facts


def real_coco(repeats: int) -> dict | None:
    """The whole pipeline on the real COCO images, if they are there."""
    root = SHARED / "data" / "coco_panoptic_sample"
    if not root.is_dir():
        return None
    print()
    dataset = CocoPanoptic(root, "val2017")
    found = examples(dataset, root, "val2017")
    facts = describe(found, "real COCO")
    facts["torchvision_off"] = check_agreement(found)
    jobs = {"ours": Ours(dataset, found).whole, "plain": Plain(found).whole}
    jobs["torchvision"] = Torchvision(found).whole
    return facts | row_of("all, real COCO", take_turns(jobs, 3 * repeats, len(found)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3, help="of the real loaders")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__}
    versions["pillow"] = Image.__version__
    print(", ".join(f"{name} {version}" for name, version in versions.items()))
    report: dict[str, Any] = dict(versions)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        origin = build_data(root, args.images)
        dataset = CocoPanoptic(root, "train")
        found = examples(dataset, root, "train")
        report["data"] = describe(found, origin)
        off = report["torchvision_off"] = check_agreement(found)
        print(
            "ours and plain: equal. torchvision: "
            f"{100 * off['image_values']:.2f} % of the image's values off by {off['image_most']}, "
            f"{100 * off['label_pixels']:.3f} % of the labels, boxes by {off['box_most']:.0f} pixel"
        )
        report["stages"] = stages(dataset, found, args.repeats)
        report["real_coco"] = real_coco(args.repeats)
        rates = {origin: report["stages"][-1]["ours"]}
        if report["real_coco"]:
            rates["real COCO"] = report["real_coco"]["ours"]
        report["bottleneck"] = bottleneck(rates)
        report["loaders"] = loaders(dataset, 2 * args.images, args.rounds)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(args.out, (json.dumps(report, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
