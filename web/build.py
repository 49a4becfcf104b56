"""Assemble each page of web/ into one file that opens without a server: HTML, style and modules.

    python web/build.py            writes docs/surfaces.html, docs/merging.html, docs/quality.html
    python web/build.py --check    writes nothing; exit code 1 if one of them is not up to date

A browser does not load modules from file://, so each module becomes a function that returns what
the module exports, and the page's script calls them in the order of their imports. Names that a
module does not export stay its own, as in a browser. Only the forms below are understood; any other
is an error:

    import { a, b as c } from "../lib/x.js";
    import * as x from "../lib/x.js";
    export function a, export const b, export class c
"""

import argparse
import re
import sys
from pathlib import Path

WEB = Path(__file__).resolve().parent
PAGES = {name: WEB.parent / "docs" / f"{name}.html" for name in ("surfaces", "merging", "quality")}
STYLE = re.compile(r'^<link rel="stylesheet" href="([^"]+)">\n', re.MULTILINE)
SCRIPT = '<script type="module" src="main.js"></script>'

IMPORT = re.compile(r'^import (?:\{([^}]*)\}|\* as (\w+)) from "([^"]+)";$', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|class) (\w+))", re.MULTILINE)
LEFT_OVER = re.compile(r"^\s*(?:import|export)\b.*$", re.MULTILINE)


def build_page(name: str, web: Path = WEB) -> str:
    """Return the page web/NAME/ as one string of HTML.

    Raises:
        ValueError: a file is not of the forms that this builder understands.
    """
    folder = web / name
    page = (folder / "index.html").read_text(encoding="utf-8")
    styles = [read_style(folder / address).strip() for address in STYLE.findall(page)]
    links, scripts = page.count('rel="stylesheet"'), page.count("<script")
    if not len(styles) == links > 0 or scripts != page.count(SCRIPT) or scripts != 1:
        raise ValueError(
            f"{folder / 'index.html'}: found {links} style sheets and {scripts} scripts, expected "
            f'lines <link rel="stylesheet" href="..."> and one {SCRIPT}'
        )
    page = STYLE.sub("", page).replace(
        "</head>", "<style>\n" + "\n".join(styles) + "\n</style>\n</head>"
    )
    script = bundle(folder / "main.js", web).strip()
    return page.replace(SCRIPT, f'<script type="module">\n{script}\n</script>')


def read_style(path: Path) -> str:
    """Return a style sheet; refuse one that loads others."""
    style = path.read_text(encoding="utf-8")
    if "@import" in style or "url(" in style or "</" in style:
        raise ValueError(f"{path}: found @import, url( or </, expected rules alone")
    return style


def bundle(main: Path, web: Path = WEB) -> str:
    """Return a module and all that it imports as one script."""
    done: dict[Path, str] = {}
    exports: dict[Path, list[str]] = {}
    _add(main.resolve(), [], done, exports, web.resolve())
    return "\n\n".join(done.values())


def _add(
    path: Path, above: list[Path], done: dict[Path, str], exports: dict[Path, list[str]], web: Path
) -> None:
    """Add a module to `done`, after what it imports; `above` are the modules that wait for it."""
    if path in done:
        return
    if path in above:
        raise ValueError(f"{path}: found a circle of imports, expected none")
    source = path.read_text(encoding="utf-8")
    for names, _, target in IMPORT.findall(source):
        other = (path.parent / target).resolve()
        if not other.is_file() or not other.is_relative_to(web):
            raise ValueError(f"{path}: imports {target}, which is no file under {web}")
        _add(other, [*above, path], done, exports, web)
        missing = [n for n in map(_imported, names.split(",")) if n and n not in exports[other]]
        if missing:
            raise ValueError(f"{path}: imports {', '.join(missing)}, which {target} lacks")
    exports[path] = EXPORT.findall(source)

    def bind(line: re.Match[str]) -> str:
        names = re.sub(r"(\w+) as (\w+)", r"\1: \2", " ".join((line[1] or "").split())).rstrip(",")
        module = _variable((path.parent / line[3]).resolve(), web)
        return f"const {line[2] or f'{{ {names} }}'} = {module};"

    body = EXPORT.sub("", IMPORT.sub(bind, source)).strip()
    left = LEFT_OVER.search(body)
    if left or "</script" in body:
        raise ValueError(
            f"{path}: found {left[0].strip() if left else '</script'!r}, expected only the forms "
            "of import and export that web/build.py names"
        )
    result = f"\nreturn {{ {', '.join(exports[path])} }};" if exports[path] else ""
    label = path.relative_to(web).as_posix()
    done[path] = f"// {label}\nconst {_variable(path, web)} = (() => {{\n{body}{result}\n}})();"


def _imported(name: str) -> str:
    return name.strip().partition(" as ")[0]


def _variable(path: Path, web: Path) -> str:
    """Return the name of a module in the bundle, which no name within a module should hide."""
    return "module_" + re.sub(r"\W", "_", path.relative_to(web).with_suffix("").as_posix())


def main(arguments: list[str] | None = None) -> int:
    """Write or check every page; 1 if one is not up to date."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args(arguments).check
    stale = 0
    for name, path in PAGES.items():
        page = build_page(name).encode()
        if path.is_file() and path.read_bytes() == page:
            continue
        if check:
            print(f"{path}: not what web/ makes. Try: python web/build.py", file=sys.stderr)
            stale = 1
            continue
        temporary = path.with_suffix(".tmp")
        temporary.write_bytes(page)
        temporary.replace(path)
    return stale


if __name__ == "__main__":
    sys.exit(main())
