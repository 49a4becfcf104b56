"""Lay out a student's copy of the course, and never over what the student did.

The copy is a folder with the chapters as `pfpn.fold` makes them, and with the pages, weights
and results that they read or link to, so that every link leads somewhere. Its list of files
(`.pfpn`, see `pfpn.files`) tells which of them are still as they were written. A newer release
replaces those; where the student has changed one, the new one is laid beside it.
"""

import json
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path, PurePosixPath

from pfpn.files import KEPT, Output, claim
from pfpn.fold import Notebook, student_notebook
from pfpn.shipped import shipped

FIRST = "notebooks/00_panoptic_segmentation.ipynb"
# What the chapters link to or read. docs/teaching.md is for whoever gives the course.
BESIDE = (
    "docs",
    "data/README.md",
    "data/checkpoints",
    "benchmarks/results",
    "tests/data_files/pq/normal",
)
NOT_FOR_STUDENTS = ("docs/teaching.md", "data/checkpoints/make.py")
LINK = re.compile(r"(!?)\[([^\[\]]*)\]\(([^)\s]+)\)")


@dataclass(slots=True)
class Laid:
    """What a call of `lay_out` did, as names of files in the folder."""

    new: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)  # the student had not changed them
    beside: dict[str, str] = field(default_factory=dict)  # changed file: where the new one is
    same: list[str] = field(default_factory=list)


def lay_out(folder: Path) -> Laid:
    """Write the student's copy, or bring it up to date.

    Args:
        folder: new, empty, or one that this function wrote before.

    Raises:
        ValueError: the folder has files of another origin, or is in use.
    """
    is_ours = (folder / KEPT).is_dir()
    if folder.is_dir() and any(folder.iterdir()) and not is_ours:
        raise ValueError(
            f"{folder}: found a folder with other files in it, expected a new one, an empty one, "
            "or one that `pfpn lab` wrote. Choose another name"
        )
    laid = Laid()
    with claim(folder, "lab") as output:
        for name, content in contents():
            _lay(output, name, content, laid)
    return laid


def contents() -> Iterator[tuple[str, bytes]]:
    """Yield each file of the copy: its name in the folder, with "/", and what is in it."""
    files, address = dict(_sources()), repository()
    for name, path in files.items():
        content = path.read_bytes()
        if name.endswith(".ipynb"):
            notebook = with_address(student_notebook(json.loads(content)), address)
            content = notebook_bytes(notebook)
        elif name.endswith(".md"):
            content = without_dead_links(name, content.decode("utf-8"), files).encode()
        yield name, content


def notebook_bytes(notebook: Notebook) -> bytes:
    """Return a notebook as it stands in a file."""
    return (json.dumps(notebook, indent=1, ensure_ascii=False) + "\n").encode()


def repository() -> str:
    """Return the address of the repository that the package was built from, "" if it has none."""
    try:
        urls = metadata("pfpn").get_all("Project-URL") or []
    except PackageNotFoundError:
        return ""
    pairs = (url.partition(", ") for url in urls)
    return next((address for name, _, address in pairs if name == "Repository"), "")


def with_address(notebook: Notebook, address: str) -> Notebook:
    """Return a chapter whose first cell installs the package from an address, where it had none.

    A student may take one file of the copy to Colab or Kaggle.
    """
    for cell in notebook["cells"]:
        if address and "setup" in cell["metadata"].get("tags", []):
            source = "".join(cell["source"]).replace('address = ""', f"address = {address!r}")
            cell["source"] = source.splitlines(keepends=True)
    return notebook


def _sources() -> Iterator[tuple[str, Path]]:
    """Yield name and path of the files that the copy is made of."""
    notebooks = shipped("notebooks")
    for path in sorted([*notebooks.glob("[01]*.ipynb"), *notebooks.glob("solutions/*.ipynb")]):
        yield f"notebooks/{path.relative_to(notebooks).as_posix()}", path
    for start in BESIDE:
        root = shipped(start)
        for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
            name = start + path.as_posix().removeprefix(root.as_posix())
            hidden = any(part.startswith((".", "_")) for part in PurePosixPath(name).parts)
            if path.is_file() and not hidden and name not in NOT_FOR_STUDENTS:
                yield name, path


def without_dead_links(name: str, text: str, files: Collection[str]) -> str:
    """Turn links of a page to what a copy lacks, such as the tests, into their words.

    Args:
        name: of the page in the copy.
        text: Markdown.
        files: names of the copy's files.
    """
    folders = {str(parent) for other in files for parent in PurePosixPath(other).parents}

    def keep_or_not(match: re.Match[str]) -> str:
        is_picture, words, target = match.groups()
        if re.match(r"[a-z]+:|#", target):
            return match[0]
        there = os.path.normpath(PurePosixPath(name).parent / target.partition("#")[0])
        there = there.replace(os.sep, "/")
        return match[0] if is_picture or there in files or there in folders else words

    return LINK.sub(keep_or_not, text)


def _lay(output: Output, name: str, content: bytes, laid: Laid) -> None:
    digest = sha256(content).hexdigest()
    path = output.path(name)
    if not path.exists():
        output.write(name, content)
        laid.new.append(name)
    elif path.read_bytes() == content:
        output.adopt(name)
        laid.same.append(name)
    elif output.is_own(name):
        output.write(name, content)
        laid.replaced.append(name)
    elif digest in output.sums(name) or digest in output.sums(_new_name(name)):
        laid.same.append(name)  # the student works on this release's, or was given it before
    else:
        beside = _free_name(output, name)
        output.write(beside, content)
        laid.beside[name] = beside


def _new_name(name: str, number: int = 1) -> str:
    """Return 03_proposals.new.ipynb for 03_proposals.ipynb, then .new2, .new3, ..."""
    path = PurePosixPath(name)
    return str(path.with_name(f"{path.stem}.new{number if number > 1 else ''}{path.suffix}"))


def _free_name(output: Output, name: str) -> str:
    """Return a name beside a changed file that is free, or has an unchanged older release."""
    number = 1
    while output.path(_new_name(name, number)).exists() and not output.is_own(
        _new_name(name, number)
    ):
        number += 1
    return _new_name(name, number)
