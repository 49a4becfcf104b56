"""Loops over pixels as compiled code: those of `_loops.py`, where numba is installed.

That is the extra `fast`. Loading them takes half a second, some more the very first time on a
machine, so a process that has little to do does without. Results are the same to the bit.
"""

import itertools
from types import ModuleType

PATIENCE = 300  # id PNGs, or binned losses, of one process; so many take as long as loading

_requests = itertools.count(1)
_loaded: list[ModuleType | None] = []  # the loops, or None where they cannot be had


def request_loops() -> ModuleType | None:
    """Return the loops from the request on that makes loading them worthwhile, else None."""
    if next(_requests) > PATIENCE and not _loaded:
        load_loops()
    return loaded_loops()


def loaded_loops() -> ModuleType | None:
    """Return the loops if they have been loaded."""
    return _loaded[-1] if _loaded else None


def load_loops() -> ModuleType | None:
    """Load the loops now; return None where they cannot be had."""
    try:
        from pfpn import _loops as loops
    except (ImportError, RuntimeError):  # no numba; or no folder in which it can keep its cache
        _loaded.append(None)
    else:
        _loaded.append(loops)
    return loaded_loops()
