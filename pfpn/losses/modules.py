"""The Lovász losses as modules: options are checked when a module is made, and its repr shows them.

Their class weights move with the module, and are no part of its state dict.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pfpn.losses._arguments import Ignored, ignored_labels, require_options
from pfpn.losses._lovasz_rows import Classes
from pfpn.losses.lovasz import Labels, lovasz_hinge, lovasz_softmax_from_logits


class LovaszSoftmax(nn.Module):
    """`lovasz_softmax_from_logits` with its options, to replace `nn.CrossEntropyLoss`."""

    class_weights: Tensor | None

    def __init__(
        self,
        *,
        classes: Classes = "present",
        per_image: bool = False,
        ignore: Ignored = None,
        ignore_index: Ignored = None,
        bins: int | None = None,
        class_weights: Tensor | Sequence[float] | None = None,
        validate: bool = True,
    ):
        super().__init__()
        require_options(classes, class_weights, per_image, bins, validate)
        self.classes = classes
        self.per_image = per_image
        self.ignore = ignored_labels(ignore, ignore_index)
        self.bins = bins
        self.validate = validate
        weights = None if class_weights is None else torch.as_tensor(class_weights).float()
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(self, logits: Float[Tensor, "b c *s"], labels: Labels) -> Float[Tensor, ""]:
        return lovasz_softmax_from_logits(
            logits,
            labels,
            classes=self.classes,
            per_image=self.per_image,
            ignore=self.ignore,
            bins=self.bins,
            class_weights=self.class_weights,
            validate=self.validate,
        )

    def extra_repr(self) -> str:
        given = self.class_weights
        weights: Any = None if given is None else "..." if given.is_meta else given.tolist()
        return (
            f"classes={self.classes!r}, per_image={self.per_image}, ignore={self.ignore}, "
            f"bins={self.bins}, class_weights={weights}, validate={self.validate}"
        )


class LovaszHinge(nn.Module):
    """`lovasz_hinge` with its options, to replace `nn.BCEWithLogitsLoss`."""

    def __init__(
        self,
        *,
        per_image: bool = True,
        ignore: Ignored = None,
        ignore_index: Ignored = None,
        bins: int | None = None,
        validate: bool = True,
    ):
        super().__init__()
        require_options("all", None, per_image, bins, validate)
        self.per_image = per_image
        self.ignore = ignored_labels(ignore, ignore_index)
        self.bins = bins
        self.validate = validate

    def forward(self, logits: Float[Tensor, "b *s"], labels: Labels) -> Float[Tensor, ""]:
        return lovasz_hinge(
            logits,
            labels,
            per_image=self.per_image,
            ignore=self.ignore,
            bins=self.bins,
            validate=self.validate,
        )

    def extra_repr(self) -> str:
        return (
            f"per_image={self.per_image}, ignore={self.ignore}, bins={self.bins}, "
            f"validate={self.validate}"
        )
