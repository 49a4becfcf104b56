"""The command that hands out the course: lab."""

import argparse
import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

from pfpn.cli.command import Command, say

if TYPE_CHECKING:
    from pathlib import Path

    from pfpn.lab import Laid

# "Save and Export Notebook As HTML" gives each picture its description.
DESCRIBED = "--HTMLExporter.preprocessors=pfpn.course.describe.DescribePictures"


def _add_lab(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", nargs="?", default="lab", metavar="DIR", help="of your copy (default: lab)"
    )
    parser.add_argument(
        "--no-open", action="store_true", help="write the copy, do not start JupyterLab"
    )
    parser.add_argument(
        "--jupyter",
        default="",
        metavar="OPTIONS",
        help='for JupyterLab, in one argument, such as --jupyter="--no-browser --port=9000"',
    )


def _lab(arguments: argparse.Namespace) -> int:
    from importlib.util import find_spec
    from pathlib import Path

    from pfpn.lab import lay_out

    folder = Path(arguments.folder)
    options = shlex.split(arguments.jupyter)
    if not arguments.no_open and find_spec("jupyterlab") is None:
        raise ValueError(
            "JupyterLab is not installed, expected it with `pip install 'pfpn[notebooks]'`. "
            "Or write the copy with --no-open and open it in another editor"
        )
    _tell(folder, lay_out(folder))
    if arguments.no_open:
        return 0
    return start_jupyter(folder, options)


def _tell(folder: "Path", laid: "Laid") -> None:
    """Say what is new in the copy."""
    if not laid.same and not laid.replaced and not laid.beside:
        say(f"{folder}: your copy of the course, {len(laid.new)} files. Begin with notebooks/00_*.")
        return
    if not laid.new and not laid.replaced and not laid.beside:
        say(f"{folder}: your copy is up to date.")
        return
    for name in laid.new:
        say(f"new            {name}")
    for name in laid.replaced:
        say(f"newer          {name} (you had not changed the old one)")
    for name, beside in laid.beside.items():
        say(f"newer, beside  {beside} (yours stays as it is: {name})")


def start_jupyter(folder: "Path", options: list[str]) -> int:
    """Open the copy's first chapter in JupyterLab; end with it."""
    from pfpn.lab import FIRST

    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={folder.resolve()}"]
    command += [DESCRIBED, *options, str(folder / FIRST)]
    sys.stdout.flush()
    if os.name == "nt":  # there a replaced process would give the prompt back at once
        return subprocess.call(command)
    os.execv(command[0], command)


LAB = Command(
    "lab",
    "open your own copy of the course in JupyterLab; what you change is never overwritten",
    "pfpn lab my_course",
    _add_lab,
    _lab,
)
