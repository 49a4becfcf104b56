"""Sphinx's settings of the book. `build.py` lays out what it reads and calls Sphinx with them."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

import reference  # noqa: E402

from pfpn.version import VERSION  # noqa: E402

project = "pfpn"
html_title = "Panoptic FPN and the Lovász losses"
author = "The pfpn authors"
release = version = VERSION
language = "en"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
]
autodoc_mock_imports = reference.missing()

# Chapters are shown as they are stored; `make test` executes and compares them.
nb_execution_mode = "off"
nb_merge_streams = True
nb_render_markdown_format = "myst"
nb_ipywidgets_js = {}  # would come from another server, and nothing is left of the widgets
myst_enable_extensions = ["dollarmath", "amsmath", "attrs_block", "attrs_inline", "colon_fence"]
myst_heading_anchors = 4
myst_dmath_double_inline = True

# MathJax lies in the site itself: see build.py. Its menu would load parts that do not.
mathjax_path = "mathjax/tex-chtml.js"
mathjax3_config = {"options": {"enableMenu": False}}

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True, "show-inheritance": False}
napoleon_numpy_docstring = False
napoleon_use_rtype = False
python_maximum_signature_line_length = 80
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_favicon = str(Path(__file__).resolve().parent / "static" / "icon.svg")
html_static_path = [str(Path(__file__).resolve().parent / "static")]
html_css_files = ["book.css"]
html_js_files = [("book.js", {"defer": "defer"})]
html_copy_source = False
html_use_index = False
html_domain_indices = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_copyright = False
html_permalinks_icon = "#"
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
html_theme_options = {
    "navigation_with_keys": False,
    "top_of_page_buttons": [],
    "footer_icons": [],
}
if repository := os.environ.get("PFPN_BOOK_REPOSITORY"):
    html_theme_options["footer_icons"] = [
        {"name": "Repository", "url": repository, "html": "Repository", "class": ""}
    ]


def setup(app):
    """Connect what turns the house's docstrings into what Sphinx reads."""
    app.connect("autodoc-process-docstring", reference.process_docstring, priority=400)
