"""Weights from elsewhere, under our names."""

import re

from torch import Tensor

# detectron2's names -> ours, first match wins. The ResNet blocks' numbering is that of torchvision.
_DETECTRON2_NAMES: list[tuple[str, str]] = [
    (r"backbone\.bottom_up\.stem\.conv1\.norm\.(.+)", r"backbone.bn1.\1"),
    (r"backbone\.bottom_up\.stem\.conv1\.weight", r"backbone.conv1.weight"),
    (r"backbone\.bottom_up\.res(\d)\.(\d+)\.shortcut\.norm\.(.+)", "{stage}.{1}.downsample.1.{2}"),
    (r"backbone\.bottom_up\.res(\d)\.(\d+)\.shortcut\.weight", "{stage}.{1}.downsample.0.weight"),
    (r"backbone\.bottom_up\.res(\d)\.(\d+)\.conv(\d)\.norm\.(.+)", "{stage}.{1}.bn{2}.{3}"),
    (r"backbone\.bottom_up\.res(\d)\.(\d+)\.conv(\d)\.weight", "{stage}.{1}.conv{2}.weight"),
    (r"backbone\.fpn_lateral(\d)\.(.+)", r"fpn.lateral.c\1.\2"),
    (r"backbone\.fpn_output(\d)\.(.+)", r"fpn.smooth.p\1.\2"),
    (r"proposal_generator\.rpn_head\.conv\.(.+)", r"rpn_head.conv.\1"),
    (r"proposal_generator\.rpn_head\.objectness_logits\.(.+)", r"rpn_head.objectness.\1"),
    (r"proposal_generator\.rpn_head\.anchor_deltas\.(.+)", r"rpn_head.deltas.\1"),
    (r"roi_heads\.box_head\.fc(\d)\.(.+)", r"box_head.fc\1.\2"),
    (r"roi_heads\.box_predictor\.cls_score\.(.+)", r"box_head.classify.\1"),
    (r"roi_heads\.box_predictor\.bbox_pred\.(.+)", r"box_head.deltas.\1"),
    (r"roi_heads\.mask_head\.mask_fcn([1-4])\.(.+)", "mask_head.convs.{minus_one}.{1}"),
    (r"roi_heads\.mask_head\.deconv\.(.+)", r"mask_head.upsample.\1"),
    (r"roi_heads\.mask_head\.predictor\.(.+)", r"mask_head.classify.\1"),
    # In p4 and p5 the odd entries of detectron2's Sequential are the doublings; ours counts
    # convolution, norm, ReLU and doubling as four entries of a stage.
    (r"sem_seg_head\.p(\d)\.(\d+)\.norm\.(.+)", "semantic_head.branches.p{0}.{norm_index}.{2}"),
    (r"sem_seg_head\.p(\d)\.(\d+)\.weight", "semantic_head.branches.p{0}.{conv_index}.weight"),
    (r"sem_seg_head\.predictor\.(.+)", r"semantic_head.classify.\1"),
]


def detectron2_name(key: str) -> str | None:
    """Return our name of a tensor in a detectron2 Panoptic FPN checkpoint, None if we have none."""
    for pattern, ours in _DETECTRON2_NAMES:
        match = re.fullmatch(pattern, key)
        if match is None:
            continue
        if "{" not in ours:
            return match.expand(ours)
        parts = match.groups()
        words = {}
        if "res" in pattern:
            words["stage"] = f"backbone.layer{int(parts[0]) - 1}"
        elif "mask_fcn" in pattern:
            words["minus_one"] = str(int(parts[0]) - 1)
        else:
            words["conv_index"] = str(4 * (int(parts[1]) // 2))
            words["norm_index"] = str(4 * (int(parts[1]) // 2) + 1)
        return ours.format(*parts, **words)
    return None


def rename_detectron2(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give every tensor of a detectron2 checkpoint our name; fail on one that we do not know."""
    unknown = [key for key in state if detectron2_name(key) is None]
    if unknown:
        raise ValueError(
            f"checkpoint: found {len(unknown)} tensors that Panoptic FPN does not have, such as "
            f"{unknown[:3]}; expected a checkpoint of COCO-PanopticSegmentation/panoptic_fpn_*"
        )
    return {str(detectron2_name(key)): value for key, value in state.items()}
