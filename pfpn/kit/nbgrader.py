"""The chapters for nbgrader: solutions between its marks, and a cell that gives the points.

nbgrader's release step empties what stands between the marks, and its autograding runs the cells
of points in the student's notebook. Points come in parts, as `check` gives them.
"""

import ast
import copy
import textwrap

from pfpn.fold import Cell, Notebook, student_notebook
from pfpn.kit.chapter import Chapter, source
from pfpn.kit.notes import CHECKED, solution_cells, solution_imports

CONFIG = '''"""Settings of nbgrader for this folder: `nbgrader generate_assignment ch00`."""

c = get_config()  # noqa: F821
c.CourseDirectory.course_id = "panoptic"
c.ExecutePreprocessor.timeout = 600
c.ClearSolutions.code_stub = {"python": "raise NotImplementedError  # your code"}
'''


def nbgrader_notebook(chapter: Chapter) -> Notebook:
    """Return a chapter as nbgrader's source: marked solutions, locked cells of points."""
    notebook = student_notebook(copy.deepcopy(chapter.notebook))
    solutions = solution_cells(chapter.number)
    cells: list[Cell] = []
    for cell in notebook["cells"]:
        names = CHECKED.findall(source(cell)) if cell["cell_type"] == "code" else []
        if len(names) != 1 or names[0] not in solutions:
            cells.append(cell)
            continue
        name = names[0]
        marked, answer = marked_solution(source(solutions[name]), name)
        cells.append(cell | {"source": marked, "metadata": _marks(f"answer-{name}")})
        points = next(e.difficulty for e in chapter.exercises if e.name == name)
        cells.append(_points_cell(name, answer, points))
    setup: Cell = {
        "cell_type": "code", "id": "nbgrader-imports", "outputs": [], "execution_count": None,
        "metadata": {}, "source": "import os\n\nos.environ[\"PFPN_STATIC\"] = \"1\"\n"
        + solution_imports(chapter.number),
    }  # fmt: skip
    notebook["cells"] = [cells[0], setup, *cells[1:]]
    return notebook


def marked_solution(text: str, name: str) -> tuple[str, str]:
    """Return a solution as one function whose body stands between nbgrader's marks, and its name.

    Helpers of the solution go into the function, so that only its first line is handed out.
    """
    body = ast.parse(text).body
    calls = [
        node for statement in body for node in ast.walk(statement)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "check"
    ]  # fmt: skip
    answer = ast.unparse(calls[0].args[1])
    lines = text.split("\n")
    main = next(n for n in body if isinstance(n, ast.FunctionDef) and n.name == answer)
    before = [
        "\n".join(lines[node.lineno - 1 : node.end_lineno])
        for node in body
        if node is not main and isinstance(node, ast.FunctionDef | ast.Assign)
    ]
    first = main.body[0].lineno - 1
    head = "\n".join(lines[main.lineno - 1 : first])
    own = textwrap.dedent("\n".join(lines[first : main.end_lineno]))
    inside = "\n".join(["### BEGIN SOLUTION", *before, own, "### END SOLUTION"])
    return f"{head}\n{textwrap.indent(inside, '    ')}\n", answer


def _marks(name: str) -> dict[str, object]:
    return {"nbgrader": _about(name) | {"grade": False, "solution": True, "locked": False}}


def _points_cell(name: str, answer: str, points: int) -> Cell:
    text = (
        "from pfpn.course.check import examine, find\n\n"
        f'report = examine(find("{name}"), {answer})\nprint(report)\nreport.points\n'
    )
    about = _about(f"points-{name}") | {"grade": True, "solution": False, "locked": True}
    metadata = {"nbgrader": about | {"points": points}}
    return {
        "cell_type": "code", "id": f"points-{name.replace('.', '-')}", "metadata": metadata,
        "source": text, "outputs": [], "execution_count": None,
    }  # fmt: skip


def _about(name: str) -> dict[str, object]:
    return {"grade_id": name.replace(".", "-"), "schema_version": 3, "task": False}
