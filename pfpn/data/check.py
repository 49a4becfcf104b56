"""Everything that is wrong with a data set on disk, not just the first thing that is met."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from pfpn.data.categories import LabelMap, category_problem, parse_categories
from pfpn.data.coco import (
    IMAGE_SUFFIXES,
    Finding,
    FormatError,
    annotation_paths,
    find_image,
    image_findings,
    open_annotations,
    read_id_map,
    read_image,
    segment_extents,
    segment_findings,
)
from pfpn.structures import Category

Item = TypeVar("Item")
Result = TypeVar("Result")


def check(
    root: Path | str,
    split: str,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[Finding]:
    """Read every file of a data set in COCO panoptic format and list what is wrong, by file.

    Raises ValueError if there is no JSON file to begin with.

    Args:
        root: folder of the data set.
        split: such as "train" or "val2017".
        workers: threads that decode images.
        progress: called with the numbers of images done and of all.
    """
    json_path, png_folder, image_folder = annotation_paths(Path(root), split)
    content = open_annotations(Path(root), split)
    file = str(json_path)
    findings: list[Finding] = []
    labels = LabelMap(tuple(_check_categories(content.get("categories"), file, findings)))
    images = _check_images(content.get("images"), file, findings)
    annotations = content["annotations"]

    def check_one(annotation: Mapping[str, Any]) -> list[Finding]:
        image = images.get(_key(annotation.get("image_id")))
        return list(_annotation_findings(annotation, image, labels, file, png_folder, image_folder))

    seen: set[Any] = set()
    pngs: set[str] = set()
    for done, (annotation, found) in enumerate(ordered_map(check_one, annotations, workers), 1):
        image_id, png = _key(annotation.get("image_id")), annotation.get("file_name")
        if image_id is not None and image_id in seen:
            expected = "one annotation per image"
            findings.append(Finding(file, image_id, None, "a second annotation", expected))
        if isinstance(png, str) and png in pngs:
            found.append(Finding(file, image_id, None, f"{png} used twice", "a PNG of its own"))
        seen.add(image_id)
        pngs.add(str(png))
        findings += found
        if progress is not None:
            progress(done, len(annotations))
    for image_id, image in images.items():
        if image_id not in seen:
            found_ = f"no annotation of {image.get('file_name')}"
            findings.append(Finding(file, image_id, None, found_, "one per image"))
            findings += _image_file_findings(image, None, image_folder)
    used = {find_image(image_folder, str(i.get("file_name"))) for i in images.values()}
    findings += _orphans(png_folder, {png_folder / png for png in pngs}, (".png",))
    findings += _orphans(image_folder, used, IMAGE_SUFFIXES)
    return findings


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[tuple[Item, Result]]:
    """Yield (item, result) in order; with several threads, a few items ahead are being worked on.

    Threads do, because decoding an image and going over its pixels leave Python's lock.
    """
    if workers <= 1:
        for item in items:
            yield item, function(item)
        return
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(function, item)))
                if len(waiting) > 4 * workers:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            for _, future in waiting:  # the caller stopped, or an item failed
                future.cancel()


def _check_categories(entries: Any, file: str, findings: list[Finding]) -> list[Category]:
    """Return the categories that can be used; add findings for the others."""
    if not isinstance(entries, list):
        findings.append(Finding(file, None, None, "no categories", "a list"))
        return []
    categories: list[Category] = []
    for entry in entries:
        problem = category_problem(entry, categories)
        if problem is not None:
            findings.append(Finding(file, None, None, *problem))
            continue
        if not isinstance(entry.get("name"), str):
            found = f"category {entry['id']} with name {entry.get('name')!r}"
            findings.append(Finding(file, None, None, found, "a name"))
        elif any(entry["name"] == category.name for category in categories):
            found = f"the name {entry['name']!r} of category {entry['id']} twice"
            findings.append(Finding(file, None, None, found, "each name once"))
        categories += parse_categories([entry], file)
    return categories


def _check_images(entries: Any, file: str, findings: list[Finding]) -> dict[Any, Any]:
    """Return the entries by image id that can be used; add findings for everything."""
    if not isinstance(entries, list):
        findings.append(Finding(file, None, None, "no images", "a list"))
        return {}
    images: dict[Any, Any] = {}
    names: set[Any] = set()
    for entry in entries:
        found = list(image_findings(entry, file, images))
        findings += found
        if not isinstance(entry, dict) or type(entry.get("id")) not in (int, str):
            continue
        name = entry.get("file_name")
        if isinstance(name, str) and name in names and entry["id"] not in images:
            findings.append(
                Finding(file, entry["id"], None, f"{name} used twice", "a file of its own")
            )
        names.add(str(name))
        images.setdefault(entry["id"], entry)
    return images


def _annotation_findings(
    annotation: Mapping[str, Any],
    image: Mapping[str, Any] | None,
    labels: LabelMap,
    file: str,
    png_folder: Path,
    image_folder: Path,
) -> Iterator[Finding]:
    """Yield what is wrong with one annotation, its PNG and its image."""
    image_id = annotation.get("image_id")
    if image is None:
        found = f"an annotation of image {image_id!r}"
        yield Finding(file, _key(image_id), None, found, "one of the listed images")
    size, extents = None, None
    name = annotation.get("file_name")
    if not isinstance(name, str):
        found = f"an annotation with file_name {name!r}"
        yield Finding(file, _key(image_id), None, found, "the name of its PNG")
    else:
        png = png_folder / name
        try:
            id_map = read_id_map(png, image_id=image_id)
        except FormatError as error:
            yield error.finding
        else:
            size, extents = id_map.shape, segment_extents(id_map)
            listed_size = image and (image.get("height"), image.get("width"))
            if listed_size and None not in listed_size and listed_size != size:
                yield Finding(
                    str(png),
                    image_id,
                    None,
                    f"height and width {size}",
                    f"{listed_size} as in the JSON",
                )
    areas = None if extents is None else {number: area for number, (area, _) in extents.items()}
    yield from segment_findings(annotation, file, labels, areas)
    yield from _box_findings(annotation, file, extents or {})
    if image is not None:
        yield from _image_file_findings(image, size, image_folder)


def _box_findings(
    annotation: Mapping[str, Any], file: str, extents: Mapping[int, tuple[int, list[int]]]
) -> Iterator[Finding]:
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
                yield Finding(file, annotation.get("image_id"), number, f"no {key}", expected)
        if segment.get("bbox") not in (None, box):
            found = f"bbox {segment['bbox']}"
            expected = f"{box} as in the PNG (x, y, width, height)"
            yield Finding(file, annotation.get("image_id"), number, found, expected)


def _image_file_findings(
    image: Mapping[str, Any], size: tuple[int, ...] | None, folder: Path
) -> Iterator[Finding]:
    """Yield what is wrong with an image; it should be as big as its PNG, or as the JSON says."""
    if not isinstance(image.get("file_name"), str):
        return
    path = find_image(folder, image["file_name"])
    try:
        found = tuple(read_image(path).shape[1:])
    except FormatError as error:
        finding = error.finding
        yield Finding(finding.file, image.get("id"), None, finding.found, finding.expected)
        return
    listed = image.get("height"), image.get("width")
    for expected, source in ((size, "its PNG"), (listed, "the JSON")):
        if expected is not None and found != expected:
            yield Finding(
                str(path),
                image.get("id"),
                None,
                f"height and width {found}",
                f"{tuple(expected)} as in {source}",
            )
            return


def _orphans(folder: Path, used: set[Path], suffixes: tuple[str, ...]) -> Iterator[Finding]:
    if not folder.is_dir():
        yield Finding(str(folder), None, None, "no such folder", "a folder")
        return
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in suffixes and path not in used:
            yield Finding(
                str(path), None, None, "a file that nothing names", "an entry in the JSON"
            )


def _key(value: Any) -> Any:
    """Return an image id, or something to look up that is none."""
    return value if type(value) in (int, str) else None
