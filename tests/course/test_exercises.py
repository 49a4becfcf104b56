"""Each exercise: its reference is right, and each typical mistake gets its own message."""

import ast
import json
import re
from pathlib import Path

import pytest

from pfpn.course import all_exercises, check, find, hint
from pfpn.course.check import examine

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"

NAMES = sorted(all_exercises())


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_is_right(name):
    exercise = find(name)
    report = examine(exercise, exercise.reference, own=False)
    assert report.right, str(report)


@pytest.mark.parametrize("name", NAMES)
def test_every_mistake_fails_with_its_own_message(name):
    exercise = find(name)
    assert len(exercise.mistakes) >= 3
    assert len({mistake.message for mistake in exercise.mistakes}) == len(exercise.mistakes)
    for mistake in exercise.mistakes:
        report = examine(exercise, mistake.function, own=False)
        assert not report.right, f"passes, but should not: {mistake.message}"
        assert report.diagnosis == mistake.message, str(report)


@pytest.mark.parametrize("name", NAMES)
def test_a_stub_is_not_a_wrong_answer(name, capsys):
    def stub(*arguments):
        raise NotImplementedError

    assert not check(name, stub)
    assert "not answered yet" in capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_an_exercise_is_complete(name):
    exercise = find(name)
    chapter, _, short = name.partition(".")
    assert chapter.isdigit()
    assert len(chapter) == 2
    assert short.isidentifier()
    assert exercise.difficulty in (1, 2, 3)
    assert 1 <= exercise.minutes <= 60
    assert len(exercise.hints) >= 2
    assert len(exercise.task) > 20
    titles = [case.title for case in exercise.cases()]
    assert len(titles) >= 2
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("name", NAMES)
def test_neither_hints_nor_messages_hold_the_answer(name):
    exercise = find(name)
    for text in (*exercise.hints, *(mistake.message for mistake in exercise.mistakes)):
        assert not re.search(r"(^|\n)\s*return |\n    ", text)


def test_every_chapter_has_three_to_five_exercises():
    chapters = [name.partition(".")[0] for name in NAMES]
    counts = {chapter: chapters.count(chapter) for chapter in chapters}
    assert all(3 <= count <= 5 for count in counts.values()), counts


def test_every_chapter_has_an_easy_exercise_and_a_harder_one():
    for chapter in {name.partition(".")[0] for name in NAMES}:
        levels = {find(name).difficulty for name in NAMES if name.startswith(f"{chapter}.")}
        assert 1 in levels, chapter
        assert max(levels) > 1, chapter


def test_an_unknown_exercise_is_refused_with_similar_names():
    with pytest.raises(ValueError, match=r"No exercise is called '04\.levl_of_box'"):
        check("04.levl_of_box", print)


def test_hints_are_numbered(capsys):
    name = NAMES[0]
    hint(name, 1)
    assert capsys.readouterr().out.startswith("Hint 1 of ")
    with pytest.raises(ValueError, match=f"{name} has hints 1 to"):
        hint(name, 99)


@pytest.mark.parametrize("name", NAMES)
def test_a_stub_has_the_parameters_that_a_case_names(name):
    [path] = NOTEBOOKS.glob(f"{name[:2]}_*.ipynb")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    [stub] = [c for c in ("".join(c["source"]) for c in cells) if f'check("{name}"' in c]
    [function] = [node for node in ast.parse(stub).body if isinstance(node, ast.FunctionDef)]
    given = [argument.arg for argument in function.args.args]
    assert given == find(name).parameters()
