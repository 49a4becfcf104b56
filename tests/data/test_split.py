"""A data set is divided by class and by group; nothing is lost and nothing is on both sides."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfpn.data.split import choose_groups, divide, subset

NAMES = [f"clip{i // 5}_{i % 5}.png" for i in range(40)]


def counts(seed, images=40, classes=4):
    rng = np.random.default_rng(seed)
    return rng.poisson([3, 1, 0.5, 0.2][:classes], size=(images, classes)).astype(float)


def test_each_class_has_its_part_in_validation():
    for seed in range(10):
        division = divide(NAMES, list("abcd"), counts(seed), val=0.25, seed=seed)
        assert 8 <= sum(division.is_val) <= 12
        for name, train, val in division.table:
            assert abs(val / (train + val) - 0.25) < 0.12, name


def test_it_is_better_balanced_than_chance():
    """The mean distance from the aim is at most half of that of random divisions."""

    def distance(is_val, c):
        return np.abs(c[is_val].sum(axis=0) / c.sum(axis=0) - 0.2).mean()

    ours, random = [], []
    for seed in range(20):
        c = counts(seed)
        ours.append(distance(np.array(divide(NAMES, "abcd", c, val=0.2, seed=seed).is_val), c))
        order = np.random.default_rng(seed).permutation(40)
        random.append(distance(order < 8, c))
    assert np.mean(ours) < 0.5 * np.mean(random)


def test_the_frames_of_a_clip_stay_together():
    division = divide(NAMES, "abcd", counts(1), val=0.25, group=r"(clip\d+)_")
    sides = {}
    for group, is_val in zip(division.groups, division.is_val, strict=True):
        sides.setdefault(group, set()).add(is_val)
    assert len(sides) == 8
    assert all(len(side) == 1 for side in sides.values())
    assert sum(True in side for side in sides.values()) == 2


def test_the_same_seed_gives_the_same_division_and_another_a_different_one():
    first = divide(NAMES, "abcd", counts(2), val=0.3, seed=4)
    assert divide(NAMES, "abcd", counts(2), val=0.3, seed=4) == first
    equal = np.ones((40, 2))
    ways = {tuple(divide(NAMES, "ab", equal, val=0.3, seed=s).is_val) for s in range(5)}
    assert len(ways) > 1


@given(st.integers(0, 2**32 - 1), st.integers(2, 15), st.integers(1, 5), st.floats(0.01, 0.99))
def test_both_sides_have_a_group_and_lone_classes_are_trained(seed, groups, classes, val):
    c = np.random.default_rng(seed).poisson(0.6, size=(groups, classes)).astype(float)
    c = np.concatenate([c, np.ones((groups, 1))], axis=1)
    chosen = choose_groups(c, val, seed)
    assert 0 < chosen.sum() < groups
    only_one = (c > 0).sum(axis=0) == 1
    alone = (c[:, only_one] > 0).any(axis=1)
    if not alone.all():
        assert not (chosen & alone).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val": 0.0}, "found 0.0"),
        ({"val": 1}, "found 1"),
        ({"val": 0.5, "group": "("}, "expected a regular expression"),
        ({"val": 0.5, "group": "x"}, "found no match of 'x' in 'clip0_0.png'"),
        ({"val": 0.5, "group": "clip"}, "found 1 group in 40 images"),
    ],
)
def test_what_cannot_be_divided_is_refused(options, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        divide(NAMES, "abcd", counts(0), **options)


def test_a_subset_holds_its_images_and_their_folders():
    content = {
        "images": [{"id": 1}, {"id": 2}],
        "annotations": [{"image_id": 2}, {"image_id": 1}],
        "categories": ["all"],
    }
    folders = {"images": "train", "truth": "annotations/panoptic_train"}
    part = subset(content, [True, False], folders)
    assert part == {
        "images": [{"id": 2}],
        "annotations": [{"image_id": 2}],
        "categories": ["all"],
        "folders": folders,
    }
