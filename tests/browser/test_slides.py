"""Decks in a browser: nothing is cut off, keys turn the pages, and nothing is loaded."""

import re
from pathlib import Path

import pytest

from pfpn.course.check import examine, find
from pfpn.course.grade import Grades, feedback
from pfpn.kit import slides
from pfpn.kit.quiz import answer_key, answer_sheet, load_part, paper
from pfpn.kit.schedule import schedule_page
from pfpn.kit.slides import build_deck
from tests.browsing import axe_findings

pytestmark = pytest.mark.slow
# What of a slide reaches beyond it, and text that is too small. Formulas are drawings.
FAULTS = """() => {
  const slide = document.querySelector("section.present");
  const frame = slide.getBoundingClientRect();
  const faults = [];
  for (const part of slide.querySelectorAll("*")) {
    if (part.closest("aside, svg")) continue;
    const at = part.getBoundingClientRect();
    const isCut = at.right > frame.right + 1 || at.bottom > frame.bottom + 1 ||
      at.left < frame.left - 1 || at.top < frame.top - 1;
    if (at.width && isCut) faults.push(`${part.tagName} is cut off`);
    const text = [...part.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    const size = parseFloat(getComputedStyle(part).fontSize);
    if (text && size < (part.tagName === "PRE" ? 19 : 24)) faults.push(`${part.tagName}: ${size}`);
  }
  return faults;
}"""


def look_through(browser, path: Path) -> tuple[int, list[str]]:
    """Turn all pages of a deck by keys; return how many there are, and what is wrong."""
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    faults: list[str] = []
    page.on("console", lambda m: faults.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda r: faults.append(r.url) if r.url.startswith("http") else None)
    page.goto(path.as_uri())
    page.wait_for_selector("section.present")
    number = page.locator("section").count()
    for i in range(number):
        assert page.evaluate("document.querySelector('section.present').id") == f"s{i}"
        faults += [f"slide {i}: {fault}" for fault in page.evaluate(FAULTS)]
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(30)
    page.close()
    return number, faults


@pytest.mark.parametrize("engine", ["reveal", "plain"])
def test_a_deck_can_be_read_and_turned_by_keys(browser, tmp_path, monkeypatch, engine):
    if engine == "plain":
        monkeypatch.setattr(slides, "find_reveal", dict)
    elif not slides.find_reveal():
        pytest.skip("reveal.js is not installed: npm ci --prefix web/slides")
    (tmp_path / "09.html").write_text(build_deck("09", ("merging.html",)), encoding="utf-8")
    number, faults = look_through(browser, tmp_path / "09.html")
    assert number >= 12
    assert faults == []


def test_keys_of_the_browser_stay_the_browsers(browser, tmp_path, monkeypatch):
    monkeypatch.setattr(slides, "find_reveal", dict)
    (tmp_path / "11.html").write_text(build_deck("11"), encoding="utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "11.html").as_uri())
    has_notes = "document.documentElement.classList.contains('noted')"
    page.keyboard.press("Control+s")
    assert not page.evaluate(has_notes)
    page.keyboard.press("s")
    assert page.evaluate(has_notes)
    page.close()


@pytest.mark.long
@pytest.mark.parametrize("number", [f"{n:02}" for n in range(12)])
def test_every_deck_can_be_read(browser, tmp_path, number):
    pages = ("surfaces.html", "merging.html", "quality.html")
    (tmp_path / "deck.html").write_text(build_deck(number, pages), encoding="utf-8")
    _, faults = look_through(browser, tmp_path / "deck.html")
    assert faults == []


def test_a_deck_prints_one_slide_a_page(browser, tmp_path):
    (tmp_path / "11.html").write_text(build_deck("11"), encoding="utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "11.html").as_uri() + "?print-pdf")
    page.wait_for_timeout(600)
    pdf = page.pdf(prefer_css_page_size=True, print_background=True)
    page.close()
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == 16


def test_decks_sheets_and_feedback_are_accessible(browser, tmp_path):
    exercise = find("00.id_to_color")
    row = Grades("ann", {exercise.name: examine(exercise, lambda i: (i, 0, 0))}, ["a remark"])
    part = load_part("network", ["00"])
    pages = {
        "deck": build_deck("11"), "paper": paper(part), "sheet": answer_sheet(part),
        "key": answer_key(part), "schedule": schedule_page(), "feedback": feedback(row),
        "contents": slides.contents_page(["00"]),
    }  # fmt: skip
    found = {}
    for name, text in pages.items():
        (tmp_path / f"{name}.html").write_text(text, encoding="utf-8")
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.goto((tmp_path / f"{name}.html").as_uri())
        found[name] = axe_findings(page)
        page.close()
    assert {name: faults for name, faults in found.items() if faults} == {}
