"""Exercises of chapter 01: sizes, receptive fields, the top-down path, costs, frozen norms."""

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pfpn.course.ch01_fpn.numbers import Layer, theoretical_field
from pfpn.course.check import Exercise
from pfpn.course.draw import Draw

Size = tuple[int, ...]  # height, width
Values = tuple[float, ...]  # one for each channel

# 01.padded_size ---------------------------------------------------------------------------------

SIZE = Exercise(
    name="01.padded_size",
    task="Return the (height, width) to which an image is padded so that every level down to p5 "
    "has whole cells.",
    difficulty=1,
    minutes=5,
    hints=(
        "p5 is the coarsest level that is doubled on the way down. Which number must divide both "
        "sides?",
        "Round each side up to a multiple of 32. A side that is a multiple already stays as it is. "
        "With whole numbers, -(-a // b) is a / b, rounded up.",
    ),
)


@SIZE.answer
def padded_size(size: Size) -> Size:
    """Return both sides rounded up to multiples of 32."""
    return tuple(-(-side // 32) * 32 for side in size)


SIZE.case("multiples of 32 stay", (64, 96))
SIZE.case("a side in the upper half of a cell", (81, 96))
SIZE.case("one pixel too many", (65, 96))
SIZE.case("an image of COCO at its network size", (800, 1067))
SIZE.case("a single pixel", (1, 1))


@SIZE.random
def _(draw: Draw) -> tuple[Size]:
    return (tuple(32 * draw.integer(0, 9) + draw.integer(1, 32) for _ in range(2)),)


SIZE.mistake("A side that is already a multiple of 32 got another 32. It needs no padding.")(
    lambda size: tuple(side + 32 - side % 32 for side in size)
)

SIZE.mistake("You rounded down: that would cut pixels off. Padding only adds.")(
    lambda size: tuple(side // 32 * 32 for side in size)
)
SIZE.mistake("You rounded to the nearest multiple, which sometimes cuts pixels off. Round up.")(
    lambda size: tuple(int(side / 32 + 0.5) * 32 for side in size)
)
SIZE.mistake(
    "You took multiples of 64, the stride of p6. But p6 is never doubled, so its cells need not be "
    "whole. The stride of p5 is enough."
)(lambda size: tuple(-(-side // 64) * 64 for side in size))

# 01.receptive_field -----------------------------------------------------------------------------

FIELD = Exercise(
    name="01.receptive_field",
    task="Return the side of the receptive field in input pixels, and the stride, of a stack of "
    "layers (kernel, stride).",
    difficulty=2,
    minutes=10,
    hints=(
        "Start with one pixel that sees itself: side 1, stride 1. What does a 3x3 kernel add on "
        "each side?",
        "A kernel of k cells adds k - 1 cells to the side. Each of these cells is as many pixels "
        "wide as the product of all strides before this layer. Multiply by this layer's own stride "
        "afterwards.",
    ),
)
FIELD.answer(theoretical_field)


def _field(grow: Callable[[int, int, int, int], int], layers: list[Layer]) -> tuple[int, int]:
    """Return side and stride, where `grow` makes the side from side, kernel, stride and step."""
    side, stride = 1, 1
    for kernel, step in layers:
        side = grow(side, kernel, stride, step)
        stride *= step
    return side, stride


FIELD.case("one 3x3 sees three pixels", [(3, 1)])
FIELD.case("its own stride does not change what it sees", [(3, 2)])
FIELD.case("two 3x3 see five", [(3, 1), (3, 1)])
FIELD.case("after a stride of 2 every step counts twice", [(3, 2), (3, 1)])
FIELD.case("the stem of a ResNet", [(7, 2), (3, 2)])
FIELD.case("three layers with strides", [(7, 2), (3, 2), (3, 2), (3, 1)])


@FIELD.random
def _(draw: Draw) -> tuple[list[Layer]]:
    num = draw.integer(0, 5)
    return ([(draw.pick(1, 3, 2, 5, 7), draw.pick(1, 2, 3)) for _ in range(num)],)


FIELD.mistake(
    "You added the whole kernel. One of its k cells is already in the field, so the field grows by "
    "k - 1 cells."
)(lambda layers: _field(lambda side, kernel, stride, _: side + kernel * stride, layers))

FIELD.mistake(
    "You multiplied by this layer's stride too early. Its kernel reads cells of its input, and "
    "their width depends only on the layers before."
)(lambda layers: _field(lambda side, kernel, s, step: side + (kernel - 1) * s * step, layers))

FIELD.mistake(
    "You multiplied the sides. The windows of neighboring cells overlap: two 3x3 layers see "
    "3 + 2 = 5 pixels, not 9."
)(lambda layers: _field(lambda side, kernel, *_: side * kernel, layers))

FIELD.mistake(
    "You added k - 1 cells as if they were pixels. After a stride, a cell is several pixels wide: "
    "multiply by the strides of the layers before."
)(lambda layers: _field(lambda side, kernel, *_: side + kernel - 1, layers))

# 01.top_down ------------------------------------------------------------------------------------

TOP_DOWN = Exercise(
    name="01.top_down",
    task="Given the lateral maps (channels, h, w), finest first, return the merged maps in the "
    "same order: each plus the doubled merged map above it.",
    difficulty=2,
    minutes=15,
    hints=(
        "No map lies above the coarsest one. Begin there and go on to the finest.",
        "Keep the map that you merged last. Double it (repeat_interleave by 2 along height and "
        "along width) and add the next finer lateral map. The sum is the map to keep next.",
    ),
)


@TOP_DOWN.answer
def top_down(laterals: list[Tensor]) -> list[Tensor]:
    """Return the merged maps, finest first."""
    return _merge(lambda lateral, above: lateral + _double(above), laterals)


def _merge(step: Callable[[Tensor, Tensor], Tensor], laterals: list[Tensor]) -> list[Tensor]:
    """Return the maps that `step` makes from each lateral map and the map above it."""
    merged = [laterals[-1]]
    for lateral in laterals[-2::-1]:
        merged.insert(0, step(lateral, merged[0]))
    return merged


def _double(maps: Tensor) -> Tensor:
    return maps.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)


def _grid(rows: int, columns: int, start: float = 0.0) -> Tensor:
    return (start + torch.arange(rows * columns, dtype=torch.float32)).view(1, rows, columns)


TOP_DOWN.case("one level alone stays", [_grid(1, 2)])
TOP_DOWN.case("one coarse cell reaches four fine ones", [torch.ones(1, 2, 2), _grid(1, 1, 5)])
TOP_DOWN.case("each value stands in its own 2x2 block", [torch.zeros(1, 4, 4), _grid(2, 2, 1)])
TOP_DOWN.case(
    "what is on top comes down all the way",
    [_grid(4, 4), 10 * torch.ones(1, 2, 2), _grid(1, 1, 100)],
)
TOP_DOWN.case("channels stay apart", [torch.zeros(2, 2, 2), torch.tensor([[[1.0]], [[2.0]]])])


@TOP_DOWN.random
def _(draw: Draw) -> tuple[list[Tensor]]:
    levels, channels = draw.integer(1, 3), draw.integer(1, 2)
    rows, columns = draw.integer(1, 2), draw.integer(1, 2)
    scales = [2**k for k in reversed(range(levels))]
    return ([draw.tensor(channels, scale * rows, scale * columns) for scale in scales],)


TOP_DOWN.mistake(
    "You doubled the lateral map of the level above. The merged map goes down: p2 must receive "
    "something from c5, not from c3 alone."
)(lambda laterals: [*(a + _double(b) for a, b in pairwise(laterals)), laterals[-1]])

TOP_DOWN.mistake(
    "The coarse map is repeated side by side, as tiles. Each of its values must become a 2x2 "
    "block: use repeat_interleave, not repeat."
)(lambda laterals: _merge(lambda lateral, above: lateral + above.repeat(1, 2, 2), laterals))


@TOP_DOWN.mistake(
    "You doubled bilinearly. The FPN doubles by nearest neighbor: each value becomes four equal "
    "values."
)
def _(laterals: list[Tensor]) -> list[Tensor]:
    up = partial(F.interpolate, scale_factor=2.0, mode="bilinear", align_corners=False)
    return _merge(lambda lateral, above: lateral + up(above[None])[0], laterals)


TOP_DOWN.mistake("The lateral map is missing from the sum. Only the map from above is there.")(
    lambda laterals: _merge(lambda _, above: _double(above), laterals)
)

TOP_DOWN.mistake("The maps are right, but their order is not. Return the finest map first.")(
    lambda laterals: top_down(laterals)[::-1]
)

# 01.multiplications -----------------------------------------------------------------------------

COST = Exercise(
    name="01.multiplications",
    task="Count the multiplications of a convolution over a map of `size` (height, width). The map "
    "is padded so that stride 1 keeps its size; with a larger stride the sides are rounded up.",
    difficulty=2,
    minutes=10,
    hints=(
        "Count for one output number first. How many inputs does it read?",
        "One output number reads kernel x kernel cells of every input channel. Each output cell "
        "has out_channels numbers, and there are ceil(h / s) x ceil(w / s) output cells.",
    ),
)


@COST.answer
def multiplications(
    in_channels: int, out_channels: int, kernel: int, size: Size, stride: int
) -> int:
    """Return the number of multiplications: kernel^2 x in_channels for every output number."""
    rows, columns = -(-size[0] // stride), -(-size[1] // stride)
    return in_channels * out_channels * kernel**2 * rows * columns


COST.case("a 1x1 on one cell is a matrix", 2, 3, 1, (1, 1), 1)
COST.case("a 1x1 on 4 x 5 cells", 2, 3, 1, (4, 5), 1)
COST.case("a 3x3 on 4 x 5 cells", 2, 3, 3, (4, 5), 1)
COST.case("a 3x3 with stride 2", 2, 3, 3, (4, 6), 2)
COST.case("sides are rounded up", 1, 1, 1, (5, 7), 2)
COST.case("the 3x3 of p2 on COCO", 256, 256, 3, (200, 272), 1)


@COST.random
def _(draw: Draw) -> tuple[int, int, int, Size, int]:
    channels = draw.integer(1, 8), draw.integer(1, 8)
    size = draw.integer(1, 12), draw.integer(1, 12)
    return (*channels, draw.pick(1, 3, 5, 7), size, draw.pick(1, 2, 3, 4))


COST.mistake("Each output channel reads all input channels: multiply by in_channels, too.")(
    lambda i, o, k, size, s: multiplications(1, o, k, size, s)
)
COST.mistake("That counts multiplications and additions. Count the multiplications only.")(
    lambda i, o, k, size, s: 2 * multiplications(i, o, k, size, s)
)
COST.mistake("A kernel has kernel x kernel cells. You multiplied by kernel once.")(
    lambda i, o, k, size, s: multiplications(i, o, k, size, s) // k
)
COST.mistake("You counted one output cell for each input cell. With a stride there are fewer.")(
    lambda i, o, k, size, s: multiplications(i, o, k, size, 1)
)
COST.mistake(
    "You rounded the sides of the output down. Round them up: thanks to the padding, the last, "
    "incomplete step gives an output cell, too."
)(lambda i, o, k, size, s: i * o * k**2 * (size[0] // s) * (size[1] // s))

COST.mistake(
    "You left out the padding. The map is padded, so with stride 1 there are as many output cells "
    "as input cells."
)(lambda i, o, k, size, s: i * o * k**2 * math.prod((n - k) // s + 1 for n in size))

# 01.fold_batch_norm -----------------------------------------------------------------------------

NORM = Exercise(
    name="01.fold_batch_norm",
    task="A convolution without bias is followed by a frozen batch norm. Return weight and bias of "
    "one convolution that computes the same.",
    difficulty=3,
    minutes=15,
    hints=(
        "Write batch norm as a * y + b with two constants per channel. y is the output of the "
        "convolution, and it is linear in the weight.",
        "a = gamma / sqrt(var + eps) and b = beta - a * mean. The weight has the axes (out, in, "
        "height, width), and a belongs to the first axis.",
    ),
)


@NORM.answer
def fold_batch_norm(
    weight: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, var: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Return the weight scaled for each output channel, and the bias."""
    scale = gamma / (var + eps).sqrt()
    return weight * scale[:, None, None, None], beta - mean * scale


def _norm(
    gamma: Values = (1.0,),
    beta: Values = (0.0,),
    mean: Values = (0.0,),
    var: Values = (1.0,),
    eps: float = 0.0,
) -> tuple:
    return *(torch.tensor(values) for values in (gamma, beta, mean, var)), eps


_ONE = torch.ones(1, 1, 1, 1)
NORM.case("a norm that does nothing but shift", _ONE, *_norm(beta=(2.0,)))
NORM.case("mean 3 and gamma 2", _ONE, *_norm(gamma=(2.0,), mean=(3.0,)))
NORM.case("a variance of 4", _ONE, *_norm(var=(4.0,)))
NORM.case("a variance of 0 and an eps of 1/4", _ONE, *_norm(var=(0.0,), eps=0.25))
NORM.case(
    "two channels in, two out",
    torch.ones(2, 2, 1, 1),
    *_norm((1.0, 2.0), (0.0, 1.0), (1.0, 1.0), (1.0, 1.0)),
)
NORM.case(
    "one channel in, two out, 3x3",
    torch.arange(18.0).view(2, 1, 3, 3),
    *_norm((1.0, 3.0), (0.5, 1.0), (2.0, -1.0), (4.0, 9.0), 1e-5),
)


@NORM.random
def _(draw: Draw) -> tuple[Any, ...]:
    out = draw.integer(1, 3)
    weight = draw.tensor(out, draw.pick(out, 1, 2), *draw.pick((1, 1), (1, 2), (3, 3)))
    gamma, beta, mean = (draw.tensor(out) for _ in range(3))
    return weight, gamma, beta, mean, draw.tensor(out, low=0.125, high=9), draw.pick(0.0, 0.25, 1.0)


NORM.mistake(
    "Batch norm subtracts the mean before it scales. So the mean must be scaled, too: "
    "beta - mean * scale."
)(lambda w, g, b, mean, v, e: (fold_batch_norm(w, g, b, mean, v, e)[0], b - mean))

NORM.mistake("The mean is missing from the bias.")(
    lambda w, g, b, mean, v, e: fold_batch_norm(w, g, b, 0 * mean, v, e)
)
NORM.mistake("You divided by the variance. Batch norm divides by its square root.")(
    lambda w, g, b, mean, v, e: fold_batch_norm(w, g, b, mean, (v + e) ** 2, 0.0)
)
NORM.mistake("You added eps after the square root. It belongs under it: sqrt(var + eps).")(
    lambda w, g, b, mean, v, e: fold_batch_norm(w, g, b, mean, (v.sqrt() + e) ** 2, 0.0)
)
NORM.mistake(
    "You scaled along the input channels. The norm comes after the convolution, so its channels "
    "are the output channels, the first axis of the weight."
)(
    lambda w, g, b, mean, v, e: (
        w * (g / (v + e).sqrt())[None, :, None, None],
        fold_batch_norm(w, g, b, mean, v, e)[1],
    )
)

EXERCISES = (SIZE, FIELD, TOP_DOWN, COST, NORM)
