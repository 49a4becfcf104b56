"""Work on many files at once: results in order, few of them ahead; and how many cores there are."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

CGROUP_LIMIT = Path("/sys/fs/cgroup/cpu.max")  # of a Linux container: microseconds and period

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[tuple[Item, Result]]:
    """Yield (item, result) in order; several threads work on a few items ahead.

    Threads do, because decoding an image and going over its pixels leave Python's lock.
    """
    if workers <= 1:
        for item in items:
            yield item, function(item)
        return
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(function, item)))
                if len(waiting) > 4 * workers:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            for _, future in waiting:  # the caller stopped, or an item failed
                future.cancel()


def usable_cores() -> int:
    """Return the processor cores that this process may use: its part of a machine's, at least 1.

    Processes that torchrun starts on one machine get equal parts.
    """
    if hasattr(os, "process_cpu_count"):  # since Python 3.13
        cores = os.process_cpu_count() or 1
    elif hasattr(os, "sched_getaffinity"):  # not on Windows and macOS
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    try:  # "max 100000" without a limit
        quota, period = CGROUP_LIMIT.read_text(encoding="ascii").split()
        cores = min(cores, int(quota) // int(period))
    except (OSError, ValueError):
        pass
    try:
        processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    except ValueError:
        processes = 1
    return max(1, cores // max(1, processes))
