"""One process or many, without a flag: torchrun's environment variables decide.

Every function also works in a single process, where it has little to do, so that the training loop
reads the same.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar
from uuid import uuid4

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Process:
    """Number of this process, number of all, and the device that this one computes on."""

    rank: int
    world: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """Return the device of a process.

    Args:
        name: "auto" (a CUDA GPU if there is one, else the CPU), "cpu", "cuda" (the GPU with the
            number of the process), "cuda:N" or "mps".
        local_rank: number of the process on this machine.
    """
    kind, _, number = name.partition(":")
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if name == "mps":
        if not torch.backends.mps.is_available():
            raise ValueError("device=mps: found no Apple GPU that torch can use. Try device=cpu")
        return torch.device("mps")
    if name not in ("auto", "cuda") and not (kind == "cuda" and number.isdecimal()):
        raise ValueError(f"device={name}: found no such device, {_devices()}")
    if not torch.cuda.is_available():
        raise ValueError(
            f"device={name}: found no GPU that torch can use. Try device=cpu, or install a build "
            "of torch with GPU support."
        )
    num_gpus = torch.cuda.device_count()
    if number and int(number) >= num_gpus:
        raise ValueError(f"device={name}: found {num_gpus} GPUs, {_devices()}")
    if not number and local_rank >= num_gpus:
        raise ValueError(
            f"process {local_rank} of this machine: found {num_gpus} GPUs, "
            f"expected at least {local_rank + 1}, one per process. Try a smaller --nproc-per-node"
        )
    return torch.device("cuda", int(number or local_rank))


def _devices() -> str:
    gpus = "".join(f", cuda:{i}" for i in range(torch.cuda.device_count()))
    return f"expected one of auto, cpu, cuda, mps{gpus}"


class LostProcessError(ConnectionError):
    """Another process of the run has ended, so this one cannot go on either."""


@contextmanager
def join(device: str = "auto") -> Iterator[Process]:
    """Join the other processes that torchrun started, if it did; leave them at the end."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Process(0, 1, choose_device(device))
        return
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(
            f"device={device}: found {world} processes, expected auto, cpu or cuda: each of them "
            "takes the GPU of its number"
        )
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    chosen = choose_device(device, local_rank)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    store, own, _ = next(dist.rendezvous("env://"))
    fresh = dist.PrefixStore(agree_on_start(store, own, world), store)
    backend = "nccl" if chosen.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=fresh, rank=own, world_size=world)
    try:
        yield Process(dist.get_rank(), world, chosen)
    except RuntimeError as error:
        # gloo raises plain RuntimeErrors, which only their text tells from others.
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        raise LostProcessError(
            f"process {rank()} of {world}: lost the connection to another one, expected all to go "
            f"on ({str(error).splitlines()[0][:200]}). Look for the first error above"
        ) from error
    finally:
        dist.destroy_process_group()


def agree_on_start(store: dist.Store, own_rank: int, world: int, timeout: float = 600) -> str:
    """Return a name for this start that no earlier start had, the same on all processes.

    torchrun keeps its store when it restarts its processes (seen in torch 2.14): they would read
    the addresses of processes that have ended, and wait for them. Its count of restarts is that of
    one machine, so it is no common name. Therefore each process sends a request with a key that was
    never used before to process 0, which replies until all have confirmed that they got the name.

    Args:
        store: that all processes reach; it may hold what processes of an earlier start wrote.
        own_rank: of this process.
        world: number of processes.
        timeout: seconds until process 0 gives up.
    """
    if own_rank:
        request = uuid4().hex
        store.set(f"request of {own_rank}", request)
        name = store.get(f"reply to {request}").decode()
        store.set(f"{name} reached {own_rank}", "")
        return name
    name, missing = uuid4().hex, set(range(1, world))
    end = time.monotonic() + timeout
    while missing:
        for other in sorted(missing):
            if store.check([f"{name} reached {other}"]):
                missing.remove(other)
            elif store.check([f"request of {other}"]):  # of this start or of an earlier one
                store.set(f"reply to {store.get(f'request of {other}').decode()}", name)
        if missing and time.monotonic() > end:
            raise LostProcessError(
                f"process 0 of {world}: no message from processes {sorted(missing)[:8]} for "
                f"{timeout:.0f} s, expected all to start. Look for the first error above"
            )
        time.sleep(0.05 if missing else 0)
    return name


def rank() -> int:
    """Return the number of this process, from 0."""
    return dist.get_rank() if _is_joined() else 0


def world() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if _is_joined() else 1


def gather(value: T) -> list[T]:
    """Return every process's value, by rank, on every process."""
    if not _is_joined():
        return [value]
    values: list[T | None] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values  # type: ignore[return-value]


def mean(values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Average over all processes."""
    if not _is_joined():
        return values
    total = values.clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()


@torch.no_grad()
def average_statistics(model: nn.Module) -> None:
    """Average the running statistics of batch norm over all processes, in place.

    Each process normalizes its own images in training; without this, the weights that are saved
    would not be those that another process evaluates.
    """
    if not _is_joined():
        return
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d) and m.training]
    buffers = [b for m in norms for b in (m.running_mean, m.running_var) if b is not None]
    if not buffers:
        return
    averaged = mean(torch.cat(buffers)).split([len(b) for b in buffers])
    torch._foreach_copy_(buffers, list(averaged))


def from_main(values: list[float], process: Process) -> list[float]:
    """Return the main process's numbers on every process."""
    if not _is_joined():
        return values
    sent = torch.tensor(values, dtype=torch.float64, device=process.device)
    dist.broadcast(sent, src=0)
    return sent.tolist()


def any_of(flag: bool, process: Process) -> bool:
    """Return whether the flag is True on any process."""
    if not _is_joined():
        return flag
    raised = torch.tensor([float(flag)], device=process.device)
    dist.all_reduce(raised, op=dist.ReduceOp.MAX)
    return bool(raised.item())


def raise_together(error: Exception | None) -> None:
    """Raise the first error of all processes on every one of them; return if there is none.

    Without this, one process would end alone and the others would wait for it.
    """
    for first in gather(error):
        if first is not None:
            raise first


def wait_for_all() -> None:
    """Return once every process has called this."""
    if _is_joined():
        dist.barrier()


def _is_joined() -> bool:
    return dist.is_available() and dist.is_initialized()
