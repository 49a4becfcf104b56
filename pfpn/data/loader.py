"""From a data set to batches: which images, in which order, on which process.

The order is a pure function of (seed, position), and what is done to an image of (seed, epoch,
index). Neither depends on the number of workers, and only the last step, which divides a global
batch into shares, depends on the number of processes. So a run can be stopped at any step and
continued there, with more processes or fewer.
"""

import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from pfpn.data.categories import LabelMap
from pfpn.data.coco import CocoPanoptic
from pfpn.data.toy import ToyStreet
from pfpn.data.transforms import Transform, to_targets
from pfpn.structures import Batch, Category, Panoptic, Sample

TOY = "toy"  # given in place of a folder, it opens the drawn world
TOY_SPLITS = {"train": 0, "val": 1_000_000, "test": 2_000_000}  # number of the first scene

Key = tuple[int, int]  # (epoch, index): all that a worker needs to make an item


@runtime_checkable
class PanopticDataset(Protocol):
    """Any data set with categories, a length and samples."""

    @property
    def categories(self) -> Sequence[Category]:
        """The classes, things and stuff."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


def open_dataset(
    root: str,
    split: str,
    *,
    num: int = 100,
    seed: int = 0,
    size: tuple[int, int] = (128, 192),
) -> PanopticDataset:
    """Open a folder in COCO panoptic format, or the drawn world if `root` is the word "toy".

    Args:
        root: a folder, or "toy".
        split: of the folder; of the drawn world "train", "val" or "test", which share no scene.
        num: scenes; drawn world only.
        seed: of the scenes; drawn world only.
        size: (height, width) of the scenes in pixels; drawn world only.
    """
    if root != TOY:
        return CocoPanoptic(Path(root), split)
    if split not in TOY_SPLITS:
        raise ValueError(f"toy: found split {split!r}, expected one of {list(TOY_SPLITS)}")
    return ToyStreet(num, seed, size, first=TOY_SPLITS[split])


def item_rng(seed: int, epoch: int, index: int) -> torch.Generator:
    """Return the random generator for one image in one epoch."""
    state = np.random.SeedSequence([seed, epoch, index]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]) >> 1)


def epoch_order(num: int, seed: int, epoch: int) -> list[int]:
    """Return the order in which an epoch visits `num` images."""
    rng = np.random.default_rng([seed, epoch])
    return [int(i) for i in rng.permutation(num)]


def key_stream(num: int, seed: int) -> Iterator[Key]:
    """Yield epoch after epoch without end, each in an order of its own."""
    epoch = 0
    while True:
        for index in epoch_order(num, seed, epoch):
            yield epoch, index
        epoch += 1


def class_stream(images_of: Sequence[Sequence[int]], seed: int) -> Iterator[Key]:
    """Yield keys such that the classes take turns: equibatch sampling.

    In each round, every class gives one image that shows it. The order of the classes is new in
    each round, and a class goes through all its images before one comes again. So k classes are
    met in k successive images, however rare some are. An image that shows many classes comes more
    often than in an epoch; its key counts how often it came, so that it is augmented anew.

    Args:
        images_of: for each class, the images that show it. A class without an image has no turn.
        seed: of all orders.

    Source: [LS] names equibatch among its training details, without code; these rules are ours.
    """
    groups = [list(images) for images in images_of if images]
    queues: list[list[int]] = [[] for _ in groups]
    rng = np.random.default_rng([seed, len(groups)])
    times: Counter[int] = Counter()
    while groups:
        for k in rng.permutation(len(groups)).tolist():
            if not queues[k]:
                queues[k] = rng.permutation(groups[k]).tolist()
            index = queues[k].pop()
            yield times[index], index
            times[index] += 1


def share_stream(
    keys: Iterator[Key], share: int, is_wide: Sequence[bool] | None = None
) -> Iterator[list[Key]]:
    """Yield a stream of keys in shares: `share` images for one process.

    With `is_wide`, a share holds images of one orientation only, so that little is padded: an image
    waits until its orientation has filled a share.
    """
    waiting: dict[bool, list[Key]] = {False: [], True: []}
    for key in keys:
        group = waiting[is_wide[key[1]] if is_wide is not None else False]
        group.append(key)
        if len(group) == share:
            yield list(group)
            group.clear()


@dataclass(frozen=True)
class ShareSampler(Sampler[list[Key]]):
    """Yield the shares of one process: share number s belongs to rank s % world.

    Args:
        num: images of the data set.
        share: images that one process sees at once.
        seed: of the order.
        rank: this process.
        world: number of processes.
        first: shares of this rank to skip, as a resumed run does.
        is_wide: groups by orientation, see `share_stream`.
        images_of: lets the classes take turns, see `class_stream`; without it an epoch shows every
            image once.
    """

    num: int
    share: int
    seed: int = 0
    rank: int = 0
    world: int = 1
    first: int = 0
    is_wide: Sequence[bool] | None = None
    images_of: Sequence[Sequence[int]] | None = None

    def __post_init__(self) -> None:
        if self.num == 0:
            raise ValueError(
                "training data: found 0 images, expected at least 1. Is the split the right one?"
            )
        if self.images_of is not None and not any(self.images_of):
            raise ValueError(
                "training data: found no image that shows a class, expected some for "
                "data.equibatch. Are its segments listed, or try data.equibatch=false"
            )

    def __iter__(self) -> Iterator[list[Key]]:
        if self.images_of is None:
            keys = key_stream(self.num, self.seed)
        else:
            keys = class_stream(self.images_of, self.seed)
        mine = self.first * self.world + self.rank
        for number, share in enumerate(share_stream(keys, self.share, self.is_wide)):
            if number == mine:
                yield share
                mine += self.world


@dataclass(frozen=True)
class TrainingItems(Dataset[Batch]):
    """A transformed data set: it returns a batch of one image for a key (epoch, index)."""

    dataset: PanopticDataset
    transform: Transform
    seed: int = 0
    all_classes: bool = False

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: Key) -> Batch:
        epoch, index = key
        sample = self.transform(self.dataset[index], item_rng(self.seed, epoch, index))
        instances, label_map = to_targets(
            sample, self.dataset.categories, all_classes=self.all_classes
        )
        return Batch([sample.image], [instances], [label_map], [sample.image_id])


def collate(items: Sequence[Batch]) -> Batch:
    """Join batches; nothing is padded, images keep their sizes."""
    return Batch(
        [image for item in items for image in item.images],
        [instances for item in items for instances in item.instances],
        [label_map for item in items for label_map in item.label_maps],
        [image_id for item in items for image_id in item.image_ids],
    )


@dataclass(frozen=True)
class CachedDataset:
    """A data set that keeps every sample once it is made, in about 4 bytes per pixel.

    Samples made by `fill` are shared with processes that are forked later; other worker processes
    get a copy. Samples that a worker makes itself stay in that worker.
    """

    dataset: PanopticDataset
    _kept: dict[int, Sample] = field(default_factory=dict)

    @property
    def categories(self) -> Sequence[Category]:
        """The classes, things and stuff."""
        return self.dataset.categories

    def __len__(self) -> int:
        return len(self.dataset)

    def fill(self, workers: int = 0) -> "CachedDataset":
        """Make every sample now and return the data set itself.

        Raises the first error that a sample raises, as if it were made here.

        Args:
            workers: processes beside this one; with 0 or 1 all are made here.
        """
        missing = [i for i in range(len(self)) if i not in self._kept]
        count = min(workers, len(missing))
        making = Loader(
            _Attempts(self.dataset),
            batch_size=None,
            sampler=missing,
            num_workers=count if count > 1 else 0,
            worker_init_fn=_use_one_thread if count > 1 else None,
            generator=torch.Generator(),
        )
        for index, made in zip(missing, making, strict=True):
            if isinstance(made, Exception):
                raise made
            # A worker's tensor keeps a file open, and a process may have some thousand at most.
            own = replace(made, image=made.image.clone())
            self._kept[index] = _with_ids_as(own, None)
        return self

    def __getitem__(self, index: int) -> Sample:
        if index not in self._kept:
            self._kept[index] = _with_ids_as(self.dataset[index], None)
        return _with_ids_as(self._kept[index], torch.int64)

    def __reduce__(self) -> tuple[Any, ...]:
        # As tensors, each sample would be sent as two open files, and a message holds some 250. As
        # arrays they are bytes.
        kept = {i: (s.image.numpy(), s.panoptic.id_map.numpy(), s) for i, s in self._kept.items()}
        plain = {
            index: (image, ids, sample.panoptic.segments, sample.image_id)
            for index, (image, ids, sample) in kept.items()
        }
        return _unpack_cache, (type(self), self.dataset, plain)


def _unpack_cache(
    kind: type[CachedDataset], dataset: PanopticDataset, plain: dict[int, tuple[Any, ...]]
) -> CachedDataset:
    kept = {
        index: Sample(torch.from_numpy(image), Panoptic(torch.from_numpy(ids), segments), image_id)
        for index, (image, ids, segments, image_id) in plain.items()
    }
    return kind(dataset, kept)


@dataclass(frozen=True)
class _Attempts(Dataset[Sample | Exception]):
    """Samples, or what making them raised: an error that a worker raises becomes a traceback."""

    dataset: PanopticDataset

    def __getitem__(self, index: int) -> Sample | Exception:
        try:
            return self.dataset[index]
        except (ValueError, OSError) as error:
            return error


def _with_ids_as(sample: Sample, dtype: torch.dtype | None) -> Sample:
    """Store ids in `dtype`, or in the smallest type that holds them."""
    id_map = sample.panoptic.id_map
    if dtype is None:
        small = (torch.int8, torch.int16, torch.int32)
        dtype = next(d for d in small if int(id_map.max()) <= torch.iinfo(d).max)
    panoptic = Panoptic(id_map.to(dtype), sample.panoptic.segments)
    return Sample(sample.image, panoptic, sample.image_id)


def build_loader(items: Dataset[Batch], sampler: ShareSampler, *, workers: int = 0) -> "Loader":
    """Return an endless loader of batches.

    Args:
        items: makes an image from its key, such as `TrainingItems`.
        sampler: yields the keys of each batch, such as `ShareSampler`.
        workers: processes that load ahead; 0 loads in this one. The batches are the same.
    """
    return Loader(
        items,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=collate,
        worker_init_fn=_use_one_thread if workers else None,
        persistent_workers=False,
        prefetch_factor=4 if workers else None,
        generator=torch.Generator(),  # else a loader draws from the global one when it starts
    )


class Loader(DataLoader[Any]):
    """A DataLoader whose workers start in every way, also from a script without a main guard.

    Started by spawn or forkserver, a worker runs the main script again up to `if __name__ ==
    "__main__":`. Where a script has no such line, the worker would run all of it, so it is started
    without the script.
    """

    def __iter__(self) -> Any:
        """Start the workers and return the iterator over what they make."""
        with without_main() if self.num_workers else nullcontext():
            return super().__iter__()


@contextmanager
def without_main() -> Iterator[None]:
    """Hide an unguarded main script from processes that are started in the block."""
    main = sys.modules["__main__"]
    path = getattr(main, "__file__", None)
    is_module = getattr(main, "__spec__", None) is not None  # as by python -m, which is guarded
    if path is None or is_module or _is_guarded(Path(path)):
        yield
        return
    del main.__file__
    try:
        yield
    finally:
        main.__file__ = path


def _is_guarded(path: Path) -> bool:
    try:
        return b"__main__" in path.read_bytes()
    except OSError:
        return True


def _use_one_thread(_worker: int) -> None:
    torch.set_num_threads(1)  # the processor is shared with the training process


def wide_images(dataset: PanopticDataset) -> list[bool] | None:
    """Return which images are wider than high; None if the data set stores no sizes."""
    sizes: Callable[[], Sequence[tuple[int, int]]] | None = getattr(dataset, "sizes", None)
    if sizes is None:
        return None
    return [width > height for height, width in sizes()]


def images_by_class(dataset: PanopticDataset) -> list[list[int]]:
    """Return, for each category of a data set in its order, the images that show it.

    A crowd does not count: it trains no detection. A data set that lists its classes without
    reading, by a method `category_ids`, is asked; of any other, every sample is made once.
    """
    listed: Callable[[], Sequence[Collection[int]]] | None = getattr(dataset, "category_ids", None)
    labels = LabelMap(tuple(dataset.categories))
    images: dict[int, list[int]] = {category.id: [] for category in dataset.categories}
    for index, ids in enumerate(
        listed()
        if listed is not None
        else (_category_ids(dataset[i], labels) for i in range(len(dataset)))
    ):
        for category_id in ids:
            images[category_id].append(index)
    return list(images.values())


def _category_ids(sample: Sample, labels: LabelMap) -> set[int]:
    segments = sample.panoptic.segments
    return {labels.category_id(segment) for segment in segments if not segment.is_crowd}
