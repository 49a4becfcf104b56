"""How much memory a training step takes, estimated before it begins; and a way to take less.

What a step keeps for its backward pass is not computed by a formula: the model itself is run on
tensors that have a shape and no content, and what autograd would keep is counted.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from pfpn.data.loader import PanopticDataset
from pfpn.engine.batches import first_readable
from pfpn.engine.config import DataConfig, TrainConfig
from pfpn.engine.muon import hidden_kernels
from pfpn.engine.optim import trainable
from pfpn.fpn import COARSEST_STRIDE
from pfpn.model import PanopticFPN
from pfpn.predict import resize_size
from pfpn.semantic import semantic_loss, upsample_logits
from pfpn.structures import IGNORE

GIB = 2**30
STATES = {"sgd": 1, "adamw": 2, "muon": 2}  # numbers that an optimizer keeps per weight


@dataclass(frozen=True, slots=True)
class StepMemory:
    """What a training step takes on one device, in bytes."""

    state: int  # weights, the optimizer's numbers, the running average
    gradients: int  # of the weights
    activations: int  # kept from the forward for the backward pass
    passing: int  # the largest of what comes and goes meanwhile

    @property
    def total(self) -> int:
        """What is there at once: gradients come as activations go."""
        return self.state + max(self.gradients, self.activations + self.passing)


def estimate_memory(
    config: TrainConfig,
    num_images: int,
    size: tuple[int, int],
    *,
    precision: torch.dtype | None = None,
    world: int = 1,
) -> StepMemory:
    """Count what a step takes; libraries' scratch space and fragmentation come on top.

    As many rois are foreground as may be, which a model that begins to learn does not reach.

    Args:
        config: its model has the class counts of the data set.
        num_images: seen at once by one process.
        size: (height, width) of the padded batch, in pixels.
        precision: of mixed precision, None for full.
        world: number of processes; several keep gradients all the time.
    """
    with FakeTensorMode():
        model = PanopticFPN(config.model).train()
        if config.gradient_checkpointing:
            recompute_blocks(model)
        with count_saved() as saved, torch.autocast("cpu", precision, precision is not None):
            largest = _run_without_content(model, num_images, size)
        learning = sum(_bytes(parameter) for parameter in trainable(model))
        state = _state_bytes(model, config) + (learning if world > 1 else 0)
    return StepMemory(state, learning, sum(saved.values()), largest)


def checkpoint_bytes(config: TrainConfig) -> int:
    """Return the size of a checkpoint on disk; nothing is allocated."""
    with torch.device("meta"):
        return _state_bytes(PanopticFPN(config.model), config)


def _state_bytes(model: PanopticFPN, config: TrainConfig) -> int:
    """Return the bytes of weights, running average and the optimizer's numbers."""
    weights = sum(_bytes(tensor) for tensor in model.state_dict().values())
    learning = sum(_bytes(parameter) for parameter in trainable(model))
    numbers = learning * STATES[config.optim.optimizer]
    if config.optim.optimizer == "muon":
        numbers -= sum(_bytes(kernel) for kernel in hidden_kernels(model) if kernel.requires_grad)
    return weights * (2 if config.optim.ema_decay else 1) + numbers


def _run_without_content(model: PanopticFPN, num_images: int, size: tuple[int, int]) -> int:
    """Run all that has gradients; return the bytes of the largest thing that comes and goes."""
    c = model.config
    pyramid = model.pyramid(torch.empty(num_images, 3, *size))
    largest = 2 * _bytes(pyramid["p2"])  # the gradient of p2, and a part that is added to it
    if c.semantic_branch:
        logits = upsample_logits(model.semantic_head(pyramid))
        labels = torch.full((num_images, *size), IGNORE)
        semantic_loss(logits, labels, lovasz_weight=0.0)  # its own memory is linear in pixels
        # The gradients of probabilities and of logits; Lovasz adds sorted errors and their order.
        largest = max(largest, logits.numel() * 4 * (4 if c.lovasz_weight else 2))
    if c.instance_branch:
        model.rpn_head(pyramid)
        num_rois = num_images * c.box_samples
        num_masks = round(num_rois * c.box_positive_fraction)
        pooled = pyramid["p2"].new_empty
        bins = (c.pyramid_channels, c.box_bins, c.box_bins)
        model.box_head(pooled((num_rois, *bins), requires_grad=True))
        bins = (c.pyramid_channels, c.mask_bins, c.mask_bins)
        labels = torch.zeros(num_masks, dtype=torch.int64)
        model.mask_head(pooled((num_masks, *bins), requires_grad=True), labels)
    return largest


@contextmanager
def count_saved() -> Iterator[dict[Any, int]]:
    """Yield a dict that collects the bytes of what autograd keeps for backward, without weights."""
    saved: dict[Any, int] = {}
    kept = []  # else a freed tensor's address could be given to another

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if not (tensor.is_leaf and tensor.requires_grad) and not isinstance(tensor, nn.Parameter):
            saved[storage._cdata] = storage.nbytes()
            kept.append(storage)
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        yield saved


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


# which size ---------------------------------------------------------------------------------------


def largest_size(data: DataConfig, dataset: PanopticDataset) -> tuple[int, int]:
    """Return (height, width) in pixels of the largest batch that training can meet, padded."""
    known: Callable[[], Sequence[tuple[int, int]]] | None = getattr(dataset, "sizes", None)
    sizes = set(known()) if known else {_size_of(first_readable(dataset).image)}
    edges = data.shortest_edges if 0 not in data.shortest_edges else (*data.shortest_edges, 0)
    seen = [resize_size(size, edge, data.longest_edge) for size in sizes for edge in set(edges)]
    if data.crop != (0, 0):
        seen = [(min(h, data.crop[0]), min(w, data.crop[1])) for h, w in seen]
    groups = [seen]
    if data.group_by_aspect:
        groups = [[(h, w) for h, w in seen if (w > h) == wide] for wide in (False, True)]
    padded = [
        tuple(-(-max(side) // COARSEST_STRIDE) * COARSEST_STRIDE for side in zip(*g, strict=True))
        for g in groups
        if g
    ]
    height, width = max(padded, key=lambda size: size[0] * size[1])
    return height, width


def _size_of(image: Tensor) -> tuple[int, int]:
    return image.shape[1], image.shape[2]


def describe_memory(memory: StepMemory, num_images: int, size: tuple[int, int]) -> str:
    """Return it as one line of text."""
    return (
        f"memory: about {memory.total / GIB:.1f} GiB per process for {num_images} images of up to "
        f"{size[0]} x {size[1]} pixels ({memory.activations / GIB:.1f} activations, "
        f"{memory.state / GIB:.1f} weights and optimizer, {memory.passing / GIB:.1f} passing); "
        "libraries come on top"
    )


# taking less --------------------------------------------------------------------------------------


def recompute_blocks(model: PanopticFPN) -> None:
    """Make the blocks of backbone and semantic head keep their input alone.

    What is inside is computed a second time in the backward pass: a third more time, the same
    gradients. Blocks without anything to learn keep nothing anyway.
    """
    blocks = [block for i in range(1, 5) for block in getattr(model.backbone, f"layer{i}")]
    if model.config.semantic_branch:
        blocks += list(model.semantic_head.branches.values())
    for block in blocks:
        if any(parameter.requires_grad for parameter in block.parameters()):
            block.forward = MethodType(_recomputed_forward, block)  # a copy binds its own


def _recomputed_forward(block: nn.Module, x: Tensor) -> Tensor:
    plain = partial(type(block).forward, block)
    if not torch.is_grad_enabled():
        return plain(x)
    if not any(isinstance(module, nn.BatchNorm2d) for module in block.modules()):
        return checkpoint(plain, x, use_reentrant=False)  # which torch.compile understands

    def contexts() -> tuple[AbstractContextManager, AbstractContextManager]:
        return nullcontext(), _statistics_untouched(block)

    return checkpoint(plain, x, use_reentrant=False, context_fn=contexts)


@contextmanager
def _statistics_untouched(block: nn.Module) -> Iterator[None]:
    """Batch norm moved its running statistics in the first pass, and must not do so again."""
    norms = [m for m in block.modules() if isinstance(m, nn.BatchNorm2d) and m.training]
    before = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, momentum, count in before:
            norm.momentum, norm.num_batches_tracked = momentum, count
