"""What commands are made of: their description, common options, progress bars, printing."""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pfpn.files import printable

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Command:
    """One subcommand: its help line, an example, and the two functions behind it."""

    name: str
    summary: str
    example: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]  # returns the exit code


def say(text: object) -> None:
    """Print text, lines as lines and other control characters as escapes."""
    print(printable(text, keep="\n"))


def complain(text: object) -> None:
    """Print text to the stream of errors, likewise."""
    print(printable(text, keep="\n"), file=sys.stderr, flush=True)


MOST = 10**9  # images, seeds, pixels of a side: more than anybody has


def require_within(arguments: argparse.Namespace, least: int, most: int, *names: str) -> None:
    """Raise ValueError if a number among the arguments is out of bounds."""
    for name in names:
        value = getattr(arguments, name)
        if not least <= value <= most:
            limit = f"{least} or more" if value < least else f"at most {most}"
            raise ValueError(f"--{name}: found {value}, expected {limit}")


def folder_name(folder: "Path") -> str:
    """Return the last part of a path, also of "." and ".."."""
    return folder.name if folder.name not in ("", "..") else folder.resolve().name


def require_elsewhere(option: str, folder: "Path", paths: "Iterable[Path]") -> None:
    """Raise ValueError if results would be written among a data set's own files.

    Args:
        option: that names the folder.
        folder: of the results; a JSON file of its name lies beside it.
        paths: of the data set.
    """
    place = folder.resolve()
    for path in paths:
        own = path.resolve()
        index = place.parent / f"{place.name}.json"
        if own in (place, index) or own in place.parents:
            raise ValueError(
                f"{option} {folder}: found the data set's own {path}, expected a folder of its own"
            )


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add --workers, the number of threads."""
    from pfpn.data.threads import usable_cores

    parser.add_argument(
        "--workers",
        type=int,
        default=usable_cores(),
        metavar="N",
        help="threads (default: one per processor core)",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add --device, where the network computes."""
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)"
    )


@contextmanager
def image_bar(total: int, is_main: bool = True) -> Iterator[Callable[[], object]]:
    """Draw a bar over images on a terminal; yield the function that moves it on by one."""
    from tqdm import tqdm

    on_terminal = is_main and sys.stderr.isatty()
    with tqdm(total=total, unit="image", disable=not on_terminal, dynamic_ncols=True) as bar:
        yield bar.update


@contextmanager
def count_bar() -> Iterator[Callable[[int, int], None]]:
    """Draw a bar over images on a terminal; yield the function that takes (done, all)."""
    from tqdm import tqdm

    with tqdm(unit="image", disable=not sys.stderr.isatty(), dynamic_ncols=True) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show


@contextmanager
def byte_bar() -> Iterator[Callable[[int, int | None], None]]:
    """Draw a bar over bytes on a terminal; yield the function that takes (done, all or None)."""
    from tqdm import tqdm

    is_quiet = not sys.stderr.isatty()
    with tqdm(unit="B", unit_scale=True, disable=is_quiet, dynamic_ncols=True) as bar:

        def show(done: int, total: int | None) -> None:
            if done < bar.n:  # the next file
                bar.reset()
            bar.total = total
            bar.update(done - bar.n)

        yield show
