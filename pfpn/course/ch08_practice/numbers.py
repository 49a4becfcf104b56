"""Numbers of chapter 08: losses of batches, of constants and of single logits, and bins.

Source: [LS] 3 and 4, and what they leave out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pfpn.losses.lovasz import binned_gradient
from pfpn.plot.surface import extend_jaccard

NUM, NUM_FG = 100, 10  # pixels, and how many of them are foreground, around the one that moves
BinWeights = Callable[[int, int, int, int], tuple[float, float]]
Gains = Sequence[Mapping[str, Any]]  # "table" of benchmarks/results/lovasz_training.json


# Batches ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BatchLosses:
    """The Jaccard loss of random batches by their size, and that of the whole data set."""

    mean: Float[np.ndarray, " k"]  # by size, over the batches whose truth has the class
    spread: Float[np.ndarray, " k"]  # standard deviation
    data_set: float  # the loss of all images together


def batch_losses(
    counts: Int[Tensor, "n 3"], sizes: Sequence[int], seed: int = 0, draws: int = 2000
) -> BatchLosses:
    """Return the Jaccard loss of one class in random batches of images.

    Args:
        counts: correct, added and missed pixels of the class in each image.
        sizes: images in a batch, drawn without putting back.
        seed: of the drawing.
        draws: batches per size.
    """
    rng = torch.Generator().manual_seed(seed)
    table = counts.double()

    def loss(rows: Tensor) -> Tensor:
        correct, added, missed = rows.unbind(-1)
        return (added + missed) / (correct + added + missed).clamp(min=1)

    values = []
    for size in sizes:
        keys = torch.rand(draws, len(table), generator=rng)
        sums = table[keys.argsort(1)[:, :size]].sum(1)
        values.append(loss(sums[sums[:, 0] + sums[:, 2] > 0]))
    mean, spread = (np.array([float(f(v)) for v in values]) for f in (torch.mean, torch.std))
    return BatchLosses(mean, spread, float(loss(table.sum(0))))


# Constants --------------------------------------------------------------------------------------


def constant_losses(
    probs: Float[Tensor, " k"], fraction: float, without: float = 0.0, num: int = 100
) -> dict[str, Float[np.ndarray, " k"]]:
    """Return the expected loss of predicting one foreground probability at every pixel.

    Keys: "cross_entropy"; "class", Lovász of the foreground alone (the list [1]); "present", mean
    over the classes that a batch contains.

    Args:
        probs: the constants.
        fraction: of the pixels that are foreground, in a batch with foreground.
        without: fraction of the batches that have no foreground.
        num: pixels in a batch.

    Raises:
        ValueError: a batch with foreground has no background, or the other way round.
    """
    num_fg = round(fraction * num)
    if not 0 < num_fg < num:
        raise ValueError(
            f"constant_losses: found {num_fg} foreground pixels of {num}, expected some of both "
            "kinds. Try a fraction between 0.01 and 0.99."
        )
    truth = [1] * num_fg + [0] * (num - num_fg)
    p = probs.double()
    errors = torch.where(torch.tensor(truth, dtype=torch.bool), 1 - p[:, None], p[:, None])
    of_fg = extend_jaccard(errors, truth)[0]
    of_bg = extend_jaccard(errors, [1 - is_fg for is_fg in truth])[0]
    all_fg = (1 - without) * num_fg / num
    eps = 1e-12
    entropy = -all_fg * (p + eps).log() - (1 - all_fg) * (1 - p + eps).log()
    # In a batch without foreground every pixel has the error p; the losses of both classes are p.
    return {
        "cross_entropy": entropy.numpy(),
        "class": ((1 - without) * of_fg + without * p).numpy(),
        "present": ((1 - without) * (of_fg + of_bg) / 2 + without * p).numpy(),
    }


def best_constants(fraction: float, without: float = 0.0) -> dict[str, float]:
    """Return for each loss the constant probability, on a grid of 0.01, that costs least."""
    axis = torch.linspace(0, 1, 101, dtype=torch.float64)
    losses = constant_losses(axis, fraction, without)
    return {name: float(axis[int(values.argmin())]) for name, values in losses.items()}


def logit_gradients(logits: Float[np.ndarray, " k"]) -> dict[str, Float[np.ndarray, " k"]]:
    """Return minus the derivative of three losses by the logit of one foreground pixel.

    All other pixels are right, so the pixel, if wrong, has the largest error and weight 1 / NUM_FG.
    """
    probs = 1 / (1 + np.exp(-logits))
    return {
        "cross_entropy": (1 - probs) / NUM,
        "hinge": np.where(logits < 1, 1 / NUM_FG, 0.0),
        "lovasz_softmax": probs * (1 - probs) / NUM_FG,
    }


# Bins -------------------------------------------------------------------------------------------


def binned_weights(
    errors: Float[Tensor, " p"],
    is_fg: Bool[Tensor, " p"],
    bins: int,
    of_bin: BinWeights | None = None,
) -> tuple[float, Float[Tensor, " p"]]:
    """Return the binned loss and each pixel's weight; bin k holds errors in ((k-1)/K, k/K].

    Args:
        errors: in [0, 1].
        is_fg: their truth.
        bins: their number.
        of_bin: weights of a foreground and of a background pixel in place of the package's, by
            their numbers in the bin, the intersection and the union before it.

    Source: derived here; [LS] stops at sorting.
    """
    bin_of = (errors.double() * bins).ceil().clamp(0, bins).long()
    fg = bin_of[is_fg].bincount(minlength=bins + 1).flip(0)  # the largest errors first
    bg = bin_of[~is_fg].bincount(minlength=bins + 1).flip(0)
    tables: tuple[Tensor, ...]
    if of_bin is None:
        tables = binned_gradient(fg.double(), bg.double())
    else:
        left, union, rows = int(fg.sum()), int(fg.sum()), []
        for num_fg, num_bg in zip(fg.tolist(), bg.tolist(), strict=True):
            rows.append(of_bin(num_fg, num_bg, left, union))
            left, union = left - num_fg, union + num_bg
        tables = tuple(torch.tensor(column).double() for column in zip(*rows, strict=True))
    of_fg, of_bg = (table.flip(0) for table in tables)
    weights = torch.where(is_fg, of_fg[bin_of], of_bg[bin_of])
    return float((weights * errors.double()).sum()), weights


def make_errors(
    kind: str, fraction: float, rng: torch.Generator, num: int = 4096, bins: int = 64
) -> tuple[Float[Tensor, " p"], Bool[Tensor, " p"]]:
    """Return errors in float64 and their truth, of which a fraction is foreground.

    Kinds: "spread", uniform in [0, 1]; "sure", those of a trained network, most near 0 and some
    near 1; "worst", all within one bin of `bins`, foreground at its upper end.
    """
    is_fg = torch.zeros(num, dtype=torch.bool)
    is_fg[: max(1, round(fraction * num))] = True
    draw = torch.rand(num, generator=rng, dtype=torch.float64)
    if kind == "spread":
        return draw, is_fg
    if kind == "sure":
        logits = 9 * draw - 6 + torch.randn(num, generator=rng, dtype=torch.float64)
        return logits.sigmoid(), is_fg
    if kind == "worst":
        low = torch.full((num,), 0.5 + 1e-9, dtype=torch.float64)
        return low.masked_fill(is_fg, 0.5 + 1 / bins), is_fg
    raise ValueError(f'make_errors: found kind {kind!r}, expected "spread", "sure" or "worst"')


def measure_gaps(kind: str, fraction: float, bins: Sequence[int]) -> Float[np.ndarray, " k"]:
    """Return exact minus binned loss of 4,096 pixels by the number of bins."""
    gaps = []
    for number in bins:
        rng = torch.Generator().manual_seed(0)
        errors, is_fg = make_errors(kind, fraction, rng, bins=number)
        exact = float(extend_jaccard(errors, is_fg.int().tolist())[0])
        gaps.append(exact - binned_weights(errors, is_fg, number)[0])
    return np.array(gaps)


# Seeds ------------------------------------------------------------------------------------------


def select_seeds(rows: Gains, key: str, **where: Any) -> list[float]:
    """Return one number of the stored runs whose entries equal those of `where`, in order of seeds.

    Args:
        rows: a part of benchmarks/results/lovasz_small.json.
        key: of the number.
        where: entries and their values.

    Raises:
        ValueError: there is no such run.
    """
    chosen = [row for row in rows if all(row[name] == value for name, value in where.items())]
    if not chosen:
        raise ValueError(
            f"select_seeds: found no run with {where}, expected some. Does "
            "benchmarks/results/lovasz_small.json have this part?"
        )
    return [float(row[key]) for row in sorted(chosen, key=lambda row: row["seed"])]


def format_range(values: Sequence[float]) -> str:
    """Return mean, lowest and highest of some numbers as text."""
    return f"{np.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"


# A training experiment --------------------------------------------------------------------------


def select_gains(table: Gains, world: str, images: str) -> dict[str, list[float]]:
    """Return the gains in mIoU over cross-entropy alone by arm, one per seed, at equal steps.

    Args:
        table: all rows.
        world: which data set was trained on.
        images: which images were evaluated on.

    Raises:
        ValueError: there is no such row.
    """
    gains = {
        row["arm"]: list(row["gains"])
        for row in table
        if (row["world"], row["judged_on"], row["compare"]) == (world, images, "steps")
    }
    if not gains:
        known = sorted({(row["world"], row["judged_on"]) for row in table})
        raise ValueError(f"select_gains: found no row of {world}, {images}. Try one of {known}.")
    return gains
