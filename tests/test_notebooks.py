"""What every notebook of the course keeps to, read off the files. nbval runs and compares them."""

import ast
import importlib
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pfpn.course import all_exercises

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
CHAPTERS = (
    "00_panoptic_segmentation", "01_feature_pyramid", "02_semantic_head", "03_proposals",
    "04_boxes_and_masks", "05_two_tasks", "06_lovasz", "07_loss_surfaces",
    "08_lovasz_in_practice", "09_merging", "10_panoptic_quality", "11_for_real",
)  # fmt: skip
STORED = [*CHAPTERS, *(f"solutions/{name}" for name in CHAPTERS)]

# What a cell may be tagged with. `source=module:name` promises the package's own code.
# `answer`, `result`: a student's copy folds it, because it holds what an exercise asks for, or
# states the result of a prediction; `lead`: it follows a result and does not state it (pfpn.fold).
TAGS = re.compile(
    r"setup|exercise|answer|result|lead|raises-exception|nbval-ignore-output|source=[a-z_.0-9]+:[\w.]+"
)
MAX_IGNORED = 0.1  # of all code cells may go uncompared
MAX_BYTES = 1_000_000
MAX_LINES, MAX_SOURCE_LINES = 25, 60  # of a code cell; of one that shows the package's own code
PATHS = re.compile(r"(?<![\w.:/])/(home|root|tmp|usr|var|work|mnt|Users|opt|content)/|\b[A-Z]:\\")

Cell = dict[str, Any]


@cache
def load(name: str) -> dict[str, Any]:
    path = FOLDER / f"{name}.ipynb"
    assert path.is_file(), f"notebooks/{name}.ipynb is missing"
    return json.loads(path.read_text(encoding="utf-8"))


def code(name: str) -> list[Cell]:
    return [cell for cell in load(name)["cells"] if cell["cell_type"] == "code"]


def source(cell: Cell) -> str:
    return "".join(cell["source"])


def text(name: str) -> str:
    return "\n\n".join(source(c) for c in load(name)["cells"] if c["cell_type"] == "markdown")


def tags(cell: Cell) -> list[str]:
    return cell["metadata"].get("tags", [])


def calls(name: str) -> Iterator[ast.Call]:
    for cell in code(name):
        yield from (n for n in ast.walk(ast.parse(source(cell))) if isinstance(n, ast.Call))


def called(name: str, function: str) -> list[ast.Call]:
    return [call for call in calls(name) if ast.unparse(call.func) == function]


def chapter_number(name: str) -> str:
    return Path(name).name[:2]


def exercises(name: str) -> list[str]:
    return [e for e in all_exercises() if e.startswith(f"{chapter_number(name)}.")]


def test_the_folder_holds_the_course_and_nothing_else():
    found = {str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.rglob("*.ipynb")}
    found = {name for name in found if not re.search(r"(^|/)\.", name)}
    assert found == set(STORED)


@pytest.mark.parametrize("name", STORED)
def test_it_was_run_once_from_top_to_bottom(name):
    counts = [cell["execution_count"] for cell in code(name)]
    assert counts == list(range(1, len(counts) + 1))


@pytest.mark.parametrize("name", STORED)
def test_it_stores_no_error_and_no_warning(name):
    for cell in code(name):
        for output in cell["outputs"]:
            if "raises-exception" not in tags(cell):
                assert output["output_type"] != "error", source(cell)
            assert output.get("name") != "stderr", source(cell)


@pytest.mark.parametrize("name", STORED)
def test_it_was_stored_static(name):
    kinds = {kind for c in code(name) for o in c["outputs"] for kind in o.get("data", {})}
    assert kinds <= {"text/plain", "text/markdown", "text/html", "image/png"}
    assert not load(name)["metadata"].get("widgets")


@pytest.mark.parametrize("name", STORED)
def test_it_names_no_place_of_one_machine(name):
    for cell in load(name)["cells"]:
        words = [source(cell)]
        for output in cell.get("outputs", []):
            words += ["".join(output.get("text", "")), "".join(output.get("traceback", ""))]
            words += ["".join(v) for k, v in output.get("data", {}).items() if k[:4] == "text"]
        for word in words:
            assert not PATHS.search(word), PATHS.search(word)


@pytest.mark.parametrize("name", STORED)
def test_every_picture_has_words(name):
    for cell in code(name):
        for output in cell["outputs"]:
            if "image/png" in output.get("data", {}):
                alt = output["metadata"].get("image/png", {}).get("alt", "")
                assert len(alt) >= 40, source(cell)
    for alt, _ in re.findall(r"!\[([^\]]*)\]\(([^)]*)\)", text(name)):
        assert len(alt) >= 40
    assert "<img" not in text(name)


@pytest.mark.parametrize("name", STORED)
def test_it_is_light(name):
    assert (FOLDER / f"{name}.ipynb").stat().st_size < MAX_BYTES


@pytest.mark.parametrize("name", STORED)
def test_its_links_lead_somewhere(name):
    here = (FOLDER / f"{name}.ipynb").parent
    for target in re.findall(r"\]\(([^)\s]+)\)", text(name)):
        if not re.match(r"https?:|mailto:|#", target):
            assert (here / target.partition("#")[0]).exists(), target


@pytest.mark.parametrize("name", STORED)
def test_it_imports_public_names_that_exist(name):
    for cell in code(name):
        for node in ast.walk(ast.parse(source(cell))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pfpn"):
                module = importlib.import_module(node.module)
                for alias in node.names:
                    assert not alias.name.startswith("_"), alias.name
                    assert has(module, alias.name), f"{node.module} has no {alias.name}"
            if isinstance(node, ast.Attribute) and ast.unparse(node.value).startswith("pfpn."):
                assert not node.attr.startswith("_")


def has(module: ModuleType, name: str) -> bool:
    """Whether `from module import name` works: a name in it, or a module below it."""
    return hasattr(module, name) or find_spec(f"{module.__name__}.{name}") is not None


@pytest.mark.parametrize("name", STORED)
def test_its_cells_are_short_and_end_without_a_semicolon(name):
    for cell in code(name):
        shows_source = any(tag.startswith("source=") for tag in tags(cell))
        lines = source(cell).splitlines()
        assert len(lines) <= (MAX_SOURCE_LINES if shows_source else MAX_LINES), source(cell)
        assert not source(cell).rstrip().endswith(";"), source(cell)


@pytest.mark.parametrize("name", STORED)
def test_its_tags_are_known(name):
    for cell in load(name)["cells"]:
        for tag in tags(cell):
            assert TAGS.fullmatch(tag), f"{tag!r} in {source(cell)[:80]!r}"
        assert "NBVAL" not in source(cell)


def test_nearly_every_cell_is_compared():
    cells = [cell for name in STORED for cell in code(name)]
    ignored = [cell for cell in cells if "nbval-ignore-output" in tags(cell)]
    assert len(ignored) <= MAX_IGNORED * len(cells)


@pytest.mark.parametrize("name", STORED)
def test_code_that_is_shown_is_the_code_of_the_package(name):
    for cell in code(name):
        for tag in tags(cell):
            if tag.startswith("source="):
                module, _, wanted = tag.removeprefix("source=").partition(":")
                original = attrgetter(wanted)(importlib.import_module(module))
                wanted = wanted.rpartition(".")[2]  # a method is shown as a function
                original = inspect.unwrap(original)
                theirs = ast.parse(textwrap.dedent(inspect.getsource(original))).body[0]
                ours = {
                    node.name: node
                    for node in ast.parse(source(cell)).body
                    if isinstance(node, ast.FunctionDef | ast.ClassDef)
                }
                assert wanted in ours, f"{tag}: the cell defines {sorted(ours)}"
                assert bare(ours[wanted]) == bare(theirs), f"{tag}: the package has changed"


def bare(node: ast.AST) -> str:
    """The code without docstrings, written one way."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(inner):
            inner.body = inner.body[1:] or [ast.Pass()]
    return ast.unparse(node)


def test_the_comparison_of_code_sees_a_changed_line():
    one, two, three = (
        ast.parse(f"def f(x):\n    {body}").body[0]
        for body in ("'''Doc.'''\n    return x", "return x", "return -x")
    )
    assert bare(one) == bare(two) != bare(three)


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_opens_with_what_a_reader_wants_to_know(name):
    first = load(name)["cells"][0]
    assert first["cell_type"] == "markdown"
    assert re.match(rf"# {name[:2]} \S", source(first))
    for part in ("**Question.**", "**You will be able to**", "**Time.**", "**Builds on**"):
        assert part in source(first), part
    assert "?" in source(first)


def test_every_chapter_begins_with_the_cell_that_installs_what_is_missing():
    first = [code(name)[0] for name in CHAPTERS]
    assert all(tags(cell) == ["setup"] for cell in first)
    assert len({source(cell) for cell in first}) == 1


def setup_cell(address: str) -> str:
    """The first cell with an address; `addresses.py --write` may have written another one."""
    new, number = re.subn(
        'address = "[^"]*"', f'address = "{address}"', source(code(CHAPTERS[0])[0])
    )
    assert number == 1
    return new


def test_without_the_package_and_an_address_the_first_cell_says_what_to_do(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="write its repository's address into this cell"):
        exec(setup_cell(""), {})


def test_without_the_package_the_first_cell_installs_it_from_its_address(monkeypatch):
    cell = setup_cell("https://host/pfpn")
    ran = []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("subprocess.run", lambda command, check: ran.append(command))
    monkeypatch.setattr("pfpn.course.start", lambda: ran.append("start"))
    exec(cell, {})
    assert ran == [[sys.executable, "-m", "pip", "install", "-q", "git+https://host/pfpn"], "start"]


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_takes_no_longer_than_it_says(name):
    stated = re.search(r"\*\*Time\.\*\*.*?(\d+) (s|seconds|minutes?) to run", text(name), re.S)
    assert stated, "expected '**Time.** about N minutes to read and do; S s to run ...'"
    seconds = int(stated[1]) * (60 if stated[2].startswith("minute") else 1)
    assert load(name)["metadata"]["pfpn"]["run_seconds"] <= 2 * seconds


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_closes_with_what_was_found_and_the_way_on(name):
    words = text(name)
    for heading in ("What we checked", "Summary", "Further reading"):
        assert re.search(rf"^## {heading}", words, re.M), heading
    summary = re.search(r"^## Summary\s*\n(.*?)(?=^## |\Z)", words, re.M | re.S)
    assert len(re.findall(r"^[-*] ", summary[1], re.M)) == 5
    following = CHAPTERS[(CHAPTERS.index(name) + 1) % len(CHAPTERS)]
    if name != CHAPTERS[-1]:
        assert re.search(rf"\*\*Next:\*\* .*\({following}\.ipynb\)", words), following


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_has_predictions_an_explorer_and_pictures(name):
    assert len(called(name, "ask")) >= 3
    reveals = [call for call in calls(name) if ast.unparse(call.func).endswith(".reveal")]
    assert len(reveals) >= 3
    assert len(called(name, "tally")) == 1
    explorers = [c for c in calls(name) if ast.unparse(c.func).split(".")[-1][:7] == "explore"]
    assert explorers
    pictures = [o for c in code(name) for o in c["outputs"] if "image/png" in o.get("data", {})]
    assert len(pictures) >= 3
    assert 25 <= len(load(name)["cells"]) <= 100


@pytest.mark.parametrize("name", CHAPTERS)
def test_an_explorer_takes_the_function_of_an_exercise_that_comes_before_it(name):
    written, taken = set(), set()
    for cell in code(name):
        tree = ast.parse(source(cell))
        if "exercise" in cell["metadata"].get("tags", ()):
            written |= {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        keywords = [
            k for node in ast.walk(tree) if isinstance(node, ast.Call) for k in node.keywords
        ]
        own = {ast.unparse(k.value) for k in keywords if k.arg == "yours"}
        assert own <= written, f"{cell['id']}: {sorted(own - written)} is no exercise before it"
        taken |= own
    assert taken


@pytest.mark.parametrize("name", CHAPTERS)
def test_each_question_stands_in_a_cell_of_its_own(name):
    """So that a reader answers before anything else of the cell has run."""
    for cell in code(name):
        tree = ast.parse(source(cell))
        asks = any(isinstance(n, ast.Call) and ast.unparse(n.func) == "ask" for n in ast.walk(tree))
        assert not asks or len(tree.body) == 1, source(cell)


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_poses_its_exercises_and_answers_none(name):
    assert len(exercises(name)) >= 3
    posed = {ast.literal_eval(call.args[0]) for call in called(name, "check")}
    assert posed == set(exercises(name))
    tagged = [cell for cell in code(name) if "exercise" in tags(cell)]
    assert len(tagged) >= len(posed)
    for cell in code(name):
        printed = "".join("".join(output.get("text", "")) for output in cell["outputs"])
        assert not re.search(r"cases( and [\w ]+ ones)? are right", printed)
        if "check(" in source(cell):
            assert "not answered yet" in printed


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_solutions_answer_every_exercise(name):
    solution = f"solutions/{name}"
    proven = {
        ast.literal_eval(node.test.args[0])
        for cell in code(solution)
        for node in ast.walk(ast.parse(source(cell)))
        if isinstance(node, ast.Assert)
        and isinstance(node.test, ast.Call)
        and ast.unparse(node.test.func) == "check"
    }
    assert proven == set(exercises(name))
    assert f"(../{name}.ipynb)" in text(solution)
    assert f"solutions/{name}.ipynb" in text(name)
