import pytest
import torch
import torchvision
from torch import Tensor
from torch.testing import assert_close

from pfpn import roi_align as module
from pfpn.roi_align import MAX_COST, MIN_BINS, align_by_products, axis_weights, roi_align
from tests.factories import random_boxes
from tests.oracles import roi as slow

EXACT = {"rtol": 1e-13, "atol": 1e-13}


def random_rois(num: int, rng: torch.Generator, images: int = 3) -> Tensor:
    """Rois of any image in any order: inside the map, partly or wholly outside, a few tiny ones."""
    boxes = random_boxes(num, rng, size=(60, 80), dtype=torch.float64)
    boxes = 1.5 * boxes - 20 + torch.tensor([0.0, 0.0, 10.0, 10.0])
    boxes[: num // 4, 2:] = boxes[: num // 4, :2] + 1.5  # pixels: less than a cell
    image = torch.randint(0, images, (num, 1), generator=rng)
    return torch.cat([image.double(), boxes], dim=1)


def outputs_and_gradient(align, features: Tensor, *arguments) -> tuple[Tensor, Tensor]:
    features = features.clone().requires_grad_()
    pooled = align(features, *arguments)
    seed = torch.randn(pooled.shape, generator=torch.Generator().manual_seed(1), dtype=pooled.dtype)
    return pooled.detach(), torch.autograd.grad(pooled, features, seed)[0]


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("samples", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 7])
def test_products_equal_torchvision_in_value_and_gradient(size, samples, aligned, rng):
    features = torch.randn((3, 4, 15, 20), generator=rng, dtype=torch.float64)
    arguments = random_rois(40, rng), size, 1 / 4, samples, aligned
    ours = outputs_and_gradient(align_by_products, features, *arguments)
    theirs = outputs_and_gradient(torchvision.ops.roi_align, features, *arguments)
    assert (theirs[0] == 0).any()  # some samples lie outside
    assert_close(ours, theirs, **EXACT)


@pytest.mark.parametrize("height_and_width", [(1, 1), (1, 6), (5, 1)])
def test_products_equal_torchvision_on_maps_of_one_cell(height_and_width, rng):
    features = torch.randn((2, 3, *height_and_width), generator=rng, dtype=torch.float64)
    arguments = random_rois(30, rng, images=2), 3, 1 / 16, 2, True
    ours = outputs_and_gradient(align_by_products, features, *arguments)
    theirs = outputs_and_gradient(torchvision.ops.roi_align, features, *arguments)
    assert_close(ours, theirs, **EXACT)


def test_products_equal_the_slow_version(rng):
    # The slow version takes as many samples as a bin spans cells: two here, on both axes.
    features = torch.randn((1, 2, 20, 25), generator=rng, dtype=torch.float64)
    boxes = torch.tensor([[6.0, 5, 30, 28], [-8, -9, 14, 13], [70, 55, 96, 80]]).double()
    rois = torch.cat([torch.zeros(3, 1), boxes], dim=1)
    pooled = align_by_products(features, rois, 4, 1 / 4, 2, True)
    for bins, box in zip(pooled, boxes.tolist(), strict=True):
        assert_close(bins, slow.roi_align(features[0], box, 4, 4), **EXACT)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_float32_products_equal_torchvision_to_rounding(memory_format, rng):
    features = torch.randn((3, 8, 15, 20), generator=rng).to(memory_format=memory_format)
    arguments = random_rois(40, rng).float(), 7, 1 / 4, 2, True
    ours = outputs_and_gradient(align_by_products, features, *arguments)
    theirs = outputs_and_gradient(torchvision.ops.roi_align, features, *arguments)
    assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_gradient_of_products(rng):
    features = torch.randn((2, 2, 5, 6), generator=rng, dtype=torch.float64, requires_grad=True)
    rois = random_rois(6, rng, images=2)
    assert torch.autograd.gradcheck(
        lambda x: align_by_products(x, rois, 2, 1 / 16, 2, True), features
    )
    assert torch.autograd.gradgradcheck(
        lambda x: align_by_products(x, rois, 2, 1 / 16, 2, True), features
    )


def test_rois_are_constants_as_in_torchvision(rng):
    features = torch.randn((3, 2, 15, 20), generator=rng, dtype=torch.float64, requires_grad=True)
    rois = random_rois(5, rng).requires_grad_()
    align_by_products(features, rois, 2, 1 / 4, 2, True).sum().backward()
    assert rois.grad is None


def test_autocast_does_not_round_the_products(rng):
    features = torch.randn((3, 2, 15, 20), generator=rng, requires_grad=True)
    rois = random_rois(5, rng).float()
    exact = align_by_products(features, rois, 7, 1 / 4, 2, True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pooled = align_by_products(features, rois, 7, 1 / 4, 2, True)
    assert torch.equal(pooled, exact)


def test_axis_weights_by_hand():
    start, extent = torch.tensor([-1.0, 0.5, 2.5]), torch.tensor([4.0, 2.0, 4.0])
    weights = axis_weights(start, extent, bins=2, cells=4, samples=2)
    expected = [
        [[0.75, 0.25, 0.0, 0.0], [0.0, 0.25, 0.5, 0.25]],  # samples at -0.5, 0.5 | 1.5, 2.5
        [[0.125, 0.75, 0.125, 0.0], [0.0, 0.125, 0.75, 0.125]],  # 0.75, 1.25 | 1.75, 2.25
        [[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]],  # 3, 4 (the rim) | 5, 6
    ]
    assert_close(weights, torch.tensor(expected))


# --- the choice --------------------------------------------------------------------------------


@pytest.fixture
def calls(monkeypatch) -> list[str]:
    """The names of the methods that `roi_align` chooses, one a call."""
    chosen: list[str] = []

    def products(*arguments):
        chosen.append("products")
        return align_by_products(*arguments)

    def theirs(*arguments):
        chosen.append("torchvision")
        return original(*arguments)

    original = torchvision.ops.roi_align
    monkeypatch.setattr(module, "align_by_products", products)
    monkeypatch.setattr(torchvision.ops, "roi_align", theirs)
    return chosen


def test_products_are_for_gradients_on_small_maps(calls, rng):
    small = torch.randn((3, 2, 15, 20), generator=rng)
    rois = random_rois(12, rng).float()
    roi_align(small, rois, 7, 1 / 4, 2)  # nothing to train
    trained = small.clone().requires_grad_()
    roi_align(trained, rois, 7, 1 / 4, 2)
    roi_align(trained, rois, 7, 1 / 4, 0)  # the number of samples depends on the box
    roi_align(torch.zeros(1, 2, 200, 300, requires_grad=True), rois * 0, 7, 1 / 4, 2)
    with torch.no_grad():
        roi_align(trained, rois, 7, 1 / 4, 2)
    assert calls == ["torchvision", "products"] + 3 * ["torchvision"]


@pytest.mark.parametrize("size", [7, 14])
def test_few_boxes_are_left_to_torchvision(size, calls):
    features = torch.zeros(1, 1, 8, 8, requires_grad=True)
    for num in (0, 1, 2, 3, 8, 9, 20):
        rois = torch.tensor([[0.0, 4.0, 4.0, 30.0, 30.0]] * num).view(-1, 5)
        roi_align(features, rois, size, 1 / 4, 2)
        assert calls.pop() == ("products" if num * size**2 >= MIN_BINS else "torchvision")


def test_the_limit_is_a_number_of_multiplications_per_sample(calls):
    # height x (width + size) / (size x samples^2): 32 x (48 + 7) / 28 = 63; 64 x 103 / 28 = 235
    rois = torch.tensor([[0.0, 4.0, 4.0, 30.0, 30.0]] * 10)
    for height, width, size in ((32, 48, 7), (64, 96, 7), (64, 96, 14)):
        cost = height * (width + size) / (4 * size)
        roi_align(torch.zeros(1, 1, height, width, requires_grad=True), rois, size, 1 / 4, 2)
        assert calls[-1] == ("products" if cost <= MAX_COST else "torchvision")
    assert calls == ["products", "torchvision", "products"]


def test_both_methods_agree_through_the_choice(rng, monkeypatch):
    features = torch.randn((3, 2, 15, 20), generator=rng, dtype=torch.float64)
    arguments = random_rois(30, rng), 7, 1 / 4, 2, True
    ours = outputs_and_gradient(roi_align, features, *arguments)
    monkeypatch.setattr(module, "MAX_COST", 0)
    theirs = outputs_and_gradient(roi_align, features, *arguments)
    assert not torch.equal(ours[1], theirs[1])
    assert_close(ours, theirs, **EXACT)


@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_without_rois_there_are_no_features_and_no_gradient(sampling_ratio):
    features = torch.zeros((2, 3, 8, 8), requires_grad=True)
    pooled = roi_align(features, torch.zeros(0, 5), 7, 1 / 4, sampling_ratio)
    assert pooled.shape == (0, 3, 7, 7)
    pooled.sum().backward()
    assert not features.grad.any()
