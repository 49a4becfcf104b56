"""Every choice of a training run in one object: typed, checked, written to JSON and read back."""

import dataclasses
import difflib
import json
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from pfpn.data.loader import TOY
from pfpn.model import ModelConfig
from pfpn.predict import PredictConfig

T = TypeVar("T")

# What a resumed run may change without becoming another run.
FREE_TO_CHANGE = {
    "max_steps", "max_minutes", "device", "threads", "init", "preset",
    "log_every", "save_every", "eval_every", "eval_images", "eval_ap",
    "data.root", "data.val_split", "data.toy_val_images", "data.cache", "data.workers",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """Where the images are, and what is done to them in training."""

    root: str = TOY  # folder in COCO panoptic format, or "toy": drawn on the fly
    train_split: str = "train"
    val_split: str = "val"

    # The drawn world only
    toy_train_images: int = 1000
    toy_val_images: int = 100
    toy_seed: int = 0
    toy_size: tuple[int, int] = (128, 192)  # (height, width) in pixels

    # Augmentation, in this order; a wide choice of shortest edges is scale jitter
    shortest_edges: tuple[int, ...] = (0,)  # pixels, one is drawn; 0 keeps the image's own size
    longest_edge: int = 1333  # pixels, after resizing
    crop: tuple[int, int] = (0, 0)  # (height, width) in pixels; (0, 0) takes the whole image
    flip: float = 0.5  # probability
    brightness: float = 0.0  # largest relative change, in [0, 1]
    contrast: float = 0.0
    saturation: float = 0.0

    # Loading
    cache: bool = False  # keep samples in memory, about 4 bytes per pixel and worker
    group_by_aspect: bool = False  # batches of one orientation, so that little is padded
    workers: int = 0  # processes that load ahead; 0 loads in the training process

    def __post_init__(self) -> None:
        _require(self, "root", bool(self.root), "a folder, or 'toy'")
        _require(self, "toy_train_images", self.toy_train_images >= 1, "1 or more")
        _require(self, "toy_val_images", self.toy_val_images >= 1, "1 or more")
        _require(self, "toy_size", min(self.toy_size) >= 1, "two positive numbers")
        edges = self.shortest_edges
        _require(self, "shortest_edges", bool(edges) and min(edges) >= 0, "one or more lengths")
        _require(self, "longest_edge", self.longest_edge >= 1, "1 or more")
        whole = self.crop == (0, 0)
        _require(self, "crop", whole or min(self.crop) >= 1, "(0, 0) or two positive numbers")
        for name in ("flip", "brightness", "contrast", "saturation"):
            _require(self, name, 0 <= getattr(self, name) <= 1, "a number in [0, 1]")
        _require(self, "workers", self.workers >= 0, "0 or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimConfig:
    """How the weights move. The defaults are those of the published COCO models."""

    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.02  # for the whole batch (16 images as published), after warm-up
    reference_batch: int = 0  # images that lr is for: other batches change it in proportion; 0: not
    momentum: float = 0.9  # sgd only
    betas: tuple[float, float] = (0.9, 0.999)  # adamw only
    weight_decay: float = 1e-4  # of weights; norm layers never decay
    decay_biases: bool = True  # detectron2 does

    warmup_steps: int = 1000  # the rate rises linearly to lr
    warmup_factor: float = 0.001  # share of lr at step 0
    schedule: Literal["constant", "step", "linear", "cosine"] = "step"
    milestones: tuple[int, ...] = (60_000, 80_000)  # step only: the rate is multiplied by gamma
    gamma: float = 0.1  # step only
    decay_start: float = 0.0  # linear and cosine only: share of the run at which the fall begins
    final_factor: float = 0.0  # linear and cosine only: share of lr at the end

    clip_norm: float = 0.0  # largest gradient norm; 0 does not clip
    accumulate: int = 1  # parts that a process's share of the batch is cut into, to save memory
    precision: Literal["float32", "bf16", "fp16"] = "float32"  # the last two on a GPU only
    channels_last: bool = False  # 14-32 % less time on CPUs, other rounding
    ema_decay: float = 0.0  # evaluate a running average of the weights; 0 does not

    def __post_init__(self) -> None:
        _require_choice(self, "optimizer")
        _require_choice(self, "schedule")
        _require_choice(self, "precision")
        _require(self, "lr", self.lr > 0, "a positive number")
        _require(self, "momentum", 0 <= self.momentum < 1, "a number in [0, 1)")
        _require(self, "betas", all(0 <= b < 1 for b in self.betas), "two numbers in [0, 1)")
        _require(self, "weight_decay", self.weight_decay >= 0, "0 or more")
        _require(self, "reference_batch", self.reference_batch >= 0, "0 or more")
        _require(self, "warmup_steps", self.warmup_steps >= 0, "0 or more")
        for name in ("warmup_factor", "gamma", "decay_start", "final_factor"):
            _require(self, name, 0 <= getattr(self, name) <= 1, "a number in [0, 1]")
        rising = list(self.milestones) == sorted(self.milestones)
        _require(self, "milestones", rising, "rising step numbers")
        _require(self, "clip_norm", self.clip_norm >= 0, "0 or more")
        _require(self, "accumulate", self.accumulate >= 1, "1 or more")
        _require(self, "ema_decay", 0 <= self.ema_decay < 1, "a number in [0, 1)")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """A whole run. Presets are functions that return one; see `pfpn.engine.presets`."""

    preset: str = "custom"  # where these numbers began
    seed: int = 0  # of weights, order, augmentation and sampling
    batch_size: int = 16  # images per step, over all processes
    max_steps: int = 90_000
    max_minutes: float = 0.0  # also stop after so much training time, the rate follows; 0: never
    init: str = ""  # weights to begin with: a .safetensors file or a run folder
    lovasz_start: float = 0.0  # share of the run before which model.lovasz_weight is not applied
    device: str = "auto"  # "auto", "cpu" or "cuda"
    threads: int = 0  # of the CPU, per process; 0 leaves torch's own choice
    gradient_checkpointing: bool = False  # less memory, a third more time, the same gradients
    compile: bool = False  # by torch.compile: minutes at the start, then less time a step on GPUs

    log_every: int = 20  # steps
    save_every: int = 1000  # steps
    eval_every: int = 5000  # steps; 0 evaluates at the end only
    eval_images: int = 0  # of the validation split, from its beginning; 0 takes all
    eval_ap: bool = False  # box and mask AP too, which costs time

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    predict: PredictConfig = field(default_factory=PredictConfig)

    def __post_init__(self) -> None:
        for name in ("batch_size", "max_steps", "log_every", "save_every"):
            _require(self, name, getattr(self, name) >= 1, "1 or more")
        for name in ("seed", "max_minutes", "threads", "eval_every", "eval_images"):
            _require(self, name, getattr(self, name) >= 0, "0 or more")
        _require(self, "lovasz_start", 0 <= self.lovasz_start <= 1, "a number in [0, 1]")
        untranslatable = self.gradient_checkpointing and self.model.norm == "batch"
        alone = "false with gradient_checkpointing=true and model.norm=batch"
        _require(self, "compile", not (self.compile and untranslatable), alone)
        _require(self, "device", self.device in ("auto", "cpu", "cuda"), "'auto', 'cpu' or 'cuda'")


def override(config: TrainConfig, assignments: Sequence[str]) -> TrainConfig:
    """Return `config` with "dotted.key=value" assignments applied, each typed by its field.

    Sequences are written with commas: `data.crop=144,192`. `data=FOLDER` is short for
    `data.root=FOLDER`.
    """
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        if not separator:
            raise ValueError(
                f"{assignment!r}: found no '=', expected key=value, such as optim.lr=0.01"
            )
        key = "data.root" if key == "data" else key
        config = _replace_at(config, key.split("."), text, key)
    return config


def assignments(before: Any, after: Any) -> list[str]:
    """Return the "dotted.key=value" that turn one config into another; `override` takes them."""
    old, new = flat(dataclasses.asdict(before)), flat(dataclasses.asdict(after))
    return [f"{key}={_text(value)}" for key, value in new.items() if value != old[key]]


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested dicts by their dotted keys."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            leaves |= flat(value, f"{prefix}{key}.")
        else:
            leaves[prefix + key] = value
    return leaves


def to_json(config: Any) -> str:
    """Write a config as JSON."""
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def from_json(kind: type[T], text: str, where: str = "config") -> T:
    """Read a config back; the inverse of `to_json`. `where` is named in errors."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: found no valid JSON ({error})") from None
    return from_dict(kind, data, where)


def from_dict(kind: type[T], data: Any, where: str = "config") -> T:
    """Build a config from plain containers; an unknown key is an error, a missing one a default."""
    if not isinstance(data, dict):
        raise ValueError(f"{where}: found {type(data).__name__}, expected an object with fields")
    hints = typing.get_type_hints(kind)
    unknown = sorted(set(data) - set(hints))
    if unknown:
        raise ValueError(
            f"{where}: found unknown keys {unknown[:5]}, expected some of {sorted(hints)}. "
            "Was it written by another version of pfpn?"
        )
    values: dict[str, Any] = {}
    for name, value in data.items():
        hint = hints[name]
        place = f"{where}.{name}"
        if dataclasses.is_dataclass(hint):
            values[name] = from_dict(typing.cast(type, hint), value, place)
        else:
            values[name] = _checked(value, hint, place)
    return kind(**values)


def keys(kind: type, prefix: str = "") -> list[str]:
    """List every dotted key of a config class."""
    found = []
    for name, hint in typing.get_type_hints(kind).items():
        if dataclasses.is_dataclass(hint):
            found += keys(typing.cast(type, hint), f"{prefix}{name}.")
        else:
            found.append(prefix + name)
    return found


def _replace_at(config: Any, path: list[str], text: str, key: str) -> Any:
    name, *rest = path
    hint = typing.get_type_hints(type(config)).get(name)
    if hint is None or dataclasses.is_dataclass(hint) != bool(rest):
        raise ValueError(_unknown_key(key))
    if rest:
        return dataclasses.replace(
            config, **{name: _replace_at(getattr(config, name), rest, text, key)}
        )
    return dataclasses.replace(config, **{name: _parse(text, hint, key)})


def _text(value: Any) -> str:
    """Write a value so that `_parse` reads it back."""
    if isinstance(value, tuple | list):
        return ",".join(_text(entry) for entry in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _unknown_key(key: str) -> str:
    known = keys(TrainConfig)
    last = key.split(".")[-1]
    same_ending = [k for k in known if k.split(".")[-1] == last]
    near = same_ending or difflib.get_close_matches(key, known, n=3, cutoff=0.5)
    near = near or [k for k in known if last and last in k.split(".")[-1]][:3]
    hint = f"Did you mean {' or '.join(near)}?" if near else "Try: " + ", ".join(known[:8]) + " ..."
    return f"{key}: found no such setting. {hint}"


def _parse(text: str, hint: Any, key: str) -> Any:
    """Read `text` as a value of type `hint`."""
    origin = typing.get_origin(hint)
    if origin is tuple:
        parts = [part for part in text.strip("()[] ").split(",") if part.strip()]
        kinds = typing.get_args(hint)
        if kinds[-1] is Ellipsis:
            kinds = kinds[:1] * len(parts)
        if len(parts) != len(kinds):
            raise ValueError(
                f"{key}: found {text!r}, expected {len(kinds)} values with commas between them"
            )
        return tuple(_parse(part.strip(), k, key) for part, k in zip(parts, kinds, strict=True))
    if origin is Literal:
        choices = typing.get_args(hint)
        for choice in choices:
            if str(choice) == text:
                return choice
        raise ValueError(f"{key}: found {text!r}, expected one of {list(choices)}")
    if hint is bool:
        words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        if text.lower() not in words:
            raise ValueError(f"{key}: found {text!r}, expected true or false")
        return words[text.lower()]
    if hint is str:
        return text
    try:
        return hint(text.replace("_", "") if hint is int else text)
    except ValueError:
        kind = {int: "a whole number", float: "a number"}[hint]
        raise ValueError(f"{key}: found {text!r}, expected {kind}") from None


def _checked(value: Any, hint: Any, place: str) -> Any:
    """Return a value of JSON as `hint` wants it; fail where the types differ."""
    origin = typing.get_origin(hint)
    if origin is tuple and isinstance(value, list | tuple):
        kinds = typing.get_args(hint)
        kinds = kinds[:1] * len(value) if kinds[-1] is Ellipsis else kinds
        if len(kinds) == len(value):
            return tuple(_checked(v, k, place) for v, k in zip(value, kinds, strict=True))
    elif origin is Literal:
        if value in typing.get_args(hint):
            return value
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif isinstance(hint, type) and type(value) is hint:
        return value
    raise ValueError(f"{place}: found {value!r}, expected {getattr(hint, '__name__', hint)}")


def _require(config: Any, name: str, holds: bool, expected: str) -> None:
    if not holds:
        found = getattr(config, name)
        raise ValueError(f"{type(config).__name__}.{name}: found {found!r}, expected {expected}")


def _require_choice(config: Any, name: str) -> None:
    choices = typing.get_args(typing.get_type_hints(type(config))[name])
    _require(config, name, getattr(config, name) in choices, f"one of {list(choices)}")
