"""The cells that leave the drawn world: with a photograph or a data set, and without either."""

import ast
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from pfpn.data.coco import write_coco_panoptic
from pfpn.data.toy import ToyStreet
from pfpn.engine.checkpoint import Trained, load_weights
from pfpn.roi import level_of_boxes

ROOT = Path(__file__).resolve().parents[2]
CELLS = {  # the chapter's file and the id of its cell
    "00": ("00_panoptic_segmentation", "1a6ebec9"),
    "01": ("01_feature_pyramid", "f21b01fe"),
    "03": ("03_proposals", "5c9c8916"),
    "04": ("04_boxes_and_masks", "61d93930"),
    "09": ("09_merging", "7d936012"),
    "10": ("10_panoptic_quality", "e34f321c"),
}
WITH_PHOTOGRAPH, WITH_COCO = ("00", "01", "09"), ("00", "03", "04", "10")


@pytest.fixture(scope="module")
def trained() -> Trained:
    """The shipped network with pseudo-random weights: what it says is nonsense, its form is not."""
    result = load_weights(ROOT / "data/checkpoints/toy.safetensors")
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in result.model.parameters():
            parameter.normal_(std=0.05)
    return result


@pytest.fixture
def notebooks(tmp_path, monkeypatch) -> Path:
    """An empty folder of notebooks, with a folder for data beside it."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    return tmp_path


def run(chapter: str, trained: Trained) -> dict[str, Any]:
    """Run the cell after the imports and the functions of the cells before it."""
    name, cell_id = CELLS[chapter]
    cells = json.loads((ROOT / f"notebooks/{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {
        "trained": trained,
        "model": trained.model,
        "categories": trained.categories,
        "config": trained.predict,
        "streets": ToyStreet(20, seed=7),
        "level_of_boxes": level_of_boxes,
    }
    for cell in cells:
        if cell["cell_type"] != "code":
            continue
        nodes = ast.parse("".join(cell["source"])).body
        if cell["id"] == cell_id:
            nodes = [node for node in nodes if "tally(" not in ast.unparse(node)]
            exec(compile(ast.Module(nodes, []), name, "exec"), names)
            return names
        for node in nodes:
            if isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef):
                try:
                    exec(compile(ast.Module([node], []), name, "exec"), names)
                except NameError:  # a default that an earlier cell computes
                    continue
    raise AssertionError(f"{name} has no cell {cell_id}")


@pytest.mark.parametrize("chapter", CELLS)
def test_without_anything_a_cell_shows_something(chapter, trained, notebooks, capsys):
    run(chapter, trained)
    printed = capsys.readouterr().out
    assert printed.strip()
    assert "nothing" not in printed


@pytest.mark.parametrize("chapter", WITH_PHOTOGRAPH)
def test_the_readers_photograph_is_shown(chapter, trained, notebooks, capsys):
    drawn = ToyStreet(1, seed=3, size=(96, 160))[0].image
    pixels = Image.fromarray(drawn.permute(1, 2, 0).numpy())
    pixels.save(notebooks / "data/my_photo.jpg", quality=95)
    names = run(chapter, trained)
    assert names["what"] == "your photograph"
    assert "No photograph" not in capsys.readouterr().out


@pytest.mark.parametrize("chapter", WITH_COCO)
def test_a_data_set_in_the_format_of_coco_is_read(chapter, trained, notebooks, capsys):
    street = ToyStreet(20, seed=5, size=(64, 96))
    samples = [replace(street[i], image_id=i + 1) for i in range(20)]
    write_coco_panoptic(notebooks / "data/coco", "val2017", samples, street.categories)
    names = run(chapter, trained)
    real = names["real"]
    assert len(real) == 20
    assert real[0].image.shape == samples[0].image.shape
    assert "drawn" not in capsys.readouterr().out
