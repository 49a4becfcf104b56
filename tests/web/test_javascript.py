"""JavaScript is checked for its syntax, and its own tests are run, where node is installed."""

import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted([*ROOT.glob("web/*/*.js"), *ROOT.glob("tests/web/*.mjs")])


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_is_javascript(node, path):
    result = subprocess.run([node, "--check", path], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr


def test_the_tests_in_javascript_pass(node):
    tests = sorted((ROOT / "tests" / "web").glob("*.test.mjs"))
    assert tests
    result = subprocess.run(
        [node, "--test", *tests], capture_output=True, text=True, timeout=120, cwd=ROOT
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_package_needs_onnx_runtime_alone_and_its_lock_names_no_address():
    package = json.loads((ROOT / "web" / "package.json").read_text(encoding="utf-8"))
    assert package["type"] == "module"
    assert [key for key in package if "ependencies" in key] == ["dependencies"]
    assert list(package["dependencies"]) == ["onnxruntime-web"]
    lock = (ROOT / "web" / "package-lock.json").read_text(encoding="utf-8")
    assert "resolved" not in lock
    assert "://" not in lock
