"""A world and a model so small that a whole training takes a second."""

import dataclasses

import pytest
import torch

from pfpn.engine.config import DataConfig, OptimConfig, TrainConfig
from pfpn.model import ModelConfig
from pfpn.predict import PredictConfig
from pfpn.structures import Category, Panoptic, Sample, Segment


class Blocks:
    """Bright and dark blocks on a two-colored ground; image i is always the same."""

    categories = (
        Category(2, "sky", False),
        Category(4, "bright", True),
        Category(7, "ground", False),
        Category(9, "dark", True),
    )

    def __init__(self, num: int, size: tuple[int, int] = (64, 96), first: int = 0):
        self.num = num
        self.size = size
        self.first = first

    def __len__(self) -> int:
        return self.num

    def __getitem__(self, index: int) -> Sample:
        height, width = self.size
        rng = torch.Generator().manual_seed(1000 + self.first + index)
        id_map = torch.ones(self.size, dtype=torch.int64)
        id_map[height // 2 :] = 2
        image = torch.full((3, height, width), 90.0)
        image[2, : height // 2] = 230.0
        segments = [Segment(1, 1, False), Segment(2, 2, False)]
        for k in range(2):
            side = int(torch.randint(16, 28, (), generator=rng))
            top = int(torch.randint(0, height - side, (), generator=rng))
            left = int(torch.randint(0, width // 2 - side, (), generator=rng)) + k * width // 2
            id_map[top : top + side, left : left + side] = 3 + k
            image[:, top : top + side, left : left + side] = 250.0 if k == 0 else 0.0
            segments.append(Segment(3 + k, k, True))
        image += 5 * torch.randn(image.shape, generator=rng)
        return Sample(
            image.clamp(0, 255).to(torch.uint8),
            Panoptic(id_map, tuple(segments)),
            image_id=500 + self.first + index,
        )


TINY_MODEL = ModelConfig(
    channel_order="RGB",
    pixel_std=(58.0, 57.0, 57.0),
    depth=18,
    width=0.25,
    norm="batch",
    stride_in_1x1=False,
    frozen_stages=0,
    pyramid_channels=16,
    semantic_channels=16,
    anchor_sides=(8.0, 16.0, 32.0, 64.0, 128.0),
    roi_canonical_size=56.0,
    roi_sampling_ratio=2,
    rpn_samples=32,
    train_proposals_per_level=50,
    train_proposals=20,
    test_proposals_per_level=50,
    test_proposals=20,
    box_hidden=32,
    box_samples=16,
    box_positive_fraction=0.5,
    mask_channels=16,
    mask_convs=1,
    semantic_weight=1.0,
)

TINY = TrainConfig(
    batch_size=2,
    max_steps=6,
    log_every=2,
    save_every=3,
    eval_every=0,
    device="cpu",
    model=TINY_MODEL,
    data=DataConfig(root="blocks"),
    optim=OptimConfig(
        optimizer="adamw",
        lr=2e-3,
        warmup_steps=2,
        schedule="linear",
        clip_norm=5.0,
        ema_decay=0.9,
    ),
    predict=PredictConfig(shortest_edge=0, min_stuff_area=16),
)


@pytest.fixture
def blocks():
    """Training and validation set."""
    return Blocks(5), Blocks(2, first=100)


@pytest.fixture
def tiny():
    """A function that returns the tiny config with some fields changed."""

    def change(**changes):
        optim = {k: changes.pop(k) for k in list(changes) if hasattr(TINY.optim, k)}
        data = {k: changes.pop(k) for k in list(changes) if hasattr(TINY.data, k)}
        model = {k: changes.pop(k) for k in list(changes) if hasattr(TINY_MODEL, k)}
        return dataclasses.replace(
            TINY,
            optim=dataclasses.replace(TINY.optim, **optim),
            data=dataclasses.replace(TINY.data, **data),
            model=dataclasses.replace(TINY_MODEL, **model),
            **changes,
        )

    return change
