import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from pfpn.fpn import COARSEST_STRIDE, FPN, STRIDES


def features_of(size: tuple[int, int], channels: list[int]) -> dict[str, torch.Tensor]:
    return {
        f"c{k}": torch.randn(2, c, size[0] // 2**k, size[1] // 2**k)
        for k, c in enumerate(channels, start=2)
    }


def test_levels_have_one_width_and_their_strides():
    pyramid = FPN([3, 5, 7, 9], channels=4)(features_of((64, 96), [3, 5, 7, 9]))
    assert list(pyramid) == list(STRIDES) == ["p2", "p3", "p4", "p5", "p6"]
    for k in range(2, 6):
        assert STRIDES[f"p{k}"] == 2**k
        assert pyramid[f"p{k}"].shape == (2, 4, 64 // 2**k, 96 // 2**k)
    assert pyramid["p6"].shape == (2, 4, 1, 2)
    assert STRIDES["p5"] == COARSEST_STRIDE


def transparent_fpn() -> FPN:
    """One channel; laterals and smoothing pass on what they get."""
    fpn = FPN([1, 1, 1, 1], channels=1)
    for layer in fpn.lateral.values():
        layer.weight.data.fill_(1)
    for layer in fpn.smooth.values():
        layer.weight.data.zero_()
        layer.weight.data[0, 0, 1, 1] = 1
    return fpn


def test_each_level_adds_the_level_above():
    c = {f"c{k}": torch.randn(1, 1, 128 // 2**k, 64 // 2**k) for k in range(2, 6)}
    pyramid = transparent_fpn()(c)

    def doubled(x: torch.Tensor) -> torch.Tensor:  # every value four times
        return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

    expected = c["c5"]
    assert_close(pyramid["p5"], expected)
    for k in (4, 3, 2):
        expected = c[f"c{k}"] + doubled(expected)
        assert_close(pyramid[f"p{k}"], expected)
    assert_close(pyramid["p6"], c["c5"][:, :, ::2, ::2])


def test_smoothing_does_not_reach_lower_levels():
    fpn = transparent_fpn()
    c = {f"c{k}": torch.randn(1, 1, 64 // 2**k, 64 // 2**k) for k in range(2, 6)}
    before = fpn(c)
    fpn.smooth["p5"].weight.data.zero_()
    after = fpn(c)
    assert not after["p5"].any()
    assert not after["p6"].any()
    for k in (2, 3, 4):
        assert_close(after[f"p{k}"], before[f"p{k}"])


def test_half_of_an_odd_p5_is_rounded_up():
    fpn = transparent_fpn()
    c = {f"c{k}": torch.randn(1, 1, 96 // 2**k, 32 // 2**k) for k in range(2, 6)}
    assert fpn(c)["p6"].shape[2:] == (2, 1)


def test_weights_start_as_published():
    torch.manual_seed(0)
    fpn = FPN([64], channels=128)
    bound = (3 / 64) ** 0.5  # Kaiming-uniform with a = 1: variance 1 / fan_in
    weight = fpn.lateral["c2"].weight
    assert weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx((1 / 64) ** 0.5, rel=0.05)
    assert not fpn.lateral["c2"].bias.any()


def test_pyramid_of_an_image_of_one_cell_per_level_has_every_level():
    fpn = FPN([2, 2, 2, 2], channels=3)
    pyramid = fpn(features_of((32, 32), [2, 2, 2, 2]))
    assert pyramid["p5"].shape == pyramid["p6"].shape == (2, 3, 1, 1)
    assert_close(pyramid["p6"], F.max_pool2d(pyramid["p5"], 1, 2))
