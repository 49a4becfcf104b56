"""A folder of binary masks: SOURCE/PICTURE/CLASS.png or SOURCE/PICTURE/CLASS_NUMBER.png.

Each mask is one region; pixels above 127 belong to it (in masks of 0 and 1, those above 0).
"""

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from pfpn.data.formats.label_images import image_folders, png_files, read_label_image
from pfpn.data.formats.regions import Picture, Region
from pfpn.data.formats.source import ImageFinder, Options, require_folder


class MaskFolder:
    """Pictures of a folder with one folder of masks for each photograph."""

    def __init__(self, source: Path, options: Options):
        require_folder(source, "one folder of masks for each photograph")
        self._masks = {
            folder.name: png_files(folder)
            for folder in sorted(source.iterdir())
            if folder.is_dir() and png_files(folder) and folder.name != "images"
        }
        if not self._masks:
            raise ValueError(
                f"{source}: found no folders with PNGs, expected PICTURE/CLASS_NUMBER.png"
            )
        self._finder = ImageFinder([*image_folders(source, options), source])

    def classes(self) -> list[tuple[str, str, bool | None]]:
        """Return the classes that the names of the masks begin with; a thing if it has a number."""
        seen: dict[str, bool] = {}
        for path in (path for paths in self._masks.values() for path in paths):
            name, number = _split_name(path)
            seen[name] = seen.get(name, False) or number
        return [(name, name, True if numbered else None) for name, numbered in sorted(seen.items())]

    def __iter__(self) -> Iterator[Picture]:
        for name, paths in self._masks.items():
            image, problems = self._finder.look(name)
            size = read_label_image(paths[0]).shape
            yield Picture(
                name,
                image,
                (size[0], size[1]),
                partial(_regions, paths, (size[0], size[1])),
                problems,
            )


def _regions(paths: Sequence[Path], size: tuple[int, int]) -> Sequence[Region]:
    regions = []
    for path in paths:
        values = read_label_image(path, size)
        threshold = 127 if values.max(initial=0) > 1 else 0
        regions.append(Region(_split_name(path)[0], values > threshold))
    return regions


def _split_name(path: Path) -> tuple[str, bool]:
    """Return the class in the name of a mask, and whether a number follows."""
    match = re.fullmatch(r"(.+?)[ _-]+\d+", path.stem)
    return (match[1], True) if match else (path.stem, False)
