"""The book, built once for all tests that look at it."""

import importlib.util
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def site(tmp_path_factory, request) -> Path:
    """The folder of the built site. The processes of pytest-xdist share one."""
    needed = ("sphinx", "myst_nb", "furo", "sphinx-mathjax-offline")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"the extra `book` is not installed ({', '.join(missing)})")
    folder = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):
        folder = folder.parent
    out = folder / "book" / "site"
    with FileLock(folder / "book.lock"):
        if not out.is_dir():
            # The network's page is built and tested in tests/web, with node and the export.
            command = [sys.executable, str(ROOT / "docs/_book/build.py"), "--out", str(out)]
            command += ["--without", "network"]
            done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
            assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    return out


class Page(HTMLParser):
    """What a page of the site loads, links to, and can be linked at."""

    def __init__(self, path: Path):
        super().__init__()
        self.path = path
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.pictures: list[dict[str, str | None]] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.ids.update(found[name] for name in ("id", "name") if found.get(name))
        if tag == "a" and "href" in found:
            self.links.append(found["href"] or "")
        elif tag == "link" and found.get("rel") not in ("next", "prev", "search", "index"):
            self.loads.append(found["href"] or "")
        elif "src" in found:
            self.loads.append(found["src"] or "")
        if tag == "img":
            self.pictures.append(found)


@pytest.fixture(scope="session")
def pages(site) -> dict[str, Page]:
    """Each page of the book itself, by its name in the site."""
    found = sorted(site.rglob("*.html"))
    names = {path.relative_to(site).as_posix(): path for path in found}
    return {name: Page(path) for name, path in names.items() if not name.startswith("pages/")}
