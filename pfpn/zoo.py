"""Read published weights under our names: detectron2's Panoptic FPN, torchvision's Mask R-CNN.

Files are read without executing anything in them (see `unpickle`). The tensors must be exactly the
model's, with the right shapes; buffers that repeat a setting are compared with our config. Then the
models compute what their authors' code computes, and the config, stored in the header of converted
files, holds the arithmetic that the weights were trained with.

detectron2's models use the defaults of ModelConfig. What torchvision's does otherwise is in
TORCHVISION: RGB scaled by mean and deviation, the stride in the 3x3, anchors rounded to whole
pixels, RoIAlign without the half-pixel shift and with two samples per bin and axis. Background is
its first class and our last. Two steps outside the network differ from torchvision's: images are
resized with smoothing and masks pasted into boxes of fractional pixels, as in detectron2.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from pfpn.anchors import anchor_grid
from pfpn.data.categories import coco_categories
from pfpn.data.download import Progress, cache_folder, fetch
from pfpn.engine.checkpoint import save_weights
from pfpn.files import printable
from pfpn.model import ModelConfig, PanopticFPN
from pfpn.structures import Category, stuff, things
from pfpn.unpickle import read_tensors

DETECTRON2 = ModelConfig()
TORCHVISION = ModelConfig(
    semantic_branch=False,
    channel_order="RGB",
    pixel_mean=(123.675, 116.280, 103.530),
    pixel_std=(58.395, 57.120, 57.375),
    stride_in_1x1=False,
    anchor_rounding=True,
    roi_sampling_ratio=2,
    roi_aligned=False,
)


@dataclass(frozen=True, slots=True)
class Published:
    """A file of published weights, and its published figures."""

    url: str
    config: ModelConfig
    megabytes: int
    figures: dict[str, float]  # in percent on COCO val2017, as published, not measured by us
    sha256: str = ""  # as many of its first digits as were published
    md5: str = ""  # likewise, where that is all that was published


_DETECTRON2_HOST = "https://dl.fbaipublicfiles.com/detectron2/COCO-PanopticSegmentation"

# The six digits in detectron2's file names are the first of the MD5 (see its MODEL_ZOO.md), which
# detects accidents. No SHA-256 is published: the one of the first download is kept beside the file
# and checked from then on.
MODELS = {
    "coco_panoptic_fpn_r50_1x": Published(
        f"{_DETECTRON2_HOST}/panoptic_fpn_R_50_1x/139514544/model_final_dbfeb4.pkl",
        DETECTRON2,
        184,
        {"PQ": 39.4, "box AP": 37.6, "mask AP": 34.7},
        md5="dbfeb4",
    ),
    "coco_panoptic_fpn_r50_3x": Published(
        f"{_DETECTRON2_HOST}/panoptic_fpn_R_50_3x/139514569/model_final_c10459.pkl",
        DETECTRON2,
        184,
        {"PQ": 41.5, "box AP": 40.0, "mask AP": 36.5},
        md5="c10459",
    ),
    "coco_panoptic_fpn_r101_3x": Published(
        f"{_DETECTRON2_HOST}/panoptic_fpn_R_101_3x/139514519/model_final_cafdb1.pkl",
        replace(DETECTRON2, depth=101),
        261,
        {"PQ": 43.0, "box AP": 42.4, "mask AP": 38.5},
        md5="cafdb1",
    ),
    "coco_mask_rcnn_r50_torchvision": Published(
        "https://download.pytorch.org/models/maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth",
        TORCHVISION,
        178,
        {"box AP": 37.9, "mask AP": 34.6},
        sha256="bf2d0c1e",
    ),
}


def load(
    name: str,
    *,
    file: Path | str | None = None,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> PanopticFPN:
    """Return a published model in eval mode; its weights are fetched once and kept.

    ==============================  =======================================================
    name                            published for COCO val2017 (not measured by us)
    ==============================  =======================================================
    coco_panoptic_fpn_r50_1x        PQ 39.4, box AP 37.6, mask AP 34.7 (detectron2)
    coco_panoptic_fpn_r50_3x        PQ 41.5, box AP 40.0, mask AP 36.5 (detectron2)
    coco_panoptic_fpn_r101_3x       PQ 43.0, box AP 42.4, mask AP 38.5 (detectron2)
    coco_mask_rcnn_r50_torchvision  box AP 37.9, mask AP 34.6 (torchvision; no stuff)
    ==============================  =======================================================

    Labels are those of `data.categories.coco_categories()`, and the default PredictConfig is the
    one behind the figures.

    Args:
        name: one of MODELS.
        file: read this file, fetched by hand, rather than the one in the cache folder.
        device: where the model goes.
        progress: see `data.download.fetch`.
    """
    published = find(name)
    path = Path(file) if file is not None else fetch_weights(name, progress=progress)
    config, state = read_published(path)
    if config != published.config:
        raise ValueError(f"{path}: found {_differences(config, published.config)} for {name}")
    model = PanopticFPN(config)
    model.load_state_dict(state)
    return model.eval().to(device)


def find(name: str) -> Published:
    """Return what is known of a published model."""
    if name not in MODELS:
        raise ValueError(f"{name}: found no such model, expected one of {', '.join(MODELS)}")
    return MODELS[name]


def weights_path(name: str) -> Path:
    """Return where a published file is kept, and where one fetched by hand belongs."""
    return cache_folder() / "zoo" / find(name).url.rpartition("/")[2]


def fetch_weights(name: str, *, progress: Progress | None = None) -> Path:
    """Return a published file's path in the cache folder; download it if it is not there."""
    published = find(name)
    return fetch(
        published.url,
        weights_path(name),
        sha256=published.sha256,
        md5=published.md5,
        progress=progress,
    )


def converted(name: str, *, progress: Progress | None = None) -> Path:
    """Return a published model as a .safetensors file in the cache folder, made if not there."""
    source = fetch_weights(name, progress=progress)
    out = source.with_name(f"{name}.safetensors")
    if not out.exists():
        convert(source, out)
    return out


def convert(
    source: Path,
    out: Path,
    *,
    categories: Sequence[Category] | None = None,
    norm_eps: float | None = None,
) -> ModelConfig:
    """Write weights from elsewhere as .safetensors, with config and categories in its header.

    Args:
        source: .pkl, .pth or .safetensors with detectron2's or torchvision's names.
        out: the file to write, for `engine.checkpoint.load_weights`.
        categories: of the data set; COCO's by default.
        norm_eps: see `from_torchvision`.

    Returns:
        The model's config.
    """
    config, state = read_published(source, norm_eps=norm_eps)
    categories = coco_categories() if categories is None else categories
    found = (config.num_things, config.num_semantic if config.semantic_branch else None)
    num_semantic = 1 + len(stuff(categories)) if config.semantic_branch else None
    if found != (len(things(categories)), num_semantic):
        raise ValueError(
            f"{source}: found {found[0]} things and {found[1]} semantic classes, expected "
            f"{len(things(categories))} and {num_semantic}. Is it a model of another data set?"
        )
    save_weights(out, state, model=config, categories=categories)
    return config


def read_published(
    path: Path, *, norm_eps: float | None = None
) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Return the config and, under our names, the tensors of a file of published weights."""
    if not path.is_file():
        raise ValueError(f"{path}: found no such file, expected .pkl, .pth or .safetensors")
    tensors = read_safetensors(path) if _is_safetensors(path) else read_tensors(path)
    try:
        if any(key.startswith("backbone.bottom_up.") for key in tensors):
            return from_detectron2(tensors)
        if any(key.startswith("backbone.body.") for key in tensors):
            return from_torchvision(tensors, norm_eps=norm_eps)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    raise ValueError(
        f"{path}: found {len(tensors)} tensors such as {sorted(tensors)[:2]}, expected the "
        "names of detectron2 (backbone.bottom_up.*) or torchvision (backbone.body.*)"
    )


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a .safetensors file."""
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        message = printable(str(error))
        raise ValueError(f"{path}: found no readable safetensors file ({message})") from None


def _is_safetensors(path: Path) -> bool:
    """Whether it begins as such a file does: the length of a JSON object, then the object."""
    with path.open("rb") as file:
        start = file.read(9)
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size


# ------------------------------------------------------------------------------- detectron2

# detectron2's names -> ours, first match wins. The ResNet blocks' numbering is that of torchvision.
_DETECTRON2_NAMES: list[tuple[str, str]] = [
    (r"backbone\.bottom_up\.stem\.conv1\.norm\.(.+)", r"backbone.bn1.\1"),
    (r"backbone\.bottom_up\.stem\.conv1\.weight", r"backbone.conv1.weight"),
    (r"backbone\.bottom_up\.res(\d)\.(\d+)\.shortcut\.norm\.(.+)", "{stage}.{1}.downsample.1.{2}"),
    (r"backbone\.bottom_up\.res(\d)\.(\d+)\.shortcut\.weight", "{stage}.{1}.downsample.0.weight"),
    (r"backbone\.bottom_up\.res(\d)\.(\d+)\.conv(\d)\.norm\.(.+)", "{stage}.{1}.bn{2}.{3}"),
    (r"backbone\.bottom_up\.res(\d)\.(\d+)\.conv(\d)\.weight", "{stage}.{1}.conv{2}.weight"),
    (r"backbone\.fpn_lateral(\d)\.(.+)", r"fpn.lateral.c\1.\2"),
    (r"backbone\.fpn_output(\d)\.(.+)", r"fpn.smooth.p\1.\2"),
    (r"proposal_generator\.rpn_head\.conv\.(.+)", r"rpn_head.conv.\1"),
    (r"proposal_generator\.rpn_head\.objectness_logits\.(.+)", r"rpn_head.objectness.\1"),
    (r"proposal_generator\.rpn_head\.anchor_deltas\.(.+)", r"rpn_head.deltas.\1"),
    (r"roi_heads\.box_head\.fc(\d)\.(.+)", r"box_head.fc\1.\2"),
    (r"roi_heads\.box_predictor\.cls_score\.(.+)", r"box_head.classify.\1"),
    (r"roi_heads\.box_predictor\.bbox_pred\.(.+)", r"box_head.deltas.\1"),
    (r"roi_heads\.mask_head\.mask_fcn([1-4])\.(.+)", "mask_head.convs.{minus_one}.{1}"),
    (r"roi_heads\.mask_head\.deconv\.(.+)", r"mask_head.upsample.\1"),
    (r"roi_heads\.mask_head\.predictor\.(.+)", r"mask_head.classify.\1"),
    # In p4 and p5 the odd entries of detectron2's Sequential are the doublings; ours counts
    # convolution, norm, ReLU and doubling as four entries of a stage.
    (
        r"sem_seg_head\.p([2-5])\.([024])\.norm\.(.+)",
        "semantic_head.branches.p{0}.{norm_index}.{2}",
    ),
    (r"sem_seg_head\.p([2-5])\.([024])\.weight", "semantic_head.branches.p{0}.{conv_index}.weight"),
    (r"sem_seg_head\.predictor\.(.+)", r"semantic_head.classify.\1"),
]

# Buffers of 2019 and 2020 that repeat settings of the config.
_ANCHOR_BUFFER = re.compile(r"proposal_generator\.anchor_generator\.cell_anchors\.([0-4])")
_PIXEL_BUFFERS = ("pixel_mean", "pixel_std")


def detectron2_name(key: str) -> str | None:
    """Return our name of a tensor in a detectron2 Panoptic FPN checkpoint, None if we have none."""
    for pattern, ours in _DETECTRON2_NAMES:
        match = re.fullmatch(pattern, key)
        if match is None:
            continue
        if "{" not in ours:
            return match.expand(ours)
        parts = match.groups()
        words = {}
        if "res" in pattern:
            words["stage"] = f"backbone.layer{int(parts[0]) - 1}"
        elif "mask_fcn" in pattern:
            words["minus_one"] = str(int(parts[0]) - 1)
        else:
            words["conv_index"] = str(4 * (int(parts[1]) // 2))
            words["norm_index"] = str(4 * (int(parts[1]) // 2) + 1)
        return ours.format(*parts, **words)
    return None


def rename_detectron2(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give every tensor of a detectron2 checkpoint our name; fail on one that we do not know."""
    return _rename(state, detectron2_name, "COCO-PanopticSegmentation/panoptic_fpn_*")


def from_detectron2(state: dict[str, Tensor]) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Turn a Panoptic FPN checkpoint of detectron2 into our config and state dict.

    Depth and numbers of classes are read off the tensors. The buffers that files of 2019 and 2020
    have in addition are compared with the config and left out.
    """
    extra = {k for k in state if k in _PIXEL_BUFFERS or _ANCHOR_BUFFER.fullmatch(k)}
    renamed = rename_detectron2({k: v for k, v in state.items() if k not in extra})
    config = replace(
        DETECTRON2,
        depth=101 if "backbone.layer3.22.conv1.weight" in renamed else 50,
        num_things=_rows(renamed, "mask_head.classify.bias", DETECTRON2.num_things),
        num_semantic=_rows(renamed, "semantic_head.classify.bias", DETECTRON2.num_semantic),
    )
    for key in sorted(extra):
        _check_buffer(key, state[key], config)
    return config, _checked(renamed, config)


def _check_buffer(key: str, found: Tensor, config: ModelConfig) -> None:
    anchor = _ANCHOR_BUFFER.fullmatch(key)
    if anchor:
        ratios = torch.tensor(config.anchor_ratios)
        expected = anchor_grid((1, 1), 1, config.anchor_sides[int(anchor[1])], ratios)[0, 0]
    else:
        expected = torch.tensor(getattr(config, key)).view(3, 1, 1)
    # Computed in double precision there, in single precision here
    fits = found.shape == expected.shape and torch.allclose(found.float(), expected, atol=1e-3)
    if not fits:
        raise ValueError(
            f"{key}: found {found.flatten()[:12].tolist()}, expected "
            f"{expected.flatten().tolist()}. Was it trained with another configuration?"
        )


# ------------------------------------------------------------------------------ torchvision

# The optional ".0" came with torchvision 0.13, when layers were wrapped.
_TORCHVISION_NAMES: list[tuple[str, str]] = [
    (r"backbone\.body\.((?:conv1|bn1|layer[1-4])\..+)", r"backbone.\1"),
    (r"backbone\.fpn\.inner_blocks\.([0-3])(?:\.0)?\.(weight|bias)", "fpn.lateral.c{level}.{1}"),
    (r"backbone\.fpn\.layer_blocks\.([0-3])(?:\.0)?\.(weight|bias)", "fpn.smooth.p{level}.{1}"),
    (r"rpn\.head\.conv(?:\.0\.0)?\.(weight|bias)", "rpn_head.conv.{0}"),
    (r"rpn\.head\.cls_logits\.(weight|bias)", "rpn_head.objectness.{0}"),
    (r"rpn\.head\.bbox_pred\.(weight|bias)", "rpn_head.deltas.{0}"),
    (r"roi_heads\.box_head\.fc6\.(weight|bias)", "box_head.fc1.{0}"),
    (r"roi_heads\.box_head\.fc7\.(weight|bias)", "box_head.fc2.{0}"),
    (r"roi_heads\.box_predictor\.cls_score\.(weight|bias)", "box_head.classify.{0}"),
    (r"roi_heads\.box_predictor\.bbox_pred\.(weight|bias)", "box_head.deltas.{0}"),
    (r"roi_heads\.mask_head\.([0-3])\.0\.(weight|bias)", "mask_head.convs.{0}.{1}"),
    (r"roi_heads\.mask_head\.mask_fcn([1-4])\.(weight|bias)", "mask_head.convs.{before}.{1}"),
    (r"roi_heads\.mask_predictor\.conv5_mask\.(weight|bias)", "mask_head.upsample.{0}"),
    (r"roi_heads\.mask_predictor\.mask_fcn_logits\.(weight|bias)", "mask_head.classify.{0}"),
]
_COCO_ROWS = 91  # classes of torchvision's COCO models: background, then COCO's ids 1..90


def torchvision_name(key: str) -> str | None:
    """Return our name of a tensor in torchvision's maskrcnn_resnet50_fpn, None if we have none."""
    for pattern, ours in _TORCHVISION_NAMES:
        match = re.fullmatch(pattern, key)
        if match is not None and "{" not in ours:
            return match.expand(ours)
        if match is not None:
            parts = match.groups()
            number = int(parts[0]) if parts[0].isdecimal() else 0
            return ours.format(*parts, level=number + 2, before=number - 1)
    return None


def from_torchvision(
    state: dict[str, Tensor], *, norm_eps: float | None = None
) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Turn the state dict of torchvision's maskrcnn_resnet50_fpn into our config and state dict.

    Of its 91 COCO classes the 80 that exist are kept: ten rows belong to ids that COCO never used,
    and what little probability they were given goes to the others. Any other number of classes is
    kept whole but for the background, which moves from the first row to the last.

    Args:
        state: with the names of any version since 2019.
        norm_eps: of its frozen batch norms. torchvision sets it to 0 for the published COCO
            weights, whose names are those of 2019; for other files the default is 1e-5. Ours is
            always 1e-5, so the scales are adapted.
    """
    state = {k: v for k, v in state.items() if not k.endswith(".num_batches_tracked")}
    renamed = _rename(state, torchvision_name, "torchvision's maskrcnn_resnet50_fpn")
    num_rows = _rows(renamed, "box_head.classify.bias", _COCO_ROWS)
    rows = list(range(1, num_rows))
    if num_rows == _COCO_ROWS:
        rows = [category.id for category in things(coco_categories())]
    config = replace(TORCHVISION, num_things=len(rows))

    if norm_eps is None:
        norm_eps = 0.0 if "roi_heads.mask_head.mask_fcn1.weight" in state else 1e-5
    for key in [key for key in renamed if key.endswith(".running_var")]:
        weight, variance = f"{key.removesuffix('running_var')}weight", renamed[key].double()
        if weight in renamed and renamed[weight].shape == variance.shape:
            factor = ((variance + 1e-5) / (variance + norm_eps)).sqrt()
            renamed[weight] = (renamed[weight].double() * factor).float()
    for part in ("weight", "bias"):
        for key, order, width in (
            (f"box_head.classify.{part}", [*rows, 0], 1),
            (f"box_head.deltas.{part}", rows, 4),
            (f"mask_head.classify.{part}", rows, 1),
        ):
            value = renamed.get(key)
            if value is not None and value.ndim >= 1 and len(value) == num_rows * width:
                renamed[key] = value.unflatten(0, (num_rows, width))[order].flatten(0, 1)
    return config, _checked(renamed, config)


# ------------------------------------------------------------------------------------- both


def _rows(state: dict[str, Tensor], bias: str, otherwise: int) -> int:
    """Return how many classes a layer has; `otherwise` where it is missing (see `_checked`)."""
    values = state.get(bias)
    return len(values) if values is not None and values.ndim == 1 else otherwise


def _rename(
    state: dict[str, Tensor], name_of: Callable[[str], str | None], expected: str
) -> dict[str, Tensor]:
    unknown = [key for key in state if name_of(key) is None]
    if unknown:
        raise ValueError(
            f"checkpoint: found {len(unknown)} tensors that the model does not have, such as "
            f"{unknown[:3]}; expected a checkpoint of {expected}"
        )
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        ours = str(name_of(key))
        if ours in renamed:
            raise ValueError(f"checkpoint: found {key!r} and, by an old name, another {ours}")
        renamed[ours] = value
    return renamed


def _checked(state: dict[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Return the state dict in the model's order and float32, if it is exactly the model's."""
    with torch.device("meta"):  # shapes only
        expected = {key: value.shape for key, value in PanopticFPN(config).state_dict().items()}
    missing, surplus = expected.keys() - state.keys(), state.keys() - expected.keys()
    if missing or surplus:
        raise ValueError(
            f"checkpoint: of {len(expected)} tensors of a ResNet-{config.depth} model found "
            f"{len(missing)} missing {sorted(missing)[:3]} and {len(surplus)} surplus "
            f"{sorted(surplus)[:3]} (our names). Is the file of another model?"
        )
    for key, shape in expected.items():
        value = state[key]
        if value.shape != shape:
            raise ValueError(
                f"checkpoint: {key} (our name): found shape {tuple(value.shape)}, expected "
                f"{tuple(shape)}. Is the file of another model?"
            )
        if not value.is_floating_point() or not value.isfinite().all():
            raise ValueError(
                f"checkpoint: {key} (our name): found {value.dtype} values that are not all finite "
                "numbers, expected weights. Is the file damaged?"
            )
    return {key: state[key].float().contiguous() for key in expected}


def _differences(found: ModelConfig, expected: ModelConfig) -> str:
    """Name the fields in which two configs differ."""
    return ", ".join(
        f"{f.name} {getattr(found, f.name)} instead of {getattr(expected, f.name)}"
        for f in fields(ModelConfig)
        if getattr(found, f.name) != getattr(expected, f.name)
    )
