import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from pfpn.cli import COMMANDS, main
from pfpn.data.coco import read_id_map
from pfpn.engine.checkpoint import BEST, CONFIG, LAST, METRICS, WEIGHTS, load_checkpoint
from pfpn.engine.signals import Stop
from pfpn.engine.train import NonFiniteError, read_rows
from pfpn.files import KEPT

ROOT = Path(__file__).resolve().parents[1]

# The toy preset, but so small that a run takes a second or two.
SMALL = [
    "batch_size=2", "max_steps=4", "log_every=1", "save_every=2", "eval_images=1",
    "data.toy_size=64,96", "data.toy_train_images=3", "data.toy_val_images=2",
    "model.width=0.125", "model.pyramid_channels=16", "model.semantic_channels=16",
    "model.box_hidden=16", "model.mask_channels=16", "model.mask_convs=1", "optim.ema_decay=0.9",
]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A finished run, with one setting before and the others behind the options."""
    out = tmp_path_factory.mktemp("runs") / "toy"
    assert main(["train", "toy", SMALL[0], "--out", str(out), *SMALL[1:]]) == 0
    return out


def test_training_leaves_a_run_folder(trained):
    names = {path.name for path in trained.iterdir()}
    assert {LAST, BEST, WEIGHTS, CONFIG, METRICS} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    config = json.loads((trained / CONFIG).read_text())
    assert config["preset"] == "toy"
    assert config["batch_size"] == 2
    assert config["data"]["toy_size"] == [64, 96]
    assert [row["step"] for row in read_rows(trained) if row["kind"] == "train"] == [1, 2, 3, 4]


def test_training_tells_losses_speed_and_time_left(tmp_path, capsys):
    assert main(["train", "toy", *SMALL, "max_steps=1", "--out", str(tmp_path / "run")]) == 0
    told = capsys.readouterr().out
    for word in ("step 1/1", "images/s", "left", "rpn objectness", "rpn box", "class", "box",
                 "mask", "semantic", "pq", "done after step 1"):  # fmt: skip
        assert word in told


def test_evaluation_prints_a_table_and_writes_json(trained, tmp_path, capsys):
    file, saved = tmp_path / "scores.json", tmp_path / "found"
    arguments = ["--data", "toy", "--images", "2", "--json", str(file), "--save", str(saved)]
    assert main(["evaluate", str(trained), *arguments]) == 0
    table = capsys.readouterr().out
    assert "things" in table
    assert "mask AP50" in table
    scores = json.loads(file.read_text())
    assert scores["num_images"] == 2
    assert set(scores["panoptic"]) >= {"all", "things", "stuff", "per_class"}
    assert "box_ap" in scores["precision"]
    content = json.loads((tmp_path / "found.json").read_text())
    assert len(content["annotations"]) == 2
    for annotation in content["annotations"]:
        ids = set(np.unique(read_id_map(saved / annotation["file_name"]))) - {0}
        assert ids == {segment["id"] for segment in annotation["segments_info"]}


def test_prediction_writes_ids_json_and_an_overlay_for_each_image(trained, tmp_path, capsys):
    for name, size in (("a.png", (50, 40)), ("b.jpg", (1, 1))):
        Image.new("RGB", size, (90, 120, 200)).save(tmp_path / name)
    out = tmp_path / "found"
    images = [str(tmp_path / name) for name in ("a.png", "b.jpg")]
    assert main(["predict", str(trained / WEIGHTS), *images, "--out", str(out)]) == 0
    assert {path.name for path in out.iterdir()} - {KEPT} == {
        f"{stem}{end}" for stem in "ab" for end in (".png", ".json", "_overlay.png")
    }
    content = json.loads((out / "a.json").read_text())
    assert content["images"][0]["file_name"] == "a.png"
    ids = set(np.unique(read_id_map(out / "a.png"))) - {0}
    assert ids == {segment["id"] for segment in content["annotations"][0]["segments_info"]}
    with Image.open(out / "a_overlay.png") as overlay:
        assert overlay.size == (50, 40)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "toi", "--out", "x"], "Did you mean toy"),
        (["train", "toy", "lr=1", "--out", "x"], "Did you mean optim.lr"),
        (["train", "toy", "data=no/such/folder", "--out", "x"], "no/such/folder"),
        (["evaluate", "no/such/run", "--data", "toy"], "found no weights"),
        (["predict", "no/such/run", "a.jpg", "--out", "x"], "found no weights"),
    ],
)
def test_bad_input_ends_with_one_line_and_code_2(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert message in told
    assert len(told.splitlines()) == 1


def test_more_bad_input_for_a_trained_model(trained, tmp_path, capsys):
    weights = str(trained)
    assert main(["train", "toy", *SMALL, "--out", weights]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(["evaluate", weights, "--data", "toy", "--split", "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err
    assert main(["evaluate", weights, "--data", "toy", "--images", "-1"]) == 2
    assert main(["predict", weights, "none.jpg", "--out", str(tmp_path)]) == 2
    assert "none.jpg" in capsys.readouterr().err
    assert main(["predict", weights, "a/x.jpg", "b/x.png", "--out", str(tmp_path)]) == 2
    assert "named 'x'" in capsys.readouterr().err


def test_an_unknown_option_is_refused_even_where_settings_are_taken(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["train", "toy", "--out", "x", "--resum3"])
    assert stopped.value.code == 2
    with pytest.raises(SystemExit):
        main(["predict", "w", "a.jpg", "--out", "x", "--what", "b"])


def test_a_loss_that_is_not_finite_ends_with_code_1(monkeypatch, tmp_path, capsys):
    def broken(*args, **kwargs):
        raise NonFiniteError("step 3: loss_mask is nan")
        yield

    monkeypatch.setattr("pfpn.engine.train.train", broken)
    assert main(["train", "toy", "--out", str(tmp_path)]) == 1
    assert "loss_mask is nan" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["train", "evaluate", "predict"])
def test_every_command_has_help_with_an_example(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([name, "--help"])
    assert stopped.value.code == 0
    assert COMMANDS[name].example.split()[2] in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_after_the_step_and_the_run_can_go_on(sent, trained, tmp_path):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "pfpn", "train", "toy", *SMALL, "--out", str(out)]
    # Slow enough to be met in the middle: the process waits for a line to be read.
    process = subprocess.Popen(
        [*command, "max_steps=100000"],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    notes, first = [process.stdout.readline() for _ in range(2)]  # of memory, of a step
    assert notes.startswith("memory: ")
    assert "step 1/" in first
    process.send_signal(sent)
    told, _ = process.communicate(timeout=600)
    assert process.returncode == 128 + sent
    assert "--resume goes on" in told
    step = load_checkpoint(out / LAST)["step"]
    assert f"stopped after step {step}" in told


@pytest.mark.slow
def test_a_resumed_command_ends_with_the_weights_of_an_uninterrupted_one(trained, tmp_path):
    out = str(tmp_path / "run")
    # The same process and number of threads as `trained`; the schedule is that of 4 steps in both.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pfpn.engine.signals.stop_signals", lambda: _StopAfter(3))
        assert main(["train", "toy", *SMALL, "--out", out]) == 128 + signal.SIGTERM
    assert load_checkpoint(Path(out) / LAST)["step"] == 3
    assert main(["train", "toy", *SMALL, "--out", out, "--resume"]) == 0
    one, two = (load_checkpoint(Path(p) / LAST) for p in (trained, out))
    for key in one["model"]:
        assert_close(one["model"][key], two["model"][key], rtol=0, atol=0)
    for key in one["average"]["state"]:
        a, b = (state["average"]["state"][key] for state in (one, two))
        assert torch.equal(a, b)


class _StopAfter(Stop):
    """Stands in for the signals: says stop when it was looked at so many times."""

    def __init__(self, times: int):
        super().__init__(signal.SIGTERM)
        self.left = times

    def __call__(self) -> bool:
        self.left -= 1
        return self.left <= 0

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None
