"""Each deck: how many slides, what they claim, whether they can be read, how they are packed."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from pfpn.kit import slides
from pfpn.kit.chapter import chapter_numbers, load_chapter
from pfpn.kit.plan import WHOLE, read_plan
from pfpn.kit.slides import ABOVE, BESIDE, STAGE, build_deck, cropped, deck_pages, fitting

SMALLEST = STAGE[1] / 30  # pixels of text
# Of a figure, whose labels have about 13 pixels in the notebook; one beside a question is known.
LEAST_SCALE = {"claim": 1.05, "answer": 1.05, "question": 0.95}


@pytest.mark.parametrize("number", chapter_numbers())
def test_a_deck_has_twelve_to_twenty_slides(number):
    pages = deck_pages(load_chapter(number))
    assert 12 <= len(pages) <= 20
    kinds = [page.kind for page in pages]
    assert (kinds[0], *kinds[-2:]) == ("title", "exercises", "open")
    assert kinds.count("question") >= 3
    for number, kind in enumerate(kinds):
        assert (kind == "question") == (kinds[(number + 1) % len(kinds)] == "answer")
    assert all(page.note and page.minutes for page in pages)


@pytest.mark.parametrize("number", chapter_numbers())
def test_a_question_does_not_give_its_answer_away(number):
    chapter = load_chapter(number)
    plan = read_plan(chapter)
    for slide in plan.slides:
        if slide.ask:
            prediction = chapter.predictions[slide.ask]
            assert prediction.because not in slide.note
            assert slide.view.show != prediction.reveals or slide.view.crop != WHOLE
            assert slide.view.print != prediction.reveals


@pytest.mark.parametrize("number", chapter_numbers())
def test_figures_are_as_large_as_in_the_notebook_or_larger(number):
    chapter = load_chapter(number)
    pages = [page for page in deck_pages(chapter) if page.scale]
    assert [p.body[:80] for p in pages if p.scale < LEAST_SCALE[p.kind]] == []


@pytest.mark.parametrize("number", chapter_numbers())
def test_crops_were_chosen_for_the_figures_that_are_stored(number):
    """If this fails a figure has changed its size: look at it and choose its crop anew."""
    chapter = load_chapter(number)
    for slide in read_plan(chapter).slides:
        for view in (slide.view, slide.answer):
            if view.crop != WHOLE:
                picture = chapter.picture(view.show, view.number)
                assert view.size == (picture.width, picture.height), view


@pytest.mark.parametrize("number", chapter_numbers())
def test_numbers_in_claims_are_in_the_chapter(number):
    chapter = load_chapter(number)
    text = " ".join(chapter.everything(cell) for cell in chapter.cells)
    for slide in read_plan(chapter).slides:
        for value in re.findall(r"\d+(?:\.\d+)?", slide.claim):
            assert re.search(rf"(?<![\d.]){re.escape(value)}(?!\d)", text), (slide.claim, value)


def test_no_text_is_smaller_than_a_thirtieth_of_the_slide():
    style = (Path(slides.__file__).parent / "deck.css").read_text(encoding="utf-8")
    sizes = [float(size) for size in re.findall(r"font-size: ([\d.]+)px", style)]
    assert len(sizes) > 15
    assert min(sizes) >= SMALLEST
    for number in chapter_numbers():
        for page in deck_pages(load_chapter(number)):
            for size in re.findall(r"font-size:(\d+)px", page.body):
                assert int(size) >= 19, (number, page.body[:200])  # a table of many lines


def test_a_tall_figure_stands_beside_its_claim():
    picture = load_chapter("00").picture("d836537a")
    assert fitting(replace(picture, width=1000, height=300)) == (ABOVE[0] / 1000, False)
    assert fitting(replace(picture, width=800, height=700)) == (BESIDE[1] / 700, True)


def test_a_table_is_tightened_and_other_text_is_not():
    table = ["        first    b", "x           1    2", "long       10    3"]
    assert slides._tightened(table) == ["      first  b", "x         1  2", "long     10  3"]
    letters = [". . A", ". B ."]
    assert slides._tightened(letters) == letters


def test_a_crop_that_no_longer_fits_is_left_out():
    chapter = load_chapter("00")
    view = next(s.view for s in read_plan(chapter).slides if s.view.crop != WHOLE)
    picture = chapter.picture(view.show, view.number)
    part = cropped(picture, view)
    left, top, right, bottom = view.crop
    assert part.width == round(picture.width * (right - left) / 100)
    assert part.height == round(picture.height * (bottom - top) / 100)
    assert cropped(picture, replace(view, size=(1, 1))) is picture


@pytest.mark.parametrize("with_reveal", [True, False])
def test_a_deck_is_one_file_with_or_without_reveal(with_reveal, monkeypatch):
    if with_reveal and not slides.find_reveal():
        scripts = {name: f"/* {name} </script> */" for name in slides.REVEAL[2:]}
        files = dict.fromkeys(slides.REVEAL[:2], "body { margin: 0 }") | scripts
        monkeypatch.setattr(slides, "find_reveal", lambda: files)
    elif not with_reveal:
        monkeypatch.setattr(slides, "find_reveal", dict)
    deck = build_deck("11", ("surfaces.html",))
    assert deck.count("<section") == len(deck_pages(load_chapter("11")))
    assert ("Reveal.initialize" in deck) == with_reveal
    assert "http" not in re.sub(r"http://www\.w3\.org[^\"']*|base64,[^\"]*", "", _own_part(deck))
    page = re.sub(r"<script>.*?</script>", "", deck, flags=re.DOTALL)
    assert not re.search(r"<(?:script|link|img)[^>]+(?:src|href)=\"(?!data:)", page)
    assert "<script" not in page
    assert "</script" not in page


def _own_part(deck: str) -> str:
    return deck[deck.index("<main") : deck.index("</main>")]


def test_pages_that_slides_open_have_the_settings_in_their_addresses():
    root = Path(__file__).resolve().parents[2]
    opened = {s.page for n in chapter_numbers() for s in read_plan(load_chapter(n)).slides} - {""}
    assert {page.partition("#")[0] for page in opened} == {
        "surfaces.html", "merging.html", "quality.html", "network",
    }  # fmt: skip
    for page in opened:
        name, _, state = page.partition("#")
        folder = root / "web" / name.removesuffix(".html")
        code = "".join(p.read_text("utf-8") for p in folder.glob("*.js"))
        if name != "network":
            assert (root / "docs" / name).is_file()
        for setting in state.split("&") if code else ():
            assert re.search(rf"\b{setting.partition('=')[0]}\b", code), (page, setting)


def test_a_page_is_linked_only_where_it_is_in_the_kit():
    assert "../pages/surfaces.html#loss=" in build_deck("07", ("surfaces.html",))
    assert "../pages/" not in build_deck("07", ())


def test_a_plan_with_a_name_that_does_not_exist_is_refused(tmp_path, monkeypatch):
    from pfpn.kit import plan

    monkeypatch.setattr(plan, "PLANS", tmp_path)
    text = 'cut = []\n[wrong]\n[[slide]]\nask = "nobody"\n'
    (tmp_path / "00.toml").write_text(text)
    with pytest.raises(ValueError, match="no prediction 'nobody'"):
        read_plan(load_chapter("00"))
    (tmp_path / "00.toml").write_text(text.replace("ask", "shows"))
    with pytest.raises(ValueError, match="no plan that can be read"):
        read_plan(load_chapter("00"))
