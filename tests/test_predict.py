import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from pfpn.predict import (
    PredictConfig,
    output_confidence,
    output_labels,
    output_logits,
    predict,
    resize_image,
    resize_size,
    to_output,
)
from pfpn.structures import VOID, Detections
from tests.factories import confident_model, random_image, tiny_model

ROOT = Path(__file__).resolve().parents[1]
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


def detections_of(boxes: list[list[float]]) -> Detections:
    n = len(boxes)
    return Detections(
        torch.tensor(boxes), torch.full((n,), 0.9), torch.arange(n), torch.rand(n, 28, 28)
    )


def test_boxes_are_stretched_clipped_and_dropped_where_nothing_is_left():
    moved = to_output(
        detections_of([[10.0, 20, 30, 60], [0, 0, 100, 80], [5, 5, 5, 9]]), (80, 100), (40, 200)
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


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("num_classes", [1, 2, 3, 8, 54])
def test_labels_one_class_at_a_time_are_those_of_all_at_once(num_classes, threads, rng):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for size in ((61, 91), (1, 1), (1, 7), (30, 40), (65, 64), (150, 335), (300, 20)):
            logits = torch.randn((1, num_classes, 16, 24), generator=rng)
            expected = output_logits(logits, (61, 91), size)[0]
            label_map, best = output_labels(logits, (61, 91), size)
            assert torch.equal(label_map, expected.argmax(dim=0))
            assert_close(best, expected.amax(dim=0))
            confidence = output_confidence(logits, best, (61, 91), size)
            assert_close(confidence, expected.softmax(dim=0).amax(dim=0))
    finally:
        torch.set_num_threads(before)


def test_of_equal_logits_the_first_label_wins():
    logits = torch.tensor([1.0, 2.0, 2.0, -3.0]).view(1, 4, 1, 1).expand(1, 4, 8, 8)
    label_map, best = output_labels(logits, (32, 32), (20, 30))
    assert (label_map == 1).all()
    assert_close(best, torch.full((20, 30), 2.0))


def test_without_classes_every_label_is_other():
    label_map, _ = output_labels(torch.zeros(1, 0, 8, 8), (32, 32), (20, 30))
    assert label_map.shape == (20, 30)
    assert label_map.dtype == torch.int64
    assert not label_map.any()


MEMORY = """
import torch
from pathlib import Path
from pfpn.predict import PredictConfig, predict
from tests.factories import confident_model

def status(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024

torch.set_num_threads(1)
small = torch.zeros((3, 30, 40), dtype=torch.uint8)
for num_semantic in (4, 54):
    model = confident_model(num_semantic=num_semantic)
    predict(model, [small], PredictConfig(shortest_edge=120))
    image = small.repeat_interleave(100, 1).repeat_interleave(100, 2)  # 12 megapixels
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    predict(model, [image], PredictConfig(shortest_edge=120), all_detections=False)
    print(status("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads memory as Linux tells it")
def test_memory_does_not_grow_with_classes_times_pixels():
    """48 megapixels are to stay below 2 GiB, so a quarter of them below half a GiB."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    few, many = map(int, done.stdout.split())
    assert many < 400 << 20  # all 54 at once would take 2.6 GB
    assert many - few < 32 << 20


# --- image to map ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(64, 96), (100, 70), (1, 1), (1, 7), (33, 65)])
def test_a_prediction_has_the_size_and_coordinates_of_its_image(size, rng):
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


# --- what is refused ---------------------------------------------------------------------------


def pixels() -> np.ndarray:
    return np.zeros((32, 40, 3), dtype=np.uint8)


UNSUITABLE = {
    "float in 0..1": (torch.rand(3, 32, 40), r"torch\.float32.*Try \(255 \* image\)"),
    "float in 0..255": (255 * torch.rand(3, 32, 40), r"torch\.float32"),
    "half": (torch.rand(3, 32, 40).half(), r"torch\.float16"),
    "int64": (torch.zeros((3, 32, 40), dtype=torch.int64), r"torch\.int64"),
    "bool": (torch.zeros((3, 32, 40), dtype=torch.bool), r"torch\.bool"),
    "(h, w, 3)": (torch.from_numpy(pixels()), r"\(32, 40, 3\).*Try image\.permute\(2, 0, 1\)"),
    "gray": (torch.zeros((32, 40), dtype=torch.uint8), r"\(32, 40\).*Try image\.expand\(3"),
    "one channel": (torch.zeros((1, 32, 40), dtype=torch.uint8), r"Try image\.expand\(3"),
    "alpha": (torch.zeros((4, 32, 40), dtype=torch.uint8), r"Try image\[:3\]"),
    "a batch": (torch.zeros((1, 3, 32, 40), dtype=torch.uint8), r"\(1, 3, 32, 40\)"),
    "empty": (torch.zeros((3, 0, 40), dtype=torch.uint8), r"at least one pixel"),
    "NumPy": (pixels(), r"a NumPy array of uint8.*\(32, 40, 3\).*torch\.from_numpy"),
    "PIL": (Image.fromarray(pixels()), r"a PIL image of mode RGB and size \(40, 32\).*np\.array"),
    "a path": ("photo.jpg", r"str.*read_image"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("kind", UNSUITABLE)
def test_what_is_not_uint8_of_three_channels_is_refused_with_what_to_do(kind, rng):
    unsuitable, message = UNSUITABLE[kind]
    with pytest.raises(ValueError, match=rf"^predict: image 1: found .*{message}") as caught:
        predict(tiny_model(), [random_image((32, 32), rng), unsuitable], SMALL)
    assert "expected a tensor of torch.uint8 and shape (3, h, w)" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.usefixtures("unchecked")
def test_one_image_instead_of_a_list_is_refused_with_what_to_do(rng):
    with pytest.raises(ValueError, match=r"found one tensor .*Try predict\(model, \[image\]\)"):
        predict(tiny_model(), random_image((32, 32), rng), SMALL)


@pytest.mark.usefixtures("unchecked")
def test_the_remedies_in_the_messages_work(rng):
    """Every remedy leads to the same prediction."""
    model, image = confident_model(), random_image((32, 40), rng)
    array = image.permute(1, 2, 0).contiguous().numpy()
    (expected,) = predict(model, [image], SMALL)
    for same in (
        (255 * (image.float() / 255)).round().to(torch.uint8),
        torch.from_numpy(array).permute(2, 0, 1),
        torch.from_numpy(np.array(Image.fromarray(array).convert("RGB"))).permute(2, 0, 1),
    ):
        (prediction,) = predict(model, [same], SMALL)
        assert torch.equal(prediction.panoptic.id_map, expected.panoptic.id_map)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shortest_edge": -1}, "shortest_edge: found -1"),
        ({"min_stuff_area": -5}, "min_stuff_area: found -5"),
        ({"min_score": 1.2}, r"min_score: found 1.2, expected a number in"),
        ({"margin": -0.1}, r"margin: found -0.1, expected a number in"),
    ],
)
def test_invalid_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=r"^PredictConfig\." + message):
        PredictConfig(**changes)
