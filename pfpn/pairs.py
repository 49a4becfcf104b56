"""How often each pair of ids stands at one pixel of two id maps: what `quality.py` compares by.

Segments are made of long runs of equal pixels. One cheap pass finds where either map changes; then
some thousand runs are sorted, not some hundred thousand pixels.
"""

from types import ModuleType

import numpy as np
from jaxtyping import Int64, Integer, UInt64

from pfpn.compiled import loaded_loops

SLOTS = 4096  # of the table; twice as many as the pairs that it can hold
ID_BITS, LENGTH_BITS = 24, 16  # of an id of COCO's PNGs, and of the runs in most pictures


def count_pairs(
    gt: Integer[np.ndarray, " p"], pred: Integer[np.ndarray, " p"]
) -> dict[tuple[int, int], int]:
    """Return the number of pixels of each pair (true id, predicted id), by ascending ids.

    Raises ValueError for an id outside of 0 to 2**31 - 1.

    Args:
        gt: the truth's id map, flattened.
        pred: the prediction's.
    """
    if gt.size == 0:
        return {}
    loops = loaded_loops()
    if (
        loops is not None
        and gt.dtype == pred.dtype
        and gt.dtype in (np.int32, np.int64)
        and gt.flags.c_contiguous
        and pred.flags.c_contiguous
        and gt.size < 2**31
    ):
        pairs = _count_in_table(loops, gt, pred)
        if pairs is not None:
            return pairs
    is_edge = np.ones(gt.size + 1, dtype=bool)  # the first pixel of each run, and the end
    np.not_equal(gt[1:], gt[:-1], out=is_edge[1:-1])
    is_edge[1:-1] |= pred[1:] != pred[:-1]
    edges = np.flatnonzero(is_edge)
    gt, pred = (ids.take(edges[:-1]).astype(np.int64) for ids in (gt, pred))
    lowest, highest = min(gt.min(), pred.min()), max(gt.max(), pred.max())
    if lowest < 0 or highest >= 2**31:
        raise ValueError(
            f"id map: found id {lowest if lowest < 0 else highest}, expected 0 (void) to 2**31 - 1"
        )
    return _add_runs(gt, pred, np.diff(edges), int(highest))


def _count_in_table(
    loops: ModuleType, gt: Integer[np.ndarray, " p"], pred: Integer[np.ndarray, " p"]
) -> dict[tuple[int, int], int] | None:
    """Count by a table; None if it is too small, or if an id is outside of what is expected."""
    keys, counts = np.full(SLOTS, -1), np.empty(SLOTS, dtype=np.int64)
    if loops.count_in_table(gt, pred, np.empty(gt.size, dtype=np.int32), keys, counts) < 0:
        return None
    slots = np.flatnonzero(keys >= 0)
    slots = slots.take(keys.take(slots).argsort())
    keys = keys.take(slots)
    return _to_dict(keys, counts.take(slots), 32)


def _add_runs(
    gt: Int64[np.ndarray, " r"], pred: Int64[np.ndarray, " r"], lengths: np.ndarray, highest: int
) -> dict[tuple[int, int], int]:
    """Add up the lengths of the runs of each pair; `highest` is the highest id."""
    if highest < 1 << ID_BITS and lengths.max() < 1 << LENGTH_BITS:
        packed = gt << (ID_BITS + LENGTH_BITS) | pred << LENGTH_BITS | lengths
        return _add_packed(packed.view(np.uint64))
    keys = gt << 32 | pred
    order = keys.argsort()
    return _add_sorted(keys.take(order), lengths.take(order), 32)


def _add_packed(runs: UInt64[np.ndarray, " r"]) -> dict[tuple[int, int], int]:
    """Add up runs, each a pair and its length in one number: those are sorted fastest."""
    runs.sort()
    keys = (runs >> LENGTH_BITS).view(np.int64)
    return _add_sorted(keys, (runs & ((1 << LENGTH_BITS) - 1)).view(np.int64), ID_BITS)


def _add_sorted(
    keys: Int64[np.ndarray, " r"], lengths: Int64[np.ndarray, " r"], bits: int
) -> dict[tuple[int, int], int]:
    """Add up the lengths of equal neighbors; a key is the true id << bits | the predicted one."""
    first = np.flatnonzero(np.diff(keys, prepend=-1))  # run of each pair
    counts = np.add.reduceat(lengths, first)
    return _to_dict(keys.take(first), counts, bits)


def _to_dict(
    keys: Int64[np.ndarray, " k"], counts: Int64[np.ndarray, " k"], bits: int
) -> dict[tuple[int, int], int]:
    gt_ids, pred_ids = (keys >> bits).tolist(), (keys & ((1 << bits) - 1)).tolist()
    return dict(zip(zip(gt_ids, pred_ids, strict=True), counts.tolist(), strict=True))
