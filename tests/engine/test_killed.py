"""A run that is killed, at whatever moment, goes on and ends as if nothing had happened."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pfpn.engine.checkpoint import BEST, CONFIG, LAST, METRICS, WEIGHTS, load_checkpoint
from pfpn.engine.record import RECORD, read_record
from pfpn.engine.train import read_rows
from pfpn.files import KEPT
from tests.engine.short_runs import start_process

KILLS = int(os.environ.get("PFPN_KILLS", "8"))  # in all; 50 take two minutes
CLOCKS = {"seconds", "images_per_second"}

pytestmark = pytest.mark.slow


def run(out: Path, **how) -> int:
    """Train to the end and return the exit code."""
    process = start_process(out, **how)
    process.join(600)
    return process.exitcode


def leaves(tree, path=""):
    """Every leaf of a checkpoint with its path; clocks are left out."""
    if isinstance(tree, dict | list | tuple):
        entries = tree.items() if isinstance(tree, dict) else enumerate(tree)
        for key, value in entries:
            if key not in CLOCKS:
                yield from leaves(value, f"{path}/{key}")
    else:
        yield path, tree


def half_written(folder: Path) -> list[Path]:
    return list((folder / KEPT).glob("*.tmp"))


def assert_same_run(whole: Path, cut: Path) -> None:
    """Every file has the same content, to the bit, but for clocks; no half-written file is left."""
    names = {LAST, BEST, WEIGHTS, CONFIG, METRICS, RECORD, KEPT}
    assert {path.name for path in whole.iterdir()} == {path.name for path in cut.iterdir()} == names
    assert not half_written(cut)
    for name in (LAST, BEST):
        one, two = (dict(leaves(load_checkpoint(folder / name))) for folder in (whole, cut))
        assert one.keys() == two.keys()
        for path, value in one.items():
            same = torch.equal(value, two[path]) if isinstance(value, torch.Tensor) else False
            assert same or value is two[path] or value == two[path], path
    one, two = (load_file(folder / WEIGHTS) for folder in (whole, cut))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)
    one, two = (
        [{k: v for k, v in row.items() if k not in CLOCKS} for row in read_rows(folder)]
        for folder in (whole, cut)
    )
    assert one == two


def test_killed_at_random_moments_a_run_ends_with_the_same_weights(tmp_path):
    """A kill may come at any time: while a run starts, learns, evaluates or writes."""
    assert run(tmp_path / "warm", max_steps=1) == 0  # the server has imported everything
    began = time.monotonic()
    assert run(tmp_path / "whole", pause=0.003) == 0
    duration = time.monotonic() - began
    rng = random.Random(0)
    kills = inside_a_write = runs = 0
    while kills < KILLS:
        cut = tmp_path / f"cut{runs}"
        runs += 1
        while True:
            process = start_process(cut, pause=0.003)
            if kills < KILLS:
                process.join(rng.uniform(0, duration / 2))  # most are killed before they end
            else:
                process.join(600)
            if not process.is_alive():
                assert process.exitcode == 0
                break
            process.kill()
            process.join()
            kills += 1
            inside_a_write += any(half_written(cut))
        assert_same_run(tmp_path / "whole", cut)
    print(f"{kills} kills, {inside_a_write} inside a write, {runs} runs")


def test_killed_in_the_middle_of_any_write_a_run_ends_with_the_same_weights(tmp_path):
    """One run for each write, killed half-way through it; then one that ends."""
    assert run(tmp_path / "whole", max_steps=3) == 0
    write = 1
    while True:
        cut = tmp_path / f"cut{write}"
        code = run(cut, max_steps=3, fatal_write=write)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        assert any(half_written(cut))
        assert run(cut, max_steps=3) == 0
        assert_same_run(tmp_path / "whole", cut)
        starts = [start["step"] for start in read_record(cut)]
        assert starts == sorted(starts)
        write += 1
    assert write == 11  # config, record, rows; 2 files of step 2, 2 and 3 of step 3
