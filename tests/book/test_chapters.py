"""How a stored notebook becomes a page: what is folded, where links lead, what is left out."""

import base64
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs" / "_book"))

import chapters  # noqa: E402

DOT = base64.b64encode(b"a picture").decode()


def code(source: str, *outputs: dict, tags: tuple[str, ...] = ()) -> dict:
    return {
        "cell_type": "code",
        "id": "x",
        "metadata": {"tags": list(tags)},
        "source": source,
        "execution_count": 1,
        "outputs": list(outputs),
    }


def text(source: str) -> dict:
    return {"cell_type": "markdown", "id": "y", "metadata": {}, "source": source}


def printed(words: str) -> dict:
    return {"output_type": "stream", "name": "stdout", "text": words}


def shown(form: str, data: str, **metadata) -> dict:
    return {"output_type": "display_data", "data": {form: data}, "metadata": metadata}


def keep(is_picture: bool, words: str, target: str) -> str:
    return f"{'!' if is_picture else ''}[{words}]({target})"


def page(*cells: dict, folder: Path = Path("unused"), added=(), map_target=keep) -> list[dict]:
    notebook = {"cells": list(cells), "metadata": {"widgets": {}}, "nbformat": 4}
    result = chapters.book_notebook(notebook, folder, "../pictures", map_target, added)
    assert "widgets" not in result["metadata"]
    assert notebook["metadata"] == {"widgets": {}}, "the given notebook has to stay as it is"
    return result["cells"]


def test_a_question_is_seen_and_what_may_answer_it_is_folded_until_the_answer():
    cells = [
        code("print(1)", printed("1")),
        code("guess = ask('How many?', ['1', '2'])", shown("text/markdown", "How many?")),
        code("print(2)", printed("2")),
        code("x = 2"),
        code("guess.reveal('2')", shown("text/markdown", "**It is:** 2")),
        code("print(3)", printed("3")),
    ]
    assert chapters.book_kinds(cells) == ["", "question", "between", "", "reveal", ""]
    tags = [cell["metadata"]["tags"] for cell in page(*cells)]
    assert tags == [[], ["remove-input", "question"], ["hide-output"], [], ["hide-cell"], []]


def test_a_question_without_an_answer_folds_nothing():
    cells = [code("guess = ask('How many?', ['1', '2'])"), code("print(2)", printed("2"))]
    assert chapters.book_kinds(cells) == ["question", ""]


def test_code_beside_a_question_stays_to_be_read():
    cells = [code("x = 3\nguess = ask('How many?', ['1', '2'])\nprint(x)", printed("3"))]
    assert chapters.book_kinds(cells) == [""]


def test_a_picture_between_question_and_answer_is_folded_whole():
    cells = [code("g = ask('?', [])"), code("show(f(), alt='')", printed("x")), code("g.reveal(1)")]
    assert chapters.book_kinds(cells) == ["question", "picture", "reveal"]


def test_what_a_reader_of_the_book_cannot_use_is_left_out():
    link = code("PageLink('merging')", printed("../docs/merging.html"))  # a frame shows it
    cells = page(code("install()", tags=("setup",)), code("tally(a, b)", printed("None")), link)
    assert [cell["metadata"]["tags"] for cell in cells] == [["remove-cell"]] * 3


def test_every_fold_says_what_it_hides():
    cells = [code("f = 1", tags=("answer",)), code("show(f, alt='')")]
    for cell in page(*cells):
        assert cell["metadata"]["tags"] == ["hide-input"]
        prompts = cell["metadata"]["mystnb"]
        assert prompts["code_prompt_show"] == prompts["code_prompt_hide"] != ""


def test_a_reader_of_the_book_did_not_predict():
    words = "**You said:** no prediction. **It is:** 2. Because."
    (cell,) = page(code("g.reveal(2)", shown("text/markdown", words)))
    assert cell["outputs"][0]["data"]["text/markdown"] == "**It is:** 2. Because."


def test_a_picture_becomes_a_file_and_keeps_its_words(tmp_path):
    size = {"alt": "A street.", "width": 30, "height": 20}
    (cell,) = page(code("x", shown("image/png", DOT, **{"image/png": size})), folder=tmp_path)
    (path,) = tmp_path.iterdir()
    assert path.read_bytes() == b"a picture"
    html = cell["outputs"][0]["data"]["text/html"]
    assert 'alt="A street."' in html
    assert f'src="../pictures/{path.name}"' in html
    assert 'loading="lazy"' in html
    assert DOT not in json.dumps(cell)


def test_links_are_mapped_in_text_and_not_in_code():
    seen = []

    def note(*link):
        seen.append(link)
        return "there"

    source = "[a *b*](x.ipynb#c) and\n![p](y.png)\n```python\nf[0](1)\n```\n[two\nlines](z.md)"
    (cell,) = page(text(source), map_target=note)
    assert seen == [
        (False, "a *b*", "x.ipynb#c"),
        (True, "p", "y.png"),
        (False, "two\nlines", "z.md"),
    ]
    assert cell["source"] == "there and\nthere\n```python\nf[0](1)\n```\nthere"


def test_what_is_added_stands_after_the_cell_of_its_heading():
    cells = page(text("# One\n## Two `x`"), text("# Three"), added=[("Two x", "new")])
    assert [cell["source"] for cell in cells] == ["# One\n## Two `x`", "new", "# Three"]
    with pytest.raises(ValueError, match="found no heading 'Four'"):
        page(text("# One"), added=[("Four", "new")])


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("5. The FPN in three steps", "5-the-fpn-in-three-steps"),
        ("PQ = SQ x RQ", "pq--sq-x-rq"),
        ("Why above one half?", "why-above-one-half"),
    ],
)
def test_the_anchor_of_a_heading(heading, anchor):
    assert chapters.anchor(heading) == anchor
