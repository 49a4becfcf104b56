"""A deck of slides for each chapter: one claim a slide, the picture first, the question before it.

A deck is one HTML file with everything in it. Where reveal.js came with the package it turns the
pages; where it did not, `plain.js` does, which has the same keys and no speaker's window.
"""

import base64
import html
import io
import json
import re
import textwrap
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from PIL import Image

from pfpn.kit.chapter import Chapter, Picture, Prediction, load_chapter
from pfpn.kit.formula import formula_svg
from pfpn.kit.plan import WHOLE, Plan, Slide, View, read_plan
from pfpn.kit.words import to_html, to_plain

HERE = Path(__file__).resolve().parent
STAGE = (1280, 720)  # pixels of a slide, 16:9; a projector enlarges them
ABOVE = (1216, 520)  # what a figure may take above its claim
BESIDE = (840, 670)  # what one may take that stands left of its claim
QUESTION = ((1216, 350), (600, 620))  # ... above a question with its options, or left of it
REVEAL = ("dist/reset.css", "dist/reveal.css", "dist/reveal.js", "dist/plugin/notes.js")


@dataclass(frozen=True, slots=True)
class Page:
    """One slide as it is shown, and what its speaker reads."""

    kind: str  # "title", "claim", "question", "answer", "exercises" or "open"
    body: str  # HTML
    note: str  # plain text
    minutes: int
    scale: float = 0.0  # of the figure: pixels on the slide for one pixel in the notebook


def build_deck(number: str, pages: tuple[str, ...] = ()) -> str:
    """Return a chapter's deck as one HTML file.

    Args:
        number: of the chapter, "03".
        pages: names of browser pages that lie in the folder ../pages.
    """
    chapter = load_chapter(number)
    sections = "\n".join(_section(page, i) for i, page in enumerate(deck_pages(chapter, pages)))
    title = html.escape(f"{number} {chapter.title}")
    engine = find_reveal()
    style = "".join(engine[name] for name in REVEAL[:2] if engine) + _own("deck.css")
    script = [engine[name] for name in REVEAL[2:]] if engine else []
    script.append(_own("start.js" if engine else "plain.js"))
    scripts = "\n".join(f"<script>{text}</script>" for text in map(_within_script, script))
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{style}</style>\n"
        f'<div class="reveal"><main class="slides">\n{sections}\n</main></div>\n'
        f"{scripts}\n</html>\n"
    )


@cache
def find_reveal() -> dict[str, str]:
    """Return reveal.js's files as they came with the package; nothing if they did not."""
    for folder in (HERE / "reveal", HERE.parents[1] / "web/slides/node_modules/reveal.js"):
        if all((folder / name).is_file() for name in REVEAL):
            return {name: (folder / name).read_text(encoding="utf-8") for name in REVEAL}
    return {}


def _within_script(text: str) -> str:
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _own(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


# The slides of a chapter --------------------------------------------------------------------------


def deck_pages(chapter: Chapter, pages: tuple[str, ...] = ()) -> list[Page]:
    """Return a chapter's slides in their order."""
    plan = read_plan(chapter)
    middle = [page for slide in plan.slides for page in _pages(chapter, plan, slide, pages)]
    minutes = sum(page.minutes for page in middle) + 5
    return [_title(chapter, minutes), *middle, _exercises(chapter), _open(chapter)]


def _title(chapter: Chapter, minutes: int) -> Page:
    goals = "\n".join(f"- {to_plain(goal)}" for goal in chapter.goals)
    read, write = chapter.minutes
    note = (
        f"This deck takes about {minutes} minutes; the chapter takes {read} minutes to read and "
        f"{write} to write code.\nAfter it students are able to\n{goals}"
    )
    body = _alone(
        f'<p class="number">{chapter.number}</p><h1>{to_html(chapter.title)}</h1>'
        f'<p class="asks">{to_html(chapter.question)}</p>'
    )
    return Page("title", body, note, 1)


def _pages(chapter: Chapter, plan: Plan, slide: Slide, pages: tuple[str, ...]) -> list[Page]:
    link = _link(slide.page, pages)
    if not slide.ask:
        words = f"<h2>{to_html(slide.claim)}</h2>{link}"
        body, scale = _laid_out(chapter, slide.view, words)
        return [Page("claim", body, slide.note, slide.minutes, scale)]
    prediction = chapter.predictions[slide.ask]
    body, scale = _laid_out(chapter, slide.view, _question(prediction), is_question=True)
    note = f"Ask, count the hands for each answer, and write the counts on the board. {slide.note}"
    question = Page("question", body, note.strip(), slide.minutes, scale)
    body, scale = _laid_out(chapter, slide.answer, _answer(prediction) + link)
    note = f"Answer: {_truth(prediction)}. {to_plain(prediction.because)}\n{plan.wrong[slide.ask]}"
    return [question, Page("answer", body, note, slide.minutes, scale)]


def _question(prediction: Prediction) -> str:
    many = " many" if len(prediction.options) > 5 else ""
    options = "".join(f"<li>{to_html(option)}</li>" for option in prediction.options)
    choices = f'<ol class="options{many}">{options}</ol>' if options else ""
    number = "" if options else f'<p class="options">A number{_in(prediction.unit)}.</p>'
    question = to_html(prediction.question)
    return f'<p class="tag">Your prediction?</p><h2>{question}</h2>{choices}{number}'


def _answer(prediction: Prediction) -> str:
    return f"<h2>{html.escape(_truth(prediction))}</h2><p>{to_html(prediction.because)}</p>"


def _truth(prediction: Prediction) -> str:
    return f"{to_plain(prediction.truth)} {prediction.unit}".strip()


def _in(unit: str) -> str:
    return f" of {html.escape(unit)}" if unit else ""


def _exercises(chapter: Chapter) -> Page:
    rows = "".join(
        f"<tr><td>{'★' * e.difficulty}{'☆' * (3 - e.difficulty)}</td>"
        f"<td>{html.escape(e.name.partition('.')[2].replace('_', ' '))}</td>"
        f"<td>{e.minutes} min</td></tr>"
        for e in chapter.exercises
    )
    note = "What each asks for:\n" + "\n".join(f"- {e.name}: {e.task}" for e in chapter.exercises)
    body = _alone(f"<h2>Now you: write it yourself</h2><table>{rows}</table>")
    return Page("exercises", body, note, 2)


def _open(chapter: Chapter) -> Page:
    note = "There is no given answer. The chapter's last section says what to vary and to report."
    words = (
        f'<p class="tag">A question without an answer yet</p><h2>{to_html(chapter.experiment)}</h2>'
    )
    return Page("open", _alone(words), note, 2)


def _alone(words: str) -> str:
    return f'<div class="alone"><div class="words">{words}</div></div>'


def _link(page: str, pages: tuple[str, ...]) -> str:
    """Return the link to a browser page, or the command for the one that needs a server."""
    name, _, state = page.partition("#")
    if name == "network":
        command = f"pfpn pages network --state '{state}'"
        return f'<p class="page">In a terminal: <code>{html.escape(command)}</code></p>'
    if name not in pages:
        return ""
    words = name.partition("/")[0].removesuffix(".html")
    return f'<p class="page"><a href="../pages/{html.escape(page)}">Open the {words} page</a></p>'


def _section(page: Page, number: int) -> str:
    note = html.escape(f"{page.minutes} min. {page.note}").replace("\n", "<br>")
    return (
        f'<section class="{page.kind}" id="s{number}">{page.body}'
        f'<aside class="notes">{note}</aside></section>'
    )


# What a slide shows -------------------------------------------------------------------------------


def _laid_out(
    chapter: Chapter, view: View, words: str, *, is_question: bool = False
) -> tuple[str, float]:
    """Return a slide's body, what it shows above or left of its words, and its figure's scale."""
    shown, scale, beside = "", 0.0, False
    if view.formula:
        name = html.escape(view.formula.replace("\\", " "))
        drawn = formula_svg(view.formula)
        shown = f'<div class="formula" role="img" aria-label="{name}">{drawn}</div>'
    elif view.print:
        text = chapter.printed(view.print)
        lines = text.split("\n")[view.lines[0] : view.lines[1] or None]
        shown = _printed(lines, most=230 if is_question else 430)
    elif view.show:
        picture = cropped(chapter.picture(view.show, view.number), view)
        scale, beside = fitting(picture, is_question=is_question)
        shown = _image(picture, scale)
    kind = "beside" if beside else "above" if shown else "alone"
    return f'<div class="{kind}">{shown}<div class="words">{words}</div></div>', scale


def _image(picture: Picture, scale: float) -> str:
    data = base64.b64encode(picture.png).decode()
    return (
        f'<img class="picture" width="{round(picture.width * scale)}" '
        f'height="{round(picture.height * scale)}" alt="{html.escape(picture.alt)}" '
        f'src="data:image/png;base64,{data}">'
    )


def fitting(picture: Picture, *, is_question: bool = False) -> tuple[float, bool]:
    """Return by how much a figure is enlarged, and whether it stands beside its claim."""
    rooms = QUESTION if is_question else (ABOVE, BESIDE)
    above, beside = (min(w / picture.width, h / picture.height) for w, h in rooms)
    return max(above, beside), beside > above


def cropped(picture: Picture, view: View) -> Picture:
    """Return a part of a figure; all of it if it no longer has the size that it was chosen for."""
    if view.crop == WHOLE or (picture.width, picture.height) != view.size:
        return picture
    with Image.open(io.BytesIO(picture.png)) as image:
        left, top, right, bottom = view.crop
        across, down = image.width / 100, image.height / 100
        box = (round(left * across), round(top * down), round(right * across), round(bottom * down))
        part = io.BytesIO()
        image.crop(box).save(part, "PNG", optimize=True)
    return replace(
        picture,
        png=part.getvalue(),
        width=round(picture.width * (right - left) / 100),
        height=round(picture.height * (bottom - top) / 100),
    )


def _printed(lines: list[str], most: int) -> str:
    """Return printed text as large as it fits into `most` pixels, with long lines folded."""
    lines = _tightened(lines)
    lines = [part for line in lines for part in textwrap.wrap(
        line, 86, drop_whitespace=False, break_long_words=True, subsequent_indent="  "
    ) or [""]]  # fmt: skip
    longest = max(len(line) for line in lines)
    size = min(40, int(1150 / (0.61 * max(longest, 1))), int(most / (1.25 * len(lines))))
    text = html.escape("\n".join(lines))
    return f'<pre class="printed" tabindex="0" style="font-size:{size}px">{text}</pre>'


def _tightened(lines: list[str]) -> list[str]:
    """Return a table with two blanks between its columns; other text as it is."""
    rows = [re.split(r"  +", line) for line in lines]
    if len(rows) < 2 or len({len(row) for row in rows}) > 1 or len(rows[0]) < 3:
        return lines
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    first, *others = widths
    return [
        "  ".join(
            [row[0].ljust(first), *(cell.rjust(w) for cell, w in zip(row[1:], others, strict=True))]
        )
        for row in rows
    ]


def contents_page(numbers: list[str]) -> str:
    """Return the page that links to every deck and says how to use one."""
    links = "".join(
        f'<li><a href="{n}.html">{n} {html.escape(load_chapter(n).title)}</a></li>' for n in numbers
    )
    keys = json.loads(_own("keys.json"))["reveal" if find_reveal() else "plain"]
    rows = "".join(f"<tr><td><kbd>{k}</kbd></td><td>{v}</td></tr>" for k, v in keys.items())
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>Slides</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<style>body{font:18px/1.5 sans-serif;max-width:45em;margin:2em auto;padding:0 1em}"
        "td{padding:.2em 1em .2em 0}</style>\n"
        f"<h1>Slides</h1>\n<ul>{links}</ul>\n<h2>Keys</h2>\n<table>{rows}</table>\n</html>\n"
    )
