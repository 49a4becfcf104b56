import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.merge import merge_pixel_by_pixel

from pfpn.merge import STRIP, fill_stuff, merge, paste_instances, segments_from_labels
from pfpn.paste import tight_window
from pfpn.structures import IGNORE, VOID, Panoptic, Segment, Window

FIGURES = Path(__file__).parent / "data_files" / "detectron2"


def row(text: str) -> torch.Tensor:
    """'..##' -> a mask of one row."""
    return torch.tensor([[c == "#" for c in text]])


def rows(*texts: str) -> torch.Tensor:
    return torch.stack([row(text) for text in texts])


def kinds(panoptic: Panoptic) -> list[tuple[int, int, bool]]:
    return [(segment.id, segment.label, segment.is_thing) for segment in panoptic.segments]


def merge_row(*instances: tuple[float, str], stuff: str, **options) -> list[int]:
    """Merge masks and stuff labels drawn as text; return the labels per pixel, things as -1 - i."""
    masks = rows(*[text for _, text in instances])
    scores = torch.tensor([score for score, _ in instances])
    label_map = torch.tensor([[int(c) for c in stuff]])
    options = {"min_stuff_area": 1} | options
    panoptic = merge(masks, scores, torch.arange(len(masks)), label_map, **options)
    shown = {s.id: -1 - s.label if s.is_thing else s.label for s in panoptic.segments}
    return [shown.get(i, 0) for i in panoptic.id_map[0].tolist()]


# -- the paper's rules, by hand


def test_the_higher_score_wins_a_contested_pixel():
    assert merge_row((0.6, "###.."), (0.9, "..###"), stuff="00000") == [-1, -1, -2, -2, -2]


def test_instances_win_over_stuff_and_stuff_takes_the_rest():
    assert merge_row((0.6, ".##.."), stuff="33331") == [3, -1, -1, 3, 1]


def test_other_never_becomes_a_segment():
    assert merge_row((0.6, ".#..."), stuff="00002") == [0, -1, 0, 0, 2]


def test_a_score_of_exactly_the_minimum_stays_and_one_below_goes():
    below = float(np.nextafter(np.float32(0.5), np.float32(0)))
    assert merge_row((0.5, "#.."), (below, "..#"), stuff="000") == [-1, 0, 0]


def test_losing_exactly_half_stays_and_losing_more_goes():
    half = (0.9, "##.."), (0.8, ".##.")
    assert merge_row(*half, stuff="0000") == [-1, -1, -2, 0]
    more = (0.9, "##.."), (0.8, "###.")
    assert merge_row(*more, stuff="0000") == [-1, -1, 0, 0]


def test_a_loss_is_counted_against_the_whole_mask_and_over_all_better_instances():
    # The third loses one pixel to each of the first two: 2 of 4 is allowed, 2 of 3 is not.
    assert merge_row((0.9, "#....."), (0.8, ".#...."), (0.7, "####.."), stuff="000000")[3] == -3
    assert merge_row((0.9, "#....."), (0.8, ".#...."), (0.7, "###..."), stuff="000000")[2] == 0


def test_a_dropped_instance_leaves_its_pixels_to_the_next():
    contested = (0.9, "##..."), (0.8, "###.."), (0.7, "..###")
    assert merge_row(*contested, stuff="00000") == [-1, -1, -3, -3, -3]


def test_empty_and_fully_hidden_masks_get_no_id():
    hidden = (0.9, "##."), (0.8, "..."), (0.7, "##."), (0.6, "..#")
    assert merge_row(*hidden, stuff="000", max_overlap=1.0) == [-1, -1, -4]
    id_map, segments = paste_instances(
        rows("##.", "...", "##.", "..#"),
        torch.tensor([0.9, 0.8, 0.7, 0.6]),
        torch.tensor([0, 1, 2, 3]),
        (1, 3),
        max_overlap=1.0,
    )
    assert id_map.tolist() == [[1, 1, 2]]
    assert [(s.id, s.label) for s in segments] == [(1, 0), (2, 3)]


def test_equal_scores_keep_their_order():
    n = 200  # an unstable sort can keep short lists in order by chance
    masks = torch.ones((n, 1, 1), dtype=torch.bool)
    scores = torch.full((n,), 0.75)
    scores[n // 2] = 0.5
    _, segments = paste_instances(masks, scores, torch.arange(n), (1, 1))
    assert [s.label for s in segments] == [0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_exactly_the_lowest_score_stays_whatever_the_threshold(dtype):
    """0.7 as float32 is below 0.7 as Python's float; each is compared in the scores' precision."""
    mask, label = rows("#"), torch.tensor([0])
    for hundredths in range(1, 100):
        threshold = hundredths / 100
        score = torch.tensor([threshold], dtype=dtype)
        below = torch.nextafter(score, torch.zeros_like(score))
        for value, expected in ((score, 1), (below, 0)):
            _, segments = paste_instances(mask, value, label, (1, 1), min_score=threshold)
            assert len(segments) == expected, threshold


def test_labels_of_any_integer_type_are_filled():
    labels = torch.tensor([[1, 1, 2], [0, 2, IGNORE]])
    void = torch.zeros_like(labels)
    expected = fill_stuff(void, labels, [], min_area=1)
    assert expected.id_map.tolist() == [[1, 1, 2], [0, 2, 0]]
    for dtype in (torch.int16, torch.int32):
        assert torch.equal(
            fill_stuff(void, labels.to(dtype), [], min_area=1).id_map, expected.id_map
        )


def test_a_label_map_of_32_bits_is_left_as_it_was():
    labels = torch.tensor([[1, 2]], dtype=torch.int32)
    fill_stuff(torch.tensor([[7, 0]]), labels, [Segment(7, 0, is_thing=True)], min_area=1)
    assert labels.tolist() == [[1, 2]]


def test_stuff_that_is_any_surer_keeps_its_pixel_by_default():
    stuff = torch.tensor([[0.5, 0.75, 0.0]])
    id_map, _ = paste_instances(
        rows("###"), torch.tensor([0.5]), torch.tensor([0]), (1, 3), stuff_probs=stuff
    )
    assert id_map.tolist() == [[1, 0, 1]]


def test_without_things_every_label_is_stuff():
    panoptic = segments_from_labels(torch.tensor([[0, 1]]))
    assert [(s.label, s.is_thing) for s in panoptic.segments] == [(1, False), (2, False)]


def test_stuff_is_filled_alike_across_strips(rng):
    """The map is taller than one strip, and its last strip is shorter than the others."""
    size = (2 * STRIP + 7, 11)
    labels = torch.randint(0, 5, size, generator=rng)
    claimed = torch.randint(0, 2, size, generator=rng)
    segments = [Segment(1, 0, is_thing=True)]
    before = claimed.clone(), labels.clone()
    filled = fill_stuff(claimed, labels, segments, min_area=1).id_map
    assert torch.equal(filled, torch.where((claimed == 1) | (labels == 0), claimed, 1 + labels))
    assert torch.equal(claimed, before[0])
    assert torch.equal(labels, before[1])


def test_segments_carry_their_score_and_stuff_has_one():
    panoptic = merge(
        rows("##..", "..#."),
        torch.tensor([0.5, 0.75]),
        torch.tensor([7, 3]),
        torch.tensor([[2, 2, 2, 2]]),
        min_stuff_area=1,
    )
    assert panoptic.segments == (
        Segment(1, 3, True, 0.75),
        Segment(2, 7, True, 0.5),
        Segment(3, 2, False, 1.0),
    )


def test_stuff_of_exactly_the_smallest_area_stays_and_one_pixel_less_is_void():
    assert merge_row((0.9, "##...."), stuff="112221", min_stuff_area=3) == [-1, -1, 2, 2, 2, 0]
    assert merge_row((0.9, "##...."), stuff="112221", min_stuff_area=4) == [-1, -1, 0, 0, 0, 0]


def test_stuff_is_numbered_by_ascending_label_after_the_things():
    panoptic = merge(
        rows("#....."),
        torch.tensor([0.9]),
        torch.tensor([5]),
        torch.tensor([[0, 9, 4, 9, 4, 1]]),
        min_stuff_area=1,
    )
    assert kinds(panoptic) == [(1, 5, True), (2, 1, False), (3, 4, False), (4, 9, False)]
    assert panoptic.id_map.tolist() == [[1, 4, 3, 4, 3, 2]]
    assert panoptic.id_map.dtype == torch.int64


def test_pixels_to_ignore_stay_void():
    label_map = torch.tensor([[IGNORE, 1, IGNORE]])
    panoptic = fill_stuff(torch.zeros((1, 3), dtype=torch.int64), label_map, [], min_area=1)
    assert panoptic.id_map.tolist() == [[VOID, 1, VOID]]


def test_fill_stuff_leaves_its_inputs_alone_and_continues_their_ids():
    id_map = torch.tensor([[8, 0, 0]])
    segments = [Segment(8, 0, True)]
    panoptic = fill_stuff(id_map, torch.tensor([[2, 2, 2]]), segments, min_area=1)
    assert panoptic.id_map.tolist() == [[8, 9, 9]]
    assert id_map.tolist() == [[8, 0, 0]]
    assert len(segments) == 1


# -- the softer rule, by hand


def soft(confidence: list[float], *instances: tuple[float, str], stuff: str, **options):
    return merge_row(
        *instances, stuff=stuff, stuff_confidence=torch.tensor([confidence]), **options
    )


def test_softer_surer_stuff_wins_and_a_tie_goes_to_the_instance():
    assert soft([0.25, 0.5, 0.75, 0.5], (0.5, "####"), stuff="1111") == [-1, -1, 1, -1]


def test_softer_within_the_margin_the_instance_wins():
    confidence = [0.75, 0.875, 0.625, 1.0]
    assert soft(confidence, (0.5, "####"), stuff="1111", margin=0.25) == [-1, 1, -1, 1]


def test_softer_other_and_ignored_pixels_never_win():
    masks, score, label = rows("###"), torch.tensor([0.5]), torch.tensor([0])
    panoptic = merge(
        masks,
        score,
        label,
        torch.tensor([[0, IGNORE, 0]]),
        stuff_confidence=torch.ones(1, 3),
    )
    assert panoptic.id_map.tolist() == [[1, 1, 1]]


def test_softer_an_instance_that_loses_more_than_half_to_stuff_is_dropped_whole():
    assert soft([0.9, 0.9, 0.0, 0.0], (0.5, "####"), stuff="1122") == [1, 1, -1, -1]
    assert soft([0.9, 0.9, 0.9, 0.0], (0.5, "####"), stuff="1122") == [1, 1, 2, 2]


def test_softer_losses_to_instances_and_to_stuff_add_up():
    confidence = [0.0, 0.9, 0.0, 0.0]
    losing = (0.95, "#..."), (0.5, "####")
    assert soft(confidence, *losing, stuff="1111") == [-1, 1, -2, -2]
    losing = (0.95, "#..."), (0.5, "###.")
    assert soft(confidence, *losing, stuff="1111") == [-1, 1, 1, 1]


def test_softer_a_pixel_that_stuff_won_is_not_claimed_by_a_later_instance():
    confidence = [0.0, 0.9, 0.0, 0.0]
    claims = (0.75, "###."), (0.5, ".#.#")
    assert soft(confidence, *claims, stuff="1111") == [-1, 1, -1, -2]


# -- reference figures


def reference_options() -> dict[str, float]:
    """What detectron2's published configurations merge with: our defaults, spelled out."""
    return {"min_score": 0.5, "max_overlap": 0.5, "min_stuff_area": 4096}


def assert_same_as_reference(panoptic: Panoptic, id_map: np.ndarray, info: str) -> None:
    assert torch.equal(panoptic.id_map, torch.from_numpy(id_map.astype(np.int64)))
    expected = json.loads(info)
    assert kinds(panoptic) == [(s["id"], s["category_id"], s["isthing"]) for s in expected]
    for segment, stored in zip(panoptic.segments, expected, strict=True):
        if segment.is_thing:
            assert segment.score == stored["score"]
        else:
            assert (panoptic.id_map == segment.id).sum() == stored["area"]


@pytest.mark.parity
def test_the_reference_fixture_with_every_border():
    units = np.load(FIGURES / "units.npz")
    panoptic = merge(
        torch.from_numpy(units["merge_masks"]),
        torch.from_numpy(units["merge_scores"]),
        torch.from_numpy(units["merge_classes"]),
        torch.from_numpy(units["merge_sem"].astype(np.int64)),
    )
    assert [s.label for s in panoptic.segments] == [0, 11, 5, 79, 7]
    assert_same_as_reference(panoptic, units["merge_panoptic"], str(units["merge_segments"]))


def check_figures(path: Path) -> None:
    figures = np.load(path)
    n, height, width = figures["det_masks.shape"].tolist()
    bits = np.unpackbits(figures["det_masks.bits"], count=n * height * width)
    masks = torch.from_numpy(bits.reshape(n, height, width).astype(bool))
    found = (
        torch.from_numpy(figures["det_scores"]),
        torch.from_numpy(figures["det_classes"]),
        torch.from_numpy(figures["sem_argmax"].astype(np.int64)),
    )
    for given_as in (masks, [tight_window(mask) for mask in masks]):
        panoptic = merge(given_as, *found, **reference_options())
        assert_same_as_reference(panoptic, figures["panoptic"], str(figures["segments_info"]))


@pytest.mark.parity
def test_merging_equals_detectron2_on_a_synthetic_picture():
    check_figures(FIGURES / "infer_s192.npz")


@pytest.mark.parity
@pytest.mark.parametrize("case", ["a256", "b256"])
def test_merging_equals_detectron2_on_photographs(shared, case):
    check_figures(shared / "oracle" / "detectron2" / f"infer_{case}.npz")


# -- properties


@st.composite
def scenes(draw):
    """Random masks, scores with ties, label maps with other and ignore, confidences with ties."""
    n = draw(st.integers(0, 8))
    size = (draw(st.integers(1, 9)), draw(st.integers(1, 9)))
    rng = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    density = torch.rand(n, 1, 1, generator=rng)
    masks = torch.rand(n, *size, generator=rng) < density
    scores = torch.randint(0, 9, (n,), generator=rng) / 8  # eighths are exact: ties and borders
    labels = torch.randint(0, 5, (n,), generator=rng)
    choices = torch.tensor([0, 1, 2, 3, 254, IGNORE])
    label_map = choices[torch.randint(0, len(choices), size, generator=rng)]
    confidence = torch.randint(0, 9, size, generator=rng) / 8
    options = {
        "min_score": draw(st.sampled_from([0.0, 0.25, 0.5])),
        "max_overlap": draw(st.sampled_from([0.0, 0.25, 0.5, 1.0])),
        "min_stuff_area": draw(st.integers(0, 6)),
    }
    if draw(st.booleans()):
        options["stuff_confidence"] = confidence
        options["margin"] = draw(st.sampled_from([0.0, 0.125, 0.5]))
    return masks, scores, labels, label_map, options


@settings(deadline=None, max_examples=300)
@given(scenes())
def test_merging_equals_the_rules_applied_pixel_by_pixel(scene):
    masks, scores, labels, label_map, options = scene
    expected, segments = merge_pixel_by_pixel(
        masks, scores.tolist(), labels.tolist(), label_map, **options
    )
    panoptic = merge(masks, scores, labels, label_map, **options)
    assert torch.equal(panoptic.id_map, expected)
    assert kinds(panoptic) == segments


@settings(deadline=None, max_examples=50)
@given(scenes())
def test_every_segment_has_a_pixel_and_every_pixel_is_of_a_segment_or_void(scene):
    masks, scores, labels, label_map, options = scene
    panoptic = merge(masks, scores, labels, label_map, **options)
    ids = [segment.id for segment in panoptic.segments]
    assert ids == list(range(1, len(ids) + 1))
    assert set(panoptic.id_map.unique().tolist()) - {VOID} == set(ids)


@settings(deadline=None, max_examples=50)
@given(scenes(), st.randoms())
def test_the_order_of_instances_with_different_scores_does_not_matter(scene, random):
    masks, _, labels, label_map, options = scene
    scores = torch.linspace(0.4, 0.9, len(masks))
    order = torch.tensor(random.sample(range(len(masks)), len(masks)), dtype=torch.int64)
    panoptic = merge(masks, scores, labels, label_map, **options)
    shuffled = merge(masks[order], scores[order], labels[order], label_map, **options)
    assert torch.equal(panoptic.id_map, shuffled.id_map)
    assert panoptic.segments == shuffled.segments


def test_a_margin_of_one_is_the_papers_rule(rng):
    masks = torch.rand(6, 12, 13, generator=rng) < 0.3
    scores, labels = torch.rand(6, generator=rng), torch.arange(6)
    label_map = torch.randint(0, 4, (12, 13), generator=rng)
    sure = torch.rand(12, 13, generator=rng)
    options = {"min_stuff_area": 5}
    hard = merge(masks, scores, labels, label_map, **options)
    soft = merge(masks, scores, labels, label_map, stuff_confidence=sure, margin=1.0, **options)
    assert torch.equal(hard.id_map, soft.id_map)
    assert hard.segments == soft.segments
    softer = merge(masks, scores, labels, label_map, stuff_confidence=sure, **options)
    assert not torch.equal(hard.id_map, softer.id_map)


# -- nothing there


def test_no_instance_and_no_stuff_is_all_void():
    none = torch.zeros((0, 3, 4), dtype=torch.bool)
    label_map = torch.zeros((3, 4), dtype=torch.int64)
    panoptic = merge(none, torch.zeros(0), torch.zeros(0, dtype=torch.int64), label_map)
    assert panoptic.segments == ()
    assert torch.equal(panoptic.id_map, torch.full((3, 4), VOID))
    panoptic = merge([], torch.zeros(0), torch.zeros(0, dtype=torch.int64), label_map)
    assert panoptic.segments == ()


def test_an_image_of_one_pixel():
    assert merge_row((0.9, "#"), stuff="1") == [-1]
    assert merge_row((0.4, "#"), stuff="1") == [1]


def test_masks_and_inputs_are_not_changed(rng):
    masks = torch.rand(4, 8, 8, generator=rng) < 0.5
    label_map = torch.randint(0, 3, (8, 8), generator=rng)
    before = masks.clone(), label_map.clone()
    options = {"stuff_confidence": torch.rand(8, 8, generator=rng), "min_stuff_area": 1}
    merge(masks, torch.full((4,), 0.7), torch.arange(4), label_map, **options)
    assert torch.equal(masks, before[0])
    assert torch.equal(label_map, before[1])


# -- semantic labels alone


def test_segments_from_labels_separate_things_and_stuff():
    # Two things (labels 0, 1), then stuff: 2 is stuff label 1, 4 is stuff label 3.
    panoptic = segments_from_labels(torch.tensor([[1, 1, 4], [2, IGNORE, 0]]), num_things=2)
    assert kinds(panoptic) == [(1, 0, True), (2, 1, True), (3, 1, False), (4, 3, False)]
    assert panoptic.id_map.tolist() == [[2, 2, 4], [3, VOID, 1]]


def test_segments_from_labels_drop_small_regions_of_either_kind():
    label_map = torch.tensor([[0, 1, 1], [2, 3, 3]])
    panoptic = segments_from_labels(label_map, num_things=2, min_area=2)
    assert kinds(panoptic) == [(1, 1, True), (2, 2, False)]
    assert panoptic.id_map.tolist() == [[0, 1, 1], [0, 2, 2]]


# -- refused


def test_lists_of_different_lengths_are_refused():
    windows = [tight_window(mask) for mask in rows("#.", ".#")]
    with pytest.raises(ValueError, match="found 2 masks, 1 scores"):
        paste_instances(windows, torch.tensor([0.9]), torch.tensor([0]), (1, 2))


@pytest.mark.parametrize("place", [(0, 2), (0, -1), (-1, 0), (1, 0)])
def test_a_window_that_leaves_the_image_is_refused(place):
    window = Window(*place, row("##"))
    with pytest.raises(ValueError, match=r"expected one inside \(1, 3\)"):
        paste_instances([window], torch.tensor([0.9]), torch.tensor([0]), (1, 3))


def test_full_masks_of_another_size_than_the_map_are_refused():
    with pytest.raises(ValueError, match="in the label map"):
        paste_instances(rows("##"), torch.tensor([0.9]), torch.tensor([0]), (1, 3))
