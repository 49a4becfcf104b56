"""Execute notebooks from top to bottom as they are stored: static, one thread, outputs kept.

    python notebooks/execute.py                 all chapters and solutions
    python notebooks/execute.py 03_proposals.ipynb

A notebook that raises is left as it was. One that gives the same outputs gives the same bytes:
what changes from run to run (times, the name of the kernel, versions) is not stored. The
processor's time is, in whole seconds and only when it moved by more than half: the time that a
chapter states is checked by it.
"""

import argparse
import os
import resource
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SETTINGS = {
    "PFPN_STATIC": "1",
    "OMP_NUM_THREADS": "1",
    "PYTHONWARNINGS": "default",
}
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def main() -> int:
    """Execute what the command line names; 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("notebooks", nargs="*", type=Path, metavar="NOTEBOOK")
    parser.add_argument("--to", type=Path, help="write the executed notebook here")
    arguments = parser.parse_args()
    found = arguments.notebooks or sorted([*HERE.glob("[01]*.ipynb"), *HERE.glob("*/[01]*.ipynb")])
    if arguments.to and len(found) != 1:
        parser.error("--to takes one notebook")
    failed = [path for path in found if not execute(path, arguments.to or path)]
    return 1 if failed else 0


def execute(source: Path, target: Path) -> bool:
    """Run one notebook in its folder with a fresh kernel and store it with its outputs."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    notebook = nbformat.read(source, as_version=4)
    os.environ.update(SETTINGS)
    os.environ.pop("MPLBACKEND", None)  # the kernel chooses its own
    client = NotebookClient(
        notebook,
        timeout=900,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(source.parent)}},
    )
    before = children_seconds()
    try:
        client.execute()
    except CellExecutionError as error:
        print(f"{source.name}: {error}", file=sys.stderr)
        return False
    seconds = children_seconds() - before
    stored = nbformat.read(target, as_version=4).metadata if target.exists() else {}
    tidy(notebook, steady_seconds(seconds, stored.get("pfpn", {}).get("run_seconds")))
    temporary = target.with_suffix(".tmp")
    nbformat.write(notebook, temporary)
    os.replace(temporary, target)
    print(f"{target.name}: {seconds:.0f} s of processor time, {target.stat().st_size / 1e3:.0f} kB")
    return True


def children_seconds() -> float:
    """Return the processor time of all kernels that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def steady_seconds(seconds: float, stored: int | None) -> int:
    """Keep what is stored unless it is clearly off: else every run would change every file."""
    if stored is not None and 0.5 <= (seconds + 2) / (stored + 2) <= 1.5:
        return stored
    return round(seconds)


def tidy(notebook, seconds: int) -> None:  # type: ignore[no-untyped-def]
    """Keep what readers see; join the pieces of a stream, which fall as they like."""
    notebook.metadata = {
        "kernelspec": KERNEL,
        "language_info": {"name": "python"},
        "pfpn": {"run_seconds": seconds},
    }
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        cell.metadata.pop("execution", None)
        joined = []
        for output in cell.outputs:
            last = joined[-1] if joined else None
            if (
                output.output_type == "stream"
                and last is not None
                and last.output_type == "stream"
                and last.name == output.name
            ):
                last.text += output.text
            else:
                joined.append(output)
        cell.outputs = joined


if __name__ == "__main__":
    sys.exit(main())
