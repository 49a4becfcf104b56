"""The book in a real browser: without a network, on a phone, in the dark, by keyboard."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browsing import axe_findings, served

PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}
PATIENCE = 60_000  # milliseconds, for a machine that is busy with other things
SETTLED = "() => window.MathJax?.startup?.promise?.then(() => true) ?? true"
# Pages that compute have tests of their own.
OPEN_FOLDS = (
    "() => document.querySelectorAll('details.hide').forEach(fold => { fold.open = true; })"
)
# One page of each kind; `make test-long` tries all.
KINDS = (
    "index.html", "start.html", "notebooks/10_panoptic_quality.html", "docs/losses.html",
    "docs/paper-map.html", "api/index.html", "api/pfpn.merge.html", "search.html?q=merge",
)  # fmt: skip


@pytest.fixture(scope="module")
def address(site) -> Iterator[str]:
    """Where the site is served on this machine."""
    with served(site) as found:
        yield found


@pytest.fixture
def open_page(browser, address, request) -> Iterator[Any]:
    """Open a page of the site where nothing else can be reached; faults are collected."""
    contexts = []

    def start(size: dict[str, int], scheme: str = "light") -> tuple[Page, list[str]]:
        context = browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce")
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page, faults = context.new_page(), []

        def only_from_here(route: Any) -> None:
            if route.request.url.startswith(address):
                route.continue_()
            else:
                faults.append(f"{page.url} asks for {route.request.url}")
                route.abort()

        context.route("**/*", only_from_here)
        page.on("pageerror", lambda error: faults.append(f"{page.url}: {error}"))
        page.on(
            "console",
            lambda message: (
                faults.append(f"{page.url}: {message.text} {message.location}")
                if message.type in ("error", "warning")
                else None
            ),
        )
        return page, faults

    yield start
    for context in contexts:
        context.close()


def visit(page: Page, address: str) -> None:
    page.goto(address)
    page.evaluate(SETTLED)


def names(site: Path) -> list[str]:
    found = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))
    return [name for name in found if not name.startswith("pages/")]


def test_every_page_opens_on_a_phone_without_a_network_or_an_error(site, address, open_page):
    page, faults = open_page(PHONE)
    wide = []
    for name in names(site):
        visit(page, address + name)
        width = page.evaluate("() => document.documentElement.scrollWidth")
        if width > PHONE["width"]:
            wide.append(f"{name}: {width} pixels")
    assert faults == []
    assert wide == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_a_page_of_each_kind(address, open_page, scheme):
    page, _ = open_page(DESK, scheme)
    found = []
    for name in KINDS:
        visit(page, address + name)
        page.evaluate(OPEN_FOLDS)
        found += [f"{name}: {finding}" for finding in axe_findings(page)]
    assert found == []


@pytest.mark.long
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_axe_finds_nothing_serious_on_any_page(site, address, open_page, scheme, size):
    page, _ = open_page(size, scheme)
    found = []
    for name in names(site):
        visit(page, address + name)
        page.evaluate(OPEN_FOLDS)
        found += [f"{name}: {finding}" for finding in axe_findings(page)]
    assert found == []


def test_axe_would_see_a_fault(address, open_page):
    page, _ = open_page(DESK)
    visit(page, address + "start.html")
    page.evaluate("() => document.body.append(new Image())")
    assert any("image-alt" in finding for finding in axe_findings(page))


def test_the_search_finds_a_chapter(address, open_page):
    page, faults = open_page(DESK)
    visit(page, address + "index.html")
    page.get_by_role("textbox", name="Search").fill("submodular")
    page.keyboard.press("Enter")
    results = page.locator("ul.search li a")
    expect(results.filter(has_text="06 A loss for sets").first).to_be_visible()
    assert faults == []


def test_the_search_shows_the_same_excerpts_without_a_server(site, address, browser):
    found = []
    for start in (address, f"{site.as_uri()}/"):
        page = browser.new_page()
        errors = []
        page.on("console", lambda message, errors=errors: errors.append(message.text))
        page.goto(f"{start}search.html?q=submodular")
        page.wait_for_function(
            """() => {
                const said = document.querySelector("#search-results").textContent;
                const excerpts = document.querySelectorAll("ul.search p.context").length;
                return Number(said.match(/found (\\d+) page/)?.[1]) === excerpts;
            }""",
            timeout=PATIENCE,
        )
        results = page.locator("ul.search li").all_inner_texts()
        found.append([" ".join(result.split()) for result in results])
        assert errors == []
        page.close()
    assert len(found[0]) > 3
    assert found[0] == found[1]


def test_a_question_is_answered_by_keyboard(address, open_page):
    page, _ = open_page(DESK)
    visit(page, address + "notebooks/10_panoptic_quality.html")
    answer = page.get_by_text("It is:").first
    expect(answer).to_be_hidden()
    fold = page.locator("details", has=page.get_by_text("It is:")).first.locator("summary")
    fold.focus()
    page.keyboard.press("Enter")
    expect(answer).to_be_visible()


def test_menus_on_a_phone_open_by_keyboard(address, open_page):
    page, _ = open_page(PHONE)
    visit(page, address + "docs/losses.html")
    chapter = page.get_by_role("link", name="06 A loss for sets").first
    expect(chapter).not_to_be_in_viewport()
    reach(page, "Open the chapters")
    page.keyboard.press("Enter")
    expect(chapter).to_be_in_viewport()


def test_the_theme_is_switched_by_keyboard(address, open_page):
    page, _ = open_page(DESK)
    visit(page, address + "docs/losses.html")
    before = page.evaluate("() => document.body.dataset.theme")
    reach(page, "Toggle Light / Dark / Auto color theme", most=80)  # after the list of pages
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.body.dataset.theme") != before


def reach(page: Page, name: str, most: int = 12) -> None:
    """Press Tab until the control of that name has the focus."""
    for _ in range(most):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            "() => document.activeElement.ariaLabel || document.activeElement.textContent.trim()"
        )
        if focused == name:
            return
    pytest.fail(f"{name!r} is not among the first {most} controls that Tab reaches")


def test_what_scrolls_by_itself_has_a_name_and_the_focus(address, open_page):
    page, _ = open_page(PHONE)
    visit(page, address + "notebooks/10_panoptic_quality.html")
    page.wait_for_function("() => document.querySelector('pre[tabindex]')")
    bare = page.evaluate(
        """() => [...document.querySelectorAll("pre, .table-wrapper, mjx-container")]
            .filter(part => part.scrollWidth > part.clientWidth + 1 && part.clientWidth > 0)
            .filter(part => ["auto", "scroll"].includes(getComputedStyle(part).overflowX))
            .filter(part => part.tabIndex !== 0 || !part.ariaLabel).length"""
    )
    assert bare == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_that_computes_opens_within_its_chapter(site, address, open_page, scheme):
    page, faults = open_page(DESK, scheme)
    visit(page, address + "notebooks/07_loss_surfaces.html")
    fold = page.locator("details.computing").first
    fold.locator("summary").click()
    frame = fold.frame_locator("iframe")
    expect(frame.locator("canvas").first).to_be_visible()
    assert faults == []


def test_a_page_in_a_frame_follows_the_switch_of_the_book(address, open_page):
    page, faults = open_page(DESK, "light")
    page.add_init_script("localStorage.setItem('theme', 'dark')")
    visit(page, address + "notebooks/10_panoptic_quality.html")
    fold = page.locator("details.computing").first
    fold.locator("summary").click()
    root = fold.frame_locator("iframe").locator("html")
    expect(root).to_have_attribute("data-theme", "dark")
    color = "element => getComputedStyle(element.querySelector('body')).backgroundColor"
    dark = root.evaluate(color)
    page.evaluate("() => { document.body.dataset.theme = 'light' }")  # as the switch does
    expect(root).to_have_attribute("data-theme", "light")
    assert root.evaluate(color) == "rgb(255, 255, 255)"
    page.evaluate("() => { document.body.dataset.theme = 'auto' }")
    expect(root).to_have_attribute("data-theme", "auto")
    assert root.evaluate(color) == "rgb(255, 255, 255)"
    page.emulate_media(color_scheme="dark")
    assert root.evaluate(color) == dark != "rgb(255, 255, 255)"
    expect(fold.frame_locator("iframe").locator("nav.book")).to_be_hidden()
    assert faults == []


def test_a_page_that_computes_leads_into_the_book(address, open_page):
    page, faults = open_page(PHONE)
    for name in ("merging", "quality", "surfaces"):
        visit(page, address + f"pages/{name}/index.html")
        assert axe_findings(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        page.locator("nav.book a").last.click()
        expect(page.locator("article h1")).to_be_visible()
        assert "/notebooks/" in page.url
    assert faults == []
