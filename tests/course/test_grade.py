"""Generated submissions, right, wrong and hostile: each gets a row, and the others go on."""

import csv
import html
import json
import os
from pathlib import Path

import pytest

from pfpn.cli import main
from pfpn.course.check import Outcome, examine, find
from pfpn.course.grade import (
    Grades,
    Limits,
    feedback,
    grade,
    read_program,
    read_submission,
    submissions,
    table,
)
from pfpn.course.values import Missing

# The sockets to a kernel that was killed are closed only when they are collected.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

RIGHT = """
def id_to_color(segment_id):
    return segment_id % 256, segment_id // 256 % 256, segment_id // 65536


_ = check("00.id_to_color", id_to_color)
"""
SWAPPED = """
def id_to_color(segment_id):
    return segment_id // 65536, segment_id // 256 % 256, segment_id % 256


assert check("00.id_to_color", id_to_color)
"""
IDS = """
def panoptic_ids(label_map, instance_map, num_things):
    ids = 1000 * (label_map + 1) + torch.where(label_map < num_things, instance_map, 0)
    return torch.where(label_map == 255, 0, ids)


_ = check("00.panoptic_ids", panoptic_ids)
"""
STUB = """
def count_regions(mask):
    raise NotImplementedError  # your code


_ = check("00.count_regions", count_regions)
"""
IMPORTS = "%matplotlib inline\nimport torch\n\nfrom pfpn.course import check, find"


def color(body):
    return f"def f(i):\n    {body}\n\ncheck('00.id_to_color', f)"


HOSTILE = {
    "endless": color("while True: pass"),
    "memory": color("return [bytes(1 << 28) for _ in range(1 << 20)]"),
    "large_file": color("open('x', 'wb').write(bytes(1 << 28)); return i % 256, 0, 0"),
    "crash": color("import os; os._exit(3)"),
    "reference": color("return find('00.id_to_color').reference(i)"),
    "checker": (
        "import pfpn.course.check as c, sys\n"
        "sys.modules['pfpn.course.check'].differ = lambda *_: ''\n"
        "sys.modules['pfpn.course.check'].judge = lambda *_: None\n" + color("return 1, 2, 3")
    ),
}


def write(folder: Path, *cells: str) -> Path:
    folder.mkdir(parents=True)
    path = folder / "00_panoptic_segmentation.ipynb"
    code = [{"cell_type": "code", "source": cell, "metadata": {}, "outputs": []} for cell in cells]
    path.write_text(json.dumps({"cells": code, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}))
    return path


def test_only_imports_definitions_and_exercises_run(tmp_path):
    path = write(
        tmp_path / "ann", IMPORTS, "print('a lesson')\nx = 1", "def f():\n    return 2", RIGHT
    )
    program = read_program(path)
    assert program.answers == {"00.id_to_color": "id_to_color"}
    text = "\n".join(program.cells)
    assert "import torch" in text
    assert "def f()" in text
    assert "def id_to_color" in text
    assert "lesson" not in text
    assert "check(" not in text
    assert "matplotlib" not in text


def test_a_cell_that_is_not_python_is_a_problem_of_its_exercise_alone(tmp_path):
    program = read_program(write(tmp_path / "ann", RIGHT, IDS.replace("return", "return (")))
    assert program.answers == {"00.id_to_color": "id_to_color"}
    assert "not valid Python" in program.problems["00.panoptic_ids"]


def test_an_answer_that_names_the_reference_is_refused(tmp_path):
    for number, cell in enumerate(
        (
            HOSTILE["reference"],
            "from pfpn.course.ch00_overview.exercises import id_to_color\n" + color("return 1"),
            "import pfpn.course.ch00_overview.exercises as e\n" + color("return 1"),
        )
    ):
        program = read_program(write(tmp_path / str(number), IMPORTS, cell))
        assert "Refused" in program.problems["00.id_to_color"]


def test_a_file_that_is_no_notebook_is_refused(tmp_path):
    path = tmp_path / "00_panoptic_segmentation.ipynb"
    for content in ("{", "[]", '{"cells": [{"cell_type": "code"}]}', "[" * 100_000):
        path.write_text(content)
        with pytest.raises(ValueError, match="cannot be read as a notebook"):
            read_program(path)


def test_a_folder_without_students_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected one for each student"):
        submissions(tmp_path)


def test_a_cell_of_the_table_is_no_formula():
    text = table([Grades("=1+1", remarks=["-x"])])
    assert "'=1+1" in text
    assert ",'-x" in text


@pytest.mark.slow
def test_six_submissions_get_a_row_each(tmp_path, capsys):
    folder = tmp_path / "class"
    write(folder / "ann", IMPORTS, RIGHT, IDS, STUB)
    write(folder / "bob", IMPORTS, SWAPPED, IDS.replace("== 255, 0", "== 254, 0"))
    write(folder / "cem", IMPORTS, HOSTILE["endless"], IDS)
    write(folder / "dan", IMPORTS, HOSTILE["crash"])
    write(folder / "eve", IMPORTS, HOSTILE["checker"])
    (folder / "fay").mkdir()
    (folder / "fay" / "00_panoptic_segmentation.ipynb").write_text("{")
    out, pages = tmp_path / "grades.csv", tmp_path / "feedback"
    command = ["grade", str(folder), "--csv", str(out), "--feedback", str(pages), "--seed", "7"]
    assert main([*command, "--seconds", "30"]) == 0
    lines = out.read_text(encoding="utf-8").splitlines()
    rows = {row["student"]: row for row in csv.DictReader(lines)}
    assert list(rows) == ["ann", "bob", "cem", "dan", "eve", "fay"]
    assert rows["ann"]["points"] == "3"
    assert rows["ann"]["00.count_regions"] == "0"
    assert rows["ann"]["of"] == "6"
    assert rows["ann"]["remarks"] == ""
    assert 0 <= float(rows["bob"]["00.id_to_color"]) < 1
    assert 0 < float(rows["bob"]["00.panoptic_ids"]) < 2
    assert rows["cem"]["00.id_to_color"] == "0"
    assert rows["cem"]["00.panoptic_ids"] == "2"
    assert "00_panoptic_segmentation.ipynb: its process ended early" in rows["dan"]["remarks"]
    assert rows["eve"]["points"] == "0"
    assert "cannot be read as a notebook" in rows["fay"]["remarks"]
    assert "fay: 0 points" in capsys.readouterr().out
    page = (pages / "bob.html").read_text(encoding="utf-8")
    assert "<title>bob</title>" in page
    assert "Red and blue are swapped" in page
    assert "A hint:" in page
    assert "TimeoutError" in (pages / "cem.html").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["memory", "large_file"])
def test_an_answer_beyond_its_limits_earns_nothing(tmp_path, kind):
    write(tmp_path / "ann", IMPORTS, HOSTILE[kind], IDS)
    [row] = grade(tmp_path, seed=1, limits=Limits(seconds=30, memory=1 << 30), jobs=1)
    assert row.reports["00.id_to_color"].points == 0
    assert row.reports["00.panoptic_ids"].right, row.remarks


@pytest.mark.slow
def test_a_hostile_notebook_costs_nobody_else(tmp_path):
    """It breaks its own messages, prints without end, leaves a process behind, removes files."""
    folder, note = tmp_path / "class", tmp_path / "pid"
    leaves = (
        "import os, time\n"
        "if os.fork() == 0:\n    os.setsid()\n"
        f"    open({str(note)!r}, 'w').write(str(os.getpid()))\n    while True: time.sleep(1)\n"
        f"while not os.path.exists({str(note)!r}): time.sleep(0.01)\n"
    )
    removes = (
        f"import pathlib, shutil\nfor p in pathlib.Path({str(folder)!r}).glob('[c-z]*/*.ipynb'):\n"
        "    p.write_text('gone')\n"
        f"shutil.rmtree({str(folder / 'ann')!r})\n"
    )
    color_of = RIGHT.partition("_ =")[0]
    write(folder / "ann", IMPORTS, removes + RIGHT, IDS)
    write(folder / "bob", IMPORTS, color("import json; json.dumps = lambda *_, **__: '[1]'"))
    write(folder / "cem", IMPORTS, "for _ in range(64): print('x' * (1 << 22))\n" + RIGHT, IDS)
    write(folder / "dan", IMPORTS, f"{leaves}\n{color_of}check('00.id_to_color', id_to_color)")
    write(folder / "eve", IMPORTS, RIGHT, IDS)
    rows = list(grade(folder, seed=1, limits=Limits(seconds=30), jobs=1))
    points = {row.student: row.points for row in rows}
    assert points == {"ann": 3, "bob": 0, "cem": 3, "dan": 1, "eve": 3}
    changed = {row.student for row in rows if "changed or removed" in "".join(row.remarks)}
    assert changed == {"ann", "cem", "dan", "eve"}
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)


def test_whatever_goes_wrong_costs_one_notebook(tmp_path, monkeypatch):
    def fail(*_):
        raise RecursionError("too deep")

    write(tmp_path / "ann", IMPORTS, RIGHT)
    monkeypatch.setattr("pfpn.course.grade.run_program", fail)
    [row] = grade(tmp_path, seed=1, limits=Limits(), jobs=1)
    assert row.points == 0
    assert row.remarks == ["00_panoptic_segmentation.ipynb: cannot be run (RecursionError)"]
    assert "cannot be run" in row.reports["00.id_to_color"].diagnosis


def test_an_answer_that_cannot_be_compared_has_this_reason(tmp_path, monkeypatch):
    value = [Outcome([1])]
    monkeypatch.setattr("pfpn.course.grade.run_program", lambda *_: ({"00.id_to_color": value}, ""))
    write(tmp_path / "ann", IMPORTS, RIGHT)  # one outcome for some hundred cases
    [row] = grade(tmp_path, seed=1, limits=Limits(), jobs=1)
    assert "cannot be compared (ValueError)" in row.reports["00.id_to_color"].diagnosis


def test_an_expression_without_end_is_a_problem_of_its_exercise_or_its_notebook(tmp_path):
    deep = color("return " + "+".join(["i"] * 20_000))
    read = read_submission(write(tmp_path / "ann", IMPORTS, deep, IDS))
    assert read.problem or "not valid Python" in read.program.problems["00.id_to_color"]


def test_of_two_notebooks_of_a_chapter_the_better_answers_count(tmp_path, monkeypatch):
    """As `pfpn lab` lays a newer one beside a changed one, and a student hands in both."""
    num = len(find("00.id_to_color").all_cases(1))

    def outcomes(program, *_):
        is_written = "NotImplementedError" not in "".join(program.cells)
        cases = find("00.id_to_color").all_cases(1)
        right = [Outcome(find("00.id_to_color").reference(*case.arguments)) for case in cases]
        return {"00.id_to_color": right if is_written else [Outcome(Missing)] * num}, ""

    monkeypatch.setattr("pfpn.course.grade.run_program", outcomes)
    path = write(tmp_path / "ann", IMPORTS, RIGHT)
    stub = "def f(i):\n    raise NotImplementedError\n\n_ = check('00.id_to_color', f)"
    newer = write(tmp_path / "other", IMPORTS, stub)
    newer.rename(path.with_name("00_panoptic_segmentation.new.ipynb"))
    newer.parent.rmdir()
    [row] = grade(tmp_path, seed=1, limits=Limits(), jobs=1)
    assert row.points == 1
    assert row.remarks == ["2 notebooks of chapter 00: of each exercise the better answer counts"]


def test_pages_of_another_origin_stop_the_command_before_it_grades(tmp_path, capsys):
    (tmp_path / "class" / "ann").mkdir(parents=True)
    (tmp_path / "class" / "ann" / "03_proposals.ipynb").write_text("{}")
    mine = tmp_path / "feedback" / "ann.html"
    mine.parent.mkdir()
    mine.write_text("mine")
    out = tmp_path / "grades.csv"
    command = ["grade", str(tmp_path / "class"), "--csv", str(out)]
    assert main([*command, "--feedback", str(mine.parent)]) == 2
    printed = capsys.readouterr()
    assert "ann.html: found a file of another origin" in printed.err
    assert "points" not in printed.out
    assert not out.exists()
    assert mine.read_text() == "mine"
    assert main(["grade", str(tmp_path / "nowhere"), "--csv", str(out)]) == 2
    assert "nowhere: found no folder, expected one" in capsys.readouterr().err


def test_feedback_has_points_the_first_case_that_fails_and_a_hint_where_one_is_needed():
    exercise = find("00.id_to_color")
    wrong = examine(exercise, lambda i: (i // 65536, i // 256 % 256, i % 256))
    right = examine(exercise, lambda i: (i % 256, i // 256 % 256, i // 65536))
    page = feedback(Grades("<ann>", {exercise.name: wrong}, remarks=["a <remark>"]))
    assert "&lt;ann&gt;: 0" in page
    assert "<remark>" not in page
    assert "The first case that fails" in page
    assert html.escape(exercise.hints[0]) in page
    assert "A hint:" not in feedback(Grades("ann", {exercise.name: right}))
    assert "bob: 0 of 0 points" in feedback(Grades("bob"))
