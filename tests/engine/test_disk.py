"""Where nothing can be written, a run ends with an error and keeps what it has."""

import errno
import itertools
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pfpn.cli import main
from pfpn.engine.checkpoint import BEST, LAST, METRICS, WEIGHTS, load_checkpoint, load_weights
from pfpn.engine.config import fit_to_categories
from pfpn.engine.memory import checkpoint_bytes
from pfpn.engine.train import log_rows, read_rows, train
from pfpn.files import KEPT, claim

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    "batch_size=2", "max_steps=4", "log_every=1", "save_every=2", "eval_images=1", "device=cpu",
    "data.toy_size=64,96", "data.toy_train_images=3", "data.toy_val_images=1", "data.cache=false",
    "model.width=0.125", "model.pyramid_channels=16", "model.semantic_channels=16",
    "model.box_hidden=16", "model.mask_channels=16", "model.mask_convs=1", "threads=1",
]  # fmt: skip


def run(out: Path, config, blocks) -> None:
    for _ in train(config, out, datasets=blocks):
        pass


def full_after(writes: int, monkeypatch) -> None:
    """Let the disk be full from a write on, after the first bytes of it."""
    plain, count = Path.write_bytes, itertools.count(1)

    def write_bytes(path, content):
        if next(count) >= writes:
            plain(path, content[:100])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return plain(path, content)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)


# Config, record and rows come first; then checkpoint and weights of each save, of which there are
# three: at step 3, at step 6, and with the best one after the evaluation of step 6.
@pytest.mark.parametrize(
    ("write", "file", "step"),
    [(4, LAST, 0), (6, LAST, 3), (7, WEIGHTS, 6), (8, BEST, 6), (9, LAST, 6)],
)
def test_a_full_disk_ends_the_run_and_keeps_the_checkpoint(
    write, file, step, tiny, blocks, tmp_path, monkeypatch
):
    config = tiny(max_steps=6, save_every=3)
    with monkeypatch.context() as patch:
        full_after(write, patch)
        rows = log_rows(train(config, tmp_path, datasets=blocks), tmp_path, events=False)
        with pytest.raises(OSError, match=r"No space left on device.*expected room") as error:
            list(rows)
    assert str(tmp_path / file) in str(error.value)
    if step:
        assert load_checkpoint(tmp_path / LAST)["step"] == step
        load_weights(tmp_path)
    assert not list((tmp_path / KEPT).glob("*.tmp"))
    rows = list(train(config, tmp_path, datasets=blocks, resume=True))
    assert (rows[0]["step"], rows[-1]["step"]) == (step, 6)
    assert load_checkpoint(tmp_path / BEST)["step"] == 6


def test_too_little_room_is_reported_before_anything_is_learned(
    tiny, blocks, tmp_path, monkeypatch
):
    config = tiny(max_steps=1)
    run(tmp_path / "first", config, blocks)
    size = (tmp_path / "first" / LAST).stat().st_size
    model = fit_to_categories(config.model, blocks[0].categories)
    counted = checkpoint_bytes(replace(config, model=model))
    assert counted == pytest.approx(size, rel=0.1)
    for free, fits in ((3 * counted, True), (3 * counted - 1, False)):
        usage = shutil.disk_usage(tmp_path)._replace(free=free)
        monkeypatch.setattr(shutil, "disk_usage", lambda path, usage=usage: usage)
        if fits:
            run(tmp_path / "second", config, blocks)
        else:
            with pytest.raises(ValueError, match=r"found \d.\d\d GiB free on the disk, expected"):
                run(tmp_path / "third", config, blocks)


def test_rows_that_cannot_be_appended_are_an_error_that_names_their_file(tmp_path):
    rows = iter([{"kind": "start", "step": 0}, {"kind": "train", "step": 1, "loss": 1.0}])
    with claim(tmp_path, "train"):
        logged = log_rows(rows, tmp_path, events=False)
        next(logged)
        (tmp_path / METRICS).unlink()
        (tmp_path / METRICS).symlink_to("/dev/full")
        with pytest.raises(OSError, match=f"{METRICS}: could not be written"):
            next(logged)


def test_a_folder_that_cannot_be_written_to_is_refused_before_anything_is_learned(
    tmp_path, monkeypatch, capsys
):
    def refuse(*args, **kwargs):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("pfpn.files._create", refuse)
    assert main(["train", "toy", *SMALL, "--out", str(tmp_path / "run")]) == 2
    out, err = capsys.readouterr()
    assert "step" not in out
    assert "Read-only file system" in err
    assert len(err.splitlines()) == 1


def test_a_file_of_the_folders_name_is_refused(tmp_path, capsys):
    (tmp_path / "run").write_text("")
    assert main(["train", "toy", *SMALL, "--out", str(tmp_path / "run")]) == 2
    assert "run: found a file, expected a folder" in capsys.readouterr().err
    assert (tmp_path / "run").read_text() == ""


@pytest.mark.slow
def test_a_real_limit_of_file_size_is_survived_by_a_real_process(tmp_path):
    """The system itself refuses to write on: other code than Python's is met by it, too."""
    out = tmp_path / "run"
    assert main(["train", "toy", *SMALL, "max_steps=2", "--out", str(out)]) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    limit = min((out / LAST).stat().st_size, (out / WEIGHTS).stat().st_size) // 2
    program = (
        f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}));"
        "from pfpn.cli import main; sys.exit(main())"
    )
    words = ["train", "toy", *SMALL, "--out", str(out), "--resume"]
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 2, done.stderr
    assert "could not be written (File too large)" in done.stderr
    for name in (LAST, BEST, WEIGHTS):
        assert (out / name).read_bytes() == before[name]
    assert not list((out / KEPT).glob("*.tmp"))
    assert main([*words]) == 0
    assert [row["step"] for row in read_rows(out) if row["kind"] == "train"] == [1, 2, 3, 4]
