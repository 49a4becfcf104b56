"""The page of loss surfaces, read as text and used in a headless browser."""

import json
import re
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch

from pfpn.course.ch07_surfaces.descents import descend
from pfpn.course.ch07_surfaces.simplex import SIMPLEX_LOSSES, evaluate_simplex, second_pixel
from pfpn.plot.surface import LOSSES, TRUTHS, loss_at, value_and_gradient

ROOT = Path(__file__).resolve().parents[2]
STORED = ROOT / "docs" / "surfaces.html"
START = torch.tensor([[1.5, -0.8]], dtype=torch.float64)  # where the page opens
SHADES = """(id) => {
    const canvas = document.getElementById(id);
    const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    const shades = new Set();
    for (let i = 0; i < data.length; i += 4) {
        if (data[i + 3]) shades.add(data.slice(i, i + 3).join());
    }
    return shades.size;
}"""


PAGE = STORED.read_text(encoding="utf-8")


def test_the_page_needs_nothing_from_elsewhere():
    assert not re.search(r"https?:|//cdn|@import|<link(?! rel=\"icon\" href=\"data:)", PAGE)
    assert not re.search(r"<(script|img|iframe)[^>]* src", PAGE)
    assert len(PAGE) < 80_000


def test_the_page_can_be_used_without_eyes_or_a_mouse():
    assert '<html lang="en">' in PAGE
    assert "<noscript>" in PAGE
    for knob in ("x", "y"):
        assert f'<label for="{knob}">' in PAGE
    for canvas in re.findall(r"<canvas[^>]*>", PAGE):
        assert 'tabindex="0"' in canvas
        assert 'role="img"' in canvas
        described = re.search(r'aria-describedby="([^"]+)"', canvas)
        assert described
        assert f'id="{described[1]}"' in PAGE
    for button in re.findall(r"<button[^>]*>&#", PAGE):
        assert "aria-label" in button


@pytest.fixture
def page(browser):
    """The stored page, with a record of all messages in its console and all that it requests."""
    page = browser.new_page(viewport={"width": 1000, "height": 900})
    page.set_default_timeout(60_000)
    page.messages, page.requests = [], []
    page.on("console", lambda message: page.messages.append(message.text))
    page.on("pageerror", lambda error: page.messages.append(str(error)))
    page.on("request", lambda request: page.requests.append(request.url))
    page.goto(STORED.as_uri())
    settle(page)
    yield page
    assert page.messages == []
    assert all(url.startswith(("file:", "data:")) for url in page.requests), page.requests
    page.close()


def settle(page):
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def picture(page, canvas):
    settle(page)
    return page.evaluate("id => document.getElementById(id).toDataURL()", canvas)


def point(page, index=0):
    settle(page)
    return page.evaluate("index => surfaces.pointOf(index)", index)


def numbers(page):
    """The table beside the pictures: a list of cells for each name."""
    settle(page)
    rows = [row.split("\t") for row in page.inner_text("#reading").split("\n")]
    return {row[0]: row[1:] for row in rows}


def test_the_browser_computes_what_python_computes(page):
    points = 4 * torch.randn(60, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for loss in LOSSES:
        for truth in TRUTHS:
            results = page.evaluate(
                "([loss, truth, points]) => points.map(p => surfaces.evaluate(loss, truth, p))",
                [loss, list(truth), points.tolist()],
            )
            value, gradient = value_and_gradient(loss, points, truth)
            values = torch.tensor([read["value"] for read in results], dtype=torch.float64)
            slopes = torch.tensor([read["gradient"] for read in results], dtype=torch.float64)
            torch.testing.assert_close(values, value, atol=1e-12, rtol=1e-12)
            torch.testing.assert_close(slopes, gradient, atol=1e-12, rtol=1e-12)


def test_turning_changes_the_picture_by_mouse_keyboard_and_button(page):
    pictures = [picture(page, "solid1")]
    box = page.locator("#solid1").bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 150)
    page.mouse.down()
    page.mouse.move(box["x"] + 260, box["y"] + 170, steps=4)
    page.mouse.up()
    pictures.append(picture(page, "solid1"))
    page.focus("#solid1")
    page.keyboard.press("ArrowRight")
    pictures.append(picture(page, "solid1"))
    page.click("[aria-label='See more from above']")
    pictures.append(picture(page, "solid1"))
    assert len(set(pictures)) == 4
    page.focus("#solid1")
    page.keyboard.press("Home")
    assert picture(page, "solid1") == pictures[0]


def test_the_point_follows_a_touch(browser):
    context = browser.new_context(viewport={"width": 400, "height": 800}, has_touch=True)
    page = context.new_page()
    page.goto(STORED.as_uri())
    before = picture(page, "map1")
    page.touchscreen.tap(150, page.locator("#map1").bounding_box()["y"] % 800)
    page.locator("#map1").scroll_into_view_if_needed()
    box = page.locator("#map1").bounding_box()
    page.touchscreen.tap(box["x"] + 120, box["y"] + 90)
    assert picture(page, "map1") != before
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()


def test_the_point_follows_the_mouse_the_keys_and_the_sliders(page):
    box = page.locator("#map1").bounding_box()
    side = min(box["width"] - 58, box["height"] - 58)
    page.mouse.click(box["x"] + 44 + side / 2, box["y"] + 14 + side / 4)
    x, y = point(page)
    assert x == pytest.approx(0, abs=0.05)
    assert y == pytest.approx(1.5, abs=0.05)
    page.focus("#map1")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowUp")
    assert point(page) == pytest.approx([x - 0.1, y + 0.1])
    page.locator("#x").fill("2")
    assert point(page) == pytest.approx([2, y + 0.1])
    page.click("#back")
    assert point(page) == [1.5, -0.8]


def test_the_reading_is_written_for_every_truth_and_loss(page):
    for truth in TRUTHS:
        text = "".join(map(str, truth))
        page.select_option("#truth", text)
        for loss in LOSSES:
            page.select_option("#loss", loss)
            value = float(loss_at(loss, torch.tensor([1.5, -0.8], dtype=torch.float64), truth))
            assert numbers(page)["loss"] == [f"{value:.3f}"]
            label = page.get_attribute("#solid1", "aria-label")
            assert LOSSES[loss][0] in label
            assert f"truth {text}: {value:.3f} at scores (1.50, -0.80)" in label
    titles = page.locator("#loss option").all_inner_texts()
    assert titles[: len(LOSSES)] == [title for title, _, _ in LOSSES.values()]
    assert page.locator("#second option").all_inner_texts() == ["none", *titles]


def test_a_step_downhill_is_half_a_gradient(page):
    before = torch.tensor(point(page), dtype=torch.float64)
    page.click("#step")
    _, gradient = value_and_gradient("lovasz_hinge", before, (0, 1))
    assert point(page) == pytest.approx((before - gradient / 2).tolist())
    assert numbers(page)["steps"] == ["1"]
    page.click("#back")
    assert point(page) == before.tolist()
    assert "steps" not in numbers(page)


def test_playing_draws_a_trail_until_the_point_arrives(page):
    before = picture(page, "map1")
    page.click("#play")
    page.wait_for_function("document.getElementById('play').textContent === 'Play'")
    path = descend("lovasz_hinge", START, "SGD, rate 0.5")
    trail = page.evaluate("surfaces.trailOf(0)")
    assert trail == pytest.approx(path.points[: len(trail), 0])
    assert numbers(page)["gradient"] == ["(0.000, 0.000)"]
    assert numbers(page)["both right"] == [f"from step {path.arrivals[0]:g}"]
    assert picture(page, "map1") != before


def test_playing_can_be_paused(page):
    page.select_option("#loss", "cross_entropy")
    page.click("#play")
    page.wait_for_function("surfaces.trailOf(0).length > 2")
    page.click("#play")
    num = page.evaluate("surfaces.trailOf(0).length")
    page.wait_for_timeout(200)
    assert page.evaluate("surfaces.trailOf(0).length") == num


def test_who_wants_no_motion_gets_all_steps_at_once(browser):
    page = browser.new_page(reduced_motion="reduce")
    page.goto(f"{STORED.as_uri()}#loss=cross_entropy&reach=6")
    page.click("#play")
    assert page.evaluate("surfaces.trailOf(0).length") == 101
    page.close()


def test_two_losses_run_side_by_side_from_one_point(page):
    assert not page.is_visible("#map2")
    page.select_option("#second", "lovasz_softmax_present")
    page.select_option("#reach", "6")
    page.select_option("#rate", "2")
    for _ in range(3):
        page.click("#step")
    settle(page)
    left, right = (page.locator(f"#map{num}").bounding_box() for num in (1, 2))
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] < right["x"]
    read = numbers(page)
    assert read[""] == ["Lovász hinge", "Lovász-Softmax, default"]
    assert read["steps"] == ["3", "3"]
    expected = descend("lovasz_hinge", START, "SGD, rate 2", max_steps=3).points[-1, 0]
    assert point(page) == pytest.approx(expected.tolist())
    assert point(page, 1) != point(page)
    assert page.evaluate("[0, 1].map(i => surfaces.trailOf(i)[0])") == [[1.5, -0.8]] * 2
    assert "Lovász-Softmax, default" in page.get_attribute("#map2", "aria-label")


def test_a_wider_reach_shows_the_plateaus(page):
    page.select_option("#loss", "lovasz_softmax")
    page.select_option("#reach", "6")
    page.locator("#x").fill("6")
    page.locator("#y").fill("-6")
    read = numbers(page)
    assert read["loss"] == ["0.998"]
    assert float(read["slope"][0]) < 0.01
    page.select_option("#reach", "3")
    assert point(page) == [3, -3]


def test_the_numbers_stand_beside_the_map_on_a_small_laptop(browser):
    for hash, box in (("", ".reading"), ("#second=dice", "#reading")):
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(STORED.as_uri() + hash)
        for _ in range(2):
            page.click("#step")
        settle(page)
        canvas, beside = (page.locator(name).bounding_box() for name in ("#map1", box))
        assert beside["x"] > canvas["x"] + canvas["width"]
        assert beside["y"] + beside["height"] <= 900
        page.close()


def test_the_address_holds_what_the_page_shows(page, browser):
    page.select_option("#truth", "10")
    page.select_option("#second", "dice")
    page.select_option("#reach", "6")
    page.select_option("#optimizer", "adam")
    page.locator("#x").fill("-4.5")
    page.click("[aria-label='Turn left']")
    page.wait_for_function("location.hash.includes('yaw=290')")
    again = browser.new_page(viewport={"width": 1000, "height": 900})
    again.goto(page.url)
    assert again.evaluate("surfaces.state") == page.evaluate("surfaces.state")
    assert picture(again, "solid1") == picture(page, "solid1")
    settings = {"truth": "10", "second": "dice", "reach": "6", "optimizer": "adam", "x": "-4.5"}
    assert {id: again.input_value(f"#{id}") for id in settings} == settings
    again.evaluate("location.hash = 'truth=11&loss=hinge'")
    again.wait_for_function("surfaces.state.truth === '11'")
    assert again.input_value("#loss") == "hinge"
    again.close()


def test_many_pixels_move_by_their_kind(page):
    page.select_option("#pixels", "rare")
    page.locator("#x").fill("-2")
    page.locator("#y").fill("2")
    read = numbers(page)
    offsets = [1.5 * ((2 * i + 1) / n - 1) for n in (3, 21) for i in range(n)]
    truth = [1] * 3 + [0] * 21
    scores = [o + (-2 if label else 2) for o, label in zip(offsets, truth, strict=True)]
    point = torch.tensor(scores, dtype=torch.float64)
    value, gradient = value_and_gradient("lovasz_hinge", point, truth)
    assert read["loss"] == [f"{float(value):.3f}"]
    slopes = float(gradient[:3].sum()), float(gradient[3:].sum())
    assert read["gradient"] == [f"({slopes[0]:.3f}, {slopes[1]:.3f})"]
    assert read["wrong pixels"] == [
        str(sum((s > 0) != t for s, t in zip(scores, truth, strict=True)))
    ]
    assert page.is_disabled("#truth")
    assert page.inner_text("#x-name") == "Scores of all foreground"
    assert "24 pixels, 3 of them foreground" in page.get_attribute("#map1", "aria-label")
    before = picture(page, "map1")
    page.select_option("#pixels", "half")
    assert picture(page, "map1") != before


def test_the_triangle_follows_the_mouse_the_keys_and_the_slider(page):
    page.locator("#triangle").scroll_into_view_if_needed()
    box = page.locator("#triangle").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] - 26)
    settle(page)
    state = page.evaluate("surfaces.state")
    assert (state["pa"], state["pb"]) == pytest.approx((0, 0.5), abs=0.02)
    page.focus("#triangle")
    page.keyboard.press("Home")
    page.locator("#sure").fill("0.8")
    settle(page)
    first, second = torch.tensor([[0.4, 0.6, 0.0]], dtype=torch.float64), second_pixel(0.8)
    text = page.inner_text("#simplex-table")
    for loss, title in SIMPLEX_LOSSES.items():
        value = float(evaluate_simplex(loss, first, second))
        assert f"{title}\t{value:.3f}" in text
    pictures = set()
    for loss in SIMPLEX_LOSSES:
        page.select_option("#simplex", loss)
        pictures.add(picture(page, "triangle"))
        assert SIMPLEX_LOSSES[loss] in page.get_attribute("#triangle", "aria-label")
    assert len(pictures) == 4
    page.keyboard.press("Tab")
    page.focus("#triangle")
    page.keyboard.press("ArrowUp")
    settle(page)
    assert page.evaluate("surfaces.state.pa") == pytest.approx(0.45)


def test_the_tour_leads_through_six_states_of_the_page(page):
    page.click("#tour")
    titles, addresses = [], []
    for number in range(1, 7):
        settle(page)
        titles.append(page.inner_text("#stop-title"))
        assert titles[-1].startswith(f"{number} of 6: ")
        assert len(page.inner_text("#stop-text")) > 60
        assert page.evaluate("document.activeElement.id") == "stop-title"
        addresses.append(page.url)
        if number < 6:
            page.click("#stop-next")
    assert len(set(titles)) == len(set(addresses)) == 6
    assert page.is_disabled("#stop-next")
    assert page.locator("#triangle").bounding_box()["y"] < 900
    page.click("#stop-back")
    settle(page)
    assert page.evaluate("surfaces.state.pixels") == "rare"
    page.click("#stop-end")
    assert not page.is_visible("#stop")


@pytest.mark.parametrize(
    "hash", ["#truth=22&loss=x&x=1e9&yaw=&rate=3&more=1", "#%", "#x=NaN&pitch=0"]
)
def test_an_address_that_makes_no_sense_opens_the_page_as_it_starts(page, hash):
    start = page.evaluate("surfaces.state")
    page.goto("about:blank")
    page.goto(STORED.as_uri() + hash)
    assert page.evaluate("surfaces.state") == start


def test_the_modules_run_as_they_are_from_a_server(browser):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=ROOT / "web"))
    Thread(target=server.serve_forever, daemon=True).start()
    page = browser.new_page(viewport={"width": 1000, "height": 900})
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"http://127.0.0.1:{server.server_port}/surfaces/index.html#loss=dice")
    page.wait_for_function("globalThis.surfaces?.state.loss === 'dice'")
    stored = browser.new_page(viewport={"width": 1000, "height": 900})
    stored.goto(f"{STORED.as_uri()}#loss=dice")
    assert picture(page, "solid1") == picture(stored, "solid1")
    assert errors == []
    for each in (page, stored):
        each.close()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1200])
def test_the_page_is_drawn_in_light_and_dark_on_wide_and_narrow_screens(browser, scheme, width):
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.goto(STORED.as_uri())
    settle(page)
    assert page.evaluate(SHADES, "solid1") > 100
    assert page.evaluate(SHADES, "map1") > 100
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    ground = json.loads(page.evaluate(
        "JSON.stringify(getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number))"
    ))  # fmt: skip
    assert (sum(ground) > 600) == (scheme == "light")
    page.close()
