"""Panoptic quality of (class, instance) maps: the reference figures, batches, what is refused."""

import copy
import json
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from pfpn.metric import PanopticMetric
from pfpn.quality import PanopticQuality
from tests.two_channels import VOID_CLASS, categories_of, images_of

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "tests" / "data_files" / "pq"
with zipfile.ZipFile(FOLDER / "edge.zip") as archive:
    EDGE = json.loads(archive.read("edge/expected.json"))
SCORED = [name for name, case in EDGE.items() if case["must"] == "score"]


@pytest.fixture(scope="module")
def edge(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pq")
    with zipfile.ZipFile(FOLDER / "edge.zip") as archive:
        archive.extractall(folder)
    return folder / "edge"


def measure(folder: Path) -> PanopticMetric:
    things, stuff = categories_of(folder)
    metric = PanopticMetric(things, stuff, void=[VOID_CLASS])
    for prediction, truth, crowds in images_of(folder):
        metric.update(prediction, truth, crowds=crowds)
    return metric


def assert_figures(result: dict, expected: dict) -> None:
    for group in ("all", "things", "stuff"):
        if expected[group] is None:
            assert result[group] is None
        else:
            assert result[group] == pytest.approx(expected[group], abs=1e-9), group
    for number, entry in expected["per_class"].items():
        found = {k: v for k, v in result["per_class"][number].items() if k in entry}
        assert found == pytest.approx(entry, abs=1e-9)


def test_the_reference_set_has_panopticapis_figures():
    expected = json.loads((FOLDER / "normal" / "expected.json").read_text())
    assert_figures(measure(FOLDER / "normal").compute().as_dict(), expected)


def has_one_region_of_each_stuff(folder: Path) -> bool:
    """Whether no image has two segments of one stuff class: in maps they would be one."""
    _, stuff = categories_of(folder)
    for name in ("gt", "pred"):
        for annotation in json.loads((folder / f"{name}.json").read_text())["annotations"]:
            classes = [s["category_id"] for s in annotation["segments_info"]]
            if any(classes.count(c) > 1 for c in stuff):
                return False
    return True


@pytest.mark.parametrize("name", SCORED)
def test_edge_cases_have_panopticapis_figures(name, edge):
    if not has_one_region_of_each_stuff(edge / name):
        pytest.skip("two segments of one stuff class in an image cannot be told apart in maps")
    result, expected = measure(edge / name).compute().as_dict(), EDGE[name]["expected"]
    if "note" in EDGE[name]:  # the reference stops there, and only PQ is given
        assert result["all"]["pq"] == expected["all"]["pq"]
    else:
        assert_figures(result, expected)


def maps(classes: str, instances: str) -> torch.Tensor:
    """Rows of digits as one image of a batch."""
    channels = [[list(map(int, row)) for row in text.split()] for text in (classes, instances)]
    return torch.tensor(channels).movedim(0, -1)[None]


TRUTH = maps("1112 1122 0022", "1110 1100 0000")
PREDICTION = maps("1112 1222 1222", "7770 7000 9000")


def test_a_small_case_by_hand():
    # The car has 5 pixels, of which 4 are predicted as one; the road has 5, which are among the 7
    # of the prediction, of which one is void.
    metric = PanopticMetric([1], [2], void=[0], names={1: "car", 2: "road"})
    metric.update(PREDICTION, TRUTH)
    car, road = metric.compute().per_class
    assert (car.category.name, car.tp, car.fp, car.fn) == ("car", 1, 0, 0)  # on void: ignored
    assert car.iou_sum == pytest.approx(4 / 5)
    assert (road.tp, road.fp, road.fn) == (1, 0, 0)
    assert road.iou_sum == pytest.approx(5 / 6)


def test_a_batch_is_its_images_and_arrays_are_tensors():
    one, two = (PanopticMetric([1], [2], void=[0]) for _ in range(2))
    batch = torch.cat([PREDICTION, TRUTH]), torch.cat([TRUTH, PREDICTION])
    one.update(*batch)
    for prediction, truth in zip(*batch, strict=True):
        two.update(prediction[None].numpy().astype(np.int16), truth[None].to(torch.int32).numpy())
    assert one.compute() == two.compute()
    assert one.compute().num_images == 2


def test_images_may_have_any_spatial_axes():
    flat, whole = (PanopticMetric([1], [2], void=[0]) for _ in range(2))
    whole.update(PREDICTION, TRUTH)
    flat.update(PREDICTION.reshape(1, -1, 2), TRUTH.reshape(1, -1, 2))
    assert flat.compute() == whole.compute()


def test_instances_of_stuff_make_no_difference():
    other = TRUTH.clone()
    other[0, 0, 3, 1] = 5  # of the road
    results = []
    for truth in (TRUTH, other):
        metric = PanopticMetric([1], [2], void=[0])
        metric.update(PREDICTION, truth)
        results.append(metric.compute())
    assert results[0] == results[1]


def test_merging_is_one_data_set_and_reset_forgets():
    whole, first, second = (PanopticMetric([1], [2], void=[0]) for _ in range(3))
    for metric, pair in ((whole, (PREDICTION, TRUTH)), (first, (PREDICTION, TRUTH))):
        metric.update(*pair)
    whole.update(TRUTH, TRUTH)
    second.update(TRUTH, TRUTH)
    first.merge(second)
    assert first.compute() == whole.compute()
    assert np.array_equal(first.state(), whole.state())
    whole.reset()
    assert whole.compute() == PanopticMetric([1], [2]).compute()


def test_metrics_of_processes_are_carried_over_and_merged():
    """As torch.distributed.all_gather_object does it, by pickle."""
    whole = PanopticMetric([1], [2], void=[0], modified_stuff=True)
    parts = [copy.deepcopy(whole) for _ in range(2)]
    for part, pair in zip(parts, ((PREDICTION, TRUTH), (TRUTH, PREDICTION)), strict=True):
        whole.update(*pair)
        part.update(*pair)
    first, second = (pickle.loads(pickle.dumps(part)) for part in parts)
    first.merge(second)
    assert first.compute() == whole.compute()
    assert first.compute().num_images == 2


def test_modified_quality_of_stuff_has_no_threshold():
    """Two images: the road is predicted with IoU 1/4 in one, and not at all in the other."""
    truth = maps("2222", "0000").repeat(2, 1, 1, 1)
    found = torch.cat([maps("2111", "0333"), maps("1111", "3333")])
    plain, modified = (PanopticMetric([1], [2], modified_stuff=m) for m in (False, True))
    for metric in (plain, modified):
        metric.update(found, truth)
    assert plain.compute().stuff.pq == 0
    assert modified.compute().stuff.pq == pytest.approx((1 / 4 + 0) / 2)
    assert modified.compute().things == plain.compute().things
    again = PanopticMetric([1], [2], modified_stuff=True)
    again.merge(modified)
    assert again.compute() == modified.compute()


def test_void_leaves_the_union_of_modified_quality():
    metric = PanopticMetric([1], [2], void=[0], modified_stuff=True)
    metric.update(PREDICTION, TRUTH)
    assert metric.compute().stuff.pq == pytest.approx(5 / 6)
    metric.reset()
    metric.update(maps("2222", "0000"), maps("2200", "0000"))
    assert metric.compute().stuff.pq == 1


@pytest.mark.parametrize(
    ("prediction", "truth", "message"),
    [
        (PREDICTION[0, 0], TRUTH[0, 0], r"of shape \(4, 2\).*\[None\] for one image"),
        (PREDICTION.float(), TRUTH, "float32 values"),
        (PREDICTION[..., :1], TRUTH, r"of shape \(1, 3, 4, 1\), expected integers"),
        (PREDICTION[:, :2], TRUTH, r"shape \(1, 2, 4, 2\), expected the truth's \(1, 3, 4, 2\)"),
        (PREDICTION - 1, TRUTH, "found -1, expected ids from 0 on"),
        (PREDICTION + torch.tensor([6, 0]), TRUTH, r"prediction: found class 7.*Try void=\[7\]"),
        (PREDICTION, TRUTH + torch.tensor([7, 0]), "truth: found class 7"),
    ],
)
def test_what_does_not_fit_is_refused_and_not_counted(prediction, truth, message):
    metric = PanopticMetric([1], [2], void=[0])
    with pytest.raises(ValueError, match=message):
        metric.update(prediction, truth)
    assert metric.compute().num_images == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1], [1]), "found 1 twice"),
        (([1], [2], [2]), "found 2 twice"),
        (([], []), "neither things nor stuff"),
        ((["car"], []), "expected class ids"),
        (([-1], []), r"things: found \[-1\], expected class ids, whole numbers from 0 on"),
        (([1.5], []), "expected class ids"),
        (([True], []), "expected class ids"),
        (("12", []), "things: found '12'"),
        (([1], [2], 255), r"void: found 255, expected class ids.*Try void=\[1, 2\]"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_classes_that_make_no_sense_are_refused(arguments, message):
    things, stuff, *void = arguments
    with pytest.raises(ValueError, match=message):
        PanopticMetric(things, stuff, void=void[0] if void else ())


@pytest.mark.usefixtures("unchecked")
def test_names_stand_beside_their_ids():
    with pytest.raises(ValueError, match="names: found list, expected names by class id"):
        PanopticMetric([1], [2], names=["car", "road"])


def test_crowds_must_be_segments_of_the_truth():
    metric = PanopticMetric([1], [2], void=[0])
    with pytest.raises(ValueError, match=r"crowds: found \(1, 5\), expected a segment"):
        metric.update(PREDICTION, TRUTH, crowds=[[(1, 5)]])
    with pytest.raises(ValueError, match="crowds: found 2 entries for 1 images"):
        metric.update(PREDICTION, TRUTH, crowds=[[], []])


@pytest.mark.parametrize(
    ("crowds", "message"),
    [
        ([(1, 1)], r"found \(1, 1\) for an image, expected pairs.*Try crowds=\[\[\(1, 3\)\]"),
        ([None], "found None for an image"),
        ([[(1.5, 1)]], "expected pairs of class and instance"),
        ([[(1, 1, 1)]], "expected pairs of class and instance"),
        ([5], "found 5 for an image"),
        ({1, 2}, "crowds: found 2 entries for 1 images"),
        (7, "crowds: found int entries for 1 images"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_crowds_of_other_kinds_are_refused(crowds, message):
    metric = PanopticMetric([1], [2], void=[0])
    with pytest.raises(ValueError, match=message):
        metric.update(PREDICTION, TRUTH, crowds=crowds)
    assert metric.compute().num_images == 0


@pytest.mark.usefixtures("unchecked")
def test_crowds_may_be_rows_of_a_tensor():
    one, two = (PanopticMetric([1], [2], void=[0]) for _ in range(2))
    one.update(PREDICTION, TRUTH, crowds=[[(1, 1)]])
    two.update(PREDICTION, TRUTH, crowds=[torch.tensor([[1, 1]])])
    assert one.compute() == two.compute()
    assert one.compute().per_class[0].tp == 0  # without crowds it is matched


@pytest.mark.usefixtures("unchecked")
def test_images_of_two_sizes_are_no_batch():
    metric = PanopticMetric([1], [2], void=[0])
    both = [TRUTH[0].numpy(), TRUTH[0, :2].numpy()]
    with pytest.raises(ValueError, match="prediction: found images of several sizes"):
        metric.update(both, both)


@pytest.mark.usefixtures("unchecked")
def test_class_ids_may_come_from_arrays():
    given = [
        PanopticMetric(np.array([1]), torch.tensor([2]), void={0}),
        PanopticMetric([np.int64(1)], range(2, 3), void=(0,)),
    ]
    for metric in given:
        assert metric.categories == PanopticMetric([1], [2], void=[0]).categories
        assert metric.void == {0}
        assert all(type(c.id) is int for c in metric.categories)


def test_the_repr_shows_classes_and_images():
    metric = PanopticMetric([3, 1], [2], void=[0, 255])
    metric.update(TRUTH, TRUTH)
    assert repr(metric) == (
        "PanopticMetric(things=[1, 3], stuff=[2], void=[0, 255], modified_stuff=False; 1 images)"
    )


def test_options_that_differ_are_not_merged():
    with pytest.raises(ValueError, match="other options"):
        PanopticMetric([1], [2]).merge(PanopticMetric([1], [2], void=[0]))


@pytest.mark.usefixtures("unchecked")
def test_only_a_metric_is_merged():
    metric = PanopticMetric([1], [2])
    with pytest.raises(
        ValueError, match="merge: found PanopticQuality, expected another PanopticM"
    ):
        metric.merge(PanopticQuality(metric.categories))


PAGE = (ROOT / "docs" / "quality.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_every_snippet_of_the_page_runs(number):
    if "torchmetric" in SNIPPETS[number]:
        pytest.importorskip("torchmetrics", reason="an extra: pip install 'pfpn[metrics]'")
    exec(compile(SNIPPETS[number], f"docs/quality.md, snippet {number + 1}", "exec"), {})
