"""The builder makes docs/surfaces.html, and refuses what it does not understand."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STORED = ROOT / "docs" / "surfaces.html"
PAGES = ("surfaces", "merging", "quality")

specification = importlib.util.spec_from_file_location("build", ROOT / "web" / "build.py")
build = importlib.util.module_from_spec(specification)
specification.loader.exec_module(build)


def write(folder: Path, **files: str) -> Path:
    """Write modules a.js, b.js ... and return the first."""
    for name, text in files.items():
        (folder / f"{name}.js").write_text(text, encoding="utf-8")
    return folder / f"{next(iter(files))}.js"


@pytest.mark.parametrize("name", PAGES)
def test_the_stored_page_is_what_the_builder_makes(name):
    stored = (ROOT / "docs" / f"{name}.html").read_text(encoding="utf-8")
    assert build.build_page(name) == stored, "python web/build.py"


@pytest.mark.parametrize("name", PAGES)
def test_every_module_and_style_of_a_page_is_in_it(name):
    page = (ROOT / "docs" / f"{name}.html").read_text(encoding="utf-8")
    for path in ROOT.glob(f"web/{name}/*.js"):
        assert f"// {path.relative_to(ROOT / 'web').as_posix()}\n" in page, path
    for path in (ROOT / "web" / name / "style.css", ROOT / "web" / "lib" / "page.css"):
        assert path.read_text(encoding="utf-8").strip() in page, path


def test_a_stale_page_is_reported_and_made_anew(tmp_path, monkeypatch, capsys):
    path = tmp_path / "surfaces.html"
    monkeypatch.setattr(build, "PAGES", {"surfaces": path})
    assert build.main(["--check"]) == 1
    assert "not what web/ makes" in capsys.readouterr().err
    assert not path.exists()
    assert build.main([]) == 0
    assert build.main(["--check"]) == 0
    assert path.read_bytes() == STORED.read_bytes()
    assert [file.name for file in tmp_path.iterdir()] == ["surfaces.html"]


def test_it_runs_as_a_program_without_the_package(tmp_path):
    command = [sys.executable, "-I", str(ROOT / "web" / "build.py"), "--check"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert result.returncode == 0, result.stderr


def test_a_bundle_runs_and_keeps_the_names_of_each_module_apart(tmp_path, node):
    main = write(
        tmp_path,
        main='import {\n  twice as double,\n} from "./b.js";\nimport * as b from "./b.js";\n'
        "const own = 1;\nconsole.log(own + double(b.three));\n",
        b='import { own as five } from "./c.js";\nconst own = 2;\nexport const three = 3;\n'
        "export function twice(x) {\n  return own * x + five;\n}\n",
        c="export const own = 5;\n",
    )
    script = tmp_path / "out.mjs"
    script.write_text(build.bundle(main, tmp_path), encoding="utf-8")
    result = subprocess.run([node, script], capture_output=True, text=True, timeout=60)
    assert result.stdout == "12\n", result.stderr


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a": 'import { b } from "./b.js";\n'}, "imports ./b.js, which is no file under"),
        ({"a": 'import { b } from "../b.js";\n'}, "imports ../b.js, which is no file under"),
        (
            {"a": 'import { b } from "./b.js";\n', "b": "export const c = 1;\n"},
            "imports b, which ./b.js lacks",
        ),
        (
            {
                "a": 'import { b } from "./b.js";\nexport const a = 1;\n',
                "b": 'import { a } from "./a.js";\nexport const b = 1;\n',
            },
            "found a circle of imports",
        ),
        ({"a": 'import b from "./b.js";\n'}, "expected only the forms of import and export"),
        ({"a": "export default 1;\n"}, "expected only the forms of import and export"),
        ({"a": 'const end = "</script>";\n'}, "found '</script'"),
    ],
)
def test_what_the_builder_does_not_understand_is_refused(tmp_path, files, message):
    with pytest.raises(ValueError, match=message):
        build.bundle(write(tmp_path, **files), tmp_path)


def test_a_page_without_its_tags_and_a_style_that_loads_more_are_refused(tmp_path):
    folder = tmp_path / "page"
    folder.mkdir()
    write(folder, main="const a = 1;\n")
    (folder / "index.html").write_text("<html></html>", encoding="utf-8")
    (folder / "style.css").write_text("p { margin: 0 }\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"found 0 style sheets and 0 scripts, expected lines"):
        build.build_page("page", tmp_path)
    page = f'<link rel="stylesheet" href="style.css">\n</head>{build.SCRIPT}'
    (folder / "index.html").write_text(page, encoding="utf-8")
    (folder / "style.css").write_text("p { background: url(x.png) }\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"found @import, url\( or </, expected rules alone"):
        build.build_page("page", tmp_path)
