"""Muon: steps of equal size in every direction of a kernel; small networks learn faster."""

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

MIN_ROWS, MAX_ROWS = 16, 255  # output channels of a kernel that Muon moves; see `hidden_kernels`
QUINTIC = (3.4445, -4.7750, 2.0315)  # steep at 0: small singular values grow fast


def orthogonalize(matrices: Float[Tensor, "n r c"], steps: int = 5) -> Float[Tensor, "n r c"]:
    """Return each matrix with its singular values moved close to 1, roughly into [0.7, 1.2].

    With U S V^T as a matrix's singular value decomposition, the result is close to U V^T. It takes
    products alone: each step applies an odd polynomial to all singular values at once, and needs no
    decomposition. Values near 0 need more steps; a matrix of zeros stays one.

    Args:
        matrices: any; time grows with the square of the shorter side.
        steps: of the Newton-Schulz iteration.

    Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks".
    """
    is_tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if is_tall else matrices
    x = x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-7)  # no singular value exceeds 1
    a, b, c = QUINTIC
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if is_tall else x


def hidden_kernels(model: nn.Module) -> list[Tensor]:
    """Return the convolution kernels that Muon moves.

    Not those with few output channels: a layer that gives the results is not hidden. And not those
    with 256 or more: the products would take as long as the rest of a step on a CPU.
    """
    return [
        module.weight
        for module in model.modules()
        if isinstance(module, nn.Conv2d) and MIN_ROWS <= module.weight.shape[0] <= MAX_ROWS
    ]


class Muon(torch.optim.AdamW):
    """Muon for hidden kernels, AdamW for all other parameters, as one optimizer.

    A kernel (out, in, h, w) is a matrix with one row per output channel. Its gradient is averaged
    over steps, then made orthogonal, so that a step goes equally far along directions with large
    and with small gradients. The rate of kernels is `factor` times that of AdamW's parameters.

    Args:
        kernels: moved by Muon; they do not decay.
        groups: of other parameters, for AdamW.
        lr: of AdamW.
        factor: the rate of the kernels, relative to `lr`.
        momentum: of the kernels' averaged gradient.
        dtype: that the products are computed in; bfloat16 is enough, where the device has units.
        others: further settings of AdamW.

    Source: Jordan et al. 2024, with Nesterov's momentum as there.
    """

    def __init__(
        self,
        kernels: Iterable[Tensor],
        groups: list[dict[str, Any]],
        *,
        lr: float,
        factor: float,
        momentum: float,
        dtype: torch.dtype = torch.float32,
        **others: Any,
    ):
        muon = {"params": list(kernels), "momentum": momentum, "lr_factor": factor}
        super().__init__([*groups, muon], lr=lr, **others)
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Move all parameters that have a gradient; return the loss if a closure computes it."""
        *groups, muon = self.param_groups
        try:
            self.param_groups = groups
            loss = super().step(closure)
        finally:
            self.param_groups = [*groups, muon]
        alike: dict[torch.Size, list[Tensor]] = {}
        for kernel in muon["params"]:
            if kernel.grad is not None:
                alike.setdefault(kernel.shape, []).append(kernel)
        for shape, kernels in alike.items():  # equal shapes together: fewer, larger products
            rows = shape[0]
            steps = [self._averaged(kernel, muon["momentum"]) for kernel in kernels]
            size = muon["lr"] * muon["lr_factor"] * max(1.0, rows**2 / shape.numel()) ** 0.5
            matrices = torch.stack(steps).flatten(2)
            moves = orthogonalize(matrices.to(self.dtype)).to(matrices.dtype)
            torch._foreach_add_(kernels, list(moves.unflatten(2, shape[1:])), alpha=-size)
        return loss

    def _averaged(self, kernel: Tensor, momentum: float) -> Tensor:
        """Return the gradient, averaged with those of earlier steps: Nesterov's momentum."""
        assert kernel.grad is not None
        state = self.state[kernel]
        if "momentum_buffer" not in state:
            # AdamW's code for loading a state looks for a count of steps in every entry.
            state["step"] = torch.zeros(())
            state["momentum_buffer"] = torch.zeros_like(kernel)
        state["step"] += 1
        average = state["momentum_buffer"].lerp_(kernel.grad, 1 - momentum)
        return kernel.grad.lerp(average, momentum).contiguous()
