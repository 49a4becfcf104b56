"""Exercises of chapter 05: the weighted sum, gradients that agree, accumulation, warm-up."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pfpn.course.check import Exercise
from pfpn.engine.config import OptimConfig
from pfpn.engine.optim import learning_rate

SEMANTIC = "loss_semantic"

total_loss = Exercise(
    name="05.total_loss",
    task="Return L = li (L_c + L_b + L_m, and the RPN's two) + ls L_s for a dict of losses.",
    difficulty=1,
    minutes=5,
    hints=(
        "All names but one belong to the instance side.",
        "A branch may be switched off: then its names are not in the dict at all.",
    ),
)


@total_loss.answer
def _total(losses: Mapping[str, float], instance: float, semantic: float) -> float:
    first = sum(value for name, value in losses.items() if name != SEMANTIC)
    return instance * first + semantic * losses.get(SEMANTIC, 0.0)


BOTH = {"loss_class": 1.0, "loss_box": 0.25, "loss_mask": 0.5, SEMANTIC: 2.0}
BOXES = {"loss_class": 1.0, "loss_box": 3.0}
RPN = {"loss_rpn_objectness": 0.5, "loss_rpn_box": 0.125}
total_loss.case("three instance losses and the semantic one", BOTH, 1.0, 0.5)
total_loss.case("the RPN's two belong to the instance side", BOTH | RPN, 2.0, 0.5)
total_loss.case("a network without the semantic branch", BOXES, 2.0, 0.5)
total_loss.case("a network without the instance branch", {SEMANTIC: 2.0}, 1.0, 0.25)

total_loss.mistake("The weights are missing: this is the plain sum.")(
    lambda losses, instance, semantic: sum(losses.values())
)
total_loss.mistake("The two weights changed places.")(
    lambda losses, instance, semantic: _total(losses, semantic, instance)
)


@total_loss.mistake("You averaged the instance losses. The paper adds them.")
def _mean_of_losses(losses: Mapping[str, float], instance: float, semantic: float) -> float:
    return _total(losses, instance / max(1, len(losses.keys() - {SEMANTIC})), semantic)


@total_loss.mistake(
    "The RPN's losses are missing. The paper does not spell them out, but counts them "
    "to the instance side."
)
def _without_rpn(losses: Mapping[str, float], instance: float, semantic: float) -> float:
    rest = {n: value for n, value in losses.items() if not n.startswith("loss_rpn")}
    return _total(rest, instance, semantic)


gradient_cosine = Exercise(
    name="05.gradient_cosine",
    task="Return the cosine of the angle between two gradients, each a list of tensors.",
    difficulty=2,
    minutes=10,
    hints=(
        "All tensors of one gradient together are one long vector.",
        "Flatten and join first, then divide the inner product by both lengths; 0.0 if one of "
        "them has none.",
    ),
)


@gradient_cosine.answer
def _cosine(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    g, h = (torch.cat([part.flatten() for part in parts]) for parts in (first, second))
    lengths = float(g.norm() * h.norm())
    return float(g @ h) / lengths if lengths else 0.0


X, Y, Z = torch.tensor([3.0, 4.0]), torch.tensor([4.0, 3.0]), torch.tensor([[-5.0]])
gradient_cosine.case("one tensor each", [X], [Y])
gradient_cosine.case("opposite directions", [X], [-2 * X])
gradient_cosine.case("two tensors are one long vector", [X, torch.ones(1)], [Y, Z])
gradient_cosine.case("no gradient has no direction", [X], [torch.zeros(2)])


@gradient_cosine.mistake("This is the inner product. Divide it by both lengths.")
def _inner_product(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    return float(sum((a * b).sum() for a, b in zip(first, second, strict=True)))


@gradient_cosine.mistake("This is the angle. Return its cosine.")
def _angle(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    return float(torch.tensor(_cosine(first, second)).clamp(-1, 1).acos())


gradient_cosine.mistake("The sign is lost, and with it whether two tasks pull apart.")(
    lambda first, second: abs(_cosine(first, second))
)


@gradient_cosine.mistake(
    "You averaged one cosine per tensor. A tensor with a tiny gradient then counts as "
    "much as a huge one; join them first."
)
def _mean_of_cosines(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    each = [_cosine([a], [b]) for a, b in zip(first, second, strict=True)]
    return sum(each) / len(each)


accumulate = Exercise(
    name="05.accumulate",
    task="Join gradients of mean losses over parts of a batch into that of the whole batch.",
    difficulty=2,
    minutes=10,
    hints=(
        "The mean over 4 images is half the mean over the first 2 and half that of the others.",
        "With unequal parts, each part counts in proportion to its number of images.",
    ),
)


@accumulate.answer
def _accumulate(gradients: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    total = sum(sizes)
    return torch.stack([g * n / total for g, n in zip(gradients, sizes, strict=True)]).sum(0)


A, B = torch.tensor([1.0, -2.0]), torch.tensor([5.0, 4.0])
accumulate.case("two parts of two images", [A, B], [2, 2])
accumulate.case("one part is the whole batch", [A], [4])
accumulate.case("parts of three and one image", [A, B], [3, 1])

accumulate.mistake(
    "You added the parts. Each loss is a mean already, so the step is now as many "
    "times too long as there are parts."
)(lambda gradients, sizes: torch.stack(gradients).sum(0))
accumulate.mistake("Only the last part is left. Was the gradient set to zero between the parts?")(
    lambda gradients, sizes: gradients[-1]
)
accumulate.mistake("You multiplied by the numbers of images and did not divide by their sum.")(
    lambda gradients, sizes: sum(g * n for g, n in zip(gradients, sizes, strict=True))
)
accumulate.mistake("A plain mean treats an image of a small part as worth more. Weigh by size.")(
    lambda gradients, sizes: torch.stack(gradients).mean(0)
)

warmup = Exercise(
    name="05.warmup",
    task="Return the learning rate of a step (from 0) with linear warm-up from factor * rate.",
    difficulty=2,
    minutes=8,
    hints=(
        "At step 0 it is factor * rate, at step warmup_steps it is rate, in between a line.",
        "Mix factor and 1 by the fraction of the warm-up that is done; after it nothing is mixed.",
    ),
)


@warmup.answer
def _warmup(rate: float, step: int, warmup_steps: int, factor: float) -> float:
    config = OptimConfig(
        lr=rate, warmup_steps=warmup_steps, warmup_factor=factor, schedule="constant"
    )
    return learning_rate(config, step, 0.0)


warmup.case("half of the way", 0.5, 4, 8, 0.25)
warmup.case("the first step", 0.5, 0, 8, 0.25)
warmup.case("the last step of the warm-up", 0.5, 7, 8, 0.25)
warmup.case("after the warm-up", 0.5, 20, 8, 0.25)
warmup.case("no warm-up", 0.5, 0, 0, 0.25)


def _line(done: float, rate: float, factor: float) -> float:
    return rate * (factor * (1 - done) + done)


warmup.mistake("It starts at 0. It should start at factor * rate.")(
    lambda rate, step, warmup_steps, factor: rate * min(1.0, step / max(1, warmup_steps))
)
warmup.mistake("A step early: step 0 is the first one, nothing is done yet.")(
    lambda rate, step, warmup_steps, factor: _line(
        min(1.0, (step + 1) / max(1, warmup_steps)), rate, factor
    )
)
warmup.mistake("It never stops rising. After the warm-up the rate is the rate.")(
    lambda rate, step, warmup_steps, factor: _line(step / max(1, warmup_steps), rate, factor)
)
warmup.mistake("It jumps. Warm-up rises by the same amount at each step.")(
    lambda rate, step, warmup_steps, factor: rate * (factor if step < warmup_steps else 1.0)
)

EXERCISES = (total_loss, gradient_cosine, accumulate, warmup)
