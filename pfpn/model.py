"""The whole network: one backbone, one pyramid, two branches, six losses.

Read `PanopticFPN.losses` for training and `PanopticFPN.infer` for inference; everything they call
stands in a file of its own, before this one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from pfpn.anchors import pyramid_anchors
from pfpn.backbone import LAYOUTS, NORMS, Depth, Norm, ResNet
from pfpn.box_head import BoxHead, box_losses, box_targets, cat_matched, detect
from pfpn.fpn import COARSEST_STRIDE, FPN, Pyramid
from pfpn.mask_head import MaskHead, mask_loss, mask_targets
from pfpn.roi import pool
from pfpn.rpn import RPNHead, rpn_losses, select_proposals
from pfpn.semantic import MIN_GROUP, SemanticHead, semantic_loss, upsample_logits
from pfpn.structures import IGNORE, Batch, Detections, Instances

LOSS_NAMES = (
    "loss_rpn_objectness",
    "loss_rpn_box",
    "loss_class",
    "loss_box",
    "loss_mask",
    "loss_semantic",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """Every number of the model; the defaults are those of the published COCO weights."""

    # Instance branch alone: Mask R-CNN; semantic alone: Semantic FPN; both: Panoptic FPN
    instance_branch: bool = True
    semantic_branch: bool = True
    num_things: int = 80  # thing classes
    num_semantic: int = 54  # "other" and the stuff; semantic branch alone: every class, no "other"

    # Input
    channel_order: str = "BGR"  # what the backbone was trained on: "BGR" or "RGB"
    pixel_mean: tuple[float, float, float] = (103.530, 116.280, 123.675)  # in channel_order, 0..255
    pixel_std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    # Backbone
    depth: Depth = 50
    width: float = 1.0  # multiplies the backbone's channels
    norm: Norm = "frozen"  # "frozen" or "batch"
    stride_in_1x1: bool = True  # False: in the 3x3, as in torchvision
    frozen_stages: int = 2  # stem and res2 [MRCNN]
    imagenet: bool = False  # start from torchvision's ImageNet weights

    # Pyramid and semantic head
    pyramid_channels: int = 256
    semantic_channels: int = 128

    # Anchors: one side per level p2..p6, in pixels; ratios are height / width
    anchor_sides: tuple[float, ...] = (32.0, 64.0, 128.0, 256.0, 512.0)
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    anchor_rounding: bool = False  # to whole pixels, as in torchvision

    # Region proposals
    rpn_low: float = 0.3  # IoU below which an anchor is background
    rpn_high: float = 0.7  # IoU from which it is foreground
    rpn_samples: int = 256  # anchors per image that the losses look at
    rpn_positive_fraction: float = 0.5
    rpn_nms_threshold: float = 0.7  # IoU
    train_proposals_per_level: int = 2000  # before NMS
    train_proposals: int = 1000  # after NMS, over all levels
    test_proposals_per_level: int = 1000
    test_proposals: int = 1000

    # RoIAlign
    roi_canonical_size: float = 224.0  # pixels; a box of this side is pooled from p4
    roi_sampling_ratio: int = 0  # samples per bin and axis; 0: as many as the bin spans cells
    roi_aligned: bool = True

    # Box head
    box_bins: int = 7  # RoIAlign's bins along a side
    box_hidden: int = 1024
    box_threshold: float = 0.5  # IoU from which a proposal is foreground
    box_samples: int = 512  # rois per image
    box_positive_fraction: float = 0.25
    min_score: float = 0.05  # a detection below is dropped
    box_nms_threshold: float = 0.5  # IoU, within a class
    max_detections: int = 100  # per image

    # Mask head
    mask_bins: int = 14  # RoIAlign's; the mask has twice as many
    mask_channels: int = 256
    mask_convs: int = 4

    # Semantic loss: cross-entropy, Lovasz-Softmax or both; see `semantic.semantic_loss`
    cross_entropy_weight: float = 1.0
    lovasz_weight: float = 0.0
    lovasz_bins: int = 1024  # of the linear-time method; 0 sorts exactly

    # L = instance_weight (L_c + L_b + L_m and the RPN's two) + semantic_weight L_s   [PFPN] 3.2
    instance_weight: float = 1.0
    semantic_weight: float = 0.5

    def __post_init__(self) -> None:
        def require(holds: bool, field: str, expected: str) -> None:
            if not holds:
                raise ValueError(
                    f"ModelConfig.{field}: found {getattr(self, field)!r}, expected {expected}"
                )

        require(
            self.instance_branch or self.semantic_branch, "semantic_branch", "at least one branch"
        )
        require(self.num_things >= 1 or not self.instance_branch, "num_things", "1 or more")
        require(
            1 <= self.num_semantic <= IGNORE, "num_semantic", f"1..{IGNORE} ({IGNORE} is IGNORE)"
        )
        require(self.channel_order in ("BGR", "RGB"), "channel_order", "'BGR' or 'RGB'")
        require(all(s > 0 for s in self.pixel_std), "pixel_std", "three positive numbers")
        require(self.depth in LAYOUTS, "depth", f"one of {list(LAYOUTS)}")
        require(self.width > 0, "width", "a positive number")
        require(self.norm in NORMS, "norm", f"one of {list(NORMS)}")
        require(0 <= self.frozen_stages <= 5, "frozen_stages", "0..5")
        require(
            self.semantic_channels > 0 and self.semantic_channels % MIN_GROUP == 0,
            "semantic_channels",
            f"a positive multiple of {MIN_GROUP}",
        )
        require(len(self.anchor_sides) == 5, "anchor_sides", "five sides, for p2..p6")
        require(len(self.anchor_ratios) >= 1, "anchor_ratios", "at least one ratio")
        require(0 <= self.rpn_low <= self.rpn_high <= 1, "rpn_low", "0 <= rpn_low <= rpn_high <= 1")
        for field in ("cross_entropy_weight", "lovasz_weight", "lovasz_bins"):
            require(getattr(self, field) >= 0, field, "0 or more")
        for field in ("rpn_positive_fraction", "box_positive_fraction", "box_threshold"):
            require(0 <= getattr(self, field) <= 1, field, "a share in [0, 1]")


@dataclass(frozen=True, slots=True)
class RawPrediction:
    """What the network says of a batch, at its own resolution, before merging."""

    detections: list[Detections]  # empty ones where the instance branch is off
    semantic_logits: Float[Tensor, "b c h4 w4"]  # at stride 4; c is 0 where that branch is off
    sizes: list[tuple[int, int]]  # of the images without padding


class PanopticFPN(nn.Module):
    """ResNet and FPN, shared by an instance branch and a semantic branch. Source: [PFPN] 3."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = c = config
        self.lovasz_weight = c.lovasz_weight  # training may switch it on late: see TrainConfig
        self.backbone = ResNet(
            c.depth,
            width=c.width,
            norm=c.norm,
            stride_in_1x1=c.stride_in_1x1,
            frozen_stages=c.frozen_stages,
        )
        self.fpn = FPN(self.backbone.channels, c.pyramid_channels)
        if c.semantic_branch:
            self.semantic_head = SemanticHead(
                c.pyramid_channels, c.semantic_channels, c.num_semantic
            )
        if c.instance_branch:
            self.rpn_head = RPNHead(c.pyramid_channels, len(c.anchor_ratios))
            self.box_head = BoxHead(c.pyramid_channels * c.box_bins**2, c.box_hidden, c.num_things)
            self.mask_head = MaskHead(
                c.pyramid_channels, c.mask_channels, c.mask_convs, c.num_things
            )

    def forward(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Return the losses: what training calls, and what DistributedDataParallel wraps."""
        return self.losses(batch, rng)

    def losses(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Return each loss of LOSS_NAMES that belongs to an enabled branch, unweighted.

        Args:
            batch: images with their truth, of any sizes.
            rng: decides which anchors and rois are sampled; on the CPU.
        """
        images, sizes = self.stack(batch.images)
        pyramid = self.pyramid(images)
        losses: dict[str, Tensor] = {}
        if self.config.instance_branch:
            losses |= self._instance_losses(pyramid, sizes, batch.instances, rng)
        if self.config.semantic_branch:
            logits = upsample_logits(self.semantic_head(pyramid))
            labels = stack_label_maps(batch.label_maps, (logits.shape[2], logits.shape[3]))
            losses["loss_semantic"] = semantic_loss(
                logits,
                labels,
                cross_entropy_weight=self.config.cross_entropy_weight,
                lovasz_weight=self.lovasz_weight,
                lovasz_bins=self.config.lovasz_bins,
            )
        return losses

    @torch.no_grad()
    def infer(
        self, images: Sequence[UInt8[Tensor, "3 _h _w"]], min_score: float | None = None
    ) -> RawPrediction:
        """Return detections and semantic logits, in the frame of the images as given.

        Images of one batch are padded to a common size, which reaches the features: results for an
        image alone and in a batch of other sizes differ slightly, as in every padded detector.

        Args:
            images: RGB, already at the size that the network should see.
            min_score: leave out detections below; their masks are not even computed. The set that
                passes is the same as if all were computed and then filtered.
        """
        stacked, sizes = self.stack(images)
        pyramid = self.pyramid(stacked)
        if self.config.instance_branch:
            detections = self._detect(pyramid, sizes, min_score)
        else:
            detections = [_no_detections(stacked)] * len(sizes)
        if self.config.semantic_branch:
            logits = self.semantic_head(pyramid)
        else:
            height, width = pyramid["p2"].shape[2:]
            logits = stacked.new_zeros((len(sizes), 0, height, width))
        return RawPrediction(detections, logits, sizes)

    def stack(
        self, images: Sequence[UInt8[Tensor, "3 _h _w"]]
    ) -> tuple[Float[Tensor, "b 3 h w"], list[tuple[int, int]]]:
        """Normalize the images, then pad them right and below with zeros to one common size.

        Zeros after normalization are the mean color. The size is a multiple of COARSEST_STRIDE.
        """
        c = self.config
        sizes = [(image.shape[1], image.shape[2]) for image in images]
        height, width = (_round_up(max(side), COARSEST_STRIDE) for side in zip(*sizes, strict=True))
        first = images[0]
        mean = torch.tensor(c.pixel_mean, device=first.device).view(3, 1, 1)
        std = torch.tensor(c.pixel_std, device=first.device).view(3, 1, 1)
        stacked = torch.zeros((len(images), 3, height, width), device=first.device)
        for row, image in zip(stacked, images, strict=True):
            ordered = image.flip(0) if c.channel_order == "BGR" else image
            row[:, : image.shape[1], : image.shape[2]] = (ordered.float() - mean) / std
        return stacked, sizes

    def pyramid(self, images: Float[Tensor, "b 3 h w"]) -> Pyramid:
        """Return p2..p6 of stacked images."""
        return self.fpn(self.backbone(images))

    def _instance_losses(
        self,
        pyramid: Pyramid,
        sizes: list[tuple[int, int]],
        truths: list[Instances],
        rng: torch.Generator,
    ) -> dict[str, Tensor]:
        c = self.config
        anchors = pyramid_anchors(pyramid, c.anchor_sides, c.anchor_ratios, c.anchor_rounding)
        logits, deltas = self.rpn_head(pyramid)
        objectness_loss, rpn_box_loss = rpn_losses(
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

        rois: list[Tensor] = []
        labels: list[Tensor] = []
        matched: list[Tensor] = []
        for boxes, truth in zip(proposals, truths, strict=True):
            sampled = box_targets(
                boxes,
                truth,
                num_things=c.num_things,
                threshold=c.box_threshold,
                num_samples=c.box_samples,
                positive_fraction=c.box_positive_fraction,
                rng=rng,
            )
            for found, part in zip((rois, labels, matched), sampled, strict=True):
                found.append(part)
        class_logits, box_deltas = self.box_head(self._pool(pyramid, rois, c.box_bins))
        class_loss, box_loss = box_losses(
            class_logits,
            box_deltas,
            torch.cat(rois),
            torch.cat(labels),
            cat_matched([truth.boxes for truth in truths], matched),
        )

        # Masks are learned on foreground rois only, and those come first.
        foreground = [int((label < c.num_things).sum()) for label in labels]
        fg_rois = [roi[:n] for roi, n in zip(rois, foreground, strict=True)]
        fg_labels = torch.cat([label[:n] for label, n in zip(labels, foreground, strict=True)])
        mask_logits = self.mask_head(self._pool(pyramid, fg_rois, c.mask_bins), fg_labels)
        wanted = [
            mask_targets(roi, truth.masks, index[: len(roi)], 2 * c.mask_bins)
            for roi, truth, index in zip(fg_rois, truths, matched, strict=True)
        ]
        return {
            "loss_rpn_objectness": objectness_loss,
            "loss_rpn_box": rpn_box_loss,
            "loss_class": class_loss,
            "loss_box": box_loss,
            "loss_mask": mask_loss(mask_logits, wanted),
        }

    def _detect(
        self, pyramid: Pyramid, sizes: list[tuple[int, int]], min_score: float | None
    ) -> list[Detections]:
        c = self.config
        anchors = pyramid_anchors(pyramid, c.anchor_sides, c.anchor_ratios, c.anchor_rounding)
        logits, deltas = self.rpn_head(pyramid)
        proposals, _ = select_proposals(
            anchors,
            logits,
            deltas,
            sizes,
            max_per_level=c.test_proposals_per_level,
            max_total=c.test_proposals,
            nms_threshold=c.rpn_nms_threshold,
        )
        class_logits, box_deltas = self.box_head(self._pool(pyramid, proposals, c.box_bins))

        per_image = [len(p) for p in proposals]
        boxes, scores, labels = [], [], []
        for logit, delta, proposal, size in zip(
            class_logits.split(per_image),
            box_deltas.split(per_image),
            proposals,
            sizes,
            strict=True,
        ):
            box, score, label, _ = detect(
                logit,
                delta,
                proposal,
                size,
                min_score=c.min_score,
                nms_threshold=c.box_nms_threshold,
                max_detections=c.max_detections,
            )
            keep = slice(None) if min_score is None else score >= min_score
            boxes.append(box[keep])
            scores.append(score[keep])
            labels.append(label[keep])
        features = self._pool(pyramid, boxes, c.mask_bins)
        probs = self.mask_head(features, torch.cat(labels)).float().sigmoid()
        masks = probs.split([len(b) for b in boxes])
        return [Detections(*found) for found in zip(boxes, scores, labels, masks, strict=True)]

    def _pool(self, pyramid: Pyramid, boxes: list[Tensor], size: int) -> Tensor:
        c = self.config
        return pool(
            pyramid,
            boxes,
            size,
            canonical_size=c.roi_canonical_size,
            sampling_ratio=c.roi_sampling_ratio,
            aligned=c.roi_aligned,
        )


def total_loss(losses: dict[str, Tensor], config: ModelConfig) -> Float[Tensor, ""]:
    """Return L = li (L_c + L_b + L_m) + ls L_s; the RPN's two count to the instance side.

    Source: [PFPN] 3.2.
    """
    semantic = losses.get("loss_semantic", 0)
    instance = sum(loss for name, loss in losses.items() if name != "loss_semantic")
    total = config.instance_weight * instance + config.semantic_weight * semantic
    assert isinstance(total, Tensor)
    return total


def stack_label_maps(
    label_maps: Sequence[Int[Tensor, "_h _w"]], size: tuple[int, int]
) -> Int[Tensor, "b h w"]:
    """Pad label maps right and below with IGNORE to one common size (height, width)."""
    return torch.stack(
        [
            F.pad(
                labels, (0, size[1] - labels.shape[1], 0, size[0] - labels.shape[0]), value=IGNORE
            )
            for labels in label_maps
        ]
    )


def _no_detections(like: Tensor) -> Detections:
    return Detections(
        like.new_zeros((0, 4)),
        like.new_zeros((0,)),
        like.new_zeros((0,), dtype=torch.int64),
        like.new_zeros((0, 1, 1)),
    )


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
