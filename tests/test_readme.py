"""README keeps its word: every command parses, every snippet runs, every picture is there."""

import re
import shlex
from pathlib import Path

import pytest

from pfpn.cli import build_parser

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


def commands(program: str) -> list[str]:
    text = "\n".join(blocks("console")).replace("\\\n", " ")
    lines = [line.split("  #")[0].strip() for line in text.splitlines()]
    return [line for line in lines if line.startswith(program)]


def test_every_make_target_in_the_readme_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {word for line in commands("make") for word in shlex.split(line)[1:]}
    named |= set(re.findall(r"`make ([a-z-]+)`", README))
    assert {"demo", "test"} <= named <= targets


@pytest.mark.parametrize("line", [*commands("pfpn"), *commands("torchrun")])
def test_every_pfpn_command_in_the_readme_parses(line):
    words = shlex.split(line)
    arguments = words[words.index("pfpn") + 1 :]
    build_parser().parse_args(arguments)  # exits, and so fails the test, on an unknown option


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_every_snippet_in_the_readme_runs(number, monkeypatch):
    monkeypatch.chdir(ROOT)  # snippets name shipped files relative to the repository
    code = compile(blocks("python")[number], f"README.md, snippet {number + 1}", "exec")
    exec(code, {"__name__": "readme"})


def test_every_picture_in_the_readme_is_there_and_described():
    pictures = re.findall(r"!\[(.*?)\]\((.*?)\)", README, flags=re.DOTALL)
    assert pictures
    for words, place in pictures:
        assert len(words) > 40, f"{place} needs a description"
        assert (ROOT / place).is_file(), place
