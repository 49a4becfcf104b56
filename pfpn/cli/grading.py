"""The command that grades a class's notebooks: grade."""

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
    submissions(folder)
    seed = secrets.randbelow(2**32) if arguments.seed is None else arguments.seed
    limits = Limits(arguments.seconds, arguments.memory << 20)
    rows: list[Grades] = []
    with claim_file(path, "grade") as output:
        for row in grade(folder, seed=seed, limits=limits, jobs=arguments.jobs):
            rows.append(row)
            remarks = f"  ({'; '.join(row.remarks)})" if row.remarks else ""
            say(f"{row.student}: {row.points:g} points{remarks}")
        output.write(path.name, table(rows).encode())
    if arguments.feedback:
        with claim(arguments.feedback, "grade") as output:
            for row in rows:
                output.write(f"{row.student}.html", feedback(row).encode())
    say(f"{path}: {len(rows)} students, random cases of seed {seed}")
    return 0


GRADE = Command(
    "grade",
    "grade the exercises in a class's notebooks, with points, a CSV file and a page of feedback",
    "pfpn grade class --csv grades.csv --feedback feedback",
    _add_grade,
    _grade,
)
