"""docs/losses.md tells what other packages compute: its table and its snippets are held here."""

import re
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from pfpn.losses import lovasz_softmax
from tests.oracles import lovasz_peers as peers

PAGE = (Path(__file__).parents[2] / "docs" / "losses.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
WEIGHTS = [1.0, 2.0, 4.0]


def example() -> tuple[torch.Tensor, torch.Tensor]:
    """The scores and labels of the page's first snippet."""
    names: dict = {}
    exec(compile(SNIPPETS[0], "docs/losses.md, snippet 1", "exec"), names)
    return names["logits"].detach(), names["labels"]


@pytest.fixture(scope="module")
def figures() -> dict[str, tuple[float, float]]:
    """What a peer computes, and what ours does with the options of the table."""
    logits, labels = example()
    probs, whole = logits.softmax(1), labels.where(labels != 255, 0)
    weights = torch.tensor(WEIGHTS)
    return {
        "authors": (
            peers.authors(probs, labels, 255),
            float(lovasz_softmax(probs, labels, ignore=255)),
        ),
        "authors, per_image": (
            peers.authors(probs, labels, 255, per_image=True),
            float(lovasz_softmax(probs, labels, ignore=255, per_image=True)),
        ),
        "mmseg, weights": (
            peers.mmseg_weighted(probs, labels, WEIGHTS),
            float(lovasz_softmax(probs, labels, ignore=255, class_weights=weights)),
        ),
        "kornia from 0.9": (
            peers.kornia(probs, whole),
            float(lovasz_softmax(probs, whole, classes="all", per_image=True)),
        ),
        "kornia to 0.8": (
            peers.kornia_before_0_9(probs, whole),
            float(lovasz_softmax(probs, whole, classes="all", per_image=True)),
        ),
    }


def test_the_pages_table_holds(figures):
    rows = re.findall(r"^\| (.+?) \|.*\| ([\d.]+) \| ([\d.]+) \|$", PAGE, flags=re.MULTILINE)
    told = {name: (float(theirs), float(ours)) for name, theirs, ours in rows}
    assert told.keys() == figures.keys()
    for name, pair in figures.items():
        assert told[name] == tuple(round(value, 3) for value in pair), name


def test_where_the_page_says_that_two_agree_they_do(figures):
    for name in ("authors", "authors, per_image", "kornia from 0.9"):
        assert figures[name][0] == pytest.approx(figures[name][1], abs=1e-6), name
    for name in ("mmseg, weights", "kornia to 0.8"):
        assert abs(figures[name][0] - figures[name][1]) > 0.05, name


def test_mmsegs_weighting_is_ours_times_the_mean_weight(figures):
    theirs, ours = figures["mmseg, weights"]
    assert theirs == pytest.approx(ours * sum(WEIGHTS) / 3, abs=1e-6)


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_every_snippet_runs(number):
    exec(compile(SNIPPETS[number], f"docs/losses.md, snippet {number + 1}", "exec"), {})


def test_the_rules_are_those_of_segmentation_models_pytorch():
    smp = pytest.importorskip(
        "segmentation_models_pytorch", reason="pip install 'pfpn[bench]' to compare with it"
    )
    logits, labels = example()
    for per_image in (False, True):
        theirs = smp.losses.LovaszLoss("multiclass", per_image=per_image, ignore_index=255)
        rule = peers.authors(logits.softmax(1), labels, 255, per_image)
        assert_close(float(theirs(logits, labels)), rule, rtol=1e-5, atol=1e-6)


def test_the_rules_are_those_of_kornia():
    kornia = pytest.importorskip("kornia", reason="pip install 'pfpn[bench]' to compare with it")
    logits, labels = example()
    labels = labels.where(labels != 255, 0)
    is_old = tuple(map(int, kornia.__version__.split(".")[:2])) < (0, 9)
    rule = (peers.kornia_before_0_9 if is_old else peers.kornia)(logits.softmax(1), labels)
    theirs = kornia.losses.lovasz_softmax_loss(logits, labels)
    assert_close(float(theirs), rule, rtol=1e-5, atol=1e-6)
