"""The commands for those who teach: kit, grade."""

import argparse
from typing import TYPE_CHECKING

from pfpn.cli.command import Command, require_within, say

if TYPE_CHECKING:
    from pfpn.course.grade import Grades


def _add_grade(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        help="with a folder for each student, which holds notebooks under the chapters' names",
    )
    parser.add_argument("--csv", required=True, metavar="FILE", help="to write: a row a student")
    parser.add_argument(
        "--feedback", metavar="DIR", help="to write: a page for each student (default: none)"
    )
    parser.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="of the random cases; keep it from the students (default: another one each time)",
    )
    parser.add_argument(
        "--seconds", type=int, default=60, help="of processor time for a notebook (default: 60)"
    )
    parser.add_argument(
        "--memory", type=int, default=2048, metavar="MB", help="for a notebook (default: 2048)"
    )
    parser.add_argument("--jobs", type=int, default=2, help="notebooks at a time (default: 2)")


def _grade(arguments: argparse.Namespace) -> int:
    import secrets
    from contextlib import ExitStack
    from importlib.util import find_spec
    from pathlib import Path

    from pfpn.files import claim, claim_file

    require_within(arguments, 1, 86_400, "seconds")
    require_within(arguments, 64, 1 << 20, "memory")
    require_within(arguments, 1, 256, "jobs")
    if find_spec("nbclient") is None or find_spec("resource") is None:
        raise ValueError(
            "grade needs nbclient, expected it with `pip install 'pfpn[notebooks]'`, and a system "
            "that limits processes: Linux"
        )
    from pfpn.course.grade import Limits, feedback, grade, submissions, table

    folder, path = Path(arguments.folder), Path(arguments.csv)
    students = submissions(folder)
    seed = secrets.randbelow(2**32) if arguments.seed is None else arguments.seed
    limits = Limits(arguments.seconds, arguments.memory << 20)
    rows: list[Grades] = []
    with ExitStack() as claims:
        output = claims.enter_context(claim_file(path, "grade"))
        if arguments.feedback:  # before the work, which takes minutes
            pages = claims.enter_context(claim(arguments.feedback, "grade"))
            pages.require_free(f"{student}.html" for student in students)
        for row in grade(folder, seed=seed, limits=limits, jobs=arguments.jobs):
            rows.append(row)
            remarks = f"  ({'; '.join(row.remarks)})" if row.remarks else ""
            say(f"{row.student}: {row.points:g} points{remarks}")
        output.write(path.name, table(rows).encode())
        for row in rows if arguments.feedback else ():
            pages.write(f"{row.student}.html", feedback(row).encode())
    say(f"{path}: {len(rows)} students, random cases of seed {seed}")
    return 0


def _add_kit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", nargs="?", default="dist/kit", metavar="DIR", help="to write (default: dist/kit)"
    )
    parser.add_argument(
        "--chapters", nargs="+", default=[], metavar="NN", help="such as 00 03 10 (default: all)"
    )
    parser.add_argument(
        "--nbgrader", action="store_true", help="add the chapters with nbgrader's marks"
    )


def _kit(arguments: argparse.Namespace) -> int:
    import time

    from pfpn.files import claim
    from pfpn.kit.make import kit_files
    from pfpn.kit.slides import find_reveal

    begin, sizes = time.monotonic(), {}
    with claim(arguments.folder, "kit") as output:
        before = set(output.names())
        files = dict(kit_files(arguments.chapters, nbgrader=arguments.nbgrader))
        output.require_free(files)  # all of the kit is written, or nothing
        for name, content in files.items():
            output.write(name, content)
            sizes[name] = len(content)
        for name in before - sizes.keys():
            output.remove(name)
    for start in sorted({name.partition("/")[0] for name in sizes}):
        parts = [size for name, size in sizes.items() if name.partition("/")[0] == start]
        more = f", {len(parts)} files" if len(parts) > 1 else ""
        say(f"{start:16} {sum(parts) / 1e6:6.1f} MB{more}")
    if not find_reveal():
        say(
            "The slides have their plain keys: reveal.js did not come with this installation. For "
            "its speaker's window run `npm ci --prefix web/slides` in the clone (needs Node) and "
            "then this command again"
        )
    say(f"{arguments.folder}: {len(sizes)} files in {time.monotonic() - begin:.0f} s")
    return 0


KIT = Command(
    "kit",
    "write hand-outs, slides, a quiz, a schedule and the instructor's notebooks for a class",
    "pfpn kit dist/kit --chapters 00 03 10",
    _add_kit,
    _kit,
)
GRADE = Command(
    "grade",
    "grade the exercises in a class's notebooks, with points, a CSV file and a page of feedback",
    "pfpn grade class --csv grades.csv --feedback feedback",
    _add_grade,
    _grade,
)
