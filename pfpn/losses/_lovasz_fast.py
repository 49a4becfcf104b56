"""The Lovász losses on a CPU in float32: the sums of `lovasz.py`, in few passes over the memory.

`lovasz.py` defines what is computed; this file computes it in an order that is fast on a CPU. All
arrays are NumPy's: its radix sort and its counts are faster than torch's, and it releases the
interpreter lock in all long operations used here, so plain threads can divide the work.
"""

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pfpn.losses._lovasz_rows import Row, Work

Array = NDArray[Any]
Weigh = Callable[[Array, Array], tuple[Array, Array]]  # counts of fg and bg by bin -> weights
Spread = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]  # map, or a pool's map

SMALL = 1 << 14  # pixels times rows; below, threads cost more than they save
TINY = 1e-30  # where a largest error of 0 would be divided by
RANGE = 1 << 16  # errors that are sorted at a time: what fits into a core's own cache
MAX_RANGES = 8  # each one reads the whole row, so their number must not grow with it
SAMPLE = 4096  # errors of a row, by which it is cut into ranges of about equal size
BLOCK = 1 << 16  # pixels that are binned at a time: as RANGE
FLOAT32_COUNTS = 1 << 24  # float32 holds every integer up to here


@contextmanager
def _threads(num: int) -> Iterator[Spread]:
    if num <= 1:
        yield map
    else:
        with ThreadPoolExecutor(num) as pool:
            yield pool.map


def _errors(
    work: Work, channel: int, image: int, pixels: slice, errors: Array, is_fg: Array
) -> None:
    """Write into `errors` (0 where ignored) and `is_fg` for a range of one image's pixels."""
    codes, values = work.codes[image, pixels], work.values[image, channel, pixels]
    np.equal(codes, channel, out=is_fg)
    if work.offset:
        signs = is_fg.astype(np.uint32)
        signs <<= 31  # to a float's sign bit
        signs ^= values.view(np.uint32)
        np.add(signs.view(np.float32), 1, out=errors)
        np.maximum(errors, 0, out=errors)
    else:
        np.subtract(values, is_fg, out=errors)
        np.abs(errors, out=errors)
    if work.has_ignored:
        errors *= codes != work.ignored


def _row_errors(work: Work, row: Row) -> tuple[Array, Array]:
    """Return the errors of all pixels of a row's images, and whether each is foreground."""
    shape = len(row.images), work.codes.shape[1]
    errors, is_fg = np.empty(shape, np.float32), np.empty(shape, np.bool_)
    for i, image in enumerate(row.images):
        _errors(work, row.channel, image, slice(None), errors[i], is_fg[i])
    return errors.reshape(-1), is_fg.reshape(-1)


# Exact ------------------------------------------------------------------------------------------


def sorted_loss(work: Work, num_threads: int) -> float:
    """Return the exact loss and write its gradient to `work.grad`.

    Three facts save most of the sorting. A background pixel with a smaller error than every
    foreground pixel has weight 0 (no intersection is left to lose), so it need not be sorted. A
    row may be cut into ranges of error that are sorted separately, in the cache, one per thread: a
    range needs only the number of pixels above it. And rows with equal errors, such as the two of
    a softmax over two classes, are sorted together.
    """
    num = num_threads if work.codes.size * len(work.rows) > SMALL else 1
    groups = work.twins()
    with _threads(num) as spread:
        if len(groups) >= 2 * num:
            return math.fsum(spread(lambda rows: _sorted_rows(work, rows, map), groups))
        return math.fsum(_sorted_rows(work, rows, spread) for rows in groups)


@np.errstate(all="ignore")  # a score that is not finite shows in the loss
def _sorted_rows(work: Work, rows: Sequence[Row], spread: Spread) -> float:
    """Return the loss of one row, or of twins: equal errors, foreground and background swapped."""
    row = rows[0]
    errors, is_fg = _row_errors(work, row)
    for image in row.images:
        work.grad[image, [row.channel for row in rows]] = 0
    largest = float(errors.max())
    if math.isnan(largest):
        return largest  # the comparisons below would lose NaN
    if row.num_fg == 0:  # every set of wrong pixels costs 1, so the extension is the largest error
        if largest > 0:
            _write(work, row, np.array([errors.argmax()]), np.array([row.weight]))
        return row.weight * largest

    least = errors[is_fg].min() if len(rows) == 1 else np.float32(0)
    floor = max(np.float32(0), np.nextafter(least, np.float32(-1)))  # just below the least
    cuts = _cuts(errors, floor)
    dtype = np.float32 if errors.size < FLOAT32_COUNTS else np.float64

    @np.errstate(all="ignore")  # again, since it may run in another thread
    def sort_range(cut: int) -> float:
        """Return the loss of the pixels with cuts[cut] >= error > cuts[cut + 1]."""
        above = errors > cuts[cut]
        num_above, fg_above = (int(np.count_nonzero(x)) for x in (above, above & is_fg))
        pixels = np.flatnonzero((errors > cuts[cut + 1]) > above)  # of booleans: a and not b
        del above
        sizes, is_fg_here = errors.take(pixels), is_fg.take(pixels)
        order = _decreasing(sizes)
        sizes, fg = sizes.take(order), is_fg_here.take(order)
        loss = 0.0
        for row in rows:
            if row is not rows[0]:  # the twin: no ignored pixel gets here, for its error is 0
                fg, is_fg_here, fg_above = ~fg, ~is_fg_here, num_above - fg_above
            weights = _rises(fg, row.num_fg, num_above, fg_above, dtype)
            own = np.multiply(weights, sizes)
            loss += row.weight * float(own.sum())
            # Back to the pixels' own order, so that memory is written from left to right.
            own[order] = weights
            own *= row.weight * (1 - 2 * is_fg_here.astype(np.float32))  # fg: falling
            _write(work, row, pixels, own)
        return loss

    return math.fsum(spread(sort_range, range(len(cuts) - 1)))


def _rises(fg: Array, num_fg: int, num_above: int, fg_above: int, dtype: Any) -> Array:
    """Return the weights of sorted pixels: how much the Jaccard loss rises with each.

    Args:
        fg: whether each is foreground, in decreasing order of errors.
        num_fg: foreground pixels of the whole row.
        num_above: pixels with larger errors than these.
        fg_above: how many of these are foreground.
        dtype: in which the counts are exact.
    """
    # Union and intersection once this pixel and all before it are wrong:
    fg_seen = fg.cumsum(dtype=np.int32).astype(dtype)
    union: Array = np.arange(len(fg), dtype=dtype)
    union -= fg_seen
    union += num_fg + num_above - fg_above + 1
    intersection = np.subtract(num_fg - fg_above, fg_seen, out=fg_seen)
    # The rise of 1 - intersection / union in closed form, so that no difference loses digits:
    # 1 / union for a foreground pixel, intersection / (union - 1) / union for a background one.
    # (0 / 0 if the first pixel is all there is of the truth, but then that one is foreground.)
    weights: Array = np.divide(intersection, union - 1, out=intersection)
    np.copyto(weights, 1, where=fg)
    weights /= union
    return weights


def _cuts(errors: Array, floor: np.float32) -> Array:
    """Return falling limits from infinity to floor between which about equally many errors lie."""
    num_ranges = min(-(-int(np.count_nonzero(errors > floor)) // RANGE), MAX_RANGES)
    sample = errors[:: max(1, len(errors) // SAMPLE)]
    sample = np.sort(sample[sample > floor])[::-1]
    inner = [sample[i * len(sample) // num_ranges] for i in range(1, num_ranges) if len(sample)]
    return np.array([np.inf, *inner, floor], np.float32)


def _decreasing(errors: Array) -> Array:
    """Return the order that sorts positive float32 decreasingly: a radix sort in two halves.

    The bits of positive floats, read as an integer, have the order of the floats; NumPy's stable
    argsort of 16-bit integers is a radix sort, so linear. Lower half first, then the upper.
    """
    halves = (~errors.view(np.uint32)).view(np.uint16).reshape(-1, 2)
    low, high = halves.T if sys.byteorder == "little" else halves.T[::-1]
    order = low.argsort(kind="stable")
    return order.take(high.take(order).argsort(kind="stable"))


def _write(work: Work, row: Row, pixels: Array, weights: Array) -> None:
    """Write weights to pixels of a row; they are numbered upwards through the row's images."""
    num_pixels = work.codes.shape[1]
    ends = np.searchsorted(pixels, np.arange(len(row.images) + 1) * num_pixels)
    for i, image in enumerate(row.images):
        here = slice(ends[i], ends[i + 1])
        work.grad[image, row.channel][pixels[here] - i * num_pixels] = weights[here]


# Binned -----------------------------------------------------------------------------------------


class Block(NamedTuple):
    """A run of pixels of one image, with the numbers of the rows that they belong to."""

    image: int
    pixels: slice
    rows: list[int]


def binned_loss(work: Work, bins: int, weigh: Weigh, num_threads: int) -> float:
    """Return the binned loss and write its gradient to `work.grad`.

    Two passes over the pixels, in blocks that fit the cache: one counts, one looks the weights up.
    In between, the gradient's own memory keeps the number of each pixel's bin (and
    before that the hinge's errors, whose largest is not known beforehand).
    """
    num = num_threads if work.codes.size * len(work.rows) > SMALL else 1
    blocks = _blocks(work, num)
    parts = [blocks[i::num] for i in range(num)]
    with _threads(num) as spread:
        tops = np.ones(len(work.rows), np.float32)
        if work.offset:  # the hinge's errors have no bound
            tops = np.max(list(spread(lambda part: _find_tops(work, part), parts)), axis=0)
        steps = np.float32(bins) / np.maximum(tops, np.float32(TINY))  # bins per unit of error
        counts = np.sum(list(spread(lambda part: _count(work, part, bins, steps), parts)), axis=0)
        # Bin 0 holds the errors of 0, which come last. Of these only the foreground counts.
        num_fg = np.array([row.num_fg for row in work.rows], np.int64)
        counts[:, 1, 0] = num_fg - counts[:, 1, 1:].sum(-1)
        fg_weights, bg_weights = weigh(counts[:, 1], counts[:, 0])
        tables = np.stack([bg_weights, -fg_weights], 1)  # (rows, 2, bins + 1)
        tables *= np.array([row.weight for row in work.rows])[:, None, None]
        tables[..., 0] = 0
        # The loss, <error, weight>, is <value, gradient> and the sum of the errors' constant parts.
        constants = np.array([[work.offset], [-1.0]])
        loss = float((counts * tables * constants).sum())
        tables = tables.reshape(len(tables), -1).astype(np.float32)
        return loss + math.fsum(spread(lambda part: _look_up(work, part, tables), parts))


@np.errstate(all="ignore")
def _find_tops(work: Work, blocks: Iterable[Block]) -> Array:
    """Return the largest error of each row; leave the errors where the gradient will be."""
    tops = np.zeros(len(work.rows), np.float32)
    for block in blocks:
        is_fg = np.empty(work.codes[block.image, block.pixels].shape, np.bool_)
        for r in block.rows:
            errors = work.grad[block.image, work.rows[r].channel, block.pixels]
            _errors(work, work.rows[r].channel, block.image, block.pixels, errors, is_fg)
            tops[r] = np.maximum(tops[r], errors.max())
    return tops


@np.errstate(all="ignore")
def _count(work: Work, blocks: Iterable[Block], bins: int, steps: Array) -> Array:
    """Return (rows, 2, bins + 1): the background and foreground pixels in each bin of each row.

    Bin i holds the errors in ((i - 1) / bins, i / bins] of the row's largest possible error.
    """
    counts = np.zeros((len(work.rows), 2 * (bins + 1)), np.int64)
    for block in blocks:
        scaled = np.empty(work.codes[block.image, block.pixels].shape, np.float32)
        is_fg = np.empty(scaled.shape, np.bool_)
        for r in block.rows:
            channel = work.rows[r].channel
            if work.offset:
                errors = work.grad[block.image, channel, block.pixels]
                np.equal(work.codes[block.image, block.pixels], channel, out=is_fg)
            else:
                errors = scaled
                _errors(work, channel, block.image, block.pixels, scaled, is_fg)
            np.multiply(errors, steps[r], out=scaled)
            np.ceil(scaled, out=scaled)
            np.fmin(scaled, bins, out=scaled)  # nan too goes into a bin, and from there to the loss
            scaled += np.multiply(is_fg, bins + 1, dtype=np.float32)
            index = work.grad[block.image, channel, block.pixels].view(np.int32)
            np.copyto(index, scaled, casting="unsafe")
            counts[r] += np.bincount(index, minlength=counts.shape[1])
    return counts.reshape(-1, 2, bins + 1)


@np.errstate(all="ignore")
def _look_up(work: Work, blocks: Iterable[Block], tables: Array) -> float:
    """Turn the numbers of the bins into the gradient, return the sum of value times gradient."""
    total = 0.0
    for block in blocks:
        for r in block.rows:
            here = block.image, work.rows[r].channel, block.pixels
            grad = work.grad[here]
            tables[r].take(grad.view(np.int32).astype(np.intp), out=grad, mode="clip")
            total += float((work.values[here] * grad).sum())  # few and pairwise: float32 is enough
    return total


def _blocks(work: Work, num_threads: int) -> list[Block]:
    """Cut all images into blocks, several for each thread."""
    num_images, num_pixels = work.codes.shape
    rows_of = [[r for r, row in enumerate(work.rows) if i in row.images] for i in range(num_images)]
    length = min(BLOCK, max(SMALL, -(-num_images * num_pixels // (2 * num_threads))))
    return [
        Block(image, slice(start, start + length), rows_of[image])
        for image in range(num_images)
        for start in range(0, num_pixels, length)
    ]
