"""Predictions on disk, in COCO panoptic format: a PNG for each image, and one JSON file for all."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pfpn.data.categories import LabelMap, categories_to_json, shorten
from pfpn.data.coco import file_stem, make_annotation
from pfpn.data.images import encode_id_map
from pfpn.files import Output, name_problem, require_distinct
from pfpn.structures import Category, Panoptic


class PredictionWriter:
    """Writes the PNGs of predictions as they come, and the JSON file that lists them at the end."""

    def __init__(self, output: Output, categories: Sequence[Category], index: str):
        """Begin to write.

        Args:
            output: the folder of the PNGs.
            categories: of the labels.
            index: name of the JSON file, relative to the folder.
        """
        self.output = output
        self.categories = categories
        self.index = index
        self.annotations: list[dict[str, Any]] = []
        self._labels = LabelMap(tuple(categories))

    def prepare(
        self, image_ids: Iterable[int | str], others: Iterable[str] = (), *, is_main: bool = True
    ) -> None:
        """Look whether everything can be written, then remove an earlier JSON file.

        From then on, until `finish`, there is no JSON file that could be taken for that of the
        PNGs. Raises ValueError if a file of another origin is in the way, or names clash.

        Args:
            image_ids: of the images that will be added, as far as they are known.
            others: paths of further files that the same command will write.
            is_main: whether this process is the one that writes the JSON file.
        """
        names = [f"{plain_stem(image_id)}.png" for image_id in image_ids]
        paths = [str(self.output.path(name)) for name in (*names, self.index)] + list(others)
        require_distinct(map(os.path.abspath, paths), "files to write")
        self.output.require_free([*names, self.index])
        if is_main:
            self.output.remove(self.index)

    def add(self, panoptic: Panoptic, image_id: int | str, stem: str | None = None) -> None:
        """Write the PNG of one image.

        Args:
            panoptic: what was predicted.
            image_id: in the data set.
            stem: of the PNG's name; the image id with 12 digits if not given.
        """
        name = f"{plain_stem(image_id) if stem is None else stem}.png"
        annotation = make_annotation(panoptic, image_id, name, self._labels)
        self.output.write(name, encode_id_map(panoptic.id_map))
        self.annotations.append(annotation)

    def finish(
        self,
        annotations: Iterable[Mapping[str, Any]],
        images: Sequence[Mapping[str, Any]] = (),
        indent: int | None = None,
    ) -> None:
        """Write the JSON file.

        Args:
            annotations: of all images, also those that other processes added.
            images: entries of "images"; none are needed to score.
            indent: spaces by which the lines of the JSON file are set in; None writes one line.
        """
        content: dict[str, Any] = {"images": list(images)} if images else {}
        content["annotations"] = sorted(annotations, key=lambda entry: entry["file_name"])
        content["categories"] = categories_to_json(self.categories)
        self.output.write(self.index, json.dumps(content, indent=indent).encode())


def plain_stem(image_id: int | str) -> str:
    """Return the name of an image's PNG without suffix; raise ValueError if it is not plain."""
    stem = file_stem(image_id)
    problem = name_problem(stem)
    if problem is not None:
        raise ValueError(
            f"image {shorten(image_id)}: found {problem} in its id, expected a plain name"
        )
    return stem
