"""Ctrl-C, a signal, a reader that goes: one line, the shell's exit code, nothing half-written."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pfpn.cli import SignalError, main, signals_raised
from pfpn.files import KEPT, Output
from tests.cli.test_writing import SAVE

ROOT = Path(__file__).resolve().parents[2]
# Stops the process as a signal from outside would, in the middle of its second file.
PROGRAM = """
import os, signal, sys
from pfpn import files
write, count = files._create, 0
def interrupted(path):
    global count
    write(path)
    count += 1
    if count == 2:
        os.kill(os.getpid(), int(sys.argv[1]))
files._create = interrupted
from pfpn.cli import main
sys.exit(main(sys.argv[2:]))
"""
WRITING = {
    "predict": ["predict", "w.safetensors", "photos", "--out", "out", "--device", "cpu"],
    "evaluate": [*SAVE, "--save", "out"],
    "toy": ["toy", "out", "--num", "3", "--size", "16x24"],
}
NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP"}


def run(words, cwd, **options):
    return subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )


CASES = [("toy", sent) for sent in NAMES] + [
    ("predict", signal.SIGTERM),
    ("evaluate", signal.SIGINT),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "sent"), CASES)
def test_a_signal_ends_a_command_with_one_line_and_nothing_half_written(name, sent, world):
    done = run(["-c", PROGRAM, str(int(sent)), *WRITING[name]], world)
    assert done.returncode == 128 + sent
    lines = [line for line in done.stderr.splitlines() if line]
    assert lines == [f"pfpn {name}: stopped by {NAMES[sent]}"]
    assert not list(world.rglob("*.tmp"))
    assert not list((world / "out").rglob("*.json")) or name == "predict"
    for path in (world / "out").rglob("*.json"):
        json.loads(path.read_text())
    assert main(WRITING[name]) == 0  # and the claim has ended


def test_a_reader_that_goes_ends_a_command_quietly(world):
    for words in (["check", "data", "--split", "val"], WRITING["predict"]):
        for path in (world / "data/annotations/panoptic_val").iterdir():
            path.write_bytes(b"")
        read, write = os.pipe()
        os.close(read)
        done = subprocess.run(
            [sys.executable, "-m", "pfpn", *words],
            cwd=world,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
            timeout=300,
        )
        os.close(write)
        assert done.returncode == 141
        assert done.stderr in ("", "2 findings\n", "4 findings\n")


def test_signals_are_as_before_afterwards():
    before = signal.getsignal(signal.SIGTERM)
    with signals_raised():
        with pytest.raises(SignalError):
            signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_signal_that_is_ignored_stays_so_as_under_nohup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_raised():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_full_disk_is_one_line_with_the_file(world, capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pfpn.files._sync", full)
    for name, words in WRITING.items():
        assert main(words) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"pfpn {name}: out/")
        assert "could not be written (No space left on device)" in line
    assert Output(world / "out", "predict").names() == []
    assert not [p for p in (world / "out").rglob("*") if p.is_file() and KEPT not in p.parts]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_output_that_cannot_be_printed_is_one_line(world):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "pfpn", "toy", "out", "--num", "1", "--size", "16x24"],
            cwd=world,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=300,
        )
    assert done.returncode == 2
    assert done.stderr.startswith("pfpn toy: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_stream_that_was_closed_before_the_start_is_no_error(stream, world, monkeypatch):
    monkeypatch.setattr(sys, stream, None)
    assert main(["check", "data", "--split", "val"]) == 0
    getattr(sys, stream).close()
