"""The Jaccard loss of sets of wrong pixels, and its Lovász extension step by step.

An "error" is that of one pixel in one class, in [0, 1]: 1 - probability where the truth is that
class (foreground), the probability elsewhere (background).

Source: [LS] 2 and 3, and what they leave out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pfpn.losses.lovasz import jaccard_loss, lovasz_hinge, lovasz_softmax
from pfpn.plot.surface import extend_jaccard

LETTERS = "abcdefghijklmnopqrstuvwxyz"
# Eight pixels in a row, three of them a car.
EIGHT_TRUTH = (1, 1, 1, 0, 0, 0, 0, 0)
EIGHT_ERRORS = (0.1, 0.7, 0.4, 0.9, 0.05, 0.3, 0.6, 0.2)
# Two pixels, and three.
TWO_TRUTH, TWO_ERRORS = (1, 0), (0.3, 0.8)
THREE_TRUTH, THREE_ERRORS = (1, 0, 0), (0.3, 0.9, 0.6)
# Four pixels; the logit of the first moves, these are the others'.
STEP_TRUTH, STEP_OTHERS = (1, 1, 0, 0), (1.0, -1.5, 0.8)


# A training that fails --------------------------------------------------------------------------
# Small pictures with one small bright object each, and a small network that marks its pixels.


@dataclass(frozen=True, slots=True)
class TinyScenes:
    """Noisy pictures, each with one bright rectangle of 3 to 5 pixels on a side."""

    images: Float[Tensor, "b 1 h w"]
    truth: Bool[Tensor, "b h w"]  # True: a pixel of the object


def draw_tiny_scenes(num: int, seed: int, size: int = 20, contrast: float = 1.25) -> TinyScenes:
    """Draw pictures of size x size pixels.

    Args:
        num: of pictures.
        seed: of the rectangles and of the noise.
        size: of a side, in pixels.
        contrast: brightness of the object in standard deviations of the noise.
    """
    rng = torch.Generator().manual_seed(seed)
    truth = torch.zeros(num, size, size, dtype=torch.bool)
    for picture in truth:
        height, width = torch.randint(3, 6, (2,), generator=rng).tolist()
        top = int(torch.randint(size - height + 1, (), generator=rng))
        left = int(torch.randint(size - width + 1, (), generator=rng))
        picture[top : top + height, left : left + width] = True
    noise = torch.randn(truth.shape, generator=rng)
    return TinyScenes((contrast * truth + noise)[:, None], truth)


def build_tiny_network(seed: int, channels: int = 6) -> nn.Sequential:
    """Return three convolutions that give one logit a pixel, with weights from the seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1), nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(),
            nn.Conv2d(channels, 1, 1), nn.Flatten(0, 1),
        )  # fmt: skip


def _cross_entropy(logits: Float[Tensor, "b h w"], truth: Bool[Tensor, "b h w"]) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, truth.float())


def _hinge(logits: Float[Tensor, "b h w"], truth: Bool[Tensor, "b h w"]) -> Tensor:
    return lovasz_hinge(logits, truth, per_image=False)


def _elu_hinge(logits: Float[Tensor, "b h w"], truth: Bool[Tensor, "b h w"]) -> Tensor:
    agreement = torch.where(truth, logits, -logits).flatten()
    return extend_jaccard(F.elu(1 - agreement) + 1, truth.flatten().int().tolist())[0]


def _sigmoid(logits: Float[Tensor, "b h w"], truth: Bool[Tensor, "b h w"]) -> Tensor:
    both = torch.stack([-logits, logits], 1).sigmoid()
    return lovasz_softmax(both, truth.long(), classes=[1])


# Losses of one class against the rest, all of the whole batch.
TINY_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross-entropy": _cross_entropy,
    "Lovász hinge": _hinge,
    "Lovász hinge, elu + 1": _elu_hinge,
    "Lovász on sigmoids": _sigmoid,
}


@dataclass(frozen=True, slots=True)
class TinyResult:
    """A trained network on 64 pictures that it was not trained on."""

    loss: float  # on the training pictures
    accuracy: float  # fraction of pixels that are right, at a probability of 0.5
    iou: float  # of the object over all pictures, at a probability of 0.5
    moved: float  # the same, at the probability that is best on the training pictures
    threshold: float  # that probability
    probs: Float[Tensor, "b h w"]  # of the object


def train_tiny(loss: str, seed: int, stops: Sequence[int]) -> list[TinyResult]:
    """Train one network on 32 pictures with Adam and return its result after each of `stops` steps.

    Args:
        loss: a key of TINY_LOSSES.
        seed: of pictures and first weights, so all losses start alike.
        stops: numbers of steps.
    """
    known, unseen = draw_tiny_scenes(32, seed), draw_tiny_scenes(64, 1000 + seed)
    network = build_tiny_network(seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    results = []
    for step in range(1, max(stops) + 1):
        value = TINY_LOSSES[loss](network(known.images), known.truth)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        if step in stops:
            results.append(score_tiny(network, known, unseen, float(value.detach())))
    return results


@torch.no_grad()
def score_tiny(
    network: nn.Module, known: TinyScenes, unseen: TinyScenes, loss: float
) -> TinyResult:
    """Return the result of a network: the threshold from known pictures, the rest from unseen."""
    thresholds = torch.arange(0.02, 0.91, 0.02).tolist()
    seen = network(known.images).sigmoid()
    best = max(thresholds, key=lambda at: region_iou(seen > at, known.truth))
    probs = network(unseen.images).sigmoid()
    claimed = probs > 0.5
    return TinyResult(
        loss,
        float((claimed == unseen.truth).double().mean()),
        region_iou(claimed, unseen.truth),
        region_iou(probs > best, unseen.truth),
        best,
        probs,
    )


def region_iou(predicted: Bool[Tensor, "*n"], truth: Bool[Tensor, "*n"]) -> float:
    """Return the IoU of two sets of pixels."""
    return 1 - float(jaccard_loss((predicted != truth).flatten(), truth.flatten()))


# The loss of a set ------------------------------------------------------------------------------


def same_count_predictions(
    small: Bool[Tensor, "h w"], large: Bool[Tensor, "h w"]
) -> dict[str, tuple[Bool[Tensor, "h w"], Bool[Tensor, "h w"]]]:
    """Return three predictions with equally many wrong pixels, each as (truth, prediction).

    The number is half the small region's pixels. "cut" loses the outer ones of the small region,
    "grown" adds those nearest around it, "large" loses as many from the large region's border.
    """
    num = int(small.sum()) // 2
    return {
        "cut": (small, small & ~_outermost(small, num)),
        "grown": (small, small | _outermost(~small, num)),
        "large": (large, large & ~_outermost(large, num)),
    }


def _outermost(region: Bool[Tensor, "h w"], num: int) -> Bool[Tensor, "h w"]:
    """Return the `num` pixels of a region that are nearest to its outside."""
    depth = torch.zeros(region.shape)
    rest = region.clone()
    while rest.any():
        depth += rest
        rest &= F.max_pool2d((~rest).float()[None, None], 3, 1, 1)[0, 0] == 0
    inside = torch.where(region, depth, torch.inf).flatten()
    chosen = torch.zeros(region.numel(), dtype=torch.bool)
    chosen[inside.argsort(stable=True)[:num]] = True
    return chosen.view(region.shape)


def score_region(
    truth: Bool[Tensor, "h w"], predicted: Bool[Tensor, "h w"], confidence: float = 0.9
) -> dict[str, float]:
    """Return four scores of a region that is predicted with the same confidence everywhere.

    Keys: "wrong", the number of wrong pixels; "accuracy"; "cross_entropy", the mean over all pixels
    in nats; "iou".
    """
    wrong = truth != predicted
    fraction = wrong.double().mean().item()
    entropy = -(1 - fraction) * np.log(confidence) - fraction * np.log(1 - confidence)
    return {
        "wrong": float(wrong.sum()),
        "accuracy": 1 - fraction,
        "cross_entropy": float(entropy),
        "iou": 1 - float(jaccard_loss(wrong.flatten(), truth.flatten())),
    }


def losses_along_a_logit(logits: Float[Tensor, " k"]) -> dict[str, Float[np.ndarray, " k"]]:
    """Return losses of four pixels while the logit of the first moves and the others stay.

    Keys: "jaccard", the discrete loss of the foreground; "cross_entropy", the mean over the pixels;
    "lovasz_softmax", of the foreground.
    """
    fixed = torch.tensor(STEP_OTHERS, dtype=torch.float64).expand(len(logits), -1)
    scores = torch.cat([logits.double()[:, None], fixed], 1)
    is_fg = torch.tensor(STEP_TRUTH, dtype=torch.bool).expand(scores.shape)
    agreement = torch.where(is_fg, scores, -scores)
    return {
        "jaccard": jaccard_loss(agreement < 0, is_fg).numpy(),
        "cross_entropy": F.softplus(-agreement).mean(1).numpy(),
        "lovasz_softmax": extend_jaccard(agreement.neg().sigmoid(), STEP_TRUTH)[0].numpy(),
    }


# Diminishing returns ----------------------------------------------------------------------------


# Losses by how many pixels were missed and added, and how many are foreground.
COUNT_LOSSES: dict[str, Callable[[Any, Any, int], Any]] = {
    "jaccard": lambda missed, added, num_fg: (missed + added) / (num_fg + added),
    "dice": lambda missed, added, num_fg: (missed + added) / (2 * num_fg + added - missed),
}


def rises(kind: str, num_fg: int) -> dict[str, Float[np.ndarray, " k"]]:
    """Return how much one more wrong pixel raises a loss, for each number of wrong pixels so far.

    `kind` is a key of COUNT_LOSSES. Source: [LS] 2; Dice for contrast.

    Keys: "miss after added": one more foreground pixel missed, after 0, 1, .. background pixels
    were added; "miss after missed", "add after added", "add after missed" likewise.
    """
    loss, k = COUNT_LOSSES[kind], np.arange(num_fg)
    return {
        "miss after added": loss(1, k, num_fg) - loss(0, k, num_fg),
        "miss after missed": loss(k + 1, 0, num_fg) - loss(k, 0, num_fg),
        "add after added": loss(0, k + 1, num_fg) - loss(0, k, num_fg),
        "add after missed": loss(k, 1, num_fg) - loss(k, 0, num_fg),
    }


# The extension ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Chain:
    """A point of the cube as a mixture of growing sets of wrong pixels."""

    order: Int[np.ndarray, " p"]  # pixels from the largest error to the smallest
    fractions: Float[np.ndarray, " p+1"]  # of the sets of the first 0, 1, .., p pixels; sum to 1
    values: Float[np.ndarray, " p+1"]  # the Jaccard loss of those sets

    @property
    def extension(self) -> float:
        """The Lovász extension at this point."""
        return float(self.fractions @ self.values)

    def members(self, size: int) -> str:
        """Return the letters of the first `size` pixels."""
        return ", ".join(sorted(LETTERS[i] for i in self.order[:size]))


def make_chain(errors: Sequence[float], truth: Sequence[int]) -> Chain:
    """Return errors in [0, 1] as a mixture of a chain of sets. Source: [LS] Definition 2."""
    m = np.asarray(errors, dtype=float)
    order = np.argsort(-m, kind="stable")
    fractions = -np.diff(np.concatenate([[1.0], m[order], [0.0]]))
    wrong = torch.zeros(len(m) + 1, len(m), dtype=torch.bool)
    for size in range(1, len(m) + 1):
        wrong[size, order[:size].tolist()] = True
    is_fg = torch.tensor(truth, dtype=torch.bool).expand(wrong.shape)
    return Chain(order, fractions, jaccard_loss(wrong, is_fg).numpy())


def thresholded_loss(
    thresholds: Float[Tensor, " k"], errors: Sequence[float], truth: Sequence[int]
) -> Float[np.ndarray, " k"]:
    """Return the Jaccard loss when a pixel counts as wrong if its error is above a threshold."""
    wrong = torch.tensor(errors, dtype=torch.float64) > thresholds.double()[:, None]
    return jaccard_loss(wrong, torch.tensor(truth, dtype=torch.bool).expand(wrong.shape)).numpy()


# Algorithm 1 ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Steps:
    """The rows of Algorithm 1, one per pixel from the largest error to the smallest."""

    order: list[int]
    errors: list[float]
    is_fg: list[int]
    intersection: list[int]  # once this pixel and all before it are wrong
    union: list[int]
    loss: list[float]
    weights: list[float]  # the rise of the loss
    total: float  # the sum of error times weight


def run_algorithm(
    errors: Sequence[float] = EIGHT_ERRORS, truth: Sequence[int] = EIGHT_TRUTH
) -> Steps:
    """Return what Algorithm 1 computes, row by row. Source: [LS] Algorithm 1."""
    order = sorted(range(len(errors)), key=lambda i: (-errors[i], i))
    is_fg, sorted_errors = [truth[i] for i in order], [errors[i] for i in order]
    intersection = [sum(is_fg[row + 1 :]) for row in range(len(order))]
    union = [sum(truth) + row + 1 - sum(is_fg[: row + 1]) for row in range(len(order))]
    loss = [1 - i / u for i, u in zip(intersection, union, strict=True)]
    weights = [now - before for before, now in pairwise([0.0, *loss])]
    total = sum(error * weight for error, weight in zip(sorted_errors, weights, strict=True))
    return Steps(order, sorted_errors, is_fg, intersection, union, loss, weights, total)


def base_vertices(truth: Sequence[int]) -> dict[str, Float[np.ndarray, " p"]]:
    """Return the pixels' weights for every order, in letters, in which they may become wrong."""
    vertices = {}
    for order in permutations(range(len(truth))):
        ranks = torch.zeros(len(truth), dtype=torch.float64)
        ranks[list(order)] = torch.arange(len(truth), 0, -1, dtype=torch.float64)
        letters = "".join(LETTERS[i] for i in order)
        vertices[letters] = extend_jaccard(ranks, truth)[1].numpy()
    return vertices


def sums_by_order(errors: Sequence[float], truth: Sequence[int]) -> dict[str, float]:
    """Return the weighted sum of the errors for every order in which pixels may become wrong."""
    return {order: float(np.dot(g, errors)) for order, g in base_vertices(truth).items()}


def sorted_letters(errors: Sequence[float]) -> str:
    """Return the pixels' letters from the largest error to the smallest."""
    return "".join(sorted(LETTERS[: len(errors)], key=lambda x: -errors[LETTERS.index(x)]))


def class_weight_maps(
    probs: Float[Tensor, "c h w"], labels: Int[Tensor, "h w"], label: int, ignore: int = 255
) -> tuple[Float[Tensor, "h w"], Float[Tensor, "h w"]]:
    """Return the errors of one class in an image and the weight that each pixel gets.

    Both are 0 at ignored pixels.
    """
    counts = labels != ignore
    is_fg = labels == label
    errors = torch.where(is_fg, 1 - probs[label], probs[label]).double() * counts
    weights = torch.zeros_like(errors)
    weights[counts] = extend_jaccard(errors[counts], is_fg[counts].int().tolist())[1]
    return errors, weights


def class_losses(
    logits: Float[Tensor, "c h w"], labels: Int[Tensor, "h w"], ignore: int = 255
) -> dict[str, Float[np.ndarray, " k"]]:
    """Return three losses of each class that an image shows, of one prediction.

    Keys: "jaccard", the discrete loss; "lovasz", the extension of the softmax errors;
    "cross_entropy", the mean over the pixels of the class, in nats.
    """
    counts = labels != ignore
    scores, truth = logits[:, counts].double(), labels[counts]
    probs, predicted = scores.softmax(0), scores.argmax(0)
    losses: dict[str, list[float]] = {"jaccard": [], "lovasz": [], "cross_entropy": []}
    for c in truth.unique().tolist():
        is_fg = truth == c
        errors = torch.where(is_fg, 1 - probs[c], probs[c])
        losses["jaccard"].append(float(jaccard_loss((predicted == c) != is_fg, is_fg)))
        losses["lovasz"].append(float(extend_jaccard(errors, is_fg.int().tolist())[0]))
        losses["cross_entropy"].append(float(-scores.log_softmax(0)[c][is_fg].mean()))
    return {name: np.array(values) for name, values in losses.items()}
