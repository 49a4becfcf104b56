"""Short training runs, each in a process of its own that ends well or by SIGKILL.

The processes are forked from a server that has imported everything once, so that each costs no
more than what it trains. Nothing of the package is changed but the speed of writing.
"""

import dataclasses
import multiprocessing
import os
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from pfpn.engine.train import log_rows, train
from tests.engine.conftest import TINY, Blocks

SLICES = 8  # that a file is written in
CONFIG = dataclasses.replace(
    TINY,
    max_steps=24,
    log_every=1,
    save_every=2,
    eval_every=12,
    threads=1,
    model=dataclasses.replace(TINY.model, width=0.125),
)


def start_process(
    out: Path, *, pause: float = 0.0, fatal_write: int = 0, max_steps: int = 8
) -> BaseProcess:
    """Start or resume the run in `out`; return its process.

    Args:
        out: run folder.
        pause: seconds between the slices of a file that is written.
        fatal_write: number of the write, from 1, in the middle of which the process dies.
        max_steps: of the run, if it is not CONFIG's.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=_train, args=(out, pause, fatal_write, max_steps))
    process.start()
    return process


def _train(out: Path, pause: float, fatal_write: int, max_steps: int) -> None:
    writes = 0

    def write_bytes(path: Path, content: bytes) -> int:
        nonlocal writes
        writes += 1
        size = -(-len(content) // SLICES) or 1
        with path.open("wb") as file:
            for i in range(SLICES):
                file.write(content[i * size : (i + 1) * size])
                file.flush()
                if writes == fatal_write and i == SLICES // 2:
                    os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(pause)
        return len(content)

    Path.write_bytes = write_bytes  # type: ignore[method-assign]
    torch.set_num_threads(1)
    config = dataclasses.replace(CONFIG, max_steps=max_steps or CONFIG.max_steps)
    datasets = Blocks(5), Blocks(2, first=100)
    rows = train(config, out, resume=True, datasets=datasets)
    for _ in log_rows(rows, out, events=False):
        pass
