"""How the weights move: which parameters decay, how the rate runs, how averages are kept."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from pfpn.engine.config import OptimConfig, TrainConfig
from pfpn.engine.muon import Muon, hidden_kernels

NORM_LAYERS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)


def param_groups(model: nn.Module, config: OptimConfig) -> list[dict]:
    """Split the trainable parameters into those that decay and those that don't.

    A norm layer's scale is no weight: shrinking it does not make the network simpler.
    """
    decayed: list[Tensor] = []
    free: list[Tensor] = []
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad:
                continue
            decays = config.decay_biases or name != "bias"
            decays = decays and not isinstance(module, NORM_LAYERS)
            (decayed if decays else free).append(parameter)
    return [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]


def build_optimizer(
    model: nn.Module, config: OptimConfig, precision: torch.dtype | None = None
) -> torch.optim.Optimizer:
    """Return SGD with momentum, AdamW or Muon over the trainable parameters.

    `precision` is that of mixed precision, None for full; Muon's products are computed in bfloat16
    where the network's are.
    """
    groups = param_groups(model, config)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True)
    kernels = [kernel for kernel in hidden_kernels(model) if kernel.requires_grad]
    moved = {id(kernel) for kernel in kernels}
    for group in groups:
        group["params"] = [p for p in group["params"] if id(p) not in moved]
    return Muon(
        kernels,
        groups,
        lr=config.lr,
        factor=config.muon_factor,
        momentum=config.momentum,
        dtype=torch.bfloat16 if precision == torch.bfloat16 else torch.float32,
        betas=config.betas,
        fused=True,
    )


def learning_rate(config: OptimConfig, step: int, progress: float) -> float:
    """Return the rate of `step`, counted from 0.

    Args:
        config: the schedule.
        step: decides warm-up and milestones.
        progress: fraction of the run that is done; decides linear and cosine falls.
    """
    rate = config.lr
    if step < config.warmup_steps:
        done = step / config.warmup_steps
        rate *= config.warmup_factor * (1 - done) + done
    if config.schedule == "step":
        rate *= config.gamma ** sum(step >= milestone for milestone in config.milestones)
    elif config.schedule in ("linear", "cosine") and progress > config.decay_start:
        fallen = (progress - config.decay_start) / (1 - config.decay_start)
        if config.schedule == "cosine":
            fallen = (1 - math.cos(math.pi * fallen)) / 2
        rate *= 1 + (config.final_factor - 1) * fallen
    return rate


def batch_factor(config: TrainConfig) -> float:
    """Return what the rate is multiplied by, because the batch is not the one that it is for.

    In proportion: k times the images have k times the step in one direction. It holds while the
    batch is small, and warm-up gets it over the beginning.
    """
    return config.batch_size / (config.optim.reference_batch or config.batch_size)


def describe_factor(config: TrainConfig) -> str:
    """Say what `batch_factor` does, and which schedule would show as many images; "" if nothing."""
    factor, optim = batch_factor(config), config.optim
    if factor == 1:
        return ""
    settings = {"max_steps": str(round(config.max_steps / factor))}
    if optim.schedule == "step":
        steps = ",".join(str(round(step / factor)) for step in optim.milestones)
        settings["optim.milestones"] = steps
    if optim.warmup_steps:
        settings["optim.warmup_steps"] = str(round(optim.warmup_steps / factor))
    more = " ".join(f"{key}={value}" for key, value in settings.items())
    return (
        f"learning rate: {optim.lr * factor:g} instead of {optim.lr:g}, for batch_size="
        f"{config.batch_size} instead of {optim.reference_batch} (optim.reference_batch=0 leaves "
        f"it as it is). The steps stay as they are; for as many images in all: {more}"
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group the same rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def trainable(model: nn.Module) -> Iterator[Tensor]:
    """Yield the parameters that learn."""
    return (parameter for parameter in model.parameters() if parameter.requires_grad)


def clip_gradients(model: nn.Module, max_norm: float) -> Tensor:
    """Shrink the gradient to at most `max_norm` (0: not at all); return the norm it had."""
    parameters = [p for p in trainable(model) if p.grad is not None]
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if max_norm > 0:
        nn.utils.clip_grads_with_norm_(parameters, max_norm, norm)
    return norm


class WeightAverage:
    """A running average of a model's weights, which scores better than the last ones alone.

    Averages parameters and norm statistics alike. Early on it follows faster, so that the random
    start is soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        self.num_updates = 0
        self.state = {key: value.detach().clone() for key, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move a little towards the model's weights."""
        self.num_updates += 1
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))
        current = model.state_dict()
        averaged = [key for key, value in self.state.items() if value.is_floating_point()]
        torch._foreach_lerp_(
            [self.state[key] for key in averaged],
            [current[key] for key in averaged],
            1 - decay,
        )
        for key in self.state.keys() - set(averaged):  # counters
            self.state[key].copy_(current[key])
