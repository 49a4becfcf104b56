"""What the Lovász losses accept: any spatial shape, several ignored labels, checked options."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from pfpn.losses._lovasz_rows import Classes

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
    given = ignore if ignore_index is None else ignore_index
    labels = [] if given is None else list(given) if isinstance(given, Sequence) else [given]
    if not all(isinstance(label, Integral) and not isinstance(label, bool) for label in labels):
        raise ValueError(
            f"Lovász loss: found ignore {given!r}, expected a label, a list of labels or None."
        )
    return [int(label) for label in labels]


def require_options(
    classes: Classes, class_weights: Any, per_image: Any, bins: Any, validate: Any
) -> None:
    """Raise ValueError for options that no scores could make valid."""
    if isinstance(classes, str):
        if classes not in ("present", "all"):
            raise ValueError(f'classes is {classes!r}. Try "present", "all" or a list of labels.')
    elif len(set(classes)) < len(classes) or not all(
        isinstance(label, int) and not isinstance(label, bool) and label >= 0 for label in classes
    ):
        raise ValueError(
            f"classes is {classes!r}, expected labels from 0 on, each once. "
            'Try "present", "all" or a list of labels.'
        )
    for name, value in (("per_image", per_image), ("validate", validate)):
        if not isinstance(value, bool):
            raise ValueError(f"{name} is {value!r}, expected True or False.")
    if bins is not None and (not isinstance(bins, int) or isinstance(bins, bool) or bins < 1):
        raise ValueError(f"bins is {bins!r}, expected 1 or more. Try 1024, or None for exact.")
    if class_weights is not None:
        weights = torch.as_tensor(class_weights)
        if torch.compiler.is_compiling():  # values are not known while a graph is made
            return
        if weights.ndim != 1 or not bool((weights >= 0).all()) or not bool((weights > 0).any()):
            raise ValueError(
                f"class_weights is {class_weights}, expected one number from 0 on for each class, "
                "and not only zeros."
            )


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
