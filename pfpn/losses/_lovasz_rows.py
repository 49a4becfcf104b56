"""Which pixel belongs to which loss: what the sums of `lovasz.py` and `_lovasz_fast.py` run over.

A "row" is one Jaccard loss: one class of one group of images (a single image, or the whole batch).
In each row each pixel has an error: 1 - value where it is foreground, offset + value where it is
background (offset 0 is the softmax, 1 the hinge). An error of 0 or less costs nothing and gets no
gradient.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

TOLERANCE = 1e-3  # how far rounding, down to bfloat16's, may push a probability out of [0, 1]

Classes = Literal["present", "all"] | Sequence[int]


@dataclass(frozen=True, slots=True)
class Row:
    """One Jaccard loss and its weight in the total."""

    images: range
    channel: int
    num_fg: int  # -1 where it was not counted
    weight: Any  # a float; where nothing is read back from the device, a tensor


@dataclass(frozen=True, slots=True)
class Work:
    """What is read (values, codes), where the gradient goes, and the rows to sum over."""

    values: Any  # (b, c, p) contiguous, a tensor or an array, as all three
    codes: Any  # (b, p): the channel whose foreground a pixel is, c for none, c + 1 for ignored
    grad: Any  # (b, c, p) contiguous, to be written, zeros where no row is
    offset: float
    rows: Sequence[Row]
    has_ignored: bool
    sums_to_one: bool  # over the channels, for certain

    def numpy(self) -> "Work":
        values, codes, grad = (x.numpy() for x in (self.values, self.codes, self.grad))
        return replace(self, values=values, codes=codes, grad=grad)

    def twins(self) -> list[list[Row]]:
        """Group the rows; the two of a softmax over two classes have the same error everywhere."""
        rows = list(self.rows)
        both = self.sums_to_one and self.values.shape[1] == 2
        groups: list[list[Row]] = []
        for row in rows:
            last = groups[-1][-1] if groups else None
            if both and last and row.num_fg and last.num_fg and last.images == row.images:
                groups[-1].append(row)
            else:
                groups.append([row])
        return groups

    def clear_unused(self) -> None:
        """Write 0 as the gradient of channels that no loss uses."""
        used = {(image, row.channel) for row in self.rows for image in row.images}
        num_images, num_classes = self.values.shape[:2]
        for i, c in itertools.product(range(num_images), range(num_classes)):
            if (i, c) not in used:
                self.grad[i, c] = 0

    @property
    def ignored(self) -> int:
        return self.values.shape[1] + 1


def chosen_classes(values: Tensor, classes: Classes, class_weights: Tensor | None) -> list[int]:
    """Return the channels to average over; raise ValueError if arguments do not fit together."""
    num_classes = values.shape[1]
    chosen = list(range(num_classes)) if isinstance(classes, str) else [int(c) for c in classes]
    if not set(chosen) <= set(range(num_classes)):
        raise ValueError(
            f"classes is {chosen}, expected labels below the {num_classes} channels of the scores; "
            f"the scores have shape {tuple(values.shape)}. Is dim 1 the classes?"
        )
    if class_weights is not None and len(class_weights) != num_classes:
        raise ValueError(
            f"class_weights has {len(class_weights)} entries for {num_classes} classes. "
            "Give one for each class, also for those that are not averaged."
        )
    return chosen


def encode_labels(
    labels: Tensor, num_classes: int, kind: str, ignore: Sequence[int], validate: bool
) -> Tensor:
    """Return the channel whose foreground a pixel is; num_classes for none, + 1 if ignored."""
    if labels.dtype in (torch.uint16, torch.uint32, torch.uint64):
        labels = labels.long()  # few operations take these
    ignored = None
    for label in ignore:
        if not _can_hold(labels.dtype, label):
            continue  # compared as that type, 256 and -100 would be 0 and 156 among 8 bits
        ignored = labels == label if ignored is None else ignored | (labels == label)
    if validate and labels.numel():
        # In the labels' own type: 2^32 would be 0 among 32 bits
        counted = labels if ignored is None else labels.masked_fill(ignored, 0)
        low, high = (int(extreme) for extreme in counted.aminmax())
        top = 1 if kind == "hinge" else num_classes - 1
        if low < 0 or high > top:
            raise ValueError(
                f"Lovász loss: labels lie between {low} and {high}, expected 0 to {top}"
                f"{''.join(f' or {label}' for label in ignore)}. Is `ignore` (now "
                f"{', '.join(map(str, ignore)) or None}) set to the label of the pixels that are "
                "left out?"
            )
    codes = labels.to(torch.int32, copy=True)
    if kind == "hinge":  # the one channel is that of label 1
        codes.neg_().add_(1)
    if ignored is not None:
        codes.masked_fill_(ignored, num_classes + 1)
    return codes.to(torch.uint8 if num_classes < 255 else torch.int16)


def _can_hold(dtype: torch.dtype, label: int) -> bool:
    if dtype == torch.bool:
        return label in (0, 1)
    limits = torch.iinfo(dtype)
    return limits.min <= label <= limits.max


def require_probs(values: Tensor) -> None:
    """Raise ValueError unless all values lie in [0, 1], up to rounding."""
    if not values.numel():
        return
    low, high = (float(extreme) for extreme in values.aminmax())
    if low < -TOLERANCE or high > 1 + TOLERANCE:
        raise ValueError(
            f"lovasz_softmax: probs lie between {low:.4g} and {high:.4g}, expected 0 to 1. "
            "Are these logits? Try lovasz_softmax_from_logits."
        )


def list_rows(
    codes: Tensor,
    num_classes: int,
    chosen: Sequence[int],
    present: bool,
    class_weights: Sequence[float],
    per_image: bool,
) -> list[Row]:
    """List the Jaccard losses that are averaged, each with its weight in the average."""
    images = range(len(codes))
    groups = [images[i : i + 1] for i in images] if per_image else [images]
    rows = []
    for group in groups:
        flat = codes[group.start : group.stop].flatten()
        if not len(flat):
            continue
        counts = flat.bincount(minlength=num_classes).tolist()
        averaged = [c for c in chosen if class_weights[c] and (counts[c] or not present)]
        total = len(groups) * sum(class_weights[c] for c in averaged)
        rows += [Row(group, c, counts[c], class_weights[c] / total) for c in averaged]
    return rows


def list_all_rows(
    codes: Tensor,
    num_classes: int,
    chosen: Sequence[int],
    present: bool,
    class_weights: Tensor | None,
    per_image: bool,
) -> list[Row]:
    """List a row for every chosen class, with weights that are tensors: 0 for an absent class.

    So nothing is read back from the device, as capturing a CUDA graph needs. The price is that
    absent classes are computed too.
    """
    images = range(len(codes))
    groups = [images[i : i + 1] for i in images] if per_image else [images]
    rows: list[Row] = []
    for group in groups if codes.numel() and chosen else []:
        flat = codes[group.start : group.stop]
        weights = torch.ones(num_classes, device=codes.device)
        if class_weights is not None:
            weights = class_weights.to(weights)
        weights = torch.stack([weights[c] for c in chosen])
        if present:
            weights = weights * torch.stack([(flat == c).any() for c in chosen])
        # Without any class that counts the loss is 0.
        total = len(groups) * weights.sum()
        weights = torch.where(total > 0, weights / total, 0)
        rows += [Row(group, c, -1, w) for c, w in zip(chosen, weights.unbind(), strict=True)]
    return rows
