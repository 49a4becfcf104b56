"""Report on a learner's parts in the trained network: both scores, and the first difference.

What all capstones of one session share (weights, streets, the package's results) is computed once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from matplotlib.figure import Figure

from pfpn.course.capstone_figures import describe_difference, plot_difference
from pfpn.course.capstone_network import Network
from pfpn.course.capstone_parts import MODULES, StageError
from pfpn.course.capstone_stages import RULES, Difference, compare_layers, first_difference
from pfpn.course.check import stars
from pfpn.data.toy import ToyStreet
from pfpn.engine.checkpoint import Trained, load_weights
from pfpn.quality import PanopticQuality
from pfpn.shipped import TOY_WEIGHTS, shipped
from pfpn.structures import Sample

NUM_STREETS, SEED = 20, 7  # streets that training never saw


@dataclass(frozen=True, kw_only=True, slots=True)
class Capstone:
    """A task: which parts of the network the learner writes, and where to look if they differ."""

    name: str  # "01": the chapter
    title: str
    parts: tuple[str, ...]
    difficulty: int  # 1 to 3
    minutes: int
    look: Mapping[str, str]  # by stage: what to check if it is the first that differs
    examine: "Examine"  # reports on the learner's parts


@dataclass(frozen=True, slots=True)
class Scores:
    """Panoptic quality over the streets, in [0, 1]."""

    all: float
    things: float
    stuff: float


@dataclass(frozen=True, slots=True)
class CapstoneReport:
    """The result of a capstone."""

    text: str  # what the learner reads
    right: bool = False
    stage: str = ""  # the first that differs or fails
    street: int | None = None
    scores: Scores | None = None  # with the learner's parts; None if a part failed
    figure: Figure | None = field(default=None, compare=False)
    alt: str = ""

    def __str__(self) -> str:
        return self.text


Parts = Mapping[str, Callable[..., Any]]  # a learner's classes and functions by the parts' names
Examine = Callable[[Capstone, Parts], CapstoneReport]


@dataclass(frozen=True, slots=True)
class Session:
    """What all capstones of one session share: weights, streets and the package's results."""

    trained: Trained
    streets: tuple[Sample, ...]
    network: Network  # the package's
    stages: tuple[dict[str, Any], ...]  # of the package, by street
    scores: Scores


@cache
def session() -> Session:
    """Return the trained network, the streets and the package's results, computed once."""
    trained = load_weights(shipped(TOY_WEIGHTS))
    world = ToyStreet(NUM_STREETS, SEED)
    streets = tuple(world[i] for i in range(len(world)))
    network = Network(trained.model, trained.predict, {}).eval()
    stages = []
    for sample in streets:
        found: dict[str, Any] = {}
        network.trace(sample.image, found)
        stages.append(found)
    scores = score(trained, streets, [found["panoptic map"] for found in stages])
    return Session(trained, streets, network, tuple(stages), scores)


def score(trained: Trained, streets: tuple[Sample, ...], maps: list[Any]) -> Scores:
    """Return the panoptic quality of maps of the streets."""
    quality = PanopticQuality(trained.categories)
    for sample, found in zip(streets, maps, strict=True):
        quality.update(sample.panoptic, found)
    result = quality.compute()
    groups = (result.all, result.things, result.stuff)
    return Scores(*(group.pq if group is not None else 0.0 for group in groups))


def examine_network(capstone: Capstone, parts: Parts) -> CapstoneReport:
    """Return the report on a learner's parts in the trained network."""
    shared = session()
    try:
        network = Network(shared.trained.model, shared.trained.predict, parts).eval()
        traced, problem = trace_all(network, shared.streets)
    except NotImplementedError:
        return unanswered(capstone)
    except StageError as error:
        text = f"{heading(capstone)}\n  x {error.stage}: {error}"
        return CapstoneReport(text, stage=error.stage)
    scores = None
    if problem is None:
        maps = [found["panoptic map"] for found in traced]
        scores = score(shared.trained, shared.streets, maps)
    difference = first_difference(shared.stages, traced)
    if difference is None and problem is None:
        assert scores is not None
        return right(capstone, network, scores)
    return explain(capstone, network, difference or problem, problem, scores)


def trace_all(
    network: Network, streets: tuple[Sample, ...]
) -> tuple[list[dict[str, Any]], Difference | None]:
    """Return the stages of every street, and where a part failed, if one did."""
    traced: list[dict[str, Any]] = []
    problem: Difference | None = None
    for number, sample in enumerate(streets):
        stages: dict[str, Any] = {}
        traced.append(stages)
        try:
            network.trace(sample.image, stages)
        except NotImplementedError:
            raise
        except StageError as error:
            problem = problem or Difference(error.stage, number, str(error), 1.0)
        except Exception as error:  # a wrong shape is noticed only where it is used
            last = list(stages)[-1] if stages else "pyramid"
            text = f"the network cannot go on from this stage ({type(error).__name__}: {error})"
            problem = problem or Difference(last, number, text.splitlines()[0], 1.0)
        if problem is not None and number >= 1:  # every street would fail alike
            traced += [{} for _ in streets[number + 1 :]]
            break
    return traced, problem


def heading(capstone: Capstone) -> str:
    """Return the first line of a report."""
    return f"Capstone {capstone.name}: {capstone.title}"


def unanswered(capstone: Capstone) -> CapstoneReport:
    """Return the report on a stub."""
    text = (
        f"{heading(capstone)}: not built yet. {stars(capstone.difficulty)}, about "
        f"{capstone.minutes} minutes."
    )
    return CapstoneReport(text)


def table(yours: Scores, ours: Scores | None, num_streets: int | None = None) -> list[str]:
    """Return both scores as lines, or the learner's alone; on all streets if no number is given."""
    num_streets = num_streets or len(session().streets)
    rows = [f"  {f'PQ over {num_streets} streets':22} {'yours':>6}{'   ours' if ours else ''}"]
    for label, key in (("all classes", "all"), ("things", "things"), ("stuff", "stuff")):
        second = f" {100 * getattr(ours, key):6.1f}" if ours else ""
        rows.append(f"    {label:20} {100 * getattr(yours, key):6.1f}{second}")
    return rows


def right(capstone: Capstone, network: Network, scores: Scores) -> CapstoneReport:
    """Return the report on parts that do all that the package's do."""
    loaded = [
        f"  + {len(network[part].state_dict())} trained weights loaded by name into your "
        f"{type(network[part]).__name__}"
        for part in capstone.parts
        if part in MODULES
    ]
    lines = [
        heading(capstone),
        *loaded,
        f"  + all {len(RULES)} stages are the package's, on all {len(session().streets)} streets",
        *table(scores, session().scores),
    ]
    return CapstoneReport("\n".join(lines), right=True, scores=scores)


def explain(
    capstone: Capstone,
    network: Network,
    difference: Difference | None,
    problem: Difference | None,
    scores: Scores | None,
) -> CapstoneReport:
    """Return the report on parts that do something else, or fail."""
    assert difference is not None
    shared, lines = session(), [heading(capstone)]
    stage, street = difference.stage, difference.street
    order = list(RULES)
    before = order[: order.index(stage)] if stage in order else []
    if before:
        names = ", ".join(before) if len(before) < 5 else f"{before[0]} to {before[-1]}"
        lines.append(f"  + right on all streets: {names}")
    lines.append(f"  x {stage}, street {street}: {difference.text}")
    lines += inside(capstone, network, stage, street)
    if stage in capstone.look:
        lines.append(f"  {capstone.look[stage]}")
    if problem is not None and problem is not difference:
        lines.append(f"  After it, the stage {problem.stage} could not run.")
    if scores is not None:
        lines += table(scores, shared.scores)
    figure, alt = None, ""
    if difference.ours is not None:
        sample = shared.streets[street]
        figure = plot_difference(difference, sample, shared.trained.categories)
        alt = describe_difference(difference, ", ".join(capstone.parts))
    return CapstoneReport("\n".join(lines), False, stage, street, scores, figure, alt)


MODULE_OF = {
    **dict.fromkeys(("p5", "p4", "p3", "p2", "p6"), "fpn"),
    "semantic logits": "semantic_head",
    **dict.fromkeys(("objectness", "deltas"), "rpn_head"),
    **dict.fromkeys(("class logits", "box deltas"), "box_head"),
    "masks in boxes": "mask_head",
}


def inside(capstone: Capstone, network: Network, stage: str, street: int) -> list[str]:
    """Return which layer of the learner's module differs first, if it is a module's stage."""
    module = MODULE_OF.get(stage)
    if module not in capstone.parts:
        return []
    shared = session()
    image = shared.streets[street].image
    words = compare_layers(shared.network, network, module, image)
    return [f"  Inside your {type(network[module]).__name__}: {words}"]
