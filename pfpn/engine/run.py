"""Everything that changes while training, and its way to disk and back.

A run folder is claimed by one process at a time. Each file in it is listed with its SHA-256 (see
`pfpn.files`), so that a checkpoint which changed since it was written is refused.
"""

import copy
import platform
import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pfpn.backbone import load_imagenet
from pfpn.engine import checkpoint, distributed
from pfpn.engine.checkpoint import BEST, CONFIG, LAST, METRICS, WEIGHTS
from pfpn.engine.config import FREE_TO_CHANGE, TrainConfig, flat, from_dict
from pfpn.engine.distributed import Process
from pfpn.engine.evaluate import category_differences
from pfpn.engine.initial import brings_backbone
from pfpn.engine.optim import WeightAverage
from pfpn.engine.record import RECORD
from pfpn.engine.rows import Row
from pfpn.files import Output, claim, sha256_of
from pfpn.model import PanopticFPN
from pfpn.structures import Category

RUN_FILES = (LAST, BEST, WEIGHTS, CONFIG, METRICS, RECORD)
# Of a checkpoint; "evaluated", "precision" and "stale" came later
ENTRIES = {
    "step", "seconds", "best_pq", "config", "categories", "model", "average", "optimizer",
    "scaler", "rng",
}  # fmt: skip


@dataclass
class Run:
    """Everything that changes while training."""

    config: TrainConfig
    output: Output
    process: Process
    categories: Sequence[Category]
    model: PanopticFPN
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: WeightAverage | None
    precision: torch.dtype | None  # of mixed precision, None for full
    step: int = 0  # steps done
    seconds: float = 0.0  # spent in them
    best_pq: float = -1.0
    evaluated: int = 0  # step of the last evaluation
    stale: int = 0  # evaluations since the best one

    def progress(self) -> float:
        """Return the fraction that is done: of the steps, or of the time if that ends first.

        It is 1 as well where `patience` is at its end.
        """
        if self.config.patience and self.stale >= self.config.patience:
            return 1.0
        fractions = [self.step / self.config.max_steps]
        if self.config.max_minutes:
            fractions.append(self.seconds / (60 * self.config.max_minutes))
        return min(1.0, max(fractions))

    def is_evaluation_due(self) -> bool:
        """Return whether the model of this step is to be evaluated, and was not."""
        every = self.config.eval_every
        is_due = self.progress() >= 1 or (every > 0 and self.step % every == 0)
        return is_due and self.step > self.evaluated

    def sync_clock(self) -> None:
        """Set the clock of all processes to that of the main one, so that they end together."""
        if self.config.max_minutes:
            self.seconds = distributed.from_main([self.seconds], self.process)[0]

    def facts(self) -> Row:
        """Return the entries of every row."""
        return {"progress": self.progress(), "seconds": round(self.seconds, 3)}

    def evaluated_model(self) -> PanopticFPN:
        """Return the model that is evaluated and shipped: the average, if there is one."""
        if self.average is None:
            return self.model
        averaged = copy.deepcopy(self.model)
        averaged.load_state_dict(self.average.state)
        return averaged

    def save(self, *, best: bool = False) -> None:
        """Write the checkpoint and the weights; with `best` also a copy as the best one so far."""
        rng = distributed.gather(checkpoint.rng_state(self.process.device))
        if self.process.is_main:
            content = checkpoint.pack_checkpoint(self.state() | {"rng": rng})
            if best:
                self.output.write(BEST, content)
            self.output.write(LAST, content)
            # With patience the weights are those of the best evaluation, once there is one
            if best or not (self.config.patience and self.best_pq >= 0):
                self.write_weights()
        distributed.wait_for_all()

    def _kept_weights(self) -> dict[str, Tensor] | None:
        """Return the weights of the best evaluation where `patience` keeps them, else None."""
        path = self.output.folder / BEST
        if not self.config.patience or self.best_pq < 0 or not path.exists():
            return None
        best = checkpoint.load_checkpoint(path)
        return best["average"]["state"] if best["average"] else best["model"]

    def write_weights(self, state: dict[str, Tensor] | None = None) -> None:
        """Write the weights alone, as they are evaluated, or other ones."""
        own = self.average.state if self.average else self.model.state_dict()
        content = checkpoint.pack_weights(
            own if state is None else state,
            model=self.config.model,
            categories=self.categories,
            predict=self.config.predict,
        )
        self.output.write(WEIGHTS, content)

    def state(self) -> dict[str, Any]:
        """Return all but the random generators, in plain containers."""
        average = self.average
        return {
            "step": self.step,
            "seconds": self.seconds,
            "best_pq": self.best_pq,
            "evaluated": self.evaluated,
            "stale": self.stale,
            "precision": str(self.precision),
            "config": asdict(self.config),
            "categories": checkpoint.categories_to_plain(self.categories),
            "model": self.model.state_dict(),
            "average": {"num_updates": average.num_updates, "state": average.state}
            if average
            else None,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Return to a state that was saved; the weights file is written anew from it."""
        self.step = state["step"]
        self.seconds = state["seconds"]
        self.best_pq = state["best_pq"]
        self.evaluated = state.get("evaluated", self.step)
        self.stale = state.get("stale", 0)
        self.model.load_state_dict(state["model"])
        if self.average:
            self.average.num_updates = state["average"]["num_updates"]
            for key, value in state["average"]["state"].items():
                self.average.state[key].copy_(value)
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if len(state["rng"]) == self.process.world:
            checkpoint.set_rng_state(state["rng"][self.process.rank], self.process.device)
        if self.process.is_main:  # a run that was killed may have written the checkpoint alone
            self.write_weights(self._kept_weights())


# the folder ---------------------------------------------------------------------------------------


@contextmanager
def claim_run(out: Path, process: Process, resume: bool) -> Iterator[Output]:
    """Claim a run folder for the main process; raise on all if it cannot hold this run."""
    with ExitStack() as stack:
        problem: Exception | None = None
        output = None
        if process.is_main:
            try:
                output = stack.enter_context(claim(out, "train"))
                (_require_resumable if resume else _require_empty)(output)
            except (ValueError, OSError) as error:
                problem = error
        distributed.raise_together(problem)
        yield output or Output(out, "train")


def _require_empty(output: Output) -> None:
    left = [name for name in RUN_FILES if (output.folder / name).exists()]
    if left:
        raise ValueError(
            f"{output.folder}: found a run ({', '.join(left)}), expected an empty or new folder. "
            "Try --resume to go on with it, or another --out"
        )


def _require_resumable(output: Output) -> None:
    """Raise ValueError unless the run in a folder can go on, or begin where nothing was saved."""
    out, last = output.folder, output.folder / LAST
    if not last.exists():
        left = [name for name in (BEST, WEIGHTS) if (out / name).exists()]
        if left:
            raise ValueError(
                f"{last}: found no such file but {' and '.join(left)}, expected the checkpoint to "
                f"go on from. {way_back(out)}"
            )
    elif not any(output.sums(name) for name in RUN_FILES):  # of a version that kept no list
        for name in RUN_FILES:
            if (out / name).exists():
                output.adopt(name)
    elif not output.is_own(LAST):
        if sha256_of(last) not in output.sums(BEST):
            raise ValueError(
                f"{last}: found a file that is not as it was written (its SHA-256 differs), "
                f"expected the checkpoint of this run. {way_back(out)}"
            )
        output.adopt(LAST)
    output.require_free(RUN_FILES)


def way_back(out: Path) -> str:
    """Return what to do if the last checkpoint of a run is lost."""
    try:
        step = checkpoint.load_checkpoint(out / BEST)["step"]
    except (ValueError, KeyError):
        if (out / WEIGHTS).exists():
            return f"No checkpoint is left: begin a new run with init={out / WEIGHTS}"
        return "No checkpoint is left: begin a new run with another --out"
    return (
        f"{out / BEST} holds step {step}: copy it to {out / LAST}, and --resume goes on from there"
    )


def read_state(out: Path) -> dict[str, Any] | None:
    """Return the last checkpoint of a run on all processes alike, None if there is none yet.

    Raises ValueError if it is damaged, or not the same on all processes: they would wait for each
    other for ever.
    """
    path = out / LAST
    state, problem = None, None
    if path.exists():
        try:
            state = checkpoint.load_checkpoint(path)
        except ValueError as error:
            problem = ValueError(f"{error}. {way_back(out)}")
        else:
            missing = sorted(ENTRIES - state.keys())
            if missing:
                problem = ValueError(f"{path}: found no {missing[0]}, expected a run's checkpoint")
    distributed.raise_together(problem)
    steps = distributed.gather(state["step"] if state else 0)
    if len(set(steps)) > 1:
        raise ValueError(
            f"{out}: found the checkpoint of step {max(steps)} on {steps.count(max(steps))} of "
            f"{len(steps)} processes and another or none on the rest, expected the same on all. "
            "Is the folder on a disk that all machines share?"
        )
    return state


def require_same_run(
    state: dict[str, Any], config: TrainConfig, categories: Sequence[Category], path: Path
) -> None:
    """Raise ValueError unless a run would go on as it began: same settings, same classes."""
    before = checkpoint.categories_from_plain(state["categories"], f"{path}: categories")
    differences = category_differences(before, categories, strict=True)
    if differences:
        raise ValueError(
            f"{path}: found a run on other classes than the data set's: {differences[0]}. Has the "
            "data set changed? Try --resume with the data it began with, or another --out"
        )
    old = flat(asdict(from_dict(TrainConfig, state["config"], str(path))))
    new = flat(asdict(config))
    differing = sorted(
        key
        for key in old.keys() | new.keys()
        if old.get(key) != new.get(key)
        and key not in FREE_TO_CHANGE
        and not key.startswith("predict.")
    )
    if differing:
        listing = ", ".join(f"{k}={new.get(k)} (was {old.get(k)})" for k in differing[:5])
        raise ValueError(
            f"{path}: found a run with other settings, expected the same: {listing}. "
            "Try --resume with the settings it began with, or another --out"
        )


# how it begins ------------------------------------------------------------------------------------


def seed_everything(seed: int) -> None:
    """Seed every global generator; the same weights on all processes follow from it."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.manual_seed(seed)


def build_model(config: TrainConfig, *, pretrained: bool = True) -> PanopticFPN:
    """Return the model at its random start, with ImageNet weights if the config has them.

    They are not fetched where `config.init` has a whole backbone of this kind.

    Args:
        config: of the run; see `engine.initial` for `config.init`.
        pretrained: False leaves out what a checkpoint replaces anyway; nothing is downloaded.
    """
    model = PanopticFPN(config.model)
    if config.model.imagenet and pretrained:
        if config.init and brings_backbone(config.init, model.backbone):
            return model
        try:
            load_imagenet(model.backbone, config.model.depth)
        except ValueError as error:
            if not config.init:
                raise
            raise ValueError(
                f"{error}. init={config.init} has another backbone; take_network=true takes it over"
            ) from error
    return model


def compile_parts(model: PanopticFPN, backend: str = "inductor") -> None:
    """Compile, by torch.compile, what has no data-dependent shapes, for images of any size.

    The modules are compiled in place: names of weights stay, and copies are not compiled.
    """
    parts: list[torch.nn.Module] = [model.backbone, model.fpn]
    if model.config.semantic_branch:
        parts.append(model.semantic_head)
    for part in parts:
        part.compile(dynamic=True, backend=backend)


def choose_precision(
    config: TrainConfig, device: torch.device, before: str | None = None
) -> torch.dtype | None:
    """Return the type of mixed precision, None for full precision.

    Args:
        config: of the run.
        device: a GPU has both types, a CPU bf16 if it has units for it: without, it takes twice as
            long as float32 (measured).
        before: what the run has computed in so far, which it keeps on a CPU: None at its start.
    """
    wish = config.optim.precision
    if wish == "float32" or before == "None":
        return None
    if device.type == "cuda":
        return {"bf16": torch.bfloat16, "fp16": torch.float16}[wish]
    is_quick = has_bf16_units() or before == str(torch.bfloat16)
    return torch.bfloat16 if device.type == "cpu" and wish == "bf16" and is_quick else None


def has_bf16_units() -> bool:
    """Return whether the processor multiplies bf16 numbers by units of its own."""
    if platform.machine().lower() in ("x86_64", "amd64"):  # AVX512_BF16 or AMX
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.backends.mkldnn.is_available() and bool(
        torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )
