"""The training loop, to be read from top to bottom.

`train` is a generator: it yields a row (a dict) each time there is something to report, and its
caller prints, plots or stores them. All that a step does is written in `train` itself.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from pfpn.data.loader import PanopticDataset
from pfpn.engine import distributed, record
from pfpn.engine.batches import (
    BROKEN_IMAGES,
    BrokenImageError,
    LostWorkerError,
    begin_loading,
    next_batches,
    noting_broken,
    read_lines,
    training_batches,
    training_set,
    validation_set,
)
from pfpn.engine.checkpoint import CONFIG, LAST
from pfpn.engine.config import TrainConfig, fit_to_categories, from_dict, to_json
from pfpn.engine.distributed import Process
from pfpn.engine.evaluate import evaluate
from pfpn.engine.initial import load_initial, settle
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
from pfpn.engine.preflight import Progress, images_per_part, require_ready
from pfpn.engine.rows import Meter, Row, log_rows, read_rows
from pfpn.engine.run import (
    Run,
    build_model,
    choose_precision,
    claim_run,
    compile_parts,
    read_state,
    require_same_run,
    seed_everything,
)
from pfpn.files import Output
from pfpn.model import LOSS_NAMES, total_loss
from pfpn.structures import Category

__all__ = [
    "BrokenImageError",
    "LostWorkerError",
    "NonFiniteError",
    "Row",
    "log_rows",
    "read_rows",
    "train",
    "training_set",
    "validation_set",
]


class NonFiniteError(ArithmeticError):
    """A loss or the gradient became infinite or NaN: going on would destroy the weights."""


def train(
    config: TrainConfig,
    out: Path | str,
    *,
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
    datasets: tuple[PanopticDataset, PanopticDataset] | None = None,
    progress: Progress | None = None,
) -> Iterator[Row]:
    """Train, and yield a row at the start, every `log_every` steps, and at each evaluation.

    Run by torchrun, every process calls this and gets its rows; those of rank 0 are the ones to
    keep. A run that was stopped at any step and is resumed ends with the same weights as one that
    was not, on the same machine with the same number of processes: on a CPU bit for bit, on GPUs as
    nearly as two runs with one seed do, for some of their sums are made in no fixed order.

    Args:
        config: the whole recipe.
        out: run folder, see `pfpn.engine.checkpoint`.
        resume: go on from the folder's last checkpoint, if there is one; needs the data besides.
        stop: called after each step; once it returns True, the state is saved and the run ends.
        datasets: training and validation set, where they are not what `config.data` names.
        progress: called with (done, all) while the files of the data sets are looked at.
    """
    out = Path(out)
    with distributed.join(config.device) as process, claim_run(out, process, resume) as output:
        train_set, val_set = datasets or (training_set(config.data), validation_set(config.data))
        require_ready(config, out, process, (train_set, val_set), progress)
        config = replace(config, model=fit_to_categories(config.model, train_set.categories))
        run, notes = begin_run(config, output, process, (train_set, val_set), resume)
        config, model = run.config, run.model
        optim, parts = config.optim, config.optim.accumulate
        network = None  # batch norm's statistics are averaged below, not sent by rank 0
        if process.world > 1:
            network = DistributedDataParallel(model, broadcast_buffers=False)
        num_images = images_per_part(config, process)
        listing = out / BROKEN_IMAGES if config.data.skip_broken else None
        loading = begin_loading(
            training_batches(config, train_set, process, num_images, run.step * parts, listing)
        )
        row = {"kind": "start", "step": run.step, "evaluated": run.evaluated, "notes": notes}
        yield row | {"max_steps": config.max_steps} | run.facts()
        model.train()
        meter = Meter()
        stopped = False
        while not stopped:
            # -- evaluate, with everything saved before: a broken image then costs no step
            if run.is_evaluation_due():
                score = evaluate(
                    run.evaluated_model(),
                    val_set,
                    config.predict,
                    max_images=config.eval_images,
                    with_ap=config.eval_ap,
                    on_broken=noting_broken(listing),
                ).summary()
                best = score["pq"] > run.best_pq
                run.stale = 0 if best else run.stale + 1
                run.best_pq, run.evaluated = max(run.best_pq, score["pq"]), run.step
                # The row comes first: killed in between, a run yields it again, instead of never.
                yield {"kind": "eval", "step": run.step} | score | run.facts()
                run.save(best=best)
            if run.progress() >= 1:
                break

            # -- one step: losses and their gradient, in parts; then the weights move
            began = time.perf_counter()
            rate = learning_rate(optim, run.step, run.progress()) * batch_factor(config)
            set_learning_rate(run.optimizer, rate)
            late = run.progress() >= config.lovasz_start
            model.lovasz_weight = config.model.lovasz_weight if late else 0.0
            run.optimizer.zero_grad(set_to_none=True)
            image_ids: list[int | str] = []
            values: dict[str, Tensor] = {}
            for part, batch in enumerate(load_or_save(run, loading, parts)):
                rng = step_rng(config.seed, run.step, part * process.world + process.rank)
                is_last = part == parts - 1
                with nullcontext() if is_last or network is None else network.no_sync():
                    with torch.autocast(process.device.type, run.precision, bool(run.precision)):
                        losses = (network or model)(batch.to(process.device), rng)
                    loss = total_loss(losses, config.model)
                    run.scaler.scale(loss / parts).backward()
                for name, value in (losses | {"loss": loss}).items():
                    values[name] = values.get(name, 0) + value.detach().float() / parts
                image_ids += batch.image_ids
            run.scaler.unscale_(run.optimizer)
            norm = clip_gradients(model, optim.clip_norm)
            row = check_finite(values, norm, run.step, image_ids, run.scaler.is_enabled())
            run.scaler.step(run.optimizer)
            run.scaler.update()
            distributed.average_statistics(model)
            if run.average:
                run.average.update(model)
            run.step += 1
            run.seconds += time.perf_counter() - began
            meter.add(row, config.batch_size, time.perf_counter() - began)

            # -- report and save
            run.sync_clock()
            finished = run.progress() >= 1
            stopped = distributed.any_of(stop(), process) and not finished
            if finished or stopped or run.step % config.log_every == 0:
                epoch = run.step * config.batch_size / len(train_set)
                row = {"kind": "train", "step": run.step, "epoch": epoch, "lr": rate}
                yield row | meter.flush() | run.facts()
            if stopped or run.is_evaluation_due() or run.step % config.save_every == 0:
                run.save()
        notes = [f"left out: {line}" for line in read_lines(out / BROKEN_IMAGES)]
        yield {"kind": "end", "step": run.step, "stopped": stopped, "notes": notes} | run.facts()


def begin_run(
    config: TrainConfig,
    output: Output,
    process: Process,
    datasets: tuple[PanopticDataset, PanopticDataset],
    resume: bool,
) -> tuple[Run, list[str]]:
    """Return the run at its start or at its last checkpoint, and lines that a user should see."""
    categories: list[Category] = list(datasets[0].categories)
    state = read_state(output.folder) if resume else None
    resumed = from_dict(TrainConfig, state["config"], LAST).model if state else None
    config, notes = settle(config, process, resumed)
    if state:
        require_same_run(state, config, categories, output.folder / LAST)
    seed_everything(config.seed)
    if config.threads:
        torch.set_num_threads(config.threads)
    model = build_model(config, pretrained=state is None)
    if config.init and state is None:
        notes += load_initial(
            model,
            config.init,
            categories,
            other_names=config.init_classes,
            other_arithmetic=config.other_arithmetic,
        ).lines()
    model = model.to(process.device)
    if config.optim.channels_last:
        model = model.to(memory_format=torch.channels_last)
    if config.gradient_checkpointing:
        recompute_blocks(model)
    if config.compile:
        compile_parts(model)
    precision = choose_precision(config, process.device, (state or {}).get("precision"))
    run = Run(
        config,
        output,
        process,
        categories,
        model,
        build_optimizer(model, config.optim, precision),
        torch.amp.GradScaler(process.device.type, enabled=precision == torch.float16),
        WeightAverage(model, config.optim.ema_decay) if config.optim.ema_decay else None,
        precision,
    )
    if state:
        run.restore(state)
    started = record.describe_start(config, run.step, process, datasets)
    if process.is_main:
        if config.data.skip_broken:
            output.own(BROKEN_IMAGES)
        output.write(CONFIG, to_json(config).encode())
        record.add_start(output, started)
    return run, notes + describe_run(run, datasets[0]) if process.is_main else []


def describe_run(run: Run, dataset: PanopticDataset) -> list[str]:
    """Return lines on what the batch does to the rate, on precision and on memory."""
    config = run.config
    lines = [describe_factor(config)]
    if config.optim.precision != "float32" and run.precision is None:
        lines.append(
            f"precision: float32, for optim.precision={config.optim.precision} is slower on this "
            f"{run.process.device.type}"
        )
    size = largest_size(config.data, dataset)
    num_images = images_per_part(config, run.process)
    memory = estimate_memory(
        config, num_images, size, precision=run.precision, world=run.process.world
    )
    lines.append(describe_memory(memory, num_images, size))
    return [line for line in lines if line]


def load_or_save(run: Run, loading: Iterator[Any], parts: int) -> list[Any]:
    """Return the batches of a step; if they cannot be loaded, save the run, then raise."""
    try:
        return next_batches(loading, parts)
    except (BrokenImageError, LostWorkerError) as error:
        run.save()
        tip = ""
        if isinstance(error, BrokenImageError):
            tip = (
                ". Mend the file, or leave out what is broken with data.skip_broken=true; the same "
                "command with --resume goes on"
            )
        raise type(error)(f"{error}. Step {run.step} is saved{tip}") from None


def check_finite(
    values: dict[str, Tensor], norm: Tensor, step: int, image_ids: list[int | str], scaled: bool
) -> Row:
    """Return the losses as numbers, averaged over all processes; raise if one is not finite.

    With `scaled` gradients an infinite norm is expected at times: the scaler skips the step.
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
    bad = [name for name in LOSS_NAMES if name in bad] or bad
    here = dict(zip(names, own.tolist(), strict=True))
    is_here = any(not math.isfinite(here[name]) for name in bad)
    suspects = [i for ids in distributed.gather(image_ids if is_here else []) for i in ids]
    raise NonFiniteError(
        f"step {step + 1}: {', '.join(f'{name} is {row[name]}' for name in bad)} on images "
        f"{suspects}, expected finite numbers. The last checkpoint is from before this step. Try "
        "a lower optim.lr, more optim.warmup_steps or optim.clip_norm=1, and look at these images."
    )


def step_rng(seed: int, step: int, part: int) -> torch.Generator:
    """Return what decides the sampling of anchors and rois in one part of one step.

    Parts are numbered over all processes, so two processes do what one does in two parts.
    """
    state = np.random.SeedSequence([seed, step, part]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]) >> 1)
