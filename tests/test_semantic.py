import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from pfpn.losses import lovasz_softmax
from pfpn.semantic import STRIDE, SemanticHead, semantic_loss, upsample_logits
from pfpn.structures import IGNORE
from tests.factories import assert_normal


def pyramid_of(size: tuple[int, int], channels: int, batch: int = 2) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {
        f"p{k}": torch.randn(batch, channels, max(1, size[0] // 2**k), max(1, size[1] // 2**k))
        for k in range(2, 7)
    }


def test_logits_lie_at_stride_4():
    head = SemanticHead(6, channels=8, num_classes=5)
    assert head(pyramid_of((64, 96), 6)).shape == (2, 5, 64 // STRIDE, 96 // STRIDE)


def test_weights_start_as_published():
    torch.manual_seed(0)
    head = SemanticHead(16, channels=40, num_classes=60)
    # Kaiming-normal by fan-out: variance 2 / (output channels x kernel size)
    convs = [m for branch in head.branches.values() for m in branch if isinstance(m, nn.Conv2d)]
    assert len(convs) == 7
    for conv in convs:
        assert_normal(conv.weight, std=(2 / (40 * 9)) ** 0.5)
        assert conv.bias is None
    assert_normal(head.classify.weight, std=(2 / 60) ** 0.5)
    assert not head.classify.bias.any()


def test_each_level_is_doubled_as_often_as_it_needs():
    head = SemanticHead(6, channels=8, num_classes=5)
    for level, convolutions, doublings in (("p2", 1, 0), ("p3", 1, 1), ("p4", 2, 2), ("p5", 3, 3)):
        kinds = [type(module) for module in head.branches[level]]
        assert kinds.count(nn.Conv2d) == kinds.count(nn.GroupNorm) == convolutions
        assert kinds.count(nn.Upsample) == doublings


def test_head_equals_the_stages_written_out():
    torch.manual_seed(0)
    head = SemanticHead(6, channels=16, num_classes=5)
    pyramid = pyramid_of((64, 96), 6)
    total = torch.zeros(2, 16, 16, 24)
    for level, branch in head.branches.items():
        x = pyramid[level]
        for module in branch:
            if isinstance(module, nn.Conv2d):
                x = F.conv2d(x, module.weight, padding=1)
            elif isinstance(module, nn.GroupNorm):
                groups = x.unflatten(1, (module.num_groups, -1))
                mean = groups.mean((2, 3, 4), keepdim=True)
                std = (groups.var((2, 3, 4), correction=0, keepdim=True) + 1e-5).sqrt()
                x = ((groups - mean) / std).flatten(1, 2)
                x = x * module.weight[:, None, None] + module.bias[:, None, None]
            elif isinstance(module, nn.ReLU):
                x = x.clamp(min=0)
            else:
                x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        total += x
    expected = torch.einsum("kc,bchw->bkhw", head.classify.weight[:, :, 0, 0], total)
    assert_close(head(pyramid), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("channels", "groups"), [(128, 32), (256, 32), (64, 16), (32, 8), (24, 2), (4, 1)]
)
def test_groups_are_those_of_the_paper_and_never_of_one_channel(channels, groups):
    with torch.device("meta"):
        norm = SemanticHead(8, channels, num_classes=2).branches["p2"][1]
    assert norm.num_groups == groups


def test_head_works_on_a_single_cell():
    head = SemanticHead(6, channels=8, num_classes=5).train()
    pyramid = pyramid_of((32, 32), 6, batch=1)
    assert pyramid["p5"].shape[2:] == (1, 1)
    logits = head(pyramid)
    assert logits.shape == (1, 5, 8, 8)
    logits.sum().backward()
    assert all(p.grad is not None for p in head.parameters())


def test_upsampling_is_fourfold_and_keeps_constants():
    logits = torch.full((1, 2, 3, 4), 0.7)
    assert_close(upsample_logits(logits), torch.full((1, 2, 12, 16), 0.7))


def test_upsampling_puts_a_cell_at_the_middle_of_its_pixels():
    ramp = torch.arange(4.0).view(1, 1, 1, 4)
    row = upsample_logits(ramp)[0, 0, 0]
    # Pixel x has its center at (x + 0.5) / 4 - 0.5 cells.
    expected = ((torch.arange(16) + 0.5) / 4 - 0.5).clamp(0, 3)
    assert_close(row, expected)


def test_loss_of_equal_logits_is_the_logarithm_of_the_number_of_classes(rng):
    labels = torch.randint(0, 5, (2, 6, 7), generator=rng)
    loss = semantic_loss(torch.zeros(2, 5, 6, 7), labels)
    assert_close(loss, torch.tensor(math.log(5)))


def test_loss_leaves_ignored_pixels_out(rng):
    labels = torch.randint(0, 3, (1, 4, 4), generator=rng)
    labels[0, :2] = IGNORE
    logits = torch.randn((1, 3, 4, 4), generator=rng)
    changed = logits.clone()
    changed[:, :, :2] += 5 * torch.randn((1, 3, 2, 4), generator=rng)
    for weights in ({}, {"cross_entropy_weight": 0.0, "lovasz_weight": 1.0}):
        loss = semantic_loss(logits, labels, **weights)
        assert_close(semantic_loss(changed, labels, **weights), loss)
        assert loss > 0


@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0), (1.0, 0.5)])
def test_loss_of_all_void_is_zero_and_so_is_its_gradient(weights):
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    labels = torch.full((1, 4, 4), IGNORE)
    loss = semantic_loss(logits, labels, cross_entropy_weight=weights[0], lovasz_weight=weights[1])
    loss.backward()
    assert loss == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_loss_is_the_weighted_sum_of_its_parts(rng):
    logits = torch.randn((2, 3, 4, 5), generator=rng)
    labels = torch.randint(0, 3, (2, 4, 5), generator=rng)
    cross_entropy = semantic_loss(logits, labels)
    lovasz = semantic_loss(logits, labels, cross_entropy_weight=0.0, lovasz_weight=1.0)
    both = semantic_loss(logits, labels, cross_entropy_weight=2.0, lovasz_weight=0.5)
    assert_close(both, 2 * cross_entropy + 0.5 * lovasz)
    assert 0 < lovasz < 1


@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0), (1.0, 0.5)])
def test_gradient_of_the_loss(rng, weights):
    logits = torch.randn((2, 3, 2, 3), generator=rng, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 3, (2, 2, 3), generator=rng)
    labels[0, 0, 0] = IGNORE
    assert torch.autograd.gradcheck(
        lambda x: semantic_loss(
            x, labels, cross_entropy_weight=weights[0], lovasz_weight=weights[1]
        ),
        logits,
    )


def test_lovasz_sorts_exactly_unless_bins_are_set(rng):
    logits, labels = torch.randn(1, 3, 8, 8, generator=rng), torch.randint(3, (1, 8, 8))
    labels[0, 0] = IGNORE

    def loss(**options) -> float:
        return semantic_loss(
            logits, labels, cross_entropy_weight=0, lovasz_weight=1, **options
        ).item()

    def expected(bins: int | None) -> float:
        return lovasz_softmax(logits.softmax(1), labels, ignore=IGNORE, bins=bins).item()

    assert loss() == loss(lovasz_bins=0) == expected(None)
    assert loss(lovasz_bins=4) == expected(4) != expected(None)


def test_lovasz_looks_at_the_classes_of_the_batch_alone():
    """An absent class has no intersection: its Jaccard loss would be its largest probability."""
    probs = torch.tensor([0.5, 0.2, 0.3])
    logits = probs.log().view(1, 3, 1, 1).expand(1, 3, 1, 2)
    labels = torch.tensor([[[0, 1]]])
    loss = semantic_loss(logits, labels, cross_entropy_weight=0.0, lovasz_weight=1.0)
    # Class 0: errors 0.5 (its own pixel) and 0.5, so 0.5. Class 1: errors 0.8 (its own) and 0.2,
    # the first alone costs the whole intersection, so 0.8.
    assert_close(loss, torch.tensor((0.5 + 0.8) / 2))
