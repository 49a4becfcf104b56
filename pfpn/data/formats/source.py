"""What every reader of a foreign format gives, and how it looks for photographs."""

import filecmp
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Protocol, runtime_checkable
from urllib.parse import unquote

from pfpn.data.formats.regions import Picture

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True, slots=True)
class Options:
    """Where the parts of a source are, if not at their usual places."""

    images: Path | None = None  # folder of the photographs
    stuff: Path | None = None  # coco only: stuff annotations, JSON or a folder of PNGs
    categories: Path | None = None  # JSON list of categories, for formats that store numbers
    split: str | None = None  # cityscapes and voc: the part of the source that is read


@runtime_checkable
class Reader(Protocol):
    """A source of pictures."""

    def classes(self) -> list[tuple[str, str, bool | None]]:
        """Return (class key, name, is it a thing?) of each class; None if it is not known."""

    def __iter__(self) -> Iterator[Picture]:
        """Yield the pictures in the order of the source."""


class ImageFinder:
    """Finds photographs by name in a few folders, with any suffix, in any case."""

    def __init__(self, folders: Iterable[Path]):
        self.folders = [folder for folder in folders if folder.is_dir()]
        names = (lambda p: p.name), (lambda p: p.stem), (lambda p: _upload_name(p.name))
        # By kind of name, then by folder: an earlier one goes before a later one
        self._paths = [[_photographs(folder, name) for folder in self.folders] for name in names]

    def look(self, name: str) -> tuple[Path, tuple[str, ...]]:
        """Return the photograph that annotations call so, and what is wrong: one line or none.

        Where there is none, the path is the name itself. Of several photographs that fit, it is the
        one with most of the name's folders; if they are different pictures, none is taken.

        Args:
            name: as the annotations hold it: a name, a path, or the address of an upload, see
                `spellings`.
        """
        for spelling in spellings(name):
            found = self._find(spelling)
            if len(found) > 1:
                some = ", ".join(str(path) for path in found[:3])
                return Path(name), (
                    f"several photographs {name!r} ({some}), expected one. Try --images with a "
                    "folder that holds one of them",
                )
            if found:
                return found[0], ()
        where = ", ".join(str(folder) for folder in self.folders) or "any folder (try --images)"
        return Path(name), (f"no photograph {name!r} in {where}",)

    def find(self, name: str) -> Path | None:
        """Return the photograph that annotations call so; None if there is not exactly one."""
        path, problems = self.look(name)
        return None if problems else path

    def _find(self, name: str) -> list[Path]:
        is_inside = ".." not in name.split("/") and not name.startswith("/")
        for folder in self.folders:
            if is_inside and (folder / name).is_file():
                return [folder / name]
        last = name.rsplit("/", 1)[-1]
        stem = last.rsplit(".", 1)[0] if last.lower().endswith(SUFFIXES) else last
        for by_folder, key in zip(self._paths, (last, stem, last), strict=True):
            for paths in by_folder:
                if _key(key) in paths:
                    return _nearest(paths[_key(key)], name)
        return []


def _photographs(folder: Path, name: Callable[[Path], str]) -> dict[str, list[Path]]:
    paths: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
            paths[_key(name(path))].append(path)
    return dict(paths)


def _key(name: str) -> str:
    """Return a name without the differences of systems: case, and how accents are coded."""
    return unicodedata.normalize("NFC", name).casefold()


def _upload_name(name: str) -> str:
    """Return the name that Label Studio gives to a file that is uploaded."""
    return re.sub(r"[^-\w.]", "", unicodedata.normalize("NFC", name).strip().replace(" ", "_"))


def _nearest(paths: list[Path], name: str) -> list[Path]:
    """Return the photographs that share most of the name's last folders; copies count once."""
    parts = [_key(part) for part in reversed(name.split("/"))]

    def shared(path: Path) -> int:
        pairs = zip((_key(part) for part in reversed(path.parts)), parts, strict=False)
        # The last part is the file's name, with any suffix
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], list(pairs)[1:]))

    most = max(shared(path) for path in paths)
    first, *others = [path for path in paths if shared(path) == most]
    differing = [path for path in others if not filecmp.cmp(first, path, shallow=False)]
    return [first, *differing]


def spellings(name: str) -> list[str]:
    """Return how a photograph may be called on disk, what is most likely first; "/" as separator.

    Label Studio writes addresses ("/data/upload/1/3f2b1c9a-my%20photo.jpg", "...?d=a/b.jpg") and
    puts eight digits and a "-" before the name of an upload. Windows separates by backslashes.
    """
    plain = name.replace("\\", "/")
    local = re.search(r"[?&]d=([^&]*)", plain)
    address = local[1] if local else re.sub(r"^[a-z][a-z0-9+.-]*://", "", plain)
    is_address = bool(local) or address != plain
    decoded = unquote(address.partition("?")[0] if is_address and not local else address)
    names = [plain, decoded]
    names += [re.sub(r"(^|/)[0-9a-f]{8}-([^/]+)$", r"\1\2", spelling) for spelling in names]
    return list(dict.fromkeys(names))


def origin_of(name: str) -> str:
    """Return the path of a photograph that annotations call so, without an address around it."""
    return spellings(name)[1] if "?" in name or "%" in name else spellings(name)[0]


def told_apart(pictures: Sequence[Picture]) -> list[Picture]:
    """Return pictures whose names differ: where they agree, with folders or suffix in the name.

    "day1/a.jpg" and "day2/a.jpg" become "day1_a" and "day2_a", "a.jpg" and "a.png" become "a_jpg"
    and "a_png".
    """
    for longer in (_with_folders, _with_suffix):
        counts = Counter(_key(picture.name) for picture in pictures)
        pictures = [replace(p, name=longer(p)) if counts[_key(p.name)] > 1 else p for p in pictures]
    return list(pictures)


def _with_folders(picture: Picture) -> str:
    parts = [part for part in picture.origin.split("/")[:-1] if part not in ("", ".", "..")]
    return "_".join([*parts, picture.name])


def _with_suffix(picture: Picture) -> str:
    _, dot, suffix = picture.origin.rsplit("/", 1)[-1].rpartition(".")
    return f"{picture.name}_{suffix}" if dot else picture.name


def stem_of(file_name: str) -> str:
    """Return the last part of a file name without its suffix, for both kinds of slashes."""
    last = file_name.replace("\\", "/").rsplit("/", 1)[-1]
    return last.rsplit(".", 1)[0] if "." in last else last


def require_folder(path: Path, what: str) -> Path:
    """Return the path if it is a folder.

    Raises:
        ValueError: it is none.
    """
    if not path.is_dir():
        raise ValueError(f"{path}: found no such folder, expected {what}")
    return path
