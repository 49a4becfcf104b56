"""Paths of small trainings: what is recorded, and the plane on which they are drawn."""

import pytest
import torch
from torch.nn.utils import parameters_to_vector

from pfpn.course.ch07_surfaces import figures_path, training
from pfpn.losses.lovasz import jaccard_loss


@pytest.fixture(scope="module")
def streets() -> training.SmallStreets:
    return training.draw_small_streets(1)


def test_streets_are_small_and_labeled(streets):
    assert streets.images.shape[2:] == streets.labels.shape[1:]
    assert set(streets.labels.unique().tolist()) <= {*range(training.NUM_CLASSES), 255}


def test_a_path_starts_at_the_seeds_weights_and_goes_down(streets):
    for loss in ("cross_entropy", "lovasz_softmax"):
        path = training.train_small(loss, 3, 12, streets)
        first = parameters_to_vector(training.build_small_network(3).parameters())
        assert torch.equal(path[0], first.detach())
        values = training.evaluate_weights(path[[0, -1]], streets)[loss]
        assert values[1] < values[0]


def test_the_discrete_loss_is_the_mean_over_present_classes(streets, rng):
    logits = torch.randn(1, 6, *streets.labels.shape[1:], generator=rng)
    labels = streets.labels.clone()
    labels[labels == 255] = 0
    expected = []
    for c in labels.unique().tolist():
        truth, claimed = (labels == c).flatten(), (logits.argmax(1) == c).flatten()
        expected.append(float(jaccard_loss(truth != claimed, truth)))
    value = float(training.path_loss("miou_loss", logits, labels))
    assert value == pytest.approx(sum(expected) / len(expected), abs=1e-6)


def test_the_map_has_the_losses_of_the_weights_on_the_plane(streets):
    paths = {
        "cross-entropy": training.train_small("cross_entropy", 0, 5, streets),
        "Lovász-Softmax": training.train_small("lovasz_softmax", 0, 5, streets),
    }
    found = training.map_paths(paths, streets, steps=3)
    spot = torch.tensor([found.along[2], found.across[0]]).float()
    weights = found.plane.origin + spot @ found.plane.directions
    expected = training.evaluate_weights(weights[None], streets)
    for loss, value in expected.items():
        assert found.values[loss][0, 2] == pytest.approx(value[0], abs=1e-5)
    figure = figures_path.plot_paths(found)
    figure.draw_without_rendering()
    words = figures_path.describe_paths(found)
    assert f"{found.plane.explained[0]:.0%}" in words
    end = training.evaluate_weights(paths["cross-entropy"][-1:], streets)["miou_loss"][0]
    assert "the path of cross-entropy ends at cross-entropy" in words
    assert f"1 - mIoU {end:.2f}" in words


def test_a_path_is_compared_with_random_walks_and_random_planes(streets):
    path = training.train_small("cross_entropy", 0, 10, streets)
    shown = training.compare_planes(path, (0, 1))
    assert [len(shown[name]) for name in ("path", "random walk", "random plane")] == [1, 2, 2]
    assert max(shown["random plane"]) < 0.1 < min(shown["random walk"]) <= 1


def test_confidence_is_split_by_right_and_wrong(streets):
    path = training.train_small("cross_entropy", 0, 10, streets)
    right, wrong = training.mean_confidence(path[-1], streets)
    network = training.build_small_network(0)
    torch.nn.utils.vector_to_parameters(path[-1], network.parameters())
    with torch.no_grad():
        probs = network(streets.images).softmax(1)
    by_kind = {True: [], False: []}
    for pixel, label in zip(
        probs.movedim(1, -1).flatten(0, 2), streets.labels.flatten(), strict=True
    ):
        if label != 255:
            by_kind[int(pixel.argmax()) == int(label)].append(float(pixel.max()))
    assert right == pytest.approx(sum(by_kind[True]) / len(by_kind[True]), rel=1e-4)
    assert wrong == pytest.approx(sum(by_kind[False]) / len(by_kind[False]), rel=1e-4)
