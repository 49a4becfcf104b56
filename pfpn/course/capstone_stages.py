"""Compare the stages of two networks on one street: are they the same, or how much differs?

Two right programs round differently, so numbers may differ in the last digits, boxes may change
their order, and a pixel at a border may fall on the other side.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pfpn.boxes import iou
from pfpn.course.capstone_network import Network
from pfpn.course.capstone_parts import kind
from pfpn.structures import VOID, Panoptic

CLOSE = 1e-3  # of the mean size of a stage's numbers: numbers that differ by less are the same
SAME_BOX = 0.98  # IoU from which two boxes are the same
EQUAL_BOX = 0.999  # IoU above which they differ by rounding only, so that their features are alike


@dataclass(frozen=True, slots=True)
class Difference:
    """The first difference of two networks."""

    stage: str
    street: int  # number of the street, or of the batch
    text: str  # how much differs
    fraction: float  # of the stage's numbers, boxes or pixels, in [0, 1]
    ours: Any = None  # the package's value of the stage
    yours: Any = None


@dataclass(frozen=True, slots=True)
class Rule:
    """How a stage is compared."""

    compare: Callable[[Any, Any], tuple[float, str]]  # (ours, yours): fraction and words
    allowed: float = 0.0  # fraction that may differ, by rounding
    rows: str = ""  # the stage whose boxes are this one's rows, if any


def compare_numbers(ours: Tensor, yours: Any) -> tuple[float, str]:
    """Compare two tensors of numbers."""
    if not isinstance(yours, Tensor) or yours.shape != ours.shape:
        return 1.0, f"expected the shape {tuple(ours.shape)}, found {kind(yours)}"
    if ours.numel() == 0:
        return 0.0, ""
    a, b = ours.double(), yours.double()
    size = float(a.abs().mean()) + 1e-12
    off = ~((a - b).abs() <= CLOSE * size)  # NaN is not
    fraction = float(off.double().mean())
    if not fraction:
        return 0.0, ""
    first = tuple(off.nonzero()[0].tolist())
    words = (
        f"{percent(fraction)} of {a.numel():,} numbers differ, the first at {list(first)}: "
        f"expected {a[first]:.3g}, found {b[first]:.3g}"
    )
    return fraction, words


def compare_boxes(ours: Tensor, yours: Any) -> tuple[float, str]:
    """Compare two sets of boxes (n, 4), in any order."""
    if not isinstance(yours, Tensor) or yours.ndim != 2 or yours.shape[1] != 4:
        return 1.0, f"expected boxes of shape (n, 4), found {kind(yours)}"
    overlaps = iou(ours, yours)
    missing = unmatched(overlaps)
    extra = unmatched(overlaps.T)
    total = max(1, len(ours) + len(yours))
    words = (
        f"{len(ours)} boxes are expected, {len(yours)} are found; {missing} of the expected are "
        f"missing, {extra} of the found are not expected"
    )
    return (missing + extra) / total, words


def compare_detections(ours: Sequence[Tensor], yours: Sequence[Any]) -> tuple[float, str]:
    """Compare boxes, scores and labels, in any order."""
    boxes, scores, labels = ours
    fraction, words = compare_boxes(boxes, yours[0])
    if fraction > ALLOWED_BOXES or not len(boxes):
        return fraction, words
    rows = iou(boxes, yours[0]) - 2 * (labels[:, None] != yours[2][None].to(labels)).float()
    best, index = rows.max(dim=1)
    wrong_class = int((best < 0).sum())
    if wrong_class > ALLOWED_BOXES * len(boxes):
        return wrong_class / len(boxes), f"{wrong_class} of {len(boxes)} boxes have another class"
    off = (scores - yours[1][index]).abs() > CLOSE
    words = f"{int(off.sum())} of {len(boxes)} boxes have another score"
    return float(off.double().mean()), words


def compare_pixels(ours: Tensor, yours: Any) -> tuple[float, str]:
    """Compare two label maps, or two stacks of masks."""
    if not isinstance(yours, Tensor) or yours.shape != ours.shape:
        return 1.0, f"expected the shape {tuple(ours.shape)}, found {kind(yours)}"
    off = ours != yours
    total = int(ours.sum()) if ours.dtype == torch.bool else ours.numel()
    fraction = min(1.0, int(off.sum()) / max(1, total))
    what = "pixels of the masks" if ours.dtype == torch.bool else "pixels"
    return fraction, f"{percent(fraction)} of {total:,} {what} differ"


def compare_maps(ours: Panoptic, yours: Panoptic) -> tuple[float, str]:
    """Compare two panoptic maps, whatever their ids are."""
    if yours.id_map.shape != ours.id_map.shape:
        return compare_pixels(ours.id_map, yours.id_map)
    off = differing_pixels(ours, yours)
    fraction = float(off.double().mean())
    counts = [len(ours.segments), len(yours.segments)]
    words = f"{percent(fraction)} of the pixels differ"
    if counts[0] != counts[1]:
        words += f"; {counts[0]} segments are expected, {counts[1]} are found"
        fraction = max(fraction, 2 * ALLOWED_PIXELS)
    return fraction, words


def differing_pixels(ours: Panoptic, yours: Panoptic) -> Tensor:
    """Return the pixels (h, w) of another segment or of another class.

    Each id of yours stands for the one of ours that it shares most pixels with.
    """
    off = torch.zeros_like(ours.id_map, dtype=torch.bool)
    classes = [{s.id: (s.is_thing, s.label) for s in each.segments} for each in (ours, yours)]
    for number in yours.id_map.unique().tolist():
        here = yours.id_map == number
        theirs = ours.id_map[here]
        partner = VOID if number == VOID else int(theirs.mode().values)
        same_class = classes[0].get(partner) == classes[1].get(number)
        off[here] = (theirs != partner) if same_class else True
    for number in {s.id for s in ours.segments}:  # of ours, that two of yours share
        here = ours.id_map == number
        if here.any():
            off[here] |= yours.id_map[here] != yours.id_map[here].mode().values
    return off


def unmatched(overlaps: Tensor) -> int:
    """Return how many rows have no partner of the same box."""
    if not overlaps.shape[1]:
        return len(overlaps)
    return int((overlaps.amax(dim=1) < SAME_BOX).sum()) if len(overlaps) else 0


def percent(fraction: float) -> str:
    """Return a fraction as percent, never rounded to 0 or 100 unless it is."""
    if 0 < fraction < 0.01:
        return "less than 1 %"
    return "more than 99 %" if 0.99 < fraction < 1 else f"{100 * fraction:.0f} %"


ALLOWED_BOXES, ALLOWED_PIXELS = 0.02, 0.002
RULES = {
    **dict.fromkeys(("p5", "p4", "p3", "p2", "p6"), Rule(compare_numbers)),
    "semantic logits": Rule(compare_numbers),
    "label map": Rule(compare_pixels, ALLOWED_PIXELS),
    "anchors": Rule(compare_numbers),
    "objectness": Rule(compare_numbers),
    "deltas": Rule(compare_numbers),
    "proposals": Rule(compare_boxes, ALLOWED_BOXES),
    "features on 7 x 7": Rule(compare_numbers, rows="proposals"),
    "class logits": Rule(compare_numbers, rows="proposals"),
    "box deltas": Rule(compare_numbers, rows="proposals"),
    "detections": Rule(compare_detections, ALLOWED_BOXES),
    "features on 14 x 14": Rule(compare_numbers, rows="detections"),
    "masks in boxes": Rule(compare_numbers, rows="detections"),
    "masks": Rule(compare_pixels, 0.005, "detections"),
    "panoptic map": Rule(compare_maps, ALLOWED_PIXELS),
}


def first_difference(
    ours: Sequence[Mapping[str, Any]], yours: Sequence[Mapping[str, Any]]
) -> Difference | None:
    """Return the earliest stage that differs on any street, and the first street where it does.

    Args:
        ours: the stages of every street.
        yours: the same; where a part failed, the later stages are missing.
    """
    for stage, rule in RULES.items():
        for street, (expected, found) in enumerate(zip(ours, yours, strict=True)):
            if stage not in found:
                continue
            mine, theirs = expected[stage], found[stage]
            if rule.rows:
                mine, theirs = same_rows(expected[rule.rows], found[rule.rows], (mine, theirs))
            fraction, text = rule.compare(mine, theirs)
            if fraction > rule.allowed:
                return Difference(stage, street, text, fraction, mine, theirs)
    return None


def same_rows(ours: Any, yours: Any, rows: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return the rows of a stage whose boxes both have, in the order of the package's boxes.

    Args:
        ours: the package's boxes, or its detections.
        yours: the learner's.
        rows: a stage with a row per box, or per box of the best scores; of both.
    """
    if not all(isinstance(each, Tensor) and len(each) for each in rows):
        return rows
    counts = len(rows[0]), len(rows[1])
    if isinstance(ours, Tensor):
        overlaps = iou(ours[: counts[0]], yours[: counts[1]])
    else:
        overlaps = iou(ours[0][: counts[0]], yours[0][: counts[1]])
        labels = ours[2][: counts[0]], yours[2][: counts[1]].to(ours[2])
        overlaps = overlaps.where(labels[0][:, None] == labels[1], 0.0)
    best, index = overlaps.max(dim=1)
    both = best > EQUAL_BOX
    return rows[0][both], rows[1][index[both]]


# Inside a module --------------------------------------------------------------------------------


def compare_layers(ours: Network, yours: Network, name: str, image: Tensor) -> str:
    """Return in words which layer of a module is the first to differ on one image.

    The layers have the same names, for the weights were loaded by them.
    """
    expected, found = (record_layers(network, name, image) for network in (ours, yours))
    calls = dict[str, int]()
    for layer, before, after in expected:
        number = calls[layer] = calls.get(layer, -1) + 1
        same_layer = [entry for entry in found if entry[0] == layer]
        if number >= len(same_layer):
            return f"The layer {layer} is not used in your code."
        _, your_input, your_output = same_layer[number]
        own = [network[name].get_submodule(layer) for network in (ours, yours)]
        if str(own[0]) != str(own[1]):
            return f"The layer {layer} is expected to be {own[0]}; yours is {own[1]}."
        fraction, text = compare_numbers(before, your_input)
        if fraction:
            return (
                f"The input of the layer {layer} is the first that differs ({text}): the fault "
                "lies just before it, in a line of yours or in a layer without weights."
            )
        fraction, text = compare_numbers(after, your_output)
        if fraction:
            return f"The layer {layer} has the right input and another output ({text})."
    return "All its layers have the right inputs and outputs: the fault comes after the last one."


def record_layers(network: Network, name: str, image: Tensor) -> list[tuple[str, Tensor, Tensor]]:
    """Return name, input and output of each layer with weights, in the order of their calls."""
    calls: list[tuple[str, Tensor, Tensor]] = []

    def keep(layer: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            calls.append((layer, inputs[0].clone(), output.clone()))

        return hook

    handles = [
        module.register_forward_hook(keep(layer))
        for layer, module in network[name].named_modules()
        if list(module.parameters(recurse=False))
    ]
    try:
        network.trace(image, {})
    except (ValueError, RuntimeError, KeyError, TypeError, IndexError):
        pass  # a later stage may fail; the calls before it are what is compared
    finally:
        for handle in handles:
            handle.remove()
    return calls
