"""Muon beside the singular value decomposition, and beside torch's own for matrices."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pfpn.engine.config import OptimConfig
from pfpn.engine.muon import MAX_ROWS, MIN_ROWS, hidden_kernels, orthogonalize
from pfpn.engine.optim import build_optimizer, set_learning_rate


def network(channels: int = 16, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, channels, 3),
        nn.BatchNorm2d(channels),
        nn.Conv2d(channels, channels, 3),
        nn.Conv2d(channels, 4, 1),
        nn.Flatten(),
        nn.Linear(4 * 4 * 4, 2),
    )


def muon(
    model: nn.Module, precision: torch.dtype | None = None, **changes
) -> torch.optim.Optimizer:
    config = OptimConfig(**({"optimizer": "muon", "lr": 2e-3, "momentum": 0.95} | changes))
    return build_optimizer(model, config, precision)


def descend(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int, first: int = 0) -> None:
    for step in range(first, first + steps):
        torch.manual_seed(100 + step)
        images, expected = torch.randn(4, 3, 8, 8), torch.randint(2, (4,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), expected).backward()
        optimizer.step()


@pytest.mark.parametrize(("rows", "columns"), [(5, 12), (12, 5), (7, 7), (1, 3)])
def test_singular_values_come_near_1_and_directions_stay(rows, columns):
    generator = torch.Generator().manual_seed(3)
    matrices = torch.randn(6, rows, columns, generator=generator)
    result = orthogonalize(matrices)
    u, before, vt = torch.linalg.svd(matrices, full_matrices=False)
    turned = u.mT @ result @ vt.mT  # diagonal, if the directions are the same
    values = turned.diagonal(dim1=1, dim2=2)
    assert_close(turned, torch.diag_embed(values), atol=1e-4, rtol=0)
    large = before > 0.05 * before.norm(dim=1, keepdim=True)
    assert values[large].min() > 0.6
    assert values.max() < 1.25


def test_the_size_of_a_gradient_does_not_matter_and_zeros_stay_zeros():
    matrix = torch.randn(1, 4, 9, generator=torch.Generator().manual_seed(0))
    assert_close(orthogonalize(matrix), orthogonalize(1000 * matrix))
    assert orthogonalize(torch.zeros(2, 3, 4)).eq(0).all()


@pytest.mark.parametrize("precision", [None, torch.bfloat16, torch.float16])
def test_torch_moves_a_kernel_in_the_same_way(precision):
    """torch's Muon computes in bfloat16: within that precision, kernels as matrices agree."""
    model = network()
    kernels = hidden_kernels(model)
    assert [tuple(kernel.shape) for kernel in kernels] == [(16, 3, 3, 3), (16, 16, 3, 3)]
    optimizer = muon(model, precision, muon_factor=10.0)
    views = [nn.Parameter(kernel.detach().flatten(1).clone()) for kernel in kernels]
    peer = torch.optim.Muon(views, lr=2e-2, momentum=0.95, weight_decay=0.0)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        before = [kernel.detach().clone() for kernel in kernels]
        for kernel, view in zip(kernels, views, strict=True):
            # Of full rank: noise of bfloat16 in a direction without gradient would be amplified.
            kernel.grad = torch.randn(kernel.shape, generator=generator)
            view.data = kernel.detach().flatten(1).clone()
            view.grad = kernel.grad.flatten(1)
        optimizer.step()
        peer.step()
        for kernel, view, start in zip(kernels, views, before, strict=True):
            move, expected = kernel.detach() - start, view.detach().view_as(start) - start
            assert (move - expected).norm() < 0.03 * expected.norm()


def test_other_parameters_move_as_adamw_moves_them():
    ours, theirs = network(), network()
    for kernel in hidden_kernels(theirs):
        kernel.requires_grad_(False)
    descend(ours, muon(ours, muon_factor=0.0), 5)  # its kernels stand still too
    descend(theirs, build_optimizer(theirs, OptimConfig(optimizer="adamw", lr=2e-3)), 5)
    for (name, own), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert_close(own, other, msg=lambda text, name=name: f"{name}: {text}")


def test_results_and_wide_layers_are_left_to_adamw():
    narrow, wide = nn.Conv2d(3, MIN_ROWS - 1, 1), nn.Conv2d(3, MAX_ROWS + 1, 1)
    assert hidden_kernels(nn.Sequential(narrow, wide, nn.Linear(32, 32))) == []


def test_every_parameter_is_in_one_group_and_gets_the_rate():
    model = network()
    optimizer = muon(model)
    inside = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(inside) == sorted(id(p) for p in model.parameters())
    set_learning_rate(optimizer, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5] * 3


def test_a_restored_optimizer_goes_on_bit_for_bit():
    whole, parts = network(), network()
    descend(whole, muon(whole), 6)
    first = muon(parts)
    descend(parts, first, 3)
    second = muon(parts)
    second.load_state_dict(first.state_dict())
    descend(parts, second, 3, first=3)
    for own, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(own, other)


def test_memory_order_changes_only_the_rounding():
    plain, last = network(), network().to(memory_format=torch.channels_last)
    descend(plain, muon(plain), 1)
    descend(last, muon(last), 1)
    for own, other in zip(hidden_kernels(plain), hidden_kernels(last), strict=True):
        assert_close(own, other, atol=1e-5, rtol=1e-4)


def test_a_kernel_without_a_gradient_stays():
    model = network()
    optimizer = muon(model)
    model[2].weight.requires_grad_(False)
    before = model[2].weight.clone()
    descend(model, optimizer, 2)
    assert torch.equal(model[2].weight, before)
    assert len(optimizer.param_groups) == 3
