"""Fetch large files: resumed where they stopped, checked, and complete under their final name.

A download goes to NAME.part and is renamed when it is whole and its SHA-256 is right. What a run
left in NAME.part is continued by the next one, if the server's file has not changed since.
"""

import errno
import hashlib
import http.client
import json
import logging
import os
import re
import shutil
import socket
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pfpn.files import KEPT, claim, naming, temporary_beside, write_atomically

CHUNK = 1 << 20  # bytes read at once
TIMEOUT = 30.0  # seconds without a byte after which a connection counts as broken
ATTEMPTS = 5  # that bring nothing new, one after the other
PAUSE = 1.0  # seconds before the second attempt; doubled before each further one
SPARE = 1 << 28  # bytes of disk that stay free

Progress = Callable[[int, int | None], object]  # (bytes there, bytes in all if known)

_log = logging.getLogger(__name__)


class _BrokenError(Exception):
    """The transfer stopped, but a further attempt may go on."""


def cache_folder() -> Path:
    """Return the folder for fetched files: $PFPN_CACHE, else pfpn in the user's cache folder."""
    if os.environ.get("PFPN_CACHE"):
        return Path(os.environ["PFPN_CACHE"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "pfpn"


def fetch(
    url: str,
    path: Path,
    *,
    sha256: str = "",
    md5: str = "",
    size: int | None = None,
    progress: Progress | None = None,
    timeout: float = TIMEOUT,
    attempts: int = ATTEMPTS,
    pause: float = PAUSE,
) -> Path:
    """Return `path`, downloaded from `url` unless it is there.

    Several processes may fetch one file at a time: the first downloads it, the others wait.

    Args:
        url: http or https.
        path: where the file belongs.
        sha256: of the content, 64 hex digits or as many of the first ones as are known. Without
            it the sum of the first download is kept in NAME.sha256 and checked from then on.
        md5: likewise, where nothing better was published: against accidents, not against intent.
        size: in bytes, if known; so much disk must be free before the download begins.
        progress: called with the bytes stored so far and their final number (None: unknown).
        timeout: seconds without a byte after which the connection counts as broken.
        attempts: how many in a row may bring nothing new.
        pause: seconds before the second attempt, doubled before each further one.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url}: found no http or https address, expected one")
    sha256, md5 = sha256.lower(), md5.lower()
    kept = path.with_name(f"{path.name}.sha256")
    if path.exists():
        found = sha256 or _kept_sum(kept)
        check_sum(path, sha256=found, md5="" if found else md5)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    with claim(path.parent, "download", path.name, wait=-1), naming(path):
        if path.exists():  # another process was faster
            return path
        if part.exists() and part.stat().st_size and not _note_of(part).exists():
            raise ValueError(
                f"{part}: found a file of another origin, expected none or the beginning of a "
                "download. Move it away"
            )
        with part.open("ab") as file:
            transfer = _Transfer(url, path, file, part, size, progress, timeout)
            found = _until_sound(transfer, part, attempts, pause, sha256, md5)
            file.flush()
            os.fsync(file.fileno())
        if not sha256:
            write_atomically(kept, f"{found}  {path.name}\n".encode())
        part.replace(path)  # after it is closed, for Windows renames no open file
        _note_of(part).unlink(missing_ok=True)
    return path


def _until_sound(
    transfer: "_Transfer", part: Path, attempts: int, pause: float, sha256: str, md5: str
) -> str:
    """Transfer a file, once more if its sums are wrong; return its SHA-256."""
    for is_last in (False, True):
        _until_whole(transfer, attempts, pause)
        found, found_md5 = _sum_of(part), _sum_of(part, "md5") if md5 else ""
        if found.startswith(sha256) and found_md5.startswith(md5):
            return found
        transfer.restart()
        if not is_last:
            _log.warning("%s came damaged; downloading it again", transfer.url)
    _discard(transfer.file, part)
    sums = f"SHA-256 {found}, expected {sha256}"
    if found.startswith(sha256):
        sums = f"MD5 {found_md5}, expected {md5}..."
    raise ValueError(
        f"{transfer.url}: found a file with {sums}, twice. Nothing was kept. Is a proxy or a login "
        f"page in the way, or has the file changed?{_by_hand(transfer.url, transfer.path)}"
    )


def check_sum(path: Path, *, sha256: str = "", md5: str = "") -> None:
    """Raise if one of the file's sums does not begin with these hex digits."""
    for name, kind, expected in (("SHA-256", "sha256", sha256), ("MD5", "md5", md5)):
        if expected and not (found := _sum_of(path, kind)).startswith(expected):
            raise ValueError(
                f"{path}: found {name} {found}, expected {expected}. The file is damaged or "
                "another one: delete it, and it will be fetched again"
            )


def _until_whole(transfer: "_Transfer", attempts: int, pause: float) -> None:
    """Attempt a transfer, each time from where the last one stopped, until all is there."""
    failures = 0
    while True:
        before = transfer.count
        try:
            return transfer.attempt()
        except _BrokenError as error:
            failures = 0 if transfer.count >= before + CHUNK else failures + 1
            _log.info("%s: %s; %d bytes are there", transfer.url, error, transfer.count)
            if failures >= attempts or isinstance(error.__cause__, socket.gaierror):
                raise ValueError(
                    f"{transfer.url}: the download failed: {error}. The {transfer.count} bytes "
                    "that came are kept in a .part file, and the same command goes on from there."
                    f"{_by_hand(transfer.url, transfer.path)}"
                ) from error
        time.sleep(pause * 2 ** max(0, failures - 1))


class _Transfer:
    """The download of one file, over as many connections as it needs."""

    def __init__(
        self,
        url: str,
        path: Path,
        file: IO[bytes],
        part: Path,
        size: int | None,
        progress: Progress | None,
        timeout: float,
    ):
        self.url, self.path, self.file, self.note = url, path, file, _note_of(part)
        self.size, self.progress, self.timeout = size, progress, timeout
        self.count = part.stat().st_size  # bytes that are there
        self.validator = self._read_note()

    def restart(self) -> None:
        """Discard the bytes that were stored."""
        self.file.truncate(0)
        self.file.seek(0)
        self.count, self.validator = 0, ""
        self.note.unlink(missing_ok=True)

    def attempt(self) -> None:
        """Request the missing bytes and write them; return when the file is complete."""
        response = self._open()
        if response is None:
            return
        with response:
            total = self._total(response)
            if total is not None:
                require_disk(self.path.parent, total - self.count, self.url)
            while True:
                try:
                    chunk = response.read1(CHUNK)
                except (OSError, http.client.HTTPException) as error:
                    raise _BrokenError(_reason(error)) from error
                if not chunk:
                    break
                self.file.write(chunk)
                self.file.flush()
                self.count += len(chunk)
                if self.progress is not None:
                    self.progress(self.count, total)
        if total is not None and self.count != total:
            raise _BrokenError(f"the connection ended at {self.count} of {total} bytes")

    def _open(self) -> http.client.HTTPResponse | None:
        """Return the server's response with the missing bytes; None if no byte is missing."""
        if not self.validator:  # the stored bytes may be of another version
            self.restart()
        headers = {"Accept-Encoding": "identity", "User-Agent": "pfpn"}
        if self.count:
            # If the file has changed, the server sends all of the new one.
            headers |= {"Range": f"bytes={self.count}-", "If-Range": self.validator}
        try:
            request = urllib.request.Request(self.url, headers=headers)
            response = urllib.request.urlopen(request, timeout=self.timeout)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416 and self.count:  # the request was beyond the file's end
                if error.headers.get("Content-Range") == f"bytes */{self.count}":
                    return None
                self.restart()
                raise _BrokenError("the server's file is shorter than what is there") from error
            if error.code < 500 and error.code not in (408, 425, 429):
                raise ValueError(
                    f"{self.url}: the server answered {error.code} {error.reason}. "
                    f"Has the file moved?{_by_hand(self.url, self.path)}"
                ) from error
            raise _BrokenError(f"the server answered {error.code} {error.reason}") from error
        except urllib.error.URLError as error:
            cause = error.reason if isinstance(error.reason, OSError) else error
            raise _BrokenError(_reason(cause)) from cause
        except (OSError, http.client.HTTPException) as error:
            raise _BrokenError(_reason(error)) from error
        return response

    def _total(self, response: http.client.HTTPResponse) -> int | None:
        """Return the final number of bytes (None: unknown); raise if the response does not fit."""
        if response.status == 206:
            span = re.fullmatch(
                r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "")
            )
            if span is None or int(span[1]) != self.count:
                self.restart()
                raise _BrokenError("the server sent another part than requested")
            total = None if span[2] == "*" else int(span[2])
        else:
            self.restart()
            length = response.headers.get("Content-Length", "")
            total = int(length) if length.isdecimal() else None
            self._write_note(response)
        if self.size is not None and total is not None and total != self.size:
            raise ValueError(
                f"{self.url}: found a file of {total} bytes, expected {self.size}. "
                f"Is a proxy or a login page in the way?{_by_hand(self.url, self.path)}"
            )
        return total

    def _read_note(self) -> str:
        """Return the stored ETag or date of the file's version, "" if there is none."""
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return ""
        is_ours = isinstance(note, dict) and note.get("url") == self.url
        return str(note.get("validator", "")) if is_ours else ""

    def _write_note(self, response: http.client.HTTPResponse) -> None:
        tag = response.headers.get("ETag", "")
        if tag.startswith("W/"):  # weak: the same meaning, not the same bytes
            tag = ""
        self.validator = tag or response.headers.get("Last-Modified", "")
        # Without a validator no run can continue the part, but the note tells that it is pfpn's.
        note = {"url": self.url, "validator": self.validator}
        write_atomically(self.note, json.dumps(note).encode())


def require_disk(folder: Path, num_bytes: int, purpose: str) -> None:
    """Raise if the disk that holds `folder` (which may not be there yet) has no room."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < num_bytes + SPARE:
        raise OSError(
            errno.ENOSPC,
            f"{purpose}: found {free / 1e9:.1f} GB free, expected "
            f"{(num_bytes + SPARE) / 1e9:.1f} GB. Choose a folder on another disk",
            str(folder),
        )


def _by_hand(url: str, path: Path) -> str:
    return f" Without a network: fetch {url} by hand and put it at {path}"


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no byte came for too long"
    return str(error) or type(error).__name__


def _note_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _discard(file: IO[bytes], part: Path) -> None:
    file.close()
    part.unlink(missing_ok=True)
    _note_of(part).unlink(missing_ok=True)


def _sum_of(path: Path, kind: str = "sha256") -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(
            file, lambda: hashlib.new(kind, usedforsecurity=kind != "md5")
        ).hexdigest()


def _kept_sum(kept: Path) -> str:
    try:
        return kept.read_text(encoding="utf-8").split()[0]
    except (OSError, IndexError):
        return ""


# COCO. The sums are those of the archives as they are served since 2017.


@dataclass(frozen=True, slots=True)
class Archive:
    """A zip file of a data set."""

    url: str
    size: int  # bytes
    sha256: str


COCO_HOST = "http://images.cocodataset.org"  # its https has a certificate for another name
COCO_IMAGES = {
    "train2017": Archive(
        f"{COCO_HOST}/zips/train2017.zip",
        19_336_861_798,
        "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
    ),
    "val2017": Archive(
        f"{COCO_HOST}/zips/val2017.zip",
        815_585_330,
        "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
    ),
}
COCO_PANOPTIC = Archive(
    f"{COCO_HOST}/annotations/panoptic_annotations_trainval2017.zip",
    860_725_834,
    "c05f76d2129b6b561eb70efe16e7006df62f73fb92889132d373b9d90e31a370",
)


def download_coco(
    root: Path,
    splits: tuple[str, ...] = ("train2017", "val2017"),
    *,
    progress: Progress | None = None,
    say: Callable[[str], object] = _log.info,
    images: dict[str, Archive] | None = None,
    panoptic: Archive = COCO_PANOPTIC,
) -> list[Path]:
    """Fetch and unpack COCO's images and panoptic truth; what is there already is left alone.

    Afterwards `root` has the layout that `pfpn.data.coco` reads: SPLIT/*.jpg,
    annotations/panoptic_SPLIT.json and annotations/panoptic_SPLIT/*.png. An archive is deleted once
    it is unpacked. A folder gets its name when all of it is there, so that a stopped run can
    simply be started again.

    Args:
        root: the data set's folder.
        splits: of "train2017" (19 GB to fetch, the same on disk) and "val2017" (0.8 GB).
        progress: see `fetch`; unpacking reports bytes, too.
        say: called with a line about each step.
        images: archive per split, for tests.
        panoptic: archive with the truth of both splits (0.9 GB to fetch).

    Returns:
        The folders and files that the splits consist of.
    """
    images = images or COCO_IMAGES
    unknown = sorted(set(splits) - images.keys())
    if unknown:
        raise ValueError(f"splits: found {unknown[0]!r}, expected some of {sorted(images)}")
    # Jobs are (archive, folder that it makes, the members that belong to it).
    wanted: list[Path] = []
    missing: dict[str, list[str]] = {}
    for split in splits:
        truth = root / "annotations" / f"panoptic_{split}"
        wanted += [root / split, truth.with_suffix(".json"), truth]
        if not (root / split).is_dir():
            missing.setdefault(split, [])
        if not truth.is_dir() or not truth.with_suffix(".json").is_file():
            missing.setdefault("panoptic", []).append(split)
    # Both the archive and what is in it are on the disk for a while; images are packed as they are.
    needed = sum(2 * (panoptic if job == "panoptic" else images[job]).size for job in missing)
    require_disk(root, needed, f"{root}: COCO")

    if missing:
        with claim(root, "download"):
            for job, truths in missing.items():
                _fetch_and_unpack(
                    panoptic if job == "panoptic" else images[job], root, job, truths, progress, say
                )
    return wanted


def _fetch_and_unpack(
    archive: Archive,
    root: Path,
    job: str,
    truths: list[str],
    progress: Progress | None,
    say: Callable[[str], object],
) -> None:
    """Fetch one archive, unpack it, and delete it unless it was there before.

    Args:
        archive: to fetch.
        root: the data set's folder.
        job: "panoptic", or the split whose images it holds.
        truths: the splits whose truth is unpacked from it.
        progress: see `fetch`.
        say: called with a line about each step.
    """
    path = root / archive.url.rpartition("/")[2]
    fetched = _own_folder(root) / f"{path.name}.fetched"
    if not path.exists():  # else it was put there by hand
        fetched.touch()
    say(f"fetching {archive.url} ({archive.size / 1e9:.1f} GB)")
    fetch(archive.url, path, sha256=archive.sha256, size=archive.size, progress=progress)
    say(f"unpacking {path}")
    if job == "panoptic":
        for split in truths:
            _unpack_truth(path, root / "annotations", f"panoptic_{split}", progress)
    else:
        with zipfile.ZipFile(path) as packed:
            unpack_folder(packed, job, ".jpg", root / job, progress)
    if fetched.exists():
        path.unlink()
        fetched.unlink()


def _unpack_truth(path: Path, folder: Path, name: str, progress: Progress | None) -> None:
    """Unpack NAME.json, and the PNGs of NAME.zip, an archive within the archive.

    What is there already is left as it is.
    """
    with zipfile.ZipFile(path) as outer:
        for member in (f"annotations/{name}.json", f"annotations/{name}.zip"):
            if member not in outer.namelist():
                raise ValueError(f"{path}: found no {member} in it. Is it COCO's panoptic archive?")
        within = _own_folder(folder) / f"{name}.zip.part"
        try:
            _copy_member(outer, f"annotations/{name}.zip", within)
            with zipfile.ZipFile(within) as inner:
                unpack_folder(inner, name, ".png", folder / name, progress)
        finally:
            within.unlink(missing_ok=True)
            with suppress(OSError):  # if nothing else is in it
                within.parent.rmdir()
        if not (folder / f"{name}.json").exists():
            with temporary_beside(folder / f"{name}.json") as temporary:
                _copy_member(outer, f"annotations/{name}.json", temporary)


def unpack_folder(
    packed: zipfile.ZipFile, name: str, suffix: str, target: Path, progress: Progress | None = None
) -> None:
    """Unpack the files NAME/*SUFFIX of an archive to `target`, which appears when it is complete.

    Only plain file names in that one folder are unpacked, so no member can be written elsewhere.
    """
    pattern = re.compile(rf"{re.escape(name)}/[\w-]+{re.escape(suffix)}", re.ASCII)
    members = [m for m in packed.infolist() if pattern.fullmatch(m.filename)]
    if not members:
        raise ValueError(f"{packed.filename}: found no file {name}/*{suffix} in it")
    if target.is_dir():
        return
    total, done = sum(m.file_size for m in members), 0
    require_disk(target.parent, total, f"{target}: unpacking")
    unfinished = _own_folder(target.parent) / f"{target.name}.part"
    unfinished.mkdir(exist_ok=True)
    for member in members:
        _copy_member(packed, member, unfinished / member.filename.rpartition("/")[2])
        done += member.file_size
        if progress is not None:
            progress(done, total)
    unfinished.replace(target)
    with suppress(OSError):  # if nothing else is in it
        unfinished.parent.rmdir()


def _own_folder(folder: Path) -> Path:
    """Return a folder below `folder` where no file is but pfpn's own."""
    path = folder / KEPT
    path.mkdir(parents=True, exist_ok=True)
    return path


def _copy_member(packed: zipfile.ZipFile, member: zipfile.ZipInfo | str, path: Path) -> None:
    with naming(path), packed.open(member) as source, path.open("wb") as target:
        shutil.copyfileobj(source, target, CHUNK)


# Cityscapes has to be fetched by the user, who agreed to its terms.

CITYSCAPES_IMAGES = {"train": 2975, "val": 500}  # finely annotated
CITYSCAPES_HELP = """\
Cityscapes may be used after registering, so nothing can be fetched for you:
  1. Register at https://www.cityscapes-dataset.com and wait for the confirmation.
  2. Log in there and fetch leftImg8bit_trainvaltest.zip (11 GB) and gtFine_trainvaltest.zip
     (0.2 GB), or let the data set's own tool ask for your login and do it:
       pip install cityscapesscripts
       csDownload -d {root} leftImg8bit_trainvaltest.zip gtFine_trainvaltest.zip
  3. Unpack both into {root}, so that {root}/leftImg8bit and {root}/gtFine are there.
  4. Write the panoptic truth, in minutes:
       python -m cityscapesscripts.preparation.createPanopticImgs --dataset-folder {root}/gtFine
  5. Run this command again: it looks whether everything is in its place.
"""


def check_cityscapes(root: Path) -> list[str]:
    """Return what is missing of Cityscapes under `root`, each with its path.

    Expected are leftImg8bit/SPLIT/CITY/*_leftImg8bit.png and what cityscapesscripts'
    createPanopticImgs writes: gtFine/cityscapes_panoptic_SPLIT.json, beside a folder of its PNGs.
    """
    findings = []
    for split, expected in CITYSCAPES_IMAGES.items():
        images = root / "leftImg8bit" / split
        truth = root / "gtFine" / f"cityscapes_panoptic_{split}"
        for folder, pattern in (
            (images, "*/*_leftImg8bit.png"),
            (truth, "*_gtFine_panoptic.png"),
        ):
            found = sum(1 for _ in folder.glob(pattern))
            if found != expected:
                findings.append(f"{folder}/{pattern}: found {found} files, expected {expected}")
        if not truth.with_suffix(".json").is_file():
            findings.append(f"{truth.with_suffix('.json')}: found no such file, expected it")
    return findings
