"""Exercises of chapter 05: the weighted sum, gradients that agree, accumulation, warm-up."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pfpn.course.check import Exercise
from pfpn.course.draw import Draw

SEMANTIC = "loss_semantic"

total_loss = Exercise(
    name="05.total_loss",
    task="Return the total loss of a dict of losses: `instance` times the sum of the instance "
    "losses (the RPN's two are among them), plus `semantic` times the semantic loss.",
    difficulty=1,
    minutes=5,
    hints=(
        "All names but one belong to the instance losses.",
        "A branch may be switched off. Then its names are not in the dict at all.",
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
total_loss.case("the RPN's two losses are instance losses", BOTH | RPN, 2.0, 0.5)
total_loss.case("a network without the semantic branch", BOXES, 2.0, 0.5)
total_loss.case("a network without the instance branch", {SEMANTIC: 2.0}, 1.0, 0.25)

INSTANCE_NAMES = ("loss_class", "loss_box", "loss_mask", "loss_rpn_objectness", "loss_rpn_box")


@total_loss.random
def _random_losses(draw: Draw) -> tuple[Mapping[str, float], float, float]:
    names = [*INSTANCE_NAMES, SEMANTIC]
    losses = {name: draw.number(0, 4) for name in names if draw.pick(False, True)}
    return losses, draw.number(0, 3), draw.number(0, 3)


total_loss.mistake("The weights are missing: this is the plain sum.")(
    lambda losses, instance, semantic: sum(losses.values())
)
total_loss.mistake("The two weights are swapped.")(
    lambda losses, instance, semantic: _total(losses, semantic, instance)
)


@total_loss.mistake("You took the mean of the instance losses. The paper adds them.")
def _mean_of_losses(losses: Mapping[str, float], instance: float, semantic: float) -> float:
    return _total(losses, instance / max(1, len(losses.keys() - {SEMANTIC})), semantic)


@total_loss.mistake(
    "The RPN's losses are missing. The paper does not write them down, but counts them as instance "
    "losses."
)
def _without_rpn(losses: Mapping[str, float], instance: float, semantic: float) -> float:
    rest = {n: value for n, value in losses.items() if not n.startswith("loss_rpn")}
    return _total(rest, instance, semantic)


total_loss.mistake(
    "The semantic loss is in your sum of the instance losses as well. It has a weight of its own."
)(lambda losses, instance, semantic: _total(losses, instance, instance + semantic))

gradient_cosine = Exercise(
    name="05.gradient_cosine",
    task="Return the cosine of the angle between two gradients, each a list of tensors.",
    difficulty=2,
    minutes=10,
    hints=(
        "All tensors of one gradient together are one long vector.",
        "Flatten and join the tensors first. Then divide the inner product by both lengths, and "
        "return 0.0 if one of the lengths is 0.",
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
gradient_cosine.case("a gradient of zeros has no direction", [X], [torch.zeros(2)])


@gradient_cosine.random
def _random_gradients(draw: Draw) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    shapes = [draw.pick((1,), (2,), (1, 2), (2, 2)) for _ in range(draw.integer(1, 3))]
    first, second = ([draw.tensor(*shape) for shape in shapes] for _ in range(2))
    return first, second


@gradient_cosine.mistake("This is the inner product. Divide it by both lengths.")
def _inner_product(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    return float(sum((a * b).sum() for a, b in zip(first, second, strict=True)))


@gradient_cosine.mistake("This is the angle. Return its cosine.")
def _angle(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    return float(torch.tensor(_cosine(first, second)).clamp(-1, 1).acos())


gradient_cosine.mistake(
    "The sign is missing. It shows whether the two gradients point in opposite directions."
)(lambda first, second: abs(_cosine(first, second)))


@gradient_cosine.mistake(
    "You took the mean of one cosine per tensor. Then a tensor with a tiny gradient counts as much "
    "as one with a huge gradient. Join the tensors first."
)
def _mean_of_cosines(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    each = [_cosine([a], [b]) for a, b in zip(first, second, strict=True)]
    return sum(each) / len(each)


@gradient_cosine.mistake(
    "You divided by the squares of the lengths. Take the square root, or use `norm`."
)
def _by_squares(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    squares = [float(sum((part**2).sum() for part in parts)) for parts in (first, second)]
    below = squares[0] * squares[1]
    return float(_inner_product(first, second)) / below if below else 0.0


accumulate = Exercise(
    name="05.accumulate",
    task="From the gradients of the mean losses over the parts of a batch, return the gradient of "
    "the mean loss over the whole batch.",
    difficulty=2,
    minutes=10,
    hints=(
        "The mean over 4 images is half of the mean over the first 2 images plus half of the mean "
        "over the other 2.",
        "If the parts have different sizes, each counts in proportion to its number of images.",
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


@accumulate.random
def _random_parts(draw: Draw) -> tuple[Sequence[Tensor], Sequence[int]]:
    parts, size = draw.integer(1, 4), draw.integer(1, 3)
    return [draw.tensor(size) for _ in range(parts)], [draw.integer(1, 5) for _ in range(parts)]


accumulate.mistake(
    "You added the gradients. Each of them belongs to a mean already, so with two parts your step "
    "is twice as long as it should be."
)(lambda gradients, sizes: torch.stack(gradients).sum(0))
accumulate.mistake(
    "You return the gradient of the last part only. Did you set it to zero between the parts?"
)(lambda gradients, sizes: gradients[-1])
accumulate.mistake("You multiplied by the numbers of images, but did not divide by their sum.")(
    lambda gradients, sizes: sum(g * n for g, n in zip(gradients, sizes, strict=True))
)
accumulate.mistake(
    "In a plain mean an image of a small part counts more. Use the sizes as weights."
)(lambda gradients, sizes: torch.stack(gradients).mean(0))

warmup = Exercise(
    name="05.warmup",
    task="Return the learning rate of a step, counted from 0, with a linear warm-up that starts at "
    "factor * rate.",
    difficulty=2,
    minutes=8,
    hints=(
        "At step 0 it is factor * rate, at step warmup_steps it is rate, and a straight line in "
        "between.",
        "Let done be the fraction of the warm-up that is over, at most 1. The rate is multiplied "
        "by factor * (1 - done) + done.",
    ),
)


@warmup.answer
def _warmup(rate: float, step: int, warmup_steps: int, factor: float) -> float:
    done = 1.0 if step >= warmup_steps else step / warmup_steps
    return _line(done, rate, factor)


def _line(done: float, rate: float, factor: float) -> float:
    return rate * (factor * (1 - done) + done)


warmup.case("half of the way", 0.5, 4, 8, 0.25)
warmup.case("the first step", 0.5, 0, 8, 0.25)
warmup.case("the last step of the warm-up", 0.5, 7, 8, 0.25)
warmup.case("after the warm-up", 0.5, 20, 8, 0.25)
warmup.case("no warm-up", 0.5, 0, 0, 0.25)


@warmup.random
def _random_step(draw: Draw) -> tuple[float, int, int, float]:
    steps = draw.integer(0, 10)
    return draw.number(0.125, 4), draw.integer(0, 2 * steps), steps, draw.number(0, 1)


warmup.mistake("Your warm-up starts at 0. It should start at factor * rate.")(
    lambda rate, step, warmup_steps, factor: _warmup(rate, step, warmup_steps, 0.0)
)
warmup.mistake("Your rate is one step ahead. At step 0 nothing of the warm-up is done yet.")(
    lambda rate, step, warmup_steps, factor: _warmup(rate, step + 1, warmup_steps, factor)
)
warmup.mistake("Your rate rises without end. After the warm-up it stays at `rate`.")(
    lambda rate, step, warmup_steps, factor: (
        _line(step / warmup_steps, rate, factor) if warmup_steps else rate
    )
)
warmup.mistake("Your rate jumps. In a warm-up it rises by the same amount at each step.")(
    lambda rate, step, warmup_steps, factor: rate * (factor if step < warmup_steps else 1.0)
)

warmup.mistake(
    "Your rate starts at `factor` itself. It should start at factor * rate, a fraction of the rate."
)(
    lambda rate, step, warmup_steps, factor: (
        factor + (rate - factor) * (min(1.0, step / warmup_steps) if warmup_steps else 1.0)
    )
)

EXERCISES = (total_loss, gradient_cosine, accumulate, warmup)
