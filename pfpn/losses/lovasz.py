"""The Lovász losses: a convex surrogate of intersection over union.

Segmentations are evaluated by the Jaccard index of each class, |truth and prediction| / |truth or
prediction|. 1 - Jaccard depends only on the set of wrong pixels: it is a set function, known at the
corners of a cube whose axes are the pixels (1 = wrong). Because it is submodular, its tightest
convex extension to the inside of the cube (errors between 0 and 1) has a formula: sort the errors
and weight each by the rise of the set function. That is its Lovász extension. Two definitions of
the errors give two losses: the hinge of one logit per pixel, or softmax probabilities.

In this order: the set function, its extension, its gradient (Algorithm 1), the same without
sorting (bins), the two losses, and how they are applied to each class of each image.
`_lovasz_fast.py` computes the same sums faster on a CPU.
"""

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Integer, Shaped
from torch import Tensor

from pfpn.inputs import require_scores
from pfpn.losses._arguments import Ignored, as_images, ignored_labels, require_options
from pfpn.losses._lovasz_autograd import differentiable_loss, register_gradient
from pfpn.losses._lovasz_fast import TINY, binned_loss, loops_for, sorted_loss
from pfpn.losses._lovasz_rows import (
    Classes,
    Work,
    chosen_classes,
    encode_labels,
    list_all_rows,
    list_rows,
    require_probs,
)
from pfpn.losses.segmentation import as_float64, at_least_float32

Labels = Integer[Tensor, "b *s"] | Bool[Tensor, "b *s"]  # of as many axes as the scores, without c

Weights = Shaped[Tensor, " c"] | Sequence[float] | None  # of the classes

# Sets -------------------------------------------------------------------------------------------


def jaccard_loss(wrong: Bool[Tensor, "*n p"], truth: Bool[Tensor, "*n p"]) -> Float[Tensor, "*n"]:
    """Return 1 - intersection / union where just the pixels in `wrong` are classified wrongly.

    Wrong pixels of the truth leave the intersection, wrong pixels outside of it join the union,
    so the loss is |wrong| / |truth or wrong|; 0 where both are empty. In float64.

    Source: [LS] 1, where it is called Delta_J.
    """
    union = (truth | wrong).sum(-1)
    return as_float64(wrong.sum(-1)) / as_float64(union.clamp(min=1))


def lovasz_extension(
    set_function: Callable[[Bool[Tensor, " p"]], float | Tensor], m: Float[Tensor, " p"]
) -> Float[Tensor, ""]:
    """Extend any function of sets of p items to points m of R^p: linear on each order of m.

    Items join the set from the largest m to the smallest; each contributes its m times the rise of
    the function when it joins. At a corner (m of zeros and ones) that is the function itself. It
    is convex exactly where the function is submodular. Differentiable in m; p + 1 evaluations.

    Source: [LS] Definition 2.
    """
    joined = torch.zeros(len(m), dtype=torch.bool, device=m.device)
    value = m.new_tensor(float(set_function(joined)))
    last = float(value)
    for item in m.argsort(descending=True).tolist():
        joined[item] = True
        now = float(set_function(joined))
        value = value + m[item] * (now - last)
        last = now
    return value


def lovasz_gradient(is_fg: Float[Tensor, "*c p"]) -> Float[Tensor, "*c p"]:
    """Weight each pixel by the rise in Jaccard loss when it joins the wrong pixels.

    `is_fg` is the 0/1 truth sorted by decreasing error. The weights are at least 0 and add up to 1.
    In float64 inside: neighboring losses differ by as little as 1 / p^2.

    Source: [LS] Algorithm 1.
    """
    truth = as_float64(is_fg)
    num_fg = truth.sum(-1, keepdim=True)
    intersection = num_fg - truth.cumsum(-1)
    union = num_fg + (1 - truth).cumsum(-1)
    jaccard_loss = 1 - intersection / union
    return jaccard_loss.diff(dim=-1, prepend=torch.zeros_like(num_fg)).to(is_fg)


def binned_gradient(
    fg: Float[Tensor, "*c k"], bg: Float[Tensor, "*c k"]
) -> tuple[Float[Tensor, "*c k"], Float[Tensor, "*c k"]]:
    """Weight a foreground and a background pixel of each bin, without an order inside the bins.

    `fg` and `bg` count the pixels by bin, from the largest errors to the smallest. Every order that
    respects the bins has its own `lovasz_gradient`. This is the mean of two families of them,
    foreground first and background first, so it stays in the base polytope, whose support function
    the Lovász loss is: hence 0 <= exact - binned <= width of a bin, for the loss, and the weights
    are a subgradient up to the same width.

    Source: derived here; [LS] stops at sorting.
    """
    fg, bg = as_float64(fg), as_float64(bg)
    left = fg.sum(-1, keepdim=True) - fg.cumsum(-1) + fg  # intersection before this bin
    union = fg.sum(-1, keepdim=True) + bg.cumsum(-1) - bg  # before this bin
    after = (union + bg).clamp(min=1)
    fg_weights = (1 / union.clamp(min=1) + 1 / after) / 2
    # No foreground at all: the loss jumps to 1 with the first pixel, so the first bin has it all.
    bg_weights = torch.where(union > 0, left - fg / 2, 1) / (union.clamp(min=1) * after)
    return fg_weights, torch.where((union > 0) | (bg > 0), bg_weights, 0)


# Losses -----------------------------------------------------------------------------------------


def lovasz_softmax(
    probs: Float[Tensor, "b c *s"],
    labels: Labels,
    *,
    classes: Classes = "present",
    per_image: bool = False,
    ignore: Ignored = None,
    ignore_index: Ignored = None,
    bins: int | None = None,
    class_weights: Weights = None,
    validate: bool = True,
) -> Float[Tensor, ""]:
    """Return the mean over classes of the Lovász extension of the Jaccard loss, in [0, 1].

    The error of a pixel in class c is 1 - probs[c] where c is its label, probs[c] elsewhere.

    Args:
        probs: of a softmax over the classes, (b, c) and any spatial axes; (n, c) is one image of n
            points, such as a point cloud or what is left of a batch.
        labels: 0..c-1, or `ignore`; as probs without c.
        classes: whose losses are averaged: those that the truth contains, all, or a list. A class
            that is averaged and absent from the truth costs its largest error.
        per_image: one loss for each image, then their mean, instead of one for the whole batch.
        ignore: the label of pixels that are left out, or several.
        ignore_index: another name of `ignore`, as in torch.
        bins: None sorts the errors, which is exact. K counts them in K bins: faster, linear in the
            number of pixels, and below the exact loss by at most 1 / K.
        class_weights: turns the mean over classes into a weighted one.
        validate: refuse probabilities and labels that are out of range; takes one more pass. With
            False nothing is read back from a GPU, as capturing a CUDA graph needs, and absent
            classes are computed there too.

    Convention: the mean over images counts all of them, and one without a pixel that counts has
    loss 0 and gradient 0; float16 and bfloat16 are computed in float32, the loss stays float32 (a
    scaled float16 would overflow) and the gradient has the type of `probs`. Where errors tie, one
    of the subgradients is taken; an error of exactly 0 gets gradient 0; nan or infinity in the
    scores make a loss that is not finite.

    Source: [LS] "Multiclass semantic segmentation".
    """
    options = per_image, (ignore, ignore_index), bins, validate
    return _apply(probs, labels, "probs", classes, class_weights, *options)


def lovasz_softmax_from_logits(
    logits: Float[Tensor, "b c *s"],
    labels: Labels,
    *,
    classes: Classes = "present",
    per_image: bool = False,
    ignore: Ignored = None,
    ignore_index: Ignored = None,
    bins: int | None = None,
    class_weights: Weights = None,
    validate: bool = True,
) -> Float[Tensor, ""]:
    """Return `lovasz_softmax(logits.softmax(1), ...)` in two thirds of the memory.

    Convention: as `lovasz_softmax`.
    """
    options = per_image, (ignore, ignore_index), bins, validate
    return _apply(logits, labels, "logits", classes, class_weights, *options)


def lovasz_hinge(
    logits: Float[Tensor, "b *s"],
    labels: Labels,
    *,
    per_image: bool = True,
    ignore: Ignored = None,
    ignore_index: Ignored = None,
    bins: int | None = None,
    validate: bool = True,
) -> Float[Tensor, ""]:
    """Return the Lovász extension of the foreground's Jaccard loss at the hinge errors, at least 0.

    The error of a pixel is max(0, 1 - s * logit), with s = 1 where its label is 1, s = -1 where 0.

    Args:
        logits: foreground is predicted above 0, with a full margin from 1 on.
        labels: 0, 1 or `ignore`.
        per_image: one loss for each image, then their mean, instead of one for the whole batch.
        ignore: as for `lovasz_softmax`.
        ignore_index: another name of `ignore`.
        bins: None sorts the errors, which is exact. K counts them in K bins between 0 and the
            largest error: faster, and below the exact loss by at most that error / K.
        validate: refuse labels that are out of range.

    Convention: an image (batch) without foreground costs its largest error; all else as
    `lovasz_softmax`.

    Source: [LS] "Foreground-background segmentation".
    """
    options = per_image, (ignore, ignore_index), bins, validate
    return _apply(logits, labels, "hinge", [0], None, *options)


# Every class of every image ---------------------------------------------------------------------


def _apply(
    values: Tensor,
    labels: Tensor,
    kind: Literal["probs", "logits", "hinge"],
    classes: Classes,
    class_weights: Weights,
    per_image: bool,
    ignore: tuple[Ignored, Ignored],
    bins: int | None,
    validate: bool,
) -> Tensor:
    require_options(classes, class_weights, per_image, bins, validate)
    require_scores(values, labels, has_classes=kind != "hinge")
    weights = None if class_weights is None else torch.as_tensor(class_weights)
    values, labels = as_images(at_least_float32(values), labels, kind == "hinge")
    averaged = chosen_classes(values, classes, weights), classes == "present", weights
    options = per_image, ignored_labels(*ignore), None if bins is None else int(bins), validate
    return differentiable_loss(values, labels, kind, *averaged, *options)


# One opaque operator, so that torch.compile does not trace the NumPy inside.
# (`torch.library.custom_op` would be shorter, but loads the compiler at the first call.)
torch.library.define(
    "pfpn::lovasz",
    "(Tensor values, Tensor labels, str kind, int[] chosen, bool present, Tensor? class_weights,"
    " bool per_image, int[] ignored, int? bins, bool validate) -> (Tensor, Tensor)",
)


def _loss_and_gradient(
    values: Tensor, labels: Tensor, kind: str, *options: Any
) -> tuple[Tensor, Tensor]:
    chosen, present, class_weights, per_image, ignored, bins, validate = options
    shape = values.shape
    values = values.flatten(2).contiguous()
    codes = encode_labels(labels.flatten(1), shape[1], kind, ignored, validate)
    if validate or _is_for_cpu(values):
        weights = [1.0] * shape[1] if class_weights is None else class_weights.tolist()
        rows = list_rows(codes, shape[1], chosen, present, weights, per_image)
    else:
        rows = list_all_rows(codes, shape[1], chosen, present, class_weights, per_image)
    if kind == "probs" and validate:
        require_probs(values)
    values = values.softmax(1) if kind == "logits" else values
    is_quick = bins is not None and _is_for_cpu(values)
    loops = loops_for(values.numel()) if is_quick and kind != "hinge" else None
    grad = values if kind == "logits" and loops else torch.empty_like(values)
    offset, has_ignored = float(kind == "hinge"), bool(ignored)
    work = Work(values, codes, grad, offset, rows, has_ignored, sums_to_one=kind == "logits")
    if not rows:
        return values.new_zeros(()), torch.zeros_like(values).view(shape)
    if grad is not values:
        work.clear_unused()
    if is_quick:
        loss = _binned_loss(work, bins, loops)
    elif _is_for_cpu(values):
        loss = values.new_tensor(sorted_loss(work.numpy(), torch.get_num_threads()))
    else:
        loss = _loss(work, bins)
    if kind == "logits" and not is_quick:  # in place: each entry is read before it is written
        torch.ops.aten._softmax_backward_data.out(grad, values, 1, values.dtype, grad_input=grad)
    return loss, grad.view(shape)


torch.library.impl("pfpn::lovasz", "CompositeExplicitAutograd", _loss_and_gradient)


@torch.library.register_fake("pfpn::lovasz")
def _(values: Tensor, *options: Any) -> tuple[Tensor, Tensor]:
    return values.new_empty(()), torch.empty_like(values, memory_format=torch.contiguous_format)


register_gradient()


def _is_for_cpu(values: Tensor) -> bool:
    """Whether NumPy's radix sort can be used, which is faster than torch's sorts."""
    return values.device.type == "cpu" and values.dtype == torch.float32


def _binned_loss(work: Work, bins: int, loops: ModuleType | None) -> Tensor:
    def weigh(*counts: Any) -> Any:
        return [weights.numpy() for weights in _weigh_bins(*map(torch.from_numpy, counts))]

    loss = binned_loss(work.numpy(), bins, weigh, torch.get_num_threads(), loops)
    return work.values.new_tensor(loss)


def _loss(work: Work, bins: int | None) -> Tensor:
    """Compute row by row, as the paper writes it: for other devices, and for float64."""
    loss = work.values.new_zeros(())
    for row in work.rows:
        images = slice(row.images.start, row.images.stop)
        values, codes = work.values[images, row.channel], work.codes[images]
        is_fg = codes == row.channel
        errors = torch.where(is_fg, 1 - values, work.offset + values)
        errors = errors.masked_fill(codes == work.ignored, 0).clamp(min=0)
        weights = row.weight * _weigh(errors.flatten(), is_fg.flatten(), bins, work.offset)
        weights = weights.view_as(errors) * (errors > 0)
        loss += (weights * errors).sum()
        # The error of foreground falls as its value rises.
        work.grad[images, row.channel] = torch.where(is_fg, -weights, weights)
    return loss


def _weigh(
    errors: Float[Tensor, " p"], is_fg: Bool[Tensor, " p"], bins: int | None, offset: float
) -> Float[Tensor, " p"]:
    if bins is None:
        order = errors.argsort(descending=True, stable=True)
        weights = lovasz_gradient(is_fg[order].to(errors.dtype))
        return torch.empty_like(errors).scatter(0, order, weights)
    top = errors.max().clamp(min=TINY) if offset else 1
    index = (errors * (bins / top)).ceil().nan_to_num(bins).clamp(0, bins).long()
    # Counts are added up as integers, so in any order; bincount would ask the device for a length.
    counts = index.new_zeros(2 * (bins + 1))
    counts.scatter_add_(0, index + (bins + 1) * is_fg, torch.ones_like(index))
    bg, fg = counts.view(2, bins + 1)
    fg_weights, bg_weights = (weights.to(errors) for weights in _weigh_bins(fg, bg))
    return torch.where(is_fg, fg_weights[index], bg_weights[index])


def _weigh_bins(fg: Tensor, bg: Tensor) -> tuple[Tensor, Tensor]:
    """`binned_gradient` of bins in rising order, the first of which holds the errors of 0."""
    fg_weights, bg_weights = binned_gradient(as_float64(fg).flip(-1), as_float64(bg).flip(-1))
    return fg_weights.flip(-1), bg_weights.flip(-1)
