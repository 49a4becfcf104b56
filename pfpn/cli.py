"""The command line: `pfpn COMMAND ...`, which is also `python -m pfpn COMMAND ...`.

Each command is one entry of COMMANDS: a function that adds its arguments and one that runs it.
Heavy imports happen inside the functions, so that `pfpn --help` answers at once. Bad input ends
with one clear line and exit code 2.
"""

import argparse
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Command:
    """One subcommand: its help line, an example, and the two functions behind it."""

    summary: str
    example: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


COMMANDS: dict[str, Command] = {}


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("preset", help="where the settings begin, such as toy or coco_r50_1x")
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
    import difflib
    import os

    from pfpn.engine.config import override
    from pfpn.engine.presets import PRESETS
    from pfpn.engine.train import NonFiniteError, log_rows, train

    if arguments.preset not in PRESETS:
        near = difflib.get_close_matches(arguments.preset, PRESETS, n=1) or list(PRESETS)
        raise ValueError(
            f"{arguments.preset}: found no such preset. Did you mean {' or '.join(near)}?"
        )
    config = override(PRESETS[arguments.preset](), arguments.settings)
    is_main = os.environ.get("RANK", "0") == "0"
    with _stop_signals() as stop:
        rows = train(config, arguments.out, resume=arguments.resume, stop=lambda: bool(stop))
        try:
            for row in _show_progress(log_rows(rows, arguments.out) if is_main else rows, is_main):
                last = row
        except NonFiniteError as error:
            print(f"pfpn train: {error}", file=sys.stderr)
            return 1
    if is_main:
        done = "stopped" if last["stopped"] else "done"
        hint = "; the same command with --resume goes on" if last["stopped"] else ""
        print(f"{done} after step {last['step']}: {arguments.out}{hint}")
    return 128 + stop[0] if last["stopped"] and stop else 0


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
                    if name not in ("kind", "step", "seconds") and isinstance(value, float)
                )
                bar.write(f"step {row['step']}: {scores}", file=sys.stdout)
            yield row


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
    parser.add_argument("--no-ap", action="store_true", help="leave out box and mask AP: quicker")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument("--json", metavar="FILE", help="also write everything measured here")


def _evaluate(arguments: argparse.Namespace) -> int:
    import json
    from pathlib import Path

    from pfpn.data.files import write_atomically
    from pfpn.data.loader import open_dataset
    from pfpn.engine import distributed
    from pfpn.engine.checkpoint import load_weights
    from pfpn.engine.evaluate import evaluate

    if arguments.images < 0:
        raise ValueError(f"--images: found {arguments.images}, expected 0 or more")
    with distributed.join(arguments.device) as place:
        trained = load_weights(arguments.weights, place.device)
        dataset = open_dataset(
            arguments.data, arguments.split, num=arguments.images or 100, seed=arguments.seed
        )
        num_images = min(len(dataset), arguments.images or len(dataset))
        share = len(range(place.rank, num_images, place.world))
        with _image_bar(share, place.is_main) as on_image:
            result = evaluate(
                trained.model,
                dataset,
                trained.predict,
                max_images=arguments.images,
                with_ap=not arguments.no_ap,
                on_image=on_image,
            )
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


COMMANDS["train"] = Command(
    "train a model from a preset; under torchrun, on all its processes",
    "pfpn train toy --out runs/toy optim.lr=0.001",
    _add_train,
    _train,
)
COMMANDS["evaluate"] = Command(
    "score a model on a data set: PQ, SQ, RQ, mean IoU, box and mask AP",
    "pfpn evaluate runs/toy --data toy --split val --json scores.json",
    _add_evaluate,
    _evaluate,
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
