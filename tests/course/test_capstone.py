"""Each capstone: its solution is right, typical wrong answers are found where they go wrong."""

import io

import pytest
import torch

from pfpn.course import capstone, capstone_quality, capstone_report, capstone_rescue
from pfpn.course import capstone_training as training
from pfpn.course.capstone import CAPSTONES, examine_capstone, run_capstone, train_mine
from pfpn.course.capstone_gather import NAMES
from pfpn.course.capstone_parts import merged
from pfpn.fpn import FPN
from tests.course.capstone_answers import answer, solution

NUM_STREETS = 8  # of twenty: those on which all the wrong answers below show

PARTS = {
    **NAMES,
    "08": {"loss": "my_loss"},
    "10": {"count": "my_counts", "mean": "mean_quality"},
}


@pytest.fixture(scope="module", autouse=True)
def few_streets():
    """Fewer streets, and no results of another module's session."""
    before = capstone_report.NUM_STREETS
    caches = (
        capstone_report.session,
        training.package_steps,
        capstone_quality.package_counts,
        capstone_quality.doubtful_streets,
        capstone_rescue.data,
        capstone_rescue.package_result,
    )
    capstone_report.NUM_STREETS = NUM_STREETS
    steps, capstone_rescue.STEPS = capstone_rescue.STEPS, 20
    for cache in caches:
        cache.cache_clear()
    yield
    capstone_report.NUM_STREETS = before
    capstone_rescue.STEPS = steps
    for cache in caches:
        cache.cache_clear()


def examine(chapter: str, old: str = "", new: str = ""):
    names = answer(chapter, old, new)
    parts = {part: names[name] for part, name in PARTS[chapter].items()}
    return examine_capstone(chapter, parts)


def test_every_capstone_has_its_parts_named():
    assert set(CAPSTONES) == {"01", "02", "03", "04", "05", "08", "09", "10"}
    for name, task in CAPSTONES.items():
        assert set(task.parts) == set(PARTS[name])
        assert task.difficulty in (1, 2, 3)
        assert 10 <= task.minutes <= 90


@pytest.mark.parametrize("chapter", sorted(CAPSTONES))
def test_the_solution_is_right(chapter):
    report = examine(chapter)
    assert report.right, report.text
    assert "  x " not in report.text
    assert report.figure is None


@pytest.mark.parametrize("chapter", ["01", "02", "03", "04", "09"])
def test_the_solutions_score_is_the_packages(chapter):
    scores, ours = examine(chapter).scores, capstone_report.session().scores
    assert scores is not None
    for group in ("all", "things", "stuff"):
        assert getattr(scores, group) == pytest.approx(getattr(ours, group), abs=1e-4)


DOUBLED = "merged.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)"
WRONG = {
    # chapter: (what is replaced, by what, the stage, words of the message)
    "01": [
        (DOUBLED, "F.interpolate(merged, scale_factor=2.0, mode='bilinear')", "p4",
         "The input of the layer smooth.p4 is the first that differs"),
        (DOUBLED, DOUBLED.replace("merged", "pyramid[f'p{k + 1}']"), "p4", "which map goes down"),
        ("pyramid['p5'][:, :, ::2, ::2]", "F.avg_pool2d(pyramid['p5'], 2)", "p6",
         "p6 has no weights"),
        (", padding=1)", ")", "p5", "expected the shape (1, 32, 4, 6), found the shape"),
        ("pyramid | {'p6': pyramid['p5'][:, :, ::2, ::2]}", "pyramid", "pyramid",
         "expected a dict with the keys p2 to p6"),
        ("self.lateral, self.smooth = ", "self.sides, self.smooth = ", "weights",
         "missing: lateral.c2.weight"),
    ],
    "02": [
        ("nn.GroupNorm(8, channels)", "nn.GroupNorm(channels, channels)", "semantic logits",
         "branches.p2.1 is expected to be GroupNorm(8"),
        ("align_corners=False", "align_corners=True", "semantic logits",
         "The input of the layer branches.p4.4 is the first that differs"),
        ("self.branches.items()))", "self.branches.items())) / 4", "semantic logits",
         "The input of the layer classify is the first that differs"),
        (", bias=False", "", "weights", "not in the trained network: branches.p2.0.bias"),
    ],
    "03": [
        ("my_anchor(stride * x, stride * y,", "my_anchor(stride * (x + 0.5), stride * (y + 0.5),",
         "anchors", "top-left corner"),
        ("self.objectness(hidden).permute(0, 2, 3, 1)", "self.objectness(hidden)", "objectness",
         "Bring the channels to the end"),
        ("moves.reshape(len(moves), -1, 4)",
         "moves.unflatten(3, (4, 3)).transpose(3, 4).reshape(len(moves), -1, 4)", "deltas",
         "(anchor, coordinate)"),
        ("nms_rows(moved, nms_threshold)", "nms_rows(moved, 0.3)", "proposals", "are missing"),
        ("clamp(0, size[1])", "clamp(0, size[0])", "proposals", "clipping"),
    ],
    "04": [
        ("points / 2 ** k - 0.5", "points / 2 ** k", "features on 7 x 7", "half pixel"),
        ("/ canonical_size", "/ 224", "features on 7 x 7", "112 pixels"),
        ("logits.softmax(dim=1)[:, :-1]", "logits[:, :-1].softmax(dim=1)", "detections",
         "softmax with the background"),
        ("scores, label, nms_threshold)", "scores, label, 0.9)", "detections",
         "NMS within each class"),
        ("masks[torch.arange(len(labels)), labels]", "masks[:, 0]", "masks in boxes",
         "which class's mask"),
        ("torch.arange(size[1]) + 0.5 - x0", "torch.arange(size[1]) - x0", "masks",
         "the center of a pixel"),
    ],
    "05": [
        ("optimizer.zero_grad()", "pass", "weights", "set to zero"),
        ("/ len(o.roi_labels)", "/ len(on)", "loss_box", "times as much"),
        ("F.cross_entropy(logits, labels, ignore_index=255)",
         "F.cross_entropy(logits, labels.clamp(max=5))", "loss_semantic", "label 255"),
        ("my_total(losses, 1.0, 1.0)", "my_total({k: v for k, v in losses.items() "
         "if 'rpn' not in k}, 1.0, 1.0)", "weights", "All six losses" ),
        ("(o.anchor_deltas - o.anchor_targets).abs().sum() / o.max_anchors",
         "(o.anchor_deltas - o.anchor_targets).abs().mean()", "loss_rpn_box", "max_anchors"),
    ],
    "08": [
        ("logits.softmax(1)", "logits.softmax(1).softmax(1)", "floor", "surely right"),
        ("classes='present'", "classes='all'", "absent classes", "a single wrong pixel"),
        ("F.cross_entropy(logits, labels, ignore_index=255) + lovasz", "lovasz", "start",
         "surely wrong"),
        ("+ lovasz", "+ 0 * lovasz", "Lovász", "cross-entropy alone"),
        ("lovasz = ", "labels = labels.clamp(max=10)\n    lovasz = ", "ignored pixels",
         "without a label"),
    ],
    "09": [
        ("scores.argsort(descending=True, stable=True)", "scores.argsort()", "panoptic map",
         "the order of the instances"),
        ("label not in (OTHER, IGNORE)", "label != IGNORE", "panoptic map",
         "stuff has the labels 1 to 5"),
        ("(label_map == label) & (id_map == VOID)", "label_map == label", "panoptic map", "differ"),
        ("id_map[free] = len(segments)", "pass", "panoptic map", "the list has the ids"),
    ],
    "10": [
        ("iou_with_void(gt_ids == g, predicted_ids == p, void)",
         "iou_with_void(gt_ids == g, predicted_ids == p, void & False)", "sum of IoU", "void"),
        ("not in matched and (not ignored)", "not in matched", "false positives",
         "more than half of it lies on void"),
        ("'predicted', p) not in matched", "'true', p) not in matched", "false positives", "for "),
        ("def my_counts", "plain = mean_quality\n\ndef mean_quality(classes):\n"
         "    return plain([tuple(map(sum, zip(*classes)))])\n\ndef my_counts", "PQ",
         "each with its own PQ"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("chapter", "old", "new", "stage", "words"),
    [(chapter, *entry) for chapter, entries in WRONG.items() for entry in entries],
    ids=[f"{chapter}-{i}" for chapter, e in WRONG.items() for i in range(len(e))],
)
def test_a_wrong_answer_is_found_at_its_stage(chapter, old, new, stage, words):
    report = examine(chapter, old, new)
    assert not report.right
    assert report.stage == stage, report.text
    assert words.lower() in report.text.lower(), report.text
    if report.figure is not None:
        assert len(report.alt) >= 40
        report.figure.savefig(io.BytesIO(), format="png", dpi=30)


def test_every_capstone_has_three_wrong_answers():
    assert set(WRONG) == set(CAPSTONES)
    assert all(len(entries) >= 3 for entries in WRONG.values())
    for entries in WRONG.values():
        stages = [(stage, words) for _, _, stage, words in entries]
        assert len(set(stages)) == len(stages)


@pytest.mark.parametrize("chapter", sorted(CAPSTONES))
def test_a_stub_is_not_a_wrong_answer(chapter, capsys):
    def stub(*arguments, **settings):
        raise NotImplementedError

    report = run_capstone(chapter, **dict.fromkeys(PARTS[chapter], stub))
    assert not report.right
    assert "not built yet" in capsys.readouterr().out


def test_a_step_that_adds_up_gradients_is_shown_as_longer():
    report = examine("05", "optimizer.zero_grad()", "pass")
    assert report.alt.startswith("The length of the step on batch 1")
    axes = report.figure.axes[0]
    ours, yours = ([bar.get_width() for bar in group] for group in axes.containers)
    assert sum(yours) > 1.2 * sum(ours)


def test_the_packages_own_part_is_refused():
    class Mine(FPN):
        pass

    for given in (FPN, Mine):
        report = examine_capstone("01", {"fpn": given})
        assert not report.right
        assert "the package's own" in report.text
    assert examine_capstone("09", {"merge": merged}).stage == "merge"


def test_a_forgotten_return_is_named():
    report = examine("09", "return (id_map, segments)", "pass")
    assert "is a `return` missing?" in report.text


def test_an_error_is_shown_with_the_line_that_raised_it():
    report = examine("04", "masks[torch.arange(len(labels)), labels]", "masks.shape[9]")
    assert report.stage == "masks in boxes"
    assert "your code raised IndexError in line" in report.text


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="No capstone is called '07'"):
        run_capstone("07")
    with pytest.raises(ValueError, match=r"has the parts \['fpn'\], found \['head'\]"):
        run_capstone("01", head=torch.nn.Identity)


def test_a_difference_is_printed_and_shown(capsys, monkeypatch):
    shown = []
    monkeypatch.setattr(capstone, "show", lambda figure, alt: shown.append(alt))
    names = answer("09", "scores.argsort(descending=True, stable=True)", "scores.argsort()")
    run_capstone("09", merge=names["my_merge"])
    assert "x panoptic map, street" in capsys.readouterr().out
    assert shown
    assert shown[0].startswith("Street ")


def test_all_parts_together_train_as_the_packages_do(capsys):
    parts = {}
    for chapter, names in NAMES.items():
        defined = answer(chapter)
        parts |= {part: defined[name] for part, name in names.items()}
    totals = []
    for trained in (parts, {}):
        assert train_mine(trained, max_steps=3, num_streets=2, every=1) is not None
        printed = capsys.readouterr().out
        assert ("stand in" in printed) == (trained == {})
        lines = [line for line in printed.splitlines() if line.startswith("step")]
        totals.append([float(line.split()[-1]) for line in lines])
    mine, ours = totals
    assert len(mine) == 3
    assert mine[-1] < mine[0]
    assert mine == pytest.approx(ours, rel=1e-2)


def test_parts_that_are_not_built_are_the_packages(capsys):
    assert train_mine({}, max_steps=1, num_streets=1) is not None
    assert "the package's stand in for: anchors, box_head" in capsys.readouterr().out


def test_a_step_that_fails_ends_the_training(capsys):
    assert train_mine({"step": lambda *_: {}}, max_steps=1) is None
    assert "expected a dict with the keys" in capsys.readouterr().out


def test_a_training_ends_by_time(capsys):
    train_mine({}, max_steps=10**6, max_seconds=0.5, num_streets=1)
    steps = int(capsys.readouterr().out.split("after ")[1].split()[0])
    assert 1 <= steps < 100


def test_the_solutions_are_those_of_the_notebooks():
    assert "class MyFPN" in solution("01")
