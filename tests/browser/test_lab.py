"""A reader in JupyterLab moves a slider and sees the picture change, in a real browser."""

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
from urllib.error import HTTPError

import pytest
from playwright.sync_api import Error, expect

pytestmark = pytest.mark.slow
NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
PATIENCE = 60_000  # milliseconds, for a machine that is busy with other things


def notebook(*cells: str) -> str:
    """A notebook that was never run."""
    return json.dumps(
        {
            "cells": [
                {
                    "cell_type": "code",
                    "id": f"cell{i}",
                    "metadata": {},
                    "source": cell,
                    "execution_count": None,
                    "outputs": [],
                }
                for i, cell in enumerate(cells)
            ],
            "metadata": {
                "kernelspec": {
                    "display_name": "Python 3",
                    "language": "python",
                    "name": "python3",
                }
            },
            "nbformat": 4,
            "nbformat_minor": 5,
        }
    )


EXPLORER = """
from matplotlib.figure import Figure
from pfpn.course import ask, explore

def draw(slope):
    figure = Figure(figsize=(3, 2))
    _ = figure.subplots().plot([0, 1], [0, slope])
    return figure

words = "A straight line from the origin, of a slope to choose."
explore(draw, [{"slope": 1}], words, slope=(1, 9))
guess = ask("What happens to the line?", ["it gets steeper", "it gets flatter"])
"""


TOKEN = secrets.token_hex(24)  # else whoever reaches the port could run code here


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Iterator[tuple[str, Path]]:
    """The address of a running JupyterLab, and the folder it serves."""
    folder = tmp_path_factory.mktemp("lab")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {k: v for k, v in os.environ.items() if k != "PFPN_STATIC"}
    settings = {"JUPYTER_CONFIG_DIR": folder / ".config", "JUPYTER_DATA_DIR": folder / ".data"}
    environment |= {name: str(path) for name, path in settings.items()}
    environment["JUPYTER_TOKEN"] = TOKEN  # not among the arguments, which every user can list
    log = (folder / "lab.log").open("wb")
    server = subprocess.Popen(
        [
            sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}",
            "--ServerApp.port_retries=0", f"--notebook-dir={folder}",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            "--LabApp.expose_app_in_browser=True",
        ],
        env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(PATIENCE // 500):
            try:
                urllib.request.urlopen(f"{address}/api", timeout=5).close()
                break
            except OSError:
                assert server.poll() is None, (folder / "lab.log").read_text()
                time.sleep(0.5)
        else:
            pytest.fail(f"JupyterLab did not answer:\n{(folder / 'lab.log').read_text()}")
        yield address, folder
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
        log.close()


def start_kernel(address: str, name: str) -> None:
    """Start a notebook's kernel before it is opened, so that nobody is asked which to take."""
    session = {"path": name, "name": name, "type": "notebook", "kernel": {"name": "python3"}}
    started = urllib.request.Request(
        f"{address}/api/sessions",
        json.dumps(session).encode(),
        {"Content-Type": "application/json", "Authorization": f"token {TOKEN}"},
    )
    urllib.request.urlopen(started, timeout=PATIENCE / 1000).close()


@pytest.fixture
def run_all(lab, browser, request):
    """Open a notebook in the browser and run all of it."""
    address, folder = lab
    context = browser.new_context(viewport={"width": 1200, "height": 1000})
    context.set_default_timeout(PATIENCE)
    page = context.new_page()

    def run(name: str, content: str):
        (folder / name).write_text(content)
        start_kernel(address, name)
        # A workspace of its own, so that nothing else is open
        page.goto(f"{address}/lab/workspaces/{Path(name).stem}/tree/{name}?token={TOKEN}")
        page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
        page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').wait_for()
        untouched = page.locator(".jp-InputPrompt", has_text=re.compile(r"\[ +\]"))
        deadline = time.monotonic() + PATIENCE / 1000
        while untouched.count() and time.monotonic() < deadline:  # a kernel that starts loses it
            # By command: menus close by themselves on a busy machine. The promise may stay open.
            page.evaluate("() => void window.jupyterapp.commands.execute('notebook:run-all-cells')")
            page.wait_for_timeout(4000)
        page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').wait_for()
        return page

    yield run
    page.screenshot(path=folder / f"{request.node.name}.png")  # what to look at after a failure
    context.close()


def eventually(run_all, content: str, look) -> None:
    """Look at a notebook that was run, up to four times anew.

    On a busy machine JupyterLab loses messages of a kernel that starts, whatever it is to run.
    """
    for attempt in range(4):
        page = run_all(f"notebook{attempt}.ipynb", content)
        try:
            return look(page)
        except (AssertionError, Error):
            if attempt == 3:
                raise
    return None


def test_the_server_refuses_whoever_lacks_its_token(lab):
    address, _ = lab
    with pytest.raises(HTTPError, match="403"):
        urllib.request.urlopen(f"{address}/api/sessions", timeout=PATIENCE / 1000)


def test_moving_a_slider_changes_the_picture(run_all):
    def look(page):
        picture = page.locator(".jp-OutputArea .pfpn-explorer img").first
        picture.wait_for()
        before = picture.get_attribute("src")
        page.locator(".widget-slider .noUi-handle").first.focus()
        page.keyboard.press("ArrowRight")
        expect(page.locator(".widget-slider .widget-readout").first).to_have_text("2")
        expect(picture).not_to_have_attribute("src", before, timeout=PATIENCE / 3)

    eventually(run_all, notebook(EXPLORER), look)


def test_a_question_is_asked_with_nothing_chosen(run_all):
    def look(page):
        page.locator(".widget-radio label:visible", has_text="it gets steeper").wait_for()
        assert page.locator(".widget-radio input:checked").count() == 0
        answer = page.locator(".jp-OutputArea-output.jp-RenderedMarkdown:visible")
        answer.filter(has_text="No prediction yet").first.wait_for()

    eventually(run_all, notebook(EXPLORER, "guess.reveal('it gets steeper')"), look)
