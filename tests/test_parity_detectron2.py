"""The reference figures of detectron2's Panoptic FPN, reproduced stage by stage.

`pytest -s` prints the worst deviation of every stage, and so does `benchmarks/parity.py`.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from pfpn.box_head import BOX_WEIGHTS
from pfpn.boxes import decode, encode
from pfpn.mask_head import mask_targets
from pfpn.model import ModelConfig, PanopticFPN
from pfpn.predict import resize_size
from pfpn.roi import level_of_boxes
from pfpn.rpn import RPN_BOX_WEIGHTS
from pfpn.zoo import rename_detectron2
from tests.data_files.detectron2.keyed_weights import DIGEST_R50, digest, keyed_state_dict
from tests.oracles.detectron2_figures import (
    FIGURES,
    INFERENCE_STAGES,
    TRAINING_STAGES,
    Deviation,
    build_reference_model,
    compare_inference,
    compare_training,
    draw_evenly,
    table,
)

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def model() -> PanopticFPN:
    return build_reference_model()


def shared_of(case: str, request: pytest.FixtureRequest) -> Path | None:
    """Return the folder beside the repository for the cases that are stored there, else None."""
    return None if case == "s192" else request.getfixturevalue("shared")


@pytest.fixture(scope="module", params=["s192", "a256", "b256"])
def inference(request, model) -> dict[str, Deviation]:
    deviations = compare_inference(request.param, model, shared_of(request.param, request))
    print("\n" + table(f"inference {request.param}", deviations))
    return deviations


@pytest.fixture(scope="module", params=["s192", "a256"])  # b256 has no training figures
def training(request, model) -> dict[str, Deviation]:
    deviations = compare_training(request.param, model, shared_of(request.param, request))
    print("\n" + table(f"training {request.param}", deviations))
    return deviations


@pytest.mark.parametrize("stage", INFERENCE_STAGES)
def test_inference_stage_equals_detectron2(stage, inference):
    assert inference[stage].is_fine, inference[stage]


@pytest.mark.parametrize("stage", TRAINING_STAGES)
def test_training_stage_equals_detectron2(stage, training):
    assert training[stage].is_fine, training[stage]


def test_keyed_weights_are_those_behind_the_figures():
    shapes = json.loads((FIGURES / "key_shapes_r50.json").read_text())
    assert digest(keyed_state_dict(shapes)) == DIGEST_R50


@pytest.mark.parametrize("depth", [50, 101])
def test_published_tensors_and_those_of_the_model_correspond(depth):
    shapes = json.loads((FIGURES / f"key_shapes_r{depth}.json").read_text())
    with torch.device("meta"):
        state = PanopticFPN(ModelConfig(depth=depth)).state_dict()
        published = rename_detectron2({key: torch.empty(shape) for key, shape in shapes.items()})
    assert {key: value.shape for key, value in state.items()} == {
        key: value.shape for key, value in published.items()
    }


def test_even_draw_takes_equal_distances():
    assert draw_evenly(torch.arange(10), 4, torch.Generator()).tolist() == [0, 2, 5, 7]
    assert draw_evenly(torch.arange(3), 4, torch.Generator()).tolist() == [0, 1, 2]
    assert draw_evenly(torch.arange(0), 4, torch.Generator()).tolist() == []


@pytest.fixture(scope="module")
def units() -> dict[str, torch.Tensor]:
    """Small inputs and outputs of detectron2's own functions."""
    with np.load(FIGURES / "units.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file.files if file[name].ndim}


def test_resized_sizes(units):
    cases = zip(units["resize_in"].tolist(), units["resize_out"].tolist(), strict=True)
    wrong = {
        tuple(case): (resize_size((case[0], case[1]), case[2], case[3]), tuple(size))
        for case, size in cases
        if resize_size((case[0], case[1]), case[2], case[3]) != tuple(size)
    }
    assert len(units["resize_in"]) == 39
    assert not wrong


@pytest.mark.parametrize(
    ("kind", "weights"), [("rpn", RPN_BOX_WEIGHTS), ("roi", BOX_WEIGHTS)], ids=["rpn", "roi"]
)
def test_box_coding_with_its_clamp(units, kind, weights):
    source, target = units["box_src"], units["box_dst"]
    assert_close(encode(target, source, weights), units[f"box_encode_{kind}"])
    deltas = units["box_delta"].unflatten(1, (-1, 4))  # two classes
    decoded = decode(deltas, source[:, None].expand_as(deltas), weights)
    assert_close(decoded.flatten(1), units[f"box_decode_{kind}"], rtol=1e-6, atol=1e-4)
    assert (deltas[..., 2:] / weights[2] > 4.2).any()  # so the clamp has an effect


def test_level_by_side(units):
    side = units["level_side"]
    boxes = torch.stack([torch.zeros_like(side), torch.zeros_like(side), side, side], dim=1)
    assert torch.equal(level_of_boxes(boxes), units["level"])


def test_mask_targets_from_bitmasks(units):
    boxes, masks = units["target_boxes"], units["target_bitmasks"]
    targets = mask_targets(boxes, masks, torch.arange(len(boxes)), 28)
    assert torch.equal(targets, units["target_from_bitmasks"])
