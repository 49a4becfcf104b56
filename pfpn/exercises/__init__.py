"""The course's exercises: `check("04.level_of_box", mine)` says how far an answer gets.

A check runs the answer on small cases, the simplest first. At the first one that fails it shows
what went in, what was expected and what came out, and where it knows the mistake, names it. It
never shows a solution; those are the notebooks in notebooks/solutions/.
"""

from collections.abc import Callable
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from pfpn.exercises.base import Case, Exercise, Mistake, Report, examine

__all__ = ["Case", "Exercise", "Mistake", "Report", "all_exercises", "check", "find", "hint"]


@cache
def all_exercises() -> dict[str, Exercise]:
    """Return every exercise by its name, in the course's order."""
    chapters = sorted(m.name for m in iter_modules(__path__) if m.name.startswith("ch"))
    modules = (import_module(f"{__name__}.{chapter}") for chapter in chapters)
    found = [exercise for module in modules for exercise in module.EXERCISES]
    return {exercise.name: exercise for exercise in found}


def find(name: str) -> Exercise:
    """Return one exercise.

    Raises:
        ValueError: there is none of that name; the message offers the nearest.
    """
    chapter = name.partition(".")[0]
    try:
        module = import_module(f"{__name__}.ch{chapter}")
        known = {exercise.name: exercise for exercise in module.EXERCISES}
    except ModuleNotFoundError:
        known = all_exercises()
    if name not in known:
        near = get_close_matches(name, known, n=3, cutoff=0.3) or list(known)
        raise ValueError(f"No exercise is called {name!r}. Did you mean {', '.join(near)}?")
    return known[name]


def check(name: str, answer: Callable[..., Any]) -> bool:
    """Run an answer on the cases of an exercise and say what it does; True if all are right.

    An exercise that was not begun (the stub raises NotImplementedError or returns nothing) is
    not an error, so a notebook runs through without its answers.

    Raises:
        ValueError: there is no exercise of that name.
    """
    report = examine(find(name), answer)
    print(report)
    return report.right


def hint(name: str, number: int = 1) -> None:
    """Print a hint of an exercise: the first is a nudge, the last nearly the answer.

    Raises:
        ValueError: there is no such exercise, or it has fewer hints.
    """
    hints = find(name).hints
    if not 1 <= number <= len(hints):
        raise ValueError(f"{name} has hints 1 to {len(hints)}, not {number}")
    print(f"Hint {number} of {len(hints)}: {hints[number - 1]}")
