"""The pages that run in a browser: where they are, and a server on this machine that shows them.

Most pages are one file each, which a browser also opens without a server. The page of the network
is a folder, which is built apart (`web/network/build.py`), and needs the server: browsers load
neither workers nor WASM from file://.
"""

import html
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

from pfpn.shipped import shipped

HOST = "127.0.0.1"  # other machines can't reach the server
# What each page is for, and where it lies, as a name in the repository.
PAGES = {
    "network": ("the trained network at work, every stage open", "web/network/built/index.html"),
    "merging": ("which segment gets each pixel, and why", "docs/merging.html"),
    "quality": ("what each mistake costs in PQ, mean IoU and AP", "docs/quality.html"),
    "surfaces": ("the surfaces of losses, to be turned and descended", "docs/surfaces.html"),
}
NOT_BUILT = (
    "the page of the network was not built here. In a clone, `python web/network/build.py` builds "
    "it, with node, npm and `pip install 'pfpn[export]'`; the course's site has it, too"
)
LIST = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Pages of pfpn</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<style>:root {{ color-scheme: light dark; }} body {{ font: 1.1rem/1.6 system-ui, sans-serif;
max-width: 40rem; margin: 2rem auto; padding: 0 1rem; }}</style></head>
<body><main><h1>Pages of pfpn</h1><ul>{rows}</ul></main></body></html>
"""


def find_page(name: str) -> Path:
    """Return the HTML file of a page of PAGES.

    Raises:
        ValueError: the page is unknown, or not there.
    """
    if name not in PAGES:
        raise ValueError(f"pages: found {name}, expected one of {', '.join(PAGES)}")
    try:
        return shipped(PAGES[name][1])
    except ValueError:
        if name != "network":
            raise
        raise ValueError(f"network: found no page, because {NOT_BUILT}") from None


def available() -> dict[str, Path]:
    """Return the pages that are there, and their files."""
    pages = {}
    for name in PAGES:
        try:
            pages[name] = find_page(name)
        except ValueError:
            continue
    return pages


class _Handler(SimpleHTTPRequestHandler):
    """Serves the list of pages at /, each page at /NAME/, and what lies in the folder of one."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm",
    }  # fmt: skip  # Windows may name other types, with which a browser runs no module

    def __init__(self, pages: dict[str, Path], *arguments: Any):
        self.pages = pages
        super().__init__(*arguments)

    def translate_path(self, path: str) -> str:
        """Return the file of an address: of a page, or within the folder that a page has."""
        name, _, rest = unquote(urlsplit(path).path).lstrip("/").partition("/")
        page = self.pages.get(name)
        if page is not None and rest in ("", "index.html"):
            return str(page)
        folder = page.parent.resolve() if page is not None and page.name == "index.html" else None
        if folder is not None:
            with suppress(OSError, ValueError):  # a name that no file can have
                file = (folder / rest).resolve()
                if file.is_relative_to(folder) and file.is_file():
                    return str(file)
        return str(Path(__file__).parent / "nothing")  # which is not there: 404

    def handle(self) -> None:
        """Answer; a browser that goes away meanwhile is no fault."""
        with suppress(ConnectionError):
            super().handle()

    def send_head(self) -> Any:
        """Answer / by the list of pages."""
        path = urlsplit(self.path).path
        name = path.strip("/")
        if path == "/":
            return self._send_list()
        if name in self.pages and not path.endswith("/"):  # or relative addresses would lead astray
            self.send_response(301)
            self.send_header("Location", f"/{name}/")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        return super().send_head()

    def _send_list(self) -> Any:
        from io import BytesIO

        rows = "".join(
            f'<li><a href="{name}/">{name}</a>: {html.escape(PAGES[name][0])}</li>'
            for name in self.pages
        )
        content = LIST.format(rows=rows).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        return BytesIO(content)

    def log_message(self, *arguments: Any) -> None:
        """Print nothing."""


def make_server(port: int = 0) -> ThreadingHTTPServer:
    """Return a server of all pages that are there; 0 takes a free port.

    Raises:
        ValueError: the port is taken, or not allowed.
    """
    handler: Callable[..., SimpleHTTPRequestHandler] = partial(_Handler, available())
    try:
        server = ThreadingHTTPServer((HOST, port), handler)
    except (OSError, OverflowError) as error:
        raise ValueError(
            f"pages: found no access to port {port} ({error}), expected a free one. "
            "Try another --port, or 0 for any"
        ) from None
    server.daemon_threads = True
    return server


def address_of(server: ThreadingHTTPServer, name: str = "", state: str = "") -> str:
    """Return the address of a page; `state` is what follows #, as a page writes it."""
    page = f"{name}/" if name else ""
    return f"http://{HOST}:{server.server_port}/{page}" + (f"#{state.lstrip('#')}" if state else "")


@cache
def _background() -> ThreadingHTTPServer:
    """The one server of this process, which ends with it."""
    server = make_server()
    Thread(target=server.serve_forever, daemon=True, name="pfpn pages").start()
    return server


class PageLink:
    """A link to a page, for the last line of a notebook's cell.

    The notebook's own process serves the page, on the machine where it runs. A notebook that is
    executed to be stored (`PFPN_STATIC=1`) outlives that process: there the link leads to the file
    in docs/, and for the network, which is not one file, the text says how to open it. Where the
    page of the network was not built, the text of a live link says so.

    Args:
        name: of a page in PAGES.
        state: what the page shows, as it stands behind # in the page's own address.
        text: of the link.

    Raises:
        ValueError: the page is unknown.
    """

    def __init__(self, name: str, state: str = "", text: str = ""):
        if name not in PAGES:
            raise ValueError(f"PageLink: found {name}, expected one of {', '.join(PAGES)}")
        self.text = text or f"Open the page: {PAGES[name][0]}"
        self.address = ""
        is_stored = os.environ.get("PFPN_STATIC") == "1"
        if name == "network" and is_stored:
            self.text += " (run this cell, or `pfpn pages network`)"
        elif name == "network" and name not in available():
            self.text = NOT_BUILT
        elif is_stored:
            self.address = f"../{PAGES[name][1]}" + (f"#{state.lstrip('#')}" if state else "")
        else:
            self.address = address_of(_background(), name, state)

    def _repr_html_(self) -> str:
        if not self.address:
            return html.escape(self.text)
        address = html.escape(self.address)
        return f'<a href="{address}" target="_blank" rel="noopener">{html.escape(self.text)}</a>'

    def __repr__(self) -> str:
        return f"{self.text}: {self.address}" if self.address else self.text
