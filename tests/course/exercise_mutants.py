"""Answers with one change each, made from the reference and from the solution of an exercise."""

import ast
import copy
import inspect
import json
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pfpn.course.check import Exercise
from tests.mutants import changes

ROOT = Path(__file__).resolve().parents[2]


class _NotStrict(ast.NodeTransformer):
    """Leaves out strict= of zip: it matters for invalid inputs alone."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        node.keywords = [keyword for keyword in node.keywords if keyword.arg != "strict"]
        return node


class _Fold(ast.NodeTransformer):
    """Replaces names by constants, and what then has one value by this value."""

    def __init__(self, constants: dict[str, Any]):
        self.constants = constants

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if isinstance(node.ctx, ast.Load) and node.id in self.constants:
            return ast.copy_location(ast.Constant(self.constants[node.id]), node)
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.test, ast.Constant):
            return node.body if node.test.value else node.orelse
        return node

    def visit_If(self, node: ast.If) -> Any:
        self.generic_visit(node)
        if isinstance(node.test, ast.Constant):
            return node.body if node.test.value else node.orelse
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.op, ast.Not) and isinstance(node.operand, ast.Constant):
            return ast.copy_location(ast.Constant(not node.operand.value), node)
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        sides = [node.left, *node.comparators]
        is_equal = isinstance(node.ops[0], ast.Eq | ast.Is)
        if is_equal and all(isinstance(side, ast.Constant) for side in sides):
            return ast.copy_location(ast.Constant(sides[0].value == sides[1].value), node)
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        decides = isinstance(node.op, ast.Or)  # the value that decides the whole
        rest = []
        for value in node.values:
            if not isinstance(value, ast.Constant):
                rest.append(value)
            elif bool(value.value) is decides:
                return ast.copy_location(ast.Constant(decides), node)
        if not rest:
            return ast.copy_location(ast.Constant(not decides), node)
        node.values = rest
        return node if len(rest) > 1 else rest[0]


def _without_switches(function: ast.FunctionDef) -> ast.FunctionDef:
    """Return a function without the keywords that turn it into a typical mistake."""
    pairs = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    fixed = {a.arg: d.value for a, d in pairs if isinstance(d, ast.Constant)}
    result = _Fold(fixed).visit(copy.deepcopy(function))
    kept = [i for i, a in enumerate(function.args.kwonlyargs) if a.arg not in fixed]
    result.args.kwonlyargs = [function.args.kwonlyargs[i] for i in kept]
    result.args.kw_defaults = [function.args.kw_defaults[i] for i in kept]
    result.decorator_list = []
    return result


def of_reference(exercise: Exercise) -> tuple[ast.Module, dict[str, Any], str]:
    """Return the reference and the functions of its module that it calls, as a tree."""
    module = sys.modules[exercise.reference.__module__]
    tree = ast.parse(inspect.getsource(module))
    known = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    name = exercise.reference.__name__
    needed, done = [name], {}
    while needed:
        current = needed.pop()
        if current in done:
            continue
        done[current] = _without_switches(known[current])
        names = {node.id for node in ast.walk(done[current]) if isinstance(node, ast.Name)}
        needed += sorted(names & known.keys())
    body = [done[key] for key in known if key in done]
    return ast.Module(body, []), dict(vars(module)), name


@cache
def _cells(chapter: str) -> list[ast.Module]:
    [path] = (ROOT / "notebooks/solutions").glob(f"{chapter}_*.ipynb")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [ast.parse("".join(c["source"])) for c in cells if c["cell_type"] == "code"]


def of_solution(exercise: Exercise) -> tuple[ast.Module, dict[str, Any], str]:
    """Return the answer of the solution notebook as a tree, and what stands above it."""
    namespace: dict[str, Any] = {}
    for cell in _cells(exercise.name[:2]):
        kinds = ast.FunctionDef | ast.Import | ast.ImportFrom
        body = [node for node in cell.body if isinstance(node, kinds)]
        exec(compile(ast.Module(body, []), "<solution>", "exec"), namespace)
        for node in cell.body:
            if isinstance(node, ast.Assert) and ast.unparse(node.test).startswith("check("):
                called, answer = (ast.unparse(argument) for argument in node.test.args)
                if ast.literal_eval(called) == exercise.name:
                    own = [n for n in body if getattr(n, "name", "") == answer]
                    return ast.Module(own, []), namespace, answer
    raise AssertionError(exercise.name)


SOURCES = {"reference": of_reference, "solution": of_solution}


@dataclass(frozen=True, slots=True)
class Mutant:
    """An answer with one change."""

    words: str  # what was changed
    line: str  # the changed statement as it is now, its first line; for one left out, the words
    answer: Callable[..., Any]


def mutants(
    exercise: Exercise, source: str, most: int | None = None, lines: Collection[str] = ()
) -> Iterator[Mutant]:
    """Yield changed answers: `most` of them, evenly spread, and those with one of the lines."""
    tree, namespace, name = SOURCES[source](exercise)
    tree = _NotStrict().visit(copy.deepcopy(tree))
    num = len(list(changes(tree)))
    few = most is not None and num > most
    chosen = {i * num // most for i in range(most)} if most is not None and few else range(num)
    for number in range(num):
        if number not in chosen and not lines:
            continue
        changed = copy.deepcopy(tree)
        node, field, words, value = list(changes(changed))[number]
        statement = _statement_of(changed, node)
        setattr(node, field, value)
        line = words if words.startswith("without `") else ast.unparse(statement).splitlines()[0]
        if number not in chosen and line not in lines:
            continue
        ast.fix_missing_locations(changed)
        inside = dict(namespace)
        exec(compile(changed, "<mutant>", "exec"), inside)
        yield Mutant(words, line, inside[name])


def _statement_of(tree: ast.AST, node: ast.AST) -> ast.AST:
    """Return the innermost statement that a node belongs to."""
    inner = tree
    for child in ast.iter_child_nodes(tree):
        if any(each is node for each in ast.walk(child)):
            inner = child if isinstance(child, ast.stmt) else tree
            below = _statement_of(child, node)
            return below if isinstance(below, ast.stmt) else inner
    return inner
