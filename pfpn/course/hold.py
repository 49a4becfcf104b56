"""Hold back what a cell shows until the prediction is made that the cell gives the result of.

A cell that calls `guess.reveal(...)`, and the cells before it, often print numbers or draw a
picture that are the result too. In a live notebook without a prediction everything that these cells
show is kept. It appears in the same outputs, in the same order, once the reader has predicted.
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
        self._notice = ""  # the display id of the words that say why nothing is seen

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

    def notice(self) -> dict[str, Any]:
        """Return the call that says why nothing is seen; what fills the outputs removes it."""
        self._notice = uuid.uuid4().hex
        words = "**No prediction yet.** What this cell shows appears after your prediction above."
        return {
            "data": {"text/markdown": words, "text/plain": words.replace("**", "")},
            "transient": {"display_id": self._notice},
        }

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

        if self._notice:
            spots.append((self._notice, ({"text/plain": ""}, {})))

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
    """Watches the cells of a shell, and holds back those that give a result too early.

    These are the cells from a question to the one that reveals its result, that one included. Cells
    that ask or that check an exercise are left alone.
    """

    def __init__(self, shell: Any):
        self.shell = shell
        self.asked: list[Any] = []
        self.recorder: Recorder | None = None
        self.guesses: list[Any] = []  # those that the running cell has to wait for
        shell.events.register("pre_run_cell", self.before)
        shell.events.register("post_run_cell", self.after)

    def before(self, info: Any) -> None:
        """Record if a question waits for a prediction, and this cell may give its result."""
        source = info.raw_cell or ""
        if speaks(source):
            return
        named = [self.shell.user_ns.get(name) for name in dict.fromkeys(revealed(source))]
        # A question whose cell is run again is a new one; the old one has no name any more.
        bound = {id(value) for value in self.shell.user_ns.values()}
        pending = [guess for guess in self.asked if id(guess) in bound and not guess.is_due]
        found = {id(guess): guess for guess in (*named, *pending)}
        self.guesses = [guess for guess in found.values() if getattr(guess, "waits", False)]
        if self.guesses:
            self.recorder = Recorder(self.shell)
            self.recorder.start()

    def after(self, result: Any) -> None:
        """Show what was kept, or an empty output for it."""
        recorder, self.recorder = self.recorder, None
        if recorder is None:
            return
        recorder.stop()
        waiting = [guess for guess in self.guesses if guess.waits]
        if not waiting or not getattr(result, "success", True):
            recorder.publish_all()
            return
        if not recorder.outputs:
            return
        if not any(guess.is_due for guess in waiting):  # else "No prediction yet" stands there
            recorder.outputs.insert(0, recorder.notice())
        fill = recorder.lay_out()

        def release() -> None:
            if not any(guess.waits for guess in waiting):
                fill()

        for guess in waiting:
            guess.then(release)


_curtains: dict[int, Curtain] = {}


def watch(guess: Any) -> None:
    """Hold back what this notebook shows from here to a question's result, until it is answered."""
    shell = get_ipython()
    if shell is None:
        return
    if id(shell) not in _curtains:
        _curtains[id(shell)] = Curtain(shell)
    _curtains[id(shell)].asked.append(guess)


SPEAKING = {"ask", "check", "run_capstone", "hint", "case", "tally"}


def speaks(source: str) -> bool:
    """Return whether a cell talks with the reader, by a question or about an exercise."""
    return any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in SPEAKING
        for node in _walk(source)
    )


def revealed(source: str) -> Iterator[str]:
    """Yield the names of the questions whose results a cell reveals."""
    for node in _walk(source):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="reveal")):
                yield name


def _walk(source: str) -> Iterator[ast.AST]:
    try:
        yield from ast.walk(ast.parse(source))
    except SyntaxError:  # a cell with a magic command, such as %timeit
        return
