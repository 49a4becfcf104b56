"""Whatever asks a run to end is noted, and nothing else changes."""

import os
import signal
import sys

import pytest

from pfpn.engine.signals import CLOSED_PIPE, SIGNALS, ClosablePipe, Stop, stop_signals


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_noted_and_its_handler_comes_back(number):
    before = signal.getsignal(number)
    with stop_signals() as stop:
        assert not stop()
        assert stop.exit_code == 0
        os.kill(os.getpid(), number)
        assert stop()
        assert stop.exit_code == 128 + number
    assert signal.getsignal(number) is before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")
def test_a_terminal_that_closes_is_among_the_signals():
    assert signal.SIGHUP in SIGNALS


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_is_ignored_stays_ignored(number):
    """nohup lets a run go on after its terminal has closed."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with stop_signals() as stop:
            os.kill(os.getpid(), number)
            assert not stop()
    finally:
        signal.signal(number, before)


def test_the_second_interrupt_ends_the_block_at_once():
    with stop_signals():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_closed_pipe_is_a_stop_and_what_follows_is_dropped():
    reading, writing = os.pipe()
    stop = Stop()
    with os.fdopen(writing, "w") as stream:
        pipe = ClosablePipe(stream, stop)
        print("seen", file=pipe, flush=True)
        assert os.read(reading, 100) == b"seen\n"
        os.close(reading)
        assert not stop()
        for _ in range(2):
            print("not seen", file=pipe, flush=True)
        assert stop.number == CLOSED_PIPE


def test_output_reaches_its_stream(capsys):
    with stop_signals() as stop:
        print("as before")
        assert not sys.stdout.isatty()
    assert capsys.readouterr().out == "as before\n"
    assert not stop()
