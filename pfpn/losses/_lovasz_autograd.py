"""How torch differentiates the Lovász losses: backward, forward, twice, mapped over samples.

The operator `pfpn::lovasz`, defined in `lovasz.py`, returns the loss together with its gradient.
The loss is piecewise linear in probabilities and in the hinge's logits, so the gradient is
piecewise constant; by the logits of a softmax it is curved, and can be differentiated again.
"""

from typing import Any

import torch
from torch import Tensor


def differentiable_loss(values: Tensor, labels: Tensor, kind: str, *options: Any) -> Tensor:
    """Return the loss of `pfpn::lovasz` as a function of the values that torch differentiates."""
    # torch.compile knows no functions with rules for torch.func; a graph holds the operator itself
    is_compiling = torch.compiler.is_compiling()
    function = torch.ops.pfpn.lovasz if is_compiling else _LovaszWithRules.apply
    loss: Tensor = function(values, labels, kind, *options)[0]
    return loss


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    """Keep what `_scale` needs; the forward pass has computed the gradient already."""
    values, labels, ctx.kind, *ctx.options = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)  # else zeros come for the gradient that is an output
    ctx.save_for_backward(output[1], values, labels)


def _scale(ctx: Any, scale: Tensor | None, _: Tensor | None) -> Any:
    """Return the derivatives by the inputs of the operator: only the values have one."""
    if scale is None:
        return (None,) * 10
    is_once = torch.compiler.is_compiling() or not torch.is_grad_enabled()
    grad = ctx.saved_tensors[0] if is_once else _differentiable_gradient(ctx)
    return scale * grad, *[None] * 9


def register_gradient() -> None:
    """Say how the operator itself is differentiated, as it is inside of compiled graphs."""
    torch.library.register_autograd("pfpn::lovasz", _scale, setup_context=_save)


class _LovaszWithRules(torch.autograd.Function):
    """With the rules by which torch.func computes forward derivatives and maps over samples."""

    @staticmethod
    def forward(values: Tensor, labels: Tensor, kind: str, *options: Any) -> tuple[Tensor, Tensor]:
        loss, grad = torch.ops.pfpn.lovasz(values, labels, kind, *options)
        return loss, grad

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        _save(ctx, inputs, output)
        ctx.save_for_forward(output[1], *inputs[:2])

    backward = staticmethod(_scale)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: Any) -> tuple[Tensor, None]:
        return (tangent * _differentiable_gradient(ctx)).sum(), None

    @staticmethod
    def vmap(info: Any, axes: Any, values: Tensor, labels: Tensor, *options: Any) -> Any:
        columns = [
            [x] * info.batch_size if axis is None else x.unbind(axis)
            for x, axis in zip((values, labels), axes[:2], strict=True)
        ]
        each = [_LovaszWithRules.apply(*pair, *options) for pair in zip(*columns, strict=True)]
        return tuple(torch.stack(results) for results in zip(*each, strict=True)), (0, 0)


def _differentiable_gradient(ctx: Any) -> Tensor:
    """The gradient as a function of the values; only that by logits is not piecewise constant."""
    grad, logits, labels = ctx.saved_tensors
    if ctx.kind != "logits":
        return grad
    probs = logits.softmax(1)
    _, weights = _LovaszWithRules.apply(probs.detach(), labels, "probs", *ctx.options)
    return probs * (weights - (probs * weights).sum(1, keepdim=True))
