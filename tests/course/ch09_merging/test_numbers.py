"""Claims, stages, conflicts, sweeps and both rules, against the package and by hand."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from pfpn.course import find
from pfpn.course.ch09_merging import numbers
from pfpn.data.toy import TOY_CATEGORIES, ToyStreet
from pfpn.data.transforms import to_label_map
from pfpn.merge import OTHER, VOID, paste_instances
from pfpn.paste import tight_window
from pfpn.predict import PredictConfig
from pfpn.structures import IGNORE, Detections, things
from tests.factories import random_instances

CONFIG = PredictConfig(shortest_edge=0, min_stuff_area=64)
SIZE = (128, 192)


@pytest.mark.parametrize("softer", [False, True])
@pytest.mark.parametrize("max_overlap", [0.0, 0.3, 1.0])
def test_the_traced_claims_are_those_of_the_package(street, softer, max_overlap):
    config = replace(CONFIG, min_score=0.2, max_overlap=max_overlap, softer=softer)
    for candidates in street:
        kept = [c for c in numbers.trace_claims(candidates, config) if c.outcome == "kept"]
        merged = [s for s in candidates.merge(config).segments if s.is_thing]
        assert [(c.label, pytest.approx(c.score)) for c in kept] == [
            (s.label, s.score) for s in merged
        ]


def test_every_instance_has_one_claim_and_fractions_that_fit(street):
    for candidates in street:
        claims = numbers.trace_claims(candidates, replace(CONFIG, softer=True))
        assert sorted(c.index for c in claims) == list(range(len(candidates.scores)))
        assert [c.score for c in claims] == sorted((c.score for c in claims), reverse=True)
        assert all(0 <= c.hidden + c.left_to_stuff <= 1 for c in claims)


def test_a_score_of_exactly_the_lowest_is_kept(street):
    config = replace(CONFIG, min_score=0.7)  # as float32 it is below 0.7
    only = replace(street[0], scores=torch.full_like(street[0].scores, 0.1))
    only.scores[2] = 0.7
    kept = [c.index for c in numbers.trace_claims(only, config) if c.outcome == "kept"]
    assert kept == [2]
    assert sum(s.is_thing for s in only.merge(config).segments) == 1


def test_an_empty_mask_is_called_empty(street):
    candidates = street[0]
    masks = candidates.masks()
    masks[0] = False
    emptied = replace(candidates, windows=[tight_window(mask) for mask in masks])
    by_index = {c.index: c.outcome for c in numbers.trace_claims(emptied, CONFIG)}
    assert by_index[0] == "empty"


def test_the_last_stage_is_the_merged_map(street):
    for candidates in street:
        stages = numbers.merge_stages(candidates, CONFIG)
        assert torch.equal(stages[-1][1].id_map, candidates.merge(CONFIG).id_map)
        assert stages[-1][1].segments == candidates.merge(CONFIG).segments


def test_conflicts_are_counted_where_they_are(street):
    candidates = street[0]
    masks = torch.zeros((2, *SIZE), dtype=torch.bool)
    masks[0, :10, :10] = masks[1, :10, 5:15] = True
    labels = torch.full(SIZE, 1)
    labels[:10, :13] = OTHER
    labels[100:] = OTHER
    made = replace(
        candidates,
        windows=[tight_window(mask) for mask in masks],
        scores=torch.tensor([0.9, 0.6]),
        labels=torch.tensor([0, 1]),
        label_map=labels,
    )
    conflicts = numbers.conflict_map(made, 0.5)
    counts = [int((conflicts == kind).sum()) for kind in range(4)]
    assert counts[numbers.TWICE] == 50
    assert counts[numbers.AGAINST_STUFF] == 20  # columns 13 and 14
    assert counts[numbers.UNCLAIMED] == 28 * 192 + 0
    one = numbers.conflict_map(made, 0.7)
    assert not (one == numbers.TWICE).any()


def test_a_sweep_changes_one_threshold(street):
    results = numbers.sweep(street, TOY_CATEGORIES, CONFIG, "min_score", [0.1, 0.9])
    expected = numbers.quality_of(street, TOY_CATEGORIES, replace(CONFIG, min_score=0.9))
    assert results[1] == expected
    assert results[0] != results[1]


def test_changed_pixels_are_corrected_spoiled_or_still_wrong(street):
    config = replace(CONFIG, min_score=0.2)
    num_things = len(things(TOY_CATEGORIES))
    for candidates in street:
        kinds = numbers.compare_rules(candidates, config, TOY_CATEGORIES)
        truth, paper, softer = (
            to_label_map(panoptic, num_things, all_classes=True)
            for panoptic in (
                candidates.sample.panoptic,
                candidates.merge(config),
                candidates.merge(replace(config, softer=True)),
            )
        )
        assert (softer == truth)[kinds == numbers.CORRECTED].all()
        assert (paper == truth)[kinds == numbers.SPOILED].all()
        wrong = kinds == numbers.STILL_WRONG
        assert ((paper != truth) & (softer != truth) & (paper != softer))[wrong].all()
        assert ((paper == softer) | (truth == IGNORE))[kinds == numbers.SAME].all()
    # sure of nothing, the semantic head changes nothing
    unsure = replace(street[0], confidence=torch.zeros(SIZE))
    kinds = numbers.compare_rules(unsure, config, TOY_CATEGORIES)
    assert (kinds == numbers.SAME).all()


@pytest.mark.parametrize("hidden", [0.1, 0.25, 0.5, 0.9])
def test_the_example_squares_overlap_as_they_say(hidden):
    better, worse = numbers.overlap_case(hidden)
    assert int((better & worse).sum()) / int(worse.sum()) == hidden
    assert better.sum() == worse.sum()


def test_exactly_the_limit_is_kept():
    kept = numbers.kept_at((0.1, 0.3, 0.5, 0.7, 0.9), (0.2, 0.5, 0.8))
    assert kept == {0.2: [0.1], 0.5: [0.1, 0.3, 0.5], 0.8: [0.1, 0.3, 0.5, 0.7]}


def test_candidates_come_from_detections_and_logits(rng):
    sample = ToyStreet(1, seed=1)[0]
    truth = random_instances(2, SIZE, rng)
    detections = Detections(
        truth.boxes, torch.tensor([0.9, 0.4]), truth.labels, torch.ones(2, 28, 28)
    )
    logits = torch.randn((6, *SIZE), generator=rng)
    candidates = numbers.candidates_of(sample, detections, logits)
    assert torch.equal(candidates.label_map, logits.argmax(0))
    assert_close(candidates.confidence, logits.softmax(0).amax(0))
    pasted, _ = paste_instances(
        candidates.masks(), candidates.scores, candidates.labels, SIZE, max_overlap=1.0
    )
    assert torch.equal(pasted != VOID, candidates.masks()[0])  # the other one's score is too low


def test_iou_of_masks():
    a = torch.tensor([[True, True, False]])
    b = torch.tensor([[False, True, True]])
    assert numbers.iou_of_masks(a, b) == 1 / 3
    assert numbers.iou_of_masks(a & ~a, b & ~b) == 0


def test_a_readers_function_merges_in_place_of_the_first_two_rules(street):
    mine = find("09.paste_by_score").reference
    for one in street:
        for rules in (PredictConfig(), PredictConfig(max_overlap=0.2, min_score=0.1)):
            expected = one.merge(rules)
            merged = numbers.merge_with(one, mine, rules)
            assert torch.equal(merged.id_map, expected.id_map)
            assert [(s.id, s.label, s.is_thing) for s in merged.segments] == [
                (s.id, s.label, s.is_thing) for s in expected.segments
            ]


def test_matched_things_have_the_score_and_the_iou_of_their_pair(street):
    found = numbers.matched_things(street, CONFIG)
    assert found
    things_of = [s for one in street for s in one.merge(CONFIG).segments if s.is_thing]
    assert {score for score, _ in found} <= {s.score for s in things_of}
    assert all(0.5 < iou <= 1 for _, iou in found)
    one = street[0]
    perfect = replace(one, sample=replace(one.sample, panoptic=one.merge(CONFIG)))
    assert {iou for _, iou in numbers.matched_things([perfect], CONFIG)} == {1.0}


def test_void_on_things_is_a_fraction_of_the_predicted_void(street):
    one = street[0]
    nothing = replace(CONFIG, min_score=1.0, min_stuff_area=10**6)  # all pixels are void
    assert (one.merge(nothing).id_map == VOID).all()
    is_thing = torch.zeros(SIZE, dtype=torch.bool)
    for segment in one.sample.panoptic.segments:
        if segment.is_thing:
            is_thing |= one.sample.panoptic.id_map == segment.id
    expected = float(is_thing.float().mean())
    assert numbers.things_below_void([one], nothing) == pytest.approx(expected)
    assert numbers.things_below_void([], CONFIG) == 0
