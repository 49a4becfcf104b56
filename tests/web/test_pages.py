"""The pages of merging and quality, used in a headless browser; what all three pages promise."""

import re
from pathlib import Path

import pytest

from tests.browsing import axe_findings, served

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("surfaces", "merging", "quality")
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
AP = "() => 100 * quality.compute().ap"


def stored(name: str) -> Path:
    return ROOT / "docs" / f"{name}.html"


@pytest.fixture
def opened(browser):
    """Open a stored page; at the end nothing was requested and the console is empty."""
    pages = []

    def start(name, hash="", size=DESK, scheme="light"):
        page = browser.new_page(viewport=size, color_scheme=scheme)
        page.set_default_timeout(60_000)
        page.faults = []
        page.on("console", lambda message: page.faults.append(message.text))
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        page.on("request", lambda request: page.faults.append(request.url))
        page.goto(stored(name).as_uri() + hash)
        settle(page)
        page.faults = [f for f in page.faults if not f.startswith(("file:", "data:"))]
        pages.append(page)
        return page

    yield start
    for page in pages:
        assert page.faults == []
        page.close()


def settle(page):
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def bar(page, name):
    """A score that the page shows, in percent."""
    settle(page)
    rows = page.locator("#bars .bar").all_inner_texts()
    return float(next(row.split()[-1] for row in rows if row.startswith(name)))


@pytest.mark.parametrize("name", NAMES)
def test_a_page_needs_nothing_from_elsewhere(name):
    text = stored(name).read_text(encoding="utf-8")
    assert not re.search(r"https?:|//cdn|@import|<link(?! rel=\"icon\" href=\"data:)", text)
    assert not re.search(r"<(script|img|iframe)[^>]* src", text)
    assert len(text) < 120_000


def test_axe_is_heard(browser):
    page = browser.new_page()
    page.set_content("<title>a</title><img src='data:,'><p style='color: #aaa'>pale</p>")
    found = " ".join(axe_findings(page))
    assert "image-alt (critical)" in found
    assert "color-contrast (serious)" in found
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", NAMES)
def test_axe_finds_nothing_serious(opened, name, scheme):
    page = opened(name, scheme=scheme)
    page.click("#tour")
    settle(page)
    assert axe_findings(page) == []


@pytest.mark.parametrize("width", [360, 390])
@pytest.mark.parametrize("name", NAMES)
def test_a_page_fits_a_phone(opened, name, width):
    page = opened(name, size={"width": width, "height": 800})
    assert axe_findings(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for canvas in page.locator("canvas:visible").all():
        box = canvas.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    for table in page.locator(".wide").all():
        assert table.evaluate("box => box.scrollWidth <= box.clientWidth")


@pytest.mark.parametrize("name", ["merging", "quality"])
def test_the_tour_leads_through_six_states(opened, name):
    page = opened(name)
    page.focus("#tour")
    page.keyboard.press("Enter")
    titles, addresses = [], []
    for number in range(1, 7):
        settle(page)
        titles.append(page.inner_text("#stop-title"))
        assert titles[-1].startswith(f"{number} of 6: ")
        addresses.append(page.url)
        if number < 6:
            page.focus("#stop-next")
            page.keyboard.press("Enter")
    assert len(set(titles)) == 6
    assert page.is_disabled("#stop-next")
    page.click("#stop-end")
    assert not page.is_visible("#stop")


@pytest.mark.parametrize("name", ["merging", "quality"])
def test_every_control_is_reached_by_tab_and_is_seen_there(opened, name):
    page = opened(name)
    controls = page.locator("button:enabled[id], select:enabled, input:enabled, canvas[tabindex]")
    expected = {control.get_attribute("id") for control in controls.all() if control.is_visible()}
    assert len(expected) > 15
    reached = set()
    for _ in range(100):
        page.keyboard.press("Tab")
        id, outline = page.evaluate(
            """() => { const at = document.activeElement;
            return [at.id, getComputedStyle(at).outlineStyle]; }"""
        )
        reached.add(id)
        assert outline != "none" or id == ""
        if expected <= reached:
            break
    assert expected <= reached


def test_merging_by_keyboard_alone(opened):
    page = opened("merging")
    start = bar(page, "PQ")
    page.focus("#masks")
    page.keyboard.press("2")  # B, the bus
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    assert page.evaluate("merging.masks.B.x") == 27
    assert bar(page, "PQ") < start
    page.keyboard.press("+")
    assert page.evaluate("merging.masks.B.width") == 20
    page.focus("#score-E")
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    settle(page)
    assert "Kept" in page.inner_text("#fate-E")
    page.focus("#merged")
    before = page.evaluate("merging.state.pixel")
    page.keyboard.press("ArrowUp")
    assert page.evaluate("merging.state.pixel") == before - 48
    page.focus("#start")
    page.keyboard.press("Enter")
    assert bar(page, "PQ") == start


def test_a_mask_follows_the_mouse_and_a_touch(opened, browser):
    page = opened("merging")
    box = page.locator("#masks").bounding_box()
    side = box["width"] / 48
    spot = (box["x"] + 30.5 * side, box["y"] + 12.5 * side)  # on the bus alone
    page.mouse.move(*spot)
    page.mouse.down()
    page.mouse.move(spot[0] - 5 * side, spot[1] + 2 * side, steps=5)
    page.mouse.up()
    settle(page)
    assert page.evaluate("[merging.state.chosen, merging.masks.B.x, merging.masks.B.y]") == [
        "B", 16, 8,
    ]  # fmt: skip
    context = browser.new_context(viewport=PHONE, has_touch=True)
    phone = context.new_page()
    phone.goto(stored("merging").as_uri())
    phone.locator("#merged").scroll_into_view_if_needed()
    box = phone.locator("#merged").bounding_box()
    phone.touchscreen.tap(box["x"] + 3, box["y"] + 3)
    settle(phone)
    assert phone.inner_text("#why p") == "Column 1, row 1: sky."
    context.close()


def test_each_pixel_says_who_has_it_and_why(opened):
    page = opened("merging", "#pixel=414")
    assert "sky: an instance has the pixel" in page.inner_text("#why")
    page.select_option("#rule", "softer")
    settle(page)
    assert "the stuff here is more confident" in page.inner_text("#why")
    assert page.inner_text("#why p") == "Column 31, row 9: sky."
    page.locator("#margin").fill("0.2")
    settle(page)
    assert "B bus, score 0.84: gets the pixel" in page.inner_text("#why")


def test_quality_by_keyboard_alone(opened):
    page = opened("quality")
    start = {name: bar(page, name) for name in ("PQ", "mIoU", "AP")}
    page.focus("#prediction")
    for _ in range(2):
        page.keyboard.press("ArrowLeft")  # car 2, to where it matches
    assert bar(page, "PQ") > start["PQ"] + 4
    page.keyboard.press("PageUp")
    assert page.evaluate("quality.state.chosen") == 6
    page.keyboard.press("Delete")
    assert page.evaluate("quality.state.segments.length") == 8
    assert bar(page, "AP") < start["AP"]
    page.focus("#undo")
    page.keyboard.press("Enter")
    assert page.evaluate("quality.state.segments.length") == 9
    page.focus("#start")
    page.keyboard.press("Enter")
    assert {name: bar(page, name) for name in start} == start


def test_segments_are_moved_grown_split_and_relabeled_by_the_mouse(opened):
    page = opened("quality")
    box = page.locator("#prediction").bounding_box()
    side = box["width"] / 48
    page.mouse.move(box["x"] + 35.5 * side, box["y"] + 12.5 * side)  # on the bus
    page.mouse.down()
    page.mouse.move(box["x"] + 25.5 * side, box["y"] + 12.5 * side, steps=5)
    page.mouse.up()
    settle(page)
    assert page.evaluate("[quality.state.chosen, quality.state.segments[5].dx]") == [5, -10]
    assert "false positive" in page.inner_text("#pairs")
    page.click("#undo")
    settle(page)
    assert page.evaluate("quality.state.segments[5].dx") == 0
    page.click("[data-grow='1']")
    page.click("#split")
    page.select_option("#label", "tree")
    settle(page)
    names = page.evaluate("quality.state.segments.map(s => s.name)")
    assert names.count("tree") == 1
    assert len(names) == 10
    page.select_option("#true-chosen", label="bus")
    page.select_option("#status", "void")
    settle(page)
    assert "bus" not in page.locator("#pairs tbody tr:first-child th").inner_text()
    assert "ignored" in page.inner_text("#pairs")


def test_a_cut_is_drawn_by_the_mouse_and_chosen_by_the_keyboard(opened):
    page = opened("quality")
    box = page.locator("#prediction").bounding_box()
    side = box["width"] / 48

    def draw(start, end):
        page.click("#draw")
        page.mouse.move(box["x"] + start[0] * side, box["y"] + start[1] * side)
        page.mouse.down()
        page.mouse.move(box["x"] + end[0] * side, box["y"] + end[1] * side, steps=4)
        page.mouse.up()
        settle(page)

    draw((27, 18), (43, 11))  # across the bus, from the road to the sign
    assert page.evaluate("quality.state.segments.map(s => s.name)").count("bus") == 2
    assert page.evaluate("quality.state.segments[5].cuts") == [[0, 27, 18, 43, 11, 0]]
    assert page.get_attribute("#draw", "aria-pressed") == "false"
    page.click("#undo")
    draw((5, 0.3), (40, 0.3))  # along the upper edge
    assert "Nothing was cut" in page.inner_text("#cut-words")
    assert page.evaluate("quality.state.segments.length") == 9
    page.select_option("#chosen", label="bus")
    picture = "document.getElementById('prediction').toDataURL()"
    before = page.evaluate(picture)
    page.focus("#angle")
    for _ in range(6):
        page.keyboard.press("ArrowLeft")
    settle(page)
    assert page.inner_text("#angle-out") == "60°"
    assert page.evaluate(picture) != before  # the line is shown
    page.focus("#split")
    page.keyboard.press("Enter")
    settle(page)
    assert page.evaluate("quality.state.segments.length") == 10


def test_a_true_segment_is_chosen_by_a_click_even_where_it_is_void(opened):
    page = opened("quality")
    box = page.locator("#truth").bounding_box()
    side = box["width"] / 48
    page.mouse.click(box["x"] + 42.5 * side, box["y"] + 6.5 * side)
    settle(page)
    assert page.input_value("#status") == "void"
    page.select_option("#status", "normal")
    settle(page)
    assert "sign" in page.inner_text("#pairs")
    page.focus("#truth")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("quality.state.trueChosen") == 5


def test_the_scores_shown_are_those_computed(opened):
    page = opened("quality")
    shown = page.evaluate(AP)
    assert bar(page, "AP") == pytest.approx(shown, abs=0.051)
    assert "PQ = (0.66) / (1 + ½·1 + ½·1) = 33.2 %" in page.inner_text("#formula")


def test_the_proof_stands_until_one_of_its_conditions_goes(opened):
    page = opened("quality")
    words = page.locator("#proof-words")
    page.click("#search")
    settle(page)
    assert "At most one matches, whatever you do" in words.inner_text()
    assert words.inner_text().count("0.50") >= 2
    page.locator("#limit").fill("0.4")
    settle(page)
    assert "Broken: both match, because less than half of T is enough" in words.inner_text()
    page.locator("#limit").fill("0.6")
    page.check("#overlapping")
    page.click("#search")
    settle(page)
    assert "Broken: both match, because A and B may cover the same" in words.inner_text()


@pytest.mark.parametrize(
    ("name", "change", "part"),
    [
        ("merging", lambda page: page.locator("#overlap").fill("0.95"), "overlap=0.95"),
        ("merging", lambda page: page.select_option("#class-C", "bus"), "C=9.18.17.11.bus.71"),
        ("quality", lambda page: page.click("#delete"), "p="),
        ("quality", lambda page: page.check("#overlapping"), "overlapping=yes"),
    ],
)
def test_the_address_holds_what_the_page_shows(opened, name, change, part):
    page = opened(name)
    change(page)
    page.wait_for_function("part => location.hash.includes(part)", arg=part)
    again = opened(name, "#" + page.url.partition("#")[2])
    for canvas in page.locator("canvas").all():
        id = canvas.get_attribute("id")
        picture = "id => document.getElementById(id).toDataURL()"
        assert again.evaluate(picture, id) == page.evaluate(picture, id)


@pytest.mark.parametrize("name", NAMES)
def test_the_link_is_copied_with_all_that_is_shown(browser, name):
    control, value, part = {
        "merging": ("#score", "0.8", "score=0.8"),
        "quality": ("#limit", "0.7", "limit=0.7"),
        "surfaces": ("#x", "2", "x=2"),
    }[name]
    page = browser.new_page(viewport=DESK)
    with served(ROOT / "docs") as address:
        page.goto(f"{address}{name}.html")
        # The clipboard itself belongs to whatever else runs on this machine.
        page.evaluate(
            "() => { navigator.clipboard.writeText = async (text) => (window.copied = text) }"
        )
        page.locator(control).fill(value)
        page.click("#copy")
        page.get_by_text("The link is copied. It leads to a server on this computer").wait_for()
        link = page.evaluate("window.copied")
        assert link == page.url
        assert part in link
        page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject() }")
        page.click("#copy")
        page.get_by_text("The browser does not let the page copy").wait_for()
        assert page.get_attribute("#copied a", "href") == link
    page.close()


@pytest.mark.parametrize("name", NAMES)
def test_the_modules_run_as_they_are_from_a_server(browser, name):
    page = browser.new_page(viewport=DESK)
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    with served(ROOT / "web") as address:
        page.goto(f"{address}{name}/index.html")
        page.wait_for_function("name => globalThis[name] !== undefined", arg=name)
    assert errors == []
    page.close()
