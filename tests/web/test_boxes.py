"""lib/boxes.js, roi.js and paste.js compute what pfpn does, on random inputs and edge cases."""

import pytest
import torch
from torch.testing import assert_close

from pfpn import boxes as python
from pfpn.anchors import anchor_grid
from pfpn.box_head import BOX_WEIGHTS, detect
from pfpn.paste import paste_windows
from pfpn.roi import level_of_boxes
from pfpn.roi_align import align_by_products, axis_weights
from pfpn.rpn import select_proposals
from tests.factories import random_boxes

SIZE = {"width": 96, "height": 64}
ODD = [  # empty, inverted, a point, whole, beyond the image
    [0.0, 0.0, 0.0, 0.0], [5.0, 5.0, 3.0, 9.0], [7.0, 7.0, 7.0, 9.0], [0.0, 0.0, 96.0, 64.0],
    [-10.0, -20.0, 200.0, 100.0], [10.0, 10.0, 11.0, 11.0],
]  # fmt: skip


def some_boxes(num: int, rng: torch.Generator) -> torch.Tensor:
    return torch.cat([random_boxes(num, rng), torch.tensor(ODD)])


def test_deltas_move_boxes_as_in_python(javascript, rng):
    boxes = some_boxes(250, rng)
    deltas = torch.randn(len(boxes), 4, generator=rng)
    deltas[::9, 2:] *= 30  # growth is clamped
    for weights in ((1.0, 1.0, 1.0, 1.0), BOX_WEIGHTS):
        arguments = [
            [*pair, list(weights)] for pair in zip(deltas.tolist(), boxes.tolist(), strict=True)
        ]
        found = torch.tensor(javascript("lib/boxes.js", "decode", arguments))
        assert_close(found, python.decode(deltas, boxes, weights), rtol=1e-5, atol=1e-4)


def test_boxes_are_clipped_as_in_python(javascript, rng):
    boxes = some_boxes(250, rng) * 1.5 - 10
    found = javascript("lib/boxes.js", "clip", [[box, SIZE] for box in boxes.tolist()])
    assert torch.equal(torch.tensor(found), python.clip(boxes, (64, 96)))


def test_iou_is_that_of_python(javascript, rng):
    boxes = some_boxes(20, rng)
    pairs = [[a, b] for a in boxes.tolist() for b in boxes.tolist()]
    found = torch.tensor(javascript("lib/boxes.js", "iou", pairs)).view(len(boxes), -1)
    assert len(pairs) >= 200
    assert_close(found, python.iou(boxes, boxes), rtol=1e-6, atol=1e-6)


def test_anchors_are_those_of_python(javascript):
    ratios = [0.5, 1.0, 2.0]
    for stride, side in ((4, 8.0), (16, 32.0), (64, 128.0)):
        grid = anchor_grid((7, 11), stride, side, torch.tensor(ratios))
        arguments = [[y, x, stride, side, ratios] for y in range(7) for x in range(11)]
        found = torch.tensor(javascript("lib/boxes.js", "anchorsAt", arguments))
        assert_close(found.view(7, 11, 3, 4), grid, rtol=1e-6, atol=1e-5)


def test_nms_keeps_what_python_keeps(javascript, rng):
    arguments, expected = [], []
    for _ in range(220):
        num = int(torch.randint(0, 30, (), generator=rng))
        boxes = random_boxes(num, rng, (30, 40)) if num else torch.zeros(0, 4)
        scores = torch.rand(num, generator=rng)
        groups = torch.randint(0, 3, (num,), generator=rng)
        arguments.append([boxes.tolist(), scores.tolist(), groups.tolist(), 0.5])
        expected.append(python.batched_nms(boxes, scores, groups, 0.5).tolist())
    assert javascript("lib/boxes.js", "nms", arguments) == expected


def test_proposals_are_those_of_python(javascript, rng):
    for _ in range(3):
        anchors = [random_boxes(num, rng) for num in (200, 60, 7)]
        logits = [2 * torch.randn(1, len(each), generator=rng) for each in anchors]
        deltas = [0.3 * torch.randn(1, len(each), 4, generator=rng) for each in anchors]
        logits[0][0, 3] = float("-inf")  # a diverged value is no proposal
        levels = [
            {"logits": a[0].tolist(), "deltas": b.flatten().tolist(),
             "anchors": c.flatten().tolist()}
            for a, b, c in zip(logits, deltas, anchors, strict=True)
        ]  # fmt: skip
        settings = {"perLevel": 100, "total": 50, "threshold": 0.7}
        levels[0]["logits"][3] = None  # JSON has no infinity
        (expected,), _ = select_proposals(
            anchors, logits, deltas, [(64, 96)], max_per_level=100, max_total=50, nms_threshold=0.7
        )
        (found,) = javascript("lib/boxes.js", "selectProposals", [[levels, SIZE, settings]])
        boxes = [found["candidates"][i]["box"] for i in found["proposals"]]
        assert_close(torch.tensor(boxes), expected, rtol=1e-5, atol=1e-4)


def test_detections_are_those_of_python(javascript, rng):
    arguments, expected = [], []
    for _ in range(200):
        num = int(torch.randint(0, 12, (), generator=rng))
        logits = 3 * torch.randn(num, 4, generator=rng)
        deltas = torch.randn(num, 3, 4, generator=rng)
        proposals = random_boxes(num, rng) if num else torch.zeros(0, 4)
        settings = {"minScore": 0.05, "threshold": 0.5, "most": 10}
        flat = [logits.flatten().tolist(), deltas.flatten().tolist(), proposals.tolist()]
        arguments.append([*flat, SIZE, settings])
        expected.append(
            detect(
                logits,
                deltas,
                proposals,
                (64, 96),
                min_score=0.05,
                nms_threshold=0.5,
                max_detections=10,
            )
        )
    for found, (boxes, scores, labels, rows) in zip(
        javascript("lib/boxes.js", "detect", arguments), expected, strict=True
    ):
        chosen = [found["candidates"][i] for i in found["detections"]]
        assert [each["label"] for each in chosen] == labels.tolist()
        assert [each["row"] for each in chosen] == rows.tolist()
        assert [each["score"] for each in chosen] == pytest.approx(scores.tolist(), rel=1e-5)
        for each, box in zip(chosen, boxes.tolist(), strict=True):
            assert each["box"] == pytest.approx(box, rel=1e-5, abs=1e-4)


def test_the_level_of_a_box_is_that_of_python(javascript, rng):
    boxes = some_boxes(250, rng)
    boxes[:100] *= 5
    found = javascript("lib/roi.js", "levelOf", [[box, 112] for box in boxes.tolist()])
    assert found == level_of_boxes(boxes, 112.0).tolist()


def test_weights_of_roi_align_are_those_of_python(javascript, rng):
    boxes = some_boxes(210, rng)
    arguments = [[x0, x1, 4, 7, 24, 2] for x0, _, x1, _ in boxes.tolist()]
    found = torch.tensor(javascript("lib/roi.js", "axisWeights", arguments))
    corners = boxes / 4 - 0.5
    expected = axis_weights(corners[:, 0], corners[:, 2] - corners[:, 0], 7, 24, 2)
    assert_close(found, expected, atol=1e-5, rtol=0)


def test_pooled_features_are_those_of_python(javascript, rng):
    boxes = some_boxes(20, rng)
    features = torch.randn(1, 1, 16, 24, generator=rng)
    flat = features.flatten().tolist()
    found = javascript(
        "lib/roi.js", "poolChannel", [[flat, 16, 24, b, 4, 7, 2] for b in boxes.tolist()]
    )
    rois = torch.cat([torch.zeros(len(boxes), 1), boxes], dim=1)
    expected = align_by_products(features, rois, 7, 0.25, 2, True)[:, 0]
    assert_close(torch.tensor(found), expected, atol=1e-5, rtol=1e-5)


def test_masks_are_pasted_as_in_python(javascript, rng):
    boxes = some_boxes(230, rng) * 1.2 - 6
    probs = torch.rand(len(boxes), 28, 28, generator=rng)
    arguments = [
        [p.flatten().tolist(), b, SIZE] for p, b in zip(probs, boxes.tolist(), strict=True)
    ]
    windows = paste_windows(probs, boxes, (64, 96))
    differing = total = 0
    for found, window in zip(
        javascript("lib/paste.js", "pasteWindow", arguments), windows, strict=True
    ):
        assert (found["height"], found["width"]) == tuple(window.mask.shape)
        if window.mask.numel():
            assert (found["top"], found["left"]) == (window.top, window.left)
        ours = torch.tensor(found["mask"], dtype=torch.bool).view(window.mask.shape)
        differing += int((ours != window.mask).sum())
        total += window.mask.numel()
    assert total > 100_000
    assert differing <= 1e-5 * total
