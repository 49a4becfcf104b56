"""A stored chapter as the kit reads it: texts, pictures, predictions with their results, tables.

Everything in the kit is made from the notebooks when the kit is made, so that a new run of a
chapter changes slides, quiz and notes with it.
"""

import ast
import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from pfpn.course.check import Exercise, all_exercises
from pfpn.fold import Cell, Notebook
from pfpn.shipped import shipped

RESULT = "**It is:** "
NUMBER = re.compile(r"(-?\d+(?:\.\d+)?(?:e-?\d+)?)")


@dataclass(frozen=True, slots=True)
class Picture:
    """A stored figure with its description."""

    png: bytes
    alt: str
    width: int  # in CSS pixels, as the notebook shows it
    height: int


@dataclass(frozen=True, slots=True)
class Prediction:
    """A question of a chapter with its result."""

    chapter: str  # "03"
    name: str  # the variable: "guess_hidden"
    question: str
    options: tuple[str, ...]  # none: the prediction is a number
    unit: str  # of the number
    truth: str  # one of the options, or a number
    because: str
    tolerance: float  # of the number
    asks: str  # id of the cell that asks
    reveals: str  # id of the cell that shows the result


@dataclass(frozen=True)
class Chapter:
    """One notebook with its stored outputs."""

    path: Path
    notebook: Notebook

    @property
    def number(self) -> str:
        """Return "03" of 03_proposals.ipynb."""
        return self.path.name[:2]

    @cached_property
    def cells(self) -> dict[str, Cell]:
        """Return the cells by their ids."""
        return {cell["id"]: cell for cell in self.notebook["cells"]}

    @cached_property
    def head(self) -> str:
        """Return the text of the first cell: title, question, goals and time."""
        return source(self.notebook["cells"][0])

    @property
    def title(self) -> str:
        """Return the title without its number."""
        return _found(r"^# \d\d ([^\n]+)", self.head, self.path)

    @property
    def question(self) -> str:
        """Return the chapter's question, as one line of Markdown."""
        text = _found(r"\*\*Question\.\*\* (.+?)(?:\n\n|\Z)", self.head, self.path)
        return " ".join(text.split())

    @property
    def goals(self) -> list[str]:
        """Return what a reader will be able to do, as lines of Markdown."""
        after = self.head.partition("**You will be able to**")[2].partition("**Time.**")[0]
        return [" ".join(g.split()) for g in re.findall(r"^- (.+?)[;,.]?$", after, re.MULTILINE)]

    @property
    def minutes(self) -> tuple[int, int]:
        """Return the stated minutes to read and predict, and to write code."""
        text = _found(r"\*\*Time\.\*\* about \d+ minutes: (.+?);", self.head, self.path)
        read, write = re.findall(r"\d+", text)[:2]
        return int(read), int(write)

    @property
    def experiment(self) -> str:
        """Return the question of the experiment that has no answer."""
        cell = next(c for i, c in self.cells.items() if i.endswith("-experiment"))
        text = _found(r"\*\*Question\.\*\* (.+?)(?:\n\n|\Z)", source(cell), self.path)
        return " ".join(text.split())

    @property
    def exercises(self) -> list[Exercise]:
        """Return the chapter's exercises, in their order."""
        return [e for name, e in all_exercises().items() if name.startswith(self.number)]

    def picture(self, cell: str, number: int = 0) -> Picture:
        """Return a figure that a cell shows.

        Raises:
            ValueError: there is no such cell, or it has too few figures.
        """
        outputs = [o for o in self.outputs(cell) if "image/png" in o.get("data", {})]
        if number >= len(outputs):
            raise ValueError(f"{self.path.name}, cell {cell}: found {len(outputs)} figures")
        output = outputs[number]
        about = output["metadata"]["image/png"]
        png = base64.b64decode("".join(output["data"]["image/png"]))
        return Picture(png, about["alt"], int(about["width"]), int(about["height"]))

    def printed(self, cell: str) -> str:
        """Return what a cell printed or returned as plain text, without predictions."""
        texts = []
        for output in self.outputs(cell):
            data = output.get("data", {})
            if output["output_type"] == "stream":
                texts.append("".join(output["text"]))
            elif "text/markdown" not in data and "image/png" not in data:
                texts.append("".join(data.get("text/plain", "")))
        return "\n".join(texts).strip("\n")

    def everything(self, cell: str) -> str:
        """Return all text of a cell: its source, what it printed, and descriptions of figures."""
        parts = [source(self.cells[cell])]
        for output in self.cells[cell].get("outputs", []):
            data = output.get("data", {})
            parts.append("".join(output.get("text", "")))
            parts.append("".join(data.get("text/markdown", data.get("text/plain", ""))))
        return "\n".join(parts)

    def value(self, cell: str, pattern: str) -> float:
        """Return the number that a pattern's group finds in a cell's stored text.

        Raises:
            ValueError: there is no such cell, or the pattern is not in it.
        """
        self.outputs(cell)
        found = re.search(pattern, self.everything(cell), re.DOTALL)
        if not found:
            raise ValueError(f"{self.path.name}, cell {cell}: found no {pattern!r}")
        return float(found[1].replace(",", ""))

    def outputs(self, cell: str) -> list[dict[str, Any]]:
        """Return the stored outputs of a cell.

        Raises:
            ValueError: there is no such cell.
        """
        if cell not in self.cells:
            raise ValueError(f"{self.path.name}: found no cell {cell!r}")
        outputs: list[dict[str, Any]] = self.cells[cell].get("outputs", [])
        return outputs

    @cached_property
    def predictions(self) -> dict[str, Prediction]:
        """Return the chapter's questions with their results, by their names."""
        cells = {name: cell for cell in self.cells for name in _names(self.cells[cell], "ask")}
        results: dict[str, tuple[str, str, float]] = {}
        for cell in self.cells.values():
            results |= dict(self._results(cell))
        return {name: self._prediction(name, cells[name], *results[name]) for name in cells}

    def _results(self, cell: Cell) -> Iterator[tuple[str, tuple[str, str, float]]]:
        """Yield for each result that a cell shows the question's name, its text, its tolerance."""
        texts = [
            "".join(output["data"]["text/markdown"]).partition(RESULT)[2]
            for output in cell.get("outputs", [])
            if RESULT in "".join(output.get("data", {}).get("text/markdown", ""))
        ]
        calls = list(_reveals(cell))
        for (name, tolerance), text in zip(calls, texts, strict=bool(calls)):
            yield name, (cell["id"], text, tolerance)

    def _prediction(
        self, name: str, cell: str, revealed: str, result: str, tolerance: float
    ) -> Prediction:
        (text,) = [
            "".join(output["data"]["text/markdown"]) for output in self.cells[cell]["outputs"]
        ]
        text = text.removeprefix("**Your prediction?** ")
        question, *options = text.split("\n- ")
        options = [option.strip() for option in options]
        question = question.strip()
        unit = re.search(r" \(a number of (.+)\)$", question)
        if options:
            fitting = [o for o in options if result.startswith(f"{o}.")]
            truth = max(fitting, key=len)
            because = result[len(truth) + 1 :]
        else:
            truth = _found(NUMBER.pattern, result, self.path)
            because = re.sub(rf"^{NUMBER.pattern}( {unit[1] if unit else ''})?\. ?", "", result)
        question = question[: unit.start()] if unit else question
        name_of_unit = unit[1] if unit else ""
        return Prediction(
            self.number, name, question, tuple(options), name_of_unit, truth, because.strip(),
            tolerance, cell, revealed,
        )  # fmt: skip


def source(cell: Cell) -> str:
    """Return a cell's text."""
    return "".join(cell["source"])


def _found(pattern: str, text: str, path: Path) -> str:
    found = re.search(pattern, text, re.MULTILINE | re.DOTALL)
    if not found:
        raise ValueError(f"{path.name}: found no text like {pattern!r}")
    return found[1]


def _names(cell: Cell, function: str) -> list[str]:
    """Return the names that a cell gives to results of a function."""
    if cell["cell_type"] != "code":
        return []
    return re.findall(rf"^(\w+) = {function}\(", source(cell), re.MULTILINE)


def _reveals(cell: Cell) -> Iterator[tuple[str, float]]:
    """Yield name and tolerance for each call of `reveal` in a cell, in their order."""
    if cell["cell_type"] != "code" or ".reveal(" not in source(cell):
        return
    lines = ["" if line.startswith(("%", "!")) else line for line in source(cell).split("\n")]
    for node in ast.walk(ast.parse("\n".join(lines))):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="reveal")):
                given = {k.arg: k.value for k in node.keywords}
                at = node.args[2] if len(node.args) > 2 else given.get("tolerance")
                yield name, float(ast.literal_eval(at)) if at else 0.0


@cache
def load_chapter(number: str) -> Chapter:
    """Return a chapter by its number, "03".

    Raises:
        ValueError: there is no such chapter.
    """
    chapters = {path.name[:2]: path for path in sorted(shipped("notebooks").glob("[01]*.ipynb"))}
    if number not in chapters:
        raise ValueError(f"chapter {number!r}: found none of that number, expected 00 to 11")
    return Chapter(chapters[number], read_notebook(chapters[number]))


def load_solutions(number: str) -> Notebook:
    """Return the solutions of a chapter."""
    return read_notebook(shipped("notebooks") / "solutions" / load_chapter(number).path.name)


def chapter_numbers() -> list[str]:
    """Return the numbers of all chapters, "00" to "11"."""
    return sorted(path.name[:2] for path in shipped("notebooks").glob("[01]*.ipynb"))


def read_notebook(path: Path) -> Notebook:
    """Return a notebook from its file."""
    notebook: Notebook = json.loads(path.read_text(encoding="utf-8"))
    return notebook
