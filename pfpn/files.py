"""Write files so that nothing is lost: whole or not at all, and only over what pfpn wrote before.

A command that writes claims its folder, or its one file, with `claim` and writes through the
`Output` that this returns. In the folder `.pfpn` beside the results it keeps

    files.jsonl   who claimed the folder, and which files pfpn wrote: name, SHA-256, command
    *.lock        held while a command runs
    *.tmp         files that are being written; renamed once they are whole

A file is replaced only if the same command wrote it and nobody has changed it since. Files that
are no results (caches, downloads) are written with `write_atomically` or `temporary_beside`.
"""

import errno
import hashlib
import itertools
import json
import os
import re
import shlex
import socket
import stat
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import FileLock, Timeout

KEPT = ".pfpn"  # the folder of this module's own files
FILES = "files.jsonl"
WRITE_ERRORS = frozenset(
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EIO", "EACCES", "EPERM", "ENAMETOOLONG")
    if hasattr(errno, name)
)

_numbers = itertools.count()


# names and text -----------------------------------------------------------------------------------

# Windows gives these to devices, with any ending; "com1.png" is the serial port.
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.I)
_DRIVE = re.compile(r"[A-Za-z]:")


def name_problem(name: object) -> str | None:
    """Return what keeps `name` from being a plain file name on any system, None if nothing does.

    Args:
        name: from a data set: an image id, or the name of a file.
    """
    if not isinstance(name, str):
        return f"{type(name).__name__}, not text"
    if not name.strip(". "):
        return "only dots and spaces" if name else "no character"
    if any(_is_control(character) for character in name):
        return "a control character"
    if "/" in name or "\\" in name:
        return "a slash or backslash"
    if _DRIVE.match(name):
        return "a drive's letter"
    if name[-1] in ". ":
        return "a dot or space at its end"
    if _DEVICE.fullmatch(name):
        return "a name that Windows reserves for a device"
    if len(os.fsencode(name)) > 255:
        return f"{len(os.fsencode(name))} bytes, a file name has at most 255"
    return None


def path_problem(path: object) -> str | None:
    """Return what keeps `path` from being a relative path of plain names joined by "/", or None."""
    if not isinstance(path, str):
        return name_problem(path)
    problems = (name_problem(part) for part in path.split("/"))
    return next((problem for problem in problems if problem is not None), None)


def require_distinct(names: Iterable[str], what: str, seen: dict[str, str] | None = None) -> None:
    """Raise ValueError if two names are one file; some systems ignore case and accents' coding.

    Args:
        names: of files.
        what: they are, for the message.
        seen: names of earlier calls, to which these are added.
    """
    seen = {} if seen is None else seen
    for name in names:
        key = unicodedata.normalize("NFC", name).casefold()
        if key in seen:
            other = seen[key]
            both = f"{name!r} twice" if name == other else f"{other!r} and {name!r}"
            raise ValueError(f"{what}: found {printable(both)}, expected names that differ")
        seen[key] = name


def printable(text: object, keep: str = "") -> str:
    """Return `text` with control characters as escapes, so that it cannot steer a terminal.

    Args:
        text: anything; its `str` is used.
        keep: control characters that stay, such as a newline.
    """
    return "".join(
        c.encode("unicode_escape").decode() if _is_control(c) and c not in keep else c
        for c in str(text)
    )


def _is_control(character: str) -> bool:
    # Cc control, Cs half a pair, Zl and Zp ends of lines and paragraphs; and what turns text round.
    turns = ("LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI")
    is_category = unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
    return is_category or unicodedata.bidirectional(character) in turns


# one file -----------------------------------------------------------------------------------------


@contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path`; rename it to `path` if the block ends well.

    The bytes reach the disk before the rename, so that a power cut leaves the old file or the new
    one. The name is this process's own. If the block fails, the temporary file is removed.
    """
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f".pfpn-{os.getpid()}-{uuid4().hex[:12]}.tmp"
        try:
            _create(temporary)
            yield temporary
            _sync(temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path` under a temporary name first; replaces what is there."""
    with temporary_beside(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn errors of writing in the block into one that names `path` and says what to try."""
    try:
        yield
    except OSError as error:
        if error.errno not in WRITE_ERRORS or not _concerns(error, path):
            raise
        reason = error.strerror or str(error)
        named = OSError(
            f"{path}: could not be written ({reason}), expected room and a folder that can be "
            "written to. What was there is as it was before"
        )
        named.errno = error.errno
        raise named from error


def _concerns(error: OSError, path: Path) -> bool:
    """Return whether an error is about writing `path`: about it, a folder above, or no file."""
    if error.filename is None:
        return error.strerror is not None  # else it was named already
    file = Path(os.fsdecode(error.filename))
    return file.suffix == ".tmp" or KEPT in file.parts or file in (path, *path.parents)


def _create(path: Path) -> None:
    """Create an empty file that was not there, readable as the umask says."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))


def _sync(path: Path) -> None:
    with path.open("r+b") as file:  # Windows syncs only what is open for writing
        os.fsync(file.fileno())


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# an output folder ---------------------------------------------------------------------------------


class ClaimedError(ValueError):
    """Another process is writing in the folder."""


@contextmanager
def claim(folder: Path | str, by: str, name: str = "", *, wait: float = 0) -> Iterator["Output"]:
    """Claim a folder, or one file in it, for this process; yield what is written through.

    The folder is made if it is not there. The claim ends with the block, and with the process.
    Raises ClaimedError, which says who holds the claim and since when.

    Args:
        folder: that the results are in.
        by: the command, such as "predict". It replaces only files that the same command wrote.
        name: of the one file in the folder that is claimed; claims of different files, and of
            the folder as a whole, do not exclude each other.
        wait: seconds to wait for another process to end its claim; without limit if negative.
    """
    folder = Path(folder)
    kept = folder / KEPT
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    key = hashlib.sha256(name.encode()).hexdigest()[:16] if name else "folder"
    lock = FileLock(kept / f"{key}.lock", thread_local=False)
    with naming(folder):
        for attempt in itertools.count():
            try:
                kept.mkdir(parents=True, exist_ok=True)
                lock.acquire(timeout=wait)
            except FileNotFoundError:  # the one before wrote nothing and tidied up just now
                if attempt > 100:
                    raise
                continue
            except Timeout:
                raise ClaimedError(_holder(folder, name)) from None
            except (FileExistsError, NotADirectoryError) as error:
                raise ValueError(f"{folder}: found a file, expected a folder or nothing") from error
            except NotImplementedError as error:
                raise ValueError(
                    f"{folder}: found a file system without locks, expected one that has them. "
                    "Choose a folder on another disk"
                ) from error
            if os.path.exists(lock.lock_file):  # else it was tidied up after it had been opened
                break
            lock.release()
    try:
        output = Output(folder, by)
        output.begin(key, name)
        yield output
    finally:
        is_unused = not any("file" in line for line in _read_lines(folder))
        if is_unused and os.name != "nt":  # Windows removes it with the lock
            Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
        if is_unused:
            _tidy(kept, made)


def _tidy(kept: Path, made: Iterable[Path]) -> None:
    """Remove the list of files that has none, and the folders that were made for it."""
    with suppress(OSError):  # another process writes here, or somebody else did
        if not any(kept.glob("*.lock")):
            (kept / FILES).unlink(missing_ok=True)
            kept.rmdir()
            for folder in made:
                folder.rmdir()


@contextmanager
def claim_file(path: Path | str, by: str, inputs: Iterable[Path | str] = ()) -> Iterator["Output"]:
    """Claim one file; raise before any work is done if it is neither new nor the command's own.

    Args:
        path: of the file; write it with `output.write(Path(path).name, content)`.
        by: see `claim`.
        inputs: files that the command reads, which it must not replace.
    """
    path = Path(path)
    if not path.name or path.is_dir():
        raise ValueError(f"{path}: found a folder, expected the name of a file to write")
    with claim(path.parent, by, path.name) as output:
        output.require_free([path.name], inputs)
        yield output


def _holder(folder: Path, name: str) -> str:
    claims = [line for line in _read_lines(folder) if line.get("claim") == name]
    what = folder / name if name else folder
    who = "another process"
    if claims:
        last = {key: printable(value) for key, value in claims[-1].items()}
        who = (
            f"`{last.get('command')}`, process {last.get('pid')} on {last.get('host')}, since "
            f"{last.get('since')}"
        )
    return f"{what}: found it in use by {who}. Wait until it ends, or choose another name"


def _read_lines(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a folder's list of files; a line that was cut short is passed over."""
    try:
        text = (folder / KEPT / FILES).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    for line in text.splitlines():
        try:
            content = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(content, dict):
            yield content


Signature = tuple[int, int, int]


@dataclass
class Output:
    """A folder that results are written to, and the list of files that pfpn wrote there.

    Names are relative to the folder and use "/"; ".." in front is allowed for a file beside it.
    Parts of them that come from data must have passed `name_problem`.
    """

    folder: Path
    by: str
    _sums: dict[str, set[str]] = field(default_factory=dict)  # by file; "" stands for any content
    _written: dict[str, Signature] = field(default_factory=dict)  # by this process
    _id: str = ""  # its temporary files begin with it

    def __post_init__(self) -> None:
        self._id = f"folder-{os.getpid()}-{uuid4().hex[:8]}"
        for line in _read_lines(self.folder):
            if line.get("by") == self.by and isinstance(line.get("file"), str):
                self._sums.setdefault(line["file"], set()).add(str(line.get("sha256")))

    def begin(self, key: str, name: str) -> None:
        """Note who claimed the folder; remove what a killed process left half-written."""
        for path in (self.folder / KEPT).glob(f"{key}-*.tmp"):
            path.unlink(missing_ok=True)
        self._id = f"{key}-{os.getpid()}-{uuid4().hex[:8]}"
        words = [Path(sys.argv[0]).name or "python", *sys.argv[1:]]
        since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        who = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
        self._append({"claim": name, **who, "command": shlex.join(words)})

    def path(self, name: str) -> Path:
        """Return the path of a file in the folder, or beside it."""
        # As text: ".." of a link to a folder would lead elsewhere.
        return (
            Path(os.path.normpath(self.folder / name))
            if name.startswith("..")
            else self.folder / name
        )

    def is_own(self, name: str) -> bool:
        """Return whether the file is there, this command wrote it, and nobody changed it since."""
        try:
            status = (self.path(name)).lstat()
        except OSError:
            return False
        sums = self._sums.get(name)
        if not sums or not stat.S_ISREG(status.st_mode):
            return False
        if "" in sums or self._written.get(name) == _signature(status):
            return True
        return sha256_of(self.path(name)) in sums

    def require_free(self, names: Iterable[str], inputs: Iterable[Path | str] = ()) -> None:
        """Raise ValueError if a file of these names may not be written.

        That is if it is there and not this command's own, or is one of the `inputs`.
        """
        read = {(s.st_dev, s.st_ino): path for path, s in _statuses(inputs)}
        for name in names:
            path = self.path(name)
            for _, status in _statuses([path]):
                if (status.st_dev, status.st_ino) in read:
                    raise ValueError(f"{path}: found an input, expected another name to write to")
            if os.path.lexists(path) and not self.is_own(name):
                changed = name in self._sums
                found = "a file that was changed since" if changed else "a file of another origin"
                raise ValueError(
                    f"{path}: found {found}, expected none or one that pfpn {self.by} wrote. "
                    "Nothing was replaced; move it away, or write to another folder"
                )

    @contextmanager
    def file(self, name: str) -> Iterator[Path]:
        """Yield a temporary path; rename it to `name` if the block ends well.

        Raises ValueError if a file of this name is there and is not this command's own.
        """
        path = self.path(name)
        self.require_free([name])
        with naming(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            kept = self.folder / KEPT
            is_one_disk = path.parent.stat().st_dev == kept.stat().st_dev
            folder = kept if is_one_disk else path.parent
            temporary = folder / f"{self._id}-{next(_numbers)}.tmp"
            try:
                _create(temporary)
                yield temporary
                _sync(temporary)
                self._list(name, sha256_of(temporary))  # first: what is renamed is listed already
                self.require_free([name])
                os.replace(temporary, path)
                self._written[name] = _signature(path.lstat())
            finally:
                temporary.unlink(missing_ok=True)

    def write(self, name: str, content: bytes) -> None:
        """Write one file, whole or not at all; see `file`."""
        with self.file(name) as temporary:
            temporary.write_bytes(content)

    def own(self, name: str) -> None:
        """List a file that grows, such as a log: whatever it contains is this command's own.

        Raises ValueError if it is there already and is not this command's own.
        """
        self.require_free([name])
        self._list(name, "")

    def adopt(self, name: str, *, grows: bool = False) -> None:
        """List a file as it is now, or as it will ever be; another part of the command wrote it."""
        self._list(name, "" if grows else sha256_of(self.path(name)))

    def remove(self, name: str) -> None:
        """Remove a file of this command's own, if it is there; raise ValueError if it is not."""
        self.require_free([name])
        with naming(self.path(name)):
            (self.path(name)).unlink(missing_ok=True)
        self._written.pop(name, None)

    def sums(self, name: str) -> frozenset[str]:
        """Return the SHA-256 that are listed for a file, "" among them if any content is own."""
        return frozenset(self._sums.get(name, ()))

    def names(self) -> list[str]:
        """Return the names of the files that are there and that this command wrote, sorted."""
        return sorted(name for name in self._sums if self.is_own(name))

    def _list(self, name: str, digest: str) -> None:
        if digest not in self._sums.get(name, ()):
            self._append({"file": name, "sha256": digest, "by": self.by})
            self._sums.setdefault(name, set()).add(digest)

    def _append(self, line: dict[str, Any]) -> None:
        path = self.folder / KEPT / FILES
        text = json.dumps(line).encode() + b"\n"
        with naming(path), path.open("a+b") as file:
            # A line that a killed process left unfinished is ended first.
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                text = text if file.read(1) == b"\n" else b"\n" + text
            file.write(text)


def _signature(status: os.stat_result) -> Signature:
    return status.st_size, status.st_mtime_ns, status.st_ino


def _statuses(paths: Iterable[Path | str]) -> Iterator[tuple[Path | str, os.stat_result]]:
    """Yield each path that is there, with its status."""
    for path in paths:
        try:
            yield path, os.stat(path)
        except (OSError, ValueError):
            continue
