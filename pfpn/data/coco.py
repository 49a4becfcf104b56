"""COCO panoptic format on disk: a JSON file, a folder of id PNGs, a folder of images.

    ROOT/annotations/panoptic_SPLIT.json    images, categories, annotations with segments_info
    ROOT/annotations/panoptic_SPLIT/*.png   segment id = R + 256 G + 65536 B, 0 is void
    ROOT/SPLIT/*.jpg                        photographs; .jpeg and .png will do

Cityscapes is read where its own tools leave it, see `annotation_paths`.

A data set is read one image at a time and written so that its JSON appears last: a folder with a
JSON file is a whole data set.
"""

import itertools
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch

from pfpn.data.categories import (
    LabelMap,
    categories_to_json,
    parse_categories,
    read_json,
    semantic_problem,
    shorten,
)
from pfpn.data.images import (
    MAX_ID,
    MAX_PIXELS,
    UPRIGHT,
    Finding,
    FormatError,
    PhotoHeader,
    encode_id_map,
    encode_image,
    id_map_to_rgb,
    read_id_map,
    read_id_map_size,
    read_image,
    read_image_header,
    rgb_to_id_map,
    write_id_map,
)
from pfpn.data.threads import ordered_map
from pfpn.files import Output, claim, name_problem, path_problem, require_distinct
from pfpn.structures import VOID, Category, Panoptic, Sample, Segment

__all__ = [  # what reads and writes pixels belongs to the format, though it has a file of its own
    "IMAGE_SUFFIXES",
    "MAX_ID",
    "CocoPanoptic",
    "CocoWriter",
    "Finding",
    "FormatError",
    "annotation_paths",
    "find_image",
    "id_map_to_rgb",
    "image_findings",
    "image_id_of",
    "images_by_id",
    "make_annotation",
    "named_folders",
    "open_annotations",
    "parse_segments",
    "png_problem",
    "read_annotations",
    "read_id_map",
    "read_image",
    "rgb_to_id_map",
    "segment_extents",
    "segment_findings",
    "shared_stems",
    "write_coco_panoptic",
    "write_id_map",
]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
MAX_IMAGE_ID = 2**63 - 1


# segments_info ------------------------------------------------------------------------------------


def segment_findings(
    annotation: Mapping[str, Any],
    file: str,
    labels: LabelMap,
    areas: Mapping[int, int] | None = None,
    *,
    is_truth: bool = True,
    polygons: bool = False,
) -> Iterator[Finding]:
    """Yield what is wrong with the segments of one annotation.

    Args:
        annotation: an entry of "annotations".
        file: that holds it, for messages.
        labels: of the categories.
        areas: pixels by id in the PNG, if it was read.
        is_truth: whether "area" and "iscrowd" mean something. A prediction's are not looked at.
        polygons: whether an area with a decimal point may differ from the PNG's, for it is that of
            the polygon which the segment was painted from.
    """
    image_id = image_id_of(annotation)

    def finding(segment_id: int | None, found: str, expected: str) -> Finding:
        return Finding(file, image_id, segment_id, found, expected)

    segments = annotation.get("segments_info")
    if not isinstance(segments, list):
        yield finding(None, f"segments_info {shorten(segments)}", "a list")
        return
    listed = set()
    for segment in segments:
        number = segment.get("id") if isinstance(segment, dict) else None
        if type(number) is not int:
            yield finding(None, f"a segment {shorten(segment)}", "an object with an integer id")
            continue
        if not VOID < number <= MAX_ID:
            expected = f"1 to {MAX_ID}" + ("; 0 is void and not listed" if number == VOID else "")
            yield finding(number, f"segment id {shorten(number)}", expected)
        if number in listed:
            yield finding(number, "the id listed twice", "each id once in an image")
        category_id = segment.get("category_id")
        if type(category_id) is not int or category_id not in labels:
            yield finding(number, f"category_id {shorten(category_id)}", "one of the categories")
        if is_truth and segment.get("iscrowd", 0) not in (0, 1):
            yield finding(number, f"iscrowd {shorten(segment['iscrowd'])}", "0 or 1")
        if areas is not None and VOID < number <= MAX_ID and number not in listed:
            area = segment.get("area") if is_truth else None
            if polygons and is_polygon_area(area):
                area = None
            pixels = areas.get(number, 0)
            if pixels == 0:
                yield finding(number, "no pixel of a listed segment", "at least one in the PNG")
            elif area is not None and area != pixels:
                yield finding(number, f"area {shorten(area)}", f"{pixels} as in the PNG")
        listed.add(number)
    for number in sorted((areas or {}).keys() - listed - {VOID}):
        found = f"an id that is painted ({(areas or {})[number]} px) and not listed"
        yield finding(number, found, "each painted id in segments_info")


def is_polygon_area(area: Any) -> bool:
    """Return whether a segment's area is a number with a decimal point, as polygons have."""
    return isinstance(area, float) and 0 <= area < float("inf")


def image_id_of(annotation: Mapping[str, Any]) -> int | str | None:
    """Return the image id of an annotation, None if it is neither a number nor text."""
    image_id = annotation.get("image_id")
    return image_id if type(image_id) in (int, str) else None


def png_problem(annotation: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return what is wrong with an annotation's file_name: (found, expected), or None."""
    name = annotation.get("file_name")
    problem = path_problem(name)
    if problem is None:
        return None
    found = f"an annotation with file_name {shorten(name)}"
    return found + (f" ({problem})" if isinstance(name, str) else ""), "the name of its PNG"


def parse_segments(annotation: Mapping[str, Any], labels: LabelMap) -> tuple[Segment, ...]:
    """Turn the segments of an annotation without findings into ours; iscrowd is 0 if not given."""
    return tuple(
        labels.segment(s["id"], s["category_id"], is_crowd=s.get("iscrowd", 0) == 1)
        for s in annotation["segments_info"]
    )


def make_annotation(
    panoptic: Panoptic, image_id: int | str, file_name: str, labels: LabelMap
) -> dict[str, Any]:
    """Describe a panoptic map as an entry of "annotations".

    Segments without a pixel are left out; a score that is not 1 is stored beside area and bbox.
    """
    id_map = panoptic.id_map.cpu().numpy()
    present = {segment.id: segment for segment in panoptic.segments}
    entries = []
    for number, (area, bbox) in segment_extents(id_map).items():
        if number not in present:
            raise ValueError(
                f"image {image_id}: segment id {number} is painted, but not one of the "
                f"{len(present)} segments. Paint VOID = {VOID} where no segment is."
            )
        segment = present[number]
        entry: dict[str, Any] = {"id": number, "category_id": labels.category_id(segment)}
        entry |= {"area": area, "bbox": bbox, "iscrowd": int(segment.is_crowd)}
        entries.append(entry if segment.score == 1 else entry | {"score": segment.score})
    return {"image_id": image_id, "file_name": file_name, "segments_info": entries}


def segment_extents(id_map: np.ndarray) -> dict[int, tuple[int, list[int]]]:
    """Return the area and the box [x, y, width, height], in pixels, of every id but VOID."""
    height, width = id_map.shape
    if id_map.size == 0:
        return {}
    rows = id_map.reshape(-1)
    is_first = np.ones(rows.size, dtype=bool)  # of a run of equal ids; each row starts a new one
    np.not_equal(rows[1:], rows[:-1], out=is_first[1:])
    is_first[::width] = True
    first = np.flatnonzero(is_first)
    ids = np.unique(rows[first])
    group = np.searchsorted(ids, rows[first])
    lengths = np.diff(first, append=rows.size)
    y, x = np.divmod(first, width)
    areas = np.bincount(group, weights=lengths).astype(np.int64)
    low = np.full((2, len(ids)), max(height, width))
    high = np.zeros((2, len(ids)), dtype=np.int64)
    np.minimum.at(low[0], group, x)
    np.minimum.at(low[1], group, y)
    np.maximum.at(high[0], group, x + lengths)
    np.maximum.at(high[1], group, y + 1)
    boxes = np.concatenate([low, high - low]).T
    return {
        number: (area, box)
        for number, area, box in zip(ids.tolist(), areas.tolist(), boxes.tolist(), strict=True)
        if number != VOID
    }


# a data set ---------------------------------------------------------------------------------------


def annotation_paths(root: Path, split: str) -> tuple[Path, Path, Path]:
    """Return where a split keeps its JSON file, its PNGs and its images.

    In a Cityscapes folder these are what cityscapesscripts' createPanopticImgs writes,
    gtFine/cityscapes_panoptic_SPLIT.json and the folder of its name, and leftImg8bit/SPLIT. The
    JSON file may name other folders, see `named_folders`.
    """
    annotations = root / "annotations"
    if not annotations.is_dir() and (root / "gtFine").is_dir():
        truth = root / "gtFine" / f"cityscapes_panoptic_{split}"
        return truth.with_suffix(".json"), truth, root / "leftImg8bit" / split
    images = root / split
    if not images.is_dir() and (root / "images" / split).is_dir():
        images = root / "images" / split
    return annotations / f"panoptic_{split}.json", annotations / f"panoptic_{split}", images


def named_folders(root: Path, split: str, content: Mapping[str, Any]) -> tuple[Path, Path]:
    """Return the folders of a split's PNGs and images: those that its JSON file names, if it does.

    The key "folders" holds {"truth": FOLDER, "images": FOLDER}, both relative to the root. Raises
    FormatError where they are not.

    Args:
        root: folder of the data set.
        split: such as "train".
        content: of its JSON file.
    """
    path, *usual = annotation_paths(root, split)
    named = content.get("folders", {})
    found = []
    for key, folder in zip(("truth", "images"), usual, strict=True):
        name = named.get(key) if isinstance(named, dict) else named
        problem = None if name is None and isinstance(named, dict) else path_problem(name)
        if problem is not None:
            shown = f"folders {shorten(named)} ({problem})"
            expected = '"truth" and "images", each a path below the data set'
            raise FormatError(Finding(str(path), None, None, shown, expected))
        found.append(folder if name is None else root / name)
    return found[0], found[1]


def read_annotations(path: Path) -> dict[str, Any]:
    """Return the content of a panoptic JSON file; raise ValueError if its lists are not there."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: found {type(content).__name__}, expected an object")
    for key in ("annotations", "categories", "images"):
        if not isinstance(content.get(key, []), list):
            raise ValueError(f"{path}: found {key} {shorten(content[key])}, expected a list")
    if "annotations" not in content:
        raise ValueError(f"{path}: found no annotations, expected a list of them")
    for entry in content["annotations"]:
        if not isinstance(entry, dict):
            raise ValueError(f"{path}: found annotation {shorten(entry)}, expected an object")
    return content


def find_annotations(root: Path, split: str) -> Path:
    """Return the path of a split's JSON file; if there is none, say which splits there are."""
    path, _, _ = annotation_paths(root, split)
    if not path.is_file():
        kind = path.name.removesuffix(f"{split}.json")  # what stands before the split's name
        names = sorted(p.stem.removeprefix(kind) for p in path.parent.glob(f"{kind}*.json"))
        tip = (
            f"there are the splits {', '.join(names)}" if names else "is the folder the right one?"
        )
        raise ValueError(f"{path}: found no such file, expected COCO panoptic annotations; {tip}")
    return path


def open_annotations(root: Path, split: str) -> dict[str, Any]:
    """Return the content of a split's JSON file; if there is none, say which splits there are."""
    return read_annotations(find_annotations(root, split))


def find_image(folder: Path, file_name: str, shared: frozenset[str] = frozenset()) -> Path:
    """Return the path of an image; it may have another of the usual suffixes than the JSON says.

    The JSON of Cityscapes leaves out the city's folder and has "_gtFine" in names that have not.

    Args:
        folder: of the images.
        file_name: as the JSON says.
        shared: stems that several entries of the JSON have; their suffixes are taken literally, or
            two entries might read one file. See `shared_stems`.
    """
    path = folder / file_name
    if os.path.isfile(path) or os.path.splitext(file_name)[0] in shared:
        return path
    if "_gtFine_" in file_name:
        city = file_name.partition("_")[0]
        return folder / city / file_name.replace("_gtFine_", "_")
    others = [path.with_suffix(suffix) for suffix in IMAGE_SUFFIXES]
    return next((other for other in others if os.path.isfile(other)), path)


def shared_stems(file_names: Iterable[str]) -> frozenset[str]:
    """Return the names without suffix that several file names have in common."""
    counts = Counter(os.path.splitext(name)[0] for name in file_names)
    return frozenset(stem for stem, count in counts.items() if count > 1)


class CocoPanoptic:
    """A data set in COCO panoptic format: `data[i]` reads image number i with its truth.

    What the JSON says of the segments is held in a few flat arrays, for the real COCO has 1.3
    million of them and every worker process has its own copy.
    """

    def __init__(self, root: Path | str, split: str):
        content = open_annotations(Path(root), split)
        json_path, *_ = annotation_paths(Path(root), split)
        self._png_folder, self._image_folder = named_folders(Path(root), split, content)
        if not self._png_folder.is_dir():
            archive = self._png_folder.with_suffix(".zip")
            tip = f"; unpack {archive.name} there" if archive.is_file() else ""
            raise ValueError(
                f"{self._png_folder}: found no such folder, expected the id PNGs of {split}{tip}"
            )
        self.categories: list[Category] = parse_categories(
            content.get("categories"), str(json_path)
        )
        self._labels = LabelMap(tuple(self.categories))
        self._json = json_path
        images = images_by_id(content.get("images"), json_path)
        self._shared = shared_stems(image["file_name"] for image in images.values())
        self.image_ids: list[Any] = []
        self._files: list[tuple[str, str]] = []  # image, PNG
        self._sizes: list[tuple[int, int]] = []
        rows: list[tuple[int, int, bool]] = []  # id, category_id, is_crowd
        self._first = [0]  # row of each image's first segment
        for annotation in _one_per_image(content.pop("annotations"), images, str(json_path)):
            for finding in segment_findings(annotation, str(json_path), self._labels):
                raise FormatError(finding)
            image = images[annotation["image_id"]]
            self.image_ids.append(annotation["image_id"])
            self._files.append((image["file_name"], annotation["file_name"]))
            self._sizes.append((image["height"], image["width"]))
            for s in annotation["segments_info"]:
                rows.append((s["id"], s["category_id"], s.get("iscrowd", 0) == 1))
            self._first.append(len(rows))
        self._segments = np.array(rows, dtype=np.int32).reshape(-1, 3)

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def paths(self) -> tuple[Path, Path, Path]:
        """Where the JSON file, the folder of PNGs and the folder of images are."""
        return self._json, self._png_folder, self._image_folder

    def sizes(self) -> list[tuple[int, int]]:
        """Return (height, width) of every image, in pixels, without reading them."""
        return self._sizes

    def category_ids(self) -> list[set[int]]:
        """Return the ids of the categories that each image shows, crowds left out, unread."""
        return [
            {int(number) for _, number, is_crowd in self._segments[start:end] if not is_crowd}
            for start, end in itertools.pairwise(self._first)
        ]

    def panoptic(self, index: int) -> Panoptic:
        """Read the truth of image number `index`; segments without a pixel are left out."""
        path = self._png_folder / self._files[index][1]
        image_id = self.image_ids[index]
        id_map = read_id_map(path, image_id=image_id)
        rows = self._segments[self._first[index] : self._first[index + 1]].tolist()
        painted = set(segment_extents(id_map))
        unlisted = sorted(painted - {number for number, _, _ in rows})
        if unlisted:
            found = "pixels with an id that is not listed"
            expected = "the PNG to be the partner of the JSON (`pfpn check` tells more)"
            raise FormatError(Finding(str(path), image_id, unlisted[0], found, expected))
        segments = tuple(
            self._labels.segment(number, category_id, is_crowd=bool(is_crowd))
            for number, category_id, is_crowd in rows
            if number in painted
        )
        return Panoptic(torch.from_numpy(id_map.astype(np.int64)), segments)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of a data set of {len(self)}")
        index %= len(self)
        panoptic = self.panoptic(index)
        path = find_image(self._image_folder, self._files[index][0], self._shared)
        image = read_image(path)
        if image.shape[1:] != panoptic.id_map.shape:
            height, width = panoptic.id_map.shape
            found = f"an image of size {tuple(image.shape[1:])}{turned(read_image_header(path))}"
            expected = f"{(height, width)} as in its PNG (height, width)"
            raise FormatError(Finding(str(path), self.image_ids[index], None, found, expected))
        return Sample(image, panoptic, self.image_ids[index])

    def problems(self, progress: Callable[[int, int], object] | None = None) -> list[str]:
        """Return all that would stop a training with this data set, one line each.

        Every file is looked for and its header read, in threads; pixels are not decoded.

        Args:
            progress: called with the numbers of images done and of all.
        """
        file_, problem = str(self._json), semantic_problem(self.categories)
        lines = [] if problem is None else [Finding(file_, None, None, *problem)]
        if not len(self):
            lines.append(Finding(file_, None, None, "no image", "at least one"))
        used: dict[tuple[int, int], str] = {}
        results = ordered_map(self._header_findings, range(len(self)), 8)
        for done, (index, (findings, file)) in enumerate(results, 1):
            lines += findings
            if file is not None and file in used:
                found = f"the file of {used[file]}, too"
                name, number = self._files[index][0], self.image_ids[index]
                lines.append(Finding(f"{file_}, {name}", number, None, found, "a file of its own"))
            elif file is not None:
                used[file] = f"image {self.image_ids[index]}"
            if progress is not None:
                progress(done, len(self))
        return [str(line) for line in lines]

    def _header_findings(self, index: int) -> tuple[list[Finding], tuple[int, int] | None]:
        """Return what is wrong with an image's two files, and which file the image is."""
        image_id, size = self.image_ids[index], self._sizes[index]
        image, png = self._files[index]
        image_path = find_image(self._image_folder, image, self._shared)
        findings: list[Finding] = []
        try:
            findings += size_findings(
                self._png_folder / png,
                image_id,
                read_id_map_size(self._png_folder / png, image_id=image_id),
                {"the JSON": size},
            )
        except FormatError as error:
            findings.append(error.finding)
        try:
            findings += photo_findings(image_path, image_id, {"the JSON": size})
        except FormatError as error:
            findings.append(replace(error.finding, image_id=image_id))
            return findings, None
        status = image_path.stat()
        return findings, (status.st_dev, status.st_ino)


def size_findings(
    path: Path, image_id: Any, size: tuple[int, int], expected: Mapping[str, tuple[int, int]]
) -> Iterator[Finding]:
    """Yield the first difference between a file's (height, width) and what others say of it."""
    for source, other in expected.items():
        if size != other:
            found = f"height and width {size}"
            yield Finding(str(path), image_id, None, found, f"{other} as in {source}")
            return


def photo_findings(
    path: Path, image_id: Any, expected: Mapping[str, tuple[int, int]]
) -> Iterator[Finding]:
    """Yield what the header of an image says that does not fit its truth.

    An image that EXIF turns is right if its size shows that the truth was painted on the turned
    one. Where both would fit, nobody can see which of them the truth belongs to.

    Args:
        path: of the image; FormatError is raised if its header cannot be read.
        image_id: for messages.
        expected: (height, width) by who says so.
    """
    header = read_image_header(path)
    findings = list(size_findings(path, image_id, header.size, expected))
    for finding in findings:
        yield replace(finding, found=finding.found + turned(header))
    if not findings and header.orientation != UPRIGHT and header.size == header.stored:
        found = f"EXIF orientation {header.orientation}, and a size that fits turned or not"
        yield Finding(str(path), image_id, None, found, "an image that is stored upright")


def turned(header: PhotoHeader) -> str:
    """Return a remark for a message about an image that EXIF turns, "" if it is upright."""
    if header.orientation == UPRIGHT:
        return ""
    return f" (turned by its EXIF orientation {header.orientation}; stored as {header.stored})"


def _one_per_image(
    annotations: Iterable[dict[str, Any]], images: Mapping[Any, Any], file: str
) -> Iterator[dict[str, Any]]:
    """Yield annotations; raise FormatError where one has no image, or one that is taken."""
    seen: set[Any] = set()
    for annotation in annotations:
        image_id, problem = image_id_of(annotation), png_problem(annotation)
        if image_id is None or image_id not in images:
            shown = "" if image_id is not None else f" {shorten(annotation.get('image_id'))}"
            found, expected = f"an annotation of an image{shown} that is not listed", "one that is"
        elif image_id in seen:
            found, expected = "a second annotation", "one per image"
        elif problem is not None:
            found, expected = problem
        else:
            seen.add(image_id)
            yield annotation
            continue
        raise FormatError(Finding(file, image_id, None, found, expected))


def images_by_id(entries: Any, path: Path) -> dict[Any, Mapping[str, Any]]:
    """Return the entries of "images" by their ids; raise FormatError at the first bad one."""
    images: dict[Any, Mapping[str, Any]] = {}
    for entry in entries if isinstance(entries, list) else []:
        for finding in image_findings(entry, str(path), images):
            raise FormatError(finding)
        images[entry["id"]] = entry
    return images


def image_findings(entry: Any, file: str, before: Mapping[Any, Any]) -> Iterator[Finding]:
    """Yield what is wrong with one entry of "images".

    Args:
        entry: as JSON holds it.
        file: that holds it, for messages.
        before: the entries before this one by their ids.
    """
    number = entry.get("id") if isinstance(entry, dict) else None
    if type(number) not in (int, str):
        yield Finding(file, None, None, f"an image {shorten(entry)}", "an object with an id")
        return
    problem = name_problem(number) if isinstance(number, str) else None
    if problem is not None or (type(number) is int and abs(number) > MAX_IMAGE_ID):
        found = f"an image with id {shorten(number)}" + (f" ({problem})" if problem else "")
        yield Finding(file, None, None, found, "a number below 2^63 or a plain name")
    if number in before:
        yield Finding(file, number, None, "the image listed twice", "each image once")
    problem = path_problem(entry.get("file_name"))
    if problem is not None:
        found = f"an image with file_name {shorten(entry.get('file_name'))}"
        found += f" ({problem})" if isinstance(entry.get("file_name"), str) else ""
        yield Finding(file, number, None, found, "the name of its file")
    for key in ("height", "width"):
        if type(entry.get(key)) is not int or not 1 <= entry[key] <= MAX_PIXELS:
            found = f"an image with {key} {shorten(entry.get(key))}"
            yield Finding(file, number, None, found, f"pixels, 1 to {MAX_PIXELS}")
    sides = [entry.get("height"), entry.get("width")]
    are_good = all(type(side) is int and 1 <= side <= MAX_PIXELS for side in sides)
    if are_good and math.prod(sides) > MAX_PIXELS:
        found = f"an image of {sides[0]} x {sides[1]} pixels"
        yield Finding(file, number, None, found, f"at most {MAX_PIXELS}")


class CocoWriter:
    """Writes a split image by image; the JSON file comes last, when the `with` block ends well.

    The split is claimed while the block runs. Files that pfpn did not write are never replaced.

    Example:
        with CocoWriter(root, "val", categories) as writer:
            for sample in samples:
                writer.add(sample)
    """

    def __init__(
        self,
        root: Path | str,
        split: str,
        categories: Sequence[Category],
        *,
        suffix: str = ".png",
        overwrite: bool = False,
        by: str = "write",
    ):
        """Look whether the split can be written; raise ValueError if not.

        Args:
            root: folder of the data set; made if it is not there.
            split: such as "train" or "val2017".
            categories: of the data set.
            suffix: of the images: ".png" keeps every pixel, ".jpg" is smaller.
            overwrite: replace a split that is there already, if the same command wrote it.
            by: the command, see `pfpn.files.claim`.
        """
        if suffix not in IMAGE_SUFFIXES:
            raise ValueError(f"image suffix: found {suffix!r}, expected one of {IMAGE_SUFFIXES}")
        problem = name_problem(split)
        if problem is not None:
            raise ValueError(f"split: found {shorten(split)} ({problem}), expected a plain name")
        self._root, self._split, self._suffix, self._by = Path(root), split, suffix, by
        paths = annotation_paths(self._root, split)
        if paths[2].parent == self._root / "images":  # somebody's pictures
            paths = (*paths[:2], self._root / split)
        self._json, self._png_folder, self._image_folder = (
            path.relative_to(self._root).as_posix() for path in paths
        )
        if paths[0].exists() and not overwrite:
            raise ValueError(
                f"{paths[0]}: found a data set, expected none. Choose another folder or "
                "allow it to be overwritten."
            )
        self._categories = tuple(categories)
        self._labels = LabelMap(self._categories)
        self._images: dict[Any, dict[str, Any]] = {}
        self._annotations: list[dict[str, Any]] = []
        self._names: dict[str, str] = {}
        self._claim = ExitStack()
        self._output: Output | None = None

    def add(self, sample: Sample, name: str | None = None) -> None:
        """Write the image and the PNG of one sample; only within the `with` block.

        Args:
            sample: its segments without a pixel are left out.
            name: of both files, without suffix; the image id with 12 digits if not given.
        """
        if self._output is None:
            raise ValueError(f"{self._root}: found no `with` block, expected to write within one")
        image_id = sample.image_id
        if image_id in self._images:
            raise ValueError(f"image {image_id}: found it twice, expected each image once")
        if sample.image.shape[1:] != sample.panoptic.id_map.shape:
            raise ValueError(
                f"image {image_id}: found an image of size {tuple(sample.image.shape[1:])} "
                f"with an id map of size {tuple(sample.panoptic.id_map.shape)}, expected the same"
            )
        name = file_stem(image_id) if name is None else name
        problem = name_problem(name)
        if problem is not None:
            raise ValueError(
                f"image {shorten(image_id)}: found the file name {shorten(name)} ({problem}), "
                "expected a plain one"
            )
        file_name = f"{name}{self._suffix}"
        require_distinct([name], f"file name of image {image_id}", self._names)
        annotation = make_annotation(sample.panoptic, image_id, f"{name}.png", self._labels)
        kind = "PNG" if self._suffix == ".png" else "JPEG"
        png = encode_id_map(sample.panoptic.id_map)
        self._output.write(f"{self._png_folder}/{name}.png", png)
        self._output.write(f"{self._image_folder}/{file_name}", encode_image(sample.image, kind))
        height, width = sample.panoptic.id_map.shape
        self._images[image_id] = {
            "id": image_id,
            "file_name": file_name,
            "height": height,
            "width": width,
        }
        self._annotations.append(annotation)

    def __enter__(self) -> "CocoWriter":
        self._output = self._claim.enter_context(claim(self._root, self._by, self._split))
        try:
            self._output.remove(self._json)  # half-overwritten, it would be wrong
        except BaseException:
            self._claim.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._claim:
            if kind is None:
                self._close()

    def _close(self) -> None:
        """Write the JSON file."""
        content = {
            "images": list(self._images.values()),
            "annotations": self._annotations,
            "categories": categories_to_json(self._categories),
        }
        assert self._output is not None
        # Also if there was no image.
        (self._root / self._png_folder).mkdir(parents=True, exist_ok=True)
        self._output.write(self._json, json.dumps(content).encode())


def file_stem(image_id: int | str) -> str:
    """Return the name, without suffix, of an image's files: its id with at least 12 characters."""
    return f"{image_id:012d}" if isinstance(image_id, int) else f"{image_id:0>12}"


def write_coco_panoptic(
    root: Path | str,
    split: str,
    samples: Iterable[Sample],
    categories: Sequence[Category],
    *,
    suffix: str = ".png",
    overwrite: bool = False,
) -> None:
    """Write samples as a split of a data set; see `CocoWriter`."""
    with CocoWriter(root, split, categories, suffix=suffix, overwrite=overwrite) as writer:
        for sample in samples:
            writer.add(sample)
