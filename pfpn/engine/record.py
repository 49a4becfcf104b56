"""What a second person needs to get the same result: run.json, written when a run starts.

Each start of a run, the first and every resumption, adds an entry: the whole config, the command,
versions, the source's commit, a fingerprint of the data, the hardware. `differences` compares them
with the machine at hand, `command` returns what to type.

    run.json    {"format": 1, "starts": [{"step", "time", "command", "config", "seed", "versions",
                "source", "git", "data", "hardware"}, ...]}
"""

import hashlib
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

import pfpn
from pfpn.data.coco import CocoPanoptic
from pfpn.data.loader import PanopticDataset
from pfpn.data.toy import ToyStreet
from pfpn.engine import distributed
from pfpn.engine.batches import first_readable, training_set, validation_set
from pfpn.engine.config import FREE_TO_CHANGE, TrainConfig, assignments, flat, from_dict
from pfpn.engine.distributed import Process
from pfpn.engine.initial import initial_path
from pfpn.engine.presets import PRESETS
from pfpn.files import Output
from pfpn.structures import Sample
from pfpn.version import VERSION

RECORD = "run.json"
FORMAT = 1
PACKAGE = Path(pfpn.__file__).parent
LIBRARIES = (
    *("torch", "torchvision", "numpy", "pillow", "pycocotools", "safetensors", "jaxtyping"),
    *("matplotlib", "tensorboard", "tqdm"),
)
FOLLOWING = {"model.num_things", "model.num_semantic"}  # settings that the data set decides

Start = dict[str, Any]


# writing ------------------------------------------------------------------------------------------


def describe_start(
    config: TrainConfig,
    step: int,
    process: Process,
    datasets: tuple[PanopticDataset, PanopticDataset],
) -> Start:
    """Return everything that decides what a run computes.

    All processes call it, for each names its GPU. The weights of `config.init` are part of it where
    they are read: at step 0.
    """
    return {
        "step": step,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": list(sys.orig_argv),
        "config": asdict(config),
        "seed": config.seed,
        "versions": versions(),
        "source": source_hash(),
        "git": git_state(),
        "data": fingerprints(config, datasets, with_init=step == 0) if process.is_main else {},
        "hardware": hardware(process),
    }


def add_start(output: Output, start: Start) -> None:
    """Add an entry to the record of a run."""
    starts = read_record(output.folder) if (output.folder / RECORD).exists() else []
    if start["step"] and starts and "init" in starts[0]["data"]:
        start["data"]["init"] = starts[0]["data"]["init"]
    content = {"format": FORMAT, "starts": [*starts, start]}
    output.write(RECORD, (json.dumps(content, indent=1) + "\n").encode())


def versions() -> dict[str, str]:
    """Return the version of everything that computes."""
    numbers = {"python": platform.python_version(), "pfpn": VERSION}
    for name in LIBRARIES:
        try:
            numbers[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            numbers[name] = "absent"
    numbers["torch"] = torch.__version__  # with its build, which the package's metadata leave out
    if torch.cuda.is_available():
        numbers["cuda"] = str(torch.version.cuda)
        numbers["cudnn"] = str(torch.backends.cudnn.version())
    return numbers


@cache
def source_hash() -> str:
    """Return the SHA-256 of this package's own code."""
    return _hash_files(PACKAGE, lambda path: path.suffix == ".py", with_content=True)["sha256"]


@cache
def git_state() -> dict[str, Any] | None:
    """Return commit and dirty flag of this package's repository; None where it is in none."""
    # A package installed below somebody's repository is not part of that.
    if _git("ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    commit, changed = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--", ".")
    return {"commit": commit.strip(), "dirty": bool(changed)} if commit else None


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(PACKAGE), *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):  # no git, or a very slow disk
        return None
    return done.stdout if done.returncode == 0 else None


def hardware(process: Process) -> dict[str, Any]:
    """Return what the run computes on; of the GPUs one name per process."""
    is_gpu = process.device.type == "cuda"
    return {
        "device": process.device.type,
        "world": process.world,
        "per_node": int(os.environ.get("LOCAL_WORLD_SIZE", process.world)),
        "cpu": _cpu_name(),
        "vector_units": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": distributed.gather(torch.cuda.get_device_name(process.device)) if is_gpu else [],
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (names or [platform.processor() or platform.machine()])[0]


def fingerprints(
    config: TrainConfig,
    datasets: tuple[PanopticDataset, PanopticDataset],
    *,
    with_init: bool = True,
) -> dict[str, Any]:
    """Return what identifies both data sets, and the weights that training began with."""
    train_set, val_set = datasets
    marks: dict[str, Any] = {
        "train": fingerprint(train_set),
        "val": fingerprint(val_set),
    }
    if config.init and with_init:
        marks["init"] = _hash(initial_path(config.init).read_bytes())
    return marks


def fingerprint(dataset: PanopticDataset) -> dict[str, Any]:
    """Return what identifies a data set, wherever it is kept.

    Of a folder that is the content of its annotations, and names and sizes of its images and PNGs;
    of the drawn world its numbers, and how its first scene comes out.
    """
    if isinstance(dataset, ToyStreet):
        numbers = {"num": dataset.num, "seed": dataset.seed, "first": dataset.first}
        return numbers | {"size": list(dataset.size), "first_scene": _hash_sample(dataset[0])}
    if isinstance(dataset, CocoPanoptic):
        annotations, pngs, images = dataset.paths
        return {
            "annotations": _hash(annotations.read_bytes()),
            "pngs": _hash_files(pngs),
            "images": _hash_files(images),
        }
    return {"given": len(dataset), "first_sample": _hash_sample(first_readable(dataset))}


def _hash_sample(sample: Sample) -> str:
    parts = (sample.image.numpy().tobytes(), sample.panoptic.id_map.numpy().tobytes())
    return _hash(b"".join(parts) + repr(sample.panoptic.segments).encode())


def _hash_files(
    folder: Path, counts: Callable[[Path], bool] = lambda path: True, with_content: bool = False
) -> dict[str, Any]:
    """Count the files below `folder`; hash their names and sizes, or their content."""
    lines, total = [], 0
    for parent, _, names in os.walk(folder, followlinks=True):
        for path in (Path(parent) / name for name in names):
            if counts(path):
                size = path.stat().st_size
                content = _hash(path.read_bytes()) if with_content else ""
                lines.append(f"{path.relative_to(folder).as_posix()} {size} {content}")
                total += size
    text = "\n".join(sorted(lines))
    return {"files": len(lines), "bytes": total, "sha256": _hash(text.encode())}


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# reading ------------------------------------------------------------------------------------------


def read_record(run: Path | str) -> list[Start]:
    """Return the starts of a run, the first one first."""
    path = Path(run) / RECORD
    if not path.is_file():
        raise ValueError(
            f"{path}: found no such file, expected the record of a run. Is {run} the folder of "
            "one, and not older than pfpn's records?"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(
            f"{path}: found no valid JSON ({error}), expected a run's record"
        ) from None
    known = isinstance(content, dict) and content.get("format") == FORMAT
    if not known or not content.get("starts"):
        raise ValueError(
            f"{path}: found no record of format {FORMAT}. Was it written by another version "
            "of pfpn?"
        )
    return content["starts"]


def recorded_config(start: Start, root: str = "") -> TrainConfig:
    """Return the config of a start, with the data set in another folder if one is named."""
    config = from_dict(TrainConfig, start["config"], RECORD)
    return replace(config, data=replace(config.data, root=root)) if root else config


def command(run: Path | str, out: Path | str, root: str = "") -> str:
    """Return the shell command that does again what a run did, into the folder `out`.

    A run on several machines is started on each of them, with the name of one of them for
    FIRST_MACHINE.
    """
    start = read_record(run)[-1]
    config, machine = recorded_config(start, root), start["hardware"]
    # What the machine decided then, it must not decide anew.
    config = replace(config, device=machine["device"])
    if config.device == "cpu":
        config = replace(config, threads=machine["threads"])
    if config.preset in PRESETS:
        preset, before = config.preset, PRESETS[config.preset]()
    else:
        preset = str(Path(run) / "config.json")
        before = from_dict(TrainConfig, start["config"], RECORD)
    settings = [a for a in assignments(before, config) if a.partition("=")[0] not in FOLLOWING]
    words = ["pfpn", "train", preset, *settings, "--out", str(out)]
    world, per_node = machine["world"], machine["per_node"]
    if world > 1:
        nodes = []
        if world > per_node:  # without a common address, each machine would wait for itself
            meeting = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "FIRST_MACHINE:29500"]
            nodes = ["--nnodes", str(world // per_node), *meeting]
        words[:1] = ["torchrun", *nodes, "--nproc-per-node", str(per_node), "-m", "pfpn"]
    return shlex.join(words)


def differences(run: Path | str, root: str = "") -> list[str]:
    """Return all that keeps this machine from getting the same result as a run, a line each."""
    starts = read_record(run)
    first, last = starts[0], starts[-1]
    lines = []
    if first["step"]:
        lines.append(f"the record begins at step {first['step']}, expected step 0")
    for before, after in pairwise(starts):
        when = f"resumed at step {after['step']} with"
        lines += [f"{when} {text}" for text in _compare(before, after, was="before")]
        lines += [f"{when} {text}" for text in _compare_configs(before, after)]
    if last["config"]["max_minutes"]:
        minutes = last["config"]["max_minutes"]
        lines.append(f"max_minutes={minutes:g}: the clock decided when the run ended")
    return list(dict.fromkeys(lines + _compare(_here(last, root), last, was="here")))


def _here(start: Start, root: str) -> Start:
    """Describe this machine as the run was described."""
    config = recorded_config(start, root)
    machine = start["hardware"]
    here: Start = {"versions": versions(), "source": source_hash(), "git": git_state()}
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    same_gpus = gpus[: machine["per_node"]] == machine["gpus"][: machine["per_node"]]
    here["hardware"] = {
        **machine,  # the command sets the number of processes and threads
        "cpu": _cpu_name(),
        "vector_units": torch.backends.cpu.get_cpu_capability(),
        "gpus": machine["gpus"] if same_gpus else gpus,
    }
    try:
        datasets = training_set(config.data), validation_set(config.data)
        here["data"] = fingerprints(config, datasets)
    except (ValueError, OSError) as error:
        here["data"] = {"problem": str(error)}
    return here


def _compare(one: Start, other: Start, was: str) -> list[str]:
    """Return in which respects `other` differs from `one`; `was` names where or when `one` is."""
    ours, theirs = _decisive(one), _decisive(other)
    if "problem" in one["data"]:
        ours = {k: v for k, v in ours.items() if not k.startswith("data.")}
        theirs = {k: v for k, v in theirs.items() if not k.startswith("data.")}
    lines = [
        f"{key} {_short(theirs.get(key))} ({was}: {_short(ours.get(key))})"
        for key in sorted(ours.keys() | theirs.keys())
        if ours.get(key) != theirs.get(key)
    ]
    if one["source"] != other["source"]:  # another commit with the same code computes the same
        lines.append(f"pfpn's code of {_commit(other)} ({was}: {_commit(one)})")
    if "problem" in one["data"]:
        lines.append(f"data: {one['data']['problem']}")
    return lines


def _decisive(start: Start) -> dict[str, Any]:
    """Return what numbers depend on beside config and code, by dotted keys."""
    machine = start["hardware"]
    # Data are prepared on the CPU with whole numbers, alike on all; what a GPU computes is not.
    units = ("gpus",) if machine["device"] == "cuda" else ("cpu", "vector_units", "threads")
    kept = {name: machine[name] for name in ("device", "world", *units)}
    return flat({"data": start["data"], "hardware": kept}) | start["versions"]


def _commit(start: Start) -> str:
    git = start["git"]
    if git is None:
        return f"no repository (SHA-256 {start['source'][:12]})"
    return f"commit {git['commit'][:12]}" + (" with changes" if git["dirty"] else "")


def _short(value: Any) -> str:
    text = str(value)
    return text[:12] if len(text) == 64 else text


def _compare_configs(before: Start, after: Start) -> list[str]:
    """Return the settings that a resumption changed and that decide what is learned."""
    old, new = flat(before["config"]), flat(after["config"])
    by_progress = new["optim.schedule"] in ("linear", "cosine") or new["lovasz_start"]
    free = FREE_TO_CHANGE - ({"max_steps", "max_minutes"} if by_progress else set())
    return [
        f"{key}={new.get(key)} (before: {old.get(key)})"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and key not in free and not key.startswith("predict.")
    ]
