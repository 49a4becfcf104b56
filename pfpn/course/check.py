"""Exercises: run a learner's answer on small cases, and name the mistake where it is a typical one.

A typical mistake is a function, as the reference is: an answer that returns what that function
returns has made that mistake. So every diagnosis can be tested by submitting its function.
"""

import copy
import math
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

Function = TypeVar("Function", bound=Callable[..., Any])

FEW = 24  # a tensor of more numbers is shown by its shape
MAX_TEXT = 400  # characters of one shown value
NAN = "Found NaN, not a number: is there a 0 / 0, or the logarithm of a negative number?"
_HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Case:
    """One call of the answer."""

    title: str  # what the case is about: "a box of the canonical size goes to p4"
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Mistake:
    """A wrong answer that is often given, and the message that explains it."""

    message: str  # without the solution
    function: Callable[..., Any]


@dataclass(kw_only=True, slots=True)
class Exercise:
    """A task; its reference, its cases and each typical mistake are added one by one.

    ::

        double = Exercise(
            name="00.double", task="Return twice x.", difficulty=1, minutes=2, hints=("x + x",)
        )

        @double.answer
        def twice(x):
            return 2 * x

        double.case("a positive number", 3.0)

        @double.mistake("You squared x. Twice x is x + x.")
        def squared(x):
            return x * x
    """

    name: str  # "04.level_of_box": chapter, dot, name
    task: str  # one sentence
    difficulty: int  # 1 to 3
    minutes: int
    hints: tuple[str, ...]  # from a nudge to nearly the answer
    tolerance: float = 1e-5
    # How to call an answer with the arguments of a case, where answer(*arguments) will not do.
    run: Callable[..., Any] = lambda answer, *arguments: answer(*arguments)
    reference: Callable[..., Any] = field(init=False)
    cases: Callable[[], Iterable[Case]] = field(init=False, default=tuple)  # the simplest first
    mistakes: tuple[Mistake, ...] = field(init=False, default=())

    def answer(self, function: Function) -> Function:
        """Decorate the reference."""
        self.reference = function
        return function

    def case(self, title: str, *arguments: Any) -> None:
        """Add a case: what it is about, and the arguments of the call."""
        cases = (*self.cases(), Case(title, arguments))
        self.cases = lambda: cases

    def examples(self, function: Function) -> Function:
        """Decorate a function that yields the cases, where they are computed."""
        self.cases = function
        return function

    def mistake(self, message: str) -> Callable[[Function], Function]:
        """Decorate a wrong answer that is often given; `message` is shown to who gives it."""

        def add(function: Function) -> Function:
            self.mistakes = (*self.mistakes, Mistake(message, function))
            return function

        return add


@dataclass(frozen=True, slots=True)
class Report:
    """The result of examining an answer."""

    text: str  # what the learner reads
    right: bool
    diagnosis: str = ""  # why the first failed case failed

    def __str__(self) -> str:
        return self.text


class _Unanswered:
    """Stands for the value of an answer that returned nothing."""


def examine(exercise: Exercise, answer: Callable[..., Any]) -> Report:
    """Return the report on an answer, which is run on the cases up to the first that fails."""
    cases = list(exercise.cases())
    passed: list[Case] = []
    for case in cases:
        expected = _call(exercise, exercise.reference, case)
        arguments = copy.deepcopy(case.arguments)
        try:
            found = exercise.run(answer, *arguments)
        except NotImplementedError:
            found = _Unanswered
        except Exception as error:
            return _fail(exercise, passed, case, expected, _raised(error), _error_line(error))
        if found is None or found is Ellipsis:
            found = _Unanswered if expected is not None else found
        if found is _Unanswered and not passed:
            return _unanswered(exercise, len(cases))
        problem = differ(expected, found, exercise.tolerance)
        if problem:
            known = _recognize(exercise, passed, case, found)
            return _fail(exercise, passed, case, expected, brief(found), known or problem)
        if differ(list(case.arguments), list(arguments), 0.0):
            why = (
                "The value is right, but your code changed its input on the way. Work on a copy, or"
                " use operations that make a new tensor (x + 1, not x += 1)."
            )
            return _fail(exercise, passed, case, expected, brief(found), why)
        passed.append(case)
    lines = [f"{exercise.name}: all {len(cases)} cases are right.", *_ticks(passed)]
    return Report("\n".join(lines), right=True)


def differ(expected: Any, found: Any, tolerance: float) -> str:
    """Return in which way a value differs from the expected one, "" if it does not."""
    if found is _Unanswered:
        return "Nothing came back: is a `return` missing on some way through your code?"
    if isinstance(expected, Tensor):
        return _differ_tensor(expected, found, tolerance)
    if isinstance(expected, np.ndarray):
        if not isinstance(found, np.ndarray):
            return f"Expected a NumPy array, found {_kind(found)}."
        return _differ_tensor(torch.as_tensor(expected), torch.as_tensor(found), tolerance)
    if isinstance(expected, int | float) and not isinstance(expected, bool):
        return _differ_number(expected, found, tolerance)
    if isinstance(expected, Mapping):
        if not isinstance(found, Mapping):
            return f"Expected a dict, found {_kind(found)}."
        if set(expected) != set(found):
            keys, others = (brief(sorted(value, key=str)) for value in (expected, found))
            return f"Expected the keys {keys}, found {others}."
        inner = ((f"At key {k!r}", differ(v, found[k], tolerance)) for k, v in expected.items())
        return _first_inside(inner)
    if isinstance(expected, list | tuple):
        if not isinstance(found, list | tuple):
            return f"Expected a {type(expected).__name__}, found {_kind(found)}."
        if len(expected) != len(found):
            return f"Expected {len(expected)} entries, found {len(found)}."
        pairs = enumerate(zip(expected, found, strict=True))
        return _first_inside((f"Entry {i}", differ(e, f, tolerance)) for i, (e, f) in pairs)
    return "" if _equal(expected, found) else f"Expected {brief(expected)}, found {brief(found)}."


def brief(value: Any) -> str:
    """Return a value as short text: numbers rounded, a large tensor by its shape."""
    if value is _Unanswered:
        return "nothing"
    if isinstance(value, np.ndarray):
        value = torch.as_tensor(value)
    if isinstance(value, Tensor):
        if value.numel() > FEW:
            return f"a tensor {tuple(value.shape)} of {_dtype(value)}"
        text = str(_rounded(value.detach().tolist()))
        return text if value.ndim else f"{text} (a tensor without axes)"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        inner = ", ".join(brief(entry) for entry in value)
        text = f"[{inner}]" if isinstance(value, list) else f"({inner})"
    elif isinstance(value, Mapping):
        text = "{" + ", ".join(f"{key!r}: {brief(entry)}" for key, entry in value.items()) + "}"
    elif callable(value) and hasattr(value, "__name__"):
        text = f"the function {value.__name__}"
    else:
        text = repr(value)
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 4] + " ..."


def _differ_number(expected: float, found: Any, tolerance: float) -> str:
    if isinstance(found, Tensor | np.generic | np.ndarray):
        values = torch.as_tensor(found)
        found = values.item() if values.numel() == 1 else found
    if isinstance(found, bool) or not isinstance(found, int | float):
        return f"Expected a number, found {_kind(found)}."
    if math.isnan(found) and not math.isnan(expected):
        return NAN
    if expected == found or abs(expected - found) <= tolerance * max(1.0, abs(expected)):
        return ""
    return _relation(torch.tensor([float(expected)]), torch.tensor([float(found)]), tolerance)


def _differ_tensor(expected: Tensor, found: Any, tolerance: float) -> str:
    if not isinstance(found, Tensor):
        if expected.ndim == 0 and isinstance(found, int | float):
            return _differ_number(expected.item(), found, tolerance)
        return f"Expected a tensor of shape {tuple(expected.shape)}, found {_kind(found)}."
    if found.shape != expected.shape:
        turned = found.ndim == 2 and found.T.shape == expected.shape
        return (
            f"Expected the shape {tuple(expected.shape)}, found {tuple(found.shape)}."
            f"{' Are rows and columns swapped?' if turned else ''}"
        )
    if _dtype(found) != _dtype(expected):
        return f"Expected a tensor of {_dtype(expected)}, found one of {_dtype(found)}."
    if not expected.numel():
        return ""
    a, b = expected.detach().double(), found.detach().double()
    if b.isnan().any() and not a.isnan().any():
        return NAN
    if torch.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True):
        return ""
    return _relation(a, b, tolerance)


def _relation(a: Tensor, b: Tensor, tolerance: float) -> str:
    """Return how wrong numbers `b` relate to the right ones `a`, where the relation is simple."""
    close = max(tolerance, 1e-6)
    if a.ndim == 2 and a.shape[0] == a.shape[1] and torch.allclose(a.T, b, close, close):
        return "These are the right numbers with rows and columns swapped."
    if torch.allclose(-a, b, close, close):
        return "The sign is wrong, the size is right."
    if a.numel() == 1:
        return f"Expected {a.item():.4g}, found {b.item():.4g}."
    shift = b - a
    if a.numel() > 2 and shift.isfinite().all() and shift.std() <= close * (1 + a.abs().max()):
        return f"Every number is off by the same amount: {shift.mean():+.4g}."
    large = a.isfinite() & b.isfinite() & (a.abs() > close)
    if large.sum() > 1:
        ratio = (b[large] / a[large]).mean()
        if ratio.abs() > close and torch.allclose(ratio * a, b, close, close):
            return f"Every number is {ratio:.4g} times what it should be."
    wrong = ~torch.isclose(a, b, close, close, equal_nan=True)
    first = tuple(wrong.nonzero()[0].tolist())
    return (
        f"{int(wrong.sum())} of {a.numel()} numbers are wrong, the first at {list(first)}: "
        f"expected {a[first]:.4g}, found {b[first]:.4g}."
    )


def _recognize(exercise: Exercise, passed: Sequence[Case], case: Case, found: Any) -> str:
    """Return the message of the mistake that passes the same cases and then gives this value."""
    for mistake in exercise.mistakes:
        try:
            *before, made = (_call(exercise, mistake.function, each) for each in (*passed, case))
        except Exception:  # a mistake may fail on a case that it does not reach
            continue
        right = [_call(exercise, exercise.reference, each) for each in passed]
        if not differ([*right, made], [*before, found], exercise.tolerance):
            return mistake.message
    return ""


def _call(exercise: Exercise, function: Callable[..., Any], case: Case) -> Any:
    return exercise.run(function, *copy.deepcopy(case.arguments))


def _fail(
    exercise: Exercise, passed: Sequence[Case], case: Case, expected: Any, found: str, why: str
) -> Report:
    total = len(list(exercise.cases()))
    lines = [
        f"{exercise.name}: {len(passed)} of {total} cases are right, then this one is not.",
        *_ticks(passed),
        f"  x {case.title}",
        f"      input     {', '.join(brief(argument) for argument in case.arguments)}",
        f"      expected  {brief(expected)}",
        f"      found     {found}",
        f"  {why}",
        f'  More help: hint("{exercise.name}", 1)' if exercise.hints else "",
    ]
    return Report("\n".join(line for line in lines if line), right=False, diagnosis=why)


def _unanswered(exercise: Exercise, cases: int) -> Report:
    text = (
        f"{exercise.name}: not answered yet. {stars(exercise.difficulty)}, about "
        f"{exercise.minutes} minutes, {cases} cases wait for it."
        f'\n  Stuck? hint("{exercise.name}", 1)'
    )
    return Report(text, right=False)


def stars(difficulty: int) -> str:
    """Return a difficulty of 1 to 3 as stars."""
    return "★" * difficulty + "☆" * (3 - difficulty)


def _ticks(cases: Sequence[Case]) -> list[str]:
    return [f"  + {case.title}" for case in cases]


def _raised(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:200]


def _error_line(error: Exception) -> str:
    """Return which line of the learner's code raised an error."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).resolve().parent != _HERE]
    line = f" in line {own[0].lineno}, `{own[0].line}`" if own and own[0].line else ""
    return f"Your code raised this error{line} instead of returning a value."


def _first_inside(problems: Iterable[tuple[str, str]]) -> str:
    """Return the first problem and where in a list or dict it is: "Entry 0, at key 'a': ..."."""
    for where, problem in problems:
        if problem.startswith(("Entry ", "At key ")):
            return f"{where}, {problem[0].lower()}{problem[1:]}"
        if problem:
            return f"{where}: {problem}"
    return ""


def _kind(value: Any) -> str:
    if value is None or value is _Unanswered:
        return "nothing (is a `return` missing?)"
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return f"{type(value).__name__} {brief(value)}"


def _dtype(value: Tensor) -> str:
    """Return what a tensor holds; the number of bits matters in no exercise."""
    if value.dtype == torch.bool:
        return "booleans"
    return "floats" if value.is_floating_point() else "integers"


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _equal(expected: Any, found: Any) -> bool:
    """Return whether two objects are equal; dataclasses are compared field by field."""
    if type(expected) is not type(found):
        return False
    names = getattr(type(expected), "__dataclass_fields__", None)
    if names is None:
        return bool(expected == found)
    return all(not differ(getattr(expected, n), getattr(found, n), 1e-5) for n in names)


@cache
def all_exercises() -> dict[str, Exercise]:
    """Return every exercise by its name, in the course's order."""
    chapters = sorted(m.name for m in iter_modules([str(_HERE)]) if m.ispkg)
    modules = (import_module(f"pfpn.course.{chapter}.exercises") for chapter in chapters)
    found = [exercise for module in modules for exercise in module.EXERCISES]
    return {exercise.name: exercise for exercise in found}


def find(name: str) -> Exercise:
    """Return one exercise.

    Raises:
        ValueError: there is none of that name; the message offers similar names.
    """
    known = all_exercises()
    if name not in known:
        near = get_close_matches(name, known, n=3, cutoff=0.3) or list(known)
        raise ValueError(f"No exercise is called {name!r}. Did you mean {', '.join(near)}?")
    return known[name]


def check(name: str, answer: Callable[..., Any]) -> bool:
    """Run an answer on the cases of an exercise, print the report, and return whether it is right.

    An answer that is still a stub (it raises NotImplementedError or returns nothing) is no error,
    so that a notebook runs through before its exercises are done.

    Raises:
        ValueError: there is no exercise of that name.
    """
    report = examine(find(name), answer)
    print(report)
    return report.right


def hint(name: str, number: int = 1) -> None:
    """Print a hint of an exercise; the last one is nearly the answer.

    Raises:
        ValueError: there is no such exercise, or it has fewer hints.
    """
    hints = find(name).hints
    if not 1 <= number <= len(hints):
        raise ValueError(f"{name} has hints 1 to {len(hints)}, not {number}")
    print(f"Hint {number} of {len(hints)}: {hints[number - 1]}")
