"""One network for two tasks against two networks, trained alike on drawn streets.

    python benchmarks/three_way.py [--steps 1000] [--seeds 0 1 2] [--out FILE]

Per seed, four networks see the same images in the same order for the same number of steps: Mask
R-CNN (instance branch alone), Semantic FPN (semantic branch alone, all classes), Panoptic FPN
(both), and a Panoptic FPN with a wider backbone, which costs as much as the first two together.
Mask R-CNN's instances and Semantic FPN's labels are also merged: two networks, one map. Results
are stored after every network; a file that has some of them already is completed.
"""

import argparse
import json
import statistics
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from pfpn.data.loader import CachedDataset
from pfpn.data.toy import ToyStreet
from pfpn.engine.checkpoint import load_weights
from pfpn.engine.config import TrainConfig
from pfpn.engine.evaluate import evaluate
from pfpn.engine.presets import small_optim, toy
from pfpn.engine.train import train, training_set, validation_set
from pfpn.files import write_atomically
from pfpn.merge import OTHER, merge
from pfpn.model import ModelConfig, PanopticFPN
from pfpn.paste import paste_windows
from pfpn.predict import Prediction
from pfpn.quality import PanopticQuality, SemanticQuality
from pfpn.structures import Sample, stuff

RESULTS = Path(__file__).parent / "results" / "three_way.json"
PAIR = ("mask_rcnn", "semantic_fpn")


def networks() -> dict[str, ModelConfig]:
    """The four networks; the last one's width makes its multiply-adds those of the pair."""
    both = toy().model
    return {
        "mask_rcnn": replace(both, semantic_branch=False),
        "semantic_fpn": replace(both, instance_branch=False),
        "panoptic_fpn": both,
        "panoptic_fpn_wide": replace(both, width=0.75),
    }


@dataclass
class Seen:
    """What a network said of every held-out image, and how it scores where others can, too."""

    quality: PanopticQuality
    stuff_iou: SemanticQuality  # over "other" and the stuff; things count as "other"
    predictions: list[Prediction] = field(default_factory=list)

    def add(self, sample: Sample, found: Prediction, label_map: Tensor) -> None:
        self.predictions.append(replace(found, label_map=label_map))
        self.quality.update(sample.panoptic, found.panoptic)
        self.stuff_iou.update(stuff_labels(sample), label_map)


def stuff_labels(sample: Sample) -> Tensor:
    """The true label map with all things as "other"."""
    table = torch.full((256,), 255)
    for segment in sample.panoptic.segments:
        table[segment.id] = OTHER if segment.is_thing else segment.label
    return table[sample.panoptic.id_map]


def without_things(label_map: Tensor, model: ModelConfig) -> Tensor:
    """A label map of all classes as one of "other" and stuff."""
    if model.instance_branch:
        return label_map
    return (label_map - model.num_things + 1).clamp(min=OTHER)


def scores(seen: Seen) -> dict[str, float]:
    """PQ of all, things and stuff, and the mean IoU over the stuff classes, in percent."""
    result = seen.quality.compute()
    found = {
        name: 100 * group.pq
        for name, group in (("pq", result.all), ("pq_th", result.things), ("pq_st", result.stuff))
        if group is not None
    }
    names = [c.name for c in stuff(seen.quality.categories)]
    ious = seen.stuff_iou.compute().per_class
    return found | {"stuff_miou": 100 * statistics.mean(ious[name] or 0.0 for name in names)}


def run_one(
    config: TrainConfig, train_set: CachedDataset, val_set: CachedDataset
) -> tuple[dict[str, Any], Seen]:
    """Train one network and judge it."""
    with tempfile.TemporaryDirectory() as out:
        for _ in train(config, out, datasets=(train_set, val_set)):
            pass
        trained = load_weights(out)
    categories = val_set.categories
    seen = Seen(
        PanopticQuality(categories),
        SemanticQuality(["other", *(c.name for c in stuff(categories))]),
    )
    model = trained.model

    def keep(sample: Sample, found: Prediction) -> None:
        seen.add(sample, found, without_things(found.label_map, model.config))

    report = evaluate(model, val_set, config.predict, on_image=keep)
    row = scores(seen) | {
        k: 100 * v for k, v in report.precision.items() if k in ("mask_ap", "mask_ap50")
    }
    return row | cost(model), seen


def cost(model: PanopticFPN) -> dict[str, float]:
    """Parameters and multiply-adds of one 128 x 192 image, in millions.

    Convolutions and matrix products; masks of as many boxes as this image has.
    """
    image = ToyStreet(1, seed=3)[0].image
    with FlopCounterMode(display=False) as counter:
        model.infer([image], 0.5)
    return {
        "mparams": sum(p.numel() for p in model.parameters()) / 1e6,
        "mmacs": counter.get_total_flops() / 2e6,
    }


def run_pair(
    instances: Seen, labels: Seen, config: TrainConfig, val_set: CachedDataset
) -> dict[str, float]:
    """Merge the instances of one network with the labels of another."""
    seen = Seen(PanopticQuality(val_set.categories), labels.stuff_iou)
    for i, (things, regions) in enumerate(
        zip(instances.predictions, labels.predictions, strict=True)
    ):
        sample = val_set[i]
        found = things.detections
        size = (sample.image.shape[1], sample.image.shape[2])
        panoptic = merge(
            paste_windows(found.mask_probs, found.boxes, size),
            found.scores,
            found.labels,
            regions.label_map,
            min_score=config.predict.min_score,
            max_overlap=config.predict.max_overlap,
            min_stuff_area=config.predict.min_stuff_area,
        )
        seen.quality.update(sample.panoptic, panoptic)
    return scores(seen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()

    base = toy()
    base = replace(
        base,
        batch_size=4,
        max_steps=arguments.steps,
        threads=torch.get_num_threads(),
        log_every=100,
        save_every=10**6,
        eval_images=1,
        data=replace(base.data, toy_train_images=1000),
        optim=small_optim(),
    )
    train_set = CachedDataset(training_set(base.data)).fill(1)
    val_set = CachedDataset(validation_set(base.data)).fill(1)
    base = replace(base, data=replace(base.data, cache=False))
    protocol = {
        "steps": base.max_steps,
        "batch_size": base.batch_size,
        "train_images": len(train_set),
        "val_images": len(val_set),
        "image_size": list(base.data.toy_size),
    }
    runs: list[dict[str, Any]] = []
    if arguments.out.exists():
        stored = json.loads(arguments.out.read_text(encoding="utf-8"))
        if stored["protocol"] != protocol:
            parser.error(f"{arguments.out} holds runs of another protocol: {stored['protocol']}")
        runs = stored["runs"]

    def store(row: dict[str, Any]) -> None:
        runs.append({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()})
        text = json.dumps({"protocol": protocol, "runs": runs}, indent=1) + "\n"
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(arguments.out, text.encode())
        print(runs[-1], flush=True)

    for seed in arguments.seeds:
        done = {row["network"] for row in runs if row["seed"] == seed}
        kept: dict[str, Seen] = {}
        for name, model in networks().items():
            if name in done and not (name in PAIR and "pair" not in done):
                continue
            config = replace(base, seed=seed, model=model)
            row, kept[name] = run_one(config, train_set, val_set)
            if name not in done:
                store({"network": name, "seed": seed} | row)
            if name == PAIR[1]:
                merged = run_pair(kept[PAIR[0]], kept[PAIR[1]], base, val_set)
                store({"network": "pair", "seed": seed} | merged)


if __name__ == "__main__":
    main()
