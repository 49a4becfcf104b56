"""Change the code in one place at a time and look whether its tests notice: mutation testing.

    python tests/mutants.py --seed 0 --num 600 pfpn/quality.py pfpn/merge.py ...

Each mutant is one small change: another comparison, operator, number or name of a function, an
argument or a statement left out. Messages (whatever stands in a `raise`), docstrings, annotations
and strings stay as they are. A process that has imported torch is forked for each mutant, imports
the changed module in place of the file, and runs the module's own test files until the first
failure. A mutant that fails none has survived: a test is missing, or the code does too much.

Prints each survivor and a table by file; the exit code is 1 below `--least` percent. (mutmut and
cosmic-ray start an interpreter for each mutant, which takes longer than these tests do.)
"""

import argparse
import ast
import contextlib
import copy
import importlib.abc
import importlib.util
import json
import os
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
FILES = [
    "pfpn/quality.py",
    "pfpn/merge.py",
    "pfpn/paste.py",
    "pfpn/losses/lovasz.py",
    "pfpn/losses/_lovasz_fast.py",
    "pfpn/losses/_lovasz_rows.py",
    "pfpn/losses/segmentation.py",
    "pfpn/boxes.py",
    "pfpn/matching.py",
    "pfpn/rpn.py",
    "pfpn/roi.py",
    "pfpn/box_head.py",
    "pfpn/mask_head.py",
    "pfpn/semantic.py",
    "pfpn/data/transforms.py",
    "pfpn/engine/optim.py",
    "pfpn/engine/checkpoint.py",
]
# Where a module's tests are not those of the same name
TESTS = {
    "pfpn/losses/_lovasz_fast.py": ["tests/losses/test_lovasz.py"],
    "pfpn/losses/_lovasz_rows.py": ["tests/losses/test_lovasz.py"],
}
MEMORY = 8 << 30  # bytes of address space beyond what a child has after its start
SLOWER = 4  # times the tests' usual time, and 30 seconds: then a mutant hangs, and is found

COMPARE = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
OPERATE = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Mod: ast.Mult,
    ast.FloorDiv: ast.Div, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip
NAMES = {
    "min": "max", "max": "min", "amin": "amax", "amax": "amin", "argmax": "argmin", "any": "all",
    "all": "any", "floor": "ceil", "ceil": "floor", "sum": "mean", "mean": "sum", "exp": "log",
    "log": "exp", "maximum": "minimum", "minimum": "maximum", "append": "remove", "sorted": "list",
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change of one file."""

    file: str
    number: int  # of the change, in the order of the file
    line: int
    change: str


def changes(tree: ast.Module) -> Iterator[tuple[ast.AST, str, str, object]]:
    """Yield (node, field, description, new value) for every change of a module."""
    yield from _changes_of_body(tree)


def _changes_of_body(node: ast.AST) -> Iterator[tuple[ast.AST, str, str, object]]:
    if isinstance(node, ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom):
        return
    yield from _changes_of_node(node)
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "type_comment", "bases"):
            continue
        children = value if isinstance(value, list) else [value]
        for i, child in enumerate(children):
            if not isinstance(child, ast.AST):
                continue
            if isinstance(value, list) and isinstance(child, ast.stmt) and _may_go(child):
                rest = [*value[:i], ast.copy_location(ast.Pass(), child), *value[i + 1 :]]
                yield node, field, f"without `{_short(child)}`", rest
            yield from _changes_of_body(child)


def _may_go(statement: ast.stmt) -> bool:
    """Whether a statement may be left out: a call for its effect, `x += 1`, `x[i] = 0`, a jump."""
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Call)
    if isinstance(statement, ast.Assign):
        return all(isinstance(target, ast.Subscript) for target in statement.targets)
    return isinstance(statement, ast.AugAssign | ast.Continue | ast.Break)


def _changes_of_node(node: ast.AST) -> Iterator[tuple[ast.AST, str, str, object]]:
    match node:
        case ast.Compare(ops=ops):
            for i, op in enumerate(ops):
                new = COMPARE[type(op)]()
                words = f"{type(op).__name__} -> {type(new).__name__} in `{_short(node)}`"
                yield node, "ops", words, [*ops[:i], new, *ops[i + 1 :]]
        case ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in OPERATE:
            new = OPERATE[type(op)]()
            words = f"{type(op).__name__} -> {type(new).__name__} in `{_short(node)}`"
            yield node, "op", words, new
        case ast.BoolOp(op=op):
            new = ast.Or() if isinstance(op, ast.And) else ast.And()
            yield node, "op", f"{type(new).__name__} in `{_short(node)}`", new
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert()):
            yield node, "op", f"nothing before `{_short(node.operand)}`", ast.UAdd()
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            for value in (True, False):
                if isinstance(node, ast.While) and value:
                    continue
                yield node, "test", f"{value} for `{_short(test)}`", ast.Constant(value)
        case ast.Constant(value=bool(value)):
            yield node, "value", f"{value} -> {not value}", not value
        case ast.Constant(value=int(value)):
            yield node, "value", f"{value} -> {value + 1}", value + 1
        case ast.Constant(value=float(value)):
            yield node, "value", f"{value} -> {value * 2 or 1.0}", value * 2 or 1.0
        case ast.Name(id=name) if name in NAMES and isinstance(node.ctx, ast.Load):
            yield node, "id", f"{name} -> {NAMES[name]}", NAMES[name]
        case ast.Attribute(attr=name) if name in NAMES:
            yield node, "attr", f"{name} -> {NAMES[name]} in `{_short(node)}`", NAMES[name]
        case ast.Call(keywords=[*keywords]):
            for i, keyword in enumerate(keywords):
                rest = [*keywords[:i], *keywords[i + 1 :]]
                yield node, "keywords", f"without {keyword.arg}= in `{_short(node)}`", rest


def _short(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def list_mutants(file: str) -> list[Mutant]:
    """Return every mutant of a file."""
    found = []
    for number, (node, _, words, _) in enumerate(changes(_parse(file))):
        found.append(Mutant(file, number, getattr(node, "lineno", 0), words))
    return found


def _parse(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text(encoding="utf-8"), filename=file)


def mutated(mutant: Mutant) -> ast.Module:
    """Return the file's tree with the change made."""
    tree = copy.deepcopy(_parse(mutant.file))
    node, field, _, value = list(changes(tree))[mutant.number]
    setattr(node, field, value)
    return ast.fix_missing_locations(tree)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from a tree rather than from its file."""

    def __init__(self, name: str, tree: ast.Module, path: Path):
        self.name, self.path = name, path
        self.code = compile(tree, str(path), "exec")

    def find_spec(self, name: str, path: object, target: object = None) -> object:
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(name, self.path, loader=self)

    def create_module(self, spec: object) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(self.code, module.__dict__)


def tests_of(file: str) -> list[str]:
    path = Path(file).relative_to("pfpn")
    return TESTS.get(file, [str(Path("tests") / path.parent / f"test_{path.name}")])


def _child(file: str, mutant: Mutant | None, quiet: bool) -> int:
    """Run a file's tests in this process, with the mutant as its module; return pytest's code."""
    import pytest

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY + _address_space(), -1))
    name = ".".join(Path(file).with_suffix("").parts)
    if mutant is not None:
        sys.meta_path.insert(0, _Finder(name, mutated(mutant), ROOT / file))
    if quiet:
        out = os.open(os.devnull, os.O_WRONLY)
        os.dup2(out, 1)
        os.dup2(out, 2)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # starting them takes longer than the tests
    options = ["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider"]
    options += ["-p", "_hypothesis_pytestplugin", "--hypothesis-seed=0"]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    return int(pytest.main([*options, *tests_of(file)]))


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def run(file: str, mutant: Mutant | None, limit: float, *, quiet: bool = True) -> tuple[str, float]:
    """Fork, run the tests; return killed, survived or hung, and the seconds it took."""
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        code = 99  # of this program's own failure
        try:
            os.setsid()
            code = _child(file, mutant, quiet)
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(code)
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        seconds = time.monotonic() - began
        if done:
            code = os.waitstatus_to_exitcode(status)
            if code == 99:
                raise SystemExit(f"{file}: the tests did not even start with {mutant}")
            return "survived" if code == 0 else "killed", seconds
        if seconds > limit:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return "hung", seconds
        time.sleep(0.05)


def measure(mutants: Sequence[Mutant], jobs: int, log: Path | None) -> Iterator[dict[str, object]]:
    """Run every mutant, after the unchanged files; yield what became of each."""
    usual = {}
    for file in dict.fromkeys(mutant.file for mutant in mutants):
        outcome, usual[file] = run(file, None, 600)
        if outcome != "survived":
            raise SystemExit(f"{file}: its tests fail without any change: {tests_of(file)}")
    known = _read(log)
    with ThreadPoolExecutor(jobs) as pool:

        def one(mutant: Mutant) -> dict[str, object]:
            key = json.dumps(asdict(mutant))
            if key in known:
                return known[key]
            outcome, seconds = run(mutant.file, mutant, SLOWER * usual[mutant.file] + 30)
            row = asdict(mutant) | {"outcome": outcome, "seconds": round(seconds, 1)}
            if log is not None:
                with log.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
            return row

        yield from pool.map(one, mutants)


def _read(log: Path | None) -> dict[str, dict[str, object]]:
    """Return the rows of an earlier run, so that one can be taken up again."""
    if log is None or not log.exists():
        return {}
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    names = ("file", "number", "line", "change")
    return {json.dumps({name: row[name] for name in names}): row for row in rows}


def table(rows: Sequence[dict[str, object]]) -> str:
    """Return a table by file, in Markdown."""
    lines = ["| file | mutants | killed | survived | killed, percent |", "|---|---|---|---|---|"]
    files = [*dict.fromkeys(row["file"] for row in rows), None]
    for file in files:
        own = [row for row in rows if file is None or row["file"] == file]
        survived = sum(row["outcome"] == "survived" for row in own)
        percent = 100 * (1 - survived / max(1, len(own)))
        name = "all" if file is None else f"`{file}`"
        lines.append(
            f"| {name} | {len(own)} | {len(own) - survived} | {survived} | {percent:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", default=FILES, help="modules of the package")
    parser.add_argument("--seed", type=int, default=0, help="chooses the mutants")
    parser.add_argument("--num", type=int, default=600, help="mutants over all files; 0: all")
    parser.add_argument("--least", type=float, default=95, help="percent that must be killed")
    parser.add_argument("--jobs", type=int, default=1, help="mutants that run at a time")
    parser.add_argument("--log", type=Path, help="JSON lines; an interrupted run goes on from it")
    parser.add_argument("--only", help="FILE:NUMBER: run this mutant and show pytest's output")
    arguments = parser.parse_args()

    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    os.chdir(ROOT)
    import hypothesis  # noqa: F401  what the tests import is imported once
    import numpy  # noqa: F401
    import PIL.Image  # noqa: F401
    import pytest  # noqa: F401
    import scipy.optimize  # noqa: F401
    import torch
    import torchvision  # noqa: F401

    torch.set_num_threads(1)
    if arguments.only:
        file, number = arguments.only.split(":")
        mutant = list_mutants(file)[int(number)]
        print(mutant, *run(file, mutant, 600, quiet=False))
        return
    everything = [mutant for file in arguments.files for mutant in list_mutants(file)]
    num = min(arguments.num or len(everything), len(everything))
    chosen = sorted(
        random.Random(arguments.seed).sample(everything, num), key=lambda m: (m.file, m.number)
    )
    rows = []
    for row in measure(chosen, arguments.jobs, arguments.log):
        rows.append(row)
        if row["outcome"] == "survived":
            print(f"{row['file']}:{row['line']}: {row['change']}", flush=True)
    print(table(rows))
    survived = sum(row["outcome"] == "survived" for row in rows)
    raise SystemExit(100 * (1 - survived / max(1, len(rows))) < arguments.least)


if __name__ == "__main__":
    main()
