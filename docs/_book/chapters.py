"""Turn a stored notebook into a page of the book: pictures with words, answers behind a click.

A reader of the book runs nothing, so what a student finds out by running is folded: the cells
between a question and its `reveal`, and the code that only draws. What is folded is read off the
cells, as `pfpn.fold` does it for the student's copy.
"""

import ast
import base64
import hashlib
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from pfpn.course.describe import describe_pictures  # noqa: E402
from pfpn.fold import Cell, Notebook, called, folded_kinds, parse_cell  # noqa: E402

# What the book does with a cell, by kind, as myst_nb's tags; and what is written on its fold.
TAGS = {
    "setup": "remove-cell",
    "page": "remove-cell",  # the page itself stands in a frame
    "tally": "remove-cell",  # it counts the predictions of a reader who was not there
    "question": "remove-input question",  # its output says the same
    "reveal": "hide-cell",
    "between": "hide-output",
    "picture": "hide-cell",
    "answer": "hide-input",
    "plot": "hide-input",
}
PROMPTS = {
    "reveal": "Decide first, then open the answer",
    "between": "Decide first, then open what comes out",
    "picture": "Decide first, then open the picture",
    "answer": "Open the code that an exercise asks for",
    "plot": "Code of the pictures",
}
LINK = re.compile(r"(!?)\[((?:[^\[\]\n]|\n(?!\n)|\[[^\[\]\n]*\])*)\]\(([^)\s]+)\)")
FENCE = re.compile(r"(^(?:```|~~~).*?^(?:```|~~~)[ \t]*$)", re.MULTILINE | re.DOTALL)
DATA = re.compile(r'src="data:image/png;base64,([^"]+)"')


def book_notebook(
    notebook: Notebook,
    pictures: Path,
    address_of_pictures: str,
    map_target: Callable[[bool, str, str], str],
    added: Sequence[tuple[str, str]] = (),
) -> Notebook:
    """Return a notebook as the book shows it; the one that is given stays as it is.

    Args:
        notebook: as json reads it.
        pictures: folder that the stored pictures are written to.
        address_of_pictures: of that folder, as seen from the notebook's page.
        map_target: see `map_links`.
        added: heading and Markdown of what is laid into the chapter at the end of the cell with
            that heading.

    Raises:
        ValueError: no cell has such a heading.
    """
    copy: Notebook = json.loads(json.dumps(notebook))
    describe_pictures(copy)
    for cell, kind in zip(copy["cells"], book_kinds(copy["cells"]), strict=True):
        if cell["cell_type"] == "markdown":
            cell["source"] = map_links("".join(cell["source"]), map_target)
        elif kind:
            cell["metadata"]["tags"] = TAGS[kind].split()
            prompt = PROMPTS.get(kind, "")
            cell["metadata"]["mystnb"] = {"code_prompt_show": prompt, "code_prompt_hide": prompt}
        for output in cell.get("outputs", []):
            _without_state(output)
            _picture_to_file(output, pictures, address_of_pictures)
    for heading, text in added:
        _add(copy["cells"], heading, text)
    copy["metadata"].pop("widgets", None)
    return copy


def book_kinds(cells: Sequence[Cell]) -> list[str]:
    """Return for each cell what the book does with it: a key of TAGS, or "" if nothing.

    Between a question and its answer, the output of every cell is folded ("between", "picture"):
    it may already show the answer.
    """
    kinds = folded_kinds(cells)
    waiting = False
    for i, cell in enumerate(cells):
        if cell["cell_type"] != "code":
            continue
        tree = parse_cell(cell)
        calls = called(tree)
        if kinds[i] == "reveal":
            waiting = False
        elif "PageLink" in calls:
            kinds[i] = "page"
        elif "tally" in calls:
            kinds[i] = "tally"
        elif "ask" in calls:
            kinds[i] = "question" if _keeps_calls(tree) else kinds[i]
            waiting = any(kind == "reveal" for kind in kinds[i:])
        elif waiting and cell["outputs"]:
            kinds[i] = "picture" if kinds[i] == "plot" else "between"
    return kinds


def _keeps_calls(tree: ast.Module) -> bool:
    """Return whether each statement only keeps the result of one call."""
    return all(isinstance(s, ast.Assign) and isinstance(s.value, ast.Call) for s in tree.body)


def map_links(text: str, map_target: Callable[[bool, str, str], str]) -> str:
    """Replace each link outside code by what `map_target(is_picture, words, target)` returns."""
    parts = FENCE.split(text)
    parts[::2] = [LINK.sub(lambda m: map_target(bool(m[1]), m[2], m[3]), p) for p in parts[::2]]
    return "".join(parts)


def headings(notebook: Notebook) -> list[str]:
    """Return the headings of a notebook without marks, in order."""
    text = "\n".join("".join(c["source"]) for c in notebook["cells"] if c["cell_type"] != "code")
    return [plain(found) for found in re.findall(r"(?m)^#+ (.+)$", text)]


def plain(heading: str) -> str:
    """Return a heading without Markdown's marks."""
    return re.sub(r"[`*$]", "", heading).strip()


def anchor(heading: str) -> str:
    """Return what the address of a heading ends with, as GitHub and MyST make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _without_state(output: dict[str, Any]) -> None:
    """Leave out what a stored output says about a reader who was not there."""
    for form in ("text/markdown", "text/plain"):
        text = "".join(output.get("data", {}).get(form, ""))
        if "You said:" in text:
            text = re.sub(r"\*{0,2}You said:\*{0,2} no prediction\. ", "", text)
            output["data"][form] = text


def _picture_to_file(output: dict[str, Any], pictures: Path, address: str) -> None:
    """Move the picture of an output into a file of its own: a phone then loads what it shows."""
    html = "".join(output.get("data", {}).get("text/html", ""))
    if not html:
        return

    def write(match: re.Match[str]) -> str:
        content = base64.b64decode(match[1])
        name = f"{hashlib.sha256(content).hexdigest()[:20]}.png"
        pictures.mkdir(parents=True, exist_ok=True)
        (pictures / name).write_bytes(content)
        return f'loading="lazy" src="{address}/{name}"'

    output["data"]["text/html"] = DATA.sub(write, html)


def _add(cells: list[Cell], heading: str, text: str) -> None:
    for i, cell in enumerate(cells):
        found = re.findall(r"(?m)^#+ (.+)$", "".join(cell["source"]))
        if cell["cell_type"] == "markdown" and heading in map(plain, found):
            new = {"cell_type": "markdown", "id": f"added-{i}", "metadata": {}, "source": text}
            cells.insert(i + 1, new)
            return
    raise ValueError(f"found no heading {heading!r}, expected it in the chapter")
