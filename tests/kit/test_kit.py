"""A small kit, every file of which is opened: archives, decks, quiz, sheets, nbgrader's folder."""

import ast
import io
import json
import os
import re
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pfpn.cli import main
from pfpn.course import all_exercises
from pfpn.fold import parse_cell, student_notebook
from pfpn.kit.chapter import chapter_numbers, load_chapter, source
from pfpn.kit.handout import archive, instructor_files
from pfpn.kit.notes import (
    CHECKED,
    instructor_notebook,
    section_minutes,
    solution_cells,
    with_names,
)
from pfpn.kit.schedule import schedule_page, timetables
from pfpn.kit.words import to_html, to_plain

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kit") / "dist"
    assert main(["kit", str(folder), "--chapters", "00", "--nbgrader"]) == 0
    return folder


def files(kit: Path, name: str) -> dict[str, bytes]:
    with zipfile.ZipFile(kit / name) as packed:
        assert packed.testzip() is None
        return {entry: packed.read(entry) for entry in packed.namelist()}


def open_file(name: str, content: bytes) -> None:
    """Raise an error if a file is not what its name says."""
    suffix = Path(name).suffix
    if suffix == ".ipynb":
        notebook = json.loads(content)
        ids = [cell["id"] for cell in notebook["cells"]]
        assert len(ids) == len(set(ids))
        assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", i) for i in ids), ids
        if "nbformat" in notebook:
            import nbformat

            nbformat.validate(nbformat.from_dict(notebook))
    elif suffix == ".xml":
        assert ElementTree.fromstring(content).tag == "quiz"
    elif suffix == ".html":
        text = content.decode("utf-8")
        assert text.lstrip().lower().startswith("<!doctype html>")
        assert "<title>" in text
    elif suffix == ".zip":
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            for entry in packed.namelist():
                open_file(entry, packed.read(entry))
    elif suffix == ".py":
        ast.parse(content)
    elif suffix == ".json":
        json.loads(content)
    elif suffix == ".png":
        assert content.startswith(b"\x89PNG")
    else:
        assert content


@pytest.mark.slow
def test_every_file_of_a_small_kit_opens(kit):
    names = {p.relative_to(kit).as_posix(): p for p in kit.rglob("*") if p.is_file()}
    names = {name: path for name, path in names.items() if not name.startswith(".pfpn")}
    assert {
        "README.md", "LICENSE", "CITATION.cff", "student.zip", "instructor.zip", "schedule.html",
        "slides/00.html", "slides/index.html", "pages/surfaces.html", "quiz/network.xml",
        "quiz/network_paper.html", "quiz/network_sheet.html", "quiz/network_answers.html",
        "nbgrader/nbgrader_config.py", "nbgrader/source/ch00/00_panoptic_segmentation.ipynb",
    } <= names.keys()  # fmt: skip
    for name, path in names.items():
        open_file(name, path.read_bytes())


@pytest.mark.slow
@pytest.mark.long
def test_every_file_of_the_whole_kit_opens(tmp_path):
    assert main(["kit", str(tmp_path / "kit"), "--nbgrader"]) == 0
    paths = [p for p in (tmp_path / "kit").rglob("*") if p.is_file() and ".pfpn" not in p.parts]
    assert len(paths) > 40
    for path in paths:
        open_file(path.name, path.read_bytes())


@pytest.mark.slow
def test_students_get_no_answers(kit):
    content = files(kit, "student.zip")
    assert "student/START.md" in content
    assert not [name for name in content if "solutions" in name or name.endswith("teaching.md")]
    notebooks = [name for name in content if name.endswith(".ipynb")]
    assert notebooks == ["student/notebooks/00_panoptic_segmentation.ipynb"]
    notebook = json.loads(content[notebooks[0]])
    original = student_notebook(load_chapter("00").notebook)
    for cell, before in zip(notebook["cells"], original["cells"], strict=True):
        if cell["cell_type"] == "code":
            assert cell == before
            assert cell["outputs"] == []
        else:
            assert "solutions/" not in source(cell)
    for name, text in content.items():
        if name.endswith(".md"):
            for target in re.findall(r"\]\(([^)\s#]+)", text.decode()):
                if not re.match(r"[a-z]+:", target):
                    there = (Path("/") / Path(name).parent / target).resolve()
                    names = {str(Path("/") / other) for other in content}
                    folders = {str(p) for other in names for p in Path(other).parents}
                    assert str(there) in names | folders, (name, target)


@pytest.mark.slow
def test_the_instructor_gets_solutions_and_notes(kit):
    content = files(kit, "instructor.zip")
    assert "instructor/docs/teaching.md" in content
    assert "instructor/notebooks/solutions/00_panoptic_segmentation.ipynb" in content


@pytest.mark.parametrize("number", chapter_numbers())
def test_notes_stand_before_what_they_are_about(number):
    chapter = load_chapter(number)
    cells = instructor_notebook(chapter)["cells"]
    texts = {cell["id"]: source(cell) for cell in cells}
    names = [cell["id"] for cell in cells]
    for prediction in chapter.predictions.values():
        assert names[names.index(prediction.asks) - 1].startswith(("note-ask-", "note-time-"))
        assert prediction.because in texts[f"note-ask-{prediction.asks}"]
    for exercise in chapter.exercises:
        note = f"note-task-{exercise.name.replace('.', '-')}"
        after = cells[names.index(note) + 1]
        assert source(after) == source(solution_cells(number)[exercise.name])
        for mistake in exercise.mistakes:
            assert mistake.message in texts[note]
    assert not [c for c in cells if "raise NotImplementedError" in source(c)]
    run = [c for c in chapter.cells.values() if "run_capstone(" in source(c)]
    solved = [c for c in cells if re.search(r"(assert|report =) run_capstone\(", source(c))]
    assert len(solved) == len(run)
    read = sum(section_minutes(chapter).values())
    assert abs(read - chapter.minutes[0]) <= 8


@pytest.mark.parametrize("number", chapter_numbers())
def test_a_solution_fits_into_its_chapter(number):
    """It has the names that later cells call, and takes none that they have from elsewhere."""
    stubs = {
        name: cell
        for cell in load_chapter(number).cells.values()
        for name in CHECKED.findall(source(cell)) if "exercise" in cell["metadata"].get("tags", [])
    }  # fmt: skip
    used = {
        node.id
        for cell in load_chapter(number).cells.values()
        for node in ast.walk(parse_cell(cell)) if isinstance(node, ast.Name)
    }  # fmt: skip
    solutions = solution_cells(number)
    assert stubs.keys() == solutions.keys()
    for name, stub in stubs.items():
        assert bound(stub) <= bound(solutions[name]), name
        assert not (bound(solutions[name]) - bound(stub)) & used, name


def bound(cell: dict) -> set[str]:
    """Return the names that a cell binds outside of functions."""
    names = set()
    for statement in parse_cell(cell).body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            names.add(statement.name)
        else:
            stored = [n for n in ast.walk(statement) if isinstance(n, ast.Name)]
            names |= {n.id for n in stored if isinstance(n.ctx, ast.Store)}
    return names - {"_"}


def test_names_in_code_are_replaced_and_nothing_else_is():
    text = 'def rise(a):\n    return b.rise(rise=rise(a), é="rise", c=rise)\n\n\nassert rise(1)'
    assert with_names(text, {"rise": "my_rise"}) == (
        'def my_rise(a):\n    return b.rise(rise=my_rise(a), é="rise", c=my_rise)\n\n\n'
        "assert my_rise(1)"
    )


@pytest.fixture(scope="module")
def instructors_folder(tmp_path_factory):
    """The instructor's archive, unpacked in an empty folder."""
    top = tmp_path_factory.mktemp("instructor")
    with zipfile.ZipFile(io.BytesIO(archive("i", instructor_files(chapter_numbers())))) as packed:
        packed.extractall(top)
    return top / "i" / "notebooks"


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("number", chapter_numbers())
def test_an_instructors_notebook_runs(number, instructors_folder):
    """Solutions in place of stubs run as they stand, with the imports that are added."""
    import nbformat
    from nbclient import NotebookClient

    chapter = load_chapter(number)
    notebook = nbformat.read(instructors_folder / chapter.path.name, as_version=4)
    here = {"metadata": {"path": instructors_folder}}
    client = NotebookClient(notebook, timeout=600, resources=here)
    client.execute(env={**os.environ, "PFPN_STATIC": "1", "PYTHONPATH": str(ROOT)})
    printed = "".join(
        output.get("text", "")
        for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs
    )  # fmt: skip
    for exercise in chapter.exercises:
        assert re.search(rf"{re.escape(exercise.name)}: all \d+ cases", printed)


def test_names_of_the_guide_are_those_of_the_chapters():
    text = (ROOT / "docs/teaching.md").read_text(encoding="utf-8")
    table = text.partition("## Learning goals")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\d\d) \| (.+?) \| (.+?) \|$", table, re.MULTILINE)
    for number in chapter_numbers():
        chapter = load_chapter(number)
        mine = [row for row in rows if row[0] == number]
        assert len(mine) == len(chapter.goals), number
        tested = " ".join(row[2] for row in mine)
        named = re.findall(r"`([\d.a-z_]+)`", tested)
        assert sorted(named) == sorted(e.name for e in chapter.exercises)
        has_capstone = any("run_capstone(" in source(c) for c in chapter.cells.values())
        assert ("capstone" in tested) == has_capstone
        assert not re.sub(r"`[^`]+`|predictions|capstone|[, ]", "", tested)
    assert len(rows) == sum(len(load_chapter(n).goals) for n in chapter_numbers())
    assert set(re.findall(r"`(\d\d\.[a-z_]+)`", table)) == set(all_exercises())


def test_the_guide_has_four_plans_and_the_schedule_their_minutes():
    plans = timetables()
    assert [plan.title.partition(" (")[0] for plan in plans] == [
        "one lecture", "three sessions", "six evenings", "a term with a project",
    ]  # fmt: skip
    for plan in plans[2:]:
        assert sorted(n for s in plan.sessions for n in s.chapters) == chapter_numbers()
    page = schedule_page()
    read, write = load_chapter("06").minutes
    assert f"read {read}, write {write}" in page
    projects = (ROOT / "docs/teaching.md").read_text("utf-8").partition("## Ten projects")[2]
    assert re.findall(r"^\| (\d+)\. ", projects, re.MULTILINE) == [str(i) for i in range(1, 11)]
    for name in re.findall(r"`((?:pfpn|benchmarks)/[\w./]+)`", projects):
        assert (ROOT / name).is_file(), name


def test_a_kit_is_brought_up_to_date_and_replaces_nothing_of_others(kit, capsys):
    (kit / "quiz" / "mine.txt").write_text("mine")
    assert main(["kit", str(kit), "--chapters", "00"]) == 0
    assert not list((kit / "nbgrader").rglob("*.ipynb"))
    assert (kit / "quiz" / "mine.txt").read_text() == "mine"
    assert main(["kit", str(kit), "--chapters", "42"]) == 2
    assert "expected 00 to 11" in capsys.readouterr().err


def test_a_file_of_another_origin_stops_a_kit_before_anything_is_written(tmp_path, capsys):
    (tmp_path / "schedule.html").write_text("mine")
    assert main(["kit", str(tmp_path), "--chapters", "11"]) == 2
    assert "schedule.html: found a file of another origin" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir() if path.name != ".pfpn"] == ["schedule.html"]


def test_words():
    assert to_html("a `b<c` **d** *e*") == "a <code>b&lt;c</code> <strong>d</strong> <em>e</em>"
    assert to_html(r"$\mathrm{PQ} = \mathrm{SQ} \times 2$") == "PQ = SQ \N{MULTIPLICATION SIGN} 2"
    assert to_plain("[its words](x.md) and `code`") == "its words and code"
