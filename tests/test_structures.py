import dataclasses

import pytest
import torch

from pfpn.structures import Batch, Category, Detections, Instances, stuff, things
from tests.factories import random_batch, random_instances

CATEGORIES = (
    Category(21, "sky", False),
    Category(7, "car", True),
    Category(3, "person", True),
    Category(9, "road", False),
)


def test_labels_index_the_categories_by_ascending_id_whatever_their_order():
    assert [c.id for c in things(CATEGORIES)] == [3, 7]
    assert [c.id for c in stuff(CATEGORIES)] == [9, 21]
    assert things(CATEGORIES[::-1]) == things(CATEGORIES)
    assert things([]) == stuff([]) == []


def detections_of(n: int) -> Detections:
    return Detections(
        torch.arange(4.0 * n).view(n, 4),
        torch.linspace(1, 0, n),
        torch.arange(n),
        torch.rand(n, 28, 28),
    )


@pytest.mark.parametrize(
    ("keep", "rows"),
    [
        (torch.tensor([True, False, True]), [0, 2]),
        (torch.tensor([2, 0]), [2, 0]),
        (torch.tensor([False] * 3), []),
        (torch.tensor([], dtype=torch.int64), []),
    ],
)
def test_detections_are_filtered_as_one(keep, rows):
    whole = detections_of(3)
    part = whole[keep]
    assert isinstance(part, Detections)
    assert len(part) == len(rows)
    for field in dataclasses.fields(Detections):
        assert torch.equal(getattr(part, field.name), getattr(whole, field.name)[rows])


def test_instances_are_filtered_as_one(rng):
    whole = random_instances(4, (10, 12), rng)
    part = whole[torch.tensor([3, 1])]
    assert isinstance(part, Instances)
    assert torch.equal(part.boxes, whole.boxes[[3, 1]])
    assert torch.equal(part.labels, whole.labels[[3, 1]])
    assert torch.equal(part.masks, whole.masks[[3, 1]])


def test_moving_moves_every_tensor(rng):
    moved = detections_of(2).to("meta")
    assert {getattr(moved, f.name).device.type for f in dataclasses.fields(moved)} == {"meta"}
    batch = random_batch([(8, 9), (4, 5)], rng).to("meta")
    assert isinstance(batch, Batch)
    assert len(batch) == 2
    assert batch.image_ids == [0, 1]
    tensors = [*batch.images, *batch.label_maps, *(i.masks for i in batch.instances)]
    assert {tensor.device.type for tensor in tensors} == {"meta"}


def test_results_cannot_be_changed_by_accident():
    with pytest.raises(dataclasses.FrozenInstanceError):
        detections_of(1).scores = torch.zeros(1)
