"""Exercises of chapter 11: the images of a process, the rate of a step, names of weights."""

from pfpn.course.check import Exercise
from pfpn.zoo import detectron2_name

share = Exercise(
    name="11.share",
    task="Return the images that one process evaluates, each image in exactly one process.",
    difficulty=1,
    minutes=5,
    hints=(
        "Deal the images out like cards: image 0 to process 0, image 1 to process 1, ...",
        "A range with a start and a stride deals them out. Some hands may be a card short.",
    ),
)


@share.answer
def _share(num: int, rank: int, world: int) -> list[int]:
    return list(range(rank, num, world))


share.case("one process takes all", 4, 0, 1)
share.case("the second of two", 6, 1, 2)
share.case("seven images, the last of two processes", 7, 1, 2)
share.case("two images, the last of three processes", 2, 2, 3)

share.mistake(
    "You gave every process equally many by repeating images: those count twice, and "
    "the score is no longer that of the data set."
)(lambda num, rank, world: [i % num for i in range(rank, -(-num // world) * world, world)])


@share.mistake(
    "You dealt out blocks. That is fair too, but here they are dealt one by "
    "one, so that neighbours in the list go to different processes."
)
def _blocks(num: int, rank: int, world: int) -> list[int]:
    each = -(-num // world)
    return list(range(num))[rank * each : (rank + 1) * each]


share.mistake("Every process got the hand of process 0. Process r begins at image r.")(
    lambda num, rank, world: list(range(0, num, world))
)

rate = Exercise(
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

rate.mistake("The batch is left out: half the images, half the rate.")(
    lambda step, batch: _rate(step, 16)
)
rate.mistake("There is no warm-up: the first steps run at full rate.")(_without_warmup)
rate.mistake(
    "The warm-up starts at 0. It starts at a thousandth of the rate, or the first "
    "step would be lost."
)(lambda step, batch: _without_warmup(step, batch) * min(1.0, step / 1000))
rate.mistake("A milestone counts from its own step on, not from the one after it.")(
    lambda step, batch: _rate(step, batch) * (10 if step in (60_000, 80_000) else 1)
)

fpn_name = Exercise(
    name="11.fpn_name",
    task="Return our name of one of detectron2's FPN tensors, None for any other key.",
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
    return detectron2_name(key) if key.startswith("backbone.fpn_") else None


for _key in (
    "backbone.fpn_lateral2.weight",
    "backbone.fpn_output5.bias",
    "backbone.fpn_lateral4.bias",
    "proposal_generator.anchor_generator.cell_anchors.0",
):
    fpn_name.case(_key, _key)

fpn_name.mistake(
    "This is the name with its prefix changed. Inside, lateral and output have other names too."
)(lambda key: key.replace("backbone.fpn_", "fpn."))


@fpn_name.mistake("lateral and output are exchanged: the 1x1 takes c, the 3x3 gives p.")
def _exchanged(key: str) -> str | None:
    a, b = "lateral", "output"
    return _fpn_name(key.replace(a, b) if a in key else key.replace(b, a))


fpn_name.mistake("What we have no tensor for has no name: expected None, not a guess.")(
    lambda key: _fpn_name(key) or key
)

EXERCISES = (share, rate, fpn_name)
