"""Addresses made from the repository's remote: a fork leads to the fork, no secret gets out."""

import json
import re
import runpy
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NAMES = runpy.run_path(str(ROOT / "notebooks" / "addresses.py"))


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("https://github.com/some/fork.git", "https://github.com/some/fork"),
        ("https://github.com/some/fork/", "https://github.com/some/fork"),
        ("https://name:secret@github.com/some/fork", "https://github.com/some/fork"),
        ("git@github.com:some/fork.git", "https://github.com/some/fork"),
        ("ssh://git@git.example.org:2222/some/fork.git", "https://git.example.org/some/fork"),
        ("http://git.example.org:8080/a/b/c.git", "https://git.example.org/a/b/c"),
        ("../a/folder", ""),
        ("file:///a/folder", ""),
        ("C:/a/folder", ""),
        ("", ""),
    ],
)
def test_a_remote_gives_the_address_for_a_browser(remote, address):
    assert NAMES["web_address"](remote) == address


def clone(folder: Path, remote: str) -> Path:
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    subprocess.run(["git", "-C", str(folder), "remote", "add", "origin", remote], check=True)
    return folder


def test_the_remote_of_a_clone_is_read_and_a_setting_comes_before_it(tmp_path, monkeypatch):
    monkeypatch.delenv("PFPN_REPOSITORY", raising=False)
    repository = NAMES["repository"]
    folder = clone(tmp_path / "clone", "git@github.com:some/fork.git")
    assert repository(folder) == "https://github.com/some/fork"
    assert repository(folder, "upstream") == ""
    monkeypatch.setenv("PFPN_REPOSITORY", "https://github.com/other/one")
    assert repository(folder) == "https://github.com/other/one"


def test_a_source_distribution_keeps_its_address(tmp_path, monkeypatch):
    monkeypatch.delenv("PFPN_REPOSITORY", raising=False)
    text = "Name: pfpn\nProject-URL: Repository, https://github.com/some/fork\n"
    (tmp_path / "PKG-INFO").write_text(text)
    assert NAMES["repository"](tmp_path) == "https://github.com/some/fork"


def test_every_chapter_has_an_address_on_each_service():
    places = NAMES["addresses"]("https://github.com/some/fork", "main")
    assert len(places["Colab"]) == len(places["Binder"]) == 12
    assert places["Colab"][6] == (
        "https://colab.research.google.com/github/some/fork/blob/main/notebooks/06_lovasz.ipynb"
    )
    assert places["Binder"][6] == (
        "https://mybinder.org/v2/gh/some/fork/main?urlpath=lab/tree/notebooks/06_lovasz.ipynb"
    )
    assert places["Codespaces"] == ["https://codespaces.new/some/fork"]
    assert places["Book"] == ["https://some.github.io/fork/"]
    assert NAMES["addresses"]("https://github.com/Some/some.github.io")["Book"] == [
        "https://some.github.io/"
    ]
    elsewhere = NAMES["addresses"]("https://git.example.org/a/b")
    assert list(elsewhere) == ["Binder"]
    assert elsewhere["Binder"][0].startswith(
        "https://mybinder.org/v2/git/https%3A%2F%2Fgit.example.org%2Fa%2Fb/HEAD?urlpath=lab/tree/"
    )


def test_the_address_is_written_into_the_first_cell_and_nothing_else_changes(tmp_path):
    write = NAMES["write_address"]
    chapter = ROOT / NAMES["chapters"]()[3]
    copy = tmp_path / chapter.name
    text = re.sub(r'( address = \\")[^"\\]*', r"\1", chapter.read_text(encoding="utf-8"))
    copy.write_text(text, encoding="utf-8")
    for address in ("https://github.com/some/fork", "https://host/other"):
        assert write(copy, address)
        assert not write(copy, address)
        setup = json.loads(copy.read_text(encoding="utf-8"))["cells"][1]
        assert f'    address = "{address}"  # of the repository' in "".join(setup["source"])
    assert write(copy, "")
    assert copy.read_text(encoding="utf-8") == text
    copy.write_text("{}")
    with pytest.raises(ValueError, match="found 0 lines `address"):
        write(copy, "https://host/other")


def test_the_container_is_set_up_by_a_target_that_exists():
    content = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    make, target = content["postCreateCommand"].split()
    assert make == "make"
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    settings = content["customizations"]["vscode"]["settings"]
    environment = re.search(r"^ENV := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    assert settings["python.defaultInterpreterPath"].endswith(f"/{environment}/bin/python")
