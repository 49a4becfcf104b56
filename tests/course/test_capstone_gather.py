"""A learner's parts are read out of saved notebooks."""

import json

import pytest

from pfpn.course.capstone_gather import NAMES, code_of, gather_parts
from tests.course.capstone_answers import SOLUTIONS


def notebook(path, *cells):
    """Write a notebook of (source, tags)."""
    rows = [
        {"cell_type": "code", "metadata": {"tags": tags}, "source": source}
        for source, tags in cells
    ]
    path.write_text(json.dumps({"cells": rows}), encoding="utf-8")


@pytest.fixture
def folder(tmp_path):
    for chapter in NAMES:
        notebook(tmp_path / f"{chapter}_x.ipynb", ("import math", []))
    return tmp_path


def test_the_solutions_give_every_part(tmp_path):
    parts = gather_parts(SOLUTIONS, to=tmp_path / "mine")
    assert set(parts) == {part for names in NAMES.values() for part in names}
    assert "class MyFPN(nn.Module):" in (tmp_path / "mine" / "ch01.py").read_text(encoding="utf-8")
    assert "# " in (tmp_path / "mine" / "ch05.py").read_text(encoding="utf-8")  # comments stay


def test_a_stub_is_left_out(folder):
    stub = "class MyFPN:\n    def __init__(self):\n        raise NotImplementedError"
    notebook(folder / "01_x.ipynb", (stub, ["exercise"]))
    assert gather_parts(folder) == {}


def test_only_definitions_of_exercise_cells_are_kept(folder):
    notebook(
        folder / "09_x.ipynb",
        ("import math\nopened = 1 / 0", []),
        ("LIMIT = 3\nprint(1 / 0)\n\n\ndef my_merge():\n    return LIMIT", ["exercise"]),
        ("def my_merge():\n    return 0", []),
    )
    assert gather_parts(folder)["merge"]() == 3


def test_cells_with_magic_commands_are_passed_over(folder):
    notebook(folder / "09_x.ipynb", ("%timeit x", []))
    assert code_of(folder / "09_x.ipynb").strip() == ""


def test_code_that_fails_is_named(folder):
    notebook(folder / "09_x.ipynb", ("def my_merge(x=nothing):\n    pass", ["exercise"]))
    with pytest.raises(ValueError, match=r"ch09\.py: your code of this chapter raises NameError"):
        gather_parts(folder)


def test_a_syntax_error_is_named(folder):
    notebook(folder / "09_x.ipynb", ("def my_merge(:", ["exercise"]))
    with pytest.raises(ValueError, match=r"09_x\.ipynb: a cell has a syntax error"):
        gather_parts(folder)


def test_a_missing_notebook_is_named(tmp_path):
    with pytest.raises(ValueError, match="found 0 notebooks of chapter 01"):
        gather_parts(tmp_path)


def test_a_broken_notebook_is_named(folder):
    (folder / "01_x.ipynb").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match="cannot be read as a notebook"):
        gather_parts(folder)


def test_a_newer_release_beside_a_changed_notebook_is_passed_over(folder):
    solved = "def my_merge():\n    return 9"
    notebook(folder / "09_x.ipynb", (solved, ["exercise"]))
    notebook(folder / "09_x.new.ipynb", ("def my_merge(): ...", ["exercise"]))
    notebook(folder / "09_x.new2.ipynb", ("def my_merge(): ...", ["exercise"]))
    assert gather_parts(folder)["merge"]() == 9
    notebook(folder / "09_copy.ipynb", (solved, ["exercise"]))
    with pytest.raises(ValueError, match="found 2 notebooks of chapter 09"):
        gather_parts(folder)
