"""The built book: every link leads somewhere, nothing comes from elsewhere, pictures have words."""

import json
import os
import re
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = sorted(path.stem for path in (ROOT / "notebooks").glob("[01]*.ipynb"))


def is_absolute(address: str) -> bool:
    return bool(re.match(r"(?:[a-z][a-z0-9+.-]*:|//)", address, re.IGNORECASE))


def test_every_link_within_the_site_leads_to_a_page_and_an_anchor(site, pages):
    broken, num = [], 0
    for name, page in pages.items():
        for link in filter(lambda link: not is_absolute(link), page.links):
            path, _, anchor = link.partition("#")
            target = os.path.normpath(page.path.parent / unquote(path)) if path else page.path
            target = Path(target) / "index.html" if Path(target).is_dir() else Path(target)
            there = pages.get(os.path.relpath(target, site).replace(os.sep, "/"))
            if not target.is_file() or (anchor and there and unquote(anchor) not in there.ids):
                broken.append(f"{name}: {link}")
            num += 1
    assert broken == []
    assert num > 5000


def test_links_to_elsewhere_are_addresses_of_the_web(pages):
    schemes = {
        link.partition(":")[0] for p in pages.values() for link in p.links if is_absolute(link)
    }
    assert schemes == {"https"}


def test_a_page_loads_only_files_of_the_site(site, pages):
    for name, page in pages.items():
        assert page.loads, name
        for address in page.loads:
            assert not is_absolute(address), f"{name} loads {address}"
            path = page.path.parent / unquote(address.partition("?")[0])
            assert path.is_file(), f"{name} loads {address}"
    for style in site.rglob("*.css"):
        for address in re.findall(r"url\(([^)]*)\)", style.read_text(encoding="utf-8")):
            assert (
                address.strip("'\"").startswith("data:")
                or (style.parent / address.strip("'\"")).is_file()
            ), f"{style.name}: {address}"


def test_every_picture_has_words(pages):
    pictures = [picture for page in pages.values() for picture in page.pictures]
    assert len(pictures) > 130
    for picture in pictures:
        assert len(picture.get("alt") or "") >= 40, picture


def test_stored_pictures_are_all_there(site, pages):
    """The frames of a chapter are as many as its notebook has stored."""
    for name in CHAPTERS:
        cells = json.loads((ROOT / f"notebooks/{name}.ipynb").read_text(encoding="utf-8"))["cells"]
        stored = [
            o for c in cells for o in c.get("outputs", []) if "image/png" in o.get("data", {})
        ]
        assert len(pages[f"notebooks/{name}.html"].pictures) == len(stored), name


def test_the_book_has_every_chapter_and_every_page_that_people_look_for(pages):
    assert len(CHAPTERS) == 12
    front = pages["index.html"].links
    for name in (
        *(f"notebooks/{name}.html" for name in CHAPTERS),
        *(f"docs/{name}.html" for name in ("losses", "quality", "photographs", "weights")),
        *("docs/teaching.html", "docs/paper-map.html", "api/index.html", "start.html"),
    ):
        assert name in pages
        assert name in front


def test_the_front_page_has_the_whole_question_of_each_chapter(pages):
    html = pages["index.html"].path.read_text(encoding="utf-8")
    items = re.findall(r'<li><p>(<a [^>]*href="notebooks/\d\d_.*?)</p>', html, flags=re.DOTALL)
    cards = [re.sub(r"<[^>]+>", "", item).strip() for item in items]
    assert len(cards) == 12
    assert [card for card in cards if not card.endswith("?")] == []


def test_no_answer_is_seen_before_it_is_opened(pages):
    """Neither the code of a `reveal` nor what it prints stands outside of a fold."""
    num = 0
    for name in CHAPTERS:
        text = pages[f"notebooks/{name}.html"].path.read_text(encoding="utf-8")
        open_text = re.sub(r"<details.*?</details>", "", text, flags=re.DOTALL)
        assert "It is:" not in open_text, name
        assert not re.search(r'class="n">reveal<', open_text), name
        num += text.count("It is:")
        assert "You said:" not in text, name
    assert num >= 50


def test_the_search_knows_words_of_chapters_and_of_the_reference(site):
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    found = json.loads(re.fullmatch(r"Search\.setIndex\((.*)\)", index, re.DOTALL)[1])
    names = found["docnames"]

    def documents(word: str) -> set[str]:
        numbers = found["terms"].get(word, []) + found["titleterms"].get(word, [])
        return {names[i] for i in numbers} if isinstance(numbers, list) else {names[numbers]}

    assert "notebooks/06_lovasz" in documents("submodular")
    assert "api/pfpn.merge" in {names[v[0]] for v in found["objects"]["pfpn.merge"]}


@pytest.mark.parametrize("name", ["surfaces", "merging", "quality"])
def test_a_page_that_computes_is_opened_from_its_chapter(site, pages, name):
    assert (site / "pages" / name / "index.html").is_file()
    frames = [p for p in pages.values() if f"../pages/{name}/index.html" in p.loads]
    assert frames
    assert f"pages/{name}/index.html" in pages["index.html"].links


def test_the_site_is_light(site):
    own = [p for p in site.rglob("*") if p.is_file() and "network" not in p.parts]
    assert sum(path.stat().st_size for path in own) < 25e6
    assert all(path.stat().st_size < 1.5e6 for path in own)
