"""Exercises of chapter 09: hidden shares, pasting by score, stuff, the softer rule, areas."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pfpn.course.check import Case, Exercise, Mistake
from pfpn.merge import OTHER, fill_stuff, paste_instances
from pfpn.structures import IGNORE, VOID, Segment


def _pixels(*rows: str) -> Tensor:
    """A mask, drawn: # is inside."""
    return torch.tensor([[letter == "#" for letter in row] for row in rows])


# 9.1 the hidden share ----------------------------------------------------------------------------


def _hidden_share(mask: Tensor, taken: Tensor) -> float:
    area = int(mask.sum())
    return int((mask & taken).sum()) / area if area else 0.0


def _of_taken(mask: Tensor, taken: Tensor) -> float:
    return int((mask & taken).sum()) / max(1, int(taken.sum()))


def _as_iou(mask: Tensor, taken: Tensor) -> float:
    return int((mask & taken).sum()) / max(1, int((mask | taken).sum()))


def _of_image(mask: Tensor, taken: Tensor) -> float:
    return int((mask & taken).sum()) / mask.numel()


def _free_share(mask: Tensor, taken: Tensor) -> float:
    return int((mask & ~taken).sum()) / max(1, int(mask.sum()))


def _hidden_cases() -> list[Case]:
    mask = _pixels("##..", "##..", "....")
    return [
        Case("one of four pixels is taken", (mask, _pixels("....", ".##.", "..#."))),
        Case("nothing is taken", (mask, torch.zeros(3, 4, dtype=torch.bool))),
        Case("all of it is taken", (mask, torch.ones(3, 4, dtype=torch.bool))),
        Case("an empty mask has nothing to hide", (mask & ~mask, mask)),
    ]


# 9.2 pasting by score ----------------------------------------------------------------------------


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
    drop_equal: bool = False,
    drop_equal_score: bool = False,
) -> Tensor:
    """Paste with one step done wrong."""
    id_map = torch.full(masks.shape[1:], VOID, dtype=torch.int64)
    taken = torch.zeros(masks.shape[1:], dtype=torch.bool)
    order = scores.argsort(descending=True, stable=True).tolist() if sort else range(len(masks))
    kept = 0
    for i in order:
        score, mask = float(scores[i]), masks[i]
        if score < min_score or (drop_equal_score and score == min_score):
            continue
        free = mask & ~taken
        hidden = int((mask & taken).sum())
        share = hidden / max(1, int(free.sum() if of_free else mask.sum()))
        if not free.any() or share > max_overlap or (drop_equal and share == max_overlap):
            if dropped_claim:
                taken = taken | mask
            continue
        kept += 1
        id_map[mask if overwrite else free] = i + 1 if ids_by_index else kept
        taken = taken | mask
    return id_map


def _paste_reference(masks: Tensor, scores: Tensor, min_score: float, max_overlap: float) -> Tensor:
    labels = torch.zeros(len(masks), dtype=torch.int64)
    size = (masks.shape[1], masks.shape[2])
    return paste_instances(
        masks, scores, labels, size, min_score=min_score, max_overlap=max_overlap
    )[0]


def _wrong_paste(**step: bool) -> Callable[..., Tensor]:
    return lambda masks, scores, min_score, max_overlap: _paste(
        masks, scores, min_score, max_overlap, **step
    )


def _paste_cases() -> list[Case]:
    def case(title: str, scores: Sequence[float], *rows: str) -> Case:
        masks = torch.stack([_pixels(row) for row in rows])
        return Case(title, (masks, torch.tensor(scores), 0.5, 0.5))

    return [
        case(
            "three apart, the second below the score", [0.9, 0.25, 0.625], "##...", "...#.", "....#"
        ),
        case("two apart, the worse one first", [0.625, 0.9], "##...", "...##"),
        case("the worse one loses one of four pixels", [0.9, 0.75], "####...", "...####"),
        case("a dropped one claims nothing", [0.9, 0.75, 0.625], "####..", ".####.", "....##"),
        case("two of five pixels are hidden", [0.9, 0.75], "####...", "..#####"),
        case("exactly half is hidden: it stays", [0.9, 0.75], "####..", "..####"),
        case("exactly at the lowest score: it stays", [0.5], ".##"),
        case("nothing left: no id", [0.9, 0.75, 0.625], "###..", ".##..", "...##"),
    ]


# 9.3 adding stuff --------------------------------------------------------------------------------


def _add_stuff(
    id_map: Tensor,
    label_map: Tensor,
    min_area: int,
    *,
    paint_other: bool = False,
    paint_ignore: bool = False,
    overwrite: bool = False,
    whole_area: bool = False,
    drop_equal: bool = False,
    label_as_id: bool = False,
) -> Tensor:
    """Add stuff with one step done wrong."""
    result = id_map.clone()
    next_id = int(id_map.max()) + 1
    for label in label_map.unique().tolist():
        if (label == OTHER and not paint_other) or (label == IGNORE and not paint_ignore):
            continue
        whole = label_map == label
        region = whole if overwrite else whole & (id_map == VOID)
        area = int(whole.sum() if whole_area else region.sum())
        if area < max(1, min_area) or (drop_equal and area == min_area):
            continue
        result[region] = label if label_as_id else next_id
        next_id += 1
    return result


def _add_stuff_reference(id_map: Tensor, label_map: Tensor, min_area: int) -> Tensor:
    ids = [i for i in id_map.unique().tolist() if i != VOID]
    segments = [Segment(i, 0, is_thing=True) for i in ids]
    return fill_stuff(id_map, label_map, segments, min_area=min_area).id_map


def _wrong_stuff(**step: bool) -> Callable[..., Tensor]:
    return lambda id_map, label_map, min_area: _add_stuff(id_map, label_map, min_area, **step)


def _stuff_cases() -> list[Case]:
    def case(title: str, ids: list[int], labels: list[int], min_area: int = 2) -> Case:
        return Case(title, (torch.tensor([ids]), torch.tensor([labels]), min_area))

    return [
        case("two regions get ids 1 and 2", [0] * 6, [1, 1, 1, 3, 3, 3]),
        case('"other" stays void', [0] * 6, [2, 2, 2, 0, 0, 0]),
        case("an instance keeps its pixels", [1, 1, 0, 0, 0, 0], [2, 2, 2, 2, 2, 2]),
        case("only free pixels count", [1, 1, 1, 0, 0, 0, 0], [2, 2, 2, 2, 4, 4, 4]),
        case("exactly the smallest area stays", [0] * 5, [1, 1, 1, 4, 4]),
        case("a label of 255 is nothing", [0] * 6, [255, 255, 255, 5, 5, 5]),
    ]


# 9.4 the softer rule -----------------------------------------------------------------------------


def _keeps(
    mask: Tensor, score: float, label_map: Tensor, confidence: Tensor, margin: float
) -> Tensor:
    is_stuff = (label_map != OTHER) & (label_map != IGNORE)
    return mask & ~(is_stuff & (confidence > score + margin))


def _keeps_veto_of_other(
    mask: Tensor, score: float, label_map: Tensor, confidence: Tensor, margin: float
) -> Tensor:
    return mask & ~(confidence > score + margin)


def _keeps_outside(
    mask: Tensor, score: float, label_map: Tensor, confidence: Tensor, margin: float
) -> Tensor:
    is_stuff = (label_map != OTHER) & (label_map != IGNORE)
    return ~(is_stuff & (confidence > score + margin))


def _keeps_ties_to_stuff(
    mask: Tensor, score: float, label_map: Tensor, confidence: Tensor, margin: float
) -> Tensor:
    is_stuff = (label_map != OTHER) & (label_map != IGNORE)
    return mask & ~(is_stuff & (confidence >= score + margin))


def _keeps_margin_for_stuff(
    mask: Tensor, score: float, label_map: Tensor, confidence: Tensor, margin: float
) -> Tensor:
    is_stuff = (label_map != OTHER) & (label_map != IGNORE)
    return mask & ~(is_stuff & (confidence > score - margin))


def _keeps_veto_of_ignore(
    mask: Tensor, score: float, label_map: Tensor, confidence: Tensor, margin: float
) -> Tensor:
    return mask & ~((label_map != OTHER) & (confidence > score + margin))


def _softer_cases() -> list[Case]:
    def case(
        title: str, mask: str, score: float, labels: list[int], sure: list[float], margin: float = 0
    ) -> Case:
        arguments = (
            _pixels(mask)[0],
            score,
            torch.tensor(labels),
            torch.tensor(sure),
            float(margin),
        )
        return Case(title, arguments)

    return [
        case(
            "stuff is surer at one of two pixels", "##..", 0.75, [2, 2, 2, 2], [0.9, 0.6, 0.9, 0.5]
        ),
        case('sure of "other" is no veto', "###", 0.75, [0, 0, 2], [0.99, 0.5, 0.9]),
        case("a tie goes to the instance", "##", 0.75, [1, 1], [0.75, 0.875]),
        case("stuff has to be surer by the margin", "###", 0.5, [3, 3, 3], [0.45, 0.6, 0.9], 0.25),
        case("255 has no vote", "##", 0.5, [255, 3], [0.9, 0.9]),
    ]


# 9.5 the smallest area at another size -----------------------------------------------------------


def _area_at(min_area: int, size: tuple[int, int], reference: tuple[int, int]) -> int:
    return max(1, round(min_area * size[0] * size[1] / (reference[0] * reference[1])))


def _area_cases() -> list[Case]:
    return [
        Case("half as high and half as wide", (4096, (400, 500), (800, 1000))),
        Case("the same size", (64, (128, 192), (128, 192))),
        Case("COCO's 4096 on a drawn street", (4096, (128, 192), (480, 640))),
        Case("never below one pixel", (64, (8, 12), (128, 192))),
    ]


EXERCISES = (
    Exercise(
        name="09.hidden_share",
        task="Return the share of a mask's pixels that are taken already; 0.0 for an empty mask.",
        difficulty=1,
        minutes=5,
        hints=(
            "Two counts and a division: which pixels are in both, and how many has the mask?",
            "The divisor is the area of the mask itself, not of what is taken and not of both.",
        ),
        reference=_hidden_share,
        cases=_hidden_cases,
        mistakes=(
            Mistake(
                "You divided by the area of what is taken. The question is about the mask: how "
                "much of it is gone?",
                _of_taken,
            ),
            Mistake(
                "This is the IoU. It shrinks when the taken area grows elsewhere, which is of no "
                "concern to this mask.",
                _as_iou,
            ),
            Mistake("You divided by the whole image. Divide by the mask's own area.", _of_image),
            Mistake(
                "This is the share that is still free. Mask2Former counts so; here the hidden "
                "share is wanted.",
                _free_share,
            ),
        ),
    ),
    Exercise(
        name="09.paste_by_score",
        task="Let instances claim pixels by falling score; return the map of ids 1, 2, ...",
        difficulty=3,
        minutes=25,
        hints=(
            "Keep one boolean map of what is taken; go through scores.argsort(descending=True).",
            "Decide by the hidden share of the whole mask; then paint only its free pixels, and "
            "count up the id only for those that are kept.",
        ),
        reference=_paste_reference,
        cases=_paste_cases,
        mistakes=(
            Mistake(
                "Your ids are places in the input. They count what is kept: 1, 2, 3 without gaps.",
                _wrong_paste(ids_by_index=True),
            ),
            Mistake(
                "You went through the instances as given. The best score claims first.",
                _wrong_paste(sort=False),
            ),
            Mistake(
                "A worse instance painted over a better one. It gets only what is still free.",
                _wrong_paste(overwrite=True),
            ),
            Mistake(
                "An instance that was dropped still blocks pixels. It must claim nothing.",
                _wrong_paste(dropped_claim=True),
            ),
            Mistake(
                "You compared the hidden pixels with the free ones. Divide by the whole mask.",
                _wrong_paste(of_free=True),
            ),
            Mistake(
                "Exactly max_overlap hidden is still allowed: drop only what is above.",
                _wrong_paste(drop_equal=True),
            ),
            Mistake(
                "A score of exactly min_score takes part: leave out only what is below.",
                _wrong_paste(drop_equal_score=True),
            ),
        ),
    ),
    Exercise(
        name="09.add_stuff",
        task="Give free pixels to the stuff seen there, if it has enough of them; go on with ids.",
        difficulty=2,
        minutes=15,
        hints=(
            "Go through label_map.unique(); two of its values never become a segment.",
            "A region is where the label is seen and the id is 0. Its area is counted after the "
            "instances took theirs.",
        ),
        reference=_add_stuff_reference,
        cases=_stuff_cases,
        mistakes=(
            Mistake(
                "You wrote labels where ids belong. The next id is the largest so far and 1.",
                _wrong_stuff(label_as_id=True),
            ),
            Mistake(
                'You made a segment of "other". It says only that some thing is here, and which '
                "thing is the instance branch's to say.",
                _wrong_stuff(paint_other=True),
            ),
            Mistake(
                "Stuff painted over an instance. Instances win over stuff.",
                _wrong_stuff(overwrite=True),
            ),
            Mistake(
                "You counted a region's pixels before the instances took theirs. What counts is "
                "what is left.",
                _wrong_stuff(whole_area=True),
            ),
            Mistake(
                "Exactly min_area pixels are enough: drop only what is smaller.",
                _wrong_stuff(drop_equal=True),
            ),
            Mistake(
                "255 is IGNORE, not a class: such pixels stay void.",
                _wrong_stuff(paint_ignore=True),
            ),
        ),
    ),
    Exercise(
        name="09.softer_claim",
        task="Return the pixels of its mask that an instance keeps under the softer rule.",
        difficulty=2,
        minutes=12,
        hints=(
            "A pixel is lost only if two things hold: stuff is seen there, and it is surer.",
            "Surer means: its confidence exceeds the score by more than the margin.",
        ),
        reference=_keeps,
        cases=_softer_cases,
        mistakes=(
            Mistake(
                "Pixels outside the mask came back. An instance keeps at most what it had.",
                _keeps_outside,
            ),
            Mistake(
                '"Other" vetoed. But "other" agrees with the instance: a thing is here.',
                _keeps_veto_of_other,
            ),
            Mistake(
                "At a tie you gave the pixel to stuff. It goes to the instance.",
                _keeps_ties_to_stuff,
            ),
            Mistake(
                "The margin worked for stuff. It protects the instance: stuff has to be surer by "
                "that much.",
                _keeps_margin_for_stuff,
            ),
            Mistake("255 vetoed. IGNORE is no stuff, it has no vote.", _keeps_veto_of_ignore),
        ),
    ),
    Exercise(
        name="09.area_at",
        task="Carry the smallest stuff area from one output size to another, in whole pixels.",
        difficulty=1,
        minutes=5,
        hints=(
            "An area grows with height times width.",
            "Multiply by the ratio of the two image areas, round, and never go below 1.",
        ),
        reference=_area_at,
        cases=_area_cases,
        mistakes=(
            Mistake(
                "You scaled an area like a length. Half the side is a quarter of the area.",
                lambda a, size, reference: max(1, round(a * size[0] / reference[0])),
            ),
            Mistake(
                "You divided where you should multiply: a smaller image has smaller regions.",
                lambda a, size, reference: max(
                    1, round(a * reference[0] * reference[1] / (size[0] * size[1]))
                ),
            ),
            Mistake(
                "You cut off the fraction. Round to the nearest whole pixel.",
                lambda a, size, reference: max(
                    1, int(a * size[0] * size[1] / (reference[0] * reference[1]))
                ),
            ),
            Mistake(
                "An area of 0 switches the rule off. Never go below 1 pixel.",
                lambda a, size, reference: round(
                    a * size[0] * size[1] / (reference[0] * reference[1])
                ),
            ),
        ),
    ),
)
