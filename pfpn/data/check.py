"""Everything that is wrong with a data set on disk, not just the first thing that is met."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pfpn.data.categories import (
    LabelMap,
    category_problem,
    parse_category,
    read_json,
    semantic_problem,
    shorten,
)
from pfpn.data.coco import (
    IMAGE_SUFFIXES,
    annotation_paths,
    find_annotations,
    find_image,
    image_findings,
    image_id_of,
    named_folders,
    photo_findings,
    png_problem,
    segment_extents,
    segment_findings,
    shared_stems,
    size_findings,
)
from pfpn.data.images import Finding, FormatError, read_id_map, read_image
from pfpn.data.threads import ordered_map
from pfpn.files import path_problem, printable
from pfpn.structures import Category


def check(
    root: Path | str,
    split: str,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[Finding]:
    """Return everything that is wrong with a data set in COCO panoptic format, by file.

    Every file is read. Raises ValueError only if there is no JSON object to begin with.

    Args:
        root: folder of the data set.
        split: such as "train" or "val2017".
        workers: threads that decode images.
        progress: called with the numbers of images done and of all.
    """
    json_path = find_annotations(Path(root), split)
    content = read_json(json_path)
    if not isinstance(content, dict):
        raise ValueError(f"{json_path}: found {type(content).__name__}, expected an object")
    file = str(json_path)
    findings: list[Finding] = []
    try:
        png_folder, image_folder = named_folders(Path(root), split, content)
    except FormatError as error:
        findings.append(error.finding)
        png_folder, image_folder = annotation_paths(Path(root), split)[1:]
    categories = _check_categories(content.get("categories"), file, findings)
    images = _check_images(content.get("images"), file, findings)
    annotations = _check_annotations(content.get("annotations"), file, findings)
    names = [image["file_name"] for image in images.values() if _is_path(image.get("file_name"))]
    folders = _Folders(file, png_folder, image_folder, shared_stems(names))
    labels = LabelMap(tuple(categories))

    def check_one(annotation: Mapping[str, Any]) -> list[Finding]:
        image = images.get(image_id_of(annotation))
        return list(_annotation_findings(annotation, image, labels, folders))

    seen: set[Any] = set()
    pngs: set[str] = set()
    for done, (annotation, found) in enumerate(ordered_map(check_one, annotations, workers), 1):
        findings += _repetitions(annotation, file, seen, pngs)
        findings += found
        if progress is not None:
            progress(done, len(annotations))
    for image_id, image in images.items():
        if image_id not in seen:
            found_ = f"no annotation of {printable(image.get('file_name'))}"
            findings.append(Finding(file, image_id, None, found_, "one per image"))
            findings += _image_file_findings(image, {}, folders)
    findings += _aliases(images, folders)
    if "folders" in content:  # shared with other splits, whose files this list does not name
        return findings
    used = {folders.find(name) for name in names}
    findings += _orphans(png_folder, {png_folder / png for png in pngs if _is_path(png)}, (".png",))
    findings += _orphans(image_folder, used, IMAGE_SUFFIXES)
    return findings


def _repetitions(
    annotation: Mapping[str, Any], file: str, seen: set[Any], pngs: set[str]
) -> Iterator[Finding]:
    """Yield whether the image or the PNG came before; add them to those that did."""
    image_id, png = image_id_of(annotation), annotation.get("file_name")
    if image_id is not None and image_id in seen:
        yield Finding(file, image_id, None, "a second annotation", "one annotation per image")
    seen.add(image_id)
    if isinstance(png, str):
        if png in pngs:
            found = f"{printable(png)} used twice"
            yield Finding(file, image_id, None, found, "a PNG of its own")
        pngs.add(png)


@dataclass(frozen=True, slots=True)
class _Folders:
    """Where the files of a split are."""

    json: str
    pngs: Path
    images: Path
    shared: frozenset[str]  # stems of several images, see `find_image`

    def find(self, file_name: str) -> Path:
        return find_image(self.images, file_name, self.shared)


def _is_path(name: Any) -> bool:
    return path_problem(name) is None


def _check_annotations(entries: Any, file: str, findings: list[Finding]) -> list[dict[str, Any]]:
    """Return the annotations that are objects; add findings for the others."""
    if not isinstance(entries, list):
        findings.append(Finding(file, None, None, "no annotations", "a list"))
        return []
    for entry in entries:
        if not isinstance(entry, dict):
            found = f"annotation {shorten(entry)}"
            findings.append(Finding(file, None, None, found, "an object"))
    return [entry for entry in entries if isinstance(entry, dict)]


def _check_categories(entries: Any, file: str, findings: list[Finding]) -> list[Category]:
    """Return the categories that can be used; add findings for the others."""
    if not isinstance(entries, list):
        findings.append(Finding(file, None, None, "no categories", "a list"))
        return []
    categories: list[Category] = []
    ids: set[int] = set()
    names: set[str] = set()
    for entry in entries:
        problem = category_problem(entry, ids)
        if problem is not None:
            findings.append(Finding(file, None, None, *problem))
            continue
        name = entry.get("name")
        if not isinstance(name, str):
            found = f"category {entry['id']} with name {shorten(name)}"
            findings.append(Finding(file, None, None, found, "a name"))
        elif name in names:
            found = f"the name {shorten(name)} of category {entry['id']} twice"
            findings.append(Finding(file, None, None, found, "each name once"))
        ids.add(entry["id"])
        names.add(str(name))
        categories.append(parse_category(entry))
    problem = semantic_problem(categories)
    if problem is not None:
        findings.append(Finding(file, None, None, *problem))
    return categories


def _check_images(entries: Any, file: str, findings: list[Finding]) -> dict[Any, Any]:
    """Return the entries by image id that can be used; add findings for everything."""
    if not isinstance(entries, list):
        findings.append(Finding(file, None, None, "no images", "a list"))
        return {}
    images: dict[Any, Any] = {}
    for entry in entries:
        findings += image_findings(entry, file, images)
        if isinstance(entry, dict) and type(entry.get("id")) in (int, str):
            images.setdefault(entry["id"], entry)
    return images


def _aliases(images: Mapping[Any, Any], folders: _Folders) -> Iterator[Finding]:
    """Yield a finding for each image whose file is that of an image before it."""
    first: dict[Any, str] = {}
    for image_id, image in images.items():
        name = image.get("file_name")
        if not _is_path(name):
            continue
        path = folders.find(name)
        try:
            status = path.stat()
            file: Any = (
                status.st_dev,
                status.st_ino,
            )  # also through links, or without regard to case
        except OSError:
            file = name
        if file in first:
            other = "" if name == first[file] else f", for it is the file of {first[file]}"
            found = f"{name} used twice{other}"
            yield Finding(folders.json, image_id, None, found, "a file of its own")
        first.setdefault(file, name)


def _annotation_findings(
    annotation: Mapping[str, Any],
    image: Mapping[str, Any] | None,
    labels: LabelMap,
    folders: _Folders,
) -> Iterator[Finding]:
    """Yield what is wrong with one annotation, its PNG and its image."""
    image_id, problem = image_id_of(annotation), png_problem(annotation)
    if image is None:
        found = f"an annotation of image {shorten(annotation.get('image_id'))}"
        yield Finding(folders.json, image_id, None, found, "one of the listed images")
    listed = _listed_size(image)
    size, extents = None, None
    if problem is not None:
        yield Finding(folders.json, image_id, None, *problem)
    else:
        png = folders.pngs / annotation["file_name"]
        try:
            id_map = read_id_map(png, image_id=image_id)
        except FormatError as error:
            yield error.finding
        else:
            size, extents = id_map.shape, segment_extents(id_map)
            if listed is not None:
                yield from size_findings(png, image_id, size, {"the JSON": listed})
    areas = None if extents is None else {number: area for number, (area, _) in extents.items()}
    yield from segment_findings(annotation, folders.json, labels, areas)
    yield from _box_findings(annotation, folders.json, extents or {})
    if image is not None:
        yield from _image_file_findings(image, {} if size is None else {"its PNG": size}, folders)


def _listed_size(image: Mapping[str, Any] | None) -> tuple[int, int] | None:
    """Return (height, width) of an entry of "images" if both are given, as numbers."""
    height, width = (image or {}).get("height"), (image or {}).get("width")
    return (height, width) if type(height) is int and type(width) is int else None


def _box_findings(
    annotation: Mapping[str, Any], file: str, extents: Mapping[int, tuple[int, list[int]]]
) -> Iterator[Finding]:
    """Yield what is wrong with boxes, and which keys of a segment are missing."""
    image_id = image_id_of(annotation)
    segments = annotation.get("segments_info")
    seen = set()
    for segment in segments if isinstance(segments, list) else []:
        number = segment.get("id") if isinstance(segment, dict) else None
        if type(number) is not int or number not in extents or number in seen:
            continue
        seen.add(number)
        box = extents[number][1]
        for key, right in (("area", None), ("bbox", f"{box}"), ("iscrowd", None)):
            if segment.get(key) is None:
                expected = f"{key} {right}" if right else f"its {key}"
                yield Finding(file, image_id, number, f"no {key}", expected)
        if segment.get("bbox") not in (None, box):
            found = f"bbox {shorten(segment['bbox'])}"
            expected = f"{box} as in the PNG (x, y, width, height)"
            yield Finding(file, image_id, number, found, expected)


def _image_file_findings(
    image: Mapping[str, Any], expected: Mapping[str, tuple[int, int]], folders: _Folders
) -> Iterator[Finding]:
    """Yield what is wrong with an image; it should be as big as its PNG, and as the JSON says."""
    if not _is_path(image.get("file_name")):
        return
    path, image_id, listed = folders.find(image["file_name"]), image.get("id"), _listed_size(image)
    sizes = {**expected, **({} if listed is None else {"the JSON": listed})}
    try:
        read_image(path)
        yield from photo_findings(path, image_id, sizes)
    except FormatError as error:
        yield replace(error.finding, image_id=image_id)


def _orphans(folder: Path, used: set[Path], suffixes: tuple[str, ...]) -> Iterator[Finding]:
    """Yield the files below a folder that the JSON does not name."""
    if not folder.is_dir():
        yield Finding(str(folder), None, None, "no such folder", "a folder")
        return
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in suffixes and path not in used:
            yield Finding(
                str(path), None, None, "a file that nothing names", "an entry in the JSON"
            )
