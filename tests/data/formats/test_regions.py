"""Regions become a panoptic map: later ones on top, every loss counted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfpn.data.categories import LabelMap
from pfpn.data.formats.regions import Region, compose, connected_regions, polygon_mask
from pfpn.structures import Category

LABELS = LabelMap((Category(1, "cat", is_thing=True), Category(2, "grass", is_thing=False)))
IDS = {"cat": 1, "grass": 2}


def mask(rows):
    return np.array([[c == "#" for c in row] for row in rows])


def ids(panoptic):
    return panoptic.id_map.tolist()


def test_the_later_region_lies_on_top():
    one = Region("cat", mask(["##.", "##."]))
    two = Region("cat", mask([".##", "..."]))
    panoptic, losses = compose([one, two], (2, 3), IDS, LABELS)
    assert ids(panoptic) == [[1, 2, 2], [1, 1, 0]]
    assert (losses.kept, losses.overlapped, losses.overlapped_pixels) == (2, 1, 1)
    assert [s.is_thing for s in panoptic.segments] == [True, True]


def test_by_area_the_smaller_region_lies_on_top():
    small, large = Region("cat", mask(["#..", "..."])), Region("cat", mask(["###", "###"]))
    hidden, losses = compose([small, large], (2, 3), IDS, LABELS)
    assert ids(hidden) == [[2, 2, 2], [2, 2, 2]]
    assert (losses.kept, losses.hidden) == (1, 1)
    seen, losses = compose([small, large], (2, 3), IDS, LABELS, order="area")
    assert len(seen.segments) == 2
    assert seen.id_map[0, 0] != seen.id_map[0, 1]
    assert (losses.kept, losses.hidden) == (2, 0)


def test_stuff_of_one_class_is_one_segment_and_base_regions_lie_below():
    regions = [
        Region("cat", mask(["#..", "..."])),
        Region("grass", mask(["#..", "#.."]), is_base=True),
        Region("grass", mask(["..#", "..#"]), is_base=True),
    ]
    panoptic, losses = compose(regions, (2, 3), IDS, LABELS)
    assert len(panoptic.segments) == 2
    cat, grass = panoptic.id_map[0, 0], panoptic.id_map[1, 0]
    assert cat != grass == panoptic.id_map[0, 2]
    assert losses.kept == 3


def test_ignored_classes_cover_what_is_below_and_stay_void():
    regions = [Region("cat", mask(["##"])), Region("logo", mask([".#"]))]
    panoptic, losses = compose(regions, (1, 2), IDS, LABELS)
    assert ids(panoptic) == [[1, 0]]
    assert (losses.kept, losses.ignored, losses.overlapped) == (1, 1, 1)


def test_empty_and_clipped_regions_are_counted():
    regions = [Region("cat", mask([".."])), Region("cat", mask(["#."]), outside=1)]
    panoptic, losses = compose(regions, (1, 2), IDS, LABELS)
    assert len(panoptic.segments) == 1
    assert (losses.empty, losses.clipped, losses.kept) == (1, 1, 1)
    assert str(losses) == "1 kept, 1 empty, 1 clipped at the image's border"


def test_crowds_stay_crowds():
    panoptic, _ = compose([Region("cat", mask(["#"]), is_crowd=True)], (1, 1), IDS, LABELS)
    assert panoptic.segments[0].is_crowd


@pytest.mark.parametrize(
    ("order", "size", "message"),
    [("age", (1, 1), "found 'age'"), ("file", (2, 2), "found a mask of")],
)
def test_wrong_arguments_are_refused(order, size, message):
    with pytest.raises(ValueError, match=message):
        compose([Region("cat", mask(["#"]))], size, IDS, LABELS, order=order)


def flood(left):
    """Slow and obvious: visit what touches, pixel by pixel."""
    left, parts = left.copy(), []
    for start in zip(*np.nonzero(left), strict=True):
        if not left[start]:
            continue
        part, ends = np.zeros_like(left), [start]
        left[start] = False
        while ends:
            y, x = ends.pop()
            part[y, x] = True
            for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if 0 <= v < left.shape[0] and 0 <= u < left.shape[1] and left[v, u]:
                    left[v, u] = False
                    ends.append((v, u))
        parts.append(part)
    return parts


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12), st.floats(0.2, 0.9))
def test_connected_regions_are_those_of_flooding(seed, height, width, density):
    values = np.random.default_rng(seed).random((height, width)) < density
    ours, slow = connected_regions(values), flood(values)
    assert {m.tobytes() for m in ours} == {m.tobytes() for m in slow}
    assert len(ours) == len(slow)


def test_a_square_polygon_covers_its_pixels():
    square, outside = polygon_mask([[1, 1, 4, 1, 4, 3, 1, 3]], (5, 6))
    assert square.sum() == 6
    assert square[1:3, 1:4].all()
    assert outside == 0
    assert polygon_mask([[-3, 0, 2, 0, 2, 2, -3, 2]], (5, 6))[1] == 1
    assert not polygon_mask([[0, 0, 1, 1]], (5, 6))[0].any()
    with pytest.raises(ValueError, match="no number up to"):
        polygon_mask([[0, 0, float("nan"), 1, 1, 1]], (5, 6))
