"""Exercises of chapter 09: what is hidden, pasting by score, stuff, areas, the softer rule."""

from collections.abc import Callable, Collection, Iterator

import torch
from torch import Tensor

from pfpn.course.check import Case, Exercise
from pfpn.merge import OTHER, fill_stuff, paste_instances
from pfpn.structures import IGNORE, VOID, Segment


def _mask(*rows: str) -> Tensor:
    """Return a mask from its drawing: # is inside."""
    return torch.tensor([[letter == "#" for letter in row] for row in rows])


hidden_share = Exercise(
    name="09.hidden_share",
    task="Return the share of a mask's pixels that are taken already; 0.0 for an empty mask.",
    difficulty=1,
    minutes=5,
    hints=(
        "Two counts and a division: which pixels are in both, and how many has the mask?",
        "The divisor is the area of the mask itself, not of what is taken and not of both.",
    ),
)


def _fraction(part: Tensor, whole: Tensor) -> float:
    return int(part.sum()) / max(1, int(whole.sum()))


@hidden_share.answer
def _hidden_share(mask: Tensor, taken: Tensor) -> float:
    return _fraction(mask & taken, mask)


@hidden_share.examples
def _hidden_cases() -> Iterator[Case]:
    mask = _mask("##..", "##..", "....")
    yield Case("one of four pixels is taken", (mask, _mask("....", ".##.", "..#.")))
    yield Case("nothing is taken", (mask, torch.zeros(3, 4, dtype=torch.bool)))
    yield Case("all of it is taken", (mask, torch.ones(3, 4, dtype=torch.bool)))
    yield Case("an empty mask has nothing to hide", (mask & ~mask, mask))


hidden_share.mistake(
    "You divided by the area of what is taken. The question is about the mask: how much of it is "
    "gone?"
)(lambda mask, taken: _fraction(mask & taken, taken))
hidden_share.mistake(
    "This is the IoU. It shrinks when the taken area grows elsewhere, which is of no concern to "
    "this mask."
)(lambda mask, taken: _fraction(mask & taken, mask | taken))
hidden_share.mistake("You divided by the whole image. Divide by the mask's own area.")(
    lambda mask, taken: _fraction(mask & taken, torch.ones_like(mask))
)
hidden_share.mistake(
    "This is the share that is still free. Mask2Former counts so; this rule counts what is hidden."
)(lambda mask, taken: _fraction(mask & ~taken, mask))


paste_by_score = Exercise(
    name="09.paste_by_score",
    task="Let instances claim pixels by falling score; return the map of ids 1, 2, ...",
    difficulty=3,
    minutes=25,
    hints=(
        "Keep one boolean map of what is taken; go through scores.argsort(descending=True).",
        "Decide by the hidden share of the whole mask; then paint only its free pixels, and count "
        "up the id only for those that are kept.",
    ),
)


@paste_by_score.answer
def _paste(masks: Tensor, scores: Tensor, min_score: float, max_overlap: float) -> Tensor:
    labels, size = torch.zeros(len(masks), dtype=torch.int64), (masks.shape[1], masks.shape[2])
    return paste_instances(
        masks, scores, labels, size, min_score=min_score, max_overlap=max_overlap
    )[0]


@paste_by_score.examples
def _paste_cases() -> Iterator[Case]:
    for title, scores, *rows in (
        ("three apart, the second below the score", [0.9, 0.25, 0.625], "##...", "...#.", "....#"),
        ("two apart, the worse one first", [0.625, 0.9], "##...", "...##"),
        ("the worse one loses one of four pixels", [0.9, 0.75], "####...", "...####"),
        ("a dropped one claims nothing", [0.9, 0.75, 0.625], "####..", ".####.", "....##"),
        ("two of five pixels are hidden", [0.9, 0.75], "####...", "..#####"),
        ("exactly half is hidden: it stays", [0.9, 0.75], "####..", "..####"),
        ("exactly at the lowest score: it stays", [0.5], ".##"),
        ("nothing left: no id", [0.9, 0.75, 0.625], "###..", ".##..", "...##"),
    ):
        masks = torch.stack([_mask(row) for row in rows])
        yield Case(title, (masks, torch.tensor(scores), 0.5, 0.5))


def _paste_with(
    *,
    sort: bool = True,
    ids_by_index: bool = False,
    overwrite: bool = False,
    dropped_claim: bool = False,
    of_free: bool = False,
    drop_equal: bool = False,
    drop_equal_score: bool = False,
) -> Callable[..., Tensor]:
    """Return a function that pastes with one step done wrong."""

    def paste(masks: Tensor, scores: Tensor, min_score: float, max_overlap: float) -> Tensor:
        id_map = torch.full(masks.shape[1:], VOID, dtype=torch.int64)
        taken = torch.zeros(masks.shape[1:], dtype=torch.bool)
        by_score = scores.argsort(descending=True, stable=True).tolist()
        kept = 0
        for i in by_score if sort else range(len(masks)):
            score, mask = float(scores[i]), masks[i]
            if score < min_score or (drop_equal_score and score == min_score):
                continue
            free = mask & ~taken
            hidden = _fraction(mask & taken, free if of_free else mask)
            drop = not free.any() or hidden > max_overlap or (drop_equal and hidden == max_overlap)
            if not drop:
                kept += 1
                id_map[mask if overwrite else free] = i + 1 if ids_by_index else kept
            if not drop or dropped_claim:
                taken = taken | mask
        return id_map

    return paste


paste_by_score.mistake(
    "Your ids are positions in the input. They count what is kept: 1, 2, 3 without gaps."
)(_paste_with(ids_by_index=True))
paste_by_score.mistake("You went through the instances as given. The best score claims first.")(
    _paste_with(sort=False)
)
paste_by_score.mistake(
    "A worse instance painted over a better one. It gets only what is still free."
)(_paste_with(overwrite=True))
paste_by_score.mistake("An instance that was dropped still blocks pixels. It must claim nothing.")(
    _paste_with(dropped_claim=True)
)
paste_by_score.mistake(
    "You compared the hidden pixels with the free ones. Divide by the whole mask."
)(_paste_with(of_free=True))
paste_by_score.mistake("Exactly max_overlap hidden is still allowed: drop only what is above.")(
    _paste_with(drop_equal=True)
)
paste_by_score.mistake("A score of exactly min_score takes part: leave out only what is below.")(
    _paste_with(drop_equal_score=True)
)


add_stuff = Exercise(
    name="09.add_stuff",
    task="Give free pixels to the stuff seen there, if it has enough of them; go on with ids.",
    difficulty=2,
    minutes=15,
    hints=(
        "Go through label_map.unique(); two of its values never become a segment.",
        "A region is where the label is seen and the id is 0. Its area is counted after the "
        "instances took theirs.",
    ),
)


@add_stuff.answer
def _add_stuff(id_map: Tensor, label_map: Tensor, min_area: int) -> Tensor:
    segments = [Segment(i, 0, is_thing=True) for i in id_map.unique().tolist() if i != VOID]
    return fill_stuff(id_map, label_map, segments, min_area=min_area).id_map


@add_stuff.examples
def _stuff_cases() -> Iterator[Case]:
    for title, ids, labels in (
        ("two regions get ids 1 and 2", [0] * 6, [1, 1, 1, 3, 3, 3]),
        ('"other" stays void', [0] * 6, [2, 2, 2, 0, 0, 0]),
        ("an instance keeps its pixels", [1, 1, 0, 0, 0, 0], [2, 2, 2, 2, 2, 2]),
        ("only free pixels count", [1, 1, 1, 0, 0, 0, 0], [2, 2, 2, 2, 4, 4, 4]),
        ("exactly the smallest area stays", [0] * 5, [1, 1, 1, 4, 4]),
        ("a label of 255 is nothing", [0] * 6, [255, 255, 255, 5, 5, 5]),
    ):
        yield Case(title, (torch.tensor([ids]), torch.tensor([labels]), 2))


def _add_stuff_with(
    *,
    skip: Collection[int] = (OTHER, IGNORE),
    overwrite: bool = False,
    whole_area: bool = False,
    drop_equal: bool = False,
    label_as_id: bool = False,
) -> Callable[..., Tensor]:
    """Return a function that adds stuff with one step done wrong."""

    def add(id_map: Tensor, label_map: Tensor, min_area: int) -> Tensor:
        result, next_id = id_map.clone(), int(id_map.max()) + 1
        for label in label_map.unique().tolist():
            whole = label_map == label
            region = whole if overwrite else whole & (id_map == VOID)
            area = int(whole.sum() if whole_area else region.sum())
            if label in skip or area < min_area or (drop_equal and area == min_area):
                continue
            result[region] = label if label_as_id else next_id
            next_id += 1
        return result

    return add


add_stuff.mistake("You wrote labels where ids belong. The next id is the largest so far and 1.")(
    _add_stuff_with(label_as_id=True)
)
add_stuff.mistake(
    'You made a segment of "other". It says only that some thing is here; which thing, only the '
    "instance branch can tell."
)(_add_stuff_with(skip=(IGNORE,)))
add_stuff.mistake("Stuff painted over an instance. Instances win over stuff.")(
    _add_stuff_with(overwrite=True)
)
add_stuff.mistake(
    "You counted a region's pixels before the instances took theirs. What counts is what is left."
)(_add_stuff_with(whole_area=True))
add_stuff.mistake("Exactly min_area pixels are enough: drop only what is smaller.")(
    _add_stuff_with(drop_equal=True)
)
add_stuff.mistake("255 is IGNORE, not a class: such pixels stay void.")(
    _add_stuff_with(skip=(OTHER,))
)


area_at = Exercise(
    name="09.area_at",
    task="Carry the smallest stuff area from one output size to another, in whole pixels.",
    difficulty=1,
    minutes=5,
    hints=(
        "An area grows with height times width.",
        "Multiply by the ratio of the two image areas, round, and never go below 1.",
    ),
)


def _scaled(min_area: int, size: tuple[int, int], reference: tuple[int, int]) -> float:
    return min_area * size[0] * size[1] / (reference[0] * reference[1])


@area_at.answer
def _area_at(min_area: int, size: tuple[int, int], reference: tuple[int, int]) -> int:
    return max(1, round(_scaled(min_area, size, reference)))


@area_at.examples
def _area_cases() -> Iterator[Case]:
    yield Case("half as high and half as wide", (4096, (400, 500), (800, 1000)))
    yield Case("the same size", (64, (128, 192), (128, 192)))
    yield Case("COCO's 4096 on a drawn street", (4096, (128, 192), (480, 640)))
    yield Case("never below one pixel", (64, (8, 12), (128, 192)))


area_at.mistake("You scaled an area like a length. Half the side is a quarter of the area.")(
    lambda a, size, reference: max(1, round(a * size[0] / reference[0]))
)
area_at.mistake("You divided where you should multiply: a smaller image has smaller regions.")(
    lambda a, size, reference: _area_at(a, reference, size)
)
area_at.mistake("You cut off the fraction. Round to the nearest whole pixel.")(
    lambda *case: max(1, int(_scaled(*case)))
)
area_at.mistake("An area of 0 switches the rule off. Never go below 1 pixel.")(
    lambda *case: round(_scaled(*case))
)


softer_claim = Exercise(
    name="09.softer_claim",
    task="Return the pixels of its mask that an instance keeps under the softer rule.",
    difficulty=2,
    minutes=12,
    hints=(
        "A pixel is lost only if two things hold: stuff is seen there, and it is surer.",
        "Surer means: its confidence exceeds the score by more than the margin.",
    ),
)


@softer_claim.answer
def _softer_claim(
    mask: Tensor,
    score: float,
    label_map: Tensor,
    confidence: Tensor,
    margin: float,
    *,
    no_stuff: Collection[int] = (OTHER, IGNORE),
    ties_to_stuff: bool = False,
) -> Tensor:
    limit = score + margin
    surer = confidence >= limit if ties_to_stuff else confidence > limit
    for label in no_stuff:
        surer &= label_map != label
    return mask & ~surer


@softer_claim.examples
def _softer_cases() -> Iterator[Case]:
    for title, mask, score, labels, confidence, margin in (
        ("stuff is surer at one of two pixels", "##..", 0.75, [2] * 4, [0.9, 0.6, 0.9, 0.5], 0.0),
        ('a confident "other" takes no pixel', "###", 0.75, [0, 0, 2], [0.99, 0.5, 0.9], 0.0),
        ("a tie goes to the instance", "##", 0.75, [1, 1], [0.75, 0.875], 0.0),
        ("stuff has to be surer by the margin", "###", 0.5, [3, 3, 3], [0.45, 0.6, 0.9], 0.25),
        ("255 is no stuff", "##", 0.5, [255, 3], [0.9, 0.9], 0.0),
    ):
        maps = torch.tensor(labels), torch.tensor(confidence)
        yield Case(title, (_mask(mask)[0], score, *maps, margin))


softer_claim.mistake("Pixels outside the mask came back. An instance keeps at most what it had.")(
    lambda mask, *others: _softer_claim(torch.ones_like(mask), *others)
)
softer_claim.mistake(
    'You let "other" take pixels. But "other" agrees with the instance: a thing is here.'
)(lambda *case: _softer_claim(*case, no_stuff=()))
softer_claim.mistake("At a tie you gave the pixel to stuff. It goes to the instance.")(
    lambda *case: _softer_claim(*case, ties_to_stuff=True)
)
softer_claim.mistake(
    "The margin worked for stuff. It protects the instance: stuff has to be surer by that much."
)(
    lambda mask, score, labels, confidence, margin: _softer_claim(
        mask, score, labels, confidence, -margin
    )
)
softer_claim.mistake("You let 255 take pixels. IGNORE is no stuff: the instance keeps them.")(
    lambda *case: _softer_claim(*case, no_stuff=(OTHER,))
)

EXERCISES = (hidden_share, paste_by_score, add_stuff, area_at, softer_claim)
