import math

import pytest
import torch
from torch.testing import assert_close

from pfpn.anchors import pyramid_anchors
from pfpn.boxes import batched_nms, encode
from pfpn.rpn import (
    RPN_BOX_WEIGHTS,
    ProposalNetwork,
    RPNHead,
    _best_after_nms,
    rpn_losses,
    select_proposals,
)
from tests.factories import assert_normal, random_batch, random_boxes, tiny_config
from tests.oracles import boxes as slow

SETTINGS = {"low": 0.3, "high": 0.7, "num_samples": 16, "positive_fraction": 0.5}


def test_head_has_outputs_for_every_anchor_of_every_level():
    head = RPNHead(channels=4, num_anchors=3)
    pyramid = {"p2": torch.randn(2, 4, 5, 6), "p3": torch.randn(2, 4, 3, 3)}
    logits, deltas = head(pyramid)
    assert [x.shape for x in logits] == [(2, 90), (2, 27)]
    assert [x.shape for x in deltas] == [(2, 90, 4), (2, 27, 4)]


def test_outputs_are_in_the_order_of_the_anchors():
    head = RPNHead(channels=1, num_anchors=3)
    head.conv.weight.data.zero_()
    head.conv.weight.data[0, 0, 1, 1] = 1  # the hidden layer is the feature
    head.objectness.weight.data[:, 0, 0, 0] = torch.tensor([1.0, 2.0, 3.0])
    head.deltas.weight.data[:, 0, 0, 0] = torch.arange(12.0)
    features = torch.zeros(1, 1, 4, 5)
    features[0, 0, 2, 3] = 1.0
    (logits,), (deltas,) = head({"p2": features})
    first = (2 * 5 + 3) * 3  # row by row, a cell's three anchors side by side
    assert logits[0].nonzero()[:, 0].tolist() == [first, first + 1, first + 2]
    assert logits[0, first : first + 3].tolist() == [1, 2, 3]
    assert deltas[0, first : first + 3].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_weights_start_as_published():
    torch.manual_seed(0)
    head = RPNHead(channels=64, num_anchors=48)
    for layer in (head.conv, head.objectness, head.deltas):
        assert_normal(layer.weight, std=0.01)
        assert not layer.bias.any()


def test_deltas_are_not_weighted():
    """As published: the second stage weights its deltas, the first does not."""
    assert RPN_BOX_WEIGHTS == (1, 1, 1, 1)


def test_all_levels_share_one_head():
    head = RPNHead(channels=4, num_anchors=3)
    features = torch.randn(1, 4, 3, 3)
    logits, deltas = head({"p2": features, "p5": features})
    assert torch.equal(logits[0], logits[1])
    assert torch.equal(deltas[0], deltas[1])


def test_losses_by_hand(rng):
    anchors = torch.tensor([[0.0, 0, 10, 10], [40, 40, 50, 50], [80, 80, 90, 90]])
    truth = torch.tensor([[1.0, 0.0, 11.0, 10.0]])  # IoU 9 / 11 with the first anchor
    logits = torch.tensor([[2.0, 0.0, 0.0]])
    deltas = torch.zeros(1, 3, 4)
    deltas[0, 0] = torch.tensor([0.4, 0.2, 0.0, -0.5])
    objectness, box = rpn_losses(anchors, logits, deltas, [truth], rng=rng, **SETTINGS)
    # All three are drawn, but the divisor is num_samples = 16.
    expected = math.log(1 + math.exp(-2)) + 2 * math.log(2)
    assert_close(objectness, torch.tensor(expected / 16))
    assert_close(box, torch.tensor((0.3 + 0.2 + 0.0 + 0.5) / 16))  # truth is dx = 0.1


def test_background_has_no_box_loss(rng):
    anchors, deltas = random_boxes(20, rng), torch.randn((1, 20, 4), generator=rng)
    objectness, box = rpn_losses(
        anchors, torch.zeros(1, 20), deltas, [torch.zeros(0, 4)], rng=rng, **SETTINGS
    )
    assert box == 0
    assert_close(objectness, torch.tensor(math.log(2)))  # 16 of 20 drawn


def test_losses_leave_unsure_anchors_out(rng):
    anchors = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 6]])
    truth = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    logits = torch.tensor([[0.0, 0.0]], requires_grad=True)
    objectness, _ = rpn_losses(anchors, logits, torch.zeros(1, 2, 4), [truth], rng=rng, **SETTINGS)
    objectness.backward()
    assert logits.grad[0, 0] != 0
    assert logits.grad[0, 1] == 0


def test_losses_of_a_batch_are_the_mean_of_its_images(rng):
    anchors = random_boxes(30, rng)
    logits = torch.randn((2, 30), generator=rng)
    deltas = torch.randn((2, 30, 4), generator=rng)
    truths = [random_boxes(2, rng), random_boxes(1, rng)]
    settings = SETTINGS | {"num_samples": 200}  # all of them: the draw decides nothing
    together = rpn_losses(anchors, logits, deltas, truths, rng=rng, **settings)
    alone = [
        rpn_losses(
            anchors, logits[i : i + 1], deltas[i : i + 1], truths[i : i + 1], rng=rng, **settings
        )
        for i in range(2)
    ]
    for loss, first, second in zip(together, *alone, strict=True):
        assert_close(loss, (first + second) / 2)
        assert loss > 0


@pytest.mark.parametrize("num_truths", [0, 3])
def test_gradients_of_both_losses(rng, num_truths):
    anchors = random_boxes(12, rng, dtype=torch.float64)
    truth = random_boxes(num_truths, rng, dtype=torch.float64)
    logits = torch.randn((1, 12), generator=rng, dtype=torch.float64, requires_grad=True)
    deltas = torch.randn((1, 12, 4), generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, d: rpn_losses(
            anchors, x, d, [truth], rng=torch.Generator().manual_seed(5), **SETTINGS
        ),
        (logits, deltas),
    )


def test_losses_of_16_bit_outputs_are_summed_in_32_bit(rng):
    anchors, truth = random_boxes(50, rng), random_boxes(2, rng)
    logits = torch.randn((1, 50), generator=rng).bfloat16()
    deltas = torch.randn((1, 50, 4), generator=rng).bfloat16()
    settings = SETTINGS | {"num_samples": 200}
    low = rpn_losses(anchors, logits, deltas, [truth], rng=rng, **settings)
    exact = rpn_losses(anchors, logits.float(), deltas.float(), [truth], rng=rng, **settings)
    for a, b in zip(low, exact, strict=True):
        assert a.dtype == torch.float32
        assert_close(a, b)


# --- proposals ---------------------------------------------------------------------------------

LIMITS = {"max_per_level": 100, "max_total": 100, "nms_threshold": 0.7}


def one_image(boxes: list[list[float]], logits: list[float]) -> tuple:
    """One level, one image, anchors that stay where they are."""
    anchors = torch.tensor(boxes)
    return [anchors], [torch.tensor([logits])], [torch.zeros(1, len(boxes), 4)]


def test_proposals_come_best_first_and_clipped_to_the_image_without_its_padding():
    outputs = one_image([[0, 0, 10, 10], [30, 30, 60, 60.0]], [-1.0, 1.0])
    (boxes,), (logits,) = select_proposals(*outputs, [(40, 50)], **LIMITS)
    assert boxes.tolist() == [[30, 30, 50, 40], [0, 0, 10, 10]]
    assert logits.tolist() == [1, -1]


def test_proposals_outside_the_image_are_dropped():
    outputs = one_image([[0, 0, 10, 10], [45.0, 0, 60, 10]], [0.0, 1.0])
    (boxes,), _ = select_proposals(*outputs, [(40, 45)], **LIMITS)
    assert boxes.tolist() == [[0, 0, 10, 10]]


def test_boxes_are_clipped_before_they_suppress():
    # IoU 0.5 as they are, but equal within the image.
    outputs = one_image([[0, 0, 10, 10], [0, 0, 10, 20.0]], [0.0, 1.0])
    (boxes,), _ = select_proposals(*outputs, [(10, 40)], **LIMITS)
    assert boxes.tolist() == [[0, 0, 10, 10]]
    (boxes,), _ = select_proposals(*outputs, [(20, 40)], **LIMITS)
    assert len(boxes) == 2


def test_suppression_stays_within_a_level():
    anchors = [torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[0.0, 0, 10, 10]])]
    logits = [torch.tensor([[1.0]]), torch.tensor([[2.0]])]
    deltas = [torch.zeros(1, 1, 4)] * 2
    (boxes,), (scores,) = select_proposals(anchors, logits, deltas, [(40, 40)], **LIMITS)
    assert boxes.tolist() == [[0, 0, 10, 10]] * 2
    assert scores.tolist() == [2, 1]


def test_limits_per_level_and_in_all():
    spread = [[20.0 * i, 0, 20.0 * i + 10, 10] for i in range(6)]
    anchors, logits, deltas = one_image(spread, [0.0, 5, 1, 4, 2, 3])
    twice = anchors * 2, [logits[0], logits[0] - 10], deltas * 2
    _, (scores,) = select_proposals(*twice, [(99, 999)], **LIMITS | {"max_per_level": 2})
    assert scores.tolist() == [5, 4, -5, -6]
    _, (scores,) = select_proposals(
        *twice, [(99, 999)], **LIMITS | {"max_per_level": 4, "max_total": 3}
    )
    assert scores.tolist() == [5, 4, 3]


@pytest.mark.parametrize("num", [0, 1, 5, 40, 1000])
@pytest.mark.parametrize("spread", [4, 60])  # pixels: nearly all suppress each other, or few
def test_the_best_after_nms_are_the_first_of_nms(num, spread, rng):
    boxes = random_boxes(150, rng, size=(20, 20)) + spread * torch.rand((150, 1), generator=rng)
    scores = torch.randint(0, 30, (150,), generator=rng) / 30  # with ties
    levels = torch.randint(0, 2, (150,), generator=rng)
    kept = batched_nms(boxes, scores, levels, 0.3)
    assert 5 < len(kept) < 150
    assert torch.equal(_best_after_nms(boxes, scores, levels, 0.3, num), kept[:num])


def test_nms_looks_at_all_boxes_only_if_the_best_do_not_suffice(rng, monkeypatch):
    sizes = []
    monkeypatch.setattr(
        "pfpn.rpn.batched_nms",
        lambda boxes, *rest: sizes.append(len(boxes)) or batched_nms(boxes, *rest),
    )
    boxes = torch.cat([random_boxes(1, rng).expand(50, 4), 100 + random_boxes(50, rng)])
    levels = torch.zeros(100, dtype=torch.int64)
    _best_after_nms(boxes, torch.arange(100.0), levels, 0.9, 10)
    assert sizes == [20]
    _best_after_nms(boxes, -torch.arange(100.0), levels, 0.9, 10)  # the best are all alike
    assert sizes == [20, 20, 100]


def test_proposals_with_infinite_logits_are_dropped():
    outputs = one_image([[20.0 * i, 0, 20.0 * i + 10, 10] for i in range(4)], [0.0] * 4)
    outputs[1][0][0, :3] = torch.tensor([math.nan, math.inf, -math.inf])
    (boxes,), (logits,) = select_proposals(*outputs, [(99, 99)], **LIMITS)
    assert boxes[:, 0].tolist() == [60]
    assert logits.tolist() == [0]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("coordinate", range(4))
def test_proposals_that_are_not_finite_are_dropped(coordinate, value):
    outputs = one_image([[20.0, 20, 30, 30], [60, 60, 70, 70]], [0.0] * 2)
    outputs[2][0][0, 0, coordinate] = value
    (boxes,), _ = select_proposals(*outputs, [(99, 99)], **LIMITS)
    if coordinate >= 2 and value == math.inf:  # growth is clamped, so the box is finite
        assert len(boxes) == 2
        assert boxes.isfinite().all()
    else:
        assert boxes.tolist() == [[60, 60, 70, 70]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_deltas_of_16_bit_are_decoded_in_32_bit(rng, dtype):
    anchors = 8 * random_boxes(40, rng)
    deltas = (0.3 * torch.randn((1, 40, 4), generator=rng)).to(dtype)
    logits = torch.arange(40.0)[None]
    sizes, limits = [(512, 768)], LIMITS | {"nms_threshold": 1.0}
    (boxes,), (scores,) = select_proposals([anchors], [logits.to(dtype)], [deltas], sizes, **limits)
    (exact,), _ = select_proposals([anchors], [logits], [deltas.float()], sizes, **limits)
    assert boxes.dtype == scores.dtype == torch.float32
    assert len(exact) > 30
    assert_close(boxes, exact, rtol=0, atol=1e-3)


def test_proposals_equal_the_slow_version(rng):
    sizes = [(64, 96), (50, 70)]
    levels = (40, 15, 3)
    anchors = [random_boxes(n, rng) for n in levels]
    logits = [torch.randn((2, n), generator=rng) for n in levels]
    deltas = [0.5 * torch.randn((2, n, 4), generator=rng) for n in levels]
    limits = {"max_per_level": 20, "max_total": 12, "nms_threshold": 0.4}
    boxes, scores = select_proposals(anchors, logits, deltas, sizes, **limits)
    for image, size in enumerate(sizes):
        candidates = []
        for level, n in enumerate(levels):
            score = logits[level][image].tolist()
            for i in sorted(range(n), key=lambda i: -score[i])[:20]:
                delta, anchor = deltas[level][image, i].tolist(), anchors[level][i].tolist()
                box = slow.clip(slow.decode(delta, anchor, RPN_BOX_WEIGHTS), size)
                if box[2] > box[0] and box[3] > box[1]:
                    candidates.append((box, score[i], level))
        kept = slow.nms(*map(list, zip(*candidates, strict=True)), 0.4)[:12]
        assert_close(
            boxes[image], torch.tensor([candidates[i][0] for i in kept]), rtol=1e-4, atol=1e-3
        )
        assert_close(scores[image], torch.tensor([candidates[i][1] for i in kept]))


def test_no_gradient_flows_through_proposals():
    anchors, logits, deltas = one_image([[0.0, 0, 10, 10]], [1.0])
    deltas[0].requires_grad_()
    (boxes,), _ = select_proposals(anchors, logits, deltas, [(40, 40)], **LIMITS)
    assert not boxes.requires_grad


def test_perfect_outputs_propose_the_true_boxes(rng):
    anchors, truth = random_boxes(10, rng), random_boxes(10, rng)
    deltas = encode(truth, anchors, RPN_BOX_WEIGHTS)[None]
    (boxes,), _ = select_proposals(
        [anchors],
        [torch.arange(10.0)[None]],
        [deltas],
        [(64, 96)],
        **LIMITS | {"nms_threshold": 1.0},
    )
    assert_close(boxes, truth.flip(0), rtol=1e-4, atol=1e-3)


# --- the stage ---------------------------------------------------------------------------------


def stage_of(**changes: object) -> ProposalNetwork:
    config = tiny_config(**changes)
    return ProposalNetwork(RPNHead(4, len(config.anchor_ratios)), config)


def pyramid_of(size: tuple[int, int]) -> dict[str, torch.Tensor]:
    return {
        f"p{k}": torch.randn(2, 4, -(-size[0] // 2**k), -(-size[1] // 2**k)) for k in range(2, 7)
    }


def test_stage_proposes_with_the_limits_of_inference_and_trains_with_those_of_training(rng):
    stage = stage_of(train_proposals=7, test_proposals=5)
    sizes = [(64, 96), (64, 96)]
    pyramid, truths = pyramid_of((64, 96)), random_batch(sizes, rng).instances
    assert [len(boxes) for boxes in stage.propose(pyramid, sizes)] == [5, 5]
    _, proposals = stage.losses(pyramid, sizes, truths, rng)
    assert [len(boxes) for boxes in proposals] == [7, 7]
    stage = stage_of(train_proposals_per_level=3, test_proposals_per_level=2, rpn_nms_threshold=1.0)
    # p2 to p5 have more than 3 anchors and p6 has 6, of which some may lie outside the image.
    assert all(len(boxes) <= 10 for boxes in stage.propose(pyramid, sizes))
    _, proposals = stage.losses(pyramid, sizes, truths, rng)
    assert all(10 < len(boxes) <= 15 for boxes in proposals)


def test_stage_gives_the_losses_of_its_head_on_its_anchors(rng):
    changes = {"rpn_samples": 10_000}  # all anchors
    stage = stage_of(
        **changes, anchor_rounding=True, anchor_ratios=(0.5, 2.0), rpn_low=0.01, rpn_high=0.4
    )
    sizes = [(64, 96), (50, 70)]
    pyramid, truths = pyramid_of((64, 96)), random_batch(sizes, rng).instances
    losses, _ = stage.losses(pyramid, sizes, truths, torch.Generator().manual_seed(5))
    logits, deltas = stage.head(pyramid)
    expected = rpn_losses(
        torch.cat(pyramid_anchors(pyramid, stage.config.anchor_sides, (0.5, 2.0), True)),
        torch.cat(logits, 1),
        torch.cat(deltas, 1),
        [truth.boxes for truth in truths],
        low=0.01,
        high=0.4,
        num_samples=stage.config.rpn_samples,
        positive_fraction=stage.config.rpn_positive_fraction,
        rng=torch.Generator().manual_seed(5),
    )
    assert list(losses) == ["loss_rpn_objectness", "loss_rpn_box"]
    for loss, value in zip(losses.values(), expected, strict=True):
        assert loss > 0
        assert_close(loss, value)
