"""Random cases for exercises, and how a case that fails is made small.

A generator builds the arguments of a case from decisions, each a whole number whose 0 is the
simplest. So every list of decisions makes a valid case, and a case becomes simpler when decisions
are left out or made smaller. (The idea is that of the library hypothesis, which a learner need not
install for this.)
"""

import random
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

Option = TypeVar("Option")
Arguments = tuple[Any, ...]
Decisions = tuple[int, ...]

MAX_CALLS = 400  # calls of an answer while a case is made small


class Rejected(Exception):
    """The decisions make no valid case."""


class Draw:
    """Draws the parts of a case, from given decisions first and then at random.

    Args:
        decisions: taken in their order; one that is too large becomes the largest possible.
        rng: takes the decisions after these; without it they are all 0, the simplest.
    """

    def __init__(self, decisions: Sequence[int] = (), rng: random.Random | None = None):
        self._given = list(decisions)
        self._rng = rng
        self.decisions: list[int] = []  # those that were taken

    def below(self, num: int) -> int:
        """Return a whole number from 0 to num - 1."""
        position = len(self.decisions)
        if position < len(self._given):
            decision = min(self._given[position], num - 1)
        else:
            decision = self._rng.randrange(num) if self._rng else 0
        self.decisions.append(decision)
        return decision

    def integer(self, low: int, high: int) -> int:
        """Return a whole number from low to high; the simplest is the one nearest to 0."""
        decision = self.below(high - low + 1)
        if low >= 0:
            return low + decision
        return sorted(range(low, high + 1), key=lambda value: (abs(value), value < 0))[decision]

    def pick(self, *options: Option) -> Option:
        """Return one of the options; the first is the simplest."""
        return options[self.below(len(options))]

    def number(self, low: float, high: float, step: float = 0.125) -> float:
        """Return a multiple of `step` from low to high.

        Multiples of a power of two are exact in every precision. So two right answers that
        compute in another order agree, also where they compare with a limit.
        """
        return float(step * self.integer(round(low / step), round(high / step)))

    def numbers(self, num: int, low: float, high: float, step: float = 0.125) -> list[float]:
        """Return several numbers, see `number`."""
        return [self.number(low, high, step) for _ in range(num)]

    def distinct(self, num: int, low: float, high: float, step: float = 0.125) -> list[float]:
        """Return several numbers of which no two are equal, in any order."""
        left = [float(step * k) for k in range(round(low / step), round(high / step) + 1)]
        return [left.pop(self.below(len(left))) for _ in range(num)]

    def tensor(self, *shape: int, low: float = -4.0, high: float = 4.0) -> Tensor:
        """Return a tensor of floats, all multiples of 1/8."""
        num = torch.Size(shape).numel()
        return torch.tensor(self.numbers(num, low, high), dtype=torch.float32).view(shape)

    def integers(self, *shape: int, low: int = 0, high: int = 4) -> Tensor:
        """Return a tensor of whole numbers."""
        num = torch.Size(shape).numel()
        values = [self.integer(low, high) for _ in range(num)]
        return torch.tensor(values, dtype=torch.int64).view(shape)

    def mask(self, *shape: int) -> Tensor:
        """Return a tensor of booleans; outside is the simplest."""
        return self.integers(*shape, low=0, high=1).bool()

    def require(self, condition: Any) -> None:
        """Give up these decisions unless the condition holds."""
        if not condition:
            raise Rejected


Generator = Callable[[Draw], Arguments]


def draw_cases(generator: Generator, num: int, seed: str) -> list[tuple[Arguments, Decisions]]:
    """Return the arguments of several random cases, each with the decisions that it came from.

    Raises:
        ValueError: the generator rejects nearly everything.
    """
    cases: list[tuple[Arguments, Decisions]] = []
    for attempt in range(20 * num):
        draw = Draw(rng=random.Random(f"{seed}/{attempt}"))
        try:
            cases.append((generator(draw), tuple(draw.decisions)))
        except Rejected:
            continue
        if len(cases) == num:
            return cases
    raise ValueError(
        f"draw_cases: found {len(cases)} valid cases in {20 * num} attempts, expected {num}. "
        "Does the generator require too much?"
    )


def shrink(
    generator: Generator, decisions: Decisions, fails: Callable[[Arguments], bool]
) -> Arguments:
    """Return the arguments of a simpler case that fails too, after at most MAX_CALLS calls.

    Fewer decisions are simpler than many, then smaller ones than larger ones.
    """
    best, smallest = decisions, generator(Draw(decisions))
    calls = attempts = position = 0
    candidates, progress = _simpler(best), False
    while calls < MAX_CALLS and attempts < 10 * MAX_CALLS:
        if position == len(candidates):
            if not progress:
                break
            position, progress = 0, False
        draw = Draw(candidates[position])
        position, attempts = position + 1, attempts + 1
        try:
            arguments = generator(draw)
        except Rejected:
            continue
        taken = tuple(draw.decisions)
        if (len(taken), taken) >= (len(best), best):
            continue
        calls += 1
        if fails(arguments):
            best, smallest, progress = taken, arguments, True
            candidates, position = _simpler(best), position - 1
            position = min(position, len(candidates))
    return smallest


def _simpler(decisions: Decisions) -> list[Decisions]:
    """Return decisions that may make a simpler case, those first that leave out most."""
    result = []
    size = len(decisions)
    for length in (8, 4, 2, 1):
        starts = range(size - length, -1, -1)
        result += [decisions[:i] + decisions[i + length :] for i in starts]
        if length > 1:
            result += [decisions[:i] + (0,) * length + decisions[i + length :] for i in starts]
    for i, decision in enumerate(decisions):
        smaller = dict.fromkeys(v for v in (0, decision // 2, decision - 1) if 0 <= v < decision)
        result += [(*decisions[:i], value, *decisions[i + 1 :]) for value in smaller]
        # A size that falls by one leaves one entry too many: leave that out as well.
        if decision:
            fewer = (*decisions[:i], decision - 1, *decisions[i + 1 :])
            result += [fewer[:j] + fewer[j + 1 :] for j in range(i + 1, min(size, i + 12))]
    return result
