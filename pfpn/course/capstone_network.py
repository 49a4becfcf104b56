"""The network of the capstones: a Panoptic FPN whose parts a learner can replace one by one.

`Network.trace` keeps the result of every stage, by which a learner's network and the package's are
compared; `Network.outputs` is what the losses of a training are computed from.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from pfpn.box_head import BOX_WEIGHTS, box_targets
from pfpn.boxes import encode, iou
from pfpn.course.capstone_parts import (
    FUNCTIONS,
    Size,
    StageError,
    attempt,
    build,
    join,
    kind,
    load_by_name,
    module_arguments,
)
from pfpn.fpn import STRIDES, Pyramid
from pfpn.mask_head import mask_targets
from pfpn.matching import BACKGROUND, FOREGROUND, match_by_iou, sample_balanced
from pfpn.model import PanopticFPN, stack_label_maps
from pfpn.predict import PredictConfig, output_labels
from pfpn.rpn import RPN_BOX_WEIGHTS
from pfpn.semantic import upsample_logits
from pfpn.structures import VOID, Batch, Instances, Panoptic, Segment

LEVELS = ("p5", "p4", "p3", "p2", "p6")  # in the order in which an FPN computes them


@dataclass(frozen=True, slots=True)
class Outputs:
    """What the six losses of a batch are computed from, with gradients.

    Anchors and rois are those that were sampled. The deltas of `anchor_targets` and `roi_targets`
    would turn the box exactly into the true one.
    """

    anchor_logits: Float[Tensor, " n"]  # objectness
    anchor_is_object: Bool[Tensor, " n"]
    anchor_deltas: Float[Tensor, "f 4"]  # of the anchors on objects only
    anchor_targets: Float[Tensor, "f 4"]
    max_anchors: int  # that may be sampled in the batch: both losses of the RPN are divided by it
    class_logits: Float[Tensor, "k t1"]  # things, then background
    roi_labels: Int[Tensor, " k"]  # the background's is t
    roi_deltas: Float[Tensor, "k t 4"]
    roi_targets: Float[Tensor, "k 4"]  # without meaning for background
    mask_logits: Float[Tensor, "m s s"]  # of the rois that are not background
    mask_targets: Bool[Tensor, "m s s"]
    semantic_logits: Float[Tensor, "b c h w"]  # at the size of the images
    semantic_labels: Int[Tensor, "b h w"]  # IGNORE = 255 where a pixel does not count


class Network(nn.Module):
    """A Panoptic FPN made of replaceable parts.

    Args:
        trained: gives the settings and, if `pretrained`, all weights.
        predict: settings of merging.
        parts: the learner's, by their names in MODULES and FUNCTIONS; all others are the package's.
        pretrained: start from the weights of `trained`. Otherwise every weight is drawn anew, as
            the package draws it.

    A learner's module gets the weights of the package's module that it replaces, by name, in both
    cases: networks that compute the same also train the same, number for number.

    Raises:
        StageError: a module cannot be built, or the weights do not fit into it.
    """

    def __init__(
        self,
        trained: PanopticFPN,
        predict: PredictConfig,
        parts: Mapping[str, Callable[..., Any]],
        *,
        pretrained: bool = True,
    ):
        super().__init__()
        self.config, self.predict = trained.config, predict
        fresh = PanopticFPN(trained.config)  # normalizes and stacks images; has the backbone
        self.package = fresh
        if pretrained:
            fresh.load_state_dict(trained.state_dict())
        for name, arguments in module_arguments(trained).items():
            module = getattr(fresh, name)
            if name in parts:
                module = build(parts[name], arguments, name)
                load_by_name(module, getattr(fresh, name).state_dict(), name)
                setattr(fresh, name, module)
        self.functions = {name: parts.get(name, own) for name, own in FUNCTIONS.items()}

    def __getitem__(self, name: str) -> nn.Module:
        module = getattr(self.package, name)
        assert isinstance(module, nn.Module)
        return module

    # Stages: each one checks what a part returned ---------------------------------------------

    def pyramid(self, features: dict[str, Tensor]) -> Pyramid:
        """Return p2..p6 in this order."""
        maps = attempt("pyramid", self["fpn"], features)
        if not isinstance(maps, Mapping) or not set(LEVELS) <= set(maps):
            found = sorted(maps) if isinstance(maps, Mapping) else type(maps).__name__
            raise StageError("pyramid", f"expected a dict with the keys p2 to p6, found {found}")
        return {level: maps[level] for level in STRIDES}

    def anchors(self, pyramid: Pyramid) -> list[Tensor]:
        """Return the anchors of each level."""
        make, c = self.functions["anchors"], self.config
        return [
            attempt("anchors", make, tuple(maps.shape[2:]), STRIDES[level], side, c.anchor_ratios)
            for (level, maps), side in zip(pyramid.items(), c.anchor_sides, strict=True)
        ]

    def rpn(self, pyramid: Pyramid) -> tuple[list[Tensor], list[Tensor]]:
        """Return objectness logits (b, n) and deltas (b, n, 4) of each level."""
        returned = attempt("objectness", self["rpn_head"], pyramid)
        if not isinstance(returned, tuple) or len(returned) != 2:
            raise StageError("objectness", f"expected two lists, found {kind(returned)}")
        logits, deltas = (list(part) for part in returned)
        return logits, deltas

    def propose(
        self,
        anchors: list[Tensor],
        logits: list[Tensor],
        deltas: list[Tensor],
        image: int,
        size: Size,
    ) -> Tensor:
        """Return the proposals of one image of the batch."""
        c = self.config
        levels = [part[image] for part in logits], [part[image] for part in deltas]
        with torch.no_grad():
            boxes = attempt(
                "proposals",
                self.functions["proposals"],
                anchors,
                *levels,
                size,
                max_per_level=c.test_proposals_per_level,
                max_total=c.test_proposals,
                nms_threshold=c.rpn_nms_threshold,
            )
        if not isinstance(boxes, Tensor) or boxes.ndim != 2 or boxes.shape[1] != 4:
            raise StageError("proposals", f"expected boxes of shape (k, 4), found {kind(boxes)}")
        return boxes

    def pool(self, pyramid: Pyramid, image: int, boxes: Tensor, bins: int) -> Tensor:
        """Return the features of boxes of one image of the batch."""
        features = {level: maps[image] for level, maps in pyramid.items() if level != "p6"}
        found = attempt(
            f"features on {bins} x {bins}",
            self.functions["pool"],
            features,
            boxes,
            bins,
            canonical_size=self.config.roi_canonical_size,
        )
        expected = (len(boxes), len(features["p2"]), bins, bins)
        if not isinstance(found, Tensor) or found.shape != expected:
            raise StageError(
                f"features on {bins} x {bins}",
                f"expected the shape {expected}, found {kind(found)}",
            )
        return found

    def classify(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the class logits (n, t + 1) and the deltas (n, t, 4) of boxes."""
        returned = attempt("class logits", self["box_head"], features)
        if not isinstance(returned, tuple) or len(returned) != 2:
            raise StageError("class logits", f"expected two tensors, found {kind(returned)}")
        return returned

    def detect(
        self, logits: Tensor, deltas: Tensor, boxes: Tensor, size: Size
    ) -> tuple[Tensor, ...]:
        """Return boxes, scores and labels of one image."""
        c = self.config
        returned = attempt(
            "detections",
            self.functions["detect"],
            logits,
            deltas,
            boxes,
            size,
            min_score=c.min_score,
            nms_threshold=c.box_nms_threshold,
            max_detections=c.max_detections,
        )
        if not isinstance(returned, tuple) or len(returned) != 3:
            raise StageError(
                "detections", f"expected boxes, scores, labels, found {kind(returned)}"
            )
        return returned

    def merge(self, masks: Tensor, scores: Tensor, labels: Tensor, label_map: Tensor) -> Panoptic:
        """Return the panoptic map of one image."""
        p = self.predict
        returned = attempt(
            "panoptic map",
            self.functions["merge"],
            masks,
            scores,
            labels,
            label_map,
            min_score=p.min_score,
            max_overlap=p.max_overlap,
            min_stuff_area=p.min_stuff_area,
        )
        return self._panoptic(returned)

    def _panoptic(self, returned: Any) -> Panoptic:
        """Return a learner's id map and list of segments as a panoptic map."""
        stage, c = "panoptic map", self.config
        if not isinstance(returned, tuple) or len(returned) != 2:
            expected = "expected an id map and a list of segments"
            raise StageError(stage, f"{expected}, found {kind(returned)}")
        id_map, rows = returned
        listed, present = {row[0] for row in rows}, set(id_map.unique().tolist()) - {VOID}
        if listed != present:
            raise StageError(
                stage,
                f"the list has the ids {sorted(listed)}, the id map {sorted(present)}: expected "
                "the same, each id of the map once in the list",
            )
        for number, label, is_thing in rows:
            name, low, high = "stuff", 1, c.num_semantic - 1
            if is_thing:
                name, low, high = "a thing", 0, c.num_things - 1
            if not low <= label <= high:
                raise StageError(
                    stage,
                    f"segment {number} has the label {label}; {name} has the labels {low} to "
                    f"{high}",
                )
        return Panoptic(id_map, tuple(Segment(i, label, thing) for i, label, thing in rows))

    # Whole passes -----------------------------------------------------------------------------

    @torch.no_grad()
    def trace(self, image: UInt8[Tensor, "3 h w"], stages: dict[str, Any]) -> None:
        """Write the result of every stage for one image into `stages`, "panoptic map" last.

        Where a part fails, `stages` holds what came before it.
        """
        stacked, sizes = self.package.stack([image])
        size = sizes[0]
        pyramid = self.pyramid(self.package.backbone(stacked))
        stages |= {level: pyramid[level] for level in LEVELS}
        logits = stages["semantic logits"] = attempt(
            "semantic logits", self["semantic_head"], pyramid
        )
        if not isinstance(logits, Tensor) or logits.ndim != 4:
            raise StageError("semantic logits", f"expected (1, c, h, w), found {kind(logits)}")
        label_map = stages["label map"] = output_labels(logits, size, size)[0]
        grid = self.anchors(pyramid)
        stages["anchors"] = join(grid, "anchors")
        objectness, deltas = self.rpn(pyramid)
        stages["objectness"] = join([part[0] for part in objectness], "objectness")
        stages["deltas"] = join([part[0] for part in deltas], "deltas")
        boxes = stages["proposals"] = self.propose(grid, objectness, deltas, 0, size)
        bins = self.config.box_bins
        features = stages[f"features on {bins} x {bins}"] = self.pool(pyramid, 0, boxes, bins)
        class_logits, moves = self.classify(features)
        stages["class logits"], stages["box deltas"] = class_logits, moves
        boxes, scores, labels = self.detect(class_logits, moves, boxes, size)
        stages["detections"] = boxes, scores, labels
        keep = scores >= self.predict.min_score
        boxes, scores, labels = boxes[keep], scores[keep], labels[keep]
        bins = self.config.mask_bins
        features = stages[f"features on {bins} x {bins}"] = self.pool(pyramid, 0, boxes, bins)
        probs = attempt("masks in boxes", self["mask_head"], features, labels).sigmoid()
        stages["masks in boxes"] = probs
        masks = stages["masks"] = attempt("masks", self.functions["paste"], probs, boxes, size)
        stages["panoptic map"] = self.merge(masks, scores, labels, label_map)

    def outputs(self, batch: Batch, rng: torch.Generator) -> Outputs:
        """Return what the six losses of a batch need; anchors and rois are drawn with `rng`."""
        images, sizes = self.package.stack(batch.images)
        pyramid = self.pyramid(self.package.backbone(images))
        grid = self.anchors(pyramid)
        logits, deltas = self.rpn(pyramid)
        anchors = self._sample_anchors(
            torch.cat(grid), torch.cat(logits, 1), torch.cat(deltas, 1), batch.instances, rng
        )
        drawn = [
            self._sample_rois(self.propose(grid, logits, deltas, i, size), truth, rng)
            for i, (size, truth) in enumerate(zip(sizes, batch.instances, strict=True))
        ]
        semantic = upsample_logits(self["semantic_head"](pyramid))
        labels = stack_label_maps(batch.label_maps, (semantic.shape[2], semantic.shape[3]))
        boxes, masks = self._box_outputs(pyramid, drawn), self._mask_outputs(pyramid, drawn, batch)
        return Outputs(
            **anchors, **boxes, **masks, semantic_logits=semantic, semantic_labels=labels
        )

    def _sample_anchors(
        self,
        grid: Tensor,
        logits: Tensor,
        deltas: Tensor,
        truths: Sequence[Instances],
        rng: torch.Generator,
    ) -> dict[str, Any]:
        c, parts = self.config, []
        for i, truth in enumerate(truths):
            matched, kinds = match_by_iou(
                iou(grid, truth.boxes), c.rpn_low, c.rpn_high, keep_best=True
            )
            on, off = sample_balanced(
                kinds == FOREGROUND,
                kinds == BACKGROUND,
                c.rpn_samples,
                c.rpn_positive_fraction,
                rng,
            )
            targets = encode(truth.boxes[matched[on]], grid[on], RPN_BOX_WEIGHTS)
            both = torch.cat([on, off])
            parts.append((logits[i, both], kinds[both] == FOREGROUND, deltas[i, on], targets))
        names = ("anchor_logits", "anchor_is_object", "anchor_deltas", "anchor_targets")
        columns = (torch.cat(column) for column in zip(*parts, strict=True))
        found = dict(zip(names, columns, strict=True))
        return {**found, "max_anchors": c.rpn_samples * len(truths)}

    def _sample_rois(
        self, proposals: Tensor, truth: Instances, rng: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return rois, labels, matched objects and the deltas that would be right."""
        c = self.config
        rois, labels, matched = box_targets(
            proposals,
            truth,
            num_things=c.num_things,
            threshold=c.box_threshold,
            num_samples=c.box_samples,
            positive_fraction=c.box_positive_fraction,
            rng=rng,
        )
        targets = torch.zeros_like(rois)
        on = labels < c.num_things
        targets[on] = encode(truth.boxes[matched[on]], rois[on], BOX_WEIGHTS)
        return rois, labels, matched, targets

    def _box_outputs(self, pyramid: Pyramid, drawn: Sequence[Any]) -> dict[str, Any]:
        bins = self.config.box_bins
        features = [self.pool(pyramid, i, rois, bins) for i, (rois, *_) in enumerate(drawn)]
        logits, deltas = self.classify(torch.cat(features))
        return {
            "class_logits": logits,
            "roi_deltas": deltas,
            "roi_labels": torch.cat([labels for _, labels, _, _ in drawn]),
            "roi_targets": torch.cat([targets for *_, targets in drawn]),
        }

    def _mask_outputs(self, pyramid: Pyramid, drawn: Sequence[Any], batch: Batch) -> dict[str, Any]:
        bins = self.config.mask_bins
        features, labels, targets = [], [], []
        for i, (rois, roi_labels, matched, _) in enumerate(drawn):
            on = roi_labels < self.config.num_things
            features.append(self.pool(pyramid, i, rois[on], bins))
            labels.append(roi_labels[on])
            masks = batch.instances[i].masks
            targets.append(mask_targets(rois[on], masks, matched[on], 2 * bins))
        logits = self["mask_head"](torch.cat(features), torch.cat(labels))
        return {"mask_logits": logits, "mask_targets": torch.cat(targets)}
