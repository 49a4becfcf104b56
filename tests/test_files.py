import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pfpn import files
from pfpn.files import (
    FILES,
    KEPT,
    ClaimedError,
    Output,
    claim,
    claim_file,
    name_problem,
    path_problem,
    printable,
    require_distinct,
    temporary_beside,
    write_atomically,
)

ROOT = Path(__file__).resolve().parents[1]


# names and text


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", " ", "a/b", "a\\b", "/a", "\\\\server\\a", "C:a", "C:\\a", "../a", "a\0b",
        "a\nb", "a\x1b[31m", "a\x7f", "a\x85", "a\u2028b", "a\u202eb", "\ud800", "a.", "a ", "con",
        "CON.png", "nul", "Com1.tar.gz", "lpt9", "a" * 256, "é" * 128, 7, None, ["a"], b"a",
    ],
)  # fmt: skip
def test_a_name_that_is_not_plain_has_a_problem(name):
    assert name_problem(name)
    assert path_problem(name) or "/" in name


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "a.png",
        ".a",
        "a b",
        "ü",
        "日本",
        "a..b",
        "...a",
        "console",
        "com10",
        "10:00",
        "a" * 255,
    ],
)
def test_a_plain_name_has_none(name):
    assert name_problem(name) is None
    assert path_problem(f"folder/{name}") is None


@pytest.mark.parametrize(
    "path", ["/a", "a//b", "a/", "a/../b", "a/./b", "a/b\0", "con/a", "a\\b/c"]
)
def test_a_path_consists_of_plain_names(path):
    assert path_problem(path)


def test_names_are_distinct_where_case_and_accents_do_not_count():
    require_distinct(["a", "b", "a.png"], "images")
    for names in (["a", "a"], ["a", "A"], ["\u00e9", "e\u0301"], ["straße", "STRASSE"]):
        with pytest.raises(ValueError, match=r"images: found .*, expected names that differ"):
            require_distinct(names, "images")


def test_control_characters_are_shown_as_escapes():
    assert printable("a\x1b[2K\rb\nc\u202e\ud800é日") == "a\\x1b[2K\\rb\\nc\\u202e\\ud800é日"
    assert printable("a\nb\r", keep="\n") == "a\nb\\r"
    assert printable(7) == "7"


# one file


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "a.txt"
    write_atomically(path, b"one")
    with pytest.raises(RuntimeError), temporary_beside(path) as temporary:  # noqa: PT012
        temporary.write_bytes(b"two, but")
        assert path.read_bytes() == b"one"
        raise RuntimeError
    assert path.read_bytes() == b"one"
    assert os.listdir(path.parent) == ["a.txt"]
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"


def test_two_writers_of_one_file_have_temporary_names_of_their_own(tmp_path):
    path = tmp_path / "a"
    with temporary_beside(path) as one, temporary_beside(path) as two:
        one.write_bytes(b"1")
        two.write_bytes(b"2")
        assert one != two
        assert f"-{os.getpid()}-" in one.name
    assert path.read_bytes() == b"1"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_the_umask_decides_who_may_read(tmp_path):
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a", b"")
        with claim(tmp_path, "test") as output:
            output.write("b", b"")
    finally:
        os.umask(before)
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in "ab"} == {0o640}


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_names_the_file_and_keeps_what_was_there(tmp_path, monkeypatch):
    with claim(tmp_path, "test") as output:
        output.write("a", b"one")
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            for write in (output.write, lambda name, c: write_atomically(tmp_path / name, c)):
                with pytest.raises(OSError, match="No space left on device") as raised:
                    write("a", b"two")
                assert str(raised.value).startswith(f"{tmp_path / 'a'}: could not be written")
                assert raised.value.errno == errno.ENOSPC
    assert (tmp_path / "a").read_bytes() == b"one"
    assert not list(tmp_path.rglob("*.tmp"))


def test_an_error_of_reading_in_the_block_keeps_its_own_words(tmp_path):
    other = tmp_path / "other"
    with pytest.raises(OSError, match="other") as raised, temporary_beside(tmp_path / "a"):
        raise PermissionError(errno.EACCES, "Permission denied", str(other))
    assert "could not be written" not in str(raised.value)


@pytest.fixture
def windows(monkeypatch):
    """Windows' rules: sync only what is open for writing; rename nothing that is open."""
    fcntl = pytest.importorskip("fcntl", reason="Windows has these rules by itself")
    sync, replace = os.fsync, os.replace

    def fsync(handle):
        if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        sync(handle)

    def open_files():
        for handle in Path("/proc/self/fd").iterdir():
            try:
                yield os.readlink(handle)
            except OSError:  # that of the listing itself
                continue

    def replace_(source, target):
        busy = {os.path.abspath(source), os.path.abspath(target)} & set(open_files())
        if busy:
            raise PermissionError(errno.EACCES, "open in a process", busy.pop())
        replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace_)
    monkeypatch.setattr(Path, "replace", lambda self, target: replace_(self, target))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks at Linux' list of open files")
def test_writing_follows_the_rules_of_windows(windows, tmp_path):
    write_atomically(tmp_path / "a", b"1")
    write_atomically(tmp_path / "a", b"2")
    with claim(tmp_path, "test") as output:
        output.write("b", b"1")
        output.write("b", b"2")
        output.remove("b")
    with (tmp_path / "a").open("rb"), pytest.raises(OSError, match="could not be written"):
        write_atomically(tmp_path / "a", b"3")
    assert (tmp_path / "a").read_bytes() == b"2"


# an output folder


def test_a_command_replaces_what_it_wrote_itself(tmp_path):
    for content in (b"one", b"two", b"three"):
        with claim(tmp_path, "predict") as output:
            output.write("sub/a.png", content)
            output.write("sub/a.png", content + b"!")
            assert output.names() == ["sub/a.png"]
    assert (tmp_path / "sub/a.png").read_bytes() == b"three!"


@pytest.mark.parametrize("kind", ["foreign", "changed", "another command's", "link", "folder"])
def test_nothing_else_is_replaced_or_removed(kind, tmp_path):
    path = tmp_path / "a.png"
    with claim(tmp_path, "train" if kind == "another command's" else "predict") as output:
        if kind in ("changed", "another command's", "link"):
            output.write("a.png", b"one")
    if kind == "link":
        path.rename(tmp_path / "photo.png")
        path.symlink_to("photo.png")
    elif kind == "folder":
        path.mkdir()
    elif kind != "another command's":
        path.write_bytes(b"two")
    before = None if kind == "folder" else path.read_bytes()
    with claim(tmp_path, "predict") as output:
        assert not output.is_own("a.png")
        refused = pytest.raises(ValueError, match=r"a\.png: found a file .* Nothing was replaced")
        with refused:
            output.require_free(["b.png", "a.png"])
        with refused:
            output.write("a.png", b"three")
        with refused:
            output.remove("a.png")
        with refused:
            output.own("a.png")
        output.write("b.png", b"")
    assert before is None or path.read_bytes() == before
    assert path.is_symlink() == (kind == "link")


def test_a_file_that_appears_while_another_is_being_written_stays(tmp_path):
    refused = pytest.raises(ValueError, match="Nothing was replaced")
    with claim(tmp_path, "predict") as output:  # noqa: SIM117
        with refused, output.file("a") as temporary:
            temporary.write_bytes(b"ours")
            (tmp_path / "a").write_bytes(b"theirs")
    assert (tmp_path / "a").read_bytes() == b"theirs"


def test_an_input_is_not_replaced_even_if_it_is_the_commands_own(tmp_path):
    with claim(tmp_path, "predict") as output:
        output.write("a.png", b"one")
        (tmp_path / "link.png").symlink_to("a.png")
        for path in (tmp_path / "a.png", tmp_path / "link.png", str(tmp_path / "x/../a.png")):
            (tmp_path / "x").mkdir(exist_ok=True)
            with pytest.raises(ValueError, match="found an input"):
                output.require_free(["a.png"], [path])
        output.require_free(["a.png", "b.png"], [tmp_path / "none", "nul\0"])


def test_a_log_that_grows_stays_the_commands_own(tmp_path):
    with claim(tmp_path, "train") as output:
        output.own("log")
        (tmp_path / "log").write_text("1")
    with claim(tmp_path, "train") as output:
        assert output.is_own("log")
        output.own("log")
        (tmp_path / "other").write_text("of another part")
        assert not output.is_own("other")
        output.adopt("other")
        assert output.names() == ["log", "other"]
        assert (output.sums("log"), len(output.sums("other"))) == ({""}, 1)
        assert output.sums("none") == set()
        output.remove("other")
        output.remove("other")
        assert output.names() == ["log"]


def test_a_file_beside_the_folder_can_be_written(tmp_path):
    for content in (b"1", b"2"):
        with claim(tmp_path / "out", "evaluate") as output:
            output.write("../out.json", content)
    assert (tmp_path / "out.json").read_bytes() == b"2"


def test_one_file_is_claimed_before_any_work_is_done(tmp_path):
    path = tmp_path / "scores.json"
    for content in (b"1", b"2"):
        with claim_file(path, "score") as output:
            output.write(path.name, content)
    assert path.read_bytes() == b"2"
    with pytest.raises(ValueError, match="found an input"), claim_file(path, "score", [path]):
        pass
    path.write_bytes(b"mine")
    with pytest.raises(ValueError, match="changed since"), claim_file(path, "score"):
        pass
    with pytest.raises(ValueError, match="found a folder"), claim_file(tmp_path, "score"):
        pass


HOLD = """
import sys, time
from pfpn.files import claim
with claim(sys.argv[1], "train", *sys.argv[2:]) as output:
    output.write("a", b"one")
    with output.file("a") as temporary:
        temporary.write_bytes(b"half")
        print("held", flush=True)
        time.sleep(600)
"""


@pytest.mark.parametrize("name", ["", "a"])
def test_a_claim_is_exclusive_and_says_who_holds_it(name, tmp_path):
    words = [name] if name else []
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path), *words], stdout=subprocess.PIPE, cwd=ROOT
    )
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(ClaimedError) as raised, claim(tmp_path, "train", *words):
            pass
        assert str(raised.value).startswith(f"{tmp_path / name}: found it in use by ")
        for word in (f"process {holder.pid} on ", "since 20", str(tmp_path)):
            assert word in str(raised.value)
        with claim(tmp_path, "score", "scores.json") as other:  # another file is not held
            other.write("scores.json", b"{}")
        assert len(list((tmp_path / KEPT).glob("*.tmp"))) == 1
    finally:
        holder.kill()
        holder.communicate()
    # The killed process holds nothing, and what it was writing is cleared away.
    with claim(tmp_path, "train", *words) as output:
        assert not list((tmp_path / KEPT).glob("*.tmp"))
        assert output.is_own("a")
        assert (tmp_path / "a").read_bytes() == b"one"


def test_a_claim_through_which_nothing_was_written_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), claim(tmp_path / "new" / "out", "train"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "out").mkdir()
    with claim(tmp_path / "out", "score", "a"):
        with claim(tmp_path / "out", "score", "b"):
            pass
        with pytest.raises(ClaimedError), claim(tmp_path / "out", "score", "a"):
            pass
        (tmp_path / "out" / "mine").write_text("")
    assert os.listdir(tmp_path / "out") == ["mine"]
    with claim(tmp_path / "out", "score") as output:
        output.write("a", b"")
    with claim(tmp_path / "out", "score"):
        pass
    assert Output(tmp_path / "out", "score").names() == ["a"]


def test_a_claim_is_exclusive_within_a_process_too(tmp_path):
    with claim(tmp_path, "train"):
        with pytest.raises(ClaimedError), claim(tmp_path, "predict"):
            pass
        with claim(tmp_path / "inner", "train"):
            pass
    with claim(tmp_path, "train"):
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on Windows")
def test_a_forked_process_does_not_end_the_claim(tmp_path):
    with claim(tmp_path, "train"):
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        with pytest.raises(ClaimedError), claim(tmp_path, "train"):
            pass


def test_where_a_file_is_no_folder_is_made(tmp_path):
    (tmp_path / "out").write_text("mine")
    for folder in (tmp_path / "out", tmp_path / "out" / "inner"):
        with pytest.raises(ValueError, match="found a file, expected a folder"), claim(folder, "x"):
            pass
    assert (tmp_path / "out").read_text() == "mine"


def test_a_list_that_was_cut_short_is_read_as_far_as_it_goes(tmp_path):
    with claim(tmp_path, "x") as output:
        output.write("a", b"1")
    with (tmp_path / KEPT / FILES).open("ab") as file:
        file.write(b'{"file": "b", "sha')
    with claim(tmp_path, "x") as output:
        assert output.is_own("a")
        output.write("c", b"3")
    assert Output(tmp_path, "x").names() == ["a", "c"]
    lines = (tmp_path / KEPT / FILES).read_text().splitlines()
    assert sum(json.loads(line).get("file") == "c" for line in lines if line.endswith("}")) == 1


def interrupt(*_):
    raise KeyboardInterrupt


def test_a_kill_between_listing_and_renaming_leaves_both_versions_own(tmp_path, monkeypatch):
    with claim(tmp_path, "x") as output:
        output.write("a", b"old")
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", interrupt)
            with pytest.raises(KeyboardInterrupt):
                output.write("a", b"new")
    with claim(tmp_path, "x") as output:
        assert output.is_own("a")
        (tmp_path / "a").write_bytes(b"new")
        assert output.is_own("a")


def test_a_large_file_is_not_read_again_each_time_it_is_replaced(tmp_path, monkeypatch):
    with claim(tmp_path, "train") as output:
        output.write("last.pt", b"1")
        hashed = []
        plain = files.sha256_of
        monkeypatch.setattr(
            files, "sha256_of", lambda path: hashed.append(path.name) or plain(path)
        )
        output.write("last.pt", b"2")
        assert [name for name in hashed if not name.endswith(".tmp")] == []
        time.sleep(0.01)
        (tmp_path / "last.pt").write_bytes(b"3")  # as long as before
        with pytest.raises(ValueError, match="changed since"):
            output.write("last.pt", b"4")


def test_processes_that_write_together_share_one_list(tmp_path):
    with claim(tmp_path, "evaluate") as main:
        other = Output(tmp_path, "evaluate")  # of another rank
        main.write("a", b"1")
        other.write("b", b"2")
    assert Output(tmp_path, "evaluate").names() == ["a", "b"]
