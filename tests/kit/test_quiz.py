"""The quiz: every prediction and twenty more a part; numbers come from the notebooks."""

import re
from html import unescape
from xml.etree import ElementTree

import pytest

from pfpn.kit import quiz
from pfpn.kit.chapter import chapter_numbers, load_chapter
from pfpn.kit.quiz import PARTS, answer_key, answer_sheet, load_part, moodle_xml, paper


@pytest.fixture(scope="module", params=PARTS)
def part(request):
    return load_part(request.param)


def test_a_part_has_all_predictions_of_its_chapters_and_twenty_more(part):
    own = [q for q in part.questions if " question " in q.name]
    assert len(own) == 20
    numbers = {q.name[:2] for q in part.questions}
    predictions = sum(len(load_chapter(n).predictions) for n in numbers)
    assert len(part.questions) == predictions + 20
    assert len({q.name for q in part.questions}) == len(part.questions)


def test_the_parts_have_every_chapter_once():
    chapters = [q.name[:2] for name in PARTS for q in load_part(name).questions]
    assert sorted(set(chapters)) == chapter_numbers()
    assert chapters == sorted(chapters, key=[*dict.fromkeys(chapters)].index) or len(PARTS) == 3


def test_each_question_can_be_answered(part):
    for question in part.questions:
        assert question.because
        assert "{" not in question.text.replace("F({", "")
        if question.options:
            assert len(set(question.options)) == len(question.options) >= 2
            assert 0 <= question.right < len(question.options) <= 8
        else:
            assert 0 <= question.tolerance <= max(1.0, 0.06 * abs(question.value))


def test_the_right_answers_of_own_questions_are_not_all_the_first(part):
    rights = [q.right for q in part.questions if " question " in q.name and q.options]
    assert len(set(rights)) >= 3


def test_moodle_reads_the_file(part):
    root = ElementTree.fromstring(moodle_xml(part))
    assert root.tag == "quiz"
    category, *questions = root
    assert category.get("type") == "category"
    assert category.findtext("category/text").startswith("$course$/top/")
    assert len(questions) == len(part.questions)
    for node, question in zip(questions, part.questions, strict=True):
        assert node.findtext("name/text") == question.name
        assert node.find("questiontext").get("format") == "html"
        assert node.findtext("generalfeedback/text")
        answers = node.findall("answer")
        full = [a for a in answers if a.get("fraction") == "100"]
        assert len(full) == 1
        if question.options:
            assert node.get("type") == "multichoice"
            assert node.findtext("single") == "true"
            assert len(answers) == len(question.options)
            assert answers.index(full[0]) == question.right
        else:
            assert node.get("type") == "numerical"
            assert float(full[0].findtext("text")) == pytest.approx(question.value)
            assert float(full[0].findtext("tolerance")) == pytest.approx(question.tolerance)


def test_paper_has_every_question_and_no_answer(part):
    pages = paper(part) + answer_sheet(part)
    assert pages.count("<li><p>") == len(part.questions)
    for question in part.questions:
        assert question.because not in unescape(re.sub(r"<[^>]+>", "", pages))
    key = answer_key(part)
    assert key.count("<tr>") == len(part.questions) + 1


def test_a_number_follows_the_notebook(monkeypatch):
    """The value that the notebook stores is the answer, and the text's numbers are its too."""
    chapter = load_chapter("10")
    changed = {**chapter.cells["0891decf"]}
    changed["outputs"] = [
        {"output_type": "stream", "name": "stdout", "text": "car       40.0  50.0   80.0  35 0 3"}
    ]
    monkeypatch.setitem(chapter.cells, "0891decf", changed)
    (question,) = [q for q in load_part("map", ["10"]).questions if "SQ of 50" in q.text]
    assert question.value == 40
    assert "RQ of 80" in question.text
    monkeypatch.setitem(changed, "outputs", [])
    with pytest.raises(ValueError, match="cell 0891decf: found no"):
        load_part("map", ["10"])


@pytest.mark.parametrize(
    ("value", "relative", "expected"),
    [(0.333, None, 0.00666), (72.0, None, 0.5), (6138.0, 0.0, 0.0), (99.85, 0.0005, 0.049925),
     (0.9, None, 0.05)],
)  # fmt: skip
def test_tolerances(value, relative, expected):
    assert quiz._tolerance(value, relative) == pytest.approx(expected)
