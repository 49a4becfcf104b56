import os
from pathlib import Path

import pytest

from pfpn.data import threads
from pfpn.data.threads import ordered_map, usable_cores


@pytest.mark.parametrize("workers", [1, 3])
def test_ordered_map_keeps_the_order_and_passes_errors_on(workers):
    assert list(ordered_map(lambda x: 10 * x, range(50), workers)) == [
        (x, 10 * x) for x in range(50)
    ]
    with pytest.raises(ZeroDivisionError):
        list(ordered_map(lambda x: 1 / (40 - x), range(50), workers))


def test_ordered_map_does_not_run_far_ahead():
    begun = []
    results = ordered_map(begun.append, range(1000), 2)
    next(results)
    assert len(begun) < 20
    results.close()
    assert len(begun) < 20


def test_cores_are_those_that_this_process_may_use(monkeypatch):
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
    monkeypatch.setattr(threads, "CGROUP_LIMIT", Path("none"))
    monkeypatch.delattr(os, "process_cpu_count", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3, 5, 7, 9}, raising=False)
    assert usable_cores() == 5
    monkeypatch.setattr(os, "process_cpu_count", lambda: 7, raising=False)
    assert usable_cores() == 7


def test_a_container_may_have_less_time_than_cores(monkeypatch, tmp_path):
    monkeypatch.setattr(threads, "CGROUP_LIMIT", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "process_cpu_count", lambda: 12, raising=False)
    for text, cores in (("max 100000", 12), ("650000 100000", 6), ("50000 100000", 1), ("", 12)):
        (tmp_path / "cpu.max").write_text(text + "\n")
        assert usable_cores() == cores


def test_processes_of_one_machine_share_its_cores(monkeypatch):
    monkeypatch.setattr(threads, "CGROUP_LIMIT", Path("none"))
    monkeypatch.setattr(os, "process_cpu_count", lambda: 7, raising=False)
    for processes, cores in (("1", 7), ("2", 3), ("8", 1), ("0", 7), ("many", 7)):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
        assert usable_cores() == cores
