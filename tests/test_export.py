"""The exported graphs compute what PyTorch does: stage by stage, and in the panoptic map.

Figures are the largest difference from PyTorch as a fraction of the stage's largest value.
"""

import json
from dataclasses import replace

import pytest
import torch
from jaxtyping import config as jaxtyping_config

pytest.importorskip("onnx", reason="an extra: pip install 'pfpn[export]'")
pytest.importorskip("onnxruntime", reason="an extra: pip install 'pfpn[export]'")
pytest.importorskip("onnxscript", reason="an extra: pip install 'pfpn[export]'")

import onnx
from onnxruntime import InferenceSession

from pfpn import export
from pfpn.cli import main
from pfpn.data.toy import TOY_CATEGORIES, ToyStreet
from pfpn.engine.checkpoint import load_weights, save_weights
from pfpn.engine.presets import PRESETS
from pfpn.model import PanopticFPN
from pfpn.predict import PredictConfig, output_labels, predict, to_output, to_panoptic
from pfpn.shipped import TOY_WEIGHTS, shipped
from tests.factories import confident_model, random_image, tiny_config

DENSE = 1e-5  # as a fraction of the largest value
PIXELS = 1e-4  # of a panoptic map
STAGES = ("features", "semantic", "rpn", "boxes", "masks")


@pytest.fixture(scope="module", autouse=True)
def _traced():
    """Shapes are not checked while a graph is traced: a check would fix the lengths it looks at."""
    jaxtyping_config.update("jaxtyping_disable", True)
    yield
    jaxtyping_config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def toy():
    return load_weights(shipped(TOY_WEIGHTS))


@pytest.fixture(scope="module")
def pieces(toy):
    return export.export_pieces(toy.model)


@pytest.fixture(scope="module")
def network(toy, pieces):
    outputs = [*export.DETECTIONS, "mask_probs", "semantic_logits"]
    return export.join_graphs(pieces, ["image"], outputs)


def map_of(raw, size, model, settings):
    """The panoptic map of a raw prediction at the network's own size."""
    detections = to_output(raw.detections[0], size, size)
    label_map, _ = output_labels(raw.semantic_logits, size, size)
    return to_panoptic(detections, label_map, None, model, settings)


def count_differing(session, trained, images) -> int:
    """Pixels of all images that the exported network gives to another segment than PyTorch."""
    differing = 0
    for image in images:
        raw = export.infer(session, trained.model.config, image)
        size = tuple(image.shape[1:])
        ours = map_of(raw, size, trained.model.config, trained.predict)
        expected = predict(trained.model, [image], trained.predict)[0].panoptic
        differing += int((ours.id_map != expected.id_map).sum())
    return differing


@pytest.mark.parametrize("size", [(128, 192), (96, 64), (101, 77), (33, 200), (5, 7)])
def test_every_piece_computes_what_pytorch_does(toy, pieces, size):
    image = ToyStreet(1, seed=3, size=size)[0].image
    errors = export.check_pieces(toy.model, pieces, image)
    assert tuple(errors) == ("prepare", *STAGES[:3], "propose", "boxes", "detect", "masks")
    assert all(error <= DENSE for error in errors.values()), errors


def test_the_panoptic_maps_of_20_streets_are_the_same(toy, network):
    session = InferenceSession(network.SerializeToString())
    streets = ToyStreet(20, seed=9)
    images = [streets[i].image for i in range(20)]
    differing = count_differing(session, toy, images)
    assert differing <= PIXELS * sum(image[0].numel() for image in images)


def test_one_graph_detects_what_the_model_does(toy, network):
    session = InferenceSession(network.SerializeToString())
    for seed in range(4):
        image = ToyStreet(1, seed=seed)[0].image
        (found,) = export.infer(session, toy.model.config, image).detections
        (expected,) = toy.model.infer([image]).detections
        assert torch.equal(found.labels, expected.labels)
        torch.testing.assert_close(found.boxes, expected.boxes, atol=1e-3, rtol=0)
        torch.testing.assert_close(found.scores, expected.scores, atol=1e-5, rtol=0)
        torch.testing.assert_close(found.mask_probs, expected.mask_probs, atol=1e-4, rtol=0)


def test_an_image_without_any_object_gives_no_detection(toy, network):
    session = InferenceSession(network.SerializeToString())
    (found,) = export.infer(session, toy.model.config, torch.zeros(3, 10, 13).byte()).detections
    assert len(found) == 0
    assert found.mask_probs.shape == (0, 28, 28)


def test_weights_in_float16_take_half_the_bytes_and_move_few_pixels(toy, network):
    half = onnx.ModelProto()
    half.CopyFrom(network)
    export.halve(half)
    content = half.SerializeToString()
    assert len(content) < 0.55 * len(network.SerializeToString())
    streets = ToyStreet(8, seed=9)
    images = [streets[i].image for i in range(8)]
    differing = count_differing(InferenceSession(content), toy, images)
    assert differing <= PIXELS * sum(image[0].numel() for image in images)


@pytest.mark.parametrize("branch", [pytest.param("semantic", marks=pytest.mark.long), "instance"])
def test_a_network_with_one_branch_is_exported(branch, rng):
    other = "instance" if branch == "semantic" else "semantic"
    model = confident_model() if branch == "instance" else PanopticFPN(tiny_config())
    config = replace(model.config, **{f"{other}_branch": False, "channel_order": "RGB"})
    alone = PanopticFPN(config).eval()
    alone.load_state_dict({k: v for k, v in model.state_dict().items() if k in alone.state_dict()})
    (graph,) = export.export_graphs(alone).values()
    session = InferenceSession(graph.SerializeToString())
    image = random_image((50, 90), rng)
    ours, expected = export.infer(session, config, image), alone.infer([image])
    assert ours.semantic_logits.shape == expected.semantic_logits.shape
    torch.testing.assert_close(ours.semantic_logits, expected.semantic_logits, atol=1e-4, rtol=1e-4)
    assert len(ours.detections[0]) == len(expected.detections[0])
    torch.testing.assert_close(
        ours.detections[0].boxes, expected.detections[0].boxes, atol=1e-3, rtol=0
    )
    assert len(expected.detections[0]) > 0 or branch == "semantic"


def test_a_model_stays_as_it_was(toy, pieces):
    assert not toy.model.training
    assert all(value.requires_grad for value in toy.model.parameters())


# the command --------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A folder with the weights of a small semantic network, which is exported fast."""
    monkeypatch.chdir(tmp_path)
    config = tiny_config(instance_branch=False, num_semantic=len(TOY_CATEGORIES))
    settings = PredictConfig(shortest_edge=0, min_stuff_area=7)
    save_weights(
        tmp_path / "w.safetensors",
        PanopticFPN(config).state_dict(),
        model=config,
        categories=TOY_CATEGORIES,
        predict=settings,
    )
    return tmp_path


def test_the_command_writes_a_graph_that_says_what_it_is(small, capsys):
    assert main(["export", "w.safetensors", "--out", "net.onnx", "--dtype", "float16"]) == 0
    assert capsys.readouterr().out.startswith("net.onnx: ")
    graph = onnx.load("net.onnx")
    onnx.checker.check_model(graph)
    props = {entry.key: json.loads(entry.value) for entry in graph.metadata_props}
    assert props["pfpn.model"]["num_semantic"] == len(TOY_CATEGORIES)
    assert props["pfpn.predict"]["min_stuff_area"] == 7
    assert [each["name"] for each in props["pfpn.categories"]] == [c.name for c in TOY_CATEGORIES]
    assert onnx.TensorProto.FLOAT16 in {tensor.data_type for tensor in graph.graph.initializer}


@pytest.mark.long
def test_the_command_writes_stages(small):
    assert main(["export", "w.safetensors", "--out", "out/net.onnx", "--stages"]) == 0
    names = sorted(path.name for path in (small / "out").glob("*.onnx"))
    assert names == ["net_features.onnx", "net_semantic.onnx"]


def assert_fails(small, capsys, *words: str, says: str) -> None:
    before = sorted(small.rglob("*"))
    assert main(["export", "w.safetensors", "--out", "net.onnx", *words]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert says in lines[0]
    assert sorted(small.rglob("*")) == before


def test_a_missing_package_is_named_with_what_installs_it(small, capsys, monkeypatch):
    real = export.importlib.import_module

    def without(name: str):
        if name == "onnxscript":
            raise ImportError(name)
        return real(name)

    monkeypatch.setattr(export.importlib, "import_module", without)
    assert_fails(small, capsys, says="found no onnxscript, expected")


def test_a_model_that_cannot_be_exported_leaves_nothing_behind(small, capsys, monkeypatch):
    monkeypatch.setattr(export._Features, "forward", lambda self, stacked: (stacked,) * 5)
    monkeypatch.setattr(export._Semantic, "forward", lambda self, *p: p[0][: int(p[0].sum() > 0)])
    assert_fails(small, capsys, says="PyTorch could not turn it into ONNX")


def test_a_graph_that_computes_something_else_is_not_written(small, capsys, monkeypatch):
    monkeypatch.setattr(export, "check_pieces", lambda *_: {"features": 1e-6, "semantic": 0.25})
    assert_fails(small, capsys, says="semantic: found results of ONNX Runtime that differ")


def test_a_result_that_is_nan_is_no_agreement():
    expected, found = torch.ones(3), torch.tensor([1.0, float("nan"), 1.0])
    assert export._error(expected, found) == float("inf")
    assert export._error(expected, expected) == 0


def test_weights_that_are_halved_wrongly_are_not_written(small, capsys, monkeypatch):
    """The check before the halving does not see it: the halved graphs run, too."""
    real = export.halve

    def wrong(proto) -> None:
        real(proto)
        for tensor in proto.graph.initializer:
            if tensor.data_type == onnx.TensorProto.FLOAT16:
                values = 1.01 * onnx.numpy_helper.to_array(tensor)
                tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))

    monkeypatch.setattr(export, "halve", wrong)
    assert_fails(small, capsys, "--dtype", "float16", says="found results of ONNX Runtime that")


def test_rounding_changes_the_weights_that_halving_changes_and_no_others():
    model = PanopticFPN(tiny_config())
    before = {key: value.clone() for key, value in model.state_dict().items()}
    after = export.rounded_to_half(model).state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    for key in before:
        assert torch.equal(model.state_dict()[key], before[key])
        expected = before[key].half().float() if key in changed else before[key]
        assert torch.equal(after[key], expected)
    assert "backbone.conv1.weight" in changed
    assert not {key for key in changed if "bn" in key or before[key].numel() < export.MIN_HALVED}


def test_a_weight_beyond_float16_is_refused(small, capsys):
    config = tiny_config(instance_branch=False, num_semantic=len(TOY_CATEGORIES))
    model = PanopticFPN(config)
    with torch.no_grad():
        model.semantic_head.branches["p2"][0].weight[0, 0, 0, 0] = 1e5
    save_weights(
        small / "w.safetensors", model.state_dict(), model=config, categories=TOY_CATEGORIES
    )
    assert_fails(small, capsys, "--dtype", "float16", says="1e+05, expected at most 65504")


# at full size -------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parity
def test_every_stage_of_the_published_size_computes_what_pytorch_does():
    from tests.oracles.detectron2_figures import build_reference_model, load_case

    model = build_reference_model()
    _, image = load_case("s192", None)
    pieces = export.export_pieces(model)
    errors = export.check_pieces(model, pieces, image)
    print(errors)
    assert all(error <= 5e-5 for error in errors.values()), errors
    outputs = [*export.DETECTIONS, "mask_probs", "semantic_logits"]
    joined = export.join_graphs(pieces, ["image"], outputs)
    session = InferenceSession(joined.SerializeToString())
    settings = PredictConfig(shortest_edge=0, min_stuff_area=64)
    size = tuple(image.shape[1:])
    expected = map_of(model.infer([image]), size, model.config, settings)
    ours = map_of(export.infer(session, model.config, image), size, model.config, settings)
    assert float((ours.id_map != expected.id_map).double().mean()) <= PIXELS


@pytest.mark.long
@pytest.mark.parametrize("name", PRESETS)
def test_the_model_of_every_preset_is_exported(name, rng):
    config = replace(PRESETS[name]().model, imagenet=False)
    torch.manual_seed(0)
    graphs = export.export_graphs(PanopticFPN(config).eval(), stages=True, half=True)
    assert tuple(graphs) == STAGES
