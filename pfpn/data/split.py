"""Divide a data set into training and validation, balanced by class, without tearing groups apart.

Nothing is moved or copied. The new splits are lists in `annotations/` that name the folders of the
split they came from; the whole is kept as a split of its own, so that it can be divided anew.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from pfpn.data.categories import parse_categories, read_json
from pfpn.data.coco import CocoPanoptic, annotation_paths, open_annotations
from pfpn.files import Output, claim, name_problem


@dataclass(frozen=True, slots=True)
class Division:
    """Which images go to validation, and how the classes are divided by it."""

    is_val: list[bool]  # by image
    groups: list[str]  # by image
    table: list[tuple[str, int, int]]  # class, its segments in training, and in validation


def divide(
    file_names: Sequence[str],
    class_names: Sequence[str],
    counts: Float[np.ndarray, "images classes"],
    *,
    val: float,
    seed: int = 0,
    group: str | None = None,
) -> Division:
    """Divide images so that each class has about the same part of its segments in validation.

    Args:
        file_names: of the images.
        class_names: of the columns of `counts`.
        counts: segments of each class in each image.
        val: part that goes to validation, between 0 and 1.
        seed: decides between divisions of equal balance.
        group: regular expression; images for which its first group (or the whole match) is equal
            stay together, such as the frames of one clip.

    Raises:
        ValueError: `val` or `group` cannot be used, or there are fewer than two groups.
    """
    if not 0 < val < 1:
        raise ValueError(f"val: found {val}, expected a part between 0 and 1, such as 0.2")
    groups = [_group_of(name, group) for name in file_names]
    names = sorted(set(groups))
    if len(names) < 2:
        found = f"{len(names)} group{'s' * (len(names) != 1)} in {len(file_names)} images"
        raise ValueError(f"found {found}, expected at least two to divide")
    number = np.array([names.index(g) for g in groups])
    sums = np.zeros((len(names), counts.shape[1] + 1))
    np.add.at(sums[:, :-1], number, counts)
    np.add.at(sums[:, -1], number, 1)  # images count as a class, so that their part is right too
    chosen = choose_groups(sums, val, seed)
    is_val = chosen[number]
    in_val, total = counts[is_val].sum(axis=0), counts.sum(axis=0)
    table = [
        (name, int(all_ - part), int(part))
        for name, all_, part in zip(class_names, total, in_val, strict=True)
    ]
    return Division(is_val.tolist(), groups, table)


def choose_groups(
    counts: Float[np.ndarray, "groups classes"], val: float, seed: int
) -> Bool[np.ndarray, " groups"]:
    """Choose groups whose sums come close to `val` of the totals, class by class.

    Groups with rare classes are placed first, each where it brings the sums closer to the aim;
    then single groups change sides as long as that helps. A class that only one group has stays in
    training. At least one group is on each side.

    Args:
        counts: what each group has of each class.
        val: the part to choose, between 0 and 1.
        seed: decides the order of equal groups.
    """
    totals = counts.sum(axis=0)
    weights = np.divide(1.0, totals**2, out=np.zeros_like(totals), where=totals > 0)
    aim = val * totals

    def cost(sums: np.ndarray) -> Any:  # a number, or one for each row
        return ((sums - aim) ** 2 * weights).sum(axis=-1)

    only_one = (counts > 0).sum(axis=0) == 1
    fixed = np.asarray((counts[:, only_one] > 0).any(axis=1))
    if fixed.all():
        fixed[np.argmin(counts.sum(axis=1))] = False
    rarity = (counts * weights).sum(axis=1)
    order = np.lexsort((np.random.default_rng(seed).permutation(len(counts)), -rarity))
    free = [g for g in order.tolist() if not fixed[g]]
    chosen: np.ndarray = np.zeros(len(counts), dtype=bool)
    sums = np.zeros_like(totals)
    for g in free:
        if cost(sums + counts[g]) < cost(sums):
            chosen[g], sums = True, sums + counts[g]
    for _ in range(100):  # far more rounds than ever helped
        sign = np.where(chosen, -1.0, 1.0)
        costs = cost(sums + sign[:, None] * counts)
        costs[fixed] = np.inf
        best = int(np.argmin(costs))
        if not costs[best] < cost(sums) - 1e-12:
            break
        sums = sums + sign[best] * counts[best]
        chosen[best] = not chosen[best]
    if not chosen.any():
        chosen[min(free, key=lambda g: float(cost(counts[g])))] = True
    if chosen.all():
        chosen[min(free, key=lambda g: float(cost(sums - counts[g])))] = False
    return chosen


def subset(
    content: Mapping[str, Any], keep: Sequence[bool], folders: Mapping[str, str]
) -> dict[str, Any]:
    """Return the annotations of some images, with the folders that their files are in.

    Args:
        content: of a panoptic JSON file.
        keep: by entry of "annotations".
        folders: "images" and "truth", relative to the root of the data set.
    """
    annotations = [a for a, kept in zip(content["annotations"], keep, strict=True) if kept]
    ids = {annotation["image_id"] for annotation in annotations}
    images = [image for image in content["images"] if image["id"] in ids]
    return {**content, "folders": dict(folders), "images": images, "annotations": annotations}


def _group_of(name: str, pattern: str | None) -> str:
    if pattern is None:
        return name
    try:
        match = re.search(pattern, name)
    except re.error as error:
        raise ValueError(
            f"group: found {pattern!r} ({error}), expected a regular expression"
        ) from None
    if match is None:
        raise ValueError(
            f"group: found no match of {pattern!r} in {name!r}, expected one in each name"
        )
    return match[1] if match.groups() and match[1] is not None else match[0]


# on disk ------------------------------------------------------------------------------------------

WHOLE = "all"  # the split that keeps the undivided list
WRITERS = ("split", "import", "toy")  # commands whose lists may be divided in place


def divide_dataset(
    root: Path,
    source: str,
    names: tuple[str, str],
    *,
    val: float,
    seed: int = 0,
    group: str | None = None,
) -> Division:
    """Divide a split of a data set into two; write their lists, and the undivided one as "all".

    Photographs and PNGs stay where they are. The list that is divided may be replaced if pfpn wrote
    it, for it is kept as "all"; a list of another part only if an earlier division wrote it.

    Args:
        root: of the data set.
        source: the split to divide; one that was divided before is divided anew from the whole.
        names: of the parts, for training and for validation.
        val: see `divide`.
        seed: see `divide`.
        group: see `divide`.

    Raises:
        ValueError: a list of that name is there that may not be replaced.
    """
    for name in names:
        problem = "the name of the undivided list" if name == WHOLE else name_problem(name)
        if problem:
            raise ValueError(f"split {name!r}: found {problem}, expected another plain name")
    lists = {name: f"annotations/panoptic_{name}.json" for name in (*names, WHOLE, source)}
    with claim(root, "split") as output:
        again = source in names and output.is_own(lists[WHOLE])
        CocoPanoptic(root, WHOLE if again else source)  # raises where something is malformed
        content = open_annotations(root, WHOLE if again else source)
        _, truth, images = annotation_paths(root, source)
        plain = {"images": images, "truth": truth}
        folders = content.get("folders") or {
            key: folder.relative_to(root).as_posix() for key, folder in plain.items()
        }
        division = _divide_list(content, str(root / lists[source]), val, seed, group)
        if source in names:
            _adopt(output, lists[source], root)
        for name in {*names, WHOLE if source in names else names[0]} - {source}:
            if (root / lists[name]).exists() and not output.is_own(lists[name]):
                raise ValueError(
                    f"{root / lists[name]}: found a list that no division wrote, expected "
                    "none. Its images would be lost; give the parts other names, such as "
                    "--names fit,holdout"
                )
        if source in names and not again:
            keep_all = [True] * len(division.is_val)
            output.write(lists[WHOLE], json.dumps(subset(content, keep_all, folders)).encode())
        for name in names:
            output.remove(lists[name])
        for name, is_part in zip(names, (False, True), strict=True):
            keep = [is_val == is_part for is_val in division.is_val]
            output.write(lists[name], json.dumps(subset(content, keep, folders)).encode())
    return division


def division_of(root: Path, source: str) -> list[str]:
    """Return the lists, relative to the root, that divisions of a split's photographs have written.

    Args:
        root: of the data set.
        source: the split that the photographs are in.
    """
    output = Output(root, "split")
    names = [name for name in output.names() if name.startswith("annotations/panoptic_")]
    return [
        name for name in names if read_json(root / name).get("folders", {}).get("images") == source
    ]


def _divide_list(
    content: Mapping[str, Any], where: str, val: float, seed: int, group: str | None
) -> Division:
    categories = parse_categories(content.get("categories"), where)
    columns = {category.id: i for i, category in enumerate(categories)}
    counts = np.zeros((len(content["annotations"]), len(categories)))
    for row, annotation in zip(counts, content["annotations"], strict=True):
        for segment in annotation["segments_info"]:
            row[columns[segment["category_id"]]] += 1
    names = [str(annotation["file_name"]) for annotation in content["annotations"]]
    classes = [category.name for category in categories]
    return divide(names, classes, counts, val=val, seed=seed, group=group)


def _adopt(output: Output, name: str, root: Path) -> None:
    """Let a list be replaced that another command of WRITERS wrote and nobody changed."""
    if not (root / name).exists() or output.is_own(name):
        return
    if not any(Output(root, by).is_own(name) for by in WRITERS):
        raise ValueError(
            f"{root / name}: found a list that pfpn did not write, or that was changed since, "
            "expected none. Give the parts other names, such as --names fit,holdout"
        )
    output.adopt(name)
