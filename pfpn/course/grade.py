"""Grade a class's notebooks: each runs in a process group of its own, its answers are judged here.

A submission is a folder for each student with notebooks under the chapters' names. Of a notebook
only imports, definitions and the cells of exercises run, in a copy of its folder and under limits
of time, memory and file size. That process gets inputs and writes down what the answers return;
another one, this, compares that with the references in cases that no student has seen.

This protects the other students' grades and this process from a notebook that crashes, hangs, or
fills the memory or the disk, and from one that changes the checker. It is no sandbox: a notebook
can read what the user can read, use the network, and start a process that leaves the group. For
notebooks of people whom you do not trust, grade in a container:

    docker run --rm --network none -v "$PWD:/class" IMAGE pfpn grade /class --csv /class/all.csv
"""

import ast
import csv
import html
import io
import json
import shutil
import tempfile
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from pfpn.course.answering import read_outcomes
from pfpn.course.check import Exercise, Outcome, Report, all_exercises, judge
from pfpn.course.encode import encode
from pfpn.course.kernel import ending_strays, run_cells
from pfpn.course.values import Missing

MOST_BYTES = 20 << 20  # of a notebook, of a file beside it, of written answers


@dataclass(frozen=True, slots=True)
class Limits:
    """What one notebook may use."""

    seconds: float = 60  # of processor time; three times as many on the clock
    memory: int = 2 << 30  # bytes beyond what Python, torch and pfpn need
    file_size: int = 20 << 20  # bytes


@dataclass(slots=True)
class Program:
    """What of a notebook runs."""

    cells: list[str] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)  # exercise: expression of the answer
    problems: dict[str, str] = field(default_factory=dict)  # exercise: why it cannot run


@dataclass(frozen=True, slots=True)
class Submission:
    """A notebook as it was handed in; all are read before the first runs."""

    path: Path
    content: bytes
    program: Program
    problem: str = ""  # why it cannot be read

    def has_changed(self) -> bool:
        """Return whether the file is another one by now: a notebook runs as the user does."""
        try:
            return self.path.read_bytes() != self.content
        except OSError:
            return True


@dataclass(slots=True)
class Grades:
    """One student's reports by exercise, and remarks on notebooks."""

    student: str
    reports: dict[str, Report] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    @property
    def points(self) -> float:
        """The sum over the exercises."""
        return round(sum(report.points for report in self.reports.values()), 1)


# Reading ------------------------------------------------------------------------------------------


def read_program(path: Path) -> Program:
    """Return what of a notebook runs: imports, definitions, and exercises without their checks.

    Raises:
        ValueError: this is no notebook that can be read.
    """
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path.name}: larger than {MOST_BYTES >> 20} MB")
    program = Program()
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        for source in ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]:
            _add_cell(program, source)
    except (ValueError, KeyError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError(f"{path.name}: cannot be read as a notebook") from error
    return program


def _add_cell(program: Program, source: str) -> None:
    lines = ["" if line.lstrip().startswith(("%", "!")) else line for line in source.split("\n")]
    named = [name for name in all_exercises() if f'"{name}"' in source or f"'{name}'" in source]
    try:
        body = ast.parse("\n".join(lines)).body
    except (SyntaxError, ValueError, RecursionError) as error:
        for name in named if "check" in source else []:
            program.problems[name] = f"This cell is not valid Python: {error}"
        return
    calls = [(statement, call) for statement in body for call in _checks(statement)]
    refusal = _reference_in(body) if calls else ""
    for _, call in calls:
        name, answer = ast.literal_eval(call.args[0]), ast.unparse(call.args[1])
        program.answers[name] = answer
        program.problems.pop(name, None)
        if refusal:
            program.problems[name] = refusal
    checking = {id(statement) for statement, _ in calls}
    kinds = ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef
    kept = [s for s in body if id(s) not in checking and (calls or isinstance(s, kinds))]
    if kept:
        program.cells.append(ast.unparse(ast.Module(kept, [])))


def _checks(statement: ast.stmt) -> Iterator[ast.Call]:
    """Yield the calls of `check` with the name of an exercise, in a statement of a cell."""
    for node in ast.walk(statement):
        match node:
            case ast.Call(
                func=ast.Name(id="check") | ast.Attribute(attr="check"),
                args=[ast.Constant(value=str(name)), _],
            ) if name in all_exercises():
                yield node


def _reference_in(body: Sequence[ast.stmt]) -> str:
    """Return why code is refused that takes the reference, "" if it does not."""
    for statement in body:
        for node in ast.walk(statement):
            match node:
                case ast.Attribute(attr="reference"):
                    return "Refused: the answer uses the reference."
                case ast.ImportFrom(module=str(module)) if module.endswith("exercises"):
                    return "Refused: the answer imports the reference."
                case ast.Import(names=names) if any(n.name.endswith("exercises") for n in names):
                    return "Refused: the answer imports the reference."
    return ""


# Running ------------------------------------------------------------------------------------------


def read_submission(path: Path) -> Submission:
    """Return a notebook as it is now, or why it cannot be read."""
    try:
        content = path.read_bytes() if path.stat().st_size <= MOST_BYTES else b""
        return Submission(path, content, read_program(path))
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        why = str(error) if isinstance(error, ValueError) else f"{path.name}: cannot be read"
        return Submission(path, b"", Program(), why)


def grade_notebook(
    submission: Submission, seed: int, limits: Limits
) -> tuple[dict[str, Report], str]:
    """Return the reports on a notebook's exercises, and a remark if it did not run well.

    Whatever goes wrong costs this notebook alone.
    """
    if submission.problem:
        return {}, submission.problem
    path, program = submission.path, submission.program
    try:
        outcomes, remark = run_program(program, path.parent, seed, limits)
    except Exception as error:  # a folder that cannot be copied, a value that nobody thought of
        why = f"cannot be run ({type(error).__name__})"
        outcomes, remark = dict.fromkeys(program.answers, f"The notebook {why}."), why
    reports = {name: _judge(all_exercises()[name], seed, each) for name, each in outcomes.items()}
    remarks = [f"{path.name}: {remark}"] if remark else []
    if submission.has_changed():
        remarks.append(f"{path.name}: was changed or removed meanwhile; what was handed in counts")
    return reports, "; ".join(remarks)


def run_program(
    program: Program, beside: Path, seed: int, limits: Limits
) -> tuple[dict[str, list[Outcome] | str], str]:
    """Return what the answers of a notebook did, and why its process ended early, "" if it did not.

    Where an exercise has no outcomes, the reason is in their place.
    """
    names = [name for name in program.answers if name not in program.problems]
    with tempfile.TemporaryDirectory(prefix="pfpn-grade-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch) / "work"
        _copy(beside, folder)
        nums = {}
        for name in names:
            cases = all_exercises()[name].all_cases(seed)
            nums[name] = len(cases)
            encoded = [encode(case.arguments) for case in cases]
            (folder / f"{name}.inputs.json").write_text(json.dumps(encoded), encoding="utf-8")
        remark = _run_answers(program, names, folder, limits)
        outcomes: dict[str, list[Outcome] | str] = {
            name: _outcomes(folder / f"{name}.outputs.json", num, remark)
            for name, num in nums.items()
        }
    return outcomes | program.problems, remark


def _run_answers(program: Program, names: list[str], folder: Path, limits: Limits) -> str:
    """Run the answers; one that ends the process is left out, and the next ones run in another.

    Returns why the first process ended, "" if all went well.
    """
    first, left = "", list(names)
    while left:
        remark = run_cells(list(_program_cells(program, left, limits)), folder, limits.seconds)
        first = first or remark
        missing = [name for name in left if not (folder / f"{name}.outputs.json").exists()]
        if not remark or not missing:
            break
        is_hopeless = missing == left and len(left) < len(names)  # not the answers, but the rest
        left = [] if is_hopeless else missing[1:]
    return first


def _copy(source: Path, target: Path) -> None:
    """Copy a student's folder without links and large files."""

    def left_out(folder: str, names: list[str]) -> list[str]:
        paths = [Path(folder) / name for name in names]
        return [
            p.name
            for p in paths
            if p.is_symlink() or not (p.is_dir() or (p.is_file() and p.stat().st_size < MOST_BYTES))
        ]

    shutil.copytree(source, target, ignore=left_out)


def _program_cells(program: Program, names: Iterable[str], limits: Limits) -> Iterator[str]:
    most = f"{limits.memory}, {limits.file_size}, {int(limits.seconds) + 1}"
    yield f"from pfpn.course.answering import limit as _limit\n_limit({most})"
    yield from program.cells
    each = limits.seconds / 2 / max(1, len(program.answers))
    for name in names:
        files = f"{name + '.inputs.json'!r}, {name + '.outputs.json'!r}"
        yield (
            "from pfpn.course.answering import answer as _answer\n"
            f"_answer({program.answers[name]}, {files}, {each})"
        )


# Judging ------------------------------------------------------------------------------------------


def _outcomes(outputs: Path, num: int, remark: str) -> list[Outcome] | str:
    """Return what a student's process has written down, or why that cannot be used."""
    if outputs.is_symlink() or not outputs.is_file():
        return f"There is no answer: {remark or 'its cell raised an error'}."
    if outputs.stat().st_size > MOST_BYTES:
        return f"The answers take more than {MOST_BYTES >> 20} MB."
    try:
        return read_outcomes(outputs.read_text(encoding="utf-8"), num)
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        return f"The answers cannot be read: {error}"


def _judge(exercise: Exercise, seed: int, outcomes: list[Outcome] | str) -> Report:
    """Return the report on the outcomes of one exercise."""
    if isinstance(outcomes, str):
        return _nothing(exercise, outcomes)
    if all(_is_empty(outcome) for outcome in outcomes):
        return _nothing(exercise, "Not answered.")
    try:
        return judge(exercise, exercise.all_cases(seed), outcomes)
    except Exception as error:  # written by a student's process: it may be any value
        return _nothing(exercise, f"The answers cannot be compared ({type(error).__name__}).")


def _is_empty(outcome: Outcome) -> bool:
    nothing = outcome.value is Missing or outcome.value is None
    return nothing and not outcome.error and not outcome.borrowed


def _nothing(exercise: Exercise, why: str) -> Report:
    text = f"{exercise.name}: 0 of {exercise.difficulty} points.\n  {why}"
    return Report(text, right=False, diagnosis=why, missing=("an answer",))


# A class ------------------------------------------------------------------------------------------


def submissions(folder: Path) -> dict[str, list[Path]]:
    """Return the chapters' notebooks of each student, by the name of the student's folder.

    Raises:
        ValueError: there is no student's folder.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: found no folder, expected one with a folder for each student")
    chapters = {name[:2] for name in all_exercises()}
    result = {
        student.name: sorted(
            path
            for path in student.glob("[0-9][0-9]_*.ipynb")
            if path.name[:2] in chapters and path.is_file() and not path.is_symlink()
        )
        for student in sorted(folder.iterdir())
        if student.is_dir() and not student.name.startswith(".")
    }
    if not result:
        raise ValueError(
            f"{folder}: found no folder in it, expected one for each student, with notebooks such "
            "as 03_proposals.ipynb. Is this one student's own folder?"
        )
    return result


def grade(folder: Path, *, seed: int, limits: Limits, jobs: int = 2) -> Iterator[Grades]:
    """Yield each student's grades, in the order of their names.

    Args:
        folder: with a folder for each student.
        seed: of the random cases; keep it from the students.
        limits: for each notebook.
        jobs: notebooks that run at a time.

    Raises:
        ValueError: there is no student's folder.
    """
    found = submissions(folder)
    all_exercises()  # imported once, before the threads
    read = {student: [read_submission(p) for p in paths] for student, paths in found.items()}
    with ending_strays(), ThreadPoolExecutor(jobs) as pool:
        running = {
            student: [pool.submit(grade_notebook, each, seed, limits) for each in notebooks]
            for student, notebooks in read.items()
        }
        for student, notebooks in running.items():
            grades = Grades(student)
            if not notebooks:
                grades.remarks.append("no notebook under a chapter's name, as 03_proposals.ipynb")
            for notebook in notebooks:
                _add(grades, *notebook.result())
            grades.remarks += _twice(found[student])
            yield grades


def _add(grades: Grades, reports: dict[str, Report], remark: str) -> None:
    """Add the reports on a notebook; of two answers to an exercise the better one counts."""
    for name, report in reports.items():
        other = grades.reports.get(name)
        if other is None or report.points > other.points:
            grades.reports[name] = report
    if remark:
        grades.remarks.append(remark)


def _twice(paths: Sequence[Path]) -> Iterator[str]:
    """Yield a remark for each chapter of which there is more than one notebook."""
    for chapter, num in Counter(path.name[:2] for path in paths).items():
        if num > 1:
            yield f"{num} notebooks of chapter {chapter}: of each exercise the better answer counts"


def table(grades: Sequence[Grades]) -> str:
    """Return the grades as CSV: a row for each student, a column for each exercise."""
    names = [name for name in all_exercises() if any(name in g.reports for g in grades)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["student", *names, "points", "of", "remarks"])
    most = sum(all_exercises()[name].difficulty for name in names)
    for row in grades:
        points = [f"{row.reports[n].points:g}" if n in row.reports else "" for n in names]
        cells = [row.student, *points, f"{row.points:g}", most, "; ".join(row.remarks)]
        writer.writerow([_plain(cell) for cell in cells])
    return text.getvalue()


def _plain(cell: object) -> str:
    """Return text that a spreadsheet does not take for a formula."""
    text = str(cell)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def feedback(grades: Grades) -> str:
    """Return a student's page of feedback, as HTML: points, what failed first, and a hint."""
    reports = sorted(grades.reports.items())
    most = sum(all_exercises()[name].difficulty for name, _ in reports)
    title = f"{html.escape(grades.student)}: {grades.points:g} of {most} points"
    rows = ""
    for name, report in reports:
        of = all_exercises()[name].difficulty
        bar = f'<meter max="{of}" value="{report.points:g}">{report.points:g}</meter>'
        rows += f'<tr><td><a href="#{name}">{name}</a></td><td>{bar}</td>'
        rows += f"<td>{report.points:g} of {of}</td></tr>"
    parts = [f"<h1>{title}</h1>", f"<table>{rows}</table>" if rows else ""]
    parts += [f'<p class="remark">{html.escape(remark)}</p>' for remark in grades.remarks]
    parts += [_feedback_on(all_exercises()[name], report) for name, report in reports]
    style = (
        "body{font:17px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
        "pre{overflow-x:auto;background:#8882;padding:.7em;font-size:15px}"
        "td{padding:.2em 1.2em .2em 0;white-space:nowrap}meter{width:9em}"
        ".remark{border-left:4px solid #c60;padding-left:.7em}h2{margin-top:2em}"
        ":root{color-scheme:light dark}"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{html.escape(grades.student)}</title>\n<style>{style}</style>\n"
        + "\n".join(filter(None, parts))
        + "\n</html>\n"
    )


def _feedback_on(exercise: Exercise, report: Report) -> str:
    """Return what a student reads about one exercise."""
    points = f"{report.points:g} of {exercise.difficulty}"
    text = "\n".join(report.text.split("\n")[1:])  # the first line repeats name and points
    parts = [f'<h2 id="{exercise.name}">{exercise.name}: {points}</h2>']
    parts.append(f"<p>{html.escape(exercise.task)}</p>")
    parts.append(f"<pre>{html.escape(textwrap.dedent(text))}</pre>")
    if not report.right and exercise.hints:
        parts.append(f"<p><b>A hint:</b> {html.escape(exercise.hints[0])}</p>")
    return "\n".join(parts)
