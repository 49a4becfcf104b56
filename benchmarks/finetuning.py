"""Fine-tuning on 30 photographs of one drive against training from scratch, at equal steps.

    python benchmarks/finetuning.py FOLDER [--work DIR] [--minutes 4]

FOLDER is CamVid in COCO panoptic format (data/README.md). The drive DRIVE is left out of the
pretraining. Of its frames, in the order of the drive, a block is kept for testing and the other 30
are trained on; each seed has another block. Three networks a seed, with the same steps, images and
augmentation:

    scratch  random weights
    new      pretrained, but every class has another name there: all rows of classes begin anew
    kept     pretrained, and the rows of all classes are taken over

Each is trained at two rates, that of the preset camvid and half of it, which the preset photos has,
so that no difference between two networks is one between their rates.

One pretraining serves all seeds. Runs go on where they were stopped, so `--minutes` may cut the
whole into pieces; results are stored after every run.
"""

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pfpn.data.coco import CocoPanoptic
from pfpn.data.loader import CachedDataset, PanopticDataset
from pfpn.engine.checkpoint import load_weights, save_weights
from pfpn.engine.config import TrainConfig
from pfpn.engine.evaluate import evaluate
from pfpn.engine.presets import camvid
from pfpn.engine.train import train
from pfpn.files import write_atomically
from pfpn.structures import Category, Sample

RESULTS = Path(__file__).parent / "results" / "finetuning.json"
DRIVE = "0006R0"
TRAIN_FRAMES = 30
ARMS = ("scratch", "new", "kept")
GAINS = (("new", "scratch"), ("kept", "scratch"), ("kept", "new"))
RATES = (2e-3, 1e-3)
PRETRAIN_STEPS, STEPS = 2000, 150
EDGE, CROP = 144, (96, 128)  # pixels: small, so that the whole takes a quarter of an hour


class Frames:
    """Some of the images of one or more splits, as a data set."""

    def __init__(self, images: Sequence[tuple[PanopticDataset, int]]):
        self.images = images

    @property
    def categories(self) -> Sequence[Category]:
        """The classes, things and stuff."""
        return self.images[0][0].categories

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        dataset, number = self.images[index]
        return dataset[number]


def frames(root: Path) -> tuple[Frames, Frames]:
    """Return the images of all other drives, and those of DRIVE in the order of the drive."""
    rest, own = [], []
    for split in ("train", "val"):
        dataset = CocoPanoptic(root, split)
        content = json.loads((root / "annotations" / f"panoptic_{split}.json").read_text())
        names = {image["id"]: image["file_name"] for image in content["images"]}
        for index in range(len(dataset)):
            name = names[dataset[index].image_id]
            (own if name.startswith(DRIVE) else rest).append((name, dataset, index))
    own.sort(key=lambda entry: entry[0])
    return Frames([entry[1:] for entry in rest]), Frames([entry[1:] for entry in own])


def divided(drive: Frames, seed: int, num_seeds: int) -> tuple[Frames, Frames]:
    """Return 30 frames to train on, and the others, which are neighbors, to test on."""
    num = len(drive) - TRAIN_FRAMES
    first = round(seed * (len(drive) - num) / max(1, num_seeds - 1))
    tested = range(first, first + num)
    trained = [entry for i, entry in enumerate(drive.images) if i not in tested]
    return Frames(trained), Frames([drive.images[i] for i in tested])


def with_other_names(source: Path, target: Path) -> None:
    """Write weights whose classes all have another name than the data set's."""
    trained = load_weights(source)
    categories = [replace(c, name=f"pretrained {c.name}") for c in trained.categories]
    state, config = trained.model.state_dict(), trained.model.config
    save_weights(target, state, model=config, categories=categories, predict=trained.predict)


def run(
    config: TrainConfig, folder: Path, datasets: tuple[Any, Any], deadline: float
) -> dict[str, float] | None:
    """Train, or go on training, until the end or the deadline; return the scores at the end."""
    rows = train(
        config, folder, resume=True, stop=lambda: time.monotonic() > deadline, datasets=datasets
    )
    last: dict[str, Any] = {}
    for row in rows:
        last = row
    if last["stopped"]:
        return None
    trained = load_weights(folder)
    result = evaluate(trained.model, datasets[1], trained.predict, with_ap=False)
    return {name: 100 * value for name, value in result.summary().items()}


def table(runs: Sequence[dict[str, Any]]) -> str:
    """Return the results as lines of Markdown: mean and range over seeds, and paired gains."""
    keys = ("pq", "pq_things", "pq_stuff", "miou")
    by_arm: dict[tuple[str, float], dict[int, dict[str, Any]]] = {}
    for row in runs:
        by_arm.setdefault((row["arm"], row["rate"]), {})[row["seed"]] = row
    lines = ["| network | rate | PQ | PQ things | PQ stuff | mIoU |", "|---|---|---|---|---|---|"]

    def cells(values: Sequence[Sequence[float]], signed: bool = False) -> str:
        sign = "+" if signed else ""
        texts = [
            f"{statistics.mean(v):{sign}.1f} ({min(v):{sign}.1f} to {max(v):{sign}.1f})"
            for v in values
        ]
        return " | ".join(texts)

    for (arm, rate), rows in sorted(by_arm.items(), key=lambda entry: ARMS.index(entry[0][0])):
        lines.append(
            f"| {arm} | {rate:g} | {cells([[r[k] for r in rows.values()] for k in keys])} |"
        )
    for rate in RATES:
        for one, other in GAINS:
            first, second = by_arm.get((one, rate), {}), by_arm.get((other, rate), {})
            if seeds := sorted(first.keys() & second.keys()):
                gains = [[first[s][k] - second[s][k] for s in seeds] for k in keys]
                lines.append(f"| {one} - {other} | {rate:g} | {cells(gains, signed=True)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--work", type=Path, default=Path("runs/finetuning"))
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    deadline = time.monotonic() + 60 * arguments.minutes

    rest, drive = frames(arguments.folder)
    base = replace(camvid(), log_every=50, save_every=50, threads=torch.get_num_threads())
    edges = tuple(range(EDGE * 4 // 5, EDGE * 8 // 5, 12))
    data = replace(base.data, cache=False, shortest_edges=edges, crop=CROP)
    base = replace(base, data=data, predict=replace(base.predict, shortest_edge=EDGE))
    protocol = {
        "pretraining": {"images": len(rest), "steps": PRETRAIN_STEPS},
        "steps": STEPS,
        "train_images": TRAIN_FRAMES,
        "test_images": len(drive) - TRAIN_FRAMES,
        "batch_size": base.batch_size,
        "shortest_edge": EDGE,
        "crop": list(CROP),
        "rates": list(RATES),
        "seeds": arguments.seeds,
    }
    runs: list[dict[str, Any]] = []
    if arguments.out.exists():
        stored = json.loads(arguments.out.read_text(encoding="utf-8"))
        if stored["protocol"] != protocol:
            parser.error(f"{arguments.out} holds runs of another protocol: {stored['protocol']}")
        runs = stored["runs"]

    pretrained = arguments.work / "pretraining"
    config = replace(base, max_steps=PRETRAIN_STEPS, eval_images=1)
    cached = CachedDataset(rest).fill(1)
    if run(config, pretrained, (cached, cached), deadline) is None:
        print("stopped in the pretraining", flush=True)
        return
    kept, new = pretrained / "model.safetensors", arguments.work / "new.safetensors"
    with_other_names(kept, new)
    inits = {"scratch": "", "new": str(new), "kept": str(kept)}

    for seed in range(arguments.seeds):
        parts = divided(drive, seed, arguments.seeds)
        trained, tested = (CachedDataset(part).fill(1) for part in parts)
        for arm, rate in itertools.product(ARMS, RATES):
            key = {"arm": arm, "rate": rate, "seed": seed}
            if any(key.items() <= row.items() for row in runs):
                continue
            optim = replace(base.optim, lr=rate)
            config = replace(base, seed=seed, max_steps=STEPS, init=inits[arm], optim=optim)
            folder = arguments.work / f"{arm}_{rate:g}_{seed}"
            scores = run(config, folder, (trained, tested), deadline)
            if scores is None:
                print(f"stopped in {arm}, rate {rate:g}, seed {seed}", flush=True)
                return
            row = {name: round(value, 2) for name, value in scores.items()}
            runs.append(key | row)
            text = json.dumps({"protocol": protocol, "runs": runs}, indent=1) + "\n"
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(arguments.out, text.encode())
            print(f"{arm}, rate {rate:g}, seed {seed}: PQ {row['pq']}", flush=True)
    print(table(runs))


if __name__ == "__main__":
    main()
