import pytest
import torch
from torch.testing import assert_close

from pfpn.anchors import anchor_grid, pyramid_anchors
from pfpn.boxes import area
from tests.oracles import anchors as slow

RATIOS = [0.5, 1.0, 2.0]


def pyramid_of(size: tuple[int, int]) -> dict[str, torch.Tensor]:
    """Feature maps of a padded image of `size`, without channels."""
    return {
        f"p{k}": torch.zeros(1, 0, -(-size[0] // 2**k), -(-size[1] // 2**k)) for k in range(2, 7)
    }


def test_square_anchors_by_hand():
    grid = anchor_grid((2, 2), stride=4, side=8.0, ratios=torch.tensor([1.0]))
    assert grid.shape == (2, 2, 1, 4)
    assert grid[0, 0, 0].tolist() == [-4, -4, 4, 4]
    assert grid[0, 1, 0].tolist() == [0, -4, 8, 4]  # one cell to the right
    assert grid[1, 0, 0].tolist() == [-4, 0, 4, 8]  # one cell down


def test_ratio_is_height_over_width_and_the_area_stays():
    grid = anchor_grid((1, 1), stride=4, side=8.0, ratios=torch.tensor([0.25, 4.0]))
    assert grid[0, 0].tolist() == [[-8, -2, 8, 2], [-2, -8, 2, 8]]
    grid = anchor_grid((3, 5), stride=16, side=31.0, ratios=torch.tensor(RATIOS))
    assert_close(area(grid), torch.full((3, 5, 3), 31.0**2))


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (1, 7)])
def test_grid_equals_the_slow_version(size):
    grid = anchor_grid(size, stride=8, side=24.0, ratios=torch.tensor(RATIOS))
    assert_close(grid.flatten(0, 2), torch.tensor(slow.anchors(size, 8, 24.0, RATIOS)))


def test_every_level_has_its_stride_its_side_and_all_its_cells():
    sides = (8.0, 16.0, 32.0, 64.0, 128.0)
    levels = pyramid_anchors(pyramid_of((64, 96)), sides, RATIOS)
    assert [len(level) for level in levels] == [3 * 16 * 24, 3 * 8 * 12, 3 * 4 * 6, 3 * 2 * 3, 6]
    for k, (level, side) in enumerate(zip(levels, sides, strict=True), start=2):
        size = (-(-64 // 2**k), -(-96 // 2**k))
        assert_close(level, torch.tensor(slow.anchors(size, 2**k, side, RATIOS)))


def test_rounded_anchors_by_hand():
    # Half sides of 32 at ratio 0.5: 22.6 and 11.3. Five cells fit two and a half times into p6.
    levels = pyramid_anchors(pyramid_of((160, 96)), (8.0, 16.0, 32.0, 64.0, 32.0), RATIOS, True)
    assert levels[4][0].tolist() == [-23, -11, 23, 11]
    assert levels[4].view(3, 2, 3, 4)[1, 1, 0].tolist() == [25, 42, 71, 64]  # 160 // 3, 96 // 2
    assert levels[3].view(5, 3, 3, 4)[1, 1, 1].tolist() == [0, 0, 64, 64]


def test_anchors_follow_sizes_sides_and_ratios():
    sides = (8.0,) * 5
    wide, tall = pyramid_of((32, 64)), pyramid_of((64, 32))
    first = pyramid_anchors(wide, sides, RATIOS)[0]
    assert not torch.equal(pyramid_anchors(tall, sides, RATIOS)[0], first)
    assert torch.equal(pyramid_anchors(wide, sides, RATIOS)[0], first)
    assert not torch.equal(pyramid_anchors(wide, (9.0,) * 5, RATIOS)[0], first)
    assert not torch.equal(pyramid_anchors(wide, sides, [1.0, 1.0, 2.0])[0], first)


def test_a_changed_anchor_does_not_change_those_of_the_next_call():
    sides = (8.0,) * 5
    first = pyramid_anchors(pyramid_of((32, 64)), sides, RATIOS)[0]
    expected = first.clone()
    first.zero_()
    assert torch.equal(pyramid_anchors(pyramid_of((32, 64)), sides, RATIOS)[0], expected)


def test_a_missing_side_is_an_error():
    with pytest.raises(ValueError, match="shorter"):
        pyramid_anchors(pyramid_of((32, 32)), (8.0, 16.0), RATIOS)
