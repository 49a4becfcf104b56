"""A run folder: claimed by one process, listed file by file, and good to go on from."""

import itertools
import os
import shutil
from dataclasses import replace

import pytest
import torch

from pfpn.cli import main
from pfpn.engine import distributed
from pfpn.engine import run as run_module
from pfpn.engine.checkpoint import BEST, CONFIG, LAST, WEIGHTS, load_checkpoint, load_weights
from pfpn.engine.config import TrainConfig, from_json
from pfpn.engine.record import RECORD, read_record
from pfpn.engine.rows import log_rows, read_rows
from pfpn.engine.train import train
from pfpn.files import KEPT, claim
from tests.engine.conftest import Blocks


def run(config, out, blocks, *, steps=None, **kwargs):
    """Train, perhaps stop after `steps` steps, keep the rows and return them."""
    count = itertools.count(1)
    stop = (lambda: False) if steps is None else (lambda: next(count) >= steps)
    rows = train(config, out, datasets=blocks, stop=stop, **kwargs)
    return list(log_rows(rows, out, events=False))


def same_weights(one, two) -> bool:
    one, two = (load_weights(folder).model.state_dict() for folder in (one, two))
    return all(torch.equal(one[key], two[key]) for key in one)


def test_machines_that_do_not_share_the_folder_are_refused(tiny, blocks, tmp_path, monkeypatch):
    list(train(tiny(max_steps=1), tmp_path, datasets=blocks))
    plain = distributed.gather
    monkeypatch.setattr(distributed, "gather", lambda value: [1, 0] if value == 1 else plain(value))
    with pytest.raises(ValueError, match=r"step 1 on 1 of 2 processes.*machines share"):
        list(train(tiny(max_steps=1), tmp_path, resume=True, datasets=blocks))


def test_a_folder_with_a_run_is_not_overwritten(tiny, blocks, tmp_path):
    run(tiny(max_steps=1), tmp_path, blocks)
    before = (tmp_path / LAST).read_bytes()
    with pytest.raises(ValueError, match="--resume"):
        run(tiny(max_steps=1), tmp_path, blocks)
    assert (tmp_path / LAST).read_bytes() == before


def test_another_recipe_cannot_go_on_with_a_run(tiny, blocks, tmp_path):
    run(tiny(max_steps=1), tmp_path, blocks)
    with pytest.raises(ValueError, match=r"optim.lr=0.5 \(was 0.002\), seed=3 \(was 0\)"):
        run(tiny(max_steps=2, lr=0.5, seed=3), tmp_path, blocks, resume=True)
    assert from_json(TrainConfig, (tmp_path / CONFIG).read_text()).seed == 0


@pytest.mark.parametrize("name", [LAST, BEST, WEIGHTS, CONFIG, RECORD])
def test_no_run_begins_over_what_is_left_of_another(name, tiny, blocks, tmp_path):
    (tmp_path / name).write_bytes(b"left")
    with pytest.raises(ValueError, match=f"found a run \\({name}\\)"):
        run(tiny(max_steps=1), tmp_path, blocks)
    assert (tmp_path / name).read_bytes() == b"left"


def test_a_lost_checkpoint_is_an_error_that_names_the_best_one(tiny, blocks, tmp_path):
    config = tiny(eval_every=3)
    run(config, tmp_path / "whole", blocks)
    out = tmp_path / "cut"
    run(config, out, blocks)
    rows = read_rows(out)
    (out / LAST).unlink()
    with pytest.raises(ValueError, match=r"last\.pt: found no such file but best\.pt") as error:
        run(config, out, blocks, resume=True)
    step = load_checkpoint(out / BEST)["step"]
    assert f"{out / BEST} holds step {step}: copy it to {out / LAST}" in str(error.value)
    assert read_rows(out) == rows  # none was dropped
    shutil.copy(out / BEST, out / LAST)
    assert run(config, out, blocks, resume=True)[0]["step"] == step
    assert same_weights(tmp_path / "whole", out)


def test_weights_that_are_left_alone_are_named(tiny, blocks, tmp_path):
    run(tiny(max_steps=1), tmp_path, blocks)
    for name in (LAST, BEST):
        (tmp_path / name).unlink()
    with pytest.raises(ValueError, match=f"begin a new run with init={tmp_path / WEIGHTS}"):
        run(tiny(max_steps=1), tmp_path, blocks, resume=True)


@pytest.mark.parametrize("position", [0.2, 0.5, 0.9, 0.999])
def test_one_changed_byte_of_the_checkpoint_is_refused(position, tiny, blocks, tmp_path):
    config = tiny(max_steps=1)
    run(config, tmp_path, blocks)
    content = bytearray((tmp_path / LAST).read_bytes())
    content[int(position * len(content))] ^= 16
    (tmp_path / LAST).write_bytes(content)
    with pytest.raises(ValueError, match=r"not as it was written \(its SHA-256 differs\)") as error:
        run(replace(config, max_steps=2), tmp_path, blocks, resume=True)
    assert "best.pt holds step 1: copy it" in str(error.value)
    assert (tmp_path / LAST).read_bytes() == content


def test_a_damaged_checkpoint_of_a_run_without_a_list_is_refused_too(tiny, blocks, tmp_path):
    """Its parts have checksums; versions before the list wrote it so."""
    config = tiny(max_steps=1)
    run(config, tmp_path, blocks)
    shutil.rmtree(tmp_path / KEPT)
    good = (tmp_path / LAST).read_bytes()
    content = bytearray(good)
    content[len(content) // 2] ^= 16
    (tmp_path / LAST).write_bytes(content)
    with pytest.raises(ValueError, match=r"no readable checkpoint.*best\.pt holds step 1: copy it"):
        run(replace(config, max_steps=2), tmp_path, blocks, resume=True)
    shutil.rmtree(tmp_path / KEPT)
    (tmp_path / LAST).write_bytes(good)
    rows = run(tiny(max_steps=2), tmp_path, blocks, resume=True)
    assert (rows[0]["step"], rows[-1]["step"]) == (1, 2)


def test_two_classes_that_change_places_cannot_go_on(tiny, blocks, tmp_path):
    run(tiny(max_steps=1), tmp_path, blocks)
    sky, bright, ground, dark = Blocks.categories
    for categories in (
        (sky, replace(bright, name="dark"), ground, replace(dark, name="bright")),
        (replace(sky, name="water"), bright, ground, dark),
        (sky, replace(bright, id=5), ground, dark),
    ):
        other = Blocks(5), Blocks(2)
        for dataset in other:
            dataset.categories = categories
        with pytest.raises(ValueError, match="on other classes than the data set's: found '"):
            run(tiny(max_steps=2), tmp_path, other, resume=True)
    colored = tuple(replace(c, color=(1, 2, 3)) for c in Blocks.categories)
    for dataset in blocks:
        dataset.categories = colored
    assert run(tiny(max_steps=2), tmp_path, blocks, resume=True)[-1]["step"] == 2


def test_a_second_run_in_a_folder_is_refused_while_the_first_goes_on(tiny, blocks, tmp_path):
    out = tmp_path / "run"
    first = log_rows(train(tiny(), out, datasets=blocks), out, events=False)
    next(first)
    for resume in (False, True):
        with pytest.raises(ValueError, match=rf"in use by .*process {os.getpid()} on .*, since 20"):
            run(tiny(), out, blocks, resume=resume)
    assert [row["kind"] for row in first] == ["train", "train", "train", "eval", "end"]
    assert len(read_rows(out)) == 4


def test_a_run_touches_no_file_of_anybody_else(tiny, blocks, tmp_path):
    names = [".draft.tmp", ".last.pt.abc.tmp", "notes.txt", "last.pt.bak", "sub/.x.tmp"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    run(tiny(max_steps=1), tmp_path, blocks)
    run(tiny(max_steps=2), tmp_path, blocks, resume=True)
    assert [(tmp_path / name).read_text() for name in names] == names


@pytest.mark.parametrize("name", [BEST, WEIGHTS, RECORD])
def test_a_file_of_another_origin_is_refused_at_the_start(name, tiny, blocks, tmp_path):
    run(tiny(max_steps=1), tmp_path, blocks)
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(ValueError, match=f"{name}: found a file that was changed since"):
        run(tiny(max_steps=2), tmp_path, blocks, resume=True)
    assert (tmp_path / name).read_bytes() == b"mine"
    assert load_checkpoint(tmp_path / LAST)["step"] == 1


def test_resuming_needs_neither_the_network_nor_the_first_weights(
    tiny, blocks, tmp_path, monkeypatch
):
    """The checkpoint holds all of them."""
    fetched = []
    monkeypatch.setattr(run_module, "load_imagenet", lambda *args: fetched.append(args))
    config = tiny(imagenet=True)
    # Of another backbone, so that ImageNet's weights are needed
    run(tiny(max_steps=1, width=2 * config.model.width), tmp_path / "first", blocks)
    config = replace(config, init=str(tmp_path / "first"))
    run(config, tmp_path / "whole", blocks)
    run(config, tmp_path / "cut", blocks, steps=2)
    assert len(fetched) == 2
    shutil.rmtree(tmp_path / "first")
    run(config, tmp_path / "cut", blocks, resume=True)
    assert len(fetched) == 2
    assert same_weights(tmp_path / "whole", tmp_path / "cut")
    first, second = read_record(tmp_path / "cut")
    assert first["data"]["init"] == second["data"]["init"]


def test_tensors_that_stay_random_are_named_at_the_start(tiny, blocks, tmp_path):
    run(tiny(max_steps=1), tmp_path / "first", blocks)
    config = replace(tiny(max_steps=1, mask_channels=24), init=str(tmp_path / "first"))
    notes = run(config, tmp_path / "second", blocks)[0]["notes"]
    _, note = (note for note in notes if note.startswith("init="))
    assert "5 tensors do not fit and keep their random start, in 3 layers: mask_head.c" in note
    config = replace(tiny(max_steps=1), init=str(tmp_path / "first"))
    notes = run(config, tmp_path / "third", blocks)[0]["notes"]
    (note,) = (note for note in notes if "init=" in note or "<-" in note)
    assert note.endswith("4 of 4 classes begin with trained rows")


def test_weights_of_another_arithmetic_are_refused_before_anything_is_written(
    tiny, blocks, tmp_path, capsys
):
    run(tiny(max_steps=1), tmp_path / "first", blocks)
    config = replace(tiny(max_steps=1, channel_order="BGR"), init=str(tmp_path / "first"))
    with pytest.raises(ValueError, match=r"trained with model.channel_order=RGB, expected"):
        run(config, tmp_path / "second", blocks)
    assert not (tmp_path / "second").exists()


def test_a_weights_file_that_a_kill_left_behind_is_written_anew(tiny, blocks, tmp_path):
    """The checkpoint comes first; the weights of an older step may lie beside it."""
    run(tiny(max_steps=1), tmp_path, blocks)
    shutil.copy(tmp_path / WEIGHTS, tmp_path / "older")
    run(tiny(max_steps=2), tmp_path, blocks, resume=True)
    shutil.copy(tmp_path / WEIGHTS, tmp_path / "newer")
    with claim(tmp_path, "train") as output:
        output.write(WEIGHTS, (tmp_path / "older").read_bytes())
    assert not same_weights(tmp_path, tmp_path / "newer")
    run(tiny(max_steps=2), tmp_path, blocks, resume=True)
    assert same_weights(tmp_path, tmp_path / "newer")


def test_what_is_no_checkpoint_of_a_run_is_refused_in_one_line(tiny, blocks, tmp_path, capsys):
    torch.save({"format": 1, "step": 3}, tmp_path / LAST)
    with pytest.raises(
        ValueError, match=r"last\.pt: found no average, expected a run's checkpoint"
    ):
        run(tiny(max_steps=1), tmp_path, blocks, resume=True)
    assert main(["train", "toy", "--out", str(tmp_path), "--resume"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
