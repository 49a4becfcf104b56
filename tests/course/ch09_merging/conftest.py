"""Drawn streets with candidates to merge, for the tests of numbers and of figures."""

import pytest
import torch

from pfpn.course.ch09_merging.numbers import Candidates
from pfpn.data.toy import ToyStreet
from pfpn.merge import OTHER
from pfpn.paste import tight_window


@pytest.fixture(scope="session")
def street():
    """Three drawn streets; the candidates are the truth with moved masks and random scores."""
    return [perturbed(ToyStreet(3, seed=1)[i], i) for i in range(3)]


def perturbed(sample, seed):
    rng = torch.Generator().manual_seed(seed)
    ids = sample.panoptic.id_map
    masks, labels = [], []
    label_map = torch.full(ids.shape, OTHER)
    for segment in sample.panoptic.segments:
        mask = ids == segment.id
        if segment.is_thing:
            masks += [mask, mask.roll(6, dims=1)]
            labels += [segment.label] * 2
        else:
            label_map[mask] = segment.label
    return Candidates(
        sample,
        [tight_window(mask) for mask in masks],
        torch.rand(len(masks), generator=rng),
        torch.tensor(labels),
        label_map,
        torch.rand(ids.shape, generator=rng),
    )
