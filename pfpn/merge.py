"""Merge instances and semantic labels so that every pixel has at most one segment.

Rules of the paper: among instances the higher score wins, instances win over stuff, small stuff is
dropped, and all other pixels stay VOID. Each step is one function; `merge` calls them in order.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pfpn.paste import tight_window
from pfpn.structures import IGNORE, VOID, Panoptic, Segment, Window

OTHER = 0  # the semantic head's one label for every thing: never a segment
MIN_SCORE = 0.5  # an instance below is left out  [PFPN] 3.2; value from detectron2
MAX_OVERLAP = 0.5  # fraction of an instance that better ones may hide; from detectron2
MIN_STUFF_AREA = 4096  # pixels of the output; from detectron2
STRIP = 64  # rows that are filled with stuff at a time, which saves memory


def merge(
    windows: Sequence[Window] | Bool[Tensor, "n h w"],
    scores: Float[Tensor, " n"],
    labels: Int[Tensor, " n"],
    label_map: Int[Tensor, "h w"],
    *,
    min_score: float = MIN_SCORE,
    max_overlap: float = MAX_OVERLAP,
    min_stuff_area: int = MIN_STUFF_AREA,
    stuff_confidence: Float[Tensor, "h w"] | None = None,
    margin: float = 0.0,
) -> Panoptic:
    """Merge instances and semantic labels into one panoptic map, on the label map's device.

    With `stuff_confidence`, a softer rule than the paper's holds between the branches: where the
    semantic head predicts stuff with a probability above the instance's score by more than
    `margin`, the pixel is stuff.

    Args:
        windows: one mask per instance, cut out or as full images, in any order.
        scores: in [0, 1].
        labels: of the things, 0..T-1.
        label_map: the semantic head's best label: 0 "other", 1..S stuff; IGNORE becomes VOID.
        min_score: see `paste_instances`.
        max_overlap: see `paste_instances`.
        min_stuff_area: see `fill_stuff`.
        stuff_confidence: the semantic head's probability of its best label, in [0, 1]; without it
            every instance wins over all stuff.
        margin: of the softer rule, in [0, 1].

    Source: [PFPN] 3.2, after [PS] 7; thresholds as in detectron2.
    """
    size = (label_map.shape[0], label_map.shape[1])
    stuff_probs = stuff_confidence
    if stuff_probs is not None:
        stuff_probs = stuff_probs.masked_fill((label_map == OTHER) | (label_map == IGNORE), 0)
    id_map, segments = paste_instances(
        windows,
        scores,
        labels,
        size,
        min_score=min_score,
        max_overlap=max_overlap,
        stuff_probs=stuff_probs,
        margin=margin,
    )
    del stuff_probs
    return fill_stuff(id_map.to(label_map.device), label_map, segments, min_area=min_stuff_area)


def paste_instances(
    windows: Sequence[Window] | Bool[Tensor, "n h w"],
    scores: Float[Tensor, " n"],
    labels: Int[Tensor, " n"],
    size: tuple[int, int],
    *,
    min_score: float = MIN_SCORE,
    max_overlap: float = MAX_OVERLAP,
    stuff_probs: Float[Tensor, "h w"] | None = None,
    margin: float = 0.0,
) -> tuple[Int[Tensor, "h w"], list[Segment]]:
    """Give pixels to instances by decreasing score; drop one that loses too much of its mask.

    Equal scores keep their order. Ids are 1, 2, ... in this order. Masks without a pixel, or with
    none left, get no id. On the CPU, for each step depends on the one before.

    Args:
        windows: one mask per instance, cut out or as full images.
        scores: in [0, 1].
        labels: of the things, 0..T-1.
        size: (height, width) of the map.
        min_score: instances below are left out; exactly `min_score` stays.
        max_overlap: largest fraction of its whole mask, whatever the classes, that an instance may
            lose to better ones and to stuff together; exactly `max_overlap` stays.
        stuff_probs: of the softer rule: probability of the predicted stuff, 0 where there is none.
            No instance gets a pixel where this exceeds its score by more than `margin`.
        margin: of the softer rule, in [0, 1].

    Source: [PFPN] 3.2, after [PS] 7.
    """
    if not len(windows) == len(scores) == len(labels):
        raise ValueError(
            f"paste_instances: found {len(windows)} masks, {len(scores)} scores and "
            f"{len(labels)} labels, expected one of each per instance. "
            "Were all of them filtered alike?"
        )
    stuff_probs = None if stuff_probs is None else stuff_probs.cpu()
    free = torch.ones(size, dtype=torch.bool)
    id_map = torch.full(size, VOID, dtype=torch.int32)
    segments: list[Segment] = []
    by_score = scores.argsort(descending=True, stable=True)
    # Compared as tensors, in the scores' own precision: 0.7 as float32 is below 0.7 as a float.
    by_score = by_score[scores[by_score] >= min_score]
    for i, score, label in zip(
        by_score.tolist(), scores[by_score].tolist(), labels[by_score].tolist(), strict=True
    ):
        region, mask = _locate(windows[i], size)
        claim = mask & free[region]
        if stuff_probs is not None:
            claim &= stuff_probs[region] <= score + margin
        area, left = _area(mask), _area(claim)
        if left == 0 or (area - left) / area > max_overlap:
            continue
        segments.append(Segment(len(segments) + 1, label, is_thing=True, score=score))
        free[region] ^= claim
        id_map[region].add_(claim, alpha=segments[-1].id)  # was VOID = 0; a third of masked_fill_
    return id_map.long(), segments


def fill_stuff(
    id_map: Int[Tensor, "h w"],
    label_map: Int[Tensor, "h w"],
    segments: Sequence[Segment],
    *,
    min_area: int = MIN_STUFF_AREA,
) -> Panoptic:
    """Give the pixels without an instance to the stuff predicted there, one segment per label.

    Args:
        id_map: VOID where no instance is.
        label_map: 0 "other" and IGNORE stay VOID.
        segments: those of `id_map`; the stuff follows by ascending label.
        min_area: pixels; smaller regions stay VOID, exactly `min_area` does not.

    Source: [PFPN] 3.2.
    """
    unclaimed = label_map.to(torch.int32, copy=True).masked_fill_(id_map != VOID, OTHER)
    ids, labels = _number_labels(unclaimed, min_area, first_id=_next_id(segments), skip=OTHER)
    del unclaimed
    filled = id_map.clone()
    for rows, labels_there in zip(filled.split(STRIP), label_map.split(STRIP), strict=True):
        rows += ids[(labels_there * (rows == VOID)).long()]
    added = [Segment(i, label, is_thing=False) for i, label in labels]
    return Panoptic(filled, (*segments, *added))


def segments_from_labels(
    label_map: Int[Tensor, "h w"], *, num_things: int = 0, min_area: int = 1
) -> Panoptic:
    """Turn a map of all classes into a panoptic map: one segment per label.

    For a semantic branch alone, which has no "other" and does not separate instances: all pixels
    of a thing class become one segment.

    Args:
        label_map: 0..T-1 things, then stuff from T = `num_things` on, which is stuff label 1;
            IGNORE becomes VOID.
        num_things: T.
        min_area: pixels; smaller regions, things and stuff alike, become VOID.
    """
    ids, labels = _number_labels(label_map, min_area, first_id=VOID + 1, skip=None)
    segments = [
        Segment(i, label if label < num_things else label - num_things + 1, label < num_things)
        for i, label in labels
    ]
    id_map = ids.index_select(0, label_map.long().flatten()).view(label_map.shape)
    return Panoptic(id_map, tuple(segments))


def _locate(
    window: Window | Bool[Tensor, "h w"], size: tuple[int, int]
) -> tuple[tuple[slice, slice], Tensor]:
    """Return where in the image the mask lies, and its pixels there."""
    if isinstance(window, Tensor):
        if window.shape != size:
            raise ValueError(
                f"paste_instances: found a mask of {tuple(window.shape)} pixels, expected {size}, "
                "as in the label map. Pass a Window for a mask that is cut out."
            )
        window = tight_window(window.cpu())
    mask = window.mask.cpu()
    bottom, right = window.top + mask.shape[0], window.left + mask.shape[1]
    if not (0 <= window.top <= bottom <= size[0] and 0 <= window.left <= right <= size[1]):
        raise ValueError(
            f"paste_instances: found a window of rows {window.top}..{bottom}, columns "
            f"{window.left}..{right}, expected one inside {size}. "
            "Were the masks pasted for another size?"
        )
    return (slice(window.top, bottom), slice(window.left, right)), mask


def _area(mask: Bool[Tensor, "h w"]) -> int:
    return int(np.count_nonzero(mask.numpy()))  # a fifth of the time of torch's sum


def _next_id(segments: Sequence[Segment]) -> int:
    return 1 + max((segment.id for segment in segments), default=VOID)


def _number_labels(
    label_map: Int[Tensor, "h w"], min_area: int, *, first_id: int, skip: int | None
) -> tuple[Int[Tensor, " l"], list[tuple[int, int]]]:
    """Number the labels that cover enough pixels, ascending.

    Returns:
        The id of every label from 0 on, VOID where it has none; the (id, label) pairs.
    """
    areas = torch.bincount(label_map.flatten(), minlength=IGNORE + 1)
    areas[IGNORE] = 0
    if skip is not None:
        areas[skip] = 0
    kept = (areas >= max(1, min_area)).nonzero()[:, 0]
    ids = torch.zeros_like(areas)  # VOID for all others
    ids[kept] = first_id + torch.arange(len(kept), device=kept.device)
    return ids, list(zip(ids[kept].tolist(), kept.tolist(), strict=True))
