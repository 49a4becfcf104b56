"""What the pictures of merging show: claims, stages, conflicts, sweeps and both rules, as data."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from pfpn.course.ch09_merging import figures as plots
from pfpn.data.toy import TOY_CATEGORIES, ToyStreet
from pfpn.merge import OTHER, VOID, paste_instances
from pfpn.paste import windows_of
from pfpn.predict import PredictConfig
from pfpn.structures import Detections
from tests.factories import random_instances

CONFIG = PredictConfig(shortest_edge=0, min_stuff_area=64)
SIZE = (128, 192)


@pytest.fixture(scope="module")
def street():
    """Three drawn streets whose answers are the truth, shaken: masks moved, scores drawn."""
    return [shaken(ToyStreet(3, seed=1)[i], i) for i in range(3)]


def shaken(sample, seed):
    rng = torch.Generator().manual_seed(seed)
    ids = sample.panoptic.id_map
    masks, labels = [], []
    label_map = torch.full(SIZE, OTHER)
    for segment in sample.panoptic.segments:
        mask = ids == segment.id
        if segment.is_thing:
            masks += [mask, mask.roll(6, dims=1)]
            labels += [segment.label] * 2
        else:
            label_map[mask] = segment.label
    return plots.Candidates(
        sample,
        windows_of(torch.stack(masks)),
        torch.rand(len(masks), generator=rng),
        torch.tensor(labels),
        label_map,
        torch.rand(SIZE, generator=rng),
    )


@pytest.mark.parametrize("softer", [False, True])
@pytest.mark.parametrize("max_overlap", [0.0, 0.3, 1.0])
def test_the_traced_claims_are_those_of_the_package(street, softer, max_overlap):
    config = replace(CONFIG, min_score=0.2, max_overlap=max_overlap, softer=softer)
    for found in street:
        kept = [c for c in plots.trace_claims(found, config) if c.verdict == "kept"]
        merged = [s for s in found.merge(config).segments if s.is_thing]
        assert [(c.label, pytest.approx(c.score)) for c in kept] == [
            (s.label, s.score) for s in merged
        ]


def test_every_instance_has_one_claim_and_shares_that_fit(street):
    for found in street:
        claims = plots.trace_claims(found, replace(CONFIG, softer=True))
        assert sorted(c.index for c in claims) == list(range(len(found.scores)))
        assert [c.score for c in claims] == sorted((c.score for c in claims), reverse=True)
        assert all(0 <= c.hidden + c.vetoed <= 1 for c in claims)


def test_an_empty_mask_is_called_empty(street):
    found = street[0]
    masks = found.masks()
    masks[0] = False
    emptied = replace(found, windows=windows_of(masks))
    by_index = {c.index: c.verdict for c in plots.trace_claims(emptied, CONFIG)}
    assert by_index[0] == "empty"


def test_the_last_stage_is_the_merged_map(street):
    for found in street:
        stages = plots.merge_stages(found, CONFIG)
        assert torch.equal(stages[-1][1].id_map, found.merge(CONFIG).id_map)
        assert stages[-1][1].segments == found.merge(CONFIG).segments


def test_conflicts_are_counted_where_they_are(street):
    found = street[0]
    masks = torch.zeros((2, *SIZE), dtype=torch.bool)
    masks[0, :10, :10] = masks[1, :10, 5:15] = True
    labels = torch.full(SIZE, 1)
    labels[:10, :13] = OTHER
    labels[100:] = OTHER
    made = replace(
        found,
        windows=windows_of(masks),
        scores=torch.tensor([0.9, 0.6]),
        labels=torch.tensor([0, 1]),
        label_map=labels,
    )
    conflicts = plots.conflict_map(made, 0.5)
    counts = [int((conflicts == kind).sum()) for kind in range(4)]
    assert counts[plots.TWICE] == 50
    assert counts[plots.AGAINST_STUFF] == 20  # columns 13 and 14
    assert counts[plots.NOBODY] == 28 * 192 + 0
    one = plots.conflict_map(made, 0.7)
    assert not (one == plots.TWICE).any()
    assert "two or more instances" in plots.describe_conflicts(made, 0.5)


def test_a_sweep_changes_one_threshold(street):
    results = plots.sweep(street, TOY_CATEGORIES, CONFIG, "min_score", [0.1, 0.9])
    expected = plots.quality_of(street, TOY_CATEGORIES, replace(CONFIG, min_score=0.9))
    assert results[1] == expected
    assert results[0] != results[1]


def test_changed_pixels_are_right_spoiled_or_neither(street):
    config = replace(CONFIG, min_score=0.2)
    for found in street:
        verdicts, changes = plots.compare_rules(found, config, TOY_CATEGORIES)
        counts = [int((verdicts == v).sum()) for v in (1, 2, 3)]
        assert counts == [changes.righted, changes.spoiled, changes.neither]
    # sure of nothing, the semantic head changes nothing
    unsure = replace(street[0], confidence=torch.zeros(SIZE))
    assert plots.compare_rules(unsure, config, TOY_CATEGORIES)[1] == plots.Changes(0, 0, 0)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.9])
def test_the_example_squares_overlap_as_they_say(share):
    better, worse = plots.overlap_case(share)
    assert int((better & worse).sum()) / int(worse.sum()) == share
    assert better.sum() == worse.sum()


def test_exactly_the_limit_survives():
    kept = plots.survivors((0.1, 0.3, 0.5, 0.7, 0.9), (0.2, 0.5, 0.8))
    assert kept == {0.2: [0.1], 0.5: [0.1, 0.3, 0.5], 0.8: [0.1, 0.3, 0.5, 0.7]}


def test_candidates_come_from_detections_and_logits(rng):
    sample = ToyStreet(1, seed=1)[0]
    truth = random_instances(2, SIZE, rng)
    detections = Detections(
        truth.boxes, torch.tensor([0.9, 0.4]), truth.labels, torch.ones(2, 28, 28)
    )
    logits = torch.randn((6, *SIZE), generator=rng)
    found = plots.candidates_of(sample, detections, logits)
    assert torch.equal(found.label_map, logits.argmax(0))
    assert_close(found.confidence, logits.softmax(0).amax(0))
    pasted, _ = paste_instances(found.masks(), found.scores, found.labels, SIZE, max_overlap=1.0)
    assert torch.equal(pasted != VOID, found.masks()[0])  # the other one's score is too low


def test_iou_of_masks():
    a = torch.tensor([[True, True, False]])
    b = torch.tensor([[False, True, True]])
    assert plots.mask_iou(a, b) == 1 / 3
    assert plots.mask_iou(a & ~a, b & ~b) == 0


def test_the_pq_of_an_image_is_in_percent(street):
    value = plots.image_pq(street[0], CONFIG, TOY_CATEGORIES)
    assert 1 < value < 100


def test_every_figure_is_drawn_and_told(street):
    found, config = street[0], replace(CONFIG, softer=True)
    claims = plots.trace_claims(found, config)
    sweeps = {
        name: (values, plots.sweep(street[:1], TOY_CATEGORIES, CONFIG, name, values))
        for name, values in {"min_score": [0.1, 0.5], "min_stuff_area": [16, 64]}.items()
    }
    lines = {"clean": [1.0, 2.0], "clean, softer": [1.0, 3.0], "noisy": [0.0, 1.0]}
    mask = found.masks()[0].numpy()
    picture = found.sample.image.permute(1, 2, 0).numpy()
    figures = [
        plots.plot_stages(found, CONFIG, TOY_CATEGORIES),
        plots.plot_conflicts(found, 0.5, TOY_CATEGORIES),
        plots.plot_claims(claims, config, TOY_CATEGORIES),
        plots.plot_fate(found, config, TOY_CATEGORIES),
        plots.plot_sweeps(sweeps, CONFIG),
        plots.plot_softer(found, CONFIG, TOY_CATEGORIES),
        plots.plot_lines([0.1, 0.9], lines, xlabel="score"),
        plots.plot_versions(found, {"one": found.merge(CONFIG)}, TOY_CATEGORIES),
        plots.plot_overlap_limits((0.1, 0.5), (0.2,), ((0, 0, 255), (255, 0, 0))),
        plots.plot_pasting(picture, mask, {"a": mask}, {"a": 1.0}, (9, 9, 9), (0, 50, 0, 50)),
    ]
    for figure in figures:
        figure.canvas.draw()
        assert figure.get_size_inches()[0] <= 9.6
    dashed = figures[6].axes[0].lines[1]
    assert dashed.get_linestyle() == "--"
    assert dashed.get_color() == figures[6].axes[0].lines[0].get_color()
    assert "kept" in plots.describe_claims(claims, TOY_CATEGORIES)
    assert "at best" in plots.describe_sweeps(sweeps)
    assert "% empty" in plots.describe_stages(found, CONFIG)
