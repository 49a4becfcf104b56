"""Numbers of chapter 07: kinks, convexity, slices through many pixels, and beliefs.

The losses themselves are those of `pfpn.plot.surface`, most of them over the scores of two pixels.

Source: [LS] Fig. 1 and 2 and Algorithm 1, and what they leave out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pfpn.losses.lovasz import jaccard_loss, lovasz_softmax
from pfpn.plot.surface import (
    TRUTHS,
    Loss,
    Over,
    Truth,
    extend_jaccard,
    loss_at,
    value_and_gradient,
)

ROUNDING = 1e-9  # differences below this count as 0

# Kinks and the base polytope --------------------------------------------------------------------


def jaccard_corners(
    truth: Truth,
) -> tuple[Float[np.ndarray, "4 2"], Float[np.ndarray, " 4"]]:
    """Return the four sets of wrong pixels as 0/1 rows, and the discrete Jaccard loss of each."""
    wrong = torch.tensor(TRUTHS, dtype=torch.bool)
    is_fg = torch.tensor(truth, dtype=torch.bool).expand(4, 2)
    return wrong.double().numpy(), jaccard_loss(wrong, is_fg).numpy()


def greedy_vertex(truth: Truth, order: tuple[int, int]) -> Float[np.ndarray, " 2"]:
    """Return the vertex of the base polytope that an order of the pixels reaches.

    Each pixel gets the rise of the Jaccard loss when it joins the wrong pixels, in that order, for
    example (1, 0): the second pixel first.

    Source: [LS] Algorithm 1.
    """
    if sorted(order) != [0, 1]:
        raise ValueError(f"greedy_vertex: found order {order}, expected (0, 1) or (1, 0)")
    errors = torch.tensor([2.0, 1.0], dtype=torch.float64)
    ranked = torch.empty_like(errors)
    ranked[list(order)] = errors
    return extend_jaccard(ranked, truth)[1].numpy()


def greedy_vertices(truth: Truth) -> Float[np.ndarray, "2 2"]:
    """Return the vertices for the first pixel first and for the second pixel first."""
    return np.stack([greedy_vertex(truth, (0, 1)), greedy_vertex(truth, (1, 0))])


def point_name(values: Sequence[float] | np.ndarray) -> str:
    """Return a point as it is written in titles: (0.5, 1)."""
    return f"({', '.join(f'{value:g}' for value in values)})"


@dataclass(frozen=True, slots=True)
class Crease:
    """A line across a surface where its formula changes, and whether the surface bends there."""

    start: tuple[float, float]
    end: tuple[float, float]
    by_order: bool  # the order of errors changes; else an error leaves 0
    bends: bool  # the gradient jumps: a kink


def find_creases(truth: Truth, over: Over, low: float, high: float) -> list[Crease]:
    """Return the lines where the Lovász hinge (margins) or Lovász-Softmax changes its formula.

    The gradient jumps across the diagonal of equal errors unless both orders lead to one vertex,
    and where the hinge error of a pixel leaves 0, unless the pixel has no weight there.
    """
    one_first, two_first = greedy_vertices(truth)
    bends = bool(np.abs(one_first - two_first).max() > 0)
    if over == "errors":
        return [Crease((low, low), (high, high), True, bends)]
    if over == "logits":  # errors are equal where y_1 d_1 = y_2 d_2
        rises = truth[0] == truth[1]
        ends = ((low, low), (high, high)) if rises else ((low, high), (high, low))
        return [Crease(*ends, True, bends)]
    return [
        Crease((0, 0), (high, high), True, bends),
        Crease((0, low), (0, 0), False, bool(one_first[0] > 0)),
        Crease((0, 0), (0, high), False, bool(two_first[0] > 0)),
        Crease((low, 0), (0, 0), False, bool(two_first[1] > 0)),
        Crease((0, 0), (high, 0), False, bool(one_first[1] > 0)),
    ]


# Convexity, and the price of an absent class ----------------------------------------------------


@dataclass(frozen=True, slots=True)
class Chord:
    """A straight line between two points of a surface, and the surface below or above it."""

    start: Float[np.ndarray, " 2"]
    end: Float[np.ndarray, " 2"]
    fraction: Float[np.ndarray, " n"]  # of the way from start to end
    surface: Float[np.ndarray, " n"]
    line: Float[np.ndarray, " n"]


def measure_convexity(
    loss: str,
    truth: Truth,
    over: Over,
    low: float,
    high: float,
    rng: torch.Generator,
    num: int = 4000,
) -> tuple[float, Chord]:
    """Return the largest rise of a surface above random chords, and one chord to draw.

    It is the chord with the largest rise if that is more than rounding; otherwise, so that a figure
    shows a difference, the chord below which the surface lies deepest.
    """
    ends = torch.rand(num, 2, 2, generator=rng, dtype=torch.float64) * (high - low) + low
    fraction = torch.linspace(0, 1, 65, dtype=torch.float64)
    start, end = ends[:, :1], ends[:, 1:]
    surface = loss_at(loss, start + fraction[:, None] * (end - start), truth, over)
    line = surface[:, :1] * (1 - fraction) + surface[:, -1:] * fraction
    excess = surface - line
    worst = float(excess.max())
    best = excess.amax(1).argmax() if worst > ROUNDING else excess.amin(1).argmin()
    arrays = start[best, 0], end[best, 0], fraction, surface[best], line[best]
    return worst, Chord(*(array.numpy() for array in arrays))


def absent_class_costs(
    nums: Sequence[int], error: float = 0.9, rest: float = 0.01
) -> dict[str, Float[np.ndarray, " k"]]:
    """Return the loss with one wrong background pixel among many, by the number of pixels.

    Its foreground probability is `error`; those of the other background pixels are `rest`, as are
    the errors of foreground where there is any. Keys: "absent": Lovász-Softmax of a class that the
    truth does not contain; "half": of a class that half of the pixels show; "mean": mean error.
    """
    costs: dict[str, list[float]] = {"absent": [], "half": [], "mean": []}
    for num in nums:
        probs = torch.full((num,), rest, dtype=torch.float64)
        probs[0] = error
        costs["mean"].append(float(probs.mean()))
        labels = torch.zeros(num, dtype=torch.int64)
        costs["absent"].append(_foreground_loss(probs, labels))
        labels[num - num // 2 :] = 1
        costs["half"].append(_foreground_loss(torch.where(labels == 1, 1 - probs, probs), labels))
    return {name: np.asarray(values) for name, values in costs.items()}


def _foreground_loss(probs: Tensor, labels: Tensor) -> float:
    both = torch.stack([1 - probs, probs])[None, :, None]
    return float(lovasz_softmax(both, labels[None, None], classes=[1]))


# Slices: the loss of many pixels on a plane through their scores --------------------------------

Plane = Literal["two pixels", "two groups", "random"]
PLANES: tuple[Plane, ...] = get_args(Plane)
MAX_PIXELS = 1000  # of a slice; a picture needs a loss for each of its points
LOVASZ = ("lovasz_hinge", "lovasz_softmax")
REACH = 3.0  # scores of a slice, to both sides


@dataclass(frozen=True, slots=True)
class Slice:
    """A plane through the scores of p pixels: middle + x * first + y * second."""

    truth: Bool[np.ndarray, " p"]  # foreground
    counts: Bool[np.ndarray, " p"]  # False: the pixel is ignored
    middle: Float[np.ndarray, " p"]
    first: Float[np.ndarray, " p"]
    second: Float[np.ndarray, " p"]
    plane: Plane

    @property
    def labels(self) -> tuple[str, str]:
        """What changes along each of the two axes."""
        if len(self.truth) == 2:
            kinds = ["foreground" if kind else "background" for kind in self.truth]
            return f"score of pixel 1, {kinds[0]}", f"score of pixel 2, {kinds[1]}"
        return {
            "two pixels": ("score of one foreground pixel", "score of one background pixel"),
            "two groups": ("score of all foreground", "score of all background"),
            "random": ("way along a random direction", "way along another"),
        }[self.plane]

    @property
    def counted(self) -> "Slice":
        """The slice of the pixels that are not ignored."""
        kept = self.counts
        return Slice(
            self.truth[kept], kept[kept], self.middle[kept], self.first[kept], self.second[kept],
            self.plane,
        )  # fmt: skip

    def scores(self, x: float | np.ndarray, y: float | np.ndarray) -> Float[Tensor, "*n p"]:
        """Return the scores of all pixels at a point of the plane, or at many."""
        along, across = np.asarray(x)[..., None], np.asarray(y)[..., None]
        return torch.from_numpy(self.middle + along * self.first + across * self.second)


def make_slice(
    num_pixels: int = 40,
    fg_fraction: float = 0.25,
    plane: Plane = "two pixels",
    seed: int = 0,
    ignored_fraction: float = 0.0,
) -> Slice:
    """Make pixels with noisy scores, most of them of the right sign, and a plane through them.

    Args:
        num_pixels: 2 to MAX_PIXELS.
        fg_fraction: of the pixels, at least one of each kind.
        plane: what x and y move: one pixel of each kind, all pixels of each kind, or every pixel
            along two random directions of length sqrt(p).
        seed: of scores, directions and ignored pixels.
        ignored_fraction: of the pixels; never the two that "two pixels" moves.
    """
    if not 2 <= num_pixels <= MAX_PIXELS:
        raise ValueError(f"make_slice: found num_pixels {num_pixels}, expected 2 to {MAX_PIXELS}")
    if not 0 <= fg_fraction <= 1 or not 0 <= ignored_fraction <= 1:
        raise ValueError(
            f"make_slice: found fg_fraction {fg_fraction}, ignored_fraction {ignored_fraction}, "
            "expected fractions from 0 to 1"
        )
    if plane not in PLANES:
        raise ValueError(f"make_slice: found plane {plane!r}, expected one of {', '.join(PLANES)}")
    rng = np.random.default_rng(seed)
    num_fg = min(max(round(fg_fraction * num_pixels), 1), num_pixels - 1)
    index = np.arange(num_pixels)
    truth = index < num_fg
    middle = 0.8 * np.where(truth, 1.0, -1.0) + rng.standard_normal(num_pixels)
    noise = rng.standard_normal((2, num_pixels))
    shuffled = rng.permutation(num_pixels)
    pair = index == 0, index == num_fg
    others = shuffled[~(pair[0] | pair[1])[shuffled]]
    counts = np.ones(num_pixels, bool)
    counts[others[: round(ignored_fraction * num_pixels)]] = False
    if plane == "random":
        first, second = noise
        second = second - first * (first @ second) / (first @ first)
        directions = [v * np.sqrt(num_pixels) / np.linalg.norm(v) for v in (first, second)]
    elif plane == "two pixels":
        directions = [pixel.astype(float) for pixel in pair]
        middle = np.where(pair[0] | pair[1], 0.0, middle)
    else:
        directions = [group.astype(float) for group in (truth, ~truth)]
        middle = middle - np.where(truth, middle[truth].mean(), middle[~truth].mean())
    return Slice(truth, counts, middle, directions[0], directions[1], plane)


def make_pair(truth: Sequence[int]) -> Slice:
    """Return the whole space of two pixels as a slice."""
    if len(truth) != 2:
        raise ValueError(f"make_pair: found {len(truth)} labels, expected two")
    return Slice(
        np.array(truth, dtype=bool), np.ones(2, bool), np.zeros(2), np.array([1.0, 0.0]),
        np.array([0.0, 1.0]), "two pixels",
    )  # fmt: skip


def evaluate_slice(
    piece: Slice, loss: Loss, axis: Float[np.ndarray, " k"]
) -> Float[np.ndarray, "k k"]:
    """Return a loss over a grid of the plane, row by second direction.

    Ignored pixels are left out, as if they were not there.
    """
    kept = piece.counted
    points = kept.scores(*np.meshgrid(axis, axis))
    return loss_at(loss, points, kept.truth.astype(int).tolist()).detach().numpy()


def one_loss_per_point(loss: Callable[..., Any]) -> Callable[[Tensor, Sequence[int]], Tensor]:
    """Return a reader's loss that raises ValueError if its result has another shape."""

    def checked(points: Tensor, truth: Sequence[int]) -> Tensor:
        value, shape = loss(points, truth), tuple(points.shape[:-1])
        if not isinstance(value, Tensor) or value.shape != shape:
            found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(
                f"for scores of shape {tuple(points.shape)} the result is {found}, expected "
                f"{shape}. Index the last axis: scores[..., 0] are those of the first pixel"
            )
        return value.to(points)

    return checked


def errors_of(
    loss: str, points: Float[Tensor, "*n p"], truth: Sequence[bool]
) -> Float[Tensor, "*n p"]:
    """Return the errors that a Lovász loss sorts: hinge errors, or 1 - p(true class)."""
    sign = 2 * torch.tensor(truth, dtype=points.dtype) - 1
    return (1 - sign * points).relu() if loss == "lovasz_hinge" else (-sign * points).sigmoid()


@dataclass(frozen=True, slots=True)
class Reading:
    """The steps of Algorithm 1 at one point, in the order in which pixels join the wrong pixels."""

    loss: str
    value: float
    order: Int[np.ndarray, " k"]  # numbers of the pixels that count, largest error first
    errors: Float[np.ndarray, " k"]
    is_fg: Bool[np.ndarray, " k"]
    intersection: Int[np.ndarray, " k"]  # once this pixel and all before it are wrong
    union: Int[np.ndarray, " k"]
    rise: Float[np.ndarray, " k"]  # of the Jaccard loss, as this pixel joins

    def count_wrong(self) -> tuple[int, int, int]:
        """Return how many pixels are wrong, and intersection and union with those wrong."""
        wrong = self.errors >= (1 if self.loss == "lovasz_hinge" else 0.5)
        num, num_fg = int(wrong.sum()), int(self.is_fg.sum())
        if num == 0:
            return 0, num_fg, num_fg
        return num, int(self.intersection[num - 1]), int(self.union[num - 1])


def read_point(
    truth: Sequence[bool] | np.ndarray,
    scores: Float[Tensor, " p"],
    loss: str = "lovasz_hinge",
    counts: Sequence[bool] | np.ndarray | None = None,
) -> Reading:
    """Return each step of Algorithm 1 for a Lovász loss at one point.

    Args:
        truth: of each pixel, foreground or not.
        scores: of each pixel: the hinge's score, or the difference of two logits.
        loss: "lovasz_hinge" or "lovasz_softmax".
        counts: which pixels count; None: all.
    """
    if loss not in LOVASZ:
        raise ValueError(f"read_point: found {loss!r}, expected one of {', '.join(LOVASZ)}")
    kept = np.ones(len(truth), bool) if counts is None else np.asarray(counts, dtype=bool)
    numbers = np.flatnonzero(kept)
    kept_truth = np.asarray(truth, dtype=bool)[kept].tolist()
    errors = errors_of(loss, scores.double()[torch.from_numpy(numbers)], kept_truth)
    order = errors.argsort(descending=True, stable=True)
    is_fg = torch.tensor(kept_truth, dtype=torch.bool)[order]
    num_fg = int(is_fg.sum())
    value, rises = extend_jaccard(errors, kept_truth)
    return Reading(
        loss, float(value), numbers[order.numpy()], errors[order].numpy(), is_fg.numpy(),
        (num_fg - is_fg.cumsum(0)).numpy(), (num_fg + (~is_fg).cumsum(0)).numpy(),
        rises[order].numpy(),
    )  # fmt: skip


def value_and_slope(
    piece: Slice, loss: Loss, point: tuple[float, float]
) -> tuple[float, Float[np.ndarray, " 2"]]:
    """Return a loss at a point of the plane, and its gradient by x and y."""
    kept = piece.counted
    value, gradient = value_and_gradient(loss, kept.scores(*point), kept.truth.astype(int).tolist())
    return float(value), np.stack([kept.first, kept.second]) @ gradient.numpy()


def largest_error(piece: Slice, loss: str) -> float:
    """Return the largest error on the slice, at least 1; errors grow outwards, so at a corner."""
    if loss != "lovasz_hinge":
        return 1.0
    kept, ends = piece.counted, np.array([-REACH, REACH])
    errors = errors_of(loss, kept.scores(*np.meshgrid(ends, ends)), kept.truth.tolist())
    return max(1.0, float(errors.max()))


# Beliefs: the expected loss where the truth is uncertain ----------------------------------------
# A training set holds pictures that look alike and have different truths. A network can learn one
# pair of scores for them: the pair with the least expected loss. For many beliefs about the truth
# the Lovász hinge is then least at 0 for both pixels, whichever labeling has the least expected
# Jaccard loss: it abstains, so it is not consistent for the Jaccard loss.

Beliefs = Sequence[float]  # the probability of each truth of TRUTHS

# Two beliefs for which both pixels' best score is 0, though different labelings are best.
MOSTLY_EMPTY: tuple[float, ...] = (0.40, 0.25, 0.25, 0.10)
MOSTLY_FULL: tuple[float, ...] = (0.30, 0.30, 0.30, 0.10)


@dataclass(frozen=True, slots=True)
class HingeMinimum:
    """Where the expected Lovász hinge of a belief is least, and which labelings are best."""

    beliefs: tuple[float, ...]
    scores: tuple[float, float]  # (0, 0): the hinge abstains
    hinge: float  # its least expected value
    expected: tuple[float, ...]  # Jaccard loss of each labeling of TRUTHS
    best: Truth  # the labeling with the least expected Jaccard loss
    pixelwise: Truth  # the likelier label of each pixel by itself, which cross-entropy learns

    def regret(self, labeling: Truth) -> float:
        """Return by how much the expected Jaccard loss of a labeling exceeds the least."""
        return self.expected[TRUTHS.index(labeling)] - min(self.expected)


def expected_jaccard(beliefs: Beliefs) -> Float[np.ndarray, " 4"]:
    """Return the expected Jaccard loss of each labeling of TRUTHS."""
    return labeling_costs(np.array(_checked(beliefs)))


def expected_loss(
    points: Float[Tensor, "*n 2"], beliefs: Beliefs, loss: str = "lovasz_hinge"
) -> Float[Tensor, "*n"]:
    """Return the expectation of a loss over the truths, at many pairs of scores."""
    parts = [
        weight * loss_at(loss, points, truth)
        for weight, truth in zip(_checked(beliefs), TRUTHS, strict=True)
    ]
    return torch.stack(parts).sum(0)


def minimize_expected_hinge(beliefs: Beliefs) -> HingeMinimum:
    """Return the scores with the least expected Lovász hinge, exactly, beside the best labelings.

    Five candidates are enough. The expected hinge is convex, and linear between the lines d_i = 1,
    d_i = -1 (an error leaves 0), d_1 = d_2 and d_1 = -d_2 (two errors are equal). Outside of the
    square [-1, 1]^2 it does not fall any more, so its minimum lies on a crossing of these lines:
    one of the four corners or the origin. At a corner the wrong pixels have a hinge error of 2 and
    the right ones 0, so its value is twice the expected Jaccard loss of the labeling; at the
    origin every error is 1 and the value is 1. So the hinge abstains just where no labeling has
    an expected Jaccard loss below 1/2. (The foreground's Lovász-Softmax, over probabilities: the
    same with errors 1, 0 and 1/2.)

    Finocchiaro, Frongillo and Nueve ("The structured abstain problem and the Lovász hinge", COLT
    2022) prove inconsistency for set functions of the wrong pixels alone, if they are submodular
    and not modular. The Jaccard loss also depends on the truth, so what is computed here stands by
    itself.
    """
    checked = _checked(beliefs)
    signs = [tuple(2.0 * label - 1 for label in truth) for truth in TRUTHS]
    candidates = torch.tensor([(0.0, 0.0), *signs], dtype=torch.float64)
    values = expected_loss(candidates, checked)
    # A tie, up to rounding, goes to a corner: only a strict minimum counts as abstaining.
    index = int(values[1:].argmin()) + 1
    if float(values[0]) < float(values[index]) - ROUNDING:
        index = 0
    expected = expected_jaccard(checked)
    first, second = checked[2] + checked[3], checked[1] + checked[3]  # P(pixel is foreground)
    x, y = candidates[index].tolist()
    return HingeMinimum(
        checked,
        (x, y),
        float(values[index]),
        tuple(expected.tolist()),
        TRUTHS[int(expected.argmin())],
        (int(first > 0.5), int(second > 0.5)),
    )


def abstaining_fraction(rng: torch.Generator, num: int = 10000) -> float:
    """Return the fraction of beliefs, drawn evenly from all there are, where the hinge abstains."""
    draws = -torch.rand(num, 4, generator=rng, dtype=torch.float64).log()
    beliefs = (draws / draws.sum(1, keepdim=True)).numpy()
    return float((labeling_costs(beliefs).min(1) > 0.5).mean())


def labeling_costs(beliefs: Float[np.ndarray, "*n 4"]) -> Float[np.ndarray, "*n 4"]:
    """Return the expected Jaccard loss of each labeling of TRUTHS, for many beliefs."""
    labels = torch.tensor(TRUTHS, dtype=torch.bool)
    truths = labels.expand(4, 4, 2)
    table = jaccard_loss(labels[:, None] != truths, truths)  # labeling by truth
    return beliefs @ table.numpy().T


def _checked(beliefs: Beliefs) -> tuple[float, ...]:
    values = tuple(float(belief) for belief in beliefs)
    if len(values) != 4 or min(values) < 0 or abs(sum(values) - 1) > ROUNDING:
        raise ValueError(
            f"beliefs: found {values}, expected four probabilities that add up to 1, of the truths "
            "00, 01, 10, 11"
        )
    return values
