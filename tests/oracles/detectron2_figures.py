"""Our model beside detectron2's, stage by stage, on weights made from their names.

The reference figures hold samples of every tensor on detectron2's way through one image. Ours are
caught on the way of a real prediction, and of a real training step, by hooks: nothing is computed
for the test alone.
"""

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from torch import Tensor

import pfpn.predict
import pfpn.roi_heads
import pfpn.rpn
from pfpn.box_head import box_targets
from pfpn.boxes import iou
from pfpn.matching import FOREGROUND, match_by_iou
from pfpn.model import LOSS_NAMES, ModelConfig, PanopticFPN, total_loss
from pfpn.paste import paste_windows
from pfpn.predict import PredictConfig, Prediction, resize_image, resize_size
from pfpn.structures import Batch, Instances
from pfpn.zoo import detectron2_name, rename_detectron2
from tests.data_files.detectron2.keyed_weights import keyed_state_dict
from tests.data_files.detectron2.synthetic_image import synthetic_image

FIGURES = Path(__file__).resolve().parents[1] / "data_files" / "detectron2"

# case: (folder, image file or None for the synthetic one, shortest edge)
PHOTOGRAPHS = {"a256": "image_000000142238.png", "b256": "image_000000439180.png"}
SHORTEST_EDGE = {"s192": 192, "a256": 256, "b256": 256}
LONGEST_EDGE = 1333

# Tolerances, from what changes between builds of detectron2 itself
DENSE = 5e-5  # of the tensor's absolute maximum
SCORE = 2e-4
BOX = 5e-3  # pixels
PROB = 5e-4
PIXELS = 1e-4  # fraction of pixels
LOSS = 5e-5  # relative
GRADIENT = 5e-3  # relative
SAME_BOX = 0.999  # IoU from which two boxes are one
NEAR_TIES = 2  # rois of 512: proposals with nearly equal logits swap between processors

LEVELS = ("p2", "p3", "p4", "p5", "p6")
DENSE_STAGES = (
    "input",
    *(f"res{k}" for k in range(2, 6)),
    *LEVELS,
    "sem_logits_s4",
    *(f"{kind}_{level}" for level in LEVELS for kind in ("rpn_obj", "rpn_delta", "anchors")),
    "roi_box_feats",
    "box_hidden",
    "cls_logits",
    "box_deltas",
    "roi_mask_feats",
    "mask_logits",
    "sem_logits_out",
)
INFERENCE_STAGES = (
    *DENSE_STAGES,
    "proposals unmatched",
    "proposal_logits",
    "detections unmatched",
    "det_boxes_net",
    "det_boxes",
    "det_scores",
    "mask_probs",
    "det_masks",
    "sem_argmax",
    "panoptic",
    "segments_info",
)
OUR_LOSSES = {  # detectron2's name: ours
    "loss_rpn_cls": "loss_rpn_objectness",
    "loss_rpn_loc": "loss_rpn_box",
    "loss_cls": "loss_class",
    "loss_box_reg": "loss_box",
    "loss_mask": "loss_mask",
    "loss_sem_seg": "loss_semantic",
}
TRAINING_STAGES = (
    *LOSS_NAMES,
    "rpn_pos",
    "rpn_neg",
    "proposals unmatched",
    "rois unmatched",
    "roi labels",
    "roi gt_boxes",
    "mask_targets",
    "gradients missing",
    "gradient norms",
)

# Things of the training figures: (class, polygons in fractions of (width, height))
POLYGONS = (
    (0, (".10,.15 .32,.12 .36,.55 .22,.80 .08,.60",)),
    (17, (".45,.30 .60,.33 .52,.62", ".66,.40 .75,.42 .70,.70")),
    (56, (".20,.45 .90,.50 .88,.95 .24,.92",)),
    (2, (".80,.10 .86,.11 .85,.20 .79,.19",)),
    (79, (".40,.05 .78,.07 .78,.12 .40,.10",)),
)


@dataclass(frozen=True, slots=True)
class Deviation:
    """The worst difference of one stage, and how much of it is allowed."""

    error: float
    tolerance: float
    unit: str

    @property
    def is_fine(self) -> bool:
        return self.error <= self.tolerance  # NaN is not


def build_reference_model() -> PanopticFPN:
    """The full-size R-50 model with the keyed weights (a few seconds)."""
    shapes = json.loads((FIGURES / "key_shapes_r50.json").read_text())
    with patch("torch.nn.init.kaiming_normal_"), patch("torch.nn.init.kaiming_uniform_"):
        model = PanopticFPN(ModelConfig())  # initial values would only be overwritten
    model.load_state_dict(rename_detectron2(keyed_state_dict(shapes)))
    return model.eval()


def load_case(case: str, shared: Path | None) -> tuple[Path, Tensor]:
    """Return the folder of a case's figures and its image, uint8 RGB (3, h, w)."""
    if case == "s192":
        bgr = torch.from_numpy(synthetic_image())
        return FIGURES, bgr.flip(2).permute(2, 0, 1).contiguous()
    assert shared is not None
    folder = shared / "oracle" / "detectron2"
    with Image.open(folder / PHOTOGRAPHS[case]) as image:
        pixels = np.array(image.convert("RGB"))
    return folder, torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


@contextmanager
def spy(target: Any, name: str, seen: Callable[..., None]) -> Iterator[None]:
    """While open, call `seen` with the arguments and result of each call of `target.name`."""
    original = getattr(target, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        seen(args, result)
        return result

    with patch.object(target, name, wrapped):
        yield


def trace_prediction(
    model: PanopticFPN, image: Tensor, shortest_edge: int
) -> tuple[dict[str, Tensor], Prediction]:
    """Predict one image and keep every tensor of DENSE_STAGES, and more, on the way."""
    outputs: dict[str, Tensor] = {}
    planes: list[Tensor] = []

    def keep_backbone(_module: Any, args: Any, features: dict[str, Tensor]) -> None:
        outputs["input"] = args[0]
        outputs.update({f"res{k}": features[f"c{k}"] for k in range(2, 6)})

    def keep_rpn(_module: Any, args: Any, result: Any) -> None:
        for level, logits, deltas in zip(LEVELS, *result, strict=True):
            h, w = args[0][level].shape[2:]
            outputs[f"rpn_obj_{level}"] = logits.view(1, h, w, 3).permute(0, 3, 1, 2)
            outputs[f"rpn_delta_{level}"] = deltas.view(1, h, w, 12).permute(0, 3, 1, 2)

    def keep_box_head(_module: Any, args: Any, result: Any) -> None:
        outputs["roi_box_feats"] = args[0]
        outputs["cls_logits"] = result[0]
        outputs["box_deltas"] = result[1].flatten(1)

    def keep_proposals(_args: Any, result: Any) -> None:
        outputs["proposal_boxes"], outputs["proposal_logits"] = result[0][0], result[1][0]

    def keep_raw(_args: Any, raw: Any) -> None:
        detections = raw.detections[0]
        outputs["det_boxes_net"] = detections.boxes
        outputs["mask_probs"] = detections.mask_probs

    def put(name: str) -> Callable[..., None]:
        return lambda _module, _args, result: outputs.__setitem__(name, result)

    def put_input(name: str) -> Callable[..., None]:
        return lambda _module, args: outputs.__setitem__(name, args[0])

    hooks = [
        model.backbone.register_forward_hook(keep_backbone),
        model.fpn.register_forward_hook(lambda _module, _args, result: outputs.update(result)),
        model.semantic_head.register_forward_hook(put("sem_logits_s4")),
        model.rpn_head.register_forward_hook(keep_rpn),
        model.box_head.register_forward_hook(keep_box_head),
        model.box_head.classify.register_forward_pre_hook(put_input("box_hidden")),
        model.mask_head.convs[0].register_forward_pre_hook(put_input("roi_mask_feats")),
        model.mask_head.classify.register_forward_hook(put("mask_logits")),
    ]
    config = PredictConfig(shortest_edge=shortest_edge, longest_edge=LONGEST_EDGE)
    with ExitStack() as stack:
        for hook in hooks:
            stack.callback(hook.remove)
        stack.enter_context(spy(pfpn.rpn, "select_proposals", keep_proposals))
        stack.enter_context(
            spy(
                pfpn.rpn,
                "pyramid_anchors",
                lambda _args, result: outputs.update(
                    {f"anchors_{level}": a for level, a in zip(LEVELS, result, strict=True)}
                ),
            )
        )
        stack.enter_context(
            spy(
                pfpn.predict,
                "output_logits",
                lambda _args, result: planes.append(result[0]),  # a class at a time
            )
        )
        stack.enter_context(spy(model, "infer", keep_raw))
        prediction = pfpn.predict.predict(model, [image], config)[0]
    outputs["sem_logits_out"] = torch.cat(planes)
    return outputs, prediction


def match_boxes(
    boxes: Tensor, reference: Tensor, labels: Tensor | None = None, others: Tensor | None = None
) -> tuple[Tensor, int]:
    """Find, for each reference box, the one of `boxes` that is the same (and has its label).

    Returns:
        Its index per reference row, and how many reference boxes have no box of their own.
    """
    overlaps = iou(boxes.double(), reference.double())
    if labels is not None and others is not None:
        overlaps = overlaps * (labels[:, None] == others)
    best, index = overlaps.max(dim=0)
    missing = int((best <= SAME_BOX).sum())
    return index, missing + len(index) - len(index.unique())


def dense_error(ours: Tensor, figures: Any, name: str, rows: Tensor | None) -> float:
    """The worst difference of the sampled elements, as a fraction of the whole tensor's maximum.

    Args:
        ours: the whole tensor.
        figures: the reference.
        name: of the tensor in the reference.
        rows: our row for each of the reference's first rows, where rows have no fixed order; an
            unknown row is looked for within NEARBY ranks, as near ties swap between builds.
    """
    shape = tuple(figures[f"{name}.shape"])
    if tuple(ours.shape) != shape:
        return float("inf")
    flat = ours.detach().reshape(shape[0], -1)
    expected = torch.from_numpy(figures[name]).flatten()
    scale = float(figures[f"{name}.stats"][2])
    step = int(figures[f"{name}.step"]) if f"{name}.step" in figures else 1
    position = torch.arange(len(expected)) * step
    row, column = position // flat.shape[1], position % flat.shape[1]
    if rows is None:
        return float((flat[row, column] - expected).abs().max()) / scale
    known = row < len(rows)
    errors = torch.empty(len(expected))
    errors[known] = (flat[rows[row[known]], column[known]] - expected[known]).abs()
    nearby = torch.arange(-NEARBY, NEARBY + 1) + row[~known, None]
    values = flat[nearby.clamp(0, shape[0] - 1), column[~known, None]]
    errors[~known] = (values - expected[~known, None]).abs().amin(dim=1)
    return float(errors.max()) / scale


NEARBY = 3


def compare_inference(case: str, model: PanopticFPN, shared: Path | None) -> dict[str, Deviation]:
    """Predict one case and return each stage's deviation, in the order of INFERENCE_STAGES."""
    folder, image = load_case(case, shared)
    with np.load(folder / f"infer_{case}.npz") as file:
        z = {name: file[name] for name in file.files}
    outputs, prediction = trace_prediction(model, image, SHORTEST_EDGE[case])
    size = (image.shape[1], image.shape[2])

    def figure(name: str) -> Tensor:
        return torch.from_numpy(z[name])

    proposal_row, unmatched = match_boxes(outputs["proposal_boxes"], figure("proposal_boxes"))
    unmatched += abs(len(outputs["proposal_boxes"]) - int(z["proposal_boxes.shape"][0]))
    labels = prediction.detections.labels
    det_row, det_unmatched = match_boxes(
        outputs["det_boxes_net"], figure("det_boxes_net"), labels, figure("det_classes")
    )
    det_unmatched += abs(len(labels) - int(z["det_boxes_net.shape"][0]))

    deviations = {}
    for name in DENSE_STAGES:
        rows = None
        if name in ("roi_box_feats", "box_hidden", "cls_logits", "box_deltas"):
            rows = proposal_row
        elif name in ("roi_mask_feats", "mask_logits"):
            rows = det_row
        error = dense_error(outputs[name], z, name, rows)
        deviations[name] = Deviation(error, DENSE, "of absmax")

    def add(name: str, difference: Tensor, tolerance: float, unit: str) -> None:
        deviations[name] = Deviation(float(difference.abs().max()), tolerance, unit)

    boxes, scores = prediction.detections.boxes, prediction.detections.scores
    deviations["proposals unmatched"] = Deviation(unmatched, 0, "boxes")
    logits = outputs["proposal_logits"][proposal_row]
    add("proposal_logits", logits - figure("proposal_logits"), SCORE, "")
    deviations["detections unmatched"] = Deviation(det_unmatched, 0, "boxes")
    net_boxes = outputs["det_boxes_net"][det_row]
    add("det_boxes_net", net_boxes - figure("det_boxes_net"), BOX, "px")
    add("det_boxes", boxes[det_row] - figure("det_boxes"), BOX, "px")
    add("det_scores", scores[det_row] - figure("det_scores"), SCORE, "")
    probs = figure("mask_probs")
    add("mask_probs", outputs["mask_probs"][det_row[: len(probs)]] - probs, PROB, "")

    shape = tuple(z["det_masks.shape"])
    bits = np.unpackbits(z["det_masks.bits"])[: int(np.prod(shape))]
    expected_masks = torch.from_numpy(bits.reshape(shape)).bool()
    assert expected_masks.sum((1, 2)).tolist() == z["det_masks.area"].tolist()
    masks = torch.zeros((len(boxes), *size), dtype=torch.bool)
    windows = paste_windows(prediction.detections.mask_probs, boxes, size)
    for mask, window in zip(masks, windows, strict=True):
        h, w = window.mask.shape
        mask[window.top : window.top + h, window.left : window.left + w] = window.mask
    wrong = float((masks[det_row] != expected_masks).float().mean())
    deviations["det_masks"] = Deviation(wrong, PIXELS, "of pixels")

    wrong = float((prediction.label_map != figure("sem_argmax")).float().mean())
    deviations["sem_argmax"] = Deviation(wrong, PIXELS, "of pixels")
    wrong = float((prediction.panoptic.id_map != figure("panoptic")).float().mean())
    deviations["panoptic"] = Deviation(wrong, PIXELS, "of pixels")
    expected = [
        (s["id"], s["isthing"], s["category_id"]) for s in json.loads(str(z["segments_info"]))
    ]
    got = [(s.id, s.is_thing, s.label) for s in prediction.panoptic.segments]
    differing = len(set(got) ^ set(expected))
    deviations["segments_info"] = Deviation(differing, 0, "segments")
    return deviations


def rasterise(size: tuple[int, int]) -> Tensor:
    """The training figures' things as bitmasks."""
    masks = []
    for _, polygons in POLYGONS:
        corners = [
            [float(v) * size[1 - i % 2] for i, v in enumerate(polygon.replace(",", " ").split())]
            for polygon in polygons
        ]
        rle = coco_mask.merge(coco_mask.frPyObjects(corners, *size))
        with warnings.catch_warnings():  # of pycocotools about NumPy 2
            warnings.simplefilter("ignore", DeprecationWarning)
            masks.append(torch.from_numpy(coco_mask.decode(rle)).bool())
    return torch.stack(masks)


def draw_evenly(candidates: Tensor, num: int, rng: torch.Generator) -> Tensor:
    """Return `num` candidates at equal distances, as the figures do instead of a random draw."""
    num = min(num, len(candidates))
    return candidates[torch.arange(num) * len(candidates) // max(1, num)]


def compare_training(case: str, model: PanopticFPN, shared: Path | None) -> dict[str, Deviation]:
    """Take the six losses and their gradient of one case; as `compare_inference`."""
    folder, image = load_case(case, shared)
    with np.load(folder / f"train_{case}_bitmask.npz") as file:
        z = {name: file[name] for name in file.files}
    size = resize_size((image.shape[1], image.shape[2]), SHORTEST_EDGE[case], LONGEST_EDGE)
    truth = Instances(
        torch.from_numpy(z["gt_boxes_0"]),
        torch.from_numpy(z["gt_classes_0"]),
        rasterise(size),
    )
    assert truth.labels.tolist() == [label for label, _ in POLYGONS]
    label_map = torch.from_numpy(z["sem_seg_0"]).long()
    batch = Batch([resize_image(image, size)], [truth], [label_map], [0])

    anchors: list[Any] = []
    proposals: list[Any] = []
    drawn: list[Any] = []
    targets: list[Any] = []
    reference = torch.from_numpy(z["sampled_boxes_0"])

    def take_reference_rois(boxes: Tensor, truth: Instances, **settings: Any) -> Any:
        """Draw as the model does, but train on detectron2's rois, which near ties cannot change."""
        drawn.append(box_targets(boxes, truth, **settings))
        candidates = torch.cat([boxes, truth.boxes])
        rois = candidates[iou(candidates.double(), reference.double()).argmax(dim=0)]
        threshold = settings["threshold"]
        matched, kinds = match_by_iou(iou(rois, truth.boxes), threshold, threshold, keep_best=False)
        labels = truth.labels[matched].where(kinds == FOREGROUND, settings["num_things"])
        return rois, labels, matched

    with ExitStack() as stack:
        stack.enter_context(patch("pfpn.matching.draw", draw_evenly))
        stack.enter_context(patch("pfpn.roi_heads.box_targets", take_reference_rois))
        for target, name, kept in (
            (pfpn.rpn, "sample_balanced", anchors),
            (pfpn.rpn, "select_proposals", proposals),
            (pfpn.roi_heads, "mask_targets", targets),
        ):
            stack.enter_context(
                spy(target, name, lambda _args, result, kept=kept: kept.append(result))
            )
        model.zero_grad()
        losses = model.losses(batch, torch.Generator())
        total_loss(losses, model.config).backward()

    deviations = {}
    for theirs, ours in OUR_LOSSES.items():
        expected = float(z[theirs])
        if ours == "loss_semantic":
            expected /= model.config.semantic_weight  # detectron2 has weighted it already
        error = abs(float(losses[ours].detach()) - expected) / expected
        deviations[ours] = Deviation(error, LOSS, "relative")

    for name, index in zip(("rpn_pos", "rpn_neg"), anchors[0], strict=True):
        kept = torch.from_numpy(z[f"{name}_0"])
        differing = len(set(kept.tolist()) ^ set(index.sort().values[: len(kept)].tolist()))
        deviations[name] = Deviation(differing, 0, "anchors")
    _, unmatched = match_boxes(proposals[0][0][0], torch.from_numpy(z["train_proposals_0"]))
    deviations["proposals unmatched"] = Deviation(unmatched, 0, "boxes")

    rois, labels, matched = drawn[0]
    row, unmatched = match_boxes(rois, reference)
    unmatched += abs(len(rois) - len(reference))
    deviations["rois unmatched"] = Deviation(unmatched, NEAR_TIES, "boxes")
    is_same = iou(rois.double(), reference.double()).amax(dim=0) > SAME_BOX
    expected = torch.from_numpy(z["sampled_classes_0"])
    wrong = int((labels[row] != expected)[is_same].sum())
    deviations["roi labels"] = Deviation(wrong, 0, "labels")
    foreground = expected < model.config.num_things
    expected = torch.from_numpy(z["sampled_gt_boxes_0"])
    error = (truth.boxes[matched[row]] - expected)[foreground & is_same].abs().max()
    deviations["roi gt_boxes"] = Deviation(float(error), BOX, "px")

    shape = tuple(z["mask_targets_0.shape"])
    bits = np.unpackbits(z["mask_targets_0.bits"])[: int(np.prod(shape))].reshape(shape)
    wrong_bins = targets[0] != torch.from_numpy(bits).bool()
    deviations["mask_targets"] = Deviation(float(wrong_bins.float().mean()), PIXELS, "of bins")

    norms = {
        name: float(p.grad.double().norm())
        for name, p in model.named_parameters()
        if p.grad is not None
    }
    names = [detectron2_name(str(name)) for name in z["grad_names"]]
    deviations["gradients missing"] = Deviation(len(set(names) ^ set(norms)), 0, "parameters")
    ratios = [
        abs(norms.get(str(name), 0.0) - row[0]) / row[0]
        for name, row in zip(names, z["grad_stats"], strict=True)
    ]
    deviations["gradient norms"] = Deviation(max(ratios), GRADIENT, "relative")
    return deviations


def table(title: str, deviations: dict[str, Deviation]) -> str:
    rows = [f"{title:<24} {'worst':>10} {'allowed':>10}"]
    rows += [
        f"  {name:<22} {d.error:>10.2g} {d.tolerance:>10.2g} {d.unit}"
        for name, d in deviations.items()
    ]
    return "\n".join(rows)
