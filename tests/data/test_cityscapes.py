"""Cityscapes is read as its own converter writes it: by cityscapesscripts, or by a copy of it."""

import json
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pfpn.cli import main
from pfpn.data.categories import cityscapes_categories
from pfpn.data.coco import CocoPanoptic
from pfpn.engine.evaluate import evaluate
from pfpn.model import PanopticFPN
from pfpn.predict import PredictConfig
from pfpn.structures import VOID, stuff, things
from tests.engine.conftest import TINY_MODEL

SIZE = (64, 128)
NAMES = {
    "train": ["ulm_000000_000019", "bochum_000001_000004"],
    "val": ["lindau_000000_000019"],
}
# A road (7) below a sky (23); ego vehicle (1) and license plate (-1) are no classes of the task;
# a car, two persons, and a group of cars that nobody took apart (26 without a number).
ROAD, SKY, EGO, CARS = 7, 23, 1, 26


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A Cityscapes folder as downloaded, with the instance ids that its annotators drew."""
    root = tmp_path_factory.mktemp("cityscapes")
    rng = np.random.default_rng(0)
    for split, names in NAMES.items():
        for name in names:
            city = name.partition("_")[0]
            ids = np.full(SIZE, ROAD, np.uint16)
            ids[:32] = SKY
            ids[60:] = EGO
            ids[30:42, 10:40] = 26000
            ids[30:50, 60:66] = 24000
            ids[30:50, 70:76] = 24001
            ids[34:40, 100:120] = CARS
            image = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
            for place, end, content in (
                ("gtFine", "gtFine_instanceIds", ids),
                ("leftImg8bit", "leftImg8bit", image),
            ):
                path = root / place / split / city / f"{name}_{end}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(content).save(path)
    return root


def convert_with_the_package(root: Path) -> None:
    module = "cityscapesscripts.preparation.createPanopticImgs"
    words = ["--dataset-folder", str(root / "gtFine"), "--set-names", "train", "val"]
    subprocess.run([sys.executable, "-m", module, *words], check=True, capture_output=True)


def convert_by_copy(root: Path) -> None:
    """Write what createPanopticImgs 2.3.0 writes, which the test below compares where it can."""
    classes = {category.id: category for category in cityscapes_categories()}
    for split in NAMES:
        target = root / "gtFine" / f"cityscapes_panoptic_{split}"
        target.mkdir()
        images, annotations = [], []
        for path in sorted((root / "gtFine" / split).glob("*/*_instanceIds.png")):
            ids = np.array(Image.open(path))
            entries, colors = [], np.zeros((*ids.shape, 3), np.uint8)
            for number in np.unique(ids).tolist():
                label = number // 1000 if number >= 1000 else number
                if label not in classes:
                    continue
                mask = ids == number
                colors[mask] = [number % 256, number // 256, number // 65536]
                y, x = np.nonzero(mask)
                box = [x.min(), y.min(), x.max() - x.min() + 1, y.max() - y.min() + 1]
                entries.append(
                    {
                        "id": number,
                        "category_id": label,
                        "area": int(mask.sum()),
                        "bbox": [int(value) for value in box],
                        "iscrowd": int(number < 1000 and classes[label].is_thing),
                    }
                )
            stem = path.name.removesuffix("_instanceIds.png")
            image_id = stem.removesuffix("_gtFine")
            size = {"height": ids.shape[0], "width": ids.shape[1]}
            images.append({"id": image_id, "file_name": f"{stem}_leftImg8bit.png", **size})
            annotations.append(
                {
                    "image_id": image_id,
                    "file_name": f"{stem}_panoptic.png",
                    "segments_info": entries,
                }
            )
            Image.fromarray(colors).save(target / f"{stem}_panoptic.png")
        kinds = [
            {"id": c.id, "name": c.name, "color": list(c.color), "isthing": int(c.is_thing)}
            for c in classes.values()
        ]
        content = {"images": images, "annotations": annotations, "categories": kinds}
        target.with_suffix(".json").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def converted(folder) -> Path:
    if find_spec("cityscapesscripts"):
        convert_with_the_package(folder)
    else:
        convert_by_copy(folder)
    return folder


def test_the_converters_files_are_read_from_the_folder_as_it_is(converted):
    data = CocoPanoptic(converted, "train")
    assert len(data) == 2
    assert data.sizes() == [SIZE, SIZE]
    sample = data[data.image_ids.index("ulm_000000_000019")]
    assert sample.image.shape == (3, *SIZE)
    path = converted / "leftImg8bit/train/ulm/ulm_000000_000019_leftImg8bit.png"
    assert np.array_equal(sample.image.permute(1, 2, 0).numpy(), np.array(Image.open(path)))
    names = {
        segment.id: (things if segment.is_thing else stuff)(data.categories)[
            segment.label - (not segment.is_thing)
        ].name
        for segment in sample.panoptic.segments
    }
    assert names == {
        7: "road",
        23: "sky",
        26: "car",
        26000: "car",
        24000: "person",
        24001: "person",
    }
    assert [s.id for s in sample.panoptic.segments if s.is_crowd] == [26]
    id_map = sample.panoptic.id_map
    assert torch.all(id_map[60:] == VOID)  # the own car's hood is no part of the task
    assert int((id_map == 26000).sum()) == 12 * 30


def test_its_classes_are_ours(converted):
    data = CocoPanoptic(converted, "val")
    assert sorted(data.categories, key=lambda c: c.id) == sorted(
        cityscapes_categories(), key=lambda c: c.id
    )


def test_check_finds_nothing_wrong_with_it(converted, capsys):
    assert main(["check", str(converted), "--split", "train"]) == 0, capsys.readouterr().out


def test_a_split_that_was_not_converted_is_reported_with_those_that_were(converted):
    with pytest.raises(ValueError, match=r"cityscapes_panoptic_test\.json: .*splits train, val"):
        CocoPanoptic(converted, "test")


def test_an_image_that_is_missing_is_reported_with_its_city(converted):
    path = converted / "leftImg8bit/val/lindau/lindau_000000_000019_leftImg8bit.png"
    content = path.read_bytes()
    path.unlink()
    try:
        with pytest.raises(
            ValueError, match=r"lindau_000000_000019_leftImg8bit\.png: found no such"
        ):
            CocoPanoptic(converted, "val")[0]
    finally:
        path.write_bytes(content)


@pytest.mark.slow
def test_the_preset_trains_on_it_and_it_is_scored(converted, tmp_path):
    small = [
        *("max_steps=1", "batch_size=2", "threads=1", "device=cpu", "data.workers=0"),
        *("data.shortest_edges=64", "data.crop=32,64", "predict.shortest_edge=64"),
        *("model.imagenet=false", "model.depth=18", "model.width=0.125", "model.norm=batch"),
        *("model.pyramid_channels=16", "model.semantic_channels=16", "model.mask_channels=16"),
        *("model.box_hidden=32", "model.box_samples=16", "model.train_proposals=20"),
    ]
    out = str(tmp_path / "run")
    words = ["train", "cityscapes_r50", *small, f"data={converted}", "--out", out]
    assert main(words) == 0
    saved = str(tmp_path / "found")
    words = ["evaluate", out, "--data", str(converted), "--split", "val", "--save", saved]
    assert main(words) == 0
    (annotation,) = json.loads(Path(f"{saved}.json").read_text())["annotations"]
    assert annotation["image_id"] == "lindau_000000_000019"


def test_string_ids_pass_through_the_evaluation(converted):
    data = CocoPanoptic(converted, "val")
    config = replace(TINY_MODEL, num_things=8, num_semantic=12)
    seen = []
    evaluate(
        PanopticFPN(config).eval(),
        data,
        PredictConfig(shortest_edge=0),
        on_image=lambda sample, found: seen.append(sample.image_id),
    )
    assert seen == ["lindau_000000_000019"]
