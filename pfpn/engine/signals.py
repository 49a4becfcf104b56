"""End a run well: Ctrl-C, a signal of the system, a terminal or a pipe that closes.

All of them are noted, and the run looks at the note after each step, saves and ends.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import TextIOBase
from typing import TextIO

# Ctrl-C, the system's request to end, and a terminal that closes (Windows has no such signal)
SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
CLOSED_PIPE = 13  # the number of SIGPIPE, which Python turns into BrokenPipeError


@dataclass
class Stop:
    """Whether the run is to end: call it to know."""

    number: int = 0  # of the signal; 0 for none

    def __call__(self) -> bool:
        return self.number != 0

    @property
    def exit_code(self) -> int:
        """The code that a shell gives a program which this signal ended; 0 for none."""
        return 128 + self.number if self.number else 0


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """Yield a `Stop` that notes signals and a closed pipe; the second Ctrl-C interrupts at once.

    Within the block standard output goes through `ClosablePipe`. Threads other than the main one
    cannot receive signals; there only the pipe is watched.
    """
    stop = Stop()

    def note(number: int, frame: object) -> None:
        if stop.number and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.number = number

    before = {}
    try:
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:  # as nohup wants it
                before[number] = signal.signal(number, note)
    except ValueError:  # not the main thread
        pass
    try:
        with redirect_stdout(ClosablePipe(sys.stdout, stop)):
            yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class ClosablePipe(TextIOBase):
    """A text stream that notes in `stop` when its reader has gone, as `head` does, and goes on.

    What is written afterwards is dropped.
    """

    def __init__(self, stream: TextIO | TextIOBase, stop: Stop):
        self.stream = stream
        self.stop = stop
        self.is_closed = False

    def write(self, text: str) -> int:
        self._try(lambda: self.stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(self.stream.flush)

    def isatty(self) -> bool:
        return self.stream.isatty()

    def fileno(self) -> int:
        return self.stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of the stream underneath."""
        return self.stream.encoding

    def _try(self, action: Callable[[], object]) -> None:
        if self.is_closed:
            return
        try:
            action()
        except BrokenPipeError:
            self.is_closed = True
            self.stop.number = self.stop.number or CLOSED_PIPE
            _discard(self.stream)


def _discard(stream: TextIO | TextIOBase) -> None:
    """Let a stream whose reader has gone write to nowhere: else Python fails again at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
