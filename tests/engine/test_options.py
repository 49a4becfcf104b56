"""Options that change how a step is computed change its result within stated tolerances only."""

import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from pfpn.data.loader import TrainingItems, collate
from pfpn.data.transforms import build_transform
from pfpn.engine import train as engine
from pfpn.engine.checkpoint import LAST, load_checkpoint
from pfpn.engine.config import override
from pfpn.engine.optim import batch_factor, describe_factor
from pfpn.engine.presets import PRESETS
from pfpn.engine.train import fit_to_categories, train
from pfpn.model import PanopticFPN, total_loss

ROOT = Path(__file__).resolve().parents[2]


def losses_and_gradient(config, blocks, precision=None, channels_last=False):
    """The losses of a batch and the gradient as one vector, from the same weights each time."""
    config = replace(config, model=fit_to_categories(config.model, blocks[0].categories))
    torch.manual_seed(0)
    model = PanopticFPN(config.model).train()
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    batch = collate([TrainingItems(blocks[0], build_transform())[0, i] for i in range(2)])
    with torch.autocast("cpu", precision, precision is not None):
        losses = model(batch, torch.Generator().manual_seed(0))
    total_loss(losses, config.model).backward()
    gradient = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    return {name: loss.item() for name, loss in losses.items()}, torch.cat(gradient)


def assert_near(one, two, loss_tolerance, gradient_tolerance):
    """Losses relative to their size, gradients relative to the length of the whole."""
    for name, value in one[0].items():
        assert two[0][name] == pytest.approx(value, rel=loss_tolerance, abs=1e-4), name
    assert float((one[1] - two[1]).norm() / one[1].norm()) < gradient_tolerance


# Of the gradient, its length is the measure. fp16 has three bits more than bf16, but its smallest
# numbers vanish, for here nothing scales them up.
@pytest.mark.parametrize(
    ("precision", "losses", "gradient"), [(torch.bfloat16, 0.02, 0.1), (torch.float16, 0.005, 0.05)]
)
def test_mixed_precision_changes_a_step_little(precision, losses, gradient, tiny, blocks):
    config = tiny(norm="frozen")
    full = losses_and_gradient(config, blocks)
    mixed = losses_and_gradient(config, blocks, precision=precision)
    assert_near(full, mixed, losses, gradient)
    assert not torch.equal(full[1], mixed[1])  # it was in effect


def test_channels_last_changes_rounding_only(tiny, blocks):
    plain = losses_and_gradient(tiny(), blocks)
    turned = losses_and_gradient(tiny(), blocks, channels_last=True)
    assert_near(plain, turned, 1e-4, 1e-3)


@pytest.mark.parametrize(("precision", "scaled"), [("bf16", False), ("fp16", True)])
def test_a_run_in_mixed_precision_ends_near_one_in_full(
    precision, scaled, tiny, blocks, tmp_path, monkeypatch
):
    """fp16 is for GPUs; here the processor stands in.

    Norms are frozen, as in the published recipes: statistics of two tiny images magnify rounding.
    """
    settings = {"max_steps": 3, "optimizer": "sgd", "lr": 1e-3, "warmup_steps": 0, "norm": "frozen"}
    list(train(tiny(**settings), tmp_path / "full", datasets=blocks))
    dtype = torch.float16 if scaled else torch.bfloat16
    monkeypatch.setattr(engine, "choose_precision", lambda *args: dtype)
    scaler = partial(torch.amp.GradScaler, init_scale=256.0)  # so that no step is skipped
    monkeypatch.setattr(torch.amp, "GradScaler", scaler)
    config = tiny(**settings, precision=precision)
    rows = list(train(config, tmp_path / "mixed", datasets=blocks))
    one, two = (load_checkpoint(tmp_path / name / LAST) for name in ("full", "mixed"))
    assert bool(two["scaler"]) is scaled  # the scale is part of what a resumed run needs
    started = [r["loss"] for r in rows if r["kind"] == "train"]
    assert all(torch.isfinite(torch.tensor(started)))
    begun = replace(config, model=fit_to_categories(config.model, blocks[0].categories))
    engine.seed_everything(config.seed)
    weights = dict(engine.build_model(begun).named_parameters())
    assert {two["model"][key].dtype for key in weights} == {torch.float32}
    full, mixed = (
        torch.cat([(end["model"][k] - w.detach()).flatten() for k, w in weights.items()])
        for end in (one, two)
    )
    assert float((mixed - full).norm() / full.norm()) < (0.05 if scaled else 0.15)


def test_fp16_that_overflows_skips_the_step_and_lowers_the_scale(
    tiny, blocks, tmp_path, monkeypatch
):
    """The first scale, 65536, is often too large; no weight may become infinite by it."""
    monkeypatch.setattr(engine, "choose_precision", lambda *args: torch.float16)
    plain = engine.total_loss
    monkeypatch.setattr(engine, "total_loss", lambda *args: plain(*args) * 1e3)
    config = tiny(max_steps=2, precision="fp16", ema_decay=0.0)
    list(train(config, tmp_path, datasets=blocks))
    end = load_checkpoint(tmp_path / LAST)
    assert end["scaler"]["scale"] < 65536
    assert all(bool(torch.isfinite(v).all()) for v in end["model"].values())


# Dynamo refuses functions whose shapes are checked, so it gets a process without.
COMPILED = """
import sys, torch
from dataclasses import replace
from functools import partial
from pfpn.engine import train as engine
from tests.engine.conftest import TINY, Blocks
from pfpn.engine.checkpoint import load_checkpoint
from pfpn.engine.train import train
torch.set_num_threads(1)
engine.compile_parts = partial(engine.compile_parts, backend=sys.argv[2])
optim = replace(TINY.optim, optimizer="sgd", lr=0.01, warmup_steps=0)
blocks, saving = (Blocks(5), Blocks(1, first=100)), sys.argv[3] == "saving"
model = replace(TINY.model, norm="frozen" if saving else "batch")
for name in ("plain", "compiled"):
    config = replace(TINY, max_steps=2, optim=optim, model=model)
    if name == "compiled":
        config = replace(config, compile=True, gradient_checkpointing=saving)
    list(train(config, f"{sys.argv[1]}/{name}", datasets=blocks))
print("graphs", torch._dynamo.utils.counters["stats"]["unique_graphs"])
"""
BACKEND = os.environ.get("PFPN_COMPILE", "aot_eager")  # inductor takes many minutes on a CPU


@pytest.mark.slow
@pytest.mark.parametrize("memory", ["plain", pytest.param("saving", marks=pytest.mark.long)])
def test_a_compiled_run_ends_near_a_plain_one(memory, tmp_path):
    """Also with gradient checkpointing, where no norm has statistics to keep."""
    done = subprocess.run(
        [sys.executable, "-c", COMPILED, str(tmp_path), BACKEND, memory],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=3000,
    )
    assert done.returncode == 0, done.stderr
    one, two = (load_checkpoint(tmp_path / name / LAST)["model"] for name in ("plain", "compiled"))
    assert one.keys() == two.keys()  # no trace of compilation in the names
    assert int(done.stdout.split()[-1]) >= 3  # backbone, pyramid, semantic head
    for key, value in one.items():
        if value.is_floating_point():
            scale = float(value.abs().max()) + 1e-3
            assert float((two[key] - value).abs().max()) < 1e-3 * scale, key


def test_compilation_that_cannot_be_is_refused_at_once(tiny):
    with pytest.raises(ValueError, match=r"compile: found True, expected false with gradient_"):
        tiny(norm="batch", compile=True, gradient_checkpointing=True)


def test_the_rate_follows_the_batch_and_a_note_reports_it(tiny, blocks, tmp_path):
    config = tiny(max_steps=2, reference_batch=16, lr=0.02, log_every=1, warmup_steps=0)
    rows = list(train(config, tmp_path, datasets=blocks))
    assert batch_factor(config) == 2 / 16
    assert rows[1]["lr"] == pytest.approx(0.02 / 8)
    assert rows[0]["notes"][0].startswith(
        "learning rate: 0.0025 instead of 0.02, for batch_size=2 instead of 16"
    )


def test_the_schedule_for_as_many_images_is_named():
    config = override(PRESETS["coco_r50_1x"](), ["batch_size=8"])
    line = describe_factor(config)
    assert "0.01 instead of 0.02" in line
    settings = "max_steps=180000 optim.milestones=120000,160000 optim.warmup_steps=2000"
    assert line.endswith(f"for as many images in all: {settings}")
    assert override(config, settings.split()).max_steps == 180_000


@pytest.mark.parametrize("preset", PRESETS)
def test_no_preset_changes_its_own_rate(preset):
    config = PRESETS[preset]()
    assert batch_factor(config) == 1
    assert describe_factor(config) == ""
    assert batch_factor(replace(config, batch_size=1)) in (1, 1 / config.batch_size)
    off = override(config, ["batch_size=2", "optim.reference_batch=0"])
    assert batch_factor(off) == 1
