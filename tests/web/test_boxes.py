"""lib/boxes.js, roi.js and paste.js compute what pfpn does, on random inputs and edge cases."""

import math

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


PROPOSALS = {"perLevel": 20, "total": 30, "threshold": 0.7}


def as_javascript(anchors, logits, deltas) -> list:
    """Levels as selectProposals takes them; call.mjs reads infinity from text."""

    def flat(values):
        return [v if math.isfinite(v) else "-Infinity" for v in values.flatten().tolist()]

    return [
        {"logits": flat(a), "deltas": flat(b), "anchors": flat(c)}
        for a, b, c in zip(logits, deltas, anchors, strict=True)
    ]


def compare_proposals(javascript, images) -> list[int]:
    """Hold selectProposals against Python on many images; return how many proposals each has."""
    arguments = [[as_javascript(*image), SIZE, PROPOSALS] for image in images]
    counts = []
    for found, (anchors, logits, deltas) in zip(
        javascript("lib/boxes.js", "selectProposals", arguments), images, strict=True
    ):
        (boxes,), (scores,) = select_proposals(
            anchors,
            [each[None] for each in logits],
            [each[None] for each in deltas],
            [(64, 96)],
            max_per_level=PROPOSALS["perLevel"],
            max_total=PROPOSALS["total"],
            nms_threshold=PROPOSALS["threshold"],
        )
        chosen = [found["candidates"][i] for i in found["proposals"]]
        ours = torch.tensor([each["box"] for each in chosen], dtype=torch.float32).view(-1, 4)
        assert [each["logit"] for each in chosen] == scores.tolist()
        # Of equal scores, torch's topk may take any first.
        order = sorted(range(len(boxes)), key=lambda i: (-scores[i], boxes[i].tolist()))
        found_order = sorted(range(len(ours)), key=lambda i: (-scores[i], ours[i].tolist()))
        assert_close(ours[found_order], boxes[order], rtol=1e-5, atol=1e-4)
        counts.append(len(chosen))
    return counts


def random_level(num: int, rng: torch.Generator) -> tuple[torch.Tensor, ...]:
    anchors = random_boxes(num, rng, (40, 60)) if num else torch.zeros(0, 4)
    return anchors, 2 * torch.randn(num, generator=rng), 0.3 * torch.randn(num, 4, generator=rng)


def test_proposals_are_those_of_python(javascript, rng):
    images = []
    for _ in range(210):
        nums = torch.randint(0, 40, (3,), generator=rng).tolist()
        levels = [random_level(num, rng) for num in nums]
        images.append(tuple(zip(*levels, strict=True)))
    counts = compare_proposals(javascript, images)
    assert len(counts) >= 200
    assert max(counts) == PROPOSALS["total"]
    assert min(counts) < 20


def test_proposals_of_edge_cases_are_those_of_python(javascript, rng):
    anchors, logits, deltas = random_level(30, rng)
    odd = torch.tensor(ODD)
    still = torch.zeros(len(odd), 4)
    outside = torch.tensor([[-50.0, -40, -10, -5], [100.0, 70, 140, 90], [-9.0, 10, 0, 30]])
    diverged = logits.clone()
    diverged[[3, 7]] = float("-inf")
    huge = deltas.clone()
    huge[::2, 2:] = 90.0  # growth is clamped
    steps = (torch.arange(30) % 4).float()  # most scores are equal
    apart = torch.stack([torch.tensor([3.0 * i, 2.0 * i, 3 * i + 2, 2 * i + 2]) for i in range(16)])
    cases = {
        "no anchor on any level": [random_level(0, rng)] * 3,
        "one box": [random_level(1, rng)],
        "no area, inverted, a point": [(odd, torch.arange(len(odd)).float(), still)],
        "beyond the image": [(outside, torch.arange(3).float(), torch.zeros(3, 4))],
        "no finite score": [(anchors, torch.full((30,), float("-inf")), deltas)],
        "two scores are not finite": [(anchors, diverged, deltas)],
        "growth without end": [(anchors, logits, huge)],
        "equal scores": [(apart, steps[:16], torch.zeros(16, 4))],
        "the same box many times": [(anchors[:1].repeat(30, 1), steps, deltas[:1].repeat(30, 1))],
        "the same boxes on two levels": [(anchors, logits, deltas)] * 2,
    }
    images = [tuple(zip(*levels, strict=True)) for levels in cases.values()]
    counts = dict(zip(cases, compare_proposals(javascript, images), strict=True))
    assert counts["no anchor on any level"] == counts["no finite score"] == 0
    assert counts["beyond the image"] == 0
    # Two are the whole image after clipping, one is a pixel; the others have no area.
    assert counts["no area, inverted, a point"] == 2
    assert counts["the same box many times"] == 1


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


def compare_pooled(javascript, features, boxes, stride: int, bins: int, ratio: int) -> None:
    """Hold poolChannel against Python; each box has a map of its own."""
    num, _, height, width = features.shape
    arguments = [
        [one.flatten().tolist(), height, width, box, stride, bins, ratio]
        for one, box in zip(features, boxes.tolist(), strict=True)
    ]
    found = torch.tensor(javascript("lib/roi.js", "poolChannel", arguments))
    rois = torch.cat([torch.arange(num)[:, None].float(), boxes], dim=1)
    expected = align_by_products(features, rois, bins, 1 / stride, ratio, True)[:, 0]
    assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_pooled_features_are_those_of_python(javascript, rng):
    boxes = random_boxes(210, rng)
    compare_pooled(javascript, torch.randn(210, 1, 16, 24, generator=rng), boxes, 4, 7, 2)
    compare_pooled(javascript, torch.randn(210, 1, 4, 6, generator=rng), boxes, 16, 14, 2)


def test_pooled_features_of_edge_cases_are_those_of_python(javascript, rng):
    odd = torch.tensor(
        [
            *ODD,
            [-60.0, -60, -20, -20], [200.0, 10, 260, 40], [-8.0, 8, 8, 24],  # outside, across
            [3.25, 3.5, 3.25, 40], [2.0, 2, 94, 2.001], [95.9, 63.9, 96, 64],  # no width, thin
        ]
    )  # fmt: skip
    for ratio in (1, 2, 3):
        for height, width in ((16, 24), (1, 1), (2, 24)):
            features = torch.randn(len(odd), 1, height, width, generator=rng)
            compare_pooled(javascript, features, odd, 4, 7, ratio)


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
