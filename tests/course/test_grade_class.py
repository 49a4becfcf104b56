"""Sixty notebooks of a chapter, a third of them hostile, in less than ten minutes on two cores."""

import os
import time
from pathlib import Path

import pytest

from pfpn.course.check import find
from pfpn.course.grade import Grades, Limits, feedback, grade
from tests.course.generated_class import BROKEN, HOSTILE, WRONG, write_class

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
ALL = list(WRONG)
# What it wrote is taken for its answer, so the next one is blamed for the end.
LOST = {"forged", "dumps"}


def require_fair(row: Grades, kind: str) -> None:
    """Raise AssertionError if a student's points are not what the kind of notebook deserves."""
    points = {name: report.points for name, report in row.reports.items()}
    full = {name: float(find(name).difficulty) for name in ALL}
    if kind in BROKEN:
        assert points == {}
        assert "cannot be read as a notebook" in row.remarks[0]
    elif kind == "right":
        assert points == full
        assert row.remarks == []
    elif kind in HOSTILE:
        assert points["03.iou"] == 0, (kind, points)
        if kind not in LOST:
            assert {n: p for n, p in points.items() if n not in ("03.iou", "03.nms")} == {
                n: p for n, p in full.items() if n not in ("03.iou", "03.nms")
            }, (kind, row.reports)
    else:
        name = kind.split()[1]
        assert points[name] < full[name], (kind, points)
        others = {n: p for n, p in points.items() if n not in (name, "03.nms")}
        assert others == {n: full[n] for n in others}
    assert "<h1>" in feedback(row)


@pytest.mark.slow
@pytest.mark.long
def test_sixty_notebooks_of_a_chapter(tmp_path: Path):
    kinds = write_class(tmp_path / "class")
    begin = time.monotonic()
    rows = list(grade(tmp_path / "class", seed=5, limits=Limits(), jobs=2))
    minutes = (time.monotonic() - begin) / 60
    print(f"{len(rows)} notebooks: {minutes:.1f} minutes")
    assert [row.student for row in rows] == list(kinds)
    for row in rows:
        require_fair(row, kinds[row.student])
    if (os.cpu_count() or 1) >= 2 and os.getloadavg()[0] < 3:
        assert minutes < 10
