"""What a student's copy of a chapter folds."""

import json
import re
from pathlib import Path

import pytest

from pfpn.fold import TITLES, explanations, fold_text, folded_kinds, student_notebook
from pfpn.kit.chapter import chapter_numbers, load_chapter

# Questions whose results are not explained in a text of their own: what follows has a heading, is
# another question, or leads to the next one.
UNEXPLAINED = {
    "00": {"guess_hidden"}, "03": {"survivors"}, "04": {"level"}, "05": {"guess_small"},
    "08": {"empty"}, "10": {"guess_pq"},
}  # fmt: skip
FOLD = re.compile(r"<details>\n<summary>After your prediction: .*?</details>\n\n", re.DOTALL)

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
    assert cells[1]["source"] == TITLES["reveal"] + "\nguess.reveal(3)"
    assert cells[1]["metadata"]["cellView"] == "form"


def text(source, *tags):
    return {"cell_type": "markdown", "source": [source], "metadata": {"tags": list(tags)}}


@pytest.mark.parametrize(
    ("cells", "indices"),
    [
        ([text("a"), code("guess.reveal(3)"), text("It is 3."), text("b")], [2]),
        ([code("guess.reveal(3)"), code("print(3)"), text("It is 3.\n\n## Next")], [2]),
        ([code("guess.reveal(3)"), text("### Exercise\n\nAn answer.")], []),
        ([code("guess.reveal(3)"), text("## Next"), text("Not about the result.")], []),
        ([code("guess.reveal(3)"), text("Now the next question.", "lead"), text("b")], []),
        ([code("guess.reveal(3)"), text("It is 3."), text("Why 3?", "result")], [1, 2]),
        ([code("guess = ask('How many?')"), text("How we count.")], []),
    ],
)
def test_the_text_after_a_result_is_folded_up_to_its_heading(cells, indices):
    assert explanations(cells) == indices


def test_a_heading_and_what_follows_it_stay_open():
    cells = [code("guess.reveal(3)"), text("It is $3$,\n[so](a.md).\n\n## Next\n\nMore.")]
    assert student_notebook({"cells": cells, "metadata": {}})["cells"][1]["source"] == (
        "<details>\n<summary>After your prediction: what the result says</summary>\n\n"
        "It is $3$,\n[so](a.md).\n\n</details>\n\n## Next\n\nMore."
    )


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


@pytest.mark.parametrize("number", chapter_numbers())
def test_in_every_chapter_each_explanation_is_folded_and_no_other_text_is(number):
    chapter = load_chapter(number)
    before = chapter.notebook["cells"]
    after = student_notebook(chapter.notebook)["cells"]
    folded = set(explanations(before))
    for i, (old, new) in enumerate(zip(before, after, strict=True)):
        if old["cell_type"] == "markdown":
            text, folds = "".join(old["source"]), FOLD.findall("".join(new["source"]))
            assert len(folds) == (i in folded)
            for fold in folds:  # what is taken out and laid into the element is the same text
                inside = fold.removeprefix(fold_text("").split("\n\n")[0]).split("</details>")[0]
                assert text.startswith(inside.strip())
                assert not re.search(r"^#", inside, re.MULTILINE)
                rest = "".join(new["source"]).removeprefix(fold)
                assert text.removeprefix(inside.strip()).strip() == rest.strip()
    places = {cell["id"]: i for i, cell in enumerate(before)}
    unexplained = set()
    for name, prediction in chapter.predictions.items():
        start = places[prediction.reveals]
        end = next((i for i in range(start + 1, len(before)) if _ends(before[i])), len(before))
        if not folded & set(range(start, end + 1)):
            unexplained.add(name)
    assert unexplained == UNEXPLAINED.get(number, set())


def _ends(cell) -> bool:
    """Return whether a cell begins a section, or asks the next question."""
    source = "".join(cell["source"])
    is_text = cell["cell_type"] == "markdown"
    return bool(re.search(r"^#" if is_text else r"^\w+ = ask\(", source, re.MULTILINE))


@pytest.mark.parametrize("number", chapter_numbers())
def test_what_a_student_reads_before_deciding_does_not_say_the_result(number):
    chapter = load_chapter(number)
    after = student_notebook(chapter.notebook)["cells"]
    places = {cell["id"]: i for i, cell in enumerate(after)}
    for prediction in chapter.predictions.values():
        if len(prediction.truth) < 8:  # "p2" and "yes" occur in other senses
            continue
        start = places[prediction.asks] + 1
        end = next((i for i in range(start, len(after)) if _ends(after[i])), len(after))
        shown = [
            FOLD.sub("", "".join(cell["source"]))
            for cell in after[start : end + 1]
            if not cell["metadata"].get("jupyter")
        ]
        assert not [text for text in shown if prediction.truth in text], prediction.name
