"""Hold back what a cell shows until the prediction is made that the cell gives the result of.

A cell that calls `guess.reveal(...)` often prints numbers or draws a picture first, and these are
the result too. In a live notebook without a prediction everything that such a cell shows is kept.
It appears in the same output, in the same order, as soon as the reader has predicted.
"""

import ast
import io
import sys
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from IPython.core.getipython import get_ipython

Output = tuple[dict[str, Any], dict[str, Any]]  # data and metadata

AT_ONCE: set[str] = set()  # display ids of outputs that are not held back: "No prediction yet"


class Recorder(io.TextIOBase):
    """Takes the place of a shell's publisher and of standard output, and keeps what they get."""

    def __init__(self, shell: Any):
        self.shell = shell
        self.outputs: list[Output | dict[str, Any]] = []  # a dict: arguments, published at once

    def start(self) -> None:
        """Record from here on."""
        self._publisher, self._stdout = self.shell.display_pub, sys.stdout
        self.shell.display_pub = sys.stdout = self

    def stop(self) -> None:
        """Give publisher and standard output back."""
        self.shell.display_pub, sys.stdout = self._publisher, self._stdout

    def write(self, text: str) -> int:
        """Keep printed text; what is printed in a row is one output."""
        last = self.outputs[-1] if self.outputs else None
        if isinstance(last, tuple) and list(last[0]) == ["text/plain"] and not last[1]:
            last[0]["text/plain"] += text
        else:
            self.outputs.append(({"text/plain": text}, {}))
        return len(text)

    def publish(
        self,
        data: dict[str, Any],
        metadata: dict[str, Any] | None = None,
        transient: dict[str, Any] | None = None,
        update: bool = False,
        **others: Any,
    ) -> None:
        """Keep an output, or what belongs to a question as the call that it came by."""
        if update or (transient or {}).get("display_id") in AT_ONCE:
            call = {"data": data, "metadata": metadata, "transient": transient, "update": update}
            self.outputs.append(call | others)
        else:
            self.outputs.append((dict(data), dict(metadata or {})))

    def clear_output(self, wait: bool = False) -> None:
        """Forget what was recorded."""
        self.outputs.clear()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._publisher, name)

    def lay_out(self) -> Callable[[], None]:
        """Show an empty output for each that was kept; return what fills them."""
        spots: list[tuple[str, Output]] = []
        for output in self.outputs:
            if isinstance(output, dict):
                self._publisher.publish(**output)
                continue
            spot = uuid.uuid4().hex
            spots.append((spot, output))
            self._publisher.publish({"text/plain": ""}, transient={"display_id": spot})

        def fill() -> None:
            for spot, (data, metadata) in spots:
                self._publisher.publish(data, metadata, transient={"display_id": spot}, update=True)

        return fill

    def publish_all(self) -> None:
        """Show everything that was kept."""
        for output in self.outputs:
            if isinstance(output, dict):
                self._publisher.publish(**output)
            else:
                self._publisher.publish(*output)


class Curtain:
    """Watches the cells of a shell, and holds back those that give a result too early."""

    def __init__(self, shell: Any):
        self.shell = shell
        self.recorder: Recorder | None = None
        self.guesses: list[Any] = []
        shell.events.register("pre_run_cell", self.before)
        shell.events.register("post_run_cell", self.after)

    def before(self, info: Any) -> None:
        """Record if the cell reveals the result of a question that waits for a prediction."""
        names = dict.fromkeys(revealed(info.raw_cell or ""))
        found = (self.shell.user_ns.get(name) for name in names)
        self.guesses = [guess for guess in found if getattr(guess, "waits", False)]
        if self.guesses:
            self.recorder = Recorder(self.shell)
            self.recorder.start()

    def after(self, _result: Any) -> None:
        """Show what was kept, or an empty output for it."""
        recorder, self.recorder = self.recorder, None
        if recorder is None:
            return
        recorder.stop()
        # A cell that raised an error before it came to the result has none to hold back.
        waiting = [guess for guess in self.guesses if guess.waits and guess.is_due]
        if not waiting:
            recorder.publish_all()
            return
        fill = recorder.lay_out()

        def release() -> None:
            if not any(guess.waits for guess in waiting):
                fill()

        for guess in waiting:
            guess.afterwards.append(release)


_curtains: dict[int, Curtain] = {}


def watch() -> None:
    """Hold back results in this notebook from now on; a second call changes nothing."""
    shell = get_ipython()
    if shell is not None and id(shell) not in _curtains:
        _curtains[id(shell)] = Curtain(shell)


def revealed(source: str) -> Iterator[str]:
    """Yield the names of the questions whose results a cell reveals."""
    try:
        tree = ast.parse(source)
    except SyntaxError:  # a cell with a magic command, such as %timeit
        return
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="reveal")):
                yield name
