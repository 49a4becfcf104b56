"""Every line of docs/paper-map.md leads to a function, a test and a heading that exist."""

import ast
import importlib
import json
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROW = re.compile(
    r"\| (.+?) \| `([\w.]+):(\w+)` \| `([\w./]+)(?:::(\w+))?` \| \[\d\d\]\((.+?)\) (.+) \|"
)
LINES = [
    line
    for line in (ROOT / "docs" / "paper-map.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| in the paper")
]


@cache
def functions(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@cache
def headings(path: Path) -> set[str]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    words = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    return {re.sub(r"[`*$]", "", found).strip() for found in re.findall(r"(?m)^#+ (.+)$", words)}


@pytest.mark.parametrize("line", LINES)
def test_a_line_leads_somewhere(line):
    row = ROW.fullmatch(line)
    assert row, (
        f"expected: | item | `module:name` | `file::test` | [NN](notebook) heading |\n{line}"
    )
    _, module, name, test_file, test, notebook, heading = row.groups()
    assert hasattr(importlib.import_module(module), name), f"{module} has no {name}"
    assert (ROOT / test_file).is_file(), test_file
    assert test is None or test in functions(test_file), f"{test_file} has no {test}"
    wanted = re.sub(r"[`*$]", "", heading).strip()
    found = headings(ROOT / "docs" / notebook)
    assert any(wanted in heading for heading in found), f"{notebook} has no heading {wanted!r}"


def test_both_papers_are_there():
    words = "\n".join(LINES)
    assert words.count("[PFPN]") >= 20
    assert words.count("[LS]") >= 15
