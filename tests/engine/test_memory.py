"""What a step takes is foreseen, and can be made less without learning something else."""

import copy
from dataclasses import replace

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from torch.testing import assert_close

from pfpn.data.loader import TrainingItems, collate
from pfpn.data.transforms import build_transform
from pfpn.engine.checkpoint import LAST, load_checkpoint
from pfpn.engine.config import DataConfig
from pfpn.engine.memory import (
    GIB,
    StepMemory,
    count_saved,
    describe_memory,
    estimate_memory,
    largest_size,
    recompute_blocks,
)
from pfpn.engine.optim import build_optimizer
from pfpn.engine.presets import PRESETS
from pfpn.engine.train import fit_to_categories, train, training_set
from pfpn.model import PanopticFPN, total_loss
from tests.engine.conftest import Blocks

FACTOR = 1.25  # by which estimate and measurement may differ, either way


def first_batch(config, num):
    dataset = training_set(config.data)
    items = TrainingItems(dataset, build_transform())
    return collate([items[0, i] for i in range(num)])


def measured_peak(config, batch) -> int:
    """Bytes that the CPU's allocator has handed out at most, weights and optimizer among them."""
    torch.manual_seed(0)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        model = PanopticFPN(config.model).train()
        if config.gradient_checkpointing:
            recompute_blocks(model)
        optimizer = build_optimizer(model, config.optim)
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
        optimizer.step()  # its numbers are there from the first step on
        optimizer.zero_grad(set_to_none=True)
        total_loss(model(batch, torch.Generator().manual_seed(0)), config.model).backward()
        optimizer.step()
    events = watched.profiler.kineto_results.events()
    changes = [(e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]"]
    held = peak = 0
    for _, change in sorted(changes, key=lambda entry: entry[0]):
        held += change
        peak = max(peak, held)
    return peak


def toy_at(size, **changes):
    config = replace(PRESETS["toy"](), data=DataConfig(toy_size=size, toy_train_images=4))
    optim = replace(config.optim, ema_decay=0.0)
    return replace(config, optim=optim, **changes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "checkpointing"), [("toy", False), ("toy", True), ("coco_r50_1x", False)]
)
def test_the_estimate_is_near_what_a_step_takes(name, checkpointing):
    size, num = ((192, 288), 4) if name == "toy" else ((256, 384), 2)
    config = toy_at(size, gradient_checkpointing=checkpointing)
    if name != "toy":
        published = PRESETS[name]()
        config = replace(config, model=published.model, optim=published.optim)
    model = fit_to_categories(config.model, training_set(config.data).categories)
    # So few masks that a model without knowledge finds as many foreground rois as it may.
    model = replace(model, imagenet=False, box_positive_fraction=0.01)
    config = replace(config, model=model)
    estimate = estimate_memory(config, num, size)
    measured = measured_peak(config, first_batch(config, num))
    print(f"{name}: {estimate.total / 2**20:.0f} MiB estimated, {measured / 2**20:.0f} measured")
    assert measured / FACTOR < estimate.total < measured * FACTOR


def test_the_estimate_grows_with_all_that_takes_memory():
    config = toy_at((128, 192))

    def total(**changes):
        how = {k: changes.pop(k) for k in ("precision", "world") if k in changes}
        num, size = changes.pop("num", 2), changes.pop("size", (128, 192))
        optim = replace(config.optim, **changes.pop("optim", {}))
        return estimate_memory(replace(config, optim=optim, **changes), num, size, **how).total

    plain = total()
    assert total(num=4) > 1.3 * plain
    assert total(size=(256, 192)) > 1.3 * plain
    assert total(world=2) > plain
    assert total(optim={"ema_decay": 0.9}) > plain
    assert total(optim={"optimizer": "sgd"}) < plain
    assert total(precision=torch.bfloat16) < plain
    assert total(gradient_checkpointing=True) < plain
    semantic_only = replace(config.model, instance_branch=False)
    assert total(model=semantic_only) < plain


@pytest.mark.parametrize(
    ("name", "num_classes"),
    [
        ("coco_r50_1x", (80, 54)),
        ("coco_r50_3x", (80, 54)),
        ("coco_r101_3x", (80, 54)),
        ("cityscapes_r50", (8, 12)),
    ],
)
def test_presets_name_the_memory_that_is_counted(name, num_classes):
    config = PRESETS[name]()
    images = Sized((384, 640), (640, 384)) if "coco" in name else Sized((1024, 2048))
    model = replace(config.model, num_things=num_classes[0], num_semantic=num_classes[1])
    num_images, size = config.batch_size // 8, largest_size(config.data, images)
    memory = estimate_memory(replace(config, model=model), num_images, size, world=8)
    sentence = f"Memory: estimated {memory.total / GIB:.1f} GiB per GPU of {num_images} "
    assert sentence in PRESETS[name].__doc__


def test_memory_is_described_in_a_line():
    memory = StepMemory(2 * 2**30, 2**30, 3 * 2**30, 2**29)
    line = describe_memory(memory, 2, (800, 1344))
    assert line.startswith("memory: about 5.5 GiB per process for 2 images of up to 800 x 1344")


def test_estimating_draws_no_random_numbers():
    before = torch.get_rng_state()
    estimate_memory(toy_at((64, 64)), 1, (64, 64))
    assert torch.equal(before, torch.get_rng_state())


class Sized(Blocks):
    def __init__(self, *sizes):
        super().__init__(len(sizes))
        self._sizes = sizes

    def sizes(self):
        return self._sizes


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (640, 640)),  # both orientations meet in a batch
        ({"group_by_aspect": True}, (640, 480)),
        (
            {"shortest_edges": (240, 800), "longest_edge": 1333, "group_by_aspect": True},
            (1088, 800),
        ),
        ({"shortest_edges": (800,), "longest_edge": 1000, "group_by_aspect": True}, (1024, 800)),
        ({"shortest_edges": (240,), "crop": (512, 200)}, (320, 224)),
    ],
)
def test_the_largest_batch_is_found_from_the_images_sizes(changes, expected):
    dataset = Sized((480, 640), (640, 480), (100, 100))
    assert largest_size(DataConfig(**changes), dataset) == expected


def test_a_data_set_that_does_not_know_its_sizes_shows_its_first_image(blocks):
    assert largest_size(DataConfig(), blocks[0]) == (64, 96)


@pytest.mark.parametrize("norm", ["frozen", "batch"])
def test_recomputing_gives_the_same_gradients_and_keeps_less(norm, tiny, blocks):
    config = tiny(norm=norm, frozen_stages=1 if norm == "frozen" else 0)
    config = replace(config, model=fit_to_categories(config.model, blocks[0].categories))
    torch.manual_seed(0)
    plain = PanopticFPN(config.model).train()
    saving = copy.deepcopy(plain)
    recompute_blocks(saving)
    batch = collate([TrainingItems(blocks[0], build_transform())[0, i] for i in range(2)])
    kept = []
    for model in (plain, saving):
        with count_saved() as saved:
            loss = total_loss(model(batch, torch.Generator().manual_seed(0)), config.model)
        kept.append(sum(saved.values()))
        loss.backward()
    assert kept[1] < 0.8 * kept[0]
    for (name, one), two in zip(plain.named_parameters(), saving.parameters(), strict=True):
        assert (one.grad is None) == (two.grad is None)
        if one.grad is not None:
            assert_close(one.grad, two.grad, rtol=1e-5, atol=1e-6, msg=name)
    for name, value in plain.state_dict().items():  # running statistics moved once
        assert_close(saving.state_dict()[name], value, rtol=0, atol=0, msg=name)


def test_a_copy_of_a_recomputing_model_uses_its_own_weights(tiny, blocks):
    torch.manual_seed(0)
    model = PanopticFPN(tiny().model)
    recompute_blocks(model)
    other = copy.deepcopy(model)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = model.eval().pyramid(images)["p2"]
        for parameter in model.parameters():
            parameter.zero_()
        assert_close(other.eval().pyramid(images)["p2"], before)
        assert float(model.pyramid(images)["p2"].abs().max()) == 0


def test_a_recomputing_run_learns_the_same(tiny, blocks, tmp_path):
    for name, saving in (("plain", False), ("saving", True)):
        config = tiny(max_steps=3, gradient_checkpointing=saving, optimizer="sgd", lr=0.01)
        rows = list(train(config, tmp_path / name, datasets=blocks))
    assert any(note.startswith("memory: about ") for note in rows[0]["notes"])
    one, two = (load_checkpoint(tmp_path / name / LAST) for name in ("plain", "saving"))
    assert one["model"].keys() == two["model"].keys()
    for key, value in one["model"].items():
        assert_close(two["model"][key], value, rtol=1e-4, atol=1e-5, msg=key)
