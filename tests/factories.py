"""Small inputs for many tests: boxes, images, truths, and models that run fast."""

import io
from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from pfpn.boxes import masks_to_boxes
from pfpn.model import ModelConfig, PanopticFPN
from pfpn.structures import IGNORE, Batch, Instances

NUM_THINGS, NUM_SEMANTIC = 3, 4


def random_boxes(
    num: int,
    rng: torch.Generator,
    size: tuple[int, int] = (64, 96),
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Boxes of at least 1 pixel a side, somewhere within an image of `size` (height, width)."""
    extent = torch.tensor([size[1], size[0]], dtype=dtype)
    corner = torch.rand((num, 2), generator=rng, dtype=dtype) * (extent - 1)
    side = 1 + torch.rand((num, 2), generator=rng, dtype=dtype) * (extent - corner - 1)
    return torch.cat([corner, corner + side], dim=1)


def random_image(size: tuple[int, int], rng: torch.Generator) -> Tensor:
    return torch.randint(0, 256, (3, *size), generator=rng, dtype=torch.uint8)


def rectangle_masks(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Full-image masks of the boxes, whole pixels, at least one each."""
    masks = torch.zeros((len(boxes), *size), dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.long().tolist(), strict=True):
        mask[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] = True
    return masks


def random_instances(num: int, size: tuple[int, int], rng: torch.Generator) -> Instances:
    masks = rectangle_masks(random_boxes(num, rng, size), size)
    labels = torch.randint(0, NUM_THINGS, (num,), generator=rng)
    return Instances(masks_to_boxes(masks), labels, masks)


def random_batch(
    sizes: Sequence[tuple[int, int]], rng: torch.Generator, num_instances: int = 2
) -> Batch:
    """A batch with truth: rectangles as things, random labels (some of them IGNORE) as stuff."""
    label_maps = [torch.randint(0, NUM_SEMANTIC, size, generator=rng) for size in sizes]
    for labels in label_maps:
        labels[: labels.shape[0] // 8] = IGNORE
    return Batch(
        images=[random_image(size, rng) for size in sizes],
        instances=[random_instances(num_instances, size, rng) for size in sizes],
        label_maps=label_maps,
        image_ids=list(range(len(sizes))),
    )


def tiny_config(**changes: object) -> ModelConfig:
    """A model of 0.2 million weights, nothing frozen, with anchors for small things."""
    settings: dict = {
        "depth": 18,
        "width": 0.125,
        "frozen_stages": 0,
        "num_things": NUM_THINGS,
        "num_semantic": NUM_SEMANTIC,
        "pyramid_channels": 16,
        "semantic_channels": 16,
        "anchor_sides": (8.0, 16.0, 32.0, 64.0, 128.0),
        "roi_canonical_size": 56.0,
        "pixel_std": (57.0, 57.0, 57.0),
        "box_hidden": 32,
        "mask_channels": 16,
        "mask_convs": 1,
        "rpn_samples": 64,
        "box_samples": 32,
        "train_proposals_per_level": 100,
        "train_proposals": 50,
        "test_proposals_per_level": 100,
        "test_proposals": 50,
        "max_detections": 20,
    }
    return ModelConfig(**(settings | changes))


def tiny_model(seed: int = 0, **changes: object) -> PanopticFPN:
    """Build the tiny model in eval mode from a seed, leaving torch's own generator as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return PanopticFPN(tiny_config(**changes)).eval()


def confident_model(seed: int = 0, **changes: object) -> PanopticFPN:
    """A tiny model with large weights in its last layers, so that its scores are high."""
    model = tiny_model(seed, **changes)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        for layer, std in (
            (model.rpn_head.objectness, 0.5),
            (model.rpn_head.deltas, 0.05),
            (model.box_head.classify, 1.0),
            (model.mask_head.classify, 0.5),
        ):
            layer.weight.normal_(std=std)
    return model


def assert_normal(weight: Tensor, std: float) -> None:
    """Check that weights look drawn from a normal distribution around 0, not from a uniform one."""
    values = weight.detach().flatten().double() / std
    assert len(values) >= 2000
    assert values.mean().abs() < 5 / len(values) ** 0.5
    assert abs(values.std() - 1) < 5 / (2 * len(values)) ** 0.5
    assert values.abs().max() > 3  # uniform values of this deviation end at 1.73


def assert_uniform(weight: Tensor, bound: float) -> None:
    """Check that weights look drawn uniformly from -bound..bound."""
    values = weight.detach().flatten().double() / bound
    assert len(values) >= 2000
    assert values.abs().max() <= 1
    assert values.min() < -0.99
    assert values.max() > 0.99
    assert values.mean().abs() < 5 / (3 * len(values)) ** 0.5
    assert abs(values.square().mean() - 1 / 3) < 5 * (4 / 45 / len(values)) ** 0.5


def to_png(figure: Figure) -> bytes:
    """Return a figure as a small PNG; fails if the figure cannot be drawn."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=50)
    return buffer.getvalue()
