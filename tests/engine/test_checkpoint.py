import random
import threading

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from pfpn.engine.checkpoint import (
    WEIGHTS,
    load_checkpoint,
    load_matching,
    load_weights,
    rng_state,
    save_checkpoint,
    save_weights,
    set_rng_state,
)
from pfpn.model import PanopticFPN
from pfpn.predict import PredictConfig
from pfpn.structures import Category

CATEGORIES = (Category(3, "sky", False, (1, 2, 3)), Category(5, "car", True))
CPU = torch.device("cpu")


@pytest.fixture
def model(tiny):
    torch.manual_seed(0)
    return PanopticFPN(tiny().model)


def test_weights_come_back_with_all_that_is_needed_to_use_them(model, tmp_path):
    predict = PredictConfig(shortest_edge=123, min_score=0.25)
    save_weights(
        tmp_path / WEIGHTS,
        model.state_dict(),
        model=model.config,
        categories=CATEGORIES,
        predict=predict,
    )
    for source in (tmp_path, tmp_path / WEIGHTS, str(tmp_path)):
        trained = load_weights(source)
        assert trained.categories == CATEGORIES
        assert trained.predict == predict
        assert trained.model.config == model.config
        assert not trained.model.training
        for key, value in model.state_dict().items():
            assert_close(trained.model.state_dict()[key], value, rtol=0, atol=0)


def test_weights_in_another_memory_format_are_stored_plainly(model, tmp_path):
    path = tmp_path / "w.safetensors"
    turned = model.to(memory_format=torch.channels_last)
    save_weights(path, turned.state_dict(), model=model.config, categories=CATEGORIES)
    assert all(value.is_contiguous() for value in load_file(path).values())
    assert_close(load_file(path)["backbone.conv1.weight"], model.backbone.conv1.weight.detach())


def test_a_missing_file_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(ValueError, match="found no weights"):
        load_weights(tmp_path)
    with pytest.raises(ValueError, match="found no weights"):
        load_weights(tmp_path / "none.safetensors")


def test_a_file_cut_short_is_refused(model, tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, model.state_dict(), model=model.config, categories=CATEGORIES)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="no readable safetensors"):
        load_weights(path)


def test_weights_of_others_are_refused_with_advice(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="pfpn convert"):
        load_weights(path)


def test_tensors_that_do_not_fit_their_config_are_refused(model, tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, {"a": torch.zeros(1)}, model=model.config, categories=CATEGORIES)
    with pytest.raises(ValueError, match="not those of its model config"):
        load_weights(path)


def test_training_can_begin_with_the_tensors_that_fit(model, tiny, tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, model.state_dict(), model=model.config, categories=CATEGORIES)
    torch.manual_seed(1)
    other = PanopticFPN(tiny(num_things=3).model)
    left = load_matching(other, path)
    assert_close(other.backbone.conv1.weight, model.backbone.conv1.weight, rtol=0, atol=0)
    assert left
    assert all(key.startswith(("box_head.", "mask_head.")) for key in left)


def test_weights_of_which_nothing_fits_are_refused(model, tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, {"a": torch.zeros(1)}, model=model.config, categories=CATEGORIES)
    with pytest.raises(ValueError, match="no tensor that fits"):
        load_matching(model, path)


def test_a_checkpoint_comes_back_in_plain_containers(tmp_path):
    state = {"step": 3, "model": {"w": torch.arange(4.0)}, "rng": [rng_state(CPU)]}
    save_checkpoint(tmp_path / "last.pt", state)
    back = load_checkpoint(tmp_path / "last.pt")
    assert back["step"] == 3
    assert_close(back["model"]["w"], torch.arange(4.0))


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 cut short"])
def test_a_broken_checkpoint_is_refused(content, tmp_path):
    (tmp_path / "last.pt").write_bytes(content)
    with pytest.raises(ValueError, match="no readable checkpoint"):
        load_checkpoint(tmp_path / "last.pt")


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    torch.save({"format": 1, "step": threading.Event}, tmp_path / "last.pt")
    with pytest.raises(ValueError, match="no readable checkpoint"):
        load_checkpoint(tmp_path / "last.pt")


def test_a_checkpoint_of_another_format_is_refused(tmp_path):
    torch.save({"format": 99}, tmp_path / "last.pt")
    with pytest.raises(ValueError, match="format 99"):
        load_checkpoint(tmp_path / "last.pt")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"step": 1})
    with pytest.raises((TypeError, AttributeError)):
        save_checkpoint(path, {"step": threading.Lock()})  # cannot be pickled
    assert load_checkpoint(path)["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


def test_every_global_generator_goes_on_where_it_was(tmp_path):
    def draw():
        return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002

    random.seed(1)
    random.gauss(0, 1)  # leaves half a pair behind, which is part of the state
    save_checkpoint(tmp_path / "last.pt", {"rng": rng_state(CPU)})
    expected = draw(), random.gauss(0, 1)
    set_rng_state(load_checkpoint(tmp_path / "last.pt")["rng"], CPU)
    assert (draw(), random.gauss(0, 1)) == expected
