"""The fine-tuning experiment: its table is that of the page, frames and names are kept apart."""

import importlib.util
import itertools
import json
import sys
from pathlib import Path

import pytest

from pfpn.data.toy import ToyStreet
from pfpn.engine.checkpoint import load_weights
from pfpn.engine.initial import match_classes
from pfpn.shipped import TOY_WEIGHTS, shipped

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def finetuning():
    spec = importlib.util.spec_from_file_location("finetuning", ROOT / "benchmarks/finetuning.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["finetuning"] = module
    spec.loader.exec_module(module)
    return module


def test_the_page_shows_the_stored_results(finetuning):
    content = json.loads(finetuning.RESULTS.read_text(encoding="utf-8"))
    protocol = content["protocol"]
    assert protocol["steps"] == finetuning.STEPS
    assert protocol["pretraining"]["steps"] == finetuning.PRETRAIN_STEPS
    assert protocol["rates"] == list(finetuning.RATES)
    done = {(row["arm"], row["rate"], row["seed"]) for row in content["runs"]}
    seeds = range(protocol["seeds"])
    assert done == set(itertools.product(finetuning.ARMS, finetuning.RATES, seeds))
    page = (ROOT / "docs" / "photographs.md").read_text(encoding="utf-8")
    assert finetuning.table(content["runs"]) in page


def test_each_seed_tests_on_a_block_of_neighbors_that_it_does_not_train_on(finetuning):
    street = ToyStreet(num=41, seed=0)
    drive = finetuning.Frames([(street, i) for i in range(41)])
    blocks = []
    for seed in range(3):
        trained, tested = finetuning.divided(drive, seed, 3)
        numbers = [i for _, i in tested.images]
        assert len(trained) == finetuning.TRAIN_FRAMES
        assert numbers == list(range(numbers[0], numbers[0] + 11))
        assert not set(numbers) & {i for _, i in trained.images}
        blocks.append(numbers[0])
    assert blocks == [0, 15, 30]


def test_under_other_names_no_class_is_the_same(finetuning, tmp_path):
    source = shipped(TOY_WEIGHTS)
    finetuning.with_other_names(source, tmp_path / "new.safetensors")
    before, after = load_weights(source), load_weights(tmp_path / "new.safetensors")
    assert all(theirs is None for _, theirs in match_classes(before.categories, after.categories))
    state = after.model.state_dict()
    assert all((state[key] == value).all() for key, value in before.model.state_dict().items())
