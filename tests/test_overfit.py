"""From training to prediction on one image: a model that has overfit it must reproduce it."""

import pytest
import torch

from pfpn.data.toy import TOY_CATEGORIES, ToyStreet
from pfpn.data.transforms import to_targets
from pfpn.model import ModelConfig, PanopticFPN, total_loss
from pfpn.predict import PredictConfig, predict
from pfpn.quality import PanopticQuality
from pfpn.structures import Batch, stuff, things

STEPS = 300  # in a run of 400, PQ was 0.944 after 200, 0.973 after 250 and 0.983 at the end
LEARNING_RATE = 3e-3


def small_model() -> PanopticFPN:
    config = ModelConfig(
        num_things=len(things(TOY_CATEGORIES)),
        num_semantic=1 + len(stuff(TOY_CATEGORIES)),
        pixel_std=(58.0, 58.0, 58.0),
        depth=18,
        width=0.5,
        norm="batch",
        frozen_stages=0,
        pyramid_channels=32,
        semantic_channels=32,
        anchor_sides=(8.0, 16.0, 32.0, 64.0, 128.0),
        roi_canonical_size=56.0,
        rpn_samples=64,
        train_proposals_per_level=300,
        train_proposals=100,
        test_proposals_per_level=300,
        test_proposals=100,
        box_hidden=128,
        box_samples=32,
        box_positive_fraction=0.5,
        mask_channels=32,
        mask_convs=2,
        semantic_weight=1.0,
    )
    return PanopticFPN(config).to(memory_format=torch.channels_last)


@pytest.mark.slow
def test_a_model_can_overfit_one_image():
    sample = ToyStreet(2)[1]
    assert sum(segment.is_thing for segment in sample.panoptic.segments) >= 5
    instances, labels = to_targets(sample, TOY_CATEGORIES)
    batch = Batch([sample.image], [instances], [labels], [sample.image_id])

    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(0)
    model = small_model().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=STEPS, pct_start=0.1
    )
    for _ in range(STEPS):
        optimizer.zero_grad()
        total_loss(model(batch, rng), model.config).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=5.0)
        optimizer.step()
        schedule.step()

    config = PredictConfig(shortest_edge=0, min_stuff_area=16)
    (prediction,) = predict(model, [sample.image], config)
    quality = PanopticQuality(TOY_CATEGORIES)
    quality.update(sample.panoptic, prediction.panoptic)
    result = quality.compute()
    assert result.all.pq > 0.95, result
