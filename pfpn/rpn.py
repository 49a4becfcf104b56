"""Proposals: where there could be an object, of whatever class.

Two halves: a small network over every level of the pyramid, then pure functions that make its
targets, its losses and, from its answers, the proposals.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from pfpn.boxes import BoxWeights, batched_nms, clip, decode, encode, iou, is_nonempty
from pfpn.fpn import Pyramid
from pfpn.losses.segmentation import at_least_float32
from pfpn.matching import BACKGROUND, FOREGROUND, match_by_iou, sample_balanced

RPN_BOX_WEIGHTS: BoxWeights = (1.0, 1.0, 1.0, 1.0)


class RPNHead(nn.Module):
    """Score every anchor and say how to move it; one head for all levels. Source: [FPN] 4.1."""

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
            # Channels are (anchor, coordinate); anchors lie row by row, a cell's side by side.
            logits.append(self.objectness(hidden).permute(0, 2, 3, 1).flatten(1))
            deltas.append(self.deltas(hidden).permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, 4)))
        return logits, deltas


def rpn_targets(
    anchors: Float[Tensor, "n 4"], gt_boxes: Float[Tensor, "k 4"], low: float, high: float
) -> tuple[Int[Tensor, " n"], Float[Tensor, "n 4"]]:
    """Return each anchor's verdict (see `matching`) and the truth that it answers for."""
    matched, verdict = match_by_iou(iou(anchors, gt_boxes), low, high, keep_best=True)
    if len(gt_boxes) == 0:
        return verdict, torch.zeros_like(anchors)
    return verdict, gt_boxes[matched]


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

    Convention: both are sums over the sampled anchors (of the positive ones, for boxes), divided by
    num_samples x images, however many could really be drawn. Source: [MRCNN] 3.1, [FPN] 4.1.
    """
    objectness_loss, box_loss = logits.sum() * 0, deltas.sum() * 0  # every weight in the graph
    for i, truth in enumerate(gt_boxes):
        verdict, targets = rpn_targets(anchors, truth, low, high)
        positive, negative = sample_balanced(
            verdict == FOREGROUND, verdict == BACKGROUND, num_samples, positive_fraction, rng
        )
        sampled = torch.cat([positive, negative])
        asked = at_least_float32(logits[i, sampled])
        objectness_loss = objectness_loss + F.binary_cross_entropy_with_logits(
            asked, (verdict[sampled] == FOREGROUND).to(asked.dtype), reduction="sum"
        )
        wanted = encode(targets[positive], anchors[positive], RPN_BOX_WEIGHTS)
        box_loss = box_loss + (at_least_float32(deltas[i, positive]) - wanted).abs().sum()
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
    """Turn the head's answers into proposals per image, best first; no gradient flows through them.

    Per level the best `max_per_level`, moved, clipped to the unpadded image, thinned by NMS within
    their level, then the best `max_total` of all levels. Source: [FPN] 4.1.

    Returns:
        Boxes (xyxy, pixels of the network's input) and their objectness logits, per image.
    """
    boxes_per_level: list[Tensor] = []
    logits_per_level: list[Tensor] = []
    level_of: list[Tensor] = []
    for anchor, logit, delta in zip(anchors, logits, deltas, strict=True):
        count = min(max_per_level, logit.shape[1])
        best, index = logit.float().topk(count, dim=1)  # (b, k)
        chosen = delta.float().gather(1, index[..., None].expand(-1, -1, 4))
        boxes_per_level.append(decode(chosen, anchor[index], RPN_BOX_WEIGHTS))
        logits_per_level.append(best)
        level_of.append(index.new_full((count,), len(level_of)))
    all_boxes, all_logits = torch.cat(boxes_per_level, 1), torch.cat(logits_per_level, 1)
    levels = torch.cat(level_of)

    proposals, proposal_logits = [], []
    for boxes, scores, size in zip(all_boxes, all_logits, sizes, strict=True):
        valid = boxes.isfinite().all(dim=1) & scores.isfinite()
        boxes = clip(boxes, size)
        valid &= is_nonempty(boxes)
        boxes, scores, level = boxes[valid], scores[valid], levels[valid]
        keep = batched_nms(boxes, scores, level, nms_threshold)[:max_total]
        proposals.append(boxes[keep])
        proposal_logits.append(scores[keep])
    return proposals, proposal_logits
