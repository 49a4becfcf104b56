"""Capstones: the learner's own code inside the trained network, scored beside the package's.

`run_capstone("01", fpn=MyFPN)` builds the learner's module, loads the trained weights into it by
name, puts it into the network in place of the package's, and predicts twenty streets. It prints
both scores and, if they are not the same, the first stage and street where they differ, with a
picture of it. `train_mine` assembles the parts of all chapters and trains them from scratch.
"""

from collections.abc import Callable, Mapping
from typing import Any

from pfpn.course.capstone_parts import FUNCTIONS, MODULES, StageError
from pfpn.course.capstone_quality import examine_quality
from pfpn.course.capstone_report import (
    Capstone,
    CapstoneReport,
    Scores,
    examine_network,
    heading,
    table,
)
from pfpn.course.capstone_rescue import examine_rescue
from pfpn.course.capstone_training import (
    evaluate,
    examine_step,
    package_step,
    train_from_scratch,
)
from pfpn.course.show import show

TASKS = (
    Capstone(
        name="01",
        examine=examine_network,
        title="your FPN in the trained network",
        parts=("fpn",),
        difficulty=2,
        minutes=25,
        look={
            "p5": "p5 is the lateral map of c5 after its 3x3, and nothing is added to it.",
            "p4": "Check the first step down: which map goes down, the merged one or the one after "
            "its 3x3? How is it doubled?",
            "p6": "p6 has no weights: every second cell of p5, in both directions.",
        },
    ),
    Capstone(
        name="02",
        examine=examine_network,
        title="your semantic head in the trained network",
        parts=("semantic_head",),
        difficulty=2,
        minutes=25,
        look={
            "semantic logits": "Check in this order: the settings of the layers, the doubling "
            "(bilinear, corners not aligned), the sum of the four branches.",
        },
    ),
    Capstone(
        name="03",
        examine=examine_network,
        title="your RPN head, anchors and proposals in the trained network",
        parts=("rpn_head", "anchors", "proposals"),
        difficulty=3,
        minutes=45,
        look={
            "anchors": "An anchor is centered on its cell's top-left corner. A ratio is height / "
            "width. The anchors of a cell stand side by side, then comes the next cell of the row.",
            "objectness": "The head returns channels first. Bring the channels to the end before "
            "you flatten, so that the numbers of a cell stand side by side.",
            "deltas": "The channels are (anchor, coordinate), in this order. Bring them to the end "
            "before you flatten.",
            "proposals": "Check in this order: the best anchors of each level, decoding, clipping, "
            "NMS within each level, the best of all levels.",
        },
    ),
    Capstone(
        name="04",
        examine=examine_network,
        title="your RoIAlign, heads, detections and masks in the trained network",
        parts=("box_head", "mask_head", "pool", "detect", "paste"),
        difficulty=3,
        minutes=60,
        look={
            "features on 7 x 7": "Check the level of each box (here a box of 112 pixels goes to "
            "p4), the half pixel between a pixel's index and its center, and the mean over the "
            "samples of a bin.",
            "class logits": "Check how the features of a box are flattened, and the two hidden "
            "layers.",
            "detections": "Check in this order: softmax with the background and scores without it, "
            "decoding with the weights 10, 10, 5, 5, clipping, NMS within each class.",
            "masks in boxes": "Check the doubling of the grid, and which class's mask is taken.",
            "masks": "Check which point of the grid belongs to the center of a pixel, and the "
            "threshold.",
        },
    ),
    Capstone(
        name="05",
        examine=examine_step,
        title="your losses and your training step",
        parts=("step",),
        difficulty=2,
        minutes=30,
        look={
            "loss_rpn_objectness": "A sum over the sampled anchors, divided by `max_anchors`.",
            "loss_rpn_box": "A sum over all four coordinates, divided by `max_anchors`, which "
            "also counts the anchors that are on no object.",
            "loss_class": "Cross-entropy of things and background, the mean over all sampled rois.",
            "loss_box": "Only rois on an object have a box loss, and only the deltas of their own "
            "class. It is divided by the number of all sampled rois.",
            "loss_mask": "Binary cross-entropy of logits, averaged over all bins of all masks.",
            "loss_semantic": "Pixels with the label 255 do not count, neither in the sum nor in "
            "the number that you divide by.",
            "weights": "The losses are right, the weights after the step are not. Are the "
            "gradients of the step before set to zero? Are all six losses in the sum? Does the "
            "optimizer take exactly one step?",
        },
    ),
    Capstone(
        name="08",
        examine=examine_rescue,
        title="your rescue of a training that Lovász ruined",
        parts=("loss",),
        difficulty=3,
        minutes=30,
        look={
            "floor": "Does the loss get logits, probabilities, or probabilities of probabilities?",
            "ignored pixels": "Labels of 255 have to be left out, not to be given another class.",
            "absent classes": "A class that no pixel shows costs its largest error, however few "
            "pixels that are. Which classes should the mean be over?",
            "start": "While everything is wrong and sure, Lovász-Softmax pulls at nothing. What "
            "can pull at the start?",
            "Lovász": "The task is to keep Lovász in the training, at its end at least.",
            "training": "All tests are passed, and the training still falls behind: is one part of "
            "the sum much larger than the other?",
        },
    ),
    Capstone(
        name="09",
        examine=examine_network,
        title="your merging in the trained network",
        parts=("merge",),
        difficulty=2,
        minutes=25,
        look={
            "panoptic map": "Check in this order: the order of the instances, the fraction of a "
            "mask that better instances hide, the pixels that are still free, stuff without "
            "label 0 and 255, the area of stuff after the instances have taken theirs.",
        },
    ),
    Capstone(
        name="10",
        examine=examine_quality,
        title="your panoptic quality on the predictions of the trained network",
        parts=("count", "mean"),
        difficulty=2,
        minutes=25,
        look={
            "false positives": "A predicted segment without a match does not count if more than "
            "half of it lies on void.",
            "sum of IoU": "Pixels that are void in the truth belong to neither side of the union.",
            "true positives": "Two segments match where they have one class and an IoU above 0.5.",
            "PQ": "Average over the classes, each with its own PQ. A class without any segment "
            "does not count.",
        },
    ),
)
CAPSTONES = {capstone.name: capstone for capstone in TASKS}


def find_capstone(name: str, parts: Mapping[str, Any]) -> Capstone:
    """Return a capstone.

    Raises:
        ValueError: there is none of that name, or it has other parts.
    """
    if name not in CAPSTONES:
        raise ValueError(f"No capstone is called {name!r}, expected one of {sorted(CAPSTONES)}.")
    capstone = CAPSTONES[name]
    if set(parts) != set(capstone.parts):
        raise ValueError(
            f"The capstone {name} has the parts {sorted(capstone.parts)}, found {sorted(parts)}."
        )
    return capstone


def examine_capstone(name: str, parts: Mapping[str, Callable[..., Any]]) -> CapstoneReport:
    """Return the report on a learner's parts.

    Raises:
        ValueError: there is no capstone of that name, or it has other parts.
    """
    capstone = find_capstone(name, parts)
    for part, given in parts.items():
        kinds = given.__mro__ if isinstance(given, type) else (given,)
        if any(str(getattr(kind, "__module__", "")).startswith("pfpn.") for kind in kinds):
            text = (
                f"{heading(capstone)}\n  x {part}: this is the package's own, or inherits from it."
            )
            return CapstoneReport(f"{text} Write one of yours.", stage=part)
    return capstone.examine(capstone, parts)


def run_capstone(name: str, **parts: Callable[..., Any]) -> CapstoneReport:
    """Put a learner's parts into the trained network, print the result and show the picture.

    A part that is still a stub (it raises NotImplementedError) is no error, so that a notebook
    runs through before its capstone is done.

    Args:
        name: the chapter, such as "01".
        **parts: the learner's classes and functions, by the names that the task states.

    Raises:
        ValueError: there is no capstone of that name, or it has other parts.
    """
    report = examine_capstone(name, parts)
    print(report)
    if report.figure is not None:
        show(report.figure, report.alt)
    return report


def train_mine(
    parts: Mapping[str, Callable[..., Any]],
    *,
    max_steps: int,
    max_seconds: float = float("inf"),
    num_streets: int = 20,
    every: int = 50,
) -> Scores | None:
    """Train a network of the learner's parts from scratch, print its progress, return its score.

    Parts that are missing are the package's; the first lines say which.

    Args:
        parts: by their names, as `gather_parts` returns them.
        max_steps: stop after so many,
        max_seconds: or after this time.
        num_streets: on which it is scored, at most 20.
        every: steps between two lines of progress.
    """
    needed = {*MODULES, *FUNCTIONS, "step"}
    mine, missing = sorted(needed & set(parts)), sorted(needed - set(parts))
    print(f"your parts: {', '.join(mine) or 'none yet'}")
    if missing:
        print(f"the package's stand in for: {', '.join(missing)}")
    step = parts.get("step", package_step)
    network = None
    try:
        for row, trained in train_from_scratch(
            parts, step, max_steps=max_steps, max_seconds=max_seconds
        ):
            network, last = trained, row
            if row.step == 1 or row.step % every == 0:
                print(f"step {row.step:5}: sum of the losses {row.total:6.2f}")
    except StageError as error:
        print(f"  x {error.stage}: {error}")
        return None
    if network is None:
        return None
    scores = evaluate(network, num_streets)
    print(f"after {last.step} steps of 4 streets:")
    print("\n".join(table(scores, None, num_streets)))
    return scores
