"""The inputs behind tests/data_files/lovasz/reference.json: uniform draws, the same everywhere."""

import torch
from torch import Tensor

from pfpn.structures import IGNORE


def softmax_case(
    seed: int, shape: tuple[int, int, int, int], num_present: int
) -> tuple[Tensor, Tensor]:
    """Return probs (b, c, h, w) and labels (b, h, w); about 10% of the labels are IGNORE."""
    g = torch.Generator().manual_seed(seed)
    b, _, h, w = shape
    logits = (torch.rand(shape, generator=g) - 0.5) * 8
    labels = (torch.rand((b, h, w), generator=g) * num_present).long()
    labels[torch.rand((b, h, w), generator=g) < 0.1] = IGNORE
    return logits.softmax(1), labels


def hinge_case(seed: int, shape: tuple[int, int, int], share: float) -> tuple[Tensor, Tensor]:
    """Return logits and 0/1 labels (b, h, w), a `share` (fraction) of them 1; 10% are IGNORE."""
    g = torch.Generator().manual_seed(seed)
    logits = (torch.rand(shape, generator=g) - 0.5) * 6
    labels = (torch.rand(shape, generator=g) < share).long()
    labels[torch.rand(shape, generator=g) < 0.1] = IGNORE
    return logits, labels
