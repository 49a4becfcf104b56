"""The pages of the API reference, and the house's docstrings as Sphinx reads them.

Docstrings are plain text with names in single backticks, and Google's sections. reStructuredText
would take stars, bars and underscores in them for marks, and indented lines for quotations.
"""

import ast
import dataclasses
import importlib.util
import inspect
import re
import textwrap
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
OPTIONAL = ("onnx", "onnxruntime", "onnxscript", "torchmetrics", "ipywidgets")
STAGES = (
    *("structures", "boxes", "losses", "backbone", "fpn", "semantic", "anchors", "matching", "rpn"),
    *("roi", "box_head", "mask_head", "roi_heads", "model", "merge", "predict", "quality"),
)
SECTION = re.compile(r"(Args|Attributes|Example|Examples|Raises|Returns|Yields|Note|Warns):")
CODE = re.compile(r"(``.+?``|`[^`\n]+(?:\n[^`\n]+)?`)")
ITEM = re.compile(r"(?:[-*]|\d+\.) ")
NAME = re.compile(r"[A-Za-z_][\w.]*(\(\))?")


def modules() -> list[str]:
    """Return the names of all modules that a user may import: no part begins with "_"."""
    names = set()
    for path in (ROOT / "pfpn").rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        if not any(part.startswith("_") for part in parts):
            names.add(".".join(parts))
    return sorted(names)


def page_of(module: str, packages: set[str]) -> str:
    """Return the page that a module is on: its package's, or its own if it is at the top."""
    if module in packages or module.count(".") == 1:
        return module
    return module.rpartition(".")[0]


def missing() -> list[str]:
    """Return the optional packages that are not installed; Sphinx puts stand-ins in their place."""
    return [name for name in OPTIONAL if importlib.util.find_spec(name) is None]


def pages() -> dict[str, str]:
    """Return the Markdown of each page of the reference, by the name of what it describes."""
    names = modules()
    packages = {n for n in names if (ROOT / n.replace(".", "/") / "__init__.py").is_file()}
    contents: dict[str, list[str]] = {}
    for name in names:
        contents.setdefault(page_of(name, packages), []).append(name)
    return {page: _page(page, sorted(inside)) for page, inside in contents.items()}


def _page(page: str, inside: list[str]) -> str:
    lines = [f"# `{page}`", ""]
    for name in inside:
        if name != page:
            lines += [f"## `{name}`", ""]
        lines += ["```{eval-rst}", f".. automodule:: {name}", "   :ignore-module-all:", "```", ""]
        lines += exported(name)
    return "\n".join(lines)


def exported(package: str) -> list[str]:
    """Return a sentence on the names that a package hands on from its modules, if it does."""
    path = ROOT / package.replace(".", "/") / "__init__.py"
    if not path.is_file():
        return []
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [
        f"{{py:obj}}`~{node.module}.{alias.name}`"
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pfpn.")
        for alias in node.names
        if not (alias.asname or alias.name).startswith("_")
    ]
    return [f"`from {package} import ...` also gives {', '.join(names)}.", ""] if names else []


def first_sentence(module: str) -> str:
    """Return what a module says of itself in its first line, as Markdown."""
    path = ROOT / module.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.partition("\n\n")[0].split())


def process_docstring(
    app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Turn a docstring into reStructuredText, in place; a dataclass gets its fields' comments."""
    text = "\n".join(lines)
    if what == "class" and dataclasses.is_dataclass(obj):
        if text.startswith(f"{obj.__name__}("):  # made by dataclass, which repeats the signature
            text = ""
        comments = field_comments(obj)
        if comments and "Attributes:" not in text:
            rows = [f"    {field}: {comment}" for field, comment in comments.items()]
            text = "\n".join([text.rstrip(), "", "Attributes:", *rows])
    lines[:] = [*to_rst(text).split("\n"), ""]


def field_comments(cls: type) -> dict[str, str]:
    """Return the comment at the end of the line of each field of a class that has one."""
    try:
        source = textwrap.dedent(inspect.getsource(cls))
    except (OSError, TypeError):
        return {}
    body = ast.parse(source).body[0]
    rows = source.splitlines()
    comments = {}
    for node in getattr(body, "body", []):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            rest = rows[(node.end_lineno or node.lineno) - 1][node.end_col_offset :]
            found = re.match(r"\s*#:?\s+(.+)", rest)
            if found and "noqa" not in rest and "type:" not in rest:
                comments[node.target.id] = found[1]
    return comments


def to_rst(text: str) -> str:
    """Return a docstring as reStructuredText that means what a reader of the source reads."""
    result = []
    in_section = in_code = in_list = False
    for paragraph in re.split(r"\n[ \t]*\n", text.strip("\n")):
        lines = paragraph.split("\n")
        is_indented = lines[0].startswith(" ")
        if not is_indented:
            in_section, in_code = bool(SECTION.fullmatch(lines[0].strip())), False
            in_list = any(map(ITEM.match, lines))
        if in_code or re.fullmatch(r"[= ]+", lines[0]):  # a table's columns have their widths
            result.append(paragraph)
        elif in_section or in_list:
            result.append(_inline(_with_room_for_list(paragraph)))
        elif is_indented or any(line.startswith(" ") for line in lines):
            result += ["::", textwrap.indent(paragraph, "" if is_indented else "    ")]
            in_code = is_indented
        else:
            result.append(_inline(paragraph))
            in_code = paragraph.endswith("::")
    return "\n\n".join(result)


def _with_room_for_list(paragraph: str) -> str:
    """Return a paragraph with an empty line before the list that it ends with, if it does."""
    lines = paragraph.split("\n")
    first = next((i for i, line in enumerate(lines) if ITEM.match(line)), 0)
    return "\n".join([*lines[:first], *([""] if first else []), *lines[first:]])


def _inline(text: str) -> str:
    parts = CODE.split(text)
    for i, part in enumerate(parts):
        if i % 2 == 0:
            part = re.sub(r"([*|\\])", r"\\\1", part)
            part = part.replace("file://", "``file://``")  # else a link
            parts[i] = re.sub(r"(?<=\w)_(?=[\s.,;:)\]]|$)", r"\\_", part)
        elif not part.startswith("``"):
            code = " ".join(part[1:-1].split())
            parts[i] = f":py:obj:`{code}`" if NAME.fullmatch(code) else f"``{code}``"
    return "".join(parts)


def reading_order() -> list[str]:
    """Return the modules of the core: the stages of an image, each after what it needs."""
    top = [name for name in modules() if name.count(".") == 1]
    needs = {name: _imports(name) & set(top) for name in top}
    order: list[str] = []

    def add(name: str, above: tuple[str, ...] = ()) -> None:
        if name in order or name in above:
            return
        for other in sorted(needs[name]):
            add(other, (*above, name))
        order.append(name)

    for stage in STAGES:
        add(f"pfpn.{stage}")
    return order


def _imports(module: str) -> set[str]:
    path = ROOT / module.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    return {".".join(name.split(".")[:2]) for name in names}
