"""Refuse unsuitable numbers, images, labels and maps, each with one line that says what to do."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pfpn.structures import VOID, Category, Panoptic, Segment

# What each number of ModelConfig may be. The upper ends only keep a slip of the pen from filling
# the memory.
COUNT, PROPOSALS, FRACTION, WEIGHT = (1, 10**6), (0, 10**6), (0, 1), (0, 1e6)
CHANNELS, PIXELS = (1, 2**16), (1e-3, 1e6)
# fmt: off
MODEL_RANGES: dict[str, tuple[float, float]] = {
    "num_things": (0, 10**5),
    "pixel_mean": (-1e6, 1e6), "pixel_std": (1e-6, 1e6),
    "width": (1 / 64, 16), "frozen_stages": (0, 5),
    "pyramid_channels": CHANNELS, "semantic_channels": CHANNELS,
    "anchor_sides": PIXELS, "anchor_ratios": (1e-3, 1e3),
    "rpn_low": FRACTION, "rpn_high": FRACTION, "rpn_samples": COUNT,
    "rpn_positive_fraction": FRACTION, "rpn_nms_threshold": FRACTION,
    "train_proposals_per_level": PROPOSALS, "train_proposals": PROPOSALS,
    "test_proposals_per_level": PROPOSALS, "test_proposals": PROPOSALS,
    "roi_canonical_size": PIXELS, "roi_sampling_ratio": (0, 64),
    "box_bins": (1, 64), "box_hidden": CHANNELS, "box_threshold": FRACTION,
    "box_samples": COUNT, "box_positive_fraction": FRACTION, "min_score": FRACTION,
    "box_nms_threshold": FRACTION, "max_detections": COUNT,
    "mask_bins": (1, 128), "mask_channels": CHANNELS, "mask_convs": (0, 64),
    "cross_entropy_weight": WEIGHT, "lovasz_weight": WEIGHT, "lovasz_bins": (0, 10**6),
    "instance_weight": WEIGHT, "semantic_weight": WEIGHT,
}
# fmt: on


def require_images(images: Sequence[Tensor], where: str) -> None:
    """Raise ValueError unless each image is a uint8 tensor (3, h, w) of at least one pixel.

    Args:
        images: anything that a user may pass.
        where: the name of the function for the message.
    """
    if isinstance(images, Tensor) and images.ndim == 3:
        raise ValueError(
            f"{where}: found one tensor of shape {tuple(images.shape)}, expected a list of images. "
            f"Try {where}(model, [image])."
        )
    for i, image in enumerate(images):
        if isinstance(image, Tensor):
            if image.dtype == torch.uint8 and image.ndim == 3 and len(image) == 3 and image.numel():
                continue
            found = f"a tensor of {image.dtype} and shape {tuple(image.shape)}"
            remedy = _remedy(image)
        elif isinstance(image, np.ndarray):
            found = f"a NumPy array of {image.dtype} and shape {image.shape}"
            remedy = "torch.from_numpy(image).permute(2, 0, 1), if it is uint8 (h, w, 3) and RGB"
        elif type(image).__module__.split(".")[0] == "PIL":  # which need not be imported for this
            found = f"a PIL image of mode {image.mode} and size {image.size}"
            remedy = 'torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)'
        else:
            found = type(image).__name__
            remedy = "pfpn.data.coco.read_image(path), if it is a path"
        raise ValueError(
            f"{where}: image {i}: found {found}, expected a tensor of torch.uint8 and shape "
            f"(3, h, w), RGB. Try {remedy}."
        )


def _remedy(image: Tensor) -> str:
    """Say how an unsuitable tensor becomes uint8 (3, h, w)."""
    if image.dtype != torch.uint8:
        return "(255 * image).round().to(torch.uint8), if its values lie in 0..1"
    if image.ndim == 3 and image.shape[2] == 3:
        return "image.permute(2, 0, 1)"
    if image.ndim == 2 or (image.ndim == 3 and len(image) == 1):
        return "image.expand(3, -1, -1), if it is gray"
    if image.ndim == 3 and len(image) == 4:
        return "image[:3], if its last channel is alpha"
    return "one image of at least one pixel for each entry"


def require_scores(scores: Any, labels: Any, has_classes: bool = True) -> None:
    """Raise ValueError unless there is one hard label for each pixel of the scores of a loss.

    Args:
        scores: floating point, (b, c, ...).
        labels: integers or booleans, (b, ...).
        has_classes: False for one score for each pixel, (b, ...).
    """
    for name, given in (("scores", scores), ("labels", labels)):
        if not isinstance(given, Tensor):
            raise ValueError(
                f"{name}: found {type(given).__name__}, expected a tensor. Try torch.as_tensor."
            )
    if not scores.dtype.is_floating_point:
        raise ValueError(
            f"scores: found {scores.dtype}, expected floating point. Predicted labels, as argmax "
            "gives them, have no gradient: use the logits or probabilities that they come from."
        )
    require_hard_labels(labels)
    expected = (*scores.shape[:1], *scores.shape[2:]) if has_classes else tuple(scores.shape)
    if scores.ndim < 1 + has_classes or labels.shape != expected:
        raise ValueError(
            f"Scores of shape {tuple(scores.shape)} do not fit labels of shape "
            f"{tuple(labels.shape)}. {_fitting(scores, labels, has_classes)}"
        )


def _fitting(scores: Tensor, labels: Tensor, has_classes: bool) -> str:
    """Say how scores and labels of shapes that do not fit may be brought together."""
    if labels.ndim > 1 and labels.shape == (*scores.shape[:1], 1, *scores.shape[1 + has_classes :]):
        return "Try labels.squeeze(1)."
    if has_classes and labels.shape == scores.shape:
        return "Are the labels one-hot? Try labels.argmax(1)."
    if has_classes and labels.shape == scores.shape[:-1]:
        return "Are the classes the last axis? Try scores.movedim(-1, 1)."
    if has_classes and labels.shape == scores.shape[1:]:
        return "Is this one image? Try scores[None] and labels[None]."
    if not has_classes and labels.shape == (*scores.shape[:1], *scores.shape[2:]):
        return "Try scores.squeeze(1), or a loss of several classes."
    return "Are the scores brought to the size of the labels?"


def require_hard_labels(labels: Tensor) -> None:
    """Raise ValueError unless the labels are integers or booleans.

    Cut to integers, a mask of 0..1 from a bilinear resize would be background everywhere.
    """
    dtype = labels.dtype
    if dtype.is_floating_point or dtype.is_complex:
        raise ValueError(
            f"labels: found {dtype}, expected integers or booleans: one class per pixel. Resize "
            "label maps with mode='nearest', or turn soft labels into hard ones first: mask > 0.5, "
            "or probs.argmax(1). To learn from soft labels themselves, use "
            "torch.nn.functional.cross_entropy with probabilities."
        )


def require_id_maps(gt: NDArray[Any], pred: NDArray[Any]) -> None:
    """Raise ValueError unless both are maps (h, w) of integers, of one size."""
    for array in (gt, pred):
        if array.ndim != 2 or array.dtype.kind not in "biu":
            hint = "Update once for each image of a batch: ids of two images differ."
            if array.ndim == 2:
                hint = "Read and resize id maps without interpolation, and try id_map.long()."
            raise ValueError(
                f"id map: found {array.dtype} values of shape {array.shape}, expected integers of "
                f"shape (h, w). {hint}"
            )
    if gt.shape != pred.shape:
        raise ValueError(
            f"id maps of one image: found a prediction of size {pred.shape}, expected the truth's "
            f"{gt.shape}. Predict at the original image size."
        )


def require_labels(pairs: Iterable[tuple[int, int]], num: int, ignore: int) -> None:
    """Raise ValueError unless all labels of pairs are 0 to num - 1, or `ignore`."""
    for label in (label for pair in pairs for label in pair):
        if label >= num and label != ignore:
            raise ValueError(
                f"label map: found label {label}, expected 0 to {num - 1} or {ignore} for none"
            )


def require_listed(segments: Sequence[Segment], areas: Mapping[int, int], whose: str) -> None:
    """Raise ValueError unless the segments are those of the map, each listed once.

    Args:
        segments: as listed.
        areas: pixels by id, as counted in the map.
        whose: truth or prediction, for the message.
    """
    listed = sorted(segment.id for segment in segments)
    painted = sorted(areas.keys() - {VOID})
    if listed != painted:
        once = {i for i in listed if listed.count(i) == 1}
        raise ValueError(
            f"{whose}: segment ids {sorted(once.symmetric_difference(painted))[:5]} are in the map "
            "and not listed once in segments, or listed and not in the map; expected each id of "
            "the map listed once, and never VOID"
        )


def require_panoptic(gt: Any, prediction: Any) -> None:
    """Raise ValueError unless both are a `Panoptic`, not a map alone."""
    for whose, given in (("truth", gt), ("prediction", prediction)):
        if not isinstance(given, Panoptic):
            raise ValueError(
                f"{whose}: found {type(given).__name__}, expected a Panoptic of an id map and its "
                "segments. For maps of class and instance try pfpn.metric.PanopticMetric."
            )


def require_categories(categories: Sequence[Any]) -> None:
    """Raise ValueError unless all are a `Category`, each id once."""
    for category in categories:
        if not isinstance(category, Category):
            raise ValueError(
                f"categories: found {type(category).__name__}, expected pfpn.structures.Category. "
                'Try Category(1, "cat", is_thing=True).'
            )
    twice = [i for i, num in Counter(category.id for category in categories).items() if num > 1]
    if twice:
        raise ValueError(f"categories: found id {twice[0]} twice, expected each id once")


def require_same_type(one: Any, other: Any) -> None:
    """Raise ValueError unless the second can be merged into the first."""
    if not isinstance(other, type(one)):
        raise ValueError(
            f"merge: found {type(other).__name__}, expected another {type(one).__name__}"
        )
