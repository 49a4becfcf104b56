"""Trainings of a small network, whose weights are recorded after each step.

A few drawn streets at a quarter of their size, six classes, three convolutions: small enough that
a training takes a second, and that a plane through its weights can be evaluated while one waits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from pfpn.data.toy import ToyStreet
from pfpn.data.transforms import to_label_map
from pfpn.losses.lovasz import lovasz_softmax
from pfpn.plot.landscape import PathPlane, explained_fraction, fit_plane, random_plane, random_walk
from pfpn.structures import IGNORE

NUM_CLASSES = 6  # "other" and the five stuff classes of the drawn world
SHRINK = 4  # of the streets, in each direction
PATH_LOSSES = {
    "cross_entropy": "cross-entropy",
    "lovasz_softmax": "Lovász-Softmax",
    "miou_loss": "1 - mIoU",
}


@dataclass(frozen=True, slots=True)
class SmallStreets:
    """Small images and the semantic class of each pixel."""

    images: Float[Tensor, "b 3 h w"]
    labels: Int[Tensor, "b h w"]


def draw_small_streets(num: int = 4, seed: int = 7) -> SmallStreets:
    """Draw streets at a quarter of their width and height."""
    images, labels = [], []
    streets = ToyStreet(num=num, seed=seed)
    for sample in (streets[i] for i in range(num)):
        images.append(F.avg_pool2d(sample.image.float() / 255 - 0.5, SHRINK))
        whole = to_label_map(sample.panoptic, NUM_CLASSES)
        labels.append(whole[SHRINK // 2 :: SHRINK, SHRINK // 2 :: SHRINK])
    return SmallStreets(torch.stack(images), torch.stack(labels).long())


def build_small_network(seed: int, channels: int = 8) -> nn.Sequential:
    """Return three convolutions that give six logits a pixel, with weights from the seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, channels, 5, padding=2), nn.ReLU(),
            nn.Conv2d(channels, channels, 5, padding=2), nn.ReLU(),
            nn.Conv2d(channels, NUM_CLASSES, 1),
        )  # fmt: skip


def path_loss(loss: str, logits: Float[Tensor, "b c h w"], labels: Int[Tensor, "b h w"]) -> Tensor:
    """Return a loss of PATH_LOSSES of the whole batch, over the classes that are present."""
    if loss == "cross_entropy":
        return F.cross_entropy(logits, labels, ignore_index=IGNORE)
    probs = logits.softmax(1)
    if loss == "miou_loss":  # on corners the extension is the Jaccard loss itself
        probs = F.one_hot(logits.argmax(1), logits.shape[1]).movedim(-1, 1).to(logits)
    return lovasz_softmax(probs, labels, ignore=IGNORE)


def train_small(loss: str, seed: int, steps: int, streets: SmallStreets) -> Float[Tensor, "t n"]:
    """Train with Adam on all streets at once; return the weights at the start and after each step.

    Args:
        loss: "cross_entropy" or "lovasz_softmax".
        seed: of the first weights.
        steps: of the optimizer.
        streets: the batch of every step.
    """
    network = build_small_network(seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    path = [parameters_to_vector(network.parameters()).detach().clone()]
    for _ in range(steps):
        optimizer.zero_grad()
        path_loss(loss, network(streets.images), streets.labels).backward()
        optimizer.step()
        path.append(parameters_to_vector(network.parameters()).detach().clone())
    return torch.stack(path)


@torch.no_grad()
def evaluate_weights(
    weights: Float[Tensor, "k n"], streets: SmallStreets
) -> dict[str, Float[np.ndarray, " k"]]:
    """Return every loss of PATH_LOSSES for many settings of the small network's weights."""
    network = build_small_network(0)
    values: dict[str, list[float]] = {loss: [] for loss in PATH_LOSSES}
    for row in weights:
        vector_to_parameters(row, network.parameters())
        logits = network(streets.images)
        for loss in PATH_LOSSES:
            values[loss].append(float(path_loss(loss, logits, streets.labels)))
    return {loss: np.array(each) for loss, each in values.items()}


@torch.no_grad()
def mean_confidence(weights: Float[Tensor, " n"], streets: SmallStreets) -> tuple[float, float]:
    """Return the mean probability of the predicted class where it is right, and where it is wrong.

    Pixels without a label do not count.
    """
    network = build_small_network(0)
    vector_to_parameters(weights, network.parameters())
    confidence, predicted = network(streets.images).softmax(1).max(1)
    labeled = streets.labels != IGNORE
    right = predicted == streets.labels
    return float(confidence[right & labeled].mean()), float(confidence[~right & labeled].mean())


@dataclass(frozen=True, slots=True)
class PathMap:
    """Paths of trainings on the plane that shows most of them, and losses over that plane."""

    plane: PathPlane
    along: Float[np.ndarray, " k"]  # first direction
    across: Float[np.ndarray, " j"]  # second direction
    values: dict[str, Float[np.ndarray, "j k"]]  # by the keys of PATH_LOSSES
    ends: dict[str, dict[str, float]]  # losses at the end of each path, off the plane


def map_paths(
    paths: Mapping[str, Float[Tensor, "t n"]], streets: SmallStreets, steps: int = 17
) -> PathMap:
    """Fit one plane to all paths and evaluate the losses on a grid of steps x steps over it."""
    plane = fit_plane(paths)
    spots = np.concatenate(list(plane.coordinates.values()))
    low, high = spots.min(0), spots.max(0)
    margin = 0.25 * (high - low).max()
    along, across = (
        np.linspace(low[i] - margin, high[i] + margin, steps, dtype=np.float64) for i in (0, 1)
    )
    grid = torch.tensor(np.stack(np.meshgrid(along, across), -1).reshape(-1, 2))
    weights = plane.origin + grid.to(plane.origin) @ plane.directions
    flat = evaluate_weights(weights, streets)
    last = evaluate_weights(torch.stack([path[-1] for path in paths.values()]), streets)
    return PathMap(
        plane,
        along,
        across,
        {loss: values.reshape(steps, steps) for loss, values in flat.items()},
        {name: {loss: float(last[loss][i]) for loss in last} for i, name in enumerate(paths)},
    )


def compare_planes(path: Float[Tensor, "t n"], seeds: Sequence[int]) -> dict[str, list[float]]:
    """Return which fraction of a path's variance a plane shows, beside two controls.

    Keys: "path", the best plane for the path; "random walk", the best plane for a random walk with
    the same lengths of steps, one for each seed; "random plane", a random plane for the path.
    """
    shown: dict[str, list[float]] = {
        "path": [explained_fraction(path, fit_plane({"path": path}).directions)],
        "random walk": [],
        "random plane": [],
    }
    for seed in seeds:
        rng = torch.Generator().manual_seed(seed)
        walk = random_walk(path, rng)
        best = fit_plane({"walk": walk}).directions
        shown["random walk"].append(explained_fraction(walk, best))
        shown["random plane"].append(explained_fraction(path, random_plane(path.shape[1], rng)))
    return shown
