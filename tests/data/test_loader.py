import multiprocessing.reduction
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from pfpn.data.coco import write_coco_panoptic
from pfpn.data.images import Finding, FormatError
from pfpn.data.loader import (
    CachedDataset,
    ShareSampler,
    TrainingItems,
    build_loader,
    class_stream,
    collate,
    epoch_order,
    images_by_class,
    item_rng,
    key_stream,
    open_dataset,
    share_stream,
    without_main,
)
from pfpn.data.transforms import build_transform
from pfpn.structures import Batch, Category, Panoptic, Sample, Segment

ROOT = Path(__file__).resolve().parents[2]


class Squares:
    """Numbered pictures of one square each, on void."""

    categories = (Category(1, "ground", False), Category(2, "square", True))

    def __init__(self, num: int):
        self.num = num
        self.reads = 0

    def __len__(self) -> int:
        return self.num

    def __getitem__(self, index: int) -> Sample:
        self.reads += 1
        id_map = torch.zeros((12, 16), dtype=torch.int64)
        id_map[2:8, 1 + index % 4 : 9] = 300 * (index % 2) + 1
        image = torch.full((3, 12, 16), 10 * index % 256, dtype=torch.uint8)
        segment = Segment(300 * (index % 2) + 1, 0, is_thing=True)
        return Sample(image, Panoptic(id_map, (segment,)), image_id=100 + index)


def take(iterator, num):
    return [next(iterator) for _ in range(num)]


def items_of(dataset, seed=0) -> TrainingItems:
    transform = build_transform(shortest_edges=(12, 18), crop=(8, 8), flip=0.5, brightness=0.2)
    return TrainingItems(dataset, transform, seed)


def assert_same_batch(a: Batch, b: Batch) -> None:
    assert a.image_ids == b.image_ids
    for one, two in zip(a.images, b.images, strict=True):
        assert_close(one, two, rtol=0, atol=0)
    for one, two in zip(a.label_maps, b.label_maps, strict=True):
        assert_close(one, two, rtol=0, atol=0)
    for one, two in zip(a.instances, b.instances, strict=True):
        assert_close(one.masks, two.masks, rtol=0, atol=0)


def test_an_epoch_visits_every_image_once():
    assert sorted(epoch_order(10, seed=3, epoch=5)) == list(range(10))


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = {tuple(epoch_order(10, seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}
    assert len(orders) == 4


def test_the_stream_is_one_epoch_after_the_other():
    keys = take(key_stream(4, seed=1), 8)
    assert keys == [(e, i) for e in (0, 1) for i in epoch_order(4, 1, e)]


def test_every_process_count_sees_the_same_global_batches():
    # Batches of 4 images: one process with 4, two with 2, four with 1.
    alone = take(iter(ShareSampler(10, 4)), 6)
    for world in (2, 4):
        ranks = [
            take(iter(ShareSampler(10, 4 // world, rank=r, world=world)), 6) for r in range(world)
        ]
        joined = [[key for share in step for key in share] for step in zip(*ranks, strict=True)]
        assert joined == alone


@pytest.mark.parametrize("first", [1, 3, 17])
def test_a_sampler_goes_on_at_any_position(first):
    whole = take(iter(ShareSampler(7, 3, rank=1, world=2)), first + 5)
    rest = take(iter(ShareSampler(7, 3, rank=1, world=2, first=first)), 5)
    assert rest == whole[first:]


def test_grouping_keeps_orientations_apart_and_loses_no_image():
    is_wide = [i % 3 == 0 for i in range(12)]
    shares = take(share_stream(key_stream(12, 0), 2, is_wide), 12)
    for share in shares:
        assert len({is_wide[index] for _, index in share}) == 1
    seen = [index for share in shares for _, index in share]
    assert len(set(seen)) == 12  # two epochs' worth of images, all of them met


IMAGES_OF = ((0, 1, 2, 3, 4, 5, 6, 7, 8, 9), (), (3,), (5, 6, 8))  # common, absent, rare, some


def test_with_equibatch_every_round_has_an_image_of_each_class():
    keys = take(class_stream(IMAGES_OF, seed=4), 300)
    shown = [{k for k, images in enumerate(IMAGES_OF) if index in images} for _, index in keys]
    for start in range(0, 300, 3):
        assert set.union(*shown[start : start + 3]) == {0, 2, 3}
    # So a batch of four always has the rare one; an epoch of ten has it in one batch of three.
    batches = take(iter(ShareSampler(10, 4, seed=4)), 30)
    assert sum(any(index == 3 for _, index in batch) for batch in batches) == 12
    equal = take(iter(ShareSampler(10, 4, seed=4, images_of=IMAGES_OF)), 30)
    assert all(any(index == 3 for _, index in batch) for batch in equal)


def test_with_equibatch_a_class_visits_all_its_images_before_one_comes_again():
    groups = ((0, 1, 2, 3), (4, 5, 6))
    indices = [index for _, index in take(class_stream(groups, seed=1), 2 * 12)]
    for group in groups:
        own = [index for index in indices if index in group]
        for start in range(0, len(own), len(group)):
            assert sorted(own[start : start + len(group)]) == list(group)


def test_with_equibatch_no_key_comes_twice_and_the_order_is_new_each_time():
    keys = take(class_stream(IMAGES_OF, seed=0), 200)
    assert len(set(keys)) == 200  # an image that comes again is augmented anew
    rounds = {tuple(index in IMAGES_OF[2] for _, index in keys[i : i + 3]) for i in range(0, 60, 3)}
    assert len(rounds) > 1
    assert take(class_stream(IMAGES_OF, seed=1), 50) != keys[:50]


def test_with_equibatch_processes_and_stops_change_nothing():
    def sampler(share, **more):
        return ShareSampler(10, share, 7, images_of=IMAGES_OF, **more)

    alone = take(iter(sampler(4)), 9)
    for world in (2, 4):
        ranks = [take(iter(sampler(4 // world, rank=r, world=world)), 9) for r in range(world)]
        joined = [[key for share in step for key in share] for step in zip(*ranks, strict=True)]
        assert joined == alone
    assert take(iter(sampler(4, first=5)), 4) == alone[5:]


def test_equibatch_without_any_class_is_refused():
    with pytest.raises(ValueError, match=r"no image that shows a class.*equibatch=false"):
        ShareSampler(10, 4, images_of=((), ()))


def test_images_by_class_are_read_from_the_truth_crowds_left_out(tmp_path):
    """A folder lists its segments in the JSON file; any other data set is read once."""

    class Crowds(Squares):
        categories = (*Squares.categories, Category(7, "cloud", False))

        def __getitem__(self, index):
            sample = super().__getitem__(index)
            (square,) = sample.panoptic.segments
            id_map = sample.panoptic.id_map.clone()
            id_map[10:] = 5
            segments = (replace(square, is_crowd=index == 2), Segment(5, 1, is_thing=False))
            return replace(sample, panoptic=Panoptic(id_map, segments))

    data = Crowds(4)
    assert images_by_class(data) == [[0, 1, 2, 3], [0, 1, 3], []]
    assert data.reads == 4
    write_coco_panoptic(tmp_path, "train", [data[i] for i in range(4)], data.categories)
    folder = open_dataset(str(tmp_path), "train")
    shutil.rmtree(tmp_path / "train")  # no picture is read
    by_id = dict(zip((c.id for c in folder.categories), images_by_class(folder), strict=True))
    assert by_id == {1: [0, 1, 2, 3], 2: [0, 1, 3], 7: []}


def test_an_item_depends_on_seed_epoch_and_index_alone():
    items = items_of(Squares(6))
    one = items[(2, 3)]
    _ = items[(0, 1)]
    assert_same_batch(items[(2, 3)], one)
    others = [items_of(Squares(6), seed=1)[(2, 3)], items[(3, 3)]]
    assert any(
        o.images[0].shape != one.images[0].shape or bool((o.images[0] != one.images[0]).any())
        for o in others
    )


def test_item_randomness_differs_between_neighbors():
    draws = {
        float(torch.rand((), generator=item_rng(s, e, i)))
        for s in range(3)
        for e in range(3)
        for i in range(3)
    }
    assert len(draws) == 27


def test_collate_joins_batches_of_any_sizes():
    items = items_of(Squares(6))
    batch = collate([items[(0, 1)], items[(0, 2)]])
    assert batch.image_ids == [101, 102]
    assert len(batch) == len(batch.instances) == len(batch.label_maps) == 2


def test_a_cache_reads_once_and_returns_the_same():
    plain = Squares(4)
    cached = CachedDataset(plain)
    assert cached.categories == plain.categories
    assert len(cached) == 4
    for index in (1, 2, 1):
        sample = cached[index]
        assert_close(sample.panoptic.id_map, Squares(4)[index].panoptic.id_map)
        assert sample.panoptic.id_map.dtype == torch.int64
    assert plain.reads == 2


def test_a_cache_can_be_filled_beforehand_by_workers():
    plain = Squares(5)
    cached = CachedDataset(plain)
    _ = cached[3]
    assert cached.fill(2) is cached
    assert plain.reads == 1  # here; the workers read theirs
    for index in range(5):
        assert_close(cached[index].image, Squares(5)[index].image)
        assert_close(cached[index].panoptic.id_map, Squares(5)[index].panoptic.id_map)
    assert plain.reads == 1


def test_the_first_error_of_a_cache_is_raised_as_if_it_were_made_here():
    class Broken(Squares):
        def __getitem__(self, index):
            if index >= 3:
                raise FormatError(Finding(f"{index}.png", 100 + index, None, "rubbish", "a PNG"))
            return super().__getitem__(index)

    for workers in (0, 2):
        with pytest.raises(FormatError, match=r"^3\.png, image 103: found rubbish") as raised:
            CachedDataset(Broken(6)).fill(workers)
        assert len(str(raised.value).splitlines()) == 1


def test_a_cache_is_sent_to_another_process_without_open_files():
    cached = CachedDataset(Squares(300)).fill()
    content = multiprocessing.reduction.ForkingPickler.dumps(cached)  # tensors would be files
    again = pickle.loads(content)
    assert again.dataset.num == 300
    for index in (0, 7, 299):
        assert_close(again[index].image, cached[index].image)
        assert_close(again[index].panoptic.id_map, cached[index].panoptic.id_map)
        assert again[index].panoptic.segments == cached[index].panoptic.segments
        assert again[index].image_id == 100 + index
    assert again.dataset.reads == 300  # none anew


# No main guard on purpose: spawn and forkserver run a script again in each worker.
SCRIPT = """
import multiprocessing, sys
multiprocessing.set_start_method(sys.argv[1])
from tests.data.test_loader import Squares, items_of
from pfpn.data.loader import CachedDataset, ShareSampler, build_loader
print("script", flush=True)
cached = CachedDataset(Squares(1000)).fill(2)
batches = iter(build_loader(items_of(cached), ShareSampler(1000, 4), workers=2))
print([next(batches).image_ids for _ in range(3)], cached.dataset.reads)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    [
        pytest.param(method, marks=[pytest.mark.long] if method == "forkserver" else [])
        for method in multiprocessing.get_all_start_methods()
    ],
)
def test_every_start_method_works_with_cache_and_workers_and_without_a_main_guard(method, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), method],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    keys = take(iter(ShareSampler(1000, 4)), 3)
    ids = [[100 + index for _, index in share] for share in keys]
    assert done.stdout.splitlines() == ["script", f"{ids} 0"]
    assert done.stderr == ""


def test_a_main_script_is_hidden_only_if_it_is_unguarded(tmp_path, monkeypatch):
    main = sys.modules["__main__"]
    script = tmp_path / "script.py"
    monkeypatch.setattr(main, "__spec__", None, raising=False)
    for source, hidden in (("print(1)", True), ('if __name__ == "__main__":\n    pass', False)):
        script.write_text(source)
        monkeypatch.setattr(main, "__file__", str(script), raising=False)
        with without_main():
            assert hasattr(main, "__file__") != hidden
        assert main.__file__ == str(script)
    script.write_text("print(1)")
    monkeypatch.setattr(main, "__spec__", object())  # python -m
    with without_main():
        assert hasattr(main, "__file__")


def test_a_transform_does_not_change_what_is_cached():
    items = items_of(CachedDataset(Squares(2)))
    first = items[(0, 1)]
    for epoch in range(1, 5):
        _ = items[(epoch, 1)]
    assert_same_batch(items[(0, 1)], first)


def test_no_image_at_all_is_refused():
    with pytest.raises(ValueError, match="found 0 images"):
        ShareSampler(0, 2)


def test_the_drawn_world_has_splits_that_share_no_scene():
    train, val = (open_dataset("toy", split, num=2, size=(32, 48)) for split in ("train", "val"))
    assert len(train) == len(val) == 2
    assert bool((train[0].image != val[0].image).any())
    with pytest.raises(ValueError, match="'train', 'val', 'test'"):
        open_dataset("toy", "holdout")


@pytest.mark.slow
def test_worker_processes_change_nothing():
    items = items_of(Squares(9))
    batches = [
        take(iter(build_loader(items, ShareSampler(9, 2, first=3), workers=workers)), 8)
        for workers in (0, 2)
    ]
    for one, two in zip(*batches, strict=True):
        assert_same_batch(one, two)
