"""How many threads training computes on, changed while it runs as the machine gets busy or idle."""

import time
from collections.abc import Callable

import torch

WINDOW = 0.5  # seconds of training that a decision is made from, at least
BUSY = 0.75  # fraction of its threads' time that training gets, below which the machine is busy
FIRST_WAIT = 5.0  # seconds on one thread until more are tried again; doubled each time it fails
LONGEST_WAIT = 60.0


class FittingThreads:
    """Chooses between all threads and one, by the processor time that training really gets.

    Threads of one step wait for each other. Where other programs need the cores, each of these
    waits lasts until the system gives the slowest thread its turn, and two threads are several
    times slower than one. A call after each step looks at the processor time since the last
    decision: much less than the threads could have had means that the machine is busy. Alone, a
    thread tries again for more after a while, a longer one each time that it was in vain.

    Other numbers of threads round otherwise: this is for runs that a clock ends, which are not
    repeatable anyway.

    Args:
        most: threads on an idle machine.
        wall_clock: of the machine, in seconds.
        processor_clock: of this process, all its threads together, in seconds.
        set_threads: what the number is given to.
    """

    def __init__(
        self,
        most: int,
        wall_clock: Callable[[], float] = time.perf_counter,
        processor_clock: Callable[[], float] = time.process_time,
        set_threads: Callable[[int], None] = torch.set_num_threads,
    ):
        self.most = most
        self.threads = most
        self._wall_clock, self._processor_clock = wall_clock, processor_clock
        self._set_threads = set_threads
        self._wait = FIRST_WAIT
        self._began = self._changed = wall_clock()
        self._used = processor_clock()

    def adapt(self) -> int:
        """Return the number of threads for the next step; call it after each."""
        now, used = self._wall_clock(), self._processor_clock()
        passed = now - self._began
        if self.most == 1 or passed < WINDOW:
            return self.threads
        part = (used - self._used) / (passed * self.threads)
        self._began, self._used = now, used
        alone = now - self._changed
        if self.threads > 1 and part < BUSY:
            self._change(1, now)
        elif self.threads > 1 and alone > self._wait:
            self._wait = FIRST_WAIT  # it was right to try
        elif self.threads == 1 and alone >= self._wait and part >= BUSY:
            self._wait = min(2 * self._wait, LONGEST_WAIT)
            self._change(self.most, now)
        return self.threads

    def _change(self, threads: int, now: float) -> None:
        self.threads, self._changed = threads, now
        self._set_threads(threads)
