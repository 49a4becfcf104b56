"""Where this repository, its chapters and its book open in a browser, for a clone or a fork alike.

    python notebooks/addresses.py [--remote origin] [--branch main] [--write]

prints the addresses of the chapters on Colab, Binder and Codespaces, and of the published book,
made from the address of the repository's own remote. With `--write` it also writes that address
into the first cell of each chapter, which installs the package from there if the chapter is opened
alone, as on Colab: commit the notebooks then. `pfpn lab` does it in each student's copy. `setup.py`
uses the addresses for the links in the wheel.
"""

import argparse
import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def repository(root: Path = ROOT, remote: str = "origin") -> str:
    """Return the web address of the repository, without its ending ".git"; "" if there is none.

    $PFPN_REPOSITORY comes first, then git's remote, then what a source distribution was built with.
    A name and a password in the address are left out, and a folder of this machine is no address.
    """
    found = os.environ.get("PFPN_REPOSITORY", "")
    if not found and (root / ".git").exists():
        command = ["git", "-C", str(root), "remote", "get-url", remote]
        try:
            found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            found = ""
    if not found and (root / "PKG-INFO").is_file():
        text = (root / "PKG-INFO").read_text(encoding="utf-8")
        match = re.search(r"^Project-URL: Repository, (\S+)$", text, flags=re.MULTILINE)
        found = match[1] if match else ""
    return web_address(found.strip())


def web_address(remote: str) -> str:
    """Return the address of a git remote for a browser; "" if it is none of a server."""
    for pattern in (
        r"(?:https?|ssh|git)://(?:[^/@]*@)?([^/:@]+)(?::\d+)?/(.+?)(?:\.git)?/?",
        r"(?:[^/@:]+@)([^/:@]+):(?!\d+/)/?(.+?)(?:\.git)?/?",
    ):
        match = re.fullmatch(pattern, remote)
        if match:
            return f"https://{match[1]}/{match[2]}"
    return ""


def chapters() -> list[str]:
    """Return the paths of the chapters in the repository."""
    return [f"notebooks/{path.name}" for path in sorted((ROOT / "notebooks").glob("[01]*.ipynb"))]


def addresses(address: str, branch: str = "HEAD") -> dict[str, list[str]]:
    """Return, for each service, the address of each chapter; of Codespaces and the book, just one.

    Args:
        address: of the repository, as `repository` returns it. Colab and Codespaces know GitHub
            alone; Binder takes any server.
        branch: or tag; HEAD is the default branch.
    """
    match = re.fullmatch(r"https://github\.com/([^/]+/[^/]+)", address)
    places: dict[str, list[str]] = {}
    if match:
        owner, _, name = match[1].partition("/")
        is_own = name.lower() == f"{owner.lower()}.github.io"  # the owner's own front page
        places["Book"] = [f"https://{owner.lower()}.github.io/{'' if is_own else f'{name}/'}"]
        colab = "https://colab.research.google.com/github"
        places["Colab"] = [f"{colab}/{match[1]}/blob/{branch}/{path}" for path in chapters()]
        places["Codespaces"] = [f"https://codespaces.new/{match[1]}"]
        binder = f"https://mybinder.org/v2/gh/{match[1]}/{branch}"
    else:
        quoted = address.replace(":", "%3A").replace("/", "%2F")
        binder = f"https://mybinder.org/v2/git/{quoted}/{branch}"
    places["Binder"] = [f"{binder}?urlpath=lab/tree/{path}" for path in chapters()]
    return places


def write_address(path: Path, address: str) -> bool:
    """Write the repository's address into a notebook's first code cell; whether it was another."""
    text = path.read_text(encoding="utf-8")
    line = r'(\n +"    address = \\")[^"\\]*(\\"  # of the repository)'
    new, number = re.subn(line, lambda match: match[1] + address + match[2], text)
    if number != 1:
        raise ValueError(
            f"{path.name}: found {number} lines `address = ...`, expected one in its first cell"
        )
    if new != text:
        path.write_text(new, encoding="utf-8")
    return new != text


def main() -> None:
    """Print the addresses."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--remote", default="origin", help="name of git's remote (origin)")
    parser.add_argument("--branch", default="HEAD", help="branch or tag (the default branch)")
    parser.add_argument(
        "--write", action="store_true", help="write the address into the chapters' first cells"
    )
    arguments = parser.parse_args()
    address = repository(remote=arguments.remote)
    if not address:
        parser.error(
            f"found no server's address for the remote {arguments.remote!r}, expected one such as "
            "https://github.com/OWNER/REPOSITORY. Try --remote, or set PFPN_REPOSITORY"
        )
    for service, places in addresses(address, arguments.branch).items():
        print(f"{service}:", *places, sep="\n  ")
    if arguments.write:
        changed = [path for path in chapters() if write_address(ROOT / path, address)]
        print(f"{address} is written into {len(changed)} chapters: commit them")


if __name__ == "__main__":
    main()
