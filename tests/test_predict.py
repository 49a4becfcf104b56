import dataclasses

import pytest
import torch
from torch.testing import assert_close

from pfpn.predict import (
    PredictConfig,
    output_logits,
    predict,
    resize_image,
    resize_size,
    to_output,
)
from pfpn.structures import VOID, Detections
from tests.factories import confident_model, random_image, tiny_model

SMALL = PredictConfig(shortest_edge=64, longest_edge=128, min_stuff_area=50)


# --- sizes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        ((480, 640), (800, 1067)),  # 800 / 480 x 640 = 1066.7
        ((640, 480), (1067, 800)),
        ((800, 800), (800, 800)),
        ((500, 1000), (667, 1333)),  # 800 x 1600 is too long: 800 x 1333 / 1600 = 666.5
        ((1, 1), (800, 800)),
        ((1, 7), (190, 1333)),  # 800 x 5600 is too long: 800 x 1333 / 5600 = 190.4
        ((1, 5000), (1, 1333)),  # 0.27 pixels high, but no side becomes 0
    ],
)
def test_shortest_edge_gives_way_to_the_longest(size, wanted):
    assert resize_size(size, 800, 1333) == wanted


def test_no_shortest_edge_keeps_the_size():
    assert resize_size((5, 9000), 0, 1333) == (5, 9000)


def test_an_image_of_the_right_size_is_not_touched(rng):
    image = random_image((20, 30), rng)
    assert resize_image(image, (20, 30)) is image


def test_halving_averages_with_a_triangle():
    image = torch.zeros((3, 1, 8), dtype=torch.uint8)
    image[:, 0, 4:] = 160
    # The filter spans two output pixels: weights 1, 3, 3, 1 over 8
    assert resize_image(image, (1, 4))[0, 0].tolist() == [0, 20, 140, 160]


def test_resizing_keeps_channels_apart(rng):
    image = torch.stack([torch.full((9, 7), v, dtype=torch.uint8) for v in (10, 100, 250)])
    resized = resize_image(image, (31, 15))
    assert resized.shape == (3, 31, 15)
    assert resized.flatten(1).unique(dim=1).tolist() == [[10], [100], [250]]


# --- to the frame of the image -----------------------------------------------------------------


def found(boxes: list[list[float]]) -> Detections:
    n = len(boxes)
    return Detections(
        torch.tensor(boxes), torch.full((n,), 0.9), torch.arange(n), torch.rand(n, 28, 28)
    )


def test_boxes_are_stretched_clipped_and_dropped_where_nothing_is_left():
    moved = to_output(
        found([[10.0, 20, 30, 60], [0, 0, 100, 80], [5, 5, 5, 9]]), (80, 100), (40, 200)
    )
    assert moved.boxes.tolist() == [[20, 10, 60, 30], [0, 0, 200, 40]]
    assert moved.labels.tolist() == [0, 1]


def test_logits_lose_their_padding_before_they_are_stretched():
    logits = torch.zeros(1, 1, 8, 16)
    logits[..., 8:] = 1.0  # columns from 32 on are padding of a 32 x 32 image
    inside = output_logits(logits, (32, 24), (64, 48))
    assert inside.shape == (1, 1, 64, 48)
    assert not inside.any()


def test_logits_of_an_image_at_network_size_are_upsampled_once():
    logits = torch.randn(1, 3, 8, 8)
    same = output_logits(logits, (32, 32), (32, 32))
    wanted = torch.nn.functional.interpolate(logits, scale_factor=4.0, mode="bilinear")
    assert_close(same, wanted)


# --- the whole way -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(64, 96), (100, 70), (1, 1), (1, 7), (33, 65)])
def test_a_prediction_speaks_about_the_image_as_it_is(size, rng):
    (prediction,) = predict(confident_model(), [random_image(size, rng)], SMALL)
    panoptic = prediction.panoptic
    assert panoptic.id_map.shape == prediction.label_map.shape == size
    ids = [segment.id for segment in panoptic.segments]
    assert len(set(ids)) == len(ids)
    assert set(panoptic.id_map.unique().tolist()) - {VOID} == set(ids)
    assert (prediction.detections.boxes[:, 2] <= size[1]).all()
    assert (prediction.detections.boxes[:, 3] <= size[0]).all()


def test_confident_things_and_large_stuff_become_segments(rng):
    (prediction,) = predict(confident_model(), [random_image((64, 96), rng)], SMALL)
    things = [s for s in prediction.panoptic.segments if s.is_thing]
    stuff = [s for s in prediction.panoptic.segments if not s.is_thing]
    assert things
    assert stuff
    assert all(s.score >= SMALL.min_score for s in things)
    for s in stuff:
        region = prediction.panoptic.id_map == s.id
        assert region.sum() >= SMALL.min_stuff_area
        assert (prediction.label_map[region] == s.label).all()
        assert s.label > 0  # "other" is no stuff


def test_fewer_detections_leave_the_panoptic_map_as_it_is(rng):
    images = [random_image((64, 96), rng), random_image((50, 40), rng)]
    model = confident_model()
    whole = predict(model, images, SMALL)
    quick = predict(model, images, SMALL, all_detections=False)
    for a, b in zip(whole, quick, strict=True):
        assert torch.equal(a.panoptic.id_map, b.panoptic.id_map)
        assert a.panoptic.segments == b.panoptic.segments
        assert len(a.detections) > len(b.detections)
        assert (b.detections.scores >= SMALL.min_score).all()


def test_each_image_is_predicted_as_if_alone(rng):
    images = [random_image((64, 96), rng), random_image((50, 40), rng)]
    model = confident_model()
    together = predict(model, images, SMALL)
    for image, prediction in zip(images, together, strict=True):
        (alone,) = predict(model, [image], SMALL)
        assert torch.equal(alone.panoptic.id_map, prediction.panoptic.id_map)
    assert predict(model, [], SMALL) == []


@pytest.mark.parametrize("training", [True, False])
def test_the_models_mode_is_restored(training, rng):
    model = tiny_model(norm="batch").train(training)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    predict(model, [random_image((32, 32), rng)], SMALL)
    assert model.training == training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_the_models_mode_is_restored_after_an_error(rng, monkeypatch):
    model = tiny_model().train()
    monkeypatch.setattr(type(model), "infer", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        predict(model, [random_image((32, 32), rng)], SMALL)
    assert model.training


def test_mask_rcnn_alone_paints_things_only(rng):
    model = confident_model(semantic_branch=False)
    (prediction,) = predict(model, [random_image((64, 96), rng)], SMALL)
    assert prediction.panoptic.segments
    assert all(s.is_thing for s in prediction.panoptic.segments)
    assert not prediction.label_map.any()


def test_semantic_fpn_alone_paints_one_segment_a_class(rng):
    model = tiny_model(instance_branch=False, num_things=2, num_semantic=5)
    (prediction,) = predict(model, [random_image((64, 96), rng)], SMALL)
    panoptic = prediction.panoptic
    assert panoptic.segments
    assert len(prediction.detections) == 0
    for segment in panoptic.segments:
        (label,) = prediction.label_map[panoptic.id_map == segment.id].unique().tolist()
        # Classes 0 and 1 are things, then comes stuff from label 1 on.
        wanted = (label, True) if label < 2 else (label - 1, False)
        assert (segment.label, segment.is_thing) == wanted


def test_the_softer_rule_gives_pixels_to_stuff_that_is_surer(rng):
    image = random_image((64, 96), rng)
    model = confident_model()
    model.semantic_head.classify.bias.data[1] = 50  # surely stuff 1 everywhere
    soft = dataclasses.replace(SMALL, softer=True, min_score=0.3)
    hard = dataclasses.replace(soft, softer=False)
    assert any(s.is_thing for s in predict(model, [image], hard)[0].panoptic.segments)
    (segment,) = predict(model, [image], soft)[0].panoptic.segments
    assert (segment.label, segment.is_thing) == (1, False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shortest_edge": -1}, "shortest_edge: found -1"),
        ({"min_stuff_area": -5}, "min_stuff_area: found -5"),
        ({"min_score": 1.2}, r"min_score: found 1.2, expected 0..1"),
        ({"margin": -0.1}, r"margin: found -0.1, expected 0..1"),
    ],
)
def test_nonsense_is_refused(changes, message):
    with pytest.raises(ValueError, match=r"^PredictConfig\." + message):
        PredictConfig(**changes)
