"""The pyramid in numbers: receptive fields, the top-down path, colors of features, costs."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from pfpn.backbone import LAYOUTS, Depth, ResNet
from pfpn.fpn import FPN, Pyramid

Layer = tuple[int, int]  # kernel side and stride


def resnet_layers(depth: Depth, level: str, *, stride_in_1x1: bool = False) -> list[Layer]:
    """Return (kernel, stride) of every layer from the image to "c2".."c5", main path only."""
    block, num_blocks = LAYOUTS[depth]
    layers = [(7, 2), (3, 2)]  # first convolution, max-pooling
    for i in range(int(level[1]) - 1):
        for j in range(num_blocks[i]):
            stride = 2 if i > 0 and j == 0 else 1
            if block.expansion == 1:  # basic block: two 3x3
                layers += [(3, stride), (3, 1)]
            elif stride_in_1x1:
                layers += [(1, stride), (3, 1), (1, 1)]
            else:
                layers += [(1, 1), (3, stride), (1, 1)]
    return layers


def theoretical_field(layers: Sequence[Layer]) -> tuple[int, int]:
    """Return side and stride of the receptive field of one output cell, in input pixels.

    A kernel of k cells adds k - 1 cells to the side. A cell is as wide as the product of all
    strides before it.
    """
    side, stride = 1, 1
    for kernel, step in layers:
        side += (kernel - 1) * stride
        stride *= step
    return side, stride


def effective_field(
    features: Callable[[Tensor], Tensor], images: Float[Tensor, "b 3 h w"], rng: torch.Generator
) -> Float[Tensor, "h w"]:
    """Return how strongly each input pixel changes the central cell; the sum is 1.

    It is the gradient of that cell, along a random direction of its channels, with respect to the
    pixels: its length over the colors, averaged over the images.

    Args:
        features: from images to one feature map (b, c, h, w).
        images: as they enter the network.
        rng: draws the directions; on the CPU.
    """
    images = images.detach().requires_grad_(True)
    maps = features(images)
    row, column = maps.shape[2] // 2, maps.shape[3] // 2
    direction = torch.randn(maps.shape[:2], generator=rng)
    (gradient,) = torch.autograd.grad((maps[:, :, row, column] * direction).sum(), images)
    field = gradient.square().sum(1).sqrt().mean(0)
    return field / field.sum()


def central_side(
    field: Float[Tensor, "h w"], center: tuple[int, int], fraction: float = 0.9
) -> int:
    """Return the side of the smallest square around a pixel that holds a fraction of a field.

    The side is odd, and the square may reach over the border, where there is nothing.
    """
    row, column = center
    y = (torch.arange(field.shape[0]) - row).abs()[:, None]
    x = (torch.arange(field.shape[1]) - column).abs()[None]
    ring = torch.maximum(y, x)
    held = torch.zeros(int(ring.max()) + 1, dtype=torch.float64)
    held = held.index_add(0, ring.flatten(), field.flatten().double()).cumsum(0)
    # Rounding: the sum of many small numbers is not exactly 1.
    return 2 * int((held < fraction * held[-1]).sum()) + 1


@dataclass(frozen=True, slots=True)
class Field:
    """The receptive field of one cell of a feature map: in theory, and as measured."""

    name: str
    center: tuple[int, int]  # row and column of the pixel that it is centered on
    theory: int  # side in pixels of the square that can change the cell
    measured: Float[Tensor, "h w"]  # see `effective_field`
    side: int  # in pixels of the square that holds 90 % of it


def inner_maps(
    fpn: FPN, features: Mapping[str, Tensor], cut: Collection[str] = ()
) -> dict[str, Tensor]:
    """Return "p2".."p5" before their 3x3: lateral connection plus top-down path.

    Args:
        fpn: its lateral convolutions are used.
        features: "c2".."c5".
        cut: levels that get nothing from above.

    Raises:
        ValueError: `cut` names a level without anything above it.
    """
    unknown = sorted(set(cut) - {"p2", "p3", "p4"})
    if unknown:
        raise ValueError(
            f"inner_maps: found {unknown} in cut, expected some of p2, p3 and p4: those get "
            "something from above"
        )
    maps = {"p5": fpn.lateral["c5"](features["c5"])}
    for k in (4, 3, 2):
        maps[f"p{k}"] = fpn.lateral[f"c{k}"](features[f"c{k}"])
        if f"p{k}" not in cut:
            above = F.interpolate(maps[f"p{k + 1}"], scale_factor=2.0, mode="nearest")
            maps[f"p{k}"] = maps[f"p{k}"] + above
    return dict(sorted(maps.items()))


def build_pyramid(fpn: FPN, features: Mapping[str, Tensor], cut: Collection[str] = ()) -> Pyramid:
    """Return "p2".."p6" as `fpn` does, with the top-down path cut at the levels of `cut`."""
    inner = inner_maps(fpn, features, cut)
    pyramid = {level: fpn.smooth[level](inner[level]) for level in inner}
    pyramid["p6"] = F.max_pool2d(pyramid["p5"], kernel_size=1, stride=2)
    return pyramid


def pyramid_by(
    fpn: FPN,
    features: Mapping[str, Tensor],
    top_down: Callable[[list[Tensor]], Sequence[Tensor]],
) -> dict[str, Tensor]:
    """Return "p2".."p5" of one image with the reader's own top-down path in place of the package's.

    Args:
        fpn: its lateral convolutions and its 3x3 are used.
        features: "c2".."c5", each (1, c, h, w).
        top_down: makes the merged maps from the lateral maps (c, h, w), both finest first.
    """
    merged = top_down([fpn.lateral[f"c{k}"](features[f"c{k}"])[0] for k in (2, 3, 4, 5)])
    return {f"p{k}": fpn.smooth[f"p{k}"](m[None]) for k, m in enumerate(merged, start=2)}


def blockiness(maps: Float[Tensor, "*n h w"]) -> float:
    """Return the mean step between cells at borders of 2x2 blocks, divided by that inside.

    1 means that the grid of a doubled map is invisible. Right after doubling by nearest neighbor
    there are no steps inside, and the result is infinite.
    """
    across = (maps[..., 1:] - maps[..., :-1]).abs()
    down = (maps[..., 1:, :] - maps[..., :-1, :]).abs()
    borders = across[..., 1::2].mean() + down[..., 1::2, :].mean()
    inside = across[..., ::2].mean() + down[..., ::2, :].mean()
    return float(borders / inside) if inside > 0 else float("inf")


def blockiness_after(ratio: float, side: int) -> float:
    """Return about what `blockiness` is after a convolution with random weights.

    When a window of `side` cells moves by one cell, each of its cells changes by one step. The
    steps inside blocks and those across borders take turns. With independent random weights the
    squares of the steps add up, so the result depends on how many of each kind a window holds.

    Args:
        ratio: `blockiness` of the map before.
        side: of the kernel, in cells. Where it is even, every window holds as many of each kind.
    """
    same = side // 2 if side % 2 == 0 else 1 + 2 * (side // 4)  # of the kind of its middle step
    other = side - same
    return math.sqrt((same * ratio**2 + other) / (other * ratio**2 + same))


def relative_step(maps: Float[Tensor, "*n h w"]) -> float:
    """Return the mean step between neighboring cells, divided by the mean deviation of a map."""
    across = (maps[..., 1:] - maps[..., :-1]).abs().mean()
    down = (maps[..., 1:, :] - maps[..., :-1, :]).abs().mean()
    return float((across + down) / 2 / maps.flatten(-2).std(-1).mean())


def principal_colors(
    maps: Sequence[Float[Tensor, "c _h _w"]], outliers: float = 0.02
) -> list[Float[np.ndarray, "_h _w 3"]]:
    """Return feature maps as RGB in [0, 1]: red, green and blue are the main directions.

    All maps have the same directions and the same scale, so equal features have equal colors. Each
    map counts the same, however few cells it has.

    Args:
        maps: of one number of channels (3 or more), of any sizes.
        outliers: fraction of the values at either end that is clipped.
    """
    num = max(values.shape[1] * values.shape[2] for values in maps)
    flat = [values.flatten(1).T.double() for values in maps]
    rows = torch.cat([cells[torch.arange(num) * len(cells) // num] for cells in flat])
    mean = rows.mean(0)
    # Eigenvectors by growing eigenvalue; their signs are arbitrary: the largest entry is positive.
    axes = torch.linalg.eigh((rows - mean).T @ (rows - mean)).eigenvectors[:, -3:].flip(1)
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
    ends = torch.tensor([outliers, 1 - outliers], dtype=torch.float64)
    low, high = ((rows - mean) @ axes).quantile(ends, dim=0)
    colors = []
    for values in maps:
        position = (values.movedim(0, -1).double() - mean) @ axes
        colors.append(((position - low) / (high - low).clamp(min=1e-12)).clamp(0, 1).numpy())
    return colors


def probe_labels(
    train: Float[Tensor, "n c h w"],
    train_labels: Int[Tensor, "n h w"],
    test: Float[Tensor, "b c h w"],
    num_classes: int,
) -> Int[Tensor, "b h w"]:
    """Return the labels that a linear classifier of the features predicts, fitted by least squares.

    The solution is exact, so nothing depends on a training. Labels outside 0..num_classes - 1 are
    ignored when fitting.
    """
    rows, labels = train.movedim(1, -1).flatten(0, 2).double(), train_labels.flatten()
    counts = (labels >= 0) & (labels < num_classes)
    rows, labels = rows[counts], labels[counts]
    mean, std = rows.mean(0), rows.std(0).clamp(min=1e-6)

    def prepare(values: Tensor) -> Tensor:
        return F.pad((values - mean) / std, (0, 1), value=1.0)  # the last column is the bias

    known, truth = prepare(rows), F.one_hot(labels, num_classes).double()
    ridge = torch.eye(known.shape[1], dtype=torch.float64)
    weights = torch.linalg.solve(known.T @ known + ridge, known.T @ truth)
    return (prepare(test.movedim(1, -1).double()) @ weights).argmax(-1)


@dataclass(frozen=True, slots=True)
class LevelCost:
    """Weights and multiplications of the two convolutions of one level of the FPN."""

    lateral_weights: int  # with biases
    smooth_weights: int
    lateral_products: int  # multiplications, each with its addition
    smooth_products: int

    @property
    def weights(self) -> int:
        """Return the number of weights, biases included."""
        return self.lateral_weights + self.smooth_weights

    @property
    def products(self) -> int:
        """Return the number of multiplications for one image."""
        return self.lateral_products + self.smooth_products


def level_costs(
    in_channels: Sequence[int], channels: int, size: tuple[int, int]
) -> dict[str, LevelCost]:
    """Return weights and multiplications of p2..p5 for one image of `size` (height, width)."""
    costs = {}
    for k, n in enumerate(in_channels, start=2):
        cells = -(-size[0] // 2**k) * -(-size[1] // 2**k)
        lateral, smooth = n * channels, 9 * channels**2
        costs[f"p{k}"] = LevelCost(
            lateral + channels, smooth + channels, lateral * cells, smooth * cells
        )
    return costs


def count_uses(stride_in_1x1: bool, side: int = 8) -> Int[Tensor, "side side"]:
    """Return how often the first block of c3 uses each cell of c2 on the way through its 3x3.

    Counted by the gradient of the block's convolutions with all weights 1. The shortcut beside them
    reads every second cell in either case.
    """
    stage: Any = ResNet(50, width=0.0625, stride_in_1x1=stride_in_1x1).layer2
    block = stage[0].double()
    x = torch.zeros(1, block.conv1.in_channels, side, side, dtype=torch.float64)
    x.requires_grad_(True)
    with torch.no_grad():
        block.conv1.weight.fill_(1)
        block.conv2.weight.fill_(1)
    (gradient,) = torch.autograd.grad(block.conv2(block.conv1(x)).sum(), x)
    # every path exists once for each pair of channels between
    paths = block.conv2.in_channels * block.conv2.out_channels
    return (gradient[0, 0] / paths).round().to(torch.int64)


def double_and_smooth(
    frequency: float, num: int = 16
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Return a cosine of `num` samples after doubling (nearest), and that after (1, 2, 1) / 4."""
    coarse = (2 * torch.pi * frequency * torch.arange(num, dtype=torch.float64)).cos()
    doubled = coarse.repeat_interleave(2)
    smoothed = (doubled.roll(1) + 2 * doubled + doubled.roll(-1)) / 4
    return doubled, smoothed


def amplitudes(values: Float[Tensor, " n"]) -> Float[Tensor, " k"]:
    """Return the amplitude of each frequency 0, 1/n, 2/n, ... 1/2 of a periodic signal."""
    result = torch.fft.rfft(values).abs() / len(values)
    result[1:-1] *= 2  # each but the first and last stands for a pair
    return result
