"""The command line: `pfpn COMMAND ...`, which is also `python -m pfpn COMMAND ...`.

Each command is one entry of COMMANDS: a function that adds its arguments and one that runs it.
Heavy imports happen inside the functions, so that `pfpn --help` answers at once. Bad input ends
with one clear line and exit code 2.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pfpn.engine.config import TrainConfig
    from pfpn.predict import Prediction
    from pfpn.structures import Sample


@dataclass(frozen=True, slots=True)
class Command:
    """One subcommand: its help line, an example, and the two functions behind it."""

    summary: str
    example: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


COMMANDS: dict[str, Command] = {}


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "preset",
        help="where the settings begin: toy, coco_r50_1x, ..., or the config.json of another run",
    )
    parser.add_argument(
        "settings",
        nargs="*",
        metavar="key=value",
        help="settings to change, such as optim.lr=0.01; data=FOLDER names the data set",
    )
    parser.add_argument(
        "--out", required=True, metavar="RUN", help="folder that the run is kept in"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on from the folder's last checkpoint, if any"
    )


def _train(arguments: argparse.Namespace) -> int:
    from pfpn.engine.config import override
    from pfpn.engine.distributed import LostProcessError
    from pfpn.engine.train import NonFiniteError, log_rows, train

    config = override(_read_preset(arguments.preset), arguments.settings)
    is_main = os.environ.get("RANK", "0") == "0"
    with _stop_signals() as stop:
        rows = train(config, arguments.out, resume=arguments.resume, stop=lambda: bool(stop))
        try:
            for row in _show_progress(log_rows(rows, arguments.out) if is_main else rows, is_main):
                last = row
        except NonFiniteError as error:
            print(f"pfpn train: {error}", file=sys.stderr)
            return 1
        except LostProcessError as error:
            print(f"pfpn train: {error}. {_way_on(arguments.out)}", file=sys.stderr, flush=True)
            return 1
    if is_main:
        done = "stopped" if last["stopped"] else "done"
        hint = "; the same command with --resume goes on" if last["stopped"] else ""
        print(f"{done} after step {last['step']}: {arguments.out}{hint}")
    return 128 + stop[0] if last["stopped"] and stop else 0


def _way_on(out: str) -> str:
    """Say what is left of a run that broke off, and how it goes on."""
    from pathlib import Path

    from pfpn.engine.checkpoint import LAST, load_checkpoint

    path = Path(out) / LAST
    if not path.exists():
        return "There is no checkpoint yet."
    return (
        f"{path} holds step {load_checkpoint(path)['step']}; the same command with --resume goes "
        "on, and torchrun --max-restarts 3 with it does so by itself."
    )


def _read_preset(name: str) -> "TrainConfig":
    """Return the settings of a preset, or of a config.json."""
    import difflib
    from pathlib import Path

    from pfpn.engine.config import TrainConfig, from_json
    from pfpn.engine.presets import PRESETS

    if name.endswith(".json"):
        return from_json(TrainConfig, Path(name).read_text(encoding="utf-8"), name)
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1) or list(PRESETS)
        raise ValueError(f"{name}: found no such preset. Did you mean {' or '.join(near)}?")
    return PRESETS[name]()


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM in a list; the second Ctrl-C interrupts at once, as usual."""
    received: list[int] = []

    def note(number: int, frame: object) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _show_progress(rows: Iterator[dict[str, Any]], is_main: bool) -> Iterator[dict[str, Any]]:
    """Pass rows on; meanwhile draw a bar on a terminal, or print a line per row elsewhere."""
    from tqdm import tqdm

    on_terminal = is_main and sys.stderr.isatty()
    layout = "{percentage:3.0f}%|{bar:12}| {elapsed}<{remaining} {postfix}"
    began = time.monotonic()
    with tqdm(total=1.0, bar_format=layout, disable=not on_terminal, dynamic_ncols=True) as bar:
        first = 0.0
        for row in rows:
            if row["kind"] == "start":
                max_steps = row["max_steps"]
                bar.n = first = row["progress"]
                bar.last_print_n = bar.initial = first
                for note in row.get("notes", []):
                    bar.write(note, file=sys.stdout)
            elif row["kind"] == "train":
                losses = "  ".join(
                    f"{name.removeprefix('loss_').replace('_', ' ')} {value:.3f}"
                    for name, value in row.items()
                    if name.startswith("loss_")
                )
                step = f"step {row['step']}/{max_steps}"
                speed = f"{row['images_per_second']:.1f} images/s"
                text = f"{step}  {speed}  loss {row['loss']:.3f} = {losses}"
                bar.set_postfix_str(text, refresh=False)
                bar.update(row["progress"] - bar.n)
                if is_main and not on_terminal:
                    spent = time.monotonic() - began
                    left = spent * (1 - row["progress"]) / max(row["progress"] - first, 1e-9)
                    print(f"{row['progress']:4.0%}  {text}  left {left / 60:.1f} min", flush=True)
            elif row["kind"] == "eval" and is_main:
                scores = "  ".join(
                    f"{name.replace('_', ' ')} {100 * value:.1f}"
                    for name, value in row.items()
                    if name not in ("progress", "seconds") and isinstance(value, float)
                )
                bar.write(f"step {row['step']}: {scores}", file=sys.stdout)
            yield row


def _add_reproduce(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="folder of a run")
    parser.add_argument(
        "--out", metavar="DIR", help="folder of the new run in the command (default: RUN-again)"
    )
    parser.add_argument(
        "--data", default="", metavar="ROOT", help="where the data set is here, if elsewhere"
    )
    parser.add_argument(
        "--anyway", action="store_true", help="print the command even if the result will differ"
    )


def _reproduce(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from pfpn.engine.record import command, differences

    found = differences(arguments.run, arguments.data)
    listing = "\n".join(f"  {difference}" for difference in found)
    if found and not arguments.anyway:
        raise ValueError(
            f"{arguments.run}: found {len(found)} difference{'s' * (len(found) != 1)} that may "
            f"change the result, expected none:\n{listing}\n"
            "Mend them, or add --anyway to see the command all the same."
        )
    if found:
        print(f"pfpn reproduce: the result may differ:\n{listing}", file=sys.stderr)
    out = arguments.out or f"{Path(arguments.run)}-again"
    print(command(arguments.run, out, arguments.data))
    return 0


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("weights", help="a .safetensors file, or the folder of a run")
    parser.add_argument(
        "--data", required=True, metavar="ROOT", help='folder in COCO panoptic format, or "toy"'
    )
    parser.add_argument("--split", default="val", metavar="NAME", help="default: val")
    parser.add_argument(
        "--images", type=int, default=0, metavar="N", help="the first N only; toy: draw N (100)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the drawn world (default: 0)")
    parser.add_argument(
        "--save", metavar="DIR", help="also write DIR.json and DIR/*.png in COCO panoptic format"
    )
    parser.add_argument("--no-ap", action="store_true", help="leave out box and mask AP: quicker")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument("--json", metavar="FILE", help="also write everything measured here")


def _evaluate(arguments: argparse.Namespace) -> int:
    import json
    from pathlib import Path

    from pfpn.data.categories import LabelMap, categories_to_json
    from pfpn.data.coco import make_annotation, write_id_map
    from pfpn.data.loader import open_dataset
    from pfpn.engine import distributed
    from pfpn.engine.checkpoint import load_weights
    from pfpn.engine.evaluate import evaluate, require_same_categories
    from pfpn.files import write_atomically

    if arguments.images < 0:
        raise ValueError(f"--images: found {arguments.images}, expected 0 or more")
    with distributed.join(arguments.device) as place:
        trained = load_weights(arguments.weights, place.device)
        dataset = open_dataset(
            arguments.data, arguments.split, num=arguments.images or 100, seed=arguments.seed
        )
        require_same_categories(trained.categories, dataset.categories)
        num_images = min(len(dataset), arguments.images or len(dataset))
        share = len(range(place.rank, num_images, place.world))
        with _image_bar(share, place.is_main) as on_image:
            saved: list[dict[str, Any]] = []
            labels = LabelMap(tuple(dataset.categories))

            def take(sample: "Sample", found: "Prediction") -> None:
                if arguments.save:
                    name = f"{sample.image_id:0>12}.png"
                    write_id_map(Path(arguments.save) / name, found.panoptic.id_map)
                    saved.append(make_annotation(found.panoptic, sample.image_id, name, labels))
                on_image()

            result = evaluate(
                trained.model,
                dataset,
                trained.predict,
                max_images=arguments.images,
                with_ap=not arguments.no_ap,
                on_image=take,
            )
        everything = [entry for part in distributed.gather(saved) for entry in part]
        if place.is_main and arguments.save:
            content = {
                "annotations": sorted(everything, key=lambda entry: entry["file_name"]),
                "categories": categories_to_json(dataset.categories),
            }
            write_atomically(Path(f"{arguments.save}.json"), json.dumps(content).encode())
        if place.is_main:
            print(result.table())
            if arguments.json:
                text = json.dumps(result.as_dict(), indent=2) + "\n"
                write_atomically(Path(arguments.json), text.encode())
    return 0


@contextmanager
def _image_bar(total: int, is_main: bool) -> Iterator[Callable[[], object]]:
    """Draw a bar over images on a terminal; give the function that moves it on by one."""
    from tqdm import tqdm

    on_terminal = is_main and sys.stderr.isatty()
    with tqdm(total=total, unit="image", disable=not on_terminal, dynamic_ncols=True) as bar:
        yield bar.update


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("weights", help="a .safetensors file, or the folder of a run")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="photographs of any size")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the answers")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")


def _predict(arguments: argparse.Namespace) -> int:
    import json
    from pathlib import Path

    from PIL import Image
    from tqdm import tqdm

    from pfpn.data.categories import LabelMap, categories_to_json
    from pfpn.data.coco import make_annotation, read_image, write_id_map
    from pfpn.engine.checkpoint import load_weights
    from pfpn.engine.distributed import choose_device
    from pfpn.files import temporary_beside, write_atomically
    from pfpn.plot.panoptic import describe_panoptic, paint_panoptic
    from pfpn.predict import predict

    trained = load_weights(arguments.weights, choose_device(arguments.device))
    out = Path(arguments.out)
    names = [Path(image).stem for image in arguments.images]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"images: found several named {twice[0]!r}, expected names that differ: answers are "
            "named after them. Try one folder after the other, each with its own --out"
        )
    labels = LabelMap(tuple(trained.categories))
    with _image_bar(len(names), is_main=True) as on_image:
        for number, (name, path) in enumerate(zip(names, arguments.images, strict=True), start=1):
            image = read_image(Path(path))
            found = predict(trained.model, [image], trained.predict, all_detections=False)[0]
            write_id_map(out / f"{name}.png", found.panoptic.id_map)
            content = {
                "images": [
                    {
                        "id": number,
                        "file_name": Path(path).name,
                        "height": image.shape[1],
                        "width": image.shape[2],
                    }
                ],
                "annotations": [make_annotation(found.panoptic, number, f"{name}.png", labels)],
                "categories": categories_to_json(trained.categories),
            }
            write_atomically(out / f"{name}.json", json.dumps(content, indent=1).encode())
            with temporary_beside(out / f"{name}_overlay.png") as temporary:
                painted = paint_panoptic(image, found.panoptic, trained.categories)
                Image.fromarray(painted).save(temporary, format="PNG")
            tqdm.write(f"{path}: {describe_panoptic(found.panoptic, trained.categories)}")
            on_image()
    print(f"{len(names)} images: {out}")
    return 0


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "settings",
        nargs="*",
        metavar="key=value",
        help="settings of the preset `toy` to change, such as max_minutes=2",
    )
    parser.add_argument(
        "--out", default="runs/demo", metavar="DIR", help="default: runs/demo, made anew each time"
    )


def _demo(arguments: argparse.Namespace) -> int:
    import shutil
    from pathlib import Path

    from pfpn.engine import checkpoint
    from pfpn.engine.checkpoint import load_weights
    from pfpn.engine.config import override
    from pfpn.engine.evaluate import evaluate
    from pfpn.engine.presets import PRESETS
    from pfpn.engine.train import log_rows, train, validation_set
    from pfpn.report import report_run

    out = Path(arguments.out)
    run = out / "run"
    if run.exists():  # an earlier demonstration, and nothing else
        if not (run / checkpoint.CONFIG).exists():
            raise ValueError(f"{run}: found a folder that is no run, expected none. Try --out")
        shutil.rmtree(run)
    config = override(PRESETS["toy"](), ["max_minutes=5", *arguments.settings])
    print(f"drawing {config.data.toy_train_images:,} streets, then training from scratch")
    with _stop_signals() as stop:
        rows = train(config, run, stop=lambda: bool(stop))
        told = list(_show_progress(log_rows(rows, run), is_main=True))
    if stop:
        return 128 + stop[0]
    trained, dataset = load_weights(run), validation_set(config.data)
    print(f"scoring on {len(dataset)} streets that training never saw")
    with _image_bar(len(dataset), is_main=True) as on_image:
        result = evaluate(trained.model, dataset, trained.predict, on_image=lambda *_: on_image())
    print(result.table())
    page = report_run(
        out,
        title="A Panoptic FPN, trained from scratch on this machine",
        lead="A drawn street world, a half-width ResNet-18, no GPU: what `make demo` does.",
        trained=trained,
        evaluation=result,
        rows=told,
        dataset=dataset,
    )
    print(f"report: {page}")
    return 0


def _add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="threads (default: one per processor core)",
    )


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("root", metavar="ROOT", help="folder in COCO panoptic format")
    parser.add_argument("--split", required=True, metavar="S", help="such as train or val2017")
    _add_workers(parser)


def _check(arguments: argparse.Namespace) -> int:
    from pfpn.data.check import check

    with _count_bar() as progress:
        findings = check(
            arguments.root, arguments.split, workers=arguments.workers, progress=progress
        )
    for finding in findings:
        print(finding)
    print(f"{len(findings)} finding{'s' * (len(findings) != 1)}", file=sys.stderr)
    return 1 if findings else 0


def _add_score(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--gt", required=True, metavar="JSON", help="the truth")
    parser.add_argument("--gt-dir", metavar="DIR", help="its PNGs (default: JSON without .json)")
    parser.add_argument("--pred", required=True, metavar="JSON", help="the predictions")
    parser.add_argument("--pred-dir", metavar="DIR", help="their PNGs (default: likewise)")
    parser.add_argument("--json", metavar="FILE", help="also write all figures here")
    parser.add_argument("--per-class", action="store_true", help="also print a line per class")
    _add_workers(parser)


def _score(arguments: argparse.Namespace) -> int:
    import json
    from pathlib import Path

    from pfpn.data.score import score_files
    from pfpn.files import write_atomically
    from pfpn.quality import format_table

    with _count_bar() as progress:
        result = score_files(
            arguments.gt,
            arguments.gt_dir,
            arguments.pred,
            arguments.pred_dir,
            workers=arguments.workers,
            progress=progress,
        )
    if arguments.json:
        text = json.dumps(result.as_dict(), indent=2) + "\n"
        write_atomically(Path(arguments.json), text.encode())
    print(format_table(result, per_class=arguments.per_class))
    return 0


@contextmanager
def _count_bar() -> Iterator[Callable[[int, int], None]]:
    """Draw a bar over images on a terminal; give the function that takes (done, all)."""
    from tqdm import tqdm

    with tqdm(unit="image", disable=not sys.stderr.isatty(), dynamic_ncols=True) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show


def _size(text: str) -> tuple[int, int]:
    """Read HEIGHTxWIDTH."""
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
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
    from pfpn.data.loader import TOY, TOY_SPLITS, open_dataset

    out, wanted = Path(arguments.out), {arguments.split: arguments.num}
    if arguments.val:
        if arguments.split == "val":
            raise ValueError("--val: found --split val too, expected one of the two")
        wanted["val"] = arguments.val
    if min(wanted.values()) < 1:
        raise ValueError(f"number of scenes: found {min(wanted.values())}, expected 1 or more")
    datasets = {
        split: open_dataset(TOY, split, num=num, seed=arguments.seed, size=arguments.size)
        for split, num in wanted.items()
    }
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out}: found a file, expected a folder or nothing")
    others = {entry.name for entry in out.iterdir()} if out.exists() else set()
    others -= {"annotations", *TOY_SPLITS}
    if others:
        raise ValueError(
            f"{out}: found {sorted(others)[0]!r} in it, expected a new or an empty folder. "
            "Choose another one."
        )
    writers = [CocoWriter(out, split, dataset.categories) for split, dataset in datasets.items()]
    with _image_bar(sum(wanted.values()), is_main=True) as on_image:
        for writer, dataset in zip(writers, datasets.values(), strict=True):
            with writer:
                for index in range(len(dataset)):
                    writer.add(dataset[index])
                    on_image()
    for split, num in wanted.items():
        print(f"{split}: {num} scenes in {out / split}")
    return 0


COMMANDS["toy"] = Command(
    "write a drawn street world as a data set in COCO panoptic format",
    "pfpn toy data/toy --num 1000 --val 100 --seed 0",
    _add_toy,
    _toy,
)


def _add_convert(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a .pkl, .pth or .safetensors of detectron2's Panoptic FPN or torchvision's Mask "
        "R-CNN, or a name that `pfpn download zoo` knows",
    )
    parser.add_argument("--out", required=True, metavar="FILE.safetensors", help="file to write")
    parser.add_argument(
        "--norm-eps",
        type=float,
        metavar="E",
        help="of torchvision's frozen batch norms (default: 0 for its published file, else 1e-5)",
    )


def _convert(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from pfpn import zoo

    source = Path(arguments.source)
    if arguments.source in zoo.MODELS and not source.exists():
        with _byte_bar() as progress:
            source = zoo.fetch_weights(arguments.source, progress=progress)
    config = zoo.convert(source, Path(arguments.out), norm_eps=arguments.norm_eps)
    stuff = f", {config.num_semantic} semantic classes" if config.semantic_branch else ""
    print(f"ResNet-{config.depth}, {config.num_things} things{stuff}: {arguments.out}")
    return 0


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
        with _byte_bar() as progress:
            download_coco(Path(arguments.root), splits, progress=progress, say=print)
        print(f"complete: {arguments.root}")
        return 0
    if arguments.kind == "cityscapes":
        findings = check_cityscapes(Path(arguments.root))
        print("\n".join(findings) if findings else f"complete: {arguments.root}")
        if findings:
            print("\n" + CITYSCAPES_HELP.format(root=arguments.root), end="")
        return 1 if findings else 0

    from pfpn import zoo

    for name in arguments.names:
        zoo.find(name)  # all names are known before anything is fetched
    for name in arguments.names:
        with _byte_bar() as progress:
            path = zoo.fetch_weights(name, progress=progress)
        figures = ", ".join(f"{key} {value}" for key, value in zoo.find(name).figures.items())
        print(f"{name} (published: {figures}): {path}")
    return 0


@contextmanager
def _byte_bar() -> Iterator[Callable[[int, int | None], None]]:
    """Draw a bar over bytes on a terminal; give the function that takes (done, all or None)."""
    from tqdm import tqdm

    is_quiet = not sys.stderr.isatty()
    with tqdm(unit="B", unit_scale=True, disable=is_quiet, dynamic_ncols=True) as bar:

        def show(done: int, total: int | None) -> None:
            if done < bar.n:  # the next file
                bar.reset()
            bar.total = total
            bar.update(done - bar.n)

        yield show


COMMANDS["check"] = Command(
    "list everything that is wrong with a data set; exit code 1 if there is anything",
    "pfpn check data/coco --split val2017",
    _add_check,
    _check,
)
COMMANDS["score"] = Command(
    "compute panoptic quality from files, with panopticapi's figures",
    "pfpn score --gt gt.json --gt-dir gt --pred pred.json --pred-dir pred --json scores.json",
    _add_score,
    _score,
)
COMMANDS["demo"] = Command(
    "train a Panoptic FPN on drawn streets from scratch, score it, write a report",
    "pfpn demo max_minutes=2 --out runs/demo",
    _add_demo,
    _demo,
)
COMMANDS["train"] = Command(
    "train a model from a preset; under torchrun, on all its processes",
    "pfpn train toy --out runs/toy optim.lr=0.001",
    _add_train,
    _train,
)
COMMANDS["reproduce"] = Command(
    "print the command that does a run again; refuse if this machine would get another result",
    "pfpn reproduce runs/toy --out runs/toy2",
    _add_reproduce,
    _reproduce,
)
COMMANDS["evaluate"] = Command(
    "score a model on a data set: PQ, SQ, RQ, mean IoU, box and mask AP",
    "pfpn evaluate runs/toy --data toy --split val --json scores.json",
    _add_evaluate,
    _evaluate,
)
COMMANDS["predict"] = Command(
    "find every segment of photographs: per image an id PNG, a JSON file and an overlay to look at",
    "pfpn predict runs/toy street.jpg --out predictions",
    _add_predict,
    _predict,
)


COMMANDS["convert"] = Command(
    "turn published weights into a .safetensors file; nothing in them is executed",
    "pfpn convert model_final_c10459.pkl --out coco_panoptic_fpn_r50_3x.safetensors",
    _add_convert,
    _convert,
)
COMMANDS["download"] = Command(
    "fetch data sets and published weights; stopped downloads go on where they were",
    "pfpn download zoo coco_panoptic_fpn_r50_3x",
    _add_download,
    _download,
)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser with every command, its help and an example of its use."""
    parser = argparse.ArgumentParser(prog="pfpn", description=__doc__.splitlines()[0])
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        sub = subparsers.add_parser(
            name,
            help=command.summary,
            description=command.summary,
            epilog=f"example: {command.example}",
        )
        command.add_arguments(sub)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return 0 on success and 2 on bad input, which is told in one line."""
    parser = build_parser()
    arguments, rest = parser.parse_known_args(argv)
    # argparse ends a list of settings at the first option; those behind it belong to it too.
    if rest and (not hasattr(arguments, "settings") or any(r.startswith("-") for r in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    elif rest:
        arguments.settings += rest
    try:
        return COMMANDS[arguments.command].run(arguments)
    except (ValueError, OSError) as error:
        print(f"pfpn {arguments.command}: {error}", file=sys.stderr)
        return 2
