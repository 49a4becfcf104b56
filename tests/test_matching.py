import pytest
import torch

from pfpn.matching import BACKGROUND, FOREGROUND, UNSURE, draw, match_by_iou, sample_balanced
from tests.oracles import matching as slow


def test_kinds_by_hand():
    overlaps = torch.tensor([[0.10, 0.80], [0.29, 0.0], [0.30, 0.0], [0.69, 0.1], [0.70, 0.0]])
    matched, kinds = match_by_iou(overlaps, 0.3, 0.7, keep_best=False)
    assert matched.tolist() == [1, 0, 0, 0, 0]
    assert kinds.tolist() == [FOREGROUND, BACKGROUND, UNSURE, UNSURE, FOREGROUND]


def test_with_one_threshold_no_box_is_unsure():
    overlaps = torch.tensor([[0.49], [0.5], [0.51]])
    _, kinds = match_by_iou(overlaps, 0.5, 0.5, keep_best=False)
    assert kinds.tolist() == [BACKGROUND, FOREGROUND, FOREGROUND]


def test_best_boxes_of_an_object_are_foreground_but_keep_their_own_match():
    overlaps = torch.tensor([[0.6, 0.2], [0.1, 0.2], [0.1, 0.1]])
    matched, kinds = match_by_iou(overlaps, 0.3, 0.7, keep_best=True)
    # Object 0: row 0 is best. Object 1: rows 0 and 1 tie; row 0 stays matched to object 0.
    assert kinds.tolist() == [FOREGROUND, FOREGROUND, BACKGROUND]
    assert matched.tolist() == [0, 1, 0]


def test_an_object_that_no_box_touches_gets_no_foreground_box():
    overlaps = torch.tensor([[0.9, 0.0], [0.0, 0.0]])
    _, kinds = match_by_iou(overlaps, 0.3, 0.7, keep_best=True)
    assert kinds.tolist() == [FOREGROUND, BACKGROUND]


def test_without_objects_every_box_is_background():
    matched, kinds = match_by_iou(torch.zeros(4, 0), 0.3, 0.7, keep_best=True)
    assert matched.tolist() == [0] * 4
    assert kinds.tolist() == [BACKGROUND] * 4


@pytest.mark.parametrize("k", [0, 3])
@pytest.mark.parametrize("keep_best", [False, True])
def test_without_boxes_the_result_is_empty(k, keep_best):
    matched, kinds = match_by_iou(torch.zeros(0, k), 0.3, 0.7, keep_best=keep_best)
    assert len(matched) == len(kinds) == 0


@pytest.mark.parametrize("keep_best", [False, True])
def test_matching_equals_the_slow_version(rng, keep_best):
    for k in (1, 4):
        # Tenths, so that ties and borders occur
        overlaps = torch.randint(0, 11, (60, k), generator=rng) / 10
        matched, kinds = match_by_iou(overlaps, 0.3, 0.7, keep_best=keep_best)
        expected = slow.match(overlaps.double().tolist(), *_as_double(0.3, 0.7), keep_best)
        assert (matched.tolist(), kinds.tolist()) == expected


def _as_double(*values: float) -> list[float]:
    """The thresholds, rounded to float32."""
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
    torch.rand(3)  # torch's own generator is not used
    assert torch.equal(draw(candidates, 10, torch.Generator().manual_seed(7)), first)
    assert not torch.equal(draw(candidates, 10, torch.Generator().manual_seed(8)), first)


@pytest.mark.parametrize(
    ("num", "num_positive", "num_negative", "expected"),
    [
        (32, 50, 50, (8, 24)),  # plenty of both: a quarter of 32 positive
        (32, 3, 50, (3, 29)),  # negatives fill up
        (32, 50, 5, (8, 5)),  # but positives do not
        (32, 0, 50, (0, 32)),
        (32, 0, 0, (0, 0)),
        (35, 50, 50, (8, 27)),  # a quarter of 35 is 8.75: rounded down, at most a quarter
        (3, 50, 50, (0, 3)),
    ],
)
def test_sample_counts(rng, num, num_positive, num_negative, expected):
    kinds = torch.tensor([1] * num_positive + [0] * num_negative + [-1] * 10)
    kinds = kinds[torch.randperm(len(kinds), generator=rng)]
    positive, negative = sample_balanced(kinds == 1, kinds == 0, num, 0.25, rng)
    assert (len(positive), len(negative)) == expected
    assert (kinds[positive] == 1).all()
    assert (kinds[negative] == 0).all()
    assert len({*positive.tolist(), *negative.tolist()}) == sum(expected)
