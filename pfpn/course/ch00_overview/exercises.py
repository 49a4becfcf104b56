"""Exercises of chapter 00: ids as colors, a map from two maps, and objects as regions."""

import torch
from torch import Tensor

from pfpn.course.ch00_overview.numbers import SIDES, count_regions
from pfpn.course.check import Exercise

# 00.id_to_color -----------------------------------------------------------------------------------

COLOR = Exercise(
    name="00.id_to_color",
    task="Return the color (red, green, blue) that a segment id has in an id PNG.",
    difficulty=1,
    minutes=5,
    hints=(
        "The color is the id written with three digits, and a digit goes from 0 to 255. Which "
        "digit comes first?",
        "Red is what remains after division by 256. Green is the same of the whole part of that "
        "division. Python has % and // for the two.",
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

COLOR.mistake(
    "Your red and blue are swapped: the lowest byte of the id is red. (Libraries that keep "
    "pictures as BGR make this mistake for you.)"
)(lambda number: id_to_color(number)[::-1])

COLOR.mistake(
    "You count in steps of 255. A byte has 256 values, 0 to 255, so 256 is the first id that no "
    "longer fits into red."
)(lambda number: id_to_color(number, 255))

COLOR.mistake(
    "A digit above 255 is no color. What remains of the id, once the part that the next byte holds "
    "is taken away?"
)(lambda number: (number, number // 256, number // 65536))

COLOR.mistake("What does not fit into red and green belongs to blue.")(
    lambda number: (number % 256, number // 256, 0)
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
        "num_things), one for void (label 255).",
        "torch.where(condition, a, b) takes a where the condition holds and b elsewhere; use it "
        "once to set the instance numbers of stuff to 0, and once, last, for void.",
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
    "car 1 (class 0) and person 1: the class parts them",
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

IDS.mistake(
    "Your road has several segments. An instance number of stuff carries no meaning: all of a "
    "stuff class in an image is one segment."
)(lambda labels, instances, num_things: panoptic_ids(labels, instances, 255))

IDS.mistake("Void got an id of its own, as if 255 were a class. Void belongs to no segment: id 0.")(
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
    "Class 0 gets the thousand 0, so its stuff would have id 0, which means void. The rule adds 1 "
    "to the class."
)(lambda labels, instances, num_things: panoptic_ids(labels, instances, num_things, 0))

# 00.count_regions ---------------------------------------------------------------------------------

REGIONS = Exercise(
    name="00.count_regions",
    task="Count the connected regions of a mask; two pixels are connected if they share a side.",
    difficulty=3,
    minutes=20,
    hints=(
        "Take any pixel that is not yet visited, and visit all that can be reached from it by "
        "steps to the four sides. How often do you have to start anew?",
        "Keep two collections: pixels still to be visited, and the ends of the region that grows. "
        "Take one end, move its neighbors from the first collection to the second, and go on until "
        "no end is left; then one region is done.",
    ),
)
REGIONS.answer(count_regions)


def _mask(text: str) -> Tensor:
    return torch.tensor([[letter == "#" for letter in row] for row in text.split()])


REGIONS.case("one block", _mask("##. ##."))
REGIONS.case("two blocks with a gap", _mask("##.# ##.#"))
REGIONS.case("a corner does not connect", _mask("#. .#"))
REGIONS.case("a way back up: the letter U is one region", _mask("#.# #.# ###"))
REGIONS.case("a spiral is one region", _mask("##### ....# ###.# #...# #####"))
REGIONS.case("nothing at all", _mask("... ..."))

REGIONS.mistake("That is the number of pixels. A region is all pixels that are connected.")(
    lambda mask: int(mask.sum())
)
REGIONS.mistake(
    "That is the number of runs in all rows. Pixels are also connected from row to row."
)(lambda mask: count_regions(mask, ((0, -1), (0, 1))))

REGIONS.mistake("You connect pixels that touch at a corner. Here they need a side in common.")(
    lambda mask: count_regions(mask, (*SIDES, (-1, -1), (-1, 1), (1, -1), (1, 1)))
)


REGIONS.mistake(
    "You look to the right and down only. A region can also grow to the left and up: the letter U "
    "joins at its bottom."
)(lambda mask: count_regions(mask, ((1, 0), (0, 1))))

EXERCISES = (COLOR, IDS, REGIONS)
