"""The small trainings: what is drawn, that seeds and samplers reach them, and what they learn."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from pfpn.course.ch08_practice import experiments
from pfpn.course.ch08_practice.experiments import (
    ARMS,
    MOVED,
    SET_LOSSES,
    Cells,
    added,
    entropy_of_one,
    every,
    iou_of,
    losses_of_cells,
    lovasz_of,
    many_classes,
    moved_thresholds,
    one_class,
    predict_streets,
    present,
    score_pixels,
    street_features,
    to_cells,
    train_cells,
    train_classes,
    train_line,
)
from pfpn.course.ch08_practice.losses import decide, one_hot
from pfpn.course.iou import mean_iou
from pfpn.data.toy import ToyStreet
from pfpn.losses import lovasz_softmax
from pfpn.model import PanopticFPN
from pfpn.structures import IGNORE
from tests.factories import tiny_config


def test_an_image_shows_three_of_twenty_classes():
    x, y = many_classes(5, 0)
    assert x.shape == (5, 64, 2)
    assert [len(image.unique()) for image in y] == [3] * 5


def test_a_run_is_a_function_of_its_seed_and_runs_of_a_seed_share_their_start():
    runs = [train_classes([(F.cross_entropy, 50)], seed=seed) for seed in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2]
    twice = train_classes([(F.cross_entropy, 50), (F.cross_entropy, 50)])
    assert twice[0] == runs[0][0]
    assert [step for step, _ in twice] == [50, 100]
    state = torch.get_rng_state()
    train_classes([(present, 1)])
    assert torch.equal(torch.get_rng_state(), state)


def test_absent_classes_ruin_small_batches():
    assert train_classes([(every, 150)])[-1][1] < 0.1
    assert train_classes([(present, 150)])[-1][1] > 0.15


def test_the_sum_is_the_sum(rng):
    logits = torch.randn(2, 20, 1, 8, generator=rng)
    labels = torch.randint(20, (2, 1, 8), generator=rng)
    assert_close(added(logits, labels), F.cross_entropy(logits, labels) + present(logits, labels))


def test_images_with_the_class_have_sixteen_pixels_of_it():
    x, y = one_class(400, 1, separation=3, with_class=0.1)
    assert set(y.sum(1).tolist()) == {0, 16}
    assert 0.05 < y.any(1).float().mean() < 0.17
    assert x[y == 1].mean() == pytest.approx(3, abs=0.2)
    assert x[y == 0].mean() == pytest.approx(0, abs=0.05)


def test_the_loss_of_one_class_is_the_package_s(rng):
    logits = torch.randn(2, 6, generator=rng)
    labels = torch.randint(2, (2, 6), generator=rng)
    p = logits.sigmoid()
    probs = torch.stack([1 - p, p], 1)[:, :, None]
    assert_close(
        lovasz_of([1])(logits, labels), lovasz_softmax(probs, labels[:, None], classes=[1])
    )


def test_report_26_random_batches_fail_and_equibatch_mends_them():
    """And cross-entropy, the control, needs no such batches."""
    x, y = one_class(200, 0, separation=3, with_class=0.08)
    new_x, new_y = one_class(200, 1, separation=3, with_class=0.08)

    def iou(loss, equibatch):
        line = train_line(loss, x, y, equibatch=equibatch, steps=300)
        return iou_of(score_pixels(line, new_x), new_y)

    assert iou(lovasz_of([1]), False) < 0.05
    assert iou(lovasz_of([1]), True) > 0.5
    assert iou(entropy_of_one, False) > 0.5


def test_iou_counts_all_images_together():
    logits = torch.tensor([[1.0, 1.0, -1.0], [1.0, -1.0, -1.0]])
    assert iou_of(logits, torch.tensor([[1, 0, 1], [1, 0, 0]])) == pytest.approx(2 / 4)


@pytest.fixture
def cells(rng):
    """Streets of 16 x 24 pixels; the features are the classes themselves, and noise."""
    labels = torch.randint(3, (6, 2, 3), generator=rng)
    labels = labels.repeat_interleave(8, 1).repeat_interleave(8, 2)
    labels[0, :4, :4] = IGNORE
    features = F.avg_pool2d(one_hot(labels, 3), 4)
    noise = 0.1 * torch.randn(features.shape, generator=rng)
    return to_cells(features + noise, labels, 3), labels


def test_a_cell_has_the_fractions_of_its_classes(cells):
    made, labels = cells
    assert made.labels[0, 0, 0] == IGNORE
    assert torch.equal(made.labels[1:], labels[1:, ::4, ::4])
    mixed = torch.tensor([[[0] * 8 + [1] * 6 + [IGNORE] * 2]]).view(1, 4, 4)
    part = to_cells(torch.randn(2, 1, 1, 1), mixed.expand(2, 4, 4), 2)
    assert part.fractions[0, :, 0, 0].tolist() == pytest.approx([8 / 14, 6 / 14])


def test_the_features_are_what_the_semantic_head_classifies():
    torch.manual_seed(0)
    model = PanopticFPN(tiny_config()).eval()
    samples = [ToyStreet(num=2, seed=1, size=(64, 96))[i] for i in range(2)]
    features = street_features(model, samples)
    with torch.no_grad():
        images, _ = model.stack([sample.image for sample in samples])
        logits = model.semantic_head(model.pyramid(images))
        assert_close(model.semantic_head.classify(features), logits)


def test_every_arm_learns_an_easy_world(cells):
    made, _ = cells
    for arm, loss in losses_of_cells().items():
        head = train_cells(loss, made, steps=80)
        predicted = head(made.features).argmax(1)
        assert mean_iou(predicted, made.labels, 3) > 0.9, arm
        assert not any(p.requires_grad for p in head.parameters())
    assert len({*ARMS, *MOVED}) == len(ARMS) + len(MOVED)


def test_an_arm_with_cross_entropy_is_a_sum(cells, rng):
    made, _ = cells
    logits = torch.randn(made.fractions.shape, generator=rng)
    losses = {arm: float(loss(logits, made)) for arm, loss in losses_of_cells().items()}
    for name in SET_LOSSES:
        both = losses[name] + losses["cross-entropy"]
        assert losses[f"{name} + cross-entropy"] == pytest.approx(both, rel=1e-5)


def test_an_arm_is_a_function_of_its_seed(cells):
    loss = losses_of_cells()["Dice"]
    one, two, other = (train_cells(loss, cells[0], steps=5, seed=seed).weight for seed in (0, 0, 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_moved_thresholds_are_at_least_as_good_where_they_were_chosen(rng):
    labels = (torch.rand(4, 8, 8, generator=rng) < 0.1).long()
    logits = torch.stack(
        [torch.zeros(4, 8, 8), labels - 1.5 + torch.randn(4, 8, 8, generator=rng)], 1
    )
    probs = logits.softmax(1)
    moved = moved_thresholds(probs, labels)
    before, after = (mean_iou(p, labels, 2) for p in (probs.argmax(1), decide(probs, moved)))
    assert after > before


def test_every_arm_and_both_thresholds_give_maps_at_full_size(cells):
    made, labels = cells
    heads = {arm: train_cells(loss, made, steps=3) for arm, loss in losses_of_cells().items()}
    maps = predict_streets(heads, made, made.features[:2])
    assert list(maps) == [*ARMS, *MOVED]
    assert all(found.shape == labels[:2].shape for found in maps.values())


def test_thresholds_from_probabilities_never_look_at_the_truth(cells):
    made, _ = cells
    heads = {"cross-entropy": train_cells(losses_of_cells()["cross-entropy"], made, steps=20)}
    shuffled = Cells(made.features, made.fractions.roll(1, 1))
    one, two = (predict_streets(heads, c, made.features[:1]) for c in (made, shuffled))
    name = "cross-entropy, J / (1 + J)"
    assert torch.equal(one[name], two[name])
    assert experiments.MOVED.keys() <= one.keys()
