"""COCO instances: one JSON file with polygons or run-length codes, as many tools export it.

CVAT's and Label Studio's COCO exports are read by the same code: they differ in where the JSON
file and the photographs lie. Stuff may come beside it: as a JSON file of the same kind, or as PNGs
whose pixels are category ids.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pfpn.data.categories import read_json, shorten
from pfpn.data.formats.label_images import category_names, read_label_image
from pfpn.data.formats.regions import Picture, Region, polygon_mask
from pfpn.data.formats.source import ImageFinder, Options, origin_of, stem_of

OTHER_STUFF = 183  # COCO's "other" in stuff PNGs: every thing


class CocoInstances:
    """Pictures of a COCO instances file, with stuff beneath them where it is given.

    Args:
        source: the file, or a folder that holds one.
        options: where its parts are, if not at their usual places.
        with_crowds: as in COCO, iscrowd = 1 marks a group whose members are not told apart. CVAT
            marks every mask so, whether drawn as one object or not; there it means nothing.
    """

    def __init__(self, source: Path, options: Options, *, with_crowds: bool = True):
        self.json = _find_json(source)
        content = _read(self.json)
        self.unmarked = 0  # annotations whose mark as a crowd was taken away
        for annotation in [] if with_crowds else filter(_is_crowd, content["annotations"]):
            annotation["iscrowd"] = 0
            self.unmarked += 1
        self._images: list[dict[str, Any]] = content["images"]
        self._names = _names(content, self.json)
        self._annotations = _by_image(content, self.json)
        self._is_thing = {
            str(c["id"]): bool(c["isthing"]) for c in content["categories"] if "isthing" in c
        }
        if options.categories is not None:
            for key, (name, is_thing) in category_names(options).items():
                if key in self._names:
                    self._names[key] = name
                    self._is_thing |= {} if is_thing is None else {key: is_thing}
        self._stuff_names: dict[str, str] = {}
        self._stuff_annotations: dict[Any, list[Mapping[str, Any]]] = {}
        self._stuff_finder: ImageFinder | None = None
        if options.stuff is not None and options.stuff.is_dir():
            self._stuff_finder = ImageFinder([options.stuff])
            self._stuff_names = self._names_of_values(options)
        elif options.stuff is not None:
            stuff = _read(options.stuff)
            self._stuff_names = _names(stuff, options.stuff)
            self._stuff_annotations = _by_image(stuff, options.stuff)
        base = self.json.parent
        usual = [base / "images", base, base.parent / "images", base.parent]
        folders = [options.images] if options.images else usual
        self._finder = ImageFinder(folders)

    def classes(self) -> list[tuple[str, str, bool | None]]:
        """Return the classes of both files; those of instances are things if nothing else is said.

        A category that only a stuff source holds is stuff.
        """
        things = [(k, n, self._is_thing.get(k, True)) for k, n in self._names.items()]
        has_stuff = bool(self._stuff_names)
        stuff: list[tuple[str, str, bool | None]] = [
            (f"stuff {key}", name, False) for key, name in self._stuff_names.items()
        ]
        used = {str(a["category_id"]) for group in self._annotations.values() for a in group}
        if has_stuff:  # a list of all classes in both files: the unused ones say nothing
            things = [row for row in things if row[0] in used]
        # An export of one tool has things and stuff in one list: then the name decides.
        undecided = not has_stuff and not self._is_thing
        return [(k, n, None if undecided else t) for k, n, t in things] + stuff

    def __iter__(self) -> Iterator[Picture]:
        for entry in self._images:
            name, image_id = entry["file_name"], entry["id"]
            path, missing = self._finder.look(name)
            size = (int(entry["height"]), int(entry["width"]))
            problems = list(missing)
            annotations = self._annotations.get(image_id, [])
            reasons = [_problem(annotation, size) for annotation in annotations]
            good = [a for a, reason in zip(annotations, reasons, strict=True) if not reason]
            problems += filter(None, reasons)
            origin = origin_of(name)
            yield Picture(
                stem_of(origin), path, size, self._regions(image_id, name, size, good),
                tuple(problems), origin,
            )  # fmt: skip

    def _regions(
        self, image_id: Any, name: str, size: tuple[int, int], annotations: list[Mapping[str, Any]]
    ) -> Any:
        def read() -> Sequence[Region]:
            below = [
                _region(a, size, is_base=True, prefix="stuff ")
                for a in self._stuff_annotations.get(image_id, [])
                if str(a["category_id"]) in self._stuff_names
            ]
            if self._stuff_finder is not None:
                below += self._value_regions(name, size)
            return [*below, *(_region(a, size) for a in annotations)]

        return read

    def _value_regions(self, name: str, size: tuple[int, int]) -> list[Region]:
        assert self._stuff_finder is not None
        path = self._stuff_finder.find(stem_of(origin_of(name)) + ".png")
        if path is None:
            return []
        values = read_label_image(path, size)
        return [
            Region(f"stuff {value}", values == value, is_base=True)
            for value in np.unique(values).tolist()
            if str(value) in self._stuff_names
        ]

    def _names_of_values(self, options: Options) -> dict[str, str]:
        """Return the names of the pixel values that stand for stuff; 0, 183 and 255 are none."""
        assert options.stuff is not None
        names = dict(self._names)
        names |= {key: name for key, (name, _) in category_names(options).items()}
        values: set[int] = set()
        for path in sorted(options.stuff.glob("*.png")):
            values |= set(np.unique(read_label_image(path)).tolist())
        used = {str(a["category_id"]) for group in self._annotations.values() for a in group}
        plain = sorted(values - {0, OTHER_STUFF, 255})
        return {str(v): names.get(str(v), f"class {v}") for v in plain if str(v) not in used}


def _find_json(source: Path) -> Path:
    """Return the JSON file of instances: the source itself, or the only fitting one in it."""
    if source.is_file():
        return source
    if not source.is_dir():
        raise ValueError(f"{source}: found no such file or folder, expected COCO annotations")
    candidates = [
        path
        for pattern in (
            "result.json",
            "annotations/instances_*.json",
            "annotations/*.json",
            "*.json",
        )
        for path in sorted(source.glob(pattern))
    ]
    candidates = list(dict.fromkeys(candidates))
    best = [p for p in candidates if p.name.startswith(("instances_", "result"))] or candidates
    if len(best) != 1:
        names = ", ".join(path.name for path in best) or "no JSON file"
        raise ValueError(f"{source}: found {names}, expected one COCO JSON file. Name it itself.")
    return best[0]


def _read(path: Path) -> dict[str, Any]:
    content = read_json(path)
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise ValueError(f"{path}: found no list of {key}, expected COCO instances")
    for entry in content["images"]:
        problem = _image_problem(entry)
        if problem:
            raise ValueError(f"{path}: found {problem}, in image {shorten(entry)}")
    for what in ("images", "categories"):
        ids = Counter(entry.get("id") for entry in content[what] if isinstance(entry, dict))
        twice = [number for number, count in ids.items() if count > 1]
        if twice:
            raise ValueError(
                f"{path}: found id {twice[0]!r} twice among the {what}, expected ids that differ"
            )
    return content


def _image_problem(entry: object) -> str:
    """Say what is wrong with an entry of the images, "" if nothing is."""
    if not isinstance(entry, dict):
        return f"{shorten(entry)}, expected an object with id, file_name, height and width"
    if type(entry.get("id")) not in (int, str):
        return f"id {shorten(entry.get('id'))}, expected a whole number or text"
    if not isinstance(entry.get("file_name"), str):
        return f"file_name {shorten(entry.get('file_name'))}, expected text"
    for side in ("height", "width"):
        if type(entry.get(side)) is not int or entry[side] <= 0:
            return f"{side} {shorten(entry.get(side))}, expected a whole number of pixels"
    return ""


def _names(content: Mapping[str, Any], path: Path) -> dict[str, str]:
    names: dict[str, str] = {}
    for entry in content["categories"]:
        if not isinstance(entry, dict) or type(entry.get("id")) is not int:
            found = shorten(entry.get("id") if isinstance(entry, dict) else entry)
            raise ValueError(f"{path}: found category id {found}, expected a whole number")
        names[str(entry["id"])] = str(entry.get("name", entry["id"]))
    return names


def _by_image(content: Mapping[str, Any], path: Path) -> dict[Any, list[Mapping[str, Any]]]:
    groups: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
    known = {entry["id"] for entry in content["images"]}
    categories = {entry["id"] for entry in content["categories"]}
    for entry in content["annotations"]:
        image_id = entry.get("image_id") if isinstance(entry, dict) else None
        if type(image_id) not in (int, str) or image_id not in known:
            raise ValueError(
                f"{path}: found an annotation of image {image_id!r}, expected one of the images"
            )
        number = entry.get("category_id")
        if type(number) is not int or number not in categories:
            raise ValueError(
                f"{path}: found category_id {shorten(number)} in an annotation of "
                f"image {image_id!r}, expected one of the categories"
            )
        groups[image_id].append(entry)
    return groups


def _problem(annotation: Mapping[str, Any], size: tuple[int, int]) -> str:
    """Say why an annotation has no readable mask; "" if it has one."""
    shape = annotation.get("segmentation")
    where = f"annotation {annotation.get('id', '?')}"
    if isinstance(shape, list):
        if not shape:
            return f"{where}: a box without a polygon"
        if all(isinstance(p, list) and len(p) % 2 == 0 for p in shape):
            return ""
    if isinstance(shape, dict) and isinstance(shape.get("counts"), list | str):
        found = shape.get("size")
        return "" if found == list(size) else f"{where}: a mask of {found}, the image has {size}"
    return f"{where}: a segmentation that is neither polygons nor a run-length code"


def _region(
    annotation: Mapping[str, Any], size: tuple[int, int], *, is_base: bool = False, prefix: str = ""
) -> Region:
    key = prefix + str(annotation["category_id"])
    is_crowd = _is_crowd(annotation)
    shape = annotation["segmentation"]
    if isinstance(shape, list):
        mask, outside = polygon_mask(shape, size)
        return Region(key, mask, is_crowd, is_base, outside)
    return Region(key, decode_rle(shape, size), is_crowd, is_base)


def _is_crowd(annotation: object) -> bool:
    return isinstance(annotation, dict) and annotation.get("iscrowd", 0) == 1


def decode_rle(code: Mapping[str, Any], size: tuple[int, int]) -> np.ndarray:
    """Decode a run-length code of COCO, compressed or not, as bool (h, w).

    Raises:
        ValueError: it is no run-length code of so many pixels.
    """
    counts, stated = code.get("counts"), code.get("size", list(size))
    if stated != list(size):
        raise ValueError(f"found a mask of size {stated}, expected {list(size)} as the image")
    if not isinstance(counts, list | str):
        raise ValueError(f"found counts {shorten(counts)}, expected a run-length code")
    if isinstance(counts, str):
        counts = decode_counts(counts)
    if any(type(number) is not int for number in counts):
        raise ValueError(f"found counts {shorten(counts)}, expected whole numbers")
    if sum(counts) != size[0] * size[1] or min(counts, default=0) < 0:
        raise ValueError(f"found a run-length code of {sum(counts)} pixels, expected {size}")
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return flat.reshape(size[1], size[0]).T


def decode_counts(text: str) -> list[int]:
    """Return the lengths of the runs in a compressed code of COCO.

    Five bits a character, the sixth tells that the number goes on; from the fourth number on, the
    difference to the last but one is stored. (pycocotools does not say when a code is too short.)

    Raises:
        ValueError: it has other characters, or ends within a number.
    """
    values = np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int64) - 48
    is_last = (values & 32) == 0
    if not text or values.min() < 0 or values.max() > 63 or not is_last[-1]:
        raise ValueError(f"found counts {shorten(text)}, expected a compressed run-length code")
    first = np.concatenate([[0], np.flatnonzero(is_last)[:-1] + 1])
    lengths = np.diff(first, append=len(values))
    if lengths.max() > 8:
        raise ValueError(f"found counts {shorten(text)}, expected lengths of runs")
    shifts = 5 * (np.arange(len(values)) - np.repeat(first, lengths))
    numbers = np.add.reduceat((values & 31) << shifts, first)
    is_negative = (values[is_last] & 16) != 0
    numbers -= np.where(is_negative, 1 << (5 * lengths), 0)
    for start in (1, 2):
        numbers[start::2] = np.cumsum(numbers[start::2])
    return numbers.tolist()
