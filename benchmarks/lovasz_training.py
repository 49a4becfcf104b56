"""What do the Lovász losses do to a real training run, against cross-entropy on the same budget?

    python benchmarks/lovasz_training.py                    # both worlds, to the end
    python benchmarks/lovasz_training.py --worlds toy       # one of them (two can run side by side)
    python benchmarks/lovasz_training.py --report           # table, plot and results, no training

A Semantic FPN (the semantic branch alone, every class) learns the drawn streets and, where
../shared (or PFPN_SHARED) holds it, CamVid. What finishes is appended to a file of rows under
`--out`, and a second call goes on where the first one was stopped.

Every run has the same data in the same order, the same start and the same shape of schedule: a
constant rate, then a linear fall over the last 30 %. The arms differ in the loss before the fall
and in the loss during it; the control spends both parts on cross-entropy. Runs that begin alike
share their beginning, which changes no result.

Equal steps, and equal time: processor time of a step, measured with the arms taking turns, tells
how many steps an arm gets in the time of the control. An arm whose whole run costs less than 5 %
more has one result for both. A neighbor on the machine changes neither.
"""

import argparse
import copy
import json
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pfpn.data.coco import CocoPanoptic
from pfpn.data.loader import CachedDataset, ShareSampler, TrainingItems, build_loader, open_dataset
from pfpn.data.transforms import ResizeShortestEdge, build_transform, to_label_map
from pfpn.engine.checkpoint import load_checkpoint, save_checkpoint
from pfpn.engine.config import OptimConfig
from pfpn.engine.evaluate import evaluate
from pfpn.engine.optim import build_optimizer, clip_gradients, learning_rate, set_learning_rate
from pfpn.engine.presets import small_model, small_optim
from pfpn.engine.train import fit_to_categories, seed_everything
from pfpn.files import write_atomically
from pfpn.model import ModelConfig, PanopticFPN, stack_label_maps
from pfpn.predict import PredictConfig
from pfpn.quality import SemanticQuality
from pfpn.semantic import semantic_loss, upsample_logits
from pfpn.structures import Batch, Category, Sample, stuff, things

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("PFPN_SHARED", ROOT.parent / "shared"))
RESULTS = ROOT / "benchmarks" / "results" / "lovasz_training.json"
PICTURE = ROOT / "docs" / "images" / "lovasz_training.png"
SAME_COST = 1.05  # of a whole run; below, equal steps and equal time are not told apart

Row = dict[str, Any]


# What is compared --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Loss:
    """One semantic loss."""

    cross_entropy: float = 1.0
    lovasz: float = 0.0
    bins: int = 1024  # 0 sorts
    stride: int = 1  # of the logits that Lovasz sees; cross-entropy sees every pixel

    def __call__(self, model: PanopticFPN, batch: Batch) -> Tensor:
        images, _ = model.stack(batch.images)
        coarse = model.semantic_head(model.pyramid(images))
        logits = upsample_logits(coarse)
        labels = stack_label_maps(batch.label_maps, (logits.shape[2], logits.shape[3]))
        weights = {"lovasz_weight": self.lovasz, "lovasz_bins": self.bins}
        if self.stride == 1:
            return semantic_loss(logits, labels, cross_entropy_weight=self.cross_entropy, **weights)
        dense = semantic_loss(logits, labels, cross_entropy_weight=self.cross_entropy)
        seen = labels[:, self.stride // 2 :: self.stride, self.stride // 2 :: self.stride]
        return dense + semantic_loss(coarse, seen, cross_entropy_weight=0.0, **weights)


CROSS_ENTROPY = Loss()
LOSSES = {
    "ce": CROSS_ENTROPY,
    "lovasz": Loss(cross_entropy=0.0, lovasz=1.0),
    "lovasz exact": Loss(cross_entropy=0.0, lovasz=1.0, bins=0),
    "sum": Loss(lovasz=1.0),
    "sum exact": Loss(lovasz=1.0, bins=0),
    "sum stride 4": Loss(lovasz=1.0, stride=4),
}
CONTROL = "ce"


@dataclass(frozen=True)
class Arm:
    """A recipe: one loss until the rate falls, one while it falls."""

    before: str
    after: str
    words: str


ARMS = {
    CONTROL: Arm("ce", "ce", "cross-entropy to the end (control)"),
    "ce, lovasz": Arm("ce", "lovasz", "cross-entropy, then Lovász (1,024 bins)"),
    "ce, lovasz exact": Arm("ce", "lovasz exact", "cross-entropy, then Lovász (exact)"),
    "ce, sum": Arm("ce", "sum", "cross-entropy, then their sum (1,024 bins)"),
    "ce, sum stride 4": Arm("ce", "sum stride 4", "cross-entropy, then their sum (stride 4)"),
    "sum": Arm("sum", "sum", "their sum from the start (1,024 bins)"),
    "lovasz": Arm("lovasz", "lovasz", "Lovász alone from the start (1,024 bins)"),
}


@dataclass(frozen=True)
class Budget:
    """How much is spent on a world."""

    steps: int  # of the control, in all
    fall: float = 0.3  # share of them during which the rate falls and the second loss rules
    batch: int = 4
    turns: int = 15  # steps of each loss that are timed

    def split(self, cost: float, *, whole: bool) -> tuple[int, int]:
        """Return the steps before and during the fall of an arm whose step costs `cost`.

        `whole`: the arm pays that price from the first step on, not only during the fall.
        """
        after = round(self.steps * self.fall)
        before = self.steps - after
        return round(before / cost) if whole else before, round(after / cost)

    def total(self, cost: float, *, whole: bool) -> float:
        """Return the time of an arm at equal steps, that of the control being 1."""
        return cost if whole else 1 - self.fall + self.fall * cost


@dataclass(frozen=True)
class Repeat:
    """One pairing: all arms of a repeat share start, order and augmentation."""

    world: str  # "toy" or "camvid"
    held_out: str  # drive that nobody trains on; "" in the drawn world, which never repeats itself
    seed: int


@dataclass(frozen=True)
class Data:
    """What a repeat learns from and is judged on."""

    train: Any
    judged: dict[str, Any]  # by name
    transform: Any
    predict: PredictConfig


# The worlds --------------------------------------------------------------------------------------

TOY_SIZE = (96, 144)
CAMVID_EDGE = 180  # pixels; the files have 360
CAMVID_CROP = (96, 144)
DRIVES = ("0006R0", "0001TP")  # by day and at dusk; the third drive has the validation clip


class Chosen:
    """Some samples of a data set, kept in memory."""

    def __init__(self, categories: Sequence[Category], samples: Sequence[Sample]):
        self.categories = categories
        self.samples = list(samples)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


def toy_world(num_train: int = 400, num_test: int = 100) -> dict[str, Data]:
    train = open_dataset("toy", "train", num=num_train, size=TOY_SIZE)
    test = open_dataset("toy", "test", num=num_test, size=TOY_SIZE)
    data = Data(
        CachedDataset(train).fill(),
        {"new streets": CachedDataset(test).fill()},
        build_transform(flip=0.5),
        PredictConfig(shortest_edge=0, min_stuff_area=36),
    )
    return {"": data}


def camvid_world(folder: Path) -> dict[str, Data]:
    """Half-size CamVid, once for each drive that is held out of the training split."""
    shrink = ResizeShortestEdge((CAMVID_EDGE,), 10_000)
    samples: dict[str, list[tuple[str, Sample]]] = {}
    for split in ("train", "val"):
        data = CocoPanoptic(folder, split)
        listed = json.loads((folder / "annotations" / f"panoptic_{split}.json").read_text())
        drives = {image["id"]: image["file_name"].split("_")[0] for image in listed["images"]}
        small = (shrink(sample, torch.Generator()) for sample in data)
        samples[split] = [(drives[sample.image_id], sample) for sample in small]
    transform = build_transform(
        shortest_edges=tuple(range(120, 241, 12)),
        crop=CAMVID_CROP,
        flip=0.5,
        brightness=0.3,
        contrast=0.3,
        saturation=0.3,
    )

    def chosen(split: str, wanted: Any) -> Chosen:
        return Chosen(data.categories, [s for drive, s in samples[split] if wanted(drive)])

    return {
        held_out: Data(
            chosen("train", lambda drive, out=held_out: drive != out),
            {
                "validation clip": chosen("val", lambda drive: True),
                f"drive {held_out}": chosen("train", lambda drive, out=held_out: drive == out),
            },
            transform,
            PredictConfig(shortest_edge=0, min_stuff_area=64),
        )
        for held_out in DRIVES
    }


# One run -----------------------------------------------------------------------------------------


def optim_config() -> OptimConfig:
    """The small model's, but for the fall, which is this file's own business."""
    return replace(small_optim(), warmup_steps=50, schedule="constant")


FINAL_FACTOR = 0.02  # of the rate, at the end


class Run:
    """A model on its way."""

    def __init__(self, data: Data, seed: int, batch: int):
        seed_everything(seed)
        base = replace(small_model(), instance_branch=False)
        self.config: ModelConfig = fit_to_categories(base, data.train.categories)
        self.data, self.seed, self.batch = data, seed, batch
        self.optim = optim_config()
        self.model = PanopticFPN(self.config).to(memory_format=torch.channels_last)
        self.optimizer = build_optimizer(self.model, self.optim)
        self.step = 0

    def state(self) -> Row:
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        return copy.deepcopy(state) | {"step": self.step}

    def load(self, state: Row) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        self.step = state["step"]

    def batches(self) -> Iterator[Batch]:
        items = TrainingItems(self.data.train, self.data.transform, self.seed, all_classes=True)
        sampler = ShareSampler(len(items), self.batch, self.seed, first=self.step)
        return iter(build_loader(items, sampler))

    def train(self, loss: Loss, until: int, *, falling: bool = False) -> float:
        """Go on to step `until`; return the processor seconds. `falling` lowers the rate to 0."""
        began, first = time.process_time(), self.step
        batches = self.batches()
        self.model.train()
        while self.step < until:
            rate = learning_rate(self.optim, self.step, 0.0)
            if falling:
                rate *= 1 - (1 - FINAL_FACTOR) * (self.step - first) / (until - first)
            set_learning_rate(self.optimizer, rate)
            self.one_step(loss, next(batches))
            self.step += 1
        return time.process_time() - began

    def one_step(self, loss: Loss, batch: Batch) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        loss(self.model, batch).backward()
        clip_gradients(self.model, self.optim.clip_norm)
        self.optimizer.step()


def judge(run: Run) -> dict[str, Row]:
    """Return scores in percent for each data set that the run is judged on."""
    return {
        name: judge_on(run.model, data, run.data.predict) for name, data in run.data.judged.items()
    }


def judge_on(model: PanopticFPN, data: Any, predict: PredictConfig) -> Row:
    """Return data-set mIoU and IoU by class, mean of the images' own mIoU, and PQ of the stuff.

    A class that an image neither holds nor is said to hold has no part in that image's mIoU.
    """
    categories = data.categories
    names = [c.name for c in (*things(categories), *stuff(categories))]
    whole, per_image = SemanticQuality(names), []

    def add(sample: Sample, found: Any) -> None:
        truth = to_label_map(sample.panoptic, len(things(categories)), all_classes=True)
        alone = SemanticQuality(names)
        alone.update(truth, found.label_map)
        miou = alone.compute().miou
        if miou is not None:
            per_image.append(miou)
        whole.merge(alone)

    panoptic = evaluate(model, data, predict, with_ap=False, on_image=add).panoptic
    result = whole.compute()
    return {
        "miou": 100 * (result.miou or 0.0),
        "image_miou": 100 * statistics.mean(per_image),
        "pq_stuff": 100 * panoptic.stuff.pq if panoptic.stuff else 0.0,
        "iou": {n: None if v is None else 100 * v for n, v in result.per_class.items()},
    }


def measure_costs(run: Run, turns: int) -> dict[str, float]:
    """Return the processor time of a step with each loss, in steps of the control.

    The losses take turns on equal batches; medians of the ratios within a turn. Once with the
    weights of the run, which are sure of much, and once with new ones, for the exact loss is
    quicker on what is settled; the mean of both.
    """
    kept = run.state()
    fresh = Run(run.data, run.seed, run.batch)
    costs: dict[str, list[float]] = {name: [] for name in LOSSES}
    for trainee in (run, fresh):
        batches = trainee.batches()
        trainee.model.train()
        set_learning_rate(trainee.optimizer, 1e-6)
        times: dict[str, list[float]] = {name: [] for name in LOSSES}
        for turn in range(turns + 1):
            batch = next(batches)
            for name, loss in LOSSES.items():
                began = time.process_time()
                trainee.one_step(loss, batch)
                if turn:
                    times[name].append(time.process_time() - began)
        for name, found in times.items():
            ratios = [a / b for a, b in zip(found, times[CONTROL], strict=True)]
            costs[name].append(statistics.median(ratios))
    run.load(kept)
    return {name: max(1.0, statistics.mean(found)) for name, found in costs.items()}


# All of them, and what is kept -------------------------------------------------------------------


class Log:
    """Finished runs, one JSON line each, and the shared beginnings that are still needed."""

    def __init__(self, out: Path, world: str, settings: Row):
        out.mkdir(parents=True, exist_ok=True)
        self.out, self.world = out, world
        self.path = out / f"{world}.jsonl"
        self.rows = read_rows(self.path)
        told = {"kind": "settings", "world": world, **settings}
        if not self.rows:
            self.add(told)
        elif self.rows[0] != told:
            raise ValueError(
                f"{self.path}: found runs with settings {self.rows[0]}, expected {told}. "
                "Try another --out, or remove the file."
            )

    def add(self, row: Row) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self.rows.append(row)

    def find(self, **wanted: Any) -> Row | None:
        found = (r for r in self.rows if all(r.get(k) == v for k, v in wanted.items()))
        return next(found, None)

    def beginning(self, repeat: Repeat, loss: str, step: int) -> Path:
        """Where the first `step` steps of a loss are kept until the repeat is done."""
        return self.out / f"{_name(repeat)}-{loss}-{step}.pt"

    def beginnings(self, repeat: Repeat, loss: str) -> list[int]:
        paths = self.out.glob(f"{_name(repeat)}-{loss}-*.pt")
        return sorted(int(path.stem.rpartition("-")[2]) for path in paths)

    def forget_beginnings(self, repeat: Repeat) -> None:
        for path in self.out.glob(f"{_name(repeat)}-*.pt"):
            path.unlink()


def _name(repeat: Repeat) -> str:
    return f"{repeat.world}-{repeat.held_out or 'all'}-{repeat.seed}"


def read_rows(path: Path) -> list[Row]:
    """Read the rows; one that a crash cut short is cut off the file, and its run comes again."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        write_atomically(path, whole.encode())
    return [json.loads(line) for line in whole.splitlines()]


def run_repeat(repeat: Repeat, data: Data, budget: Budget, log: Log) -> None:
    """Train every arm of a repeat that is not in the log yet."""
    key = asdict(repeat)

    def begun(loss: str, step: int) -> Run:
        """Return a run that stands at `step`, gone on with from the last stored beginning."""
        run = Run(data, repeat.seed, budget.batch)
        stored = [s for s in log.beginnings(repeat, loss) if s <= step]
        if stored:
            run.load(load_checkpoint(log.beginning(repeat, loss, max(stored))))
        if run.step < step:
            run.train(LOSSES[loss], step)
            save_checkpoint(log.beginning(repeat, loss, step), run.state())
        return run

    costs = log.find(kind="costs")
    if costs is None:
        run = begun("ce", budget.split(1.0, whole=False)[0])
        costs = {
            "kind": "costs",
            "world": repeat.world,
            "costs": measure_costs(run, budget.turns),
        }
        log.add(costs)
    for name, arm in ARMS.items():
        cost = costs["costs"][arm.after]
        whole = arm.before == arm.after
        cheap = budget.total(cost, whole=whole) < SAME_COST
        # Shorter beginnings first, so that longer ones go on from them.
        for compare in ("steps",) if cheap else ("time", "steps"):
            if log.find(kind="run", **key, arm=name, compare=compare):
                continue
            before, after = budget.split(cost if compare == "time" else 1.0, whole=whole)
            run = begun(arm.before, before)
            seconds = run.train(LOSSES[arm.after], before + after, falling=True)
            row = {"kind": "run", **key, "arm": name, "compare": compare}
            row |= {"steps": [before, after], "seconds": round(seconds, 1), "scores": judge(run)}
            log.add(row)
            best = {name: round(s["miou"], 1) for name, s in row["scores"].items()}
            print(f"{_name(repeat)}: {name} ({compare}) {best}", flush=True)
    log.forget_beginnings(repeat)


# Table and plot ----------------------------------------------------------------------------------


def summarize(rows: Sequence[Row]) -> list[Row]:
    """Compare every arm with the control of its own repeat, on every data set.

    `gain` is the mean of the differences in data-set mIoU, `spread` their standard deviation, and
    `noise` that of the control itself over seeds (of one held-out drive).
    """
    runs = [row for row in rows if row["kind"] == "run"]
    done = {_place(row, row["arm"], row["compare"]): row for row in runs}
    names = list(dict.fromkeys((r["world"], name) for r in runs for name in r["scores"]))
    table = []
    for world, name in names:
        for arm in ARMS:
            for compare in ("steps", "time"):
                pairs = []
                for row in runs:
                    if row["arm"] != CONTROL or row["world"] != world or name not in row["scores"]:
                        continue
                    other = done.get(_place(row, arm, compare)) or done.get(
                        _place(row, arm, "steps") if compare == "time" else None
                    )
                    if other:
                        pairs.append((row["scores"][name], other["scores"][name], row["held_out"]))
                if pairs:
                    line = {"world": world, "judged_on": name, "arm": arm, "compare": compare}
                    table.append(line | _compare(pairs))
    return table


def _place(row: Row, arm: str, compare: str) -> tuple[Any, ...]:
    return row["world"], row["held_out"], row["seed"], arm, compare


def _compare(pairs: Sequence[tuple[Row, Row, str]]) -> Row:
    line: Row = {"num": len(pairs)}
    for key in ("miou", "image_miou", "pq_stuff"):
        line[key] = statistics.mean(theirs[key] for _, theirs, _ in pairs)
    gains = [theirs["miou"] - own["miou"] for own, theirs, _ in pairs]
    line["gains"] = gains
    line["gain"] = statistics.mean(gains)
    line["spread"] = statistics.stdev(gains) if len(gains) > 1 else None
    folds: dict[str, list[float]] = {}
    for own, _, held_out in pairs:
        folds.setdefault(held_out, []).append(own["miou"])
    squares = [(v - statistics.mean(f)) ** 2 for f in folds.values() for v in f]
    freedom = len(pairs) - len(folds)
    line["noise"] = (sum(squares) / freedom) ** 0.5 if freedom else None
    line["iou"] = {}
    for label in pairs[0][1]["iou"]:
        found = [theirs["iou"][label] for _, theirs, _ in pairs]
        known = [value for value in found if value is not None]
        line["iou"][label] = statistics.mean(known) if known else None
    # One sign throughout, and more than seeds alone make: what we are ready to call a gain.
    line["verdict"] = "none"
    if line["noise"] and len(gains) > 1 and abs(line["gain"]) > max(line["noise"], line["spread"]):
        if min(gains) > 0:
            line["verdict"] = "gain"
        elif max(gains) < 0:
            line["verdict"] = "loss"
    return line


def format_table(table: Sequence[Row]) -> str:
    """Write the comparison as Markdown, a table for each data set."""
    lines: list[str] = []
    for world, name in dict.fromkeys((row["world"], row["judged_on"]) for row in table):
        rows = [r for r in table if (r["world"], r["judged_on"]) == (world, name)]
        control = next(r for r in rows if r["arm"] == CONTROL and r["compare"] == "steps")
        noise = "unknown" if control["noise"] is None else f"{control['noise']:.1f}"
        lines += [
            f"### {world}, {name}",
            "",
            f"{control['num']} runs an arm; standard deviation of the control over seeds: {noise}.",
            "",
            "| recipe | equal | mIoU | against the control (each pair) | spread | image mIoU "
            "| PQ stuff | verdict |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for row in rows:
            if row["arm"] == CONTROL and row["compare"] == "time":
                continue
            gains = ", ".join(f"{gain:+.1f}" for gain in row["gains"])
            gain = "-" if row["arm"] == CONTROL else f"{row['gain']:+.1f} ({gains})"
            spread = "-" if row["spread"] is None else f"{row['spread']:.1f}"
            lines.append(
                f"| {ARMS[row['arm']].words} | {row['compare']} | {row['miou']:.1f} | {gain} | "
                f"{spread if row['arm'] != CONTROL else '-'} | {row['image_miou']:.1f} | "
                f"{row['pq_stuff']:.1f} | {row['verdict'] if row['arm'] != CONTROL else '-'} |"
            )
        labels = list(control["iou"])
        lines += ["", "IoU by class, equal steps:", ""]
        lines += ["| recipe | " + " | ".join(labels) + " |", "|---" * (len(labels) + 1) + "|"]
        for row in rows:
            if row["compare"] == "steps":
                found = (row["iou"][label] for label in labels)
                cells = ("-" if iou is None else f"{iou:.1f}" for iou in found)
                lines.append(f"| {ARMS[row['arm']].words} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def plot_gains(table: Sequence[Row]) -> Any:
    """Draw each pair's difference as a dot, their mean as a bar, the seeds' noise as a band."""
    from matplotlib.figure import Figure

    places = list(dict.fromkeys((row["world"], row["judged_on"]) for row in table))
    arms = [arm for arm in ARMS if arm != CONTROL]
    figure = Figure(figsize=(3.2 + 3.0 * len(places), 4.6), layout="constrained")
    panels = figure.subplots(1, len(places), sharey=True, squeeze=False)[0]
    styles = {"steps": ("#0072b2", -0.17, "equal steps"), "time": ("#d55e00", 0.17, "equal time")}
    for axes, (world, name) in zip(panels, places, strict=True):
        rows = [r for r in table if (r["world"], r["judged_on"]) == (world, name)]
        noise = next(r for r in rows if r["arm"] == CONTROL)["noise"]
        if noise:
            axes.axvspan(-noise, noise, color="0.88", label="one standard deviation of the control")
        axes.axvline(0, color="0.4", linewidth=0.8)
        for row in rows:
            if row["arm"] == CONTROL:
                continue
            color, shift, label = styles[row["compare"]]
            at = arms.index(row["arm"]) + shift
            first = row["arm"] == arms[0]
            axes.plot(
                row["gains"], [at] * row["num"], "o", color=color, alpha=0.5, markersize=4,
                linestyle="none",
            )  # fmt: skip
            axes.plot(
                [row["gain"]] * 2, [at - 0.15, at + 0.15], color=color, linewidth=3,
                label=label if first else None,
            )  # fmt: skip
        axes.set(title=f"{world}: {name}", xlabel="mIoU against the control (points)")
        axes.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(arms)), [ARMS[arm].words for arm in arms])
    panels[0].invert_yaxis()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower right", ncols=3, frameon=False)
    return figure


def report(out: Path, results: Path | None, picture: Path | None) -> list[Row]:
    """Print the tables; store them, and the plot, where wanted."""
    rows = [row for path in sorted(out.glob("*.jsonl")) for row in read_rows(path)]
    table = summarize(rows)
    print(format_table(table))
    for row in rows:
        if row["kind"] == "costs":
            print({name: round(cost, 3) for name, cost in row["costs"].items()})
    if results and table:
        content = {
            "torch": torch.__version__,
            "arms": {name: asdict(arm) for name, arm in ARMS.items()},
            "settings": [row for row in rows if row["kind"] == "settings"],
            "costs": {row["world"]: row["costs"] for row in rows if row["kind"] == "costs"},
            "table": table,
        }
        write_atomically(results, (json.dumps(_rounded(content), indent=1) + "\n").encode())
    if picture and table:
        picture.parent.mkdir(parents=True, exist_ok=True)
        plot_gains(table).savefig(picture, dpi=110)
    return table


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return value


def repeats(world: str, seeds: int) -> list[Repeat]:
    """Seed by seed, so that what is done at any time is balanced."""
    places = DRIVES if world == "camvid" else ("",)
    return [Repeat(world, place, seed) for seed in range(seeds) for place in places]


BUDGETS = {"toy": Budget(1000), "camvid": Budget(1000)}
SEEDS = {"toy": 3, "camvid": 4}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", nargs="+", choices=list(BUDGETS), default=list(BUDGETS))
    parser.add_argument("--seeds", type=int, help="of an arm; 3 on toy, 4 for each drive of CamVid")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "lovasz_training")
    parser.add_argument("--report", action="store_true", help="of what is there; trains nothing")
    args = parser.parse_args()
    torch.set_num_threads(1)  # processor time of one thread is steady on a busy machine
    if not args.report:
        for world in args.worlds:
            folder = SHARED / "data" / "camvid_panoptic"
            if world == "camvid" and not folder.is_dir():
                print(f"CamVid is not in {SHARED}, left out")
                continue
            places = toy_world() if world == "toy" else camvid_world(folder)
            budget = BUDGETS[world]
            log = Log(args.out, world, {"budget": asdict(budget)})
            for repeat in repeats(world, args.seeds or SEEDS[world]):
                run_repeat(repeat, places[repeat.held_out], budget, log)
    report(args.out, RESULTS, PICTURE)


if __name__ == "__main__":
    main()
