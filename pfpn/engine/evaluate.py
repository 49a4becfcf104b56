"""How good a model is on a data set: panoptic quality, mean IoU, average precision.

Each image is predicted at its own size, alone, as it would be in use. Run by torchrun, every
process evaluates its part of the images and all of them return the result of the whole.
"""

import contextlib
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pfpn.boxes import masks_to_boxes
from pfpn.data.loader import PanopticDataset
from pfpn.data.transforms import to_label_map
from pfpn.engine import distributed
from pfpn.model import PanopticFPN
from pfpn.paste import paste_masks
from pfpn.predict import PredictConfig, Prediction, predict
from pfpn.quality import (
    GroupQuality,
    Matches,
    PanopticQuality,
    PanopticResult,
    SemanticQuality,
    SemanticResult,
    format_table,
    match_segments,
)
from pfpn.structures import Category, Panoptic, Sample, stuff, things

# The first six numbers of COCO's summary
AP_NAMES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything measured; all figures are in [0, 1]."""

    panoptic: PanopticResult
    semantic: SemanticResult  # of the panoptic map, over all classes
    branch: SemanticResult | None  # of the semantic branch over its own labels, if it has any
    precision: dict[str, float]  # box_ap, mask_ap50, ...; empty if not computed
    num_images: int
    seconds: float  # prediction alone, over all images

    def summary(self) -> dict[str, float]:
        """Return the headline numbers by name; what was not measured is left out, PQ never."""
        numbers: dict[str, float | None] = {"pq": 0.0}
        for group in ("all", "things", "stuff"):
            quality: GroupQuality | None = getattr(self.panoptic, group)
            for name in ("pq", "sq", "rq"):
                key = name if group == "all" else f"{name}_{group}"
                if quality is not None:
                    numbers[key] = getattr(quality, name)
        numbers["miou"] = self.semantic.miou
        numbers["pixel_accuracy"] = self.semantic.pixel_accuracy
        measured = {name: value for name, value in numbers.items() if value is not None}
        return measured | self.precision

    def as_dict(self) -> dict[str, Any]:
        """Return everything for JSON, in percent."""
        return {
            "panoptic": self.panoptic.as_dict(),
            "semantic": self.semantic.as_dict(),
            "semantic_branch": self.branch.as_dict() if self.branch else None,
            "precision": {name: 100 * value for name, value in self.precision.items()},
            "num_images": self.num_images,
            "seconds_per_image": self.seconds / max(1, self.num_images),
        }

    def table(self) -> str:
        """Return lines of text to read, in percent."""
        lines = [format_table(self.panoptic, per_class=True), ""]
        rest = [
            ("mean IoU of the panoptic map", self.semantic.miou),
            ("pixel accuracy of the panoptic map", self.semantic.pixel_accuracy),
        ]
        if self.branch:
            rest.append(("mean IoU of the semantic branch", self.branch.miou))
        for kind in ("box", "mask"):
            rest += [
                (f"{kind} {name.replace('_', ' ').upper()}", self.precision.get(f"{kind}_{name}"))
                for name in AP_NAMES[:2]
            ]
        width = max(len(name) for name, _ in rest)
        lines += [f"{name:{width}}  {100 * v:5.1f}" for name, v in rest if v is not None]
        return "\n".join(lines)


def evaluate(
    model: PanopticFPN,
    dataset: PanopticDataset,
    config: PredictConfig | None = None,
    *,
    max_images: int = 0,
    with_ap: bool = True,
    on_image: Callable[[Sample, Prediction], object] = lambda sample, prediction: None,
    on_broken: Callable[[Exception], object] | None = None,
) -> Evaluation:
    """Predict every image and compare with its truth.

    Args:
        model: on any device; its mode is left as it is.
        dataset: with truth, for the categories that the model was trained on.
        config: how images are resized and predictions merged.
        max_images: evaluate the first so many only; 0 takes all.
        with_ap: also compute box and mask AP, which needs all masks and therefore more time.
        on_image: called after each image with its prediction.
        on_broken: called with the error of an image that cannot be read, which is then left out;
            without it the error is raised.
    """
    _require_same_classes(model, dataset)
    results = _Results(model, dataset.categories, with_ap=with_ap)
    num_images = min(len(dataset), max_images or len(dataset))
    for index in range(distributed.rank(), num_images, distributed.world()):
        try:
            sample = dataset[index]
        except (ValueError, OSError) as error:
            if on_broken is None:
                raise
            on_broken(error)
            continue
        began = time.perf_counter()
        with_all = results.precision is not None
        prediction = predict(model, [sample.image], config, all_detections=with_all)[0]
        predicted = Panoptic(prediction.panoptic.id_map.cpu(), prediction.panoptic.segments)
        results.seconds += time.perf_counter() - began
        results.add(index, sample, prediction, predicted)
        on_image(sample, prediction)
    return results.evaluation()


class _Results:
    """What is collected image by image, and brought together over processes at the end."""

    def __init__(self, model: PanopticFPN, categories: Sequence[Category], *, with_ap: bool):
        config = model.config
        self.categories = categories
        self.num_things = len(things(categories))
        names = [c.name for c in (*things(categories), *stuff(categories))]
        self.matches: list[tuple[int, Matches]] = []
        self.semantic = SemanticQuality(names)
        self.branch = None
        if config.semantic_branch and config.instance_branch:
            self.branch = SemanticQuality(["other", *(c.name for c in stuff(categories))])
        self.precision = PrecisionCollector() if with_ap and config.instance_branch else None
        self.seconds = 0.0

    def add(self, index: int, sample: Sample, prediction: Prediction, predicted: Panoptic) -> None:
        """Add one image; `predicted` is the panoptic map of its prediction, on the CPU."""
        self.matches.append((index, match_segments(sample.panoptic, predicted)))
        ignore = self.semantic.ignore
        self.semantic.update(
            to_label_map(sample.panoptic, self.num_things, all_classes=True, ignore=ignore),
            to_label_map(predicted, self.num_things, all_classes=True, ignore=ignore),
        )
        if self.branch:
            expected = to_label_map(sample.panoptic, self.num_things)
            self.branch.update(expected, prediction.label_map.cpu())
        if self.precision:
            self.precision.update(index, sample, prediction)

    def evaluation(self) -> Evaluation:
        """Return the result over all processes."""
        panoptic = PanopticQuality(self.categories)
        # IoUs are added up in the order of one process: in another, the last bit would differ.
        matches = [entry for part in distributed.gather(self.matches) for entry in part]
        for _, match in sorted(matches, key=lambda entry: entry[0]):
            panoptic.add(match)
        for collected in (self.semantic, self.branch, self.precision):
            _merge_over_processes(collected)
        names = [c.name for c in things(self.categories)]
        return Evaluation(
            panoptic.compute(),
            self.semantic.compute(),
            self.branch.compute() if self.branch else None,
            self.precision.result(names) if self.precision else {},
            len(matches),
            sum(distributed.gather(self.seconds)),
        )


def require_same_categories(ours: Sequence[Category], theirs: Sequence[Category]) -> None:
    """Raise ValueError where one label means two things; see `category_differences`."""
    differences = category_differences(ours, theirs)
    if differences:
        raise ValueError(
            f"categories: {differences[0]}. Are both splits of one data set, and do their files "
            "list all categories?"
        )


def category_differences(
    ours: Sequence[Category], theirs: Sequence[Category], *, strict: bool = False
) -> list[str]:
    """Return where labels mean something else in two lists of categories, a line each.

    Args:
        ours: of the data that the model was trained on.
        theirs: of the data that it is evaluated on, or trained on further.
        strict: ids and names of each label must agree; else one of the two may differ, unless
            the name is that of another label.
    """
    lines = []
    for kind, what in ((things, "thing"), (stuff, "stuff")):
        left, right = kind(ours), kind(theirs)
        if len(left) != len(right):
            missing = [c.name for c in left if c.name not in {d.name for d in right}]
            also = f"; not among them: {', '.join(missing[:5])}" if missing else ""
            lines.append(f"found {len(right)} {what} classes, expected {len(left)}{also}")
        names = {category.name for category in left}
        for one, other in zip(left, right, strict=False):
            same_id, same_name = one.id == other.id, one.name == other.name
            differs = not (same_id and same_name) if strict else not (same_id or same_name)
            if differs or (not same_name and other.name in names):
                lines.append(
                    f"found {other.name!r} (id {other.id}) where the model learned "
                    f"{one.name!r} (id {one.id}), expected the same classes"
                )
    return lines


class PrecisionCollector:
    """Collects true and detected instances in the form of COCO's evaluation."""

    def __init__(self) -> None:
        self.truths: list[dict[str, Any]] = []
        self.detections: list[dict[str, Any]] = []
        self.sizes: dict[int, tuple[int, int]] = {}

    def update(self, index: int, sample: Sample, prediction: Prediction) -> None:
        """Add one image under a number of its own."""
        size = (sample.image.shape[1], sample.image.shape[2])
        self.sizes[index] = size
        segments = [segment for segment in sample.panoptic.segments if segment.is_thing]
        ids = torch.tensor([segment.id for segment in segments], dtype=torch.int64)
        masks = sample.panoptic.id_map == ids.view(-1, 1, 1)
        boxes = _xywh(masks_to_boxes(masks))
        for segment, mask, box in zip(segments, masks, boxes, strict=True):
            self.truths.append(
                {
                    "image_id": index,
                    "category_id": segment.label,
                    "segmentation": _run_lengths(mask),
                    "bbox": box,
                    "area": int(mask.sum()),
                    "iscrowd": int(segment.is_crowd),
                }
            )
        detections = prediction.detections.to("cpu")
        masks = paste_masks(detections.mask_probs, detections.boxes, size)
        for label, score, mask, box in zip(
            detections.labels.tolist(),
            detections.scores.tolist(),
            masks,
            _xywh(detections.boxes),
            strict=True,
        ):
            self.detections.append(
                {
                    "image_id": index,
                    "category_id": label,
                    "score": score,
                    "segmentation": _run_lengths(mask),
                    "bbox": box,
                }
            )

    def merge(self, other: "PrecisionCollector") -> None:
        """Add what another process collected over other images."""
        self.truths += other.truths
        self.detections += other.detections
        self.sizes |= other.sizes

    def result(self, names: list[str]) -> dict[str, float]:
        """Return box_ap, box_ap50, ..., mask_ap_large in [0, 1]; what has no truth is left out."""
        from pycocotools.coco import COCO

        by_image = sorted(self.truths, key=lambda truth: truth["image_id"])
        truth = COCO()
        truth.dataset = {
            "info": {},
            "images": [{"id": i, "height": h, "width": w} for i, (h, w) in self.sizes.items()],
            "categories": [{"id": label, "name": name} for label, name in enumerate(names)],
            # From 1 on: COCOeval takes a match with annotation 0 for no match.
            "annotations": [entry | {"id": i} for i, entry in enumerate(by_image, start=1)],
        }
        numbers: dict[str, float] = {}
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints what it does
            truth.createIndex()
            for prefix, kind in (("box", "bbox"), ("mask", "segm")):
                values = self._precision(truth, kind)
                numbers |= {f"{prefix}_{name}": value for name, value in values.items()}
        return numbers

    def _precision(self, truth: Any, kind: str) -> dict[str, float]:
        """Return the figures of one kind of overlap, "bbox" or "segm", by AP_NAMES."""
        from pycocotools.cocoeval import COCOeval

        # With a box, COCO would take the box's area for the mask's.
        left_out = "segmentation" if kind == "bbox" else "bbox"
        entries = [
            {key: value for key, value in entry.items() if key != left_out}
            for entry in sorted(self.detections, key=lambda entry: entry["image_id"])
        ]
        if not entries:  # loadRes can't read nothing
            return dict.fromkeys(AP_NAMES[:3], 0.0) if self.truths else {}
        scoring = COCOeval(truth, truth.loadRes(entries), kind)
        scoring.evaluate()
        scoring.accumulate()
        scoring.summarize()
        figures = dict(zip(AP_NAMES, scoring.stats.tolist(), strict=False))
        return {name: value for name, value in figures.items() if value >= 0}  # -1: no truth


def _run_lengths(mask: torch.Tensor) -> dict[str, Any]:
    from pycocotools.mask import encode

    return encode(np.asfortranarray(mask.numpy().view(np.uint8)))


def _xywh(boxes: torch.Tensor) -> list[list[float]]:
    """Return boxes as COCO writes them: corner and size."""
    return torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], dim=1).tolist()


def _merge_over_processes(collected: Any) -> None:
    """Add to each process's collection those of the others, in place."""
    if collected is None:
        return
    everyone = distributed.gather(collected)
    for rank, other in enumerate(everyone):
        if rank != distributed.rank():
            collected.merge(other)


def _require_same_classes(model: PanopticFPN, dataset: PanopticDataset) -> None:
    num_things, num_stuff = len(things(dataset.categories)), len(stuff(dataset.categories))
    config = model.config
    if config.instance_branch:
        expected = (config.num_things, config.num_semantic - 1)
        fits = num_things == expected[0] and (
            not config.semantic_branch or num_stuff == expected[1]
        )
    else:
        expected = (config.num_things, config.num_semantic - config.num_things)
        fits = num_things + num_stuff == config.num_semantic
    if not fits:
        raise ValueError(
            f"data set: found {num_things} thing and {num_stuff} stuff classes, but the model was "
            f"trained on {expected[0]} and {expected[1]}. Is it the data set of this model?"
        )
