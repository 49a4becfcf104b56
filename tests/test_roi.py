import pytest
import torch
from torch.testing import assert_close

from pfpn.fpn import STRIDES
from pfpn.roi import level_of_boxes, pool
from tests.factories import random_boxes
from tests.oracles import roi as slow


def pyramid_of(size: tuple[int, int], channels: int = 2, batch: int = 1) -> dict:
    torch.manual_seed(3)
    return {
        level: torch.randn(batch, channels, -(-size[0] // stride), -(-size[1] // stride))
        for level, stride in STRIDES.items()
    }


def square(side: float) -> torch.Tensor:
    return torch.tensor([[10.0, 20.0, 10 + side, 20 + side]])


@pytest.mark.parametrize(
    ("side", "level"),
    [(0, 2), (1, 2), (111.9, 2), (112, 3), (223.9, 3), (224, 4), (447.9, 4), (448, 5), (5000, 5)],
)
def test_level_of_a_square_by_hand(side, level):
    assert level_of_boxes(square(side)).tolist() == [level]


def test_level_goes_by_the_area_not_by_the_shape():
    assert level_of_boxes(torch.tensor([[0.0, 0.0, 56.0, 224.0]])).tolist() == [3]


def test_canonical_size_moves_every_border():
    assert level_of_boxes(square(56), canonical_size=56.0).tolist() == [4]
    assert level_of_boxes(square(27), canonical_size=56.0).tolist() == [2]


def test_levels_equal_the_slow_version(rng):
    boxes = random_boxes(300, rng, size=(900, 900))
    assert level_of_boxes(boxes).tolist() == [slow.level(box) for box in boxes.tolist()]
    assert set(level_of_boxes(boxes).tolist()) == {2, 3, 4, 5}


@pytest.mark.parametrize("bins", [1, 3])
def test_pooling_equals_the_slow_version(rng, bins):
    pyramid = pyramid_of((256, 320))
    boxes = torch.cat(
        [
            random_boxes(4, rng, size=(256, 320)),
            torch.tensor([[3.0, 5.0, 20.0, 18.0], [0.0, 0.0, 250.0, 250.0], [1.0, 1.0, 1.5, 9.0]]),
            torch.tensor([[300.0, 240.0, 340.0, 280.0]]),  # reaches beyond the maps
        ]
    )
    pooled = pool(pyramid, [boxes], bins)
    for features, box in zip(pooled, boxes.tolist(), strict=True):
        level = f"p{slow.level(box)}"
        expected = slow.roi_align(pyramid[level][0], box, bins, STRIDES[level])
        assert_close(features, expected, rtol=1e-4, atol=1e-4)


def test_a_ramp_is_read_at_the_middle_of_each_bin():
    # Cell i stands for pixel i * stride + stride / 2, so a ramp of pixel positions comes back.
    pyramid = {
        level: (torch.arange(256 // stride) * stride + stride / 2.0).expand(1, 1, 256 // stride, -1)
        for level, stride in STRIDES.items()
    }
    pooled = pool(pyramid, [torch.tensor([[40.0, 60.0, 110.0, 100.0]])], 7)
    expected = 40 + 10 * (torch.arange(7) + 0.5)
    assert_close(pooled[0, 0], expected.expand(7, 7))


def test_each_box_reads_its_own_image_and_its_own_level():
    pyramid = {
        level: torch.stack(
            [torch.full((1, 512 // s, 512 // s), 10.0 * image + k) for image in (1, 2)]
        )
        for k, (level, s) in enumerate(STRIDES.items(), start=2)
    }
    small, large = [0.0, 0, 50, 50], [0.0, 0, 300, 300]
    pooled = pool(pyramid, [torch.tensor([small]), torch.tensor([large, small])], 2)
    assert pooled.amax((1, 2, 3)).tolist() == [12, 24, 22]
    assert pooled.amin((1, 2, 3)).tolist() == [12, 24, 22]


@pytest.mark.parametrize("options", [{}, {"aligned": True}, {"aligned": False}])
def test_aligned_subtracts_half_a_pixel(options):
    """On a ramp that rises by 1 a cell, half a cell of stride 4 lies between the two."""
    ramp = torch.arange(64.0).expand(1, 1, 64, 64)
    pyramid = dict.fromkeys(STRIDES, ramp)
    box = torch.tensor([[32.0, 32.0, 64.0, 64.0]])  # cells 8 to 16 of p2, middle 12
    middle = pool(pyramid, [box], 1, **options).item()
    assert middle == pytest.approx(11.5 if options.get("aligned", True) else 12.0)


def test_no_boxes_give_no_features():
    pyramid = pyramid_of((64, 64), batch=2)
    assert pool(pyramid, [torch.zeros(0, 4), torch.zeros(0, 4)], 7).shape == (0, 2, 7, 7)


@pytest.mark.parametrize(("images", "lists"), [(0, 0), (1, 0), (2, 1), (1, 2)])
def test_boxes_of_another_number_of_images_are_refused(images, lists):
    pyramid = pyramid_of((64, 64), batch=images)
    message = f"pool: found boxes of {lists} images and features of {images}, expected the same"
    with pytest.raises(ValueError, match=message):
        pool(pyramid, [torch.zeros(0, 4)] * lists, 7)


@pytest.mark.parametrize("num", [0, 1])
def test_every_level_gets_a_gradient_even_unused(num):
    pyramid = {level: x.requires_grad_() for level, x in pyramid_of((64, 64)).items()}
    pool(pyramid, [torch.tensor([[1.0, 1.0, 20.0, 20.0]])[:num]], 3).sum().backward()
    for level in ("p2", "p3", "p4", "p5"):
        assert pyramid[level].grad is not None
    assert bool(pyramid["p2"].grad.any()) == (num == 1)
    assert not pyramid["p5"].grad.any()


def test_gradient_of_pooling():
    pyramid = {level: x.double() for level, x in pyramid_of((64, 64)).items()}
    boxes = [torch.tensor([[3.0, 5.0, 20.0, 18.0], [0.0, 0.0, 60.0, 50.0]])]
    pyramid["p2"].requires_grad_()
    assert torch.autograd.gradcheck(
        lambda p2: pool({**pyramid, "p2": p2}, boxes, 2, canonical_size=448.0), pyramid["p2"]
    )


def test_sixteen_bit_features_do_not_move_the_boxes():
    # bfloat16 has whole pixels up to 256 only, so a rounded box would lie elsewhere.
    ramp = torch.arange(0, 512).float().expand(1, 1, 8, -1)
    pyramid = dict.fromkeys(STRIDES, ramp)
    box = torch.tensor([[1601.0, 4.0, 1619.0, 22.0]])
    exact = pool(pyramid, [box], 3)
    rounded = pool({level: x.bfloat16() for level, x in pyramid.items()}, [box], 3)
    assert rounded.dtype == torch.bfloat16
    assert_close(rounded.float(), exact, rtol=2**-8, atol=0)
    assert exact[0, 0, 0, 2] - exact[0, 0, 0, 0] == pytest.approx(3.0)
