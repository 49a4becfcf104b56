"""Predict a panoptic map at the image's own size: resize, network, merge."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor

from pfpn.boxes import clip, is_nonempty, rescale
from pfpn.inputs import require_images
from pfpn.merge import merge, segments_from_labels
from pfpn.model import ModelConfig, PanopticFPN
from pfpn.paste import paste_windows
from pfpn.semantic import upsample_logits
from pfpn.structures import Detections, Panoptic


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictConfig:
    """How images are resized and the two branches merged; defaults as in detectron2."""

    shortest_edge: int = 800  # pixels; 0 keeps the image's own size
    longest_edge: int = 1333  # pixels; the shortest edge gives way
    min_score: float = 0.5  # an instance below takes no part in the panoptic map
    max_overlap: float = 0.5  # fraction of an instance that better ones may hide
    min_stuff_area: int = 4096  # pixels of the output; smaller regions become void
    softer: bool = False  # let the more confident of stuff and instance win
    margin: float = 0.0  # by which stuff has to be more confident; softer only

    def __post_init__(self) -> None:
        ranges = dict.fromkeys(("min_score", "max_overlap", "margin"), (0, 1))
        ranges |= {"shortest_edge": (0, 10**5), "longest_edge": (1, 10**5)}
        ranges |= {"min_stuff_area": (0, 10**10)}
        for field, (low, high) in ranges.items():
            if not low <= getattr(self, field) <= high:  # NaN is not
                raise ValueError(
                    f"PredictConfig.{field}: found {getattr(self, field)}, expected a number in "
                    f"[{low}, {high}]"
                )


@dataclass(frozen=True, slots=True)
class Prediction:
    """The model's prediction for one image, in pixels of that image."""

    panoptic: Panoptic
    detections: Detections  # boxes in pixels of the image
    label_map: Int[Tensor, "h w"]  # the semantic branch's best label; all 0 without that branch


def resize_size(size: tuple[int, int], shortest: int, longest: int) -> tuple[int, int]:
    """Return the network size of an image of `size` (height, width).

    The shortest edge becomes `shortest`, unless the longest would exceed `longest`; the aspect
    ratio is kept up to rounding, and no side becomes 0. `shortest` 0 keeps the size.
    """
    height, width = size
    if shortest == 0:
        return size
    # In this order and in doubles, so that halves round as in detectron2.
    scale = shortest / min(height, width)
    new_h, new_w = (shortest, scale * width) if height < width else (scale * height, shortest)
    if max(new_h, new_w) > longest:
        shrink = longest / max(new_h, new_w)
        new_h, new_w = new_h * shrink, new_w * shrink
    return max(1, int(new_h + 0.5)), max(1, int(new_w + 0.5))


def resize_image(image: UInt8[Tensor, "3 _h _w"], size: tuple[int, int]) -> UInt8[Tensor, "3 h w"]:
    """Resize to `size` (height, width), bilinear and antialiased, rounded to whole values.

    By PIL, because published weights saw PIL's rounding: torch's antialiased resize of bytes
    differs by 1 in about 0.4 % of the values, which random weights turn into other proposals.
    """
    if tuple(image.shape[1:]) == size:
        return image
    pixels = np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy())
    resized = Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1).to(image.device)


@torch.no_grad()
def predict(
    model: PanopticFPN,
    images: Sequence[UInt8[Tensor, "3 _h _w"]],
    config: PredictConfig | None = None,
    *,
    all_detections: bool = True,
) -> list[Prediction]:
    """Return a prediction for each image, at that image's own size.

    One image at a time enters the network, as for every published figure: padding to a common size
    would change the features.

    Args:
        model: on any device, in eval mode or not (it is put into eval mode meanwhile).
        images: uint8 and RGB, of any sizes from 1x1 up; anything else is a ValueError.
        config: see PredictConfig.
        all_detections: also return those below `min_score`, which box and mask AP need. Without
            them most masks need not be computed; the panoptic map is the same.
    """
    require_images(images, "predict")
    config = config or PredictConfig()
    was_training = model.training
    is_changed = any(module.training for module in model.modules())
    if is_changed:  # which sets an attribute of every module
        model.eval()
    try:
        return [_predict_one(model, image, config, all_detections) for image in images]
    finally:
        if is_changed:
            model.train(was_training)


def _predict_one(
    model: PanopticFPN, image: Tensor, config: PredictConfig, all_detections: bool
) -> Prediction:
    size = (image.shape[1], image.shape[2])
    net_size = resize_size(size, config.shortest_edge, config.longest_edge)
    resized = resize_image(image, net_size).to(next(model.parameters()).device)
    raw = model.infer([resized], None if all_detections else config.min_score)

    detections = to_output(raw.detections[0], net_size, size)
    label_map, best = output_labels(raw.semantic_logits, net_size, size)
    confidence = None
    if config.softer and model.config.semantic_branch:
        confidence = output_confidence(raw.semantic_logits, best, net_size, size)
    del best  # memory
    panoptic = to_panoptic(detections, label_map, confidence, model.config, config)
    return Prediction(panoptic, detections, label_map)


def to_output(
    detections: Detections, net_size: tuple[int, int], size: tuple[int, int]
) -> Detections:
    """Scale boxes from the network's input to the image; drop those that become empty."""
    scale = (size[0] / net_size[0], size[1] / net_size[1])  # two factors: each side was rounded
    boxes = clip(rescale(detections.boxes, scale), size)
    return replace(detections, boxes=boxes)[is_nonempty(boxes)]


def output_logits(
    logits: Float[Tensor, "b c h4 w4"], net_size: tuple[int, int], size: tuple[int, int]
) -> Float[Tensor, "b c h w"]:
    """Resize semantic logits from stride 4 to the image, in two bilinear steps.

    First to the padded network size, cut to the unpadded one, then to the image: a single step
    would change several percent of the labels.
    """
    at_network = upsample_logits(logits.float())[..., : net_size[0], : net_size[1]]
    if net_size == size:
        return at_network
    return F.interpolate(at_network, size=size, mode="bilinear", align_corners=False)


def output_labels(
    logits: Float[Tensor, "1 c h4 w4"], net_size: tuple[int, int], size: tuple[int, int]
) -> tuple[Int[Tensor, "h w"], Float[Tensor, "h w"]]:
    """Return the best label and its logit for every pixel of an image; label 0 without classes.

    Classes are resized one by one, so that memory does not grow with their number: 54 classes of
    48 megapixels would take 10 GB at once. Of equal logits the first wins.
    """
    label_map = torch.zeros(size, dtype=torch.int64, device=logits.device)
    best = torch.full(size, -math.inf, device=logits.device)
    for label in range(logits.shape[1]):
        values = output_logits(logits[:, label : label + 1], net_size, size)[0, 0]
        label_map.masked_fill_(values > best, label)
        torch.maximum(best, values, out=best)
    return label_map, best


def output_confidence(
    logits: Float[Tensor, "1 c h4 w4"],
    best: Float[Tensor, "h w"],
    net_size: tuple[int, int],
    size: tuple[int, int],
) -> Float[Tensor, "h w"]:
    """Return the softmax probability of the best label, whose logit is `best`, in [0, 1]."""
    total = torch.zeros_like(best)
    for label in range(logits.shape[1]):
        values = output_logits(logits[:, label : label + 1], net_size, size)[0, 0]
        total += values.sub_(best).exp_()
    return total.reciprocal_()


def to_panoptic(
    detections: Detections,
    label_map: Int[Tensor, "h w"],
    confidence: Float[Tensor, "h w"] | None,
    model: ModelConfig,
    config: PredictConfig,
) -> Panoptic:
    """Merge both branches, or turn the only one there is into a panoptic map.

    `confidence` is the probability of the best label, for the softer rule.
    """
    if not model.instance_branch:
        return segments_from_labels(
            label_map, num_things=model.num_things, min_area=config.min_stuff_area
        )
    confident = detections[detections.scores >= config.min_score]
    size = (label_map.shape[0], label_map.shape[1])
    return merge(
        paste_windows(confident.mask_probs, confident.boxes, size),
        confident.scores,
        confident.labels,
        label_map,
        min_score=config.min_score,
        max_overlap=config.max_overlap,
        min_stuff_area=config.min_stuff_area,
        stuff_confidence=confidence,
        margin=config.margin,
    )
