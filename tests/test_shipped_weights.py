"""The weights that come with the course are those that `data/checkpoints` describes."""

import importlib.util
import json
from types import ModuleType

import pytest

from pfpn.engine.checkpoint import load_weights
from pfpn.engine.config import TrainConfig, from_dict, override
from pfpn.engine.presets import toy
from pfpn.files import sha256_of
from pfpn.shipped import TOY_WEIGHTS, shipped

FOLDER = shipped(TOY_WEIGHTS).parent


@pytest.fixture(scope="module")
def make() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_weights", FOLDER / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def described() -> dict:
    return json.loads((FOLDER / "toy.json").read_text(encoding="utf-8"))


def test_the_description_is_of_this_file(described):
    assert described["sha256"] == sha256_of(shipped(TOY_WEIGHTS))
    assert described["scores"]["pq"] >= 0.89
    assert shipped(TOY_WEIGHTS).stat().st_size <= 7.5e6


def test_make_weights_would_train_with_the_same_settings(described, make):
    config = from_dict(TrainConfig, described["settings"])
    settings = [*make.SETTINGS, f"max_steps={make.STEPS}", "optim.precision=bf16"]
    assert config == override(toy(), settings)
    trained = load_weights(shipped(TOY_WEIGHTS))
    assert trained.predict == config.predict


def test_a_repetition_gives_the_same_file_and_a_change_is_named(
    make, tmp_path, capsys, monkeypatch
):
    small = ["data.toy_train_images=6", "data.toy_val_images=2", "batch_size=2", "threads=1"]
    monkeypatch.setattr(make, "SETTINGS", [*small, "data.toy_size=64,96"])
    monkeypatch.setattr(make, "store_landscape", lambda *_: None)

    def run(name: str, *settings: str) -> int:
        monkeypatch.setattr(make, "SETTINGS", [*make.SETTINGS, *settings])
        arguments = ["make.py", "--steps", "3", "--run", str(tmp_path / name)]
        monkeypatch.setattr("sys.argv", [*arguments, "--out", str(tmp_path / "out")])
        return make.main()

    assert run("first") == 0
    before = sha256_of(tmp_path / "out" / make.WEIGHTS)
    assert run("second") == 0
    assert sha256_of(tmp_path / "out" / make.WEIGHTS) == before
    assert run("third", "seed=1") == 1
    assert "settings" in capsys.readouterr().out
