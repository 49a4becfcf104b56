"""The chapters for nbgrader: marks, empty functions, cells of points."""

import pytest

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
