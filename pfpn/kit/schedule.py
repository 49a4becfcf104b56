"""The schedule: the plans of docs/teaching.md, with the minutes that slides and chapters take."""

import html
import re
from dataclasses import dataclass

from pfpn.kit.chapter import chapter_numbers, load_chapter
from pfpn.kit.quiz import sheet
from pfpn.kit.slides import deck_pages
from pfpn.kit.words import to_html
from pfpn.shipped import shipped

PLAN = re.compile(r"^### Plan: (.+?)\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
CHAPTER = re.compile(r"\[(\d\d)\]\(")


@dataclass(frozen=True, slots=True)
class Session:
    """A row of a plan."""

    cells: tuple[str, ...]  # Markdown, as the guide has them
    chapters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Timetable:
    """A plan of the guide."""

    title: str
    head: tuple[str, ...]
    sessions: tuple[Session, ...]


def timetables() -> list[Timetable]:
    """Return the plans of docs/teaching.md.

    Raises:
        ValueError: there is none, or a plan has no table.
    """
    text = (shipped("docs") / "teaching.md").read_text(encoding="utf-8")
    found = [_timetable(title, body) for title, body in PLAN.findall(text)]
    if not found:
        raise ValueError("docs/teaching.md: found no heading '### Plan: ...', expected four")
    return found


def _timetable(title: str, body: str) -> Timetable:
    rows = [
        tuple(cell.strip() for cell in line.strip().strip("|").split("|"))
        for line in body.splitlines()
        if line.lstrip().startswith("|")
    ]
    if len(rows) < 3:
        raise ValueError(f"docs/teaching.md, plan {title!r}: found no table, expected sessions")
    head, _, *lines = rows
    sessions = [Session(cells, tuple(CHAPTER.findall(" ".join(cells)))) for cells in lines]
    return Timetable(title, head, tuple(sessions))


def schedule_page() -> str:
    """Return all plans as a page to be printed, with the minutes of each session's chapters."""
    slides = {n: sum(p.minutes for p in deck_pages(load_chapter(n))) for n in chapter_numbers()}
    parts = []
    for plan in timetables():
        head = "".join(f"<th>{to_html(cell)}</th>" for cell in plan.head)
        rows = ""
        for session in plan.sessions:
            cells = "".join(f"<td>{to_html(cell)}</td>" for cell in session.cells)
            rows += f"<tr>{cells}<td>{_minutes(session.chapters, slides)}</td></tr>"
        head += "<th>minutes of the whole chapters</th>"
        parts.append(f"<h2>{html.escape(plan.title)}</h2><table><tr>{head}</tr>{rows}</table>")
    return sheet("Schedule", "".join(parts))


def _minutes(chapters: tuple[str, ...], slides: dict[str, int]) -> str:
    if not chapters:
        return ""
    read, write = (sum(load_chapter(n).minutes[i] for n in chapters) for i in (0, 1))
    return f"slides {sum(slides[n] for n in chapters)}, read {read}, write {write}"
