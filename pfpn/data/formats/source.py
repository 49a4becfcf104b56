"""What every reader of a foreign format gives, and how it looks for photographs."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from pfpn.data.formats.regions import Picture

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True, slots=True)
class Options:
    """Where the parts of a source are, if not at their usual places."""

    images: Path | None = None  # folder of the photographs
    stuff: Path | None = None  # coco only: stuff annotations, JSON or a folder of PNGs
    categories: Path | None = None  # JSON list of categories, for formats that store numbers
    split: str | None = None  # cityscapes only: train, val or test


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
        self._by_name: dict[str, Path] = {}
        self._by_stem: dict[str, list[Path]] = {}
        for folder in self.folders:
            for path in sorted(folder.rglob("*")):
                if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
                    self._by_name.setdefault(path.name.lower(), path)
                    self._by_stem.setdefault(path.stem.lower(), []).append(path)

    def find(self, name: str) -> Path | None:
        """Return the photograph of that file name; other suffixes will do. None if there is none.

        Args:
            name: as the annotations hold it; folders in it are only looked at as a last part, and
                both kinds of slashes separate them.
        """
        plain = name.replace("\\", "/")
        for folder in self.folders:
            path = folder / plain
            if ".." not in plain and not plain.startswith("/") and path.is_file():
                return path
        last = plain.rsplit("/", 1)[-1].lower()
        if last in self._by_name:
            return self._by_name[last]
        stem = last.rsplit(".", 1)[0] if last.endswith(SUFFIXES) else last
        paths = self._by_stem.get(stem, [])
        return paths[0] if len(set(paths)) == 1 else None


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
