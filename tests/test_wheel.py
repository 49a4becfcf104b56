"""The wheel holds all that an installed pfpn needs, and works without a clone."""

import email
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from pfpn.lab import contents
from pfpn.shipped import TOY_WEIGHTS, shipped

ROOT = Path(__file__).resolve().parents[1]
MEGABYTE = 1_000_000
READ_BY_CHAPTERS = "tests/data_files/pq/normal/"
ADDRESS = "https://github.com/some/fork"
BOOK = "https://some.github.io/fork/"


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """An unpacked wheel, as pip would lay it out."""
    pytest.importorskip("setuptools", minversion="77", reason="no setuptools that can build")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    names = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "-co", "--exclude-standard"],
        capture_output=True,
        check=True,
    )
    for name in names.stdout.decode().split("\0"):
        is_test = name.startswith("tests/") and not name.startswith(READ_BY_CHAPTERS)
        if name and (ROOT / name).is_file() and not is_test:
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q",
               "--disable-pip-version-check", "-w", str(folder), str(source)]  # fmt: skip
    built = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"PFPN_REPOSITORY": ADDRESS},
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("pfpn-*.whl")
    assert wheel.stat().st_size < 20 * MEGABYTE
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def run(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # -S and the paths: what is installed beside pfpn is used, the clone is not.
    program = f"import sys; sys.path.insert(0, {str(installed)!r}); " + arguments[0]
    return subprocess.run(
        [sys.executable, "-P", "-c", program, *arguments[1:]],
        cwd=folder, capture_output=True, text=True, timeout=600,
    )  # fmt: skip


@pytest.mark.slow
def test_the_wheel_holds_weights_notebooks_and_pages(installed):
    package = installed / "pfpn"
    assert (package / "py.typed").is_file()
    assert (package / "pages" / "browse.html").is_file()
    for name in ("surfaces", "merging", "quality"):
        page = Path("docs") / f"{name}.html"
        assert (package / "_shipped" / page).read_bytes() == (ROOT / page).read_bytes()
    assert (package / "_shipped" / TOY_WEIGHTS).read_bytes() == (ROOT / TOY_WEIGHTS).read_bytes()
    notebooks = sorted(p.name for p in (package / "_shipped" / "notebooks").glob("*.ipynb"))
    assert notebooks == sorted(p.name for p in (ROOT / "notebooks").glob("*.ipynb"))
    assert not list(installed.glob("tests*"))


@pytest.mark.slow
def test_its_description_has_absolute_links_to_the_repository_it_was_built_from(installed):
    (path,) = installed.glob("pfpn-*.dist-info/METADATA")
    content = email.message_from_string(path.read_text(encoding="utf-8"))
    urls = dict(entry.split(", ") for entry in content.get_all("Project-URL"))
    assert urls["Repository"] == ADDRESS
    assert {"Documentation", "Course", "Changelog", "Issues"} <= urls.keys()
    assert urls["Documentation"] == BOOK
    assert "pfpn authors" in str(content["Author"])
    assert content["Description-Content-Type"] == "text/markdown"
    text = content.get_payload()
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    places = re.findall(r"\]\(([^()\s]+)\)", text)
    assert len(places) == len(re.findall(r"\]\(([^()\s]+)\)", readme)) > 20
    assert [place for place in places if not place.startswith(("https://", "#"))] == []
    assert BOOK in places
    for place in places:
        if place.startswith(ADDRESS):
            kind, _, name = place.removeprefix(f"{ADDRESS}/").split("/", 2)
            assert (ROOT / name.partition("#")[0]).exists(), place
            assert kind == ("raw" if name.endswith(".png") else "blob")


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [["--version"], ["presets"], ["settings", "photos"], ["import", "--help"]]
)
def test_its_commands_answer_in_an_empty_folder(installed, tmp_path, words):
    program = "from pfpn.cli import main; sys.exit(main(sys.argv[1:]))"
    result = run(installed, tmp_path, program, *words)
    assert result.returncode == 0, result.stderr
    assert result.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_command_predicts_a_photograph_with_the_weights_that_came_along(installed, tmp_path):
    Image.new("RGB", (96, 64), (120, 130, 140)).save(tmp_path / "photo.png")
    program = "from pfpn.cli import main; sys.exit(main(sys.argv[1:]))"
    result = run(installed, tmp_path, program, "predict", "toy", "photo.png", "--out", "found")
    assert result.returncode == 0, result.stderr
    assert list((tmp_path / "found").glob("photo*.png"))


@pytest.mark.slow
def test_it_predicts_in_an_empty_folder(installed, tmp_path):
    program = (
        "import pfpn, pathlib; from pfpn.shipped import shipped, TOY_WEIGHTS;"
        "from pfpn.engine.checkpoint import load_weights; from pfpn.predict import predict;"
        "from pfpn.data.toy import ToyStreet; t = load_weights(shipped(TOY_WEIGHTS));"
        "p = predict(t.model, [ToyStreet(num=1, seed=7)[0].image], t.predict)[0];"
        "print(pathlib.Path(pfpn.__file__).parent, len(p.panoptic.segments))"
    )
    result = run(installed, tmp_path, program)
    assert result.returncode == 0, result.stderr
    place, segments = result.stdout.split()
    assert Path(place) == installed / "pfpn"
    assert int(segments) > 5


@pytest.mark.slow
def test_it_lays_out_the_course_in_an_empty_folder(installed, tmp_path):
    program = "from pfpn.cli import main; sys.exit(main(sys.argv[1:]))"
    result = run(installed, tmp_path, program, "lab", "mine", "--no-open")
    assert result.returncode == 0, result.stderr
    theirs = {p.relative_to(tmp_path / "mine").as_posix() for p in (tmp_path / "mine").rglob("*")}
    ours = {name for name, _ in contents()}
    assert ours <= theirs
    assert {name for name in theirs - ours if (tmp_path / "mine" / name).is_file()} <= {
        ".pfpn/files.jsonl", ".pfpn/folder.lock",
    }  # fmt: skip


@pytest.mark.slow
def test_it_makes_a_kit_in_an_empty_folder(installed, tmp_path):
    """And its slides have reveal.js where npm could be asked for it."""
    program = "from pfpn.cli import main; sys.exit(main(sys.argv[1:]))"
    result = run(installed, tmp_path, program, "kit", "kit", "--chapters", "11")
    assert result.returncode == 0, result.stderr
    assert {p.name for p in (tmp_path / "kit").iterdir()} >= {
        "LICENSE", "CITATION.cff", "student.zip", "instructor.zip", "slides", "quiz", "pages",
    }  # fmt: skip
    reveal = installed / "pfpn" / "kit" / "reveal"
    has_reveal = (reveal / "dist" / "reveal.js").is_file()
    deck = (tmp_path / "kit" / "slides" / "11.html").read_text(encoding="utf-8")
    assert ("Reveal.initialize" in deck) == has_reveal
    assert ("plain keys" in result.stdout) != has_reveal
    if has_reveal:
        assert (reveal / "LICENSE").is_file()


@pytest.mark.slow
def test_a_chapter_opened_alone_finds_the_weights(installed, tmp_path):
    """As on Colab, where the package is installed and nothing lies beside the notebook."""
    chapter = json.loads((ROOT / "notebooks/02_semantic_head.ipynb").read_text(encoding="utf-8"))
    sources = ["".join(c["source"]) for c in chapter["cells"] if c["cell_type"] == "code"]
    last = next(i for i, source in enumerate(sources) if "toy.safetensors" in source)
    program = "exec(open(sys.argv[1], encoding='utf-8').read()); print('loaded', bool(trained))"
    (tmp_path / "cells.py").write_text("\n".join(sources[: last + 1]), encoding="utf-8")
    result = run(installed, tmp_path, program, "cells.py")
    assert result.returncode == 0, result.stderr
    assert "loaded True" in result.stdout


def test_in_a_clone_the_repositorys_own_files_are_used():
    assert shipped(TOY_WEIGHTS) == ROOT / TOY_WEIGHTS
    with pytest.raises(ValueError, match="expected it to come with pfpn"):
        shipped("data/no_such_file")
