"""The weight of the semantic loss against the quality of things and stuff, over several seeds.

    python benchmarks/balance.py [--steps 800] [--seeds 0 1] [--out FILE]

A very small Panoptic FPN is trained on drawn streets of 96 x 144 pixels, once per weight and seed;
all else is equal. Results are stored after every run; a file that has some already is completed.
"""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

from pfpn.data.loader import CachedDataset
from pfpn.engine.config import TrainConfig
from pfpn.engine.presets import small_optim, toy
from pfpn.engine.train import train, training_set, validation_set
from pfpn.files import write_atomically
from pfpn.model import LOSS_NAMES

RESULTS = Path(__file__).parent / "results" / "balance.json"
WEIGHTS = (0.01, 0.1, 1.0, 10.0, 100.0)


def recipe(steps: int, seed: int, weight: float) -> TrainConfig:
    """The toy preset with a quarter of the width and small heads."""
    base = toy()
    return replace(
        base,
        seed=seed,
        batch_size=4,
        max_steps=steps,
        log_every=max(1, steps // 4),
        save_every=10**6,
        threads=1,
        data=replace(
            base.data, toy_train_images=500, toy_val_images=60, toy_size=(96, 144), cache=False
        ),
        model=replace(
            base.model,
            width=0.25,
            pyramid_channels=24,
            semantic_channels=16,
            box_hidden=128,
            mask_channels=16,
            mask_convs=1,
            train_proposals=64,
            test_proposals=64,
            semantic_weight=weight,
        ),
        optim=replace(small_optim(), warmup_steps=40),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()

    first = recipe(arguments.steps, 0, 1.0)
    train_set = CachedDataset(training_set(first.data)).fill()
    val_set = CachedDataset(validation_set(first.data)).fill()
    protocol = {
        "steps": arguments.steps,
        "batch_size": first.batch_size,
        "train_images": len(train_set),
        "val_images": len(val_set),
        "image_size": list(first.data.toy_size),
    }
    runs: list[dict[str, float]] = []
    if arguments.out.exists():
        stored = json.loads(arguments.out.read_text(encoding="utf-8"))
        if stored["protocol"] != protocol:
            parser.error(f"{arguments.out} holds runs of another protocol: {stored['protocol']}")
        runs = stored["runs"]

    for seed in arguments.seeds:
        for weight in WEIGHTS:
            if any(run["seed"] == seed and run["weight"] == weight for run in runs):
                continue
            config = recipe(arguments.steps, seed, weight)
            with tempfile.TemporaryDirectory() as out:
                rows = list(train(config, out, datasets=(train_set, val_set)))
            last = [row for row in rows if row["kind"] == "train"][-1]
            judged = [row for row in rows if row["kind"] == "eval"][-1]
            instance = sum(last[name] for name in LOSS_NAMES if name != "loss_semantic")
            run = {
                "weight": weight,
                "seed": seed,
                "pq": 100 * judged["pq"],
                "pq_th": 100 * judged["pq_things"],
                "pq_st": 100 * judged["pq_stuff"],
                "loss_instance": instance,
                "loss_semantic": last["loss_semantic"],
            }
            runs.append({key: round(value, 3) for key, value in run.items()})
            text = json.dumps({"protocol": protocol, "runs": runs}, indent=1) + "\n"
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(arguments.out, text.encode())
            print(runs[-1], flush=True)


if __name__ == "__main__":
    main()
