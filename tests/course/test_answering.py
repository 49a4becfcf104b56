"""What runs in a learner's process: a time limit costs the cases that are left, and those alone."""

import json
import signal
import time

import pytest

from pfpn.course import answering
from pfpn.course.answering import answer, read_outcomes
from pfpn.course.encode import encode


@pytest.fixture(autouse=True)
def signals():
    before = {number: signal.getsignal(number) for number in (signal.SIGVTALRM, signal.SIGALRM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def outcomes_of(function, num, seconds, folder):
    inputs, outputs = folder / "inputs.json", folder / "outputs.json"
    inputs.write_text(json.dumps([encode((i,)) for i in range(num)]))
    answer(function, str(inputs), str(outputs), seconds)
    return read_outcomes(outputs.read_text(), num)


def test_an_answer_without_end_fails_from_there_on(tmp_path):
    def endless(i):
        while i == 1:
            pass
        return i

    first, *rest = outcomes_of(endless, 3, 0.2, tmp_path)
    assert first.value == 0
    assert not first.error
    assert all("TimeoutError" in outcome.error for outcome in rest)


def test_time_that_runs_out_while_a_value_is_written_down_keeps_the_outcomes(tmp_path, monkeypatch):
    def slowly(value):
        end = time.process_time() + 0.3
        while time.process_time() < end:
            pass
        return encode(value)

    monkeypatch.setattr(answering, "encode", slowly)
    first, *rest = outcomes_of(lambda i: [i], 3, 0.1, tmp_path)
    assert first.value == [0]
    assert all("TimeoutError" in outcome.error for outcome in rest)


def test_an_answer_that_catches_the_first_limit_is_stopped_by_the_next(tmp_path):
    caught = []

    def stubborn(i):
        while True:
            try:
                while True:
                    pass
            except TimeoutError:
                caught.append(i)
                if len(caught) > 1:
                    raise

    outcomes = outcomes_of(stubborn, 2, 0.1, tmp_path)
    assert caught == [0, 0]
    assert all("TimeoutError" in outcome.error for outcome in outcomes)
