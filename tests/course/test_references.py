"""References of exercises against the package, torch and torchvision, in all their cases."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from scipy import ndimage
from torch.testing import assert_close

from pfpn import boxes, matching, merge, paste, roi
from pfpn.course import find
from pfpn.course.ch07_surfaces.numbers import minimize_expected_hinge
from pfpn.data.coco import id_map_to_rgb
from pfpn.engine.config import OptimConfig
from pfpn.engine.optim import learning_rate
from pfpn.losses.lovasz import binned_gradient, jaccard_loss, lovasz_gradient, lovasz_softmax
from pfpn.losses.segmentation import pixel_cross_entropy
from pfpn.quality import match_segments
from pfpn.structures import Panoptic, Segment
from pfpn.zoo import detectron2_name

THEIRS = {}


def theirs(name):
    def add(function):
        THEIRS[name] = function
        return function

    return add


@theirs("11.fpn_name")
def _(key):
    name = detectron2_name(key)
    # The package maps any digit: a checkpoint has no other levels.
    has_level = any(f"{kind}{k}." in key for kind in ("lateral", "output") for k in range(2, 6))
    has_tensor = key.endswith((".weight", ".bias")) and ".norm." not in key
    return name if name and name.startswith("fpn.") and has_level and has_tensor else None


@theirs("00.id_to_color")
def _(segment_id):
    return tuple(id_map_to_rgb(torch.tensor([[segment_id]])).flatten().tolist())


@theirs("00.count_regions")
def _(mask):
    return int(ndimage.label(mask.numpy())[1])


@theirs("01.fold_batch_norm")
def _(weight, gamma, beta, mean, var, eps):
    """The bias is what a map of zeros gives, the weight what a map of one 1 adds to it."""
    _, channels, height, width = weight.shape

    def both(x):
        y = F.conv2d(x, weight, padding=(height - 1, width - 1))
        return F.batch_norm(y, mean, var, gamma, beta, eps=eps)

    bias = both(torch.zeros(1, channels, 1, 1))[0, :, 0, 0]
    folded = [
        both(F.one_hot(torch.tensor(i), channels).float().view(1, -1, 1, 1))[0]
        - bias[:, None, None]
        for i in range(channels)
    ]
    return torch.stack(folded, dim=1).flip(2, 3), bias


@theirs("02.group_norm")
def _(x, groups, eps):
    return F.group_norm(x[None], groups, eps=eps)[0] if x[0].numel() * len(x) > groups else x * 0


@theirs("02.double_row")
def _(row):
    return F.interpolate(row[None, None], scale_factor=2.0, mode="linear")[0, 0]


@theirs("02.cross_entropy")
def _(logits, labels, ignore):
    return pixel_cross_entropy(logits[None, :, None], labels[None, None], ignore).item()


@theirs("03.iou")
def _(a, b):
    return boxes.iou(torch.tensor([a]), torch.tensor([b])).item()


@theirs("03.anchor_labels")
def _(overlaps, low, high):
    kinds = matching.match_by_iou(overlaps, low, high, keep_best=True)[1]
    table = {matching.FOREGROUND: 1, matching.BACKGROUND: 0, matching.UNSURE: -1}
    return torch.tensor([table[kind] for kind in kinds.tolist()])


@theirs("03.decode")
def _(delta, box):
    return boxes.decode(delta[None], box[None], (1.0, 1.0, 1.0, 1.0))[0]


@theirs("03.nms")
def _(boxes, scores, threshold):
    return torchvision.ops.nms(boxes, scores, threshold).tolist()


@theirs("04.level_of_box")
def _(width, height):
    return roi.level_of_boxes(torch.tensor([[0.0, 0.0, width, height]])).item()


@theirs("04.roi_align")
def _(features, box, stride, bins):
    rois = torch.tensor([[0.0, *box]])
    return torchvision.ops.roi_align(features[None], rois, bins, 1 / stride, 2, aligned=True)[0]


@theirs("04.paste_mask")
def _(probs, box, size):
    return paste.paste_masks(probs[None], torch.tensor([box]), size)[0]


@theirs("05.warmup")
def _(rate, step, warmup_steps, factor):
    config = OptimConfig(
        lr=rate, warmup_steps=warmup_steps, warmup_factor=factor, schedule="constant"
    )
    return learning_rate(config, step, 0.0)


@theirs("06.jaccard_loss")
def _(wrong, truth):
    return jaccard_loss(
        *(torch.tensor([i in each for i in range(10)]) for each in (wrong, truth))
    ).item()


@theirs("06.extension")
def _(errors, truth):
    values, order = torch.tensor(errors).sort(descending=True)
    return float(lovasz_gradient(torch.tensor(truth)[order].float()) @ values)


@theirs("06.weights")
def _(errors, is_fg):
    weights, order = torch.zeros(len(errors)), errors.argsort(descending=True)
    weights[order] = lovasz_gradient(is_fg[order].float())
    return weights


@theirs("07.best_scores")
def _(beliefs):
    return minimize_expected_hinge(beliefs).scores


@theirs("08.constant_loss")
def _(p, num_fg, num_bg):
    labels = (torch.arange(num_fg + num_bg) < num_fg).long().view(1, 1, -1)
    probs = torch.tensor([1 - p, p]).view(1, 2, 1, 1).expand(1, 2, 1, num_fg + num_bg)
    return lovasz_softmax(probs, labels, classes=[1]).item()


@theirs("08.bin_weights")
def _(num_fg, num_bg, left, union):
    """The bin stands between one before it and one after it, which make `left` and `union`."""
    before = union - left  # background pixels alone, so that the union is left + before
    fg = torch.tensor([0.0, num_fg, left - num_fg])
    bg = torch.tensor([float(before), num_bg, 0.0])
    return tuple(weights[1].item() for weights in binned_gradient(fg, bg))


@theirs("09.paste_by_score")
def _(masks, scores, min_score, max_overlap):
    size, labels = tuple(masks.shape[1:]), torch.zeros(len(masks), dtype=torch.int64)
    return merge.paste_instances(
        masks, scores, labels, size, min_score=min_score, max_overlap=max_overlap
    )[0]


@theirs("09.add_stuff")
def _(id_map, label_map, min_area):
    segments = [Segment(i, 0, is_thing=True) for i in id_map.unique().tolist() if i]
    return merge.fill_stuff(id_map, label_map, segments, min_area=min_area).id_map


@theirs("09.softer_claim")
def _(mask, score, label_map, confidence, margin):
    probs = confidence.masked_fill((label_map == 0) | (label_map == 255), 0)
    size, scores, labels = (1, len(mask)), torch.tensor([score]), torch.tensor([0])
    options = {"stuff_probs": probs[None], "margin": margin}
    limits = {"min_score": 0.0, "max_overlap": 1.0}
    ids, _ = merge.paste_instances(mask.view(1, *size), scores, labels, size, **limits, **options)
    return ids[0] > 0


@theirs("10.panoptic_quality")
def _(gt_ids, gt_classes, predicted_ids, predicted_classes):
    names = sorted({*gt_classes.values(), *predicted_classes.values()})
    maps = [
        Panoptic(ids, tuple(Segment(i, names.index(n), is_thing=True) for i, n in classes.items()))
        for ids, classes in ((gt_ids, gt_classes), (predicted_ids, predicted_classes))
    ]
    matches = match_segments(*maps)
    result = {}
    for label, name in enumerate(names):
        ious = [iou for truth, _, iou in matches.pairs if truth.label == label]
        unmatched = (*matches.false_positives, *matches.false_negatives)
        below = len(ious) + 0.5 * sum(segment.label == label for segment in unmatched)
        result[name] = sum(ious) / below if below else 0.0
    return result


@pytest.mark.parametrize("name", sorted(THEIRS))
def test_a_reference_computes_what_the_package_or_a_library_does(name):
    exercise = find(name)
    for case in exercise.all_cases():
        ours, other = exercise.reference(*case.arguments), THEIRS[name](*case.arguments)
        if ours is None or isinstance(ours, str):
            assert ours == other
        else:
            assert_close(ours, other, rtol=1e-4, atol=1e-5, check_dtype=False, msg=str(case))
