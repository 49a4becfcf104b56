"""How long each explorer of the course takes to answer a move of a slider or a press of a button.

    python benchmarks/explorers.py [--chapters 03 07] [--most-ms 0] [--most-calls 0]

Runs the chapters' cells up to their last explorer, here and not in a notebook. Then it moves each
slider of each explorer a few times, as a reader who drags it. Milliseconds are processor time on
one thread: the median of the moves, the slowest slider. A busy machine makes them longer; the
number of function calls of the slowest move (in thousands) is the same everywhere.
"""

import argparse
import asyncio
import contextlib
import gc
import importlib
import io
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
MOVES = 5


def explorers(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield each explorer of a chapter as a live notebook shows it, with the id of its cell."""
    modules = [
        importlib.import_module(name)
        for name in ("pfpn.course.explore", "pfpn.course.ch07_surfaces.explorers")
    ]
    caught: list[Any] = []
    kept = [(m, m.is_static, m.show_explorer) for m in modules]  # type: ignore[attr-defined]
    for module in modules:
        vars(module).update(
            is_static=lambda: False, show_explorer=lambda explorer, *_: caught.append(explorer)
        )
    cells = [c for c in json.loads(path.read_text("utf-8"))["cells"] if c["cell_type"] == "code"]
    last = max((i for i, c in enumerate(cells) if "explore" in "".join(c["source"])), default=-1)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        for cell in cells[: last + 1]:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile("".join(cell["source"]), cell["id"], "exec"), namespace)
            for explorer in caught:
                yield cell["id"], explorer
            caught.clear()
    finally:
        os.chdir(before)
        for module, is_static, show_explorer in kept:
            vars(module).update(is_static=is_static, show_explorer=show_explorer)


def measure(explorer: Any) -> tuple[float, int]:
    """Return milliseconds and thousands of calls of the slowest slider, or frame's button."""

    async def answer() -> tuple[float, int]:  # in a loop, as in a notebook
        times, calls = [], []
        for name in explorer.knobs:
            control = explorer.controls[name]

            def move(control: Any = control) -> None:
                control.value = another(control)

            times.append(statistics.median(milliseconds(move) for _ in range(MOVES)))
            calls.append(count_calls(move))
        for button in explorer.buttons:
            times.append(statistics.median(milliseconds(button.click) for _ in range(MOVES)))
        if explorer._later is not None:
            explorer._later.cancel()
        return max(times), max(calls)

    return asyncio.run(answer())


def another(control: Any) -> Any:
    """Return a value that a control does not have, near the one that it has."""
    value = control.value
    if isinstance(value, bool):
        return not value
    options = getattr(control, "options", None)
    if options is not None:
        return options[(options.index(value) + 1) % len(options)]
    return value + control.step if value + control.step <= control.max else control.min


def milliseconds(call: Callable[[], None]) -> float:
    """Return the processor time of a call, without a collection of garbage that happens to come."""
    gc.collect()
    gc.disable()
    start = time.process_time()
    call()
    took = time.process_time() - start
    gc.enable()
    return 1000 * took


def count_calls(call: Callable[[], None]) -> int:
    """Return the thousands of Python functions that a call calls."""
    number = 0

    def count(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal number
        number += event == "call"

    sys.setprofile(count)
    try:
        call()
    finally:
        sys.setprofile(None)
    return round(number / 1000)


def main() -> int:
    """Print a line for each explorer; 1 if one is above a limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--chapters", nargs="*", default=[], help="such as 03; all if none is named"
    )
    parser.add_argument("--most-ms", type=float, default=0, help="a limit; 0 for none")
    parser.add_argument("--most-calls", type=int, default=0, help="in thousands; 0 for none")
    arguments = parser.parse_args()
    os.environ["PFPN_STATIC"] = "1"
    warnings.simplefilter("ignore")
    slow = False
    for path in sorted(NOTEBOOKS.glob("[01]*.ipynb")):
        if arguments.chapters and path.name[:2] not in arguments.chapters:
            continue
        for cell, explorer in explorers(path):
            took, calls = measure(explorer)
            late = bool(arguments.most_ms and took > arguments.most_ms)
            late |= bool(arguments.most_calls and calls > arguments.most_calls)
            slow |= late
            mark = "   too slow" if late else ""
            knobs = ", ".join(explorer.knobs)
            print(f"{path.name[:2]} {cell:9} {took:4.0f} ms {calls:4} k calls  {knobs}{mark}")
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
