"""The two archives: what students get, without answers, and what the instructor gets, with them."""

import io
import json
import zipfile
from collections.abc import Iterator, Sequence

from pfpn.fold import Notebook
from pfpn.kit.chapter import load_chapter, load_solutions
from pfpn.kit.notes import instructor_notebook
from pfpn.lab import contents, notebook_bytes, without_dead_links
from pfpn.shipped import shipped

SOLUTIONS = "notebooks/solutions/"
START = """# Start here

These are the notebooks of a course on panoptic segmentation and the Lovász losses. Nothing has run
yet, and what an exercise asks for is yours to write.

1. Install the course once, with Python 3.11 or newer: `pip install 'pfpn[notebooks]'`, or what
   your instructor tells you. After that nothing is fetched, so no network is needed.
2. Open a notebook: `jupyter lab notebooks` in this folder, then `{first}`.
3. Answer each question before you run the cell that shows the result.
4. Hand in the notebooks under their own names. What counts are the cells of exercises.

A check tells what is wrong, and `hint("00.id_to_color", 1)` helps when you are stuck.
"""


def student_files(numbers: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of the students' archive: `pfpn lab` without solutions."""
    kept = {name: content for name, content in contents() if _is_kept(name, numbers)}
    for name, content in kept.items():
        if name.endswith(".ipynb"):
            content = notebook_bytes(_without_links(name, json.loads(content), kept))
        elif name.endswith(".md"):
            content = without_dead_links(name, content.decode("utf-8"), kept).encode()
        yield name, content
    first = f"notebooks/{load_chapter(numbers[0]).path.name}"
    yield "START.md", START.format(first=first).encode()


def instructor_files(numbers: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of the instructor's archive: solved, with notes, and solutions."""
    for name, content in contents():
        if _is_kept(name, numbers):
            if name.endswith(".ipynb"):
                chapter = load_chapter(name.removeprefix("notebooks/")[:2])
                content = notebook_bytes(instructor_notebook(chapter))
            yield name, content
    for number in numbers:
        name = load_chapter(number).path.name
        yield f"{SOLUTIONS}{name}", notebook_bytes(load_solutions(number))
    yield "docs/teaching.md", (shipped("docs") / "teaching.md").read_bytes()


def archive(root: str, files: Iterator[tuple[str, bytes]]) -> bytes:
    """Return a ZIP archive with one folder; the same files give the same bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as packed:
        for name, content in files:
            entry = zipfile.ZipInfo(f"{root}/{name}", date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            packed.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def _is_kept(name: str, numbers: Sequence[str]) -> bool:
    if not name.startswith("notebooks/"):
        return True
    return not name.startswith(SOLUTIONS) and name.removeprefix("notebooks/")[:2] in numbers


def _without_links(name: str, notebook: Notebook, kept: dict[str, bytes]) -> Notebook:
    """Turn links of a notebook to what the archive lacks into their words."""
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = without_dead_links(name, "".join(cell["source"]), kept)
    return notebook
