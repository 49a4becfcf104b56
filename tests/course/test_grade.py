"""Generated submissions, right, wrong and hostile: each gets a row, and the others go on."""

import csv
import html
import json
from pathlib import Path

import pytest

from pfpn.cli import main
from pfpn.course.check import examine, find
from pfpn.course.grade import (
    Grades,
    Limits,
    feedback,
    grade,
    read_program,
    submissions,
    table,
)

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
