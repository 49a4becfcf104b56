"""Exercises of chapter 11: the images of a process, the rate of a step, names of weights."""

import re

from pfpn.course.check import Exercise
from pfpn.course.draw import Draw

share = Exercise(
    name="11.share",
    task="Return the numbers of the images that process `rank` of `world` processes evaluates. "
    "Every image belongs to exactly one process.",
    difficulty=1,
    minutes=5,
    hints=(
        "Deal the images out like cards: image 0 to process 0, image 1 to process 1, and so on.",
        "Use a range with a start, an end and a step. Some processes may get one image less.",
    ),
)


@share.answer
def _share(num: int, rank: int, world: int) -> list[int]:
    return list(range(rank, num, world))


share.case("one process takes all", 4, 0, 1)
share.case("the second of two", 6, 1, 2)
share.case("seven images, the last of two processes", 7, 1, 2)
share.case("two images, the last of three processes", 2, 2, 3)


@share.random
def _random_share(draw: Draw) -> tuple[int, int, int]:
    world = draw.integer(1, 8)
    return draw.integer(0, 20), draw.integer(0, world - 1), world


share.mistake(
    "You repeated images, so that every process has equally many. Then some images count twice in "
    "the score."
)(lambda num, rank, world: [i % num for i in range(rank, -(-num // world) * world, world)])


@share.mistake(
    "You dealt out blocks. Here the images are dealt out one by one, so that neighbors in the list "
    "go to different processes."
)
def _blocks(num: int, rank: int, world: int) -> list[int]:
    each = -(-num // world)
    return list(range(num))[rank * each : (rank + 1) * each]


share.mistake("Every process got the images of process 0. Process r begins at image r.")(
    lambda num, rank, world: list(range(0, num, world))
)

rate = Exercise(
    name="11.learning_rate",
    task=(
        "Return the learning rate of a step: 0.02 for a batch of 16 images and in proportion for "
        "others, with a warm-up from a thousandth of it over 1,000 steps, divided by 10 from step "
        "60,000 on and again from step 80,000 on."
    ),
    difficulty=2,
    minutes=10,
    hints=(
        "Compute three factors one by one: batch, warm-up, milestones.",
        "The warm-up factor is a straight line from 0.001 at step 0 to 1 at step 1,000. "
        "Afterwards it stays 1.",
    ),
    tolerance=1e-7,
)


def _without_warmup(step: int, batch: int) -> float:
    return 0.02 * batch / 16 * 0.1 ** ((step >= 60_000) + (step >= 80_000))


@rate.answer
def _rate(step: int, batch: int) -> float:
    done = min(1.0, step / 1000)
    return _without_warmup(step, batch) * (0.001 * (1 - done) + done)


rate.case("in the middle of the run", 30_000, 16)
rate.case("half the batch", 30_000, 8)
rate.case("the first step", 0, 16)
rate.case("half of the warm-up", 500, 16)
rate.case("the first milestone itself", 60_000, 16)
rate.case("the end", 89_999, 16)


@rate.random
def _random_step(draw: Draw) -> tuple[int, int]:
    late = draw.pick(1000, 60_000, 80_000, 30_000) + draw.integer(-2, 2)
    return draw.pick(late, draw.integer(0, 1000), draw.integer(0, 90_000)), draw.pick(16, 8, 32, 2)


rate.mistake("You left out the batch. With half the images the rate is half as large.")(
    lambda step, batch: _rate(step, 16)
)
rate.mistake("The warm-up is missing: your first steps have the full rate.")(_without_warmup)
rate.mistake("Your warm-up starts at 0. It should start at a thousandth of the rate.")(
    lambda step, batch: _without_warmup(step, batch) * min(1.0, step / 1000)
)
rate.mistake(
    "The rate falls one step too late. It falls at step 60,000 and 80,000, not after them."
)(lambda step, batch: _rate(step, batch) * (10 if step in (60_000, 80_000) else 1))

rate.mistake(
    "You scaled with the square root of the batch. Here the rate is in proportion to the batch."
)(lambda step, batch: _rate(step, 16) * (batch / 16) ** 0.5)
rate.mistake("The second milestone is missing: from step 80,000 on the rate is divided by 100.")(
    lambda step, batch: _rate(step, batch) * (10 if step >= 80_000 else 1)
)
rate.mistake(
    "You moved the milestones with the batch. Here they stay at step 60,000 and 80,000, whatever "
    "the batch is."
)(
    lambda step, batch: (
        _rate(min(step, 1000), batch)
        * 0.1 ** ((step >= 960_000 / batch) + (step >= 1_280_000 / batch))
    )
)

fpn_name = Exercise(
    name="11.fpn_name",
    task="Return our name of one of detectron2's FPN tensors, and None for any other key.",
    difficulty=2,
    minutes=10,
    hints=(
        "fpn_lateral2 is our lateral convolution of c2, fpn_output2 the 3x3 that makes p2. "
        "Print the names of `PanopticFPN(...).fpn.state_dict()`.",
        "A regular expression with three groups: lateral or output, the level, weight or bias.",
    ),
)


@fpn_name.answer
def _fpn_name(key: str) -> str | None:
    match = re.fullmatch(r"backbone\.fpn_(lateral|output)([2-5])\.(weight|bias)", key)
    if match is None:
        return None
    kind, level, tensor = match.groups()
    layer = f"lateral.c{level}" if kind == "lateral" else f"smooth.p{level}"
    return f"fpn.{layer}.{tensor}"


for _key in (
    "backbone.fpn_lateral2.weight",
    "backbone.fpn_output5.bias",
    "backbone.fpn_lateral4.bias",
    "proposal_generator.anchor_generator.cell_anchors.0",
    "backbone.fpn_lateral2.norm.weight",
):
    fpn_name.case(_key, _key)


@fpn_name.random
def _random_key(draw: Draw) -> tuple[str]:
    kind, level = draw.pick("lateral", "output"), draw.pick(*"23451679")
    prefix = draw.pick("backbone.fpn_", "backbone.fpn_", "backbone.", "module.backbone.fpn_")
    return (f"{prefix}{kind}{level}.{draw.pick('weight', 'bias', 'weight', 'norm.bias')}",)


fpn_name.mistake("You changed only the prefix. Lateral and output have other names, too.")(
    lambda key: key.replace("backbone.fpn_", "fpn.")
)


@fpn_name.mistake(
    "Lateral and output are swapped. The lateral 1x1 reads c, the output 3x3 makes p."
)
def _exchanged(key: str) -> str | None:
    a, b = "lateral", "output"
    return _fpn_name(key.replace(a, b) if a in key else key.replace(b, a))


fpn_name.mistake("You return a name for a key that is not one of the FPN's. Return None there.")(
    lambda key: _fpn_name(key) or key
)

EXERCISES = (share, rate, fpn_name)
