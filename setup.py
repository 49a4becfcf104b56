"""Put into the wheel what the package needs beside its code, and addresses of this repository.

All else is in pyproject.toml. The addresses are made from git's remote, so that a wheel built from
a fork leads to the fork: in the project's links, and in the links and pictures of README.md, which
are relative there and would lead nowhere on a page of an index.
"""

import re
import runpy
import shutil
import subprocess
import tempfile
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = (
    "notebooks", "docs", "data/README.md", "data/checkpoints", "benchmarks/results",
    "tests/data_files/pq/normal", "LICENSE", "CITATION.cff",
)  # fmt: skip  # the course: `pfpn lab` and `pfpn kit` lay it out
NETWORK_PAGE = "web/network/built"  # where it was built, which takes node: `pfpn pages network`
ENDINGS = (".safetensors", ".jsonl", ".json", ".ipynb", ".md", ".html", ".png", ".cff", "")
SLIDES = Path("web/slides")  # its lock file says which reveal.js turns the slides of `pfpn kit`
REVEAL = ("dist/reset.css", "dist/reveal.css", "dist/reveal.js", "dist/plugin/notes.js", "LICENSE")
ROOT = Path(__file__).resolve().parent
ADDRESSES = runpy.run_path(str(ROOT / "notebooks" / "addresses.py"))
REPOSITORY = ADDRESSES["repository"](ROOT)
BOOK = ADDRESSES["addresses"](REPOSITORY).get("Book", [""])[0] if REPOSITORY else ""
PUBLISHED = "../../deployments/github-pages"  # in README.md, leads to the book on GitHub
PICTURES = (".png", ".svg", ".jpg")


class BuildWithFiles(build_py):
    """Copies files of the repository to the package's folder `_shipped`."""

    def run(self):
        """Build the package, then copy."""
        super().run()
        if self.editable_mode:  # the repository itself is there
            return
        root = ROOT
        target = Path(self.build_lib) / "pfpn" / "_shipped"
        shutil.rmtree(target, ignore_errors=True)
        for folder in SHIPPED:
            start = root / folder
            for path in sorted(start.rglob("*")) if start.is_dir() else [start]:
                hidden = any(part.startswith((".", "_")) for part in path.relative_to(root).parts)
                if path.is_file() and path.suffix in ENDINGS and not hidden:
                    copy = target / path.relative_to(root)
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, copy)
        if (root / NETWORK_PAGE).is_dir():
            shutil.copytree(root / NETWORK_PAGE, target / NETWORK_PAGE)
        self.add_reveal()

    def add_reveal(self):
        """Copy reveal.js into the package; without npm the slides have plain keys instead."""
        source = ROOT / SLIDES / "node_modules/reveal.js"
        with tempfile.TemporaryDirectory() as scratch:
            if not source.is_dir():
                source = fetch_reveal(Path(scratch))
            for name in REVEAL if source else ():
                copy = Path(self.build_lib) / "pfpn/kit/reveal" / name
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / name, copy)


def fetch_reveal(folder):
    """Fetch reveal.js by npm into a folder, as the lock file says; return where, or None."""
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(ROOT / SLIDES / name, folder / name)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    try:
        subprocess.run(command, cwd=folder, check=True, timeout=300, capture_output=True)
    except (OSError, subprocess.SubprocessError):
        print("warning: npm could not fetch reveal.js: the slides of this wheel have plain keys")
        return None
    return folder / "node_modules/reveal.js"


def long_description():
    """Return README.md with absolute links, where the repository has an address."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")

    def absolute(match):
        place = match[2]
        if not REPOSITORY or re.match(r"[a-z]+:|#", place):
            return match[0]
        if place == PUBLISHED:
            return f"{match[1]}({BOOK})" if BOOK else match[1]
        kind = "raw" if place.endswith(PICTURES) else "blob"
        return f"{match[1]}({REPOSITORY}/{kind}/HEAD/{place})"

    return re.sub(r"(\[[^\[\]]*\])\(([^()\s]+)\)", absolute, text)


def project_urls():
    """Return the project's links, none where the repository has no address."""
    pages = {"Repository": "", "Documentation": "/tree/HEAD/docs", "Course": "/tree/HEAD/notebooks"}
    pages |= {"Changelog": "/blob/HEAD/CHANGELOG.md", "Issues": "/issues"}
    urls = {name: REPOSITORY + page for name, page in pages.items()} if REPOSITORY else {}
    return urls | ({"Documentation": BOOK} if BOOK else {})


setup(
    cmdclass={"build_py": BuildWithFiles},
    long_description=long_description(),
    long_description_content_type="text/markdown",
    project_urls=project_urls(),
)
