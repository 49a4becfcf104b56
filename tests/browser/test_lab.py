"""A reader in JupyterLab moves a slider and sees the picture change, in a real browser."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
PATIENCE = 30_000  # milliseconds, for a machine that is busy with other things


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
from pfpn.widgets import ask, explore

def draw(slope):
    figure = Figure(figsize=(3, 2))
    _ = figure.subplots().plot([0, 1], [0, slope])
    return figure

words = "A straight line from the origin, of a slope to choose."
explore(draw, [{"slope": 1}], words, slope=(1, 9))
guess = ask("What happens to the line?", ["it gets steeper", "it gets flatter"])
"""


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
    log = (folder / "lab.log").open("wb")
    server = subprocess.Popen(
        [
            sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}",
            "--ServerApp.port_retries=0", "--IdentityProvider.token=", f"--notebook-dir={folder}",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            "--LabApp.expose_app_in_browser=True",  # menus close by themselves on a busy machine
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


@pytest.fixture
def run_all(lab, browser, request):
    """Open a notebook in the browser and run all of it."""
    address, folder = lab
    context = browser.new_context(viewport={"width": 1200, "height": 1000})
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    select = page.locator(".jp-Dialog").get_by_role("button", name="Select")
    page.add_locator_handler(select, lambda: select.click())  # asked while the kernel starts

    def run(name: str, content: str):
        (folder / name).write_text(content)
        page.goto(f"{address}/lab/tree/{name}")
        page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
        page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').wait_for()
        untouched = page.locator(".jp-InputPrompt", has_text=re.compile(r"\[ +\]"))
        deadline = time.monotonic() + PATIENCE / 1000
        while (
            untouched.count() and time.monotonic() < deadline
        ):  # a kernel that just starts is deaf
            page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
            page.wait_for_timeout(2000)
        return page

    yield run
    page.screenshot(path=folder / f"{request.node.name}.png")  # what to look at after a failure
    context.close()


def test_moving_a_slider_changes_the_picture(run_all):
    page = run_all("explorer.ipynb", notebook(EXPLORER))
    picture = page.locator(
        ".jp-OutputArea img.widget-image, .jp-OutputArea .widget-image img"
    ).first
    picture.wait_for()
    before = picture.get_attribute("src")
    handle = page.locator(".widget-slider .noUi-handle").first
    handle.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "([image, before]) => image.src !== before", arg=[picture.element_handle(), before]
    )
    assert page.locator(".widget-slider .widget-readout").first.inner_text() == "2"


def test_a_question_is_asked_with_nothing_chosen(run_all):
    page = run_all("question.ipynb", notebook(EXPLORER, "guess.reveal('it gets steeper')"))
    page.locator(".widget-radio label:visible", has_text="it gets steeper").wait_for()
    assert page.locator(".widget-radio input:checked").count() == 0
    verdict = page.locator(".jp-OutputArea-output.jp-RenderedMarkdown:visible")
    verdict.filter(has_text="no prediction").first.wait_for()
