import itertools
import math
from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close

from pfpn.engine import run as run_module
from pfpn.engine import train as engine
from pfpn.engine.checkpoint import (
    BEST,
    CONFIG,
    LAST,
    WEIGHTS,
    load_checkpoint,
    load_weights,
)
from pfpn.engine.config import TrainConfig, from_json
from pfpn.engine.distributed import Process
from pfpn.engine.record import RECORD
from pfpn.engine.run import Run, choose_precision
from pfpn.engine.train import (
    NonFiniteError,
    fit_to_categories,
    log_rows,
    read_rows,
    step_rng,
    train,
)
from pfpn.files import KEPT
from pfpn.model import LOSS_NAMES, PanopticFPN


def run(config, out, blocks, *, steps=None, **kwargs):
    """Train, perhaps stop after `steps` steps, and return the rows."""
    count = itertools.count(1)
    stop = (lambda: False) if steps is None else (lambda: next(count) >= steps)
    return list(train(config, out, datasets=blocks, stop=stop, **kwargs))


def assert_same_state(one, two):
    """Everything in two checkpoints but clocks is equal, to the bit.

    So is Python's own generator in a run, but shape checks, where they are on, draw from it.
    """
    if isinstance(one, dict):
        assert one.keys() == two.keys()
        for key in one:
            if key not in ("seconds", "python"):
                assert_same_state(one[key], two[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(two)
        for a, b in zip(one, two, strict=True):
            assert_same_state(a, b)
    elif isinstance(one, torch.Tensor):
        assert_close(one, two, rtol=0, atol=0, equal_nan=True)
    else:
        assert one == two


def assert_same_end(one, two):
    assert_same_state(load_checkpoint(one / LAST), load_checkpoint(two / LAST))


def test_a_run_reports_its_progress_and_leaves_its_files(tiny, blocks, tmp_path):
    rows = run(tiny(), tmp_path, blocks)
    assert [row["kind"] for row in rows] == ["start", "train", "train", "train", "eval", "end"]
    assert [row["step"] for row in rows] == [0, 2, 4, 6, 6, 6]
    for row in rows[1:4]:
        assert set(LOSS_NAMES) | {"loss", "lr", "grad_norm", "images_per_second"} <= set(row)
        assert row["loss"] == pytest.approx(sum(row[name] for name in LOSS_NAMES), rel=1e-5)
    assert 0 <= rows[4]["pq"] <= 1
    assert {p.name for p in tmp_path.iterdir()} == {LAST, BEST, WEIGHTS, CONFIG, RECORD, KEPT}
    stored = from_json(TrainConfig, (tmp_path / CONFIG).read_text())
    assert (stored.model.num_things, stored.model.num_semantic) == (2, 3)
    trained = load_weights(tmp_path)
    assert trained.categories == blocks[0].categories
    average = load_checkpoint(tmp_path / LAST)["average"]["state"]
    for key, value in trained.model.state_dict().items():
        assert_close(value, average[key], rtol=0, atol=0)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tiny, blocks, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(tiny(max_steps=2, seed=seed), tmp_path / name, blocks)
    assert_same_end(tmp_path / "a", tmp_path / "b")
    one, other = (load_checkpoint(tmp_path / n / LAST)["model"] for n in "ac")
    assert not torch.equal(one["backbone.conv1.weight"], other["backbone.conv1.weight"])


@pytest.mark.parametrize("steps", [1, 2, 3, 5])  # an epoch has 2.5 steps
def test_a_run_stopped_at_any_step_and_resumed_ends_the_same(steps, tiny, blocks, tmp_path):
    run(tiny(), tmp_path / "whole", blocks)
    rows = run(tiny(), tmp_path / "cut", blocks, steps=steps)
    assert rows[-1]["stopped"]
    assert rows[-1]["step"] == steps
    rows = run(tiny(), tmp_path / "cut", blocks, resume=True)
    assert rows[0]["step"] == steps
    assert_same_end(tmp_path / "whole", tmp_path / "cut")


def test_a_run_that_died_between_checkpoints_repeats_the_lost_steps(tiny, blocks, tmp_path):
    run(tiny(log_every=1), tmp_path / "whole", blocks)
    rows = log_rows(train(tiny(log_every=1), tmp_path / "cut", datasets=blocks), tmp_path / "cut")
    for row in rows:
        if row["step"] == 5:  # saved last at step 3
            break
    rows.close()
    rows = list(
        log_rows(
            train(tiny(log_every=1), tmp_path / "cut", datasets=blocks, resume=True),
            tmp_path / "cut",
        )
    )
    assert rows[0]["step"] == 3
    assert_same_end(tmp_path / "whole", tmp_path / "cut")
    logged = [row["step"] for row in read_rows(tmp_path / "cut") if row["kind"] == "train"]
    assert logged == [1, 2, 3, 4, 5, 6]  # each once


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {
            "optimizer": "sgd",
            "lr": 0.01,
            "schedule": "step",
            "milestones": (2, 4),
            "ema_decay": 0.0,
        },
        {"workers": 2, "crop": (48, 64), "shortest_edges": (56, 64), "brightness": 0.4},
        {"accumulate": 2, "schedule": "cosine", "cache": True, "group_by_aspect": True},
        {"channels_last": True, "eval_every": 2},
        {"equibatch": True, "accumulate": 2},
        {"norm": "frozen", "frozen_stages": 2},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_every_way_to_train_can_be_resumed(changes, tiny, blocks, tmp_path):
    config = tiny(**changes)
    run(config, tmp_path / "whole", blocks)
    for _ in range(3):
        run(config, tmp_path / "cut", blocks, steps=2, resume=True)
    assert_same_end(tmp_path / "whole", tmp_path / "cut")


def test_resuming_a_finished_run_changes_nothing(tiny, blocks, tmp_path):
    run(tiny(max_steps=2), tmp_path, blocks)
    before = load_checkpoint(tmp_path / LAST)
    rows = run(tiny(max_steps=2), tmp_path, blocks, resume=True)
    assert [row["kind"] for row in rows] == ["start", "end"]
    assert_same_state(load_checkpoint(tmp_path / LAST), before)


def test_a_finished_run_can_be_prolonged(tiny, blocks, tmp_path):
    constant = {"schedule": "constant", "eval_every": 0}
    run(tiny(max_steps=4, **constant), tmp_path / "whole", blocks)
    run(tiny(max_steps=2, **constant), tmp_path / "cut", blocks)
    run(tiny(max_steps=4, **constant), tmp_path / "cut", blocks, resume=True)
    whole, cut = (load_checkpoint(tmp_path / n / LAST) for n in ("whole", "cut"))
    assert_same_state(whole["model"], cut["model"])


def test_resuming_where_nothing_is_begins(tiny, blocks, tmp_path):
    rows = run(tiny(max_steps=1), tmp_path / "new", blocks, resume=True)
    assert rows[0]["step"] == 0
    assert rows[-1]["step"] == 1


def test_a_batch_that_cannot_be_shared_is_refused(tiny, blocks, tmp_path):
    with pytest.raises(ValueError, match=r"batch_size=2.*multiple of 3"):
        run(tiny(accumulate=3), tmp_path, blocks)


def test_a_loss_that_is_not_finite_stops_the_run_and_names_it(tiny, blocks, tmp_path, monkeypatch):
    config = tiny(save_every=1)
    run(config, tmp_path, blocks, steps=2)
    good = load_checkpoint(tmp_path / LAST)
    plain = PanopticFPN.losses

    def broken(self, batch, rng):
        losses = plain(self, batch, rng)
        if 503 in batch.image_ids:
            losses["loss_mask"] = losses["loss_mask"] * math.nan
        return losses

    monkeypatch.setattr(PanopticFPN, "losses", broken)
    with pytest.raises(NonFiniteError, match="loss_mask is nan") as error:
        run(config, tmp_path, blocks, resume=True)
    assert "503" in str(error.value)
    assert f"step {load_checkpoint(tmp_path / LAST)['step'] + 1}" in str(error.value)
    assert "loss_semantic" not in str(error.value)
    after = load_checkpoint(tmp_path / LAST)
    assert all(bool(torch.isfinite(v).all()) for v in after["model"].values())
    assert after["step"] >= good["step"]


def test_a_gradient_that_is_not_finite_stops_the_run_before_the_weights_move(
    tiny, blocks, tmp_path, monkeypatch
):
    monkeypatch.setattr(engine, "clip_gradients", lambda model, limit: torch.tensor(math.inf))
    with pytest.raises(NonFiniteError, match="grad_norm is inf"):
        run(tiny(), tmp_path, blocks)
    assert not (tmp_path / LAST).exists()


@pytest.mark.parametrize("branch", ["instance_branch", "semantic_branch"])
def test_one_branch_trains_alone(branch, tiny, blocks, tmp_path):
    rows = run(tiny(max_steps=2, **{branch: False}), tmp_path, blocks)
    named = {name for name in LOSS_NAMES if name in rows[1]}
    instance = set(LOSS_NAMES) - {"loss_semantic"}
    assert named == (instance if branch == "semantic_branch" else {"loss_semantic"})
    assert 0 <= rows[2]["pq"] <= 1


def test_accumulated_parts_give_the_gradient_of_their_mean(tiny, blocks, tmp_path):
    # With batch statistics, sampling and means over rois apart, parts are the whole; here the whole
    # is computed by hand from the same parts.
    config = tiny(max_steps=1, accumulate=2, optimizer="sgd", lr=0.1, clip_norm=0.0, warmup_steps=0)
    run(config, tmp_path, blocks)
    config = from_json(TrainConfig, (tmp_path / CONFIG).read_text())
    engine.seed_everything(config.seed)
    model = engine.build_model(config)
    process = Process(0, 1, torch.device("cpu"))
    batches = iter(engine.training_batches(config, blocks[0], process, num_images=1, first=0))
    for part in range(2):
        losses = model(next(batches), step_rng(config.seed, 0, part))
        (sum(losses.values()) / 2).backward()
    ends = load_checkpoint(tmp_path / LAST)["model"]
    for name, parameter in model.named_parameters():
        decay = 0.0 if "bn" in name or "downsample.1" in name else config.optim.weight_decay
        if name.startswith("semantic_head.branches") and parameter.ndim == 1:
            decay = 0.0  # its norms
        expected = parameter - 0.1 * (parameter.grad + decay * parameter)
        assert_close(ends[name], expected.detach(), rtol=1e-4, atol=1e-6)


def test_a_model_learns_the_blocks(tiny, blocks, tmp_path):
    rows = run(tiny(max_steps=40, log_every=10, save_every=40), tmp_path, blocks)
    assert rows[4]["loss"] < 0.5 * rows[1]["loss"]


def test_the_best_checkpoint_is_the_one_with_the_highest_quality(
    tiny, blocks, tmp_path, monkeypatch
):
    scores = iter([0.2, 0.6, 0.4])
    monkeypatch.setattr(
        engine,
        "evaluate",
        lambda *args, **kwargs: SimpleNamespace(summary={"pq": next(scores)}.copy),
    )
    run(tiny(eval_every=2), tmp_path, blocks)
    assert load_checkpoint(tmp_path / BEST)["step"] == 4
    assert load_checkpoint(tmp_path / LAST)["step"] == 6
    assert load_checkpoint(tmp_path / LAST)["best_pq"] == 0.6


def test_time_can_end_a_run_and_the_schedule_follows_it(tiny):
    state = Run.__new__(Run)  # only its clock is used
    state.config = tiny(max_steps=100, max_minutes=2.0)
    state.step, state.seconds = 10, 6.0
    assert state.progress() == pytest.approx(0.1)
    state.seconds = 60.0
    assert state.progress() == pytest.approx(0.5)
    state.seconds = 500.0
    assert state.progress() == 1.0


def test_a_run_that_has_no_time_takes_one_step_and_is_evaluated(tiny, blocks, tmp_path):
    rows = run(tiny(max_steps=1000, max_minutes=1e-6), tmp_path, blocks)
    assert [row["kind"] for row in rows] == ["start", "train", "eval", "end"]
    assert rows[-1]["step"] == 1
    assert rows[-1]["progress"] == 1
    assert not rows[-1]["stopped"]


def test_a_device_without_units_for_a_precision_computes_in_full(tiny, monkeypatch):
    cpu, cuda, mps = torch.device("cpu"), torch.device("cuda", 0), torch.device("mps")
    for device in (cpu, cuda, mps):
        assert choose_precision(tiny(), device) is None
        assert choose_precision(tiny(precision="bf16"), device, before="None") is None
    assert choose_precision(tiny(precision="bf16"), cuda) == torch.bfloat16
    assert choose_precision(tiny(precision="fp16"), cuda) == torch.float16
    for has_units in (True, False):
        monkeypatch.setattr(run_module, "has_bf16_units", lambda has=has_units: has)
        expected = torch.bfloat16 if has_units else None
        assert choose_precision(tiny(precision="bf16"), cpu) == expected
        assert choose_precision(tiny(precision="fp16"), cpu) is None
        assert choose_precision(tiny(precision="bf16"), mps) is None
        kept = choose_precision(tiny(precision="bf16"), cpu, before="torch.bfloat16")
        assert kept == torch.bfloat16


@pytest.mark.parametrize("has_units", [True, False])
def test_the_precision_of_a_run_is_saved_reported_and_kept_when_it_is_resumed(
    has_units, tiny, blocks, tmp_path, monkeypatch
):
    monkeypatch.setattr(run_module, "has_bf16_units", lambda: has_units)
    rows = run(tiny(precision="bf16"), tmp_path, blocks, steps=1)
    note = "precision: float32, for optim.precision=bf16 is slower on this cpu"
    assert (note in rows[0]["notes"]) is not has_units
    expected = str(torch.bfloat16 if has_units else None)
    assert load_checkpoint(tmp_path / LAST)["precision"] == expected
    monkeypatch.setattr(run_module, "has_bf16_units", lambda: not has_units)
    run(tiny(precision="bf16"), tmp_path, blocks, steps=1, resume=True)
    assert load_checkpoint(tmp_path / LAST)["precision"] == expected


def test_training_can_begin_with_other_weights(tiny, blocks, tmp_path):
    run(tiny(max_steps=2), tmp_path / "first", blocks)
    start = {"max_steps": 1, "optimizer": "sgd", "lr": 1e-9, "ema_decay": 0.0}
    run(tiny(init=str(tmp_path / "first"), **start), tmp_path / "second", blocks)
    begun = load_weights(tmp_path / "first").model.state_dict()
    for name, value in load_checkpoint(tmp_path / "second" / LAST)["model"].items():
        if not name.endswith(("_mean", "_var", "_tracked")):
            assert_close(value, begun[name], rtol=0, atol=1e-7)


def test_step_randomness_differs_between_steps_and_parts():
    draws = {
        float(torch.rand((), generator=step_rng(seed, step, part)))
        for seed in (0, 1)
        for step in (0, 1)
        for part in (0, 1)
    }
    assert len(draws) == 8


def test_class_counts_follow_the_categories(tiny, blocks):
    both = fit_to_categories(tiny().model, blocks[0].categories)
    assert (both.num_things, both.num_semantic) == (2, 3)
    semantic = fit_to_categories(tiny(instance_branch=False).model, blocks[0].categories)
    assert semantic.num_semantic == 4
    with pytest.raises(ValueError, match="no thing class"):
        fit_to_categories(tiny().model, [blocks[0].categories[0]])


def test_the_lovasz_loss_begins_at_its_fraction_of_the_run(tiny, blocks, tmp_path):
    late = run(tiny(lovasz_weight=1.0, lovasz_start=0.5), tmp_path / "late", blocks)
    never = run(tiny(), tmp_path / "never", blocks)
    always = run(tiny(lovasz_weight=1.0), tmp_path / "always", blocks)
    semantic = [
        [row["loss_semantic"] for row in rows if row["kind"] == "train"]
        for rows in (late, never, always)
    ]
    assert semantic[0][0] == semantic[1][0] < semantic[2][0]
    assert semantic[0][-1] > semantic[1][-1]
