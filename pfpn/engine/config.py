"""Every choice of a training run in one object: typed, checked, written to JSON and read back."""

import dataclasses
import difflib
import json
import math
import re
import sys
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from pfpn.data.categories import semantic_problem
from pfpn.data.loader import TOY
from pfpn.model import ModelConfig
from pfpn.predict import PredictConfig
from pfpn.structures import Category, stuff, things

T = TypeVar("T")

# What a resumed run may change without becoming another run.
FREE_TO_CHANGE = {
    "max_steps", "max_minutes", "device", "threads", "preset",
    "init", "init_classes", "take_network", "other_arithmetic", "fallback", "patience",
    "log_every", "save_every", "eval_every", "eval_images", "eval_ap",
    "data.root", "data.val_split", "data.toy_val_images", "data.cache", "data.workers",
    "data.skip_broken",
}  # fmt: skip

# Upper ends that no real run comes near; beyond them a run would hang or fill the memory.
MAX_STEPS = 10**9
MAX_IMAGES = 10**7  # of a data set
MAX_BATCH = 2**16  # images
MAX_SIDE = 10**5  # pixels
MAX_PROCESSES = 1024  # or threads
MAX_SEED = 2**63 - 1  # what torch's generators take
DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d{1,4})?")


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """Where the images are, and what is done to them in training."""

    root: str = TOY  # folder in COCO panoptic format, or "toy": drawn on the fly
    train_split: str = "train"  # its images are what the network learns from
    val_split: str = "val"  # its images are what evaluations score

    # The drawn world only
    toy_train_images: int = 1000  # streets drawn for training
    toy_val_images: int = 100  # other streets, drawn for evaluation
    toy_seed: int = 0  # of the drawn streets
    toy_size: tuple[int, int] = (128, 192)  # (height, width) in pixels

    # Augmentation, in this order; a wide choice of shortest edges is scale jitter
    shortest_edges: tuple[int, ...] = (0,)  # pixels, one is drawn; 0 keeps the image's own size
    longest_edge: int = 1333  # pixels, after resizing
    crop: tuple[int, int] = (0, 0)  # (height, width) in pixels; (0, 0) takes the whole image
    flip: float = 0.5  # probability
    brightness: float = 0.0  # largest relative change, in [0, 1]
    contrast: float = 0.0  # largest relative change, in [0, 1]
    saturation: float = 0.0  # largest relative change, in [0, 1]

    # Loading
    cache: bool = False  # keep samples in memory, about 4 bytes per pixel and worker
    group_by_aspect: bool = False  # batches of one orientation, so that little is padded
    equibatch: bool = False  # the classes take turns in giving an image, so none is rare in batches
    workers: int = 0  # processes that load ahead; 0 loads in the training process
    skip_broken: bool = False  # go on without images that cannot be read; they are listed

    def __post_init__(self) -> None:
        _require(self, "root", bool(self.root), "a folder, or 'toy'")
        for name in ("toy_train_images", "toy_val_images"):
            _require_within(self, name, 1, MAX_IMAGES)
        _require_within(self, "toy_seed", 0, MAX_SEED)
        _require_within(self, "toy_size", 1, MAX_SIDE)
        _require(self, "shortest_edges", bool(self.shortest_edges), "one or more lengths")
        _require_within(self, "shortest_edges", 0, MAX_SIDE)
        _require_within(self, "longest_edge", 1, MAX_SIDE)
        _require_within(self, "crop", 0, MAX_SIDE)
        whole = self.crop == (0, 0)
        _require(self, "crop", whole or min(self.crop) >= 1, "(0, 0) or two positive numbers")
        for name in ("flip", "brightness", "contrast", "saturation"):
            _require_within(self, name, 0, 1)
        _require_within(self, "workers", 0, MAX_PROCESSES)


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimConfig:
    """How the weights move. The defaults are those of the published COCO models."""

    optimizer: Literal["sgd", "adamw", "muon"] = "sgd"  # muon: for hidden kernels, adamw else
    lr: float = 0.02  # for the whole batch (16 images as published), after warm-up
    reference_batch: int = 0  # images that lr is for: other batches change it in proportion; 0: not
    momentum: float = 0.9  # sgd and muon only
    muon_factor: float = 10.0  # muon only: the rate of hidden kernels, in units of lr
    betas: tuple[float, float] = (0.9, 0.999)  # adamw and muon only
    weight_decay: float = 1e-4  # of weights; norm layers never decay
    decay_biases: bool = True  # detectron2 does

    warmup_steps: int = 1000  # the rate rises linearly to lr
    warmup_factor: float = 0.001  # fraction of lr at step 0
    schedule: Literal["constant", "step", "linear", "cosine"] = "step"  # how the rate falls
    milestones: tuple[int, ...] = (60_000, 80_000)  # step only: the rate is multiplied by gamma
    gamma: float = 0.1  # step only
    decay_start: float = 0.0  # linear and cosine only: fraction of the run before the fall
    final_factor: float = 0.0  # linear and cosine only: fraction of lr at the end

    clip_norm: float = 0.0  # largest gradient norm; 0 does not clip
    accumulate: int = 1  # parts that a process's images are cut into, to save memory
    # Mixed precision; on a CPU bf16 alone, and only where the processor has units for it
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    channels_last: bool = False  # 14-32 % less time on CPUs, other rounding
    ema_decay: float = 0.0  # evaluate a running average of the weights; 0 does not

    def __post_init__(self) -> None:
        _require_choice(self, "optimizer")
        _require_choice(self, "schedule")
        _require_choice(self, "precision")
        _require(self, "lr", 0 < self.lr <= 1e6, "a positive number, at most 1e6")
        for name in ("momentum", "betas", "ema_decay"):
            _require_within(self, name, 0, 1, without_high=True)
        for name in ("weight_decay", "clip_norm", "muon_factor"):
            _require_within(self, name, 0, 1e6)
        _require_within(self, "reference_batch", 0, MAX_BATCH)
        for name in ("warmup_steps", "milestones"):
            _require_within(self, name, 0, MAX_STEPS)
        rising = list(self.milestones) == sorted(self.milestones)
        _require(self, "milestones", rising, "rising step numbers")
        for name in ("warmup_factor", "gamma", "decay_start", "final_factor"):
            _require_within(self, name, 0, 1)
        _require_within(self, "accumulate", 1, MAX_BATCH)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """A whole run. Presets are functions that return one; see `pfpn.engine.presets`."""

    preset: str = "custom"  # where these numbers began
    seed: int = 0  # of weights, order, augmentation and sampling
    batch_size: int = 16  # images per step, over all processes
    max_steps: int = 90_000  # of the optimizer, one batch each
    max_minutes: float = 0.0  # also stop after so much training time, the rate follows; 0: never
    # Weights to begin with: a .safetensors file, a run folder, a name of `zoo.MODELS`, or "toy"
    init: str = ""
    init_classes: tuple[str, ...] = ()  # OURS:THEIRS, classes of init that have another name there
    take_network: bool = False  # the network is that of init, whatever model.* says of it
    other_arithmetic: bool = False  # begin with init although it was trained with other arithmetic
    fallback: str = ""  # init and take_network where ImageNet's weights cannot be fetched
    lovasz_start: float = 0.0  # fraction of the run without model.lovasz_weight
    device: str = "auto"  # "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1", "mps"
    threads: int = 0  # of the CPU, per process; 0 leaves torch's own choice
    gradient_checkpointing: bool = False  # less memory, a third more time, the same gradients
    compile: bool = False  # by torch.compile: minutes at the start, then less time a step on GPUs

    log_every: int = 20  # steps
    save_every: int = 1000  # steps
    eval_every: int = 5000  # steps; 0 evaluates at the end only
    eval_images: int = 0  # of the validation split, from its beginning; 0 takes all
    # Evaluations without a better PQ that end the run; the best is kept; 0: never
    patience: int = 0
    eval_ap: bool = False  # box and mask AP too, which costs time

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    predict: PredictConfig = field(default_factory=PredictConfig)

    def __post_init__(self) -> None:
        _require_within(self, "seed", 0, MAX_SEED)
        _require_within(self, "batch_size", 1, MAX_BATCH)
        for name in ("max_steps", "log_every", "save_every"):
            _require_within(self, name, 1, MAX_STEPS)
        for name in ("max_minutes", "eval_every", "eval_images", "patience"):
            _require_within(self, name, 0, MAX_STEPS)
        _require_within(self, "threads", 0, MAX_PROCESSES)
        _require_within(self, "lovasz_start", 0, 1)
        untranslatable = self.gradient_checkpointing and self.model.norm == "batch"
        alone = "false with gradient_checkpointing=true and model.norm=batch"
        _require(self, "compile", not (self.compile and untranslatable), alone)
        paired = all(":" in pair for pair in self.init_classes)
        _require(self, "init_classes", paired, "OURS:THEIRS for each, such as lawn:grass")
        known = DEVICE.fullmatch(self.device) is not None
        _require(self, "device", known, "'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'")


def fit_to_categories(model: ModelConfig, categories: Sequence[Category]) -> ModelConfig:
    """Return the model config with the class counts of a data set."""
    num_things, num_stuff = len(things(categories)), len(stuff(categories))
    if model.instance_branch and not num_things:
        raise ValueError(
            "categories: found no thing class, expected at least one for the instance branch. "
            "Try model.instance_branch=false"
        )
    num_semantic = num_stuff + (1 if model.instance_branch else num_things)
    problem = semantic_problem(categories, all_classes=not model.instance_branch)
    if problem and model.semantic_branch:
        found, expected = problem
        raise ValueError(f"categories: found {found}, expected {expected}. Merge some classes")
    return replace(model, num_things=num_things, num_semantic=num_semantic)


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
    return [f"{key}={setting_text(value)}" for key, value in new.items() if value != old[key]]


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
    except (json.JSONDecodeError, RecursionError) as error:
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
        path = f"{where}.{name}"
        if dataclasses.is_dataclass(hint):
            values[name] = from_dict(typing.cast(type, hint), value, path)
        else:
            values[name] = _checked(value, hint, path)
    return kind(**values)


def keys(kind: type, prefix: str = "") -> list[str]:
    """List every dotted key of a config class."""
    names = []
    for name, hint in typing.get_type_hints(kind).items():
        if dataclasses.is_dataclass(hint):
            names += keys(typing.cast(type, hint), f"{prefix}{name}.")
        else:
            names.append(prefix + name)
    return names


def _replace_at(config: Any, path: list[str], text: str, key: str) -> Any:
    name, *rest = path
    hint = typing.get_type_hints(type(config)).get(name)
    if hint is None or dataclasses.is_dataclass(hint) != bool(rest):
        raise ValueError(_unknown_key(key))
    if rest:
        return replace(config, **{name: _replace_at(getattr(config, name), rest, text, key)})
    return replace(config, **{name: _parse(text, hint, key)})


def setting_text(value: Any) -> str:
    """Return a value of a setting as `override` reads it."""
    if isinstance(value, tuple | list):
        return ",".join(setting_text(entry) for entry in value)
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
    kind = {int: "a whole number", float: "a finite number"}[hint]
    try:
        value = hint(text.replace("_", "") if hint is int else text)
    except ValueError:
        raise ValueError(f"{key}: found {text!r}, expected {kind}") from None
    if hint is float and not math.isfinite(value):
        raise ValueError(f"{key}: found {text!r}, expected {kind}")
    return value


def _checked(value: Any, hint: Any, path: str) -> Any:
    """Return a value of JSON as the type `hint`; raise ValueError where it has another one."""
    origin = typing.get_origin(hint)
    if origin is tuple and isinstance(value, list | tuple):
        kinds = typing.get_args(hint)
        kinds = kinds[:1] * len(value) if kinds[-1] is Ellipsis else kinds
        if len(kinds) == len(value):
            return tuple(_checked(v, k, path) for v, k in zip(value, kinds, strict=True))
    elif origin is Literal:
        if value in typing.get_args(hint):
            return value
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if abs(value) <= sys.float_info.max:  # neither NaN nor infinite, nor too long an integer
            return float(value)
    elif isinstance(hint, type) and type(value) is hint:
        return value
    raise ValueError(f"{path}: found {value!r}, expected {getattr(hint, '__name__', hint)}")


def _require(config: Any, name: str, holds: bool, expected: str) -> None:
    if not holds:
        found = getattr(config, name)
        raise ValueError(f"{type(config).__name__}.{name}: found {found!r}, expected {expected}")


def _require_within(
    config: Any, name: str, low: float, high: float, *, without_high: bool = False
) -> None:
    """Raise ValueError unless a number, or each of several, is in [low, high]; NaN is not."""
    value = getattr(config, name)
    numbers = value if isinstance(value, tuple | list) else (value,)
    holds = all(low <= n < high if without_high else low <= n <= high for n in numbers)
    what = "numbers" if isinstance(value, tuple | list) else "a number"
    _require(config, name, holds, f"{what} in [{low:g}, {high:g}{')' if without_high else ']'}")


def _require_choice(config: Any, name: str) -> None:
    choices = typing.get_args(typing.get_type_hints(type(config))[name])
    _require(config, name, getattr(config, name) in choices, f"one of {list(choices)}")
