"""What the benchmarks use of the package exists: nothing else runs most of them in the tests."""

import ast
import importlib
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
SCRIPTS = sorted(path.name for path in FOLDER.glob("*.py"))


def missing_names(source: str) -> list[str]:
    """The names of `pfpn` that a script imports or takes from an imported module, and that lack."""
    tree = ast.parse(source)
    missing, modules = [], {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "pfpn":
            package = importlib.import_module(node.module)
            for alias in node.names:
                if not hasattr(package, alias.name):
                    try:
                        importlib.import_module(f"{node.module}.{alias.name}")
                    except ImportError:
                        missing.append(f"{node.module}.{alias.name}")
                        continue
                found = getattr(package, alias.name)
                if isinstance(found, ModuleType):
                    modules[alias.asname or alias.name] = found
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = modules.get(node.value.id)
            if module is not None and not hasattr(module, node.attr):
                missing.append(f"{module.__name__}.{node.attr}")
    return missing


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_benchmark_uses_names_that_exist(name):
    assert missing_names((FOLDER / name).read_text(encoding="utf-8")) == []


def test_names_that_lack_are_found():
    source = "from pfpn.course import iou, no_room\nfrom pfpn.merge import blend\niou.of_all(1)\n"
    lack = ["pfpn.course.no_room", "pfpn.merge.blend", "pfpn.course.iou.of_all"]
    assert missing_names(source) == lack
