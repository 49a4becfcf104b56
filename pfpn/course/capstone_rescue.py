"""The capstone on Lovász: rescue a training of a semantic head that its loss has ruined.

The backbone and the FPN are the trained ones and stay as they are; a semantic head of all eleven
classes is trained from scratch on their features, which takes seconds. `ruined_loss` has four
faults, each of which has a test of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from torch import Tensor

from pfpn.course.capstone_figures import draw_labels
from pfpn.course.capstone_parts import StageError, attempt, kind
from pfpn.course.capstone_report import (
    Capstone,
    CapstoneReport,
    Parts,
    heading,
    session,
    unanswered,
)
from pfpn.course.iou import mean_iou
from pfpn.data.toy import ToyStreet
from pfpn.data.transforms import to_label_map
from pfpn.losses import lovasz_softmax
from pfpn.plot.boxes import draw_image
from pfpn.plot.style import subplots
from pfpn.semantic import SemanticHead
from pfpn.structures import IGNORE, things

Loss = Callable[[Tensor, Tensor, float], Tensor]  # of logits, labels and progress
TRAIN_STREETS, TRAIN_SEED, BATCH, STEPS, RATE = 40, 8, 4, 120, 5e-3
NUM_CLASSES = 11
MARGIN = 0.05  # by which the mean IoU may stay below the package's: the spread over seeds is less
SURE = 30.0  # a logit of a pixel that is surely right


def ruined_loss(
    logits: Float[Tensor, "b c h w"], labels: Int[Tensor, "b h w"], progress: float
) -> Float[Tensor, ""]:
    """Return Lovász-Softmax as somebody put it in place of cross-entropy, with four faults."""
    probs = logits.softmax(1).softmax(1)
    known = labels.clamp(max=logits.shape[1] - 1)
    return lovasz_softmax(probs, known, classes="all")


def rescued_loss(
    logits: Float[Tensor, "b c h w"], labels: Int[Tensor, "b h w"], progress: float
) -> Float[Tensor, ""]:
    """Return cross-entropy plus Lovász-Softmax over the classes that are present."""
    lovasz = lovasz_softmax(logits.softmax(1), labels, classes="present", ignore=IGNORE)
    return F.cross_entropy(logits, labels, ignore_index=IGNORE) + lovasz


@dataclass(frozen=True, slots=True)
class Data:
    """Features of the frozen pyramid with labels at stride 4."""

    pyramids: list[dict[str, Tensor]]
    labels: list[Tensor]


@cache
def data(evaluation: bool) -> Data:
    """Return the streets of the session for evaluation, others for training."""
    shared = session()
    world = ToyStreet(TRAIN_STREETS, TRAIN_SEED)
    streets = shared.streets if evaluation else tuple(world[i] for i in range(len(world)))
    package = shared.network.package
    pyramids, labels = [], []
    num_things = len(things(shared.trained.categories))
    for sample in streets:
        stacked, _ = package.stack([sample.image])
        with torch.no_grad():
            pyramids.append(package.pyramid(stacked))
        full = to_label_map(sample.panoptic, num_things, all_classes=True)
        labels.append(full[None, 2::4, 2::4])  # at the middle of each cell
    return Data(pyramids, labels)


def train_head(loss: Loss, seed: int = 0) -> SemanticHead:
    """Train a semantic head from scratch with a loss, on the frozen pyramid.

    Raises:
        StageError: the loss raises an error, or is not a finite number.
    """
    torch.manual_seed(seed)
    config, items = session().trained.model.config, data(evaluation=False)
    head = SemanticHead(config.pyramid_channels, config.semantic_channels, NUM_CLASSES)
    optimizer = torch.optim.Adam(head.parameters(), lr=RATE)
    rng = torch.Generator().manual_seed(seed)
    for step in range(STEPS):
        chosen = torch.randperm(len(items.labels), generator=rng)[:BATCH].tolist()
        pyramid = {
            level: torch.cat([items.pyramids[i][level] for i in chosen])
            for level in items.pyramids[0]
        }
        labels = torch.cat([items.labels[i] for i in chosen])
        value = attempt("loss", loss, head(pyramid), labels, step / STEPS)
        if not isinstance(value, Tensor) or value.ndim or not bool(value.isfinite()):
            found = kind(value) if not isinstance(value, Tensor) or value.ndim else value.item()
            raise StageError("loss", f"expected a finite number as a tensor, found {found}")
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    return head


@torch.no_grad()
def predict_labels(head: SemanticHead) -> list[Tensor]:
    """Return the best class of each cell of the streets, at stride 4."""
    return [head(pyramid).argmax(1)[0] for pyramid in data(evaluation=True).pyramids]


def score_labels(predicted: Sequence[Tensor]) -> float:
    """Return the mean IoU over the classes, of label maps of all streets, in [0, 1]."""
    truth = torch.cat([labels.flatten() for labels in data(evaluation=True).labels])
    return mean_iou(torch.cat([labels.flatten() for labels in predicted]), truth, NUM_CLASSES)


@cache
def package_result(loss: Loss) -> tuple[list[Tensor], float]:
    """Return the label maps and the mean IoU after a training with one of the losses here."""
    found = predict_labels(train_head(loss))
    return found, score_labels(found)


# Tests of a loss by its symptoms ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Symptom:
    """A test of a loss: what is done, and what its failing means."""

    stage: str
    test: Callable[[Loss], str]  # "" if the loss passes, else what was found


def _scene() -> tuple[Tensor, Tensor]:
    """Return logits that are surely right, and labels of two classes of eleven."""
    labels = torch.zeros(1, 24, 32, dtype=torch.int64)
    labels[:, 12:] = 1
    logits = SURE * F.one_hot(labels, NUM_CLASSES).permute(0, 3, 1, 2).float()
    return logits, labels


def _value(loss: Loss, logits: Tensor, labels: Tensor, progress: float = 0.5) -> float:
    return float(attempt("loss", loss, logits, labels, progress))


def seek_floor(loss: Loss) -> str:
    """A network that is surely right should pay nothing."""
    value = _value(loss, *_scene())
    return f"a network that is surely right everywhere pays {value:.2f}" if value > 0.01 else ""


def seek_ignored(loss: Loss) -> str:
    """A pixel without a label should pull at nothing."""
    logits, labels = _scene()
    logits = (0.1 * logits).requires_grad_()
    labels[:, :4] = IGNORE
    value = attempt("loss", loss, logits, labels, 0.5)
    (slope,) = torch.autograd.grad(value, logits)
    pull = float(slope[:, :, :4].abs().sum() / slope.abs().sum().clamp(min=1e-12))
    return f"{100 * pull:.0f} % of the gradient is at pixels without a label" if pull > 0.01 else ""


def seek_absent(loss: Loss) -> str:
    """One pixel that names a class which is not there should cost about one pixel."""
    logits, labels = _scene()
    logits *= 8 / SURE  # sure enough; of cross-entropy, one such pixel costs 0.01
    before = _value(loss, logits, labels, 0.9)
    logits[:, :, 0, 0] = 8 * F.one_hot(torch.tensor(7), NUM_CLASSES).float()
    value = _value(loss, logits, labels, 0.9) - before
    if value > 0.06:
        return f"a single wrong pixel of {labels.numel()}, of an absent class, costs {value:.2f}"
    return ""


def seek_start(loss: Loss) -> str:
    """At the start of the training, surely wrong pixels should be pulled."""
    logits, labels = _scene()
    wrong = (0.4 * logits.roll(1, dims=1)).requires_grad_()
    (slope,) = torch.autograd.grad(attempt("loss", loss, wrong, labels, 0.0), wrong)
    (usual,) = torch.autograd.grad(F.cross_entropy(wrong, labels), wrong)
    ratio = float(slope.abs().sum() / usual.abs().sum())
    if ratio < 0.1:
        return f"on surely wrong pixels the gradient is {ratio:.5f} of that of cross-entropy"
    return ""


def seek_lovasz(loss: Loss) -> str:
    """At the end of the training the loss should still see the IoU."""
    logits, labels = _scene()
    logits = 0.1 * logits + torch.randn(logits.shape, generator=torch.Generator().manual_seed(0))
    values = [logits.clone().requires_grad_() for _ in range(2)]
    (slope,) = torch.autograd.grad(attempt("loss", loss, values[0], labels, 1.0), values[0])
    (usual,) = torch.autograd.grad(F.cross_entropy(values[1], labels), values[1])
    cosine = float(F.cosine_similarity(slope.flatten(), usual.flatten(), dim=0))
    return "at the end its gradient is that of cross-entropy alone" if cosine > 0.999 else ""


SYMPTOMS = (
    Symptom("floor", seek_floor),
    Symptom("ignored pixels", seek_ignored),
    Symptom("absent classes", seek_absent),
    Symptom("start", seek_start),
    Symptom("Lovász", seek_lovasz),
)


def examine_rescue(capstone: Capstone, parts: Parts) -> CapstoneReport:
    """Return the report on a learner's loss: the tests of symptoms, then the training itself."""
    lines, stage = [heading(capstone)], ""
    try:
        for symptom in SYMPTOMS:
            found = symptom.test(parts["loss"])
            if not found:
                lines.append(f"  + {symptom.stage}")
                continue
            stage = stage or symptom.stage
            lines.append(f"  x {symptom.stage}: {found}. {capstone.look[symptom.stage]}")
        yours = predict_labels(train_head(parts["loss"]))
    except NotImplementedError:
        return unanswered(capstone)
    except StageError as error:
        text = "\n".join([*lines, f"  x {error.stage}: {error}"])
        return CapstoneReport(text, stage=stage or error.stage)
    score = score_labels(yours)
    ours, best = package_result(rescued_loss)
    _, ruined = package_result(ruined_loss)
    if score < best - MARGIN:
        stage = stage or "training"
        lines.append(f"  x training: {100 * MARGIN:.0f} points or more below ours")
        lines += [f"  {capstone.look['training']}"] if stage == "training" else []
    lines += [
        f"  mean IoU over {len(ours)} streets, after {STEPS} steps",
        f"    ruined {100 * ruined:5.1f}   yours {100 * score:5.1f}   ours {100 * best:5.1f}",
    ]
    if not stage:
        return CapstoneReport("\n".join(lines), right=True)
    street = worst_street(ours, yours)
    lines.append(f"  The street where yours falls furthest behind: {street}")
    figure = plot_labels(street, ours[street], yours[street])
    alt = (
        f"Street {street}: the image, its classes, ours and yours after {STEPS} steps. The mean "
        f"IoU over all streets is {100 * best:.0f} and {100 * score:.0f}."
    )
    return CapstoneReport("\n".join(lines), False, stage, street, None, figure, alt)


def worst_street(ours: Sequence[Tensor], yours: Sequence[Tensor]) -> int:
    """Return the street on which most cells are right in ours and wrong in yours."""
    lost = [
        int(((a == truth[0]) & (b != truth[0])).sum())
        for truth, a, b in zip(data(evaluation=True).labels, ours, yours, strict=True)
    ]
    return max(range(len(lost)), key=lost.__getitem__)


def plot_labels(street: int, ours: Tensor, yours: Tensor) -> Figure:
    """Draw a street, its classes, and two label maps at stride 4."""
    shared = session()
    sample = shared.streets[street]
    figure, panels = subplots(9.2, 1.9, 1, 4)
    draw_image(panels[0], sample.image, f"street {street}")
    truth = data(evaluation=True).labels[street][0]
    titles: dict[str, Any] = {"truth": truth, "ours": ours, "yours": yours}
    for axes, (title, labels) in zip(panels[1:], titles.items(), strict=True):
        draw_labels(axes, labels, shared.trained.categories, title)
    return figure
