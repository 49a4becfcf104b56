import pytest
import torch

from pfpn.matching import BACKGROUND, FOREGROUND, UNSURE, draw, match_by_iou, sample_balanced
from tests.oracles import matching as slow


def test_verdicts_by_hand():
    overlaps = torch.tensor([[0.10, 0.80], [0.29, 0.0], [0.30, 0.0], [0.69, 0.1], [0.70, 0.0]])
    index, verdict = match_by_iou(overlaps, 0.3, 0.7, keep_best=False)
    assert index.tolist() == [1, 0, 0, 0, 0]
    assert verdict.tolist() == [FOREGROUND, BACKGROUND, UNSURE, UNSURE, FOREGROUND]


def test_one_threshold_leaves_nobody_unsure():
    overlaps = torch.tensor([[0.49], [0.5], [0.51]])
    _, verdict = match_by_iou(overlaps, 0.5, 0.5, keep_best=False)
    assert verdict.tolist() == [BACKGROUND, FOREGROUND, FOREGROUND]


def test_best_of_each_truth_is_kept_with_its_ties_but_answers_for_what_it_overlaps_most():
    overlaps = torch.tensor([[0.6, 0.2], [0.1, 0.2], [0.1, 0.1]])
    index, verdict = match_by_iou(overlaps, 0.3, 0.7, keep_best=True)
    # Truth 0: row 0 is best. Truth 1: rows 0 and 1 tie; row 0 still answers for truth 0.
    assert verdict.tolist() == [FOREGROUND, FOREGROUND, BACKGROUND]
    assert index.tolist() == [0, 1, 0]


def test_truth_that_nobody_touches_has_nobody():
    overlaps = torch.tensor([[0.9, 0.0], [0.0, 0.0]])
    _, verdict = match_by_iou(overlaps, 0.3, 0.7, keep_best=True)
    assert verdict.tolist() == [FOREGROUND, BACKGROUND]


def test_without_truth_all_is_background():
    index, verdict = match_by_iou(torch.zeros(4, 0), 0.3, 0.7, keep_best=True)
    assert index.tolist() == [0] * 4
    assert verdict.tolist() == [BACKGROUND] * 4


@pytest.mark.parametrize("k", [0, 3])
@pytest.mark.parametrize("keep_best", [False, True])
def test_without_boxes_there_is_no_verdict(k, keep_best):
    index, verdict = match_by_iou(torch.zeros(0, k), 0.3, 0.7, keep_best=keep_best)
    assert len(index) == len(verdict) == 0


@pytest.mark.parametrize("keep_best", [False, True])
def test_matching_equals_the_slow_version(rng, keep_best):
    for k in (1, 4):
        # Tenths, so that ties and borders occur
        overlaps = torch.randint(0, 11, (60, k), generator=rng) / 10
        index, verdict = match_by_iou(overlaps, 0.3, 0.7, keep_best=keep_best)
        wanted = slow.match(overlaps.double().tolist(), *_as_double(0.3, 0.7), keep_best)
        assert (index.tolist(), verdict.tolist()) == wanted


def _as_double(*values: float) -> list[float]:
    """The thresholds as float32 sees them."""
    return torch.tensor(values).double().tolist()


def test_draw_takes_each_candidate_at_most_once_and_no_more_than_there_are(rng):
    candidates = torch.tensor([3, 5, 8, 13])
    assert sorted(draw(candidates, 10, rng).tolist()) == [3, 5, 8, 13]
    few = draw(candidates, 2, rng).tolist()
    assert len(set(few)) == 2
    assert set(few) <= {3, 5, 8, 13}
    assert draw(candidates, 0, rng).tolist() == []
    assert draw(candidates[:0], 3, rng).tolist() == []


def test_draw_gives_every_candidate_the_same_chance(rng):
    counts = torch.zeros(5)
    for _ in range(2000):
        counts[draw(torch.arange(5), 2, rng)] += 1
    # 800 expected, standard deviation sqrt(2000 x 0.4 x 0.6) = 22
    assert (counts - 800).abs().max() < 5 * 22


def test_draw_depends_on_the_generator_alone():
    candidates = torch.arange(50)
    first = draw(candidates, 10, torch.Generator().manual_seed(7))
    torch.rand(3)  # torch's own generator is another matter
    assert torch.equal(draw(candidates, 10, torch.Generator().manual_seed(7)), first)
    assert not torch.equal(draw(candidates, 10, torch.Generator().manual_seed(8)), first)


@pytest.mark.parametrize(
    ("num_positive", "num_negative", "wanted"),
    [
        (50, 50, (8, 24)),  # plenty of both: a quarter of 32 positive
        (3, 50, (3, 29)),  # negatives fill up
        (50, 5, (8, 5)),  # but positives do not
        (0, 50, (0, 32)),
        (0, 0, (0, 0)),
    ],
)
def test_sample_counts(rng, num_positive, num_negative, wanted):
    kinds = torch.tensor([1] * num_positive + [0] * num_negative + [-1] * 10)
    kinds = kinds[torch.randperm(len(kinds), generator=rng)]
    positive, negative = sample_balanced(kinds == 1, kinds == 0, 32, 0.25, rng)
    assert (len(positive), len(negative)) == wanted
    assert (kinds[positive] == 1).all()
    assert (kinds[negative] == 0).all()
    assert len({*positive.tolist(), *negative.tolist()}) == sum(wanted)
