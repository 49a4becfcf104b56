"""The Lovász losses from their definition, in float64, set by set: slow, and hard to get wrong."""

from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor


def jaccard_of_sets(wrong: set[int], truth: set[int]) -> Fraction:
    """1 - |intersection| / |union| where just the pixels in `wrong` are labelled wrongly."""
    found = (truth - wrong) | (wrong - truth)
    union = truth | found
    return 1 - Fraction(len(truth & found), len(union)) if union else Fraction(0)


def extension(errors: list[float], truth: set[int]) -> tuple[float, list[float]]:
    """The Lovász extension at `errors` and its weights: every prefix of the order, one by one."""
    order = sorted(range(len(errors)), key=lambda i: -errors[i])
    weights = [0.0] * len(errors)
    for k, pixel in enumerate(order):
        rise = jaccard_of_sets(set(order[: k + 1]), truth) - jaccard_of_sets(set(order[:k]), truth)
        weights[pixel] = float(rise)
    return sum(w * e for w, e in zip(weights, errors, strict=True)), weights


def softmax_loss(
    probs: Tensor,
    labels: Tensor,
    classes: str | Sequence[int] = "present",
    per_image: bool = False,
    ignore: int | None = None,
    class_weights: Sequence[float] | None = None,
) -> tuple[float, Tensor]:
    """Loss and gradient with respect to probs (b, c, h, w)."""
    b, c, h, w = probs.shape
    values = probs.detach().double().reshape(b, c, -1)
    truth = labels.reshape(b, -1).tolist()
    grad = torch.zeros_like(values)
    total = 0.0
    groups = [[i] for i in range(b)] if per_image else [list(range(b))]
    for images in groups:
        pixels = [(i, q) for i in images for q in range(h * w) if truth[i][q] != ignore]
        present = {truth[i][q] for i, q in pixels}
        chosen = range(c) if isinstance(classes, str) else classes
        chosen = [k for k in chosen if pixels and (classes != "present" or k in present)]
        class_parts = {k: class_weights[k] if class_weights else 1.0 for k in chosen}
        for k in chosen:
            fg = {n for n, (i, q) in enumerate(pixels) if truth[i][q] == k}
            errors = [
                1 - float(values[i, k, q]) if n in fg else float(values[i, k, q])
                for n, (i, q) in enumerate(pixels)
            ]
            loss, weights = extension(errors, fg)
            part = class_parts[k] / sum(class_parts.values()) / len(groups)
            total += part * loss
            for n, (i, q) in enumerate(pixels):
                if errors[n] > 0:
                    grad[i, k, q] = part * (-weights[n] if n in fg else weights[n])
    return total, grad.reshape(probs.shape)


def hinge_loss(
    logits: Tensor, labels: Tensor, per_image: bool = True, ignore: int | None = None
) -> tuple[float, Tensor]:
    """Loss and gradient with respect to logits (b, h, w)."""
    b = len(logits)
    values = logits.detach().double().reshape(b, -1)
    truth = labels.reshape(b, -1).tolist()
    grad = torch.zeros_like(values)
    total = 0.0
    groups = [[i] for i in range(b)] if per_image else [list(range(b))]
    for images in groups:
        pixels = [(i, q) for i in images for q in range(values.shape[1]) if truth[i][q] != ignore]
        signs = [1 if truth[i][q] == 1 else -1 for i, q in pixels]
        margins = [
            1 - sign * float(values[i, q]) for sign, (i, q) in zip(signs, pixels, strict=True)
        ]
        errors = [max(0.0, margin) for margin in margins]
        loss, weights = extension(errors, {n for n, sign in enumerate(signs) if sign == 1})
        total += loss / len(groups)
        for n, (i, q) in enumerate(pixels):
            if margins[n] > 0:
                grad[i, q] = -signs[n] * weights[n] / len(groups)
    return total, grad.reshape(logits.shape)
