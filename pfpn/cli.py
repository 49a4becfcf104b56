"""The command line: `pfpn COMMAND ...`, which is also `python -m pfpn COMMAND ...`.

Each command is one entry of COMMANDS: a function that adds its arguments and one that runs it.
Heavy imports happen inside the functions, so that `pfpn --help` answers at once. Bad input ends
with one clear line and exit code 2.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Command:
    """One subcommand: its help line, an example, and the two functions behind it."""

    summary: str
    example: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


COMMANDS: dict[str, Command] = {}


def build_parser() -> argparse.ArgumentParser:
    """Build the parser with every command, its help and an example of its use."""
    parser = argparse.ArgumentParser(prog="pfpn", description=__doc__.splitlines()[0])
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return 0 on success and 2 on bad input, which is told in one line."""
    arguments = build_parser().parse_args(argv)
    try:
        return COMMANDS[arguments.command].run(arguments)
    except (ValueError, OSError) as error:
        print(f"pfpn {arguments.command}: {error}", file=sys.stderr)
        return 2
