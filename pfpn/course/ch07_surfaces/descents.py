"""Descents on the scores of two pixels: how a loss, a learning rate and an optimizer go together.

No network stands between: the two scores are the weights, so a path shows the loss and the
optimizer alone. Both pixels of the truth 01 count as right once the first score is below 0 and the
second one above.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer

from pfpn.plot.surface import Loss, Truth, extend_jaccard, loss_at

PATIENCE = 20  # steps for which all pixels must stay right before a descent ends

OPTIMIZERS: dict[str, Callable[[list[Tensor]], Optimizer]] = {
    "SGD, rate 0.5": lambda scores: SGD(scores, lr=0.5),
    "SGD, rate 2": lambda scores: SGD(scores, lr=2.0),
    "SGD, rate 0.5, momentum 0.9": lambda scores: SGD(scores, lr=0.5, momentum=0.9),
    "Adam, rate 0.1": lambda scores: Adam(scores, lr=0.1),
}


def lovasz_present(points: Float[Tensor, "*n p"], truth: Sequence[int]) -> Float[Tensor, "*n"]:
    """Return Lovász-Softmax of background and foreground: its mean over the classes in the truth.

    With two classes both have the same errors, so only the set functions differ. It is
    `lovasz_softmax(..., classes="present")`, the default.

    Args:
        points: differences of logits.
        truth: 1 for each foreground pixel, 0 for each background pixel.
    """
    is_fg = torch.tensor(truth, dtype=points.dtype)
    errors = ((1 - 2 * is_fg) * points).sigmoid()
    kinds = [[int(label == kind) for label in truth] for kind in (0, 1) if kind in truth]
    return torch.stack([extend_jaccard(errors, kind)[0] for kind in kinds]).mean(0)


def elu_hinge(points: Float[Tensor, "*n p"], truth: Sequence[int]) -> Float[Tensor, "*n"]:
    """Return the Lovász hinge with errors elu(1 - y d) + 1, whose slope is never 0."""
    is_fg = torch.tensor(truth, dtype=points.dtype)
    return extend_jaccard(F.elu(1 - (2 * is_fg - 1) * points) + 1, truth)[0]


# What is compared: by the names that the chapter uses
DESCENT_LOSSES: dict[str, Loss] = {
    "cross-entropy": "cross_entropy",
    "soft Jaccard": "soft_jaccard",
    "Dice": "dice",
    "Lovász hinge": "lovasz_hinge",
    "Lovász hinge, elu + 1": elu_hinge,
    "Lovász-Softmax, foreground": "lovasz_softmax",
    "Lovász-Softmax, present": lovasz_present,
}


@dataclass(frozen=True, slots=True)
class Descents:
    """The scores of two pixels after each step of many descents, and both losses there."""

    points: Float[np.ndarray, "t n 2"]  # the starts are the first
    values: Float[np.ndarray, "t n"]
    jaccard: Float[np.ndarray, "t n"]  # the discrete Jaccard loss

    @property
    def arrivals(self) -> Float[np.ndarray, " n"]:
        """The first step from which on both pixels stay right; infinite if there is none."""
        steps = np.arange(1, len(self.jaccard) + 1)[:, None]
        last_wrong = np.where(self.jaccard > 0, steps, 0).max(0)
        return np.where(last_wrong < len(self.jaccard), last_wrong, np.inf)

    def first(self, steps: int) -> "Descents":
        """Return the starts and the first `steps` steps."""
        end = steps + 1
        return Descents(self.points[:end], self.values[:end], self.jaccard[:end])


def descend(
    loss: Loss,
    starts: Float[Tensor, "n 2"],
    optimizer: str,
    truth: Truth = (0, 1),
    max_steps: int = 60,
    patience: int | None = PATIENCE,
) -> Descents:
    """Descend from many starts at once; each is on its own, for optimizers act element by element.

    Args:
        loss: a key of LOSSES, or a function of scores and truth.
        starts: scores of both pixels.
        optimizer: a key of OPTIMIZERS.
        truth: of the two pixels.
        max_steps: at which the descents end.
        patience: they end earlier once all pixels of all starts have been right for this many
            steps; None: they do not.
    """
    scores = starts.double().clone().requires_grad_()
    steps = OPTIMIZERS[optimizer]([scores])
    points, right_for = [scores.detach().clone()], 0
    sign = 2 * torch.tensor(truth, dtype=torch.float64) - 1
    for _ in range(max_steps):
        steps.zero_grad()
        loss_at(loss, scores, truth).sum().backward()
        steps.step()
        points.append(scores.detach().clone())
        right_for = right_for + 1 if bool((sign * points[-1] > 0).all()) else 0
        if patience is not None and right_for >= patience:
            break
    path = torch.stack(points)
    values = loss_at(loss, path, truth)
    return Descents(path.numpy(), values.numpy(), loss_at("jaccard", path, truth).numpy())


def race(
    loss: Loss, start: Float[Tensor, "2"], steps: int, truth: Truth = (0, 1)
) -> dict[str, Descents]:
    """Return the descent of every optimizer from one start, all with the same number of steps.

    The same as `descend` with each of them, in a fourth of the time: one gradient for all.
    """
    scores = {name: start.double().clone().requires_grad_() for name in OPTIMIZERS}
    racers = [make([scores[name]]) for name, make in OPTIMIZERS.items()]
    points = [torch.stack([*scores.values()]).detach()]
    for _ in range(steps):
        for racer in racers:
            racer.zero_grad()
        loss_at(loss, torch.stack([*scores.values()]), truth).sum().backward()
        for racer in racers:
            racer.step()
        points.append(torch.stack([*scores.values()]).detach())
    path = torch.stack(points)
    values, jaccard = (loss_at(each, path, truth).numpy() for each in (loss, "jaccard"))
    return {
        name: Descents(path[:, i : i + 1].numpy(), values[:, i : i + 1], jaccard[:, i : i + 1])
        for i, name in enumerate(OPTIMIZERS)
    }


def wrong_starts(
    distance: float, num: int, seed: int, truth: Truth = (0, 1)
) -> Float[Tensor, "n 2"]:
    """Return starts with both pixels wrong: one by `distance`, the other by less, both at random.

    Args:
        distance: of the score from 0, of the pixel that is further away.
        num: of starts.
        seed: of the choice.
        truth: of the two pixels.
    """
    rng = torch.Generator().manual_seed(seed)
    depth = torch.rand(num, 2, generator=rng, dtype=torch.float64) * distance
    further = torch.randint(2, (num,), generator=rng)
    depth[torch.arange(num), further] = distance
    return depth * (1 - 2 * torch.tensor(truth, dtype=torch.float64))


def count_steps(
    losses: Sequence[str],
    optimizers: Sequence[str],
    distances: Sequence[float],
    num: int = 12,
    max_steps: int = 2500,
) -> dict[tuple[str, str], Float[np.ndarray, "d n"]]:
    """Return the steps until both pixels are right, by loss and optimizer.

    A row is a distance of the starts, its columns are `num` random starts, the same for all.

    Args:
        losses: keys of DESCENT_LOSSES.
        optimizers: keys of OPTIMIZERS.
        distances: see `wrong_starts`.
        num: of starts for each distance.
        max_steps: infinite where a start takes longer.
    """
    starts = torch.cat([wrong_starts(d, num, seed) for seed, d in enumerate(distances)])
    return {
        (loss, optimizer): descend(
            DESCENT_LOSSES[loss], starts, optimizer, max_steps=max_steps
        ).arrivals.reshape(len(distances), num)
        for loss in losses
        for optimizer in optimizers
    }
