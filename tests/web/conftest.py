"""Functions of the pages, called through node; the pages, opened in a browser."""

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

WEB = Path(__file__).resolve().parents[2] / "web"


@pytest.fixture(scope="session")
def node() -> str:
    """The program node; skips where it is not installed."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("node is not installed, and JavaScript is run by it")
    return program


@pytest.fixture(scope="session")
def javascript(node: str) -> Callable[[str, str, Sequence[Any]], list[Any]]:
    """Call a function of a module under web/ with many lists of arguments; return its results."""

    def call(module: str, function: str, arguments: Sequence[Any]) -> list[Any]:
        result = subprocess.run(
            [node, str(Path(__file__).with_name("call.mjs")), module, function],
            input=json.dumps(arguments),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    return call
