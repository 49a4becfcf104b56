"""The plans of slides and notes: small files that name cells of the notebooks and say what to say.

A plan holds no figure, no question and no result: those come from the notebook. So what can go
stale is a name, and `read_plan` refuses names that the notebook does not have.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pfpn.kit.chapter import Chapter

PLANS = Path(__file__).resolve().parent / "plans"
WHOLE = (0, 0, 100, 100)


@dataclass(frozen=True, kw_only=True)
class View:
    """What a slide shows: a figure, a part of one, printed text, a formula, or nothing."""

    show: str = ""  # id of a cell with a figure
    number: int = 0  # which of its figures
    crop: tuple[int, int, int, int] = WHOLE  # left, top, right, bottom in percent
    size: tuple[int, int] = (0, 0)  # of the figure for which the crop was chosen, in CSS pixels
    print: str = ""  # id of a cell with printed text
    lines: tuple[int, int] = (0, 0)  # of that text, from and up to; (0, 0) is all
    formula: str = ""  # in TeX


@dataclass(frozen=True, kw_only=True)
class Slide:
    """One claim, or a prediction, which makes two slides."""

    view: View
    claim: str = ""
    ask: str = ""  # name of a prediction
    answer: View = field(default_factory=View)
    note: str = ""
    page: str = ""  # a browser page with its state: "surfaces.html#truth=01", "network#part=p2"
    minutes: int = 2  # of each slide that it makes


@dataclass(frozen=True)
class Plan:
    """What a chapter's plan says."""

    slides: tuple[Slide, ...]
    wrong: Mapping[str, str]  # prediction: what wrong answers reveal
    cut: Mapping[str, str]  # cell: what to leave out from here when time is short


def read_plan(chapter: Chapter) -> Plan:
    """Return a chapter's plan.

    Raises:
        ValueError: it names a cell, a figure or a prediction that the notebook does not have.
    """
    path = PLANS / f"{chapter.number}.toml"
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    try:
        slides = tuple(_slide(entry) for entry in content["slide"])
        cut = {entry["before"]: entry["text"] for entry in content["cut"]}
        plan = Plan(slides, content["wrong"], cut)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path.name}: found no plan that can be read: {error}") from error
    _require_names(chapter, plan)
    return plan


def _slide(entry: dict[str, Any]) -> Slide:
    entry = dict(entry)
    own = {key: entry.pop(key) for key in View.__dataclass_fields__ if key in entry}
    answer = _view(entry.pop("answer", {}))
    return Slide(view=_view(own), answer=answer, **entry)


def _view(entry: dict[str, Any]) -> View:
    pairs: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
    return View(**pairs)


def _require_names(chapter: Chapter, plan: Plan) -> None:
    """Raise ValueError for names that the chapter does not have."""
    for slide in plan.slides:
        for view in (slide.view, slide.answer):
            if view.show:
                chapter.picture(view.show, view.number)
            if view.print and not chapter.printed(view.print):
                raise ValueError(f"{chapter.path.name}, cell {view.print}: found no printed text")
    names = [slide.ask for slide in plan.slides if slide.ask]
    known = set(chapter.predictions)
    for name in (*names, *plan.wrong):
        if name not in known:
            raise ValueError(f"{chapter.path.name}: found no prediction {name!r}")
    missing = known - set(plan.wrong)
    if missing:
        raise ValueError(f"plan {chapter.number}: found no note on {', '.join(sorted(missing))}")
    for cell in plan.cut:
        chapter.outputs(cell)
