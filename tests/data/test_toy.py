"""The drawn world: the same everywhere, exact, and varied."""

from collections import Counter
from functools import cache

import numpy as np
import pytest
import torch
from PIL import Image

from pfpn.boxes import masks_to_boxes
from pfpn.cli import main
from pfpn.data.check import check
from pfpn.data.coco import CocoPanoptic
from pfpn.data.loader import TOY_SPLITS
from pfpn.data.street import view
from pfpn.data.toy import (
    MIN_PIXELS,
    MIN_STUFF_PIXELS,
    TOY_CATEGORIES,
    ToyStreet,
    draw_scene,
)
from pfpn.structures import VOID, Sample, stuff, things

THINGS, STUFF = things(TOY_CATEGORIES), stuff(TOY_CATEGORIES)


@cache
def scenes(num: int) -> list[Sample]:
    world = ToyStreet(num, seed=3)
    return [world[i] for i in range(num)]


def assert_same(a: Sample, b: Sample) -> None:
    assert torch.equal(a.image, b.image)
    assert torch.equal(a.panoptic.id_map, b.panoptic.id_map)
    assert a.panoptic.segments == b.panoptic.segments
    assert a.image_id == b.image_id


def areas(sample: Sample) -> dict[int, int]:
    ids, counts = sample.panoptic.id_map.unique(return_counts=True)
    return dict(zip(ids.tolist(), counts.tolist(), strict=True))


def test_a_scene_is_a_pure_function_of_seed_and_number():
    world = ToyStreet(6, seed=3)
    backwards = [world[i] for i in reversed(range(6))][::-1]
    for once, again in zip(scenes(6), backwards, strict=True):
        assert_same(once, again)


def test_how_many_scenes_there_are_changes_none_of_them():
    assert_same(ToyStreet(1, seed=3)[0], scenes(6)[0])
    assert_same(ToyStreet(10_000, seed=3)[4], scenes(6)[4])


def test_a_data_set_that_begins_later_shows_the_later_scenes():
    assert_same(ToyStreet(2, seed=3, first=4)[1], scenes(6)[5])


def test_global_random_state_is_neither_used_nor_moved():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    assert_same(ToyStreet(1, seed=3)[0], scenes(6)[0])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_other_numbers_and_other_seeds_show_other_scenes():
    images = [s.image for s in scenes(6)] + [ToyStreet(1, seed=4)[0].image]
    for i, image in enumerate(images):
        assert not any(torch.equal(image, other) for other in images[:i])


def test_a_negative_index_counts_from_the_end_and_others_end_the_iteration():
    world = ToyStreet(3, seed=3)
    assert_same(world[-1], world[2])
    assert len(list(world)) == len(world) == 3
    with pytest.raises(IndexError, match="found index 3"):
        world[3]


def test_truth_lists_exactly_the_ids_that_are_painted():
    for sample in scenes(40):
        painted = set(sample.panoptic.id_map.unique().tolist()) - {VOID}
        listed = [segment.id for segment in sample.panoptic.segments]
        assert painted == set(listed)
        assert len(listed) == len(set(listed))


def test_truth_has_one_segment_for_each_kind_of_stuff():
    for sample in scenes(40):
        labels = Counter(s.label for s in sample.panoptic.segments if not s.is_thing)
        assert set(labels.values()) <= {1}
        assert set(labels) <= set(range(1, len(STUFF) + 1))


def test_no_segment_is_smaller_than_the_minimum():
    for sample in scenes(40):
        area = areas(sample)
        for segment in sample.panoptic.segments:
            least = MIN_PIXELS if segment.is_thing else MIN_STUFF_PIXELS
            assert area[segment.id] >= least


def test_the_minimum_grows_with_the_image():
    sample = ToyStreet(8, seed=3, size=(256, 384))[2]
    area = areas(sample)
    assert min(area[s.id] for s in sample.panoptic.segments if s.is_thing) >= 4 * MIN_PIXELS


def test_there_are_enough_categories_of_both_kinds():
    assert 8 <= len(TOY_CATEGORIES) <= 11
    assert len(THINGS) >= 4
    assert len(STUFF) >= 4
    assert len({c.name for c in TOY_CATEGORIES}) == len({c.id for c in TOY_CATEGORIES})


def test_every_category_is_met_within_few_scenes():
    seen = {(s.is_thing, s.label) for sample in scenes(40) for s in sample.panoptic.segments}
    assert seen == {(True, i) for i in range(len(THINGS))} | {
        (False, i) for i in range(1, len(STUFF) + 1)
    }


def test_scenes_hold_several_things_on_average_and_little_void():
    counts = [sum(s.is_thing for s in sample.panoptic.segments) for sample in scenes(40)]
    assert 4 <= np.mean(counts) <= 9
    void = np.mean([(sample.panoptic.id_map == VOID).float().mean() for sample in scenes(40)])
    assert 0 < void < 0.03


def test_things_overlap_are_cut_off_and_come_small_and_large():
    overlapping, cut_off, sizes = 0, 0, []
    for sample in scenes(40):
        ids = [s.id for s in sample.panoptic.segments if s.is_thing]
        masks = torch.stack([sample.panoptic.id_map == i for i in ids]) if ids else None
        if masks is None:
            continue
        boxes = masks_to_boxes(masks)
        low = torch.maximum(boxes[:, None, :2], boxes[None, :, :2])
        high = torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
        both = ((high - low) > 2).all(dim=-1).triu(diagonal=1)
        overlapping += int(both.any())
        cut_off += int((masks[:, :, 0].any(1) | masks[:, :, -1].any(1)).any())
        sizes += masks.sum(dim=(1, 2)).tolist()
    assert overlapping >= 15
    assert cut_off >= 10
    assert np.percentile(sizes, 10) < 150  # about 8 x 16 pixels
    assert np.percentile(sizes, 90) > 800


def test_what_is_farther_is_higher_in_the_picture_and_smaller():
    """Of two people with their feet in view, mostly the one that stands lower is the larger."""
    agree, all_pairs = 0, 0
    person = next(i for i, c in enumerate(THINGS) if c.name == "person")
    for sample in scenes(80):
        people = []
        for segment in sample.panoptic.segments:
            if segment.is_thing and segment.label == person:
                rows = (sample.panoptic.id_map == segment.id).any(dim=1).nonzero()[:, 0]
                if rows[-1] < 120:
                    people.append((int(rows[-1]), int(rows[-1] - rows[0])))
        for i, (foot, height) in enumerate(people):
            for foot2, height2 in people[:i]:
                if abs(foot - foot2) > 8:
                    all_pairs += 1
                    agree += (foot - foot2) * (height - height2) > 0
    assert all_pairs >= 10
    assert agree >= 0.9 * all_pairs


def test_truth_is_drawn_where_the_thing_is(monkeypatch):
    """With every thing painted in one flat color, that color and the truth cover the same pixels.

    Only pixels that the border runs through, and those that shine, may differ.
    """
    flat = (255, 0, 255)
    original = view.View.lit

    def lit(self, color, z, shade=1.0):
        is_thing = self.canvas.drawn_id >= view.FIRST_THING
        return flat if is_thing else original(self, color, z, shade)

    monkeypatch.setattr(view.View, "lit", lit)
    monkeypatch.setattr(view.View, "shining", lambda self, color, z: lit(self, color, z))
    monkeypatch.setattr(view, "add_glow", lambda *_, **__: None)
    for number in range(8):
        sample = draw_scene(3, number)
        things_of = [s.id for s in sample.panoptic.segments if s.is_thing]
        truth = torch.isin(sample.panoptic.id_map, torch.tensor(things_of))
        red, green, blue = sample.image.to(torch.int16)
        is_flat = (red > 235) & (green < 20) & (blue > 235)
        is_void = sample.panoptic.id_map == VOID  # tiny things, lamps
        assert not (is_flat & ~truth & ~is_void).any()
        inside = truth.clone()  # without the pixels at a border
        inside[1:] &= truth[:-1]
        inside[:-1] &= truth[1:]
        inside[:, 1:] &= truth[:, :-1]
        inside[:, :-1] &= truth[:, 1:]
        rain = 80  # streaks lighten what they cross
        is_nearly_flat = (red > 175) & (green < 20 + rain) & (blue > 175)
        assert (is_nearly_flat | ~inside).float().mean() > 0.999


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (7, 5), (33, 257), (257, 33), (64, 96)])
def test_any_size_can_be_drawn(size):
    world = ToyStreet(12, seed=1, size=size)
    for sample in world:
        assert sample.image.shape == (3, *size)
        assert sample.image.dtype == torch.uint8
        assert sample.panoptic.id_map.shape == size
        assert sample.panoptic.id_map.dtype == torch.int64
        painted = set(sample.panoptic.id_map.unique().tolist()) - {VOID}
        assert painted == {s.id for s in sample.panoptic.segments}
    assert world.sizes() == [size] * 12


def test_a_larger_image_shows_the_same_scene():
    small = ToyStreet(4, seed=3, size=(64, 96))
    large = ToyStreet(4, seed=3, size=(128, 192))
    for a, b in zip(small, large, strict=True):
        shrunk = b.image.float().unflatten(1, (64, 2)).unflatten(3, (96, 2)).mean(dim=(2, 4))
        assert (shrunk - a.image.float()).abs().mean() < 12


def test_a_pixel_gets_the_majority_of_its_ids_and_in_a_tie_the_highest():
    def majority(*four: int) -> int:
        return int(view.majority_ids(np.array(four, dtype=np.uint8).reshape(2, 2))[0, 0])

    assert majority(7, 7, 7, 7) == 7
    assert majority(3, 9, 3, 3) == 3
    assert majority(9, 3, 9, 9) == 9
    assert majority(3, 3, 9, 4) == 3
    assert majority(4, 9, 9, 3) == 9
    assert majority(4, 4, 9, 3) == 4
    assert majority(3, 9, 3, 9) == 9
    assert majority(1, 2, 3, 4) == 4


def test_the_majority_agrees_with_counting():
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 5, (40, 60), dtype=np.uint8)
    result = view.majority_ids(ids)
    for row in range(20):
        for column in range(30):
            four = ids[2 * row : 2 * row + 2, 2 * column : 2 * column + 2].ravel().tolist()
            counts = Counter(four)
            most = max(counts.values())
            assert result[row, column] == max(i for i, n in counts.items() if n == most)


def test_on_disk_and_on_the_fly_are_the_same(tmp_path):
    arguments = ["toy", str(tmp_path / "a"), "--num", "3", "--val", "2", "--seed", "5"]
    assert main([*arguments, "--size", "48x64"]) == 0
    for split, num in (("train", 3), ("val", 2)):
        on_disk = CocoPanoptic(tmp_path / "a", split)
        drawn = ToyStreet(num, 5, (48, 64), first=TOY_SPLITS[split])
        assert tuple(on_disk.categories) == tuple(drawn.categories)
        for a, b in zip(on_disk, drawn, strict=True):
            assert_same(a, b)
        assert not check(tmp_path / "a", split)
    with Image.open(tmp_path / "a/train/000000000000.png") as image:
        assert image.size == (64, 48)


def test_splits_share_no_scene(tmp_path):
    train, val = ToyStreet(2, 5, (24, 32)), ToyStreet(2, 5, (24, 32), first=TOY_SPLITS["val"])
    assert not any(torch.equal(a.image, b.image) for a in train for b in val)


def test_a_folder_with_something_else_in_it_is_not_changed(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("precious")
    assert main(["toy", str(tmp_path), "--num", "1"]) == 2
    assert "'thesis.txt'" in capsys.readouterr().err
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_written_split_is_not_overwritten_but_another_one_can_join(tmp_path, capsys):
    small = ["--size", "16x24", "--num", "1"]
    assert main(["toy", str(tmp_path), *small]) == 0
    before = (tmp_path / "annotations/panoptic_train.json").read_bytes()
    assert main(["toy", str(tmp_path), *small, "--seed", "9"]) == 2
    assert "found a data set" in capsys.readouterr().err
    assert (tmp_path / "annotations/panoptic_train.json").read_bytes() == before
    assert main(["toy", str(tmp_path), *small, "--split", "test"]) == 0
    assert len(CocoPanoptic(tmp_path, "test")) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--num", "0"], "expected 1 or more"),
        (["--split", "holdout"], "holdout"),
        (["--split", "val", "--val", "2"], "expected one of the two"),
        (["--seed", "-1"], "seed -1"),
    ],
)
def test_the_command_reports_bad_input_in_one_line(tmp_path, capsys, arguments, said):
    assert main(["toy", str(tmp_path / "a"), "--num", "1", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("text", ["128", "x", "0x5", "12x-3", "axb"])
def test_an_invalid_size_is_refused(tmp_path, capsys, text):
    with pytest.raises(SystemExit) as stop:
        main(["toy", str(tmp_path / "a"), "--size", text])
    assert stop.value.code == 2
    assert "HEIGHTxWIDTH" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [{"num": -1}, {"seed": -2}, {"size": (0, 5)}, {"first": -3}, {"size": (4,)}]
)
@pytest.mark.usefixtures("unchecked")
def test_invalid_arguments_of_the_world_are_refused(arguments):
    with pytest.raises(ValueError, match="ToyStreet: found"):
        ToyStreet(**({"num": 1} | arguments))
