"""The time that a chapter states is the sum of what it asks for, by one model."""

import importlib.util
import json
from pathlib import Path

import pytest

from pfpn.course import all_exercises, find

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = sorted((ROOT / "notebooks").glob("[01]*.ipynb"))
spec = importlib.util.spec_from_file_location("times", ROOT / "notebooks/times.py")
assert spec is not None
assert spec.loader is not None
times = importlib.util.module_from_spec(spec)
spec.loader.exec_module(times)


def cell(kind, source, *tags):
    return {"cell_type": kind, "source": source, "metadata": {"tags": list(tags)}}


HEADER = "# 00 A title\n\n**Time.** about 1 minute to read; 20 s to run on two CPU cores.\n"


def chapter(*cells):
    return {"cells": [cell("markdown", HEADER), *cells], "metadata": {}}


def test_reading_is_words_lines_pictures_and_questions():
    words = " ".join(["word"] * 150)
    base = times.reading_minutes(chapter())
    for extra, minutes in (
        (cell("markdown", words), 1),
        (cell("code", "a = 1\n\n" * 20), 1),  # 20 lines of 3 s, blank ones are not read
        (cell("code", words, "answer"), 0),  # folded
        (cell("code", "show(plot(), 'words')"), 40 / 60),
        (cell("code", "guess = ask('How many?')"), 33 / 60),  # a question, and its line
    ):
        assert times.reading_minutes(chapter(extra)) - base == pytest.approx(minutes)


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("### Exercise 0.1: an id ★☆☆, 5 minutes\n\nIt takes 90 minutes by hand.", 5),
        ("### Exercise 4.1: the level\n\n★☆☆, about 10 minutes. Return", 10),
        ("## Capstone: your own FPN\n\n★★★, about 45 minutes", 45),
        ("## Experiment: an open question\n\nAbout 30 minutes, of which 4 run by themselves.", 30),
        ("## An experiment, told in 3 minutes of text", 3),
        ("Nothing to do here for 20 minutes.", 0),
    ],
)
def test_what_is_to_be_done_states_its_minutes(text, minutes):
    assert times.task_minutes(chapter(cell("markdown", text))) == minutes


def test_the_line_is_rewritten_and_the_seconds_stay(tmp_path):
    path = tmp_path / "chapter.ipynb"
    task = cell("markdown", "### Exercise ★☆☆, 12 minutes")
    path.write_text(json.dumps(chapter(task)), encoding="utf-8")
    assert times.restate(path) is True
    header = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"])
    assert header == (
        "# 00 A title\n\n**Time.** about 15 minutes: 5 to read and predict, 10 to write code; "
        "20 s to run on two CPU cores.\n"
    )
    assert times.restate(path) is False


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_states_what_the_model_says(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    stated = times.TIME.search("".join(notebook["cells"][0]["source"]))
    assert stated is not None
    assert stated[0].split() == times.stated_line(notebook).split(), "run notebooks/times.py"


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_the_minutes_of_a_chapters_tasks_include_its_exercises(path):
    exercises = [find(name) for name in all_exercises() if name.startswith(path.name[:2])]
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert times.task_minutes(notebook) >= sum(exercise.minutes for exercise in exercises)
