"""A student opens a copy in JupyterLab, predicts, runs, answers and clicks, in a real browser."""

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Page, expect

from pfpn.fold import EXPLANATION, folded_kinds
from pfpn.lab import FIRST

pytestmark = pytest.mark.slow
PATIENCE = 60_000  # milliseconds, for a machine that is busy with other things
TOKEN = secrets.token_hex(24)
PANEL = "window.jupyterapp.shell.currentWidget"  # of the notebook
WHOLE = {"windowingMode": "none"}  # JupyterLab else keeps only cells near the screen in the page


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Iterator[tuple[str, Path]]:
    """The address of a JupyterLab that `pfpn lab` started, and the folder of the copy."""
    pytest.importorskip("jupyterlab")
    top = tmp_path_factory.mktemp("student")
    settings = top / "settings/@jupyterlab/notebook-extension/tracker.jupyterlab-settings"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps(WHOLE))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {k: v for k, v in os.environ.items() if k != "PFPN_STATIC"}
    for name in ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR"):
        environment[f"JUPYTER_{name}"] = str(top / name)
    environment |= {"JUPYTERLAB_SETTINGS_DIR": str(top / "settings"), "JUPYTER_TOKEN": TOKEN}
    options = (
        f"--no-browser --allow-root --port={port} --ServerApp.port_retries=0 "
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate "
        "--LabApp.expose_app_in_browser=True"
    )
    log = (top / "lab.log").open("wb")
    server = subprocess.Popen(
        [sys.executable, "-m", "pfpn", "lab", str(top / "lab"), f"--jupyter={options}"],
        env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{address}/api", timeout=5).close()
                break
            except OSError:
                assert server.poll() is None, (top / "lab.log").read_text()
                time.sleep(0.5)
        else:
            pytest.fail(f"JupyterLab did not answer:\n{(top / 'lab.log').read_text()}")
        yield address, top / "lab"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
        log.close()


@pytest.fixture
def page(copy, browser) -> Iterator[Page]:
    """The first chapter of the copy, opened; nothing has run."""
    yield from open_chapter(copy, browser, FIRST)


def open_chapter(copy: tuple[str, Path], browser: Browser, name: str) -> Iterator[Page]:
    address, folder = copy
    context = browser.new_context(viewport={"width": 1300, "height": 1000})
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(f"{address}/lab/workspaces/{Path(name).stem}/tree/{name}?token={TOKEN}")
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
    page.wait_for_function(f"{PANEL}.sessionContext.session?.kernel?.status === 'idle'")
    yield page
    page.screenshot(path=folder.parent / "last.png")  # what to look at after a failure
    context.close()


def command(page: Page, name: str) -> None:
    page.evaluate("name => void window.jupyterapp.commands.execute(name)", name)


def run_through(page: Page, cells: list[dict], last: int) -> None:
    """Run the cells up to number `last`, as Shift-Enter does, each when the one before is done."""
    for i in range(last + 1):
        page.evaluate(f"() => {{ {PANEL}.content.activeCellIndex = {i} }}")
        for attempt in range(3):  # on a busy machine a starting kernel loses what it is to run
            command(page, "notebook:run-cell-and-select-next")
            if cells[i]["cell_type"] != "code":
                break
            try:
                page.wait_for_function(
                    f"{PANEL}.content.widgets[{i}].model.executionCount !== null",
                    timeout=PATIENCE,
                )
                break
            except Error:
                assert attempt < 2, f"cell {i} did not run"
                page.evaluate(f"() => {{ {PANEL}.content.activeCellIndex = {i} }}")
    page.wait_for_function(f"{PANEL}.sessionContext.session?.kernel?.status === 'idle'")


def test_a_student_predicts_before_anything_is_revealed(copy, page):
    _, folder = copy
    cells = json.loads((folder / FIRST).read_text(encoding="utf-8"))["cells"]
    notebook = page.locator(".jp-Notebook")

    # As it opens: no output, and what would tell a result is folded.
    expect(page.locator(".jp-Notebook .jp-Cell")).to_have_count(len(cells), timeout=PATIENCE)
    folded = [kind for kind in folded_kinds(cells) if kind]
    hidden = page.locator(".jp-Notebook .jp-InputPlaceholder")
    expect(hidden).to_have_count(len(folded), timeout=PATIENCE)
    assert page.locator(".jp-OutputArea-output").count() == 0
    seen = notebook.inner_text()
    assert ".reveal(" not in seen
    assert "It is:" not in seen

    # Run as far as the first explorer: the question is there, its result waits.
    sources = ["".join(cell["source"]) for cell in cells]
    explorer = next(i for i, source in enumerate(sources) if "explore(" in source)
    question = next(i for i, source in enumerate(sources) if re.search(r"= ask\(", source))
    run_through(page, cells, explorer)
    waiting = notebook.locator(".jp-RenderedMarkdown", has_text="No prediction yet").first
    waiting.wait_for()
    shown = notebook.inner_text()
    assert "It is:" not in shown
    reveal = next(i for i, source in enumerate(sources) if ".reveal(" in source)
    printed = re.findall(r'print\("([^"{]+)', sources[reveal])
    assert printed
    assert (
        printed[0]
        not in page.locator(".jp-Cell").nth(reveal).locator(".jp-OutputArea").inner_text()
    )
    choice = page.locator(".jp-Cell").nth(question).locator(".widget-radio label").nth(2)
    choice.click()
    said = notebook.locator(".jp-RenderedMarkdown", has_text="You said:").first
    expect(said).to_contain_text(f"You said: {choice.inner_text()}. It is:")
    expect(page.locator(".jp-Cell").nth(reveal).locator(".jp-OutputArea")).to_contain_text(
        printed[0]
    )

    # A screen reader meets a description at each picture.
    pictures = page.locator(".jp-OutputArea-output img")
    described = [pictures.nth(i).get_attribute("alt") or "" for i in range(pictures.count())]
    assert len(described) >= 3
    assert min(map(len, described)) >= 40

    # The explorer: a button for each frame, and a click chooses the point.
    area = page.locator(".jp-Cell").nth(explorer)
    picture = area.locator(".pfpn-explorer img")
    picture.scroll_into_view_if_needed()
    area.locator(".pfpn-explorer button", has_text="2").first.click()
    expect(picture).to_have_attribute("alt", re.compile(r"Now: x 118, y 72\.$"))
    box = picture.bounding_box()
    assert box is not None
    picture.click(position={"x": box["width"] / 4, "y": box["height"] / 2})
    expect(picture).not_to_have_attribute("alt", re.compile(r"Now: x 118, y 72\.$"))

    # Saved, the chapter keeps its pictures.
    command(page, "docmanager:save")
    deadline = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < deadline:
        outputs = json.loads((folder / FIRST).read_text(encoding="utf-8"))["cells"][explorer]
        if outputs["outputs"]:
            break
        time.sleep(0.5)
    sliders, stored = (output["data"] for output in outputs["outputs"])
    assert "application/vnd.jupyter.widget-view+json" in sliders
    assert "image/png" in stored
    assert not area.locator(".pfpn-stored").is_visible()

    # Opened again without the kernel that ran it, the sliders are gone and the picture is there.
    page.evaluate(f"() => {PANEL}.sessionContext.shutdown()")
    page.reload()
    again = page.locator(".jp-Cell").nth(explorer)
    expect(again.locator(".pfpn-stored img")).to_be_visible(timeout=PATIENCE)
    assert len(again.locator(".pfpn-stored img").get_attribute("alt") or "") >= 40


def test_text_that_states_a_result_opens_by_a_key_and_shows_its_formulas(copy, browser):
    """JupyterLab cleans the HTML of a text; the fold, and what is inside, have to survive that."""
    chapter = "notebooks/01_feature_pyramid.ipynb"
    cells = json.loads((copy[1] / chapter).read_text(encoding="utf-8"))["cells"]
    for page in open_chapter(copy, browser, chapter):
        folds = page.locator(".jp-Notebook details", has_text=EXPLANATION)
        expect(folds).to_have_count(sum(EXPLANATION in "".join(c["source"]) for c in cells))
        formula = folds.filter(has=page.locator("mjx-container")).first
        inside = formula.locator("p").first
        expect(inside).not_to_be_visible()
        for key, is_open in (("Enter", True), ("Space", False), ("Enter", True)):
            formula.locator("summary").focus()
            page.keyboard.press(key)
            expect(inside).to_be_visible(visible=is_open)
        assert page.evaluate(f"{PANEL}.content.mode") == "command"  # the cell is not edited
        assert "$" not in formula.inner_text()
        link = folds.filter(has=page.locator("a[href]")).first
        link.locator("summary").click()
        expect(link.locator("a[href]").first).to_be_visible()
