"""A run records what it was made of, and what keeps another machine from repeating it."""

import itertools
import json
import os
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pfpn.cli import main
from pfpn.data.coco import write_coco_panoptic
from pfpn.data.toy import TOY_CATEGORIES, ToyStreet
from pfpn.engine import record
from pfpn.engine.checkpoint import CONFIG, LAST, load_checkpoint
from pfpn.engine.config import TrainConfig, assignments, from_json, override
from pfpn.engine.presets import PRESETS
from pfpn.engine.record import RECORD, fingerprint, read_record
from pfpn.engine.train import train

# The toy preset, but so small that a run takes a second.
SMALL = [
    "batch_size=2", "max_steps=2", "save_every=1", "eval_images=1", "device=cpu", "threads=1",
    "data.toy_size=64,96", "data.toy_train_images=3", "data.toy_val_images=1", "data.cache=false",
    "model.width=0.125", "model.pyramid_channels=16", "model.semantic_channels=16",
    "model.box_hidden=16", "model.mask_channels=16", "model.mask_convs=1", "optim.ema_decay=0.9",
]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "toy"
    assert main(["train", "toy", *SMALL, "--out", str(out)]) == 0
    return out


@pytest.fixture
def changed(trained, tmp_path):
    """A function that copies the record with one entry of its last start changed."""

    def change(value, *keys):
        starts = read_record(trained)
        inner = starts[-1]
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value
        (tmp_path / RECORD).write_text(json.dumps({"format": 1, "starts": starts}))
        return tmp_path

    return change


def test_a_run_records_all_that_it_was_made_of(trained):
    (start,) = read_record(trained)
    assert start["config"] == json.loads((trained / CONFIG).read_text())
    assert start["seed"] == 0
    assert start["step"] == 0
    assert start["versions"]["torch"] == torch.__version__
    assert {"python", "pfpn", "torchvision", "numpy", "pillow"} <= set(start["versions"])
    assert start["hardware"]["device"] == "cpu"
    assert start["hardware"]["world"] == 1
    assert start["hardware"]["threads"] == 1
    assert start["hardware"]["gpus"] == []
    assert start["data"]["train"]["num"] == 3
    assert start["data"]["train"]["first_scene"] != start["data"]["val"]["first_scene"]
    assert start["command"]
    assert start["time"].endswith("+00:00")


def test_every_resumption_adds_an_entry(tiny, blocks, tmp_path):
    count = itertools.count(1)
    list(train(tiny(), tmp_path, datasets=blocks, stop=lambda: next(count) >= 2))
    list(train(tiny(), tmp_path, datasets=blocks, resume=True))
    assert [start["step"] for start in read_record(tmp_path)] == [0, 2]
    assert read_record(tmp_path)[0]["data"]["train"]["given"] == 5


def test_the_printed_command_makes_the_same_weights_again(trained, tmp_path, capsys):
    out = tmp_path / "again"
    assert main(["reproduce", str(trained), "--out", str(out)]) == 0
    program, *words = shlex.split(capsys.readouterr().out)
    assert program == "pfpn"
    assert main(words) == 0
    one, two = (load_checkpoint(folder / LAST)["model"] for folder in (trained, out))
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize("preset", PRESETS)
def test_assignments_turn_a_preset_into_any_other_config(preset):
    before, after = PRESETS[preset](), replace(PRESETS["camvid"](), seed=7, init="a b/c.d")
    assert override(before, assignments(before, after)) == after
    assert assignments(after, after) == []


def test_a_run_of_many_processes_is_started_by_torchrun(changed):
    run = changed(16, "hardware", "world")
    starts = read_record(run)
    starts[-1]["hardware"]["per_node"] = 8
    (run / RECORD).write_text(json.dumps({"format": 1, "starts": starts}))
    words = (
        "torchrun --nnodes 2 --rdzv-backend c10d --rdzv-endpoint FIRST_MACHINE:29500 "
        "--nproc-per-node 8 -m pfpn train toy batch_size=2 "
    )
    assert record.command(run, "new").startswith(words)


def test_a_config_that_is_no_preset_is_started_from_its_file(changed, trained, tmp_path):
    run = changed("custom", "config", "preset")
    words = shlex.split(record.command(run, "new"))
    assert words == ["pfpn", "train", str(run / CONFIG), "--out", "new"]
    file = tmp_path / "mine.json"
    file.write_text((trained / CONFIG).read_text())
    out = tmp_path / "from_file"
    assert main(["train", str(file), "max_steps=1", "--out", str(out)]) == 0
    stored, original = (from_json(TrainConfig, (f / CONFIG).read_text()) for f in (out, trained))
    assert stored == replace(original, max_steps=1)


@pytest.mark.parametrize(
    ("value", "keys", "line"),
    [
        ("2.0.0", ("versions", "torch"), "torch 2.0.0 (here: "),
        ("0" * 64, ("source",), "pfpn's code of "),
        ("0" * 64, ("data", "train", "first_scene"), "data.train.first_scene 000000000000 (here: "),
        ("abacus", ("hardware", "cpu"), "hardware.cpu abacus (here: "),
        (7, ("step",), "the record begins at step 7, expected step 0"),
        (5.0, ("config", "max_minutes"), "max_minutes=5: the clock decided"),
        ("nowhere", ("config", "data", "root"), "data: nowhere/annotations/panoptic_train.json"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_differs_is_listed_and_the_command_withheld(value, keys, line, changed, capsys):
    run = str(changed(value, *keys))
    assert main(["reproduce", run]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert line in err
    assert "1 difference " in err
    assert "--anyway" in err
    assert main(["reproduce", run, "--anyway"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("pfpn train toy ")
    assert out.endswith(f"--out {run}-again\n")
    assert line in err


def test_a_gpu_that_is_not_here_is_a_difference_and_another_processor_beside_it_none(changed):
    machine = {"device": "cuda", "world": 2, "per_node": 2, "gpus": ["H1", "H1"]}
    machine |= {"cpu": "abacus", "vector_units": "none", "threads": 99}
    run = changed(machine, "hardware")
    (line,) = record.differences(run)
    assert line.startswith("hardware.gpus ['H1', 'H1'] (here: ")


def test_a_run_resumed_elsewhere_or_prolonged_is_reported(trained, tmp_path):
    first, second = read_record(trained) * 2
    second = json.loads(json.dumps(second))
    second["step"], second["hardware"]["world"], second["config"]["max_steps"] = 1, 2, 9
    (tmp_path / RECORD).write_text(json.dumps({"format": 1, "starts": [first, second]}))
    assert record.differences(tmp_path) == [
        "resumed at step 1 with hardware.world 2 (before: 1)",
        "resumed at step 1 with max_steps=9 (before: 2)",  # by which the linear schedule goes
    ]
    for start in (first, second):
        start["config"]["optim"]["schedule"] = "step"
    second["hardware"]["world"] = 1
    (tmp_path / RECORD).write_text(json.dumps({"format": 1, "starts": [first, second]}))
    assert record.differences(tmp_path) == []


def test_a_folder_without_a_record_or_with_a_broken_one_is_refused(tmp_path, capsys):
    assert main(["reproduce", str(tmp_path)]) == 2
    assert "found no such file" in capsys.readouterr().err
    for content in ("{", "[]", '{"format": 9, "starts": [1]}', '{"format": 1, "starts": []}'):
        (tmp_path / RECORD).write_text(content)
        with pytest.raises(ValueError, match=r"found no (valid JSON|record)"):
            read_record(tmp_path)


def test_a_folders_fingerprint_is_its_content_wherever_it_is(tmp_path):
    world = ToyStreet(2, size=(64, 96))
    for name in ("a", "b"):
        samples = (world[i] for i in range(2))
        write_coco_panoptic(tmp_path / name, "train", samples, TOY_CATEGORIES)

    def mark(name):
        from pfpn.data.loader import open_dataset

        root = str(tmp_path / name)
        return fingerprint(open_dataset(root, "train"))

    before = mark("a")
    assert before == mark("b")
    assert (before["pngs"]["files"], before["images"]["files"]) == (2, 2)
    image = next((tmp_path / "a" / "train").iterdir())
    image.write_bytes(image.read_bytes() + b" ")
    assert {k for k, v in mark("a").items() if v != before[k]} == {"images"}
    file = tmp_path / "b" / "annotations" / "panoptic_train.json"
    file.write_text(file.read_text() + " ")
    assert {k for k, v in mark("b").items() if v != before[k]} == {"annotations"}


def test_weights_that_training_began_with_are_part_of_the_data(trained, tmp_path):
    out = tmp_path / "run"
    assert main(["train", "toy", *SMALL, "max_steps=1", f"init={trained}", "--out", str(out)]) == 0
    assert record.differences(out) == []
    assert main(["train", "toy", *SMALL, "--out", str(trained), "--resume", "max_steps=3"]) == 0
    assert [d.split()[0] for d in record.differences(out)] == ["data.init"]


def test_the_repository_is_found_only_where_the_package_is_part_of_it(tmp_path, monkeypatch):
    def git(*words):
        env = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(
            ["git", *who, *words], cwd=tmp_path, env=env, check=True, capture_output=True
        )

    package = tmp_path / "pfpn"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.setattr(record, "PACKAGE", package)
    state = record.git_state.__wrapped__
    assert state() is None
    git("init")
    assert state() is None
    git("add", ".")
    git("commit", "-m", "first")
    assert state()["dirty"] is False
    assert len(state()["commit"]) == 40
    (package / "__init__.py").write_text("changed = True")
    assert state()["dirty"] is True
    monkeypatch.setenv("PATH", "")
    assert state() is None
