"""What a demonstration says about its end, from its first rows."""

import pytest

from pfpn.cli import training
from pfpn.cli.training import expected_pq, expected_steps


@pytest.mark.parametrize(
    ("step", "progress", "expected"),
    [(20, 0.01, 2000), (271, 0.1, 2700), (1, 0.5, 2), (55, 0.5, 110), (3000, 1.0, 3000)],
)
def test_the_steps_of_the_whole_run_are_guessed_to_two_digits(step, progress, expected):
    guess = expected_steps({"step": step, "progress": progress})
    assert guess == expected
    assert isinstance(guess, int)


def test_the_score_to_expect_goes_through_what_was_measured(monkeypatch):
    monkeypatch.setattr(training, "MEASURED_PQ", {100: 50.0, 400: 70.0, 800: 80.0})
    assert [expected_pq(n) for n in (100, 400, 800)] == [50.0, 70.0, 80.0]
    assert expected_pq(200) == pytest.approx(60.0)  # half of two doublings
    assert expected_pq(10) == 50.0
    assert expected_pq(10**6) == 80.0


def test_measured_scores_grow_with_the_steps():
    scores = [training.MEASURED_PQ[n] for n in sorted(training.MEASURED_PQ)]
    assert scores == sorted(scores)
    assert 0 < scores[0] < scores[-1] < 100


@pytest.mark.parametrize(("step", "words"), [(5, "PQ below"), (100, "PQ about")])
def test_it_is_said_once_when_the_speed_is_known(step, words, capsys):
    rows = [{"kind": "start", "step": 0, "progress": 0.0}]
    rows += [{"kind": "train", "step": step * i, "progress": 0.06 * i} for i in range(1, 5)]
    assert list(training._say_what_to_expect(iter(rows))) == rows
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 1
    assert words in said[0]
