"""The command that opens the pages that run in a browser: pages."""

import argparse
from contextlib import suppress

from pfpn.cli.command import Command, complain, say


def _add_pages(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME",
        help="network, merging, quality or surfaces (default: a list of all)",
    )
    parser.add_argument(
        "--state", default="", metavar="TEXT", help="what follows # in the address of a page"
    )
    parser.add_argument(
        "--port", type=int, default=0, metavar="N", help="of the local server (default: a free one)"
    )
    parser.add_argument("--no-open", action="store_true", help="print the address only, and serve")


def _pages(arguments: argparse.Namespace) -> int:
    import webbrowser

    from pfpn.webpages import NOT_BUILT, address_of, available, find_page, make_server

    if arguments.state and not arguments.name:
        raise ValueError("--state: found no NAME, expected the page that it belongs to")
    if arguments.name:
        find_page(arguments.name)  # or say why it is not there
    elif "network" not in available():
        complain(f"network: left out, because {NOT_BUILT}.")
    with make_server(arguments.port) as server:
        address = address_of(server, arguments.name or "", arguments.state)
        say(f"{address}  (Ctrl-C ends it)")
        if not arguments.no_open:
            webbrowser.open(address)  # where none can be opened, the address is printed
        with suppress(KeyboardInterrupt):  # the way to end it
            server.serve_forever()
    return 0


PAGES_COMMAND = Command(
    "pages",
    "open the pages that run in a browser: the network, merging, quality, surfaces",
    "pfpn pages merging",
    _add_pages,
    _pages,
)
