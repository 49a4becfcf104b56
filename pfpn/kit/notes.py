"""The instructor's notebooks: solved, with stored results and with notes for teaching.

A note says how long a section takes, what to ask and what wrong answers reveal, which mistakes an
exercise's check knows, and from where on to cut when time is short.
"""

import ast
import copy
import re
from collections.abc import Iterator, Mapping

from pfpn.course.check import Exercise, all_exercises
from pfpn.fold import Cell, Notebook, folded_kinds, parse_cell, reading_seconds
from pfpn.kit.chapter import Chapter, Prediction, load_chapter, load_solutions, source
from pfpn.kit.plan import Plan, read_plan

CHECKED = re.compile(r'check\(\s*"(\d\d\.\w+)"')
SOLVED = re.compile(r"""assert check\(\s*["']([^"']+)["']""")


def instructor_notebook(chapter: Chapter) -> Notebook:
    """Return a chapter with notes and solutions; the chapter itself stays as it is."""
    plan = read_plan(chapter)
    notebook = copy.deepcopy(chapter.notebook)
    cells = list(_with_notes(chapter, plan, _solved(chapter, notebook["cells"])))
    notebook["cells"] = cells
    return notebook


def _with_notes(chapter: Chapter, plan: Plan, cells: list[Cell]) -> Iterator[Cell]:
    questions = {p.asks: p for p in chapter.predictions.values()}
    minutes = section_minutes(chapter)
    for number, cell in enumerate(cells):
        name = cell["id"]
        if name in questions:
            yield _note(f"ask-{name}", _on_prediction(questions[name], plan))
        texts = []
        if name in minutes:
            texts.append(f"Minutes: about {minutes[name]} to read and predict.")
        if name in plan.cut:
            texts.append(plan.cut[name])
        if texts:
            yield _note(f"time-{name}", " ".join(texts))
        for exercise in _exercises(cell):
            yield _note(f"task-{exercise.name.replace('.', '-')}", _on_exercise(exercise))
        yield cell
        if number == 0:
            yield _note("first", _on_chapter(chapter))


def _note(name: str, text: str) -> Cell:
    lines = f"**Note for the instructor.** {text}".split("\n")
    quoted = "\n".join(f"> {line}" if line else ">" for line in lines)
    metadata = {"tags": ["instructor"]}
    return {"cell_type": "markdown", "id": f"note-{name}", "metadata": metadata, "source": quoted}


def _on_chapter(chapter: Chapter) -> str:
    read, write = chapter.minutes
    return (
        f"This copy is solved and has its results. Slides: `slides/{chapter.number}.html`. The "
        f"chapter takes about {read} minutes to read and predict and {write} to write code. "
        "Notes such as this one say what to ask, which wrong answers are usual and what they "
        "reveal, and what to leave out when time is short. Students never get this file."
    )


def _on_prediction(prediction: Prediction, plan: Plan) -> str:
    answer = f"{prediction.truth} {prediction.unit}".strip()
    return (
        f"Two minutes. Ask before the cell runs, and count the hands. **Answer:** {answer}. "
        f"{prediction.because}\n\n**What wrong answers reveal:** {plan.wrong[prediction.name]}"
    )


def _on_exercise(exercise: Exercise) -> str:
    points = f"{exercise.difficulty} point{'s' if exercise.difficulty > 1 else ''}"
    mistakes = "\n".join(f"- {mistake.message}" for mistake in exercise.mistakes)
    hints = "\n".join(f"{i}. {text}" for i, text in enumerate(exercise.hints, 1))
    return (
        f"{exercise.minutes} minutes, {points}. The answer is in the cell below.\n\n"
        f"**Usual wrong answers**, as the check explains them:\n\n{mistakes}\n\n"
        f"**Hints**, one at a time:\n\n{hints}"
    )


def section_minutes(chapter: Chapter) -> dict[str, int]:
    """Return for each cell that begins a section the minutes to read it and to predict.

    The minutes that the chapter states are divided as `notebooks/times.py` adds them up.
    """
    weights: dict[str, float] = {}
    current = ""
    cells = chapter.notebook["cells"]
    for cell, kind in zip(cells, folded_kinds(cells), strict=True):
        text = source(cell)
        if cell["cell_type"] == "markdown" and re.search(r"^## ", text, re.MULTILINE):
            current = cell["id"]
        if not current:
            continue
        weights[current] = weights.get(current, 0.0) + reading_seconds(cell, kind)
    unit = chapter.minutes[0] / sum(weights.values())
    return {cell: max(1, round(weight * unit)) for cell, weight in weights.items()}


# Solutions ----------------------------------------------------------------------------------------


def solution_cells(number: str) -> dict[str, Cell]:
    """Return the cell that solves each exercise of a chapter, by the exercise's name.

    It stands in the chapter without a change: its function has the name that the chapter's later
    cells call, and it ends with the check, because what the solutions compare after that binds
    names that the chapter may use.
    """
    found = {}
    names = _names_of_the_chapter(number)
    for cell in load_solutions(number)["cells"]:
        for name in SOLVED.findall(source(cell)):
            lines = source(cell).split("\n")
            last = next(n for n in ast.parse(source(cell)).body if SOLVED.search(ast.unparse(n)))
            text = with_names("\n".join(lines[: last.end_lineno]), names)
            found[name] = cell | {"source": text}
    return found


def _names_of_the_chapter(number: str) -> dict[str, str]:
    """Return for each function that a solution checks what it is called in the chapter."""
    called = {
        exercise: answer
        for cell in load_chapter(number).notebook["cells"]
        if _is_task(cell)
        for exercise, answer in _checked(cell)
    }
    return {
        answer: called[exercise]
        for cell in load_solutions(number)["cells"]
        if SOLVED.search(source(cell))
        for exercise, answer in _checked(cell)
    }


def _checked(cell: Cell) -> Iterator[tuple[str, str]]:
    """Yield the exercises that a cell checks, each with the name of the function it gives."""
    for node in ast.walk(parse_cell(cell)):
        match node:
            case ast.Call(
                func=ast.Name("check"), args=[ast.Constant(str(exercise)), ast.Name(answer), *_]
            ):
                yield exercise, answer


def with_names(text: str, names: Mapping[str, str]) -> str:
    """Return code in which functions and variables have other names."""
    lines = [line.encode() for line in text.split("\n")]
    spots = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Name) and node.id in names:
            spots.append((node.lineno, node.col_offset, node.id))
        elif isinstance(node, ast.FunctionDef) and node.name in names:
            spots.append((node.lineno, node.col_offset + len("def "), node.name))
    for number, column, name in sorted(spots, reverse=True):
        line = lines[number - 1]  # columns count bytes
        lines[number - 1] = line[:column] + names[name].encode() + line[column + len(name) :]
    return b"\n".join(lines).decode()


def solution_imports(number: str) -> str:
    """Return all import statements that the solutions of a chapter have outside of functions."""
    statements: dict[str, None] = {}
    for cell in load_solutions(number)["cells"]:
        if cell["cell_type"] == "code":
            text = re.sub(r"^[%!].*$", "", source(cell), flags=re.MULTILINE)
            for node in ast.parse(text).body:
                if isinstance(node, ast.Import | ast.ImportFrom):
                    statements[ast.unparse(node)] = None
    return "\n".join(statements)


def _exercises(cell: Cell) -> list[Exercise]:
    if "exercise" not in cell["metadata"].get("tags", []):
        return []
    known = all_exercises()
    return [known[name] for name in CHECKED.findall(source(cell)) if name in known]


def _solved(chapter: Chapter, cells: list[Cell]) -> list[Cell]:
    """Return cells in which exercises and capstones have their solutions."""
    solutions = solution_cells(chapter.number)
    capstone = _capstone(chapter.number)
    result: list[Cell] = []
    for cell in cells:
        names = CHECKED.findall(source(cell)) if _is_task(cell) else []
        if names:
            solved = copy.deepcopy(solutions[names[0]])
            result.append(solved | {"id": cell["id"], "metadata": cell["metadata"]})
        elif (_is_task(cell) and "run_capstone" in source(cell)) or _is_part(cell):
            result += capstone
            capstone = []
        elif _is_task(cell):  # without a check: the solutions have a cell with the same functions
            (own,) = [
                other
                for other in load_solutions(chapter.number)["cells"]
                if other["cell_type"] == "code" and _functions(other) == _functions(cell)
            ]
            solved = copy.deepcopy(own)
            result.append(solved | {"id": cell["id"], "metadata": cell["metadata"]})
        else:
            result.append(cell)
    code = [i for i, cell in enumerate(result) if cell["cell_type"] == "code"]
    imports: Cell = {
        "cell_type": "code", "id": "note-imports", "metadata": {"tags": ["instructor"]},
        "source": solution_imports(chapter.number), "outputs": [], "execution_count": None,
    }  # fmt: skip
    result.insert(code[1] + 1, imports)
    return result


def _functions(cell: Cell) -> list[str]:
    """Return the names of the functions that a cell defines."""
    return [node.name for node in parse_cell(cell).body if isinstance(node, ast.FunctionDef)]


def _is_task(cell: Cell) -> bool:
    return "exercise" in cell["metadata"].get("tags", [])


def _is_part(cell: Cell) -> bool:
    """Return whether a cell is a part of a capstone that a student writes."""
    return _is_task(cell) and cell["id"].startswith("cap-")


def _capstone(number: str) -> list[Cell]:
    """Return the cells that solve a chapter's capstone."""
    names = _names_of_the_chapter(number)
    return [
        copy.deepcopy(cell) | {"source": with_names(source(cell), names)}
        for cell in load_solutions(number)["cells"]
        if cell["id"].startswith("cap-")
        and cell["cell_type"] == "code"
        and (_is_task(cell) or re.search(r"(?:assert|report =) run_capstone\(", source(cell)))
    ]
