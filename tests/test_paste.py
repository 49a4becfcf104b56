from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.merge import grid_sample_everywhere

from pfpn import paste
from pfpn.paste import paste_masks, paste_windows, tight_window

FIGURES = Path(__file__).parent / "data_files" / "detectron2"


def stored_masks(figures: np.lib.npyio.NpzFile) -> torch.Tensor:
    n, height, width = figures["det_masks.shape"].tolist()
    bits = np.unpackbits(figures["det_masks.bits"], count=n * height * width)
    return torch.from_numpy(bits.reshape(n, height, width).astype(bool))


def random_boxes(n: int, size: tuple[int, int], rng: torch.Generator) -> torch.Tensor:
    """Boxes of all sizes, some reaching beyond the image."""
    center = torch.rand(n, 2, generator=rng) * torch.tensor([size[1], size[0]])
    half = 0.5 + torch.rand(n, 2, generator=rng) ** 2 * max(size) / 2
    return torch.cat([center - half, center + half], dim=1)


def assert_same_as_grid_sample(
    probs: torch.Tensor, boxes: torch.Tensor, size: tuple[int, int], threshold: float = 0.5
) -> None:
    values = grid_sample_everywhere(probs.float(), boxes, size)
    clear = (values - threshold).abs() > 1e-5  # closer by, rounding decides
    assert clear.float().mean() > 0.999
    assert torch.equal(
        paste_masks(probs, boxes, size, threshold)[clear], (values >= threshold)[clear]
    )


def test_a_full_grid_loses_border_pixels_whose_value_falls_below_half():
    # Box 0..8, grid of 2 bins of 4 pixels with centers at 2 and 6. Pixel centers 0.5 and 1.5 lie
    # (0.5 + 2) / 4 = 0.625 and 0.875 of a bin in from the zeros beyond. In a corner both axes
    # count: 0.625^2 = 0.39 < 0.5, but 0.625 * 0.875 = 0.55.
    box = torch.tensor([[0.0, 0.0, 8.0, 8.0]])
    mask = paste_masks(torch.ones(1, 2, 2), box, (8, 8))[0]
    expected = torch.ones(8, 8, dtype=torch.bool)
    expected[[0, 0, 7, 7], [0, 7, 0, 7]] = False
    assert torch.equal(mask, expected)


def test_a_value_of_exactly_the_threshold_is_inside():
    # One bin over 4 pixels: weights (centers at 0.5, 1.5, 2.5, 3.5; the bin's at 2): 5/8, 7/8.
    box = torch.tensor([[0.0, 0.0, 4.0, 4.0]])
    corner = 25 / 64
    assert paste_masks(torch.ones(1, 1, 1), box, (4, 4), corner)[0].all()
    above = paste_masks(torch.ones(1, 1, 1), box, (4, 4), corner + 1e-6)[0]
    assert above.sum() == 12  # all but the corners


def test_pasting_equals_the_reference_figures_to_the_pixel():
    units = np.load(FIGURES / "units.npz")
    pasted = paste_masks(
        torch.from_numpy(units["paste_probs"]), torch.from_numpy(units["paste_boxes"]), (60, 80)
    )
    assert torch.equal(pasted, torch.from_numpy(units["paste_out"]))


@pytest.mark.parity
def test_pasting_equals_detectron2_on_a_synthetic_picture():
    figures = np.load(FIGURES / "infer_s192.npz")
    probs = torch.from_numpy(figures["mask_probs"])  # the first rows only
    boxes = torch.from_numpy(figures["det_boxes"])[: len(probs)]
    expected = stored_masks(figures)[: len(probs)]
    assert torch.equal(paste_masks(probs, boxes, tuple(expected.shape[1:])), expected)


@pytest.mark.parity
@pytest.mark.parametrize("case", ["a256", "b256"])
def test_pasting_equals_detectron2_on_photographs(shared, case):
    figures = np.load(shared / "oracle" / "detectron2" / f"infer_{case}.npz")
    expected = stored_masks(figures)
    pasted = paste_masks(
        torch.from_numpy(figures["mask_probs"]),
        torch.from_numpy(figures["det_boxes"]),
        tuple(expected.shape[1:]),
    )
    assert torch.equal(pasted, expected)


@pytest.mark.parametrize("size", [(1, 1), (37, 5), (120, 160)])
def test_pasting_equals_grid_sample_over_the_whole_image(rng, size):
    boxes = random_boxes(40, size, rng)
    probs = torch.rand(40, 28, 28, generator=rng)
    assert_same_as_grid_sample(probs, boxes, size)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), bins=st.integers(1, 9), percent=st.integers(50, 100))
def test_pasting_equals_grid_sample_for_any_grid_and_threshold_from_half_up(seed, bins, percent):
    rng = torch.Generator().manual_seed(seed)
    boxes = random_boxes(4, (23, 31), rng)
    probs = torch.rand(4, bins, bins, generator=rng)
    assert_same_as_grid_sample(probs, boxes, (23, 31), percent / 100)


def test_a_low_threshold_ends_one_pixel_outside_the_box():
    # One bin of 8 pixels fades out over 4 pixels beyond the box; one of them is kept.
    box = torch.tensor([[8.0, 8.0, 16.0, 16.0]])
    mask = paste_masks(torch.ones(1, 1, 1), box, (24, 24), 0.01)[0]
    expected = torch.zeros(24, 24, dtype=torch.bool)
    expected[7:17, 7:17] = True
    assert torch.equal(mask, expected)


def test_a_window_holds_every_true_pixel_and_stays_inside_the_image(rng):
    boxes = random_boxes(40, (50, 60), rng)
    probs = torch.rand(40, 28, 28, generator=rng)
    masks = paste_masks(probs, boxes, (50, 60))
    for window, mask in zip(paste_windows(probs, boxes, (50, 60)), masks, strict=True):
        height, width = window.mask.shape
        assert 0 <= window.top <= window.top + height <= 50
        assert 0 <= window.left <= window.left + width <= 60
        assert window.mask.sum() == mask.sum()


@pytest.mark.parametrize(
    "box",
    [
        [3.0, 3.0, 3.0, 9.0],  # no width
        [3.0, 9.0, 8.0, 9.0],  # no height
        [9.0, 3.0, 3.0, 9.0],  # turned around
        [-30.0, 2.0, -20.0, 8.0],  # left of the image
        [2.0, 25.0, 8.0, 35.0],  # below it
        [20.0, 2.0, 30.0, 8.0],  # touching its right edge
    ],
)
def test_a_box_without_pixels_gives_an_empty_mask(box):
    (window,) = paste_windows(torch.ones(1, 28, 28), torch.tensor([box]), (20, 20))
    assert window.mask.sum() == 0
    assert not paste_masks(torch.ones(1, 28, 28), torch.tensor([box]), (20, 20)).any()


def test_no_box_gives_no_window():
    none = torch.zeros(0, 28, 28), torch.zeros(0, 4)
    assert paste_windows(*none, (5, 7)) == []
    assert paste_masks(*none, (5, 7)).shape == (0, 5, 7)


def test_pasting_ignores_autocast_and_half_precision_inputs(rng):
    boxes = random_boxes(10, (50, 60), rng)
    probs = torch.rand(10, 28, 28, generator=rng).bfloat16()
    expected = paste_masks(probs.float(), boxes, (50, 60))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(paste_masks(probs, boxes, (50, 60)), expected)


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.01, float("nan")])
def test_a_threshold_that_outside_pixels_would_pass_is_refused(threshold):
    with pytest.raises(ValueError, match="threshold is"):
        paste_windows(torch.ones(1, 2, 2), torch.tensor([[0.0, 0.0, 1.0, 1.0]]), (4, 4), threshold)


def test_a_box_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        paste_windows(torch.ones(1, 2, 2), torch.tensor([[0.0, 0.0, float("inf"), 1.0]]), (4, 4))


def test_tight_windows_of_full_masks_are_their_true_pixels_as_views(rng):
    masks = torch.rand(20, 12, 15, generator=rng) > 0.97
    masks[0] = False
    for mask in masks:
        window = tight_window(mask)
        rows, columns = mask.nonzero().T
        if len(rows) == 0:
            assert window.mask.numel() == 0
            continue
        assert (window.top, window.left) == (rows.min(), columns.min())
        bottom, right = rows.max() + 1, columns.max() + 1
        assert torch.equal(window.mask, mask[window.top : bottom, window.left : right])
        assert window.mask.untyped_storage().data_ptr() == masks.untyped_storage().data_ptr()


def test_a_window_reaches_one_pixel_beyond_its_box():
    box = torch.tensor([[4.3, 5.0, 7.6, 9.2]])
    (window,) = paste_windows(torch.ones(1, 2, 2), box, (20, 20))
    assert (window.top, window.left) == (4, 3)
    assert window.mask.shape == (7, 6)  # rows 4 to 10, columns 3 to 8


def test_grids_are_read_in_float32_as_grid_sample_does():
    rows = paste._grid_rows(0, 5, np.float32(0.3), np.float32(4.1), 30)
    assert rows.dtype == np.float32


def test_a_tight_window_of_no_pixel_is_empty_at_the_origin():
    window = tight_window(torch.zeros(6, 7, dtype=torch.bool))
    assert (window.top, window.left, window.mask.shape) == (0, 0, (0, 0))


def test_a_tight_window_around_one_pixel_is_that_pixel():
    mask = torch.zeros(6, 7, dtype=torch.bool)
    mask[4, 2] = True
    window = tight_window(mask)
    assert (window.top, window.left, window.mask.tolist()) == (4, 2, [[True]])
