"""State in each chapter how long it takes, by one model, so that the sums are right.

    python notebooks/times.py            rewrite the line "**Time.**" of all chapters
    python notebooks/times.py FILE ...   of these

What is read: the words, the lines of code that a student's copy does not fold, the pictures and the
questions. What is done: the minutes that each exercise, capstone and experiment states. The seconds
to run are measured by execute.py and stay as they are.
"""

import json
import re
import sys
from pathlib import Path

from pfpn.fold import Notebook, folded_kinds, reading_seconds

HERE = Path(__file__).resolve().parent

STEP = 5  # minutes; more exact than that no reader is

TIME = re.compile(r"\*\*Time\.\*\*.*?(?=(?:about )?\d+ (?:s|seconds|minutes?) to run)", re.DOTALL)
STATED = re.compile(r"(\d+) minutes")
TASK = re.compile(r"★|^#+ .*\b(?:capstone|experiment)\b", re.IGNORECASE)


def texts(notebook: Notebook, kind: str) -> list[str]:
    """Return the sources of the cells of one kind: "code" or "markdown"."""
    return ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == kind]


def reading_minutes(notebook: Notebook) -> float:
    """Return the minutes that reading takes, questions answered and pictures looked at."""
    cells = notebook["cells"]
    return sum(map(reading_seconds, cells, folded_kinds(cells))) / 60


def task_minutes(notebook: Notebook) -> int:
    """Return the sum of the minutes that the exercises, capstones and experiments state."""
    minutes = 0
    for text in texts(notebook, "markdown"):
        lines = text.splitlines()
        for number, line in enumerate(lines):
            if TASK.search(line):
                stated = STATED.search(line)
                if stated is None and line.startswith("#"):  # stars and minutes stand below it
                    below = " ".join(lines[number + 1 : number + 4])
                    stated = None if "★" in below else STATED.search(below)
                minutes += int(stated[1]) if stated else 0
    return minutes


def stated_line(notebook: Notebook) -> str:
    """Return what a chapter's line "**Time.**" has to say, up to the seconds that it runs."""
    reading = max(STEP, STEP * round(reading_minutes(notebook) / STEP))
    tasks = STEP * round(task_minutes(notebook) / STEP)
    return (
        f"**Time.** about {reading + tasks} minutes: {reading} to read and predict, "
        f"{tasks} to write code; "
    )


def restate(path: Path) -> bool:
    """Rewrite a chapter's line; return whether it changed."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    header = "".join(notebook["cells"][0]["source"])
    if not TIME.search(header):
        raise ValueError(f"{path}: found no '**Time.** ... N s to run' in the first cell")
    line = stated_line(notebook)
    new = TIME.sub(lambda _: line, header, count=1)
    notebook["cells"][0]["source"] = new.splitlines(keepends=True)
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return new != header


if __name__ == "__main__":
    for chapter in map(Path, sys.argv[1:] or sorted(HERE.glob("[01]*.ipynb"))):
        print(chapter.name, "rewritten" if restate(chapter) else "as it was")
