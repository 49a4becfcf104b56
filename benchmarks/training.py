"""Training throughput of the demo's preset: images/s, where the time goes, what helps.

    python benchmarks/training.py [--steps 20] [--rounds 5]

Variants take turns in one run, so that a busy neighbor slows all of them alike: read the ratios.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from pfpn.data.loader import collate, item_rng
from pfpn.data.toy import ToyStreet
from pfpn.data.transforms import RandomFlip, to_targets
from pfpn.engine.presets import toy
from pfpn.model import ModelConfig, PanopticFPN, total_loss
from pfpn.structures import Batch, stuff, things

IMAGES = 48
BATCH = 4


def make_batches(data: ToyStreet, cached: bool) -> Iterator[Batch]:
    """Yield flipped batches without end, from samples kept in memory or drawn each time."""
    kept = [data[i] for i in range(len(data))] if cached else None
    flip, epoch = RandomFlip(), 0
    while True:
        for first in range(0, len(data), BATCH):
            items = []
            for i in range(first, first + BATCH):
                sample = flip(kept[i] if kept else data[i], item_rng(0, epoch, i))
                instances, label_map = to_targets(sample, data.categories)
                items.append(Batch([sample.image], [instances], [label_map], [sample.image_id]))
            yield collate(items)
        epoch += 1


def make_step(config: ModelConfig, batches: Iterator[Batch], channels_last: bool) -> Callable:
    torch.manual_seed(0)
    model = PanopticFPN(config)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    rng = torch.Generator().manual_seed(0)

    def step() -> None:
        loss = total_loss(model(next(batches), rng), config)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    step.model = model
    return step


def seconds_per_step(step: Callable, steps: int) -> float:
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - start) / steps


def print_profile(step: Callable, steps: int = 10) -> None:
    """Print each part's fraction of a step: forward by module, then everything else."""
    spent: dict[str, float] = {}
    started: dict[str, float] = {}
    parts = dict(step.model.named_children())
    for name, part in parts.items():
        part.register_forward_pre_hook(
            lambda *_, name=name: started.__setitem__(name, time.perf_counter())
        )
        part.register_forward_hook(
            lambda *_, name=name: spent.__setitem__(
                name, spent.get(name, 0) + time.perf_counter() - started[name]
            )
        )
    from torch.profiler import ProfilerActivity, profile

    start = time.perf_counter()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(steps):
            step()
    total = time.perf_counter() - start
    print(f"\nforward, part of a step of {1000 * total / steps:.0f} ms (with profiler):")
    for name in parts:
        print(f"  {name:<16} {100 * spent.get(name, 0) / total:5.1f} %")
    print("\ncostliest operations, part of the processor's time:")
    events = sorted(profiler.key_averages(), key=lambda e: -e.self_cpu_time_total)
    whole = sum(event.self_cpu_time_total for event in events)
    for event in events[:10]:
        print(f"  {event.key[:44]:<44} {100 * event.self_cpu_time_total / whole:5.1f} %")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20, help="steps per turn (20)")
    parser.add_argument("--rounds", type=int, default=5, help="turns per variant (5)")
    arguments = parser.parse_args()

    preset = toy()
    data = ToyStreet(IMAGES, seed=0, size=(128, 192))
    config = replace(
        preset.model,
        num_things=len(things(data.categories)),
        num_semantic=1 + len(stuff(data.categories)),
    )
    many = replace(
        config,
        train_proposals_per_level=2000,
        train_proposals=1000,
        rpn_samples=256,
        box_samples=512,
        box_positive_fraction=0.25,
    )
    cached, drawn = make_batches(data, True), make_batches(data, False)
    variants = {
        "preset": make_step(config, cached, True),
        "without channels_last": make_step(config, cached, False),
        "published numbers of proposals and samples": make_step(many, cached, True),
        "drawing every image anew": make_step(config, drawn, True),
    }
    for step in variants.values():
        seconds_per_step(step, 3)
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(arguments.rounds):
        for name, step in variants.items():
            times[name].append(seconds_per_step(step, arguments.steps))

    base = statistics.median(times["preset"])
    print(f"{torch.get_num_threads()} threads, {BATCH} images of 128 x 192 a step, medians")
    print(f"{'variant':<44} {'images/s':>9} {'time':>7}")
    for name, found in times.items():
        median = statistics.median(found)
        print(f"{name:<44} {BATCH / median:9.1f} {median / base:6.2f}x")
    print_profile(variants["preset"])


if __name__ == "__main__":
    main()
