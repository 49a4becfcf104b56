"""`python -m tests.engine.mortal STEP train ...`: pfpn, but process 1 is killed in a step.

Only before torchrun has restarted it; STEP counts the steps of this start, from 1.
"""

import itertools
import os
import signal
import sys

from pfpn.cli import main
from pfpn.engine import train as engine

plain, count = engine.check_finite, itertools.count(1)


def mortal(*arguments):
    doomed = os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
    if doomed and next(count) == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(*arguments)


if __name__ == "__main__":
    engine.check_finite = mortal
    sys.exit(main(sys.argv[2:]))
