"""Build the book: the stored chapters, the pages of docs/, and the API reference, as a static site.

    python docs/_book/build.py [--out site]

What the site is made of is laid out in a temporary folder under the paths of the repository, so
that relative links hold; links to other files of the repository lead to its address, if it has one.
No page of the site loads anything from elsewhere. A folder is replaced only if this command wrote
it.
"""

import argparse
import importlib.util
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from functools import partial
from html import escape
from pathlib import Path, PurePosixPath
from urllib.parse import quote

BOOK = Path(__file__).resolve().parent
ROOT = BOOK.parents[1]
sys.path[:0] = [str(ROOT), str(BOOK)]

import chapters  # noqa: E402
import excerpts  # noqa: E402
import reference  # noqa: E402

ADDRESSES = runpy.run_path(str(ROOT / "notebooks" / "addresses.py"))
MARK = ".pfpn-book"  # a file that says that this command wrote the folder
PICTURES = "_static/pictures"

# Pages that compute, with their title, and the headings of chapters where each is opened.
PAGES = {
    "network": (
        "The network",
        {
            "notebooks/00_panoptic_segmentation.ipynb": "The parts of the network",
            "notebooks/01_feature_pyramid.ipynb": "6. What the top-down path brings",
            "notebooks/03_proposals.ipynb": "9. Proposals",
            "notebooks/04_boxes_and_masks.ipynb": "9. One picture, every stage",
        },
    ),
    "surfaces": (
        "Loss surfaces",
        {"notebooks/07_loss_surfaces.ipynb": "3. Figure 2: Lovász-Softmax"},
    ),
    "merging": (
        "Merging",
        {"notebooks/09_merging.ipynb": "How much does each threshold change?"},
    ),
    "quality": ("Panoptic quality", {"notebooks/10_panoptic_quality.ipynb": "PQ = SQ x RQ"}),
}


def main(arguments: list[str] | None = None) -> int:
    """Build the site; 0 if it is there as a whole."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "site", help="folder of the site (site)")
    parser.add_argument(
        "--without", nargs="+", choices=PAGES, default=[], help="pages that compute to leave out"
    )
    options = parser.parse_args(arguments)
    out: Path = options.out.resolve()
    if out.exists() and not out.is_dir():
        parser.error(f"{out}: found a file, expected a folder, or none")
    if out.is_dir() and any(out.iterdir()) and not (out / MARK).is_file():
        parser.error(f"{out}: found a folder with other files, expected a book or none")
    begin = time.monotonic()
    names = [name for name in PAGES if name not in options.without]
    try:
        build(out, names)
    except (RuntimeError, ValueError) as error:
        print(f"make book: {error}", file=sys.stderr)
        return 1
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    num = sum(1 for _ in out.rglob("*.html"))
    seconds = time.monotonic() - begin
    print(f"{out / 'index.html'}: {num} pages, {size / 1e6:.1f} MB, built in {seconds:.0f} s")
    left_out = [name for name in names if not (out / "pages" / name).is_dir()]
    if left_out:
        print(f"make book: without {', '.join(left_out)}; the reason stands above", file=sys.stderr)
    return 0


def build(out: Path, names: Iterable[str]) -> None:
    """Build the site in a folder beside `out`, and put it there once it is whole.

    Args:
        out: free, or a site that this function made.
        names: of the pages that compute.

    Raises:
        RuntimeError: Sphinx or the builder of a page failed.
        ValueError: a document is not as the book expects it.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".book-", dir=out.parent) as folder:
        source, site = Path(folder) / "source", Path(folder) / "site"
        site.mkdir()
        built = build_pages(site / "pages", names)
        lay_out(source, built)
        run_sphinx(source, site)
        copy_mathjax(site)
        finish(source, site)
        (site / MARK).write_text("made by docs/_book/build.py\n", encoding="utf-8")
        if out.is_dir():
            out.rename(Path(folder) / "old")
        site.rename(out)


def build_pages(folder: Path, names: Iterable[str] = PAGES) -> list[str]:
    """Build the pages that compute into `folder`; return the names of those that are there.

    A builder that lacks something (node, for one) ends with 3 and a line about it, which is passed
    on.

    Raises:
        RuntimeError: a builder failed.
    """
    built = []
    for name in names:
        whole, builder = ROOT / "docs" / f"{name}.html", ROOT / "web" / name / "build.py"
        if whole.is_file():
            (folder / name).mkdir(parents=True)
            shutil.copyfile(whole, folder / name / "index.html")
            built.append(name)
        elif builder.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            command = [sys.executable, str(builder), str(folder / name)]
            done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
            if done.returncode == 3:
                print(done.stderr.strip(), file=sys.stderr)
                shutil.rmtree(folder / name, ignore_errors=True)
                continue
            if done.returncode:
                raise RuntimeError(f"{builder}: exit code {done.returncode}\n{done.stderr}")
            built.append(name)
    return built


def lay_out(source: Path, pages: list[str]) -> None:
    """Write what Sphinx reads: documents, chapters, reference, and the list of all of them."""
    documents = dict(_documents())
    links = Links(documents, pages)
    for name, path in documents.items():
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".ipynb"):
            notebook = json.loads(path.read_text(encoding="utf-8"))
            page = chapters.book_notebook(
                notebook,
                source / PICTURES,
                os.path.relpath(PICTURES, PurePosixPath(name).parent),
                partial(links.map, name),
                _added(name, pages),
            )
            target.write_text(json.dumps(page, ensure_ascii=False), encoding="utf-8")
        else:
            text = path.read_text(encoding="utf-8")
            if name == "docs/paper-map.md":
                text = link_names(text)
            text = chapters.map_links(text, partial(links.map, name))
            for mark, make in GENERATED.items():
                if mark in text:
                    text = text.replace(mark, make(pages))
            target.write_text(text, encoding="utf-8")
    for path in (ROOT / "docs" / "images").iterdir():
        (source / "docs" / "images").mkdir(exist_ok=True)
        shutil.copyfile(path, source / "docs" / "images" / path.name)
    contents = reference.pages()
    (source / "api").mkdir()
    for name, text in contents.items():
        (source / "api" / f"{name}.md").write_text(text, encoding="utf-8")
    (source / "api" / "index.md").write_text(api_index(list(contents)), encoding="utf-8")


def _documents() -> Iterator[tuple[str, Path]]:
    """Yield name in the book and path of each document and notebook."""
    for path in sorted(BOOK.glob("pages/**/*.md")):
        yield path.relative_to(BOOK / "pages").as_posix(), path
    for pattern in ("docs/*.md", "data/README.md", "notebooks/[01]*.ipynb"):
        for path in sorted(ROOT.glob(pattern)):
            yield path.relative_to(ROOT).as_posix(), path
    for path in sorted(ROOT.glob("notebooks/solutions/*.ipynb")):
        yield path.relative_to(ROOT).as_posix(), path


class Links:
    """Where a link of the repository leads in the book."""

    def __init__(self, documents: dict[str, Path], pages: list[str]):
        self.documents = documents
        self.names = {path: name for name, path in documents.items()}
        self.pages = pages
        self.repository = ADDRESSES["repository"](ROOT)

    def map(self, name: str, is_picture: bool, words: str, target: str) -> str:
        """Return a link of the document `name` as the book has it.

        What the book has not is linked in the repository, or, if that has no address, not at all.
        """
        if re.match(r"[a-z]+:|#", target):
            return f"{'!' if is_picture else ''}[{words}]({target})"
        path, _, anchor = target.partition("#")
        anchor = f"#{anchor}" if anchor else ""
        there = Path(os.path.normpath(self.documents[name].parent / path))
        folder = PurePosixPath(name).parent
        if is_picture:
            return f"![{words}]({os.path.relpath(there.relative_to(ROOT), folder)})"
        for document in (there, there / "index.md", BOOK / "pages" / there.relative_to(ROOT)):
            inside = self.names.get(document) or self.names.get(document / "index.md")
            if inside:
                return f"[{words}]({os.path.relpath(inside, folder)}{anchor})"
        if there.suffix == ".html" and there.stem in self.pages:
            start = os.path.relpath(".", folder)
            return f'<a href="{start}/pages/{there.stem}/index.html{anchor}">{words}</a>'
        if self.repository and there.exists():
            address = quote(there.relative_to(ROOT).as_posix())
            return f"[{words}]({self.repository}/blob/HEAD/{address}{anchor})"
        return words


def _added(name: str, pages: list[str]) -> list[tuple[str, str]]:
    """Return heading and text of what the book lays into a notebook."""
    added = []
    for page, (title, opened_at) in PAGES.items():
        if page in pages and name in opened_at:
            added.append((opened_at[name], frame(page, title)))
    if re.fullmatch(r"notebooks/\d\d_\w+\.ipynb", name):
        notebook = json.loads((ROOT / name).read_text(encoding="utf-8"))
        added.append((chapters.headings(notebook)[0], how_to_do(name)))
    return added


def frame(page: str, title: str) -> str:
    """Return the HTML that opens a page that computes within a chapter; it loads when opened."""
    address = f"../pages/{page}/index.html"
    return (
        f'<details class="computing"><summary>Try it here: {title}</summary>\n'
        f'<iframe src="{address}" title="{title}" loading="lazy"></iframe></details>\n'
        f'<p class="computing"><a href="{address}">Open this page by itself</a></p>'
    )


def how_to_do(name: str) -> str:
    """Return how a reader gets a chapter that runs."""
    number = ADDRESSES["chapters"]().index(name)
    places = [f"[{service}]({found[number]})" for service, found in _services().items()]
    online = f" Or open it on {' or '.join(places)}." if places else ""
    return (
        ":::{note}\nThis page shows the chapter after a run. To predict, run it and write its core "
        f"yourself: [do the course](../start.md).{online}\n:::"
    )


def _services() -> dict[str, list[str]]:
    """Return the services that open single chapters, with the address of each chapter there."""
    repository = ADDRESSES["repository"](ROOT)
    found = ADDRESSES["addresses"](repository) if repository else {}
    return {service: places for service, places in found.items() if len(places) > 1}


def list_of_pages(pages: list[str]) -> str:
    """Return the list of pages that compute, for the front page."""
    about = {
        "network": "a trained Panoptic FPN, open at every stage, on your own picture",
        "surfaces": "losses of two and three pixels as surfaces to turn and to walk down",
        "merging": "masks, scores and thresholds to drag; what each pixel becomes, and why",
        "quality": "segments to move and split; PQ, mean IoU and AP move with them",
    }
    lines = [
        f'- <a href="pages/{name}/index.html">{PAGES[name][0]}</a>: {about[name]}'
        for name in PAGES
        if name in pages
    ]
    return "\n".join(lines)


def list_of_chapters(pages: list[str]) -> str:
    """Return the list of chapters, each with the question that it begins with."""
    lines = []
    for name in ADDRESSES["chapters"]():
        notebook = json.loads((ROOT / name).read_text(encoding="utf-8"))
        first = "".join(notebook["cells"][0]["source"])
        question = re.search(r"\*\*Question\.\*\* (.+?)(?:\n\n|$)", first, flags=re.DOTALL)
        if question is None:
            raise ValueError(f"{name}: found no **Question.** in the first cell")
        words = " ".join(question[1].split())
        lines.append(f"- [{chapters.headings(notebook)[0]}]({name}): {words}")
    return "\n".join(lines)


def how_to_clone(pages: list[str]) -> str:
    """Return the commands for a clone, with the repository's address if it has one."""
    address = ADDRESSES["repository"](ROOT) or "ADDRESS"
    where = "" if address != "ADDRESS" else ", with the address of the repository for `ADDRESS`"
    return (
        f"With `git` and `make`{where}:\n\n```sh\ngit clone {address} pfpn\ncd pfpn\nmake lab\n```"
    )


def how_to_install(pages: list[str]) -> str:
    """Return the command of pip."""
    address = ADDRESSES["repository"](ROOT) or "ADDRESS"
    return f"```sh\npip install 'pfpn[notebooks] @ git+{address}'\n```"


def how_online(pages: list[str]) -> str:
    """Return the services that run a chapter, as a table."""
    services = _services()
    if not services:
        return (
            "`python notebooks/addresses.py` prints the addresses of the chapters on Colab, Binder "
            "and Codespaces for your clone or fork."
        )
    lines = [f"| chapter | {' | '.join(services)} |", "|---" * (1 + len(services)) + "|"]
    for i, name in enumerate(ADDRESSES["chapters"]()):
        cells = [f"[{service}]({places[i]})" for service, places in services.items()]
        lines.append(f"| [{PurePosixPath(name).stem[:2]}]({name}) | {' | '.join(cells)} |")
    return "\n".join(lines)


# Marks in the pages of the book, and what stands there.
GENERATED = {
    "<!-- pages -->": list_of_pages,
    "<!-- chapters -->": list_of_chapters,
    "<!-- clone -->": how_to_clone,
    "<!-- pip -->": how_to_install,
    "<!-- online -->": how_online,
}


def link_names(text: str) -> str:
    """Let each `module:name` of the paper map lead to the reference, each chapter to the heading.

    Raises:
        ValueError: a chapter has no such heading.
    """

    def to_heading(match: re.Match[str]) -> str:
        number, address, words = match.groups()
        notebook = json.loads((ROOT / "docs" / address).read_text(encoding="utf-8"))
        wanted = chapters.plain(words)
        heading = next((h for h in chapters.headings(notebook) if wanted in h), None)
        if heading is None:
            raise ValueError(f"docs/paper-map.md: found no heading {wanted!r} in {address}")
        return f"[{number} {words}]({address}#{chapters.anchor(heading)}) |"

    text = re.sub(r"`(pfpn[\w.]*):(\w+)`", r"{py:obj}`\1:\2 <\1.\2>`", text)
    return re.sub(r"(?m)\[(\d\d)\]\((\S+\.ipynb)\) (.+?) \|$", to_heading, text)


def api_index(names: list[str]) -> str:
    """Return the first page of the reference: every page with its first sentence."""
    core = [name for name in reference.reading_order() if name in names]
    rest = [name for name in names if name not in core]
    lines = ["# API reference", ""]
    lines += [
        "What can be imported, with shapes and units. The first table is in reading order.",
        "",
    ]
    for title, group in (("The core", core), ("Around the core", rest)):
        lines += [f"## {title}", "", "| module | what it is for |", "|---|---|"]
        lines += [f"| [`{n}`]({n}.md) | {reference.first_sentence(n)} |" for n in group]
        lines += ["", "```{toctree}", ":hidden:", *group, "```", ""]
    return "\n".join(lines)


def run_sphinx(source: Path, site: Path) -> None:
    """Make HTML of `source`; every warning is an error.

    Raises:
        RuntimeError: there was one; Sphinx has printed it.
    """
    command = [
        sys.executable, "-m", "sphinx", "-b", "html", "-q", "-W", "--keep-going", "-j", "2",
        "-c", str(BOOK), "-d", str(source.parent / "doctrees"), str(source), str(site),
    ]  # fmt: skip
    environment = os.environ | {"PFPN_BOOK_REPOSITORY": ADDRESSES["repository"](ROOT)}
    if subprocess.run(command, env=environment, check=False).returncode:
        raise RuntimeError("Sphinx found what it names above, expected no warning")


def copy_mathjax(site: Path) -> None:
    """Copy the parts of MathJax that the pages load: the script, and its fonts."""
    found = importlib.util.find_spec("sphinx-mathjax-offline")
    if found is None or found.origin is None:
        raise RuntimeError("found no sphinx-mathjax-offline, expected it from the extra `book`")
    start = Path(found.origin).parent / "static" / "mathjax"
    for pattern in ("tex-chtml.js", "output/chtml/fonts/woff-v2/*.woff"):
        for path in start.glob(pattern):
            target = site / "_static" / "mathjax" / path.relative_to(start)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def finish(source: Path, site: Path) -> None:
    """Add the pictures of the chapters, remove what only Sphinx needs, mend the theme's HTML."""
    shutil.copytree(source / PICTURES, site / PICTURES)
    shutil.rmtree(site / "_sources", ignore_errors=True)
    for path in site.rglob("*.html"):
        if site / "pages" not in path.parents:
            text = path.read_text(encoding="utf-8")
            path.write_text(mend(text), encoding="utf-8")
    excerpts.write_texts(site)
    for path in site.glob("pages/*/index.html"):
        lead_back(path)
    for name in (".buildinfo", "objects.inv"):
        (site / name).unlink(missing_ok=True)
    (site / ".nojekyll").touch()  # else GitHub's pages leave out folders with "_" in front


def lead_back(path: Path) -> None:
    """Put links into the book above the header of a page that computes.

    Raises:
        ValueError: the page has no header, or several.
    """
    text = path.read_text(encoding="utf-8")
    if text.count("<header>") != 1:
        raise ValueError(f"{path}: expected one <header>, for the links to the book")
    text = text.replace("<header>", f"{way_back(path.parent.name)}\n<header>")
    path.write_text(text, encoding="utf-8")


def way_back(page: str) -> str:
    """Return the links that lead from a page that computes into the book."""
    links = ['<a href="../../index.html">Panoptic FPN and the Lovász losses</a>']
    for name in PAGES[page][1]:
        notebook = json.loads((ROOT / name).read_text(encoding="utf-8"))
        title = chapters.headings(notebook)[0]
        address = name.replace(".ipynb", ".html")
        links.append(f'<a href="../../{address}">{escape(title)}</a>')
    return f'<nav class="book" aria-label="The book">{" · ".join(links)}</nav>'


def mend(html: str) -> str:
    """Return a page on which screen readers understand two things that Sphinx writes.

    Captions of the list of pages are headings of a level, and the lines of a long signature, which
    Sphinx makes a list of definitions without terms, are lines.
    """

    def to_lines(match: re.Match[str]) -> str:
        lines = re.sub(r"<(/?)d[ld]>", r"<\1div>", match[0])
        return lines.replace("<div>", '<div class="sig-lines">', 1)

    html = html.replace(' role="heading"', ' role="heading" aria-level="2"')
    signature = re.compile(r'<dl>\s*<dd><em class="sig-param.*?</dl>', re.DOTALL)
    return signature.sub(to_lines, html)


if __name__ == "__main__":
    sys.exit(main())
