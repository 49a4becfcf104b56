"""Proposals: boxes that may contain an object, of whatever class.

Three parts: a small network over every level of the pyramid; pure functions for its targets, its
losses and the proposals; and ProposalNetwork, which calls both with the model's settings.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pfpn.anchors import pyramid_anchors
from pfpn.boxes import BoxWeights, batched_nms, clip, decode, encode, iou, is_nonempty
from pfpn.fpn import Pyramid
from pfpn.matching import BACKGROUND, FOREGROUND, match_by_iou, sample_balanced
from pfpn.model_config import ModelConfig
from pfpn.structures import Boxes, Instances, Sizes, at_least_float32

RPN_BOX_WEIGHTS: BoxWeights = (1.0, 1.0, 1.0, 1.0)


class RPNHead(nn.Module):
    """Predict objectness and deltas of every anchor; one head for all levels. Source: [FPN] 4.1."""

    def __init__(self, channels: int, num_anchors: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.objectness = nn.Conv2d(channels, num_anchors, 1)
        self.deltas = nn.Conv2d(channels, num_anchors * 4, 1)
        for layer in (self.conv, self.objectness, self.deltas):
            nn.init.normal_(layer.weight, std=0.01)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(
        self, pyramid: Pyramid
    ) -> tuple[list[Float[Tensor, "b _hwa"]], list[Float[Tensor, "b _hwa 4"]]]:
        """Return objectness logits and deltas per level, in the order of the anchors."""
        logits, deltas = [], []
        for features in pyramid.values():
            hidden = self.conv(features).relu_()
            # Channels are (anchor, coordinate); anchors go row by row, a cell's side by side.
            logits.append(self.objectness(hidden).permute(0, 2, 3, 1).flatten(1))
            deltas.append(self.deltas(hidden).permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, 4)))
        return logits, deltas


def rpn_losses(
    anchors: Float[Tensor, "n 4"],
    logits: Float[Tensor, "b n"],
    deltas: Float[Tensor, "b n 4"],
    gt_boxes: Sequence[Float[Tensor, "_k 4"]],
    *,
    low: float,
    high: float,
    num_samples: int,
    positive_fraction: float,
    rng: torch.Generator,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return the objectness loss (binary cross-entropy) and the box loss (L1 on deltas).

    Convention: both are sums over the sampled anchors (over the positive ones, for boxes), divided
    by num_samples x images even if fewer could be drawn. Source: [MRCNN] 3.1, [FPN] 4.1.
    """
    objectness_loss, box_loss = logits.sum() * 0, deltas.sum() * 0  # 0 with gradients
    for i, truth in enumerate(gt_boxes):
        matched, kinds = match_by_iou(iou(anchors, truth), low, high, keep_best=True)
        positive, negative = sample_balanced(
            kinds == FOREGROUND, kinds == BACKGROUND, num_samples, positive_fraction, rng
        )
        sampled = torch.cat([positive, negative])
        sampled_logits = at_least_float32(logits[i, sampled])
        objectness_loss = objectness_loss + F.binary_cross_entropy_with_logits(
            sampled_logits, (kinds[sampled] == FOREGROUND).to(sampled_logits), reduction="sum"
        )
        targets = encode(truth[matched[positive]], anchors[positive], RPN_BOX_WEIGHTS)
        box_loss = box_loss + (at_least_float32(deltas[i, positive]) - targets).abs().sum()
    scale = num_samples * max(1, len(gt_boxes))
    return objectness_loss / scale, box_loss / scale


@torch.no_grad()
def select_proposals(
    anchors: Sequence[Float[Tensor, "_n 4"]],
    logits: Sequence[Float[Tensor, "b _n"]],
    deltas: Sequence[Float[Tensor, "b _n 4"]],
    sizes: Sequence[tuple[int, int]],
    *,
    max_per_level: int,
    max_total: int,
    nms_threshold: float,
) -> tuple[list[Float[Tensor, "_k 4"]], list[Float[Tensor, " _k"]]]:
    """Return each image's proposals, best first; no gradient flows through them.

    The best `max_per_level` anchors of each level are moved by their deltas, clipped to the image
    without padding and thinned by NMS within their level; the best `max_total` of all levels stay.
    Boxes that are empty or not finite are dropped. Source: [FPN] 4.1.

    Returns:
        Boxes (xyxy, pixels of the network's input) and their objectness logits, per image.
    """
    by_level = []
    for level, (anchor, logit, delta) in enumerate(zip(anchors, logits, deltas, strict=True)):
        best, index = logit.float().topk(min(max_per_level, logit.shape[1]), dim=1)  # (b, k)
        moves = delta.float().gather(1, index[..., None].expand(-1, -1, 4))
        boxes = decode(moves, anchor[index], RPN_BOX_WEIGHTS)
        by_level.append((boxes, best, torch.full_like(index, level)))
    columns = [torch.cat(parts, dim=1) for parts in zip(*by_level, strict=True)]

    proposals, proposal_logits = [], []
    for boxes, scores, levels, size in zip(*columns, sizes, strict=True):
        boxes = clip(boxes, size)  # after which an infinite box is empty; NaN is not nonempty
        valid = scores.isfinite() & is_nonempty(boxes)
        boxes, scores, levels = boxes[valid], scores[valid], levels[valid]
        keep = _best_after_nms(boxes, scores, levels, nms_threshold, max_total)
        proposals.append(boxes[keep])
        proposal_logits.append(scores[keep])
    return proposals, proposal_logits


def _best_after_nms(
    boxes: Tensor, scores: Tensor, levels: Tensor, threshold: float, num: int
) -> Tensor:
    """Return the indices of the first `num` boxes that NMS within levels keeps, best first."""
    order = scores.argsort(descending=True, stable=True)
    # Only better boxes suppress a box, and time grows with the square: first try the best few.
    for tried in (2 * num, len(order)):
        best = order[:tried]
        keep = batched_nms(boxes[best], scores[best], levels[best], threshold)[:num]
        if len(keep) == num:
            break
    return best[keep]


@dataclass(frozen=True, slots=True)
class ProposalNetwork:
    """The RPN head with its settings: anchors, losses and proposals. Source: [FPN] 4.1.

    `sizes` are (height, width) of a batch's images without padding; `pyramid` is its p2..p6.
    """

    head: RPNHead
    config: ModelConfig

    def losses(
        self, pyramid: Pyramid, sizes: Sizes, truths: Sequence[Instances], rng: torch.Generator
    ) -> tuple[dict[str, Tensor], list[Boxes]]:
        """Return the objectness and box losses, and each image's proposals for training."""
        c = self.config
        anchors, logits, deltas = self._run_head(pyramid)
        objectness_loss, box_loss = rpn_losses(
            torch.cat(anchors),
            torch.cat(logits, dim=1),
            torch.cat(deltas, dim=1),
            [truth.boxes for truth in truths],
            low=c.rpn_low,
            high=c.rpn_high,
            num_samples=c.rpn_samples,
            positive_fraction=c.rpn_positive_fraction,
            rng=rng,
        )
        proposals, _ = select_proposals(
            anchors,
            logits,
            deltas,
            sizes,
            max_per_level=c.train_proposals_per_level,
            max_total=c.train_proposals,
            nms_threshold=c.rpn_nms_threshold,
        )
        return {"loss_rpn_objectness": objectness_loss, "loss_rpn_box": box_loss}, proposals

    def propose(self, pyramid: Pyramid, sizes: Sizes) -> list[Boxes]:
        """Return each image's proposals at inference: xyxy, best first."""
        c = self.config
        proposals, _ = select_proposals(
            *self._run_head(pyramid),
            sizes,
            max_per_level=c.test_proposals_per_level,
            max_total=c.test_proposals,
            nms_threshold=c.rpn_nms_threshold,
        )
        return proposals

    def _run_head(self, pyramid: Pyramid) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Return anchors, objectness logits and deltas, each as a list by level."""
        c = self.config
        anchors = pyramid_anchors(pyramid, c.anchor_sides, c.anchor_ratios, c.anchor_rounding)
        return anchors, *self.head(pyramid)
