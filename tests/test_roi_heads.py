import pytest
import torch
from torch.testing import assert_close

from pfpn.mask_head import mask_loss
from pfpn.structures import Batch
from tests.factories import (
    confident_model,
    random_batch,
    random_boxes,
    random_image,
    tiny_model,
)
from tests.oracles.detectron2_figures import draw_evenly

MODEL = tiny_model()


def test_the_mask_loss_of_a_batch_is_a_mean_over_its_masks(rng, monkeypatch):
    monkeypatch.setattr("pfpn.matching.draw", draw_evenly)
    counts = []

    def counting(logits, targets):
        counts.append([len(t) for t in targets])
        return mask_loss(logits, targets)

    monkeypatch.setattr("pfpn.roi_heads.mask_loss", counting)
    model = tiny_model()
    batch = random_batch([(64, 96), (64, 96)], rng)
    batch.instances[1] = batch.instances[1][torch.tensor([0])]
    together = model.losses(batch, rng)["loss_mask"]
    alone = [
        model.losses(
            Batch([batch.images[i]], [batch.instances[i]], [batch.label_maps[i]], [i]), rng
        )
        for i in (0, 1)
    ]
    (a, b), (only_a,), (only_b,) = counts
    assert (a, b) == (only_a, only_b)
    assert a != b
    expected = (a * alone[0]["loss_mask"] + b * alone[1]["loss_mask"]) / (a + b)
    assert_close(together, expected, rtol=1e-5, atol=1e-6)


def test_masks_are_pooled_on_the_final_boxes(rng):
    model = confident_model()
    stacked, sizes = model.stack([random_image((64, 96), rng), random_image((64, 80), rng)])
    with torch.no_grad():
        pyramid = model.pyramid(stacked)
        proposals = model.proposal_network.propose(pyramid, sizes)
        heads = model.roi_heads
        detections = heads.detect(pyramid, proposals, sizes, None)
        assert all(len(d) > 0 for d in detections)
        features = heads.pool(pyramid, [d.boxes for d in detections], model.config.mask_bins)
        labels = torch.cat([d.labels for d in detections])
        expected = model.mask_head(features, labels).sigmoid()
    assert_close(torch.cat([d.mask_probs for d in detections]), expected)


def test_mask_loss_leaves_background_rois_out(rng, monkeypatch):
    model, batch = tiny_model(), random_batch([(64, 96)], rng)
    pooled = []
    original = model.mask_head.forward
    monkeypatch.setattr(
        model.mask_head, "forward", lambda x, labels: pooled.append(labels) or original(x, labels)
    )
    model.losses(batch, rng)
    (labels,) = pooled
    assert len(labels) > 0
    assert (labels < model.config.num_things).all()


@pytest.mark.parametrize("least", [i / 100 for i in range(1, 100)])
def test_a_detection_exactly_at_min_score_stays(least, rng, monkeypatch):
    # For half of these numbers the nearest float32 is smaller: 0.7 becomes 0.69999999.
    scores = torch.tensor([least, least]) * torch.tensor([1.0, 0.999])

    def detected(*args, **limits):
        return random_boxes(2, rng), scores, torch.zeros(2, dtype=torch.int64), torch.arange(2)

    monkeypatch.setattr("pfpn.roi_heads.detect", detected)
    model = MODEL.roi_heads
    pyramid = {f"p{k}": torch.zeros(1, 16, 128 >> k, 128 >> k) for k in range(2, 6)}
    with torch.no_grad():
        (detections,) = model.detect(pyramid, [random_boxes(3, rng)], [(64, 96)], least)
    assert torch.equal(detections.scores, scores[:1])
