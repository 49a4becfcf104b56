"""Published weights find their places, whatever file they come in; all else is refused by name."""

import hashlib
import json
import os
import pickle
import re
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.testing import assert_close
from torchvision.models.detection import maskrcnn_resnet50_fpn
from torchvision.models.detection._utils import overwrite_eps
from torchvision.ops.misc import FrozenBatchNorm2d

from pfpn import zoo
from pfpn.anchors import pyramid_anchors
from pfpn.backbone import ResNet
from pfpn.cli import main
from pfpn.data.categories import coco_categories
from pfpn.engine.checkpoint import load_weights
from pfpn.model import ModelConfig, PanopticFPN
from pfpn.predict import PredictConfig
from pfpn.structures import Category, things
from tests.data_files.detectron2.keyed_weights import keyed_state_dict

FIGURES = Path(__file__).parent / "data_files" / "detectron2"
ROOT = Path(__file__).resolve().parents[1]
SIDES = (32, 64, 128, 256, 512)


def key_shapes(depth: int) -> dict[str, list[int]]:
    return json.loads((FIGURES / f"key_shapes_r{depth}.json").read_text())


def zeros(depth: int) -> dict[str, Tensor]:
    """A checkpoint of the right names and shapes that takes no memory."""
    return {key: torch.zeros(()).expand(shape) for key, shape in key_shapes(depth).items()}


def extra_buffers() -> dict[str, Tensor]:
    """What detectron2's files of 2019 and 2020 hold besides, computed as detectron2 does."""
    buffers = {}
    for i, side in enumerate(SIDES):
        rows = []
        for ratio in (0.5, 1.0, 2.0):
            width = (side**2 / ratio) ** 0.5
            height = ratio * width
            rows.append([-width / 2, -height / 2, width / 2, height / 2])
        buffers[f"proposal_generator.anchor_generator.cell_anchors.{i}"] = torch.tensor(rows)
    buffers["pixel_mean"] = torch.tensor([103.53, 116.28, 123.675]).view(3, 1, 1)
    buffers["pixel_std"] = torch.ones(3, 1, 1)
    return buffers


def write_zoo_pickle(path: Path, state: dict[str, Tensor], protocol: int = 4) -> Path:
    """As the model zoo ships it: arrays under "model", beside it who made them."""
    arrays = {key: value.numpy() for key, value in state.items()}
    tree = {"model": arrays, "__author__": "Detectron2 Model Zoo"}
    path.write_bytes(pickle.dumps(tree, protocol=protocol))
    return path


@pytest.fixture(scope="module")
def keyed() -> dict[str, Tensor]:
    return keyed_state_dict(key_shapes(50))


@pytest.fixture(scope="module")
def keyed_pickle(keyed, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("zoo") / "model_final_c10459.pkl"
    return write_zoo_pickle(path, keyed | extra_buffers())


def assert_equal_states(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    different = [key for key, value in wanted.items() if not torch.equal(found[key], value)]
    assert different == []


# ------------------------------------------------------------------- detectron2: every format


def test_a_zoo_pickle_gives_every_tensor_its_place(keyed, keyed_pickle):
    config, state = zoo.read_published(keyed_pickle)
    assert config == ModelConfig()
    assert_equal_states(state, zoo.rename_detectron2(keyed))
    assert list(state) == list(PanopticFPN(config).state_dict())


@pytest.mark.parametrize("kind", ["pickle of Python 2's protocol", "pth", "safetensors", "legacy"])
def test_other_formats_hold_the_same(kind, keyed, tmp_path):
    path = tmp_path / "weights"
    if kind == "pth":
        torch.save({"model": keyed, "iteration": 90_000}, path)
    elif kind == "legacy":
        torch.save(keyed, path, _use_new_zipfile_serialization=False)
    elif kind == "safetensors":
        save_file(keyed, path)
    else:
        write_zoo_pickle(path, keyed, protocol=2)
    config, state = zoo.read_published(path)
    assert config == ModelConfig()
    assert_equal_states(state, zoo.rename_detectron2(keyed))


def test_resnet_101_is_told_by_its_names_with_nothing_left_over():
    config, state = zoo.from_detectron2(zeros(101))
    assert config == ModelConfig(depth=101)
    assert len(state) == len(key_shapes(101)) == 585
    with torch.device("meta"):
        model = PanopticFPN(config)
    assert {k: v.shape for k, v in model.state_dict().items()} == {
        k: v.shape for k, v in state.items()
    }


@pytest.mark.parametrize("depth", [50, 101])
def test_no_two_names_share_a_place(depth):
    names = [zoo.detectron2_name(key) for key in key_shapes(depth)]
    assert None not in names
    assert len(set(names)) == len(names)


def test_numbers_of_classes_are_read_off_the_tensors():
    state = zeros(50)
    shapes = {
        "roi_heads.box_predictor.cls_score": 9,
        "roi_heads.box_predictor.bbox_pred": 32,
        "roi_heads.mask_head.predictor": 8,
        "sem_seg_head.predictor": 12,
    }
    for key, rows in shapes.items():
        for part in ("weight", "bias"):
            old = state[f"{key}.{part}"]
            state[f"{key}.{part}"] = torch.zeros(()).expand(rows, *old.shape[1:])
    config, _ = zoo.from_detectron2(state)
    assert config == ModelConfig(num_things=8, num_semantic=12)


# ------------------------------------------------------------------ detectron2: what is refused


@pytest.mark.parametrize("key", list(key_shapes(50))[::29])
def test_a_missing_tensor_is_named(key):
    state = zeros(50)
    del state[key]
    with pytest.raises(ValueError, match=re.escape(f"1 missing ['{zoo.detectron2_name(key)}']")):
        zoo.from_detectron2(state)


@pytest.mark.parametrize(
    "key",
    [
        "roi_heads.box_head.fc3.weight",
        "backbone.bottom_up.res4.6.conv1.weight",
        "backbone.bottom_up.stem.conv1.norm.num_batches_tracked",
        "proposal_generator.anchor_generator.cell_anchors.5",
        "proposal_generator.anchor_generator.cell_anchors",
        "backbone.pixel_mean",
        "sem_seg_head.p5.1.weight",
        "optimizer",
    ],
)
def test_a_surplus_tensor_is_named(key):
    with pytest.raises(ValueError, match=r"surplus|does not have") as caught:
        zoo.from_detectron2(zeros(50) | {key: torch.zeros(3)})
    assert key in str(caught.value) or str(zoo.detectron2_name(key)) in str(caught.value)


def test_a_wrong_shape_is_named_with_both_shapes():
    state = zeros(50) | {"backbone.fpn_lateral3.weight": torch.zeros(256, 512, 3, 3)}
    with pytest.raises(ValueError, match=r"fpn\.lateral\.c3\.weight.*512, 3, 3.*512, 1, 1"):
        zoo.from_detectron2(state)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_no_number_is_told(value):
    bias = torch.zeros(256)
    bias[17] = value
    with pytest.raises(ValueError, match=r"fpn\.lateral\.c3\.bias.*not all finite"):
        zoo.from_detectron2(zeros(50) | {"backbone.fpn_lateral3.bias": bias})


def test_whole_numbers_are_no_weights():
    state = zeros(50) | {"backbone.fpn_lateral3.bias": torch.zeros(256, dtype=torch.int64)}
    with pytest.raises(ValueError, match=r"torch\.int64"):
        zoo.from_detectron2(state)


@pytest.mark.parametrize("key", extra_buffers())
def test_each_extra_buffer_is_compared_with_the_config(key):
    buffers = extra_buffers()
    zoo.from_detectron2(zeros(50) | buffers)
    for wrong in (buffers[key] + 0.01, buffers[key].flatten(), buffers[key] * float("nan")):
        with pytest.raises(ValueError, match=f"^{re.escape(key)}: found"):
            zoo.from_detectron2(zeros(50) | {key: wrong})


def test_rgb_or_scaled_input_is_told_by_the_buffers():
    rgb = {"pixel_mean": torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)}
    with pytest.raises(ValueError, match=r"pixel_mean.*another configuration"):
        zoo.from_detectron2(zeros(50) | rgb)


def test_a_file_of_other_names_says_what_was_expected(tmp_path):
    save_file({"conv1.weight": torch.zeros(3), "fc.bias": torch.zeros(2)}, tmp_path / "w")
    with pytest.raises(ValueError, match=r"2 tensors such as \['conv1\.weight'.*bottom_up"):
        zoo.read_published(tmp_path / "w")


@pytest.mark.parametrize("content", [b"\x10" + bytes(7) + b"{" + b"x" * 30, b"<html>login</html>"])
def test_a_file_that_is_none_of_the_formats_is_told(content, tmp_path):
    path = tmp_path / "w.pkl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=str(path)):
        zoo.read_published(path)
    with pytest.raises(ValueError, match="no such file"):
        zoo.read_published(tmp_path / "nothing.pkl")


# ---------------------------------------------------------------------------------- loading


@pytest.fixture
def offline(monkeypatch) -> None:
    """No name is found, as without a network."""

    def nobody(*args, **kwargs):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def cache(monkeypatch, tmp_path, keyed_pickle) -> Path:
    """An empty cache folder; the file of our own weights counts as the published one."""
    published = zoo.MODELS["coco_panoptic_fpn_r50_3x"]
    md5 = hashlib.md5(keyed_pickle.read_bytes()).hexdigest()[:6]
    monkeypatch.setitem(zoo.MODELS, "coco_panoptic_fpn_r50_3x", replace(published, md5=md5))
    monkeypatch.setenv("PFPN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "zoo"


@pytest.mark.parametrize("name", zoo.MODELS)
def test_offline_the_message_says_what_to_fetch_and_where_to_put_it(name, cache, offline):
    with pytest.raises(ValueError, match="by hand and put it at") as caught:
        zoo.load(name)
    url = zoo.MODELS[name].url
    assert url in str(caught.value)
    assert str(cache / url.rpartition("/")[2]) in str(caught.value)


def test_a_file_put_there_by_hand_is_loaded(keyed, keyed_pickle, cache, offline):
    cache.mkdir(parents=True, exist_ok=True)
    (cache / "model_final_c10459.pkl").symlink_to(keyed_pickle)
    model = zoo.load("coco_panoptic_fpn_r50_3x")
    assert not model.training
    assert model.config == ModelConfig()
    assert_equal_states(model.state_dict(), zoo.rename_detectron2(keyed))


def test_a_file_put_there_by_hand_that_was_damaged_on_its_way_is_refused(
    keyed_pickle, cache, offline
):
    """Its first digits of MD5 are in its name, and one byte changes them."""
    damaged = bytearray(keyed_pickle.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    cache.mkdir(parents=True)
    (cache / "model_final_c10459.pkl").write_bytes(damaged)
    with pytest.raises(ValueError, match=r"model_final_c10459.pkl: found MD5 .*damaged"):
        zoo.load("coco_panoptic_fpn_r50_3x")


def test_the_sums_in_the_files_names_are_checked():
    for published in zoo.MODELS.values():
        digits = re.search(r"[-_]([0-9a-f]{6,8})\.p", published.url)
        assert digits is not None
        assert digits[1] in (published.md5, published.sha256)


def test_a_file_elsewhere_is_loaded_by_its_path(keyed_pickle):
    model = zoo.load("coco_panoptic_fpn_r50_1x", file=keyed_pickle)
    assert model.config.depth == 50
    with pytest.raises(ValueError, match="depth 50 instead of 101 for coco_panoptic_fpn_r101_3x"):
        zoo.load("coco_panoptic_fpn_r101_3x", file=str(keyed_pickle))


def test_an_unknown_name_is_told_with_the_known_ones():
    with pytest.raises(ValueError, match=r"r51: found no such model.*coco_panoptic_fpn_r50_3x"):
        zoo.load("r51")


def test_published_figures_stand_in_the_docstring():
    assert [zoo.MODELS[f"coco_panoptic_fpn_{n}"].figures["PQ"] for n in ("r50_1x", "r50_3x")] == [
        39.4,
        41.5,
    ]
    assert zoo.MODELS["coco_panoptic_fpn_r101_3x"].figures["PQ"] == 43.0
    lines = (zoo.load.__doc__ or "").splitlines()
    for name, published in zoo.MODELS.items():
        (line,) = (line for line in lines if line.strip().startswith(f"{name} "))
        for figure, value in published.figures.items():
            assert f"{figure} {value}" in line


def test_labels_are_those_of_coco():
    categories = coco_categories()
    config = zoo.MODELS["coco_panoptic_fpn_r50_3x"].config
    assert config.num_things == len(things(categories))
    assert config.num_semantic == 1 + len(categories) - len(things(categories))


# ------------------------------------------------------------------------------- converting


def test_a_converted_file_is_used_like_any_other(keyed, keyed_pickle, tmp_path, capsys):
    out = tmp_path / "w.safetensors"
    assert main(["convert", str(keyed_pickle), "--out", str(out)]) == 0
    assert "ResNet-50, 80 things, 54 semantic classes" in capsys.readouterr().out
    trained = load_weights(out)
    assert trained.model.config == ModelConfig()
    assert trained.predict == PredictConfig()
    assert trained.categories == tuple(coco_categories())
    assert_equal_states(trained.model.state_dict(), zoo.rename_detectron2(keyed))


def test_a_hostile_file_ends_in_one_line_and_exit_code_2(tmp_path, capsys):
    target, path = tmp_path / "executed", tmp_path / "w.pkl"

    class Attack:
        def __reduce__(self):
            return os.system, (f"touch {target}",)

    array = np.zeros(3, np.float32)
    path.write_bytes(pickle.dumps({"model": {"a": array, "b": Attack()}}))
    out = tmp_path / "out.safetensors"
    assert main(["convert", str(path), "--out", str(out)]) == 2
    told = capsys.readouterr().err
    assert "posix.system" in told
    assert "Nothing in the file was executed" in told
    assert told.count("\n") == 1
    assert not target.exists()
    assert not out.exists()


def test_the_command_of_the_readme_works_in_a_process_of_its_own(keyed_pickle, tmp_path):
    out = tmp_path / "w.safetensors"
    command = [sys.executable, "-m", "pfpn", "convert", str(keyed_pickle), "--out", str(out)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    assert out.stat().st_size > 180e6


def test_converting_by_name_fetches_the_file(keyed_pickle, cache, offline, tmp_path, capsys):
    out = tmp_path / "w.safetensors"
    arguments = ["convert", "coco_panoptic_fpn_r50_3x", "--out", str(out)]
    assert main(arguments) == 2
    assert "put it at" in capsys.readouterr().err
    cache.mkdir(parents=True, exist_ok=True)
    (cache / "model_final_c10459.pkl").symlink_to(keyed_pickle)
    assert main(arguments) == 0
    assert out.is_file()


def test_a_model_of_another_data_set_needs_its_categories(keyed_pickle, tmp_path):
    with pytest.raises(
        ValueError, match="found 80 things and 54 semantic classes, expected 1 and 1"
    ):
        zoo.convert(keyed_pickle, tmp_path / "w", categories=[Category(1, "cat", True)])


def test_download_zoo_prints_the_place_and_the_figures(keyed_pickle, cache, offline, capsys):
    cache.mkdir(parents=True, exist_ok=True)
    (cache / "model_final_c10459.pkl").symlink_to(keyed_pickle)
    assert main(["download", "zoo", "coco_panoptic_fpn_r50_3x"]) == 0
    told = capsys.readouterr().out
    assert str(cache / "model_final_c10459.pkl") in told
    assert "published: PQ 41.5" in told
    assert main(["download", "zoo", "coco_panoptic_fpn_r50_3x", "r51"]) == 2


def test_download_coco_offline_ends_in_one_line(offline, tmp_path, capsys, monkeypatch):
    usage = type("Usage", (), {"free": 10**12})
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    assert main(["download", "coco", str(tmp_path), "--split", "val2017"]) == 2
    assert f"put it at {tmp_path / 'val2017.zip'}" in capsys.readouterr().err


def test_download_cityscapes_explains_the_login_and_names_the_gaps(tmp_path, capsys):
    assert main(["download", "cityscapes", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    for words in ("leftImg8bit_trainvaltest.zip", "gtFine_trainvaltest.zip", "Register", "2975"):
        assert words in told
    assert f"--dataset-folder {tmp_path}/gtFine" in told


# ------------------------------------------------------------------------------- torchvision


def random_torchvision(num_classes: int, size: tuple[int, int]) -> torch.nn.Module:
    """torchvision's Mask R-CNN with weights that find many things of several classes."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = maskrcnn_resnet50_fpn(
            weights=None,
            weights_backbone=None,
            num_classes=num_classes,
            min_size=min(size),
            max_size=max(size),
        )
        for name, module in model.backbone.body.named_modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.uniform_(0.5, 1)
                module.bias.normal_(std=0.1)
                if name.endswith("bn3"):  # or activations grow from block to block
                    module.weight.mul_(0.3)
        heads = model.roi_heads
        for layer, std in (
            (model.rpn.head.cls_logits, 0.2),
            (model.rpn.head.bbox_pred, 0.05),
            (heads.box_predictor.cls_score, 2.0),
            (heads.box_predictor.bbox_pred, 0.1),
            (heads.mask_predictor.mask_fcn_logits, 0.3),
        ):
            layer.weight.normal_(std=std)
            layer.bias.normal_(std=0.1)
    return model.eval()


@pytest.fixture(scope="module")
def theirs() -> torch.nn.Module:
    return random_torchvision(7, (160, 224))


def ours_from(theirs: torch.nn.Module, **options: float) -> PanopticFPN:
    config, state = zoo.from_torchvision(theirs.state_dict(), **options)
    model = PanopticFPN(config)
    model.load_state_dict(state)
    return model.eval()


@pytest.mark.parity
@torch.no_grad()
def test_every_stage_equals_torchvisions_mask_rcnn(theirs):
    """160 x 224 on purpose: p5 has 5 x 7 cells, where torchvision's p6 has strides of its own."""
    ours = ours_from(theirs)
    image = torch.randint(0, 256, (3, 160, 224), generator=torch.Generator().manual_seed(1))
    image = image.to(torch.uint8)
    images, _ = theirs.transform([image.float() / 255])
    stacked, sizes = ours.stack([image])
    assert images.image_sizes == sizes == [(160, 224)]
    assert_close(stacked, images.tensors, rtol=0, atol=2e-6)

    features = theirs.backbone(images.tensors)
    for level, wanted in zip(ours.pyramid(stacked).values(), features.values(), strict=True):
        assert_close(level, wanted, rtol=0, atol=5e-6 * wanted.abs().max().item())

    anchors = theirs.rpn.anchor_generator(images, list(features.values()))[0]
    c = ours.config
    pyramid = ours.pyramid(stacked)
    own = pyramid_anchors(pyramid, c.anchor_sides, c.anchor_ratios, c.anchor_rounding)
    assert_close(torch.cat(own), anchors, rtol=0, atol=0)
    exact = pyramid_anchors(pyramid, c.anchor_sides, c.anchor_ratios)
    assert (torch.cat(exact) - anchors).abs().max() > 8  # so the switch is needed

    proposals, _ = theirs.rpn(images, features)
    wanted = theirs.roi_heads(features, proposals, images.image_sizes)[0][0]
    found = ours.infer([image]).detections[0]
    assert len(found) == len(wanted["scores"]) > 20
    assert len(found.labels.unique()) >= 2
    # Equal scores may change places, so each of ours is looked up by its box and class.
    distance = (found.boxes[:, None] - wanted["boxes"]).abs().amax(2)
    distance[found.labels[:, None] + 1 != wanted["labels"]] = float("inf")
    nearest, partner = distance.min(1)
    assert len(partner.unique()) == len(found)
    assert nearest.max() < 5e-3  # pixels
    assert_close(found.scores, wanted["scores"][partner], rtol=0, atol=2e-4)
    assert_close(found.mask_probs, wanted["masks"][partner, 0], rtol=0, atol=5e-4)
    assert found.mask_probs.std() > 0.1


def old_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same state dict under the names of torchvision before 0.13, and without counters."""
    renamed = {}
    for key, value in state.items():
        key = re.sub(r"(inner_blocks|layer_blocks)\.(\d)\.0\.", r"\1.\2.", key)
        key = key.replace("rpn.head.conv.0.0.", "rpn.head.conv.")
        key = re.sub(r"mask_head\.(\d)\.0\.", lambda m: f"mask_head.mask_fcn{int(m[1]) + 1}.", key)
        if not key.endswith("num_batches_tracked"):
            renamed[key] = value
    return renamed


def test_names_of_2019_are_known_too(theirs):
    old = old_names(theirs.state_dict())
    assert not old.keys() & {"rpn.head.conv.0.0.weight", "roi_heads.mask_head.0.0.weight"}
    config, state = zoo.from_torchvision(theirs.state_dict(), norm_eps=0.0)
    old_config, old_state = zoo.from_torchvision(old)
    assert old_config == config
    assert_equal_states(old_state, state)


def test_every_tensor_of_torchvision_has_a_place_of_its_own(theirs):
    for state in (theirs.state_dict(), old_names(theirs.state_dict())):
        keys = [key for key in state if not key.endswith("num_batches_tracked")]
        names = [zoo.torchvision_name(key) for key in keys]
        assert None not in names
        with torch.device("meta"):
            wanted = PanopticFPN(ModelConfig(semantic_branch=False)).state_dict()
        assert sorted(map(str, names)) == sorted(wanted)


def test_the_eighty_classes_of_coco_keep_their_rows_and_background_goes_last():
    state = {}
    for key, value in (
        maskrcnn_resnet50_fpn(weights=None, weights_backbone=None).state_dict().items()
    ):
        state[key] = torch.zeros(()).expand(value.shape)
    ids = torch.arange(91.0)
    state["roi_heads.box_predictor.cls_score.bias"] = ids
    state["roi_heads.box_predictor.bbox_pred.bias"] = (
        ids[:, None] + torch.tensor([0, 0.25, 0.5, 0.75])
    ).flatten()
    state["roi_heads.mask_predictor.mask_fcn_logits.bias"] = ids
    config, ours = zoo.from_torchvision(state)
    assert config.num_things == 80
    wanted = [float(category.id) for category in things(coco_categories())]
    assert ours["box_head.classify.bias"].tolist() == [*wanted, 0]
    assert ours["mask_head.classify.bias"].tolist() == wanted
    deltas = ours["box_head.deltas.bias"].view(80, 4)
    assert deltas[:, 0].tolist() == wanted
    assert deltas[5].tolist() == [6, 6.25, 6.5, 6.75]


@torch.no_grad()
@pytest.mark.parity
@pytest.mark.parametrize("eps", [0.0, 1e-5, 1e-3])
def test_another_epsilon_is_folded_into_the_scale(eps):
    """With variances as small as it, where it matters."""
    torch.manual_seed(0)
    model = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=3)
    body = model.backbone.body
    stem = FrozenBatchNorm2d(64)
    body.bn1 = stem
    stem.running_var.uniform_(1e-6, 1e-4)
    stem.weight.uniform_(0.5, 1)
    overwrite_eps(model, eps)
    model.eval()
    _, state = zoo.from_torchvision(model.state_dict(), norm_eps=eps)
    ours = ResNet(50, stride_in_1x1=False)
    prefix = "backbone."
    ours.load_state_dict(
        {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    )
    image = torch.randn(1, 3, 32, 32)
    wanted = body.bn1(body.conv1(image))
    found = ours.bn1(ours.conv1(image))
    assert_close(found, wanted, rtol=2e-5, atol=2e-5 * wanted.abs().max().item())


def test_a_torchvision_file_is_converted(theirs, tmp_path, capsys):
    path, out = tmp_path / "maskrcnn.pth", tmp_path / "w.safetensors"
    torch.save(theirs.state_dict(), path)
    assert main(["convert", str(path), "--out", str(out)]) == 2
    assert "found 6 things and None semantic classes" in capsys.readouterr().err
    categories = [Category(i, f"thing {i}", True) for i in range(1, 7)]
    config = zoo.convert(path, out, categories=categories)
    assert config == ModelConfig(
        **{f: getattr(zoo.TORCHVISION, f) for f in FIELDS} | {"num_things": 6}
    )
    trained = load_weights(out)
    assert trained.categories == tuple(categories)
    assert_equal_states(trained.model.state_dict(), ours_from(theirs).state_dict())


FIELDS = list(ModelConfig.__dataclass_fields__)


def test_other_models_of_torchvision_are_refused(theirs):
    state = dict(theirs.state_dict())
    with pytest.raises(ValueError, match=r"does not have.*box_head\.0\.0\.weight"):
        zoo.from_torchvision(state | {"roi_heads.box_head.0.0.weight": torch.zeros(1)})
    both = state | {"rpn.head.conv.weight": state["rpn.head.conv.0.0.weight"]}
    with pytest.raises(ValueError, match="and, by an old name, another"):
        zoo.from_torchvision(both)
    for key in ("roi_heads.box_predictor.cls_score.bias", "roi_heads.mask_head.2.0.bias"):
        with pytest.raises(ValueError, match="missing"):
            zoo.from_torchvision({k: v for k, v in state.items() if k != key})
