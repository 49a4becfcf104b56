"""The last cells of the chapters: with a photograph and weights, with one of them, with neither."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from PIL import Image

from pfpn import zoo
from pfpn.course import real
from pfpn.course.real import real_thing
from pfpn.data.toy import ToyStreet
from pfpn.model import PanopticFPN
from pfpn.plot.panoptic import describe_panoptic
from pfpn.predict import predict
from tests.data_files.detectron2.keyed_weights import keyed_state_dict

SHAPES = Path(__file__).parents[1] / "data_files" / "detectron2" / "key_shapes_r50.json"


@pytest.fixture
def photo(tmp_path) -> Path:
    street = ToyStreet(num=1, seed=3)[0].image
    Image.fromarray(street.permute(1, 2, 0).numpy()).save(tmp_path / "mine.png")
    return tmp_path / "mine.png"


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("PFPN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_without_anything_the_toy_weights_see_a_drawn_street(tmp_path, cache):
    found = real_thing(tmp_path / "none.jpg")
    assert (found.has_photo, found.has_weights) == (False, False)
    assert torch.equal(found.image, ToyStreet(num=1, seed=real.SEED)[0].image)
    assert "none.jpg is not there" in found.words
    assert "pfpn download zoo coco_panoptic_fpn_r50_3x" in found.words


def test_a_photograph_alone_is_seen_by_the_toy_weights(photo, cache):
    found = real_thing(photo)
    assert (found.has_photo, found.has_weights) == (True, False)
    assert torch.equal(found.image, ToyStreet(num=1, seed=3)[0].image)
    answer = predict(found.trained.model, [found.image], found.trained.predict)[0].panoptic
    assert describe_panoptic(answer, found.trained.categories)


@pytest.mark.slow
def test_weights_as_they_are_downloaded_are_used(photo, cache, monkeypatch):
    """Pseudo-random tensors under detectron2's names, in a file as the zoo has it."""
    path = zoo.weights_path(real.WEIGHTS)
    path.parent.mkdir(parents=True)
    state = keyed_state_dict(json.loads(SHAPES.read_text()))
    arrays = {key: value.numpy() for key, value in state.items()}
    path.write_bytes(pickle.dumps({"model": arrays}, protocol=4))
    monkeypatch.setattr(zoo, "fetch_weights", lambda name, progress=None: zoo.weights_path(name))
    found = real_thing(photo)
    assert (found.has_photo, found.has_weights) == (True, True)
    assert isinstance(found.trained.model, PanopticFPN)
    assert len(found.trained.categories) == 133
    answer = predict(found.trained.model, [found.image], found.trained.predict)[0].panoptic
    assert answer.id_map.shape == found.image.shape[1:]
    assert found.words == f"your photograph mine.png; seen by {real.WEIGHTS}"


def test_a_broken_photograph_is_refused(tmp_path, cache):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"broken\.jpg"):
        real_thing(tmp_path / "broken.jpg")
