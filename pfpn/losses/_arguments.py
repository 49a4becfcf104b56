"""What the Lovász losses accept: any spatial shape, several ignored labels, checked options."""

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

MAX_BINS = 10**6  # more would only fill the memory

Ignored = int | Sequence[int] | None


def ignored_labels(ignore: Ignored, ignore_index: Ignored = None) -> list[int]:
    """Return the labels that are left out; ValueError unless they are whole numbers.

    Args:
        ignore: one label, several, or None.
        ignore_index: the same by the name that torch gives it; only one of the two may be used.
    """
    if ignore is not None and ignore_index is not None:
        raise ValueError(
            f"Lovász loss: found ignore {ignore!r} and ignore_index {ignore_index!r}, which are "
            "two names of one option, expected one of them. For several labels try ignore=[...]."
        )
    given: Any = ignore if ignore_index is None else ignore_index
    is_list = isinstance(given, Sequence) and not isinstance(given, str | bytes)
    labels = [] if given is None else list(given) if is_list else [given]
    if not all(_is_whole(label) and -(2**63) <= label < 2**63 for label in labels):
        raise ValueError(
            f"Lovász loss: found ignore {given!r}, expected a label, a list of labels or None. "
            "Try ignore=255 or ignore=[254, 255]."
        )
    return [int(label) for label in labels]


def require_options(
    classes: Any, class_weights: Any, per_image: Any, bins: Any, validate: Any
) -> None:
    """Raise ValueError for options that no scores could make valid."""
    if isinstance(classes, str):
        if classes not in ("present", "all"):
            raise ValueError(f'classes is {classes!r}. Try "present", "all" or a list of labels.')
    else:
        labels = list(classes) if isinstance(classes, Iterable) else []
        are_labels = all(_is_whole(label) and label >= 0 for label in labels)
        if not are_labels or not 0 < len(set(labels)) == len(labels):
            raise ValueError(
                f"classes is {classes!r}, expected labels from 0 on, each once. "
                'Try "present", "all" or a list of labels.'
            )
    for name, value in (("per_image", per_image), ("validate", validate)):
        if not isinstance(value, bool):
            raise ValueError(f"{name} is {value!r}, expected True or False.")
    if bins is not None and not (_is_whole(bins) and 1 <= bins <= MAX_BINS):
        raise ValueError(
            f"bins is {bins!r}, expected 1 to {MAX_BINS}. Try 1024, or None for exact."
        )
    if class_weights is not None:
        _require_weights(class_weights, validate)


def _require_weights(class_weights: Any, validate: bool) -> None:
    try:
        weights = torch.as_tensor(class_weights)
    except (TypeError, ValueError, RuntimeError):  # which of them depends on what it is
        weights = torch.empty(0, 0)
    fits = weights.ndim == 1 and not weights.requires_grad
    # Values are read where they are at hand: from a GPU only with `validate`, not by a compiler
    is_at_hand = weights.device.type == "cpu" or (validate and not weights.is_meta)
    if fits and is_at_hand and not torch.compiler.is_compiling():
        fits = bool((weights >= 0).all() & weights.isfinite().all() & (weights > 0).any())
    if not fits:
        raise ValueError(
            f"class_weights is {class_weights}, expected one number from 0 on for each class, "
            "without a gradient, and not only zeros. Try [1.0, 2.0, 0.5] for three classes."
        )


def _is_whole(value: Any) -> bool:
    """Whether it is an integer, also one of NumPy's."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def as_images(values: Tensor, labels: Tensor, is_hinge: bool) -> tuple[Tensor, Tensor]:
    """Return scores (b, c, ...) and labels (b, ...) of points or images.

    Points without a batch, (n, c) or for the hinge (n,), are one image of n pixels.
    """
    if is_hinge:
        values = values[None] if values.ndim == 1 else values
        labels = labels[None] if labels.ndim == 1 else labels
        return values[:, None], labels
    if values.ndim == 2 and labels.ndim == 1:
        return values.t()[None], labels[None]
    return values, labels
