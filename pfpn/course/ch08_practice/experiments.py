"""Small trainings of chapter 08, each a few seconds: all seeds of them are stored by a benchmark.

Three worlds. Many classes, few of them in each image (report 20). One class that most images lack
(report 26). Drawn streets, seen through the features of the trained model (losses side by side).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from pfpn.course.ch08_practice.losses import (
    best_expected_iou,
    decide,
    jaccard_metric_loss,
    one_hot,
    tversky_loss,
)
from pfpn.course.iou import mean_iou
from pfpn.data.loader import ShareSampler
from pfpn.losses import jaccard_loss, lovasz_softmax
from pfpn.losses.segmentation import dice_loss, pixel_cross_entropy
from pfpn.model import PanopticFPN
from pfpn.structures import IGNORE, Sample

Loss = Callable[[Tensor, Tensor], Tensor]  # of logits and labels

# Many classes, few in an image ------------------------------------------------------------------


def present(logits: Tensor, labels: Tensor) -> Tensor:
    """Return Lovász-Softmax over the classes that the batch shows."""
    return lovasz_softmax(logits.softmax(1), labels)


def every(logits: Tensor, labels: Tensor) -> Tensor:
    """Return Lovász-Softmax over all classes, shown or not."""
    return lovasz_softmax(logits.softmax(1), labels, classes="all")


def added(logits: Tensor, labels: Tensor) -> Tensor:
    """Return cross-entropy plus Lovász-Softmax."""
    return F.cross_entropy(logits, labels) + present(logits, labels)


def many_classes(
    images: int, seed: int, c: int = 20
) -> tuple[Float[Tensor, "b p 2"], Int[Tensor, "b p"]]:
    """Return images of 64 pixels with two features each: c blobs on a circle, three an image."""
    g = torch.Generator().manual_seed(seed)
    turn = torch.arange(c) * 2 * torch.pi / c
    centers = 3 * torch.stack([turn.cos(), turn.sin()], 1).double()
    shown = torch.rand(images, c, generator=g).argsort(1)[:, :3]
    y = shown.gather(1, torch.randint(3, (images, 64), generator=g))
    return centers[y] + 0.35 * torch.randn(images, 64, 2, generator=g, dtype=torch.float64), y


def score_classes(net: nn.Module, x: Float[Tensor, "b p 2"], y: Int[Tensor, "b p"]) -> float:
    """Return the mean IoU of a network over 20 classes."""
    with torch.no_grad():
        predicted = net(x).argmax(-1).flatten()
    truth = y.flatten()
    sets = [((predicted == c) != (truth == c), truth == c) for c in range(20)]
    return sum(1 - float(jaccard_loss(*pair)) for pair in sets) / 20


def train_classes(
    parts: Sequence[tuple[Loss, int]], *, batch: int = 2, rate: float = 0.01, seed: int = 0
) -> list[tuple[int, float]]:
    """Train a small network with (loss, steps), one part after the other.

    Returns (step, mean IoU on new images) every 50 steps. A seed fixes the images, the weights and
    their order, so runs of one seed differ in nothing but the loss.
    """
    x, y = many_classes(200, 2 * seed)
    held_x, held_y = many_classes(100, 2 * seed + 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 20)).double()
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    draw, history = torch.Generator().manual_seed(seed + 1), []
    for step, loss in enumerate((loss for loss, steps in parts for _ in range(steps)), 1):
        chosen = torch.randint(len(x), (batch,), generator=draw)
        logits = net(x[chosen]).movedim(-1, 1)[:, :, None]
        optimizer.zero_grad()
        loss(logits, y[chosen][:, None]).backward()
        optimizer.step()
        if step % 50 == 0:
            history.append((step, score_classes(net, held_x, held_y)))
    return history


# One class that many images lack ----------------------------------------------------------------


def one_class(
    images: int, seed: int, separation: float, with_class: float
) -> tuple[Float[Tensor, "b p 2"], Int[Tensor, "b p"]]:
    """Return images of 64 pixels with two features; some have 16 pixels of the class, some none.

    Args:
        images: their number; image 0 has the class.
        seed: of the images.
        separation: of class and background along each feature, in standard deviations.
        with_class: fraction of the images that have the class.
    """
    g = torch.Generator().manual_seed(seed)
    has = torch.rand(images, generator=g) < with_class
    has[0] = True
    y = ((torch.arange(64) < 16) & has[:, None]).long()
    x = torch.randn(images, 64, 2, generator=g)
    x += separation * y[..., None]
    return x, y


def entropy_of_one(logits: Float[Tensor, "b p"], labels: Int[Tensor, "b p"]) -> Tensor:
    """Return the cross-entropy of one class against the background, in nats."""
    return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))


def lovasz_of(classes: Sequence[int] | Literal["present", "all"]) -> Loss:
    """Return Lovász-Softmax of one class and the background as a function of the class's logits."""

    def loss(logits: Float[Tensor, "b p"], labels: Int[Tensor, "b p"]) -> Tensor:
        probs = torch.stack([-logits / 2, logits / 2], 1).softmax(1)  # sigmoid, and 1 - sigmoid
        return lovasz_softmax(probs[:, :, None], labels[:, None], classes=classes)

    return loss


def train_line(
    loss: Loss,
    x: Float[Tensor, "b p 2"],
    y: Int[Tensor, "b p"],
    *,
    equibatch: bool = False,
    steps: int = 400,
    seed: int = 0,
) -> Float[Tensor, " 3"]:
    """Train a linear model (w1, w2, bias) on batches of four images.

    With `equibatch`, background and class take turns in giving an image to the batch, as with
    `data.equibatch` of a training; without, each epoch shows every image once.
    """
    images_of = [list(range(len(x))), y.any(1).nonzero()[:, 0].tolist()] if equibatch else None
    batches = iter(ShareSampler(len(x), 4, seed, images_of=images_of))
    line = 0.1 * torch.randn(3, generator=torch.Generator().manual_seed(seed))
    line.requires_grad_()
    optimizer = torch.optim.Adam([line], lr=0.05)
    for _ in range(steps):
        chosen = [index for _, index in next(batches)]
        optimizer.zero_grad()
        loss(score_pixels(line, x[chosen]), y[chosen]).backward()
        optimizer.step()
    return line.detach()


def score_pixels(line: Float[Tensor, " 3"], x: Float[Tensor, "*n 2"]) -> Float[Tensor, "*n"]:
    """Return the logit of the class at each pixel."""
    return x @ line[:2] + line[2]


def iou_of(logits: Float[Tensor, "*n"], labels: Int[Tensor, "*n"]) -> float:
    """Return the IoU of the pixels with a positive logit, over all images together."""
    truth = (labels == 1).flatten()
    return 1 - float(jaccard_loss((logits > 0).flatten() != truth, truth))


# Streets ----------------------------------------------------------------------------------------

SIDE = 4  # pixels of a cell
SET_LOSSES = ("Lovász-Softmax", "Dice", "Tversky", "Jaccard metric, soft truth")
ARMS = ("cross-entropy", *SET_LOSSES, *(f"{name} + cross-entropy" for name in SET_LOSSES))
MOVED = {
    "cross-entropy, J / (1 + J)": "thresholds from the probabilities alone",
    "cross-entropy, moved": "thresholds from the truth of the training streets",
}


@dataclass(frozen=True, slots=True)
class Cells:
    """Streets in cells of 4 x 4 pixels: features, and which fraction of a cell each class has."""

    features: Float[Tensor, "b d h w"]
    fractions: Float[Tensor, "b c h w"]  # they sum to 0 where half of a cell or more is void

    @property
    def labels(self) -> Int[Tensor, "b h w"]:
        """The most frequent class of each cell, or IGNORE."""
        return self.fractions.argmax(1).masked_fill(self.fractions.sum(1) == 0, IGNORE)


def to_cells(
    features: Float[Tensor, "b d h4 w4"], labels: Int[Tensor, "b h w"], num_classes: int
) -> Cells:
    """Return the features of cells beside the fractions of their classes."""
    known = F.avg_pool2d((labels != IGNORE).float()[:, None], SIDE)
    fractions = F.avg_pool2d(one_hot(labels, num_classes), SIDE)
    fractions = torch.where(known > 0.5, fractions / known.clamp(min=0.5), 0)
    return Cells(features, fractions)


def street_features(model: PanopticFPN, samples: Sequence[Sample]) -> Float[Tensor, "b d h4 w4"]:
    """Return the sum of the semantic head's branches, a map at stride 4 of each street."""
    images, _ = model.stack([sample.image for sample in samples])
    with torch.no_grad():
        pyramid = model.pyramid(images)
        maps = [branch(pyramid[level]) for level, branch in model.semantic_head.branches.items()]
    return torch.stack(maps).sum(0)


def losses_of_cells() -> dict[str, Callable[[Tensor, Cells], Tensor]]:
    """Return each arm's loss of logits and cells."""

    def entropy(logits: Tensor, cells: Cells) -> Tensor:
        return pixel_cross_entropy(logits, cells.labels)

    set_losses: tuple[Callable[[Tensor, Cells], Tensor], ...] = (
        lambda logits, cells: lovasz_softmax(logits.softmax(1), cells.labels, ignore=IGNORE),
        lambda logits, cells: dice_loss(logits.softmax(1), cells.labels),
        lambda logits, cells: tversky_loss(logits.softmax(1), cells.labels),
        lambda logits, cells: jaccard_metric_loss(logits.softmax(1), cells.fractions),
    )

    def with_entropy(loss: Callable[[Tensor, Cells], Tensor]) -> Callable[[Tensor, Cells], Tensor]:
        return lambda logits, cells: entropy(logits, cells) + loss(logits, cells)

    return dict(zip(ARMS, (entropy, *set_losses, *map(with_entropy, set_losses)), strict=True))


def train_cells(
    loss: Callable[[Tensor, Cells], Tensor], cells: Cells, *, steps: int = 200, seed: int = 0
) -> nn.Conv2d:
    """Train a 1x1 convolution from zero on batches of four streets; the rate falls to 0.

    A seed fixes the order of the streets.
    """
    head = nn.Conv2d(cells.features.shape[1], cells.fractions.shape[1], 1)
    for parameter in head.parameters():
        nn.init.zeros_(parameter)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    batches = iter(ShareSampler(len(cells.features), 4, seed))
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / steps)
        chosen = [index for _, index in next(batches)]
        part = Cells(cells.features[chosen], cells.fractions[chosen])
        optimizer.zero_grad()
        loss(head(part.features), part).backward()
        optimizer.step()
    return head.requires_grad_(False)


def expected_thresholds(probs: Float[Tensor, "b c h w"]) -> Float[Tensor, " c"]:
    """Return each class's threshold J / (1 + J), from the probabilities alone."""
    rows = probs.movedim(1, 0).flatten(1)
    return torch.tensor([best_expected_iou(row)[0] for row in rows]).clamp(min=1e-3)


def moved_thresholds(
    probs: Float[Tensor, "b c h w"], labels: Int[Tensor, "b h w"]
) -> Float[Tensor, " c"]:
    """Return thresholds for the best mean IoU on labeled cells: two rounds, class by class."""
    thresholds = torch.full((probs.shape[1],), 0.5)
    for _ in range(2):
        for c in range(len(thresholds)):
            candidates = []
            for value in (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6):
                moved = thresholds.clone()
                moved[c] = value
                candidates.append((mean_iou(decide(probs, moved), labels, len(moved)), value))
            thresholds[c] = max(candidates)[1]
    return thresholds


def predict_streets(
    heads: Mapping[str, nn.Conv2d], training: Cells, features: Float[Tensor, "b d h w"]
) -> dict[str, Int[Tensor, "b h2 w2"]]:
    """Return label maps at full size of each trained head, and of cross-entropy's thresholds.

    Args:
        heads: by arm, as `train_cells` returns them.
        training: what they were trained on; only here do the thresholds look at the truth.
        features: of other streets.
    """

    def probs_of(head: nn.Conv2d, maps: Tensor) -> Tensor:
        larger = F.interpolate(head(maps), scale_factor=float(SIDE), mode="bilinear")
        return larger.softmax(1)

    found = {arm: probs_of(head, features).argmax(1) for arm, head in heads.items()}
    plain = heads["cross-entropy"]
    new = probs_of(plain, features)
    at_cells = plain(training.features).softmax(1)
    found["cross-entropy, J / (1 + J)"] = decide(new, expected_thresholds(new))
    found["cross-entropy, moved"] = decide(new, moved_thresholds(at_cells, training.labels))
    return found
