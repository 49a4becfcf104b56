"""Exercises of chapter 09: what is hidden, pasting by score, stuff, areas, the softer rule."""

from collections.abc import Collection, Iterator
from functools import partial

import torch
from torch import Tensor

from pfpn.course.check import Case, Exercise
from pfpn.course.draw import Draw
from pfpn.merge import OTHER
from pfpn.structures import IGNORE, VOID


def _mask(*rows: str) -> Tensor:
    """Return a mask from its drawing: # is inside."""
    return torch.tensor([[letter == "#" for letter in row] for row in rows])


hidden_share = Exercise(
    name="09.hidden_share",
    task="Return the fraction of the pixels of a mask that are taken already; 0.0 for an empty "
    "mask.",
    difficulty=1,
    minutes=5,
    hints=(
        "Two counts and a division: how many pixels are in both, and how many are in the mask?",
        "Divide by the area of the mask itself, not by the area that is taken or by that of both.",
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
    yield Case("nothing of an empty mask is taken", (mask & ~mask, mask))


@hidden_share.random
def _random_masks(draw: Draw) -> tuple[Tensor, Tensor]:
    size = draw.integer(1, 3), draw.integer(1, 4)
    mask, taken = draw.mask(*size), draw.mask(*size)
    draw.require((mask | taken).any())
    return mask, taken


hidden_share.mistake("You divided by the area that is taken. Divide by the area of the mask.")(
    lambda mask, taken: _fraction(mask & taken, taken)
)
hidden_share.mistake(
    "This is the IoU. It also depends on taken pixels outside of the mask. Divide by the area of "
    "the mask alone."
)(lambda mask, taken: _fraction(mask & taken, mask | taken))
hidden_share.mistake("You divided by the area of the image. Divide by the area of the mask.")(
    lambda mask, taken: _fraction(mask & taken, torch.ones_like(mask))
)
hidden_share.mistake(
    "This is the fraction that is still free. Return the fraction that is hidden."
)(lambda mask, taken: _fraction(mask & ~taken, mask))


paste_by_score = Exercise(
    name="09.paste_by_score",
    task="Give pixels to the instances in the order of decreasing score. Return the map of their "
    "ids 1, 2, ... and 0 elsewhere.",
    difficulty=3,
    minutes=25,
    hints=(
        "Keep one boolean map of the pixels that are taken. Go through "
        "scores.argsort(descending=True).",
        "Decide by the hidden fraction of the whole mask. Then paint only its free pixels. Only an "
        "instance that is kept gets an id.",
    ),
)


@paste_by_score.answer
def _paste(
    masks: Tensor,
    scores: Tensor,
    min_score: float,
    max_overlap: float,
    *,
    sort: bool = True,
    ids_by_index: bool = False,
    overwrite: bool = False,
    dropped_claim: bool = False,
    of_free: bool = False,
    pairwise: bool = False,
    drop_equal: bool = False,
    drop_equal_score: bool = False,
    all_scores: bool = False,
    of_visible: bool = False,
) -> Tensor:
    id_map = torch.full(masks.shape[1:], VOID, dtype=torch.int64)
    taken = torch.zeros(masks.shape[1:], dtype=torch.bool)
    kept: list[Tensor] = []
    for i in scores.argsort(descending=True).tolist() if sort else range(len(masks)):
        score, mask = float(scores[i]), masks[i]
        if (score < min_score and not all_scores) or (drop_equal_score and score == min_score):
            continue
        free = mask & ~taken
        hidden = _fraction(mask & taken, free if of_free else mask)
        if pairwise:
            hidden = max([_fraction(mask & other, mask) for other in kept], default=0.0)
        too_much = 1 - hidden < max_overlap if of_visible else hidden > max_overlap
        drop = not free.any() or too_much or (drop_equal and hidden == max_overlap)
        if not drop:
            kept.append(mask)
            id_map[mask if overwrite else free] = i + 1 if ids_by_index else len(kept)
        if not drop or dropped_claim:
            taken = taken | mask
    return id_map


@paste_by_score.examples
def _paste_cases() -> Iterator[Case]:
    for title, scores, *rows in (
        ("three apart, the second below min_score", [0.9, 0.25, 0.625], "##...", "...#.", "....#"),
        ("two apart, the worse one first", [0.625, 0.9], "##...", "...##"),
        ("the worse one loses one of four pixels", [0.9, 0.75], "####...", "...####"),
        ("a dropped one takes no pixels", [0.9, 0.75, 0.625], "####..", ".####.", "....##"),
        ("two of five pixels are hidden", [0.9, 0.75], "####...", "..#####"),
        ("exactly half is hidden: it stays", [0.9, 0.75], "####..", "..####"),
        ("exactly at min_score: it stays", [0.5], ".##"),
        ("no pixel is left: no id", [0.9, 0.75, 0.625], "###..", ".##..", "...##"),
        ("two better ones hide it together", [0.9, 0.75, 0.625], "##.....", "...##..", ".####.."),
        ("an empty mask: no id", [0.9, 0.75], "....", ".##."),
    ):
        masks = torch.stack([_mask(row) for row in rows])
        yield Case(title, (masks, torch.tensor(scores), 0.5, 0.5))


@paste_by_score.random
def _random_instances(draw: Draw) -> tuple[Tensor, Tensor, float, float]:
    num, size = draw.integer(0, 4), (draw.integer(1, 2), draw.integer(1, 6))
    masks = draw.mask(num, *size)
    scores = torch.tensor(draw.distinct(num, 0, 1))
    return masks, scores, draw.pick(0.5, 0.25, 0.0), draw.pick(0.5, 0.25, 0.75, 0.0, 1.0)


paste_by_score.mistake(
    "Your ids are positions in the input. Count the instances that are kept: 1, 2, 3 without gaps."
)(partial(_paste, ids_by_index=True))
paste_by_score.mistake(
    "You went through the instances in the order of the input. Begin with the best score."
)(partial(_paste, sort=False))
paste_by_score.mistake(
    "A worse instance was painted over a better one. It gets only the pixels that are free."
)(partial(_paste, overwrite=True))
paste_by_score.mistake(
    "An instance that was dropped still takes pixels. Mark pixels as taken only if it is kept."
)(partial(_paste, dropped_claim=True))
paste_by_score.mistake(
    "You divided the hidden pixels by the free ones. Divide by the area of the whole mask."
)(partial(_paste, of_free=True))
paste_by_score.mistake(
    "You compared with one better instance at a time. Count the pixels that all better instances "
    "hide together."
)(partial(_paste, pairwise=True))
paste_by_score.mistake(
    "An instance of which exactly max_overlap is hidden stays. Drop it only above max_overlap."
)(partial(_paste, drop_equal=True))
paste_by_score.mistake(
    "A score of exactly min_score is high enough. Leave an instance out only below min_score."
)(partial(_paste, drop_equal_score=True))


paste_by_score.mistake("Every instance takes part. Leave out those with a score below min_score.")(
    partial(_paste, all_scores=True)
)
paste_by_score.mistake(
    "You compared the fraction that is still visible. Here max_overlap limits the fraction that is "
    "hidden."
)(partial(_paste, of_visible=True))


@paste_by_score.mistake(
    "Your ids count instances that were left out or dropped, too. Count those that are kept."
)
def _paste_by_rank(masks: Tensor, scores: Tensor, min_score: float, max_overlap: float) -> Tensor:
    ids = _paste(masks, scores, min_score, max_overlap, ids_by_index=True)
    ranks = 1 + scores.argsort(descending=True).argsort()
    return torch.cat([torch.zeros(1, dtype=torch.int64), ranks])[ids]


add_stuff = Exercise(
    name="09.add_stuff",
    task="Give the free pixels to the stuff that is predicted there, if it has at least min_area "
    "of them. The ids go on after the largest one.",
    difficulty=2,
    minutes=15,
    hints=(
        "Go through label_map.unique(). Two of its values never become a segment.",
        "The region of a label is where the label map has this label and the id is 0. Its area is "
        "what the instances have left.",
    ),
)


@add_stuff.answer
def _add_stuff(
    id_map: Tensor,
    label_map: Tensor,
    min_area: int,
    *,
    skip: Collection[int] = (OTHER, IGNORE),
    overwrite: bool = False,
    whole_area: bool = False,
    drop_equal: bool = False,
    label_as_id: bool = False,
) -> Tensor:
    result = id_map.clone()
    for label in label_map.unique().tolist():
        whole = label_map == label
        region = whole if overwrite else whole & (id_map == VOID)
        area = int(whole.sum() if whole_area else region.sum())
        if label in skip or area < min_area or (drop_equal and area == min_area):
            continue
        result[region] = label if label_as_id else int(result.max()) + 1
    return result


@add_stuff.examples
def _stuff_cases() -> Iterator[Case]:
    for title, ids, labels in (
        ("two regions get ids 1 and 2", [0] * 6, [1, 1, 1, 3, 3, 3]),
        ('"other" stays void', [0] * 6, [2, 2, 2, 0, 0, 0]),
        ("an instance keeps its pixels", [1, 1, 0, 0, 0, 0], [2, 2, 2, 2, 2, 2]),
        ("only free pixels count", [1, 1, 1, 0, 0, 0, 0], [2, 2, 2, 2, 4, 4, 4]),
        ("exactly the smallest area stays", [0] * 5, [1, 1, 1, 4, 4]),
        ("pixels with the label 255 stay void", [0] * 6, [255, 255, 255, 5, 5, 5]),
        ("ids go on after the largest one", [3, 0, 0, 1], [2, 2, 2, 2]),
    ):
        yield Case(title, (torch.tensor([ids]), torch.tensor([labels]), 2))


@add_stuff.random
def _random_maps(draw: Draw) -> tuple[Tensor, Tensor, int]:
    size = draw.integer(1, 2), draw.integer(1, 6)
    labels = draw.integers(*size, low=0, high=4)
    labels[labels == 4] = 255
    ids = draw.integers(*size, low=0, high=3)
    return ids * draw.mask(*size), labels, draw.integer(1, 3)


add_stuff.mistake("You wrote labels where ids belong. The next id is the largest one plus 1.")(
    partial(_add_stuff, label_as_id=True)
)
add_stuff.mistake(
    'You made a segment of "other". It means that some thing is here, but not which one: only the '
    "instance branch knows that."
)(partial(_add_stuff, skip=(IGNORE,)))
add_stuff.mistake("You painted stuff over an instance. Instances win over stuff.")(
    partial(_add_stuff, overwrite=True)
)
add_stuff.mistake("You counted all pixels of a label. Count those that the instances have left.")(
    partial(_add_stuff, whole_area=True)
)
add_stuff.mistake("Exactly min_area pixels are enough. Drop a region only if it is smaller.")(
    partial(_add_stuff, drop_equal=True)
)
add_stuff.mistake("255 is IGNORE and not a class. Such pixels stay void.")(
    partial(_add_stuff, skip=(OTHER,))
)


area_at = Exercise(
    name="09.area_at",
    task="Convert the smallest stuff area from one output size to another, in whole pixels.",
    difficulty=1,
    minutes=5,
    hints=(
        "An area is proportional to height times width.",
        "Multiply by the ratio of the two image areas and round. The result is at least 1.",
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
    yield Case("at least one pixel", (64, (8, 12), (128, 192)))


@area_at.random
def _random_sizes(draw: Draw) -> tuple[int, tuple[int, int], tuple[int, int]]:
    min_area = draw.pick(64, 16, 1, 4096)
    size = draw.integer(1, 40), draw.integer(1, 40)
    reference = draw.integer(1, 40), draw.integer(1, 40)
    draw.require(_scaled(min_area, size, reference) % 1 != 0.5)  # rounded up or to even
    return min_area, size, reference


area_at.mistake("You scaled the area like a length. With half the side an area is a quarter.")(
    lambda a, size, reference: max(1, round(a * size[0] / reference[0]))
)
area_at.mistake("You divided where you should multiply. A smaller image has smaller regions.")(
    lambda a, size, reference: _area_at(a, reference, size)
)
area_at.mistake("You rounded down. Round to the nearest whole number.")(
    lambda *case: max(1, int(_scaled(*case)))
)
area_at.mistake("Your area can be 0, and then the rule has no effect. Return at least 1.")(
    lambda *case: round(_scaled(*case))
)


softer_claim = Exercise(
    name="09.softer_claim",
    task="Return the pixels of its mask that an instance keeps: it loses those where stuff is more "
    "confident by more than the margin.",
    difficulty=2,
    minutes=12,
    hints=(
        "A pixel is lost only if two conditions hold: stuff is predicted there, and stuff is more "
        "confident than the instance.",
        "More confident means that the confidence is above score + margin.",
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
    lost = confidence >= limit if ties_to_stuff else confidence > limit
    for label in no_stuff:
        lost &= label_map != label
    return mask & ~lost


@softer_claim.examples
def _softer_cases() -> Iterator[Case]:
    for title, mask, score, labels, confidence, margin in (
        ("stuff wins one of two pixels", "##..", 0.75, [2] * 4, [0.9, 0.6, 0.9, 0.5], 0.0),
        ('a confident "other" takes no pixel', "###", 0.75, [0, 0, 2], [0.99, 0.5, 0.9], 0.0),
        ("a tie goes to the instance", "##", 0.75, [1, 1], [0.75, 0.875], 0.0),
        ("stuff must exceed the margin", "###", 0.5, [3, 3, 3], [0.45, 0.6, 0.9], 0.25),
        ("255 is not stuff", "##", 0.5, [255, 3], [0.9, 0.9], 0.0),
    ):
        maps = torch.tensor(labels), torch.tensor(confidence)
        yield Case(title, (_mask(mask)[0], score, *maps, margin))


@softer_claim.random
def _random_claim(draw: Draw) -> tuple[Tensor, float, Tensor, Tensor, float]:
    num = draw.integer(1, 6)
    labels = torch.tensor([draw.pick(0, 1, 2, 255) for _ in range(num)])
    confidence = draw.tensor(num, low=0, high=1)
    return draw.mask(num), draw.number(0, 1), labels, confidence, draw.number(0, 0.5)


softer_claim.mistake(
    "You return pixels outside of the mask. An instance keeps at most its own pixels."
)(lambda mask, *others: _softer_claim(torch.ones_like(mask), *others))
softer_claim.mistake(
    'You let "other" take pixels. But "other" means that a thing is here, as the instance says.'
)(lambda *case: _softer_claim(*case, no_stuff=(IGNORE,)))
softer_claim.mistake(
    'You let "other" and 255 take pixels. Neither of them is stuff: the instance keeps the pixels.'
)(lambda *case: _softer_claim(*case, no_stuff=()))
softer_claim.mistake("You gave a pixel to stuff where both are equal. It goes to the instance.")(
    lambda *case: _softer_claim(*case, ties_to_stuff=True)
)
softer_claim.mistake(
    "Your margin helps stuff. It should protect the instance: compare with score + margin."
)(
    lambda mask, score, labels, confidence, margin: _softer_claim(
        mask, score, labels, confidence, -margin
    )
)
softer_claim.mistake(
    "You let 255 take pixels. IGNORE is not stuff: the instance keeps the pixels."
)(lambda *case: _softer_claim(*case, no_stuff=(OTHER,)))

EXERCISES = (hidden_share, paste_by_score, add_stuff, area_at, softer_claim)
