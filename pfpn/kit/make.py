"""Write the classroom kit: hand-outs, slides, quiz, schedule, and what else a class needs."""

from collections.abc import Iterator, Sequence

from pfpn.kit.chapter import chapter_numbers, load_chapter
from pfpn.kit.handout import archive, instructor_files, student_files
from pfpn.kit.nbgrader import CONFIG, nbgrader_notebook
from pfpn.kit.quiz import PARTS, answer_key, answer_sheet, load_part, moodle_xml, paper
from pfpn.kit.schedule import schedule_page
from pfpn.kit.slides import build_deck, contents_page
from pfpn.lab import notebook_bytes
from pfpn.shipped import shipped

README = """# The classroom kit

| file | what it is |
|---|---|
| `student.zip` | for students: the chapters, without solutions. They begin with `START.md` |
| `instructor.zip` | for you alone: chapters solved and with notes, and `docs/teaching.md` |
| `slides/index.html` | a deck for each chapter; it lists the keys |
| `quiz/*.xml` | for Moodle: Question bank, Import, format "Moodle XML" |
| `quiz/*_paper.html`, `*_sheet.html` | to be printed: questions and answer sheets |
| `quiz/*_answers.html` | for you alone: the right answers and their reasons |
| `pages/` | pages that run in a browser; slides link to them, so keep both folders together |
| `schedule.html` | four plans, from one lecture to a term |
| `LICENSE`, `CITATION.cff` | how you may use it, and how to cite it |
"""


def kit_files(
    numbers: Sequence[str] = (), *, nbgrader: bool = False
) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of the kit's files.

    Args:
        numbers: of the chapters, "00" to "11"; all if there is none.
        nbgrader: add a folder for nbgrader.

    Raises:
        ValueError: there is no such chapter, or a plan names what a chapter does not have.
    """
    numbers = sorted(set(numbers)) or chapter_numbers()
    for number in numbers:
        load_chapter(number)
    yield "README.md", README.encode()
    for name in ("LICENSE", "CITATION.cff"):
        yield name, shipped(name).read_bytes()
    yield "student.zip", archive("student", student_files(numbers))
    yield "instructor.zip", archive("instructor", instructor_files(numbers))
    pages = {p.name: p.read_bytes() for p in sorted(shipped("docs").glob("*.html"))}
    for name, content in pages.items():
        yield f"pages/{name}", content
    for number in numbers:
        yield f"slides/{number}.html", build_deck(number, tuple(pages)).encode()
    yield "slides/index.html", contents_page(list(numbers)).encode()
    yield from _quiz(numbers)
    yield "schedule.html", schedule_page().encode()
    if nbgrader:
        yield "nbgrader/nbgrader_config.py", CONFIG.encode()
        for number in numbers:
            chapter = load_chapter(number)
            name = f"nbgrader/source/ch{number}/{chapter.path.name}"
            yield name, notebook_bytes(nbgrader_notebook(chapter))


def _quiz(numbers: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    for name in PARTS:
        part = load_part(name, numbers)
        if part.questions:
            yield f"quiz/{name}.xml", moodle_xml(part)
            yield f"quiz/{name}_paper.html", paper(part).encode()
            yield f"quiz/{name}_sheet.html", answer_sheet(part).encode()
            yield f"quiz/{name}_answers.html", answer_key(part).encode()
