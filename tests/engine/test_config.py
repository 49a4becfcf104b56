import dataclasses
import re

import pytest

from pfpn.engine.config import (
    DataConfig,
    OptimConfig,
    TrainConfig,
    from_dict,
    from_json,
    keys,
    override,
    to_json,
)
from pfpn.engine.presets import PRESETS
from pfpn.model import ModelConfig
from pfpn.predict import PredictConfig


@pytest.mark.parametrize("name", PRESETS)
def test_json_brings_every_preset_back(name):
    config = PRESETS[name]()
    assert config.preset == name
    assert from_json(TrainConfig, to_json(config)) == config


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_names_command_score_and_time(name):
    text = PRESETS[name].__doc__
    assert f"train {name}" in text
    assert "Score" in text
    assert "Time" in text
    assert any(word in text.lower() for word in ("measured", "published", "unmeasured"))


@pytest.mark.parametrize("name", [name for name in PRESETS if "torchrun" in PRESETS[name].__doc__])
def test_estimated_hours_are_steps_times_seconds(name):
    text = " ".join(PRESETS[name].__doc__.split())
    match = re.search(r"Time: estimated ([\d.]+) hours on 8 V100, by ([\d.]+) seconds a step", text)
    assert match, text
    hours = PRESETS[name]().max_steps * float(match[2]) / 3600
    assert abs(float(match[1]) - hours) <= 0.051


@pytest.mark.parametrize(
    ("assignment", "read", "value"),
    [
        ("optim.lr=1e-3", lambda c: c.optim.lr, 1e-3),
        ("optim.lr=1", lambda c: c.optim.lr, 1.0),
        ("max_steps=7", lambda c: c.max_steps, 7),
        ("max_steps=90_000", lambda c: c.max_steps, 90_000),
        ("optim.optimizer=adamw", lambda c: c.optim.optimizer, "adamw"),
        ("optim.channels_last=true", lambda c: c.optim.channels_last, True),
        ("optim.decay_biases=False", lambda c: c.optim.decay_biases, False),
        ("data.crop=144,192", lambda c: c.data.crop, (144, 192)),
        ("data.crop=(144, 192)", lambda c: c.data.crop, (144, 192)),
        ("data.shortest_edges=640,672", lambda c: c.data.shortest_edges, (640, 672)),
        ("data.shortest_edges=[640]", lambda c: c.data.shortest_edges, (640,)),
        ("model.depth=18", lambda c: c.model.depth, 18),
        ("model.anchor_sides=8,16,32,64,128", lambda c: c.model.anchor_sides[-1], 128.0),
        ("data=some/folder", lambda c: c.data.root, "some/folder"),
        ("data.root=with=sign", lambda c: c.data.root, "with=sign"),
        ("predict.min_score=0.3", lambda c: c.predict.min_score, 0.3),
    ],
)
def test_an_override_is_typed_by_its_field(assignment, read, value):
    result = read(override(TrainConfig(), [assignment]))
    assert result == value
    assert type(result) is type(value)


def test_overrides_leave_all_else_as_it_was():
    config = override(TrainConfig(), ["optim.lr=0.5", "seed=3"])
    expected = dataclasses.replace(TrainConfig(), seed=3, optim=OptimConfig(lr=0.5))
    assert config == expected
    assert TrainConfig().optim.lr == 0.02


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("optim.lrr=1", "optim.lr"),
        ("lr=1", "optim.lr"),
        ("max_step=1", "max_steps"),
        ("modle.depth=18", "model.depth"),
        ("optim=1", "found no such setting"),
        ("seed.x=1", "found no such setting"),
        ("=1", "found no such setting"),
        ("optim.lr", "expected key=value"),
        ("max_steps=many", "expected a whole number"),
        ("max_steps=1.5", "expected a whole number"),
        ("optim.lr=fast", "expected a finite number"),
        ("optim.lr=nan", "expected a finite number"),
        ("optim.lr=1e999", "expected a finite number"),
        ("optim.channels_last=maybe", "expected true or false"),
        ("optim.optimizer=adam", "expected one of"),
        ("model.depth=19", "expected one of"),
        ("data.crop=144", "expected 2 values"),
        ("data.crop=1,2,3", "expected 2 values"),
    ],
)
def test_a_wrong_override_is_refused_with_what_to_try(assignment, message):
    with pytest.raises(ValueError, match=message):
        override(TrainConfig(), [assignment])


@pytest.mark.parametrize(
    "assignment",
    [
        "optim.lr=0",
        "optim.lr=-1",
        "optim.momentum=1",
        "optim.weight_decay=-1",
        "optim.milestones=20,10",
        "optim.accumulate=0",
        "optim.ema_decay=1",
        "optim.decay_start=1.5",
        "batch_size=0",
        "max_steps=0",
        "log_every=0",
        "seed=-1",
        "device=tpu",
        "device=cuda:",
        "device=cuda:x",
        "threads=100000",
        "data.workers=100000",
        "batch_size=1000000000",
        "optim.milestones=-5,10",
        "data.flip=2",
        "data.workers=-1",
        "data.shortest_edges=",
        "data.crop=0,5",
        "data=",
        "data.toy_train_images=0",
    ],
)
def test_nonsense_is_refused_and_named(assignment):
    name = assignment.split("=")[0].split(".")[-1]
    with pytest.raises(ValueError, match=f"{'root' if name == 'data' else name}: found"):
        override(TrainConfig(), [assignment])


NO_NUMBER = {str, bool}


def numeric_keys() -> list[str]:
    """Every setting that is a number or several, by its dotted key."""
    names = []
    for key in keys(TrainConfig):
        value = TrainConfig()
        for name in key.split("."):
            value = getattr(value, name)
        value = (*value, "")[0] if isinstance(value, tuple) else value
        if type(value) not in NO_NUMBER and key != "model.depth":
            names.append(key)
    return names


@pytest.mark.parametrize("key", numeric_keys())
@pytest.mark.parametrize("odd", ["nan", "inf", "-inf", "-1", "1e30", str(10**30), "-" + "9" * 30])
def test_no_number_is_taken_that_no_run_could_use(key, odd):
    """Whatever it is, one line names the setting; -1 is fine for the mean of pixels alone."""
    value = TrainConfig()
    for name in key.split("."):
        value = getattr(value, name)
    text = ",".join([odd] * len(value)) if isinstance(value, tuple) else odd
    if (key, odd) == ("model.pixel_mean", "-1"):
        assert override(TrainConfig(), [f"{key}={text}"]).model.pixel_mean == (-1, -1, -1)
        return
    with pytest.raises(ValueError, match=re.escape(key.split(".")[-1])) as error:
        override(TrainConfig(), [f"{key}={text}"])
    assert len(str(error.value).splitlines()) == 1
    assert "expected" in str(error.value)


@pytest.mark.parametrize("key", keys(TrainConfig))
@pytest.mark.parametrize("odd", ["", "x y", "\x1b[31m", "1;2", "[]", "None", "0x10", "1,2,3,4,5,6"])
def test_text_where_it_does_not_belong_is_refused_in_one_line(key, odd):
    """Only names of folders and files, and of presets, may be any text."""
    text_keys = ("root", "train_split", "val_split", "init", "fallback", "preset")
    if key.split(".")[-1] in text_keys and (odd or key != "data.root"):
        return
    if key in ("optim.milestones", "data.shortest_edges", "model.anchor_ratios"):
        return  # may be none, or six
    if key == "init_classes" and odd in ("", "[]"):
        return  # none
    with pytest.raises(ValueError, match=re.escape(key.split(".")[-1])) as error:
        override(TrainConfig(), [f"{key}={odd}"])
    assert len(str(error.value).splitlines()) == 1


def test_keys_reach_every_nested_field():
    names = keys(TrainConfig)
    assert {"seed", "data.crop", "model.depth", "optim.lr", "predict.min_score"} <= set(names)
    fields = sum(
        len(dataclasses.fields(kind))
        for kind in (TrainConfig, DataConfig, ModelConfig, OptimConfig, PredictConfig)
    )
    assert len(names) == fields - 4  # the four sections are no settings themselves


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"seed": "1"}, "config.seed"),
        ({"seed": True}, "config.seed"),
        ({"optim": {"lr": "x"}}, "config.optim.lr"),
        ({"optim": {"lr": float("nan")}}, "config.optim.lr"),
        ({"optim": {"lr": 10**400}}, "config.optim.lr"),
        ({"optim": {"rate": 1}}, "unknown keys"),
        ({"data": {"crop": [1]}}, "config.data.crop"),
        ({"model": {"depth": 19}}, "config.model.depth"),
        ({"optim": 3}, "expected an object"),
        ([], "expected an object"),
    ],
)
def test_a_config_that_does_not_fit_is_refused_and_the_key_named(data, message):
    with pytest.raises(ValueError, match=message):
        from_dict(TrainConfig, data)


@pytest.mark.parametrize("text", ["{", "[" * 100_000])
def test_text_that_is_no_json_is_refused(text):
    with pytest.raises(ValueError, match="found no valid JSON"):
        from_json(TrainConfig, text)


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:0", "cuda:11", "mps"])
def test_devices_have_torchs_names(device):
    assert override(TrainConfig(), [f"device={device}"]).device == device


def test_whole_numbers_in_json_may_stand_for_numbers():
    assert from_json(TrainConfig, '{"optim": {"lr": 1}}').optim.lr == 1.0
