"""The network of the capstones is the package's, stage by stage and loss by loss."""

import pytest
import torch

from pfpn.course.capstone_network import Network
from pfpn.course.capstone_parts import StageError, load_by_name
from pfpn.course.capstone_stages import RULES
from pfpn.course.capstone_training import batch_of, package_losses
from pfpn.data.toy import ToyStreet
from pfpn.engine.checkpoint import load_weights
from pfpn.fpn import FPN
from pfpn.model import LOSS_NAMES
from pfpn.predict import predict
from pfpn.shipped import TOY_WEIGHTS, shipped


@pytest.fixture(scope="module")
def trained():
    return load_weights(shipped(TOY_WEIGHTS))


def test_without_a_learners_part_it_predicts_what_the_package_predicts(trained):
    network = Network(trained.model, trained.predict, {}).eval()
    images = [ToyStreet(3, 5)[i].image for i in range(3)]
    for image, expected in zip(
        images, predict(trained.model, images, trained.predict), strict=True
    ):
        stages = {}
        network.trace(image, stages)
        assert torch.equal(stages["panoptic map"].id_map, expected.panoptic.id_map)
        assert list(stages) == list(RULES)


def test_its_losses_are_the_packages(trained):
    network = Network(trained.model, trained.predict, {}).eval()
    batch = batch_of([ToyStreet(2, 5)[i] for i in range(2)], trained.categories)
    ours = trained.model.losses(batch, torch.Generator().manual_seed(0))
    found = package_losses(network.outputs(batch, torch.Generator().manual_seed(0)))
    assert tuple(found) == LOSS_NAMES
    for name, value in ours.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)


def test_a_network_from_scratch_has_other_weights(trained):
    fresh = Network(trained.model, trained.predict, {}, pretrained=False)
    key = "rpn_head.conv.weight"
    assert not torch.equal(fresh.package.state_dict()[key], trained.model.state_dict()[key])


def test_weights_that_do_not_fit_are_listed():
    state = FPN([8, 16, 32, 64], 8).state_dict()
    with pytest.raises(StageError) as raised:
        load_by_name(FPN([8, 16, 32, 64], 4), state, "fpn")
    text = str(raised.value)
    assert "lateral.c2.weight: your shape is (4, 8, 1, 1), the trained one (8, 8, 1, 1)" in text
    assert "... and 11 more" in text


def test_a_part_that_is_no_module_is_refused(trained):
    with pytest.raises(StageError, match=r"fpn: expected a torch\.nn\.Module, found int"):
        Network(trained.model, trained.predict, {"fpn": lambda *_: 3})
