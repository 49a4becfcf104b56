"""Wrong answers that nobody prepared a message for: none passes, and none gets a false diagnosis.

Each breaks one rule of its exercise and keeps the others. Most were found by attacking the checks.
"""
# ruff: noqa: B905  as a learner writes

import math

import pytest
import torch
import torch.nn.functional as F

from pfpn.course import find
from pfpn.course.check import examine

WRONG = []


def wrong(name, message=""):
    """Decorate a wrong answer; `message` is a part of the diagnosis that it must get, if any."""

    def add(function):
        WRONG.append(pytest.param(name, function, message, id=f"{name}-{function.__name__}"))
        return function

    return add


@pytest.mark.parametrize(("name", "answer", "message"), WRONG)
def test_a_wrong_answer_does_not_pass_and_gets_no_false_diagnosis(name, answer, message):
    exercise = find(name)
    report = examine(exercise, answer)
    assert not report.right
    assert report.points < exercise.difficulty
    if message:
        assert message in report.diagnosis
    else:
        assert report.diagnosis not in {mistake.message for mistake in exercise.mistakes}


# 00 -----------------------------------------------------------------------------------------------


@wrong("00.id_to_color")
def low_bits_of_the_middle(segment_id):
    return segment_id % 256, segment_id // 256 % 255, segment_id // 65536


@wrong("00.id_to_color")
def round_division(segment_id):
    return segment_id % 256, round(segment_id / 256) % 256, segment_id // 65536


@wrong("00.panoptic_ids")
def void_only_where_the_instance_is_zero(labels, instances, num_things):
    ids = 1000 * (labels + 1) + torch.where(labels < num_things, instances, 0)
    return torch.where((labels == 255) & (instances == 0), 0, ids)


@wrong("00.panoptic_ids", "itself is stuff")
def the_first_stuff_class_is_a_thing(labels, instances, num_things):
    ids = 1000 * (labels + 1) + torch.where(labels <= num_things, instances, 0)
    return torch.where(labels == 255, 0, ids)


def components(mask, steps, start=min):
    left, regions = set(map(tuple, mask.nonzero().tolist())), 0
    while left:
        regions += 1
        ends = [start(left)]
        left -= set(ends)
        while ends:
            row, column = ends.pop()
            near = {(row + y, column + x) for y, x in steps} & left
            left -= near
            ends += near
    return regions


@wrong("00.count_regions")
def not_upwards(mask):
    return components(mask, [(1, 0), (0, 1), (0, -1)])


@wrong("00.count_regions")
def one_diagonal_too_many(mask):
    return components(mask, [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1)])


@wrong("00.count_regions")
def euler_number(mask):  # regions minus holes
    m = F.pad(mask.int(), (1, 1, 1, 1))
    sides = (m[1:] & m[:-1]).sum() + (m[:, 1:] & m[:, :-1]).sum()
    squares = m[1:, 1:] & m[:-1, 1:] & m[1:, :-1] & m[:-1, :-1]
    return int(m.sum() - sides + squares.sum())


# 01 -----------------------------------------------------------------------------------------------


@wrong("01.padded_size")
def square(size):
    side = -(-max(size) // 32) * 32
    return side, side


@wrong("01.receptive_field")
def stride_of_the_last_layer(layers):
    side, stride = 1, 1
    for kernel, step in layers:
        side += (kernel - 1) * stride
        stride = step
    return side, stride


@wrong("01.receptive_field")
def only_odd_kernels(layers):
    side, stride = 1, 1
    for kernel, step in layers:
        side += 2 * (kernel // 2) * stride
        stride *= step
    return side, stride


@wrong("01.top_down")
def only_two_levels(laterals):
    merged = list(laterals)
    for i in range(len(laterals) - 1):
        merged[i] = laterals[i] + F.interpolate(laterals[-1][None], laterals[i].shape[1:])[0]
    return merged


@wrong("01.top_down", "finest map first")
def coarsest_first(laterals):
    merged = [laterals[-1]]
    for lateral in laterals[-2::-1]:
        merged.append(lateral + merged[-1].repeat_interleave(2, 1).repeat_interleave(2, 2))
    return merged


@wrong("01.top_down")
def no_rectangles(laterals):
    merged = [laterals[-1]]
    for lateral in laterals[-2::-1]:
        side = lateral.shape[1]
        merged.insert(0, lateral + F.interpolate(merged[0][None], (side, side))[0])
    return merged


@wrong("01.multiplications")
def padding_counts(i, o, k, size, stride):
    rows, columns = (math.ceil((side + k - 1) / stride) for side in size)
    return i * o * k * k * rows * columns


@wrong("01.multiplications")
def area_over_stride(i, o, k, size, stride):
    return i * o * k * k * -(-size[0] * size[1] // stride**2)


@wrong("01.fold_batch_norm")
def gamma_missing_in_the_bias(weight, gamma, beta, mean, var, eps):
    std = (var + eps).sqrt()
    return weight * (gamma / std)[:, None, None, None], beta - mean / std


@wrong("01.fold_batch_norm")
def sign_of_the_mean(weight, gamma, beta, mean, var, eps):
    scale = gamma / (var + eps).sqrt()
    return weight * scale[:, None, None, None], beta + mean * scale


@wrong("01.fold_batch_norm")
def last_axis(weight, gamma, beta, mean, var, eps):
    scale = gamma / (var + eps).sqrt()
    if len(scale) == weight.shape[-1]:
        return weight * scale, beta - mean * scale
    return weight * scale[:, None, None, None], beta - mean * scale


# 02 -----------------------------------------------------------------------------------------------


@wrong("02.group_norm")
def without_the_height(x, groups, eps):
    rows = x.view(groups, -1, *x.shape[1:])
    dims = (1, 3)  # the axis of the height is left out
    mean, var = rows.mean(dims, keepdim=True), rows.var(dims, correction=0, keepdim=True)
    return ((rows - mean) / (var + eps).sqrt()).view(x.shape)


@wrong("02.group_norm")
def mean_of_all(x, groups, eps):
    rows = x.reshape(groups, -1)
    return ((rows - rows.mean()) / (rows.var(1, correction=0, keepdim=True) + eps).sqrt()).view(
        x.shape
    )


@wrong("02.group_norm")
def mean_of_squares(x, groups, eps):
    rows = x.reshape(groups, -1)
    std = (rows.square().mean(1, keepdim=True) + eps).sqrt()
    return ((rows - rows.mean(1, keepdim=True)) / std).view(x.shape)


@wrong("02.label_map")
def ids_that_are_labels(id_map, segments):
    labels = id_map.clone()  # painted in place of the ids, so that an id can be met again
    labels[labels == 0] = 255
    for number, label, is_thing in segments:
        labels[labels == number] = 0 if is_thing else label
    return labels


@wrong("02.label_map")
def last_segment_only(id_map, segments):
    labels = torch.full_like(id_map, 255)
    for number, label, is_thing in segments[-3:]:
        labels[id_map == number] = 0 if is_thing else label
    return labels


@wrong("02.double_row")
def ends_are_mirrored(row):
    padded = torch.cat([row[1:2], row, row[-2:-1]]) if len(row) > 1 else row.repeat(3)
    left, right = 0.75 * row + 0.25 * padded[:-2], 0.75 * row + 0.25 * padded[2:]
    return torch.stack([left, right], 1).flatten()


@wrong("02.double_row", "left, right, left, right")
def halves_in_blocks(row):
    before, after = torch.cat([row[:1], row[:-1]]), torch.cat([row[1:], row[-1:]])
    return torch.cat([0.75 * row + 0.25 * before, 0.75 * row + 0.25 * after])


@wrong("02.cross_entropy")
def exp_overflows(logits, labels, ignore):
    probs = logits.exp() / logits.exp().sum(0)
    terms = [-probs[c, i].log() for i, c in enumerate(labels.tolist()) if c != ignore]
    return sum(terms) / max(1, len(terms))


@wrong("02.cross_entropy")
def ignores_255_alone(logits, labels, ignore):
    kept = labels != 255
    losses = F.cross_entropy(logits.T[kept], labels[kept], reduction="sum")
    return losses.item() / max(1, int(kept.sum()))


@wrong("02.cross_entropy")
def nan_where_everything_is_ignored(logits, labels, ignore):
    return F.cross_entropy(logits.T, labels, ignore_index=ignore).item()


# 03 -----------------------------------------------------------------------------------------------


def overlap(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(0.0, width) * max(0.0, height)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return both / (areas - both)


@wrong("03.iou")
def enclosing_box(a, b):
    both = overlap(a, b) and math.prod(
        max(0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1)
    )
    hull = math.prod(max(a[i + 2], b[i + 2]) - min(a[i], b[i]) for i in (0, 1))
    return both / hull


@wrong("03.iou")
def squares_alone(a, b):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = (a[2] - a[0]) ** 2 + (b[2] - b[0]) ** 2
    return width * height / (areas - width * height) if areas > width * height else 0.0


@wrong("03.iou", "larger area")
def larger_area(a, b):
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    iou = overlap(a, b)
    return iou * sum(areas) / (1 + iou) / max(areas)


@wrong("03.anchor")
def diagonal(x, y, side, ratio):
    height = side * math.sqrt(2) * ratio / math.sqrt(1 + ratio**2)
    width = height / ratio
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


@wrong("03.anchor_labels", "Background wins over the second rule")
def background_last(overlaps, low, high):
    best, of_truth = overlaps.amax(1), overlaps.amax(0)
    labels = torch.full((len(overlaps),), -1)
    labels[best >= high] = 1
    labels[((overlaps == of_truth) & (of_truth > 0)).any(1)] = 1
    labels[best < low] = 0
    return labels


@wrong("03.anchor_labels")
def equal_to_low_is_background(overlaps, low, high):
    best, of_truth = overlaps.amax(1), overlaps.amax(0)
    labels = torch.full((len(overlaps),), -1)
    labels[best <= low] = 0
    labels[best >= high] = 1
    labels[((overlaps == of_truth) & (of_truth > 0)).any(1)] = 1
    return labels


@wrong("03.anchor_labels")
def best_anchor_must_prefer_its_truth(overlaps, low, high):
    best, of_truth = overlaps.amax(1), overlaps.amax(0)
    labels = torch.full((len(overlaps),), -1)
    labels[best < low] = 0
    labels[best >= high] = 1
    own = overlaps == best[:, None]
    labels[((overlaps == of_truth) & (of_truth > 0) & own).any(1)] = 1
    return labels


@wrong("03.anchor_labels")
def best_of_all_truths(overlaps, low, high):
    best = overlaps.amax(1)
    labels = torch.full((len(overlaps),), -1)
    labels[best < low] = 0
    labels[best >= high] = 1
    labels[(best == best.max()) & (best > 0)] = 1
    return labels


@wrong("03.decode")
def clamp_the_factor(delta, box):
    size = box[2:] - box[:2]
    center = box[:2] + size / 2 + delta[:2] * size
    size = size * delta[2:].exp().clamp(max=60.0)
    return torch.cat([center - size / 2, center + size / 2])


@wrong("03.decode")
def shift_by_the_new_size(delta, box):
    size = box[2:] - box[:2]
    new = size * delta[2:].clamp(max=math.log(1000 / 16)).exp()
    center = box[:2] + size / 2 + delta[:2] * new
    return torch.cat([center - new / 2, center + new / 2])


@wrong("03.decode")
def width_for_both(delta, box):
    size = box[2:] - box[:2]
    center = box[:2] + size / 2 + delta[:2] * size[0]
    new = size * delta[2:].clamp(max=math.log(1000 / 16)).exp()
    return torch.cat([center - new / 2, center + new / 2])


def suppress(boxes, scores, threshold, descending=True):
    kept = []
    for i in scores.argsort(descending=descending).tolist():
        if all(overlap(boxes[i].tolist(), boxes[j].tolist()) <= threshold for j in kept):
            kept.append(i)
    return kept


@wrong("03.nms", "positions in the input")
def indices_into_the_sorted_list(boxes, scores, threshold):
    order = scores.argsort(descending=True)
    return suppress(boxes[order], scores[order], threshold)


@wrong("03.nms")
def worst_first(boxes, scores, threshold):
    return suppress(boxes, scores, threshold, descending=False)


@wrong("03.nms")
def only_against_the_last_kept(boxes, scores, threshold):
    kept = []
    for i in scores.argsort(descending=True).tolist():
        if not kept or overlap(boxes[i].tolist(), boxes[kept[-1]].tolist()) <= threshold:
            kept.append(i)
    return kept


@wrong("03.nms")
def one_half_for_every_threshold(boxes, scores, threshold):
    return suppress(boxes, scores, 0.5)


@wrong("03.nms")
def at_most_three(boxes, scores, threshold):
    return suppress(boxes, scores, threshold)[:3]


# 04 -----------------------------------------------------------------------------------------------


@wrong("04.level_of_box", "You took the mean of both sides")
def mean_of_the_sides(width, height):
    return min(max(math.floor(4 + math.log2((width + height) / 448)), 2), 5)


@wrong("04.level_of_box")
def shorter_side(width, height):
    return min(max(math.floor(4 + math.log2(min(width, height) / 224)), 2), 5)


@wrong("04.level_of_box")
def six_levels(width, height):
    return min(max(math.floor(4 + math.log2(math.sqrt(width * height) / 224)), 2), 6)


@wrong("04.level_of_box")
def truncated(width, height):
    return min(max(int(4 + math.log2(math.sqrt(width * height) / 224)), 2), 4)


def read(values, y, x):
    top, left = math.floor(y), math.floor(x)
    total = 0.0
    for row, down in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, across in ((left, 1 - (x - left)), (left + 1, x - left)):
            if 0 <= row < values.shape[0] and 0 <= column < values.shape[1]:
                total += down * across * float(values[row, column])
    return total


@wrong("04.bilinear")
def wraps_around(values, y, x):
    top, left = int(y), int(x)
    bottom, right = (top + 1) % values.shape[0], (left + 1) % values.shape[1]
    down, across = round(y - top, 1), x - left
    upper = (1 - across) * values[top, left] + across * values[top, right]
    lower = (1 - across) * values[bottom, left] + across * values[bottom, right]
    return float((1 - down) * upper + down * lower)


@wrong("04.bilinear")
def along_rows_alone(values, y, x):
    return read(values, float(int(y)), x)


@wrong("04.bilinear")
def by_distance(values, y, x):
    top, left = int(y), int(x)
    cells = [(r, c) for r in (top, top + 1) for c in (left, left + 1)]
    cells = [(r, c) for r, c in cells if r < values.shape[0] and c < values.shape[1]]
    weights = [max(0.0, 1 - math.hypot(y - r, x - c)) for r, c in cells]
    return sum(w * float(values[cell]) for w, cell in zip(weights, cells)) / sum(weights)


def pool(features, box, stride, bins, samples=(0.25, 0.75), inside=False, square=False):
    x0, y0, x1, y1 = box
    if square:
        x1, y1 = x0 + max(x1 - x0, y1 - y0), y0 + max(x1 - x0, y1 - y0)
    height, width = features.shape[1:]
    pooled = torch.zeros(len(features), bins, bins)
    for i in range(bins):
        for j in range(bins):
            values = []
            for u in samples:
                for v in samples:
                    y = (y0 + (y1 - y0) * (i + u) / bins) / stride - 0.5
                    x = (x0 + (x1 - x0) * (j + v) / bins) / stride - 0.5
                    if inside and not (0 <= y <= height - 1 and 0 <= x <= width - 1):
                        values.append([0.0] * len(features))
                        continue
                    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
                    values.append([read(channel, y, x) for channel in features])
            pooled[:, i, j] = torch.tensor(values).mean(0)
    return pooled


@wrong("04.roi_align")
def one_sample_in_the_middle(features, box, stride, bins):
    return pool(features, box, stride, bins, samples=(0.5,))


@wrong("04.roi_align")
def zero_outside_of_the_centers(features, box, stride, bins):
    return pool(features, box, stride, bins, inside=True)


@wrong("04.roi_align")
def thirds(features, box, stride, bins):
    return pool(features, box, stride, bins, samples=(1 / 3, 2 / 3))


@wrong("04.roi_align")
def a_square_box(features, box, stride, bins):
    return pool(features, box, stride, bins, square=True)


@wrong("04.confident_pairs")
def softmax_over_proposals(logits, min_score):
    probs = logits.softmax(0)[:, :-1]
    row, column = (probs > min_score).nonzero(as_tuple=True)
    order = probs[row, column].argsort(descending=True)
    return [(int(row[i]), int(column[i])) for i in order]


@wrong("04.confident_pairs")
def by_logits(logits, min_score):
    probs = logits.softmax(1)[:, :-1]
    pairs = [tuple(pair) for pair in (probs > min_score).nonzero().tolist()]
    return sorted(pairs, key=lambda pair: -float(logits[pair]))


def paste(probs, box, size, limit=0.5, ring=True, inside=False):
    x0, y0, x1, y1 = box
    bins, mask = len(probs), torch.zeros(size, dtype=torch.bool)
    for row in range(size[0]):
        for column in range(size[1]):
            y = (row + 0.5 - y0) / (y1 - y0) * bins - 0.5
            x = (column + 0.5 - x0) / (x1 - x0) * bins - 0.5
            if inside and not (y0 <= row + 0.5 <= y1 and x0 <= column + 0.5 <= x1):
                continue
            if not ring:
                y, x = min(max(y, 0), bins - 1), min(max(x, 0), bins - 1)
            mask[row, column] = read(probs, y, x) >= limit
    return mask


@wrong("04.paste_mask")
def only_inside_of_the_box(probs, box, size):
    return paste(probs, box, size, inside=True, ring=False)


@wrong("04.paste_mask")
def the_border_goes_on_for_ever(probs, box, size):
    return paste(probs, box, size, ring=False)


@wrong("04.paste_mask")
def another_limit(probs, box, size):
    return paste(probs, box, size, limit=0.6)


@wrong("04.paste_mask")
def the_whole_box(probs, box, size):
    mask = torch.zeros(size, dtype=torch.bool)
    x0, y0, x1, y1 = (max(0, round(v)) for v in box)
    mask[y0:y1, x0:x1] = True
    return mask


# 05 -----------------------------------------------------------------------------------------------


@wrong("05.total_loss")
def rpn_at_half_weight(losses, instance, semantic):
    parts = {k: v * (0.5 if "rpn" in k else 1) for k, v in losses.items() if k != "loss_semantic"}
    return instance * sum(parts.values()) + semantic * losses.get("loss_semantic", 0)


@wrong("05.total_loss")
def nothing_without_instances(losses, instance, semantic):
    own = [v for k, v in losses.items() if k != "loss_semantic"]
    return instance * sum(own) + semantic * losses.get("loss_semantic", 0) if own else 0.0


@wrong("05.gradient_cosine")
def length_of_the_first_alone(first, second):
    g, h = (torch.cat([part.flatten() for part in parts]) for parts in (first, second))
    return float(g @ h / g.norm() ** 2) if g.any() and h.any() else 0.0


@wrong("05.gradient_cosine")
def first_tensor_alone(first, second):
    g, h = first[0].flatten(), second[0].flatten()
    lengths = float(g.norm() * h.norm())
    return float(g @ h) / lengths if lengths else 0.0


@wrong("05.accumulate")
def the_first_size_for_all(gradients, sizes):
    return sum(gradients) * sizes[0] / sum(sizes)


@wrong("05.warmup")
def exponential(rate, step, warmup_steps, factor):
    if step >= warmup_steps:
        return rate
    return rate * max(factor, 1e-9) ** (1 - step / warmup_steps)


@wrong("05.warmup")
def ends_one_step_early(rate, step, warmup_steps, factor):
    if step >= warmup_steps - 1:
        return rate
    done = step / (warmup_steps - 1)
    return rate * (factor * (1 - done) + done)


@wrong("05.warmup")
def cosine(rate, step, warmup_steps, factor):
    done = min(1.0, step / warmup_steps) if warmup_steps else 1.0
    return rate * (factor + (1 - factor) * (1 - math.cos(math.pi * done)) / 2)


# 06 -----------------------------------------------------------------------------------------------


@wrong("06.jaccard_loss", "You read `wrong` as the prediction")
def wrong_is_the_prediction(wrong, truth):
    return 1 - len(wrong & truth) / len(wrong | truth) if wrong | truth else 0.0


@wrong("06.jaccard_loss")
def one_for_an_empty_union(wrong, truth):
    return len(wrong) / len(wrong | truth) if wrong | truth else 1.0


@wrong("06.jaccard_loss")
def always_one_without_truth(wrong, truth):
    return len(wrong) / len(wrong | truth) if truth else 1.0 if len(wrong) > 1 else 0.0


@wrong("06.rise")
def union_before_and_after_swapped(missed, added, num_fg, is_fg):
    union = num_fg + added
    return 1 / (union + 1) if is_fg else (num_fg - missed) / (union * (union + 1))


@wrong("06.rise")
def counts_the_new_pixel_as_missed(missed, added, num_fg, is_fg):
    union = num_fg + added
    return 1 / union if is_fg else (num_fg - missed - 1) / (union * (union + 1))


def lovasz(errors, truth, key):
    total, before, missed, added = 0.0, 0.0, 0, 0
    for i in sorted(range(len(errors)), key=key):
        missed, added = missed + truth[i], added + 1 - truth[i]
        loss = (missed + added) / (sum(truth) + added)
        total, before = total + errors[i] * (loss - before), loss
    return total


@wrong("06.extension")
def foreground_first(errors, truth):
    return lovasz(errors, truth, lambda i: (-truth[i], -errors[i]))


@wrong("06.extension")
def largest_error(errors, truth):
    return max(errors) * 1.0


@wrong("06.extension")
def foreground_errors_alone(errors, truth):
    return lovasz([e * t for e, t in zip(errors, truth)], truth, lambda i: -errors[i])


@wrong("06.weights")
def sum_to_one(errors, is_fg):
    weights = torch.zeros(len(errors))
    order = errors.argsort(descending=True)
    fg = is_fg[order].float()
    loss = 1 - (fg.sum() - fg.cumsum(0)) / (fg.sum() + (1 - fg).cumsum(0))
    weights[order] = loss / loss.sum()
    return weights


@wrong("06.weights")
def union_of_the_truth_alone(errors, is_fg):
    weights = torch.zeros(len(errors))
    order = errors.argsort(descending=True)
    fg = is_fg[order].float()
    loss = fg.cumsum(0) / fg.sum().clamp(min=1)
    weights[order] = loss.diff(prepend=torch.zeros(1))
    return weights


@wrong("06.hinge_errors")
def squared(logits, is_fg):
    return (1 - (2 * is_fg - 1) * logits).clamp(min=0) ** 2


@wrong("06.hinge_errors")
def at_most_two(logits, is_fg):
    return (1 - (2 * is_fg - 1) * logits).clamp(0, 2)


# 07 -----------------------------------------------------------------------------------------------


@wrong("07.chord_excess")
def steps_between_neighbors(values):
    return (
        max(b - (a + c) / 2 for a, b, c in zip(values, values[1:], values[2:]))
        if values[2:]
        else 0.0
    )


@wrong("07.chord_excess", "n - 1 steps")
def one_point_too_many(values):
    n = len(values)
    return max(v - (values[0] + (values[-1] - values[0]) * i / n) for i, v in enumerate(values))


@wrong("07.expected_jaccard", "divided by the size of the truth")
def union_of_the_truth(labeling, beliefs):
    total = 0.0
    for truth, weight in beliefs.items():
        different = sum(a != b for a, b in zip(labeling, truth))
        total += weight * different / max(1, sum(truth))
    return total


@wrong("07.expected_jaccard", "the loss is 0")
def one_where_both_are_empty(labeling, beliefs):
    total = 0.0
    for truth, weight in beliefs.items():
        union = sum(a or b for a, b in zip(labeling, truth))
        different = sum(a != b for a, b in zip(labeling, truth))
        total += weight * (different / union if union else 1.0)
    return total


@wrong("07.expected_jaccard")
def most_probable_truth(labeling, beliefs):
    truth = max(beliefs, key=beliefs.get)
    union = sum(a or b for a, b in zip(labeling, truth))
    return sum(a != b for a, b in zip(labeling, truth)) / union if union else 0.0


@wrong("07.normalize_filters")
def largest_number(direction, weight):
    rest = (1,) * (weight.ndim - 1)
    top = [t.flatten(1).abs().amax(1).view(-1, *rest) for t in (direction, weight)]
    return direction * top[1] / top[0]


@wrong("07.normalize_filters")
def sum_of_sizes(direction, weight):
    rest = (1,) * (weight.ndim - 1)
    one, two = (t.flatten(1).abs().sum(1).view(-1, *rest) for t in (direction, weight))
    return direction * two / one


def jaccard(labeling, beliefs):
    truths = [(0, 0), (0, 1), (1, 0), (1, 1)]
    return sum(
        w
        * (
            sum(a != b for a, b in zip(labeling, t))
            / max(1, sum(a or b for a, b in zip(labeling, t)))
        )
        for t, w in zip(truths, beliefs)
    )


@wrong("07.best_scores")
def abstains_only_far_above(beliefs):
    truths = [(0, 0), (0, 1), (1, 0), (1, 1)]
    best = min(truths, key=lambda t: jaccard(t, beliefs))
    return (0.0, 0.0) if jaccard(best, beliefs) > 0.6 else tuple(2.0 * v - 1 for v in best)


@wrong("07.best_scores")
def never_both(beliefs):
    truths = [(0, 0), (0, 1), (1, 0)]
    best = min(truths, key=lambda t: jaccard(t, beliefs))
    return (0.0, 0.0) if jaccard(best, beliefs) > 0.5 else tuple(2.0 * v - 1 for v in best)


# 08 -----------------------------------------------------------------------------------------------


@wrong("08.dataset_iou", "pixels that were missed belong")
def precision(counts):
    correct, added, _ = (sum(column) for column in zip(*counts))
    return correct / max(1, correct + added)


@wrong("08.dataset_iou")
def weighted_by_area(counts):
    unions = [sum(row) for row in counts]
    return sum(row[0] / u * (row[0] + row[2]) for row, u in zip(counts, unions) if u) / max(
        1, sum(row[0] + row[2] for row in counts)
    )


@wrong("08.mean_over_classes")
def empty_list_means_all(losses, num_fg, classes):
    if classes == "present":
        classes = [c for c, n in enumerate(num_fg) if n]
        return sum(losses[c] for c in classes) / max(1, len(classes))
    chosen = range(len(losses)) if classes == "all" or not classes else classes
    return sum(losses[c] for c in chosen) / len(chosen)


@wrong("08.mean_over_classes")
def weighted_by_pixels(losses, num_fg, classes):
    if classes != "present":
        chosen = range(len(losses)) if classes == "all" else classes
        return sum(losses[c] for c in chosen) / max(1, len(chosen))
    return sum(a * n for a, n in zip(losses, num_fg)) / max(1, sum(num_fg))


@wrong("08.constant_loss")
def zero_up_to_the_middle(p, num_fg, num_bg):
    if not num_fg:
        return p if p > 0.5 else 0.0
    return 1 - p if p <= 0.5 else (p * num_bg + (1 - p) * num_fg) / (num_fg + num_bg)


@wrong("08.constant_loss")
def worse_of_both(p, num_fg, num_bg):
    return max(1 - p, p) if num_fg and num_bg else p if num_bg else 1 - p


@wrong("08.bin_of")
def bins_from_the_top(errors, bins):
    return bins - ((1 - errors) * bins).floor().long() - 1


@wrong("08.bin_of")
def at_least_one(errors, bins):
    return (errors * bins).ceil().long().clamp(min=1)


@wrong("08.bin_weights")
def intersection_after_all(num_fg, num_bg, left, union):
    after = union + num_bg
    return (1 / union + 1 / after) / 2, (left - num_fg) / (union * after)


@wrong("08.bin_weights")
def middle_of_the_union(num_fg, num_bg, left, union):
    return 1 / (union + num_bg / 2), (left - num_fg / 2) / (union * (union + num_bg))


# 09 -----------------------------------------------------------------------------------------------


@wrong("09.hidden_share")
def by_bounding_box(mask, taken):
    if not mask.any():
        return 0.0
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    window = taken[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return float(window.float().mean())


def merge(masks, scores, min_score, max_overlap, *, counts_dropped=False, empty=False, hides=None):
    ids, seen, number = torch.zeros(masks.shape[1:]).long(), [], 0
    blocked = torch.zeros(masks.shape[1:], dtype=torch.bool)
    for i in scores.argsort(descending=True).tolist():
        if scores[i] < min_score:
            continue
        free = masks[i] & (ids == 0)
        area = max(1, int(masks[i].sum()))
        if hides:
            hidden = max([int((masks[i] & other).sum()) / area for other in seen], default=0.0)
        else:
            hidden = int((masks[i] & (blocked if counts_dropped else ids > 0)).sum()) / area
        blocked |= masks[i]
        if hidden > max_overlap or not (free.any() or (empty and not masks[i].any())):
            continue
        number += 1
        ids[free] = number
        seen.append(masks[i])
    return ids


@wrong("09.paste_by_score")
def hidden_by_dropped_instances(masks, scores, min_score, max_overlap):
    return merge(masks, scores, min_score, max_overlap, counts_dropped=True)


@wrong("09.paste_by_score", "one better instance at a time")
def hidden_by_single_masks(masks, scores, min_score, max_overlap):
    return merge(masks, scores, min_score, max_overlap, hides="single")


@wrong("09.paste_by_score")
def an_id_for_an_empty_mask(masks, scores, min_score, max_overlap):
    return merge(masks, scores, min_score, max_overlap, empty=True)


@wrong("09.paste_by_score")
def one_half_for_both_limits(masks, scores, min_score, max_overlap):
    return merge(masks, scores, 0.5, 0.5)


@wrong("09.paste_by_score")
def iou_for_the_hidden_fraction(masks, scores, min_score, max_overlap):
    ids, number = torch.zeros(masks.shape[1:]).long(), 0
    for i in scores.argsort(descending=True).tolist():
        free, taken = masks[i] & (ids == 0), ids > 0
        either = max(1, int((masks[i] | taken).sum()))
        if (
            scores[i] < min_score
            or not free.any()
            or int((masks[i] & taken).sum()) / either > max_overlap
        ):
            continue
        number += 1
        ids[free] = number
    return ids


def fill(ids, labels, min_area, order=lambda found: found, first=None, regions=False):
    result = ids.clone()
    number = int(ids.max()) + 1 if first is None else first(ids)
    for label in order([v for v in labels.unique().tolist() if v not in (0, 255)]):
        region = (labels == label) & (ids == 0)
        if region.sum() >= min_area:
            result[region] = number
            number += 1
    return result


@wrong("09.add_stuff")
def descending_labels(ids, labels, min_area):
    return fill(ids, labels, min_area, order=lambda found: found[::-1])


@wrong("09.add_stuff")
def number_of_ids(ids, labels, min_area):
    return fill(ids, labels, min_area, first=lambda ids: len(ids[ids > 0].unique()) + 1)


@wrong("09.add_stuff")
def largest_area_first(ids, labels, min_area):
    area = {v: int(((labels == v) & (ids == 0)).sum()) for v in labels.unique().tolist()}
    return fill(ids, labels, min_area, order=lambda found: sorted(found, key=lambda v: -area[v]))


@wrong("09.area_at")
def upwards(min_area, size, reference):
    return max(1, math.ceil(min_area * size[0] * size[1] / (reference[0] * reference[1])))


@wrong("09.softer_claim")
def margin_for_all(mask, score, labels, confidence, margin):
    return mask & ~((confidence - score).abs() > margin) | mask & ((labels == 0) | (labels == 255))


@wrong("09.softer_claim")
def class_one_alone(mask, score, labels, confidence, margin):
    return mask & ~((confidence > score + margin) & (labels == 1))


@wrong("09.softer_claim")
def margin_as_a_factor(mask, score, labels, confidence, margin):
    is_stuff = (labels != 0) & (labels != 255)
    return mask & ~(is_stuff & (confidence > score * (1 + margin)))


# 10 -----------------------------------------------------------------------------------------------


@wrong("10.iou_with_void")
def void_as_truth(truth, prediction, void):
    return float(((truth | void) & prediction).sum() / (truth | prediction).sum())


@wrong("10.iou_with_void")
def whole_image_without_void(truth, prediction, void):
    return float((truth & prediction).sum() / (~void).sum())


@wrong("10.quality_of_matches")
def half_for_misses_alone(ious, num_truth, num_predicted):
    tp = len(ious)
    below = tp + 0.5 * (num_truth - tp)
    sq, rq = sum(ious) / tp if tp else 0.0, tp / below if below else 0.0
    return sq * rq, sq, rq


@wrong("10.quality_of_matches")
def best_iou_for_sq(ious, num_truth, num_predicted):
    sq = max(ious, default=0.0)
    rq = 2 * len(ious) / (num_truth + num_predicted) if num_truth + num_predicted else 0.0
    return sq * rq, sq, rq


@wrong("10.is_ignored")
def half_of_the_void(prediction, void, crowd):
    return bool((prediction & (void | crowd)).sum() > 0.5 * (void | crowd).sum())


@wrong("10.is_ignored")
def more_than_two_pixels(prediction, void, crowd):
    return bool((prediction & (void | crowd)).sum() > 2)


def quality(tp, fp, fn, total):
    below = tp + 0.5 * fp + 0.5 * fn
    sq, rq = total / tp if tp else 0.0, tp / below if below else 0.0
    return sq * rq, sq, rq


@wrong("10.mean_quality", "mean SQ leaves out")
def sq_over_classes_with_matches(classes):
    rows = [quality(*entry) for entry in classes if any(entry[:3])]
    sqs = [row[1] for row, entry in zip(rows, [e for e in classes if any(e[:3])]) if entry[0]]
    pq, _, rq = (sum(column) / len(rows) for column in zip(*rows))
    return pq, sum(sqs) / max(1, len(sqs)), rq


@wrong("10.mean_quality")
def weighted_by_segments(classes):
    rows = [(quality(*entry), entry[0] + entry[2]) for entry in classes if any(entry[:3])]
    total = max(1, sum(weight for _, weight in rows))
    return tuple(sum(row[i] * weight for row, weight in rows) / total for i in range(3))


def panoptic(gt, gt_classes, prediction, classes, *, half=0.5, ignore=True, union="truth"):
    void, ious, used = gt == 0, {}, set()
    for g, name in gt_classes.items():
        for p, other in classes.items():
            a, b = gt == g, prediction == p
            outside = {"truth": void, "none": void & False, "both": void | (prediction == 0)}[union]
            either = ((a | b) & ~outside).sum()
            iou = float((a & b).sum() / either) if either else 0.0
            if iou > 0.5 and name == other:
                ious.setdefault(name, []).append(iou)
                used.add(p)
    result = {}
    for name in {*gt_classes.values(), *classes.values()}:
        own = ious.get(name, [])
        fn = list(gt_classes.values()).count(name) - len(own)
        fp = 0
        for p, other in classes.items():
            if other == name and p not in used:
                b = prediction == p
                on_void = int((b & void).sum()) / int(b.sum())
                gone = on_void >= half if ignore == "from half" else on_void > half
                fp += not (ignore and gone)
        below = len(own) + fn / 2 + fp / 2
        result[name] = sum(own) / below if below else 0.0
    return result


@wrong("10.panoptic_quality", "void of the prediction out of the union")
def void_of_the_prediction_leaves_the_union(*maps):
    return panoptic(*maps, union="both")


@wrong("10.panoptic_quality")
def exactly_half_on_void_is_ignored(*maps):
    return panoptic(*maps, ignore="from half")


@wrong("10.panoptic_quality", "still in your union")
def void_stays_in_the_union(*maps):
    return panoptic(*maps, union="none")


@wrong("10.panoptic_quality", "Such a segment is ignored")
def nothing_is_ignored(*maps):
    return panoptic(*maps, ignore=False)


@wrong("10.panoptic_quality")
def by_labels_of_pixels(gt, gt_classes, prediction, classes):
    names, result = {*gt_classes.values(), *classes.values()}, {}
    for name in names:
        a = torch.isin(gt, torch.tensor([i for i, n in gt_classes.items() if n == name]))
        b = torch.isin(prediction, torch.tensor([i for i, n in classes.items() if n == name]))
        either = ((a | b) & (gt != 0)).sum()
        result[name] = float((a & b).sum() / either) if either else 0.0
    return result


# 11 -----------------------------------------------------------------------------------------------


@wrong("11.share")
def without_the_rest(num, rank, world):
    return list(range(rank, num - num % world, world))


@wrong("11.learning_rate", "square root of the batch")
def square_root_of_the_batch(step, batch):
    done = min(1.0, step / 1000)
    rate = 0.02 * math.sqrt(batch / 16) * (0.001 * (1 - done) + done)
    return rate * 0.1 ** ((step >= 60_000) + (step >= 80_000))


@wrong("11.learning_rate", "second milestone is missing")
def one_milestone(step, batch):
    done = min(1.0, step / 1000)
    return 0.02 * batch / 16 * (0.001 * (1 - done) + done) * (0.1 if step >= 60_000 else 1)


@wrong("11.fpn_name")
def any_prefix(key):
    import re

    match = re.search(r"fpn_(lateral|output)(\d)\.(weight|bias)$", key)
    if match is None:
        return None
    kind, level, part = match.groups()
    return f"fpn.{'lateral.c' if kind == 'lateral' else 'smooth.p'}{level}.{part}"


# Found by a later attack --------------------------------------------------------------------------


@wrong("05.accumulate")
def small_parts_count_more(gradients, sizes):
    weights = [1 / size for size in sizes]
    return sum(g * w for g, w in zip(gradients, weights)) / sum(weights)


@wrong("05.warmup")
def geometric(rate, step, warmup_steps, factor):
    done = min(1.0, step / warmup_steps) if warmup_steps else 1.0
    return rate * factor ** (1 - done)


@wrong("07.best_scores")
def origin_without_a_likely_truth(beliefs):
    right = find("07.best_scores").reference(beliefs)
    return right if max(beliefs) >= 0.4 else (0.0, 0.0)


@wrong("08.bin_weights")
def background_after_all_foreground(num_fg, num_bg, left, union):
    of_fg = (1 / union + 1 / (union + num_bg)) / 2
    return of_fg, (left - num_fg) / (union * (union + num_bg))


@wrong("09.paste_by_score")
def hidden_by_iou(masks, scores, min_score, max_overlap):
    ids, number = torch.zeros(masks.shape[1:], dtype=torch.int64), 0
    for i in scores.argsort(descending=True).tolist():
        mask, taken = masks[i], ids > 0
        free = mask & ~taken
        if scores[i] < min_score or not free.any():
            continue
        if int((mask & taken).sum()) / int((mask | taken).sum()) > max_overlap:
            continue
        number += 1
        ids[free] = number
    return ids


@wrong("10.is_ignored")
def half_of_what_is_not_void(prediction, void, crowd):
    return bool((prediction & crowd).sum() > 0.5 * (prediction & ~void).sum())


@wrong("11.share")
def back_and_forth(num, rank, world):
    turns = [(i // world % 2, i % world) for i in range(num)]
    return [i for i, (back, k) in enumerate(turns) if (world - 1 - k if back else k) == rank]
