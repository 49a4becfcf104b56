"""The quiz: every prediction of the chapters and sixty questions more, for Moodle and on paper.

Numbers that are right come from the notebooks as they are stored, and so does the width within
which an answer is right: half of the last printed digit, or a part of the number.
"""

import hashlib
import html
import random
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from pfpn.kit.chapter import Chapter, Prediction, load_chapter
from pfpn.kit.words import to_html, to_plain

QUIZ = Path(__file__).resolve().parent / "quiz"
PARTS = ("network", "loss", "map")
RELATIVE = 0.02  # of a fraction: how far off an answer may be, unless a question says otherwise


@dataclass(frozen=True, slots=True)
class Question:
    """One question with its answer."""

    name: str  # "03 how_many"
    text: str  # Markdown
    options: tuple[str, ...]  # none: the answer is a number
    right: int  # index of the right option
    value: float  # of a number
    tolerance: float
    unit: str
    because: str

    @property
    def answer(self) -> str:
        """Return the right answer as text."""
        if self.options:
            return f"{'ABCDEFGH'[self.right]}. {self.options[self.right]}"
        return f"{self.value:g} {self.unit}".strip()


@dataclass(frozen=True, slots=True)
class Part:
    """The questions of one part of the course."""

    name: str  # "network"
    title: str
    questions: tuple[Question, ...]


def load_part(name: str, numbers: Sequence[str] = ()) -> Part:
    """Return the questions of a part: its chapters' predictions, then those of its own.

    Args:
        name: one of PARTS.
        numbers: of the chapters; all of the part if there is none.

    Raises:
        ValueError: a question names a cell that the notebook does not have, or a text in it.
    """
    content = tomllib.loads((QUIZ / f"{name}.toml").read_text(encoding="utf-8"))
    chosen = [n for n in content["chapters"] if not numbers or n in numbers]
    questions = [_of_prediction(p) for n in chosen for p in load_chapter(n).predictions.values()]
    counts = dict.fromkeys(chosen, 0)
    for entry in content["question"]:
        number = entry["chapter"]
        if number in counts:
            counts[number] += 1
            title = f"{number} question {counts[number]}"
            questions.append(_of_entry(title, entry, load_chapter(number)))
    return Part(name, content["title"], tuple(questions))


def _of_prediction(prediction: Prediction) -> Question:
    name = f"{prediction.chapter} {prediction.name.removeprefix('guess_')}"
    if prediction.options:
        right = prediction.options.index(prediction.truth)
        return Question(
            name, prediction.question, prediction.options, right, 0, 0, "", prediction.because
        )
    tolerance = max(prediction.tolerance, _half_digit(prediction.truth))
    value = float(prediction.truth)
    return Question(
        name, prediction.question, (), 0, value, tolerance, prediction.unit, prediction.because
    )


def _of_entry(name: str, entry: dict[str, Any], chapter: Chapter) -> Question:
    given = {k: f"{chapter.value(*where):g}" for k, where in entry.get("given", {}).items()}
    text = entry["text"]
    for key, number in given.items():
        text = text.replace(f"{{{key}}}", number)
    if "options" in entry:
        right, *wrong = entry["options"]
        options = [right, *wrong]
        random.Random(int(hashlib.sha256(text.encode()).hexdigest(), 16)).shuffle(options)
        at = options.index(right)
        return Question(name, text, tuple(options), at, 0, 0, "", entry["because"])
    value = chapter.value(entry["cell"], entry["pattern"])
    tolerance = _tolerance(value, entry.get("relative"))
    unit = entry.get("unit", "")
    return Question(name, text, (), 0, value, tolerance, unit, entry["because"])


def _tolerance(value: float, relative: float | None) -> float:
    """Return how far off a number may be: a part of it, and at least half of its last digit."""
    if relative == 0:  # a count
        return 0.0
    if relative is None and value.is_integer():
        return 0.5
    part = abs(value) * (RELATIVE if relative is None else relative)
    return round(max(part, _half_digit(f"{value:g}")), 10)


def _half_digit(text: str) -> float:
    """Return half of a number's last digit after the point; 0 for a whole number."""
    digits = text.partition(".")[2]
    return 0.5 * 10 ** -len(digits) if digits.isdigit() else 0.0


# Moodle -------------------------------------------------------------------------------------------


def moodle_xml(part: Part) -> bytes:
    """Return a part as Moodle's XML, for "Import questions", format "Moodle XML"."""
    quiz = ElementTree.Element("quiz")
    category = ElementTree.SubElement(quiz, "question", type="category")
    _text(category, "category", f"$course$/top/Panoptic FPN and Lovász/{part.title}")
    for question in part.questions:
        kind = "multichoice" if question.options else "numerical"
        node = ElementTree.SubElement(quiz, "question", type=kind)
        _text(node, "name", question.name)
        unit = f" (in {question.unit})" if question.unit else ""
        _text(node, "questiontext", f"<p>{to_html(question.text)}{unit}</p>", "html")
        _text(node, "generalfeedback", f"<p>{to_html(question.because)}</p>", "html")
        for name, value in (("defaultgrade", "1"), ("penalty", "0.3333333"), ("hidden", "0")):
            ElementTree.SubElement(node, name).text = value
        if question.options:
            for name, value in (("single", "true"), ("shuffleanswers", "false"),
                                ("answernumbering", "ABCD")):  # fmt: skip
                ElementTree.SubElement(node, name).text = value
        for text, fraction in _answers(question):
            answer = ElementTree.SubElement(node, "answer", fraction=fraction)
            answer.set("format", "html" if question.options else "moodle_auto_format")
            ElementTree.SubElement(answer, "text").text = text
            _text(answer, "feedback", "", "html")
            if not question.options:
                ElementTree.SubElement(answer, "tolerance").text = f"{question.tolerance:g}"
    ElementTree.indent(quiz)
    content: bytes = ElementTree.tostring(quiz, encoding="utf-8", xml_declaration=True)
    return content + b"\n"


def _answers(question: Question) -> Iterator[tuple[str, str]]:
    if not question.options:
        yield f"{question.value:.12g}", "100"
    for number, option in enumerate(question.options):
        yield to_html(option), "100" if number == question.right else "0"


def _text(parent: ElementTree.Element, name: str, text: str, form: str = "") -> None:
    node = ElementTree.SubElement(parent, name)
    if form:
        node.set("format", form)
    ElementTree.SubElement(node, "text").text = text


# Paper --------------------------------------------------------------------------------------------


def paper(part: Part) -> str:
    """Return a part to be printed: the questions without answers."""
    items = []
    for question in part.questions:
        choices = "".join(f"<li>{to_html(option)}</li>" for option in question.options)
        unit = f" {html.escape(question.unit)}" if question.unit else ""
        below = f"<ol class='options'>{choices}</ol>" if choices else f"<p>Your number:{unit}</p>"
        items.append(f"<li><p>{to_html(question.text)}</p>{below}</li>")
    return sheet(f"Quiz: {part.title}", f"<ol class='questions'>{''.join(items)}</ol>")


def answer_sheet(part: Part) -> str:
    """Return the sheet on which students mark their answers."""
    rows = []
    for number, question in enumerate(part.questions, 1):
        letters = "ABCDEFGH"[: len(question.options)]
        boxes = "".join(f"<span class='box'>{letter}</span>" for letter in letters)
        rows.append(f"<div class='row'><b>{number}</b> {boxes or '<span class=line></span>'}</div>")
    head = "<p>Name: <span class=line></span> Date: <span class=line></span></p>"
    return sheet(f"Answer sheet: {part.title}", f"{head}<div class='rows'>{''.join(rows)}</div>")


def answer_key(part: Part) -> str:
    """Return the right answers with their reasons, for whoever marks the sheets."""
    rows: list[str] = []
    for question in part.questions:
        width = f" ± {question.tolerance:.2g}" if question.tolerance else ""
        rows.append(
            f"<tr><td>{len(rows) + 1}</td><td>{html.escape(question.name)}</td>"
            f"<td><b>{to_html(question.answer)}</b>{width}</td>"
            f"<td>{to_html(question.because)}</td></tr>"
        )
    head = "<tr><th>no.</th><th>from</th><th>right</th><th>why</th></tr>"
    return sheet(f"Answers: {part.title}", f"<table>{head}{''.join(rows)}</table>")


def sheet(title: str, body: str) -> str:
    """Return a page that is made to be printed on A4 or letter paper."""
    style = (
        "body{font:12pt/1.45 sans-serif;max-width:48em;margin:2em auto;padding:0 1em;color:#111;"
        "background:#fff}h1{font-size:18pt}ol.options{list-style:upper-alpha;margin:.2em 0}"
        "ol.questions>li{break-inside:avoid;margin:0 0 1em}p{margin:.2em 0}"
        ".rows{columns:3;margin-top:1.5em}.row{break-inside:avoid;margin:.35em 0}"
        ".row b{display:inline-block;width:2em}.box{border:1px solid #333;border-radius:50%;"
        "display:inline-block;width:1.5em;height:1.5em;line-height:1.5em;text-align:center;"
        "margin-right:.25em;font-size:10pt}.line{display:inline-block;width:9em;"
        "border-bottom:1px solid #333}table{border-collapse:collapse}"
        "td,th{border:1px solid #999;padding:.3em .5em;text-align:left;vertical-align:top}"
        "@media print{body{margin:0}}"
    )
    name = html.escape(to_plain(title))
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}</title>\n<style>{style}</style>\n<h1>{name}</h1>\n{body}\n</html>\n"
    )
