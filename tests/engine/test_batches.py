"""What cannot be loaded ends a run in one line, with all saved; or is left out and listed."""

import itertools
import os
import signal
from dataclasses import replace

import pytest
import torch

from pfpn.cli import main
from pfpn.data.coco import write_coco_panoptic
from pfpn.data.toy import ToyStreet
from pfpn.engine.batches import (
    BROKEN_IMAGES,
    BrokenImageError,
    LostWorkerError,
    ReadableImages,
    add_line,
    read_lines,
    training_batches,
)
from pfpn.engine.checkpoint import LAST, load_checkpoint
from pfpn.engine.distributed import Process
from pfpn.engine.train import log_rows, read_rows, train
from tests.engine.conftest import Blocks


class BrokenBlocks(Blocks):
    """Some images cannot be read, until they are mended."""

    def __init__(self, num, broken, first=0):
        super().__init__(num, first=first)
        self.broken = set(broken)

    def __getitem__(self, index):
        if index in self.broken:
            raise ValueError(f"street{self.first + index}.jpg: found\nhalf an image, expected one")
        return super().__getitem__(index)


class MortalBlocks(Blocks):
    """The process that loads image 3 is killed, once."""

    def __init__(self, num, mark):
        super().__init__(num)
        self.mark = mark

    def __getitem__(self, index):
        if index == 3 and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


def run(config, out, datasets, **kwargs):
    rows = train(config, out, datasets=datasets, **kwargs)
    return list(log_rows(rows, out, events=False))


def assert_same_weights(one, two):
    one, two = (load_checkpoint(folder / LAST)["model"] for folder in (one, two))
    assert all(one[key].equal(two[key]) for key in one)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_broken_image_in_the_middle_costs_no_step(workers, accumulate, tiny, blocks, tmp_path):
    config = tiny(workers=workers, accumulate=accumulate, save_every=100, log_every=1)
    run(config, tmp_path / "whole", blocks)
    broken = BrokenBlocks(5, [4])
    with pytest.raises(BrokenImageError) as error:
        run(config, tmp_path / "cut", (broken, blocks[1]))
    lines = str(error.value).splitlines()
    step = load_checkpoint(tmp_path / "cut" / LAST)["step"]
    assert len(lines) == 1
    assert lines[0].startswith(
        "street4.jpg: found half an image, expected one. "
        f"Step {step} is saved. Mend the file, or leave out"
    )
    broken.broken.clear()
    run(config, tmp_path / "cut", (broken, blocks[1]), resume=True)
    assert_same_weights(tmp_path / "whole", tmp_path / "cut")
    assert len(read_rows(tmp_path / "cut")) == 7


def test_a_broken_validation_image_costs_no_step(tiny, blocks, tmp_path):
    """The checkpoint is written first, and a resumed run evaluates what was due."""
    config = tiny(eval_every=4, save_every=100)
    run(config, tmp_path / "whole", blocks)
    broken = BrokenBlocks(2, [1], first=100)
    out = tmp_path / "cut"
    for resume in (False, True):
        with pytest.raises(ValueError, match=r"street101\.jpg"):
            run(config, out, (blocks[0], broken), resume=resume)
        assert load_checkpoint(out / LAST)["step"] == 4
    broken.broken.clear()
    rows = run(config, out, (blocks[0], broken), resume=True)
    assert [(row["kind"], row["step"]) for row in rows[:2]] == [("start", 4), ("eval", 4)]
    assert_same_weights(tmp_path / "whole", out)
    clocks = {"seconds", "images_per_second"}
    whole, cut = (
        [{k: v for k, v in row.items() if k not in clocks} for row in read_rows(folder)]
        for folder in (tmp_path / "whole", out)
    )
    assert whole == cut
    assert (
        load_checkpoint(out / LAST)["best_pq"]
        == load_checkpoint(tmp_path / "whole" / LAST)["best_pq"]
    )


@pytest.mark.parametrize("changes", [{}, {"cache": True}, {"workers": 1}], ids=str)
def test_with_skip_broken_a_run_goes_on_and_lists_what_it_left_out(changes, tiny, blocks, tmp_path):
    config = tiny(skip_broken=True, eval_every=3, **changes)
    sets = BrokenBlocks(5, [4, 1]), BrokenBlocks(2, [0], first=100)
    rows = run(config, tmp_path, sets)
    lines = {f"street{i}.jpg: found half an image, expected one" for i in (1, 4, 100)}
    assert rows[-1]["kind"] == "end"
    assert set(rows[-1]["notes"]) == {f"left out: {line}" for line in lines}
    assert sorted(read_lines(tmp_path / BROKEN_IMAGES)) == sorted(lines)
    rows = run(replace(config, max_steps=8), tmp_path, sets, resume=True)
    assert len(rows[-1]["notes"]) == 3


def test_the_next_image_takes_the_place_of_a_broken_one(tmp_path):
    """Which one, is a function of the index alone: a resumed run sees the same."""
    listing = tmp_path / "listing"
    images = ReadableImages(BrokenBlocks(5, [0, 1, 4]), listing)
    assert [images[i].image_id for i in range(5)] == [502, 502, 502, 503, 502]
    assert len(read_lines(listing)) == 3
    with pytest.raises(BrokenImageError, match="found none of 2 images readable"):
        ReadableImages(BrokenBlocks(2, [0, 1]), listing)[0]


def test_a_list_has_each_line_once(tmp_path):
    for line in ("a", "b", "a"):
        add_line(tmp_path / "x", line)
    assert read_lines(tmp_path / "x") == ["a", "b"]
    assert read_lines(tmp_path / "nothing") == []


def test_an_error_of_a_loading_process_is_brought_down_to_its_last_line():
    text = "Caught BrokenImageError in DataLoader worker process 0.\nOriginal Traceback\n  File x\n"
    text += "pfpn.engine.batches.BrokenImageError: a: found b\n"
    assert str(BrokenImageError(text)) == "a: found b"
    assert str(BrokenImageError(str(BrokenImageError(text)))) == "a: found b"


@pytest.mark.slow
def test_a_loading_process_that_is_killed_costs_no_step(tiny, blocks, tmp_path):
    config = tiny(workers=2, save_every=100)
    run(config, tmp_path / "whole", blocks)
    mortal = MortalBlocks(5, tmp_path / "mark")
    with pytest.raises(LostWorkerError, match=r"a process that loads images has ended") as error:
        run(config, tmp_path / "cut", (mortal, blocks[1]))
    assert len(str(error.value).splitlines()) == 1
    assert "fewer data.workers" in str(error.value)
    step = load_checkpoint(tmp_path / "cut" / LAST)["step"]
    assert f"Step {step} is saved" in str(error.value)
    run(config, tmp_path / "cut", (mortal, blocks[1]), resume=True)
    assert_same_weights(tmp_path / "whole", tmp_path / "cut")


SMALL = [
    "batch_size=2", "max_steps=6", "log_every=1", "save_every=100", "eval_images=1", "device=cpu",
    "threads=1", "data.cache=false", "model.width=0.125", "model.pyramid_channels=16",
    "model.semantic_channels=16", "model.box_hidden=16", "model.mask_channels=16",
    "model.mask_convs=1",
]  # fmt: skip


@pytest.mark.parametrize("cached", [False, True])
def test_the_command_ends_with_one_line_and_code_2(cached, tmp_path, capsys):
    """The header of the image is good, and what follows is cut short."""
    streets = ToyStreet(4, size=(64, 96))
    samples = [replace(streets[i], image_id=i) for i in range(4)]
    for split in ("train", "val"):
        data = tmp_path / "data"
        write_coco_panoptic(data, split, samples, streets.categories, suffix=".jpg")
    image = data / "train" / "000000000002.jpg"
    image.write_bytes(image.read_bytes()[:-300])
    words = ["train", "toy", *SMALL, f"data.cache={cached}", f"data={data}"]
    assert main([*words, "--out", str(tmp_path / "run")]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1, err
    assert str(image) in err
    assert (tmp_path / "run" / LAST).exists() is not cached  # a cache is filled before the start
    assert main([*words, "data.skip_broken=true", "--out", str(tmp_path / "other")]) == 0
    assert str(image) in (tmp_path / "other" / BROKEN_IMAGES).read_text()


def test_every_setting_of_the_data_reaches_the_batches(tiny, blocks):
    """A longest edge that is fixed somewhere would shrink large pictures unnoticed."""
    process = Process(0, 1, torch.device("cpu"))

    def batch(**changes):
        return next(iter(training_batches(tiny(**changes), blocks[0], process, 2, 0)))

    assert batch(flip=0.0).images[0].shape == (3, 64, 96)
    assert batch(shortest_edges=(1600,), longest_edge=4096).images[0].shape == (3, 1600, 2400)
    assert batch(shortest_edges=(1600,), longest_edge=120).images[0].shape == (3, 80, 120)
    assert batch(crop=(40, 50)).images[0].shape == (3, 40, 50)
    plain, flipped = batch(flip=0.0).images[0], batch(flip=1.0).images[0]
    assert torch.equal(flipped.flip(2), plain)
    for name in ("brightness", "contrast", "saturation"):
        assert not torch.equal(batch(flip=0.0, **{name: 1.0}).images[0], plain)
    assert batch().image_ids == batch(workers=1).image_ids
    whole = [tuple(ids) for ids in batches_of(tiny(), blocks[0], 6)]
    assert whole[2:] == [tuple(ids) for ids in batches_of(tiny(), blocks[0], 4, first=2)]
    assert whole != [tuple(ids) for ids in batches_of(tiny(seed=1), blocks[0], 6)]


@pytest.mark.parametrize("changes", [{}, {"cache": True}, {"group_by_aspect": True}], ids=str)
def test_equibatch_lets_the_classes_take_turns(changes, tiny, tmp_path):
    """Of 12 images one shows a bright block. A batch of two meets four classes in two batches."""

    class RareBlocks(Blocks):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            panoptic = sample.panoptic
            if index != 7:
                kept = tuple(s for s in panoptic.segments if (s.label, s.is_thing) != (0, True))
                id_map = panoptic.id_map.masked_fill(panoptic.id_map == 3, 1)
                sample = replace(sample, panoptic=replace(panoptic, id_map=id_map, segments=kept))
            return sample

    rare = RareBlocks(12)
    plain = batches_of(tiny(**changes), rare, 24)
    equal = batches_of(tiny(equibatch=True, **changes), rare, 24)
    assert sum(507 in batch for batch in plain) == 4  # 48 images are four epochs
    assert all(507 in one + two for one, two in zip(equal[::2], equal[1::2], strict=True))
    assert batches_of(tiny(equibatch=True, **changes), rare, 4, first=3) == equal[3:7]
    broken = BrokenBlocks(5, [2])
    with pytest.raises(BrokenImageError, match=r"street2\.jpg"):
        batches_of(tiny(equibatch=True), broken, 1)


def batches_of(config, dataset, num, first=0):
    process = Process(0, 1, torch.device("cpu"))
    loading = iter(training_batches(config, dataset, process, 2, first))
    return [next(loading).image_ids for _ in range(num)]


def test_a_stop_leaves_a_due_evaluation_to_the_resumed_run(tiny, blocks, tmp_path):
    count = itertools.count(1)
    config = tiny(eval_every=2)
    rows = run(config, tmp_path, blocks, stop=lambda: next(count) >= 2)
    assert [row["kind"] for row in rows] == ["start", "train", "end"]
    rows = run(config, tmp_path, blocks, resume=True)
    assert [row["step"] for row in rows if row["kind"] == "eval"] == [2, 4, 6]
    assert [row["step"] for row in read_rows(tmp_path) if row["kind"] == "eval"] == [2, 4, 6]
