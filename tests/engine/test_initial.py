"""What training begins with: which tensors and rows of classes are taken over, and whence."""

import json
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from pfpn import zoo
from pfpn.cli import main
from pfpn.data.categories import coco_categories
from pfpn.engine import initial
from pfpn.engine import train as train_module
from pfpn.engine.checkpoint import BEST, CONFIG, load_checkpoint, load_weights, save_weights
from pfpn.engine.config import DataConfig, TrainConfig, fit_to_categories, from_json, override
from pfpn.engine.distributed import Process
from pfpn.engine.initial import load_initial, match_classes, settle
from pfpn.engine.presets import PRESETS, finetune, photos
from pfpn.engine.run import build_model
from pfpn.engine.train import train
from pfpn.model import ModelConfig, PanopticFPN
from pfpn.shipped import TOY_WEIGHTS, shipped
from pfpn.structures import Category

CATEGORIES = (Category(3, "sky", False, (1, 2, 3)), Category(5, "car", True))
ALONE = Process(0, 1, torch.device("cpu"))


@pytest.fixture
def model(tiny):
    torch.manual_seed(0)
    return PanopticFPN(tiny(num_things=1, num_semantic=2).model)


def save(path, categories, config) -> PanopticFPN:
    """Write random weights for these categories; return their model."""
    torch.manual_seed(1)
    model = PanopticFPN(fit_to_categories(config, categories))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    save_weights(path, model.state_dict(), model=model.config, categories=categories)
    return model


OURS = (
    Category(1, "Traffic light", True),
    Category(2, "person", True),
    Category(3, "car", True),
    Category(4, "sky", False),
    Category(5, "road", False),
    Category(6, "tree", True),
)
THEIRS = (
    Category(10, "car", True),
    Category(20, "traffic_light", True),
    Category(30, "tree", False),  # the same name of another kind
    Category(40, "road", False),
    Category(50, "water", False),
    Category(60, "sky-other-merged", False),
)


def pairs(ours=OURS, theirs=THEIRS, names=()):
    return {a.name: b.name if b else None for a, b in match_classes(ours, theirs, names)}


def test_classes_of_one_kind_and_name_are_the_same():
    assert pairs() == {
        "Traffic light": "traffic_light",
        "person": None,
        "car": "car",
        "sky": "sky-other-merged",
        "road": "road",
        "tree": None,
    }


def test_a_name_as_it_is_comes_before_one_without_its_suffix():
    both = (Category(1, "wall-other-merged", False), Category(2, "wall", False))
    assert pairs((Category(9, "Wall", False),), both) == {"Wall": "wall"}
    assert pairs((Category(9, "other", False),), (Category(1, "stuff", False),)) == {"other": None}


def test_a_class_may_have_another_name_there():
    assert pairs(names=["person:car"])["person"] == "car"
    for wrong in ("person", "persn:car", "person:boat"):
        with pytest.raises(ValueError, match=f"init_classes: found '{wrong}'"):
            pairs(names=[wrong])


@pytest.mark.parametrize("branches", [(True, True), (True, False), (False, True)])
def test_rows_of_the_same_classes_are_taken_over_and_others_stay(branches, tiny, tmp_path):
    path = tmp_path / "w.safetensors"
    instances, semantic = branches
    config = replace(tiny().model, instance_branch=instances, semantic_branch=semantic)
    theirs = save(path, THEIRS, config)
    torch.manual_seed(2)
    model = PanopticFPN(fit_to_categories(config, OURS))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    beginning = load_initial(model, path, OURS)
    assert beginning.left == ()
    # Positions here and there, by hand: our things are light, person, car, tree; theirs car, light
    rows = {"box_head.classify": {0: 1, 2: 0, 4: 2}, "mask_head.classify": {0: 1, 2: 0}}
    rows["box_head.deltas"] = {
        4 * here + i: 4 * there + i for here, there in ((0, 1), (2, 0)) for i in range(4)
    }
    if instances:  # other, sky, road; theirs other, tree, road, water, sky
        rows["semantic_head.classify"] = {0: 0, 1: 4, 2: 2}
    else:  # light, person, car, tree, sky, road; theirs car, light, tree, road, water, sky
        rows["semantic_head.classify"] = {0: 1, 2: 0, 4: 5, 5: 3}
    there = theirs.state_dict()
    num_layers = 0
    for key, value in model.state_dict().items():
        layer = key.rpartition(".")[0]
        if layer not in rows:
            assert_close(value, there[key], rtol=0, atol=0)
            continue
        num_layers += 1
        for here in range(len(value)):
            source = there[key][rows[layer][here]] if here in rows[layer] else before[key][here]
            assert_close(value[here], source, rtol=0, atol=0)
    assert num_layers == 6 * instances + 2 * semantic


def test_as_many_classes_with_other_names_are_not_taken_for_the_same(tiny, tmp_path):
    """The tensors would fit, and each row would belong to another class."""
    path = tmp_path / "w.safetensors"
    save(path, CATEGORIES, tiny().model)
    other = tuple(replace(c, name=f"new {c.name}") for c in CATEGORIES)
    torch.manual_seed(3)
    model = PanopticFPN(fit_to_categories(tiny().model, other))
    before = model.box_head.classify.weight.clone()
    load_initial(model, path, other)
    assert_close(model.box_head.classify.weight[0], before[0], rtol=0, atol=0)
    assert not torch.equal(model.box_head.classify.weight[1], before[1])  # the background


def test_what_was_kept_is_told_in_a_table(tiny, tmp_path):
    path = tmp_path / "w.safetensors"
    save(path, THEIRS, tiny().model)
    model = PanopticFPN(fit_to_categories(tiny(mask_channels=24).model, OURS))
    lines = load_initial(model, path, OURS).lines()
    assert lines[:7] == [
        f"init={path}: 4 of 6 classes begin with trained rows",
        "  Traffic light  <- traffic_light",
        "  car            <- car",
        "  sky            <- sky-other-merged",
        "  road           <- road",
        "  person         <- new",
        "  tree           <- new",
    ]
    assert "keep their random start, in 3 layers: mask_head.classify, mask_head.convs.0" in lines[7]


@pytest.mark.parametrize(
    ("setting", "value", "text"),
    [
        ("channel_order", "BGR", "model.channel_order=BGR"),
        ("pixel_mean", (1.0, 2.0, 3.0), "model.pixel_mean=1.0,2.0,3.0"),
        ("pixel_std", (1.0, 1.0, 1.0), "model.pixel_std=1.0,1.0,1.0"),
        ("stride_in_1x1", True, "model.stride_in_1x1=true"),
        ("roi_aligned", False, "model.roi_aligned=false"),
        ("anchor_rounding", True, "model.anchor_rounding=true"),
        (
            "anchor_sides",
            (3.0, 6.0, 12.0, 24.0, 48.0),
            r"model.anchor_sides=3.0,6.0,12.0,24.0,48.0",
        ),
        ("anchor_ratios", (0.3, 1.0, 3.0), "model.anchor_ratios=0.3,1.0,3.0"),
        ("roi_canonical_size", 57.0, "model.roi_canonical_size=57.0"),
        ("mask_bins", 9, "model.mask_bins=9"),
    ],
)
def test_weights_of_another_arithmetic_are_refused_with_the_settings_to_add(
    setting, value, text, tiny, tmp_path
):
    path = tmp_path / "w.safetensors"
    config = replace(tiny(num_things=1, num_semantic=2).model, depth=50)
    theirs = replace(config, **{setting: value})
    state = PanopticFPN(theirs).state_dict()
    save_weights(path, state, model=theirs, categories=CATEGORIES)
    model = PanopticFPN(config)
    before = model.state_dict()["backbone.conv1.weight"].clone()
    with pytest.raises(ValueError, match=f"trained with {text}, expected.*other_arithmetic=true"):
        load_initial(model, path, CATEGORIES)
    assert torch.equal(model.state_dict()["backbone.conv1.weight"], before)
    assert override(TrainConfig(model=config), [text]).model == theirs
    load_initial(model, path, CATEGORIES, other_arithmetic=True)
    assert torch.equal(model.backbone.conv1.weight, state["backbone.conv1.weight"])


def test_anchors_make_no_difference_where_one_of_the_networks_has_none(tiny, tmp_path):
    path = tmp_path / "w.safetensors"
    config = tiny(num_things=1, num_semantic=2).model
    theirs = replace(config, anchor_sides=(3.0, 6.0, 12.0, 24.0, 48.0))
    save_weights(path, PanopticFPN(theirs).state_dict(), model=theirs, categories=CATEGORIES)
    alone = PanopticFPN(replace(config, instance_branch=False))
    load_initial(alone, path, CATEGORIES)
    assert_close(
        alone.state_dict()["backbone.conv1.weight"],
        load_weights(path).model.state_dict()["backbone.conv1.weight"],
    )


def test_without_a_1x1_convolution_its_stride_is_no_difference(model, tmp_path):
    path = tmp_path / "w.safetensors"
    theirs = replace(model.config, stride_in_1x1=True)
    save_weights(path, model.state_dict(), model=theirs, categories=CATEGORIES)
    assert load_initial(model, path, CATEGORIES).left == ()


@pytest.mark.parametrize(("theirs", "ours"), [(50, 18), (18, 50)])
def test_a_stride_counts_where_either_network_has_1x1_convolutions(theirs, ours, tiny, tmp_path):
    path = tmp_path / "w.safetensors"
    config = tiny(num_things=1, num_semantic=2).model
    other = replace(config, depth=theirs, stride_in_1x1=not config.stride_in_1x1)
    save_weights(path, PanopticFPN(other).state_dict(), model=other, categories=CATEGORIES)
    with pytest.raises(ValueError, match=r"trained with model\.stride_in_1x1="):
        load_initial(PanopticFPN(replace(config, depth=ours)), path, CATEGORIES)


def test_weights_of_which_nothing_fits_are_refused(model, tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, {"a": torch.zeros(1)}, model=model.config, categories=CATEGORIES)
    with pytest.raises(ValueError, match="no tensor that fits"):
        load_initial(model, path, CATEGORIES)


# ------------------------------------------------------------------------------- whole networks


def test_the_network_of_the_weights_is_taken_but_for_what_belongs_to_data_and_training(tiny):
    ours = replace(photos(), init="toy", take_network=True, fallback="")
    ours = replace(ours, model=replace(ours.model, num_things=3, num_semantic=9, lovasz_weight=0.5))
    config, lines = settle(ours, ALONE)
    toy = load_weights(shipped(TOY_WEIGHTS)).model.config
    assert config.model == replace(
        toy, num_things=3, num_semantic=9, lovasz_weight=0.5, frozen_stages=2, imagenet=False
    )
    assert lines[0].startswith("the network is that of init=toy: ")
    assert "model.width=0.5" in lines[0]
    assert "frozen_stages" not in lines[0]


@pytest.fixture
def offline(monkeypatch):
    def load(backbone, depth):
        raise ValueError("ImageNet weights: the download failed (no network)")

    monkeypatch.setattr(initial, "load_imagenet", load)
    monkeypatch.setattr("pfpn.engine.run.load_imagenet", load)


def quick(config, **changes) -> TrainConfig:
    """Two steps of small images."""
    data = DataConfig(shortest_edges=(64,), crop=(64, 64))
    return replace(
        config, max_steps=2, batch_size=2, eval_every=1, log_every=1, save_every=1, threads=1,
        data=data, device="cpu", predict=replace(config.predict, shortest_edge=64), **changes,
    )  # fmt: skip


@pytest.mark.slow
def test_photos_begins_with_the_toy_weights_where_there_is_no_network(offline, blocks, tmp_path):
    config = quick(photos())
    rows = list(train(config, tmp_path / "run", datasets=blocks, stop=lambda: True))
    notes = rows[0]["notes"]
    assert notes[0].startswith("begins with init=toy instead of ImageNet's: ImageNet weights: the")
    assert notes[1].startswith("the network is that of init=toy")
    assert any("of 4 classes begin with trained rows" in note for note in notes)
    stored = from_json(TrainConfig, (tmp_path / "run" / CONFIG).read_text())
    assert (stored.init, stored.take_network, stored.model.imagenet) == ("toy", True, False)
    # It goes on with the same command, also where the network has come back
    resumed = list(train(config, tmp_path / "run", resume=True, datasets=blocks))
    assert resumed[-1]["step"] == 2
    assert load_weights(tmp_path / "run").model.config.width == 0.5


@pytest.mark.slow
def test_photos_keeps_imagenets_weights_where_they_are_there(blocks, tmp_path, monkeypatch):
    """Weights as torchvision lays them out, from a generator."""
    seen = []

    def load(backbone, depth):
        seen.append(depth)
        torch.nn.init.constant_(backbone.conv1.weight, 0.001)

    monkeypatch.setattr(initial, "load_imagenet", load)
    monkeypatch.setattr("pfpn.engine.run.load_imagenet", load)
    rows = list(train(quick(photos()), tmp_path, datasets=blocks, stop=lambda: True))
    assert seen == [18, 18]
    assert not any("init=" in note for note in rows[0]["notes"])
    trained = load_weights(tmp_path)
    assert (trained.model.backbone.conv1.weight == 0.001).all()  # the stem is frozen
    assert trained.model.config.width == 1.0


def test_imagenets_weights_are_not_fetched_where_init_has_a_backbone(offline, tiny, tmp_path):
    """A run of one's own goes on without a network."""
    whole, narrow = tmp_path / "whole.safetensors", tmp_path / "narrow.safetensors"
    config = tiny().model
    save(whole, OURS, config)
    save(narrow, OURS, replace(config, width=config.width / 2))
    ours = TrainConfig(model=replace(fit_to_categories(config, OURS), imagenet=True))
    build_model(replace(ours, init=str(whole)))
    with pytest.raises(ValueError, match=r"no network.*another backbone; take_network=true"):
        build_model(replace(ours, init=str(narrow)))
    with pytest.raises(ValueError, match=r"no network\)$"):
        build_model(ours)


@pytest.mark.parametrize("preset", ["photos", "finetune"])
def test_both_presets_refuse_weights_of_another_arithmetic_unless_told(
    preset, blocks, offline, tmp_path
):
    config = quick(PRESETS[preset](), take_network=False, init="toy", fallback="")
    model = replace(config.model, channel_order="BGR" if preset == "photos" else "RGB")
    config = replace(config, model=replace(model, imagenet=False))
    with pytest.raises(
        ValueError, match=r"init=.*toy.safetensors: found weights that were trained"
    ):
        list(train(config, tmp_path / "run", datasets=blocks))


@pytest.fixture
def published(tmp_path, monkeypatch, tiny):
    """The zoo with random weights of a small network for COCO's classes, BGR as detectron2's."""
    monkeypatch.setenv("PFPN_CACHE", str(tmp_path / "cache"))
    name = "coco_panoptic_fpn_r50_3x"
    path = zoo.weights_path(name).with_name(f"{name}.safetensors")
    path.parent.mkdir(parents=True)
    zoo.weights_path(name).write_bytes(b"as fetched")
    config = replace(tiny().model, channel_order="BGR", pixel_std=(1.0, 1.0, 1.0), frozen_stages=2)
    monkeypatch.setattr(zoo, "fetch_weights", lambda name, progress=None: zoo.weights_path(name))
    return save(path, coco_categories(), config)


@pytest.mark.slow
def test_finetune_takes_over_published_weights_with_their_arithmetic(published, blocks, tmp_path):
    rows = list(train(quick(finetune()), tmp_path / "run", datasets=blocks, stop=lambda: True))
    notes = rows[0]["notes"]
    assert "1 of 4 classes begin with trained rows" in "\n".join(notes)
    assert any(note == "  sky     <- sky-other-merged" for note in notes)
    trained = load_weights(tmp_path / "run")
    assert trained.model.config.channel_order == "BGR"
    assert trained.model.config.depth == published.config.depth
    assert torch.equal(trained.model.backbone.conv1.weight, published.backbone.conv1.weight)


def test_a_published_model_is_converted_once(tmp_path, monkeypatch):
    monkeypatch.setenv("PFPN_CACHE", str(tmp_path))
    made = []
    monkeypatch.setattr(zoo, "fetch_weights", lambda name, progress=None: zoo.weights_path(name))
    monkeypatch.setattr(
        zoo, "convert", lambda source, out: (made.append(source), out.write_bytes(b""))
    )
    name = "coco_panoptic_fpn_r50_1x"
    zoo.weights_path(name).parent.mkdir(parents=True)
    for _ in range(2):
        assert initial.initial_path(name).name == f"{name}.safetensors"
    assert made == [zoo.weights_path(name)]


def test_the_published_defaults_are_the_presets():
    assert finetune().model == ModelConfig() == zoo.MODELS[finetune().init].config


# -------------------------------------------------------------------------------------- patience


def with_scores(monkeypatch, scores):
    """Evaluations that return these PQs, one after the other."""
    left = list(scores)

    class Scored:
        def summary(self):
            return {"pq": left.pop(0)}

    monkeypatch.setattr(train_module, "evaluate", lambda *args, **options: Scored())


def test_a_run_ends_when_pq_no_longer_rises_and_the_best_is_kept(
    tiny, blocks, tmp_path, monkeypatch
):
    with_scores(monkeypatch, [0.1, 0.4, 0.3, 0.4, 0.9])
    config = replace(tiny(max_steps=9), eval_every=1, save_every=1, patience=2)
    rows = list(train(config, tmp_path, datasets=blocks))
    assert [row["step"] for row in rows if row["kind"] == "eval"] == [1, 2, 3, 4]
    assert rows[-1]["progress"] == 1
    best, kept = load_checkpoint(tmp_path / BEST), load_weights(tmp_path).model.state_dict()
    assert best["step"] == 2
    assert all(torch.equal(kept[key], value) for key, value in best["average"]["state"].items())


def test_patience_goes_on_counting_in_a_resumed_run(tiny, blocks, tmp_path, monkeypatch):
    config = replace(tiny(max_steps=9), eval_every=1, save_every=1, patience=3)
    with_scores(monkeypatch, [0.4, 0.3, 0.3, 0.3])
    steps = iter(range(9))
    list(train(config, tmp_path, datasets=blocks, stop=lambda: next(steps) == 2))
    before = load_weights(tmp_path).model.state_dict()
    rows = list(train(config, tmp_path, datasets=blocks, resume=True))
    assert [row["step"] for row in rows if row["kind"] == "eval"] == [3, 4]
    after = load_weights(tmp_path).model.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_without_patience_the_weights_are_the_last(tiny, blocks, tmp_path, monkeypatch):
    with_scores(monkeypatch, [0.4, 0.3])
    config = replace(tiny(max_steps=2), eval_every=1, save_every=1)
    list(train(config, tmp_path, datasets=blocks))
    assert load_checkpoint(tmp_path / BEST)["step"] == 1
    kept = load_weights(tmp_path).model.state_dict()
    last = load_checkpoint(tmp_path / "last.pt")
    assert all(torch.equal(kept[key], value) for key, value in last["average"]["state"].items())


def test_the_command_shows_the_table(tmp_path, capsys):
    assert main(["toy", str(tmp_path / "data"), "--num", "2", "--val", "2", "--size", "64x96"]) == 0
    settings = ["max_steps=1", "batch_size=1", "threads=1", "device=cpu", "init=toy"]
    command = [
        "train",
        "toy",
        f"data={tmp_path / 'data'}",
        *settings,
        "--out",
        str(tmp_path / "run"),
    ]
    assert main(command) == 0
    content = json.loads((tmp_path / "data" / "annotations" / "panoptic_train.json").read_text())
    num = len(content["categories"])
    assert f"init=toy: {num} of {num} classes begin with trained rows" in capsys.readouterr().out
