"""Loops over pixels that numba compiles. See `compiled.py`, which loads them.

They hold no Python lock while they run, so several threads do.
"""

from typing import no_type_check

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


_STRIP = 1024  # pixels that are gone over at a time
_CODES = [types.Array(kind, 1, "C", readonly=True) for kind in (types.uint8, types.int16)]
_VALUES = types.Array(types.float32, 1, "C", readonly=True)
_IMAGE = types.Array(types.float32, 2, "C", readonly=True)
_FLOATS, _TABLES = types.float32[::1], types.float32[:, ::1]
_BINS = (types.int64, types.int64)  # the code of ignored pixels, the number of bins


@no_type_check
@numba.njit(
    [
        types.void(_VALUES, codes, types.int64, *_BINS, types.float32, types.uint32[::1])
        for codes in _CODES
    ],
    **_compiled,
)
def _number_bins(values, codes, channel, ignored, bins, step, numbers):
    """Write the number of each pixel's bin, and bins + 1 more for a foreground pixel.

    As `_count` in losses/_lovasz_fast.py does for probabilities, in the same float32 operations.
    There is no branch, so that several pixels are computed at once.
    """
    top = np.float32(bins)
    for i in range(values.size):
        is_fg = codes[i] == channel
        error = abs(values[i] - np.float32(is_fg))
        error = np.float32(0) if codes[i] == ignored else error
        scaled = error * step
        scaled = scaled if scaled <= top else top  # nan too
        numbers[i] = np.uint32(np.int32(np.ceil(scaled)) + np.int32(is_fg) * np.int32(bins + 1))


@no_type_check
@numba.njit(
    [
        types.void(_VALUES, codes, types.int64, *_BINS, types.float32, types.int64[::1])
        for codes in _CODES
    ],
    **_compiled,
)
def count_bins(values, codes, channel, ignored, bins, step, counts):
    """Count the pixels of each bin.

    Args:
        values: probabilities.
        codes: the channel whose foreground a pixel is.
        channel: that is counted.
        ignored: the code of pixels whose error is 0.
        bins: without bin 0.
        step: bins per unit of error.
        counts: of lanes, of background and foreground, of bins; added to. losses/_lovasz_fast.py
            says what lanes are.
    """
    width = 2 * (bins + 1)
    last_lane = counts.size // width - 1  # their number is a power of 2
    numbers = np.empty(_STRIP, np.uint32)
    for start in range(0, values.size, _STRIP):
        here = slice(start, min(start + _STRIP, values.size))
        _number_bins(values[here], codes[here], channel, ignored, bins, step, numbers)
        for i in range(here.stop - start):
            counts[np.uint64(numbers[i]) + np.uint64((i & last_lane) * width)] += 1


@no_type_check
@numba.njit(
    [
        types.void(
            *(_IMAGE, codes, _TABLES, types.int64[::1], _VALUES, _TABLES),
            *(*_BINS, types.int64, types.boolean, _FLOATS),
        )
        for codes in _CODES
    ],
    **_compiled,
)
def look_up(values, codes, grad, rows, steps, tables, ignored, bins, start, from_logits, dots):
    """Write the gradient of a run of one image's pixels: the weights of their bins.

    As `_look_up` in losses/_lovasz_fast.py does, in the same float32 operations. The number of a
    bin is computed once more, which costs less than to keep it.

    Args:
        values: (channels, pixels), probabilities.
        codes: (pixels,)
        grad: (channels, pixels), written; may be `values`.
        rows: of each channel, -1 where it has none: there the weights are 0.
        steps: of each row.
        tables: of each row, the weights of background and foreground by bin.
        ignored: the code of pixels whose error is 0.
        bins: without bin 0.
        start: the first pixel.
        from_logits: go back through the softmax too.
        dots: filled with the sum over channels of value times weight; as many as pixels.
    """
    numbers = np.empty(_STRIP, np.uint32)
    weights = np.zeros((rows.size, _STRIP), np.float32)
    for first in range(0, dots.size, _STRIP):
        strip = dots[first : first + _STRIP]
        here = slice(start + first, start + first + strip.size)
        strip[:] = 0
        for channel in range(rows.size):
            row = rows[channel]
            if row >= 0:
                probs, looked_up, table = values[channel, here], weights[channel], tables[row]
                _number_bins(probs, codes[here], channel, ignored, bins, steps[row], numbers)
                for i in range(strip.size):
                    looked_up[i] = table[numbers[i]]
                for i in range(strip.size):
                    strip[i] += probs[i] * looked_up[i]
        for channel in range(rows.size):
            probs, looked_up, out = values[channel, here], weights[channel], grad[channel, here]
            if from_logits:  # not straight to `out`: what may overlap is computed one by one
                for i in range(strip.size):
                    looked_up[i] = (looked_up[i] - strip[i]) * probs[i]
            for i in range(strip.size):
                out[i] = looked_up[i]
            if rows[channel] < 0:
                looked_up[:] = 0
