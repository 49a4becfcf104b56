"""The solutions of the capstones, as they stand in the notebooks, for the tests."""

import ast
import json
from functools import cache
from pathlib import Path
from typing import Any

SOLUTIONS = Path(__file__).resolve().parents[2] / "notebooks" / "solutions"


@cache
def solution(chapter: str) -> str:
    """The imports, functions and classes of a chapter's solutions, without its demonstrations."""
    (path,) = SOLUTIONS.glob(f"{chapter}_*.ipynb")
    kept = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code" and "_ = run_capstone" not in "".join(cell["source"]):
            kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
            body = ast.parse("".join(cell["source"])).body
            kept += [ast.unparse(node) for node in body if isinstance(node, kinds)]
    return "\n\n".join(kept)


def answer(chapter: str, old: str = "", new: str = "") -> dict[str, Any]:
    """What a solution defines, with one piece of its code replaced by a wrong one."""
    code = solution(chapter)
    if old:
        before, found, after = code.rpartition(old)  # capstones come last
        assert found, f"not in the solution of {chapter}: {old}"
        code = before + new + after
    names: dict[str, Any] = {}
    exec(compile(code, f"solution {chapter}", "exec"), names)
    return names
