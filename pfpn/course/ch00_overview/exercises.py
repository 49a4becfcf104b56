"""Exercises of chapter 00: ids as colors, a map from two maps, and objects as regions."""

import torch
from torch import Tensor

from pfpn.course.check import Case, Exercise, Mistake

# 00.id_to_color -----------------------------------------------------------------------------------


def id_to_color(segment_id: int) -> tuple[int, int, int]:
    """Return (red, green, blue) of a segment id."""
    return segment_id % 256, segment_id // 256 % 256, segment_id // 65536


def _blue_first(segment_id: int) -> tuple[int, int, int]:
    red, green, blue = id_to_color(segment_id)
    return blue, green, red


def _base_255(segment_id: int) -> tuple[int, int, int]:
    return segment_id % 255, segment_id // 255 % 255, segment_id // 255**2


def _no_remainder(segment_id: int) -> tuple[int, int, int]:
    return segment_id, segment_id // 256, segment_id // 65536


def _forgets_blue(segment_id: int) -> tuple[int, int, int]:
    return segment_id % 256, segment_id // 256, 0


# 00.panoptic_ids ----------------------------------------------------------------------------------


def panoptic_ids(label_map: Tensor, instance_map: Tensor, num_things: int) -> Tensor:
    """Return one id map from a class and an instance number for each pixel."""
    is_thing = label_map < num_things
    is_void = label_map == 255
    ids = 1000 * (label_map + 1) + torch.where(is_thing, instance_map, 0)
    return torch.where(is_void, 0, ids)


def _keeps_instances_of_stuff(label_map: Tensor, instance_map: Tensor, num_things: int) -> Tensor:
    ids = 1000 * (label_map + 1) + instance_map
    return torch.where(label_map == 255, 0, ids)


def _numbers_void(label_map: Tensor, instance_map: Tensor, num_things: int) -> Tensor:
    return 1000 * (label_map + 1) + torch.where(label_map < num_things, instance_map, 0)


def _forgets_the_class(label_map: Tensor, instance_map: Tensor, num_things: int) -> Tensor:
    ids = torch.where(label_map < num_things, instance_map, 1000 * (label_map + 1))
    return torch.where(label_map == 255, 0, ids)


def _starts_at_0(label_map: Tensor, instance_map: Tensor, num_things: int) -> Tensor:
    ids = 1000 * label_map + torch.where(label_map < num_things, instance_map, 0)
    return torch.where(label_map == 255, 0, ids)


# 00.count_regions ---------------------------------------------------------------------------------


def count_regions(mask: Tensor) -> int:
    """Count the connected regions of a mask; a corner does not connect."""
    return _count(mask, ((-1, 0), (1, 0), (0, -1), (0, 1)))


def _count(mask: Tensor, steps: tuple[tuple[int, int], ...]) -> int:
    left = {(row, column) for row, column in mask.nonzero().tolist()}
    regions = 0
    while left:
        regions += 1
        ends = [min(left)]
        left.remove(ends[0])
        while ends:
            row, column = ends.pop()
            near = {(row + y, column + x) for y, x in steps} & left
            left -= near
            ends += sorted(near)
    return regions


def _with_corners(mask: Tensor) -> int:
    steps = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
    return _count(mask, tuple(steps))


def _right_and_down_only(mask: Tensor) -> int:
    return _count(mask, ((1, 0), (0, 1)))


def _counts_runs(mask: Tensor) -> int:
    return _count(mask, ((0, -1), (0, 1)))


def _counts_pixels(mask: Tensor) -> int:
    return int(mask.sum())


def _mask(text: str) -> Tensor:
    return torch.tensor([[letter == "#" for letter in row] for row in text.split()])


EXERCISES = (
    Exercise(
        name="00.id_to_color",
        task="Return the color (red, green, blue) that a segment id has in an id PNG.",
        difficulty=1,
        minutes=5,
        hints=(
            "The color is the id written with three digits, and a digit goes from 0 to 255. Which "
            "digit comes first?",
            "Red is what remains after division by 256. Green is the same of the whole part of "
            "that division. Python has % and // for the two.",
        ),
        reference=id_to_color,
        cases=lambda: [
            Case("a small id is a shade of red", (7,)),
            Case("256 carries over to green", (300,)),
            Case("65536 carries over to blue", (65536 + 2 * 256 + 3,)),
            Case("the largest id is white", (2**24 - 1,)),
        ],
        mistakes=(
            Mistake(
                "Your red and blue are swapped: the lowest byte of the id is red. (Libraries that "
                "keep pictures as BGR make this mistake for you.)",
                _blue_first,
            ),
            Mistake(
                "You count in steps of 255. A byte has 256 values, 0 to 255, so 256 is the first "
                "id that no longer fits into red.",
                _base_255,
            ),
            Mistake(
                "A digit above 255 is no color. What remains of the id, once the part that the "
                "next byte holds is taken away?",
                _no_remainder,
            ),
            Mistake("What does not fit into red and green belongs to blue.", _forgets_blue),
        ),
    ),
    Exercise(
        name="00.panoptic_ids",
        task=(
            "From a class and an instance number for each pixel, make one id map: "
            "1000 (class + 1) + instance for things, 1000 (class + 1) for stuff, 0 for void."
        ),
        difficulty=2,
        minutes=15,
        hints=(
            "Three kinds of pixels get three kinds of ids. Make one mask for things (labels below "
            "num_things), one for void (label 255).",
            "torch.where(condition, a, b) takes a where the condition holds and b elsewhere; use "
            "it once to silence the instance numbers of stuff, and once, last, for void.",
        ),
        reference=panoptic_ids,
        cases=lambda: [
            Case(
                "two people (class 1) side by side",
                (torch.tensor([[1, 1, 1]]), torch.tensor([[1, 1, 2]]), 2),
            ),
            Case(
                "car 1 (class 0) and person 1: the class parts them",
                (torch.tensor([[0, 1]]), torch.tensor([[1, 1]]), 2),
            ),
            Case(
                "road (class 2) is stuff: its instance numbers mean nothing",
                (torch.tensor([[2, 2, 0]]), torch.tensor([[5, 6, 1]]), 2),
            ),
            Case(
                "void (label 255) has id 0",
                (torch.tensor([[255, 2], [0, 255]]), torch.tensor([[0, 0], [3, 1]]), 2),
            ),
        ],
        mistakes=(
            Mistake(
                "Your road has several segments. An instance number of stuff carries no meaning: "
                "all of a stuff class in an image is one segment.",
                _keeps_instances_of_stuff,
            ),
            Mistake(
                "Void got an id of its own, as if 255 were a class. Void is nobody's: id 0.",
                _numbers_void,
            ),
            Mistake(
                "The class is missing from the id of things, so car 1 and person 1 become one "
                "segment.",
                _forgets_the_class,
            ),
            Mistake(
                "Class 0 gets the thousand 0, so its stuff would have id 0, which means void. The "
                "rule adds 1 to the class.",
                _starts_at_0,
            ),
        ),
    ),
    Exercise(
        name="00.count_regions",
        task=(
            "Count the connected regions of a mask; two pixels are connected if they share a side."
        ),
        difficulty=3,
        minutes=20,
        hints=(
            "Take any pixel that is not yet visited, and visit all that can be reached from it by "
            "steps to the four sides. How often do you have to start anew?",
            "Keep two collections: pixels still to be visited, and the ends of the region that "
            "grows. Take one end, move its neighbors from the first collection to the second, and "
            "go on until no end is left; then one region is done.",
        ),
        reference=count_regions,
        cases=lambda: [
            Case("one block", (_mask("##. ##."),)),
            Case("two blocks with a gap", (_mask("##.# ##.#"),)),
            Case("a corner does not connect", (_mask("#. .#"),)),
            Case("a way back up: the letter U is one region", (_mask("#.# #.# ###"),)),
            Case("a spiral is one region", (_mask("##### ....# ###.# #...# #####"),)),
            Case("nothing at all", (_mask("... ..."),)),
        ],
        mistakes=(
            Mistake(
                "That is the number of pixels. A region is all pixels that hang together.",
                _counts_pixels,
            ),
            Mistake(
                "That is the number of runs in all rows. Pixels also hang together from row to "
                "row.",
                _counts_runs,
            ),
            Mistake(
                "You let pixels touch at their corners. Here they need a side in common.",
                _with_corners,
            ),
            Mistake(
                "You look to the right and down only. A region can also grow to the left and up: "
                "the letter U joins at its bottom.",
                _right_and_down_only,
            ),
        ),
    ),
)
