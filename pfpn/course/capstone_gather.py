"""Collect a learner's parts from the learner's own notebooks, for the last capstone.

The code that the parts are made of (imports, and the functions, classes and constants of the
exercise cells) is written into a Python file for each chapter, and these are imported: in the end
there is a network that the learner can read, keep and use without a notebook.
"""

import ast
import importlib.util
import json
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

# The names that the tasks ask for, by part
NAMES = {
    "01": {"fpn": "MyFPN"},
    "02": {"semantic_head": "MySemanticHead"},
    "03": {"rpn_head": "MyRPNHead", "anchors": "my_anchors", "proposals": "my_proposals"},
    "04": {
        "box_head": "MyBoxHead",
        "mask_head": "MyMaskHead",
        "pool": "my_pool",
        "detect": "my_detections",
        "paste": "my_paste",
    },
    "05": {"step": "my_step"},
    "09": {"merge": "my_merge"},
}
IMPORTS = (ast.Import, ast.ImportFrom)


def gather_parts(folder: Path | str, to: Path | str | None = None) -> dict[str, Callable[..., Any]]:
    """Return the parts that the notebooks of a folder define, by their names in the capstones.

    Notebooks have to be saved. A part that is still a stub is left out.

    Args:
        folder: with the notebooks 01 to 05 and 09.
        to: folder into which the files ch01.py, ch02.py, ... are written; None keeps none.

    Raises:
        ValueError: a notebook is missing or broken, or its code fails.
    """
    parts: dict[str, Callable[..., Any]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        target = Path(temporary if to is None else to)
        target.mkdir(parents=True, exist_ok=True)
        for chapter, names in NAMES.items():
            path = target / f"ch{chapter}.py"
            path.write_text(code_of(find_notebook(Path(folder), chapter)), encoding="utf-8")
            module = import_file(path)
            for part, name in names.items():
                found = getattr(module, name, None)
                if found is not None and not is_stub(path, name):
                    parts[part] = found
    return parts


def find_notebook(folder: Path, chapter: str) -> Path:
    """Return a chapter's notebook in a folder.

    A newer release that `pfpn lab` laid beside a changed notebook is not the one that was solved.
    """
    paths = sorted(folder.glob(f"{chapter}_*.ipynb"))
    if len(paths) > 1:
        paths = [path for path in paths if not re.search(r"\.new\d*$", path.stem)]
    if len(paths) != 1:
        raise ValueError(
            f"{folder}: found {len(paths)} notebooks of chapter {chapter}, expected one. "
            "Pass the folder in which you solved the chapters."
        )
    return paths[0]


def code_of(notebook: Path) -> str:
    """Return a notebook's imports, and the functions and classes of its exercise cells."""
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{notebook}: cannot be read as a notebook ({error})") from error
    imports: list[str] = []
    kept: list[str] = []
    for cell in cells:
        if cell.get("cell_type") != "code":
            continue
        mine = "exercise" in cell.get("metadata", {}).get("tags", [])
        source = "".join(cell["source"])
        try:
            body = ast.parse(source).body
        except SyntaxError as error:
            if not mine:
                continue  # a cell of the learner's own, such as one with %timeit
            raise ValueError(f"{notebook.name}: a cell has a syntax error: {error}") from error
        lines = source.splitlines()
        for node in body:
            if isinstance(node, IMPORTS) or (mine and _is_kept(node)):
                decorators = getattr(node, "decorator_list", [])
                first = min([node.lineno, *(each.lineno for each in decorators)])
                target = imports if isinstance(node, IMPORTS) else kept
                target.append("\n".join(lines[first - 1 : node.end_lineno]))
    return "\n\n\n".join(["\n".join(dict.fromkeys(imports)), *dict.fromkeys(kept)]) + "\n"


def _is_kept(node: ast.stmt) -> bool:
    """Whether a statement defines a function, a class, or a constant made of numbers and texts."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return True
    if not isinstance(node, ast.Assign):
        return False
    try:
        ast.literal_eval(node.value)
    except (ValueError, TypeError):
        return False
    return True


def is_stub(path: Path, name: str) -> bool:
    """Return whether a function or class still raises NotImplementedError somewhere."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return any(
                isinstance(inner, ast.Raise)
                and inner.exc is not None
                and "NotImplementedError" in ast.unparse(inner.exc)
                for inner in ast.walk(node)
            )
    return True


def import_file(path: Path) -> Any:
    """Import a Python file as a module of its own.

    Raises:
        ValueError: its code raises an error.
    """
    name = f"my_panoptic_fpn_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(
            f"{path.name}: your code of this chapter raises {type(error).__name__}: {error}. "
            "It holds the imports of the whole notebook, and the functions, classes and constants "
            "of the exercise cells."
        ) from error
    return module
