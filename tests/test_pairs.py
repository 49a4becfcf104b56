"""Pairs of ids are counted by runs as they are counted pixel by pixel."""

from collections import Counter

import numpy as np
import pytest

from pfpn import compiled, pairs
from pfpn.pairs import count_pairs

LOOPS = compiled.load_loops()


@pytest.fixture(
    autouse=True,
    params=[None, pytest.param(LOOPS, marks=pytest.mark.skipif(LOOPS is None, reason="no numba"))],
    ids=["numpy", "compiled"],
)
def _loops(request, monkeypatch):
    monkeypatch.setattr(pairs, "loaded_loops", lambda: request.param)


@pytest.mark.parametrize("kind", [np.int32, np.int64])
@pytest.mark.parametrize("top", [2**24 - 1, 2**24, 2**31 - 1])
@pytest.mark.parametrize("run", [1, 2**16 - 1, 2**16, 3 * 2**16])
def test_high_ids_and_long_runs(top, run, kind):
    """Both ways of sorting: what fits into one number of 64 bits is sorted as one."""
    gt = np.concatenate([np.full(run, top), [0, top, 5], np.full(run, 5)]).astype(kind)
    pred = np.concatenate([np.full(run, 7), [top, 7, 0], np.full(run, top)]).astype(kind)
    pairs = count_pairs(gt, pred)
    assert pairs == {(top, 7): run + 1, (0, top): 1, (5, 0): 1, (5, top): run}
    assert list(pairs) == sorted(pairs)


@pytest.mark.parametrize("seed", range(30))
def test_random_maps_are_counted_as_pixel_by_pixel(seed):
    rng = np.random.default_rng(seed)
    kind = [np.int32, np.int64, np.uint8, np.uint32][seed % 4]
    ids = rng.integers(0, min(2 ** rng.integers(3, 32), np.iinfo(kind).max), size=9)
    lengths = rng.integers(1, 5, size=60)
    gt, pred = (ids[rng.integers(9, size=60)].repeat(lengths).astype(kind) for _ in range(2))
    pred = np.roll(pred, rng.integers(9))
    pairs = count_pairs(gt, pred)
    assert pairs == Counter(zip(gt.tolist(), pred.tolist(), strict=True))
    assert list(pairs) == sorted(pairs)


def test_nothing_is_in_maps_of_no_pixel():
    assert count_pairs(np.zeros(0, np.int32), np.zeros(0, np.int32)) == {}


def test_an_id_below_zero_is_refused():
    gt, pred = np.array([3, 3, 1], np.int32), np.array([3, -2, 1], np.int32)
    for maps in ((gt, pred), (pred, gt)):
        with pytest.raises(ValueError, match=r"id map: found id -2, expected 0"):
            count_pairs(*maps)


def test_maps_with_gaps_in_memory_and_read_only_maps_are_counted():
    ids = np.arange(24, dtype=np.int32).reshape(6, 4) // 5
    whole, gaps = ids[:, ::2].copy().reshape(-1), ids.reshape(-1)[::2]
    whole.flags.writeable = False
    assert count_pairs(whole, gaps) == {(i, i): n for i, n in Counter(gaps.tolist()).items()}


@pytest.mark.parametrize("num", [1, 2047, 2048, 2049, 10_000])
def test_more_pairs_than_the_table_holds(num):
    assert pairs.SLOTS == 2 * 2048
    gt = np.random.default_rng(num).permutation(num).astype(np.int32)
    pred = 2**31 - 1 - gt
    counted = count_pairs(gt, pred)
    assert counted == dict.fromkeys(zip(gt.tolist(), pred.tolist(), strict=True), 1)
    assert list(counted) == sorted(counted)


def test_pairs_whose_slots_collide():
    ids = np.random.default_rng(0).choice(2**31, 2000, replace=False)
    hashes = {((i << 32) * 0x1E3779B97F4A7C15 >> 40) % pairs.SLOTS for i in ids.tolist()}
    assert len(hashes) < 1800, "without collisions this shows nothing"
    assert count_pairs(ids, 0 * ids) == {(i, 0): 1 for i in ids.tolist()}


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_an_id_that_looks_like_a_free_slot_is_refused(dtype):
    gt = np.full(5, -1, dtype=dtype)
    with pytest.raises(ValueError, match=r"found id -1"):
        count_pairs(gt, gt)
