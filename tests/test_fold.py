"""What a student's copy of a chapter folds."""

import json
from pathlib import Path

import pytest

from pfpn.fold import folded_kinds, student_notebook

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"


def code(source, *tags):
    metadata = {"tags": list(tags)} if tags else {}
    return {"cell_type": "code", "source": [source], "metadata": metadata,
            "outputs": [{"output_type": "stream", "name": "stdout", "text": ["3\n"]}],
            "execution_count": 4}  # fmt: skip


TEXT = {"cell_type": "markdown", "source": ["# A title (1"], "metadata": {}}


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        (code("x = 3\nguess.reveal(x)"), "reveal"),
        (code("def iou(a, b): ...", "answer", "source=pfpn.boxes:iou"), "answer"),
        (code("import pfpn", "setup"), "setup"),
        (code("show(plot(), 'words')"), "plot"),
        (code("from a import plot\nfor i in range(3):\n    show(plot(i), 'words')"), "plot"),
        (code("explore_slice([dict(x=1)], 'words')"), "plot"),
        (code("guess = ask('How many?')"), ""),
        (code("show(plot(), 'words')\nprint(3)"), ""),
        (code("show(plot(), 'words')\nassert 3"), ""),
        (code("class Head: ...\nshow(Head)", "source=pfpn.rpn:RPNHead"), ""),
        (code("def mine(): ...\nexplore(mine)\ncheck('03.iou', mine)", "exercise"), ""),
        (code("%pip install pfpn\nshow(3)"), ""),
        (TEXT, ""),
    ],
)
def test_a_cell_is_folded_for_what_it_does(cell, kind):
    assert folded_kinds([cell]) == [kind]


def test_a_picture_whose_names_are_used_later_stays_open():
    picture = code("for i in range(3):\n    area = i\nshow(plot(area), 'words')")
    assert folded_kinds([picture, code("print(area)")]) == ["", ""]
    assert folded_kinds([picture, code("for i in range(2):\n    print(i)")])[0] == "plot"


def test_a_students_chapter_has_no_output_and_the_stored_one_keeps_its():
    stored = {"cells": [code("print(3)"), code("guess.reveal(3)"), TEXT], "metadata": {}}
    before = json.dumps(stored)
    cells = student_notebook(stored)["cells"]
    assert json.dumps(stored) == before
    assert [cell.get("outputs") for cell in cells] == [[], [], None]
    assert [cell.get("execution_count") for cell in cells] == [None] * 3
    hidden = [cell["metadata"].get("jupyter", {}).get("source_hidden") for cell in cells]
    assert hidden == [None, True, None]


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("[01]*.ipynb")), ids=lambda p: p.stem)
def test_in_every_chapter_no_result_of_a_prediction_is_readable(path):
    cells = student_notebook(json.loads(path.read_text(encoding="utf-8")))["cells"]
    open_cells = [
        "".join(cell["source"])
        for cell in cells
        if cell["cell_type"] == "code" and not cell["metadata"].get("jupyter")
    ]
    assert open_cells
    assert not [source for source in open_cells if ".reveal(" in source]
    assert sum(bool(c["metadata"].get("jupyter")) for c in cells) >= 6
