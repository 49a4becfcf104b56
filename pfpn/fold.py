"""Turn a stored chapter into a student's: no outputs, and answers folded away.

A fold is JupyterLab's own: the cell is there, runs with the others, and one click opens it. What is
folded is read off the cells, so no author has to remember it:

    reveal    shows the result of a prediction: a call of `.reveal(...)`
    answer    holds what an exercise asks for: its author tagged it so
    plot      only shows pictures, and no later cell uses a name that it defines
    setup     the first cell, which installs the package where it is missing

The text that explains a result states it, and a notebook cannot fold text by itself. So the text
between a result and the next heading is laid into an element that one click or key opens. A later
cell that states the result once more has the tag "result"; a first one that does not state it, and
leads to the next step, has the tag "lead".
"""

import ast
import json
import re
from collections.abc import Sequence
from typing import Any

Cell = dict[str, Any]
Notebook = dict[str, Any]

FOLDED_TAGS = ("answer", "setup")
SHOWN_TAGS = ("exercise", "source=")  # the reader writes it, or is to read it
# What stands on a folded cell. JupyterLab shows a cell's first line, which else may tell a result;
# Colab folds by a `cellView` of its own and shows what follows "@title".
TITLES = {
    "reveal": "# @title Predict first. Then run this cell: it shows the result",
    "answer": "# @title Holds what an exercise asks for. Run it; open it when yours is written",
    "plot": "# @title Shows a picture",
    "setup": "# @title Installs the package where it is missing",
}
EXPLANATION = "After your prediction: what the result says"
HEADING = re.compile(r"^#{1,6} ", re.MULTILINE)
SPEAKING = ("print", "ask", "check", "tally")  # a cell with one of these is more than a picture

# Text with formulas, in a second language. Plain prose in the first: 238 words (Brysbaert, 2019).
WORDS_PER_MINUTE = 150
SECONDS_PER_LINE = 3  # of code
SECONDS_PER_PICTURE = 40
SECONDS_PER_QUESTION = 30


def student_notebook(notebook: Notebook) -> Notebook:
    """Return a chapter as its reader first sees it; the one that is given stays as it is."""
    copy: Notebook = json.loads(json.dumps(notebook))
    kinds = folded_kinds(copy["cells"])
    for cell, kind in zip(copy["cells"], kinds, strict=True):
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
        if kind:
            cell["metadata"].setdefault("jupyter", {})["source_hidden"] = True
            cell["metadata"]["cellView"] = "form"
            cell["source"] = f"{TITLES[kind]}\n{''.join(cell['source'])}"
    for i in explanations(copy["cells"]):
        folded, rest = divide(copy["cells"][i])
        copy["cells"][i]["source"] = fold_text(folded) + rest
    return copy


def explanations(cells: Sequence[Cell]) -> list[int]:
    """Return the indices of the cells of text whose beginning explains a prediction's result.

    Such a cell is the first text after a `reveal`, if it does not begin with a heading.
    """
    found = []
    is_next = False
    for i, (cell, kind) in enumerate(zip(cells, folded_kinds(cells), strict=True)):
        if kind == "reveal":
            is_next = True
        elif cell["cell_type"] == "markdown":
            tags = cell["metadata"].get("tags", [])
            if ("result" in tags or (is_next and "lead" not in tags)) and divide(cell)[0]:
                found.append(i)
            is_next = False
    return found


def divide(cell: Cell) -> tuple[str, str]:
    """Return the text of a cell up to its first heading, and the rest."""
    text = "".join(cell["source"])
    heading = HEADING.search(text)
    start = heading.start() if heading else len(text)
    return text[:start].strip(), text[start:]


def fold_text(text: str) -> str:
    """Return Markdown that shows a line to click on, and the text only after that.

    The empty lines let a reader of Markdown see formulas, lists and links inside.
    """
    return f"<details>\n<summary>{EXPLANATION}</summary>\n\n{text}\n\n</details>\n\n"


def folded_kinds(cells: Sequence[Cell]) -> list[str]:
    """Return for each cell why it is folded: "reveal", "answer", "plot", "setup", or "" if not."""
    kinds = []
    used: set[str] = set()  # by the cells that follow
    for cell in reversed(cells):
        tree = parse_cell(cell)
        kinds.append(_kind(cell, tree, used))
        used |= _loaded(tree) - _defined(tree)  # its own loop variables are no use of ours
    return kinds[::-1]


def reading_seconds(cell: Cell, kind: str) -> float:
    """Return how long a cell takes to read, its questions answered and pictures looked at.

    Args:
        cell: of a stored chapter.
        kind: as `folded_kinds` gives it; folded code is not read.
    """
    text = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return len(re.findall(r"\w[\w.,'-]*", text)) * 60 / WORDS_PER_MINUTE
    lines = 0 if kind else len([line for line in text.splitlines() if line.strip()])
    pictures = len(re.findall(r"^(?:show|explore\w*)\(", text, re.MULTILINE))
    questions = len(re.findall(r"\bask\($|\bask\(\S", text, re.MULTILINE))
    return (
        lines * SECONDS_PER_LINE + pictures * SECONDS_PER_PICTURE + questions * SECONDS_PER_QUESTION
    )


def called(tree: ast.AST) -> list[str]:
    """Return the last name of each function that is called: "show", "reveal", ..."""
    return [
        ast.unparse(node.func).rpartition(".")[2]
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    ]


def _kind(cell: Cell, tree: ast.Module, used: set[str]) -> str:
    tags = cell["metadata"].get("tags", [])
    for tag in FOLDED_TAGS:
        if tag in tags:
            return tag
    calls = called(tree)
    if "reveal" in calls:
        return "reveal"
    shows = any(name == "show" or name.startswith("explore") for name in calls)
    speaks = any(name in SPEAKING for name in calls) or any(
        isinstance(node, ast.Assert) for node in ast.walk(tree)
    )
    to_read = any(tag.startswith(SHOWN_TAGS) for tag in tags)
    return "plot" if shows and not speaks and not to_read and not _defined(tree) & used else ""


def _loaded(tree: ast.Module) -> set[str]:
    return {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }


def _defined(tree: ast.Module) -> set[str]:
    """Return the names that a cell leaves behind, other than by importing them."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
    return names


def parse_cell(cell: Cell) -> ast.Module:
    """Return the code of a cell; nothing for text, and for what only IPython can run."""
    try:
        return ast.parse("".join(cell["source"]) if cell["cell_type"] == "code" else "")
    except SyntaxError:
        return ast.parse("")
