"""The Lovász losses on a CPU in float32: the sums of `lovasz.py`, in few passes over the memory.

`lovasz.py` defines what is computed; this file computes it in an order that is fast on a CPU. All
arrays are NumPy's: its sorts are faster than torch's, and it releases the interpreter lock in all
long operations used here, so plain threads can divide the work.
"""

import functools
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from pfpn.compiled import loaded_loops, request_loops
from pfpn.losses._lovasz_rows import Row, Work

Array = NDArray[Any]
Weigh = Callable[[Array, Array], tuple[Array, Array]]  # counts of fg and bg by bin -> weights
Spread = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]  # map, or a pool's map

SMALL = 1 << 14  # pixels times rows; below, threads cost more than they save
TINY = 1e-30  # where a largest error of 0 would be divided by
SAMPLE = 4096  # errors of a row, by which it is cut into ranges of about equal size
BLOCK = 1 << 16  # pixels that are gone over at a time: what fits into a core's own cache
LANES = 4  # tables that neighboring pixels are counted in by turns: see _count
MANY_BINS = 1 << 12  # more do not fit into a core's own cache four times
UNDIVIDED = (1 << 15) - 1  # numbers that torch goes over in one thread
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
        np.copyto(errors, is_fg)  # two passes over floats are faster than one over two types
        np.subtract(values, errors, out=errors)
        np.abs(errors, out=errors)
    if work.has_ignored:
        errors *= codes != work.ignored


# Exact ------------------------------------------------------------------------------------------


def sorted_loss(work: Work, num_threads: int) -> float:
    """Return the exact loss and write its gradient to `work.grad`.

    Three facts save most of the sorting. A background pixel with a smaller error than every
    foreground pixel has weight 0 (no intersection is left to lose), so it need not be sorted. A
    row may be cut into ranges of error that are sorted separately, one per thread: a range needs
    only the number of pixels above it. And rows with equal errors, such as the two of a softmax
    over two classes, are sorted together.
    """
    is_small = work.codes.size * len(work.rows) <= SMALL
    num = 1 if is_small else num_threads
    groups = work.twins()
    with _threads(num) as spread:
        if len(groups) >= 2 * num:
            return math.fsum(spread(lambda rows: _sorted_rows(work, rows, map, 1), groups))
        # Twice as many ranges as threads: so half of the numbers to sort are held at a time.
        num_ranges = 1 if is_small else 2 * num
        return math.fsum(_sorted_rows(work, rows, spread, num_ranges) for rows in groups)


class Piece(NamedTuple):
    """A run of pixels of one image of a row, and how many of the row come before it."""

    image: int
    pixels: slice
    before: int


def _pieces(work: Work, row: Row) -> Iterator[Piece]:
    num_pixels = work.codes.shape[1]
    for i, image in enumerate(row.images):
        for start in range(0, num_pixels, BLOCK):
            stop = min(start + BLOCK, num_pixels)
            yield Piece(image, slice(start, stop), i * num_pixels + start)


def _piece_errors(work: Work, row: Row, piece: Piece) -> tuple[Array, Array]:
    """Return the errors of a piece's pixels, and whether each is foreground."""
    size = piece.pixels.stop - piece.pixels.start
    errors, is_fg = np.empty(size, np.float32), np.empty(size, np.bool_)
    _errors(work, row.channel, piece.image, piece.pixels, errors, is_fg)
    return errors, is_fg


@np.errstate(all="ignore")  # a score that is not finite shows in the loss
def _sorted_rows(work: Work, rows: Sequence[Row], spread: Spread, num_ranges: int) -> float:
    """Return the loss of one row, or of twins: equal errors, foreground and background swapped."""
    row = rows[0]
    size = len(row.images) * work.codes.shape[1]
    largest, where, least, samples = np.float32(-1), 0, np.float32(np.inf), []
    for piece in _pieces(work, row):
        errors, is_fg = _piece_errors(work, row, piece)
        work.grad[piece.image, [r.channel for r in rows], piece.pixels] = 0
        top = errors.argmax()  # the first nan, if there is one
        if math.isnan(errors[top]):
            return math.nan  # the comparisons below would lose it
        if errors[top] > largest:
            largest, where = errors[top], piece.before + int(top)
        least = min(least, errors[is_fg].min(initial=np.inf))
        samples.append(errors[:: max(1, size // SAMPLE)].copy())  # a view would keep the whole
    if row.num_fg == 0:  # every set of wrong pixels costs 1, so the extension is the largest error
        if largest > 0:
            work.grad.reshape(-1)[_positions(work, row, np.array([where]))] = row.weight
        return row.weight * float(largest)

    if len(rows) == 2:
        least = np.float32(0)
    floor = max(np.float32(0), np.nextafter(least, np.float32(-1)))  # just below the least
    cuts = _cuts(np.concatenate(samples), floor, num_ranges)
    dtype = np.float32 if size < FLOAT32_COUNTS else np.float64

    @np.errstate(all="ignore")  # again, since it may run in another thread
    def sort_range(cut: int) -> float:
        numbers, above, fg_above = _pack(work, row, size, cuts[cut], cuts[cut + 1])
        return _weigh_sorted(work, rows, _sort(numbers), above, fg_above, dtype)

    return math.fsum(spread(sort_range, range(len(cuts) - 1)))


def _cuts(sample: Array, floor: np.float32, num_ranges: int) -> Array:
    """Return falling limits from infinity to floor between which about equally many errors lie."""
    sample = np.sort(sample[sample > floor])[::-1]
    inner = [sample[i * len(sample) // num_ranges] for i in range(1, num_ranges) if len(sample)]
    return np.array([np.inf, *inner, floor], np.float32)


def _pack(
    work: Work, row: Row, size: int, high: np.float32, low: np.float32
) -> tuple[Array, int, int]:
    """Return the pixels with high >= error > low, as numbers that rise as their errors fall.

    The bits of positive floats, read as an integer, have the order of the floats. A number holds
    their complement in its upper half, in its lower one the pixel's number in the row (so of equal
    errors the first comes first), and in the last bit whether it is foreground.

    Also returned: how many pixels have larger errors, and how many of these are foreground.
    """
    numbers, count, above, fg_above = np.empty(size, np.uint64), 0, 0, 0
    for piece in _pieces(work, row):
        errors, is_fg = _piece_errors(work, row, piece)
        chosen = errors > low
        if high < np.inf:
            is_above = errors > high
            above += int(np.count_nonzero(is_above))
            fg_above += int(np.count_nonzero(is_above & is_fg))
            chosen &= ~is_above
        pixels = np.flatnonzero(chosen)
        packed = numbers[count : count + len(pixels)]
        count += len(pixels)
        packed[:] = (~errors.view(np.uint32)).take(pixels)
        packed <<= 32
        fg = is_fg.take(pixels)
        pixels += piece.before
        pixels <<= 1
        pixels |= fg
        packed |= pixels.view(np.uint64)
    return numbers[:count], above, fg_above


def _weigh_sorted(
    work: Work, rows: Sequence[Row], numbers: Array, above: int, fg_above: int, dtype: Any
) -> float:
    """Write the weights of sorted pixels to the gradient, a piece at a time; return their loss.

    Args:
        work: whose gradient is written.
        rows: one row, or twins.
        numbers: as `_pack` makes them, sorted.
        above: pixels with larger errors than these.
        fg_above: how many of these are foreground.
        dtype: in which the counts are exact.
    """
    loss, grad = 0.0, work.grad.reshape(-1)
    for start in range(0, len(numbers), BLOCK):
        piece = numbers[start : start + BLOCK]
        sizes = (~(piece >> 32).astype(np.uint32)).view(np.float32)
        pixels = (piece & 0xFFFFFFFF).view(np.int64)
        fg = (pixels & 1).astype(np.bool_)
        positions = _positions(work, rows[0], pixels >> 1)
        seen = int(np.count_nonzero(fg))
        for row in rows:
            if row is not rows[0]:  # the twin: no ignored pixel gets here, for its error is 0
                positions += (row.channel - rows[0].channel) * work.codes.shape[1]
            is_fg, before = (fg, fg_above) if row is rows[0] else (~fg, above - fg_above)
            weights = _rises(is_fg, row.num_fg, above, before, dtype).astype(np.float32, copy=False)
            loss += row.weight * float(np.multiply(weights, sizes).sum())
            signs = is_fg.astype(np.float32)
            signs *= -2 * row.weight
            signs += row.weight
            weights *= signs
            grad[positions] = weights  # of the truth falling
        above, fg_above = above + len(piece), fg_above + seen
    return loss


def _positions(work: Work, row: Row, pixels: Array) -> Array:
    """Return where in the flattened gradient a row's pixels, as numbered in it, are."""
    num_classes, num_pixels = work.values.shape[1:]
    start = (row.images.start * num_classes + row.channel) * num_pixels
    if len(row.images) == 1:
        return pixels + start
    return pixels + (pixels // num_pixels * ((num_classes - 1) * num_pixels) + start)


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
    # No quotient is above 1, so the larger one of it and of 1 for foreground, 0 for background, is
    # what is needed; a choice by condition would take ten times as long.
    np.fmax(weights, fg.astype(dtype), out=weights)
    weights /= union
    return weights


def _sort(numbers: Array) -> Array:
    """Sort numbers as `_pack` makes them, in place or by a radix sort, whichever is faster here."""
    if _numbers_are_faster():
        numbers.sort()
        return numbers
    return numbers.take(_order_by_halves((numbers >> 32).astype(np.uint32)))


def _order_by_halves(bits: Array) -> Array:
    """Sort by the lower half, then by the upper one: 16 bits are sorted by radix, so linearly."""
    halves = bits.view(np.uint16).reshape(-1, 2)
    low, high = halves.T if sys.byteorder == "little" else halves.T[::-1]
    order = low.argsort(kind="stable")
    return order.take(high.take(order).argsort(kind="stable"))


@functools.cache
def _numbers_are_faster() -> bool:
    """Try both ways of sorting: new processors sort eight numbers at once, old ones do not.

    Both give the same order, so a result does not depend on the answer.
    """
    numbers = np.random.default_rng(0).integers(0, 1 << 63, 1 << 13).view(np.uint64)
    ways = (np.sort, lambda x: _order_by_halves((x >> 32).astype(np.uint32)))
    best = []
    for way in ways:
        times = []
        for _ in range(3):
            start = time.perf_counter()
            way(numbers)
            times.append(time.perf_counter() - start)
        best.append(min(times))
    return best[0] < best[1]


# Binned -----------------------------------------------------------------------------------------


class Block(NamedTuple):
    """A run of pixels of one image, with the numbers of the rows that they belong to."""

    image: int
    pixels: slice
    rows: list[int]


def loops_for(num: int) -> ModuleType | None:
    """Return the compiled loops, if they are worth it for a loss of that many errors."""
    return request_loops() if num > SMALL else loaded_loops()


def binned_loss(
    work: Work, bins: int, weigh: Weigh, num_threads: int, loops: ModuleType | None
) -> float:
    """Return the binned loss and write its gradient, by logits if `work.sums_to_one`.

    Two passes over the pixels, in blocks that fit the cache: one counts, one looks the weights up.
    In between, the gradient's own memory keeps the number of each pixel's bin (and
    before that the hinge's errors, whose largest is not known beforehand). Compiled loops, where
    they are, compute that number twice instead, which is quicker than to write and read it; so
    they can write the gradient over the probabilities.
    """
    num = num_threads if work.codes.size * len(work.rows) > SMALL else 1
    blocks = _blocks(work, num)
    parts = [blocks[i::num] for i in range(num)]
    with _threads(num) as spread:
        tops = np.ones(len(work.rows), np.float32)
        if work.offset:  # the hinge's errors have no bound
            tops = np.max(list(spread(lambda part: _find_tops(work, part), parts)), axis=0)
        steps = np.float32(bins) / np.maximum(tops, np.float32(TINY))  # bins per unit of error
        lanes = LANES if bins <= MANY_BINS else 1
        count = functools.partial(_count, work, bins=bins, lanes=lanes, steps=steps, loops=loops)
        counts = np.sum(list(spread(count, parts)), axis=0)
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
        if loops is None:
            tables = np.tile(tables, lanes)
        look_up = functools.partial(_look_up, work, tables=tables, steps=steps, loops=loops)
        return loss + math.fsum(spread(look_up, parts))


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
def _count(
    work: Work,
    blocks: Iterable[Block],
    *,
    bins: int,
    lanes: int,
    steps: Array,
    loops: ModuleType | None,
) -> Array:
    """Return (rows, 2, bins + 1): the background and foreground pixels in each bin of each row.

    Bin i holds the errors in ((i - 1) / bins, i / bins] of the row's largest possible error.
    Neighbors are often in one bin, and a processor waits until it has written a number before it
    can add to it again. So a pixel is counted in the table of its lane, its number modulo `lanes`.
    The compiled loop, where there is one, counts the same in one pass.
    """
    width = 2 * (bins + 1)
    counts = np.zeros((len(work.rows), lanes * width), np.int64)
    lane = np.float32(width) * (np.arange(BLOCK) % lanes).astype(np.float32)
    for block in blocks:
        codes, is_ignored = work.codes[block.image, block.pixels], None
        if work.has_ignored:
            is_ignored = codes == work.ignored
        scaled, fg = np.empty(codes.shape, np.float32), np.empty(codes.shape, np.float32)
        for r in block.rows:
            here = block.image, work.rows[r].channel, block.pixels
            if loops is not None:
                numbers = work.rows[r].channel, work.ignored, bins, steps[r]
                loops.count_bins(work.values[here], codes, *numbers, counts[r])
                continue
            index = work.grad[here].view(np.int32)
            np.copyto(fg, codes == work.rows[r].channel)
            errors = work.grad[here]  # the hinge's, as _find_tops left them
            if not work.offset:
                errors = np.abs(np.subtract(work.values[here], fg, out=scaled), out=scaled)
                if is_ignored is not None:
                    errors[is_ignored] = 0
            np.multiply(errors, steps[r], out=scaled)
            if not scaled.max() <= bins:  # nan too goes into a bin, and from there to the loss
                np.fmin(scaled, bins, out=scaled)
            np.ceil(scaled, out=scaled)
            fg *= bins + 1
            scaled += fg
            scaled += lane[: len(scaled)]
            np.copyto(index, scaled, casting="unsafe")
            counts[r] += _bincount(index, counts.shape[1])
    return counts.reshape(len(counts), lanes, 2, bins + 1).sum(1)


def _bincount(index: Array, length: int) -> Array:
    """Return how often each number stands in `index`: torch is twice as fast as NumPy at this."""
    # Longer ones it would divide among threads of its own, which would get into each other's way.
    counts = torch.zeros(length, dtype=torch.int64)
    for part in torch.from_numpy(index).split(UNDIVIDED):
        counts += torch.bincount(part, minlength=length)
    return counts.numpy()


@np.errstate(all="ignore")
def _look_up(
    work: Work, blocks: Iterable[Block], *, tables: Array, steps: Array, loops: ModuleType | None
) -> float:
    """Turn the numbers of the bins into the gradient, return the sum of value times weight.

    By the logits of a softmax, the gradient is that by its probabilities minus their mean under
    these probabilities, times the probability. The compiled loop does the same strip by strip.
    """
    total = 0.0
    for block in blocks:
        values, grad = work.values[block.image], work.grad[block.image]
        dots = np.zeros(block.pixels.stop - block.pixels.start, np.float32)
        if loops is not None:
            rows = np.full(len(values), -1)
            rows[[work.rows[r].channel for r in block.rows]] = block.rows
            bins = tables.shape[1] // 2 - 1
            where = work.ignored, bins, block.pixels.start, work.sums_to_one, dots
            loops.look_up(values, work.codes[block.image], grad, rows, steps, tables, *where)
        else:
            product = np.empty_like(dots)
            for r in block.rows:
                here = work.rows[r].channel, block.pixels
                # No number is out of range, so the mode is only the fastest one.
                index = grad[here].view(np.int32).astype(np.intp)
                tables[r].take(index, out=grad[here], mode="wrap")
                dots += np.multiply(values[here], grad[here], out=product)
            if work.sums_to_one:
                for channel in range(len(values)):
                    here = channel, block.pixels
                    grad[here] -= dots
                    grad[here] *= values[here]
        total += float(dots.sum())  # few: float32 is enough
    return total


def _blocks(work: Work, num_threads: int) -> list[Block]:
    """Cut all images into blocks, several for each thread."""
    num_images, num_pixels = work.codes.shape
    rows_of = [[r for r, row in enumerate(work.rows) if i in row.images] for i in range(num_images)]
    length = min(BLOCK, max(SMALL, -(-num_images * num_pixels // (2 * num_threads))))
    return [
        Block(image, slice(start, min(start + length, num_pixels)), rows_of[image])
        for image in range(num_images)
        for start in range(0, num_pixels, length)
    ]
