"""The whole network: one backbone, one pyramid, two branches, six losses.

Read `PanopticFPN.losses` for training and `PanopticFPN.infer` for inference; each stage that
they call has a file of its own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from pfpn.backbone import ResNet
from pfpn.box_head import BoxHead
from pfpn.fpn import COARSEST_STRIDE, FPN, Pyramid
from pfpn.mask_head import MaskHead
from pfpn.model_config import ModelConfig
from pfpn.roi_heads import RoiHeads
from pfpn.rpn import ProposalNetwork, RPNHead
from pfpn.semantic import SemanticHead, semantic_loss, upsample_logits
from pfpn.structures import IGNORE, Batch, Detections

LOSS_NAMES = (
    "loss_rpn_objectness",
    "loss_rpn_box",
    "loss_class",
    "loss_box",
    "loss_mask",
    "loss_semantic",
)


@dataclass(frozen=True, slots=True)
class RawPrediction:
    """The network's output for a batch, at its own resolution, before merging."""

    detections: list[Detections]  # per image; empty where the instance branch is off
    semantic_logits: Float[Tensor, "b c h4 w4"]  # at stride 4; c is 0 where that branch is off
    sizes: list[tuple[int, int]]  # (height, width) of the images without padding


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

    # The stages of the instance branch are built at each use and hold no weights of their own: a
    # state dict lists each head once, and a copied model or a replaced config simply works.
    @property
    def proposal_network(self) -> ProposalNetwork:
        """The stage from the pyramid to proposals; there is none without the instance branch."""
        return ProposalNetwork(self.rpn_head, self.config)

    @property
    def roi_heads(self) -> RoiHeads:
        """The stage from proposals to detections; there is none without the instance branch."""
        return RoiHeads(self.box_head, self.mask_head, self.config)

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
            truths = batch.instances
            rpn_losses, proposals = self.proposal_network.losses(pyramid, sizes, truths, rng)
            losses |= rpn_losses | self.roi_heads.losses(pyramid, proposals, truths, rng)
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
        """Return detections and semantic logits; boxes are in pixels of the images as given.

        Images of one batch are padded to a common size, and the padding changes the features near
        it: results for an image alone and in a batch of other sizes differ slightly, as in every
        detector that pads.

        Args:
            images: RGB, already at the size that the network should see.
            min_score: leave out detections below it, before their masks are computed. The result
                is the same as computing all of them and filtering.
        """
        stacked, sizes = self.stack(images)
        pyramid = self.pyramid(stacked)
        if self.config.instance_branch:
            proposals = self.proposal_network.propose(pyramid, sizes)
            detections = self.roi_heads.detect(pyramid, proposals, sizes, min_score)
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
        if not images:
            raise ValueError("PanopticFPN: found a batch without images, expected at least one")
        c = self.config
        sizes = [(image.shape[1], image.shape[2]) for image in images]
        most = (max(sides) for sides in zip(*sizes, strict=True))
        height, width = (math.ceil(m / COARSEST_STRIDE) * COARSEST_STRIDE for m in most)
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


def total_loss(losses: dict[str, Tensor], config: ModelConfig) -> Float[Tensor, ""]:
    """Return L = li (L_c + L_b + L_m) + ls L_s; the RPN's two are part of the instance side.

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
    stacked = label_maps[0].new_full((len(label_maps), *size), IGNORE)
    for row, labels in zip(stacked, label_maps, strict=True):
        row[: labels.shape[0], : labels.shape[1]] = labels
    return stacked


def _no_detections(like: Tensor) -> Detections:
    zeros = like.new_zeros
    return Detections(zeros(0, 4), zeros(0), zeros(0, dtype=torch.int64), zeros(0, 1, 1))
