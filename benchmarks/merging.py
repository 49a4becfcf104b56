"""Merging 100 instances and 54 semantic labels at 800x1067: inside windows against full images.

    python benchmarks/merging.py [--repeats 9] [--threads 1]

The peer follows the published rule in the plain way: every question is asked of the whole image.
Both give the identical map, which is checked. Whoever is timed first changes from round to round,
so that a busy neighbor slows all alike: read the ratios.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from pfpn.merge import MAX_OVERLAP, MIN_SCORE, MIN_STUFF_AREA, merge
from pfpn.paste import PASTE_THRESHOLD, paste_masks, paste_windows
from pfpn.structures import VOID

SIZE = (800, 1067)
INSTANCES = 100
SEMANTIC_LABELS = 54  # "other" and COCO's 53 kinds of stuff
GRID = 28


def plain_merge(
    masks: Tensor, scores: Tensor, labels: Tensor, label_map: Tensor
) -> tuple[Tensor, list[tuple[int, int, bool]]]:
    """Merge by the published rule, each step over the whole image."""
    id_map = torch.full_like(label_map, VOID)
    segments: list[tuple[int, int, bool]] = []
    for i in scores.argsort(descending=True).tolist():
        if scores[i].item() < MIN_SCORE:
            break
        mask = masks[i]
        area = mask.sum().item()
        if area == 0:
            continue
        taken = (mask & (id_map != VOID)).sum().item()
        if taken / area > MAX_OVERLAP:
            continue
        segments.append((len(segments) + 1, int(labels[i]), True))
        id_map[mask & (id_map == VOID) if taken else mask] = len(segments)
    for label in label_map.unique().tolist():
        if label == 0:
            continue
        region = (label_map == label) & (id_map == VOID)
        if region.sum().item() >= MIN_STUFF_AREA:
            segments.append((len(segments) + 1, label, False))
            id_map[region] = len(segments)
    return id_map, segments


def plain_paste(mask_probs: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Paste by grid_sample, each mask within its box, into an image of its own."""
    masks = torch.zeros((len(boxes), *size), dtype=torch.bool)
    for mask, probs, box in zip(masks, mask_probs, boxes, strict=True):
        x0, y0, x1, y1 = box
        left, top = (box[:2].floor() - 1).clamp(min=0).int().tolist()
        right = min(int(x1.ceil()) + 1, size[1])
        bottom = min(int(y1.ceil()) + 1, size[0])
        x = (torch.arange(left, right) + 0.5 - x0) / (x1 - x0) * 2 - 1
        y = (torch.arange(top, bottom) + 0.5 - y0) / (y1 - y0) * 2 - 1
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
        sampled = F.grid_sample(probs[None, None], grid[None], align_corners=False)
        mask[top:bottom, left:right] = sampled[0, 0] >= PASTE_THRESHOLD
    return masks


def tiled_boxes(rng: torch.Generator) -> Tensor:
    """Ten by ten boxes, each a quarter larger than its tile: they overlap, and all are kept."""
    tile = torch.tensor([SIZE[1], SIZE[0]]) / 10
    columns, rows = torch.meshgrid(torch.arange(10), torch.arange(10), indexing="xy")
    center = (torch.stack([columns, rows], dim=-1).reshape(-1, 2) + 0.5) * tile
    boxes = torch.cat([center - 0.625 * tile, center + 0.625 * tile], dim=1)
    boxes[:, 0::2].clamp_(0, SIZE[1])
    boxes[:, 1::2].clamp_(0, SIZE[0])
    return boxes[torch.randperm(INSTANCES, generator=rng)]


def scattered_boxes(rng: torch.Generator) -> Tensor:
    """Boxes anywhere, as many with sides of 24 to 48 pixels as of 240 to 480: half are dropped."""
    image = torch.tensor([SIZE[1], SIZE[0]])
    sides = 24 * 20 ** torch.rand(INSTANCES, 2, generator=rng)
    corner = torch.rand(INSTANCES, 2, generator=rng) * (image - sides)
    return torch.cat([corner, corner + sides], dim=1)


def make_scene(rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return probabilities of round, ragged masks, labels, and a label map in large patches."""
    axis = torch.linspace(-1, 1, GRID)
    blob = 1.2 - axis[:, None] ** 2 - axis[None, :] ** 2
    rough = torch.randn(INSTANCES, 1, 7, 7, generator=rng)
    probs = (4 * blob + 2 * F.interpolate(rough, size=(GRID, GRID), mode="bicubic")[:, 0]).sigmoid()
    labels = torch.randint(0, 80, (INSTANCES,), generator=rng)
    coarse = torch.randn(1, SEMANTIC_LABELS, 7, 9, generator=rng)
    small = F.interpolate(coarse, size=(200, 267), mode="bicubic").argmax(dim=1)
    label_map = F.interpolate(small[None].float(), size=SIZE, mode="nearest")[0, 0].long()
    return probs, labels, label_map


def in_turns(jobs: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the median milliseconds of each job; they take turns, in changing order."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    names = list(jobs)
    for round_ in range(repeats + 1):  # the first one warms up
        first = round_ % len(names)
        for name in names[first:] + names[:first]:
            start = time.perf_counter()
            jobs[name]()
            if round_:
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(t) for name, t in times.items()}


def compare(
    probs: Tensor, boxes: Tensor, labels: Tensor, label_map: Tensor, trusted: int, repeats: int
) -> None:
    """Check that all ways agree, then print their times; the best `trusted` scores are enough."""
    masks = paste_masks(probs, boxes, SIZE)
    assert torch.equal(masks, plain_paste(probs, boxes, SIZE))
    below = torch.linspace(0.49, 0.05, INSTANCES - trusted)
    scores = torch.cat([torch.linspace(0.99, 0.5, trusted), below])
    keep = scores >= MIN_SCORE
    best = scores[keep], labels[keep], label_map
    everyone = scores, labels, label_map

    full, small = "plain, from full masks", "plain, from probabilities"
    jobs = {
        full: lambda: plain_merge(masks, *everyone),
        "ours, from full masks": lambda: merge(masks, *everyone),
        small: lambda: plain_merge(plain_paste(probs, boxes, SIZE), *everyone),
        small + " above": lambda: plain_merge(plain_paste(probs[keep], boxes[keep], SIZE), *best),
        "ours, from probabilities above": lambda: merge(
            paste_windows(probs[keep], boxes[keep], SIZE), *best
        ),
    }
    results = {name: job() for name, job in jobs.items()}
    expected_map, expected = results[full]
    for name, result in results.items():
        if name.startswith("ours"):
            found = [(s.id, s.label, s.is_thing) for s in result.segments]
            assert torch.equal(result.id_map, expected_map), name
            assert found == expected, name

    num_things = sum(is_thing for _, _, is_thing in expected)
    print(
        f"\n{trusted} with a score of {MIN_SCORE} or more: {num_things} things and "
        f"{len(expected) - num_things} stuff segments, all ways identical"
    )
    milliseconds = in_turns(jobs, repeats)
    for name, taken in milliseconds.items():
        peer = small if "prob" in name else full
        print(f"  {name:33} {taken:8.1f}   {milliseconds[peer] / taken:5.1f} x as fast as {peer!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    rng = torch.Generator().manual_seed(0)
    probs, labels, label_map = make_scene(rng)
    tiled, scattered = tiled_boxes(rng), scattered_boxes(rng)
    print(f"{INSTANCES} instances at {SIZE[0]}x{SIZE[1]}, threads: {arguments.threads}; median ms")
    for boxes, trusted in ((tiled, INSTANCES), (scattered, INSTANCES), (scattered, 20)):
        compare(probs, boxes, labels, label_map, trusted, arguments.repeats)


if __name__ == "__main__":
    main()
