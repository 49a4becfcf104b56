"""The page of loss surfaces, read as text and used in a headless browser."""

import json
import re
from pathlib import Path

import pytest
import torch

from pfpn.plot.surface import LOSSES, TRUTHS, loss_at, value_and_gradient

ROOT = Path(__file__).resolve().parents[2]
STORED = ROOT / "docs" / "surfaces.html"
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
    assert len(PAGE) < 60_000


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
    page.set_default_timeout(20_000)
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


def state(page):
    settle(page)
    return page.evaluate("({...surfaces.state})")


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
    pictures = [picture(page, "solid")]
    box = page.locator("#solid").bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 150)
    page.mouse.down()
    page.mouse.move(box["x"] + 260, box["y"] + 170, steps=4)
    page.mouse.up()
    pictures.append(picture(page, "solid"))
    page.focus("#solid")
    page.keyboard.press("ArrowRight")
    pictures.append(picture(page, "solid"))
    page.click("[aria-label='See more from above']")
    pictures.append(picture(page, "solid"))
    assert len(set(pictures)) == 4
    page.focus("#solid")
    page.keyboard.press("Home")
    assert picture(page, "solid") == pictures[0]


def test_the_point_follows_a_touch(browser):
    context = browser.new_context(viewport={"width": 400, "height": 800}, has_touch=True)
    page = context.new_page()
    page.goto(STORED.as_uri())
    before = picture(page, "map")
    page.touchscreen.tap(150, page.locator("#map").bounding_box()["y"] % 800)
    page.locator("#map").scroll_into_view_if_needed()
    box = page.locator("#map").bounding_box()
    page.touchscreen.tap(box["x"] + 120, box["y"] + 90)
    assert picture(page, "map") != before
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()


def test_the_point_follows_the_mouse_the_keys_and_the_sliders(page):
    box = page.locator("#map").bounding_box()
    side = min(box["width"] - 58, box["height"] - 58)
    page.mouse.click(box["x"] + 44 + side / 2, box["y"] + 14 + side / 4)
    moved = state(page)
    assert moved["x"] == pytest.approx(0, abs=0.05)
    assert moved["y"] == pytest.approx(1.5, abs=0.05)
    page.focus("#map")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowUp")
    assert state(page)["x"] == pytest.approx(moved["x"] - 0.1)
    assert state(page)["y"] == pytest.approx(moved["y"] + 0.1)
    page.locator("#x").fill("2")
    assert state(page)["x"] == 2
    page.click("#home")
    assert (state(page)["x"], state(page)["y"]) == (1.5, -0.8)


def test_the_reading_is_written_for_every_truth_and_loss(page):
    for truth in TRUTHS:
        text = "".join(map(str, truth))
        page.select_option("#truth", text)
        for loss in LOSSES:
            page.select_option("#loss", loss)
            settle(page)
            value = float(loss_at(loss, torch.tensor([1.5, -0.8], dtype=torch.float64), truth))
            assert page.inner_text("#reading").split("\n")[1] == f"{value:.3f}"
            label = page.get_attribute("#solid", "aria-label")
            assert LOSSES[loss][0] in label
            assert f"truth {text}: {value:.3f} at scores (1.50, -0.80)" in label
    assert page.locator("#loss option").all_inner_texts() == [title for title, _, _ in
                                                              LOSSES.values()]  # fmt: skip


def test_a_step_downhill_is_half_a_gradient(page):
    before = state(page)
    page.click("#step")
    after = state(page)
    point = torch.tensor([before["x"], before["y"]], dtype=torch.float64)
    _, gradient = value_and_gradient("lovasz_hinge", point, (0, 1))
    assert [after["x"], after["y"]] == pytest.approx((point - gradient / 2).tolist(), abs=1e-3)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1200])
def test_the_page_is_drawn_in_light_and_dark_on_wide_and_narrow_screens(browser, scheme, width):
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.goto(STORED.as_uri())
    settle(page)
    assert page.evaluate(SHADES, "solid") > 100
    assert page.evaluate(SHADES, "map") > 100
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    ground = json.loads(page.evaluate(
        "JSON.stringify(getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number))"
    ))  # fmt: skip
    assert (sum(ground) > 600) == (scheme == "light")
    page.close()
