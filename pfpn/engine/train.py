"""The training loop, to be read from top to bottom.

`train` is a generator: it yields a row (a dict) each time there is something to tell, and its
caller prints, plots or stores them. All that a step does stands in `train` itself.
"""

import copy
import json
import logging
import math
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from pfpn.backbone import load_imagenet
from pfpn.data.loader import (
    CachedDataset,
    PanopticDataset,
    ShareSampler,
    TrainingItems,
    build_loader,
    open_dataset,
    wide_images,
)
from pfpn.data.transforms import build_transform
from pfpn.engine import checkpoint, distributed, record
from pfpn.engine.config import (
    FREE_TO_CHANGE,
    DataConfig,
    TrainConfig,
    flat,
    from_dict,
    to_json,
)
from pfpn.engine.distributed import Place
from pfpn.engine.evaluate import evaluate, require_same_categories
from pfpn.engine.memory import describe_memory, estimate_memory, largest_size, recompute_blocks
from pfpn.engine.optim import (
    WeightAverage,
    batch_factor,
    build_optimizer,
    clip_gradients,
    describe_factor,
    learning_rate,
    set_learning_rate,
)
from pfpn.model import LOSS_NAMES, ModelConfig, PanopticFPN, total_loss
from pfpn.structures import Category, stuff, things

Row = dict[str, Any]

logger = logging.getLogger(__name__)


class NonFiniteError(ArithmeticError):
    """A loss or the gradient became infinite or NaN: going on would destroy the weights."""


def train(
    config: TrainConfig,
    out: Path | str,
    *,
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
    datasets: tuple[PanopticDataset, PanopticDataset] | None = None,
) -> Iterator[Row]:
    """Train, and yield a row at the start, every `log_every` steps, and at each evaluation.

    Run by torchrun, every process calls this and gets its rows; those of rank 0 are the ones to
    keep. A run that was stopped at any step and is resumed ends with the same weights as one that
    was not, on the same machine with the same number of processes: on a CPU bit for bit, on GPUs as
    nearly as two runs with one seed do, for some of their sums are made in no fixed order.

    Args:
        config: the whole recipe.
        out: run folder, see `pfpn.engine.checkpoint`.
        resume: go on from the folder's last checkpoint, if there is one.
        stop: asked after each step; once it says yes, the state is saved and the run ends.
        datasets: training and validation set, where they are not what `config.data` names.
    """
    with distributed.join(config.device) as place:
        out = Path(out)
        open_run_folder(out, place, resume)
        train_set, val_set = datasets or (
            training_set(config.data),
            validation_set(config.data),
        )
        require_same_categories(train_set.categories, val_set.categories)
        config = replace(config, model=fit_to_categories(config.model, train_set.categories))
        seed_everything(config.seed)
        if config.threads:
            torch.set_num_threads(config.threads)

        # -- what learns
        optim = config.optim
        model = build_model(config).to(place.device)
        if optim.channels_last:
            model = model.to(memory_format=torch.channels_last)
        if config.gradient_checkpointing:
            recompute_blocks(model)
        if config.compile:
            compile_parts(model)
        optimizer = build_optimizer(model, optim)
        average = WeightAverage(model, optim.ema_decay) if optim.ema_decay else None
        precision = amp_dtype(config, place.device)
        scaler = torch.amp.GradScaler(place.device.type, enabled=precision == torch.float16)
        run = Run(config, out, place, train_set.categories, model, optimizer, scaler, average)
        if resume:
            run.load()
            require_same_step(run.step, out)
        started = record.describe_start(config, run.step, place, (train_set, val_set))
        if place.is_main:
            checkpoint.write(out / checkpoint.CONFIG, to_json(config).encode())
            record.add_start(out, started)
        network = DistributedDataParallel(model) if place.world > 1 else None

        # -- what it learns from
        parts = optim.accumulate
        share, rest = divmod(config.batch_size, place.world * parts)
        if rest or share == 0:
            raise ValueError(
                f"batch_size={config.batch_size}: found no way to give {place.world} processes "
                f"{parts} equal parts each, expected a multiple of {place.world * parts}"
            )
        batches = iter(training_batches(config, train_set, place, share, run.step * parts))

        row = {"kind": "start", "step": run.step, "max_steps": config.max_steps} | run.facts()
        yield row | {"notes": notes(config, train_set, place, share, precision)}
        model.train()
        meter = Meter()
        stopped, ends = False, run.progress() >= 1
        while not ends:
            began = time.perf_counter()
            rate = learning_rate(optim, run.step, run.progress()) * batch_factor(config)
            set_learning_rate(optimizer, rate)
            begun = run.progress() >= config.lovasz_start
            model.lovasz_weight = config.model.lovasz_weight if begun else 0.0

            # -- one step: losses and their gradient, in parts; then the weights move
            optimizer.zero_grad(set_to_none=True)
            seen: list[int | str] = []
            values: dict[str, Tensor] = {}
            for part in range(parts):
                batch = next(batches).to(place.device)
                rng = step_rng(config.seed, run.step, part * place.world + place.rank)
                last = part == parts - 1
                with nullcontext() if last or network is None else network.no_sync():
                    with torch.autocast(place.device.type, precision, precision is not None):
                        losses = (network or model)(batch, rng)
                    loss = total_loss(losses, config.model)
                    scaler.scale(loss / parts).backward()
                for name, value in (losses | {"loss": loss}).items():
                    values[name] = values.get(name, 0) + value.detach().float() / parts
                seen += batch.image_ids
            scaler.unscale_(optimizer)
            norm = clip_gradients(model, optim.clip_norm)
            row = check_finite(values, norm, run.step, seen, scaler.is_enabled())
            scaler.step(optimizer)
            scaler.update()
            if average:
                average.update(model)
            run.step += 1
            run.seconds += time.perf_counter() - began
            meter.add(row, config.batch_size, time.perf_counter() - began)

            # -- tell, judge, save
            run.share_clock()
            finished = run.progress() >= 1
            stopped = distributed.any_of(stop(), place) and not finished
            ends = finished or stopped
            if ends or run.step % config.log_every == 0:
                epoch = run.step * config.batch_size / len(train_set)
                facts = {"kind": "train", "step": run.step, "epoch": epoch, "lr": rate}
                yield facts | meter.flush() | run.facts()
            due = config.eval_every and run.step % config.eval_every == 0
            if due or finished:
                score = evaluate(
                    run.judged_model(),
                    val_set,
                    config.predict,
                    max_images=config.eval_images,
                    with_ap=config.eval_ap,
                )
                row = {"kind": "eval", "step": run.step} | score.summary()
                better = score.summary()["pq"] > run.best_pq
                run.best_pq = max(run.best_pq, score.summary()["pq"])
                # Told first: killed in between, a run tells it again; else it would not at all.
                yield row | run.facts()
                run.save(best=better)
            elif ends or run.step % config.save_every == 0:
                run.save()
        yield {"kind": "end", "step": run.step, "stopped": stopped} | run.facts()


class Run:
    """Everything that changes while training, and its way to disk and back."""

    def __init__(
        self,
        config: TrainConfig,
        out: Path,
        place: Place,
        categories: Sequence[Category],
        model: PanopticFPN,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        average: WeightAverage | None,
    ):
        self.config = config
        self.out = out
        self.place = place
        self.categories = tuple(categories)
        self.model = model
        self.optimizer = optimizer
        self.scaler = scaler
        self.average = average
        self.step = 0  # steps done
        self.seconds = 0.0  # spent in them
        self.best_pq = -1.0

    def progress(self) -> float:
        """Return the share that is done: of the steps, or of the time where that ends first."""
        shares = [self.step / self.config.max_steps]
        if self.config.max_minutes:
            shares.append(self.seconds / (60 * self.config.max_minutes))
        return min(1.0, max(shares))

    def share_clock(self) -> None:
        """Let all processes go by the main one's clock, so that they end together."""
        if self.config.max_minutes:
            self.seconds = distributed.from_main([self.seconds], self.place)[0]

    def facts(self) -> Row:
        """Return what every row says."""
        return {"progress": self.progress(), "seconds": round(self.seconds, 3)}

    def judged_model(self) -> PanopticFPN:
        """Return the model that is evaluated and shipped: the average, where there is one."""
        if self.average is None:
            return self.model
        judged = copy.deepcopy(self.model)
        judged.load_state_dict(self.average.state)
        return judged

    def save(self, *, best: bool = False) -> None:
        """Write the weights and the checkpoint; keep a copy of it as the best one so far."""
        rng = distributed.gather(checkpoint.rng_state(self.place.device))
        if self.place.is_main:
            average = self.average
            state = {
                "step": self.step,
                "seconds": self.seconds,
                "best_pq": self.best_pq,
                "config": asdict(self.config),
                "categories": checkpoint.categories_to_plain(self.categories),
                "model": self.model.state_dict(),
                "average": {"num_updates": average.num_updates, "state": average.state}
                if average
                else None,
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "rng": rng,
            }
            checkpoint.save_weights(
                self.out / checkpoint.WEIGHTS,
                average.state if average else self.model.state_dict(),
                model=self.config.model,
                categories=self.categories,
                predict=self.config.predict,
            )
            if best:
                checkpoint.save_checkpoint(self.out / checkpoint.BEST, state)
            # Last, for it says that the step is done: killed before, the run repeats it.
            checkpoint.save_checkpoint(self.out / checkpoint.LAST, state)
        distributed.wait_for_all()

    def load(self) -> None:
        """Go to where the last checkpoint was written; stay at the start if there is none."""
        path = self.out / checkpoint.LAST
        if not path.exists():
            return
        state = checkpoint.load_checkpoint(path)
        require_same_recipe(from_dict(TrainConfig, state["config"], str(path)), self.config, path)
        self.step = state["step"]
        self.seconds = state["seconds"]
        self.best_pq = state["best_pq"]
        self.model.load_state_dict(state["model"])
        if self.average:
            self.average.num_updates = state["average"]["num_updates"]
            for key, value in state["average"]["state"].items():
                self.average.state[key].copy_(value)
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if len(state["rng"]) == self.place.world:
            checkpoint.set_rng_state(state["rng"][self.place.rank], self.place.device)


class Meter:
    """Averages what the steps since the last row said."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.images = 0
        self.seconds = 0.0

    def add(self, row: Row, images: int, seconds: float) -> None:
        """Take in one step."""
        self.rows.append(row)
        self.images += images
        self.seconds += seconds

    def flush(self) -> Row:
        """Return the means, and begin anew."""
        means = {key: sum(row[key] for row in self.rows) / len(self.rows) for key in self.rows[0]}
        speed = self.images / self.seconds
        self.__init__()  # type: ignore[misc]
        return means | {"images_per_second": speed}


def check_finite(
    values: dict[str, Tensor], norm: Tensor, step: int, image_ids: list[int | str], scaled: bool
) -> Row:
    """Return the losses as numbers, averaged over all processes; raise if one is not finite.

    With `scaled` gradients an infinite norm is no accident: the scaler skips the step.
    """
    names = [*values, "grad_norm"]
    own = torch.stack([*values.values(), norm.float()])
    row = dict(zip(names, distributed.mean(own).tolist(), strict=True))
    bad = [name for name, value in row.items() if not math.isfinite(value)]
    if scaled:
        bad = [name for name in bad if name != "grad_norm"]
    if not bad:
        return row
    # On every process alike, since the means are the same on all.
    culprits = [name for name in LOSS_NAMES if name in bad] or bad
    here = dict(zip(names, own.tolist(), strict=True))
    guilty = any(not math.isfinite(here[name]) for name in culprits)
    suspects = [i for ids in distributed.gather(image_ids if guilty else []) for i in ids]
    raise NonFiniteError(
        f"step {step + 1}: {', '.join(f'{name} is {row[name]}' for name in culprits)} on images "
        f"{suspects}, expected finite numbers. The last checkpoint is from before this step. Try "
        "a lower optim.lr, more optim.warmup_steps or optim.clip_norm=1, and look at these images."
    )


def training_set(data: DataConfig) -> PanopticDataset:
    """Open the data set that is trained on."""
    return open_dataset(
        data.root,
        data.train_split,
        num=data.toy_train_images,
        seed=data.toy_seed,
        size=data.toy_size,
    )


def validation_set(data: DataConfig) -> PanopticDataset:
    """Open the data set that the model is judged on."""
    return open_dataset(
        data.root,
        data.val_split,
        num=data.toy_val_images,
        seed=data.toy_seed,
        size=data.toy_size,
    )


def training_batches(
    config: TrainConfig, dataset: PanopticDataset, place: Place, share: int, first: int
) -> Any:
    """Return the loader of this process's shares, from number `first` on."""
    data = config.data
    transform = build_transform(
        shortest_edges=data.shortest_edges,
        longest_edge=data.longest_edge,
        crop=data.crop,
        flip=data.flip,
        brightness=data.brightness,
        contrast=data.contrast,
        saturation=data.saturation,
    )
    items = TrainingItems(
        CachedDataset(dataset).fill(os.cpu_count() or 1) if data.cache else dataset,
        transform,
        config.seed,
        all_classes=not config.model.instance_branch,
    )
    sampler = ShareSampler(
        len(dataset),
        share,
        config.seed,
        place.rank,
        place.world,
        first,
        wide_images(dataset) if data.group_by_aspect else None,
    )
    return build_loader(items, sampler, workers=data.workers)


def step_rng(seed: int, step: int, part: int) -> torch.Generator:
    """Return what decides the sampling of anchors and rois in one part of one step.

    Parts are numbered over all processes, so two processes do what one does in two parts.
    """
    state = np.random.SeedSequence([seed, step, part]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]) >> 1)


def seed_everything(seed: int) -> None:
    """Seed every global generator; the same weights on all processes follow from it."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.manual_seed(seed)


def build_model(config: TrainConfig) -> PanopticFPN:
    """Return the model with the weights that training starts from."""
    model = PanopticFPN(config.model)
    if config.model.imagenet:
        load_imagenet(model.backbone, config.model.depth)
    if config.init:
        left = checkpoint.load_matching(model, config.init)
        logger.info("%s: %d tensors keep their random start: %s", config.init, len(left), left)
    return model


def fit_to_categories(model: ModelConfig, categories: Sequence[Category]) -> ModelConfig:
    """Return the model config with the class counts of a data set."""
    num_things, num_stuff = len(things(categories)), len(stuff(categories))
    if model.instance_branch and not num_things:
        raise ValueError(
            "categories: found no thing class, expected at least one for the instance branch. "
            "Try model.instance_branch=false"
        )
    num_semantic = num_stuff + (1 if model.instance_branch else num_things)
    return replace(model, num_things=num_things, num_semantic=num_semantic)


def compile_parts(model: PanopticFPN, backend: str = "inductor") -> None:
    """Let torch.compile translate what has no data-dependent shapes, for images of any size.

    The modules are compiled in place: names of weights stay, and copies are not compiled.
    """
    parts: list[torch.nn.Module] = [model.backbone, model.fpn]
    if model.config.semantic_branch:
        parts.append(model.semantic_head)
    for part in parts:
        part.compile(dynamic=True, backend=backend)


def notes(
    config: TrainConfig,
    dataset: PanopticDataset,
    place: Place,
    share: int,
    precision: torch.dtype | None,
) -> list[str]:
    """Return lines that a user should see at the start: what the batch does to the rate, memory."""
    if not place.is_main:
        return []
    size = largest_size(config.data, dataset)
    memory = estimate_memory(config, share, size, precision=precision, world=place.world)
    lines = [describe_factor(config), describe_memory(memory, share, size)]
    return [line for line in lines if line]


def amp_dtype(config: TrainConfig, device: torch.device) -> torch.dtype | None:
    """Return the type of mixed precision, None for full precision."""
    if config.optim.precision == "float32":
        return None
    if device.type != "cuda":
        # Measured: bf16 takes twice as long as float32 on a CPU without units for it.
        logger.warning("optim.precision=%s is for GPUs; using float32", config.optim.precision)
        return None
    return {"bf16": torch.bfloat16, "fp16": torch.float16}[config.optim.precision]


def open_run_folder(out: Path, place: Place, resume: bool) -> None:
    """Make sure that `out` can hold this run."""
    taken = [n for n in (checkpoint.LAST, checkpoint.CONFIG) if (out / n).exists()]
    distributed.wait_for_all()  # all have looked before one writes
    if taken and not resume:
        raise ValueError(
            f"{out}: found a run ({', '.join(taken)}), expected an empty or new folder. "
            "Try --resume to go on with it, or another --out"
        )
    if place.is_main:
        probe = out / ".can_be_written"
        checkpoint.write(probe, b"")  # better now than at the first checkpoint
        probe.unlink()
        for left in out.glob(".*.tmp"):  # by a run that was killed while it wrote
            left.unlink()


def require_same_step(step: int, out: Path) -> None:
    """Fail if processes go on from different steps: they would wait for each other for ever."""
    steps = distributed.gather(step)
    if len(set(steps)) > 1:
        raise ValueError(
            f"{out}: found the checkpoint of step {max(steps)} on {steps.count(max(steps))} of "
            f"{len(steps)} processes and another or none on the rest, expected the same on all. "
            "Is the folder on a disk that all machines share?"
        )


def require_same_recipe(before: TrainConfig, now: TrainConfig, path: Path) -> None:
    """Fail if a resumed run would not go on as it began."""
    old, new = (flat(asdict(config)) for config in (before, now))
    differing = sorted(
        key
        for key in old.keys() | new.keys()
        if old.get(key) != new.get(key)
        and key not in FREE_TO_CHANGE
        and not key.startswith("predict.")
    )
    if differing:
        told = ", ".join(f"{k}={new.get(k)} (was {old.get(k)})" for k in differing[:5])
        raise ValueError(
            f"{path}: found a run with other settings, expected the same: {told}. "
            "Try --resume with the settings it began with, or another --out"
        )


def log_rows(rows: Iterator[Row], out: Path | str, *, events: bool = True) -> Iterator[Row]:
    """Pass rows on, and store each in metrics.jsonl and, with `events`, for TensorBoard.

    Rows that an earlier run wrote after its last checkpoint are dropped when it is resumed: they
    come again.
    """
    out = Path(out)
    path = out / checkpoint.METRICS
    writer = None
    try:
        for row in rows:
            if row["kind"] == "start":
                kept = [r for r in read_rows(path) if r["step"] <= row["step"]]
                text = "".join(json.dumps(r) + "\n" for r in kept)
                checkpoint.write(path, text.encode())
                if events:
                    from torch.utils.tensorboard import SummaryWriter

                    writer = SummaryWriter(str(out), purge_step=row["step"] + 1)
            elif row["kind"] in ("train", "eval"):
                _append(path, json.dumps(row) + "\n")
                if writer:
                    for key, value in row.items():
                        if isinstance(value, int | float) and key != "step":
                            writer.add_scalar(f"{row['kind']}/{key}", value, row["step"])
            yield row
    finally:
        if writer:
            writer.close()


def _append(path: Path, line: str) -> None:
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(line)
    except OSError as error:
        raise checkpoint.unwritable(path, len(line), error) from error


def read_rows(path: Path | str) -> list[Row]:
    """Read metrics.jsonl without a last line that a crash cut short; no file means no rows."""
    path = Path(path)
    if path.is_dir():
        path = path / checkpoint.METRICS
    if not path.exists():
        return []
    rows = []
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise ValueError(f"{path}: line {number} is no JSON ({error})") from None
    return rows
