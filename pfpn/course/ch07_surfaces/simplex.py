"""Losses over the probabilities of three classes: each pixel is a point of a triangle.

The corners of the triangle are the classes A, B and C with a probability of 1; the distance from
the opposite side is the probability of a class. The picture has two pixels: the first truly shows
A, the second truly shows B, and C is in no pixel.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pfpn.plot.surface import extend_jaccard

CLASSES = "ABC"
TRUTH = (0, 1)  # of the two pixels
CORNERS = np.array([[0.5, np.sqrt(0.75)], [0.0, 0.0], [1.0, 0.0]])  # of A, B, C in the drawing

SIMPLEX_LOSSES = {
    "miou_loss": "1 - mIoU, present classes",
    "cross_entropy": "cross-entropy",
    "present": "Lovász-Softmax, present classes",
    "all": "Lovász-Softmax, all classes",
}


@dataclass(frozen=True, slots=True)
class Triangle:
    """A grid over the probabilities of three classes."""

    probs: Float[Tensor, "n 3"]
    points: Float[np.ndarray, "n 2"]  # where they are drawn


def make_triangle(steps: int = 40) -> Triangle:
    """Return all probabilities that are multiples of 1 / steps."""
    rows = [(i, j, steps - i - j) for i in range(steps + 1) for j in range(steps + 1 - i)]
    probs = torch.tensor(rows, dtype=torch.float64) / steps
    return Triangle(probs, probs.numpy() @ CORNERS)


def second_pixel(sure: float) -> Float[Tensor, " 3"]:
    """Return the second pixel's probabilities: `sure` for B, its true class, the rest divided."""
    return torch.tensor([(1 - sure) / 2, sure, (1 - sure) / 2], dtype=torch.float64)


def evaluate_simplex(
    loss: str, first: Float[Tensor, "*n 3"], second: Float[Tensor, " 3"]
) -> Float[Tensor, "*n"]:
    """Return a loss of the two pixels for many probabilities of the first.

    Args:
        loss: a key of SIMPLEX_LOSSES. A tie of the discrete loss goes to the earlier class.
        first: probabilities of the pixel that shows A.
        second: probabilities of the pixel that shows B.
    """
    probs = torch.stack([first, second.expand(first.shape)], -2)  # (.., pixel, class)
    if loss == "cross_entropy":
        right = torch.stack([probs[..., pixel, c] for pixel, c in enumerate(TRUTH)], -1)
        return -right.clamp(min=1e-12).log().mean(-1)
    if loss not in SIMPLEX_LOSSES:
        raise ValueError(
            f"evaluate_simplex: found loss {loss!r}, expected one of {', '.join(SIMPLEX_LOSSES)}"
        )
    if loss == "miou_loss":
        probs = torch.nn.functional.one_hot(probs.argmax(-1), 3).to(probs)
    losses = []
    for c in range(3) if loss == "all" else TRUTH:
        is_fg = [int(label == c) for label in TRUTH]
        errors = (torch.tensor(is_fg, dtype=probs.dtype) - probs[..., c]).abs()
        losses.append(extend_jaccard(errors, is_fg)[0])
    return torch.stack(losses).mean(0)
