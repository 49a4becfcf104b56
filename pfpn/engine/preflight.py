"""Look, before a run begins, at all that could fail hours later; report everything at once."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pfpn.data.loader import PanopticDataset
from pfpn.data.threads import usable_cores
from pfpn.engine import distributed
from pfpn.engine.checkpoint import BEST, LAST
from pfpn.engine.config import TrainConfig, fit_to_categories
from pfpn.engine.distributed import Process
from pfpn.engine.evaluate import category_differences
from pfpn.engine.memory import checkpoint_bytes

Progress = Callable[[int, int], object]  # called with the number of files read, and of all

# Processes that load ahead: more of them only wait, and with hundreds a run begins after minutes
WORKERS_PER_CORE, MIN_WORKERS = 4, 32
MAX_LISTED = 20  # problems of one kind
GIB = 2**30


def require_ready(
    config: TrainConfig,
    out: Path,
    process: Process,
    datasets: tuple[PanopticDataset, PanopticDataset],
    progress: Progress | None = None,
) -> None:
    """Raise ValueError on all processes if something would fail later; it lists all of it.

    Looks at the classes of both splits, every file of them (existence, header, size), how the batch
    is divided, how many processes load it, and the room on disk.

    Args:
        config: of the run.
        out: its folder.
        process: this one; the main one looks at the files.
        datasets: for training and for validation.
        progress: called while the files are read.
    """
    problem: ValueError | None = None
    if process.is_main:
        lines = batch_problems(config, process) + worker_problems(config)
        lines += class_problems(config, datasets)
        if not lines:
            lines += disk_problems(config, out, datasets)
        lines += file_problems(config, datasets, progress)
        if len(lines) == 1:
            problem = ValueError(lines[0])
        elif lines:
            listing = "".join(f"\n  {line}" for line in lines)
            problem = ValueError(f"{out}: found {len(lines)} problems, expected none:{listing}")
    distributed.raise_together(problem)


def images_per_part(config: TrainConfig, process: Process) -> int:
    """Return how many images a process sees at once; 0 if the batch cannot be divided evenly."""
    images, rest = divmod(config.batch_size, process.world * config.optim.accumulate)
    return 0 if rest else images


def batch_problems(config: TrainConfig, process: Process) -> list[str]:
    """Return why the batch cannot be divided among processes and parts; usually nothing."""
    if images_per_part(config, process):
        return []
    parts = config.optim.accumulate
    return [
        f"batch_size={config.batch_size}: found no way to give {process.world} processes {parts} "
        f"equal parts each, expected a multiple of {process.world * parts}"
    ]


def worker_problems(config: TrainConfig) -> list[str]:
    """Return whether far more processes are to load images than the machine has cores for."""
    cores = usable_cores()
    most = max(MIN_WORKERS, WORKERS_PER_CORE * cores)
    if config.data.workers <= most:
        return []
    return [
        f"data.workers={config.data.workers}: found {cores} processor cores for it, expected at "
        f"most {most} processes that load ahead; each takes seconds to start, and memory. Try "
        f"data.workers={cores}"
    ]


def class_problems(
    config: TrainConfig, datasets: tuple[PanopticDataset, PanopticDataset]
) -> list[str]:
    """Return what keeps the two splits from having a model of their classes in common."""
    lines = []
    for name, dataset in zip(("training", "validation"), datasets, strict=True):
        if len(dataset) == 0:
            lines.append(f"{name} data: found 0 images, expected at least 1. Is the split right?")
    ours, theirs = (dataset.categories for dataset in datasets)
    differences = category_differences(ours, theirs)
    lines += [f"validation data: {line} as in the training data" for line in differences]
    try:
        fit_to_categories(config.model, ours)
    except ValueError as error:
        lines.append(str(error))
    return lines


def file_problems(
    config: TrainConfig,
    datasets: tuple[PanopticDataset, PanopticDataset],
    progress: Progress | None = None,
) -> list[str]:
    """Return what is wrong with the files of both splits, if the data sets can look at them.

    A data set has a method `problems(progress)` for it. With `data.skip_broken` nothing is looked
    at: what is broken is left out when its turn comes.
    """
    lines: list[str] = []
    if config.data.skip_broken:
        return lines
    for dataset in datasets:
        look = getattr(dataset, "problems", None)
        broken = look(progress) if look else []
        lines += broken[:MAX_LISTED]
        if len(broken) > MAX_LISTED:
            lines.append(f"... and {len(broken) - MAX_LISTED} more: `pfpn check` lists them all")
    return lines


def disk_problems(
    config: TrainConfig, out: Path, datasets: tuple[PanopticDataset, PanopticDataset]
) -> list[str]:
    """Return whether there is too little room on the disk for what a run writes."""
    model = fit_to_categories(config.model, datasets[0].categories)
    size = checkpoint_bytes(replace(config, model=model))
    there = sum((out / name).stat().st_size for name in (LAST, BEST) if (out / name).exists())
    # The last and the best checkpoint, and a new one beside them until it is whole
    needed = 3 * size - there
    free = shutil.disk_usage(out).free
    if free >= needed:
        return []
    return [
        f"{out}: found {free / GIB:.2f} GiB free on the disk, expected {needed / GIB:.2f} for the "
        "checkpoints. Make room, or choose an --out on another disk"
    ]
