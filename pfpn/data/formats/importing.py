"""Turn annotations of another tool into a data set in COCO panoptic format.

    ROOT/classes.toml                    which class of the source is which category; for the user
    ROOT/annotations/panoptic_SPLIT*     as everywhere
    ROOT/SPLIT/*                         the photographs, byte for byte where the format allows it

The table of classes is written once, as a proposal, and only read afterwards.
"""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from pfpn.data.categories import LabelMap, categories_to_json
from pfpn.data.coco import IMAGE_SUFFIXES, make_annotation
from pfpn.data.formats.classes import ClassEntry, propose, read_classes, to_categories, to_toml
from pfpn.data.formats.coco_instances import CocoInstances
from pfpn.data.formats.label_images import Cityscapes, SemanticImages, TwoChannels, VocImages
from pfpn.data.formats.labelme import LabelMe
from pfpn.data.formats.mask_folder import MaskFolder
from pfpn.data.formats.regions import Losses, Picture, compose
from pfpn.data.formats.source import Options, Reader, told_apart
from pfpn.data.images import (
    PHOTO_FORMATS,
    UPRIGHT,
    FormatError,
    encode_id_map,
    read_image_header,
    to_rgb,
)
from pfpn.files import Output, name_problem, printable, require_distinct

CLASSES = "classes.toml"
READERS: dict[str, Callable[[Path, Options], Reader]] = {
    "coco": CocoInstances,
    "labelme": LabelMe,
    "cvat": lambda source, options: _open_cvat(source, options),
    "label-studio": CocoInstances,
    "voc": VocImages,
    "cityscapes": Cityscapes,
    "two-channel": TwoChannels,
    "semantic": SemanticImages,
    "masks": MaskFolder,
}
# Formats that cannot tell things of one class apart where they touch.
BY_REGIONS = ("semantic",)


@dataclass(slots=True)
class Report:
    """What an import wrote, and what it could not take over."""

    written: int = 0  # pictures
    losses: dict[str, Losses] = field(default_factory=dict)  # by picture
    skipped: dict[str, str] = field(default_factory=dict)  # pictures that were left out, and why
    notes: dict[str, str] = field(default_factory=dict)  # what was decided about a photograph

    def add(self, picture: Picture, losses: Losses, note: str) -> None:
        """Add what a picture lost, and what was decided about its photograph, "" for nothing."""
        losses.problems += picture.problems
        self.losses[picture.name] = losses
        if note:
            self.notes[picture.name] = note

    def total(self) -> Losses:
        """Return the losses of all pictures together."""
        total = Losses()
        for losses in self.losses.values():
            total.add(losses)
        return total

    def lines(self) -> list[str]:
        """Return one line for each picture that lost something, then the sum."""
        lines = [f"{name}: left out, {reason}" for name, reason in self.skipped.items()]
        for name, losses in self.losses.items():
            if losses.hidden or losses.empty or losses.overlapped or losses.clipped:
                lines.append(f"{name}: {losses}")
            lines += [f"{name}: {problem}" for problem in losses.problems]
        lines += [f"{name}: {note}" for name, note in self.notes.items()]
        return [
            printable(line) for line in [*lines, f"all {self.written} pictures: {self.total()}"]
        ]


def open_source(kind: str, source: Path, options: Options) -> Reader:
    """Return the reader of a source.

    Args:
        kind: one of READERS.
        source: its file or folder.
        options: where its parts are, if not at their usual places.

    Raises:
        ValueError: the format is unknown, or the source is not what it should be.
    """
    if kind not in READERS:
        raise ValueError(f"format: found {kind!r}, expected one of {', '.join(READERS)}")
    return READERS[kind](source, options)


def remarks(kind: str, reader: Reader) -> list[str]:
    """Return lines about what the format of a source cannot tell."""
    lines = []
    if kind in BY_REGIONS:
        lines.append(
            "this format tells things apart by connected regions alone: those that touch are one"
        )
    if isinstance(reader, CocoInstances) and reader.unmarked:
        lines.append(
            f"{reader.unmarked} masks are marked as crowds, as CVAT marks every mask: each was "
            "taken as one object. If they are groups, import the same folder as coco"
        )
    return lines


def class_table(reader: Reader, root: Path, given: Path | None, output: Output) -> list[ClassEntry]:
    """Return the table of classes; where there is none, propose one and write it to ROOT.

    Args:
        reader: of the source.
        root: of the data set.
        given: a table that the user names, instead of the one in ROOT.
        output: of ROOT.

    Raises:
        ValueError: the source has classes that the table does not mention.
    """
    classes = reader.classes()
    path = given or root / CLASSES
    if given is None and not path.exists():
        if not any(key for key, _, _ in classes):
            raise ValueError(f"{root}: found no class in the source, expected at least one")
        entries = propose(classes)
        output.write(CLASSES, to_toml(entries).encode())
        return entries
    entries = read_classes(path)
    known = {source for entry in entries for source in entry.sources}
    missing = [name for key, name, _ in classes if key not in known]
    if missing:
        block = to_toml(propose(row for row in classes if row[0] not in known)).split("\n\n", 1)[1]
        raise ValueError(
            f"{path}: found no entry for {', '.join(map(repr, missing))}, expected one for each "
            f"class of the source. Add these and change them as you like:\n{block}"
        )
    return entries


def import_pictures(
    reader: Reader,
    output: Output,
    split: str,
    entries: Sequence[ClassEntry],
    *,
    order: str = "file",
    replaces: Sequence[str] = (),
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> Report:
    """Write all pictures of a source as one split; the JSON file is removed first, written last.

    A picture whose photograph is missing, broken or of another size is left out and reported.

    Args:
        reader: of the source.
        output: the claimed folder of the data set.
        split: such as "train".
        entries: the table of classes.
        order: how overlaps are settled, see `regions.compose`.
        replaces: files in ROOT that another command made of an earlier import; they are removed.
        progress: called for each picture with the numbers of those done and of all.
    """
    categories, category_ids = to_categories(entries)
    labels, index = LabelMap(tuple(categories)), f"annotations/panoptic_{split}.json"
    pictures = _pictures(reader, split, entries, output, replaces)
    for name in {index, *replaces}:
        output.remove(name)
    report = Report()
    images: list[Mapping[str, Any]] = []
    annotations: list[Mapping[str, Any]] = []
    before, kept = set(output.names()), {CLASSES, index}
    for number, picture in enumerate(pictures, start=1):
        try:
            content, suffix, note = _photograph(picture)
            panoptic, losses = compose(
                picture.regions(), picture.size, category_ids, labels, order=order
            )
        except (ValueError, OSError) as error:
            report.skipped[picture.name] = str(error)
            continue
        finally:
            progress(number, len(pictures))
        report.add(picture, losses, note)
        truth, image = f"annotations/panoptic_{split}/{picture.name}.png", picture.name + suffix
        output.write(truth, encode_id_map(panoptic.id_map))
        output.write(f"{split}/{image}", content)
        kept |= {truth, f"{split}/{image}"}
        height, width = picture.size
        images.append({"id": number, "file_name": image, "height": height, "width": width})
        annotations.append(make_annotation(panoptic, number, f"{picture.name}.png", labels))
    report.written = len(images)
    for name in sorted(before - kept):  # of pictures that the source no longer has
        if name.startswith((f"annotations/panoptic_{split}/", f"{split}/")):
            output.remove(name)
    plain = categories_to_json(categories)
    listing = {"images": images, "annotations": annotations, "categories": plain}
    output.write(index, json.dumps(listing).encode())
    return report


def _pictures(
    reader: Reader,
    split: str,
    entries: Sequence[ClassEntry],
    output: Output,
    replaces: Sequence[str],
) -> list[Picture]:
    """Return the pictures under names that differ.

    Raises ValueError, before anything is written, where there is none, or no class, or a name or a
    file is in the way.
    """
    if all(entry.kind == "ignore" for entry in entries):
        raise ValueError("classes: found only ignored ones, expected a thing or stuff")
    pictures = told_apart(list(reader))
    if not pictures:
        raise ValueError("source: found no picture in it, expected at least one")
    for what, name in [("split", split), *(("picture", p.name) for p in pictures)]:
        problem = name_problem(name)
        if problem:
            raise ValueError(f"{what} {name!r}: found {problem}, expected a plain name")
    require_distinct((picture.name for picture in pictures), "pictures")
    names = [f"annotations/panoptic_{split}.json"]
    for picture in pictures:
        names.append(f"annotations/panoptic_{split}/{picture.name}.png")
        names += [f"{split}/{picture.name}{suffix}" for suffix in IMAGE_SUFFIXES]
    inputs = [picture.image for picture in pictures if isinstance(picture.image, Path)]
    output.require_free(set(names) - set(replaces), inputs)
    for name in replaces:
        output.adopt(name)
    return pictures


def _photograph(picture: Picture) -> tuple[bytes, str, str]:
    """Return the photograph's file, its suffix, and a line about how it was turned, or "".

    What is not kept byte for byte becomes a PNG.

    Raises:
        ValueError: it is missing, broken, or not of the size of the annotations.
    """
    if isinstance(picture.image, Path):
        if not picture.image.is_file():
            reason = next((p for p in picture.problems if "photograph" in p), None)
            raise ValueError(reason or f"no photograph at {picture.image}")
        content, suffix = picture.image.read_bytes(), picture.image.suffix.lower()
        where = str(picture.image)
    else:
        content, suffix, where = picture.image, "", "the image inside the annotations"
    try:
        header = read_image_header(io.BytesIO(content))
        with Image.open(io.BytesIO(content), formats=PHOTO_FORMATS) as image:
            kind = KEPT_FORMATS.get(image.format or "", ())
            is_turned = header.size == picture.size
            if (
                is_turned
                and kind
                and (header.orientation == UPRIGHT or header.stored != header.size)
            ):
                return content, suffix if suffix in kind else kind[0], ""
            if not is_turned and header.stored != picture.size:
                raise ValueError(
                    f"found a photograph of {header.size[0]} x {header.size[1]} pixels, expected "
                    f"{picture.size[0]} x {picture.size[1]} as annotated (height x width)"
                )
            if not is_turned and image.format == "TIFF":
                raise ValueError(
                    f"found a TIFF with EXIF orientation {header.orientation}, annotated as it is "
                    "stored, expected one that is upright. Save it turned, and try again"
                )
            note = ""
            if is_turned and header.orientation != UPRIGHT:
                # A turn by 180 degrees, or a square: the size does not say which way was annotated
                note = (
                    f"turned upright as EXIF says (orientation {header.orientation}); if the "
                    "annotations are turned now, the tool showed the photograph as it is stored"
                )
            return _to_png(ImageOps.exif_transpose(image) if is_turned else image), ".png", note
    except FormatError as error:
        finding = error.finding
        raise ValueError(f"{where}: found {finding.found}, expected {finding.expected}") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if not reason.startswith("found "):
            reason = f"found an image that cannot be read ({reason})"
        raise ValueError(f"{where}: {reason}") from error


# By Pillow's name of the format: the suffixes under which a file is kept as it is. MPO is a JPEG
# with further pictures behind the first, as some telephones write it.
KEPT_FORMATS = {"JPEG": (".jpg", ".jpeg"), "MPO": (".jpg", ".jpeg"), "PNG": (".png",)}


def _to_png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(to_rgb(image)).save(buffer, format="PNG")  # without EXIF
    return buffer.getvalue()


def _open_cvat(source: Path, options: Options) -> Reader:
    """CVAT exports COCO, or folders of masks with a labelmap.txt."""
    if (source / "SegmentationClass").is_dir():
        return VocImages(source, options)
    return CocoInstances(source, options, with_crowds=False)
