"""The student's copy: whole, without answers, and never over what the student did."""

import json
import re
import subprocess
import sys
from email.message import Message
from pathlib import Path

import pytest

from pfpn import lab
from pfpn.cli import main
from pfpn.lab import FIRST, Laid, contents, lay_out

THIRD = "notebooks/03_proposals.ipynb"


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("of a student") / "lab"
    laid = lay_out(folder)
    assert not laid.same
    assert not laid.beside
    return folder


@pytest.fixture
def release(monkeypatch):
    """A course of three files, which the test may change like a later release."""
    files = {FIRST: b"zero", THIRD: b"three", "docs/a.md": b"page"}
    monkeypatch.setattr(lab, "contents", lambda: iter(files.items()))
    return files


def test_it_holds_the_chapters_without_outputs_and_no_helper_file(copy):
    chapters = sorted((copy / "notebooks").glob("*.ipynb"))
    assert len(chapters) == 12
    for path in [*chapters, *(copy / "notebooks/solutions").glob("*.ipynb")]:
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            assert not cell.get("outputs")
    names = {path.name for path in (copy / "notebooks").iterdir()}
    assert names == {"solutions", *(path.name for path in chapters)}


def test_its_first_cells_know_the_repository_of_a_fork(monkeypatch):
    message = Message()
    message["Project-URL"] = "Documentation, https://host/fork/docs"
    message["Project-URL"] = "Repository, https://host/fork"
    monkeypatch.setattr("pfpn.lab.metadata", lambda name: message)
    chapters = [c for name, c in contents() if re.fullmatch(r"notebooks/\d\d_.*", name)]
    assert len(chapters) == 12
    for content in chapters:
        setup = json.loads(content)["cells"][1]
        assert "    address = 'https://host/fork'  # of the repository" in "".join(setup["source"])


def test_it_holds_what_the_chapters_read(copy):
    for name in re.findall(r'"\.\./([\w./]+)"', "".join(
        path.read_text(encoding="utf-8").replace('\\"', '"')
        for path in (copy / "notebooks").glob("*.ipynb")
    )):  # fmt: skip
        if name not in ("data/coco", "data/coco/val2017", "data/my_photo.jpg"):  # the student's own
            assert (copy / name).exists(), name
    assert not (copy / "docs/teaching.md").exists()


def test_all_its_links_lead_somewhere(copy):
    count = 0
    for path in [*copy.rglob("*.md"), *copy.rglob("*.ipynb")]:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":
            cells = json.loads(text)["cells"]
            text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if not re.match(r"[a-z]+:|#", target):
                count += 1
                assert (path.parent / target.partition("#")[0]).exists(), (path, target)
    assert count > 50


def test_a_link_to_what_the_copy_lacks_becomes_its_words(copy):
    page = dict(contents())["docs/paper-map.md"].decode()
    assert "](../tests/" not in page
    assert "](../notebooks/06_lovasz.ipynb)" in page


def test_a_second_time_nothing_is_written(copy):
    laid = lay_out(copy)
    assert not laid.new
    assert not laid.replaced
    assert not laid.beside


def test_a_newer_release_replaces_only_what_was_not_changed(release, tmp_path):
    lay_out(tmp_path / "lab")
    (tmp_path / "lab" / THIRD).write_bytes(b"three, and my answer")
    release |= {FIRST: b"zero again", THIRD: b"three again", "docs/b.md": b"another"}
    assert lay_out(tmp_path / "lab") == Laid(
        new=["docs/b.md"],
        replaced=[FIRST],
        beside={THIRD: "notebooks/03_proposals.new.ipynb"},
        same=["docs/a.md"],
    )
    assert (tmp_path / "lab" / THIRD).read_bytes() == b"three, and my answer"
    assert (tmp_path / "lab/notebooks/03_proposals.new.ipynb").read_bytes() == b"three again"
    assert (tmp_path / "lab" / FIRST).read_bytes() == b"zero again"


def test_what_was_laid_beside_is_not_laid_again_even_if_it_was_removed(release, tmp_path):
    lay_out(tmp_path)
    (tmp_path / THIRD).write_bytes(b"mine")
    release[THIRD] = b"three again"
    assert lay_out(tmp_path).beside
    assert not lay_out(tmp_path).beside
    (tmp_path / "notebooks/03_proposals.new.ipynb").unlink()
    assert not lay_out(tmp_path).beside


def test_work_in_the_file_beside_is_kept_too(release, tmp_path):
    lay_out(tmp_path)
    (tmp_path / THIRD).write_bytes(b"mine")
    release[THIRD] = b"second"
    lay_out(tmp_path)
    release[THIRD] = b"third"
    lay_out(tmp_path)  # nobody touched the file beside: it becomes the newest
    beside = tmp_path / "notebooks/03_proposals.new.ipynb"
    assert beside.read_bytes() == b"third"
    beside.write_bytes(b"mine, in the newer one")
    release[THIRD] = b"fourth"
    assert lay_out(tmp_path).beside == {THIRD: "notebooks/03_proposals.new2.ipynb"}
    assert beside.read_bytes() == b"mine, in the newer one"


def test_a_student_who_removes_a_chapter_gets_it_anew(release, tmp_path):
    lay_out(tmp_path)
    (tmp_path / THIRD).unlink()
    assert lay_out(tmp_path).new == [THIRD]


def test_a_changed_file_without_a_newer_release_is_left_alone(release, tmp_path):
    lay_out(tmp_path)
    (tmp_path / THIRD).write_bytes(b"mine")
    assert lay_out(tmp_path).same == [FIRST, THIRD, "docs/a.md"]
    assert (tmp_path / THIRD).read_bytes() == b"mine"


def test_a_folder_with_other_things_is_refused(release, tmp_path, capsys):
    (tmp_path / "letter.txt").write_text("mine")
    assert main(["lab", str(tmp_path), "--no-open"]) == 2
    assert "found a folder with other files in it" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_the_command_says_what_is_new(release, tmp_path, capsys):
    def say():
        assert main(["lab", str(tmp_path), "--no-open"]) == 0
        return capsys.readouterr().out

    assert "your copy of the course, 3 files" in say()
    assert "up to date" in say()
    (tmp_path / THIRD).write_bytes(b"mine")
    release |= {FIRST: b"zero again", THIRD: b"three again", "docs/b.md": b"another"}
    assert [line.split()[:3] for line in say().splitlines()] == [
        ["new", "docs/b.md"],
        ["newer", FIRST, "(you"],
        ["newer,", "beside", "notebooks/03_proposals.new.ipynb"],
    ]


def test_it_opens_the_first_chapter_in_the_copy(release, tmp_path, monkeypatch):
    class Replaced(BaseException):
        """In place of the process that becomes JupyterLab."""

    def execv(program, command):
        raise Replaced(command)

    monkeypatch.setattr("os.execv", execv)
    with pytest.raises(Replaced) as ran:
        main(["lab", str(tmp_path), "--jupyter=--no-browser --port=9000"])
    program, *rest = ran.value.args[0]
    assert program == sys.executable
    assert rest[:3] == ["-m", "jupyterlab", f"--ServerApp.root_dir={tmp_path}"]
    assert rest[-3:] == ["--no-browser", "--port=9000", str(tmp_path / FIRST)]


def test_without_jupyterlab_the_command_says_how_to_get_it(release, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["lab", str(tmp_path / "lab")]) == 2
    assert "pip install 'pfpn[notebooks]'" in capsys.readouterr().err
    assert not (tmp_path / "lab").exists()


def test_make_lab_and_git_agree_on_the_folder():
    root = Path(__file__).resolve().parents[1]
    assert "/lab/" in (root / ".gitignore").read_text().splitlines()
    rule = subprocess.run(
        ["make", "-n", "-o", ".venv/.ready", "lab"], cwd=root, capture_output=True, text=True
    )
    assert "-m pfpn lab lab" in rule.stdout
