"""`python -m tests.engine.killed_process STEP train ...`: pfpn, but process 1 is killed in a step.

Only before torchrun has restarted it; STEP counts the steps of this start, from 1.
"""

import itertools
import os
import signal
import sys

from pfpn.cli import main
from pfpn.engine import train as engine

plain, count = engine.check_finite, itertools.count(1)


def check_or_die(*arguments):
    dies = os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
    if dies and next(count) == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(*arguments)


if __name__ == "__main__":
    engine.check_finite = check_or_die
    sys.exit(main(sys.argv[2:]))
