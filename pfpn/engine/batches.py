"""From the settings of a run to its data: which data sets, which batches, what if one is broken.

Images are read while a run goes on, perhaps by other processes. What goes wrong there is raised in
one line on all processes alike, so that the run can save and end.
"""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch.utils.data import DataLoader

from pfpn.data.loader import (
    CachedDataset,
    PanopticDataset,
    ShareSampler,
    TrainingItems,
    build_loader,
    images_by_class,
    open_dataset,
    wide_images,
)
from pfpn.data.threads import usable_cores
from pfpn.data.transforms import build_transform
from pfpn.engine import distributed
from pfpn.engine.config import DataConfig, TrainConfig
from pfpn.engine.distributed import LostProcessError, Process
from pfpn.structures import Batch, Category, Sample

BROKEN_IMAGES = "broken_images.txt"  # in the run folder, with data.skip_broken


class BrokenImageError(ValueError):
    """An image or its truth cannot be read; the message is one line that names the file."""

    def __init__(self, message: str):
        # A loading process sends its whole traceback, which ends with "CLASS: MESSAGE".
        last = message.strip().splitlines()[-1]
        super().__init__(last.rpartition(f"{type(self).__name__}: ")[2])


class LostWorkerError(LostProcessError):
    """A process that loads images has ended."""


def training_set(data: DataConfig) -> PanopticDataset:
    """Return the data set that is trained on."""
    return _open(data, data.train_split, data.toy_train_images)


def validation_set(data: DataConfig) -> PanopticDataset:
    """Return the data set that the model is evaluated on."""
    return _open(data, data.val_split, data.toy_val_images)


def _open(data: DataConfig, split: str, num: int) -> PanopticDataset:
    return open_dataset(data.root, split, num=num, seed=data.toy_seed, size=data.toy_size)


@dataclass(frozen=True)
class ReadableImages:
    """A data set whose broken images are reported in one line each.

    Args:
        dataset: that may have broken images.
        listing: file to which the line is appended, and the next image takes the place of the
            broken one; without it BrokenImageError is raised.
    """

    dataset: PanopticDataset
    listing: Path | None = None

    @property
    def categories(self) -> Sequence[Category]:
        """The classes, things and stuff."""
        return self.dataset.categories

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        for i in range(len(self)):
            try:
                return self.dataset[(index + i) % len(self)]
            except (ValueError, OSError) as error:
                line = describe_broken(error)
                if self.listing is None:
                    raise BrokenImageError(line) from None
                add_line(self.listing, line)
        raise BrokenImageError(f"data set: found none of {len(self)} images readable")


def first_readable(dataset: PanopticDataset) -> Sample:
    """Return the first sample of a data set that can be read; raise the last error if none can."""
    problem: Exception = ValueError("data set: found 0 images, expected at least 1")
    for index in range(len(dataset)):
        try:
            return dataset[index]
        except (ValueError, OSError) as error:
            problem = error
    raise problem


def noting_broken(listing: Path | None) -> Callable[[Exception], object] | None:
    """Return the function that lists the error of a broken image; None without a listing."""
    if listing is None:
        return None
    path = listing
    return lambda error: add_line(path, describe_broken(error))


def describe_broken(error: Exception) -> str:
    """Return an error as one line."""
    return " ".join(str(error).split()) or type(error).__name__


def add_line(path: Path, line: str) -> None:
    """Append a line to a file unless it has it; several processes may do so."""
    if line not in read_lines(path):
        with path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def read_lines(path: Path) -> list[str]:
    """Return the lines of a file, each once; no file has none."""
    if not path.is_file():
        return []
    return list(dict.fromkeys(path.read_text(encoding="utf-8").splitlines()))


def training_batches(
    config: TrainConfig,
    dataset: PanopticDataset,
    process: Process,
    num_images: int,
    first: int,
    listing: Path | None = None,
) -> DataLoader[Batch]:
    """Return the endless loader of this process's batches.

    Args:
        config: order, augmentation and loading.
        dataset: that is trained on.
        process: this one.
        num_images: that this process sees at once.
        first: number of its first batch.
        listing: see `ReadableImages`.
    """
    data = config.data
    transform = build_transform(
        shortest_edges=data.shortest_edges,
        longest_edge=data.longest_edge,
        crop=data.crop,
        flip=data.flip,
        brightness=data.brightness,
        contrast=data.contrast,
        saturation=data.saturation,
    )
    images: PanopticDataset = ReadableImages(dataset, listing)
    if data.cache:
        images = CachedDataset(images).fill(usable_cores())
    items = TrainingItems(
        images, transform, config.seed, all_classes=not config.model.instance_branch
    )
    images_of = None
    if data.equibatch:  # listed by the data set itself, or every image is read here
        images_of = images_by_class(dataset if hasattr(dataset, "category_ids") else images)
    sampler = ShareSampler(
        len(dataset),
        num_images,
        config.seed,
        process.rank,
        process.world,
        first,
        wide_images(dataset) if data.group_by_aspect else None,
        images_of,
    )
    return build_loader(items, sampler, workers=data.workers)


def begin_loading(loader: DataLoader[Batch]) -> Iterator[Batch]:
    """Return the iterator over a loader; a worker that ends is noticed when its batch is due.

    torch would raise its error wherever the program is when the worker ends, perhaps while the
    weights move; a checkpoint could not be written then.
    """
    loading = iter(loader)
    if hasattr(signal, "SIGCHLD") and threading.current_thread() is threading.main_thread():
        handler = signal.getsignal(signal.SIGCHLD)
        if getattr(handler, "__module__", "").startswith("torch.utils.data"):
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    return loading


def next_batches(loading: Iterator[Batch], num: int) -> list[Batch]:
    """Return the next `num` batches of this process.

    Raises BrokenImageError or LostWorkerError, on all processes if one of them cannot load.
    """
    batches: list[Batch] = []
    problem: Exception | None = None
    try:
        batches = [next(loading) for _ in range(num)]
    except BrokenImageError as error:
        problem = error
    except RuntimeError as error:
        # torch raises plain RuntimeErrors, which only their text tells from others.
        if "DataLoader worker" not in str(error):
            raise
        problem = LostWorkerError(
            f"a process that loads images has ended ({str(error).splitlines()[0]}), expected all "
            "to go on. The system ends processes when memory runs out: try fewer data.workers"
        )
    distributed.raise_together(problem)
    return batches
