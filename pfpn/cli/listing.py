"""Commands that show what there is: presets, settings, test-install."""

import argparse
import inspect
import re
from dataclasses import asdict, fields, is_dataclass
from typing import Literal, get_args, get_origin, get_type_hints

from pfpn.cli.command import Command, say


def _add_presets(parser: argparse.ArgumentParser) -> None:
    """Add no argument."""


def _presets(arguments: argparse.Namespace) -> int:
    import inspect

    from pfpn.engine.presets import PRESETS

    width = max(map(len, PRESETS))
    for name, preset in PRESETS.items():
        first = inspect.getdoc(preset) or ""
        say(f"{name:{width}}  {' '.join(first.split(chr(10) * 2)[0].split())}")
    return 0


PRESETS_COMMAND = Command(
    "presets",
    "list the presets that `pfpn train` knows, and what each is for",
    "pfpn presets",
    _add_presets,
    _presets,
)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "preset", nargs="?", default="toy", help="one of `pfpn presets`, or a config.json"
    )
    parser.add_argument("--find", default="", metavar="TEXT", help="only lines that contain it")


def _settings(arguments: argparse.Namespace) -> int:
    from pfpn.cli.training import read_preset
    from pfpn.engine.config import flat

    preset = read_preset(arguments.preset)
    words = meanings(type(preset))
    values = flat(asdict(preset))
    lines = [(f"{name}={_plain(value)}", words.get(name, "")) for name, value in values.items()]
    width = min(44, max(len(left) for left, _ in lines))
    shown = [f"{left:{width}}  {text}".rstrip() for left, text in lines]
    shown = [line for line in shown if arguments.find.lower() in line.lower()]
    if not shown:
        raise ValueError(
            f"--find {arguments.find}: found no setting with it, expected a part of a name or of a "
            "meaning, such as lr"
        )
    for line in shown:
        say(line)
    return 0


def meanings(kind: type, prefix: str = "") -> dict[str, str]:
    """Return what each field of a config means, by dotted name: the comment beside or above it.

    Where a field is one of several words, they follow.

    Args:
        kind: a dataclass whose fields may be dataclasses again.
        prefix: put before the names.
    """
    hints = get_type_hints(kind)
    source = inspect.getsource(kind)
    above = re.findall(r"^    # (.*)\n    (\w+): [^#\n]*$", source, re.M)
    comments = {name: comment for comment, name in above}
    comments |= dict(re.findall(r"^    (\w+): [^#\n]*#\s*(.*)$", source, re.M))
    words: dict[str, str] = {}
    for field in fields(kind):
        if is_dataclass(hints[field.name]):
            words |= meanings(hints[field.name], f"{prefix}{field.name}.")
        else:
            text, choices = comments.get(field.name, "").strip(), get_args(hints[field.name])
            if get_origin(hints[field.name]) is Literal and str(choices[0]) not in text:
                text += f" (one of {', '.join(map(str, choices))})"
            words[prefix + field.name] = text.strip()
    return words


def _plain(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


SETTINGS = Command(
    "settings",
    "list every setting of a preset: name, value, meaning",
    "pfpn settings toy",
    _add_settings,
    _settings,
)


def _add_test_install(parser: argparse.ArgumentParser) -> None:
    """Add no argument."""


def _test_install(arguments: argparse.Namespace) -> int:
    import platform
    import tempfile
    import time
    from importlib import import_module
    from pathlib import Path

    import torch
    import torchvision

    from pfpn import __version__

    began = time.monotonic()
    say(
        f"pfpn {__version__}, Python {platform.python_version()}, torch {torch.__version__}, "
        f"torchvision {torchvision.__version__}, {platform.system()} {platform.machine()}"
    )
    devices = [f"cuda x {torch.cuda.device_count()}"] * torch.cuda.is_available()
    devices += ["mps"] * torch.backends.mps.is_available()
    say(f"devices: {', '.join(['cpu', *devices])}")
    for name in ("PIL", "matplotlib", "pycocotools.mask", "safetensors", "tensorboard"):
        import_module(name)
    say("imports: all there")

    from pfpn.engine.checkpoint import load_weights
    from pfpn.engine.config import override
    from pfpn.engine.evaluate import evaluate
    from pfpn.engine.presets import PRESETS
    from pfpn.engine.train import train, validation_set
    from pfpn.shipped import TOY_WEIGHTS, shipped

    small = ["max_steps=3", "batch_size=2", "data.workers=0", "data.toy_train_images=4"]
    config = override(PRESETS["toy"](), [*small, "eval_images=1", "data.toy_val_images=10"])
    with tempfile.TemporaryDirectory() as folder:
        rows = list(train(config, Path(folder) / "run"))
    losses = [row["loss"] for row in rows if row["kind"] == "train"]
    say(f"training: 3 steps, loss {losses[-1] if losses else float('nan'):.2f}")
    trained = load_weights(shipped(TOY_WEIGHTS))
    result = evaluate(trained.model, validation_set(config.data), trained.predict, with_ap=False)
    group = result.panoptic.all
    pq = 100 * group.pq if group else 0.0
    say(f"prediction: PQ {pq:.1f} on 10 drawn streets (expected about 86)")
    if pq < 75:
        raise ValueError(f"prediction: found a PQ of {pq:.1f}, expected about 86. Is torch broken?")
    say(f"all works, after {time.monotonic() - began:.0f} s")
    return 0


TEST_INSTALL = Command(
    "test-install",
    "try the installation in about a minute: imports, a tiny training, one prediction",
    "pfpn test-install",
    _add_test_install,
    _test_install,
)
