import json
import random
import re
import threading
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from safetensors.torch import load, load_file, save_file
from torch.testing import assert_close

from pfpn.engine import checkpoint
from pfpn.engine.checkpoint import (
    WEIGHTS,
    load_checkpoint,
    load_weights,
    pack_weights,
    rng_state,
    save_checkpoint,
    save_weights,
    set_rng_state,
)
from pfpn.engine.initial import load_initial
from pfpn.model import PanopticFPN
from pfpn.predict import PredictConfig
from pfpn.structures import Category

CATEGORIES = (Category(3, "sky", False, (1, 2, 3)), Category(5, "car", True))
TREE = Category(9, "tree", True)
CPU = torch.device("cpu")


@pytest.fixture
def model(tiny):
    torch.manual_seed(0)
    return PanopticFPN(tiny(num_things=1, num_semantic=2).model)


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


def test_a_missing_weights_file_is_named(tmp_path):
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


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused(value, model, tmp_path):
    path = tmp_path / "w.safetensors"
    state = model.state_dict()
    state["fpn.lateral.c3.bias"][2] = value
    save_weights(path, state, model=model.config, categories=CATEGORIES)
    for read in (load_weights, lambda p: load_initial(model, p, CATEGORIES)):
        with pytest.raises(
            ValueError, match=r"fpn\.lateral\.c3\.bias: found values that are NaN or"
        ):
            read(path)


@pytest.mark.parametrize("categories", [CATEGORIES[:1], CATEGORIES[1:], (*CATEGORIES, TREE)])
def test_a_header_with_other_categories_than_the_model_is_refused(categories, model, tmp_path):
    """Names would stand beside labels that mean something else."""
    path = tmp_path / "w.safetensors"
    save_weights(path, model.state_dict(), model=model.config, categories=categories)
    with pytest.raises(ValueError, match=r"(classes that do not agree|no thing class)"):
        load_weights(path)


@pytest.mark.parametrize(
    "categories", ["{", "[" * 5000, "3", '[{"id": 1}]', '[{"id": "x", "name": "a"}]', "[4]"]
)
def test_a_header_whose_categories_cannot_be_read_is_refused(categories, model, tmp_path):
    path = tmp_path / "w.safetensors"
    header = {"model": json.dumps(asdict(model.config)), "predict": "{}"}
    save_file({"a": torch.zeros(1)}, path, metadata=header | {"categories": categories})
    with pytest.raises(ValueError, match="categories"):
        load_weights(path)


def test_shapes_are_compared_before_anything_is_allocated(model, tmp_path, monkeypatch):
    """A header may declare a network that no memory holds."""
    path = tmp_path / "w.safetensors"
    huge = replace(model.config, box_hidden=30_000)
    save_weights(path, model.state_dict(), model=huge, categories=CATEGORIES)

    def build(config):
        assert torch.get_default_device().type == "meta"
        return PanopticFPN(config)

    monkeypatch.setattr(checkpoint, "PanopticFPN", build)
    with pytest.raises(ValueError, match=r"box_head\.fc1\.weight has shape \[32, 784\], expected"):
        load_weights(path)


def test_a_checkpoint_comes_back_in_plain_containers(tmp_path):
    state = {"step": 3, "model": {"w": torch.arange(4.0)}, "rng": [rng_state(CPU)]}
    save_checkpoint(tmp_path / "last.pt", state)
    back = load_checkpoint(tmp_path / "last.pt")
    assert back["step"] == 3
    assert_close(back["model"]["w"], torch.arange(4.0))


def refusal(path) -> str:
    """The one line that refuses a checkpoint."""
    with pytest.raises(ValueError, match="no readable checkpoint") as error:
        load_checkpoint(path)
    assert len(str(error.value).splitlines()) == 1
    # torch's own words name ways to read a file that can execute what is in it.
    assert not re.search("weights_only|trust|safe_globals", str(error.value))
    return str(error.value)


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 cut short"])
def test_a_broken_checkpoint_is_refused(content, tmp_path):
    (tmp_path / "last.pt").write_bytes(content)
    refusal(tmp_path / "last.pt")


def test_one_changed_bit_of_a_tensor_is_noticed(tmp_path):
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"model": {"w": torch.full((1000,), 7.0)}})
    content = bytearray(path.read_bytes())
    inside = content.index(torch.full((10,), 7.0).numpy().tobytes())
    content[inside + 21] ^= 1
    path.write_bytes(content)
    assert "data/0 is damaged" in refusal(path)


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"last\.pt: found no such file"):
        load_checkpoint(tmp_path / "last.pt")


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    torch.save({"format": 1, "step": threading.Event}, tmp_path / "last.pt")
    refusal(tmp_path / "last.pt")


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


@pytest.mark.parametrize(
    ("device", "stored", "expected"),
    [("cuda:1", True, True), ("cuda:1", False, False), ("cpu", True, False)],
)
def test_a_gpus_generator_continues_where_there_is_one_and_it_was_stored(
    device, stored, expected, monkeypatch
):
    calls = []
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda *call: calls.append(call))
    state = rng_state(CPU) | ({"cuda": torch.ones(3)} if stored else {})
    set_rng_state(state, torch.device(device))
    assert calls == ([(state["cuda"], torch.device(device))] if expected else [])


def test_every_global_generator_continues_from_its_saved_state(tmp_path):
    def draw():
        return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002

    random.seed(1)
    random.gauss(0, 1)  # leaves half a pair behind, which is part of the state
    save_checkpoint(tmp_path / "last.pt", {"rng": rng_state(CPU)})
    expected = draw(), random.gauss(0, 1)
    set_rng_state(load_checkpoint(tmp_path / "last.pt")["rng"], CPU)
    assert (draw(), random.gauss(0, 1)) == expected


def test_equal_weights_are_equal_files(model):
    """The library alone orders the header anew each time."""
    state = model.state_dict()
    files = {pack_weights(state, model=model.config, categories=CATEGORIES) for _ in range(8)}
    assert len(files) == 1
    content = files.pop()
    assert int.from_bytes(content[:8], "little") % 8 == 0
    read = load(content)
    assert read.keys() == state.keys()
    for key, value in state.items():
        assert torch.equal(read[key], value), key
