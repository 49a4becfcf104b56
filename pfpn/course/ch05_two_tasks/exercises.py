"""Exercises of chapter 05: the weighted sum, gradients that agree, accumulation, warm-up."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pfpn.course.check import Case, Exercise, Mistake
from pfpn.engine.config import OptimConfig
from pfpn.engine.optim import learning_rate

SEMANTIC = "loss_semantic"

# 5.1 the weighted sum ----------------------------------------------------------------------------


def _total(losses: Mapping[str, float], instance: float, semantic: float) -> float:
    first = sum(value for name, value in losses.items() if name != SEMANTIC)
    return instance * first + semantic * losses.get(SEMANTIC, 0.0)


def _total_without_rpn(losses: Mapping[str, float], instance: float, semantic: float) -> float:
    first = sum(v for n, v in losses.items() if n != SEMANTIC and not n.startswith("loss_rpn"))
    return instance * first + semantic * losses.get(SEMANTIC, 0.0)


def _total_unweighted(losses: Mapping[str, float], instance: float, semantic: float) -> float:
    return sum(losses.values())


def _total_swapped(losses: Mapping[str, float], instance: float, semantic: float) -> float:
    return _total(losses, semantic, instance)


def _total_mean(losses: Mapping[str, float], instance: float, semantic: float) -> float:
    values = [value for name, value in losses.items() if name != SEMANTIC]
    first = sum(values) / max(1, len(values))
    return instance * first + semantic * losses.get(SEMANTIC, 0.0)


def _total_cases() -> list[Case]:
    both = {"loss_class": 1.0, "loss_box": 0.25, "loss_mask": 0.5, SEMANTIC: 2.0}
    rpn = {"loss_rpn_objectness": 0.5, "loss_rpn_box": 0.125}
    return [
        Case("three instance losses and the semantic one", (both, 1.0, 0.5)),
        Case("the RPN's two belong to the instance side", (both | rpn, 2.0, 0.5)),
        Case(
            "a network without the semantic branch",
            ({"loss_class": 1.0, "loss_box": 3.0}, 2.0, 0.5),
        ),
        Case("a network without the instance branch", ({SEMANTIC: 2.0}, 1.0, 0.25)),
    ]


# 5.2 the cosine of two gradients -----------------------------------------------------------------


def _cosine(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    g, h = (torch.cat([part.flatten() for part in parts]) for parts in (first, second))
    lengths = float(g.norm() * h.norm())
    return float(g @ h) / lengths if lengths else 0.0


def _dot(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    return float(sum((a * b).sum() for a, b in zip(first, second, strict=True)))


def _mean_of_cosines(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    each = [_cosine([a], [b]) for a, b in zip(first, second, strict=True)]
    return sum(each) / len(each)


def _angle(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    return float(torch.tensor(_cosine(first, second)).clamp(-1, 1).acos())


def _unsigned(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    return abs(_cosine(first, second))


def _cosine_cases() -> list[Case]:
    x, y = torch.tensor([3.0, 4.0]), torch.tensor([4.0, 3.0])
    return [
        Case("one tensor each", ([x], [y])),
        Case("opposite directions", ([x], [-2 * x])),
        Case("two tensors are one long vector", ([x, torch.ones(1)], [y, torch.tensor([[-5.0]])])),
        Case("no gradient has no direction", ([x], [torch.zeros(2)])),
    ]


# 5.3 gradients of parts --------------------------------------------------------------------------


def _accumulate(gradients: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    total = sum(sizes)
    return torch.stack([g * n / total for g, n in zip(gradients, sizes, strict=True)]).sum(0)


def _accumulate_sum(gradients: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    return torch.stack(list(gradients)).sum(0)


def _accumulate_mean(gradients: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    return torch.stack(list(gradients)).mean(0)


def _accumulate_last(gradients: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    return gradients[-1].clone()


def _accumulate_images(gradients: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    return torch.stack([g * n for g, n in zip(gradients, sizes, strict=True)]).sum(0)


def _accumulate_cases() -> list[Case]:
    a, b = torch.tensor([1.0, -2.0]), torch.tensor([5.0, 4.0])
    return [
        Case("two parts of two images", ([a, b], [2, 2])),
        Case("one part is the whole batch", ([a], [4])),
        Case("parts of three and one image", ([a, b], [3, 1])),
    ]


# 5.4 warm-up -------------------------------------------------------------------------------------


def _warmup(rate: float, step: int, warmup_steps: int, factor: float) -> float:
    config = OptimConfig(
        lr=rate, warmup_steps=warmup_steps, warmup_factor=factor, schedule="constant"
    )
    return learning_rate(config, step, 0.0)


def _warmup_from_zero(rate: float, step: int, warmup_steps: int, factor: float) -> float:
    return rate * min(1.0, step / max(1, warmup_steps))


def _warmup_early(rate: float, step: int, warmup_steps: int, factor: float) -> float:
    done = min(1.0, (step + 1) / max(1, warmup_steps))
    return rate * (factor * (1 - done) + done)


def _warmup_endless(rate: float, step: int, warmup_steps: int, factor: float) -> float:
    done = step / max(1, warmup_steps)
    return rate * (factor * (1 - done) + done)


def _warmup_jump(rate: float, step: int, warmup_steps: int, factor: float) -> float:
    return rate * (factor if step < warmup_steps else 1.0)


def _warmup_cases() -> list[Case]:
    return [
        Case("half of the way", (0.5, 4, 8, 0.25)),
        Case("the first step", (0.5, 0, 8, 0.25)),
        Case("the last step of the warm-up", (0.5, 7, 8, 0.25)),
        Case("after the warm-up", (0.5, 20, 8, 0.25)),
        Case("no warm-up", (0.5, 0, 0, 0.25)),
    ]


EXERCISES = (
    Exercise(
        name="05.total_loss",
        task="Return L = li (L_c + L_b + L_m, and the RPN's two) + ls L_s for a dict of losses.",
        difficulty=1,
        minutes=5,
        hints=(
            "All names but one belong to the instance side.",
            "A branch may be switched off: then its names are not in the dict at all.",
        ),
        reference=_total,
        cases=_total_cases,
        mistakes=(
            Mistake("The weights are missing: this is the plain sum.", _total_unweighted),
            Mistake("The two weights changed places.", _total_swapped),
            Mistake("You averaged the instance losses. The paper adds them.", _total_mean),
            Mistake(
                "The RPN's losses are missing. The paper does not spell them out, but counts them "
                "to the instance side.",
                _total_without_rpn,
            ),
        ),
    ),
    Exercise(
        name="05.gradient_cosine",
        task="Return the cosine of the angle between two gradients, each a list of tensors.",
        difficulty=2,
        minutes=10,
        hints=(
            "All tensors of one gradient together are one long vector.",
            "Flatten and join first, then divide the inner product by both lengths; 0.0 if one of "
            "them has none.",
        ),
        reference=_cosine,
        cases=_cosine_cases,
        mistakes=(
            Mistake("This is the inner product. Divide it by both lengths.", _dot),
            Mistake("This is the angle. Its cosine is wanted.", _angle),
            Mistake("The sign is lost, and with it whether two tasks pull apart.", _unsigned),
            Mistake(
                "You averaged one cosine per tensor. A tensor with a tiny gradient then counts as "
                "much as a huge one; join them first.",
                _mean_of_cosines,
            ),
        ),
    ),
    Exercise(
        name="05.accumulate",
        task="Join gradients of mean losses over parts of a batch into that of the whole batch.",
        difficulty=2,
        minutes=10,
        hints=(
            "The mean over 4 images is half the mean over the first 2 and half that of the others.",
            "With unequal parts, each part counts by its share of the images.",
        ),
        reference=_accumulate,
        cases=_accumulate_cases,
        mistakes=(
            Mistake(
                "You added the parts. Each loss is a mean already, so the step is now as many "
                "times too long as there are parts.",
                _accumulate_sum,
            ),
            Mistake(
                "Only the last part is left. Was the gradient set to zero between the parts?",
                _accumulate_last,
            ),
            Mistake(
                "You multiplied by the numbers of images and did not divide by their sum.",
                _accumulate_images,
            ),
            Mistake(
                "A plain mean treats an image of a small part as worth more. Weigh by size.",
                _accumulate_mean,
            ),
        ),
    ),
    Exercise(
        name="05.warmup",
        task="Return the learning rate of a step (from 0) with linear warm-up from factor * rate.",
        difficulty=2,
        minutes=8,
        hints=(
            "At step 0 it is factor * rate, at step warmup_steps it is rate, in between a line.",
            "Mix factor and 1 by the share of the warm-up that is done; after it nothing is mixed.",
        ),
        reference=_warmup,
        cases=_warmup_cases,
        mistakes=(
            Mistake("It starts at 0. It should start at factor * rate.", _warmup_from_zero),
            Mistake("A step early: step 0 is the first one, nothing is done yet.", _warmup_early),
            Mistake(
                "It never stops rising. After the warm-up the rate is the rate.", _warmup_endless
            ),
            Mistake("It jumps. Warm-up rises by the same amount at each step.", _warmup_jump),
        ),
    ),
)
