"""Exercises of chapter 11: the rate of a step, who evaluates what, and names of weights."""

from pfpn.course.check import Case, Exercise, Mistake
from pfpn.zoo import detectron2_name


def _rate(step: int, batch: int) -> float:
    rate = 0.02 * batch / 16
    if step < 1000:
        rate *= 0.001 * (1 - step / 1000) + step / 1000
    return rate * 0.1 ** ((step >= 60_000) + (step >= 80_000))


def _share(num: int, rank: int, world: int) -> list[int]:
    return list(range(rank, num, world))


def _name(key: str) -> str | None:
    return detectron2_name(key)


# Typical mistakes -------------------------------------------------------------------------------


def _sudden(step: int, batch: int) -> float:
    return 0.02 * batch / 16 * 0.1 ** ((step >= 60_000) + (step >= 80_000))


def _from_zero(step: int, batch: int) -> float:
    return _sudden(step, batch) * min(1.0, step / 1000)


def _unscaled(step: int, batch: int) -> float:
    return _rate(step, 16)


def _late(step: int, batch: int) -> float:
    extra = 10 if step in (60_000, 80_000) else 1
    return _rate(step, batch) * extra


def _padded(num: int, rank: int, world: int) -> list[int]:
    each = -(-num // world)
    return [i % num for i in range(rank, each * world, world)]


def _blocks(num: int, rank: int, world: int) -> list[int]:
    each = -(-num // world)
    return list(range(num))[rank * each : (rank + 1) * each]


KEYS = (
    "backbone.fpn_lateral2.weight",
    "backbone.fpn_output5.bias",
    "backbone.fpn_lateral4.bias",
    "proposal_generator.anchor_generator.cell_anchors.0",
)


def _fpn_name(key: str) -> str | None:
    import re

    match = re.fullmatch(r"backbone\.fpn_(lateral|output)(\d)\.(weight|bias)", key)
    if match is None:
        return None
    return _name(key)


EXERCISES = (
    Exercise(
        name="11.share",
        task="Return the images that one process evaluates, each image in exactly one process.",
        difficulty=1,
        minutes=5,
        hints=(
            "Deal the images out like cards: image 0 to process 0, image 1 to process 1, ...",
            "A range with a start and a stride deals them out. Some hands may be a card short.",
        ),
        reference=_share,
        cases=lambda: [
            Case("one process takes all", (4, 0, 1)),
            Case("the second of two", (6, 1, 2)),
            Case("seven images, the last of two processes", (7, 1, 2)),
            Case("two images, the last of three processes", (2, 2, 3)),
        ],
        mistakes=(
            Mistake(
                "You gave every process equally many by repeating images: those count twice, and "
                "the score is no longer that of the data set.",
                _padded,
            ),
            Mistake(
                "You dealt out blocks. That is a fair share too, but here they are dealt one by "
                "one, so that neighbours in the list go to different processes.",
                _blocks,
            ),
            Mistake(
                "Every process got the hand of process 0. Process r begins at image r.",
                lambda num, rank, world: list(range(0, num, world)),
            ),
        ),
    ),
    Exercise(
        name="11.learning_rate",
        task=(
            "Return the learning rate of a step: 0.02 for 16 images, in proportion for others, "
            "warm-up from a thousandth over 1,000 steps, a tenth from 60,000 and from 80,000 on."
        ),
        difficulty=2,
        minutes=10,
        hints=(
            "Three factors, each of its own: batch, warm-up, milestones.",
            "The warm-up factor is a straight line from 0.001 at step 0 to 1 at step 1,000.",
        ),
        reference=_rate,
        cases=lambda: [
            Case("in the middle of the run", (30_000, 16)),
            Case("half the batch", (30_000, 8)),
            Case("the first step", (0, 16)),
            Case("half of the warm-up", (500, 16)),
            Case("the first milestone itself", (60_000, 16)),
            Case("the end", (89_999, 16)),
        ],
        mistakes=(
            Mistake("The batch is left out: half the images, half the rate.", _unscaled),
            Mistake("There is no warm-up: the first steps run at full rate.", _sudden),
            Mistake(
                "The warm-up starts at 0. It starts at a thousandth of the rate, or the first "
                "step would be lost.",
                _from_zero,
            ),
            Mistake("A milestone counts from its own step on, not from the one after it.", _late),
        ),
        tolerance=1e-7,
    ),
    Exercise(
        name="11.fpn_name",
        task="Return our name of one of detectron2's FPN tensors, None for any other key.",
        difficulty=2,
        minutes=10,
        hints=(
            "fpn_lateral2 is our lateral convolution of c2, fpn_output2 the 3x3 that makes p2. "
            "Print the names of `PanopticFPN(...).fpn.state_dict()`.",
            "A regular expression with three groups: lateral or output, the level, weight or bias.",
        ),
        reference=_fpn_name,
        cases=lambda: [Case(key, (key,)) for key in KEYS],
        mistakes=(
            Mistake(
                "This is the name with its prefix changed. Inside, lateral and output have other "
                "names too.",
                lambda key: key.replace("backbone.fpn_", "fpn."),
            ),
            Mistake(
                "lateral and output are exchanged: the 1x1 takes c, the 3x3 gives p.",
                lambda key: _fpn_name(
                    key.replace("lateral", "?").replace("output", "lateral").replace("?", "output")
                ),
            ),
            Mistake(
                "What we have no tensor for has no name: expected None, not a guess.",
                lambda key: _fpn_name(key) or key,
            ),
        ),
    ),
)
