"""Training, evaluation and prediction on real photographs, where they lie beside the repository."""

import json

import pytest

from pfpn.cli import main
from pfpn.data.coco import CocoPanoptic
from pfpn.data.transforms import build_transform, present_ids, to_targets
from pfpn.engine.train import read_rows
from pfpn.structures import IGNORE, things

SMALL = [
    "max_steps=2", "log_every=1", "batch_size=2", "eval_images=2", "data.cache=false",
    "model.width=0.125", "model.pyramid_channels=16", "model.semantic_channels=16",
    "model.box_hidden=16", "model.mask_channels=16", "model.mask_convs=1",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "folder", "split", "settings"),
    [
        ("camvid", "camvid_panoptic", "val", []),
        (
            "toy",
            "coco_panoptic_sample",
            "val2017",
            ["data.train_split=val2017", "data.val_split=val2017", "data.shortest_edges=96,128",
             "data.group_by_aspect=true", "predict.shortest_edge=128"],
        ),
    ],
)  # fmt: skip
def test_photographs_are_trained_on_scored_and_predicted(
    preset, folder, split, settings, shared, tmp_path
):
    root, out = shared / "data" / folder, tmp_path / "run"
    settings = [f"data={root}", *SMALL, *settings]
    assert main(["train", preset, *settings, "--out", str(out)]) == 0
    assert [row["kind"] for row in read_rows(out)] == ["train", "train", "eval"]

    file = tmp_path / "scores.json"
    flags = ["--data", str(root), "--split", split, "--images", "2", "--json", str(file)]
    assert main(["evaluate", str(out), *flags]) == 0
    assert json.loads(file.read_text())["num_images"] == 2

    images = sorted(str(path) for path in (root / split).glob("*.jpg"))[:2]
    assert main(["predict", str(out), *images, "--out", str(tmp_path / "found")]) == 0
    assert len([p for p in (tmp_path / "found").iterdir() if p.is_file()]) == 6


@pytest.mark.parametrize(
    ("folder", "split"), [("camvid_panoptic", "train"), ("coco_panoptic_sample", "val2017")]
)
def test_targets_of_photographs_add_up(folder, split, shared, rng):
    data = CocoPanoptic(shared / "data" / folder, split)
    transform = build_transform(shortest_edges=(96,), crop=(80, 112), flip=0.5)
    for index in (0, 1):
        sample = transform(data[index], rng)
        instances, labels = to_targets(sample, data.categories)
        assert sample.image.shape[1:] == labels.shape == instances.masks.shape[1:]
        assert int(instances.masks.sum(dim=0).max()) <= 1  # segments do not overlap
        assert bool((labels[instances.masks.any(dim=0)] == 0).all())  # things are "other"
        assert bool((labels[sample.panoptic.id_map == 0] == IGNORE).all())
        assert bool((instances.labels < len(things(data.categories))).all())
        assert {s.id for s in sample.panoptic.segments} == present_ids(sample.panoptic.id_map) - {0}
        for box, mask in zip(instances.boxes.int().tolist(), instances.masks, strict=True):
            x0, y0, x1, y1 = box
            assert int(mask.sum()) == int(mask[y0:y1, x0:x1].sum())
