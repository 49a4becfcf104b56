"""The pyramid in pictures: what each level sees, where it comes from, what it costs.

The data come first, as functions of their own; the figures paint them, and a `describe_*` says the
same in words with the numbers that were computed.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Polygon, Rectangle
from torch import Tensor

from pfpn.backbone import LAYOUTS, Depth, ResNet
from pfpn.fpn import FPN, STRIDES, Pyramid

Layer = tuple[int, int]  # kernel side and stride

BACKBONE_COLOR = "#56b4e9"  # Okabe and Ito's palette
MERGED_COLOR = "#e69f00"
PYRAMID_COLOR = "#009e73"
THEORY_COLOR = "#0072b2"
MEASURED_COLOR = "#d55e00"


# Data -------------------------------------------------------------------------------------------


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


def receptive_field(layers: Sequence[Layer]) -> tuple[int, int]:
    """Return the side of the square of input pixels that one output cell can see, and the stride.

    A kernel of k cells reaches k - 1 cells further, and a cell is as wide as all strides before it
    multiplied.
    """
    side, stride = 1, 1
    for kernel, step in layers:
        side += (kernel - 1) * stride
        stride *= step
    return side, stride


def effective_field(
    features: Callable[[Tensor], Tensor], images: Float[Tensor, "b 3 h w"], rng: torch.Generator
) -> Float[Tensor, "h w"]:
    """Measure how strongly each input pixel moves the central cell; sums to 1.

    The gradient of that cell, along a random direction of its channels, by the pixels: its length
    over the colors, averaged over the images.

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


def central_side(field: Float[Tensor, "h w"], center: tuple[int, int], share: float = 0.9) -> int:
    """Return the side of the smallest square around pixel `center` that holds `share` of a field.

    The square has an odd side and may reach over the border, where there is nothing.
    """
    row, column = center
    y = (torch.arange(field.shape[0]) - row).abs()[:, None]
    x = (torch.arange(field.shape[1]) - column).abs()[None]
    ring = torch.maximum(y, x)
    held = torch.zeros(int(ring.max()) + 1, dtype=torch.float64)
    held = held.index_add(0, ring.flatten(), field.flatten().double()).cumsum(0)
    # the sums of many small shares end a little beside 1
    return 2 * int((held < share * held[-1]).sum()) + 1


def inner_maps(
    fpn: FPN, features: Mapping[str, Tensor], cut: Collection[str] = ()
) -> dict[str, Tensor]:
    """Return "p2".."p5" before their 3x3: lateral plus what comes from above.

    Args:
        fpn: its lateral convolutions are used.
        features: "c2".."c5".
        cut: levels that get nothing from above.
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
    """Return "p2".."p6" as `fpn` does, but with the top-down path cut where asked."""
    inner = inner_maps(fpn, features, cut)
    pyramid = {level: fpn.smooth[level](inner[level]) for level in inner}
    pyramid["p6"] = F.max_pool2d(pyramid["p5"], kernel_size=1, stride=2)
    return pyramid


def blockiness(maps: Float[Tensor, "*n h w"]) -> float:
    """Return how much larger steps between cells are at borders of 2x2 blocks than inside.

    1 means that the grid of a doubled map is invisible; a map that was doubled by nearest neighbor
    and not touched since has infinity.
    """
    across = (maps[..., 1:] - maps[..., :-1]).abs()
    down = (maps[..., 1:, :] - maps[..., :-1, :]).abs()
    borders = across[..., 1::2].mean() + down[..., 1::2, :].mean()
    inside = across[..., ::2].mean() + down[..., ::2, :].mean()
    return float(borders / inside) if inside > 0 else float("inf")


def principal_colors(
    maps: Sequence[Float[Tensor, "c _h _w"]], outliers: float = 0.02
) -> list[Float[np.ndarray, "_h _w 3"]]:
    """Return feature maps as RGB in [0, 1]: red, green and blue are the main directions.

    All maps share their directions and their scale, so that equal colors are equal features (but
    for what three directions cannot tell). Each map counts the same, however few cells it has.

    Args:
        maps: of one number of channels (3 or more), of any sizes.
        outliers: share of the values at either end that is clipped.
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
        places = (values.movedim(0, -1).double() - mean) @ axes
        colors.append(((places - low) / (high - low).clamp(min=1e-12)).clamp(0, 1).numpy())
    return colors


def probe_labels(
    train: Float[Tensor, "n c h w"],
    train_labels: Int[Tensor, "n h w"],
    test: Float[Tensor, "b c h w"],
    num_classes: int,
) -> Int[Tensor, "b h w"]:
    """Return the labels that a linear map of the features gives, fitted by least squares.

    What a linear map can read off is there to be used; nothing is trained, so nothing is left to
    luck. Labels outside 0..num_classes - 1 take no part in fitting.
    """
    rows, labels = train.movedim(1, -1).flatten(0, 2).double(), train_labels.flatten()
    counts = (labels >= 0) & (labels < num_classes)
    rows, labels = rows[counts], labels[counts]
    mean, std = rows.mean(0), rows.std(0).clamp(min=1e-6)

    def prepare(values: Tensor) -> Tensor:
        return F.pad((values - mean) / std, (0, 1), value=1.0)  # the last column is the bias

    known = prepare(rows)
    ridge = torch.eye(known.shape[1], dtype=torch.float64)
    truth = F.one_hot(labels, num_classes).double()
    weights = torch.linalg.solve(known.T @ known + ridge, known.T @ truth)
    return (prepare(test.movedim(1, -1).double()) @ weights).argmax(-1)


@dataclass(frozen=True, slots=True)
class LevelCost:
    """What the two convolutions of one level of the FPN cost."""

    lateral_weights: int  # with biases
    smooth_weights: int
    lateral_products: int  # multiplications, each with its addition
    smooth_products: int

    @property
    def weights(self) -> int:
        """Numbers to learn."""
        return self.lateral_weights + self.smooth_weights

    @property
    def products(self) -> int:
        """Multiplications for one image."""
        return self.lateral_products + self.smooth_products


def level_costs(
    in_channels: Sequence[int], channels: int, size: tuple[int, int]
) -> dict[str, LevelCost]:
    """Count weights and multiplications of p2..p5 for one image of `size` (height, width)."""
    costs = {}
    for k, n in enumerate(in_channels, start=2):
        cells = -(-size[0] // 2**k) * -(-size[1] // 2**k)
        lateral, smooth = n * channels, 9 * channels**2
        costs[f"p{k}"] = LevelCost(
            lateral + channels, smooth + channels, lateral * cells, smooth * cells
        )
    return costs


def count_uses(stride_in_1x1: bool, side: int = 8) -> Int[Tensor, "side side"]:
    """Count how often the first block of c3 uses each cell of c2, on the way through its 3x3.

    By the gradient of the block's convolutions with all weights 1. The shortcut beside them reads
    every second cell in either case.
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


# Figures ----------------------------------------------------------------------------------------

_SIDES = {"2": 2.5, "3": 1.85, "4": 1.35, "5": 0.95, "6": 0.7}  # of a drawn map, by level
_RISE = 1.3  # from level to level


def plot_fpn(shapes: Mapping[str, tuple[int, int, int]]) -> Figure:
    """Draw the FPN with real shapes: backbone, top-down path, pyramid. After [FPN] Fig. 3.

    Args:
        shapes: (channels, height, width) of "image", "c2".."c5" and "p2".."p6".
    """
    figure = Figure(figsize=(9, 6.3), layout="constrained")
    axes = figure.subplots()
    columns = {"c": 2.0, "m": 6.1, "p": 10.2}
    for k in "2345":
        y = _height(k)
        _draw_tile(axes, columns["c"], y, k, BACKBONE_COLOR, f"c{k}", shapes[f"c{k}"])
        _draw_tile(axes, columns["m"], y, k, MERGED_COLOR, "", None)
        _draw_tile(axes, columns["p"], y, k, PYRAMID_COLOR, f"p{k}", shapes[f"p{k}"])
        start = columns["c"] + _SIDES[k] / 2 + 0.35
        end = columns["m"] - _SIDES[k] / 2 - 0.35
        _draw_arrow(axes, (start, y), (end, y), "1x1", above=True)
        start = columns["m"] + _SIDES[k] / 2 + 0.35
        _draw_arrow(axes, (start, y), (columns["p"] - _SIDES[k] / 2 - 0.35, y), "3x3", above=True)
        if k != "5":
            above = _height(str(int(k) + 1))
            x = columns["m"]
            _draw_arrow(axes, (x, above - 0.22), (x, y + 0.2), "2x nearest")
            axes.add_patch(Circle((x, y), 0.17, facecolor="white", edgecolor="black", zorder=5))
            axes.text(x, y, "+", ha="center", va="center", fontsize=12, zorder=6)
            _draw_arrow(axes, (columns["c"], y + 0.25), (columns["c"], above - 0.25), "")
    _draw_tile(axes, columns["p"], _height("6"), "6", PYRAMID_COLOR, "p6", shapes["p6"])
    _draw_arrow(
        axes,
        (columns["p"], _height("5") + 0.22),
        (columns["p"], _height("6") - 0.2),
        "every 2nd cell",
    )
    y = _height("2") - _RISE
    _draw_tile(axes, columns["c"], y, "2", "white", "image", shapes["image"], 3.0)
    _draw_arrow(axes, (columns["c"], y + 0.3), (columns["c"], _height("2") - 0.25), "")
    for name, title in (
        ("c", "backbone, bottom-up"),
        ("m", "top-down path"),
        ("p", "pyramid"),
    ):
        axes.text(
            columns[name], _height("6") + 0.65, title, ha="center", fontsize=11, weight="bold"
        )
    notes = "channels x height x width"
    axes.text(columns["p"], y, notes, ha="center", va="center", fontsize=9, color="0.35")
    axes.set(xlim=(-0.6, 12.6), ylim=(y - 0.5, _height("6") + 1.05), aspect="equal")
    axes.axis("off")
    return figure


def _height(k: str) -> float:
    return _RISE * (int(k) - 2)


def _draw_tile(
    axes: Any,
    x: float,
    y: float,
    k: str,
    color: str,
    name: str,
    shape: tuple[int, int, int] | None,
    width: float = 0.0,
) -> None:
    """Draw a feature map lying in perspective, its name in it and its shape beside or below."""
    w = (width or _SIDES[k]) / 2
    h = 0.17 + 0.05 * w
    skew = 0.3 * w
    corners = [(x - w - skew, y - h), (x + w - skew, y - h), (x + w + skew, y + h)]
    corners.append((x - w + skew, y + h))
    axes.add_patch(
        Polygon(corners, facecolor=color, edgecolor="black", linewidth=0.8, alpha=0.85, zorder=3)
    )
    if not name:
        return
    axes.text(x, y, name, ha="center", va="center", fontsize=10, weight="bold", zorder=4)
    if shape is not None:
        words = " x ".join(map(str, shape))
        axes.text(x + 0.13, y - h - 0.06, words, ha="left", va="top", fontsize=8, zorder=4)


def _draw_arrow(
    axes: Any,
    start: tuple[float, float],
    end: tuple[float, float],
    text: str,
    above: bool = False,
) -> None:
    axes.annotate(
        "", xy=end, xytext=start, arrowprops={"arrowstyle": "-|>", "color": "0.2"}, zorder=2
    )
    x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
    if above:
        axes.text(x, y + 0.07, text, ha="center", va="bottom", fontsize=9)
    else:
        axes.text(x + 0.12, y, text, ha="left", va="center", fontsize=9)


def plot_cells(image: UInt8[Tensor, "3 h w"]) -> Figure:
    """Draw an image as each level's cells divide it: one mean color a cell."""
    figure = Figure(figsize=(9, 4.1), layout="constrained")
    panels = figure.subplots(2, 3).flat
    _show(next(panels), _pixels(image), "the image")
    for level, stride in STRIDES.items():
        cells = F.avg_pool2d(image[None].float(), stride)[0]
        title = f"{level}: stride {stride}, {cells.shape[1]} x {cells.shape[2]} cells"
        _show(next(panels), cells.movedim(0, -1).numpy() / 255, title)
    return figure


@dataclass(frozen=True, slots=True)
class Field:
    """What one cell of a feature map can see, and what it looks at."""

    name: str
    center: tuple[int, int]  # row and column of the pixel that it is centered on
    theory: int  # side in pixels of the square that it can see
    measured: Float[Tensor, "h w"]  # see `effective_field`
    side: int  # in pixels of the square that holds 90 % of it


def plot_fields(image: UInt8[Tensor, "3 h w"], fields: Sequence[Field]) -> Figure:
    """Draw what the central cell of each map can see and what moves it, over an image.

    The image is drawn in cells of 4 pixels and the measured field in cells of 2: finer than one
    sees at this size, and a light file.
    """
    height, width = image.shape[1:]
    rows = -(-len(fields) // 2)
    figure = Figure(figsize=(8, rows * (3.9 * height / width + 0.35)), layout="constrained")
    gray = F.avg_pool2d(image[None].float().mean(1), 4)[0].numpy() / 255
    for axes, field in zip(figure.subplots(rows, 2, squeeze=False).flat, fields, strict=False):
        pale = np.repeat(np.round(0.6 + 0.4 * gray[..., None], 2), 3, axis=2)
        axes.imshow(pale, interpolation="nearest", extent=(0, width, height, 0))
        axes.set(xticks=[], yticks=[])
        coarse = F.avg_pool2d(field.measured[None], 2)[0]
        heat = (coarse / coarse.max()).sqrt().numpy()
        overlay = np.zeros((*heat.shape, 4))
        overlay[..., 0], overlay[..., 1] = 0.84, 0.37
        overlay[..., 3] = np.clip(1.3 * heat, 0, 0.95)
        axes.imshow(overlay, extent=(0, width, height, 0), interpolation="nearest")
        row, column = field.center
        for side, color, style in (
            (field.theory, THEORY_COLOR, "--"),
            (field.side, MEASURED_COLOR, "-"),
        ):
            corner = (column + 0.5 - side / 2, row + 0.5 - side / 2)
            axes.add_patch(
                Rectangle(corner, side, side, fill=False, edgecolor=color, linestyle=style, lw=1.8)
            )
        axes.set(xlim=(0, width), ylim=(height, 0))
        axes.set_title(
            f"{field.name}: can see {field.theory} pixels, 90 % within {field.side}", fontsize=9
        )
    return figure


def describe_fields(fields: Sequence[Field]) -> str:
    """Say in words what `plot_fields` shows."""
    words = "; ".join(
        f"{f.name} can see {f.theory} pixels, 90 % of what moves it lies within about "
        f"{round(f.side, -1)}"
        for f in fields
    )
    return (
        "The central cell's receptive field over a gray image, for each map: a dashed square for "
        f"what it can see, a solid one for 90 % of the measured gradient. Sides: {words}."
    )


def plot_maps(
    maps: Mapping[str, Float[np.ndarray, "_h _w 3"]],
    num_columns: int = 3,
    width: float = 9.0,
    title_height: float = 0.28,
) -> Figure:
    """Draw pictures or feature colors side by side, each as large as the others, with its title.

    A title of two lines wants a `title_height` of 0.45 inches.
    """
    first = next(iter(maps.values()))
    num_rows = -(-len(maps) // num_columns)
    cell = width / num_columns
    height = num_rows * (cell * first.shape[0] / first.shape[1] + title_height)
    figure = Figure(figsize=(width, height), layout="constrained")
    grid = figure.subplots(num_rows, num_columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, (title, colors) in zip(grid.flat, maps.items(), strict=False):
        axes.axis("on")
        _show(axes, colors, title)
    return figure


def plot_aliasing(frequency: float = 0.25, num: int = 16) -> Figure:
    """Draw a wave that is doubled by nearest neighbor, then smoothed, and both spectra.

    Args:
        frequency: of the coarse samples, in cycles a cell, in (0, 0.5).
        num: coarse samples; a whole number of waves has to fit.
    """
    doubled, smoothed = double_and_smooth(frequency, num)
    figure = Figure(figsize=(9, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    x = torch.arange(2 * num)
    fine = torch.linspace(0, 2 * num - 1, 400)
    wave = (2 * torch.pi * frequency * (fine - 0.5) / 2).cos()
    left.plot(fine, wave, color="0.6", lw=1, label="the wave that was sampled")
    left.step(x, doubled, where="mid", color=MEASURED_COLOR, label="doubled, nearest")
    left.plot(x, smoothed, "o-", color=THEORY_COLOR, ms=3, lw=1, label="then 1 2 1 over 4")
    left.set(xlabel="fine cell", ylabel="value", ylim=(-1.25, 1.75), yticks=(-1, 0, 1))
    left.legend(fontsize=8, ncols=3, frameon=False, columnspacing=1.0, handlelength=1.2)
    rate = torch.arange(num + 1) / (2 * num)
    for values, color, shift, name in (
        (doubled, MEASURED_COLOR, -0.004, "doubled"),
        (smoothed, THEORY_COLOR, 0.004, "smoothed"),
    ):
        height = amplitudes(values)
        right.vlines(rate + shift, 0, height, color=color, lw=4, label=name)
    right.axvline(0.25, color="0.5", ls=":", lw=1)
    right.text(0.26, 0.72, "finer than the\ncoarse map can tell", fontsize=8, va="top")
    right.set(xlabel="cycles per fine cell", ylabel="amplitude", xlim=(-0.01, 0.51), ylim=(0, 1.1))
    right.legend(fontsize=8, frameon=False, loc="upper right")
    return figure


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
    found = torch.fft.rfft(values).abs() / len(values)
    found[1:-1] *= 2  # each but the first and last stands for a pair
    return found


def plot_shares(costs: Mapping[str, LevelCost]) -> Figure:
    """Draw each level's share of the FPN's weights and of its multiplications."""
    figure = Figure(figsize=(7.5, 2.4), layout="constrained")
    axes = figure.subplots()
    kinds = {
        "weights": {level: c.weights for level, c in costs.items()},
        "multiplications": {level: c.products for level, c in costs.items()},
    }
    shades = {"p2": "#00553d", "p3": "#009e73", "p4": "#66c5ab", "p5": "#cceee4"}
    for row, values in enumerate(kinds.values()):
        left, total = 0.0, sum(values.values())
        for level, value in values.items():
            share = 100 * value / total
            axes.barh(row, share, left=left, color=shades[level], edgecolor="white")
            if share > 4:
                ink = "white" if level in ("p2", "p3") else "black"
                text = f"{level}\n{share:.0f} %"
                axes.text(left + share / 2, row, text, ha="center", va="center", color=ink, size=9)
            elif level == "p5":  # too thin for words inside: beside the bar, which it ends
                axes.text(101, row, f"{level}\n{share:.0f} %", ha="left", va="center", size=9)
            left += share
    axes.set(xlim=(0, 100), xlabel="share (%)", yticks=range(2), yticklabels=list(kinds))
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def describe_shares(costs: Mapping[str, LevelCost]) -> str:
    """Say in words what `plot_shares` shows."""
    weights = sum(c.weights for c in costs.values())
    products = sum(c.products for c in costs.values())
    words = ", ".join(
        f"{level} {100 * c.weights / weights:.0f} and {100 * c.products / products:.0f}"
        for level, c in costs.items()
    )
    return f"Two bars, shares of each level in percent, of weights and of multiplications: {words}."


def plot_scores(
    scores: Mapping[str, Sequence[float]],
    kinds: Sequence[str],
    label: str,
    *,
    low: float = 0.0,
    colors: Sequence[str] = (PYRAMID_COLOR, MERGED_COLOR, BACKBONE_COLOR),
) -> Figure:
    """Draw one row of dots for each name, one dot for each kind of score, in percent.

    Args:
        scores: in [0, 1], one for each kind, by name.
        kinds: what the scores are.
        label: of the axis.
        low: where the axis starts, in percent.
        colors: of the kinds.
    """
    figure = Figure(figsize=(7.5, 0.9 + 0.3 * len(scores)), layout="constrained")
    axes = figure.subplots()
    markers = "os^D"
    for i, (kind, color) in enumerate(zip(kinds, colors, strict=False)):
        values = [100 * row[i] for row in scores.values()]
        axes.plot(values, range(len(scores)), markers[i], color=color, label=kind, ms=8)
        for y, value in enumerate(values):
            axes.annotate(
                f"{value:.0f}",
                (value, y),
                (7, 0),
                textcoords="offset points",
                fontsize=8,
                va="center",
            )
    axes.set(xlabel=label, xlim=(low, 103), yticks=range(len(scores)), yticklabels=list(scores))
    axes.set_ylim(len(scores) - 0.5, -0.5)
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return figure


def describe_scores(scores: Mapping[str, Sequence[float]], kinds: Sequence[str]) -> str:
    """Say in words what `plot_scores` shows."""
    words = "; ".join(
        f"{name} {', '.join(f'{100 * value:.0f}' for value in row)}" for name, row in scores.items()
    )
    return f"Rows of dots in percent ({', '.join(kinds)}): {words}."


def plot_uses(side: int = 8) -> Figure:
    """Draw how often each cell of c2 is used where the stride is in the 1x1, and in the 3x3."""
    figure = Figure(figsize=(6, 3.1), layout="constrained")
    for axes, in_1x1 in zip(figure.subplots(1, 2), (True, False), strict=True):
        uses = count_uses(in_1x1, side).numpy()
        axes.imshow(uses, cmap="Greens", vmin=0, vmax=12, extent=(0, side, side, 0))
        for row, column in np.ndindex(uses.shape):
            axes.text(column + 0.5, row + 0.5, uses[row, column], ha="center", va="center", size=8)
        title = f"stride in the {'1x1' if in_1x1 else '3x3'}: {(uses > 0).mean():.0%} of cells used"
        axes.set_title(title, fontsize=9)
        axes.set(xticks=[], yticks=[])
    return figure


def _pixels(image: UInt8[Tensor, "3 h w"]) -> Any:
    return image.permute(1, 2, 0).cpu().numpy()


def _show(axes: Any, pixels: np.ndarray, title: str) -> None:
    height, width = pixels.shape[:2]
    axes.imshow(pixels, interpolation="nearest", extent=(0, width, height, 0))
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=9)
