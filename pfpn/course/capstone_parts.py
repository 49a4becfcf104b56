"""The parts of a Panoptic FPN that a learner can replace: modules and functions, and their names.

A part is a module, into which the trained weights are loaded by name, or a function. Each does for
one image what the package does for a batch, so that it is short to write.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pfpn import box_head
from pfpn.anchors import anchor_grid
from pfpn.box_head import BoxHead
from pfpn.fpn import FPN
from pfpn.mask_head import MaskHead
from pfpn.merge import merge
from pfpn.model import PanopticFPN
from pfpn.paste import paste_masks
from pfpn.roi import pool
from pfpn.rpn import RPNHead, select_proposals
from pfpn.semantic import SemanticHead

Size = tuple[int, int]  # (height, width) in pixels


class StageError(ValueError):
    """A part returned something that the network cannot use, or raised an error."""

    def __init__(self, stage: str, message: str):
        super().__init__(message)
        self.stage = stage


# The package's parts as functions of one image --------------------------------------------------


def anchors(size: Size, stride: int, side: float, ratios: Sequence[float]) -> Float[Tensor, "n 4"]:
    """Return the anchors of one level: row by row, those of a cell side by side; xyxy in pixels.

    Args:
        size: (height, width) of the level, in cells.
        stride: pixels per cell.
        side: of the square anchor, in pixels; all ratios have its area.
        ratios: height / width.
    """
    return anchor_grid(size, stride, side, torch.tensor(tuple(ratios))).flatten(0, 2)


def proposals(
    anchors: Sequence[Float[Tensor, "_n 4"]],
    logits: Sequence[Float[Tensor, " _n"]],
    deltas: Sequence[Float[Tensor, "_n 4"]],
    size: Size,
    *,
    max_per_level: int,
    max_total: int,
    nms_threshold: float,
) -> Float[Tensor, "k 4"]:
    """Return the proposals of one image, best first; see `rpn.select_proposals`."""
    boxes, _ = select_proposals(
        anchors,
        [logit[None] for logit in logits],
        [delta[None] for delta in deltas],
        [size],
        max_per_level=max_per_level,
        max_total=max_total,
        nms_threshold=nms_threshold,
    )
    return boxes[0]


def pooled(
    pyramid: Mapping[str, Float[Tensor, "c _h _w"]],
    boxes: Float[Tensor, "n 4"],
    bins: int,
    *,
    canonical_size: float,
) -> Float[Tensor, "n c bins bins"]:
    """Return the features of one image's boxes on `bins` x `bins` bins, 2 x 2 samples in each."""
    batch = {level: maps[None] for level, maps in pyramid.items()}
    return pool(batch, [boxes], bins, canonical_size=canonical_size, sampling_ratio=2)


def detections(
    class_logits: Float[Tensor, "n t1"],
    deltas: Float[Tensor, "n t 4"],
    proposals: Float[Tensor, "n 4"],
    size: Size,
    *,
    min_score: float,
    nms_threshold: float,
    max_detections: int,
) -> tuple[Float[Tensor, "k 4"], Float[Tensor, " k"], Int[Tensor, " k"]]:
    """Return boxes, scores and labels of one image, best first; see `box_head.detect`."""
    boxes, scores, labels, _ = box_head.detect(
        class_logits,
        deltas,
        proposals,
        size,
        min_score=min_score,
        nms_threshold=nms_threshold,
        max_detections=max_detections,
    )
    return boxes, scores, labels


def merged(
    masks: Bool[Tensor, "n h w"],
    scores: Float[Tensor, " n"],
    labels: Int[Tensor, " n"],
    label_map: Int[Tensor, "h w"],
    *,
    min_score: float,
    max_overlap: float,
    min_stuff_area: int,
) -> tuple[Int[Tensor, "h w"], list[tuple[int, int, bool]]]:
    """Return the id map, and (id, label, is_thing) of each segment; see `merge.merge`."""
    found = merge(
        masks,
        scores,
        labels,
        label_map,
        min_score=min_score,
        max_overlap=max_overlap,
        min_stuff_area=min_stuff_area,
    )
    return found.id_map, [(s.id, s.label, s.is_thing) for s in found.segments]


MODULES: dict[str, Callable[..., nn.Module]] = {
    "fpn": FPN,
    "semantic_head": SemanticHead,
    "rpn_head": RPNHead,
    "box_head": BoxHead,
    "mask_head": MaskHead,
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "anchors": anchors,
    "proposals": proposals,
    "pool": pooled,
    "detect": detections,
    "paste": paste_masks,
    "merge": merged,
}


# Building and loading ---------------------------------------------------------------------------


def module_arguments(trained: PanopticFPN) -> dict[str, tuple[Any, ...]]:
    """Return the arguments by which each module of MODULES is built."""
    c = trained.config
    return {
        "fpn": (trained.backbone.channels, c.pyramid_channels),
        "semantic_head": (c.pyramid_channels, c.semantic_channels, c.num_semantic),
        "rpn_head": (c.pyramid_channels, len(c.anchor_ratios)),
        "box_head": (c.pyramid_channels * c.box_bins**2, c.box_hidden, c.num_things),
        "mask_head": (c.pyramid_channels, c.mask_channels, c.mask_convs, c.num_things),
    }


def build(part: Callable[..., nn.Module], arguments: tuple[Any, ...], name: str) -> nn.Module:
    """Return a learner's module.

    Raises:
        StageError: it is no module.
    """
    module = attempt("weights", part, *arguments)
    if not isinstance(module, nn.Module):
        raise StageError("weights", f"{name}: expected a torch.nn.Module, found {kind(module)}")
    return module


def load_by_name(module: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Copy trained weights into a learner's module.

    Raises:
        StageError: a name is missing or too many, or a shape differs; it lists every one of them.
    """
    mine = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    trained = {key: tuple(value.shape) for key, value in state.items()}
    problems = few([f"missing: {key} {trained[key]}" for key in trained if key not in mine])
    unknown = [key for key in mine if key not in trained]
    problems += few([f"not in the trained network: {key} {mine[key]}" for key in unknown])
    problems += few(
        [
            f"{key}: your shape is {mine[key]}, the trained one {trained[key]}"
            for key in trained
            if key in mine and mine[key] != trained[key]
        ]
    )
    if problems:
        shown = "\n    ".join(problems)
        raise StageError(
            "weights",
            f"the trained weights of {name} do not fit into your {type(module).__name__}.\n"
            f"    {shown}\n  A weight's name is the path of attributes to its layer: "
            "self.smooth['p5'] is smooth.p5. Give your layers the names and sizes of the task.",
        )
    module.load_state_dict(dict(state))


def few(lines: list[str], most: int = 5) -> list[str]:
    """Return the first lines, and how many more there are."""
    more = [f"... and {len(lines) - most} more"] if len(lines) > most else []
    return [*lines[:most], *more]


def attempt(stage: str, part: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
    """Call a part; an error that it raises becomes a StageError that names its line.

    NotImplementedError passes through: the part has not been written yet.
    """
    try:
        returned = part(*arguments, **settings)
    except (NotImplementedError, StageError):
        raise
    except Exception as error:
        raise StageError(stage, describe_error(error)) from error
    if returned is Ellipsis:  # the body is still `...`
        raise NotImplementedError
    if returned is None:
        raise StageError(stage, "nothing came back: is a `return` missing?")
    return returned


def describe_error(error: Exception) -> str:
    """Return an error of a learner's code in one line, with the line of code that raised it."""
    trace, own = error.__traceback__, None
    while trace is not None:
        if not trace.tb_frame.f_globals.get("__name__", "").startswith(("pfpn.", "torch")):
            own = trace
        trace = trace.tb_next
    where = f" in line {own.tb_lineno} of {own.tb_frame.f_code.co_name}" if own else ""
    first = str(error).splitlines()[0] if str(error) else ""
    return f"your code raised {type(error).__name__}{where}: {first}"[:300]


def join(parts: Sequence[Any], stage: str) -> Tensor:
    """Return the rows of all levels as one tensor."""
    if not all(isinstance(part, Tensor) for part in parts):
        raise StageError(stage, f"expected a tensor per level, found {kind(parts[0])}")
    return torch.cat(list(parts))


def kind(value: Any) -> str:
    """Return what a value is, for a message: a tensor by its shape, all else by its type."""
    return f"the shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
