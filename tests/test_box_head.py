import math

import pytest
import torch
from torch.testing import assert_close

from pfpn.box_head import (
    BOX_WEIGHTS,
    BoxHead,
    box_losses,
    box_targets,
    detect,
)
from pfpn.boxes import encode
from pfpn.structures import Instances
from tests.factories import (
    NUM_THINGS,
    assert_normal,
    assert_uniform,
    random_boxes,
    random_instances,
)
from tests.oracles import boxes as slow

SAMPLING = {
    "num_things": NUM_THINGS,
    "threshold": 0.5,
    "num_samples": 16,
    "positive_fraction": 0.25,
}


def truth_of(boxes: list[list[float]], labels: list[int]) -> Instances:
    return Instances(
        torch.tensor(boxes).view(-1, 4),
        torch.tensor(labels, dtype=torch.int64),
        torch.zeros((len(boxes), 64, 96), dtype=torch.bool),
    )


def test_head_gives_one_class_more_than_things_and_a_box_per_thing():
    head = BoxHead(in_features=2 * 9, hidden=8, num_things=5)
    logits, deltas = head(torch.randn(7, 2, 3, 3))
    assert logits.shape == (7, 6)
    assert deltas.shape == (7, 5, 4)
    logits, deltas = head(torch.zeros(0, 2, 3, 3))
    assert logits.shape == (0, 6)
    assert deltas.shape == (0, 5, 4)


def test_weights_start_as_published():
    torch.manual_seed(0)
    head = BoxHead(in_features=75, hidden=48, num_things=60)
    # Kaiming-uniform with a = 1: variance 1 / fan_in
    assert_uniform(head.fc1.weight, bound=(3 / 75) ** 0.5)
    assert_uniform(head.fc2.weight, bound=(3 / 48) ** 0.5)
    assert_normal(head.classify.weight, std=0.01)
    assert_normal(head.deltas.weight, std=0.001)
    for layer in (head.fc1, head.fc2, head.classify, head.deltas):
        assert not layer.bias.any()


def test_deltas_are_grouped_by_class():
    head = BoxHead(in_features=1, hidden=2, num_things=3)
    head.deltas.weight.data.zero_()
    head.deltas.bias.data = torch.arange(12.0)
    _, deltas = head(torch.zeros(1, 1, 1, 1))
    assert deltas[0].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


# --- targets -----------------------------------------------------------------------------------


def test_targets_by_hand(rng):
    truth = truth_of([[0, 0, 10, 10], [40, 40, 60, 60.0]], [2, 0])
    proposals = torch.tensor(
        [[0.0, 0, 10, 6], [0, 0, 10, 4], [40, 40, 60, 50], [80, 0, 90, 9]]
    )  # IoU 0.6, 0.4, exactly 0.5, 0
    rois, labels, matched = box_targets(
        proposals, truth, rng=rng, **SAMPLING | {"positive_fraction": 1.0}
    )
    rows = zip(rois.tolist(), labels.tolist(), matched.tolist(), strict=True)
    targets = {tuple(roi): (label, index) for roi, label, index in rows}
    background = NUM_THINGS
    assert targets[0, 0, 10, 6] == (2, 0)
    assert targets[0, 0, 10, 4][0] == background
    assert targets[40, 40, 60, 50] == (0, 1)
    assert targets[80, 0, 90, 9][0] == background
    # The truth's own boxes take part.
    assert targets[0, 0, 10, 10] == (2, 0)
    assert targets[40, 40, 60, 60] == (0, 1)
    assert len(rois) == 6


def test_foreground_comes_first_and_is_limited(rng):
    truth = random_instances(3, (64, 96), rng)
    proposals = torch.cat([truth.boxes.repeat(20, 1), random_boxes(100, rng, (5, 5)) + 90])
    rois, labels, matched = box_targets(proposals, truth, rng=rng, **SAMPLING)
    is_foreground = labels < NUM_THINGS
    assert is_foreground.tolist() == [True] * 4 + [False] * 12
    assert torch.equal(labels[:4], truth.labels[matched[:4]])
    assert torch.equal(rois[:4], truth.boxes[matched[:4]])


def test_without_objects_every_box_is_background(rng):
    _, labels, matched = box_targets(random_boxes(40, rng), truth_of([], []), rng=rng, **SAMPLING)
    assert labels.tolist() == [NUM_THINGS] * 16
    assert not matched.any()


def test_without_proposals_the_rois_are_the_true_boxes(rng):
    truth = truth_of([[0.0, 0, 10, 10]], [1])
    rois, labels, _ = box_targets(torch.zeros(0, 4), truth, rng=rng, **SAMPLING)
    assert rois.tolist() == [[0, 0, 10, 10]]
    assert labels.tolist() == [1]
    rois, labels, _ = box_targets(torch.zeros(0, 4), truth_of([], []), rng=rng, **SAMPLING)
    assert rois.shape == (0, 4)
    assert len(labels) == 0


# --- losses ------------------------------------------------------------------------------------


def test_losses_by_hand():
    logits = torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
    labels = torch.tensor([1, 2])  # the second is background
    rois = torch.tensor([[0.0, 0, 10, 10], [0, 0, 5, 5]])
    gt_boxes = torch.tensor([[1.0, 0, 11, 10], [9, 9, 10, 10]])
    deltas = torch.full((2, 2, 4), 7.0)
    deltas[0, 1] = torch.tensor([0.5, 0.25, 0.0, -1.0])  # truth is dx = 0.1 x 10
    class_loss, box_loss = box_losses(logits, deltas, rois, labels, gt_boxes)
    assert_close(class_loss, torch.tensor((math.log(3) + math.log(2 + math.exp(2))) / 2))
    assert_close(box_loss, torch.tensor((0.5 + 0.25 + 0 + 1) / 2))  # over both rois


def test_losses_of_a_single_roi_are_its_own():
    rois, truth = torch.tensor([[0.0, 0, 10, 20]]), torch.tensor([[1.0, 0, 10, 20]])
    logits = torch.tensor([[1.0, 0.0, 0.0]])
    deltas = torch.zeros(1, 2, 4)
    class_loss, box_loss = box_losses(logits, deltas, rois, torch.tensor([1]), truth)
    assert_close(class_loss.item(), math.log(math.e + 2))
    assert_close(box_loss, encode(truth, rois, BOX_WEIGHTS).abs().sum())


def test_losses_of_no_rois_are_zero_with_gradients():
    logits = torch.zeros(0, 4, requires_grad=True)
    deltas = torch.zeros(0, 3, 4, requires_grad=True)
    labels = torch.zeros(0, dtype=torch.int64)
    losses = box_losses(logits, deltas, torch.zeros(0, 4), labels, torch.zeros(0, 4))
    sum(losses).backward()
    assert [loss.item() for loss in losses] == [0, 0]
    assert logits.grad is not None
    assert deltas.grad is not None


def test_background_alone_has_a_class_loss_but_no_box_loss(rng):
    deltas = torch.randn((5, 3, 4), generator=rng, requires_grad=True)
    labels = torch.full((5,), 3)
    rois = random_boxes(5, rng)
    class_loss, box_loss = box_losses(torch.zeros(5, 4), deltas, rois, labels, rois)
    assert_close(class_loss, torch.tensor(math.log(4)))
    box_loss.backward()
    assert box_loss == 0
    assert not deltas.grad.any()


def test_only_the_true_class_learns_its_box(rng):
    deltas = torch.randn((2, 3, 4), generator=rng, requires_grad=True)
    labels = torch.tensor([2, 0])
    _, loss = box_losses(
        torch.zeros(2, 4), deltas, random_boxes(2, rng), labels, random_boxes(2, rng)
    )
    loss.backward()
    touched = deltas.grad.abs().sum(-1) > 0
    assert touched.tolist() == [[False, False, True], [True, False, False]]


@pytest.mark.parametrize("labels", [[0, 2, 3, 3, 1], [3, 3, 3, 3, 3], []])
def test_gradients_of_both_losses(rng, labels):
    n = len(labels)
    logits = torch.randn((n, 4), generator=rng, dtype=torch.float64, requires_grad=True)
    deltas = torch.randn((n, 3, 4), generator=rng, dtype=torch.float64, requires_grad=True)
    rois = random_boxes(n, rng, dtype=torch.float64)
    gt_boxes = random_boxes(n, rng, dtype=torch.float64)
    expected = torch.tensor(labels, dtype=torch.int64)
    assert torch.autograd.gradcheck(
        lambda x, d: box_losses(x, d, rois, expected, gt_boxes), (logits, deltas)
    )


def test_losses_of_16_bit_outputs_are_summed_in_32_bit(rng):
    logits = torch.randn((50, 4), generator=rng).bfloat16()
    deltas = torch.randn((50, 3, 4), generator=rng).bfloat16()
    labels = torch.randint(0, 4, (50,), generator=rng)
    rois, gt_boxes = random_boxes(50, rng), random_boxes(50, rng)
    low = box_losses(logits, deltas, rois, labels, gt_boxes)
    exact = box_losses(logits.float(), deltas.float(), rois, labels, gt_boxes)
    for a, b in zip(low, exact, strict=True):
        assert a.dtype == torch.float32
        assert_close(a, b)


# --- detections --------------------------------------------------------------------------------

LIMITS = {"min_score": 0.05, "nms_threshold": 0.5, "max_detections": 100}


def logits_of(probs: list[list[float]]) -> torch.Tensor:
    return torch.tensor(probs).log()


def test_detections_by_hand():
    proposals = torch.tensor([[0.0, 0, 10, 10], [30, 0, 60, 10], [0, 0, 10, 10]])
    probs = [[0.7, 0.2, 0.1], [0.03, 0.57, 0.4], [0.6, 0.3, 0.1]]
    boxes, scores, labels, index = detect(
        logits_of(probs), torch.zeros(3, 2, 4), proposals, (50, 40), **LIMITS
    )
    # One box of class 0 and of class 1 stays of the first box; background is no class.
    assert_close(scores, torch.tensor([0.7, 0.57, 0.3]))
    assert labels.tolist() == [0, 1, 1]
    assert index.tolist() == [0, 1, 2]
    assert boxes.tolist() == [[0, 0, 10, 10], [30, 0, 40, 10], [0, 0, 10, 10]]


def test_each_class_moves_the_box_its_own_way():
    proposals = torch.tensor([[0.0, 0, 10, 10]])
    deltas = torch.zeros(1, 2, 4)
    deltas[0, 1, 0] = 10.0  # one width to the right
    boxes, _, labels, _ = detect(
        logits_of([[0.5, 0.4, 0.1]]), deltas, proposals, (50, 50), **LIMITS
    )
    assert labels.tolist() == [0, 1]
    assert_close(boxes, torch.tensor([[0.0, 0, 10, 10], [10, 0, 20, 10]]))


def test_a_score_must_exceed_min_score():
    logits = torch.zeros(1, 4)  # a quarter each
    proposals = torch.tensor([[0.0, 0, 10, 10]])
    for least, count in ((0.25, 0), (0.2499, 3)):
        detected = detect(
            logits, torch.zeros(1, 3, 4), proposals, (50, 50), **LIMITS | {"min_score": least}
        )
        assert len(detected[0]) == count


def test_the_detections_with_the_best_scores_are_kept():
    proposals = torch.tensor([[20.0 * i, 0, 20.0 * i + 10, 10] for i in range(4)])
    probs = [[p, 1 - p] for p in (0.3, 0.9, 0.5, 0.7)]
    _, scores, _, _ = detect(
        logits_of(probs),
        torch.zeros(4, 1, 4),
        proposals,
        (50, 90),
        **LIMITS | {"max_detections": 2},
    )
    assert_close(scores, torch.tensor([0.9, 0.7]))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("coordinate", [0, 1])
def test_detections_that_are_not_finite_are_dropped(coordinate, value):
    proposals = torch.tensor([[20.0 * i, 0, 20.0 * i + 10, 10] for i in range(3)])
    logits, deltas = torch.zeros(3, 2), torch.zeros(3, 1, 4)
    logits[0, 0] = float("nan")
    deltas[1, 0, coordinate] = value
    _, _, _, index = detect(logits, deltas, proposals, (50, 90), **LIMITS)
    assert index.tolist() == [2]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_16_bit_outputs_are_decoded_in_32_bit(rng, dtype):
    proposals = 8 * random_boxes(20, rng)
    logits = torch.randn((20, 2), generator=rng).to(dtype)
    deltas = torch.randn((20, 1, 4), generator=rng).to(dtype)
    limits = LIMITS | {"nms_threshold": 1.0}
    boxes, scores, _, index = detect(logits, deltas, proposals, (512, 768), **limits)
    exact = detect(logits.float(), deltas.float(), proposals, (512, 768), **limits)
    assert len(boxes) > 10
    assert boxes.dtype == scores.dtype == torch.float32
    assert_close(boxes, exact[0], rtol=0, atol=1e-3)
    assert_close(scores, exact[1])
    assert torch.equal(index, exact[3])


def test_no_proposals_give_no_detections():
    detected = detect(
        torch.zeros(0, 4), torch.zeros(0, 3, 4), torch.zeros(0, 4), (50, 50), **LIMITS
    )
    assert [len(x) for x in detected] == [0, 0, 0, 0]


def test_detections_equal_the_slow_version(rng):
    proposals = random_boxes(25, rng)
    logits = 2 * torch.randn((25, 4), generator=rng)
    deltas = 2 * torch.randn((25, 3, 4), generator=rng)
    boxes, scores, labels, index = detect(logits, deltas, proposals, (60, 90), **LIMITS)
    candidates = []
    probs = logits.softmax(1).tolist()
    for i, row in enumerate(probs):
        for label in range(3):
            if row[label] > 0.05:
                delta = deltas[i, label].tolist()
                box = slow.decode(delta, proposals[i].tolist(), BOX_WEIGHTS)
                candidates.append((slow.clip(box, (60, 90)), row[label], label, i))
    b, s, g, _ = map(list, zip(*candidates, strict=True))
    kept = [candidates[i] for i in slow.nms(b, s, g, 0.5)]
    assert len(kept) < len(candidates)
    assert_close(boxes, torch.tensor([c[0] for c in kept]), rtol=1e-4, atol=1e-3)
    assert_close(scores, torch.tensor([c[1] for c in kept]))
    assert labels.tolist() == [c[2] for c in kept]
    assert index.tolist() == [c[3] for c in kept]


def test_perfect_outputs_detect_the_true_boxes(rng):
    proposals, truth = random_boxes(5, rng), random_boxes(5, rng)
    deltas = encode(truth, proposals, BOX_WEIGHTS)[:, None]
    logits = torch.stack([torch.arange(5.0, 0, -1), torch.zeros(5)], dim=1)
    boxes, _, _, _ = detect(logits, deltas, proposals, (64, 96), **LIMITS | {"nms_threshold": 1.0})
    assert_close(boxes, truth, rtol=1e-4, atol=1e-3)
