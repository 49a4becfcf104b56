"""Two processes on one machine do what one does with the same batches."""

import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.testing import assert_close

from pfpn.data.coco import write_coco_panoptic
from pfpn.data.toy import ToyStreet
from pfpn.engine import distributed
from pfpn.engine.batches import validation_set
from pfpn.engine.checkpoint import CONFIG, LAST, load_checkpoint, load_weights
from pfpn.engine.config import TrainConfig, from_json
from pfpn.engine.distributed import (
    LostProcessError,
    Process,
    agree_on_start,
    choose_device,
)
from pfpn.engine.evaluate import evaluate
from pfpn.engine.record import read_record
from pfpn.engine.train import read_rows
from pfpn.structures import Panoptic

ROOT = Path(__file__).resolve().parents[2]

# Small enough for seconds; parts and processes number the same batches in the same way.
SETTINGS = [
    "batch_size=2", "max_steps=3", "log_every=1", "save_every=2", "device=cpu", "threads=1",
    "eval_images=4", "eval_ap=true",
    "data.toy_size=64,96", "data.toy_train_images=5", "data.toy_val_images=4", "data.cache=false",
    "model.width=0.125", "model.pyramid_channels=16", "model.semantic_channels=16",
    "model.box_hidden=16", "model.mask_channels=16", "model.mask_convs=1",
    "optim.optimizer=sgd", "optim.lr=0.01", "optim.warmup_steps=0", "optim.ema_decay=0",
]  # fmt: skip


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def run_processes(world: int, arguments: list[str]) -> list[subprocess.CompletedProcess]:
    """Run a command of pfpn in `world` processes."""
    return run_programs(world, ["-m", "pfpn", *arguments])


def run_programs(world: int, words: list[str]) -> list[subprocess.CompletedProcess]:
    """Start `world` processes with the variables that torchrun sets, and wait for all."""
    port = str(free_port())
    processes = []
    for rank in range(world):
        env = os.environ | {"OMP_NUM_THREADS": "1"}
        if world > 1:
            env |= {
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
                "WORLD_SIZE": str(world),
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
            }
        processes.append(
            subprocess.Popen(
                [sys.executable, *words],
                cwd=ROOT,
                env=env,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    done = []
    for process in processes:
        out, err = process.communicate(timeout=600)
        done.append(subprocess.CompletedProcess(process.args, process.returncode, out, err))
    return done


def train_with(world: int, out: Path, *settings: str) -> dict:
    for done in run_processes(world, ["train", "toy", *SETTINGS, *settings, "--out", str(out)]):
        assert done.returncode == 0, done.stderr
    return load_checkpoint(out / LAST)


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["frozen", "batch"])
def test_two_processes_learn_what_one_learns_in_two_parts(norm, tmp_path):
    norm = f"model.norm={norm}"
    one = train_with(1, tmp_path / "one", norm, "optim.accumulate=2")
    two = train_with(2, tmp_path / "two", norm)
    learned = {k for k in one["model"] if not k.endswith(("_mean", "_var", "_tracked"))}
    for key in learned:  # running statistics move once for both halves, or twice in turn
        assert_close(one["model"][key], two["model"][key], rtol=1e-4, atol=1e-5, msg=key)
    one, two = (read_rows(tmp_path / name) for name in ("one", "two"))
    for a, b in zip(one, two, strict=True):
        if a["kind"] == "train":
            for key in a.keys() - {"kind", "images_per_second", "seconds"}:
                assert a[key] == pytest.approx(b[key], rel=1e-3, abs=1e-5), key


@pytest.mark.slow
def test_two_processes_resume_to_the_bit(tmp_path):
    settings = ("optim.schedule=constant", "data.equibatch=true")
    whole = train_with(2, tmp_path / "whole", *settings)
    train_with(2, tmp_path / "cut", *settings, "max_steps=2")
    cut = train_with(2, tmp_path / "cut", *settings, "--resume")
    for key in whole["model"]:
        assert_close(whole["model"][key], cut["model"][key], rtol=0, atol=0, msg=key)


@pytest.mark.slow
def test_two_processes_score_as_one(tmp_path):
    train_with(1, tmp_path / "run", "max_steps=1")
    scores = []
    for world in (1, 2):
        file = tmp_path / f"scores{world}.json"
        flags = ["--data", "toy", "--images", "5", "--json", str(file), "--device", "cpu"]
        for done in run_processes(world, ["evaluate", str(tmp_path / "run"), *flags]):
            assert done.returncode == 0, done.stderr
        scores.append(json.loads(file.read_text()))
        del scores[-1]["seconds_per_image"]
    assert scores[0] == scores[1]


@pytest.mark.slow
def test_the_score_of_two_processes_is_that_of_the_weights_on_disk(tmp_path):
    """Batch norm's running statistics are those of both processes' images, on both."""
    settings = ["model.norm=batch", "max_steps=8", "eval_every=4", "optim.ema_decay=0.5"]
    train_with(2, tmp_path / "run", *settings, "optim.lr=0.05")
    row = [row for row in read_rows(tmp_path / "run") if row["kind"] == "eval"][-1]
    config = from_json(TrainConfig, (tmp_path / "run" / CONFIG).read_text())
    trained = load_weights(tmp_path / "run")
    alone = evaluate(trained.model, validation_set(config.data), trained.predict).summary()
    for name in ("pq", "miou", "pixel_accuracy"):
        assert row[name] == pytest.approx(alone[name]), name


AVERAGED = """
import sys, torch
from torch import nn
from pfpn.engine import distributed
with distributed.join("cpu") as process:
    net = nn.Sequential(nn.BatchNorm2d(2), nn.BatchNorm2d(3).eval())
    for norm in net:
        norm.running_mean += process.rank
        norm.running_var += 2 * process.rank
    distributed.average_statistics(net)
    print([b.tolist() for norm in net for b in (norm.running_mean, norm.running_var)])
"""


def test_statistics_are_averaged_where_they_move():
    """Those of frozen layers stay as they are."""
    program = ["-c", AVERAGED]
    for rank, done in enumerate(run_programs(2, program)):
        assert done.returncode == 0, done.stderr
        frozen = [[float(rank)] * 3, [1.0 + 2 * rank] * 3]
        last = done.stdout.splitlines()[-1]  # gloo of older versions prints, too
        assert json.loads(last) == [[0.5] * 2, [2.0] * 2, *frozen]


TOGETHER = """
import sys
from pfpn.engine import distributed
with distributed.join("cpu") as process:
    distributed.raise_together(None)
    distributed.raise_together(ValueError("broken here") if process.rank == 1 else None)
"""


def test_an_error_of_one_process_is_raised_on_all():
    for done in run_programs(2, ["-c", TOGETHER]):
        assert done.stderr.strip().endswith("ValueError: broken here")


@pytest.mark.slow
def test_a_broken_image_ends_all_processes_in_one_line_and_saves(tmp_path):
    streets = ToyStreet(5, size=(64, 96))
    samples = [replace(streets[i], image_id=i) for i in range(5)]
    for split in ("train", "val"):
        data = tmp_path / "data"
        write_coco_panoptic(data, split, samples, streets.categories, suffix=".jpg")
    image = data / "train" / "000000000003.jpg"
    content = image.read_bytes()
    image.write_bytes(content[:-300])  # its header is good
    out = tmp_path / "run"
    words = ["train", "toy", *SETTINGS, f"data={data}", "--out", str(out)]
    for done in run_processes(2, words):
        assert done.returncode == 2, done.stderr
        lines = [line for line in done.stderr.splitlines() if line.startswith("pfpn train")]
        assert len(lines) == 1
        assert str(image) in lines[0]
        assert "Traceback" not in done.stderr
    step = load_checkpoint(out / LAST)["step"]
    assert f"Step {step} is saved" in lines[0]
    image.write_bytes(content)
    for done in run_processes(2, [*words, "--resume"]):
        assert done.returncode == 0, done.stderr
    assert load_checkpoint(out / LAST)["step"] == 3


@pytest.mark.slow
def test_a_process_that_dies_ends_the_run_which_goes_on_by_a_restart(tmp_path):
    settings = ["optim.schedule=constant", "max_steps=6", "eval_images=1"]
    whole = train_with(2, tmp_path / "whole", *settings)
    out = tmp_path / "cut"

    def torchrun(*flags: str, step: int) -> subprocess.CompletedProcess:
        launch = [
            "--standalone",
            "--nproc-per-node",
            "2",
            *flags,
            "-m",
            "tests.engine.killed_process",
        ]
        words = [str(step), "train", "toy", *SETTINGS, *settings, "--out", str(out), "--resume"]
        return subprocess.run(
            [sys.executable, "-m", "torch.distributed.run", *launch, *words],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=600,
        )

    done = torchrun(step=3)
    assert done.returncode == 1
    assert "process 0 of 2: lost the connection to another one" in done.stderr
    assert f"{out / LAST} holds step 2; the same command with --resume goes on" in done.stderr
    assert load_checkpoint(out / LAST)["step"] == 2
    load_weights(out)

    done = torchrun("--max-restarts", "1", step=3)  # dies in step 5
    assert done.returncode == 0, done.stderr
    assert [start["step"] for start in read_record(out)] == [0, 2, 4]
    cut = load_checkpoint(out / LAST)
    for key in whole["model"]:
        assert_close(whole["model"][key], cut["model"][key], rtol=0, atol=0, msg=key)


@pytest.mark.slow
def test_two_processes_learn_from_images_without_things_or_truth(tmp_path):
    """One process has nothing for its instance branch to learn, or nothing at all."""
    streets = ToyStreet(4, size=(64, 96))
    stuff_only, void, crowd = (replace(streets[i], image_id=i) for i in range(3))
    kept = tuple(s for s in stuff_only.panoptic.segments if not s.is_thing)
    id_map = stuff_only.panoptic.id_map.clone()
    id_map[~torch.isin(id_map, torch.tensor([s.id for s in kept]))] = 0
    samples = [
        replace(stuff_only, panoptic=Panoptic(id_map, kept)),
        replace(void, panoptic=Panoptic(torch.zeros_like(id_map), ())),
        replace(
            crowd,
            panoptic=replace(
                crowd.panoptic,
                segments=tuple(replace(s, is_crowd=s.is_thing) for s in crowd.panoptic.segments),
            ),
        ),
        replace(streets[3], image_id=3),
        replace(streets[3], image_id=4),
    ]
    for split in ("train", "val"):
        write_coco_panoptic(tmp_path / "data", split, samples, streets.categories)
    settings = [f"data={tmp_path / 'data'}", "max_steps=5", "optim.schedule=constant"]
    one = train_with(1, tmp_path / "one", *settings, "optim.accumulate=2")
    two = train_with(2, tmp_path / "two", *settings)
    for key in one["model"]:
        if not key.endswith(("_mean", "_var", "_tracked")):
            assert_close(one["model"][key], two["model"][key], rtol=1e-4, atol=1e-5, msg=key)
            assert bool(torch.isfinite(one["model"][key]).all())


@pytest.mark.long
def test_two_machines_restart_together(tmp_path):
    """Here two agents of torchrun play the machines; each counts restarts for itself."""
    out, port = tmp_path / "run", free_port()
    settings = ["optim.schedule=constant", "max_steps=4", "eval_images=1"]
    launch = ["--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", "1", "--rdzv-backend"]
    launch += ["c10d", "--rdzv-endpoint", f"127.0.0.1:{port}", "--local-addr", "127.0.0.1"]
    words = ["-m", "tests.engine.killed_process", "3", "train", "toy", *SETTINGS, *settings]
    words += ["--out", str(out), "--resume"]
    agents = [
        subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", *launch, *words],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    output = [agent.communicate(timeout=600)[0] for agent in agents]
    assert load_checkpoint(out / LAST)["step"] == 4, output
    assert [start["step"] for start in read_record(out)] == [0, 2]


def test_each_start_gets_a_name_of_its_own():
    """The store still holds what processes of earlier starts wrote."""
    store, names = dist.HashStore(), []
    for _ in range(3):  # a start and two restarts
        with ThreadPoolExecutor(3) as pool:
            agreed = list(pool.map(lambda rank: agree_on_start(store, rank, 3), [1, 0, 2]))
        assert len(set(agreed)) == 1
        names.append(agreed[0])
    assert len(set(names)) == 3


def test_processes_that_never_start_are_named():
    with pytest.raises(LostProcessError, match=r"process 0 of 3: no message from .*\[1, 2\]"):
        agree_on_start(dist.HashStore(), 0, 3, timeout=0.1)


def test_a_gpu_is_chosen_by_number_or_by_the_process(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert choose_device("auto", 3) == torch.device("cuda", 3)
    assert choose_device("cuda", 2) == torch.device("cuda", 2)
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    assert choose_device("cpu", 3) == torch.device("cpu")
    with pytest.raises(ValueError, match=r"found 4 GPUs, expected at least 5.*nproc-per-node"):
        choose_device("auto", 4)
    with pytest.raises(ValueError, match=r"device=cuda:4: found 4 GPUs, expected one of auto, cpu"):
        choose_device("cuda:4")


@pytest.mark.parametrize("name", ["gpu", "cude", "cuda:", "cuda:x", "cuda:-1", "CPU", "", "cpu:0"])
@pytest.mark.parametrize("has_gpus", [True, False])
def test_a_device_that_does_not_exist_is_refused(name, has_gpus, monkeypatch):
    """Whether or not there are GPUs: none of these names may mean the first of them."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpus)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2 * has_gpus)
    with pytest.raises(ValueError, match=f"device={name}: found no such device, expected one of"):
        choose_device(name)


def test_an_apple_gpu_is_used_where_there_is_one(monkeypatch):
    for there in (True, False):
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda there=there: there)
        if there:
            assert choose_device("mps") == torch.device("mps")
        else:
            with pytest.raises(ValueError, match="device=mps: found no Apple GPU"):
                choose_device("mps")


def test_many_processes_cannot_all_take_one_gpu(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with (
        pytest.raises(ValueError, match="device=cuda:1: found 2 processes"),
        distributed.join("cuda:1"),
    ):
        pass


def test_one_process_needs_no_one_else():
    with distributed.join("cpu") as process:
        assert process == Process(0, 1, torch.device("cpu"))
        assert process.is_main
        assert distributed.gather("a") == ["a"]
        assert distributed.mean(torch.tensor([1.0, 2.0])).tolist() == [1.0, 2.0]
        assert distributed.from_main([3.0], process) == [3.0]
        assert distributed.any_of(True, process)
        assert not distributed.any_of(False, process)
        assert (distributed.rank(), distributed.world()) == (0, 1)
        distributed.wait_for_all()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_refused():
    assert choose_device("auto").type == "cpu"
    with pytest.raises(ValueError, match="device=cuda"):
        choose_device("cuda")
