"""The pyramid in numbers: by hand, and against the gradients of real networks."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from pfpn.backbone import ResNet
from pfpn.course.ch01_fpn.numbers import (
    amplitudes,
    blockiness,
    blockiness_after,
    build_pyramid,
    central_side,
    count_uses,
    double_and_smooth,
    effective_field,
    inner_maps,
    level_costs,
    principal_colors,
    probe_labels,
    pyramid_by,
    relative_step,
    resnet_layers,
    theoretical_field,
)
from pfpn.fpn import FPN


def features(channels: tuple[int, ...] = (3, 4, 5, 6)) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    return {
        f"c{k}": torch.randn(1, n, 64 // 2**k, 96 // 2**k, generator=rng)
        for k, n in enumerate(channels, start=2)
    }


def test_field_of_layers_counted_by_hand():
    # 7x7 stride 2: 7; 3x3 stride 2: 7 + 2 * 2 = 11; 3x3: 11 + 2 * 4 = 19
    assert theoretical_field([]) == (1, 1)
    assert theoretical_field([(7, 2), (3, 2), (3, 1)]) == (19, 4)


@pytest.mark.parametrize(
    ("depth", "in_1x1", "level"),
    [(18, False, "c2"), (18, False, "c3"), (50, False, "c3"), (50, True, "c3")],
)
def test_field_of_a_resnet_is_where_its_gradient_is(depth, in_1x1, level):
    torch.manual_seed(0)
    net = ResNet(depth, width=0.125, norm="batch", stride_in_1x1=in_1x1, frozen_stages=0).eval()
    side, stride = theoretical_field(resnet_layers(depth, level, stride_in_1x1=in_1x1))
    assert stride == 2 ** int(level[1])
    image = torch.randn(1, 3, 256, 256)
    field = effective_field(lambda x: net(x)[level], image, torch.Generator())
    for axis in (0, 1):
        inside = (field > 0).any(axis).nonzero()
        assert int(inside.max() - inside.min()) + 1 == side
    assert field.sum() == pytest.approx(1, abs=1e-4)


def test_side_of_the_central_square():
    field = torch.zeros(9, 9)
    field[4, 4] = 0.5
    field[2, 4] = 0.3
    field[4, 8] = 0.2
    assert central_side(field, (4, 4), 0.45) == 1
    assert central_side(field, (4, 4), 0.7) == 5
    assert central_side(field, (4, 4), 0.9) == 9


def test_uncut_pyramid_is_that_of_the_fpn():
    fpn, maps = FPN([3, 4, 5, 6], 4), features()
    ours, theirs = build_pyramid(fpn, maps), fpn(maps)
    assert list(ours) == list(theirs)
    for level in theirs:
        assert torch.equal(ours[level], theirs[level])


def test_the_readers_top_down_path_is_used_for_every_level():
    fpn, maps = FPN([3, 4, 5, 6], 4), features()

    def no_path(laterals):
        assert [tuple(m.shape) for m in laterals] == [(4, 16, 24), (4, 8, 12), (4, 4, 6), (4, 2, 3)]
        return laterals

    cut = build_pyramid(fpn, maps, cut=("p2", "p3", "p4"))
    own = pyramid_by(fpn, maps, no_path)
    assert list(own) == ["p2", "p3", "p4", "p5"]
    assert all(torch.equal(own[level], cut[level]) for level in own)
    whole = build_pyramid(fpn, maps)
    merged = [inner_maps(fpn, maps)[f"p{k}"][0] for k in (2, 3, 4, 5)]
    own = pyramid_by(fpn, maps, lambda laterals: merged)
    assert all(torch.equal(own[level], whole[level]) for level in own)


def test_cut_level_is_its_lateral_map_and_those_above_stay():
    fpn, maps = FPN([3, 4, 5, 6], 4), features()
    whole, cut = inner_maps(fpn, maps), inner_maps(fpn, maps, cut=("p3",))
    assert torch.equal(cut["p3"], fpn.lateral["c3"](maps["c3"]))
    assert torch.equal(cut["p4"], whole["p4"])
    assert not torch.equal(cut["p2"], whole["p2"])


def test_level_that_gets_nothing_from_above_cannot_be_cut():
    with pytest.raises(ValueError, match="p5"):
        inner_maps(FPN([3, 4, 5, 6], 4), features(), cut=("p5",))


def test_blockiness_of_doubled_and_of_plain_maps():
    rng = torch.Generator().manual_seed(0)
    plain = torch.randn(8, 64, 64, generator=rng)
    assert blockiness(plain) == pytest.approx(1, abs=0.05)
    assert blockiness(F.interpolate(plain[None], scale_factor=2.0)) == math.inf
    row = torch.tensor([0.0, 1.0, 4.0, 5.0]).expand(4, 4)  # steps 1, 3, 1
    assert blockiness(row + row.T) == pytest.approx(3)


def test_random_kernels_turn_the_grid_over_by_the_parity_of_their_side():
    ratio = 2.0
    assert blockiness_after(ratio, 1) == pytest.approx(ratio)
    assert blockiness_after(ratio, 2) == blockiness_after(ratio, 4) == pytest.approx(1)
    assert blockiness_after(ratio, 3) == pytest.approx(math.sqrt((4 + 2) / (8 + 1)))
    assert blockiness_after(ratio, 5) == pytest.approx(math.sqrt((12 + 2) / (8 + 3)))
    assert blockiness_after(1.0, 3) == pytest.approx(1)


@pytest.mark.parametrize("side", [1, 2, 3, 5, 7])
def test_blockiness_after_a_random_kernel_is_what_is_measured(side):
    rng = torch.Generator().manual_seed(0)
    coarse, fine = torch.randn(64, 24, 24, generator=rng), torch.randn(64, 48, 48, generator=rng)
    merged = F.interpolate(coarse[None], scale_factor=2.0)[0] + fine
    ratio = blockiness(merged)
    kernel = torch.randn(64, 64, side, side, generator=rng)
    measured = blockiness(F.conv2d(merged, kernel, padding=side // 2))
    assert measured == pytest.approx(blockiness_after(ratio, side), abs=0.05)


def test_steps_are_measured_in_deviations():
    rng = torch.Generator().manual_seed(0)
    plain = torch.randn(4, 64, 64, generator=rng)
    # two independent normal numbers differ by 2 / sqrt(pi) deviations on average
    assert relative_step(plain) == pytest.approx(2 / math.sqrt(math.pi), rel=0.03)
    assert relative_step(5 * plain + 1) == pytest.approx(relative_step(plain))
    smooth = F.avg_pool2d(plain, 3, 1)
    assert relative_step(smooth) < 0.7 * relative_step(plain)


def test_principal_colors_show_the_direction_of_most_variance():
    ramp = torch.zeros(4, 1, 5)
    ramp[2] = torch.arange(5.0)
    (colors,) = principal_colors([ramp], outliers=0.0)
    assert colors.shape == (1, 5, 3)
    assert_close(torch.from_numpy(colors[0, :, 0]), torch.linspace(0, 1, 5, dtype=torch.float64))


def test_principal_colors_of_equal_features_are_equal():
    rng = torch.Generator().manual_seed(0)
    maps = torch.randn(6, 4, 4, generator=rng)
    one, two = principal_colors([maps, maps[:, :2, :2]])
    assert np.array_equal(one[:2, :2], two)
    assert one.min() >= 0
    assert one.max() <= 1


def test_probe_reads_off_what_is_linear():
    rng = torch.Generator().manual_seed(0)
    maps = torch.randn(4, 5, 8, 8, generator=rng)
    labels = (maps[:, 3] > 0).long()
    labels[0, 0, 0] = 255
    prediction = probe_labels(maps[:2], labels[:2], maps[2:], 2)
    assert (prediction == labels[2:]).float().mean() > 0.9


def test_costs_counted_by_hand():
    cost = level_costs([2, 3], 4, (9, 8))["p3"]
    # p3 of 9 x 8 pixels has 2 x 1 cells; lateral 3 x 4, smooth 9 x 4 x 4
    assert (cost.lateral_weights, cost.smooth_weights) == (12 + 4, 144 + 4)
    assert cost.products == 2 * (12 + 144)
    fpn = FPN([2, 3, 5, 7], 4)
    total = sum(c.weights for c in level_costs([2, 3, 5, 7], 4, (64, 64)).values())
    assert total == sum(p.numel() for p in fpn.parameters())


def test_stride_in_the_1x1_never_reads_three_cells_of_four():
    uses = count_uses(True)
    assert (uses > 0).float().mean() == 0.25
    assert uses[2, 2] == 9
    uses = count_uses(False)
    assert (uses > 0).all()
    assert uses[1, 1] == 4
    assert uses[2, 2] == 1


@pytest.mark.parametrize("frequency", [0.125, 0.25, 0.375])
def test_doubling_leaves_the_waves_of_the_formula(frequency):
    doubled, smoothed = double_and_smooth(frequency, 16)
    true, false = round(16 * frequency), round(16 - 16 * frequency)
    wave = amplitudes(doubled)
    expected = math.cos(math.pi * frequency / 2), math.sin(math.pi * frequency / 2)
    assert (wave[true], wave[false]) == pytest.approx(expected)
    after = amplitudes(smoothed)
    for k in (true, false):
        assert after[k] == pytest.approx(wave[k].item() * math.cos(math.pi * k / 32) ** 2)
    assert wave.square().sum() == pytest.approx(wave[[true, false]].square().sum().item())
