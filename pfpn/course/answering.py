"""What runs in a learner's process when `pfpn grade` grades a notebook: limits, then answers.

The process gets inputs and writes down what the answers return. It never sees what is expected.
"""

import json
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pfpn.course.check import Case, Outcome, quietly, run
from pfpn.course.encode import decode, encode
from pfpn.course.values import Missing


def limit(memory: int, file_size: int, seconds: int) -> None:
    """Limit this process and those that it starts; it cannot lift the limits again.

    Args:
        memory: bytes of address space beyond what is in use now.
        file_size: bytes of the largest file that can be written.
        seconds: of processor time.
    """
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    whole = pages * resource.getpagesize() + memory
    for kind, most in (
        (resource.RLIMIT_AS, whole),
        (resource.RLIMIT_FSIZE, file_size),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))


def answer(function: Callable[..., Any], inputs: str, outputs: str, seconds: float) -> None:
    """Call an answer with each of the inputs and write down the outcomes.

    Args:
        function: the answer.
        seconds: of processor time for all inputs, and three times as many on the clock, for an
            answer may sleep; one that needs more fails in the rest.
        inputs: path of a JSON file, a list of encoded arguments.
        outputs: path of the JSON file to write.
    """
    late = Outcome(error=f"TimeoutError: the cases took more than {seconds:.3g} s")
    outcomes, is_late, is_running = [], False, False

    def stop(*_: Any) -> None:
        nonlocal is_late
        is_late = True
        if is_running:  # else nothing of the learner's is to be ended
            raise TimeoutError

    timers = {signal.ITIMER_VIRTUAL: signal.SIGVTALRM, signal.ITIMER_REAL: signal.SIGALRM}
    for timer, number in timers.items():
        signal.signal(number, stop)
        after = seconds if timer == signal.ITIMER_VIRTUAL else 3 * seconds
        # Again and again: Python drops what is raised while a finalizer runs, and an answer may
        # catch it.
        signal.setitimer(timer, after, after / 10)
    with quietly():
        for arguments in json.loads(Path(inputs).read_text(encoding="utf-8")):
            case, outcome = Case("", decode(arguments)), late
            if not is_late:
                is_running = True
                try:
                    outcome = run(function, case)
                except TimeoutError:
                    pass  # it came between the answer's end and the next line
                finally:
                    is_running = False
                outcome = late if is_late else outcome
            outcomes.append(
                {
                    "value": {"missing": 1} if outcome.value is Missing else encode(outcome.value),
                    "error": outcome.error,
                    "borrowed": outcome.borrowed,
                    "changed": outcome.changed,
                }
            )
    for timer in timers:
        signal.setitimer(timer, 0)
    Path(outputs).write_text(json.dumps(outcomes), encoding="utf-8")


def read_outcomes(text: str, num: int) -> list[Outcome]:
    """Return the outcomes that a learner's process has written down.

    Raises:
        ValueError: they are not as `answer` writes them, or not `num`.
    """
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("answers: found a file that is not JSON, expected outcomes") from error
    if not isinstance(rows, list) or len(rows) != num:
        raise ValueError(f"answers: found no list of {num} outcomes, expected one for each case")
    return [_outcome(row) for row in rows]


def _outcome(row: Any) -> Outcome:
    match row:
        case {"value": value, "error": str(error), "borrowed": str(name), "changed": bool(changed)}:
            found = Missing if value == {"missing": 1} else decode(value)
            return Outcome(found, error=error[:200], borrowed=name[:100], changed=changed)
    raise ValueError("answers: found a row with other names, expected an outcome")
