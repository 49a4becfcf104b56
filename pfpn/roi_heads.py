"""The instance branch's second stage: from proposals to losses, or to detections with masks."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from pfpn.box_head import BoxHead, box_losses, box_targets, detect
from pfpn.fpn import Pyramid
from pfpn.mask_head import MaskHead, mask_loss, mask_targets
from pfpn.model_config import ModelConfig
from pfpn.roi import pool
from pfpn.structures import Boxes, Detections, Instances, Sizes


@dataclass(frozen=True, slots=True)
class RoiHeads:
    """Box head and mask head on pooled features, with their settings. Source: [MRCNN] 3."""

    box_head: BoxHead
    mask_head: MaskHead
    config: ModelConfig

    def losses(
        self,
        pyramid: Pyramid,
        proposals: Sequence[Boxes],
        truths: Sequence[Instances],
        rng: torch.Generator,
    ) -> dict[str, Tensor]:
        """Return the class, box and mask losses on rois sampled from each image's proposals."""
        sampled = [self._sample(*pair, rng) for pair in zip(proposals, truths, strict=True)]
        rois, labels, matched = map(list, zip(*sampled, strict=True))
        class_logits, deltas = self.box_head(self.pool(pyramid, rois, self.config.box_bins))
        # With a row of zeros, which the background of an image without objects is matched to.
        padded = [F.pad(truth.boxes, (0, 0, 0, 1)) for truth in truths]
        gt_boxes = torch.cat([boxes[index] for boxes, index in zip(padded, matched, strict=True)])
        class_loss, box_loss = box_losses(
            class_logits, deltas, torch.cat(rois), torch.cat(labels), gt_boxes
        )
        return {
            "loss_class": class_loss,
            "loss_box": box_loss,
            "loss_mask": self._mask_loss(pyramid, truths, rois, labels, matched),
        }

    def _sample(
        self, proposals: Boxes, truth: Instances, rng: torch.Generator
    ) -> tuple[Tensor, ...]:
        c = self.config
        return box_targets(
            proposals,
            truth,
            num_things=c.num_things,
            threshold=c.box_threshold,
            num_samples=c.box_samples,
            positive_fraction=c.box_positive_fraction,
            rng=rng,
        )

    def _mask_loss(
        self, pyramid: Pyramid, truths: Sequence[Instances], *sampled: list[Tensor]
    ) -> Float[Tensor, ""]:
        """Return the mask loss, on foreground rois only; `box_targets` puts those first."""
        counts = [int((labels < self.config.num_things).sum()) for labels in sampled[1]]
        rois, labels, matched = (
            [rows[:n] for rows, n in zip(part, counts, strict=True)] for part in sampled
        )
        bins = self.config.mask_bins
        logits = self.mask_head(self.pool(pyramid, rois, bins), torch.cat(labels))
        targets = [
            mask_targets(roi, truth.masks, index, 2 * bins)
            for roi, truth, index in zip(rois, truths, matched, strict=True)
        ]
        return mask_loss(logits, targets)

    def detect(
        self, pyramid: Pyramid, proposals: Sequence[Boxes], sizes: Sizes, min_score: float | None
    ) -> list[Detections]:
        """Return each image's detections, best score first; masks are pooled on the final boxes.

        Detections below `min_score` are left out before their masks are computed; None keeps all.
        """
        c = self.config
        class_logits, deltas = self.box_head(self.pool(pyramid, proposals, c.box_bins))
        counts = [len(boxes) for boxes in proposals]
        heads = class_logits.split(counts), deltas.split(counts)
        boxes, scores, labels = [], [], []
        for image in zip(*heads, proposals, sizes, strict=True):
            box, score, label, _ = detect(
                *image,
                min_score=c.min_score,
                nms_threshold=c.box_nms_threshold,
                max_detections=c.max_detections,
            )
            keep = slice(None) if min_score is None else score >= min_score
            boxes.append(box[keep])
            scores.append(score[keep])
            labels.append(label[keep])
        features = self.pool(pyramid, boxes, c.mask_bins)
        probs = self.mask_head(features, torch.cat(labels)).float().sigmoid()
        masks = probs.split([len(box) for box in boxes])
        return [Detections(*parts) for parts in zip(boxes, scores, labels, masks, strict=True)]

    def pool(
        self, pyramid: Pyramid, boxes: Sequence[Boxes], size: int
    ) -> Float[Tensor, "k c size size"]:
        """Return the features of all boxes on `size` x `size` bins each; see `roi.pool`."""
        c = self.config
        return pool(
            pyramid,
            boxes,
            size,
            canonical_size=c.roi_canonical_size,
            sampling_ratio=c.roi_sampling_ratio,
            aligned=c.roi_aligned,
        )
