"""Panoptic quality as a torchmetrics.Metric: panopticapi's figures, states, and its own options."""

import json
import pickle
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch
from torch.testing import assert_close

pytest.importorskip("torchmetrics", reason="an extra: pip install 'pfpn[metrics]'")

import torchmetrics.detection as theirs

from pfpn.metric import PanopticMetric
from pfpn.torchmetric import PanopticQuality
from tests.two_channels import VOID_CLASS, categories_of, images_of

NORMAL = Path(__file__).parent / "data_files" / "pq" / "normal"


@pytest.fixture(scope="module")
def images():
    return [
        (torch.from_numpy(prediction), torch.from_numpy(truth), crowds)
        for prediction, truth, crowds in images_of(NORMAL)
    ]


def build(**options) -> PanopticQuality:
    return PanopticQuality(*categories_of(NORMAL), void=[VOID_CLASS], **options)


def test_it_gives_panopticapis_figures_where_torchmetrics_own_does_not(images):
    expected = json.loads((NORMAL / "expected.json").read_text())
    ours = build(return_sq_and_rq=True)
    other = theirs.PanopticQuality(*categories_of(NORMAL), allow_unknown_preds_category=True)
    for prediction, truth, crowds in images:
        ours.update(prediction, truth, crowds)
        other.update(prediction, truth)
    figures = [expected["all"][name] / 100 for name in ("pq", "sq", "rq")]
    assert_close(ours.compute(), torch.tensor(figures, dtype=torch.float64))
    assert f"{100 * float(ours.compute()[0]):.1f}" == "37.4"
    assert f"{100 * float(other.compute()):.1f}" == "48.1"


def test_without_crowds_and_void_both_agree(images):
    """Where the rules do not differ, neither do the figures: also class by class, and modified."""
    things, stuff = categories_of(NORMAL)
    options = {"return_sq_and_rq": True, "return_per_class": True}
    ours, other = build(**options), theirs.PanopticQuality(things, stuff, **options)
    modified = build(modified_stuff=True)
    other_modified = theirs.ModifiedPanopticQuality(things, stuff)
    for prediction, truth, _ in images[:3]:
        pair = [
            m.where(m[..., :1] != VOID_CLASS, m.new_tensor([stuff[0], 0]))
            for m in (prediction, truth)
        ]
        for metric in (ours, other, modified, other_modified):
            metric.update(*pair)
    table = other.compute()
    assert_close(ours.compute(), table.reshape(ours.compute().shape), check_dtype=False)
    assert_close(modified.compute(), other_modified.compute(), check_dtype=False)


def test_states_add_up_over_processes(images):
    whole, first, second = (build() for _ in range(3))
    for number, (prediction, truth, crowds) in enumerate(images):
        whole.update(prediction, truth, crowds)
        (first if number % 2 else second).update(prediction, truth, crowds)
    first.sums += second.sums  # what dist_reduce_fx="sum" does
    assert_close(first.compute(), whole.compute())


def test_the_value_of_a_step_is_that_of_its_batch(images):
    metric, plain = build(), PanopticMetric(*categories_of(NORMAL), void=[VOID_CLASS])
    prediction, truth, _ = images[0]
    metric.update(*images[1][:2])
    value = metric(prediction, truth)
    plain.update(prediction, truth)
    assert float(value) == pytest.approx(plain.compute().all.pq)
    plain.update(*images[1][:2])
    assert float(metric.compute()) == pytest.approx(plain.compute().all.pq)
    metric.reset()
    assert float(metric.sums.sum()) == 0


def test_unknown_predictions_are_refused_or_void(images):
    prediction, truth, _ = images[0]
    strange = prediction.clone()
    strange[strange[..., 0] == VOID_CLASS] = 999
    with pytest.raises(ValueError, match="found class 999"):
        build().update(strange, truth)
    allowed, plain = build(allow_unknown_preds_category=True), build()
    allowed.update(strange, truth)
    plain.update(prediction, truth)
    assert_close(allowed.compute(), plain.compute())
    with pytest.raises(ValueError, match="no id for pixels without a class"):
        PanopticQuality(*categories_of(NORMAL), allow_unknown_preds_category=True)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.int32])
def test_unknown_predictions_may_be_of_any_integer_type(dtype):
    """Also of one that cannot hold the id of void, and as an array."""
    truth = torch.tensor([[[[1, 1], [1, 1], [7, 0], [7, 0]]]])
    strange = truth.clone()
    strange[0, 0, 3] = torch.tensor([9, 4])
    expected = PanopticQuality([1], [7], void=[300])
    expected.update(torch.where(strange == 9, 300, strange), truth)
    assert 0 < float(expected.compute()) < 1
    for prediction in (strange.to(dtype), strange.to(dtype).numpy()):
        metric = PanopticQuality([1], [7], void=[300], allow_unknown_preds_category=True)
        metric.update(prediction, truth)
        assert_close(metric.compute(), expected.compute())
    with pytest.raises(ValueError, match="float32 values"):
        metric.update(strange.float(), truth)


def test_a_refused_batch_counts_nothing():
    truth = torch.tensor([[[[1, 1], [7, 0]]]])
    metric = PanopticQuality([1], [7])
    metric.update(truth, truth)
    with pytest.raises(ValueError, match="found class 3"):
        metric.update(truth + torch.tensor([2, 0]), truth)
    assert metric.sums[:, 0].tolist() == [1, 1]
    assert metric.sums[:, 1:3].sum() == 0


def test_it_is_drawn_cloned_and_stored_as_others_are(images):
    metric = build()
    metric.update(*images[0][:2])
    figure, _ = metric.plot()
    assert figure.axes
    plt.close(figure)
    assert_close(metric.clone().compute(), metric.compute())
    assert_close(pickle.loads(pickle.dumps(metric)).compute(), metric.compute())
    metric.persistent(True)
    other = build()
    other.persistent(True)
    other.load_state_dict(metric.state_dict())
    assert torch.equal(other.sums, metric.sums)
