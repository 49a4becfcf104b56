"""Loops over pixels that numba compiles. See `compiled.py`, which loads them.

They hold no Python lock while they run, so several threads do.
"""

from typing import Any, no_type_check

import numba
import numpy as np
from numba import types

_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_FLAT = [types.Array(kind, 1, "C", readonly=True) for kind in (types.int32, types.int64)]
_ROWS = types.int32[:, ::1]
_TABLE = (types.int32[::1], types.int64[::1], types.int64[::1])
_compiled = {"nogil": True, "cache": True}  # compiled once for each machine, not for each process


@no_type_check
@numba.njit(types.int64(types.int64, types.int64), **_compiled)
def _add(a, b):
    """Add the three bytes of a and b, each modulo 256."""
    return ((a & 0x7F7F7F) + (b & 0x7F7F7F)) ^ ((a ^ b) & 0x808080)


@no_type_check
@numba.njit(types.int64(types.int64, types.int64, types.int64), **_compiled)
def _paeth(left, up, corner):
    """Return, for each of three bytes, the neighbor that is nearest to left + up - corner."""
    nearest = 0
    for shift in (0, 8, 16):
        a, b, c = (left >> shift) & 255, (up >> shift) & 255, (corner >> shift) & 255
        to_a, to_b, to_c = abs(b - c), abs(a - c), abs(a + b - 2 * c)
        chosen = b if to_b <= to_c else c
        if to_a <= to_b and to_a <= to_c:
            chosen = a
        nearest |= chosen << shift
    return nearest


@no_type_check
@numba.njit(types.int64(_BYTES, types.int64), inline="always", **_compiled)
def _pixel(raw, at):
    """Return three bytes as one number, the first one lowest."""
    return np.int64(raw[at]) | np.int64(raw[at + 1]) << 8 | np.int64(raw[at + 2]) << 16


@no_type_check
@numba.njit(types.boolean(_BYTES, _ROWS), **_compiled)
def unfilter(raw, ids):
    """Undo the filters of an RGB PNG's rows; False if a filter has a number that none has.

    Args:
        raw: the inflated rows: the number of a filter, then three bytes a pixel.
        ids: (h, w), filled with R + 256 G + 65536 B.

    Source: the PNG specification, 9.
    """
    height, width = ids.shape
    above = np.zeros(width, dtype=np.int32)
    for y in range(height):
        start = y * (1 + 3 * width)
        kind, row = raw[start], ids[y]
        start += 1
        left = corner = 0
        if kind == 0:
            for x in range(width):
                row[x] = _pixel(raw, start + 3 * x)
        elif kind == 1:
            for x in range(width):
                left = _add(left, _pixel(raw, start + 3 * x))
                row[x] = left
        elif kind == 2:
            for x in range(width):
                row[x] = _add(above[x], _pixel(raw, start + 3 * x))
        elif kind == 3:
            for x in range(width):
                up = np.int64(above[x])
                mean = (left & up) + (((left ^ up) & 0xFEFEFE) >> 1)  # of each byte, rounded down
                left = _add(mean, _pixel(raw, start + 3 * x))
                row[x] = left
        elif kind == 4:
            for x in range(width):
                up = np.int64(above[x])
                if up != corner:  # else left is nearest: so it is inside of a segment
                    left = _paeth(left, up, corner)
                    corner = up
                left = _add(left, _pixel(raw, start + 3 * x))
                row[x] = left
        else:
            return False
        above = row
    return True


@no_type_check
@numba.njit([types.int64(flat, flat, *_TABLE) for flat in _FLAT], **_compiled)
def count_in_table(gt, pred, edges, keys, counts):
    """Count the pixels of each pair of ids in two maps, in a table whose free slots have key -1.

    Returns the number of pairs; -1 if an id is outside of 0 to 2**31 - 1, or if the table is more
    than half full. A pair's key is true id << 32 | predicted id; it stands in the first free slot
    from that of its hash on.

    Args:
        gt: ids, flattened, at least one.
        pred: ids, flattened.
        edges: room for as many numbers as there are ids.
        keys: of all slots, whose number is a power of 2; all -1; filled.
        counts: of all slots; filled where a key is.
    """
    number = bits = pairs = start = 0
    for i in range(1, gt.size):  # without a branch, which would often be predicted wrongly
        edges[number] = i
        number += np.int64(((gt[i] ^ gt[i - 1]) | (pred[i] ^ pred[i - 1])) != 0)
    edges[number] = gt.size
    for run in range(number + 1):
        true_id, predicted_id = np.int64(gt[start]), np.int64(pred[start])
        bits |= true_id | predicted_id
        key = true_id << 32 | predicted_id
        slot = (key * 0x1E3779B97F4A7C15 >> 40) & (keys.size - 1)
        while keys[slot] != key:
            if keys[slot] == -1:
                pairs += 1
                if 2 * pairs > keys.size:
                    return -1
                keys[slot], counts[slot] = key, 0
                break
            slot = (slot + 1) & (keys.size - 1)
        counts[slot] += edges[run] - start
        start = edges[run]
    return pairs if bits >> 31 == 0 else -1


def _bins_signature(codes: Any) -> Any:
    floats = types.Array(types.float32, 1, "C", readonly=True)
    numbers = (types.int64, types.int64, types.int64, types.float32)
    codes = types.Array(codes, 1, "C", readonly=True)
    return types.void(floats, codes, *numbers, types.int32[::1], types.int64[::1])


@no_type_check
@numba.njit([_bins_signature(codes) for codes in (types.uint8, types.int16)], **_compiled)
def count_bins(values, codes, channel, ignored, bins, step, index, counts):
    """Write the number of each pixel's bin to `index`, and count it there in `counts`.

    As `_count` in losses/_lovasz_fast.py does for probabilities, in the same float32 operations;
    that file says what lanes are.

    Args:
        values: probabilities.
        codes: the channel whose foreground a pixel is.
        channel: that is counted.
        ignored: the code of pixels whose error is 0.
        bins: without bin 0.
        step: bins per unit of error.
        index: filled, as long as the values.
        counts: of lanes, of background and foreground, of bins; added to.
    """
    width = 2 * (bins + 1)
    last_lane = counts.size // width - 1  # their number is a power of 2
    top = np.float32(bins)
    for i in range(values.size):  # without a branch, so that several pixels are computed at once
        is_fg = codes[i] == channel
        error = abs(values[i] - np.float32(is_fg))
        error = np.float32(0) if codes[i] == ignored else error
        scaled = error * step
        scaled = scaled if scaled <= top else top  # nan too
        number = np.int32(np.ceil(scaled)) + np.int32(width) * np.int32(i & last_lane)
        index[i] = number + (np.int32(bins + 1) if is_fg else np.int32(0))
    for i in range(values.size):
        counts[index[i]] += 1
