"""Classify proposals and refine their boxes."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from pfpn.boxes import BoxWeights, batched_nms, clip, decode, encode, iou
from pfpn.matching import FOREGROUND, match_by_iou, sample_balanced
from pfpn.structures import Instances, at_least_float32

BOX_WEIGHTS: BoxWeights = (10.0, 10.0, 5.0, 5.0)


class BoxHead(nn.Module):
    """Two hidden layers, then class logits, and deltas per thing class. Source: [FPN] 4.2."""

    def __init__(self, in_features: int, hidden: int, num_things: int):
        super().__init__()
        self.fc1 = nn.Linear(in_features, hidden)
        self.fc2 = nn.Linear(hidden, hidden)
        self.classify = nn.Linear(hidden, num_things + 1)
        self.deltas = nn.Linear(hidden, num_things * 4)
        for layer in (self.fc1, self.fc2):
            nn.init.kaiming_uniform_(layer.weight, a=1)
        nn.init.normal_(self.classify.weight, std=0.01)
        nn.init.normal_(self.deltas.weight, std=0.001)
        for layer in (self.fc1, self.fc2, self.classify, self.deltas):
            nn.init.zeros_(layer.bias)

    def forward(
        self, features: Float[Tensor, "n c h w"]
    ) -> tuple[Float[Tensor, "n t1"], Float[Tensor, "n t 4"]]:
        """Return class logits (things, then background) and deltas per thing class."""
        hidden = self.fc1(features.flatten(1)).relu_()
        hidden = self.fc2(hidden).relu_()
        return self.classify(hidden), self.deltas(hidden).unflatten(1, (-1, 4))


@torch.no_grad()
def box_targets(
    proposals: Float[Tensor, "n 4"],
    truth: Instances,
    *,
    num_things: int,
    threshold: float,
    num_samples: int,
    positive_fraction: float,
    rng: torch.Generator,
) -> tuple[Float[Tensor, "k 4"], Int[Tensor, " k"], Int[Tensor, " k"]]:
    """Return rois for the heads to train on, drawn from the proposals and the true boxes.

    Returns:
        The rois, foreground first; their labels, `num_things` for background; and the index of the
        instance that each is matched to (without meaning for background). Source: [MRCNN] 3.1.
    """
    candidates = torch.cat([proposals, truth.boxes])
    overlaps = iou(candidates, truth.boxes)
    matched, kinds = match_by_iou(overlaps, threshold, threshold, keep_best=False)
    foreground = kinds == FOREGROUND
    positive, negative = sample_balanced(
        foreground, ~foreground, num_samples, positive_fraction, rng
    )
    sampled = torch.cat([positive, negative])
    labels = matched.new_full((len(sampled),), num_things)
    labels[: len(positive)] = truth.labels[matched[positive]]
    return candidates[sampled], labels, matched[sampled]


def box_losses(
    class_logits: Float[Tensor, "n t1"],
    deltas: Float[Tensor, "n t 4"],
    rois: Float[Tensor, "n 4"],
    labels: Int[Tensor, " n"],
    gt_boxes: Float[Tensor, "n 4"],
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return the class loss (cross-entropy) and the box loss (L1 on the true class's deltas).

    Convention: both are divided by the number of all sampled rois in the batch, although only
    foreground rois have a box loss; 0 where there is no roi. Source: [MRCNN] 3.1.
    """
    class_loss = F.cross_entropy(at_least_float32(class_logits), labels, reduction="sum")
    num_things = deltas.shape[1]
    foreground = (labels < num_things).nonzero()[:, 0]
    own = at_least_float32(deltas[foreground, labels[foreground]])
    targets = encode(gt_boxes[foreground], rois[foreground], BOX_WEIGHTS)
    box_loss = (own - targets).abs().sum() + deltas.sum() * 0  # gradients without rois
    count = max(1, len(labels))
    return class_loss / count, box_loss / count


@torch.no_grad()
def detect(
    class_logits: Float[Tensor, "n t1"],
    deltas: Float[Tensor, "n t 4"],
    proposals: Float[Tensor, "n 4"],
    size: tuple[int, int],
    *,
    min_score: float,
    nms_threshold: float,
    max_detections: int,
) -> tuple[Float[Tensor, "k 4"], Float[Tensor, " k"], Int[Tensor, " k"], Int[Tensor, " k"]]:
    """Return one image's detections, best score first, after NMS within each class.

    Each pair of proposal and thing class with a score above `min_score` gives one box.

    Returns:
        Boxes (xyxy, clipped to `size`), scores in [0, 1], labels and indices of proposals.
    """
    scores = class_logits.float().softmax(dim=1)[:, :-1]
    proposal, label = (scores > min_score).nonzero(as_tuple=True)  # few: only these are decoded
    box = decode(deltas[proposal, label].float(), proposals[proposal], BOX_WEIGHTS)
    finite = box.isfinite().all(dim=1)
    proposal, label, box = proposal[finite], label[finite], clip(box[finite], size)
    score = scores[proposal, label]
    keep = batched_nms(box, score, label, nms_threshold)[:max_detections]
    return box[keep], score[keep], label[keep], proposal[keep]
