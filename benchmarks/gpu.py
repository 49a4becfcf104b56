"""Everything that needs a GPU, measured and checked by one script, in minutes.

    python benchmarks/gpu.py --out runs/gpu --minutes 8
    python benchmarks/gpu.py --out runs/rehearsal --device cpu --minutes 2 --small

It needs Linux and a python3 with torch >= 2.10 and torchvision >= 0.25; pfpn is taken from the
repository that this file is in, nothing is installed or fetched, and all data are drawn. Each part
runs in a process of its own, so that an error of one is recorded and the others go on. Results are
written as they come: gpu.json, and gpu.md to read. `--only PART ...` runs some parts, `--list`
names them. `--small` is the rehearsal: small images and models, to see that every line runs.
"""

import argparse
import copy
import os
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import _plain  # noqa: E402
import torch  # noqa: E402
import torchvision  # noqa: E402
from torch import Tensor, nn  # noqa: E402

MISSING = _plain.fill_in()  # before pfpn is imported

from _parts import Part, Report, Row, Setting, run_parts  # noqa: E402

from pfpn.losses import lovasz_hinge, lovasz_softmax, lovasz_softmax_from_logits  # noqa: E402
from pfpn.merge import merge  # noqa: E402
from pfpn.model import ModelConfig, PanopticFPN, total_loss  # noqa: E402
from pfpn.predict import PredictConfig, predict  # noqa: E402
from pfpn.quality import PanopticQuality  # noqa: E402
from pfpn.structures import Batch, Panoptic, Sample  # noqa: E402

Job = Callable[[], object]
GIB = 2**30


# Measuring ---------------------------------------------------------------------------------------


def synchronize(device: str) -> None:
    """Wait until the device has done all that it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def measure(job: Job, device: str, most: int = 10, seconds: float = 3.0) -> Row:
    """Return the median milliseconds of a job, and its peak of GPU memory in GiB."""
    for _ in range(1 if device == "cpu" else 3):  # the first ones load, plan and allocate
        job()
    synchronize(device)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    times: list[float] = []
    begun = time.perf_counter()
    while len(times) < min(2, most) or (
        len(times) < most and time.perf_counter() - begun < seconds
    ):
        start = time.perf_counter()
        job()
        synchronize(device)
        times.append(1e3 * (time.perf_counter() - start))
    row: Row = {"ms": statistics.median(times), "times": len(times)}
    if device == "cuda":
        row["peak GiB"] = torch.cuda.max_memory_allocated() / GIB
    return row


def attempt(row: Row, job: Callable[[], Row], setting: Setting) -> Row:
    """Return `row` with what the job says, or with why it says nothing."""
    if setting.left() < 0:
        return row | {"error": "left out: no time was left for it"}
    try:
        return row | job()
    except Exception as error:  # out of memory, not supported: the next measurement goes on
        if setting.device == "cuda":
            torch.cuda.empty_cache()
        return row | {"error": f"{type(error).__name__}: {error}"[:300]}


@contextmanager
def arithmetic(precision: str, device: str) -> Iterator[None]:
    """Compute in "float32", in "TF32" (its products alone) or in "bf16" (mixed precision)."""
    torch.set_float32_matmul_precision("highest" if precision == "float32" else "high")
    torch.backends.cudnn.allow_tf32 = precision != "float32"
    with torch.autocast(device, torch.bfloat16, precision == "bf16"):
        yield


def distance(result: Tensor, expected: Tensor) -> float:
    """Return the length of the difference, relative to the length of what is expected."""
    result, expected = result.detach().double().cpu(), expected.detach().double().cpu()
    return float((result - expected).norm() / expected.norm().clamp(min=1e-30))


def check(name: str, difference: float, allowed: float) -> Row:
    """Return a row that says how far two computations are apart."""
    return {
        "check": name, "difference": difference, "allowed": allowed, "ok": difference <= allowed,
    }  # fmt: skip


# The machine -------------------------------------------------------------------------------------


def machine(setting: Setting) -> Iterator[Row]:
    """Name the device and the versions of all that takes part."""
    facts: dict[str, object] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "cores": os.cpu_count(),
        "load": ", ".join(f"{load:.1f}" for load in os.getloadavg()),
        "stand-ins for": ", ".join(MISSING) or "none",
    }
    if setting.device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        facts |= {
            "GPU": properties.name,
            "GPU memory": f"{properties.total_memory / GIB:.1f} GiB",
            "capability": f"{properties.major}.{properties.minor}",
            "CUDA": torch.version.cuda,
            "cuDNN": torch.backends.cudnn.version(),
            "NCCL": ".".join(map(str, torch.cuda.nccl.version())),
        }
    for name, value in facts.items():
        yield {"what": name, "value": value}


# The same results as on a CPU --------------------------------------------------------------------


Loss = Callable[[Tensor, Tensor], Tensor]
LOSSES: dict[str, tuple[bool, Loss]] = {  # name: (of one logit per pixel, loss of logits, labels)
    "softmax, exact": (False, lambda x, y: lovasz_softmax(x.softmax(1), y, ignore=255)),
    "softmax, 1024 bins": (
        False, lambda x, y: lovasz_softmax(x.softmax(1), y, ignore=255, bins=1024),
    ),
    "from logits, exact": (False, lambda x, y: lovasz_softmax_from_logits(x, y, ignore=255)),
    "from logits, per image": (
        False, lambda x, y: lovasz_softmax_from_logits(x, y, ignore=255, per_image=True),
    ),
    "from logits, 1024 bins": (
        False, lambda x, y: lovasz_softmax_from_logits(x, y, ignore=255, bins=1024),
    ),
    "hinge, exact": (True, lambda x, y: lovasz_hinge(x, y, ignore=255)),
    "hinge, 1024 bins": (True, lambda x, y: lovasz_hinge(x, y, ignore=255, bins=1024)),
}  # fmt: skip


def value_and_gradient(loss: Loss, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    leaf = logits.clone().requires_grad_()
    value = loss(leaf, labels)
    value.backward()
    assert leaf.grad is not None
    return value.detach(), leaf.grad


def loss_case(is_hinge: bool, small: bool) -> tuple[Tensor, Tensor]:
    """Draw logits that favor the truth, and labels of which some are ignored."""
    from lovasz import make_case

    side = 64 if small else 256
    shape = (2, side, side) if is_hinge else (2, 19, side, side)
    logits, labels = make_case(shape, 2 if is_hinge else 19, True)
    labels[:, : side // 8] = 255
    return logits, labels


def equal_losses(setting: Setting) -> Iterator[Row]:
    """Compare each Lovász loss on the device in float32 with the CPU in float64.

    Errors that tie or lie on the border of two bins may be weighted otherwise after rounding.
    """
    for name, (is_hinge, loss) in LOSSES.items():
        logits, labels = loss_case(is_hinge, setting.small)
        expected = value_and_gradient(loss, logits.double(), labels)
        result = value_and_gradient(loss, logits.to(setting.device), labels.to(setting.device))
        yield check(f"Lovász {name}: loss", distance(result[0], expected[0]), 1e-5)
        yield check(f"Lovász {name}: gradient", distance(result[1], expected[1]), 1e-2)


def equal_model(setting: Setting) -> Iterator[Row]:
    """Compare losses and gradient of one model and batch, in float32.

    Rounding may turn the order of two proposals, so that other rois are sampled.
    """
    from pfpn.engine.presets import small_model

    config = replace(small_model(), num_things=80, num_semantic=54)
    torch.manual_seed(0)
    model = PanopticFPN(config)
    batch = draw_batch((128, 192), 2, "cpu")
    results = []
    for device in ("cpu", setting.device):
        own = copy.deepcopy(model).to(device).train()
        with arithmetic("float32", device):
            losses = own(batch.to(device), torch.Generator().manual_seed(0))
            total_loss(losses, config).backward()
        weights = [p.grad.flatten().cpu() for p in own.parameters() if p.grad is not None]
        results.append((losses, torch.cat(weights)))
    for name, expected in results[0][0].items():
        yield check(f"model: {name}", distance(results[1][0][name], expected), 1e-2)
    yield check("model: gradient", distance(results[1][1], results[0][1]), 5e-2)


def equal_merge(setting: Setting) -> Iterator[Row]:
    """Merge the same instances and labels on both; the maps must be identical."""
    from inference import make_truth

    truth, label_map = make_truth((200, 267), 0)
    scores = torch.linspace(0.4, 0.95, len(truth))
    maps = []
    for device in ("cpu", setting.device):
        place = (truth.masks.to(device), scores.to(device), truth.labels.to(device))
        maps.append(merge(*place, label_map.to(device), min_stuff_area=64))
    changed = (maps[0].id_map != maps[1].id_map.cpu()).sum()
    yield check("merge: pixels that differ", float(changed), 0)
    yield check("merge: segments are the same", float(maps[0].segments != maps[1].segments), 0)


def equal_predictions(setting: Setting) -> Iterator[Row]:
    """Predict drawn streets with the shipped weights; compare the maps and their quality."""
    from pfpn.data.toy import ToyStreet
    from pfpn.engine.checkpoint import load_weights
    from pfpn.shipped import TOY_WEIGHTS, shipped

    streets = ToyStreet(2 if setting.small else 20, seed=7)
    samples = [streets[i] for i in range(len(streets))]
    maps: list[list[Panoptic]] = []
    qualities = []
    for device in ("cpu", setting.device):
        trained = load_weights(shipped(TOY_WEIGHTS), device)
        with arithmetic("float32", device):
            predictions = predict(trained.model, [s.image for s in samples], trained.predict)
        maps.append([Panoptic(p.panoptic.id_map.cpu(), p.panoptic.segments) for p in predictions])
        qualities.append(panoptic_quality(samples, maps[-1], streets.categories))
    changed = sum(int((one.id_map != other.id_map).sum()) for one, other in zip(*maps, strict=True))
    total = sum(one.id_map.numel() for one in maps[0])
    yield check("predictions: part of the pixels that differ", changed / total, 1e-3)
    yield check("predictions: PQ in [0, 1]", abs(qualities[0] - qualities[1]), 2e-3)


def panoptic_quality(
    samples: Sequence[Sample], maps: Sequence[Panoptic], categories: Sequence[Any]
) -> float:
    quality = PanopticQuality(categories)
    for sample, panoptic in zip(samples, maps, strict=True):
        quality.update(sample.panoptic, panoptic)
    result = quality.compute().all
    assert result is not None
    return result.pq


def equal(setting: Setting) -> Iterator[Row]:
    """Run all comparisons with the CPU."""
    for compare in (equal_losses, equal_merge, equal_model, equal_predictions):
        yield from compare(setting)


def round_trips(setting: Setting) -> Iterator[Row]:
    """Run each Lovász loss where waiting for the device is an error, then inside a CUDA graph."""
    if setting.device != "cuda":
        yield {"loss": "all", "note": "left out: only CUDA has graphs"}
        return
    for name, (is_hinge, loss) in LOSSES.items():
        logits, labels = (x.to("cuda") for x in loss_case(is_hinge, True))
        yield attempt({"loss": name}, lambda: without_waiting(loss, logits, labels), setting)  # noqa: B023
    for name, (is_hinge, loss) in LOSSES.items():
        logits, labels = (x.to("cuda") for x in loss_case(is_hinge, True))
        row = {"loss": f"{name}, graph"}
        yield attempt(row, lambda: in_a_graph(loss, logits, labels), setting)  # noqa: B023


def without_waiting(loss: Loss, logits: Tensor, labels: Tensor) -> Row:
    value_and_gradient(loss, logits, labels)  # loads what is loaded once
    torch.cuda.set_sync_debug_mode("error")
    try:
        value_and_gradient(loss, logits, labels)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return {"works": True}


def in_a_graph(loss: Loss, logits: Tensor, labels: Tensor) -> Row:
    """Capture loss and gradient, replay them, and compare."""
    expected = value_and_gradient(loss, logits, labels)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = value_and_gradient(loss, logits, labels)
    graph.replay()
    torch.cuda.synchronize()
    same = all(torch.equal(a, b) for a, b in zip(result, expected, strict=True))
    return {"works": same}


# A training step ---------------------------------------------------------------------------------


def draw_batch(size: tuple[int, int], num: int, device: str) -> Batch:
    """Draw images of (height, width) with ten things each, and their truth."""
    from inference import make_truth, picture

    images = [picture(size, seed) for seed in range(num)]
    truths = [make_truth(size, seed) for seed in range(num)]
    instances, label_maps = [t for t, _ in truths], [m for _, m in truths]
    return Batch(images, instances, label_maps, list(range(num))).to(device)


def build_both(size: tuple[int, int], small: bool) -> tuple[nn.Module, PanopticFPN]:
    """Build torchvision's Mask R-CNN, and the published Panoptic FPN with its weights."""
    from inference import build_torchvision, convert

    theirs = build_torchvision(size)
    changes: dict[str, Any] = {}
    if small:
        changes = {
            "train_proposals": 50, "box_samples": 16, "test_proposals": 50, "max_detections": 5,
        }  # fmt: skip
        theirs.rpn._post_nms_top_n = {"training": 50, "testing": 50}
        theirs.roi_heads.fg_bg_sampler.batch_size_per_image = 16
        theirs.roi_heads.detections_per_img = 5
    published = {"roi_sampling_ratio": 0, "roi_aligned": True, "anchor_rounding": False}
    ours = convert(theirs, semantic_branch=True, num_semantic=54, **published, **changes)
    return theirs, ours


def our_step(model: PanopticFPN, batch: Batch, precision: str, device: str) -> Job:
    optimizer = without_moving(model)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with arithmetic(precision, device):
            losses = model(batch, torch.Generator().manual_seed(0))
        total_loss(losses, model.config).backward()
        optimizer.step()

    return step


def their_step(model: nn.Module, batch: Batch, precision: str, device: str) -> Job:
    optimizer = without_moving(model)
    targets = [
        {"boxes": t.boxes, "labels": t.labels + 1, "masks": t.masks.to(torch.uint8)}
        for t in batch.instances
    ]

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        images = [image.float() / 255 for image in batch.images]
        with arithmetic(precision, device):
            losses = model(images, targets)
        sum(losses.values()).backward()
        optimizer.step()

    return step


def without_moving(model: nn.Module) -> torch.optim.SGD:
    """Return an optimizer that does all its work at a rate of 0, so that all steps are alike."""
    learning = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.SGD(learning, lr=0.0, momentum=0.9, weight_decay=1e-4)


@cache
def estimate(config: ModelConfig, num: int, size: tuple[int, int], precision: str) -> float:
    """Return `engine.memory`'s estimate of a step in GiB."""
    from pfpn.engine.config import TrainConfig
    from pfpn.engine.memory import estimate_memory

    height, width = (-(-side // 32) * 32 for side in size)
    half = torch.bfloat16 if precision == "bf16" else None
    memory = estimate_memory(TrainConfig(model=config), num, (height, width), precision=half)
    return memory.total / GIB


OURS, THEIRS = "pfpn, panoptic", "torchvision, Mask R-CNN"
STEPS = [  # (model, precision, channels_last), in the order of what a user would ask first
    (OURS, "TF32", False), (THEIRS, "TF32", False),
    (OURS, "bf16", False), (THEIRS, "bf16", False),
    (OURS, "float32", False), (THEIRS, "float32", False),
    (OURS, "TF32", True), (OURS, "bf16", True),
]  # fmt: skip


def training(setting: Setting) -> Iterator[Row]:
    """Time a step of both models; compare the peak of memory with the estimate."""
    size = (64, 96) if setting.small else (800, 1067)
    models = dict(zip((THEIRS, OURS), build_both(size, setting.small), strict=True))
    for num in (1,) if setting.small else (2, 8, 16):
        batch = draw_batch(size, num, setting.device)
        for who, precision, channels_last in STEPS:
            row: Row = {"images": num, "model": who, "precision": precision}
            row["channels_last"] = channels_last
            job = (who, models[who], batch, precision, channels_last)
            yield attempt(row, lambda: time_step(*job, setting), setting)  # noqa: B023


def time_step(
    who: str,
    model: nn.Module,
    batch: Batch,
    precision: str,
    channels_last: bool,
    setting: Setting,
) -> Row:
    """Return milliseconds, images a second, and memory beside its estimate."""
    before = torch.cuda.memory_allocated() if setting.device == "cuda" else 0  # the images
    own = copy.deepcopy(model).to(setting.device).train()
    if channels_last:
        own = own.to(memory_format=torch.channels_last)
    make = our_step if who == OURS else their_step
    few = {"most": 1} if setting.small else {}
    row = measure(make(own, batch, precision, setting.device), setting.device, **few)
    row["images/s"] = 1e3 * len(batch) / row["ms"]
    if "peak GiB" in row:
        row["peak GiB"] -= before / GIB
    if who == OURS:
        height, width = batch.images[0].shape[1:]
        row["estimate GiB"] = estimate(model.config, len(batch), (height, width), precision)
    return row


def compiled(setting: Setting) -> Iterator[Row]:
    """Time a step before and after `compile_parts`, and the compilation itself."""
    from pfpn.engine.run import compile_parts

    size = (64, 96) if setting.small else (800, 1067)
    num, device = (1 if setting.small else 8), setting.device
    _, model = build_both(size, setting.small)
    model = model.to(device).train()
    batch = draw_batch(size, num, device)
    few = {"most": 1} if setting.small else {}
    for precision in ("bf16",) if setting.small else ("bf16", "TF32"):
        own = copy.deepcopy(model)
        job = our_step(own, batch, precision, device)
        row: Row = {"images": num, "precision": precision}
        yield attempt(row | {"compiled": False}, lambda: measure(job, device, **few), setting)  # noqa: B023
        compile_parts(own, "inductor" if device == "cuda" else "eager")
        start = time.perf_counter()
        first = attempt({}, lambda: {"done": job()}, setting)  # noqa: B023
        row |= {"compiled": True, "first step, s": time.perf_counter() - start}
        if "error" in first:
            yield row | first
        else:
            yield attempt(row, lambda: measure(job, device, **few), setting)  # noqa: B023


# Inference ---------------------------------------------------------------------------------------


@torch.no_grad()
def inference(setting: Setting) -> Iterator[Row]:
    """Time one image of 800 pixels, from the image on the device to masks or a panoptic map."""
    from inference import picture, whole_ours, whole_torchvision

    size = (64, 96) if setting.small else (800, 1067)
    theirs, ours = (model.to(setting.device) for model in build_both(size, setting.small))
    image = picture(size).to(setting.device)
    config = PredictConfig(shortest_edge=0)
    jobs: dict[str, Job] = {
        "torchvision, pasted masks": lambda: whole_torchvision(theirs, image),
        "pfpn, pasted masks": lambda: whole_ours(ours, image),
        "pfpn, panoptic map": lambda: predict(ours, [image], config, all_detections=False),
    }
    few = {"most": 1} if setting.small else {}
    for precision in ("TF32", "float32", "bf16"):
        for name, job in jobs.items():
            row = {"what": name, "precision": precision}

            def timed(job: Job = job, precision: str = precision) -> Row:
                with arithmetic(precision, setting.device):
                    return measure(job, setting.device, **few)

            yield attempt(row, timed, setting)


# The Lovász losses -------------------------------------------------------------------------------


def lovasz(setting: Setting) -> Iterator[Row]:
    """Time the losses beside cross-entropy, the authors' algorithm, and peers that are there."""
    from lovasz import make_case, methods

    cases = [((2, 19, 512, 1024), 19), ((8, 133, 256, 256), 28)]
    if setting.small:
        cases = [((2, 19, 64, 128), 19), ((2, 33, 32, 32), 8)]
    for shape, present in cases:
        for trained in (False, True):
            logits, labels = (x.to(setting.device) for x in make_case(shape, present, trained))
            logits.requires_grad_()
            base: float | None = None
            rows = []
            for name, loss in methods(hinge=False).items():
                row: Row = {"logits": str(shape), "scores": "trained" if trained else "new"}
                row["method"] = name
                job = lambda: time_loss(loss, logits, labels, setting)  # noqa: B023, E731
                row = attempt(row, job, setting)
                rows.append(row)
                base = row.get("ms") if name == "authors" else base
            for row in rows:
                if base and "ms" in row:
                    row["authors / it"] = base / row["ms"]
                yield row


def time_loss(loss: Loss, logits: Tensor, labels: Tensor, setting: Setting) -> Row:
    """Return milliseconds forward and backward, and the peak above what was there."""

    def step() -> None:
        logits.grad = None
        loss(logits, labels).backward()

    if setting.device != "cuda":
        return measure(step, setting.device, most=2)
    logits.grad = None
    before = torch.cuda.memory_allocated()
    row = measure(step, setting.device, seconds=1.0)
    row["peak / logits"] = (row["peak GiB"] * GIB - before) / (4 * logits.numel())
    return row


# Training runs -----------------------------------------------------------------------------------


def toy_run(setting: Setting) -> Iterator[Row]:
    """Train on the drawn world for a minute (as long as there is time for), then score it."""
    from pfpn.engine.presets import toy
    from pfpn.engine.train import train

    config = toy()
    num = (8, 2) if setting.small else (1000, 100)
    data = replace(config.data, toy_train_images=num[0], toy_val_images=num[1])
    seconds = min(2.0 if setting.small else 60.0, 0.6 * setting.left())
    config = replace(
        config, data=data, device=setting.device, max_steps=100_000, max_minutes=seconds / 60
    )
    steps, speed = 0, 0.0
    for row in train(config, setting.folder / "toy"):
        if row["kind"] == "train":
            steps, speed = row["step"], row["images_per_second"]
        if row["kind"] == "eval":
            yield {
                "seconds": seconds, "steps": steps, "images/s": speed, "PQ": 100 * row["pq"],
                "PQ things": 100 * row.get("pq_things", 0.0),
                "PQ stuff": 100 * row.get("pq_stuff", 0.0),
                "mIoU": 100 * row["miou"], "validation images": num[1],
            }  # fmt: skip


def short_run(setting: Setting, name: str, *stops: int) -> dict[str, Tensor]:
    """Train 20 steps on the drawn world, stopped and resumed after `stops`; return the weights."""
    from pfpn.engine.checkpoint import load_weights
    from pfpn.engine.presets import toy
    from pfpn.engine.train import train

    config = toy()
    data = replace(config.data, toy_train_images=8, toy_val_images=1, toy_size=(64, 96))
    last = 4 if setting.small else 20
    config = replace(
        config, data=data, device=setting.device, max_steps=last, log_every=1, save_every=1000
    )
    folder = setting.folder / name
    for number, end in enumerate((*stops, last)):
        done = 0
        for row in train(config, folder, resume=number > 0, stop=lambda: done + 1 >= end):  # noqa: B023
            done = row["step"]
    return load_weights(folder).model.state_dict()


def compare_runs(setting: Setting, name: str, *stops: int) -> Row:
    """Return how far two runs of one seed are apart; equal on a CPU, rounding apart on a GPU."""
    first = short_run(setting, f"{name}_1")
    second = short_run(setting, f"{name}_2", *stops)
    weights = [torch.cat([w.double().flatten() for w in run.values()]) for run in (first, second)]
    same = all(torch.equal(first[key], second[key]) for key in first)
    allowed = 0.0 if setting.device == "cpu" else 0.05
    row = check(name, distance(weights[1], weights[0]), allowed)
    return row | {"equal bit for bit": same}


def repeat(setting: Setting) -> Iterator[Row]:
    """Train 20 steps twice with one seed."""
    yield compare_runs(setting, "twice with one seed")


def resume(setting: Setting) -> Iterator[Row]:
    """Train 20 steps, once in one go and once stopped after half of them and resumed."""
    yield compare_runs(setting, "stopped and resumed", 2 if setting.small else 10)


def one_process(setting: Setting) -> Iterator[Row]:
    """Join a group of one process by NCCL (gloo on a CPU); compare the gradient through it."""
    import torch.distributed as dist

    backend = "nccl" if setting.device == "cuda" else "gloo"
    store = dist.HashStore()
    dist.init_process_group(backend, store=store, rank=0, world_size=1)
    try:
        total = torch.ones(1 << 20, device=setting.device)
        dist.all_reduce(total)
        yield check(f"{backend}: all_reduce", distance(total, torch.ones(1 << 20)), 0)
        yield check(f"{backend}: gradient through DistributedDataParallel", *_through(setting))
    finally:
        dist.destroy_process_group()


def _through(setting: Setting) -> tuple[float, float]:
    """Return the distance of the two gradients, and what is allowed."""
    from pfpn.engine.presets import small_model

    torch.manual_seed(0)
    config = replace(small_model(), num_things=80, num_semantic=54)
    model = PanopticFPN(config).to(setting.device).train()
    batch = draw_batch((64, 96), 2, setting.device)
    gradients = []
    for wrap in (nn.Identity(), nn.parallel.DistributedDataParallel):
        own = copy.deepcopy(model)
        network = own if isinstance(wrap, nn.Identity) else wrap(own)
        losses = network(batch, torch.Generator().manual_seed(0))
        total_loss(losses, config).backward()
        grads = [p.grad.flatten() for p in own.parameters() if p.grad is not None]
        gradients.append(torch.cat(grads))
    return distance(gradients[1], gradients[0]), 0.0 if setting.device == "cpu" else 1e-3


# -------------------------------------------------------------------------------------------------


PARTS = [
    Part("machine", 5, machine),
    Part("equal", 35, equal, "Results on the device against the CPU: relative differences."),
    Part("training", 140, training, "One step of R-50, forward, backward and update."),
    Part("inference", 30, inference, "One image."),
    Part("lovasz", 45, lovasz, "Forward and backward, each method from the same logits."),
    Part("round trips", 10, round_trips, "Does a loss wait for the device? Does a graph hold it?"),
    Part("toy", 110, toy_run, "The drawn world, trained from scratch; scores in percent."),
    Part("repeat", 20, repeat, "One seed, two runs: relative difference of all weights."),
    Part("resume", 25, resume, "The same with a stop: relative difference of all weights."),
    Part("one process", 15, one_process, "Distributed training, as a group of one process."),
    Part("compiled", 75, compiled, "One step of R-50 by torch.compile."),
]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [part.name for part in PARTS]
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "gpu", help="folder")
    parser.add_argument("--minutes", type=float, default=8.0, help="for all parts together (8)")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--small", action="store_true", help="rehearse with small sizes")
    parser.add_argument("--only", nargs="+", choices=names, metavar="PART", default=names)
    parser.add_argument("--list", action="store_true", help="name the parts and end")
    return parser.parse_args()


def main() -> int:
    args = parse()
    if args.list:
        print("\n".join(part.name for part in PARTS))
        return 0
    import tempfile

    warnings.simplefilter("ignore")  # of libraries; the report is what is read
    if args.device == "cpu":
        torch.set_num_threads(1)  # two that wait for each other are slow on a busy machine
    facts = {"device": args.device, "small": args.small, "minutes": args.minutes}
    facts["begun"] = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    title = "pfpn on one GPU" if args.device == "cuda" else "pfpn on a CPU: a rehearsal"
    report = Report(args.out, "gpu", title, facts)
    parts = [part for part in PARTS if part.name in args.only]
    with tempfile.TemporaryDirectory(dir=args.out) as folder:
        setting = Setting(args.device, args.small, Path(folder))
        fine = run_parts(parts, setting, args.minutes, report)
    print(f"written: {args.out / 'gpu.md'} and gpu.json")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
