"""The settings of the model: one dataclass, which every weights file carries in its header."""

from dataclasses import dataclass

from pfpn.backbone import LAYOUTS, NORMS, Depth, Norm
from pfpn.inputs import MODEL_RANGES
from pfpn.semantic import MIN_GROUP
from pfpn.structures import IGNORE


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """Every number of the model; the defaults are those of the published COCO weights."""

    # Instance branch alone: Mask R-CNN; semantic alone: Semantic FPN; both: Panoptic FPN
    instance_branch: bool = True  # boxes and masks of things
    semantic_branch: bool = True  # a class for every pixel
    num_things: int = 80  # thing classes
    num_semantic: int = 54  # "other" and the stuff; semantic branch alone: every class, no "other"

    # Input
    channel_order: str = "BGR"  # what the backbone was trained on: "BGR" or "RGB"
    pixel_mean: tuple[float, float, float] = (103.530, 116.280, 123.675)  # in channel_order, 0..255
    pixel_std: tuple[float, float, float] = (1.0, 1.0, 1.0)  # pixels are divided by it

    # Backbone
    depth: Depth = 50  # of the ResNet
    width: float = 1.0  # multiplies the backbone's channels
    norm: Norm = "frozen"  # "frozen" or "batch"
    stride_in_1x1: bool = True  # False: in the 3x3, as in torchvision
    frozen_stages: int = 2  # stem and res2 [MRCNN]
    imagenet: bool = False  # start from torchvision's ImageNet weights

    # Pyramid and semantic head
    pyramid_channels: int = 256  # of each level of the FPN
    semantic_channels: int = 128  # of the semantic head's layers

    # Anchors: one side per level p2..p6, in pixels; ratios are height / width
    anchor_sides: tuple[float, ...] = (32.0, 64.0, 128.0, 256.0, 512.0)  # pixels, one a level
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)  # height / width
    anchor_rounding: bool = False  # to whole pixels, as in torchvision

    # Region proposals
    rpn_low: float = 0.3  # IoU below which an anchor is background
    rpn_high: float = 0.7  # IoU from which it is foreground
    rpn_samples: int = 256  # anchors per image that the losses use
    rpn_positive_fraction: float = 0.5  # of the samples, at most
    rpn_nms_threshold: float = 0.7  # IoU
    train_proposals_per_level: int = 2000  # before NMS
    train_proposals: int = 1000  # after NMS, over all levels
    test_proposals_per_level: int = 1000  # before NMS
    test_proposals: int = 1000  # after NMS, over all levels

    # RoIAlign
    roi_canonical_size: float = 224.0  # pixels; a box of this side is pooled from p4
    roi_sampling_ratio: int = 0  # samples per bin and axis; 0: as many as the bin spans cells
    roi_aligned: bool = True  # False shifts by half a pixel, as in torchvision

    # Box head
    box_bins: int = 7  # RoIAlign's bins along a side
    box_hidden: int = 1024  # units of the box head's two layers
    box_threshold: float = 0.5  # IoU from which a proposal is foreground
    box_samples: int = 512  # rois per image
    box_positive_fraction: float = 0.25  # of the samples, at most
    min_score: float = 0.05  # a detection's score must exceed it
    box_nms_threshold: float = 0.5  # IoU, within a class
    max_detections: int = 100  # per image

    # Mask head
    mask_bins: int = 14  # RoIAlign's; the mask has twice as many
    mask_channels: int = 256  # of the mask head's layers
    mask_convs: int = 4  # layers before the mask is doubled

    # Semantic loss: cross-entropy, Lovasz-Softmax or both; see `semantic.semantic_loss`
    cross_entropy_weight: float = 1.0  # of cross-entropy in the semantic loss
    lovasz_weight: float = 0.0  # of Lovász-Softmax in the semantic loss
    lovasz_bins: int = 1024  # of the linear-time method; 0 sorts exactly

    # L = instance_weight (L_c + L_b + L_m and the RPN's two) + semantic_weight L_s   [PFPN] 3.2
    instance_weight: float = 1.0  # of the instance branch's losses in the sum
    semantic_weight: float = 0.5  # of the semantic loss in the sum

    def __post_init__(self) -> None:
        def require(holds: bool, field: str, expected: str) -> None:
            if not holds:
                value = getattr(self, field)
                raise ValueError(f"ModelConfig.{field}: found {value!r}, expected {expected}")

        branches = self.instance_branch or self.semantic_branch
        require(branches, "semantic_branch", "at least one branch")
        require(self.num_things >= 1 or not self.instance_branch, "num_things", "1 or more")
        limit = f"1..{IGNORE} ({IGNORE} is IGNORE)"
        require(1 <= self.num_semantic <= IGNORE, "num_semantic", limit)
        require(self.channel_order in ("BGR", "RGB"), "channel_order", "'BGR' or 'RGB'")
        require(self.depth in LAYOUTS, "depth", f"one of {list(LAYOUTS)}")
        require(self.norm in NORMS, "norm", f"one of {list(NORMS)}")
        for field, (low, high) in MODEL_RANGES.items():
            value = getattr(self, field)
            numbers = value if isinstance(value, tuple | list) else (value,)
            within = all(low <= number <= high for number in numbers)  # NaN is not
            require(within, field, f"a number in [{low:g}, {high:g}]")
        groups = self.semantic_channels % MIN_GROUP == 0
        require(groups, "semantic_channels", f"a multiple of {MIN_GROUP}")
        require(len(self.anchor_sides) == 5, "anchor_sides", "five sides, for p2..p6")
        require(1 <= len(self.anchor_ratios) <= 100, "anchor_ratios", "1 to 100 ratios")
        require(self.rpn_low <= self.rpn_high, "rpn_low", "rpn_low <= rpn_high")
