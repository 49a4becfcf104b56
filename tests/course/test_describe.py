"""Stored pictures become pages whose pictures a screen reader can read out."""

import base64
import json

import nbformat
import pytest
from PIL import Image

from pfpn.course.describe import Page, describe_pictures
from pfpn.course.show import to_png

WORDS = 'Two streets, "by day" & by dusk: the left one has 3 cars < 20 pixels wide.'
PNG = base64.b64encode(to_png(Image.new("RGB", (30, 20), "teal"))).decode("ascii")


def chapter(alt=WORDS):
    """A notebook with one stored picture."""
    cell = {
        "cell_type": "code", "id": "picture", "metadata": {}, "execution_count": 1,
        "source": "show(figure, words)",
        "outputs": [{
            "output_type": "display_data",
            "data": {"image/png": PNG + "\n", "text/plain": f"Figure: {alt}"},
            "metadata": {"image/png": {"alt": alt, "width": 20, "height": 13} if alt else {}},
        }],
    }  # fmt: skip
    notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    return nbformat.reads(json.dumps(notebook), as_version=4)


def test_a_picture_becomes_html_with_its_description():
    notebook = chapter()
    describe_pictures(notebook)
    (output,) = notebook.cells[0].outputs
    assert set(output.data) == {"text/html", "text/plain"}
    assert (
        'alt="Two streets, &quot;by day&quot; &amp; by dusk: the left' in output.data["text/html"]
    )
    assert f'src="data:image/png;base64,{PNG}"' in output.data["text/html"]


def test_a_picture_without_a_description_stays_as_it_is():
    notebook = chapter(alt="")
    describe_pictures(notebook)
    assert "image/png" in notebook.cells[0].outputs[0].data


def test_nbconverts_page_is_described_in_a_browser(browser):
    page, _ = Page().from_notebook_node(chapter())
    assert "No description has been provided" not in page
    tab = browser.new_page()
    try:
        tab.set_content(page, wait_until="domcontentloaded")
        pictures = tab.get_by_role("img", name=WORDS, exact=True)
        assert pictures.count() == 1
        assert pictures.evaluate("picture => picture.naturalWidth") == 30
    finally:
        tab.close()


def test_nbconverts_own_page_would_lack_the_description():
    """The reason for all this: if it fails, nbconvert has learned it, and `describe` can go."""
    exporters = pytest.importorskip("nbconvert.exporters")
    page, _ = exporters.HTMLExporter().from_notebook_node(chapter())
    assert "No description has been provided" in page
