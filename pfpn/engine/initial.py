"""What training begins with: weights of ImageNet, of another run, of the zoo or of this package.

Weights of another data set fit but for the layers that have rows for classes. There, the rows of
classes with the same name are taken over, and the others keep their random start.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from torch import Tensor

from pfpn import zoo
from pfpn.backbone import ResNet, load_imagenet
from pfpn.engine import distributed
from pfpn.engine.checkpoint import (
    categories_of,
    read_header,
    read_tensors,
    weights_path,
)
from pfpn.engine.config import TrainConfig, from_json, setting_text
from pfpn.engine.distributed import Process
from pfpn.model import ModelConfig, PanopticFPN
from pfpn.shipped import TOY_WEIGHTS, shipped
from pfpn.structures import Category, stuff, things

TOY = "toy"  # as init: the weights that come with this package

# Settings that change what the same tensors compute, and leave their shapes as they are
ARITHMETIC = ("channel_order", "pixel_mean", "pixel_std", "stride_in_1x1")
# The same of the instance branch: what boxes are described by, and which level they are pooled from
INSTANCE_ARITHMETIC = (
    "anchor_sides", "anchor_ratios", "anchor_rounding", "roi_aligned", "roi_canonical_size",
    "mask_bins",
)  # fmt: skip

# What `take_network` leaves as the run has it: it belongs to the data, or to the training
OWN_SETTINGS = (
    "instance_branch", "semantic_branch", "num_things", "num_semantic", "frozen_stages",
    "cross_entropy_weight", "lovasz_weight", "lovasz_bins", "instance_weight", "semantic_weight",
)  # fmt: skip

# Words that COCO appends to the names of its stuff
SUFFIXES = ("merged", "other", "stuff")

WIDTHS = {"box_head.deltas": 4}  # rows for each class, where it is not one

Row = tuple[str, str]  # of a layer: "thing", "stuff", "other" or "background", and the class's name


@dataclass(frozen=True, slots=True)
class Beginning:
    """Which weights of a file a model begins with."""

    source: str  # as in the config
    classes: tuple[tuple[Category, Category | None], ...]  # ours; theirs, None if it begins anew
    left: tuple[str, ...]  # tensors that keep their random start, class rows aside

    def lines(self) -> list[str]:
        """Return lines that a user should see: classes as a table, and the tensors left out."""
        pairs = sorted(self.classes, key=lambda pair: pair[1] is None)
        num = sum(theirs is not None for _, theirs in pairs)
        head = f"init={self.source}: {num} of {len(pairs)} classes begin with trained rows"
        rows = [(ours.name, theirs.name if theirs else "new") for ours, theirs in pairs]
        if all(ours == theirs for ours, theirs in rows):
            rows = []  # nothing that the first line does not say
        width = max((len(name) for name, _ in rows), default=0)
        lines = [head, *(f"  {ours:{width}}  <- {theirs}" for ours, theirs in rows)]
        if self.left:
            layers = sorted({name.rpartition(".")[0] for name in self.left})
            more = " ..." if len(layers) > 12 else ""
            lines.append(
                f"init={self.source}: {len(self.left)} tensors do not fit and keep their random "
                f"start, in {len(layers)} layers: {', '.join(layers[:12])}{more}"
            )
        return lines


# the config --------------------------------------------------------------------------------------


def settle(
    config: TrainConfig, process: Process, resumed: ModelConfig | None = None
) -> tuple[TrainConfig, list[str]]:
    """Return the config with all that depends on the weights it begins with, and lines to show.

    Without a network ImageNet's weights may be replaced by those of `config.fallback`; with
    `take_network` the network is that of the weights.

    Args:
        config: of the run, its model fitted to the categories.
        process: the main one tries to fetch ImageNet's weights, the others do as it did.
        resumed: the model of the checkpoint that the run goes on from: then nothing is fetched.
    """
    follows = config.take_network or bool(config.fallback)
    if resumed is not None:
        return (replace(config, model=_taken(resumed, config.model)) if follows else config), []
    lines = []
    if config.model.imagenet and config.fallback and not config.init:
        problem = _imagenet_problem(config.model, process)
        if problem:
            model = replace(config.model, imagenet=False)
            config = replace(config, init=config.fallback, take_network=True, model=model)
            lines.append(f"begins with init={config.fallback} instead of ImageNet's: {problem}")
    if config.init and config.take_network:
        path = initial_path(config.init)
        theirs = from_json(ModelConfig, read_header(path)[0]["model"], f"{path}: model")
        model = _taken(replace(theirs, imagenet=False), config.model)
        changed = _changes(config.model, model)
        if changed:
            lines.append(f"the network is that of init={config.init}: {', '.join(changed)}")
        config = replace(config, model=model)
    return config, lines


def _taken(theirs: ModelConfig, ours: ModelConfig) -> ModelConfig:
    return replace(theirs, **{name: getattr(ours, name) for name in OWN_SETTINGS})


def _changes(before: ModelConfig, after: ModelConfig) -> list[str]:
    names = [f.name for f in fields(ModelConfig)]
    differing = [name for name in names if getattr(before, name) != getattr(after, name)]
    return [f"model.{name}={setting_text(getattr(after, name))}" for name in differing]


def _imagenet_problem(model: ModelConfig, process: Process) -> str:
    """Return why ImageNet's weights cannot be had, "" if they can; on all processes alike."""
    problem = ""
    if process.is_main:
        try:
            load_imagenet(ResNet(model.depth), model.depth)
        except ValueError as error:
            problem = str(error)
    failed = distributed.from_main([float(bool(problem))], process)[0]
    return problem or ("the main process has no ImageNet weights" if failed else "")


def initial_path(init: str) -> Path:
    """Return the weights file that a config's `init` names.

    A name of the zoo is fetched, and converted once; "toy" comes with this package.
    """
    if init in zoo.MODELS and not Path(init).exists():
        return zoo.converted(init)
    return shipped(TOY_WEIGHTS) if init == TOY else weights_path(init)


def brings_backbone(init: str, backbone: ResNet) -> bool:
    """Return whether a weights file has every tensor of a backbone, so that it needs no others."""
    _, shapes = read_header(initial_path(init))
    own = backbone.state_dict()
    return all(shapes.get(f"backbone.{key}") == value.shape for key, value in own.items())


# the tensors -------------------------------------------------------------------------------------


def load_initial(
    model: PanopticFPN,
    init: str | Path,
    categories: Sequence[Category],
    *,
    other_names: Sequence[str] = (),
    other_arithmetic: bool = False,
) -> Beginning:
    """Copy the weights of a file that fit, and the rows of classes with the same name.

    Args:
        model: at its random start.
        init: see `initial_path`.
        categories: the model's.
        other_names: "OURS:THEIRS", classes that are the same under two names.
        other_arithmetic: allow weights that were trained with another arithmetic than the model's:
            they fit, and compute something else.
    """
    path = initial_path(str(init))
    header, shapes = read_header(path)
    theirs = from_json(ModelConfig, header["model"], f"{path}: model")
    if not other_arithmetic:
        _require_same_arithmetic(theirs, model.config, path)
    their_categories = categories_of(header, path)
    pairs = match_classes(categories, their_categories, other_names)
    ours, known = _class_rows(model.config, categories), _class_rows(theirs, their_categories)
    sources = {_row(own): _row(other) if other else None for own, other in pairs}

    own = model.state_dict()
    fitting = {key for key, shape in shapes.items() if key in own and own[key].shape == shape}
    by_class = {
        key
        for layer in ours.keys() & known.keys()
        for key in (f"{layer}.weight", f"{layer}.bias")
        if key in own and key in shapes and own[key].shape[1:] == shapes[key][1:]
    }
    if not fitting | by_class:
        raise ValueError(f"{init}: found no tensor that fits this model. Is it the same depth?")
    state = read_tensors(path)
    new = {key: state[key] for key in fitting - by_class}
    for key in by_class:
        layer = key.rpartition(".")[0]
        starts: dict[Row | None, int] = {row: i for i, row in enumerate(known[layer])}
        # "other" and background are themselves everywhere
        moved = [(i, starts.get(sources.get(row, row))) for i, row in enumerate(ours[layer])]
        new[key] = _copy_rows(own[key], state[key], moved, WIDTHS.get(layer, 1))
    model.load_state_dict(new, strict=False)
    return Beginning(str(init), tuple(pairs), tuple(sorted(own.keys() - fitting - by_class)))


def match_classes(
    ours: Sequence[Category], theirs: Sequence[Category], other_names: Sequence[str] = ()
) -> list[tuple[Category, Category | None]]:
    """Return each of our classes with theirs of the same kind and name, None without.

    Upper and lower case, "-" and "_" make no difference; where no name agrees as it is, the words
    merged, other and stuff at the end of COCO's names are left out.
    """
    renamed = {}
    for text in other_names:
        own, colon, other = text.partition(":")
        if not colon or own not in {c.name for c in ours} or other not in {c.name for c in theirs}:
            raise ValueError(
                f"init_classes: found {text!r}, expected OURS:THEIRS with a name of the data set's "
                f"classes ({', '.join(c.name for c in ours)}) and one of the weights' "
                f"({', '.join(c.name for c in theirs)})"
            )
        renamed[own] = other

    def find(own: Category) -> Category | None:
        name = renamed.get(own.name, own.name)
        alike = [c for c in theirs if c.is_thing == own.is_thing]
        for simplify in (_words, _stem):
            for other in alike:
                if simplify(other.name) == simplify(name):
                    return other
        return None

    return [(category, find(category)) for category in ours]


def _words(name: str) -> tuple[str, ...]:
    return tuple(name.lower().replace("-", " ").replace("_", " ").split())


def _stem(name: str) -> tuple[str, ...]:
    words = _words(name)
    while len(words) > 1 and words[-1] in SUFFIXES:
        words = words[:-1]
    return words


def _row(category: Category) -> Row:
    return ("thing" if category.is_thing else "stuff"), category.name


def _class_rows(config: ModelConfig, categories: Sequence[Category]) -> dict[str, list[Row]]:
    """Return, for each layer with rows for classes, which class comes after which."""
    thing_rows = [_row(category) for category in things(categories)]
    stuff_rows = [_row(category) for category in stuff(categories)]
    rows: dict[str, list[Row]] = {}
    if config.instance_branch:
        rows["box_head.classify"] = [*thing_rows, ("background", "")]
        rows["box_head.deltas"] = rows["mask_head.classify"] = thing_rows
    if config.semantic_branch:
        first = [("other", "")] if config.instance_branch else thing_rows
        rows["semantic_head.classify"] = [*first, *stuff_rows]
    return rows


def _copy_rows(
    own: Tensor, other: Tensor, moved: Sequence[tuple[int, int | None]], width: int
) -> Tensor:
    """Return `own` with the rows of some classes from `other`.

    Args:
        own: of our layer.
        other: of theirs.
        moved: the position of a class here, and there (None: it is not there).
        width: rows of a class.
    """
    new, source = (tensor.unflatten(0, (-1, width)) for tensor in (own.clone(), other))
    for here, there in moved:
        if there is not None:
            new[here] = source[there].to(new)
    return new.flatten(0, 1)


def _require_same_arithmetic(theirs: ModelConfig, ours: ModelConfig, path: Path) -> None:
    both = theirs.instance_branch and ours.instance_branch
    differing = {
        name: getattr(theirs, name)
        for name in ARITHMETIC + (INSTANCE_ARITHMETIC if both else ())
        if getattr(theirs, name) != getattr(ours, name)
    }
    if theirs.depth < 50 and ours.depth < 50:  # their blocks have no 1x1 to put a stride in
        differing.pop("stride_in_1x1", None)
    if differing:
        found = [f"model.{name}={setting_text(value)}" for name, value in differing.items()]
        expected = [f"{name}={setting_text(getattr(ours, name))}" for name in differing]
        raise ValueError(
            f"init={path}: found weights that were trained with {' '.join(found)}, expected "
            f"{' '.join(expected)} as in this run. Add the former to the settings of this run, or "
            "take_network=true, or begin all the same with other_arithmetic=true"
        )
