import copy
import re
import socket
from types import SimpleNamespace

import pytest
import torch
import torchvision
from torch import nn
from torch.testing import assert_close

from pfpn.backbone import BatchNorm2d, FrozenBatchNorm2d, ResNet, load_imagenet
from tests.factories import assert_normal


def num_parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("depth", "expansion"), [(18, 1), (34, 1), (50, 4)])
def test_stages_have_their_strides_and_channels(depth, expansion):
    backbone = ResNet(depth, width=0.125, frozen_stages=0).eval()
    features = backbone(torch.zeros(2, 3, 64, 96))
    assert list(features) == ["c2", "c3", "c4", "c5"]
    channels = [8 * expansion * 2**i for i in range(4)]
    assert backbone.channels == channels
    for k, c in zip(range(2, 6), channels, strict=True):
        assert features[f"c{k}"].shape == (2, c, 64 // 2**k, 96 // 2**k)


def test_depths_have_as_many_blocks_as_their_names_say():
    with torch.device("meta"):
        for depth, convolutions in ((18, 2), (34, 2), (50, 3), (101, 3)):
            backbone = ResNet(depth)
            blocks = sum(len(getattr(backbone, f"layer{i}")) for i in range(1, 5))
            # every block's convolutions, the stem and the classifier that we leave out
            assert blocks * convolutions + 2 == depth


def test_width_scales_parameters_by_its_square():
    with torch.device("meta"):
        full, half = num_parameters(ResNet(18)), num_parameters(ResNet(18, width=0.5))
    assert full / half == pytest.approx(4, rel=0.01)


def test_weights_start_kaiming_normal_by_fan_out():
    torch.manual_seed(0)
    backbone = ResNet(18, width=0.5)
    assert_normal(backbone.conv1.weight, std=(2 / (32 * 49)) ** 0.5)
    assert_normal(backbone.layer2[0].conv1.weight, std=(2 / (64 * 9)) ** 0.5)
    assert_normal(backbone.layer2[0].downsample[0].weight, std=(2 / 64) ** 0.5)


def test_unusual_widths_still_run():
    features = ResNet(18, width=0.3, frozen_stages=0)(torch.zeros(1, 3, 32, 32))
    assert features["c2"].shape[1] == round(64 * 0.3)


def test_stride_placement_moves_between_the_first_two_convolutions():
    for in_1x1, strides in ((True, ((2, 2), (1, 1))), (False, ((1, 1), (2, 2)))):
        block = ResNet(50, width=0.125, stride_in_1x1=in_1x1).layer2[0]
        assert (block.conv1.stride, block.conv2.stride) == strides
        assert block.downsample[0].stride == (2, 2)


def test_stride_placement_does_not_touch_basic_blocks():
    torch.manual_seed(0)
    one = ResNet(18, width=0.125, stride_in_1x1=True).eval()
    other = ResNet(18, width=0.125, stride_in_1x1=False).eval()
    other.load_state_dict(one.state_dict())
    image = torch.randn(1, 3, 32, 32)
    assert torch.equal(one(image)["c5"], other(image)["c5"])


def randomize(norm: nn.Module) -> None:
    for name in ("weight", "bias", "running_mean"):
        getattr(norm, name).data.normal_()
    norm.running_var.uniform_(0.5, 2)


def test_frozen_norm_is_batch_norm_in_eval_mode():
    torch.manual_seed(0)
    learned = nn.BatchNorm2d(5)
    randomize(learned)
    frozen = FrozenBatchNorm2d(5)
    state = learned.state_dict()
    del state["num_batches_tracked"]
    frozen.load_state_dict(state)
    x = torch.randn(2, 5, 3, 4)
    assert_close(frozen.train()(x), learned.eval()(x))


def test_frozen_norm_has_the_gradient_of_batch_norm_and_keeps_no_input(rng):
    torch.manual_seed(0)
    frozen = FrozenBatchNorm2d(3).double()
    for value in (frozen.weight, frozen.bias, frozen.running_mean):
        value.normal_()
    frozen.running_var.uniform_(0.5, 2)
    x = torch.randn((2, 3, 4, 5), generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(frozen, x)
    assert torch.autograd.gradgradcheck(frozen, x)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()), lambda t: t):
        frozen(x)
    assert kept == [3]  # one factor for each channel


def test_frozen_norm_has_no_parameters_and_does_not_change_in_training():
    torch.manual_seed(0)
    backbone = ResNet(18, width=0.125, frozen_stages=0).train()
    norms = {n: m for n, m in backbone.named_modules() if isinstance(m, FrozenBatchNorm2d)}
    assert len(norms) == 20
    assert not any(list(norm.parameters()) for norm in norms.values())
    before = copy.deepcopy(backbone.state_dict())
    optimizer = torch.optim.SGD(backbone.parameters(), lr=0.1)
    sum(c.square().mean() for c in backbone(torch.randn(2, 3, 32, 32)).values()).backward()
    optimizer.step()
    changed = {key for key, value in backbone.state_dict().items() if not value.equal(before[key])}
    assert changed == {name for name, _ in backbone.named_parameters()}


@pytest.mark.parametrize("norm", ["frozen", "batch"])
@pytest.mark.parametrize("frozen_stages", range(6))
def test_frozen_stages_do_not_change(norm, frozen_stages):
    torch.manual_seed(0)
    backbone = ResNet(18, width=0.125, norm=norm, frozen_stages=frozen_stages)
    backbone.train()
    before = copy.deepcopy(backbone.state_dict())
    trained = [p for p in backbone.parameters() if p.requires_grad]
    if trained:
        optimizer = torch.optim.SGD(trained, lr=0.1)
        sum(c.square().mean() for c in backbone(torch.randn(2, 3, 64, 64)).values()).backward()
        optimizer.step()
    changed = {
        key.split(".")[0]
        for key, value in backbone.state_dict().items()
        if not value.equal(before[key])
    }
    stages = [["conv1", "bn1"], ["layer1"], ["layer2"], ["layer3"], ["layer4"]]
    expected = {name for stage in stages[frozen_stages:] for name in stage}
    if norm == "frozen":
        expected.discard("bn1")
    assert changed == expected


def test_frozen_stages_stay_frozen_after_evaluation():
    backbone = ResNet(18, width=0.125, norm="batch", frozen_stages=2).eval().train()
    assert not backbone.bn1.training
    assert not backbone.layer1[0].bn1.training
    assert backbone.layer2[0].bn1.training


def test_batch_norm_learns_statistics_but_not_from_a_single_value():
    norm = BatchNorm2d(3).train()
    randomize(norm)
    running = norm.running_mean.clone()
    alone = torch.randn(1, 3, 1, 1)
    assert_close(norm(alone), copy.deepcopy(norm).eval()(alone))
    assert torch.equal(norm.running_mean, running)
    norm(torch.randn(1, 3, 1, 2))
    assert not torch.equal(norm.running_mean, running)


def test_every_parameter_of_a_trainable_backbone_gets_a_gradient():
    backbone = ResNet(50, width=0.125, norm="batch", frozen_stages=0).train()
    sum(c.sum() for c in backbone(torch.randn(1, 3, 32, 32)).values()).backward()
    assert all(p.grad is not None for p in backbone.parameters())


@pytest.mark.parametrize("norm", ["frozen", "batch"])
def test_imagenet_weights_are_loaded_except_the_classifier(norm, monkeypatch):
    torch.manual_seed(0)
    state = torchvision.models.resnet18(num_classes=10).state_dict()
    for value in state.values():
        if value.is_floating_point():
            value.uniform_(0.5, 1)

    first = SimpleNamespace(get_state_dict=lambda **_: state)
    versions = {"resnet18": {"IMAGENET1K_V1": first}}
    monkeypatch.setattr("pfpn.backbone.get_model_weights", versions.__getitem__)
    backbone = ResNet(18, norm=norm, stride_in_1x1=False)
    load_imagenet(backbone, 18)
    for key, value in backbone.state_dict().items():
        assert torch.equal(value, state[key]), key


@pytest.mark.parametrize(
    ("depth", "file"), [(50, "resnet50-0676ba61"), (101, "resnet101-63fe2227")]
)
def test_a_failed_download_names_the_url_and_where_to_save_the_file(
    depth, file, monkeypatch, tmp_path
):
    """The machines that train often have no network."""

    def no_host(*args, **kwargs):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_host)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "hub" / "checkpoints" / f"{file}.pth"
    with pytest.raises(ValueError, match=re.escape(f"save it as {path}")) as caught:
        load_imagenet(ResNet(depth, width=0.125), depth)
    assert f"https://download.pytorch.org/models/{file}.pth" in str(caught.value)
