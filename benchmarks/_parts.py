"""Run the parts of a measurement one after the other, each on its own, within a time for all.

Each part runs in a process of its own: an error, a crash of the device or a part that never ends is
recorded, and the next part begins with a clean device. What a part has measured is written at once,
as JSON and as one page of Markdown, so that a run which is cut off leaves all it has found.
"""

import json
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pfpn.files import write_atomically

Row = dict[str, Any]

# A part looks at its time between measurements; it is ended after so many times its time and so
# many seconds.
GRACE, EXTRA = 1.5, 5.0


@dataclass(frozen=True, slots=True)
class Setting:
    """What a part runs on, and until when."""

    device: str  # "cuda" or "cpu"
    small: bool  # sizes for a rehearsal
    folder: Path  # for what a part has to write
    deadline: float = float("inf")  # of time.monotonic()

    def left(self) -> float:
        """Return the seconds that this part still has."""
        return self.deadline - time.monotonic()


@dataclass(frozen=True, slots=True)
class Part:
    """One part: what it measures, and how its time compares with that of the others."""

    name: str
    seconds: float
    run: Callable[[Setting], Iterator[Row]]
    title: str = ""


def run_parts(parts: Sequence[Part], setting: Setting, minutes: float, report: "Report") -> bool:
    """Run the parts and write the report after every row; return whether all is well.

    What is left of the time is shared by the parts that are left, in proportion to their seconds.
    """
    end = time.monotonic() + 60 * minutes
    for number, part in enumerate(parts):
        left = end - time.monotonic()
        seconds = left * part.seconds / sum(other.seconds for other in parts[number:])
        record = report.begin(part)
        if seconds < 1:
            record["error"] = "left out: no time was left for it"
        else:
            began = time.monotonic()
            within = replace(setting, deadline=began + seconds)
            most = min(GRACE * seconds + EXTRA, left)
            record["error"] = _run_alone(part, within, most, report)
            record["seconds"] = round(time.monotonic() - began, 1)
        report.write()
        print(report.summary(), flush=True)
    return report.is_fine()


def _run_alone(part: Part, setting: Setting, most: float, report: "Report") -> str:
    """Run a part in a process of its own; return its error, "" where there is none."""
    context = multiprocessing.get_context("fork")  # what is imported is there at once
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_rows, args=(part, setting, sender))
    end = time.monotonic() + most
    process.start()
    sender.close()
    try:
        while True:
            if not receiver.poll(max(0.0, end - time.monotonic())):
                return f"ended: it was not done after {most:.0f} s"
            try:
                kind, content = receiver.recv()
            except EOFError:
                process.join()
                return f"its process ended with code {process.exitcode}"
            if kind == "end":
                process.join(5)
                return str(content)
            report.add(content)
    finally:
        receiver.close()
        if process.is_alive():
            _kill(process.pid)
        process.join()


def _kill(pid: int | None) -> None:
    """Kill a part's process and those that it started."""
    try:
        os.killpg(pid, signal.SIGKILL)  # type: ignore[arg-type]
    except ProcessLookupError:  # it has not become the leader of its group yet
        os.kill(pid, signal.SIGKILL)  # type: ignore[arg-type]


def _send_rows(part: Part, setting: Setting, sender: Connection) -> None:
    os.setpgid(0, 0)
    error = ""
    try:
        for row in part.run(setting):
            sender.send(("row", row))
    except Exception:  # whatever it is, the other parts go on
        error = traceback.format_exc(limit=-4)
    sender.send(("end", error))
    sender.close()


# What is written ---------------------------------------------------------------------------------


class Report:
    """All rows so far, as FOLDER/NAME.json and FOLDER/NAME.md."""

    def __init__(self, folder: Path, name: str, title: str, facts: Row):
        self.folder, self.name, self.title, self.facts = folder, name, title, facts
        self.parts: list[Row] = []
        folder.mkdir(parents=True, exist_ok=True)

    def begin(self, part: Part) -> Row:
        """Return the record of a part, which rows are added to from now on."""
        record = {
            "name": part.name, "title": part.title, "seconds": 0.0, "error": "", "rows": [],
        }  # fmt: skip
        self.parts.append(record)
        return record

    def add(self, row: Row) -> None:
        """Add a row to the part that runs, and write all."""
        self.parts[-1]["rows"].append(row)
        self.write()

    def is_fine(self) -> bool:
        """Return whether every part ended well and no check failed; "ok" is a check's result."""
        return not any(record["error"] or _num_failed(record) for record in self.parts)

    def summary(self) -> str:
        """Return a line on the part that ran last."""
        record = self.parts[-1]
        end = record["error"].strip().splitlines()[-1] if record["error"] else "done"
        rows = f"{len(record['rows'])} rows, {_num_failed(record)} of them failed"
        return f"{record['name']}: {record['seconds']} s, {rows}: {end}"

    def write(self) -> None:
        """Write both files; each is whole at any time."""
        content = self.facts | {"parts": self.parts}
        text = json.dumps(content, indent=1, default=str) + "\n"
        write_atomically(self.folder / f"{self.name}.json", text.encode())
        write_atomically(self.folder / f"{self.name}.md", self.markdown().encode())

    def markdown(self) -> str:
        """Return one page: a table for each part."""
        lines = [f"# {self.title}", ""]
        lines += [f"- {key}: {value}" for key, value in self.facts.items()]
        for part in self.parts:
            lines += ["", f"## {part['name']} ({part['seconds']} s)", ""]
            lines += [part["title"], ""] if part["title"] else []
            lines += _table(part["rows"])
            if part["error"]:
                lines += ["", "```text", part["error"].strip(), "```"]
        return "\n".join(lines) + "\n"


def _num_failed(record: Row) -> int:
    return sum("error" in row or not row.get("ok", True) for row in record["rows"])


def _table(rows: Sequence[Row]) -> list[str]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    if not names:
        return []
    lines = [names, ["---"] * len(names)]
    lines += [[_cell(row.get(name)) for name in names] for row in rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value).replace("|", "\\|").replace("\n", " ")
