import math

import pytest
import torch
from torch.testing import assert_close

from pfpn.mask_head import MASK_THRESHOLD, MaskHead, mask_loss, mask_targets
from tests.factories import assert_normal, random_boxes
from tests.oracles import roi as slow


@pytest.mark.parametrize("num_convs", [0, 1, 4])
def test_head_doubles_the_grid(num_convs):
    head = MaskHead(in_channels=4, channels=6, num_convs=num_convs, num_things=3)
    labels = torch.tensor([0, 2, 1, 1, 0])
    assert head(torch.randn(5, 4, 7, 7), labels).shape == (5, 14, 14)


def test_weights_start_as_published():
    torch.manual_seed(0)
    head = MaskHead(in_channels=12, channels=40, num_convs=2, num_things=60)
    # Kaiming-normal by fan-out: variance 2 / (output channels x kernel size). torch counts the
    # first axis as output; in a transposed convolution that is the input, here as wide.
    for conv in head.convs:
        assert_normal(conv.weight, std=(2 / (40 * 9)) ** 0.5)
    assert_normal(head.upsample.weight, std=(2 / (40 * 4)) ** 0.5)
    assert_normal(head.classify.weight, std=0.001)
    for layer in (*head.convs, head.upsample, head.classify):
        assert not layer.bias.any()


def test_head_without_boxes_gives_no_masks_but_gradients():
    head = MaskHead(in_channels=4, channels=6, num_convs=2, num_things=3)
    logits = head(torch.zeros(0, 4, 7, 7), torch.zeros(0, dtype=torch.int64))
    assert logits.shape == (0, 14, 14)
    mask_loss(logits, [torch.zeros(0, 14, 14, dtype=torch.bool)]).backward()
    assert all(p.grad is not None and not p.grad.any() for p in head.parameters())


def test_each_box_gets_the_mask_of_its_own_class():
    head = MaskHead(in_channels=2, channels=3, num_convs=1, num_things=4)
    head.classify.weight.data.zero_()
    head.classify.bias.data = torch.tensor([10.0, 11.0, 12.0, 13.0])
    logits = head(torch.randn(3, 2, 5, 5), torch.tensor([3, 0, 2]))
    assert logits.amax((1, 2)).tolist() == logits.amin((1, 2)).tolist() == [13, 10, 12]


def test_target_of_a_box_inside_its_mask_is_full_and_outside_empty():
    masks = torch.zeros((1, 40, 60), dtype=torch.bool)
    masks[0, 10:30, 20:50] = True
    rois = torch.tensor([[20.0, 10, 50, 30], [22.0, 12, 40, 20], [0.0, 0, 15, 8]])
    targets = mask_targets(rois, masks, torch.zeros(3, dtype=torch.int64), 14)
    assert targets.flatten(1).float().mean(1).tolist() == [1, 1, 0]


def test_target_of_a_box_around_half_a_mask_is_half():
    masks = torch.zeros((1, 40, 60), dtype=torch.bool)
    masks[0, :, 30:] = True
    (target,) = mask_targets(torch.tensor([[16.0, 4, 44, 32]]), masks, torch.tensor([0]), 28)
    assert torch.equal(target, torch.arange(28).ge(14).expand(28, 28))


def test_targets_follow_the_matching(rng):
    masks = torch.zeros((2, 20, 20), dtype=torch.bool)
    masks[1] = True
    rois = random_boxes(4, rng, size=(20, 20))
    targets = mask_targets(rois, masks, torch.tensor([1, 0, 0, 1]), 7)
    assert targets.flatten(1).all(1).tolist() == [True, False, False, True]
    assert targets.flatten(1).any(1).tolist() == [True, False, False, True]


def test_targets_equal_the_slow_version(rng):
    masks = torch.rand((3, 30, 40), generator=rng) < 0.5
    rois = torch.cat([random_boxes(4, rng, size=(30, 40)), torch.tensor([[3.3, 4.4, 5.1, 6.6]])])
    matched = torch.tensor([0, 1, 2, 0, 1])
    targets = mask_targets(rois, masks, matched, 6)
    for target, roi, i in zip(targets, rois.tolist(), matched.tolist(), strict=True):
        covered = slow.roi_align(masks[i : i + 1].double(), roi, 6, stride=1)[0]
        unclear = (covered - MASK_THRESHOLD).abs() < 1e-4  # float32 may fall on either side
        assert unclear.float().mean() < 0.2
        assert torch.equal(target[~unclear], covered[~unclear] >= MASK_THRESHOLD)


@pytest.mark.parametrize("num_masks", [0, 2])
def test_no_rois_need_no_targets(num_masks):
    masks = torch.ones((num_masks, 9, 9), dtype=torch.bool)
    targets = mask_targets(torch.zeros(0, 4), masks, torch.zeros(0, dtype=torch.int64), 28)
    assert targets.shape == (0, 28, 28)
    assert targets.dtype == torch.bool


def test_loss_by_hand():
    logits = torch.tensor([0.0, 2.0, -1.0, 0.0]).view(4, 1, 1)
    targets = [torch.ones(3, 1, 1, dtype=torch.bool), torch.zeros(1, 1, 1, dtype=torch.bool)]
    expected = (2 * math.log(2) + math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1))) / 4
    assert_close(mask_loss(logits, targets), torch.tensor(expected))


@pytest.mark.parametrize("n", [0, 3])
def test_gradient_of_the_loss(rng, n):
    logits = torch.randn((n, 4, 4), generator=rng, dtype=torch.float64, requires_grad=True)
    targets = torch.rand((n, 4, 4), generator=rng) < 0.5
    assert torch.autograd.gradcheck(lambda x: mask_loss(x, [targets]), logits)


def test_loss_of_16_bit_logits_is_summed_in_32_bit(rng):
    logits = torch.randn((9, 28, 28), generator=rng).bfloat16()
    targets = [torch.rand((9, 28, 28), generator=rng) < 0.5]
    loss = mask_loss(logits, targets)
    assert loss.dtype == torch.float32
    assert_close(loss, mask_loss(logits.float(), targets))
