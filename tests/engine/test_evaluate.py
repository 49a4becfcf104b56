import copy
import json
from dataclasses import replace

import pytest
import torch

from pfpn.boxes import masks_to_boxes
from pfpn.data.transforms import to_label_map
from pfpn.engine import distributed
from pfpn.engine import evaluate as module
from pfpn.engine.evaluate import PrecisionCollector, evaluate, require_same_categories
from pfpn.engine.train import train
from pfpn.model import PanopticFPN
from pfpn.predict import Prediction
from pfpn.structures import Category, Detections, Panoptic, Sample, Segment
from tests.engine.conftest import Blocks

CATEGORIES = (Category(1, "ground", False), Category(2, "box", True))


class Pictures(list):
    categories = CATEGORIES


def picture(*columns: tuple[int, int], crowd: bool = False) -> Sample:
    """40 x 60 ground with one upright box of full height per (left, right)."""
    id_map = torch.ones((40, 60), dtype=torch.int64)
    segments = [Segment(1, 1, False)]
    for number, (left, right) in enumerate(columns, start=2):
        id_map[:, left:right] = number
        segments.append(Segment(number, 0, True, is_crowd=crowd))
    return Sample(torch.zeros((3, 40, 60), dtype=torch.uint8), Panoptic(id_map, tuple(segments)), 9)


def as_predicted(sample: Sample, scores: list[float] | None = None) -> Prediction:
    """The truth of a picture, as if it had been predicted."""
    found = [s for s in sample.panoptic.segments if s.is_thing]
    masks = torch.stack([sample.panoptic.id_map == s.id for s in found])
    boxes = masks_to_boxes(masks)
    detections = Detections(
        boxes,
        torch.tensor(scores or [0.9] * len(found)),
        torch.tensor([s.label for s in found]),
        torch.ones((len(found), 28, 28)),
    )
    panoptic = replace(
        sample.panoptic,
        segments=tuple(replace(s, is_crowd=False) for s in sample.panoptic.segments),
    )
    return Prediction(panoptic, detections, to_label_map(sample.panoptic, 1))


@pytest.fixture
def model(tiny):
    return PanopticFPN(tiny(num_things=1, num_semantic=2).model).train()


@pytest.fixture
def predicts(monkeypatch):
    """A function that decides what is predicted, picture by picture."""

    def decide(*predictions):
        left = iter(predictions)
        monkeypatch.setattr(module, "predict", lambda *args, **kwargs: [next(left)])

    return decide


def test_a_perfect_prediction_scores_1_everywhere(model, predicts):
    pictures = Pictures([picture((5, 25), (30, 50)), picture((0, 20))])
    predicts(*map(as_predicted, pictures))
    result = evaluate(model, pictures)
    summary = result.summary()
    for name in ("pq", "sq", "rq", "pq_things", "pq_stuff", "miou", "pixel_accuracy",
                 "box_ap", "mask_ap", "mask_ap75"):  # fmt: skip
        assert summary[name] == pytest.approx(1.0), name
    assert result.branch is not None
    assert result.branch.miou == 1.0
    assert result.num_images == 2


def test_precision_counts_the_thresholds_below_the_overlap(model, predicts):
    # A box of 20 columns found 4 to the right: IoU 16 / 24 = 0.667, above 0.5, 0.55, 0.6 and 0.65.
    pictures = Pictures([picture((10, 30))])
    predicts(as_predicted(picture((14, 34))))
    summary = evaluate(model, pictures).summary()
    assert summary["box_ap"] == pytest.approx(0.4)
    assert summary["box_ap50"] == pytest.approx(1.0)
    assert summary["box_ap75"] == pytest.approx(0.0)
    # The last column of a mask inside its box is half covered and kept, so masks agree with boxes.
    assert summary["mask_ap"] == pytest.approx(0.4)
    assert summary["sq_things"] == pytest.approx(16 / 24)


def test_a_false_positive_of_higher_score_halves_the_precision(model, predicts):
    pictures = Pictures([picture((10, 30))])
    predicts(as_predicted(picture((10, 30), (40, 55)), scores=[0.6, 0.9]))
    summary = evaluate(model, pictures).summary()
    assert summary["mask_ap"] == pytest.approx(0.5)
    assert summary["pq_things"] == pytest.approx(1 / 1.5)  # one matched, one false positive


def test_a_detection_in_a_crowd_is_ignored(model, predicts):
    crowd = picture((30, 60), crowd=True)
    pictures = Pictures([picture((5, 25)), crowd])
    predicts(as_predicted(pictures[0]), as_predicted(crowd))
    summary = evaluate(model, pictures).summary()
    assert summary["mask_ap"] == pytest.approx(1.0)
    assert summary["pq_things"] == pytest.approx(1.0)


def test_no_prediction_is_scored_and_not_an_error(model, predicts):
    pictures = Pictures([picture((10, 30))])
    nothing = as_predicted(pictures[0])
    nothing = Prediction(
        Panoptic(torch.zeros_like(nothing.panoptic.id_map), ()),
        nothing.detections[torch.zeros(1, dtype=torch.bool)],
        torch.zeros_like(nothing.label_map),
    )
    predicts(nothing)
    summary = evaluate(model, pictures).summary()
    assert summary["pq"] == 0
    assert summary["mask_ap"] == summary["box_ap"] == 0
    assert summary["miou"] == summary["pixel_accuracy"] == 0


def test_pictures_without_things_have_no_precision(model, predicts):
    pictures = Pictures([picture()])
    predicts(Prediction(pictures[0].panoptic, _nothing(), to_label_map(pictures[0].panoptic, 1)))
    summary = evaluate(model, pictures).summary()
    assert summary["pq"] == 1.0
    assert "pq_things" not in summary
    assert "mask_ap" not in summary


def _nothing() -> Detections:
    return Detections(
        torch.zeros((0, 4)),
        torch.zeros(0),
        torch.zeros(0, dtype=torch.int64),
        torch.zeros((0, 28, 28)),
    )


def test_a_real_model_is_evaluated_and_left_as_it_was(tiny, blocks):
    torch.manual_seed(0)
    net = PanopticFPN(tiny(num_things=2, num_semantic=3).model).train()
    seen = []
    result = evaluate(
        net,
        blocks[0],
        tiny().predict,
        max_images=3,
        on_image=lambda sample, found: seen.append(sample.image_id),
    )
    assert seen == [500, 501, 502]
    assert result.num_images == 3
    assert net.training
    assert all(0 <= value <= 1 for value in result.summary().values())


def test_precision_is_left_out_where_it_is_switched_off_or_there_is_no_instance_branch(
    tiny, blocks
):
    both = PanopticFPN(tiny(num_things=2, num_semantic=3).model)
    assert evaluate(both, blocks[1], tiny().predict, with_ap=False).precision == {}
    config = tiny(instance_branch=False, num_things=2, num_semantic=4)
    semantic = evaluate(PanopticFPN(config.model), blocks[1], config.predict)
    assert semantic.precision == {}
    assert semantic.branch is None


def test_a_data_set_of_other_classes_is_refused(tiny, blocks):
    net = PanopticFPN(tiny(num_things=5, num_semantic=3).model)
    with pytest.raises(ValueError, match=r"2 thing and 2 stuff classes.*trained on 5 and 2"):
        evaluate(net, blocks[1])


def test_labels_that_mean_something_else_are_refused(tiny, blocks, tmp_path):
    """Two lists of as many classes: without this, every score would be of the wrong ones."""
    ours = blocks[0].categories
    renamed = [replace(c, name=f"{c.name} too") for c in ours]
    numbered = [replace(c, id=c.id + 100) for c in ours]
    require_same_categories(ours, renamed)
    require_same_categories(ours, numbered)
    other = Blocks(1)
    other.categories = (*ours[:3], Category(8, "tree", True))
    with pytest.raises(ValueError, match=r"found 'tree' \(id 8\) where the model learned 'dark'"):
        next(train(tiny(), tmp_path, datasets=(blocks[0], other)))


def test_results_are_written_as_a_table_and_as_json(model, predicts):
    pictures = Pictures([picture((5, 25))])
    predicts(as_predicted(pictures[0]))
    result = evaluate(model, pictures)
    table = result.table()
    for word in ("things", "stuff", "box", "ground", "mean IoU", "mask AP50", "100.0"):
        assert word in table
    data = json.loads(json.dumps(result.as_dict()))
    assert data["panoptic"]["all"]["pq"] == 100
    assert data["precision"]["mask_ap"] == pytest.approx(100)
    assert data["semantic"]["miou"] == 100


def test_parts_of_the_images_add_up_to_the_whole():
    pictures = [picture((5, 25)), picture((10, 30), (40, 60)), picture((0, 16))]
    shifted = [picture((7, 27)), picture((10, 30), (44, 60)), picture((0, 12))]
    whole, even, odd = PrecisionCollector(), PrecisionCollector(), PrecisionCollector()
    for index, (truth, guess) in enumerate(zip(pictures, shifted, strict=True)):
        for collector in (whole, (even, odd)[index % 2]):
            collector.update(index, truth, as_predicted(guess))
    odd.merge(even)
    assert odd.result(["box"]) == whole.result(["box"])


def sharded(model, pictures, guesses, world, monkeypatch):
    """Evaluate as `world` processes would: first each alone, then with what the others gave."""
    given = [[] for _ in range(world)]
    results = []
    for rank in range(world):
        guessed = iter(guesses[rank::world])
        monkeypatch.setattr(module, "predict", lambda *args, left=guessed, **kwargs: [next(left)])
        monkeypatch.setattr(distributed, "world", lambda: world)
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)

        def keep(value, own=given[rank]):
            own.append(copy.deepcopy(value))
            return [copy.deepcopy(value) for _ in range(world)]

        monkeypatch.setattr(distributed, "gather", keep)
        evaluate(model, pictures)
    for rank in range(world):
        guessed = iter(guesses[rank::world])
        monkeypatch.setattr(module, "predict", lambda *args, left=guessed, **kwargs: [next(left)])
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        rounds = iter(copy.deepcopy(list(zip(*given, strict=True))))
        monkeypatch.setattr(distributed, "gather", lambda value, all_=rounds: list(next(all_)))
        results.append(evaluate(model, pictures))
    return results


def test_processes_score_as_one_to_the_last_bit(model, predicts, monkeypatch):
    """Sums of fractions depend on their order, so the processes have to keep that of one."""
    lefts = [(5 + i, 25 + 2 * i) for i in range(12)]
    pictures = Pictures(picture(columns) for columns in lefts)
    guesses = [
        as_predicted(picture((left + 1 + i % 3, right))) for i, (left, right) in enumerate(lefts)
    ]
    predicts(*guesses)
    whole = evaluate(model, pictures)
    for world in (2, 3, 5, 16):  # 16: some have nothing to do
        for result in sharded(model, pictures, guesses, world, monkeypatch):
            assert result.summary() == whole.summary()
            assert result.panoptic.as_dict() == whole.panoptic.as_dict()
