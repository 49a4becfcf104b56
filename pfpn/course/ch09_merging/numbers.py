"""Numbers of chapter 09: what merging does to each instance and pixel, and its quality."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pfpn.data.transforms import to_label_map
from pfpn.merge import OTHER, fill_stuff, merge, paste_instances
from pfpn.paste import paste_windows
from pfpn.predict import PredictConfig
from pfpn.quality import PanopticQuality, PanopticResult, match_segments
from pfpn.structures import (
    IGNORE,
    VOID,
    Category,
    Detections,
    Panoptic,
    Sample,
    Segment,
    Window,
    things,
)

AGREED, TWICE, AGAINST_STUFF, UNCLAIMED = range(4)  # values of a conflict map
Paste = Callable[[Tensor, Tensor, float, float], Tensor]  # a reader's rules 1 and 2
SAME, CORRECTED, SPOILED, STILL_WRONG = range(4)  # values of a map of changed pixels


@dataclass(frozen=True, slots=True)
class Candidates:
    """The outputs of both branches for one image, before any merging; and its truth."""

    sample: Sample
    windows: Sequence[Window]  # masks at the image's size
    scores: Float[Tensor, " n"]
    labels: Int[Tensor, " n"]
    label_map: Int[Tensor, "h w"]  # the semantic head's best label
    confidence: Float[Tensor, "h w"]  # its probability

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.label_map.shape[0], self.label_map.shape[1]

    @property
    def is_stuff(self) -> Bool[Tensor, "h w"]:
        """Pixels whose best label is a class of stuff."""
        return (self.label_map != OTHER) & (self.label_map != IGNORE)

    def merge(self, config: PredictConfig) -> Panoptic:
        """Merge them by the thresholds of `config`."""
        return merge(
            self.windows, self.scores, self.labels, self.label_map,
            min_score=config.min_score, max_overlap=config.max_overlap,
            min_stuff_area=config.min_stuff_area, margin=config.margin,
            stuff_confidence=self.confidence if config.softer else None,
        )  # fmt: skip

    def masks(self) -> Bool[Tensor, "n h w"]:
        """Return every instance's mask as a full image."""
        masks = torch.zeros((len(self.windows), *self.size), dtype=torch.bool)
        for mask, window in zip(masks, self.windows, strict=True):
            height, width = window.mask.shape
            mask[window.top : window.top + height, window.left : window.left + width] = window.mask
        return masks


@dataclass(frozen=True, slots=True)
class Claim:
    """The outcome of merging for one instance."""

    index: int  # among the candidates
    label: int
    score: float
    area: int  # pixels of its mask
    hidden: float  # fraction of them that better instances hide
    left_to_stuff: float  # fraction that the softer rule gave to stuff
    outcome: str  # "kept", "score too low", "too much hidden" or "empty"


def candidates_of(
    sample: Sample, detections: Detections, logits: Float[Tensor, "c h w"]
) -> Candidates:
    """Return the network's outputs in the form that is merged, at the image's size."""
    size = (sample.image.shape[1], sample.image.shape[2])
    probs, label_map = logits.softmax(dim=0).max(dim=0)
    windows = paste_windows(detections.mask_probs, detections.boxes, size)
    return Candidates(sample, windows, detections.scores, detections.labels, label_map, probs)


def trace_claims(candidates: Candidates, config: PredictConfig) -> list[Claim]:
    """Return what `merge` does with every instance, by falling score.

    The simple version, on full-size masks, of what `pfpn.merge.paste_instances` does in windows.
    """
    free = torch.ones(candidates.size, dtype=torch.bool)
    masks, claims = candidates.masks(), []
    too_low = candidates.scores < config.min_score  # in the scores' own precision, as in merge
    for i in candidates.scores.argsort(descending=True, stable=True).tolist():
        score, label = float(candidates.scores[i]), int(candidates.labels[i])
        area = int(masks[i].sum())
        if area == 0:
            claims.append(Claim(i, label, score, 0, 0.0, 0.0, "empty"))
            continue
        unclaimed = masks[i] & free
        claim = unclaimed.clone()
        if config.softer:
            claim &= ~(candidates.is_stuff & (candidates.confidence > score + config.margin))
        left = int(claim.sum())
        hidden = (area - int(unclaimed.sum())) / area
        left_to_stuff = (int(unclaimed.sum()) - left) / area
        if too_low[i]:
            outcome = "score too low"
        elif left == 0 or (area - left) / area > config.max_overlap:
            outcome = "too much hidden"
        else:
            outcome = "kept"
            free &= ~claim
        claims.append(Claim(i, label, score, area, hidden, left_to_stuff, outcome))
    return claims


def stuff_alone(candidates: Candidates) -> Panoptic:
    """Return the semantic head's stuff as segments, without any instance and of any area."""
    empty = torch.full(candidates.size, VOID, dtype=torch.int64)
    return fill_stuff(empty, candidates.label_map, [], min_area=1)


def merge_stages(candidates: Candidates, config: PredictConfig) -> list[tuple[str, Panoptic]]:
    """Apply the paper's rules one after the other; return each state with its name."""
    c, area = candidates, config.min_stuff_area
    (all_ids, every), (ids, kept) = (
        paste_instances(
            c.windows, c.scores, c.labels, c.size, min_score=config.min_score, max_overlap=limit
        )
        for limit in (1.0, config.max_overlap)
    )
    return [
        ("the higher score claims first", Panoptic(all_ids, tuple(every))),
        ("mostly hidden instances go", Panoptic(ids, tuple(kept))),
        ('the semantic head alone; "other" is empty', stuff_alone(c)),
        ("stuff fills what is free", fill_stuff(ids, c.label_map, kept, min_area=1)),
        (f"stuff below {area} pixels goes", fill_stuff(ids, c.label_map, kept, min_area=area)),
    ]


def conflict_map(candidates: Candidates, min_score: float) -> Int[Tensor, "h w"]:
    """Return for each pixel whether both branches agree; instances below `min_score` are left out.

    The values are AGREED, TWICE, AGAINST_STUFF and UNCLAIMED.
    """
    claims = candidates.masks()[candidates.scores >= min_score].sum(dim=0)
    conflicts = torch.full(candidates.size, AGREED)
    conflicts[(claims == 0) & ~candidates.is_stuff] = UNCLAIMED
    conflicts[(claims > 0) & candidates.is_stuff] = AGAINST_STUFF
    conflicts[claims > 1] = TWICE
    return conflicts


def quality_of(
    street: Sequence[Candidates], categories: Sequence[Category], config: PredictConfig
) -> PanopticResult:
    """Merge every image by `config` and return the panoptic quality of all."""
    quality = PanopticQuality(categories)
    for candidates in street:
        quality.update(candidates.sample.panoptic, candidates.merge(config))
    return quality.compute()


def merge_with(candidates: Candidates, paste: Paste, config: PredictConfig) -> Panoptic:
    """Merge with a reader's function in place of rules 1 and 2; stuff fills the rest as always.

    Args:
        candidates: of one image.
        paste: gives the map of the ids 1, 2, ... by masks, scores, `min_score`, `max_overlap`.
        config: thresholds; `softer` has no effect.
    """
    masks = candidates.masks()
    id_map = paste(masks, candidates.scores, config.min_score, config.max_overlap).long()
    segments = []
    for number in sorted(set(id_map.unique().tolist()) - {VOID}):
        mask = id_map == number  # the instance that fits best is the one that got this id
        ious = (masks & mask).sum((1, 2)) / (masks | mask).sum((1, 2)).clamp(min=1)
        label = int(candidates.labels[int(ious.argmax())])
        segments.append(Segment(number, label, is_thing=True))
    return fill_stuff(id_map, candidates.label_map, segments, min_area=config.min_stuff_area)


def matched_things(
    streets: Sequence[Candidates], config: PredictConfig
) -> list[tuple[float, float]]:
    """Return the score and the IoU of every matched thing."""
    found = []
    for one in streets:
        pairs = match_segments(one.sample.panoptic, one.merge(config)).pairs
        found += [(p.score, iou) for _, p, iou in pairs if p.is_thing]
    return found


def things_below_void(streets: Sequence[Candidates], config: PredictConfig) -> float:
    """Return the fraction of the predicted void pixels on which the truth has a thing."""
    num, on_things = 0, 0
    for one in streets:
        truth, void = one.sample.panoptic, one.merge(config).id_map == VOID
        ids = torch.tensor([s.id for s in truth.segments if s.is_thing], dtype=torch.int64)
        num += int(void.sum())
        on_things += int(torch.isin(truth.id_map[void], ids).sum())
    return on_things / max(1, num)


def sweep(
    street: Sequence[Candidates],
    categories: Sequence[Category],
    config: PredictConfig,
    name: str,
    values: Sequence[float],
) -> list[PanopticResult]:
    """Return the quality for each value of one threshold, the others as in `config`."""
    changes: list[dict[str, Any]] = [{name: value} for value in values]
    return [quality_of(street, categories, replace(config, **change)) for change in changes]


def compare_rules(
    candidates: Candidates, config: PredictConfig, categories: Sequence[Category]
) -> Int[Tensor, "h w"]:
    """Return what the softer rule does to each pixel of the paper's map.

    The values are SAME class (or void in the truth), CORRECTED, SPOILED and STILL_WRONG.
    """
    num_things = len(things(categories))
    truth, paper, softer = (
        to_label_map(panoptic, num_things, all_classes=True)
        for panoptic in (
            candidates.sample.panoptic,
            *(candidates.merge(replace(config, softer=rule)) for rule in (False, True)),
        )
    )
    changed = (paper != softer) & (truth != IGNORE)
    kinds = torch.full_like(truth, SAME)
    kinds[changed] = STILL_WRONG
    kinds[changed & (softer == truth)] = CORRECTED
    kinds[changed & (paper == truth)] = SPOILED
    return kinds


def overlap_case(hidden: float) -> Bool[Tensor, "2 28 48"]:
    """Return two squares of side 20; the first hides a fraction of the second, to its right."""
    masks = torch.zeros((2, 28, 48), dtype=torch.bool)
    masks[0, 4:24, 4:24] = True
    left = 24 - round(20 * hidden)
    masks[1, 4:24, left : left + 20] = True
    return masks


def paste_case(
    masks: Bool[Tensor, "2 h w"], limit: float
) -> tuple[Int[Tensor, "h w"], list[Segment]]:
    """Paste the two squares of `overlap_case` with `limit` as the largest hidden fraction."""
    size = (masks.shape[1], masks.shape[2])
    scores, labels = torch.tensor([0.9, 0.8]), torch.tensor([0, 1])
    return paste_instances(masks, scores, labels, size, max_overlap=limit)


def kept_at(hidden: Sequence[float], limits: Sequence[float]) -> dict[float, list[float]]:
    """Return, for each limit, the hidden fractions at which the worse square is kept."""
    return {
        limit: [part for part in hidden if len(paste_case(overlap_case(part), limit)[1]) == 2]
        for limit in limits
    }


def iou_of_masks(a: Bool[Tensor, "h w"], b: Bool[Tensor, "h w"]) -> float:
    """Return intersection over union of two masks, in [0, 1]; 0 if both are empty."""
    return int((a & b).sum()) / max(1, int((a | b).sum()))
