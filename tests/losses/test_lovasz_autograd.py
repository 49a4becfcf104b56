"""torch.func on the Lovász losses: gradients, maps over samples, forward and second derivatives."""

import pytest
import torch
from torch.func import grad, hessian, jacrev, jvp, vmap
from torch.testing import assert_close

from pfpn.losses import lovasz_hinge, lovasz_softmax, lovasz_softmax_from_logits

LOSSES = {
    "logits": lambda x, y: lovasz_softmax_from_logits(x, y, ignore=9),
    "probs": lambda x, y: lovasz_softmax(x.softmax(1), y, ignore=9),
    "bins": lambda x, y: lovasz_softmax_from_logits(x, y, ignore=9, bins=5),
    "hinge": lambda x, y: lovasz_hinge(x[:, 0], (y == 1).long(), per_image=False),
}
EACH_LOSS = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
EACH_DTYPE = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


@pytest.fixture
def case(rng):
    labels = torch.randint(4, (3, 5, 6), generator=rng)
    labels[0, 0] = 9
    return torch.randn(3, 4, 5, 6, generator=rng, dtype=torch.float64), labels


def by_backward(loss, x, y):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(loss(x, y), x)[0]


@EACH_LOSS
@EACH_DTYPE
def test_grad_is_that_of_backward(loss, dtype, case):
    x, y = case[0].to(dtype), case[1]
    expected = by_backward(loss, x, y)
    assert expected.abs().sum() > 0
    assert_close(grad(loss)(x, y), expected)
    assert_close(jacrev(loss)(x, y), expected)


@EACH_LOSS
@EACH_DTYPE
def test_a_map_over_samples_is_each_alone(loss, dtype, case):
    x, y = case[0].to(dtype), case[1]

    def one(x, y):
        return loss(x[None], y[None])

    assert_close(vmap(one)(x, y), torch.stack([one(*pair) for pair in zip(x, y, strict=True)]))
    alone = [by_backward(one, *pair) for pair in zip(x, y, strict=True)]
    assert_close(vmap(grad(one))(x, y), torch.stack(alone))
    shared = [by_backward(one, pixels, y[1]) for pixels in x]
    moved = vmap(grad(one), in_dims=(1, None), out_dims=1)(x.transpose(0, 1), y[1])
    assert_close(moved.transpose(0, 1), torch.stack(shared))


# torch's own forward derivatives load a table by torch.jit.script, which it calls deprecated itself
QUIET = pytest.mark.filterwarnings("ignore:.*torch.jit.script:FutureWarning")


@QUIET
@EACH_LOSS
def test_forward_derivatives_are_gradient_times_direction(loss, case, rng):
    x, y = case
    direction = torch.randn(x.shape, generator=rng, dtype=x.dtype)
    value, slope = jvp(lambda x: loss(x, y), (x,), (direction,))
    assert_close(value, loss(x, y))
    assert_close(slope, (by_backward(loss, x, y) * direction).sum())


@QUIET
@EACH_LOSS
def test_second_derivatives_are_those_of_differences(loss, case):
    x, y = case[0][:1, :, :2, :2], case[1][1:2, :2, :2]
    computed = hessian(lambda x: loss(x, y))(x).reshape(x.numel(), x.numel())
    step = 1e-6
    by_differences = [
        (by_backward(loss, x + d, y) - by_backward(loss, x - d, y)).flatten() / (2 * step)
        for d in step * torch.eye(x.numel(), dtype=x.dtype).view(-1, *x.shape)
    ]
    assert_close(computed, torch.stack(by_differences), rtol=1e-5, atol=1e-7)


def test_gradients_of_gradients_pass_through_logits(case):
    x, y = case[0][:1, :, :2, :2].requires_grad_(), case[1][1:2, :2, :2]
    assert torch.autograd.gradgradcheck(lambda x: lovasz_softmax_from_logits(x, y), x)
