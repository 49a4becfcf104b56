"""RoIAlign with its gradient: two matrix products against torchvision's kernel, and a toy step.

    python benchmarks/roi_align.py [--threads 1] [--rounds 7] [--channels 32]

Both take turns in one run, so that a busy neighbor slows both alike; a figure is the least of the
rounds. "ratio" is torchvision's time over that of the products: above 1 the products are faster.
"cost" and the number of bins are what `pfpn.roi_align` decides by; its limits should lie where the
ratio crosses 1. Times
are of the process on all its threads, unless --wall is given.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torchvision.ops import roi_align as torchvision_roi_align
from training import make_batches, make_step

from pfpn import roi_align as module
from pfpn.data.toy import ToyStreet
from pfpn.engine.presets import toy
from pfpn.roi_align import MAX_COST, MIN_BINS, align_by_products
from pfpn.structures import stuff, things

IMAGES = 4
STRIDE = 4
MAPS = ((4, 6), (8, 12), (16, 24), (32, 48), (48, 72), (64, 96), (100, 152), (200, 304))
ROIS = ((7, 1), (7, 4), (7, 16), (7, 64), (14, 4), (14, 16))  # (bins, rois per image)


def random_rois(num: int, height: int, width: int) -> Tensor:
    """Boxes of 4 to 56 pixels, or as large as the map: what the toy model pools from p2."""
    most = min(56.0, STRIDE * height, STRIDE * width)
    side = 4 + torch.rand(IMAGES * num, 2) * (most - 4)
    corner = torch.rand(IMAGES * num, 2) * (STRIDE * torch.tensor([width, height]) - side)
    image = torch.arange(IMAGES).repeat_interleave(num)[:, None]
    return torch.cat([image, corner, corner + side], dim=1)


def seconds(job: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    job()
    return clock() - start


def compare(channels: int, rounds: int, clock: Callable[[], float]) -> None:
    print(
        f"{'map':>9} {'bins':>4} {'rois':>5} {'cost':>5} {'products':>9} {'torchvision':>11} ratio"
    )
    for height, width in MAPS:
        features = torch.randn(IMAGES, channels, height, width)
        features = features.to(memory_format=torch.channels_last).requires_grad_()
        for bins, num in ROIS:
            rois = random_rois(num, height, width)
            seed = torch.randn(len(rois), channels, bins, bins)
            least = dict.fromkeys(("products", "torchvision"), float("inf"))
            ways = zip(least, (align_by_products, torchvision_roi_align), strict=True)
            jobs = {
                name: lambda way=way, a=(rois, bins, 1 / STRIDE, 2, True), seed=seed, f=features: (
                    torch.autograd.grad(way(f, *a), f, seed)
                )
                for name, way in ways
            }
            for _ in range(rounds):
                for name, job in jobs.items():
                    least[name] = min(least[name], seconds(job, clock))
            cost = height * (width + bins) / (bins * 4)
            ratio = least["torchvision"] / least["products"]
            taken = cost <= MAX_COST and len(rois) * bins**2 >= MIN_BINS
            products, theirs = (1e3 * value for value in least.values())
            print(
                f"{height:>4}x{width:<4} {bins:>4} {IMAGES * num:>5} {cost:>5.0f} "
                f"{products:>6.2f} ms {theirs:>8.2f} ms {ratio:>5.2f}"
                f"{'' if taken else '  torchvision is taken'}"
            )


def compare_steps(rounds: int, clock: Callable[[], float]) -> None:
    """Print the ratio of a training step of the toy preset with and without the products."""
    data = ToyStreet(16)
    config = replace(
        toy().model,
        num_things=len(things(data.categories)),
        num_semantic=1 + len(stuff(data.categories)),
    )
    step = make_step(config, make_batches(data, cached=True), channels_last=True)
    for _ in range(8):
        step()
    spent: dict[float, list[float]] = {MAX_COST: [], 0: []}
    for _ in range(rounds):
        for limit, times in spent.items():
            module.MAX_COST = limit
            times.append(statistics.fmean(seconds(step, clock) for _ in range(4)))
    module.MAX_COST = MAX_COST
    with_products, without = spent.values()
    ratios = [a / b for a, b in zip(with_products, without, strict=True)]
    print(
        f"\na step of the toy preset: {1e3 * statistics.median(with_products):.0f} ms with the "
        f"products, {1e3 * statistics.median(without):.0f} ms without, "
        f"ratio {statistics.median(ratios):.3f} (median of {rounds} pairs)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--wall", action="store_true", help="measure by the wall clock")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    clock = time.perf_counter if args.wall else time.process_time
    compare(args.channels, args.rounds, clock)
    compare_steps(args.rounds, clock)


if __name__ == "__main__":
    main()
