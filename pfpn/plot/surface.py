"""Loss surfaces of two pixels: a loss for every pair of scores, its gradient, and how to draw both.

Two scores and a loss fill the three dimensions of a plot, enough to see steps, slopes and kinks.
The losses are those of LOSSES, or a function of your own::

    def focal(points, truth):
        agreement = (2 * torch.tensor(truth) - 1) * points
        return ((-agreement).sigmoid() ** 2 * F.softplus(-agreement)).mean(-1)

    figure = Figure()
    axes = figure.add_subplot(**SOLID)
    draw_surface(axes, make_surface(focal, truth=(0, 1)), top=4)

Coordinates ("over"):
    logits: d_i, the score of the foreground less that of the background, F_i(1) - F_i(0) in [LS];
        for the hinge, which has one score a pixel, F_i in [LS], just that score
    margins: r_i = 1 - d_i y_i, with y_i = +1 for foreground and -1 for background; [LS] Fig. 1
    errors: m_i in [0, 1], 1 - probability of the true class

Source: [LS] Fig. 1 and 2.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from pfpn.losses.lovasz import jaccard_loss, lovasz_gradient
from pfpn.plot.style import BLUE, CRIMSON, GREEN, ORANGE, PLUM, RED, SKY, halo

Over = Literal["logits", "margins", "errors"]
Truth = tuple[int, int]  # 1 = foreground, 0 = background, pixel by pixel
Loss = (
    str | Callable[[Tensor, Sequence[int]], Tensor]
)  # a key of LOSSES, or (points, truth) -> loss
TRUTHS: tuple[Truth, ...] = ((0, 0), (0, 1), (1, 0), (1, 1))

# Name, title, line color and line style; the last two tell them apart.
LOSSES: dict[str, tuple[str, str, Any]] = {
    "jaccard": ("Jaccard loss (discrete)", RED, "-"),
    "hinge": ("hinge, mean", SKY, "-"),
    "cross_entropy": ("cross-entropy, mean", BLUE, "-"),
    "soft_jaccard": ("soft Jaccard", GREEN, "-."),
    "dice": ("Dice", ORANGE, "-."),
    "lovasz_hinge": ("Lovász hinge", PLUM, (0, (3, 3))),
    "lovasz_softmax": ("Lovász-Softmax", "black", "-"),
}
UNBOUNDED = ("hinge", "cross_entropy", "lovasz_hinge")
DOT_COLOR = CRIMSON
SURFACE_COLORS = "viridis"
PALE_COLORS = "Blues"
CONTOUR_COLOR = "#4a6a8a"  # of the lines on pale colors
HALO = halo(2.5)
NEAR = 1e-9  # distance from 0 of two extra grid lines, between which the discrete loss jumps
SOLID: dict[str, Any] = {  # of axes for `draw_surface`
    "projection": "3d",
    "computed_zorder": False,  # drawn in the order of the calls: dots on a surface are visible
}


@dataclass(frozen=True, slots=True)
class Surface:
    """One loss over a square grid: row i is the second pixel, column j the first."""

    loss: Loss
    truth: Truth
    over: Over
    axis: Float[np.ndarray, " k"]  # of both pixels
    value: Float[np.ndarray, "k k"]
    gradient: Float[np.ndarray, "k k 2"]  # by the coordinates of pixel 1 and pixel 2


def extend_jaccard(
    errors: Float[Tensor, "*n p"], truth: Sequence[int]
) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n p"]]:
    """Return the Lovász extension of the Jaccard loss at many points at once, and its gradients.

    Where errors tie, the gradient is that of the order of the pixels.

    Source: [LS] Definition 2 and Algorithm 1.
    """
    order = errors.detach().argsort(dim=-1, descending=True, stable=True)
    is_fg = torch.tensor(truth, dtype=errors.dtype).expand(errors.shape)
    weights = torch.zeros_like(errors)
    weights = weights.scatter(-1, order, lovasz_gradient(is_fg.gather(-1, order)))
    return (weights * errors).sum(-1), weights


def loss_at(
    loss: Loss, points: Float[Tensor, "*n p"], truth: Sequence[int], over: Over = "logits"
) -> Float[Tensor, "*n"]:
    """Return a loss of the foreground class at many points; differentiable but for "jaccard".

    A point can have any number of pixels. Over errors only "lovasz_softmax" makes sense. Where the
    truth has no foreground, soft Jaccard and Dice are 1 everywhere, as their formulas give. For the
    discrete loss a logit of 0 counts as wrong.

    Args:
        loss: a key of LOSSES, or a function of logits and truth.
        points: coordinates of the pixels.
        truth: 1 for each foreground pixel, 0 for each background pixel.
        over: what the coordinates are.
    """
    if isinstance(loss, str) and loss not in LOSSES:
        raise ValueError(f"loss_at: found loss {loss!r}, expected one of {', '.join(LOSSES)}")
    if over not in ("logits", "margins", "errors"):
        raise ValueError(f"loss_at: found over {over!r}, expected logits, margins or errors")
    if over == "errors":
        if loss != "lovasz_softmax":
            raise ValueError(f"loss_at: {loss!r} is no function of errors. Try over='logits'.")
        return extend_jaccard(points, truth)[0]
    if len(truth) != points.shape[-1] or not set(truth) <= {0, 1}:
        raise ValueError(
            f"loss_at: found truth {tuple(truth)} for {points.shape[-1]} pixels, expected 1 for "
            "each pixel of the foreground and 0 for each of the background"
        )
    is_fg = torch.tensor(truth, dtype=points.dtype)
    sign = 2 * is_fg - 1
    margins = points if over == "margins" else 1 - sign * points
    agreement = 1 - margins  # y * d: positive where the pixel is right
    if not isinstance(loss, str):
        value = loss(sign * agreement if over == "margins" else points, truth)
        if not isinstance(value, Tensor) or value.shape != points.shape[:-1]:
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(
                f"loss_at: found {shape} as values of the loss, expected a tensor of shape "
                f"{tuple(points.shape[:-1])}: one for each point. Try .mean(-1), over its pixels, "
                'in place of .mean(), and reduction="none" in functions of torch.'
            )
        return value
    if loss == "jaccard":
        return jaccard_loss(agreement <= 0, is_fg.bool().expand(points.shape)).to(points.dtype)
    if loss == "hinge":
        return margins.relu().mean(-1)
    if loss == "cross_entropy":
        return F.softplus(-agreement).mean(-1)
    if loss == "lovasz_hinge":
        return extend_jaccard(margins.relu(), truth)[0]
    if loss == "lovasz_softmax":
        return extend_jaccard((-agreement).sigmoid(), truth)[0]
    probs = (sign * agreement).sigmoid()
    overlap, both = (probs * is_fg).sum(-1), probs.sum(-1) + is_fg.sum()
    return 1 - 2 * overlap / both if loss == "dice" else 1 - overlap / (both - overlap)


def value_and_gradient(
    loss: Loss, points: Float[Tensor, "*n p"], truth: Sequence[int], over: Over = "logits"
) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n p"]]:
    """Return a loss and its gradient by the coordinates, at many points; see `loss_at`."""
    points = points.detach().clone().requires_grad_()
    value = loss_at(loss, points, truth, over)
    if not value.requires_grad:
        return value, torch.zeros_like(points.detach())
    (gradient,) = torch.autograd.grad(value.sum(), points)
    return value.detach(), gradient


def make_surface(
    loss: Loss,
    truth: Truth,
    over: Over = "logits",
    low: float = -3.0,
    high: float = 3.0,
    steps: int = 49,
) -> Surface:
    """Compute a loss and its gradient on a square grid, in float64.

    The discrete Jaccard loss gets two extra grid lines close to 0, so that its steps are vertical;
    its gradient is 0, which is why a network cannot be trained with it.
    """
    axis = torch.linspace(low, high, steps, dtype=torch.float64)
    if loss == "jaccard":
        at = 0.0 if over == "logits" else 1.0
        axis = torch.cat([axis[axis != at], torch.tensor([at - NEAR, at + NEAR])]).sort().values
    second, first = torch.meshgrid(axis, axis, indexing="ij")
    points = torch.stack([first, second], dim=-1)
    value, gradient = value_and_gradient(loss, points, truth, over)
    return Surface(loss, truth, over, axis.numpy(), value.numpy(), gradient.numpy())


def largest_drawn(loss: str) -> float:
    """Return the value at which colors and heights of a loss end: 4 if unbounded, else 1."""
    return 4.0 if loss in UNBOUNDED else 1.0


def truth_name(truth: Truth) -> str:
    """Return the truth as the paper writes it, with -1 for background and +1 for foreground."""
    return f"truth [{', '.join('+1' if value else '-1' for value in truth)}]"


def draw_surface(axes: Any, surface: Surface, top: float) -> None:
    """Draw a surface in 3-D, colored by height from 0 to `top`; on axes made with SOLID."""
    first, second = np.meshgrid(surface.axis, surface.axis)
    axes.plot_surface(
        first, second, surface.value, cmap=SURFACE_COLORS, vmin=0, vmax=top, rstride=1, cstride=1,
        linewidth=0.4, edgecolor=(1, 1, 1, 0.35), antialiased=False, zorder=1,
    )  # fmt: skip
    axes.set(zlim=(0, top))
    axes.set_zlabel("loss", labelpad=0)  # close, or it seems to belong to the next panel
    # Logits: viewed from the corner where both pixels are right, else plateaus hide the slopes.
    turns = {(0, 0): 0, (0, 1): -90, (1, 0): 90, (1, 1): 180}
    axes.view_init(elev=27, azim=-122 + (turns[surface.truth] if surface.over == "logits" else 0))
    axes.patch.set_visible(False)  # it would cover labels of the next panel
    axes.set_box_aspect((1, 1, 0.75), zoom=0.95)
    axes.tick_params(labelsize=8, pad=0)


def draw_contours(axes: Any, surface: Surface, top: float, colors: str = SURFACE_COLORS) -> Any:
    """Draw filled contours from 0 to `top`, and lines; return the artist for a colorbar."""
    levels = np.linspace(0, top, 11)
    # Other colors are pale: what is drawn over them must be visible.
    end = top if colors == SURFACE_COLORS else 1.6 * top
    # Rounding can put a value just outside the outermost levels; it would not be filled.
    value = np.clip(surface.value, 0, top)
    drawn = axes.contourf(surface.axis, surface.axis, value, levels, cmap=colors, vmin=0, vmax=end)
    if np.ptp(value) > 1e-9 and surface.loss != "jaccard":
        ink = "white" if colors == SURFACE_COLORS else CONTOUR_COLOR
        axes.contour(
            surface.axis, surface.axis, value, levels[1:-1], colors=ink, linewidths=0.6, alpha=0.8
        )
    axes.set_aspect("equal")
    return drawn
