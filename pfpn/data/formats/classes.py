"""Which class of a source becomes which category: a small TOML file that the user edits.

[[classes]]
name = "car"
kind = "thing"      # "thing" is counted, "stuff" is not, "ignore" leaves the pixels void
color = "#00008e"
from = ["car"]      # what the source calls it; several names make one class of them
"""

import json
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pfpn.data.categories import cityscapes_categories, coco_categories
from pfpn.data.toy import TOY_CATEGORIES
from pfpn.structures import Category

KINDS = ("thing", "stuff", "ignore")
# Names that mean "no class" in one tool or another.
BACKGROUND = ("background", "_background_", "__ignore__", "void", "unlabeled", "unlabelled")
HEAD = """\
# The classes of this data set. Edit, then run the same `pfpn import` again.
#   kind   "thing" is counted one by one, "stuff" is not, "ignore" leaves its pixels void
#   from   what the source calls the class; list several names to make one class of them
"""


@dataclass(frozen=True, slots=True)
class ClassEntry:
    """One class of the table."""

    name: str
    kind: str  # one of KINDS
    color: tuple[int, int, int]  # RGB, 0..255
    sources: tuple[str, ...]  # class keys of the source


def propose(keys: Iterable[tuple[str, str, bool | None]]) -> list[ClassEntry]:
    """Return a table for the classes of a source, in the given order.

    A class with the name of a class of COCO, Cityscapes or the drawn world takes its color, and its
    kind where the source does not say. Names that are equal in the source become one class, or two
    if one is a thing and the other stuff.

    Args:
        keys: (class key, name, whether it is a thing; None if the source does not say).
    """
    known: dict[str, Category] = {}
    for category in [*TOY_CATEGORIES, *cityscapes_categories(), *coco_categories()]:
        plain = category.name.removesuffix("-merged").removesuffix("-other")
        known.setdefault(plain, category)
    entries: dict[tuple[str, str], ClassEntry] = {}  # by name in the source and kind
    for key, name, is_thing in keys:
        plain = name.strip().lower().replace("_", " ")
        twin = known.get(plain)
        if plain in (*BACKGROUND, ""):
            kind = "ignore"
        elif is_thing is None:
            kind = "thing" if twin is None or twin.is_thing else "stuff"
        else:
            kind = "thing" if is_thing else "stuff"
        color = twin.color if twin else _spread_color(len(entries))
        entry = ClassEntry(name.strip() or key, kind, color, (key,))
        if (entry.name, kind) in entries:  # one class under two numbers, or with a space behind it
            same = entries[entry.name, kind]
            entry = replace(same, sources=(*same.sources, key))
        elif any(entry.name == other for other, _ in entries):
            entry = replace(entry, name=f"{entry.name} ({kind})")
        entries[name.strip() or key, kind] = entry
    return list(entries.values())


def to_categories(entries: Sequence[ClassEntry]) -> tuple[list[Category], dict[str, int]]:
    """Return the categories, numbered from 1, and the category id of each class key."""
    categories: list[Category] = []
    ids: dict[str, int] = {}
    for entry in entries:
        if entry.kind == "ignore":
            continue
        number = len(categories) + 1
        categories.append(Category(number, entry.name, entry.kind == "thing", entry.color))
        ids |= dict.fromkeys(entry.sources, number)
    return categories, ids


def to_toml(entries: Sequence[ClassEntry]) -> str:
    """Write a table; `read_classes` reads it."""
    blocks = [HEAD]
    for entry in entries:
        red, green, blue = entry.color
        sources = ", ".join(_quote(source) for source in entry.sources)
        blocks.append(
            f"\n[[classes]]\nname = {_quote(entry.name)}\nkind = {_quote(entry.kind)}\n"
            f'color = "#{red:02x}{green:02x}{blue:02x}"\nfrom = [{sources}]\n'
        )
    return "".join(blocks)


def read_classes(path: Path) -> list[ClassEntry]:
    """Read a table.

    Raises:
        ValueError: the file is no TOML, or an entry is wrong; the message names it.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: found broken TOML ({error}), expected a whole file") from error
    rows = content.get("classes")
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"{path}: found no [[classes]], expected at least one")
    entries = [_parse_entry(row, f"{path}, class {i}") for i, row in enumerate(rows, start=1)]
    for what, values in (
        ("name", [e.name for e in entries if e.kind != "ignore"]),
        ("entry of `from`", [s for e in entries for s in e.sources]),
    ):
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            raise ValueError(f"{path}: found the {what} {twice[0]!r} twice, expected it once")
    return entries


def _parse_entry(row: object, where: str) -> ClassEntry:
    if not isinstance(row, dict):
        raise ValueError(f"{where}: found {row!r}, expected name, kind, color and from")
    name, kind, color = row.get("name"), row.get("kind"), row.get("color", "#808080")
    sources = row.get("from", [name])
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"{where}: found name {name!r}, expected a word")
    if kind not in KINDS:
        raise ValueError(f"{where} ({name!r}): found kind {kind!r}, expected one of {KINDS}")
    if not isinstance(sources, list) or not all(isinstance(s, str) for s in sources):
        raise ValueError(f"{where} ({name!r}): found from = {sources!r}, expected a list of names")
    digits = color.removeprefix("#") if isinstance(color, str) else ""
    try:
        red, green, blue = bytes.fromhex(digits)
    except ValueError:
        raise ValueError(
            f"{where} ({name!r}): found color {color!r}, expected one as #00ff80"
        ) from None
    return ClassEntry(name.strip(), kind, (red, green, blue), tuple(sources))


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _spread_color(number: int) -> tuple[int, int, int]:
    """Return a color far from those of the numbers before: bits of the number, high ones first."""
    color = [0, 0, 0]
    number += 1
    for bit in range(7, -1, -1):
        for channel in range(3):
            color[channel] |= (number & 1) << bit
            number >>= 1
    return color[0], color[1], color[2]
