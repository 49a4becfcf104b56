"""The local server of the pages, and `pfpn pages`."""

import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from urllib.error import HTTPError

import pytest

from pfpn import webpages
from pfpn.cli import main
from pfpn.webpages import (
    HOST,
    PAGES,
    PageLink,
    address_of,
    available,
    find_page,
    make_server,
)
from tests.browsing import axe_findings

ROOT = Path(__file__).resolve().parents[1]
FILES = ("merging", "quality", "surfaces")


@pytest.fixture
def network(tmp_path, monkeypatch) -> Path:
    """A page of the network, as if it had been built; a secret lies beside its folder."""
    folder = tmp_path / "built"
    (folder / "ort").mkdir(parents=True)
    (folder / "index.html").write_text("<title>network</title>", encoding="utf-8")
    (folder / "ort" / "run.mjs").write_text("export const a = 1;", encoding="utf-8")
    (folder / "ort" / "run.wasm").write_bytes(b"\0asm")
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    find = webpages.shipped
    monkeypatch.setattr(
        webpages,
        "shipped",
        lambda name: folder / "index.html" if name.startswith("web/") else find(name),
    )
    return folder


@pytest.fixture
def no_network(monkeypatch) -> None:
    find = webpages.shipped

    def without(name: str) -> Path:
        if name.startswith("web/"):
            raise ValueError("not there")
        return find(name)

    monkeypatch.setattr(webpages, "shipped", without)


@pytest.fixture
def serve():
    servers = []

    def start():
        server = make_server()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def fetch(address: str) -> tuple[str, bytes]:
    """Return the type and the content at an address."""
    with urllib.request.urlopen(address, timeout=30) as answer:
        return answer.headers["Content-Type"], answer.read()


def test_every_page_that_is_one_file_is_served_as_it_is_stored(serve, no_network):
    server = serve()
    assert server.server_address[0] == HOST
    for name in FILES:
        kind, content = fetch(address_of(server, name))
        assert kind == "text/html"
        assert content == (ROOT / "docs" / f"{name}.html").read_bytes()
        assert fetch(address_of(server) + name)[1] == content  # without the last /


def test_the_list_leads_to_the_pages_that_are_there(serve, no_network):
    text = fetch(address_of(serve()))[1].decode()
    assert re.findall(r'href="(\w+)/"', text) == list(FILES)
    assert set(available()) == set(FILES)


def test_a_page_that_is_a_folder_is_served_with_the_types_that_browsers_need(serve, network):
    server = serve()
    assert re.findall(r'href="(\w+)/"', fetch(address_of(server))[1].decode()) == list(PAGES)
    address = address_of(server, "network")
    assert fetch(address)[1] == b"<title>network</title>"
    assert fetch(address + "ort/run.mjs")[0] == "text/javascript"
    assert fetch(address + "ort/run.wasm") == ("application/wasm", b"\0asm")


@pytest.mark.parametrize(
    "path",
    [
        "network/../secret.txt", "network/%2e%2e/secret.txt", "network/ort/",
        "network/ort/../../secret.txt",
        "merging/../paper-map.md", "merging/paper-map.md", "setup.py", "../setup.py", "%00",
        "docs/merging.html", "nothing/", "network//etc/passwd", "network/a%00b",
        "network/" + 300 * "a",
    ],
)  # fmt: skip
def test_nothing_else_is_served(serve, network, path):
    with pytest.raises(HTTPError) as refused:
        fetch(address_of(serve()) + path)
    assert refused.value.code == 404
    refused.value.close()


def test_a_browser_that_goes_away_is_no_fault(serve, network, capsys):
    (network / "large.bin").write_bytes(bytes(20_000_000))
    server = serve()
    server.daemon_threads = False  # so that server_close waits for the answer
    with socket.create_connection((HOST, server.server_port)) as browser:
        browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        browser.sendall(b"GET /network/large.bin HTTP/1.0\r\n\r\n")
        browser.recv(1000)
    server.shutdown()
    server.server_close()
    assert capsys.readouterr().err == ""


def test_a_page_that_was_not_built_is_named_with_what_builds_it(no_network, capsys):
    with pytest.raises(ValueError, match=r"network/build\.py` builds it"):
        find_page("network")
    assert main(["pages", "network", "--no-open"]) == 2
    assert "the page of the network was not built here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pages", "mergin"], "found mergin, expected one of network, merging, quality, surfaces"),
        (["pages", "--state", "x=1"], "--state: found no NAME"),
        (["pages", "merging", "--port", "-1"], "expected a free one"),
        (["pages", "merging", "--port", "99999"], "expected a free one"),
    ],
)
def test_bad_input_is_refused_in_one_line(arguments, message, capsys):
    assert main([*arguments, "--no-open"]) == 2
    error = capsys.readouterr().err
    assert message in error.splitlines()[-1]


def test_a_port_that_is_taken_is_refused(serve, capsys):
    port = serve().server_port
    assert main(["pages", "merging", "--no-open", "--port", str(port)]) == 2
    assert f"found no access to port {port}" in capsys.readouterr().err


def test_the_command_opens_the_page_and_ends_by_ctrl_c(monkeypatch, capsys):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)

    def stop(self, *_):
        raise KeyboardInterrupt

    monkeypatch.setattr("http.server.ThreadingHTTPServer.serve_forever", stop)
    assert main(["pages", "merging", "--state", "#rule=softer"]) == 0
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/merging/#rule=softer", opened[0])
    assert opened[0] in capsys.readouterr().out
    assert main(["pages", "--no-open"]) == 0
    assert len(opened) == 1


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to a single process")
def test_the_command_serves_until_it_is_interrupted():
    command = [sys.executable, "-m", "pfpn", "pages", "quality", "--no-open"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"}
    ) as process:
        address = process.stdout.readline().split()[0]
        assert b"Panoptic quality" in fetch(address)[1]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0


def test_a_link_in_a_notebook_leads_to_a_server_of_its_own_process(monkeypatch):
    monkeypatch.delenv("PFPN_STATIC", raising=False)
    link = PageLink("merging", "rule=softer")
    match = re.fullmatch(
        r'<a href="(http://127\.0\.0\.1:\d+/merging/#rule=softer)" .*>Open the page: .*</a>',
        link._repr_html_(),
    )
    assert match
    assert b"<title>Merging</title>" in fetch(match[1])[1]
    server = link.address.partition("merging")[0]
    assert PageLink("quality").address == f"{server}quality/"  # one server for all
    with pytest.raises(ValueError, match="found nowhere, expected one of"):
        PageLink("nowhere")


def test_a_stored_link_leads_to_the_file_beside_the_notebook(monkeypatch):
    monkeypatch.setenv("PFPN_STATIC", "1")
    link = PageLink("surfaces", "#loss=dice", "The surfaces")
    assert repr(link) == "The surfaces: ../docs/surfaces.html#loss=dice"
    assert (ROOT / "notebooks" / link.address.partition("#")[0]).is_file()


def test_a_stored_link_to_the_network_is_the_same_on_every_machine(monkeypatch):
    monkeypatch.setenv("PFPN_STATIC", "1")
    link = PageLink("network", "part=p3")
    assert repr(link).endswith("every stage open (run this cell, or `pfpn pages network`)")
    assert "href" not in link._repr_html_()


def test_a_link_to_a_page_that_was_not_built_says_so(no_network, monkeypatch):
    monkeypatch.delenv("PFPN_STATIC", raising=False)
    link = PageLink("network")
    assert "was not built here" in repr(link)
    assert "href" not in link._repr_html_()


def test_a_browser_goes_from_the_list_to_a_page(browser, serve, no_network):
    page = browser.new_page()
    faults = []
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(address_of(serve()))
    assert axe_findings(page) == []
    page.click("text=merging")
    page.wait_for_function("globalThis.merging !== undefined")
    assert page.title() == "Merging"
    assert faults == []
    page.close()
