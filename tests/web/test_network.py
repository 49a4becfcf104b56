"""The page of the network in a headless browser: it computes what Python does, and can be used."""

import gzip
import importlib.util
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import config as jaxtyping_config

pytest.importorskip("onnx", reason="an extra: pip install 'pfpn[export]'")
pytest.importorskip("onnxscript", reason="an extra: pip install 'pfpn[export]'")
pytest.importorskip("onnxruntime", reason="an extra: pip install 'pfpn[export]'")

from pfpn.data.toy import ToyStreet
from pfpn.engine.checkpoint import load_weights
from pfpn.predict import predict
from pfpn.quality import PanopticQuality
from pfpn.shipped import TOY_WEIGHTS, shipped
from tests.browsing import axe_findings, served

ROOT = Path(__file__).resolve().parents[2]
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
FIRST_LOAD = 12_000_000  # bytes, compressed
PIXELS = 1e-4  # that may differ from Python's map
NETWORK_MS, SLIDER_MS, READY_MS = 500, 50, 4000  # by benchmarks/browser.py on a quiet machine


@pytest.fixture(scope="module")
def builder():
    spec = importlib.util.spec_from_file_location("build_network", ROOT / "web/network/build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def built(builder, tmp_path_factory) -> Path:
    """The folder that the page needs; skips where npm cannot fetch ONNX Runtime."""
    folder = tmp_path_factory.mktemp("site") / "network"
    jaxtyping_config.update("jaxtyping_disable", True)  # see tests/test_export.py
    try:
        builder.build(folder)
    except builder.MissingError as error:
        pytest.skip(str(error))
    finally:
        jaxtyping_config.update("jaxtyping_disable", False)
    return folder


@pytest.fixture(scope="module")
def address(built):
    with served(built) as address:
        yield address


@pytest.fixture
def opened(browser, address):
    """Open the page at a state; at the end the console is empty and nothing came from elsewhere."""
    pages = []

    def start(hash="", size=DESK, scheme="light"):
        page = browser.new_page(viewport=size, color_scheme=scheme)
        page.set_default_timeout(60_000)
        page.faults = []
        page.on("console", lambda message: page.faults.append(message.text))
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        page.on("request", lambda request: page.faults.append(request.url))
        page.goto(address + "index.html" + hash)
        settle(page)
        page.own = (address, "data:", "blob:")
        pages.append(page)
        return page

    yield start
    for page in pages:
        assert [fault for fault in page.faults if not fault.startswith(page.own)] == []
        page.close()


def settle(page):
    """Wait until the network has answered and the page is painted."""
    page.wait_for_function("() => document.documentElement.dataset.runs && pageState().merged")
    page.wait_for_timeout(60)
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def after_run(page, act):
    """Do something that makes the network run again, and wait for its answer."""
    runs = page.evaluate("document.documentElement.dataset.runs")
    act()
    page.wait_for_function(f"() => document.documentElement.dataset.runs !== '{runs}'")
    settle(page)


def visit(page, hash):
    page.evaluate("hash => { location.hash = hash }", hash)
    settle(page)


# held against Python ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained():
    return load_weights(shipped(TOY_WEIGHTS))


def test_the_maps_of_20_streets_are_those_of_predict(opened, builder, trained):
    page = opened("#street=0")
    streets = ToyStreet(builder.NUM_STREETS, builder.SEED, first=builder.FIRST)
    differing = total = 0
    for number in range(builder.NUM_STREETS):
        if number:
            after_run(page, lambda number=number: visit(page, f"#street={number}"))
        found = np.array(page.evaluate("[...pageState().merged.idMap]"))
        sample = streets[number]
        expected = predict(trained.model, [sample.image], trained.predict)[0].panoptic
        differing += int((found != expected.id_map.numpy().ravel()).sum())
        total += len(found)
        pq = page.evaluate("pageState().score.quality.all.pq")
        scores = PanopticQuality(streets.categories)
        scores.update(sample.panoptic, expected)
        assert pq == pytest.approx(scores.compute().all.pq, abs=2e-3)
    assert total == 20 * 128 * 192
    assert differing <= PIXELS * total


def test_a_cell_of_the_pyramid_in_numbers_is_what_the_network_computed(opened):
    page = opened("#part=p3&channel=4")
    for k in (2, 3, 4, 5):
        for x, y, channel in ((0, 0, 0), (100, 60, 7), (191, 127, 31)):
            visit(page, f"#part=p{k}&x={x}&y={y}&channel={channel}")
            assert page.locator("#detail-view .ok").inner_text() == "the same"


def test_what_is_cut_off_changes_the_network_and_comes_back(opened):
    page = opened()
    pq = "pageState().score.quality.all.pq"
    whole = page.evaluate(pq)
    after_run(page, lambda: page.uncheck("#topdown"))
    assert page.evaluate(pq) < whole
    assert page.locator("#arrows path.off").count() == 3
    after_run(page, lambda: page.check("#topdown"))
    assert page.evaluate(pq) == whole
    after_run(page, lambda: page.select_option("#cut", "p3"))
    assert page.evaluate("pageState().result.maps.p3.data.every(v => v === 0)")
    after_run(page, lambda: page.click("#whole"))
    page.select_option("#branch", "stuff")
    settle(page)
    assert page.evaluate("pageState().merged.segments.every(s => !s.isThing)")
    page.select_option("#branch", "instances")
    settle(page)
    assert page.evaluate("pageState().merged.segments.every(s => s.isThing)")


def test_the_softer_rule_is_that_of_predict_and_in_the_address(opened, builder, trained):
    streets = ToyStreet(builder.NUM_STREETS, builder.SEED, first=builder.FIRST)
    rule = "rule=softer&margin=0.01&score=0.05"  # instances with low scores lose pixels
    page = opened(f"#street=8&{rule}")
    differing = changed = total = 0
    for number in (8, 3, 10, 14, 19):
        if number != 8:
            state = f"#street={number}&{rule}"
            after_run(page, lambda state=state: visit(page, state))
        found = np.array(page.evaluate("[...pageState().merged.idMap]"))
        image = streets[number].image
        paper = replace(trained.predict, min_score=0.05)
        softer = replace(paper, softer=True, margin=0.01)
        expected = predict(trained.model, [image], softer)[0]
        strict = predict(trained.model, [image], paper)[0]
        ids, strict_ids = (each.panoptic.id_map.numpy().ravel() for each in (expected, strict))
        differing += int((found != ids).sum())
        changed += int((ids != strict_ids).sum())
        total += len(found)
    assert differing <= PIXELS * total
    assert changed > 10 * PIXELS * total  # else the comparison would see no rule
    page.select_option("#rule", "paper")
    settle(page)
    assert not page.is_visible("#margin")
    page.wait_for_function("() => !location.hash.includes('rule')")


# used --------------------------------------------------------------------------------------------


def test_paint_hides_a_car(opened):
    page = opened("#street=7")
    cars = "pageState().merged.segments.filter(s => s.isThing && s.label === 2).length"
    assert page.evaluate(cars) == 1
    box = page.locator("#street").bounding_box()
    unit = box["width"] / 192

    def paint():
        for y in (61, 67):
            page.mouse.move(box["x"] + 66 * unit, box["y"] + y * unit)
            page.mouse.down()
            page.mouse.move(box["x"] + 78 * unit, box["y"] + y * unit, steps=4)
            page.mouse.up()

    after_run(page, paint)
    page.wait_for_timeout(1500)  # later strokes, and the address
    assert page.evaluate(cars) == 0
    assert "paint=road-" in page.evaluate("location.hash")
    after_run(page, lambda: page.click("#clear"))
    assert page.evaluate(cars) == 1


def test_every_part_opens_and_the_address_holds_it(opened):
    page = opened()
    parts = page.eval_on_selector_all(".node", "nodes => nodes.map(node => node.id.slice(5))")
    assert len(parts) == 17
    for part in parts:
        page.click(f"#node-{part}")
        settle(page)
        assert page.evaluate("pageState().state.part") == part
        assert page.locator("#detail-view canvas").count() >= 1
    for button, part in (("open-quality", "quality"), ("open-merge", "merge")):
        page.click(f"#{button}")
        page.wait_for_timeout(300)
        assert page.evaluate("pageState().state.part") == part
    visit(page, "#part=masks&item=2&score=0.9&step=3")
    state = page.evaluate("pageState().state")
    assert (state["part"], state["item"], state["score"], state["step"]) == ("masks", 2, 0.9, 3)
    visit(page, "#part=none&score=7&street=99&paint=no-1-2-3")
    state = page.evaluate("pageState().state")
    assert (state["part"], state["score"], state["street"], state["paint"]) == ("merge", 0.5, 8, "")


def test_pointing_at_a_pixel_says_who_claimed_it(opened):
    page = opened()
    page.hover("#map", position={"x": 20, "y": 20})
    text = page.inner_text("#claims")
    assert re.search(r"Pixel \(\d+, \d+\): +building", text)
    assert "got it" in text
    page.focus("#map")
    before = page.evaluate("pageState().state.pixel")
    page.keyboard.press("ArrowLeft")
    settle(page)
    assert page.evaluate("pageState().state.pixel") == before - 2


def test_limits_of_merging_move_segments_and_score(opened):
    page = opened()
    page.fill("#score", "1")
    settle(page)
    assert page.evaluate("pageState().merged.segments.filter(s => s.isThing).length") < 9
    page.fill("#area", "4000")
    settle(page)
    assert page.evaluate("pageState().merged.regions.some(r => !r.kept)")


def test_the_tour_has_six_steps_that_show_what_they_say(opened):
    page = opened()
    page.click("#tour")
    seen = []
    for step in range(6):
        settle(page)
        page.wait_for_timeout(400)
        title = page.inner_text("#stop-title")
        assert title.startswith(f"{step + 1} of 6: ")
        seen.append(page.evaluate("pageState().state"))
        if step == 1:
            page.wait_for_timeout(1000)
            label = "s => s.isThing && s.label === 2"  # cars
            hidden = page.evaluate(f"pageState().merged.segments.filter({label}).length")
        if step < 5:
            page.click("#stop-next")
    assert [state["part"] for state in seen] == [
        "merge", "merge", "p3", "proposals", "merge", "merge",
    ]  # fmt: skip
    assert seen[1]["paint"]
    assert hidden == 0
    assert seen[4]["topdown"] == "off"
    page.click("#stop-end")


def test_an_own_picture_goes_through_the_network(opened, built):
    page = opened("#street=2")
    after_run(page, lambda: page.set_input_files("#file", str(built / "streets" / "3.png")))
    assert page.evaluate("pageState().result.instances.length") == 4
    assert "no truth" in page.inner_text("#bars")
    page.set_input_files("#file", str(built / "worker.js"))
    page.wait_for_function(
        "() => document.querySelector('#status').textContent.includes('found no')"
    )
    assert "3.png: it stays on this computer" in page.inner_text("#own")
    after_run(page, lambda: page.click("#gallery button:first-child"))
    assert page.evaluate("pageState().score !== null")
    assert not page.is_visible("#own")


def test_a_copied_link_says_that_it_lacks_an_own_picture(opened, built):
    page = opened("#street=2")
    page.evaluate(
        "() => { navigator.clipboard.writeText = async (text) => (window.copied = text) }"
    )
    after_run(page, lambda: page.set_input_files("#file", str(built / "streets" / "3.png")))
    page.click("#copy")
    page.get_by_text("It cannot hold your own picture: it leads to street 3").wait_for()
    assert page.evaluate("window.copied").endswith("#own=yes")


def test_a_link_that_lacks_an_own_picture_opens_a_street_and_says_so(opened):
    page = opened("#own=yes")
    assert "picture of the sender's own" in page.inner_text("#copied")
    assert page.evaluate("pageState().score !== null")


def test_a_stroke_is_undone_as_one_and_clean_can_be_undone(opened):
    page = opened()
    box = page.locator("#street").bounding_box()
    for y in (30, 60):
        page.mouse.move(box["x"] + 20, box["y"] + y)
        page.mouse.down()
        page.mouse.move(box["x"] + 120, box["y"] + y, steps=6)
        page.mouse.up()
    paint = "pageState().state.paint"
    both = page.evaluate(paint)
    assert len(both.split("_")) > 4
    page.click("#clear")
    assert page.evaluate(paint) == ""
    page.click("#undo")
    assert page.evaluate(paint) == both
    page.click("#undo")
    assert 1 < len(page.evaluate(paint).split("_")) < len(both.split("_"))
    page.click("#undo")
    assert page.evaluate(paint) == ""
    settle(page)
    assert page.is_disabled("#undo")


def test_cells_pixels_and_paint_are_chosen_by_keyboard(opened):
    page = opened("#part=p4&channel=2&x=40&y=40")
    page.focus("#detail-view .one")
    page.keyboard.press("ArrowRight")
    settle(page)
    assert page.evaluate("pageState().state.x") == 56  # the next cell of 16 pixels
    page.keyboard.press("ArrowDown")  # the focus has stayed, though all was drawn anew
    settle(page)
    assert page.evaluate("pageState().state.y") == 56
    page.focus("#detail-view .all")
    page.keyboard.press("ArrowRight")
    settle(page)
    assert page.evaluate("pageState().state.channel") == 3
    for part, name in (("objectness", "x"), ("labels", "pixel"), ("masks", "pixel")):
        visit(page, f"#part={part}")
        before = page.evaluate(f"pageState().state.{name}")
        page.locator("#detail-view canvas[tabindex]").last.focus()
        page.keyboard.press("ArrowLeft")
        settle(page)
        assert page.evaluate(f"pageState().state.{name}") < before
    page.focus("#street")
    before = page.evaluate("pageState().state.pixel")
    page.keyboard.press("ArrowUp")
    settle(page)
    assert page.evaluate("pageState().state.pixel") == before - 2 * 192
    after_run(page, lambda: page.keyboard.press("Enter"))
    x, y = (before - 2 * 192) % 192, before // 192 - 2
    assert page.evaluate("pageState().state.paint") == f"road-{x}-{y}-8"


def test_the_page_is_drawn_anew_for_another_width_and_other_colors(opened):
    page = opened()
    arrows = "document.querySelector('#arrows').innerHTML"
    wide, width = page.evaluate(arrows), page.evaluate("document.querySelector('#street').width")
    page.set_viewport_size(PHONE)
    page.wait_for_function(
        "before => document.querySelector('#street').width !== before", arg=width
    )
    settle(page)
    assert page.evaluate(arrows) != wide
    frame = page.evaluate("document.querySelector('#arrows').getAttribute('viewBox')").split()
    box = page.locator("#network").bounding_box()
    assert [float(frame[2]), float(frame[3])] == pytest.approx([box["width"], box["height"]], abs=1)
    page.evaluate("document.querySelector('#map').width = 1")
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("() => document.querySelector('#map').width > 1")


def test_a_finger_scrolls_the_page_everywhere_but_on_the_street(opened):
    page = opened("#part=p3", size=PHONE)
    touch = "all => all.map(canvas => getComputedStyle(canvas).touchAction)"
    assert page.eval_on_selector_all("#street", touch) == ["none"]
    others = set(page.eval_on_selector_all("canvas:not(#street)", touch))
    assert others == {"manipulation"}


def test_the_keyboard_alone_reaches_every_control(opened):
    page = opened()
    expected = set(
        page.eval_on_selector_all(
            "button, select, input, canvas[tabindex]",
            "all => all.filter(e => e.offsetParent && !e.disabled && e.id).map(e => e.id)",
        )
    )
    reached = set()
    for _ in range(120):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    assert expected <= reached


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(opened, scheme):
    page = opened("#part=p3", scheme=scheme)
    assert axe_findings(page) == []
    for part in ("labels", "objectness", "proposals", "detections", "masks", "merge", "quality"):
        visit(page, f"#part={part}")
        assert axe_findings(page) == []


def test_the_page_fits_a_phone(opened):
    page = opened("#part=objectness", size=PHONE)
    assert axe_findings(page) == []
    for part in (
        "p3",
        "labels",
        "objectness",
        "proposals",
        "detections",
        "masks",
        "merge",
        "quality",
    ):
        visit(page, f"#part={part}")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


# built -------------------------------------------------------------------------------------------


def test_a_first_visit_loads_less_than_12_megabytes(builder, built):
    later = {f"{number}{part}.png" for number in range(20) for part in ("", "-truth")}
    files = [p for p in built.rglob("*") if p.is_file() and p.name not in later]
    size = sum(len(gzip.compress(path.read_bytes(), 6)) for path in files)
    assert size < FIRST_LOAD
    assert builder.first_load(built) < FIRST_LOAD


def test_no_file_names_another_machine(built):
    for name in ("index.html", "worker.js", "model/about.json"):
        assert not re.search(r"https?://(?!www\.w3\.org)", (built / name).read_text())


def test_without_npm_the_page_is_left_out_with_one_line(builder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(builder, "WEB", tmp_path)
    monkeypatch.setattr(builder.shutil, "which", lambda name: None)
    assert builder.main([str(tmp_path / "out")]) == 3
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("network: left out, found no npm")
    assert not (tmp_path / "out").exists()


def test_a_folder_of_another_origin_is_not_replaced(builder, tmp_path, capsys):
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")
    for arguments, found in (
        ([tmp_path], "found files of another origin"),
        ([notes], "found a file"),
        ([tmp_path, "--page-only"], "found no page"),
    ):
        assert builder.main([str(argument) for argument in arguments]) == 1
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert found in lines[0]
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert notes.read_text() == "mine"


def test_a_build_that_fails_leaves_the_old_page(builder, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "network"
    folder.mkdir()
    (folder / builder.MADE_BY).touch()
    (folder / "index.html").write_text("old")
    monkeypatch.setattr(builder, "find_runtime", lambda: tmp_path)

    def fail(new, runtime):
        new.mkdir()
        raise ValueError("no graph")

    monkeypatch.setattr(builder, "write_all", fail)
    assert builder.main([str(folder)]) == 1
    assert "network: no graph" in capsys.readouterr().err
    assert (folder / "index.html").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["network"]


NPM_SAYS = {
    "npm error code EUSAGE\nnpm error\nnpm error The `npm ci` command can only install with an": (
        "web/package-lock.json is missing, damaged or of other versions"
    ),
    "npm error code EINTEGRITY\nnpm error Integrity checksum failed when using sha512": (
        "what came is not what web/package-lock.json names"
    ),
    "npm error code ECONNREFUSED\nnpm error syscall connect\nnpm error FetchError: refused": (
        "FetchError: refused. Expected a network"
    ),
    "env: node: No such file or directory": "env: node: No such file or directory",
    "": "no reason given",
}


@pytest.mark.parametrize(("said", "expected"), NPM_SAYS.items())
def test_npm_that_fails_leaves_the_page_out_and_says_why(
    builder, tmp_path, monkeypatch, capsys, said, expected
):
    npm = tmp_path / "npm"
    npm.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{said}\nEND\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setattr(builder, "WEB", tmp_path)
    monkeypatch.setattr(builder.shutil, "which", lambda name: str(npm))
    assert builder.main([str(tmp_path / "network")]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("network: left out, npm could not fetch onnxruntime-web: ")
    assert expected in line
    assert not (tmp_path / "network").exists()


def test_a_runtime_of_another_version_or_without_a_file_is_fetched_anew(
    builder, tmp_path, monkeypatch
):
    (tmp_path / "package.json").write_text('{"dependencies": {"onnxruntime-web": "2.0.0"}}')
    package = tmp_path / "node_modules" / "onnxruntime-web"
    (package / "dist").mkdir(parents=True)
    (package / "package.json").write_text('{"version": "2.0.0"}')
    monkeypatch.setattr(builder, "WEB", tmp_path)
    fetched = []
    monkeypatch.setattr(builder, "fetch_runtime", lambda: fetched.append("anew"))
    with pytest.raises(builder.MissingError, match=r"fetched no onnxruntime-web 2\.0\.0 with ort"):
        builder.find_runtime()
    for name in builder.RUNTIME:
        (package / "dist" / name).touch()
    assert builder.find_runtime() == package / "dist"
    assert fetched == ["anew"]
    (package / "package.json").write_text('{"version": "1.0.0"}')
    with pytest.raises(builder.MissingError):
        builder.find_runtime()
    assert fetched == ["anew", "anew"]


def test_npm_that_waits_for_a_network_leaves_the_page_out(builder, tmp_path, monkeypatch, capsys):
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\nexec sleep 60\n")
    npm.chmod(0o755)
    monkeypatch.setattr(builder, "WEB", tmp_path)
    monkeypatch.setattr(builder, "NPM_SECONDS", 0.1)
    monkeypatch.setattr(builder.shutil, "which", lambda name: str(npm))
    assert builder.main([str(tmp_path / "network")]) == 3
    assert "npm did not fetch onnxruntime-web within 0.1 s" in capsys.readouterr().err
    assert not (tmp_path / "network").exists()


def test_the_streets_are_those_that_python_draws(builder, built):
    about = json.loads((built / "model" / "about.json").read_text())
    sample = ToyStreet(1, builder.SEED, first=builder.FIRST)[0]
    truth = about["streets"][0]["segments"]
    assert [(s["label"], s["isThing"]) for s in truth] == [
        (s.label, s.is_thing) for s in sample.panoptic.segments
    ]
    from pfpn.data.images import read_image

    assert torch.equal(read_image(built / "streets" / "0.png"), sample.image)
