"""The merge of the pages is that of pfpn.merge: every pixel, and the fate of each instance."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from pfpn.course.ch09_merging.numbers import Candidates, trace_claims
from pfpn.merge import MAX_OVERLAP, MIN_SCORE, MIN_STUFF_AREA, merge, segments_from_labels
from pfpn.predict import PredictConfig
from pfpn.structures import IGNORE, Panoptic, Sample, Window

FATES = {"score too low": "score", "too much hidden": "hidden", "kept": "kept", "empty": "empty"}


@dataclass(frozen=True)
class Case:
    """Inputs of one merge."""

    windows: list[Window]
    scores: Tensor  # float32
    labels: Tensor
    label_map: Tensor
    confidence: Tensor
    config: PredictConfig

    @property
    def arguments(self) -> list:
        """The same for JavaScript."""
        height, width = self.label_map.shape
        settings = {
            "minScore": self.config.min_score,
            "maxOverlap": self.config.max_overlap,
            "minStuffArea": self.config.min_stuff_area,
            "margin": self.config.margin,
            "stuffConfidence": self.confidence.flatten().tolist() if self.config.softer else None,
        }
        instances = [
            {
                "window": {
                    "top": w.top,
                    "left": w.left,
                    "height": w.mask.shape[0],
                    "width": w.mask.shape[1],
                    "mask": w.mask.int().flatten().tolist(),
                },
                "score": score,
                "label": label,
            }
            for w, score, label in zip(
                self.windows, self.scores.tolist(), self.labels.tolist(), strict=True
            )
        ]
        size = {"width": width, "height": height}
        return [instances, self.label_map.flatten().tolist(), size, settings]

    def merged(self) -> Panoptic:
        return merge(
            self.windows, self.scores, self.labels, self.label_map,
            min_score=self.config.min_score, max_overlap=self.config.max_overlap,
            min_stuff_area=self.config.min_stuff_area, margin=self.config.margin,
            stuff_confidence=self.confidence if self.config.softer else None,
        )  # fmt: skip

    def claims(self):
        sample = Sample(
            torch.zeros(3, *self.label_map.shape, dtype=torch.uint8),
            Panoptic(torch.zeros_like(self.label_map), ()),
            "",
        )
        candidates = Candidates(
            sample, self.windows, self.scores, self.labels, self.label_map, self.confidence
        )
        return trace_claims(candidates, self.config)


def random_case(rng: torch.Generator) -> Case:
    """Some rectangles with holes over blocks of labels; coarse numbers, so that limits are met."""

    def draw(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, shape, generator=rng)

    height, width = draw(1, 13, 2).tolist()
    windows = []
    for _ in range(int(draw(0, 7))):
        top, left = int(draw(0, height)), int(draw(0, width))
        rows, columns = int(draw(0, height - top + 1)), int(draw(0, width - left + 1))
        windows.append(Window(top, left, draw(0, 5, rows, columns) > 0))
    blocks = draw(0, 4, 1 + height // 3, 1 + width // 3)
    label_map = blocks.repeat_interleave(3, 0).repeat_interleave(3, 1)[:height, :width]
    label_map = torch.where(draw(0, 9, height, width) == 0, IGNORE, label_map)
    num = len(windows)
    config = PredictConfig(
        min_score=float(draw(0, 11)) / 10,
        max_overlap=float(draw(0, 5)) / 4,
        min_stuff_area=int(draw(0, 12)),
        softer=bool(draw(0, 2)),
        margin=float(draw(0, 4)) / 10,
    )
    return Case(
        windows,
        draw(0, 11, num).float() / 10,
        draw(0, 3, num),
        label_map,
        draw(0, 11, height, width).float() / 10,
        config,
    )


def edge_cases() -> list[Case]:
    full, none = torch.ones(2, 2, dtype=torch.bool), torch.zeros(2, 2, dtype=torch.bool)
    half = torch.tensor([[True, True], [False, False]])
    stuff = torch.ones(2, 2, dtype=torch.int64)
    sure = torch.ones(2, 2)

    def case(masks, scores, label_map=stuff, **settings) -> Case:
        windows = [Window(0, 0, mask) for mask in masks]
        labels = torch.arange(len(masks))
        defaults = {"min_stuff_area": 1}
        config = PredictConfig(**{**defaults, **settings})
        return Case(
            windows, torch.tensor(scores, dtype=torch.float32), labels, label_map, sure, config
        )

    void, other = torch.full((2, 2), IGNORE), torch.zeros(2, 2, dtype=torch.int64)
    return [
        case([], []),
        case([], [], void),
        case([], [], other),
        case([none], [0.9]),
        case([full], [0.5]),  # exactly the least score stays
        case([full], [0.7], min_score=0.7),  # which is above 0.7 in float32
        case([full], [0.7], min_score=0.71),
        case([half, full], [0.9, 0.8], max_overlap=0.5),  # exactly the limit stays
        case([half, full], [0.9, 0.8], max_overlap=0.49),
        case([full, full], [0.8, 0.8]),  # a tie: the first claims
        case([full, full], [0.8, 0.8], max_overlap=1.0),  # without a pixel left it gets no id
        case([full], [0.8], softer=True),
        case([full], [0.8], softer=True, margin=0.2),  # as confident as allowed: an instance
        case([full], [0.8], other, softer=True),
        case([full], [0.8], void, softer=True),
        case([half], [0.8], min_stuff_area=2),  # exactly the least area stays
        case([half], [0.8], min_stuff_area=3),
        case([half], [0.8], min_stuff_area=0),
    ]


def all_cases() -> list[Case]:
    rng = torch.Generator().manual_seed(0)
    return [random_case(rng) for _ in range(300)] + edge_cases()


@pytest.fixture(scope="module")
def merged(javascript):
    cases = all_cases()
    return list(
        zip(
            cases,
            javascript("lib/merge.js", "merge", [case.arguments for case in cases]),
            strict=True,
        )
    )


def test_the_random_cases_meet_every_outcome(merged):
    fates = [step["fate"] for _, result in merged for step in result["steps"]]
    assert all(fates.count(fate) > 20 for fate in FATES.values())
    regions = [region["kept"] for _, result in merged for region in result["regions"]]
    assert regions.count(True) > 50
    assert regions.count(False) > 50


def test_every_pixel_and_segment_is_that_of_python(merged):
    for case, result in merged:
        expected = case.merged()
        assert result["idMap"] == expected.id_map.flatten().tolist()
        segments = [(s["id"], s["label"], s["isThing"], s["score"]) for s in result["segments"]]
        assert segments == [(s.id, s.label, s.is_thing, s.score) for s in expected.segments]


def test_what_became_of_each_instance_is_what_python_says(merged):
    for case, result in merged:
        for step, claim in zip(result["steps"], case.claims(), strict=True):
            assert (step["index"], step["area"]) == (claim.index, claim.area)
            assert step["fate"] == FATES[claim.outcome]
            if claim.area:
                assert step["lost"]["better"] / claim.area == claim.hidden
                assert step["lost"]["stuff"] / claim.area == claim.left_to_stuff


def test_without_settings_the_limits_are_those_of_python(javascript):
    rng = torch.Generator().manual_seed(1)
    case = random_case(rng)
    mask = torch.ones(80, 80, dtype=torch.bool)
    label_map = torch.ones(80, 80, dtype=torch.int64)
    label_map[:64, :63] = 2
    config = PredictConfig()
    assert (config.min_score, config.max_overlap, config.min_stuff_area) == (
        MIN_SCORE, MAX_OVERLAP, MIN_STUFF_AREA,
    )  # fmt: skip
    case = Case(
        [Window(0, 0, mask[:1])],
        torch.tensor([0.5]),
        torch.tensor([0]),
        label_map,
        mask.float(),
        config,
    )
    (result,) = javascript("lib/merge.js", "merge", [case.arguments[:3]])
    assert result["idMap"] == case.merged().id_map.flatten().tolist()


def test_a_semantic_map_alone_becomes_the_segments_of_python(javascript):
    rng = torch.Generator().manual_seed(2)
    maps = [torch.randint(0, 6, (4, 5), generator=rng) for _ in range(200)]
    maps = [m.masked_fill(m == 5, IGNORE) for m in maps]
    limits = [{"numThings": i % 4, "minArea": i % 5} for i in range(200)]
    arguments = [[m.flatten().tolist(), limit] for m, limit in zip(maps, limits, strict=True)]
    results = javascript("lib/merge.js", "segmentsFromLabels", arguments)
    for label_map, limit, result in zip(maps, limits, results, strict=True):
        expected = segments_from_labels(
            label_map, num_things=limit["numThings"], min_area=limit["minArea"]
        )
        assert result["idMap"] == expected.id_map.flatten().tolist()
        segments = [(s["id"], s["label"], s["isThing"]) for s in result["segments"]]
        assert segments == [(s.id, s.label, s.is_thing) for s in expected.segments]
