"""Write the network as ONNX, so that other runtimes compute it: in C++, on a phone, in a browser.

The network is cut into pieces. Those with weights can be written as one file each, for those who
write the steps between them themselves; or all are joined to one graph, from an image to detections
and semantic logits. Merging (`pfpn.merge`) stays outside: it is a loop over instances, and its
thresholds belong to the user. Needs the packages of the extra `export`.
"""

import copy
import dataclasses
import importlib
import inspect
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from math import isnan
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Tensor, nn

from pfpn.anchors import pyramid_anchors
from pfpn.box_head import BOX_WEIGHTS
from pfpn.boxes import decode, is_nonempty, nms
from pfpn.fpn import COARSEST_STRIDE, STRIDES
from pfpn.model import ModelConfig, PanopticFPN, RawPrediction
from pfpn.roi import ROI_LEVELS, level_of_boxes
from pfpn.roi_align import roi_align
from pfpn.rpn import RPN_BOX_WEIGHTS
from pfpn.structures import Detections

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession

OPSET = 18  # of ONNX; from 16 on, RoiAlign can subtract the half pixel
PACKAGES = ("onnx", "onnxscript", "onnxruntime")  # of the extra `export`
EXAMPLE_SIZE = (128, 192)  # pixels of the image that a graph is traced with; it takes any other
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")  # operators that weights go into
MIN_HALVED = 64  # weights of a tensor that float16 pays for
MAX_ERROR = 1e-3  # of a piece's largest value, between PyTorch and ONNX Runtime
LARGEST_HALF = 65504.0  # the largest number in float16
LEVELS = tuple(STRIDES)
OBJECTNESS = tuple(f"objectness_{level}" for level in LEVELS)
DELTAS = tuple(f"deltas_{level}" for level in LEVELS)
ANCHORS = tuple(f"anchors_{level}" for level in LEVELS)
DETECTIONS = ("boxes", "scores", "labels")


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the network, with the names of what goes in and what comes out."""

    name: str
    module: nn.Module
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    has_weights: bool = True


def network_pieces(model: PanopticFPN) -> list[Piece]:
    """Return the pieces of a model in the order in which an image goes through them."""
    c = model.config
    pieces = [
        Piece("prepare", _Prepare(c), ("image",), ("stacked", "size"), has_weights=False),
        Piece("features", _Features(model), ("stacked",), LEVELS),
    ]
    if c.semantic_branch:
        pieces.append(Piece("semantic", _Semantic(model), ROI_LEVELS, ("semantic_logits",)))
    if c.instance_branch:
        rpn = (*OBJECTNESS, *DELTAS, *ANCHORS)
        heads = ("class_logits", "class_deltas")
        pieces += [
            Piece("rpn", _RPN(model), LEVELS, rpn),
            Piece("propose", _Propose(c), ("size", *rpn), ("proposals",), has_weights=False),
            Piece("boxes", _Boxes(model), (*ROI_LEVELS, "proposals"), heads),
            Piece(
                "detect", _Detect(c), ("size", *heads, "proposals"), DETECTIONS, has_weights=False
            ),
            Piece("masks", _Masks(model), (*ROI_LEVELS, "boxes", "labels"), ("mask_probs",)),
        ]
    return pieces


# the pieces ---------------------------------------------------------------------------------------
# No shape and no branch in them depends on values, except through nonzero and NMS. Each does what
# the function that it names does for one image.


class _Prepare(nn.Module):
    """Normalize and pad an image, and return its size (height, width); `PanopticFPN.stack`."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.is_bgr = config.channel_order == "BGR"
        self.register_buffer("mean", torch.tensor(config.pixel_mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(config.pixel_std).view(3, 1, 1))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        height, width = image.shape[1:]
        ordered = image.flip(0) if self.is_bgr else image
        normal = (ordered.float() - self.mean) / self.std
        padded = F.pad(normal, (0, -width % COARSEST_STRIDE, 0, -height % COARSEST_STRIDE))
        ones = torch.ones_like(normal[0])  # counted, because a size is no tensor
        return padded[None], torch.stack([ones[:, 0].sum(), ones[0].sum()])


class _Features(nn.Module):
    """Backbone and FPN; `PanopticFPN.pyramid`."""

    def __init__(self, model: PanopticFPN):
        super().__init__()
        self.backbone, self.fpn = model.backbone, model.fpn

    def forward(self, stacked: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.fpn(self.backbone(stacked)).values())


class _Semantic(nn.Module):
    """The semantic head."""

    def __init__(self, model: PanopticFPN):
        super().__init__()
        self.head = model.semantic_head

    def forward(self, *levels: Tensor) -> Tensor:
        logits: Tensor = self.head(dict(zip(ROI_LEVELS, levels, strict=True)))
        return logits


class _RPN(nn.Module):
    """The RPN's head on every level, with the anchors; `ProposalNetwork`."""

    def __init__(self, model: PanopticFPN):
        super().__init__()
        self.head, self.config = model.rpn_head, model.config

    def forward(self, *levels: Tensor) -> tuple[Tensor, ...]:
        c, pyramid = self.config, dict(zip(LEVELS, levels, strict=True))
        logits, deltas = self.head(pyramid)
        anchors = pyramid_anchors(pyramid, c.anchor_sides, c.anchor_ratios, c.anchor_rounding)
        return tuple(part.squeeze(0) for part in (*logits, *deltas)) + tuple(anchors)


class _Propose(nn.Module):
    """The best anchors, moved, clipped and thinned; `rpn.select_proposals`."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config

    def forward(self, *inputs: Tensor) -> Tensor:
        size, *parts = inputs
        c, num = self.config, len(LEVELS)
        boxes, scores = [], []
        for logits, deltas, anchors in zip(
            parts[:num], parts[num : 2 * num], parts[2 * num :], strict=True
        ):
            most = torch.sym_min(c.test_proposals_per_level, logits.shape[0])
            score, index = logits.topk(most)
            box = _clip(decode(deltas[index], anchors[index], RPN_BOX_WEIGHTS), size)
            valid = score.isfinite() & is_nonempty(box)
            box, score = box[valid], score[valid]
            keep = nms(box, score, c.rpn_nms_threshold)
            boxes.append(box[keep])
            scores.append(score[keep])
        order = torch.cat(scores).sort(descending=True)[1][: c.test_proposals]
        return torch.cat(boxes)[order]


class _Boxes(nn.Module):
    """RoIAlign and the box head; `RoiHeads.detect`."""

    def __init__(self, model: PanopticFPN):
        super().__init__()
        self.head, self.config = model.box_head, model.config

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        *levels, proposals = inputs
        logits, deltas = self.head(_pool(self.config, levels, proposals, self.config.box_bins))
        return logits, deltas


class _Detect(nn.Module):
    """Scores, decoding and NMS within each class; `box_head.detect`."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config

    def forward(
        self, size: Tensor, class_logits: Tensor, deltas: Tensor, proposals: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        c = self.config
        scores = class_logits.softmax(dim=1)[:, :-1]
        proposal, label = (scores > c.min_score).nonzero(as_tuple=True)
        box = decode(deltas[proposal, label], proposals[proposal], BOX_WEIGHTS)
        finite = box.isfinite().all(dim=1)
        proposal, label, box = proposal[finite], label[finite], _clip(box[finite], size)
        score = scores[proposal, label]
        # Classes are moved apart, so that one NMS does not see them overlap.
        apart = label.float() * (size.max() + 1)
        keep = nms(box + apart[:, None], score, c.box_nms_threshold)[: c.max_detections]
        return box[keep], score[keep], label[keep]


class _Masks(nn.Module):
    """RoIAlign on the final boxes and the mask head; `RoiHeads.detect`."""

    def __init__(self, model: PanopticFPN):
        super().__init__()
        self.head, self.config = model.mask_head, model.config

    def forward(self, *inputs: Tensor) -> Tensor:
        *levels, boxes, labels = inputs
        features = _pool(self.config, levels, boxes, self.config.mask_bins)
        probs: Tensor = self.head(features, labels).sigmoid()
        return probs


def _clip(boxes: Tensor, size: Tensor) -> Tensor:
    """Cut boxes off at the borders of an image whose size is a tensor."""
    return torch.minimum(boxes.clamp(min=0), size.flip(0).repeat(2))


def _pool(c: ModelConfig, levels: Sequence[Tensor], boxes: Tensor, size: int) -> Tensor:
    """Pool every box on every level, and choose; `roi.pool`.

    On the levels that are not its own, a box is empty, which costs next to nothing.
    """
    level_of = level_of_boxes(boxes, c.roi_canonical_size)
    pooled = levels[0].new_zeros(())
    for k, (name, features) in enumerate(zip(ROI_LEVELS, levels, strict=True), start=2):
        here = (level_of == k)[:, None]
        rois = torch.cat([torch.zeros_like(boxes[:, :1]), boxes * here], dim=1)
        part = roi_align(
            features, rois, size, 1 / STRIDES[name], c.roi_sampling_ratio, c.roi_aligned
        )
        pooled = torch.where(here[:, :, None, None], part, pooled)
    return pooled


# to ONNX ------------------------------------------------------------------------------------------


def require_packages() -> None:
    """Raise ValueError if a package of the extra `export` is not installed."""
    missing = []
    for name in PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError:
            missing.append(name)
    if missing:
        raise ValueError(
            f"export: found no {' and no '.join(missing)}, expected the packages of the extra "
            "`export`. Try: pip install 'pfpn[export]'"
        )


def export_graphs(
    model: PanopticFPN,
    *,
    stages: bool = False,
    half: bool = False,
    about: dict[str, str] | None = None,
) -> dict[str, "ModelProto"]:
    """Return the network as one graph, "network", or as one for each piece that has weights.

    The whole network takes "image", uint8 RGB (3, h, w) at the size that the network should see, of
    any height and width. It returns "boxes", "scores", "labels" and "mask_probs" (see `Detections`)
    and "semantic_logits" at stride 4 of the image padded to multiples of 32; nothing of a branch
    that the model lacks.

    The stages are features, semantic, rpn, boxes and masks; `network_pieces` names what each takes
    and returns. "stacked", which features takes, is the normalized image, padded with zeros.

    Every piece is run by ONNX Runtime and compared with PyTorch before anything is returned; with
    `half` a second time, with its weights in float16, with a PyTorch whose weights are rounded so.

    Args:
        model: on the CPU.
        stages: one graph for each piece.
        half: store weights in float16. They are turned into float32 when the file is loaded: all
            arithmetic stays in float32, and the file is half as large.
        about: further entries of the metadata, beside the model's config.

    Raises:
        ValueError: a package is missing, the model cannot be exported, or the graph does not
            compute what PyTorch does.
    """
    require_packages()
    protos = export_pieces(model, fold=not half)
    _require_agreement(check_pieces(model, protos, _example_image()))
    if half:
        for proto in protos.values():
            halve(proto)
        _require_agreement(check_pieces(rounded_to_half(model), protos, _example_image()))
    if stages:
        names = [piece.name for piece in network_pieces(model) if piece.has_weights]
        graphs = {name: protos[name] for name in names}
    else:
        outputs = [*DETECTIONS, "mask_probs"] if model.config.instance_branch else []
        outputs += ["semantic_logits"] if model.config.semantic_branch else []
        graphs = {"network": join_graphs(protos, ["image"], outputs)}
    props = {"pfpn.model": json.dumps(dataclasses.asdict(model.config)), **(about or {})}
    for graph in graphs.values():
        finish(graph, props)
    return graphs


def rounded_to_half(model: PanopticFPN) -> PanopticFPN:
    """Return a copy of a model that computes with the weights that float16 keeps; see `halve`."""
    rounded = copy.deepcopy(model)
    for module in rounded.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            for weights in module.parameters():
                if weights.numel() >= MIN_HALVED:
                    weights.data = weights.data.half().to(weights.dtype)
    return rounded


def _require_agreement(errors: dict[str, float]) -> None:
    worst = max(errors, key=lambda name: errors[name])
    if not errors[worst] <= MAX_ERROR:
        raise ValueError(
            f"export: {worst}: found results of ONNX Runtime that differ from PyTorch's by "
            f"{errors[worst]:.1e} of their largest value, expected at most {MAX_ERROR:g}. Try "
            "other versions of onnx, onnxscript and onnxruntime"
        )


def infer(
    session: "InferenceSession", config: ModelConfig, image: UInt8[Tensor, "3 h w"]
) -> RawPrediction:
    """Run the whole network's graph on one image; what `PanopticFPN.infer` returns."""
    names = [output.name for output in session.get_outputs()]
    arrays = session.run(names, {"image": image.numpy()})
    found = {name: torch.from_numpy(array) for name, array in zip(names, arrays, strict=True)}
    bins = 2 * config.mask_bins
    empty = (torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    detections = Detections(*empty, torch.zeros(0, bins, bins))
    if config.instance_branch:
        detections = Detections(*(found[name] for name in (*DETECTIONS, "mask_probs")))
    size = (image.shape[1], image.shape[2])
    height, width = (-(-side // COARSEST_STRIDE) * COARSEST_STRIDE // 4 for side in size)
    logits = found.get("semantic_logits", torch.zeros(1, 0, height, width))
    return RawPrediction([detections], logits, [size])


def check_pieces(
    model: PanopticFPN, protos: dict[str, "ModelProto"], image: UInt8[Tensor, "3 h w"]
) -> dict[str, float]:
    """Return how far ONNX Runtime is from PyTorch in each piece of `protos`, for one image.

    Each graph gets what PyTorch computed before it. The figure is the largest difference as a
    fraction of the largest value; infinite where shapes differ, or a result is nan.
    """
    from onnxruntime import InferenceSession

    values: dict[str, Tensor] = {"image": image}
    errors = {}
    with _evaluating(model) as ready:
        for piece in network_pieces(ready):
            named = _run(piece, values)
            if piece.name in protos:
                session = InferenceSession(protos[piece.name].SerializeToString())
                takes = {entry.name for entry in session.get_inputs()}
                feed = {k: values[k].numpy() for k in piece.inputs if k in takes}
                arrays = session.run(list(named), feed)
                pairs = zip(named.values(), map(torch.from_numpy, arrays), strict=True)
                errors[piece.name] = max(_error(*pair) for pair in pairs)
            values |= named
    return errors


def _error(expected: Tensor, found: Tensor) -> float:
    if expected.shape != found.shape:
        return float("inf")
    if expected.numel() == 0:
        return 0.0
    largest = max(float(expected.abs().max()), 1e-30)
    error = float((expected.double() - found.double()).abs().max()) / largest
    return float("inf") if isnan(error) else error  # nan would lose every comparison


def _example_image() -> Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, *EXAMPLE_SIZE), generator=rng, dtype=torch.uint8)


def _example_values(model: PanopticFPN) -> dict[str, Tensor]:
    """Return a value for every name that goes into a piece or comes out, from one drawn image."""
    values = {"image": _example_image()}
    for piece in network_pieces(model):
        values |= _run(piece, values)
        if piece.name in ("propose", "detect"):  # of any number, but a trace needs some
            values |= _some_boxes(model.config, piece.name)
    return values


def _run(piece: Piece, values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return what a piece makes of its inputs, by name."""
    results = piece.module(*(values[name] for name in piece.inputs))
    results = (results,) if isinstance(results, Tensor) else results
    return dict(zip(piece.outputs, results, strict=True))


def _some_boxes(config: ModelConfig, piece: str) -> dict[str, Tensor]:
    """Return a few boxes with labels, in the place of those that untrained weights may not give."""
    boxes = torch.tensor([[4.0, 4.0, 40.0, 30.0], [0.0, 8.0, 90.0, 60.0], [9.0, 9.0, 20.0, 33.0]])
    if piece == "propose":
        return {"proposals": boxes}
    labels = torch.arange(len(boxes)) % config.num_things
    return {"boxes": boxes, "labels": labels, "scores": torch.ones(len(boxes))}


def export_pieces(model: PanopticFPN, *, fold: bool = True) -> dict[str, "ModelProto"]:
    """Return the graph of each piece of the network by its name; `fold` as in `export_module`."""
    with _evaluating(model) as ready:
        values = _example_values(ready)
        return {
            piece.name: export_module(
                piece.module,
                {name: values[name] for name in piece.inputs},
                piece.outputs,
                _free_sides(piece),
                fold=fold,
            )
            for piece in network_pieces(ready)
        }


@contextmanager
def _evaluating(model: PanopticFPN) -> Iterator[PanopticFPN]:
    """Yield a copy of the model in eval mode, and compute no gradients meanwhile."""
    with torch.no_grad():
        yield copy.deepcopy(model).eval().requires_grad_(False)


def _free_sides(piece: Piece) -> list[dict[int, Any]]:
    """Return which sides of each input may have any length, and how they depend on each other."""
    dim = torch.export.Dim
    h, w, rows = dim("h"), dim("w"), {0: dim("n")}
    sides: dict[str, dict[int, Any]] = {
        "image": {1: h, 2: w},
        "stacked": {2: COARSEST_STRIDE * h, 3: COARSEST_STRIDE * w},
        "size": {},
    }
    for k, level in enumerate(LEVELS):
        sides[level] = {2: dim(f"h{k}"), 3: dim(f"w{k}")}
        cells = {0: dim(f"n{k}")}
        sides |= {OBJECTNESS[k]: cells, DELTAS[k]: cells, ANCHORS[k]: cells}
    if piece.name == "semantic":  # it adds the levels
        sides |= {f"p{k}": {2: 2 ** (5 - k) * h, 3: 2 ** (5 - k) * w} for k in range(2, 6)}
    return [sides.get(name, rows) for name in piece.inputs]


def export_module(
    module: nn.Module,
    inputs: dict[str, Tensor],
    outputs: Sequence[str],
    free: Sequence[dict[int, Any]],
    *,
    fold: bool = True,
) -> "ModelProto":
    """Return a module as an ONNX graph; nothing is printed.

    Args:
        module: in eval mode; takes the inputs by position.
        inputs: an example of each, by name.
        outputs: names of what it returns.
        free: of each input, the axes that may have any length.
        fold: compute beforehand what is constant: batch norm becomes a part of its convolution, as
            ONNX Runtime does when it loads a graph. Without it the weights stay those of the model,
            which may be float16 already, as those that come with pfpn are.
    """
    takes_any_number = any(
        kind.kind is kind.VAR_POSITIONAL
        for kind in inspect.signature(module.forward).parameters.values()
    )
    from onnxscript import optimizer

    axes: Any = tuple(free)
    try:
        with _quiet():
            program = torch.onnx.export(
                module,
                tuple(inputs.values()),
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_shapes=(axes,) if takes_any_number else axes,
                opset_version=OPSET,
                dynamo=True,
                optimize=fold,
                external_data=False,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        cause = error.__cause__ or error
        raise ValueError(
            f"export: {type(module).__name__}: PyTorch could not turn it into ONNX "
            f"({str(cause).strip().splitlines()[0]}), expected a model that it can. Try other "
            "versions of torch and onnxscript"
        ) from error
    assert program is not None
    if not fold:
        for step in (optimizer.inline, optimizer.fold_constants, optimizer.remove_unused_nodes):
            step(program.model)
    return program.model_proto


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks from the terminal, and the graph that it prints as it fails."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def join_graphs(
    protos: dict[str, "ModelProto"], inputs: Sequence[str], outputs: Sequence[str]
) -> "ModelProto":
    """Join graphs to one: what one returns under a name, later ones take under that name.

    Args:
        protos: by name, each after those that it takes something from.
        inputs: of the joined graph.
        outputs: of the joined graph.
    """
    import onnx
    from onnx import compose, helper

    nodes, weights = [], []
    known: dict[str, Any] = {}  # inputs and outputs of the parts, by name
    for name, proto in protos.items():
        part = compose.add_prefix(
            proto, f"{name}/", rename_inputs=False, rename_outputs=False
        ).graph
        nodes += part.node
        weights += part.initializer
        known |= {value.name: value for value in [*part.output, *part.input]}
    graph = helper.make_graph(
        nodes, "pfpn", [known[n] for n in inputs], [known[n] for n in outputs], weights
    )
    first = next(iter(protos.values()))
    joined = helper.make_model(graph, opset_imports=first.opset_import)
    joined.ir_version = first.ir_version
    onnx.checker.check_model(joined)
    return joined


def finish(proto: "ModelProto", props: dict[str, str]) -> None:
    """Write into a graph what it is."""
    from onnx import helper

    proto.producer_name = "pfpn"
    proto.doc_string = "Panoptic FPN, exported by pfpn"
    del proto.graph.value_info[:]
    helper.set_model_props(proto, props)


def halve(proto: "ModelProto") -> None:
    """Store large weights in float16, each with a node that turns it back into float32.

    Other constants, such as anchors, stay as they are.
    """
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    weights = {n for node in proto.graph.node if node.op_type in WEIGHTED for n in node.input}
    for tensor in proto.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or tensor.name not in weights:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < MIN_HALVED:
            continue
        largest = float(np.abs(values).max())
        if largest > LARGEST_HALF:
            raise ValueError(
                f"export: {tensor.name}: found a weight of {largest:.3g}, expected at most "
                f"{LARGEST_HALF:.0f}, the largest number in float16. Try float32"
            )
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}/half"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
