"""What would fail after hours is reported before the first step, all of it at once."""

from dataclasses import replace

import pytest
import torch

from pfpn.engine.checkpoint import LAST
from pfpn.engine.distributed import Process
from pfpn.engine.evaluate import category_differences
from pfpn.engine.preflight import (
    class_problems,
    file_problems,
    images_per_part,
    worker_problems,
)
from pfpn.engine.train import train
from pfpn.structures import Category
from tests.engine.conftest import Blocks


def begin(config, out, datasets):
    """Run to the first row: nothing is learned yet."""
    return next(train(config, out, datasets=datasets))


class WithProblems(Blocks):
    def __init__(self, num, problems):
        super().__init__(num)
        self.found = problems

    def problems(self, progress=None):
        if progress:
            progress(1, 1)
        return self.found


def test_a_class_that_the_validation_data_lack_is_reported_at_the_start(tiny, blocks, tmp_path):
    """An evaluation would find it, after hours."""
    val = Blocks(2)
    val.categories = Blocks.categories[:3]
    expected = "validation data: found 1 thing classes, expected 2; not among them: dark"
    with pytest.raises(ValueError, match=expected):
        begin(tiny(), tmp_path, (blocks[0], val))
    assert not (tmp_path / LAST).exists()


def test_everything_that_is_wrong_is_listed_at_once(tiny, tmp_path):
    train_set = WithProblems(5, [f"image {i} is missing" for i in range(25)])
    val = WithProblems(0, ["val.png: a broken header"])
    with pytest.raises(ValueError, match=r"found 24 problems") as error:
        begin(tiny(accumulate=3), tmp_path, (train_set, val))
    lines = str(error.value).splitlines()
    assert len(lines) == 25
    assert lines[1].startswith("  batch_size=2: ")
    assert lines[2].startswith("  validation data: found 0 images")
    assert lines[3] == "  image 0 is missing"
    assert lines[-2] == "  ... and 5 more: `pfpn check` lists them all"
    assert lines[-1] == "  val.png: a broken header"


def test_files_are_not_looked_at_where_broken_ones_are_left_out_anyway(tiny):
    sets = WithProblems(5, ["a"]), WithProblems(2, ["b"])
    assert file_problems(tiny(), sets) == ["a", "b"]
    assert file_problems(tiny(skip_broken=True), sets) == []


def test_progress_is_reported_while_files_are_looked_at(tiny, tmp_path):
    seen = []
    sets = WithProblems(5, []), WithProblems(2, [])
    next(train(tiny(), tmp_path, datasets=sets, progress=lambda *numbers: seen.append(numbers)))
    assert seen == [(1, 1)] * 2


def test_hundreds_of_loading_processes_are_refused_at_the_start(tiny, monkeypatch, tmp_path):
    monkeypatch.setattr("pfpn.engine.preflight.usable_cores", lambda: 2)
    for num, fits in ((0, True), (4, True), (32, True), (33, False), (1000, False)):
        config = tiny()
        config = replace(config, data=replace(config.data, workers=num))
        assert (worker_problems(config) == []) is fits
    with pytest.raises(ValueError, match=r"data.workers=1000: found 2 .*Try data.workers=2"):
        begin(config, tmp_path, (Blocks(2), Blocks(2)))
    monkeypatch.setattr("pfpn.engine.preflight.usable_cores", lambda: 250)
    assert worker_problems(config) == []


def test_more_classes_than_a_label_map_can_tell_apart_are_refused(tiny):
    """Label 255 stands for ignored pixels."""
    many = Blocks(1)
    for num, fits in ((254, True), (255, False)):
        things = (Category(1, "car", True),)
        many.categories = things + tuple(Category(2 + i, f"{i}", False) for i in range(num))
        problems = class_problems(tiny(), (many, many))
        assert (problems == []) is fits
        if not fits:
            assert "found 255 stuff classes, expected at most 254" in problems[0]


@pytest.mark.parametrize(
    ("world", "accumulate", "expected"), [(1, 1, 12), (2, 3, 2), (3, 4, 1), (5, 1, 0), (24, 1, 0)]
)
def test_a_batch_is_divided_evenly_or_not_at_all(world, accumulate, expected, tiny):
    config = tiny(batch_size=12, accumulate=accumulate)
    assert images_per_part(config, Process(0, world, torch.device("cpu"))) == expected


def test_categories_may_be_renamed_or_renumbered_but_not_exchanged():
    ours = Blocks.categories
    sky, bright, ground, dark = ours
    assert category_differences(ours, ours, strict=True) == []
    renamed = [replace(c, name=f"{c.name} too") for c in ours]
    renumbered = [replace(c, id=c.id + 100) for c in ours]
    assert category_differences(ours, renamed) == category_differences(ours, renumbered) == []
    assert len(category_differences(ours, renamed, strict=True)) == 4
    assert len(category_differences(ours, renumbered, strict=True)) == 4
    exchanged = [sky, replace(bright, name="dark"), ground, replace(dark, name="bright")]
    assert len(category_differences(ours, exchanged)) == 2
    assert category_differences(ours, ours[:3])[0].endswith("not among them: dark")
