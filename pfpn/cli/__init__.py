"""The command line: `pfpn COMMAND ...`, which is also `python -m pfpn COMMAND ...`.

Each command stands in one place, as a `Command`; COMMANDS lists them in the order of the help.
Heavy imports happen inside the functions, so that `pfpn --help` answers at once. Bad input ends
with one clear line, or a list of them, and exit code 2; Ctrl-C and signals with one line and 128
plus the signal's number.
"""

import argparse
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NoReturn

from pfpn.cli.command import Command, complain
from pfpn.cli.data import CHECK, DOWNLOAD, SCORE, TOY_COMMAND
from pfpn.cli.grading import GRADE, KIT
from pfpn.cli.lab import LAB
from pfpn.cli.listing import PRESETS_COMMAND, SETTINGS, TEST_INSTALL
from pfpn.cli.own_data import BROWSE, COMBINE, EXPORT_DATA, IMPORT, SPLIT
from pfpn.cli.pages import PAGES_COMMAND
from pfpn.cli.training import DEMO, REPRODUCE, TRAIN
from pfpn.cli.using import CONVERT, EVALUATE, EXPORT, PREDICT
from pfpn.files import printable
from pfpn.version import VERSION

COMMANDS: dict[str, Command] = {
    command.name: command
    for command in (
        DEMO,
        LAB,
        PAGES_COMMAND,
        KIT,
        GRADE,
        TEST_INSTALL,
        TOY_COMMAND,
        IMPORT,
        CHECK,
        SPLIT,
        BROWSE,
        PRESETS_COMMAND,
        SETTINGS,
        TRAIN,
        REPRODUCE,
        EVALUATE,
        PREDICT,
        SCORE,
        COMBINE,
        EXPORT_DATA,
        CONVERT,
        EXPORT,
        DOWNLOAD,
    )
}
CLOSED_PIPE = 13  # the number of SIGPIPE, which Python turns into BrokenPipeError

SPINS = "20000"  # turns that a thread waits awake before it sleeps: some 50 microseconds


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """End with exit code 2."""
        self.exit(2, f"{self.prog}: {printable(message)} (see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with every command, its help and an example of its use."""
    parser = Parser(prog="pfpn", description=__doc__.splitlines()[0])
    parser.add_argument("--version", action="version", version=f"pfpn {VERSION}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        sub = subparsers.add_parser(
            name,
            help=command.summary,
            description=command.summary,
            epilog=f"example: {command.example}",
        )
        command.add_arguments(sub)
    return parser


def prepare_torch() -> None:
    """Set what torch reads when it is imported, where the user has not set it.

    What Apple's GPU lacks (device=mps) is computed by the CPU. Threads that wait for each other
    sleep soon. A step of a small network has thousands of short parts. Threads that sleep at the
    end of each lose more time in waking up than a second thread gains: measured on two cores, a
    step of the drawn world takes 98 ms on one thread, 115 on two that sleep at once and 75 on two
    that wait awake. Threads that never sleep take the processor from programs beside them.
    """
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)  # of GNU's OpenMP
    os.environ.setdefault("KMP_BLOCKTIME", "1")  # of LLVM's and Intel's, in milliseconds


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 on success, 2 on bad input.

    A signal, Ctrl-C or a reader of the output that has gone end a command with 128 plus the
    signal's number.
    """
    prepare_torch()
    parser = build_parser()
    arguments, rest = parser.parse_known_args(argv)
    # argparse ends a list of settings at the first option; those behind it belong to it too.
    if rest and (not hasattr(arguments, "settings") or any(r.startswith("-") for r in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    elif rest:
        arguments.settings += rest
    command = COMMANDS[arguments.command]
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started the process
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # what a terminal cannot show is shown as an escape
            stream.reconfigure(errors="backslashreplace")
    try:
        with signals_raised(), _quiet_pillow():
            code = command.run(arguments)
            sys.stdout.flush()
            return code
    except SignalError as stopped:
        return _stopped(command, stopped.number, signal.Signals(stopped.number).name)
    except KeyboardInterrupt:
        return _stopped(command, signal.SIGINT, "Ctrl-C")
    except BrokenPipeError:
        with suppress(OSError, ValueError):  # else Python fails again at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + CLOSED_PIPE
    except RecursionError:
        complain(f"pfpn {command.name}: found something nested too deeply in a file")
    except MemoryError:
        complain(f"pfpn {command.name}: found too little memory. Try fewer or smaller images")
    except (ValueError, OSError) as error:
        complain(f"pfpn {command.name}: {_in_words(error)}")
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's, without importing it here
            raise
        reason = str(error).partition(". ")[0]
        complain(f"pfpn {command.name}: {reason}. Try smaller images, or --device cpu")
    return 2


def _in_words(error: ValueError | OSError) -> str:
    """Return the message of an error; one of the system begins with the file, as all others do."""
    if not isinstance(error, OSError) or error.filename is None or error.strerror is None:
        return str(error)
    name, reason = os.fsdecode(error.filename), error.strerror.lower()
    return f"{name}: found it unusable ({reason}), expected a file or folder that pfpn may use"


def _stopped(command: Command, number: int, name: str) -> int:
    complain(f"pfpn {command.name}: stopped by {name}")
    return 128 + number


class SignalError(BaseException):
    """A signal that asks the process to end."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


@contextmanager
def signals_raised() -> Iterator[None]:
    """Raise SignalError in the block when the system asks the process to end.

    So everything is cleaned up on the way out. A signal that is ignored stays so, as under nohup.
    """

    def stop(number: int, frame: object) -> None:
        raise SignalError(number)

    before = {}
    try:
        for name in ("SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) == signal.SIG_DFL:
                before[number] = signal.signal(number, stop)
    except ValueError:  # not the main thread, which alone receives signals
        pass
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Keep Pillow's remarks on odd files from the terminal; what cannot be read is an error."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield
