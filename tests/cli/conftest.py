"""A small world for the commands: weights of a network that learned nothing, data, photographs."""

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from pfpn.data.coco import write_coco_panoptic
from pfpn.data.toy import TOY_CATEGORIES, ToyStreet
from pfpn.engine.checkpoint import save_weights
from pfpn.structures import stuff, things
from tests.factories import confident_model, tiny_config

SIZES = {"num_things": len(things(TOY_CATEGORIES)), "num_semantic": 1 + len(stuff(TOY_CATEGORIES))}


@pytest.fixture(scope="session")
def template(tmp_path_factory) -> Path:
    """w.safetensors, data/ with two drawn scenes, photos/ with three pictures."""
    root = tmp_path_factory.mktemp("world")
    torch.manual_seed(0)
    state = confident_model(**SIZES).state_dict()
    config = tiny_config(**SIZES)
    save_weights(root / "w.safetensors", state, model=config, categories=TOY_CATEGORIES)
    samples = [ToyStreet(2, 0, (32, 48))[i] for i in range(2)]
    write_coco_panoptic(root / "data", "val", samples, TOY_CATEGORIES)
    shutil.rmtree(root / "data" / ".pfpn")  # as if somebody else had made it
    (root / "photos").mkdir()
    for number, size in enumerate(((20, 12), (16, 16), (9, 31))):
        Image.new("RGB", size, (40 * number, 90, 200)).save(root / "photos" / f"p{number}.png")
    return root


@pytest.fixture
def world(template, tmp_path, monkeypatch) -> Path:
    """A copy of it, as the current folder."""
    root = tmp_path / "world"
    shutil.copytree(template, root)
    monkeypatch.chdir(root)
    return root
