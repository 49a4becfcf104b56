"""Cross-entropy and the soft set losses."""

import math
from unittest.mock import Mock

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from pfpn.losses import segmentation
from pfpn.losses.segmentation import (
    as_float64,
    dice_loss,
    pixel_cross_entropy,
    soft_jaccard_loss,
)
from pfpn.structures import IGNORE

SOFT = [dice_loss, soft_jaccard_loss]


def one_hot(labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    return F.one_hot(labels, num_classes).movedim(-1, 1).float()


def test_cross_entropy_of_equal_logits_is_the_logarithm_of_the_classes():
    loss = pixel_cross_entropy(torch.zeros(2, 5, 3, 3), torch.zeros(2, 3, 3, dtype=torch.long))
    assert_close(loss.item(), math.log(5))


def test_cross_entropy_is_the_mean_over_the_pixels_of_the_batch_that_count(rng):
    logits = torch.randn(2, 3, 4, 4, generator=rng)
    labels = torch.randint(3, (2, 4, 4), generator=rng)
    labels[0, :3] = IGNORE  # the first image has 4 pixels left, the second 16
    counted = labels != IGNORE
    terms = -logits.log_softmax(1).movedim(1, -1)[counted].gather(1, labels[counted][:, None])
    assert_close(pixel_cross_entropy(logits, labels), terms.mean())
    assert counted.sum() == 20


def test_cross_entropy_takes_another_label_to_ignore(rng):
    logits = torch.randn(1, 3, 4, 4, generator=rng)
    labels = torch.randint(3, (1, 4, 4), generator=rng)
    expected = F.cross_entropy(logits, labels, ignore_index=2)
    assert_close(pixel_cross_entropy(logits, labels, ignore=2), expected)


def test_cross_entropy_without_a_pixel_that_counts_is_zero_with_zero_gradient():
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss = pixel_cross_entropy(logits, torch.full((2, 4, 4), IGNORE))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_cross_entropy_of_half_precision_is_computed_in_float32(dtype, rng):
    logits = torch.randn(1, 3, 64, 64, generator=rng).to(dtype).requires_grad_()
    labels = torch.randint(3, (1, 64, 64), generator=rng)
    loss = pixel_cross_entropy(logits, labels)
    loss.backward()
    assert loss.dtype == torch.float32
    assert logits.grad.dtype == dtype
    assert_close(loss, F.cross_entropy(logits.float(), labels))


def test_cross_entropy_has_the_gradient_of_its_differences(rng):
    logits = torch.randn(2, 3, 2, 2, generator=rng, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[[0, 1], [2, IGNORE]], [[1, 1], [0, 2]]])
    assert torch.autograd.gradcheck(lambda x: pixel_cross_entropy(x, labels), logits)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("loss", [pixel_cross_entropy, *SOFT])
def test_soft_labels_are_refused_and_the_message_says_what_to_do(loss):
    """Cut to integers, a mask of 0..1 would be background everywhere."""
    mask = torch.full((1, 4, 4), 254 / 255)
    with pytest.raises(ValueError, match=r"found torch\.float32, expected integers.*mask > 0\.5"):
        loss(torch.rand(1, 2, 4, 4), mask)


@pytest.mark.parametrize("loss", [pixel_cross_entropy, *SOFT])
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int16, torch.int32])
def test_labels_of_any_integer_type_are_read(loss, dtype, rng):
    scores = torch.rand(2, 2, 4, 4, generator=rng)
    labels = torch.randint(2, (2, 4, 4), generator=rng)
    assert torch.equal(loss(scores, labels.to(dtype)), loss(scores, labels))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("loss", [pixel_cross_entropy, *SOFT])
def test_sums_beyond_the_range_of_half_precision_stay_finite(loss, dtype):
    """float16 ends at 65504: 400 x 400 pixels that each cost about 1 would sum to infinity."""
    labels = torch.zeros(1, 400, 400, dtype=torch.long)
    scores = torch.tensor([0.3, 0.7]).view(1, 2, 1, 1).expand(1, 2, 400, 400).to(dtype)
    value = loss(scores, labels)
    assert value.dtype == torch.float32
    assert_close(value, loss(scores.float(), labels))
    assert 0 < value.item() < 1


def test_apples_gpus_are_the_devices_without_float64():
    assert segmentation._lacks_float64(torch.device("mps"))
    assert not segmentation._lacks_float64(torch.device("cpu"))
    assert not segmentation._lacks_float64(torch.device("cuda:1"))


@pytest.mark.usefixtures("unchecked")
def test_values_of_a_device_without_float64_come_to_the_cpu():
    there = Mock(device=torch.device("mps"))
    there.cpu.return_value = torch.tensor([0.5])
    assert_close(as_float64(there), torch.tensor([0.5], dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float16, torch.float64])
def test_values_become_float64(dtype):
    values = torch.tensor([0, 1], dtype=dtype)
    assert_close(as_float64(values), torch.tensor([0.0, 1.0], dtype=torch.float64))


@pytest.mark.parametrize("loss", SOFT)
def test_soft_losses_are_0_where_all_is_right_and_1_where_all_is_wrong(loss):
    labels = torch.tensor([[[0, 1], [1, 1]]])
    assert_close(loss(one_hot(labels, 3), labels).item(), 0.0)
    assert_close(loss(one_hot(2 - labels.clamp(max=0), 3), labels).item(), 1.0)


def test_soft_losses_at_corners_count_pixels():
    labels = torch.tensor([[[0, 0, 1, 1]]])
    probs = one_hot(torch.tensor([[[0, 1, 1, 1]]]), 2)
    # class 0: 1 of 2 found, nothing else; class 1: 2 of 2 found and 1 too many.
    assert_close(dice_loss(probs, labels).item(), ((1 - 2 / 3) + (1 - 4 / 5)) / 2)
    assert_close(soft_jaccard_loss(probs, labels).item(), ((1 - 1 / 2) + (1 - 2 / 3)) / 2)


def test_one_pixel_of_one_class_has_its_own_loss():
    labels = torch.tensor([[[1, IGNORE]]])
    logits = torch.tensor([0.0, 2.0]).view(1, 2, 1, 1).expand(1, 2, 1, 2)
    assert_close(pixel_cross_entropy(logits, labels).item(), math.log(1 + math.exp(-2)))
    probs = torch.tensor([0.2, 0.8]).view(1, 2, 1, 1).expand(1, 2, 1, 2)
    assert_close(dice_loss(probs, labels).item(), 1 - 2 * 0.8 / (0.8 + 1))
    assert_close(soft_jaccard_loss(probs, labels).item(), 1 - 0.8)


@pytest.mark.parametrize("loss", SOFT)
def test_soft_losses_leave_out_ignored_pixels_and_absent_classes(loss, rng):
    probs = torch.randn(1, 4, 3, 5, generator=rng).softmax(1)
    labels = torch.randint(3, (1, 3, 5), generator=rng)
    labels[:, :, 3:] = IGNORE
    assert_close(loss(probs, labels), loss(probs[..., :3], labels[..., :3]))
    with_absent = torch.cat([probs, torch.rand(1, 2, 3, 5, generator=rng)], 1)
    assert_close(loss(with_absent, labels), loss(probs, labels))


@pytest.mark.parametrize("loss", SOFT)
def test_soft_losses_without_a_pixel_that_counts_are_zero_with_zero_gradient(loss):
    probs = torch.rand(1, 3, 4, 4, requires_grad=True)
    value = loss(probs, torch.full((1, 4, 4), IGNORE))
    value.backward()
    assert value.item() == 0
    assert not probs.grad.any()


@pytest.mark.parametrize("loss", SOFT)
def test_soft_losses_have_the_gradient_of_their_differences(loss, rng):
    probs = torch.rand(1, 3, 2, 3, generator=rng, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[[0, 1, 2], [IGNORE, 0, 0]]])
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), probs)
