"""`benchmarks/gpu.py` on the CPU: a few small parts, and what becomes of parts that fail.

The script starts its parts by fork, which a test's own process with its threads should not do.
"""

import ast
import importlib
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"


def run_python(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(BENCHMARKS), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )


def rehearse(folder: Path, *arguments: str, before: str = "") -> tuple[int, dict[str, Any], str]:
    """Run the script with some parts; return the exit code, gpu.json and gpu.md."""
    start = textwrap.dedent(before) + textwrap.dedent(
        f"""
        import runpy, sys
        sys.argv[0] = {str(BENCHMARKS / "gpu.py")!r}
        runpy.run_path(sys.argv[0], run_name="__main__")
        """
    )
    options = ("--device", "cpu", "--small", "--out", str(folder / "out"), *arguments)
    ended = run_python("-c", start, *options, folder=folder)
    assert (folder / "out" / "gpu.json").exists(), ended.stderr
    content = json.loads((folder / "out" / "gpu.json").read_text())
    assert sorted(p.name for p in (folder / "out").iterdir()) == ["gpu.json", "gpu.md"]
    return ended.returncode, content, (folder / "out" / "gpu.md").read_text()


# Only torch and torchvision are installed, as far as the script can see.
PLAIN = """
    import sys
    from importlib.machinery import PathFinder
    class Rest(PathFinder):
        @classmethod
        def find_spec(cls, name, path=None, target=None):
            if name.partition(".")[0] in {"jaxtyping", "safetensors", "pycocotools", "tqdm"}:
                return None
            return super().find_spec(name, path, target)
    sys.meta_path[:] = [Rest if f is PathFinder else f for f in sys.meta_path]
"""


@pytest.mark.slow
def test_small_parts_run_on_a_cpu_with_torch_and_torchvision_alone(tmp_path: Path) -> None:
    names = ("machine", "equal", "round trips", "resume", "one process")
    code, content, page = rehearse(tmp_path, "--minutes", "8", "--only", *names, before=PLAIN)
    assert [part["name"] for part in content["parts"]] == list(names)
    assert [part["error"] for part in content["parts"]] == [""] * 5
    rows = [row for part in content["parts"] for row in part["rows"]]
    assert {"what": "stand-ins for", "value": "jaxtyping, safetensors"} in rows
    checks = [row for row in rows if "ok" in row]
    assert len(checks) == 28
    assert all(row["ok"] for row in checks)
    losses = [row["difference"] for row in checks if row["check"].startswith("Lovász")]
    assert any(losses)  # float32 against float64: not one computation compared with itself
    assert [row["equal bit for bit"] for row in rows if "equal bit for bit" in row] == [True]
    assert "| Lovász hinge, exact: loss |" in page
    assert code == 0


@pytest.mark.slow
def test_a_device_that_is_missing_is_an_error_of_each_part(tmp_path: Path) -> None:
    hidden = """
        import os
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    """
    names = ("machine", "equal")
    options = ("--device", "cuda", "--minutes", "5", "--only", *names)
    code, content, _ = rehearse(tmp_path, *options, before=hidden)
    assert all("RuntimeError" in part["error"] for part in content["parts"])
    assert code == 1


# The parts' frame, with parts that need nothing --------------------------------------------------


FRAME = """
    import os, sys, time
    from pathlib import Path
    sys.path.insert(0, sys.argv[1])
    import _parts
    from _parts import Part, Report, Setting, run_parts

    _parts.EXTRA = 0.5

    def good(setting):
        yield {"what": "a|b", "value": 1.23456}
    def raises(setting):
        yield {"what": "before", "value": 1}
        raise RuntimeError("the device is gone")
    def crashes(setting):
        yield {"what": "before", "value": 2}
        os._exit(9)
    def hangs(setting):
        yield {"what": "before", "value": 3}
        time.sleep(600)
    def fails(setting):
        yield {"check": "x", "ok": False}
"""


def run_frame(folder: Path, parts: str, minutes: float) -> tuple[dict[str, Any], str, str]:
    """Run some parts; return the JSON, the page and what was printed."""
    last = f"""
    report = Report(Path("out"), "result", "Title", {{"device": "none"}})
    fine = run_parts([{parts}], Setting("cpu", True, Path()), {minutes}, report)
    print("all is well" if fine else "not all is well")
    """
    program = textwrap.dedent(FRAME + last)
    ended = run_python("-c", program, str(ROOT), folder=folder)
    assert ended.returncode == 0, ended.stderr
    content = json.loads((folder / "out" / "result.json").read_text())
    return content, (folder / "out" / "result.md").read_text(), ended.stdout


def test_a_part_that_fails_is_recorded_and_the_others_go_on(tmp_path: Path) -> None:
    parts = ", ".join(
        f'Part("{name}", 10, {name})' for name in ("good", "raises", "crashes", "fails", "good")
    )
    content, page, printed = run_frame(tmp_path, parts, 10)
    good, raises, crashes, fails, last = content["parts"]
    assert good["error"] == fails["error"] == last["error"] == ""
    assert good["rows"] == last["rows"] == [{"what": "a|b", "value": 1.23456}]
    assert raises["rows"] == [{"what": "before", "value": 1}]
    assert raises["error"].endswith("RuntimeError: the device is gone\n")
    assert crashes["rows"] == [{"what": "before", "value": 2}]
    assert crashes["error"] == "its process ended with code 9"
    assert "| a\\|b | 1.235 |" in page
    assert "RuntimeError: the device is gone" in page
    assert "fails: " in printed
    assert "1 rows, 1 of them failed: done" in printed
    assert printed.endswith("not all is well\n")


def test_all_is_well_where_no_part_fails(tmp_path: Path) -> None:
    assert run_frame(tmp_path, 'Part("good", 10, good)', 10)[2].endswith("\nall is well\n")


def test_a_part_that_never_ends_is_ended_and_leaves_time_for_the_next(tmp_path: Path) -> None:
    parts = 'Part("hangs", 1, hangs), Part("good", 9, good)'
    content, _, _ = run_frame(tmp_path, parts, 0.2)  # 1.2 s for the first, 2.3 at most
    hangs, good = content["parts"]
    assert hangs["rows"] == [{"what": "before", "value": 3}]
    assert hangs["error"] == "ended: it was not done after 2 s"
    assert good["rows"] == [{"what": "a|b", "value": 1.23456}]


def test_without_time_a_part_is_left_out(tmp_path: Path) -> None:
    content, page, _ = run_frame(tmp_path, 'Part("good", 10, good)', 0.001)
    assert content["parts"][0]["error"] == "left out: no time was left for it"
    assert "left out: no time was left for it" in page


# What stands in for packages ---------------------------------------------------------------------


@pytest.fixture
def plain() -> Iterator[Any]:
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module("_plain")
    sys.path.remove(str(BENCHMARKS))


def tensors() -> dict[str, torch.Tensor]:
    return {
        "weight": torch.randn(3, 4),
        "count": torch.tensor(7),
        "flags": torch.tensor([True, False, True]),
        "half": torch.randn(5).to(torch.bfloat16),
        "empty": torch.empty(0, 3),
    }


def test_weights_of_the_stand_in_are_read_by_the_package(plain: Any, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(plain.save(tensors() | {"weight": torch.ones(3, 4)}, metadata={"a": "b"}))
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == {"a": "b"}
        assert torch.equal(file.get_tensor("weight"), torch.ones(3, 4))
        assert {key: file.get_tensor(key).shape for key in file.keys()} == {  # noqa: SIM118
            key: value.shape for key, value in tensors().items()
        }


def test_weights_of_the_package_are_read_by_the_stand_in(plain: Any, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    expected = tensors()
    path.write_bytes(save(expected, metadata={"a": "b"}))
    with plain.SafeOpen(path) as file:
        assert file.metadata() == {"a": "b"}
        assert sorted(file.keys()) == sorted(expected)
        for key, value in expected.items():
            assert torch.equal(file.get_tensor(key), value), key
            assert tuple(file.get_slice(key).get_shape()) == value.shape, key
    path.write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00rubbish!")
    with pytest.raises(plain.SafetensorError):
        plain.SafeOpen(path)


# Names -------------------------------------------------------------------------------------------


def imported_names(path: Path) -> Iterator[tuple[str, str]]:
    """Every (module, name) of pfpn that a file imports, also within functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "pfpn":
            yield from ((str(node.module), alias.name) for alias in node.names)


@pytest.mark.parametrize("path", sorted(BENCHMARKS.glob("*.py")), ids=lambda path: path.stem)
def test_what_a_benchmark_imports_from_the_package_is_there(path: Path) -> None:
    for module, name in imported_names(path):
        found = hasattr(importlib.import_module(module), name)
        assert found or importlib.util.find_spec(f"{module}.{name}"), f"{module}.{name}"
