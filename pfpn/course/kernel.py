"""Run a student's cells in a process group of their own, and end all that they start.

What the cells print and show is dropped, however much it is. A message that is too large to be one
of a kernel's own closes the connection before it fills this process's memory.
"""

import asyncio
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

MOST_MESSAGE = 4 << 20  # bytes from a student's kernel in one piece
MOST_MESSAGES = 64  # that wait to be read; more are lost
SUBREAPER = 36  # of prctl: processes whose parents have ended become children of this one
SECONDS_TO_END = 5.0  # for processes that start others faster than they are ended


def run_cells(cells: Sequence[str], folder: Path, seconds: float) -> str:
    """Run cells in a kernel of their own; return why it ended early, "" if it did not.

    A cell that raises an error does not keep the next ones from running.

    Args:
        cells: of Python.
        folder: in which they run, and which is their home.
        seconds: of processor time; on the clock three times as many.
    """
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    manager = _manager()
    client = _silent_client(cells, folder, manager)

    async def execute() -> None:
        nowhere = subprocess.DEVNULL  # what a student's process writes is not for this terminal
        run = client.async_execute(
            cwd=str(folder), env=_environment(folder), stdout=nowhere, stderr=nowhere
        )
        try:
            await asyncio.wait_for(run, 3 * seconds)
        finally:
            await _end(manager, client)

    try:
        asyncio.run(execute())
    except (TimeoutError, CellTimeoutError):
        return f"stopped after {3 * seconds:g} s"
    except (DeadKernelError, RuntimeError):
        return f"its process ended early: a crash, or more than {seconds:g} s of work"
    except Exception as error:  # whatever a student's process makes the reader of messages raise
        return f"its process sent what cannot be read ({type(error).__name__})"
    return ""


def _manager() -> Any:
    """Return what starts a kernel, with sockets that take a limited number of bytes."""
    import zmq
    from jupyter_client.manager import AsyncKernelManager

    class Manager(AsyncKernelManager):
        """Gives its own sockets to its client, which else makes some without limits."""

        def client(self, **others: Any) -> Any:
            """Return the client of the kernel."""
            return super().client(context=self.context, **others)

    manager = Manager(kernel_name="python3")
    manager.context.setsockopt(zmq.MAXMSGSIZE, MOST_MESSAGE)
    manager.context.setsockopt(zmq.RCVHWM, MOST_MESSAGES)
    return manager


def _silent_client(cells: Sequence[str], folder: Path, manager: Any) -> Any:
    """Return a client that runs cells and keeps nothing of what they print or show."""
    import nbformat
    from nbclient.client import CellExecutionComplete, NotebookClient

    class Client(NotebookClient):
        """Waits for the end of each cell."""

        def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> None:
            """Notice the end of a cell; drop every other message."""
            if msg["msg_type"] == "status" and msg["content"]["execution_state"] == "idle":
                raise CellExecutionComplete

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    place = {"metadata": {"path": str(folder)}}
    return Client(notebook, km=manager, allow_errors=True, timeout=None, resources=place)


async def _end(manager: Any, client: Any) -> None:
    """Kill a kernel and every process that it has started and that is still in its group."""
    if getattr(client, "kc", None) is not None:
        client.kc.stop_channels()  # one is read in a thread of its own
    group = getattr(manager.provisioner, "pgid", None)
    if group:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
        await manager.provisioner.wait()
    manager.context.destroy(linger=0)


def _environment(folder: Path) -> dict[str, str]:
    """Return the variables of a student's process: what Python needs, and a home of its own."""
    kept = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
    own = {"HOME": str(folder), "OMP_NUM_THREADS": "1", "PFPN_STATIC": "1"}
    paths = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
    own["PYTHONPATH"] = os.pathsep.join(filter(None, paths))  # the same pfpn as here
    return {name: os.environ[name] for name in kept if name in os.environ} | own


@contextmanager
def ending_strays() -> Iterator[None]:
    """End every process that was started meanwhile and has left its group.

    Linux hands a process whose parent has ended to the nearest ancestor that asks for it.
    """
    before = children()
    is_asked = ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0) == 0
    try:
        yield
    finally:
        until = time.monotonic() + SECONDS_TO_END
        while is_asked and (strays := children() - before) and time.monotonic() < until:
            for pid in strays:  # the end of one makes those that it has started children of this
                with suppress(ProcessLookupError, ChildProcessError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
        if is_asked:
            ctypes.CDLL(None).prctl(SUBREAPER, 0, 0, 0, 0)


def children() -> set[int]:
    """Return the processes that this one is the parent of."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            after_name = path.read_text(errors="replace").rpartition(")")[2]  # a name may have any
            if int(after_name.split()[1]) == os.getpid():
                found.add(int(path.parent.name))
    return found
