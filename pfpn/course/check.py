"""Exercises: run a learner's answer on many cases, and name the mistake where it is a typical one.

A typical mistake is a function, as the reference is: an answer that returns what that function
returns, in every case, has made that mistake. So every diagnosis can be tested by submitting its
function.

An answer has to be the learner's own code: one that calls a function of this package, directly or
inside of another function, is refused. This does not prevent copying: the source of the references
can be read. Nor does it prevent code that changes this module while it runs.
"""

import contextlib
import copy
import inspect
import io
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import FrameType
from typing import Any, TypeVar

from pfpn.course.draw import Decisions, Generator, draw_cases, shrink
from pfpn.course.values import Missing, Plain, differ, is_mask, layout, show_beside

Function = TypeVar("Function", bound=Callable[..., Any])

RANDOM = 300  # random cases of an exercise, after the readable ones
_HERE = Path(__file__).resolve().parent
_PACKAGE = str(_HERE.parent)
CHANGED = (
    "The value is right, but your code changed its input. Work on a copy, or use operations that "
    "make a new tensor (x + 1, not x += 1)."
)
ONE_VALUE = "Your code returns the same value in every case."


@dataclass(frozen=True, slots=True)
class Case:
    """One call of the answer."""

    title: str  # what the case is about: "a box of the canonical size goes to p4"
    arguments: tuple[Any, ...]
    decisions: Decisions = ()  # of a random case: what it was made from


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

        @double.random
        def random_double(draw):
            return (draw.number(-4, 4),)

        @double.mistake("You squared x. Twice x is x + x.")
        def squared(x):
            return x * x
    """

    name: str  # "04.level_of_box": chapter, dot, name
    task: str  # one sentence
    difficulty: int  # 1 to 3, which is also what the exercise counts in points
    minutes: int
    hints: tuple[str, ...]  # from a nudge to nearly the answer
    tolerance: float = 1e-5
    reference: Callable[..., Any] = field(init=False)
    cases: Callable[[], Iterable[Case]] = field(init=False, default=tuple)  # the simplest first
    generator: Generator | None = field(init=False, default=None)
    mistakes: tuple[Mistake, ...] = field(init=False, default=())
    shown: Case | None = field(init=False, default=None)  # the case that failed in the last check

    def answer(self, function: Function) -> Function:
        """Decorate the reference."""
        self.reference = function
        return function

    def case(self, title: str, *arguments: Any) -> None:
        """Add a readable case: what it is about, and the arguments of the call."""
        cases = (*self.cases(), Case(title, arguments))
        self.cases = lambda: cases

    def examples(self, function: Function) -> Function:
        """Decorate a function that yields the readable cases, where they are computed."""
        self.cases = function
        return function

    def random(self, function: Generator) -> Generator:
        """Decorate a function that draws the arguments of a random valid case."""
        self.generator = function
        return function

    def mistake(self, message: str) -> Callable[[Function], Function]:
        """Decorate a wrong answer that is often given; `message` is shown to who gives it."""

        def add(function: Function) -> Function:
            self.mistakes = (*self.mistakes, Mistake(message, function))
            return function

        return add

    def all_cases(self, seed: int = 0, num: int = RANDOM) -> list[Case]:
        """Return the readable cases, then random ones; another seed gives other random ones."""
        cases = list(self.cases())
        if self.generator:
            drawn = draw_cases(self.generator, num, f"{self.name}/{seed}")
            cases += [Case(f"random case {i}", *parts) for i, parts in enumerate(drawn, 1)]
        return cases

    def parameters(self) -> list[str]:
        """Return the names of the arguments, as the reference names them."""
        every = inspect.signature(self.reference).parameters.values()
        return [p.name for p in every if p.default is p.empty]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an answer did in one case: it returned a value, raised an error, or was refused."""

    value: Any = Missing
    error: str = ""  # "IndexError: list index out of range"
    where: str = ""  # "in line 3"
    borrowed: str = ""  # the function of this package that it called
    changed: bool = False  # it changed its input


@dataclass(frozen=True, slots=True)
class Report:
    """The result of examining an answer."""

    text: str  # what the learner reads
    right: bool
    diagnosis: str = ""  # why the first case that fails does so
    points: float = 0.0  # of as many as the exercise's difficulty
    missing: tuple[str, ...] = ()  # titles of the cases that fail; all random ones are one

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Example:
    """A case of an exercise with its expected value: `inputs, expected = case("03.nms", 3)`."""

    title: str
    inputs: dict[str, Any]
    expected: Any

    def __iter__(self) -> Iterator[Any]:
        return iter((self.inputs, self.expected))

    def __repr__(self) -> str:
        lines = layout([*self.inputs.items(), ("expected", self.expected)], indent=2)
        return "\n".join([self.title, *lines])


# Running an answer --------------------------------------------------------------------------------


def run(answer: Callable[..., Any], case: Case, *, own: bool = True) -> Outcome:
    """Return what an answer does in one case, which it gets as a copy.

    Args:
        answer: of a learner.
        case: of the exercise.
        own: refuse the answer if it calls a function of this package.
    """
    arguments = copy.deepcopy(case.arguments)
    borrowed: list[str] = []
    try:
        with _watch(borrowed) if own else contextlib.nullcontext():
            value = answer(*arguments)
    except NotImplementedError:
        value = Missing
    except (Exception, SystemExit) as error:
        text = str(error).strip().split("\n")[0]
        named = f"{type(error).__name__}: {text}"[:200].removesuffix(": ")
        return Outcome(error=named, where=_where(error, answer), borrowed="".join(borrowed[:1]))
    if borrowed:
        return Outcome(borrowed=borrowed[0])
    value = Missing if value is Ellipsis else value
    return Outcome(value, changed=bool(differ(list(case.arguments), list(arguments), 0.0)))


@contextlib.contextmanager
def _watch(borrowed: list[str]) -> Iterator[None]:
    """Note each function of this package that is called meanwhile."""

    def look(frame: FrameType, event: str, _: Any) -> None:
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(_PACKAGE) and file != __file__:
            borrowed.append(frame.f_code.co_qualname)

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        yield
    finally:
        sys.setprofile(before)


def _where(error: BaseException, answer: Callable[..., Any]) -> str:
    """Return in which line of the learner's code an error was raised."""
    code = getattr(answer, "__code__", None)
    trace, line = error.__traceback__, 0
    while trace and code:
        if trace.tb_frame.f_code.co_filename == code.co_filename:
            line = trace.tb_lineno
        trace = trace.tb_next
    return f"in line {line}" if line else ""


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep what a learner's code prints in hundreds of random cases off the page."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _problem(exercise: Exercise, expected: Any, outcome: Outcome) -> str:
    """Return what is wrong with an outcome, "" if nothing is."""
    if outcome.borrowed:
        return f"Your code calls {outcome.borrowed}() of pfpn."
    if outcome.error:
        where = f", {outcome.where}" if outcome.where else ""
        return f"Your code raised this error{where}."
    found = outcome.value
    if found is None and expected is not None:
        found = Missing
    return differ(expected, found, exercise.tolerance) or (CHANGED if outcome.changed else "")


# Comparing ----------------------------------------------------------------------------------------


def examine(exercise: Exercise, answer: Callable[..., Any], *, own: bool = True) -> Report:
    """Return the report on an answer, which is run on every case.

    Args:
        exercise: that the answer belongs to.
        answer: of a learner.
        own: refuse an answer that calls a function of this package.
    """
    cases = exercise.all_cases()
    readable = len(list(exercise.cases()))
    first = run(answer, cases[0], own=own)
    nothing = first.value is Missing or first.value is None
    if nothing and not first.error and not first.borrowed:
        return _unanswered(exercise, readable)
    outcomes = [first, *(run(answer, case, own=own) for case in cases[1:readable])]
    if not any(outcome.borrowed for outcome in outcomes):
        with quietly():
            outcomes += [run(answer, case, own=own) for case in cases[readable:]]
    return judge(exercise, cases, outcomes, answer if own else None)


def judge(
    exercise: Exercise,
    cases: Sequence[Case],
    outcomes: Sequence[Outcome],
    answer: Callable[..., Any] | None = None,
) -> Report:
    """Return the report on what an answer did, here or in another process.

    Args:
        exercise: that the answer belongs to.
        cases: the readable ones first.
        outcomes: one for each case.
        answer: makes a random case that fails small, if it can be run here.
    """
    borrowed = next((outcome.borrowed for outcome in outcomes if outcome.borrowed), "")
    if borrowed:
        return _refused(exercise, borrowed)
    readable = len(list(exercise.cases()))
    expected = [_reference(exercise, case) for case in cases]
    problems = [_problem(exercise, *pair) for pair in zip(expected, outcomes, strict=True)]
    wrong = [i for i, problem in enumerate(problems) if problem]
    if not wrong:
        exercise.shown = None
        return _right(exercise, cases[:readable], len(cases) - readable)
    at = wrong[0]
    if at >= readable:  # none of the readable cases fails
        at = min(wrong, key=lambda i: (len(cases[i].decisions), cases[i].decisions))
    known = _recognize(exercise, cases, outcomes, at)
    case, outcome = cases[at], outcomes[at]
    if case.decisions and answer and exercise.generator:
        case, outcome = _smaller(exercise, case, answer)
    why = known or _problem(exercise, _reference(exercise, case), outcome)
    exercise.shown = case
    head, missing, points = _credit(exercise, cases[:readable], problems, outcomes)
    lines = [
        *head,
        *_describe(exercise, case, outcome),
        f"  {why}",
        f"  {_help(exercise, cases, at, answer is not None)}",
    ]
    return Report("\n".join(lines), False, why, points, missing)


def passes(exercise: Exercise, answer: Callable[..., Any], cases: Sequence[Case]) -> bool:
    """Return whether an answer is right in all cases; it is run up to the first that fails."""
    return not any(
        _problem(exercise, _reference(exercise, case), run(answer, case, own=False))
        for case in cases
    )


def _reference(exercise: Exercise, case: Case) -> Any:
    return exercise.reference(*copy.deepcopy(case.arguments))


def _recognize(
    exercise: Exercise, cases: Sequence[Case], outcomes: Sequence[Outcome], first: int
) -> str:
    """Return the message of the mistake that does the same as the answer in every case."""
    order = [first, *(i for i in range(len(cases)) if i != first)]
    with quietly():
        for mistake in exercise.mistakes:
            if all(_same(exercise, mistake, cases[i], outcomes[i]) for i in order):
                return mistake.message
    return ""


def _same(exercise: Exercise, mistake: Mistake, case: Case, outcome: Outcome) -> bool:
    made = run(mistake.function, case, own=False)
    if made.error or outcome.error:
        return bool(made.error and outcome.error)
    return not _problem(exercise, made.value, outcome)


def _smaller(exercise: Exercise, case: Case, answer: Callable[..., Any]) -> tuple[Case, Outcome]:
    """Return a simpler case in which an answer fails, and what it does there."""

    def fails(arguments: tuple[Any, ...]) -> bool:
        simpler = Case(case.title, arguments)
        return bool(_problem(exercise, _reference(exercise, simpler), run(answer, simpler)))

    assert exercise.generator is not None
    with quietly():
        arguments = shrink(exercise.generator, case.decisions, fails)
        smaller = Case(f"{case.title}, made small", arguments)
        return smaller, run(answer, smaller)


def _credit(
    exercise: Exercise,
    readable: Sequence[Case],
    problems: Sequence[str],
    outcomes: Sequence[Outcome],
) -> tuple[list[str], tuple[str, ...], float]:
    """Return the first lines of a report, what is missing, and the points.

    Each readable case asks for one rule and counts one part, all random cases together one more.
    An answer that returns one value whatever it gets earns nothing by the cases that it hits.
    """
    num, random = len(readable), list(problems[len(readable) :])
    missing = [case.title for case, problem in zip(readable, problems, strict=False) if problem]
    right = num - len(missing)
    parts = num + bool(random)
    if any(random):
        missing.append("random cases")
    values = [outcome.value for outcome in outcomes]
    constant = values[0] is not Missing and not any(
        outcome.error or differ(values[0], outcome.value, 0.0) for outcome in outcomes
    )
    earned = 0 if constant else parts - len(missing)
    points = round(exercise.difficulty * earned / parts, 1)
    of_random = f" and {random.count('')} of {len(random)} random ones" if random else ""
    lines = [
        f"{exercise.name}: {right} of {num} cases{of_random} are right. {_points(points, exercise)}"
    ]
    for case, problem in zip(readable, problems, strict=False):
        lines.append(f"  {'x' if problem else '+'} {case.title}")
    if constant:
        lines.append(f"  {ONE_VALUE}")
    return lines, tuple(missing), points


# The text of a report -----------------------------------------------------------------------------


def _describe(exercise: Exercise, case: Case, outcome: Outcome) -> list[str]:
    """Return the lines that show one case: inputs, the expected and the found value."""
    expected = _reference(exercise, case)
    named = list(zip(exercise.parameters(), case.arguments, strict=False))
    first = f"  The first case that fails: {case.title}."
    found: Any = Plain(outcome.error) if outcome.error else outcome.value
    if is_mask(expected) and is_mask(found) and expected.shape == found.shape:
        drawn = show_beside(expected, found).split("\n")
        return [first, *layout(named, indent=6), *(f"      {line}" for line in drawn)]
    return [first, *layout([*named, ("expected", expected), ("found", found)], indent=6)]


def _right(exercise: Exercise, readable: Sequence[Case], num_random: int) -> Report:
    of_random = f" and {num_random} random ones" if num_random else ""
    lines = [
        f"{exercise.name}: all {len(readable)} cases{of_random} are right. "
        f"{_points(exercise.difficulty, exercise)}",
        *(f"  + {case.title}" for case in readable),
    ]
    return Report("\n".join(lines), right=True, points=float(exercise.difficulty))


def _refused(exercise: Exercise, borrowed: str) -> Report:
    why = (
        f"Your code calls {borrowed}() of pfpn. An answer is your own code: Python, torch and "
        "NumPy are allowed, functions of pfpn are not."
    )
    text = f"{exercise.name}: refused. {_points(0, exercise)}\n  {why}"
    return Report(text, right=False, diagnosis=why, missing=("own code",))


def _unanswered(exercise: Exercise, cases: int) -> Report:
    text = (
        f"{exercise.name}: not answered yet. {stars(exercise.difficulty)}, about "
        f"{exercise.minutes} minutes, {cases} test cases."
        f'\n  Stuck? hint("{exercise.name}", 1)'
    )
    return Report(text, right=False, missing=("an answer",))


def _help(exercise: Exercise, cases: Sequence[Case], at: int, here: bool) -> str:
    number = "" if cases[at].decisions else f", {at + 1}"
    get = f'Get this case: inputs, expected = case("{exercise.name}"{number}). '
    more = f'More help: hint("{exercise.name}", 1)' if exercise.hints else ""
    return (get if here or number else "") + more


def _points(points: float, exercise: Exercise) -> str:
    of = exercise.difficulty
    return f"{points:g} of {of} point{'s' if of > 1 else ''}."


def stars(difficulty: int) -> str:
    """Return a difficulty of 1 to 3 as stars."""
    return "★" * difficulty + "☆" * (3 - difficulty)


# What a notebook calls ----------------------------------------------------------------------------


@cache
def all_exercises() -> dict[str, Exercise]:
    """Return every exercise by its name, in the course's order."""
    chapters = sorted(m.name for m in iter_modules([str(_HERE)]) if m.ispkg)
    modules = (import_module(f"pfpn.course.{chapter}.exercises") for chapter in chapters)
    every = [exercise for module in modules for exercise in module.EXERCISES]
    return {exercise.name: exercise for exercise in every}


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

    The readable cases come first, then several hundred random ones. An answer that is still a stub
    (it raises NotImplementedError or returns nothing) is no error, so that a notebook runs through
    before its exercises are done.

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


def case(name: str, number: int | None = None) -> Example:
    """Return a case of an exercise to try your code on: its inputs by name, and what is expected.

    ::

        inputs, expected = case("03.nms", 3)
        my_nms(**inputs)

    Args:
        name: of the exercise.
        number: of a readable case, from 1; without it, the case that failed in the last check.

    Raises:
        ValueError: there is no such exercise or no such case.
    """
    exercise = find(name)
    cases = list(exercise.cases())
    if number is None and exercise.shown is None:
        raise ValueError(f"{name}: no check of it has failed yet. Its cases are 1 to {len(cases)}.")
    if number is not None and not 1 <= number <= len(cases):
        raise ValueError(f"{name} has cases 1 to {len(cases)}, not {number}")
    chosen = exercise.shown if number is None else cases[number - 1]
    assert chosen is not None
    arguments = copy.deepcopy(chosen.arguments)
    inputs = dict(zip(exercise.parameters(), arguments, strict=True))
    return Example(chosen.title, inputs, _reference(exercise, chosen))
