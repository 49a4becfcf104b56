"""Downloads from a test server that cuts, stalls, damages and resumes transfers."""

import hashlib
import http.server
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pfpn.data import download
from pfpn.data.download import (
    Archive,
    cache_folder,
    check_cityscapes,
    check_sum,
    download_coco,
    fetch,
    require_disk,
    unpack_folder,
)
from pfpn.files import ClaimedError, claim

ROOT = Path(__file__).resolve().parents[2]
CONTENT = b"".join(hashlib.sha256(str(i).encode()).digest() for i in range(2000))  # 64,000 bytes
SUM = hashlib.sha256(CONTENT).hexdigest()
# The time-out ends what a test makes stall; nothing else takes so long on a busy machine.
QUICK = {"timeout": 20.0, "pause": 0.001, "attempts": 3}
STALLED = 0.5  # seconds, for tests in which the server falls silent


@dataclass
class Site:
    """What the server serves and how it misbehaves; one entry of a list is used up per request."""

    url: str
    files: dict[str, bytes] = field(default_factory=lambda: {"/file.bin": CONTENT})
    tag: str | None = '"one"'
    modified: str | None = None
    ranges: bool = True
    sizes: bool = True  # send the length
    cuts: list[int] = field(default_factory=list)  # close the connection after so many bytes
    stalls: list[int] = field(default_factory=list)  # send nothing more after so many bytes
    damages: int = 0  # how many answers have a wrong byte
    statuses: list[int] = field(default_factory=list)  # these statuses come first
    wrong_position: int = 0  # how many partial responses begin elsewhere than requested
    requests: list[dict[str, str]] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves Site's files with its faults."""

    site: Site

    def do_GET(self):
        site = self.site
        site.requests.append({key.lower(): value for key, value in self.headers.items()})
        content = site.files.get(self.path)
        if site.statuses or content is None:
            self.send_error(site.statuses.pop(0) if site.statuses else 404)
            return
        start = self._requested_start()
        if start >= len(content) > 0 and start:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if start and site.wrong_position:
            site.wrong_position -= 1
            start -= 1
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if site.sizes:
            self.send_header("Content-Length", str(len(content) - start))
        if site.tag:
            self.send_header("ETag", site.tag)
        if site.modified:
            self.send_header("Last-Modified", site.modified)
        self.end_headers()
        body = content[start:]
        if site.damages:
            site.damages -= 1
            body = body[:7] + bytes([body[7] ^ 1]) + body[8:]
        if site.cuts:
            body = body[: site.cuts.pop(0)]
        if site.stalls:
            self.wfile.write(body[: site.stalls.pop(0)])
            self.wfile.flush()
            site.release.wait(20)
            return
        self.wfile.write(body)

    def _requested_start(self) -> int:
        requested, condition = self.headers.get("Range"), self.headers.get("If-Range")
        same = condition is None or condition in (self.site.tag, self.site.modified)
        if requested is None or not self.site.ranges or not same:
            return 0
        return int(requested.removeprefix("bytes=").removesuffix("-"))

    def log_message(self, *args):
        pass


@pytest.fixture
def site() -> Iterator[Site]:
    handler = type("OneHandler", (Handler,), {})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    handler.site = Site(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield handler.site
    handler.site.release.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def target(tmp_path) -> Path:
    return tmp_path / "deep" / "file.bin"


def get(site: Site, target: Path, sha256: str = SUM, **options) -> Path:
    return fetch(f"{site.url}/file.bin", target, sha256=sha256, **(QUICK | options))


def assert_alone(target: Path, *others: str) -> None:
    """The file is there, whole, and nothing else is left beside it."""
    assert target.read_bytes() == CONTENT
    assert {p.name for p in target.parent.iterdir()} == {target.name, *others}


def ranges(site: Site) -> list[str | None]:
    return [request.get("range") for request in site.requests]


# ---------------------------------------------------------------------------------- the good


def test_a_file_arrives_whole_and_alone(site, target):
    assert get(site, target) == target
    assert_alone(target)
    assert ranges(site) == [None]


def test_a_file_that_is_there_is_not_requested_again(site, target):
    get(site, target)
    get(site, target)
    assert len(site.requests) == 1


def test_the_beginning_of_a_sum_is_enough(site, target):
    get(site, target, sha256=SUM[:8].upper())
    assert_alone(target)


def test_progress_gives_stored_and_total_bytes(site, target):
    seen = []
    get(site, target, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_a_server_that_sends_no_length(site, target):
    site.sizes = False
    totals = set()
    get(site, target, progress=lambda done, total: totals.add(total))
    assert_alone(target)
    assert totals == {None}


def test_an_empty_file(site, target):
    site.files["/file.bin"] = b""
    get(site, target, sha256=hashlib.sha256(b"").hexdigest())
    assert target.read_bytes() == b""


def test_without_a_published_sum_the_first_one_is_kept_and_checked(site, target):
    get(site, target, sha256="")
    assert_alone(target, "file.bin.sha256")
    kept = target.with_name("file.bin.sha256").read_text()
    assert kept == f"{SUM}  file.bin\n"  # as sha256sum writes and checks it
    get(site, target, sha256="")
    target.write_bytes(CONTENT[:-1])
    with pytest.raises(ValueError, match=f"expected {SUM}.*delete it"):
        get(site, target, sha256="")


# ------------------------------------------------------------------------------- cut and stalled


def test_a_cut_connection_is_resumed_where_it_broke(site, target):
    site.cuts = [10_000, 20_000]
    get(site, target)
    assert_alone(target)
    assert ranges(site) == [None, "bytes=10000-", "bytes=30000-"]
    assert site.requests[1]["if-range"] == '"one"'


def test_a_stalled_connection_is_resumed_where_it_fell_silent(site, target):
    site.stalls = [10_000]
    get(site, target, timeout=STALLED, attempts=50)
    assert_alone(target)
    assert ranges(site)[:2] == [None, "bytes=10000-"]  # more, if the machine was busy


def test_a_server_that_never_answers_ends_in_a_clear_error(site, target):
    site.stalls = [0] * 10
    with pytest.raises(
        ValueError, match=r"no byte came for too long.*goes on from there"
    ) as caught:
        get(site, target, timeout=STALLED)
    assert str(target) in str(caught.value)
    assert not target.exists()


def test_a_later_run_goes_on_where_the_first_one_gave_up(site, target):
    site.cuts = [10_000, 10_000, 10_000, 0, 0]
    with pytest.raises(ValueError, match="The 30000 bytes"):
        get(site, target)
    assert not target.exists()
    assert target.with_name("file.bin.part").read_bytes() == CONTENT[:30_000]
    site.cuts = []
    site.requests.clear()
    get(site, target)
    assert_alone(target)
    assert ranges(site) == ["bytes=30000-"]


def test_a_date_is_as_good_as_a_tag(site, target):
    site.tag, site.modified = None, "Wed, 21 Oct 2015 07:28:00 GMT"
    site.cuts = [10_000]
    get(site, target)
    assert ranges(site) == [None, "bytes=10000-"]
    assert site.requests[1]["if-range"] == site.modified


@pytest.mark.parametrize("tag", [None, 'W/"weak"'])
def test_without_a_name_for_the_version_a_download_starts_again(tag, site, target):
    site.tag = tag
    site.cuts = [10_000]
    get(site, target)
    assert_alone(target)
    assert ranges(site) == [None, None]


def test_a_server_without_ranges_sends_all_again(site, target):
    site.ranges = False
    site.cuts = [10_000]
    get(site, target)
    assert_alone(target)


def test_a_file_that_changed_meanwhile_is_fetched_anew(site, target):
    site.cuts = [10_000] * 3
    site.files["/file.bin"] = CONTENT[::-1]
    with pytest.raises(ValueError, match="failed"):
        get(site, target, attempts=1)
    site.cuts, site.tag = [], '"two"'
    site.files["/file.bin"] = CONTENT
    get(site, target)
    assert_alone(target)


def test_bytes_of_another_address_are_not_continued(site, target):
    site.files["/other.bin"] = CONTENT[::-1]
    site.cuts = [10_000]
    with pytest.raises(ValueError, match="failed"):
        fetch(f"{site.url}/other.bin", target, **(QUICK | {"attempts": 1}))
    site.requests.clear()
    get(site, target)
    assert_alone(target)
    assert ranges(site) == [None]


def test_a_part_that_is_already_whole_needs_no_byte_more(site, target):
    get(site, target)
    target.rename(target.with_name("file.bin.part"))
    note = target.with_name("file.bin.part.json")
    note.write_text(f'{{"url": "{site.url}/file.bin", "validator": "\\"one\\""}}')
    site.requests.clear()
    get(site, target)
    assert_alone(target)
    assert ranges(site) == ["bytes=64000-"]


def test_a_part_longer_than_the_file_is_thrown_away(site, target):
    target.parent.mkdir()
    target.with_name("file.bin.part").write_bytes(CONTENT + b"more")
    note = target.with_name("file.bin.part.json")
    note.write_text(f'{{"url": "{site.url}/file.bin", "validator": "\\"one\\""}}')
    get(site, target)
    assert_alone(target)
    assert ranges(site) == ["bytes=64004-", None]


@pytest.mark.parametrize("note", ["", "[1]", "{", '{"url": 3}'])
def test_a_broken_note_means_starting_again(note, site, target):
    target.parent.mkdir()
    target.with_name("file.bin.part").write_bytes(b"rubbish")
    target.with_name("file.bin.part.json").write_text(note)
    get(site, target)
    assert_alone(target)


def test_a_part_from_another_position_is_not_appended(site, target):
    site.cuts = [10_000]
    site.wrong_position = 1
    get(site, target)
    assert_alone(target)
    assert ranges(site) == [None, "bytes=10000-", None]


# ----------------------------------------------------------------------------------- damaged


def test_a_damaged_file_is_fetched_once_more(site, target):
    site.damages = 1
    get(site, target)
    assert_alone(target)
    assert len(site.requests) == 2


def test_an_md5_is_checked_where_nothing_better_was_published(site, target):
    md5 = hashlib.md5(CONTENT).hexdigest()
    get(site, target, sha256="", md5=md5[:6].upper())
    assert_alone(target, f"{target.name}.sha256")
    target.unlink()
    with pytest.raises(ValueError, match=f"found a file with MD5 {md5}, expected 012345.*twice"):
        get(site, target, sha256="", md5="012345")
    assert [p.name for p in target.parent.iterdir()] == [f"{target.name}.sha256"]


def test_a_file_that_is_always_damaged_is_refused_and_not_kept(site, target):
    site.damages = 100
    with pytest.raises(ValueError, match=f"expected {SUM}, twice"):
        get(site, target)
    assert list(target.parent.iterdir()) == []


def test_damage_in_what_an_earlier_run_left_is_found(site, target):
    site.cuts = [10_000]
    with pytest.raises(ValueError, match="failed"):
        get(site, target, attempts=1)
    part = target.with_name("file.bin.part")
    part.write_bytes(b"x" + part.read_bytes()[1:])
    get(site, target)
    assert_alone(target)


def test_a_login_page_is_recognized_by_its_size(site, target):
    with pytest.raises(ValueError, match=r"64000 bytes, expected 12345.*login page"):
        get(site, target, size=12345)
    assert not target.exists()


def test_a_file_that_was_changed_on_disk_is_reported(site, target):
    get(site, target)
    target.write_bytes(b"other")
    with pytest.raises(ValueError, match="delete it, and it will be fetched again"):
        get(site, target)
    with pytest.raises(ValueError, match="found SHA-256"):
        check_sum(target, sha256=SUM[:6])
    assert target.read_bytes() == b"other"


# ------------------------------------------------------------------------- errors of the server


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_final_status_is_not_requested_again(status, site, target):
    site.statuses = [status] * 5
    with pytest.raises(ValueError, match=f"answered {status} .*by hand and put it at"):
        get(site, target)
    assert len(site.requests) == 1


def test_a_request_is_repeated_after_a_server_error(site, target):
    site.statuses = [503, 500]
    get(site, target)
    assert_alone(target)


def test_a_server_that_keeps_failing_ends_in_a_clear_error(site, target):
    site.statuses = [503] * 10
    with pytest.raises(ValueError, match="answered 503"):
        get(site, target)
    assert len(site.requests) == QUICK["attempts"]


def test_no_server_at_the_address(target):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/file.bin"
    with pytest.raises(ValueError, match="by hand and put it at") as caught:
        fetch(url, target, **QUICK)
    assert url in str(caught.value)
    assert str(target) in str(caught.value)


def test_offline_the_message_comes_at_once_and_says_what_to_do(target, monkeypatch):
    calls = []

    def no_address(*args, **kwargs):
        calls.append(args)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_address)
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("waited"))
    url = "http://nowhere.example/file.bin"
    with pytest.raises(ValueError, match="Name or service not known") as caught:
        fetch(url, target)
    assert f"fetch {url} by hand and put it at {target}" in str(caught.value)
    assert len(calls) == 1


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x/y", "data:,x", "/etc/passwd"])
def test_only_http_is_followed(url, target):
    with pytest.raises(ValueError, match="expected one"):
        fetch(url, target)


def test_a_full_disk_is_reported_before_anything_is_fetched(site, target, monkeypatch):
    usage = type("Usage", (), {"free": download.SPARE + 63_999})
    monkeypatch.setattr(download.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(OSError, match=r"0\.3 GB free.*another disk"):
        get(site, target)
    assert not target.exists()


def test_the_disk_of_a_folder_that_is_not_there_yet(tmp_path):
    require_disk(tmp_path / "a" / "b", 1, "test")
    with pytest.raises(OSError, match="test: found"):
        require_disk(tmp_path / "a" / "b", 10**18, "test")


def test_two_processes_that_need_one_file_fetch_it_once(site, target):
    program = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from pfpn.data.download import fetch
        fetch(sys.argv[1], Path(sys.argv[2]), sha256=sys.argv[3])
        """
    )
    command = [sys.executable, "-c", program, f"{site.url}/file.bin", str(target), SUM]
    both = [subprocess.Popen(command, cwd=ROOT, env=os.environ | {"no_proxy": "*"}) for _ in "ab"]
    assert [process.wait(300) for process in both] == [0, 0]
    assert_alone(target)
    assert len(site.requests) == 1


def test_a_part_of_another_origin_is_kept(site, target):
    target.parent.mkdir()
    part = target.with_name("file.bin.part")
    part.write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"file\.bin\.part: found a file of another origin"):
        get(site, target)
    assert part.read_bytes() == b"mine"
    assert site.requests == []


def test_a_download_renames_no_open_file_as_windows_demands(site, target, monkeypatch):
    replace, opened = Path.replace, []

    def strict(self, to):
        handles = [os.path.realpath(handle) for handle in Path("/proc/self/fd").iterdir()]
        opened.extend(set(handles) & {str(self), str(to)})
        return replace(self, to)

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("looks at Linux' list of open files")
    monkeypatch.setattr(Path, "replace", strict)
    site.damages = 1
    get(site, target)
    assert_alone(target)
    assert opened == []


# ---------------------------------------------------------------------------------- the cache


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("PFPN_CACHE", str(tmp_path / "mine"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("PFPN_CACHE")
    assert cache_folder() == tmp_path / "xdg" / "pfpn"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "pfpn"


# ----------------------------------------------------------------------------------- COCO


def zip_of(members: dict[str, bytes]) -> bytes:
    import io

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return file.getvalue()


@pytest.fixture
def coco(site) -> dict:
    """A COCO of two splits with two images each, as its archives are built, on the server."""
    splits = ("train2017", "val2017")
    outer = {}
    archives = {}
    for split in splits:
        numbers = [f"{i:012d}" for i in (3, 70)]
        images = {f"{split}/": b""} | {f"{split}/{n}.jpg": n.encode() for n in numbers}
        site.files[f"/zips/{split}.zip"] = zip_of(images)
        truth = {f"panoptic_{split}/{n}.png": b"png" + n.encode() for n in numbers}
        rubbish = {f"__MACOSX/panoptic_{split}/._{n}.png": b"" for n in numbers}
        outer[f"annotations/panoptic_{split}.zip"] = zip_of(truth | rubbish)
        outer[f"annotations/panoptic_{split}.json"] = f'"{split}"'.encode()
    site.files["/panoptic.zip"] = zip_of(outer)
    for path, content in site.files.items():
        archives[path] = Archive(site.url + path, len(content), hashlib.sha256(content).hexdigest())
    return {
        "images": {split: archives[f"/zips/{split}.zip"] for split in splits},
        "panoptic": archives["/panoptic.zip"],
    }


def listing(root: Path) -> set[str]:
    return {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}


def layout(split: str) -> set[str]:
    numbers = ("000000000003", "000000000070")
    return (
        {f"{split}/{n}.jpg" for n in numbers}
        | {f"annotations/panoptic_{split}/{n}.png" for n in numbers}
        | {f"annotations/panoptic_{split}.json"}
    )


def test_coco_ends_in_the_layout_that_is_read(coco, tmp_path):
    root = tmp_path / "coco"
    said = []
    found = download_coco(root, **coco, say=said.append)
    assert listing(root) == layout("train2017") | layout("val2017")
    assert (root / "val2017" / "000000000070.jpg").read_bytes() == b"000000000070"
    assert (root / "annotations" / "panoptic_val2017.json").read_bytes() == b'"val2017"'
    assert (root / "annotations/panoptic_val2017/000000000003.png").read_bytes()[:3] == b"png"
    assert all(path.exists() for path in found)
    assert len(found) == 6
    assert [line.split()[0] for line in said] == ["fetching", "unpacking"] * 3


def test_one_split_fetches_only_what_it_needs(coco, site, tmp_path):
    download_coco(tmp_path, ("val2017",), **coco)
    assert listing(tmp_path) == layout("val2017")
    assert len(site.requests) == 2


def test_a_second_call_fetches_nothing_and_repairs_what_is_missing(coco, site, tmp_path):
    download_coco(tmp_path, ("val2017",), **coco)
    site.requests.clear()
    download_coco(tmp_path, ("val2017",), **coco)
    assert site.requests == []
    (tmp_path / "annotations" / "panoptic_val2017.json").unlink()
    download_coco(tmp_path, ("val2017",), **coco)
    assert listing(tmp_path) == layout("val2017")
    assert len(site.requests) == 1


def test_a_folder_has_its_name_only_when_all_of_it_is_there(coco, tmp_path, monkeypatch):
    real, count = download._copy_member, 0

    def interrupt(packed, member, path):
        nonlocal count
        count += 1
        if count == 2:
            raise KeyboardInterrupt
        real(packed, member, path)

    monkeypatch.setattr(download, "_copy_member", interrupt)
    with pytest.raises(KeyboardInterrupt):
        download_coco(tmp_path, ("val2017",), **coco)
    assert not (tmp_path / "val2017").exists()
    monkeypatch.setattr(download, "_copy_member", real)
    download_coco(tmp_path, ("val2017",), **coco)
    assert listing(tmp_path) == layout("val2017")


def test_what_is_there_already_is_left_as_it_is(coco, site, tmp_path):
    archive = tmp_path / "val2017.zip"
    archive.write_bytes(site.files["/zips/val2017.zip"])  # fetched by hand
    mine = {
        "annotations/panoptic_val2017.json": b"mine",
        "annotations/panoptic_val2017.zip.part": b"mine",
        "val2017.part/000000000003.jpg": b"mine",
        "notes.txt": b"mine",
    }
    for name, content in mine.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    download_coco(tmp_path, ("val2017",), **coco)
    for name, content in mine.items():
        assert (tmp_path / name).read_bytes() == content
    assert listing(tmp_path) == layout("val2017") | mine.keys() | {"val2017.zip"}


def test_a_data_set_is_fetched_by_one_process_at_a_time(coco, tmp_path):
    with claim(tmp_path, "download"), pytest.raises(ClaimedError, match="in use by"):
        download_coco(tmp_path, ("val2017",), **coco)
    download_coco(tmp_path, ("val2017",), **coco)


def test_an_unknown_split_is_refused(coco, tmp_path):
    with pytest.raises(
        ValueError, match=r"'test2017', expected some of \['train2017', 'val2017'\]"
    ):
        download_coco(tmp_path, ("test2017",), **coco)


def test_coco_checks_the_free_disk_space_first(tmp_path, site, monkeypatch):
    usage = type("Usage", (), {"free": 40 * 10**9})
    monkeypatch.setattr(download.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(OSError, match=r"COCO: found 40\.0 GB free, expected 42\.3 GB"):
        download_coco(tmp_path / "coco")


def test_no_member_of_an_archive_is_written_elsewhere(tmp_path):
    names = [
        "val2017/good.jpg",
        "val2017/../../bad.jpg",
        "val2017/sub/bad.jpg",
        "/val2017/bad.jpg",
        "../val2017/bad.jpg",
        "val2017\\..\\bad.jpg",
        "xval2017/bad.jpg",
        "val2017/bad.exe",
    ]
    path = tmp_path / "in" / "a.zip"
    path.parent.mkdir()
    path.write_bytes(zip_of(dict.fromkeys(names, b"x")))
    with zipfile.ZipFile(path) as packed:
        unpack_folder(packed, "val2017", ".jpg", tmp_path / "in" / "val2017")
    assert listing(tmp_path) == {"in/a.zip", "in/val2017/good.jpg"}


def test_an_archive_of_something_else_is_refused(tmp_path, site):
    path = tmp_path / "a.zip"
    path.write_bytes(zip_of({"other/x.jpg": b""}))
    with zipfile.ZipFile(path) as packed, pytest.raises(ValueError, match="found no file val2017"):
        unpack_folder(packed, "val2017", ".jpg", tmp_path / "val2017")


# -------------------------------------------------------------------------------- Cityscapes


def test_cityscapes_is_complete_or_each_gap_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "CITYSCAPES_IMAGES", {"train": 2, "val": 1})
    assert len(check_cityscapes(tmp_path)) == 6
    for split, count in (("train", 2), ("val", 1)):
        truth = tmp_path / "gtFine" / f"cityscapes_panoptic_{split}"
        images = tmp_path / "leftImg8bit" / split / "ulm"
        for folder in (truth, images):
            folder.mkdir(parents=True)
        truth.with_suffix(".json").touch()
        for i in range(count):
            (images / f"ulm_{i}_leftImg8bit.png").touch()
            (truth / f"ulm_{i}_gtFine_panoptic.png").touch()
    assert check_cityscapes(tmp_path) == []
    (tmp_path / "leftImg8bit" / "val" / "ulm" / "ulm_0_leftImg8bit.png").unlink()
    (finding,) = check_cityscapes(tmp_path)
    assert "val" in finding
    assert "found 0 files, expected 1" in finding
