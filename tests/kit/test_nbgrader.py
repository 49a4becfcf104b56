"""The chapters for nbgrader: marks, empty functions, cells of points."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from pfpn.cli import main
from pfpn.course.check import examine, find
from pfpn.kit.chapter import chapter_numbers, load_chapter, source
from pfpn.kit.nbgrader import marked_solution, nbgrader_notebook
from pfpn.kit.notes import solution_cells, solution_imports


@pytest.mark.parametrize("number", chapter_numbers())
def test_each_exercise_has_a_marked_solution_and_its_points(number):
    chapter = load_chapter(number)
    cells = nbgrader_notebook(chapter)["cells"]
    graded = {
        c["metadata"]["nbgrader"]["grade_id"]: c for c in cells if "nbgrader" in c["metadata"]
    }
    assert len(graded) == 2 * len(chapter.exercises)
    for exercise in chapter.exercises:
        name = exercise.name.replace(".", "-")
        answer, points = graded[f"answer-{name}"], graded[f"points-{name}"]
        assert source(answer).count("### BEGIN SOLUTION") == 1
        assert source(answer).count("### END SOLUTION") == 1
        assert source(answer).startswith("def ")
        assert "solution" in answer["metadata"]["nbgrader"]
        assert points["metadata"]["nbgrader"]["points"] == exercise.difficulty
        assert points["metadata"]["nbgrader"]["locked"]


@pytest.mark.parametrize("name", ["00.count_regions", "03.anchor", "06.weights", "10.mean_quality"])
def test_a_marked_solution_is_right(name):
    space: dict = {}
    exec(solution_imports(name[:2]), space)
    for other, cell in solution_cells(name[:2]).items():  # one may use another, as NMS does IoU
        text, answer = marked_solution(source(cell), other)
        exec(text, space)
        if other == name:
            break
    assert examine(find(name), space[answer]).right


@pytest.mark.slow
@pytest.mark.long
def test_nbgrader_releases_and_grades_a_chapter(tmp_path):
    """With nbgrader where it is installed: `pip install nbgrader` in an environment of its own."""
    pytest.importorskip("nbgrader", reason="nbgrader is not installed")
    assert main(["kit", str(tmp_path / "kit"), "--chapters", "00", "--nbgrader"]) == 0
    folder = tmp_path / "kit" / "nbgrader"
    nbgrader(folder, "generate_assignment", "ch00", "--create")
    name = load_chapter("00").path.name
    released = json.loads((folder / "release/ch00" / name).read_text("utf-8"))
    texts = ["".join(cell["source"]) for cell in released["cells"]]
    assert sum("raise NotImplementedError  # your code" in text for text in texts) == 3
    assert not any("BEGIN SOLUTION" in text for text in texts)
    for cell in released["cells"]:
        if "".join(cell["source"]).startswith("def id_to_color"):  # red and blue are swapped
            cell["source"] = "def id_to_color(i):\n    return i // 65536, i // 256 % 256, i % 256\n"
    handed_in = {"ann": (folder / "source/ch00" / name).read_text("utf-8")}
    handed_in["bob"] = json.dumps(released)
    for student, text in handed_in.items():
        (folder / "submitted" / student / "ch00").mkdir(parents=True)
        (folder / "submitted" / student / "ch00" / name).write_text(text, "utf-8")
    nbgrader(folder, "autograde", "ch00")
    nbgrader(folder, "export", "--to", "grades.csv")
    rows = csv.DictReader((folder / "grades.csv").read_text("utf-8").splitlines())
    scores = {row["student_id"]: (float(row["score"]), float(row["max_score"])) for row in rows}
    assert scores["ann"] == (6, 6)
    assert 0 < scores["bob"][0] < 1


def nbgrader(folder: Path, *words: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "nbgrader", *words],
        cwd=folder, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
