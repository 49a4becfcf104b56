"""Exercises of chapter 00: ids as colors, a map from two maps, and objects as regions."""

import torch
from torch import Tensor

from pfpn.course.ch00_overview.numbers import SIDES, count_regions
from pfpn.course.check import Exercise
from pfpn.course.draw import Draw

# 00.id_to_color -----------------------------------------------------------------------------------

COLOR = Exercise(
    name="00.id_to_color",
    task="Return the color (red, green, blue) that a segment id has in an id PNG.",
    difficulty=1,
    minutes=5,
    hints=(
        "The color is the id written with three digits, and a digit goes from 0 to 255. Which "
        "digit comes first?",
        "Red is the remainder of the id divided by 256. Green is the remainder of the quotient "
        "divided by 256. In Python, // gives the quotient and % the remainder.",
    ),
)


@COLOR.answer
def id_to_color(segment_id: int, base: int = 256) -> tuple[int, int, int]:
    """Return (red, green, blue) of a segment id: its digits, the lowest first."""
    return segment_id % base, segment_id // base % base, segment_id // base**2


COLOR.case("a small id is a shade of red", 7)
COLOR.case("256 carries over to green", 300)
COLOR.case("65536 carries over to blue", 65536 + 2 * 256 + 3)
COLOR.case("the largest id is white", 2**24 - 1)


@COLOR.random
def _(draw: Draw) -> tuple[int]:
    red, green, blue = (draw.pick(0, draw.integer(0, 255), 255) for _ in range(3))
    return (red + 256 * green + 65536 * blue,)


COLOR.mistake(
    "Red and blue are swapped. The lowest byte of the id is red. (A library that stores pictures "
    "as BGR has the same effect.)"
)(lambda number: id_to_color(number)[::-1])

COLOR.mistake(
    "You divide by 255. A byte has 256 values, 0 to 255, so 256 is the first id that does not fit "
    "into red."
)(lambda number: id_to_color(number, 255))

COLOR.mistake(
    "A digit above 255 is not a color. Take away from the id what the next byte holds: what is "
    "left?"
)(lambda number: (number, number // 256, number // 65536))

COLOR.mistake("Blue is 0 in every color. What does not fit into red and green belongs to blue.")(
    lambda number: (number % 256, number // 256 % 256, 0)
)

# 00.panoptic_ids ----------------------------------------------------------------------------------

IDS = Exercise(
    name="00.panoptic_ids",
    task="From a class and an instance number for each pixel, make one id map: 1000 (class + 1) + "
    "instance for things, 1000 (class + 1) for stuff, 0 for void.",
    difficulty=2,
    minutes=15,
    hints=(
        "Three kinds of pixels get three kinds of ids. Make one mask for things (labels below "
        "num_things) and one for void (label 255).",
        "torch.where(condition, a, b) takes a where the condition is true and b elsewhere. Use it "
        "first to set the instance numbers of stuff to 0, and at the end for void.",
    ),
)


@IDS.answer
def panoptic_ids(
    label_map: Tensor, instance_map: Tensor, num_things: int, first: int = 1
) -> Tensor:
    """Return one id map from a class and an instance number for each pixel."""
    instances = torch.where(label_map < num_things, instance_map, 0)
    return torch.where(label_map == 255, 0, 1000 * (label_map + first) + instances)


IDS.case(
    "two people (class 1) side by side", torch.tensor([[1, 1, 1]]), torch.tensor([[1, 1, 2]]), 2
)
IDS.case(
    "car 1 (class 0) and person 1 differ by their class",
    torch.tensor([[0, 1]]),
    torch.tensor([[1, 1]]),
    2,
)
IDS.case(
    "road (class 2) is stuff: its instance numbers mean nothing",
    torch.tensor([[2, 2, 0]]),
    torch.tensor([[5, 6, 1]]),
    2,
)
IDS.case(
    "void (label 255) has id 0",
    torch.tensor([[255, 2], [0, 255]]),
    torch.tensor([[0, 0], [3, 1]]),
    2,
)


@IDS.random
def _(draw: Draw) -> tuple[Tensor, Tensor, int]:
    size = draw.integer(1, 3), draw.integer(1, 4)
    labels = draw.integers(*size, low=0, high=5)
    labels[labels == 5] = 255
    return labels, draw.integers(*size, low=0, high=12), draw.integer(0, 5)


IDS.mistake(
    "Your road has several segments. The instance numbers of stuff carry no meaning: all pixels of "
    "a stuff class in an image are one segment."
)(lambda labels, instances, num_things: panoptic_ids(labels, instances, 255))

IDS.mistake("Void got an id of its own, as if 255 were a class. Void is no segment: its id is 0.")(
    lambda labels, instances, num_things: (
        1000 * (labels + 1) + torch.where(labels < num_things, instances, 0)
    )
)


@IDS.mistake(
    "The class is missing from the id of things, so car 1 and person 1 become one segment."
)
def _(label_map: Tensor, instance_map: Tensor, num_things: int) -> Tensor:
    ids = torch.where(label_map < num_things, instance_map, 1000 * (label_map + 1))
    return torch.where(label_map == 255, 0, ids)


IDS.mistake(
    "You multiplied the class itself by 1000. Then stuff of class 0 has id 0, which means void. "
    "The rule adds 1 to the class first."
)(lambda labels, instances, num_things: panoptic_ids(labels, instances, num_things, 0))

IDS.mistake(
    "You treated the label num_things as a thing. Things are the labels below it; the label "
    "num_things itself is stuff."
)(lambda labels, instances, num_things: panoptic_ids(labels, instances, num_things + 1))

# 00.count_regions ---------------------------------------------------------------------------------

REGIONS = Exercise(
    name="00.count_regions",
    task="Count the connected regions of a mask. Two pixels are connected if they share a side.",
    difficulty=3,
    minutes=20,
    hints=(
        "Take any pixel that is not yet visited, and visit every pixel that you can reach from it "
        "by steps to the four sides. How often do you have to start again?",
        "Keep two collections: the pixels that are not yet visited, and the border of the region "
        "that grows. Take one pixel from the border, and move its neighbors from the first "
        "collection to the border. When the border is empty, one region is complete.",
    ),
)
REGIONS.answer(count_regions)


def _mask(text: str) -> Tensor:
    return torch.tensor([[letter == "#" for letter in row] for row in text.split()])


REGIONS.case("one block", _mask("##. ##."))
REGIONS.case("two blocks with a gap", _mask("##.# ##.#"))
REGIONS.case("a corner does not connect", _mask("#. .#"))
REGIONS.case("the letter U is one region: a way leads up again", _mask("#.# #.# ###"))
REGIONS.case("a spiral is one region", _mask("##### ....# ###.# #...# #####"))
REGIONS.case("nothing at all", _mask("... ..."))


@REGIONS.random
def _(draw: Draw) -> tuple[Tensor]:
    mask = draw.mask(draw.integer(1, 6), draw.integer(1, 6))
    return (mask | draw.mask(*mask.shape) if draw.pick(False, True) else mask,)


REGIONS.mistake("That is the number of pixels. A region is a set of connected pixels.")(
    lambda mask: int(mask.sum())
)
REGIONS.mistake(
    "That is the number of runs in all rows. Pixels are also connected from one row to the next."
)(lambda mask: count_regions(mask, ((0, -1), (0, 1))))

REGIONS.mistake("You connect pixels that touch at a corner. Here they must share a side.")(
    lambda mask: count_regions(mask, (*SIDES, (-1, -1), (-1, 1), (1, -1), (1, 1)))
)


REGIONS.mistake(
    "You look to the right and down only. A region can also grow to the left and up: the two arms "
    "of the letter U meet at its bottom."
)(lambda mask: count_regions(mask, ((1, 0), (0, 1))))

EXERCISES = (COLOR, IDS, REGIONS)
