"""Commands for data sets: toy, check, score, download."""

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pfpn.cli.command import (
    MOST,
    Command,
    add_workers,
    byte_bar,
    complain,
    count_bar,
    image_bar,
    require_within,
    say,
)

if TYPE_CHECKING:
    from pathlib import Path


def _size(text: str) -> tuple[int, int]:
    """Read HEIGHTxWIDTH."""
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal() and 0 < int(height) * int(width) <= MOST):
        raise argparse.ArgumentTypeError(
            f"found {text!r}, expected HEIGHTxWIDTH in pixels, such as 128x192"
        )
    return int(height), int(width)


def _add_toy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", metavar="OUT", help="folder of the data set; new or empty")
    parser.add_argument("--num", type=int, default=1000, help="scenes (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the world (default: 0)")
    parser.add_argument(
        "--size", type=_size, default=(128, 192), metavar="HxW", help="pixels (default: 128x192)"
    )
    parser.add_argument(
        "--split", default="train", help="train, val or test, which share no scene (default: train)"
    )
    parser.add_argument(
        "--val", type=int, default=0, metavar="M", help="also write a split val of M scenes"
    )


def _toy(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from pfpn.data.coco import CocoWriter
    from pfpn.data.loader import TOY, open_dataset

    require_within(arguments, 0, MOST, "num", "val")
    out, nums = Path(arguments.out), {arguments.split: arguments.num}
    if arguments.val:
        if arguments.split == "val":
            raise ValueError("--val: found --split val too, expected one of the two")
        nums["val"] = arguments.val
    if min(nums.values()) < 1:
        raise ValueError(f"number of scenes: found {min(nums.values())}, expected 1 or more")
    datasets = {
        split: open_dataset(TOY, split, num=num, seed=arguments.seed, size=arguments.size)
        for split, num in nums.items()
    }
    _require_toy_folder(out, nums)
    writers = [
        CocoWriter(out, split, dataset.categories, by="toy") for split, dataset in datasets.items()
    ]
    with image_bar(sum(nums.values())) as on_image:
        for writer, dataset in zip(writers, datasets.values(), strict=True):
            with writer:
                for index in range(len(dataset)):
                    writer.add(dataset[index])
                    on_image()
    for split, num in nums.items():
        say(f"{split}: {num} scenes in {out / split}")
    return 0


def _require_toy_folder(out: "Path", splits: Iterable[str]) -> None:
    """Raise ValueError unless a folder is new, empty, or of drawn splits and these can be added."""
    from pfpn.data.loader import TOY_SPLITS
    from pfpn.files import KEPT, Output

    if out.exists() and not out.is_dir():
        raise ValueError(f"{out}: found a file, expected a folder or nothing")
    others = {entry.name for entry in out.iterdir()} if out.exists() else set()
    others -= {"annotations", KEPT, *TOY_SPLITS}
    own = {out / name for name in Output(out, "toy").names()}
    for split in splits:
        for folder in (out / split, out / "annotations" / f"panoptic_{split}"):
            paths = (path for path in folder.rglob("*") if not path.is_dir())
            others |= {path.relative_to(out).as_posix() for path in paths if path not in own}
    if others:
        raise ValueError(
            f"{out}: found {min(others)!r} in it, expected a new or an empty folder. "
            "Choose another one."
        )


TOY_COMMAND = Command(
    "toy",
    "write a drawn street world as a data set in COCO panoptic format",
    "pfpn toy data/toy --num 1000 --val 100 --seed 0",
    _add_toy,
    _toy,
)


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("root", metavar="ROOT", help="folder in COCO panoptic format")
    parser.add_argument("--split", required=True, metavar="S", help="such as train or val2017")
    add_workers(parser)


def _check(arguments: argparse.Namespace) -> int:
    from pfpn.data.check import check

    require_within(arguments, 1, MOST, "workers")
    with count_bar() as progress:
        findings = check(
            arguments.root, arguments.split, workers=arguments.workers, progress=progress
        )
    for finding in findings:
        say(finding)
    complain(f"{len(findings)} finding{'s' * (len(findings) != 1)}")
    return 1 if findings else 0


CHECK = Command(
    "check",
    "list everything that is wrong with a data set; exit code 1 if there is anything",
    "pfpn check data/coco --split val2017",
    _add_check,
    _check,
)


def _add_score(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--gt", required=True, metavar="JSON", help="the truth")
    parser.add_argument("--gt-dir", metavar="DIR", help="its PNGs (default: JSON without .json)")
    parser.add_argument("--pred", required=True, metavar="JSON", help="the predictions")
    parser.add_argument("--pred-dir", metavar="DIR", help="their PNGs (default: likewise)")
    parser.add_argument("--json", metavar="FILE", help="also write all figures here")
    parser.add_argument("--per-class", action="store_true", help="also print a line per class")
    add_workers(parser)


def _score(arguments: argparse.Namespace) -> int:
    import json
    from contextlib import ExitStack
    from pathlib import Path

    from pfpn.data.score import score_files
    from pfpn.files import claim_file
    from pfpn.quality import format_table

    require_within(arguments, 1, MOST, "workers")
    with ExitStack() as stack:
        if arguments.json is not None:
            inputs = (arguments.gt, arguments.pred)
            output = stack.enter_context(claim_file(arguments.json, "score", inputs))
        with count_bar() as progress:
            result = score_files(
                arguments.gt,
                arguments.gt_dir,
                arguments.pred,
                arguments.pred_dir,
                workers=arguments.workers,
                progress=progress,
                say=complain,
            )
        if arguments.json is not None:
            text = json.dumps(result.as_dict(), indent=2) + "\n"
            output.write(Path(arguments.json).name, text.encode())
    say(format_table(result, per_class=arguments.per_class))
    return 0


SCORE = Command(
    "score",
    "compute panoptic quality from files, with panopticapi's figures",
    "pfpn score --gt gt.json --gt-dir gt --pred pred.json --pred-dir pred --json scores.json",
    _add_score,
    _score,
)


def _add_download(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="WHAT")
    coco = kinds.add_parser("coco", help="COCO 2017: images and panoptic truth, 21 GB to fetch")
    coco.add_argument("root", nargs="?", default="data/coco", help="default: data/coco")
    coco.add_argument(
        "--split",
        action="append",
        choices=("train2017", "val2017"),
        help="one of them only; val2017 alone is 1.7 GB to fetch",
    )
    cityscapes = kinds.add_parser(
        "cityscapes", help="say how to get it, for it needs your login; then look if it is complete"
    )
    cityscapes.add_argument(
        "root", nargs="?", default="data/cityscapes", help="default: data/cityscapes"
    )
    zoo = kinds.add_parser("zoo", help="published weights, kept in the cache folder")
    zoo.add_argument("names", nargs="+", metavar="NAME", help="such as coco_panoptic_fpn_r50_3x")


def _download(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from pfpn.data.download import CITYSCAPES_HELP, check_cityscapes, download_coco

    if arguments.kind == "coco":
        splits = tuple(dict.fromkeys(arguments.split or ("train2017", "val2017")))
        with byte_bar() as progress:
            download_coco(Path(arguments.root), splits, progress=progress, say=say)
        say(f"complete: {arguments.root}")
        return 0
    if arguments.kind == "cityscapes":
        findings = check_cityscapes(Path(arguments.root))
        say("\n".join(findings) if findings else f"complete: {arguments.root}")
        if findings:
            say("\n" + CITYSCAPES_HELP.format(root=arguments.root).rstrip("\n"))
        return 1 if findings else 0

    from pfpn import zoo

    for name in arguments.names:
        zoo.find(name)  # all names are known before anything is fetched
    for name in arguments.names:
        with byte_bar() as progress:
            path = zoo.fetch_weights(name, progress=progress)
        figures = ", ".join(f"{key} {value}" for key, value in zoo.find(name).figures.items())
        say(f"{name} (published: {figures}): {path}")
    return 0


DOWNLOAD = Command(
    "download",
    "fetch data sets and published weights; stopped downloads go on where they were",
    "pfpn download zoo coco_panoptic_fpn_r50_3x",
    _add_download,
    _download,
)
