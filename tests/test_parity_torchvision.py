"""torchvision's own parts, where they define the same thing as ours."""

from collections import OrderedDict

import pytest
import torch
import torchvision
from torch.testing import assert_close
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RPNHead as TorchvisionRPNHead
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from pfpn.anchors import pyramid_anchors
from pfpn.backbone import ResNet
from pfpn.boxes import batched_nms, decode, encode, iou, masks_to_boxes
from pfpn.fpn import FPN, STRIDES
from pfpn.roi import pool
from pfpn.rpn import RPNHead
from tests.factories import random_boxes

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("depth", [18, 50])
def test_resnet_with_equal_weights(depth):
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, f"resnet{depth}")(num_classes=1).eval()
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1)
            module.bias.data.normal_(std=0.1)
    ours = ResNet(depth, norm="frozen", stride_in_1x1=False, frozen_stages=0).eval()
    state = theirs.state_dict()
    ours.load_state_dict({key: state[key] for key in ours.state_dict()})
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        features = ours(image)
        x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(image))))
        for i in range(1, 5):
            x = getattr(theirs, f"layer{i}")(x)
            assert_close(features[f"c{i + 1}"], x, rtol=1e-4, atol=1e-5 * x.abs().max().item())


@pytest.fixture
def features() -> OrderedDict[str, torch.Tensor]:
    torch.manual_seed(0)
    return OrderedDict(
        (f"c{k}", torch.randn(2, c, 128 // 2**k, 192 // 2**k))
        for k, c in zip(range(2, 6), (4, 8, 16, 32), strict=True)
    )


def test_pyramid_with_equal_weights(features):
    theirs = FeaturePyramidNetwork([4, 8, 16, 32], 8, extra_blocks=LastLevelMaxPool())
    ours = FPN([4, 8, 16, 32], 8)
    for i, k in enumerate(range(2, 6)):
        ours.lateral[f"c{k}"].load_state_dict(theirs.inner_blocks[i][0].state_dict())
        ours.smooth[f"p{k}"].load_state_dict(theirs.layer_blocks[i][0].state_dict())
    for pooled, expected in zip(ours(features).values(), theirs(features).values(), strict=True):
        assert_close(pooled, expected)


def test_proposal_head_with_equal_weights(features):
    torch.manual_seed(0)
    theirs, ours = TorchvisionRPNHead(8, 3), RPNHead(8, 3)
    ours.conv.load_state_dict(theirs.conv[0][0].state_dict())
    ours.objectness.load_state_dict(theirs.cls_logits.state_dict())
    ours.deltas.load_state_dict(theirs.bbox_pred.state_dict())
    pyramid = FPN([4, 8, 16, 32], 8)(features)
    logits, deltas = ours(pyramid)
    their_logits, their_deltas = theirs(list(pyramid.values()))
    for i in range(5):  # theirs (b, a, h, w) and (b, 4 a, h, w), flattened as its own RPN does
        assert_close(logits[i], their_logits[i].permute(0, 2, 3, 1).flatten(1))
        expected = their_deltas[i].unflatten(1, (3, 4)).permute(0, 3, 4, 1, 2).reshape(2, -1, 4)
        assert_close(deltas[i], expected)


def test_anchors_where_rounding_changes_nothing():
    sides, ratios = (8.0, 16.0, 32.0, 64.0, 128.0), (0.25, 1.0, 4.0)  # halves of sides are whole
    image = torch.zeros(1, 3, 128, 192)
    pyramid = {level: torch.zeros(1, 1, 128 // s, 192 // s) for level, s in STRIDES.items()}
    generator = AnchorGenerator(tuple((s,) for s in sides), (ratios,) * 5)
    (expected,) = generator(ImageList(image, [(128, 192)]), list(pyramid.values()))
    assert_close(torch.cat(pyramid_anchors(pyramid, sides, ratios)), expected)


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0)])
def test_box_coding(rng, weights):
    coder = BoxCoder(weights)
    boxes, targets = random_boxes(100, rng), random_boxes(100, rng)
    assert_close(
        encode(targets, boxes, weights), coder.encode_single(targets, boxes), rtol=1e-4, atol=1e-5
    )
    deltas = 4 * torch.randn((100, 4), generator=rng)
    expected = coder.decode_single(deltas, boxes)
    assert_close(decode(deltas, boxes, weights), expected, rtol=1e-5, atol=1e-3)


def test_iou(rng):
    a, b = random_boxes(40, rng), random_boxes(50, rng)
    assert_close(iou(a, b), torchvision.ops.box_iou(a, b))


def test_boxes_of_masks_but_for_the_last_pixel(rng):
    masks = torch.rand((10, 20, 30), generator=rng) < 0.02
    masks[:, 5, 5] = True  # torchvision fails on an empty mask
    inclusive = torchvision.ops.masks_to_boxes(masks)
    assert_close(masks_to_boxes(masks), inclusive + torch.tensor([0.0, 0.0, 1.0, 1.0]))


def test_suppression_per_group_is_suppression_of_each_group(rng):
    boxes, scores = random_boxes(80, rng, (20, 20)), torch.rand(80, generator=rng)
    groups = torch.randint(0, 3, (80,), generator=rng)
    kept = []
    for group in range(3):
        rows = (groups == group).nonzero()[:, 0]
        kept += rows[torchvision.ops.nms(boxes[rows], scores[rows], 0.5)].tolist()
    kept.sort(key=lambda i: -scores[i])
    assert batched_nms(boxes, scores, groups, 0.5).tolist() == kept


@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_pooling_over_levels_as_torchvision_places_samples(rng, sampling_ratio):
    size = (512, 640)
    pyramid = {
        level: torch.randn((2, 3, size[0] // s, size[1] // s), generator=rng)
        for level, s in STRIDES.items()
    }
    boxes = [random_boxes(30, rng, size), random_boxes(20, rng, size)]
    theirs = MultiScaleRoIAlign(["p2", "p3", "p4", "p5"], 7, sampling_ratio)  # 224 on level 4
    expected = theirs(dict(pyramid), boxes, [size, size])
    pooled = pool(pyramid, boxes, 7, sampling_ratio=sampling_ratio, aligned=False)
    assert_close(pooled, expected)
