"""Threads that fit: a simulated machine, whose neighbors come and go."""

import os

import pytest

from pfpn.cli import prepare_torch
from pfpn.engine.threads import FIRST_WAIT, LONGEST_WAIT, FittingThreads


class Machine:
    """Two cores, as training sees them: a clock, the processor time it got, and its threads."""

    def __init__(self, most: int = 2):
        self.now = self.used = 0.0
        self.threads = most
        self.set_to: list[int] = []
        self.fitting = FittingThreads(most, lambda: self.now, lambda: self.used, self.set)

    def set(self, threads: int) -> None:
        self.threads = threads
        self.set_to.append(threads)

    def train(self, seconds: float, part: float, step: float = 0.1) -> None:
        """Train while each thread gets `part` of the time."""
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.now += step
            self.used += step * part * self.threads
            assert self.fitting.adapt() == self.threads


def test_an_idle_machine_keeps_all_threads():
    machine = Machine()
    machine.train(300, part=0.93)
    assert machine.threads == 2
    assert machine.set_to == []


def test_a_busy_machine_gets_one_thread_within_a_second():
    machine = Machine()
    machine.train(1, part=0.3)
    assert machine.threads == 1


def test_one_slow_step_is_enough_to_decide():
    machine = Machine()
    machine.train(2, part=0.25, step=2.0)
    assert machine.threads == 1


def test_threads_come_back_when_the_neighbors_have_left():
    machine = Machine()
    machine.train(1, part=0.3)
    machine.train(FIRST_WAIT + 1, part=0.98)
    assert machine.threads == 2
    machine.train(60, part=0.93)
    assert machine.set_to == [1, 2]


def test_a_thread_that_is_hardly_served_does_not_ask_for_more():
    machine = Machine()
    machine.train(300, part=0.3)
    assert machine.set_to == [1]


def test_vain_attempts_become_rare():
    """One neighbor on two cores: one thread gets all it can use, two threads do not."""
    machine = Machine()
    for _ in range(600):
        machine.train(1, part=0.98 if machine.threads == 1 else 0.6)
    attempts = machine.set_to.count(2)
    rare = 600 / LONGEST_WAIT + 6
    assert 4 <= attempts <= rare


def test_after_a_success_the_next_attempt_comes_soon_again():
    machine = Machine()
    for _ in range(120):
        machine.train(1, part=0.98 if machine.threads == 1 else 0.6)
    machine.train(LONGEST_WAIT + 1, part=0.98)
    machine.train(LONGEST_WAIT + 1, part=0.98)
    assert machine.threads == 2
    machine.train(1, part=0.3)
    assert machine.threads == 1
    machine.train(FIRST_WAIT + 1, part=0.98)
    assert machine.threads == 2


def test_a_single_core_is_left_alone():
    machine = Machine(most=1)
    machine.train(10, part=0.1)
    assert machine.set_to == []


def test_own_choice_of_waiting_is_respected(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    monkeypatch.delenv("KMP_BLOCKTIME", raising=False)
    prepare_torch()
    assert os.environ["GOMP_SPINCOUNT"] == "7"
    assert os.environ["KMP_BLOCKTIME"] == "1"
