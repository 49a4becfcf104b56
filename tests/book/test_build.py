"""The builder of the book: what it refuses, what it leaves out, where links lead."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs" / "_book"))

import build  # noqa: E402


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """A builder that makes a site of one page, of a repository with one page that computes."""
    root = tmp_path / "repository"
    (root / "docs").mkdir(parents=True)
    (root / "web" / "network").mkdir(parents=True)
    (root / "docs" / "merging.html").write_text("merging")
    monkeypatch.setattr(build, "ROOT", root)
    monkeypatch.setattr(build, "lay_out", lambda source, pages: None)
    monkeypatch.setattr(build, "copy_mathjax", lambda site: None)
    monkeypatch.setattr(build, "finish", lambda source, site: None)
    monkeypatch.setattr(build, "run_sphinx", lambda source, site: page(site).write_text("new"))
    return root


def page(site: Path) -> Path:
    return site / "index.html"


def builder(root: Path, program: str) -> None:
    (root / "web" / "network" / "build.py").write_text(f"import sys\n{program}\n")


def test_a_site_is_replaced_and_nothing_else_is(quick, tmp_path, capsys):
    out = tmp_path / "site"
    assert build.main(["--out", str(out)]) == 0
    page(out).write_text("old")
    assert build.main(["--out", str(out)]) == 0
    assert page(out).read_text() == "new"
    assert "1 pages" not in capsys.readouterr().err
    with pytest.raises(SystemExit):
        build.main(["--out", str(page(out))])
    assert "found a file, expected a folder" in capsys.readouterr().err
    other = tmp_path / "thesis"
    other.mkdir()
    page(other).write_text("mine")
    with pytest.raises(SystemExit):
        build.main(["--out", str(other)])
    assert "expected a book or none" in capsys.readouterr().err
    assert page(other).read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["repository", "site", "thesis"]


def test_a_build_that_fails_leaves_the_old_site(quick, tmp_path, monkeypatch, capsys):
    out = tmp_path / "site"
    build.main(["--out", str(out)])
    capsys.readouterr()

    def fail(source, site):
        page(site).write_text("half")
        raise RuntimeError("a warning")

    monkeypatch.setattr(build, "run_sphinx", fail)
    assert build.main(["--out", str(out)]) == 1
    assert capsys.readouterr().err == "make book: a warning\n"
    assert page(out).read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["repository", "site"]


def test_a_page_whose_tools_are_missing_is_left_out_and_the_command_says_so(
    quick, capsys, tmp_path
):
    builder(quick, "print('network: left out, no node', file=sys.stderr); sys.exit(3)")
    assert build.build_pages(tmp_path / "pages") == ["merging"]
    assert capsys.readouterr().err == "network: left out, no node\n"
    assert [path.name for path in (tmp_path / "pages").iterdir()] == ["merging"]
    # The last line says it again, because much may stand between.
    assert build.main(["--out", str(tmp_path / "site"), "--without", "surfaces", "quality"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "make book: without network; the reason stands above"


PAGE_LINKS = [(page, name) for page, (_, places) in build.PAGES.items() for name in places]


@pytest.mark.parametrize(("page", "name"), PAGE_LINKS)
def test_a_chapter_with_a_page_in_the_book_opens_it_from_jupyterlab(page, name):
    notebook = json.loads((ROOT / name).read_text(encoding="utf-8"))
    code = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    assert sum(f'PageLink("{page}"' in source for source in code) == 1


def test_a_page_that_computes_leads_back_to_the_book(tmp_path):
    path = tmp_path / "quality" / "index.html"
    path.parent.mkdir()
    path.write_text("<body>\n<header>\n</header>")
    build.lead_back(path)
    text = path.read_text()
    assert '<a href="../../index.html">Panoptic FPN and the Lovász losses</a>' in text
    assert '<a href="../../notebooks/10_panoptic_quality.html">10 Panoptic quality</a>' in text
    path.write_text("<body>")
    with pytest.raises(ValueError, match="expected one <header>"):
        build.lead_back(path)


def test_a_page_is_built_by_its_own_builder(quick, tmp_path):
    builder(
        quick,
        "from pathlib import Path; f = Path(sys.argv[1]); f.mkdir(); (f / 'index.html').touch()",
    )
    assert build.build_pages(tmp_path / "pages") == ["network", "merging"]
    assert (tmp_path / "pages" / "network" / "index.html").is_file()
    assert build.build_pages(tmp_path / "other", ["merging"]) == ["merging"]


def test_a_builder_that_fails_fails_the_book(quick, tmp_path, capsys):
    builder(quick, "sys.exit('no space left')")
    assert build.main(["--out", str(tmp_path / "site")]) == 1
    assert "no space left" in capsys.readouterr().err
    assert not (tmp_path / "site").exists()


@pytest.fixture
def links(monkeypatch):
    def make(repository: str) -> build.Links:
        monkeypatch.setenv("PFPN_REPOSITORY", repository)
        return build.Links(dict(build._documents()), ["merging"])

    return make


@pytest.mark.parametrize(
    ("name", "target", "expected"),
    [
        ("docs/losses.md", "training.md#data", "[x](training.md#data)"),
        ("docs/paper-map.md", "../notebooks/06_lovasz.ipynb", "[x](../notebooks/06_lovasz.ipynb)"),
        ("index.md", "../../losses.md", "[x](docs/losses.md)"),
        ("docs/teaching.md", "../notebooks/solutions", "[x](../notebooks/solutions/index.md)"),
        ("docs/teaching.md", "merging.html", '<a href="../pages/merging/index.html">x</a>'),
        (
            "docs/teaching.md", "merging.html#steps=0",
            '<a href="../pages/merging/index.html#steps=0">x</a>',
        ),
        ("docs/teaching.md", "https://arxiv.org", "[x](https://arxiv.org)"),
        ("docs/teaching.md", "#plans", "[x](#plans)"),
        (
            "docs/paper-map.md", "../tests/test_paper_map.py",
            "[x](https://github.com/some/fork/blob/HEAD/tests/test_paper_map.py)",
        ),
    ],
)  # fmt: skip
def test_a_link_of_the_repository_in_the_book(links, name, target, expected):
    assert links("https://github.com/some/fork").map(name, False, "x", target) == expected


def test_without_an_address_what_the_book_lacks_is_not_linked(links, monkeypatch):
    found = links("")
    monkeypatch.setattr(found, "repository", "")
    assert found.map("docs/paper-map.md", False, "x", "../tests/test_paper_map.py") == "x"
    assert found.map("index.md", True, "x", "../../images/a.png") == "![x](docs/images/a.png)"


def test_the_paper_map_leads_to_names_and_headings():
    row = "| x | `pfpn.merge:merge` | `tests/a.py` | [09](../notebooks/09_merging.ipynb) A softer |"
    assert build.link_names(row) == (
        "| x | {py:obj}`pfpn.merge:merge <pfpn.merge.merge>` | `tests/a.py` "
        "| [09 A softer](../notebooks/09_merging.ipynb#a-softer-rule) |"
    )
    with pytest.raises(ValueError, match="no heading 'Nowhere'"):
        build.link_names("| x | [09](../notebooks/09_merging.ipynb) Nowhere |")


def test_what_screen_readers_misread_is_mended():
    lines = '<dt><dl>\n<dd><em class="sig-param">a</em></dd>\n</dl>\n</dt><dl><dd>b</dd></dl>'
    assert build.mend(lines) == (
        '<dt><div class="sig-lines">\n<div><em class="sig-param">a</em></div>\n</div>\n</dt>'
        "<dl><dd>b</dd></dl>"
    )
    assert build.mend('<p role="heading">') == '<p role="heading" aria-level="2">'
