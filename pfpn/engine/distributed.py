"""One process or many, without a flag: torchrun's environment variables tell.

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
from torch import Tensor

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """Which of the processes this one is, and the device that it computes on."""

    rank: int
    world: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0


def choose_device(wanted: str, local_rank: int = 0) -> torch.device:
    """Turn "auto", "cpu" or "cuda" into a device."""
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ValueError(
            f"device={wanted}: found no GPU that torch can use. Try device=cpu, or install a build "
            "of torch with GPU support."
        )
    if local_rank >= torch.cuda.device_count():
        raise ValueError(
            f"process {local_rank} of this machine: found {torch.cuda.device_count()} GPUs, "
            f"expected at least {local_rank + 1}, one per process. Try a smaller --nproc-per-node"
        )
    return torch.device("cuda", local_rank)


class LostProcessError(ConnectionError):
    """Another process of the run has gone, so this one cannot go on either."""


@contextmanager
def join(device: str = "auto") -> Iterator[Place]:
    """Join the other processes that torchrun started, if it did; leave them at the end."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Place(0, 1, choose_device(device))
        return
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    chosen = choose_device(device, local_rank)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    store, own, _ = next(dist.rendezvous("env://"))
    fresh = dist.PrefixStore(agree_on_start(store, own, world), store)
    backend = "nccl" if chosen.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=fresh, rank=own, world_size=world)
    try:
        yield Place(dist.get_rank(), world, chosen)
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
    """Return a name that tells this start from those before a restart, alike on all processes.

    torchrun keeps its store when it restarts its processes (seen in torch 2.14): they would find
    the addresses of the dead and wait for them. Its count of restarts is that of one machine, so it
    is no common name. But whoever is alive can answer: each process asks process 0 under a name
    that was never used, and process 0 goes on answering until all have heard it.

    Args:
        store: that all processes reach, and perhaps dead ones before them wrote to.
        own_rank: of this process.
        world: number of processes.
        timeout: seconds until process 0 gives up.
    """
    if own_rank:
        question = uuid4().hex
        store.set(f"asks {own_rank}", question)
        name = store.get(f"answer {question}").decode()
        store.set(f"{name} heard {own_rank}", "")
        return name
    name, deaf = uuid4().hex, set(range(1, world))
    end = time.monotonic() + timeout
    while deaf:
        for other in sorted(deaf):
            if store.check([f"{name} heard {other}"]):
                deaf.remove(other)
            elif store.check([f"asks {other}"]):  # perhaps by a dead one, so ask again
                store.set(f"answer {store.get(f'asks {other}').decode()}", name)
        if deaf and time.monotonic() > end:
            raise LostProcessError(
                f"process 0 of {world}: heard nothing of {sorted(deaf)[:8]} for {timeout:.0f} s, "
                "expected all to start. Look for the first error above"
            )
        time.sleep(0.05 if deaf else 0)
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


def from_main(values: list[float], place: Place) -> list[float]:
    """Return the main process's numbers on every process."""
    if not _is_joined():
        return values
    sent = torch.tensor(values, dtype=torch.float64, device=place.device)
    dist.broadcast(sent, src=0)
    return sent.tolist()


def any_of(flag: bool, place: Place) -> bool:
    """Tell whether the flag is up on any process."""
    if not _is_joined():
        return flag
    raised = torch.tensor([float(flag)], device=place.device)
    dist.all_reduce(raised, op=dist.ReduceOp.MAX)
    return bool(raised.item())


def wait_for_all() -> None:
    """Return once every process has come here."""
    if _is_joined():
        dist.barrier()


def _is_joined() -> bool:
    return dist.is_available() and dist.is_initialized()
