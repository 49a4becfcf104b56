"""The small trainings of chapter 08, with all their seeds.

    python benchmarks/lovasz_small.py [--seeds 5] [--only many one streets] [--out FILE]

About three minutes on one core. Each training takes a second or two, and runs of one seed differ in
nothing but what is compared. "many": 20 classes, three of them in an image (reports 5 and 20).
"one": a class that most images lack, random batches and equibatch (report 26). "streets": losses
and thresholds side by side, on the features of the trained model that comes with pfpn; run this
part again when those weights change.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from pfpn.course.ch08_practice import experiments
from pfpn.course.iou import mean_iou
from pfpn.data.toy import ToyStreet
from pfpn.data.transforms import to_label_map
from pfpn.engine.checkpoint import load_weights
from pfpn.files import write_atomically
from pfpn.shipped import TOY_WEIGHTS, shipped

RESULTS = Path(__file__).parent / "results" / "lovasz_small.json"
WORLDS = ((3.0, 0.08), (1.5, 0.5))  # separation, fraction of the images with the class
RARE = torch.tensor([0, 1, 5])  # person, dog, balloon
Row = dict[str, Any]


def many(seeds: int) -> list[Row]:
    """Mean IoU after 400 steps, by loss, batch size and learning rate."""
    entropy = F.cross_entropy
    runs = [
        ("cross-entropy", [(entropy, 400)], 2, 0.01),
        ("present", [(experiments.present, 400)], 2, 0.01),
        ("all", [(experiments.every, 400)], 2, 0.01),
        ("all", [(experiments.every, 400)], 2, 0.001),
        ("all", [(experiments.every, 400)], 2, 0.1),
        ("all", [(experiments.every, 400)], 16, 0.01),
        ("cross-entropy", [(entropy, 400)], 16, 0.01),
        ("present", [(experiments.present, 400)], 16, 0.01),
        ("cross-entropy, then present", [(entropy, 200), (experiments.present, 200)], 16, 0.01),
        ("their sum", [(experiments.added, 400)], 16, 0.01),
    ]
    return [
        {"arm": arm, "batch": batch, "rate": rate, "seed": seed, "miou": history[-1][1]}
        for seed in range(seeds)
        for arm, parts, batch, rate in runs
        for history in [experiments.train_classes(parts, batch=batch, rate=rate, seed=seed)]
    ]


def one(seeds: int) -> list[Row]:
    """IoU on new images of a class that many images lack, by world, loss and sampler."""
    losses = {
        "cross-entropy": experiments.entropy_of_one,
        "Lovász, [1]": experiments.lovasz_of([1]),
        "Lovász, present": experiments.lovasz_of("present"),
    }
    rows = []
    for separation, with_class in WORLDS:
        for seed in range(seeds):
            x, y = experiments.one_class(200, 2 * seed, separation, with_class)
            new_x, new_y = experiments.one_class(400, 2 * seed + 1, separation, with_class)
            for arm, loss in losses.items():
                for equibatch in (False, True):
                    line = experiments.train_line(loss, x, y, equibatch=equibatch, seed=seed)
                    logits = experiments.score_pixels(line, new_x)
                    low, high = (float(f(logits.sigmoid())) for f in (torch.min, torch.max))
                    rows.append(
                        {"separation": separation, "with_class": with_class, "arm": arm,
                         "equibatch": equibatch, "seed": seed, "low": low, "high": high,
                         "iou": experiments.iou_of(logits, new_y)}
                    )  # fmt: skip
    return rows


def streets(seeds: int) -> list[Row]:
    """Mean IoU over all eleven classes on 40 new streets, by loss and threshold.

    "rare": pixels that are predicted as one of the three rarest classes, by those that are true.

    A seed has 24 training streets of its own, and an order of their batches.
    """
    model = load_weights(shipped(TOY_WEIGHTS)).model

    def cells(num: int, seed: int) -> tuple[experiments.Cells, torch.Tensor]:
        samples = [ToyStreet(num=num, seed=seed)[i] for i in range(num)]
        labels = [to_label_map(s.panoptic, 6, all_classes=True) for s in samples]
        features = experiments.street_features(model, samples)
        return experiments.to_cells(features, torch.stack(labels), 11), torch.stack(labels)

    new, truth = cells(40, 7)
    num_rare = int(torch.isin(truth, RARE).sum())
    rows = []
    for seed in range(seeds):
        training, _ = cells(24, 100 + seed)
        heads = {
            arm: experiments.train_cells(loss, training, seed=seed)
            for arm, loss in experiments.losses_of_cells().items()
        }
        found = experiments.predict_streets(heads, training, new.features)
        rows += [
            {"arm": arm, "seed": seed, "miou": mean_iou(predicted, truth, 11),
             "rare": int(torch.isin(predicted, RARE).sum()) / num_rare}
            for arm, predicted in found.items()
        ]  # fmt: skip
    return rows


PARTS = {"many": many, "one": one, "streets": streets}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    content = json.loads(arguments.out.read_text("utf-8")) if arguments.out.exists() else {}
    for name in arguments.only:
        content[name] = PARTS[name](arguments.seeds)
        content["made by"] = "python benchmarks/lovasz_small.py"
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        write_atomically(arguments.out, text.encode())
        print(f"{name}: {len(content[name])} runs")


if __name__ == "__main__":
    main()
