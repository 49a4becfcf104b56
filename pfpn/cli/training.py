"""Commands that train: train, reproduce, demo."""

import argparse
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from pfpn.cli.command import Command, complain, image_bar, say

if TYPE_CHECKING:
    from pathlib import Path

    from pfpn.engine.config import TrainConfig
    from pfpn.files import Output


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
    from pfpn.engine.signals import stop_signals
    from pfpn.engine.train import NonFiniteError, log_rows, train

    config = override(read_preset(arguments.preset), arguments.settings)
    is_main = os.environ.get("RANK", "0") == "0"
    with stop_signals() as stop:
        looking = _looking_bar(is_main)
        rows = train(config, arguments.out, resume=arguments.resume, stop=stop, progress=looking)
        try:
            for row in _show_progress(log_rows(rows, arguments.out) if is_main else rows, is_main):
                last = row
        except NonFiniteError as error:
            complain(f"pfpn train: {error}")
            return 1
        except LostProcessError as error:
            complain(f"pfpn train: {error}. {_way_on(arguments.out)}")
            return 1
        if is_main:
            done = "stopped" if last["stopped"] else "done"
            hint = "; the same command with --resume goes on" if last["stopped"] else ""
            say(f"{done} after step {last['step']}: {arguments.out}{hint}")
    return stop.exit_code if last["stopped"] else 0


def _looking_bar(is_main: bool) -> Callable[[int, int], None]:
    """Return the function (done, all) that draws a bar while the files of a split are read."""
    from tqdm import tqdm

    bar = None

    def show(done: int, total: int) -> None:
        nonlocal bar
        if bar is None:
            on_terminal = is_main and sys.stderr.isatty()
            options = {"desc": "files", "leave": False, "dynamic_ncols": True}
            bar = tqdm(total=total, unit="image", disable=not on_terminal, **options)
        bar.update(1)
        if done == total:
            bar.close()
            bar = None

    return show


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


def read_preset(name: str) -> "TrainConfig":
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


def _show_progress(rows: Iterator[dict[str, Any]], is_main: bool) -> Iterator[dict[str, Any]]:
    """Yield rows again; meanwhile draw a bar on a terminal, or print a line per row elsewhere."""
    from tqdm import tqdm

    on_terminal = is_main and sys.stderr.isatty()
    layout = "{percentage:3.0f}%|{bar:12}| {elapsed}<{remaining} {postfix}"
    began = time.monotonic()
    with tqdm(total=1.0, bar_format=layout, disable=not on_terminal, dynamic_ncols=True) as bar:
        first = 0.0
        for row in rows:
            for note in row.get("notes", []):
                bar.write(note, file=sys.stdout)
            if row["kind"] == "start":
                max_steps = row["max_steps"]
                bar.n = first = row["progress"]
                bar.last_print_n = bar.initial = first
            elif row["kind"] == "train":
                text = _describe_step(row, max_steps)
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


def _describe_step(row: dict[str, Any], max_steps: int) -> str:
    losses = "  ".join(
        f"{name.removeprefix('loss_').replace('_', ' ')} {value:.3f}"
        for name, value in row.items()
        if name.startswith("loss_")
    )
    speed = f"{row['images_per_second']:.1f} images/s"
    steps = expected_steps(row)
    total = f"/{max_steps}" if steps >= 0.99 * max_steps else f" of about {steps}"
    return f"step {row['step']}{total}  {speed}  loss {row['loss']:.3f} = {losses}"


def expected_steps(row: dict[str, Any]) -> int:
    """Return how many steps a run will have at its end, from one of its rows.

    Of a run that a clock ends this is a guess, to two digits.
    """
    steps = round(row["step"] / max(row["progress"], 1e-9))
    return round(steps, 1 - math.floor(math.log10(max(steps, 10))))


TRAIN = Command(
    "train",
    "train a model from a preset; under torchrun, on all its processes",
    "pfpn train toy --out runs/toy optim.lr=0.001",
    _add_train,
    _train,
)


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

    different = differences(arguments.run, arguments.data)
    listing = "\n".join(f"  {difference}" for difference in different)
    if different and not arguments.anyway:
        raise ValueError(
            f"{arguments.run}: found {len(different)} difference{'s' * (len(different) != 1)} that "
            f"may change the result, expected none:\n{listing}\n"
            "Mend them, or add --anyway to see the command all the same."
        )
    if different:
        complain(f"pfpn reproduce: the result may differ:\n{listing}")
    out = arguments.out or f"{Path(arguments.run)}-again"
    say(command(arguments.run, out, arguments.data))
    return 0


REPRODUCE = Command(
    "reproduce",
    "print the command that does a run again; refuse if this machine would get another result",
    "pfpn reproduce runs/toy --out runs/toy2",
    _add_reproduce,
    _reproduce,
)


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


# Panoptic quality on the held-out streets after so many steps of the toy preset, measured with
# schedules of these lengths.
MEASURED_PQ = {1000: 84.4, 2000: 86.9, 2700: 88.0}


def expected_pq(steps: int) -> float:
    """Return the panoptic quality in percent to expect of the toy preset after `steps`.

    Between the measured lengths it grows with the logarithm of the steps; beyond them it is that of
    the nearest.
    """
    lengths = sorted(MEASURED_PQ)
    low = max((n for n in lengths if n <= steps), default=lengths[0])
    high = min((n for n in lengths if n >= steps), default=lengths[-1])
    if low >= high:
        return MEASURED_PQ[min(max(steps, lengths[0]), lengths[-1])]
    way = math.log(steps / low) / math.log(high / low)
    return MEASURED_PQ[low] + way * (MEASURED_PQ[high] - MEASURED_PQ[low])


def _say_what_to_expect(rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield rows again; once the speed is known, say what the run will come to."""
    is_said = False
    for row in rows:
        yield row
        if row["kind"] == "train" and row["progress"] >= 0.1 and not is_said:
            is_said = True
            steps = expected_steps(row)
            word = "below" if steps < min(MEASURED_PQ) else "about"
            say(f"at this speed: about {steps:,} steps, PQ {word} {expected_pq(steps):.0f}")


def _demo(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    import torch

    from pfpn.engine.checkpoint import load_weights
    from pfpn.engine.config import override
    from pfpn.engine.evaluate import evaluate
    from pfpn.engine.presets import PRESETS
    from pfpn.engine.run import has_bf16_units
    from pfpn.engine.signals import stop_signals
    from pfpn.engine.threads import FittingThreads
    from pfpn.engine.train import log_rows, train, validation_set
    from pfpn.files import claim
    from pfpn.report import REPORT_FILES, report_run

    run = Path(arguments.out) / "run"
    precision = ["optim.precision=bf16"] if has_bf16_units() else []
    # So many steps that the minutes end the run on any machine.
    limits = ["max_minutes=5", "max_steps=1000000"]
    config = override(PRESETS["toy"](), [*limits, *precision, *arguments.settings])
    with claim(arguments.out, "demo") as output:
        output.require_free(REPORT_FILES)
        _remove_run(output, run)
        say(f"drawing {config.data.toy_train_images:,} streets, then training from scratch")
        fitting = FittingThreads(config.threads or torch.get_num_threads())
        with stop_signals() as stop:

            def after_step() -> bool:
                fitting.adapt()
                return stop()

            try:
                rows = train(config, run, stop=after_step)
                shown = _show_progress(log_rows(rows, run), is_main=True)
                seen = list(_say_what_to_expect(shown))
            finally:
                _adopt_run(output, run)
        if stop():
            return stop.exit_code
        trained, dataset = load_weights(run), validation_set(config.data)
        say(f"scoring on {len(dataset)} streets that training never saw")
        with image_bar(len(dataset)) as on_image:
            result = evaluate(
                trained.model, dataset, trained.predict, on_image=lambda *_: on_image()
            )
        say(result.table())
        page = report_run(
            output,
            title="A Panoptic FPN, trained from scratch on this machine",
            lead="A drawn street world, a half-width ResNet-18, no GPU: what `make demo` does.",
            trained=trained,
            evaluation=result,
            rows=seen,
            dataset=dataset,
        )
    say(f"report: {page}")
    return 0


def _adopt_run(output: "Output", run: "Path") -> None:
    """List the files of the demonstration's run as its own."""
    for path in _run_files(run):
        output.adopt(path.relative_to(output.folder).as_posix())


def _remove_run(output: "Output", run: "Path") -> None:
    """Remove an earlier demonstration's run; raise ValueError if it has become more than that."""
    import shutil

    from pfpn.files import KEPT, claim

    if not run.exists():
        return
    names = [path.relative_to(output.folder).as_posix() for path in _run_files(run)]
    output.require_free(names)
    with claim(run, "train"):  # nobody is training there
        for name in names:
            output.remove(name)
    shutil.rmtree(run / KEPT, ignore_errors=True)
    for folder in (*sorted((p for p in run.rglob("*") if p.is_dir()), reverse=True), run):
        folder.rmdir()


def _run_files(run: "Path") -> Iterator["Path"]:
    """Yield the files of a run, without those by which pfpn knows its own."""
    from pfpn.files import KEPT

    for path in run.rglob("*"):
        if not path.is_dir() and KEPT not in path.relative_to(run).parts:
            yield path


DEMO = Command(
    "demo",
    "train a Panoptic FPN on drawn streets from scratch, score it, write a report",
    "pfpn demo max_minutes=2 --out runs/demo",
    _add_demo,
    _demo,
)
